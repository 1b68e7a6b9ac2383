/** From the command line's file and overrides to the scenarios to run: the scenario itself first, then its variants. */
import { loadScenario } from "../scenario/load.ts";
import type { Scenario } from "../scenario/schema.ts";
import { readInput } from "./input.ts";

export function readScenarios(
  path: string,
  set: readonly string[],
  seed: string | undefined,
): readonly [Scenario, ...Scenario[]] {
  const { label, text } = readInput(path);
  void seed;
  return loadScenario(text, { file: label, set }).scenarios as [Scenario, ...Scenario[]];
}
