/** Runs of several seeds as one line: medians and bands. */
import { inflateRawSync } from "node:zlib";
import { expect, test } from "vitest";
import { deflate } from "../../src/cli/page.ts";
import { type OverlayPart, overlayRun, spreadOf } from "../../src/report/overlay.ts";
import { ReportCollector } from "../../src/report/runreport.ts";
import { unpack } from "../../src/report/table.ts";
import { sampleColumns, simulate } from "../../src/simulate.ts";
import { scenarioOf } from "../scenarios.ts";

const columns = (...seeds: number[][]): Float64Array[] => seeds.map((seed) => Float64Array.from(seed));

test("a band reaches from the least to the greatest, and a seed without a value is not counted", () => {
  const { middle, low, high } = spreadOf(
    columns([1, 5, Number.NaN], [2, Number.NaN, Number.NaN], [9, 6, Number.NaN]),
  );
  expect([...middle]).toEqual([2, 5.5, Number.NaN]);
  expect([...low]).toEqual([1, 5, Number.NaN]);
  expect([...high]).toEqual([9, 6, Number.NaN]);
});

test("of twenty seeds or more the outermost are left out of the band", () => {
  const seeds = (n: number): Float64Array[] => Array.from({ length: n }, (_, i) => Float64Array.of(i + 1));
  const ends = (n: number): number[] => {
    const { low, high } = spreadOf(seeds(n));
    return [low[0], high[0]];
  };
  expect(ends(19)).toEqual([1, 19]);
  // Nearest rank: the 1st and the 19th of 20, the 5th and the 95th of 100.
  expect(ends(20)).toEqual([1, 19]);
  expect(ends(100)).toEqual([5, 95]);
});

const partOf = (seed: number, settings = ""): OverlayPart => {
  const scenario = {
    ...scenarioOf(`name: seeds
duration: 4s
sample_interval: 500us
${settings}
workload:
  - { kind: stream, name: s, rate: 20k/s, size: { uniform: [16, 900] }, lifetime: { exponential: 200ms } }
  - { kind: leak, name: l, byte_rate: ${10 + 4 * seed}MiB/s, size: 700 }
`),
    seed,
  };
  const collector = new ReportCollector(scenario, sampleColumns(scenario));
  const summary = simulate(scenario, {
    sink: {
      sample: (row) => collector.sample(row, undefined),
      cycle: (cycle) => collector.cycle({ ...cycle, sweep_done_seconds: Number.NaN }),
    },
  });
  return collector.overlay({ ...summary, scenario_yaml: "" });
};

const drawnOf = (parts: readonly OverlayPart[]): Map<string, Float64Array> => {
  const { samples } = overlayRun(parts, deflate);
  return unpack(samples, inflateRawSync(Buffer.from(samples.data, "base64")));
};

test("a seed that is killed for good counts up to there, and buckets are compared low with low", () => {
  const limit = "container: { memory: { max: 64MiB }, restart: { policy: never } }";
  const parts = [1, 2, 3].map((seed) => partOf(seed, limit));
  // 8000 samples are more than are kept: points are buckets' extremes, at the same times for all.
  expect(parts.map(({ rowsPerBucket, rows }) => [rowsPerBucket, rows])).toEqual([
    [8, 8000],
    [8, 8000],
    [8, 8000],
  ]);
  for (const part of parts) expect(part.t).toEqual(parts[0].t);
  const ends = parts.map((part) => part.values.get("rss")!.findLastIndex((value) => !Number.isNaN(value)));
  expect(new Set(ends).size).toBe(3);
  const drawn = drawnOf(parts);
  const [rss, low, high] = ["rss", "rss low", "rss high"].map((name) => drawn.get(name)!);
  const last = Math.max(...ends);
  expect(rss.findLastIndex((value) => !Number.isNaN(value))).toBe(last);
  // Only one is left.
  expect([low[last], high[last]]).toEqual([rss[last], rss[last]]);
  for (let i = 0; i + 1 < last; i += 2) {
    expect(low[i]).toBeLessThanOrEqual(rss[i]);
    expect(rss[i]).toBeLessThanOrEqual(high[i]);
    expect(rss[i]).toBeLessThanOrEqual(rss[i + 1]);
  }
  expect(drawn.has("latency")).toBe(false);
});

test("a run alone is drawn as it is", () => {
  const part = partOf(1);
  const drawn = drawnOf([part]);
  expect([...drawn.get("rss")!]).toEqual([...part.values.get("rss")!]);
  expect(drawn.has("rss low")).toBe(false);
});
