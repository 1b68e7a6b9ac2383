import { expect, test } from "vitest";
import { medianOf } from "../../src/oracle/calibrate.ts";

test("the median of profiles is one of values that occurred, number by number", () => {
  const passes = [
    { name: "a", ns: 9, curve: [[1, 5] as const, [2, 8] as const] },
    { name: "b", ns: 1, curve: [[1, 7] as const, [2, 6] as const] },
    { name: "c", ns: 4, curve: [[1, 6] as const, [2, 7] as const] },
  ];
  expect(medianOf(passes)).toEqual({
    name: "a",
    ns: 4,
    curve: [
      [1, 6],
      [2, 7],
    ],
  });
  expect(medianOf(passes.slice(0, 2))).toEqual({
    name: "a",
    ns: 1,
    curve: [
      [1, 5],
      [2, 6],
    ],
  });
  // Lists that do not correspond are left out.
  expect(medianOf([[1, 2], [3], [5, 6]])).toEqual([1, 2]);
});
