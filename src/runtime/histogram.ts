/**
 * Durations by Go's own buckets: what runtime/metrics hands out as a Float64Histogram of seconds.
 *
 * Follows histogram.go of Go 1.26, the same since 1.21: HDR-like, four linear buckets per power of two, from 2^8 ns (below which there
 * are four of 64 ns each) up to 2^47 ns, with one bucket each for what is negative and what is longer.
 */

/** timeHistMinBucketBits and timeHistMaxBucketBits, the latter exclusive. */
const MIN_BUCKET_BITS = 9;
const MAX_BUCKET_BITS = 48;
const SUB_BUCKET_BITS = 2;
const SUB_BUCKETS = 1 << SUB_BUCKET_BITS;
const BUCKETS = MAX_BUCKET_BITS - MIN_BUCKET_BITS + 1;

export class TimeHistogram {
  /** Counts by bucket of `timeHistogramBuckets`: negative ones first, those too long last. */
  readonly counts = new Float64Array(BUCKETS * SUB_BUCKETS + 2);

  record(ns: number): void {
    const counts = this.counts;
    if (ns < 0) {
      counts[0]++;
      return;
    }
    const whole = Math.floor(ns);
    // Bits of the number, as bits.Len64 counts them.
    const bits = whole < 2 ** 32 ? 32 - Math.clz32(whole) : 64 - Math.clz32(Math.floor(whole / 2 ** 32));
    const bucket = bits < MIN_BUCKET_BITS ? 0 : bits - MIN_BUCKET_BITS + 1;
    if (bucket >= BUCKETS) {
      counts[counts.length - 1]++;
      return;
    }
    const top = Math.max(bits, MIN_BUCKET_BITS);
    const sub = Math.floor(whole / 2 ** (top - 1 - SUB_BUCKET_BITS)) % SUB_BUCKETS;
    counts[1 + bucket * SUB_BUCKETS + sub]++;
  }
}

/** The boundaries in seconds, one more than there are counts; each is the inclusive lower bound of its bucket. */
export function timeHistogramBuckets(): Float64Array {
  const b = new Float64Array(BUCKETS * SUB_BUCKETS + 3);
  b[0] = Number.NEGATIVE_INFINITY;
  for (let j = 0; j < SUB_BUCKETS; j++) b[j + 1] = (j * 2 ** (MIN_BUCKET_BITS - 1 - SUB_BUCKET_BITS)) / 1e9;
  for (let i = MIN_BUCKET_BITS; i < MAX_BUCKET_BITS; i++)
    for (let j = 0; j < SUB_BUCKETS; j++)
      b[(i - MIN_BUCKET_BITS + 1) * SUB_BUCKETS + j + 1] =
        (2 ** (i - 1) + j * 2 ** (i - 1 - SUB_BUCKET_BITS)) / 1e9;
  b[b.length - 2] = 2 ** (MAX_BUCKET_BITS - 1) / 1e9;
  b[b.length - 1] = Number.POSITIVE_INFINITY;
  return b;
}
