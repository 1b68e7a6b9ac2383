/**
 * Recorded real runs: the figures and collections of real runs with where they come from, small enough to keep in the
 * repository, so that the simulator is checked against the real runtime without Go at hand.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpus, release } from "node:os";
import * as z from "zod";
import { godebug, machine, type Scenario } from "../scenario/schema.ts";
import { BASE_VARIANT } from "../scenario/variant.ts";
import { Columns } from "./result.ts";
import type { RealRun } from "./run.ts";

export const provenance = z.strictObject({
  go_version: z.string(),
  cpu: z.string(),
  cpus: z.int().min(1),
  kernel: z.string(),
  /** How the kernel scheduled the real program's threads: `real-time` is SCHED_RR, `normal` what it does by default. */
  scheduling: z.enum(["real-time", "normal"]),
  date: z.string(),
  command: z.string(),
});
export type Provenance = z.output<typeof provenance>;

const numbers = z.array(z.number());

export const recording = z.strictObject({
  format: z.literal(1),
  name: z.string(),
  variant: z.string(),
  /** Of the resolved scenario: a recording of another version of the file must not be compared with this one. */
  scenario_hash: z.string(),
  /** What else was set, as by `--set`. */
  set: z.array(z.string()).optional(),
  /** The profile of the machine it ran on, a file beside the recording; without one it is the shipped profile's. */
  profile: z.string().optional(),
  provenance,
  /** One object of figures per real run. */
  runs: z.array(z.record(z.string(), z.number().nullable())).min(1),
  /** The first run's collections: MiB as gctrace has them, and exact bytes of marked heap and next goal. */
  cycles: z.strictObject({
    start_seconds: numbers,
    heap_start_mib: numbers,
    heap_end_mib: numbers,
    heap_marked_mib: numbers,
    goal_mib: numbers,
    marked_bytes: numbers,
    next_goal_bytes: numbers,
  }),
});
export type Recording = z.output<typeof recording>;

/** JSON with sorted keys, so that the order in which a scenario was put together does not matter. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const entries = Object.entries(value)
    .filter(([, v]) => v !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([k, v]) => `${JSON.stringify(k)}:${canonical(v)}`).join(",")}}`;
}

const PLAIN_GODEBUG = canonical(godebug.parse({}));
const { cpus: _cpus, memory: _memory, ...plainPages } = machine.parse({});
const PLAIN_PAGES = canonical(plainPages);

/**
 * What a scenario makes happen, as a short hash: its texts, its seed and its thresholds are left out, and a setting that is off, so that
 * recordings made before there was the setting stay true.
 */
export function scenarioHash(scenario: Scenario): string {
  const {
    description: _description,
    seed: _seed,
    variant: _variant,
    thresholds: _thresholds,
    policies,
    ...rest
  } = scenario;
  const { GOMEMLIMIT, GODEBUG, ...go } = rest.go;
  // Its memory is only told of, unless others compete for it.
  const { cpus, memory, ...pages } = rest.machine;
  const what = {
    ...rest,
    go: {
      ...go,
      ...(GOMEMLIMIT === "off" ? {} : { GOMEMLIMIT }),
      ...(canonical(GODEBUG) === PLAIN_GODEBUG ? {} : { GODEBUG }),
    },
    machine: {
      cpus,
      ...(pages.neighbours === undefined ? {} : { memory }),
      ...(canonical(pages) === PLAIN_PAGES ? {} : pages),
    },
    ...(policies.length > 0 ? { policies } : {}),
  };
  return createHash("sha256").update(canonical(what)).digest("hex").slice(0, 16);
}

export const recordingName = (scenario: Scenario): string =>
  scenario.variant === BASE_VARIANT ? `${scenario.name}.json` : `${scenario.name}.${scenario.variant}.json`;

/** This machine, without anything that names its owner. */
export function provenanceOf(goVersion: string, command: string, realTime: boolean): Provenance {
  const list = cpus();
  let model = list[0]?.model.trim() ?? "unknown";
  try {
    // Some hypervisors hide the model's number: the family and model say which it is.
    const info = execFileSync("lscpu", { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    const family = /^CPU family:\s*(\d+)/m.exec(info)?.[1];
    const number = /^Model:\s*(\d+)/m.exec(info)?.[1];
    if (family !== undefined && number !== undefined) model += ` (family ${family}, model ${number})`;
  } catch {
    // lscpu is not everywhere; the name alone will do.
  }
  return {
    go_version: goVersion,
    cpu: model,
    cpus: Math.max(1, list.length),
    kernel: `Linux ${/^\d+(\.\d+)*/.exec(release())?.[0] ?? release()}`,
    scheduling: realTime ? "real-time" : "normal",
    date: new Date().toISOString().slice(0, 10),
    command,
  };
}

const rounded = (x: number): number => (Number.isInteger(x) ? x : Number(x.toPrecision(7)));

export function makeRecording(
  scenario: Scenario,
  runs: readonly RealRun[],
  from: Provenance,
  machine: Pick<Recording, "set" | "profile"> = {},
): Recording {
  const first = runs[0];
  const cycles = new Columns(first.result.cycles);
  const column = (name: string): number[] =>
    Array.from({ length: cycles.length }, (_, i) => cycles.at(i, name)).filter((x) => !Number.isNaN(x));
  return {
    format: 1,
    name: scenario.name,
    variant: scenario.variant,
    scenario_hash: scenarioHash(scenario),
    ...machine,
    provenance: from,
    runs: runs.map(({ figures }) =>
      Object.fromEntries(
        Object.entries(figures).map(([name, x]) => [name, Number.isNaN(x) ? null : rounded(x)]),
      ),
    ),
    cycles: {
      start_seconds: first.trace.map((c) => c.start_seconds),
      heap_start_mib: first.trace.map((c) => c.heap_start_mib),
      heap_end_mib: first.trace.map((c) => c.heap_end_mib),
      heap_marked_mib: first.trace.map((c) => c.heap_marked_mib),
      goal_mib: first.trace.map((c) => c.goal_mib),
      marked_bytes: column("/gc/heap/live:bytes"),
      next_goal_bytes: column("/gc/heap/goal:bytes"),
    },
  };
}

/** The recorded figures as numbers; what was not a number is not one again. */
export function recordedFigures(from: Recording): Record<string, number>[] {
  return from.runs.map((run) =>
    Object.fromEntries(Object.entries(run).map(([name, x]) => [name, x ?? Number.NaN])),
  );
}

/** One number list per line: readable in a diff, small on disk. */
export function recordingJson(from: Recording): string {
  return `${JSON.stringify(from, null, 1).replace(/\[\s+((?:-?[\d.e+-]+,?\s*)+)\]/g, (_, list: string) => `[${list.replace(/\s+/g, "")}]`)}\n`;
}
