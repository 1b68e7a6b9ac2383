/**
 * The heap: pages into spans, spans back into pages, growth, the page reclaimer, and the state all of the
 * allocator's files share. Everything outside the allocator talks to this class.
 *
 * Models mheap.go of Go 1.26 and sysAlloc of malloc.go; what older releases do differently is in `VersionRules`.
 * Each mechanism is a file of functions over this state: malloc (objects), mcache, mcentral, mgcsweep, mgcmark
 * (survivors), arena (user arenas). See mspan.ts for how objects are represented.
 *
 * Addresses are page numbers from the heap's first arena, which is 64 MiB aligned. The heap's arenas follow each
 * other without gaps, as the first hint serves all of them unless something else is mapped there.
 *
 * Simplifies: one thread of control, so locks, races and retries do not exist; address-space collisions do not
 * happen; finalizers, weak pointers and special records are not kept.
 */
import { OS_PAGE_BYTES } from "../os/os.ts";
import { allocUserArenaChunk, freeUserArenaChunk, recycleUserArenaChunk, type UserArenas } from "./arena.ts";
import { checkHeapInvariants } from "./heapcheck.ts";
import { HeapStats, HeapWork } from "./heapstats.ts";
import type { KindTable } from "./kinds.ts";
import { grownInt32 } from "./kinds.ts";
import {
  allocLarge,
  allocMixedRun,
  allocOne,
  allocRun,
  allocTiny,
  allocTinyRun,
  type RunBudget,
} from "./malloc.ts";
import { Mcaches, prepareForSweep, refill, releaseAll } from "./mcache.ts";
import { Mcentral } from "./mcentral.ts";
import {
  FixAlloc,
  GcBits,
  type MetadataMemory,
  PersistentAlloc,
  SysStats,
  statBuckHash,
  statGCMisc,
  statMCache,
  statMSpan,
  statOSStacks,
  statOther,
} from "./mfixalloc.ts";
import { MarkTotals, markSurvivors, unmarkUnreached } from "./mgcmark.ts";
import {
  deductSweepCredit,
  finishSweep,
  gcPaceSweeper,
  sweepone,
  sweepSpan,
  tryAcquire,
} from "./mgcsweep.ts";
import type { PageAlloc } from "./mpagealloc.ts";
import { PageCache } from "./mpagecache.ts";
import type { MemProfile } from "./mprof.ts";
import { type SpanLayout, spanLayout } from "./msize.ts";
import { SlotStore, SpanTable } from "./mspan.ts";
import { SpanSetBlockPool } from "./mspanset.ts";
import { OwnerTable } from "./owners.ts";
import {
  ALLOC_COUNT,
  BASE,
  CACHED_WORDS,
  FIRST_SLOT,
  FLAGS,
  FREE_INDEX,
  flagNeedzero,
  flagOwned,
  KIND,
  kindNone,
  MARKED,
  MAX_DEATH,
  NELEMS,
  NPAGES,
  SPC,
  STATE,
  SWEEPGEN,
  SWEPT_TICK,
  spanInUse,
  spanStack,
  spanWorkBuf,
  TOUCHED,
} from "./records.ts";
import { numSpanClasses, pageSize } from "./sizeclasses.ts";
import type { Trace } from "./trace.ts";
import type { VersionRules } from "./version.ts";

/** Pages of an arena (64 MiB) and of a chunk of the page allocator (4 MiB). */
export const pagesPerArena = 8192;
const pallocChunkPages = 512;
/** Page requests below this are served from the P's page cache (a quarter of its 64 pages). */
const pageCacheMaxPages = 16;
/** Pages the reclaimer looks at in one go. */
const pagesPerReclaimerChunk = 512;
/** Records a P's mspan cache holds, and how many it takes at once when empty. */
const mspanCacheLen = 128;

/** What a span is for (spanAllocType). */
export type ManualUse = "stack" | "workbuf";

/** The pacer, as the heap sees it: gcController.heapLive and update. */
export interface HeapAccounting {
  readonly heapLive: number;
  update(dHeapLive: number, dHeapScan: number): void;
}

/** The kernel, as the heap sees it: a part of the Os interface. Byte addresses from the first arena. */
export interface HeapOs extends MetadataMemory {
  sysReserve(nbytes: number): void;
  sysMap(startByte: number, nbytes: number): void;
  sysUsed(startByte: number, nbytes: number): void;
  sysUnused(startByte: number, nbytes: number): void;
  sysFault(startByte: number, nbytes: number): void;
  touch(startByte: number, endByte: number): number;
  isResident(startByte: number, endByte: number): boolean;
  /** Page faults of the whole process so far, and the CPU they took beyond that of small pages. */
  readonly faults: number;
  readonly largeFaultNs: number;
}

/** The scavenger, as the heap sees it. */
export interface HeapScavenger {
  /**
   * Pages were taken from the page heap and are not used yet: `scavBytes` of them were scavenged, the heap has just
   * grown by `growthBytes`. Time for synchronous scavenging.
   */
  spanAllocated(scavBytes: number, growthBytes: number): void;
  /** The last span of a cycle was swept. */
  sweepDone(): void;
}

export interface HeapOptions {
  readonly rules: VersionRules;
  readonly kinds: KindTable;
  readonly pages: PageAlloc;
  readonly accounting: HeapAccounting;
  /** GOMAXPROCS; `setProcs` changes it. */
  readonly procs: number;
  /** Without one, nothing is tracked as resident and no faults are counted. */
  readonly os?: HeapOs;
  readonly owners?: OwnerTable;
  /** Go 1.26's random start: chunk 0..15 of the first arena, then 0..511 pages lost. Default: none. */
  readonly heapBase?: { readonly chunk: number; readonly paddingPages: number };
  /** The CPU has the vector extensions the packed span scan needs. */
  readonly avx512?: boolean;
  /** needZeroAfterSysUnused: what is given back may come back as it was (GODEBUG=madvdontneed=0). */
  readonly needZeroAfterSysUnused?: boolean;
  /** Hypothetical, in no Go release: arenas the first growth reserves for each it needs. */
  readonly arenaScale?: number;
}

export class Heap {
  readonly rules: VersionRules;
  readonly layout: SpanLayout;
  readonly kinds: KindTable;
  readonly owners: OwnerTable;
  readonly pages: PageAlloc;
  readonly accounting: HeapAccounting;
  readonly os: HeapOs | undefined;
  readonly avx512: boolean;
  /** Bytes of a runtime page; here so that the functions over this state need no import for it. */
  readonly pageSize = pageSize;
  readonly physPageSize: number;
  readonly #scavengedIsZero: boolean;
  readonly #arenaScale: number;
  /** Calls of sysReserve for the heap's arenas. */
  reservations = 0;

  readonly spans = new SpanTable();
  readonly slots = new SlotStore();
  readonly central: Mcentral[] = [];
  caches = new Mcaches(0);
  #pageCaches: PageCache[] = [];
  /** mspan records waiting in each P's cache. */
  #mspanCache = new Int32Array(0);
  /** May be set by whoever models the scavenger. */
  scavenger: HeapScavenger | undefined;
  /** Told of spans and growth, if anybody watches. */
  trace: Trace | undefined;
  /** Told of every object, unless MemProfileRate is 0. */
  memProfile: MemProfile | undefined;

  readonly stats = new HeapStats();
  readonly work = new HeapWork();
  readonly sys: SysStats;
  readonly persistent: PersistentAlloc;
  readonly gcBits: GcBits;
  readonly spanalloc: FixAlloc;
  readonly cachealloc: FixAlloc;

  /** Rises by 2 at every mark termination. */
  sweepgen = 2;
  /** Tick the last mark started: slots that died by then are free once their span is swept. */
  lastMarkTick = 0;
  /** Between startMark and finishMark: allocations are black. */
  marking = false;
  /** Bytes marked in this cycle so far: survivors at its start plus black allocations. */
  bytesMarked = 0;
  readonly markTotals = new MarkTotals();

  // ---- Sweep state (mgcsweep.go) ----

  /** Called when nothing is left to sweep of the last cycle: isSweepDone begins to hold. */
  onSweepDone: () => void = () => {};
  /** No unswept span is left in the lists. */
  sweepDrained = true;
  /** Next step of the background sweeper: span class << 1 | partial. */
  sweepCentralIndex = 0;
  /** Pages of spans holding objects. */
  pagesInUse = 0;
  /** Pages swept this cycle. */
  pagesSwept = 0;
  pagesSweptBasis = 0;
  sweepHeapLiveBasis = 0;
  sweepPagesPerByte = 0;
  /** Next page for the reclaimer; Infinity when it is through. */
  reclaimIndex = Infinity;
  /** Pages freed by sweeping beyond what was asked for. */
  reclaimCredit = 0;
  /** Arenas when the sweep began: the reclaimer looks no further. */
  #sweepArenas = 0;
  /** HeapInuse at the last mark termination, for the scavenger's goal. */
  lastHeapInUse = 0;

  // ---- Arenas ----
  /** Mapped heap arenas: pages [0, arenas * pagesPerArena). */
  arenas = 0;
  #heapArenasCap = 0;
  /** curArena, in pages; base is -1 before the first growth. */
  #curArenaBase = -1;
  #curArenaEnd = 0;
  readonly #heapBase: { readonly chunk: number; readonly paddingPages: number };
  /** Per arena, pages from its start that have been in use once: memory above is known to be zero. */
  #zeroedBase = new Int32Array(16);
  /** Bit per page: a span holding objects starts there. */
  #pageInUse = new Int32Array(0);
  /** Span starting at a page; valid while there is one. */
  #spanAt = new Int32Array(0);
  /** Large objects written in part, by span: bytes from the start, and whether a mark has read the rest. */
  readonly #filling = new Map<number, { bytes: number; read: boolean }>();
  /** Chunk groups whose metadata is mapped: see #mapPageMetadata. */
  readonly #metadata = { bitmaps: 0, leaf: 0, level3: 0, level2: 0, level1: 0, root: 0, scavenge: 0 };
  #allspansLen = 0;
  #allspansCap = 0;
  userArenas: UserArenas = { ready: [], fault: [], quarantine: 0, arenas: 0, cap: 0 };

  /**
   * Span and slot of the last object allocated, but by runs of several kinds, for callers that give it to an owner or kill it
   * early.
   */
  lastSpan = -1;
  lastIndex = -1;
  /** P on whose caches calls without a P of their own draw: stack spans, the background sweeper. */
  currentP = 0;

  constructor(o: HeapOptions) {
    this.rules = o.rules;
    this.layout = spanLayout(o.rules);
    this.kinds = o.kinds;
    this.owners = o.owners ?? new OwnerTable();
    this.pages = o.pages;
    this.accounting = o.accounting;
    this.os = o.os;
    this.avx512 = o.avx512 ?? false;
    this.physPageSize = o.os?.pageBytes ?? OS_PAGE_BYTES;
    this.#scavengedIsZero = o.rules.scavengedSpansAreZero && o.needZeroAfterSysUnused !== true;
    this.#arenaScale = o.arenaScale ?? 1;
    this.#heapBase = o.heapBase ?? { chunk: 0, paddingPages: 0 };
    this.sys = new SysStats(o.os);
    this.persistent = new PersistentAlloc(this.sys);
    this.gcBits = new GcBits(this.sys);
    this.spanalloc = new FixAlloc(o.rules.mspanStructBytes, statMSpan, this.persistent);
    this.cachealloc = new FixAlloc(o.rules.mcacheStructBytes, statMCache, this.persistent);
    const pool = new SpanSetBlockPool({
      reserve: (nbytes, align) => this.persistent.reserve(nbytes, align, statGCMisc, this.currentP),
      touch: (address, nbytes) => this.persistent.touch(address, nbytes),
      read: (address) => this.persistent.read(address),
      pageBytes: this.sys.pageBytes,
    });
    for (let spc = 0; spc < numSpanClasses; spc++) this.central.push(new Mcentral(pool));
    if (o.rules.scavengeIndexInitialBytes > 0) this.sys.map(statGCMisc, o.rules.scavengeIndexInitialBytes);
    this.setProcs(o.procs);
  }

  // ---------------------------------------------------------------- allocation (malloc.ts, mcache.ts)

  /** Up to n objects of a small kind on P; fewer than n: refill and go on. */
  allocRun(p: number, kind: number, n: number, deaths: Int32Array, from: number): number {
    return allocRun(this, p, kind, n, deaths, from);
  }

  /** One object of a small kind on P; false: refill and try again. */
  allocOne(p: number, kind: number, death: number): boolean {
    return allocOne(this, p, kind, death);
  }

  /** One object of a tiny kind on P; false: refill tinySpanClass and try again. */
  allocTiny(p: number, kind: number, death: number): boolean {
    return allocTiny(this, p, kind, death);
  }

  /** Small objects; fewer than there are: the budget is spent, or make the next one by itself and go on. */
  allocMixedRun(
    p: number,
    kinds: Int32Array,
    deaths: Int32Array,
    from: number,
    end: number,
    budget: RunBudget,
  ): number {
    return allocMixedRun(this, p, kinds, deaths, from, end, budget);
  }

  /** Tiny objects; fewer than there are: as allocMixedRun. */
  allocTinyRun(
    p: number,
    kinds: Int32Array,
    deaths: Int32Array,
    from: number,
    end: number,
    budget: RunBudget,
  ): number {
    return allocTinyRun(this, p, kinds, deaths, from, end, budget);
  }

  /** mcache.refill. Test the GC trigger afterwards. */
  refill(p: number, spc: number): void {
    refill(this, p, spc);
  }

  /** Whether P has no span of the class, or none with a free slot. */
  mustRefill(p: number, spc: number): boolean {
    const s = this.cachedSpan(p, spc);
    return s < 0 || this.spans.allocCount[s] === this.layout.nelems[spc];
  }

  /** The span P allocates the class from, or -1. */
  cachedSpan(p: number, spc: number): number {
    return this.caches.alloc[(p * numSpanClasses + spc) * CACHED_WORDS];
  }

  /** One large object. Test the GC trigger afterwards. */
  allocLarge(p: number, kind: number, death: number, written = true): void {
    allocLarge(this, p, kind, death, written);
  }

  /**
   * The program has written `bytes` from the start of the large object in `span`, which it fills bit by bit. It is one that does
   * not die before it is full.
   */
  fillLarge(span: number, bytes: number): void {
    const filling = this.#filling.get(span) ?? { bytes: 0, read: false };
    const start = this.spans.base[span] * pageSize;
    if (bytes > filling.bytes) this.touch(start + filling.bytes, start + bytes);
    filling.bytes = bytes;
    if (bytes < this.spans.npages[span] * pageSize) this.#filling.set(span, filling);
    else this.#filling.delete(span);
  }

  /**
   * A mark scans large objects whole: of what was never written it reads the page of zeros, once, and the first write faults
   * once more.
   */
  #readUnfilled(): void {
    const { os } = this;
    if (os === undefined) return;
    const step = this.physPageSize;
    let pages = 0;
    for (const [span, filling] of this.#filling) {
      if (filling.read) continue;
      filling.read = true;
      const start = this.spans.base[span] * pageSize;
      const end = start + this.spans.npages[span] * pageSize;
      for (let page = Math.ceil((start + filling.bytes) / step) * step; page < end; page += step)
        if (!os.isResident(page, page + step)) pages++;
    }
    if (pages > 0) os.readUntouched(pages);
  }

  /** The object in a slot now belongs to `owner` and dies with it. */
  setOwner(span: number, index: number, owner: number): void {
    this.slots.death[this.spans.firstSlot[span] + index] = ~owner;
    this.spans.flags[span] |= flagOwned;
  }

  /** The object in a slot dies at `tick` instead of when it was going to. */
  kill(span: number, index: number, tick: number): void {
    const death = tick > this.lastMarkTick ? tick : this.lastMarkTick + 1;
    this.slots.death[this.spans.firstSlot[span] + index] = death;
    if (death > this.spans.maxDeath[span]) this.spans.maxDeath[span] = death;
  }

  // ---------------------------------------------------------------- collection (mgcmark.ts, mgcsweep.ts)

  /** Sweep termination, world stopped: sweeps whatever is left. */
  finishSweep(p = this.currentP): void {
    finishSweep(this, p);
  }

  /** Mark start at `tick` (later than the last mark's), world stopped: finishes the sweep and counts the survivors. */
  startMark(tick: number): MarkTotals {
    if (tick <= this.lastMarkTick)
      throw new RangeError(`mark at tick ${tick}, not after ${this.lastMarkTick}`);
    finishSweep(this, this.currentP);
    this.marking = true;
    const totals = markSurvivors(this, tick);
    this.#readUnfilled();
    this.lastMarkTick = tick | 0;
    this.bytesMarked = totals.bytes;
    return totals;
  }

  /** All stacks are scanned: see unmarkUnreached. */
  unmarkUnreached(): number {
    return unmarkUnreached(this);
  }

  /** Mark termination, world stopped: the unswept and swept lists swap roles. Returns the bytes marked. */
  finishMark(): number {
    if (!this.marking) throw new Error("finishMark without startMark");
    this.marking = false;
    this.caches.scanAlloc.fill(0);
    this.sweepgen += 2;
    this.sweepDrained = false;
    this.pagesSwept = 0;
    this.#sweepArenas = this.arenas;
    this.reclaimIndex = 0;
    this.reclaimCredit = 0;
    this.sweepCentralIndex = 0;
    this.lastHeapInUse = this.stats.heapInUse;
    return this.bytesMarked;
  }

  /** After the pacer's resetLive and commit: paces sweeping up to `trigger`. */
  commitCycle(trigger: number): void {
    gcPaceSweeper(this, trigger);
  }

  gcPaceSweeper(trigger: number): void {
    gcPaceSweeper(this, trigger);
  }

  /** Sweeps one span on P: pages freed, 0 if it has survivors, -1 if all are swept. */
  sweepone(p = this.currentP): number {
    return sweepone(this, p);
  }

  isSweepDone(): boolean {
    return this.sweepDrained;
  }

  deductSweepCredit(spanBytes: number, callerSweepPages: number, p: number): void {
    deductSweepCredit(this, spanBytes, callerSweepPages, p);
  }

  /** mcache.prepareForSweep of P, once after each finishMark and before P allocates. Stack caches are not here. */
  prepareForSweep(p: number): void {
    prepareForSweep(this, p);
  }

  /** The part of forEachP after mark termination that empties an idle P's page cache (1.21). */
  flushPageCache(p: number): void {
    this.#pageCaches[p].flush(this.pages);
  }

  /** What ReadMemStats does first: every mcache is flushed. */
  flushAllMcaches(): void {
    for (let p = 0; p < this.caches.count; p++) {
      prepareForSweep(this, p);
      releaseAll(this, p);
    }
  }

  // ---------------------------------------------------------------- Ps (proc.go: procresize)

  get procs(): number {
    return this.caches.count;
  }

  /** Makes or destroys mcaches. A destroyed P's caches are flushed. */
  setProcs(n: number): void {
    const old = this.caches;
    for (let p = n; p < old.count; p++) {
      prepareForSweep(this, p);
      releaseAll(this, p);
      for (; this.#mspanCache[p] > 0; this.#mspanCache[p]--) this.spanalloc.free();
      this.#pageCaches[p].flush(this.pages);
      this.cachealloc.free();
    }
    if (this.currentP >= n) this.currentP = 0;
    const caches = new Mcaches(n);
    const kept = Math.min(n, old.count);
    caches.alloc.set(old.alloc.subarray(0, kept * numSpanClasses * CACHED_WORDS));
    caches.scanAlloc.set(old.scanAlloc.subarray(0, kept));
    caches.tinySpan.set(old.tinySpan.subarray(0, kept));
    caches.tinyIndex.set(old.tinyIndex.subarray(0, kept));
    caches.tinyOffset.set(old.tinyOffset.subarray(0, kept));
    caches.tinyAllocs.set(old.tinyAllocs.subarray(0, kept));
    caches.flushGen.set(old.flushGen.subarray(0, kept));
    caches.refills.set(old.refills.subarray(0, kept));
    caches.flushes.set(old.flushes.subarray(0, kept));
    this.caches = caches;
    const mspanCache = new Int32Array(n);
    mspanCache.set(this.#mspanCache.subarray(0, kept));
    this.#mspanCache = mspanCache;
    this.#pageCaches.length = kept;
    for (let p = kept; p < n; p++) {
      this.cachealloc.alloc(-1);
      caches.flushGen[p] = this.sweepgen;
      this.#pageCaches.push(new PageCache());
    }
    this.memProfile?.procresize(n);
  }

  // ---------------------------------------------------------------- spans

  /** mheap.alloc: a span for objects. Sweeps and reclaims as many pages first if the sweep is not done. */
  alloc(npages: number, spc: number, p: number): number {
    if (!this.sweepDrained) this.reclaim(npages, p);
    const s = this.#allocSpan(npages, p);
    const spans = this.spans;
    const nbytes = npages * pageSize;
    const small = spc > 1;
    spans.spc[s] = spc;
    spans.state[s] = spanInUse;
    spans.setElemsize(s, small ? this.layout.elemsize[spc] : nbytes);
    spans.nelems[s] = this.layout.nelems[spc];
    spans.sweepgen[s] = this.sweepgen;
    this.#initSlots(s);
    this.gcBits.alloc(spans.nelems[s]);
    this.gcBits.alloc(spans.nelems[s]);
    this.stats.heapInUse += nbytes;
    this.pagesInUse += npages;
    const base = spans.base[s];
    this.#spanAt[base] = s;
    this.#pageInUse[base >>> 5] |= 1 << (base & 31);
    this.work.spansAllocated++;
    return s;
  }

  /** allocManual: pages for stacks or work buffers. Returns the span; `spans.base[s]` is its first page. */
  allocManual(npages: number, use: ManualUse, p = this.currentP): number {
    const s = this.#allocSpan(npages, p);
    this.#spanAt[this.spans.base[s]] = s;
    this.spans.state[s] = use === "stack" ? spanStack : spanWorkBuf;
    this.spans.nelems[s] = 0;
    this.spans.allocCount[s] = 0;
    if (use === "stack") this.stats.inStacks += npages * pageSize;
    else this.stats.inWorkBufs += npages * pageSize;
    return s;
  }

  freeManual(s: number, use: ManualUse, p = this.currentP): void {
    if (this.spans.state[s] !== (use === "stack" ? spanStack : spanWorkBuf))
      throw new Error(`span ${s} is not managed as ${use}`);
    const nbytes = this.spans.npages[s] * pageSize;
    if (use === "stack") this.stats.inStacks -= nbytes;
    else this.stats.inWorkBufs -= nbytes;
    this.#freePages(s, p);
  }

  /** Stack spans by their first page, as stack.ts knows them. */
  allocStackSpan(npages: number): number {
    // First the span, then its column: making one may replace the columns by longer ones.
    const s = this.allocManual(npages, "stack");
    return this.spans.base[s];
  }

  freeStackSpan(basePage: number): void {
    this.freeManual(this.#spanAt[basePage], "stack");
  }

  /** freeSpan: an empty, swept span of objects goes back to the page heap. */
  freeSpan(s: number, p: number): void {
    const { words } = this.spans;
    if (
      words[s + STATE] !== spanInUse ||
      words[s + ALLOC_COUNT] !== 0 ||
      words[s + SWEEPGEN] !== this.sweepgen
    ) {
      throw new Error(`invalid free of span ${s}`);
    }
    const npages = words[s + NPAGES];
    const base = words[s + BASE];
    this.pagesInUse -= npages;
    this.#pageInUse[base >>> 5] &= ~(1 << (base & 31));
    this.stats.heapInUse -= npages * pageSize;
    this.work.spansFreed++;
    this.slots.free(words[s + FIRST_SLOT], words[s + NELEMS]);
    this.#freePages(s, p);
  }

  /** Memory was scavenged: the pages were free and are released now. */
  noteScavenged(nbytes: number): void {
    this.stats.heapFree -= nbytes;
    this.stats.heapReleased += nbytes;
  }

  /** heapRetained: the heap's own estimate of its part of the resident set. */
  get retained(): number {
    return this.stats.heapInUse + this.stats.heapFree;
  }

  /** gcController.mappedReady: bytes of all memory in use or ready for use, what the memory limit counts. */
  get mappedReady(): number {
    const st = this.stats;
    return st.heapInUse + st.heapFree + st.inStacks + st.inWorkBufs + this.sys.total;
  }

  /** MemStats.Sys. */
  get sysTotal(): number {
    return this.mappedReady + this.stats.heapReleased;
  }

  get mspanInuse(): number {
    return this.spanalloc.inuse;
  }

  get mspanSys(): number {
    return this.sys.bytes[statMSpan];
  }

  get mcacheInuse(): number {
    return this.cachealloc.inuse;
  }

  get mcacheSys(): number {
    return this.sys.bytes[statMCache];
  }

  get gcSys(): number {
    return this.sys.bytes[statGCMisc] + this.stats.inWorkBufs;
  }

  get otherSys(): number {
    return this.sys.bytes[statOther];
  }

  get buckHashSys(): number {
    return this.sys.bytes[statBuckHash];
  }

  /** StackSys: stack spans and the OS's thread stacks. */
  get stackSys(): number {
    return this.stats.inStacks + this.sys.bytes[statOSStacks];
  }

  /** Pages of the random start that were in use by nobody and never will be; they count as released. */
  get paddingPages(): number {
    return this.arenas > 0 && this.rules.randomHeapBase ? this.#heapBase.paddingPages : 0;
  }

  /** The span starting at a page, or -1. Only spans of objects are found. */
  spanStartingAt(page: number): number {
    return (this.#pageInUse[page >>> 5] >>> (page & 31)) & 1 ? this.#spanAt[page] : -1;
  }

  /** Free pages held in P's page cache: idle, yet out of the page allocator's hands. */
  pageCacheOf(p: number): PageCache {
    return this.#pageCaches[p];
  }

  checkInvariants(): void {
    checkHeapInvariants(this);
  }

  // ---------------------------------------------------------------- user arenas (arena.ts)

  /**
   * A user arena chunk, alive until freed. `kind` says what scanning it costs and who it belongs to; without one it
   * costs nothing. Test the GC trigger afterwards. Returns its span.
   */
  allocUserArenaChunk(p: number, kind = kindNone): number {
    return allocUserArenaChunk(this, p, kind);
  }

  freeUserArenaChunk(s: number, tick: number): void {
    freeUserArenaChunk(this, s, tick);
  }

  /** @internal The sweeper found nothing pointing into a freed chunk. */
  recycleUserArenaChunk(s: number): void {
    recycleUserArenaChunk(this, s);
  }

  // ---------------------------------------------------------------- residency

  /** Bytes [start, end) of the heap are written. */
  touch(start: number, end: number): void {
    this.os?.touch(start, end);
  }

  /** Slots below `freeIndex` of the span are being written; those below `touched` have been. */
  touchSlots(s: number, freeIndex: number): void {
    const { words } = this.spans;
    const size = this.spans.elemsizeOf(s);
    const start = words[s + BASE] * pageSize;
    const from = start + words[s + TOUCHED] * size;
    // Whole OS pages become resident, so neighbours on the last one need no further call.
    const end = Math.ceil((start + freeIndex * size) / 4096) * 4096;
    this.touch(from, end);
    if (this.marking && (words[s + SPC] & 1) === 0 && size > this.rules.minSizeForMallocHeader)
      this.#headerReads(from, end, start, size);
    words[s + TOUCHED] = Math.max(freeIndex, Math.floor((end - start) / size));
  }

  /**
   * While marking, the type header of an object is stored through the write barrier, which first reads the old value: on a
   * page that begins with that header the read maps the zero page, and the store faults once more.
   */
  #headerReads(from: number, end: number, spanStart: number, size: number): void {
    if (!this.rules.mallocHeaders) return;
    let pages = 0;
    const step = this.physPageSize;
    for (let page = Math.ceil(from / step) * step; page < end; page += step)
      if ((page - spanStart) % size === 0) pages++;
    if (pages === 0) return;
    this.os?.readUntouched(pages);
  }

  // ---------------------------------------------------------------- reclaimer

  /**
   * mheap.reclaim: before npages are taken while sweeping is unfinished, frees at least as many by sweeping spans
   * with no marks, found by going through the arenas from the start, 512 pages at a time.
   */
  reclaim(npages: number, p: number): void {
    let want = npages;
    while (want > 0 && this.reclaimIndex !== Infinity) {
      if (this.reclaimCredit > 0) {
        const take = Math.min(this.reclaimCredit, want);
        this.reclaimCredit -= take;
        want -= take;
        continue;
      }
      const page = this.reclaimIndex;
      this.reclaimIndex += pagesPerReclaimerChunk;
      if (page >= this.#sweepArenas * pagesPerArena) {
        this.reclaimIndex = Infinity;
        break;
      }
      const found = this.#reclaimChunk(page, p);
      this.work.reclaimedPages += found;
      if (found <= want) want -= found;
      else {
        this.reclaimCredit += found - want;
        want = 0;
      }
    }
  }

  #reclaimChunk(from: number, p: number): number {
    if (this.sweepDrained) return 0;
    const spans = this.spans;
    let freed = 0;
    for (let w = from >>> 5; w < (from + pagesPerReclaimerChunk) >>> 5; w++) {
      let bits = this.#pageInUse[w];
      while (bits !== 0) {
        const bit = 31 - Math.clz32(bits & -bits);
        bits &= bits - 1;
        const s = this.#spanAt[w * 32 + bit];
        if (spans.marked[s] !== 0 || !tryAcquire(this, s)) continue;
        const npages = spans.npages[s];
        if (sweepSpan(this, s, false, p)) freed += npages;
      }
    }
    return freed;
  }

  // ---------------------------------------------------------------- pages

  /** mheap.allocSpan up to initSpan: pages and a record, statistics of the page heap, zeroed or not. */
  #allocSpan(npages: number, p: number): number {
    let base = -1;
    let scav = 0;
    let growth = 0;
    if (npages < pageCacheMaxPages) {
      const cache = this.#pageCaches[p];
      if (cache.empty()) this.pages.allocToCache(cache);
      base = cache.alloc(npages);
      if (base >= 0) scav = cache.lastScav;
    }
    if (base < 0) {
      base = this.pages.alloc(npages);
      if (base < 0) {
        growth = this.#grow(npages, p);
        base = this.pages.alloc(npages);
        if (base < 0) throw new Error("grew heap, but no adequate free space found");
      }
      scav = this.pages.lastScav;
    }
    this.#allocMSpan(p);
    if (this.scavenger !== undefined) this.scavenger.spanAllocated(scav, growth);
    const s = this.spans.alloc();
    const { words } = this.spans;
    words[s + BASE] = base;
    words[s + NPAGES] = npages;
    const nbytes = npages * pageSize;
    const dirty = this.#allocNeedsZero(base, npages);
    words[s + FLAGS] = dirty && !(this.#scavengedIsZero && scav === nbytes) ? flagNeedzero : 0;
    if (scav !== 0) {
      this.os?.sysUsed(base * pageSize, nbytes);
      this.stats.heapReleased -= scav;
    }
    this.stats.heapFree -= nbytes - scav;
    this.trace?.instant("span", "span allocated", {
      reason: growth > 0 ? "from growth" : scav > 0 ? "from scavenged pages" : "from free pages",
      size_bytes: nbytes,
      pages: npages,
      scavenged_bytes: scav,
    });
    return s;
  }

  #initSlots(s: number): void {
    const { words } = this.spans;
    const nelems = words[s + NELEMS];
    words[s + FIRST_SLOT] = this.slots.alloc(nelems);
    words[s + FREE_INDEX] = 0;
    words[s + ALLOC_COUNT] = 0;
    words[s + MARKED] = 0;
    words[s + SWEPT_TICK] = this.lastMarkTick;
    words[s + MAX_DEATH] = 0;
    words[s + KIND] = kindNone;
    const start = words[s + BASE] * pageSize;
    const resident = this.os === undefined || this.os.isResident(start, start + words[s + NPAGES] * pageSize);
    words[s + TOUCHED] = resident ? nelems : 0;
  }

  /** freeSpanLocked's second half. */
  #freePages(s: number, p: number): void {
    const { spans } = this;
    const { words } = spans;
    this.stats.heapFree += words[s + NPAGES] * pageSize;
    this.trace?.spanFreed(words[s + NPAGES]);
    this.pages.free(words[s + BASE], words[s + NPAGES]);
    if (this.#mspanCache[p] < mspanCacheLen) this.#mspanCache[p]++;
    else this.spanalloc.free();
    spans.free(s);
  }

  /** tryAllocMSpan, allocMSpanLocked: one record from P's cache, which is refilled by half its length. */
  #allocMSpan(p: number): void {
    if (this.#mspanCache[p] === 0) {
      for (let i = 0; i < mspanCacheLen / 2; i++) {
        if (this.spanalloc.alloc(p)) this.#recordSpan();
      }
      this.#mspanCache[p] = mspanCacheLen / 2;
    }
    this.#mspanCache[p]--;
  }

  /** @internal A record without P's cache: user arenas. */
  allocMSpanRecord(p: number): void {
    this.#allocMSpan(p);
  }

  /** recordspan: the array of all records ever made grows by half, from 64 KiB. */
  #recordSpan(): void {
    if (this.#allspansLen === this.#allspansCap) {
      const cap = Math.max(8192, Math.floor((this.#allspansCap * 3) / 2));
      this.sys.map(statOther, cap * 8);
      this.sys.free(statOther, this.#allspansCap * 8);
      this.#allspansCap = cap;
    }
    if (this.#allspansLen % 512 === 0) this.sys.touch(statOther, 4096);
    this.#allspansLen++;
  }

  /** allocNeedsZero: whether the pages may be dirty; raises the arenas' marks of what has been used. */
  #allocNeedsZero(base: number, npages: number): boolean {
    let needZero = false;
    let page = base;
    const end = base + npages;
    while (page < end) {
      const arena = Math.floor(page / pagesPerArena);
      const arenaPage = page % pagesPerArena;
      const limit = Math.min(pagesPerArena, arenaPage + (end - page));
      if (arenaPage < this.#zeroedBase[arena]) needZero = true;
      if (limit > this.#zeroedBase[arena]) this.#zeroedBase[arena] = limit;
      page += limit - arenaPage;
    }
    return needZero;
  }

  /** mheap.grow: at least npages more, in whole chunks, from the current arena. Returns the growth in bytes. */
  #grow(npages: number, p: number): number {
    const ask = Math.ceil(npages / pallocChunkPages) * pallocChunkPages;
    const first = this.#curArenaBase < 0;
    let growth = 0;
    if (first || this.#curArenaBase + ask > this.#curArenaEnd) {
      const start = this.arenas * pagesPerArena;
      const size = Math.ceil(ask / pagesPerArena) * pagesPerArena * (first ? this.#arenaScale : 1);
      this.#sysAllocArenas(size / pagesPerArena, p);
      // Arenas follow each other, so the new space always extends the current one.
      if (first) {
        this.#curArenaBase = start;
        if (this.rules.randomHeapBase) this.#curArenaBase += this.#heapBase.chunk * pallocChunkPages;
      }
      this.#curArenaEnd = start + size;
    }
    const v = this.#curArenaBase;
    this.#curArenaBase = v + ask;
    this.os?.sysMap(v * pageSize, ask * pageSize);
    this.stats.heapReleased += ask * pageSize;
    this.#mapPageMetadata(v, v + ask);
    this.sys.touch(statGCMisc, Math.floor((ask / pagesPerArena) * this.rules.heapArenaStructBytes));
    this.pages.grow(v, ask);
    growth += ask * pageSize;
    if (first && this.rules.randomHeapBase && this.#heapBase.paddingPages > 0) {
      this.pages.markRandomPaddingPages(v, this.#heapBase.paddingPages);
    }
    this.work.heapGrowths++;
    this.work.growthBytes += growth;
    this.trace?.instant("span", "heap grows", {
      reason: `no free run of ${npages} pages`,
      grown_bytes: growth,
      heap_sys_bytes: this.stats.heapSys,
    });
    return growth;
  }

  /** sysAlloc: reserves arenas and makes their records. */
  #sysAllocArenas(n: number, p: number): void {
    this.reservations++;
    this.os?.sysReserve(n * pagesPerArena * pageSize);
    for (let i = 0; i < n; i++) {
      // Large enough for a mapping of its own, of which parts are touched as the arena is used: see #grow.
      this.sys.map(statGCMisc, this.rules.heapArenaStructBytes);
      if (this.arenas + i === this.#heapArenasCap) {
        const bytes = this.#heapArenasCap === 0 ? 4096 : this.#heapArenasCap * 16;
        this.persistent.alloc(bytes, 8, statGCMisc, p);
        this.#heapArenasCap = bytes / 8;
      }
    }
    this.arenas += n;
    const pages = this.arenas * pagesPerArena;
    if (this.arenas > this.#zeroedBase.length)
      this.#zeroedBase = grownInt32(this.#zeroedBase, this.arenas * 2);
    if (pages > this.#spanAt.length) {
      const room = Math.max(pages, this.#spanAt.length * 2);
      this.#spanAt = grownInt32(this.#spanAt, room);
      this.#pageInUse = grownInt32(this.#pageInUse, room >>> 5);
    }
  }

  /**
   * pageAlloc.sysGrow: the page allocator's own memory for pages below `limit`, all GCSys. Each 4 KiB page of a
   * summary level covers 512 entries: 2 GiB of heap at the leaves, eight times more per level up; the root level is
   * 128 KiB at once; bitmaps come as 1 MiB per 32 GiB; the scavenge index has 8 bytes per 4 MiB chunk.
   */
  #mapPageMetadata(base: number, limit: number): void {
    if (limit <= base) return;
    const gib = (limit * pageSize) / 2 ** 30;
    const m = this.#metadata;
    m.root = this.#mapUpTo(m.root, 1, 128 * 1024);
    m.level1 = this.#mapUpTo(m.level1, Math.ceil(gib / 1024), 4096);
    m.level2 = this.#mapUpTo(m.level2, Math.ceil(gib / 128), 4096);
    m.level3 = this.#mapUpTo(m.level3, Math.ceil(gib / 16), 4096);
    m.leaf = this.#mapUpTo(m.leaf, Math.ceil(gib / 2), 4096);
    m.bitmaps = this.#mapUpTo(m.bitmaps, Math.ceil(gib / 32), 2 ** 20);
    if (this.rules.scavengeIndexBytesPerChunk > 0) {
      m.scavenge = this.#mapUpTo(m.scavenge, Math.ceil(gib / 2), 4096);
    }
  }

  #mapUpTo(have: number, need: number, unitBytes: number): number {
    if (need <= have) return have;
    this.sys.map(statGCMisc, (need - have) * unitBytes);
    // Of the large units only the pages in use are touched; one page is the right order for any of them.
    this.sys.touch(statGCMisc, (need - have) * 4096);
    return need;
  }
}
