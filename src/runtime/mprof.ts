/**
 * The heap profiler: which objects it samples, how their stacks' records come to be published, and its own memory.
 *
 * Follows mprof.go (memRecord, mProf_Malloc, mProf_Free, mProf_NextCycle, mProf_Flush, mProf_PostSweep, newBucket, stkbucket) and
 * nextSample of malloc.go, Go 1.26.
 *
 * Sampling. Each mcache counts allocated bytes down to its next sample, an exponentially distributed distance with mean
 * MemProfileRate. The distribution has no memory, so an object of s bytes is sampled with probability 1 - exp(-s / MemProfileRate),
 * whatever was sampled before it. Bytes are those of the slot; an object that joins others in a tiny block counts nothing.
 * A sample remembers when its object dies, or the slot where that stands, and so is found dead by the very mark that finds the
 * object dead. What is drawn comes from a random stream of the profiler's own, and nothing of the run depends on it.
 *
 * Publication. Allocations are known at once, frees only when the object's span is swept, so counts as they come would show too much
 * in use. A bucket therefore has, beside the published counts, those of three cycles to come. With C the number of mark terminations,
 * an allocation counts for C + 2, a free for C + 1, and mark termination publishes what then is C: allocations up to the
 * previous mark termination, less what was dead at that mark. In use, as published, is thus what the last mark but one found;
 * runtime.GC sweeps to the end and publishes its own mark's (PostSweep). Reading before anything has been published publishes all
 * there is.
 *
 * Simplified: the first object on a new mcache, which Go always samples (memProfRate is not set yet), is sampled like any other, so a
 * profile has up to one sample per P less; a bucket is a source of the workload and a size, as a source allocates from one stack; a mark counts frees at once,
 * not as sweeping gets to them, which shows only in a profile read before the second collection; the CPU time of samples, and
 * their records (a special and its bucket's lines of cache), cost nothing. Each source's bucket is mapped at the start rather than
 * with its first sample (one per 512 KiB allocated, so within moments).
 */
import { log } from "../sim/math.ts";
import type { Rng } from "../sim/rng.ts";
import { grownFloat64, grownInt32, type KindTable } from "./kinds.ts";
import { statBuckHash } from "./mfixalloc.ts";
import type { Heap } from "./mheap.ts";

/** buckHashSize pointers. */
const BUCKET_TABLE_BYTES = 179_999 * 8;
/** A bucket's header and its memRecord. */
const BUCKET_BYTES = 48 + 128;
/** Frames of a goroutine's stack from its start to mallocgc, typically. */
const STACK_DEPTH = 10;

/** Maps the table and the buckets of `sources` allocating stacks. Few of the table's pages are ever touched. */
export function mapProfileBuckets(heap: Heap, sources: number): void {
  const buckets = sources * (BUCKET_BYTES + STACK_DEPTH * 8);
  heap.sys.map(statBuckHash, BUCKET_TABLE_BYTES + buckets);
  heap.sys.touch(statBuckHash, buckets + sources * 4096);
}

/** What one stack has allocated in objects of one size, as sampled: not scaled up. */
export interface MemProfileRecord {
  /** Number of the part of the program that allocates. */
  readonly source: number;
  /** Bytes of the objects' slots, or of the pages of a large one. */
  readonly objectBytes: number;
  readonly allocObjects: number;
  readonly freeObjects: number;
}

/** len(memRecord.future). */
const CYCLES = 3;
const NO_BUCKET = -1;
/** Where a sample says when its object dies: in its own record, not in a slot. */
const NO_SLOT = -1;
/** randomBitCount of fastexprand: the distance is at most 18 times its mean. */
const UNIFORM_STEPS = 2 ** 26;
/** Longest mean that fastexprand takes. */
const MAX_RATE = 0x7000000;

export interface MemProfileOptions {
  /** runtime.MemProfileRate: mean bytes between samples; 1 samples every object, 0 none. */
  readonly rate: number;
  readonly procs: number;
  readonly rng: Rng;
}

export class MemProfile {
  readonly rate: number;
  readonly #heap: Heap;
  readonly #kinds: KindTable;
  readonly #rng: Rng;
  /** mcache.nextSample, by P: bytes still to be allocated before the next sample. */
  #nextSample = new Float64Array(0);
  /** mProfCycle: mark terminations so far. */
  #cycle = 0;

  // Buckets, by number.
  #buckets = 0;
  #source = new Int32Array(16);
  #objectBytes = new Float64Array(16);
  /** Published. */
  #allocs = new Float64Array(16);
  #frees = new Float64Array(16);
  /** memRecord.future: of cycle c at bucket * CYCLES + c % CYCLES. */
  #futureAllocs = new Float64Array(16 * CYCLES);
  #futureFrees = new Float64Array(16 * CYCLES);
  readonly #byKey = new Map<string, number>();
  /** Bucket of a kind; NO_BUCKET before its first sample. */
  #bucketOf = new Int32Array(64).fill(NO_BUCKET);

  // Samples whose objects no mark has found dead.
  #live = 0;
  #bucket = new Int32Array(1024);
  /** As a slot has it: a tick, or ~owner. */
  #death = new Int32Array(1024);
  /** The slot that says it instead; NO_SLOT where #death does. */
  #slot = new Int32Array(1024);

  constructor(heap: Heap, options: MemProfileOptions) {
    this.rate = options.rate;
    this.#heap = heap;
    this.#kinds = heap.kinds;
    this.#rng = options.rng;
    this.procresize(options.procs);
  }

  /**
   * GOMAXPROCS is `procs` from now on. A new mcache's first allocation is sampled whatever distance was drawn for it, as its
   * memProfRate is not MemProfileRate yet (mallocgc); that of a P that goes is forgotten (freemcache).
   */
  procresize(procs: number): void {
    const before = this.#nextSample.subarray(0, procs);
    this.#nextSample = new Float64Array(procs);
    this.#nextSample.set(before);
    this.#nextSample.fill(this.rate === 0 ? Infinity : 0, before.length);
  }

  /** nextSample. */
  #drawNext(): number {
    if (this.rate === 0) return Infinity;
    if (this.rate === 1) return 0;
    const uniform = ((this.#rng.u32() >>> 6) + 1) / UNIFORM_STEPS;
    return Math.floor(-log(uniform) * Math.min(this.rate, MAX_RATE)) + 1;
  }

  /** P has allocated the object in slot `heap.lastIndex` of `heap.lastSpan`, of its own. */
  allocated(p: number, kind: number): void {
    if ((this.#nextSample[p] -= this.#kinds.elemsize[kind]) >= 0) return;
    const { spans, lastSpan, lastIndex } = this.#heap;
    this.#sample(p, kind, 0, spans.firstSlot[lastSpan] + lastIndex);
  }

  /** P has allocated `n` objects of one small kind, dying at `deaths[from + i]`. */
  allocatedRun(p: number, kind: number, n: number, deaths: Int32Array, from: number): void {
    const elemsize = this.#kinds.elemsize[kind];
    let next = from;
    for (;;) {
      // The object with which the count falls below 0.
      const before = Math.floor(this.#nextSample[p] / elemsize);
      if (next + before >= from + n) break;
      next += before + 1;
      this.#sample(p, kind, deaths[next - 1], NO_SLOT);
    }
    this.#nextSample[p] -= (from + n - next) * elemsize;
  }

  /** P has allocated objects of the small kinds `kinds[from]` to `kinds[end - 1]`, dying at `deaths[i]`. */
  allocatedEach(p: number, kinds: Int32Array, deaths: Int32Array, from: number, end: number): void {
    const { elemsize } = this.#kinds;
    let left = this.#nextSample[p];
    for (let i = from; i < end; i++) {
      left -= elemsize[kinds[i]];
      if (left >= 0) continue;
      this.#sample(p, kinds[i], deaths[i], NO_SLOT);
      left = this.#nextSample[p];
    }
    this.#nextSample[p] = left;
  }

  /** Whether P can allocate so many bytes without a sample. */
  hasRoom(p: number, bytes: number): boolean {
    return this.#nextSample[p] >= bytes;
  }

  /** P has allocated so many bytes, and hasRoom said that it can. */
  allocatedBytes(p: number, bytes: number): void {
    this.#nextSample[p] -= bytes;
  }

  /** profilealloc and mProf_Malloc. */
  #sample(p: number, kind: number, death: number, slot: number): void {
    this.#nextSample[p] = this.#drawNext();
    const b = this.#bucketFor(kind);
    this.#futureAllocs[b * CYCLES + ((this.#cycle + 2) % CYCLES)]++;
    if (this.#live === this.#bucket.length) {
      const n = this.#live * 2;
      this.#bucket = grownInt32(this.#bucket, n);
      this.#death = grownInt32(this.#death, n);
      this.#slot = grownInt32(this.#slot, n);
    }
    const i = this.#live++;
    this.#bucket[i] = b;
    this.#death[i] = death;
    this.#slot[i] = slot;
  }

  /** stkbucket: by stack and size. */
  #bucketFor(kind: number): number {
    if (kind >= this.#bucketOf.length) {
      const grown = new Int32Array(kind * 2).fill(NO_BUCKET);
      grown.set(this.#bucketOf);
      this.#bucketOf = grown;
    }
    const known = this.#bucketOf[kind];
    if (known !== NO_BUCKET) return known;
    const source = this.#kinds.source[kind];
    const objectBytes = this.#kinds.elemsize[kind];
    const key = `${source}/${objectBytes}`;
    let b = this.#byKey.get(key);
    if (b === undefined) {
      b = this.#buckets++;
      if (b === this.#source.length) this.#growBuckets();
      this.#source[b] = source;
      this.#objectBytes[b] = objectBytes;
      this.#byKey.set(key, b);
    }
    this.#bucketOf[kind] = b;
    return b;
  }

  #growBuckets(): void {
    const n = this.#source.length * 2;
    this.#source = grownInt32(this.#source, n);
    this.#objectBytes = grownFloat64(this.#objectBytes, n);
    this.#allocs = grownFloat64(this.#allocs, n);
    this.#frees = grownFloat64(this.#frees, n);
    this.#futureAllocs = grownFloat64(this.#futureAllocs, n * CYCLES);
    this.#futureFrees = grownFloat64(this.#futureFrees, n * CYCLES);
  }

  /**
   * A mark pass at `tick`, while slots still refer to the owners it finds dead: the samples of objects that do not survive it are
   * freed by the sweep after it (mProf_Free), in the cycle that is C + 1 then and C + 2 now.
   */
  mark(tick: number): void {
    const { slots, owners } = this.#heap;
    const cycle = (this.#cycle + 2) % CYCLES;
    let kept = 0;
    for (let i = 0; i < this.#live; i++) {
      const slot = this.#slot[i];
      const v = slot === NO_SLOT ? this.#death[i] : slots.death[slot];
      if (v < 0 ? owners.death[~v] <= tick : v <= tick) {
        this.#futureFrees[this.#bucket[i] * CYCLES + cycle]++;
        continue;
      }
      this.#bucket[kept] = this.#bucket[i];
      this.#death[kept] = this.#death[i];
      this.#slot[kept] = slot;
      kept++;
    }
    this.#live = kept;
  }

  /** mProf_NextCycle and mProf_Flush: mark termination. */
  nextCycle(): void {
    this.#cycle++;
    this.#flush(this.#cycle % CYCLES);
  }

  /** mProf_PostSweep: everything dead at the last mark is swept. */
  postSweep(): void {
    this.#flush((this.#cycle + 1) % CYCLES);
  }

  #flush(cycle: number): void {
    for (let b = 0; b < this.#buckets; b++) {
      const at = b * CYCLES + cycle;
      this.#allocs[b] += this.#futureAllocs[at];
      this.#frees[b] += this.#futureFrees[at];
      this.#futureAllocs[at] = 0;
      this.#futureFrees[at] = 0;
    }
  }

  /** runtime.MemProfile(p, true): the published records, in the order of their first samples. */
  records(): MemProfileRecord[] {
    let published = false;
    for (let b = 0; b < this.#buckets; b++) if (this.#allocs[b] > 0) published = true;
    if (!published) for (let cycle = 0; cycle < CYCLES; cycle++) this.#flush(cycle);
    return Array.from({ length: this.#buckets }, (_, b) => ({
      source: this.#source[b],
      objectBytes: this.#objectBytes[b],
      allocObjects: this.#allocs[b],
      freeObjects: this.#frees[b],
    }));
  }
}
