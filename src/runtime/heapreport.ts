/**
 * What the heap looks like: per size class, its fragmentation, and the exact truth behind the lagging statistics.
 *
 * Not a mechanism of Go. MemStats and runtime/metrics show counters; these figures are read from the spans and slots
 * themselves, so a report can say where HeapInuse - HeapAlloc and HeapIdle come from. All of them cost a pass over
 * the spans, `truth` one over the slots.
 */
import type { Heap } from "./mheap.ts";
import { flagOwned, flagQuarantined, kindMixed, kindNone, SPAN_WORDS, spanInUse } from "./records.ts";
import { classToSize, numSizeClasses, numSpanClasses, pageSize, tinySize } from "./sizeclasses.ts";

/** Spans of one size class, scan and noscan together; class 0 is large objects. */
export interface ClassSnapshot {
  readonly sizeclass: number;
  /** Bytes of an element; 0 for class 0. */
  readonly elemsize: number;
  readonly spans: number;
  readonly span_bytes: number;
  readonly slots: number;
  /** Slots that hold an object or one not swept yet (allocCount). */
  readonly allocated: number;
  /** Bytes of free slots. */
  readonly free_slot_bytes: number;
  /** Span bytes beyond the last slot: tail and in-span metadata. */
  readonly tail_waste_bytes: number;
  /** Rounding waste of the allocated objects, where a span's objects are of one kind. */
  readonly internal_waste_bytes: number;
}

export function classSnapshot(h: Heap): ClassSnapshot[] {
  const spans = h.spans;
  const count = new Float64Array(numSizeClasses);
  const bytes = new Float64Array(numSizeClasses);
  const slots = new Float64Array(numSizeClasses);
  const allocated = new Float64Array(numSizeClasses);
  const freeBytes = new Float64Array(numSizeClasses);
  const tail = new Float64Array(numSizeClasses);
  const internal = new Float64Array(numSizeClasses);
  for (let s = 0; s < spans.end; s += SPAN_WORDS) {
    if (spans.state[s] !== spanInUse || (spans.flags[s] & flagQuarantined) !== 0) continue;
    const c = spans.spc[s] >> 1;
    const spanBytes = spans.npages[s] * pageSize;
    count[c]++;
    bytes[c] += spanBytes;
    slots[c] += spans.nelems[s];
    allocated[c] += spans.allocCount[s];
    freeBytes[c] += (spans.nelems[s] - spans.allocCount[s]) * spans.elemsizeOf(s);
    tail[c] += spanBytes - spans.nelems[s] * spans.elemsizeOf(s);
    internal[c] += internalWaste(h, s);
  }
  const out: ClassSnapshot[] = [];
  for (let c = 0; c < numSizeClasses; c++) {
    if (count[c] === 0) continue;
    out.push({
      sizeclass: c,
      elemsize: classToSize[c],
      spans: count[c],
      span_bytes: bytes[c],
      slots: slots[c],
      allocated: allocated[c],
      free_slot_bytes: freeBytes[c],
      tail_waste_bytes: tail[c],
      internal_waste_bytes: internal[c],
    });
  }
  return out;
}

/** Bytes by which a span's allocated objects were rounded up. Mixed spans look at each occupied slot's kind. */
function internalWaste(h: Heap, s: number): number {
  const spans = h.spans;
  const kind = spans.kind[s];
  const elemsize = spans.elemsizeOf(s);
  // A tiny block's waste is not known: its kind is that of the object that opened it.
  if (kind === kindNone) return 0;
  if (kind !== kindMixed) {
    return h.kinds.tiny[kind] !== 0 ? 0 : spans.allocCount[s] * (elemsize - h.kinds.size[kind]);
  }
  const { death, kind: kindOf } = h.slots;
  const { tiny, size } = h.kinds;
  const swept = spans.sweptTick[s];
  const off = spans.firstSlot[s];
  const end = off + spans.nelems[s];
  let waste = 0;
  for (let i = off; i < end; i++) {
    const free = death[i] >>> 0 <= swept;
    if (!free && tiny[kindOf[i]] === 0) waste += elemsize - size[kindOf[i]];
  }
  return waste;
}

/** Fragmentation of the heap: idle pages, free slots, tails of spans and rounding. */
export interface Fragmentation {
  /** Sum of free bytes (idle pages and free slots) / HeapSys x (1 - allocated / HeapSys). */
  readonly free_times_unused_fraction: number;
  /** 1 - HeapInuse / HeapSys, the share of idle pages. */
  readonly idle_fraction: number;
  /** Free slots / HeapInuse. */
  readonly free_slot_fraction: number;
  /** Bytes of slots not allocated, and of span tails with their metadata. */
  readonly free_slot_bytes: number;
  readonly tail_waste_bytes: number;
  readonly internal_waste_bytes: number;
  /** Longest run of free pages, bytes: the largest object that fits without growing the heap. */
  readonly largest_free_run_bytes: number;
}

/** `classes` is what `classSnapshot` says of the same heap. */
export function fragmentation(h: Heap, classes: readonly ClassSnapshot[]): Fragmentation {
  let freeSlots = 0;
  let tail = 0;
  let internal = 0;
  for (const c of classes) {
    freeSlots += c.free_slot_bytes;
    tail += c.tail_waste_bytes;
    internal += c.internal_waste_bytes;
  }
  const st = h.stats;
  const sys = st.heapSys;
  const allocated = st.heapInUse - freeSlots - tail;
  return {
    free_times_unused_fraction: sys === 0 ? 0 : ((st.heapIdle + freeSlots) / sys) * (1 - allocated / sys),
    idle_fraction: sys === 0 ? 0 : 1 - st.heapInUse / sys,
    free_slot_fraction: st.heapInUse === 0 ? 0 : freeSlots / st.heapInUse,
    free_slot_bytes: freeSlots,
    tail_waste_bytes: tail,
    internal_waste_bytes: internal,
    largest_free_run_bytes: h.pages.largestFreeRun() * pageSize,
  };
}

/** The exact state at a tick, which no Go program can read. */
export interface HeapTruth {
  /** Objects alive (tiny blocks count once) and their element bytes. */
  readonly live_objects: number;
  readonly live_bytes: number;
  /** Dead objects whose slots are still occupied: not marked yet, or not swept yet. */
  readonly dead_objects: number;
  readonly dead_bytes: number;
}

/**
 * Whether an object lies in a slot and is alive at a tick: `death` is what the slot says, `ownerDeath` when owners die, and a slot freed by
 * the span's last sweep says no more than `sweptTick`.
 */
export const slotIsLive = (
  death: number,
  ownerDeath: Int32Array,
  sweptTick: number,
  tick: number,
): boolean => (death < 0 ? ownerDeath[~death] > tick : death > tick && death > sweptTick);

/** Live objects of span `s`: its slots for which `slotIsLive`. Branch-free, as in the mark pass (mgcmark.ts): a sign is the answer. */
export function liveInSpan(h: Heap, s: number, tick: number): number {
  const { spans, slots, owners } = h;
  const owned = (spans.flags[s] & flagOwned) !== 0;
  // Its latest death has been.
  if (!owned && spans.maxDeath[s] <= tick) return 0;
  const at = tick | 0;
  const latest = Math.max(at, spans.sweptTick[s]);
  const off = spans.firstSlot[s];
  const end = off + spans.nelems[s];
  if (!owned) return slots.countAfter(latest, off, end);
  const death = slots.death;
  const ownerDeath = owners.death;
  let live = 0;
  for (let i = off; i < end; i++) {
    const v = death[i];
    live += (v < 0 ? at - ownerDeath[~v] : latest - v) >>> 31;
  }
  return live;
}

export function heapTruth(h: Heap, tick: number): HeapTruth {
  const spans = h.spans;
  let liveObjects = 0;
  let liveBytes = 0;
  let objects = 0;
  let bytes = 0;
  for (let s = 0; s < spans.end; s += SPAN_WORDS) {
    if (spans.state[s] !== spanInUse || (spans.flags[s] & flagQuarantined) !== 0) continue;
    objects += spans.allocCount[s];
    bytes += spans.allocCount[s] * spans.elemsizeOf(s);
    const n = liveInSpan(h, s, tick);
    liveObjects += n;
    liveBytes += n * spans.elemsizeOf(s);
  }
  return {
    live_objects: liveObjects,
    live_bytes: liveBytes,
    dead_objects: objects - liveObjects,
    dead_bytes: bytes - liveBytes,
  };
}

/** What each part of the allocator holds and has done: what MemStats hides. */
export interface ComponentSnapshot {
  /**
   * One per P there is (a P that comes back begins anew): the spans it allocates from, their free slots, the bytes used of its tiny
   * block (16 when it has none).
   */
  readonly mcaches: readonly {
    readonly p: number;
    readonly cached_spans: number;
    readonly free_slot_bytes: number;
    readonly tiny_offset_bytes: number;
    readonly refills: number;
    readonly flushes: number;
  }[];
  /** Span classes whose lists hold spans: with a free slot (partial) and without (full), by whether this cycle has swept them. */
  readonly mcentrals: readonly {
    readonly spanclass: number;
    readonly elemsize: number;
    readonly noscan: boolean;
    readonly partial_swept: number;
    readonly partial_unswept: number;
    readonly full_swept: number;
    readonly full_unswept: number;
  }[];
  readonly mheap: {
    readonly sweepgen: number;
    readonly spans_in_use: number;
    readonly pages_in_use: number;
    readonly spans_allocated: number;
    readonly spans_freed: number;
    readonly spans_swept: number;
    readonly large_allocs: number;
    readonly growths: number;
    readonly growth_bytes: number;
  };
}

export function componentSnapshot(h: Heap): ComponentSnapshot {
  const { spans, caches, work } = h;
  const mcaches = Array.from({ length: caches.count }, (_, p) => {
    let cached = 0;
    let freeBytes = 0;
    for (let spc = 0; spc < numSpanClasses; spc++) {
      const s = h.cachedSpan(p, spc);
      if (s < 0) continue;
      cached++;
      freeBytes += (spans.nelems[s] - spans.allocCount[s]) * spans.elemsizeOf(s);
    }
    return {
      p,
      cached_spans: cached,
      free_slot_bytes: freeBytes,
      tiny_offset_bytes: caches.tinySpan[p] < 0 ? tinySize : caches.tinyOffset[p],
      refills: caches.refills[p],
      flushes: caches.flushes[p],
    };
  });
  const mcentrals: ComponentSnapshot["mcentrals"][number][] = [];
  for (let spc = 0; spc < numSpanClasses; spc++) {
    const c = h.central[spc];
    const lists = {
      partial_swept: c.partialSwept(h.sweepgen).size,
      partial_unswept: c.partialUnswept(h.sweepgen).size,
      full_swept: c.fullSwept(h.sweepgen).size,
      full_unswept: c.fullUnswept(h.sweepgen).size,
    };
    if (Object.values(lists).every((n) => n === 0)) continue;
    mcentrals.push({ spanclass: spc, elemsize: classToSize[spc >> 1], noscan: (spc & 1) !== 0, ...lists });
  }
  let inUse = 0;
  let pages = 0;
  for (let s = 0; s < spans.end; s += SPAN_WORDS) {
    if (spans.state[s] !== spanInUse || (spans.flags[s] & flagQuarantined) !== 0) continue;
    inUse++;
    pages += spans.npages[s];
  }
  const { total } = work;
  return {
    mcaches,
    mcentrals,
    mheap: {
      sweepgen: h.sweepgen,
      spans_in_use: inUse,
      pages_in_use: pages,
      spans_allocated: total.spansAllocated + work.spansAllocated,
      spans_freed: total.spansFreed + work.spansFreed,
      spans_swept: total.spansSwept + work.spansSwept,
      large_allocs: total.largeAllocs + work.largeAllocs,
      growths: total.heapGrowths + work.heapGrowths,
      growth_bytes: total.growthBytes + work.growthBytes,
    },
  };
}
