/**
 * Physical memory of the simulated process, page by page: RSS and page faults are counted here and nowhere else.
 *
 * Models what Linux does for Go 1.26's mem_linux.go: anonymous private memory gets a frame at its first
 * touch (one minor fault each), keeps it until madvise(MADV_DONTNEED) and is never swapped out. Arena pages are three
 * bits in bitmaps indexed by OS page from the heap's first arena; the bitmaps grow with the highest mapped page. A page is 4 KiB, or
 * 16 or 64 KiB as on arm64; a fault then clears as much more.
 *
 * After MADV_FREE (madvise_free_pte_range) pages stay resident, and their contents with them, until the control
 * group or the machine reclaims (filelists.ts, node.ts) or they are written again, which costs no fault. Huge pages are hugepages.ts's.
 *
 * Simplified: a touch is a write. Reads of untouched memory (the shared zero page) are told by those who know of them
 * (`readUntouched`): they are faults, and no more, also where page tables are counted. Page-table pages and
 * the kernel's own memory are not counted, as in VmRSS; metadata regions are touched front to back, so their resident
 * part is ceil(touched / 4 KiB) pages. File-backed pages and the C side of the process are a constant baseline.
 * In a container every page that becomes resident is charged to its control group (cgroup.ts), with the page tables it needs.
 * Where it stops being true: swap; lazily freed pages outside of a container, which nobody takes; huge pages
 * outside the arenas; the baseline's and the binary's pages, which are those of 4 KiB whatever the page size; a control group with
 * larger pages, which here still counts in batches of 64 * 4 KiB.
 */
import { kernelBytesAtStart, type MemoryCgroup, type ReclaimableAnon } from "./cgroup.ts";
import { BLOCK_PAGES, type HugePageSettings, HugePages } from "./hugepages.ts";
import type { NumaNodes } from "./numa.ts";
import {
  OS_PAGE_BYTES,
  type Os,
  type OsPageBytes,
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

/** A mapping of the arenas. */
export interface HeapMapping {
  /** Where it begins, from the first arena's first page. */
  readonly firstPage: number;
  readonly pages: number;
  readonly residentPages: number;
  readonly lazyPages: number;
  readonly hugeBytes: number;
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

/** How the kernel and the runtime treat the process's pages. */
export interface PageSettings {
  /** The kernel's page; default 4 KiB. */
  readonly pageBytes?: OsPageBytes;
  /** sysUnused is MADV_FREE (GODEBUG=madvdontneed=0). */
  readonly madvFree?: boolean;
  /** Transparent huge pages; without them no page is ever huge. */
  readonly hugePages?: HugePageSettings;
  /** Page tables are counted outside of a container, too. */
  readonly countTables?: boolean;
  /** The machine's nodes; without them all memory is alike. */
  readonly numa?: NumaNodes;
}

/**
 * Clearing a page at its fault beyond the first 4 KiB. Measured on Linux 6.18 (AMD EPYC, a virtual machine whose memory had been in
 * use): a fault of 2 MiB takes 124 us where 512 of 4 KiB take 810 us; the quickest of four runs over 256 MiB each.
 */
export const CLEAR_NS_PER_BYTE = 0.059;

export class Memory implements Os, ReclaimableAnon {
  /** Minor faults since the process started, the baseline's included. Written by touch and metaTouch. */
  faults: number;
  largeFaultNs = 0;
  readonly pageBytes: number;
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
  readonly baseline: ProcessBaseline;
  readonly pageAllocReservedBytes = PAGE_ALLOC_RESERVED_BYTES;
  /** The container's memory controller; null outside of one. */
  readonly #cgroup: MemoryCgroup | null;
  /** By page table of the arenas (2 MiB of them): 1 once it exists. Empty where nobody counts them. */
  #tables = new Uint8Array(0);
  #arenaTables = 0;
  readonly #countTables: boolean;
  /** Highest residentBytes() seen at a moment before memory was given back. */
  #peakBytes = 0;
  /** The control group counts in 4 KiB: so many are a page. */
  readonly #units: number;
  /** Pages that one page table maps: a page of 8-byte entries. */
  readonly #pagesPerTable: number;
  readonly #madvFree: boolean;
  /** Resident pages given back by MADV_FREE and not written since; each is one bit here. */
  #lazy = new Uint32Array(0);
  #lazyPages = 0;
  /**
   * By page: the entry of the control group's inactive file list that holds it, 0 for none (filelists.ts). Lazily freed pages,
   * written again or not.
   */
  #listedBy = new Int32Array(0);
  #listedPages = 0;
  readonly #huge: HugePages | null;
  readonly #numa: NumaNodes | null;

  constructor(baseline: ProcessBaseline, cgroup: MemoryCgroup | null = null, settings: PageSettings = {}) {
    this.baseline = baseline;
    this.#cgroup = cgroup;
    this.faults = baseline.faults;
    this.pageBytes = settings.pageBytes ?? OS_PAGE_BYTES;
    this.#units = this.pageBytes / OS_PAGE_BYTES;
    this.#pagesPerTable = this.pageBytes / 8;
    this.#madvFree = settings.madvFree ?? false;
    if (this.#madvFree) this.#lazy = new Uint32Array(512);
    if (this.#madvFree && cgroup !== null) this.#listedBy = new Int32Array(512 * 32);
    this.#huge = settings.hugePages === undefined ? null : new HugePages(settings.hugePages);
    this.#numa = settings.numa ?? null;
    this.#countTables = cgroup !== null || settings.countTables === true;
    this.#numa?.placedElsewhere(this.#baselinePages);
    if (cgroup === null) return;
    cgroup.anon = this;
    const pages = Math.ceil(baseline.otherBytes / this.pageBytes);
    cgroup.chargeTables(Math.floor(pages / this.#pagesPerTable) * this.#units);
    cgroup.chargeAnon(pages * this.#units);
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
    // Of a page larger than the runtime's a part may be taken into use.
    if (startByte < 0 || startByte % OS_PAGE_BYTES !== 0 || nbytes < 0 || nbytes % OS_PAGE_BYTES !== 0)
      throw new Error(`sysUsed: bytes ${startByte} + ${nbytes} are not whole OS pages`);
    const first = Math.floor(startByte / this.pageBytes);
    const end = Math.ceil((startByte + nbytes) / this.pageBytes);
    if (end > this.#pageLimit) throw new Error(`sysUsed of unmapped memory up to byte ${startByte + nbytes}`);
    this.#setBits(this.#ready, this.#mapped, first, end);
    this.#huge?.used(first, end);
  }

  sysUnused(startByte: number, nbytes: number): number {
    const [first, end] = this.#pageRange("sysUnused", startByte, nbytes);
    this.#huge?.unused(first, end);
    if (this.#madvFree) return this.#free(first, end);
    return this.#drop(first, end, false);
  }

  sysFault(startByte: number, nbytes: number): number {
    const [first, end] = this.#pageRange("sysFault", startByte, nbytes);
    return this.#drop(first, end, true);
  }

  touch(startByte: number, endByte: number): number {
    if (endByte <= startByte) return 0;
    // Page numbers fit in 31 bits (8 TiB of heap), byte offsets do not: divide first, truncate after.
    const first = (startByte / this.pageBytes) | 0;
    const last = ((endByte - 1) / this.pageBytes) | 0;
    if (last >= this.#pageLimit) throw new Error(`touch of unmapped memory up to byte ${endByte}`);
    if (this.#lazyPages !== 0) this.#written(first, last);
    // Mostly all of it is there.
    if (this.#huge === null && this.#allResident(first, last)) return 0;
    if (this.#cgroup !== null) return this.#touchCharged(this.#cgroup, first, last);
    if (this.#huge !== null) this.#faultHuge(this.#huge, first, last);
    return this.#touchPages(first, last);
  }

  /**
   * The same where a control group is charged. A table is charged when the touch gets to its pages, and a kill ends the touch: at each moment
   * there are as many of both as belong together.
   */
  #touchCharged(cgroup: MemoryCgroup, first: number, last: number): number {
    const perTable = this.#pagesPerTable;
    let faults = 0;
    for (let at = first; at <= last && !cgroup.killed; ) {
      const end = Math.min(last, at | (perTable - 1));
      if (this.#huge !== null) this.#faultHuge(this.#huge, at, end);
      // With a table.
      const room = cgroup.hasRoom((end - at + 2) * this.#units);
      faults += room ? this.#touchPages(at, end) : this.#touchOneByOne(cgroup, at, end);
      at = end + 1;
    }
    return faults;
  }

  /** At the group's limit, page by page, since each may be the one that is refused. */
  #touchOneByOne(cgroup: MemoryCgroup, first: number, last: number): number {
    let faults = 0;
    for (let page = first; page <= last; page++) {
      const w = page >>> 5;
      const bit = 1 << (page & 31);
      if ((this.#resident[w] & bit) !== 0) continue;
      if ((this.#ready[w] & bit) === 0) throw new Error(`touch of memory that is not ready: page ${page}`);
      this.#chargeTablesOf(page, page);
      if (cgroup.chargeAnon(this.#units) > 0) break;
      this.#resident[w] |= bit;
      this.#numa?.placed(w, bit);
      this.#residentPages++;
      faults++;
    }
    this.#count(faults);
    return faults;
  }

  #touchPages(first: number, last: number): number {
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
        throw new Error(`touch of memory that is not ready, in pages ${first} to ${last}`);
      resident[w] |= missing;
      this.#numa?.placed(w, missing);
      faults += popcount32(missing);
    }
    if (faults !== 0) this.#faulted(first, last, faults);
    return faults;
  }

  isResident(startByte: number, endByte: number): boolean {
    if (endByte <= startByte) return true;
    const first = (startByte / this.pageBytes) | 0;
    const last = ((endByte - 1) / this.pageBytes) | 0;
    if (last >= this.#pageLimit) return false;
    if (this.#lazyPages !== 0 && this.#anyLazy(first, last)) return false;
    return this.#allResident(first, last);
  }

  #allResident(first: number, last: number): boolean {
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
    const page = Math.floor(byte / this.pageBytes);
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
    if (this.#cgroup?.killed === true) return 0;
    const before = Math.ceil(region.touchedBytes / this.pageBytes);
    region.touchedBytes += nbytes;
    if (region.touchedBytes > region.mappedBytes)
      throw new Error(
        `metadata region "${name}": ${region.touchedBytes} of ${region.mappedBytes} bytes touched`,
      );
    let faults = Math.ceil(region.touchedBytes / this.pageBytes) - before;
    if (this.#cgroup !== null && faults > 0) {
      const charged = this.#chargeMeta(this.#cgroup, before, before + faults);
      if (charged < faults) region.touchedBytes = (before + charged) * this.pageBytes;
      faults = charged;
    }
    this.#metaPages += faults;
    this.#numa?.placedElsewhere(faults);
    this.#count(faults);
    return faults;
  }

  /**
   * Pages `from` to `to` of a metadata region, with a table for every so many but the first, which is among those of the
   * process's start. Returns how many a kill lets be charged.
   */
  #chargeMeta(cgroup: MemoryCgroup, from: number, to: number): number {
    for (let at = from; at < to; ) {
      const end = Math.min(to, (Math.floor(at / this.#pagesPerTable) + 1) * this.#pagesPerTable);
      const left = cgroup.chargeAnon((end - at) * this.#units);
      if (left > 0) return end - from - Math.ceil(left / this.#units);
      if (end % this.#pagesPerTable === 0) cgroup.chargeTables(this.#units);
      at = end;
    }
    return to - from;
  }

  residentBytes(): number {
    return (
      (this.#residentPages + this.#metaPages) * this.pageBytes +
      this.baseline.fileBytes +
      this.baseline.otherBytes
    );
  }

  /** Resident pages from before the heap. */
  get #baselinePages(): number {
    return Math.ceil((this.baseline.fileBytes + this.baseline.otherBytes) / this.pageBytes);
  }

  get hasHugePages(): boolean {
    return this.#huge !== null;
  }

  /** VmPTE: the page tables of the process, where they are counted. */
  get pageTableBytes(): number {
    const tablesOf = (bytes: number): number =>
      Math.floor(Math.ceil(bytes / this.pageBytes) / this.#pagesPerTable);
    let tables = this.#arenaTables + tablesOf(this.baseline.otherBytes);
    for (const { touchedBytes } of this.#meta.values()) tables += tablesOf(touchedBytes);
    return tables * this.pageBytes + kernelBytesAtStart(0).pageTables;
  }

  /** Resident part of what the runtime maps beside its arenas. */
  get metadataResidentBytes(): number {
    return this.#metaPages * this.pageBytes;
  }

  /** Resident bytes of [startByte, endByte), which need not be whole pages: of a page the part that lies in it. */
  residentBytesIn(startByte: number, endByte: number): number {
    const { pageBytes } = this;
    const first = Math.floor(startByte / pageBytes);
    const last = Math.min(Math.ceil(endByte / pageBytes), this.#pageLimit) - 1;
    if (last < first) return 0;
    let pages = 0;
    const lastWord = last >>> 5;
    for (let w = first >>> 5; w <= lastWord; w++) {
      let mask = -1;
      if (w === first >>> 5) mask = maskFrom(first & 31);
      if (w === lastWord) mask &= maskTo(last & 31);
      pages += popcount32(this.#resident[w] & mask);
    }
    // What the first and the last page have outside of the range.
    const before = startByte - first * pageBytes;
    const after = Math.max(0, (last + 1) * pageBytes - endByte);
    const isIn = (page: number): number => (this.#resident[page >>> 5] >>> (page & 31)) & 1;
    return pages * pageBytes - before * isIn(first) - after * isIn(last);
  }

  /** smaps' LazyFree: resident, but the kernel may take it. */
  lazyFreeBytes(): number {
    return this.#lazyPages * this.pageBytes;
  }

  /** smaps' AnonHugePages. */
  anonHugePagesBytes(): number {
    return (this.#huge?.mapped ?? 0) * BLOCK_PAGES * OS_PAGE_BYTES;
  }

  /**
   * Address space of the process, like VmSize: what is reserved for the page allocator and arenas, mapped for metadata, and the
   * binary. Some 100 MiB short of a real one (thread stacks' guard areas, the profiler, what the linker lays out).
   */
  virtualBytes(): number {
    let bytes =
      PAGE_ALLOC_RESERVED_BYTES + this.reservedBytes + this.baseline.fileBytes + this.baseline.otherBytes;
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
    return this.#residentPages * this.pageBytes;
  }

  /** Runs of mapped pages of the arenas, lowest first. */
  heapMappings(): HeapMapping[] {
    const runs: HeapMapping[] = [];
    let run: {
      firstPage: number;
      pages: number;
      residentPages: number;
      lazyPages: number;
      hugeBytes: number;
    } | null = null;
    for (let w = 0; w < this.#mapped.length; w++) {
      // The heap is mapped in whole chunks of 4 MiB.
      if (this.#mapped[w] === 0) {
        run = null;
        continue;
      }
      if (run === null)
        runs.push((run = { firstPage: w * 32, pages: 0, residentPages: 0, lazyPages: 0, hugeBytes: 0 }));
      run.pages += popcount32(this.#mapped[w]);
      run.residentPages += popcount32(this.#resident[w]);
      if (this.#madvFree) run.lazyPages += popcount32(this.#lazy[w]);
      const block = (w * 32) / BLOCK_PAGES;
      if (this.#huge?.isHuge(block) === true) run.hugeBytes += BLOCK_PAGES * OS_PAGE_BYTES;
    }
    return runs;
  }

  /** Every metadata region, in the order of its first mapping. */
  metaUse(): MetaUse[] {
    return [...this.#meta].map(([name, region]) => ({
      name,
      mappedBytes: region.mappedBytes,
      residentBytes: Math.ceil(region.touchedBytes / this.pageBytes) * this.pageBytes,
    }));
  }

  /** Recounts everything residentBytes() is made of. Expensive; throws with the numbers. */
  checkInvariants(): void {
    let pages = 0;
    let lazy = 0;
    for (let w = 0; w < this.#resident.length; w++) {
      const freed = this.#madvFree ? this.#lazy[w] : 0;
      // A huge page holds memory that nobody has taken into use, and MADV_FREE leaves what it freed.
      const unready = this.#resident[w] & ~this.#ready[w] & ~freed;
      if (unready !== 0 && this.#huge === null)
        throw new Error(`os: page word ${w} is resident but not ready`);
      if ((freed & ~this.#resident[w]) !== 0) throw new Error(`os: page word ${w} is free but not resident`);
      if ((this.#ready[w] & ~this.#mapped[w]) !== 0)
        throw new Error(`os: page word ${w} is ready but not mapped`);
      pages += popcount32(this.#resident[w]);
      lazy += popcount32(freed);
    }
    if (pages !== this.#residentPages)
      throw new Error(`os: ${this.#residentPages} resident arena pages kept, ${pages} counted`);
    const listed = this.#listedBy.reduce((n, entry) => n + Number(entry !== 0), 0);
    if (listed !== this.#listedPages)
      throw new Error(`os: ${this.#listedPages} listed pages kept, ${listed} counted`);
    if (lazy !== this.#lazyPages)
      throw new Error(`os: ${this.#lazyPages} lazily freed pages kept, ${lazy} counted`);
    this.#huge?.checkInvariants(this.#resident);
    let metaPages = 0;
    for (const region of this.#meta.values()) metaPages += Math.ceil(region.touchedBytes / this.pageBytes);
    if (metaPages !== this.#metaPages)
      throw new Error(`os: ${this.#metaPages} resident metadata pages kept, ${metaPages} counted`);
    this.#numa?.checkInvariants(this.#resident, metaPages + this.#baselinePages);
    const rss = (pages + metaPages) * this.pageBytes + this.baseline.fileBytes + this.baseline.otherBytes;
    if (rss !== this.residentBytes()) throw new Error(`os: RSS ${this.residentBytes()}, recounted ${rss}`);
    if (this.#huge === null && this.faults - this.baseline.faults < pages + metaPages)
      throw new Error(`os: ${this.faults} faults cannot have made ${pages + metaPages} pages resident`);
  }

  /** Frames of huge pages taken apart that reclaim may take. */
  get heldUnits(): number {
    return this.#huge?.heldPages ?? 0;
  }

  splitDeferred(units: number): number {
    return this.#huge?.splitDeferred(units) ?? 0;
  }

  get listedUnits(): number {
    return this.#listedPages * this.#units;
  }

  get unitsPerPage(): number {
    return this.#units;
  }

  isListed(page: number, entry: number): boolean {
    return this.#listedBy[page] === entry;
  }

  /** The kernel's reclaim has come to a listed page. The caller uncharges what it takes. */
  take(page: number): boolean {
    const w = page >>> 5;
    const bit = 1 << (page & 31);
    if ((this.#lazy[w] & bit) === 0) return false;
    this.#peakBytes = this.residentPeakBytes();
    this.#lazy[w] &= ~bit;
    this.#resident[w] &= ~bit;
    this.#numa?.dropped(w, bit);
    this.#lazyPages--;
    this.#residentPages--;
    this.#unlist(page);
    return true;
  }

  relist(page: number, entry: number | null): void {
    if (entry === null) this.#unlist(page);
    else this.#listedBy[page] = entry;
  }

  #unlist(page: number): void {
    this.#listedBy[page] = 0;
    this.#listedPages--;
  }

  /** The frames of [first, end) are gone. */
  #unlistAll(first: number, end: number): void {
    for (let page = first; this.#listedPages > 0 && page < end; page++)
      if (this.#listedBy[page] > 0) this.#unlist(page);
  }

  /** Those of [first, end) that were freed just now join the inactive file list, but for the ones that are on it from before. */
  #list(cgroup: MemoryCgroup, first: number, end: number): void {
    let entry = 0;
    for (let page = first; page < end; page++) {
      if (((this.#lazy[page >>> 5] >>> (page & 31)) & 1) === 0 || this.#listedBy[page] !== 0) continue;
      if (entry === 0) entry = cgroup.pageCache.addLazy(page, end - page);
      this.#listedBy[page] = entry;
      this.#listedPages++;
    }
  }

  /** khugepaged's turn: `pages` of address space are looked at and made huge where enough of them is there. */
  khugepaged(pages: number): void {
    const huge = this.#huge;
    if (huge === null) return;
    for (let left = Math.floor(pages / BLOCK_PAGES), looked = 0; left > 0; left--) {
      const block = huge.nextToScan(this.#mapped);
      if (block < 0 || ++looked > huge.blocks) return;
      const before = huge.present(this.#resident, block);
      if (!huge.mayCollapse(this.#resident, block) || !this.#roomFor(BLOCK_PAGES)) continue;
      this.#peakBytes = this.residentPeakBytes();
      const held = huge.collapse(block);
      this.#fillBlock(block);
      const added = BLOCK_PAGES - before;
      this.#residentPages += added;
      this.#cgroup?.collapsed(added, held);
    }
  }

  /** Whether the control group has room for so many pages more; a huge page is not worth a reclaim. */
  #roomFor(pages: number): boolean {
    return this.#cgroup === null || this.#cgroup.hasRoom(pages);
  }

  /**
   * All of a block is resident, in a new frame. What of it was freed lazily is not any more: its contents were copied or
   * cleared.
   */
  #fillBlock(block: number): void {
    const from = (block * BLOCK_PAGES) / 32;
    this.#unlistAll(block * BLOCK_PAGES, (block + 1) * BLOCK_PAGES);
    if (this.#lazyPages > 0) this.#written(block * BLOCK_PAGES, (block + 1) * BLOCK_PAGES - 1);
    this.#resident.fill(0xffffffff, from, from + BLOCK_PAGES / 32);
  }

  /** Blocks of pages first..last that nothing of is there yet and that may be huge become so: one fault each. */
  #faultHuge(huge: HugePages, first: number, last: number): void {
    for (let block = Math.floor(first / BLOCK_PAGES); block <= Math.floor(last / BLOCK_PAGES); block++) {
      if (huge.hasTable(block)) continue;
      if (!huge.mayFault(this.#mapped, block) || !this.#roomFor(BLOCK_PAGES + 1)) {
        huge.tableMade(block);
        continue;
      }
      huge.faulted(block);
      this.#fillBlock(block);
      this.#residentPages += BLOCK_PAGES;
      this.faults++;
      this.largeFaultNs += (BLOCK_PAGES - 1) * OS_PAGE_BYTES * CLEAR_NS_PER_BYTE;
      // The page table for a later split is put by at once.
      this.#chargeTablesOf(block * BLOCK_PAGES, block * BLOCK_PAGES);
      this.#cgroup?.chargeHuge();
    }
  }

  /** MADV_FREE: resident pages are marked, and lose the frame only when the kernel needs it (`reclaim`). */
  #free(first: number, end: number): number {
    this.#huge?.split(first, end);
    for (let page = first; page < end; ) {
      const w = page >>> 5;
      const wordEnd = (w + 1) * 32;
      const mask = maskFrom(page & 31) & maskTo(end >= wordEnd ? 31 : (end - 1) & 31);
      const freed = this.#resident[w] & mask & ~this.#lazy[w];
      this.#lazy[w] |= freed;
      this.#lazyPages += popcount32(freed);
      this.#ready[w] &= ~mask;
      page = wordEnd;
    }
    if (this.#cgroup !== null) this.#list(this.#cgroup, first, Math.min(end, this.#pageLimit));
    return 0;
  }

  /** Pages are written: those freed lazily and still there are kept, without a fault (the processor sets the dirty bit). */
  #written(first: number, last: number): void {
    const lastWord = last >>> 5;
    for (let w = first >>> 5; w <= lastWord; w++) {
      let mask = -1;
      if (w === first >>> 5) mask = maskFrom(first & 31);
      if (w === lastWord) mask &= maskTo(last & 31);
      const kept = this.#lazy[w] & mask;
      if (kept === 0) continue;
      this.#lazy[w] &= ~kept;
      this.#lazyPages -= popcount32(kept);
    }
  }

  #anyLazy(first: number, last: number): boolean {
    const lastWord = last >>> 5;
    for (let w = first >>> 5; w <= lastWord; w++) {
      let mask = -1;
      if (w === first >>> 5) mask = maskFrom(first & 31);
      if (w === lastWord) mask &= maskTo(last & 31);
      if ((this.#lazy[w] & mask) !== 0) return true;
    }
    return false;
  }

  /** Faults of one page each. */
  #count(faults: number): void {
    this.faults += faults;
    if (this.#units > 1) this.largeFaultNs += faults * (this.pageBytes - OS_PAGE_BYTES) * CLEAR_NS_PER_BYTE;
  }

  /** Pages `first` to `last` are resident now, `faults` of them since this moment. */
  #faulted(first: number, last: number, faults: number): void {
    this.#residentPages += faults;
    this.#count(faults);
    this.#chargeTablesOf(first, last);
    this.#cgroup?.chargeAnon(faults * this.#units);
  }

  /** The page tables for pages first..last, where there are none yet. */
  #chargeTablesOf(first: number, last: number): void {
    if (!this.#countTables) return;
    const firstTable = Math.floor(first / this.#pagesPerTable);
    const lastTable = Math.floor(last / this.#pagesPerTable);
    if (lastTable >= this.#tables.length) {
      const grown = new Uint8Array(Math.max(64, 2 * (lastTable + 1)));
      grown.set(this.#tables);
      this.#tables = grown;
    }
    for (let table = firstTable; table <= lastTable; table++) {
      if (this.#tables[table] === 1) continue;
      if (this.#cgroup !== null && this.#cgroup.chargeTables(this.#units) > 0) return;
      this.#tables[table] = 1;
      this.#arenaTables++;
    }
  }

  #pageRange(call: string, startByte: number, nbytes: number): [first: number, end: number] {
    const { pageBytes } = this;
    if (startByte < 0 || startByte % pageBytes !== 0 || nbytes < 0 || nbytes % pageBytes !== 0)
      throw new Error(`${call}: bytes ${startByte} + ${nbytes} are not whole OS pages`);
    return [startByte / pageBytes, (startByte + nbytes) / pageBytes];
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

  #drop(first: number, end: number, unmap: boolean): number {
    this.#peakBytes = this.residentPeakBytes();
    if (this.#lazyPages !== 0) this.#written(first, end - 1);
    this.#unlistAll(first, end);
    // Frames of a huge page taken apart stay charged until all of it is gone.
    const held = this.#huge?.dropped(this.#resident, first, end) ?? 0;
    let dropped = 0;
    for (let page = first; page < end && page < this.#pageLimit; ) {
      const w = page >>> 5;
      const wordEnd = (w + 1) * 32;
      const mask = maskFrom(page & 31) & maskTo(end >= wordEnd ? 31 : (end - 1) & 31);
      dropped += popcount32(this.#resident[w] & mask);
      this.#numa?.dropped(w, this.#resident[w] & mask);
      this.#resident[w] &= ~mask;
      this.#ready[w] &= ~mask;
      if (unmap) this.#mapped[w] &= ~mask;
      page = wordEnd;
    }
    this.#residentPages -= dropped;
    this.#cgroup?.unchargeAnon(dropped * this.#units - held);
    return dropped * this.pageBytes;
  }

  #grow(pages: number): void {
    let words = this.#resident.length;
    while (words * 32 < pages) words *= 2;
    this.#mapped = copyTo(this.#mapped, words);
    this.#ready = copyTo(this.#ready, words);
    this.#resident = copyTo(this.#resident, words);
    if (this.#madvFree) this.#lazy = copyTo(this.#lazy, words);
    if (this.#listedBy.length > 0) {
      const listedBy = new Int32Array(words * 32);
      listedBy.set(this.#listedBy);
      this.#listedBy = listedBy;
    }
    this.#pageLimit = words * 32;
  }
}

function copyTo(old: Uint32Array, length: number): Uint32Array<ArrayBuffer> {
  const grown = new Uint32Array(length);
  grown.set(old);
  return grown;
}
