/**
 * Extremes, mean and quantiles of a stream of numbers, in memory that does not grow with it.
 *
 * Up to EXACT values they are kept, and a quantile is exact. Beyond, they are counted in buckets: a double's sign, exponent and first
 * 10 bits of its fraction make the bucket, so a bucket is 2^-10 of its values wide, its middle is off by at most 2^-11 (0.05 %), and
 * the numbers of a run, from nanoseconds as seconds to terabytes, need at most some 80 * 2^10 of them. Only buckets that hold something take
 * memory. The bits of a double are the same everywhere; logarithms are not.
 *
 * A quantile is by nearest rank: the smallest value that at least this share of the values does not exceed. Not-a-number is no value
 * and is not counted.
 */
const EXACT = 100_000;
const FRACTION_BITS = 10;

const double = new DataView(new ArrayBuffer(8));

/** In the order of the values. */
function bucketOf(value: number): number {
  double.setFloat64(0, Math.abs(value));
  const key = double.getUint32(0) >>> (20 - FRACTION_BITS);
  return value < 0 ? -key : key;
}

function middleOf(bucket: number): number {
  if (bucket === 0) return 0;
  double.setUint32(0, (2 * Math.abs(bucket) + 1) << (20 - FRACTION_BITS - 1));
  double.setUint32(4, 0);
  const middle = double.getFloat64(0);
  return bucket < 0 ? -middle : middle;
}

/**
 * The smallest rank r with r / n >= share, at least 1. By division, which is exact where share is such a fraction as it is written:
 * 0.07 * 100 is a little more than 7.
 */
export function nearestRank(share: number, n: number): number {
  const near = Math.ceil(share * n);
  if ((near - 1) / n >= share) return Math.max(1, near - 1);
  return Math.max(1, near / n < share ? near + 1 : near);
}

export class Quantiles {
  count = 0;
  min = Number.NaN;
  max = Number.NaN;
  last = Number.NaN;
  #sum = 0;
  readonly #keep: boolean;
  /** Undefined once there are too many. */
  #values: number[] | undefined = [];
  readonly #buckets = new Map<number, number>();

  /** Without `quantiles` nothing is kept of the values themselves. */
  constructor(quantiles: boolean) {
    this.#keep = quantiles;
  }

  add(value: number): void {
    if (Number.isNaN(value)) return;
    if (!(value >= this.min)) this.min = value;
    if (!(value <= this.max)) this.max = value;
    this.count++;
    this.last = value;
    this.#sum += value;
    if (!this.#keep) return;
    if (this.#values === undefined) this.#tally(value);
    else if (this.#values.push(value) > EXACT) {
      for (const kept of this.#values) this.#tally(kept);
      this.#values = undefined;
    }
  }

  #tally(value: number): void {
    const bucket = bucketOf(value);
    this.#buckets.set(bucket, (this.#buckets.get(bucket) ?? 0) + 1);
  }

  get mean(): number {
    return this.#sum / this.count;
  }

  quantile(share: number): number {
    if (this.count === 0) return Number.NaN;
    const rank = nearestRank(share, this.count);
    if (this.#values !== undefined) return Float64Array.from(this.#values).sort()[rank - 1];
    let seen = 0;
    for (const [bucket, count] of [...this.#buckets].sort(([a], [b]) => a - b)) {
      seen += count;
      if (seen >= rank) return Math.min(this.max, Math.max(this.min, middleOf(bucket)));
    }
    return this.max;
  }
}

/** Of a few values at hand; of two in the middle their mean. */
export function median(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN;
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
