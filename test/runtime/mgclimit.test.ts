import { describe, expect, test } from "vitest";
import {
  capacityPerProc,
  GcCPULimiter,
  limiterEventIdle,
  limiterEventIdleMarkWork,
  limiterEventMarkAssist,
  limiterWasOn,
} from "../../src/runtime/mgclimit.ts";
import { golden } from "./golden.ts";

type Row =
  | [call: "new" | "resetCapacity", args: [nowNs: number, procs: number], ...State]
  | [call: "update" | "finishGCTransition" | "addAssistTime", args: [ns: number], ...State]
  | [call: "needUpdate", args: [nowNs: number, answer: boolean], ...State]
  | [call: "startGCTransition", args: [enableGC: boolean, nowNs: number], ...State];
type State = [fill: number, capacity: number, overflow: number, limiting: boolean];

const vectors = golden<Record<"TestGCCPULimiter" | "Random", Row[]>>("mgclimit");

/** Does what the row says, and returns the limiter it was done to: a new one for "new". */
function play(row: Row, limiter: GcCPULimiter | undefined): GcCPULimiter {
  const [call, args] = row;
  if (call === "new") return new GcCPULimiter(args[0], args[1]);
  if (limiter === undefined) throw new Error("the script does not begin with a limiter");
  if (call === "resetCapacity") limiter.resetCapacity(args[0], args[1]);
  else if (call === "startGCTransition") limiter.startGCTransition(args[0], args[1]);
  else if (call === "needUpdate") expect(limiter.needUpdate(args[0])).toBe(args[1]);
  else limiter[call](args[0]);
  return limiter;
}

describe("the bucket is Go's, call by call", () => {
  for (const name of ["TestGCCPULimiter", "Random"] as const) {
    test(name, () => {
      const rows = vectors[name];
      expect(rows.length).toBeGreaterThan(50);
      let limiter: GcCPULimiter | undefined;
      rows.forEach((row, i) => {
        limiter = play(row, limiter);
        const [call, args, fill, capacity, overflow, limiting] = row;
        expect(
          [limiter.fill, limiter.capacity, limiter.overflow, limiter.limiting],
          `row ${i}: ${call}(${args.join(", ")})`,
        ).toEqual([fill, capacity, overflow, limiting]);
      });
    });
  }
});

describe("events", () => {
  test("count in the window they are in, under way or ended, and idle time in none", () => {
    const limiter = new GcCPULimiter(0, 2);
    limiter.startGCTransition(true, 0);
    limiter.finishGCTransition(0);
    limiter.startEvent(0, limiterEventMarkAssist, 0);
    limiter.startEvent(1, limiterEventIdle, 0);
    // Window 2000: idle 1000, of the rest 500 in the background and 1000 assisting, which is more than there was.
    limiter.update(1000);
    expect(limiter.fill).toBe(500 + 1000 - (2000 - 1000 - 1500));
    limiter.stopEvent(0, limiterEventMarkAssist, 1400);
    limiter.stopEvent(1, limiterEventIdle, 2000);
    limiter.update(2000);
    expect(limiter.fill).toBe(2000 + 500 + 400 - (2000 - 1000 - 900));
    // Nothing is under way any more: a quarter is the collector's, three are the mutator's.
    limiter.update(2500);
    expect(limiter.fill).toBe(2800 + 250 - 750);
  });

  test("the one that began first has the P's time", () => {
    const limiter = new GcCPULimiter(0, 1);
    expect(limiter.startEvent(0, limiterEventIdleMarkWork, 0)).toBe(true);
    expect(limiter.startEvent(0, limiterEventMarkAssist, 5)).toBe(false);
    expect(() => limiter.stopEvent(0, limiterEventMarkAssist, 9)).toThrow("limiter: P 0");
    limiter.stopEvent(0, limiterEventIdleMarkWork, 10);
    limiter.update(10);
    expect(limiter.fill).toBe(0);
  });
});

test("tells when it was on, and in which cycle it last turned on", () => {
  const limiter = new GcCPULimiter(0, 1);
  limiter.numGC = 6;
  limiter.startGCTransition(true, 0);
  limiter.finishGCTransition(capacityPerProc);
  expect(limiter.limiting).toBe(true);
  expect(limiter.lastEnabledCycle).toBe(7);
  expect(limiter.enabledNs(capacityPerProc + 30)).toBe(30);
  limiter.update(capacityPerProc + 40);
  expect(limiter.limiting).toBe(false);
  expect(limiter.enabledNs(capacityPerProc + 90)).toBe(40);
  expect([limiterWasOn(7, 6), limiterWasOn(7, 7), limiterWasOn(7, 8), limiterWasOn(0, 0)]).toEqual([
    true,
    true,
    false,
    false,
  ]);
});

test("a transition owns the limiter", () => {
  const limiter = new GcCPULimiter(0, 1);
  expect(() => limiter.finishGCTransition(1)).toThrow("has not begun");
  expect(() => limiter.startGCTransition(false, 1)).toThrow("same state");
  limiter.startGCTransition(true, 1);
  expect(() => limiter.update(2)).toThrow("during a transition");
  expect(() => limiter.startGCTransition(false, 2)).toThrow("within a transition");
});
