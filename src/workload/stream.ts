/**
 * Streams and leaks: objects allocated at a rate by goroutines that wake once a tick.
 *
 * At each tick a goroutine drops what has died and allocates what has come due since its last wake, as a timer-driven
 * Go program does. Deaths therefore fall on ticks.
 */
import { AFTER_PARK, AFTER_RUN, G } from "../runtime/proc.ts";
import type { Leak, Stream, WorkloadEntry } from "../scenario/schema.ts";
import type { Rng } from "../sim/rng.ts";
import { DeathSampler, KindSampler, orderOfLifetime } from "./objects.ts";
import { type Context, type Running, startTicker } from "./program.ts";
import { SlotTable } from "./slottable.ts";

const BLOCK = 512;

export function startStream(ctx: Context, entry: Stream | Leak): Running {
  const source = ctx.addSource(entry.name);
  const n = entry.kind === "stream" ? entry.goroutines : 1;
  const table = new SlotTable(ctx.rt, ctx.program.declared ? source : -1, ctx.durationNs);
  const tasks: StreamTask[] = [];
  const spec = specOf(ctx, source, entry, n, table);
  for (let i = 0; i < n; i++) {
    const task = new StreamTask(ctx, entry, spec, table, ctx.random.stream(`${entry.name}/${i}`));
    tasks.push(task);
    startTicker(ctx);
    ctx.rt.sched.readyAt(task, entry.start);
  }
  return {
    change(changed: WorkloadEntry, nowNs: number): void {
      if (changed.kind !== "stream" && changed.kind !== "leak")
        throw new Error("a phase changed the kind of an entry");
      const spec = specOf(ctx, source, changed, n, table);
      for (const task of tasks) task.change(spec, nowNs);
    },
  };
}

/**
 * What the goroutines of a stream have in common. The samplers are shared not for their memory but for what they learn: which class a
 * random number leads to is worked out once, and their tables stay in the caches.
 */
interface StreamSpec {
  readonly kinds: KindSampler;
  readonly death: DeathSampler;
  /** Objects of one goroutine. */
  readonly perNs: number;
  /** What the program does beside allocating, per object. */
  readonly heldNs: number;
  readonly tickNs: number;
  readonly stopNs: number;
}

function specOf(
  { rt, program }: Context,
  source: number,
  entry: Stream | Leak,
  goroutines: number,
  table: SlotTable,
): StreamSpec {
  const kinds = new KindSampler(rt.kinds, source, entry.size, entry.pointers);
  const rate = entry.rate ?? (entry.byte_rate ?? 0) / kinds.meanBytes;
  const life = entry.kind === "leak" || entry.lifetime.until !== "time" ? null : entry.lifetime.dist;
  const least = entry.kind === "leak" ? 1 : orderOfLifetime(entry.lifetime);
  rt.kinds.setOrder(source, () => Math.max(least, table.ordered));
  return {
    kinds,
    death: new DeathSampler(rt, life, entry.tick, BLOCK),
    perNs: rate / goroutines / 1e9,
    heldNs: program.heldObjectNs + program.drawNs(entry.size),
    tickNs: entry.tick,
    stopNs: entry.stop ?? Infinity,
  };
}

class StreamTask extends G {
  readonly #name: string;
  readonly #ctx: Context;
  readonly #rng: Rng;
  /** The next objects to allocate: when they die and, unless all are of one kind, of what kind they are. */
  readonly #deaths = new Int32Array(BLOCK);
  readonly #blockKinds = new Int32Array(BLOCK);
  readonly #table: SlotTable;
  #spec: StreamSpec;
  /** Objects due and not yet allocated; the fraction carries over. */
  #due = 0;
  #accruedNs: number;
  #blockAt = 0;
  #blockEnd = 0;
  #started = false;
  /** When it last woke: its next tick counts from there. */
  #wokeNs = 0;

  constructor(ctx: Context, entry: Stream | Leak, spec: StreamSpec, table: SlotTable, rng: Rng) {
    super();
    this.#name = entry.name;
    this.#ctx = ctx;
    this.#rng = rng;
    this.#accruedNs = entry.start;
    this.#table = table;
    this.#spec = spec;
  }

  override get label(): string {
    return this.#name;
  }

  change(spec: StreamSpec, nowNs: number): void {
    if (this.#started) this.#accrue(nowNs);
    this.#spec = spec;
    this.#blockAt = this.#blockEnd = 0;
  }

  #accrue(nowNs: number): void {
    const until = Math.min(nowNs, this.#spec.stopNs);
    if (until > this.#accruedNs) this.#due += (until - this.#accruedNs) * this.#spec.perNs;
    this.#accruedNs = Math.max(this.#accruedNs, nowNs);
  }

  step(p: number, nowNs: number): number {
    const rt = this.#ctx.rt;
    const woke = !this.#started || (this.#due < 1 && this.owedKind < 0);
    rt.beginStep(this, p, nowNs);
    if (woke) {
      this.#started = true;
      this.#accrue(nowNs);
      this.#wokeNs = nowNs;
      this.#table.expire(nowNs);
      rt.sched.usedWithoutP(p, this.#ctx.program.tickNs);
    }
    this.#allocate(p, nowNs);
    if (this.#due >= 1) {
      this.after = AFTER_RUN;
    } else if (nowNs >= this.#spec.stopNs) {
      this.after = AFTER_PARK;
    } else {
      this.after = AFTER_PARK;
      const next = (Math.floor(this.#wokeNs / this.#spec.tickNs) + 1) * this.#spec.tickNs;
      this.wakeAtNs = next;
    }
    return rt.sliceNs;
  }

  #allocate(p: number, nowNs: number): void {
    const rt = this.#ctx.rt;
    const { kinds, death, heldNs, tickNs } = this.#spec;
    const { single } = kinds;
    const run = single >= 0 && rt.kinds.tiny[single] === 0 && rt.kinds.largePages[single] === 0;
    while (this.#due >= 1 && !rt.stop) {
      if (this.#blockAt === this.#blockEnd) {
        const n = Math.min(BLOCK, Math.floor(this.#due));
        const lifetimesNs = death.lifetimes(this.#rng, n);
        if (!run) kinds.fill(this.#rng, this.#blockKinds, n);
        this.#blockAt = 0;
        this.#blockEnd = n;
        if (lifetimesNs !== undefined) this.#table.add(this, p, nowNs, lifetimesNs, tickNs, this.#deaths, n);
        else {
          const tick = death.one(this.#rng, nowNs);
          this.#deaths.fill(tick, 0, n);
          this.#table.addAlike(this, p, tick, n);
        }
      }
      const left = this.#blockEnd - this.#blockAt;
      const done = run
        ? rt.allocRun(this, p, single, left, this.#deaths, this.#blockAt, heldNs)
        : rt.allocEach(this, p, this.#blockKinds, this.#deaths, this.#blockAt, this.#blockEnd, heldNs);
      this.#blockAt += done;
      this.#due -= done;
    }
  }
}
