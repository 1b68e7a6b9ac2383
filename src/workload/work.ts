/**
 * A unit of work on a goroutine: a service's request or a batch worker's item.
 *
 * Both have the shape of a real handler: allocate, compute, wait, allocate, compute, drop everything. Each half allocates
 * its share of every group's objects first and then computes half of the CPU time.
 */
import { AFTER_PARK, AFTER_RUN, G } from "../runtime/proc.ts";
import type { Batch, Service } from "../scenario/schema.ts";
import type { Rng } from "../sim/rng.ts";
import { compileDist, type Sampler } from "./distributions.ts";
import { Holder, OwnedObjects } from "./owned.ts";
import { type Context, stackDepth } from "./program.ts";

const STAGE_BEGIN = 0;
const STAGE_ALLOC = 1;
const STAGE_COMPUTE = 2;
const STAGE_END = 3;

/**
 * Stack bytes of a handler's own frames and the runtime's above the depth the scenario asks for, in Go 1.26 on amd64:
 * at the deepest while it computes, allocates or goes to sleep, and as scanned in its wait and between two items. Measured
 * on the oracle's handler, by the depths at which its stack doubles and by /gc/scan/stack:bytes of parked handlers.
 */
const COMPUTE_FRAMES_BYTES = 1048;
const MALLOC_FRAMES_BYTES = 1096;
const SLEEP_FRAMES_BYTES = 1168;
const WAITING_USED_BYTES = 984;
const PAUSED_USED_BYTES = 344;

/** What the work of one entry is made of; shared by all its goroutines and replaced by phases. */
export class WorkSpec {
  readonly ctx: Context;
  readonly rng: Rng;
  readonly objects: OwnedObjects;
  readonly name: string;
  readonly #source: number;
  cpu!: Sampler;
  io!: Sampler;
  stack!: Sampler;
  hasIo = false;

  constructor(ctx: Context, entry: Service | Batch) {
    this.ctx = ctx;
    this.rng = ctx.random.stream(entry.name);
    this.name = entry.name;
    this.objects = new OwnedObjects(ctx, entry.name, false);
    this.#source = ctx.addSource(`${entry.name}/owner-table`);
    this.configure(entry);
  }

  configure(entry: Service | Batch): void {
    this.cpu = compileDist(entry.cpu);
    this.io = compileDist(entry.io);
    this.stack = compileDist(entry.stack);
    this.hasIo = !(entry.io.kind === "constant" && entry.io.value === 0);
    this.objects.configure(entry.objects, entry.arena_block);
  }

  /** The timer of time.Sleep, in which the oracle waits: 96 bytes, pointers up to byte 80. */
  get timerKind(): number {
    return this.ctx.rt.kinds.add(this.#source, 96, 80);
  }

  /** The kind of the oracle's table of `n` pointers to one owner's objects. */
  ownerTableKind(n: number): number {
    return this.ctx.rt.kinds.addTable(this.#source, n * 8);
  }
}

export abstract class Work extends G {
  protected readonly spec: WorkSpec;
  protected readonly holder = new Holder();
  /** Its row in the table of goroutine stacks; -1 while it has none. */
  protected gid = -1;
  /** It has not run since its `go`. */
  #fresh = false;
  #stage = STAGE_BEGIN;
  #half = 0;
  #group = 0;
  #left = 0;
  #counts: number[] = [];
  #cpuNs = 0;
  #ioNs = 0;
  /** Stack bytes the scenario asks for. */
  #depth = 0;

  constructor(spec: WorkSpec) {
    super();
    this.spec = spec;
  }

  override get label(): string {
    return this.spec.name;
  }

  /**
   * `go`, by whoever runs on P `p`: the goroutine and its stack exist from now on, though it may wait long for a P of its own. What
   * that costs is counted when it runs.
   */
  go(p: number): void {
    this.gid = this.spec.ctx.rt.goroutines.newproc(p);
    this.#fresh = true;
  }

  /** The unit of work is over, at `nowNs`; sets `after` for what comes next. */
  protected abstract finished(p: number, nowNs: number): void;

  step(p: number, nowNs: number): number {
    const { spec } = this;
    const { rt } = spec.ctx;
    rt.beginStep(this, p, nowNs);
    switch (this.#stage) {
      case STAGE_BEGIN:
        this.#begin(p, nowNs);
        break;
      case STAGE_ALLOC:
        this.#allocate(p, nowNs);
        break;
      case STAGE_COMPUTE:
        rt.sliceNs += this.#cpuNs / 2;
        if (this.#half === 1) {
          this.#stage = STAGE_END;
          break;
        }
        this.#half = 1;
        this.#group = -1;
        this.#left = 0;
        this.#stage = STAGE_ALLOC;
        if (this.#ioNs > 0) {
          if (spec.ctx.program.declared) rt.alloc(this, p, spec.timerKind, ~this.holder.owner);
          rt.goroutines.setUsed(this.gid, this.#depth + WAITING_USED_BYTES);
          this.after = AFTER_PARK;
          this.sleepNs = this.#ioNs;
          // The oracle stands in for I/O by time.Sleep.
          this.ioWait = !spec.ctx.program.declared;
        }
        break;
      case STAGE_END:
        spec.objects.release(p, this.holder, nowNs, this.gid);
        rt.goroutines.setUsed(this.gid, PAUSED_USED_BYTES);
        this.#stage = STAGE_BEGIN;
        this.finished(p, nowNs);
        break;
    }
    return rt.sliceNs;
  }

  #begin(p: number, nowNs: number): void {
    const { spec } = this;
    const { rt, program } = spec.ctx;
    const rng = spec.rng;
    this.#cpuNs = spec.cpu.sample(rng);
    this.#ioNs = spec.hasIo ? spec.io.sample(rng) : 0;
    if (this.#fresh) {
      this.#fresh = false;
      rt.sliceNs += rt.costs.goroutineStartNs;
    }
    this.#depth = stackDepth(program, spec.stack.sample(rng));
    const frames =
      this.#ioNs > 0
        ? SLEEP_FRAMES_BYTES
        : spec.objects.length > 0
          ? MALLOC_FRAMES_BYTES
          : COMPUTE_FRAMES_BYTES;
    rt.growStack(p, this.gid, this.#depth + frames);
    spec.objects.expire(nowNs);
    rt.sliceNs += program.requestNs;
    if (spec.objects.needsOwner) this.holder.owner = rt.owners.alloc();
    let n = 0;
    for (let i = 0; i < spec.objects.length; i++) {
      this.#counts[i] = spec.objects.drawCount(i, rng);
      n += this.#counts[i];
    }
    if (program.declared && n > 0) rt.alloc(this, p, spec.ownerTableKind(n), ~this.holder.owner);
    this.#half = 0;
    this.#group = -1;
    this.#left = 0;
    this.#stage = STAGE_ALLOC;
    this.#allocate(p, nowNs);
  }

  #allocate(p: number, nowNs: number): void {
    const { spec } = this;
    const { rt } = spec.ctx;
    const groups = spec.objects.length;
    while (!rt.stop) {
      if (this.#left === 0) {
        this.#group++;
        if (this.#group >= groups) {
          this.#stage = STAGE_COMPUTE;
          break;
        }
        const count = this.#counts[this.#group] ?? 0;
        this.#left = this.#half === 0 ? Math.ceil(count / 2) : Math.floor(count / 2);
        continue;
      }
      spec.objects.allocOne(this, p, this.#group, this.holder, spec.rng, nowNs);
      this.#left--;
    }
    if (rt.slowFramesBytes > 0) {
      rt.growStack(p, this.gid, this.#depth + MALLOC_FRAMES_BYTES + rt.slowFramesBytes);
    }
    this.after = AFTER_RUN;
  }
}
