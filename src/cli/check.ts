/** `gomemsim check FILE`: validates, and prints what `run` would run, every default filled in. */
import type { CommandModule } from "yargs";
import { resolvedYaml } from "../scenario/resolved.ts";
import type { Scenario } from "../scenario/schema.ts";
import { print } from "./console.ts";
import { once, SCENARIO_OPTIONS, scenarioPositional, toList } from "./options.ts";
import { readScenarios } from "./scenarios.ts";

interface CheckArguments {
  readonly file: string;
  readonly set: readonly string[];
  readonly seed: string | undefined;
  readonly json: boolean;
}

const YAML_HEAD =
  "# Resolved: defaults filled in; bytes, nanoseconds and counts per second as plain numbers.\n";

/** One YAML document per variant, the scenario itself first. */
export function scenariosYaml(scenarios: readonly Scenario[]): string {
  return YAML_HEAD + scenarios.map(resolvedYaml).join("---\n");
}

export const checkCommand: CommandModule<object, CheckArguments> = {
  command: "check <file>",
  describe: "Validate a scenario and print it resolved",
  builder: (yargs) =>
    scenarioPositional(yargs)
      .option("set", { ...SCENARIO_OPTIONS.set, coerce: toList("set") })
      .option("seed", { ...SCENARIO_OPTIONS.seed, coerce: once("seed") })
      .option("json", {
        type: "boolean",
        default: false,
        describe: "Print JSON: a list, the scenario first, then its variants",
      }),
  handler: async (args) => {
    const scenarios = readScenarios(args.file, args.set, args.seed);
    await print(args.json ? `${JSON.stringify(scenarios, null, 2)}\n` : scenariosYaml(scenarios));
  },
};
