/** `gomemsim calibrate`: measures what the runtime's actions cost on this machine and writes a machine profile. */
import { readFileSync } from "node:fs";
import { availableParallelism, freemem, loadavg } from "node:os";
import type { CommandModule } from "yargs";
import { findGo, GoError } from "../oracle/build.ts";
import { calibrate, thisMachine } from "../oracle/calibrate.ts";
import { provenanceOf } from "../oracle/recording.ts";
import { machineProfile, profileJson } from "../scenario/profile.ts";
import { complain, print } from "./console.ts";
import { CliError, EXIT } from "./exit.ts";
import { NO_REALTIME_OPTION, NOT_REAL_TIME, once, wholeNumber } from "./options.ts";
import { writeFileWhole } from "./outputs.ts";

const DEFAULT_PASSES = "3";

interface CalibrateArguments {
  readonly out: string | undefined;
  readonly quick: boolean;
  readonly "no-realtime": boolean;
  readonly passes: string;
  readonly go: string | undefined;
  readonly name: string | undefined;
}

/** What the runtime asks of the processor before it uses its AVX-512 span scanner. */
const SCANNER_NEEDS = ["avx512vl", "avx512bw", "gfni", "avx512_bitalg", "avx512vbmi", "avx512_vpopcntdq"];

/** Whether Go's collector scans spans with AVX-512 here. */
function usesAvx512(): boolean {
  try {
    const flags = /^flags\s*:\s*(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1].split(" ") ?? [];
    return SCANNER_NEEDS.every((flag) => flags.includes(flag));
  } catch {
    return false;
  }
}

/** The command as it was given, but for where the profile goes and what it is called. */
function commandOf(args: CalibrateArguments): string {
  const how = args.quick ? " --quick" : args.passes === DEFAULT_PASSES ? "" : ` --passes ${args.passes}`;
  return `gomemsim calibrate${how}${!args["no-realtime"] ? "" : " --no-realtime"}`;
}

async function run(args: CalibrateArguments): Promise<void> {
  if (process.platform !== "linux") throw new CliError(EXIT.go, "calibrate measures Linux only");
  const load = loadavg()[0];
  if (load > 0.5) complain(`note: the machine is busy (load ${load.toFixed(1)}); costs will come out high`);
  try {
    const go = findGo(args.go);
    const passes = args.quick ? 1 : wholeNumber("passes", args.passes);
    const profile = await calibrate(
      {
        target: thisMachine(go, !args["no-realtime"]),
        procs: availableParallelism(),
        quick: args.quick,
        freeBytes: freemem(),
        provenance: provenanceOf(go.version, commandOf(args), !args["no-realtime"]),
        name: args.name ?? "this-machine",
        avx512: usesAvx512(),
        onStep: (what) => complain(`measuring ${what}`),
      },
      passes,
    );
    if (!args["no-realtime"] && profile.provenance.scheduling === "normal") complain(NOT_REAL_TIME);
    const text = profileJson(machineProfile.parse(profile));
    if (args.out === undefined) {
      await print(text);
      return;
    }
    writeFileWhole(args.out, text);
    complain(`wrote ${args.out}`);
  } catch (error) {
    if (error instanceof GoError) throw new CliError(EXIT.go, error.message, { cause: error });
    throw error;
  }
}

export const calibrateCommand: CommandModule<object, CalibrateArguments> = {
  command: "calibrate",
  describe: "Measure this machine's costs and write a machine profile",
  builder: (yargs) =>
    yargs
      .option("out", {
        type: "string",
        nargs: 1,
        coerce: once("out"),
        describe: "File to write (default: standard output)",
      })
      .option("name", { type: "string", nargs: 1, coerce: once("name"), describe: "The profile's name" })
      .option("quick", {
        type: "boolean",
        default: false,
        describe: "One pass, fewer repeats, smaller heaps",
      })
      .option("passes", {
        type: "string",
        nargs: 1,
        default: DEFAULT_PASSES,
        describe: "Measure everything so many times and take medians",
      })
      .option("no-realtime", NO_REALTIME_OPTION)
      .option("go", { type: "string", nargs: 1, coerce: once("go"), describe: "Go command to use" }),
  handler: run,
};
