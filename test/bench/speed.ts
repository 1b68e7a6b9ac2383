/**
 * How fast the engine is, and how that scales. Run: npm run bench:speed
 *
 * Prints simulated allocations per CPU second on steady 64 B objects with 1 M live, the cost per allocation from a 10 MB to
 * a 4 GB heap, and the simulator's memory per slot. Absolute figures are this machine's; the ratios travel.
 */
import { simulate } from "../../src/simulate.ts";
import { scenarioOf } from "../scenarios.ts";

/** A stream of 64-byte objects with `live` of them alive on average, allocating `turnovers` times as many. */
function steady(live: number, turnovers: number): string {
  // One virtual second per mean lifetime; what the heap does depends on neither's absolute value.
  return `
name: steady
duration: ${turnovers}s
sample_interval: 1s
workload:
  - {kind: stream, name: s, rate: ${live}/s, size: 64, pointers: 0.5, lifetime: {exponential: 1s}}
`;
}

interface Measured {
  readonly allocs: number;
  readonly cpuSeconds: number;
  readonly memoryBytes: number;
  readonly slots: number;
}

function measure(text: string): Measured {
  const scenario = scenarioOf(text);
  globalThis.gc?.();
  const before = process.memoryUsage();
  const cpu = process.cpuUsage();
  let peak = 0;
  let slots = 0;
  const summary = simulate(scenario, {
    sink: {
      sample: (row) => {
        const now = process.memoryUsage();
        peak = Math.max(peak, now.arrayBuffers - before.arrayBuffers + (now.heapUsed - before.heapUsed));
        slots = Math.max(slots, row[2] / 64);
      },
    },
  });
  const spent = process.cpuUsage(cpu);
  return {
    allocs: summary.figures["mallocs"],
    cpuSeconds: (spent.user + spent.system) / 1e6,
    memoryBytes: peak,
    slots,
  };
}

const rate = (m: Measured): number => m.allocs / m.cpuSeconds / 1e6;

measure(steady(100_000, 10)); // The compiler warms up on this one.
const million = [1, 2, 3].map(() => measure(steady(1_000_000, 30)));
million.sort((a, b) => rate(a) - rate(b));
console.log(`steady 64 B objects, 1 M live: ${rate(million[1]).toFixed(1)} M allocations per CPU second`);
const empty = measure(steady(1000, 3)).memoryBytes;
console.log("heap        slots        M allocs/s   ns/alloc   simulator bytes per slot");
let first = 0;
for (const heapBytes of [10e6, 100e6, 1e9, 4e9]) {
  // GOGC=100 lets the heap peak at twice its live bytes.
  const live = heapBytes / 2 / 64;
  const m = measure(steady(live, heapBytes > 2e9 ? 4 : heapBytes > 5e8 ? 6 : 2e7 / live));
  const ns = 1e3 / rate(m);
  first ||= ns;
  const perSlot = (m.memoryBytes - empty) / m.slots;
  console.log(
    `${(heapBytes / 1e6).toFixed(0).padStart(5)} MB ${m.slots.toFixed(0).padStart(10)} ${rate(m).toFixed(1).padStart(14)} ${ns.toFixed(1).padStart(10)} ${perSlot.toFixed(1).padStart(10)}   cost x${(ns / first).toFixed(2)}`,
  );
}
