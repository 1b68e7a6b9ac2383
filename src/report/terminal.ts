/**
 * The summary a run prints: one-line pictures of the heap, then the headline figures, variants side by side.
 *
 * Pure: the caller says how wide the terminal is, whether it takes colour and block characters. Lines keep to
 * the width down to 40: variants that do not fit go to a further table, and where not even two runs fit beside each
 * other the figures become plain `name: value` lines.
 */
import Table from "cli-table3";
import type { PhaseSummary } from "../phases.ts";
import { median } from "../sim/quantiles.ts";
import type { RunSummary } from "../simulate.ts";
import type { Verdict } from "../thresholds.ts";
import { humanNs, humanValue, NO_BYTES_LIMIT, type Unit } from "./format.ts";
import { containerLimits, headlinesOf, limitWords, phaseHeadlines } from "./headlines.ts";
import { type SeriesSketch, sparkline } from "./sketch.ts";

/** What a run leaves behind beside its summary, gathered while it streamed. All small. */
export interface RunDigest {
  readonly heapInuse: SeriesSketch["peaks"];
  readonly goal: SeriesSketch["peaks"];
  readonly rss: SeriesSketch["peaks"];
  /** The longest sum of a cycle's two pauses, nanoseconds; 0 where no cycle ended. */
  readonly pause: SeriesSketch["peaks"];
  /** CPU of the last cycle as a share of what the process could use since the one before it. */
  readonly gcCpuShare: SeriesSketch["peaks"];
  /** 99th percentile of latency, nanoseconds; 0 where no request ended. */
  readonly latencyP99: SeriesSketch["peaks"];
}

export interface FinishedRun {
  readonly summary: RunSummary;
  readonly digest: RunDigest;
  /** What came of the scenario's thresholds. */
  readonly verdicts: readonly Verdict[];
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

export interface Row {
  readonly label: string;
  /** One text per variant; undefined for a group's heading. */
  readonly cells: readonly string[] | undefined;
}

/** Runs of one variant, which differ in their seeds. */
type Seeds = readonly FinishedRun[];

function bySeeds(runs: readonly FinishedRun[]): Seeds[] {
  const groups = new Map<string, FinishedRun[]>();
  for (const run of runs) {
    const group = groups.get(runLabel(run));
    if (group === undefined) groups.set(runLabel(run), [run]);
    else group.push(run);
  }
  return [...groups.values()];
}

/** `117 MiB`; over seeds the median with the least and the greatest relative to it, `117 MiB -1.7/+2.1 %`. */
function valueText(values: readonly (number | undefined)[], unit: Unit): string {
  const sorted = values
    .filter((value) => value !== undefined && Number.isFinite(value))
    .sort((a, b) => Number(a) - Number(b)) as number[];
  if (sorted.length === 0) return "-";
  const middle = median(sorted);
  const text = humanValue(middle, unit);
  const [least, greatest] = [sorted[0], sorted[sorted.length - 1]];
  const some = sorted.length < values.length ? ` (${sorted.length} of ${values.length})` : "";
  if (least === greatest) return text + some;
  if (middle === 0) return `${text}, max ${humanValue(greatest, unit)}${some}`;
  const off = (value: number): string => {
    const percent = Math.abs((value / middle - 1) * 100);
    return percent.toFixed(percent < 9.95 ? 1 : 0);
  };
  return `${text} -${off(least)}/+${off(greatest)} %${some}`;
}

function verdictText(verdicts: readonly (Verdict | undefined)[], ascii: boolean): string {
  const judged = verdicts.filter((verdict) => verdict !== undefined);
  if (judged.length === 0) return "-";
  const breaches = judged.filter((verdict) => !verdict.passed).length;
  const mark = breaches === 0 ? (ascii ? "ok" : "✓") : ascii ? "BREACH" : "✗";
  const share = breaches > 0 && judged.length > 1 ? ` ${breaches} of ${judged.length},` : "";
  const { unit } = judged[0];
  const values = judged.map((verdict) => verdict.value);
  return `${mark}${share} ${values.every(Number.isNaN) ? "no value" : valueText(values, unit)}`;
}

/** A row for each threshold that some variant has. */
function thresholdRows(variants: readonly Seeds[], ascii: boolean): Row[] {
  const label = ({ metric, expression }: Verdict): string => `${metric}: ${expression}`;
  const labels = new Set(variants.flat().flatMap((run) => run.verdicts.map(label)));
  return [...labels].map((name) => ({
    label: name,
    cells: variants.map((seeds) =>
      verdictText(
        seeds.map((run) => run.verdicts.find((verdict) => label(verdict) === name)),
        ascii,
      ),
    ),
  }));
}

function tableRows(variants: readonly Seeds[], ascii: boolean): Row[] {
  const runs = variants.flat();
  const rows: Row[] = [];
  for (const group of headlinesOf(runs.flatMap((run) => Object.keys(run.summary.figures)))) {
    const filled: Row[] = [];
    for (const row of group.rows) {
      const values = variants.map((seeds) => seeds.map((run) => run.summary.figures[row.figure]));
      const all = values.flat();
      if (all.every((value) => value === undefined || !Number.isFinite(value))) continue;
      if (row.ifDifferent && all.every((value) => value === all[0])) continue;
      filled.push({ label: row.label, cells: values.map((seeds) => valueText(seeds, row.unit)) });
    }
    if (filled.length > 0) rows.push({ label: group.name, cells: undefined }, ...filled);
  }
  const thresholds = thresholdRows(variants, ascii);
  if (thresholds.length > 0) rows.push({ label: "Thresholds", cells: undefined }, ...thresholds);
  return rows;
}

/** A run that an OOM kill ends is shorter than planned. */
const ranSeconds = ({ summary: { figures, scenario } }: FinishedRun): number =>
  figures["ran_seconds"] ?? scenario.duration / 1e9;

/** How a run is called in a table; the scenario itself is the variant `base`. */
export const runLabel = (run: FinishedRun): string => run.summary.scenario.variant;

const INDENT = 2;
const COLUMN_GAP = 3;
const MIN_TABLE_WIDTH = 40;

/** A borderless table: a head, a rule under it, labels left, figures right. */
export function renderTable(head: readonly string[], rows: readonly Row[], options: TerminalOptions): string {
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

/** More stretches than this stand in summary.json only. */
const MAX_PHASES = 12;

/** What happened from phase to phase, side by side, of each variant. */
function phaseTables(variants: readonly Seeds[], options: TerminalOptions): string[] {
  return variants.flatMap((seeds) => {
    const names = [...new Set(seeds.flatMap(({ summary }) => summary.phases ?? []).map(({ name }) => name))];
    if (names.length === 0) return [];
    const shown = names.slice(0, MAX_PHASES);
    const stretches = shown.map((name) =>
      seeds.map(({ summary }) => summary.phases?.find((phase) => phase.name === name)),
    );
    const cells = (unit: Unit, value: (phase: PhaseSummary) => number | undefined, none = "-"): string[] =>
      stretches.map((of) => {
        const values = of.map((phase) => (phase === undefined ? undefined : value(phase)));
        return values.every((one) => one === undefined) ? none : valueText(values, unit);
      });
    const title = variants.length > 1 ? `Phases of ${runLabel(seeds[0])}` : "Phases";
    const figures = stretches.flatMap((of) => of.flatMap((phase) => Object.keys(phase?.figures ?? {})));
    const rows: Row[] = [
      { label: title, cells: undefined },
      { label: "from", cells: cells("seconds", ({ from_seconds }) => from_seconds, "never began") },
      {
        label: "for",
        cells: cells("seconds", ({ from_seconds, to_seconds }) =>
          from_seconds === undefined || to_seconds === undefined ? undefined : to_seconds - from_seconds,
        ),
      },
      ...phaseHeadlines(figures).map(({ label, figure, unit }) => ({
        label,
        cells: cells(unit, (phase) => phase.figures[figure]),
      })),
    ];
    const more = names.length - shown.length;
    return [fitted(shown, rows, options) + (more > 0 ? `\n  and ${more} more phases, in summary.json` : "")];
  });
}

function tables(variants: readonly Seeds[], options: TerminalOptions): string {
  const labels = variants.map((seeds) => runLabel(seeds[0]));
  return fitted(labels, tableRows(variants, options.ascii ?? false), options);
}

/** Splits the columns into tables that fit; the first one stands in each, because it is what the others are compared with. */
function fitted(labels: readonly string[], rows: readonly Row[], options: TerminalOptions): string {
  const labelWidth = Math.max(...rows.map((row) => row.label.length + 2));
  const cellWidth = (column: number): number =>
    COLUMN_GAP + Math.max(labels[column].length, ...rows.map((row) => row.cells?.[column].length ?? 0));
  const widest = labels.reduce((width, _, i) => (i === 0 ? width : Math.max(width, cellWidth(i))), 0);
  const narrowest = INDENT + labelWidth + cellWidth(0) + widest;
  if (options.width < MIN_TABLE_WIDTH || narrowest > options.width) {
    return labels
      .map((_, i) =>
        rows
          .map((row) => (row.cells === undefined ? `${row.label}` : `  ${row.label}: ${row.cells[i]}`))
          .concat(labels.length > 1 ? [""] : [])
          .join("\n"),
      )
      .map((text, i) => (labels.length > 1 ? `[${labels[i]}]\n${text}` : text))
      .join("\n");
  }
  const chunks: number[][] = [[0]];
  let used = INDENT + labelWidth + cellWidth(0);
  for (let i = 1; i < labels.length; i++) {
    const last = chunks[chunks.length - 1];
    if (used + cellWidth(i) <= options.width) {
      last.push(i);
      used += cellWidth(i);
    } else {
      chunks.push([0, i]);
      used = INDENT + labelWidth + cellWidth(0) + cellWidth(i);
    }
  }
  return chunks
    .map((chunk) =>
      renderTable(
        ["", ...chunk.map((i) => labels[i])],
        rows.map((row) => ({ label: row.label, cells: row.cells && chunk.map((i) => row.cells![i]) })),
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
  readonly seconds: number;
}

function picturesOf(run: FinishedRun): Picture[] {
  const { figures } = run.summary;
  const { heapInuse, goal, rss } = run.digest;
  const seconds = ranSeconds(run);
  return [
    { label: "HeapInuse", series: heapInuse, unit: "bytes", peak: figures["heap_inuse_peak_bytes"], seconds },
    { label: "GC goal", series: goal, unit: "bytes", peak: figures["goal_peak_bytes"], seconds },
    { label: "RSS", series: rss, unit: "bytes", peak: figures["rss_peak_bytes"], seconds },
  ];
}

/** What a single run has room for, too; without what never happened. */
function morePictures(run: FinishedRun): Picture[] {
  const { digest } = run;
  const seconds = ranSeconds(run);
  const pictures: readonly Picture[] = [
    { label: "pauses", series: digest.pause, unit: "ns", peak: run.summary.figures["pause_max_ns"], seconds },
    { label: "GC CPU", series: digest.gcCpuShare, unit: "fraction", peak: undefined, seconds },
    { label: "p99", series: digest.latencyP99, unit: "ns", peak: undefined, seconds },
  ];
  return pictures.filter(({ series }) => series.some((value) => value > 0));
}

/** The run as lines of blocks over time, on one scale of time and one of bytes so that runs compare. */
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
  const longest = Math.max(...lines.map((line) => line.seconds));
  // One axis of time, with a cell no shorter than a bucket of any series.
  const buckets = Math.min(...lines.map((line) => Math.floor((line.series.length * longest) / line.seconds)));
  const axis = Math.min(width, buckets);
  const cells = (line: Picture): number => Math.max(1, Math.round((axis * line.seconds) / longest));
  return groups
    .map((group) => {
      const drawn = group.lines
        .filter((line) => line.series.length > 1)
        .map((line) => {
          const blocks = sparkline(line.series, cells(line), topOf(line), options.ascii).padEnd(axis);
          return `${" ".repeat(INDENT)}${line.label.padEnd(labelWidth)}${options.paint.cyan(blocks)}  ${peakText(line)}`;
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

/**
 * The whole summary, ending in a line feed. `runs` holds the scenario itself first, then its variants; runs of one variant with
 * several seeds follow each other.
 */
export function terminalSummary(
  runs: readonly FinishedRun[],
  written: readonly string[],
  options: TerminalOptions,
): string {
  const { summary } = runs[0];
  const { scenario, versions } = summary;
  const variants = bySeeds(runs);
  const seeds = variants[0].length;
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
      ...limitWords(containerLimits(scenario.container)),
    ],
    separator,
    options.width,
  );
  const provenance = joinWithin(
    [
      `gomemsim ${versions.gomemsim}`,
      `model ${versions.model}`,
      seeds === 1 ? `seed ${summary.seed}` : `${seeds} seeds from ${summary.seed}`,
      `profile ${summary.profile.name}`,
    ],
    separator,
    options.width,
  );
  const hypothetical = runs.flatMap(({ summary: { hypothetical = [], scenario: of } }) =>
    hypothetical.map((what) => `${runs.length > 1 ? `${of.variant}: ` : ""}${what}`),
  );
  const ofSeeds =
    "medians over seeds, with the least and the greatest relative to them; pictures of the first";
  const parts = [
    ...(hypothetical.length > 0
      ? [`HYPOTHETICAL ${joinWithin(hypothetical, separator, options.width)}`]
      : []),
    [options.paint.bold(scenario.name), settings, options.paint.dim(provenance)]
      .concat(seeds === 1 ? [] : [joinWithin(ofSeeds.split(" "), " ", options.width)])
      .join("\n"),
    pictures(
      variants.map((group) => group[0]),
      options,
    ),
    tables(variants, options),
    ...phaseTables(variants, options),
    written.map((line) => options.paint.dim(line)).join("\n"),
  ];
  const text = `${parts.filter((part) => part !== "").join("\n\n")}\n`;
  return options.ascii ? text.replaceAll("µ", "u") : text;
}
