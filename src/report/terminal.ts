/**
 * The summary a run prints: one-line pictures of the heap, then the headline figures, variants side by side.
 *
 * Pure: the caller says how wide the terminal is, whether it takes colour and block characters. Lines keep to
 * the width down to 40: variants that do not fit go to a further table, and where not even two runs fit beside each
 * other the figures become plain `name: value` lines.
 */
import Table from "cli-table3";
import type { RunSummary } from "../simulate.ts";
import { humanNs, humanValue, NO_BYTES_LIMIT, type Unit } from "./format.ts";
import { type SeriesSketch, sparkline } from "./sketch.ts";

/** What a run leaves behind beside its summary, gathered while it streamed. All small. */
export interface RunDigest {
  readonly heapInuse: SeriesSketch["peaks"];
  readonly goal: SeriesSketch["peaks"];
  readonly rss: SeriesSketch["peaks"];
  /** The longest sum of a cycle's two pauses, nanoseconds; 0 where no cycle ended. */
  readonly pause: SeriesSketch["peaks"];
  /** CPU of the last cycle as a share of all CPU since the one before it. */
  readonly gcCpuShare: SeriesSketch["peaks"];
  /** 99th percentile of latency, nanoseconds; 0 where no request ended. */
  readonly latencyP99: SeriesSketch["peaks"];
  /** Percentiles over cycles of the sum of a cycle's two pauses, as Go's own pause list keeps them. */
  readonly pauses: { readonly p50_ns: number; readonly p99_ns: number; readonly max_ns: number };
  /** Mean over samples of every series column, by column name. */
  readonly means: Readonly<Record<string, number>>;
  /** The last sample of every series column, by column name. */
  readonly last: Readonly<Record<string, number>>;
}

export interface FinishedRun {
  readonly summary: RunSummary;
  readonly digest: RunDigest;
}

export interface Paint {
  bold(text: string): string;
  dim(text: string): string;
  cyan(text: string): string;
}

export const NO_PAINT: Paint = { bold: (text) => text, dim: (text) => text, cyan: (text) => text };

export interface TerminalOptions {
  readonly width: number;
  readonly paint: Paint;
  /** Only ASCII characters, for terminals and logs that show nothing else. */
  readonly ascii?: boolean;
}

interface Headline {
  readonly label: string;
  readonly unit: Unit;
  /** The value; undefined or NaN when this run has none. */
  value(run: FinishedRun): number | undefined;
}

const figure = (label: string, unit: Unit, name: string): Headline => ({
  label,
  unit,
  value: (run) => run.summary.figures[name],
});

const cpuShare = (run: FinishedRun, seconds: number | undefined): number | undefined => {
  const { scenario } = run.summary;
  // GOMAXPROCS threads cannot burn more than the machine's CPUs.
  const cpus = Math.min(scenario.go.GOMAXPROCS, scenario.machine.cpus);
  // A run that an OOM kill ends is shorter than planned.
  const ran = run.summary.figures["ran_seconds"] ?? scenario.duration / 1e9;
  return seconds === undefined ? undefined : seconds / (cpus * ran);
};

/** The groups of the table, in its order. A row that no run has a value for is left out, a group without rows too. */
const GROUPS: readonly { readonly name: string; readonly rows: readonly Headline[] }[] = [
  {
    name: "Garbage collector",
    rows: [
      figure("GC cycles", "count", "gc_count"),
      {
        label: "GC CPU, of all CPU",
        unit: "fraction",
        value: (run) => cpuShare(run, run.summary.figures["gc_cpu_seconds"]),
      },
      figure("GC CPU time", "seconds", "gc_cpu_seconds"),
      figure("  of it assists", "seconds", "assist_cpu_seconds"),
      figure("GC CPU limiter on", "seconds", "gc_limiter_enabled_seconds"),
      { label: "pause p50", unit: "ns", value: (run) => run.digest.pauses.p50_ns },
      { label: "pause p99", unit: "ns", value: (run) => run.digest.pauses.p99_ns },
      { label: "pause max", unit: "ns", value: (run) => run.digest.pauses.max_ns },
      figure("pauses, total", "ns", "pause_total_ns"),
      figure("ReadMemStats p50", "ns", "read_mem_stats_p50_ns"),
      figure("ReadMemStats p95", "ns", "read_mem_stats_p95_ns"),
      figure("ReadMemStats p99", "ns", "read_mem_stats_p99_ns"),
    ],
  },
  {
    name: "Heap",
    rows: [
      figure("marked, mean of cycles", "bytes", "heap_marked_mean_bytes"),
      figure("goal, mean", "bytes", "goal_mean_bytes"),
      figure("goal, peak", "bytes", "goal_peak_bytes"),
      figure("HeapInuse, mean", "bytes", "heap_inuse_mean_bytes"),
      figure("HeapInuse, peak", "bytes", "heap_inuse_peak_bytes"),
      figure("HeapIdle, mean", "bytes", "heap_idle_mean_bytes"),
      {
        label: "fragmentation: in spans",
        unit: "fraction",
        value: (run) => 1 - run.digest.means["heap_alloc_bytes"] / run.digest.means["heap_inuse_bytes"],
      },
      { label: "fragmentation: ratio F", unit: "fraction", value: (run) => run.digest.means["frag_ratio"] },
      {
        label: "fragmentation: idle",
        unit: "fraction",
        value: (run) => run.digest.means["heap_idle_bytes"] / run.digest.means["heap_sys_bytes"],
      },
      figure("objects, mean", "count", "heap_objects_mean"),
      figure("allocated, total", "bytes", "total_alloc_bytes"),
      figure("mallocs", "count", "mallocs"),
    ],
  },
  {
    name: "Process",
    rows: [
      figure("RSS, peak", "bytes", "rss_peak_bytes"),
      figure("Sys, peak", "bytes", "sys_peak_bytes"),
      figure("Sys - HeapReleased, peak", "bytes", "mapped_ready_peak_bytes"),
      figure("StackInuse, mean", "bytes", "stack_inuse_mean_bytes"),
      figure("page faults", "count", "page_faults"),
      figure("start-up", "seconds", "startup_seconds"),
    ],
  },
  {
    name: "Container",
    rows: [
      figure("memory.current, mean", "bytes", "memory_current_mean_bytes"),
      figure("memory.current, peak", "bytes", "memory_current_peak_bytes"),
      figure("working set, mean", "bytes", "memory_working_set_mean_bytes"),
      figure("working set, peak", "bytes", "memory_working_set_peak_bytes"),
      figure("memory.events high", "count", "memory_events_high"),
      figure("memory.events max", "count", "memory_events_max"),
      figure("slept for memory.high", "seconds", "memory_high_throttled_seconds"),
      figure("OOM kills", "count", "oom_kills"),
      figure("first OOM kill at", "seconds", "first_oom_kill_seconds"),
      figure("restarts", "count", "restarts"),
      {
        label: "periods throttled",
        unit: "fraction",
        value: ({ summary: { figures } }) => figures["cpu_nr_throttled"] / figures["cpu_nr_periods"],
      },
      figure("throttled, over CPUs", "seconds", "cpu_throttled_seconds"),
      {
        label: "page cache hits",
        unit: "fraction",
        value: ({ summary: { figures } }) =>
          figures["page_cache_hit_pages"] /
          (figures["page_cache_hit_pages"] + figures["page_cache_missed_pages"]),
      },
    ],
  },
];

/** Figures of services: whatever the run calls `requests...` or `...latency_p99_ns` and the like. */
const SERVICE_FIGURE =
  /^(?:(.+)_)?(requests(?:_done)?|throughput_per_second|inflight_mean|inflight_peak|in_flight_mean|in_flight_peak|(?:first_|later_)?latency_(?:mean|p\d+|max)_(?:ns|seconds))$/;

function serviceRows(runs: readonly FinishedRun[]): Headline[] {
  const names = new Set<string>();
  for (const run of runs) {
    for (const name of Object.keys(run.summary.figures)) if (SERVICE_FIGURE.test(name)) names.add(name);
  }
  return [...names].map((name) => {
    const unit: Unit = name.endsWith("_ns") ? "ns" : name.endsWith("_seconds") ? "seconds" : "count";
    return figure(name.replace(/_(?:ns|seconds)$/, "").replaceAll("_", " "), unit, name);
  });
}

interface Row {
  readonly label: string;
  /** One text per run; undefined for a group's heading. */
  readonly cells: readonly string[] | undefined;
}

function tableRows(runs: readonly FinishedRun[]): Row[] {
  const groups = [...GROUPS, { name: "Service", rows: serviceRows(runs) }];
  const rows: Row[] = [];
  for (const group of groups) {
    const filled: Row[] = [];
    for (const row of group.rows) {
      const values = runs.map((run) => row.value(run));
      if (values.every((value) => value === undefined || !Number.isFinite(value))) continue;
      filled.push({
        label: row.label,
        cells: values.map((value) => (value === undefined ? "-" : humanValue(value, row.unit))),
      });
    }
    if (filled.length > 0) rows.push({ label: group.name, cells: undefined }, ...filled);
  }
  return rows;
}

/** How a run is called in a table; the scenario itself is the variant `base`. */
export const runLabel = (run: FinishedRun): string => run.summary.scenario.variant;

const INDENT = 2;
const COLUMN_GAP = 3;
const MIN_TABLE_WIDTH = 40;

/** A borderless table: a head, a rule under it, labels left, figures right. */
function renderTable(head: readonly string[], rows: readonly Row[], options: TerminalOptions): string {
  const none = "";
  const gap = " ".repeat(COLUMN_GAP);
  const table = new Table({
    chars: {
      top: none,
      "top-mid": none,
      "top-left": none,
      "top-right": none,
      bottom: none,
      "bottom-mid": none,
      "bottom-left": none,
      "bottom-right": none,
      left: none,
      "left-mid": none,
      mid: none,
      "mid-mid": none,
      right: none,
      "right-mid": none,
      middle: gap,
    },
    style: { "padding-left": 0, "padding-right": 0, head: [], border: [] },
    colAligns: head.map((_, i) => (i === 0 ? "left" : "right")),
  });
  if (head.length > 2) table.push(head.map((text) => options.paint.bold(text)));
  for (const row of rows) {
    if (row.cells === undefined) {
      table.push([options.paint.cyan(row.label), ...head.slice(1).map(() => "")]);
    } else {
      table.push([`  ${row.label}`, ...row.cells]);
    }
  }
  return table
    .toString()
    .split("\n")
    .map((line) => `${" ".repeat(INDENT)}${line}`.trimEnd())
    .join("\n");
}

/** Splits the runs into tables that fit; the first run stands in each, because it is what the others are compared with. */
function tables(runs: readonly FinishedRun[], options: TerminalOptions): string {
  const rows = tableRows(runs);
  const labels = runs.map(runLabel);
  const labelWidth = Math.max(...rows.map((row) => row.label.length + 2));
  const cellWidth = (run: number): number =>
    COLUMN_GAP + Math.max(labels[run].length, ...rows.map((row) => row.cells?.[run].length ?? 0));
  const widest = runs.reduce((width, _, run) => (run === 0 ? width : Math.max(width, cellWidth(run))), 0);
  const narrowest = INDENT + labelWidth + cellWidth(0) + widest;
  if (options.width < MIN_TABLE_WIDTH || narrowest > options.width) {
    return runs
      .map((_, run) =>
        rows
          .map((row) => (row.cells === undefined ? `${row.label}` : `  ${row.label}: ${row.cells[run]}`))
          .concat(runs.length > 1 ? [""] : [])
          .join("\n"),
      )
      .map((text, run) => (runs.length > 1 ? `[${labels[run]}]\n${text}` : text))
      .join("\n");
  }
  const chunks: number[][] = [[0]];
  let used = INDENT + labelWidth + cellWidth(0);
  for (let run = 1; run < runs.length; run++) {
    const last = chunks[chunks.length - 1];
    if (used + cellWidth(run) <= options.width) {
      last.push(run);
      used += cellWidth(run);
    } else {
      chunks.push([0, run]);
      used = INDENT + labelWidth + cellWidth(0) + cellWidth(run);
    }
  }
  return chunks
    .map((chunk) =>
      renderTable(
        ["", ...chunk.map((run) => labels[run])],
        rows.map((row) => ({ label: row.label, cells: row.cells && chunk.map((run) => row.cells![run]) })),
        options,
      ),
    )
    .join("\n\n");
}

/** With more runs than this, a picture each of HeapInuse, goal and RSS would fill the screen. */
const MAX_FULL_PICTURES = 3;

interface Picture {
  readonly label: string;
  readonly series: readonly number[];
  /** Pictures of bytes have one scale, so that runs compare; each other has its own. */
  readonly unit: Unit;
  readonly peak: number | undefined;
}

function picturesOf(run: FinishedRun): Picture[] {
  const { figures } = run.summary;
  const { heapInuse, goal, rss } = run.digest;
  return [
    { label: "HeapInuse", series: heapInuse, unit: "bytes", peak: figures["heap_inuse_peak_bytes"] },
    { label: "GC goal", series: goal, unit: "bytes", peak: figures["goal_peak_bytes"] },
    { label: "RSS", series: rss, unit: "bytes", peak: figures["rss_peak_bytes"] },
  ];
}

/** What a single run has room for, too; without what never happened. */
function morePictures({ digest }: FinishedRun): Picture[] {
  const pictures: readonly Picture[] = [
    { label: "pauses", series: digest.pause, unit: "ns", peak: digest.pauses.max_ns },
    { label: "GC CPU", series: digest.gcCpuShare, unit: "fraction", peak: undefined },
    { label: "p99", series: digest.latencyP99, unit: "ns", peak: undefined },
  ];
  return pictures.filter(({ series }) => series.some((value) => value > 0));
}

/** The run as lines of blocks over time. */
function pictures(runs: readonly FinishedRun[], options: TerminalOptions): string {
  const full = runs.length <= MAX_FULL_PICTURES;
  const groups = full
    ? runs.map((run) =>
        runs.length > 1
          ? { title: runLabel(run), lines: picturesOf(run) }
          : { title: "", lines: [...picturesOf(run), ...morePictures(run)] },
      )
    : [
        {
          title: "HeapInuse",
          lines: runs.map((run): Picture => ({ ...picturesOf(run)[0], label: runLabel(run) })),
        },
      ];
  const lines = groups.flatMap((group) => group.lines).filter((line) => line.series.length > 1);
  if (lines.length === 0) return "";
  // Without a goal (GOGC=off) there is nothing to draw it to.
  const seenPeak = (line: Picture): number =>
    line.series.reduce((top, value) => (value < NO_BYTES_LIMIT ? Math.max(top, value) : top), 0);
  const topOfBytes = lines.reduce(
    (highest, line) => (line.unit === "bytes" ? Math.max(highest, seenPeak(line)) : highest),
    0,
  );
  const topOf = (line: Picture): number => (line.unit === "bytes" ? topOfBytes : seenPeak(line));
  const peakText = (line: Picture): string => `peak ${humanValue(line.peak ?? seenPeak(line), line.unit)}`;
  const labelWidth = Math.max(...lines.map((line) => line.label.length)) + 1;
  const peakWidth = Math.max(...lines.map((line) => peakText(line).length));
  const width = Math.min(80, options.width - INDENT - labelWidth - 2 - peakWidth);
  if (width < 8) return "";
  return groups
    .map((group) => {
      const drawn = group.lines
        .filter((line) => line.series.length > 1)
        .map((line) => {
          const blocks = options.paint.cyan(sparkline(line.series, width, topOf(line), options.ascii));
          return `${" ".repeat(INDENT)}${line.label.padEnd(labelWidth)}${blocks}  ${peakText(line)}`;
        });
      const title = group.title === "" ? [] : [`  ${options.paint.bold(group.title)}`];
      return [...title, ...drawn].join("\n");
    })
    .join("\n\n");
}

/** Breaks a list of words at the width, between items only. */
function joinWithin(items: readonly string[], separator: string, width: number): string {
  const lines = [""];
  for (const item of items) {
    const last = lines[lines.length - 1];
    if (last === "") lines[lines.length - 1] = item;
    else if (last.length + separator.length + item.length <= width)
      lines[lines.length - 1] = `${last}${separator}${item}`;
    else lines.push(item);
  }
  return lines.join("\n");
}

/** The whole summary, ending in a line feed. `runs` holds the scenario itself first, then its variants. */
export function terminalSummary(
  runs: readonly FinishedRun[],
  written: readonly string[],
  options: TerminalOptions,
): string {
  const { summary } = runs[0];
  const { scenario, versions } = summary;
  const separator = options.ascii ? ", " : " · ";
  const settings = joinWithin(
    [
      `${humanNs(scenario.duration)} of virtual time`,
      `Go ${scenario.go.version}`,
      `GOGC=${scenario.go.GOGC}`,
      ...(scenario.go.GOMEMLIMIT === "off"
        ? []
        : [`GOMEMLIMIT=${humanValue(scenario.go.GOMEMLIMIT, "bytes")}`]),
      `GOMAXPROCS=${scenario.go.GOMAXPROCS}`,
      `${scenario.machine.cpus} ${scenario.machine.cpus === 1 ? "CPU" : "CPUs"}`,
    ],
    separator,
    options.width,
  );
  const provenance = joinWithin(
    [
      `gomemsim ${versions.gomemsim}`,
      `model ${versions.model}`,
      `seed ${summary.seed}`,
      `profile ${summary.profile.name}`,
    ],
    separator,
    options.width,
  );
  const parts = [
    `${options.paint.bold(scenario.name)}\n${settings}\n${options.paint.dim(provenance)}`,
    pictures(runs, options),
    tables(runs, options),
    written.map((line) => options.paint.dim(line)).join("\n"),
  ];
  const text = `${parts.filter((part) => part !== "").join("\n\n")}\n`;
  return options.ascii ? text.replaceAll("µ", "u") : text;
}
