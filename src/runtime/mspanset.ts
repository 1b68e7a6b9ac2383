/**
 * Sets of spans: the lists of an mcentral.
 *
 * Models mspanset.go of Go 1.26 (same in every release from 1.19). A spanSet is a queue: spans are popped in the
 * order they were pushed, so a class's oldest swept span is allocated from first. Its indices only rise until the
 * set is reset, empty, at the next sweep termination; the spine of pointers and the blocks of 512 entries behind
 * them come from persistent memory, blocks through a pool shared by all sets. That memory is GCSys.
 *
 * Pages of it are touched as they are used: a push reads the block's first byte (the compiler's test for nil) and writes its
 * entry, and the header is written by pops and when the block goes back to the pool. Most sets hold a few spans, and their blocks
 * are one page.
 *
 * Simplifies: lock-free races cannot happen here, so a pop never fails transiently.
 */
import { grownInt32 } from "./kinds.ts";

const blockEntries = 512;
/** The entries' header is padded to this (tagAlign; earlier releases pad less; not modelled). */
const headerBytes = 512;
const entryBytes = 8;
const blockBytes = headerBytes + blockEntries * entryBytes;
const initialSpineEntries = 256;

/** Where spines and blocks come from; they are never given back to the system. */
export interface SpanSetMemory {
  readonly pageBytes: number;
  /** Returns an address. */
  reserve(nbytes: number, align: number): number;
  touch(address: number, nbytes: number): void;
  read(address: number): void;
}

/** The pool of blocks all sets share (spanSetBlockPool), known by their addresses. */
export class SpanSetBlockPool {
  readonly memory: SpanSetMemory;
  readonly #free: number[] = [];

  constructor(memory: SpanSetMemory) {
    this.memory = memory;
  }

  take(): number {
    return this.#free.pop() ?? this.memory.reserve(blockBytes, headerBytes);
  }

  give(block: number): void {
    this.memory.touch(block, entryBytes);
    this.#free.push(block);
  }
}

export class SpanSet {
  /** Ring of span numbers, a power of two long. */
  #ring = new Int32Array(16);
  /** Pops and pushes since the last reset. */
  #head = 0;
  #tail = 0;
  /** Blocks from the first since the last reset on, and the spine's address and room. */
  #blocks: number[] = [];
  #spine = 0;
  #spineCap = 0;
  /** The push that is the first on a page of its block, or in a block. */
  #touchTail = 0;
  readonly #pool: SpanSetBlockPool;

  constructor(pool: SpanSetBlockPool) {
    this.#pool = pool;
  }

  get size(): number {
    return this.#tail - this.#head;
  }

  push(s: number): void {
    const tail = this.#tail++;
    if (tail === this.#touchTail) this.#touchEntry(tail);
    if (tail - this.#head === this.#ring.length) this.#growRing(tail);
    this.#ring[tail & (this.#ring.length - 1)] = s;
  }

  /** The oldest span, or -1. */
  pop(): number {
    if (this.#head === this.#tail) return -1;
    const head = this.#head++;
    // A block's first pop writes its header, the last one gives it back.
    if (head % blockEntries === 0) this.#pool.memory.touch(this.#blocks[head / blockEntries], entryBytes);
    if (this.#head % blockEntries === 0) this.#pool.give(this.#blocks[this.#head / blockEntries - 1]);
    return this.#ring[head & (this.#ring.length - 1)];
  }

  /** Sweep termination: the set must be empty; its partly used block goes back to the pool. */
  reset(): void {
    if (this.#head !== this.#tail) throw new Error("attempt to clear a non-empty span set");
    if (this.#tail % blockEntries !== 0) this.#pool.give(this.#blocks[this.#blocks.length - 1]);
    this.#head = 0;
    this.#tail = 0;
    this.#touchTail = 0;
    this.#blocks.length = 0;
  }

  /** The i-th oldest span, for checks. */
  at(i: number): number {
    return this.#ring[(this.#head + i) & (this.#ring.length - 1)];
  }

  /** Entry `tail`, in a new block or the first on a page, is written. */
  #touchEntry(tail: number): void {
    const { memory } = this.#pool;
    const entry = tail % blockEntries;
    if (entry === 0) this.#addBlock();
    const block = this.#blocks[this.#blocks.length - 1];
    if (entry === 0) memory.read(block);
    const address = block + headerBytes + entry * entryBytes;
    memory.touch(address, entryBytes);
    const onPage = (memory.pageBytes - (address % memory.pageBytes)) / entryBytes;
    this.#touchTail = tail + Math.min(onPage, blockEntries - entry);
  }

  #addBlock(): void {
    const { memory } = this.#pool;
    const length = this.#blocks.length;
    if (length === this.#spineCap) {
      this.#spineCap = length === 0 ? initialSpineEntries : length * 2;
      this.#spine = memory.reserve(this.#spineCap * entryBytes, 64);
      memory.touch(this.#spine, length * entryBytes);
    }
    this.#blocks.push(this.#pool.take());
    memory.touch(this.#spine + length * entryBytes, entryBytes);
  }

  #growRing(tail: number): void {
    const old = this.#ring;
    const n = old.length;
    const ring = grownInt32(old, n * 2);
    for (let i = this.#head; i < tail; i++) ring[i & (n * 2 - 1)] = old[i & (n - 1)];
    this.#ring = ring;
  }
}
