/**
 * Allocation of objects.
 *
 * Models mallocgc and its small, tiny and large paths (malloc.go, Go 1.26; 1.26's size-specialised variants differ
 * in CPU cost only). Objects are handed over in runs: n objects of one kind, with their deaths, fill free slots of
 * the P's cached span in one tight loop, in the order Go's free-bit search would find them.
 *
 * A death is taken to be later than the last mark's start: what is allocated during a mark survives it, and its slot
 * is not free before the next one. The caller refills, allocates the object it refilled for, and only then tests the
 * GC trigger; it also tests it after a large object or a user arena chunk, and nowhere else.
 *
 * Not modelled: RuntimeFreegc (an experiment, off by default). The profiler's countdown belongs to mprof.
 */
import { allocLargeSpan } from "./mcache.ts";
import type { Heap } from "./mheap.ts";
import { kindMixed, kindNone } from "./mspan.ts";
import { numSpanClasses, tinySize, tinySpanClass } from "./sizeclasses.ts";

/**
 * Allocates up to n objects of a small, non-tiny kind on P, with the deaths deaths[from..]. Returns how many fitted
 * into the cached span: fewer than n means that the caller has to refill.
 */
export function allocRun(
  h: Heap,
  p: number,
  kind: number,
  n: number,
  deaths: Int32Array,
  from: number,
): number {
  const kinds = h.kinds;
  const spans = h.spans;
  const spc = kinds.spc[kind];
  const s = h.caches.alloc[p * numSpanClasses + spc];
  if (s < 0) return 0;
  const allocCount = spans.allocCount[s];
  const nelems = h.layout.nelems[spc];
  const elemsize = h.layout.elemsize[spc];
  if (allocCount === nelems || n <= 0) return 0;
  if (spans.kind[s] !== kind) noteKind(h, s, kind);
  const seg = spans.slotSeg[s];
  const death = h.slots.death[seg];
  const off = spans.slotOff[s];
  let freeIndex = spans.freeIndex[s];
  const room = nelems - allocCount;
  const want = Math.min(n, room);
  const mixed = spans.kind[s] === kindMixed;
  let latest = spans.maxDeath[s];
  let signs = 0;
  const earliest = h.lastMarkTick + 1;
  if (allocCount === freeIndex) {
    // Everything from freeIndex on is free.
    const at = off + freeIndex;
    for (let i = 0; i < want; i++) {
      let d = deaths[from + i];
      if (d >>> 0 < earliest) d = earliest;
      death[at + i] = d;
      signs |= d;
      if (d > latest) latest = d;
    }
    if (mixed) (h.slots.kind[seg] as Uint16Array).fill(kind, at, at + want);
    freeIndex += want;
  } else {
    const swept = spans.sweptTick[s];
    const kindOf = mixed ? (h.slots.kind[seg] as Uint16Array) : undefined;
    let at = off + freeIndex;
    // No branch on a slot being free, which would be mispredicted half the time: `take` is all ones if it is.
    for (let i = 0; i < want; at++) {
      let d = deaths[from + i];
      if (d >>> 0 < earliest) d = earliest;
      const v = death[at];
      const take = ~(v | (swept - v)) >> 31;
      death[at] = v ^ ((v ^ d) & take);
      if (kindOf !== undefined) kindOf[at] ^= (kindOf[at] ^ kind) & take;
      i -= take;
      signs |= d;
      if (d > latest) latest = d;
    }
    freeIndex = at - off;
  }
  spans.freeIndex[s] = freeIndex;
  spans.allocCount[s] = allocCount + want;
  spans.maxDeath[s] = latest;
  if (signs < 0) spans.hasOwned[s] = 1;
  if (freeIndex > spans.touched[s]) h.touchSlots(s, freeIndex);
  h.caches.scanAlloc[p] += want * kinds.scanAllocBytes[kind];
  kinds.allocated[kind] += want;
  if (spans.needzero[s] !== 0) h.work.bytesZeroed += want * elemsize;
  if (h.marking) {
    spans.marked[s] += want;
    h.bytesMarked += want * elemsize;
  }
  h.lastSpan = s;
  h.lastIndex = freeIndex - 1;
  return want;
}

/** The span gets an object of a kind it did not hold alone so far. */
function noteKind(h: Heap, s: number, kind: number): void {
  const spans = h.spans;
  const was = spans.kind[s];
  if (was === kindMixed) return;
  if (was === kindNone || spans.allocCount[s] === 0) {
    spans.kind[s] = kind;
    return;
  }
  const off = spans.slotOff[s];
  h.slots.kindsOf(spans.slotSeg[s]).fill(was, off, off + spans.nelems[s]);
  spans.kind[s] = kindMixed;
}

/** allocRun for one object, without what only runs need. Returns false if the caller has to refill first. */
export function allocOne(h: Heap, p: number, kind: number, death: number): boolean {
  const kinds = h.kinds;
  const spans = h.spans;
  const spc = kinds.spc[kind];
  const s = h.caches.alloc[p * numSpanClasses + spc];
  if (s < 0) return false;
  const allocCount = spans.allocCount[s];
  if (allocCount === h.layout.nelems[spc]) return false;
  if (spans.kind[s] !== kind) noteKind(h, s, kind);
  const seg = spans.slotSeg[s];
  const deathOf = h.slots.death[seg];
  const off = spans.slotOff[s];
  let index = spans.freeIndex[s];
  if (allocCount !== index) {
    const swept = spans.sweptTick[s];
    while (deathOf[off + index] >>> 0 > swept) index++;
  }
  let d = death;
  if (d >>> 0 <= h.lastMarkTick) d = h.lastMarkTick + 1;
  deathOf[off + index] = d;
  if (d < 0) spans.hasOwned[s] = 1;
  else if (d > spans.maxDeath[s]) spans.maxDeath[s] = d;
  if (spans.kind[s] === kindMixed) (h.slots.kind[seg] as Uint16Array)[off + index] = kind;
  spans.freeIndex[s] = index + 1;
  spans.allocCount[s] = allocCount + 1;
  if (index >= spans.touched[s]) h.touchSlots(s, index + 1);
  if ((spc & 1) === 0) h.caches.scanAlloc[p] += kinds.scanAllocBytes[kind];
  kinds.allocated[kind]++;
  if (spans.needzero[s] !== 0) h.work.bytesZeroed += h.layout.elemsize[spc];
  if (h.marking) {
    spans.marked[s]++;
    h.bytesMarked += h.layout.elemsize[spc];
  }
  h.lastSpan = s;
  h.lastIndex = index;
  return true;
}

const NO_SLOTS = new Int32Array(0);

/** Offset at which an object of `size` bytes may follow `offset` in a tiny block. */
function tinyAlign(offset: number, size: number): number {
  if ((size & 7) === 0) return (offset + 7) & ~7;
  if ((size & 3) === 0) return (offset + 3) & ~3;
  if ((size & 1) === 0) return (offset + 1) & ~1;
  return offset;
}

/**
 * mallocgcTiny: packs the object into P's tiny block or opens a new block, keeping as current whichever of the two
 * has more room left. Returns false if a new block is needed and the caller has to refill first. After a packed
 * allocation `lastIndex` is -1: the slot is shared and may not be given to an owner or killed.
 */
export function allocTiny(h: Heap, p: number, kind: number, death: number): boolean {
  const caches = h.caches;
  const size = h.kinds.size[kind];
  const block = caches.tinySpan[p];
  const offset = tinyAlign(caches.tinyOffset[p], size);
  if (block >= 0 && offset + size <= tinySize) {
    const spans = h.spans;
    const deathOf = h.slots.death[spans.slotSeg[block]];
    const at = spans.slotOff[block] + caches.tinyIndex[p];
    const earliest = h.lastMarkTick + 1;
    const joined = h.owners.join(deathOf[at], death >>> 0 < earliest ? earliest : death);
    deathOf[at] = joined;
    if (joined < 0) spans.hasOwned[block] = 1;
    else if (joined > spans.maxDeath[block]) spans.maxDeath[block] = joined;
    caches.tinyOffset[p] = offset + size;
    caches.tinyAllocs[p]++;
    h.kinds.allocated[kind]++;
    h.lastSpan = block;
    h.lastIndex = -1;
    return true;
  }
  if (!allocOne(h, p, kind, death)) return false;
  if (block < 0 || size < caches.tinyOffset[p]) {
    caches.tinySpan[p] = h.lastSpan;
    caches.tinyIndex[p] = h.lastIndex;
    caches.tinyOffset[p] = size;
  }
  return true;
}

/**
 * allocTiny for the objects `from` to `end`, as far as they are tiny and the span of tiny blocks has room: the block under way
 * is kept in locals. Returns how many were made.
 */
export function allocTinyRun(
  h: Heap,
  p: number,
  kinds: Int32Array,
  deaths: Int32Array,
  from: number,
  end: number,
): number {
  const caches = h.caches;
  const spans = h.spans;
  const { size: sizeOf, tiny, allocated } = h.kinds;
  const earliest = h.lastMarkTick + 1;
  let block = caches.tinySpan[p];
  let offset = caches.tinyOffset[p];
  let deathOf = block >= 0 ? h.slots.death[spans.slotSeg[block]] : NO_SLOTS;
  let at = block >= 0 ? spans.slotOff[block] + caches.tinyIndex[p] : 0;
  let shared = 0;
  let i = from;
  for (; i < end; i++) {
    const kind = kinds[i];
    if (tiny[kind] === 0) break;
    const size = sizeOf[kind];
    const start = tinyAlign(offset, size);
    if (block >= 0 && start + size <= tinySize) {
      let death = deaths[i];
      if (death >>> 0 < earliest) death = earliest;
      const was = deathOf[at];
      const joined = (was | death) >= 0 ? (was > death ? was : death) : h.owners.join(was, death);
      deathOf[at] = joined;
      if (joined < 0) spans.hasOwned[block] = 1;
      else if (joined > spans.maxDeath[block]) spans.maxDeath[block] = joined;
      offset = start + size;
      allocated[kind]++;
      shared++;
      h.lastIndex = -1;
      h.lastSpan = block;
      continue;
    }
    if (!allocOne(h, p, kind, deaths[i])) break;
    if (block >= 0 && size >= offset) continue;
    block = h.lastSpan;
    caches.tinySpan[p] = block;
    caches.tinyIndex[p] = h.lastIndex;
    deathOf = h.slots.death[spans.slotSeg[block]];
    at = spans.slotOff[block] + h.lastIndex;
    offset = size;
  }
  caches.tinyOffset[p] = offset;
  caches.tinyAllocs[p] += shared;
  return i - from;
}

/** mallocgcLarge: an object with a span of its own. The caller tests the GC trigger afterwards. */
export function allocLarge(h: Heap, p: number, kind: number, death: number): void {
  const kinds = h.kinds;
  const spans = h.spans;
  const s = allocLargeSpan(h, p, kinds.largePages[kind], kinds.spc[kind]);
  h.work.largeAllocs++;
  spans.freeIndex[s] = 1;
  spans.allocCount[s] = 1;
  spans.kind[s] = kind;
  const dies = death >>> 0 <= h.lastMarkTick ? h.lastMarkTick + 1 : death;
  h.slots.death[spans.slotSeg[s]][spans.slotOff[s]] = dies;
  if (dies < 0) spans.hasOwned[s] = 1;
  else spans.maxDeath[s] = dies;
  if (spans.needzero[s] !== 0) h.work.bytesZeroed += spans.elemsize[s];
  const start = spans.base[s] * h.pageSize;
  h.touch(start, start + kinds.size[kind]);
  h.caches.scanAlloc[p] += kinds.scanAllocBytes[kind];
  kinds.allocated[kind]++;
  if (h.marking) {
    spans.marked[s] = 1;
    h.bytesMarked += spans.elemsize[s];
  }
  h.lastSpan = s;
  h.lastIndex = 0;
}

/** The span class a kind is refilled for. */
export function refillClass(h: Heap, kind: number): number {
  return h.kinds.tiny[kind] !== 0 ? tinySpanClass : h.kinds.spc[kind];
}
