/**
 * Conditions: figures of the process beyond a threshold for some time.
 *
 * They stand for a goroutine of the program, or a tool beside it, that reads a few metrics ten times a second. Reading costs
 * nothing here, and a condition is noticed up to 100 ms after it is met, as it would be there.
 */
import { PRIORITY_WORLD, type Scheduler } from "../runtime/proc.ts";
import type { Condition } from "../scenario/schema.ts";

const POLL_NS = 100e6;
/** Polls that the GC share looks back over: one second. */
const SHARE_POLLS = 10;

/** What conditions look at; cumulative where the name ends in Ns. */
export interface Gauges {
  readonly rssBytes: number;
  readonly heapLiveBytes: number;
  readonly heapInuseBytes: number;
  readonly heapReleasedBytes: number;
  readonly requestsInFlight: number;
  readonly goroutines: number;
  /** CPU time of the collector, and of the process with it. */
  readonly gcNs: number;
  readonly cpuNs: number;
}

/** Told at every poll whether the condition holds. Returns false to hear no more. */
export type Told = (holds: boolean, nowNs: number) => boolean;

interface Watch {
  readonly condition: Condition;
  readonly told: Told;
  /** Since when the figure has been beyond the threshold; Infinity while it is not. */
  sinceNs: number;
}

/** Polls every condition of a run; nothing is scheduled while there is none. */
export class Watcher {
  readonly #sched: Scheduler;
  readonly #gauges: Gauges;
  #watches: Watch[] = [];
  #polling = false;
  #polls = 0;
  readonly #gcNs = new Float64Array(SHARE_POLLS);
  readonly #cpuNs = new Float64Array(SHARE_POLLS);
  #gcShare = 0;

  constructor(sched: Scheduler, gauges: Gauges) {
    this.#sched = sched;
    this.#gauges = gauges;
  }

  watch(condition: Condition, told: Told): void {
    this.#watches.push({ condition, told, sinceNs: Number.POSITIVE_INFINITY });
    if (this.#polling) return;
    this.#polling = true;
    this.#schedule();
  }

  #schedule(): void {
    this.#sched.call(this.#sched.nowNs + POLL_NS, PRIORITY_WORLD, (nowNs) => this.#poll(nowNs));
  }

  #poll(nowNs: number): void {
    this.#measureShare();
    this.#watches = this.#watches.filter((watch) => {
      const { condition } = watch;
      const figure = this.#figure(condition.metric);
      const beyond =
        condition.above !== undefined ? figure > condition.above : figure < (condition.below ?? -Infinity);
      if (!beyond) watch.sinceNs = Number.POSITIVE_INFINITY;
      else if (watch.sinceNs === Number.POSITIVE_INFINITY) watch.sinceNs = nowNs;
      return watch.told(nowNs - watch.sinceNs >= condition.for, nowNs);
    });
    this.#polling = this.#watches.length > 0;
    if (this.#polling) this.#schedule();
  }

  #measureShare(): void {
    const { gcNs, cpuNs } = this.#gauges;
    const at = this.#polls++ % SHARE_POLLS;
    // Before the ring is full it holds zeros: the share since the start.
    const cpu = cpuNs - this.#cpuNs[at];
    this.#gcShare = cpu > 0 ? (gcNs - this.#gcNs[at]) / cpu : 0;
    this.#gcNs[at] = gcNs;
    this.#cpuNs[at] = cpuNs;
  }

  #figure(metric: Condition["metric"]): number {
    const g = this.#gauges;
    switch (metric) {
      case "rss":
        return g.rssBytes;
      case "heap_live":
        return g.heapLiveBytes;
      case "heap_inuse":
        return g.heapInuseBytes;
      case "heap_released":
        return g.heapReleasedBytes;
      case "requests_in_flight":
        return g.requestsInFlight;
      case "goroutines":
        return g.goroutines;
      case "gc_cpu_share":
        return this.#gcShare;
    }
  }
}

/** A condition as the file spells it, for reports. */
export function conditionText(condition: Condition): string {
  const than = condition.above !== undefined ? `above ${condition.above}` : `below ${condition.below}`;
  const held = condition.for > 0 ? ` for ${condition.for / 1e9} s` : "";
  return `${condition.metric} ${than}${held}`;
}
