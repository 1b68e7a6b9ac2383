import { describe, expect, it, test } from "vitest";
import { loadScenario } from "../src/scenario/load.ts";
import type { Scenario } from "../src/scenario/schema.ts";
import { SimulatedRun, sampleColumns } from "../src/simulate.ts";
import { metricsOf, ThresholdWatch, type Verdict } from "../src/thresholds.ts";
import { faultsOf, scenarioOf, scenariosOf } from "./scenarios.ts";

const HEAD = `name: t
duration: 2s
workload:
  - {name: s, kind: stream, rate: 300k/s, size: 64, lifetime: 5ms}
  - {name: api, kind: service, arrivals: {rate: 200/s}, cpu: {exponential: 1ms}}
`;
const withThresholds = (thresholds: string, more = ""): string => `${HEAD}${more}thresholds: ${thresholds}\n`;

interface Watched {
  readonly verdicts: readonly Verdict[];
  readonly rows: readonly Float64Array[];
  readonly pausesNs: readonly number[];
  readonly figures: Readonly<Record<string, number>>;
}

function watch(scenario: Scenario): Watched {
  const watching = new ThresholdWatch(scenario);
  const rows: Float64Array[] = [];
  const pausesNs: number[] = [];
  const run = new SimulatedRun(scenario, {
    sink: {
      sample: (row) => {
        rows.push(row.slice());
        watching.sample(row);
      },
      cycle: (cycle) => {
        pausesNs.push(cycle.stw1_ns + cycle.stw2_ns);
        watching.cycle(cycle);
      },
      phase: (ns, name) => watching.phase(ns, name),
    },
  });
  run.advance(scenario.duration);
  const summary = run.summary();
  const { figures } = summary;
  return { verdicts: watching.verdicts(summary, run.distributions()), rows, pausesNs, figures };
}

const sorted = (values: Iterable<number>): number[] => [...values].sort((a, b) => a - b);

describe("thresholds", () => {
  it("are judged by the run's own numbers, whatever they are over", () => {
    const scenario = scenarioOf(
      withThresholds(`
  rss_bytes: [max < 1TiB, min > 0, mean > 1MiB, med > 1MiB, p90 > 1MiB, last > 1B]
  pause_ns: [p50 < 1s, max < 1s, mean < 1s, count > 0]
  api_latency_ns: [p95 < 1s, p99.9 < 1s, mean < 1s, max < 1s, count > 100]
  latency_ns: count > 100
  latency_p99_ns: max < 1s
  gc_count: [count > 0, value > 0, "> 0"]
  gc_cpu_fraction: [value < 50%, max < 0.5]
  pause_total_ns: value < 1s
  gc_cpu_seconds: value < 1s
  api_requests: count > 100
  api_refused: count == 0
`),
    );
    const { verdicts, rows, pausesNs, figures } = watch(scenario);
    const at = sampleColumns(scenario).findIndex((column) => column.name === "rss_bytes");
    const rss = sorted(rows.map((row) => row[at]));
    const value = (metric: string, word: string): number => {
      const found = verdicts.find((v) => v.metric === metric && v.expression.startsWith(word));
      return found?.value ?? Number.NaN;
    };
    for (const verdict of verdicts)
      expect(verdict.passed, `${verdict.metric} ${verdict.expression}`).toBe(true);
    expect(value("rss_bytes", "max")).toBe(rss[rss.length - 1]);
    expect(value("rss_bytes", "min")).toBe(rss[0]);
    expect(value("rss_bytes", "mean")).toBeCloseTo(rss.reduce((sum, x) => sum + x, 0) / rss.length, 3);
    expect(value("rss_bytes", "med")).toBe(rss[Math.ceil(rss.length / 2) - 1]);
    expect(value("rss_bytes", "p90")).toBe(rss[Math.ceil(0.9 * rss.length) - 1]);
    expect(value("rss_bytes", "last")).toBe(rows[rows.length - 1][at]);
    expect(pausesNs.length).toBeGreaterThan(3);
    expect(value("pause_ns", "count")).toBe(pausesNs.length);
    expect(value("pause_ns", "p50")).toBe(sorted(pausesNs)[Math.ceil(pausesNs.length / 2) - 1]);
    expect(value("api_latency_ns", "p95")).toBe(figures["api_latency_p95_ns"]);
    expect(value("api_latency_ns", "mean")).toBe(figures["api_latency_mean_ns"]);
    expect(value("api_latency_ns", "p99.9")).toBeGreaterThan(figures["api_latency_p99_ns"]);
    expect(value("latency_ns", "count")).toBe(figures["api_requests"]);
    expect(value("gc_count", "> 0")).toBe(figures["gc_count"]);
    expect(value("gc_cpu_fraction", "value")).toBe(figures["gc_cpu_fraction"]);
    expect(value("api_refused", "count")).toBe(0);
  });

  it("are breached from the other side of the bound, and by a value that is not there", () => {
    const { verdicts, figures } = watch(
      scenarioOf(
        withThresholds(
          `
  gc_count: ["== 1", "!= 1", "<= 1", ">= 1", "< 1", "> 1"]
  mallocs: ["< 1", "> 1"]
  pause_ns: p99 < 1s
  heap_retained_half_seconds: value > 0s
`,
          "go: {GOGC: off}\n",
        ).replace("duration: 2s", "duration: 200ms"),
      ),
    );
    expect(figures["gc_count"]).toBe(0);
    expect(figures["heap_retained_half_seconds"]).toBeUndefined();
    const said = verdicts.map(({ expression, passed, reason }) => `${expression} ${passed} ${reason ?? ""}`);
    expect(said).toEqual([
      "== 1 false ",
      "!= 1 true ",
      "<= 1 true ",
      ">= 1 false ",
      "< 1 true ",
      "> 1 false ",
      "< 1 false ",
      "> 1 true ",
      "p99 < 1s false the run had no collection",
      "value > 0s false the run gave it no value",
    ]);
  });

  it("are breached where a shortened run does not reach what gives the value", () => {
    const text = withThresholds(
      "{gomaxprocs: max < 9, read_mem_stats_ns: max < 1s}",
      "interventions: [{at: 1s, do: set_gomaxprocs, to: 1}, {at: 1s, do: read_mem_stats}]\n",
    );
    expect(watch(scenarioOf(text)).verdicts.map((v) => v.passed)).toEqual([true, true]);
    const loaded = loadScenario(text, "t.yaml", { set: ["duration=500ms"] });
    if (!loaded.ok) throw new Error(loaded.errors[0].message);
    expect(watch(loaded.scenarios[0]).verdicts.map((v) => v.reason)).toEqual([
      "the run gave it no value",
      "the run gave it no value",
    ]);
  });

  it("hold per variant, and latencies over restarts", () => {
    const [base, variant] = scenariosOf(
      withThresholds(
        "{rss_bytes: max < 1KiB, latency_ns: count > 0}",
        "variants: [{name: v, set: {thresholds.rss_bytes: null, thresholds.gc_count: count >= 0}}]\n",
      ),
    );
    expect(watch(base).verdicts.map((v) => [v.metric, v.passed])).toEqual([
      ["rss_bytes", false],
      ["latency_ns", true],
    ]);
    expect(watch(variant).verdicts.map((v) => v.metric)).toEqual(["latency_ns", "gc_count"]);
    const killed = scenarioOf(
      withThresholds(
        "{oom_kills: count > 0, latency_ns: count > 0, restarts: [count > 0, max > 0]}",
        "container: {memory: {max: 24MiB}, restart: {policy: always, backoff: 100ms}}\n",
      )
        .replace("duration: 2s", "duration: 6s")
        .replace("lifetime: 5ms", "lifetime: forever"),
    );
    const { verdicts, figures } = watch(killed);
    expect(verdicts.map((v) => v.passed)).toEqual([true, true, true, true]);
    // The histogram of all lives: what the figures count, less the requests that died with a process.
    expect(verdicts[1].value).toBe(figures["api_requests"]);
  });
});

describe("thresholds that cannot be judged are refused with their place", () => {
  const said = (thresholds: string, more = ""): string[] =>
    faultsOf(withThresholds(thresholds, more)).map(
      (e) => `${e.line}:${e.column} ${e.message}${e.hint === undefined ? "" : ` (${e.hint})`}`,
    );

  test.each([
    ["{rss_byte: max < 1B}", "6:14 there is no metric `rss_byte` (did you mean `rss_bytes`?)"],
    ["{zebra: max < 1B}", "6:14 there is no metric `zebra` (metrics are the columns of timeseries.csv, "],
    ["{rss_bytes: maxx < 1B}", "6:25 there is no `maxx` of `rss_bytes` (did you mean `max`?)"],
    ["{rss_bytes: p(95) < 1B}", "6:25 there is no `p(95)` of `rss_bytes` (did you mean `p95`?)"],
    ["{rss_bytes: p101 < 1B}", "6:25 there is no `p101` of `rss_bytes` ("],
    ["{rss_bytes: max => 1B}", "6:25 there is no comparison `=>` (did you mean `>=`?)"],
    [
      "{rss_bytes: '< 900MiB'}",
      "6:25 of `rss_bytes` what? (it has `min`, `max`, `mean`, `med`, `p95` and `last`)",
    ],
    [
      "{rss_bytes: max < 900MB}",
      '6:25 expected a size such as "64KiB" or 4096, got "900MB" (did you mean "900MiB"?)',
    ],
    [
      "{rss_bytes: max < 20ms}",
      '6:25 expected a size such as "64KiB" or 4096, got "20ms", which is a duration',
    ],
    ["{latency_ns: p95 < 20}", '6:26 20 what? a duration needs a unit (did you mean "20s" or "20ms"?)'],
    ["{gc_cpu_fraction: max < a lot}", '6:31 expected a share such as 0.1 or 10%, got "a lot"'],
    ["{gc_count: count < 1MiB}", '6:24 expected a number, got "1MiB"'],
    ["{heap_objects_mean: count < 1}", "6:33 there is no `count` of `heap_objects_mean` (it has `value`)"],
    ["{rss_bytes: true}", '6:25 expected an expression such as "max < 900MiB", got true'],
    [
      "{rss_bytes: [max < 1GiB, lots]}",
      '6:38 expected an expression such as "max < 900MiB" or "p95 < 20ms", got "lots"',
    ],
    ["{rss_bytes: []}", "6:25 expected 1 to 20 expressions, got 0"],
    [
      "{latency_p99_ns: p95 < 1s}",
      "6:30 `latency_p99_ns` holds percentiles, and a percentile of percentiles says nothing",
    ],
    ["{oom_kills: count == 0}", "6:25 `oom_kills` has no value here: the scenario has no `container`"],
    ["{s_latency_ns: p95 < 1s}", "6:28 `s_latency_ns` has no value here: `s` is a stream, which has none"],
    ["{read_mem_stats_ns: p95 < 1s}", "6:33 `read_mem_stats_ns` has no value here: no intervention does"],
    [
      "{gomemlimit_bytes: max < 1B}",
      "6:32 `gomemlimit_bytes` has no value here: no memory limit is ever in force",
    ],
    [
      "{startup_seconds: value < 1s}",
      "6:31 `startup_seconds` has no value here: the scenario has no `startup`",
    ],
    [
      "{lazy_free_peak_bytes: value < 1B}",
      "6:36 `lazy_free_peak_bytes` has no value here: it takes a `container` and `go.GODEBUG.madvdontneed: 0`",
    ],
    [
      "{rss_end_bytes: value < 1B}",
      "6:29 `rss_end_bytes` has no value here: nothing of a container's memory can be reclaimed",
    ],
    ["{lazy_free_bytes: max < 1B}", "6:31 `lazy_free_bytes` has no value here: it takes `machine.thp`"],
    [
      "{cpu_limit_cpus: max < 9}",
      "6:30 `cpu_limit_cpus` has no value here: the container's limits never change",
    ],
    [
      "{cpu_nr_throttled: last < 1}",
      "6:32 `cpu_nr_throttled` has no value here: the scenario has no `container`",
    ],
  ])("%s", (thresholds, message) => {
    const all = said(thresholds);
    expect(all).toHaveLength(1);
    expect(all[0].slice(0, message.length)).toBe(message);
  });

  it("tells all at once, with the faults of the rest, and where a variant brings one in", () => {
    expect(
      said("{rss_byte: max < 1B, rss_bytes: top < 1B}", "go: {GOGC: x}\n").map((text) => text.slice(0, 5)),
    ).toEqual(["6:12 ", "7:14 ", "7:45 "]);
    const variant = said(
      "{cpu_nr_throttled: last < 1}",
      "container: {cpu: {limit: 1}}\nvariants: [{name: v, set: {container.cpu: null}}]\n",
    );
    expect(variant).toHaveLength(1);
    expect(variant[0]).toMatch(
      /^7:28 `cpu_nr_throttled` has no value here: the scenario has no `container.cpu`/,
    );
  });
});

describe("the list of metrics", () => {
  const SCENARIOS = [
    withThresholds("{}"),
    `${HEAD}go: {GOMEMLIMIT: 64MiB, GODEBUG: {madvdontneed: 0}}
startup: {stages: [{name: a, io: 10ms}]}
interventions: [{at: 100ms, do: read_mem_stats, every: 100ms}]
policies: [{kind: breaker, service: api, when: {metric: rss_bytes, above: 1B}, open_for: 1s}]
`,
    `${HEAD}container: {memory: {max: 20MiB}, cpu: {limit: 1.5}, page_cache: [{name: f, rate: 1MiB/s}], restart: {policy: always}}
`.replace("lifetime: 5ms", "lifetime: forever"),
    `${HEAD}go: {GODEBUG: {madvdontneed: 0}}
container: {memory: {max: 64MiB}}
`,
    `${HEAD}go: {hypothetical: {arenascale: 2}}
machine: {cpus: 4, numa: {nodes: 2}}
interventions: [{at: 500ms, do: set_gomaxprocs, to: 2}]
`,
    `${HEAD}  - {name: b, kind: batch, cpu: 1ms, objects: [{size: 100}]}
  - {name: c, kind: cache, requests: 100/s, keys: 100, max_entries: 10, objects: [{size: 100}]}
  - {name: g, kind: goroutines, count: 10}
  - {name: l, kind: leak, rate: 10/s, size: 100}
`,
  ];

  it.each(SCENARIOS)("has every figure that a run has, and says of no other that it is there: %#", (text) => {
    const scenario = scenarioOf(text);
    const { figures } = watch(scenario);
    const metrics = metricsOf({
      sampled: scenario,
      workload: scenario.workload,
      container: scenario.container !== undefined,
      cpuQuota: scenario.container?.cpu !== undefined,
      pageCache: (scenario.container?.page_cache.length ?? 0) > 0,
      memoryLimit: scenario.go.GOMEMLIMIT !== "off",
      gcPercent: true,
      readsMemStats: scenario.interventions.some((i) => i.do === "read_mem_stats"),
      startup: scenario.startup !== undefined,
      hypothetical: scenario.go.hypothetical !== undefined,
    });
    for (const name of Object.keys(figures)) expect(metrics.get(name)?.figure, name).toBe(true);
    // Figures that only some runs have: of giving back, of reclaim, of a kill, of what was refused.
    const chance = /^heap_retained_|^first_oom_kill_seconds$|_refused$|_later_latency_|^lazy_free_.*_gone_/;
    for (const [name, info] of metrics)
      if (info.figure === true && !chance.test(name)) expect(figures, name).toHaveProperty(name);
    const own = sampleColumns(scenario).map((column) => column.name);
    for (const name of own) expect(metrics.get(name)?.samples, name).not.toBe(false);
    for (const [name, info] of metrics) if (info.samples === true) expect(own).toContain(name);
  });
});

describe("thresholds of a phase", () => {
  const PHASES = `phases:
  - {at: 500ms, name: doubled, set: {workload.api.arrivals.rate: 400/s}}
  - {at: 1s, set: {workload.api.arrivals.rate: 200/s}}
  - {when: {metric: rss_bytes, above: 1TiB}, name: never, set: {workload.api.cpu: 1us}}
`;

  it("are judged by its samples and figures only", () => {
    const scenario = scenarioOf(
      withThresholds(
        `
  requests_completed@start: max < 1e9
  requests_completed@doubled: [min > 0, max < 1e9]
  requests_completed@phase 2: last > 0
  gc_count@doubled: count < 1e9
  gc_cpu_of_usable_fraction@doubled: value < 1
  api_requests_per_second@doubled: value > 300
  api_latency_p99_ns@doubled: value < 1s
  rss_bytes@never: max < 1TiB`,
        PHASES,
      ),
    );
    const { verdicts, rows } = watch(scenario);
    const names = sampleColumns(scenario).map(({ name }) => name);
    const completed = names.indexOf("requests_completed");
    const of = (from: number, to: number): number[] =>
      rows.filter((row) => row[0] > from && row[0] <= to).map((row) => row[completed]);
    const values = verdicts.map(({ value }) => value);
    expect(values[0]).toBe(Math.max(...of(0, 0.5)));
    expect(values[1]).toBe(Math.min(...of(0.5, 1)));
    expect(values[2]).toBe(Math.max(...of(0.5, 1)));
    expect(values[3]).toBe(of(1, 2).at(-1));
    expect(verdicts.map(({ passed }) => passed)).toEqual([...Array(8).fill(true), false]);
    // Nothing passes silently.
    expect(verdicts[8]).toMatchObject({
      metric: "rss_bytes@never",
      reason: "`never` never began, was too short, or had nothing of it",
    });
  });

  test.each([
    [
      "{rss_bytes@doubeld: max < 1GiB}",
      "there is no phase `doubeld` for `rss_bytes` (did you mean `doubled`?)",
    ],
    [
      "{rss_bytse@doubled: max < 1GiB}",
      "there is no metric `rss_bytse` of a phase (did you mean `rss_bytes@doubled`?)",
    ],
    [
      "{pause_ns@doubled: max < 1s}",
      "there is no metric `pause_ns` of a phase (a phase has the columns of timeseries.csv and",
    ],
    [
      "{oom_kills@doubled: count == 0}",
      "`oom_kills@doubled` has no value here: the scenario has no `container`",
    ],
    ["{latency_p99_ns@doubled: p95 < 1s}", "a percentile of percentiles says nothing about requests"],
    ["{s_latency_p99_ns@doubled: value < 1s}", "there is no metric `s_latency_p99_ns` of a phase"],
  ])("%s is refused", (thresholds, expected) => {
    const [fault, ...others] = faultsOf(withThresholds(thresholds, PHASES));
    expect(`${fault.message}${fault.hint === undefined ? "" : ` (${fault.hint})`}`).toContain(expected);
    expect(others).toEqual([]);
  });

  it("need phases", () => {
    const [fault] = faultsOf(withThresholds("{rss_bytes@doubled: max < 1GiB}"));
    expect([fault.message, fault.hint]).toEqual([
      "there is no phase `doubled` for `rss_bytes`",
      "the scenario has no `phases`",
    ]);
  });
});
