/**
 * The operating system as the runtime sees it: the calls of Go 1.26's mem.go and the memory accesses behind them.
 *
 * Page states follow mem.go's transitions, with the kernel's half added (which of the ready pages have a frame):
 *
 *     reserved --sysMap--> released --sysUsed--> ready --touch--> resident
 *        ^                    ^                    |                 |
 *        |                    +----------- sysUnused ----------------+
 *        +------------------------ sysFault (from any) --------------+
 *
 * "released" is Go's Prepared: mapped, but not in use by the heap and without a frame. Only "resident" pages are in RSS.
 *
 * Heap addresses are byte offsets from the heap's first arena, as everywhere in runtime/. Everything the runtime maps
 * outside its arenas (span records, bitmaps, the profiler's table, a workload's own mmap) has no address here: such a
 * *metadata region* has a name, a mapped size and a touched size.
 */

/** The kernel's page on linux/amd64, 4 KiB: half of the runtime's 8 KiB page. Also the unit in which a control group counts here. */
export const OS_PAGE_BYTES = 4096;
/** Pages a Linux kernel can be built with; the larger ones on arm64 (and 64 KiB on ppc64le). */
export type OsPageBytes = 4096 | 16384 | 65536;

export const PAGE_RESERVED = 0;
export const PAGE_RELEASED = 1;
export const PAGE_READY = 2;
export const PAGE_RESIDENT = 3;
export type PageState =
  | typeof PAGE_RESERVED
  | typeof PAGE_RELEASED
  | typeof PAGE_READY
  | typeof PAGE_RESIDENT;

export interface Os {
  /** Takes `nbytes` of address space. Costs no memory and is in none of Go's statistics. */
  sysReserve(nbytes: number): void;
  /** Reserved to released. Ranges of this and the next four calls are whole OS pages. */
  sysMap(startByte: number, nbytes: number): void;
  /** Released to ready; pages that are ready or resident already stay as they are. */
  sysUsed(startByte: number, nbytes: number): void;
  /**
   * Ready and resident to released: MADV_DONTNEED, or MADV_FREE, after which pages stay resident until the kernel wants their
   * frames. Returns the resident bytes given back.
   */
  sysUnused(startByte: number, nbytes: number): number;
  /** Back to reserved, from any state; the contents are gone (a freed user arena chunk). Returns the resident bytes given back. */
  sysFault(startByte: number, nbytes: number): number;
  /** A write to every byte of [startByte, endByte): its pages become resident. Returns the new page faults. */
  touch(startByte: number, endByte: number): number;
  /** Reads of `pages` ready pages never written: each maps the shared zero page, a fault without residency. */
  readUntouched(pages: number): void;
  /** Whether every page that holds a byte of [startByte, endByte) is resident and will stay so without being written again. */
  isResident(startByte: number, endByte: number): boolean;
  /** Grows the mapping of a metadata region, creating it at first use. */
  metaMap(name: string, nbytes: number): void;
  /** The next `nbytes` of a metadata region are written for the first time. Returns the new page faults. */
  metaTouch(name: string, nbytes: number): number;
  /** Resident set size: heap, metadata and baseline. */
  residentBytes(): number;
  /** Minor page faults since the process started. */
  readonly faults: number;
  /** CPU nanoseconds those faults took beyond what a fault of 4 KiB does: larger pages to clear. */
  readonly largeFaultNs: number;
  /** physPageSize. */
  readonly pageBytes: number;
}

/** Sleeps in the kernel that a thread owes because its group is above memory.high, for so many pages each; one after another, in as many page faults. */
export interface HighSleep {
  readonly pages: number;
  readonly ns: number;
  times: number;
}

/** What a container does to the threads of its process, as the scheduler asks after a piece of work. */
export interface ThreadDelays {
  /** Sleeps that the running thread owes since the last call, in their order; null for none. Its P waits with it. */
  takeSleeps(): HighSleep[] | null;
  /** One of them begins: returns how long it is, which is no longer than it was when it was owed, and 0 where the group is not above memory.high any more. */
  beginSleep(sleep: HighSleep, nowNs: number): number;
  /** CPU time the running thread has spent on reclaim since the last call. */
  takeCpuNs(): number;
  /** From now on the running thread spends so much of it. */
  reclaimed(cpuNs: number, nowNs: number): void;
  /** Until when some thread reclaims or sleeps. */
  readonly stalledUntilNs: number;
  /** Time has passed while `running` threads were on a CPU or waited for one. */
  elapse(fromNs: number, toNs: number, running: number): void;
  /** The OOM killer has ended the process: nothing of it runs any more. */
  readonly killed: boolean;
}
