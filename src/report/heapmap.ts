/**
 * The heap map: what lies on every page of the heap at an instant, taken from the model through its view.
 *
 * Pages go in address order into cells, as many to a cell (a power of two) as keep a map below MAX_CELLS; up to 128 MiB of heap a cell is
 * one page of 8 KiB. A cell says what most of its pages are (a span class, a stack, free, given back), which share of its slots is
 * allocated, which share holds live objects (exactly: Go itself cannot know), and which share of its memory is resident. Heap memory
 * outside of spans can belong to a P's page cache, or be the padding before a randomised heap base; both show as such.
 *
 * Costs one pass over the slots of the heap. Not in the map: user arenas, which lie far away, and the runtime's metadata.
 */
import { liveInSpan } from "../runtime/heapreport.ts";
import type { PageAlloc } from "../runtime/mpagealloc.ts";
import { flagQuarantined, SPAN_WORDS, spanDead, spanInUse, spanStack } from "../runtime/records.ts";
import { classToSize, numSizeClasses, pageSize } from "../runtime/sizeclasses.ts";
import type { ProcessView } from "../simulate.ts";
import {
  CELL_FREE,
  CELL_PADDING,
  CELL_PAGE_CACHE,
  CELL_PLANES,
  CELL_RELEASED,
  CELL_STACK,
  CELL_WORK_BUFFERS,
  FLAG_START,
  type HeapMap,
} from "./reportdata.ts";

/** Cells of a map, at most. */
export const MAX_CELLS = 2 ** 14;

/** Live objects of each span, exactly, in the order of their records. */
function liveBySpan({ rt, nowNs }: ProcessView): Int32Array {
  const { spans } = rt.heap;
  const tick = rt.deathTick(nowNs);
  const live = new Int32Array(spans.end / SPAN_WORDS);
  for (let s = 0; s < spans.end; s += SPAN_WORDS)
    if (spans.state[s] === spanInUse && (spans.flags[s] & flagQuarantined) === 0)
      live[s / SPAN_WORDS] = liveInSpan(rt.heap, s, tick);
  return live;
}

/** Bytes of live objects. */
export function liveBytes({ rt, nowNs }: ProcessView): number {
  const { spans } = rt.heap;
  const tick = rt.deathTick(nowNs);
  let bytes = 0;
  for (let s = 0; s < spans.end; s += SPAN_WORDS)
    if (spans.state[s] === spanInUse && (spans.flags[s] & flagQuarantined) === 0)
      bytes += liveInSpan(rt.heap, s, tick) * spans.elemsizeOf(s);
  return bytes;
}

/** A map before it is packed. */
export interface HeapMapShot {
  readonly map: Omit<HeapMap, "data">;
  readonly planes: Uint8Array;
}

export function heapMap(view: ProcessView, reason: string, maxCells = MAX_CELLS): HeapMapShot {
  const { spans, pages } = view.rt.heap;
  let perCell = 1;
  while (pages.totalPages / perCell > maxCells) perCell *= 2;
  const stretches = pages.inUseBase.map((base, i) => ({
    first_page: base,
    cells: Math.ceil((pages.inUseLimit[i] - base) / perCell),
  }));
  const live = liveBySpan(view);
  const cells = new Cells(view, live, perCell, stretches);
  let bytes = 0;
  for (let s = 0; s < spans.end; s += SPAN_WORDS) bytes += live[s / SPAN_WORDS] * spans.elemsizeOf(s);
  const st = view.memStats;
  return {
    map: {
      t_seconds: view.nowNs / 1e9,
      reason,
      pages_per_cell: perCell,
      stretches,
      live_bytes: bytes,
      heap_alloc_bytes: st.heapAlloc,
      heap_inuse_bytes: st.heapInuse,
      heap_idle_bytes: st.heapIdle,
      heap_released_bytes: st.heapReleased,
      rss_bytes: view.memory.residentBytes(),
      largest_free_run_bytes: pages.largestFreeRun() * pageSize,
      size_classes: classes(view, live),
    },
    planes: cells.planes,
  };
}

/** Spans by size class, as classSnapshot has them, but for the waste inside slots, which costs another pass. */
function classes(view: ProcessView, live: Int32Array): HeapMap["size_classes"] {
  const { spans } = view.rt.heap;
  const all = Array.from({ length: numSizeClasses }, (_, sizeclass) => ({
    sizeclass,
    elemsize: classToSize[sizeclass],
    spans: 0,
    span_bytes: 0,
    slots: 0,
    allocated: 0,
    live: 0,
    free_slot_bytes: 0,
    tail_waste_bytes: 0,
  }));
  for (let s = 0; s < spans.end; s += SPAN_WORDS) {
    if (spans.state[s] !== spanInUse || (spans.flags[s] & flagQuarantined) !== 0) continue;
    const c = all[spans.spc[s] >> 1];
    const n = spans.nelems[s];
    c.spans++;
    c.span_bytes += spans.npages[s] * pageSize;
    c.slots += n;
    c.allocated += spans.allocCount[s];
    c.live += live[s / SPAN_WORDS];
    c.free_slot_bytes += (n - spans.allocCount[s]) * spans.elemsizeOf(s);
    c.tail_waste_bytes += spans.npages[s] * pageSize - n * spans.elemsizeOf(s);
  }
  return all.filter((c) => c.spans > 0);
}

/** What cells of spans without objects are. */
function manualKind(state: number): number {
  return state === spanStack ? CELL_STACK : CELL_WORK_BUFFERS;
}

/** What a page without a span is. */
function pageKind(pages: PageAlloc, page: number): number {
  const scavenged = pages.isScavenged(page);
  if (pages.isAllocated(page)) return scavenged ? CELL_PADDING : CELL_PAGE_CACHE;
  return scavenged ? CELL_RELEASED : CELL_FREE;
}

/** No kind of cell. */
const NO_SPAN = 255;

/** Cells whose residency is asked for at once: mostly all of them are resident, or none is. */
const RESIDENT_CELLS = 64;

class Cells {
  readonly planes: Uint8Array;
  readonly #view: ProcessView;
  readonly #live: Int32Array;
  readonly #total: number;
  readonly #votes = new Int32Array(256);

  constructor(view: ProcessView, live: Int32Array, perCell: number, stretches: HeapMap["stretches"]) {
    this.#view = view;
    this.#live = live;
    const { pages } = view.rt.heap;
    this.#total = stretches.reduce((sum, stretch) => sum + stretch.cells, 0);
    this.planes = new Uint8Array(this.#total * CELL_PLANES);
    let first = 0;
    stretches.forEach(({ cells }, i) => {
      const base = pages.inUseBase[i];
      const limit = pages.inUseLimit[i];
      if (perCell === 1) this.#writePages(first, base, limit);
      else {
        const spanOn = this.#spansByPage(base, limit);
        for (let c = 0; c < cells; c++) {
          const from = base + c * perCell;
          this.#write(first + c, spanOn, base, from, Math.min(from + perCell, limit));
        }
      }
      for (let c = 0; c < cells; c += RESIDENT_CELLS) {
        const end = Math.min(c + RESIDENT_CELLS, cells);
        this.#writeResident(first + c, first + end, base + c * perCell, perCell, limit);
      }
      first += cells;
    });
  }

  /** The span on each page, + 1; 0 for none. */
  #spansByPage(base: number, limit: number): Int32Array {
    const spanOn = new Int32Array(limit - base);
    const { state, base: spanBase, npages, end: endOfSpans } = this.#view.rt.heap.spans;
    for (let s = 0; s < endOfSpans; s += SPAN_WORDS) {
      if (state[s] === spanDead) continue;
      const at = spanBase[s] - base;
      if (at < 0 || at >= spanOn.length) continue;
      const end = at + npages[s];
      for (let page = at; page < end; page++) spanOn[page] = s + 1;
    }
    return spanOn;
  }

  /** Writes what each of pages [base, limit) is and what is in its slots, to cells from `first` on: by spans, then what is in none. */
  #writePages(first: number, base: number, limit: number): void {
    const { spans, pages } = this.#view.rt.heap;
    const { state, base: spanBase, npages, spc, nelems, allocCount, end: endOfSpans } = spans;
    const total = this.#total;
    const { planes } = this;
    const cells = planes.subarray(0, total);
    cells.fill(NO_SPAN, first, first + limit - base);
    for (let s = 0; s < endOfSpans; s += SPAN_WORDS) {
      if (state[s] === spanDead) continue;
      const inUse = state[s] === spanInUse;
      const at = spanBase[s];
      if (at < base || at >= limit) continue;
      const cell = first + at - base;
      const end = cell + npages[s];
      planes[total + cell] = FLAG_START;
      if (!inUse) {
        cells.fill(manualKind(state[s]), cell, end);
        continue;
      }
      const weight = 1 / nelems[s];
      const allocated = share(allocCount[s] * weight, 1);
      const live = share(this.#live[s / SPAN_WORDS] * weight, 1);
      for (let c = cell; c < end; c++) {
        planes[c] = spc[s];
        planes[2 * total + c] = allocated;
        planes[3 * total + c] = live;
      }
    }
    const end = first + limit - base;
    for (let c = cells.indexOf(NO_SPAN, first); c >= 0 && c < end; c = cells.indexOf(NO_SPAN, c + 1))
      cells[c] = pageKind(pages, base + c - first);
  }

  /** Writes what cell `cell` is and what is in its slots: pages [from, limit). */
  #write(cell: number, spanOn: Int32Array, base: number, from: number, limit: number): void {
    const { spans, pages } = this.#view.rt.heap;
    const votes = this.#votes;
    let kind = 0;
    let most = 0;
    let flags = 0;
    let inSpans = 0;
    let allocated = 0;
    let live = 0;
    for (let page = from; page < limit; ) {
      const s = spanOn[page - base] - 1;
      let here = 0;
      let end = page + 1;
      if (s < 0) here = pageKind(pages, page);
      else {
        // The span's pages in this cell at once.
        end = Math.min(limit, spans.base[s] + spans.npages[s]);
        if (spans.base[s] === page) flags |= FLAG_START;
        if (spans.state[s] === spanInUse) {
          const weight = (end - page) / spans.nelems[s];
          here = spans.spc[s];
          inSpans += end - page;
          allocated += spans.allocCount[s] * weight;
          live += this.#live[s / SPAN_WORDS] * weight;
        } else here = manualKind(spans.state[s]);
      }
      if ((votes[here] += end - page) > most) {
        most = votes[here];
        kind = here;
      }
      page = end;
    }
    // Of most cells all pages voted alike.
    if (most === limit - from) votes[kind] = 0;
    else votes.fill(0);
    const total = this.#total;
    const { planes } = this;
    planes[cell] = kind;
    planes[total + cell] = flags;
    if (inSpans === 0) return;
    planes[2 * total + cell] = share(allocated, inSpans);
    planes[3 * total + cell] = share(live, inSpans);
  }

  /** Writes which share is resident of cells [cell, end), the first of which begins at page `from`. */
  #writeResident(cell: number, end: number, from: number, perCell: number, limit: number): void {
    const { memory } = this.#view;
    const plane = this.planes.subarray(4 * this.#total, 5 * this.#total);
    const last = Math.min(from + (end - cell) * perCell, limit);
    const bytes = memory.residentBytesIn(from * pageSize, last * pageSize);
    if (bytes === 0) return;
    if (bytes === (last - from) * pageSize) {
      plane.fill(255, cell, end);
      return;
    }
    for (let c = cell, page = from; c < end; c++, page += perCell) {
      const cellLimit = Math.min(page + perCell, limit);
      const resident = memory.residentBytesIn(page * pageSize, cellLimit * pageSize);
      plane[c] = share(resident / pageSize, cellLimit - page);
    }
  }
}

const share = (part: number, of: number): number => (of === 0 ? 0 : Math.round((255 * part) / of));
