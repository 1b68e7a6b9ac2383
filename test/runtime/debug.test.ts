/** GOMAXPROCS while a program runs: by runtime.GOMAXPROCS, and by the runtime itself from Go 1.25 on. */
import { describe, expect, test } from "vitest";
import { PerfettoTrace } from "../../src/report/perfetto.ts";
import { OwnerTable } from "../../src/runtime/owners.ts";
import { SyncPool } from "../../src/runtime/pool.ts";
import type { TraceEvent } from "../../src/runtime/trace.ts";
import { type CycleRecord, type RunSummary, sampleColumns, simulate } from "../../src/simulate.ts";
import { scenarioOf } from "../scenarios.ts";

interface Run {
  readonly rows: readonly Readonly<Record<string, number>>[];
  readonly cycles: readonly CycleRecord[];
  readonly events: readonly TraceEvent[];
  readonly summary: RunSummary;
  /** Names of the tracks of trace.json. */
  readonly tracks: readonly string[];
}

function run(text: string): Run {
  const scenario = scenarioOf(text);
  const names = sampleColumns(scenario).map(({ name }) => name);
  const rows: Record<string, number>[] = [];
  const cycles: CycleRecord[] = [];
  const events: TraceEvent[] = [];
  let json = "";
  const perfetto = new PerfettoTrace((piece) => (json += piece), {
    name: "t",
    procs: scenario.go.GOMAXPROCS,
    about: {},
  });
  const summary = simulate(scenario, {
    checked: true,
    sink: {
      sample: (row) => rows.push(Object.fromEntries(names.map((name, i) => [name, row[i]]))),
      cycle: (cycle) => cycles.push({ ...cycle }),
    },
    trace: {
      kinds: ["gc", "proc", "counter"],
      tracer: {
        begin: (event) => perfetto.begin(event),
        end: (event) => {
          events.push(event);
          perfetto.end(event);
        },
        event: (event) => perfetto.event(event),
      },
    },
  });
  perfetto.finish();
  const { traceEvents } = JSON.parse(json) as {
    traceEvents: { name: string; ph: string; args: { name: string } }[];
  };
  const tracks = traceEvents.filter(({ name }) => name === "thread_name").map(({ args }) => args.name);
  return { rows, cycles, events, summary, tracks };
}

const WORKLOAD = `
workload:
  - kind: service
    name: api
    arrivals: {rate: 2000/s}
    cpu: {exponential: 200us}
    io: {exponential: 2ms}
    stack: {uniform: [1KiB, 20KiB]}
    objects:
      - {name: body, size: 4KiB, allocator: pool}
      - {name: structs, count: {uniform: [50, 100]}, size: {lognormal: {median: 80, sigma: 0.8}}, pointers: 50%}
  - {kind: cache, name: c, requests: 2000/s, keys: 60000, max_entries: 30000, prefill: true, objects: [{size: 700, pointers: 30%}]}
  - {kind: stream, name: tiny, rate: 200k/s, size: 12, lifetime: 100ms}
  - {kind: stream, name: big, rate: 200/s, size: 40KiB, lifetime: 100ms}
`;

describe("runtime.GOMAXPROCS, 2 to 8 to 1 to 4 in the middle of what goes on", () => {
  // The steps are not in time with anything, so that changes are asked for while marking, sweeping and at rest.
  const every = "every: 37ms, do: set_gomaxprocs";
  const { rows, cycles, events, summary, tracks } = run(`
name: steps
duration: 8s
machine: {cpus: 4}
go: {GOMAXPROCS: 2, GOGC: 20}
${WORKLOAD}
interventions:
  - {at: 10ms, ${every}, to: 8}
  - {at: 19ms, ${every}, to: 1}
  - {at: 28ms, ${every}, to: 4}
  - {at: 37ms, ${every}, to: 2}
`);
  const stops = events.filter(({ name, track }) => name === "STW (runtime.GOMAXPROCS)" && track === 0);
  const marks = events.filter(({ name }) => name === "GC");
  const sweeps = events.filter(({ name }) => name === "sweep");
  const inside = (event: TraceEvent, outer: TraceEvent): boolean =>
    event.t_ns > outer.t_ns && event.t_ns < outer.t_ns + outer.dur_ns;

  test("happens while spans are swept, and never within a collection: it waits for its end", () => {
    expect(stops.length).toBeGreaterThan(200);
    expect(stops.filter((stop) => marks.some((gc) => inside(stop, gc)))).toEqual([]);
    expect(stops.filter((stop) => sweeps.some((sweep) => inside(stop, sweep))).length).toBeGreaterThan(10);
    const asked = [10, 19, 28, 37].flatMap((at) =>
      Array.from({ length: 220 }, (_, n) => (at + 37 * n) * 1e6),
    );
    const during = marks.filter((gc) => asked.some((at) => at > gc.t_ns && at < gc.t_ns + gc.dur_ns));
    expect(during.length).toBeGreaterThan(10);
  });

  test("gives every cycle its Ps: workers, idle workers and the line of gctrace go by them", () => {
    expect(new Set(cycles.map(({ procs }) => procs))).toEqual(new Set([1, 2, 4, 8]));
    for (const cycle of cycles) {
      const ns = cycle.concurrent_ns * cycle.procs;
      expect(cycle.background_cpu_ns + cycle.idle_cpu_ns).toBeLessThanOrEqual(ns);
    }
  });

  test("gives and takes mcaches; each P that was there has a track of its own", () => {
    const bytes = 2296; // sizeof(runtime.mcache), as read from the real runtime.
    for (const row of rows) expect(row["mcache_inuse_bytes"]).toBe(row["gomaxprocs"] * bytes);
    expect(new Set(rows.map((row) => row["gomaxprocs"])).size).toBeGreaterThan(2);
    expect(tracks).toEqual(["GC", "scenario", "P0", "P1", ...tracks.slice(4)]);
    expect(tracks.slice(4).sort()).toEqual(["P2", "P3", "P4", "P5", "P6", "P7"]);
  });

  test("loses no goroutine: all requests are served but those of the last moment", () => {
    const { figures } = summary;
    expect(figures["api_requests"]).toBeGreaterThan(2000 * 3 * 0.95);
    expect(rows[rows.length - 1]["requests_in_flight"]).toBeLessThan(100);
    expect(summary.events.map(({ event }) => event)).toEqual([
      "set_gomaxprocs 8",
      "set_gomaxprocs 1",
      "set_gomaxprocs 4",
      "set_gomaxprocs 2",
    ]);
  });
});

describe("GCCPUFraction", () => {
  const { rows, cycles, summary } = run(`
name: share
duration: 4s
machine: {cpus: 8}
go: {GOMAXPROCS: 8}
${WORKLOAD}
interventions:
  - {at: 2s, do: set_gomaxprocs, to: 2}
`);
  test("is a share of the time of all the Ps there have been, each as long as it was there", () => {
    const last = cycles[cycles.length - 1];
    expect(last.start_seconds).toBeGreaterThan(2.2);
    const end = (last.start_seconds * 1e9 + last.stw1_ns + last.concurrent_ns + last.stw2_ns) / 1e9;
    const row = rows[rows.length - 1];
    const gcSeconds = summary.figures["gc_cpu_seconds"] - row["gc_idle_cpu_seconds"];
    // 8 Ps for two seconds, then 2. The stop of the change, and the barrier before mark termination, are below a millisecond.
    const total = 8 * 2 + 2 * (end - 2);
    expect(row["gc_cpu_fraction"] / (gcSeconds / total)).toBeGreaterThan(0.995);
    expect(row["gc_cpu_fraction"] / (gcSeconds / total)).toBeLessThan(1.005);
    expect(summary.figures["gomaxprocs_mean"]).toBeCloseTo(5, 2);
    expect(summary.figures["usable_cpu_seconds"]).toBeCloseTo(20, 2);
  });
});

describe("a sync.Pool", () => {
  const clock = { nprocs: 2, deathTick: () => 7 };
  const make = (nprocs: number) => {
    clock.nprocs = nprocs;
    const owners = new OwnerTable();
    return { owners, pool: new SyncPool(owners, clock) };
  };

  test("is stolen from on Ps that went, but for their private item", () => {
    const { owners, pool } = make(4);
    const [kept, shared] = [owners.alloc(), owners.alloc()];
    pool.put(3, kept);
    pool.put(3, shared);
    clock.nprocs = 1;
    expect(pool.get(0)).toBe(shared);
    expect(pool.get(0)).toBe(-1);
    pool.cleanup(8);
    pool.cleanup(9);
    expect(owners.death[kept]).toBe(9);
  });

  test("loses what it holds when a new P uses it first", () => {
    const { owners, pool } = make(2);
    const item = owners.alloc();
    pool.put(1, item);
    clock.nprocs = 4;
    expect(pool.get(3)).toBe(-1);
    expect(owners.death[item]).toBe(7);
    expect(pool.get(1)).toBe(-1);
  });

  test("has no victims for Ps that were not there when they were made", () => {
    const { owners, pool } = make(2);
    const [item, other] = [owners.alloc(), owners.alloc()];
    pool.put(0, item);
    pool.put(0, other);
    pool.cleanup(1);
    clock.nprocs = 3;
    expect(pool.get(2)).toBe(-1);
    expect(pool.get(1)).toBe(other);
  });
});

describe("the runtime's own update", () => {
  const quota = (go: string, limit = 6): Run =>
    run(`
name: quota
duration: 4s
machine: {cpus: 8}
go: ${go}
container: {cpu: {limit: 2}}
${WORKLOAD}
interventions:
  - {at: 1500ms, do: resize_container, cpu_limit: ${limit}}
`);
  const procs = ({ rows }: Run): number[] =>
    rows.filter(({ t_seconds: t }) => t === 1.4 || t === 1.9 || t === 2.1).map((row) => row["gomaxprocs"]);

  test("comes within a second of the change of the CPU limit", () => {
    const followed = quota("{}");
    expect(procs(followed)).toEqual([2, 2, 6]);
    expect(followed.summary.events).toEqual([
      { t_seconds: 1.5, event: "resize_container cpu_limit 6", reason: "at its time" },
      {
        t_seconds: expect.closeTo(2, 2) as number,
        event: "GOMAXPROCS 2 -> 6",
        reason: "the container's CPU limit has changed",
      },
    ]);
    expect(followed.events.some(({ name }) => name === "STW (updateMaxProcs)")).toBe(true);
  });

  test("goes no higher than the CPUs, and rounds up", () => {
    expect(procs(quota("{}", 20))[2]).toBe(8);
    expect(procs(quota("{}", 2.5))[2]).toBe(3);
  });

  test("does not come with updatemaxprocs=0", () => {
    expect(procs(quota("{GODEBUG: {updatemaxprocs: 0}}"))).toEqual([2, 2, 2]);
  });

  test("keeps off a GOMAXPROCS that was set, before the start or by a call", () => {
    expect(quota("{GOMAXPROCS: 3}").rows[30]["gomaxprocs"]).toBeUndefined();
    expect(quota("{GOMAXPROCS: 3}").cycles.every((cycle) => cycle.procs === 3)).toBe(true);
    const called = run(`
name: called
duration: 4s
machine: {cpus: 8}
container: {cpu: {limit: 2}}
${WORKLOAD}
interventions:
  - {at: 500ms, do: set_gomaxprocs, to: 5}
  - {at: 1500ms, do: resize_container, cpu_limit: 6}
`);
    expect(procs(called)).toEqual([5, 5, 5]);
  });

  test("is not there before Go 1.25", () => {
    expect(quota('{version: "1.24"}').cycles.every((cycle) => cycle.procs === 8)).toBe(true);
  });
});
