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

  it("have the rank that is meant, whatever the product of share and number is rounded to", () => {
    // 0.07 * 100 is 7.000000000000001.
    const hundred = filled(Array.from({ length: 100 }, (_, i) => i + 1));
    for (let percent = 1; percent <= 100; percent++) expect(hundred.quantile(percent / 100)).toBe(percent);
    for (const n of [3, 7, 10, 29, 57, 1000, 1999]) {
      const of = filled(Array.from({ length: n }, (_, i) => i + 1));
      for (let permille = 0; permille <= 1000; permille++)
        // In whole numbers.
        expect(of.quantile(permille / 1000), `${permille} of ${n}`).toBe(
          Math.max(1, Math.floor((permille * n + 999) / 1000)),
        );
    }
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
