/**
 * The page allocator: which 8 KiB pages of the heap's address space are in use, and where the next span goes.
 *
 * Models mpagealloc.go (and the 64-bit parameters of mpagealloc_64bit.go) of Go 1.26; the policy has not
 * changed since 1.19. Allocation is address-ordered first fit: the lowest run of free pages that is long
 * enough. To find it without walking the bitmaps there is a tree of summaries, five levels of (free pages at
 * the start, longest free run, free pages at the end) covering 16 GiB, 2 GiB, 256 MiB, 32 MiB and one chunk of
 * 4 MiB; and `searchAddr`, a page below which nothing is free. Each chunk also has a bitmap of scavenged pages
 * (returned to the operating system): new address space starts scavenged, allocation takes the mark off and
 * reports how much it took, freeing leaves it alone.
 *
 * Addresses are page indexes relative to an origin of the caller's choice (the first arena's, as a rule),
 * non-negative and below 2^31 - 512: 16 TiB. Go's tree has a root array over all 2^48 bytes, backed by memory
 * only where used; here the part of the tree and the bitmaps below one root entry (16 GiB) form a region, and
 * `regionSlot` maps root entries to the slots in use. What Go leaves unmapped reads here as zero: nothing free.
 * The result of a search does not depend on where the origin lies, only `searchAddr` between searches might,
 * and it is a hint.
 *
 * Simplified: the tree's own memory is not counted here (mheap's metadata does that). Huge-page advice on the
 * bitmaps is not modelled.
 */

import {
  chunkWords,
  clearRange,
  find as findInChunk,
  foundIndex,
  foundSearchIdx,
  freeChunkSum,
  getBit,
  logChunkWords,
  logPallocChunkPages,
  onesCount32,
  pallocChunkPages,
  popcntRange,
  setRange,
  sumEnd,
  sumMax,
  summarize,
  sumStart,
  trailingZeros32,
} from "./mpallocbits.ts";
import { ScavengeIndex, type ScavengeRules } from "./scavengeindex.ts";
import { pageSize } from "./sizeclasses.ts";
import { rulesFor } from "./version.ts";

/** maxSearchAddr: nothing is free. */
export const maxSearchAddr = 0x7fffffff;

/** Pages of a page cache's block (mpagecache.ts). */
export const pageCachePages = 64;

/**
 * A block of 64 pages, aligned to 64 pages, whose free pages are handed over as a whole: a page cache, seen
 * from the allocator. Bit i of (hi, lo) is page base + i; `base` is -1 when there is no block.
 */
export interface PageBlock {
  base: number;
  cacheLo: number;
  cacheHi: number;
  scavLo: number;
  scavHi: number;
}

const summaryLevelBits = 3;
const blockEntries = 1 << summaryLevelBits;
/** The deepest level whose summaries are kept as three numbers; its children are the chunks. */
const lastInnerLevel = 3;
/** levelLogPages, root first: a summary at level l covers 1 << levelLogPages[l] pages. */
const levelLogPages = [21, 18, 15, 12, logPallocChunkPages] as const;

const logRegionPages = levelLogPages[0];
const logRegionChunks = logRegionPages - logPallocChunkPages;
const regionChunks = 1 << logRegionChunks;
const maxRegions = 1 << (31 - logRegionPages);
/** No growth may reach the chunk `maxSearchAddr` lies in. */
const maxChunks = maxSearchAddr >>> logPallocChunkPages;

// The inner summaries of one region: 1 + 8 + 64 + 512 nodes, four words each (start, max, end, unused), level
// after level.
const levelFirstNode = [0, 1, 9, 73] as const;
const regionNodes = 585;
const nodeWords = 4;

export class PageAlloc {
  /**
   * Where a search starts: every page of the heap below it is in use. It lies in the heap (in `inUse`), or is
   * `maxSearchAddr` when nothing is free.
   */
  searchAddr = maxSearchAddr;

  /** Scavenged bytes among the pages of the last successful `alloc`. */
  lastScav = 0;

  /** Chunks known: [start, end), with holes where the heap is not contiguous (see `inUse`). */
  start = 0;
  end = 0;

  /** The address ranges the allocator was given: pages [inUseBase[i], inUseLimit[i]), ascending, disjoint. */
  readonly inUseBase: number[] = [];
  readonly inUseLimit: number[] = [];

  /** Pages the allocator was given, and how many of them are free (page caches own theirs: not free). */
  totalPages = 0;
  freePageCount = 0;

  /** Set bits in the scavenged bitmaps. Random padding counts too: in use, yet never backed by memory. */
  scavengedPages = 0;

  /** Allocation bitmaps and scavenged bitmaps; a chunk's words start at `chunkWordsAt`. Read-only for others. */
  allocBits: Int32Array = new Int32Array(0);
  scavBits: Int32Array = new Int32Array(0);

  /** Where the scavenger finds pages to give back; told of every allocation and free. */
  readonly scav: ScavengeIndex;

  /** Leaf summaries (packed), per chunk. */
  #leaf: Int32Array = new Int32Array(0);
  /** Summaries of the inner levels. */
  #inner: Int32Array = new Int32Array(0);

  /** Slot of each root entry's region, -1 when unused; and the root entries [first, limit) in use. */
  readonly #regionSlot: Int32Array = new Int32Array(maxRegions).fill(-1);
  #regionCount = 0;
  #firstRegion = maxRegions;
  #limitRegion = 0;

  // What `find` learns besides the address: the candidate searchAddr, and its window while searching.
  #candidate = 0;
  #freeBase = 0;
  #freeBound = 0;

  constructor(rules: ScavengeRules = rulesFor("1.26")) {
    this.scav = new ScavengeIndex(rules);
  }

  /** pageAlloc.grow: adds `npages` from page `base` on, free and scavenged. Both are widened to whole chunks. */
  grow(base: number, npages: number): void {
    if (npages <= 0 || base < 0) throw new Error(`grow: bad range: base ${base}, ${npages} pages`);
    const startChunk = base >>> logPallocChunkPages;
    const endChunk = Math.ceil((base + npages) / pallocChunkPages);
    if (endChunk > maxChunks) throw new Error(`grow: page ${base} + ${npages} is beyond the address space`);
    const chunkBase = startChunk * pallocChunkPages;
    const chunkLimit = endChunk * pallocChunkPages;

    this.#growRegions(startChunk, endChunk);
    if (this.totalPages === 0 || startChunk < this.start) this.start = startChunk;
    if (endChunk > this.end) this.end = endChunk;
    this.#addInUse(chunkBase, chunkLimit);
    this.scav.grow(startChunk, endChunk);
    if (chunkBase < this.searchAddr) this.searchAddr = chunkBase;

    for (let c = startChunk; c < endChunk; c++) {
      const at = this.#leafOf(c) << logChunkWords;
      this.scavBits.fill(-1, at, at + chunkWords);
    }
    const added = chunkLimit - chunkBase;
    this.totalPages += added;
    this.freePageCount += added;
    this.scavengedPages += added;
    this.#update(chunkBase, added, true, false);
  }

  /**
   * pageAlloc.alloc: takes the lowest run of `npages` free pages. Returns its first page, or -1 if there is
   * none; `lastScav` then says how many bytes of it were scavenged.
   */
  alloc(npages: number): number {
    const search = this.searchAddr;
    const ci = search >>> logPallocChunkPages;
    if (ci >= this.end) return -1;

    let base = -1;
    let candidate = 0;
    const pi = search & (pallocChunkPages - 1);
    if (pallocChunkPages - pi >= npages) {
      // It may fit in the chunk of searchAddr: no need for the tree.
      const leaf = this.#leafOf(ci);
      if (sumMax(this.#leaf[leaf]) >= npages) {
        const found = findInChunk(this.allocBits, leaf << logChunkWords, npages, pi);
        if (found < 0) throw new Error(`alloc: bad summary data: chunk ${ci}, ${npages} pages`);
        const chunkBase = ci << logPallocChunkPages;
        base = chunkBase + foundIndex(found);
        candidate = chunkBase + foundSearchIdx(found);
      }
    }
    if (base < 0) {
      base = this.find(npages);
      if (base < 0) {
        // Not even one page: the heap is exhausted. Otherwise there may be shorter runs left.
        if (npages === 1) this.searchAddr = maxSearchAddr;
        return -1;
      }
      candidate = this.#candidate;
    }
    this.lastScav = this.allocRange(base, npages);
    // All below the candidate is in use: the hint may only move up here.
    if (this.searchAddr < candidate) this.searchAddr = candidate;
    return base;
  }

  /** pageAlloc.allocRange: marks [base, base+npages) as in use; returns the scavenged bytes among it. */
  allocRange(base: number, npages: number): number {
    const last = base + npages - 1;
    const sc = base >>> logPallocChunkPages;
    const ec = last >>> logPallocChunkPages;
    let scav = 0;
    for (let c = sc; c <= ec; c++) {
      const si = c === sc ? base & (pallocChunkPages - 1) : 0;
      const n = (c === ec ? (last & (pallocChunkPages - 1)) + 1 : pallocChunkPages) - si;
      const leaf = this.#leafOf(c);
      const at = leaf << logChunkWords;
      const scavHere = popcntRange(this.scavBits, at, si, n);
      setRange(this.allocBits, at, si, n);
      if (scavHere > 0) clearRange(this.scavBits, at, si, n);
      scav += scavHere;
      this.scav.alloc(c, n);
    }
    this.freePageCount -= npages;
    this.scavengedPages -= scav;
    this.#update(base, npages, true, true);
    return scav * pageSize;
  }

  /** pageAlloc.free: gives [base, base+npages) back. */
  free(base: number, npages: number): void {
    if (base < this.searchAddr) this.searchAddr = base;
    const last = base + npages - 1;
    const sc = base >>> logPallocChunkPages;
    const ec = last >>> logPallocChunkPages;
    for (let c = sc; c <= ec; c++) {
      const si = c === sc ? base & (pallocChunkPages - 1) : 0;
      const n = (c === ec ? (last & (pallocChunkPages - 1)) + 1 : pallocChunkPages) - si;
      clearRange(this.allocBits, this.#leafOf(c) << logChunkWords, si, n);
      this.scav.free(c, si + n - 1, n);
    }
    this.freePageCount += npages;
    this.#update(base, npages, true, false);
  }

  /**
   * pageAlloc.markRandomPaddingPages: takes pages out of use for good while they stay scavenged, so that they
   * count as released. Go 1.26 does so at the start of the first chunk when it randomises the heap's base.
   */
  markRandomPaddingPages(base: number, npages: number): void {
    this.allocRange(base, npages);
    this.setScavenged(base, npages);
  }

  /**
   * pageAlloc.allocToCache: hands the 64-page block with the lowest free page to a page cache: all of the
   * block's free pages, contiguous or not, with their scavenged marks.
   */
  allocToCache(into: PageBlock): void {
    into.base = -1;
    into.cacheLo = into.cacheHi = into.scavLo = into.scavHi = 0;
    const search = this.searchAddr;
    let ci = search >>> logPallocChunkPages;
    if (ci >= this.end) return;
    let leaf = this.#leafOf(ci);
    let page: number;
    if (this.#leaf[leaf] !== 0) {
      const found = findInChunk(this.allocBits, leaf << logChunkWords, 1, search & (pallocChunkPages - 1));
      if (found < 0) throw new Error(`allocToCache: bad summary data: chunk ${ci}`);
      page = (ci << logPallocChunkPages) + foundIndex(found);
    } else {
      page = this.find(1);
      if (page < 0) {
        this.searchAddr = maxSearchAddr;
        return;
      }
      ci = page >>> logPallocChunkPages;
      leaf = this.#leafOf(ci);
    }
    const base = page & ~(pageCachePages - 1);
    const w = (leaf << logChunkWords) + ((base & (pallocChunkPages - 1)) >>> 5);
    const { allocBits, scavBits } = this;
    const cacheLo = ~allocBits[w];
    const cacheHi = ~allocBits[w + 1];
    const scavLo = scavBits[w];
    const scavHi = scavBits[w + 1];
    into.base = base;
    into.cacheLo = cacheLo;
    into.cacheHi = cacheHi;
    into.scavLo = scavLo;
    into.scavHi = scavHi;

    allocBits[w] = -1;
    allocBits[w + 1] = -1;
    scavBits[w] = scavLo & ~cacheLo;
    scavBits[w + 1] = scavHi & ~cacheHi;
    this.scavengedPages -= onesCount32(scavLo & cacheLo) + onesCount32(scavHi & cacheHi);
    this.#update(base, pageCachePages, false, true);
    const npages = onesCount32(cacheLo) + onesCount32(cacheHi);
    this.scav.alloc(ci, npages);
    this.freePageCount -= npages;
    // The block's last page, not the page after: searchAddr may not leave the heap.
    this.searchAddr = base + pageCachePages - 1;
  }

  /** The work of pageCache.flush: the pages a cache did not use are free again. The caller empties the block. */
  freeBlock(from: PageBlock): void {
    const base = from.base;
    const ci = base >>> logPallocChunkPages;
    const leaf = this.#leafOf(ci);
    const w = (leaf << logChunkWords) + ((base & (pallocChunkPages - 1)) >>> 5);
    const { allocBits, scavBits } = this;
    const scavLo = from.scavLo & ~scavBits[w];
    const scavHi = from.scavHi & ~scavBits[w + 1];
    allocBits[w] &= ~from.cacheLo;
    allocBits[w + 1] &= ~from.cacheHi;
    scavBits[w] |= scavLo;
    scavBits[w + 1] |= scavHi;
    this.scavengedPages += onesCount32(scavLo) + onesCount32(scavHi);
    const npages = onesCount32(from.cacheLo) + onesCount32(from.cacheHi);
    const last = from.cacheHi !== 0 ? 63 - Math.clz32(from.cacheHi) : 31 - Math.clz32(from.cacheLo);
    this.scav.flush(ci, (base & (pallocChunkPages - 1)) + last, npages);
    this.freePageCount += npages;
    if (base < this.searchAddr) this.searchAddr = base;
    this.#update(base, pageCachePages, false, false);
  }

  /**
   * pageAlloc.find: the first page of the lowest run of `npages` free pages, or -1. Takes nothing; `alloc`
   * uses it when the chunk of searchAddr cannot serve. As a by-product it narrows down where the first free
   * page of the heap is, which `alloc` makes the new searchAddr.
   *
   * On each level it goes over the entries of one block: an entry (or a row of them) whose free ends join to
   * a long enough run ends the search there; an entry with such a run inside leads one level down.
   */
  find(npages: number): number {
    const { searchAddr } = this;
    const inner = this.#inner;
    const leaves = this.#leaf;
    this.#freeBase = 0;
    this.#freeBound = maxSearchAddr;

    // `size` and `runBase`: the free run ending at the current entry. `i` is the absolute index of the entry
    // on its level, `slot` the slot of the region it is in.
    let size = 0;
    let runBase = 0;
    let i = -1;
    let slot = 0;
    const limitRegion = this.#limitRegion;
    for (let r = searchAddr >>> logRegionPages; r < limitRegion; r++) {
      const s = this.#regionSlot[r];
      const node = s * regionNodes * nodeWords;
      const most = s < 0 ? 0 : inner[node + 1];
      if (most === 0) {
        size = 0;
        continue;
      }
      this.#foundFree(r * 2 ** logRegionPages, 2 ** logRegionPages);
      const start = inner[node];
      if (size + start >= npages) {
        if (size === 0) runBase = r * 2 ** logRegionPages;
        size += start;
        break;
      }
      if (most >= npages) {
        i = r;
        slot = s;
        break;
      }
      if (size === 0 || start < 1 << logRegionPages) {
        size = inner[node + 2];
        runBase = (r + 1) * 2 ** logRegionPages - size;
        continue;
      }
      size += 1 << logRegionPages;
    }
    if (i < 0) {
      if (size < npages) return -1;
      this.#candidate = this.#findMappedAddr(this.#freeBase);
      return runBase;
    }

    for (let l = 1; l <= lastInnerLevel + 1; l++) {
      const logPages = levelLogPages[l];
      const entryPages = 1 << logPages;
      // Entries below searchAddr hold nothing, if it is in the entry we came down from.
      const followsSearch = searchAddr >>> (logPages + summaryLevelBits) === i;
      const block = i << summaryLevelBits;
      const j0 = followsSearch ? (searchAddr >>> logPages) & (blockEntries - 1) : 0;
      const isLeaf = l > lastInnerLevel;
      const slotLow = (1 << (summaryLevelBits * l)) - 1;
      const at = isLeaf
        ? (slot << logRegionChunks) | (block & slotLow)
        : (slot * regionNodes + levelFirstNode[l] + (block & slotLow)) * nodeWords;
      size = 0;
      i = -1;
      for (let j = j0; j < blockEntries; j++) {
        let start: number;
        let most: number;
        let end: number;
        if (isLeaf) {
          const sum = leaves[at + j];
          start = sumStart(sum);
          most = sumMax(sum);
          end = sumEnd(sum);
        } else {
          const node = at + j * nodeWords;
          start = inner[node];
          most = inner[node + 1];
          end = inner[node + 2];
        }
        if (most === 0) {
          size = 0;
          continue;
        }
        this.#foundFree((block + j) * entryPages, entryPages);
        if (size + start >= npages) {
          if (size === 0) runBase = (block + j) * entryPages;
          size += start;
          break;
        }
        if (most >= npages) {
          i = block + j;
          break;
        }
        if (size === 0 || start < entryPages) {
          size = end;
          runBase = (block + j + 1) * entryPages - size;
          continue;
        }
        size += entryPages;
      }
      if (i < 0) {
        // The level above promised a run here.
        if (size < npages) throw new Error(`find: bad summary data: level ${l}, ${npages} pages`);
        this.#candidate = this.#findMappedAddr(this.#freeBase);
        return runBase;
      }
    }

    // Down to one chunk with the run inside.
    const chunkBase = i << logPallocChunkPages;
    const leaf = (slot << logRegionChunks) | (i & (regionChunks - 1));
    const found = findInChunk(this.allocBits, leaf << logChunkWords, npages, 0);
    if (found < 0) throw new Error(`find: bad summary data: chunk ${i}, ${npages} pages`);
    const searchIdx = foundSearchIdx(found);
    this.#foundFree(chunkBase + searchIdx, pallocChunkPages - searchIdx);
    this.#candidate = this.#findMappedAddr(this.#freeBase);
    return chunkBase + foundIndex(found);
  }

  // --- scavenged marks (for the scavenger) and statistics -----------------------------------------------

  /** Offset of a chunk's words in `allocBits` and `scavBits`. The chunk must be part of the heap. */
  chunkWordsAt(ci: number): number {
    return this.#leafOf(ci) << logChunkWords;
  }

  /** Longest free run inside a chunk (its leaf summary). */
  chunkMaxFree(ci: number): number {
    return sumMax(this.#leaf[this.#leafOf(ci)]);
  }

  /** Whether the page is part of the heap's address space. */
  contains(page: number): boolean {
    const i = this.#findSucc(page);
    return i > 0 && page < this.inUseLimit[i - 1];
  }

  isAllocated(page: number): boolean {
    return getBit(this.allocBits, this.chunkWordsAt(page >>> logPallocChunkPages), page & 511) === 1;
  }

  isScavenged(page: number): boolean {
    return getBit(this.scavBits, this.chunkWordsAt(page >>> logPallocChunkPages), page & 511) === 1;
  }

  /**
   * Of 32 pages, from a multiple of 32 on: 0 if all are free, 1 if all are free and scavenged, 2 if all are padding (allocated, yet
   * scavenged, which no span's are), else undefined.
   */
  alikeWord(page: number): 0 | 1 | 2 | undefined {
    const at = this.chunkWordsAt(page >>> logPallocChunkPages) + ((page & 511) >>> 5);
    const allocated = this.allocBits[at];
    const scavenged = this.scavBits[at];
    if (scavenged === -1) return allocated === 0 ? 1 : allocated === -1 ? 2 : undefined;
    return scavenged === 0 && allocated === 0 ? 0 : undefined;
  }

  /** How many of the pages [base, base+npages) are marked scavenged. */
  countScavenged(base: number, npages: number): number {
    return this.#overScavenged(base, npages, 0);
  }

  /** Marks [base, base+npages) scavenged; returns how many pages were not before. */
  setScavenged(base: number, npages: number): number {
    const changed = npages - this.#overScavenged(base, npages, 1);
    this.scavengedPages += changed;
    return changed;
  }

  /** Takes the marks off [base, base+npages); returns how many pages had one. */
  clearScavenged(base: number, npages: number): number {
    const changed = this.#overScavenged(base, npages, -1);
    this.scavengedPages -= changed;
    return changed;
  }

  scavengedBytes(): number {
    return this.scavengedPages * pageSize;
  }

  /** Free pages, scavenged or not; pages in page caches are not among them. */
  freePages(): number {
    return this.freePageCount;
  }

  /** Length in pages of the longest free run: the largest span that fits without growing the heap. */
  largestFreeRun(): number {
    let most = 0;
    let run = 0;
    for (let r = this.#firstRegion; r < this.#limitRegion; r++) {
      const slot = this.#regionSlot[r];
      if (slot < 0) {
        run = 0;
        continue;
      }
      const node = slot * regionNodes * nodeWords;
      const end = this.#inner[node + 2];
      most = Math.max(most, run + this.#inner[node], this.#inner[node + 1]);
      run = end === 1 << logRegionPages ? run + end : end;
    }
    return Math.max(most, run);
  }

  /**
   * Adds the heap's free runs to a histogram: bucket b counts the runs of 2^b up to 2^(b+1)-1 pages, the last
   * bucket takes all that is longer. Returns the number of runs. Walks the bitmaps: for sampling, not per event.
   */
  freeRuns(buckets: Float64Array): number {
    let runs = 0;
    const last = buckets.length - 1;
    for (let k = 0; k < this.inUseBase.length; k++) {
      const limit = this.inUseLimit[k];
      let run = 0;
      for (let page = this.inUseBase[k]; page < limit; ) {
        // Go on bit by bit only inside words that are neither free nor in use as a whole.
        const x = this.allocBits[this.chunkWordsAt(page >>> logPallocChunkPages) + ((page & 511) >>> 5)];
        let left = 32;
        for (let rest = x; left > 0; ) {
          const zeros = Math.min(left, trailingZeros32(rest));
          run += zeros;
          left -= zeros;
          if (left === 0) break;
          rest = zeros === 0 ? rest : rest >>> zeros;
          const ones = Math.min(left, trailingZeros32(~rest));
          if (run > 0) {
            runs++;
            buckets[Math.min(last, 31 - Math.clz32(run))]++;
            run = 0;
          }
          left -= ones;
          rest = ones === 32 ? 0 : rest >>> ones;
        }
        page += 32;
      }
      if (run > 0) {
        runs++;
        buckets[Math.min(last, 31 - Math.clz32(run))]++;
      }
    }
    return runs;
  }

  /** Recomputes everything from the bitmaps and throws on the first disagreement. Slow: for checked runs. */
  checkInvariants(): void {
    let free = 0;
    let scav = 0;
    let total = 0;
    let firstFree = maxSearchAddr;
    for (let k = 0; k < this.inUseBase.length; k++) {
      const limitChunk = this.inUseLimit[k] >>> logPallocChunkPages;
      for (let c = this.inUseBase[k] >>> logPallocChunkPages; c < limitChunk; c++) {
        const leaf = this.#leafOf(c);
        const at = leaf << logChunkWords;
        const used = popcntRange(this.allocBits, at, 0, pallocChunkPages);
        if (used !== this.scav.inUse(c))
          throw new Error(`chunk ${c}: ${used} pages in use by its bitmap, ${this.scav.inUse(c)} counted`);
        if (summarize(this.allocBits, at) !== this.#leaf[leaf]) throw new Error(`chunk ${c}: stale summary`);
        if (used < pallocChunkPages && firstFree === maxSearchAddr)
          firstFree = (c << logPallocChunkPages) + foundIndex(findInChunk(this.allocBits, at, 1, 0));
        free += pallocChunkPages - used;
        scav += popcntRange(this.scavBits, at, 0, pallocChunkPages);
        total += pallocChunkPages;
      }
    }
    if (total !== this.totalPages)
      throw new Error(`${total} pages in use ranges, ${this.totalPages} counted`);
    if (free !== this.freePageCount) throw new Error(`${free} free pages, ${this.freePageCount} counted`);
    if (scav !== this.scavengedPages)
      throw new Error(`${scav} scavenged pages, ${this.scavengedPages} counted`);
    if (firstFree < this.searchAddr)
      throw new Error(`page ${firstFree} is free below searchAddr ${this.searchAddr}`);
    if (this.searchAddr !== maxSearchAddr && !this.contains(this.searchAddr))
      throw new Error(`searchAddr ${this.searchAddr} is not in the heap`);
    for (let r = this.#firstRegion; r < this.#limitRegion; r++) {
      const slot = this.#regionSlot[r];
      if (slot < 0) continue;
      for (let l = lastInnerLevel; l >= 0; l--) {
        for (let i = 0; i < 1 << (summaryLevelBits * l); i++) {
          if (this.#merge(l, slot, i)) throw new Error(`region ${r}: stale summary: level ${l}, entry ${i}`);
        }
      }
    }
  }

  // --- internals ------------------------------------------------------------------------------------------

  /** Index of a chunk's entry in `#leaf`. */
  #leafOf(ci: number): number {
    const slot = this.#regionSlot[ci >>> logRegionChunks];
    if (!(slot >= 0)) throw new Error(`chunk ${ci} is not in the heap`);
    return (slot << logRegionChunks) | (ci & (regionChunks - 1));
  }

  /** Counts the scavenged marks of a range, then sets (mark 1), clears (-1) or leaves (0) them. */
  #overScavenged(base: number, npages: number, mark: number): number {
    if (npages <= 0) return 0;
    const last = base + npages - 1;
    const sc = base >>> logPallocChunkPages;
    const ec = last >>> logPallocChunkPages;
    let count = 0;
    for (let c = sc; c <= ec; c++) {
      const si = c === sc ? base & (pallocChunkPages - 1) : 0;
      const n = (c === ec ? (last & (pallocChunkPages - 1)) + 1 : pallocChunkPages) - si;
      const at = this.#leafOf(c) << logChunkWords;
      count += popcntRange(this.scavBits, at, si, n);
      if (mark > 0) setRange(this.scavBits, at, si, n);
      else if (mark < 0) clearRange(this.scavBits, at, si, n);
    }
    return count;
  }

  /**
   * find's foundFree: there is free memory in [addr, addr+size). The first call on each level narrows the
   * window in which the first free page of the heap must be; later ones lie outside it and change nothing.
   */
  #foundFree(addr: number, size: number): void {
    const bound = addr + size - 1;
    if (this.#freeBase <= addr && bound <= this.#freeBound) {
      this.#freeBase = addr;
      this.#freeBound = bound;
    } else if (!(bound < this.#freeBase || this.#freeBound < addr)) {
      throw new Error(`range partially overlaps: ${addr} + ${size}, ${this.#freeBase} to ${this.#freeBound}`);
    }
  }

  /** The lowest page of the heap at or above `addr`, or maxSearchAddr. */
  #findMappedAddr(addr: number): number {
    const i = this.#findSucc(addr);
    if (i > 0 && addr < this.inUseLimit[i - 1]) return addr;
    return i < this.inUseBase.length ? this.inUseBase[i] : maxSearchAddr;
  }

  /** addrRanges.findSucc: index of the first range with a base above `addr`. */
  #findSucc(addr: number): number {
    const bases = this.inUseBase;
    let lo = 0;
    let hi = bases.length;
    while (lo < hi) {
      const mid = (lo + hi) >>> 1;
      if (bases[mid] <= addr) lo = mid + 1;
      else hi = mid;
    }
    return lo;
  }

  /** addrRanges.add: a new range, merged with the neighbours it touches. */
  #addInUse(base: number, limit: number): void {
    const bases = this.inUseBase;
    const limits = this.inUseLimit;
    const i = this.#findSucc(base);
    if ((i > 0 && limits[i - 1] > base) || (i < bases.length && limit > bases[i]))
      throw new Error(`grow: pages ${base} to ${limit} are in the heap already`);
    const coalescesDown = i > 0 && limits[i - 1] === base;
    const coalescesUp = i < bases.length && limit === bases[i];
    if (coalescesDown && coalescesUp) {
      limits[i - 1] = limits[i];
      bases.splice(i, 1);
      limits.splice(i, 1);
    } else if (coalescesDown) {
      limits[i - 1] = limit;
    } else if (coalescesUp) {
      bases[i] = base;
    } else {
      bases.splice(i, 0, base);
      limits.splice(i, 0, limit);
    }
  }

  /** Gives a slot to every region the chunks [startChunk, endChunk) lie in. */
  #growRegions(startChunk: number, endChunk: number): void {
    const lastRegion = (endChunk - 1) >>> logRegionChunks;
    for (let r = startChunk >>> logRegionChunks; r <= lastRegion; r++) {
      if (this.#regionSlot[r] >= 0) continue;
      const slot = this.#regionCount++;
      this.#regionSlot[r] = slot;
      if (r < this.#firstRegion) this.#firstRegion = r;
      if (r >= this.#limitRegion) this.#limitRegion = r + 1;
      if (slot * regionChunks < this.#leaf.length) continue;
      const slots = Math.max(1, slot * 2);
      this.allocBits = extended(this.allocBits, slots * regionChunks * chunkWords);
      this.scavBits = extended(this.scavBits, slots * regionChunks * chunkWords);
      this.#leaf = extended(this.#leaf, slots * regionChunks);
      this.#inner = extended(this.#inner, slots * regionNodes * nodeWords);
    }
  }

  /**
   * pageAlloc.update: brings the summaries up to date after the bits of [base, base+npages) changed. `contig`:
   * the range was allocated (`alloc`) or freed as one, so chunks wholly inside need no look at their bitmaps.
   */
  #update(base: number, npages: number, contig: boolean, alloc: boolean): void {
    const last = base + npages - 1;
    const sc = base >>> logPallocChunkPages;
    const ec = last >>> logPallocChunkPages;
    const leaves = this.#leaf;
    if (sc === ec) {
      const leaf = this.#leafOf(sc);
      const sum = summarize(this.allocBits, leaf << logChunkWords);
      if (sum === leaves[leaf]) return;
      leaves[leaf] = sum;
      const slot = leaf >>> logRegionChunks;
      let i = leaf & (regionChunks - 1);
      for (let l = lastInnerLevel; l >= 0; l--) {
        i >>>= summaryLevelBits;
        if (!this.#merge(l, slot, i)) return;
      }
      return;
    }
    for (let c = sc; c <= ec; c++) {
      const leaf = this.#leafOf(c);
      leaves[leaf] =
        contig && c !== sc && c !== ec
          ? alloc
            ? 0
            : freeChunkSum
          : summarize(this.allocBits, leaf << logChunkWords);
    }
    let changed = true;
    for (let l = lastInnerLevel; l >= 0 && changed; l--) {
      changed = false;
      const logPages = levelLogPages[l];
      const inSlot = summaryLevelBits * l;
      for (let i = base >>> logPages; i <= last >>> logPages; i++) {
        const slot = this.#regionSlot[i >>> inSlot];
        if (this.#merge(l, slot, i & ((1 << inSlot) - 1))) changed = true;
      }
    }
  }

  /**
   * mergeSummaries: recomputes entry i of a region's level l from its eight children; true if it changed.
   *
   * The start grows only while everything so far is free; runs join across the borders of children; the end
   * starts anew at each child that is not wholly free. Two loops, as chunks keep their summaries packed.
   */
  #merge(l: number, slot: number, i: number): boolean {
    const inner = this.#inner;
    const childPages = 1 << levelLogPages[l + 1];
    let start = 0;
    let most = 0;
    let end = 0;
    let soFar = 0;
    if (l === lastInnerLevel) {
      const leaves = this.#leaf;
      const first = (slot << logRegionChunks) | (i << summaryLevelBits);
      for (let k = first; k < first + blockEntries; k++) {
        const sum = leaves[k];
        const si = sumStart(sum);
        const mi = sumMax(sum);
        const ei = sumEnd(sum);
        if (start === soFar) start += si;
        soFar += childPages;
        if (end + si > most) most = end + si;
        if (mi > most) most = mi;
        end = ei === childPages ? end + childPages : ei;
      }
    } else {
      const first = (slot * regionNodes + levelFirstNode[l + 1] + (i << summaryLevelBits)) * nodeWords;
      for (let k = first; k < first + blockEntries * nodeWords; k += nodeWords) {
        const si = inner[k];
        const mi = inner[k + 1];
        const ei = inner[k + 2];
        if (start === soFar) start += si;
        soFar += childPages;
        if (end + si > most) most = end + si;
        if (mi > most) most = mi;
        end = ei === childPages ? end + childPages : ei;
      }
    }
    const node = (slot * regionNodes + levelFirstNode[l] + i) * nodeWords;
    if (inner[node] === start && inner[node + 1] === most && inner[node + 2] === end) return false;
    inner[node] = start;
    inner[node + 1] = most;
    inner[node + 2] = end;
    return true;
  }

  /** The summary [start, max, end] of entry `index` of level `level` (0 root, 4 chunk), for tests. */
  summary(level: number, index: number): [start: number, max: number, end: number] {
    const inSlot = summaryLevelBits * level;
    const slot = this.#regionSlot[index >>> inSlot] ?? -1;
    if (slot < 0) return [0, 0, 0];
    const low = index & ((1 << inSlot) - 1);
    if (level > lastInnerLevel) {
      const sum = this.#leaf[(slot << logRegionChunks) | low];
      return [sumStart(sum), sumMax(sum), sumEnd(sum)];
    }
    const node = (slot * regionNodes + levelFirstNode[level] + low) * nodeWords;
    return [this.#inner[node], this.#inner[node + 1], this.#inner[node + 2]];
  }
}

function extended(old: Int32Array, length: number): Int32Array {
  const bigger = new Int32Array(length);
  bigger.set(old);
  return bigger;
}
