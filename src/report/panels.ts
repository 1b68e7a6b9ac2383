/**
 * What a plot of a run shows: panels by theme for one run, and one metric of several runs over each other.
 *
 * Pure: takes what the files of a run say (a column per metric, its cycles, its summary) and makes svgplot.ts's description.
 */

import { OOM_KILL } from "../control/interventions.ts";
import { cpuLimit } from "../scenario/container.ts";
import type { CycleRecord, RunSummary } from "../simulate.ts";
import { cpuShareSince, cycleEndSeconds } from "./cycles.ts";
import { humanNs, humanValue, NO_BYTES_LIMIT, type Unit } from "./format.ts";
import { BAD, BLUE, GREEN, GREY, INK, ORANGE, PINK, RED, SKY } from "./palette.ts";
import type { Plot, PlotLine, PlotMark, PlotPanel } from "./svgplot.ts";

/** A run as its files have it. */
export interface PlottedRun {
  /** How the plot calls it. */
  readonly label: string;
  readonly summary: Pick<RunSummary, "figures" | "scenario" | "events" | "seed" | "versions" | "oom_kills">;
  /** By column of timeseries.csv, a value per row; NaN where there is none. */
  readonly samples: Readonly<Record<string, Float64Array>>;
  readonly unit: (column: string) => Unit;
  readonly cycles: readonly CycleRecord[];
}

export interface PlotSize {
  readonly width: number;
  /** As the panels need it unless given. */
  readonly height?: number;
}

const RUN_COLORS = [BLUE, RED, GREEN, PINK, ORANGE, SKY, INK, GREY] as const;
/** Of runs beyond the colours. */
const RUN_DASHES = [undefined, "6 3", "2 3"] as const;

type Series = Omit<PlotLine, "x" | "style"> & { readonly style?: PlotLine["style"] };

/** A column, with what is no bound taken out: none when nothing is left. */
function column(run: PlottedRun, name: string): Float64Array | undefined {
  const values = run.samples[name];
  if (values === undefined) return undefined;
  const kept = values.map((value) => (value >= NO_BYTES_LIMIT ? Number.NaN : value));
  return kept.some((value) => !Number.isNaN(value)) ? kept : undefined;
}

/** Lines of columns; those that the run has no value of are left out. */
function lines(
  run: PlottedRun,
  wanted: readonly (Omit<Series, "y"> & { readonly column: string })[],
): PlotLine[] {
  return wanted.flatMap(({ column: name, ...line }) => {
    const y = column(run, name);
    return y === undefined
      ? []
      : [{ style: "line", ...line, x: run.samples["t_seconds"], y } satisfies PlotLine];
  });
}

/** A bound of the container: a column where limits change in the run, else as the scenario has it. */
function containerBound(
  run: PlottedRun,
  label: "memory.max" | "memory.high",
  name: string,
  color: string,
): PlotLine[] {
  if (run.samples[name] !== undefined)
    return lines(run, [{ label, color, column: name, bound: true, style: "step" }]);
  const value = run.summary.scenario.container?.memory?.[label === "memory.max" ? "max" : "high"];
  if (value === undefined || !Number.isFinite(value)) return [];
  const seconds = run.summary.scenario.duration / 1e9;
  return [{ label, color, x: [0, seconds], y: [value, value], style: "line", bound: true }];
}

/** The container's CPU quota at a moment, as CPUs; Infinity for none. Samples tell of it where it changes. */
function cpuLimitAt(run: PlottedRun): (seconds: number) => number {
  const { t_seconds: t, cpu_limit_cpus: limits } = run.samples;
  const first = cpuLimit(run.summary.scenario.container);
  if (limits === undefined) return () => first;
  let next = 0;
  let limit = first;
  return (seconds) => {
    for (; next < t.length && t[next] <= seconds; next++)
      if (!Number.isNaN(limits[next])) limit = limits[next];
    return limit;
  };
}

/** CPU time of each cycle as a share of what the process could use since the cycle before it ended. */
function cpuShare(run: PlottedRun, ns: (cycle: CycleRecord) => number): Pick<PlotLine, "x" | "y"> {
  const { cpus } = run.summary.scenario.machine;
  const ends = run.cycles.map(cycleEndSeconds);
  const limitAt = cpuLimitAt(run);
  const shares = run.cycles.map((cycle, i) =>
    cpuShareSince(ends[i - 1] ?? 0, cycle, ns(cycle), cpus, limitAt(ends[i])),
  );
  // A share holds from the end before it on; the last one up to its own.
  return { x: [0, ...ends], y: [...shares, ...shares.slice(-1)] };
}

type PanelMaker = (run: PlottedRun) => PlotPanel;

const ofCycles = (run: PlottedRun, y: (cycle: CycleRecord) => number): Pick<PlotLine, "x" | "y"> => ({
  x: run.cycles.map(cycleEndSeconds),
  y: run.cycles.map(y),
});

/** Panels by the name that --panel gives. */
export const PANELS = {
  heap: (run) => ({
    title: "Heap",
    unit: "bytes",
    lines: [
      ...lines(run, [
        { label: "HeapInuse", color: BLUE, column: "heap_inuse_bytes" },
        { label: "heap live", color: GREEN, column: "heap_live_bytes" },
      ]),
      { label: "marked", color: ORANGE, style: "step", ...ofCycles(run, (cycle) => cycle.heap_marked_bytes) },
      ...lines(run, [
        { label: "GC goal", color: RED, column: "next_gc_bytes", bound: true, style: "step" },
        {
          label: "GOMEMLIMIT",
          color: BAD,
          column: "gomemlimit_bytes",
          bound: true,
          dash: "2 3",
          style: "step",
        },
      ]),
    ],
  }),
  rss: (run) => ({
    title: run.summary.scenario.container === undefined ? "Process" : "Process and container",
    unit: "bytes",
    lines: [
      ...lines(run, [
        { label: "RSS", color: INK, column: "rss_bytes" },
        { label: "Sys - HeapReleased", color: SKY, column: "mapped_ready_bytes" },
        { label: "memory.current", color: GREEN, column: "memory_current_bytes" },
        { label: "working set", color: PINK, column: "memory_working_set_bytes" },
        {
          label: "GOMEMLIMIT",
          color: BAD,
          column: "gomemlimit_bytes",
          bound: true,
          dash: "2 3",
          style: "step",
        },
      ]),
      ...containerBound(run, "memory.high", "memory_high_bytes", ORANGE),
      ...containerBound(run, "memory.max", "memory_max_bytes", BAD),
    ],
  }),
  gc: (run) => ({
    title: "GC CPU since the cycle before, of usable CPU",
    unit: "fraction",
    lines: [
      {
        label: "background",
        color: BLUE,
        style: "step",
        ...cpuShare(run, (cycle) => cycle.background_cpu_ns),
      },
      { label: "idle", color: SKY, style: "step", ...cpuShare(run, (cycle) => cycle.idle_cpu_ns) },
      { label: "assists", color: RED, style: "step", ...cpuShare(run, (cycle) => cycle.assist_cpu_ns) },
    ],
  }),
  pauses: (run) => ({
    title: "Pauses of each cycle",
    unit: "ns",
    lines: [
      {
        label: "sweep + mark termination",
        color: PINK,
        style: "points",
        ...ofCycles(run, (cycle) => cycle.stw1_ns + cycle.stw2_ns),
      },
    ],
  }),
  latency: (run) => ({
    title: "Latency",
    unit: "ns",
    lines: lines(run, [
      { label: "p99", color: RED, column: "latency_p99_ns" },
      { label: "p50", color: BLUE, column: "latency_p50_ns" },
    ]),
  }),
  fragmentation: (run) => ({
    title: "Fragmentation",
    unit: "fraction",
    lines: lines(run, [
      { label: "(free / total) x (1 - allocated / total)", color: BLUE, column: "frag_ratio" },
      { label: "HeapIdle / HeapSys", color: ORANGE, column: "frag_idle_ratio" },
    ]),
  }),
  goroutines: (run) => ({
    title: "Goroutines and requests",
    unit: "count",
    lines: lines(run, [
      { label: "goroutines", color: GREEN, column: "goroutines" },
      { label: "in flight", color: PINK, column: "requests_in_flight" },
    ]),
  }),
} as const satisfies Record<string, PanelMaker>;

export type PanelName = keyof typeof PANELS;
export const isPanelName = (name: string): name is PanelName => Object.hasOwn(PANELS, name);

/** Shown unless others are asked for. */
export const DEFAULT_PANELS: readonly PanelName[] = ["heap", "rss", "gc", "pauses", "latency"];
/** Of several runs. */
export const DEFAULT_METRICS: readonly string[] = ["heap_inuse_bytes", "rss_bytes"];

const PANEL_HEIGHT = 180;
const HEAD_HEIGHT = 90;
const MOST_LABELLED_MARKS = 200;

function marksOf({ summary }: PlottedRun): PlotMark[] {
  // Kills are told of with the incidents.
  const others = summary.events.filter(({ event }) => event !== OOM_KILL);
  const events = others.slice(0, MOST_LABELLED_MARKS).map(
    ({ t_seconds, event, reason }): PlotMark => ({
      at: t_seconds,
      label: event,
      detail: `${event} (${reason})`,
      grave: false,
    }),
  );
  const kills = (summary.oom_kills ?? []).map(
    (kill): PlotMark => ({
      at: kill.t_seconds,
      label: "OOM kill",
      detail: `OOM kill at ${kill.t_seconds} s`,
      grave: true,
    }),
  );
  return [...events, ...kills];
}

const settingsOf = ({ summary: { scenario, versions, seed } }: PlottedRun): string =>
  [
    `Go ${scenario.go.version}`,
    `GOGC=${scenario.go.GOGC}`,
    ...(scenario.go.GOMEMLIMIT === "off"
      ? []
      : [`GOMEMLIMIT=${humanValue(scenario.go.GOMEMLIMIT, "bytes")}`]),
    `GOMAXPROCS=${scenario.go.GOMAXPROCS}`,
    `gomemsim ${versions.gomemsim}, ${versions.model}`,
    `seed ${seed}`,
  ].join(" · ");

/** A sentence per panel: its lines with their last and largest values. */
function described(title: string, panels: readonly PlotPanel[], seconds: number): string {
  const told = panels.map(({ title: name, unit, lines: of }) => {
    const values = of.map(({ label, y }) => {
      let top = Number.NEGATIVE_INFINITY;
      for (let i = 0; i < y.length; i++) if (y[i] > top) top = y[i];
      return `${label} up to ${humanValue(top, unit)}`;
    });
    return `${name}: ${values.join(", ")}.`;
  });
  return `${title}, ${humanNs(seconds * 1e9)} of virtual time. ${told.join(" ")}`;
}

function plotOf(
  head: Pick<Plot, "title" | "subtitle" | "seconds" | "bands" | "marks">,
  panels: readonly PlotPanel[],
  { width, height }: PlotSize,
): Plot {
  return {
    ...head,
    description: described(head.title, panels, head.seconds),
    width,
    height: height ?? HEAD_HEIGHT + PANEL_HEIGHT * panels.length,
    panels,
    bandLabel: "GC cycles",
  };
}

/** A run's panels: those named, or the metrics of one unit in a panel each; panels without any value are left out. */
export function runPlot(
  run: PlottedRun,
  what: { readonly panels: readonly PanelName[] } | { readonly metrics: readonly string[] },
  size: PlotSize,
): Plot {
  const panels =
    "panels" in what
      ? what.panels.map((name) => PANELS[name](run)).filter((panel: PlotPanel) => panel.lines.some(hasValue))
      : metricPanels(run, what.metrics);
  return plotOf(
    {
      title: run.label,
      subtitle: settingsOf(run),
      seconds: run.summary.scenario.duration / 1e9,
      bands: run.cycles.map((cycle) => [cycle.start_seconds, cycleEndSeconds(cycle)] as const),
      marks: marksOf(run),
    },
    panels,
    size,
  );
}

const hasValue = ({ y }: PlotLine): boolean => {
  for (let i = 0; i < y.length; i++) if (!Number.isNaN(y[i])) return true;
  return false;
};

/** How people read a column's name: without the unit, which the axis has. */
const spoken = (name: string): string => name.replace(/_(?:bytes|ns|seconds)$/, "").replaceAll("_", " ");

function metricPanels(run: PlottedRun, metrics: readonly string[]): PlotPanel[] {
  const byUnit = new Map<Unit, string[]>();
  for (const name of metrics) {
    const unit = run.unit(name);
    byUnit.set(unit, [...(byUnit.get(unit) ?? []), name]);
  }
  return [...byUnit].map(([unit, names]) => ({
    title: names.map(spoken).join(", "),
    unit,
    lines: lines(
      run,
      names.map((name, i) => ({
        label: spoken(name),
        column: name,
        color: RUN_COLORS[i % RUN_COLORS.length],
      })),
    ),
  }));
}

/** One metric a panel, a line for each run. */
export function overlayPlot(runs: readonly PlottedRun[], metrics: readonly string[], size: PlotSize): Plot {
  const panels = metrics.map(
    (name): PlotPanel => ({
      title: spoken(name),
      unit: runs[0].unit(name),
      lines: runs.flatMap((run, i) => {
        const dash = RUN_DASHES[Math.floor(i / RUN_COLORS.length) % RUN_DASHES.length];
        const color = RUN_COLORS[i % RUN_COLORS.length];
        return lines(run, [
          { label: run.label, column: name, color, ...(dash === undefined ? {} : { dash }) },
        ]);
      }),
    }),
  );
  const names = [...new Set(runs.map(({ summary }) => summary.scenario.name))];
  return plotOf(
    {
      title: names.join(", "),
      subtitle: `${runs.length} runs · gomemsim ${runs[0].summary.versions.gomemsim} · model ${runs[0].summary.versions.model}`,
      seconds: Math.max(...runs.map(({ summary }) => summary.scenario.duration)) / 1e9,
      bands: [],
      marks: [],
    },
    panels,
    size,
  );
}
