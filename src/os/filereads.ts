/**
 * When a container's files are read: every 10 ms of the loads of its page cache (pagecache.ts) are played at their end.
 *
 * Far from the group's limits nothing comes of a read but sums: pages charged, and pages on the lists in the order they were read. Then rounds are
 * left to be played together by whoever looks next, which is a sample mostly: what is read is far apart in memory, and a processor
 * that comes to it every 10 ms finds none of it in its caches. Each round is played as of its own time, and the outcome is the same to the last page. A
 * charge that brings the group near a limit has the rounds that are due played first, and from then on each is played at its time (cgroup.ts). So is one in
 * which the kernel adds up statistics, for it sees the process's part of them as well.
 */
import { MEMCG_CHARGE_BATCH, type MemoryCgroup } from "./cgroup.ts";
import type { PageCache } from "./pagecache.ts";

/** How often page-cache loads are played. */
export const FILE_ROUND_NS = 10e6;
/** Rounds that are left at most: as many more pages the limits have to be away. */
const ROUNDS_LEFT = 20;

export interface FileTimer {
  readonly nowNs: number;
  /** `FileReads.wake` is to be called then, and not when it was to be before. */
  set(atNs: number): void;
}

export class FileReads {
  readonly #pageCache: PageCache;
  readonly #cgroup: MemoryCgroup;
  readonly #timer: FileTimer;
  /** The end of the first round that has not been played. */
  #roundNs: number;

  constructor(pageCache: PageCache, cgroup: MemoryCgroup, timer: FileTimer) {
    this.#pageCache = pageCache;
    this.#cgroup = cgroup;
    this.#timer = timer;
    this.#roundNs = timer.nowNs + FILE_ROUND_NS;
    cgroup.fileReads = this;
    timer.set(this.#roundNs);
  }

  /** Plays what is due, and decides when to go on. */
  wake(): void {
    const cgroup = this.#cgroup;
    cgroup.readsLeft = 0;
    this.catchUp();
    let wakeNs = this.#roundNs;
    let rounds = 1;
    for (; rounds < ROUNDS_LEFT && wakeNs < this.#pageCache.flushNs; rounds++) wakeNs += FILE_ROUND_NS;
    const pages = this.#mostPages(rounds * FILE_ROUND_NS);
    const leave = rounds > 1 && cgroup.canLeave(pages);
    if (leave) cgroup.readsLeft = pages;
    this.#timer.set(leave ? wakeNs : this.#roundNs);
  }

  /** Plays the rounds that have ended. */
  catchUp(): void {
    const { nowNs } = this.#timer;
    if (this.#roundNs > nowNs) return;
    const room = this.#cgroup.canLeave(this.#mostPages(nowNs + FILE_ROUND_NS - this.#roundNs));
    while (this.#roundNs <= nowNs) {
      const atNs = this.#roundNs;
      this.#roundNs += FILE_ROUND_NS;
      this.#pageCache.advance(atNs, (pages) => this.#cgroup.chargeFile(pages, atNs), room);
    }
  }

  /** How many pages reads of the next `ns` can charge at most. */
  #mostPages(ns: number): number {
    return this.#pageCache.mostPages(ns) + MEMCG_CHARGE_BATCH;
  }

  /** The next round is played at its time. */
  onTime(): void {
    this.#timer.set(this.#roundNs);
  }
}
