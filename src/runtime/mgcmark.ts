/**
 * The mark: which objects survive.
 *
 * What Go finds by tracing (mgcmark.go, mgcmark_greenteagc.go of Go 1.26) is known here from the slots: an object
 * survives a mark started at tick T iff it dies after T. One pass over the spans at the mark's start counts every
 * span's survivors and adds up what marking them costs; the scheduler then spends that work over virtual time.
 * Objects allocated while marking are born black: they die after T by construction and are added to their span's
 * marks and to bytesMarked as they come, with no scan work. An object that dies during the mark survives it, unless
 * it was held by a stack that had not been scanned by then: unmarkUnreached takes these back when all stacks are.
 *
 * A span with no owned objects whose last death is not after T is not looked into.
 *
 * Green Tea counts scan work in two ways: objects scanned one by one count up to their last pointer, as before; a
 * span with inline mark bits of which at least 1/8 is marked, scanned by the AVX-512 path, counts whole elements.
 *
 * An object's own pointers, beyond the one through which it is found, lead to the object itself, as the Go program of src/oracle writes
 * them. Of an object without inline mark bits Go recognises such a pointer by its address (scanObject); a large object is scanned
 * in oblets, and from the second on the object's start is somewhere else, to be looked up like all others.
 *
 * Simplifies: all pointerful survivors of a dense span are scanned together (Go may visit the span several times,
 * some of them below the density limit); finalizers and weak pointers keep nothing alive here.
 */
import type { KindTable } from "./kinds.ts";
import type { Heap } from "./mheap.ts";
import {
  ALLOC_COUNT,
  FIRST_SLOT,
  FLAGS,
  flagOwned,
  KIND,
  kindMixed,
  kindNone,
  MARKED,
  MAX_DEATH,
  NELEMS,
  NPAGES,
  SPAN_WORDS,
  SPC,
  STATE,
  SWEPT_TICK,
  spanInUse,
} from "./records.ts";
import { MAX_OBLET_BYTES, numSizeClasses, sizeClassOf } from "./sizeclasses.ts";

/** Marked objects by what marking them costs: pointer-free or not, and over 512 bytes (mark bits not in the span) or not. */
export const SMALL_NOSCAN = 0;
export const SMALL_SCAN = 1;
export const BIG_NOSCAN = 2;
export const BIG_SCAN = 3;
const SORTS = 4;

/** Tables over 512 bytes are counted by their size in steps of this. */
export const TABLE_STEP_BYTES = 512;

/** Survivors of one mark and the work of finding them. Overwritten by the next. */
export class MarkTotals {
  /** Tick the mark started. */
  tick = 0;
  objects = 0;
  /** Bytes of the marked objects' elements: bytesMarked before any black allocation. */
  bytes = 0;
  /** Heap scan work in bytes, what gcController.heapScanWork will reach. */
  scanBytes = 0;
  /** Of it, the work in objects over 512 bytes. */
  bigScanBytes = 0;
  /** Marked objects by sort, and those of them that are found in the order of their addresses (see KindTable.ordered). */
  readonly sortObjects = new Float64Array(SORTS);
  readonly sortOrdered = new Float64Array(SORTS);
  /** Pointer words in marked objects of spans with inline mark bits, beyond those through which others are found: each is looked up. */
  pointers = 0;
  /** Other objects with pointers, which are recognised as the object's own, of up to 512 bytes and more: how many, by their bytes of pointers. */
  readonly ownSmall = new Map<number, number>();
  readonly ownBig = new Map<number, number>();
  /** Those beyond a large object's first oblet, of which they are no part: each is looked up as a pointer to a large object. */
  largePointers = 0;
  /** Bytes of the pointer words of objects of up to 512 bytes, those of tables included. */
  smallPointerBytes = 0;
  /** Bytes of nil pointer words behind objects, and how many of these lie too far from the object's pointers to be fetched with them. */
  tailBytes = 0;
  farTails = 0;
  /** Pointers of tables, through which the others are found, by whether the table is over 512 bytes. */
  bigTableBytes = 0;
  smallTableBytes = 0;
  /** Sums over the work in big tables, and over that in other big objects, of the bytes of the unit each byte is part of. */
  bigTableSquares = 0;
  bigOtherSquares = 0;
  /** Of the units (tables, or oblets of them) that big tables are scanned in: how many are of so many steps of TABLE_STEP_BYTES. */
  readonly tableUnits = new Float64Array(MAX_OBLET_BYTES / TABLE_STEP_BYTES + 1);
  /** Spans with at least one survivor, and their bytes. */
  spans = 0;
  spanBytes = 0;
  /** Of these, spans scanned whole by the AVX-512 path. */
  denseSpans = 0;
  /** Survivors by size class; class 0 is large objects. */
  readonly classObjects = new Float64Array(numSizeClasses);
  /**
   * Spans by the marked share of their slots, in steps of 1 / SHARE_STEPS rounded up: without pointers and with, each
   * counted by the part of its objects found in no order, and in order. Of objects of up to 512 bytes it is the share of the slots
   * that a span of 64-byte objects has: the first ones found in a span miss the caches, and there are as many of them in a
   * full span of eight objects as in one of 126 of which eight are marked.
   */
  readonly noscanShares = new Float64Array(SHARE_STEPS + 1);
  readonly scanShares = new Float64Array(SHARE_STEPS + 1);
  readonly orderedNoscanShares = new Float64Array(SHARE_STEPS + 1);
  readonly orderedScanShares = new Float64Array(SHARE_STEPS + 1);
  /**
   * Spans of objects of up to 512 bytes found in order, without pointers and with, each counted by the part of its objects that are, and
   * by the chance that the next object found is of another class: that it is in another span.
   */
  interleavedNoscanSpans = 0;
  interleavedScanSpans = 0;
  /** Of these spans, whose the chance is not worked out yet: by source, and objects by source and class. */
  sourceNoscanSpans = new Float64Array(0);
  sourceScanSpans = new Float64Array(0);
  sourceClassObjects = new Float64Array(0);
  /** Survivors by kind; entry 0 and those of kinds without pointers mean nothing. */
  kindObjects = new Int32Array(64);
  /** Of the span looked at last: how many of its survivors are found in order, and their scan work. */
  spanOrdered = 0;
  spanScanBytes = 0;

  reset(tick: number, kinds: number, sources: number): void {
    this.tick = tick;
    if (this.sourceScanSpans.length < sources) {
      this.sourceNoscanSpans = new Float64Array(sources);
      this.sourceScanSpans = new Float64Array(sources);
      this.sourceClassObjects = new Float64Array(sources * numSizeClasses);
    } else {
      this.sourceNoscanSpans.fill(0);
      this.sourceScanSpans.fill(0);
      this.sourceClassObjects.fill(0);
    }
    if (this.kindObjects.length < kinds) this.kindObjects = new Int32Array(kinds * 2);
    else this.kindObjects.fill(0);
    this.objects = 0;
    this.bytes = 0;
    this.scanBytes = 0;
    this.bigScanBytes = 0;
    this.sortObjects.fill(0);
    this.sortOrdered.fill(0);
    this.pointers = 0;
    this.ownSmall.clear();
    this.ownBig.clear();
    this.largePointers = 0;
    this.smallPointerBytes = 0;
    this.tailBytes = 0;
    this.farTails = 0;
    this.bigTableBytes = 0;
    this.smallTableBytes = 0;
    this.bigTableSquares = 0;
    this.bigOtherSquares = 0;
    this.tableUnits.fill(0);
    this.spans = 0;
    this.spanBytes = 0;
    this.denseSpans = 0;
    this.classObjects.fill(0);
    this.noscanShares.fill(0);
    this.scanShares.fill(0);
    this.orderedNoscanShares.fill(0);
    this.orderedScanShares.fill(0);
  }
}

/** The class whose spans are measured with part of their slots marked (src/oracle/calibrate.ts). */
const MEASURED_CLASS = sizeClassOf(64);

/** CPUs fetch the line beside the one that is missed, too. */
const FETCHED_TOGETHER_BYTES = 128;

/** Steps in which the marked share of a span's slots is counted. */
export const SHARE_STEPS = 64;

/** A span is scanned whole when at least nelems / 8 (rounded down) of its objects are marked. */
const denseShift = 3;

/** The mark pass at tick T. Everything must be swept and the world stopped. */
export function markSurvivors(h: Heap, tick: number): MarkTotals {
  const totals = h.markTotals;
  totals.reset(tick, h.kinds.count, h.kinds.allocated.length);
  const spans = h.spans;
  const owners = h.owners;
  owners.resolveJoints();
  h.kinds.updateOrdered();
  keepTinyBlocks(h, tick);
  h.memProfile?.mark(tick);
  const { words, end } = spans;
  const avx512 = h.avx512 && h.rules.denseSpanScan;
  for (let s = 0; s < end; s += SPAN_WORDS) {
    if (words[s + STATE] !== spanInUse) continue;
    const owned = (words[s + FLAGS] & flagOwned) !== 0;
    if (words[s + ALLOC_COUNT] === 0 || (!owned && words[s + MAX_DEATH] <= tick)) {
      words[s + MARKED] = 0;
      continue;
    }
    const spc = words[s + SPC];
    const elemsize = spans.elemsizeOf(s);
    const scan = (spc & 1) === 0;
    const kind = words[s + KIND];
    const mixed = kind === kindMixed;
    let n = owned ? countOwned(h, s, tick) : mixed ? 0 : countSurvivors(h, s, tick);
    if (mixed) n = countMixed(h, s, tick, scan, totals);
    words[s + MARKED] = n;
    if (n === 0) continue;
    if (!mixed) sumAlike(h, kind, n, totals);
    totals.spans++;
    totals.spanBytes += words[s + NPAGES] * h.pageSize;
    totals.objects += n;
    totals.bytes += n * elemsize;
    totals.classObjects[spc >> 1] += n;
    const ordered = totals.spanOrdered;
    const big = elemsize > h.rules.minSizeForMallocHeader;
    const sort = (big ? BIG_NOSCAN : SMALL_NOSCAN) + (scan ? 1 : 0);
    totals.sortObjects[sort] += n;
    totals.sortOrdered[sort] += ordered;
    const slots = big ? words[s + NELEMS] : h.layout.nelems[(MEASURED_CLASS << 1) | (spc & 1)];
    const share = Math.ceil(Math.min(1, n / slots) * SHARE_STEPS);
    (scan ? totals.scanShares : totals.noscanShares)[share] += 1 - ordered / n;
    (scan ? totals.orderedScanShares : totals.orderedNoscanShares)[share] += ordered / n;
    if (!big && ordered > 0) {
      // Who allocated a span's first object is taken to have allocated the others.
      const source =
        h.kinds.source[mixed ? h.slots.kind[words[s + FIRST_SLOT]] : kind === kindNone ? 0 : kind];
      (scan ? totals.sourceScanSpans : totals.sourceNoscanSpans)[source] += ordered / n;
      totals.sourceClassObjects[source * numSizeClasses + (spc >> 1)] += ordered;
    }
    if (!scan) continue;
    if (big) {
      const work = totals.spanScanBytes;
      totals.scanBytes += work;
      totals.bigScanBytes += work;
      const tables = mixed ? tableBytesOf(h, s, tick) : kind === kindNone ? 0 : n * h.kinds.tableBytes[kind];
      const unit = Math.min(work / n, MAX_OBLET_BYTES);
      totals.bigTableBytes += tables;
      totals.bigTableSquares += tables * unit;
      totals.bigOtherSquares += (work - tables) * unit;
    } else if (avx512 && h.layout.inlineMarks[spc] !== 0 && n >= words[s + NELEMS] >> denseShift) {
      totals.denseSpans++;
      totals.scanBytes += n * elemsize;
    } else totals.scanBytes += totals.spanScanBytes;
  }
  sumKinds(h, totals);
  sumInterleaved(h.kinds, totals);
  owners.recycle(tick);
  owners.earliest = tick + 1;
  return totals;
}

/**
 * The mark under way has scanned all stacks: what was held by goroutines that ended before it came to theirs is not marked, after all.
 * Nothing refers to these owners any more afterwards. Returns how many objects those are.
 */
export function unmarkUnreached(h: Heap): number {
  const { owners, spans, markTotals: totals } = h;
  const { words, end } = spans;
  const tick = totals.tick;
  const death = h.slots.death;
  keepTinyBlocks(h, tick);
  h.memProfile?.mark(tick);
  let objects = 0;
  for (let s = 0; s < end; s += SPAN_WORDS) {
    if (words[s + STATE] !== spanInUse || (words[s + FLAGS] & flagOwned) === 0) continue;
    // Made since the mark began: what is in it was allocated black.
    if (words[s + SWEPT_TICK] >= tick) continue;
    const off = words[s + FIRST_SLOT];
    const last = off + words[s + NELEMS];
    let n = 0;
    for (let i = off; i < last; i++) {
      if (death[i] >= 0 || owners.death[~death[i]] > tick) continue;
      death[i] = tick;
      n++;
    }
    if (n === 0) continue;
    if (words[s + MAX_DEATH] < tick) words[s + MAX_DEATH] = tick;
    words[s + MARKED] -= n;
    h.bytesMarked -= n * spans.elemsizeOf(s);
    objects += n;
  }
  owners.unreached = 0;
  return objects;
}

/** Survivors of a span without owned objects. */
function countSurvivors(h: Heap, s: number, tick: number): number {
  const { words } = h.spans;
  const off = words[s + FIRST_SLOT];
  return h.slots.countAfter(tick, off, off + words[s + NELEMS]);
}

/**
 * Survivors of a span with owned objects. The slots of owners dead by now become those of objects dead at `tick`:
 * no reference to the owner is left, and until it is swept the slot stays occupied.
 */
function countOwned(h: Heap, s: number, tick: number): number {
  const death = h.slots.death;
  const ownerDeath = h.owners.death;
  const { words } = h.spans;
  const off = words[s + FIRST_SLOT];
  const end = off + words[s + NELEMS];
  let n = 0;
  let owned = false;
  for (let i = off; i < end; i++) {
    const v = death[i];
    if (v < 0) {
      if (ownerDeath[~v] > tick) {
        n++;
        owned = true;
      } else death[i] = tick;
    } else n += (tick - v) >>> 31;
  }
  if (!owned) words[s + FLAGS] &= ~flagOwned;
  if (words[s + MAX_DEATH] < tick) words[s + MAX_DEATH] = tick;
  return n;
}

/**
 * Survivors of a span whose objects are of several kinds, and what depends on their kinds. Slots of dead owners are plain by now
 * (countOwned): a slot survives iff v < 0 or v > tick. Branch-free, as nobody could predict the branch: `survives` is all ones or none, and a
 * dead slot counts as kind 0.
 */
function countMixed(h: Heap, s: number, tick: number, scan: boolean, totals: MarkTotals): number {
  const { ordered, scanBytes } = h.kinds;
  const kindObjects = totals.kindObjects;
  const { death, kind: kindOf } = h.slots;
  const { words } = h.spans;
  const off = words[s + FIRST_SLOT];
  const end = off + words[s + NELEMS];
  const at = tick | 0;
  let n = 0;
  let inOrder = 0;
  let work = 0;
  let i = off;
  if (scan) {
    // By twos: see records.ts of what an iteration costs.
    for (; i + 1 < end; i += 2) {
      const v = death[i];
      const v1 = death[i + 1];
      const survives = ((at - v) | v) >> 31;
      const survives1 = ((at - v1) | v1) >> 31;
      const kind = kindOf[i] & survives;
      const kind1 = kindOf[i + 1] & survives1;
      n -= survives + survives1;
      inOrder += ordered[kind] + ordered[kind1];
      work += scanBytes[kind] + scanBytes[kind1];
      kindObjects[kind]++;
      kindObjects[kind1]++;
    }
    for (; i < end; i++) {
      const v = death[i];
      const survives = ((at - v) | v) >> 31;
      const kind = kindOf[i] & survives;
      n -= survives;
      inOrder += ordered[kind];
      work += scanBytes[kind];
      kindObjects[kind]++;
    }
  } else {
    for (; i < end; i++) {
      const v = death[i];
      const survives = ((at - v) | v) >> 31;
      n -= survives;
      inOrder += ordered[kindOf[i] & survives];
    }
  }
  totals.spanOrdered = inOrder;
  totals.spanScanBytes = work;
  return n;
}

/** As countMixed, for `n` survivors of one kind. */
function sumAlike(h: Heap, kind: number, n: number, totals: MarkTotals): void {
  if (kind === kindNone) {
    // A chunk of objects of no kind costs nothing.
    totals.spanOrdered = n;
    totals.spanScanBytes = 0;
    return;
  }
  totals.spanOrdered = n * h.kinds.ordered[kind];
  totals.spanScanBytes = n * h.kinds.scanBytes[kind];
  totals.kindObjects[kind] += n;
}

/** Pointers of the survivors of a span of several kinds through which others are found. */
function tableBytesOf(h: Heap, s: number, tick: number): number {
  const { death, kind: kindOf } = h.slots;
  const { words } = h.spans;
  const off = words[s + FIRST_SLOT];
  const end = off + words[s + NELEMS];
  let bytes = 0;
  for (let i = off; i < end; i++) if (death[i] < 0 || death[i] > tick) bytes += h.kinds.tableBytes[kindOf[i]];
  return bytes;
}

/** Sums over all survivors that depend on their kinds alone. */
function sumKinds(h: Heap, totals: MarkTotals): void {
  const { kinds, rules } = h;
  for (let k = 0; k < kinds.count; k++) {
    const n = totals.kindObjects[k];
    const { inlineMarks } = h.layout;
    if (inlineMarks[kinds.spc[k]] !== 0) totals.pointers += n * kinds.pointers[k];
    else {
      const own = Math.min(kinds.pointers[k], MAX_OBLET_BYTES / 8);
      const by = kinds.elemsize[k] <= rules.minSizeForMallocHeader ? totals.ownSmall : totals.ownBig;
      if (n * own > 0) by.set(own * 8, (by.get(own * 8) ?? 0) + n);
      totals.largePointers += n * (kinds.pointers[k] - own);
    }
    const gap = kinds.size[k] - kinds.ptrBytes[k];
    totals.tailBytes += n * kinds.tailBytes[k];
    if (kinds.tailBytes[k] > 0 && gap >= FETCHED_TOGETHER_BYTES) totals.farTails += n;
    if (kinds.elemsize[k] <= rules.minSizeForMallocHeader) totals.smallPointerBytes += n * kinds.ptrBytes[k];
    if (kinds.tableBytes[k] === 0) continue;
    if (kinds.elemsize[k] <= rules.minSizeForMallocHeader) {
      totals.smallTableBytes += n * kinds.tableBytes[k];
      continue;
    }
    const unit = Math.min(kinds.scanBytes[k], MAX_OBLET_BYTES);
    totals.tableUnits[Math.max(1, Math.round(unit / TABLE_STEP_BYTES))] += (n * kinds.scanBytes[k]) / unit;
  }
}

/**
 * The next object found is of another class if it is of the same source with the chance that two objects of that one are; the last of
 * those held side by side is followed by another source's, which is taken to be of another class.
 */
function sumInterleaved(kinds: KindTable, totals: MarkTotals): void {
  totals.interleavedNoscanSpans = 0;
  totals.interleavedScanSpans = 0;
  for (let source = 0; source < totals.sourceScanSpans.length; source++) {
    if (totals.sourceNoscanSpans[source] + totals.sourceScanSpans[source] === 0) continue;
    const first = source * numSizeClasses;
    let objects = 0;
    for (let c = 0; c < numSizeClasses; c++) objects += totals.sourceClassObjects[first + c];
    let alike = 0;
    // Shares of the order may have decayed to numbers whose squares are none any more.
    for (let c = 0; c < numSizeClasses; c++) alike += (totals.sourceClassObjects[first + c] / objects) ** 2;
    const other = 1 - (1 - 1 / kinds.sideBySide(source)) * alike;
    totals.interleavedNoscanSpans += other * totals.sourceNoscanSpans[source];
    totals.interleavedScanSpans += other * totals.sourceScanSpans[source];
  }
}

/** gcMarkTinyAllocs: every P's current tiny block is marked, whatever is in it. */
function keepTinyBlocks(h: Heap, tick: number): void {
  const spans = h.spans;
  for (let p = 0; p < h.caches.count; p++) {
    const s = h.caches.tinySpan[p];
    if (s < 0) continue;
    const death = h.slots.death;
    const at = spans.firstSlot[s] + h.caches.tinyIndex[p];
    const v = death[at];
    if (v < 0 ? h.owners.death[~v] > tick : v > tick) continue;
    death[at] = tick + 1;
    if (tick + 1 > spans.maxDeath[s]) spans.maxDeath[s] = tick + 1;
  }
}
