/**
 * What a plot of a run shows: panels by theme for one run, and one metric of several runs over each other.
 *
 * Pure: takes what the files of a run say (a column per metric, its cycles, its summary) and makes svgplot.ts's description.
 */

import { OOM_KILL } from "../control/interventions.ts";
import { cpuLimit } from "../scenario/container.ts";
import type { CycleRecord, RunSummary } from "../simulate.ts";
import { type CycleRow, cpuShareSince, cycleEndSeconds } from "./cycles.ts";
import { humanNs, humanValue, NO_BYTES_LIMIT, type Unit } from "./format.ts";
import { BAD, BLUE, GREEN, GREY, INK, ORANGE, PINK, RED, SKY } from "./palette.ts";
import type { Plot, PlotLine, PlotMark, PlotPanel } from "./svgplot.ts";
import { BoundedTable } from "./table.ts";

/** A run as its files have it, or as many points of it as a picture shows. */
export interface PlottedRun {
  /** How the plot calls it. */
  readonly label: string;
  readonly summary: Pick<RunSummary, "figures" | "scenario" | "events" | "seed" | "versions" | "oom_kills">;
  /** By column of timeseries.csv; NaN where there is no value. */
  readonly samples: Readonly<Record<string, Float64Array>>;
  readonly unit: (column: string) => Unit;
  readonly cycles: PlottedCycles;
}

/** Points kept of any series: half of that, which is what is left when they are thinned, are three for each pixel of the widest plot. */
export const PLOT_POINTS = 1 << 16;

const CYCLE_VALUES = {
  start_seconds: (cycle) => cycle.start_seconds,
  end_seconds: cycleEndSeconds,
  marked_bytes: (cycle) => cycle.heap_marked_bytes,
  pause_ns: (cycle) => cycle.stw1_ns + cycle.stw2_ns,
  sweep_done_seconds: (cycle) => cycle.sweep_done_seconds,
} as const satisfies Record<string, (cycle: CycleRow) => number>;

/** CPU time of each cycle, as a share of what the process could use since the cycle before it ended. */
const CYCLE_SHARES = {
  background_share: (cycle) => cycle.background_cpu_ns,
  idle_share: (cycle) => cycle.idle_cpu_ns,
  assist_share: (cycle) => cycle.assist_cpu_ns,
} as const satisfies Record<string, (cycle: CycleRecord) => number>;

type CycleColumn = keyof typeof CYCLE_VALUES | keyof typeof CYCLE_SHARES;

/** The container's CPU quota at a moment, as CPUs; Infinity for none. Samples tell of it where it changes. Moments must not go back. */
export function cpuLimitAt(
  scenario: RunSummary["scenario"],
  samples: PlottedRun["samples"],
): (seconds: number) => number {
  const { t_seconds: t, cpu_limit_cpus: limits } = samples;
  const first = cpuLimit(scenario.container);
  if (limits === undefined) return () => first;
  let next = 0;
  let limit = first;
  return (seconds) => {
    for (; next < t.length && t[next] <= seconds; next++)
      if (!Number.isNaN(limits[next])) limit = limits[next];
    return limit;
  };
}

/** What plots show of a run's cycles, taken in one by one, in bounded memory. */
export class PlottedCycles {
  readonly #cpus: number;
  readonly #cpuLimitAt: (seconds: number) => number;
  readonly #table: BoundedTable;
  readonly #row: Float64Array;
  #lastEndSeconds = 0;

  constructor(cpus: number, limitAt: (seconds: number) => number) {
    this.#cpus = cpus;
    this.#cpuLimitAt = limitAt;
    const names = [...Object.keys(CYCLE_VALUES), ...Object.keys(CYCLE_SHARES)];
    this.#table = new BoundedTable(
      names.map((name) => ({ name, scale: 1 })),
      PLOT_POINTS,
    );
    this.#row = new Float64Array(names.length);
  }

  add(cycle: CycleRow): void {
    let i = 0;
    for (const of of Object.values(CYCLE_VALUES)) this.#row[i++] = of(cycle);
    const endSeconds = cycleEndSeconds(cycle);
    const limit = this.#cpuLimitAt(endSeconds);
    for (const ns of Object.values(CYCLE_SHARES))
      this.#row[i++] = cpuShareSince(this.#lastEndSeconds, cycle, ns(cycle), this.#cpus, limit);
    this.#lastEndSeconds = endSeconds;
    this.#table.add(this.#row);
  }

  column(name: CycleColumn): Float64Array {
    return this.#table.column(name);
  }
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

/** A part of a panel: the columns of timeseries.csv it draws, where the run has them, and the lines. */
interface PanelPart {
  readonly columns: readonly string[];
  readonly lines: (run: PlottedRun) => PlotLine[];
}

const sampled = (line: Omit<Series, "y"> & { readonly column: string }): PanelPart => ({
  columns: [line.column],
  lines: (run) => lines(run, [line]),
});

/** A value for each cycle, at its end. */
const perCycle = (line: Omit<PlotLine, "x" | "y">, name: CycleColumn): PanelPart => ({
  columns: [],
  lines: ({ cycles }) => [{ ...line, x: cycles.column("end_seconds"), y: cycles.column(name) }],
});

/** A share of CPU: it holds from the end of the cycle before on; the last one up to its own. */
const perCycleShare = (label: string, color: string, name: CycleColumn): PanelPart => ({
  columns: ["cpu_limit_cpus"],
  lines: ({ cycles }) => {
    const shares = cycles.column(name);
    return [
      {
        label,
        color,
        style: "step",
        x: [0, ...cycles.column("end_seconds")],
        y: [...shares, ...shares.slice(-1)],
      },
    ];
  },
});

const BOUNDS = {
  "memory.max": "max",
  "memory.high": "high",
  "memory.low": "low",
  "memory.min": "min",
} as const;

/** A bound of the container: a column where limits change in the run, else as the scenario has it. */
const containerBound = (label: keyof typeof BOUNDS, name: string, color: string): PanelPart => ({
  columns: [name],
  lines: (run) => {
    if (run.samples[name] !== undefined)
      return lines(run, [{ label, color, column: name, bound: true, style: "step" }]);
    const value = run.summary.scenario.container?.memory?.[BOUNDS[label]];
    if (value === undefined || !Number.isFinite(value)) return [];
    const seconds = run.summary.scenario.duration / 1e9;
    return [{ label, color, x: [0, seconds], y: [value, value], style: "line", bound: true }];
  },
});

interface PanelKind {
  readonly title: string | ((run: PlottedRun) => string);
  readonly unit: Unit;
  readonly parts: readonly PanelPart[];
}

const GOMEMLIMIT = sampled({
  label: "GOMEMLIMIT",
  color: BAD,
  column: "gomemlimit_bytes",
  bound: true,
  dash: "2 3",
  style: "step",
});

/** Panels by the name that --panel gives. */
export const PANELS = {
  heap: {
    title: "Heap",
    unit: "bytes",
    parts: [
      sampled({ label: "HeapInuse", color: BLUE, column: "heap_inuse_bytes" }),
      sampled({ label: "heap live", color: GREEN, column: "heap_live_bytes" }),
      perCycle({ label: "marked", color: ORANGE, style: "step" }, "marked_bytes"),
      sampled({ label: "GC goal", color: RED, column: "next_gc_bytes", bound: true, style: "step" }),
      GOMEMLIMIT,
    ],
  },
  rss: {
    title: (run) => (run.summary.scenario.container === undefined ? "Process" : "Process and container"),
    unit: "bytes",
    parts: [
      sampled({ label: "RSS", color: INK, column: "rss_bytes" }),
      sampled({ label: "Sys - HeapReleased", color: SKY, column: "mapped_ready_bytes" }),
      sampled({ label: "memory.current", color: GREEN, column: "memory_current_bytes" }),
      sampled({ label: "working set", color: PINK, column: "memory_working_set_bytes" }),
      GOMEMLIMIT,
      containerBound("memory.min", "memory_min_bytes", RED),
      containerBound("memory.low", "memory_low_bytes", GREY),
      containerBound("memory.high", "memory_high_bytes", ORANGE),
      containerBound("memory.max", "memory_max_bytes", BAD),
    ],
  },
  node: {
    title: "Memory of the machine",
    unit: "bytes",
    parts: [
      sampled({ label: "neighbours", color: ORANGE, column: "node_neighbours_anon_bytes" }),
      sampled({ label: "their page cache", color: SKY, column: "node_neighbours_file_bytes" }),
      sampled({ label: "memory.current", color: GREEN, column: "memory_current_bytes" }),
      sampled({ label: "page cache in it", color: BLUE, column: "memory_file_bytes" }),
      sampled({ label: "free", color: INK, column: "node_free_bytes" }),
    ],
  },
  gc: {
    title: "GC CPU since the cycle before, of usable CPU",
    unit: "fraction",
    parts: [
      perCycleShare("background", BLUE, "background_share"),
      perCycleShare("idle", SKY, "idle_share"),
      perCycleShare("assists", RED, "assist_share"),
    ],
  },
  pauses: {
    title: "Pauses of each cycle",
    unit: "ns",
    parts: [perCycle({ label: "sweep + mark termination", color: PINK, style: "points" }, "pause_ns")],
  },
  latency: {
    title: "Latency",
    unit: "ns",
    parts: [
      sampled({ label: "p99", color: RED, column: "latency_p99_ns" }),
      sampled({ label: "p50", color: BLUE, column: "latency_p50_ns" }),
    ],
  },
  fragmentation: {
    title: "Fragmentation",
    unit: "fraction",
    parts: [
      sampled({ label: "(free / total) x (1 - allocated / total)", color: BLUE, column: "frag_ratio" }),
      sampled({ label: "HeapIdle / HeapSys", color: ORANGE, column: "frag_idle_ratio" }),
    ],
  },
  goroutines: {
    title: "Goroutines and requests",
    unit: "count",
    parts: [
      sampled({ label: "goroutines", color: GREEN, column: "goroutines" }),
      sampled({ label: "in flight", color: PINK, column: "requests_in_flight" }),
    ],
  },
} as const satisfies Record<string, PanelKind>;

export type PanelName = keyof typeof PANELS;
export const isPanelName = (name: string): name is PanelName => Object.hasOwn(PANELS, name);

const kindOf = (name: PanelName): PanelKind => PANELS[name];

/** What is read of timeseries.csv for these panels, beside the time. */
export const panelColumns = (names: readonly PanelName[]): string[] => [
  ...new Set(names.flatMap((name) => kindOf(name).parts.flatMap(({ columns }) => columns))),
];

function panelOf(run: PlottedRun, name: PanelName): PlotPanel {
  const { title, unit, parts } = kindOf(name);
  return {
    title: typeof title === "string" ? title : title(run),
    unit,
    lines: parts.flatMap((part) => part.lines(run)),
  };
}

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
  head: Pick<Plot, "title" | "subtitle" | "seconds" | "bands" | "faintBands" | "marks">,
  panels: readonly PlotPanel[],
  { width, height }: PlotSize,
): Plot {
  return {
    ...head,
    description: described(head.title, panels, head.seconds),
    width,
    height: height ?? HEAD_HEIGHT + PANEL_HEIGHT * panels.length,
    panels,
    bandLabel: "GC cycles (fainter: sweeping)",
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
      ? what.panels.map((name) => panelOf(run, name)).filter((panel) => panel.lines.some(hasValue))
      : metricPanels(run, what.metrics);
  const ends = run.cycles.column("end_seconds");
  const swept = run.cycles.column("sweep_done_seconds");
  return plotOf(
    {
      title: run.label,
      subtitle: settingsOf(run),
      seconds: run.summary.scenario.duration / 1e9,
      bands: Array.from(run.cycles.column("start_seconds"), (start, i) => [start, ends[i]] as const),
      faintBands: Array.from(ends, (end, i) => [end, swept[i]] as const),
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
      faintBands: [],
      marks: [],
    },
    panels,
    size,
  );
}
