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
 *   twice what it was asked for.
 *
 * Pages that nobody will ask for again are kept as runs of so many, pages that may be met again one by one, and lazily freed ones as
 * ranges of addresses.
 *
 * Simplified: every page is a folio of its own, and on its list at once (the kernel gathers 31 per CPU first); files are clean;
 * nothing is mapped but the process's memory. Where it stops being true: CONFIG_LRU_GEN; swap; large folios, which go as a
 * whole; dirty pages, which reclaim puts on the active list and waits for.
 */

/** Pages the lists are moved in at once, and the least a reclaim is for (SWAP_CLUSTER_MAX). */
export const SWAP_CLUSTER_MAX = 32;
/** Reclaim begins with this power of two's share of the lists. */
const DEF_PRIORITY = 12;

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

/** Where evicted pages of files that may be met again are noted. */
export type EvictionNote = (owner: number, page: number, age: number) => void;

/** List heads are entries of their own. */
const INACTIVE = 0;
const ACTIVE = 1;
const HEADS = 2;

/** Owners of entries that are no page of a file with an identity. */
const ONCE = -1;
const LAZY = -2;

export class FileLists {
  /** File pages; lazily freed ones are not among them. */
  inactiveFilePages = 0;
  activePages = 0;
  /** Of the file pages those that nobody will ask for again. */
  oncePages = 0;
  /** Since the lists were made. */
  evictedPages = 0;
  lazyFreedUnits = 0;
  lazy: LazyPages | null = null;
  readonly #evicted: EvictionNote;

  /** By entry. An entry is a page, or `count` of them. */
  #next = new Int32Array([INACTIVE, ACTIVE]);
  #prev = new Int32Array([INACTIVE, ACTIVE]);
  #owner = new Int32Array(HEADS);
  #page = new Int32Array(HEADS);
  #count = new Int32Array(HEADS);
  #active = new Uint8Array(HEADS);
  #referenced = new Uint8Array(HEADS);
  #entries = HEADS;
  readonly #free: number[] = [];

  /** nonresident_age, modulo 2^32. */
  #age = 0;
  /** WORKINGSET_ACTIVATE: as it is, and what reclaim saw of it when it ended the last time. */
  #refaults = 0;
  #refaultsSeen = 0;
  /** The group's statistics at their last flush: what reclaim decides by. */
  #flushed = { refaults: 0, inactive: 0, active: 0 };

  constructor(evicted: EvictionNote) {
    this.#evicted = evicted;
  }

  /** The counts of all CPUs are added up (css_rstat_flush). */
  flushStats(): void {
    this.#flushed = { refaults: this.#refaults, inactive: this.inactivePages, active: this.activePages };
  }

  /** All of the inactive list. */
  get inactivePages(): number {
    return this.inactiveFilePages + (this.lazy?.listedUnits ?? 0);
  }

  /** `pages` that nobody will ask for again are read in. */
  addOnce(pages: number): void {
    const head = this.#next[INACTIVE];
    if (head >= HEADS && this.#owner[head] === ONCE) this.#count[head] += pages;
    else this.#insert(INACTIVE, ONCE, 0, pages);
    this.inactiveFilePages += pages;
    this.oncePages += pages;
  }

  /**
   * A page of a file is read in; `evictedAge` is what its eviction noted, if it was there before. Returns its entry.
   */
  addPage(owner: number, page: number, evictedAge: number | null): number {
    const back = evictedAge !== null && (this.#age - evictedAge) >>> 0 <= this.#flushed.active;
    const entry = this.#insert(back ? ACTIVE : INACTIVE, owner, page, 1);
    if (back) {
      this.activePages++;
      this.#refaults++;
      this.#tick(1);
    } else this.inactiveFilePages++;
    this.#referenced[entry] = 1;
    return entry;
  }

  /** A cached page is read again. */
  accessed(entry: number): void {
    if (this.#active[entry] === 1 || this.#referenced[entry] === 0) {
      this.#referenced[entry] = 1;
      return;
    }
    this.#unlink(entry);
    this.#link(entry, ACTIVE);
    this.#referenced[entry] = 0;
    this.inactiveFilePages--;
    this.activePages++;
    this.#tick(1);
  }

  /** Pages of [first, first + count) are freed lazily. The caller notes for each, by the entry returned, whether it is on the list through it. */
  addLazy(first: number, count: number): number {
    return this.#insert(INACTIVE, LAZY, first, count);
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
      const deactivate = force || this.#flushed.refaults !== this.#refaultsSeen || this.#inactiveIsLow();
      let inactive = Math.floor(this.inactivePages / 2 ** priority);
      let active = Math.floor(this.activePages / 2 ** priority);
      while (inactive + active > 0 && freed < wanted) {
        const some = Math.min(inactive, SWAP_CLUSTER_MAX);
        inactive -= some;
        if (some > 0) freed += this.#shrinkInactive(some);
        const others = Math.min(active, SWAP_CLUSTER_MAX);
        active -= others;
        if (deactivate) this.#shrinkActive(others);
      }
    }
    return freed;
  }

  #inactiveIsLow(): boolean {
    const { inactive, active } = this.#flushed;
    const gib = Math.floor((inactive + active) / 2 ** 18);
    const ratio = gib > 0 ? Math.floor(Math.sqrt(10 * gib)) : 1;
    return inactive * ratio < active;
  }

  /** Looks at up to `budget` pages from the inactive list's tail. Returns how many were freed. */
  #shrinkInactive(budget: number): number {
    let freed = 0;
    for (let left = budget; left > 0; ) {
      const entry = this.#prev[INACTIVE];
      if (entry < HEADS) break;
      const owner = this.#owner[entry];
      if (owner === LAZY) {
        const before = this.lazyFreedUnits;
        left -= this.#scanLazy(entry, left);
        freed += this.lazyFreedUnits - before;
        continue;
      }
      const n = Math.min(left, this.#count[entry]);
      if (owner === ONCE) this.oncePages -= n;
      else this.#evicted(owner, this.#page[entry], this.#age);
      this.#tick(n);
      this.inactiveFilePages -= n;
      this.evictedPages += n;
      freed += n;
      left -= n;
      this.#count[entry] -= n;
      if (this.#count[entry] === 0) this.#remove(entry);
    }
    return freed;
  }

  /** Looks at lazily freed pages of an entry, lowest address first as they were freed. Returns at how many, in 4 KiB. */
  #scanLazy(entry: number, budget: number): number {
    const lazy = this.lazy!;
    const second = this.#referenced[entry] === 1;
    let kept = 0;
    let scanned = 0;
    while (this.#count[entry] > 0 && scanned < budget) {
      const page = this.#page[entry]++;
      this.#count[entry]--;
      if (!lazy.isListed(page, entry)) continue;
      scanned += lazy.unitsPerPage;
      if (lazy.take(page)) this.lazyFreedUnits += lazy.unitsPerPage;
      else if (second) lazy.relist(page, null);
      else {
        if (kept === 0) {
          kept = this.#insert(INACTIVE, LAZY, page, 0);
          this.#referenced[kept] = 1;
        }
        this.#count[kept] = page + 1 - this.#page[kept];
        lazy.relist(page, kept);
      }
    }
    if (this.#count[entry] === 0) this.#remove(entry);
    return scanned;
  }

  #shrinkActive(pages: number): void {
    for (let left = Math.min(pages, this.activePages); left > 0; left--) {
      const entry = this.#prev[ACTIVE];
      this.#unlink(entry);
      this.#link(entry, INACTIVE);
      this.activePages--;
      this.inactiveFilePages++;
    }
  }

  #tick(pages: number): void {
    this.#age = (this.#age + pages) >>> 0;
  }

  #insert(list: number, owner: number, page: number, count: number): number {
    const entry = this.#free.pop() ?? this.#newEntry();
    this.#owner[entry] = owner;
    this.#page[entry] = page;
    this.#count[entry] = count;
    this.#referenced[entry] = 0;
    this.#link(entry, list);
    return entry;
  }

  #newEntry(): number {
    if (this.#entries === this.#next.length) {
      const grown = <T extends Int32Array | Uint8Array>(made: T, old: T): T => {
        made.set(old);
        return made;
      };
      const n = Math.max(1024, 2 * this.#entries);
      this.#next = grown(new Int32Array(n), this.#next);
      this.#prev = grown(new Int32Array(n), this.#prev);
      this.#owner = grown(new Int32Array(n), this.#owner);
      this.#page = grown(new Int32Array(n), this.#page);
      this.#count = grown(new Int32Array(n), this.#count);
      this.#active = grown(new Uint8Array(n), this.#active);
      this.#referenced = grown(new Uint8Array(n), this.#referenced);
    }
    return this.#entries++;
  }

  #remove(entry: number): void {
    this.#unlink(entry);
    this.#free.push(entry);
  }

  #link(entry: number, list: number): void {
    const head = this.#next[list];
    this.#next[entry] = head;
    this.#prev[entry] = list;
    this.#next[list] = entry;
    this.#prev[head] = entry;
    this.#active[entry] = list;
  }

  #unlink(entry: number): void {
    const next = this.#next[entry];
    const prev = this.#prev[entry];
    this.#prev[next] = prev;
    this.#next[prev] = next;
  }
}
