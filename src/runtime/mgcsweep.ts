/**
 * Sweeping: unmarked slots become free, and spans without survivors go back to the page heap.
 *
 * Models mgcsweep.go of Go 1.26. Three parties sweep: allocation looking for a free slot (mcentral), the background
 * sweeper going through the classes (`sweepone`), and the proportional sweeper, which makes every allocation pay
 * for enough pages that all are swept when the heap reaches the next trigger. The page reclaimer is in mheap.ts.
 *
 * Because the mark pass already counted each span's survivors and a slot's death says whether it survived, sweeping
 * a span here costs a few stores however many slots it has; `HeapWork` keeps what it would cost in Go.
 *
 * Simplifies: sweepers never overlap, so sweeping is done when the last span is; special records (finalizers,
 * profile samples) are the business of others.
 */
import type { Heap } from "./mheap.ts";
import {
  ALLOC_COUNT,
  FLAGS,
  FREE_INDEX,
  flagNeedzero,
  flagOwned,
  flagUserArena,
  KIND,
  kindNone,
  MARKED,
  MAX_DEATH,
  NPAGES,
  SPC,
  SWEEPGEN,
  SWEPT_TICK,
} from "./records.ts";
import { numSpanClasses, pageSize } from "./sizeclasses.ts";

/** Twice the span classes: full lists and partial lists are separate steps of the background sweeper. */
const numSweepClasses = numSpanClasses * 2;

/** sweepLocker.tryAcquire: true if the span still needs sweeping; it is then the caller's to sweep. */
export function tryAcquire(h: Heap, s: number): boolean {
  const sg = h.sweepgen;
  const { words } = h.spans;
  if (words[s + SWEEPGEN] !== sg - 2) return false;
  words[s + SWEEPGEN] = sg - 1;
  return true;
}

/**
 * sweepLocked.sweep. With `preserve` the caller keeps the span, even an empty one; otherwise the span is listed or,
 * if nothing in it survived, freed. Returns true if it was freed.
 */
export function sweepSpan(h: Heap, s: number, preserve: boolean, p: number): boolean {
  const { spans } = h;
  const { words } = spans;
  const sg = h.sweepgen;
  if (words[s + SWEEPGEN] !== sg - 1) throw new Error(`sweep of span ${s} in the wrong state`);
  const spc = words[s + SPC];
  const nelems = h.layout.nelems[spc];
  h.pagesSwept += spc > 1 ? h.layout.npages[spc] : words[s + NPAGES];
  h.work.spansSwept++;
  h.work.slotsSwept += nelems;
  const nalloc = words[s + MARKED];
  const nfreed = words[s + ALLOC_COUNT] - nalloc;
  if (nfreed < 0) throw new Error(`sweep increased the allocation count of span ${s}`);
  words[s + ALLOC_COUNT] = nalloc;
  words[s + FREE_INDEX] = 0;
  words[s + MARKED] = 0;
  words[s + SWEPT_TICK] = h.lastMarkTick;
  if (nalloc === 0) {
    words[s + KIND] = kindNone;
    words[s + MAX_DEATH] = 0;
    words[s + FLAGS] &= ~flagOwned;
  }
  h.gcBits.alloc(nelems);
  words[s + SWEEPGEN] = sg;
  if ((words[s + FLAGS] & flagUserArena) !== 0) {
    if (preserve) throw new Error("a user arena chunk cannot be swept for reuse of its slots");
    if (nalloc > 0) h.central[spc].fullSwept(sg).push(s);
    else h.recycleUserArenaChunk(s);
    return false;
  }
  const stats = h.stats;
  if (spc > 1) {
    if (nfreed > 0) {
      words[s + FLAGS] |= flagNeedzero;
      stats.smallFreeCount[spc >> 1] += nfreed;
      stats.totalFree += nfreed * h.layout.elemsize[spc];
    }
    if (preserve) return false;
    if (nalloc === 0) {
      h.freeSpan(s, p);
      return true;
    }
    if (nalloc === nelems) h.central[spc].fullSwept(sg).push(s);
    else h.central[spc].partialSwept(sg).push(s);
    return false;
  }
  if (preserve) return false;
  if (nfreed !== 0) {
    stats.largeFreeCount++;
    stats.largeFree += spans.elemsizeOf(s);
    stats.totalFree += spans.elemsizeOf(s);
    h.freeSpan(s, p);
    return true;
  }
  h.central[spc].fullSwept(sg).push(s);
  return false;
}

/** nextSpanForSweep: pops the next unswept span, class by class, each class's full list before its partial one. */
function nextSpanForSweep(h: Heap): number {
  const sg = h.sweepgen;
  for (let sc = h.sweepCentralIndex; sc < numSweepClasses; sc++) {
    const c = h.central[sc >> 1];
    const s = (sc & 1) === 0 ? c.fullUnswept(sg).pop() : c.partialUnswept(sg).pop();
    if (s >= 0) {
      h.sweepCentralIndex = sc;
      return s;
    }
  }
  h.sweepCentralIndex = numSweepClasses;
  return -1;
}

/**
 * sweepone: sweeps one span. Returns the pages it gave back to the heap (0 if the span has survivors), or -1 if
 * there was nothing left to sweep.
 */
export function sweepone(h: Heap, p: number): number {
  if (h.sweepDrained) return -1;
  for (;;) {
    const s = nextSpanForSweep(h);
    if (s < 0) {
      h.sweepDrained = true;
      h.scavenger?.sweepDone();
      h.trace?.sweepDone();
      h.onSweepDone();
      return -1;
    }
    if (!tryAcquire(h, s)) continue;
    const npages = h.spans.words[s + NPAGES];
    if (!sweepSpan(h, s, false, p)) return 0;
    h.reclaimCredit += npages;
    return npages;
  }
}

/**
 * deductSweepCredit: before spanBytes are allocated, sweep until the pages swept are on the line that ends with
 * everything swept at the trigger. `callerSweepPages` are left for the caller to reclaim itself.
 */
export function deductSweepCredit(h: Heap, spanBytes: number, callerSweepPages: number, p: number): void {
  if (h.sweepPagesPerByte === 0) return;
  const live = h.accounting.heapLive;
  let newHeapLive = spanBytes;
  if (h.sweepHeapLiveBasis < live) newHeapLive += live - h.sweepHeapLiveBasis;
  else if (!h.rules.sweepBasisUnderflowFixed) {
    // The unsigned difference wraps and comes back into range when spanBytes is added, unless the sum is negative:
    // then the target is astronomic and everything is swept here.
    newHeapLive += live - h.sweepHeapLiveBasis;
    if (newHeapLive < 0) newHeapLive += 2 ** 64;
  }
  const target = Math.trunc(h.sweepPagesPerByte * newHeapLive) - callerSweepPages;
  while (target > h.pagesSwept - h.pagesSweptBasis) {
    if (sweepone(h, p) < 0) {
      h.sweepPagesPerByte = 0;
      break;
    }
  }
}

/** gcPaceSweeper: draws the proportional sweeper's line from here to the trigger. */
export function gcPaceSweeper(h: Heap, trigger: number): void {
  if (h.isSweepDone()) {
    h.sweepPagesPerByte = 0;
    return;
  }
  const live = h.accounting.heapLive;
  let distance = trigger - live - 1024 * 1024;
  if (distance < pageSize) distance = pageSize;
  const pages = h.pagesInUse - h.pagesSwept;
  if (pages <= 0) {
    h.sweepPagesPerByte = 0;
    return;
  }
  h.sweepPagesPerByte = pages / distance;
  h.sweepHeapLiveBasis = live;
  h.pagesSweptBasis = h.pagesSwept;
}

/** finishsweep_m: at sweep termination, everything left is swept and the emptied lists are reset. */
export function finishSweep(h: Heap, p: number): void {
  while (sweepone(h, p) >= 0);
  const sg = h.sweepgen;
  for (let spc = 0; spc < numSpanClasses; spc++) {
    h.central[spc].partialUnswept(sg).reset();
    h.central[spc].fullUnswept(sg).reset();
  }
  h.gcBits.nextEpoch();
}
