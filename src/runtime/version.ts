/**
 * What differs between Go releases, as data.
 *
 * Models: every rule, constant and structure size of the runtime's memory management that changed
 * between Go 1.19 and Go 1.26 and that some mechanism of the simulator depends on. The mechanisms
 * themselves never test a version: they read a field of `VersionRules`.
 *
 * Follows: the first stable patch release of each minor version unless a field says otherwise (a few
 * rules were changed by patch releases; the field then names the patch level modelled). Platform is
 * linux/amd64 throughout: 8 KiB runtime pages, 4 KiB OS pages, 64 MiB arenas. The structure sizes were
 * read from the debug information of programs compiled by 1.19.8, 1.20.14, 1.21.13, 1.22.12, 1.23.12,
 * 1.24.7, 1.25.1 and 1.26.8.
 *
 * Simplifies: compiler changes (escape analysis, stack-allocated slices) alter the workload, not the
 * runtime, and are not here. Experiments that are off by default are left out, so is every GODEBUG
 * setting that restores an older behaviour.
 *
 * Stops being true: for releases outside the table; for 32-bit and non-Linux platforms.
 */

export const VERSIONS = ["1.19", "1.20", "1.21", "1.22", "1.23", "1.24", "1.25", "1.26"] as const;

export type Version = (typeof VERSIONS)[number];

/**
 * How the measured cons/mark ratio of one cycle becomes the estimate for the next (mgcpacer.go, endCycle).
 * "pi": a proportional-integral controller tracks it; "mean2": mean of this and the previous measurement;
 * "max5": the largest of this and the previous four.
 */
export type ConsMarkRule = "pi" | "mean2" | "max5";

/** Where the pointer/scalar bitmap of the heap lives. */
export type HeapBitmap = "arena-2-bit" | "arena-1-bit" | "span";

/** When the heap is advised about transparent huge pages (mem_linux.go, mgcscavenge.go). */
export type HugePageAdvice = "per-release" | "per-chunk" | "none";

export interface VersionRules {
  readonly version: Version;

  // ---- Objects and spans (malloc.go, mbitmap.go, mheap.go) ----

  /** Objects with pointers larger than `minSizeForMallocHeader` carry an 8-byte type header (1.22). */
  readonly mallocHeaders: boolean;
  /** Bytes of that header; 0 where there is none. */
  readonly mallocHeaderSize: number;
  /** Largest size (bytes) that needs no header: pointer bits are in the span up to here. */
  readonly minSizeForMallocHeader: number;
  readonly heapBitmap: HeapBitmap;
  /** Spans of objects with pointers of at most 512 bytes end in a pointer bitmap: 1/64 of the span (1.22). */
  readonly heapBitsInSpan: boolean;
  /** Green Tea: one-page spans of 16..512-byte objects end in 128 bytes of mark bits (1.26 default). */
  readonly inlineMarkBits: boolean;
  /** Bytes of those mark bits; 0 where there are none. */
  readonly inlineMarkBitsBytes: number;
  readonly inlineMarkBitsMinElemsize: number;
  readonly inlineMarkBitsMaxElemsize: number;
  /** An object strictly larger than this gets a span of its own. Holds for noscan objects too. */
  readonly largeObjectThreshold: number;
  /** A span taken wholly from scavenged pages is known to be zero and is not cleared again (1.26). */
  readonly scavengedSpansAreZero: boolean;
  /** The first arena starts at a random chunk, and 0..511 pages of that chunk are lost (1.26). */
  readonly randomHeapBase: boolean;

  // ---- Pacer (mgcpacer.go) ----

  readonly consMarkRule: ConsMarkRule;
  /**
   * true: `triggered` is the computed trigger point at cycle start; false: the heapLive observed there.
   * 1.19 only, all of its patch releases.
   */
  readonly triggeredIsComputed: boolean;
  /** Headroom kept below the memory-limit goal: a flat minimum, or that minimum and 3 % of the goal. */
  readonly limitHeadroomRule: "flat" | "percent";
  /** The percentage used by "percent"; 0 for "flat". */
  readonly limitHeadroomPercent: number;

  /** New mark work also wakes an idle P to become an idle mark worker (1.26, Green Tea). */
  readonly enlistIdleWorkers: boolean;

  // ---- Sweeper (mgcsweep.go) ----

  /** Spans the background sweeper sweeps before it yields the processor. */
  readonly sweeperYieldSpans: number;
  /** It yields only when no P is idle (1.20), or every time. */
  readonly sweeperYieldsOnlyIfBusy: boolean;
  /**
   * deductSweepCredit is right for heapLive below the sweep basis. The first releases of 1.19 and 1.20 let the
   * difference wrap; the patch releases modelled (1.19.8, 1.20.14) have the fix of 1.21.
   */
  readonly sweepBasisUnderflowFixed: boolean;

  // ---- Page heap and scavenger (mpagealloc.go, mgcscavenge.go) ----

  /** Page caches of idle Ps are flushed after mark termination (1.21). */
  readonly idlePageCacheFlush: boolean;
  /** Background scavenging skips chunks that are, or were at generation start, >= 496/512 in use (1.21). */
  readonly scavengeDensityRule: boolean;
  /** The search within a chunk starts at the index's page (1.20); 1.19 restarts at the chunk's end. */
  readonly scavengeHonoursPageIndex: boolean;
  /** The limit-based background goal is right (1.22). Before, it is 95 times the limit: never reached. */
  readonly limitBackgroundScavenge: boolean;
  readonly hugePageAdvice: HugePageAdvice;
  /** Anonymous mappings are given names, `[anon: Go: heap]` (1.25). */
  readonly namesMappings: boolean;
  /** Layout of a GODEBUG=scavtrace=1 line: work and total, or background/eager/now/utilisation (1.21). */
  readonly scavtraceFormat: "total" | "split";

  // ---- Runtime structures, bytes ----

  readonly mspanStructBytes: number;
  readonly mcacheStructBytes: number;
  readonly heapArenaStructBytes: number;
  /** Bytes of scavenge index per 4 MiB chunk (1.21+); before, one bit per chunk, see below. */
  readonly scavengeIndexBytesPerChunk: number;
  /** Bytes counted as GCSys and mapped Ready for the scavenge index at start, never touched (1.19, 1.20). */
  readonly scavengeIndexInitialBytes: number;
  readonly specialBytes: number;
  readonly specialProfileBytes: number;
  readonly specialFinalizerBytes: number;
  /** 0 where runtime.AddCleanup does not exist. */
  readonly specialCleanupBytes: number;
  /** Weak pointers: the weak package from 1.24, the unique package alone in 1.23; 0 before. */
  readonly specialWeakHandleBytes: number;
  /** Per-P span queue and pointer buffers of the Green Tea marker exist. */
  readonly greenTeaQueues: boolean;
  /** The packed AVX-512 scan of dense spans is available, counting whole objects as scan work (1.26). */
  readonly denseSpanScan: boolean;

  // ---- Stacks and goroutines ----

  /** sizeof(runtime.g) and sizeof(runtime.sudog): heap objects, one per goroutine or blocked operation. */
  readonly gStructBytes: number;
  readonly sudogStructBytes: number;

  // ---- Accounting and reports (mgc.go, mstats.go, mprof.go) ----

  /**
   * CPU time booked for a pause: the whole pause times P, or (1.23) the stopping part once and the
   * stopped part times P. The times of a gctrace line are the former in all versions.
   */
  readonly pauseCpuAccounting: "all-procs" | "stopping-then-all-procs";
  /** 1.19 prints maxStackScan as the stacks figure of a gctrace line, later releases lastStackScan. */
  readonly gctraceStackFromMaxScan: boolean;
  /** Default limit on frames of a profile stack (part of a bucket's size). */
  readonly profileStackDepth: number;
  /** An allocation is sampled when the countdown drops below zero (1.24), or before it is charged. */
  readonly profileSampleRule: "compare-then-subtract" | "subtract-then-compare";
  /** GOMAXPROCS follows the cgroup CPU limit when unset (1.25). */
  readonly gomaxprocsFromCgroup: boolean;
}

const go119: VersionRules = {
  version: "1.19",
  mallocHeaders: false,
  mallocHeaderSize: 0,
  minSizeForMallocHeader: 512,
  heapBitmap: "arena-2-bit",
  heapBitsInSpan: false,
  inlineMarkBits: false,
  inlineMarkBitsBytes: 0,
  inlineMarkBitsMinElemsize: 16,
  inlineMarkBitsMaxElemsize: 512,
  largeObjectThreshold: 32768,
  scavengedSpansAreZero: false,
  randomHeapBase: false,
  consMarkRule: "pi",
  triggeredIsComputed: true,
  limitHeadroomRule: "flat",
  limitHeadroomPercent: 0,
  enlistIdleWorkers: false,
  sweeperYieldSpans: 1,
  sweeperYieldsOnlyIfBusy: false,
  sweepBasisUnderflowFixed: true,
  idlePageCacheFlush: false,
  scavengeDensityRule: false,
  scavengeHonoursPageIndex: false,
  limitBackgroundScavenge: false,
  hugePageAdvice: "per-release",
  namesMappings: false,
  scavtraceFormat: "total",
  // 1.19.4 and later patch releases; 136 before (freeIndexForScan was added by a security fix).
  mspanStructBytes: 144,
  mcacheStructBytes: 1200,
  heapArenaStructBytes: 2_165_776,
  scavengeIndexBytesPerChunk: 0,
  scavengeIndexInitialBytes: 4_218_880,
  specialBytes: 16,
  specialProfileBytes: 24,
  specialFinalizerBytes: 48,
  specialCleanupBytes: 0,
  specialWeakHandleBytes: 0,
  greenTeaQueues: false,
  denseSpanScan: false,
  gStructBytes: 392,
  sudogStructBytes: 88,
  pauseCpuAccounting: "all-procs",
  gctraceStackFromMaxScan: true,
  profileStackDepth: 32,
  profileSampleRule: "compare-then-subtract",
  gomaxprocsFromCgroup: false,
};

const go120: VersionRules = {
  ...go119,
  version: "1.20",
  heapBitmap: "arena-1-bit",
  consMarkRule: "mean2",
  triggeredIsComputed: false,
  sweeperYieldSpans: 10,
  sweeperYieldsOnlyIfBusy: true,
  scavengeHonoursPageIndex: true,
  mspanStructBytes: 160,
  heapArenaStructBytes: 1_133_584,
  gctraceStackFromMaxScan: false,
};

const go121: VersionRules = {
  ...go120,
  version: "1.21",
  consMarkRule: "max5",
  limitHeadroomRule: "percent",
  limitHeadroomPercent: 3,
  idlePageCacheFlush: true,
  scavengeDensityRule: true,
  // 1.21.4 and later; 1.21.0 advised per chunk, 1.21.1..1.21.3 collapsed chunks.
  hugePageAdvice: "none",
  scavtraceFormat: "split",
  mspanStructBytes: 168,
  gStructBytes: 408,
  scavengeIndexBytesPerChunk: 8,
  scavengeIndexInitialBytes: 0,
};

const go122: VersionRules = {
  ...go121,
  version: "1.22",
  mallocHeaders: true,
  mallocHeaderSize: 8,
  heapBitmap: "span",
  heapBitsInSpan: true,
  largeObjectThreshold: 32760,
  limitBackgroundScavenge: true,
  mspanStructBytes: 160,
  heapArenaStructBytes: 68_624,
  gStructBytes: 424,
};

const go123: VersionRules = {
  ...go122,
  version: "1.23",
  pauseCpuAccounting: "stopping-then-all-procs",
  profileStackDepth: 128,
  specialWeakHandleBytes: 24,
  gStructBytes: 432,
};

const go124: VersionRules = {
  ...go123,
  version: "1.24",
  mcacheStructBytes: 1208,
  specialBytes: 24,
  specialProfileBytes: 32,
  specialFinalizerBytes: 56,
  specialCleanupBytes: 40,
  specialWeakHandleBytes: 32,
  gStructBytes: 440,
  profileSampleRule: "subtract-then-compare",
};

const go125: VersionRules = {
  ...go124,
  version: "1.25",
  namesMappings: true,
  heapArenaStructBytes: 69_648,
  gomaxprocsFromCgroup: true,
};

const go126: VersionRules = {
  ...go125,
  version: "1.26",
  inlineMarkBits: true,
  inlineMarkBitsBytes: 128,
  scavengedSpansAreZero: true,
  randomHeapBase: true,
  enlistIdleWorkers: true,
  mcacheStructBytes: 2296,
  specialCleanupBytes: 56,
  greenTeaQueues: true,
  denseSpanScan: true,
  gStructBytes: 456,
  sudogStructBytes: 104,
};

const TABLE: Readonly<Record<Version, VersionRules>> = {
  "1.19": go119,
  "1.20": go120,
  "1.21": go121,
  "1.22": go122,
  "1.23": go123,
  "1.24": go124,
  "1.25": go125,
  "1.26": go126,
};

/** The rules of one release. */
export function rulesFor(version: Version): VersionRules {
  return TABLE[version];
}
