/**
 * Batch workers: a fixed number of goroutines, each doing one item after another (closed loop), with a pause between.
 */
import { AFTER_EXIT, AFTER_PARK, AFTER_RUN } from "../runtime/proc.ts";
import type { Batch, WorkloadEntry } from "../scenario/schema.ts";
import { compileDist, type Sampler } from "./distributions.ts";
import { LatencyRecorder } from "./latency.ts";
import type { Context, Running } from "./program.ts";
import { Work, WorkSpec } from "./work.ts";

export function startBatch(ctx: Context, entry: Batch): Running {
  return new BatchRun(ctx, entry);
}

class BatchRun implements Running {
  readonly latency = new LatencyRecorder();
  completed = 0;
  readonly spec: WorkSpec;
  pause: Sampler;
  readonly #ctx: Context;
  #workers = 0;
  #wanted: number;
  #items: number;
  #stopNs: number;
  #taken = 0;

  constructor(ctx: Context, entry: Batch) {
    this.#ctx = ctx;
    this.spec = new WorkSpec(ctx, entry);
    this.pause = compileDist(entry.pause);
    this.#wanted = entry.workers;
    this.#items = entry.items ?? Infinity;
    this.#stopNs = entry.stop ?? Infinity;
    this.#start(entry.start);
  }

  #start(atNs: number): void {
    for (; this.#workers < this.#wanted; this.#workers++) {
      if (!this.take(atNs)) return;
      this.#ctx.rt.sched.readyAt(new Worker(this, this.spec), atNs);
    }
  }

  /** Claims an item for a worker; false when there is none left and the worker must end. */
  take(nowNs: number): boolean {
    if (this.#taken >= this.#items || nowNs >= this.#stopNs) return false;
    this.#taken++;
    return true;
  }

  /** A worker between items: may it go on? Too many workers after a phase end here. */
  next(nowNs: number): boolean {
    if (this.#workers <= this.#wanted && this.take(nowNs)) return true;
    this.#workers--;
    return false;
  }

  get inflight(): number {
    return this.#workers;
  }

  change(changed: WorkloadEntry, nowNs: number): void {
    if (changed.kind !== "batch") throw new Error("a phase changed the kind of an entry");
    this.spec.configure(changed);
    this.pause = compileDist(changed.pause);
    this.#wanted = changed.workers;
    this.#items = changed.items ?? Infinity;
    this.#stopNs = changed.stop ?? Infinity;
    this.#start(nowNs);
  }
}

class Worker extends Work {
  readonly #batch: BatchRun;
  #startNs = -1;

  constructor(batch: BatchRun, spec: WorkSpec) {
    super(spec);
    this.#batch = batch;
  }

  override step(p: number, nowNs: number): number {
    if (this.gid < 0) this.go(p);
    if (this.#startNs < 0) this.#startNs = nowNs;
    return super.step(p, nowNs);
  }

  protected finished(p: number, nowNs: number): void {
    this.#batch.completed++;
    this.#batch.latency.record(nowNs - this.#startNs);
    this.#startNs = -1;
    if (!this.#batch.next(nowNs)) {
      this.spec.ctx.rt.goroutines.goexit(p, this.gid);
      this.gid = -1;
      this.after = AFTER_EXIT;
      return;
    }
    const pauseNs = this.#batch.pause.sample(this.spec.rng);
    if (pauseNs > 0) {
      this.after = AFTER_PARK;
      this.sleepNs = pauseNs;
      this.ioWait = false;
    } else {
      this.after = AFTER_RUN;
    }
  }
}
