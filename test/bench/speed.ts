/**
 * How fast the engine is, and how that scales. Run: npm run bench:speed
 *
 * Prints simulated allocations per CPU second on steady 64 B objects with 1 M live, the cost per allocation from a 10 MB to
 * a 4 GB heap, and the simulator's memory per slot: what a process has had resident at most (ru_maxrss, with everything V8 has not
 * collected) beyond that of the 10 MB heap, over the slots its heap had beyond that one's. Each line is the median of three processes.
 * Absolute figures are this machine's; the ratios travel.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { simulate } from "../../src/simulate.ts";
import { scenarioOf } from "../scenarios.ts";

/** A stream of objects in 64-byte slots with `live` of them alive on average, allocating `turnovers` times as many. */
function steady(live: number, turnovers: number, size: string): string {
  // One virtual second per mean lifetime; what the heap does depends on neither's absolute value.
  return `
name: steady
duration: ${turnovers}s
sample_interval: 1s
workload:
  - {kind: stream, name: s, rate: ${live}/s, size: ${size}, pointers: 0.5, lifetime: {exponential: 1s}}
`;
}

interface Measured {
  readonly allocs: number;
  readonly cpuSeconds: number;
  /** Of the heap at its largest: its bytes in use over 64. */
  readonly slots: number;
  /** The most this process has had resident so far. */
  readonly peakRssBytes: number;
}

function measure(text: string): Measured {
  const scenario = scenarioOf(text);
  const cpu = process.cpuUsage();
  let slots = 0;
  const summary = simulate(scenario, { sink: { sample: (row) => (slots = Math.max(slots, row[2] / 64)) } });
  const spent = process.cpuUsage(cpu);
  return {
    allocs: summary.figures["mallocs"],
    cpuSeconds: (spent.user + spent.system) / 1e6,
    slots,
    peakRssBytes: process.resourceUsage().maxRSS * 1024,
  };
}

/** Medians of three runs, each in a process of its own after some of a small heap on which the compiler warms up. */
function measureAlone(live: number, turnovers: number, size = "64"): Measured {
  const args = [...process.execArgv, fileURLToPath(import.meta.url), String(live), String(turnovers), size];
  const runs = [1, 2, 3].map((): Measured => {
    const child = spawnSync(process.execPath, args, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
    });
    if (child.status === 0) return JSON.parse(child.stdout) as Measured;
    throw new Error(`the run of ${live} live objects ended with ${child.status ?? child.signal}`);
  });
  const median = (of: (m: Measured) => number): number => runs.map(of).sort((a, b) => a - b)[1];
  // Runs of one seed: what is simulated is the same, only time and memory are measured.
  return { ...runs[0], cpuSeconds: median((m) => m.cpuSeconds), peakRssBytes: median((m) => m.peakRssBytes) };
}

const rate = (m: Measured): number => m.allocs / m.cpuSeconds / 1e6;
const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`;

function table(): void {
  const million = measureAlone(1_000_000, 30);
  console.log(`steady 64 B objects, 1 M live: ${rate(million).toFixed(1)} M allocations per CPU second`);
  console.log(
    "heap           slots   M allocs/s   ns/alloc  cost  resident   bytes per slot beyond the first",
  );
  let first: Measured | undefined;
  for (const [heapBytes, size] of [
    [10e6, "64"],
    [100e6, "64"],
    [1e9, "64"],
    [4e9, "64"],
    [4e9, "{uniform: [49, 64]}"],
  ] as const) {
    // GOGC=100 lets the heap peak at twice its live bytes.
    const live = heapBytes / 2 / 64;
    // What the heap does before it has its size, which costs less, is a twentieth of a run at most.
    const m = measureAlone(live, Math.max(20, 2e7 / live), size);
    first ??= m;
    const columns = [
      mb(heapBytes).padEnd(8),
      m.slots.toFixed(0).padStart(11),
      rate(m).toFixed(1).padStart(12),
      (1e3 / rate(m)).toFixed(1).padStart(10),
      `x${(rate(first) / rate(m)).toFixed(2)}`,
      mb(m.peakRssBytes).padStart(7),
      m === first
        ? ""
        : ((m.peakRssBytes - first.peakRssBytes) / (m.slots - first.slots)).toFixed(1).padStart(16),
      size === "64" ? "" : "  objects of several kinds in a span",
    ];
    console.log(columns.join(" ").trimEnd());
  }
}

const [live, turnovers, size] = process.argv.slice(2);
if (live === undefined) table();
else {
  // V8 compiles during the first two runs or so.
  for (let i = 0; i < 5; i++) measure(steady(100_000, 30, size));
  console.log(JSON.stringify(measure(steady(Number(live), Number(turnovers), size))));
}
