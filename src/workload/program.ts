/**
 * A scenario's workload as running goroutines: the context its parts share, and how phases reach them.
 */

import type { SyncPool } from "../runtime/pool.ts";
import type { GoRuntime } from "../runtime/runtime.ts";
import type { Dist, WorkloadEntry } from "../scenario/schema.ts";
import type { RandomStreams } from "../sim/rng.ts";
import type { FirstRequests, LatencyRecorder } from "./latency.ts";

/** What the bookkeeping of a real program that plays the scenario costs; zero for the workload alone unless it says otherwise. */
export interface ProgramCosts {
  /** The oracle's own memory (slot tables, owner tables) is allocated too. */
  readonly declared: boolean;
  /** CPU that the threads of the process spend on one wake-up, most of it in the kernel and without a P. */
  readonly tickNs: number;
  readonly requestNs: number;
  /** Of a cache; also of the workload alone, which must find its entries somehow. */
  readonly lookupNs: number;
  /** Per object that a slot table holds (and drops), and per object that an owner table holds. */
  readonly heldObjectNs: number;
  readonly ownedObjectNs: number;
  /** Drawing an object's size, by the distribution it is drawn from. */
  drawNs(dist: Dist): number;
}

/** What one random number of each sort of distribution costs; `power` is for those by powers. */
export interface DrawCosts {
  readonly uniform: number;
  readonly exponential: number;
  readonly lognormal: number;
  readonly power: number;
}

/** CPU nanoseconds of one draw from `dist`. */
export function drawNs(dist: Dist, costs: DrawCosts): number {
  switch (dist.kind) {
    case "constant":
      return 0;
    case "uniform":
      return costs.uniform;
    case "exponential":
      return costs.exponential;
    case "lognormal":
      return costs.lognormal;
    case "weibull":
    case "pareto":
      return costs.power;
    case "histogram":
      return 2 * costs.uniform;
    case "mixture": {
      let weight = 0;
      let ns = 0;
      for (const part of dist.parts) {
        weight += part.weight;
        ns += part.weight * drawNs(part.dist, costs);
      }
      return costs.uniform + ns / weight;
    }
  }
}

/** Bytes of one level of the recursion by which the oracle deepens a stack (Go 1.26, amd64). */
const ORACLE_FRAME_BYTES = 120;

/** Stack bytes that a goroutine asked to be `need` deep uses: the oracle recurses by whole frames. */
export function stackDepth(program: ProgramCosts, need: number): number {
  return program.declared ? Math.floor(need / ORACLE_FRAME_BYTES) * ORACLE_FRAME_BYTES : Math.round(need);
}

/**
 * Stack bytes of a goroutine that wakes at ticks, at its deepest and in its sleep. The latter is what each adds to
 * /gc/scan/stack:bytes of the oracle (Go 1.26, amd64): (4400 - 2576) / 5 for five streams.
 */
const TICKER_DEEPEST_BYTES = 1000;
const TICKER_PARKED_BYTES = 340;

/** Gives a part of the program that is one goroutine for the whole run its stack. */
export function startTicker(ctx: Context): void {
  const { goroutines } = ctx.rt;
  const g = goroutines.newproc(0);
  goroutines.growTo(0, g, TICKER_DEEPEST_BYTES);
  goroutines.setUsed(g, TICKER_PARKED_BYTES);
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
  /** When the process is ready; what came before has waited. */
  readyNs: number;
  /** Where a service's first requests are told apart. */
  firstRequests(service: string): FirstRequests | undefined;
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
  /** Requests refused since the start, and the way to have a share of them refused, where the entry can. */
  readonly refused?: number;
  shed?(share: number): void;
}
