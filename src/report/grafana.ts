/**
 * A Grafana dashboard for the metrics of prometheus.ts: for a simulated process as for a real Go service with client_golang, whose
 * panels then stand beside each other.
 *
 * The dashboard's JSON model as of Grafana 9 to 12 (schemaVersion 39), to be imported or provisioned: data source, job and instance are
 * variables. Panels about a container are there where the scenario has one, those about a quota where it has a quota. For a real
 * service the runtime's metrics beyond the default ones need collectors.WithGoCollectorRuntimeMetrics(MetricsAll).
 */
import type { Scenario } from "../scenario/schema.ts";

type Unit = "bytes" | "Bps" | "s" | "percentunit" | "short" | "ops" | "cps";

interface Target {
  readonly expr: string;
  readonly legend: string;
}

interface PanelSpec {
  readonly title: string;
  readonly unit: Unit;
  readonly targets: readonly Target[];
  readonly about?: string;
  readonly stacked?: boolean;
  readonly heatmap?: boolean;
}

interface Row {
  readonly title: string;
  readonly panels: readonly PanelSpec[];
}

const SELECT = '{job=~"$job", instance=~"$instance"}';
const gauge = (name: string): string => `${name}${SELECT}`;
const rate = (name: string): string => `rate(${name}${SELECT}[$__rate_interval])`;

const HEAP: Row = {
  title: "Heap",
  panels: [
    {
      title: "Heap and goal",
      unit: "bytes",
      about: "The collector lets the heap grow from what it last marked to the goal.",
      targets: [
        { expr: gauge("go_memstats_heap_alloc_bytes"), legend: "objects" },
        { expr: gauge("go_memstats_heap_inuse_bytes"), legend: "in use" },
        { expr: gauge("go_gc_heap_live_bytes"), legend: "live after the last cycle" },
        { expr: gauge("go_gc_heap_goal_bytes"), legend: "goal" },
      ],
    },
    {
      title: "Memory classes",
      unit: "bytes",
      stacked: true,
      about: "All memory the runtime has mapped; what is released is not in the resident set.",
      targets: [
        { expr: gauge("go_memory_classes_heap_objects_bytes"), legend: "objects" },
        { expr: gauge("go_memory_classes_heap_unused_bytes"), legend: "unused in spans" },
        { expr: gauge("go_memory_classes_heap_free_bytes"), legend: "free" },
        { expr: gauge("go_memory_classes_heap_released_bytes"), legend: "released" },
        { expr: gauge("go_memory_classes_heap_stacks_bytes"), legend: "stacks" },
        {
          expr: `${gauge("go_memory_classes_metadata_other_bytes")} + ${gauge("go_memory_classes_metadata_mspan_inuse_bytes")} + ${gauge("go_memory_classes_metadata_mcache_inuse_bytes")}`,
          legend: "metadata",
        },
        {
          expr: `${gauge("go_memory_classes_other_bytes")} + ${gauge("go_memory_classes_profiling_buckets_bytes")} + ${gauge("go_memory_classes_os_stacks_bytes")}`,
          legend: "other",
        },
      ],
    },
    {
      title: "Fragmentation",
      unit: "percentunit",
      targets: [
        {
          expr: `1 - ${gauge("go_memstats_heap_alloc_bytes")} / ${gauge("go_memstats_heap_inuse_bytes")}`,
          legend: "unused in spans",
        },
        {
          expr: `${gauge("go_memstats_heap_idle_bytes")} / ${gauge("go_memstats_heap_sys_bytes")}`,
          legend: "idle",
        },
      ],
    },
    {
      title: "Objects",
      unit: "short",
      targets: [{ expr: gauge("go_memstats_heap_objects"), legend: "objects" }],
    },
    {
      title: "Bytes allocated",
      unit: "Bps",
      targets: [{ expr: rate("go_memstats_alloc_bytes_total"), legend: "allocated" }],
    },
    {
      title: "Objects allocated and freed",
      unit: "ops",
      targets: [
        { expr: rate("go_memstats_mallocs_total"), legend: "mallocs" },
        { expr: rate("go_memstats_frees_total"), legend: "frees" },
      ],
    },
  ],
};

const COLLECTOR: Row = {
  title: "Garbage collector",
  panels: [
    {
      title: "Cycles",
      unit: "cps",
      targets: [
        { expr: rate("go_gc_cycles_automatic_gc_cycles_total"), legend: "automatic" },
        { expr: rate("go_gc_cycles_forced_gc_cycles_total"), legend: "forced" },
      ],
    },
    {
      title: "CPU of the collector",
      unit: "percentunit",
      stacked: true,
      about: "As a share of GOMAXPROCS.",
      targets: ["mark_assist", "mark_dedicated", "mark_idle", "pause"].map((part) => ({
        expr: `${rate(`go_cpu_classes_gc_${part}_cpu_seconds_total`)} / ${rate("go_cpu_classes_total_cpu_seconds_total")}`,
        legend: part.replace("_", " "),
      })),
    },
    {
      title: "Stop-the-world pauses",
      unit: "s",
      about: "Both pauses of a cycle together, over the last 256 cycles.",
      targets: [
        {
          expr: 'go_gc_duration_seconds{job=~"$job", instance=~"$instance", quantile=~"0.5|1"}',
          legend: "quantile {{quantile}}",
        },
      ],
    },
    {
      title: "Pauses by length",
      unit: "s",
      heatmap: true,
      targets: [
        { expr: `sum by (le) (${rate("go_sched_pauses_total_gc_seconds_bucket")})`, legend: "{{le}}" },
      ],
    },
    {
      title: "To scan",
      unit: "bytes",
      stacked: true,
      targets: ["heap", "stack", "globals"].map((part) => ({
        expr: gauge(`go_gc_scan_${part}_bytes`),
        legend: part,
      })),
    },
    {
      title: "Settings",
      unit: "short",
      targets: [
        { expr: gauge("go_gc_gogc_percent"), legend: "GOGC" },
        { expr: gauge("go_sched_gomaxprocs_threads"), legend: "GOMAXPROCS" },
      ],
    },
  ],
};

const PROCESS: Row = {
  title: "Process",
  panels: [
    {
      title: "Resident memory",
      unit: "bytes",
      targets: [
        { expr: gauge("process_resident_memory_bytes"), legend: "RSS" },
        {
          expr: `${gauge("go_memory_classes_total_bytes")} - ${gauge("go_memory_classes_heap_released_bytes")}`,
          legend: "what GOMEMLIMIT bounds",
        },
      ],
    },
    {
      title: "CPU",
      unit: "short",
      about: "CPUs in use.",
      targets: [
        { expr: rate("process_cpu_seconds_total"), legend: "process" },
        { expr: rate("go_cpu_classes_gc_total_cpu_seconds_total"), legend: "collector" },
        { expr: rate("go_cpu_classes_scavenge_total_cpu_seconds_total"), legend: "scavenger" },
      ],
    },
    {
      title: "Goroutines and threads",
      unit: "short",
      targets: [
        { expr: gauge("go_goroutines"), legend: "goroutines" },
        { expr: gauge("go_threads"), legend: "threads" },
      ],
    },
  ],
};

const CONTAINER: Row = {
  title: "Container",
  panels: [
    {
      title: "Memory of the container",
      unit: "bytes",
      targets: [
        { expr: gauge("container_memory_usage_bytes"), legend: "usage" },
        { expr: gauge("container_memory_working_set_bytes"), legend: "working set" },
        { expr: gauge("container_memory_rss"), legend: "anonymous" },
        { expr: gauge("container_memory_cache"), legend: "page cache" },
        // 0 is none.
        { expr: `${gauge("container_spec_memory_limit_bytes")} > 0`, legend: "limit" },
      ],
    },
    {
      title: "OOM kills",
      unit: "short",
      targets: [{ expr: gauge("container_oom_events_total"), legend: "OOM kills" }],
    },
  ],
};

const PRESSURE: PanelSpec = {
  title: "Memory pressure",
  unit: "percentunit",
  targets: [
    { expr: rate("container_pressure_memory_waiting_seconds_total"), legend: "some waiting" },
    { expr: rate("container_pressure_memory_stalled_seconds_total"), legend: "all stalled" },
  ],
};

const QUOTA: PanelSpec = {
  title: "CPU quota",
  unit: "percentunit",
  targets: [
    {
      expr: `${rate("container_cpu_cfs_throttled_periods_total")} / ${rate("container_cpu_cfs_periods_total")}`,
      legend: "periods throttled",
    },
  ],
};

const SERVED: Row = {
  title: "Workload",
  panels: [
    {
      title: "Requests",
      unit: "ops",
      targets: [{ expr: rate("gomemsim_requests_completed_total"), legend: "{{workload}}" }],
    },
    {
      title: "In flight",
      unit: "short",
      targets: [{ expr: gauge("gomemsim_requests_in_flight"), legend: "{{workload}}" }],
    },
  ],
};

function rowsFor({ container, workload }: Scenario): readonly Row[] {
  const inContainer = {
    ...CONTAINER,
    panels: [
      ...CONTAINER.panels,
      ...(container?.cgroup === "v1" ? [] : [PRESSURE]),
      ...(container?.cpu === undefined ? [] : [QUOTA]),
    ],
  };
  return [
    HEAP,
    COLLECTOR,
    PROCESS,
    ...(container === undefined ? [] : [inContainer]),
    ...(workload.some(({ kind }) => kind === "service") ? [SERVED] : []),
  ];
}

const DATASOURCE = { type: "prometheus", uid: "$datasource" } as const;
const WIDTH = 8;
const HEIGHT = 8;
const COLUMNS = 24;

interface Place {
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
}

function panel(id: number, gridPos: Place, spec: PanelSpec): object {
  const heatmap = spec.heatmap === true;
  return {
    id,
    type: heatmap ? "heatmap" : "timeseries",
    title: spec.title,
    ...(spec.about === undefined ? {} : { description: spec.about }),
    datasource: DATASOURCE,
    gridPos,
    targets: spec.targets.map(({ expr, legend }, i) => ({
      refId: String.fromCharCode("A".charCodeAt(0) + i),
      datasource: DATASOURCE,
      expr,
      legendFormat: legend,
      ...(heatmap ? { format: "heatmap" } : {}),
    })),
    fieldConfig: {
      defaults: {
        unit: spec.unit,
        min: 0,
        ...(heatmap
          ? {}
          : {
              custom: {
                drawStyle: "line",
                fillOpacity: spec.stacked ? 40 : 0,
                showPoints: "never",
                stacking: { mode: spec.stacked ? "normal" : "none", group: "A" },
              },
            }),
      },
      overrides: [],
    },
    options: heatmap
      ? { calculate: false, yAxis: { unit: spec.unit } }
      : {
          legend: { displayMode: "list", placement: "bottom", showLegend: true },
          tooltip: { mode: "multi", sort: "desc" },
        },
  };
}

const variable = (name: string, label: string, query: string): object => ({
  name,
  label,
  type: "query",
  datasource: DATASOURCE,
  definition: query,
  query: { query, refId: name },
  refresh: 2,
  includeAll: true,
  multi: true,
  allValue: ".*",
  current: { selected: true, text: "All", value: "$__all" },
});

/** The dashboard's JSON, with the run's time as its range where one is given. */
export function grafanaDashboard(scenario: Scenario, startUnixSeconds: number): string {
  const panels: object[] = [];
  let id = 0;
  let y = 0;
  for (const row of rowsFor(scenario)) {
    panels.push({
      id: ++id,
      type: "row",
      title: row.title,
      collapsed: false,
      gridPos: { x: 0, y: y++, w: COLUMNS, h: 1 },
      panels: [],
    });
    row.panels.forEach((spec, i) => {
      const perLine = COLUMNS / WIDTH;
      panels.push(
        panel(
          ++id,
          { x: (i % perLine) * WIDTH, y: y + Math.floor(i / perLine) * HEIGHT, w: WIDTH, h: HEIGHT },
          spec,
        ),
      );
    });
    y += Math.ceil(row.panels.length / (COLUMNS / WIDTH)) * HEIGHT;
  }
  const time = (unixSeconds: number): string => new Date(unixSeconds * 1e3).toISOString();
  const dashboard = {
    uid: "gomemsim-go-memory",
    title: "Go memory (gomemsim)",
    tags: ["go", "gomemsim"],
    schemaVersion: 39,
    version: 1,
    editable: true,
    graphTooltip: 1,
    timezone: "utc",
    time: { from: time(startUnixSeconds), to: time(startUnixSeconds + scenario.duration / 1e9) },
    refresh: "",
    templating: {
      list: [
        { name: "datasource", label: "Data source", type: "datasource", query: "prometheus", refresh: 1 },
        variable("job", "Job", "label_values(go_memstats_heap_alloc_bytes, job)"),
        variable("instance", "Instance", 'label_values(go_memstats_heap_alloc_bytes{job=~"$job"}, instance)'),
      ],
    },
    annotations: { list: [] },
    links: [],
    panels,
  };
  return `${JSON.stringify(dashboard, null, 2)}\n`;
}
