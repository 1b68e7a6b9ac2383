import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { grafanaDashboard } from "../../src/report/grafana.ts";
import { OpenMetricsRun, runLabels } from "../../src/report/openmetrics.ts";
import {
  classicText,
  type Family,
  GrowingFamilies,
  metricFamilies,
  openMetricsText,
  prometheusName,
} from "../../src/report/prometheus.ts";
import { RUNTIME_METRICS } from "../../src/report/runtimemetrics.ts";
import { SimulatedRun } from "../../src/simulate.ts";
import { client, describeWith, Prometheus, temporaryFolder } from "../clients.ts";
import { BARE, POD, scenarioOf, viewOf } from "./exported.ts";

const START = 1_767_225_600;

/** A run as the command writes it, its pieces put away every few instants, and what each instant showed. */
function exportRun(
  text: string,
  everyNs: number,
): { text: string; instants: Map<number, readonly Family[]> } {
  const scenario = scenarioOf(text);
  const pieces: string[] = [];
  const run = new OpenMetricsRun(
    { put: (piece) => pieces.push(piece) - 1, get: (handle) => pieces[handle] },
    runLabels(scenario, scenario.seed),
    50_000,
  );
  const simulated = new SimulatedRun(scenario);
  const instants = new Map<number, readonly Family[]>();
  for (let t = everyNs; t <= scenario.duration; t += everyNs) {
    simulated.advance(t);
    const view = simulated.view();
    if (view === undefined) continue;
    const families = metricFamilies(view, START);
    instants.set(START + t / 1e9, families);
    run.add(families, START + t / 1e9);
  }
  let written = "";
  run.finish((part) => (written += part));
  expect(pieces.length).toBeGreaterThan(0);
  return { text: written, instants };
}

describe("metric families", () => {
  it("have client_golang's names", () => {
    const names = (name: string): string => {
      const metric = RUNTIME_METRICS.find((m) => m.name === name)!;
      return prometheusName(name, metric.cumulative && metric.kind !== "float64-histogram");
    };
    // Out of client_golang's own tests (go_collector_metrics_go126_test.go).
    expect(
      [
        "/cpu/classes/gc/mark/assist:cpu-seconds",
        "/gc/cycles/total:gc-cycles",
        "/gc/gogc:percent",
        "/gc/heap/allocs-by-size:bytes",
        "/memory/classes/metadata/mcache/free:bytes",
        "/sched/goroutines-created:goroutines",
        "/sched/pauses/total/gc:seconds",
      ].map(names),
    ).toEqual([
      "go_cpu_classes_gc_mark_assist_cpu_seconds_total",
      "go_gc_cycles_total_gc_cycles_total",
      "go_gc_gogc_percent",
      "go_gc_heap_allocs_by_size_bytes",
      "go_memory_classes_metadata_mcache_free_bytes",
      "go_sched_goroutines_created_goroutines_total",
      "go_sched_pauses_total_gc_seconds",
    ]);
  });

  it("are unique, and so are their series", () => {
    const families = metricFamilies(viewOf(POD));
    expect(new Set(families.map(({ name }) => name)).size).toBe(families.length);
    for (const { series } of families)
      expect(new Set(series.map(({ labels }) => JSON.stringify(labels))).size).toBe(series.length);
  });

  it("escape help texts and labels", () => {
    const text = openMetricsText([
      {
        name: "x",
        type: "gauge",
        help: 'say "hi"\nor \\',
        series: [
          { labels: [["l", 'a"b\\c\nd']], samples: [{ suffix: "", labels: [["l", 'a"b\\c\nd']], value: 1 }] },
        ],
      },
    ]);
    expect(text).toBe('# TYPE x gauge\n# HELP x say \\"hi\\"\\nor \\\\\nx{l="a\\"b\\\\c\\nd"} 1\n# EOF\n');
  });
});

describe("counters", () => {
  it("never fall, and begin anew with a new process", () => {
    const growing = new GrowingFamilies();
    const run = new SimulatedRun(scenarioOf(POD));
    const before = new Map<string, number>();
    for (let t = 0; t < 2e9; t += 1_617_003) {
      run.advance(t);
      for (const { name, type, series } of growing.at(run.lastView())) {
        if (type !== "counter") continue;
        const { value } = series[0].samples[0];
        expect(value, name).toBeGreaterThanOrEqual(before.get(name) ?? 0);
        before.set(name, value);
      }
    }
    expect(before.size).toBeGreaterThan(30);
    const anew = growing.at({ ...viewOf(POD, 1e9), startNs: 5 });
    const { value } = anew.find(({ name }) => name === "go_memstats_mallocs_total")!.series[0].samples[0];
    expect(value).toBeLessThan(before.get("go_memstats_mallocs_total")!);
  });

  it("begin anew with a new run, whose process starts at the same virtual time", () => {
    const growing = new GrowingFamilies();
    const mallocs = (untilNs: number, startUnixSeconds: number): number => {
      const families = growing.at(viewOf(BARE, untilNs), startUnixSeconds);
      return families.find(({ name }) => name === "go_memstats_mallocs_total")!.series[0].samples[0].value;
    };
    const end = mallocs(4e9, START);
    expect(mallocs(1e9, START)).toBe(end);
    expect(mallocs(1e9, START + 4)).toBeLessThan(end);
  });
});

describe("the Grafana dashboard", () => {
  it.each([
    ["a bare process", BARE],
    ["a container", POD],
  ])("is laid out without gaps or overlaps, its parts told apart: %s", (_, text) => {
    const dashboard = JSON.parse(grafanaDashboard(scenarioOf(text), START));
    expect(dashboard).toMatchObject({ schemaVersion: 39, time: { from: "2026-01-01T00:00:00.000Z" } });
    const ids = dashboard.panels.map(({ id }: { id: number }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const taken = new Set<string>();
    let cells = 0;
    for (const { gridPos, type, title, datasource, targets } of dashboard.panels) {
      expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++, cells++) taken.add(`${x},${y}`);
      expect(title).not.toBe("");
      if (type === "row") continue;
      expect(["timeseries", "heatmap"]).toContain(type);
      expect(datasource).toEqual({ type: "prometheus", uid: "$datasource" });
      const refs = targets.map(({ refId }: { refId: string }) => refId);
      expect(new Set(refs).size).toBe(refs.length);
    }
    expect(taken.size).toBe(cells);
    const titles = dashboard.panels.map(({ title }: { title: string }) => title);
    expect(titles.includes("Container")).toBe(text.includes("container:"));
    expect(titles.includes("Workload")).toBe(text.includes("service"));
  });
});

describe("OpenMetrics", () => {
  it("keeps a family together, a series together, in the order of time", () => {
    const { text } = exportRun(POD, 1e9);
    const lines = text.split("\n");
    expect(lines.slice(-2)).toEqual(["# EOF", ""]);
    const sample =
      /^([a-zA-Z_:][a-zA-Z0-9_:]*)\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+)\} (\S+) (\d+\.\d{3})$/;
    const families: string[] = [];
    let last = { series: "", time: 0 };
    const seen = new Set<string>();
    for (const line of lines.slice(0, -2)) {
      const type = /^# TYPE (\S+) (gauge|counter|summary|histogram|unknown)$/.exec(line);
      if (type !== null) {
        families.push(type[1]);
        continue;
      }
      if (/^# HELP \S+ \S/.test(line)) continue;
      const [, name, labels, value, time] = sample.exec(line) ?? [];
      expect(name, line).toBeDefined();
      expect(Number.isNaN(Number(value.replace("Inf", "Infinity"))), line).toBe(false);
      expect(name.startsWith(families.at(-1)!), line).toBe(true);
      const series = `${families.at(-1)} ${labels.replace(/,?(le|quantile)="[^"]*"/, "")}`;
      if (series !== last.series) {
        expect(seen.has(series), line).toBe(false);
        seen.add(series);
        last = { series, time: 0 };
      }
      expect(Number(time), line).toBeGreaterThanOrEqual(last.time);
      last = { series, time: Number(time) };
    }
    expect(new Set(families).size).toBe(families.length);
    expect(seen.size).toBeGreaterThan(100);
  });
});

describeWith(["promtool"], "promtool check metrics", () => {
  it.each([
    ["a bare process", BARE],
    ["a container", POD],
    ["a container of cgroup v1", `${POD}  cgroup: v1\n`],
  ])("has no complaint about %s", (_, text) => {
    const { status, stdout, stderr } = client(
      "promtool",
      ["check", "metrics"],
      classicText(metricFamilies(viewOf(text))),
    );
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "", stderr: "" });
  });
});

describeWith(["promtool", "prometheus"], "a real Prometheus with a run's blocks", () => {
  const folder = temporaryFolder();
  const { text, instants } = exportRun(POD, 500e6);
  let prometheus: Prometheus;

  beforeAll(async () => {
    const storage = join(folder, "data");
    mkdirSync(storage);
    writeFileSync(join(folder, "openmetrics.txt"), text);
    const made = client("promtool", [
      "tsdb",
      "create-blocks-from",
      "openmetrics",
      join(folder, "openmetrics.txt"),
      storage,
    ]);
    expect(made.stderr).toBe("");
    expect(made.status).toBe(0);
    prometheus = await Prometheus.start(storage);
  });

  afterAll(async () => {
    await prometheus?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it("answers with every sample of every instant", async () => {
    let compared = 0;
    for (const [time, families] of instants) {
      const found = new Map(
        (await prometheus.query('{instance="pod/base/1"}', time)).map(({ metric, value }) => {
          const { __name__, job, instance, scenario, variant, seed, ...own } = metric;
          expect({ job, instance, scenario, variant, seed }).toEqual({
            job: "gomemsim",
            instance: "pod/base/1",
            scenario: "pod",
            variant: "base",
            seed: "1",
          });
          return [
            `${__name__} ${JSON.stringify(Object.entries(own).sort())}`,
            Number(value[1].replace("Inf", "Infinity")),
          ];
        }),
      );
      for (const { name, series } of families)
        for (const { labels, samples } of series)
          for (const sample of samples) {
            const own = new Map([...labels, ...sample.labels]);
            const key = `${name}${sample.suffix} ${JSON.stringify([...own].sort())}`;
            expect(found.get(key), `${key} at ${time}`).toBe(sample.value);
            compared++;
          }
    }
    expect(instants.size).toBe(12);
    expect(compared).toBeGreaterThan(12 * 150);
  });

  it("accepts every expression of the dashboard, and each has an answer", async () => {
    const dashboard = JSON.parse(grafanaDashboard(scenarioOf(POD), START));
    const end = [...instants.keys()].at(-1)!;
    const expressions: string[] = dashboard.panels.flatMap(
      (panel: { targets?: readonly { expr: string }[] }) => (panel.targets ?? []).map(({ expr }) => expr),
    );
    expect(expressions.length).toBeGreaterThan(45);
    for (const expr of expressions) {
      const asked = expr.replaceAll(/\$(job|instance)/g, ".*").replaceAll("$__rate_interval", "4s");
      const found = await prometheus.query(asked, end);
      expect(found.length, asked).toBeGreaterThan(0);
      for (const { value } of found)
        expect(Number.isFinite(Number(value[1])), `${asked}: ${value[1]}`).toBe(true);
    }
    for (const { name, query } of dashboard.templating.list) {
      if (name === "datasource") continue;
      const [, metric, label] = /^label_values\((.*), (\w+)\)$/.exec(query.query)!;
      const values = await prometheus.get(`label/${label}/values`, {
        "match[]": metric.replaceAll("$job", ".*"),
        start: String(START),
        end: String(end),
      });
      expect(values).toEqual([name === "job" ? "gomemsim" : "pod/base/1"]);
    }
  });

  it("computes with them", async () => {
    const end = [...instants.keys()].at(-1)!;
    const [rate] = await prometheus.query("rate(go_memstats_alloc_bytes_total[4s])", end);
    expect(Number(rate.value[1])).toBeGreaterThan(1e6);
    const [p99] = await prometheus.query(
      "histogram_quantile(0.99, rate(go_gc_pauses_seconds_bucket[4s]))",
      end,
    );
    expect(Number(p99.value[1])).toBeGreaterThan(0);
    const [throttled] = await prometheus.query(
      "rate(container_cpu_cfs_throttled_periods_total[4s]) / rate(container_cpu_cfs_periods_total[4s])",
      end,
    );
    expect(Number(throttled.value[1])).toBeLessThanOrEqual(1);
  });
});
