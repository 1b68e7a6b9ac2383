/**
 * A comparison of runs as a table for a terminal, as Markdown, CSV and JSON.
 *
 * The first side is what the others are compared with. Over several runs a value is a median with its confidence interval, and a difference
 * that may be chance is `~`, as benchstat writes them. Of single runs the difference is told as it is, for there is nothing to test.
 */
// The library's browser build: the other one needs Node's Buffer as soon as it is loaded, and reports run in pages too.
import { stringify } from "csv-stringify/browser/esm/sync";
import type { Unit } from "../sim/units.ts";
import { humanValue, plainNumber } from "./format.ts";
import { groupFigures } from "./headlines.ts";
import type { ComparisonTexts } from "./reportdata.ts";
import { type Row, renderTable, type TerminalOptions } from "./terminal.ts";

export interface Side {
  readonly label: string;
  readonly runs: number;
}

export interface ComparisonCell {
  /** Runs that have a value. */
  readonly n: number;
  readonly median: number;
  /** Infinite where there are too few runs for the confidence. */
  readonly low: number;
  readonly high: number;
  /** With the first side; absent for itself, and where one of the two has no value. */
  readonly against?: {
    readonly difference: number;
    /** Of the first side's median; absent where that is 0. */
    readonly fraction?: number;
    /** Of the U test, and what it says at alpha; absent between single runs. */
    readonly p?: number;
    readonly differs?: boolean;
  };
}

export interface ComparisonRow {
  readonly name: string;
  readonly unit: Unit;
  /** One per side. */
  readonly cells: readonly ComparisonCell[];
}

export interface Comparison {
  readonly alpha: number;
  readonly confidence: number;
  readonly sides: readonly Side[];
  readonly rows: readonly ComparisonRow[];
}

/** The rows of gctrace, in the order of its line. */
const GCTRACE_LABELS: Readonly<Record<string, string>> = {
  gctrace_interval_seconds: "interval between cycles",
  gctrace_sweep_term_ns: "pause: sweep termination",
  gctrace_mark_ns: "concurrent mark",
  gctrace_mark_term_ns: "pause: mark termination",
  gctrace_assist_cpu_ns: "CPU: assists",
  gctrace_background_cpu_ns: "CPU: background workers",
  gctrace_idle_cpu_ns: "CPU: idle workers",
  gctrace_heap_start_bytes: "heap at the start",
  gctrace_heap_end_bytes: "heap at the end (peak)",
  gctrace_heap_marked_bytes: "heap marked (live)",
  gctrace_heap_marked_variation_fraction: "heap marked, deviation / mean",
  gctrace_goal_bytes: "goal",
  gctrace_stacks_bytes: "stacks",
};

interface Group {
  readonly name: string;
  readonly rows: readonly { readonly label: string; readonly row: ComparisonRow }[];
}

function groupsOf({ rows }: Comparison): Group[] {
  const byName = new Map(rows.map((row) => [row.name, row]));
  const gctrace = Object.entries(GCTRACE_LABELS).flatMap(([name, label]) => {
    const row = byName.get(name);
    byName.delete(name);
    return row === undefined ? [] : [{ label, row }];
  });
  const groups = groupFigures([...byName.keys()]).map(({ name, rows: labelled }) => ({
    name,
    rows: labelled.map(({ label, figure }) => ({ label: label.trim(), row: byName.get(figure)! })),
  }));
  const other = groups.findIndex((group) => group.name === "Other");
  groups.splice(other < 0 ? groups.length : other, 0, {
    name: "gctrace, median of the cycles",
    rows: gctrace,
  });
  return groups.filter((group) => group.rows.length > 0);
}

/** `±2 %`: how far the interval reaches from the median, as benchstat has it. */
function rangeText({ median, low, high, n }: ComparisonCell, ascii: boolean): string {
  if (n < 2) return "";
  const sign = ascii ? " +-" : " ±";
  if (!Number.isFinite(low) || !Number.isFinite(high)) return `${sign}${ascii ? "inf" : "∞"}`;
  if (low === high) return `${sign}0 %`;
  if (Math.sign(low) !== Math.sign(median) || Math.sign(high) !== Math.sign(median)) return `${sign}?`;
  const share = Math.max(high / median - 1, 1 - low / median);
  return `${sign}${(share * 100).toFixed(0)} %`;
}

function valueText(cell: ComparisonCell, { runs }: Side, unit: Unit, ascii: boolean): string {
  if (cell.n === 0) return "-";
  const some = cell.n < runs ? ` (${cell.n} of ${runs})` : "";
  return `${humanValue(cell.median, unit)}${rangeText(cell, ascii)}${some}`;
}

function differenceText({ against }: ComparisonCell, unit: Unit): string {
  if (against === undefined) return "";
  const { difference, fraction, p, differs } = against;
  const sign = difference < 0 ? "" : "+";
  const size =
    difference === 0
      ? "="
      : fraction === undefined
        ? `${sign}${humanValue(difference, unit)}`
        : `${sign}${(fraction * 100).toFixed(Math.abs(fraction) < 0.0995 ? 1 : 0)} %`;
  if (p === undefined) return size;
  return `${differs ? size : "~"} (${p < 0.0005 ? "p<0.001" : `p=${p.toFixed(3)}`})`;
}

/** The smallest number of runs for which a median's interval is finite. */
export const MIN_FOR_INTERVAL = 6;
/** The smallest number of runs a side for which the U test can find a difference at 0.05: 2 / C(8, 4) = 0.029. */
export const MIN_FOR_TEST = 4;

/** What too few runs leave open. */
function caveats({ sides, confidence, alpha }: Comparison, ascii: boolean): string[] {
  const fewest = Math.min(...sides.map((side) => side.runs));
  const percent = `${confidence * 100} %`;
  if (sides.every((side) => side.runs === 1))
    return sides.length === 1
      ? []
      : ["One run each: a difference may be chance. `run --seeds 10` tells, with a test and intervals."];
  return [
    ...(fewest < MIN_FOR_INTERVAL
      ? [`Intervals hold the median with ${percent} from ${MIN_FOR_INTERVAL} runs a side on.`]
      : []),
    ...(sides.length > 1 && sides.every((side) => side.runs < MIN_FOR_TEST)
      ? [`No difference can be told from chance at ${alpha} with fewer than ${MIN_FOR_TEST} runs a side.`]
      : []),
    `Medians ${ascii ? "+-" : "±"} ${percent} interval; ~ is no difference at ${alpha} (Mann-Whitney U).`,
  ];
}

/**
 * `head`: lines above it, such as what the sides differ in. As wide as the terminal allows: all sides in a table, else a table for each
 * with the first, else plain lines.
 */
export function comparisonTable(
  comparison: Comparison,
  head: readonly string[],
  options: TerminalOptions,
): string {
  const ascii = options.ascii ?? false;
  const { sides } = comparison;
  const groups = groupsOf(comparison);
  const build = (others: readonly number[]): { readonly heads: string[]; readonly rows: Row[] } => ({
    heads: ["", sides[0].label, ...others.flatMap((i) => [sides[i].label, "difference"])],
    rows: groups.flatMap(({ name, rows }): Row[] => [
      { label: name, cells: undefined },
      ...rows.map(({ label, row }) => ({
        label,
        cells: [
          valueText(row.cells[0], sides[0], row.unit, ascii),
          ...others.flatMap((i) => [
            valueText(row.cells[i], sides[i], row.unit, ascii),
            differenceText(row.cells[i], row.unit),
          ]),
        ],
      })),
    ]),
  });
  const render = (others: readonly number[]): string | undefined => {
    const { heads, rows } = build(others);
    const text = renderTable(heads, rows, options);
    return textWidth(text) <= options.width ? text : undefined;
  };
  const all = sides.slice(1).map((_, i) => i + 1);
  const whole = render(all);
  const tables = whole !== undefined ? [whole] : all.map((i) => render([i]) ?? plainLines(build([i])));
  const text = [head.join("\n"), ...tables, caveats(comparison, ascii).join("\n")]
    .filter((part) => part !== "")
    .join("\n\n");
  return `${ascii ? text.replaceAll("µ", "u") : text}\n`;
}

const ESCAPES = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, "g");
const textWidth = (text: string): number =>
  Math.max(...text.split("\n").map((line) => [...line.replace(ESCAPES, "")].length));

function plainLines({
  heads,
  rows,
}: {
  readonly heads: readonly string[];
  readonly rows: readonly Row[];
}): string {
  return rows
    .map(({ label, cells }) =>
      cells === undefined
        ? label
        : [
            `  ${label}`,
            ...cells.flatMap((text, i) => (text === "" ? [] : [`    ${heads[i + 1]}: ${text}`])),
          ].join("\n"),
    )
    .join("\n");
}

/** What the table says, for those who lay it out themselves. */
export function comparisonTexts(comparison: Comparison): ComparisonTexts {
  const { sides } = comparison;
  return {
    heads: ["", ...sides.flatMap((side, i) => (i === 0 ? [side.label] : [side.label, "difference"]))],
    groups: groupsOf(comparison).map(({ name, rows }) => ({
      name,
      rows: rows.map(({ label, row: { cells, unit } }) => [
        label,
        ...cells.flatMap((cell, i) => [
          valueText(cell, sides[i], unit, false),
          ...(i === 0 ? [] : [differenceText(cell, unit)]),
        ]),
      ]),
    })),
    notes: caveats(comparison, false),
  };
}

/** A table for documents; a pipe in a name would end its cell. */
export function comparisonMarkdown(comparison: Comparison): string {
  const { heads, groups } = comparisonTexts(comparison);
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |\n`;
  const rows = groups.flatMap(({ name, rows: of }) => [
    line([`**${name}**`, ...heads.slice(1).map(() => "")]),
    ...of.map(line),
  ]);
  return line(heads) + line(heads.map((_, i) => (i === 0 ? "---" : "---:"))) + rows.join("");
}

const CSV_COLUMNS = [
  "metric",
  "unit",
  "side",
  "n",
  "median",
  "low",
  "high",
  "difference",
  "difference_fraction",
  "p",
  "differs",
] as const;

/** A row per metric and side; an empty cell is no value, or an infinite end of an interval. */
export function comparisonCsv({ rows, sides }: Comparison): string {
  const cells = rows.flatMap(({ name, unit, cells }) =>
    cells.map(({ n, median, low, high, against }, i) => {
      const number = (x: number | undefined, of: Unit = unit): string =>
        x === undefined ? "" : plainNumber(x, of);
      return [
        name,
        unit,
        sides[i].label,
        String(n),
        number(median),
        number(low),
        number(high),
        number(against?.difference),
        number(against?.fraction, "fraction"),
        against?.p === undefined ? "" : String(against.p),
        against?.differs === undefined ? "" : String(Number(against.differs)),
      ];
    }),
  );
  return stringify([CSV_COLUMNS, ...cells], { header: false });
}

/** Raised when a key changes its meaning or goes. */
const FORMAT = 1;

export function comparisonJson(comparison: Comparison): string {
  // JSON has neither not-a-number nor infinity: no value, no end.
  const json = JSON.stringify(
    { format: FORMAT, ...comparison },
    (_, x: unknown) => (typeof x === "number" && !Number.isFinite(x) ? null : x),
    2,
  );
  return `${json}\n`;
}
