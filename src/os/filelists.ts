/**
 * The two lists of a control group's file pages, in order of age, and their reclaim: what goes first when memory is short.
 *
 * Follows mm/vmscan.c, mm/swap.c and mm/workingset.c of Linux 6.x with the classic lists (CONFIG_LRU_GEN off) and no swap:
 *
 * - a page read in goes to the head of the inactive list; read again while it is there, to that of the active one
 *   (folio_mark_accessed). Reclaim evicts from the inactive list's tail, where the oldest are;
 * - what is evicted leaves its age behind, by a clock that counts evictions and activations. A page that comes back before as many
 *   ticks have passed as there are active pages goes to the active list at once (workingset_refault): it was used more than those;
 * - the active list's tail moves to the inactive one where that is short (inactive_is_low: inactive * sqrt(10 * GiB of both) < active),
 *   and where pages came back like that since the last reclaim (prepare_scan_control), the same share of it that is looked at of the
 *   inactive one;
 * - MADV_FREE puts a process's pages at the head of the inactive *file* list, at the time of the call (folio_mark_lazyfree). There they stay when they are
 *   written again, and count as file pages until reclaim comes to them: clean, they are dropped; written, they are put back once
 *   because they were used, and at the second look are anonymous pages again (folio_check_references, shrink_folio_list). A page
 *   freed, written and freed again has not moved;
 * - what reclaim and returning pages go by, sizes of the lists and pages that came back, are statistics of the group, which lag: they are added
 *   up every two seconds, or when somebody reads memory.stat (flush_memcg_stats_dwork, mem_cgroup_flush_stats). So of all the
 *   reclaims after a flush only the first sees that pages came back;
 * - reclaim looks at 1/4096 of both lists, then at 1/2048, and so on until it has its pages (do_try_to_free_pages); so it takes up to
 *   twice what it was asked for;
 * - reclaim for the whole machine (node.ts) does the same with the lists of all groups. What it evicts leaves its age by the
 *   machine's clock, which adds up those of all groups, and comes back to the active list by what is active in all of them
 *   (workingset_eviction with no target).
 *
 * Pages that nobody will ask for again are kept as runs of so many, pages that may be met again one by one, and lazily freed ones as
 * ranges of addresses. A list is a log in order of age: what goes to its head is written at the end, what is taken from its tail is read at
 * the start, and a page that moves leaves its record behind, which nobody's place is any more. So of a page that is read again one number is
 * read, and what is written goes to where the last was written: of a simulated file it is the processor's misses that cost.
 *
 * As long as reclaim has taken and moved nothing, how often a page was read says all there is to know of it, and more often than
 * three times is no news: never; on the inactive list; on the active one; used there. Two bits a page, sixteen times less memory to
 * miss. So far from the group's limits pages are only counted (`readCounted`), and the inactive log says how many of each file were
 * read in which order; which ones its random stream can tell again, when places are needed after all (`givePlaces`).
 *
 * Simplified: every page is a folio of its own, and on its list at once (the kernel gathers 31 per CPU first); files are clean;
 * nothing is mapped but the process's memory. Where it stops being true: CONFIG_LRU_GEN; swap; large folios, which go as a
 * whole; dirty pages, which reclaim puts on the active list and waits for.
 */

import type { Rng } from "../sim/rng.ts";

/** Pages the lists are moved in at once, and the least a reclaim is for (SWAP_CLUSTER_MAX). */
export const SWAP_CLUSTER_MAX = 32;
/** Reclaim begins with this power of two's share of the lists. */
export const DEF_PRIORITY = 12;

/** A process's pages on the inactive list, by the entry that holds them. */
export interface LazyPages {
  /** Pages on the list, in 4 KiB: those of MADV_FREE that reclaim has not come to, written again or not. */
  readonly listedUnits: number;
  /** 4 KiB units of a page. */
  readonly unitsPerPage: number;
  /** Whether `page` is on the list through `entry`. */
  isListed(page: number, entry: number): boolean;
  /** Takes the frame of `page`, unless it has been written again; says whether it did. */
  take(page: number): boolean;
  /** `page` is on the list through `entry` from now on; through none, it is an anonymous page again. */
  relist(page: number, entry: number | null): void;
}

/** The two lists. */
const INACTIVE = 0;
const ACTIVE = 1;
type List = typeof INACTIVE | typeof ACTIVE;

/** Of the number kept of a cached page: its list, whether it was used since it got there, and above these two bits its place in the list's log. */
const ON_ACTIVE = 1;
const REFERENCED = 2;
const PLACE_SHIFT = 2;
const MAX_RECORDS = 2 ** (31 - PLACE_SHIFT);

/** A page of a file that is not cached: never was, or was evicted. */
const NEVER = -1;
const EVICTED = -2;
/** It was, by reclaim for the whole machine. */
const EVICTED_FOR_NODE = -3;

/** Whose a record is, if it is no page of a file with an identity. */
const ONCE = -1;
const LAZY = -2;

/** Two bits a page, sixteen pages a word. */
const MOST_READS = 3;
const WORD_SHIFT = 4;
const PAGES_PER_WORD = 2 ** WORD_SHIFT;

/** A file whose pages may be met again. */
export class FilePages {
  /** Its number among the lists' files. */
  readonly index: number;
  readonly pages: number;
  /** Who draws the pages to be read, and its state when none had been. Null where somebody else says which. */
  readonly random: Rng | null;
  readonly #stateAtFirst: Int32Array;
  /** By page, two bits: how often it was read, up to MOST_READS; as long as pages are only counted. */
  readonly reads: Int32Array;
  /** By page: its place, with list and use, NEVER, EVICTED or EVICTED_FOR_NODE. Empty as long as pages are only counted. */
  place = new Int32Array(0);
  /** By page: what the clock showed when it was evicted. Empty as long as pages are only counted. */
  evictedAge = new Uint32Array(0);

  constructor(index: number, pages: number, random: Rng | null) {
    this.index = index;
    this.pages = pages;
    this.random = random;
    this.#stateAtFirst = Int32Array.from(random?.state ?? []);
    this.reads = new Int32Array(Math.ceil(pages / PAGES_PER_WORD));
  }

  /** The next `n` pages to be read. */
  draw(pages: Uint32Array, n: number): void {
    this.random!.fillU32(pages, n);
    for (let i = 0; i < n; i++) pages[i] = Math.floor((pages[i] * this.pages) / 2 ** 32);
  }

  /** Pages have places from now on, and are drawn from the first on once more. */
  givePlaces(): void {
    this.place = new Int32Array(this.pages).fill(NEVER);
    this.evictedAge = new Uint32Array(this.pages);
    this.random?.state.set(this.#stateAtFirst);
  }
}

/** A list's records from the oldest on. */
class Log {
  /**
   * Whose (a file's index, ONCE or LAZY), and what: the page, or where pages are only counted how many; how many; the number of a
   * range.
   */
  who = new Int32Array(1024);
  what = new Int32Array(1024);
  first = 0;
  end = 0;
  /** Records from there on that their pages have left. */
  left = 0;
}

/** What lists know of the machine they are on, where that may run short of memory. */
export interface NodeAges {
  /** The clock of all lists together, modulo 2^32. */
  readonly age: number;
  /** Active pages of all lists, as of their last flush. */
  readonly flushedActive: number;
}

/** The statistics by which reclaim decides whether active pages are to be moved. */
export interface ListStats {
  readonly refaults: number;
  readonly inactive: number;
  readonly active: number;
}

/** inactive_is_low. */
export function inactiveIsLow({ inactive, active }: ListStats): boolean {
  const gib = Math.floor((inactive + active) / 2 ** 18);
  const ratio = gib > 0 ? Math.floor(Math.sqrt(10 * gib)) : 1;
  return inactive * ratio < active;
}

export class FileLists {
  /** File pages; lazily freed ones are not among them. */
  inactiveFilePages = 0;
  activePages = 0;
  /** Of the file pages those that nobody will ask for again. */
  oncePages = 0;
  /** Since the lists were made. */
  evictedPages = 0;
  lazyFreedUnits = 0;
  /** Pages of the inactive list that reclaim has looked at (nr_scanned), since the lists were made. */
  scannedPages = 0;
  lazy: LazyPages | null = null;
  node: NodeAges | null = null;

  /** Pages are only counted: none has been evicted or moved by reclaim. */
  #onlyCounted = true;
  readonly #logs: [Log, Log] = [new Log(), new Log()];
  readonly #files: FilePages[] = [];
  /** Ranges of lazily freed pages, by number; 0 is none's. Reclaim has looked at those of a `second` one before. */
  readonly #ranges: { first: number; count: number; second: boolean }[] = [
    { first: 0, count: 0, second: false },
  ];
  readonly #freeRanges: number[] = [];

  /** nonresident_age, modulo 2^32. */
  #age = 0;
  /** WORKINGSET_ACTIVATE: as it is, and what reclaim saw of it when it ended the last time. */
  #refaults = 0;
  #refaultsSeen = 0;
  /** The group's statistics at their last flush: what reclaim decides by. */
  #flushed: ListStats = { refaults: 0, inactive: 0, active: 0 };

  /** A file of so many pages, none of which is cached. */
  addFile(pages: number, random: Rng | null = null): FilePages {
    const file = new FilePages(this.#files.length, pages, random);
    if (!this.#onlyCounted) file.givePlaces();
    this.#files.push(file);
    return file;
  }

  /** The counts of all CPUs are added up (css_rstat_flush). */
  flushStats(): void {
    this.#flushed = { refaults: this.#refaults, inactive: this.inactivePages, active: this.activePages };
  }

  /** The statistics as of the last flush. */
  get flushed(): ListStats {
    return this.#flushed;
  }

  /** nonresident_age: what has been evicted and activated so far, modulo 2^32. */
  get age(): number {
    return this.#age;
  }

  /** All of the inactive list. */
  get inactivePages(): number {
    return this.inactiveFilePages + (this.lazy?.listedUnits ?? 0);
  }

  /** `pages` that nobody will ask for again are read in. */
  addOnce(pages: number): void {
    this.#appendSome(ONCE, pages);
    this.inactiveFilePages += pages;
    this.oncePages += pages;
  }

  /** Whether pages are only counted. */
  get onlyCounted(): boolean {
    return this.#onlyCounted;
  }

  /**
   * The first `n` of `pages` of a file, which have just been drawn, are read, as `accessed` and `addPage` would do it one by one.
   * Returns how many had to be read in: they are the first of `pages` afterwards. Only as long as pages are only counted.
   */
  readCounted(file: FilePages, pages: Uint32Array, n: number): number {
    const { reads } = file;
    let missed = 0;
    let activated = 0;
    // Whether a page was read before is as good as random, so there is no branch for a processor to guess.
    for (let i = 0; i < n; i++) {
      const page = pages[i];
      const w = page >>> WORD_SHIFT;
      const shift = 2 * (page & (PAGES_PER_WORD - 1));
      const before = (reads[w] >>> shift) & MOST_READS;
      reads[w] += ((before - MOST_READS) >>> 31) << shift;
      pages[missed] = page;
      missed += (before - 1) >>> 31;
      activated += ((before ^ 1) - 1) >>> 31;
    }
    this.#appendSome(file.index, n);
    this.inactiveFilePages += missed - activated;
    this.activePages += activated;
    this.#tick(activated);
    return missed;
  }

  /** Pages are no longer only counted: what has been read is read once more. */
  givePlaces(): void {
    if (!this.#onlyCounted) return;
    this.#onlyCounted = false;
    const { who, what, end } = this.#logs[INACTIVE];
    this.#logs[INACTIVE] = new Log();
    this.inactiveFilePages = 0;
    this.activePages = 0;
    this.oncePages = 0;
    this.#age = 0;
    for (const file of this.#files) file.givePlaces();
    const page = new Uint32Array(1);
    for (let at = 0; at < end; at++) {
      if (who[at] === ONCE) this.addOnce(what[at]);
      else if (who[at] === LAZY) this.#append(INACTIVE, LAZY, what[at]);
      else
        for (let n = what[at], file = this.#files[who[at]]; n > 0; n--) {
          file.draw(page, 1);
          if (!this.accessed(file, page[0])) this.addPage(file, page[0]);
        }
    }
  }

  /** Page `page` of a file is read: used again if it is cached. Says whether it is; if not, `addPage` is to read it in. */
  accessed(file: FilePages, page: number): boolean {
    this.givePlaces();
    const place = file.place[page];
    if (place < 0) return false;
    if ((place & (ON_ACTIVE | REFERENCED)) === REFERENCED) {
      this.#put(ACTIVE, file, page, 0);
      this.#logs[INACTIVE].left++;
      this.inactiveFilePages--;
      this.activePages++;
      this.#tick(1);
    } else if ((place & REFERENCED) === 0) file.place[page] = place | REFERENCED;
    return true;
  }

  /** A page of a file is read in. */
  addPage(file: FilePages, page: number): void {
    this.givePlaces();
    const back = this.#comesBack(file, page);
    this.#put(back ? ACTIVE : INACTIVE, file, page, REFERENCED);
    if (back) {
      this.activePages++;
      this.#refaults++;
      this.#tick(1);
    } else this.inactiveFilePages++;
  }

  /** Whether a page that is read in now was evicted so recently that it belongs on the active list. */
  #comesBack(file: FilePages, page: number): boolean {
    // Ages are far apart in memory: that of a page which never was evicted is not even read.
    const place = file.place[page];
    if (place === EVICTED) return (this.#age - file.evictedAge[page]) >>> 0 <= this.#flushed.active;
    if (place !== EVICTED_FOR_NODE || this.node === null) return false;
    return (this.node.age - file.evictedAge[page]) >>> 0 <= this.node.flushedActive;
  }

  /**
   * Pages of [first, first + count) are freed lazily. The caller notes for each, by the number returned, which is not 0, whether it is on the list
   * through it.
   */
  addLazy(first: number, count: number): number {
    return this.#addRange(first, count, false);
  }

  /** try_to_free_mem_cgroup_pages: returns how many were freed, in 4 KiB; 0 if there is nothing to reclaim. */
  reclaim(pages: number): number {
    const wanted = Math.max(pages, SWAP_CLUSTER_MAX);
    let freed = this.#shrink(wanted, false);
    // Only pages in use: the active list is drawn on after all, and who charges tries again until there is nothing on the lists.
    while (freed === 0 && this.inactivePages + this.activePages > 0) freed = this.#shrink(wanted, true);
    this.#refaultsSeen = this.#flushed.refaults;
    return freed;
  }

  #shrink(wanted: number, force: boolean): number {
    let freed = 0;
    for (let priority = DEF_PRIORITY; priority >= 0 && freed < wanted; priority--) {
      const deactivate =
        force || this.#flushed.refaults !== this.#refaultsSeen || inactiveIsLow(this.#flushed);
      const inactive = Math.floor(this.inactivePages / 2 ** priority);
      const active = Math.floor(this.activePages / 2 ** priority);
      freed += this.shrink(inactive, active, wanted - freed, deactivate, false);
    }
    return freed;
  }

  /**
   * shrink_lruvec: looks at so many pages of both lists, 32 of one and 32 of the other by turns, until `wanted` are freed; of
   * the active one only where `deactivate` says so. `forNode`: for the whole machine. Returns how many were freed.
   */
  shrink(inactive: number, active: number, wanted: number, deactivate: boolean, forNode: boolean): number {
    this.givePlaces();
    let freed = 0;
    for (let at = 0; at < Math.max(inactive, active) && freed < wanted; at += SWAP_CLUSTER_MAX) {
      const some = Math.min(inactive - at, SWAP_CLUSTER_MAX);
      if (some > 0) freed += this.#shrinkInactive(some, forNode);
      const others = Math.min(active - at, SWAP_CLUSTER_MAX);
      if (deactivate && others > 0) this.#shrinkActive(others);
    }
    return freed;
  }

  /** Looks at up to `budget` pages from the inactive list's tail. Returns how many were freed. */
  #shrinkInactive(budget: number, forNode: boolean): number {
    const log = this.#logs[INACTIVE];
    let freed = 0;
    for (let left = budget; left > 0; ) {
      const at = this.#oldest(INACTIVE);
      if (at < 0) break;
      const owner = log.who[at];
      if (owner === LAZY) {
        const before = this.lazyFreedUnits;
        const scanned = this.#scanLazy(log.what[at], left);
        left -= scanned;
        this.scannedPages += scanned;
        freed += this.lazyFreedUnits - before;
        continue;
      }
      let n = 1;
      if (owner === ONCE) {
        n = Math.min(left, log.what[at]);
        this.oncePages -= n;
        log.what[at] -= n;
        if (log.what[at] === 0) log.first++;
      } else {
        const file = this.#files[owner];
        file.place[log.what[at]] = forNode ? EVICTED_FOR_NODE : EVICTED;
        file.evictedAge[log.what[at]] = forNode && this.node !== null ? this.node.age : this.#age;
        log.first++;
      }
      this.#tick(n);
      this.inactiveFilePages -= n;
      this.evictedPages += n;
      this.scannedPages += n;
      freed += n;
      left -= n;
    }
    return freed;
  }

  /** Looks at lazily freed pages of the oldest range, lowest address first as they were freed. Returns at how many, in 4 KiB. */
  #scanLazy(number: number, budget: number): number {
    const lazy = this.lazy!;
    const range = this.#ranges[number];
    let kept = 0;
    let scanned = 0;
    while (range.count > 0 && scanned < budget) {
      const page = range.first++;
      range.count--;
      if (!lazy.isListed(page, number)) continue;
      scanned += lazy.unitsPerPage;
      if (lazy.take(page)) this.lazyFreedUnits += lazy.unitsPerPage;
      else if (range.second) lazy.relist(page, null);
      else {
        if (kept === 0) kept = this.#addRange(page, 0, true);
        this.#ranges[kept].count = page + 1 - this.#ranges[kept].first;
        lazy.relist(page, kept);
      }
    }
    if (range.count === 0) {
      this.#logs[INACTIVE].first++;
      this.#freeRanges.push(number);
    }
    return scanned;
  }

  #shrinkActive(pages: number): void {
    const log = this.#logs[ACTIVE];
    for (let left = Math.min(pages, this.activePages); left > 0; left--) {
      const at = this.#oldest(ACTIVE);
      const file = this.#files[log.who[at]];
      const page = log.what[at];
      log.first++;
      this.#put(INACTIVE, file, page, file.place[page] & REFERENCED);
      this.activePages--;
      this.inactiveFilePages++;
    }
  }

  #tick(pages: number): void {
    this.#age = (this.#age + pages) >>> 0;
  }

  #addRange(first: number, count: number, second: boolean): number {
    const number = this.#freeRanges.pop() ?? this.#ranges.length;
    this.#ranges[number] = { first, count, second };
    this.#append(INACTIVE, LAZY, number);
    return number;
  }

  /** A page goes to the head of a list. */
  #put(list: List, file: FilePages, page: number, referenced: number): void {
    file.place[page] = (this.#append(list, file.index, page) << PLACE_SHIFT) | referenced | list;
  }

  /** So many pages more at the inactive list's head, which a record tells together. */
  #appendSome(who: number, pages: number): void {
    const { who: whose, what, first, end } = this.#logs[INACTIVE];
    if (end > first && whose[end - 1] === who && what[end - 1] + pages < 2 ** 31) what[end - 1] += pages;
    else this.#append(INACTIVE, who, pages);
  }

  /** Writes a record at the head of a list, and returns its place. */
  #append(list: List, who: number, what: number): number {
    const log = this.#logs[list];
    if (log.end === log.who.length) this.#makeRoom(log, list);
    log.who[log.end] = who;
    log.what[log.end] = what;
    return log.end++;
  }

  /** The place of the record at a list's tail; -1 if the list is empty. */
  #oldest(list: List): number {
    const log = this.#logs[list];
    while (log.first < log.end && this.#hasLeft(list, log.who[log.first], log.what[log.first], log.first)) {
      log.first++;
      log.left--;
    }
    return log.first < log.end ? log.first : -1;
  }

  /** Was the record at `at` of a page that is somewhere else by now? */
  #hasLeft(list: List, who: number, what: number, at: number): boolean {
    return who >= 0 && (this.#files[who].place[what] & ~REFERENCED) !== ((at << PLACE_SHIFT) | list);
  }

  /** Makes room at a log's end: where less than half of its records are of any use, by dropping the others. */
  #makeRoom(log: Log, list: List): void {
    const { who, what, first, end } = log;
    // Where pages are only counted nothing moves.
    if (this.#onlyCounted || 2 * (first + log.left) < end) {
      if (2 * end > MAX_RECORDS) throw new Error(`file lists: more than ${MAX_RECORDS} records`);
      log.who = new Int32Array(2 * end);
      log.who.set(who);
      log.what = new Int32Array(2 * end);
      log.what.set(what);
      return;
    }
    let kept = 0;
    for (let at = first; at < end; at++) {
      if (this.#hasLeft(list, who[at], what[at], at)) continue;
      if (who[at] >= 0) {
        const { place } = this.#files[who[at]];
        place[what[at]] = (kept << PLACE_SHIFT) | (place[what[at]] & (REFERENCED | ON_ACTIVE));
      }
      who[kept] = who[at];
      what[kept++] = what[at];
    }
    log.first = 0;
    log.end = kept;
    log.left = 0;
  }
}
