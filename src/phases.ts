/**
 * What happened from one phase to the next: a run's figures by stretch.
 *
 * A phase has no end of its own: what it sets holds until another sets it anew. So a run is cut where phases begin, whoever begins
 * them: a stretch reaches from there to the beginning of whichever phase comes next, or to the run's end, and what is before the first is
 * called `start`. Two phases that begin at one moment leave the first without length and without figures; what comes after is the
 * second's, with what the first has set in force. A phase that never begins (its condition never held, the run ended before) is listed without
 * times. A name that comes again is numbered: `normal`, `normal (2)`.
 *
 * Figures have the names and the meaning of those of the whole run. Sizes are of the samples after the beginning up to and with the one at the end;
 * the counts are differences of the run's own counters at both ends, and latencies of their histograms, so that a percentile is
 * of every request that ended in the stretch. Go counts the CPU of a cycle and the cycle itself when it ends: one that reaches over the end
 * of a stretch belongs to the next.
 */
import type { CycleRecord } from "./runtime/mgc.ts";
import type { ResolvedPhase } from "./scenario/schema.ts";
import type { LatencyHistogram } from "./workload/latency.ts";

export interface PhaseSummary {
  /** The phase's; numbered where it comes again. */
  readonly name: string;
  /** Virtual time; absent of a phase that never began. */
  readonly from_seconds?: number;
  readonly to_seconds?: number;
  /** None where the stretch has no length. */
  readonly figures: Readonly<Record<string, number>>;
}

/** The stretch before any phase. */
export const START = "start";

/** What a run has counted up to a moment, over all its processes. */
export interface Tally {
  readonly counters: Readonly<Record<string, number>>;
  /** Of the workload's entries that have requests; nobody changes them later. */
  readonly latencies: ReadonlyMap<string, LatencyHistogram>;
}

/** Figures of a stretch beside those of the workload's entries: what the run's `thresholds` may name. */
export const PHASE_FIGURES = [
  "gc_count",
  "gc_cpu_of_usable_fraction",
  "pause_max_ns",
  "goal_mean_bytes",
  "goal_peak_bytes",
  "heap_inuse_peak_bytes",
  "rss_mean_bytes",
  "rss_peak_bytes",
] as const;
/** Where there is a container. */
export const PHASE_CONTAINER_FIGURES = ["oom_kills"] as const;
/** Of each entry that counts requests, after its name; the second where it has latencies. */
export const THROUGHPUT = "requests_per_second";
const LATENCY_P50 = "latency_p50_ns";
const LATENCY_P99 = "latency_p99_ns";
export const PHASE_LATENCIES = [LATENCY_P50, LATENCY_P99] as const;

/** What samples and cycles add up to. */
class Stretch {
  readonly name: string;
  readonly fromNs: number;
  readonly before: Tally;
  samples = 0;
  #goal = 0;
  #goalPeak = 0;
  #inusePeak = 0;
  #rss = 0;
  #rssPeak = 0;
  #pauseMax = 0;
  kills = 0;

  constructor(name: string, fromNs: number, before: Tally) {
    this.name = name;
    this.fromNs = fromNs;
    this.before = before;
  }

  sample(goal: number, inuse: number, rss: number): void {
    this.samples++;
    this.#goal += goal;
    this.#goalPeak = Math.max(this.#goalPeak, goal);
    this.#inusePeak = Math.max(this.#inusePeak, inuse);
    this.#rss += rss;
    this.#rssPeak = Math.max(this.#rssPeak, rss);
  }

  cycle({ stw1_ns, stw2_ns }: CycleRecord): void {
    this.#pauseMax = Math.max(this.#pauseMax, stw1_ns + stw2_ns);
  }

  /** `contained`: whether there is a container, which alone kills. */
  finish(toNs: number, after: Tally, contained: boolean): PhaseSummary {
    const times = { name: this.name, from_seconds: this.fromNs / 1e9, to_seconds: toNs / 1e9 };
    const seconds = (toNs - this.fromNs) / 1e9;
    if (seconds <= 0) return { ...times, figures: {} };
    const grown = (name: string): number => (after.counters[name] ?? 0) - (this.before.counters[name] ?? 0);
    const usable = grown("usable_cpu_seconds");
    const n = this.samples;
    const common: Record<(typeof PHASE_FIGURES)[number], number> = {
      gc_count: grown("gc_count"),
      gc_cpu_of_usable_fraction: usable > 0 ? grown("gc_cpu_seconds") / usable : Number.NaN,
      pause_max_ns: this.#pauseMax,
      goal_mean_bytes: this.#goal / n,
      goal_peak_bytes: n > 0 ? this.#goalPeak : Number.NaN,
      heap_inuse_peak_bytes: n > 0 ? this.#inusePeak : Number.NaN,
      rss_mean_bytes: this.#rss / n,
      rss_peak_bytes: n > 0 ? this.#rssPeak : Number.NaN,
    };
    const figures: Record<string, number> = { ...common };
    if (contained) figures["oom_kills"] = this.kills;
    for (const name of Object.keys(after.counters)) {
      const entry = /^(.+)_requests$/.exec(name)?.[1];
      if (entry === undefined) continue;
      figures[`${entry}_${THROUGHPUT}`] = grown(name) / seconds;
      const latency = after.latencies.get(entry)?.since(this.before.latencies.get(entry));
      if (latency === undefined || latency.count === 0) continue;
      figures[`${entry}_${LATENCY_P50}`] = latency.percentile(0.5);
      figures[`${entry}_${LATENCY_P99}`] = latency.percentile(0.99);
    }
    return {
      ...times,
      figures: Object.fromEntries(Object.entries(figures).filter(([, value]) => !Number.isNaN(value))),
    };
  }
}

/** Follows a run from stretch to stretch. */
export class Phases {
  readonly #contained: boolean;
  readonly #expected: readonly string[];
  readonly #over: PhaseSummary[] = [];
  readonly #begun = new Map<string, number>();
  #current = new Stretch(START, 0, { counters: {}, latencies: new Map() });
  /** Has begun: what is told next is its own, but for a sample of that very moment, which shows how the one before left things. */
  #next: Stretch | undefined;
  /** Those before it that began at the same moment. */
  readonly #passed: Stretch[] = [];

  /** `contained`: whether there is a container, which alone kills. */
  constructor(phases: readonly ResolvedPhase[], contained: boolean) {
    this.#contained = contained;
    this.#expected = phaseNames(phases);
  }

  /** A phase begins. Returns what its stretch is called. */
  begin(nowNs: number, phase: string, tally: Tally): string {
    // One that begins at the very moment of the one before leaves that without length.
    if (this.#next?.fromNs === nowNs) this.#passed.push(this.#next);
    else this.#turn();
    const times = (this.#begun.get(phase) ?? 0) + 1;
    this.#begun.set(phase, times);
    const name = numbered(phase, times);
    this.#next = new Stretch(name, nowNs, tally);
    return name;
  }

  #turn(): void {
    const next = this.#next;
    if (next === undefined) return;
    // Where a phase begins with the run there is nothing before it.
    if (next.fromNs > 0 || this.#over.length > 0 || this.#current.name !== START)
      this.#over.push(this.#current.finish(next.fromNs, next.before, this.#contained));
    for (const passed of this.#passed.splice(0))
      this.#over.push(passed.finish(next.fromNs, next.before, this.#contained));
    this.#current = next;
    this.#next = undefined;
  }

  sample(nowNs: number, goal: number, inuse: number, rss: number): void {
    if (this.#next !== undefined && nowNs > this.#next.fromNs) this.#turn();
    this.#current.sample(goal, inuse, rss);
  }

  cycle(cycle: CycleRecord): void {
    this.#turn();
    this.#current.cycle(cycle);
  }

  killed(): void {
    this.#turn();
    this.#current.kills++;
  }

  /** All stretches so far, in the order of time, and the phases that have not begun; none where no phase is planned and none was begun. */
  finish(nowNs: number, tally: Tally): PhaseSummary[] {
    this.#turn();
    if (this.#expected.length === 0 && this.#begun.size === 0) return [];
    const told = [...this.#over, this.#current.finish(nowNs, tally, this.#contained)];
    const never = this.#expected.filter((name) => !told.some((one) => one.name === name));
    return [...told, ...never.map((name) => ({ name, figures: {} }))];
  }
}

const numbered = (name: string, times: number): string => (times === 1 ? name : `${name} (${times})`);

/** What the stretches of these phases are called once all have begun. */
export function phaseNames(phases: readonly { readonly name: string }[]): string[] {
  return phases.map(({ name }, i) =>
    numbered(name, phases.slice(0, i + 1).filter((other) => other.name === name).length),
  );
}

/** Between a figure's name and the stretch's: no figure has it in its name. */
const AT = "@";

/** `rss_peak_bytes@doubled`: the figures of all stretches by a name of their own. */
export const figuresOfPhases = (phases: readonly PhaseSummary[]): Record<string, number> =>
  Object.fromEntries(
    phases.flatMap(({ name, figures }) =>
      Object.entries(figures).map(([figure, value]) => [`${figure}${AT}${name}`, value] as const),
    ),
  );

/** A figure's own name, and whose it is: of the whole run where none is named. */
export function splitFigure(name: string): { readonly figure: string; readonly phase: string | undefined } {
  const at = name.indexOf(AT);
  return at < 0
    ? { figure: name, phase: undefined }
    : { figure: name.slice(0, at), phase: name.slice(at + AT.length) };
}
