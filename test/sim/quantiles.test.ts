import { describe, expect, it } from "vitest";
import { Quantiles } from "../../src/sim/quantiles.ts";
import { RandomStreams } from "../../src/sim/rng.ts";

/** The nearest-rank quantile, of all values sorted. */
function reference(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(1, Math.ceil(share * sorted.length)) - 1];
}

const SHARES = [0, 0.01, 0.25, 0.5, 0.95, 0.99, 0.9999, 1];

function filled(values: readonly number[]): Quantiles {
  const of = new Quantiles(true);
  for (const value of values) of.add(value);
  return of;
}

describe("quantiles of a stream", () => {
  it("are exact while there are few, and nothing without values", () => {
    const values = [5, 1, 4, 1, 3];
    const of = filled([Number.NaN, ...values, Number.NaN]);
    for (const share of SHARES) expect(of.quantile(share)).toBe(reference(values, share));
    expect([of.count, of.min, of.max, of.mean, of.last]).toEqual([5, 1, 5, 2.8, 3]);
    const none = new Quantiles(true);
    expect([none.quantile(0.5), none.min, none.max, none.mean, none.last]).toEqual(Array(5).fill(Number.NaN));
  });

  it("stay within 2^-11 of the exact ones, however many and however wide", () => {
    const rng = new RandomStreams(3).stream("values");
    for (const draw of [
      () => rng.f64(),
      () => 2 ** (60 * rng.f64() - 30),
      () => -(2 ** (60 * rng.f64() - 30)),
      () => 1e9 + 1e6 * rng.f64(),
      () => (rng.f64() < 0.5 ? 0 : rng.f64() - 0.5),
    ]) {
      const values = Array.from({ length: 130_000 }, draw);
      const of = filled(values);
      for (const share of SHARES) {
        const exact = reference(values, share);
        expect(Math.abs(of.quantile(share) - exact)).toBeLessThanOrEqual(Math.abs(exact) * 2 ** -11);
      }
      expect(of.quantile(1)).toBeLessThanOrEqual(of.max);
    }
  });
});
