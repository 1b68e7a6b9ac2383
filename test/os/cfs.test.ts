/** CPU bandwidth: how long a quota lasts, who is throttled, and until when. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CfsBandwidth } from "../../src/os/cfs.ts";

const ms = 1e6;

/** From `fromNs` on these CPUs are busy. Returns when the first of them is throttled before `untilNs`, or -1. */
function play(bandwidth: CfsBandwidth, fromNs: number, untilNs: number, busy: Float64Array): number {
  bandwidth.setBusy(busy, fromNs);
  const at = bandwidth.advance(untilNs);
  if (at < 0) bandwidth.settle(untilNs);
  return at;
}

/** Keeps `cpus` CPUs busy until `untilNs` and returns what was throttled when, as [CPU, ms]. */
function run(bandwidth: CfsBandwidth, cpus: number, busyCpus: number, untilNs: number): [number, number][] {
  const busy = new Float64Array(cpus).fill(1, 0, busyCpus);
  const throttled: [number, number][] = [];
  for (let from = 0; ; ) {
    const at = play(bandwidth, from, untilNs, busy);
    if (at < 0) return throttled;
    throttled.push([bandwidth.throttledCpu, at / ms]);
    from = at;
  }
}

describe("a quota", () => {
  test("of 30 ms per 100 ms on one CPU lasts 30 ms, then the CPU stands still for 70 ms", () => {
    const bandwidth = new CfsBandwidth(30 * ms, 100 * ms, 0, 1);
    expect(run(bandwidth, 1, 1, 250 * ms)).toEqual([
      [0, 30],
      [0, 130],
      [0, 230],
    ]);
    expect(bandwidth.usageNs).toBe(90 * ms);
    expect(bandwidth.nrPeriods).toBe(2);
    expect(bandwidth.nrThrottled).toBe(2);
    expect(bandwidth.throttledNs).toBe(210 * ms);
  });

  test("of 2 CPUs feeds 64 busy ones for one slice each of 40", () => {
    const bandwidth = new CfsBandwidth(200 * ms, 100 * ms, 0, 64);
    const throttled = run(bandwidth, 64, 64, 99 * ms);
    // 200 ms are 40 slices of 5 ms: 24 CPUs find the pool empty at once, the others when their slice is used.
    expect(throttled.filter(([, at]) => at === 0).length).toBe(24);
    expect(throttled.filter(([, at]) => at === 5).length).toBe(40);
    expect(throttled.length).toBe(64);
    expect(bandwidth.usageNs).toBe(200 * ms);
  });

  test("that suffices throttles nobody", () => {
    const bandwidth = new CfsBandwidth(200 * ms, 100 * ms, 0, 4);
    expect(run(bandwidth, 4, 2, 1000 * ms)).toEqual([]);
    expect(bandwidth.usageNs).toBe(2000 * ms);
    expect(bandwidth.nrThrottled).toBe(0);
  });

  test("that nobody can use up is no more than a count, until it is made smaller", () => {
    const bandwidth = new CfsBandwidth(6400 * ms, 100 * ms, 0, 2);
    expect(run(bandwidth, 2, 2, 1050 * ms)).toEqual([]);
    bandwidth.charge(0, 3 * ms, 1050 * ms);
    expect(bandwidth.usageNs).toBe(2103 * ms);
    expect([bandwidth.nrPeriods, bandwidth.nrThrottled]).toEqual([10, 0]);
    bandwidth.setQuota(10 * ms, 1050 * ms);
    const busy = new Float64Array([1, 0]);
    expect(play(bandwidth, 1050 * ms, 1100 * ms, busy)).toBe(1060 * ms);
    bandwidth.setQuota(6400 * ms, 1060 * ms);
    expect(play(bandwidth, 1060 * ms, 2000 * ms, busy)).toBe(-1);
    // Nobody is throttled when the period ends.
    expect(bandwidth.nrThrottled).toBe(0);
  });

  test("is used by what is charged at once, too, and a debt is paid before anything runs", () => {
    const bandwidth = new CfsBandwidth(30 * ms, 100 * ms, 0, 1);
    const busy = Float64Array.of(1);
    // 5 ms are taken when it starts to run; 7 charged leave it 3 behind, which the next slice pays.
    expect(play(bandwidth, 0, ms, busy)).toBe(-1);
    bandwidth.charge(0, 7 * ms, ms);
    expect(play(bandwidth, ms, 99 * ms, busy)).toBe(23 * ms);
    expect(bandwidth.usageNs).toBe(30 * ms);
    // More than a whole quota: the next period goes on paying.
    bandwidth.charge(0, 40 * ms, 23 * ms);
    expect(play(bandwidth, 23 * ms, 150 * ms, busy)).toBe(100 * ms);
    expect(play(bandwidth, 100 * ms, 250 * ms, busy)).toBe(220 * ms);
    expect([bandwidth.nrPeriods, bandwidth.nrThrottled]).toEqual([2, 2]);
  });

  test("gets a slice back from a CPU that goes idle, but for 1 ms", () => {
    const bandwidth = new CfsBandwidth(10 * ms, 100 * ms, 0, 2);
    const first = Float64Array.of(1, 0);
    const second = Float64Array.of(0, 1);
    expect(play(bandwidth, 0, 2 * ms, first)).toBe(-1);
    // 3 ms of the first CPU's slice are left: 2 ms come back to the 5 ms in the pool.
    expect(play(bandwidth, 2 * ms, 50 * ms, second)).toBe(9 * ms);
    expect(bandwidth.throttledCpu).toBe(1);
  });
});

describe("a quota that somebody changes", () => {
  test("is there at once, and lets throttled CPUs go on: by the rest of the period earlier", () => {
    const bandwidth = new CfsBandwidth(10 * ms, 100 * ms, 0, 2);
    // 10 ms are a slice of 5 ms for each CPU.
    expect(run(bandwidth, 2, 2, 40 * ms)).toEqual([
      [0, 5],
      [1, 5],
    ]);
    expect([...bandwidth.setQuota(30 * ms, 40 * ms)]).toEqual([60 * ms, 60 * ms]);
    expect(bandwidth.throttledNs).toBe(2 * 35 * ms);
    // From 40 ms on the two have 30 ms: 15 ms each.
    const busy = new Float64Array(2).fill(1);
    expect(play(bandwidth, 40 * ms, 99 * ms, busy)).toBe(55 * ms);
    expect(bandwidth.usageNs).toBe(40 * ms);
  });

  test("leaves a period that nobody is throttled at the end of", () => {
    const bandwidth = new CfsBandwidth(10 * ms, 100 * ms, 0, 1);
    const busy = Float64Array.of(1);
    expect(play(bandwidth, 0, 100 * ms, busy)).toBe(10 * ms);
    bandwidth.setQuota(100 * ms, 40 * ms);
    expect(play(bandwidth, 40 * ms, 150 * ms, busy)).toBe(-1);
    expect([bandwidth.nrPeriods, bandwidth.nrThrottled]).toEqual([1, 0]);
    // The period that ends at this very moment is counted as it was.
    const late = new CfsBandwidth(10 * ms, 100 * ms, 0, 1);
    expect(play(late, 0, 100 * ms, busy)).toBe(10 * ms);
    expect(play(late, 10 * ms, 100 * ms, busy)).toBe(-1);
    late.setQuota(100 * ms, 100 * ms);
    expect([late.nrPeriods, late.nrThrottled]).toEqual([1, 1]);
  });
});

describe("accounts over stretches", () => {
  const CPUS = 3;
  const step = fc.record({
    ns: fc.integer({ min: 0, max: 40_000_000 }),
    busy: fc.tuple(
      fc.integer({ min: 0, max: 1 }),
      fc.integer({ min: 0, max: 1 }),
      fc.integer({ min: 0, max: 1 }),
    ),
    chargeNs: fc.constantFrom(0, 0, 0, 2e6, 9e6),
    chargedCpu: fc.integer({ min: 0, max: CPUS - 1 }),
  });

  /** Plays the steps and says all there is to say, with an account made at least every `mostNs`. */
  function told(steps: readonly (typeof step extends fc.Arbitrary<infer T> ? T : never)[], mostNs: number) {
    const bandwidth = new CfsBandwidth(60 * ms, 100 * ms, 0, CPUS);
    const throttled: string[] = [];
    let now = 0;
    for (const { ns, busy, chargeNs, chargedCpu } of steps) {
      const until = now + ns;
      bandwidth.setBusy(Float64Array.from(busy), now);
      for (;;) {
        const to = Math.min(until, now + mostNs);
        for (let at = bandwidth.advance(to); at >= 0; at = bandwidth.advance(to))
          throttled.push(
            `${bandwidth.throttledCpu} at ${at} until ${bandwidth.untilNs[bandwidth.throttledCpu]}`,
          );
        bandwidth.settle(to);
        now = to;
        if (now >= until) break;
        // Nothing has changed, but the accounts are made up.
        bandwidth.setBusy(Float64Array.from(busy), now);
      }
      bandwidth.charge(chargedCpu, chargeNs, now);
    }
    const { usageNs, throttledNs, nrPeriods, nrThrottled } = bandwidth;
    return { throttled, usageNs, throttledNs, nrPeriods, nrThrottled };
  }

  test("say the same as accounts made up every 1.25 ms, or every 10", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 60 }), (steps) => {
        const stretches = told(steps, Number.POSITIVE_INFINITY);
        expect(told(steps, 1.25e6)).toEqual(stretches);
        expect(told(steps, 1e7)).toEqual(stretches);
      }),
      { numRuns: 100 },
    );
  });
});
