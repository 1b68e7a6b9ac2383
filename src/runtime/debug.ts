/**
 * GOMAXPROCS while the program runs: runtime.GOMAXPROCS(n), and the runtime's own update from a container's CPU limit.
 *
 * Models GOMAXPROCS of debug.go, and procresize, updateMaxProcsGoroutine and sysmonUpdateGOMAXPROCS of proc.go of Go 1.26. Both stop the world
 * by stopTheWorldGC, which takes the collector's semaphore first: a change waits for the collection under way to end, so the Ps of a mark
 * and of its sweep termination are always the same. procresize then takes the Ps that go apart (their mcache, page cache, free gs, stacks,
 * timers and run queue go back to the heap and to the others) and gives new ones an mcache. Nothing of the pacer changes
 * before the next cycle computes its workers; the CPU limiter's bucket has its new size at once.
 *
 * From 1.25 on sysmon reads the CPU limit again each second, unless GOMAXPROCS was set by the environment or by a call, or
 * GODEBUG=updatemaxprocs=0.
 *
 * Simplified: a call takes as long as ReadMemStats, which is a stop and a walk over the Ps, too (real ones side by side, 400 calls
 * on two CPUs with nothing else to do: 12 to 39 us in the middle against 40); sysmon's second is exact. What a P, an m and their gs
 * are in bytes is Go 1.26's on amd64 (from the DWARF of a binary).
 * Where it stops being true: a sudog, defer or pinner cache of a P that goes is not modelled, as those of other Ps are not.
 */
import type { Gc } from "./mgc.ts";
import type { GcController } from "./mgcpacer.ts";
import type { Heap } from "./mheap.ts";
import { AFTER_EXIT, AFTER_PARK, G, PRIORITY_WORLD, type Scheduler } from "./proc.ts";
import type { Goroutines } from "./runtime2.ts";
import type { StackAllocator } from "./stack.ts";

/** sizeof(runtime.p) and sizeof(runtime.mPadded): heap objects that are never freed. */
export const P_STRUCT_BYTES = 15920;
export const M_STRUCT_BYTES = 2040;
/** How often sysmon looks at the CPU limit. */
const UPDATE_PERIOD_NS = 1e9;

export interface MaxProcsOptions {
  readonly sched: Scheduler;
  readonly gc: Gc;
  readonly heap: Heap;
  readonly pacer: GcController;
  readonly goroutines: Goroutines;
  readonly stacks: StackAllocator;
  /** Draws the length of a stop of the world; `preempting`: another P runs a goroutine. */
  readonly stopNs: (preempting: boolean) => number;
  /** Makes a p on P `p`. */
  readonly newP: (p: number) => void;
  /** Told of every change. */
  readonly onChange: (procs: number, before: number, byRuntime: boolean) => void;
}

/** GOMAXPROCS of one process. */
export class MaxProcs {
  readonly #o: MaxProcsOptions;
  /** sched.customGOMAXPROCS: set by the program, so that the runtime keeps off. */
  custom = false;
  /** The most Ps there have been: a p is never freed, and is used again. */
  #allp: number;
  #updating = false;

  constructor(options: MaxProcsOptions) {
    this.#o = options;
    this.#allp = options.sched.nprocs;
  }

  /** A goroutine that calls runtime.GOMAXPROCS(n). */
  set(n: number): G {
    this.custom = true;
    return new SetMaxProcs(this.#o, "runtime.GOMAXPROCS", n, (p) => {
      if (p >= 0) this.#procresize(n, p, false);
    });
  }

  /** sysmon looks each second at what GOMAXPROCS would be by default now. */
  follow(defaultProcs: () => number): void {
    const { sched } = this.#o;
    const look = sched.register((nowNs) => {
      if (this.custom) return;
      sched.fire(nowNs + UPDATE_PERIOD_NS, PRIORITY_WORLD, look);
      const procs = defaultProcs();
      if (procs === sched.nprocs || this.#updating) return;
      this.#updating = true;
      sched.ready(
        new SetMaxProcs(this.#o, "updateMaxProcs", procs, (p) => {
          this.#updating = false;
          if (p >= 0 && !this.custom) this.#procresize(procs, p, true);
        }),
      );
    });
    sched.fire(sched.nowNs + UPDATE_PERIOD_NS, PRIORITY_WORLD, look);
  }

  #procresize(nprocs: number, p: number, byRuntime: boolean): void {
    const { sched, gc, heap, pacer, goroutines, stacks, newP, onChange } = this.#o;
    const before = sched.nprocs;
    heap.currentP = p;
    for (; this.#allp < nprocs; this.#allp++) newP(p);
    heap.currentP = sched.procresize(nprocs);
    heap.setProcs(nprocs);
    stacks.procresize(nprocs);
    goroutines.procresize(nprocs);
    pacer.procresize(nprocs);
    gc.procresize(nprocs);
    onChange(nprocs, before, byRuntime);
  }
}

/** Stops the world once no collection has it, and calls `then` with the P it runs on; with -1 if there is nothing to change. */
class SetMaxProcs extends G {
  readonly #o: MaxProcsOptions;
  readonly #label: string;
  readonly #procs: number;
  readonly #then: (p: number) => void;
  #p = -1;

  constructor(options: MaxProcsOptions, label: string, procs: number, then: (p: number) => void) {
    super();
    this.#o = options;
    this.#label = label;
    this.#procs = procs;
    this.#then = then;
  }

  override get label(): string {
    return this.#label;
  }

  step(p: number): number {
    const { gc, sched, stopNs } = this.#o;
    this.after = AFTER_EXIT;
    if (this.#procs === sched.nprocs) this.#then(-1);
    else if (gc.running) {
      gc.waitForCycle(this);
      this.after = AFTER_PARK;
    } else {
      this.#p = p;
      this.stopNs = stopNs(sched.othersRun(p)) + sched.arrivalNs();
    }
    return 0;
  }

  override worldStopped(): void {
    this.#then(this.#p);
  }
}
