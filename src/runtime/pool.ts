/**
 * sync.Pool: free objects kept per P, moved to a victim cache at each collection and dropped at the next.
 *
 * Models sync/pool.go of Go 1.26 (Get, Put, getSlow, poolCleanup). An item is an owner (see owners.ts): its object is
 * alive while it is in use or in the pool, and dies when poolCleanup drops it.
 *
 * The array of locals is made for the Ps there are at its first use after a collection. When GOMAXPROCS falls, those of Ps that went
 * are still stolen from; when it rises, the first use by a new P makes a new array, and what was in the old one is garbage (pinSlow).
 *
 * Simplified: the pool's own memory (poolLocal arrays, dequeue rings: tens of bytes per P) is not allocated; the order
 * of stealing is by P index after one's own.
 */
import type { OwnerTable } from "./owners.ts";

/** The Ps there are, and the tick in which what is lost now is dead. */
export interface PoolClock {
  readonly nprocs: number;
  deathTick(): number;
}

export class SyncPool {
  readonly #owners: OwnerTable;
  readonly #clock: PoolClock;
  /** Per P: the private slot (-1 when empty) and the shared list, newest last. */
  #private: Int32Array;
  #shared: number[][];
  #victimPrivate: Int32Array;
  #victimShared: number[][];

  constructor(owners: OwnerTable, clock: PoolClock) {
    this.#owners = owners;
    this.#clock = clock;
    const { nprocs } = clock;
    this.#private = new Int32Array(nprocs).fill(-1);
    this.#victimPrivate = new Int32Array(nprocs).fill(-1);
    this.#shared = Array.from({ length: nprocs }, () => []);
    this.#victimShared = Array.from({ length: nprocs }, () => []);
  }

  /** Takes an item for P `p`; -1 when the pool is empty and the caller must make one. */
  get(p: number): number {
    if (p >= this.#private.length) this.#pinSlow();
    const item = this.#take(p, this.#private, this.#shared);
    if (item >= 0) return item;
    // Victims of fewer Ps than there are now are no help to the new ones (victimSize).
    return p < this.#victimPrivate.length ? this.#take(p, this.#victimPrivate, this.#victimShared) : -1;
  }

  #take(p: number, privates: Int32Array, shared: number[][]): number {
    const own = privates[p];
    if (own >= 0) {
      privates[p] = -1;
      return own;
    }
    const head = shared[p].pop();
    if (head !== undefined) return head;
    for (let i = 1; i < shared.length; i++) {
      // Others' lists are stolen from the tail: the oldest first. A private slot cannot be stolen.
      const tail = shared[(p + i) % shared.length].shift();
      if (tail !== undefined) return tail;
    }
    return -1;
  }

  put(p: number, item: number): void {
    if (p >= this.#private.length) this.#pinSlow();
    if (this.#private[p] < 0) this.#private[p] = item;
    else this.#shared[p].push(item);
  }

  /** poolCleanup, with the world stopped: victims are dropped at `tick`, the rest become victims. */
  cleanup(tick: number): void {
    this.#drop(this.#victimPrivate, this.#victimShared, tick);
    this.#victimPrivate = this.#private;
    this.#victimShared = this.#shared;
    this.#empty();
  }

  #drop(privates: Int32Array, shared: number[][], tick: number): void {
    for (let p = 0; p < privates.length; p++) {
      if (privates[p] >= 0) this.#owners.end(privates[p], tick);
      for (const item of shared[p]) this.#owners.end(item, tick);
    }
  }

  /** A P that came after the array of locals was made uses the pool. */
  #pinSlow(): void {
    this.#drop(this.#private, this.#shared, this.#clock.deathTick());
    this.#empty();
  }

  #empty(): void {
    const { nprocs } = this.#clock;
    this.#private = new Int32Array(nprocs).fill(-1);
    this.#shared = Array.from({ length: nprocs }, () => []);
  }
}
