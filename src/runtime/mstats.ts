/**
 * What the runtime says of itself: the figures of runtime.MemStats as runtime/metrics reports them.
 *
 * Follows mstats.go and metrics.go of Go 1.26. runtime/metrics does not flush the mcaches, so allocations and frees lag
 * by what the cached spans have given out; reading costs nothing and changes nothing, unlike ReadMemStats.
 */
import type { Gc } from "./mgc.ts";
import type { Heap } from "./mheap.ts";
import { AFTER_EXIT, AFTER_PARK, G, type Scheduler } from "./proc.ts";
import type { GoRuntime } from "./runtime.ts";
import type { StackAllocator } from "./stack.ts";

export interface MemStats {
  heapAlloc: number;
  heapInuse: number;
  heapIdle: number;
  heapReleased: number;
  heapSys: number;
  heapObjects: number;
  nextGC: number;
  totalAlloc: number;
  mallocs: number;
  frees: number;
  stackInuse: number;
  stackSys: number;
  mspanInuse: number;
  mspanSys: number;
  mcacheInuse: number;
  mcacheSys: number;
  buckHashSys: number;
  gcSys: number;
  otherSys: number;
  sys: number;
}

export function newMemStats(): MemStats {
  return {
    heapAlloc: 0,
    heapInuse: 0,
    heapIdle: 0,
    heapReleased: 0,
    heapSys: 0,
    heapObjects: 0,
    nextGC: 0,
    totalAlloc: 0,
    mallocs: 0,
    frees: 0,
    stackInuse: 0,
    stackSys: 0,
    mspanInuse: 0,
    mspanSys: 0,
    mcacheInuse: 0,
    mcacheSys: 0,
    buckHashSys: 0,
    gcSys: 0,
    otherSys: 0,
    sys: 0,
  };
}

/** Fills `out` with the figures of this instant, bytes and counts. */
export function readMemStats(rt: GoRuntime, out: MemStats): void {
  const { heap, pacer } = rt;
  const st = heap.stats;
  out.heapAlloc = st.heapAlloc;
  out.heapInuse = st.heapInUse;
  out.heapIdle = st.heapIdle;
  out.heapReleased = st.heapReleased;
  out.heapSys = st.heapSys;
  out.heapObjects = st.heapObjects;
  out.nextGC = pacer.heapGoal();
  out.totalAlloc = st.totalAlloc;
  out.mallocs = st.mallocs;
  out.frees = st.frees;
  out.stackInuse = st.inStacks;
  out.stackSys = heap.stackSys;
  out.mspanInuse = heap.mspanInuse;
  out.mspanSys = heap.mspanSys;
  out.mcacheInuse = heap.mcacheInuse;
  out.mcacheSys = heap.mcacheSys;
  out.buckHashSys = heap.buckHashSys;
  out.gcSys = heap.gcSys;
  out.otherSys = heap.otherSys;
  out.sys = heap.sysTotal;
}

export interface ReadMemStatsOptions {
  readonly sched: Scheduler;
  readonly gc: Gc;
  readonly heap: Heap;
  readonly stacks: StackAllocator;
  /** Draws the length of the call while no collection has the world; `preempting`: another P runs a goroutine. */
  readonly callNs: (preempting: boolean) => number;
  /** Told how long the call took, from its start. */
  readonly onDone: (latencyNs: number) => void;
}

/**
 * runtime.ReadMemStats: stops the world, in the middle of a mark too, and flushes every mcache and stack cache, which hands the
 * spans back and so moves heapLive. It waits only while a collection has the world itself: at the end of a mark (worldsema).
 */
export class ReadMemStats extends G {
  readonly #o: ReadMemStatsOptions;
  #startNs = -1;

  constructor(options: ReadMemStatsOptions) {
    super();
    this.#o = options;
  }

  override get label(): string {
    return "runtime.ReadMemStats";
  }

  step(p: number, nowNs: number): number {
    const { gc, sched } = this.#o;
    if (this.#startNs < 0) this.#startNs = nowNs;
    if (gc.holdsWorld) {
      gc.waitForCycle(this);
      this.after = AFTER_PARK;
      return 0;
    }
    this.stopNs = this.#o.callNs(sched.othersRun(p)) + sched.arrivalNs();
    this.after = AFTER_EXIT;
    return 0;
  }

  override worldStopped(nowNs: number): void {
    const { heap, stacks, sched } = this.#o;
    heap.flushAllMcaches();
    for (let p = 0; p < sched.nprocs; p++) stacks.stackcacheClear(p);
    this.#o.onDone(nowNs - this.#startNs);
  }
}
