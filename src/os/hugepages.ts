/**
 * Transparent huge pages of the arenas: which 2 MiB blocks are mapped as one page, and what becomes of them.
 *
 * Follows mm/huge_memory.c and mm/khugepaged.c of Linux 6.x on amd64, anonymous memory only. A block is 2 MiB of aligned address
 * space, 512 pages. Where huge pages are allowed (`always`, or `madvise` and the program asked for them)
 *
 * - the first touch in a block that has no page table makes all of it resident: one fault, 512 frames (do_huge_pmd_anonymous_page);
 * - a block with a page table, because something in it was touched as a small page before, stays as it is at faults;
 *   khugepaged makes it huge: it looks at `pages_to_scan` of the address space every `scan_sleep`, and takes a block in which no more than
 *   `max_ptes_none` of the 512 pages are missing. With the default of 511 a single page is enough;
 * - giving back a part splits the mapping. The part leaves the resident set, but the frames are one allocation: what is not mapped
 *   any more is kept, and charged to the control group, until the rest goes too or reclaim takes the page apart
 *   (deferred_split_scan). Giving back all of a block at once frees it, page table included.
 *
 * What Go does (mem_linux.go): up to 1.20 it asks for huge pages where a span is taken into use again in whole blocks (sysHugePage in
 * sysUsed), and forbids them at the ends of what it gives back (sysUnused). Since 1.21.4 it asks for none in the heap;
 * GODEBUG=disablethp=1 forbids them. The scavenger keeps runs whole that are huge pages, in all releases.
 *
 * Simplified: a free huge page is always at hand (no fragmentation, no compaction); the control group's room is asked for, without reclaim;
 * khugepaged has no other process to look after, where on a real machine it goes through all of them, one after the other, and comes back
 * to this one now and then (set `pages_to_scan` accordingly), and it costs nobody time; every page counts as used of late, since nothing but reclaim clears
 * the marks; MADV_FREE takes huge pages apart. Where it stops being true: metadata outside the arenas, which the kernel makes huge, too,
 * where mappings join to whole blocks; kernels with CONFIG_PT_RECLAIM (6.14), where a block can lose its page table;
 * the zero-page shrinker (shrink_underused, 6.13); pages other than 4 KiB, whose huge pages are 32 or 512 MiB.
 */

/** Pages of a huge page. */
export const BLOCK_PAGES = 512;
const BLOCK_WORDS = BLOCK_PAGES / 32;

export interface HugePageSettings {
  /** /sys/kernel/mm/transparent_hugepage/enabled; where it is `never` nothing is huge. */
  readonly enabled: "always" | "madvise";
  /** The runtime advises as up to Go 1.20: see above. */
  readonly advisePerRelease: boolean;
  /** khugepaged/max_ptes_none. */
  readonly maxPtesNone: number;
}

const STATE_EMPTY = 0;
const STATE_HUGE = 1;
const STATE_TABLE = 2;

const ADVICE_NONE = 0;
const ADVICE_HUGE = 1;
const ADVICE_NOHUGE = 2;

function popcount(x: number): number {
  let n = 0;
  for (let bits = x; bits !== 0; bits &= bits - 1) n++;
  return n;
}

export class HugePages {
  /** Blocks mapped as a huge page now. */
  mapped = 0;
  /** Frames of huge pages taken apart that are mapped nowhere and not free. */
  heldPages = 0;
  /** Blocks made huge at a fault, and by khugepaged. */
  faultedBlocks = 0;
  collapsedBlocks = 0;
  readonly #settings: HugePageSettings;
  #state = new Uint8Array(64);
  #advice = new Uint8Array(64);
  /** Per block: frames held. */
  #held = new Uint16Array(64);
  /** Per page one bit: it is mapped to the frame of a huge page taken apart. */
  #compound = new Uint32Array(64 * BLOCK_WORDS);
  #cursor = 0;

  constructor(settings: HugePageSettings) {
    this.#settings = settings;
  }

  /** Blocks there is a record of. */
  get blocks(): number {
    return this.#state.length;
  }

  /** sysUsed of pages [first, end). */
  used(first: number, end: number): void {
    if (!this.#settings.advisePerRelease) return;
    for (let b = Math.ceil(first / BLOCK_PAGES); b < Math.floor(end / BLOCK_PAGES); b++) {
      this.#reach(b);
      this.#advice[b] = ADVICE_HUGE;
    }
  }

  /** sysUnused of pages [first, end), before they are given back: the blocks of unaligned ends. */
  unused(first: number, end: number): void {
    if (!this.#settings.advisePerRelease) return;
    for (const at of [first, end]) {
      if (at % BLOCK_PAGES === 0) continue;
      const b = Math.floor(at / BLOCK_PAGES);
      this.#reach(b);
      this.#advice[b] = ADVICE_NOHUGE;
    }
  }

  /** The block is mapped, as a huge page or by a page table. */
  hasTable(block: number): boolean {
    return block < this.#state.length && this.#state[block] !== STATE_EMPTY;
  }

  /** `block` begins here (a whole number) and is mapped as a huge page. */
  isHuge(block: number): boolean {
    return block < this.#state.length && this.#state[block] === STATE_HUGE;
  }

  tableMade(block: number): void {
    this.#reach(block);
    this.#state[block] = STATE_TABLE;
  }

  /** Whether a fault in this block, which has no page table, makes it huge. */
  mayFault(mappedBits: Uint32Array, block: number): boolean {
    return this.#enabled(block) && wholly(mappedBits, block);
  }

  faulted(block: number): void {
    this.#reach(block);
    this.#state[block] = STATE_HUGE;
    this.mapped++;
    this.faultedBlocks++;
  }

  /** Pages [first, end) are about to be given back. Returns how many more frames are held than before. */
  dropped(resident: Uint32Array, first: number, end: number): number {
    const before = this.heldPages;
    for (let b = Math.floor(first / BLOCK_PAGES); b * BLOCK_PAGES < end && b < this.#state.length; b++) {
      const start = b * BLOCK_PAGES;
      if (this.#state[b] === STATE_HUGE) {
        this.mapped--;
        if (first <= start && end >= start + BLOCK_PAGES) {
          this.#state[b] = STATE_EMPTY;
          continue;
        }
        this.#state[b] = STATE_TABLE;
        this.#compound.fill(0xffffffff, b * BLOCK_WORDS, (b + 1) * BLOCK_WORDS);
      }
      this.#unmap(b, resident, Math.max(first, start), Math.min(end, start + BLOCK_PAGES));
    }
    return this.heldPages - before;
  }

  /** MADV_FREE of pages [first, end): huge pages there are taken apart for good. */
  split(first: number, end: number): void {
    for (let b = Math.floor(first / BLOCK_PAGES); b * BLOCK_PAGES < end && b < this.#state.length; b++) {
      this.#compound.fill(0, b * BLOCK_WORDS, (b + 1) * BLOCK_WORDS);
      if (this.#state[b] !== STATE_HUGE) continue;
      this.mapped--;
      this.#state[b] = STATE_TABLE;
    }
  }

  /** Reclaim takes huge pages apart until `wanted` frames are free. Returns how many are. */
  splitDeferred(wanted: number): number {
    let freed = 0;
    for (let b = 0; freed < wanted && this.heldPages > 0 && b < this.#held.length; b++) {
      if (this.#held[b] === 0) continue;
      freed += this.#held[b];
      this.#release(b);
    }
    return freed;
  }

  /** khugepaged's next block of mapped memory that may be huge; -1 if there is none. */
  nextToScan(mappedBits: Uint32Array): number {
    const n = Math.min(this.#state.length, mappedBits.length / BLOCK_WORDS);
    for (let i = 0; i < n; i++) {
      const b = this.#cursor % n;
      this.#cursor = b + 1;
      if (this.#enabled(b) && wholly(mappedBits, b)) return b;
    }
    return -1;
  }

  /** Pages of a block that are resident. */
  present(resident: Uint32Array, block: number): number {
    let pages = 0;
    for (let w = block * BLOCK_WORDS; w < (block + 1) * BLOCK_WORDS; w++) pages += popcount(resident[w]);
    return pages;
  }

  mayCollapse(resident: Uint32Array, block: number): boolean {
    if (this.#state[block] !== STATE_TABLE) return false;
    const present = this.present(resident, block);
    return present > 0 && BLOCK_PAGES - present <= this.#settings.maxPtesNone;
  }

  /** The block is copied to a huge page. Returns frames that were held of an earlier one and are free now. */
  collapse(block: number): number {
    this.#state[block] = STATE_HUGE;
    this.mapped++;
    this.collapsedBlocks++;
    const held = this.#held[block];
    this.#release(block);
    return held;
  }

  checkInvariants(resident: Uint32Array): void {
    let mapped = 0;
    let held = 0;
    for (let b = 0; b < this.#state.length; b++) {
      held += this.#held[b];
      if (this.#state[b] !== STATE_HUGE) continue;
      mapped++;
      const pages = this.present(resident, b);
      if (pages !== BLOCK_PAGES) throw new Error(`os: huge page ${b} has ${pages} resident pages`);
    }
    if (mapped !== this.mapped) throw new Error(`os: ${this.mapped} huge pages kept, ${mapped} counted`);
    if (held !== this.heldPages) throw new Error(`os: ${this.heldPages} frames held, ${held} counted`);
  }

  /** Pages [from, to) of a block lose their frames; those of its huge page are held until the last one goes. */
  #unmap(block: number, resident: Uint32Array, from: number, to: number): void {
    let held = 0;
    for (let page = from; page < to; page++) {
      const bit = 1 << (page & 31);
      const w = page >>> 5;
      if ((this.#compound[w] & resident[w] & bit) === 0) continue;
      this.#compound[w] &= ~bit;
      held++;
    }
    if (held === 0) return;
    this.#held[block] += held;
    this.heldPages += held;
    let left = 0;
    for (let w = block * BLOCK_WORDS; w < (block + 1) * BLOCK_WORDS; w++) left |= this.#compound[w];
    if (left === 0) this.#release(block);
  }

  #release(block: number): void {
    this.heldPages -= this.#held[block];
    this.#held[block] = 0;
    this.#compound.fill(0, block * BLOCK_WORDS, (block + 1) * BLOCK_WORDS);
  }

  #enabled(block: number): boolean {
    const advice = block < this.#advice.length ? this.#advice[block] : ADVICE_NONE;
    if (advice === ADVICE_NOHUGE) return false;
    return this.#settings.enabled === "always" || advice === ADVICE_HUGE;
  }

  /** Makes room for records up to `block`. */
  #reach(block: number): void {
    if (block < this.#state.length) return;
    const n = 2 * (block + 1);
    const grown = <T extends Uint8Array | Uint16Array | Uint32Array>(made: T, old: T): T => {
      made.set(old);
      return made;
    };
    this.#state = grown(new Uint8Array(n), this.#state);
    this.#advice = grown(new Uint8Array(n), this.#advice);
    this.#held = grown(new Uint16Array(n), this.#held);
    this.#compound = grown(new Uint32Array(n * BLOCK_WORDS), this.#compound);
  }
}

/** All pages of the block are mapped: it lies within one mapping. */
function wholly(mappedBits: Uint32Array, block: number): boolean {
  for (let w = block * BLOCK_WORDS; w < (block + 1) * BLOCK_WORDS; w++)
    if (mappedBits[w] !== 0xffffffff) return false;
  return true;
}
