/**
 * Object groups of an owner: what a request, a work item, a cache entry or a goroutine allocates, and from where.
 *
 * `heap` objects come from mallocgc. `pool` objects are taken from a sync.Pool of their group and put back when the
 * owner ends. `arena` objects are carved from a block the owner takes from a pool of blocks: 64-byte aligned, reset for
 * the next owner; objects over 1 KiB, past the block's end, or of owners that have no block (cache entries, goroutines)
 * come from the group's pool instead.
 */

import { SyncPool } from "../runtime/pool.ts";
import type { G } from "../runtime/proc.ts";
import type { ObjectGroup } from "../scenario/schema.ts";
import type { Rng } from "../sim/rng.ts";
import { CountSampler, DeathSampler, KindSampler, orderOfLifetime } from "./objects.ts";
import type { Context } from "./program.ts";
import { SlotTable, tableSource } from "./slottable.ts";

const ARENA_ALIGN = 64;
const ARENA_MAX_OBJECT = 1024;
const NO_ITEMS: readonly number[] = [];

/** One group, ready to allocate. */
class Group {
  readonly count: CountSampler;
  readonly kinds: KindSampler;
  readonly death: DeathSampler | null;
  readonly owned: boolean;
  readonly allocator: ObjectGroup["allocator"];
  readonly pool: SyncPool | null;
  /** CPU of drawing a size. */
  readonly drawNs: number;

  constructor(ctx: Context, source: number, group: ObjectGroup, pool: SyncPool | null, dropNs: number) {
    this.count = new CountSampler(group.count);
    this.kinds = new KindSampler(ctx.rt.kinds, source, group.size, group.pointers);
    this.owned = group.lifetime.until === "owner";
    this.death = this.owned
      ? null
      : new DeathSampler(ctx.rt, group.lifetime.until === "time" ? group.lifetime.dist : null, dropNs, 1);
    this.allocator = group.allocator;
    this.pool = pool;
    this.drawNs = ctx.program.drawNs(group.size);
  }
}

/** All groups of one workload entry. Pools belong to the entry and outlive a phase's changes. */
export class OwnedObjects {
  readonly #ctx: Context;
  readonly #name: string;
  readonly #sources: number[] = [];
  readonly #pools: (SyncPool | null)[] = [];
  #groups: Group[] = [];
  #arenaKind = -1;
  #arenaBlock = 0;
  #arenaPool: SyncPool | null = null;
  /** What holds the objects that outlive their owner, and those of cache entries and goroutines. */
  readonly table: SlotTable;
  /** Whether any object lives as long as its owner, so that owners need a number. */
  needsOwner = false;

  /** Whether the oracle holds these owners' objects in its slot table (cache entries, goroutines) or in an owner table. */
  readonly #inTable: boolean;

  constructor(ctx: Context, name: string, inTable: boolean) {
    this.#ctx = ctx;
    this.#name = name;
    this.#inTable = inTable;
    this.table = new SlotTable(ctx.rt, tableSource(ctx, name), ctx.durationNs);
  }

  /** Slots of objects dead by `nowNs` are free again. */
  expire(nowNs: number): void {
    this.table.expire(nowNs);
  }

  get length(): number {
    return this.#groups.length;
  }

  configure(groups: readonly ObjectGroup[], arenaBlock: number): void {
    const ctx = this.#ctx;
    this.#groups = groups.map((group, i) => {
      this.#sources[i] ??= ctx.addSource(`${this.#name}/${group.name ?? i}`);
      if (group.allocator !== "heap" && this.#pools[i] == null) this.#pools[i] = this.#newPool();
      return new Group(ctx, this.#sources[i], group, this.#pools[i] ?? null, 0);
    });
    // Groups follow one another: in an owner table each of the two halves of them, in a slot table whole.
    const owners = this.#groups.filter((group) => group.owned).length;
    const share = this.#inTable ? 1 : 1 / 2;
    this.#groups.forEach(({ owned, count }, i) => {
      if (owned && owners > 1) ctx.rt.kinds.setSideBySide(this.#sources[i], Math.max(1, count.mean * share));
    });
    groups.forEach(({ lifetime }, i) => {
      const owned = lifetime.until === "owner";
      // What a request holds by itself lies in its owner table as it was made.
      if (owned && !this.#inTable) return;
      const least = owned ? 0 : orderOfLifetime(lifetime);
      ctx.rt.kinds.setOrder(this.#sources[i], () => Math.max(least, this.table.ordered));
    });
    this.needsOwner = this.#groups.some((g) => g.owned && g.allocator === "heap") || ctx.program.declared;
    if (arenaBlock > 0 && groups.some((g) => g.allocator === "arena")) {
      this.#arenaPool ??= this.#newPool();
      this.#arenaBlock = arenaBlock;
      this.#arenaKind = ctx.rt.kinds.add(this.#sources[0], arenaBlock, 0);
    }
  }

  #newPool(): SyncPool {
    const { owners, sched } = this.#ctx.rt;
    const pool = new SyncPool(owners, {
      get nprocs() {
        return sched.nprocs;
      },
      deathTick: () => this.#ctx.rt.deathTick(sched.nowNs),
    });
    this.#ctx.pools.push(pool);
    return pool;
  }

  /** Do the group's objects die with their owner? */
  isOwned(group: number): boolean {
    return this.#groups[group].owned;
  }

  drawCount(group: number, rng: Rng): number {
    return this.#groups[group].count.draw(rng);
  }

  /** Allocates one object of `group` for the owner behind `holder`. Returns its requested bytes. */
  allocOne(g: G, p: number, group: number, holder: Holder, rng: Rng, nowNs: number): number {
    const rt = this.#ctx.rt;
    const of = this.#groups[group];
    const kind = of.kinds.draw(rng);
    rt.sliceNs += of.drawNs;
    const size = rt.kinds.size[kind];
    if (of.allocator === "arena" && this.#arenaBlock > 0 && size <= ARENA_MAX_OBJECT) {
      if (holder.arenaItem < 0) this.#takeBlock(g, p, holder);
      const at = Math.ceil(holder.arenaUsed / ARENA_ALIGN) * ARENA_ALIGN;
      if (at + size <= this.#arenaBlock) {
        holder.arenaUsed = at + size;
        // A bump allocation: the object is written, nothing else happens.
        rt.sliceNs += rt.costs.initPageNs;
        return size;
      }
    }
    if (of.pool !== null) {
      let item = of.pool.get(p);
      if (item < 0) {
        item = rt.owners.alloc();
        rt.alloc(g, p, kind, ~item);
      } else {
        rt.sliceNs += rt.costs.tinyNs;
      }
      holder.pooled.push(item, group);
      return size;
    }
    const { program } = this.#ctx;
    if (of.death === null) {
      rt.alloc(g, p, kind, ~holder.owner);
      rt.sliceNs += this.#inTable ? program.heldObjectNs : program.ownedObjectNs;
    } else {
      rt.sliceNs += program.heldObjectNs;
      const death = of.death.one(rng, nowNs);
      this.table.addAlike(g, p, death, 1);
      rt.alloc(g, p, kind, death);
    }
    return size;
  }

  #takeBlock(g: G, p: number, holder: Holder): void {
    const rt = this.#ctx.rt;
    let item = this.#arenaPool!.get(p);
    if (item < 0) {
      item = rt.owners.alloc();
      rt.alloc(g, p, this.#arenaKind, ~item);
    }
    holder.arenaItem = item;
    holder.arenaUsed = 0;
  }

  /** Pairs of pool item and group go back to their pools. */
  putBack(p: number, pooled: readonly number[]): void {
    for (let i = 0; i < pooled.length; i += 2) this.#pools[pooled[i + 1]]!.put(p, pooled[i]);
  }

  /** The owner ends: its objects die now, pooled ones go back. It was held by the stack of goroutine `gid`; -1: by a table. */
  release(p: number, holder: Holder, nowNs: number, gid: number): void {
    const rt = this.#ctx.rt;
    this.putBack(p, holder.pooled);
    holder.pooled.length = 0;
    if (holder.arenaItem >= 0) {
      this.#arenaPool!.put(p, holder.arenaItem);
      holder.arenaItem = -1;
    }
    if (holder.owner >= 0) {
      rt.endOwner(holder.owner, nowNs, gid);
      holder.owner = -1;
    }
  }
}

/** What one owner holds; reused from owner to owner. */
export class Holder {
  owner = -1;
  /** Pairs: pool item, group. */
  pooled: number[] = [];
  arenaItem = -1;
  arenaUsed = 0;

  /** Hands over the pool items of an owner that is complete, for whoever keeps them until it ends. */
  takePooled(): readonly number[] {
    if (this.pooled.length === 0) return NO_ITEMS;
    const pooled = this.pooled;
    this.pooled = [];
    return pooled;
  }
}
