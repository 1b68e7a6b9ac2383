/**
 * What a page that lays runs over each other draws of each: a dozen series by which runs are compared, and their pauses.
 *
 * Runs that differ in their seeds only are one line: at every sample the median over the seeds, with a band from the least to the
 * greatest value, of twenty seeds or more from the 5th to the 95th percentile. What is derived (a rate, a share) is derived of each seed
 * first: the median of rates is not the rate of medians. Pauses stand at the cycles of all seeds, for no two seeds have the same cycles.
 *
 * Where points stand for buckets of samples (table.ts) a point is one of a bucket's two extremes, whichever came first. Over seeds the
 * least is put first, so that lows are compared with lows. A seed that was killed for good counts up to there.
 */
import { median, nearestRank } from "../sim/quantiles.ts";
import { cpuRatesOf, rateOf } from "./rates.ts";
import type { Deflate, ReportRun } from "./reportdata.ts";
import { BoundedTable, type TableColumn } from "./table.ts";

export type OverlayUnit = "bytes" | "bytes/s" | "ns" | "share" | "count" | "CPUs";

/** A run's columns of timeseries.csv, and what else series are derived from. */
export interface OverlaySource {
  readonly t: Float64Array;
  column(name: string): Float64Array | undefined;
  readonly cycles: readonly { readonly start: number; readonly end: number }[];
  readonly cpus: number;
  readonly GOMAXPROCS: number;
}

export interface OverlaySeries {
  readonly id: string;
  readonly title: string;
  readonly unit: OverlayUnit;
  /** Where it comes from, as the page says it. */
  readonly source: string;
  readonly of: (run: OverlaySource) => Float64Array | undefined;
}

const column =
  (name: string) =>
  (run: OverlaySource): Float64Array | undefined =>
    run.column(name);

/** CPU of marking, whoever does it. */
function markRate({ t, column: of, cycles, cpus, GOMAXPROCS }: OverlaySource): Float64Array {
  const procs = of("gomaxprocs");
  const { background, assist, idle } = cpuRatesOf(
    t,
    {
      mutator: of("mutator_cpu_seconds")!,
      background: of("gc_background_cpu_seconds")!,
      assist: of("gc_assist_cpu_seconds")!,
      idle: of("gc_idle_cpu_seconds")!,
    },
    t.map((_, i) => Math.min(procs?.[i] ?? GOMAXPROCS, cpus)),
    cycles,
  );
  return background.map((rate, i) => rate + assist[i] + idle[i]);
}

/** What runs are compared by when they are laid over each other. */
export const OVERLAYS: readonly OverlaySeries[] = [
  { id: "rss", title: "RSS", unit: "bytes", source: "VmRSS", of: column("rss_bytes") },
  {
    id: "inuse",
    title: "HeapInuse",
    unit: "bytes",
    source: "/memory/classes/heap/objects:bytes + unused",
    of: column("heap_inuse_bytes"),
  },
  {
    id: "goal",
    title: "GC heap goal",
    unit: "bytes",
    source: "/gc/heap/goal:bytes",
    of: column("next_gc_bytes"),
  },
  {
    id: "cpu-gc",
    title: "CPU (GC)",
    unit: "CPUs",
    source: "/cpu/classes/gc/total:cpu-seconds, per second; without pauses",
    of: markRate,
  },
  {
    id: "latency",
    title: "Request latency p99",
    unit: "ns",
    source: "latency_p99_ns",
    of: column("latency_p99_ns"),
  },
  {
    id: "in-flight",
    title: "Requests in flight",
    unit: "count",
    source: "requests_in_flight",
    of: column("requests_in_flight"),
  },
  {
    id: "fragmentation",
    title: "Fragmentation F",
    unit: "share",
    source: "(free / HeapSys) × (1 − allocated / HeapSys)",
    of: column("frag_ratio"),
  },
  {
    id: "scavenger",
    title: "Scavenger: given back",
    unit: "bytes/s",
    source: "scavenged_bytes, per second",
    of: (run) => rateOf(run.t, run.column("scavenged_bytes")!),
  },
  {
    id: "goroutines",
    title: "Goroutines",
    unit: "count",
    source: "/sched/goroutines:goroutines",
    of: column("goroutines"),
  },
  {
    id: "cgroup",
    title: "Container memory.current",
    unit: "bytes",
    source: "cgroup memory.current",
    of: column("memory_current_bytes"),
  },
];

/** Of what is packed: what is counted or measured in bytes and nanoseconds is whole enough, medians of two included. */
const SCALES: Readonly<Record<OverlayUnit, number>> = {
  bytes: 1,
  "bytes/s": 1,
  ns: 1,
  share: 1e5,
  count: 10,
  CPUs: 1e5,
};

/** Names of a series' columns in an overlay's table of samples: the line, and the ends of its band. */
export const lowOf = (id: string): string => `${id} low`;
export const highOf = (id: string): string => `${id} high`;

/** A run's part of an overlay: its series at equally many points as those of its other seeds. Plain data: it crosses threads. */
export interface OverlayPart {
  readonly about: Omit<ReportRun, "samples" | "cycles">;
  readonly rows: number;
  readonly rowsPerBucket: number;
  /** The scale of `t` when packed. */
  readonly timeScale: number;
  readonly t: Float64Array;
  /** By the series' id. */
  readonly values: ReadonlyMap<string, Float64Array>;
  /** In the order of their starts, which the first column has. */
  readonly cycleColumns: readonly TableColumn[];
  readonly cycleValues: readonly Float64Array[];
  readonly cycleRows: number;
}

/** From so many seeds on the band leaves out the outermost. */
const MANY_SEEDS = 20;
const BAND_SHARES = [0.05, 0.95] as const;

/** What the band of so many seeds is, in words. */
export const bandText = (seeds: number): string =>
  seeds < MANY_SEEDS ? "least to greatest" : "5th to 95th percentile";

/** Buckets' points as least and greatest instead of in the order in which they came. */
function leastFirst(values: Float64Array): Float64Array {
  const sorted = values.slice();
  for (let i = 0; i + 1 < sorted.length; i += 2) {
    if (!(sorted[i] > sorted[i + 1])) continue;
    sorted[i] = values[i + 1];
    sorted[i + 1] = values[i];
  }
  return sorted;
}

interface Spread {
  readonly middle: Float64Array;
  readonly low: Float64Array;
  readonly high: Float64Array;
}

/** At every point over the seeds that have a value there. */
export function spreadOf(seeds: readonly Float64Array[]): Spread {
  const n = seeds[0].length;
  const [middle, low, high] = [new Float64Array(n), new Float64Array(n), new Float64Array(n)];
  for (let i = 0; i < n; i++) {
    const values = seeds
      .map((of) => of[i])
      .filter((value) => !Number.isNaN(value))
      .sort((a, b) => a - b);
    const at = (share: number): number => values[nearestRank(share, values.length) - 1] ?? Number.NaN;
    middle[i] = values.length === 0 ? Number.NaN : median(values);
    low[i] = seeds.length < MANY_SEEDS ? (values[0] ?? Number.NaN) : at(BAND_SHARES[0]);
    high[i] = seeds.length < MANY_SEEDS ? (values[values.length - 1] ?? Number.NaN) : at(BAND_SHARES[1]);
  }
  return { middle, low, high };
}

/** Of every figure that some seed has. */
function medianFigures(seeds: readonly ReportRun["figures"][]): ReportRun["figures"] {
  const names = [...new Set(seeds.flatMap((figures) => Object.keys(figures)))];
  return Object.fromEntries(
    names.map((name) => {
      const values = seeds.flatMap((figures) => figures[name] ?? []);
      return [name, values.length === 0 ? null : median(values)];
    }),
  );
}

/**
 * One line of the page: a run, or runs of one scenario that differ in their seeds. Beside series and figures it tells of the first.
 * `label`: by name and variant unless given.
 */
export function overlayRun(parts: readonly OverlayPart[], deflate: Deflate, label?: string): ReportRun {
  const [first] = parts;
  const columns = [{ name: "t_seconds", scale: first.timeScale }];
  const values = [first.t];
  const push = (name: string, unit: OverlayUnit, of: Float64Array): void => {
    columns.push({ name, scale: SCALES[unit] });
    values.push(of);
  };
  for (const { id, unit } of OVERLAYS) {
    const seeds = parts.flatMap((part) => part.values.get(id) ?? []);
    if (!seeds.some((of) => of.some((value) => !Number.isNaN(value)))) continue;
    if (parts.length === 1) {
      push(id, unit, seeds[0]);
      continue;
    }
    const { middle, low, high } = spreadOf(first.rowsPerBucket > 2 ? seeds.map(leastFirst) : seeds);
    push(id, unit, middle);
    push(lowOf(id), unit, low);
    push(highOf(id), unit, high);
  }
  return {
    ...first.about,
    ...(label === undefined ? {} : { label }),
    ...(parts.length === 1
      ? {}
      : { seeds: parts.length, figures: medianFigures(parts.map(({ about }) => about.figures)) }),
    samples: {
      ...tableOf(columns, values).pack(deflate),
      rows: first.rows,
      rows_per_bucket: first.rowsPerBucket,
    },
    cycles: {
      ...cyclesOf(parts).pack(deflate),
      rows: parts.reduce((sum, { cycleRows }) => sum + cycleRows, 0),
    },
  };
}

/** A table that keeps all of its rows. */
function tableOf(columns: readonly TableColumn[], values: readonly Float64Array[]): BoundedTable {
  const points = values[0].length;
  const table = new BoundedTable(columns, Math.max(4, 4 * Math.ceil(points / 4)));
  for (let i = 0; i < points; i++) table.add(values.map((of) => of[i]));
  return table;
}

/** The cycles of all seeds by the time of their start, as many as one run's page has. */
function cyclesOf(parts: readonly OverlayPart[]): BoundedTable {
  const { cycleColumns } = parts[0];
  const rows = parts
    .flatMap(({ cycleValues }) => Array.from(cycleValues[0], (_, i) => cycleValues.map((of) => of[i])))
    .sort((a, b) => a[0] - b[0]);
  const table = new BoundedTable(cycleColumns, OVERLAY_POINTS);
  for (const row of rows) table.add(row);
  return table;
}

/** Points of a line of an overlay: fewer than a page of one run has. */
export const OVERLAY_POINTS = 3072;
