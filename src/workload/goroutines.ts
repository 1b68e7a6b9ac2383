/**
 * A population of goroutines: each grows its stack, allocates what it holds, and parks; with a lifetime, one that ends is
 * replaced.
 *
 * One manager goroutine starts them and, at each tick, wakes those whose time has come. A member runs like any goroutine, on
 * whichever P takes it, twice: from its `go` until it parks, and from then until it ends.
 */
import { AFTER_EXIT, AFTER_PARK, AFTER_RUN, G } from "../runtime/proc.ts";
import type { Goroutines, WorkloadEntry } from "../scenario/schema.ts";
import type { Rng } from "../sim/rng.ts";
import { compileDist, type Sampler } from "./distributions.ts";
import { Holder, OwnedObjects } from "./owned.ts";
import { type Context, type Running, stackDepth, startTicker } from "./program.ts";

/**
 * Stack bytes of a member's own frames and the runtime's above the depth the scenario asks for, in Go 1.26 on amd64: at the
 * deepest, without and with objects to allocate, and as scanned while it is parked. Measured as in work.ts.
 */
const PARK_FRAMES_BYTES = 652;
const MALLOC_FRAMES_BYTES = 808;
const PARKED_USED_BYTES = 320;

export function startGoroutines(ctx: Context, entry: Goroutines): Running {
  const manager = new Manager(ctx, entry);
  startTicker(ctx);
  ctx.rt.sched.readyAt(manager, entry.start);
  return manager;
}

class Manager extends G implements Running {
  readonly ctx: Context;
  readonly rng: Rng;
  readonly objects: OwnedObjects;
  stack!: Sampler;
  #entry: Goroutines;
  #life: Sampler | null = null;
  /** Members by the tick at which they end. */
  readonly #ending = new Map<number, Member[]>();
  /** Members that end only when the population shrinks. */
  readonly #lasting: Member[] = [];
  /** Members whose goroutine has ended, to be used for others. */
  readonly free: Member[] = [];
  #alive = 0;
  #nextTick = 0;
  #wokeNs = 0;
  /** It has not done yet what it last woke for. */
  #busy = false;
  readonly #toEnd: Member[] = [];
  completed = 0;

  constructor(ctx: Context, entry: Goroutines) {
    super();
    this.ctx = ctx;
    this.#entry = entry;
    this.rng = ctx.random.stream(entry.name);
    this.objects = new OwnedObjects(ctx, entry.name, true);
    this.#configure(entry);
  }

  get inflight(): number {
    return this.#alive;
  }

  override get label(): string {
    return this.#entry.name;
  }

  #configure(entry: Goroutines): void {
    this.#entry = entry;
    this.stack = compileDist(entry.stack);
    this.#life = entry.lifetime.until === "time" ? compileDist(entry.lifetime.dist) : null;
    this.objects.configure(entry.objects, 0);
    this.objects.needsOwner = true;
  }

  change(changed: WorkloadEntry): void {
    if (changed.kind !== "goroutines") throw new Error("a phase changed the kind of an entry");
    this.#configure(changed);
  }

  step(p: number, nowNs: number): number {
    const { rt, program } = this.ctx;
    rt.beginStep(this, p, nowNs);
    const tick = this.#entry.tick;
    const stopped = nowNs >= (this.#entry.stop ?? Infinity);
    if (!this.#busy) {
      this.#wokeNs = nowNs;
      this.objects.expire(nowNs);
      rt.sched.usedWithoutP(p, program.tickNs);
      for (const now = Math.floor(nowNs / tick); this.#nextTick <= now; this.#nextTick++) {
        const due = this.#ending.get(this.#nextTick);
        if (due === undefined) continue;
        this.#ending.delete(this.#nextTick);
        for (const member of due) this.#toEnd.push(member);
      }
    }
    const wanted = stopped ? 0 : this.#entry.count;
    while (!rt.isSliceOver() && this.#toEnd.length > 0) this.#end(p, this.#toEnd.pop()!);
    while (!rt.isSliceOver() && this.#alive > wanted && this.#lasting.length > 0)
      this.#end(p, this.#lasting.pop()!);
    while (!rt.isSliceOver() && this.#alive < wanted) this.#go(p, nowNs);
    const excess = this.#alive > wanted && this.#lasting.length > 0;
    this.#busy = this.#toEnd.length > 0 || this.#alive < wanted || excess;
    if (this.#busy) this.after = AFTER_RUN;
    else {
      this.after = AFTER_PARK;
      if (!stopped) this.wakeAtNs = (Math.floor(this.#wokeNs / tick) + 1) * tick;
    }
    return rt.sliceNs;
  }

  #go(p: number, nowNs: number): void {
    const { rt } = this.ctx;
    rt.sliceNs += rt.costs.goroutineStartNs;
    const member = this.free.pop() ?? new Member(this);
    member.go(p);
    this.#alive++;
    if (this.#life === null) this.#lasting.push(member);
    else {
      const at = Math.max(
        this.#nextTick,
        Math.ceil((nowNs + this.#life.sample(this.rng)) / this.#entry.tick),
      );
      const bucket = this.#ending.get(at);
      if (bucket === undefined) this.#ending.set(at, [member]);
      else bucket.push(member);
    }
    rt.sched.readyNext(member, p);
  }

  /** Its time has come. Whether it has parked yet or not, it ends when it runs next. */
  #end(p: number, member: Member): void {
    this.#alive--;
    this.completed++;
    this.ctx.rt.sched.readyNext(member, p);
  }
}

class Member extends G {
  readonly #manager: Manager;
  readonly #holder = new Holder();
  #gid = -1;
  #held = 0;
  /** Holds all it will. */
  #complete = false;
  /** The group of objects under way, and how many of it are still to come; -1 before its first step. */
  #group = -1;
  #left = 0;
  #depth = 0;

  constructor(manager: Manager) {
    super();
    this.#manager = manager;
  }

  override get label(): string {
    return this.#manager.label;
  }

  /** `go`, by whoever runs on P `p`. */
  go(p: number): void {
    this.#gid = this.#manager.ctx.rt.goroutines.newproc(p);
    this.#complete = false;
    this.#group = -1;
    this.#held = 0;
    this.#left = 0;
  }

  step(p: number, nowNs: number): number {
    const { rt } = this.#manager.ctx;
    rt.beginStep(this, p, nowNs);
    if (this.#complete) this.#end(p, nowNs);
    else this.#begin(p, nowNs);
    return rt.sliceNs;
  }

  #begin(p: number, nowNs: number): void {
    const { rt, program } = this.#manager.ctx;
    const { rng, objects, stack } = this.#manager;
    if (this.#group < 0) {
      this.#group = 0;
      this.#depth = stackDepth(program, stack.sample(rng));
      rt.growStack(
        p,
        this.#gid,
        this.#depth + (objects.length > 0 ? MALLOC_FRAMES_BYTES : PARK_FRAMES_BYTES),
      );
      this.#holder.owner = rt.owners.alloc();
      this.#draw(p);
    }
    while (!rt.stop && this.#group < objects.length) {
      if (this.#left > 0) {
        objects.allocOne(this, p, this.#group, this.#holder, rng, nowNs);
        this.#left--;
      } else {
        this.#group++;
        this.#draw(p);
      }
    }
    if (rt.slowFramesBytes > 0) {
      rt.growStack(p, this.#gid, this.#depth + MALLOC_FRAMES_BYTES + rt.slowFramesBytes);
      rt.slowFramesBytes = 0;
    }
    if (this.#group < objects.length) {
      this.after = AFTER_RUN;
      return;
    }
    rt.goroutines.setUsed(this.#gid, this.#depth + PARKED_USED_BYTES);
    this.#complete = true;
    this.after = AFTER_PARK;
  }

  /** How many objects of the group it comes to it will hold. */
  #draw(p: number): void {
    const { objects, rng } = this.#manager;
    if (this.#group >= objects.length) return;
    this.#left = objects.drawCount(this.#group, rng);
    if (this.#left > 0 && objects.isOwned(this.#group)) {
      this.#held += this.#left;
      objects.table.hold(this, p, this.#left);
    }
  }

  #end(p: number, nowNs: number): void {
    const { rt } = this.#manager.ctx;
    const { objects, free } = this.#manager;
    objects.release(p, this.#holder, nowNs, -1);
    objects.table.release(this.#held);
    rt.goroutines.goexit(p, this.#gid);
    free.push(this);
    this.after = AFTER_EXIT;
  }
}
