/**
 * sync.Pool: free objects kept per P, moved to a victim cache at each collection and dropped at the next.
 *
 * Models sync/pool.go of Go 1.26 (Get, Put, getSlow, poolCleanup). An item is an owner (see owners.ts): its object is
 * alive while it is in use or in the pool, and dies when poolCleanup drops it.
 *
 * Simplified: the pool's own memory (poolLocal arrays, dequeue rings: tens of bytes per P) is not allocated; the order
 * of stealing is by P index after one's own.
 */
import type { OwnerTable } from "./owners.ts";

export class SyncPool {
  readonly #owners: OwnerTable;
  readonly #nprocs: number;
  /** Per P: the private slot (-1 when empty) and the shared list, newest last. */
  #private: Int32Array;
  #shared: number[][];
  #victimPrivate: Int32Array;
  #victimShared: number[][];

  constructor(owners: OwnerTable, nprocs: number) {
    this.#owners = owners;
    this.#nprocs = nprocs;
    this.#private = new Int32Array(nprocs).fill(-1);
    this.#victimPrivate = new Int32Array(nprocs).fill(-1);
    this.#shared = Array.from({ length: nprocs }, () => []);
    this.#victimShared = Array.from({ length: nprocs }, () => []);
  }

  /** Takes an item for P `p`; -1 when the pool is empty and the caller must make one. */
  get(p: number): number {
    const item = this.#take(p, this.#private, this.#shared);
    if (item >= 0) return item;
    return this.#take(p, this.#victimPrivate, this.#victimShared);
  }

  #take(p: number, privates: Int32Array, shared: number[][]): number {
    const own = privates[p];
    if (own >= 0) {
      privates[p] = -1;
      return own;
    }
    const head = shared[p].pop();
    if (head !== undefined) return head;
    for (let i = 1; i < this.#nprocs; i++) {
      // Others' lists are stolen from the tail: the oldest first. A private slot cannot be stolen.
      const tail = shared[(p + i) % this.#nprocs].shift();
      if (tail !== undefined) return tail;
    }
    return -1;
  }

  put(p: number, item: number): void {
    if (this.#private[p] < 0) this.#private[p] = item;
    else this.#shared[p].push(item);
  }

  /** poolCleanup, with the world stopped: victims are dropped at `tick`, the rest become victims. */
  cleanup(tick: number): void {
    for (let p = 0; p < this.#nprocs; p++) {
      if (this.#victimPrivate[p] >= 0) this.#owners.end(this.#victimPrivate[p], tick);
      for (const item of this.#victimShared[p]) this.#owners.end(item, tick);
    }
    this.#victimPrivate = this.#private;
    this.#victimShared = this.#shared;
    this.#private = new Int32Array(this.#nprocs).fill(-1);
    this.#shared = Array.from({ length: this.#nprocs }, () => []);
  }
}
