/**
 * Random numbers: one generator (sfc32) and named streams of it.
 *
 * The generator is our own because its loop must sit inside the samplers' loops (a call per number costs more than the
 * number), must give the same bits in every engine, and must not change when a dependency does. It is Chris
 * Doty-Humphrey's sfc32: 128 bits of state, adds, shifts and xors only, period at least 2^32 for any seed (a counter is
 * part of the state) and about 2^127 on average; it passes PractRand. Text becomes state through seedrandom's alea.
 *
 * Every consumer draws from a stream of its own name. A stream's numbers depend on the run's seed and that name and on
 * nothing else, so a scenario that gains a source keeps the numbers of all its others.
 *
 * Where it stops being true: not for cryptography; two streams are independent only as far as hashing makes them so
 * (96 bits of state differ; runs of 2^40 numbers overlap with a chance of about 2^-55 per pair).
 */
import alea from "seedrandom/lib/alea.js";

/** Rounds thrown away after seeding, so that the first numbers depend on every bit of the state. */
const WARM_UP_ROUNDS = 20;

export class Rng {
  /**
   * a, b, c and the counter. Loops that inline the generator (`fillU32`, the samplers' `fill`) read it into locals,
   * and must write it back before anybody else draws.
   */
  readonly state: Int32Array;

  constructor(seed: string) {
    const source = alea(seed);
    this.state = new Int32Array([source.int32(), source.int32(), source.int32(), 1]);
    for (let i = 0; i < WARM_UP_ROUNDS; i++) this.u32();
  }

  /** A whole number in [0, 2^32). */
  u32(): number {
    const s = this.state;
    const b = s[1];
    const c = s[2];
    const counter = s[3];
    const t = (((s[0] + b) | 0) + counter) | 0;
    s[3] = counter + 1;
    s[0] = b ^ (b >>> 9);
    s[1] = c + (c << 3);
    s[2] = ((c << 21) | (c >>> 11)) + t;
    return t >>> 0;
  }

  /** A multiple of 2^-53 in [0, 1). Takes two numbers of the sequence. */
  f64(): number {
    const high = this.u32() >>> 5;
    const low = this.u32() >>> 6;
    return (high * 0x4000000 + low) * 2 ** -53;
  }

  /** The next n numbers of the sequence, exactly as n calls of u32 would give them. */
  fillU32(out: Uint32Array, n: number): void {
    const s = this.state;
    let a = s[0];
    let b = s[1];
    let c = s[2];
    let counter = s[3];
    for (let i = 0; i < n; i++) {
      const t = (((a + b) | 0) + counter) | 0;
      counter = (counter + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + t) | 0;
      out[i] = t;
    }
    s[0] = a;
    s[1] = b;
    s[2] = c;
    s[3] = counter;
  }
}

/** The streams of one run. */
export class RandomStreams {
  readonly #prefix: string;
  readonly #taken = new Set<string>();

  constructor(seed: string | number) {
    // With the length in front no two pairs of seed and name spell the same text.
    const text = String(seed);
    this.#prefix = `${text.length}:${text}:`;
  }

  /**
   * The stream called `name`. A name can be asked for once: a second consumer of the same name would draw the very
   * same numbers, which is never meant.
   */
  stream(name: string): Rng {
    if (this.#taken.has(name)) throw new Error(`random stream "${name}" is already in use`);
    this.#taken.add(name);
    return new Rng(this.#prefix + name);
  }
}
