/** The heap map against the model's own figures. */
import { expect, test } from "vitest";
import { heapMap } from "../../src/report/heapmap.ts";
import {
  CELL_FREE,
  CELL_PAGE_CACHE,
  CELL_PLANES,
  CELL_RELEASED,
  CELL_STACK,
  FLAG_START,
} from "../../src/report/reportdata.ts";
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
  expect(idle).toBe(mapped - (st.heapInuse + st.stackInuse) / pageSize);
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
  for (let s = 0; s < spans.count; s++) if (spans.state[s] !== 0) live++;
  expect(starts).toBe(live);
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
