import { describe, expect, it } from "vitest";
import {
  NOT_MODELLED,
  RUNTIME_METRICS,
  runtimeMetricsJson,
  Statistics,
} from "../../src/report/runtimemetrics.ts";
import { TimeHistogram, timeHistogramBuckets } from "../../src/runtime/histogram.ts";
import { type CycleRecord, SimulatedRun } from "../../src/simulate.ts";
// Written by a program of Go 1.26.8 from metrics.All(): name, kind, cumulative. The 77 of /godebug/ are left out.
import golden from "../golden/runtime-metrics-1.26.json" with { type: "json" };
import { BARE, POD, scenarioOf, viewOf } from "./exported.ts";

const scalars = (text: string, untilNs?: number): Record<string, number> => {
  const s = new Statistics(viewOf(text, untilNs));
  return Object.fromEntries(
    RUNTIME_METRICS.flatMap((m) => (m.kind === "float64-histogram" ? [] : [[m.name, m.read(s)]])),
  );
};

describe("runtime/metrics", () => {
  it("has every metric of Go 1.26 with its kind, or says that it has not", () => {
    const ours = new Map(RUNTIME_METRICS.map((m) => [m.name, [m.kind, m.cumulative]]));
    const missing = golden.filter(([name]) => !ours.has(String(name)));
    expect(missing.map(([name]) => name)).toEqual(Object.keys(NOT_MODELLED));
    for (const [name, kind, cumulative] of golden)
      if (ours.has(String(name)))
        expect([name, ...ours.get(String(name))!]).toEqual([name, kind, cumulative]);
    expect(RUNTIME_METRICS.length + missing.length).toBe(golden.length);
  });

  it.each([
    ["a bare process", BARE],
    ["a container", POD],
  ])("adds up: %s", (_, text) => {
    const m = scalars(text);
    const sum = (prefix: string, without: readonly string[]): number =>
      Object.entries(m)
        .filter(([name]) => name.startsWith(prefix) && !without.some((w) => name.startsWith(w)))
        .reduce((total, [, value]) => total + value, 0);
    expect(sum("/memory/classes/", ["/memory/classes/total"])).toBe(m["/memory/classes/total:bytes"]);
    const cpu = "/cpu/classes/";
    expect(sum(`${cpu}gc/`, [`${cpu}gc/total`])).toBeCloseTo(m[`${cpu}gc/total:cpu-seconds`], 9);
    const totals = [`${cpu}total`, `${cpu}gc/total`, `${cpu}scavenge/total`];
    expect(sum(cpu, totals)).toBeCloseTo(m[`${cpu}total:cpu-seconds`], 6);
    expect(m[`${cpu}idle:cpu-seconds`]).toBeGreaterThan(0);
    expect(m[`${cpu}user:cpu-seconds`]).toBeGreaterThan(0);
    expect(m["/gc/cycles/automatic:gc-cycles"] + m["/gc/cycles/forced:gc-cycles"]).toBe(
      m["/gc/cycles/total:gc-cycles"],
    );
    expect(m["/gc/heap/allocs:objects"] - m["/gc/heap/frees:objects"]).toBe(m["/gc/heap/objects:objects"]);
    expect(m["/gc/heap/allocs:bytes"] - m["/gc/heap/frees:bytes"]).toBe(
      m["/memory/classes/heap/objects:bytes"],
    );
  });

  it("counts each stop of the world in its bucket, and each object in its size's", () => {
    const view = viewOf(POD);
    const s = new Statistics(view);
    const histogram = (name: string): number => {
      const metric = RUNTIME_METRICS.find((m) => m.name === name);
      if (metric?.kind !== "float64-histogram") throw new Error(name);
      const { counts, buckets } = metric.read(s);
      expect(buckets.length).toBe(counts.length + 1);
      return Array.from(counts).reduce((sum, n) => sum + n, 0);
    };
    const { gc, heap } = view.rt;
    expect(gc.numForcedGC).toBe(2);
    // A cycle under way has had its first.
    expect(histogram("/gc/pauses:seconds")).toBe(2 * gc.numGC + (heap.marking ? 1 : 0));
    expect(histogram("/sched/pauses/total/other:seconds")).toBe(6);
    expect(histogram("/gc/heap/allocs-by-size:bytes")).toBe(heap.stats.mallocs - heap.stats.tinyAllocCount);
    expect(histogram("/gc/heap/frees-by-size:bytes")).toBe(heap.stats.frees - heap.stats.tinyAllocCount);
    expect(heap.stats.tinyAllocCount).toBeGreaterThan(100);
  });

  it("only ever grows where it says so, whenever it is read", () => {
    const run = new SimulatedRun(scenarioOf(POD));
    const before = new Map<string, number>();
    let compared = 0;
    // An odd step, so that instants fall into marks, pauses and slices.
    for (let t = 0; t < 3e9; t += 617_003) {
      run.advance(t);
      const s = new Statistics(run.lastView());
      for (const metric of RUNTIME_METRICS) {
        if (!metric.cumulative || metric.kind === "float64-histogram") continue;
        const value = metric.read(s);
        const last = before.get(metric.name) ?? 0;
        // What other times leave over may fall by as much as a slice of scavenging was counted ahead of itself.
        const slack = metric.name === "/cpu/classes/user:cpu-seconds" ? 0.01 : 1e-9;
        if (value < last - slack) throw new Error(`${metric.name} falls from ${last} to ${value} at ${t} ns`);
        before.set(metric.name, value);
        compared++;
      }
    }
    expect(compared).toBeGreaterThan(50_000);
  });

  it("counts CPU time by the Ps there were", () => {
    const cycles: CycleRecord[] = [];
    const run = new SimulatedRun(
      scenarioOf(`${BARE}go: { GOMAXPROCS: 2 }
interventions:
  - { at: 1s, do: set_gomaxprocs, to: 6 }
  - { at: 2s, do: set_gomaxprocs, to: 1 }
`),
      { sink: { cycle: (cycle) => cycles.push({ ...cycle }) } },
    );
    run.advance(3e9);
    const { cpu } = new Statistics(run.view()!);
    // A change waits for the collection under way.
    expect(cpu.total).toBeCloseTo(2 + 6 + 1, 1);
    expect(new Set(cycles.map(({ procs }) => procs))).toEqual(new Set([2, 6, 1]));
    const pauseNs = cycles.reduce((sum, { stw1_ns, stw2_ns, procs }) => sum + (stw1_ns + stw2_ns) * procs, 0);
    // And that of a cycle under way at the end.
    expect(cpu.pause).toBeGreaterThan(pauseNs / 1e9 - 1e-9);
    expect(cpu.pause).toBeLessThan(pauseNs / 1e9 + 1e-3);
  });

  it("writes GOGC=off and no limit as the largest numbers of their types", () => {
    const off = `${BARE}go: { GOGC: off }\n`;
    const text = runtimeMetricsJson(viewOf(off, 1e9));
    expect(text).toContain('"/gc/gogc:percent": 18446744073709551615');
    expect(text).toContain('"/gc/gomemlimit:bytes": 9223372036854775807');
    expect(JSON.parse(text).t_seconds).toBe(1);
  });
});

describe("the time histogram", () => {
  it("puts a duration where Go's boundaries say", () => {
    const buckets = timeHistogramBuckets();
    // len(Float64Histogram.Buckets) of /gc/pauses:seconds in Go 1.26.8.
    expect(buckets.length).toBe(163);
    expect(Array.from(buckets.slice(0, 7))).toEqual([-Infinity, 0, 64e-9, 128e-9, 192e-9, 256e-9, 320e-9]);
    expect(buckets.at(-2)).toBeCloseTo(2 ** 47 / 1e9, 6);
    for (const ns of [
      -5,
      0,
      63,
      64,
      255,
      256,
      319,
      320,
      511,
      512,
      1e3,
      123_456,
      1e9,
      2 ** 40,
      2 ** 47 - 1,
      2 ** 47,
      2 ** 50,
    ]) {
      const histogram = new TimeHistogram();
      histogram.record(ns);
      const at = histogram.counts.indexOf(1);
      expect(buckets[at] <= ns / 1e9 && ns / 1e9 < buckets[at + 1], `${ns} ns in bucket ${at}`).toBe(true);
    }
  });
});
