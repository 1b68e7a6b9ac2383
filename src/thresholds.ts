/**
 * Thresholds: what a run must keep to, as expressions over its own metrics, in the manner of k6.
 *
 *     thresholds:
 *       rss_bytes: max < 900MiB             # over the samples of timeseries.csv
 *       api_latency_ns: [p95 < 20ms, p99.9 < 100ms]
 *       oom_kills: count == 0               # a figure of summary.json
 *       rss_bytes@doubled: max < 900MiB     # of the phase called `doubled`, until the next one begins (phases.ts)
 *
 * A metric is a column of the samples, a headline figure, or one of the distributions that a run counts value by value: pauses and
 * latencies. Their percentiles come from every pause and every request, never from the percentiles that samples hold: a percentile
 * of percentiles is none. Percentiles are by nearest rank; of samples exact up to 100,000 and within 0.05 % beyond
 * (sim/quantiles.ts), of latencies within 0.8 % (workload/latency.ts).
 *
 * Known here, before the run: which metrics a scenario has. What it cannot have is refused with the scenario's other faults; what
 * could have had a value and had none (no cycle, no request) is a breach that says so. Nothing passes silently.
 */
import { LIMIT_COLUMNS, NODE_COLUMNS } from "./container.ts";
import {
  figuresOfPhases,
  PHASE_CONTAINER_FIGURES,
  PHASE_FIGURES,
  PHASE_LATENCIES,
  START,
  splitFigure,
  THROUGHPUT,
} from "./phases.ts";
import { readInUnit } from "./scenario/bounds.ts";
import { type Report, shown, suggest, tick } from "./scenario/faults.ts";
import type { Scenario, WorkloadEntry } from "./scenario/schema.ts";
import { Quantiles } from "./sim/quantiles.ts";
import { type Unit, unitOf } from "./sim/units.ts";
import {
  type CycleRecord,
  type RunSummary,
  SAMPLE_COLUMNS,
  type SampledParts,
  sampleColumns,
} from "./simulate.ts";
import type { LatencyHistogram } from "./workload/latency.ts";

/** Whether a metric has values of some kind: yes, no, or why it has none in this scenario. */
type Has = boolean | string;

export interface MetricInfo {
  readonly unit: Unit;
  /** A column of the samples. */
  readonly samples: Has;
  /** A headline figure. */
  readonly figure: Has;
  /** Counted value by value. */
  readonly distribution: Has;
}

type Source = "samples" | "figure" | "distribution";

/** What of a scenario decides on its metrics; undefined where it could not be read. */
export interface MetricParts {
  readonly sampled: SampledParts | undefined;
  readonly workload: readonly (WorkloadEntry | undefined)[];
  /** Whether the scenario has one, readable or not. */
  readonly container: boolean;
  readonly cpuQuota: boolean;
  readonly pageCache: boolean;
  readonly memoryLimit: boolean;
  readonly gcPercent: boolean;
  readonly readsMemStats: boolean;
  readonly startup: boolean;
  readonly hypothetical: boolean;
}

type Need = (parts: MetricParts) => string | undefined;
const always: Need = () => undefined;
const needs =
  (has: (parts: MetricParts) => boolean, why: string): Need =>
  (parts) =>
    has(parts) ? undefined : why;

const NO_CONTAINER = "the scenario has no `container`";
const container = needs((p) => p.container, NO_CONTAINER);
const cpuQuota = needs((p) => p.cpuQuota, "the scenario has no `container.cpu`");
const lazily = ({ sampled }: MetricParts): boolean =>
  sampled === undefined || sampled.go.GODEBUG.madvdontneed === 0;
const memoryLimit = needs((p) => p.memoryLimit, "no memory limit is ever in force: GOMEMLIMIT is off");
const readsMemStats = needs((p) => p.readsMemStats, "no intervention does `read_mem_stats`");
const requests = needs(
  (p) => p.workload.some((entry) => entry === undefined || hasLatency(entry)),
  "no service or batch in the workload has latencies",
);

const hasLatency = (entry: WorkloadEntry): boolean => entry.kind === "service" || entry.kind === "batch";
const completes = (entry: WorkloadEntry): boolean => entry.kind !== "stream" && entry.kind !== "leak";

/** Figures that come with a column. */
const likeColumn =
  (name: string): Need =>
  (parts) =>
    columnNames(parts).has(name) ? undefined : whyNoColumn(name, parts);

const columnNames = (parts: MetricParts): Set<string> =>
  new Set(sampleColumns(parts.sampled ?? EVERYTHING).map((column) => column.name));

/** Figures of every scenario, by what it takes to have them; `simulate.ts` and `container.ts` make them. */
const FIGURES: readonly { readonly need: Need; readonly names: readonly string[] }[] = [
  {
    need: always,
    names: [
      ...["gc_count", "goal_mean_bytes", "goal_peak_bytes", "heap_marked_mean_bytes"],
      ...["heap_inuse_mean_bytes", "heap_inuse_peak_bytes", "heap_sys_peak_bytes", "heap_idle_mean_bytes"],
      ...["heap_objects_mean", "stack_inuse_mean_bytes", "mspan_inuse_mean_bytes", "sys_peak_bytes"],
      ...["rss_peak_bytes", "rss_hwm_bytes", "rss_mean_bytes", "heap_released_mean_bytes"],
      ...["in_flight_mean", "in_flight_peak"],
      ...["frag_span_unused_fraction", "frag_mean_ratio", "frag_idle_fraction", "ran_seconds"],
      ...["pause_median_ns", "pause_p99_ns", "pause_max_ns", "longest_stop_ns"],
      ...[
        "usable_cpu_seconds",
        "gc_cpu_of_usable_fraction",
        "page_faults",
        "total_alloc_bytes",
        "mallocs",
        "gc_cpu_seconds",
      ],
      ...["assist_cpu_seconds", "gc_cpu_fraction", "pause_total_ns", "mutator_cpu_seconds"],
      ...["heap_retained_half_seconds", "heap_retained_90_seconds"],
    ],
  },
  {
    need: memoryLimit,
    names: [
      ...["mapped_ready_mean_bytes", "mapped_ready_peak_bytes", "gc_limiter_samples_fraction"],
      ...["gc_limiter_enabled_seconds", "gc_limiter_last_enabled_gc_cycle", "scavenge_cpu_seconds"],
    ],
  },
  {
    need: container,
    names: [
      ...["memory_current_mean_bytes", "memory_current_peak_bytes"],
      ...["memory_working_set_mean_bytes", "memory_working_set_peak_bytes", "memory_events_high"],
      ...["memory_events_max", "memory_high_throttled_seconds", "memory_reclaim_cpu_seconds"],
      ...["memory_pressure_some_seconds", "memory_pressure_full_seconds"],
      ...["oom_kills", "restarts", "first_oom_kill_seconds"],
    ],
  },
  {
    need: needs(
      (p) => p.container && (p.pageCache || lazily(p)),
      "nothing of a container's memory can be reclaimed: it takes `container.page_cache`, or `go.GODEBUG.madvdontneed: 0` in a container",
    ),
    names: [
      ...["memory_anon_mean_bytes", "memory_file_mean_bytes", "memory_inactive_file_mean_bytes"],
      ...["memory_active_file_mean_bytes", "rss_halfway_bytes", "rss_end_bytes"],
    ],
  },
  {
    need: needs(
      ({ sampled }) =>
        sampled === undefined || (sampled.machine.thp === "always" && sampled.go.GODEBUG.disablethp === 0),
      "it takes `machine.thp: always` without `go.GODEBUG.disablethp`",
    ),
    names: ["anon_huge_pages_mean_bytes"],
  },
  {
    need: needs((p) => p.container && lazily(p), "it takes a `container` and `go.GODEBUG.madvdontneed: 0`"),
    names: [
      ...["lazy_free_mean_bytes", "lazy_free_peak_bytes"],
      ...["lazy_free_tenth_gone_seconds", "lazy_free_half_gone_seconds"],
    ],
  },
  {
    need: needs((p) => p.pageCache, "the scenario has no `container.page_cache`"),
    names: [
      ...["page_cache_hit_pages", "page_cache_missed_pages", "page_cache_reclaimed_pages"],
      ...["page_cache_hit_fraction"],
    ],
  },
  {
    need: cpuQuota,
    names: [
      ...["cpu_usage_seconds", "cpu_nr_periods", "cpu_nr_throttled", "cpu_throttled_seconds"],
      ...["cpu_throttled_periods_fraction"],
    ],
  },
  {
    need: readsMemStats,
    names: ["count", "p50_ns", "p95_ns", "p99_ns", "max_ns"].map((of) => `read_mem_stats_${of}`),
  },
  { need: needs((p) => p.startup, "the scenario has no `startup`"), names: ["startup_seconds"] },
  { need: likeColumn("gomaxprocs"), names: ["gomaxprocs_mean"] },
  {
    need: likeColumn("numa_remote_cpu_seconds"),
    names: ["numa_remote_cpu_seconds", "numa_remote_mark_fraction"],
  },
  {
    need: likeColumn("node_free_bytes"),
    names: [
      ...["memory_events_low", "node_free_min_bytes", "node_pgsteal_kswapd_bytes"],
      ...["node_pgsteal_direct_bytes", "node_allocstall_count", "node_neighbour_oom_kills"],
    ],
  },
  {
    need: needs((p) => p.hypothetical, "the scenario has no `go.hypothetical`"),
    names: ["heap_reserve_calls", "heap_map_calls"],
  },
];

/** Columns with a value only where the scenario gives them one. */
const COLUMN_NEEDS: Readonly<Record<string, Need>> = {
  latency_p50_ns: requests,
  latency_p99_ns: requests,
  gc_percent: needs((p) => p.gcPercent, "GOGC is off all along"),
  gomemlimit_bytes: memoryLimit,
};

const LATENCIES = ["mean_ns", "p50_ns", "p95_ns", "p99_ns", "max_ns"] as const;
const FIRST_LATENCIES = [
  ...["first_latency_p50_ns", "first_latency_p99_ns", "first_latency_max_ns"],
  ...["later_latency_p50_ns", "later_latency_p99_ns"],
];

/** Columns of other scenarios: known, and lacking in this one. */
const EVERYTHING: SampledParts = {
  machine: { thp: "always", numa: { nodes: 64 }, neighbours: {} },
  go: { GODEBUG: { madvdontneed: 0, disablethp: 0 }, GOMAXPROCS_default: true },
  interventions: [{ do: "resize_container" }],
  container: { cpu: {} },
};

/** Parts that no metric but a workload's lacks. */
const WITH_EVERYTHING: Omit<MetricParts, "workload"> = {
  sampled: EVERYTHING,
  container: true,
  cpuQuota: true,
  pageCache: true,
  memoryLimit: true,
  gcPercent: true,
  readsMemStats: true,
  startup: true,
  hypothetical: true,
};

function whyNoColumn(name: string, parts: MetricParts): string {
  if (["anon_huge_pages_bytes", "lazy_free_bytes"].includes(name))
    return "it takes `machine.thp` other than madvise, or `go.GODEBUG.madvdontneed: 0`";
  if (name === "gomaxprocs")
    return "GOMAXPROCS never changes: it takes the intervention `set_gomaxprocs`, or a container's CPU quota with no `go.GOMAXPROCS`";
  if (LIMIT_COLUMNS.some((column) => column.name === name))
    return "the container's limits never change: it takes the intervention `resize_container`";
  if (NODE_COLUMNS.some((column) => column.name === name))
    return "the machine's memory never runs short: it takes `machine.neighbours` and a `container`";
  if (name.startsWith("numa_")) return "`machine.numa` has no such node";
  return parts.container ? "the scenario has no `container.cpu`" : NO_CONTAINER;
}

/** Every metric there is, with those that this scenario lacks. */
export function metricsOf(parts: MetricParts): Map<string, MetricInfo> {
  const metrics = new Map<string, MetricInfo>();
  const add = (name: string, source: Source, lacking: string | undefined, unit = unitOf(name)): void => {
    const before = metrics.get(name) ?? { unit, samples: false, figure: false, distribution: false };
    metrics.set(name, { ...before, [source]: lacking ?? true });
  };
  const own = columnNames(parts);
  for (const { name, unit } of sampleColumns(EVERYTHING)) {
    const lacking = own.has(name) ? COLUMN_NEEDS[name]?.(parts) : whyNoColumn(name, parts);
    add(name, "samples", lacking, unit);
  }
  for (const { need, names } of FIGURES) for (const name of names) add(name, "figure", need(parts));
  add("pause_ns", "distribution", undefined);
  add("latency_ns", "distribution", requests(parts));
  add("read_mem_stats_ns", "distribution", readsMemStats(parts));
  for (const entry of parts.workload) {
    if (entry === undefined) continue;
    const { name } = entry;
    const none = `${tick(name)} is a ${entry.kind}, which has none`;
    add(`${name}_requests`, "figure", completes(entry) ? undefined : none);
    const noLatency = hasLatency(entry) ? undefined : none;
    add(`${name}_latency_ns`, "distribution", noLatency);
    for (const of of LATENCIES) add(`${name}_latency_${of}`, "figure", noLatency);
    if (entry.kind !== "service") continue;
    add(`${name}_refused`, "figure", undefined);
    const noStartup = parts.startup ? undefined : "the scenario has no `startup`";
    for (const of of FIRST_LATENCIES) add(`${name}_${of}`, "figure", noStartup);
  }
  return metrics;
}

/** The metrics of a stretch between phases, without its name: the samples in it, and what `phases` of summary.json has. */
export function phaseMetricsOf(parts: MetricParts): Map<string, MetricInfo> {
  const ofRun = metricsOf(parts);
  const metrics = new Map<string, MetricInfo>();
  for (const [name, { unit, samples }] of ofRun)
    if (samples !== false) metrics.set(name, { unit, samples, figure: false, distribution: false });
  const addFigure = (name: string, figure: Has): void => {
    const before = metrics.get(name) ?? { samples: false, distribution: false };
    metrics.set(name, { ...before, unit: unitOf(name), figure });
  };
  for (const name of PHASE_FIGURES) addFigure(name, true);
  for (const name of PHASE_CONTAINER_FIGURES) addFigure(name, container(parts) ?? true);
  for (const entry of parts.workload) {
    if (entry === undefined || !completes(entry)) continue;
    addFigure(`${entry.name}_${THROUGHPUT}`, true);
    if (hasLatency(entry)) for (const of of PHASE_LATENCIES) addFigure(`${entry.name}_${of}`, true);
  }
  return metrics;
}

const OPERATORS = {
  "<": (a: number, b: number) => a < b,
  "<=": (a: number, b: number) => a <= b,
  ">": (a: number, b: number) => a > b,
  ">=": (a: number, b: number) => a >= b,
  "==": (a: number, b: number) => a === b,
  "!=": (a: number, b: number) => a !== b,
} as const;
const MEANT_OPERATORS: Readonly<Record<string, Operator>> = {
  "=": "==",
  "===": "==",
  "!==": "!=",
  "=>": ">=",
  "=<": "<=",
  "<>": "!=",
};
type Operator = keyof typeof OPERATORS;
const isOperator = (text: string): text is Operator => Object.hasOwn(OPERATORS, text);

type Aggregate =
  | { readonly of: "min" | "max" | "mean" | "last" | "count" | "value" }
  | { readonly of: "percentile"; readonly share: number };

export interface Threshold {
  readonly metric: string;
  /** As the scenario has it. */
  readonly expression: string;
  readonly unit: Unit;
  readonly source: Source;
  readonly aggregate: Aggregate;
  readonly operator: Operator;
  /** In the metric's base unit. */
  readonly bound: number;
}

/** The words before the comparison, by where a metric's values are from. */
const WORDS: Readonly<Record<Source, readonly string[]>> = {
  samples: ["min", "max", "mean", "med", "p95", "last"],
  distribution: ["max", "mean", "med", "p95", "count"],
  figure: ["value", "count"],
};

const EXAMPLE = 'an expression such as "max < 900MiB" or "p95 < 20ms"';

function readAggregate(word: string): Aggregate | undefined {
  switch (word) {
    case "":
    case "value":
      return { of: "value" };
    case "avg":
    case "mean":
      return { of: "mean" };
    case "med":
      return { of: "percentile", share: 0.5 };
    case "min":
    case "max":
    case "last":
    case "count":
      return { of: word };
  }
  const percentile = /^p(\d{1,2}(?:\.\d{1,6})?|100)$/.exec(word);
  return percentile === null ? undefined : { of: "percentile", share: Number(percentile[1]) / 100 };
}

/** Which of a metric's values an aggregate is of; undefined: of none. */
function sourceOf(aggregate: Aggregate, metric: string, info: MetricInfo): Source | undefined {
  const first = (...sources: Source[]): Source | undefined => sources.find((of) => info[of] !== false);
  switch (aggregate.of) {
    case "value":
      return first("figure");
    case "count": {
      const counts = info.unit === "count" && !metric.endsWith("_mean");
      return counts ? first("distribution", "figure") : first("distribution");
    }
    case "min":
    case "last":
      return first("samples");
    default:
      return first("distribution", "samples");
  }
}

/** A column that holds percentiles of the requests between two samples. */
const isOfPercentiles = (metric: string): boolean => /^latency_p\d+_ns$/.test(metric);

function readBound(text: string, unit: Unit, report: Report): number | undefined {
  const number = /^-?\d+(?:\.\d+)?(?:e[+-]?\d+)?$/i.test(text) ? Number(text) : undefined;
  return readInUnit(number ?? text, unit, report);
}

/** Reads one expression over a metric that the scenario has. */
export function readThreshold(
  metric: string,
  info: MetricInfo,
  expression: string,
  report: Report,
): Threshold | undefined {
  const parts = /^\s*([A-Za-z][\w.()]*)?\s*([<>=!]+)\s*(\S(?:.*\S)?)\s*$/.exec(expression.slice(0, 200));
  if (parts === null) {
    report(`expected ${EXAMPLE}, got ${shown(expression)}`);
    return undefined;
  }
  const [, word = "", operator, text] = parts;
  const words = (Object.keys(WORDS) as Source[]).flatMap((source) =>
    info[source] === false ? [] : WORDS[source],
  );
  const usable = words.filter((w) => {
    const aggregate = readAggregate(w);
    return aggregate !== undefined && sourceOf(aggregate, metric, info) !== undefined;
  });
  if (!isOperator(operator)) {
    const meant = MEANT_OPERATORS[operator];
    report(
      `there is no comparison ${tick(operator)}`,
      meant === undefined ? "they are <, <=, >, >=, == and !=" : `did you mean ${tick(meant)}?`,
    );
    return undefined;
  }
  const aggregate = readAggregate(word);
  if (aggregate === undefined) {
    const bracketed = /^p\((\d+(?:\.\d+)?)\)$/.exec(word);
    report(
      `there is no ${tick(word)} of ${tick(metric)}`,
      bracketed === null ? suggest(word, usable, "it has") : `did you mean ${tick(`p${bracketed[1]}`)}?`,
    );
    return undefined;
  }
  const source = sourceOf(aggregate, metric, info);
  if (source === undefined) {
    report(
      word === "" ? `of ${tick(metric)} what?` : `there is no ${tick(word)} of ${tick(metric)}`,
      suggest("", usable, "it has"),
    );
    return undefined;
  }
  if (
    isOfPercentiles(splitFigure(metric).figure) &&
    (aggregate.of === "percentile" || aggregate.of === "mean")
  ) {
    report(
      `${tick(metric)} holds percentiles, and a ${aggregate.of} of percentiles says nothing about requests`,
      splitFigure(metric).phase === undefined
        ? `did you mean ${tick("latency_ns")}, which is of every request? ${tick("max")} of the samples can be had`
        : `the figures ${tick("NAME_latency_p50_ns")} and ${tick("NAME_latency_p99_ns")} of a phase are of every request`,
    );
    return undefined;
  }
  const lacking = info[source];
  if (typeof lacking === "string") {
    report(`${tick(metric)} has no value here: ${lacking}`);
    return undefined;
  }
  const unit = aggregate.of === "count" ? "count" : info.unit;
  const bound = readBound(text, unit, report);
  if (bound === undefined) return undefined;
  return { metric, expression, unit, source, aggregate, operator, bound };
}

/** What came of a threshold. */
export interface Verdict {
  readonly metric: string;
  readonly expression: string;
  readonly unit: Unit;
  /** Not-a-number when there was none. */
  readonly value: number;
  readonly passed: boolean;
  /** Why there is no value. */
  readonly reason?: string;
}

function withoutReport(message: string): never {
  throw new Error(`the threshold was checked with the scenario: ${message}`);
}

/** Of a scenario that was checked: an intervention that a shortened run does not reach is no fault of the threshold's. */
function thresholdsOf({ workload }: Scenario, written: NonNullable<Scenario["thresholds"]>): Threshold[] {
  const parts = { ...WITH_EVERYTHING, workload };
  const metrics = metricsOf(parts);
  const phaseMetrics = phaseMetricsOf(parts);
  return Object.entries(written).flatMap(([metric, expressions]) => {
    const { figure, phase } = splitFigure(metric);
    const info = phase === undefined ? metrics.get(metric)! : phaseMetrics.get(figure)!;
    return expressions.map((expression) => readThreshold(metric, info, expression, withoutReport)!);
  });
}

/** Watches a run for its thresholds: a sink's samples and cycles, then what it ended with. */
export class ThresholdWatch {
  readonly #thresholds: readonly Threshold[];
  readonly #columns: readonly {
    readonly at: number;
    /** Only its samples; all without one. */
    readonly phase: string | undefined;
    readonly values: Quantiles;
  }[];
  /** The stretch of the run, and the beginning of the one that follows: a sample of that moment still belongs to this. */
  #phase = START;
  #next: { readonly ns: number; readonly name: string } | undefined;
  readonly #series = new Map<string, Quantiles>();
  readonly #pauses: Quantiles | undefined;

  constructor(scenario: Scenario) {
    this.#thresholds = scenario.thresholds === undefined ? [] : thresholdsOf(scenario, scenario.thresholds);
    const names = sampleColumns(scenario).map((column) => column.name);
    for (const { metric, source } of this.#thresholds) {
      if (source !== "samples" || this.#series.has(metric)) continue;
      const all = this.#thresholds.filter((t) => t.metric === metric && t.source === "samples");
      this.#series.set(metric, new Quantiles(all.some((t) => t.aggregate.of === "percentile")));
    }
    // A column that comes with an intervention is not there when a shortened run does not reach it.
    this.#columns = [...this.#series]
      .map(([name, values]) => {
        const { figure, phase } = splitFigure(name);
        return { at: names.indexOf(figure), phase, values };
      })
      .filter(({ at }) => at >= 0);
    this.#pauses = this.#thresholds.some((t) => t.metric === "pause_ns") ? new Quantiles(true) : undefined;
  }

  phase(nowNs: number, name: string): void {
    if (this.#next !== undefined && this.#next.ns < nowNs) this.#phase = this.#next.name;
    this.#next = { ns: nowNs, name };
  }

  sample(row: Float64Array): void {
    // The first column is the time, to the nanosecond.
    if (this.#next !== undefined && Math.round(row[0] * 1e9) > this.#next.ns) {
      this.#phase = this.#next.name;
      this.#next = undefined;
    }
    for (const { at, phase, values } of this.#columns)
      if (phase === undefined || phase === this.#phase) values.add(row[at]);
  }

  /** Pause per cycle: both stops together, as in MemStats.PauseNs. A single stop's maximum is the figure longest_stop_ns. */
  cycle(cycle: CycleRecord): void {
    this.#pauses?.add(cycle.stw1_ns + cycle.stw2_ns);
  }

  verdicts(
    { figures: ofRun, phases = [] }: Pick<RunSummary, "figures" | "phases">,
    distributions: ReadonlyMap<string, LatencyHistogram>,
  ): Verdict[] {
    const figures = { ...ofRun, ...figuresOfPhases(phases) };
    return this.#thresholds.map((threshold) => {
      const { metric, expression, unit, operator, bound } = threshold;
      const value = this.#value(threshold, figures, distributions);
      // Not-a-number compares as false with all but !=.
      const passed = !Number.isNaN(value) && OPERATORS[operator](value, bound);
      const none = Number.isNaN(value) ? { reason: whyNone(metric) } : {};
      return { metric, expression, unit, value, passed, ...none };
    });
  }

  #value(
    { metric, source, aggregate }: Threshold,
    figures: Readonly<Record<string, number>>,
    distributions: ReadonlyMap<string, LatencyHistogram>,
  ): number {
    if (source === "figure") return figures[metric] ?? (metric.endsWith("_refused") ? 0 : Number.NaN);
    if (source === "distribution" && metric !== "pause_ns") {
      const of = distributions.get(metric);
      if (aggregate.of === "count") return of?.count ?? 0;
      if (of === undefined) return Number.NaN;
      if (aggregate.of === "percentile") return of.percentile(aggregate.share);
      return aggregate.of === "mean" ? of.sumNs / of.count : of.maxNs;
    }
    const values = metric === "pause_ns" ? this.#pauses! : this.#series.get(metric)!;
    switch (aggregate.of) {
      case "percentile":
        return values.quantile(aggregate.share);
      case "value":
        return Number.NaN;
      default:
        return values[aggregate.of];
    }
  }
}

function whyNone(metric: string): string {
  const { phase } = splitFigure(metric);
  if (phase !== undefined) return `${tick(phase)} never began, was too short, or had nothing of it`;
  if (metric === "pause_ns") return "the run had no collection";
  if (metric.endsWith("latency_ns") || /latency_(?:mean|p\d+|max)_ns$/.test(metric))
    return "no request was completed";
  if (SAMPLE_COLUMNS.some((column) => column.name === metric)) return "no sample has a value";
  return "the run gave it no value";
}
