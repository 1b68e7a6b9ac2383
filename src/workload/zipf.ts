/**
 * Which key a cache is asked for: popularity falling as rank^-skew, rank 1 the most popular. Skew 0 is uniform.
 *
 * The sums of a Zipf law have no closed inverse. As in Gray et al. (1994, the generator of the YCSB benchmark) the
 * first two ranks get their exact weights, 1 and 2^-skew; the others are spread over a line, rank r owning
 * [r - 1/2, r + 1/2) with density x^-skew. That inverts in closed form: key = floor(F^-1(u)), one number and a few
 * operations per key however many keys there are, and the Go program of the oracle computes the same formula.
 *
 * Of x, only the key it falls into matters. A table of cubics gives x to within a known error; where no key ends within that
 * error the key is certain, and elsewhere (one draw in five hundred, of a million keys of skew 0.99) the formula is computed. So the keys
 * are the formula's, for the price of a polynomial.
 *
 * What it simplifies: from rank 3 on a key's weight is the integral over its unit, not the value at its middle. At a
 * million keys the shares are within 1.5 in 100 of a true Zipf law up to skew 1, 3 in 100 up to skew 2 and 6 in 100 up
 * to skew 3 (worst at rank 3). `probability` gives the shares as drawn.
 */
import { exp, expm1, log, log1p, pow } from "../sim/math.ts";
import type { Rng } from "../sim/rng.ts";

/** Where the line begins: ranks 1 and 2 are apart. */
const LINE_START = 2.5;

/** Cubics over equal parts of the line's weight, each four coefficients and the error; the last is past the end. */
const CELLS = 256;
const CELL_LENGTH = 5;
/**
 * Rounding of the formula as computed, relative to the weight and to x: the sum of its steps' is below 2^-46, for an
 * exponent of at most 18 in `exp`.
 */
const ROUNDING = 2 ** -44;

export class ZipfSampler {
  readonly keys: number;
  readonly skew: number;
  /** q = 1 - skew: the integral of x^-skew is x^q / q, or log x where q is 0. */
  readonly #q: number;
  /** LINE_START^q. */
  readonly #startPower: number;
  /** Weight of the ranks before the line, and of all. */
  readonly #head: number;
  readonly #whole: number;
  readonly #cells = new Float64Array((CELLS + 1) * CELL_LENGTH).fill(NaN);
  readonly #cellsPerWeight: number;

  constructor(keys: number, skew: number) {
    if (!(Number.isSafeInteger(keys) && keys >= 1)) throw new RangeError(`zipf needs keys >= 1, not ${keys}`);
    if (!(skew >= 0 && skew < Infinity)) throw new RangeError(`zipf needs skew >= 0, not ${skew}`);
    this.keys = keys;
    this.skew = skew;
    this.#q = 1 - skew;
    this.#startPower = pow(LINE_START, this.#q);
    this.#head = keys === 1 ? 1 : 1 + pow(2, -skew);
    this.#whole = keys <= 2 ? this.#head : this.#head + this.#lineTo(keys + 0.5);
    this.#cellsPerWeight = keys <= 2 ? 0 : CELLS / (this.#whole - this.#head);
    if (keys > 2) for (let cell = 0; cell < CELLS; cell++) this.#fitCell(cell);
  }

  /**
   * The cubic with the values and slopes of F^-1 at both ends of a cell. From x' = x^skew follows the fourth derivative,
   * a power of x, hence largest at one end; the cubic's error is at most that times width^4 / 384.
   */
  #fitCell(cell: number): void {
    const { skew } = this;
    const width = 1 / this.#cellsPerWeight;
    const x0 = this.#lineAt(cell * width);
    const x1 = this.#lineAt((cell + 1) * width);
    const rise0 = pow(x0, skew) * width;
    const rise1 = pow(x1, skew) * width;
    const power = 4 * skew - 3;
    const fourth =
      skew * Math.abs((2 * skew - 1) * (3 * skew - 2)) * Math.max(pow(x0, power), pow(x1, power));
    const fit = (fourth * width * width * width * width) / 384;
    const rounding = ROUNDING * (this.#whole * pow(x1, skew) + x1);
    this.#cells.set(
      [x0, rise0, 3 * (x1 - x0) - 2 * rise0 - rise1, 2 * (x0 - x1) + rise0 + rise1, fit + rounding],
      cell * CELL_LENGTH,
    );
  }

  /** The key asked for: 0 is the most popular, keys - 1 the least. Takes two numbers of the sequence. */
  sample(rng: Rng): number {
    return this.keyAt(rng.f64());
  }

  /** F^-1: the key within whose share of the requests u lies, u in [0, 1). */
  keyAt(u: number): number {
    const weight = u * this.#whole;
    if (weight < 1) return 0;
    if (weight < this.#head) return 1;
    const cells = this.#cells;
    const position = (weight - this.#head) * this.#cellsPerWeight;
    const at = Math.floor(position) * CELL_LENGTH;
    const t = position - Math.floor(position);
    const rank = cells[at] + t * (cells[at + 1] + t * (cells[at + 2] + t * cells[at + 3])) - 0.5;
    const key = Math.floor(rank);
    const error = cells[at + 4];
    return rank - key > error && rank - key < 1 - error ? key : this.keyByFormula(u);
  }

  /** keyAt without the table. */
  keyByFormula(u: number): number {
    const weight = u * this.#whole;
    if (weight < 1) return 0;
    if (weight < this.#head) return 1;
    return Math.min(Math.floor(this.#lineAt(weight - this.#head) - 0.5), this.keys - 1);
  }

  /** The place on the line by the weight before it. */
  #lineAt(along: number): number {
    const q = this.#q;
    // The general form, x^q = start^q + q along, for the two cases where it is simpler or has a limit.
    if (q === 1) return LINE_START + along;
    if (q === 0) return LINE_START * exp(along);
    return LINE_START * exp(log1p((q * along) / this.#startPower) / q);
  }

  /** The share of requests for a key. */
  probability(key: number): number {
    if (key === 0) return 1 / this.#whole;
    if (key === 1) return (this.#head - 1) / this.#whole;
    return (this.#lineTo(key + 1.5) - this.#lineTo(key + 0.5)) / this.#whole;
  }

  /** The integral of t^-skew from LINE_START to x; accurate also where q is near 0. */
  #lineTo(x: number): number {
    const length = log(x / LINE_START);
    return this.#q === 0 ? length : (this.#startPower * expm1(this.#q * length)) / this.#q;
  }
}
