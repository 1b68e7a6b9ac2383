/**
 * Page bitmaps: one bit per 8 KiB page, 512 pages (4 MiB) to a chunk.
 *
 * Models mpallocbits.go of Go 1.26 (unchanged in substance since 1.19). A 1 bit in the allocation bitmap is a
 * page in use, a 0 bit a free page; a second bitmap of the same shape, kept by the page allocator, marks
 * scavenged pages.
 *
 * What differs: the words here are 32 bits wide (JavaScript's integer operators are), so a chunk is sixteen
 * words instead of eight; and a bitmap is not an object but a run of words at offset `at` in a big Int32Array,
 * so that the hot path creates nothing. Every function returns what Go's returns for the same bits: first fit
 * and the length of free runs do not depend on the word size. The words are signed only because int32 is what
 * the engine keeps in a register; all the arithmetic is on bits.
 *
 * Two results are packed into one small integer where Go returns several values (`find`, `summarize`).
 */

export const logPallocChunkPages = 9;
export const pallocChunkPages = 1 << logPallocChunkPages;

/** 32-bit words in the bitmap of one chunk. */
export const logChunkWords = logPallocChunkPages - 5;
export const chunkWords = 1 << logChunkWords;

/** Number of trailing zero bits of a 32-bit word; 32 for zero. */
export function trailingZeros32(x: number): number {
  return x === 0 ? 32 : 31 - Math.clz32(x & -x);
}

/** Number of one bits of a 32-bit word. */
export function onesCount32(x: number): number {
  x -= (x >>> 1) & 0x55555555;
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  x = (x + (x >>> 4)) & 0x0f0f0f0f;
  return Math.imul(x, 0x01010101) >>> 24;
}

/** The word with bits [from, 32) set; `from` in [0, 31]. */
function onesFrom(from: number): number {
  return -1 << from;
}

/** The word with bits [0, last] set; `last` in [0, 31]. */
function onesThrough(last: number): number {
  return -1 >>> (31 - last);
}

/** pageBits.get: the value of bit i. */
export function getBit(bits: Int32Array, at: number, i: number): number {
  return (bits[at + (i >>> 5)] >>> (i & 31)) & 1;
}

/** pageBits.setRange: sets bits [i, i+n), n > 0. */
export function setRange(bits: Int32Array, at: number, i: number, n: number): void {
  const j = i + n - 1;
  const first = at + (i >>> 5);
  const last = at + (j >>> 5);
  if (first === last) {
    bits[first] |= onesFrom(i & 31) & onesThrough(j & 31);
    return;
  }
  bits[first] |= onesFrom(i & 31);
  for (let k = first + 1; k < last; k++) bits[k] = -1;
  bits[last] |= onesThrough(j & 31);
}

/** pageBits.clearRange: clears bits [i, i+n), n > 0. */
export function clearRange(bits: Int32Array, at: number, i: number, n: number): void {
  const j = i + n - 1;
  const first = at + (i >>> 5);
  const last = at + (j >>> 5);
  if (first === last) {
    bits[first] &= ~(onesFrom(i & 31) & onesThrough(j & 31));
    return;
  }
  bits[first] &= ~onesFrom(i & 31);
  for (let k = first + 1; k < last; k++) bits[k] = 0;
  bits[last] &= ~onesThrough(j & 31);
}

/** pageBits.popcntRange: how many of bits [i, i+n) are set, n > 0. */
export function popcntRange(bits: Int32Array, at: number, i: number, n: number): number {
  const j = i + n - 1;
  const first = at + (i >>> 5);
  const last = at + (j >>> 5);
  if (first === last) return onesCount32(bits[first] & onesFrom(i & 31) & onesThrough(j & 31));
  let count = onesCount32(bits[first] & onesFrom(i & 31));
  for (let k = first + 1; k < last; k++) count += onesCount32(bits[k]);
  return count + onesCount32(bits[last] & onesThrough(j & 31));
}

// A leaf summary packs (start, max, end) of one chunk, each at most 512, into 30 bits. Go packs 21-bit fields
// into a uint64 for every level of its tree; the upper levels of ours keep the three numbers apart.
export const sumFieldBits = 10;
export const sumFieldMask = (1 << sumFieldBits) - 1;

/** packPallocSum for one chunk. */
export function packSum(start: number, max: number, end: number): number {
  return start | (max << sumFieldBits) | (end << (2 * sumFieldBits));
}
export function sumStart(sum: number): number {
  return sum & sumFieldMask;
}
export function sumMax(sum: number): number {
  return (sum >>> sumFieldBits) & sumFieldMask;
}
export function sumEnd(sum: number): number {
  return sum >>> (2 * sumFieldBits);
}

/** The summary of a chunk with every page free. */
export const freeChunkSum = packSum(pallocChunkPages, pallocChunkPages, pallocChunkPages);

/**
 * pallocBits.summarize: free pages at the start of the chunk, the longest free run, free pages at its end.
 *
 * First pass: the runs that touch a word boundary. Only when none of these is long enough does a second pass
 * look for runs inside the words, and it shrinks all of a word's runs at once instead of walking them.
 */
export function summarize(bits: Int32Array, at: number): number {
  const limit = at + chunkWords;
  let start = -1;
  let most = 0;
  let run = 0;
  for (let k = at; k < limit; k++) {
    const x = bits[k];
    if (x === 0) {
      run += 32;
      continue;
    }
    run += 31 - Math.clz32(x & -x);
    if (start < 0) start = run;
    if (run > most) most = run;
    run = Math.clz32(x);
  }
  if (start < 0) return freeChunkSum;
  if (run > most) most = run;
  // A run inside a word has a 1 on either side, so it is at most 30 long.
  if (most >= 30) return packSum(start, most, run);

  for (let k = at; k < limit; k++) {
    // No word is zero (the longest run would be 32). Drop the trailing free pages: already counted.
    let x = bits[k];
    x >>>= 31 - Math.clz32(x & -x);
    if ((x & (x + 1)) === 0) continue; // only leading free pages are left, counted as well
    // `excess` is how much every run still has to be shortened by, `width` the least width of the runs of
    // ones, hence the longest shift that cannot jump over a run of ones.
    let excess = most;
    let width = 1;
    search: for (;;) {
      while (excess > 0) {
        const shift = Math.min(excess, width);
        x |= x >>> shift;
        if ((x & (x + 1)) === 0) break search;
        if (excess <= width) break;
        excess -= width;
        width *= 2;
      }
      // What survives is longer than `most`: the lowest run's remainder is the increment.
      x >>>= trailingZeros32(~x);
      const more = trailingZeros32(x);
      x >>>= more;
      most += more;
      if ((x & (x + 1)) === 0) break;
      excess = more;
    }
  }
  return packSum(start, most, run);
}

/** The page at which the run found by `find` starts. */
export function foundIndex(found: number): number {
  return found & sumFieldMask;
}
/** The first free page `find` met: where the next search may begin. */
export function foundSearchIdx(found: number): number {
  return found >>> sumFieldBits;
}

/**
 * pallocBits.find: the lowest run of `npages` free pages in the chunk, searching from the 64-page block of
 * `searchIdx` on. Returns both Go results packed (foundIndex, foundSearchIdx), or -1 if there is no such run.
 */
export function find(bits: Int32Array, at: number, npages: number, searchIdx: number): number {
  // Go's blocks are 64 pages: start at the same place, the even word.
  let w = (searchIdx >>> 6) << 1;
  if (npages === 1) {
    for (; w < chunkWords; w++) {
      const free = ~bits[at + w];
      if (free === 0) continue;
      const i = (w << 5) + 31 - Math.clz32(free & -free);
      return i | (i << sumFieldBits);
    }
    return -1;
  }
  let run = 0; // free pages ending at the start of word w
  let firstFree = -1;
  for (; w < chunkWords; w++) {
    const x = bits[at + w];
    if (x === -1) {
      run = 0;
      continue;
    }
    if (firstFree < 0) firstFree = (w << 5) + trailingZeros32(~x);
    if (x === 0) {
      run += 32;
      if (run >= npages) return ((w << 5) + 32 - run) | (firstFree << sumFieldBits);
      continue;
    }
    const head = 31 - Math.clz32(x & -x);
    if (run + head >= npages) return ((w << 5) - run) | (firstFree << sumFieldBits);
    if (npages <= 32) {
      const j = findBitRange32(~x, npages);
      if (j < 32) return ((w << 5) + j) | (firstFree << sumFieldBits);
    }
    run = Math.clz32(x);
  }
  return -1;
}

/** The lowest index of n consecutive 1 bits of a 32-bit word, or 32; n > 0. */
export function findBitRange32(c: number, n: number): number {
  let excess = n - 1;
  let width = 1;
  while (excess > 0) {
    if (excess <= width) {
      c &= c >>> excess;
      break;
    }
    c &= c >>> width;
    if (c === 0) return 32;
    excess -= width;
    width *= 2;
  }
  return trailingZeros32(c);
}

/**
 * findBitRange64: the lowest index of n consecutive 1 bits of the 64-bit word (hi, lo), or 64; n in [1, 64].
 *
 * Takes the top n-1 ones off every run of ones; the lowest 1 left is then where the first long enough run
 * starts. Each step may shift by the least width of the runs of zeros, which doubles.
 */
export function findBitRange64(lo: number, hi: number, n: number): number {
  if (n > 64) return 64;
  let excess = n - 1;
  let width = 1;
  while (excess > 0) {
    const shift = Math.min(excess, width);
    if (shift < 32) {
      lo &= (lo >>> shift) | (hi << (32 - shift));
      hi &= hi >>> shift;
    } else {
      // JavaScript shifts modulo 32: a shift by 32 moves whole words.
      lo &= hi >>> (shift - 32);
      hi = 0;
    }
    if ((lo | hi) === 0) return 64;
    excess -= shift;
    width *= 2;
  }
  if (lo !== 0) return 31 - Math.clz32(lo & -lo);
  return 32 + trailingZeros32(hi);
}
