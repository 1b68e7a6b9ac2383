/**
 * A bounded cache: look-ups by key popularity; a miss makes an entry, and room for it by eviction.
 *
 * One goroutine performs the look-ups that have come due at each tick. An entry is an owner: its objects die when it is
 * evicted or found expired. LRU order is a doubly linked list through arrays indexed by key, as the oracle keeps it
 * outside the Go heap.
 */
import { AFTER_PARK, AFTER_RUN, G } from "../runtime/proc.ts";
import type { Cache, WorkloadEntry } from "../scenario/schema.ts";
import type { Rng } from "../sim/rng.ts";
import { compileDist, type Sampler } from "./distributions.ts";
import { Holder, OwnedObjects } from "./owned.ts";
import { type Context, type Running, startTicker } from "./program.ts";
import { ZipfSampler } from "./zipf.ts";

const NONE = -1;

export function startCache(ctx: Context, entry: Cache): Running {
  const task = new CacheTask(ctx, entry);
  startTicker(ctx);
  ctx.rt.sched.readyAt(task, entry.start);
  return task;
}

class CacheTask extends G implements Running {
  readonly #ctx: Context;
  readonly #rng: Rng;
  readonly #objects: OwnedObjects;
  /** By key: the entry's owner (NONE when absent), LRU links, expiry, requested bytes and objects. */
  readonly #owner: Int32Array;
  readonly #newer: Int32Array;
  readonly #older: Int32Array;
  readonly #expiresNs: Float64Array;
  readonly #bytes: Float64Array;
  readonly #objectsOf: Int32Array;
  /** By key: pool items of entries that hold any. */
  readonly #pooled = new Map<number, readonly number[]>();
  /** Keys present, in no order, and each key's place there: for random replacement. */
  readonly #present: Int32Array;
  readonly #place: Int32Array;
  #entries = 0;
  #totalBytes = 0;
  #newest = NONE;
  #oldest = NONE;

  #entry!: Cache;
  #zipf!: ZipfSampler;
  #ttl: Sampler | null = null;
  #due = 0;
  #accruedNs: number;
  #wokeNs = 0;
  #started = false;
  #prefilled = 0;
  completed = 0;

  /** The entry being built when a step ended in its middle. */
  #building = NONE;
  #group = 0;
  #left = 0;
  readonly #holder = new Holder();

  constructor(ctx: Context, entry: Cache) {
    super();
    this.#ctx = ctx;
    this.#rng = ctx.random.stream(entry.name);
    this.#objects = new OwnedObjects(ctx, entry.name, true);
    this.#owner = new Int32Array(entry.keys).fill(NONE);
    this.#newer = new Int32Array(entry.keys);
    this.#older = new Int32Array(entry.keys);
    this.#expiresNs = new Float64Array(entry.keys);
    this.#bytes = new Float64Array(entry.keys);
    this.#objectsOf = new Int32Array(entry.keys);
    this.#present = new Int32Array(entry.keys);
    this.#place = new Int32Array(entry.keys);
    this.#accruedNs = entry.start;
    this.#configure(entry);
    this.#objects.needsOwner = true;
    if (!entry.prefill) this.#prefilled = Infinity;
  }

  #configure(entry: Cache): void {
    this.#entry = entry;
    this.#zipf = new ZipfSampler(entry.keys, entry.skew);
    this.#ttl = entry.ttl === undefined ? null : compileDist(entry.ttl);
    this.#objects.configure(entry.objects, 0);
  }

  change(changed: WorkloadEntry, nowNs: number): void {
    if (changed.kind !== "cache") throw new Error("a phase changed the kind of an entry");
    if (changed.keys !== this.#entry.keys)
      throw new Error("a cache's number of keys cannot change while it runs");
    this.#accrue(nowNs);
    this.#configure(changed);
  }

  #accrue(nowNs: number): void {
    const until = Math.min(nowNs, this.#entry.stop ?? Infinity);
    if (until > this.#accruedNs) this.#due += ((until - this.#accruedNs) * this.#entry.requests) / 1e9;
    this.#accruedNs = Math.max(this.#accruedNs, nowNs);
  }

  step(p: number, nowNs: number): number {
    const rt = this.#ctx.rt;
    const woke = !this.#started || (this.#due < 1 && this.#building === NONE && this.owedKind < 0);
    rt.beginStep(this, p, nowNs);
    if (woke) {
      this.#started = true;
      this.#accrue(nowNs);
      this.#wokeNs = nowNs;
      this.#objects.expire(nowNs);
      rt.sched.mutatorNs += this.#ctx.program.tickNs;
    }
    if (this.#building !== NONE) this.#build(p, nowNs);
    while (!rt.stop && this.#building === NONE && this.#prefilled < this.#entry.keys) {
      if (this.#full) this.#prefilled = Infinity;
      else this.#insert(p, this.#prefilled++, nowNs);
    }
    while (!rt.stop && this.#building === NONE && this.#due >= 1) {
      this.#due--;
      this.#lookup(p, nowNs);
    }
    if (this.#due >= 1 || this.#building !== NONE) {
      this.after = AFTER_RUN;
    } else {
      this.after = AFTER_PARK;
      if (nowNs < (this.#entry.stop ?? Infinity)) {
        const tick = this.#entry.tick;
        const next = (Math.floor(this.#wokeNs / tick) + 1) * tick;
        this.wakeAtNs = next;
      }
    }
    return rt.sliceNs;
  }

  /** The bound is reached: an insertion must evict first. */
  get #full(): boolean {
    const { max_entries, max_bytes } = this.#entry;
    return max_entries !== undefined ? this.#entries >= max_entries : this.#totalBytes >= (max_bytes ?? 0);
  }

  #lookup(p: number, nowNs: number): void {
    this.completed++;
    const key = this.#zipf.sample(this.#rng);
    this.#ctx.rt.sliceNs += this.#ctx.program.lookupNs;
    if (this.#owner[key] !== NONE) {
      if (this.#expiresNs[key] > nowNs) {
        this.#unlink(key);
        this.#linkNewest(key);
        return;
      }
      this.#evict(p, key, nowNs);
    }
    while (this.#entries > 0 && this.#full) this.#evict(p, this.#victim(), nowNs);
    this.#insert(p, key, nowNs);
  }

  #victim(): number {
    if (this.#entry.replacement === "lru") return this.#oldest;
    return this.#present[Math.floor(this.#rng.f64() * this.#entries)];
  }

  #insert(p: number, key: number, nowNs: number): void {
    this.#owner[key] = this.#ctx.rt.owners.alloc();
    this.#expiresNs[key] = this.#ttl === null ? Infinity : nowNs + this.#ttl.sample(this.#rng);
    this.#bytes[key] = 0;
    this.#objectsOf[key] = 0;
    this.#linkNewest(key);
    this.#place[key] = this.#entries;
    this.#present[this.#entries++] = key;
    this.#building = key;
    this.#group = -1;
    this.#left = 0;
    this.#build(p, nowNs);
  }

  #build(p: number, nowNs: number): void {
    const rt = this.#ctx.rt;
    const key = this.#building;
    this.#holder.owner = this.#owner[key];
    while (!rt.stop) {
      if (this.#left === 0) {
        this.#group++;
        if (this.#group >= this.#objects.length) {
          this.#building = NONE;
          if (this.#holder.pooled.length > 0) this.#pooled.set(key, this.#holder.takePooled());
          break;
        }
        this.#left = this.#objects.drawCount(this.#group, this.#rng);
        if (this.#left > 0 && this.#objects.isOwned(this.#group)) {
          this.#objectsOf[key] += this.#left;
          this.#objects.table.hold(this, p, this.#left);
        }
        continue;
      }
      const size = this.#objects.allocOne(this, p, this.#group, this.#holder, this.#rng, nowNs);
      this.#bytes[key] += size;
      this.#totalBytes += size;
      this.#left--;
    }
  }

  #evict(p: number, key: number, nowNs: number): void {
    const rt = this.#ctx.rt;
    rt.owners.end(this.#owner[key], rt.deathTick(nowNs));
    this.#owner[key] = NONE;
    const pooled = this.#pooled.get(key);
    if (pooled !== undefined) {
      this.#objects.putBack(p, pooled);
      this.#pooled.delete(key);
    }
    this.#totalBytes -= this.#bytes[key];
    this.#objects.table.release(this.#objectsOf[key]);
    this.#unlink(key);
    const last = this.#present[--this.#entries];
    this.#present[this.#place[key]] = last;
    this.#place[last] = this.#place[key];
  }

  #linkNewest(key: number): void {
    this.#newer[key] = NONE;
    this.#older[key] = this.#newest;
    if (this.#newest !== NONE) this.#newer[this.#newest] = key;
    this.#newest = key;
    if (this.#oldest === NONE) this.#oldest = key;
  }

  #unlink(key: number): void {
    const newer = this.#newer[key];
    const older = this.#older[key];
    if (newer !== NONE) this.#older[newer] = older;
    else this.#newest = older;
    if (older !== NONE) this.#newer[older] = newer;
    else this.#oldest = newer;
  }
}
