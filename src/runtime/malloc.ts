/**
 * Allocation of objects.
 *
 * Models mallocgc and its small, tiny and large paths (malloc.go, Go 1.26; 1.26's size-specialised variants differ
 * in CPU cost only). Objects are handed over in runs, which fill free slots of the P's cached spans in one tight loop, in the order
 * Go's free-bit search would find them: of one kind (allocRun), or of several in the order in which the program makes them
 * (allocMixedRun, allocTinyRun). What needs more than a slot is made one by one.
 *
 * A death is taken to be later than the last mark's start: what is allocated during a mark survives it, and its slot
 * is not free before the next one. The caller refills, allocates the object it refilled for, and only then tests the
 * GC trigger; it also tests it after a large object or a user arena chunk, and nowhere else.
 *
 * Not modelled: RuntimeFreegc (an experiment, off by default). The profiler's countdown belongs to mprof.
 */
import { allocLargeSpan } from "./mcache.ts";
import type { Heap } from "./mheap.ts";
import {
  ALLOC_CACHE,
  ALLOC_COUNT,
  CACHED_SPAN,
  CACHED_WORDS,
  COST_NS,
  ELEMSIZE_OF_KIND,
  FIRST_SLOT,
  FLAGS,
  FREE_INDEX,
  flagNeedzero,
  flagOwned,
  KIND,
  KIND_DOUBLES,
  kindMixed,
  kindNone,
  MARKED,
  MAX_DEATH,
  NELEMS,
  SCAN_ALLOC_BYTES,
  SWEPT_TICK,
  TOUCHED,
} from "./records.ts";
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
  const { words } = h.spans;
  const spc = kinds.spc[kind];
  const { alloc } = h.caches;
  const c = (((p * numSpanClasses) | 0) + spc) * CACHED_WORDS;
  const s = alloc[c + CACHED_SPAN];
  if (s < 0) return 0;
  const allocCount = words[s + ALLOC_COUNT];
  const nelems = h.layout.nelems[spc];
  const elemsize = h.layout.elemsize[spc];
  if (allocCount === nelems || n <= 0) return 0;
  if (words[s + KIND] !== kind) noteKind(h, s, kind);
  const { death, kind: kindOf } = h.slots;
  const off = words[s + FIRST_SLOT];
  let freeIndex = words[s + FREE_INDEX];
  const room = nelems - allocCount;
  const want = Math.min(n, room);
  const mixed = words[s + KIND] === kindMixed;
  let latest = words[s + MAX_DEATH];
  let signs = 0;
  const earliest = (h.lastMarkTick + 1) | 0;
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
    if (mixed) kindOf.fill(kind, at, at + want);
    freeIndex += want;
  } else {
    const swept = words[s + SWEPT_TICK];
    let at = off + freeIndex;
    // No branch on a slot being free, which would be mispredicted half the time: `take` is all ones if it is.
    for (let i = 0; i < want; at++) {
      let d = deaths[from + i];
      if (d >>> 0 < earliest) d = earliest;
      const v = death[at];
      const take = ~(v | (swept - v)) >> 31;
      death[at] = v ^ ((v ^ d) & take);
      if (mixed) kindOf[at] ^= (kindOf[at] ^ kind) & take;
      i -= take;
      signs |= d;
      if (d > latest) latest = d;
    }
    freeIndex = at - off;
  }
  words[s + FREE_INDEX] = freeIndex;
  alloc[c + ALLOC_CACHE] = 0;
  words[s + ALLOC_COUNT] = allocCount + want;
  words[s + MAX_DEATH] = latest;
  if (signs < 0) words[s + FLAGS] |= flagOwned;
  if (freeIndex > words[s + TOUCHED]) h.touchSlots(s, freeIndex);
  h.caches.scanAlloc[p] += want * kinds.scanAllocBytes[kind];
  kinds.allocated[kinds.source[kind]] += want;
  if ((words[s + FLAGS] & flagNeedzero) !== 0) h.work.bytesZeroed += want * elemsize;
  if (h.marking) {
    words[s + MARKED] += want;
    h.bytesMarked += want * elemsize;
  }
  h.lastSpan = s;
  h.lastIndex = freeIndex - 1;
  return want;
}

/** The span gets an object of a kind it did not hold alone so far. */
function noteKind(h: Heap, s: number, kind: number): void {
  const { words } = h.spans;
  const was = words[s + KIND];
  if (was === kindMixed) return;
  if (was === kindNone || words[s + ALLOC_COUNT] === 0) {
    words[s + KIND] = kind;
    return;
  }
  const off = words[s + FIRST_SLOT];
  h.slots.kinds().fill(was, off, off + words[s + NELEMS]);
  words[s + KIND] = kindMixed;
}

/** As noteKind for the span that record c caches, in the midst of a loop over slots' kinds: says false where there are none yet. */
function mixKinds(h: Heap, c: number, kind: number): boolean {
  const s = h.caches.alloc[c + CACHED_SPAN];
  if (s < 0 || h.slots.kind.length === 0) return false;
  noteKind(h, s, kind);
  return true;
}

/** allocRun for one object, without what only runs need. Returns false if the caller has to refill first. */
export function allocOne(h: Heap, p: number, kind: number, death: number): boolean {
  const kinds = h.kinds;
  const { words } = h.spans;
  const spc = kinds.spc[kind];
  const { alloc } = h.caches;
  const c = (((p * numSpanClasses) | 0) + spc) * CACHED_WORDS;
  const s = alloc[c + CACHED_SPAN];
  if (s < 0) return false;
  const allocCount = words[s + ALLOC_COUNT];
  if (allocCount === h.layout.nelems[spc]) return false;
  if (words[s + KIND] !== kind) noteKind(h, s, kind);
  const deathOf = h.slots.death;
  const off = words[s + FIRST_SLOT];
  let index = words[s + FREE_INDEX];
  const bits = alloc[c + ALLOC_CACHE];
  const skip = Math.clz32(bits);
  if (bits !== 0) index += skip;
  else if (allocCount !== index) {
    const swept = words[s + SWEPT_TICK];
    while (deathOf[off + index] >>> 0 > swept) index++;
  }
  const lastMark = h.lastMarkTick | 0;
  let d = death | 0;
  if (d >>> 0 <= lastMark) d = lastMark + 1;
  deathOf[off + index] = d;
  if (d < 0) words[s + FLAGS] |= flagOwned;
  else if (d > words[s + MAX_DEATH]) words[s + MAX_DEATH] = d;
  if (words[s + KIND] === kindMixed) h.slots.kind[off + index] = kind;
  words[s + FREE_INDEX] = index + 1;
  alloc[c + ALLOC_CACHE] = (bits << skip) << 1;
  words[s + ALLOC_COUNT] = allocCount + 1;
  if (index >= words[s + TOUCHED]) h.touchSlots(s, index + 1);
  if ((spc & 1) === 0) h.caches.scanAlloc[p] += kinds.scanAllocBytes[kind];
  kinds.allocated[kinds.source[kind]]++;
  if ((words[s + FLAGS] & flagNeedzero) !== 0) h.work.bytesZeroed += h.layout.elemsize[spc];
  if (h.marking) {
    words[s + MARKED]++;
    h.bytesMarked += h.layout.elemsize[spc];
  }
  h.lastSpan = s;
  h.lastIndex = index;
  return true;
}

/** Offset at which a tiny object of `size` bytes may follow `offset`: aligned to the largest power of two that divides its size. */
function tinyAlign(offset: number, size: number): number {
  const mask = (size & -size) - 1;
  return (offset + mask) & ~mask;
}

/**
 * mallocgcTiny: packs the object into P's tiny block or opens a new block, keeping as current whichever of the two
 * has more room left. Returns false if a new block is needed and the caller has to refill first. After a packed
 * allocation `lastIndex` is -1: the slot is shared and may not be given to an owner or killed.
 */
export function allocTiny(h: Heap, p: number, kind: number, death: number): boolean {
  const caches = h.caches;
  const size = h.kinds.tiny[kind];
  const block = caches.tinySpan[p];
  const offset = tinyAlign(caches.tinyOffset[p], size);
  if (block >= 0 && offset + size <= tinySize) {
    const { words } = h.spans;
    const deathOf = h.slots.death;
    const at = words[block + FIRST_SLOT] + caches.tinyIndex[p];
    const earliest = h.lastMarkTick + 1;
    const joined = h.owners.join(deathOf[at], death >>> 0 < earliest ? earliest : death);
    deathOf[at] = joined;
    if (joined < 0) words[block + FLAGS] |= flagOwned;
    else if (joined > words[block + MAX_DEATH]) words[block + MAX_DEATH] = joined;
    caches.tinyOffset[p] = offset + size;
    caches.tinyAllocs[p]++;
    h.kinds.allocated[h.kinds.source[kind]]++;
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

/*
 * In the loops of allocMixedRun and allocTinyRun nothing is called, every array is read into a local first, and there are few
 * arrays (see records.ts): what an engine would load anew for every object costs more than the object. Numbers from fields may be
 * doubles: hence `| 0` where they meet integers.
 */

/** What a run of objects may cost, and what it has cost: mallocgc's accounts, kept in locals while it runs. */
export interface RunBudget {
  /** What an object costs: a record of KIND_DOUBLES for each kind. */
  ofKind: Float64Array;
  /** CPU nanoseconds of what the program does beside for each object. */
  extraNs: number;
  /** The run ends with the object that brings `ns` past `maxNs` before its `extraNs`, or `creditBytes` below `minCreditBytes`. */
  maxNs: number;
  ns: number;
  /** gcAssistBytes of the goroutine, and how low it may get: an object that joins a tiny block is charged its own size, every other its element. */
  creditBytes: number;
  minCreditBytes: number;
  /** Whether the run ended so. */
  spent: boolean;
}

/**
 * refillAllocCache for the span that record c caches: the bits of the next slots that have a free one among them, 32 or as many as
 * are left on pages touched before. Says whether there are any.
 */
function refillAllocCache(h: Heap, c: number): boolean {
  const { alloc } = h.caches;
  const s = alloc[c + CACHED_SPAN];
  if (s < 0) return false;
  const { words } = h.spans;
  const death = h.slots.death;
  const off = words[s + FIRST_SLOT];
  const end = Math.min(words[s + TOUCHED], words[s + NELEMS]);
  const swept = words[s + SWEPT_TICK];
  let index = words[s + FREE_INDEX];
  const fresh = words[s + ALLOC_COUNT] === index;
  while (index < end) {
    const n = Math.min(32, end - index);
    // Which slots are taken: of one that is, its death or what is left of sweptTick after it is negative (mspan.ts).
    let taken = 0;
    if (!fresh) {
      const last = off + index + n;
      let at = off + index;
      // By fours: see records.ts of what an iteration costs, and of calls.
      for (; at + 3 < last; at += 4) {
        const v = death[at];
        const v1 = death[at + 1];
        const v2 = death[at + 2];
        const v3 = death[at + 3];
        taken =
          (taken << 4) |
          (((v | (swept - v)) >>> 31) << 3) |
          (((v1 | (swept - v1)) >>> 31) << 2) |
          (((v2 | (swept - v2)) >>> 31) << 1) |
          ((v3 | (swept - v3)) >>> 31);
      }
      for (; at < last; at++) {
        const v = death[at];
        taken = (taken << 1) | ((v | (swept - v)) >>> 31);
      }
    }
    const bits = ~taken << (32 - n);
    if (bits !== 0) {
      words[s + FREE_INDEX] = index;
      alloc[c + ALLOC_CACHE] = bits;
      return true;
    }
    index += n;
  }
  return false;
}

/**
 * allocOne for the objects `from` to `end`, all of one source, in their order, as long as each is small and not tiny, belongs to no
 * owner, and finds a free slot on a page touched before, in a cached span: nextFreeFast. Returns how many were
 * made; the caller makes the next one by itself, unless the budget is spent.
 */
export function allocMixedRun(
  h: Heap,
  p: number,
  kinds: Int32Array,
  deaths: Int32Array,
  from: number,
  end: number,
  budget: RunBudget,
): number {
  const { runClass, source, allocated } = h.kinds;
  const { words } = h.spans;
  const { death, kind: kindOf } = h.slots;
  const { caches, marking } = h;
  const { alloc } = caches;
  const firstCached = (p * numSpanClasses) | 0;
  const mixed = kindMixed | 0;
  const earliest = (h.lastMarkTick + 1) | 0;
  const { ofKind, extraNs, maxNs, minCreditBytes } = budget;
  let { ns, creditBytes } = budget;
  let scanAlloc = 0;
  let bytesZeroed = 0;
  let bytesMarked = 0;
  let spent = false;
  let i = from;
  while (true) {
    // Where a span's bits are used up, or it gets its second kind, that is seen to between two runs of the inner loop.
    let c = 0;
    while (i < end && !spent) {
      const kind = kinds[i];
      let d = deaths[i];
      if (d < earliest) {
        if (d < 0) break;
        d = earliest;
      }
      c = (firstCached + runClass[kind]) * CACHED_WORDS;
      const s = alloc[c + CACHED_SPAN];
      if (s < 0) break;
      const bits = alloc[c + ALLOC_CACHE];
      if (bits === 0) break;
      const spanKind = words[s + KIND];
      if (spanKind !== kind && spanKind !== mixed) {
        if (spanKind !== kindNone) break;
        words[s + KIND] = kind;
      }
      const skip = Math.clz32(bits);
      const index = words[s + FREE_INDEX] + skip;
      const at = words[s + FIRST_SLOT] + index;
      alloc[c + ALLOC_CACHE] = (bits << skip) << 1;
      words[s + FREE_INDEX] = index + 1;
      death[at] = d;
      if (d > words[s + MAX_DEATH]) words[s + MAX_DEATH] = d;
      if (spanKind === mixed) kindOf[at] = kind;
      words[s + ALLOC_COUNT]++;
      const k = kind * KIND_DOUBLES;
      const elemsize = ofKind[k + ELEMSIZE_OF_KIND];
      scanAlloc += ofKind[k + SCAN_ALLOC_BYTES];
      if ((words[s + FLAGS] & flagNeedzero) !== 0) bytesZeroed += elemsize;
      if (marking) {
        words[s + MARKED]++;
        bytesMarked += elemsize;
      }
      i++;
      creditBytes -= elemsize;
      ns += ofKind[k + COST_NS];
      spent = ns > maxNs || creditBytes < minCreditBytes;
      ns += extraNs;
    }
    if (i === end || spent || deaths[i] < 0) break;
    if (!(alloc[c + ALLOC_CACHE] === 0 ? refillAllocCache(h, c) : mixKinds(h, c, kinds[i]))) break;
  }
  budget.ns = ns;
  budget.creditBytes = creditBytes;
  budget.spent = spent;
  caches.scanAlloc[p] += scanAlloc;
  h.work.bytesZeroed += bytesZeroed;
  h.bytesMarked += bytesMarked;
  allocated[source[kinds[from]]] += i - from;
  return i - from;
}

/**
 * allocTiny for the objects `from` to `end`, all of one source, as far as they are tiny, belong to no owner, and the span of tiny
 * blocks has room on pages touched before. Returns how many were made; the caller makes the next one by itself, unless the budget
 * is spent.
 */
export function allocTinyRun(
  h: Heap,
  p: number,
  kinds: Int32Array,
  deaths: Int32Array,
  from: number,
  end: number,
  budget: RunBudget,
): number {
  const { tiny, source, allocated } = h.kinds;
  const { caches } = h;
  const { words } = h.spans;
  const { alloc } = caches;
  const blockSize = tinySize | 0;
  const earliest = (h.lastMarkTick + 1) | 0;
  const { ofKind, extraNs, maxNs, minCreditBytes } = budget;
  let { ns, creditBytes } = budget;
  // The block under way: its span (-1 where there is none), its slot, the bytes used of it: all, where there is none.
  let block = caches.tinySpan[p];
  let used = block >= 0 ? caches.tinyOffset[p] : blockSize;
  let blockAt = block >= 0 ? words[block + FIRST_SLOT] + caches.tinyIndex[p] : 0;
  // The span of the next blocks, and its allocCache, which begins with slot `next`.
  const c = (((p * numSpanClasses) | 0) + tinySpanClass) * CACHED_WORDS;
  const s = alloc[c + CACHED_SPAN];
  const kindOfSpan = s >= 0 ? words[s + KIND] : kindNone;
  const { death, kind: kindOf } = h.slots;
  const mixed = kindOfSpan === kindMixed;
  const off = s >= 0 ? words[s + FIRST_SLOT] : 0;
  let next = s >= 0 ? off + words[s + FREE_INDEX] : 0;
  let bits = s >= 0 ? alloc[c + ALLOC_CACHE] : 0;
  let opened = 0;
  let spent = false;
  let i = from;
  while (true) {
    const openedBefore = opened;
    while (i < end && !spent) {
      const kind = kinds[i];
      const size = tiny[kind];
      if (size === 0) break;
      let d = deaths[i];
      if (d < earliest) {
        if (d < 0) break;
        d = earliest;
      }
      // Whether an object joins the block or opens one nobody could predict: no branch depends on it, but masks of all ones or none.
      const then = tinyAlign(used, size) + size;
      const opens = (blockSize - then) >> 31;
      if ((bits === 0 || (!mixed && kind !== kindOfSpan)) && opens !== 0) break;
      const skip = Math.clz32(bits);
      const at = next + skip;
      bits ^= (bits ^ ((bits << skip) << 1)) & opens;
      next += (skip + 1) & opens;
      const to = blockAt ^ ((blockAt ^ at) & opens);
      const was = death[to] & ~opens;
      if (was < 0) break;
      // The later of the two deaths.
      const later = d - was;
      death[to] = was + (later & ~(later >> 31));
      if (mixed) kindOf[to] ^= (kindOf[to] ^ kind) & opens;
      const of = block ^ ((block ^ s) & opens);
      if (d > words[of + MAX_DEATH]) words[of + MAX_DEATH] = d;
      creditBytes -= (size & ~opens) | (blockSize & opens);
      opened -= opens;
      // A new block with more room than the old one takes its place.
      const stays = opens & ~((size - used) >> 31);
      const goes = opens & ~stays;
      used = (then & ~opens) | (size & goes) | (used & stays);
      blockAt ^= (blockAt ^ at) & goes;
      block ^= (block ^ s) & goes;
      i++;
      ns += ofKind[kind * KIND_DOUBLES + COST_NS];
      spent = ns > maxNs || creditBytes < minCreditBytes;
      ns += extraNs;
    }
    if (s < 0) break;
    words[s + FREE_INDEX] = next - off;
    words[s + ALLOC_COUNT] += opened - openedBefore;
    alloc[c + ALLOC_CACHE] = bits;
    if (i === end || spent || bits !== 0 || !refillAllocCache(h, c)) break;
    next = off + words[s + FREE_INDEX];
    bits = alloc[c + ALLOC_CACHE];
  }
  const made = i - from;
  budget.ns = ns;
  budget.creditBytes = creditBytes;
  budget.spent = spent;
  if (block >= 0) {
    caches.tinySpan[p] = block;
    caches.tinyOffset[p] = used;
    caches.tinyIndex[p] = blockAt - words[block + FIRST_SLOT];
  }
  allocated[source[kinds[from]]] += made;
  caches.tinyAllocs[p] += made - opened;
  if (opened === 0) return made;
  if ((words[s + FLAGS] & flagNeedzero) !== 0) h.work.bytesZeroed += opened * blockSize;
  if (h.marking) {
    words[s + MARKED] += opened;
    h.bytesMarked += opened * blockSize;
  }
  return made;
}

/**
 * mallocgcLarge: an object with a span of its own. The caller tests the GC trigger afterwards. The program writes the object at
 * once, unless told that it is not `written`.
 */
export function allocLarge(h: Heap, p: number, kind: number, death: number, written: boolean): void {
  const kinds = h.kinds;
  const spans = h.spans;
  const s = allocLargeSpan(h, p, kinds.largePages[kind], kinds.spc[kind]);
  h.work.largeAllocs++;
  spans.freeIndex[s] = 1;
  spans.allocCount[s] = 1;
  spans.kind[s] = kind;
  const dies = death >>> 0 <= h.lastMarkTick ? h.lastMarkTick + 1 : death;
  h.slots.death[spans.firstSlot[s]] = dies;
  if (dies < 0) spans.flags[s] |= flagOwned;
  else spans.maxDeath[s] = dies;
  if ((spans.flags[s] & flagNeedzero) !== 0) h.work.bytesZeroed += spans.elemsizeOf(s);
  const start = spans.base[s] * h.pageSize;
  if (written || (spans.flags[s] & flagNeedzero) !== 0) h.touch(start, start + kinds.size[kind]);
  h.caches.scanAlloc[p] += kinds.scanAllocBytes[kind];
  kinds.allocated[kinds.source[kind]]++;
  if (h.marking) {
    spans.marked[s] = 1;
    h.bytesMarked += spans.elemsizeOf(s);
  }
  h.lastSpan = s;
  h.lastIndex = 0;
}
