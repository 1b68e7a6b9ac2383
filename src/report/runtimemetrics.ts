/**
 * What the package runtime/metrics would say of the simulated process, under its names and in its units.
 *
 * Follows runtime/metrics/description.go and metrics.go of Go 1.26: name, kind, whether it only ever grows, and what it is computed from.
 * Size histograms have a bucket per size class (metrics.go: initMetrics), those of durations the buckets of histogram.ts. A scenario of
 * an older release is reported under the same names: most exist since 1.16 to 1.21, /sched/goroutines/... and
 * /sched/threads/total since 1.26.
 *
 * Where Go's value lags (idle time is seen by its CPU limiter only every 10 ms, memory statistics by what cached spans gave out)
 * memory's does here, too, and CPU times do not. What the model has no notion of is in `NOT_MODELLED`, with the reason.
 */
import { timeHistogramBuckets } from "../runtime/histogram.ts";
import { classToSize, numSizeClasses } from "../runtime/sizeclasses.ts";
import type { ProcessView } from "../simulate.ts";
import { uint64Text } from "./format.ts";

/** A runtime/metrics Float64Histogram: `buckets` are boundaries, inclusive below, one more than there are counts. */
export interface Float64Histogram {
  readonly counts: ArrayLike<number>;
  readonly buckets: Float64Array;
}

interface Described {
  readonly name: string;
  /** It only ever grows, until the process ends. */
  readonly cumulative: boolean;
  readonly help: string;
}

interface Scalar extends Described {
  readonly kind: "uint64" | "float64";
  readonly read: (s: Statistics) => number;
}

interface Distribution extends Described {
  readonly kind: "float64-histogram";
  readonly read: (s: Statistics) => Float64Histogram;
}

export type RuntimeMetric = Scalar | Distribution;

/** CPU seconds since the process's start, by what they went to; the parts sum to the totals. */
export interface CpuClasses {
  readonly assist: number;
  readonly dedicated: number;
  readonly gcIdle: number;
  readonly pause: number;
  readonly gc: number;
  readonly scavengeAssist: number;
  readonly scavengeBackground: number;
  readonly idle: number;
  readonly user: number;
  readonly total: number;
}

export function cpuClasses(view: ProcessView): CpuClasses {
  const { sched, gc } = view.rt;
  const now = gc.cpuNow(view.nowNs);
  const assist = now.assistNs / 1e9;
  const dedicated = now.dedicatedNs / 1e9;
  const gcIdle = now.idleNs / 1e9;
  // Each pause times the Ps of its cycle; that of the cycle under way is of those of now.
  const pause = (gc.pauseCpuNs + (now.pauseTotalNs - gc.pauseTotalNs) * sched.nprocs) / 1e9;
  const scavengeAssist = view.scavenger.assistNs / 1e9;
  const scavengeBackground = view.scavenger.backgroundNs / 1e9;
  const idle = sched.limiter.idleNs(view.nowNs) / 1e9;
  const total = sched.totalTimeNs(view.nowNs) / 1e9;
  const gcTotal = assist + dedicated + gcIdle + pause;
  return {
    assist,
    dedicated,
    gcIdle,
    pause,
    gc: gcTotal,
    scavengeAssist,
    scavengeBackground,
    idle,
    // As in Go what is left: goroutines, sweeping, the scheduler.
    user: Math.max(0, total - gcTotal - scavengeAssist - scavengeBackground - idle),
    total,
  };
}

/** A process's statistics at an instant; what several metrics need is worked out once. */
export class Statistics {
  readonly view: ProcessView;
  readonly cpu: CpuClasses;

  constructor(view: ProcessView) {
    this.view = view;
    this.cpu = cpuClasses(view);
  }
}

export const TIME_BUCKETS = timeHistogramBuckets();
/** Bucket i holds the class of i + 1: sizes up to the class's are in it, so boundaries are one above the sizes. */
export const SIZE_BUCKETS = Float64Array.from([
  1,
  ...Array.from(classToSize.subarray(1), (size) => size + 1),
  Number.POSITIVE_INFINITY,
]);

function bySize(small: Float64Array, large: number): Float64Histogram {
  const counts = new Float64Array(numSizeClasses);
  counts.set(small.subarray(1));
  counts[numSizeClasses - 1] = large;
  return { counts, buckets: SIZE_BUCKETS };
}

/** What a uint64 makes of -1: GOGC when it is off. */
const UINT64_OF_MINUS_1 = 2 ** 64;

const gauge = (name: string, help: string, read: Scalar["read"]): Scalar => ({
  name,
  help,
  kind: "uint64",
  cumulative: false,
  read,
});
const counter = (name: string, help: string, read: Scalar["read"]): Scalar => ({
  name,
  help,
  kind: "uint64",
  cumulative: true,
  read,
});
const cpu = (name: string, help: string, read: (cpu: CpuClasses) => number): Scalar => ({
  name: `/cpu/classes/${name}:cpu-seconds`,
  help,
  kind: "float64",
  cumulative: true,
  read: (s) => read(s.cpu),
});
const distribution = (name: string, help: string, read: Distribution["read"]): Distribution => ({
  name,
  help,
  kind: "float64-histogram",
  cumulative: true,
  read,
});
const memory = (name: string, help: string, read: (view: ProcessView) => number): Scalar =>
  gauge(`/memory/classes/${name}:bytes`, help, (s) => read(s.view));

const gcPauses = (s: Statistics): Float64Histogram => ({
  counts: s.view.rt.sched.stwTotalTimeGC.counts,
  buckets: TIME_BUCKETS,
});

/** In the order of Go's list, which is that of the names. */
export const RUNTIME_METRICS: readonly RuntimeMetric[] = [
  cpu("gc/mark/assist", "CPU time of goroutines that assisted the collector.", (c) => c.assist),
  cpu("gc/mark/dedicated", "CPU time of dedicated and fractional mark workers.", (c) => c.dedicated),
  cpu("gc/mark/idle", "CPU time of marking on otherwise idle Ps.", (c) => c.gcIdle),
  cpu("gc/pause", "Stop-the-world time of the collector, times GOMAXPROCS.", (c) => c.pause),
  cpu("gc/total", "CPU time of the collector: all /cpu/classes/gc.", (c) => c.gc),
  cpu("idle", "Time of Ps without work.", (c) => c.idle),
  cpu("scavenge/assist", "CPU time of allocations that gave memory back.", (c) => c.scavengeAssist),
  cpu("scavenge/background", "CPU time of the background scavenger.", (c) => c.scavengeBackground),
  cpu(
    "scavenge/total",
    "CPU time of giving memory back: all /cpu/classes/scavenge.",
    (c) => c.scavengeAssist + c.scavengeBackground,
  ),
  cpu("total", "Time since the start, times GOMAXPROCS: all /cpu/classes.", (c) => c.total),
  cpu("user", "CPU time of everything else: goroutines, sweeping, scheduling.", (c) => c.user),
  counter(
    "/gc/cycles/automatic:gc-cycles",
    "Cycles completed that the runtime began by itself.",
    (s) => s.view.rt.gc.numGC - s.view.rt.gc.numForcedGC,
  ),
  counter(
    "/gc/cycles/forced:gc-cycles",
    "Cycles completed that the program asked for.",
    (s) => s.view.rt.gc.numForcedGC,
  ),
  counter("/gc/cycles/total:gc-cycles", "Cycles completed.", (s) => s.view.rt.gc.numGC),
  gauge("/gc/gogc:percent", "GOGC in force; 2^64 - 1 while it is off.", (s) => {
    const percent = s.view.rt.pacer.gcPercent;
    return percent < 0 ? UINT64_OF_MINUS_1 : percent;
  }),
  gauge(
    "/gc/gomemlimit:bytes",
    "Memory limit in force; 2^63 - 1 without one.",
    (s) => s.view.rt.pacer.memoryLimit,
  ),
  distribution("/gc/heap/allocs-by-size:bytes", "Objects allocated, by size; without tiny ones.", (s) => {
    const { stats } = s.view.rt.heap;
    return bySize(stats.smallAllocCount, stats.largeAllocCount);
  }),
  counter("/gc/heap/allocs:bytes", "Bytes allocated.", (s) => s.view.memStats.totalAlloc),
  counter(
    "/gc/heap/allocs:objects",
    "Objects allocated, without tiny ones packed together.",
    (s) => s.view.memStats.mallocs - s.view.rt.heap.stats.tinyAllocCount,
  ),
  distribution("/gc/heap/frees-by-size:bytes", "Objects freed, by size; without tiny ones.", (s) => {
    const { stats } = s.view.rt.heap;
    return bySize(stats.smallFreeCount, stats.largeFreeCount);
  }),
  counter(
    "/gc/heap/frees:bytes",
    "Bytes freed.",
    (s) => s.view.memStats.totalAlloc - s.view.memStats.heapAlloc,
  ),
  counter(
    "/gc/heap/frees:objects",
    "Objects freed, without tiny ones packed together.",
    (s) => s.view.memStats.frees - s.view.rt.heap.stats.tinyAllocCount,
  ),
  gauge("/gc/heap/goal:bytes", "Heap size the cycle under way is to end at.", (s) => s.view.memStats.nextGC),
  gauge("/gc/heap/live:bytes", "What the last cycle marked.", (s) => s.view.rt.pacer.heapMarked),
  gauge("/gc/heap/objects:objects", "Objects alive or not swept.", (s) => s.view.memStats.heapObjects),
  counter(
    "/gc/heap/tiny/allocs:objects",
    "Tiny objects packed into blocks with others.",
    (s) => s.view.rt.heap.stats.tinyAllocCount,
  ),
  gauge(
    "/gc/limiter/last-enabled:gc-cycle",
    "Cycle in which the CPU limiter was last turned on; 0 for never.",
    (s) => s.view.rt.sched.limiter.lastEnabledCycle,
  ),
  distribution("/gc/pauses:seconds", "The same as /sched/pauses/total/gc.", gcPauses),
  gauge("/gc/scan/globals:bytes", "Global variables to scan.", (s) => s.view.rt.pacer.globalsScan),
  gauge("/gc/scan/heap:bytes", "Heap to scan.", (s) => s.view.rt.pacer.heapScan),
  gauge("/gc/scan/stack:bytes", "Stacks scanned by the last cycle.", (s) => s.view.rt.pacer.lastStackScan),
  gauge("/gc/scan/total:bytes", "All that is to be scanned.", (s) => {
    const { pacer } = s.view.rt;
    return pacer.globalsScan + pacer.heapScan + pacer.lastStackScan;
  }),
  gauge(
    "/gc/stack/starting-size:bytes",
    "Stack of a new goroutine.",
    (s) => s.view.rt.goroutines.startingStackSize,
  ),
  memory("heap/free", "Heap free and not given back.", (v) => v.rt.heap.stats.heapFree),
  memory("heap/objects", "Objects alive or not swept.", (v) => v.memStats.heapAlloc),
  memory("heap/released", "Heap free and given back, or never used.", (v) => v.memStats.heapReleased),
  memory("heap/stacks", "Heap in use for stacks.", (v) => v.memStats.stackInuse),
  memory(
    "heap/unused",
    "Room in spans in use that holds no object.",
    (v) => v.memStats.heapInuse - v.memStats.heapAlloc,
  ),
  memory(
    "metadata/mcache/free",
    "Reserved for mcache structures.",
    (v) => v.memStats.mcacheSys - v.memStats.mcacheInuse,
  ),
  memory("metadata/mcache/inuse", "mcache structures.", (v) => v.memStats.mcacheInuse),
  memory(
    "metadata/mspan/free",
    "Reserved for mspan structures.",
    (v) => v.memStats.mspanSys - v.memStats.mspanInuse,
  ),
  memory("metadata/mspan/inuse", "mspan structures.", (v) => v.memStats.mspanInuse),
  memory("metadata/other", "Other metadata of the collector.", (v) => v.memStats.gcSys),
  memory(
    "os-stacks",
    "Stacks allocated by the operating system.",
    (v) => v.memStats.stackSys - v.memStats.stackInuse,
  ),
  memory("other", "Other memory of the runtime.", (v) => v.memStats.otherSys),
  memory("profiling/buckets", "The profiler's hash table of stacks.", (v) => v.memStats.buckHashSys),
  memory("total", "All memory the runtime has mapped: all /memory/classes.", (v) => v.memStats.sys),
  gauge("/sched/gomaxprocs:threads", "GOMAXPROCS.", (s) => s.view.rt.sched.nprocs),
  counter("/sched/goroutines-created:goroutines", "Goroutines started.", (s) => s.view.rt.goroutines.created),
  gauge(
    "/sched/goroutines/runnable:goroutines",
    "Goroutines waiting for a P.",
    (s) => s.view.rt.sched.runnable,
  ),
  gauge("/sched/goroutines/running:goroutines", "Goroutines on a P.", (s) => s.view.rt.sched.runningPs),
  gauge("/sched/goroutines/waiting:goroutines", "Goroutines waiting for something else.", (s) => {
    const { sched, goroutines } = s.view.rt;
    return Math.max(0, goroutines.live - sched.runnable - sched.runningPs);
  }),
  gauge(
    "/sched/goroutines:goroutines",
    "Goroutines, the runtime's included.",
    (s) => s.view.rt.goroutines.live,
  ),
  distribution(
    "/sched/pauses/total/gc:seconds",
    "Stops of the world for the collector, two a cycle.",
    gcPauses,
  ),
  distribution("/sched/pauses/total/other:seconds", "Other stops of the world.", (s) => ({
    counts: s.view.rt.sched.stwTotalTimeOther.counts,
    buckets: TIME_BUCKETS,
  })),
  gauge("/sched/threads/total:threads", "Threads of the process.", (s) => s.view.rt.goroutines.threads),
];

/** Metrics of Go 1.26 without a value here, and why. /godebug/non-default-behavior/... are as many again, none modelled. */
export const NOT_MODELLED: Readonly<Record<string, string>> = {
  "/cgo/go-to-c-calls:calls": "no cgo",
  "/gc/cleanups/executed:cleanups": "no cleanups",
  "/gc/cleanups/queued:cleanups": "no cleanups",
  "/gc/finalizers/executed:finalizers": "no finalizers",
  "/gc/finalizers/queued:finalizers": "no finalizers",
  "/sched/goroutines/not-in-go:goroutines": "no system calls, no cgo",
  "/sched/latencies:seconds": "waits of goroutines for a P are not recorded",
  "/sched/pauses/stopping/gc:seconds": "a pause is drawn as a whole",
  "/sched/pauses/stopping/other:seconds": "a pause is drawn as a whole",
  "/sync/mutex/wait/total:seconds": "no locks",
};

/** A float64 as Go prints it in JSON; infinities, which JSON has not, as text. */
const jsonNumber = (value: number): number | string =>
  Number.isFinite(value) ? value : value > 0 ? "+Inf" : "-Inf";

/** runtime-metrics.json: the values by name, histograms with boundaries and counts, and what is not modelled. */
export function runtimeMetricsJson(view: ProcessView): string {
  const s = new Statistics(view);
  const values = RUNTIME_METRICS.map((metric) => {
    const name = JSON.stringify(metric.name);
    if (metric.kind !== "float64-histogram")
      return `    ${name}: ${metric.kind === "uint64" ? uint64Text(metric.read(s)) : metric.read(s)}`;
    const { counts, buckets } = metric.read(s);
    const text = { counts: Array.from(counts), buckets: Array.from(buckets, jsonNumber) };
    return `    ${name}: ${JSON.stringify(text)}`;
  });
  return `{
  "t_seconds": ${view.nowNs / 1e9},
  "metrics": {
${values.join(",\n")}
  },
  "not_modelled": ${JSON.stringify(NOT_MODELLED, null, 2).replaceAll("\n", "\n  ")}
}
`;
}
