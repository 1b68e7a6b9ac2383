/**
 * `gomemsim validate FILE`: plays a scenario several times on the real Go runtime, simulates it with several seeds, and
 * prints metric by metric whether the simulator is right. With `--recorded` the real side is read from a recording.
 */
import { mkdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import Table from "cli-table3";
import pc from "picocolors";
import type { CommandModule } from "yargs";
import { buildOracle, findGo, GoError } from "../oracle/build.ts";
import { type Cell, compare } from "../oracle/metrics.ts";
import {
  makeRecording,
  type Provenance,
  provenanceOf,
  recordedFigures,
  recording,
  recordingJson,
  recordingName,
  scenarioHash,
} from "../oracle/recording.ts";
import { seriesColumns, seriesOf } from "../oracle/result.ts";
import { type RealRun, runOracle, unplayable } from "../oracle/run.ts";
import { benchmarkLine } from "../report/benchfmt.ts";
import { humanValue } from "../report/format.ts";
import { SampleFormatter } from "../report/timeseries.ts";
import type { MachineProfile } from "../scenario/profile.ts";
import type { Scenario } from "../scenario/schema.ts";
import { runName } from "../scenario/variant.ts";
import { sampleColumns, simulate } from "../simulate.ts";
import { colorsOn, complain, onlyAscii, print } from "./console.ts";
import { CliError, EXIT, reasonOf } from "./exit.ts";
import {
  NO_REALTIME_OPTION,
  NOT_REAL_TIME,
  once,
  SCENARIO_OPTIONS,
  scenarioPositional,
  toList,
  wholeNumber,
} from "./options.ts";
import { writeWhole } from "./outputfile.ts";
import { cannotWrite, OutputFolder, writeFileWhole } from "./outputs.ts";
import { readProfile } from "./profile.ts";
import { pickVariant, readScenarios, variantFolder } from "./scenarios.ts";
import { abortOnSignals } from "./signals.ts";

interface ValidateArguments {
  readonly file: string;
  readonly runs: string;
  readonly seeds: string;
  readonly json: boolean;
  readonly "no-realtime": boolean;
  readonly go: string | undefined;
  readonly variant: string | undefined;
  readonly recorded: string | undefined;
  readonly record: string | undefined;
  readonly out: string | undefined;
  readonly profile: string | undefined;
  readonly set: readonly string[];
}

interface RealSide {
  readonly figures: readonly Readonly<Record<string, number>>[];
  readonly from: Provenance;
  /** Absent when the runs were read from a recording. */
  readonly runs?: readonly RealRun[];
  /** The recording's own, of the machine it was made on. */
  readonly profile?: MachineProfile;
}

interface SimulatedSide {
  readonly figures: readonly Readonly<Record<string, number>>[];
  /** One CSV text per seed. */
  readonly series: readonly string[];
  readonly cpuSeconds: readonly number[];
}

/** The real side has nobody to start it again: both sides end with the first kill. */
function firstLife(scenario: Scenario): Scenario {
  const { container } = scenario;
  if (container === undefined) return scenario;
  return { ...scenario, container: { ...container, restart: { ...container.restart, policy: "never" } } };
}

function readRecorded(folder: string, scenario: Scenario): RealSide {
  const path = join(folder, recordingName(scenario));
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new CliError(EXIT.input, `${path}: no recording of this scenario: ${reasonOf(error)}`);
  }
  const parsed = recording.safeParse(json);
  if (!parsed.success) throw new CliError(EXIT.input, `${path}: not a recording of real runs`);
  if (parsed.data.scenario_hash !== scenarioHash(scenario)) {
    throw new CliError(
      EXIT.input,
      `${path}: was recorded with another version of the scenario; record it again with --record`,
    );
  }
  const { profile, provenance } = parsed.data;
  return {
    figures: recordedFigures(parsed.data),
    from: provenance,
    ...(profile === undefined ? {} : { profile: readProfile(join(folder, profile)) }),
  };
}

async function runReal(args: ValidateArguments, scenario: Scenario): Promise<RealSide> {
  const lacking = unplayable(scenario);
  if (lacking !== undefined)
    throw new CliError(
      EXIT.input,
      `${runName(scenario)}: the real program cannot play ${lacking}; validate the scenario without, or with fixed times`,
    );
  const go = findGo(args.go);
  const binary = buildOracle(go);
  if (scenario.machine.cpus > availableParallelism()) {
    complain(
      `note: the scenario has ${scenario.machine.cpus} CPUs and this machine ${availableParallelism()}; the real side will lack them`,
    );
  }
  const count = wholeNumber("runs", args.runs);
  const runs: RealRun[] = [];
  // A control group and files would stay behind.
  const abort = abortOnSignals("nothing was written");
  try {
    for (let i = 1; i <= count; i++) {
      complain(
        `real run ${i} of ${count}: ${runName(scenario)}, ${scenario.duration / 1e9} s with ${go.version}`,
      );
      runs.push(await runOracle(binary, scenario, i, !args["no-realtime"], abort.signal));
    }
  } catch (error) {
    throw abort.signal.aborted ? abort.signal.reason : error;
  } finally {
    abort.release();
  }
  const variant = args.variant === undefined ? "" : ` --variant ${args.variant}`;
  const set = args.set.map((setting) => ` --set ${setting}`).join("");
  const normal = !args["no-realtime"] ? "" : " --no-realtime";
  const command = `gomemsim validate ${scenario.name}.yaml --runs ${count}${variant}${set}${normal}`;
  const realTime = runs.every((run) => run.result.real_time);
  if (!args["no-realtime"] && !realTime) complain(NOT_REAL_TIME);
  return {
    figures: runs.map((run) => run.figures),
    from: provenanceOf(go.version, command, realTime),
    runs,
  };
}

function runSimulated(scenario: Scenario, seeds: number, profile: MachineProfile | undefined): SimulatedSide {
  const figures: Readonly<Record<string, number>>[] = [];
  const series: string[] = [];
  const cpuSeconds: number[] = [];
  const formatter = new SampleFormatter(sampleColumns(scenario));
  for (let seed = 1; seed <= seeds; seed++) {
    let csv = formatter.header;
    const before = process.cpuUsage();
    const summary = simulate(scenario, {
      declareOracle: true,
      seed,
      ...(profile === undefined ? {} : { profile }),
      sink: {
        sample: (row) => {
          csv += formatter.line(row);
        },
      },
    });
    const used = process.cpuUsage(before);
    cpuSeconds.push((used.user + used.system) / 1e6);
    figures.push(summary.figures);
    series.push(csv);
    complain(`simulated with seed ${seed} of ${seeds} in ${cpuSeconds[seed - 1].toFixed(2)} s of CPU`);
  }
  return { figures, series, cpuSeconds };
}

function realCsv(run: RealRun): string {
  const columns = seriesColumns(run.result);
  const formatter = new SampleFormatter(columns);
  return (
    formatter.header +
    seriesOf(run.result)
      .map((row) => formatter.line(row))
      .join("")
  );
}

const TRACE_COLUMNS = [
  "gc",
  "start_seconds",
  "heap_start_mib",
  "heap_end_mib",
  "heap_marked_mib",
  "goal_mib",
  "stw1_ms",
  "concurrent_ms",
  "stw2_ms",
  "assist_cpu_ms",
  "background_cpu_ms",
  "idle_cpu_ms",
] as const;

function realCyclesCsv(run: RealRun): string {
  return (
    `${TRACE_COLUMNS.join(",")}\n` +
    run.trace.map((cycle) => `${TRACE_COLUMNS.map((name) => cycle[name]).join(",")}\n`).join("")
  );
}

function writeSeries(
  target: string,
  scenario: Scenario,
  real: RealSide,
  simulated: SimulatedSide,
  cells: readonly Cell[],
): void {
  const folder = new OutputFolder(target);
  try {
    const place = { folder: folder.folder(""), label: target };
    const write = (name: string, text: string): void => writeWhole(place, name, text);
    real.runs?.forEach((run, i) => {
      write(`real-${i + 1}.csv`, realCsv(run));
      write(`real-${i + 1}-cycles.csv`, realCyclesCsv(run));
    });
    simulated.series.forEach((csv, i) => {
      write(`simulated-${i + 1}.csv`, csv);
    });
    // What is compared, for benchstat: `benchstat measured.txt simulated.txt`.
    const lines = (runs: RealSide["figures"]): string =>
      runs
        .map((figures) => cells.map(({ metric: { name } }) => [name, figures[name] ?? Number.NaN] as const))
        .map((figures) => benchmarkLine(scenario.name, Object.fromEntries(figures)))
        .join("");
    write("measured.txt", lines(real.figures));
    write("simulated.txt", lines(simulated.figures));
    folder.commit();
  } catch (error) {
    folder.abort();
    throw error;
  }
}

function writeRecording(folder: string, scenario: Scenario, real: RealSide): string {
  const path = join(folder, recordingName(scenario));
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw cannotWrite(path, error);
  }
  writeFileWhole(path, recordingJson(makeRecording(scenario, real.runs ?? [], real.from)));
  return path;
}

const percent = (x: number): string =>
  Number.isNaN(x) ? "" : `${x >= 0 ? "+" : ""}${(x * 100).toFixed(Math.abs(x) < 0.1 ? 1 : 0)}%`;

/** The table a person reads: one row per metric. */
export function validationTable(cells: readonly Cell[], colors: boolean, ascii: boolean): string {
  const paint = pc.createColors(colors);
  const table = new Table({
    head: ["metric", "real min", "median", "max", "simulated", "error", "in band"],
    colAligns: ["left", "right", "right", "right", "right", "right", "left"],
    style: { head: [], border: [], compact: true },
  });
  for (const cell of cells) {
    const show = (x: number): string => humanValue(x, cell.metric.unit);
    table.push([
      cell.metric.label,
      show(cell.realMin),
      show(cell.realMedian),
      show(cell.realMax),
      show(cell.simulated),
      percent(cell.error),
      cell.inBand ? paint.green("yes") : paint.red("NO"),
    ]);
  }
  const text = table.toString();
  if (!ascii) return text;
  return text
    .replace(/[┌┬┐├┼┤└┴┘]/g, "+")
    .replaceAll("─", "-")
    .replaceAll("│", "|")
    .replaceAll("µ", "u");
}

async function validate(args: ValidateArguments): Promise<void> {
  const scenario = firstLife(pickVariant(readScenarios(args.file, args.set, undefined), args.variant));
  const profile = args.profile === undefined ? undefined : readProfile(args.profile);
  const seeds = wholeNumber("seeds", args.seeds);
  const real = await realSide(args, scenario);
  const recordedTo =
    args.record === undefined || real.runs === undefined
      ? undefined
      : writeRecording(args.record, scenario, real);
  const simulated = runSimulated(scenario, seeds, profile ?? real.profile);
  const cells = compare(real.figures, simulated.figures);
  const target = args.out ?? join("out", scenario.name, variantFolder(scenario), "validate");
  writeSeries(target, scenario, real, simulated, cells);
  const right = cells.filter((cell) => cell.inBand).length;
  const mean = (list: readonly number[]): number => list.reduce((sum, x) => sum + x, 0) / list.length;
  const realCpu = mean(real.figures.map((f) => f["cpu_seconds"] ?? Number.NaN));
  const simulatedCpu = mean(simulated.cpuSeconds);
  if (args.json) {
    const report = {
      name: scenario.name,
      variant: scenario.variant,
      provenance: real.from,
      real_runs: real.figures.length,
      seeds,
      in_band: right,
      of: cells.length,
      real_cpu_seconds: realCpu,
      simulated_cpu_seconds: simulatedCpu,
      cells: cells.map((cell) => ({
        metric: cell.metric.name,
        unit: cell.metric.unit,
        real_min: cell.realMin,
        real_median: cell.realMedian,
        real_max: cell.realMax,
        simulated: cell.simulated,
        band_low: cell.low,
        band_high: cell.high,
        in_band: cell.inBand,
        error_fraction: cell.error,
      })),
    };
    await print(`${JSON.stringify(report, (_, x: unknown) => (Number.isNaN(x) ? null : x), 2)}\n`);
  } else {
    const { from } = real;
    await print(
      `${validationTable(cells, colorsOn(process.stdout), onlyAscii())}\n` +
        `${runName(scenario)}: ${right} of ${cells.length} in band; ${real.figures.length} real runs ` +
        `(${from.go_version}, ${from.cpu}, ${from.date}, ${from.scheduling} scheduling), ${seeds} seeds\n` +
        // A program that was killed cannot say what CPU it used.
        (Number.isNaN(realCpu)
          ? ""
          : `CPU: real ${realCpu.toFixed(2)} s, simulated ${simulatedCpu.toFixed(2)} s, ratio ${(simulatedCpu / realCpu).toFixed(3)}\n`) +
        `wrote ${target}${recordedTo === undefined ? "" : ` and ${recordedTo}`}\n`,
    );
  }
  if (right < cells.length) {
    const wrong = cells.filter((cell) => !cell.inBand).map((cell) => cell.metric.label);
    throw new CliError(EXIT.outOfBand, `out of band: ${wrong.join("; ")}`);
  }
}

async function realSide(args: ValidateArguments, scenario: Scenario): Promise<RealSide> {
  if (args.recorded !== undefined) return readRecorded(args.recorded, scenario);
  try {
    return await runReal(args, scenario);
  } catch (error) {
    if (error instanceof GoError) throw new CliError(EXIT.go, error.message, { cause: error });
    throw error;
  }
}

export const validateCommand: CommandModule<object, ValidateArguments> = {
  command: "validate <file>",
  describe: "Run a scenario on the real Go runtime too, and compare metric by metric",
  builder: (yargs) =>
    scenarioPositional(yargs)
      .option("runs", { type: "string", nargs: 1, default: "5", describe: "Real runs" })
      .option("seeds", { type: "string", nargs: 1, default: "5", describe: "Simulated runs, seeds 1 to N" })
      .option("variant", {
        type: "string",
        nargs: 1,
        coerce: once("variant"),
        describe: "A variant of the scenario instead of the scenario itself",
      })
      .option("go", { type: "string", nargs: 1, coerce: once("go"), describe: "Go command to use" })
      .option("no-realtime", NO_REALTIME_OPTION)
      .option("recorded", {
        type: "string",
        nargs: 1,
        coerce: once("recorded"),
        describe: "Compare with the real runs recorded in this folder; needs no Go",
      })
      .option("record", {
        type: "string",
        nargs: 1,
        coerce: once("record"),
        conflicts: "recorded",
        describe: "Keep the real runs' figures in this folder",
      })
      .option("profile", {
        type: "string",
        nargs: 1,
        coerce: once("profile"),
        describe: "Machine profile instead of the shipped one, or the recording's",
      })
      .option("out", {
        type: "string",
        nargs: 1,
        coerce: once("out"),
        describe: "Folder for both sides' series and benchmark lines (default: out/NAME/validate)",
      })
      .option("set", { ...SCENARIO_OPTIONS.set, coerce: toList("set") })
      .option("json", { type: "boolean", default: false, describe: "Print JSON" }),
  handler: validate,
};
