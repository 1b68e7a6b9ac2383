/** From the command line's file and overrides to the scenarios to run: the scenario itself first, then its variants. */
import { formatErrors, loadScenario } from "../scenario/load.ts";
import type { Scenario } from "../scenario/schema.ts";
import { BASE_VARIANT } from "../scenario/variant.ts";
import { colorsOn } from "./console.ts";
import { CliError, EXIT } from "./exit.ts";
import { type Input, readInput } from "./input.ts";

/** A seed is text unless it is written as a whole number; JSON's quoting is YAML's too. */
function seedSetting(seed: string): string {
  const number = Number(seed);
  return `seed=${/^-?\d+$/.test(seed) && Number.isSafeInteger(number) ? number : JSON.stringify(seed)}`;
}

export interface ScenariosRead {
  readonly scenarios: readonly Scenario[];
  /** The file they are from, and how messages call it. */
  readonly input: Input;
}

/** Reads, overrides and resolves; a CliError with every fault of the file when it is not valid. */
export function readScenarios(
  path: string,
  set: readonly string[],
  seed: string | undefined,
): readonly Scenario[] {
  return readScenarioFile(path, set, seed).scenarios;
}

/** readScenarios, for whoever needs the text too, or lets others steer the run (`steered`). */
export function readScenarioFile(
  path: string,
  set: readonly string[],
  seed: string | undefined,
  steered = false,
): ScenariosRead {
  const input = readInput(path);
  const { label, text } = input;
  const all = seed === undefined ? set : [...set, seedSetting(seed)];
  const loaded = loadScenario(text, label, { set: all, steered });
  if (loaded.ok) return { scenarios: loaded.scenarios, input };
  throw new CliError(EXIT.scenario, formatErrors(loaded.errors, { color: colorsOn(process.stderr) }));
}

/** The variant's folder inside the run's; the scenario itself is at its top. */
export const variantFolder = (scenario: Scenario): string =>
  scenario.variant === BASE_VARIANT ? "" : scenario.variant;

/** The scenario of that name among the variants; without a name the scenario itself. */
export function pickVariant(scenarios: readonly Scenario[], variant: string | undefined): Scenario {
  if (variant === undefined) return scenarios[0];
  const found = scenarios.find((scenario) => scenario.variant === variant);
  if (found !== undefined) return found;
  const names = scenarios.map((scenario) => scenario.variant).join(", ");
  throw new CliError(EXIT.usage, `--variant: there is no "${variant}"; the scenario has ${names}`);
}
