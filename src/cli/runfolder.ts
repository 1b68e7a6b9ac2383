/**
 * Reads what `run` wrote: summary.json, timeseries.csv and cycles.csv of one run's folder, typed and checked.
 *
 * Files are read in pieces, and of a series no more points are kept than a picture shows, so that memory does not grow with the run.
 * Only the columns that are wanted are taken apart. What is damaged, cut off, or written by another program or another format
 * of ours is refused in one line that says where and what to do. summary.json is written last by `run`, so a folder that has one
 * was finished.
 */
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import * as z from "zod";
import { CYCLE_COLUMNS, type CycleRow } from "../report/cycles.ts";
import { type Unit, unitOf } from "../report/format.ts";
import { PLOT_POINTS } from "../report/panels.ts";
import { type StoredVerdict, SUMMARY_FORMAT } from "../report/summary.ts";
import { BoundedTable } from "../report/table.ts";
import type { Column } from "../report/timeseries.ts";
import { nearest } from "../scenario/faults.ts";
import { BASE_VARIANT } from "../scenario/variant.ts";
import { type CycleRecord, type RunSummary, SAMPLE_COLUMNS } from "../simulate.ts";
import { CliError, EXIT, errorCode, reasonOf } from "./exit.ts";

const figures = z
  .record(z.string(), z.number().nullable())
  .transform((of) => Object.fromEntries(Object.entries(of).map(([name, x]) => [name, x ?? Number.NaN])));

/**
 * What every reader relies on. The rest of the object is as `summaryJson` wrote it: `format` vouches for its shape, and JSON for its
 * being whole.
 */
const head = z.looseObject({
  format: z.literal(SUMMARY_FORMAT),
  versions: z.object({ gomemsim: z.string(), model: z.string() }),
  name: z.string(),
  variant: z.string(),
  seed: z.union([z.number(), z.string()]),
  profile: z.string(),
  figures,
  events: z.array(z.looseObject({ t_seconds: z.number(), event: z.string(), reason: z.string() })),
  scenario: z.looseObject({
    name: z.string(),
    variant: z.string(),
    duration: z.number().positive(),
    sample_interval: z.number().positive(),
    go: z.looseObject({ version: z.string(), GOMAXPROCS: z.number() }),
    machine: z.looseObject({ cpus: z.number() }),
    workload: z.array(z.looseObject({ kind: z.string(), name: z.string() })),
  }),
  machine_profile: z.looseObject({}),
  heap_at_end: z.looseObject({ size_classes: z.array(z.looseObject({})), components: z.looseObject({}) }),
  address_space_at_end: z.looseObject({}),
});

/** summary.json: the run's summary, with the profile's name where the run had the profile. */
export type StoredSummary = Omit<RunSummary, "profile"> & {
  readonly name: string;
  readonly variant: string;
  readonly profile: string;
  readonly machine_profile: RunSummary["profile"];
  readonly thresholds?: readonly StoredVerdict[];
};

/** Columns of timeseries.csv. */
export interface RunSeries {
  /** The columns read, in the file's order. */
  readonly columns: readonly Column[];
  /** Rows of the file. */
  readonly rows: number;
  /** By column: a value per row, or of a long run the extremes of as many rows each as leave PLOT_POINTS; NaN where there is none. */
  readonly samples: Readonly<Record<string, Float64Array>>;
}

const damaged = (path: string, what: string): CliError =>
  new CliError(EXIT.input, `${path}: ${what}; write the run again with \`gomemsim run\``);

const READ_BYTES = 1 << 18;
/** No line of ours is longer; a file without line feeds is not one of ours. */
const MAX_LINE_CHARS = 1 << 20;

/** Calls back with each line, line feed excluded. A last line without one was cut off in the middle. */
function eachLine(path: string, line: (text: string, number: number) => void): void {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    throw new CliError(EXIT.input, `${path}: cannot be read: ${reasonOf(error)}`, { cause: error });
  }
  try {
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    const decoder = new TextDecoder();
    let rest = "";
    let number = 0;
    for (;;) {
      let count: number;
      try {
        count = readSync(fd, buffer);
      } catch (error) {
        throw new CliError(EXIT.input, `${path}: cannot be read: ${reasonOf(error)}`, { cause: error });
      }
      if (count === 0) break;
      const text = rest + decoder.decode(buffer.subarray(0, count), { stream: true });
      let start = 0;
      for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", start)) {
        line(text.slice(start, end), ++number);
        start = end + 1;
      }
      rest = text.slice(start);
      if (rest.length > MAX_LINE_CHARS) throw damaged(path, `line ${number + 1} has no end`);
    }
    if (rest !== "") throw damaged(path, `line ${number + 1} is cut off`);
    if (number === 0) throw damaged(path, "is empty");
  } finally {
    closeSync(fd);
  }
}

/** A CSV cell of ours as a number: an empty one has no value. */
function cellNumber(cell: string, path: string, line: number, column: string): number {
  if (cell === "") return Number.NaN;
  const value = Number(cell);
  if (Number.isNaN(value))
    throw damaged(path, `line ${line}: ${column} is not a number: "${cell.slice(0, 40)}"`);
  return value;
}

const UNITS: ReadonlyMap<string, Unit> = new Map(SAMPLE_COLUMNS.map(({ name, unit }) => [name, unit]));

/** The heading, told once, gives the visitor of the rows, and which columns it wants; all unless it says. The row's array is reused. */
export type SampleVisitor = (columns: readonly Column[]) => {
  readonly wants?: (column: Column) => boolean;
  readonly row: (row: Float64Array) => void;
};

/** Goes over timeseries.csv row by row; columns that are not wanted are NaN. */
export function scanSamples(folder: string, visitor: SampleVisitor): void {
  const path = join(folder, "timeseries.csv");
  let columns: readonly Column[] = [];
  let wanted: readonly boolean[] = [];
  let row = new Float64Array(0);
  let visit: (row: Float64Array) => void = () => {};
  eachLine(path, (text, number) => {
    if (number === 1) {
      const names = text.split(",");
      if (names[0] !== "t_seconds") throw damaged(path, "does not begin with a heading of ours");
      columns = names.map((name) => ({ name, unit: UNITS.get(name) ?? unitOf(name) }));
      row = new Float64Array(columns.length).fill(Number.NaN);
      const { wants, row: visitRow } = visitor(columns);
      wanted = columns.map((column) => wants?.(column) ?? true);
      visit = visitRow;
      return;
    }
    const last = wanted.length - 1;
    let start = 0;
    for (let i = 0; i <= last; i++) {
      const comma = text.indexOf(",", start);
      if (comma < 0 !== (i === last))
        throw damaged(
          path,
          `line ${number} has ${text.split(",").length} cells where the heading has ${columns.length}`,
        );
      if (wanted[i])
        row[i] = cellNumber(text.slice(start, i === last ? undefined : comma), path, number, columns[i].name);
      start = comma + 1;
    }
    visit(row);
  });
}

const REASONS: readonly string[] = ["heap", "periodic", "explicit"] satisfies CycleRecord["reason"][];

/** Goes over cycles.csv; every record is a new one. */
export function scanCycles(folder: string, visit: (cycle: CycleRow) => void): void {
  const path = join(folder, "cycles.csv");
  const names = CYCLE_COLUMNS.map((column) => column.name);
  eachLine(path, (text, number) => {
    const cells = text.split(",");
    if (number === 1) {
      if (text !== names.join(",")) throw damaged(path, "has other columns than this version writes");
      return;
    }
    if (cells.length !== names.length)
      throw damaged(path, `line ${number} has ${cells.length} cells where the heading has ${names.length}`);
    const record = Object.fromEntries(
      names.map((name, i): [string, number | string | boolean] => [
        name,
        name === "reason"
          ? cells[i]
          : name === "forced"
            ? cells[i] === "1"
            : cellNumber(cells[i], path, number, name),
      ]),
    );
    if (!REASONS.includes(String(record["reason"])))
      throw damaged(
        path,
        `line ${number}: "${String(record["reason"]).slice(0, 40)}" is no reason for a cycle`,
      );
    // The heading is CYCLE_COLUMNS', which has every key of a CycleRow.
    visit(record as unknown as CycleRow);
  });
}

/** A folder beside the one that is not there, with a similar name. */
function similarFolder(path: string): string | undefined {
  const full = resolve(path);
  try {
    const names = readdirSync(dirname(full), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
    const near = nearest(basename(full), names);
    return near === undefined ? undefined : join(dirname(path), near);
  } catch {
    return undefined;
  }
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() === true;

/** seed=9 before seed=10, gogc-50 before gogc-200. */
const byNumber = (a: string, b: string): number => a.localeCompare(b, "en", { numeric: true });

/** Folders below that hold a run, by name. */
function runsBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && isFile(join(folder, entry.name, "summary.json")))
    .map((entry) => entry.name)
    .sort(byNumber);
}

/** Only summary.json. */
export function readSummary(path: string): StoredSummary {
  const file = join(path, "summary.json");
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw notARun(path, error);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw damaged(file, "is not whole, or not JSON");
  }
  const parsed = head.safeParse(json);
  // As it was written: the check has its own order of keys.
  if (parsed.success)
    return { ...(json as object), figures: parsed.data.figures } as unknown as StoredSummary;
  const format: unknown =
    typeof json === "object" && json !== null && "format" in json ? json.format : undefined;
  if (typeof format === "number" && format !== SUMMARY_FORMAT)
    throw damaged(file, `has format ${format}, and this gomemsim reads format ${SUMMARY_FORMAT}`);
  const [issue] = parsed.error.issues;
  const where = issue.path.length === 0 ? "it" : `\`${issue.path.join(".")}\``;
  throw new CliError(EXIT.input, `${file}: not a summary of \`gomemsim run\`: ${where}: ${issue.message}`);
}

function notARun(path: string, cause: unknown): CliError {
  const say = (what: string): CliError => new CliError(EXIT.input, `${path}: ${what}`, { cause });
  if (isFile(path)) return say(`is a file; name the folder of a run, such as ${dirname(path)}`);
  if (!isFolder(path)) {
    const near = similarFolder(path);
    return say(
      `cannot be read: ${reasonOf(cause)}${near === undefined ? "; runs are written by `gomemsim run`" : `; did you mean ${near}?`}`,
    );
  }
  const code = errorCode(cause);
  if (code !== undefined && code !== "ENOENT") return say(`summary.json cannot be read: ${reasonOf(cause)}`);
  const below = runsBelow(path);
  const hint =
    below.length === 0
      ? "name the folder of a run, such as out/web-api"
      : `did you mean ${join(path, below[0])}?`;
  return say(`is not the folder of a run: it has no summary.json; ${hint}`);
}

/** Reads columns of a run: those named, without which it is refused, and of the others those that it has. The time is always
 * among them. */
export function readSeries(
  path: string,
  named: readonly string[],
  others: readonly string[] = [],
): RunSeries {
  let kept: readonly Column[] = [];
  let table: BoundedTable | undefined;
  scanSamples(path, (columns) => {
    const names = columns.map((column) => column.name);
    for (const name of named) {
      if (names.includes(name)) continue;
      const near = nearest(name, names);
      throw new CliError(
        EXIT.input,
        `${join(path, "timeseries.csv")}: has no column ${name}${near === undefined ? "" : `; did you mean ${near}?`}`,
      );
    }
    const wants = ({ name }: Column): boolean =>
      name === names[0] || named.includes(name) || others.includes(name);
    kept = columns.filter(wants);
    const places = Int32Array.from(kept, ({ name }) => names.indexOf(name));
    const values = new Float64Array(kept.length);
    const made = new BoundedTable(
      kept.map(({ name }) => ({ name, scale: 1 })),
      PLOT_POINTS,
    );
    table = made;
    return {
      wants,
      row: (row) => {
        for (let i = 0; i < places.length; i++) values[i] = row[places[i]];
        made.add(values);
      },
    };
  });
  // A heading is told of every file that is not refused.
  const read = table!;
  return {
    columns: kept,
    rows: read.rows,
    samples: Object.fromEntries(kept.map(({ name }) => [name, read.column(name)])),
  };
}

/** The page with several runs, and pictures of one, as other commands name them in a run's folder unless told otherwise. */
export const OVERLAY = "overlay.html";
export const plotName = (format: "svg" | "png"): string => `plot.${format}`;
export const isDerivedName = (name: string): boolean =>
  [OVERLAY, plotName("svg"), plotName("png")].includes(name);

/** Folder of one seed's run. An equals sign, which no variant's name has; DuckDB and its like read it as a column. */
export const seedFolder = (seed: number): string => `seed=${seed}`;
const SEED_FOLDER = /^seed=-?\d+$/;

/** Runs that differ in their seeds only: what a column of a comparison is made of. */
export interface RunGroup {
  /** As the user named it, or the variant's folder in it. */
  readonly path: string;
  readonly variant: string;
  /** The runs' folders, in the order of their seeds. */
  readonly runs: readonly string[];
}

/** The folder itself and those of seeds in it, as far as they hold a run. */
export function runFoldersOf(folder: string): string[] {
  if (!isFolder(folder)) return [];
  const seeds = runsBelow(folder).filter((name) => SEED_FOLDER.test(name));
  return [
    ...(isFile(join(folder, "summary.json")) ? [folder] : []),
    ...seeds.map((name) => join(folder, name)),
  ];
}

/** The runs a folder stands for: itself, or its seeds. */
export function readGroup(path: string): RunGroup {
  const found = runFoldersOf(path);
  const runs = found.length === 0 || found[0] === path ? [path] : found;
  return { path, variant: readSummary(runs[0]).variant, runs };
}

/** The folder's own runs first, then those of the variants in it. */
export function readVariants(path: string): RunGroup[] {
  const base = readGroup(path);
  if (base.variant !== BASE_VARIANT) return [base];
  const { name } = readSummary(base.runs[0]);
  const variants = readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !SEED_FOLDER.test(entry.name))
    .map((entry) => join(path, entry.name))
    .sort(byNumber)
    .filter((folder) => runFoldersOf(folder).length > 0)
    .map(readGroup)
    .filter((group) => {
      const summary = readSummary(group.runs[0]);
      return summary.name === name && summary.variant === basename(group.path);
    });
  return [base, ...variants];
}
