// Reading the golden vectors of the page allocator's tests (test/golden/extract tells how they were made).

import { readFileSync } from "node:fs";
import type { PageAlloc } from "../../src/runtime/mpagealloc.ts";
import { pallocChunkPages } from "../../src/runtime/mpallocbits.ts";

export type BitRange = [at: number, n: number];
export type ChunkRanges = [chunk: number, ranges: BitRange[]][];

export function golden<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../golden/${name}.json`, import.meta.url), "utf8")) as T;
}

/** The two signed 32-bit words of a 64-bit word in hex. */
export function words64(hex: string): [lo: number, hi: number] {
  return [Number.parseInt(hex.slice(8), 16) | 0, Number.parseInt(hex.slice(0, 8), 16) | 0];
}

export function hex64(lo: number, hi: number): string {
  const word = (x: number) => (x >>> 0).toString(16).padStart(8, "0");
  return word(hi) + word(lo);
}

/** A chunk's bitmap as eight 64-bit words in hex, as the vectors have it. */
export function hexWords(bits: Int32Array, at: number): string[] {
  return Array.from({ length: 8 }, (_, i) => hex64(bits[at + 2 * i], bits[at + 2 * i + 1]));
}

export function bitsOf(hexes: string[]): Int32Array {
  return Int32Array.from(hexes.flatMap(words64));
}

/** Brings an empty allocator to a state of the vectors: the given chunks, allocated and scavenged ranges. */
export function prepare(pages: PageAlloc, chunks: ChunkRanges, scav: ChunkRanges): PageAlloc {
  const scavOf = new Map(scav);
  for (const [chunk, allocated] of chunks) {
    const base = chunk * pallocChunkPages;
    pages.grow(base, pallocChunkPages);
    pages.clearScavenged(base, pallocChunkPages);
    for (const [at, n] of scavOf.get(chunk) ?? []) pages.setScavenged(base + at, n);
    for (const [at, n] of allocated) if (n > 0) pages.allocRange(base + at, n);
  }
  return pages;
}

/** All chunks of the heap with their two bitmaps. */
export function dump(pages: PageAlloc): [chunk: number, alloc: string[], scav: string[]][] {
  const out: [number, string[], string[]][] = [];
  for (let k = 0; k < pages.inUseBase.length; k++) {
    const limit = pages.inUseLimit[k] / pallocChunkPages;
    for (let c = pages.inUseBase[k] / pallocChunkPages; c < limit; c++) {
      const at = pages.chunkWordsAt(c);
      out.push([c, hexWords(pages.allocBits, at), hexWords(pages.scavBits, at)]);
    }
  }
  return out;
}
