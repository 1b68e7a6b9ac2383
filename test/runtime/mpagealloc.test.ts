import { describe, expect, test } from "vitest";
import { maxSearchAddr, PageAlloc } from "../../src/runtime/mpagealloc.ts";
import { PageCache } from "../../src/runtime/mpagecache.ts";
import { pallocChunkPages } from "../../src/runtime/mpallocbits.ts";
import { pageSize } from "../../src/runtime/sizeclasses.ts";
import { type ChunkRanges, dump, golden, prepare } from "./golden.ts";

interface Vectors {
  PageAllocGrow: { name: string; chunks: number[]; inUse: [number, number][] }[];
  PageAllocAlloc: {
    name: string;
    before: ChunkRanges;
    scav: ChunkRanges;
    after: ChunkRanges;
    hits: { npages: number; base: number; scav: number }[];
  }[];
  PageAllocExhaust: { npages: number; bases: number[] }[];
  PageAllocFree: { name: string; before: ChunkRanges; after: ChunkRanges; npages: number; frees: number[] }[];
  PageAllocAllocAndFree: {
    name: string;
    init: ChunkRanges;
    hits: { alloc: boolean; npages: number; base: number }[];
  }[];
}
const vectors = golden<Vectors>("mpagealloc");

function expectSame(got: PageAlloc, want: PageAlloc): void {
  expect([got.start, got.end]).toEqual([want.start, want.end]);
  expect(dump(got)).toEqual(dump(want));
  got.checkInvariants();
}

describe("Go's tables", () => {
  test.each(vectors.PageAllocGrow)("Grow $name", ({ chunks, inUse }) => {
    // Go's test grows in the random order of a map: the order may not matter.
    for (const order of [chunks, chunks.toReversed()]) {
      const pages = prepare(
        new PageAlloc(),
        order.map((c) => [c, []]),
        [],
      );
      expect(pages.inUseBase.map((base, i) => [base, pages.inUseLimit[i]])).toEqual(inUse);
      pages.checkInvariants();
    }
  });
  test.each(vectors.PageAllocAlloc)("Alloc $name", ({ before, scav, after, hits }) => {
    const pages = prepare(new PageAlloc(), before, scav);
    for (const { npages, base, scav } of hits) {
      expect(pages.alloc(npages)).toBe(base);
      if (base >= 0) expect(pages.lastScav).toBe(scav);
      pages.checkInvariants();
    }
    expectSame(pages, prepare(new PageAlloc(), after, scav));
  });
  test.each(vectors.PageAllocExhaust)("Exhaust $npages", ({ npages, bases }) => {
    const pages = new PageAlloc();
    pages.grow(0, 4 * pallocChunkPages);
    expect(bases.map(() => pages.alloc(npages))).toEqual(bases);
    expect(pages.freePages()).toBe(2048 - npages * (bases.length - 1));
    pages.checkInvariants();
  });
  test.each(vectors.PageAllocFree)("Free $name", ({ before, after, npages, frees }) => {
    const pages = prepare(new PageAlloc(), before, []);
    for (const base of frees) {
      pages.free(base, npages);
      pages.checkInvariants();
    }
    expectSame(pages, prepare(new PageAlloc(), after, []));
  });
  test.each(vectors.PageAllocAllocAndFree)("AllocAndFree $name", ({ init, hits }) => {
    const pages = prepare(new PageAlloc(), init, []);
    for (const { alloc, npages, base } of hits) {
      if (alloc) expect(pages.alloc(npages)).toBe(base);
      else pages.free(base, npages);
    }
  });
});

interface Trace {
  ops: [code: number, a: number, b: number, result: number, scav: number, searchAddr: number][];
  final: [chunk: number, alloc: string[], scav: string[], sums: [number, number, number][]][];
}
const traces = golden<{ PageAllocTrace: Trace[] }>("mpagealloc-trace").PageAllocTrace;

test.each(traces.map((trace, index) => ({ index, ...trace })))(
  "the real allocator's answers, step by step: trace $index",
  ({ ops, final }) => {
    const pages = new PageAlloc();
    const caches = [new PageCache(), new PageCache(), new PageCache()];
    ops.forEach(([code, a, b, result, scav, searchAddr], step) => {
      let got = 0;
      let gotScav = 0;
      if (code === 0) pages.grow(a * pallocChunkPages, b * pallocChunkPages);
      else if (code === 1) {
        got = pages.alloc(a);
        if (got >= 0) gotScav = pages.lastScav;
      } else if (code === 2) pages.free(a, b);
      else if (code === 3) {
        pages.allocToCache(caches[a]);
        got = caches[a].base;
        gotScav = caches[a].scavengedBytes();
      } else if (code === 4) {
        got = caches[a].alloc(b);
        if (got >= 0) gotScav = caches[a].lastScav;
      } else caches[a].flush(pages);
      // searchAddr too, after every step: the rules for the hint are Go's, not only its effect.
      const gotSearch = pages.searchAddr === maxSearchAddr ? -1 : pages.searchAddr;
      expect([got, gotScav, gotSearch], `step ${step}: ${code} ${a} ${b}`).toEqual([
        code === 2 ? 0 : result,
        scav,
        searchAddr,
      ]);
      if (step % 20 === 0) pages.checkInvariants();
    });
    pages.checkInvariants();
    expect(dump(pages)).toEqual(final.map(([chunk, alloc, scav]) => [chunk, alloc, scav]));
    for (const [chunk, , , sums] of final)
      sums.forEach((sum, level) => {
        expect(pages.summary(level, chunk >>> (3 * (4 - level)))).toEqual(sum);
      });
  },
);

test("random padding is in use and stays scavenged", () => {
  const pages = new PageAlloc();
  pages.grow(0, 2 * pallocChunkPages);
  pages.markRandomPaddingPages(0, 100);
  expect(pages.alloc(1)).toBe(100);
  expect(pages.lastScav).toBe(pageSize);
  expect(pages.scavengedBytes()).toBe((2 * pallocChunkPages - 1) * pageSize);
  // A page cache over its end takes only the free pages; the padding keeps its marks through a flush.
  const cache = new PageCache();
  pages.allocToCache(cache);
  expect([cache.base, cache.freePages(), cache.scavengedBytes()]).toEqual([64, 27, 27 * pageSize]);
  expect(pages.countScavenged(0, 128)).toBe(100);
  cache.flush(pages);
  expect(pages.countScavenged(0, 128)).toBe(127);
  pages.checkInvariants();
});

test("scavenged marks can be set, cleared and counted over chunk borders", () => {
  const pages = new PageAlloc();
  pages.grow(0, 3 * pallocChunkPages);
  expect(pages.clearScavenged(500, 600)).toBe(600);
  expect(pages.clearScavenged(490, 20)).toBe(10);
  expect(pages.setScavenged(0, 1000)).toBe(510);
  expect([pages.isScavenged(999), pages.isScavenged(1000)]).toEqual([true, false]);
  expect(pages.countScavenged(990, 200)).toBe(10 + 90);
  expect(pages.scavengedBytes()).toBe((1536 - 100) * pageSize);
  pages.checkInvariants();
});

test("free-run statistics", () => {
  const pages = new PageAlloc();
  pages.grow(4095 * pallocChunkPages, 2 * pallocChunkPages);
  // One run over the border of two root entries.
  expect(pages.largestFreeRun()).toBe(1024);
  const base = pages.alloc(1024);
  for (const [at, n] of [
    [3, 1],
    [10, 5],
    [500, 40],
    [1000, 24],
  ])
    pages.free(base + at, n);
  expect(pages.largestFreeRun()).toBe(40);
  expect(pages.freePages()).toBe(70);
  const buckets = new Float64Array(12);
  expect(pages.freeRuns(buckets)).toBe(4);
  expect(Array.from(buckets)).toEqual([1, 0, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0]);
  expect([pages.scav.inUse(4095), pages.chunkMaxFree(4096)]).toEqual([512 - 18, 28]);
});

test("growth over known space, and use of unknown space, are refused", () => {
  const pages = new PageAlloc();
  pages.grow(0, pallocChunkPages);
  expect(() => pages.grow(511, 1)).toThrow("in the heap already");
  expect(() => pages.grow(2 ** 31 - 1, 1)).toThrow("beyond the address space");
  expect(() => pages.free(2 ** 30, 1)).toThrow("not in the heap");
  expect(() => pages.free(0, 1)).toThrow("below zero");
});
