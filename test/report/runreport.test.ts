/** Gathering a report: it changes nothing, is the same every time, and is bounded. */

import { expect, test } from "vitest";
import { ReportCollector } from "../../src/report/runreport.ts";
import { resolvedYaml } from "../../src/scenario/resolved.ts";
import { sampleColumns, simulate } from "../../src/simulate.ts";
import { scenarioOf } from "../scenarios.ts";

const SCENARIO = scenarioOf(`name: gathered
duration: 6s
sample_interval: 2ms
go: { GOMAXPROCS: 2 }
container: { memory: { max: 64MiB }, restart: { policy: always } }
workload:
  - { kind: stream, name: s, rate: 60k/s, size: { uniform: [16, 900] }, lifetime: { exponential: 200ms } }
  - { kind: leak, name: l, byte_rate: 12MiB/s, size: 700 }
`);

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");

/** The run's rows, cycles and summary as text, and the report if one is gathered. */
function play(gather: boolean) {
  const seen: string[] = [];
  const collector = new ReportCollector(SCENARIO, sampleColumns(SCENARIO));
  const summary = simulate(SCENARIO, {
    sink: {
      sample: (row, view) => {
        seen.push(row.join());
        if (gather) collector.sample(row, view);
      },
      cycle: (cycle) => {
        seen.push(JSON.stringify(cycle));
        if (gather) collector.cycle({ ...cycle, sweep_done_seconds: Number.NaN });
      },
      killed: (_nowNs, view) => {
        if (gather) collector.killed(view);
      },
    },
  });
  seen.push(JSON.stringify(summary));
  return {
    seen,
    report: collector.finish(
      { ...summary, scenario_yaml: resolvedYaml(SCENARIO) },
      collector.heap(base64),
      base64,
    ),
  };
}

test("looking at the heap changes nothing of the run, and the same run gives the same report", () => {
  const alone = play(false);
  const first = play(true);
  expect(first.seen).toEqual(alone.seen);
  expect(JSON.stringify(play(true).report)).toBe(JSON.stringify(first.report));
});

test("maps are few and in order, with the kills and the end among them", () => {
  const { report } = play(true);
  const maps = report.heap?.maps ?? [];
  const reasons = maps.map(({ reason }) => reason).join("; ");
  expect(report.oom_kills.length).toBeGreaterThan(0);
  expect(reasons).toContain("OOM kill");
  // Eight even ones, the peak, the fall, the first kill and the last.
  expect(maps.length).toBeLessThanOrEqual(12);
  expect(maps.map(({ t_seconds }) => t_seconds)).toEqual(
    maps.map(({ t_seconds }) => t_seconds).sort((a, b) => a - b),
  );
  for (const map of maps) expect(map.live_bytes).toBeLessThanOrEqual(map.heap_inuse_bytes);
  expect(maps.find(({ reason }) => reason.includes("OOM kill"))?.t_seconds).toBe(
    report.oom_kills[0].t_seconds,
  );
});
