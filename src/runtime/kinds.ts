/**
 * Kinds: the distinct sorts of object a run allocates, numbered, with everything the allocator derives from
 * source, size and pointers worked out once. A slot of the heap refers to its object's kind by a 16-bit number.
 *
 * Not a mechanism of Go: it stands in for the type a Go allocation carries. Sizes drawn from a wide distribution
 * should be quantised by the caller (an element size is all that most of the heap sees) to stay under 65 535 kinds.
 */
import { objectLayout } from "./msize.ts";
import type { VersionRules } from "./version.ts";

const maxKinds = 65_535;

export class KindTable {
  readonly rules: VersionRules;
  /** Numbers given, kind 0 included: that is no kind, of no size and no pointers, which nothing is ever of. */
  count = 1;
  /** Which part of the workload allocates this kind: the caller's number. */
  source = new Int32Array(64);
  /** Requested bytes. */
  size = new Float64Array(64);
  /** Bytes of pointers at the object's start, as requested. */
  ptrBytes = new Float64Array(64);
  spc = new Int32Array(64);
  /** `spc` of small objects that are not tiny; 0, a class of which no span is cached, of the others. */
  runClass = new Int32Array(64);
  /** Bytes the object takes in the heap. */
  elemsize = new Float64Array(64);
  /** Its size if it goes through the tiny allocator, else 0. */
  tiny = new Uint8Array(64);
  /** Pages of a large object; 0 for small ones. */
  largePages = new Int32Array(64);
  /** Scan work of marking one object, bytes. */
  scanBytes = new Float64Array(64);
  /** Bytes of nil pointer words that are scanned behind it. */
  tailBytes = new Float64Array(64);
  /**
   * Pointer words beyond the one through which each object is found: they lead to objects marked already. Every marked
   * object costs one pointer more, wherever that one is.
   */
  pointers = new Float64Array(64);
  /** Bytes of pointers that are the first ones to what they lead to; 0 but for tables. */
  tableBytes = new Float64Array(64);
  /**
   * Share of its objects that a mark finds in the order of their addresses, as when what holds them was filled as they
   * were made; the others it finds in no order, a cache miss or two apart. Brought up to date before each mark.
   */
  ordered = new Float64Array(64);
  /** Bytes one allocation adds to heapScan. */
  scanAllocBytes = new Float64Array(64);
  /** Objects allocated since the start by source, tiny ones included. Written by malloc. */
  allocated = new Float64Array(64);
  readonly #byKey = new Map<string, number>();
  /** By kind of large objects that are written bit by bit: whom to tell the span of each. */
  readonly #filledBy = new Map<number, (span: number) => void>();
  /** By source: what tells the share found in order; 1 where nothing is said. */
  readonly #orderOf: (() => number)[] = [];
  /** By source: how many of its objects are held side by side before others follow, in the mean; where nothing is said, it has a table to itself. */
  readonly #sideBySide: number[] = [];

  constructor(rules: VersionRules) {
    this.rules = rules;
  }

  /** The number of the kind, made on first use. `size` > 0; pointers are rounded down to whole words. */
  add(source: number, size: number, ptrBytes: number): number {
    return this.#add(source, size, ptrBytes, "");
  }

  /** `sort` tells kinds apart that are alike in all else. */
  #add(source: number, size: number, ptrBytes: number, sort: string): number {
    if (!(size > 0) || !Number.isInteger(size)) {
      throw new RangeError(`an object needs a whole, positive size: ${size}`);
    }
    const words = Math.min(ptrBytes, size) - (Math.min(ptrBytes, size) % 8);
    const key = `${source}/${size}/${words}${sort}`;
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    if (this.count === maxKinds) throw new RangeError(`more than ${maxKinds} kinds of object`);
    if (this.count === this.source.length) this.#grow();
    const k = this.count++;
    const layout = objectLayout(this.rules, size, words);
    this.source[k] = source;
    this.size[k] = size;
    this.ptrBytes[k] = words;
    this.spc[k] = layout.spc;
    this.runClass[k] = layout.tiny || layout.largePages > 0 ? 0 : layout.spc;
    this.elemsize[k] = layout.elemsize;
    this.tiny[k] = layout.tiny ? size : 0;
    this.largePages[k] = layout.largePages;
    this.scanBytes[k] = layout.scanBytes;
    this.tailBytes[k] = layout.tailBytes;
    this.pointers[k] = words / 8;
    this.scanAllocBytes[k] = layout.scanAllocBytes;
    this.#byKey.set(key, k);
    if (source >= this.allocated.length) this.allocated = grownFloat64(this.allocated, source * 2);
    return k;
  }

  /** `share` will be asked before each mark what part of the source's objects is found in order. */
  setOrder(source: number, share: () => number): void {
    this.#orderOf[source] = share;
  }

  /** Whoever holds the source's objects holds so many of them side by side, in the mean, and then those of another. */
  setSideBySide(source: number, objects: number): void {
    this.#sideBySide[source] = objects;
  }

  sideBySide(source: number): number {
    return this.#sideBySide[source] ?? Infinity;
  }

  /** Before a mark. */
  updateOrdered(): void {
    const shares = this.#orderOf.map((share) => share());
    for (let k = 1; k < this.count; k++) this.ordered[k] = shares[this.source[k]] ?? 1;
  }

  /** A kind whose pointers are the first ones to what they lead to: a table that holds objects. */
  addTable(source: number, size: number): number {
    const kind = this.#add(source, size, size, "/table");
    this.pointers[kind] = 0;
    this.tableBytes[kind] = this.ptrBytes[kind];
    return kind;
  }

  /** Large objects of the kind are written bit by bit: `placed` is told the span of each, and writes it by Heap.fillLarge. */
  setFilled(kind: number, placed: (span: number) => void): void {
    if (this.#filledBy.has(kind)) throw new Error(`kind ${kind} is filled by somebody else`);
    this.#filledBy.set(kind, placed);
  }

  filledBy(kind: number): ((span: number) => void) | undefined {
    return this.#filledBy.get(kind);
  }

  #grow(): void {
    const n = this.source.length * 2;
    this.source = grownInt32(this.source, n);
    this.size = grownFloat64(this.size, n);
    this.ptrBytes = grownFloat64(this.ptrBytes, n);
    this.spc = grownInt32(this.spc, n);
    this.runClass = grownInt32(this.runClass, n);
    this.elemsize = grownFloat64(this.elemsize, n);
    this.tiny = grownUint8(this.tiny, n);
    this.largePages = grownInt32(this.largePages, n);
    this.scanBytes = grownFloat64(this.scanBytes, n);
    this.tailBytes = grownFloat64(this.tailBytes, n);
    this.pointers = grownFloat64(this.pointers, n);
    this.tableBytes = grownFloat64(this.tableBytes, n);
    this.ordered = grownFloat64(this.ordered, n);
    this.scanAllocBytes = grownFloat64(this.scanAllocBytes, n);
  }
}

export function grownInt32(a: Int32Array, n: number): Int32Array<ArrayBuffer> {
  const b = new Int32Array(n);
  b.set(a);
  return b;
}

export function grownFloat64(a: Float64Array, n: number): Float64Array<ArrayBuffer> {
  const b = new Float64Array(n);
  b.set(a);
  return b;
}

export function grownUint8(a: Uint8Array, n: number): Uint8Array<ArrayBuffer> {
  const b = new Uint8Array(n);
  b.set(a);
  return b;
}
