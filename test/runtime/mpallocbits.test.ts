import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  clearRange,
  find,
  findBitRange64,
  foundIndex,
  foundSearchIdx,
  getBit,
  pallocChunkPages,
  popcntRange,
  setRange,
  sumEnd,
  sumMax,
  summarize,
  sumStart,
} from "../../src/runtime/mpallocbits.ts";
import { type BitRange, bitsOf, golden, hexWords, words64 } from "./golden.ts";

interface Vectors {
  PallocBitsAllocRange: [at: number, n: number, words: string[]][];
  MallocBitsPopcntRange: {
    name: string;
    init: BitRange[];
    tests: { i: number; n: number; want: number }[];
  }[];
  PallocBitsSummarize: { name: string; free: BitRange[]; hits: [number, number, number][] }[];
  PallocBitsAlloc: { name: string; before: BitRange[]; after: BitRange[]; npages: number; hits: number[] }[];
  PallocBitsFree: {
    name: string;
    beforeInv: BitRange[];
    afterInv: BitRange[];
    npages: number;
    frees: number[];
  }[];
  FindBitRange64: [word: string, n: number, index: number][];
  FindBitRange64Random: [word: string, n: number, index: number][];
  PallocBitsRandom: {
    bits: string[];
    sum: [number, number, number];
    find: [npages: number, index: number, searchIdx: number][];
    popcnt: [at: number, n: number, count: number][];
  }[];
}
const vectors = golden<Vectors>("mpallocbits");

// The bitmap lies between two words that nothing may touch.
const at = 1;
function bitmap(ranges: BitRange[], inverted = false): Int32Array {
  const bits = new Int32Array(18);
  if (inverted) bits.fill(-1);
  for (const [i, n] of ranges) (inverted ? clearRange : setRange)(bits, at, i, n);
  return bits;
}
const sumOf = (bits: Int32Array, offset: number) => {
  const sum = summarize(bits, offset);
  return [sumStart(sum), sumMax(sum), sumEnd(sum)];
};

describe("Go's tables", () => {
  test("AllocRange", () => {
    for (const [i, n, words] of vectors.PallocBitsAllocRange) {
      const bits = bitmap([[i, n]]);
      expect(hexWords(bits, at)).toEqual(words);
      expect([bits[0], bits[17]]).toEqual([0, 0]);
    }
  });
  test.each(vectors.MallocBitsPopcntRange)("PopcntRange $name", ({ init, tests }) => {
    const bits = bitmap(init);
    for (const { i, n, want } of tests) expect(popcntRange(bits, at, i, n)).toBe(want);
  });
  test.each(vectors.PallocBitsSummarize)("Summarize $name", ({ free, hits }) => {
    for (const want of hits) expect(sumOf(bitmap(free, true), at)).toEqual(want);
  });
  test.each(vectors.PallocBitsAlloc)("Alloc $name", ({ before, after, npages, hits }) => {
    const bits = bitmap(before);
    for (const want of hits) {
      const found = find(bits, at, npages, 0);
      expect(found < 0 ? -1 : foundIndex(found)).toBe(want);
      if (found >= 0) setRange(bits, at, foundIndex(found), npages);
    }
    expect(bits).toEqual(bitmap(after));
  });
  test.each(vectors.PallocBitsFree)("Free $name", ({ beforeInv, afterInv, npages, frees }) => {
    const bits = bitmap(beforeInv, true);
    for (const i of frees) clearRange(bits, at, i, npages);
    expect(bits).toEqual(bitmap(afterInv, true));
  });
  test("FindBitRange64", () => {
    for (const [word, n, want] of [...vectors.FindBitRange64, ...vectors.FindBitRange64Random]) {
      const i = findBitRange64(...words64(word), n);
      expect(i >= 64 ? -1 : i, `${word} ${n}`).toBe(want);
    }
  });
});

test("random bitmaps, answered by the real runtime", () => {
  for (const row of vectors.PallocBitsRandom) {
    const bits = bitsOf(row.bits);
    expect(sumOf(bits, 0)).toEqual(row.sum);
    for (const [n, index, searchIdx] of row.find) {
      const found = find(bits, 0, n, 0);
      expect(found < 0 ? [-1, -1] : [foundIndex(found), foundSearchIdx(found)]).toEqual([index, searchIdx]);
    }
    for (const [i, n, count] of row.popcnt) expect(popcntRange(bits, 0, i, n)).toBe(count);
  }
});

test("the longest run inside a word beats one that is a page shorter at a word's border", () => {
  const bits = new Int32Array(16).fill(-1);
  bits[3] = 0x8000_0001 | 0; // 30 free pages between two in use
  bits[6] = -1 << 29; // 29 free pages at the start of a word
  expect(sumOf(bits, 0)).toEqual([0, 30, 0]);
});

test("a bitmap built of runs is summarised and searched as a walk over its bits says", () => {
  const runs = fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(runs, fc.boolean(), fc.integer({ min: 1, max: 512 }), (lengths, first, npages) => {
      const bits = new Int32Array(16);
      let used = first;
      let i = 0;
      for (const length of lengths) {
        const n = Math.min(length, pallocChunkPages - i);
        if (n === 0) break;
        if (used) setRange(bits, 0, i, n);
        used = !used;
        i += n;
      }
      let start = -1;
      let most = 0;
      let run = 0;
      let index = -1;
      for (let k = 0; k < pallocChunkPages; k++) {
        if (getBit(bits, 0, k) === 1) {
          if (start < 0) start = run;
          run = 0;
        } else if (++run === npages && index < 0) index = k - npages + 1;
        most = Math.max(most, run);
      }
      if (start < 0) start = pallocChunkPages;
      expect(sumOf(bits, 0)).toEqual([start, most, run]);
      const found = find(bits, 0, npages, 0);
      expect(found < 0 ? -1 : foundIndex(found)).toBe(index);
    }),
    { seed: 1, numRuns: 500 },
  );
});
