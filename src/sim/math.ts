/**
 * log, exp, pow and cos that give the same bits in every engine.
 *
 * ECMAScript leaves the last bits of Math.log, Math.exp, Math.pow (also as **, with a variable) and Math.cos to the
 * engine, and engines differ and change; one bit of one lifetime changes a whole run. These use only what IEEE 754
 * fixes: + - * / and comparisons. The reductions are the classical ones (a power of two times something near 1; a
 * multiple of ln 2 or of a quarter turn plus something small), the remainders are Taylor series long enough for the
 * reduced range, and the sums are ordered so that the big exact term is added last.
 *
 * Accuracy against the true value: about 1 ulp for exp, expm1, log, log1p and cosTurns, 2 for pow; cos loses absolute
 * accuracy of 1e-16 per 1e5 of argument. pow is for x >= 0 (NaN otherwise).
 */

/** ln 2 in two parts; the first has 32 zero bits at its end, so a multiple of it by an exponent is exact. */
const LN2_HIGH = 0.6931471803691238;
const LN2_LOW = 1.9082149292705877e-10;
const LOG2_E = Math.LOG2E;
const SQRT_2 = Math.SQRT2;

/** The two halves of one double. Written before it is read in every use, so no state passes between calls. */
const double = new Float64Array(1);
const halves = new Int32Array(double.buffer);
double[0] = 1;
const HIGH_HALF = halves[1] === 0x3ff00000 ? 1 : 0;

/** 2^k for k from -1074 to 1023: exact, by doubling. */
const powersOfTwo = new Float64Array(1074 + 1024);
for (let k = 0, value = 1; k <= 1023; k++, value *= 2) powersOfTwo[1074 + k] = value;
for (let k = -1, value = 0.5; k >= -1074; k--, value /= 2) powersOfTwo[1074 + k] = value;

/** x * 2^k, k within twice the range of exponents. */
function scale(x: number, k: number): number {
  if (k >= -1022 && k <= 1023) return x * powersOfTwo[1074 + k];
  if (k > 1023) return x * powersOfTwo[1074 + 1023] * powersOfTwo[1074 + (k > 2046 ? 1023 : k - 1023)];
  // Rounded once: after the first factor the x near 1 this is called with is still a normal number.
  return x * powersOfTwo[1074 - 969] * powersOfTwo[1074 + (k < -2043 ? -1074 : k + 969)];
}

/** e^r - 1 = r + r^2 (1/2! + r/3! + ...) for |r| <= ln(2)/2; the first term left out is below 2^-57 of r. */
function expm1Reduced(r: number): number {
  let q = 1 / 6227020800;
  q = q * r + 1 / 479001600;
  q = q * r + 1 / 39916800;
  q = q * r + 1 / 3628800;
  q = q * r + 1 / 362880;
  q = q * r + 1 / 40320;
  q = q * r + 1 / 5040;
  q = q * r + 1 / 720;
  q = q * r + 1 / 120;
  q = q * r + 1 / 24;
  q = q * r + 1 / 6;
  q = q * r + 0.5;
  return r + r * r * q;
}

/** e^(high + low), where low is a correction far below high. */
function expSum(high: number, low: number): number {
  const k = Math.floor(high * LOG2_E + 0.5);
  const r = high - k * LN2_HIGH + (low - k * LN2_LOW);
  return scale(1 + expm1Reduced(r), k);
}

/** e^x. */
export function exp(x: number): number {
  if (x > 709.782712893384) return Infinity;
  if (x < -745.1332191019412) return 0;
  if (Number.isNaN(x)) return NaN;
  return expSum(x, 0);
}

/** e^x - 1, also where e^x is near 1. */
export function expm1(x: number): number {
  if (x > 709.782712893384) return Infinity;
  if (x < -40) return -1;
  if (Number.isNaN(x)) return NaN;
  const k = Math.floor(x * LOG2_E + 0.5);
  if (k === 0) return expm1Reduced(x);
  const high = x - k * LN2_HIGH;
  const low = k * LN2_LOW;
  const r = high - low;
  // What rounding took from r; matters here because the subtraction of 1 below can cancel.
  const lost = high - r - low;
  const e = expm1Reduced(r) + lost;
  if (k === 1024) return scale(1 + e, k);
  const two = powersOfTwo[1074 + k];
  return two * e + (two - 1);
}

/**
 * With s = f / (2 + f) and z = s^2, log(1 + f) = 2 artanh(s) = 2s + s z (2/3 + T); this is T = 2/5 z + 2/7 z^2 + ...
 * |s| <= 0.1716 for 1 + f in [sqrt(1/2), sqrt(2)]; the first term left out is below 2^-59 of the whole.
 */
function logTail(z: number): number {
  let q = 2 / 23;
  q = q * z + 2 / 21;
  q = q * z + 2 / 19;
  q = q * z + 2 / 17;
  q = q * z + 2 / 15;
  q = q * z + 2 / 13;
  q = q * z + 2 / 11;
  q = q * z + 2 / 9;
  q = q * z + 2 / 7;
  q = q * z + 2 / 5;
  return q * z;
}

/** log((1 + f) 2^k) + low. With 2s = f - sf and sf = f²/2 - s f²/2, only small terms are rounded before f. */
function logSum(f: number, k: number, low: number): number {
  const s = f / (2 + f);
  const z = s * s;
  const half = 0.5 * f * f;
  return k * LN2_HIGH - (half - (s * (half + z * (2 / 3 + logTail(z))) + (k * LN2_LOW + low)) - f);
}

/** The exponent k of x = m 2^k with m in [sqrt(1/2), sqrt(2)), for finite x > 0; m itself is left in `double`. */
function splitExponent(x: number): number {
  let k = 0;
  double[0] = x;
  if (x < 2.2250738585072014e-308) {
    double[0] = x * 18014398509481984;
    k = -54;
  }
  const high = halves[HIGH_HALF];
  k += (high >> 20) - 1023;
  halves[HIGH_HALF] = (high & 0xfffff) | 0x3ff00000;
  if (double[0] >= SQRT_2) {
    double[0] *= 0.5;
    k++;
  }
  return k;
}

/** The natural logarithm. */
export function log(x: number): number {
  if (!(x > 0 && x < Infinity)) return x === 0 ? -Infinity : x === Infinity ? Infinity : NaN;
  const k = splitExponent(x);
  return logSum(double[0] - 1, k, 0);
}

/** log(1 + x), also where x is near 0. */
export function log1p(x: number): number {
  if (x > -0.29 && x < 0.41) return logSum(x, 0, 0);
  if (!(x > -1 && x < Infinity)) return x === -1 ? -Infinity : x === Infinity ? Infinity : NaN;
  const u = 1 + x;
  // log(1 + x) = log(u) + log(1 + lost/u), where lost is what rounding took from 1 + x.
  const lost = x >= 1 ? 1 - (u - x) : x - (u - 1);
  const k = splitExponent(u);
  return logSum(double[0] - 1, k, lost / u);
}

/** Splits a double into two of 26 bits (Veltkamp), whose products are exact. */
const SPLITTER = 134217729;

/** What rounding took from the product p = a * b (Dekker). */
function productError(a: number, b: number, p: number): number {
  const ta = SPLITTER * a;
  const aHigh = ta - (ta - a);
  const aLow = a - aHigh;
  const tb = SPLITTER * b;
  const bHigh = tb - (tb - b);
  const bLow = b - bHigh;
  return aLow * bLow - (p - aHigh * bHigh - aLow * bHigh - aHigh * bLow);
}

/**
 * x^y for x >= 0, as e^(y log x). An error in log x is multiplied by y log x (up to 745), so the logarithm and the
 * product are carried in two doubles: leading terms 2s and 2/3 s^3 in double-double, the rest of the series as it is.
 */
export function pow(x: number, y: number): number {
  if (y === 0 || x === 1) return 1;
  if (!(x > 0 && x < Infinity) || !(y > -Infinity && y < Infinity)) return powLimit(x, y);
  if (y === 1) return x;
  const k = splitExponent(x);
  const f = double[0] - 1;
  // s + sLow = f / (2 + f) to twice the precision; f is exact, 2 + f is not.
  const d = 2 + f;
  const dLow = f - (d - 2);
  const s = f / d;
  const sd = s * d;
  const sLow = (f - sd - productError(s, d, sd) - s * dLow) / d;
  // z + zLow = s^2, then s^3 and the series from 2/3 on, each with what rounding took.
  const z = s * s;
  const zLow = productError(s, s, z) + 2 * s * sLow;
  const cube = z * s;
  const cubeLow = productError(z, s, cube) + zLow * s + z * sLow;
  const rest = logTail(z);
  const p = 2 / 3 + rest;
  // The constant is 2/3 less its double.
  const pLow = 2 / 3 - p + rest + 3.700743415417188e-17;
  const cubed = cube * p;
  const cubedLow = productError(cube, p, cubed) + cube * pLow + cubeLow * p;
  // log x = k ln2 + 2s + cubed, largest first.
  const a = k * LN2_HIGH;
  const ab = a + 2 * s;
  const abLow = k === 0 ? 0 : a - ab + 2 * s;
  const high = ab + cubed;
  const low = ab - high + cubed + (abLow + (k * LN2_LOW + 2 * sLow + cubedLow));
  const logX = high + low;
  const logLow = high - logX + low;
  const product = y * logX;
  if (product > 710) return Infinity;
  if (product < -746) return 0;
  return expSum(product, productError(y, logX, product) + y * logLow);
}

/** The values at the edges, as IEEE 754's pown and powr agree on them. */
function powLimit(x: number, y: number): number {
  if (Number.isNaN(x) || Number.isNaN(y) || x < 0) return NaN;
  if (x === 0) return y > 0 ? 0 : Infinity;
  if (x === Infinity) return y > 0 ? Infinity : 0;
  return x > 1 === y > 0 ? Infinity : 0;
}

/** sin r for |r| <= pi/4. */
function sinReduced(r: number): number {
  const z = r * r;
  let q = 1 / 355687428096000;
  q = q * -z + 1 / 1307674368000;
  q = q * -z + 1 / 6227020800;
  q = q * -z + 1 / 39916800;
  q = q * -z + 1 / 362880;
  q = q * -z + 1 / 5040;
  q = q * -z + 1 / 120;
  q = q * -z + 1 / 6;
  return r - r * z * q;
}

/** cos r for |r| <= pi/4: 1 - r^2/2 is rounded once, and what that took is added to the small terms. */
function cosReduced(r: number): number {
  const z = r * r;
  let q = 1 / 6402373705728000;
  q = q * -z + 1 / 20922789888000;
  q = q * -z + 1 / 87178291200;
  q = q * -z + 1 / 479001600;
  q = q * -z + 1 / 3628800;
  q = q * -z + 1 / 40320;
  q = q * -z + 1 / 720;
  q = q * -z + 1 / 24;
  const half = 0.5 * z;
  const w = 1 - half;
  return w + (1 - w - half + z * z * q);
}

/** cos of the angle r plus n quarter turns. */
function cosQuadrant(r: number, n: number): number {
  switch (((n % 4) + 4) % 4) {
    case 0:
      return cosReduced(r);
    case 1:
      return -sinReduced(r);
    case 2:
      return -cosReduced(r);
    default:
      return sinReduced(r);
  }
}

/** pi/2 in parts of 33 bits, so that multiples up to 2^20 are exact, and the rest. */
const QUARTER_1 = 1.5707963267341256;
const QUARTER_2 = 6.077100506303966e-11;
const QUARTER_3 = 2.0222662487959506e-21;

/** The cosine of an angle in radians, |x| <= 1e6. */
export function cos(x: number): number {
  const n = Math.floor(x * 0.6366197723675814 + 0.5);
  return cosQuadrant(x - n * QUARTER_1 - n * QUARTER_2 - n * QUARTER_3, n);
}

/** cos(2 pi t): the angle in whole turns, where the reduction is exact however large t is. */
export function cosTurns(t: number): number {
  const turn = t - Math.floor(t);
  const n = Math.floor(turn * 4 + 0.5);
  return cosQuadrant((turn - n * 0.25) * 6.283185307179586, n);
}

/**
 * log Γ(x) for x > 0: Stirling's series from x >= 15 on, reached by Γ(x) = Γ(x + 1) / x. Relative error of Γ about
 * 1e-14.
 */
export function logGamma(x: number): number {
  let shift = 1;
  let at = x;
  while (at < 15) shift *= at++;
  const inverse = 1 / at;
  const z = inverse * inverse;
  let q = -691 / 360360;
  q = q * z + 1 / 1188;
  q = q * z - 1 / 1680;
  q = q * z + 1 / 1260;
  q = q * z - 1 / 360;
  q = q * z + 1 / 12;
  return (at - 0.5) * log(at) - at + 0.9189385332046727 + q * inverse - log(shift);
}

function rational(x: number, numerator: readonly number[], denominator: readonly number[]): number {
  let top = numerator[7];
  let bottom = denominator[7];
  for (let i = 6; i >= 0; i--) {
    top = top * x + numerator[i];
    bottom = bottom * x + denominator[i];
  }
  return top / bottom;
}

/** Coefficients of algorithm AS 241 (PPND16), Wichura 1988: the centre, the shoulders, the tails. */
const CENTRE_TOP = [
  3.3871328727963665, 133.14166789178438, 1971.5909503065513, 13731.69376550946, 45921.95393154987,
  67265.7709270087, 33430.57558358813, 2509.0809287301227,
];
const CENTRE_BOTTOM = [
  1, 42.31333070160091, 687.1870074920579, 5394.196021424751, 21213.794301586597, 39307.89580009271,
  28729.085735721943, 5226.495278852854,
];
const SHOULDER_TOP = [
  1.4234371107496835, 4.630337846156546, 5.769497221460691, 3.6478483247632045, 1.2704582524523684,
  0.2417807251774506, 0.022723844989269184, 0.0007745450142783414,
];
const SHOULDER_BOTTOM = [
  1, 2.053191626637759, 1.6763848301838038, 0.6897673349851, 0.14810397642748008, 0.015198666563616457,
  0.0005475938084995345, 1.0507500716444169e-9,
];
const TAIL_TOP = [
  6.657904643501103, 5.463784911164114, 1.7848265399172913, 0.29656057182850487, 0.026532189526576124,
  0.0012426609473880784, 2.7115555687434876e-5, 2.0103343992922881e-7,
];
const TAIL_BOTTOM = [
  1, 0.599832206555888, 0.1369298809227358, 0.014875361290850615, 0.0007868691311456133,
  1.8463183175100548e-5, 1.421511758316446e-7, 2.0442631033899397e-15,
];

/** The standard normal quantile of p in (0, 1); relative error about 1e-15. Ask for the upper tail as -normalQuantile(1 - p). */
export function normalQuantile(p: number): number {
  const q = p - 0.5;
  if (q >= -0.425 && q <= 0.425) return q * rational(0.180625 - q * q, CENTRE_TOP, CENTRE_BOTTOM);
  const tail = q < 0 ? p : 1 - p;
  if (!(tail > 0)) return tail === 0 ? (q < 0 ? -Infinity : Infinity) : NaN;
  const r = Math.sqrt(-log(tail));
  const z =
    r <= 5 ? rational(r - 1.6, SHOULDER_TOP, SHOULDER_BOTTOM) : rational(r - 5, TAIL_TOP, TAIL_BOTTOM);
  return q < 0 ? -z : z;
}
