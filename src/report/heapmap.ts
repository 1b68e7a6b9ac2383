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
  const live = new Int32Array(spans.end / SPAN_WORDS);
  const classes = census(view, live);
  const cells = new Cells(view, live, perCell, stretches);
  const st = view.memStats;
  return {
    map: {
      t_seconds: view.nowNs / 1e9,
      reason,
      pages_per_cell: perCell,
      stretches,
      live_bytes: classes.reduce((sum, c) => sum + c.live_bytes, 0),
      heap_alloc_bytes: st.heapAlloc,
      heap_inuse_bytes: st.heapInuse,
      heap_idle_bytes: st.heapIdle,
      heap_released_bytes: st.heapReleased,
      rss_bytes: view.memory.residentBytes(),
      largest_free_run_bytes: pages.largestFreeRun() * pageSize,
      size_classes: classes.map(({ live_bytes: _, ...c }) => c),
    },
    planes: cells.planes,
  };
}

/**
 * Counts the live objects of each span, exactly, into `live`, in the order of their records. Returns spans by size class, as
 * classSnapshot has them, but for the waste inside slots, which costs another pass.
 */
function census({ rt, nowNs }: ProcessView, live: Int32Array) {
  const { spans } = rt.heap;
  const { state, flags, spc, npages, nelems, allocCount, end } = spans;
  const tick = rt.deathTick(nowNs);
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
    live_bytes: 0,
  }));
  for (let s = 0; s < end; s += SPAN_WORDS) {
    if (state[s] !== spanInUse || (flags[s] & flagQuarantined) !== 0) continue;
    const alive = liveInSpan(rt.heap, s, tick);
    const n = nelems[s];
    const size = spans.elemsizeOf(s);
    const spanBytes = npages[s] * pageSize;
    const c = all[spc[s] >> 1];
    live[s / SPAN_WORDS] = alive;
    c.spans++;
    c.span_bytes += spanBytes;
    c.slots += n;
    c.allocated += allocCount[s];
    c.live += alive;
    c.free_slot_bytes += (n - allocCount[s]) * size;
    c.tail_waste_bytes += spanBytes - n * size;
    c.live_bytes += alive * size;
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
      this.#writeCells(first, base, limit, perCell);
      this.#writeResident(first, first + cells, base, perCell, limit);
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

  /** Writes what pages [base, limit) are and what is in their slots, to cells from `first` on: as many at once as are alike. */
  #writeCells(first: number, base: number, limit: number, perCell: number): void {
    const { spans, pages } = this.#view.rt.heap;
    const { base: spanBase, npages } = spans;
    const spanOn = this.#spansByPage(base, limit);
    let cell = first;
    for (let page = base; page < limit; ) {
      const s = spanOn[page - base] - 1;
      let alike = 0;
      if (s >= 0) {
        alike = Math.floor((spanBase[s] + npages[s] - page) / perCell);
        if (alike > 0) this.#writeSpan(s, page, cell, alike, perCell);
      } else if (perCell <= 32 && page % 32 === 0 && page + 32 <= limit) {
        const word = pages.alikeWord(page);
        if (word !== undefined) {
          alike = 32 / perCell;
          this.planes.fill([CELL_FREE, CELL_RELEASED, CELL_PADDING][word], cell, cell + alike);
        }
      }
      if (alike === 0) {
        this.#write(cell, spanOn, base, page, Math.min(page + perCell, limit));
        alike = 1;
      }
      cell += alike;
      page += alike * perCell;
    }
  }

  /** Writes `count` cells all of which are span `s`'s, the first of which begins at `page`. */
  #writeSpan(s: number, page: number, cell: number, count: number, perCell: number): void {
    const { state, base, spc, nelems, allocCount } = this.#view.rt.heap.spans;
    const total = this.#total;
    const { planes } = this;
    const end = cell + count;
    if (base[s] === page) planes[total + cell] = FLAG_START;
    if (state[s] !== spanInUse) {
      planes.fill(manualKind(state[s]), cell, end);
      return;
    }
    const weight = perCell / nelems[s];
    const allocated = share(allocCount[s] * weight, perCell);
    const live = share(this.#live[s / SPAN_WORDS] * weight, perCell);
    for (let c = cell; c < end; c++) {
      planes[c] = spc[s];
      planes[2 * total + c] = allocated;
      planes[3 * total + c] = live;
    }
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

  /** Writes which share is resident of cells [cell, end), the first of which begins at page `from`: by halves, for mostly all or none is. */
  #writeResident(cell: number, end: number, from: number, perCell: number, limit: number): void {
    const last = Math.min(from + (end - cell) * perCell, limit);
    const bytes = this.#view.memory.residentBytesIn(from * pageSize, last * pageSize);
    if (bytes === 0) return;
    if (end - cell === 1 || bytes === (last - from) * pageSize) {
      const resident = share(bytes / pageSize, last - from);
      this.planes.fill(resident, 4 * this.#total + cell, 4 * this.#total + end);
      return;
    }
    const half = (end - cell) >> 1;
    this.#writeResident(cell, cell + half, from, perCell, limit);
    this.#writeResident(cell + half, end, from + half * perCell, perCell, limit);
  }
}

const share = (part: number, of: number): number => (of === 0 ? 0 : Math.round((255 * part) / of));
