/**
 * `gomemsim compare RUN...`: folders that `run` wrote, before and after. A folder is one run, or the runs of its seeds; a single
 * folder with variants in it is compared with those.
 */
import { isDeepStrictEqual } from "node:util";
import type { CommandModule } from "yargs";
import {
  CycleFigures,
  compareRuns,
  type Figures,
  type SettingDifference,
  settingDifferences,
} from "../analysis/compare.ts";
import { figuresOfPhases } from "../phases.ts";
import { benchmarkLine } from "../report/benchfmt.ts";
import {
  type Comparison,
  comparisonCsv,
  comparisonJson,
  comparisonMarkdown,
  comparisonTable,
  comparisonTexts,
} from "../report/comparison.ts";
import { reportHtml } from "../report/html.ts";
import { overlayRun } from "../report/overlay.ts";
import { onlyAscii, paintFor, print, widthOf } from "./console.ts";
import { CliError, EXIT } from "./exit.ts";
import { once } from "./options.ts";
import { writeFileWhole } from "./outputs.ts";
import { deflate, pageBundle } from "./page.ts";
import { readOverlay, readReport } from "./report.ts";
import {
  type RunGroup,
  readGroup,
  readSummary,
  readVariants,
  type StoredSummary,
  scanCycles,
} from "./runfolder.ts";

const FORMATS = ["table", "json", "csv", "markdown", "benchstat"] as const;

interface CompareArguments {
  readonly runs: readonly string[];
  readonly format: (typeof FORMATS)[number];
  readonly out: string | undefined;
}

/** One side of the comparison. */
interface Side {
  readonly label: string;
  readonly summary: StoredSummary;
  readonly runs: readonly Figures[];
  /** Of its runs. */
  readonly folders: readonly string[];
}

/** A run's own: all that must be the same in the runs of one side. */
const partsOf = ({ scenario, versions, machine_profile }: StoredSummary): unknown => {
  const { seed: _seed, ...rest } = scenario;
  return { scenario: rest, versions, machine_profile };
};

function readSide(group: RunGroup, label: string): Side {
  const first = readSummary(group.runs[0]);
  const runs = group.runs.map((path): Figures => {
    const summary = readSummary(path);
    if (!isDeepStrictEqual(partsOf(summary), partsOf(first)))
      throw new CliError(
        EXIT.input,
        `${path}: differs from ${group.runs[0]} in more than its seed; write both again with \`gomemsim run --seeds\``,
      );
    const cycles = new CycleFigures();
    scanCycles(path, (cycle) => cycles.add(cycle));
    return { ...summary.figures, ...figuresOfPhases(summary.phases ?? []), ...cycles.figures() };
  });
  return { label, summary: first, runs, folders: group.runs };
}

function readSides(paths: readonly string[]): Side[] {
  if (paths.length === 1) return readVariants(paths[0]).map((group) => readSide(group, group.variant));
  const twice = paths.find((path, i) => paths.indexOf(path) !== i);
  if (twice !== undefined) throw new CliError(EXIT.usage, `compare: ${twice} is named twice`);
  return paths.map((path) => readSide(readGroup(path), path));
}

const MAX_DIFFERENCES = 8;

/** What the sides are and differ in, so that nobody takes one difference for another. */
function headOf(sides: readonly Side[]): string[] {
  const [first, ...others] = sides;
  const text = ({ path, before, after }: SettingDifference): string =>
    `${path} ${before ?? "unset"} -> ${after ?? "unset"}`;
  return others.flatMap(({ label, summary }) => {
    const about = (s: StoredSummary): unknown => ({
      ...s.scenario,
      seed: undefined,
      variant: undefined,
      description: undefined,
      thresholds: undefined,
      model: s.versions.model,
      profile: s.profile,
    });
    const all = settingDifferences(about(first.summary), about(summary)).map(text);
    const more = all.length > MAX_DIFFERENCES ? [`and ${all.length - MAX_DIFFERENCES} more`] : [];
    const what = all.length === 0 ? ["the same settings"] : [...all.slice(0, MAX_DIFFERENCES), ...more];
    return [`${label}: ${what.join(", ")}`];
  });
}

/** A file for benchstat; with several sides each says which it is, for `benchstat -col side`. */
function benchmarkLines(sides: readonly Side[]): string {
  return sides
    .map(({ label, summary, runs }) => {
      const key = sides.length === 1 ? "" : `side: ${label}\n`;
      return key + runs.map((figures) => benchmarkLine(summary.name, figures)).join("");
    })
    .join("");
}

/** The page that lays the sides over each other with their comparison, or of a single run its own; says where it is. */
function writePage(sides: readonly Side[], comparison: Comparison, out: string): string {
  const bundle = pageBundle();
  const [{ folders }] = sides;
  if (sides.length === 1 && folders.length === 1) {
    writeFileWhole(out, reportHtml([readReport(folders[0])], bundle));
    return `wrote ${out}: the run\n`;
  }
  const lines = sides.map((side) => overlayRun(side.folders.map(readOverlay), deflate, side.label));
  writeFileWhole(out, reportHtml(lines, bundle, comparisonTexts(comparison)));
  const most = Math.max(...sides.map(({ runs }) => runs.length));
  return `wrote ${out}: the runs laid over each other${most === 1 ? "" : ", medians over seeds"}\n`;
}

async function compare(args: CompareArguments): Promise<void> {
  const sides = readSides(args.runs);
  const comparison = compareRuns(sides);
  const wrote = args.out === undefined ? "" : writePage(sides, comparison, args.out);
  switch (args.format) {
    case "benchstat":
      return print(benchmarkLines(sides));
    case "json":
      return print(comparisonJson(comparison));
    case "csv":
      return print(comparisonCsv(comparison));
    case "markdown":
      return print(comparisonMarkdown(comparison));
    case "table": {
      const options = { width: widthOf(process.stdout), paint: paintFor(process.stdout), ascii: onlyAscii() };
      const table = comparisonTable(comparison, headOf(sides), options);
      return print(wrote === "" ? table : `${table}\n${wrote}`);
    }
  }
}

export const compareCommand: CommandModule<object, CompareArguments> = {
  command: "compare <runs..>",
  describe: "Compare the runs of output folders, figure by figure, with a test over seeds",
  builder: (yargs) =>
    yargs
      .positional("runs", {
        type: "string",
        array: true,
        demandOption: true,
        describe: "Folders that `run` wrote, the one to compare with first; a single one: its variants",
      })
      .option("format", {
        choices: FORMATS,
        default: "table" as const,
        describe: "benchstat: Go benchmark lines; several runs in one file with `benchstat -col side`",
      })
      .option("out", {
        type: "string",
        nargs: 1,
        coerce: once("out"),
        describe:
          "File for the page that lays the runs over each other (HTML), of several seeds the medians with a band",
      }),
  handler: compare,
};
