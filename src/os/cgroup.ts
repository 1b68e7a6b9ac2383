/**
 * The memory controller of a control group: what the container's memory is charged with, and what happens at its limits.
 *
 * Follows mm/memcontrol.c and mm/page_counter.c of Linux 6.x (try_charge_memcg, mem_cgroup_handle_over_high,
 * calculate_high_delay), which is the same for cgroup v1 and v2; v1 has no memory.high. Every page a fault makes resident is
 * charged here, and so are the page cache and what the kernel keeps for the process:
 *
 *     memory.current = anon + file + kernel + stock,   kernel = page tables + kernel stacks + slab
 *
 * - anon: resident anonymous pages (memory.ts counts them);
 * - file: the container's page cache (pagecache.ts);
 * - page tables: one 4 KiB table per 2 MiB of address space with a page in it, and what a process has before its heap;
 * - kernel stacks: 16 KiB per thread; slab: task_struct and the like, per thread and per process, and the nodes of cached files;
 * - stock: pages are taken from the counter in batches of 64, and a CPU keeps the rest for its next faults.
 *
 * At memory.max a charge reclaims page cache and what the process has given back by MADV_FREE (filelists.ts), 32 pages or up to twice as many at a
 * time; if there is none, the OOM killer ends the process. Above
 * memory.high the faulting thread reclaims too and, as long as that does not help, sleeps before it goes on: by the square of
 * the overage, at most two seconds each time it returns to the program. That is once per fault: of small pages every 64th takes a
 * new batch and sleeps for it, and a huge page is one fault. khugepaged belongs to no group and never sleeps.
 *
 * Limits may be changed while it runs (`resizeMax`, `resizeHigh`): whoever writes them reclaims what is above, and v2 then kills, where
 * v1 refuses.
 *
 * Simplified: no swap, so anonymous memory cannot be reclaimed; one stock, where the kernel has one per CPU (memory.current is low by some
 * 128 KiB for each further CPU; it makes no difference at the limit, where stocks are drained); one process in the
 * group; memory of user pages freed goes back at once. A page table outlives its pages, as before CONFIG_PT_RECLAIM (6.14).
 * Of the reclaim that a group's own memory.max and memory.high ask for the kernel exempts nothing (mem_cgroup_unprotected):
 * memory.min and memory.low keep a group from reclaim for the whole machine only, which node.ts does where others compete
 * for its memory.
 * Where it stops being true: swap, parent groups with limits of their own.
 *
 * Checked against Linux 6.1 in a guest (test/guest/record.ts): a program of one P above memory.high sleeps as often and as long as here, after 17
 * attempts to reclaim each time (memory.events high), and `some` and `full` of memory.pressure pass as here.
 */

import { type FileLists, type LazyPages, SWAP_CLUSTER_MAX } from "./filelists.ts";
import type { FileReads } from "./filereads.ts";
import { BLOCK_PAGES } from "./hugepages.ts";
import { type NodeMemory, type NodeOom, type NodeScan, PROCESS, unprotectedPages } from "./node.ts";
import { type HighSleep, OS_PAGE_BYTES } from "./os.ts";
import { NODE_BYTES, type PageCache, RECLAIM_NS_PER_PAGE } from "./pagecache.ts";
import { MemoryPressure } from "./psi.ts";

/** Pages taken from the counter at once (MEMCG_CHARGE_BATCH). */
export const MEMCG_CHARGE_BATCH = 64;
/** Fruitless attempts before the OOM killer is called (MAX_RECLAIM_RETRIES). */
const MAX_RECLAIM_RETRIES = 16;
const MEMCG_DELAY_PRECISION_SHIFT = 20;
const MEMCG_DELAY_SCALING_SHIFT = 14;
/** Timer ticks per second (CONFIG_HZ) of the distributions' kernels that were looked at; delays are whole ticks. */
const HZ = 250;
/** The longest sleep on one return to the program (MEMCG_MAX_HIGH_DELAY_JIFFIES). */
const MAX_HIGH_DELAY_SECONDS = 2;
/** Ticks that are not worth a sleep. */
const SHORT_DELAY = HZ / 100;

/** Who writes a container's limits, as the kernel's log calls it. */
const RESIZER = "runc";

/** A thread's kernel stack (THREAD_SIZE of amd64). */
const KERNEL_STACK_BYTES = 16 << 10;
/**
 * What else a thread and a process cost in slab caches. Measured in a cgroup of its own on Linux 6.18: memory.kmem.usage less
 * page tables of a Go program with 4, 14, 24, 44 and 84 threads is 20 KiB + 22 KiB per thread.
 */
const SLAB_BYTES_PER_THREAD = 6 << 10;
const SLAB_BYTES_PER_PROCESS = 20 << 10;
/** Page tables of a Go 1.26 process without its heap: VmPTE of the same program, less one for its one arena. */
const PAGE_TABLES_AT_START = 20;
/** What the kernel keeps for a process of so many threads when it starts, in bytes; the checks of a scenario show it, too. */
export function kernelBytesAtStart(threads: number): {
  readonly pageTables: number;
  readonly kernelStack: number;
  readonly slab: number;
} {
  return {
    pageTables: PAGE_TABLES_AT_START * OS_PAGE_BYTES,
    kernelStack: threads * KERNEL_STACK_BYTES,
    slab: SLAB_BYTES_PER_PROCESS + threads * SLAB_BYTES_PER_THREAD,
  };
}

/**
 * calculate_high_delay: ticks that a thread which has just charged `nrPages` sleeps for, while `usage` pages are charged and
 * `high` are wished for. With the overage as a share o = (usage - high) / high, kept in 20 fractional bits, that is
 * o^2 * 2^6 seconds for a batch of 64 pages: 6 ms at 1 %, 160 ms at 5 %, 640 ms at 10 %.
 */
export function calculateHighDelay(usage: number, high: number, nrPages: number, hz = HZ): number {
  if (usage <= high) return 0;
  const overage = Math.floor(((usage - high) * 2 ** MEMCG_DELAY_PRECISION_SHIFT) / Math.max(1, high));
  // Above 100 % of overage the delay is 64 s and more, and the squares below leave the safe integers.
  if (overage >= 2 ** MEMCG_DELAY_PRECISION_SHIFT) return MAX_HIGH_DELAY_SECONDS * hz;
  const perBatch = Math.floor(
    (overage * overage * hz) / 2 ** (MEMCG_DELAY_PRECISION_SHIFT + MEMCG_DELAY_SCALING_SHIFT),
  );
  return Math.min(Math.floor((perBatch * nrPages) / MEMCG_CHARGE_BATCH), MAX_HIGH_DELAY_SECONDS * hz);
}

/** memory.events, counted since the group was made. */
export interface MemoryEvents {
  /** Looks of the machine's reclaim at the group although it was within memory.low. */
  low: number;
  /** Reclaims because of memory.high. */
  high: number;
  /** Charges that memory.max refused until something was reclaimed. */
  max: number;
  oom: number;
  oom_kill: number;
  /** v1's memory.failcnt: refusals of the counter, those of whole batches included. */
  failcnt: number;
}

/** memory.stat, in bytes. */
export interface MemoryStat {
  readonly anon: number;
  readonly file: number;
  readonly kernel: number;
  readonly kernel_stack: number;
  readonly pagetables: number;
  readonly slab: number;
  readonly inactive_file: number;
  readonly active_file: number;
}

/** The state at the moment the limit could not be kept, which the kernel's log tells. */
export interface OomState {
  readonly usageBytes: number;
  readonly stat: MemoryStat;
  /** Who asked for the memory, if it was not the victim: who lowered the limit. */
  readonly invoker?: string;
  /** It was the machine that had nothing left, not the group. */
  readonly node?: NodeOom;
}

export interface MemoryCgroupOptions {
  /** memory.max; Infinity for none. */
  readonly maxBytes: number;
  /** memory.high; Infinity for none. */
  readonly highBytes: number;
  /** Bytes of the program's file that are charged here, in memory all the time: 0 where another group read them first. */
  readonly binaryBytes: number;
  readonly pageCache: PageCache;
  /** memory.min and memory.low; default none. */
  readonly minBytes?: number;
  readonly lowBytes?: number;
  /** The machine, where it may run short of memory. */
  readonly node?: NodeMemory | null;
}

/** Anonymous memory of the process that reclaim can take without swap. Counted in 4 KiB. */
export interface ReclaimableAnon extends LazyPages {
  /** Frames left over of huge pages taken apart, on a list of their own. */
  readonly heldUnits: number;
  /** Frees at least one and about `units` of those, if there are any; returns how many. */
  splitDeferred(units: number): number;
}

export class MemoryCgroup {
  readonly events: MemoryEvents = { low: 0, high: 0, max: 0, oom: 0, oom_kill: 0, failcnt: 0 };
  maxPages: number;
  highPages: number;
  readonly minPages: number;
  readonly lowPages: number;
  /** Who reads the group's files. */
  fileReads: FileReads | null = null;
  /**
   * So many pages may be charged at most for reads that `fileReads` plays late; 0 if none are. A charge that would bring usage and these together
   * beyond a limit has those played first that are due, and ends this.
   */
  readsLeft = 0;
  /** Set once the OOM killer has chosen the process: what it still does is not charged. */
  oom: OomState | null = null;
  /** Time threads have slept for memory.high, summed over them, and CPU spent on reclaim. Since the group was made. */
  throttledNs = 0;
  reclaimNs = 0;
  readonly pressure = new MemoryPressure();
  readonly #pageCache: PageCache;
  readonly #node: NodeMemory | null;
  #anon: ReclaimableAnon | null = null;
  readonly #binaryPages: number;
  #anonPages = 0;
  #tablePages = 0;
  #stackBytes = 0;
  #slabBytes = 0;
  /** The process's part of it; the rest are the nodes of cached files. */
  #processSlabBytes = 0;
  /** The page counter, stock included. */
  #usage = 0;
  #stock = 0;
  /** Not yet fetched by the scheduler: sleeps, and CPU, of the running thread. */
  #sleeps: HighSleep[] = [];
  #cpuNs = 0;
  #peakPages = 0;

  constructor(options: MemoryCgroupOptions) {
    this.maxPages = Math.floor(options.maxBytes / OS_PAGE_BYTES);
    this.highPages = Math.floor(options.highBytes / OS_PAGE_BYTES);
    this.minPages = Math.floor((options.minBytes ?? 0) / OS_PAGE_BYTES);
    this.lowPages = Math.floor((options.lowBytes ?? 0) / OS_PAGE_BYTES);
    this.#pageCache = options.pageCache;
    this.#node = options.node ?? null;
    this.#node?.enter(this);
    this.#binaryPages = Math.ceil(options.binaryBytes / OS_PAGE_BYTES);
  }

  /** The process's memory, from its start on. */
  set anon(memory: ReclaimableAnon) {
    this.#anon = memory;
    this.#pageCache.holdLazy(memory);
  }

  /** A process starts in the group: its binary, and what the kernel needs for it. */
  processStarted(threads: number): void {
    const kernel = kernelBytesAtStart(threads);
    this.#stackBytes = kernel.kernelStack;
    this.#processSlabBytes = kernel.slab;
    this.#slabBytes = kernel.slab;
    this.chargeTables(kernel.pageTables / OS_PAGE_BYTES);
    this.#charge(Math.ceil((kernel.kernelStack + kernel.slab) / OS_PAGE_BYTES) + this.#binaryPages);
  }

  /** The process has a thread more. */
  threadStarted(): void {
    const before = this.#smallKernelPages;
    this.#stackBytes += KERNEL_STACK_BYTES;
    this.#processSlabBytes += SLAB_BYTES_PER_THREAD;
    this.#slabBytes += SLAB_BYTES_PER_THREAD;
    this.#charge(this.#smallKernelPages - before);
  }

  /** Kernel stacks and slab, as the counter has them. */
  get #smallKernelPages(): number {
    return Math.ceil((this.#stackBytes + this.#slabBytes) / OS_PAGE_BYTES);
  }

  /** Files have more nodes than before, or fewer: returns how many pages are to be charged for that. */
  #nodesChanged(): number {
    const slabBytes = this.#processSlabBytes + this.#pageCache.nodes * NODE_BYTES;
    if (slabBytes === this.#slabBytes) return 0;
    const before = this.#smallKernelPages;
    this.#slabBytes = slabBytes;
    const more = this.#smallKernelPages - before;
    if (more >= 0) return more;
    if (this.oom === null) this.#usage += more;
    return 0;
  }

  /** `pages` of anonymous memory become resident, in faults of one each. Returns how many a kill has left uncharged. */
  chargeAnon(pages: number): number {
    this.#anonPages += pages;
    const left = this.#charge(pages);
    // What the kill kept from being charged never became resident.
    if (this.oom !== null && left > 0) {
      this.#anonPages -= left;
      this.oom = { ...this.oom, stat: this.stat() };
    }
    return left;
  }

  /** A huge page is faulted in: one charge, for which the caller has seen that there is room. */
  chargeHuge(): void {
    this.#anonPages += BLOCK_PAGES;
    this.#chargeBlock();
    if (this.#usage > this.highPages) this.#overHigh(BLOCK_PAGES);
  }

  /** khugepaged has made a huge page where `added` pages were not there yet; `held` frames of an earlier one are free. */
  collapsed(added: number, held: number): void {
    this.#anonPages += added;
    this.#chargeBlock(added);
    this.unchargeAnon(held);
  }

  /** Past the stock, which is drained if it takes that. */
  #chargeBlock(pages = BLOCK_PAGES): void {
    if (this.#nearLimit(pages)) this.#readOnTime();
    if (this.#usage + pages > this.maxPages) {
      this.#usage -= this.#stock;
      this.#stock = 0;
    }
    this.#usage += pages;
    if (this.#usage > this.#peakPages) this.#peakPages = this.#usage;
  }

  unchargeAnon(pages: number): void {
    if (this.oom !== null) return;
    // The highest usage may have been now, with what has been read.
    if (this.#usage + this.readsLeft > this.#peakPages) this.#catchUp();
    this.#anonPages -= pages;
    this.#usage -= pages;
  }

  /** Page tables are made. Returns how many pages of them a kill has left uncharged. */
  chargeTables(pages: number): number {
    this.#tablePages += pages;
    const left = this.#charge(pages);
    if (this.oom !== null && left > 0) {
      this.#tablePages -= left;
      this.oom = { ...this.oom, stat: this.stat() };
    }
    return left;
  }

  /**
   * File pages are read in. Returns how long the thread that reads sleeps for memory.high from `nowNs` on, at the end of its call of read; it
   * is none of the process's.
   */
  chargeFile(pages: number, nowNs: number): number {
    const more = pages + this.#nodesChanged();
    if (more <= this.#stock && this.#nodeHasRoom(more)) {
      this.#stock -= more;
      return 0;
    }
    const before = this.#sleeps;
    this.#sleeps = [];
    this.#charge(more);
    let ns = 0;
    for (const sleep of this.#sleeps) ns += sleep.ns * sleep.times;
    this.#sleeps = before;
    if (ns === 0) return 0;
    ns = Math.min(ns, MAX_HIGH_DELAY_SECONDS * 1e9);
    this.throttledNs += ns;
    this.pressure.sleeps(nowNs + ns);
    return ns;
  }

  /**
   * Somebody writes another memory.max. v2 (memory_max_write) takes it at once, reclaims until the usage fits, and calls the OOM killer if it
   * does not. v1 (mem_cgroup_resize_max) reclaims first and takes the limit only if the usage fits; else the write fails
   * with EBUSY. Returns whether the new limit holds.
   */
  resizeMax(maxBytes: number, version: 1 | 2): boolean {
    this.#readOnTime();
    const pages = Math.floor(maxBytes / OS_PAGE_BYTES);
    if (version === 2) this.maxPages = pages;
    const fits = this.#reclaimTo(pages);
    if (version === 1) {
      if (fits) this.maxPages = pages;
      return fits;
    }
    if (!fits && this.oom === null) {
      this.events.oom++;
      this.events.oom_kill++;
      this.oom = { usageBytes: this.currentBytes, stat: this.stat(), invoker: RESIZER };
    }
    return true;
  }

  /** Somebody writes another memory.high: what is above is reclaimed as far as that is possible; threads are slowed at their next charge. */
  resizeHigh(highBytes: number): void {
    this.#readOnTime();
    this.highPages = Math.floor(highBytes / OS_PAGE_BYTES);
    this.#reclaimTo(this.highPages);
  }

  /** Reclaims until no more than `pages` are charged; says whether that was possible. The CPU time is the writer's, outside the group. */
  #reclaimTo(pages: number): boolean {
    if (this.#usage > pages) {
      this.#usage -= this.#stock;
      this.#stock = 0;
    }
    const cpuNs = this.#cpuNs;
    const reclaimNs = this.reclaimNs;
    while (this.#usage > pages && this.#reclaim(this.#usage - pages) > 0);
    this.#cpuNs = cpuNs;
    this.reclaimNs = reclaimNs;
    return this.#usage <= pages;
  }

  get currentBytes(): number {
    this.#catchUp();
    return this.#usage * OS_PAGE_BYTES;
  }

  /** What the kubelet and `kubectl top` show, cAdvisor's figure: usage without what reclaim would take first. */
  get workingSetBytes(): number {
    return Math.max(0, this.currentBytes - this.#inactiveFilePages * OS_PAGE_BYTES);
  }

  /** Can so many pages be charged without reclaim? */
  hasRoom(pages: number): boolean {
    if (this.#roomFor(pages + this.readsLeft)) return true;
    this.#catchUp();
    return this.#roomFor(pages);
  }

  #roomFor(pages: number): boolean {
    return this.maxPages - this.#usage + this.#stock >= pages && this.#nodeHasRoom(pages);
  }

  /** Whether the machine has so many pages without any reclaim. */
  #nodeHasRoom(pages: number): boolean {
    return this.#node === null || this.#node.hasRoom(pages);
  }

  /** Pages of memory that the group has; the stock is only counted. */
  get heldPages(): number {
    return this.#usage - this.#stock;
  }

  /** The group's lists, as they are for the kernel: what is read late is not on them yet. */
  get lists(): FileLists {
    return this.#pageCache.lists;
  }

  /** The highest memory.current (memory.peak). */
  get peakPages(): number {
    this.#catchUp();
    return this.#peakPages;
  }

  get pageCache(): PageCache {
    this.#catchUp();
    return this.#pageCache;
  }

  /** MADV_FREE moves pages to the inactive file list, anonymous as they are. */
  get #inactiveFilePages(): number {
    return this.#pageCache.inactivePages + (this.#anon?.listedUnits ?? 0);
  }

  /** The program's file, mapped and in memory (memory.stat's file_mapped). */
  get mappedFileBytes(): number {
    return this.#binaryPages * OS_PAGE_BYTES;
  }

  stat(): MemoryStat {
    this.#catchUp();
    const { inactivePages, activePages } = this.#pageCache;
    const pagetables = this.#tablePages * OS_PAGE_BYTES;
    return {
      anon: this.#anonPages * OS_PAGE_BYTES,
      file: (inactivePages + activePages + this.#binaryPages) * OS_PAGE_BYTES,
      kernel: pagetables + this.#stackBytes + this.#slabBytes,
      kernel_stack: this.#stackBytes,
      pagetables,
      slab: this.#slabBytes,
      inactive_file: this.#inactiveFilePages * OS_PAGE_BYTES,
      active_file: (activePages + this.#binaryPages) * OS_PAGE_BYTES,
    };
  }

  get killed(): boolean {
    return this.oom !== null;
  }

  takeSleeps(): HighSleep[] | null {
    if (this.#sleeps.length === 0) return null;
    const sleeps = this.#sleeps;
    this.#sleeps = [];
    return sleeps;
  }

  beginSleep(sleep: HighSleep, nowNs: number): number {
    const delay = calculateHighDelay(this.#usage, this.highPages, sleep.pages);
    if (delay <= SHORT_DELAY) return 0;
    const ns = Math.min(sleep.ns, (delay * 1e9) / HZ);
    this.throttledNs += ns;
    this.pressure.sleeps(nowNs + ns);
    return ns;
  }

  reclaimed(cpuNs: number, nowNs: number): void {
    this.pressure.reclaims(nowNs + cpuNs);
  }

  get stalledUntilNs(): number {
    return this.pressure.untilNs;
  }

  elapse(fromNs: number, toNs: number, running: number): void {
    this.pressure.elapse(fromNs, toNs, running);
  }

  takeCpuNs(): number {
    const ns = this.#cpuNs;
    this.#cpuNs = 0;
    return ns;
  }

  /** Recounts the counter from its parts; throws with the numbers. */
  checkInvariants(): void {
    if (this.oom !== null) return;
    const parts =
      this.#anonPages +
      this.#tablePages +
      this.#smallKernelPages +
      this.#binaryPages +
      this.#pageCache.inactivePages +
      this.#pageCache.activePages +
      this.#stock;
    if (parts !== this.#usage) throw new Error(`cgroup: ${this.#usage} pages charged, ${parts} counted`);
    if (this.#usage > this.maxPages)
      throw new Error(`cgroup: ${this.#usage} pages charged, ${this.maxPages} are the limit`);
  }

  /**
   * Can nobody tell when reads are played that charge up to so many pages? With them usage stays within both limits, and a reclaim has not left
   * nodes of files behind that the next of them gives back.
   */
  canLeave(pages: number): boolean {
    return (
      this.#usage + pages <= Math.min(this.maxPages, this.highPages) &&
      this.#nodeHasRoom(pages) &&
      this.#slabBytes <= this.#processSlabBytes + this.#pageCache.nodes * NODE_BYTES
    );
  }

  /** Somebody looks: what has been read is played. */
  #catchUp(): void {
    const left = this.readsLeft;
    if (left === 0) return;
    this.readsLeft = 0;
    this.fileReads!.catchUp();
    this.readsLeft = left;
  }

  /** Would a charge of so many pages bring a limit within reach of reads that are played late? */
  #nearLimit(pages: number): boolean {
    return (
      this.readsLeft > 0 &&
      (this.#usage + pages + this.readsLeft > Math.min(this.maxPages, this.highPages) ||
        !this.#nodeHasRoom(pages + this.readsLeft))
    );
  }

  /** Reads that are due are played, however late others may be. */
  readDue(): void {
    this.#readOnTime();
    this.fileReads?.catchUp();
  }

  /** Others take so many pages of the machine: reads played late must not come too late for that. */
  settleReads(pages: number): void {
    if (this.readsLeft > 0 && !this.#nodeHasRoom(pages + this.readsLeft)) this.#readOnTime();
  }

  /** From now on reads are played when they are due. */
  #readOnTime(): void {
    if (this.readsLeft === 0) return;
    this.readsLeft = 0;
    this.fileReads!.catchUp();
    this.fileReads!.onTime();
  }

  /** `pages` faults of one page each, taken from the machine and charged to the group. Returns how many a kill left uncharged. */
  #charge(pages: number): number {
    const node = this.#node;
    if (node === null) return this.#tryCharge(pages);
    let left = pages;
    while (left > 0 && this.oom === null) {
      if (this.#nearLimit(left)) this.#readOnTime();
      const taken = node.take(left, PROCESS);
      left -= taken - this.#tryCharge(taken);
    }
    return left;
  }

  /** try_charge_memcg, the same for pages that are there. */
  #tryCharge(pages: number): number {
    let left = pages;
    while (left > 0 && this.oom === null) {
      const stocked = Math.min(left, this.#stock);
      this.#stock -= stocked;
      left -= stocked;
      if (left === 0) break;
      if (this.#nearLimit(MEMCG_CHARGE_BATCH)) {
        this.#readOnTime();
        continue;
      }
      if (this.#usage + MEMCG_CHARGE_BATCH <= this.maxPages) {
        this.#usage += MEMCG_CHARGE_BATCH;
        this.#stock = MEMCG_CHARGE_BATCH;
        if (this.#usage > this.highPages) this.#overHigh(MEMCG_CHARGE_BATCH);
        continue;
      }
      // Near the limit the page alone is tried.
      this.events.failcnt++;
      if (this.#usage < this.maxPages) {
        this.#usage++;
        left--;
        if (this.#usage > this.highPages) this.#overHigh(1);
        continue;
      }
      this.#atMax();
    }
    if (this.#usage > this.#peakPages) this.#peakPages = this.#usage;
    return left;
  }

  /** The counter is at memory.max: makes room for a page, or calls the OOM killer. */
  #atMax(): void {
    this.events.failcnt++;
    this.events.max++;
    if (this.#reclaim(SWAP_CLUSTER_MAX) > 0) return;
    // With nothing to reclaim each further attempt fails alike: one after draining the stocks, then sixteen.
    this.events.max += 1 + MAX_RECLAIM_RETRIES;
    this.events.failcnt += 1 + MAX_RECLAIM_RETRIES;
    this.events.oom++;
    this.events.oom_kill++;
    this.oom = { usageBytes: this.currentBytes, stat: this.stat() };
  }

  /** mem_cgroup_handle_over_high, after a charge of `nrPages` that left the counter above memory.high. */
  #overHigh(nrPages: number): void {
    let retries = MAX_RECLAIM_RETRIES;
    for (let wanted = nrPages; ; wanted = SWAP_CLUSTER_MAX) {
      let reclaimed = 0;
      if (this.#usage > this.highPages) {
        this.events.high++;
        reclaimed = this.#reclaim(wanted);
      }
      const delay = calculateHighDelay(this.#usage, this.highPages, nrPages);
      if (delay <= SHORT_DELAY) return;
      // As long as reclaim gets anywhere, that comes first; only attempts in vain are counted.
      if (reclaimed > 0 || retries-- > 0) continue;
      this.#owes(nrPages, (delay * 1e9) / HZ);
      return;
    }
  }

  #owes(pages: number, ns: number): void {
    const last = this.#sleeps.at(-1);
    if (last?.pages === pages && last.ns === ns) last.times++;
    else this.#sleeps.push({ pages, ns, times: 1 });
  }

  /** shrink_lruvec and shrink_slab: the machine reclaims from the group, at one priority. Returns how many pages were freed. */
  shrinkForNode(scan: NodeScan): number {
    const usage = this.#usage;
    const { minPages, lowPages } = this;
    if (minPages >= usage) return 0;
    if (lowPages >= usage) {
      if (!scan.lowReclaim) {
        scan.lowSkipped = true;
        return 0;
      }
      this.events.low++;
    }
    const spares = !scan.lowReclaim && lowPages > minPages;
    if (spares) scan.lowSkipped = true;
    const kept = spares ? lowPages : minPages;
    const share = (pages: number): number =>
      Math.floor(unprotectedPages(pages, usage, kept) / 2 ** scan.priority);
    const { lists } = this.#pageCache;
    const lazy = lists.lazyFreedUnits;
    let freed = lists.shrink(
      share(lists.inactivePages),
      share(lists.activePages),
      scan.wanted,
      scan.deactivate,
      true,
    );
    this.#anonPages -= lists.lazyFreedUnits - lazy;
    this.#pageCache.trimNodes(this.#anonPages);
    // do_shrink_slab: of what costs two seeks to make again, twice the share.
    const held = Math.floor((2 * (this.#anon?.heldUnits ?? 0)) / 2 ** scan.priority);
    if (held > 0) {
      const split = this.#anon!.splitDeferred(held);
      this.#anonPages -= split;
      freed += split;
    }
    this.#usage -= freed;
    return freed;
  }

  /** The running thread has freed so many pages for an allocation of its own. */
  reclaimedForNode(pages: number): void {
    const ns = pages * RECLAIM_NS_PER_PAGE;
    this.#cpuNs += ns;
    this.reclaimNs += ns;
  }

  /** The machine's OOM killer has chosen the process. */
  killedForNode(node: NodeOom): void {
    this.events.oom_kill++;
    this.oom = { usageBytes: this.currentBytes, stat: this.stat(), node };
  }

  #reclaim(pages: number): number {
    // Frames of huge pages are a shrinker's, asked for its share of what there is.
    const held = this.#anon?.heldUnits ?? 0;
    let freed = 0;
    if (held > 0) {
      freed = this.#anon!.splitDeferred(Math.ceil((pages * held) / (held + this.#inactiveFilePages)));
      this.#anonPages -= freed;
    }
    if (freed < pages) {
      const lazy = this.#pageCache.lazyFreedUnits;
      freed += this.#pageCache.reclaim(pages - freed, this.#anonPages);
      this.#anonPages -= this.#pageCache.lazyFreedUnits - lazy;
    }
    this.#usage -= freed;
    const ns = freed * RECLAIM_NS_PER_PAGE;
    this.#cpuNs += ns;
    this.reclaimNs += ns;
    return freed;
  }
}
