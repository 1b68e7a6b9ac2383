/**
 * The simulated process as a Prometheus client would expose it: metric families by the names that dashboards and alerts know, in
 * the classic text format and in OpenMetrics.
 *
 * `go_*` and `process_*` follow client_golang 1.25: the Go collector's own (go_collector.go), every runtime/metrics value under the name
 * and with the coarser buckets that its opt-in collectors use (internal/go_runtime_metrics.go), and the process collector. `container_*`
 * are cAdvisor's (metrics/prometheus.go) for a container. `gomemsim_*` is what the scenario's workload would count itself.
 *
 * Left out, as nobody would know the values: process_open_fds, process_max_fds, process_virtual_memory_max_bytes, network bytes;
 * container figures by CPU or device. A test compares families, types and buckets with a real process's.
 *
 * The two formats differ where it matters (both are read by other parsers): classic timestamps are milliseconds, OpenMetrics' are
 * seconds; OpenMetrics names a counter's family without `_total` and ends in `# EOF`. So what OpenMetrics could not have is of type
 * unknown there: go_memstats_alloc_bytes_total, whose family would have the name of the gauge go_memstats_alloc_bytes (in the classic
 * text a counter, as client_golang has it). container_memory_failcnt, a counter without the suffix, is unknown in both.
 */
import { OS_PAGE_BYTES } from "../os/os.ts";
import type { ProcessView } from "../simulate.ts";
import { DEFAULT_START_UNIX_SECONDS } from "./memstats.ts";
import {
  type Float64Histogram,
  RUNTIME_METRICS,
  type RuntimeMetric,
  SIZE_BUCKETS,
  Statistics,
  TIME_BUCKETS,
} from "./runtimemetrics.ts";

export type Labels = readonly (readonly [name: string, value: string])[];

export type FamilyType = "gauge" | "counter" | "summary" | "histogram" | "unknown";

/** One line. */
export interface Sample {
  /** What follows the family's name: nothing, or _sum, _count, _bucket. */
  readonly suffix: "" | "_sum" | "_count" | "_bucket";
  readonly labels: Labels;
  readonly value: number;
}

/** All lines of one set of labels; those of a histogram or summary are one. */
export interface Series {
  readonly labels: Labels;
  readonly samples: readonly Sample[];
}

export interface Family {
  /** With `_total` where it is a counter. */
  readonly name: string;
  readonly type: FamilyType;
  /** In OpenMetrics, where that is another. */
  readonly openMetricsType?: FamilyType;
  readonly help: string;
  readonly series: readonly Series[];
}

const NO_LABELS: Labels = [];

const single = (name: string, type: FamilyType, help: string, value: number, labels = NO_LABELS): Family => ({
  name,
  type,
  help,
  series: [{ labels, samples: [{ suffix: "", labels, value }] }],
});

const byLabel = (
  name: string,
  type: "gauge" | "counter",
  help: string,
  values: readonly (readonly [labels: Labels, value: number])[],
): Family => ({
  name,
  type,
  help,
  series: values.map(([labels, value]) => ({ labels, samples: [{ suffix: "", labels, value }] })),
});

/** The name that client_golang makes of a runtime/metrics name (RuntimeMetricsToProm). */
export function prometheusName(name: string, counter: boolean): string {
  const [path, unit] = name.split(":");
  const clean = (text: string): string => text.replaceAll(/[/-]/g, "_");
  return `go_${clean(path.slice(1))}_${unit.replaceAll(/[-*]/g, "_").replaceAll("/", "_per_")}${counter ? "_total" : ""}`;
}

/** reBucketExp: boundaries at least a factor `base` apart, beginning with the first; -Inf is dropped at the end. */
function reBucketExp(buckets: Float64Array, base: number): number[] {
  let from = 0;
  const coarse: number[] = [];
  if (buckets[0] === Number.NEGATIVE_INFINITY) {
    coarse.push(buckets[0]);
    from = 1;
  }
  let bucket = buckets[from];
  for (let i = from + 1; i < buckets.length; i++) {
    if (bucket >= 0 && buckets[i] < bucket * base) continue;
    coarse.push(bucket);
    bucket = buckets[i];
  }
  coarse.push(bucket);
  return coarse;
}

/** RuntimeMetricsBucketsForUnit: powers of two of bytes, powers of ten of seconds up to about one second. */
function coarseBuckets(buckets: Float64Array, unit: string): number[] {
  if (unit === "bytes") return reBucketExp(buckets, 2);
  const coarse = reBucketExp(buckets, 10);
  const end = coarse.findIndex((bound) => bound > 1);
  return end < 0 ? coarse : [...coarse.slice(0, end), Number.POSITIVE_INFINITY];
}

/** The next float64 below a positive one: runtime/metrics' bounds are exclusive above, Prometheus's inclusive. */
function justBelow(value: number): number {
  const bits = new BigInt64Array(1);
  const floats = new Float64Array(bits.buffer);
  floats[0] = value;
  bits[0] -= 1n;
  return floats[0];
}

/** Buckets as client_golang shows them, the same at every instant: of each its lower bound, where it ends in the fine ones, its label. */
type CoarseBuckets = readonly { readonly from: number; readonly end: number; readonly labels: Labels }[];

function coarseOf(buckets: Float64Array, unit: string): CoarseBuckets {
  const bounds = coarseBuckets(buckets, unit).filter((bound) => bound !== Number.NEGATIVE_INFINITY);
  return bounds.slice(1).map((above, j) => ({
    from: bounds[j],
    end: buckets.indexOf(above),
    labels: [["le", numberText(above === Number.POSITIVE_INFINITY ? above : justBelow(above))]],
  }));
}

const COARSE: ReadonlyMap<Float64Array, CoarseBuckets> = new Map([
  [TIME_BUCKETS, coarseOf(TIME_BUCKETS, "seconds")],
  [SIZE_BUCKETS, coarseOf(SIZE_BUCKETS, "bytes")],
]);

/** In these buckets. A function of its own: the loop is all of the next one that is worth compiling. */
function countIn(counts: ArrayLike<number>, from: number, end: number): number {
  let sum = 0;
  for (let i = from; i < end; i++) sum += counts[i];
  return sum;
}

/** batchHistogram of client_golang: the sum is exact where another metric has it, else each value counts as its bucket's lower bound. */
function histogramSamples({ counts, buckets }: Float64Histogram, exactSum: number | undefined): Sample[] {
  const samples: Sample[] = [];
  let count = 0;
  let sum = 0;
  let i = 0;
  for (const { from, end, labels } of COARSE.get(buckets)!) {
    const inBucket = countIn(counts, i, end);
    i = end;
    count += inBucket;
    sum += from * inBucket;
    samples.push({ suffix: "_bucket", labels, value: count });
  }
  samples.push({ suffix: "_sum", labels: NO_LABELS, value: exactSum ?? sum });
  samples.push({ suffix: "_count", labels: NO_LABELS, value: count });
  return samples;
}

/** debug.ReadGCStats: minimum, quartiles and maximum of the last pauses (256 at most), in seconds. */
function pauseQuantiles(view: ProcessView): number[] {
  const { gc } = view.rt;
  const pauses = gc.pauseNs.slice(0, Math.min(gc.numGC, gc.pauseNs.length)).sort();
  const at = (i: number): number => (pauses.length === 0 ? 0 : pauses[i] / 1e9);
  return [0, 1, 2, 3].map((q) => at(Math.floor((pauses.length * q) / 4))).concat(at(pauses.length - 1));
}

/** runtime.NumGoroutine: without the runtime's own, those of the start but main's, and mark workers. */
export const numGoroutine = ({ rt, profile }: ProcessView): number =>
  rt.goroutines.live - (profile.baseline.goroutines - 1) - rt.gc.workerGoroutines;

function goFamilies(view: ProcessView, startUnixSeconds: number): Family[] {
  const { memStats: st, rt, scenario } = view;
  const { gc } = rt;
  const quantiles = pauseQuantiles(view);
  const lastGC =
    gc.numGC === 0 ? 0 : startUnixSeconds + gc.pauseEndNs[(gc.numGC - 1) % gc.pauseEndNs.length] / 1e9;
  const gauge = (name: string, help: string, value: number): Family => single(name, "gauge", help, value);
  const counter = (name: string, help: string, value: number): Family => single(name, "counter", help, value);
  return [
    single("go_goroutines", "gauge", "Number of goroutines that currently exist.", numGoroutine(view)),
    single("go_threads", "gauge", "Number of OS threads created.", rt.goroutines.threads),
    {
      name: "go_gc_duration_seconds",
      type: "summary",
      help: "Stop-the-world time of garbage collection cycles; quantiles over the last 256.",
      series: [
        {
          labels: [],
          samples: [
            ...quantiles.map(
              (value, i): Sample => ({ suffix: "", labels: [["quantile", String(i / 4)]], value }),
            ),
            { suffix: "_sum", labels: [], value: gc.pauseTotalNs / 1e9 },
            { suffix: "_count", labels: [], value: gc.numGC },
          ],
        },
      ],
    },
    gauge("go_memstats_last_gc_time_seconds", "Time of the last garbage collection, since 1970.", lastGC),
    single("go_info", "gauge", "Information about the Go environment.", 1, [
      ["version", `go${scenario.go.version}`],
    ]),
    gauge("go_memstats_alloc_bytes", "Bytes of objects alive or not swept.", st.heapAlloc),
    // Without `_total` its family would have the name of the gauge.
    {
      ...counter("go_memstats_alloc_bytes_total", "Bytes allocated on the heap so far.", st.totalAlloc),
      openMetricsType: "unknown",
    },
    gauge("go_memstats_sys_bytes", "Bytes obtained from the system.", st.sys),
    counter("go_memstats_mallocs_total", "Objects allocated so far.", st.mallocs),
    counter("go_memstats_frees_total", "Objects freed so far.", st.frees),
    gauge("go_memstats_heap_alloc_bytes", "Bytes of objects alive or not swept.", st.heapAlloc),
    gauge("go_memstats_heap_sys_bytes", "Bytes of heap obtained from the system.", st.heapSys),
    gauge("go_memstats_heap_idle_bytes", "Bytes of heap in no span.", st.heapIdle),
    gauge("go_memstats_heap_inuse_bytes", "Bytes of heap in spans that hold objects.", st.heapInuse),
    gauge("go_memstats_heap_released_bytes", "Bytes of heap given back to the system.", st.heapReleased),
    gauge("go_memstats_heap_objects", "Objects alive or not swept.", st.heapObjects),
    gauge("go_memstats_stack_inuse_bytes", "Bytes of heap used for stacks.", st.stackInuse),
    gauge("go_memstats_stack_sys_bytes", "Bytes obtained from the system for stacks.", st.stackSys),
    gauge("go_memstats_mspan_inuse_bytes", "Bytes of mspan structures in use.", st.mspanInuse),
    gauge("go_memstats_mspan_sys_bytes", "Bytes obtained from the system for mspan structures.", st.mspanSys),
    gauge("go_memstats_mcache_inuse_bytes", "Bytes of mcache structures in use.", st.mcacheInuse),
    gauge(
      "go_memstats_mcache_sys_bytes",
      "Bytes obtained from the system for mcache structures.",
      st.mcacheSys,
    ),
    gauge("go_memstats_buck_hash_sys_bytes", "Bytes of the profiler's hash table of stacks.", st.buckHashSys),
    gauge("go_memstats_gc_sys_bytes", "Bytes of the collector's metadata.", st.gcSys),
    gauge("go_memstats_other_sys_bytes", "Bytes of other runtime allocations.", st.otherSys),
    gauge("go_memstats_next_gc_bytes", "Heap size at which the next garbage collection ends.", st.nextGC),
  ];
}

/** The runtime's metrics as families: what is the same at every instant. */
const RUNTIME_FAMILIES: readonly (Pick<Family, "name" | "type" | "help"> & {
  readonly metric: RuntimeMetric;
})[] = RUNTIME_METRICS.map((metric) => {
  const histogram = metric.kind === "float64-histogram";
  return {
    metric,
    name: prometheusName(metric.name, metric.cumulative && !histogram),
    type: histogram ? "histogram" : metric.cumulative ? "counter" : "gauge",
    help: `${metric.help} Sourced from ${metric.name}.`,
  };
});

function runtimeFamilies(view: ProcessView): Family[] {
  const s = new Statistics(view);
  const exactSums: Readonly<Record<string, number>> = {
    "/gc/heap/allocs-by-size:bytes": view.memStats.totalAlloc,
    "/gc/heap/frees-by-size:bytes": view.memStats.totalAlloc - view.memStats.heapAlloc,
  };
  // Two metrics are of the same counts.
  const counted = new Map<ArrayLike<number>, readonly Sample[]>();
  return RUNTIME_FAMILIES.map(({ metric, name, type, help }): Family => {
    if (metric.kind !== "float64-histogram") return single(name, type, help, metric.read(s));
    const histogram = metric.read(s);
    const samples = counted.get(histogram.counts) ?? histogramSamples(histogram, exactSums[metric.name]);
    counted.set(histogram.counts, samples);
    return { name, type, help, series: [{ labels: NO_LABELS, samples }] };
  });
}

/** User and system time of the process: what its goroutines, the collector and one thread in each stop of the world have used. */
export function processCpuSeconds(view: ProcessView): number {
  const { sched, gc } = view.rt;
  const now = gc.cpuNow(view.nowNs);
  return (sched.mutatorSpentNs + now.assistNs + now.dedicatedNs + now.idleNs + now.pauseTotalNs) / 1e9;
}

function processFamilies(view: ProcessView, startUnixSeconds: number): Family[] {
  const { memory } = view;
  return [
    single(
      "process_cpu_seconds_total",
      "counter",
      "Total user and system CPU time spent in seconds.",
      processCpuSeconds(view),
    ),
    single("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", view.vmSizeBytes()),
    single(
      "process_resident_memory_bytes",
      "gauge",
      "Resident memory size in bytes.",
      memory.residentBytes(),
    ),
    single(
      "process_start_time_seconds",
      "gauge",
      "Start time of the process since unix epoch in seconds.",
      startUnixSeconds + view.startNs / 1e9,
    ),
  ];
}

function containerFamilies(view: ProcessView, startUnixSeconds: number): Family[] {
  const { container, scenario } = view;
  if (container === null) return [];
  const { cgroup, bandwidth, settings } = container;
  const labels: Labels = [
    ["container", scenario.name],
    ["pod", scenario.name],
    ["namespace", "default"],
  ];
  const stat = cgroup.stat();
  const gauge = (name: string, help: string, value: number): Family =>
    single(`container_${name}`, "gauge", help, value, labels);
  const counter = (name: string, help: string, value: number): Family =>
    single(`container_${name}_total`, "counter", help, value, labels);
  const v1 = settings.cgroup === "v1";
  const limit = cgroup.maxPages === Number.POSITIVE_INFINITY ? 0 : cgroup.maxPages * OS_PAGE_BYTES;
  return [
    counter(
      "cpu_usage_seconds",
      "Cumulative CPU time consumed in seconds.",
      bandwidth === null ? processCpuSeconds(view) : bandwidth.usageNs / 1e9,
    ),
    ...(bandwidth === null
      ? []
      : [
          counter("cpu_cfs_periods", "Number of elapsed enforcement period intervals.", bandwidth.nrPeriods),
          counter(
            "cpu_cfs_throttled_periods",
            "Number of throttled period intervals.",
            bandwidth.nrThrottled,
          ),
          counter(
            "cpu_cfs_throttled_seconds",
            "Total time duration the container has been throttled.",
            bandwidth.throttledNs / 1e9,
          ),
          gauge("spec_cpu_period", "CPU period of the container, in microseconds.", bandwidth.periodNs / 1e3),
          gauge("spec_cpu_quota", "CPU quota of the container, in microseconds.", bandwidth.quotaNs / 1e3),
        ]),
    gauge("memory_usage_bytes", "Current memory usage, page cache included.", cgroup.currentBytes),
    gauge("memory_max_usage_bytes", "Maximum memory usage recorded.", cgroup.peakPages * OS_PAGE_BYTES),
    gauge(
      "memory_working_set_bytes",
      "Current working set: usage less inactive file pages.",
      cgroup.workingSetBytes,
    ),
    gauge("memory_rss", "Size of anonymous memory.", stat.anon),
    gauge("memory_cache", "Size of the page cache.", stat.file),
    gauge("memory_mapped_file", "Size of memory mapped files.", cgroup.mappedFileBytes),
    gauge("memory_kernel_usage", "Size of kernel memory allocated in bytes.", stat.kernel),
    gauge("memory_swap", "Container swap usage in bytes.", 0),
    ...(v1
      ? [
          single(
            "container_memory_failcnt",
            "unknown",
            "Number of memory usage hits limits.",
            cgroup.events.failcnt,
            labels,
          ),
        ]
      : []),
    byLabel("container_memory_failures_total", "counter", "Cumulative count of page faults.", [
      [[...labels, ["failure_type", "pgfault"], ["scope", "container"]], view.memory.faults],
    ]),
    counter(
      "oom_events",
      "Count of out of memory events observed for the container.",
      container.incidents.length,
    ),
    gauge("spec_memory_limit_bytes", "Memory limit for the container; 0 for none.", limit),
    gauge(
      "start_time_seconds",
      "Start time of the container since unix epoch in seconds.",
      startUnixSeconds + view.startNs / 1e9,
    ),
    ...(v1
      ? []
      : [
          counter(
            "pressure_memory_waiting_seconds",
            "Total time tasks have waited due to memory congestion.",
            cgroup.pressure.someNs / 1e9,
          ),
          counter(
            "pressure_memory_stalled_seconds",
            "Total time all tasks have waited due to memory congestion.",
            cgroup.pressure.fullNs / 1e9,
          ),
        ]),
  ];
}

function workloadFamilies(view: ProcessView): Family[] {
  const { scenario, running } = view;
  const per = (value: (i: number) => number | undefined): (readonly [Labels, number])[] =>
    scenario.workload.flatMap((entry, i) => {
      const got = value(i);
      return got === undefined ? [] : [[[["workload", entry.name]], got] as const];
    });
  const families = [
    byLabel(
      "gomemsim_requests_completed_total",
      "counter",
      "Requests and items that the workload's entry has completed.",
      per((i) => running[i]?.completed),
    ),
    byLabel(
      "gomemsim_requests_in_flight",
      "gauge",
      "Requests that the workload's entry is serving.",
      per((i) => running[i]?.inflight),
    ),
  ];
  return families.filter(({ series }) => series.length > 0);
}

/** Everything about the process at this instant. The run began at `startUnixSeconds`. */
export function metricFamilies(
  view: ProcessView,
  startUnixSeconds = DEFAULT_START_UNIX_SECONDS,
): readonly Family[] {
  return [
    ...goFamilies(view, startUnixSeconds),
    ...runtimeFamilies(view),
    ...processFamilies(view, startUnixSeconds),
    ...containerFamilies(view, startUnixSeconds),
    ...workloadFamilies(view),
  ];
}

/**
 * Families of one process after another, in which no counter falls: to Prometheus that would be a restart. As in client_golang a
 * counter rests where it is until its source has caught up: /cpu/classes/user is what other times leave over, the scavenger's are
 * counted when a slice of its work begins, and a quota that is raised takes back what throttling was counted ahead.
 */
export class GrowingFamilies {
  /** When the process started whose counters they are. */
  #startNs = -1;
  #runStartUnixSeconds: number | undefined;
  readonly #highest = new Map<string, number>();

  at(view: ProcessView, startUnixSeconds?: number): readonly Family[] {
    // A run that is played again has its processes at the same virtual times.
    if (view.startNs !== this.#startNs || startUnixSeconds !== this.#runStartUnixSeconds)
      this.#highest.clear();
    this.#startNs = view.startNs;
    this.#runStartUnixSeconds = startUnixSeconds;
    return metricFamilies(view, startUnixSeconds).map((family) =>
      family.type === "counter" ? this.#grown(family) : family,
    );
  }

  /** The family itself, where no counter of it fell. */
  #grown(family: Family): Family {
    let fell = false;
    for (const { labels, samples } of family.series) {
      const key = seriesKey(family.name, labels);
      const { value } = samples[0];
      if (value < (this.#highest.get(key) ?? 0)) fell = true;
      else this.#highest.set(key, value);
    }
    if (!fell) return family;
    return {
      ...family,
      series: family.series.map((series) => {
        const value = this.#highest.get(seriesKey(family.name, series.labels)) ?? 0;
        return { ...series, samples: [{ ...series.samples[0], value }] };
      }),
    };
  }
}

/** A series among all. */
const seriesKey = (family: string, labels: Labels): string =>
  labels.length === 0 ? family : family + JSON.stringify(labels);

/** A value or bound as Go prints it ('g', shortest), near enough for every parser. */
export function numberText(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "+Inf";
  if (value === Number.NEGATIVE_INFINITY) return "-Inf";
  return String(value);
}

const escaped = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");

function labelText(...lists: readonly Labels[]): string {
  const pairs = lists.flat();
  if (pairs.length === 0) return "";
  return `{${pairs.map(([name, value]) => `${name}="${escaped(value).replaceAll('"', '\\"')}"`).join(",")}}`;
}

const OWN_LABELS: readonly FamilyType[] = ["summary", "histogram"];

/** What stands before a sample's value: name and labels, `more` before its own. Of simple types a sample's labels are the series'. */
export function samplePrefix(family: Family, series: Series, sample: Sample, more: Labels = []): string {
  const own = OWN_LABELS.includes(family.type) ? series.labels : [];
  return `${family.name}${sample.suffix}${labelText(more, own, sample.labels)} `;
}

const linesOf = (family: Family): string =>
  family.series
    .flatMap((series) =>
      series.samples.map((sample) => `${samplePrefix(family, series, sample)}${numberText(sample.value)}\n`),
    )
    .join("");

/** The classic text format, version 0.0.4, without timestamps: for a scrape, the textfile collector, a push gateway. */
export function classicText(families: readonly Family[]): string {
  return families
    .map((family) => {
      const type = family.type === "unknown" ? "untyped" : family.type;
      const head = `# HELP ${family.name} ${escaped(family.help)}\n# TYPE ${family.name} ${type}\n`;
      return head + linesOf(family);
    })
    .join("");
}

/** A family's head in OpenMetrics. */
export function openMetricsHead(family: Family): string {
  const name = openMetricsName(family);
  const help = escaped(family.help).replaceAll('"', '\\"');
  return `# TYPE ${name} ${openMetricsType(family)}\n# HELP ${name} ${help}\n`;
}

const openMetricsType = ({ type, openMetricsType: other = type }: Family): FamilyType => other;

const openMetricsName = (family: Family): string =>
  openMetricsType(family) === "counter" ? family.name.replace(/_total$/, "") : family.name;

/** One exposition in OpenMetrics 1.0.0. */
export function openMetricsText(families: readonly Family[]): string {
  return `${families.map((family) => openMetricsHead(family) + linesOf(family)).join("")}# EOF\n`;
}

export const CLASSIC_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";
export const OPEN_METRICS_CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8";
