/**
 * What the Go program reports, and the figures made of it: the same definitions as the simulator's own figures.
 *
 * Samples are runtime/metrics at equal distances, the first (before the workload starts) left out of means and peaks.
 * Resident memory and page faults come without the oracle's own memory outside the Go heap (see offheap.go).
 */
import * as z from "zod";
import { ReclaimFigures } from "../figures.ts";
import { limiterWasOn } from "../runtime/mgclimit.ts";
import { DecayMeter } from "../sim/decay.ts";
import { median } from "../sim/quantiles.ts";

const table = z.object({
  columns: z.array(z.string()),
  rows: z.array(z.array(z.number().nullable())),
});

export const oracleResult = z.object({
  go_version: z.string(),
  gomaxprocs: z.number(),
  /** The program's threads were under SCHED_RR. */
  real_time: z.boolean(),
  duration_ns: z.number(),
  offheap_bytes: z.number(),
  offheap_faults: z.number(),
  cpu_user_seconds: z.number(),
  cpu_system_seconds: z.number(),
  slot_chunks: z.number(),
  memstats: z.record(z.string(), z.number()),
  pauses_ns: z.array(z.number()),
  sources: z.array(
    z.looseObject({
      name: z.string(),
      objects: z.number(),
      bytes: z.number(),
      completed: z.number(),
      held: z.number(),
      latency_ns: z.record(z.string(), z.number()).optional(),
    }),
  ),
  /** Of runtime.ReadMemStats, where the scenario calls it. */
  read_mem_stats_ns: z.record(z.string(), z.number()).optional(),
  samples: table,
  cycles: table,
});

export type OracleResult = z.output<typeof oracleResult>;

/** The first line of a program that sends its samples as it takes them. */
export const streamHeader = z.object({
  columns: z.array(z.string()),
  go_version: z.string(),
  real_time: z.boolean(),
});
export type StreamHeader = z.output<typeof streamHeader>;

/** What is known of a program that was killed: the samples it had sent. Everything told at the end is missing. */
export function killedResult(
  header: StreamHeader,
  rows: (number | null)[][],
  offheapBytes: number,
): OracleResult {
  return {
    go_version: header.go_version,
    gomaxprocs: Number.NaN,
    real_time: header.real_time,
    duration_ns: Number.NaN,
    offheap_bytes: offheapBytes,
    offheap_faults: Number.NaN,
    cpu_user_seconds: Number.NaN,
    cpu_system_seconds: Number.NaN,
    slot_chunks: Number.NaN,
    memstats: {},
    pauses_ns: [Number.NaN],
    sources: [],
    samples: { columns: header.columns, rows },
    cycles: { columns: [], rows: [] },
  };
}

/** A table's columns by name; a metric this Go release does not have reads as NaN. */
export class Columns {
  readonly length: number;
  readonly #rows: readonly (readonly (number | null)[])[];
  readonly #index: ReadonlyMap<string, number>;

  constructor(data: z.output<typeof table>) {
    this.#rows = data.rows;
    this.length = data.rows.length;
    this.#index = new Map(data.columns.map((name, i) => [name, i]));
  }

  at(row: number, name: string): number {
    const i = this.#index.get(name);
    return i === undefined ? Number.NaN : (this.#rows[row][i] ?? Number.NaN);
  }

  sum(row: number, names: readonly string[]): number {
    let total = 0;
    for (const name of names) total += this.at(row, name);
    return total;
  }
}

const HEAP = "/memory/classes/heap/";
const CPU = "/cpu/classes/gc/";

/** The columns of a real run's series, under the names MemStats and the simulator give them, as sums of metrics. */
export interface SeriesColumn {
  readonly name: string;
  readonly unit: "seconds" | "bytes" | "count";
  readonly of: readonly string[];
  readonly scale?: number;
}

const SERIES: readonly SeriesColumn[] = [
  { name: "t_seconds", unit: "seconds", of: ["t_ns"], scale: 1e-9 },
  { name: "heap_alloc_bytes", unit: "bytes", of: [`${HEAP}objects:bytes`] },
  { name: "heap_inuse_bytes", unit: "bytes", of: [`${HEAP}objects:bytes`, `${HEAP}unused:bytes`] },
  { name: "heap_idle_bytes", unit: "bytes", of: [`${HEAP}free:bytes`, `${HEAP}released:bytes`] },
  { name: "heap_released_bytes", unit: "bytes", of: [`${HEAP}released:bytes`] },
  {
    name: "heap_sys_bytes",
    unit: "bytes",
    of: ["objects", "unused", "free", "released"].map((part) => `${HEAP}${part}:bytes`),
  },
  { name: "heap_objects", unit: "count", of: ["/gc/heap/objects:objects"] },
  { name: "heap_marked_bytes", unit: "bytes", of: ["/gc/heap/live:bytes"] },
  { name: "next_gc_bytes", unit: "bytes", of: ["/gc/heap/goal:bytes"] },
  { name: "total_alloc_bytes", unit: "bytes", of: ["/gc/heap/allocs:bytes"] },
  { name: "mallocs", unit: "count", of: ["/gc/heap/allocs:objects", "/gc/heap/tiny/allocs:objects"] },
  { name: "num_gc", unit: "count", of: ["/gc/cycles/total:gc-cycles"] },
  { name: "stack_inuse_bytes", unit: "bytes", of: [`${HEAP}stacks:bytes`] },
  { name: "mspan_inuse_bytes", unit: "bytes", of: ["/memory/classes/metadata/mspan/inuse:bytes"] },
  { name: "mcache_inuse_bytes", unit: "bytes", of: ["/memory/classes/metadata/mcache/inuse:bytes"] },
  { name: "gc_sys_bytes", unit: "bytes", of: ["/memory/classes/metadata/other:bytes"] },
  { name: "other_sys_bytes", unit: "bytes", of: ["/memory/classes/other:bytes"] },
  { name: "sys_bytes", unit: "bytes", of: ["/memory/classes/total:bytes"] },
  { name: "rss_bytes", unit: "bytes", of: ["rss_bytes"] },
  { name: "page_faults", unit: "count", of: ["page_faults"] },
  { name: "goroutines", unit: "count", of: ["/sched/goroutines:goroutines"] },
  { name: "gc_assist_cpu_seconds", unit: "seconds", of: [`${CPU}mark/assist:cpu-seconds`] },
  { name: "gc_background_cpu_seconds", unit: "seconds", of: [`${CPU}mark/dedicated:cpu-seconds`] },
  { name: "gc_idle_cpu_seconds", unit: "seconds", of: [`${CPU}mark/idle:cpu-seconds`] },
  { name: "gc_pause_cpu_seconds", unit: "seconds", of: [`${CPU}pause:cpu-seconds`] },
  {
    name: "scavenge_assist_cpu_seconds",
    unit: "seconds",
    of: ["/cpu/classes/scavenge/assist:cpu-seconds"],
  },
  {
    name: "scavenge_background_cpu_seconds",
    unit: "seconds",
    of: ["/cpu/classes/scavenge/background:cpu-seconds"],
  },
  { name: "gc_limiter_last_enabled_gc_cycle", unit: "count", of: ["/gc/limiter/last-enabled:gc-cycle"] },
  { name: "gomemlimit_bytes", unit: "bytes", of: ["/gc/gomemlimit:bytes"] },
];

/** What a control group tells of itself at each sample, under the simulator's names. */
export const GROUP_COLUMNS = [
  "memory_current_bytes",
  "memory_working_set_bytes",
  "memory_anon_bytes",
  "memory_file_bytes",
  "memory_inactive_file_bytes",
  "memory_active_file_bytes",
] as const;
/** smaps' LazyFree, where Go gives memory back by MADV_FREE. */
export const LAZY_FREE_COLUMN = "lazy_free_bytes";
/** smaps' AnonHugePages, where the kernel makes huge pages on its own. */
export const HUGE_COLUMN = "anon_huge_pages_bytes";

/** The series of a run: SERIES, and in a control group what that says. */
export function seriesColumns({ samples }: OracleResult): readonly SeriesColumn[] {
  const outside = [...GROUP_COLUMNS, LAZY_FREE_COLUMN, HUGE_COLUMN].filter((name) =>
    samples.columns.includes(name),
  );
  return [...SERIES, ...outside.map((name) => ({ name, unit: "bytes", of: [name] }) as const)];
}

/** One row per sample, one column per entry of seriesColumns. */
export function seriesOf(result: OracleResult): Float64Array[] {
  const samples = new Columns(result.samples);
  const columns = seriesColumns(result);
  return Array.from({ length: samples.length }, (_, row) =>
    Float64Array.from(columns, ({ of, scale }) => samples.sum(row, of) * (scale ?? 1)),
  );
}

/** GOMEMLIMIT=off reads as the largest int64. */
const NO_LIMIT_BYTES = 2 ** 62;

/** What only a run with a memory limit is compared by. */
function limitFigures(rows: readonly Float64Array[]): Record<string, number> {
  const of = (row: Float64Array, name: string): number => row[columnOf(name)];
  const mappedReady = rows.map((row) => of(row, "sys_bytes") - of(row, "heap_released_bytes"));
  const last = rows[rows.length - 1];
  return {
    mapped_ready_peak_bytes: mappedReady.reduce((most, x) => Math.max(most, x), 0),
    mapped_ready_mean_bytes: mappedReady.reduce((sum, x) => sum + x, 0) / rows.length,
    scavenge_cpu_seconds:
      of(last, "scavenge_assist_cpu_seconds") + of(last, "scavenge_background_cpu_seconds"),
    gc_limiter_samples_fraction:
      rows.filter((row) => limiterWasOn(of(row, "gc_limiter_last_enabled_gc_cycle"), of(row, "num_gc")))
        .length / rows.length,
  };
}

/** What only a run in a control group is compared by, of the columns that come from outside. */
function groupFigures(result: OracleResult, rows: readonly Float64Array[]): Record<string, number> {
  const names = seriesColumns(result).map(({ name }) => name);
  const at = (row: Float64Array, name: string): number => row[names.indexOf(name)];
  const mean = (name: string): number => rows.reduce((sum, row) => sum + at(row, name), 0) / rows.length;
  const reclaim = new ReclaimFigures(at(rows[rows.length - 1], "t_seconds"));
  for (const row of rows)
    reclaim.sample(at(row, "t_seconds"), {
      anon: at(row, "memory_anon_bytes"),
      file: at(row, "memory_file_bytes"),
      inactiveFile: at(row, "memory_inactive_file_bytes"),
      activeFile: at(row, "memory_active_file_bytes"),
      rss: at(row, "rss_bytes"),
      lazyFree: names.includes(LAZY_FREE_COLUMN) ? at(row, LAZY_FREE_COLUMN) : undefined,
    });
  return {
    memory_current_mean_bytes: mean("memory_current_bytes"),
    memory_working_set_mean_bytes: mean("memory_working_set_bytes"),
    ...reclaim.finish(),
  };
}

const columnOf = (name: string): number => SERIES.findIndex((column) => column.name === name);

/** The figures of one real run, by the names of METRICS. */
export function figuresOf(result: OracleResult): Record<string, number> {
  const rows = seriesOf(result).slice(1);
  const last = rows[rows.length - 1];
  const huge = seriesColumns(result).findIndex(({ name }) => name === HUGE_COLUMN);
  const column = (name: string): Float64Array => {
    const i = columnOf(name);
    return Float64Array.from(rows, (row) => row[i]);
  };
  const mean = (name: string): number => {
    const values = column(name);
    return values.reduce((sum, x) => sum + x, 0) / values.length;
  };
  const peak = (name: string): number => column(name).reduce((most, x) => Math.max(most, x), 0);
  const end = (name: string): number => last[columnOf(name)];
  const cycles = new Columns(result.cycles);
  let marked = 0;
  for (let i = 0; i < cycles.length; i++) marked += cycles.at(i, "/gc/heap/live:bytes");
  const heapReleased = column("heap_released_bytes");
  const heapSys = column("heap_sys_bytes");
  const meter = new DecayMeter();
  column("t_seconds").forEach((t, i) => {
    meter.add(t, heapSys[i] - heapReleased[i]);
  });
  const retained = meter.decay;
  return {
    gc_count: end("num_gc"),
    goal_mean_bytes: mean("next_gc_bytes"),
    goal_peak_bytes: peak("next_gc_bytes"),
    heap_marked_mean_bytes:
      cycles.length === 0 ? (end("num_gc") === 0 ? 0 : Number.NaN) : marked / cycles.length,
    heap_inuse_mean_bytes: mean("heap_inuse_bytes"),
    heap_inuse_peak_bytes: peak("heap_inuse_bytes"),
    heap_sys_peak_bytes: peak("heap_sys_bytes"),
    heap_idle_mean_bytes: mean("heap_idle_bytes"),
    heap_objects_mean: mean("heap_objects"),
    total_alloc_bytes: end("total_alloc_bytes"),
    mallocs: end("mallocs"),
    stack_inuse_mean_bytes: mean("stack_inuse_bytes"),
    mspan_inuse_mean_bytes: mean("mspan_inuse_bytes"),
    sys_peak_bytes: peak("sys_bytes"),
    rss_peak_bytes: peak("rss_bytes"),
    page_faults: end("page_faults"),
    gc_cpu_seconds:
      end("gc_assist_cpu_seconds") +
      end("gc_background_cpu_seconds") +
      end("gc_idle_cpu_seconds") +
      end("gc_pause_cpu_seconds"),
    assist_cpu_seconds: end("gc_assist_cpu_seconds"),
    pause_total_ns: result.memstats["PauseTotalNs"] ?? Number.NaN,
    // MemStats keeps the last 256; with more collections than that, their median stands for all.
    pause_median_ns: result.pauses_ns.length === 0 ? 0 : median(result.pauses_ns),
    heap_released_mean_bytes: mean("heap_released_bytes"),
    rss_mean_bytes: mean("rss_bytes"),
    ...(huge < 0
      ? {}
      : { anon_huge_pages_mean_bytes: rows.reduce((sum, row) => sum + row[huge], 0) / rows.length }),
    ...(retained === undefined
      ? {}
      : { heap_retained_half_seconds: retained.half, heap_retained_90_seconds: retained.nineTenths }),
    ...(end("gomemlimit_bytes") < NO_LIMIT_BYTES ? limitFigures(rows) : {}),
    ...(result.samples.columns.includes(GROUP_COLUMNS[0]) ? groupFigures(result, rows) : {}),
    cpu_seconds: result.cpu_user_seconds + result.cpu_system_seconds,
  };
}
