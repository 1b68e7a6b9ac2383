/**
 * The heap's identities, checked from scratch: every counter against the spans and slots it summarises.
 *
 * Not a mechanism of Go, though readmemstats_m checks the same statistics in its own tests. Costs a pass over all
 * slots: for tests and checked runs.
 */
import type { Heap } from "./mheap.ts";
import {
  ALLOC_COUNT_BEFORE,
  CACHED_SPAN,
  CACHED_WORDS,
  flagOwned,
  flagQuarantined,
  flagUserArena,
  kindMixed,
  SPAN_WORDS,
  spanDead,
  spanInUse,
  spanStack,
  spanWorkBuf,
} from "./records.ts";
import { numSizeClasses, numSpanClasses, pageSize } from "./sizeclasses.ts";

function same(what: string, is: number, should: number): void {
  if (is !== should) throw new Error(`heap invariant: ${what} is ${is}, should be ${should}`);
}

export function checkHeapInvariants(h: Heap): void {
  const spans = h.spans;
  const sg = h.sweepgen;
  const cached = new Uint8Array(spans.end / SPAN_WORDS);
  const countBefore = new Int32Array(spans.end / SPAN_WORDS);
  const { alloc } = h.caches;
  for (let c = 0; c < alloc.length; c += CACHED_WORDS) {
    const s = alloc[c + CACHED_SPAN];
    if (s < 0) continue;
    same(`caches holding span ${s}`, cached[s / SPAN_WORDS]++, 0);
    same(`span class of cached span ${s}`, spans.spc[s], (c / CACHED_WORDS) % numSpanClasses);
    countBefore[s / SPAN_WORDS] = alloc[c + ALLOC_COUNT_BEFORE];
  }
  let inUsePages = 0;
  let arenaInUsePages = 0;
  let quarantinedPages = 0;
  let stackPages = 0;
  let workBufPages = 0;
  const classObjects = new Float64Array(numSizeClasses);
  const notCredited = new Float64Array(numSizeClasses);
  let largeBytes = 0;
  let markedBytes = 0;
  let listed = 0;
  for (let s = 0; s < spans.end; s += SPAN_WORDS) {
    if (spans.state[s] === spanDead) continue;
    if (spans.state[s] === spanStack) {
      stackPages += spans.npages[s];
      continue;
    }
    if (spans.state[s] === spanWorkBuf) {
      workBufPages += spans.npages[s];
      continue;
    }
    same(`state of span ${s}`, spans.state[s], spanInUse);
    if ((spans.flags[s] & flagUserArena) === 0) inUsePages += spans.npages[s];
    else if ((spans.flags[s] & flagQuarantined) === 0) arenaInUsePages += spans.npages[s];
    else quarantinedPages += spans.npages[s];
    checkSlots(h, s);
    const generation = spans.sweepgen[s] - sg;
    const isCached = cached[s / SPAN_WORDS] !== 0;
    if (isCached ? generation !== 3 && generation !== 1 : generation !== 0 && generation !== -2) {
      throw new Error(`heap invariant: span ${s} has sweepgen ${generation} relative to the heap's`);
    }
    if (!isCached) listed++;
    markedBytes += spans.marked[s] * spans.elemsizeOf(s);
    const c = spans.spc[s] >> 1;
    if ((spans.flags[s] & flagQuarantined) === 0) classObjects[c] += spans.allocCount[s];
    if (c === 0 && (spans.flags[s] & flagQuarantined) === 0)
      largeBytes += spans.allocCount[s] * spans.elemsizeOf(s);
    if (isCached) notCredited[c] += spans.allocCount[s] - countBefore[s / SPAN_WORDS];
  }
  const st = h.stats;
  same("HeapInuse", st.heapInUse, (inUsePages + arenaInUsePages) * pageSize);
  same("pagesInUse", h.pagesInUse, inUsePages + arenaInUsePages + quarantinedPages);
  same("stacks", st.inStacks, stackPages * pageSize);
  same("work buffers", st.inWorkBufs, workBufPages * pageSize);
  for (let c = 1; c < numSizeClasses; c++) {
    same(
      `objects of class ${c}`,
      st.smallAllocCount[c] - st.smallFreeCount[c] + notCredited[c],
      classObjects[c],
    );
  }
  same("large objects", st.largeAllocCount - st.largeFreeCount, classObjects[0]);
  same("bytes of large objects", st.largeAlloc - st.largeFree, largeBytes);
  same("totalAlloc - totalFree", st.totalAlloc - st.totalFree, st.heapAlloc);
  if (h.marking) same("bytesMarked", h.bytesMarked, markedBytes);
  same("spans in lists", countListed(h, cached), listed);
  checkPages(h, inUsePages + stackPages + workBufPages);
}

/** A span's slots agree with its counts: allocated slots below freeIndex, survivors above, nothing else. */
function checkSlots(h: Heap, s: number): void {
  const spans = h.spans;
  const death = h.slots.death;
  const off = spans.firstSlot[s];
  const swept = spans.sweptTick[s];
  let occupied = 0;
  let survivors = 0;
  for (let i = 0; i < spans.nelems[s]; i++) {
    const v = death[off + i];
    if (v < 0 || v > swept) occupied++;
    else if (i < spans.freeIndex[s]) {
      throw new Error(`heap invariant: slot ${i} of span ${s} is below freeIndex, yet free (${v})`);
    }
    if (v < 0 || v > h.lastMarkTick) survivors++;
    if (v < 0 && (spans.flags[s] & flagOwned) === 0)
      throw new Error(`heap invariant: span ${s} hides an owned object`);
    if ((v < 0 || v > swept) && v > spans.maxDeath[s]) {
      throw new Error(
        `heap invariant: slot ${i} of span ${s} dies at ${v}, after the span's ${spans.maxDeath[s]}`,
      );
    }
  }
  same(`occupied slots of span ${s}`, occupied, spans.allocCount[s]);
  const unswept = spans.sweepgen[s] === h.sweepgen - 2 || spans.sweepgen[s] === h.sweepgen + 1;
  if (h.marking || unswept) same(`marked slots of span ${s}`, spans.marked[s], survivors);
  else same(`marks of swept span ${s}`, spans.marked[s], 0);
  if (spans.allocCount[s] > 0 && (spans.flags[s] & flagUserArena) === 0) {
    const k = spans.kind[s];
    if (k !== kindMixed) same(`span class of span ${s}'s kind ${k}`, h.kinds.spc[k], spans.spc[s]);
  }
}

/** Every span not cached is in exactly one list that fits its state, or waits there as already swept elsewhere. */
function countListed(h: Heap, cached: Uint8Array): number {
  const spans = h.spans;
  const seen = new Uint8Array(spans.end / SPAN_WORDS);
  let n = 0;
  for (let spc = 0; spc < numSpanClasses; spc++) {
    const c = h.central[spc];
    const partial = c.partialSwept(h.sweepgen);
    const full = c.fullSwept(h.sweepgen);
    for (const set of [partial, full]) {
      for (let i = 0; i < set.size; i++) {
        const s = set.at(i);
        if (cached[s / SPAN_WORDS] !== 0 || spans.sweepgen[s] !== h.sweepgen || seen[s / SPAN_WORDS] !== 0) {
          throw new Error(`heap invariant: span ${s} is wrongly in a swept list of class ${spc}`);
        }
        const hasFree = spans.allocCount[s] < spans.nelems[s];
        if (hasFree !== (set === partial)) throw new Error(`heap invariant: span ${s} is in the wrong list`);
        seen[s / SPAN_WORDS] = 1;
        n++;
      }
    }
    for (const set of [c.partialUnswept(h.sweepgen), c.fullUnswept(h.sweepgen)]) {
      for (let i = 0; i < set.size; i++) {
        const s = set.at(i);
        if (
          spans.state[s] !== spanInUse ||
          spans.sweepgen[s] !== h.sweepgen - 2 ||
          seen[s / SPAN_WORDS] !== 0
        )
          continue;
        seen[s / SPAN_WORDS] = 1;
        n++;
      }
    }
  }
  return n;
}

/** Pages: in use + stacks + work buffers + idle = mapped, and the allocator's own bitmaps agree. */
function checkPages(h: Heap, spanPages: number): void {
  const st = h.stats;
  let cachedPages = 0;
  let cachedScavBytes = 0;
  for (let p = 0; p < h.procs; p++) {
    cachedPages += h.pageCacheOf(p).freePages();
    cachedScavBytes += h.pageCacheOf(p).scavengedBytes();
  }
  const idlePages = (st.heapFree + st.heapReleased) / pageSize;
  same("idle pages", h.pages.freePages() + cachedPages + h.paddingPages, idlePages);
  same("released bytes", h.pages.scavengedBytes() + cachedScavBytes, st.heapReleased);
  same("mapped pages", spanPages + idlePages, h.pages.totalPages);
}
