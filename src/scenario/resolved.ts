/** A resolved scenario as YAML: what `check` prints and a report shows. */
import { stringify } from "yaml";
import type { Scenario } from "./schema.ts";

export const resolvedYaml = (scenario: Scenario): string =>
  stringify(scenario, { aliasDuplicateObjects: false, lineWidth: 0 });
