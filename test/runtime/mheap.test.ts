import { describe, expect, test } from "vitest";
import { Memory } from "../../src/os/memory.ts";
import { classSnapshot, componentSnapshot, fragmentation, heapTruth } from "../../src/runtime/heapreport.ts";
import type { KindTable } from "../../src/runtime/kinds.ts";
import type { RunBudget } from "../../src/runtime/malloc.ts";
import { forever } from "../../src/runtime/owners.ts";
import { COST_NS, ELEMSIZE_OF_KIND, KIND_DOUBLES, SCAN_ALLOC_BYTES } from "../../src/runtime/records.ts";
import { tinySpanClass } from "../../src/runtime/sizeclasses.ts";
import type { Version } from "../../src/runtime/version.ts";
import { RandomStreams } from "../../src/sim/rng.ts";
import { allocMany, collect, finishCycle, rig, sweepAll } from "./heapharness.ts";

const MiB = 2 ** 20;

/** What RunBudget wants to know of each kind, which costs `costNs` each. */
function recordsOf(kinds: KindTable, costNs: number): Float64Array {
  const ofKind = new Float64Array(kinds.count * KIND_DOUBLES);
  for (let k = 0; k < kinds.count; k++) {
    ofKind[k * KIND_DOUBLES + COST_NS] = costNs;
    ofKind[k * KIND_DOUBLES + ELEMSIZE_OF_KIND] = kinds.elemsize[k];
    ofKind[k * KIND_DOUBLES + SCAN_ALLOC_BYTES] = kinds.scanAllocBytes[k];
  }
  return ofKind;
}

describe("heapLive and statistics move by spans", () => {
  // [version, requested bytes, objects per span, heapLive after one object]
  test.each([
    ["1.26", 64, 126],
    ["1.26", 32, 252],
    ["1.25", 64, 128],
    ["1.19", 64, 128],
  ] as const)("Go %s, %d-byte noscan objects, %d per span", (version, size, perSpan) => {
    const r = rig(version);
    const k = r.kinds.add(0, size, 0);
    allocMany(r, 0, k, 1, forever);
    expect(r.ledger.heapLive).toBe(8192);
    expect(r.heap.stats.heapObjects).toBe(0);
    allocMany(r, 0, k, perSpan - 1, forever);
    expect(r.ledger.heapLive).toBe(8192);
    expect(r.heap.stats.heapObjects).toBe(0);
    allocMany(r, 0, k, 1, forever);
    expect(r.ledger.heapLive).toBe(16384);
    expect(r.heap.stats.heapObjects).toBe(perSpan);
    expect(r.heap.stats.heapAlloc).toBe(perSpan * size);
    r.heap.checkInvariants();
  });

  test("a flush takes the unused slots back, but not the span's tail", () => {
    const r = rig();
    const k = r.kinds.add(0, 64, 0);
    allocMany(r, 0, k, 26, forever);
    r.heap.flushAllMcaches();
    expect(r.ledger.heapLive).toBe(8192 - 100 * 64);
    expect(r.heap.stats.heapObjects).toBe(26);
    // The span is taken from the partial list again: its 26 objects are not booked twice.
    allocMany(r, 0, k, 1, forever);
    expect(r.ledger.heapLive).toBe(8192 - 100 * 64 + 8192 - 26 * 64);
    r.heap.checkInvariants();
  });

  test("heapScan is handed over at refill, and dropped at mark termination", () => {
    const r = rig();
    const k = r.kinds.add(0, 64, 16);
    const perSpan = r.heap.layout.nelems[r.kinds.spc[k]];
    allocMany(r, 0, k, perSpan, forever);
    expect(r.ledger.heapScan).toBe(0);
    allocMany(r, 0, k, 1, forever);
    expect(r.ledger.heapScan).toBe(perSpan * 16);
    collect(r, 1);
    expect(r.ledger.heapScan).toBe(perSpan * 16);
  });

  test("after a GC heapLive is the marked bytes", () => {
    const r = rig();
    const k = r.kinds.add(0, 64, 0);
    allocMany(r, 0, k, 1000, 5);
    allocMany(r, 0, k, 300, forever);
    collect(r, 10);
    expect(r.ledger.heapLive).toBe(300 * 64);
    sweepAll(r);
    expect(r.heap.stats.heapObjects).toBe(300);
    r.heap.checkInvariants();
  });
});

describe("large objects", () => {
  test("count their pages at once and free them when swept", () => {
    const r = rig();
    const k = r.kinds.add(0, 100_000, 0);
    allocMany(r, 0, k, 1, 5);
    expect(r.ledger.heapLive).toBe(13 * 8192);
    expect(r.heap.stats.heapAlloc).toBe(13 * 8192);
    expect(r.heap.stats.heapInUse).toBe(13 * 8192);
    collect(r, 5);
    expect(r.heap.stats.heapInUse).toBe(13 * 8192);
    sweepAll(r);
    expect([r.heap.stats.heapInUse, r.heap.stats.heapObjects, r.heap.stats.frees]).toEqual([0, 0, 1]);
    r.heap.checkInvariants();
  });

  test("the reclaimer frees as many pages as a large allocation takes before the heap grows", () => {
    const r = rig();
    const small = r.kinds.add(0, 8192, 0);
    allocMany(r, 0, small, 1000, 5);
    const sys = r.heap.stats.heapSys;
    collect(r, 5);
    r.heap.work.reset();
    allocMany(r, 0, r.kinds.add(0, 400 * 8192, 0), 1, forever);
    expect(r.heap.work.reclaimedPages).toBeGreaterThanOrEqual(400);
    expect(r.heap.work.reclaimedPages).toBeLessThan(400 + 512);
    expect(r.heap.stats.heapSys).toBe(sys);
    r.heap.checkInvariants();
  });
});

describe("tiny objects", () => {
  test("share 16-byte blocks, aligned to their size", () => {
    const r = rig();
    const eight = r.kinds.add(0, 8, 0);
    allocMany(r, 0, eight, 10, forever);
    r.heap.flushAllMcaches();
    expect(r.heap.stats.smallAllocCount[2]).toBe(5);
    expect(r.heap.stats.tinyAllocCount).toBe(5);
    expect([r.heap.stats.mallocs, r.heap.stats.frees, r.heap.stats.heapObjects]).toEqual([10, 5, 5]);
  });

  test("5 bytes, then 4: the second is aligned to 4 and still fits twice", () => {
    const r = rig();
    const five = r.kinds.add(0, 5, 0);
    const four = r.kinds.add(0, 4, 0);
    allocMany(r, 0, five, 1, forever);
    allocMany(r, 0, four, 2, forever);
    r.heap.flushAllMcaches();
    expect(r.heap.stats.smallAllocCount[2]).toBe(1);
    // 5 -> 8..12 -> 12..16: the block is full now.
    allocMany(r, 0, four, 1, forever);
    r.heap.flushAllMcaches();
    expect(r.heap.stats.smallAllocCount[2]).toBe(2);
  });

  test("the block with more room left stays current", () => {
    const r = rig();
    const twelve = r.kinds.add(0, 12, 0);
    const fifteen = r.kinds.add(0, 15, 0);
    const four = r.kinds.add(0, 4, 0);
    allocMany(r, 0, twelve, 1, forever);
    allocMany(r, 0, fifteen, 1, forever);
    allocMany(r, 0, four, 1, forever);
    r.heap.flushAllMcaches();
    expect(r.heap.stats.smallAllocCount[2]).toBe(2);
  });

  test("one live object keeps the block, whoever else was in it", () => {
    const r = rig();
    const k = r.kinds.add(0, 4, 0);
    const a = r.heap.owners.alloc();
    const b = r.heap.owners.alloc();
    allocMany(r, 0, k, 1, 5);
    allocMany(r, 0, k, 1, ~a);
    allocMany(r, 0, k, 1, ~b);
    allocMany(r, 0, k, 1, 3);
    r.heap.flushAllMcaches();
    r.heap.owners.end(a, 7);
    collect(r, 10);
    expect(r.heap.bytesMarked).toBe(16);
    r.heap.owners.end(b, 12);
    collect(r, 20);
    expect(r.heap.bytesMarked).toBe(0);
    r.heap.checkInvariants();
    sweepAll(r);
    expect(r.heap.owners.live).toBe(0);
  });

  test("a P's current block survives even with nothing alive in it", () => {
    const r = rig();
    const k = r.kinds.add(0, 4, 0);
    allocMany(r, 0, k, 1, 2);
    collect(r, 10);
    expect(r.heap.bytesMarked).toBe(16);
    collect(r, 20);
    expect(r.heap.bytesMarked).toBe(0);
  });
});

describe("marking", () => {
  test("objects allocated during the mark are black, with no scan work", () => {
    const r = rig();
    const k = r.kinds.add(0, 64, 64);
    allocMany(r, 0, k, 100, forever);
    const totals = r.heap.startMark(10);
    expect([totals.objects, totals.bytes, totals.scanBytes]).toEqual([100, 6400, 6400]);
    allocMany(r, 0, k, 500, 11);
    expect(r.heap.bytesMarked).toBe(600 * 64);
    r.heap.checkInvariants();
    finishCycle(r);
    expect(r.ledger.heapLive).toBe(600 * 64);
    collect(r, 20);
    expect(r.ledger.heapLive).toBe(6400);
  });

  test("an owner that ends during the mark floats to the next", () => {
    const r = rig();
    const k = r.kinds.add(0, 64, 0);
    const o = r.heap.owners.alloc();
    allocMany(r, 0, k, 100, ~o);
    r.heap.startMark(10);
    r.heap.owners.end(o, 10);
    finishCycle(r);
    expect(r.ledger.heapLive).toBe(6400);
    collect(r, 20);
    expect(r.ledger.heapLive).toBe(0);
  });

  test("slots of owners found dead stay occupied until swept", () => {
    const r = rig();
    const k = r.kinds.add(0, 64, 0);
    const dying = r.heap.owners.alloc();
    for (let i = 0; i < 60; i++) allocMany(r, 0, k, 1, i % 2 === 0 ? ~dying : forever);
    collect(r, 10);
    allocMany(r, 0, k, 1, forever);
    r.heap.owners.end(dying, 15);
    r.heap.startMark(20);
    allocMany(r, 0, k, 40, forever);
    r.heap.checkInvariants();
    finishCycle(r);
    r.heap.checkInvariants();
  });

  test("Green Tea's packed scan counts whole elements of spans at least 1/8 marked", () => {
    for (const avx512 of [false, true]) {
      const r = rig("1.26", { avx512 });
      const k = r.kinds.add(0, 64, 8);
      const n = r.heap.layout.nelems[r.kinds.spc[k]];
      expect(n).toBe(124);
      allocMany(r, 0, k, 15, forever);
      allocMany(r, 0, k, n - 15, 5);
      allocMany(r, 0, k, 14, forever);
      allocMany(r, 0, k, n - 14, 5);
      const totals = r.heap.startMark(10);
      expect(totals.objects).toBe(29);
      expect(totals.scanBytes).toBe(avx512 ? 15 * 64 + 14 * 8 : 29 * 8);
      expect(totals.denseSpans).toBe(avx512 ? 1 : 0);
    }
  });

  test("kinds that share a span class keep their own scan sizes", () => {
    const r = rig();
    const a = r.kinds.add(0, 64, 8);
    const b = r.kinds.add(1, 60, 32);
    for (let i = 0; i < 50; i++) {
      allocMany(r, 0, a, 1, forever);
      allocMany(r, 0, b, 1, i % 2 === 0 ? 5 : forever);
    }
    expect(r.heap.startMark(10).scanBytes).toBe(50 * 8 + 25 * 32);
    expect(classSnapshot(r.heap)[0].internal_waste_bytes).toBe(50 * 4);
  });
});

describe("sweeping", () => {
  test("proportional sweep has everything swept when heapLive reaches the trigger", () => {
    const r = rig();
    const k = r.kinds.add(0, 1024, 0);
    allocMany(r, 0, k, 20_000, 5);
    allocMany(r, 0, k, 20_000, forever);
    const trigger = r.ledger.heapLive;
    collect(r, 10, trigger);
    const total = r.heap.pagesInUse;
    const other = r.kinds.add(0, 2048, 0);
    let unsweptSeen = 0;
    while (r.ledger.heapLive < trigger - MiB) {
      allocMany(r, 0, other, 4, forever);
      const line =
        (total * (r.ledger.heapLive - r.heap.sweepHeapLiveBasis)) /
        (trigger - MiB - r.heap.sweepHeapLiveBasis);
      expect(r.heap.pagesSwept).toBeGreaterThanOrEqual(Math.min(Math.floor(line), total) - 5);
      if (!r.heap.isSweepDone()) unsweptSeen++;
    }
    expect(unsweptSeen).toBeGreaterThan(1000);
    allocMany(r, 0, other, 8, forever);
    expect(r.heap.isSweepDone()).toBe(true);
    r.heap.checkInvariants();
  });

  test("a refill looks at no more than 101 unswept spans before it takes a new one", () => {
    const r = rig();
    const k = r.kinds.add(0, 1024, 0);
    allocMany(r, 0, k, 8 * 300, forever);
    collect(r, 10);
    r.heap.work.reset();
    allocMany(r, 0, k, 1, forever);
    // 101 by the search, and one by the page reclaimer's budget: nothing to reclaim here, as all spans have marks.
    expect(r.heap.work.spansSwept).toBe(101);
    expect(r.heap.work.spansAllocated).toBe(1);
  });

  test("lists are queues: the span that was filled first is allocated from first", () => {
    const r = rig();
    const k = r.kinds.add(0, 4096, 0);
    const first: number[] = [];
    for (let i = 0; i < 6; i++) {
      allocMany(r, 0, k, 1, i % 2 === 0 ? forever : 5);
      if (i % 2 === 0) first.push(r.heap.spans.base[r.heap.lastSpan]);
    }
    collect(r, 10);
    const again: number[] = [];
    for (let i = 0; i < 3; i++) {
      allocMany(r, 0, k, 1, forever);
      again.push(r.heap.spans.base[r.heap.lastSpan]);
    }
    // The last span was cached when the cycle ended, so its flush swept it first.
    expect(again).toEqual([first[2], first[0], first[1]]);
  });

  test("a span swept by an allocation is kept even if nothing in it survived", () => {
    const r = rig();
    const k = r.kinds.add(0, 4096, 0);
    allocMany(r, 0, k, 20, 5);
    collect(r, 10);
    const inUse = r.heap.stats.heapInUse;
    r.heap.work.reset();
    allocMany(r, 0, k, 1, forever);
    expect(r.heap.work.spansAllocated).toBe(0);
    expect(r.heap.stats.heapInUse).toBe(inUse);
  });
});

describe("pages", () => {
  test("the heap grows by 4 MiB chunks, released until used", () => {
    const r = rig("1.25");
    allocMany(r, 0, r.kinds.add(0, 64, 0), 1, forever);
    expect(r.heap.stats.heapSys).toBe(4 * MiB);
    expect(r.heap.stats.heapReleased).toBe(4 * MiB - 8192);
    expect(r.heap.stats.heapInUse).toBe(8192);
  });

  test("1.26's random base: pages lost for ever, counted as released, and an earlier second growth", () => {
    const r = rig("1.26", { heapBase: { chunk: 3, paddingPages: 300 } });
    const k = r.kinds.add(0, 8192, 0);
    allocMany(r, 0, k, 212, forever);
    expect(r.heap.stats.heapSys).toBe(4 * MiB);
    expect(r.heap.stats.heapReleased).toBe(300 * 8192);
    r.heap.checkInvariants();
    allocMany(r, 0, k, 1, forever);
    expect(r.heap.stats.heapSys).toBe(8 * MiB);
    expect(r.heap.spans.base[r.heap.lastSpan]).toBe(4 * 512);
    r.heap.checkInvariants();
  });

  test("stacks come out of the heap", () => {
    const r = rig("1.25");
    const base = r.heap.allocStackSpan(4);
    expect(r.heap.stats.heapSys).toBe(4 * MiB - 32768);
    expect(r.heap.stats.inStacks).toBe(32768);
    r.heap.freeStackSpan(base);
    expect(r.heap.stats.heapSys).toBe(4 * MiB);
    r.heap.checkInvariants();
  });

  test("fresh memory is not cleared, used memory is", () => {
    const r = rig();
    const k = r.kinds.add(0, 1000, 0);
    allocMany(r, 0, k, 80, 5);
    expect(r.heap.work.bytesZeroed).toBe(0);
    collect(r, 10);
    // The refill finds a span to sweep and keeps it.
    allocMany(r, 0, k, 8, forever);
    expect(r.heap.work.bytesZeroed).toBe(8 * 1024);
    sweepAll(r);
    // The page cache still has pages never used.
    r.heap.work.reset();
    allocMany(r, 0, k, 8, forever);
    expect(r.heap.work.bytesZeroed).toBe(0);
  });

  test("every Go version: a mixed life leaves the accounts in order", () => {
    for (const version of ["1.19", "1.20", "1.21", "1.22", "1.23", "1.24", "1.25", "1.26"] as Version[]) {
      const r = rig(version, { procs: 3 });
      const kinds = [
        r.kinds.add(0, 7, 0),
        r.kinds.add(0, 48, 16),
        r.kinds.add(0, 5000, 8),
        r.kinds.add(0, 70_000, 8),
      ];
      for (let cycle = 1; cycle < 6; cycle++) {
        for (let p = 0; p < 3; p++) for (const k of kinds) allocMany(r, p, k, 200, cycle * 10 + p * 7);
        r.heap.checkInvariants();
        collect(r, cycle * 10);
        r.heap.checkInvariants();
        for (let i = 0; i < 20; i++) r.heap.sweepone();
        r.heap.checkInvariants();
      }
    }
  });
});

/** Counts the faults of the heap's own pages. */
class CountingMemory extends Memory {
  heapFaults = 0;

  constructor() {
    super({ fileBytes: 0, otherBytes: 0, faults: 0 });
  }

  override touch(startByte: number, endByte: number): number {
    const faults = super.touch(startByte, endByte);
    this.heapFaults += faults;
    return faults;
  }
}

describe("residency", () => {
  test("pages become resident as slots are written, and stay so while the span lives", () => {
    const memory = new CountingMemory();
    const r = rig("1.25", { os: memory });
    const k = r.kinds.add(0, 64, 0);
    const before = memory.residentBytes();
    allocMany(r, 0, k, 1, 5);
    expect(memory.heapFaults).toBe(1);
    allocMany(r, 0, k, 63, 5);
    expect(memory.heapFaults).toBe(1);
    allocMany(r, 0, k, 1, 5);
    expect(memory.heapFaults).toBe(2);
    collect(r, 10);
    sweepAll(r);
    allocMany(r, 0, k, 128, 15);
    expect(memory.heapFaults).toBe(2);
    expect(memory.residentBytes() - before).toBeGreaterThanOrEqual(8192);
  });

  test("Go 1.26 writes a span's mark bits when it is made: its second page at once", () => {
    const memory = new CountingMemory();
    const r = rig("1.26", { os: memory });
    allocMany(r, 0, r.kinds.add(0, 64, 0), 1, 5);
    expect(memory.heapFaults).toBe(2);
  });

  test("a large object is resident throughout", () => {
    const memory = new CountingMemory();
    const r = rig("1.26", { os: memory });
    allocMany(r, 0, r.kinds.add(0, MiB, 0), 1, 5);
    expect(memory.heapFaults).toBe(256);
  });
});

describe("metadata", () => {
  test("sizes of Go 1.26 at start and after one span", () => {
    const r = rig("1.26", { procs: 2 });
    expect([r.heap.mcacheInuse, r.heap.mcacheSys]).toEqual([2 * 2296, 16072]);
    allocMany(r, 0, r.kinds.add(0, 64, 0), 1, forever);
    // A P takes 64 span records at once.
    expect([r.heap.mspanInuse, r.heap.mspanSys]).toEqual([64 * 160, 16320]);
    expect(r.heap.sysTotal).toBe(
      r.heap.stats.heapSys +
        r.heap.stackSys +
        r.heap.mspanSys +
        r.heap.mcacheSys +
        r.heap.gcSys +
        r.heap.otherSys,
    );
    // heapArena, 1 MiB of bitmaps, root summary, five 4 KiB pieces, one block of mark bits, and some small change.
    expect(r.heap.gcSys).toBeGreaterThan(69_648 + MiB + 131_072 + 5 * 4096 + 65_536);
    expect(r.heap.gcSys).toBeLessThan(69_648 + MiB + 131_072 + 5 * 4096 + 65_536 + 32_768);
  });
});

describe("early deaths and owners of single slots", () => {
  test("kill and setOwner", () => {
    const r = rig();
    const k = r.kinds.add(0, 128, 0);
    allocMany(r, 0, k, 1, forever);
    const [s, i] = [r.heap.lastSpan, r.heap.lastIndex];
    r.heap.kill(s, i, 5);
    allocMany(r, 0, k, 1, forever);
    const o = r.heap.owners.alloc();
    r.heap.setOwner(r.heap.lastSpan, r.heap.lastIndex, o);
    expect(r.heap.startMark(10).objects).toBe(1);
    finishCycle(r);
    r.heap.owners.end(o, 15);
    expect(r.heap.startMark(20).objects).toBe(0);
  });
});

describe("user arenas", () => {
  test("a chunk is one large object that returns its memory when freed", () => {
    const memory = new Memory({ fileBytes: 0, otherBytes: 0, faults: 0 });
    const r = rig("1.26", { os: memory });
    const s = r.heap.allocUserArenaChunk(0, r.kinds.add(0, 8 * MiB, 1000));
    const live = r.ledger.heapLive;
    expect(r.heap.stats.heapInUse).toBe(8 * MiB);
    expect(r.heap.stats.heapAlloc).toBe(live);
    r.heap.checkInvariants();
    expect(r.heap.startMark(5).scanBytes).toBe(1000);
    finishCycle(r);
    expect(r.ledger.heapLive).toBe(live);
    sweepAll(r);
    const sys = r.heap.stats.heapSys;
    r.heap.freeUserArenaChunk(s, 6);
    expect(r.ledger.heapLive).toBe(0);
    expect(r.heap.stats.heapSys).toBe(sys - 8 * MiB);
    r.heap.checkInvariants();
    const [base, ready] = [r.heap.spans.base[s], r.heap.userArenas.ready.length];
    collect(r, 10);
    sweepAll(r);
    expect(r.heap.userArenas.ready.length).toBe(ready + 1);
    expect(r.heap.userArenas.ready.at(-1)).toBe(base);
    r.heap.checkInvariants();
  });
});

describe("reports", () => {
  test("fragmentation: one survivor per span is nearly all waste", () => {
    const r = rig("1.25");
    const k = r.kinds.add(0, 64, 0);
    for (let i = 0; i < 100; i++) {
      allocMany(r, 0, k, 1, forever);
      allocMany(r, 0, k, 127, 5);
    }
    collect(r, 10);
    sweepAll(r);
    const f = fragmentation(r.heap, classSnapshot(r.heap));
    expect(f.free_slot_bytes).toBe(100 * 127 * 64);
    expect(f.free_slot_fraction).toBeCloseTo(127 / 128, 10);
    expect(f.tail_waste_bytes).toBe(0);
    expect(f.idle_fraction).toBeCloseTo(1 - (100 * 8192) / (4 * MiB), 10);
    const truth = heapTruth(r.heap, 10);
    expect([truth.live_objects, truth.dead_objects]).toEqual([100, 0]);
  });

  test("truth tells dead from live where the statistics cannot", () => {
    const r = rig();
    allocMany(r, 0, r.kinds.add(0, 64, 0), 100, 5);
    allocMany(r, 0, r.kinds.add(0, 64, 0), 20, forever);
    expect(heapTruth(r.heap, 4)).toEqual({
      live_objects: 120,
      live_bytes: 7680,
      dead_objects: 0,
      dead_bytes: 0,
    });
    expect(heapTruth(r.heap, 5)).toEqual({
      live_objects: 20,
      live_bytes: 1280,
      dead_objects: 100,
      dead_bytes: 6400,
    });
  });
});

test("the tiny span class is 16 bytes, noscan", () => {
  expect(tinySpanClass).toBe(5);
});

describe("objects in runs", () => {
  const tinySizes = [1, 2, 3, 4, 7, 8, 12, 15];
  test.each([
    ["tiny ones", tinySizes, 0],
    ["small ones of several kinds and classes", [24, 32, 40, 48, 104, 112, 200, 600, 1000], 0.5],
    ["both", [...tinySizes, 16, 24, 96, 104, 2000], 0.3],
  ])("lie, die and count as when they are made one by one: %s", (_, sizes, pointers) => {
    const rng = new RandomStreams(7).stream("runs");
    const one = rig("1.26", { procs: 2 });
    const run = rig("1.26", { procs: 2 });
    const kindsOf = (r: typeof one): number[] =>
      sizes.map((n) => r.kinds.add(0, n, n < 16 ? 0 : n * pointers));
    const ids = kindsOf(one);
    expect(kindsOf(run)).toEqual(ids);
    const budget: RunBudget = {
      ofKind: recordsOf(run.kinds, 2),
      extraNs: 1,
      maxNs: Infinity,
      ns: 0,
      creditBytes: Infinity,
      minCreditBytes: 0,
      spent: false,
    };
    let inRuns = 0;
    for (let cycle = 0; cycle < 5; cycle++) {
      for (let batch = 0; batch < 40; batch++) {
        const n = 1 + (rng.u32() % 300);
        const p = rng.u32() & 1;
        const kinds = Int32Array.from({ length: n }, () => ids[rng.u32() % ids.length]);
        // Half of the batches let runs be longer.
        if (batch % 2 === 0) kinds.sort((a, b) => one.kinds.spc[a] - one.kinds.spc[b]);
        const deaths = Int32Array.from({ length: n }, () => cycle * 100 + 1 + (rng.u32() % 150));
        for (let i = 0; i < n; i++) allocMany(one, p, kinds[i], 1, deaths[i]);
        budget.ns = 0;
        let slow = 0;
        for (let i = 0; i < n; ) {
          const { heap } = run;
          const isTiny = run.kinds.tiny[kinds[i]] !== 0;
          // Now and then the budget ends a run.
          budget.maxNs = rng.u32() % 4 === 0 ? budget.ns + (rng.u32() % 10) : Infinity;
          const done = isTiny
            ? heap.allocTinyRun(p, kinds, deaths, i, n, budget)
            : heap.allocMixedRun(p, kinds, deaths, i, n, budget);
          i += done;
          inRuns += done;
          if (budget.spent || i === n) continue;
          allocMany(run, p, kinds[i], 1, deaths[i]);
          slow++;
          i++;
        }
        expect(budget.ns).toBe(3 * (n - slow));
      }
      for (const r of [one, run]) {
        collect(r, cycle * 100 + 100);
        sweepAll(r);
        r.heap.checkInvariants();
      }
      expect(run.heap.stats).toEqual(one.heap.stats);
      expect(run.ledger).toEqual(one.ledger);
      expect(run.heap.markTotals).toEqual(one.heap.markTotals);
      // So many slots that they are compared as bytes.
      const bytes = (r: typeof one): Buffer[] => [
        Buffer.from(r.heap.slots.death.buffer),
        Buffer.from(r.heap.slots.kind.buffer),
      ];
      expect(Buffer.concat(bytes(run)).equals(Buffer.concat(bytes(one)))).toBe(true);
      expect(run.kinds.allocated).toEqual(one.kinds.allocated);
    }
    expect(inRuns).toBeGreaterThan(10_000);
  });

  test("a run ends with the object that spends its time or its credit", () => {
    const r = rig("1.26");
    const k = r.kinds.add(0, 64, 0);
    const tiny = r.kinds.add(0, 5, 0);
    const deaths = new Int32Array(50).fill(10);
    allocMany(r, 0, k, 1, 10);
    allocMany(r, 0, tiny, 1, 10);
    const ofKind = recordsOf(r.kinds, 2);
    const spend = (kind: number, limits: Pick<RunBudget, "maxNs" | "creditBytes">): [number, RunBudget] => {
      const budget = { ofKind, extraNs: 1, ns: 0, minCreditBytes: 0, spent: false, ...limits };
      const kinds = new Int32Array(50).fill(kind);
      const made =
        kind === tiny
          ? r.heap.allocTinyRun(0, kinds, deaths, 0, 50, budget)
          : r.heap.allocMixedRun(0, kinds, deaths, 0, 50, budget);
      return [made, budget];
    };
    for (const kind of [k, tiny]) {
      // 3 ns each; the fifth one's own 2 ns bring 12 past 13.
      expect(spend(kind, { maxNs: 13, creditBytes: Infinity })).toMatchObject([5, { ns: 15, spent: true }]);
      expect(spend(kind, { maxNs: Infinity, creditBytes: Infinity })).toMatchObject([50, { spent: false }]);
    }
    expect(spend(k, { maxNs: Infinity, creditBytes: 128 })).toMatchObject([
      3,
      { creditBytes: -64, spent: true },
    ]);
  });
});

test("each component tells what it holds and has done", () => {
  const r = rig("1.26", { procs: 2 });
  const k = r.kinds.add(0, 64, 0);
  const spc = r.kinds.spc[k];
  allocMany(r, 0, k, 3 * 126 + 1, forever);
  allocMany(r, 1, k, 26, forever);
  allocMany(r, 1, r.kinds.add(0, 5, 0), 1, forever);
  allocMany(r, 1, r.kinds.add(0, 100_000, 0), 1, forever);
  const before = componentSnapshot(r.heap);
  expect(before.mcaches).toEqual([
    { p: 0, cached_spans: 1, free_slot_bytes: 125 * 64, tiny_offset_bytes: 16, refills: 4, flushes: 0 },
    {
      p: 1,
      cached_spans: 2,
      free_slot_bytes: 100 * 64 + 503 * 16,
      tiny_offset_bytes: 5,
      refills: 2,
      flushes: 0,
    },
  ]);
  const lists = { partial_swept: 0, partial_unswept: 0, full_swept: 3, full_unswept: 0 };
  expect(before.mcentrals).toContainEqual({ spanclass: spc, elemsize: 64, noscan: true, ...lists });
  // Four of P 0, two of P 1, and the large object's 13 pages.
  expect(before.mheap).toMatchObject({
    spans_in_use: 7,
    pages_in_use: 6 + 13,
    spans_allocated: 7,
    large_allocs: 1,
  });
  r.heap.flushAllMcaches();
  const after = componentSnapshot(r.heap);
  expect(after.mcaches.map((c) => [c.cached_spans, c.flushes])).toEqual([
    [0, 1],
    [0, 1],
  ]);
  expect(after.mcentrals).toContainEqual({
    spanclass: spc,
    elemsize: 64,
    noscan: true,
    ...lists,
    partial_swept: 2,
  });
});
