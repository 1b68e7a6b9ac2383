import { expect, test } from "vitest";
import { Rng } from "../../src/sim/rng.ts";
import { ZipfSampler } from "../../src/workload/zipf.ts";

test.each([0, 0.5, 0.99, 1, 1 + 1e-12, 1.2, 3])(
  "skew %f: keys are drawn with their probabilities",
  (skew) => {
    const keys = 50;
    const zipf = new ZipfSampler(keys, skew);
    const rng = new Rng("zipf");
    const n = 200_000;
    const counts = new Float64Array(keys);
    for (let i = 0; i < n; i++) counts[zipf.sample(rng)]++;
    let sum = 0;
    for (let key = 0; key < keys; key++) {
      const expected = n * zipf.probability(key);
      // Five deviations of a Poisson count, and 5 for the counts near 0.
      expect(Math.abs(counts[key] - expected), `key ${key}`).toBeLessThan(5 * Math.sqrt(expected) + 5);
      sum += zipf.probability(key);
    }
    expect(sum).toBeCloseTo(1, 12);
  },
);

test.each([
  [0.5, 0.005],
  [0.8, 0.01],
  [0.99, 0.015],
  [1, 0.015],
  [1.5, 0.03],
  [2, 0.03],
  [3, 0.06],
])("skew %f: shares are within %f of a true Zipf law, as the head comment says", (skew, tolerance) => {
  const keys = 1_000_000;
  const zipf = new ZipfSampler(keys, skew);
  let harmonic = 0;
  for (let rank = keys; rank >= 1; rank--) harmonic += rank ** -skew;
  for (const key of [0, 1, 2, 3, 4, 9, 99, 9999]) {
    const exact = (key + 1) ** -skew / harmonic;
    expect(Math.abs(zipf.probability(key) / exact - 1), `key ${key}`).toBeLessThan(tolerance);
  }
});

test("skew 0 is uniform, the ends included", () => {
  const zipf = new ZipfSampler(7, 0);
  expect(zipf.keyAt(0)).toBe(0);
  expect(zipf.keyAt(1 - 2 ** -53)).toBe(6);
  for (let key = 0; key < 7; key++) expect(zipf.keyAt((key + 0.5) / 7)).toBe(key);
});

test("every u gives a key, for few keys and many", () => {
  for (const keys of [1, 2, 50_000_000])
    for (const skew of [0, 0.3, 0.999999999, 1, 1.000000001, 2, 3]) {
      const zipf = new ZipfSampler(keys, skew);
      let last = 0;
      for (let i = 0; i <= 1000; i++) {
        const key = zipf.keyAt(Math.min(i / 1000, 1 - 2 ** -53));
        if (!(Number.isInteger(key) && key >= last && key < keys))
          expect.fail(`${keys} ${skew} ${i}: ${key}`);
        last = key;
      }
      expect(zipf.keyAt(0)).toBe(0);
    }
});

test("no keys, or a negative skew, is refused", () => {
  expect(() => new ZipfSampler(0, 1)).toThrow(RangeError);
  expect(() => new ZipfSampler(1, -1)).toThrow(RangeError);
});

test.each([0, 0.3, 0.5, 0.8, 0.99, 1, 1 + 1e-12, 1.2, 2, 3, 8])(
  "skew %f: the table gives the formula's keys, about their ends, too",
  (skew) => {
    for (const keys of [1, 2, 3, 50, 100_000, 1_000_000, 50_000_000]) {
      const zipf = new ZipfSampler(keys, skew);
      const rng = new Rng(`zipf ${keys}`);
      let below = 0;
      const check = (u: number): void => {
        if (zipf.keyAt(u) !== zipf.keyByFormula(u)) expect.fail(`${keys} keys: ${u}`);
      };
      for (let i = 0; i < 20_000; i++) check(rng.f64());
      for (let key = 0; key < Math.min(keys, 3000); key++) {
        below += zipf.probability(key);
        for (let ulps = -8; ulps <= 8; ulps++)
          check(Math.min(Math.max(below + ulps * 2 ** -53, 0), 1 - 2 ** -53));
      }
      check(0);
      check(1 - 2 ** -53);
    }
  },
);
