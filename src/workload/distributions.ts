/**
 * Random quantities: the samplers behind a scenario's sizes, lifetimes, counts and times.
 *
 * A smooth distribution is sampled from a table of its quantiles: the top bits of one random number choose a cell, the
 * rest interpolate within it. Cells where the straight line would stray from the quantile function by more than one
 * part in 10^4 (in practice the tails) are marked at compile time, and a number that lands in one is drawn anew inside
 * that cell through the exact quantile function with 53 more bits. So the tails, which decide how long memory stays,
 * are exact, and the common case costs a few nanoseconds. Histograms and mixtures choose an entry through a guide table.
 *
 * What it simplifies: within the other cells the density is flat, and values have 2^-32 of the probability as their
 * grain. Where it stops being true: unbounded tails end at a probability of 2^-65, which only matters to means carried
 * by rarer events than that (lognormal sigma above 5, weibull shape below 0.05).
 *
 * One class with a numeric kind, not a class per distribution: the executors' call sites stay monomorphic.
 */
import type { Dist } from "../scenario/schema.ts";
import { exp, expm1, log, log1p, logGamma, normalQuantile, pow } from "../sim/math.ts";
import type { Rng } from "../sim/rng.ts";

const CELL_BITS = 10;
const CELLS = 2 ** CELL_BITS;
/** Bits of the random number left to interpolate with. */
const GRAIN_BITS = 32 - CELL_BITS;
const GRAIN_MASK = 2 ** GRAIN_BITS - 1;

/** How far the line across a cell may be from the quantile function, relative, at the cell's middle. */
const CHORD_TOLERANCE = 1e-4;

/** The smallest probability an exact draw can ask for: half a grain of a 53-bit number, within one cell. */
const HALF_GRAIN = 2 ** -54;
const LEAST_PROBABILITY = HALF_GRAIN / CELLS;

const GUIDE_BITS = 8;
const GUIDE_CELLS = 2 ** GUIDE_BITS;

const CONSTANT = 0;
const UNIFORM = 1;
const SELECT = 2;
const EXPONENTIAL = 3;
const LOGNORMAL = 4;
const WEIBULL = 5;
const PARETO = 6;

/** An entry of a histogram or mixture: the range [low, low + width), or another sampler where that is given. */
interface Choice {
  readonly weight: number;
  readonly low: number;
  readonly width: number;
  readonly part: Sampler | undefined;
}

/** What a sampler is made of; the fields not used by its kind are left empty. */
interface Parts {
  readonly kind: number;
  readonly mean: number;
  readonly min: number;
  readonly max: number;
  /** Parameters of the quantile function, by kind (see `lowerQuantile`). */
  readonly a?: number;
  readonly b?: number;
  readonly c?: number;
  readonly choices?: readonly Choice[];
}

const EMPTY = new Float64Array(0);
const NO_GUIDE = new Int32Array(0);

export class Sampler {
  /** The distribution's mean, from its formula. */
  readonly mean: number;
  /** No sample is below `min` or above `max`; for an unbounded tail `max` is the largest value that can be drawn. */
  readonly min: number;
  readonly max: number;

  readonly #kind: number;
  readonly #a: number;
  readonly #b: number;
  readonly #c: number;
  /** Of each cell: the value at its first grain and the step per grain. */
  #table: Float64Array = EMPTY;
  /** Cells in [first, end) are interpolated, the others drawn exactly. */
  #firstCell = 0;
  #endCell = 0;
  /** SELECT: upper ends of the entries' shares of [0, 2^32), and by the top bits the first entry to look at. */
  #upTo: Float64Array = EMPTY;
  #guide: Int32Array = NO_GUIDE;
  #low: Float64Array = EMPTY;
  #widthPerGrain: Float64Array = EMPTY;
  #parts: readonly (Sampler | undefined)[] = [];

  /** @internal: use `compileDist`. */
  constructor(parts: Parts) {
    this.#kind = parts.kind;
    this.mean = parts.mean;
    this.min = parts.min;
    this.max = parts.max;
    this.#a = parts.a ?? 0;
    this.#b = parts.b ?? 0;
    this.#c = parts.c ?? 0;
    if (parts.choices !== undefined) this.#buildChoices(parts.choices);
    else if (parts.kind >= EXPONENTIAL) this.#buildTable();
  }

  /** True when every sample is the same; such a sampler draws no random numbers. */
  get isConstant(): boolean {
    return this.#kind === CONSTANT;
  }

  sample(rng: Rng): number {
    const kind = this.#kind;
    if (kind === CONSTANT) return this.#a;
    const u = rng.u32();
    if (kind === UNIFORM) return this.#a + (u + 0.5) * this.#b;
    if (kind === SELECT) return this.#choose(u, rng);
    return this.#valueAt(u, rng);
  }

  #fromTable(rng: Rng): number {
    return this.#valueAt(rng.u32(), rng);
  }

  #valueAt(u: number, rng: Rng): number {
    const cell = u >>> GRAIN_BITS;
    if (cell < this.#firstCell || cell >= this.#endCell) return this.#drawExactly(cell, rng);
    return this.#table[cell * 2] + (u & GRAIN_MASK) * this.#table[cell * 2 + 1];
  }

  /** The next n samples, exactly as n calls of `sample` would give them. */
  fill(rng: Rng, out: Float64Array, n: number): void {
    if (this.#kind === CONSTANT) out.fill(this.#a, 0, n);
    else if (this.#kind >= EXPONENTIAL) this.#fillFromTable(rng, out, n);
    else if (this.#kind === SELECT) for (let i = 0; i < n; i++) out[i] = this.#choose(rng.u32(), rng);
    else for (let i = 0; i < n; i++) out[i] = this.sample(rng);
  }

  /** `sample` from the table with the generator (see rng.ts) inlined: state in locals, written back around tails. */
  #fillFromTable(rng: Rng, out: Float64Array, n: number): void {
    const table = this.#table;
    const firstCell = this.#firstCell;
    const endCell = this.#endCell;
    const s = rng.state;
    let a = s[0];
    let b = s[1];
    let c = s[2];
    let counter = s[3];
    for (let i = 0; i < n; i++) {
      const u = (((a + b) | 0) + counter) | 0;
      counter = (counter + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + u) | 0;
      const cell = u >>> GRAIN_BITS;
      if (cell >= firstCell && cell < endCell) {
        out[i] = table[cell * 2] + (u & GRAIN_MASK) * table[cell * 2 + 1];
        continue;
      }
      s[0] = a;
      s[1] = b;
      s[2] = c;
      s[3] = counter;
      out[i] = this.#drawExactly(cell, rng);
      a = s[0];
      b = s[1];
      c = s[2];
      counter = s[3];
    }
    s[0] = a;
    s[1] = b;
    s[2] = c;
    s[3] = counter;
  }

  /** A draw within one cell through the quantile function, from the nearer end so that no probability is rounded to 1. */
  #drawExactly(cell: number, rng: Rng): number {
    const f = rng.f64() + HALF_GRAIN;
    const value =
      cell < CELLS / 2
        ? lowerQuantile(this.#kind, this.#a, this.#b, this.#c, (cell + f) / CELLS)
        : upperQuantile(this.#kind, this.#a, this.#b, this.#c, (CELLS - 1 - cell + f) / CELLS);
    return Math.min(Math.max(value, this.min), this.max);
  }

  #choose(u: number, rng: Rng): number {
    let i = this.#guide[u >>> (32 - GUIDE_BITS)];
    while (u >= this.#upTo[i]) i++;
    const part = this.#parts[i];
    if (part !== undefined) return part.#kind >= EXPONENTIAL ? part.#fromTable(rng) : part.sample(rng);
    const width = this.#widthPerGrain[i];
    return width === 0 ? this.#low[i] : this.#low[i] + (rng.u32() + 0.5) * width;
  }

  #buildTable(): void {
    const boundary = new Float64Array(CELLS + 1);
    for (let i = 0; i <= CELLS; i++) boundary[i] = this.#quantileAt(i);
    let first = CELLS / 2;
    let end = CELLS / 2;
    const straight = (cell: number): boolean => {
      const middle = this.#quantileAt(cell + 0.5);
      return Math.abs((boundary[cell] + boundary[cell + 1]) / 2 - middle) <= CHORD_TOLERANCE * middle;
    };
    while (first > 0 && straight(first - 1)) first--;
    while (end < CELLS && straight(end)) end++;
    this.#firstCell = first;
    this.#endCell = end;
    this.#table = new Float64Array(2 * CELLS);
    for (let cell = first; cell < end; cell++) {
      const step = (boundary[cell + 1] - boundary[cell]) / 2 ** GRAIN_BITS;
      // Each grain stands for its middle, so the cell's mean is the chord's.
      this.#table[cell * 2] = boundary[cell] + 0.5 * step;
      this.#table[cell * 2 + 1] = step;
    }
  }

  /** The quantile of probability x / CELLS. */
  #quantileAt(x: number): number {
    const value =
      x < CELLS / 2
        ? lowerQuantile(this.#kind, this.#a, this.#b, this.#c, x / CELLS)
        : upperQuantile(this.#kind, this.#a, this.#b, this.#c, (CELLS - x) / CELLS);
    return Math.max(value, this.min);
  }

  #buildChoices(choices: readonly Choice[]): void {
    let total = 0;
    for (const choice of choices) total += choice.weight;
    this.#upTo = new Float64Array(choices.length);
    this.#low = new Float64Array(choices.length);
    this.#widthPerGrain = new Float64Array(choices.length);
    this.#parts = choices.map((choice) => choice.part);
    let sum = 0;
    for (let i = 0; i < choices.length; i++) {
      sum += choices[i].weight;
      // The last one ends at 2^32 whatever the rounding of the sum, so the search always ends.
      this.#upTo[i] = i === choices.length - 1 ? 2 ** 32 : (sum / total) * 2 ** 32;
      this.#low[i] = choices[i].low;
      this.#widthPerGrain[i] = choices[i].width / 2 ** 32;
    }
    this.#guide = new Int32Array(GUIDE_CELLS);
    for (let cell = 0, i = 0; cell < GUIDE_CELLS; cell++) {
      while (cell * 2 ** (32 - GUIDE_BITS) >= this.#upTo[i]) i++;
      this.#guide[cell] = i;
    }
  }
}

/**
 * The value that a share p of the samples lies below. The parameters, by kind:
 * exponential: a mean. lognormal: a median, b sigma. weibull: a scale, b 1/shape.
 * pareto: a min, b 1/shape, c the share (min/max)^shape that truncation at max takes from the untruncated tail.
 */
function lowerQuantile(kind: number, a: number, b: number, c: number, p: number): number {
  switch (kind) {
    case EXPONENTIAL:
      return -a * log1p(-p);
    case LOGNORMAL:
      return a * exp(b * normalQuantile(p));
    case WEIBULL:
      return a * pow(-log1p(-p), b);
    case PARETO:
      return a * exp(-b * log1p(-p * (1 - c)));
    default:
      throw new Error(`distribution kind ${kind} has no quantile function`);
  }
}

/** The value that a share s of the samples lies above. */
function upperQuantile(kind: number, a: number, b: number, c: number, s: number): number {
  switch (kind) {
    case EXPONENTIAL:
      return -a * log(s);
    case LOGNORMAL:
      return a * exp(-b * normalQuantile(s));
    case WEIBULL:
      return a * pow(-log(s), b);
    case PARETO:
      return a * exp(-b * log(c + s * (1 - c)));
    default:
      throw new Error(`distribution kind ${kind} has no quantile function`);
  }
}

function constant(value: number): Sampler {
  return new Sampler({ kind: CONSTANT, mean: value, min: value, max: value, a: value });
}

/** The mean of a Pareto distribution cut off at max: the integral of x times its density, divided by its share. */
function truncatedParetoMean(min: number, max: number, shape: number): number {
  const range = log(max / min);
  const share = -expm1(-shape * range);
  // (1 - (min/max)^(shape-1)) / (shape - 1), whose limit at shape 1 is the range.
  const excess = shape - 1;
  const integral = excess === 0 ? range : -expm1(-excess * range) / excess;
  return (min * shape * integral) / share;
}

function smooth(
  kind: number,
  mean: number,
  min: number,
  max: number,
  a: number,
  b: number,
  c: number,
): Sampler {
  if (!(mean < Infinity && max < Infinity)) throw new RangeError("a distribution's values must be finite");
  return new Sampler({ kind, mean, min, max, a, b, c });
}

/** Appends what a part of a mixture consists of; nested mixtures and histograms melt into the one list. */
function collectChoices(dist: Dist, weight: number, choices: Choice[]): void {
  if (dist.kind === "mixture") {
    const total = dist.parts.reduce((sum, part) => sum + part.weight, 0);
    for (const part of dist.parts) collectChoices(part.dist, (weight * part.weight) / total, choices);
  } else if (dist.kind === "histogram") {
    const total = dist.bins.reduce((sum, bin) => sum + bin.weight, 0);
    for (const bin of dist.bins) {
      if (!(bin.min <= bin.max)) throw new RangeError(`histogram bin from ${bin.min} to ${bin.max}`);
      choices.push({
        weight: (weight * bin.weight) / total,
        low: bin.min,
        width: bin.max - bin.min,
        part: undefined,
      });
    }
  } else if (dist.kind === "constant") {
    choices.push({ weight, low: dist.value, width: 0, part: undefined });
  } else if (dist.kind === "uniform") {
    choices.push({ weight, low: dist.min, width: dist.max - dist.min, part: undefined });
  } else {
    choices.push({ weight, low: 0, width: 0, part: compileDist(dist) });
  }
}

function compileChoices(dist: Dist): Sampler {
  const choices: Choice[] = [];
  collectChoices(dist, 1, choices);
  let total = 0;
  let mean = 0;
  let min = Infinity;
  let max = -Infinity;
  for (const { weight, low, width, part } of choices) {
    total += weight;
    mean += weight * (part === undefined ? low + width / 2 : part.mean);
    min = Math.min(min, part === undefined ? low : part.min);
    max = Math.max(max, part === undefined ? low + width : part.max);
  }
  if (min === max) return constant(min);
  return new Sampler({ kind: SELECT, mean: mean / total, min, max, choices });
}

/** Makes the sampler of a distribution: its tables, its mean and its bounds. */
export function compileDist(dist: Dist): Sampler {
  switch (dist.kind) {
    case "constant":
      return constant(dist.value);
    case "uniform": {
      const { min, max } = dist;
      if (min === max) return constant(min);
      const perGrain = (max - min) / 2 ** 32;
      return new Sampler({ kind: UNIFORM, mean: min + (max - min) / 2, min, max, a: min, b: perGrain });
    }
    case "exponential": {
      if (dist.mean === 0) return constant(0);
      const max = upperQuantile(EXPONENTIAL, dist.mean, 0, 0, LEAST_PROBABILITY);
      return smooth(EXPONENTIAL, dist.mean, 0, max, dist.mean, 0, 0);
    }
    case "lognormal": {
      const { median, sigma } = dist;
      if (median === 0 || sigma === 0) return constant(median);
      const max = upperQuantile(LOGNORMAL, median, sigma, 0, LEAST_PROBABILITY);
      return smooth(LOGNORMAL, median * exp((sigma * sigma) / 2), 0, max, median, sigma, 0);
    }
    case "weibull": {
      const { scale, shape } = dist;
      if (scale === 0) return constant(0);
      const max = upperQuantile(WEIBULL, scale, 1 / shape, 0, LEAST_PROBABILITY);
      return smooth(WEIBULL, scale * exp(logGamma(1 + 1 / shape)), 0, max, scale, 1 / shape, 0);
    }
    case "pareto": {
      const { min, max, shape } = dist;
      const mean = truncatedParetoMean(min, max, shape);
      return smooth(PARETO, mean, min, max, min, 1 / shape, exp(-shape * log(max / min)));
    }
    case "histogram":
    case "mixture":
      return compileChoices(dist);
  }
}
