/** The statistics against the real benchstat's, on the same numbers. */
import { describe, expect, it } from "vitest";
import { ALPHA, mannWhitney, medianInterval } from "../../src/analysis/stats.ts";
import { benchmarkLine } from "../../src/report/benchfmt.ts";
import { median } from "../../src/sim/quantiles.ts";
import { RandomStreams } from "../../src/sim/rng.ts";
import { askBenchstat, findBenchstat } from "../benchstat.ts";
import { scratch } from "../cli/cli.ts";

const benchstat = findBenchstat();
const why = "missing" in benchstat ? ` (skipped: ${benchstat.missing})` : "";

interface Pair {
  readonly first: readonly number[];
  readonly second: readonly number[];
}

/** Samples of many sizes, alike and unlike, without ties and with many; one pair per unit. */
function pairs(n1: number, n2: number): Pair[] {
  const rng = new RandomStreams(n1 * 1000 + n2).stream("samples");
  const draws = [
    () => 100 + 20 * rng.f64(),
    () => 1 + Math.floor(6 * rng.f64()),
    () => 2 ** (20 * rng.f64()),
    () => (rng.f64() < 0.7 ? 0 : 1 + rng.f64()),
    () => 7,
  ];
  return draws.flatMap((draw) =>
    [1, 1.02, 1.1, 3].map((factor) => ({
      first: Array.from({ length: n1 }, draw),
      second: Array.from({ length: n2 }, () => factor * draw()),
    })),
  );
}

/** `±2%` of benchstat: the longer side of the interval. */
function rangeOf(values: readonly number[]): string {
  const middle = median(values);
  const { low, high } = medianInterval(values);
  if (!Number.isFinite(low) || !Number.isFinite(high)) return "∞";
  if (Math.sign(low) !== Math.sign(middle) || Math.sign(high) !== Math.sign(middle)) return "?";
  if (middle === 0) return "0%";
  return `${Math.round(100 * Math.max(high / middle - 1, 1 - low / middle))}%`;
}

/** U of the first sample. */
const pairsAbove = (first: readonly number[], second: readonly number[]): number =>
  first.reduce((sum, a) => sum + second.reduce((s, b) => s + (a > b ? 1 : a === b ? 0.5 : 0), 0), 0);

describe.skipIf("missing" in benchstat)(`benchstat${why}`, () => {
  const folder = scratch();
  const sizes = [
    ...[
      [1, 1],
      [2, 3],
      [4, 4],
      [5, 5],
      [6, 9],
      [10, 10],
      [11, 25],
      [26, 20],
      [30, 30],
    ],
    // Beyond 30 benchstat's intervals are approximate, beyond 50 its test is.
    ...[
      [50, 50],
      [51, 12],
      [60, 70],
    ],
  ];

  it.each(sizes)("gives the same medians, intervals and p-values for %i and %i values", (n1, n2) => {
    if ("missing" in benchstat) return;
    const all = pairs(n1, n2);
    const file = (values: (pair: Pair) => readonly number[], n: number): string =>
      Array.from({ length: n }, (_, run) =>
        benchmarkLine("s", Object.fromEntries(all.map((pair, i) => [`u${i}`, values(pair)[run]]))),
      ).join("");
    const files = [file((pair) => pair.first, n1), file((pair) => pair.second, n2)] as const;
    const { cells, complaints } = askBenchstat(benchstat.command, folder, files);
    const swapped = askBenchstat(benchstat.command, folder, [files[1], files[0]]).cells;
    expect(complaints).toEqual([]);
    expect(cells.size).toBe(all.length);
    all.forEach(({ first, second }, i) => {
      const theirs = cells.get(`u${i}`)!;
      const what = `u${i}: ${first} against ${second}`;
      expect(theirs.medians[0], what).toBeCloseTo(median(first), 9);
      expect(theirs.medians[1], what).toBeCloseTo(median(second), 9);
      if (n1 <= 30) expect(theirs.ranges[0], what).toBe(rangeOf(first));
      if (n2 <= 30) expect(theirs.ranges[1], what).toBe(rangeOf(second));
      const ours = mannWhitney(first, second) ?? 1;
      // Asked with the sample of the smaller U first: see mannWhitney.
      const { p, versus } = pairsAbove(first, second) > (n1 * n2) / 2 ? swapped.get(`u${i}`)! : theirs;
      // With ties twice a tail can be more than 1, and benchstat says so.
      expect(Math.abs(Math.min(1, p) - ours), what).toBeLessThanOrEqual(0.0005000001);
      if (Math.abs(ours - ALPHA) > 1e-9) expect(versus === "~", what).toBe(ours > ALPHA);
    });
  });
});
