/** Scenarios for tests, written as a user would write them. */
import { loadScenario, type ScenarioError } from "../src/scenario/load.ts";
import type { Scenario } from "../src/scenario/schema.ts";

/** The scenarios of a file's text: the base first, then its variants. */
export function scenariosOf(text: string): readonly Scenario[] {
  const result = loadScenario(text, "test.yaml");
  if (!result.ok) throw new Error(result.errors.map((e) => `${e.line}:${e.column}: ${e.message}`).join("\n"));
  return result.scenarios;
}

export function scenarioOf(text: string): Scenario {
  return scenariosOf(text)[0];
}

/** The faults of a file's text. */
export function faultsOf(text: string): readonly ScenarioError[] {
  const result = loadScenario(text, "test.yaml");
  return result.ok ? [] : result.errors;
}
