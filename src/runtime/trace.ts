/**
 * The event trace: what the simulated process does and when, for whoever wants to watch.
 *
 * The parts of the runtime report to a `Trace` where Go's execution tracer or a probe of the kernel would see something
 * happen (traceruntime.go of Go 1.26 names the same things); it puts reports in order, gives them their time and place,
 * and hands what was asked for to a `Tracer`. Without one there is no `Trace`, and the allocator's fast path is never
 * reported in any case: the finest grain is a slow path of mallocgc.
 *
 * A track is a place where one thing happens after another: each P, the collector, the process itself. What lasts nests
 * on its track. Times are virtual nanoseconds.
 *
 * A goroutine's step does everything it does to memory when it begins and says afterwards how much CPU time that took (proc.ts).
 * So what happens in a step is kept with the CPU time the step had used by then, and reported once that part of the step
 * has really run: later, on another P, and stretched where Ps share a CPU, if that is how it went. Events of one track
 * therefore come in the order of their beginnings; those of different tracks may be out of order by a slice.
 *
 * Simplified: within a step, what happens between two slow paths (a fault while a span is filled) counts to the later
 * one, which is when it is charged; the sweep or the freeing of one span and the fault of one page are never events of their own.
 * Where it stops being true: stacks that grow and metadata that is mapped have no slow path of their own and appear at the
 * point the step has reached.
 */
import { OS_PAGE_BYTES } from "../os/os.ts";
import type { HeapWork } from "./heapstats.ts";
import type { CycleRecord } from "./mgc.ts";
import type { G } from "./proc.ts";
import { pageSize } from "./sizeclasses.ts";

/** What can be traced, and what each kind holds. */
export const TRACE_KINDS = {
  gc: "cycles: sweep termination, concurrent mark, mark termination, sweep",
  proc: "what each P runs: goroutines, mark workers, stops of the world",
  stall: "what goroutines do not want to do: mark assists, sleep for memory.high, wait for CPU quota",
  span: "mallocgc's slow paths: refills, large objects, spans made and freed, sweeping, growth of the heap",
  os: "calls to the kernel: mmap, madvise",
  fault: "page faults, summed up by slow path and region",
  scavenge: "memory given back, with who did it and why",
  intervention: "what the scenario does to the process: phases, interventions, policies",
  counter: "heap live, goal, RSS and the collector's share of the Ps",
} as const;

export type TraceKind = keyof typeof TRACE_KINDS;

export function isTraceKind(text: string): text is TraceKind {
  return Object.hasOwn(TRACE_KINDS, text);
}

/** Tracks that are no P; a P's track is its number. */
export const TRACK_GC = -1;
/** What the process does with no P at work: its start, and while the world is stopped. */
export const TRACK_PROCESS = -2;
export const TRACK_SCENARIO = -3;

/** What an event says beside its name; units end the names. */
export interface TraceDetail {
  /** Why it happened, or what for. */
  reason?: string;
  /** Number of the sample taken at this moment, as layers.csv has it. */
  sample?: number;
  /** Number of the cycle, as gctrace counts. */
  cycle?: number;
  /** Number of the goroutine; a number is used again once its goroutine has ended. */
  goroutine?: number;
  /** CPU of the container's quota, and how long it stands still. */
  processor?: number;
  wait_ns?: number;
  /** CPU time used, where it is not the event's length. */
  cpu_ns?: number;
  /** What the name speaks of: a mapping, a span, an object, the debt an assist works off. */
  size_bytes?: number;
  /** Runtime pages (8 KiB) of a span; OS pages (4 KiB) of faults. */
  pages?: number;
  /** Size class of a refill; 0 of a large object. */
  class_bytes?: number;
  pointers?: boolean;
  /** Of the size, what had to come back from the OS or was resident and went to it. */
  scavenged_bytes?: number;
  released_bytes?: number;
  retained_bytes?: number;
  /** What a slow path did on its way. */
  spans_made?: number;
  spans_swept?: number;
  spans_freed?: number;
  grown_bytes?: number;
  zeroed_bytes?: number;
  reclaimed_pages?: number;
  faults?: number;
  heap_live_bytes?: number;
  heap_goal_bytes?: number;
  heap_marked_bytes?: number;
  trigger_bytes?: number;
  heap_sys_bytes?: number;
  rss_bytes?: number;
  /** Share of the Ps' time since the last counter event. */
  gc_cpu_fraction?: number;
  /** The run, or the time asked for, ended before it did. */
  unfinished?: boolean;
}

export interface TraceEvent {
  readonly kind: TraceKind;
  readonly name: string;
  /** A P's number, or one of the TRACK_ constants. */
  readonly track: number;
  readonly t_ns: number;
  /** 0 for an instant; -1 while it lasts. */
  readonly dur_ns: number;
  readonly detail: Readonly<TraceDetail>;
}

/** Receives the trace as it arises. An event may be kept: it changes only between its `begin` and its `end`. */
export interface Tracer {
  /** Something begins to last. It nests in what lasts on its track. */
  begin?(event: TraceEvent): void;
  /** The innermost of what lasts on its track ends: the object given to `begin`, complete. */
  end?(event: TraceEvent): void;
  /** An instant, or something already over. */
  event?(event: TraceEvent): void;
}

export interface TraceOptions {
  readonly tracer: Tracer;
  /** Default: all. */
  readonly kinds?: readonly TraceKind[];
  /** Only what happens in [fromNs, untilNs) of virtual time; what lasts is cut to it. */
  readonly fromNs?: number;
  readonly untilNs?: number;
}

/** The figures behind the counters, of this instant. */
export interface TraceGauges {
  readonly heapLive: number;
  readonly heapGoal: number;
  readonly rss: number;
}

/** What a P can be seen doing. */
export type Occupation =
  | "idle"
  | "run"
  | "assist"
  | "dedicated"
  | "fractional"
  | "idle worker"
  | "done"
  | "stalled"
  | "stopped";

interface MutableEvent extends TraceEvent {
  track: number;
  t_ns: number;
  dur_ns: number;
  detail: TraceDetail;
}

interface Lasting {
  readonly event: MutableEvent;
  /** The tracer has been told of it. */
  begun: boolean;
}

/** Something a step does, `offsetNs` of its CPU time in. */
interface Deferred {
  readonly event: MutableEvent;
  readonly offsetNs: number;
  costNs: number;
}

interface Step {
  /** Of its goroutine. */
  readonly label: string;
  readonly events: Deferred[];
  /** Events reported, and CPU time run. */
  reported: number;
  spentNs: number;
}

const GC_OCCUPATIONS: ReadonlySet<Occupation> = new Set([
  "assist",
  "dedicated",
  "fractional",
  "idle worker",
  "done",
]);

export class Trace {
  /** Why memory is being given back, for the calls to the kernel that do it. */
  releaseReason = "";
  readonly #tracer: Tracer;
  readonly #kinds: ReadonlySet<TraceKind>;
  readonly #fromNs: number;
  readonly #untilNs: number;
  #procs: number;
  #clock: { readonly nowNs: number } = { nowNs: 0 };
  #gauges: (() => TraceGauges) | null = null;

  /** What lasts, outermost first, by track. */
  readonly #lasting = new Map<number, Lasting[]>();
  /** The window has begun; it is over. */
  #open = false;
  #closed = false;

  /** Per P: what it does, since when, and the slice it runs. */
  readonly #occupation: Occupation[];
  #sinceNs: Float64Array;
  #sliceStartNs: Float64Array;
  #sliceSlow: Float64Array;
  /** Time of Ps spent for the collector, up to their last change. */
  #gcNs = 0;
  #gaugedNs = 0;
  #gaugedGcNs = 0;
  /** Time of all Ps since then, up to the last change of their number, and when that was. */
  #roomNs = 0;
  #resizedNs = 0;
  /** What the world is stopped for, while it is. */
  #stoppedFor = "";
  /** That stop, or the next one, is the collector's. */
  #stopsForGc = false;
  #stopAnnounced = false;

  /** The step under way: null when whatever happens, happens now. */
  #step: Step | null = null;
  readonly #steps = new Map<G, Step>();
  /** CPU time the step had used when its current slow path began. */
  #offsetNs = 0;
  #slow: Deferred | null = null;
  /** Spans freed and not reported yet, with their pages; faults not charged yet, by region. */
  #freedSpans = 0;
  #freedPages = 0;
  readonly #faults = new Map<string, number>();

  constructor(options: TraceOptions, procs: number) {
    this.#tracer = options.tracer;
    this.#kinds = new Set(options.kinds ?? (Object.keys(TRACE_KINDS) as TraceKind[]));
    this.#fromNs = options.fromNs ?? 0;
    this.#untilNs = options.untilNs ?? Infinity;
    this.#procs = procs;
    this.#occupation = new Array<Occupation>(procs).fill("idle");
    this.#sinceNs = new Float64Array(procs);
    this.#sliceStartNs = new Float64Array(procs);
    this.#sliceSlow = new Float64Array(procs).fill(1);
  }

  /** Binds the clock and the counters of a process, once they exist. */
  attach(clock: { readonly nowNs: number }, gauges: () => TraceGauges): void {
    this.#clock = clock;
    this.#gauges = gauges;
  }

  /** The run is over for this process; killed, another may follow. */
  processEnds(nowNs: number, killed: boolean): void {
    this.#clock = { nowNs };
    this.#reportSums();
    // Steps under way have done all they do, though the process ends before the CPU time for it is spent.
    for (const { events, reported } of this.#steps.values())
      for (const { event, costNs } of events.slice(reported)) {
        if (costNs > 0) event.detail.cpu_ns = Math.round(costNs);
        this.#now(event);
      }
    this.#steps.clear();
    if (killed) this.instant("os", "OOM kill", { reason: "the container is at its limit" });
    this.#advance();
    if (!this.#closed) this.#endAll(nowNs);
    this.#occupation.fill("idle");
    this.#stopAnnounced = false;
  }

  /** It is now so late, and no process lives. */
  noProcessAt(nowNs: number): void {
    this.#clock = { nowNs };
  }

  // ---------------------------------------------------------------- anybody's reports

  /** Something that takes no time of its own, or `costNs` of CPU, where the step under way has got to. */
  instant(kind: TraceKind, name: string, detail: TraceDetail, costNs = 0): void {
    if (!this.#kinds.has(kind)) return;
    const event = { kind, name, track: TRACK_PROCESS, t_ns: 0, dur_ns: 0, detail };
    if (this.#step !== null) {
      this.#step.events.push({ event, offsetNs: this.#offsetNs, costNs });
      return;
    }
    if (costNs > 0) event.detail.cpu_ns = Math.round(costNs);
    this.#now(event);
  }

  /** The scenario changes something. */
  intervention(name: string, detail: TraceDetail = {}): void {
    this.#now({ kind: "intervention", name, track: TRACK_SCENARIO, t_ns: 0, dur_ns: 0, detail });
  }

  /** A moment at which the counters are worth a look; `sample` says which of the samples it is, where somebody asks. */
  gauge(sample?: number): void {
    if (this.#gauges === null || !this.#kinds.has("counter")) return;
    const now = this.#clock.nowNs;
    const { heapLive, heapGoal, rss } = this.#gauges();
    let gcNs = this.#gcNs;
    for (let p = 0; p < this.#procs; p++) if (this.#forGc(p)) gcNs += now - this.#sinceNs[p];
    const room = this.#roomNs + (now - Math.max(this.#gaugedNs, this.#resizedNs)) * this.#procs;
    const detail: TraceDetail = { heap_live_bytes: heapLive, heap_goal_bytes: heapGoal, rss_bytes: rss };
    if (sample !== undefined) detail.sample = sample;
    if (room > 0) detail.gc_cpu_fraction = (gcNs - this.#gaugedGcNs) / room;
    this.#gaugedNs = now;
    this.#roomNs = 0;
    this.#gaugedGcNs = gcNs;
    this.#now({ kind: "counter", name: "heap", track: TRACK_PROCESS, t_ns: 0, dur_ns: 0, detail });
  }

  // ---------------------------------------------------------------- the scheduler's (proc.ts)

  /** P `p` does something else from now on; `g` is the goroutine it does it for. */
  onP(p: number, what: Occupation, g: G | null = null): void {
    const now = this.#clock.nowNs;
    if (this.#forGc(p)) this.#gcNs += now - this.#sinceNs[p];
    this.#sinceNs[p] = now;
    this.#end(p);
    this.#occupation[p] = what;
    this.#sliceStartNs[p] = now;
    this.#sliceSlow[p] = 1;
    switch (what) {
      case "idle":
        return;
      case "run":
        if (g !== null) this.#begin(p, "proc", g.label, { goroutine: g.id });
        return;
      case "assist":
        if (g !== null)
          this.#begin(p, "stall", "mark assist", {
            goroutine: g.id,
            reason: `${g.label} has allocated beyond its credit`,
            size_bytes: Math.round(-g.gcAssistBytes),
          });
        return;
      case "done":
        this.#begin(p, "proc", "gcMarkDone", { reason: "no work left: every P passes a safe point" });
        return;
      case "stalled":
        if (g !== null)
          this.#begin(p, "stall", "memory.high", {
            goroutine: g.id,
            reason: `${g.label} sleeps in a page fault: the container is above memory.high`,
          });
        return;
      case "stopped":
        this.#begin(p, "proc", `STW (${this.#stoppedFor})`, {});
        return;
      default:
        this.#begin(p, "proc", `GC (${what === "idle worker" ? "idle" : what})`, {});
    }
  }

  /** GOMAXPROCS changes: what Ps that go were seen doing is over. */
  procresize(procs: number): void {
    if (procs === this.#procs) return;
    const now = this.#clock.nowNs;
    this.#roomNs += (now - Math.max(this.#gaugedNs, this.#resizedNs)) * this.#procs;
    this.#resizedNs = now;
    for (let p = procs; p < this.#procs; p++) this.onP(p, "idle");
    const kept = Math.min(procs, this.#procs);
    this.#occupation.length = kept;
    for (let p = kept; p < procs; p++) this.#occupation.push("idle");
    const copy = (from: Float64Array, fill: number): Float64Array => {
      const to = new Float64Array(procs).fill(fill);
      to.set(from.subarray(0, kept));
      return to;
    };
    this.#sinceNs = copy(this.#sinceNs, now);
    this.#sliceStartNs = copy(this.#sliceStartNs, now);
    this.#sliceSlow = copy(this.#sliceSlow, 1);
    this.#procs = procs;
  }

  /** CPU `processor` of the container's quota is used up from `atNs`, for `ns`. */
  throttled(processor: number, atNs: number, ns: number): void {
    if (!this.#kinds.has("stall")) return;
    this.#advance();
    const detail: TraceDetail = { reason: "CPU quota used up", processor, wait_ns: Math.round(ns) };
    this.#report({ kind: "stall", name: "throttled", track: TRACK_PROCESS, t_ns: atNs, dur_ns: 0, detail });
  }

  /** So long the slice under way on P `p` stands still. */
  held(p: number, ns: number): void {
    this.#sliceStartNs[p] += ns;
  }

  /** A goroutine stops the world; for what, the collector has said before if it is its doing. */
  worldStops(g: G | null): void {
    this.#stopsForGc = this.#stopAnnounced;
    this.#stopAnnounced = false;
    if (!this.#stopsForGc) this.#stoppedFor = g?.label ?? "unknown";
  }

  stepBegins(g: G): void {
    this.#step = { label: g.label, events: [], reported: 0, spentNs: 0 };
    this.#offsetNs = 0;
  }

  stepEnds(g: G): void {
    const step = this.#step;
    this.#step = null;
    if (step !== null && step.events.length > 0) this.#steps.set(g, step);
  }

  /** Some of the CPU time of P `p`'s goroutine is spent from now on, `slow` times as long as it is. */
  sliceBegins(p: number, slow: number): void {
    this.#sliceStartNs[p] = this.#clock.nowNs;
    this.#sliceSlow[p] = slow;
  }

  /** That time is over, or cut short; `all`: nothing of the step is left to run. */
  sliceEnds(p: number, g: G, all: boolean): void {
    const step = this.#steps.get(g);
    if (step === undefined) return;
    const now = this.#clock.nowNs;
    const start = this.#sliceStartNs[p];
    const slow = this.#sliceSlow[p];
    this.#openWindow(now);
    const before = step.spentNs;
    step.spentNs += Math.max(0, now - start) / slow;
    for (; step.reported < step.events.length; step.reported++) {
      const { event, offsetNs, costNs } = step.events[step.reported];
      if (offsetNs > step.spentNs && !all) return;
      event.track = p;
      event.t_ns = Math.min(now, start + Math.max(0, offsetNs - before) * slow);
      event.dur_ns = Math.min(costNs * slow, now - event.t_ns);
      if (Math.abs(event.dur_ns - costNs) >= 1) event.detail.cpu_ns = Math.round(costNs);
      this.#report(event);
    }
    this.#steps.delete(g);
  }

  // ---------------------------------------------------------------- the allocator's (runtime.ts)

  /** mallocgc leaves its fast path, `atNs` of CPU time into the step. */
  slowPathBegins(name: "refill" | "large object", atNs: number, detail: TraceDetail): void {
    const event: MutableEvent = { kind: "span", name, track: TRACK_PROCESS, t_ns: 0, dur_ns: 0, detail };
    this.#offsetNs = atNs;
    this.#slow = { event, offsetNs: atNs, costNs: 0 };
    // It comes before what happens inside it.
    if (this.#kinds.has("span")) this.#step?.events.push(this.#slow);
  }

  slowPathEnds(): void {
    const slow = this.#slow;
    this.#slow = null;
    if (slow === null) return;
    const { event, costNs } = slow;
    event.detail.reason =
      event.name !== "refill"
        ? "too large for a size class"
        : event.detail.spans_made === undefined
          ? "a span with room"
          : "a new span";
    this.#offsetNs = slow.offsetNs + costNs;
    if (this.#step !== null || !this.#kinds.has("span")) return;
    event.detail.cpu_ns = Math.round(costNs);
    this.#now(event);
  }

  /** What the heap has done since the last such report, and what it costs: before the counts are reset. */
  work(work: HeapWork, faults: number, costNs: number): void {
    this.#reportSums();
    if (costNs === 0) return;
    const detail: TraceDetail = this.#slow?.event.detail ?? {
      reason: this.#step?.label ?? "sweep termination",
    };
    if (work.spansAllocated > 0) detail.spans_made = work.spansAllocated;
    if (work.spansSwept > 0) detail.spans_swept = work.spansSwept;
    if (work.growthBytes > 0) detail.grown_bytes = work.growthBytes;
    if (work.bytesZeroed > 0) detail.zeroed_bytes = work.bytesZeroed;
    if (work.reclaimedPages > 0) detail.reclaimed_pages = work.reclaimedPages;
    if (faults > 0) detail.faults = faults;
    if (this.#slow !== null) this.#slow.costNs += costNs;
    else if (work.spansSwept > 0) this.instant("span", "sweep", detail, costNs);
  }

  /** A span went back to the page heap; reported with all others of its slow path. */
  spanFreed(pages: number): void {
    this.#freedSpans++;
    this.#freedPages += pages;
  }

  #reportSums(): void {
    if (this.#freedSpans > 0) {
      const pages = this.#freedPages;
      this.instant("span", "spans freed", {
        spans_freed: this.#freedSpans,
        pages,
        size_bytes: pages * pageSize,
      });
      this.#freedSpans = this.#freedPages = 0;
    }
    for (const [region, pages] of this.#faults)
      this.instant("fault", "page faults", { reason: region, pages, size_bytes: pages * OS_PAGE_BYTES });
    this.#faults.clear();
  }

  // ---------------------------------------------------------------- the kernel's (tracedos.ts)

  /** Page faults, to be reported when they are charged. */
  faulted(region: string, pages: number): void {
    if (pages > 0 && this.#kinds.has("fault"))
      this.#faults.set(region, (this.#faults.get(region) ?? 0) + pages);
  }

  // ---------------------------------------------------------------- the collector's (mgc.ts)

  cycleBegins(cycle: number, reason: string, heapLive: number, trigger: number): void {
    this.#end(TRACK_GC);
    this.#begin(TRACK_GC, "gc", "GC", { cycle, reason, heap_live_bytes: heapLive, trigger_bytes: trigger });
    this.#gcStop("GC sweep termination", cycle);
    this.gauge();
  }

  markBegins(cycle: number, heapGoal: number): void {
    this.#end(TRACK_GC);
    this.#begin(TRACK_GC, "gc", "mark", { cycle, heap_goal_bytes: heapGoal });
    this.gauge();
  }

  markEnds(cycle: number): void {
    this.#end(TRACK_GC);
    this.#gcStop("GC mark termination", cycle);
    this.gauge();
  }

  /** The world is about to start again, and sweeping begins. */
  cycleEnds(record: CycleRecord, pagesToSweep: number): void {
    this.#reportSums();
    this.#end(TRACK_GC);
    this.#end(TRACK_GC, { heap_marked_bytes: record.heap_marked_bytes });
    this.#begin(TRACK_GC, "gc", "sweep", { cycle: record.gc, pages: pagesToSweep });
    this.gauge();
  }

  /** The last span of the cycle was swept. */
  sweepDone(): void {
    const lasting = this.#lasting.get(TRACK_GC);
    if (lasting?.at(-1)?.event.name === "sweep") this.#end(TRACK_GC);
  }

  #gcStop(why: string, cycle: number): void {
    this.#stopAnnounced = true;
    this.#stoppedFor = why;
    this.#begin(TRACK_GC, "gc", `STW (${why})`, { cycle });
  }

  // ---------------------------------------------------------------- order and window

  #forGc(p: number): boolean {
    const what = this.#occupation[p];
    return GC_OCCUPATIONS.has(what) || (what === "stopped" && this.#stopsForGc);
  }

  #begin(track: number, kind: TraceKind, name: string, detail: TraceDetail): void {
    if (!this.#kinds.has(kind)) return;
    this.#advance();
    if (this.#closed) return;
    const event: MutableEvent = { kind, name, track, t_ns: this.#clock.nowNs, dur_ns: -1, detail };
    let lasting = this.#lasting.get(track);
    if (lasting === undefined) this.#lasting.set(track, (lasting = []));
    lasting.push({ event, begun: this.#open });
    if (this.#open) this.#tracer.begin?.(event);
  }

  /** Ends the innermost of what lasts on the track, if anything does. */
  #end(track: number, detail: TraceDetail = {}): void {
    this.#advance();
    const last = this.#lasting.get(track)?.pop();
    if (last === undefined || !last.begun) return;
    Object.assign(last.event.detail, detail);
    last.event.dur_ns = this.#clock.nowNs - last.event.t_ns;
    this.#tracer.end?.(last.event);
  }

  #now(event: MutableEvent): void {
    if (!this.#kinds.has(event.kind)) return;
    this.#advance();
    event.t_ns = this.#clock.nowNs;
    this.#report(event);
  }

  #report(event: MutableEvent): void {
    if (!this.#open || this.#closed || event.t_ns < this.#fromNs || event.t_ns >= this.#untilNs) return;
    event.dur_ns = Math.min(event.dur_ns, this.#untilNs - event.t_ns);
    this.#tracer.event?.(event);
  }

  #advance(): void {
    const now = this.#clock.nowNs;
    this.#openWindow(now);
    if (now >= this.#untilNs) this.#finish(this.#untilNs);
  }

  /** From here on the tracer is told: first of all that lasts already, cut to the window. */
  #openWindow(now: number): void {
    if (this.#open || now < this.#fromNs) return;
    this.#open = true;
    for (const lasting of this.#lasting.values()) {
      for (const one of lasting) {
        one.begun = true;
        one.event.t_ns = this.#fromNs;
        this.#tracer.begin?.(one.event);
      }
    }
  }

  #finish(atNs: number): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#endAll(atNs);
    this.#steps.clear();
  }

  #endAll(atNs: number): void {
    for (const lasting of this.#lasting.values()) {
      for (let one = lasting.pop(); one !== undefined; one = lasting.pop()) {
        if (!one.begun) continue;
        one.event.detail.unfinished = true;
        one.event.dur_ns = atNs - one.event.t_ns;
        this.#tracer.end?.(one.event);
      }
    }
  }
}
