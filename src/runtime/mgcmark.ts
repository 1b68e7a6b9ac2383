/**
 * The mark: which objects survive.
 *
 * What Go finds by tracing (mgcmark.go, mgcmark_greenteagc.go of Go 1.26) is known here from the slots: an object
 * survives a mark started at tick T iff it dies after T. One pass over the spans at the mark's start counts every
 * span's survivors and adds up what marking them costs; the scheduler then spends that work over virtual time.
 * Objects allocated while marking are born black: they die after T by construction and are added to their span's
 * marks and to bytesMarked as they come, with no scan work. An object that dies during the mark survives it.
 *
 * A span with no owned objects whose last death is not after T is not looked into.
 *
 * Green Tea counts scan work in two ways: objects scanned one by one count up to their last pointer, as before; a
 * span with inline mark bits of which at least 1/8 is marked, scanned by the AVX-512 path, counts whole elements.
 *
 * Simplifies: all pointerful survivors of a dense span are scanned together (Go may visit the span several times,
 * some of them below the density limit); finalizers and weak pointers keep nothing alive here.
 */
import type { Heap } from "./mheap.ts";
import { kindMixed, spanInUse } from "./mspan.ts";
import { numSizeClasses } from "./sizeclasses.ts";

/** Survivors of one mark and the work of finding them. Overwritten by the next. */
export class MarkTotals {
  /** Tick the mark started. */
  tick = 0;
  objects = 0;
  /** Bytes of the marked objects' elements: bytesMarked before any black allocation. */
  bytes = 0;
  /** Heap scan work in bytes, what gcController.heapScanWork will reach. */
  scanBytes = 0;
  /** Marked objects that have pointers to scan. */
  scanObjects = 0;
  /** Of all and of those with pointers, the ones too big for mark bits in their span (over 512 bytes). */
  bigObjects = 0;
  bigScanObjects = 0;
  /** Pointer words in marked objects that lead to objects marked already. */
  pointers = 0;
  /** Bytes of all their pointer words, those of tables included. */
  pointerBytes = 0;
  /** Spans with at least one survivor, and their bytes. */
  spans = 0;
  spanBytes = 0;
  /** Of these, spans scanned whole by the AVX-512 path. */
  denseSpans = 0;
  /** Survivors by size class; class 0 is large objects. */
  readonly classObjects = new Float64Array(numSizeClasses);
  /** Spans by the marked share of their slots, in steps of 1 / SHARE_STEPS rounded up: without pointers, and with. */
  readonly noscanShares = new Float64Array(SHARE_STEPS + 1);
  readonly scanShares = new Float64Array(SHARE_STEPS + 1);

  reset(tick: number): void {
    this.tick = tick;
    this.objects = 0;
    this.bytes = 0;
    this.scanBytes = 0;
    this.scanObjects = 0;
    this.bigObjects = 0;
    this.bigScanObjects = 0;
    this.pointers = 0;
    this.pointerBytes = 0;
    this.spans = 0;
    this.spanBytes = 0;
    this.denseSpans = 0;
    this.classObjects.fill(0);
    this.noscanShares.fill(0);
    this.scanShares.fill(0);
  }
}

/** Steps in which the marked share of a span's slots is counted. */
export const SHARE_STEPS = 64;

/** A span is scanned whole when at least nelems / 8 (rounded down) of its objects are marked. */
const denseShift = 3;

/** The mark pass at tick T. Everything must be swept and the world stopped. */
export function markSurvivors(h: Heap, tick: number): MarkTotals {
  const totals = h.markTotals;
  totals.reset(tick);
  const spans = h.spans;
  const owners = h.owners;
  owners.resolveJoints();
  keepTinyBlocks(h, tick);
  const state = spans.state;
  const count = spans.count;
  const avx512 = h.avx512 && h.rules.denseSpanScan;
  for (let s = 0; s < count; s++) {
    if (state[s] !== spanInUse) continue;
    const owned = spans.hasOwned[s] !== 0;
    if (spans.allocCount[s] === 0 || (!owned && spans.maxDeath[s] <= tick)) {
      spans.marked[s] = 0;
      continue;
    }
    const n = owned ? countOwned(h, s, tick) : countSurvivors(h, s, tick);
    spans.marked[s] = n;
    if (n === 0) continue;
    const spc = spans.spc[s];
    const elemsize = spans.elemsize[s];
    totals.spans++;
    totals.spanBytes += spans.npages[s] * h.pageSize;
    totals.objects += n;
    totals.bytes += n * elemsize;
    totals.classObjects[spc >> 1] += n;
    const share = Math.ceil((n * SHARE_STEPS) / spans.nelems[s]);
    if ((spc & 1) !== 0) totals.noscanShares[share]++;
    else totals.scanShares[share]++;
    const big = elemsize > h.rules.minSizeForMallocHeader;
    if (big) totals.bigObjects += n;
    if ((spc & 1) !== 0) continue;
    totals.scanObjects += n;
    if (big) totals.bigScanObjects += n;
    const kind = spans.kind[s];
    totals.pointerBytes +=
      kind !== kindMixed ? n * h.kinds.ptrBytes[kind] : sumOfMixed(h, s, tick, h.kinds.ptrBytes);
    totals.pointers +=
      kind !== kindMixed ? n * h.kinds.pointers[kind] : sumOfMixed(h, s, tick, h.kinds.pointers);
    if (avx512 && h.layout.inlineMarks[spc] !== 0 && n >= spans.nelems[s] >> denseShift) {
      totals.denseSpans++;
      totals.scanBytes += n * elemsize;
    } else if (spans.kind[s] >= 0) totals.scanBytes += n * h.kinds.scanBytes[spans.kind[s]];
    else if (spans.kind[s] === kindMixed) totals.scanBytes += sumOfMixed(h, s, tick, h.kinds.scanBytes);
  }
  owners.recycle(tick);
  owners.earliest = tick + 1;
  return totals;
}

/** Survivors of a span without owned objects. Branch-free: the sign of tick - v is the answer. */
function countSurvivors(h: Heap, s: number, tick: number): number {
  const death = h.slots.death[h.spans.slotSeg[s]];
  const off = h.spans.slotOff[s];
  const end = off + h.spans.nelems[s];
  let n = 0;
  for (let i = off; i < end; i++) n += (tick - death[i]) >>> 31;
  return n;
}

/**
 * Survivors of a span with owned objects. The slots of owners dead by now become those of objects dead at `tick`:
 * no reference to the owner is left, and until it is swept the slot stays occupied.
 */
function countOwned(h: Heap, s: number, tick: number): number {
  const death = h.slots.death[h.spans.slotSeg[s]];
  const ownerDeath = h.owners.death;
  const off = h.spans.slotOff[s];
  const end = off + h.spans.nelems[s];
  let n = 0;
  let owned = 0;
  for (let i = off; i < end; i++) {
    const v = death[i];
    if (v < 0) {
      if (ownerDeath[~v] > tick) {
        n++;
        owned = 1;
      } else death[i] = tick;
    } else n += (tick - v) >>> 31;
  }
  h.spans.hasOwned[s] = owned;
  if (h.spans.maxDeath[s] < tick) h.spans.maxDeath[s] = tick;
  return n;
}

/** Scan work of a span's survivors of several kinds; slots of owners dead by `tick` are plain by now. */
/** Sum over the survivors of a span of several kinds of a column of the table of kinds. */
function sumOfMixed(h: Heap, s: number, tick: number, column: Float64Array): number {
  const seg = h.spans.slotSeg[s];
  const death = h.slots.death[seg];
  const kindOf = h.slots.kind[seg] as Uint16Array;
  const off = h.spans.slotOff[s];
  const end = off + h.spans.nelems[s];
  let sum = 0;
  for (let i = off; i < end; i++) {
    const v = death[i];
    // 1 for survivors (v < 0 or v > tick), 0 for free slots, whatever kind they had.
    sum += ((v | (tick - v)) >>> 31) * column[kindOf[i]];
  }
  return sum;
}

/** gcMarkTinyAllocs: every P's current tiny block is marked, whatever is in it. */
function keepTinyBlocks(h: Heap, tick: number): void {
  const spans = h.spans;
  for (let p = 0; p < h.caches.count; p++) {
    const s = h.caches.tinySpan[p];
    if (s < 0) continue;
    const death = h.slots.death[spans.slotSeg[s]];
    const at = spans.slotOff[s] + h.caches.tinyIndex[p];
    const v = death[at];
    if (v < 0 ? h.owners.death[~v] > tick : v > tick) continue;
    death[at] = tick + 1;
    if (tick + 1 > spans.maxDeath[s]) spans.maxDeath[s] = tick + 1;
  }
}
