/**
 * Spans as records in one array, and the slots their objects live in.
 *
 * Models mspan of mheap.go (Go 1.26) and, in place of its alloc and mark bitmaps, one 32-bit word per object slot
 * that says when the object in it dies:
 *
 *    v > 0   dies at tick v (`forever` = 0x7fffffff)
 *    v < 0   belongs to owner ~v and lives until OwnerTable says that owner ended
 *    v = 0   nothing was ever there
 *
 * A slot is free for allocation iff 0 <= v <= sweptTick, the start of the mark the span was last swept for: a dead
 * object that no mark has seen, or whose span is not swept, still occupies its slot. As unsigned numbers owners
 * compare above every tick, so the test is one comparison: (v >>> 0) <= sweptTick. A mark gives the slots of owners
 * it finds dead its own tick as death, so that only its sweep frees them.
 *
 * All slots are in one array, those of a span side by side, taken from a free list per span length: 4 bytes a slot, plus 2
 * where objects of several kinds share spans. One array, not many: its address and length stay in registers in loops that go
 * from span to span. It is replaced when it grows, so whatever may make a span has to be followed by reading it anew; it seldom
 * grows, as a heap reserves address space: what was never written of a large array takes no memory. Slots are handed on
 * without clearing: whatever a dead span left behind is no later than the last mark, and a new span starts with that mark
 * as its sweptTick. Hence a span without survivors is freed without touching its slots.
 *
 * `maxDeath` bounds the deaths in a span from above (survivors of a mark keep the bound valid); a span with no
 * owned objects whose bound is not after a mark's start has no survivors. What a span's record consists of is in records.ts.
 */
import { grownInt32 } from "./kinds.ts";
import {
  ALLOC_COUNT,
  BASE,
  ELEMSIZE,
  ELEMSIZE_UNIT,
  FIRST_SLOT,
  FLAGS,
  FREE_INDEX,
  KIND,
  MARKED,
  MAX_DEATH,
  NELEMS,
  NPAGES,
  SPAN_WORDS,
  SPC,
  STATE,
  SWEEPGEN,
  SWEPT_TICK,
  spanDead,
  TOUCHED,
} from "./records.ts";

/**
 * How many slots the store has room for: at first, then each time it grows; the last is the most, as slots are numbered in 32 bits.
 *
 * To grow is to copy, for which the old array and the new one, as far as it is copied, are in memory at once: twice what the slots
 * take. The steps put that where it is little (at 1 MiB) or rare: between them, heaps of up to 2^28 objects (16 GiB of 64 B each)
 * are never copied again. An engine counts an array's whole length when it decides whether to collect, so small heaps reserve
 * little: a collection that a large reserve brings forward costs little beside filling so much.
 */
const capacities = [2 ** 18, 2 ** 28, 2 ** 31];

const noKinds = new Uint16Array(0);

/**
 * An array of `wanted` elements, or of only `least` where the system does not give address space for as many: it limits that, or
 * counts what is reserved as used. Throws what the engine throws when it does not get memory for them, either.
 */
function reserved<T>(make: new (n: number) => T, wanted: number, least: number): T {
  try {
    return new make(wanted);
  } catch {
    return new make(least);
  }
}

/** Storage for the slots of all spans. */
export class SlotStore {
  /** Death words. */
  death = new Int32Array(capacities[0]);
  /** Kinds, once there is a span of several; empty before. */
  kind = noKinds;
  /** Free blocks by length: their first slots, as stacks. */
  readonly #free: (Int32Array | undefined)[] = new Array(1025);
  readonly #freeCount = new Int32Array(1025);
  #used = 0;

  /** The first of n <= 1024 contiguous slots. */
  alloc(n: number): number {
    const count = this.#freeCount[n];
    if (count > 0) {
      this.#freeCount[n] = count - 1;
      return (this.#free[n] as Int32Array)[count - 1];
    }
    if (this.#used + n > this.#capacity) this.#grow();
    const first = this.#used;
    this.#used += n;
    return first;
  }

  free(first: number, n: number): void {
    const count = this.#freeCount[n];
    let stack = this.#free[n];
    if (stack === undefined) this.#free[n] = stack = new Int32Array(16);
    else if (count === stack.length) this.#free[n] = stack = grownInt32(stack, count * 2);
    stack[count] = first;
    this.#freeCount[n] = count + 1;
  }

  /** How many of slots [from, to), none of which has an owner, die after `tick`. Branch-free: the sign of tick - v is the answer. */
  countAfter(tick: number, from: number, to: number): number {
    const { death } = this;
    let n = 0;
    let i = from;
    // By fours: see records.ts of what an iteration costs.
    for (; i + 3 < to; i += 4)
      n +=
        ((tick - death[i]) >>> 31) +
        ((tick - death[i + 1]) >>> 31) +
        ((tick - death[i + 2]) >>> 31) +
        ((tick - death[i + 3]) >>> 31);
    for (; i < to; i++) n += (tick - death[i]) >>> 31;
    return n;
  }

  /** `kind`, made on first use. */
  kinds(): Uint16Array {
    if (this.kind.length === 0) {
      // A power of two, as every other length.
      const least = 2 ** (32 - Math.clz32(this.#used));
      this.kind = reserved(Uint16Array, this.death.length, Math.min(least, this.death.length));
    }
    return this.kind;
  }

  /** Slots there is room for in both arrays. */
  get #capacity(): number {
    return this.kind.length === 0 ? this.death.length : Math.min(this.death.length, this.kind.length);
  }

  #grow(): void {
    const had = this.#capacity;
    const wanted = capacities.find((n) => n > had);
    if (wanted === undefined) throw new RangeError(`allocation failed: more than ${had} slots`);
    if (this.death.length === had) {
      const death = reserved(Int32Array, wanted, had * 2);
      death.set(this.death);
      this.death = death;
    }
    if (this.kind.length === had) {
      const kind = reserved(Uint16Array, wanted, had * 2);
      kind.set(this.kind);
      this.kind = kind;
    }
  }
}

/**
 * The records of all spans, one after the other in one array. A span's number is where its record begins, as an mspan's address
 * is: a field is `words[s + FREE_INDEX]`, or by its name `freeIndex[s]`, a view of the same memory that begins with the first
 * record's field. Loops that are run for every object or span use `words`: a JavaScript engine checks an array and loads its
 * length and address anew in every iteration, once for each array. Both are replaced when the table grows, so whatever may make a
 * span has to be followed by reading them anew. Numbers of dead spans are used again.
 */
export class SpanTable {
  /** Where the records end: loops run over [0, end) in steps of SPAN_WORDS. */
  end = 0;
  words!: Int32Array;
  #freeIds = new Int32Array(1024);
  #freeCount = 0;

  /** Kind of all its objects, or kindNone, or kindMixed (then the slots' own kinds hold). */
  kind!: Int32Array;
  /** Its first slot in the SlotStore. */
  firstSlot!: Int32Array;
  /** Slots below are allocated; the search for a free one starts here. */
  freeIndex!: Int32Array;
  allocCount!: Int32Array;
  /** Upper bound of the death ticks in the span; owned objects do not count. */
  maxDeath!: Int32Array;
  /** Objects marked in the current or last mark, those allocated black included. Sweeping resets it. */
  marked!: Int32Array;
  /** Slots [0, touched) lie on resident OS pages. */
  touched!: Int32Array;
  nelems!: Int32Array;
  /** Slots with a death no later than this are free. Written by allocation and sweep. */
  sweptTick!: Int32Array;
  /** Span class; meaningless for manual spans. */
  spc!: Int32Array;
  state!: Int32Array;
  /** See records.ts. */
  flags!: Int32Array;
  /** First page. */
  base!: Int32Array;
  npages!: Int32Array;
  /** Relative to the heap's sweepgen: -2 needs sweeping, 0 swept, +1 cached and stale, +3 cached. */
  sweepgen!: Int32Array;

  constructor() {
    this.#useWords(new Int32Array(1024 * SPAN_WORDS));
  }

  /** A span number; the caller fills in the fields. */
  alloc(): number {
    if (this.#freeCount > 0) return this.#freeIds[--this.#freeCount];
    if (this.end === this.words.length) this.#useWords(grownInt32(this.words, this.words.length * 2));
    const s = this.end;
    this.end += SPAN_WORDS;
    return s;
  }

  free(s: number): void {
    this.words[s + STATE] = spanDead;
    if (this.#freeCount === this.#freeIds.length) {
      this.#freeIds = grownInt32(this.#freeIds, this.#freeCount * 2);
    }
    this.#freeIds[this.#freeCount++] = s;
  }

  /** Bytes of an element; for a large object its whole pages. */
  elemsizeOf(s: number): number {
    return this.words[s + ELEMSIZE] * ELEMSIZE_UNIT;
  }

  setElemsize(s: number, bytes: number): void {
    const units = bytes / ELEMSIZE_UNIT;
    if (units !== (units | 0)) throw new RangeError(`elements of ${bytes} bytes`);
    this.words[s + ELEMSIZE] = units;
  }

  #useWords(words: Int32Array): void {
    const view = (field: number): Int32Array => words.subarray(field);
    this.words = words;
    this.kind = view(KIND);
    this.firstSlot = view(FIRST_SLOT);
    this.freeIndex = view(FREE_INDEX);
    this.allocCount = view(ALLOC_COUNT);
    this.maxDeath = view(MAX_DEATH);
    this.marked = view(MARKED);
    this.touched = view(TOUCHED);
    this.nelems = view(NELEMS);
    this.sweptTick = view(SWEPT_TICK);
    this.spc = view(SPC);
    this.state = view(STATE);
    this.flags = view(FLAGS);
    this.base = view(BASE);
    this.npages = view(NPAGES);
    this.sweepgen = view(SWEEPGEN);
  }
}
