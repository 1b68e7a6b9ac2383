import { beforeEach, describe, expect, test } from "vitest";
import { Memory } from "../../src/os/memory.ts";
import type { Heap } from "../../src/runtime/mheap.ts";
import { SpanSet, SpanSetBlockPool } from "../../src/runtime/mspanset.ts";
import { WorkBufs } from "../../src/runtime/workbufs.ts";
import { type Rig, rig } from "./heapharness.ts";

const KiB = 1024;
const PAGE = 4 * KiB;

function rigWithMemory(): { r: Rig; memory: Memory } {
  const memory = new Memory({ fileBytes: 0, otherBytes: 0, faults: 0 });
  return { r: rig("1.26", { os: memory }), memory };
}

describe("pages of span sets", () => {
  /** What a set does with addresses, in order; memory is handed out from one page's end on. */
  function traced(from: number) {
    const log: string[] = [];
    let next = from;
    const pool = new SpanSetBlockPool({
      pageBytes: PAGE,
      reserve(nbytes, align) {
        const at = Math.ceil(next / align) * align;
        next = at + nbytes;
        return at;
      },
      touch: (address, nbytes) => nbytes > 0 && log.push(`write ${address}`),
      read: (address) => log.push(`read ${address}`),
    });
    return { log, set: new SpanSet(pool) };
  }

  test("a first push writes the spine's first entry, reads the block's first byte and writes its first entry", () => {
    const { log, set } = traced(0);
    set.push(1);
    // A spine of 256 entries at 0, the block behind it at 2048, its entries behind a header of 512 bytes.
    expect(log).toEqual(["write 0", "read 2048", `write ${2048 + 512}`]);
  });

  test("entries of one page need no more; the first on the next page is written there", () => {
    const { log, set } = traced(0);
    const onFirstPage = (PAGE - 2048 - 512) / 8;
    for (let i = 0; i < onFirstPage; i++) set.push(i);
    expect(log).toHaveLength(3);
    set.push(0);
    expect(log[3]).toBe(`write ${PAGE}`);
    for (let i = onFirstPage + 1; i < 512; i++) set.push(i);
    expect(log).toHaveLength(4);
  });

  test("the second block is another one, unless the first is given back", () => {
    const { log, set } = traced(0);
    for (let i = 0; i < 512; i++) set.push(i);
    for (let i = 0; i < 512; i++) expect(set.pop()).toBe(i);
    log.length = 0;
    set.push(7);
    expect(log).toEqual(["write 8", "read 2048", "write 2560"]);
    for (let i = 1; i < 513; i++) set.push(i);
    expect(log).toContain("write 16");
    expect(log).toContain(`read ${Math.ceil((2048 + 512 + 4096) / 512) * 512}`);
  });
});

test("persistent memory: a page that is read before it is written takes two faults, one that is written first one", () => {
  const { r, memory } = rigWithMemory();
  const { persistent } = r.heap;
  const at = persistent.reserve(3 * PAGE, PAGE, 2, 0);
  const faults = memory.faults;
  persistent.read(at);
  persistent.read(at + PAGE - 1);
  expect(memory.faults - faults).toBe(1);
  persistent.touch(at, 8);
  expect(memory.faults - faults).toBe(2);
  persistent.touch(at + PAGE, 8);
  persistent.read(at + PAGE + 8);
  expect(memory.faults - faults).toBe(3);
  persistent.touch(at, 3 * PAGE);
  expect(memory.faults - faults).toBe(4);
});

test("persistent memory of 64 KiB and more has addresses of its own, and is its statistic's", () => {
  const { r, memory } = rigWithMemory();
  const { persistent, sys } = r.heap;
  const before = sys.bytes[2];
  const large = persistent.reserve(300 * KiB, 64, 2, 0);
  expect(sys.bytes[2] - before).toBe(300 * KiB);
  const faults = memory.faults;
  persistent.touch(large + 300 * KiB - 8, 8);
  persistent.touch(large + 300 * KiB - 8, 8);
  expect(memory.faults - faults).toBe(1);
  const next = persistent.reserve(64 * KiB, 64, 2, 0);
  expect(next).toBeGreaterThanOrEqual(large + 300 * KiB);
  persistent.touch(next, 8);
  expect(memory.faults - faults).toBe(2);
});

describe("work buffers", () => {
  const FAULT_NS = 250;
  const SPAN_BYTES = 32 * KiB;
  let heap: Heap;
  let memory: Memory;
  let bufs: WorkBufs;
  beforeEach(() => {
    memory = new Memory({ fileBytes: 0, otherBytes: 0, faults: 0 });
    heap = rig("1.26", { os: memory, procs: 16 }).heap;
    bufs = new WorkBufs(heap, FAULT_NS);
  });

  test("a span of 16 is enough for eight Ps, which hold two each", () => {
    for (let p = 0; p < 8; p++) expect(bufs.hold(p, p * 1e6) > 0).toBe(p === 0);
    expect(heap.stats.inWorkBufs).toBe(SPAN_BYTES);
    expect(bufs.hold(8, 9e6)).toBe(SPAN_BYTES / PAGE);
    expect(heap.stats.inWorkBufs).toBe(2 * SPAN_BYTES);
  });

  test("a P that has its buffers needs no others", () => {
    bufs.hold(0, 0);
    for (let i = 1; i < 100; i++) expect(bufs.hold(0, i * 1e6)).toBe(0);
    expect(heap.stats.inWorkBufs).toBe(SPAN_BYTES);
  });

  test("two that begin at once take a span each: the first is still writing its own", () => {
    bufs.hold(0, 1000);
    expect(bufs.hold(1, 1000 + 8 * FAULT_NS - 1)).toBe(SPAN_BYTES / PAGE);
    expect(bufs.hold(2, 1000 + 16 * FAULT_NS)).toBe(0);
  });

  test("a span is written from end to end, in GCSys and not in the heap", () => {
    const faults = memory.faults;
    const { heapInUse } = heap.stats;
    bufs.hold(0, 0);
    expect(memory.faults - faults).toBeGreaterThanOrEqual(SPAN_BYTES / PAGE);
    expect(heap.stats.heapInUse).toBe(heapInUse);
  });

  test("the next cycle uses the same spans, unless the sweeper has given them back", () => {
    bufs.hold(0, 0);
    bufs.cycleEnds();
    const faults = memory.faults;
    expect(bufs.hold(0, 1e9)).toBe(0);
    expect(memory.faults).toBe(faults);
    expect(heap.stats.inWorkBufs).toBe(SPAN_BYTES);
    bufs.freeSome(0);
    // In use: they stay.
    expect(heap.stats.inWorkBufs).toBe(SPAN_BYTES);
    bufs.cycleEnds();
    bufs.freeSome(0);
    expect(heap.stats.inWorkBufs).toBe(0);
  });
});

describe("large objects that are written bit by bit", () => {
  const SIZE = 64 * KiB;
  const setUp = () => {
    const { r, memory } = rigWithMemory();
    const kind = r.kinds.addTable(0, SIZE);
    r.heap.allocLarge(0, kind, 2 ** 30, false);
    return { heap: r.heap, memory, span: r.heap.lastSpan };
  };

  test("take memory as they are written", () => {
    const { heap, memory, span } = setUp();
    const faults = memory.faults;
    heap.fillLarge(span, 0);
    expect(memory.faults - faults).toBe(0);
    heap.fillLarge(span, 8);
    expect(memory.faults - faults).toBe(1);
    heap.fillLarge(span, PAGE);
    expect(memory.faults - faults).toBe(1);
    heap.fillLarge(span, SIZE);
    expect(memory.faults - faults).toBe(SIZE / PAGE);
  });

  test("are no others than the tables: a workload's own objects of that size and shape are written at once", () => {
    const { r, memory } = rigWithMemory();
    const own = r.kinds.add(0, SIZE, SIZE);
    const table = r.kinds.addTable(0, SIZE);
    r.kinds.setFilled(table, () => {});
    expect(own).not.toBe(table);
    expect(r.kinds.filledBy(own)).toBeUndefined();
    const faults = memory.faults;
    r.heap.allocLarge(0, own, 2 ** 30);
    expect(memory.faults - faults).toBeGreaterThanOrEqual(SIZE / PAGE);
  });

  test("are read whole by the first mark: a fault for each page not written, and another when it is", () => {
    const { heap, memory, span } = setUp();
    heap.fillLarge(span, PAGE + 8);
    const faults = memory.faults;
    const resident = memory.residentBytes();
    heap.startMark(1);
    expect(memory.faults - faults).toBe(SIZE / PAGE - 2);
    expect(memory.residentBytes()).toBe(resident);
    heap.finishMark();
    heap.commitCycle(2 ** 40);
    heap.prepareForSweep(0);
    heap.finishSweep();
    const between = memory.faults;
    heap.startMark(2);
    expect(memory.faults).toBe(between);
    heap.fillLarge(span, SIZE);
    expect(memory.faults - between).toBe(SIZE / PAGE - 2);
  });
});
