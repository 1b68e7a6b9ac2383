/** cycles.csv: one row per garbage collection, in the order they ended. Text cells (the reason) may need quoting. */

// The library's browser build: the other one needs Node's Buffer as soon as it is loaded, and reports run in pages too.
import { stringify } from "csv-stringify/browser/esm/sync";
import { usableCpus } from "../figures.ts";
import type { CycleRecord } from "../simulate.ts";
import { plainNumber, unitOf } from "./format.ts";

/** The columns, and what each says. `Record` makes the compiler insist that none of CycleRecord is forgotten. */
const DESCRIPTIONS: Record<keyof CycleRecord, string> = {
  gc: "Number of the cycle, from 1.",
  start_seconds: "When sweep termination began.",
  heap_start_bytes: "heapLive when the cycle began.",
  heap_end_bytes: "heapLive at mark termination.",
  heap_marked_bytes: "Bytes marked: live objects, floating garbage and all allocated while marking.",
  goal_bytes: "The heap goal at the end of the cycle.",
  trigger_bytes: "heapLive that was to start the cycle.",
  stacks_bytes: "Stack bytes scanned.",
  globals_bytes: "Bytes of data and bss.",
  stw1_ns: "Sweep-termination pause, stopping included.",
  concurrent_ns: "Concurrent mark, wall time.",
  stw2_ns: "Mark-termination pause.",
  assist_cpu_ns: "CPU time of mark assists.",
  background_cpu_ns: "CPU time of dedicated and fractional workers.",
  idle_cpu_ns: "CPU time of idle workers.",
  procs: "GOMAXPROCS.",
  forced: "1 when runtime.GC asked for it.",
  reason: "heap, periodic or explicit.",
  gc_cpu_percent: "Share of all CPU time since the start that went to the collector, in percent.",
};

export const CYCLE_COLUMNS: readonly { readonly name: keyof CycleRecord; readonly description: string }[] = (
  Object.keys(DESCRIPTIONS) as (keyof CycleRecord)[]
).map((name) => ({ name, description: DESCRIPTIONS[name] }));

/** One CSV line (RFC 4180 quoting, line feed) of a list of cells. */
export function csvLine(cells: readonly string[]): string {
  return stringify([[...cells]], { header: false });
}

export const cyclesHeader = (): string => csvLine(CYCLE_COLUMNS.map((column) => column.name));

const cell = (value: number | string | boolean, name: string): string =>
  typeof value === "number"
    ? plainNumber(value, unitOf(name))
    : typeof value === "boolean"
      ? value
        ? "1"
        : "0"
      : value;

/** Many cycles at once: a library call per row would cost more than the row. */
export function cycleLines(cycles: readonly CycleRecord[]): string {
  return stringify(
    cycles.map((cycle) => CYCLE_COLUMNS.map(({ name }) => cell(cycle[name], name))),
    { header: false },
  );
}

/** When mark termination ended. */
export const cycleEndSeconds = ({ start_seconds, stw1_ns, concurrent_ns, stw2_ns }: CycleRecord): number =>
  start_seconds + (stw1_ns + concurrent_ns + stw2_ns) / 1e9;

/**
 * CPU time of a cycle as a share of what the process could use since the cycle before it ended: Go counts a cycle's CPU when it
 * ends, so that a share of shorter times would say when it was counted, not when it was spent. `cpuLimit` is the quota in force
 * when it ended, as CPUs; Infinity for none.
 */
export function cpuShareSince(
  sinceSeconds: number,
  cycle: CycleRecord,
  cpuNs: number,
  cpus: number,
  cpuLimit: number,
): number {
  const usable = usableCpus(cycle.procs, cpus, cpuLimit);
  return cpuNs / 1e9 / ((cycleEndSeconds(cycle) - sinceSeconds) * usable);
}
