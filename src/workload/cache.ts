/**
 * A bounded cache: look-ups by key popularity; a miss makes an entry, and room for it by eviction.
 *
 * One goroutine performs the look-ups that have come due at each tick. An entry is an owner: its objects die when it is
 * evicted or found expired. LRU order is a doubly linked list through the entries' records, which, as the oracle's, are no
 * part of the Go heap.
 */
import { grownInt32 } from "../runtime/kinds.ts";
import { AFTER_PARK, AFTER_RUN, G } from "../runtime/proc.ts";
import type { Cache, WorkloadEntry } from "../scenario/schema.ts";
import type { Rng } from "../sim/rng.ts";
import { compileDist, type Sampler } from "./distributions.ts";
import { Holder, OwnedObjects } from "./owned.ts";
import { type Context, type Running, startTicker } from "./program.ts";
import { ZipfSampler } from "./zipf.ts";

const NONE = -1;

/**
 * Records of entries lie side by side in one array, in no order: the last one takes the place of one evicted. So those of a
 * cache smaller than its keys stay in the CPU's caches, and each is one or two lines there. In 32-bit words: the key, the
 * owner, the places of its neighbours in LRU order, its objects.
 */
const RECORD_WORDS = 10;
const KEY = 0;
const OWNER = 1;
const NEWER = 2;
const OLDER = 3;
const OBJECTS = 4;
/** In doubles: requested bytes and expiry. */
const RECORD_DOUBLES = 5;
const BYTES = 3;
const EXPIRES_NS = 4;

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
  /** By key: the place of its entry's record; NONE when absent. */
  readonly #placeOf: Int32Array;
  /** By place: the records, and the same memory as doubles. */
  #records = new Int32Array(1024 * RECORD_WORDS);
  #doubles = new Float64Array(this.#records.buffer);
  /** By key: pool items of entries that hold any. */
  readonly #pooled = new Map<number, readonly number[]>();
  #entries = 0;
  #totalBytes = 0;
  #newest = NONE;
  #oldest = NONE;

  #entry!: Cache;
  #zipf!: ZipfSampler;
  #ttl: Sampler | null = null;
  /** Whether there ever was a ttl: else look-ups need not wait for the record. */
  #expiring = false;
  #due = 0;
  #accruedNs: number;
  #wokeNs = 0;
  #started = false;
  #prefilled = 0;
  completed = 0;

  /** The place of the entry being built when a step ended in its middle. */
  #building = NONE;
  #group = 0;
  #left = 0;
  readonly #holder = new Holder();

  constructor(ctx: Context, entry: Cache) {
    super();
    this.#ctx = ctx;
    this.#rng = ctx.random.stream(entry.name);
    this.#objects = new OwnedObjects(ctx, entry.name, true);
    this.#placeOf = new Int32Array(entry.keys).fill(NONE);
    this.#accruedNs = entry.start;
    this.#configure(entry);
    this.#objects.needsOwner = true;
    if (!entry.prefill) this.#prefilled = Infinity;
  }

  override get label(): string {
    return this.#entry.name;
  }

  #configure(entry: Cache): void {
    this.#entry = entry;
    this.#zipf = new ZipfSampler(entry.keys, entry.skew);
    this.#ttl = entry.ttl === undefined ? null : compileDist(entry.ttl);
    if (this.#ttl !== null) this.#expiring = true;
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
      rt.sched.usedWithoutP(p, this.#ctx.program.tickNs);
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
    const at = this.#placeOf[key];
    if (at !== NONE) {
      if (!this.#expiring || this.#doubles[at * RECORD_DOUBLES + EXPIRES_NS] > nowNs) {
        this.#unlink(at);
        this.#linkNewest(at);
        return;
      }
      this.#evict(p, at, nowNs);
    }
    while (this.#entries > 0 && this.#full) this.#evict(p, this.#victim(), nowNs);
    this.#insert(p, key, nowNs);
  }

  #victim(): number {
    if (this.#entry.replacement === "lru") return this.#oldest;
    return Math.floor(this.#rng.f64() * this.#entries);
  }

  #insert(p: number, key: number, nowNs: number): void {
    const at = this.#entries++;
    if (this.#entries * RECORD_WORDS > this.#records.length) {
      this.#records = grownInt32(this.#records, this.#records.length * 2);
      this.#doubles = new Float64Array(this.#records.buffer);
    }
    this.#placeOf[key] = at;
    const record = at * RECORD_WORDS;
    this.#records[record + KEY] = key;
    this.#records[record + OWNER] = this.#ctx.rt.owners.alloc();
    this.#records[record + OBJECTS] = 0;
    this.#doubles[at * RECORD_DOUBLES + BYTES] = 0;
    this.#doubles[at * RECORD_DOUBLES + EXPIRES_NS] =
      this.#ttl === null ? Infinity : nowNs + this.#ttl.sample(this.#rng);
    this.#linkNewest(at);
    this.#building = at;
    this.#group = -1;
    this.#left = 0;
    this.#build(p, nowNs);
  }

  #build(p: number, nowNs: number): void {
    const rt = this.#ctx.rt;
    const record = this.#building * RECORD_WORDS;
    const double = this.#building * RECORD_DOUBLES;
    this.#holder.owner = this.#records[record + OWNER];
    while (!rt.stop) {
      if (this.#left === 0) {
        this.#group++;
        if (this.#group >= this.#objects.length) {
          this.#building = NONE;
          if (this.#holder.pooled.length > 0)
            this.#pooled.set(this.#records[record + KEY], this.#holder.takePooled());
          break;
        }
        this.#left = this.#objects.drawCount(this.#group, this.#rng);
        if (this.#left > 0 && this.#objects.isOwned(this.#group)) {
          this.#records[record + OBJECTS] += this.#left;
          this.#objects.table.hold(this, p, this.#left);
        }
        continue;
      }
      const size = this.#objects.allocOne(this, p, this.#group, this.#holder, this.#rng, nowNs);
      this.#doubles[double + BYTES] += size;
      this.#totalBytes += size;
      this.#left--;
    }
  }

  #evict(p: number, at: number, nowNs: number): void {
    const rt = this.#ctx.rt;
    const record = at * RECORD_WORDS;
    const key = this.#records[record + KEY];
    rt.owners.end(this.#records[record + OWNER], rt.deathTick(nowNs));
    this.#placeOf[key] = NONE;
    const pooled = this.#pooled.get(key);
    if (pooled !== undefined) {
      this.#objects.putBack(p, pooled);
      this.#pooled.delete(key);
    }
    this.#totalBytes -= this.#doubles[at * RECORD_DOUBLES + BYTES];
    this.#objects.table.release(this.#records[record + OBJECTS]);
    this.#unlink(at);
    const last = --this.#entries;
    if (at !== last) this.#move(last, at);
  }

  #move(from: number, to: number): void {
    const records = this.#records;
    const record = to * RECORD_WORDS;
    for (let i = 0; i < RECORD_WORDS; i++) records[record + i] = records[from * RECORD_WORDS + i];
    this.#placeOf[records[record + KEY]] = to;
    this.#setOlder(records[record + NEWER], to);
    this.#setNewer(records[record + OLDER], to);
  }

  #linkNewest(at: number): void {
    const record = at * RECORD_WORDS;
    this.#records[record + NEWER] = NONE;
    this.#records[record + OLDER] = this.#newest;
    this.#setNewer(this.#newest, at);
    this.#newest = at;
  }

  #unlink(at: number): void {
    const record = at * RECORD_WORDS;
    const newer = this.#records[record + NEWER];
    const older = this.#records[record + OLDER];
    this.#setOlder(newer, older);
    this.#setNewer(older, newer);
  }

  /** `older` comes after `at` in LRU order, or first when that is NONE. */
  #setOlder(at: number, older: number): void {
    if (at === NONE) this.#newest = older;
    else this.#records[at * RECORD_WORDS + OLDER] = older;
  }

  /** `newer` comes before `at` in LRU order, or last when that is NONE. */
  #setNewer(at: number, newer: number): void {
    if (at === NONE) this.#oldest = newer;
    else this.#records[at * RECORD_WORDS + NEWER] = newer;
  }
}
