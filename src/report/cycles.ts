/** cycles.csv: one row per garbage collection, in the order they ended. Joined by hand, as in timeseries.ts: no cell needs quoting. */
import { usableCpus } from "../figures.ts";
import type { CycleRecord } from "../simulate.ts";
import { plainNumber, type Unit, unitOf } from "./format.ts";

/** A cycle with what follows it. */
export interface CycleRow extends CycleRecord {
  /** Not-a-number where the process ended before. */
  readonly sweep_done_seconds: number;
}

/** The columns, and what each says. `Record` makes the compiler insist that none of CycleRow is forgotten. */
const DESCRIPTIONS: Record<keyof CycleRow, string> = {
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
  sweep_done_seconds:
    "When the last span it left to be swept had been (isSweepDone); empty where the process ended before.",
};

export const CYCLE_COLUMNS: readonly { readonly name: keyof CycleRow; readonly description: string }[] = (
  Object.keys(DESCRIPTIONS) as (keyof CycleRow)[]
).map((name) => ({ name, description: DESCRIPTIONS[name] }));

export const CYCLES_HEADER = `${CYCLE_COLUMNS.map(({ name }) => name).join(",")}\n`;

const UNITS = CYCLE_COLUMNS.map(({ name }) => unitOf(name));

function cell(value: number | string | boolean, unit: Unit): string {
  if (typeof value === "number") return plainNumber(value, unit);
  return typeof value === "string" ? value : value ? "1" : "0";
}

/** A cycle's line, line feed included. */
export const cycleLine = (cycle: CycleRow): string =>
  `${CYCLE_COLUMNS.map(({ name }, i) => cell(cycle[name], UNITS[i])).join(",")}\n`;

/** Holds each cycle back until its sweep is done, or can be no more: when the next one has ended, or all is over (`flush`). */
export class SweptCycles {
  readonly #emit: (row: CycleRow) => void;
  #last: CycleRecord | undefined;

  constructor(emit: (row: CycleRow) => void) {
    this.#emit = emit;
  }

  cycle(cycle: CycleRecord): void {
    this.flush();
    this.#last = cycle;
  }

  sweepDone(nowNs: number): void {
    this.#pass(nowNs / 1e9);
  }

  flush(): void {
    this.#pass(Number.NaN);
  }

  #pass(sweep_done_seconds: number): void {
    if (this.#last !== undefined) this.#emit({ ...this.#last, sweep_done_seconds });
    this.#last = undefined;
  }
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
