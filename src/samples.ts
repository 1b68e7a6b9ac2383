/**
 * A sample of a run: its columns and their values, in one order. Which columns there are besides those of every run is decided by the scenario.
 */
import {
  CONTAINER_COLUMNS,
  type ContainerRun,
  CPU_QUOTA_COLUMNS,
  LIMIT_COLUMNS,
  NODE_COLUMNS,
} from "./container.ts";
import { fragRatio } from "./figures.ts";
import type { Memory } from "./os/memory.ts";
import type { NumaNodes } from "./os/numa.ts";
import { noMemoryLimit } from "./runtime/mgcpacer.ts";
import type { Scavenger } from "./runtime/mgcscavenge.ts";
import type { MemStats } from "./runtime/mstats.ts";
import type { GoRuntime } from "./runtime/runtime.ts";
import { pageSize } from "./runtime/sizeclasses.ts";
import type { Scenario } from "./scenario/schema.ts";
import type { Running } from "./workload/program.ts";

export type SampleUnit = "seconds" | "bytes" | "ns" | "count" | "fraction";

/** The columns of a sample row, in order. */
export const SAMPLE_COLUMNS = [
  { name: "t_seconds", unit: "seconds", description: "Virtual time of the sample." },
  { name: "heap_alloc_bytes", unit: "bytes", description: "Objects allocated and not yet swept." },
  { name: "heap_inuse_bytes", unit: "bytes", description: "Spans holding at least one object." },
  { name: "heap_idle_bytes", unit: "bytes", description: "Heap in no span: free or released." },
  { name: "heap_released_bytes", unit: "bytes", description: "Heap given back to the OS or never used." },
  { name: "heap_sys_bytes", unit: "bytes", description: "Heap address space: in use plus idle." },
  { name: "heap_objects", unit: "count", description: "Objects allocated and not yet swept." },
  { name: "heap_live_bytes", unit: "bytes", description: "heapLive: what the pacer compares with the goal." },
  { name: "next_gc_bytes", unit: "bytes", description: "The heap goal." },
  { name: "total_alloc_bytes", unit: "bytes", description: "Bytes ever allocated." },
  { name: "mallocs", unit: "count", description: "Objects ever allocated, tiny ones included." },
  { name: "frees", unit: "count", description: "Objects ever freed." },
  { name: "num_gc", unit: "count", description: "Cycles completed." },
  {
    name: "gc_cpu_fraction",
    unit: "fraction",
    description: "GC share of all CPU since the start, idle marking excluded.",
  },
  { name: "pause_total_ns", unit: "ns", description: "Stop-the-world time since the start." },
  { name: "stack_inuse_bytes", unit: "bytes", description: "Stack spans." },
  { name: "mspan_inuse_bytes", unit: "bytes", description: "mspan structures in use." },
  { name: "mcache_inuse_bytes", unit: "bytes", description: "mcache structures in use." },
  { name: "gc_sys_bytes", unit: "bytes", description: "Collector metadata." },
  { name: "other_sys_bytes", unit: "bytes", description: "Other runtime allocations." },
  { name: "sys_bytes", unit: "bytes", description: "All memory obtained from the OS by the runtime." },
  { name: "rss_bytes", unit: "bytes", description: "Resident set size." },
  { name: "page_faults", unit: "count", description: "Minor page faults since the start." },
  { name: "goroutines", unit: "count", description: "Goroutines alive." },
  {
    name: "gc_assist_cpu_seconds",
    unit: "seconds",
    description: "CPU of mark assists, up to the last cycle.",
  },
  {
    name: "gc_background_cpu_seconds",
    unit: "seconds",
    description: "CPU of dedicated and fractional workers.",
  },
  { name: "gc_idle_cpu_seconds", unit: "seconds", description: "CPU of idle-priority marking." },
  {
    name: "mutator_cpu_seconds",
    unit: "seconds",
    description:
      "CPU of goroutines, sweeping included; in a comparison also what its wake-ups cost the real program.",
  },
  {
    name: "frag_ratio",
    unit: "fraction",
    description: "Free share of the heap times (1 - allocated share).",
  },
  {
    name: "frag_span_unused_bytes",
    unit: "bytes",
    description: "Space in spans in use that holds no object.",
  },
  { name: "frag_sys_unused_ratio", unit: "fraction", description: "1 - HeapInuse / HeapSys." },
  { name: "frag_idle_ratio", unit: "fraction", description: "HeapIdle / HeapSys." },
  { name: "frag_largest_free_run_bytes", unit: "bytes", description: "Longest run of free pages." },
  {
    name: "requests_in_flight",
    unit: "count",
    description: "Requests being served, batch workers, goroutines of populations.",
  },
  { name: "requests_completed", unit: "count", description: "Requests and items completed since the start." },
  {
    name: "latency_p50_ns",
    unit: "ns",
    description: "Median latency of requests completed since the last sample.",
  },
  { name: "latency_p99_ns", unit: "ns", description: "99th percentile of the same." },
  { name: "gc_percent", unit: "count", description: "GOGC in force; empty while it is off." },
  {
    name: "gomemlimit_bytes",
    unit: "bytes",
    description: "The memory limit; empty without one.",
  },
  {
    name: "mapped_ready_bytes",
    unit: "bytes",
    description: "What the memory limit bounds: Sys less HeapReleased.",
  },
  {
    name: "gc_limiter_last_enabled_gc_cycle",
    unit: "count",
    description: "Cycle in which the GC CPU limiter was last turned on; 0 is never.",
  },
  {
    name: "gc_limiter_enabled_seconds",
    unit: "seconds",
    description: "Time the GC CPU limiter has been on since the start.",
  },
  {
    name: "scavenge_assist_cpu_seconds",
    unit: "seconds",
    description: "CPU of allocations that gave memory back since the start.",
  },
  {
    name: "scavenge_background_cpu_seconds",
    unit: "seconds",
    description: "CPU of the background scavenger since the start.",
  },
  {
    name: "scavenged_bytes",
    unit: "bytes",
    description: "Memory given back to the OS since the start, by whomever.",
  },
] as const satisfies readonly { name: string; unit: SampleUnit; description: string }[];

export interface SampleColumn {
  readonly name: string;
  readonly unit: SampleUnit;
  readonly description: string;
}

/** Columns where pages are not as they are by default. */
const PAGE_COLUMNS = [
  {
    name: "anon_huge_pages_bytes",
    unit: "bytes",
    description: "Part of the resident set that is in huge pages (smaps AnonHugePages).",
  },
  {
    name: "lazy_free_bytes",
    unit: "bytes",
    description: "Part of the resident set that was given back by MADV_FREE (smaps LazyFree).",
  },
] as const satisfies readonly SampleColumn[];

/** What of a scenario decides on the columns of its samples. */
export interface SampledParts {
  readonly machine: Pick<Scenario["machine"], "thp"> & {
    readonly numa?: { readonly nodes: number } | undefined;
    readonly neighbours?: object | undefined;
  };
  readonly go: Pick<Scenario["go"], "GOMAXPROCS_default"> & {
    readonly GODEBUG: { readonly madvdontneed: number; readonly disablethp: number };
  };
  readonly interventions: readonly { readonly do: string }[];
  readonly container?: { readonly cpu?: object | undefined } | undefined;
}

/** The column where GOMAXPROCS changes. */
const PROCS_COLUMN = {
  name: "gomaxprocs",
  unit: "count",
  description: "GOMAXPROCS in force.",
} as const satisfies SampleColumn;

/** Whether GOMAXPROCS changes. */
export const procsChange = ({ go, interventions }: SampledParts): boolean =>
  go.GOMAXPROCS_default === true || interventions.some((i) => i.do === "set_gomaxprocs");

/** Whether the container's limits do. */
const limitsChange = ({ interventions }: SampledParts): boolean =>
  interventions.some((i) => i.do === "resize_container");

/** Columns with several nodes, besides one for each. */
const NUMA_COLUMNS = [
  {
    name: "numa_remote_mark_fraction",
    unit: "fraction",
    description: "Part of the bytes that the last collection marked from another node.",
  },
  {
    name: "numa_remote_cpu_seconds",
    unit: "seconds",
    description: "CPU time lost to other nodes' memory since the start; marking up to the last cycle.",
  },
] as const satisfies readonly SampleColumn[];

/** Columns with several nodes. */
const numaColumns = ({ machine }: SampledParts): readonly SampleColumn[] =>
  machine.numa === undefined
    ? []
    : [
        ...Array.from({ length: machine.numa.nodes }, (_, node) => ({
          name: `numa_node${node}_bytes`,
          unit: "bytes" as const,
          description: `Part of the resident set that is on node ${node}.`,
        })),
        ...NUMA_COLUMNS,
      ];

const hasPageColumns = ({ machine, go }: SampledParts): boolean =>
  machine.thp !== "madvise" || go.GODEBUG.madvdontneed === 0;

/** The columns of this scenario's samples: a container has some of its own. */
export function sampleColumns(scenario: SampledParts): readonly SampleColumn[] {
  const own = [
    ...SAMPLE_COLUMNS,
    ...(hasPageColumns(scenario) ? PAGE_COLUMNS : []),
    ...(procsChange(scenario) ? [PROCS_COLUMN] : []),
    ...(limitsChange(scenario) ? LIMIT_COLUMNS : []),
    ...numaColumns(scenario),
  ];
  if (scenario.container === undefined) return own;
  const quota = scenario.container.cpu === undefined ? [] : CPU_QUOTA_COLUMNS;
  const node = scenario.machine.neighbours === undefined ? [] : NODE_COLUMNS;
  return [...own, ...CONTAINER_COLUMNS, ...quota, ...node];
}

/** The columns that a scenario may have, but for those of a NUMA node. */
export const columnsOfAnyScenario: readonly string[] = [
  ...[SAMPLE_COLUMNS, PAGE_COLUMNS, [PROCS_COLUMN], LIMIT_COLUMNS, NUMA_COLUMNS].flat(),
  ...[CONTAINER_COLUMNS, CPU_QUOTA_COLUMNS, NODE_COLUMNS].flat(),
].map(({ name }) => name);

/** What a sample is taken of. */
export interface SampledProcess {
  readonly scenario: SampledParts;
  readonly rt: GoRuntime;
  readonly memory: Memory;
  readonly scavenger: Scavenger;
  readonly numa: NumaNodes | undefined;
  readonly container: ContainerRun | null;
}

/** The workload's part of a sample; latencies are NaN, an empty cell, if no request has been completed since the last one. */
export interface SampledRequests {
  readonly inflight: number;
  readonly completed: number;
  readonly p50Ns: number;
  readonly p99Ns: number;
}

export function sampledRequests(workload: readonly Running[]): SampledRequests {
  let inflight = 0;
  let completed = 0;
  let p50Ns = Number.NaN;
  let p99Ns = Number.NaN;
  for (const running of workload) {
    inflight += running.inflight ?? 0;
    completed += running.completed ?? 0;
    const { latency } = running;
    if (latency === undefined || latency.count === 0) continue;
    p50Ns = Math.max(Number.isNaN(p50Ns) ? 0 : p50Ns, latency.percentile(0.5));
    p99Ns = Math.max(Number.isNaN(p99Ns) ? 0 : p99Ns, latency.percentile(0.99));
  }
  return { inflight, completed, p50Ns, p99Ns };
}

/** A limit, or an empty cell for none. */
const orEmpty = (limit = Number.POSITIVE_INFINITY): number =>
  limit === Number.POSITIVE_INFINITY ? Number.NaN : limit;

/** Fills a row in the order of `sampleColumns`; `st` are the statistics of this instant. */
export function fillRow(
  row: Float64Array,
  nowNs: number,
  of: SampledProcess,
  st: MemStats,
  requests: SampledRequests,
): void {
  const { scenario, rt, memory, scavenger, numa, container } = of;
  let i = 0;
  row[i++] = nowNs / 1e9;
  row[i++] = st.heapAlloc;
  row[i++] = st.heapInuse;
  row[i++] = st.heapIdle;
  row[i++] = st.heapReleased;
  row[i++] = st.heapSys;
  row[i++] = st.heapObjects;
  row[i++] = rt.pacer.heapLive;
  row[i++] = st.nextGC;
  row[i++] = st.totalAlloc;
  row[i++] = st.mallocs;
  row[i++] = st.frees;
  row[i++] = rt.gc.numGC;
  row[i++] = rt.gc.gcCpuFraction;
  row[i++] = rt.gc.pauseTotalNs;
  row[i++] = st.stackInuse;
  row[i++] = st.mspanInuse;
  row[i++] = st.mcacheInuse;
  row[i++] = st.gcSys;
  row[i++] = st.otherSys;
  row[i++] = st.sys;
  row[i++] = memory.residentBytes();
  row[i++] = memory.faults;
  row[i++] = rt.goroutines.live;
  row[i++] = rt.gc.assistNs / 1e9;
  row[i++] = (rt.gc.dedicatedNs + rt.gc.fractionalNs) / 1e9;
  row[i++] = rt.gc.idleNs / 1e9;
  row[i++] = rt.sched.mutatorNs / 1e9;
  row[i++] = fragRatio(st);
  row[i++] = st.heapInuse - st.heapAlloc;
  row[i++] = st.heapSys > 0 ? 1 - st.heapInuse / st.heapSys : 0;
  row[i++] = st.heapSys > 0 ? st.heapIdle / st.heapSys : 0;
  row[i++] = rt.heap.pages.largestFreeRun() * pageSize;
  row[i++] = requests.inflight;
  row[i++] = requests.completed;
  row[i++] = requests.p50Ns;
  row[i++] = requests.p99Ns;
  const { limiter } = rt.sched;
  const limit = rt.pacer.memoryLimit;
  row[i++] = rt.pacer.gcPercent < 0 ? Number.NaN : rt.pacer.gcPercent;
  row[i++] = limit === noMemoryLimit ? Number.NaN : limit;
  row[i++] = rt.heap.mappedReady;
  row[i++] = limiter.lastEnabledCycle;
  row[i++] = limiter.enabledNs(nowNs) / 1e9;
  row[i++] = scavenger.assistNs / 1e9;
  row[i++] = scavenger.backgroundNs / 1e9;
  row[i++] = scavenger.released;
  if (hasPageColumns(scenario)) {
    row[i++] = memory.anonHugePagesBytes();
    row[i++] = memory.lazyFreeBytes();
  }
  if (procsChange(scenario)) row[i++] = rt.sched.nprocs;
  if (limitsChange(scenario)) {
    row[i++] = orEmpty(container?.maxBytes);
    row[i++] = orEmpty(container?.highBytes);
    row[i++] = orEmpty(container?.cpuLimit);
  }
  if (numa !== undefined) {
    for (let node = 0; node < numa.pages.length; node++) row[i++] = numa.residentBytes(node);
    row[i++] = numa.remoteMarkShare;
    row[i++] = numa.remoteNs / 1e9;
  }
  container?.fill(row, i);
}
