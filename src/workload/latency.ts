/**
 * Latencies counted in logarithmic buckets: 64 per power of two, so a percentile is off by at most 0.8 %.
 * Exact counts, constant memory, one increment per request.
 */
import { nearestRank } from "../sim/quantiles.ts";

const SUB = 64;

export class LatencyHistogram {
  count = 0;
  sumNs = 0;
  maxNs = 0;
  readonly #buckets = new Float64Array(54 * SUB);

  record(ns: number): void {
    const whole = Math.max(1, Math.round(ns));
    this.count++;
    this.sumNs += whole;
    if (whole > this.maxNs) this.maxNs = whole;
    let exponent = 0;
    let scale = 1;
    while (scale * 2 <= whole) {
      scale *= 2;
      exponent++;
    }
    this.#buckets[exponent * SUB + Math.floor(((whole - scale) / scale) * SUB)]++;
  }

  /** The latency that a share `q` of the requests did not exceed, in nanoseconds; 0 when there were none. */
  percentile(q: number): number {
    if (this.count === 0) return 0;
    const rank = nearestRank(q, this.count);
    let seen = 0;
    for (let i = 0; i < this.#buckets.length; i++) {
      seen += this.#buckets[i];
      if (seen < rank) continue;
      const scale = 2 ** Math.floor(i / SUB);
      return Math.min(this.maxNs, scale + ((i % SUB) + 0.5) * (scale / SUB));
    }
    return this.maxNs;
  }

  /** Adds the counts of `other`. */
  merge(other: LatencyHistogram): void {
    this.count += other.count;
    this.sumNs += other.sumNs;
    this.maxNs = Math.max(this.maxNs, other.maxNs);
    for (let i = 0; i < this.#buckets.length; i++) this.#buckets[i] += other.#buckets[i];
  }

  /**
   * What has been counted since it was as `before`, an earlier copy of it. Its largest value is not known any more: `maxNs` is that of
   * all.
   */
  since(before: LatencyHistogram | undefined): LatencyHistogram {
    const later = new LatencyHistogram();
    later.merge(this);
    if (before === undefined) return later;
    later.count -= before.count;
    later.sumNs -= before.sumNs;
    for (let i = 0; i < later.#buckets.length; i++) later.#buckets[i] -= before.#buckets[i];
    return later;
  }

  reset(): void {
    this.count = 0;
    this.sumNs = 0;
    this.maxNs = 0;
    this.#buckets.fill(0);
  }
}

/** Latencies since the last sample, and since the start. */
export class LatencyRecorder extends LatencyHistogram {
  readonly total = new LatencyHistogram();

  /** Ends an interval: what it counted goes to the total. */
  rotate(): void {
    this.total.merge(this);
    this.reset();
  }
}

/** Latencies of each process's first requests, and of the others. */
export class FirstRequests {
  readonly first = new LatencyHistogram();
  readonly rest = new LatencyHistogram();
  readonly #limit: number;
  #seen = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** A process starts: its requests are first ones again. */
  started(): void {
    this.#seen = 0;
  }

  record(ns: number): void {
    (this.#seen < this.#limit ? this.first : this.rest).record(ns);
    this.#seen++;
  }
}
