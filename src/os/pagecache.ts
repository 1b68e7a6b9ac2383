/**
 * The container's page cache: the files its process reads, on the kernel's two lists, and their reclaim.
 *
 * Follows mm/swap.c and mm/vmscan.c of Linux 6.x with the classic lists (CONFIG_LRU_GEN off): a page read in goes to the
 * inactive list; read again while it is there, to the active one (folio_mark_accessed). Reclaim takes from the inactive list, which
 * is refilled from the active one while it is too short (inactive_is_low: inactive * sqrt(10 * GiB of cache) < active).
 *
 * A load is one sort of file access at a rate. `once` reads (or writes) each byte one time: logs, backups, scans. `again` reads at
 * random places of a file of given size, so that of n reads n * (1 - cached / size) miss and n * inactive / size find an
 * inactive page and activate it.
 *
 * Simplified: lists are counts of pages per load, and both reclaim and refill take from each load in proportion, where the
 * kernel goes by age; written pages are clean at once; a page that comes back soon after its eviction starts on the inactive list
 * (the kernel would activate it: workingset_refault). Where it stops being true: CONFIG_LRU_GEN, swap, mapped files, dirty
 * pages faster than the disk.
 */
import { OS_PAGE_BYTES } from "./os.ts";

export interface FileLoad {
  readonly bytesPerSecond: number;
  /** Bytes of the file whose random places are read; Infinity when each byte is read once. */
  readonly fileBytes: number;
  readonly startNs: number;
  readonly stopNs: number;
}

/**
 * CPU of reclaiming one clean page. Measured on Linux 6.18 (AMD EPYC) by reading a file of 512 MiB through the page cache: in quiet runs
 * 230 to 340 ns of system time per page in a group of 64 MiB, 200 to 250 ns in one without a limit. (In the others a page new to the
 * virtual machine costs more than any reclaim.)
 */
export const RECLAIM_NS_PER_PAGE = 100;

/** Pages the lists are moved in at once (SWAP_CLUSTER_MAX). */
const BATCH = 32;
/** The longest sleep on one return to user mode (MEMCG_MAX_HIGH_DELAY_JIFFIES). */
const MAX_SLEEP_NS = 2e9;

class LoadState {
  readonly load: FileLoad;
  inactive = 0;
  active = 0;
  /** Pages read in, or activated, in part. */
  missed = 0;
  activated = 0;
  asleepUntilNs = 0;

  constructor(load: FileLoad) {
    this.load = load;
  }
}

export class PageCache {
  inactivePages = 0;
  activePages = 0;
  /** Since the cache was made: pages read in, and of those asked for, the ones that were there. */
  missedPages = 0;
  hitPages = 0;
  reclaimedPages = 0;
  readonly #loads: LoadState[];
  #nowNs: number;

  constructor(loads: readonly FileLoad[], nowNs: number) {
    this.#loads = loads.map((load) => new LoadState(load));
    this.#nowNs = nowNs;
  }

  /** Plays the loads up to `nowNs`; `charge` makes room for pages before they are read in. */
  advance(nowNs: number, charge: (pages: number) => number): void {
    for (const state of this.#loads) {
      const { load } = state;
      // Its thread sleeps: above memory.high who reads is slowed down like who allocates.
      if (nowNs < state.asleepUntilNs) continue;
      const ns = Math.min(nowNs, load.stopNs) - Math.max(this.#nowNs, load.startNs);
      if (ns <= 0) continue;
      const read = (ns * load.bytesPerSecond) / (1e9 * OS_PAGE_BYTES);
      const filePages = load.fileBytes / OS_PAGE_BYTES;
      const cached = Math.min(1, (state.inactive + state.active) / filePages);
      this.hitPages += read * cached;
      state.activated += read * Math.min(1, state.inactive / filePages);
      const activated = Math.min(Math.floor(state.activated), state.inactive);
      state.activated -= activated;
      this.#move(state, -activated, activated);
      state.missed += read * (1 - cached);
      const missed = Math.floor(state.missed);
      state.missed -= missed;
      this.missedPages += missed;
      // Batch by batch, so that what is read last can push out what was read first.
      for (let done = 0; done < missed; done += BATCH) {
        const n = Math.min(BATCH, missed - done);
        const sleepNs = charge(n);
        this.#move(state, n, 0);
        if (sleepNs > 0) {
          state.asleepUntilNs = nowNs + Math.min(sleepNs, MAX_SLEEP_NS);
          break;
        }
      }
    }
    this.#nowNs = nowNs;
  }

  /** Frees up to `pages` pages and says how many. */
  reclaim(pages: number): number {
    if (this.#inactiveIsLow()) this.#deactivate(Math.max(pages, BATCH));
    const want = Math.min(pages, this.inactivePages);
    let left = want;
    for (const state of this.#loads) {
      if (left === 0) break;
      const share = Math.min(left, state.inactive, Math.ceil((want * state.inactive) / this.inactivePages));
      this.#move(state, -share, 0);
      left -= share;
    }
    this.reclaimedPages += want - left;
    return want - left;
  }

  #inactiveIsLow(): boolean {
    const gib = Math.floor(((this.inactivePages + this.activePages) * OS_PAGE_BYTES) / 2 ** 30);
    const ratio = gib > 0 ? Math.floor(Math.sqrt(10 * gib)) : 1;
    return this.inactivePages * ratio < this.activePages;
  }

  /** shrink_active_list. */
  #deactivate(pages: number): void {
    const want = Math.min(pages, this.activePages);
    let left = want;
    const active = this.activePages;
    for (const state of this.#loads) {
      const share = Math.min(left, state.active, Math.ceil((want * state.active) / active));
      this.#move(state, share, -share);
      left -= share;
    }
  }

  #move(state: LoadState, inactive: number, active: number): void {
    state.inactive += inactive;
    state.active += active;
    this.inactivePages += inactive;
    this.activePages += active;
  }
}
