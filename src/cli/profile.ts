/** `--profile FILE`: a machine profile as `gomemsim calibrate` writes it, read and checked. */
import { type MachineProfile, machineProfile } from "../scenario/profile.ts";
import { CliError, EXIT } from "./exit.ts";
import { readInput } from "./input.ts";

export function readProfile(path: string): MachineProfile {
  const { label, text } = readInput(path);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CliError(EXIT.scenario, `${label}: not a machine profile: ${reason}`);
  }
  const parsed = machineProfile.safeParse(json);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map(
    (issue) => `${label}: ${issue.path.length === 0 ? "(top)" : issue.path.join(".")}: ${issue.message}`,
  );
  throw new CliError(EXIT.scenario, faults.join("\n"));
}
