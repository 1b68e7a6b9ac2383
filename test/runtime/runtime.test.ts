import { describe, expect, test } from "vitest";
import type { RuntimeCosts } from "../../src/runtime/costs.ts";
import { GcCPULimiter } from "../../src/runtime/mgclimit.ts";
import { G } from "../../src/runtime/proc.ts";
import { GoRuntime, type RuntimeParts } from "../../src/runtime/runtime.ts";
import { rig } from "./heapharness.ts";

class Idle extends G {
  override id = 0;

  step(): number {
    return 0;
  }
}

const flat = (ns: number): [number, number][] => [[1, ns]];

/** A runtime in the middle of a mark that makes no progress. */
function marking(): { rt: GoRuntime; limiter: GcCPULimiter; objects: () => number } {
  const { heap, kinds } = rig("1.26", { procs: 1 });
  const gc = { marking: true, running: true, takeSweepNs: () => 0, advance: () => {} };
  const costs = {
    mallocNoscanNs: flat(10),
    mallocScanNs: flat(12),
    tinyNs: 5,
    largeNs: 100,
    refillNs: 50,
    spanAllocNs: 50,
    sweepSpanNs: 0,
    scavenge: { pageNs: 0, callNs: 0, busyCallNs: 0 },
    zeroNsPerByte: 0,
    faultNs: 0,
    initPointerWordNs: 0,
    initPageNs: 0,
  } as unknown as RuntimeCosts;
  const limiter = new GcCPULimiter(0, 1);
  const parts = { heap, kinds, gc, costs, sched: { limiter }, tickNs: 100 } as unknown as RuntimeParts;
  const rt = new GoRuntime(parts);
  return { rt, limiter, objects: () => kinds.allocated.reduce((sum, n) => sum + n, 0) };
}

describe("an owner that ends while a mark is under way", () => {
  test("is not reached by it if only a stack held it that is not scanned yet", () => {
    const { heap, kinds } = rig("1.26", { procs: 1 });
    const { owners } = heap;
    const gc = { willScanStack: (gid: number) => gid >= 5, takeSweepNs: () => 0 };
    const rt = new GoRuntime({ heap, kinds, gc, owners, tickNs: 100 } as unknown as RuntimeParts);
    const [unscanned, scanned, inTable] = [owners.alloc(), owners.alloc(), owners.alloc()];
    heap.startMark(10);
    rt.endOwner(unscanned, 1500, 5);
    expect([owners.unreached, owners.death[unscanned]]).toEqual([1, 10]);
    rt.endOwner(scanned, 1500, 4);
    rt.endOwner(inTable, 1500, -1);
    expect([owners.unreached, owners.death[scanned], owners.death[inTable]]).toEqual([1, 15, 15]);
    // What began after the mark has black objects only.
    const later = owners.alloc();
    rt.endOwner(later, 1500, 5);
    expect([owners.unreached, owners.death[later]]).toEqual([1, 15]);
  });
});

describe("allocating while a mark is under way", () => {
  test("a large object waits until its goroutine has assisted for it", () => {
    const { rt, objects } = marking();
    const large = rt.kinds.add(0, 100_000, 0);
    const g = new Idle();
    rt.beginStep(g, 0, 0);
    rt.alloc(g, 0, large, 1000);
    expect([objects(), rt.stop, g.gcAssistBytes]).toEqual([0, true, -13 * 8192]);
    g.gcAssistBytes = 0;
    rt.beginStep(g, 0, 100);
    expect([objects(), rt.stop, g.gcAssistBytes]).toEqual([1, false, 0]);
    rt.beginStep(g, 0, 200);
    expect(objects()).toBe(1);
  });

  test("nobody waits while the CPU limiter is on, but the debt is kept", () => {
    const { rt, limiter, objects } = marking();
    limiter.limiting = true;
    const g = new Idle();
    rt.beginStep(g, 0, 0);
    rt.alloc(g, 0, rt.kinds.add(0, 100_000, 0), 1000);
    rt.alloc(g, 0, rt.kinds.add(0, 64, 0), 1000);
    const deaths = new Int32Array(50).fill(1000);
    expect(rt.allocRun(g, 0, rt.kinds.add(0, 64, 0), 50, deaths, 0, 0)).toBe(50);
    expect([objects(), rt.stop, g.gcAssistBytes]).toEqual([52, false, -13 * 8192 - 51 * 64]);
  });

  test("with credit enough it does not", () => {
    const { rt, objects } = marking();
    const g = new Idle();
    g.gcAssistBytes = 200_000;
    rt.beginStep(g, 0, 0);
    rt.alloc(g, 0, rt.kinds.add(0, 100_000, 0), 1000);
    expect([objects(), rt.stop, g.gcAssistBytes]).toEqual([1, false, 200_000 - 13 * 8192]);
  });

  test("tiny objects in a block of others are charged their own size, the one that opens it the block", () => {
    const { rt } = marking();
    const five = rt.kinds.add(0, 5, 0);
    const g = new Idle();
    g.gcAssistBytes = 1000;
    rt.beginStep(g, 0, 0);
    for (let i = 0; i < 4; i++) rt.alloc(g, 0, five, 1000);
    expect(g.gcAssistBytes).toBe(1000 - 16 - 5 - 5 - 16);
  });
});
