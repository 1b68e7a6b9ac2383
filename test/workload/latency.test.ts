import { describe, expect, test } from "vitest";
import { Rng } from "../../src/sim/rng.ts";
import { LatencyHistogram, LatencyRecorder } from "../../src/workload/latency.ts";

describe("percentiles", () => {
  test("are within half a bucket, 1/128, of the exact order statistic", () => {
    const rng = new Rng("latency");
    const histogram = new LatencyHistogram();
    // Log-uniform from 1 ns to about 18 minutes: every power of two is met.
    const exact = Float64Array.from({ length: 20_000 }, () => Math.round(2 ** (rng.f64() * 40)));
    for (const ns of exact) histogram.record(ns);
    exact.sort();
    for (let percent = 1; percent <= 100; percent++) {
      const truth = exact[Math.ceil((percent / 100) * exact.length) - 1];
      expect(Math.abs(histogram.percentile(percent / 100) / truth - 1)).toBeLessThanOrEqual(1 / 128);
    }
    expect(histogram.percentile(1)).toBeLessThanOrEqual(histogram.maxNs);
  });

  test("of nothing are 0, of one value never above it", () => {
    const histogram = new LatencyHistogram();
    expect(histogram.percentile(0.5)).toBe(0);
    histogram.record(1000);
    expect(histogram.percentile(0)).toBe(1000);
    expect(histogram.percentile(1)).toBe(1000);
    expect(histogram.sumNs).toBe(1000);
  });
});

test("a recorder's intervals add up to its total", () => {
  const recorder = new LatencyRecorder();
  const whole = new LatencyHistogram();
  for (let i = 1; i <= 1000; i++) {
    recorder.record(i * 997);
    whole.record(i * 997);
    if (i % 300 === 0) recorder.rotate();
  }
  expect(recorder.count).toBe(100);
  recorder.rotate();
  expect(recorder.count).toBe(0);
  expect(recorder.total.count).toBe(1000);
  expect(recorder.total.sumNs).toBe(whole.sumNs);
  for (const q of [0.01, 0.5, 0.95, 0.99, 1]) expect(recorder.total.percentile(q)).toBe(whole.percentile(q));
});
