/** Pressure on memory: the union of stalls, as time passes, and the part of it in which nobody else ran. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { MemoryPressure } from "../../src/os/psi.ts";

test("threads that sleep at once count once, and only when the time has passed", () => {
  const psi = new MemoryPressure();
  psi.sleeps(2e9);
  psi.sleeps(1e9);
  expect([psi.someNs, psi.untilNs]).toEqual([0, 2e9]);
  psi.elapse(0, 0.5e9, 1);
  psi.sleeps(2.5e9);
  psi.elapse(0.5e9, 2e9, 0);
  expect([psi.someNs, psi.fullNs]).toEqual([2e9, 1.5e9]);
  psi.elapse(2e9, 10e9, 0);
  expect([psi.someNs, psi.fullNs]).toEqual([2.5e9, 2e9]);
});

test("a thread that reclaims runs: all are stalled while it is the only one", () => {
  const psi = new MemoryPressure();
  psi.reclaims(100);
  psi.elapse(0, 40, 2);
  expect([psi.someNs, psi.fullNs]).toEqual([40, 0]);
  psi.elapse(40, 200, 1);
  expect([psi.someNs, psi.fullNs]).toEqual([100, 60]);
});

test("any stalls: some is the measure of their union, full the part of it without a running thread", () => {
  const step = fc.record({
    ns: fc.integer({ min: 0, max: 50 }),
    running: fc.integer({ min: 0, max: 2 }),
    sleeps: fc.array(fc.integer({ min: 1, max: 120 }), { maxLength: 3 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const psi = new MemoryPressure();
      const stalled = new Set<number>();
      let now = 0;
      let some = 0;
      let full = 0;
      for (const { ns, running, sleeps } of steps) {
        for (const length of sleeps) {
          psi.sleeps(now + length);
          for (let at = now; at < now + length; at++) stalled.add(at);
        }
        psi.elapse(now, now + ns, running);
        for (let at = now; at < now + ns; at++) {
          some += Number(stalled.has(at));
          full += Number(stalled.has(at) && running === 0);
        }
        now += ns;
      }
      expect([psi.someNs, psi.fullNs]).toEqual([some, full]);
    }),
  );
});
