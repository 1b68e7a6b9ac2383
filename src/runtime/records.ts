/**
 * Records: what stands where in the arrays that loops run through for every object or span, and what some of the fields say.
 *
 * A JavaScript engine checks an array and loads its length and address anew in every iteration of a loop, once for each array: so
 * what is used together is in one array, a record after the other. And it loads an imported constant, and tests whether its module has
 * run, at every use: so these are in a module that imports nothing, whose constants the bundler replaces by their values. Whether it
 * inlines a small function in such a loop differs from one process to the next: so what is done for every slot is written out.
 */

// A span's record in SpanTable.words (mspan.ts), in words of 32 bits: a cache line.

export const KIND = 0;
export const FIRST_SLOT = 1;
export const FREE_INDEX = 2;
export const ALLOC_COUNT = 3;
export const MAX_DEATH = 4;
export const FLAGS = 5;
export const MARKED = 6;
export const TOUCHED = 7;
export const NELEMS = 8;
export const SWEPT_TICK = 9;
export const SPC = 10;
export const STATE = 11;
export const SWEEPGEN = 12;
/** In units of ELEMSIZE_UNIT: all sizes are multiples of it, and the largest object has more bytes than a word counts. */
export const ELEMSIZE = 13;
export const BASE = 14;
export const NPAGES = 15;
export const SPAN_WORDS = 16;

export const ELEMSIZE_UNIT = 8;

// What FLAGS consists of.

/** needzero: the memory may be dirty, so objects are cleared when allocated. */
export const flagNeedzero = 1;
/** Some slot may hold an owner. Cleared by a mark that finds none. */
export const flagOwned = 2;
/** isUserArenaChunk (arena.go), and whether it was freed and waits in quarantine until nothing points into it. */
export const flagUserArena = 4;
export const flagQuarantined = 8;

// What is in STATE.

export const spanDead = 0;
/** mSpanInUse: holds garbage-collected objects. */
export const spanInUse = 1;
/** mSpanManual, by what for: stacks, and work buffers. */
export const spanStack = 2;
export const spanWorkBuf = 3;

// What is in KIND besides the kind of all objects.

/** Of a span without objects, and of one whose objects are of several kinds. */
export const kindNone = -2;
export const kindMixed = -1;

// The record of a span class of a P in Mcaches.alloc (mcache.ts), in words of 32 bits.

/** The cached span; -1 for none (Go's emptymspan). */
export const CACHED_SPAN = 0;
/** Which of the 32 slots from the span's freeIndex on are free, the first in the highest bit; 0 also if nobody has looked. */
export const ALLOC_CACHE = 1;
/** allocCount when the span was cached: what was used since is credited when it leaves. */
export const ALLOC_COUNT_BEFORE = 2;
export const CACHED_WORDS = 4;

// A kind's record in RunBudget.ofKind (malloc.ts), in doubles.

/** CPU nanoseconds of making one object. */
export const COST_NS = 0;
/** Bytes it takes in the heap, and what it adds to heapScan. */
export const ELEMSIZE_OF_KIND = 1;
export const SCAN_ALLOC_BYTES = 2;
/** A power of two. */
export const KIND_DOUBLES = 4;
