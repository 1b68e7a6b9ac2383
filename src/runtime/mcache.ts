/**
 * mcache: the spans a P allocates from without asking anyone.
 *
 * Models mcache.go of Go 1.26: one span per span class and P, the current tiny block, and what is flushed when.
 * heapLive moves only here: a refill books the whole span but for the objects already in it (tail waste and
 * in-span metadata included), a flush takes back the slots not used, a large object books its pages.
 *
 * The stack cache, part of Go's mcache, belongs to stack.ts.
 */
import { cacheSpan, uncacheSpan } from "./mcentral.ts";
import type { Heap } from "./mheap.ts";
import {
  ALLOC_CACHE,
  ALLOC_COUNT,
  ALLOC_COUNT_BEFORE,
  CACHED_SPAN,
  CACHED_WORDS,
  NELEMS,
  SWEEPGEN,
} from "./records.ts";
import { numSpanClasses, tinySpanClass } from "./sizeclasses.ts";

/** The mcaches of all Ps. */
export class Mcaches {
  readonly count: number;
  /** A record of CACHED_WORDS by P * numSpanClasses + span class. */
  readonly alloc: Int32Array;
  /** Bytes of scannable heap allocated since last handed to the pacer. */
  readonly scanAlloc: Float64Array;
  /** Current tiny block: its span (-1 for none), slot and bytes used. */
  readonly tinySpan: Int32Array;
  readonly tinyIndex: Int32Array;
  readonly tinyOffset: Int32Array;
  /** Tiny objects packed since last credited. */
  readonly tinyAllocs: Float64Array;
  /** sweepgen of the last flush. */
  readonly flushGen: Int32Array;
  /** Refills and flushes since the process started. */
  readonly refills: Float64Array;
  readonly flushes: Float64Array;

  constructor(count: number) {
    this.count = count;
    this.alloc = new Int32Array(count * numSpanClasses * CACHED_WORDS);
    for (let c = 0; c < this.alloc.length; c += CACHED_WORDS) this.alloc[c + CACHED_SPAN] = -1;
    this.scanAlloc = new Float64Array(count);
    this.tinySpan = new Int32Array(count).fill(-1);
    this.tinyIndex = new Int32Array(count);
    this.tinyOffset = new Int32Array(count);
    this.tinyAllocs = new Float64Array(count);
    this.flushGen = new Int32Array(count);
    this.refills = new Float64Array(count);
    this.flushes = new Float64Array(count);
  }
}

/** mcache.refill: replaces P's full span of the class by one with a free slot. */
export function refill(h: Heap, p: number, spc: number): void {
  const caches = h.caches;
  const { alloc } = caches;
  const c = (p * numSpanClasses + spc) * CACHED_WORDS;
  const old = alloc[c + CACHED_SPAN];
  h.work.refills++;
  caches.refills[p]++;
  h.currentP = p;
  if (old >= 0) {
    const { words } = h.spans;
    if (words[old + ALLOC_COUNT] !== h.layout.nelems[spc])
      throw new Error("refill of a span with free space");
    if (words[old + SWEEPGEN] !== h.sweepgen + 3) throw new Error(`bad sweepgen in refill of span ${old}`);
    alloc[c + CACHED_SPAN] = -1;
    const used = words[old + ALLOC_COUNT] - alloc[c + ALLOC_COUNT_BEFORE];
    uncacheSpan(h, old, p);
    h.stats.smallAllocCount[spc >> 1] += used;
    h.stats.totalAlloc += used * h.layout.elemsize[spc];
    if (spc === tinySpanClass) {
      h.stats.tinyAllocCount += caches.tinyAllocs[p];
      caches.tinyAllocs[p] = 0;
    }
  }
  const s = cacheSpan(h, spc, p);
  const { words } = h.spans;
  words[s + SWEEPGEN] = h.sweepgen + 3;
  alloc[c + CACHED_SPAN] = s;
  alloc[c + ALLOC_CACHE] = 0;
  alloc[c + ALLOC_COUNT_BEFORE] = words[s + ALLOC_COUNT];
  const scanAlloc = caches.scanAlloc[p];
  caches.scanAlloc[p] = 0;
  const booked = h.layout.npages[spc] * h.pageSize - words[s + ALLOC_COUNT] * h.layout.elemsize[spc];
  h.accounting.update(booked, scanAlloc);
}

/** mcache.allocLarge: a span for one large object, on the swept list at once. */
export function allocLargeSpan(h: Heap, p: number, npages: number, spc: number): number {
  h.currentP = p;
  h.deductSweepCredit(npages * h.pageSize, npages, p);
  const s = h.alloc(npages, spc, p);
  const nbytes = npages * h.pageSize;
  h.stats.largeAlloc += nbytes;
  h.stats.largeAllocCount++;
  h.stats.totalAlloc += nbytes;
  h.accounting.update(nbytes, 0);
  h.central[spc].fullSwept(h.sweepgen).push(s);
  return s;
}

/** mcache.releaseAll: every span goes back, the tiny block is dropped, all that was pending is credited. */
export function releaseAll(h: Heap, p: number): void {
  const caches = h.caches;
  const { spans } = h;
  const { words } = spans;
  const scanAlloc = caches.scanAlloc[p];
  caches.scanAlloc[p] = 0;
  caches.flushes[p]++;
  let dHeapLive = 0;
  for (let spc = 0; spc < numSpanClasses; spc++) {
    const c = (p * numSpanClasses + spc) * CACHED_WORDS;
    const s = caches.alloc[c + CACHED_SPAN];
    if (s < 0) continue;
    const used = words[s + ALLOC_COUNT] - caches.alloc[c + ALLOC_COUNT_BEFORE];
    h.stats.smallAllocCount[spc >> 1] += used;
    h.stats.totalAlloc += used * spans.elemsizeOf(s);
    if (words[s + SWEEPGEN] !== h.sweepgen + 1) {
      dHeapLive -= (words[s + NELEMS] - words[s + ALLOC_COUNT]) * spans.elemsizeOf(s);
    }
    caches.alloc[c + CACHED_SPAN] = -1;
    uncacheSpan(h, s, p);
  }
  caches.tinySpan[p] = -1;
  caches.tinyOffset[p] = 0;
  h.stats.tinyAllocCount += caches.tinyAllocs[p];
  caches.tinyAllocs[p] = 0;
  h.accounting.update(dHeapLive, scanAlloc);
}

/** mcache.prepareForSweep: flushes the cache once per cycle, before the P allocates again. */
export function prepareForSweep(h: Heap, p: number): void {
  const gen = h.caches.flushGen[p];
  if (gen === h.sweepgen) return;
  if (gen !== h.sweepgen - 2) throw new Error(`bad flushGen ${gen} of P ${p} at sweepgen ${h.sweepgen}`);
  releaseAll(h, p);
  h.caches.flushGen[p] = h.sweepgen;
}
