/**
 * The machine's memory, where other processes compete for it: watermarks, reclaim for all, the OOM killer's choice among all.
 *
 * Follows mm/page_alloc.c (__alloc_pages_slowpath, __setup_per_zone_wmarks, calculate_min_free_kbytes), mm/khugepaged.c
 * (set_recommended_min_free_kbytes), mm/vmscan.c (balance_pgdat, do_try_to_free_pages, shrink_node_memcgs, get_scan_count),
 * mm/page_counter.c (page_counter_calculate_protection) and mm/oom_kill.c (select_bad_process) of Linux 6.x. On the machine
 * are a container (cgroup.ts) and its neighbours: everything else, as three numbers. `kernel` and `anon` cannot be reclaimed
 * (there is no swap), `file` is page cache.
 *
 *     free = memory - neighbours (kernel + anon + file) - container (memory.current less the stock)
 *            - the program's file, if it is charged elsewhere
 *
 * A page is taken while `free` is above the low watermark, what lower zones keep back apart (lowmem_reserve). From there on
 * kswapd reclaims until it is above the high one:
 *
 * - from each group 1/4096 of its lists, then 1/2048, and so on up to a half (filelists.ts), so from each in proportion to
 *   what it has cached, whoever it is that needs memory. That is why a container far below its own limits loses page cache,
 *   and what it has freed by MADV_FREE;
 * - a group whose usage is within memory.min is left alone, one within memory.low too unless there is nothing else. Of a
 *   group above them by a part, only as large a part of the lists is looked at: size - size * protection / (usage + 1);
 * - memory.low is given up by those only who allocate, never by kswapd: below the min watermark they reclaim 32 pages
 *   themselves, in two passes, and the second one takes from groups within memory.low, too (memory.events low counts). So
 *   under lasting pressure a machine of protected groups runs at its min watermark, where each allocation pays for itself;
 * - kswapd naps for 100 ms before it sleeps, and goes on if free has fallen below the high watermark by then: while something
 *   takes memory all the time free stays near the high watermark;
 * - kswapd gives up when it finds nothing, and is not woken again before some allocation's own reclaim has found something;
 * - whether active pages are moved is decided for the machine as a whole: beside a neighbour that reads much once a
 *   container's active pages stay active, however few inactive ones it has.
 *
 * Where an allocation finds nothing to reclaim either, the OOM killer takes the process with most badness: resident pages
 * and page tables, and oom_score_adj thousandths of all memory. Protection plays no part in that.
 *
 * Simplified: one zone but for what the lower ones keep back, no lists per CPU (a CPU keeps pages by, up to its share of the
 * low watermark), no watermark boost (where sorts of pages mix, kswapd reclaims up to 150 % of the high watermark more:
 * vm.watermark_boost_factor); kswapd is as fast as it need be, and its CPU time is another CPU's; neighbours are one
 * process, in one group beside the container's without protection, whose page cache has been read once, is not asked for
 * again, and stays if the process is killed, as the container's own stays when its group is removed; the group is the root's
 * child, where memory.min and memory.low hold as they are written (below a parent claims beyond the parent's own are cut in
 * proportion: effective_protection; Kubernetes gives parents the sums of their children's). Where it stops being true: swap,
 * the multi-generation LRU, several nodes and pages that are not 4 KiB (a scenario of either is refused), shrinkers of other
 * caches (dentries, inodes), compaction, allocation faster than kswapd (several GiB/s), which then reclaims for itself, and the
 * kubelet, which evicts pods before the kernel kills: at memory.available below 100 MiB by default, which is the machine's memory
 * less the working set of all groups, looked at every 10 s.
 *
 * Checked against Linux 6.1 in a guest (test/guest/node.ts, test/oracle/node.test.ts), with watermark boost off and short lists
 * per CPU: sizes of both groups' page cache, free memory, what kswapd and allocations reclaim, and memory.events low. 73 of 76
 * figures are in band. The three others are active lists that are too long under pressure (83 MB where they were 71 MB), for a
 * reason that is known: up to Linux 6.7 a group's statistics are added up before a reclaim if much has changed, since then every
 * two seconds, as here (filelists.ts). Added up as there, all 76 are in band.
 */
import type { MemoryCgroup } from "./cgroup.ts";
import { DEF_PRIORITY, FileLists, inactiveIsLow, type NodeAges, SWAP_CLUSTER_MAX } from "./filelists.ts";
import { oomBadness } from "./oom.ts";
import { OS_PAGE_BYTES } from "./os.ts";

/** How often neighbours take and read what they are due. */
export const NEIGHBOUR_ROUND_NS = 10e6;
/** kswapd sleeps soundly only if the node is balanced still after this (kswapd_try_to_sleep: HZ / 10). */
const NAP_NS = 100e6;
/** oom_score_adj of a process that is never killed. */
const OOM_SCORE_ADJ_MIN = -1000;

const KIB_PER_PAGE = OS_PAGE_BYTES / 1024;
/** Pages of a block that memory is grouped in (pageblock_nr_pages), and of sorts of them (MIGRATE_PCPTYPES). */
const PAGEBLOCK_PAGES = 512;
const MIGRATE_PCPTYPES = 3;
/** Above this an amd64 machine has a third zone (Normal). */
const DMA32_BYTES = 4 * 2 ** 30;
/** And this much below (the rest of the 4 GiB is for devices). */
const DMA32_PAGES = (3 * 2 ** 30) / OS_PAGE_BYTES;
/**
 * The zone below all others (DMA) and what it has free; what a lower zone keeps back from allocations meant for higher ones,
 * as a share of those (lowmem_reserve_ratio).
 */
const DMA_PAGES = 3840;
const LOWMEM_RESERVE_RATIO = 256;
/** vm.watermark_scale_factor by default, in ten-thousandths. */
const WATERMARK_SCALE_FACTOR = 10;

export interface Watermarks {
  readonly minPages: number;
  readonly lowPages: number;
  readonly highPages: number;
}

/**
 * vm.min_free_kbytes as the kernel sets it: sqrt(16 * KiB of memory) between 128 KiB and 256 MiB; and where huge pages are
 * on, two blocks of 2 MiB per zone and one for each sort of block in place of each other one, 22 MiB per zone, but at most a
 * twentieth of memory.
 */
export function defaultMinFreeBytes(memoryBytes: number, hugePages: boolean): number {
  const kib = Math.floor(memoryBytes / 1024);
  const plain = Math.min(Math.max(Math.floor(Math.sqrt(16 * kib)), 128), 262_144);
  if (!hugePages) return plain * 1024;
  const zones = memoryBytes > DMA32_BYTES ? 3 : 2;
  const blocks = PAGEBLOCK_PAGES * zones * (2 + MIGRATE_PCPTYPES * MIGRATE_PCPTYPES);
  const recommended = Math.min(blocks, Math.floor(memoryBytes / OS_PAGE_BYTES / 20)) * KIB_PER_PAGE;
  return Math.max(plain, recommended) * 1024;
}

/** low and high are above min by a quarter of it, or by 0.1 % of memory if that is more, and by twice that. */
export function watermarks(memoryBytes: number, minFreeBytes: number): Watermarks {
  const minPages = Math.floor(minFreeBytes / OS_PAGE_BYTES);
  const scaled = Math.floor((Math.floor(memoryBytes / OS_PAGE_BYTES) * WATERMARK_SCALE_FACTOR) / 10_000);
  const gap = Math.max(Math.floor(minPages / 4), scaled);
  return { minPages, lowPages: minPages + gap, highPages: minPages + 2 * gap };
}

/**
 * Pages that programs never get: a lower zone keeps one page back for every 256 of the zones above it
 * (setup_per_zone_lowmem_reserve), at most all it has. Of 1 GiB that is 4 MiB, of 8 GiB 15 + 20 MiB.
 */
export function lowmemReservePages(memoryBytes: number): number {
  const pages = Math.floor(memoryBytes / OS_PAGE_BYTES);
  const normal = memoryBytes > DMA32_BYTES ? pages - DMA32_PAGES : 0;
  const ofDma = Math.min(DMA_PAGES, Math.floor(pages / LOWMEM_RESERVE_RATIO));
  return ofDma + Math.min(DMA32_PAGES, Math.floor(normal / LOWMEM_RESERVE_RATIO));
}

/** Pages of a list that reclaim of the machine goes by, of a group with so much usage, so many of them protected. */
export function unprotectedPages(listPages: number, usagePages: number, protectionPages: number): number {
  if (protectionPages === 0) return listPages;
  const size = Math.max(usagePages, protectionPages);
  return Math.max(SWAP_CLUSTER_MAX, listPages - Math.floor((listPages * protectionPages) / (size + 1)));
}

/** One round of reclaim for the machine, at one priority. */
export interface NodeScan {
  readonly priority: number;
  /** Of each group, if that many can be had; Infinity to look at all of the share. */
  readonly wanted: number;
  readonly deactivate: boolean;
  /** The second pass: groups within memory.low are no longer left alone. */
  readonly lowReclaim: boolean;
  /** Written: something was left alone for memory.low. */
  lowSkipped: boolean;
}

export interface Neighbours {
  /** Of the kernel itself: neither reclaimed nor killed. */
  readonly kernelBytes: number;
  readonly anonBytes: number;
  readonly fileBytes: number;
  readonly readBytesPerSecond: number;
  readonly oomScoreAdj: number;
}

/** What they do from now on; what is not given stays. */
export interface NeighboursChange {
  readonly anonBytes?: number | undefined;
  readonly readBytesPerSecond?: number | undefined;
  /** In which `anonBytes` is reached, evenly. */
  readonly overNs: number;
}

export interface NodeOptions {
  readonly memoryBytes: number;
  readonly minFreeBytes: number;
  readonly neighbours: Neighbours;
  /** Of the container's process. */
  readonly process: { readonly fileRssBytes: number; readonly oomScoreAdj: number };
  /** Resident pages of the program's file that no group of the model is charged for. */
  readonly sharedFileBytes: number;
}

/** What the OOM killer saw when the machine had nothing left. */
export interface NodeOom {
  readonly invoker: typeof PROCESS | typeof NEIGHBOURS;
  readonly victim: typeof PROCESS | typeof NEIGHBOURS;
  readonly memoryBytes: number;
  readonly zone: "DMA32" | "Normal";
  readonly freeBytes: number;
  readonly marks: Watermarks;
  readonly neighbours: {
    readonly anonBytes: number;
    readonly fileBytes: number;
    readonly oomScoreAdj: number;
  };
  readonly processBadness: number;
  readonly neighboursBadness: number;
}

/** Who allocates. */
export const PROCESS = "process";
export const NEIGHBOURS = "neighbours";
type Who = typeof PROCESS | typeof NEIGHBOURS;

export interface NodeTimer {
  readonly nowNs: number;
  /** `NodeMemory.napEnds` is to be called then, and not when it was to be before. */
  set(atNs: number): void;
}

export class NodeMemory implements NodeAges {
  readonly memoryPages: number;
  readonly marks: Watermarks;
  /** /proc/vmstat pgsteal_kswapd and pgsteal_direct, and allocstall: since the start of the run. */
  stealKswapdPages = 0;
  stealDirectPages = 0;
  allocStalls = 0;
  neighbourOomKills = 0;
  /** Is told when neighbours have been killed, or want more than there is and cannot be. */
  onNeighbours: (oom: NodeOom) => void = () => {};
  /** While a process lives; without it kswapd sleeps at once. */
  timer: NodeTimer | null = null;
  readonly #options: NodeOptions;
  readonly #reservePages: number;
  /** The kernel's own and the program's file. */
  readonly #heldPages: number;
  readonly #lists = new FileLists();
  #group: MemoryCgroup | null = null;
  #anonPages: number;
  /** Where `anon` comes from and goes to, and when. */
  #from: { readonly pages: number; readonly ns: number };
  #to: { readonly pages: number; readonly ns: number };
  #readBytesPerSecond: number;
  #readDue = 0;
  #nowNs = 0;
  #kswapdHopeless = false;
  /** WORKINGSET_ACTIVATE_FILE of all groups when reclaim ended the last time. */
  #refaultsSeen = 0;
  /** Whether the reclaim under way has left something alone for memory.low. */
  #lowSkipped = false;

  constructor(options: NodeOptions) {
    this.#options = options;
    this.memoryPages = Math.floor(options.memoryBytes / OS_PAGE_BYTES);
    this.marks = watermarks(options.memoryBytes, options.minFreeBytes);
    this.#reservePages = lowmemReservePages(options.memoryBytes);
    this.#heldPages = Math.ceil((options.sharedFileBytes + options.neighbours.kernelBytes) / OS_PAGE_BYTES);
    const { anonBytes, fileBytes, readBytesPerSecond } = options.neighbours;
    this.#anonPages = Math.ceil(anonBytes / OS_PAGE_BYTES);
    this.#from = this.#to = { pages: this.#anonPages, ns: 0 };
    this.#readBytesPerSecond = readBytesPerSecond;
    this.#lists.addOnce(Math.ceil(fileBytes / OS_PAGE_BYTES));
    this.#lists.flushStats();
  }

  get freePages(): number {
    return (
      this.memoryPages -
      this.#heldPages -
      this.#anonPages -
      this.#lists.inactiveFilePages -
      (this.#group?.heldPages ?? 0)
    );
  }

  /** Up to when neighbours have done what is due. */
  get nowNs(): number {
    return this.#nowNs;
  }

  /** Free and to be had: what watermarks are compared with. */
  get #availablePages(): number {
    return this.freePages - this.#reservePages;
  }

  /** Can so many pages be taken without any reclaim? */
  hasRoom(pages: number): boolean {
    return this.#availablePages - pages > this.marks.lowPages;
  }

  get neighbourAnonBytes(): number {
    return this.#anonPages * OS_PAGE_BYTES;
  }

  get neighbourFileBytes(): number {
    return this.#lists.inactiveFilePages * OS_PAGE_BYTES;
  }

  get age(): number {
    return (this.#lists.age + (this.#group?.lists.age ?? 0)) >>> 0;
  }

  get flushedActive(): number {
    return this.#group?.lists.flushed.active ?? 0;
  }

  /** The container's group is made. */
  enter(group: MemoryCgroup): void {
    this.#group = group;
    // Refaults are counted per group, and this one has none.
    this.#refaultsSeen = 0;
    group.lists.node = this;
  }

  /** Its process has ended and it is removed: page cache stays, as the parent group's. */
  leave(): void {
    const group = this.#group;
    if (group === null) return;
    this.#group = null;
    this.#lists.addOnce(group.lists.inactiveFilePages + group.lists.activePages);
  }

  /** Do neighbours have anything to do from now on? */
  get moves(): boolean {
    return this.#readBytesPerSecond > 0 || this.#anonPages !== this.#to.pages;
  }

  /** Neighbours do what is due up to `nowNs`. */
  advance(nowNs: number): void {
    const { pages, ns } = this.#to;
    const part = nowNs >= ns ? 1 : (nowNs - this.#from.ns) / (ns - this.#from.ns);
    const anon = Math.round(this.#from.pages + part * (pages - this.#from.pages));
    this.#readDue += ((nowNs - this.#nowNs) * this.#readBytesPerSecond) / (1e9 * OS_PAGE_BYTES);
    this.#nowNs = nowNs;
    if (anon < this.#anonPages) this.#anonPages = anon;
    else this.#grow(anon - this.#anonPages);
    const due = Math.floor(this.#readDue);
    this.#readDue -= due;
    for (let left = due; left > 0; ) {
      const taken = this.#takeForNeighbours(Math.min(left, SWAP_CLUSTER_MAX));
      if (taken === 0) return;
      this.#lists.addOnce(taken);
      left -= taken;
    }
  }

  /** No process lives whose clock neighbours go by: the rounds that are due up to `untilNs`. */
  playRounds(untilNs: number): void {
    while (this.moves && this.#nowNs + NEIGHBOUR_ROUND_NS <= untilNs)
      this.advance(this.#nowNs + NEIGHBOUR_ROUND_NS);
  }

  /** Neighbours change what they do, at `nowNs`. */
  change({ anonBytes, readBytesPerSecond, overNs }: NeighboursChange, nowNs: number): void {
    this.advance(nowNs);
    if (readBytesPerSecond !== undefined) this.#readBytesPerSecond = readBytesPerSecond;
    if (anonBytes === undefined) return;
    this.#from = { pages: this.#anonPages, ns: nowNs };
    this.#to = { pages: Math.ceil(anonBytes / OS_PAGE_BYTES), ns: nowNs + overNs };
    if (overNs === 0) this.advance(nowNs);
  }

  #grow(pages: number): void {
    for (let left = pages; left > 0; ) {
      const taken = this.#takeForNeighbours(left);
      if (taken === 0) return;
      this.#anonPages += taken;
      left -= taken;
    }
  }

  #takeForNeighbours(pages: number): number {
    // What the container reads late is played before it matters.
    this.#group?.settleReads(pages);
    return this.take(pages, NEIGHBOURS);
  }

  /**
   * __alloc_pages: how many of `pages` may be taken now, after whatever reclaim that needs, and before anything else
   * happens; the caller takes them at once. 0 if the OOM killer has ended whoever asks.
   */
  take(pages: number, who: Who): number {
    const { minPages, lowPages } = this.marks;
    for (;;) {
      let free = this.#availablePages;
      if (free > lowPages) return Math.min(pages, free - lowPages);
      if (!this.#kswapdHopeless) {
        this.#kswapd();
        free = this.#availablePages;
        if (free > lowPages) continue;
      }
      if (free > minPages) return Math.min(pages, free - minPages);
      if (this.#reclaimDirectly(who) > 0) continue;
      if (!this.#outOfMemory(who)) return 0;
    }
  }

  /** kswapd looks once more before it sleeps. */
  napEnds(): void {
    this.#group?.readDue();
    if (this.#availablePages <= this.marks.highPages) this.#kswapd();
  }

  /** kswapd, from its being woken until the node is balanced or it has given up. */
  #kswapd(): void {
    const { highPages } = this.marks;
    while (this.#availablePages <= highPages && !this.#kswapdHopeless) {
      let freed = 0;
      // Never all of the lists: priority 0 is left to those who allocate.
      for (let priority = DEF_PRIORITY; priority >= 1 && this.#availablePages <= highPages; ) {
        const before = this.#scanned;
        const now = this.#shrink(this.#scan(priority, highPages, false, false));
        freed += now;
        if (now === 0 || this.#scanned - before < highPages) priority--;
      }
      this.stealKswapdPages += freed;
      this.#refaultsSeen = this.#refaults;
      if (freed === 0) this.#kswapdHopeless = true;
    }
    if (!this.#kswapdHopeless) this.timer?.set(this.timer.nowNs + NAP_NS);
  }

  /** try_to_free_pages. Returns how many were freed. */
  #reclaimDirectly(who: Who): number {
    this.allocStalls++;
    this.#lowSkipped = false;
    let freed = this.#pass(false, false);
    if (freed === 0) freed = this.#pass(true, false);
    if (freed === 0 && this.#lowSkipped) freed = this.#pass(false, true);
    this.stealDirectPages += freed;
    this.#refaultsSeen = this.#refaults;
    if (freed > 0) this.#kswapdHopeless = false;
    if (who === PROCESS) this.#group?.reclaimedForNode(freed);
    return freed;
  }

  /** do_try_to_free_pages from its first priority to its last; `force` draws on active pages after all. */
  #pass(force: boolean, lowReclaim: boolean): number {
    let freed = 0;
    for (let priority = DEF_PRIORITY; priority >= 0 && freed < SWAP_CLUSTER_MAX; priority--) {
      // At first all groups are looked at alike, however much the first of them gives.
      const wanted = priority === DEF_PRIORITY ? Number.POSITIVE_INFINITY : SWAP_CLUSTER_MAX;
      const scan = this.#scan(priority, wanted, force, lowReclaim);
      freed += this.#shrink(scan);
      this.#lowSkipped ||= scan.lowSkipped;
    }
    return freed;
  }

  /** prepare_scan_count, by the statistics of all groups. */
  #scan(priority: number, wanted: number, force: boolean, lowReclaim: boolean): NodeScan {
    this.#lists.flushStats();
    const own = this.#lists.flushed;
    const group = this.#group?.lists.flushed;
    const inactive = own.inactive + (group?.inactive ?? 0);
    const active = own.active + (group?.active ?? 0);
    const refaults = this.#refaults;
    const deactivate =
      force || refaults !== this.#refaultsSeen || inactiveIsLow({ refaults, inactive, active });
    return { priority, wanted, deactivate, lowReclaim, lowSkipped: false };
  }

  /** shrink_node_memcgs. */
  #shrink(scan: NodeScan): number {
    const inactive = Math.floor(this.#lists.inactivePages / 2 ** scan.priority);
    const freed = this.#lists.shrink(inactive, 0, scan.wanted, false, true);
    return freed + (this.#group?.shrinkForNode(scan) ?? 0);
  }

  get #refaults(): number {
    return this.#group?.lists.flushed.refaults ?? 0;
  }

  get #scanned(): number {
    return this.#lists.scannedPages + (this.#group?.lists.scannedPages ?? 0);
  }

  /** out_of_memory. Returns whether whoever asked lives on. */
  #outOfMemory(invoker: Who): boolean {
    const { memoryBytes, neighbours, process } = this.#options;
    const group = this.#group;
    const neighboursBadness =
      this.#anonPages === 0 || neighbours.oomScoreAdj === OOM_SCORE_ADJ_MIN
        ? Number.NEGATIVE_INFINITY
        : oomBadness(this.neighbourAnonBytes, 0, neighbours.oomScoreAdj, memoryBytes);
    const stat = group?.stat();
    const processBadness =
      stat === undefined
        ? Number.NEGATIVE_INFINITY
        : oomBadness(stat.anon + process.fileRssBytes, stat.pagetables, process.oomScoreAdj, memoryBytes);
    const victim = processBadness >= neighboursBadness && group !== null ? PROCESS : NEIGHBOURS;
    const oom: NodeOom = {
      invoker,
      victim,
      memoryBytes,
      // The highest one there is.
      zone: memoryBytes > DMA32_BYTES ? "Normal" : "DMA32",
      freeBytes: this.freePages * OS_PAGE_BYTES,
      marks: this.marks,
      neighbours: {
        anonBytes: this.neighbourAnonBytes,
        fileBytes: this.neighbourFileBytes,
        oomScoreAdj: neighbours.oomScoreAdj,
      },
      processBadness,
      neighboursBadness,
    };
    if (victim === PROCESS) {
      group!.killedForNode(oom);
      this.leave();
      return invoker !== PROCESS;
    }
    // Neither is there to be killed: the kernel would panic. Here neighbours stay as they are.
    const killed = neighboursBadness > Number.NEGATIVE_INFINITY;
    if (killed) {
      this.neighbourOomKills++;
      this.#anonPages = 0;
    }
    this.#from = this.#to = { pages: this.#anonPages, ns: this.#nowNs };
    this.#readBytesPerSecond = 0;
    // Whoever is dead does not read what was due before either.
    this.#readDue = 0;
    this.onNeighbours(oom);
    return invoker !== NEIGHBOURS && killed;
  }
}
