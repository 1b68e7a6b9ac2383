/**
 * The recorded real runs: on real machines (golden/oracle), in guests with other kernels (golden/guest, by guest/record.ts), and of
 * scenarios that were written without knowledge of the simulator and recorded before it was tried on them (golden/unseen).
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Recording, recording, scenarioHash } from "../src/oracle/recording.ts";
import { loadScenario } from "../src/scenario/load.ts";
import { type MachineProfile, machineProfile } from "../src/scenario/profile.ts";
import type { Scenario } from "../src/scenario/schema.ts";
import { BASE_VARIANT } from "../src/scenario/variant.ts";

export interface Recorded {
  readonly real: Recording;
  readonly scenario: Scenario;
  /** As tables call it. */
  readonly label: string;
  /** Of the machine it ran on, unless that is the shipped one. */
  readonly profile: MachineProfile | undefined;
}

const root = join(import.meta.dirname, "..");

/** `scenarios`: where those of the folder's recordings are; `where`: what is said of them in tables. */
function read(folder: string, file: string, scenarios: string, where: string): Recorded {
  const json = (name: string): unknown => JSON.parse(readFileSync(join(folder, name), "utf8"));
  const real = recording.parse(json(file));
  const path = join(scenarios, `${real.name}.yaml`);
  const loaded = loadScenario(readFileSync(path, "utf8"), path, { set: real.set ?? [] });
  if (!loaded.ok) throw new Error(`${path} is not valid`);
  const scenario = loaded.scenarios.find((s) => s.variant === real.variant);
  if (scenario === undefined || scenarioHash(scenario) !== real.scenario_hash)
    throw new Error(`${file} was recorded from another version of the scenario`);
  const profile = real.profile === undefined ? undefined : machineProfile.parse(json(real.profile));
  const variant = real.variant === BASE_VARIANT ? "" : ` (${real.variant})`;
  return {
    real,
    scenario,
    label: `${real.name}${variant}${where}`,
    profile,
  };
}

export function recordings(): Recorded[] {
  const shipped = join(root, "scenarios");
  const golden = join(import.meta.dirname, "golden");
  const unseen = join(golden, "unseen");
  const folders = [
    [join(golden, "oracle"), shipped, ""],
    [unseen, unseen, ", unseen"],
    [join(golden, "guest"), shipped, ", in a guest"],
  ] as const;
  return folders.flatMap(([folder, scenarios, where]) => {
    const files = readdirSync(folder).filter(
      (file) => file.endsWith(".json") && !file.startsWith("profile-"),
    );
    return files.sort().map((file) => read(folder, file, scenarios, where));
  });
}
