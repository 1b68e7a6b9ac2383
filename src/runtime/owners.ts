/**
 * Owners: requests, work items, cache entries and goroutines whose objects die with them.
 *
 * Not a mechanism of Go: it stands in for reachability. A slot of an owned object holds ~owner instead of a death
 * tick, so ending an owner is one store however many objects it has. The mark pass rewrites the slots of owners
 * dead at its tick, after which no slot refers to them and their numbers are used again.
 *
 * A tiny block shared by objects with different deaths lives as long as the longest-lived of them, which may be
 * two owners: a joint owner is an owner that ends with the later of two slot values.
 */
import { grownInt32 } from "./kinds.ts";

/** A death that never comes; also the state of an owner still alive. */
export const forever = 0x7fffffff;

export class OwnerTable {
  /** Tick of the owner's end; `forever` while it lives. */
  death = new Int32Array(1024);
  /** What `earliest` was when the owner began, which tells the marks apart. */
  #began = new Int32Array(1024);
  #count = 0;
  #free = new Int32Array(1024);
  #freeCount = 0;
  /** Owners ended since the last mark pass, whose numbers come back after the next. */
  #ended = new Int32Array(1024);
  #endedCount = 0;
  /** Joint owners and the two slot values each joins, in order of creation. */
  #joint = new Int32Array(64);
  #jointA = new Int32Array(64);
  #jointB = new Int32Array(64);
  #jointCount = 0;
  /** No end may be earlier than this: one tick after the start of the last mark. Written by the mark pass. */
  earliest = 1;
  /** Ended by endUnreached, while the survivors of the mark under way still include their objects (unmarkUnreached). */
  unreached = 0;

  /** A new owner. Its objects are allocated with death `~owner`. */
  alloc(): number {
    let o: number;
    if (this.#freeCount > 0) o = this.#free[--this.#freeCount];
    else {
      if (this.#count === this.death.length) {
        this.death = grownInt32(this.death, this.#count * 2);
        this.#began = grownInt32(this.#began, this.#count * 2);
      }
      o = this.#count++;
    }
    this.death[o] = forever;
    this.#began[o] = this.earliest;
    return o;
  }

  /** The owner ends at `tick`: its objects are garbage from then on. It may not be used again. */
  end(owner: number, tick: number): void {
    if (this.death[owner] !== forever) throw new Error(`owner ${owner} has ended already`);
    this.death[owner] = Math.max(tick, this.earliest);
    if (this.#endedCount === this.#ended.length) this.#ended = grownInt32(this.#ended, this.#endedCount * 2);
    this.#ended[this.#endedCount++] = owner;
  }

  /** Whether the owner began before the last mark did; all that the others have was allocated black. */
  beganBeforeMark(owner: number): boolean {
    return this.#began[owner] < this.earliest;
  }

  /** The owner ends in the middle of a mark that has not come to it yet, and will not find it: as if it had ended before. */
  endUnreached(owner: number): void {
    this.end(owner, this.earliest);
    this.death[owner] = this.earliest - 1;
    this.unreached++;
  }

  /** Owners alive, joint ones included. */
  get live(): number {
    return this.#count - this.#freeCount - this.#endedCount;
  }

  /** The slot value that lives as long as the longer-lived of two slot values. */
  join(a: number, b: number): number {
    if (a === b) return a;
    if (a >= 0 && b >= 0) return Math.max(a, b);
    if (a === forever || b === forever) return forever;
    const o = this.alloc();
    if (this.#jointCount === this.#joint.length) {
      const n = this.#jointCount * 2;
      this.#joint = grownInt32(this.#joint, n);
      this.#jointA = grownInt32(this.#jointA, n);
      this.#jointB = grownInt32(this.#jointB, n);
    }
    this.#joint[this.#jointCount] = o;
    this.#jointA[this.#jointCount] = a;
    this.#jointB[this.#jointCount] = b;
    this.#jointCount++;
    return ~o;
  }

  /**
   * Before a mark pass: replaces ended owners inside joints by their ticks, so that their numbers can be used
   * again, and ends the joints whose two sides have ended. Joints only join older owners, hence one pass does.
   */
  resolveJoints(): void {
    let kept = 0;
    for (let i = 0; i < this.#jointCount; i++) {
      const o = this.#joint[i];
      const a = this.#settled(this.#jointA[i]);
      const b = this.#settled(this.#jointB[i]);
      if (a >= 0 && b >= 0) {
        this.end(o, Math.max(a, b));
      } else {
        this.#joint[kept] = o;
        this.#jointA[kept] = a;
        this.#jointB[kept] = b;
        kept++;
      }
    }
    this.#jointCount = kept;
  }

  #settled(v: number): number {
    if (v >= 0) return v;
    const d = this.death[~v];
    return d === forever ? v : d;
  }

  /** After a mark pass at `tick`: no slot refers any more to owners that ended by then. */
  recycle(tick: number): void {
    let kept = 0;
    for (let i = 0; i < this.#endedCount; i++) {
      const o = this.#ended[i];
      if (this.death[o] > tick) {
        this.#ended[kept++] = o;
        continue;
      }
      if (this.#freeCount === this.#free.length) this.#free = grownInt32(this.#free, this.#freeCount * 2);
      this.#free[this.#freeCount++] = o;
    }
    this.#endedCount = kept;
  }
}
