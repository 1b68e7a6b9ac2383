import { describe, expect, test } from "vitest";
import type { MarkCosts, RuntimeCosts } from "../../src/runtime/costs.ts";
import {
  BIG_SCAN,
  MarkTotals,
  SHARE_STEPS,
  SMALL_NOSCAN,
  SMALL_SCAN,
  TABLE_STEP_BYTES,
} from "../../src/runtime/mgcmark.ts";
import { MarkWork } from "../../src/runtime/mgcwork.ts";
import { allocMany, collect, finishCycle, rig, sweepAll } from "./heapharness.ts";

const flat = (ns: number): [number, number][] => [[1, ns]];

const objects = (find: number, visit: number): MarkCosts => ({
  noscanObjectNs: flat(find),
  scanObjectNs: flat(find + visit),
  noscanBigObjectNs: flat(2 * find),
  scanBigObjectNs: flat(2 * find + visit),
  sparseNoscanSpanNs: flat(0),
  sparseScanSpanNs: flat(0),
});

/** Only what a mark costs is read. */
const costs = {
  markRandom: objects(20, 30),
  markOrdered: objects(5, 10),
  interleavedNoscanSpanNs: flat(100),
  interleavedScanSpanNs: flat(150),
  pointerNs: flat(2),
  ownPointersNs: [
    [8, 0],
    [64, 50],
    [1024, 200],
  ],
  largePointerNs: 7,
  scanNsPerByte: flat(0.1),
  stackScanNsPerByte: 0.5,
  markGoroutineNs: 100,
  globalsScanNsPerByte: 0.1,
  cycleNs: 3000,
  cycleRootsNs: 1000,
} as unknown as RuntimeCosts;

const TABLE = 65536;

/** Two full tables that lead to 16,384 small objects, a quarter of them with pointers, half of each sort in order. */
function heap(): MarkTotals {
  const totals = new MarkTotals();
  totals.reset(1, 1, 1);
  totals.objects = 16386;
  totals.spanBytes = 2 ** 20;
  totals.sortObjects[SMALL_NOSCAN] = 12288;
  totals.sortOrdered[SMALL_NOSCAN] = 6144;
  totals.sortObjects[SMALL_SCAN] = 4096;
  totals.sortOrdered[SMALL_SCAN] = 2048;
  totals.sortObjects[BIG_SCAN] = 2;
  totals.sortOrdered[BIG_SCAN] = 2;
  totals.bigScanBytes = 2 * TABLE;
  totals.bigTableSquares = 2 * TABLE * TABLE;
  totals.bigTableBytes = 2 * TABLE;
  totals.tableUnits[TABLE / TABLE_STEP_BYTES] = 2;
  totals.scanBytes = 2 * TABLE + 4096 * 64;
  totals.smallPointerBytes = 4096 * 8;
  totals.pointers = 4096;
  return totals;
}

const roots = { globalsBytes: 200_000, stackBytes: 4000, stacks: 10 };

describe("the work of a mark", () => {
  test("costs what its parts cost, objects by the order they are found in", () => {
    const work = new MarkWork();
    work.plan(heap(), roots, costs);
    const rootsNs = 4000 * 0.5 + 10 * 100 + 200_000 * 0.1;
    const findNs = 8192 * 20 + 8192 * 5 + 2 * 10 + 16386 * 2;
    const visitNs = 2048 * 30 + 2048 * 10 + 2 * 10;
    const totalNs = 4096 * 2 + 4096 * (64 - 8) * 0.1;
    expect(work.totalNs).toBeCloseTo(rootsNs + 3000 + findNs + visitNs + totalNs, 6);
  });

  test("tells pointers apart: looked up in spans, an object's own, to large objects", () => {
    const plan = (change: (totals: MarkTotals) => void): MarkWork => {
      const totals = heap();
      change(totals);
      const work = new MarkWork();
      work.plan(totals, roots, costs);
      return work;
    };
    const added = (change: (totals: MarkTotals) => void): number =>
      plan(change).totalNs - plan(() => {}).totalNs;
    expect(added((t) => (t.pointers += 100))).toBeCloseTo(200, 6);
    // Hundred objects of over 512 bytes with a KiB of pointers each.
    expect(added((t) => t.ownBig.set(1024, 100))).toBeCloseTo(20_000, 6);
    // Releases without mark bits in spans have small ones, too.
    expect(added((t) => t.ownSmall.set(64, 100))).toBeCloseTo(5000, 6);
    expect(added((t) => (t.largePointers += 100))).toBeCloseTo(700, 6);
    // Behind objects: bytes, and a line of its own (here 75 ns, log-linear between 64 and 1024 bytes) where the pointers are far away.
    expect(added((t) => (t.tailBytes += 640))).toBeCloseTo(64, 6);
    expect(added((t) => (t.farTails += 10))).toBeCloseTo(375, 6);
    // Those of objects over 512 bytes are met before spans are scanned.
    const other = (t: MarkTotals): void => {
      t.bigScanBytes += 1000;
      t.scanBytes += 1000;
    };
    const spansAt = (change: (t: MarkTotals) => void): number => {
      const work = plan((t) => {
        other(t);
        change(t);
      });
      let ns = 0;
      while (work.workAt(ns) < 204_000 + 2 * TABLE + 1000 - 1) ns += 10;
      return ns;
    };
    const start = spansAt(() => {});
    expect(spansAt((t) => (t.largePointers += 1000)) - start).toBeCloseTo(7000, -2);
    expect(spansAt((t) => t.ownBig.set(1024, 10)) - start).toBeCloseTo(2000, -2);
    expect(spansAt((t) => (t.pointers += 1000)) - start).toBeCloseTo(0, -2);
    expect(spansAt((t) => t.ownSmall.set(64, 1000)) - start).toBeCloseTo(0, -2);
  });

  test("of spans marked in part: finding their objects costs the same with pointers and without, the rest is visiting them", () => {
    const sparse = { sparseNoscanSpanNs: flat(100), sparseScanSpanNs: flat(150) };
    const dear = {
      ...costs,
      markRandom: { ...costs.markRandom, ...sparse },
      markOrdered: { ...costs.markOrdered, ...sparse },
    };
    const planned = (sort: "scanShares" | "noscanShares") => {
      const totals = heap();
      totals[sort][8] = 10;
      const work = new MarkWork();
      work.plan(totals, roots, dear);
      return { total: work.totalNs, tables: work.nsFor(2 * TABLE, 24_000) };
    };
    const [scan, noscan] = [planned("scanShares"), planned("noscanShares")];
    expect(scan.tables).toBeCloseTo(noscan.tables, 6);
    expect(scan.total - noscan.total).toBeCloseTo(10 * 50, 6);
  });

  test("of spans whose objects are held among those of other sizes: as much more to find them, and to visit those with pointers", () => {
    const planned = (noscan: number, scan: number): number => {
      const totals = heap();
      totals.interleavedNoscanSpans = noscan;
      totals.interleavedScanSpans = scan;
      const work = new MarkWork();
      work.plan(totals, roots, costs);
      return work.totalNs;
    };
    expect(planned(10, 0) - planned(0, 0)).toBeCloseTo(1000, 6);
    expect(planned(0, 10) - planned(0, 0)).toBeCloseTo(1500, 6);
  });

  test("scans stacks last of the roots, and what they turn out not to hold takes its share of the rest away", () => {
    const work = new MarkWork();
    work.plan(heap(), roots, costs);
    // Ten goroutines and 4000 bytes of stacks are 3000 of the 24,000 ns.
    expect([20_000, 21_000, 22_500, 24_000, 30_000].map((ns) => work.stacksScanned(ns))).toEqual([
      0, 0, 0.5, 1, 1,
    ]);
    const { scanNs, totalNs } = work;
    work.drop(16386 / 4);
    expect(work.heapWork).toBeCloseTo(heap().scanBytes * 0.75, 3);
    expect(work.scanNs - 24_000).toBeCloseTo((scanNs - 24_000) * 0.75, 3);
    expect(work.totalNs - work.scanNs).toBeCloseTo(totalNs - scanNs, 6);
    expect(work.workAt(work.scanNs)).toBeCloseTo(204_000 + heap().scanBytes * 0.75, 3);
    // A third of what is left.
    work.drop(16386 / 4);
    expect(work.heapWork).toBeCloseTo(heap().scanBytes * 0.5, 3);
    // Objects allocated during the mark may be among them.
    work.drop(20_000);
    expect(work.heapWork).toBe(0);
    expect(work.scanNs).toBeCloseTo(24_000, 6);
  });

  test("is done in order: roots, tables, spans; all of it when the time is spent", () => {
    const work = new MarkWork();
    work.plan(heap(), roots, costs);
    expect(work.workAt(0)).toBe(0);
    expect(work.workAt(24_000)).toBeCloseTo(204_000, 3);
    expect(work.workAt(work.totalNs)).toBeCloseTo(204_000 + heap().scanBytes, 3);
    let before = -1;
    for (let ns = 0; ns <= work.scanNs; ns += work.scanNs / 100) {
      expect(work.workAt(ns)).toBeGreaterThan(before);
      before = work.workAt(ns);
    }
  });

  test("comes in whole tables first, however little is asked for", () => {
    const work = new MarkWork();
    work.plan(heap(), roots, costs);
    expect(work.lumpAt(24_000)).toBe(TABLE);
    work.take(24_000, 1);
    expect(work.takenWork).toBeCloseTo(TABLE, 3);
    expect(work.takenNs).toBeCloseTo(work.nsFor(TABLE, 24_000), 3);
    work.take(24_000, TABLE + 1);
    expect(work.takenWork).toBeCloseTo(2 * TABLE, 3);
  });

  test("is looked up from in whole tables, after each job of the roots, and not before the moment asked for", () => {
    const work = new MarkWork();
    work.plan(heap(), roots, costs);
    const tableNs = work.nsFor(TABLE, 24_000);
    // Two looks a hundred thousand bytes apart are two tables apart.
    expect(work.checkNs(100_000, 24_000)).toBeCloseTo(2 * tableNs, 3);
    expect(work.firstCheckNs(100_000, 24_000, 1)).toBeCloseTo(2 * tableNs, 3);
    expect(work.firstCheckNs(100_000, 0, 500)).toBe(500);
    expect(work.firstCheckNs(100_000, 0, 24_000 + 10)).toBeCloseTo(24_000 + 2 * tableNs, 3);
    // In spans it is by the bytes, and when nothing is left to scan at once.
    const inSpans = 24_000 + 2 * tableNs + 100;
    expect(work.firstCheckNs(1000, inSpans, 1)).toBeCloseTo(work.nsFor(1000, inSpans), 3);
    expect(work.firstCheckNs(100_000, work.scanNs + 1, 7)).toBe(7);
  });

  test("of the roots can be waited for, and the rest comes so much later", () => {
    const work = new MarkWork();
    work.plan(heap(), roots, costs);
    const { scanNs, totalNs } = work;
    expect([work.inRoots(23_999), work.inRoots(24_000)]).toEqual([true, false]);
    work.prolongRoots(5000);
    expect([work.scanNs - scanNs, work.totalNs - totalNs]).toEqual([5000, 5000]);
    // What was done stays done.
    for (const ns of [24_000, 26_000, 29_000]) expect(work.workAt(ns)).toBeCloseTo(204_000, 3);
    expect(work.workAt(29_100)).toBeGreaterThan(204_001);
  });

  test("of tables costs many times what work of spans costs", () => {
    const work = new MarkWork();
    work.plan(heap(), roots, costs);
    expect(work.nsFor(1000, 24_000)).toBeGreaterThan(4 * work.nsFor(1000, work.scanNs - 1));
  });

  test("of tables of many sizes is as many as owing takes: each is met as often as there are of it", () => {
    const totals = heap();
    // One of 1 KiB to each of 64 KiB.
    totals.tableUnits[1024 / TABLE_STEP_BYTES] = 2;
    totals.bigTableBytes += 2 * 1024;
    totals.bigScanBytes += 2 * 1024;
    totals.scanBytes += 2 * 1024;
    totals.bigTableSquares += 2 * 1024 * 1024;
    const work = new MarkWork();
    work.plan(totals, roots, costs);
    // Until a large one has been met, half of what is met first is small: 64 KiB and, in the mean, another KiB.
    work.take(24_000, TABLE);
    expect(work.takenWork).toBeCloseTo(TABLE + 1024, -1);
  });

  test("of tables beyond what is worked out takes half a unit more than is owed", () => {
    const totals = heap();
    totals.tableUnits[TABLE / TABLE_STEP_BYTES] = 20;
    totals.bigTableBytes = 20 * TABLE;
    totals.bigScanBytes = 20 * TABLE;
    totals.scanBytes += 18 * TABLE;
    totals.bigTableSquares = 20 * TABLE * TABLE;
    const work = new MarkWork();
    work.plan(totals, roots, costs);
    work.take(24_000, 5 * TABLE);
    expect(work.takenWork).toBeCloseTo(5.5 * TABLE, 3);
  });

  test("goes on into the next kind of work, and ends when nothing is left to scan", () => {
    const work = new MarkWork();
    work.plan(heap(), roots, costs);
    work.take(0, 1e12);
    expect(work.takenNs).toBeCloseTo(work.scanNs, 3);
    expect(work.takenWork).toBeCloseTo(204_000 + heap().scanBytes, 3);
    work.take(work.scanNs, 1);
    expect(work.takenNs).toBeCloseTo(0, 6);
    expect(work.takenWork).toBeCloseTo(0, 6);
    // What is left is the workers'.
    expect(work.totalNs - work.scanNs).toBeCloseTo(2000, 6);
  });

  test("without tables, objects are found while spans are scanned", () => {
    const work = new MarkWork();
    const totals = heap();
    totals.bigTableBytes = 0;
    totals.bigScanBytes = 0;
    totals.bigTableSquares = 0;
    totals.tableUnits.fill(0);
    work.plan(totals, roots, costs);
    expect(work.lumpAt(30_000)).toBe(0);
    work.take(30_000, 1000);
    expect(work.takenWork).toBeCloseTo(1000, 6);
  });
});

describe("the spans of survivors", () => {
  /** Where spans full of objects of so many bytes are counted. */
  const shareOf = (bytes: number, ptrBytes: number, n: number): readonly number[] => {
    const r = rig("1.26");
    allocMany(r, 0, r.kinds.add(0, bytes, ptrBytes), n, 100);
    collect(r, 8);
    sweepAll(r);
    const totals = r.heap.startMark(10);
    const shares = [
      totals.noscanShares,
      totals.scanShares,
      totals.orderedNoscanShares,
      totals.orderedScanShares,
    ];
    return shares.flatMap((of) => [...of].flatMap((spans, share) => (spans > 0 ? [share] : [])));
  };

  test("are counted by how many objects they hold, against those of 64 bytes; of big objects by the share of their slots", () => {
    expect(shareOf(64, 0, 126)).toEqual([SHARE_STEPS]);
    expect(shareOf(64, 0, 15)).toEqual([Math.ceil((15 / 126) * SHARE_STEPS)]);
    // A full span of 512-byte objects has 15.
    expect(shareOf(512, 0, 15)).toEqual([Math.ceil((15 / 126) * SHARE_STEPS)]);
    expect(shareOf(8, 0, 1000)).toEqual([SHARE_STEPS]);
    expect(shareOf(2048, 0, 4)).toEqual([SHARE_STEPS]);
  });
});

describe("survivors found in the order of their making", () => {
  /** Spans counted as interleaved, without pointers and with, of one source's objects of these sizes. */
  const interleaved = (
    sizes: readonly number[],
    ptrBytes: number,
    share = 1,
    sideBySide = Infinity,
  ): readonly [number, number] => {
    const r = rig("1.26");
    r.kinds.setOrder(0, () => share);
    if (sideBySide < Infinity) r.kinds.setSideBySide(0, sideBySide);
    for (const size of sizes) allocMany(r, 0, r.kinds.add(0, size, ptrBytes), 100, 100);
    // Somebody else's, of one size.
    allocMany(r, 0, r.kinds.add(1, 512, 0), 15, 100);
    const totals = r.heap.startMark(10);
    return [totals.interleavedNoscanSpans, totals.interleavedScanSpans];
  };

  test("are in another span than the one before if they are of another class", () => {
    // 100 objects of 48, 64 and 80 bytes each: each takes less than a span.
    expect(interleaved([48], 0)).toEqual([0, 0]);
    expect(interleaved([48, 64], 0)).toEqual([1, 0]);
    expect(interleaved([48, 64], 8)).toEqual([0, 1]);
    expect(interleaved([48, 64, 80], 0)[0]).toBeCloseTo((2 / 3) * 3, 9);
    // 65 and 72 bytes are one class.
    expect(interleaved([65, 72], 0)).toEqual([0, 0]);
    // Those found in no order miss the caches anyhow.
    expect(interleaved([48, 64], 0, 0.25)[0]).toBeCloseTo(0.25, 9);
    expect(interleaved([1024, 2048], 0)).toEqual([0, 0]);
    // One of a kind, and then others' objects; every fourth.
    expect(interleaved([48], 0, 1, 1)[0]).toBeCloseTo(1, 9);
    expect(interleaved([48], 0, 1, 4)[0]).toBeCloseTo(1 / 4, 9);
    expect(interleaved([48, 64], 0, 1, 4)[0]).toBeCloseTo(2 * (1 / 4 + (3 / 4) * (1 / 2)), 9);
    // A share that has halved and halved is one still.
    expect(interleaved([48, 64], 0, 1e-200)[0]).toBeCloseTo(0, 9);
  });
});

describe("what a stack held whose goroutine ended before it was scanned", () => {
  test("is not marked after all, and is free after the sweep", () => {
    const r = rig("1.26");
    const { heap, kinds } = r;
    const { owners } = heap;
    const small = kinds.add(0, 64, 8);
    const large = kinds.add(0, 100_000, 0);
    const [gone, still] = [owners.alloc(), owners.alloc()];
    for (const owner of [gone, still]) {
      allocMany(r, 0, small, 10, ~owner);
      allocMany(r, 0, large, 1, ~owner);
    }
    allocMany(r, 0, small, 5, 100);
    heap.startMark(10);
    heap.checkInvariants();
    const marked = heap.bytesMarked;
    expect(owners.unreached).toBe(0);
    owners.endUnreached(gone);
    expect([owners.unreached, heap.bytesMarked]).toEqual([1, marked]);
    expect(heap.unmarkUnreached()).toBe(11);
    heap.checkInvariants();
    expect([owners.unreached, heap.bytesMarked]).toEqual([0, marked - 10 * 64 - 13 * 8192]);
    finishCycle(r);
    sweepAll(r);
    heap.checkInvariants();
    const { classObjects } = heap.startMark(20);
    expect([classObjects[0], classObjects.reduce((a, b) => a + b, 0)]).toEqual([1, 16]);
    // Its number is used again only after that.
    finishCycle(r);
    expect(owners.alloc()).toBe(gone);
    heap.checkInvariants();
  });

  test("is marked if it lies in the tiny block that a P fills, or was allocated in a span made since the mark began", () => {
    const r = rig("1.26");
    const { heap, kinds } = r;
    const tiny = kinds.add(0, 4, 0);
    const small = kinds.add(0, 64, 0);
    const owner = heap.owners.alloc();
    allocMany(r, 0, tiny, 1, ~owner);
    heap.startMark(10);
    allocMany(r, 0, small, 3, ~owner);
    const marked = heap.bytesMarked;
    heap.owners.endUnreached(owner);
    expect([heap.unmarkUnreached(), heap.bytesMarked]).toEqual([0, marked]);
    // The block lives on with whoever joins it.
    allocMany(r, 0, tiny, 1, 100);
    finishCycle(r);
    sweepAll(r);
    heap.checkInvariants();
    const { classObjects } = heap.startMark(20);
    expect(classObjects.reduce((a, b) => a + b, 0)).toBe(1);
  });
});

describe("the pointers of survivors", () => {
  const KIB = 1024;
  const count = (version: "1.25" | "1.26") => {
    const r = rig(version);
    const of = (size: number, ptrBytes: number, n: number): void =>
      allocMany(r, 0, r.kinds.add(0, size, ptrBytes), n, 100);
    of(64, 24, 10);
    of(1000, 80, 5);
    of(128 * KIB, 128 * KIB, 2);
    of(320 * KIB, 300 * KIB, 3);
    // Tables' pointers are those through which others are found.
    allocMany(r, 0, r.kinds.addTable(0, 8 * KIB), 1, 100);
    // And some that are dead.
    of(2000, 2000, 7);
    allocMany(r, 0, r.kinds.add(0, 4000, 4000), 7, 5);
    // A mark counts anew.
    collect(r, 8);
    sweepAll(r);
    const totals = r.heap.startMark(10);
    return {
      lookedUp: totals.pointers,
      small: [...totals.ownSmall],
      big: [...totals.ownBig],
      large: totals.largePointers,
    };
  };
  const oblet = (128 * KIB) / 8;

  test("are looked up in spans with mark bits; else known as the object's own, up to the first oblet's end", () => {
    expect(count("1.26")).toEqual({
      lookedUp: 10 * 3,
      small: [],
      big: [
        [80, 5],
        [oblet * 8, 5],
        [2000, 7],
      ],
      large: 3 * ((300 * KIB) / 8 - oblet),
    });
  });

  test("were all known before spans had mark bits", () => {
    const { lookedUp, small, large } = count("1.25");
    expect([lookedUp, small, large]).toEqual([0, [[24, 10]], count("1.26").large]);
  });
});
