import { expect, test } from "vitest";
import { drawNs } from "../../src/workload/program.ts";

const costs = { uniform: 3, exponential: 10, lognormal: 40, power: 50 };

test("a draw costs what its distribution takes; a mixture its choice and the part chosen", () => {
  expect(drawNs({ kind: "constant", value: 7 }, costs)).toBe(0);
  expect(drawNs({ kind: "uniform", min: 1, max: 2 }, costs)).toBe(3);
  expect(drawNs({ kind: "weibull", scale: 1, shape: 2 }, costs)).toBe(50);
  const parts = [
    { weight: 3, dist: { kind: "lognormal", median: 1, sigma: 1 } },
    { weight: 1, dist: { kind: "constant", value: 7 } },
  ] as const;
  expect(drawNs({ kind: "mixture", parts: [...parts] }, costs)).toBe(3 + 30);
});
