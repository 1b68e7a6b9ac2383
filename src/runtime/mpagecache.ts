/**
 * The page cache: 64 pages each P may hand out without the heap lock.
 *
 * Models mpagecache.go of Go 1.26 (unchanged since 1.19). A cache owns the free pages of one aligned block of
 * 64 pages, contiguous or not, together with their scavenged marks. Seen from the page allocator all of them
 * are in use until the cache is flushed, though no span lies on them.
 *
 * The 64-bit words of Go are pairs of 32-bit words here, signed as all results of JavaScript's bit operators.
 * `alloc` creates nothing: it returns the page and leaves the scavenged bytes in `lastScav`.
 */

import { type PageAlloc, type PageBlock, pageCachePages } from "./mpagealloc.ts";
import { findBitRange64, onesCount32 } from "./mpallocbits.ts";
import { pageSize } from "./sizeclasses.ts";

export { pageCachePages };

export class PageCache implements PageBlock {
  /** First page of the block, -1 when there is none. */
  base = -1;
  /** Free pages: bit i of (cacheHi, cacheLo) is page base + i. */
  cacheLo = 0;
  cacheHi = 0;
  /** Scavenged pages, the same way. */
  scavLo = 0;
  scavHi = 0;

  /** Scavenged bytes in the last successful `alloc`. */
  lastScav = 0;

  /** pageCache.empty: no free pages are left. */
  empty(): boolean {
    return (this.cacheLo | this.cacheHi) === 0;
  }

  /** Free pages left. */
  freePages(): number {
    return onesCount32(this.cacheLo) + onesCount32(this.cacheHi);
  }

  /** Bytes of the free pages left that are scavenged: released memory the page allocator does not see. */
  scavengedBytes(): number {
    return (onesCount32(this.scavLo & this.cacheLo) + onesCount32(this.scavHi & this.cacheHi)) * pageSize;
  }

  /** pageCache.alloc: the lowest run of `npages` free pages (1 to 64) of the block, or -1. */
  alloc(npages: number): number {
    const { cacheLo, cacheHi } = this;
    if ((cacheLo | cacheHi) === 0) return -1;
    const i = findBitRange64(cacheLo, cacheHi, npages);
    if (i >= 64) return -1;
    // The bits [i, i+npages), split over the two words.
    const limit = i + npages;
    const maskLo = i >= 32 ? 0 : (-1 << i) & (limit >= 32 ? -1 : ~(-1 << limit));
    const maskHi =
      limit <= 32 ? 0 : (i <= 32 ? -1 : -1 << (i - 32)) & (limit >= 64 ? -1 : ~(-1 << (limit - 32)));
    this.lastScav = (onesCount32(this.scavLo & maskLo) + onesCount32(this.scavHi & maskHi)) * pageSize;
    this.cacheLo = cacheLo & ~maskLo;
    this.cacheHi = cacheHi & ~maskHi;
    this.scavLo &= ~maskLo;
    this.scavHi &= ~maskHi;
    return this.base + i;
  }

  /** pageCache.flush: gives the unused pages back; the cache is empty afterwards. */
  flush(pages: PageAlloc): void {
    if (this.empty()) return;
    pages.freeBlock(this);
    this.base = -1;
    this.cacheLo = this.cacheHi = this.scavLo = this.scavHi = 0;
  }
}
