/**
 * The container's page cache: the files its process reads.
 *
 * A load is one sort of file access at a rate, played page by page (when, says filereads.ts). `once` reads (or writes) each byte one time: logs, backups, scans. `again` reads
 * pages at random places of a file of given size, without reading ahead (POSIX_FADV_RANDOM): one that is cached is used again, one that is
 * not is read in. What is kept and what goes is decided by the group's lists (filelists.ts).
 *
 * Simplified: reads take no time, and written pages are clean at once; the kernel reads ahead of who reads each byte once, by up to the
 * window of the machine (read_ahead_kb), so that its cache is that much larger before the limit is reached; what the kernel keeps of a file
 * beside its pages are the nodes of its tree (where files are written on ext4, another 104 bytes per page). Where it stops being true: mapped files; dirty pages faster than the disk.
 */
import type { Rng } from "../sim/rng.ts";
import { FileLists, type FilePages, type LazyPages, SWAP_CLUSTER_MAX } from "./filelists.ts";
import { OS_PAGE_BYTES } from "./os.ts";

export interface FileLoad {
  readonly bytesPerSecond: number;
  /** The file whose random places are read, and who draws them; null when each byte is read once. */
  readonly again: { readonly fileBytes: number; readonly random: Rng } | null;
  readonly startNs: number;
  readonly stopNs: number;
}

/**
 * CPU of reclaiming one clean page. Measured on Linux 6.18 (AMD EPYC) by reading a file of 512 MiB through the page cache: in quiet runs
 * 230 to 340 ns of system time per page in a group of 64 MiB, 200 to 250 ns in one without a limit. (In the others a page new to the
 * virtual machine costs more than any reclaim.)
 */
export const RECLAIM_NS_PER_PAGE = 100;

/** The largest file of random reads: what is known of each of its pages takes 8 bytes. */
export const MAX_FILE_BYTES = 64 * 2 ** 30;

/** How often the kernel adds up a group's statistics (FLUSH_TIME). */
const FLUSH_NS = 2e9;
/** Pages that a node of a file's tree (an xarray's) points to, and its size in the slab cache radix_tree_node. */
const NODE_PAGES = 64;
export const NODE_BYTES = 576;
/** Nodes with nothing but the ages of evicted pages are kept up to one per so many pages on the group's lists (count_shadow_nodes). */
const PAGES_PER_SHADOW_NODE = 8;

/** Pages of random reads that are drawn at once. */
const DRAWN_PAGES = 256;

class LoadState {
  readonly load: FileLoad;
  /** Pages due that have not been read. */
  due = 0;
  asleepUntilNs = 0;
  /** The file of random reads; null when each byte is read once. */
  readonly file: FilePages | null;
  /** By 64 pages of the file: 1 once they have a node. It stays, since some of them are always cached. */
  readonly nodeMade: Uint8Array;
  /** How many have. */
  nodes = 0;

  constructor(load: FileLoad, lists: FileLists) {
    this.load = load;
    const pages = load.again === null ? 0 : Math.ceil(load.again.fileBytes / OS_PAGE_BYTES);
    this.file = load.again === null ? null : lists.addFile(pages, load.again.random);
    this.nodeMade = new Uint8Array(Math.ceil(pages / NODE_PAGES));
  }
}

export class PageCache {
  /** Since the cache was made: pages read in, and pages read that were there. */
  missedPages = 0;
  hitPages = 0;
  /** Nodes of files of random reads. */
  #againNodes = 0;
  /** Pages read once that still have nodes, cached or not. */
  #oncePages = 0;
  readonly #loads: LoadState[];
  readonly #lists = new FileLists();
  /** Pages to be read, what was found at their places, and the random stream's state before they were drawn. */
  readonly #drawn = new Uint32Array(DRAWN_PAGES);
  readonly #lookedUp = new Int32Array(DRAWN_PAGES);
  readonly #stateBefore = new Int32Array(4);
  /** When the kernel adds up the group's statistics next: in the first round that ends then or later. */
  flushNs: number;
  #nowNs: number;

  constructor(loads: readonly FileLoad[], nowNs: number) {
    this.#loads = loads.map((load) => new LoadState(load, this.#lists));
    this.#nowNs = nowNs;
    this.flushNs = nowNs + FLUSH_NS;
  }

  get inactivePages(): number {
    return this.#lists.inactiveFilePages;
  }

  get activePages(): number {
    return this.#lists.activePages;
  }

  get reclaimedPages(): number {
    return this.#lists.evictedPages;
  }

  /** Lazily freed memory that reclaim has taken, in 4 KiB. */
  get lazyFreedUnits(): number {
    return this.#lists.lazyFreedUnits;
  }

  /** Nodes of all files' trees: what the kernel keeps for cached pages, and for the ages of evicted ones. */
  get nodes(): number {
    return this.#againNodes + Math.ceil(this.#oncePages / NODE_PAGES);
  }

  /** The group's process has these of its pages on the list. */
  holdLazy(pages: LazyPages): void {
    this.#lists.lazy = pages;
  }

  /** See FileLists. */
  addLazy(first: number, count: number): number {
    return this.#lists.addLazy(first, count);
  }

  /** Somebody reads memory.stat: reclaim sees what is in it. */
  flushStats(): void {
    this.#lists.flushStats();
  }

  /**
   * Plays the loads up to `nowNs`; `charge` makes room for pages before they are read in. Where there is `room` for all of them whatever
   * happens, it need not be asked for each.
   */
  advance(nowNs: number, charge: (pages: number) => number, room = false): void {
    if (nowNs >= this.flushNs) {
      this.flushStats();
      this.flushNs += FLUSH_NS;
    }
    for (const state of this.#loads) {
      const { load } = state;
      // Its thread sleeps: above memory.high who reads is slowed down like who allocates.
      if (nowNs < state.asleepUntilNs) continue;
      const ns = Math.min(nowNs, load.stopNs) - Math.max(this.#nowNs, load.startNs);
      if (ns <= 0) continue;
      state.due += (ns * load.bytesPerSecond) / (1e9 * OS_PAGE_BYTES);
      const pages = Math.floor(state.due);
      state.due -= pages;
      const { file } = state;
      if (file !== null && room && this.#lists.onlyCounted) {
        this.#readCounted(file, state, pages, charge);
        continue;
      }
      const sleepNs =
        file === null ? this.#readOnce(pages, charge) : this.#readAgain(file, state, pages, charge);
      if (sleepNs > 0) state.asleepUntilNs = nowNs + sleepNs;
    }
    this.#nowNs = nowNs;
  }

  /** How many pages reads of the next `ns` can charge at most, with their nodes and that of the page read last. */
  mostPages(ns: number): number {
    let pages = 0;
    for (const { load, due } of this.#loads)
      pages += Math.ceil(due + (ns * load.bytesPerSecond) / (1e9 * OS_PAGE_BYTES));
    return pages + Math.ceil(((pages + 1) * NODE_BYTES) / OS_PAGE_BYTES) + 1;
  }

  /**
   * Frees `pages` or more and says how many, lazily freed memory among them; 0 if there is nothing. `anonPages` of the group are on lists of
   * their own, and count where nodes are concerned.
   */
  reclaim(pages: number, anonPages: number): number {
    const freed = this.#lists.reclaim(pages);
    this.trimNodes(anonPages);
    return freed;
  }

  /** The lists, for reclaim of the whole machine; `trimNodes` is to follow it. */
  get lists(): FileLists {
    return this.#lists;
  }

  /** Pages have been evicted: nodes that hold nothing but their ages are given back but for some. See `reclaim`. */
  trimNodes(anonPages: number): void {
    const file = this.#lists.inactiveFilePages + this.#lists.activePages;
    const shadows = ((file + anonPages) / PAGES_PER_SHADOW_NODE) * NODE_PAGES;
    this.#oncePages = Math.min(this.#oncePages, this.#lists.oncePages + shadows);
  }

  /** Batch by batch, so that what is read last can push out what was read first. Returns how long the reader must sleep. */
  #readOnce(pages: number, charge: (pages: number) => number): number {
    for (let done = 0; done < pages; done += SWAP_CLUSTER_MAX) {
      const n = Math.min(SWAP_CLUSTER_MAX, pages - done);
      const sleepNs = charge(n);
      this.#lists.addOnce(n);
      this.missedPages += n;
      this.#oncePages += n;
      if (sleepNs > 0) return sleepNs;
    }
    return 0;
  }

  /** What `#readAgain` does, where reads need only be counted and there is room for all of them. */
  #readCounted(file: FilePages, state: LoadState, pages: number, charge: (pages: number) => number): void {
    const drawn = this.#drawn;
    for (let done = 0; done < pages; done += DRAWN_PAGES) {
      const n = Math.min(DRAWN_PAGES, pages - done);
      file.draw(drawn, n);
      const missed = this.#lists.readCounted(file, drawn, n);
      this.hitPages += n - missed;
      if (missed === 0) continue;
      this.missedPages += missed;
      // Charged with each page are the nodes of those before it.
      const anyNew = state.nodes < state.nodeMade.length;
      for (let i = 0; anyNew && i < missed - 1; i++) this.#makeNode(state, drawn[i]);
      charge(missed);
      this.#makeNode(state, drawn[missed - 1]);
    }
  }

  #makeNode(state: LoadState, page: number): void {
    const node = Math.floor(page / NODE_PAGES);
    if (state.nodeMade[node] === 1) return;
    state.nodeMade[node] = 1;
    state.nodes++;
    this.#againNodes++;
  }

  #readAgain(file: FilePages, state: LoadState, pages: number, charge: (pages: number) => number): number {
    const { random } = state.load.again!;
    this.#lists.givePlaces();
    for (let done = 0; done < pages; done += DRAWN_PAGES) {
      const n = Math.min(DRAWN_PAGES, pages - done);
      this.#stateBefore.set(random.state);
      file.draw(this.#drawn, n);
      // All are looked up once before any is read: a processor then waits for many of these places at a time.
      for (let i = 0; i < n; i++) this.#lookedUp[i] = file.place[this.#drawn[i]];
      for (let i = 0; i < n; i++) {
        const page = this.#drawn[i];
        if (this.#lists.accessed(file, page)) {
          this.hitPages++;
          continue;
        }
        const sleepNs = charge(1);
        this.#lists.addPage(file, page);
        this.missedPages++;
        this.#makeNode(state, page);
        if (sleepNs > 0) {
          // Those after it have not been drawn yet.
          random.state.set(this.#stateBefore);
          random.fillU32(this.#drawn, i + 1);
          return sleepNs;
        }
      }
    }
    return 0;
  }
}
