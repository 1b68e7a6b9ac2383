/**
 * summary.json: what was run and what came out, in one object. It opens with the versions and the seed, then the
 * headline figures, the verdicts on thresholds and the figures of phases, then everything needed to run it again (resolved scenario, machine profile).
 *
 * Holds no wall-clock time, host name or path: the same scenario, profile and seed give the same bytes anywhere.
 */
import type { PhaseSummary } from "../phases.ts";
import type { RunSummary } from "../simulate.ts";
import type { Verdict } from "../thresholds.ts";
import { plainNumber, unitOf } from "./format.ts";

/** Raised when a key changes its meaning or goes; new keys do not raise it. */
export const SUMMARY_FORMAT = 1;

/** JSON knows no not-a-number: a figure without a value is null. Reals are rounded as in the CSV files. */
export function roundedFigures(
  figures: Readonly<Record<string, number | null>>,
): Record<string, number | null> {
  const rounded: Record<string, number | null> = {};
  for (const [name, value] of Object.entries(figures)) {
    const text = value === null ? "" : plainNumber(value, unitOf(name));
    rounded[name] = text === "" ? null : Number(text);
  }
  return rounded;
}

/** The same of the stretches between phases. */
export const roundedPhases = (phases: readonly PhaseSummary[]): PhaseSummary[] =>
  phases.map((phase) => ({
    ...phase,
    // A stretch has no figure without a value.
    figures: roundedFigures(phase.figures) as Record<string, number>,
  }));

/** Not-a-number is null, with the reason beside it. */
export const verdictJson = ({ metric, expression, unit, value, passed, reason }: Verdict) => ({
  metric,
  expression,
  unit,
  value: Number.isNaN(value) ? null : Number(plainNumber(value, unit)),
  passed,
  ...(reason === undefined ? {} : { reason }),
});

export type StoredVerdict = ReturnType<typeof verdictJson>;

/** `verdicts`: what came of the scenario's thresholds; without any the file has no word of them. */
export function summaryJson(run: RunSummary, verdicts: readonly Verdict[] = []): string {
  const { versions, seed, figures, phases, scenario, profile, ...rest } = run;
  const ordered = {
    format: SUMMARY_FORMAT,
    versions,
    name: scenario.name,
    variant: scenario.variant,
    seed,
    profile: profile.name,
    figures: roundedFigures(figures),
    ...(verdicts.length === 0 ? {} : { thresholds: verdicts.map(verdictJson) }),
    ...(phases === undefined ? {} : { phases: roundedPhases(phases) }),
    ...rest,
    scenario,
    machine_profile: profile,
  };
  return `${JSON.stringify(ordered, null, 2)}\n`;
}
