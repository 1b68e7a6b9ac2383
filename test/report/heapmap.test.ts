/** The heap map against the model's own figures. */
import { expect, test } from "vitest";
import { OS_PAGE_BYTES, PAGE_RESIDENT } from "../../src/os/os.ts";
import { heapMap } from "../../src/report/heapmap.ts";
import {
  CELL_FREE,
  CELL_PADDING,
  CELL_PAGE_CACHE,
  CELL_PLANES,
  CELL_RELEASED,
  CELL_STACK,
  CELL_WORK_BUFFERS,
  FLAG_START,
} from "../../src/report/reportdata.ts";
import { liveInSpan } from "../../src/runtime/heapreport.ts";
import { SPAN_WORDS, spanInUse, spanStack } from "../../src/runtime/records.ts";
import { numSpanClasses, pageSize } from "../../src/runtime/sizeclasses.ts";
import { type ProcessView, SimulatedRun } from "../../src/simulate.ts";
import { scenarioOf } from "../scenarios.ts";

const SCENARIO = `name: mapped
duration: 4s
go: { GOMAXPROCS: 2 }
workload:
  - kind: stream
    name: small
    rate: 100k/s
    size: { uniform: [16, 900] }
    lifetime: { exponential: 300ms }
  - kind: stream
    name: large
    rate: 40/s
    size: 200KiB
    lifetime: 400ms
`;

function viewAt(seconds: number): ProcessView {
  const run = new SimulatedRun(scenarioOf(SCENARIO));
  run.advance(seconds * 1e9);
  return run.view()!;
}

/** Cells by what they are. */
function census(planes: Uint8Array): (accept: (kind: number) => boolean) => number {
  const cells = planes.length / CELL_PLANES;
  return (accept) => planes.subarray(0, cells).reduce((n, kind) => n + Number(accept(kind)), 0);
}

test("every page of the heap is a cell, and says what MemStats says", () => {
  const view = viewAt(2.5);
  const { map, planes } = heapMap(view, "test");
  const st = view.memStats;
  const count = census(planes);
  expect(map.pages_per_cell).toBe(1);
  expect(count((kind) => kind < numSpanClasses) * pageSize).toBe(st.heapInuse);
  expect(count((kind) => kind === CELL_STACK) * pageSize).toBe(st.stackInuse);
  // Released also counts what page caches hold, and padding; idle pages are all that is left.
  const idle = count((kind) => kind === CELL_FREE || kind === CELL_RELEASED || kind >= CELL_PAGE_CACHE);
  const mapped = view.rt.heap.pages.totalPages;
  const { inWorkBufs } = view.rt.heap.stats;
  expect(count((kind) => kind === CELL_WORK_BUFFERS) * pageSize).toBe(inWorkBufs);
  expect(idle).toBe(mapped - (st.heapInuse + st.stackInuse + inWorkBufs) / pageSize);
});

test("live objects and occupied slots are those of the heap's truth", () => {
  const view = viewAt(3);
  const { map } = heapMap(view, "test");
  const truth = view.truth();
  expect(map.live_bytes).toBe(truth.live_bytes);
  const sum = (of: (c: (typeof map.size_classes)[number]) => number): number =>
    map.size_classes.reduce((total, c) => total + of(c), 0);
  expect(sum((c) => c.live)).toBe(truth.live_objects);
  expect(sum((c) => c.allocated)).toBe(truth.live_objects + truth.dead_objects);
  for (const c of view.sizeClasses())
    expect(map.size_classes.find(({ sizeclass }) => sizeclass === c.sizeclass)).toMatchObject({
      spans: c.spans,
      slots: c.slots,
      free_slot_bytes: c.free_slot_bytes,
      tail_waste_bytes: c.tail_waste_bytes,
    });
});

test("a span begins once", () => {
  const view = viewAt(2);
  const { planes } = heapMap(view, "test");
  const cells = planes.length / CELL_PLANES;
  const starts = planes.subarray(cells, 2 * cells).reduce((n, flags) => n + (flags & FLAG_START), 0);
  const { spans } = view.rt.heap;
  let live = 0;
  for (let s = 0; s < spans.end; s += SPAN_WORDS) if (spans.state[s] !== 0) live++;
  expect(starts).toBe(live);
});

test("a cell of one page says what lies on that page", () => {
  const view = viewAt(2.7);
  const { map, planes } = heapMap(view, "test");
  const cells = planes.length / CELL_PLANES;
  const { spans, pages } = view.rt.heap;
  const tick = view.rt.deathTick(view.nowNs);
  const seen = new Set<number>();
  let cell = 0;
  for (const { first_page, cells: n } of map.stretches)
    for (let page = first_page; page < first_page + n; page++, cell++) {
      const s = Array.from({ length: spans.end / SPAN_WORDS }, (_, i) => i * SPAN_WORDS).find(
        (i) => spans.state[i] !== 0 && spans.base[i] <= page && page < spans.base[i] + spans.npages[i],
      );
      const inUse = s !== undefined && spans.state[s] === spanInUse;
      const free = pages.isScavenged(page) ? CELL_RELEASED : CELL_FREE;
      const cached = pages.isScavenged(page) ? CELL_PADDING : CELL_PAGE_CACHE;
      const manual = s !== undefined && spans.state[s] === spanStack ? CELL_STACK : CELL_WORK_BUFFERS;
      const kind =
        s === undefined ? (pages.isAllocated(page) ? cached : free) : inUse ? spans.spc[s] : manual;
      const osPages = [0, 1].map((i) => view.memory.pageState(page * pageSize + i * OS_PAGE_BYTES));
      const resident = osPages.filter((state) => state === PAGE_RESIDENT).length;
      const [is, flags, allocated, live, there] = Array.from(
        { length: CELL_PLANES },
        (_, plane) => planes[plane * cells + cell],
      );
      const start = s !== undefined && spans.base[s] === page ? FLAG_START : 0;
      expect([is, flags, there]).toEqual([kind, start, Math.round((255 * resident) / 2)]);
      // Shares are rounded.
      const share = (n: number): number => (inUse ? (255 * n) / spans.nelems[s] : 0);
      expect(Math.abs(allocated - share(inUse ? spans.allocCount[s] : 0))).toBeLessThan(0.501);
      expect(Math.abs(live - share(inUse ? liveInSpan(view.rt.heap, s, tick) : 0))).toBeLessThan(0.501);
      seen.add(kind);
    }
  expect(cell).toBe(cells);
  expect(seen).toContain(CELL_STACK);
  expect(seen).toContain(CELL_FREE);
  expect(seen).toContain(CELL_RELEASED);
  expect(seen.size).toBeGreaterThan(20);
});

test("a map has a bounded number of cells, with the same means", () => {
  const view = viewAt(3);
  const fine = heapMap(view, "test");
  const coarse = heapMap(view, "test", 512);
  const cells = coarse.planes.length / CELL_PLANES;
  // Stretches end in the middle of a cell.
  expect(cells).toBeLessThanOrEqual(512 + coarse.map.stretches.length);
  expect(coarse.map.pages_per_cell).toBeGreaterThan(1);
  expect(coarse.map.live_bytes).toBe(fine.map.live_bytes);
  const resident = (planes: Uint8Array): number => {
    const n = planes.length / CELL_PLANES;
    return planes.subarray(4 * n).reduce((sum, share) => sum + share, 0) / 255;
  };
  expect(resident(coarse.planes) * coarse.map.pages_per_cell).toBeCloseTo(resident(fine.planes), -2);
});
