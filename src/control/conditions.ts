/**
 * Conditions: figures of the process and its container beyond thresholds for some time.
 *
 * They stand for a goroutine of the program, or a tool beside it, that reads a few metrics ten times a second. Reading costs
 * nothing here, and a condition is noticed up to 100 ms after it is met, as it would be there. A figure without a value (of a process
 * that is down, GOGC while it is off) is beyond no threshold.
 */
import { PRIORITY_WORLD, type Scheduler } from "../runtime/proc.ts";
import { type Condition, RECENT_GC_CPU, type When } from "../scenario/conditions.ts";

export const POLL_NS = 100e6;
/** Polls that the GC's share looks back over: one second. */
const SHARE_POLLS = 10;

/** A column of the time series at this moment; not-a-number for no value. */
export type Figures = (metric: string) => number;

/** What the conditions of a process look at. */
export interface Gauges {
  /** The process as it is now. */
  look(): Figures;
  /** CPU time of the collector, and of the process with it, since its start. */
  readonly gcNs: number;
  readonly cpuNs: number;
}

/** Told at every poll whether the conditions hold. Returns false to hear no more. */
export type Told = (holds: boolean, nowNs: number) => boolean;

/** Conditions that must hold together, and since when each has been true. */
export class Watch {
  readonly #when: When;
  readonly #sinceNs: number[];

  constructor(when: When) {
    this.#when = when;
    this.#sinceNs = when.map(() => Number.POSITIVE_INFINITY);
  }

  /** To be asked at every poll. */
  holds(figures: Figures, nowNs: number): boolean {
    let all = true;
    this.#when.forEach((condition, i) => {
      const figure = figures(condition.metric);
      const beyond =
        condition.above !== undefined ? figure > condition.above : figure < (condition.below ?? -Infinity);
      if (!beyond) this.#sinceNs[i] = Number.POSITIVE_INFINITY;
      else if (this.#sinceNs[i] === Number.POSITIVE_INFINITY) this.#sinceNs[i] = nowNs;
      // Every one is asked, whatever the others say: each has a time of its own to count.
      all = nowNs - this.#sinceNs[i] >= condition.for && all;
    });
    return all;
  }
}

/** Polls the conditions of a process's life; nothing is scheduled while there is none. */
export class Watcher {
  readonly #sched: Scheduler;
  readonly #gauges: Gauges;
  #watches: { readonly watch: Watch; readonly told: Told }[] = [];
  #polling = false;
  #polls = 0;
  readonly #gcNs = new Float64Array(SHARE_POLLS);
  readonly #cpuNs = new Float64Array(SHARE_POLLS);
  #gcShare = 0;

  constructor(sched: Scheduler, gauges: Gauges) {
    this.#sched = sched;
    this.#gauges = gauges;
  }

  watch(watch: Watch, told: Told): void {
    this.#watches.push({ watch, told });
    if (this.#polling) return;
    this.#polling = true;
    this.#schedule();
  }

  #schedule(): void {
    this.#sched.call(this.#sched.nowNs + POLL_NS, PRIORITY_WORLD, (nowNs) => this.#poll(nowNs));
  }

  #poll(nowNs: number): void {
    this.#measureShare();
    const columns = this.#gauges.look();
    const figures: Figures = (metric) => (metric === RECENT_GC_CPU ? this.#gcShare : columns(metric));
    this.#watches = this.#watches.filter(({ watch, told }) => told(watch.holds(figures, nowNs), nowNs));
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
}

function oneText(condition: Condition): string {
  const than = condition.above !== undefined ? `above ${condition.above}` : `below ${condition.below}`;
  const held = condition.for > 0 ? ` for ${condition.for / 1e9} s` : "";
  return `${condition.metric} ${than}${held}`;
}

/** Conditions as the file spells them, for reports. */
export const conditionText = (when: When): string => when.map(oneText).join(" and ");
