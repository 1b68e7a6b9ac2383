/**
 * The table of goroutines, live and dead, and what each does to stack memory.
 *
 * Follows Go 1.26 (linux/amd64): newproc1, malg, gfget, gfput, gdestroy and allgadd of proc.go; newstack, copystack,
 * shrinkstack and gcComputeStartingStackSize of stack.go; scanstack and markrootFreeGStacks of mgcmark.go;
 * addScannableStack of mgcpacer.go. A goroutine here is an index into allgs: a g is never freed, a dead one is reused.
 *
 * `used` is stack.hi - sp. It is what scanning a stack counts as work, and what shrinking and the adaptive
 * starting size look at. A goroutine that parks uses its own frames plus the runtime's (PARKED_*_BYTES).
 *
 * Simplified:
 * - frames are small against the stack, so a growing stack doubles step by step and is copied when it is used up to
 *   the guard (newstack jumps over sizes for one huge frame);
 * - every stack may shrink when scanned (Go postpones it for a goroutine preempted asynchronously or in a syscall);
 * - the objects around a goroutine other than its g are the caller's: the closure of the go statement, the sudog of a
 *   channel operation (104 bytes, one per channel waited for), the timer of a sleep (96 bytes).
 * Where it stops being true: goroutines locked to threads, cgo callbacks, GODEBUG=adaptivestackstart=0 or gcshrinkstackoff=1.
 */
import type { Os } from "../os/os.ts";
import {
  FIXED_STACK_BYTES,
  MAX_STACK_BYTES,
  round2,
  STACK_GUARD_BYTES,
  STACK_NOSPLIT_BYTES,
  type StackAllocator,
} from "./stack.ts";

/** sizeof(g) in Go 1.26 (version.ts has every release's), and its bytes up to the last pointer, which scanning it costs. */
export const G_BYTES = 456;
export const G_PTR_BYTES = 400;

/** What newproc1 and gostartcall leave on a fresh stack: four reserved words and goexit's return address. */
export const NEW_STACK_USED_BYTES = 40;
/** `used` of a goroutine parked in the runtime, without its own frames: frames of goexit, the operation and gopark. */
export const PARKED_CHAN_RECEIVE_BYTES = 232;
export const PARKED_SELECT_BYTES = 376;
export const PARKED_SLEEP_BYTES = 160;

/** maxStackScanSlack: a P's change of the scannable stack total is passed on when it reaches this. */
const MAX_STACK_SCAN_SLACK_BYTES = 8192;
/** Stacks of an M other than the first: g0 (malg(16384)); every M: gsignal (malg(32 * 1024)). */
const G0_STACK_BYTES = 16384;
const GSIGNAL_STACK_BYTES = 32768;
/** A P's free list spills half to the global one at 64 gs, and fills up to 32 from it. */
const GFREE_SPILL = 64;
const GFREE_BATCH = 32;
const NIL = -1;

export interface GoroutineHooks {
  /** P `p` allocates a g, `new(g)`: gStructBytes (version.ts) on the heap, never freed. Called before its stack is allocated. */
  newG(p: number): void;
  /**
   * P `p` appends to a full allgs: allocates a slice of at least `length` pointers, leaving the old one of
   * `oldCap` to the collector, and returns the new capacity. See nextslicecap.
   */
  growAllgs(p: number, length: number, oldCap: number): number;
  /** gcController.maxStackScan changes by `bytes`. */
  addMaxStackScan(bytes: number): void;
}

/** nextslicecap of slice.go for an append of one: the capacity before rounding up to a size class. */
export function nextslicecap(length: number, oldCap: number): number {
  if (length > oldCap * 2) return length;
  if (oldCap < 256) return oldCap * 2;
  return oldCap + Math.floor((oldCap + 3 * 256) / 4);
}

export class Goroutines {
  /** Starting stack of a reused g, a power of two; set by gcComputeStartingStackSize. */
  startingStackSize = FIXED_STACK_BYTES;
  /** Ms there are. They stay. */
  threads = 0;
  /** Goroutines ever made: len(allgs). Dead ones are scanned as roots too (at the price of a look). */
  allglen = 0;
  /** Goroutines alive. */
  live = 0;
  /** Goroutines started so far. */
  created = 0;
  /** Total of live goroutines' whole stacks, exact (maxStackScan lags behind by less than 8 KiB per P). */
  scannableStackBytes = 0;

  // What the scanning of stacks did since startScan.
  /** Used bytes of all stacks scanned: stackScanWork. */
  scannedBytes = 0;
  scannedStacks = 0;
  shrunkStacks = 0;
  /** Bytes copied by shrinking. */
  shrinkCopiedBytes = 0;
  /** Since the start of the run: stacks grown (one per doubling) and bytes copied by that. */
  grownStacks = 0;
  growCopiedBytes = 0;

  readonly #stacks: StackAllocator;
  readonly #os: Pick<Os, "touch">;
  readonly #hooks: GoroutineHooks;
  #nprocs: number;

  // By g.
  /** Handle of its stack; meaningless while #stackLog2 is 0. */
  #stack = new Int32Array(64);
  /** log2 of its stack's bytes; 0 for a dead g without one. */
  #stackLog2 = new Uint8Array(64);
  /** stack.hi - sp, bytes. */
  #used = new Int32Array(64);
  #alive = new Uint8Array(64);
  #schedlink = new Int32Array(64);
  #allgcap = 0;

  /** p.gFree: dead gs, with or without a stack; last in, first out. */
  #pFree: Int32Array;
  #pFreeSize: Int32Array;
  /** sched.gFree.stack and .noStack. */
  #schedFreeStack = NIL;
  #schedFreeNoStack = NIL;
  /** p.maxStackScanDelta, also of Ps that are gone: theirs comes back with them. */
  #maxStackScanDelta: Int32Array;
  /** Stacks of Ms, bytes. */
  #mStackBytes = 0;

  constructor(stacks: StackAllocator, os: Pick<Os, "touch">, hooks: GoroutineHooks, nprocs: number) {
    this.#stacks = stacks;
    this.#os = os;
    this.#hooks = hooks;
    this.#nprocs = nprocs;
    this.#pFree = new Int32Array(nprocs).fill(NIL);
    this.#pFreeSize = new Int32Array(nprocs);
    this.#maxStackScanDelta = new Int32Array(nprocs);
  }

  /**
   * A thread starts on P `p`: the stacks of its g0 and gsignal. The first thread's g0 runs on the kernel's stack.
   * Its m and two gs are not announced to the hooks: they belong to the process's baseline objects.
   */
  newM(p: number, first: boolean): void {
    this.threads++;
    if (!first) this.#mStack(p, G0_STACK_BYTES);
    this.#mStack(p, GSIGNAL_STACK_BYTES);
  }

  /** newproc1: starts a goroutine from P `p` and returns its g. */
  newproc(p: number): number {
    let g = this.#gfget(p);
    if (g === NIL) g = this.#malg(p);
    const size = this.stackSize(g);
    this.#alive[g] = 1;
    this.#used[g] = 0;
    this.#use(g, NEW_STACK_USED_BYTES);
    this.live++;
    this.created++;
    this.#addScannableStack(p, size);
    return g;
  }

  /** gdestroy: goroutine `g` ends on P `p`. */
  goexit(p: number, g: number): void {
    if (this.#alive[g] === 0) throw new Error(`goexit of dead g ${g}`);
    this.#alive[g] = 0;
    this.live--;
    this.#addScannableStack(p, -this.stackSize(g));
    this.#gfput(p, g);
  }

  /**
   * Goroutine `g`, running on P `p`, calls down to a depth of `neededBytes`: grows its stack by doublings until they fit
   * (newstack) and leaves it using them, unless it uses more already. Returns the bytes copied.
   */
  growTo(p: number, g: number, neededBytes: number): number {
    let size = this.stackSize(g);
    if (neededBytes <= size - STACK_NOSPLIT_BYTES) {
      if (neededBytes > this.#used[g]) this.#use(g, neededBytes);
      return 0;
    }
    let copied = 0;
    do {
      const newsize = size * 2;
      if (newsize > MAX_STACK_BYTES)
        throw new Error(`stack overflow: goroutine stack exceeds ${MAX_STACK_BYTES}-byte limit`);
      const filled = size - STACK_NOSPLIT_BYTES;
      if (filled > this.#used[g]) this.#use(g, filled);
      copied += this.#used[g];
      this.grownStacks++;
      this.#copystack(p, g, newsize);
      size = newsize;
    } while (neededBytes > size - STACK_NOSPLIT_BYTES);
    this.#use(g, neededBytes);
    this.growCopiedBytes += copied;
    return copied;
  }

  /** Goroutine `g` returns to (or calls down to, if the stack has room) a depth of `bytes`. */
  setUsed(g: number, bytes: number): void {
    if (bytes > this.stackSize(g) - STACK_NOSPLIT_BYTES)
      throw new Error(`setUsed: ${bytes} bytes do not fit a stack of ${this.stackSize(g)}; growTo first`);
    if (bytes > this.#used[g]) this.#use(g, bytes);
    else this.#used[g] = bytes;
  }

  /** Bytes of the goroutine's stack; 0 for a dead g without one. */
  stackSize(g: number): number {
    const log2 = this.#stackLog2[g];
    return log2 === 0 ? 0 : 1 << log2;
  }

  used(g: number): number {
    return this.#used[g];
  }

  isAlive(g: number): boolean {
    return this.#alive[g] === 1;
  }

  /** A mark phase begins: resets what scanning counts. */
  startScan(): void {
    this.scannedBytes = 0;
    this.scannedStacks = 0;
    this.shrunkStacks = 0;
    this.shrinkCopiedBytes = 0;
  }

  /** markrootFreeGStacks, a root job of every mark: frees the stacks of dead gs on the global list. */
  markrootFreeGStacks(p: number): void {
    let tail = NIL;
    for (let g = this.#schedFreeStack; g !== NIL; g = this.#schedlink[g]) {
      tail = g;
      this.#freeStack(p, g);
    }
    if (tail === NIL) return;
    this.#schedlink[tail] = this.#schedFreeNoStack;
    this.#schedFreeNoStack = this.#schedFreeStack;
    this.#schedFreeStack = NIL;
  }

  /**
   * A worker on P `p` scans the stacks of gs [from, to), at most allglen: counts their used bytes as scan work and
   * halves those used for less than a quarter. Returns the bytes scanned.
   */
  scanStacks(p: number, from = 0, to = this.allglen): number {
    let scanned = 0;
    for (let g = from; g < to; g++) {
      if (this.#alive[g] === 0) continue;
      scanned += this.#used[g];
      this.scannedStacks++;
      this.#shrinkstack(p, g);
    }
    this.scannedBytes += scanned;
    return scanned;
  }

  /** In mark termination: the mean stack scanned becomes the starting size of reused gs. */
  gcComputeStartingStackSize(): void {
    if (this.scannedStacks === 0) {
      this.startingStackSize = FIXED_STACK_BYTES;
      return;
    }
    const average = Math.floor(this.scannedBytes / this.scannedStacks) + STACK_GUARD_BYTES;
    this.startingStackSize = round2(Math.max(FIXED_STACK_BYTES, Math.min(MAX_STACK_BYTES, average)));
  }

  /** Recounts lists and stacks, and through checkInvariants of the allocator every stack byte. Throws with the numbers. */
  checkInvariants(): void {
    let live = 0;
    let scannable = 0;
    let held = this.#mStackBytes;
    for (let g = 0; g < this.allglen; g++) {
      const size = this.stackSize(g);
      held += size;
      if (this.#alive[g] === 0) continue;
      live++;
      scannable += size;
      if (this.#used[g] > size - STACK_NOSPLIT_BYTES)
        throw new Error(`g ${g} uses ${this.#used[g]} bytes of a stack of ${size}`);
    }
    if (live !== this.live) throw new Error(`${this.live} live goroutines kept, ${live} counted`);
    if (scannable !== this.scannableStackBytes)
      throw new Error(`${this.scannableStackBytes} scannable stack bytes kept, ${scannable} counted`);
    const listed = new Uint8Array(this.allglen);
    let dead = 0;
    const walk = (head: number): number => {
      let size = 0;
      for (let g = head; g !== NIL; g = this.#schedlink[g]) {
        if (this.#alive[g] === 1 || listed[g]++ !== 0) throw new Error(`g ${g} is free while alive or twice`);
        size++;
      }
      dead += size;
      return size;
    };
    for (let p = 0; p < this.#nprocs; p++) {
      const size = walk(this.#pFree[p]);
      if (size !== this.#pFreeSize[p] || size >= GFREE_SPILL)
        throw new Error(`P ${p} has ${size} free gs, kept ${this.#pFreeSize[p]}`);
    }
    walk(this.#schedFreeStack);
    walk(this.#schedFreeNoStack);
    if (dead + live !== this.allglen)
      throw new Error(`${this.allglen} gs, but ${live} live and ${dead} dead`);
    this.#stacks.checkInvariants(held);
  }

  #mStack(p: number, bytes: number): void {
    const lo = this.#stacks.lo(this.#stacks.stackalloc(p, bytes));
    this.#mStackBytes += bytes;
    // malg clears the lowest word; the top page is in use as soon as the thread enters the scheduler or a handler.
    this.#os.touch(lo, lo + 8);
    this.#os.touch(lo + bytes - 4096, lo + bytes);
  }

  #malg(p: number): number {
    this.#hooks.newG(p);
    const g = this.allglen;
    if (g === this.#stack.length) this.#grow();
    this.#setStack(g, this.#stacks.stackalloc(p, FIXED_STACK_BYTES), FIXED_STACK_BYTES);
    this.allglen = g + 1;
    if (this.allglen > this.#allgcap) this.#allgcap = this.#hooks.growAllgs(p, this.allglen, this.#allgcap);
    return g;
  }

  #gfget(p: number): number {
    if (this.#pFree[p] === NIL) {
      while (this.#pFreeSize[p] < GFREE_BATCH) {
        let g = this.#schedFreeStack;
        if (g !== NIL) this.#schedFreeStack = this.#schedlink[g];
        else {
          g = this.#schedFreeNoStack;
          if (g === NIL) break;
          this.#schedFreeNoStack = this.#schedlink[g];
        }
        this.#pPush(p, g);
      }
      if (this.#pFree[p] === NIL) return NIL;
    }
    const g = this.#pPop(p);
    const size = this.stackSize(g);
    if (size !== this.startingStackSize) {
      // It had the right size when it was put here, or none; the right size has changed since.
      if (size !== 0) this.#freeStack(p, g);
      const stack = this.#stacks.stackalloc(p, this.startingStackSize);
      this.#setStack(g, stack, this.startingStackSize);
    }
    return g;
  }

  #gfput(p: number, g: number): void {
    if (this.stackSize(g) !== this.startingStackSize) this.#freeStack(p, g);
    this.#pPush(p, g);
    if (this.#pFreeSize[p] < GFREE_SPILL) return;
    // Go collects the spilled gs in a queue and puts that in front of the global list: its head is the last one popped,
    // as if each were pushed on its own.
    while (this.#pFreeSize[p] >= GFREE_BATCH) this.#spill(p);
  }

  /** The free g on top of P `p`'s list goes to the global one of its sort. */
  #spill(p: number): void {
    const spilled = this.#pPop(p);
    if (this.#stackLog2[spilled] === 0) {
      this.#schedlink[spilled] = this.#schedFreeNoStack;
      this.#schedFreeNoStack = spilled;
    } else {
      this.#schedlink[spilled] = this.#schedFreeStack;
      this.#schedFreeStack = spilled;
    }
  }

  /** procresize: Ps that go give up their free gs (gfpurge). */
  procresize(nprocs: number): void {
    for (let p = nprocs; p < this.#nprocs; p++) while (this.#pFreeSize[p] > 0) this.#spill(p);
    const kept = Math.min(nprocs, this.#nprocs);
    const free = new Int32Array(nprocs).fill(NIL);
    free.set(this.#pFree.subarray(0, kept));
    this.#pFree = free;
    const size = new Int32Array(nprocs);
    size.set(this.#pFreeSize.subarray(0, kept));
    this.#pFreeSize = size;
    if (nprocs > this.#maxStackScanDelta.length)
      this.#maxStackScanDelta = grown(this.#maxStackScanDelta, nprocs);
    this.#nprocs = nprocs;
  }

  #pPush(p: number, g: number): void {
    this.#schedlink[g] = this.#pFree[p];
    this.#pFree[p] = g;
    this.#pFreeSize[p]++;
  }

  #pPop(p: number): number {
    const g = this.#pFree[p];
    this.#pFree[p] = this.#schedlink[g];
    this.#pFreeSize[p]--;
    return g;
  }

  #setStack(g: number, stack: number, bytes: number): void {
    this.#stack[g] = stack;
    this.#stackLog2[g] = 31 - Math.clz32(bytes);
  }

  #freeStack(p: number, g: number): void {
    this.#stacks.stackfree(p, this.#stack[g], this.stackSize(g));
    this.#stackLog2[g] = 0;
  }

  /** Writes the top `bytes` of the stack. */
  #use(g: number, bytes: number): void {
    this.#used[g] = bytes;
    const hi = this.#stacks.lo(this.#stack[g]) + this.stackSize(g);
    this.#os.touch(hi - bytes, hi);
  }

  #copystack(p: number, g: number, newsize: number): void {
    const oldsize = this.stackSize(g);
    const old = this.#stack[g];
    this.#addScannableStack(p, newsize - oldsize);
    this.#setStack(g, this.#stacks.stackalloc(p, newsize), newsize);
    this.#use(g, this.#used[g]);
    this.#stacks.stackfree(p, old, oldsize);
  }

  #shrinkstack(p: number, g: number): void {
    const newsize = this.stackSize(g) / 2;
    if (newsize < FIXED_STACK_BYTES) return;
    if (this.#used[g] + STACK_NOSPLIT_BYTES >= newsize / 2) return;
    this.shrunkStacks++;
    this.shrinkCopiedBytes += this.#used[g];
    this.#copystack(p, g, newsize);
  }

  #addScannableStack(p: number, bytes: number): void {
    this.scannableStackBytes += bytes;
    const delta = this.#maxStackScanDelta[p] + bytes;
    if (delta >= MAX_STACK_SCAN_SLACK_BYTES || delta <= -MAX_STACK_SCAN_SLACK_BYTES) {
      this.#maxStackScanDelta[p] = 0;
      this.#hooks.addMaxStackScan(delta);
    } else this.#maxStackScanDelta[p] = delta;
  }

  #grow(): void {
    const length = this.#stack.length * 2;
    this.#stack = grown(this.#stack, length);
    this.#used = grown(this.#used, length);
    this.#schedlink = grown(this.#schedlink, length);
    this.#stackLog2 = grownBytes(this.#stackLog2, length);
    this.#alive = grownBytes(this.#alive, length);
  }
}

function grown(old: Int32Array, length: number): Int32Array<ArrayBuffer> {
  const array = new Int32Array(length);
  array.set(old);
  return array;
}

function grownBytes(old: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const array = new Uint8Array(length);
  array.set(old);
  return array;
}
