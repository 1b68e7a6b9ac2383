/**
 * trace.json: the event trace for a timeline viewer, in the Trace Event Format (JSON object form) that ui.perfetto.dev and
 * chrome://tracing open.
 *
 * One process; a thread per track: the collector, the scenario, and each P. What lasts is a pair of B and E events, what is
 * complete when it is reported an X, an instant an i, the counters are C events. What the process does without a P is an
 * instant of the process: there may be hundreds at one moment, which on a thread's track would nest in each other. Times are
 * microseconds with three decimals: whole nanoseconds. On each track events stand in the order of their times, which makes
 * B and E nest.
 *
 * A C event holds until the next of its counter. The collector's share is known only at the end of the time it is of, so it is
 * written with the time of the counters before.
 */
import {
  TRACK_GC,
  TRACK_PROCESS,
  TRACK_SCENARIO,
  type TraceDetail,
  type TraceEvent,
  type Tracer,
} from "../runtime/trace.ts";
import { trackName } from "./events.ts";
import { plainNumber } from "./format.ts";

export interface PerfettoOptions {
  /** The process's name. */
  readonly name: string;
  /** GOMAXPROCS at the start: so many P tracks are named; others when they are first seen. */
  readonly procs: number;
  /** Shown with the trace's own facts: versions, seed. */
  readonly about: Readonly<Record<string, string | number>>;
}

const PID = 1;
/** Threads are shown in the order of their numbers. */
const TIDS: Readonly<Record<number, number>> = { [TRACK_PROCESS]: 0, [TRACK_GC]: 1, [TRACK_SCENARIO]: 2 };
const FIRST_P_TID = 10;

function tidOf(track: number): number {
  return TIDS[track] ?? FIRST_P_TID + track;
}

/**
 * Half nanoseconds are common, and an end and the beginning after it are sums that may differ in the last bits: just below a half counts as a
 * half, lest the two be rounded apart.
 */
const wholeNs = (ns: number): number => Math.floor(ns + 0.51);

function microseconds(ns: number): string {
  return (wholeNs(ns) / 1000).toFixed(3);
}

/** The trace as text, piece by piece; `finish` closes it. */
export class PerfettoTrace implements Tracer {
  readonly #write: (text: string) => void;
  readonly #about: PerfettoOptions["about"];
  /** How much was known of what lasts when it began. */
  readonly #told = new Map<TraceEvent, number>();
  readonly #named = new Set([TRACK_PROCESS]);
  #separator = "";
  /** Time of the last counters; -1 before the first. */
  #countedNs = -1;

  constructor(write: (text: string) => void, options: PerfettoOptions) {
    this.#write = write;
    this.#about = options.about;
    write('{"displayTimeUnit":"ns","traceEvents":[\n');
    this.#name("process_name", 0, options.name);
    for (const track of [TRACK_GC, TRACK_SCENARIO, ...Array(options.procs).keys()]) this.#track(track);
  }

  #track(track: number): void {
    this.#named.add(track);
    this.#name("thread_name", tidOf(track), trackName(track));
    this.#put(
      `{"ph":"M","pid":${PID},"tid":${tidOf(track)},"name":"thread_sort_index","args":{"sort_index":${tidOf(track)}}}`,
    );
  }

  begin(event: TraceEvent): void {
    this.#told.set(event, Object.keys(event.detail).length);
    this.#slice("B", event, "", event.detail);
  }

  /**
   * Repeats nothing that was said at the beginning but the name: viewers may do without, speedscope matches by it, and by all else
   * where a slice ends at the moment it begins.
   */
  end(event: TraceEvent): void {
    const told = this.#told.get(event) ?? 0;
    this.#told.delete(event);
    const more = Object.entries(event.detail).slice(event.dur_ns === 0 ? 0 : told);
    const args = more.length === 0 ? "" : `,"args":${JSON.stringify(Object.fromEntries(more))}`;
    const at = microseconds(event.t_ns + event.dur_ns);
    this.#put(
      `{"ph":"E","pid":${PID},"tid":${tidOf(event.track)},"ts":${at},"name":${JSON.stringify(event.name)}${args}}`,
    );
  }

  event(event: TraceEvent): void {
    if (event.kind === "counter") this.#counters(event);
    else if (event.track === TRACK_PROCESS) this.#slice("i", event, ',"s":"p"', event.detail);
    else if (event.dur_ns === 0) this.#slice("i", event, ',"s":"t"', event.detail);
    else {
      const dur = wholeNs(event.t_ns + event.dur_ns) - wholeNs(event.t_ns);
      this.#slice("X", event, `,"dur":${microseconds(dur)}`, event.detail);
    }
  }

  finish(): void {
    this.#write(`\n],"otherData":${JSON.stringify(this.#about)}}\n`);
  }

  #slice(
    ph: string,
    { kind, name, track, t_ns }: TraceEvent,
    more: string,
    detail: Readonly<TraceDetail>,
  ): void {
    if (!this.#named.has(track)) this.#track(track);
    this.#put(
      `{"ph":"${ph}","pid":${PID},"tid":${tidOf(track)},"ts":${microseconds(t_ns)}${more},` +
        `"cat":"${kind}","name":${JSON.stringify(name)},"args":${JSON.stringify(detail)}}`,
    );
  }

  #counters({ t_ns, detail }: TraceEvent): void {
    this.#counter(t_ns, "heap live", "bytes", detail.heap_live_bytes);
    this.#counter(t_ns, "heap goal", "bytes", detail.heap_goal_bytes);
    this.#counter(t_ns, "RSS", "bytes", detail.rss_bytes);
    this.#counter(t_ns, "sample", "count", detail.sample);
    if (this.#countedNs >= 0) this.#counter(this.#countedNs, "GC CPU", "fraction", detail.gc_cpu_fraction);
    this.#countedNs = t_ns;
  }

  #counter(
    t_ns: number,
    name: string,
    unit: "bytes" | "count" | "fraction",
    value: number | undefined,
  ): void {
    if (value === undefined) return;
    this.#put(
      `{"ph":"C","pid":${PID},"tid":0,"ts":${microseconds(t_ns)},"name":"${name}","args":{"${unit}":${plainNumber(value, unit)}}}`,
    );
  }

  #name(what: "process_name" | "thread_name", tid: number, name: string): void {
    this.#put(
      `{"ph":"M","pid":${PID},"tid":${tid},"name":"${what}","args":{"name":${JSON.stringify(name)}}}`,
    );
  }

  #put(event: string): void {
    this.#write(`${this.#separator}${event}`);
    this.#separator = ",\n";
  }
}
