/**
 * Heap statistics at the runtime's own granularity, and the cost counters of the allocator.
 *
 * Models memstats.heapStats and the counters of gcController that mirror it (mstats.go, Go 1.26). Allocations are
 * credited when their span leaves an mcache, large ones at once, frees when their span is swept; so at any moment
 * the figures lag by what the cached spans have given out. runtime/metrics shows exactly this. ReadMemStats
 * differs: it first flushes every mcache.
 */
import { classToSize, numSizeClasses } from "./sizeclasses.ts";

export class HeapStats {
  /** Objects of small size classes allocated and freed, by size class. */
  readonly smallAllocCount = new Float64Array(numSizeClasses);
  readonly smallFreeCount = new Float64Array(numSizeClasses);
  /** Tiny objects packed into existing blocks: counted as allocated and freed at once. */
  tinyAllocCount = 0;
  /** Bytes and objects of large allocations and frees. */
  largeAlloc = 0;
  largeAllocCount = 0;
  largeFree = 0;
  largeFreeCount = 0;
  /** gcController.totalAlloc and totalFree, bytes. Inputs of the memory-limit goal. */
  totalAlloc = 0;
  totalFree = 0;
  /** Bytes of spans holding objects (HeapInuse). */
  heapInUse = 0;
  /** Bytes of free pages that are not scavenged. */
  heapFree = 0;
  /** Bytes of scavenged or never used pages (HeapReleased). */
  heapReleased = 0;
  /** Bytes of stack spans and of GC work buffers, both carved out of the heap. */
  inStacks = 0;
  inWorkBufs = 0;

  /** Cumulative objects allocated: MemStats.Mallocs without flushing. */
  get mallocs(): number {
    let n = this.largeAllocCount + this.tinyAllocCount;
    for (let c = 1; c < numSizeClasses; c++) n += this.smallAllocCount[c];
    return n;
  }

  get frees(): number {
    let n = this.largeFreeCount + this.tinyAllocCount;
    for (let c = 1; c < numSizeClasses; c++) n += this.smallFreeCount[c];
    return n;
  }

  /** Bytes of the objects counted as allocated and not freed (HeapAlloc without flushing). */
  get heapAlloc(): number {
    let n = this.largeAlloc - this.largeFree;
    for (let c = 1; c < numSizeClasses; c++) {
      n += (this.smallAllocCount[c] - this.smallFreeCount[c]) * classToSize[c];
    }
    return n;
  }

  get heapObjects(): number {
    return this.mallocs - this.frees;
  }

  /** HeapSys: address space of the heap ever mapped, less what stacks and work buffers have of it. */
  get heapSys(): number {
    return this.heapInUse + this.heapFree + this.heapReleased;
  }

  get heapIdle(): number {
    return this.heapFree + this.heapReleased;
  }
}

/** What the allocator has done since the process started. */
export interface WorkTotals {
  spansAllocated: number;
  spansFreed: number;
  spansSwept: number;
  largeAllocs: number;
  heapGrowths: number;
  growthBytes: number;
}

/** What the allocator did, for the scheduler to charge time for. Plain counts; `reset` after reading. */
export class HeapWork {
  /** mcache refills. */
  refills = 0;
  /** Spans taken from the page heap for objects, and their objects' slots. */
  spansAllocated = 0;
  /** Spans swept by whoever called, and their slots. */
  spansSwept = 0;
  slotsSwept = 0;
  /** Bytes cleared because the memory was dirty. */
  bytesZeroed = 0;
  /** Times the heap was grown, and by how much. */
  heapGrowths = 0;
  growthBytes = 0;
  largeAllocs = 0;
  /** Runtime pages freed by the reclaimer. */
  reclaimedPages = 0;
  /** Spans returned to the page heap. */
  spansFreed = 0;
  /** CPU nanoseconds of allocations that gave memory back. */
  scavengeNs = 0;

  /** All of it up to the last reset. */
  readonly total: WorkTotals = {
    spansAllocated: 0,
    spansFreed: 0,
    spansSwept: 0,
    largeAllocs: 0,
    heapGrowths: 0,
    growthBytes: 0,
  };

  reset(): void {
    this.total.spansAllocated += this.spansAllocated;
    this.total.spansFreed += this.spansFreed;
    this.total.spansSwept += this.spansSwept;
    this.total.largeAllocs += this.largeAllocs;
    this.total.heapGrowths += this.heapGrowths;
    this.total.growthBytes += this.growthBytes;
    this.refills = 0;
    this.spansAllocated = 0;
    this.spansSwept = 0;
    this.slotsSwept = 0;
    this.bytesZeroed = 0;
    this.heapGrowths = 0;
    this.growthBytes = 0;
    this.largeAllocs = 0;
    this.reclaimedPages = 0;
    this.spansFreed = 0;
    this.scavengeNs = 0;
  }
}
