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
