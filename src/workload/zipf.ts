/**
 * Which key a cache is asked for: popularity falling as rank^-skew, rank 1 the most popular. Skew 0 is uniform.
 *
 * The sums of a Zipf law have no closed inverse. As in Gray et al. (1994, the generator of the YCSB benchmark) the
 * first two ranks get their exact weights, 1 and 2^-skew; the others are spread over a line, rank r owning
 * [r - 1/2, r + 1/2) with density x^-skew. That inverts in closed form: key = floor(F^-1(u)), one number and a few
 * operations per key however many keys there are, and the Go program of the oracle computes the same formula.
 *
 * What it simplifies: from rank 3 on a key's weight is the integral over its unit, not the value at its middle. At a
 * million keys the shares are within 1.5 in 100 of a true Zipf law up to skew 1, 3 in 100 up to skew 2 and 6 in 100 up
 * to skew 3 (worst at rank 3). `probability` gives the shares as drawn.
 */
import { exp, expm1, log, log1p, pow } from "../sim/math.ts";
import type { Rng } from "../sim/rng.ts";

/** Where the line begins: ranks 1 and 2 are apart. */
const LINE_START = 2.5;

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

  constructor(keys: number, skew: number) {
    if (!(Number.isSafeInteger(keys) && keys >= 1)) throw new RangeError(`zipf needs keys >= 1, not ${keys}`);
    if (!(skew >= 0 && skew < Infinity)) throw new RangeError(`zipf needs skew >= 0, not ${skew}`);
    this.keys = keys;
    this.skew = skew;
    this.#q = 1 - skew;
    this.#startPower = pow(LINE_START, this.#q);
    this.#head = keys === 1 ? 1 : 1 + pow(2, -skew);
    this.#whole = keys <= 2 ? this.#head : this.#head + this.#lineTo(keys + 0.5);
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
    const q = this.#q;
    const along = weight - this.#head;
    let x: number;
    // The general form, x^q = start^q + q along, for the two cases where it is simpler or has a limit.
    if (q === 1) x = LINE_START + along;
    else if (q === 0) x = LINE_START * exp(along);
    else x = LINE_START * exp(log1p((q * along) / this.#startPower) / q);
    return Math.min(Math.floor(x - 0.5), this.keys - 1);
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
