/**
 * `gomemsim run FILE`: simulates a scenario and its variants, writes their files, prints a summary.
 *
 * The scenario itself goes to the output folder, each variant to a folder of its name in there; all of it appears at
 * once at the end, or nothing does.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { CommandModule } from "yargs";
import { terminalSummary } from "../report/terminal.ts";
import { isTraceKind, TRACE_KINDS } from "../runtime/trace.ts";
import { scenarioPlaces } from "../scenario/places.ts";
import { parseDurationNs } from "../scenario/units.ts";
import { complain, onlyAscii, paintFor, print, widthOf } from "./console.ts";
import { CliError, EXIT } from "./exit.ts";
import { DEFAULT_EXPORT, EXPORTS, type ExportKind, isExportKind } from "./exports.ts";
import { type Job, outputFiles } from "./job.ts";
import { once, SCENARIO_OPTIONS, scenarioPositional, toList } from "./options.ts";
import { OutputFolder } from "./outputs.ts";
import { runJobs } from "./pool.ts";
import { readProfile } from "./profile.ts";
import { progressFor } from "./progress.ts";
import { pickVariant, readScenarioFile, runName, type ScenariosRead, variantFolder } from "./scenarios.ts";
import { abortOnSignals } from "./signals.ts";

interface RunArguments {
  readonly file: string;
  readonly out: string | undefined;
  readonly seed: string | undefined;
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
function exportsOf(args: RunArguments): Job["exports"] {
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
  const atNs = moment("export-at", at);
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
  const shortest = Math.min(...scenarios.map(({ duration }) => duration));
  const at = (profileAt?.split(",") ?? []).map((text) => {
    const ns = moment("profile-at", text) as number;
    if (ns > shortest)
      throw new CliError(
        EXIT.usage,
        `--profile-at: ${text} is after the end of the run (${shortest / 1e9} s)`,
      );
    return { text: text.trim(), ns };
  });
  at.sort((a, b) => a.ns - b.ns);
  return { places: scenarioPlaces(input.text, input.label), at };
}

/** One line per folder, before the files go to where it says they are. */
function whatWasWritten(job: Job): string[] {
  const names = outputFiles(job);
  const written = names.filter((name) => existsSync(join(job.folder, name)));
  const missing = names.filter((name) => !written.includes(name));
  return [
    `wrote ${job.label}: ${written.join(", ")}`,
    ...(missing.length === 0 ? [] : [`not written: ${missing.join(", ")}: the process was down then`]),
  ];
}

async function run(args: RunArguments): Promise<void> {
  const read = readScenarioFile(args.file, args.set, args.seed);
  const all = read.scenarios;
  const scenarios =
    args.variant === undefined ? all : [...new Set(args.variant)].map((name) => pickVariant(all, name));
  const profile = args.profile === undefined ? undefined : readProfile(args.profile);
  const trace = traceOf(args);
  const exports = exportsOf(args);
  const heapProfiles = heapProfilesOf(args, { ...read, scenarios });
  const abort = abortOnSignals("nothing was written");
  const folder = new OutputFolder(args.out ?? join("out", scenarios[0].name));
  const progress = progressFor(scenarios.map(runName), args.quiet);
  try {
    const jobs = scenarios.map(
      (scenario): Job => ({
        scenario,
        ...(profile === undefined ? {} : { profile }),
        checked: args.checked,
        ...(trace === undefined ? {} : { trace }),
        ...(exports === undefined ? {} : { exports }),
        ...(heapProfiles === undefined ? {} : { heapProfiles }),
        folder: folder.folder(variantFolder(scenario)),
        label: join(folder.target, variantFolder(scenario)),
      }),
    );
    const finished = await runJobs(jobs, progress, abort.signal);
    progress.stop();
    abort.signal.throwIfAborted();
    const written = jobs.flatMap(whatWasWritten);
    folder.commit();
    if (args.quiet) return;
    const options = { width: widthOf(process.stdout), paint: paintFor(process.stdout), ascii: onlyAscii() };
    try {
      await print(terminalSummary(finished, written, options));
    } catch (error) {
      // The files are the result, and they are there: say so before failing.
      if (error instanceof CliError) complain(written.join("\n"));
      throw error;
    }
  } catch (error) {
    progress.stop();
    folder.abort();
    throw error;
  } finally {
    abort.release();
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
