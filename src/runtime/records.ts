/**
 * Records: what stands where in the arrays that loops run through for every object or span, and what some of the fields say.
 *
 * A JavaScript engine checks an array and loads its length and address anew in every iteration of a loop, once for each array: so
 * what is used together is in one array, a record after the other. And it loads an imported constant, and tests whether its module has
 * run, at every use: so these are in a module that imports nothing, whose constants the bundler replaces by their values.
 */

// A span's record in SpanTable.words (mspan.ts), in words of 32 bits. What an allocation needs comes first.

export const KIND = 0;
export const FIRST_SLOT = 1;
export const FREE_INDEX = 2;
export const ALLOC_CACHE = 3;
export const ALLOC_COUNT = 4;
export const MAX_DEATH = 5;
export const NEEDZERO = 6;
export const MARKED = 7;
export const TOUCHED = 8;
export const NELEMS = 9;
export const SWEPT_TICK = 10;
export const HAS_OWNED = 11;
export const SPC = 12;
export const STATE = 13;
/** 64 bits. */
export const ELEMSIZE = 14;
export const BASE = 16;
export const NPAGES = 17;
export const SWEEPGEN = 18;
export const ALLOC_COUNT_BEFORE_CACHE = 19;
export const USER_ARENA = 20;
/** Even, for the field of 64 bits. */
export const SPAN_WORDS = 22;

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

// A kind's record in RunBudget.ofKind (malloc.ts), in doubles.

/** CPU nanoseconds of making one object. */
export const COST_NS = 0;
/** Bytes it takes in the heap, and what it adds to heapScan. */
export const ELEMSIZE_OF_KIND = 1;
export const SCAN_ALLOC_BYTES = 2;
/** A power of two. */
export const KIND_DOUBLES = 4;
