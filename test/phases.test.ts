/** Figures from one phase to the next, against what the series of the same run say. */
import { describe, expect, test } from "vitest";
import { figuresOfPhases, type PhaseSummary, phaseNames, splitFigure } from "../src/phases.ts";
import { cycleEndSeconds } from "../src/report/cycles.ts";
import {
  type CycleRecord,
  type RunSummary,
  SimulatedRun,
  type SimulateOptions,
  sampleColumns,
} from "../src/simulate.ts";
import { LatencyHistogram } from "../src/workload/latency.ts";
import { scenarioOf } from "./scenarios.ts";

const SERVICE = `
name: phased
duration: 6s
sample_interval: 50ms
go: { GOMAXPROCS: 2 }
workload:
  - kind: service
    name: api
    arrivals: { rate: 400/s }
    cpu: 300us
    objects:
      - { count: 40, size: { uniform: [32, 4000] } }
      - { size: 2000, lifetime: { exponential: 1s } }
`;

interface Played {
  readonly summary: RunSummary;
  readonly rows: readonly Readonly<Record<string, number>>[];
  readonly cycles: readonly CycleRecord[];
  readonly told: readonly string[];
}

function play(text: string, during?: (run: SimulatedRun) => void): Played {
  const scenario = scenarioOf(text);
  const names = sampleColumns(scenario).map(({ name }) => name);
  const rows: Record<string, number>[] = [];
  const cycles: CycleRecord[] = [];
  const told: string[] = [];
  const sink: SimulateOptions["sink"] = {
    sample: (row) => rows.push(Object.fromEntries(names.map((name, i) => [name, row[i]]))),
    cycle: (cycle) => cycles.push(cycle),
    phase: (ns, name) => told.push(`${name} at ${ns / 1e9}`),
  };
  const run = new SimulatedRun(scenario, { sink });
  during?.(run);
  run.advance(scenario.duration);
  return { summary: run.summary(), rows, cycles, told };
}

const timesOf = (phases: readonly PhaseSummary[] | undefined): string[] =>
  (phases ?? []).map(({ name, from_seconds, to_seconds }) => `${name} ${from_seconds} ${to_seconds}`);

describe("a run with phases", () => {
  const { summary, rows, cycles, told } = play(`${SERVICE}phases:
  - { at: 2s, name: doubled, set: { workload.api.arrivals.rate: 1600/s } }
  - { at: 4s, name: normal, set: { workload.api.arrivals.rate: 400/s } }
  - { when: { metric: rss_bytes, above: 10GiB }, name: never, set: { workload.api.cpu: 1us } }
`);
  const phases = summary.phases ?? [];

  test("is cut where they begin; one that never does has no times and no figures", () => {
    expect(timesOf(phases)).toEqual(["start 0 2", "doubled 2 4", "normal 4 6", "never undefined undefined"]);
    expect(phases[3]).toEqual({ name: "never", figures: {} });
    expect(told).toEqual(["doubled at 2", "normal at 4"]);
  });

  test("has of each stretch what its samples, cycles and counters say", () => {
    for (const { from_seconds: from = 0, to_seconds: to = 0, figures } of phases.slice(0, 3)) {
      const inside = rows.filter(({ t_seconds: t }) => t > from && t <= to);
      expect(inside).toHaveLength(40);
      const mean = (name: string): number => inside.reduce((sum, row) => sum + row[name], 0) / inside.length;
      const peak = (name: string): number => Math.max(...inside.map((row) => row[name]));
      expect(figures["rss_mean_bytes"]).toBeCloseTo(mean("rss_bytes"), 3);
      expect(figures["rss_peak_bytes"]).toBe(peak("rss_bytes"));
      expect(figures["goal_mean_bytes"]).toBeCloseTo(mean("next_gc_bytes"), 3);
      expect(figures["goal_peak_bytes"]).toBe(peak("next_gc_bytes"));
      expect(figures["heap_inuse_peak_bytes"]).toBe(peak("heap_inuse_bytes"));
      const ended = cycles.filter((cycle) => cycleEndSeconds(cycle) > from && cycleEndSeconds(cycle) <= to);
      expect(figures["gc_count"]).toBe(ended.length);
      expect(figures["pause_max_ns"]).toBe(
        Math.max(...ended.map(({ stw1_ns, stw2_ns }) => stw1_ns + stw2_ns)),
      );
      // At the last sample of a stretch the counters stand as they are cut.
      const grown = (name: string): number =>
        inside[39][name] - (rows.find(({ t_seconds: t }) => t === from)?.[name] ?? 0);
      expect(figures["api_requests_per_second"]).toBeCloseTo(grown("requests_completed") / 2, 6);
      expect(figures).not.toHaveProperty("oom_kills");
    }
    const [before, doubled, after] = phases.map(({ figures }) => figures["api_requests_per_second"]);
    // Poisson arrivals: 1600/s over 2 s have a standard deviation of 28/s.
    expect(Math.abs(doubled - 1600)).toBeLessThan(140);
    expect(Math.abs(before - 400)).toBeLessThan(70);
    expect(Math.abs(after - 400)).toBeLessThan(70);
  });

  test("adds up to the whole run", () => {
    const { figures } = summary;
    const sum = (of: (phase: PhaseSummary, seconds: number) => number): number =>
      phases.reduce((all, phase) => all + of(phase, (phase.to_seconds ?? 0) - (phase.from_seconds ?? 0)), 0);
    expect(sum(({ figures: own }) => own["gc_count"] ?? 0)).toBe(figures["gc_count"]);
    expect(sum(({ figures: own }, s) => (own["api_requests_per_second"] ?? 0) * s)).toBeCloseTo(
      figures["api_requests"],
      6,
    );
    // Both CPUs can be used all the time.
    expect(sum(({ figures: own }, s) => (own["gc_cpu_of_usable_fraction"] ?? 0) * 2 * s)).toBeCloseTo(
      figures["gc_cpu_seconds"],
      9,
    );
    expect(Math.max(...phases.map(({ figures: own }) => own["rss_peak_bytes"] ?? 0))).toBe(
      figures["rss_peak_bytes"],
    );
    const p99 = phases.flatMap(({ figures: own }) => own["api_latency_p99_ns"] ?? []);
    expect(Math.min(...p99)).toBeLessThanOrEqual(figures["api_latency_p99_ns"]);
    expect(Math.max(...p99)).toBeGreaterThanOrEqual(figures["api_latency_p99_ns"]);
  });
});

test("without phases there is no word of them", () => {
  expect(play(SERVICE).summary).not.toHaveProperty("phases");
});

test("a phase that begins with the run leaves nothing before it, and names that come again are numbered", () => {
  const set = "set: { workload.api.cpu: 200us }";
  const { summary } = play(`${SERVICE}phases:
  - { at: 0s, name: a, ${set} }
  - { at: 1s, name: b, ${set} }
  - { at: 2s, name: a, ${set} }
`);
  expect(timesOf(summary.phases)).toEqual(["a 0 1", "b 1 2", "a (2) 2 6"]);
  expect(phaseNames([{ name: "a" }, { name: "b" }, { name: "a" }])).toEqual(["a", "b", "a (2)"]);
});

test("of two that begin at one moment the first has no length and no figures", () => {
  const { summary, rows } = play(`${SERVICE}phases:
  - { at: 1s, name: a, set: { workload.api.cpu: 200us } }
  - { at: 1s, name: b, set: { workload.api.arrivals.rate: 100/s } }
`);
  expect(timesOf(summary.phases)).toEqual(["start 0 1", "a 1 1", "b 1 6"]);
  expect(summary.phases?.[1].figures).toEqual({});
  expect(summary.phases?.[2].figures["gc_count"]).toBeGreaterThan(0);
  // The sample of that moment is of the time before it.
  const rss = rows.filter(({ t_seconds: t }) => t <= 1).map(({ rss_bytes }) => rss_bytes);
  expect(summary.phases?.[0].figures["rss_mean_bytes"]).toBeCloseTo(rss.reduce((a, b) => a + b) / 20, 3);
});

test("a condition decides when one begins, and a hand that plays the run may begin it again", () => {
  const text = `${SERVICE}phases:
  - { when: { metric: goroutines, above: 5 }, name: grown, set: { workload.api.cpu: 200us } }
`;
  const { summary, rows, told } = play(text, (run) => {
    run.advance(5e9);
    expect(run.act({ do: "phase", to: "grown" })).toBe(true);
    // Looking in between changes nothing.
    run.summary();
  });
  const [start, grown, again] = summary.phases ?? [];
  expect(told).toEqual([`grown at ${grown.from_seconds}`, "grown (2) at 5"]);
  expect(timesOf([again])).toEqual(["grown (2) 5 6"]);
  expect(start.to_seconds).toBe(grown.from_seconds);
  const above = rows.find(({ goroutines }) => goroutines > 5)!;
  expect(grown.from_seconds).toBeLessThanOrEqual(above["t_seconds"] + 0.2);
});

test("kills are counted where they happen, and a phase may begin while no process lives", () => {
  const { summary } = play(`
name: killed
duration: 8s
sample_interval: 50ms
container: { memory: { max: 32MiB }, restart: { policy: always } }
workload:
  - { kind: service, name: api, arrivals: { rate: 200/s }, cpu: 100us, objects: [{ size: 500 }] }
  - { kind: leak, name: l, byte_rate: 16MiB/s, size: 700 }
phases:
  - { when: { metric: oom_kills, above: 0 }, name: mended, set: { workload.l.byte_rate: 1B/s } }
`);
  const [kill] = summary.oom_kills ?? [];
  const [start, mended] = summary.phases ?? [];
  expect(start.figures["oom_kills"]).toBe(1);
  expect(mended.figures["oom_kills"]).toBe(summary.figures["oom_kills"] - 1);
  expect(mended.from_seconds).toBeGreaterThan(kill.t_seconds);
  const requests = [start, mended].map(
    ({ figures, from_seconds = 0, to_seconds = 0 }) =>
      figures["api_requests_per_second"] * (to_seconds - from_seconds),
  );
  expect(requests[0]).toBeGreaterThan(0);
  expect(requests[0] + requests[1]).toBeCloseTo(summary.figures["api_requests"], 6);
  for (const { figures } of [start, mended])
    for (const [name, value] of Object.entries(figures)) expect(value, name).toBeGreaterThanOrEqual(0);
});

test("figures of phases have names of their own, which tell what and whose they are", () => {
  const phases = [{ name: "a@b", from_seconds: 0, to_seconds: 1, figures: { rss_peak_bytes: 5 } }];
  expect(figuresOfPhases(phases)).toEqual({ "rss_peak_bytes@a@b": 5 });
  expect(splitFigure("rss_peak_bytes@a@b")).toEqual({ figure: "rss_peak_bytes", phase: "a@b" });
  expect(splitFigure("rss_peak_bytes")).toEqual({ figure: "rss_peak_bytes", phase: undefined });
});

test("what a histogram has counted since an earlier copy is what came after it", () => {
  const all = new LatencyHistogram();
  for (let i = 0; i < 100; i++) all.record(1e6);
  const before = all.since(undefined);
  for (let i = 0; i < 100; i++) all.record(8e6 + i);
  const later = all.since(before);
  expect([later.count, later.sumNs]).toEqual([100, 100 * 8e6 + 4950]);
  expect(Math.abs(later.percentile(0.01) / 8e6 - 1)).toBeLessThan(0.008);
  expect(before.count).toBe(100);
});
