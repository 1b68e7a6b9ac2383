/**
 * The headline figures of a run: which, in which order and under which words. One list for whoever shows them: the summary in the
 * terminal, `compare` and the page that lays runs over each other. Every one is a figure of summary.json.
 */
import { type PHASE_CONTAINER_FIGURES, type PHASE_FIGURES, START, splitFigure } from "../phases.ts";
import { cpuLimit } from "../scenario/container.ts";
import type { ContainerSettings } from "../scenario/schema.ts";
import { humanBytes, type Unit, unitOf } from "./format.ts";

export interface Headline {
  readonly label: string;
  /** Its name in summary.json. */
  readonly figure: string;
  readonly unit: Unit;
  /** Shown only where runs differ in it. */
  readonly ifDifferent?: boolean;
}

export interface HeadlineGroup {
  readonly name: string;
  readonly rows: readonly Headline[];
}

const headline = (label: string, figure: string): Headline => ({ label, figure, unit: unitOf(figure) });

/** Of the program and its container; those of services come with the workload. */
const GROUPS: readonly HeadlineGroup[] = [
  {
    name: "Garbage collector",
    rows: [
      headline("GC cycles", "gc_count"),
      // Of what the process may use: GOMAXPROCS, the CPUs or the container's quota, whichever is least.
      headline("GC CPU, of usable CPU", "gc_cpu_of_usable_fraction"),
      headline("GC CPU time", "gc_cpu_seconds"),
      headline("  of it assists", "assist_cpu_seconds"),
      headline("GC CPU limiter on", "gc_limiter_enabled_seconds"),
      // Both stops of a cycle, as in MemStats.PauseNs and gctrace's clock.
      headline("pause per cycle, p50", "pause_median_ns"),
      headline("pause per cycle, p99", "pause_p99_ns"),
      headline("pause per cycle, max", "pause_max_ns"),
      // A single one of them, as /sched/pauses/total/gc:seconds counts.
      headline("longest stop", "longest_stop_ns"),
      headline("pauses, total", "pause_total_ns"),
      headline("ReadMemStats p50", "read_mem_stats_p50_ns"),
      headline("ReadMemStats p95", "read_mem_stats_p95_ns"),
      headline("ReadMemStats p99", "read_mem_stats_p99_ns"),
    ],
  },
  {
    name: "Heap",
    rows: [
      headline("marked, mean of cycles", "heap_marked_mean_bytes"),
      headline("goal, mean", "goal_mean_bytes"),
      headline("goal, peak", "goal_peak_bytes"),
      headline("HeapInuse, mean", "heap_inuse_mean_bytes"),
      headline("HeapInuse, peak", "heap_inuse_peak_bytes"),
      headline("HeapIdle, mean", "heap_idle_mean_bytes"),
      headline("fragmentation: in spans", "frag_span_unused_fraction"),
      headline("fragmentation: ratio F", "frag_mean_ratio"),
      headline("fragmentation: idle", "frag_idle_fraction"),
      headline("objects, mean", "heap_objects_mean"),
      headline("allocated, total", "total_alloc_bytes"),
      headline("mallocs", "mallocs"),
    ],
  },
  {
    name: "Process",
    rows: [
      // A run that an OOM kill ends is shorter than planned.
      { ...headline("ran for", "ran_seconds"), ifDifferent: true },
      headline("RSS, high-water mark", "rss_hwm_bytes"),
      headline("Sys, peak", "sys_peak_bytes"),
      headline("Sys - HeapReleased, peak", "mapped_ready_peak_bytes"),
      headline("StackInuse, mean", "stack_inuse_mean_bytes"),
      headline("heap reservations (mmap)", "heap_reserve_calls"),
      headline("heap growths (mmap)", "heap_map_calls"),
      headline("page faults", "page_faults"),
      headline("GOMAXPROCS, mean", "gomaxprocs_mean"),
      headline("marked from another node", "numa_remote_mark_fraction"),
      headline("lost to other nodes' memory", "numa_remote_cpu_seconds"),
      headline("start-up", "startup_seconds"),
    ],
  },
  {
    name: "Container",
    rows: [
      headline("memory.current, mean", "memory_current_mean_bytes"),
      headline("memory.current, peak", "memory_current_peak_bytes"),
      headline("working set, mean", "memory_working_set_mean_bytes"),
      headline("working set, peak", "memory_working_set_peak_bytes"),
      headline("memory.events low", "memory_events_low"),
      headline("memory.events high", "memory_events_high"),
      headline("memory.events max", "memory_events_max"),
      headline("slept for memory.high", "memory_high_throttled_seconds"),
      headline("OOM kills", "oom_kills"),
      headline("first OOM kill at", "first_oom_kill_seconds"),
      headline("restarts", "restarts"),
      headline("periods throttled", "cpu_throttled_periods_fraction"),
      headline("throttled, over CPUs", "cpu_throttled_seconds"),
      headline("page cache hits", "page_cache_hit_fraction"),
    ],
  },
  {
    name: "Machine",
    rows: [
      headline("free, least", "node_free_min_bytes"),
      headline("reclaimed by kswapd", "node_pgsteal_kswapd_bytes"),
      headline("  by who allocates", "node_pgsteal_direct_bytes"),
      headline("neighbours killed (OOM)", "node_neighbour_oom_kills"),
    ],
  },
];

/** Of a stretch between phases: all figures it has, before those of the workload's entries. */
const PHASE_ROWS: Readonly<Record<(typeof PHASE_FIGURES | typeof PHASE_CONTAINER_FIGURES)[number], string>> =
  {
    gc_count: "GC cycles",
    gc_cpu_of_usable_fraction: "GC CPU, of usable CPU",
    pause_max_ns: "pause per cycle, max",
    goal_mean_bytes: "goal, mean",
    goal_peak_bytes: "goal, peak",
    heap_inuse_peak_bytes: "HeapInuse, peak",
    rss_mean_bytes: "RSS, mean",
    rss_peak_bytes: "RSS, peak of the samples",
    oom_kills: "OOM kills",
  };

/** The figures that stretches between phases have, in their order. */
export function phaseHeadlines(names: Iterable<string>): readonly Headline[] {
  const left = new Set(names);
  const common = Object.entries(PHASE_ROWS)
    .filter(([figure]) => left.delete(figure))
    .map(([figure, label]) => headline(label, figure));
  return [...common, ...[...left].map(spelled)];
}

/** Figures of services: whatever the run calls `requests...` or `...latency_p99_ns` and the like. */
const SERVICE_FIGURE =
  /^(?:(.+)_)?(requests(?:_done)?|throughput_per_second|inflight_mean|inflight_peak|in_flight_mean|in_flight_peak|(?:first_|later_)?latency_(?:mean|p\d+|max)_(?:ns|seconds))$/;

/** A figure without words of its own. */
const spelled = (figure: string): Headline =>
  headline(figure.replace(/_(?:ns|seconds|bytes)$/, "").replaceAll("_", " "), figure);

/** The headline figures among those that runs have, by group. */
export function headlinesOf(names: Iterable<string>): readonly HeadlineGroup[] {
  const service = [...new Set(names)].filter((name) => SERVICE_FIGURE.test(name));
  // Every run has the requests in flight; nobody asks for them where nothing is served.
  const serves = service.some((name) => !name.startsWith("in_flight_"));
  return serves ? [...GROUPS, { name: "Service", rows: service.map(spelled) }] : GROUPS;
}

/** Words for figures that are easily taken for others. */
const OTHER_WORDS: Readonly<Record<string, string>> = {
  gc_cpu_fraction: "GCCPUFraction (MemStats)",
};

/** Every figure: the headlines, those of phases, and then what is neither. */
export function groupFigures(all: readonly string[]): readonly HeadlineGroup[] {
  const names = all.filter((name) => splitFigure(name).phase === undefined);
  const left = new Set(names);
  const groups = headlinesOf(names).map(({ name, rows }) => ({
    name,
    rows: rows.filter(({ figure }) => left.delete(figure)),
  }));
  const other = [...left].map((name) => {
    const label = OTHER_WORDS[name];
    return label === undefined ? spelled(name) : headline(label, name);
  });
  return [...groups, ...phaseGroups(all), { name: "Other", rows: other }].filter(
    (group) => group.rows.length > 0,
  );
}

function phaseGroups(names: readonly string[]): HeadlineGroup[] {
  const byPhase = new Map<string, Map<string, string>>();
  for (const name of names) {
    const { figure, phase } = splitFigure(name);
    if (phase !== undefined) byPhase.set(phase, (byPhase.get(phase) ?? new Map()).set(figure, name));
  }
  return [...byPhase].map(([phase, figures]) => ({
    name: phase === START ? "Before any phase" : `Phase ${phase}`,
    rows: phaseHeadlines(figures.keys()).map((row) => ({ ...row, figure: figures.get(row.figure)! })),
  }));
}

/** Limits of the container a run began in. */
export interface ContainerLimitValues {
  readonly memory_max_bytes?: number;
  readonly memory_high_bytes?: number;
  readonly memory_low_bytes?: number;
  readonly memory_min_bytes?: number;
  readonly cpu_limit_cpus?: number;
}

export function containerLimits(container: ContainerSettings | undefined): ContainerLimitValues {
  const { max, high, low, min } = container?.memory ?? {};
  const cpus = cpuLimit(container);
  return {
    ...(max === undefined ? {} : { memory_max_bytes: max }),
    ...(high === undefined ? {} : { memory_high_bytes: high }),
    ...(low === undefined ? {} : { memory_low_bytes: low }),
    ...(min === undefined ? {} : { memory_min_bytes: min }),
    ...(Number.isFinite(cpus) ? { cpu_limit_cpus: cpus } : {}),
  };
}

/** As the head of a run names them, beside its other settings. */
export const limitWords = (limits: ContainerLimitValues): readonly string[] => [
  ...(limits.cpu_limit_cpus === undefined ? [] : [`CPU limit ${Number(limits.cpu_limit_cpus.toFixed(3))}`]),
  ...(limits.memory_max_bytes === undefined ? [] : [`memory.max ${humanBytes(limits.memory_max_bytes)}`]),
  ...(limits.memory_high_bytes === undefined ? [] : [`memory.high ${humanBytes(limits.memory_high_bytes)}`]),
  ...(limits.memory_low_bytes === undefined ? [] : [`memory.low ${humanBytes(limits.memory_low_bytes)}`]),
  ...(limits.memory_min_bytes === undefined ? [] : [`memory.min ${humanBytes(limits.memory_min_bytes)}`]),
];
