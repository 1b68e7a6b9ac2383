// Page allocator: the cost of one span's pages, by the ways mheap asks for them.

import { bench, describe } from "vitest";
import { PageAlloc } from "../../src/runtime/mpagealloc.ts";
import { PageCache } from "../../src/runtime/mpagecache.ts";
import { pallocChunkPages, summarize } from "../../src/runtime/mpallocbits.ts";

/** A 1 GiB heap with every third page in use: fragmented, free runs of at most two pages below its end. */
function fragmented(): PageAlloc {
  const pages = new PageAlloc();
  const total = 256 * pallocChunkPages;
  pages.grow(0, total);
  for (let p = 0; p < total - pallocChunkPages; p += 3) pages.allocRange(p, 1);
  return pages;
}

const rounds = 1000;

describe("1000 operations", () => {
  const empty = new PageAlloc();
  empty.grow(0, 16 * pallocChunkPages);
  bench("alloc 1 page and free it, heap empty", () => {
    for (let i = 0; i < rounds; i++) empty.free(empty.alloc(1), 1);
  });

  const full = fragmented();
  bench("alloc 4 pages and free them, past 1 GiB of shorter runs", () => {
    for (let i = 0; i < rounds; i++) full.free(full.alloc(4), 4);
  });

  const holes = fragmented();
  const rings = new Int32Array(4096).map(() => holes.alloc(1));
  let at = 0;
  bench("free a page somewhere, alloc the lowest page", () => {
    for (let i = 0; i < rounds; i++) {
      at = (at + 1237) & 4095;
      holes.free(rings[at], 1);
      rings[at] = holes.alloc(1);
    }
  });

  const forCache = new PageAlloc();
  forCache.grow(0, 16 * pallocChunkPages);
  const cache = new PageCache();
  bench("alloc 1 page from a page cache, filled and freed 64 pages at a time", () => {
    for (let i = 0; i < rounds; i++) {
      if (cache.empty()) forCache.allocToCache(cache);
      const page = cache.alloc(1);
      if (cache.empty()) forCache.free(page & ~63, 64);
    }
    cache.flush(forCache);
    forCache.free(0, rounds & 63);
  });

  const bits = Int32Array.from({ length: 16 }, (_, i) => (i % 2 === 0 ? 0x4444_4444 : 0x1000_4040));
  let sum = 0;
  bench("summarize a chunk of short runs", () => {
    for (let i = 0; i < rounds; i++) sum += summarize(bits, 0);
  });
  if (sum < 0) throw new Error("unreachable");
});
