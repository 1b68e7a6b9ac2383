/**
 * A process's start-up: prefault, then the stages in order, all on the main goroutine; the workload starts when they are done.
 *
 * A stage waits (connections, handshakes, files), then allocates what it keeps for good, then computes: what `init`, configuration, TLS
 * set-up and connection pools of a server do. Until the end nothing of the workload runs.
 *
 * `prefault` is what a Go program can do about first-touch faults: it makes one object of that size, has the kernel populate
 * it (MADV_POPULATE_WRITE, MAP_POPULATE's later sibling for memory that is mapped already), lets go of it and calls runtime.GC(). The
 * pages stay resident as free heap, from which the next allocations are served without faults. But the runtime does not know of the plan: the
 * collection sets the scavenger's goal by a heap that is nearly empty, and what the traffic does not take soon is given back.
 *
 * Simplified: populating costs what as many faults do (measured: 1576 ns a page against 1580 ns), in one stretch without a preemption;
 * MAP_POPULATE itself is for a program's own mappings, which the Go heap is not.
 */
import { ExplicitGc } from "../runtime/mgc.ts";
import { AFTER_EXIT, AFTER_PARK, AFTER_RUN } from "../runtime/proc.ts";
import type { Startup } from "../scenario/schema.ts";
import { pointerBytes } from "./objects.ts";
import type { Context } from "./program.ts";

const FOREVER = 0x7fffffff;

const AT_PREFAULT = 0;
const AT_COLLECT = 1;
const AT_WAIT = 2;
const AT_ALLOC = 3;
const AT_COMPUTE = 4;
const AT_END = 5;

export class StartupRun extends ExplicitGc {
  readonly #ctx: Context;
  readonly #settings: Startup;
  readonly #done: (nowNs: number) => void;
  readonly #report: (event: string) => void;
  readonly #source: number;
  #at = AT_PREFAULT;
  #stage = 0;
  /** Objects of the stage still to be made. */
  #left = 0;
  #kind = -1;

  constructor(
    ctx: Context,
    settings: Startup,
    report: (event: string) => void,
    done: (nowNs: number) => void,
  ) {
    super(ctx.rt.gc, ctx.rt.heap);
    this.#ctx = ctx;
    this.#settings = settings;
    this.#report = report;
    this.#done = done;
    this.#source = ctx.addSource("startup");
    if (settings.prefault === undefined) this.#at = AT_WAIT;
  }

  override step(p: number, nowNs: number): number {
    const { rt } = this.#ctx;
    if (this.#at === AT_COLLECT) {
      const ns = super.step(p, nowNs);
      if (this.after !== AFTER_EXIT) return ns;
      this.after = AFTER_RUN;
      this.#at = AT_WAIT;
      return ns;
    }
    rt.beginStep(this, p, nowNs);
    this.after = AFTER_RUN;
    const stage = this.#settings.stages[this.#stage];
    switch (this.#at) {
      case AT_PREFAULT:
        this.#prefault(p, nowNs);
        break;
      case AT_WAIT:
        if (this.#stage === 0 && this.#settings.prefault !== undefined) this.#report("prefaulted");
        if (stage === undefined) {
          this.#at = AT_END;
          break;
        }
        this.#beginObjects(p);
        this.#at = AT_ALLOC;
        if (stage.io > 0) {
          this.after = AFTER_PARK;
          this.sleepNs = stage.io;
          this.ioWait = !this.#ctx.program.declared;
        }
        break;
      case AT_ALLOC:
        for (; this.#left > 0 && !rt.stop; this.#left--) rt.alloc(this, p, this.#kind, FOREVER);
        if (this.#left === 0) this.#at = AT_COMPUTE;
        break;
      case AT_COMPUTE:
        rt.sliceNs += stage.cpu;
        this.#at = AT_END;
        break;
      default:
        if (stage !== undefined) this.#report(`startup ${stage.name} done`);
        this.#stage++;
        if (this.#stage < this.#settings.stages.length) {
          this.#at = AT_WAIT;
          break;
        }
        this.after = AFTER_EXIT;
        this.#done(nowNs);
    }
    return rt.sliceNs;
  }

  /** One object, populated and let go of. */
  #prefault(p: number, nowNs: number): void {
    const { rt } = this.#ctx;
    const { heap } = rt;
    const bytes = Math.ceil(this.#settings.prefault! / heap.pageSize) * heap.pageSize;
    rt.alloc(this, p, rt.kinds.add(this.#source, bytes, 0), FOREVER);
    heap.kill(heap.lastSpan, heap.lastIndex, rt.deathTick(nowNs));
    this.#at = AT_COLLECT;
  }

  #beginObjects(p: number): void {
    const { rt, program } = this.#ctx;
    const { memory, object_size, pointers } = this.#settings.stages[this.#stage];
    this.#left = Math.ceil(memory / object_size);
    this.#kind = rt.kinds.add(this.#source, object_size, pointerBytes(object_size, pointers));
    // The real program keeps them in a table.
    if (program.declared && this.#left > 0)
      rt.alloc(this, p, rt.kinds.addTable(this.#source, this.#left * 8), FOREVER);
  }
}
