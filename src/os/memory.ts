/**
 * Physical memory of the simulated process, page by page: RSS and page faults are counted here and nowhere else.
 *
 * Models what Linux does for Go 1.26's mem_linux.go on amd64: anonymous private memory gets a 4 KiB frame at its first
 * touch (one minor fault each), keeps it until madvise(MADV_DONTNEED) and is never swapped out. Arena pages are three
 * bits in bitmaps indexed by OS page from the heap's first arena; the bitmaps grow with the highest mapped page.
 *
 * Simplified: reads of untouched memory (the shared zero page) do not exist, every touch is a write; page-table pages and
 * the kernel's own memory are not counted, as in VmRSS; metadata regions are touched front to back, so their resident
 * part is ceil(touched / 4 KiB) pages. File-backed pages and the C side of the process are a constant baseline.
 * In a container every page that becomes resident is charged to its control group (cgroup.ts), with the page tables it needs.
 * Where it stops being true: transparent huge pages (one touch, 512 frames), MADV_FREE, swap.
 */
import { type MemoryCgroup, PAGES_PER_TABLE } from "./cgroup.ts";
import {
  OS_PAGE_BYTES,
  type Os,
  PAGE_READY,
  PAGE_RELEASED,
  PAGE_RESERVED,
  PAGE_RESIDENT,
  type PageState,
} from "./os.ts";

/** What the process holds before the runtime's first allocation, and never gives back. */
export interface ProcessBaseline {
  /** Resident program text and data, backed by the binary. */
  readonly fileBytes: number;
  /** Resident anonymous memory outside the runtime's statistics: thread stacks made by the kernel or libc, loader, vdso. */
  readonly otherBytes: number;
  /** Page faults taken until then. */
  readonly faults: number;
}

interface MetaRegion {
  mappedBytes: number;
  /** High-water mark of written bytes; never above mappedBytes. */
  touchedBytes: number;
}

/** A region's size and resident part, for reports. */
export interface MetaUse {
  readonly name: string;
  readonly mappedBytes: number;
  readonly residentBytes: number;
}

/**
 * Address space that Go 1.26 reserves at its start on amd64 beside arenas (mpagealloc_64bit.go, mgcscavenge.go): five levels of page
 * summaries, 8 bytes each for 2^14, 2^17, ... 2^26 entries, and 8 bytes of scavenge index for each of 2^26 chunks.
 */
const PAGE_ALLOC_RESERVED_BYTES = 8 * (2 ** 14 + 2 ** 17 + 2 ** 20 + 2 ** 23 + 2 ** 26) + 8 * 2 ** 26;

function popcount32(x: number): number {
  x -= (x >>> 1) & 0x55555555;
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  return Math.imul((x + (x >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** Bits of a bitmap word at or above bit `from` (0..31). */
function maskFrom(from: number): number {
  return -1 << from;
}

/** Bits of a bitmap word at or below bit `to` (0..31). */
function maskTo(to: number): number {
  return -1 >>> (31 - to);
}

export class Memory implements Os {
  /** Minor faults since the process started, the baseline's included. Written by touch and metaTouch. */
  faults: number;
  /** Address space taken by sysReserve, in bytes. */
  reservedBytes = 0;

  /** Per OS page one bit each; resident implies ready implies mapped. Index: page >>> 5. */
  #mapped = new Uint32Array(512);
  #ready = new Uint32Array(512);
  #resident = new Uint32Array(512);
  /** Pages the bitmaps have room for. */
  #pageLimit = 512 * 32;
  /** Number of set bits in #resident; kept by touch and #drop. */
  #residentPages = 0;
  /** Sum over metadata regions of their resident pages. */
  #metaPages = 0;
  readonly #meta = new Map<string, MetaRegion>();
  readonly #baseline: ProcessBaseline;
  /** The container's memory controller; null outside of one. */
  readonly #cgroup: MemoryCgroup | null;
  /** By page table of the arenas (2 MiB of them): 1 once it exists. Empty outside of a container. */
  #tables = new Uint8Array(0);
  /** Highest residentBytes() seen at a moment before memory was given back. */
  #peakBytes = 0;

  constructor(baseline: ProcessBaseline, cgroup: MemoryCgroup | null = null) {
    this.#baseline = baseline;
    this.#cgroup = cgroup;
    this.faults = baseline.faults;
    if (cgroup === null) return;
    const pages = Math.ceil(baseline.otherBytes / OS_PAGE_BYTES);
    cgroup.chargeTables(Math.floor(pages / PAGES_PER_TABLE));
    cgroup.chargeAnon(pages);
  }

  sysReserve(nbytes: number): void {
    this.reservedBytes += nbytes;
  }

  sysMap(startByte: number, nbytes: number): void {
    const [first, end] = this.#pageRange("sysMap", startByte, nbytes);
    if (end > this.#pageLimit) this.#grow(end);
    this.#setBits(this.#mapped, null, first, end);
  }

  sysUsed(startByte: number, nbytes: number): void {
    const [first, end] = this.#pageRange("sysUsed", startByte, nbytes);
    if (end > this.#pageLimit) throw new Error(`sysUsed of unmapped memory up to byte ${startByte + nbytes}`);
    this.#setBits(this.#ready, this.#mapped, first, end);
  }

  sysUnused(startByte: number, nbytes: number): number {
    return this.#drop("sysUnused", startByte, nbytes, false);
  }

  sysFault(startByte: number, nbytes: number): number {
    return this.#drop("sysFault", startByte, nbytes, true);
  }

  touch(startByte: number, endByte: number): number {
    if (endByte <= startByte) return 0;
    // Page numbers fit in 31 bits (8 TiB of heap), byte offsets do not: divide first, truncate after.
    const first = (startByte / OS_PAGE_BYTES) | 0;
    const last = ((endByte - 1) / OS_PAGE_BYTES) | 0;
    if (last >= this.#pageLimit) throw new Error(`touch of unmapped memory up to byte ${endByte}`);
    const resident = this.#resident;
    const lastWord = last >>> 5;
    let faults = 0;
    for (let w = first >>> 5; w <= lastWord; w++) {
      let mask = -1;
      if (w === first >>> 5) mask = maskFrom(first & 31);
      if (w === lastWord) mask &= maskTo(last & 31);
      const missing = mask & ~resident[w];
      if (missing === 0) continue;
      if ((missing & ~this.#ready[w]) !== 0)
        throw new Error(`touch of memory that is not ready, in bytes ${startByte} to ${endByte}`);
      resident[w] |= missing;
      faults += popcount32(missing);
    }
    if (faults !== 0) this.#faulted(first, last, faults);
    return faults;
  }

  isResident(startByte: number, endByte: number): boolean {
    if (endByte <= startByte) return true;
    const first = (startByte / OS_PAGE_BYTES) | 0;
    const last = ((endByte - 1) / OS_PAGE_BYTES) | 0;
    if (last >= this.#pageLimit) return false;
    const lastWord = last >>> 5;
    for (let w = first >>> 5; w <= lastWord; w++) {
      let mask = -1;
      if (w === first >>> 5) mask = maskFrom(first & 31);
      if (w === lastWord) mask &= maskTo(last & 31);
      if ((mask & ~this.#resident[w]) !== 0) return false;
    }
    return true;
  }

  /** The state of the page that holds `byte`. */
  pageState(byte: number): PageState {
    const page = Math.floor(byte / OS_PAGE_BYTES);
    if (page >= this.#pageLimit) return PAGE_RESERVED;
    const w = page >>> 5;
    const bit = 1 << (page & 31);
    if ((this.#resident[w] & bit) !== 0) return PAGE_RESIDENT;
    if ((this.#ready[w] & bit) !== 0) return PAGE_READY;
    return (this.#mapped[w] & bit) !== 0 ? PAGE_RELEASED : PAGE_RESERVED;
  }

  metaMap(name: string, nbytes: number): void {
    const region = this.#meta.get(name);
    if (region === undefined) this.#meta.set(name, { mappedBytes: nbytes, touchedBytes: 0 });
    else region.mappedBytes += nbytes;
  }

  readUntouched(pages: number): void {
    this.faults += pages;
  }

  metaTouch(name: string, nbytes: number): number {
    const region = this.#meta.get(name);
    if (region === undefined) throw new Error(`metadata region "${name}" touched before it was mapped`);
    const before = Math.ceil(region.touchedBytes / OS_PAGE_BYTES);
    region.touchedBytes += nbytes;
    if (region.touchedBytes > region.mappedBytes)
      throw new Error(
        `metadata region "${name}": ${region.touchedBytes} of ${region.mappedBytes} bytes touched`,
      );
    const faults = Math.ceil(region.touchedBytes / OS_PAGE_BYTES) - before;
    this.#metaPages += faults;
    this.faults += faults;
    if (this.#cgroup !== null && faults > 0) {
      this.#cgroup.chargeAnon(faults);
      // A region's first table is among those of the process's start.
      const tables = (pages: number): number => Math.floor(pages / PAGES_PER_TABLE);
      this.#cgroup.chargeTables(tables(before + faults) - tables(before));
    }
    return faults;
  }

  residentBytes(): number {
    return (
      (this.#residentPages + this.#metaPages) * OS_PAGE_BYTES +
      this.#baseline.fileBytes +
      this.#baseline.otherBytes
    );
  }

  /**
   * Address space of the process, like VmSize: what is reserved for the page allocator and arenas, mapped for metadata, and the
   * binary. Some 100 MiB short of a real one (thread stacks' guard areas, the profiler, what the linker lays out).
   */
  virtualBytes(): number {
    let bytes =
      PAGE_ALLOC_RESERVED_BYTES + this.reservedBytes + this.#baseline.fileBytes + this.#baseline.otherBytes;
    for (const region of this.#meta.values()) bytes += region.mappedBytes;
    return bytes;
  }

  /** The highest resident set so far, like VmHWM. Exact: the set shrinks only in #drop, which notes it first. */
  residentPeakBytes(): number {
    const now = this.residentBytes();
    return Math.max(now, this.#peakBytes);
  }

  /** Resident bytes of the arenas alone. */
  heapResidentBytes(): number {
    return this.#residentPages * OS_PAGE_BYTES;
  }

  /** Every metadata region, in the order of its first mapping. */
  metaUse(): MetaUse[] {
    return [...this.#meta].map(([name, region]) => ({
      name,
      mappedBytes: region.mappedBytes,
      residentBytes: Math.ceil(region.touchedBytes / OS_PAGE_BYTES) * OS_PAGE_BYTES,
    }));
  }

  /** Recounts everything residentBytes() is made of. Expensive; throws with the numbers. */
  checkInvariants(): void {
    let pages = 0;
    for (let w = 0; w < this.#resident.length; w++) {
      if ((this.#resident[w] & ~this.#ready[w]) !== 0)
        throw new Error(`os: page word ${w} is resident but not ready`);
      if ((this.#ready[w] & ~this.#mapped[w]) !== 0)
        throw new Error(`os: page word ${w} is ready but not mapped`);
      pages += popcount32(this.#resident[w]);
    }
    if (pages !== this.#residentPages)
      throw new Error(`os: ${this.#residentPages} resident arena pages kept, ${pages} counted`);
    let metaPages = 0;
    for (const region of this.#meta.values()) metaPages += Math.ceil(region.touchedBytes / OS_PAGE_BYTES);
    if (metaPages !== this.#metaPages)
      throw new Error(`os: ${this.#metaPages} resident metadata pages kept, ${metaPages} counted`);
    const rss = (pages + metaPages) * OS_PAGE_BYTES + this.#baseline.fileBytes + this.#baseline.otherBytes;
    if (rss !== this.residentBytes()) throw new Error(`os: RSS ${this.residentBytes()}, recounted ${rss}`);
    if (this.faults - this.#baseline.faults < pages + metaPages)
      throw new Error(`os: ${this.faults} faults cannot have made ${pages + metaPages} pages resident`);
  }

  /** Pages `first` to `last` are resident now, `faults` of them since this moment. */
  #faulted(first: number, last: number, faults: number): void {
    this.#residentPages += faults;
    this.faults += faults;
    const cgroup = this.#cgroup;
    if (cgroup === null) return;
    const firstTable = Math.floor(first / PAGES_PER_TABLE);
    const lastTable = Math.floor(last / PAGES_PER_TABLE);
    if (lastTable >= this.#tables.length) {
      const grown = new Uint8Array(Math.max(64, 2 * (lastTable + 1)));
      grown.set(this.#tables);
      this.#tables = grown;
    }
    let tables = 0;
    for (let table = firstTable; table <= lastTable; table++) {
      if (this.#tables[table] === 1) continue;
      this.#tables[table] = 1;
      tables++;
    }
    if (tables > 0) cgroup.chargeTables(tables);
    cgroup.chargeAnon(faults);
  }

  #pageRange(call: string, startByte: number, nbytes: number): [first: number, end: number] {
    if (startByte < 0 || startByte % OS_PAGE_BYTES !== 0 || nbytes < 0 || nbytes % OS_PAGE_BYTES !== 0)
      throw new Error(`${call}: bytes ${startByte} + ${nbytes} are not whole OS pages`);
    return [startByte / OS_PAGE_BYTES, (startByte + nbytes) / OS_PAGE_BYTES];
  }

  /** Sets bits [first, end) of `bits`; with `within`, all of them must be set there. */
  #setBits(bits: Uint32Array, within: Uint32Array | null, first: number, end: number): void {
    for (let page = first; page < end; ) {
      const w = page >>> 5;
      const wordEnd = (w + 1) * 32;
      const mask = maskFrom(page & 31) & maskTo(end >= wordEnd ? 31 : (end - 1) & 31);
      if (within !== null && (mask & ~within[w]) !== 0)
        throw new Error(`os: page range ${first} to ${end} is used before it is mapped`);
      bits[w] |= mask;
      page = wordEnd;
    }
  }

  #drop(call: string, startByte: number, nbytes: number, unmap: boolean): number {
    const [first, end] = this.#pageRange(call, startByte, nbytes);
    this.#peakBytes = this.residentPeakBytes();
    let dropped = 0;
    for (let page = first; page < end && page < this.#pageLimit; ) {
      const w = page >>> 5;
      const wordEnd = (w + 1) * 32;
      const mask = maskFrom(page & 31) & maskTo(end >= wordEnd ? 31 : (end - 1) & 31);
      dropped += popcount32(this.#resident[w] & mask);
      this.#resident[w] &= ~mask;
      this.#ready[w] &= ~mask;
      if (unmap) this.#mapped[w] &= ~mask;
      page = wordEnd;
    }
    this.#residentPages -= dropped;
    this.#cgroup?.unchargeAnon(dropped);
    return dropped * OS_PAGE_BYTES;
  }

  #grow(pages: number): void {
    let words = this.#resident.length;
    while (words * 32 < pages) words *= 2;
    this.#mapped = copyTo(this.#mapped, words);
    this.#ready = copyTo(this.#ready, words);
    this.#resident = copyTo(this.#resident, words);
    this.#pageLimit = words * 32;
  }
}

function copyTo(old: Uint32Array, length: number): Uint32Array<ArrayBuffer> {
  const grown = new Uint32Array(length);
  grown.set(old);
  return grown;
}
