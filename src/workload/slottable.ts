/**
 * The oracle's slot tables: what a real program needs to hold on to its objects.
 *
 * The Go program that plays a scenario keeps a pointer to every live object in chunks of 8192 pointers on the Go heap,
 * reusing slots and never freeing a chunk. Those chunks are real heap and real mark work, so the simulator allocates them
 * too when it is compared with that program. All its other bookkeeping is outside the Go heap. A chunk is not written when it is made:
 * its pages are touched as its slots are used for the first time, and what storing a pointer costs is part of what the program does
 * for each object it holds (`object_ns`).
 *
 * Slots used for the first time are filled in the order in which objects are made, so a mark finds what they hold in the order
 * of its addresses; slots used again hold neighbours of any age. How many still are in order is known in the mean only: a
 * death takes one of them with the probability of their share. Any program that holds objects in a structure it fills and
 * then replaces entries of is like this, so the order is kept for the workload alone, too.
 */
import type { G } from "../runtime/proc.ts";
import type { GoRuntime } from "../runtime/runtime.ts";
import type { Context } from "./program.ts";

const CHUNK_POINTERS = 8192;
/** Slots on 4 KiB, also where pages are larger: asked for more often than need be. */
const SLOTS_PER_PAGE = 512;
const FOREVER = 0x7fffffff;
/** Deaths are counted in buckets of a millisecond, as the oracle's wheel does. */
const BUCKET_NS = 1e6;

/** The source of a table's chunks; -1 when the workload runs alone, and its tables take no memory. */
export function tableSource(ctx: Context, name: string): number {
  return ctx.program.declared ? ctx.addSource(`${name}/table`) : -1;
}

export class SlotTable {
  readonly #rt: GoRuntime;
  readonly #kind: number;
  /** The end of the run: later deaths free nothing. */
  readonly #lastBucket: number;
  /** By bucket, modulo its length (a power of two): objects that die in it. Grows to the farthest death pending. */
  #dying = new Int32Array(1024);
  /** The first bucket whose deaths are still to come. */
  #expiredBucket = 0;
  #live = 0;
  /** Most slots ever used at once, and how many of those in use are used for the first time. */
  #peak = 0;
  #first = 0;
  #capacity = 0;
  /** The newest chunk, or -1; its number; and slots of all chunks that lie on pages written so far. */
  #span = -1;
  #chunk = -1;
  #written = 0;

  /** `source` is that of the chunks; -1 for a table that takes no memory. */
  constructor(rt: GoRuntime, source: number, durationNs: number) {
    this.#rt = rt;
    this.#kind = source < 0 ? -1 : rt.kinds.addTable(source, CHUNK_POINTERS * 8);
    if (this.#kind >= 0) rt.kinds.setFilled(this.#kind, (span) => this.#placed(span));
    this.#lastBucket = Math.ceil(durationNs / BUCKET_NS) + 1;
  }

  /** Share of the objects held that lie in the table as they lie in memory. */
  get ordered(): number {
    return this.#live > 0 ? this.#first / this.#live : 1;
  }

  /** Slots of objects dead by `nowNs` are free again. */
  expire(nowNs: number): void {
    const until = Math.min(Math.floor(nowNs / BUCKET_NS), this.#lastBucket);
    const mask = this.#dying.length - 1;
    for (; this.#expiredBucket <= until; this.#expiredBucket++) {
      this.release(this.#dying[this.#expiredBucket & mask]);
      this.#dying[this.#expiredBucket & mask] = 0;
    }
  }

  /**
   * `n` objects born now take slots; a full table grows by a chunk. They live so many nanoseconds, and are dropped with the next
   * multiple of `dropNs`: `deaths` gets the ticks.
   */
  add(
    g: G,
    p: number,
    nowNs: number,
    lifetimesNs: Float64Array,
    dropNs: number,
    deaths: Int32Array,
    n: number,
  ): void {
    const perDrop = 1 / dropNs;
    const ticksPerDrop = dropNs / this.#rt.tickNs;
    const bucketsPerDrop = dropNs / BUCKET_NS;
    const whole = Number.isInteger(ticksPerDrop) && Number.isInteger(bucketsPerDrop);
    const lastDrop = FOREVER / ticksPerDrop;
    let i = 0;
    while (i < n) {
      // No calls in the loop. What it leaves to #schedule is out of the ring or later than the run, or makes the ring grow.
      const dying = this.#dying;
      const expired = this.#expiredBucket;
      const limit = whole ? Math.min(dying.length - 1, this.#lastBucket - expired) : -1;
      for (; i < n; i++) {
        const drop = Math.ceil((nowNs + lifetimesNs[i]) * perDrop);
        const bucket = drop * bucketsPerDrop;
        if (bucket < expired || bucket - expired > limit) break;
        deaths[i] = drop * ticksPerDrop;
        dying[bucket & (dying.length - 1)]++;
      }
      if (i === n) break;
      const drop = Math.ceil((nowNs + lifetimesNs[i]) * perDrop);
      deaths[i] = drop < lastDrop ? Math.ceil(drop * ticksPerDrop) : FOREVER;
      this.#schedule(deaths[i], 1);
      i++;
    }
    this.hold(g, p, n);
  }

  /** `n` objects that die at one time or never take slots. */
  addAlike(g: G, p: number, death: number, n: number): void {
    this.#schedule(death, n);
    this.hold(g, p, n);
  }

  #schedule(death: number, n: number): void {
    if (death === FOREVER) return;
    const bucket = Math.max(this.#expiredBucket, Math.ceil(death / (BUCKET_NS / this.#rt.tickNs)));
    if (bucket > this.#lastBucket) return;
    if (bucket - this.#expiredBucket >= this.#dying.length) this.#growTo(bucket);
    this.#dying[bucket & (this.#dying.length - 1)] += n;
  }

  #growTo(bucket: number): void {
    const old = this.#dying;
    let length = old.length * 2;
    while (bucket - this.#expiredBucket >= length) length *= 2;
    this.#dying = new Int32Array(length);
    for (let b = this.#expiredBucket; b < this.#expiredBucket + old.length; b++)
      this.#dying[b & (length - 1)] = old[b & (old.length - 1)];
  }

  /** `n` objects that somebody else will release take slots. */
  hold(g: G, p: number, n: number): void {
    this.#live += n;
    if (this.#live > this.#peak) {
      this.#first += this.#live - this.#peak;
      this.#peak = this.#live;
    }
    if (this.#kind < 0) return;
    while (this.#live > this.#capacity) {
      this.#rt.alloc(g, p, this.#kind, FOREVER);
      this.#capacity += CHUNK_POINTERS;
    }
    if (this.#peak > this.#written && this.#written < (this.#chunk + 1) * CHUNK_POINTERS) this.#fill();
  }

  /** A chunk has its memory, later than it was asked for if its goroutine had to assist first. */
  #placed(span: number): void {
    const full = (this.#chunk + 1) * CHUNK_POINTERS;
    if (this.#span >= 0 && this.#written < full) this.#rt.heap.fillLarge(this.#span, CHUNK_POINTERS * 8);
    this.#span = span;
    this.#chunk++;
    this.#written = this.#chunk * CHUNK_POINTERS;
    this.#fill();
  }

  /** The newest chunk's slots are in use up to the peak. */
  #fill(): void {
    if (this.#span < 0) return;
    const first = this.#chunk * CHUNK_POINTERS;
    const used = Math.min(Math.max(this.#peak - first, 0), CHUNK_POINTERS);
    this.#rt.heap.fillLarge(this.#span, used * 8);
    this.#written = first + Math.min(Math.ceil(used / SLOTS_PER_PAGE) * SLOTS_PER_PAGE, CHUNK_POINTERS);
  }

  release(n: number): void {
    if (n === 0) return;
    this.#first -= (this.#first / this.#live) * n;
    this.#live -= n;
  }
}
