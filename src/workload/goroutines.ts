/**
 * A population of goroutines: each grows its stack, allocates what it holds, and parks; with a lifetime, one that ends is
 * replaced.
 *
 * One manager goroutine starts them and, at each tick, wakes those whose time has come. The parked goroutines themselves
 * are rows in the table of goroutines (stack, used bytes) and an owner; the scheduler runs only the manager and the
 * start and end of each, on the manager's P.
 */
import { AFTER_PARK, AFTER_RUN, G } from "../runtime/proc.ts";
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
  readonly #ctx: Context;
  readonly #rng: Rng;
  readonly #objects: OwnedObjects;
  #entry: Goroutines;
  #stack!: Sampler;
  #life: Sampler | null = null;
  /** One bucket of members per tick at which they end; members are indexes into the arrays below. */
  readonly #ending = new Map<number, number[]>();
  readonly #gid: number[] = [];
  readonly #owner: number[] = [];
  readonly #held: number[] = [];
  readonly #pooled: (readonly number[])[] = [];
  readonly #freeMembers: number[] = [];
  /** Members that end only when the population shrinks. */
  readonly #lasting: number[] = [];
  #alive = 0;
  #nextTick = 0;
  #wokeNs = 0;
  readonly #toEnd: number[] = [];
  /** The member being started when a step ended in its middle; -1 for none. */
  #starting = -1;
  #group = 0;
  #left = 0;
  #depth = 0;
  readonly #holder = new Holder();
  completed = 0;

  constructor(ctx: Context, entry: Goroutines) {
    super();
    this.#ctx = ctx;
    this.#entry = entry;
    this.#rng = ctx.random.stream(entry.name);
    this.#objects = new OwnedObjects(ctx, entry.name, true);
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
    this.#stack = compileDist(entry.stack);
    this.#life = entry.lifetime.until === "time" ? compileDist(entry.lifetime.dist) : null;
    this.#objects.configure(entry.objects, 0);
    this.#objects.needsOwner = true;
  }

  change(changed: WorkloadEntry): void {
    if (changed.kind !== "goroutines") throw new Error("a phase changed the kind of an entry");
    this.#configure(changed);
  }

  step(p: number, nowNs: number): number {
    const rt = this.#ctx.rt;
    const owes = this.owedKind >= 0;
    rt.beginStep(this, p, nowNs);
    const tick = this.#entry.tick;
    const stopped = nowNs >= (this.#entry.stop ?? Infinity);
    if (this.#starting < 0 && this.#toEnd.length === 0 && !owes) {
      this.#wokeNs = nowNs;
      this.#objects.expire(nowNs);
      rt.sched.usedWithoutP(p, this.#ctx.program.tickNs);
      for (const now = Math.floor(nowNs / tick); this.#nextTick <= now; this.#nextTick++) {
        const due = this.#ending.get(this.#nextTick);
        if (due === undefined) continue;
        this.#ending.delete(this.#nextTick);
        for (const member of due) this.#toEnd.push(member);
      }
    }
    while (!rt.stop && this.#toEnd.length > 0) this.#end(p, this.#toEnd.pop()!, nowNs);
    const wanted = stopped ? 0 : this.#entry.count;
    while (!rt.stop && this.#alive > wanted && this.#lasting.length > 0)
      this.#end(p, this.#lasting.pop()!, nowNs);
    while (!rt.stop && (this.#starting >= 0 || this.#alive < wanted)) this.#start(p, nowNs);
    const busy = this.#starting >= 0 || this.#toEnd.length > 0 || this.#alive < wanted;
    if (busy || (this.#alive > wanted && this.#lasting.length > 0)) {
      this.after = AFTER_RUN;
    } else {
      this.after = AFTER_PARK;
      if (!stopped) {
        const next = (Math.floor(this.#wokeNs / tick) + 1) * tick;
        this.wakeAtNs = next;
      }
    }
    return rt.sliceNs;
  }

  #start(p: number, nowNs: number): void {
    const rt = this.#ctx.rt;
    if (this.#starting < 0) {
      const member = this.#freeMembers.pop() ?? this.#gid.length;
      const gid = rt.goroutines.newproc(p);
      rt.sliceNs += rt.costs.goroutineStartNs + rt.costs.goroutineSwitchNs;
      const depth = stackDepth(this.#ctx.program, this.#stack.sample(this.#rng));
      const frames = this.#objects.length > 0 ? MALLOC_FRAMES_BYTES : PARK_FRAMES_BYTES;
      rt.sliceNs += rt.goroutines.growTo(p, gid, depth + frames) * rt.costs.stackCopyNsPerByte;
      this.#depth = depth;
      this.#gid[member] = gid;
      this.#owner[member] = rt.owners.alloc();
      this.#held[member] = 0;
      this.#starting = member;
      // Each member is a goroutine of its own: without credit for what its predecessor has assisted.
      this.gcAssistBytes = 0;
      this.#group = -1;
      this.#left = 0;
    }
    const member = this.#starting;
    this.#holder.owner = this.#owner[member];
    this.#populate(p, member, nowNs);
    const deepest = this.#depth + MALLOC_FRAMES_BYTES + rt.slowFramesBytes;
    const gid = this.#gid[member];
    if (rt.slowFramesBytes > 0) {
      rt.sliceNs += rt.goroutines.growTo(p, gid, deepest) * rt.costs.stackCopyNsPerByte;
      rt.slowFramesBytes = 0;
    }
    rt.goroutines.setUsed(gid, this.#depth + PARKED_USED_BYTES);
  }

  #populate(p: number, member: number, nowNs: number): void {
    const rt = this.#ctx.rt;
    while (!rt.stop) {
      if (this.#left > 0) {
        this.#objects.allocOne(this, p, this.#group, this.#holder, this.#rng, nowNs);
        this.#left--;
        continue;
      }
      this.#group++;
      if (this.#group >= this.#objects.length) {
        this.#started(member, nowNs);
        return;
      }
      this.#left = this.#objects.drawCount(this.#group, this.#rng);
      if (this.#left > 0 && this.#objects.isOwned(this.#group)) {
        this.#held[member] += this.#left;
        this.#objects.table.hold(this, p, this.#left);
      }
    }
  }

  #started(member: number, nowNs: number): void {
    this.#starting = -1;
    this.#pooled[member] = this.#holder.takePooled();
    this.#alive++;
    if (this.#life === null) {
      this.#lasting.push(member);
      return;
    }
    const at = Math.max(this.#nextTick, Math.ceil((nowNs + this.#life.sample(this.#rng)) / this.#entry.tick));
    const bucket = this.#ending.get(at);
    if (bucket === undefined) this.#ending.set(at, [member]);
    else bucket.push(member);
  }

  #end(p: number, member: number, nowNs: number): void {
    const rt = this.#ctx.rt;
    rt.sliceNs += rt.costs.goroutineSwitchNs;
    rt.owners.end(this.#owner[member], rt.deathTick(nowNs));
    this.#objects.table.release(this.#held[member]);
    this.#objects.putBack(p, this.#pooled[member]);
    rt.goroutines.goexit(p, this.#gid[member]);
    this.#freeMembers.push(member);
    this.#alive--;
    this.completed++;
  }
}
