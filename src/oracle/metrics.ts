/**
 * What is compared between the simulator and the real runtime, and when a simulated value counts as right.
 *
 * A metric is in band when the simulated median over seeds lies inside [min, max] of the real runs, widened on both
 * sides by a share of the real median: 2 % for bytes and counts, 25 % for CPU and pause times, but never by less than a
 * floor. Floors keep a band from being narrower than what the real figure can resolve: a real GC count of 3, 3, 3, 3, 3
 * says nothing about 3.4 % of a collection.
 */

import { median } from "../sim/quantiles.ts";

export type MetricUnit = "bytes" | "count" | "seconds" | "ns" | "fraction";

export interface Metric {
  /** Key in RunSummary.figures and in a recorded run. */
  readonly name: string;
  readonly label: string;
  readonly unit: MetricUnit;
  /** Share of the real median by which the band is widened. */
  readonly tolerance: number;
  /** Least widening, in the metric's unit. */
  readonly floor: number;
}

const KiB = 1024;

/** Bytes: one refill of a span per P and a few size classes. */
const bytes = (name: string, label: string, floor = 128 * KiB): Metric => ({
  name,
  label,
  unit: "bytes",
  tolerance: 0.02,
  floor,
});
const count = (name: string, label: string, floor: number): Metric => ({
  name,
  label,
  unit: "count",
  tolerance: 0.02,
  floor,
});
const time = (name: string, label: string, unit: "seconds" | "ns", floor: number): Metric => ({
  name,
  label,
  unit,
  tolerance: 0.25,
  floor,
});

/** A time of the run, as seen by samples: 5 %, or two of them. */
const decayTime = (name: string, label: string): Metric => ({
  name,
  label,
  unit: "seconds",
  tolerance: 0.05,
  floor: 0.2,
});

export const METRICS: readonly Metric[] = [
  count("gc_count", "GC count", 1),
  bytes("goal_mean_bytes", "goal, mean"),
  bytes("goal_peak_bytes", "goal, peak"),
  bytes("heap_marked_mean_bytes", "marked heap, mean"),
  bytes("heap_inuse_mean_bytes", "HeapInuse, mean"),
  bytes("heap_inuse_peak_bytes", "HeapInuse, peak"),
  bytes("heap_sys_peak_bytes", "HeapSys, peak"),
  bytes("heap_idle_mean_bytes", "HeapIdle, mean"),
  count("heap_objects_mean", "HeapObjects, mean", 256),
  bytes("total_alloc_bytes", "TotalAlloc"),
  count("mallocs", "Mallocs", 256),
  bytes("stack_inuse_mean_bytes", "StackInuse, mean", 64 * KiB),
  bytes("mspan_inuse_mean_bytes", "MSpanInuse, mean", 8 * KiB),
  bytes("sys_peak_bytes", "Sys, peak"),
  bytes("rss_peak_bytes", "RSS, peak", 256 * KiB),
  count("page_faults", "page faults", 64),
  time("gc_cpu_seconds", "GC CPU", "seconds", 1e-3),
  time("assist_cpu_seconds", "assist CPU", "seconds", 1e-3),
  time("pause_total_ns", "pauses, total", "ns", 20e3),
  time("pause_median_ns", "pauses, median", "ns", 5e3),
];

/**
 * Compared where both sides have them: recordings made before there were these do not, and the last four are a memory
 * limit's. What the limiter's share of time is follows from CPU times, so its band is theirs.
 */
export const OPTIONAL_METRICS: readonly Metric[] = [
  bytes("heap_released_mean_bytes", "HeapReleased, mean"),
  bytes("rss_mean_bytes", "RSS, mean", 256 * KiB),
  bytes("anon_huge_pages_mean_bytes", "AnonHugePages, mean", 2048 * KiB),
  decayTime("heap_retained_half_seconds", "heap given back: half"),
  decayTime("heap_retained_90_seconds", "heap given back: nine tenths"),
  bytes("mapped_ready_peak_bytes", "Sys - HeapReleased, peak"),
  bytes("mapped_ready_mean_bytes", "Sys - HeapReleased, mean"),
  time("scavenge_cpu_seconds", "scavenger CPU", "seconds", 1e-3),
  {
    name: "gc_limiter_samples_fraction",
    label: "CPU limiter on, of samples",
    unit: "fraction",
    tolerance: 0.25,
    floor: 0.02,
  },
];

/**
 * What is compared beside in a container. Memory floors are what two CPUs may hold back of the counter (63 pages each); the time of
 * a kill is to be within 5 %.
 */
export const CONTAINER_METRICS: readonly Metric[] = [
  {
    name: "first_oom_kill_seconds",
    label: "OOM kill at",
    unit: "seconds",
    tolerance: 0.05,
    floor: 0.05,
  },
  bytes("memory_current_mean_bytes", "memory.current, mean", 504 * KiB),
  bytes("memory_current_peak_bytes", "memory.current, peak", 504 * KiB),
  bytes("memory_working_set_mean_bytes", "working set, mean", 504 * KiB),
  // Each sleep for memory.high comes after 17 attempts to reclaim, which are the events.
  count("memory_events_high", "memory.events high", 17),
  decayTime("memory_pressure_some_seconds", "memory.pressure some"),
  decayTime("memory_pressure_full_seconds", "memory.pressure full"),
  count("cpu_nr_periods", "CPU periods", 2),
  count("cpu_nr_throttled", "CPU periods throttled", 2),
  time("cpu_throttled_seconds", "CPU throttled", "seconds", 10e-3),
];

/**
 * What is compared in a container that has something to reclaim, beside the above: what its memory is made of, and what MADV_FREE
 * leaves to the kernel. When reclaim takes it hangs on when the limit is reached, a time like that of a kill.
 */
export const RECLAIM_METRICS: readonly Metric[] = [
  bytes("memory_anon_mean_bytes", "memory.stat anon, mean", 504 * KiB),
  bytes("memory_file_mean_bytes", "memory.stat file, mean", 504 * KiB),
  bytes("memory_inactive_file_mean_bytes", "memory.stat inactive_file, mean", 504 * KiB),
  bytes("memory_active_file_mean_bytes", "memory.stat active_file, mean", 504 * KiB),
  bytes("rss_halfway_bytes", "RSS, halfway", 256 * KiB),
  bytes("rss_end_bytes", "RSS, at the end", 256 * KiB),
  bytes("lazy_free_mean_bytes", "LazyFree, mean", 256 * KiB),
  bytes("lazy_free_peak_bytes", "LazyFree, peak", 256 * KiB),
  decayTime("lazy_free_tenth_gone_seconds", "LazyFree: a tenth gone at"),
  decayTime("lazy_free_half_gone_seconds", "LazyFree: half gone at"),
  count("page_cache_hit_pages", "page cache hits", 256),
];

export interface Cell {
  readonly metric: Metric;
  readonly realMin: number;
  readonly realMedian: number;
  readonly realMax: number;
  readonly simulated: number;
  readonly low: number;
  readonly high: number;
  readonly inBand: boolean;
  /** (simulated - real median) / real median; NaN when the real median is 0. */
  readonly error: number;
}

/** One metric of several real runs against several simulated ones. */
export function judge(metric: Metric, real: readonly number[], simulated: readonly number[]): Cell {
  const realMin = Math.min(...real);
  const realMax = Math.max(...real);
  const realMedian = median(real);
  const widen = Math.max(Math.abs(realMedian) * metric.tolerance, metric.floor);
  const low = realMin - widen;
  const high = realMax + widen;
  const value = median(simulated);
  return {
    metric,
    realMin,
    realMedian,
    realMax,
    simulated: value,
    low,
    high,
    // Written so that a missing value (NaN) is out of band.
    inBand: value >= low && value <= high,
    error: realMedian === 0 ? Number.NaN : (value - realMedian) / realMedian,
  };
}

type Figures = Readonly<Record<string, number>>;

const has = (runs: readonly Figures[], name: string): boolean =>
  runs.some((figures) => Number.isFinite(figures[name]));

export function compare(real: readonly Figures[], simulated: readonly Figures[]): Cell[] {
  const of = (runs: readonly Figures[], name: string): number[] => runs.map((f) => f[name] ?? Number.NaN);
  const hadByAll = (runs: readonly Figures[], name: string): boolean => runs.every((f) => name in f);
  const known = [
    // A real run that was killed, or had no container, lacks some; what no real run has cannot be judged.
    ...METRICS.filter(
      ({ name }) => real.length === 0 || !("first_oom_kill_seconds" in real[0]) || has(real, name),
    ),
    ...OPTIONAL_METRICS.filter(({ name }) => hadByAll(real, name) && hadByAll(simulated, name)),
    ...CONTAINER_METRICS.filter(({ name }) => has(real, name)),
    ...RECLAIM_METRICS.filter(({ name }) => has(real, name) && hadByAll(simulated, "rss_end_bytes")),
  ];
  return known.map((metric) => judge(metric, of(real, metric.name), of(simulated, metric.name)));
}
