/**
 * The simulation's agenda: pending events in a total order of time, then priority, then the order they were pushed.
 * Equal times are common here (ticks, stop-the-world ends), so the order among them is part of the model, never an
 * accident of the heap.
 *
 * A 4-ary heap over typed arrays, keys beside the heap so that a comparison touches no event record. Cancelling marks
 * the event; a marked event is dropped when it surfaces, or in a sweep once the marked outnumber the rest. The order
 * is total, so rebuilding the heap cannot change it. Nothing is allocated per event; the arrays double when full.
 *
 * Where it stops being true: at most 4,194,304 events pending (marked ones included), priorities 0 to 255, and 2^45
 * pushes in the life of a queue. All three are checked.
 */

/** Handles are small integers, so that returning one never allocates: slot in the low bits, its generation above. */
const SLOT_BITS = 22;
const MAX_SLOTS = 2 ** SLOT_BITS;
const SLOT_MASK = MAX_SLOTS - 1;
const GENERATION_MASK = 2 ** (31 - SLOT_BITS) - 1;

/** priority * 2^45 + sequence is a safe integer and orders by priority first. */
const SEQUENCE_LIMIT = 2 ** 45;
const MAX_PRIORITY = 255;

const FREE = 0;
const PENDING = 1;
const CANCELLED = 2;

export class EventQueue {
  /** Of the event popped last. Undefined meaning before the first pop. */
  timeNs = 0;
  kind = 0;
  arg = 0;

  /** Pending events, without the cancelled. */
  size = 0;

  #sequence = 0;
  /** Entries in the heap, the cancelled included. */
  #heapLength = 0;
  /** Heap order: the two keys and the slot of the event's record. */
  #heapTime: Float64Array<ArrayBuffer>;
  #heapTie: Float64Array<ArrayBuffer>;
  #heapSlot: Int32Array<ArrayBuffer>;
  /** By slot. */
  #kinds: Int32Array<ArrayBuffer>;
  #args: Float64Array<ArrayBuffer>;
  #states: Uint8Array<ArrayBuffer>;
  #generations: Int32Array<ArrayBuffer>;
  /**
   * Free slots, a queue linked through #nextFree: the slot freed longest ago is used next, so a stale handle meets its
   * own generation again only after 512 rounds through all the slots.
   */
  #nextFree: Int32Array<ArrayBuffer>;
  #firstFree = 0;
  #lastFree: number;

  constructor(capacity = 64) {
    const slots = Math.min(Math.max(4, capacity), MAX_SLOTS);
    this.#heapTime = new Float64Array(slots);
    this.#heapTie = new Float64Array(slots);
    this.#heapSlot = new Int32Array(slots);
    this.#kinds = new Int32Array(slots);
    this.#args = new Float64Array(slots);
    this.#states = new Uint8Array(slots);
    this.#generations = new Int32Array(slots);
    this.#nextFree = new Int32Array(slots);
    for (let i = 0; i < slots; i++) this.#nextFree[i] = i + 1;
    this.#nextFree[slots - 1] = -1;
    this.#lastFree = slots - 1;
  }

  /**
   * Adds an event; the lower priority number comes first among equal times. The handle is for `cancel` and stays good
   * until the event is popped or cancelled.
   */
  push(timeNs: number, priority: number, kind: number, arg: number): number {
    // Written so that NaN fails too.
    if (!(timeNs < Infinity && timeNs > -Infinity))
      throw new RangeError(`event time ${timeNs} is not finite`);
    if (!(priority >= 0 && priority <= MAX_PRIORITY))
      throw new RangeError(`event priority ${priority} is not 0 to 255`);
    if (this.#sequence >= SEQUENCE_LIMIT) throw new RangeError("event queue: more than 2^45 events pushed");
    if (this.#firstFree < 0) this.#grow();
    const slot = this.#firstFree;
    const next = this.#nextFree[slot];
    this.#firstFree = next;
    if (next < 0) this.#lastFree = -1;
    this.#kinds[slot] = kind;
    this.#args[slot] = arg;
    this.#states[slot] = PENDING;
    this.size++;
    const tie = priority * SEQUENCE_LIMIT + this.#sequence++;
    // Up from the end of the heap, past every parent that comes later. Here and not in a method of its own: numbers
    // beyond 31 bits are boxed when passed to one that is not inlined.
    const times = this.#heapTime;
    const ties = this.#heapTie;
    const slots = this.#heapSlot;
    let at = this.#heapLength++;
    while (at > 0) {
      const parent = (at - 1) >> 2;
      const parentTime = times[parent];
      if (parentTime < timeNs || (parentTime === timeNs && ties[parent] < tie)) break;
      times[at] = parentTime;
      ties[at] = ties[parent];
      slots[at] = slots[parent];
      at = parent;
    }
    times[at] = timeNs;
    ties[at] = tie;
    slots[at] = slot;
    return (this.#generations[slot] << SLOT_BITS) | slot;
  }

  /** Takes a pending event off the agenda. False when it was popped or cancelled before. */
  cancel(handle: number): boolean {
    const slot = handle & SLOT_MASK;
    if (handle < 0 || slot >= this.#states.length) return false;
    if (this.#states[slot] !== PENDING || this.#generations[slot] !== handle >>> SLOT_BITS) return false;
    this.#states[slot] = CANCELLED;
    this.size--;
    // Marked entries cost memory and a level of heap; sweeping at half is O(1) per cancel.
    if (this.#heapLength > 64 && this.size < this.#heapLength >>> 1) this.#sweep();
    return true;
  }

  /**
   * Moves a pending event `byNs` later (earlier if negative) and returns its new handle: among equal times it comes after those pushed before. Looks
   * through the whole agenda, so it is for what happens seldom.
   */
  postpone(handle: number, byNs: number): number {
    const slot = handle & SLOT_MASK;
    for (let i = 0; i < this.#heapLength; i++) {
      if (this.#heapSlot[i] !== slot) continue;
      const timeNs = this.#heapTime[i];
      const priority = Math.floor(this.#heapTie[i] / SEQUENCE_LIMIT);
      const kind = this.#kinds[slot];
      const arg = this.#args[slot];
      if (!this.cancel(handle)) break;
      return this.push(timeNs + byNs, priority, kind, arg);
    }
    throw new RangeError("event queue: only a pending event can be put off");
  }

  /** Takes the first event: its time, kind and argument are then in the fields. False when there is none. */
  pop(): boolean {
    while (this.#heapLength > 0) {
      const slot = this.#heapSlot[0];
      const timeNs = this.#heapTime[0];
      this.#removeFirst();
      const pending = this.#states[slot] === PENDING;
      this.#release(slot);
      if (!pending) continue;
      this.timeNs = timeNs;
      this.kind = this.#kinds[slot];
      this.arg = this.#args[slot];
      this.size--;
      return true;
    }
    return false;
  }

  /** Time of the first event, Infinity when there is none. */
  peekTime(): number {
    while (this.#heapLength > 0) {
      const slot = this.#heapSlot[0];
      if (this.#states[slot] === PENDING) return this.#heapTime[0];
      this.#removeFirst();
      this.#release(slot);
    }
    return Infinity;
  }

  #release(slot: number): void {
    this.#states[slot] = FREE;
    this.#generations[slot] = (this.#generations[slot] + 1) & GENERATION_MASK;
    this.#nextFree[slot] = -1;
    if (this.#lastFree < 0) this.#firstFree = slot;
    else this.#nextFree[this.#lastFree] = slot;
    this.#lastFree = slot;
  }

  #removeFirst(): void {
    const last = --this.#heapLength;
    if (last > 0) this.#siftDown(0, last);
  }

  /** Places the entry found at `from` at `index` or, while one of the four children there comes before it, below. */
  #siftDown(index: number, from: number): void {
    const times = this.#heapTime;
    const ties = this.#heapTie;
    const slots = this.#heapSlot;
    const length = this.#heapLength;
    const time = times[from];
    const tie = ties[from];
    const slot = slots[from];
    let at = index;
    for (;;) {
      const first = at * 4 + 1;
      if (first >= length) break;
      const end = Math.min(first + 4, length);
      let least = first;
      let leastTime = times[first];
      for (let child = first + 1; child < end; child++) {
        const childTime = times[child];
        if (childTime < leastTime || (childTime === leastTime && ties[child] < ties[least])) {
          least = child;
          leastTime = childTime;
        }
      }
      if (time < leastTime || (time === leastTime && tie < ties[least])) break;
      times[at] = leastTime;
      ties[at] = ties[least];
      slots[at] = slots[least];
      at = least;
    }
    times[at] = time;
    ties[at] = tie;
    slots[at] = slot;
  }

  /** Drops the cancelled entries and rebuilds the heap from the rest. */
  #sweep(): void {
    const times = this.#heapTime;
    const ties = this.#heapTie;
    const slots = this.#heapSlot;
    let kept = 0;
    for (let i = 0; i < this.#heapLength; i++) {
      if (this.#states[slots[i]] === PENDING) {
        times[kept] = times[i];
        ties[kept] = ties[i];
        slots[kept++] = slots[i];
      } else this.#release(slots[i]);
    }
    this.#heapLength = kept;
    for (let i = (kept - 2) >> 2; i >= 0; i--) this.#siftDown(i, i);
  }

  #grow(): void {
    const old = this.#states.length;
    if (old >= MAX_SLOTS) throw new RangeError(`event queue: more than ${MAX_SLOTS} events pending`);
    const slots = Math.min(old * 2, MAX_SLOTS);
    this.#heapTime = enlarge(this.#heapTime, new Float64Array(slots));
    this.#heapTie = enlarge(this.#heapTie, new Float64Array(slots));
    this.#heapSlot = enlarge(this.#heapSlot, new Int32Array(slots));
    this.#kinds = enlarge(this.#kinds, new Int32Array(slots));
    this.#args = enlarge(this.#args, new Float64Array(slots));
    this.#states = enlarge(this.#states, new Uint8Array(slots));
    this.#generations = enlarge(this.#generations, new Int32Array(slots));
    this.#nextFree = enlarge(this.#nextFree, new Int32Array(slots));
    // Only called with the free queue empty, so the new slots are the whole of it.
    for (let i = old; i < slots; i++) this.#nextFree[i] = i + 1;
    this.#nextFree[slots - 1] = -1;
    this.#firstFree = old;
    this.#lastFree = slots - 1;
  }
}

function enlarge<T extends { set(from: T): void }>(from: T, to: T): T {
  to.set(from);
  return to;
}
