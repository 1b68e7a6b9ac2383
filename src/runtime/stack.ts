/**
 * Goroutine stacks: where their memory comes from and goes back to.
 *
 * Follows stack.go of Go 1.26 (linux/amd64): stacks are powers of two from 2 KiB. The four smallest sizes ("orders" 0..3,
 * 2 to 16 KiB) are cut from 32 KiB spans kept in stackpool, with a cache per P and order; larger ones are spans of their
 * own. StackInuse counts whole spans, so free stacks in the pool and in the caches are in it. While the collector
 * runs, empty spans are held back until freeStackSpans.
 *
 * A stack is named by a *handle*: its span's index times 16 plus its position in the span in units of 2 KiB. Handles stay
 * small for any heap size and double as links of the free lists, where Go threads them through the stacks themselves.
 *
 * Page residency: Go writes the link into the lowest word of every stack when it cuts a span, so a new span of 2 or 4 KiB
 * stacks is resident at once and one of 8 or 16 KiB stacks has one page of each. What goroutines write is runtime2.ts's.
 *
 * Simplified: stackalloc without a P (in the guts of exitsyscall) does not happen; GODEBUG efence, gcshrinkstackoff and
 * adaptivestackstart=0 are not offered. Operating-system stacks of threads are not here (they are not in StackInuse).
 */
import type { Os } from "../os/os.ts";

/** fixedStack: the smallest stack. */
export const FIXED_STACK_BYTES = 2048;
/** abi.StackNosplitBase: what a chain of unchecked calls may use below the guard's small frame. */
export const STACK_NOSPLIT_BYTES = 800;
/** stackGuard: StackNosplit + StackSmall; the distance from stack.lo at which a function prologue asks for more. */
export const STACK_GUARD_BYTES = 928;
/** maxstacksize on 64-bit: growing past it kills the program. */
export const MAX_STACK_BYTES = 1_000_000_000;
/** _NumStackOrders. */
export const STACK_ORDERS = 4;
/** _StackCacheSize: the size of a pool span, and of a P's cache per order. */
export const STACK_CACHE_BYTES = 32 * 1024;

const PAGE_BYTES = 8192;
const POOL_SPAN_PAGES = STACK_CACHE_BYTES / PAGE_BYTES;
/** Stacks of the smallest size in a pool span, hence handles per span. */
const UNITS = STACK_CACHE_BYTES / FIXED_STACK_BYTES;
/** spanOrder of a span that is one stack, and of a span record that is free. */
const ORDER_LARGE = STACK_ORDERS;
const ORDER_NONE = STACK_ORDERS + 1;
const NIL = -1;

/** What stacks need of the page heap: mheap.allocManual and freeManual with spanAllocStack. */
export interface StackSpans {
  /** Returns the span's first page (8 KiB pages from the heap's first arena). */
  allocStackSpan(npages: number): number;
  freeStackSpan(basePage: number): void;
}

/** round2: the smallest power of two >= n. */
export function round2(n: number): number {
  let size = 1;
  while (size < n) size *= 2;
  return size;
}

export class StackAllocator {
  /** Bytes of all stack spans: MemStats.StackInuse. */
  stackInuse = 0;
  /** False from the start of marking to mark termination (gcphase == _GCoff). Written by setGCPhase. */
  #gcOff = true;

  readonly #spans: StackSpans;
  readonly #os: Pick<Os, "touch">;
  #nprocs: number;

  // Stack spans, by span index. `#prev` and `#next` link the span into one list: stackpool's of its order while it has
  // a free stack, or stackLarge's of its size while it is free, or the unused records (next only).
  #base = new Int32Array(64);
  #npages = new Int32Array(64);
  #order = new Uint8Array(64).fill(ORDER_NONE);
  #allocCount = new Uint8Array(64);
  /** Head of the span's free stacks (manualFreeList), a handle or NIL. */
  #manualFreeList = new Int32Array(64);
  #prev = new Int32Array(64);
  #next = new Int32Array(64);
  /** By handle: the next free stack in whichever list this one is in. */
  #link = new Int32Array(64 * UNITS);
  #spanLimit = 0;
  #unusedSpan = NIL;

  /** stackpool: per order, first span with a free stack. */
  readonly #pool = new Int32Array(STACK_ORDERS).fill(NIL);
  /** stackLarge.free: by bit length of npages, spans freed while the collector ran. */
  readonly #large = new Int32Array(32).fill(NIL);
  /** mcache.stackcache: per P and order, list head and bytes. Index: p * STACK_ORDERS + order. */
  #cacheList: Int32Array;
  #cacheBytes: Int32Array;

  constructor(spans: StackSpans, os: Pick<Os, "touch">, nprocs: number) {
    this.#spans = spans;
    this.#os = os;
    this.#nprocs = nprocs;
    this.#cacheList = new Int32Array(nprocs * STACK_ORDERS).fill(NIL);
    this.#cacheBytes = new Int32Array(nprocs * STACK_ORDERS);
  }

  /** Tells whether the collector is marking; call at the start of the mark phase and in mark termination. */
  setGCPhase(marking: boolean): void {
    this.#gcOff = !marking;
  }

  /** Allocates a stack of `nbytes` (a power of two >= 2 KiB) on P `p` and returns its handle. */
  stackalloc(p: number, nbytes: number): number {
    if (nbytes >= STACK_CACHE_BYTES) return this.#allocLarge(nbytes / PAGE_BYTES);
    const order = orderOf(nbytes);
    const c = p * STACK_ORDERS + order;
    if (this.#cacheList[c] === NIL) this.#cacheRefill(c, order, nbytes);
    const stack = this.#cacheList[c];
    this.#cacheList[c] = this.#link[stack];
    this.#cacheBytes[c] -= nbytes;
    return stack;
  }

  /** Frees a stack on P `p`; `nbytes` is the size it was allocated with. */
  stackfree(p: number, stack: number, nbytes: number): void {
    if (nbytes >= STACK_CACHE_BYTES) {
      this.#freeLarge(stack / UNITS);
      return;
    }
    const order = orderOf(nbytes);
    const c = p * STACK_ORDERS + order;
    if (this.#cacheBytes[c] >= STACK_CACHE_BYTES) this.#cacheShrinkTo(c, order, STACK_CACHE_BYTES / 2);
    this.#link[stack] = this.#cacheList[c];
    this.#cacheList[c] = stack;
    this.#cacheBytes[c] += nbytes;
  }

  /** Byte address of the stack's low end. */
  lo(stack: number): number {
    const unit = stack & (UNITS - 1);
    return this.#base[(stack - unit) / UNITS] * PAGE_BYTES + unit * FIXED_STACK_BYTES;
  }

  /** stackcache_clear: part of flushing P `p`'s mcache (prepareForSweep after a GC, ReadMemStats). */
  stackcacheClear(p: number): void {
    for (let order = 0; order < STACK_ORDERS; order++)
      this.#cacheShrinkTo(p * STACK_ORDERS + order, order, 0);
  }

  /** Gives back the spans held during the GC; after mark termination, once the world runs again. */
  freeStackSpans(): void {
    for (let order = 0; order < STACK_ORDERS; order++) {
      for (let s = this.#pool[order]; s !== NIL; ) {
        const next = this.#next[s];
        if (this.#allocCount[s] === 0) {
          this.#unlink(this.#pool, order, s);
          this.#freeSpan(s);
        }
        s = next;
      }
    }
    for (let i = 0; i < this.#large.length; i++) {
      for (let s = this.#large[i]; s !== NIL; s = this.#large[i]) {
        this.#unlink(this.#large, i, s);
        this.#freeSpan(s);
      }
    }
  }

  /** procresize: the mcaches of Ps that go give their stacks back. */
  procresize(nprocs: number): void {
    for (let p = nprocs; p < this.#nprocs; p++) this.stackcacheClear(p);
    const kept = Math.min(nprocs, this.#nprocs) * STACK_ORDERS;
    const list = new Int32Array(nprocs * STACK_ORDERS).fill(NIL);
    const bytes = new Int32Array(nprocs * STACK_ORDERS);
    list.set(this.#cacheList.subarray(0, kept));
    bytes.set(this.#cacheBytes.subarray(0, kept));
    this.#cacheList = list;
    this.#cacheBytes = bytes;
    this.#nprocs = nprocs;
  }

  #cacheRefill(c: number, order: number, nbytes: number): void {
    let list = NIL;
    let size = 0;
    while (size < STACK_CACHE_BYTES / 2) {
      const stack = this.#poolAlloc(order, nbytes);
      this.#link[stack] = list;
      list = stack;
      size += nbytes;
    }
    this.#cacheList[c] = list;
    this.#cacheBytes[c] = size;
  }

  /** stackcacherelease down to half a cache, stackcache_clear down to nothing. */
  #cacheShrinkTo(c: number, order: number, bytes: number): void {
    const nbytes = FIXED_STACK_BYTES << order;
    let stack = this.#cacheList[c];
    while (this.#cacheBytes[c] > bytes) {
      const next = this.#link[stack];
      this.#poolFree(stack, order);
      stack = next;
      this.#cacheBytes[c] -= nbytes;
    }
    this.#cacheList[c] = stack;
  }

  #poolAlloc(order: number, nbytes: number): number {
    let s = this.#pool[order];
    if (s === NIL) {
      s = this.#newSpan(POOL_SPAN_PAGES, order);
      const lo = this.#base[s] * PAGE_BYTES;
      let list = NIL;
      for (let offset = 0; offset < STACK_CACHE_BYTES; offset += nbytes) {
        const stack = s * UNITS + offset / FIXED_STACK_BYTES;
        this.#link[stack] = list;
        list = stack;
        this.#os.touch(lo + offset, lo + offset + 8);
      }
      this.#manualFreeList[s] = list;
      this.#insert(this.#pool, order, s);
    }
    const stack = this.#manualFreeList[s];
    this.#manualFreeList[s] = this.#link[stack];
    this.#allocCount[s]++;
    if (this.#manualFreeList[s] === NIL) this.#unlink(this.#pool, order, s);
    return stack;
  }

  #poolFree(stack: number, order: number): void {
    const s = (stack - (stack & (UNITS - 1))) / UNITS;
    if (this.#manualFreeList[s] === NIL) this.#insert(this.#pool, order, s);
    this.#link[stack] = this.#manualFreeList[s];
    this.#manualFreeList[s] = stack;
    this.#allocCount[s]--;
    // A sudog being scanned may still point into a stack copied away from, so during marking the span stays.
    if (this.#gcOff && this.#allocCount[s] === 0) {
      this.#unlink(this.#pool, order, s);
      this.#freeSpan(s);
    }
  }

  #allocLarge(npages: number): number {
    const i = bitLength(npages);
    let s = this.#large[i];
    if (s !== NIL) this.#unlink(this.#large, i, s);
    else s = this.#newSpan(npages, ORDER_LARGE);
    this.#allocCount[s] = 1;
    return s * UNITS;
  }

  #freeLarge(s: number): void {
    this.#allocCount[s] = 0;
    if (this.#gcOff) this.#freeSpan(s);
    else this.#insert(this.#large, bitLength(this.#npages[s]), s);
  }

  #newSpan(npages: number, order: number): number {
    let s = this.#unusedSpan;
    if (s !== NIL) this.#unusedSpan = this.#next[s];
    else {
      s = this.#spanLimit++;
      if (s === this.#base.length) this.#grow();
    }
    this.#base[s] = this.#spans.allocStackSpan(npages);
    this.#npages[s] = npages;
    this.#order[s] = order;
    this.#allocCount[s] = 0;
    this.#manualFreeList[s] = NIL;
    this.stackInuse += npages * PAGE_BYTES;
    return s;
  }

  #freeSpan(s: number): void {
    this.#spans.freeStackSpan(this.#base[s]);
    this.stackInuse -= this.#npages[s] * PAGE_BYTES;
    this.#order[s] = ORDER_NONE;
    this.#next[s] = this.#unusedSpan;
    this.#unusedSpan = s;
  }

  #insert(heads: Int32Array, list: number, s: number): void {
    const first = heads[list];
    this.#prev[s] = NIL;
    this.#next[s] = first;
    if (first !== NIL) this.#prev[first] = s;
    heads[list] = s;
  }

  #unlink(heads: Int32Array, list: number, s: number): void {
    const prev = this.#prev[s];
    const next = this.#next[s];
    if (prev === NIL) heads[list] = next;
    else this.#next[prev] = next;
    if (next !== NIL) this.#prev[next] = prev;
  }

  #grow(): void {
    const length = this.#base.length * 2;
    this.#base = grown(this.#base, length);
    this.#npages = grown(this.#npages, length);
    this.#manualFreeList = grown(this.#manualFreeList, length);
    this.#prev = grown(this.#prev, length);
    this.#next = grown(this.#next, length);
    this.#link = grown(this.#link, length * UNITS);
    this.#order = grownBytes(this.#order, length);
    this.#allocCount = grownBytes(this.#allocCount, length);
  }

  /** Free bytes of P caches, for reports. */
  cachedBytes(): number {
    let bytes = 0;
    for (let c = 0; c < this.#cacheBytes.length; c++) bytes += this.#cacheBytes[c];
    return bytes;
  }

  /**
   * Recounts every stack byte: a span's stacks are free in it, in one P's cache, or held by somebody, and
   * `heldBytes` is what the goroutines and Ms say they hold. Expensive; throws with the numbers.
   */
  checkInvariants(heldBytes: number): void {
    const seen = new Uint8Array(this.#spanLimit * UNITS);
    const fail = (what: string): never => {
      throw new Error(`stack: ${what}`);
    };
    const walk = (head: number, order: number, where: string): number => {
      let bytes = 0;
      for (let stack = head; stack !== NIL; stack = this.#link[stack]) {
        if (seen[stack]++ !== 0) fail(`stack ${stack} is free twice, again in ${where}`);
        if (this.#order[Math.floor(stack / UNITS)] !== order)
          fail(`stack ${stack} of another size in ${where}`);
        bytes += FIXED_STACK_BYTES << order;
      }
      return bytes;
    };
    const cachedInSpan = new Int32Array(this.#spanLimit);
    let freeBytes = 0;
    for (let p = 0; p < this.#nprocs; p++) {
      for (let order = 0; order < STACK_ORDERS; order++) {
        const c = p * STACK_ORDERS + order;
        const bytes = walk(this.#cacheList[c], order, `P ${p}'s cache`);
        if (bytes !== this.#cacheBytes[c])
          fail(`P ${p} order ${order} caches ${bytes} bytes, kept ${this.#cacheBytes[c]}`);
        for (let stack = this.#cacheList[c]; stack !== NIL; stack = this.#link[stack])
          cachedInSpan[Math.floor(stack / UNITS)]++;
        freeBytes += bytes;
      }
    }
    const listed = new Uint8Array(this.#spanLimit);
    for (let order = 0; order < STACK_ORDERS; order++)
      for (let s = this.#pool[order]; s !== NIL; s = this.#next[s]) listed[s]++;
    for (let i = 0; i < this.#large.length; i++)
      for (let s = this.#large[i]; s !== NIL; s = this.#next[s]) listed[s]++;
    let spanBytes = 0;
    for (let s = 0; s < this.#spanLimit; s++) {
      const order = this.#order[s];
      if (order === ORDER_NONE) continue;
      spanBytes += this.#npages[s] * PAGE_BYTES;
      if (order === ORDER_LARGE) {
        if (this.#allocCount[s] + listed[s] !== 1) fail(`large span ${s} is neither held nor free`);
        if (listed[s] === 1) freeBytes += this.#npages[s] * PAGE_BYTES;
        continue;
      }
      const spanFree = walk(this.#manualFreeList[s], order, `span ${s}`);
      const size = FIXED_STACK_BYTES << order;
      if (spanFree + this.#allocCount[s] * size !== STACK_CACHE_BYTES)
        fail(`span ${s}: ${spanFree} bytes free and ${this.#allocCount[s]} stacks of ${size} out`);
      if (cachedInSpan[s] > this.#allocCount[s]) fail(`span ${s}: more stacks cached than handed out`);
      if ((listed[s] === 1) !== spanFree > 0) fail(`span ${s}: in the pool ${listed[s]} times`);
      freeBytes += spanFree;
    }
    if (spanBytes !== this.stackInuse) fail(`StackInuse ${this.stackInuse}, spans hold ${spanBytes}`);
    if (freeBytes + heldBytes !== spanBytes)
      fail(`${spanBytes} bytes of spans, ${freeBytes} free and ${heldBytes} held`);
  }
}

/** Order of a stack smaller than 32 KiB: log2(nbytes / 2 KiB). */
function orderOf(nbytes: number): number {
  return 20 - Math.clz32(nbytes);
}

/** stacklog2, which is in fact the bit length. */
function bitLength(n: number): number {
  return 32 - Math.clz32(n);
}

function grown(old: Int32Array, length: number): Int32Array<ArrayBuffer> {
  const array = new Int32Array(length);
  array.set(old);
  return array;
}

function grownBytes(old: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const array = new Uint8Array(length).fill(ORDER_NONE, old.length);
  array.set(old);
  return array;
}
