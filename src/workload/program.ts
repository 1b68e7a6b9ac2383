/**
 * A scenario's workload as running goroutines: the context its parts share, and how phases reach them.
 */

import type { SyncPool } from "../runtime/pool.ts";
import type { GoRuntime } from "../runtime/runtime.ts";
import type { WorkloadEntry } from "../scenario/schema.ts";
import type { RandomStreams } from "../sim/rng.ts";
import type { LatencyRecorder } from "./latency.ts";

/** What the bookkeeping of a real program that plays the scenario costs; all zero for the workload alone. */
export interface ProgramCosts {
  /** The oracle's own memory (slot tables, owner tables) is allocated too. */
  readonly declared: boolean;
  readonly tickNs: number;
  readonly requestNs: number;
  /** Per object that a slot table holds (and drops), and per object that an owner table holds. */
  readonly heldObjectNs: number;
  readonly ownedObjectNs: number;
}

/** Bytes of one level of the recursion by which the oracle deepens a stack (Go 1.26, amd64). */
const ORACLE_FRAME_BYTES = 120;

/** Stack bytes that a goroutine asked to be `need` deep uses: the oracle recurses by whole frames. */
export function stackDepth(program: ProgramCosts, need: number): number {
  return program.declared ? Math.floor(need / ORACLE_FRAME_BYTES) * ORACLE_FRAME_BYTES : Math.round(need);
}

export interface Context {
  readonly rt: GoRuntime;
  readonly random: RandomStreams;
  readonly durationNs: number;
  readonly program: ProgramCosts;
  /** Pools take part in the collector's clean-up. */
  readonly pools: SyncPool[];
  /** Registers a source of allocation; the number marks its objects. */
  addSource(name: string): number;
}

/** One workload entry at work. */
export interface Running {
  /** The entry's settings change now (a phase); `entry` has the same kind and name. */
  change(entry: WorkloadEntry, nowNs: number): void;
  /** Requests being served, where the entry serves any. */
  readonly inflight?: number;
  readonly latency?: LatencyRecorder;
  /** Requests or items completed. */
  readonly completed?: number;
}
