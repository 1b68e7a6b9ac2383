/**
 * `gomemsim report RUN...`: the page of a run from its folder, or of several laid over each other. `run` writes the same pages; this
 * writes them again, of runs that were made apart.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { CommandModule } from "yargs";
import { reportHtml } from "../report/html.ts";
import { type OverlayPart, overlayRun } from "../report/overlay.ts";
import type { HeapMaps, ReportRun } from "../report/reportdata.ts";
import { ReportCollector, type ReportSummary } from "../report/runreport.ts";
import { resolvedYaml } from "../scenario/resolved.ts";
import { print } from "./console.ts";
import { CliError, EXIT, reasonOf } from "./exit.ts";
import { once } from "./options.ts";
import { writeFileWhole } from "./outputs.ts";
import { deflate, pageBundle } from "./page.ts";
import { OVERLAY, readSummary, scanCycles, scanSamples } from "./runfolder.ts";

interface ReportArguments {
  readonly runs: readonly string[];
  readonly out: string | undefined;
}

/** The heap maps of a run; a run of before there were any has none. */
function readHeapMaps(folder: string): HeapMaps | undefined {
  const path = join(folder, "heapmap.json");
  if (!existsSync(path)) return undefined;
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new CliError(EXIT.input, `${path}: cannot be read: ${reasonOf(error)}`, { cause: error });
  }
  try {
    const maps: HeapMaps = JSON.parse(text);
    if (Array.isArray(maps.maps) && typeof maps.live.data === "string") return maps;
  } catch {
    // Told below, like what is JSON of something else.
  }
  throw new CliError(
    EXIT.input,
    `${path}: is not whole, or not ours; write the run again with \`gomemsim run\`, or delete the file to do without heap maps`,
  );
}

/** A run's folder, read as if it had just run. */
function gather(folder: string): { readonly summary: ReportSummary; readonly collector: ReportCollector } {
  const { profile: _name, machine_profile, ...stored } = readSummary(folder);
  const summary: ReportSummary = {
    ...stored,
    profile: machine_profile,
    scenario_yaml: resolvedYaml(stored.scenario),
  };
  let collector: ReportCollector | undefined;
  scanSamples(folder, (columns) => {
    const made = new ReportCollector(summary.scenario, columns);
    collector = made;
    return { row: (row) => made.sample(row, undefined) };
  });
  // A heading is told of every file that is not refused.
  const gathered = collector!;
  scanCycles(folder, (cycle) => gathered.cycle(cycle));
  return { summary, collector: gathered };
}

/** A run's folder as its own page needs it. */
export function readReport(folder: string): ReportRun {
  const { summary, collector } = gather(folder);
  return collector.finish(summary, readHeapMaps(folder), deflate);
}

/** A run's folder as a page needs it that lays several over each other. */
export function readOverlay(folder: string): OverlayPart {
  const { summary, collector } = gather(folder);
  return collector.overlay(summary);
}

async function report({ runs, out }: ReportArguments): Promise<void> {
  const bundle = pageBundle();
  const whole = runs.length === 1;
  const path = out ?? join(runs[0], whole ? "report.html" : OVERLAY);
  const read = whole ? [readReport(runs[0])] : runs.map((run) => overlayRun([readOverlay(run)], deflate));
  writeFileWhole(path, reportHtml(read, bundle));
  await print(`wrote ${path}\n`);
}

export const reportCommand: CommandModule<object, ReportArguments> = {
  command: "report <runs..>",
  describe: "Write the report page of a run, or of several laid over each other",
  builder: (yargs) =>
    yargs
      .positional("runs", {
        type: "string",
        array: true,
        demandOption: true,
        describe: "Folders that `gomemsim run` wrote",
      })
      .option("out", {
        type: "string",
        nargs: 1,
        coerce: once("out"),
        describe: "File to write (default: report.html, of several overlay.html, in the first run's folder)",
      }),
  handler: report,
};
