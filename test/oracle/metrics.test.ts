import { describe, expect, test } from "vitest";
import { compare, judge, METRICS, type Metric, OPTIONAL_METRICS } from "../../src/oracle/metrics.ts";

const bytes: Metric = { name: "x", label: "x", unit: "bytes", tolerance: 0.02, floor: 1000 };

describe("in band", () => {
  test("inside the real runs' range, widened by 2 % of their median", () => {
    const real = [100_000, 110_000, 105_000];
    expect(judge(bytes, real, [97_900]).inBand).toBe(true);
    expect(judge(bytes, real, [97_899]).inBand).toBe(false);
    expect(judge(bytes, real, [112_100]).inBand).toBe(true);
    expect(judge(bytes, real, [112_101]).inBand).toBe(false);
  });

  test("the floor holds where 2 % would be less", () => {
    expect(judge(bytes, [10_000], [9000]).inBand).toBe(true);
    expect(judge(bytes, [10_000], [8999]).inBand).toBe(false);
  });

  test("the simulated median counts, not its extremes", () => {
    const cell = judge(bytes, [100_000], [0, 100_000, 101_000]);
    expect(cell.simulated).toBe(100_000);
    expect(cell.inBand).toBe(true);
    expect(cell.error).toBe(0);
  });

  test("a missing value is out of band", () => {
    expect(judge(bytes, [1], [Number.NaN]).inBand).toBe(false);
    expect(judge(bytes, [Number.NaN], [1]).inBand).toBe(false);
    expect(compare([{}], [{}]).every((cell) => !cell.inBand)).toBe(true);
  });

  test("optional metrics are compared where every run of both sides has them", () => {
    const names = (real: Record<string, number>[], simulated: Record<string, number>[]): string[] =>
      compare(real, simulated)
        .slice(METRICS.length)
        .map((cell) => cell.metric.name);
    expect(names([{}], [{ rss_mean_bytes: 1 }])).toEqual([]);
    expect(names([{ rss_mean_bytes: 1 }, {}], [{ rss_mean_bytes: 1 }])).toEqual([]);
    expect(names([{ rss_mean_bytes: 1 }], [{ rss_mean_bytes: 1, scavenge_cpu_seconds: 1 }])).toEqual([
      "rss_mean_bytes",
    ]);
  });

  test("a real median of zero has no relative error", () => {
    expect(judge(bytes, [0, 0, 0], [500])).toMatchObject({ inBand: true, error: Number.NaN });
  });
});

test("tolerances are the design's: 2 % for bytes and counts, 25 % for CPU and pauses; 5 % for moments of the run", () => {
  const all = [...METRICS, ...OPTIONAL_METRICS];
  for (const metric of all) {
    const amount = metric.unit === "bytes" || metric.unit === "count";
    const moment = metric.name.startsWith("heap_retained_");
    expect(metric.tolerance).toBe(amount ? 0.02 : moment ? 0.05 : 0.25);
    expect(metric.floor).toBeGreaterThan(0);
  }
  expect(new Set(all.map((metric) => metric.name)).size).toBe(all.length);
});
