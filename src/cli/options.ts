/** Options and positionals that several commands share, and the checks yargs leaves to us. */
import type { Argv } from "yargs";
import { CliError, EXIT } from "./exit.ts";

export const SCENARIO_OPTIONS = {
  set: {
    type: "string",
    nargs: 1,
    default: [],
    defaultDescription: "none",
    describe: "Override a setting: path=value, e.g. go.GOGC=200 or workload.api.cpu=2ms (repeatable)",
  },
  seed: { type: "string", nargs: 1, describe: "Seed of all random numbers, instead of the scenario's" },
} as const;

/** Real Go under SCHED_RR where that is permitted: see oracle/go/realtime.go. */
export const NO_REALTIME_OPTION = {
  type: "boolean",
  default: false,
  describe:
    "Do not schedule the Go program ahead of other programs, as is done where permitted to measure Go alone",
} as const;

/** Without the privilege, or with more Ps than CPUs: what is measured is the kernel, too. */
export const NOT_REAL_TIME =
  "note: real-time scheduling was not granted; pauses and GC CPU of the real side include how the kernel shares CPUs";

export function scenarioPositional<T>(yargs: Argv<T>): Argv<T & { file: string }> {
  return yargs.positional("file", {
    type: "string",
    demandOption: true,
    describe: "Scenario file (YAML); - is standard input",
    // yargs turns a lone dash into an empty text.
    coerce: (file: string) => (file === "" && process.argv.includes("-") ? "-" : file),
  });
}

/** An option that may be given once; yargs makes a list of a repeated one. */
export function once(name: string): (value: unknown) => string | undefined {
  return (value) => {
    if (value === undefined) return undefined;
    if (typeof value !== "string") throw new CliError(EXIT.usage, `--${name}: given more than once`);
    if (value === "") throw new CliError(EXIT.usage, `--${name}: needs a value`);
    return value;
  };
}

/** A repeatable option, as a list, whether given once or often. */
export function toList(name: string): (value: unknown) => readonly string[] {
  return (value) => {
    const values = Array.isArray(value) ? value.map(String) : [String(value)];
    for (const text of values) {
      if (text.indexOf("=") <= 0)
        throw new CliError(EXIT.usage, `--${name}: expected path=value, got "${text}"`);
    }
    return values;
  };
}

/** The value of a numeric option: yargs would read "abc" as NaN and "" as 0. */
export function wholeNumber(option: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 1000) {
    throw new CliError(EXIT.usage, `--${option}: expected a whole number from 1 to 1000, got "${text}"`);
  }
  return value;
}
