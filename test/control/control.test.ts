import { describe, expect, test } from "vitest";
import { type Gauges, Watch, Watcher } from "../../src/control/conditions.ts";
import { PRIORITY_WORLD } from "../../src/runtime/proc.ts";
import type { Condition, When } from "../../src/scenario/conditions.ts";
import { type RunSummary, SAMPLE_COLUMNS, sampleColumns, simulate } from "../../src/simulate.ts";
import { faultsOf, scenarioOf } from "../scenarios.ts";

const MiB = 2 ** 20;
const column = (name: string): number => SAMPLE_COLUMNS.findIndex((c) => c.name === name);

function run(text: string): { rows: Float64Array[]; summary: RunSummary } {
  const rows: Float64Array[] = [];
  const summary = simulate(scenarioOf(text), {
    checked: true,
    sink: { sample: (row) => rows.push(row.slice()) },
  });
  return { rows, summary };
}

const STREAM = `
name: control
duration: 6s
workload:
  - {kind: stream, name: s, rate: 100k/s, size: 100, pointers: 50%, lifetime: 500ms}
`;

const SERVICE = `
name: shedding
duration: 12s
workload:
  - kind: service
    name: api
    arrivals: {rate: 500/s, steps: [{at: 2s, rate: 4k/s}, {at: 6s, rate: 500/s}]}
    cpu: 1ms
    objects: [{size: 8KiB}]
`;

describe("a condition", () => {
  /** What is told at every poll, while figures follow `columns`. */
  function told(when: When, columns: Readonly<Record<string, readonly number[]>>): boolean[] {
    let at = 0;
    const polls = Object.values(columns)[0].length;
    const gauges: Gauges = { look: () => (metric) => columns[metric][at], gcNs: 0, cpuNs: 0 };
    const queue: { atNs: number; fn: (nowNs: number) => void }[] = [];
    const sched = {
      nowNs: 0,
      call(atNs: number, priority: number, fn: (nowNs: number) => void) {
        expect(priority).toBe(PRIORITY_WORLD);
        queue.push({ atNs, fn });
      },
    };
    const heard: boolean[] = [];
    new Watcher(sched as never, gauges).watch(new Watch(when), (holds) => {
      heard.push(holds);
      return heard.length < polls;
    });
    for (let next = queue.shift(); next !== undefined; next = queue.shift(), at++) {
      sched.nowNs = next.atNs;
      next.fn(next.atNs);
    }
    return heard;
  }

  test("holds when it has been true for its time without a break, and polling ends with the last listener", () => {
    const condition: Condition = { metric: "requests_in_flight", above: 10, for: 200e6 };
    expect(told([condition], { requests_in_flight: [11, 12, 13, 14, 5, 11, 11, 11] })).toEqual([
      false,
      false,
      true,
      true,
      false,
      false,
      false,
      true,
    ]);
  });

  test("below is the other way round; a figure at the threshold is neither", () => {
    const requests = { requests_in_flight: [3, 2, 4] };
    expect(told([{ metric: "requests_in_flight", below: 3, for: 0 }], requests)).toEqual([
      false,
      true,
      false,
    ]);
    expect(told([{ metric: "requests_in_flight", above: 3, for: 0 }], requests)).toEqual([
      false,
      false,
      true,
    ]);
  });

  test("several must hold together, each for its own time; a figure without a value is beyond nothing", () => {
    const when: When = [
      { metric: "memory_events_high", above: 0, for: 0 },
      { metric: "heap_inuse_bytes", above: 100, for: 200e6 },
    ];
    const columns = {
      memory_events_high: [0, 0, 0, 1, 1, 1, 1, 1],
      heap_inuse_bytes: [101, 101, 101, 101, 50, 101, 101, 101],
    };
    expect(told(when, columns)).toEqual([false, false, false, true, false, false, false, true]);
    for (const than of [{ above: 0 }, { below: 1e9 }])
      expect(told([{ metric: "gc_percent", ...than, for: 0 }], { gc_percent: [Number.NaN] })).toEqual([
        false,
      ]);
  });
});

describe("interventions", () => {
  test("GOMAXPROCS changes on a condition, too", () => {
    const { summary } = run(`${STREAM}
machine: {cpus: 4}
interventions:
  - {when: {metric: heap_inuse_bytes, above: 4MiB}, do: set_gomaxprocs, to: 1}
`);
    expect(summary.events.map(({ event }) => event)).toEqual(["set_gomaxprocs 1"]);
    expect(summary.figures["gomaxprocs_mean"]).toBeLessThan(2);
  });

  test("SetGCPercent moves the goal at its time: live + (live + roots) GOGC/100", () => {
    const { rows, summary } = run(`${STREAM}
interventions:
  - {at: 3s, do: set_gc_percent, to: 400}
`);
    const goal = (from: number, to: number): number => {
      const some = rows
        .filter((row) => row[0] > from && row[0] <= to)
        .map((row) => row[column("next_gc_bytes")]);
      return some.reduce((a, b) => a + b) / some.length;
    };
    // 50,000 objects of 112 bytes are alive: at every moment the goal rests on the same live heap.
    expect(goal(3, 3.2) / goal(2, 2.9)).toBeGreaterThan(2.35);
    expect(goal(3, 3.2) / goal(2, 2.9)).toBeLessThan(2.7);
    expect(summary.events).toEqual([{ t_seconds: 3, event: "set_gc_percent 400", reason: "at its time" }]);
  });

  test("GOGC turned off ends collections, and turned on again they go on", () => {
    const { rows } = run(`${STREAM}
interventions:
  - {at: 2s, do: set_gc_percent, to: off}
  - {at: 4s, do: set_gc_percent, to: 100}
`);
    const cycles = (t: number): number => rows.find((row) => row[0] >= t - 1e-9)![column("num_gc")];
    expect(cycles(2)).toBeGreaterThan(2);
    // One may be under way.
    expect(cycles(4) - cycles(2.1)).toBeLessThanOrEqual(0);
    expect(cycles(6)).toBeGreaterThan(cycles(4) + 2);
  });

  test("SetMemoryLimit bounds what the runtime holds from then on", () => {
    const text = STREAM.replace("500ms", "100ms");
    const peak = (rows: Float64Array[], from: number): number =>
      Math.max(...rows.filter((row) => row[0] > from).map((row) => row[column("heap_live_bytes")]));
    const limited = run(`${text}
go: {GOGC: off}
interventions: [{at: 1s, do: set_memory_limit, to: 16MiB}]
`).rows;
    const free = run(`${text}
go: {GOGC: off}
`).rows;
    expect(peak(free, 2)).toBeGreaterThan(40 * MiB);
    expect(peak(limited, 2)).toBeLessThan(16 * MiB);
  });

  test("FreeOSMemory on a condition gives everything free back, once", () => {
    const { rows, summary } = run(`
name: free
duration: 6s
workload:
  - {kind: stream, name: s, stop: 2s, rate: 100k/s, size: 1KiB, lifetime: 100ms}
interventions:
  - {when: {metric: heap_inuse_bytes, below: 1MiB, for: 1s}, do: free_os_memory}
  - {at: 3s, do: gc}
`);
    const last = rows.at(-1)!;
    expect(summary.events.map((e) => e.event)).toEqual(["gc", "free_os_memory"]);
    // What the page caches of two Ps hold (64 pages each) stays.
    expect(last[column("heap_idle_bytes")] - last[column("heap_released_bytes")]).toBeLessThanOrEqual(MiB);
    const before = rows.find((row) => row[0] >= 3.5)!;
    expect(before[column("heap_idle_bytes")] - before[column("heap_released_bytes")]).toBeGreaterThan(
      4 * MiB,
    );
  });

  test("a phase on a condition begins when it is met", () => {
    const { rows, summary } = run(`
name: conditional
duration: 6s
workload:
  - {kind: leak, name: l, byte_rate: 10MiB/s, size: 1KiB}
phases:
  - {when: {metric: heap_live_bytes, above: 20MiB}, name: mended, set: {workload.l.byte_rate: 1KiB/s}}
`);
    expect(summary.events).toHaveLength(1);
    expect(summary.events[0].event).toBe("phase mended");
    expect(summary.events[0].t_seconds).toBeGreaterThan(1.8);
    expect(summary.events[0].t_seconds).toBeLessThan(2.3);
    expect(Math.max(...rows.map((row) => row[column("heap_live_bytes")]))).toBeLessThan(24 * MiB);
  });
});

describe("policies", () => {
  test("the threshold tuner holds the goal at its target", () => {
    const { rows } = run(`${STREAM}
policies: [{kind: threshold_tuner, target: 40MiB, max: 2000}]
`);
    const late = rows.filter((row) => row[0] > 3).map((row) => row[column("next_gc_bytes")]);
    // GOGC also grows the roots, some 0.45 MB here, about sixfold: the goal lies that much above the target.
    for (const goal of late) {
      expect(goal / (40 * MiB)).toBeGreaterThan(0.99);
      expect(goal / (40 * MiB)).toBeLessThan(1.1);
    }
  });

  test("the adaptive policy shrinks GOGC when a cycle allocates more than it likes, down to its bound", () => {
    const { summary } = run(`${STREAM}
policies: [{kind: adaptive_gogc, rise: 0.5, shrink: 0.5, min: 40}]
`);
    const set = summary.events.map((e) => Number(e.event.split(" ")[1]));
    expect(set[0]).toBe(50);
    expect(set[1]).toBe(40);
    expect(set).toHaveLength(2);
  });

  test("the adaptive policy lets GOGC grow when a cycle allocates much less than the last ones", () => {
    const { summary } = run(`
name: falling
duration: 12s
workload:
  - {kind: stream, name: s, rate: 200k/s, size: 100, pointers: 50%, lifetime: 100ms}
interventions:
  - {at: 6s, do: gc, every: 100ms}
phases: [{at: 6s, set: {workload.s.rate: 10k/s}}]
policies: [{kind: adaptive_gogc, rise: 1000, grow: 2, max: 150}]
`);
    // From 6 s on a cycle a tenth of a second allocates far less than the cycles before did.
    const set = summary.events.filter((e) => e.event.startsWith("set_gc_percent"));
    expect(set.map((e) => e.event)).toEqual(["set_gc_percent 150"]);
    expect(set[0].t_seconds).toBeGreaterThan(6);
  });

  test("four times the factor is four times the extra heap of the square-root rule", () => {
    const percent = (factor: number): number => {
      const { summary } = run(`${STREAM}
policies: [{kind: square_root_heap, factor: ${factor}, min: 1, max: 100000}]
`);
      return Number(summary.events.at(-1)!.event.split(" ")[1]);
    };
    const ratio = percent(40) / percent(10);
    expect(ratio).toBeGreaterThan(3.2);
    expect(ratio).toBeLessThan(4.8);
  });

  test("a ballast raises the goal by its size and takes no resident memory", () => {
    const plain = run(STREAM).summary.figures;
    const ballast = run(`${STREAM}
policies: [{kind: ballast, size: 64MiB}]
`).summary.figures;
    expect(ballast["heap_marked_mean_bytes"] - plain["heap_marked_mean_bytes"]).toBeGreaterThan(60 * MiB);
    // The heap may grow further now; the ballast itself is not in it.
    expect(ballast["rss_peak_bytes"]).toBeLessThan(ballast["heap_inuse_peak_bytes"] - 50 * MiB);
    expect(ballast["gc_count"]).toBeLessThan(plain["gc_count"] / 4);
  });

  test("a breaker refuses its share while it is open and bounds what waits", () => {
    const open = run(`${SERVICE}
policies:
  - {kind: breaker, service: api, when: {metric: requests_in_flight, above: 100}, shed: 0.75, open_for: 1s}
`);
    const without = run(SERVICE);
    const { figures, events } = open.summary;
    expect(figures["api_refused"]).toBeGreaterThan(1000);
    expect(figures["in_flight_peak"]).toBeLessThan(without.summary.figures["in_flight_peak"] / 4);
    expect(events[0].event).toBe("breaker open: api");
    expect(events.at(-1)!.event).toBe("breaker closed: api");
    expect(without.summary.figures["api_refused"]).toBeUndefined();
  });

  test("a breaker on memory.high and a large heap together opens with the later of the two, and recovers", () => {
    const text = `
name: squeezed
duration: 12s
container:
  memory: {max: 256MiB, high: 128MiB}
  page_cache: [{name: log, rate: 40MiB/s}]
workload:
  - kind: service
    name: api
    arrivals: {rate: 200/s, steps: [{at: 1s, rate: 2k/s}, {at: 6s, rate: 200/s}]}
    io: 500ms
    objects: [{size: 32KiB}]
policies:
  - kind: breaker
    service: api
    when: [{metric: memory_events_high, above: 0}, {metric: heap_inuse_bytes, above: 20MiB, for: 500ms}]
    shed: 0.9
    open_for: 1s
`;
    const { rows, summary } = run(text);
    const { events, figures } = summary;
    expect(events.map(({ event }) => event)).toEqual(
      events.map((_, i) => (i % 2 === 0 ? "breaker open: api" : "breaker closed: api")),
    );
    const of = sampleColumns(scenarioOf(text)).map(({ name }) => name);
    const at = (name: string): number => of.indexOf(name);
    const hit = rows.find((row) => row[at("memory_events_high")] > 0)![0];
    const large = rows.find((row) => row[at("heap_inuse_bytes")] > 20 * MiB)![0];
    expect(events[0].t_seconds).toBeGreaterThanOrEqual(Math.max(hit - 0.1, large + 0.4));
    expect(events.at(-1)!.event).toBe("breaker closed: api");
    expect(figures["api_refused"]).toBeGreaterThan(100);
  });
});

test("faults of control settings are told at their places", () => {
  const faults = faultsOf(`${STREAM}
interventions:
  - {do: gc}
  - {at: 1s, do: set_gc_percent}
  - {at: 1s, when: {metric: rss_bytes, above: 1GiB}, do: gc}
  - {when: {metric: rsss, above: 12}, do: gc}
phases:
  - {set: {workload.s.rate: 1/s}}
policies:
  - {kind: threshold_tuner, target: 1GiB, min: 200, max: 100}
  - {kind: adaptive_gogc}
  - {kind: breaker, service: nobody, when: {metric: rss_bytes, above: 1GiB}}
  - {kind: balast, size: 1MiB}
`);
  const text = faults.map((f) => `${f.path}: ${f.message}`).join("\n");
  for (const expected of [
    "interventions.0",
    "interventions.1.to",
    "interventions.2",
    "interventions.3.when.metric",
    "phases.0",
    "policies.0.min",
    "policies.2.service",
    "policies.3",
  ])
    expect(text).toContain(expected);
});

test("a condition is on columns that the scenario has, in their units, and all of its faults are told", () => {
  const faults = faultsOf(`${STREAM}
interventions:
  - {when: {metric: rss, above: 1GiB}, do: gc}
  - {when: {metric: memory_events_high, above: 0}, do: gc}
  - {when: [{metric: rss_bytes, below: 1s, for: 3}, {metric: heap_inuse_bytes, above: -1, since: 2s}, 7], do: gc}
  - {when: {metric: gc_cpu_last_second_fraction, above: 30}, do: gc}
  - {when: {metric: frag_ratio, above: 30%}, do: gc}
  - {when: {metric: latency_p99_ns, above: 1s}, do: gc}
  - {when: [], do: gc}
  - {when: {metric: pause_total_ns, above: 1ms, below: 2ms}, do: gc}
`);
  expect(
    faults.map(({ path, message, hint = "" }) => `${path}: ${message} (${hint})`),
  ).toMatchInlineSnapshot(`
    [
      "interventions.0.when.metric: there is no metric \`rss\` (did you mean \`rss_bytes\`?)",
      "interventions.1.when.metric: \`memory_events_high\` has no value here: the scenario has no \`container\` ()",
      "interventions.2.when.0.below: expected a size such as "64KiB" or 4096, got "1s", which is a duration ()",
      "interventions.2.when.0.for: 3 what? a duration needs a unit (did you mean "3s" or "3ms"?)",
      "interventions.2.when.1.above: -1 is negative (expected a size such as "64KiB" or 4096)",
      "interventions.2.when.1.since: unknown key \`since\` (the keys here are \`metric\`, \`above\`, \`below\` and \`for\`)",
      "interventions.2.when.2: expected a condition such as {metric: rss_bytes, above: 400MiB}, got 7 ()",
      "interventions.3.when.above: is a share: at most 1, got 30 ()",
      "interventions.5.when.metric: \`latency_p99_ns\` is of the time between two samples, and a condition does not depend on those (a queue shows in \`requests_in_flight\`)",
      "interventions.6.when: expected 1 to 10 conditions, got 0 ()",
      "interventions.7.when.above: give exactly one of \`above\` and \`below\` ()",
    ]
  `);
});
