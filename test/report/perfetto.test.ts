/**
 * The two formats of the event trace, on whole runs: trace.json must be what a viewer can import without a warning, both
 * must say what the summary says, and neither may change a run.
 */
import { describe, expect, test } from "vitest";
import { eventLines } from "../../src/report/events.ts";
import { PerfettoTrace } from "../../src/report/perfetto.ts";
import type { TraceOptions, Tracer } from "../../src/runtime/trace.ts";
import { type RunSummary, simulate } from "../../src/simulate.ts";
import { scenarioOf } from "../scenarios.ts";

/** What a viewer reads of an event; which of it must be there depends on `ph`. */
interface ViewerEvent {
  readonly ph: "M" | "B" | "E" | "X" | "i" | "C";
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur: number;
  readonly name: string;
  readonly cat: string;
  readonly s?: string;
  readonly args: Readonly<Record<string, unknown>>;
}

interface Line {
  readonly t_ns: number;
  readonly dur_ns: number;
  readonly kind: string;
  readonly name: string;
  readonly track: string;
  readonly [detail: string]: unknown;
}

interface Traced {
  readonly summary: RunSummary;
  readonly rows: readonly string[];
  readonly json: string;
  readonly events: readonly ViewerEvent[];
  readonly lines: readonly Line[];
}

/** Busy enough that stops cut slices short: Ps share CPUs, goroutines assist, others collect and read statistics. */
const BUSY = `
name: busy
duration: 1450ms
sample_interval: 50ms
machine: { cpus: 2 }
go: { GOMAXPROCS: 3 }
workload:
  - { kind: stream, name: s, rate: 400k/s, size: { uniform: [16, 3000] }, pointers: 60%, lifetime: { exponential: 60ms } }
  - kind: service
    name: api
    arrivals: { rate: 800/s }
    cpu: { exponential: 800us }
    objects: [{ size: 40000, count: 2, pointers: 50% }, { size: 200, count: 30 }]
phases:
  - { at: 600ms, set: { workload.s.rate: 100k/s } }
interventions:
  - { at: 300ms, do: gc, every: 400ms }
  - { at: 360ms, do: read_mem_stats, every: 100ms }
`;

/** A heap that shrinks, so that memory is given back. */
const DRAIN = `
name: drain
duration: 8s
workload:
  - { kind: stream, name: s, rate: 300k/s, size: 512, lifetime: { exponential: 50ms } }
  - { kind: stream, name: spike, rate: 400k/s, size: 1024, stop: 500ms, lifetime: 1s }
`;

function traced(text: string, options: Omit<TraceOptions, "tracer"> = {}): Traced {
  const scenario = scenarioOf(text);
  let json = "";
  let ndjson = "";
  const perfetto = new PerfettoTrace((piece) => (json += piece), {
    name: scenario.name,
    procs: scenario.go.GOMAXPROCS,
    about: { seed: scenario.seed },
  });
  const lines = eventLines((piece) => (ndjson += piece));
  const tracer: Tracer = {
    begin: (event) => perfetto.begin(event),
    end: (event) => {
      perfetto.end(event);
      lines.end?.(event);
    },
    event: (event) => {
      perfetto.event(event);
      lines.event?.(event);
    },
  };
  const rows: string[] = [];
  const sink = { sample: (row: Float64Array) => rows.push(row.join()) };
  const summary = simulate(scenario, { trace: { ...options, tracer }, sink, checked: true });
  perfetto.finish();
  return {
    summary,
    rows,
    json,
    events: (JSON.parse(json) as { traceEvents: ViewerEvent[] }).traceEvents,
    lines: ndjson
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Line),
  };
}

/** Out of CPU quota, held up above memory.high, killed at the limit and started again. */
const CONTAINER = `
name: contained
duration: 3s
sample_interval: 50ms
container: { memory: { max: 48MiB, high: 44MiB }, cpu: { limit: 0.5 }, restart: { policy: always } }
workload:
  - { kind: leak, name: l, rate: 60k/s, size: 512, pointers: 50% }
  - kind: service
    name: api
    arrivals: { rate: 700/s }
    cpu: { exponential: 1ms }
    objects: [{ size: 300, count: 40, pointers: 50% }]
`;

const busy = traced(BUSY);
const contained = traced(CONTAINER);
const drain = traced(DRAIN);
/** From the middle of a cycle to the middle of another. */
const window = ["2", "8"].map((cycle) => {
  const mark = busy.lines.find((line) => line.name === "mark" && `${line["cycle"]}` === cycle);
  if (mark === undefined) throw new Error(`no cycle ${cycle}`);
  return mark.t_ns + Math.floor(mark.dur_ns / 2);
});
const part = traced(BUSY, { fromNs: window[0], untilNs: window[1] });

describe("a run with a trace", () => {
  test("is the run without it", () => {
    for (const [text, run] of [
      [BUSY, busy],
      [DRAIN, drain],
      [CONTAINER, contained],
    ] as const) {
      const rows: string[] = [];
      const summary = simulate(scenarioOf(text), { sink: { sample: (row) => rows.push(row.join()) } });
      expect(rows.length).toBeGreaterThan(20);
      expect(run.rows).toEqual(rows);
      expect(run.summary).toEqual(summary);
    }
  });

  test("gives the same bytes again", () => {
    expect(traced(BUSY).json === busy.json).toBe(true);
  });
});

describe.each([
  ["whole", busy],
  ["of a shrinking heap", drain],
  ["of a window", part],
  ["of processes in a container", contained],
])("trace.json, %s", (_name, run) => {
  test("has only events a viewer knows, with all they need", () => {
    const named = new Set(
      run.events.filter((e) => e.ph === "M" && e.name === "thread_name").map((e) => e.tid),
    );
    expect(run.events.filter((e) => e.name === "process_name").map((e) => e.args["name"])).toEqual([
      run.summary.scenario.name,
    ]);
    const valid = (e: ViewerEvent): boolean => {
      if (e.pid !== 1 || (e.ph !== "M" && !(e.ts >= 0 && e.ts < Infinity))) return false;
      const onTrack = named.has(e.tid);
      const called = e.ph === "E" || (e.name.length > 0 && (e.cat?.length ?? 0) > 0);
      switch (e.ph) {
        case "M":
          return ["process_name", "thread_name", "thread_sort_index"].includes(e.name);
        case "C":
          return Object.values(e.args).every((value) => typeof value === "number");
        case "i":
          return called && (e.s === "p" || (e.s === "t" && onTrack));
        case "X":
          return called && onTrack && e.dur > 0;
        case "B":
        case "E":
          return called && onTrack;
        default:
          return false;
      }
    };
    expect(run.events.length).toBeGreaterThan(1000);
    expect(run.events.filter((e) => !valid(e))).toEqual([]);
  });

  test("keeps each track in order, every slice inside the one around it", () => {
    const open = new Map<number, number[]>();
    const lastNs = new Map<string, number>();
    const wrong: ViewerEvent[] = [];
    for (const e of run.events) {
      if (e.ph === "M") continue;
      // The microseconds in the file have three decimals: whole nanoseconds.
      const at = Math.round(e.ts * 1000);
      const track = e.ph === "C" ? e.name : `${e.tid}`;
      if (at < (lastNs.get(track) ?? 0)) wrong.push(e);
      lastNs.set(track, at);
      if (e.ph === "C") continue;
      // Ends of what is around this event, outermost first; Infinity until the E has come.
      let ends = open.get(e.tid);
      if (ends === undefined) open.set(e.tid, (ends = []));
      while (ends.length > 0 && ends[ends.length - 1] <= at) ends.pop();
      const end = e.ph === "X" ? at + Math.round(e.dur * 1000) : at;
      if (e.ph === "E" && ends.pop() !== Infinity) wrong.push(e);
      if (e.ph === "B" && ends.some((other) => other !== Infinity)) wrong.push(e);
      if (e.ph === "X" && (ends.at(-1) ?? Infinity) < end) wrong.push(e);
      if (e.ph === "B") ends.push(Infinity);
      if (e.ph === "X") ends.push(end);
    }
    expect(wrong).toEqual([]);
    for (const ends of open.values()) expect(ends).not.toContain(Infinity);
  });

  test("says what events.ndjson says", () => {
    const count = (ph: readonly string[]): number => run.events.filter((e) => ph.includes(e.ph)).length;
    const counters = run.lines.filter((line) => line.kind === "counter");
    expect(count(["B"])).toBe(count(["E"]));
    expect(count(["B", "X", "i"]) + counters.length).toBe(run.lines.length);
    const inProc = (name: string): number => run.lines.filter((line) => line.name === name).length;
    for (const name of ["refill", "mark", "mark assist"])
      expect(run.events.filter((e) => e.ph !== "E" && e.name === name).length).toBe(inProc(name));
  });
});

describe("the collector's track", () => {
  test.each([
    ["busy", busy],
    ["drain", drain],
  ])("has the summary's cycles and pauses: %s", (_name, run) => {
    const done = run.lines.filter((line) => line.name === "GC" && line["unfinished"] === undefined);
    expect(done.length).toBeGreaterThan(3);
    expect(done.length).toBe(run.summary.figures["gc_count"]);
    const cycles = new Set(done.map((line) => line["cycle"]));
    const stops = run.lines.filter(
      (line) => line.track === "GC" && line.name.startsWith("STW (GC ") && cycles.has(line["cycle"]),
    );
    expect(stops.length).toBe(2 * done.length);
    const pauseNs = stops.reduce((sum, line) => sum + line.dur_ns, 0);
    // Both ends of a stop are rounded to whole nanoseconds, and it may wait for a thread for a part of one.
    expect(Math.abs(pauseNs - run.summary.figures["pause_total_ns"])).toBeLessThanOrEqual(2 * stops.length);
    for (const p of [0, 1]) {
      const seen = run.lines.filter((l) => l.track === `P${p}` && l.name.startsWith("STW (GC "));
      expect(seen.length).toBeGreaterThanOrEqual(stops.length);
    }
  });

  test("and the Ps agree on the CPU time of workers and assists", () => {
    const work = busy.lines.filter((l) => l.kind === "stall" || l.name.startsWith("GC ("));
    const cpuNs = work.reduce((sum, line) => sum + line.dur_ns, 0);
    const stopped = busy.lines.filter((l) => l.kind === "proc" && l.name.startsWith("STW (GC "));
    const all = (cpuNs + stopped.reduce((sum, line) => sum + line.dur_ns, 0)) / 1e9;
    // The summary has finished cycles only, and of an assist it keeps whole nanoseconds.
    expect(all).toBeGreaterThanOrEqual(busy.summary.figures["gc_cpu_seconds"] * 0.999);
    expect(all).toBeLessThanOrEqual(busy.summary.figures["gc_cpu_seconds"] * 1.1);
  });
});

describe("what is in it", () => {
  const named = (run: Traced, kind: string, name: string): Line[] =>
    run.lines.filter((line) => line.kind === kind && line.name === name);
  const sum = (lines: readonly Line[], key: string): number =>
    lines.reduce((total, line) => total + Number(line[key] ?? 0), 0);

  test("interventions, phases, and the stops they make", () => {
    expect(named(busy, "intervention", "gc").map((l) => l.t_ns)).toEqual([3e8, 7e8, 11e8]);
    expect(named(busy, "intervention", "phase phase 1").map((l) => l.t_ns)).toEqual([6e8]);
    expect(busy.lines.filter((l) => l.name === "GC" && l["reason"] === "explicit").length).toBe(3);
    const reads = named(busy, "proc", "STW (runtime.ReadMemStats)");
    expect(reads.length).toBe(3 * busy.summary.figures["read_mem_stats_count"]);
  });

  test("every fault, every large object, every span swept, every byte the heap grew by", () => {
    const { figures, profile, heap_at_end } = busy.summary;
    const faults = figures["page_faults"] - profile.baseline.page_faults;
    expect(sum(named(busy, "fault", "page faults"), "pages")).toBe(faults);
    const { growth_bytes, large_allocs, spans_swept } = heap_at_end.components.mheap;
    expect(large_allocs).toBeGreaterThan(1000);
    expect(named(busy, "span", "large object").length).toBe(large_allocs);
    expect(sum(busy.lines, "spans_swept")).toBe(spans_swept);
    const mapped = named(busy, "os", "mmap").filter((line) => line["reason"] === "heap grows");
    expect(sum(named(busy, "span", "heap grows"), "grown_bytes")).toBe(growth_bytes);
    expect(sum(mapped, "size_bytes")).toBe(growth_bytes);
    for (const line of named(busy, "span", "refill"))
      expect(line["reason"]).toMatch(/^a (new span|span with room)$/);
  });

  test("memory given back, by call and by who", () => {
    const scavenges = named(drain, "scavenge", "scavenge");
    expect(sum(scavenges, "released_bytes")).toBeGreaterThan(10 << 20);
    expect(sum(named(drain, "os", "madvise"), "size_bytes")).toBe(sum(scavenges, "released_bytes"));
    for (const line of scavenges) expect(["background", "heap growth"]).toContain(line["reason"]);
  });

  test("what a container does: stalls above memory.high, CPU without quota, kills, and the next process", () => {
    const kills = named(contained, "os", "OOM kill");
    expect(kills.length).toBeGreaterThan(0);
    expect(kills.length).toBe(contained.summary.oom_kills?.length);
    expect(named(contained, "stall", "throttled").length).toBeGreaterThan(0);
    expect(named(contained, "stall", "memory.high").length).toBeGreaterThan(0);
    // Arenas are reserved anew by each process that starts.
    const starts = named(contained, "os", "mmap").filter((l) => l["reason"] === "reserve heap arenas");
    expect(starts.length).toBeGreaterThan(1);
    expect(named(contained, "proc", "l").some((l) => l.t_ns > kills[0].t_ns)).toBe(true);
  });

  test("of a window: what lasts is cut to it, and nothing is outside", () => {
    const [from, until] = window;
    expect(part.lines.filter((line) => line.t_ns < from || line.t_ns + line.dur_ns > until)).toEqual([]);
    const inside = (line: Line): boolean =>
      line.dur_ns === 0 && line.t_ns >= from && line.t_ns < until && line.kind !== "counter";
    expect(part.lines.filter(inside)).toEqual(busy.lines.filter(inside));
    const cut = part.lines.filter((line) => line["unfinished"] === true);
    expect(cut.map((line) => line.name)).toEqual(expect.arrayContaining(["GC", "mark"]));
    expect(cut.every((line) => line.t_ns + line.dur_ns === until)).toBe(true);
  });

  test("of some kinds: those and no others", () => {
    const few = traced(BUSY, { kinds: ["stall", "gc"] });
    expect(new Set(few.lines.map((line) => line.kind))).toEqual(new Set(["stall", "gc"]));
    const stalls = (run: Traced): Line[] => run.lines.filter((line) => line.kind === "stall");
    expect(stalls(few).length).toBeGreaterThan(10);
    expect(stalls(few)).toEqual(stalls(busy));
  });
});
