/**
 * Spans as a structure of arrays, and the slots their objects live in.
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
 * from span to span. It is replaced when it grows, so whatever may make a span has to be followed by reading it anew. Slots are
 * handed on without clearing: whatever a dead span left behind is no later than the last mark, and a new span starts with
 * that mark as its sweptTick. Hence a span without survivors is freed without touching its slots.
 *
 * `maxDeath` bounds the deaths in a span from above (survivors of a mark keep the bound valid); a span with no
 * owned objects whose bound is not after a mark's start has no survivors.
 */
import { grownFloat64, grownInt32, grownUint8 } from "./kinds.ts";

export const spanDead = 0;
/** mSpanInUse: holds garbage-collected objects. */
export const spanInUse = 1;
/** mSpanManual, by what for: stacks, and work buffers. */
export const spanStack = 2;
export const spanWorkBuf = 3;

/** `kind` of a span without objects, and of one whose objects are of several kinds. */
export const kindNone = -2;
export const kindMixed = -1;

/** What the store begins with, and the most it can hold: slots are numbered in 32 bits. */
const firstSlots = 1 << 16;
const maxSlots = 2 ** 31;

const noKinds = new Uint16Array(0);

/** Storage for the slots of all spans. */
export class SlotStore {
  /** Death words. */
  death = new Int32Array(firstSlots);
  /** Kinds, as long as `death` once there is a span of several; empty before. */
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
    if (this.#used + n > this.death.length) this.#grow();
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

  /** `kind`, made on first use. */
  kinds(): Uint16Array {
    if (this.kind.length === 0) this.kind = new Uint16Array(this.death.length);
    return this.kind;
  }

  /** What was never written of an array takes no memory yet, so doubling it does not double what the simulator holds. */
  #grow(): void {
    const n = this.death.length * 2;
    if (n > maxSlots) throw new RangeError(`slot store: more than ${maxSlots} slots`);
    this.death = grownInt32(this.death, n);
    if (this.kind.length === 0) return;
    const kind = new Uint16Array(n);
    kind.set(this.kind);
    this.kind = kind;
  }
}

/** Fields of all spans, by span number. Numbers of dead spans are used again. */
export class SpanTable {
  /** Number of span numbers ever used: loops run over [0, count). */
  count = 0;
  #capacity = 1024;
  #freeIds = new Int32Array(1024);
  #freeCount = 0;

  /** First page. */
  base = new Int32Array(1024);
  npages = new Int32Array(1024);
  /** Span class; meaningless for manual spans. */
  spc = new Uint8Array(1024);
  state = new Uint8Array(1024);
  /** needzero: the memory may be dirty, so objects are cleared when allocated. */
  needzero = new Uint8Array(1024);
  /** 1 for a user arena chunk (arena.go). */
  userArena = new Uint8Array(1024);
  /** Some slot may hold an owner. Cleared by a mark that finds none. */
  hasOwned = new Uint8Array(1024);
  /** Relative to the heap's sweepgen: -2 needs sweeping, 0 swept, +1 cached and stale, +3 cached. */
  sweepgen = new Int32Array(1024);
  nelems = new Int32Array(1024);
  /** Bytes of an element; for a large object its whole pages. */
  elemsize = new Float64Array(1024);
  /** Slots below are allocated; the search for a free one starts here. */
  freeIndex = new Int32Array(1024);
  allocCount = new Int32Array(1024);
  /** allocCount when the span entered its mcache: what was used since is credited when it leaves. */
  allocCountBeforeCache = new Int32Array(1024);
  /** Objects marked in the current or last mark, those allocated black included. Sweeping resets it. */
  marked = new Int32Array(1024);
  /** Slots with a death no later than this are free. Written by allocation and sweep. */
  sweptTick = new Int32Array(1024);
  /** Upper bound of the death ticks in the span; owned objects do not count. */
  maxDeath = new Int32Array(1024);
  /** Kind of all its objects, or kindNone, or kindMixed (then the slots' own kinds hold). */
  kind = new Int32Array(1024);
  /** Slots [0, touched) lie on resident OS pages. */
  touched = new Int32Array(1024);
  /** Its first slot in the SlotStore. */
  firstSlot = new Int32Array(1024);

  /** A span number; the caller fills in the fields. */
  alloc(): number {
    if (this.#freeCount > 0) return this.#freeIds[--this.#freeCount];
    if (this.count === this.#capacity) this.#grow();
    return this.count++;
  }

  free(s: number): void {
    this.state[s] = spanDead;
    if (this.#freeCount === this.#freeIds.length) {
      this.#freeIds = grownInt32(this.#freeIds, this.#freeCount * 2);
    }
    this.#freeIds[this.#freeCount++] = s;
  }

  #grow(): void {
    const n = this.#capacity * 2;
    this.#capacity = n;
    this.base = grownInt32(this.base, n);
    this.npages = grownInt32(this.npages, n);
    this.spc = grownUint8(this.spc, n);
    this.state = grownUint8(this.state, n);
    this.needzero = grownUint8(this.needzero, n);
    this.userArena = grownUint8(this.userArena, n);
    this.hasOwned = grownUint8(this.hasOwned, n);
    this.sweepgen = grownInt32(this.sweepgen, n);
    this.nelems = grownInt32(this.nelems, n);
    this.elemsize = grownFloat64(this.elemsize, n);
    this.freeIndex = grownInt32(this.freeIndex, n);
    this.allocCount = grownInt32(this.allocCount, n);
    this.allocCountBeforeCache = grownInt32(this.allocCountBeforeCache, n);
    this.marked = grownInt32(this.marked, n);
    this.sweptTick = grownInt32(this.sweptTick, n);
    this.maxDeath = grownInt32(this.maxDeath, n);
    this.kind = grownInt32(this.kind, n);
    this.touched = grownInt32(this.touched, n);
    this.firstSlot = grownInt32(this.firstSlot, n);
  }
}
