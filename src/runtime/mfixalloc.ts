/**
 * Memory of the runtime's own structures: fixed-size allocators, persistent chunks and bitmap arenas.
 *
 * Models mfixalloc.go, persistentalloc of malloc.go and gcBitsArenas of mheap.go (Go 1.26; same rules from 1.19).
 * What the process pays for metadata comes in chunks, is counted under one of five statistics and never goes back:
 *
 *   mspan_sys, mcache_sys   16 KiB chunks of mspan and mcache structures
 *   gcMiscSys               heapArena structures, page summaries, span sets, mark and allocation bits
 *   other_sys               what persistent chunks (256 KiB) have not handed out yet, the allspans array, the rest
 *   buckhash_sys            profile buckets (counted by the profiler)
 *
 * Only sizes are kept: no structure has an address, but those that are written bit by bit (span sets). Becoming resident is
 * reported through `MetadataMemory`.
 *
 * Simplifies: every P has its own persistent chunk, but memory taken by code running without a P (start-up, sysmon)
 * is drawn from one global chunk only until the Ps exist.
 */
import { OS_PAGE_BYTES } from "../os/os.ts";
import { grownFloat64, grownUint8 } from "./kinds.ts";

export const statMSpan = 0;
export const statMCache = 1;
export const statGCMisc = 2;
export const statOther = 3;
export const statBuckHash = 4;
/** Memory the OS gives to threads' stacks (g0), the part of StackSys outside the heap. */
export const statOSStacks = 5;
export const numSysStats = 6;

const sysStatNames = ["mspan", "mcache", "gc metadata", "other", "profile buckets", "os stacks"] as const;

/** The kernel's side of metadata: mapped (counted) and touched (resident). A part of the Os interface. */
export interface MetadataMemory {
  metaMap(name: string, nbytes: number): void;
  metaTouch(name: string, nbytes: number): number;
  /** Reads of pages never written: a fault each, and another one when they are. */
  readUntouched(pages: number): void;
  /** physPageSize. */
  readonly pageBytes: number;
}

/** memstats' sysMemStats, and the mapping behind them. */
export class SysStats {
  /** Bytes by statistic. All of it is mapped and ready. */
  readonly bytes = new Float64Array(numSysStats);
  /** Their sum. */
  total = 0;
  readonly pageBytes: number;
  readonly #os: MetadataMemory | undefined;

  constructor(os: MetadataMemory | undefined) {
    this.#os = os;
    this.pageBytes = os?.pageBytes ?? OS_PAGE_BYTES;
  }

  /** sysAlloc: maps memory for a statistic. */
  map(stat: number, nbytes: number): void {
    this.bytes[stat] += nbytes;
    this.total += nbytes;
    if (this.#os !== undefined) this.#os.metaMap(sysStatNames[stat], nbytes);
  }

  /** sysFree, as far as statistics go: what has been touched stays resident (the list of all spans, when it has outgrown its array). */
  free(stat: number, nbytes: number): void {
    this.bytes[stat] -= nbytes;
    this.total -= nbytes;
  }

  /** First use of mapped memory. */
  touch(stat: number, nbytes: number): void {
    if (this.#os !== undefined) this.#os.metaTouch(sysStatNames[stat], nbytes);
  }

  /** Pages that are read before they are first written. */
  readUntouched(pages: number): void {
    this.#os?.readUntouched(pages);
  }
}

const persistentChunkBytes = 256 * 1024;
/** Blocks of at least this size get a mapping of their own. */
const persistentMaxBlockBytes = 64 * 1024;

/** What has been done with a page. */
const UNTOUCHED = 0;
const READ = 1;
const WRITTEN = 2;

/** persistentalloc: memory that is never freed, cut from one chunk per P. */
export class PersistentAlloc {
  readonly #sys: SysStats;
  /**
   * Bytes used of each P's chunk, by P + 1; 0 for the chunk used without a P; -1 while there is no chunk. And the chunks' addresses: where
   * they would begin if all chunks ever made lay one after the other.
   */
  #off = new Float64Array(1).fill(-1);
  #base = new Float64Array(1);
  #chunks = 0;
  /** By page of all chunks: what has been done with it. */
  #pages = new Uint8Array(0);

  constructor(sys: SysStats) {
    this.#sys = sys;
  }

  /** Memory that is written at once. */
  alloc(nbytes: number, align: number, stat: number, p: number): void {
    if (nbytes >= persistentMaxBlockBytes) {
      this.#sys.map(stat, nbytes);
      this.#sys.touch(stat, nbytes);
    } else this.touch(this.reserve(nbytes, align, stat, p), nbytes);
  }

  /** Memory that is not written yet. Returns its address. */
  reserve(nbytes: number, align: number, stat: number, p: number): number {
    if (nbytes >= persistentMaxBlockBytes) {
      this.#sys.map(statOther, nbytes);
      this.#move(nbytes, stat);
      return this.#newChunks(nbytes);
    }
    const i = p + 1;
    if (i >= this.#off.length) {
      const off = new Float64Array(i + 8).fill(-1);
      off.set(this.#off);
      this.#off = off;
      this.#base = grownFloat64(this.#base, off.length);
    }
    let off = Math.ceil(this.#off[i] / align) * align;
    if (this.#off[i] < 0 || off + nbytes > persistentChunkBytes) {
      this.#sys.map(statOther, persistentChunkBytes);
      this.#base[i] = this.#newChunks(persistentChunkBytes);
      // The first word of a chunk links it to the list of all chunks.
      this.touch(this.#base[i], 8);
      off = Math.max(align, 8);
    }
    this.#off[i] = off + nbytes;
    this.#move(nbytes, stat);
    return this.#base[i] + off;
  }

  /** So many of the mapped bytes are for a statistic. */
  #move(nbytes: number, stat: number): void {
    this.#sys.bytes[statOther] -= nbytes;
    this.#sys.bytes[stat] += nbytes;
  }

  /** Addresses of so many bytes, in whole chunks. */
  #newChunks(nbytes: number): number {
    const address = this.#chunks * persistentChunkBytes;
    this.#chunks += Math.ceil(nbytes / persistentChunkBytes);
    this.#pages = grownUint8(this.#pages, (this.#chunks * persistentChunkBytes) / this.#sys.pageBytes);
    return address;
  }

  /** Bytes from an address on are written. */
  touch(address: number, nbytes: number): void {
    const { pageBytes } = this.#sys;
    let pages = 0;
    for (let page = Math.floor(address / pageBytes); page * pageBytes < address + nbytes; page++) {
      if (this.#pages[page] === WRITTEN) continue;
      this.#pages[page] = WRITTEN;
      pages++;
    }
    if (pages > 0) this.#sys.touch(statOther, pages * pageBytes);
  }

  /**
   * The byte at an address is read: on a page that nobody has used that maps the page of zeros; the first write faults once
   * more.
   */
  read(address: number): void {
    const page = Math.floor(address / this.#sys.pageBytes);
    if (this.#pages[page] !== UNTOUCHED) return;
    this.#pages[page] = READ;
    this.#sys.readUntouched(1);
  }
}

const fixAllocChunkBytes = 16 * 1024;

/** fixalloc: a free list of structures of one size. */
export class FixAlloc {
  /** Bytes of one structure. */
  readonly size: number;
  /** Bytes in use now, structures waiting in per-P caches included. */
  inuse = 0;
  readonly #chunkBytes: number;
  #chunkLeft = 0;
  #freeCount = 0;
  readonly #stat: number;
  readonly #persistent: PersistentAlloc;

  constructor(size: number, stat: number, persistent: PersistentAlloc) {
    this.size = size;
    this.#chunkBytes = Math.floor(fixAllocChunkBytes / size) * size;
    this.#stat = stat;
    this.#persistent = persistent;
  }

  /** Returns true if the structure is a new one rather than one freed before. */
  alloc(p: number): boolean {
    this.inuse += this.size;
    if (this.#freeCount > 0) {
      this.#freeCount--;
      return false;
    }
    if (this.#chunkLeft < this.size) {
      this.#persistent.alloc(this.#chunkBytes, 8, this.#stat, p);
      this.#chunkLeft = this.#chunkBytes;
    }
    this.#chunkLeft -= this.size;
    return true;
  }

  free(): void {
    this.inuse -= this.size;
    this.#freeCount++;
  }
}

const gcBitsChunkBytes = 64 * 1024;
const gcBitsHeaderBytes = 16;
const gcBitsUsableBytes = gcBitsChunkBytes - gcBitsHeaderBytes;

/**
 * gcBitsArenas: mark and allocation bits of spans, cut from 64 KiB blocks that are dropped two cycles later,
 * all at once, and used again. Every sweep of a span takes fresh mark bits.
 */
export class GcBits {
  readonly #sys: SysStats;
  #free = 0;
  /** Blocks of the generation being filled, of the current one and the previous one. */
  #next = 0;
  #current = 0;
  #previous = 0;
  /** Bytes used of the newest block of `next`, and whether it was never used before. */
  #used = gcBitsUsableBytes;
  #fresh = false;

  constructor(sys: SysStats) {
    this.#sys = sys;
  }

  /** newMarkBits / newAllocBits: bits for nelems objects, in whole 64-bit words. */
  alloc(nelems: number): void {
    const nbytes = ((nelems + 63) >>> 6) * 8;
    if (this.#next === 0 || this.#used + nbytes > gcBitsUsableBytes) {
      this.#fresh = this.#free === 0;
      if (this.#free > 0) this.#free--;
      else {
        this.#sys.map(statGCMisc, gcBitsChunkBytes);
        this.#sys.touch(statGCMisc, gcBitsChunkBytes);
      }
      this.#next++;
      this.#used = 0;
    }
    // A new span's allocation bits are read (refillAllocCache) before a sweep writes bits beside them: of a block that was
    // never cleared, each page but the header's is a page of zeros first.
    const end = gcBitsHeaderBytes + this.#used;
    this.#used += nbytes;
    const { pageBytes } = this.#sys;
    if (this.#fresh && Math.ceil((end + nbytes) / pageBytes) > Math.ceil(end / pageBytes))
      this.#sys.readUntouched(1);
  }

  /** nextMarkBitArenaEpoch, at sweep termination. */
  nextEpoch(): void {
    this.#free += this.#previous;
    this.#previous = this.#current;
    this.#current = this.#next;
    this.#next = 0;
  }
}
