/**
 * Random quantities: the samplers behind a scenario's sizes, lifetimes, counts and times.
 *
 * A distribution is sampled from a table of its quantiles: the top bits of one random number choose a cell, the
 * rest interpolate within it. A histogram or mixture gives each of its parts a stretch of the probabilities, as long as its
 * weight, so it has one table, too, and takes one number. Some cells are not straight: those where the line would stray from the
 * quantile function by more than one part in 10^4 (in practice the tails), and those in which a stretch ends. They are known at
 * compile time and cut into sixteen. A number that lands in a sixteenth that is still not straight is drawn anew inside that,
 * through the exact quantile function with 53 more bits. So the far tails, which decide how long memory stays, and the weights
 * are exact, and the common case costs a few nanoseconds.
 *
 * What it simplifies: within the other cells the density is flat, and values have 2^-32 of the probability as their
 * grain. Where it stops being true: unbounded tails end at a probability of 2^-68, which only matters to means carried
 * by rarer events than that (lognormal sigma above 5, weibull shape below 0.05).
 *
 * One class with numeric laws, not a class per distribution: the executors' call sites stay monomorphic.
 */
import type { Dist } from "../scenario/schema.ts";
import { exp, expm1, log, log1p, logGamma, normalQuantile, pow } from "../sim/math.ts";
import type { Rng } from "../sim/rng.ts";

/**
 * Bits of the number that choose a cell: of a straight line, of a smooth law, and of several stretches, which share the cells.
 */
const LINE_CELL_BITS = 1;
const SMOOTH_CELL_BITS = 10;
const STRETCHES_CELL_BITS = 12;

/** Parts of a cell that is not straight. */
const FINE_BITS = 4;
const FINE_PARTS = 2 ** FINE_BITS;

/** How far the line across a cell may be from the quantile function, relative, at the cell's middle. */
const CHORD_TOLERANCE = 1e-4;

/**
 * The smallest probability an exact draw of a smooth law can ask for: half a grain of a 53-bit number, within one part of a
 * cell.
 */
const HALF_GRAIN = 2 ** -54;
const LEAST_PROBABILITY = HALF_GRAIN / 2 ** SMOOTH_CELL_BITS / FINE_PARTS;

/** Cells by which classes of samples are remembered, and the parts of those in which a class ends. */
const CLASS_BITS = 12;
const CLASS_SHIFT = 32 - CLASS_BITS;
const CLASS_PART_SHIFT = CLASS_SHIFT - FINE_BITS;
const CLASS_UNKNOWN = -1;
/** Several classes: of a part this number, of a cell this less the number of its block of parts. */
const CLASS_SEVERAL = -2;

/** The quantile functions there are; the parameters a, b and c of each stand at `lowerQuantile`. */
const LINE = 0;
const EXPONENTIAL = 1;
const LOGNORMAL = 2;
const WEIBULL = 3;
const PARETO = 4;

/** A quantile function with the values it stands for, and its weight among others. */
interface Stretch {
  readonly weight: number;
  readonly law: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly mean: number;
  readonly min: number;
  readonly max: number;
}

/** What a consumer makes of samples where all it wants to know is in which range of values each lies: its classes, from 0. */
export interface Classifier {
  classOf(value: number): number;
  /** Whether all values between the two are of one class. Unlike classOf it may be asked of values that nobody drew. */
  sameClass(low: number, high: number): boolean;
}

/** What is known of the classes of a sampler's numbers: by cell and, in blocks of FINE_PARTS, by part of a cell. */
export class KnownClasses {
  readonly cells: Int32Array;
  parts = new Int32Array(0);
  #blocks = 0;

  /** @internal: see Sampler.newClasses. */
  constructor(cells: number) {
    this.cells = new Int32Array(cells).fill(CLASS_UNKNOWN);
  }

  /** A block of parts, of which nothing is known. Returns its number. */
  addBlock(): number {
    const length = (this.#blocks + 1) * FINE_PARTS;
    if (length > this.parts.length) {
      const parts = new Int32Array(2 * length).fill(CLASS_UNKNOWN);
      parts.set(this.parts);
      this.parts = parts;
    }
    return this.#blocks++;
  }
}

export class Sampler {
  /** The distribution's mean, from its formula. */
  readonly mean: number;
  /** No sample is below `min` or above `max`; for an unbounded tail `max` is the largest value that can be drawn. */
  readonly min: number;
  readonly max: number;

  readonly #cellBits: number;
  /** Stretches in their order, and where each ends, in parts: the probabilities are so many as all cells have. */
  readonly #stretches: readonly Stretch[];
  readonly #ends: Float64Array;
  /**
   * Of each cell: the value at its first grain and the step per grain, or if it is not straight NaN and where in #fine its parts
   * begin.
   */
  readonly #table: Float64Array;
  /**
   * Of each part of the cells that are not straight what #table has of cells; NaN again where the part is not straight either.
   */
  readonly #fine: Float64Array;

  /** @internal: use `compileDist`. */
  constructor(stretches: readonly Stretch[]) {
    let total = 0;
    let weighted = 0;
    let min = Infinity;
    let max = -Infinity;
    for (const stretch of stretches) {
      total += stretch.weight;
      weighted += stretch.weight * stretch.mean;
      min = Math.min(min, stretch.min);
      max = Math.max(max, stretch.max);
    }
    this.mean = min === max ? min : weighted / total;
    this.min = min;
    this.max = max;
    if (stretches.length > 1) this.#cellBits = STRETCHES_CELL_BITS;
    else this.#cellBits = stretches[0].law === LINE ? LINE_CELL_BITS : SMOOTH_CELL_BITS;
    this.#stretches = stretches;
    const parts = 2 ** this.#cellBits * FINE_PARTS;
    let sum = 0;
    // The last one ends with the probabilities, whatever the rounding of the sum.
    this.#ends = Float64Array.from(stretches, ({ weight }, k) => {
      sum += weight;
      return k === stretches.length - 1 ? parts : (sum / total) * parts;
    });
    [this.#table, this.#fine] = this.#buildTables();
  }

  /** True when every sample is the same; such a sampler draws no random numbers. */
  get isConstant(): boolean {
    return this.min === this.max;
  }

  sample(rng: Rng): number {
    if (this.isConstant) return this.min;
    const u = rng.u32();
    const value = this.#valueAt(u);
    return Number.isNaN(value) ? this.#drawExactly(u, rng) : value;
  }

  /** What the table makes of a number; NaN in a cell that is not straight. */
  #cellValueAt(u: number): number {
    const at = (u >>> (32 - this.#cellBits)) * 2;
    return this.#table[at] + (u & (-1 >>> this.#cellBits)) * this.#table[at + 1];
  }

  /** What is made of a number; NaN in a part that is not straight. */
  #valueAt(u: number): number {
    const value = this.#cellValueAt(u);
    if (!Number.isNaN(value)) return value;
    const partBits = this.#cellBits + FINE_BITS;
    const part = u >>> (32 - partBits);
    const at = this.#table[2 * (part >>> FINE_BITS) + 1] + 2 * (part & (FINE_PARTS - 1));
    return this.#fine[at] + (u & (-1 >>> partBits)) * this.#fine[at + 1];
  }

  /** For fillClasses: nothing is known yet. */
  newClasses(): KnownClasses {
    return new KnownClasses(this.isConstant ? 0 : 2 ** CLASS_BITS);
  }

  /**
   * The classes of the next n samples, exactly as `fill` and `classOf` would give them. Most cells lie in one class: then the
   * number's cell is all that has to be looked at, once the cell has been met; the others are cut once more. `known` comes from newClasses.
   */
  fillClasses(rng: Rng, out: Int32Array, n: number, known: KnownClasses, classifier: Classifier): void {
    if (this.isConstant) {
      out.fill(classifier.classOf(this.min), 0, n);
      return;
    }
    let i = 0;
    while (true) {
      i = this.#knownClasses(rng, out, i, n, known);
      if (i === n) return;
      out[i++] = this.sampleClass(rng, known, classifier);
    }
  }

  /** The class of the next sample, as fillClasses gives it. */
  sampleClass(rng: Rng, known: KnownClasses, classifier: Classifier): number {
    if (this.isConstant) return classifier.classOf(this.min);
    const u = rng.u32();
    const cell = u >>> CLASS_SHIFT;
    const k = known.cells[cell];
    if (k >= 0) return k;
    const part = (CLASS_SEVERAL - k) * FINE_PARTS + ((u >>> CLASS_PART_SHIFT) & (FINE_PARTS - 1));
    if (k <= CLASS_SEVERAL && known.parts[part] >= 0) return known.parts[part];
    let value = this.#valueAt(u);
    if (Number.isNaN(value)) value = this.#drawExactly(u, rng);
    const c = classifier.classOf(value);
    if (k === CLASS_UNKNOWN) {
      const first = u - (u % 2 ** CLASS_SHIFT);
      const low = this.#cellValueAt(first);
      const high = this.#cellValueAt(first + 2 ** CLASS_SHIFT - 1);
      known.cells[cell] = isOneClass(low, high, classifier) ? c : CLASS_SEVERAL - known.addBlock();
    } else if (known.parts[part] === CLASS_UNKNOWN) {
      // No part of a cell here is larger than those of the tables.
      const first = u - (u % 2 ** CLASS_PART_SHIFT);
      const low = this.#valueAt(first);
      const high = this.#valueAt(first + 2 ** CLASS_PART_SHIFT - 1);
      known.parts[part] = isOneClass(low, high, classifier) ? c : CLASS_SEVERAL;
    }
    return c;
  }

  /** As #fillFromTable: up to the first sample whose class its cell does not tell, which is not drawn yet. */
  #knownClasses(rng: Rng, out: Int32Array, from: number, n: number, known: KnownClasses): number {
    const { cells, parts } = known;
    const s = rng.state;
    let a = s[0];
    let b = s[1];
    let c = s[2];
    let counter = s[3];
    let i = from;
    for (; i < n; i++) {
      const u = (((a + b) | 0) + counter) | 0;
      let k = cells[u >>> CLASS_SHIFT];
      if (k < 0) {
        if (k === CLASS_UNKNOWN) break;
        k = parts[(CLASS_SEVERAL - k) * FINE_PARTS + ((u >>> CLASS_PART_SHIFT) & (FINE_PARTS - 1))];
        if (k < 0) break;
      }
      out[i] = k;
      counter = (counter + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + u) | 0;
    }
    s[0] = a;
    s[1] = b;
    s[2] = c;
    s[3] = counter;
    return i;
  }

  /**
   * The next n samples, exactly as n calls of `sample` would give them. The loops have the generator (see rng.ts) inlined, its
   * state in locals, and call nothing, so that the arrays' addresses stay in registers.
   */
  fill(rng: Rng, out: Float64Array, n: number): void {
    if (this.isConstant) {
      out.fill(this.min, 0, n);
      return;
    }
    let i = 0;
    while (true) {
      i = this.#fillFromTable(rng, out, i, n);
      if (i === n) return;
      out[i] = this.#drawExactly(out[i], rng);
      i++;
    }
  }

  /**
   * Samples `from` to n - 1, or as far as to the first to be drawn exactly: returns its index and leaves the random number in
   * its place.
   */
  #fillFromTable(rng: Rng, out: Float64Array, from: number, n: number): number {
    const table = this.#table;
    const fine = this.#fine;
    const grainBits = 32 - this.#cellBits;
    const grainMask = -1 >>> this.#cellBits;
    const fineBits = grainBits - FINE_BITS;
    const fineMask = grainMask >>> FINE_BITS;
    const s = rng.state;
    let a = s[0];
    let b = s[1];
    let c = s[2];
    let counter = s[3];
    let i = from;
    for (; i < n; i++) {
      const u = (((a + b) | 0) + counter) | 0;
      counter = (counter + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + u) | 0;
      const cell = u >>> grainBits;
      let value = table[cell * 2] + (u & grainMask) * table[cell * 2 + 1];
      if (Number.isNaN(value)) {
        // As #valueAt.
        const at = (table[cell * 2 + 1] | 0) + 2 * ((u >>> fineBits) & (FINE_PARTS - 1));
        value = fine[at] + (u & fineMask) * fine[at + 1];
        if (Number.isNaN(value)) {
          out[i] = u >>> 0;
          break;
        }
      }
      out[i] = value;
    }
    s[0] = a;
    s[1] = b;
    s[2] = c;
    s[3] = counter;
    return i;
  }

  /** A draw within the part that a number falls to, through the quantile function. */
  #drawExactly(u: number, rng: Rng): number {
    const end = (u >>> (32 - this.#cellBits - FINE_BITS)) + 1;
    // How far it is from the part's end, which may be that of a tail: beside the end's number its last bits would be lost.
    const f = rng.f64() + HALF_GRAIN;
    let k = 0;
    while (this.#ends[k] - end + f < 0) k++;
    const value = this.#quantile(k, end, -f);
    return Math.min(Math.max(value, this.min), this.max);
  }

  /**
   * The value `f` parts from the start of part `part`, in stretch k: from its nearer end, so that no probability is rounded to
   * 1.
   */
  #quantile(k: number, part: number, f: number): number {
    const start = k === 0 ? 0 : this.#ends[k - 1];
    const end = this.#ends[k];
    const { law, a, b, c } = this.#stretches[k];
    const below = (part - start + f) / (end - start);
    return below < 0.5
      ? lowerQuantile(law, a, b, c, below)
      : upperQuantile(law, a, b, c, (end - part - f) / (end - start));
  }

  #buildTables(): [table: Float64Array, fine: Float64Array] {
    const cells = 2 ** this.#cellBits;
    const grains = 2 ** (32 - this.#cellBits);
    const table = new Float64Array(2 * cells);
    const bent: number[] = [];
    for (let cell = 0, k = 0; cell < cells; cell++) {
      while (this.#ends[k] <= cell * FINE_PARTS) k++;
      if (!this.#draw(table, 2 * cell, k, cell * FINE_PARTS, FINE_PARTS, grains)) bent.push(cell);
    }
    const fine = new Float64Array(2 * FINE_PARTS * bent.length);
    bent.forEach((cell, i) => {
      const at = 2 * FINE_PARTS * i;
      table[2 * cell] = NaN;
      table[2 * cell + 1] = at;
      for (let n = 0, k = 0; n < FINE_PARTS; n++) {
        const part = cell * FINE_PARTS + n;
        while (this.#ends[k] <= part) k++;
        if (!this.#draw(fine, at + 2 * n, k, part, 1, grains / FINE_PARTS)) fine[at + 2 * n] = NaN;
      }
    });
    return [table, fine];
  }

  /**
   * Writes the chord across `parts` from `part` on, where stretch k goes on, at table[at]: each of its grains stands for its middle, so the mean is the
   * chord's. Says whether the stretch goes on to the end, and its quantile function is near the chord in the middle.
   */
  #draw(table: Float64Array, at: number, k: number, part: number, parts: number, grains: number): boolean {
    if (this.#ends[k] < part + parts) return false;
    const start = Math.max(this.#quantile(k, part, 0), this.min);
    const middle = this.#quantile(k, part, parts / 2);
    const width = this.#quantile(k, part + parts, 0) - start;
    const step = width / grains;
    table[at] = start + 0.5 * step;
    table[at + 1] = step;
    return Math.abs(start + width / 2 - middle) <= CHORD_TOLERANCE * middle;
  }
}

/** Are the values between the ends of a straight line of one class? Where it is not straight they are NaN, and in no order. */
function isOneClass(low: number, high: number, classifier: Classifier): boolean {
  return low <= high && classifier.sameClass(low, high);
}

/**
 * The value that a share p of the samples lies below. The parameters, by law: line: a where it begins, b its width. exponential: a mean.
 * lognormal: a median, b sigma. weibull: a scale, b 1/shape.
 * pareto: a min, b 1/shape, c the share (min/max)^shape that truncation at max takes from the untruncated tail.
 */
function lowerQuantile(law: number, a: number, b: number, c: number, p: number): number {
  switch (law) {
    case LINE:
      return a + b * p;
    case EXPONENTIAL:
      return -a * log1p(-p);
    case LOGNORMAL:
      return a * exp(b * normalQuantile(p));
    case WEIBULL:
      return a * pow(-log1p(-p), b);
    case PARETO:
      return a * exp(-b * log1p(-p * (1 - c)));
    default:
      throw new Error(`law ${law} has no quantile function`);
  }
}

/** The value that a share s of the samples lies above. */
function upperQuantile(law: number, a: number, b: number, c: number, s: number): number {
  switch (law) {
    case LINE:
      return a + b * (1 - s);
    case EXPONENTIAL:
      return -a * log(s);
    case LOGNORMAL:
      return a * exp(-b * normalQuantile(s));
    case WEIBULL:
      return a * pow(-log(s), b);
    case PARETO:
      return a * exp(-b * log(c + s * (1 - c)));
    default:
      throw new Error(`law ${law} has no quantile function`);
  }
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

function line(min: number, max: number, weight: number): Stretch {
  return { weight, law: LINE, a: min, b: max - min, c: 0, mean: min + (max - min) / 2, min, max };
}

/** A law whose values are not all the same. */
function smooth(stretch: Stretch): Stretch {
  if (!(stretch.mean < Infinity && stretch.max < Infinity))
    throw new RangeError("a distribution's values must be finite");
  return stretch;
}

/** What a distribution of so much weight consists of; nested mixtures and histograms melt into the one list. */
function stretchesOf(dist: Dist, weight: number): Stretch[] {
  switch (dist.kind) {
    case "constant":
      return [line(dist.value, dist.value, weight)];
    case "uniform":
      return [line(dist.min, dist.max, weight)];
    case "exponential": {
      const { mean } = dist;
      if (mean === 0) return [line(0, 0, weight)];
      const max = upperQuantile(EXPONENTIAL, mean, 0, 0, LEAST_PROBABILITY);
      return [smooth({ weight, law: EXPONENTIAL, a: mean, b: 0, c: 0, mean, min: 0, max })];
    }
    case "lognormal": {
      const { median, sigma } = dist;
      if (median === 0 || sigma === 0) return [line(median, median, weight)];
      const mean = median * exp((sigma * sigma) / 2);
      const max = upperQuantile(LOGNORMAL, median, sigma, 0, LEAST_PROBABILITY);
      return [smooth({ weight, law: LOGNORMAL, a: median, b: sigma, c: 0, mean, min: 0, max })];
    }
    case "weibull": {
      const { scale, shape } = dist;
      if (scale === 0) return [line(0, 0, weight)];
      const mean = scale * exp(logGamma(1 + 1 / shape));
      const max = upperQuantile(WEIBULL, scale, 1 / shape, 0, LEAST_PROBABILITY);
      return [smooth({ weight, law: WEIBULL, a: scale, b: 1 / shape, c: 0, mean, min: 0, max })];
    }
    case "pareto": {
      const { min, max, shape } = dist;
      const mean = truncatedParetoMean(min, max, shape);
      const c = exp(-shape * log(max / min));
      return [smooth({ weight, law: PARETO, a: min, b: 1 / shape, c, mean, min, max })];
    }
    case "histogram": {
      const total = dist.bins.reduce((sum, bin) => sum + bin.weight, 0);
      return dist.bins.map((bin) => {
        if (!(bin.min <= bin.max)) throw new RangeError(`histogram bin from ${bin.min} to ${bin.max}`);
        return line(bin.min, bin.max, (weight * bin.weight) / total);
      });
    }
    case "mixture": {
      const total = dist.parts.reduce((sum, part) => sum + part.weight, 0);
      return dist.parts.flatMap((part) => stretchesOf(part.dist, (weight * part.weight) / total));
    }
  }
}

/** Makes the sampler of a distribution: its tables, its mean and its bounds. */
export function compileDist(dist: Dist): Sampler {
  return new Sampler(stretchesOf(dist, 1));
}
