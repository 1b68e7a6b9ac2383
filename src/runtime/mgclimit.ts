/**
 * The GC CPU limiter: what keeps a heap at its memory limit from spending all CPU on collecting.
 *
 * Models gcCPULimiterState and limiterEvent of mgclimit.go, the same in Go 1.19 to 1.26. A leaky bucket of one CPU-second
 * per P fills with CPU time of the collector and drains with that of the mutator, unweighted; so it stays full only while
 * the collector takes half of the CPU or more. While it is full the limiter is on: nobody assists and allocations do not
 * scavenge, the heap grows beyond the limit instead. Any net drain turns it off again.
 *
 * What counts as whose, over a window of wall-clock time times P: the collector has a quarter of it while marking (its fixed
 * background share, whatever the workers really took) and the time of assists of both kinds; idle Ps and idle mark workers are taken
 * out of the window; a stopped world is the collector's on every P; the rest is the mutator's.
 *
 * Simplifies: one thread of control, so no lock is ever missed; events need no packing of type and time into one word, so
 * none is lost to the clock's wrapping. An assist that the limiter cuts short leaves its goroutine running in debt, where Go's
 * parks until background credit pays or the cycle ends. All times are nanoseconds, fractions included, as the scheduler's
 * clock has them.
 * Where it stops being true: the bucket holds the difference of two large times, so when it is full moves with every
 * cost of the machine profile; real runs of one program near the limit differ by seconds, too.
 */
import { gcBackgroundUtilization } from "./mgcpacer.ts";

/** capacityPerProc: the bucket's CPU nanoseconds for each P. */
export const capacityPerProc = 1e9;
/** gcCPULimiterUpdatePeriod: longest wall-clock time (ns) between updates while there are Ps that look for work. */
const gcCPULimiterUpdatePeriod = 10e6;

/** What a P is doing, as far as the limiter must know. */
const limiterEventNone = 0;
export const limiterEventIdleMarkWork = 1;
export const limiterEventMarkAssist = 2;
export const limiterEventIdle = 3;
/** An event's kind. Scavenging inside an allocation takes no virtual time of its own here: see `addAssistTime`. */
export type LimiterEvent =
  | typeof limiterEventIdleMarkWork
  | typeof limiterEventMarkAssist
  | typeof limiterEventIdle;

export class GcCPULimiter {
  /** The limiter is on: no assists, no synchronous scavenging. */
  limiting = false;
  /** CPU nanoseconds in the bucket; 0 <= fill <= capacity. */
  fill = 0;
  capacity = 0;
  /** CPU nanoseconds that did not fit into the bucket, ever. */
  overflow = 0;
  /** The cycle in which the limiter was last turned on, from 1; 0 is never. /gc/limiter/last-enabled:gc-cycle. */
  lastEnabledCycle = 0;
  /** Cycles completed (memstats.numgc): the collector's to count. */
  numGC = 0;

  #nprocs: number;
  /** Whether mark workers and assists may run: the background share counts. */
  #gcEnabled = false;
  /** The world is stopped between the phases, and the limiter waits for it to start. */
  #transitioning = false;
  #lastUpdateNs: number;
  /** Time of assists and idle time since the last update that belong to no running event. */
  #assistTimePool = 0;
  #idleTimePool = 0;
  /** Per P: the event under way, and since when its time is not accounted for. */
  #event: Uint8Array;
  #eventSinceNs: Float64Array;
  /** Time of Ps without work (sched.idleTime), the events under way not counted. */
  #idleNs = 0;
  /** Wall-clock nanoseconds the limiter was on, up to its last change, and when it was last turned on. */
  #enabledNs = 0;
  #enabledSinceNs = 0;

  constructor(nowNs: number, nprocs: number) {
    this.#nprocs = nprocs;
    this.#lastUpdateNs = nowNs;
    this.#event = new Uint8Array(nprocs);
    this.#eventSinceNs = new Float64Array(nprocs);
    this.resetCapacity(nowNs, nprocs);
  }

  /** Wall-clock nanoseconds the limiter has been on since the start. Go does not count this; it decides nothing. */
  enabledNs(nowNs: number): number {
    return this.#enabledNs + (this.limiting ? nowNs - this.#enabledSinceNs : 0);
  }

  /** CPU time that Ps have been without work since the start: /cpu/classes/idle. Go's is behind by what the limiter has not seen yet. */
  idleNs(nowNs: number): number {
    let ns = this.#idleNs;
    for (let p = 0; p < this.#event.length; p++)
      if (this.#event[p] === limiterEventIdle) ns += Math.max(0, nowNs - this.#eventSinceNs[p]);
    return ns;
  }

  /** The world has been stopped, since `nowNs`, to turn the collector on or off. */
  startGCTransition(enableGC: boolean, nowNs: number): void {
    if (this.#transitioning) throw new Error("limiter: a transition within a transition");
    if (this.#gcEnabled === enableGC)
      throw new Error("limiter: transitioning the GC to the same state as before");
    this.#update(nowNs);
    this.#gcEnabled = enableGC;
    this.#transitioning = true;
  }

  /** The world starts again: the collector had all of it. */
  finishGCTransition(nowNs: number): void {
    if (!this.#transitioning) throw new Error("limiter: a transition ends that has not begun");
    if (nowNs >= this.#lastUpdateNs) {
      this.#accumulate(0, (nowNs - this.#lastUpdateNs) * this.#nprocs, nowNs);
      this.#lastUpdateNs = nowNs;
    }
    this.#transitioning = false;
  }

  needUpdate(nowNs: number): boolean {
    return nowNs - this.#lastUpdateNs > gcCPULimiterUpdatePeriod;
  }

  /** Assist time outside any event, up to the next update: what an allocation's scavenging takes. */
  addAssistTime(ns: number): void {
    this.#assistTimePool += ns;
  }

  update(nowNs: number): void {
    if (this.#transitioning) throw new Error("limiter: an update during a transition");
    this.#update(nowNs);
  }

  /** GOMAXPROCS changed, with the world stopped and no cycle running. Per-P events are the caller's to end and begin. */
  resetCapacity(nowNs: number, nprocs: number): void {
    this.#update(nowNs);
    this.#nprocs = nprocs;
    if (nprocs !== this.#event.length) {
      // Nothing is under way on a P that comes or goes.
      const event = this.#event.slice(0, nprocs);
      const since = this.#eventSinceNs.slice(0, nprocs);
      this.#event = new Uint8Array(nprocs);
      this.#eventSinceNs = new Float64Array(nprocs);
      this.#event.set(event);
      this.#eventSinceNs.set(since);
    }
    this.capacity = nprocs * capacityPerProc;
    if (this.fill > this.capacity) {
      this.fill = this.capacity;
      this.#setLimiting(true, nowNs);
    } else if (this.fill < this.capacity) {
      this.#setLimiting(false, nowNs);
    }
  }

  /** An event begins on P `p`; false if another is under way, which then has the time. */
  startEvent(p: number, event: LimiterEvent, nowNs: number): boolean {
    if (this.#event[p] !== limiterEventNone) return false;
    this.#event[p] = event;
    this.#eventSinceNs[p] = nowNs;
    return true;
  }

  stopEvent(p: number, event: LimiterEvent, nowNs: number): void {
    if (this.#event[p] !== event)
      throw new Error(`limiter: P ${p} ends event ${event}, but is at ${this.#event[p]}`);
    this.#event[p] = limiterEventNone;
    const ns = nowNs - this.#eventSinceNs[p];
    if (ns <= 0) return;
    if (event === limiterEventMarkAssist) this.#assistTimePool += ns;
    else this.#idleTimePool += ns;
    if (event === limiterEventIdle) this.#idleNs += ns;
  }

  #update(nowNs: number): void {
    if (nowNs < this.#lastUpdateNs) return;
    const windowNs = (nowNs - this.#lastUpdateNs) * this.#nprocs;
    this.#lastUpdateNs = nowNs;
    let assistNs = this.#assistTimePool;
    let idleNs = this.#idleTimePool;
    this.#assistTimePool = 0;
    this.#idleTimePool = 0;
    // The part of the running events that lies in this window, so that no time counts in a window it was not in.
    for (let p = 0; p < this.#event.length; p++) {
      const event = this.#event[p];
      const ns = nowNs - this.#eventSinceNs[p];
      if (event === limiterEventNone || ns <= 0) continue;
      this.#eventSinceNs[p] = nowNs;
      if (event === limiterEventMarkAssist) assistNs += ns;
      else idleNs += ns;
      if (event === limiterEventIdle) this.#idleNs += ns;
    }
    let gcNs = assistNs;
    // Of the whole window: the workers' share does not shrink because Ps are idle.
    if (this.#gcEnabled) gcNs += Math.trunc(windowNs * gcBackgroundUtilization);
    this.#accumulate(windowNs - idleNs - gcNs, gcNs, nowNs);
  }

  #accumulate(mutatorNs: number, gcNs: number, nowNs: number): void {
    const headroom = this.capacity - this.fill;
    const change = gcNs - mutatorNs;
    if (change > 0 && headroom <= change) {
      this.overflow += change - headroom;
      this.fill = this.capacity;
      if (headroom > 0) this.#setLimiting(true, nowNs);
      return;
    }
    this.fill = Math.max(0, this.fill + change);
    if (change !== 0 && headroom === 0) this.#setLimiting(false, nowNs);
  }

  #setLimiting(on: boolean, nowNs: number): void {
    // Turned on anew while on already it is another cycle's.
    if (on) this.lastEnabledCycle = this.numGC + 1;
    if (on === this.limiting) return;
    this.limiting = on;
    if (on) this.#enabledSinceNs = nowNs;
    else this.#enabledNs += nowNs - this.#enabledSinceNs;
  }
}

/**
 * Was the CPU limiter on lately: in the cycle under way, or in the last one completed? Of what the real runtime tells it comes
 * nearest to whether it is on.
 */
export function limiterWasOn(lastEnabledCycle: number, numGC: number): boolean {
  return lastEnabledCycle > 0 && lastEnabledCycle >= numGC;
}
