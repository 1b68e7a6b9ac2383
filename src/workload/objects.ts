/**
 * What a source allocates: from size distributions and pointer parts to the kinds of object the heap knows, and from
 * lifetimes to ticks of death.
 *
 * Sizes are quantised as a size class sees them: exact below 16 bytes (the tiny allocator packs by exact size), to a word
 * up to 1 KiB, to 128 bytes up to the largest small object, to pages beyond. Size classes are never finer than that.
 * A draw beyond the largest object is that one: so far out is only the tail of a distribution that has no end.
 */

import type { KindTable } from "../runtime/kinds.ts";
import type { GoRuntime } from "../runtime/runtime.ts";
import { MAX_OBJECT_BYTES } from "../runtime/sizeclasses.ts";
import type { Dist, Lifetime, PointerPart } from "../scenario/schema.ts";
import type { Rng } from "../sim/rng.ts";
import { type Classifier, compileDist, type KnownClasses, type Sampler } from "./distributions.ts";

const PAGE = 8192;
const FOREVER = 0x7fffffff;
const MAX_SMALL = 32768;
/** One more than the step of the largest small size. */
const SMALL_STEPS = 134 + (MAX_SMALL >>> 7) + 1;

/** Sizes up to this find their kind in a table by bytes. */
const MAX_BY_BYTES = 4096;

/** Draws kinds for one source. */
export class KindSampler implements Classifier {
  /** The kind, when every object is of one kind; else -1. */
  readonly single: number;
  readonly #kinds: KindTable;
  readonly #source: number;
  readonly #pointers: PointerPart;
  readonly #size: Sampler;
  /** Kinds of small objects by step of size (see smallStep), -1 where none was drawn yet; of large ones by pages. */
  readonly #small = new Int32Array(SMALL_STEPS).fill(-1);
  readonly #large = new Map<number, number>();
  /** Kinds of sizes as drawn, rounded to bytes; -1 where none was drawn yet. */
  readonly #byBytes = new Int32Array(MAX_BY_BYTES + 1).fill(-1);
  readonly #known: KnownClasses;

  constructor(kinds: KindTable, source: number, size: Dist, pointers: PointerPart) {
    this.#kinds = kinds;
    this.#source = source;
    this.#pointers = pointers;
    this.#size = compileDist(size);
    this.single = size.kind === "constant" ? this.#kindOf(size.value) : -1;
    this.#known = this.#size.newClasses();
  }

  /** Mean of the sizes as drawn. */
  get meanBytes(): number {
    return this.#size.mean;
  }

  draw(rng: Rng): number {
    return this.single >= 0 ? this.single : this.#size.sampleClass(rng, this.#known, this);
  }

  /** The next `n` kinds. */
  fill(rng: Rng, out: Int32Array, n: number): void {
    if (this.single >= 0) out.fill(this.single, 0, n);
    else this.#size.fillClasses(rng, out, n, this.#known, this);
  }

  /** The kind of an object drawn as so many bytes. */
  classOf(drawn: number): number {
    if (drawn >= MAX_BY_BYTES) return this.#kindOf(drawn);
    // Drawn sizes are positive: adding a half and cutting is rounding.
    const bytes = (drawn + 0.5) | 0;
    const known = this.#byBytes[bytes];
    if (known >= 0) return known;
    const kind = this.#kindOf(drawn);
    this.#byBytes[bytes] = kind;
    return kind;
  }

  sameClass(low: number, high: number): boolean {
    return quantisedSize(low, this.#pointers) === quantisedSize(high, this.#pointers);
  }

  #kindOf(drawn: number): number {
    const size = quantisedSize(drawn, this.#pointers);
    if (size <= MAX_SMALL) {
      const step = smallStep(size);
      const known = this.#small[step];
      if (known >= 0) return known;
      const kind = this.#add(size);
      this.#small[step] = kind;
      return kind;
    }
    let kind = this.#large.get(size);
    if (kind === undefined) {
      kind = this.#add(size);
      this.#large.set(size, kind);
    }
    return kind;
  }

  #add(size: number): number {
    return this.#kinds.add(this.#source, size, pointerBytes(size, this.#pointers));
  }
}

/** A number per quantised size up to 32 KiB: bytes below 16, then words to 1 KiB, then 128 bytes. */
function smallStep(size: number): number {
  if (size < 16) return size;
  return size <= 1024 ? 14 + (size >>> 3) : 134 + (size >>> 7);
}

/** The size an object drawn as `drawn` bytes is allocated with, here and by the oracle. */
function quantisedSize(drawn: number, pointers: PointerPart): number {
  const size = Math.min(Math.max(1, Math.round(drawn)), MAX_OBJECT_BYTES);
  if (size < 16 && pointerBytes(size, pointers) === 0) return size;
  if (size <= 1024) return Math.ceil(size / 8) * 8;
  if (size <= 32768) return Math.ceil(size / 128) * 128;
  return Math.ceil(size / PAGE) * PAGE;
}

/** Bytes of whole pointers at the object's start. */
export function pointerBytes(size: number, pointers: PointerPart): number {
  const wanted = pointers.kind === "bytes" ? pointers.bytes : size * pointers.fraction;
  return Math.floor(Math.min(wanted, size) / 8) * 8;
}

/** The least share of a table's objects that lie in it as they lie in memory: all, if none leave or all leave as they came. */
export function orderOfLifetime(lifetime: Lifetime): number {
  return lifetime.until !== "time" || lifetime.dist.kind === "constant" ? 1 : 0;
}

/** Draws ticks of death for objects that die by time, in steps of the tick at which their holder drops them. */
export class DeathSampler {
  readonly #rt: GoRuntime;
  readonly #sampler: Sampler | null;
  readonly #constant: number;
  readonly #dropNs: number;
  readonly #buffer: Float64Array;

  /** `dist` null: forever. Deaths fall on multiples of `dropNs` (0: anywhere). */
  constructor(rt: GoRuntime, dist: Dist | null, dropNs: number, block: number) {
    this.#rt = rt;
    this.#sampler = dist === null || dist.kind === "constant" ? null : compileDist(dist);
    this.#constant = dist === null ? Infinity : dist.kind === "constant" ? dist.value : -1;
    this.#dropNs = dropNs;
    this.#buffer = new Float64Array(block);
  }

  /** Lifetimes of `n` objects, in nanoseconds; undefined where all are alike. Overwritten by the next. */
  lifetimes(rng: Rng, n: number): Float64Array | undefined {
    this.#sampler?.fill(rng, this.#buffer, n);
    return this.#sampler === null ? undefined : this.#buffer;
  }

  one(rng: Rng, nowNs: number): number {
    return this.#tick(nowNs + (this.#sampler === null ? this.#constant : this.#sampler.sample(rng)));
  }

  #tick(deathNs: number): number {
    if (deathNs === Infinity) return FOREVER;
    return this.#rt.deathTick(this.#dropNs > 0 ? Math.ceil(deathNs / this.#dropNs) * this.#dropNs : deathNs);
  }
}

/** A count drawn per owner; a fraction is rounded up with its own probability. */
export class CountSampler {
  readonly #sampler: Sampler;
  readonly #constant: number;

  constructor(dist: Dist) {
    this.#sampler = compileDist(dist);
    this.#constant = dist.kind === "constant" && Number.isInteger(dist.value) ? dist.value : -1;
  }

  get mean(): number {
    return this.#sampler.mean;
  }

  draw(rng: Rng): number {
    if (this.#constant >= 0) return this.#constant;
    const x = this.#sampler.sample(rng);
    const whole = Math.floor(x);
    return whole + (rng.f64() < x - whole ? 1 : 0);
  }
}
