/**
 * Sets of spans: the lists of an mcentral.
 *
 * Models mspanset.go of Go 1.26 (same in every release from 1.19). A spanSet is a queue: spans are popped in the
 * order they were pushed, so a class's oldest swept span is allocated from first. Its indices only rise until the
 * set is reset, empty, at the next sweep termination; the spine of pointers and the blocks of 512 entries behind
 * them come from persistent memory, blocks through a pool shared by all sets. That memory is GCSys.
 *
 * Simplifies: lock-free races cannot happen here, so a pop never fails transiently.
 */
import { grownInt32 } from "./kinds.ts";

const blockEntries = 512;
/** 4096 bytes of entries behind a header padded to 512 bytes (earlier releases pad less; not modelled). */
const blockBytes = 4096 + 512;
const initialSpineEntries = 256;

/** Where spines and blocks come from; they are never given back to the system. */
export interface SpanSetMemory {
  persistentAllocGC(nbytes: number, align: number): void;
}

/** The pool of blocks all sets share (spanSetBlockPool). */
export class SpanSetBlockPool {
  #free = 0;
  readonly #memory: SpanSetMemory;

  constructor(memory: SpanSetMemory) {
    this.#memory = memory;
  }

  take(): void {
    if (this.#free > 0) this.#free--;
    else this.#memory.persistentAllocGC(blockBytes, 512);
  }

  give(): void {
    this.#free++;
  }

  growSpine(entries: number): void {
    this.#memory.persistentAllocGC(entries * 8, 64);
  }
}

export class SpanSet {
  /** Ring of span numbers, a power of two long. */
  #ring = new Int32Array(16);
  /** Pops and pushes since the last reset. */
  #head = 0;
  #tail = 0;
  #spineLen = 0;
  #spineCap = 0;
  readonly #pool: SpanSetBlockPool;

  constructor(pool: SpanSetBlockPool) {
    this.#pool = pool;
  }

  get size(): number {
    return this.#tail - this.#head;
  }

  push(s: number): void {
    const tail = this.#tail++;
    if (tail % blockEntries === 0 && tail / blockEntries >= this.#spineLen) this.#addBlock();
    if (tail - this.#head === this.#ring.length) this.#growRing(tail);
    this.#ring[tail & (this.#ring.length - 1)] = s;
  }

  /** The oldest span, or -1. */
  pop(): number {
    if (this.#head === this.#tail) return -1;
    const head = this.#head++;
    if (this.#head % blockEntries === 0) this.#pool.give();
    return this.#ring[head & (this.#ring.length - 1)];
  }

  /** Sweep termination: the set must be empty; its partly used block goes back to the pool. */
  reset(): void {
    if (this.#head !== this.#tail) throw new Error("attempt to clear a non-empty span set");
    if (this.#tail % blockEntries !== 0) this.#pool.give();
    this.#head = 0;
    this.#tail = 0;
    this.#spineLen = 0;
  }

  /** The i-th oldest span, for checks. */
  at(i: number): number {
    return this.#ring[(this.#head + i) & (this.#ring.length - 1)];
  }

  #addBlock(): void {
    if (this.#spineLen === this.#spineCap) {
      this.#spineCap = this.#spineCap === 0 ? initialSpineEntries : this.#spineCap * 2;
      this.#pool.growSpine(this.#spineCap);
    }
    this.#pool.take();
    this.#spineLen++;
  }

  #growRing(tail: number): void {
    const old = this.#ring;
    const n = old.length;
    const ring = grownInt32(old, n * 2);
    for (let i = this.#head; i < tail; i++) ring[i & (n * 2 - 1)] = old[i & (n - 1)];
    this.#ring = ring;
  }
}
