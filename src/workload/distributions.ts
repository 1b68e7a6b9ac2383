/**
 * Random quantities: the samplers behind a scenario's sizes, lifetimes, counts and times.
 *
 * A smooth distribution is sampled from a table of its quantiles: the top bits of one random number choose a cell, the
 * rest interpolate within it. Cells where the straight line would stray from the quantile function by more than one
 * part in 10^4 (in practice the tails) are marked at compile time and cut into sixteen; a number that lands in a sixteenth that is
 * still not straight is drawn anew inside that through the exact quantile function with 53 more bits. So the far tails, which
 * decide how long memory stays, are exact, and the common case costs a few nanoseconds. Histograms and mixtures choose an entry through a guide table.
 *
 * What it simplifies: within the other cells the density is flat, and values have 2^-32 of the probability as their
 * grain. Where it stops being true: unbounded tails end at a probability of 2^-68, which only matters to means carried
 * by rarer events than that (lognormal sigma above 5, weibull shape below 0.05).
 *
 * One class with a numeric kind, not a class per distribution: the executors' call sites stay monomorphic.
 */
import type { Dist } from "../scenario/schema.ts";
import { exp, expm1, log, log1p, logGamma, normalQuantile, pow } from "../sim/math.ts";
import type { Rng } from "../sim/rng.ts";

const CELL_BITS = 10;
const CELLS = 2 ** CELL_BITS;
const TABLE_LENGTH = 2 * CELLS;
/** Bits of the random number left to interpolate with. */
const GRAIN_BITS = 32 - CELL_BITS;
const GRAIN_MASK = 2 ** GRAIN_BITS - 1;

/** Parts of a cell that is not straight, and what is left of its grain to interpolate with in each. */
const FINE_BITS = 4;
const FINE_PARTS = 2 ** FINE_BITS;
const FINE_GRAIN_BITS = GRAIN_BITS - FINE_BITS;
const FINE_GRAIN_MASK = 2 ** FINE_GRAIN_BITS - 1;

/** How far the line across a cell may be from the quantile function, relative, at the cell's middle. */
const CHORD_TOLERANCE = 1e-4;

/** The smallest probability an exact draw can ask for: half a grain of a 53-bit number, within one part of a cell. */
const HALF_GRAIN = 2 ** -54;
const LEAST_PROBABILITY = HALF_GRAIN / CELLS / FINE_PARTS;

/**
 * Cells by which classes of samples are remembered, of all choices together: finer than the tables', as at each end of a class a cell is of no
 * use; and the fewest that a choice has.
 */
const CLASS_BITS = 12;
const LEAST_CLASS_BITS = 4;
const CLASS_UNKNOWN = -1;
const CLASS_SEVERAL = -2;

const GUIDE_BITS = 8;
const GUIDE_CELLS = 2 ** GUIDE_BITS;

const RANGE = 0;
/** Takes one number to choose an entry before the one to draw from it. */
const SELECT = 1;
const EXPONENTIAL = 2;
const LOGNORMAL = 3;
const WEIBULL = 4;
const PARETO = 5;

/** What a sample is drawn from: the range [low, low + width), or another sampler's table where that is given. */
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

/** What a consumer makes of samples where all it wants to know is in which range of values each lies: its classes, from 0. */
export interface Classifier {
  classOf(value: number): number;
  /** Whether all values between the two are of one class. Unlike classOf it may be asked of values that nobody drew. */
  sameClass(low: number, high: number): boolean;
}

const NO_GUIDE = new Int32Array(0);
const NO_TABLES = new Float64Array(0);
/** Where the table begins of a choice that has none. */
const NO_TABLE = -1;
/** Written before they are read in every use, so no state passes between calls. */
const grains = new Uint32Array(512);

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
  /** SELECT: upper ends of the choices' shares of [0, 2^32), and by the top bits the first one to look at. */
  readonly #upTo: Float64Array;
  #guide: Int32Array = NO_GUIDE;
  /** Cells of each choice by which classes are remembered. */
  readonly #classBits: number;
  /** Of each choice without a table: where its range begins and the step per grain, 0 for a point. */
  readonly #low: Float64Array;
  readonly #widthPerGrain: Float64Array;
  /** Of each choice: where its table begins in `#table`, or NO_TABLE, and whose that is, for exact draws. */
  readonly #tableAt: Int32Array;
  readonly #parts: readonly (Sampler | undefined)[];
  /** Of each cell of all tables: the value at its first grain, NaN where it is not straight, and the step per grain. */
  readonly #table: Float64Array;
  /** Cells in [#firstStraight, #endStraight) are straight; of the parts of the others, in their order, what #table has of cells. */
  #firstStraight = 0;
  #endStraight = 0;
  #fine: Float64Array = NO_TABLES;

  /** @internal: use `compileDist`. */
  constructor(parts: Parts) {
    this.#kind = parts.kind;
    this.mean = parts.mean;
    this.min = parts.min;
    this.max = parts.max;
    this.#a = parts.a ?? 0;
    this.#b = parts.b ?? 0;
    this.#c = parts.c ?? 0;
    const choices = parts.choices ?? [{ weight: 1, low: 0, width: 0, part: this }];
    this.#classBits = Math.max(LEAST_CLASS_BITS, CLASS_BITS - Math.ceil(Math.log2(choices.length)));
    this.#low = Float64Array.from(choices, (choice) => choice.low);
    this.#widthPerGrain = Float64Array.from(choices, (choice) => choice.width / 2 ** 32);
    this.#parts = choices.map((choice) => choice.part);
    let length = 0;
    this.#tableAt = Int32Array.from(choices, ({ part }) => {
      if (part === undefined) return NO_TABLE;
      length += TABLE_LENGTH;
      return length - TABLE_LENGTH;
    });
    this.#table = parts.choices === undefined ? this.#buildTable() : new Float64Array(length);
    this.#parts.forEach((part, k) => {
      if (part !== undefined && part !== this) this.#table.set(part.#table, this.#tableAt[k]);
    });
    this.#upTo = new Float64Array(choices.length);
    if (parts.kind === SELECT) this.#buildGuide(choices);
  }

  /** True when every sample is the same; such a sampler draws no random numbers. */
  get isConstant(): boolean {
    return this.min === this.max;
  }

  sample(rng: Rng): number {
    const k = this.#kind === SELECT ? this.#choose(rng.u32()) : 0;
    if (this.#isPoint(k)) return this.#low[k];
    const u = rng.u32();
    const value = this.#valueAt(k, u);
    return Number.isNaN(value) ? this.#parts[k]!.#drawFinely(u, rng) : value;
  }

  /** Whether choice k is one value, for which no number is drawn. */
  #isPoint(k: number): boolean {
    return this.#tableAt[k] === NO_TABLE && this.#widthPerGrain[k] === 0;
  }

  /** What choice k makes of a number; NaN in a cell that is not straight. */
  #valueAt(k: number, u: number): number {
    const start = this.#tableAt[k];
    if (start === NO_TABLE) return this.#low[k] + (u + 0.5) * this.#widthPerGrain[k];
    const at = start + (u >>> GRAIN_BITS) * 2;
    return this.#table[at] + (u & GRAIN_MASK) * this.#table[at + 1];
  }

  /** For fillClasses: what is known of the classes of numbers, by choice and cell: nothing yet. */
  newClasses(): Int32Array {
    return new Int32Array(this.#low.length << this.#classBits).fill(CLASS_UNKNOWN);
  }

  /**
   * The classes of the next n samples, exactly as `fill` and `classOf` would give them. Most cells lie in one class: then the
   * number's cell is all that has to be looked at, once the cell has been met. `known` comes from newClasses.
   */
  fillClasses(rng: Rng, out: Int32Array, n: number, known: Int32Array, classifier: Classifier): void {
    const select = this.#kind === SELECT;
    let i = 0;
    while (true) {
      i = select ? this.#choicesClasses(rng, out, i, n, known) : this.#knownClasses(rng, out, i, n, known);
      if (i === n) return;
      out[i++] = this.sampleClass(rng, known, classifier);
    }
  }

  /** The class of the next sample, as fillClasses gives it. */
  sampleClass(rng: Rng, known: Int32Array, classifier: Classifier): number {
    const k = this.#kind === SELECT ? this.#choose(rng.u32()) : 0;
    const point = this.#isPoint(k);
    const u = point ? 0 : rng.u32();
    const grainBits = 32 - this.#classBits;
    const cell = u >>> grainBits;
    const at = (k << this.#classBits) + cell;
    if (known[at] >= 0) return known[at];
    let value = point ? this.#low[k] : this.#valueAt(k, u);
    if (Number.isNaN(value)) value = this.#parts[k]!.#drawFinely(u, rng);
    const c = classifier.classOf(value);
    if (known[at] === CLASS_UNKNOWN) {
      const first = cell * 2 ** grainBits;
      const low = point ? value : this.#valueAt(k, first);
      const high = point ? value : this.#valueAt(k, first + 2 ** grainBits - 1);
      // Where the cell is not straight they are NaN, and in no order.
      known[at] = low <= high && classifier.sameClass(low, high) ? c : CLASS_SEVERAL;
    }
    return c;
  }

  /** As #fillFromTable and for ranges, too: up to the first sample whose class its cell does not tell, which is not drawn yet. */
  #knownClasses(rng: Rng, out: Int32Array, from: number, n: number, known: Int32Array): number {
    const grainBits = 32 - this.#classBits;
    const s = rng.state;
    let a = s[0];
    let b = s[1];
    let c = s[2];
    let counter = s[3];
    let i = from;
    for (; i < n; i++) {
      const u = (((a + b) | 0) + counter) | 0;
      const k = known[u >>> grainBits];
      if (k < 0) break;
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

  /** As #knownClasses, for SELECT. */
  #choicesClasses(rng: Rng, out: Int32Array, from: number, n: number, known: Int32Array): number {
    const classBits = this.#classBits;
    const upTo = this.#upTo;
    const guide = this.#guide;
    const tableAt = this.#tableAt;
    const widthPerGrain = this.#widthPerGrain;
    const s = rng.state;
    let a = s[0];
    let b = s[1];
    let c = s[2];
    let counter = s[3];
    let i = from;
    for (; i < n; i++) {
      const t = (((a + b) | 0) + counter) | 0;
      let k = guide[t >>> (32 - GUIDE_BITS)];
      while (t >>> 0 >= upTo[k]) k++;
      // The state after t; after u, where a second number is drawn.
      const a1 = b ^ (b >>> 9);
      const b1 = (c + (c << 3)) | 0;
      const c1 = (((c << 21) | (c >>> 11)) + t) | 0;
      const counter1 = (counter + 1) | 0;
      const point = tableAt[k] === NO_TABLE && widthPerGrain[k] === 0;
      const u = (((a1 + b1) | 0) + counter1) | 0;
      const found = known[(k << classBits) + (point ? 0 : u >>> (32 - classBits))];
      if (found < 0) break;
      out[i] = found;
      counter = point ? counter1 : (counter1 + 1) | 0;
      a = point ? a1 : b1 ^ (b1 >>> 9);
      b = point ? b1 : (c1 + (c1 << 3)) | 0;
      c = point ? c1 : (((c1 << 21) | (c1 >>> 11)) + u) | 0;
    }
    s[0] = a;
    s[1] = b;
    s[2] = c;
    s[3] = counter;
    return i;
  }

  /** The choice that a number falls to. */
  #choose(t: number): number {
    let k = this.#guide[t >>> (32 - GUIDE_BITS)];
    while (t >= this.#upTo[k]) k++;
    return k;
  }

  /**
   * The next n samples, exactly as n calls of `sample` would give them. The loops have the generator (see rng.ts) inlined, its
   * state in locals, and call nothing, so that the arrays' addresses stay in registers.
   */
  fill(rng: Rng, out: Float64Array, n: number): void {
    if (this.#kind === RANGE) {
      this.#fillFromRange(rng, out, n);
      return;
    }
    const smooth = this.#kind >= EXPONENTIAL;
    let i = 0;
    while (true) {
      i = smooth ? this.#fillFromTable(rng, out, i, n) : this.#fillFromChoices(rng, out, i, n);
      if (i === n) return;
      const u = out[i] % 2 ** 32;
      out[i] = this.#parts[(out[i] - u) / 2 ** 32]!.#drawFinely(u, rng);
      i++;
    }
  }

  #fillFromRange(rng: Rng, out: Float64Array, n: number): void {
    const low = this.#low[0];
    const width = this.#widthPerGrain[0];
    if (width === 0) {
      out.fill(low, 0, n);
      return;
    }
    for (let from = 0; from < n; from += grains.length) {
      const m = Math.min(grains.length, n - from);
      rng.fillU32(grains, m);
      for (let i = 0; i < m; i++) out[from + i] = low + (grains[i] + 0.5) * width;
    }
  }

  /**
   * Samples `from` to n - 1, or as far as to the first in a cell that is not straight: returns its index and leaves in its place
   * the random number plus 2^32 times the number of its choice.
   */
  #fillFromTable(rng: Rng, out: Float64Array, from: number, n: number): number {
    const table = this.#table;
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
      const cell = u >>> GRAIN_BITS;
      const value = table[cell * 2] + (u & GRAIN_MASK) * table[cell * 2 + 1];
      if (Number.isNaN(value)) {
        out[i] = u >>> 0;
        break;
      }
      out[i] = value;
    }
    s[0] = a;
    s[1] = b;
    s[2] = c;
    s[3] = counter;
    return i;
  }

  /** As #fillFromTable, for SELECT. */
  #fillFromChoices(rng: Rng, out: Float64Array, from: number, n: number): number {
    const upTo = this.#upTo;
    const guide = this.#guide;
    const low = this.#low;
    const widthPerGrain = this.#widthPerGrain;
    const tableAt = this.#tableAt;
    const table = this.#table;
    const s = rng.state;
    let a = s[0];
    let b = s[1];
    let c = s[2];
    let counter = s[3];
    let i = from;
    for (; i < n; i++) {
      const t = (((a + b) | 0) + counter) | 0;
      counter = (counter + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + t) | 0;
      let k = guide[t >>> (32 - GUIDE_BITS)];
      while (t >>> 0 >= upTo[k]) k++;
      const start = tableAt[k];
      if (start === NO_TABLE && widthPerGrain[k] === 0) {
        out[i] = low[k];
        continue;
      }
      const u = (((a + b) | 0) + counter) | 0;
      counter = (counter + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + u) | 0;
      if (start === NO_TABLE) {
        out[i] = low[k] + ((u >>> 0) + 0.5) * widthPerGrain[k];
        continue;
      }
      const cell = u >>> GRAIN_BITS;
      const at = start + cell * 2;
      const value = table[at] + (u & GRAIN_MASK) * table[at + 1];
      if (Number.isNaN(value)) {
        out[i] = k * 2 ** 32 + (u >>> 0);
        break;
      }
      out[i] = value;
    }
    s[0] = a;
    s[1] = b;
    s[2] = c;
    s[3] = counter;
    return i;
  }

  /** The value of a number in a cell that is not straight. */
  #drawFinely(u: number, rng: Rng): number {
    const cell = u >>> GRAIN_BITS;
    const part = (u >>> FINE_GRAIN_BITS) & (FINE_PARTS - 1);
    const at = 2 * (this.#fineCell(cell) * FINE_PARTS + part);
    const value = this.#fine[at] + (u & FINE_GRAIN_MASK) * this.#fine[at + 1];
    return Number.isNaN(value) ? this.#drawExactly(cell * FINE_PARTS + part, rng) : value;
  }

  /** How many cells before this one are not straight either. */
  #fineCell(cell: number): number {
    return cell < this.#firstStraight ? cell : cell - (this.#endStraight - this.#firstStraight);
  }

  /**
   * A draw within one part of a cell, numbered from 0 over all cells, through the quantile function, from the nearer end so that no
   * probability is rounded to 1.
   */
  #drawExactly(part: number, rng: Rng): number {
    const parts = CELLS * FINE_PARTS;
    const f = rng.f64() + HALF_GRAIN;
    const value =
      part < parts / 2
        ? lowerQuantile(this.#kind, this.#a, this.#b, this.#c, (part + f) / parts)
        : upperQuantile(this.#kind, this.#a, this.#b, this.#c, (parts - 1 - part + f) / parts);
    return Math.min(Math.max(value, this.min), this.max);
  }

  #buildTable(): Float64Array {
    let first = CELLS / 2;
    let end = CELLS / 2;
    while (first > 0 && this.#isStraight(first - 1, first)) first--;
    while (end < CELLS && this.#isStraight(end, end + 1)) end++;
    this.#firstStraight = first;
    this.#endStraight = end;
    const table = new Float64Array(TABLE_LENGTH).fill(NaN);
    for (let cell = first; cell < end; cell++) this.#line(table, 2 * cell, cell, cell + 1, 2 ** GRAIN_BITS);
    this.#fine = new Float64Array(2 * (CELLS - end + first) * FINE_PARTS).fill(NaN);
    for (let cell = 0; cell < CELLS; cell++) {
      if (cell >= first && cell < end) continue;
      for (let part = 0; part < FINE_PARTS; part++) {
        const from = cell + part / FINE_PARTS;
        const to = cell + (part + 1) / FINE_PARTS;
        const at = 2 * (this.#fineCell(cell) * FINE_PARTS + part);
        if (this.#isStraight(from, to)) this.#line(this.#fine, at, from, to, 2 ** FINE_GRAIN_BITS);
      }
    }
    return table;
  }

  /** Is the chord of the quantile function between two probabilities (in cells) near it in the middle? */
  #isStraight(from: number, to: number): boolean {
    const middle = this.#quantileAt((from + to) / 2);
    const chord = (this.#quantileAt(from) + this.#quantileAt(to)) / 2;
    return Math.abs(chord - middle) <= CHORD_TOLERANCE * middle;
  }

  /** Writes the chord between two probabilities at table[at]: each of its grains stands for its middle, so the mean is the chord's. */
  #line(table: Float64Array, at: number, from: number, to: number, grains: number): void {
    const start = this.#quantileAt(from);
    const step = (this.#quantileAt(to) - start) / grains;
    table[at] = start + 0.5 * step;
    table[at + 1] = step;
  }

  /** The quantile of probability x / CELLS. */
  #quantileAt(x: number): number {
    const value =
      x < CELLS / 2
        ? lowerQuantile(this.#kind, this.#a, this.#b, this.#c, x / CELLS)
        : upperQuantile(this.#kind, this.#a, this.#b, this.#c, (CELLS - x) / CELLS);
    return Math.max(value, this.min);
  }

  #buildGuide(choices: readonly Choice[]): void {
    let total = 0;
    for (const choice of choices) total += choice.weight;
    let sum = 0;
    for (let i = 0; i < choices.length; i++) {
      sum += choices[i].weight;
      // The last one ends at 2^32 whatever the rounding of the sum, so the search always ends.
      this.#upTo[i] = i === choices.length - 1 ? 2 ** 32 : (sum / total) * 2 ** 32;
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

function range(min: number, max: number): Sampler {
  const choices = [{ weight: 1, low: min, width: max - min, part: undefined }];
  return new Sampler({ kind: RANGE, mean: min + (max - min) / 2, min, max, choices });
}

function constant(value: number): Sampler {
  return range(value, value);
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
    const part = compileDist(dist);
    choices.push({ weight, low: part.min, width: 0, part: part.isConstant ? undefined : part });
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
    case "uniform":
      return range(dist.min, dist.max);
    case "histogram":
    case "mixture":
      return compileChoices(dist);
  }
}
