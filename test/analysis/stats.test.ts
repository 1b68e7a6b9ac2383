import { describe, expect, it } from "vitest";
import { ALPHA, mannWhitney, medianInterval } from "../../src/analysis/stats.ts";
import { MIN_FOR_INTERVAL, MIN_FOR_TEST } from "../../src/report/comparison.ts";
import { median } from "../../src/sim/quantiles.ts";
import { RandomStreams } from "../../src/sim/rng.ts";

const from = (n: number, start = 0): number[] => Array.from({ length: n }, (_, i) => start + i);

/** The U test by going through every choice of the first sample: the definition itself. */
function byEnumeration(first: readonly number[], second: readonly number[]): number {
  const all = [...first, ...second];
  const u = (chosen: readonly number[], rest: readonly number[]): number =>
    chosen.reduce((sum, a) => sum + rest.reduce((s, b) => s + (a > b ? 1 : a === b ? 0.5 : 0), 0), 0);
  const own = u(first, second);
  const mirrored = first.length * second.length - own;
  if (own === mirrored) return 1;
  if (own > mirrored) return byEnumeration(second, first);
  let choices = 0;
  let asFar = 0;
  for (let mask = 0; mask < 2 ** all.length; mask++) {
    const chosen = all.filter((_, i) => mask & (1 << i));
    if (chosen.length !== first.length) continue;
    choices++;
    if (
      u(
        chosen,
        all.filter((_, i) => !(mask & (1 << i))),
      ) <= own
    )
      asFar++;
  }
  return Math.min(1, (2 * asFar) / choices);
}

describe("Mann-Whitney U test", () => {
  it("equals the count of all choices, with ties and without", () => {
    const rng = new RandomStreams(1).stream("u");
    for (let round = 0; round < 60; round++) {
      const values = (n: number): number[] =>
        Array.from({ length: n }, () => (round % 2 === 0 ? rng.f64() : Math.floor(4 * rng.f64())));
      const [a, b] = [values(1 + (round % 5)), values(2 + (round % 4))];
      if (new Set([...a, ...b]).size === 1) continue;
      expect(mannWhitney(a, b)).toBeCloseTo(byEnumeration(a, b), 12);
    }
  });

  it("is as sure as it can be of samples that do not meet, and of nothing else", () => {
    // 2 / C(2n, n): both samples at either end.
    expect(mannWhitney(from(5), from(5, 10))).toBeCloseTo(2 / 252, 15);
    expect(mannWhitney(from(10), from(10, 10))).toBeCloseTo(2 / 184756, 15);
    expect(mannWhitney([4, 4], [2, 2, 1])).toBeCloseTo(0.2, 15);
    expect(mannWhitney([1, 4], [2, 3])).toBe(1);
    expect(mannWhitney([1, 1, 1], [1, 1])).toBeUndefined();
    expect(mannWhitney([], [1])).toBeUndefined();
    const best = (n: number): number => mannWhitney(from(n), from(n, n)) ?? Number.NaN;
    expect(best(MIN_FOR_TEST)).toBeLessThan(ALPHA);
    expect(best(MIN_FOR_TEST - 1)).toBeGreaterThan(ALPHA);
  });

  it("does not depend on which sample comes first, and goes over to the normal law without a step", () => {
    const rng = new RandomStreams(2).stream("u");
    const values = (n: number, shift: number): number[] => Array.from({ length: n }, () => rng.f64() + shift);
    for (const n of [5, 20, 50, 51, 80]) {
      const [a, b] = [values(n, 0), values(n, 0.1)];
      expect(mannWhitney(a, b)).toBeCloseTo(mannWhitney(b, a) ?? Number.NaN, 12);
    }
    // 50 and 51 values of the same law, one a value longer: exact here, approximate there.
    const [a, b] = [values(50, 0), values(50, 0.12)];
    const exact = mannWhitney(a, b) ?? Number.NaN;
    const near = mannWhitney([...a, median(a)], b) ?? Number.NaN;
    expect(Math.abs(exact - near)).toBeLessThan(0.02);
    // The far tail.
    const far = mannWhitney(from(60), from(60, 60)) ?? Number.NaN;
    // z = (1800 - 0.5) / sqrt(60 * 60 * 121 / 12)
    expect(far / 3.556570974984777e-21).toBeCloseTo(1, 10);
  });
});

it("the median of an even number of values is between the middle ones", () => {
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([])).toBeNaN();
});

describe("interval of the median", () => {
  it("has the ends that binomial tables give", () => {
    expect(medianInterval(from(MIN_FOR_INTERVAL, 1))).toEqual({ low: 1, high: 6 });
    // 97.85 % for the 2nd to the 9th of 10; the left one of two equal choices otherwise.
    expect(medianInterval(from(10, 1))).toEqual({ low: 2, high: 9 });
    expect(medianInterval(from(20, 1))).toEqual({ low: 6, high: 15 });
    expect(medianInterval(from(MIN_FOR_INTERVAL - 1, 1))).toEqual({ low: -Infinity, high: 5 });
  });

  it("holds the population's median as often as it says", () => {
    const rng = new RandomStreams(4).stream("ci");
    for (const n of [6, 9, 40]) {
      let held = 0;
      const rounds = 4000;
      for (let round = 0; round < rounds; round++) {
        const { low, high } = medianInterval(Array.from({ length: n }, () => rng.f64()));
        if (low <= 0.5 && 0.5 <= high) held++;
      }
      // Four deviations of the count below 95 %.
      expect(held / rounds).toBeGreaterThan(0.95 - 4 * Math.sqrt((0.95 * 0.05) / rounds));
    }
  });
});
