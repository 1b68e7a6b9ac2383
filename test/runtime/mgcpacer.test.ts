/**
 * The pacer against the runtime's own: every cycle of every scenario of TestGcPacer, to the byte.
 *
 * The scenarios run in an idealised program: in each cycle it allocates and scans at fixed rates, its heap
 * grows by a factor, a part of it holds pointers. Assists are taken to be perfect: over each period of 500 us
 * the GC gets exactly the CPU share that keeps the assist ratio. The golden files hold what Go's test logged.
 */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  GcController,
  gcBackgroundUtilization,
  gcControllerCommit,
  type MemoryLimitInputs,
  never,
  noMemoryLimit,
  workerDedicated,
  workerFractional,
  workerIdle,
  workerNone,
} from "../../src/runtime/mgcpacer.ts";
import { PiController } from "../../src/runtime/picontroller.ts";
import { rulesFor, VERSIONS, type Version } from "../../src/runtime/version.ts";

interface Golden {
  readonly scenarios: Readonly<Record<string, readonly string[]>>;
}

function golden<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../golden/${name}.json`, import.meta.url), "utf8")) as T;
}

const streams = golden<{ random: Record<string, number[]>; sine8: number[] }>("gcpacer-streams");

// ---- The scenarios' inputs: an input is a function of the cycle, counted from 0 ----

type Input = (cycle: number) => number;

const constant =
  (c: number): Input =>
  () =>
    c;
/** From 0 to `height` in `length` steps, then level. */
const ramp =
  (height: number, length: number, delay = 0): Input =>
  (cycle) =>
    cycle < delay ? 0 : (height * Math.min(cycle - delay, length)) / length;
/** A single peak. */
const peak =
  (height: number, at: number): Input =>
  (cycle) =>
    cycle === at ? height : 0;
/** Go's seeded random numbers, between -amplitude and amplitude. */
const random =
  (amplitude: number, seed: string): Input =>
  (cycle) =>
    (streams.random[seed][cycle] - 0.5) * 2 * amplitude;
/** A sine of eight cycles. */
const sine =
  (amplitude: number): Input =>
  (cycle) =>
    streams.sine8[cycle % 8] * amplitude;
/** Added from left to right. */
const sum =
  (...inputs: Input[]): Input =>
  (cycle) => {
    let s = inputs[0](cycle);
    for (let i = 1; i < inputs.length; i++) {
      s += inputs[i](cycle);
    }
    return s;
  };

interface Scenario {
  readonly gcPercent: number;
  readonly memoryLimit: number;
  readonly globalsBytes: number;
  /** KiB per CPU-ms. */
  readonly allocRate: Input;
  readonly scanRate: Input;
  /** Factor of the live heap from one cycle to the next. */
  readonly growthRate: Input;
  readonly scannableFrac: Input;
  readonly stackBytes: Input;
  readonly cycles: number;
}

const growThenLevel = sum(constant(2.0), ramp(-1.0, 12));

const steady: Scenario = {
  gcPercent: 100,
  memoryLimit: noMemoryLimit,
  globalsBytes: 32 << 10,
  allocRate: constant(33.0),
  scanRate: constant(1024.0),
  growthRate: growThenLevel,
  scannableFrac: constant(1.0),
  stackBytes: constant(8192),
  cycles: 50,
};
const slowAlloc: Scenario = {
  ...steady,
  allocRate: constant(1.0),
  scanRate: constant(2048.0),
  scannableFrac: constant(0.01),
};
const limited: Scenario = { ...steady, memoryLimit: 512 * 2 ** 20 };
const exceeding: Scenario = { ...limited, growthRate: sum(constant(3.5), ramp(-2.5, 12)) };
const saturating: Scenario = { ...limited, growthRate: sum(constant(3.0), ramp(-2.0, 12)) };

const scenarios: Readonly<Record<string, Scenario>> = {
  Steady: steady,
  SteadyBigStacks: {
    ...steady,
    allocRate: constant(132.0),
    stackBytes: sum(constant(2048), ramp(128 << 20, 8)),
  },
  SteadyBigGlobals: { ...steady, allocRate: constant(132.0), globalsBytes: 128 << 20 },
  StepAlloc: { ...steady, allocRate: sum(constant(33.0), ramp(66.0, 1, 50)), cycles: 100 },
  HeavyStepAlloc: { ...steady, allocRate: sum(constant(33.0), ramp(330.0, 1, 50)), cycles: 100 },
  StepScannableFrac: {
    ...steady,
    allocRate: constant(128.0),
    scannableFrac: sum(constant(0.2), peak(0.5, 50)),
    cycles: 100,
  },
  HighGOGC: {
    ...steady,
    gcPercent: 1500,
    allocRate: sum(random(7, "0x53"), constant(165)),
    growthRate: sum(constant(2.0), ramp(-1.0, 12), random(0.01, "0x1"), peak(14, 25)),
  },
  OscAlloc: { ...steady, allocRate: sum(sine(13), constant(67)) },
  JitterAlloc: {
    ...steady,
    allocRate: sum(random(13, "0xf"), constant(132)),
    growthRate: sum(constant(2.0), ramp(-1.0, 12), random(0.01, "0xe")),
  },
  HeavyJitterAlloc: {
    ...steady,
    allocRate: sum(random(33.0, "0x0"), constant(330)),
    growthRate: sum(constant(2.0), ramp(-1.0, 12), random(0.01, "0x152")),
  },
  SmallHeapSlowAlloc: { ...slowAlloc, growthRate: sum(constant(2.0), ramp(-1.0, 3)) },
  MediumHeapSlowAlloc: { ...slowAlloc, growthRate: sum(constant(2.0), ramp(-1.0, 8)) },
  LargeHeapSlowAlloc: { ...slowAlloc, growthRate: sum(constant(4.0), ramp(-3.0, 12)) },
  SteadyMemoryLimit: limited,
  SteadyMemoryLimitNoGCPercent: { ...limited, gcPercent: -1 },
  ExceedMemoryLimit: exceeding,
  ExceedMemoryLimitNoGCPercent: { ...exceeding, gcPercent: -1 },
  MaintainMemoryLimit: saturating,
  MaintainMemoryLimitNoGCPercent: { ...saturating, gcPercent: -1 },
};

// ---- The idealised program ----

const procs = 8;
const initialHeapBytes = 256 << 10;
const revisePeriodNs = 500_000;
/** Bytes in a revise period at 1 KiB per ms. */
const bytesPerRate = 1024 * (revisePeriodNs / 1_000_000);
/** Rates and factors are at least this. */
const minRate = 0.0001;

const noMemory: MemoryLimitInputs = { heapFree: 0, totalAlloc: 0, totalFree: 0, mappedReady: 0 };

function newController(version: Version, gcPercent: number, memoryLimit: number, p = procs): GcController {
  return new GcController(rulesFor(version), noMemory, p, gcPercent, memoryLimit);
}

/** Runs a scenario and returns a line per cycle, in the format of Go's test. */
function run(version: Version, s: Scenario): string[] {
  const c = newController(version, s.gcPercent, s.memoryLimit);
  const lines: string[] = [];
  let allocatedBlackBefore = 0;

  for (let cycle = 0; cycle < s.cycles; cycle++) {
    const allocRate = Math.max(minRate, s.allocRate(cycle));
    const scanRate = Math.max(minRate, s.scanRate(cycle));
    const growthRate = Math.max(minRate, s.growthRate(cycle));
    const scannableFrac = Math.min(1, Math.max(0, s.scannableFrac(cycle)));
    const stackBytes = Math.max(0, Math.floor(s.stackBytes(cycle) / 2048) * 2048);

    // The heap grows until the trigger.
    const trigger = Math.max(c.trigger(), c.heapMarked);
    c.maxStackScan = stackBytes;
    c.globalsScan = s.globalsBytes;
    c.heapLive = trigger;
    c.heapScan += Math.trunc((trigger - c.heapMarked) * scannableFrac);
    c.startCycle(0, procs, false);

    const nextMarked =
      cycle === 0 ? initialHeapBytes : Math.trunc((c.heapMarked - allocatedBlackBefore) * growthRate);
    let globalsLeft = s.globalsBytes;
    let stackLeft = stackBytes;
    let heapLeft = Math.trunc(nextMarked * scannableFrac);
    let duration = 0;
    let assistTime = 0;
    let allocatedBlack = 0;

    while (heapLeft + stackLeft + globalsLeft > 0) {
      // With assistRatio = bytes scanned / bytes allocated = scanRate*u / (allocRate*(1-u)), solve for u.
      const owed = c.assistWorkPerByte * allocRate;
      const u = Math.max(gcBackgroundUtilization, owed / (owed + scanRate));
      const scannable = Math.trunc(scanRate * bytesPerRate * procs * u);
      let allocated = Math.trunc(allocRate * bytesPerRate * procs * (1 - u));

      // Globals first, then stacks, then the heap.
      const globals = Math.min(globalsLeft, scannable);
      const stack = Math.min(stackLeft, scannable - globals);
      const heap = Math.min(heapLeft, scannable - globals - stack);
      globalsLeft -= globals;
      stackLeft -= stack;
      heapLeft -= heap;

      let elapsed = revisePeriodNs;
      const scanned = globals + stack + heap;
      if (scanned < scannable) {
        // Marking ends within the period.
        elapsed = Math.trunc((scanned * revisePeriodNs) / (scanRate * bytesPerRate * procs * u));
        allocated = Math.trunc(((allocRate * bytesPerRate * elapsed) / revisePeriodNs) * procs * (1 - u));
      }
      c.heapLive += allocated;
      c.heapScan += Math.trunc(allocated * scannableFrac);
      c.heapScanWork += heap;
      c.stackScanWork += stack;
      c.globalsScanWork += globals;
      c.revise();

      assistTime += Math.trunc(elapsed * procs * (u - gcBackgroundUtilization));
      duration += elapsed;
      allocatedBlack += allocated;
    }

    const utilization = assistTime / (duration * procs) + gcBackgroundUtilization;
    lines.push(
      `${cycle + 1} ${(utilization * 100).toFixed(1)}% ` +
        `${c.heapMarked}->${c.triggered}->${c.heapLive} (goal: ${c.heapGoal()})`,
    );

    c.assistTime = assistTime;
    c.endCycle(duration, procs);
    c.resetLive(nextMarked + allocatedBlack);
    c.commit(false);
    allocatedBlackBefore = allocatedBlack;
  }
  return lines;
}

describe.each(["1.19", "1.20", "1.21", "1.26"] as const)("the pacer of Go %s", (version) => {
  const expected = golden<Golden>(`gcpacer-${version}`).scenarios;

  it("is tested by the scenarios of Go's own test", () => {
    expect(Object.keys(scenarios)).toEqual(Object.keys(expected));
  });

  it.each(Object.keys(expected))("%s", (name) => {
    expect(run(version, scenarios[name])).toEqual(expected[name]);
  });
});

describe("versions", () => {
  it.each(["1.22", "1.23", "1.24", "1.25"] as const)("Go %s paces like 1.21 and 1.26", (version) => {
    for (const [name, lines] of Object.entries(golden<Golden>("gcpacer-1.26").scenarios)) {
      expect(run(version, scenarios[name])).toEqual(lines);
    }
  });

  it("each release's rules name that release", () => {
    for (const version of VERSIONS) {
      expect(rulesFor(version).version).toBe(version);
    }
  });
});

// ---- What the scenarios do not reach ----

describe("goal and trigger", () => {
  it("start at the heap minimum, 61/64 of the way", () => {
    const c = newController("1.26", 100, noMemoryLimit);
    expect(c.heapGoal()).toBe(4_194_304);
    expect(c.trigger()).toBe(3_997_696);
    expect(newController("1.26", 200, noMemoryLimit).heapGoal()).toBe(8_388_608);
    expect(newController("1.26", 0, noMemoryLimit).heapGoal()).toBe(0);
  });

  it("keep the sweep its distance, above the GOGC goal only", () => {
    const c = newController("1.26", 100, noMemoryLimit);
    c.resetLive(1 << 20);
    c.heapLive = 8 << 20;
    c.commit(false);
    expect(c.heapGoal()).toBe(9 << 20);
    expect(c.trigger()).toBe(9 << 20);
    // The limit's goal does not yield to the sweep, but only once it is the lower of the two goals.
    c.setMemoryLimit(6 << 20);
    expect(c.heapGoal()).toBe(9 << 20);
    c.setMemoryLimit(4 << 20);
    expect(c.heapGoal()).toBe(3 << 20);
    expect(c.trigger()).toBe((1 << 20) + (2 << 14) * 61);
  });

  it("leave a cycle 64 KiB at least", () => {
    const c = newController("1.26", 100, noMemoryLimit);
    c.heapLive = 5_000_000;
    c.startCycle(0, procs, false);
    expect(c.triggered).toBe(5_000_000);
    expect(c.heapGoal()).toBe(5_065_536);
  });

  it("follow the memory statistics as they move", () => {
    const memory = { heapFree: 0, totalAlloc: 40e6, totalFree: 10e6, mappedReady: 50e6 };
    const c = new GcController(rulesFor("1.26"), memory, procs, -1, 100e6);
    // 100e6 less 20e6 that is not heap objects, less 3 % of that.
    expect(c.heapGoal()).toBe(80e6 - 2.4e6);
    memory.heapFree = 5e6;
    expect(c.heapGoal()).toBe(85e6 - 2.55e6);
    memory.mappedReady = 110e6;
    // Not heap: 75e6; over the limit already: 10e6.
    expect(c.heapGoal()).toBe(15e6 - 1_048_576);
    memory.mappedReady = 130e6;
    c.heapMarked = 1234;
    expect(c.heapGoal()).toBe(1234);
  });

  it("test the trigger as if it were evaluated each time, where the limit is far and where it is near", () => {
    const memory = { mappedReady: 0, heapFree: 0, totalAlloc: 0, totalFree: 0 };
    const told = { reached: 0, not: 0 };
    for (const version of ["1.20", "1.26"] as const) {
      const c = new GcController(rulesFor(version), memory, procs, 100, 100e6);
      c.resetLive(40e6);
      c.commit(true);
      // GOGC's goal is 80 MB: with 1.26's 3 % of headroom the limit has a say from 100e6 - 80e6 / 0.97 = 17.5 MB on that are no objects.
      for (memory.mappedReady = 10e6; memory.mappedReady < 110e6; memory.mappedReady += 9973) {
        // All of it is no objects, or most of it is.
        memory.totalAlloc = memory.mappedReady % 2 < 1 ? 0 : Math.max(0, memory.mappedReady - 15e6);
        for (const heapLive of [c.trigger() - 1, c.trigger()]) {
          c.heapLive = heapLive;
          expect(c.shouldTrigger()).toBe(heapLive >= c.trigger());
          told[c.shouldTrigger() ? "reached" : "not"]++;
        }
      }
    }
    expect(told.reached).toBe(told.not);
  });

  it("have a flat headroom before 1.21", () => {
    expect(newController("1.20", -1, 512 << 20).heapGoal()).toBe(535_822_336);
    expect(newController("1.21", -1, 512 << 20).heapGoal()).toBe(520_764_785);
  });

  it("compute GOGC goals beyond 2^53 / 100 exactly", () => {
    const c = newController("1.26", 99_999, noMemoryLimit);
    c.resetLive(90_000_000_007);
    c.commit(true);
    expect(BigInt(c.heapGoal())).toBe(90_000_000_007n + (90_000_000_007n * 99_999n) / 100n);
  });
});

describe("revise", () => {
  it("caps the stretched goal by GOGC, then slips by a tenth", () => {
    const c = newController("1.26", 100, noMemoryLimit);
    c.globalsScan = 1000;
    c.maxStackScan = 0;
    c.heapLive = 4_000_000;
    c.heapScan = 4_000_000;
    c.startCycle(0, procs, false);
    // Expected work 1000 bytes, twice that done: the worst case (4 001 000) would stretch the goal a thousandfold.
    c.heapScanWork = 2000;
    c.revise();
    const hardGoal = 2 * 4_194_304;
    expect(c.assistWorkPerByte).toBe((4_001_000 - 2000) / (hardGoal - 4_000_000));
    expect(c.assistBytesPerWork).toBe((hardGoal - 4_000_000) / (4_001_000 - 2000));
    c.heapLive = 9_000_000;
    c.revise();
    expect(c.assistWorkPerByte).toBe((4_001_000 - 2000) / (Math.trunc(hardGoal * 1.1) - 9_000_000));
    c.heapLive = 90_000_000;
    c.revise();
    expect(c.assistWorkPerByte).toBe(4_001_000 - 2000);
  });

  it("asks next to nothing of a forced cycle with neither GOGC nor limit", () => {
    const c = newController("1.26", -1, noMemoryLimit);
    c.heapLive = 1 << 30;
    c.heapScan = 1 << 30;
    c.startCycle(0, procs, false);
    c.heapScanWork = 1 << 29;
    c.revise();
    expect(c.assistWorkPerByte).toBeGreaterThan(0);
    expect(c.assistWorkPerByte).toBeLessThan(1e-9);
  });

  it("runs on heap updates while marking only, and heapScan is fixed then", () => {
    const c = newController("1.26", 100, noMemoryLimit);
    c.update(1000, 500);
    expect([c.heapLive, c.heapScan, c.assistWorkPerByte]).toEqual([1000, 500, 0]);
    c.startCycle(0, procs, false);
    c.blackenEnabled = true;
    const before = c.assistWorkPerByte;
    c.update(1_000_000, 800);
    expect(c.heapScan).toBe(500);
    expect(c.assistWorkPerByte).toBeGreaterThan(before);
  });
});

describe("cons/mark", () => {
  it("is not measured by a cycle in which nothing was allocated", () => {
    const c = newController("1.26", 100, noMemoryLimit);
    c.heapLive = 4_000_000;
    c.startCycle(0, procs, false);
    c.heapScanWork = 1000;
    c.endCycle(1000, procs);
    expect(c.consMark).toBe(0);
    expect(c.lastHeapGoal).toBe(4_194_304);
    c.resetLive(1000);
    expect(c.triggered).toBe(never);
  });

  it("counts idle marking as marking", () => {
    const c = newController("1.26", 100, noMemoryLimit);
    c.startCycle(0, 4, false);
    c.heapLive += 1000;
    c.heapScanWork = 2000;
    c.idleMarkTime = 2000;
    c.assistTime = 1000;
    c.endCycle(1000, 4);
    // u = .25 + .25, i = .5
    expect(c.consMark).toBe((1000 * 1) / (2000 * 0.5));
  });

  it("survives a cycle whose assists took the whole CPU", () => {
    const c = newController("1.26", 100, noMemoryLimit);
    c.startCycle(0, 4, false);
    c.heapLive += 1000;
    c.globalsScanWork = 2000;
    c.assistTime = 3000;
    c.endCycle(1000, 4);
    expect(c.consMark).toBe(Number.POSITIVE_INFINITY);
    c.resetLive(1_000_000);
    c.globalsScan = 2000;
    c.commit(true);
    expect(c.runway).toBe(2 ** 63); // uint64(+Inf) on amd64
    expect(c.trigger()).toBe(Math.floor((c.heapGoal() - 1_000_000) / 64) * 45 + 1_000_000);
  });

  it("resets the PI controller of 1.19 on overflow", () => {
    const pi = new PiController(0.9, 4, 1000, -1000, 1000);
    expect(pi.next(0, 1, 1)).toBe(0.9);
    expect(pi.next(0, 1e9, 1)).toBe(1000);
    expect(pi.next(0, Number.POSITIVE_INFINITY, 1)).toBe(-1000);
    expect([pi.ok, pi.inputOverflow, pi.errOverflow]).toEqual([false, true, false]);
    expect(pi.next(0, 1, 1)).toBe(0.9);
    expect(pi.ok).toBe(true);
  });
});

describe("workers", () => {
  it.each([
    [1, 0, 0.25],
    [2, 0, 0.25],
    [3, 0, 0.25],
    [4, 1, 0],
    [5, 1, 0],
    [6, 1, 0.5 / 6],
    [7, 2, 0],
    [8, 2, 0],
    [10, 3, 0],
    [16, 4, 0],
  ])("%i Ps: %i dedicated, fractional %f", (p, dedicated, fractional) => {
    const c = newController("1.26", 100, noMemoryLimit, p);
    c.startCycle(0, p, false);
    expect(c.dedicatedMarkWorkersNeeded).toBe(dedicated);
    expect(c.fractionalUtilizationGoal).toBe(fractional);
    expect(c.maxIdleMarkWorkers).toBe(p - dedicated);
    c.startCycle(0, p, true);
    expect(c.maxIdleMarkWorkers).toBe(dedicated > 0 ? 0 : 1);
  });

  it("are dedicated first, then fractional by share", () => {
    const c = newController("1.26", 100, noMemoryLimit, 6);
    c.startCycle(1000, 6, false);
    expect(c.needGCWorker()).toBe(true);
    expect(c.assignGCWorker(0, 1000)).toBe(workerDedicated);
    expect(c.assignGCWorker(1, 1000)).toBe(workerFractional);
    expect(c.fractionalWorkerShouldExit(1, 1000, 1000)).toBe(true);
    c.markWorkerStop(1, workerFractional, 100);
    // 100 ns are a twelfth of 1200 ns.
    expect(c.assignGCWorker(1, 1000 + 1199)).toBe(workerNone);
    expect(c.assignGCWorker(1, 1000 + 1201)).toBe(workerFractional);
    expect(c.fractionalWorkerExitTime(1, 2201)).toBeCloseTo(1000 + 1101 / 0.9, 6);
    const exit = Math.floor(c.fractionalWorkerExitTime(1, 2201));
    expect(c.fractionalWorkerShouldExit(1, exit, 2201)).toBe(false);
    expect(c.fractionalWorkerShouldExit(1, exit + 1, 2201)).toBe(true);
    c.markWorkerStop(0, workerDedicated, 5000);
    expect([c.dedicatedMarkTime, c.fractionalMarkTime, c.dedicatedMarkWorkersNeeded]).toEqual([5000, 100, 1]);
  });

  it("are enlisted from idle Ps since 1.26", () => {
    for (const [version, idle] of [
      ["1.25", "none"],
      ["1.26", "wake"],
    ] as const) {
      const c = newController(version, 100, noMemoryLimit, 4);
      c.startCycle(0, 4, false);
      expect(c.enlistWorker(0, 0)).toBe("preempt");
      expect(c.enlistWorker(1, 0)).toBe(version === "1.26" ? "wake" : "preempt");
      c.assignGCWorker(0, 0);
      expect(c.enlistWorker(1, 0)).toBe(idle);
      expect(c.enlistWorker(1, 1)).toBe("none");
    }
  });

  it("are idle up to a bound that may drop below their number", () => {
    // The steps of Go's TestIdleMarkWorkerCount.
    const workers = 10;
    const c = newController("1.26", 100, noMemoryLimit);
    c.setMaxIdleMarkWorkers(workers);
    for (let i = 0; i < workers; i++) {
      expect(c.needIdleMarkWorker()).toBe(true);
      expect(c.addIdleMarkWorker()).toBe(true);
    }
    expect(c.needIdleMarkWorker()).toBe(false);
    expect(c.addIdleMarkWorker()).toBe(false);
    for (let i = 0; i < workers; i++) {
      c.markWorkerStop(0, workerIdle, 7);
      expect(c.needIdleMarkWorker()).toBe(true);
    }
    expect(c.idleMarkTime).toBe(70);
    for (let i = 0; i < workers - 1; i++) {
      expect(c.addIdleMarkWorker()).toBe(true);
    }
    for (let i = 0; i < workers; i++) {
      expect(c.addIdleMarkWorker()).toBe(true);
      expect(c.addIdleMarkWorker()).toBe(false);
      c.removeIdleMarkWorker();
    }
    c.setMaxIdleMarkWorkers(0);
    expect(c.needIdleMarkWorker()).toBe(false);
    expect(c.addIdleMarkWorker()).toBe(false);
    for (let i = 0; i < workers - 1; i++) {
      c.removeIdleMarkWorker();
    }
    expect(c.needIdleMarkWorker()).toBe(false);
    expect(c.addIdleMarkWorker()).toBe(false);
    c.setMaxIdleMarkWorkers(1);
    expect(c.needIdleMarkWorker()).toBe(true);
    expect(c.addIdleMarkWorker()).toBe(true);
    c.removeIdleMarkWorker();
    expect(() => c.removeIdleMarkWorker()).toThrow(/negative idle/);
  });
});

describe("per-P batches", () => {
  it("publish assist time beyond 5 us, also of a P that came later", () => {
    const c = newController("1.26", 100, noMemoryLimit, 2);
    expect(c.addAssistTime(0, 5000)).toBe(false);
    expect(c.addAssistTime(0, 1)).toBe(true);
    expect(c.assistTime).toBe(5001);
    c.procresize(4);
    expect(c.addAssistTime(3, 5001)).toBe(true);
    expect(c.assistTime).toBe(10_002);
  });
});

it("gcControllerCommit tells sweeper and scavenger", () => {
  const c = newController("1.26", 100, 512 << 20);
  const told: number[][] = [];
  gcControllerCommit(c, true, false, {
    paceSweeper: (trigger) => told.push([trigger]),
    paceScavenger: (limit, goal, last) => told.push([limit, goal, last]),
  });
  expect(told).toEqual([[3_997_696], [512 << 20, 4_194_304, 0]]);
});
