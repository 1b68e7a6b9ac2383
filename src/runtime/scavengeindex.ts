/**
 * The scavenger's index: which chunks of the page allocator may hold free pages not yet given back to the OS, and
 * where the search for them goes on.
 *
 * Models scavengeIndex of mgcscavenge.go of Go 1.26, and what 1.19 and 1.20 had in its place. The scavenger goes
 * down from the highest address. Since 1.21 the background one leaves dense chunks alone: those with at least
 * 496 of their 512 pages in use, now or, if anything was allocated or freed there since the last mark termination,
 * before that. And it has a cursor of its own, which only a new generation raises again, to the highest page freed
 * meanwhile: memory freed above it waits for the next cycle. Forced scavenging minds neither. In 1.19 and 1.20
 * there is one cursor, raised by every free, and one bit per chunk.
 *
 * Pages are numbered as in mpagealloc.ts; -1 stands where Go has a cleared address or chunk 0 for "nothing".
 *
 * Nothing is simplified but the locking. The marks on the cursors, there to keep a finder from undoing a concurrent
 * free, show even when nothing overlaps: a marked cursor stays where it is when a search finds nothing.
 */
import { logPallocChunkPages, pallocChunkPages } from "./mpallocbits.ts";
import type { VersionRules } from "./version.ts";

/** scavChunkHiOccPages: pages in use from which a chunk counts as dense, 96.875 % of it. */
export const scavChunkHiOccPages = 496;

export type ScavengeRules = Pick<VersionRules, "scavengeDensityRule" | "scavengeHonoursPageIndex">;

export class ScavengeIndex {
  /** Highest page at which the background and the forced search go on; -1 when there is nothing to find. */
  searchAddrBg = -1;
  searchAddrForce = -1;
  /** The page of the last successful `find` at which to start inside its chunk. */
  foundPage = 0;
  /** Highest page freed in this generation. */
  freeHWM = -1;
  gen = 0;
  /** Lowest chunk of the heap. */
  minHeapIdx = -1;

  /** The cursors were raised and no search has gone below the chunk they are in yet. */
  #markedBg = false;
  #markedForce = false;

  readonly #density: boolean;
  readonly #pageIndex: boolean;
  /** By chunk: pages in use, the same when the chunk's generation began, that generation, and "not empty". */
  #inUse = new Uint16Array(64);
  #lastInUse = new Uint16Array(64);
  #gen = new Uint32Array(64);
  #hasFree = new Uint8Array(64);

  constructor(rules: ScavengeRules) {
    this.#density = rules.scavengeDensityRule;
    this.#pageIndex = rules.scavengeHonoursPageIndex;
  }

  /** The heap grew by chunks [start, end). New memory is scavenged, so they start out empty. */
  grow(start: number, end: number): void {
    if (this.minHeapIdx < 0 || start < this.minHeapIdx) this.minHeapIdx = start;
    if (end <= this.#inUse.length) return;
    const room = Math.max(end, this.#inUse.length * 2);
    const inUse = new Uint16Array(room);
    const lastInUse = new Uint16Array(room);
    const gen = new Uint32Array(room);
    const hasFree = new Uint8Array(room);
    inUse.set(this.#inUse);
    lastInUse.set(this.#lastInUse);
    gen.set(this.#gen);
    hasFree.set(this.#hasFree);
    this.#inUse = inUse;
    this.#lastInUse = lastInUse;
    this.#gen = gen;
    this.#hasFree = hasFree;
  }

  /** Pages of a chunk in use, page caches included. */
  inUse(ci: number): number {
    return this.#inUse[ci];
  }

  /** The highest chunk that may have pages to scavenge, or -1; `foundPage` says where to start in it. */
  find(force: boolean): number {
    const forced = force || !this.#density;
    const searchAddr = forced ? this.searchAddrForce : this.searchAddrBg;
    if (searchAddr < 0) return -1;
    const start = searchAddr >>> logPallocChunkPages;
    for (let i = start; i >= this.minHeapIdx; i--) {
      if (!this.#shouldScavenge(i, forced)) continue;
      if (i === start) {
        this.foundPage = this.#pageIndex ? searchAddr & (pallocChunkPages - 1) : pallocChunkPages - 1;
        return i;
      }
      this.foundPage = pallocChunkPages - 1;
      this.#setSearchAddr(forced, i * pallocChunkPages + pallocChunkPages - 1);
      return i;
    }
    if (!(forced ? this.#markedForce : this.#markedBg)) this.#setSearchAddr(forced, -1);
    return -1;
  }

  /** npages of chunk ci were allocated. */
  alloc(ci: number, npages: number): void {
    const inUse = this.#inUse[ci] + npages;
    if (inUse > pallocChunkPages) throw new Error(`too many pages allocated in chunk: ${inUse}`);
    this.#newGenOf(ci);
    this.#inUse[ci] = inUse;
    // A bit per chunk knows no counts: there, only a search that finds nothing clears it.
    if (this.#density && inUse === pallocChunkPages) this.#hasFree[ci] = 0;
  }

  /** npages of chunk ci were freed; `lastPage` is the highest of them, counted from the chunk's start. */
  free(ci: number, lastPage: number, npages: number): void {
    this.freeUnindexed(ci, npages);
    this.#hasFree[ci] = 1;
    const addr = ci * pallocChunkPages + lastPage;
    if (addr > this.freeHWM) this.freeHWM = addr;
    if (addr > this.searchAddrForce) {
      this.searchAddrForce = addr;
      this.#markedForce = true;
    }
  }

  /**
   * A page cache gave pages back. Before 1.21 the index was not told: the pages are found only when
   * something else is freed in the chunk.
   */
  flush(ci: number, lastPage: number, npages: number): void {
    if (this.#density) this.free(ci, lastPage, npages);
    else this.freeUnindexed(ci, npages);
  }

  /** Only the count of pages in use. */
  freeUnindexed(ci: number, npages: number): void {
    const inUse = this.#inUse[ci] - npages;
    if (inUse < 0) throw new Error(`allocated pages below zero in chunk: ${inUse}`);
    this.#newGenOf(ci);
    this.#inUse[ci] = inUse;
  }

  /** A new generation: once per cycle, at mark termination, when the most is in use. */
  nextGen(): void {
    this.gen = (this.gen + 1) % 2 ** 32;
    if (this.searchAddrBg < this.freeHWM) {
      this.searchAddrBg = this.freeHWM;
      this.#markedBg = true;
    }
    this.freeHWM = -1;
  }

  /** The scavenger found nothing (more) in a chunk. */
  setEmpty(ci: number): void {
    this.#hasFree[ci] = 0;
  }

  #shouldScavenge(ci: number, force: boolean): boolean {
    if (this.#hasFree[ci] === 0) return false;
    if (force) return true;
    if (this.#inUse[ci] >= scavChunkHiOccPages) return false;
    // An older generation means that nothing happened here since it ended.
    return this.#gen[ci] !== this.gen || this.#lastInUse[ci] < scavChunkHiOccPages;
  }

  #newGenOf(ci: number): void {
    if (this.#gen[ci] === this.gen) return;
    this.#lastInUse[ci] = this.#inUse[ci];
    this.#gen[ci] = this.gen;
  }

  #setSearchAddr(forced: boolean, page: number): void {
    if (forced) {
      this.searchAddrForce = page;
      this.#markedForce = false;
    } else {
      this.searchAddrBg = page;
      this.#markedBg = false;
    }
  }
}
