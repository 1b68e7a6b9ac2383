import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PageAlloc } from "../../src/runtime/mpagealloc.ts";
import { PageCache } from "../../src/runtime/mpagecache.ts";
import { pallocChunkPages } from "../../src/runtime/mpallocbits.ts";
import { pageSize } from "../../src/runtime/sizeclasses.ts";
import { type ChunkRanges, dump, golden, hex64, hexWords, prepare, words64 } from "./golden.ts";

type Block = [base: number, cache: string, scav: string];
interface Vectors {
  PageCacheAlloc: { name: string; cache: Block; hits: { npages: number; base: number; scav: number }[] }[];
  PageCacheFlush: [base: number, cache: string, scav: string, alloc: string[], scavenged: string[]][];
  PageAllocAllocToCache: {
    name: string;
    beforeAlloc: ChunkRanges;
    beforeScav: ChunkRanges;
    hits: Block[];
    afterAlloc: ChunkRanges;
    afterScav: ChunkRanges;
  }[];
}
const vectors = golden<Vectors>("mpagecache");

function cacheOf([base, cache, scav]: Block): PageCache {
  const c = new PageCache();
  c.base = base;
  [c.cacheLo, c.cacheHi] = words64(cache);
  [c.scavLo, c.scavHi] = words64(scav);
  return c;
}

describe("Go's tables", () => {
  test.each(vectors.PageCacheAlloc)("PageCacheAlloc $name", ({ cache, hits }) => {
    const c = cacheOf(cache);
    for (const { npages, base, scav } of hits) {
      expect(c.alloc(npages)).toBe(base);
      if (base >= 0) expect(c.lastScav).toBe(scav);
    }
  });
  test("PageCacheFlush", () => {
    for (const [base, cache, scav, alloc, scavenged] of vectors.PageCacheFlush) {
      const pages = prepare(new PageAlloc(), [[0, [[base, 64]]]], []);
      const c = cacheOf([base, cache, scav]);
      c.flush(pages);
      expect(c.empty()).toBe(true);
      const at = pages.chunkWordsAt(0);
      expect(hexWords(pages.allocBits, at)).toEqual(alloc);
      expect(hexWords(pages.scavBits, at)).toEqual(scavenged);
      pages.checkInvariants();
    }
  });
  test.each(vectors.PageAllocAllocToCache)("AllocToCache $name", (row) => {
    const pages = prepare(new PageAlloc(), row.beforeAlloc, row.beforeScav);
    const c = new PageCache();
    for (const want of row.hits) {
      pages.allocToCache(c);
      expect([c.base, hex64(c.cacheLo, c.cacheHi), hex64(c.scavLo, c.scavHi)]).toEqual(want);
      pages.checkInvariants();
    }
    const after = prepare(new PageAlloc(), row.afterAlloc, row.afterScav);
    expect([pages.start, pages.end]).toEqual([after.start, after.end]);
    expect(dump(pages)).toEqual(dump(after));
  });
});

/** The same allocator over plain arrays: every page a flag, every search from the bottom. */
class NaivePages {
  readonly used: (boolean | undefined)[] = [];
  readonly scavenged: boolean[] = [];
  grow(base: number, npages: number): void {
    for (let p = base; p < base + npages; p++) {
      this.used[p] = false;
      this.scavenged[p] = true;
    }
  }
  find(npages: number): number {
    let run = 0;
    for (let p = 0; p < this.used.length; p++) {
      run = this.used[p] === false ? run + 1 : 0;
      if (run === npages) return p - npages + 1;
    }
    return -1;
  }
  take(base: number, npages: number): number {
    let scav = 0;
    for (let p = base; p < base + npages; p++) {
      if (this.scavenged[p]) scav += pageSize;
      this.used[p] = true;
      this.scavenged[p] = false;
    }
    return scav;
  }
  free(base: number, npages: number): void {
    for (let p = base; p < base + npages; p++) this.used[p] = false;
  }
}

type Op =
  | { op: "grow" | "free" | "take" | "flush" | "scavenge"; pick: number }
  | { op: "alloc" | "cacheAlloc"; npages: number };

// Six chunks of address space around the border of two root entries (16 GiB each), in three growths.
const firstChunk = 4093;
const growths = [
  [1, 2],
  [0, 1],
  [4, 2],
];

test("random sequences agree with a first-fit allocator over plain arrays", () => {
  const pick = fc.nat(1 << 20);
  const op: fc.Arbitrary<Op> = fc.oneof(
    { weight: 1, arbitrary: fc.record({ op: fc.constant("grow" as const), pick }) },
    { weight: 4, arbitrary: fc.record({ op: fc.constant("free" as const), pick }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant("take" as const), pick }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant("flush" as const), pick }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant("scavenge" as const), pick }) },
    {
      weight: 4,
      arbitrary: fc.record({
        op: fc.constant("alloc" as const),
        npages: fc.oneof(
          fc.integer({ min: 1, max: 4 }),
          fc.integer({ min: 1, max: 100 }),
          fc.integer({ min: 1, max: 1500 }),
        ),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        op: fc.constant("cacheAlloc" as const),
        npages: fc.integer({ min: 1, max: 64 }),
      }),
    },
  );
  fc.assert(
    fc.property(fc.array(op, { minLength: 1, maxLength: 80, size: "max" }), (ops) => {
      const origin = firstChunk * pallocChunkPages;
      const pages = new PageAlloc();
      const naive = new NaivePages();
      const cache = new PageCache();
      /** The cache's unused pages, as the naive side sees them. */
      let held: { page: number; scav: boolean }[] = [];
      const live: [number, number][] = [];
      let grown = 0;
      const grow = () => {
        const [chunk, n] = growths[grown++];
        pages.grow(origin + chunk * pallocChunkPages, n * pallocChunkPages);
        naive.grow(chunk * pallocChunkPages, n * pallocChunkPages);
      };
      const flush = () => {
        cache.flush(pages);
        for (const { page, scav } of held) {
          naive.used[page] = false;
          naive.scavenged[page] = scav;
        }
        held = [];
      };
      grow();
      for (const o of ops) {
        if (o.op === "grow") {
          if (grown < growths.length) grow();
        } else if (o.op === "alloc") {
          const want = naive.find(o.npages);
          expect(pages.alloc(o.npages)).toBe(want < 0 ? -1 : origin + want);
          if (want < 0) continue;
          expect(pages.lastScav).toBe(naive.take(want, o.npages));
          live.push([want, o.npages]);
        } else if (o.op === "free") {
          if (live.length === 0) continue;
          const [[base, npages]] = live.splice(o.pick % live.length, 1);
          pages.free(origin + base, npages);
          naive.free(base, npages);
        } else if (o.op === "take") {
          flush();
          const first = naive.find(1);
          pages.allocToCache(cache);
          expect(cache.base).toBe(first < 0 ? -1 : origin + (first & ~63));
          if (first < 0) continue;
          for (let page = first & ~63; page < (first & ~63) + 64; page++) {
            if (naive.used[page]) continue;
            held.push({ page, scav: naive.scavenged[page] });
            naive.used[page] = true;
            naive.scavenged[page] = false;
          }
        } else if (o.op === "cacheAlloc") {
          let want = -1;
          for (let i = 0; i + o.npages <= held.length && want < 0; i++)
            if (held[i + o.npages - 1].page === held[i].page + o.npages - 1) want = i;
          const got = cache.alloc(o.npages);
          expect(got).toBe(want < 0 ? -1 : origin + held[want].page);
          if (want < 0) continue;
          const taken = held.splice(want, o.npages);
          expect(cache.lastScav).toBe(taken.filter((h) => h.scav).length * pageSize);
          live.push([taken[0].page, o.npages]);
        } else if (o.op === "flush") {
          flush();
        } else if ("pick" in o) {
          // Scavenge: mark a stretch of free pages, as the scavenger will.
          const n = 1 + (o.pick % 100);
          const base = naive.find(n);
          if (base < 0) continue;
          const fresh = naive.scavenged.slice(base, base + n).filter((s) => !s).length;
          expect(pages.setScavenged(origin + base, n)).toBe(fresh);
          naive.scavenged.fill(true, base, base + n);
        }
        expect(cache.freePages()).toBe(held.length);
        expect(cache.scavengedBytes()).toBe(held.filter((h) => h.scav).length * pageSize);
      }
      pages.checkInvariants();
      let free = 0;
      let scav = 0;
      let run = 0;
      let most = 0;
      for (let p = 0; p < naive.used.length; p++) {
        const isFree = naive.used[p] === false;
        if (naive.used[p] !== undefined && pages.isAllocated(origin + p) === isFree) expect.fail(`page ${p}`);
        if (naive.used[p] !== undefined && pages.isScavenged(origin + p) !== naive.scavenged[p])
          expect.fail(`scavenged mark of page ${p}`);
        free += isFree ? 1 : 0;
        scav += naive.scavenged[p] ? 1 : 0;
        run = isFree ? run + 1 : 0;
        most = Math.max(most, run);
      }
      expect([pages.freePages(), pages.scavengedPages, pages.largestFreeRun()]).toEqual([free, scav, most]);
    }),
    { seed: 1, numRuns: 150 },
  );
});
