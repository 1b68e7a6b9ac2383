/**
 * `gomemsim run FILE`: simulates a scenario and its variants, writes their files, prints a summary.
 *
 * The scenario itself goes to the output folder, each variant to a folder of its name in there, and with --seeds each run to a
 * folder seed=N in those. All of it appears at once at the end, or nothing does: what a folder holds belongs together, and the runs
 * that were finished when another failed cost no more than to be run again (--variant), for the same bytes.
 */
import { existsSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { CommandModule } from "yargs";
import { compareRuns } from "../analysis/compare.ts";
import { figuresOfPhases } from "../phases.ts";
import { comparisonTexts } from "../report/comparison.ts";
import { humanValue } from "../report/format.ts";
import { reportHtml } from "../report/html.ts";
import { overlayRun } from "../report/overlay.ts";
import { type FinishedRun, runLabel, terminalSummary } from "../report/terminal.ts";
import { isTraceKind, TRACE_KINDS } from "../runtime/trace.ts";
import { scenarioPlaces } from "../scenario/places.ts";
import { resolvedYaml } from "../scenario/resolved.ts";
import type { Scenario } from "../scenario/schema.ts";
import { parseDurationNs } from "../scenario/units.ts";
import { runName } from "../scenario/variant.ts";
import { complain, onlyAscii, paintFor, print, widthOf } from "./console.ts";
import { CliError, EXIT } from "./exit.ts";
import { DEFAULT_EXPORT, EXPORTS, type ExportKind, isExportKind } from "./exportkinds.ts";
import { type DoneJob, isOutputName, type Job, type OutputName, outputFiles } from "./job.ts";
import { once, SCENARIO_OPTIONS, scenarioPositional, toList, wholeNumber } from "./options.ts";
import { writeWhole } from "./outputfile.ts";
import { OutputFolder, removeRunFiles } from "./outputs.ts";
import { deflate, pageBundle } from "./page.ts";
import { runJobs } from "./pool.ts";
import { readProfile } from "./profile.ts";
import { progressFor } from "./progress.ts";
import { isDerivedName, OVERLAY, runFoldersOf, seedFolder } from "./runfolder.ts";
import { pickVariant, readScenarioFile, type ScenariosRead, variantFolder } from "./scenarios.ts";
import { abortOnSignals } from "./signals.ts";

interface RunArguments {
  readonly file: string;
  readonly out: string | undefined;
  readonly seed: string | undefined;
  readonly seeds: string | undefined;
  readonly set: readonly string[];
  readonly variant: readonly string[] | undefined;
  readonly profile: string | undefined;
  readonly quiet: boolean;
  readonly checked: boolean;
  readonly trace: boolean;
  readonly "trace-events": string | undefined;
  readonly "trace-from": string | undefined;
  readonly "trace-to": string | undefined;
  readonly export: string | undefined;
  readonly "export-at": string | undefined;
  readonly "export-interval": string | undefined;
  readonly "export-start": string | undefined;
  readonly "heap-profile": boolean;
  readonly "profile-at": string | undefined;
}

/** A moment of the run, for the option that gives it. */
function moment(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ns = parseDurationNs(text);
  if (ns === undefined)
    throw new CliError(EXIT.usage, `--${option}: expected a time such as 500ms or 2m, got "${text}"`);
  return ns;
}

/** The same, at which every run must still be going on. */
function momentWithin(option: string, text: string, scenarios: readonly Scenario[]): number {
  const ns = moment(option, text) as number;
  const shortest = Math.min(...scenarios.map(({ duration }) => duration));
  if (ns <= shortest) return ns;
  throw new CliError(EXIT.usage, `--${option}: ${text} is after the end of the run (${shortest / 1e9} s)`);
}

/** What --trace and its options ask for; undefined: no trace. */
function traceOf(args: RunArguments): Job["trace"] {
  const { "trace-events": traceEvents, "trace-from": traceFrom, "trace-to": traceTo } = args;
  if (!args.trace) {
    if (traceEvents ?? traceFrom ?? traceTo)
      throw new CliError(EXIT.usage, "--trace-events, --trace-from and --trace-to need --trace");
    return undefined;
  }
  const fromNs = moment("trace-from", traceFrom);
  const untilNs = moment("trace-to", traceTo);
  if (untilNs !== undefined && untilNs <= (fromNs ?? 0))
    throw new CliError(EXIT.usage, `--trace-to: must be later than --trace-from, got "${traceTo}"`);
  const kinds = traceEvents?.split(",").map((kind) => {
    if (isTraceKind(kind)) return kind;
    const known = Object.keys(TRACE_KINDS).join(", ");
    throw new CliError(EXIT.usage, `--trace-events: expected kinds out of ${known}, got "${kind}"`);
  });
  return {
    ...(kinds === undefined ? {} : { kinds }),
    ...(fromNs === undefined ? {} : { fromNs }),
    ...(untilNs === undefined ? {} : { untilNs }),
  };
}

/** What --export and its options ask for; undefined: nothing. */
function exportsOf(args: RunArguments, scenarios: readonly Scenario[]): Job["exports"] {
  const { "export-at": at, "export-interval": interval, "export-start": start } = args;
  if (args.export === undefined) {
    if (at ?? interval ?? start)
      throw new CliError(EXIT.usage, "--export-at, --export-interval and --export-start need --export");
    return undefined;
  }
  const kinds = args.export.split(",").map((kind): ExportKind => {
    if (isExportKind(kind)) return kind;
    const known = Object.keys(EXPORTS).join(", ");
    throw new CliError(EXIT.usage, `--export: expected formats out of ${known}, got "${kind}"`);
  });
  const atNs = at === undefined ? undefined : momentWithin("export-at", at, scenarios);
  const intervalNs = moment("export-interval", interval) ?? DEFAULT_EXPORT.intervalNs;
  if (intervalNs === 0) throw new CliError(EXIT.usage, "--export-interval: must be more than 0");
  const startMs = start === undefined ? undefined : Date.parse(start);
  if (startMs !== undefined && !(startMs >= 0 && /^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)$/.test(start!)))
    throw new CliError(
      EXIT.usage,
      `--export-start: expected a date and time such as 2026-01-31T12:00:00Z, got "${start}"`,
    );
  return {
    kinds: [...new Set(kinds)],
    ...(atNs === undefined ? {} : { atNs }),
    intervalNs,
    startUnixSeconds: startMs === undefined ? DEFAULT_EXPORT.startUnixSeconds : startMs / 1e3,
  };
}

/** What --heap-profile and --profile-at ask for; undefined: none. */
function heapProfilesOf(args: RunArguments, { input, scenarios }: ScenariosRead): Job["heapProfiles"] {
  const { "heap-profile": wanted, "profile-at": profileAt } = args;
  if (!wanted) {
    if (profileAt !== undefined) throw new CliError(EXIT.usage, "--profile-at needs --heap-profile");
    return undefined;
  }
  const at = (profileAt?.split(",") ?? []).map((text) => ({
    text: text.trim(),
    ns: momentWithin("profile-at", text, scenarios),
  }));
  at.sort((a, b) => a.ns - b.ns);
  return { places: scenarioPlaces(input.text, input.label), at };
}

/** A run of each scenario with its own seed, or with as many seeds as are asked for: its own and those that follow. */
function withSeeds(scenarios: readonly Scenario[], seeds: number | undefined): SeededRun[] {
  if (seeds === undefined)
    return scenarios.map((scenario) => ({
      scenario,
      folder: variantFolder(scenario),
      name: runName(scenario),
    }));
  return scenarios.flatMap((scenario) =>
    Array.from({ length: seeds }, (_, i) => {
      const { seed } = scenario;
      // A text is followed by its like; its folders are numbered.
      const own = typeof seed === "number" ? seed + i : i === 0 ? seed : `${seed}/${i + 1}`;
      if (typeof own === "number" && !Number.isSafeInteger(own))
        throw new CliError(EXIT.usage, `--seeds: there are no ${seeds} whole numbers from ${seed} on`);
      const folder = seedFolder(typeof own === "number" ? own : i + 1);
      return {
        scenario: { ...scenario, seed: own },
        folder: join(variantFolder(scenario), folder),
        name: `${runName(scenario)}/${folder}`,
      };
    }),
  );
}

interface SeededRun {
  readonly scenario: Scenario;
  readonly folder: string;
  readonly name: string;
}

/** The page with a line for each variant, of several seeds the medians; none of a single run. */
function overlayPage(finished: readonly DoneJob[]): string | undefined {
  const byVariant = new Map<string, DoneJob[]>();
  for (const done of finished)
    byVariant.set(runLabel(done), [...(byVariant.get(runLabel(done)) ?? []), done]);
  const lines = [...byVariant.values()]
    .map((seeds) => seeds.flatMap(({ overlay }) => overlay ?? []))
    .filter((parts) => parts.length > 0)
    .map((parts) => overlayRun(parts, deflate));
  if (lines.length === 0) return undefined;
  const sides = [...byVariant].map(([label, seeds]) => ({
    label,
    runs: seeds.map(({ summary: { figures, phases = [] } }) => ({ ...figures, ...figuresOfPhases(phases) })),
  }));
  return reportHtml(lines, pageBundle(), comparisonTexts(compareRuns(sides)));
}

async function run(args: RunArguments): Promise<void> {
  const read = readScenarioFile(args.file, args.set, args.seed);
  const all = read.scenarios;
  const scenarios =
    args.variant === undefined ? all : [...new Set(args.variant)].map((name) => pickVariant(all, name));
  const profile = args.profile === undefined ? undefined : readProfile(args.profile);
  const trace = traceOf(args);
  const exports = exportsOf(args, scenarios);
  const runs = withSeeds(scenarios, args.seeds === undefined ? undefined : wholeNumber("seeds", args.seeds));
  const heapProfiles = heapProfilesOf(args, { ...read, scenarios });
  const abort = abortOnSignals("nothing was written");
  const folder = new OutputFolder(args.out ?? join("out", scenarios[0].name));
  const progress = progressFor(
    runs.map(({ name }) => name),
    args.quiet,
  );
  try {
    const jobs = runs.map((run): Job => {
      const { scenario, folder: at } = run;
      return {
        scenario,
        scenarioYaml: resolvedYaml(scenario),
        ...(profile === undefined ? {} : { profile }),
        checked: args.checked,
        ...(trace === undefined ? {} : { trace }),
        ...(exports === undefined ? {} : { exports }),
        ...(heapProfiles === undefined ? {} : { heapProfiles }),
        overlaid: runs.length > 1,
        folder: folder.folder(at),
        label: join(folder.target, at),
      };
    });
    const finished = await runJobs(jobs, progress, abort.signal);
    progress.stop();
    abort.signal.throwIfAborted();
    const written = writtenLines(jobs);
    const page = overlayPage(finished);
    if (page !== undefined) {
      writeWhole({ folder: folder.temporary, label: folder.target }, OVERLAY, page);
      written.push(`wrote ${join(folder.target, OVERLAY)}: the runs laid over each other`);
    }
    // By where they will be; asked while they are still where they were written.
    const files = new Map(jobs.map((job) => [job.label, new Set<string>(filesThere(job))]));
    written.push(...removeEarlier(folder.target, jobs, files, page !== undefined));
    folder.commit();
    if (!args.quiet) await tell(finished, written);
    const breaches = finished.flatMap(breachesOf);
    if (breaches.length > 0) throw new CliError(EXIT.thresholds, breaches.join("\n"));
  } catch (error) {
    progress.stop();
    folder.abort();
    throw error;
  } finally {
    abort.release();
  }
}

/**
 * Removes what an earlier run left in the folders of this one: summary.json, so that what is killed while files take each other's place
 * leaves no run rather than a mixture of two; and what this run does not replace: other seeds, the run of a single seed, files that
 * were asked for then and are not now, plots and pages made of it since. They would pass for this run's. Only files of ours go.
 * Returns a line for each file that another command made.
 */
function removeEarlier(
  target: string,
  jobs: readonly Job[],
  written: ReadonlyMap<string, ReadonlySet<string>>,
  overlay: boolean,
): string[] {
  const variants = new Set(jobs.map(({ scenario }) => join(target, variantFolder(scenario))));
  // One that was killed then has no summary.json, and is no run.
  const begun = [...written.keys()].filter((folder) => existsSync(folder));
  const lines: string[] = [];
  for (const old of new Set([...[...variants].flatMap(runFoldersOf), ...begun])) {
    const kept = written.get(old);
    const goes = (name: string): boolean =>
      name === "summary.json" || ((isOutputName(name) || isDerivedName(name)) && kept?.has(name) !== true);
    for (const name of removeRunFiles(old, goes, kept === undefined))
      if (isDerivedName(name) && name !== OVERLAY)
        lines.push(`removed ${join(old, name)}: it showed the run before`);
  }
  if (!overlay) rmSync(join(target, OVERLAY), { force: true });
  return lines;
}

/** What a job has written: of a process that is down there is no heap profile, and without a kill no oom.txt. */
const filesThere = (job: Job): readonly OutputName[] =>
  outputFiles(job).filter((name) => existsSync(join(job.folder, name)));

/** One line per threshold that a run does not keep to. */
function breachesOf(run: FinishedRun): string[] {
  return run.verdicts
    .filter((verdict) => !verdict.passed)
    .map(({ metric, expression, unit, value, reason }) => {
      const { scenario } = run.summary;
      return `${runName(scenario)}, seed ${scenario.seed}: threshold breached: ${metric}: ${expression}: ${reason ?? `it is ${humanValue(value, unit)}`}`;
    });
}

/** A line per folder, before the files go to where it says they are; of the folders of many seeds, one for all. */
function writtenLines(jobs: readonly Job[]): string[] {
  const lines = new Map<string, { readonly files: string; readonly folders: string[] }>();
  const missing: string[] = [];
  for (const job of jobs) {
    const seeds = basename(job.label).startsWith("seed=") ? dirname(job.label) : job.label;
    const there = filesThere(job);
    const line = lines.get(seeds) ?? { files: there.join(", "), folders: [] };
    line.folders.push(job.label);
    lines.set(seeds, line);
    const lacking = outputFiles(job).filter((name) => !there.includes(name) && name !== "oom.txt");
    missing.push(...lacking.map((name) => join(job.label, name)));
  }
  return [
    ...[...lines.values()].map(({ files, folders }) => {
      const more = folders.length > 1 ? ` and ${folders.length - 1} seeds beside it` : "";
      return `wrote ${folders[0]}${more}: ${files}`;
    }),
    ...missing.map((path) => `not written: ${path}: the process was down then`),
  ];
}

async function tell(finished: readonly FinishedRun[], written: readonly string[]): Promise<void> {
  const options = { width: widthOf(process.stdout), paint: paintFor(process.stdout), ascii: onlyAscii() };
  try {
    await print(terminalSummary(finished, written, options));
  } catch (error) {
    // The files are the result, and they are there: say so before failing.
    if (error instanceof CliError) complain(written.join("\n"));
    throw error;
  }
}

export const runCommand: CommandModule<object, RunArguments> = {
  command: "run <file>",
  describe: "Simulate a scenario and its variants, and write their series",
  builder: (yargs) =>
    scenarioPositional(yargs)
      .option("out", {
        type: "string",
        nargs: 1,
        coerce: once("out"),
        describe: "Folder to write to (default: out/NAME); variants go to folders in it",
      })
      .option("seed", { ...SCENARIO_OPTIONS.seed, coerce: once("seed") })
      .option("seeds", {
        type: "string",
        nargs: 1,
        coerce: once("seeds"),
        describe: "Run each variant with so many seeds, from its own on, in folders seed=N; for `compare`",
      })
      .option("set", { ...SCENARIO_OPTIONS.set, coerce: toList("set") })
      .option("variant", {
        type: "string",
        nargs: 1,
        coerce: (value: unknown): readonly string[] | undefined =>
          value === undefined ? undefined : (Array.isArray(value) ? value : [value]).map(String),
        describe: "Run this variant only; several are given one by one, `base` is the scenario itself",
      })
      .option("profile", {
        type: "string",
        nargs: 1,
        coerce: once("profile"),
        describe: "Machine profile (JSON, from `gomemsim calibrate`) instead of the shipped one",
      })
      .option("quiet", {
        alias: "q",
        type: "boolean",
        default: false,
        describe: "Print nothing but errors",
      })
      .option("checked", {
        type: "boolean",
        default: false,
        describe: "Check the model's accounting identities all along (slow)",
      })
      .option("trace", {
        type: "boolean",
        default: false,
        describe: "Write every event, too: events.ndjson, and trace.json for ui.perfetto.dev",
      })
      .option("trace-events", {
        type: "string",
        nargs: 1,
        coerce: once("trace-events"),
        describe: `With --trace: only these kinds, comma separated, out of ${Object.keys(TRACE_KINDS).join(", ")}`,
      })
      .option("trace-from", {
        type: "string",
        nargs: 1,
        coerce: once("trace-from"),
        describe: "With --trace: only from this moment of the run on, e.g. 5s",
      })
      .option("heap-profile", {
        type: "boolean",
        default: false,
        describe: "Write the heap profile at the end, heap.pb.gz, for `go tool pprof`",
      })
      .option("profile-at", {
        type: "string",
        nargs: 1,
        coerce: once("profile-at"),
        describe: "With --heap-profile: also at these moments of the run, comma separated, e.g. 10s,1m",
      })
      .option("trace-to", {
        type: "string",
        nargs: 1,
        coerce: once("trace-to"),
        describe: "With --trace: only up to this moment",
      })
      .option("export", {
        type: "string",
        nargs: 1,
        coerce: once("export"),
        describe: `Write other tools' formats, too, comma separated: ${Object.entries(EXPORTS)
          .map(([kind, file]) => `${kind} (${file})`)
          .join(", ")}`,
      })
      .option("export-at", {
        type: "string",
        nargs: 1,
        coerce: once("export-at"),
        describe: "With --export: the instant of those that show one, e.g. 30s (default: the end)",
      })
      .option("export-interval", {
        type: "string",
        nargs: 1,
        coerce: once("export-interval"),
        describe: "With --export openmetrics: time between instants (default: 1s)",
      })
      .option("export-start", {
        type: "string",
        nargs: 1,
        coerce: once("export-start"),
        describe: "With --export: date and time at which the run starts (default: 2026-01-01T00:00:00Z)",
      }),
  handler: run,
};
