import { expect, test } from "vitest";
import type { Gc } from "../../src/runtime/mgc.ts";
import type { Heap } from "../../src/runtime/mheap.ts";
import { ReadMemStats } from "../../src/runtime/mstats.ts";
import { AFTER_EXIT, AFTER_PARK, type Scheduler } from "../../src/runtime/proc.ts";
import type { StackAllocator } from "../../src/runtime/stack.ts";

/** A reader among stand-ins that note what is asked of them. */
function reader(gc: { holdsWorld: boolean }) {
  const asked: string[] = [];
  const latencies: number[] = [];
  const read = new ReadMemStats({
    sched: { nprocs: 2, othersRun: () => true, arrivalNs: () => 50 } as unknown as Scheduler,
    gc: Object.assign(gc, { waitForCycle: () => asked.push("wait") }) as unknown as Gc,
    heap: { flushAllMcaches: () => asked.push("mcaches") } as unknown as Heap,
    stacks: { stackcacheClear: (p: number) => asked.push(`stacks ${p}`) } as unknown as StackAllocator,
    callNs: (preempting) => (preempting ? 700 : 300),
    onDone: (ns) => latencies.push(ns),
  });
  return { read, asked, latencies };
}

test("ReadMemStats stops the world and flushes the caches of every P", () => {
  const { read, asked, latencies } = reader({ holdsWorld: false });
  read.step(0, 1000);
  expect([read.stopNs, read.after]).toEqual([750, AFTER_EXIT]);
  read.worldStopped(1750);
  expect(asked).toEqual(["mcaches", "stacks 0", "stacks 1"]);
  expect(latencies).toEqual([750]);
});

test("ReadMemStats waits while a collection has the world, and its latency counts from the call", () => {
  const gc = { holdsWorld: true };
  const { read, asked, latencies } = reader(gc);
  read.step(0, 1000);
  expect([asked, read.stopNs, read.after]).toEqual([["wait"], -1, AFTER_PARK]);
  gc.holdsWorld = false;
  read.step(1, 5000);
  read.worldStopped(5750);
  expect(latencies).toEqual([4750]);
});
