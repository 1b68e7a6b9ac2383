/** Tables of bounded size: what decimation keeps, and that packing loses nothing. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { BoundedTable, MOST, unpack } from "../../src/report/table.ts";

const COLUMNS = [
  { name: "t", scale: 1e3 },
  { name: "value", scale: 1 },
  { name: "follower", scale: 1, leader: "value" },
  { name: "counter", scale: 1 },
];

/** Keeps the packed bytes aside, so that a test can hand them back. */
function packed(table: BoundedTable) {
  let bytes = new Uint8Array();
  const form = table.pack((packed) => {
    bytes = packed.slice();
    return "";
  });
  return unpack(form, bytes);
}

const rowsOf = (values: readonly number[]): number[][] =>
  values.map((value, i) => [i, value, value * 2, values.slice(0, i + 1).length * 3]);

test("keeps every row while there is room, in order", () => {
  const table = new BoundedTable(COLUMNS, 8);
  for (const row of rowsOf([5, 1, 9, 2])) table.add(row);
  expect(table.points).toBe(4);
  expect([...packed(table).get("value")!]).toEqual([5, 1, 9, 2]);
});

test("keeps all extremes, the ends of counters and times, and followers beside their leader", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: -1000, max: 1000 }), { minLength: 1, maxLength: 300 }),
      (values) => {
        const limit = 16;
        const table = new BoundedTable(COLUMNS, limit);
        for (const row of rowsOf(values)) table.add(row);
        expect(table.rows).toBe(values.length);
        expect(table.points).toBeLessThanOrEqual(limit);
        const t = table.column("t");
        const value = table.column("value");
        const counter = table.column("counter");
        const follower = table.column("follower");
        expect(Math.max(...value)).toBe(Math.max(...values));
        expect(Math.min(...value)).toBe(Math.min(...values));
        expect(t[0]).toBe(0);
        expect(t[t.length - 1]).toBe(values.length - 1);
        expect(counter[counter.length - 1]).toBe(values.length * 3);
        for (let i = 0; i < t.length; i++) {
          expect(follower[i]).toBe(value[i] * 2);
          // A counter's value is that of its point's own time.
          expect(counter[i]).toBe((t[i] + 1) * 3);
          if (i > 0) expect(t[i]).toBeGreaterThanOrEqual(t[i - 1]);
        }
      },
    ),
  );
});

test("puts a bucket's extremes in the order in which they came", () => {
  const table = new BoundedTable(COLUMNS.slice(0, 2), 4);
  // Two buckets of four rows: up then down, down then up.
  for (const [i, value] of [3, 1, 9, 5, 7, 8, 0, 6].entries()) table.add([i, value]);
  expect([...table.column("value")]).toEqual([1, 9, 8, 0]);
  expect([...table.column("t")]).toEqual([0, 3, 4, 7]);
});

test("cells without a value neither count as extremes nor hide the others", () => {
  const table = new BoundedTable(COLUMNS.slice(0, 2), 4);
  for (const [i, value] of [
    Number.NaN,
    4,
    Number.NaN,
    2,
    Number.NaN,
    Number.NaN,
    Number.NaN,
    Number.NaN,
  ].entries())
    table.add([i, value]);
  expect([...table.column("value")]).toEqual([4, 2, Number.NaN, Number.NaN]);
});

test("reducing a table is as having gathered it smaller", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 500 }), (rows) => {
      const whole = new BoundedTable(COLUMNS.slice(0, 2), 64);
      const small = new BoundedTable(COLUMNS.slice(0, 2), 16);
      for (let i = 0; i < rows; i++) {
        const row = [i, (i * 7919) % 1000];
        whole.add(row);
        small.add(row);
      }
      const reduced = whole.reduced(16);
      expect(reduced.rows).toBe(rows);
      expect(Math.max(...reduced.column("value"))).toBe(Math.max(...small.column("value")));
      expect(Math.min(...reduced.column("value"))).toBe(Math.min(...small.column("value")));
      expect(reduced.points).toBeLessThanOrEqual(16);
    }),
  );
});

test("what is no number of bytes has no value: Go's goal without GOGC", () => {
  const table = new BoundedTable([{ name: "v", scale: 1 }], 64);
  for (const value of [1, 2 ** 63, 3]) table.add([value]);
  expect([...packed(table).get("v")!]).toEqual([1, Number.NaN, 3]);
});

test("a value has a place up to the largest, and none from there on", () => {
  const table = new BoundedTable([{ name: "v", scale: 1 }], 64);
  for (const value of [0, MOST - 1, 0, 1 - MOST, MOST]) table.add([value]);
  expect([...packed(table).get("v")!]).toEqual([0, MOST - 1, 0, 1 - MOST, Number.NaN]);
});

test("unpack gives back what was packed, up to the scale", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.constant(Number.NaN),
          fc.double({ min: -1e6, max: 1e6, noNaN: true }),
          fc.integer({ min: 0, max: 2 ** 42 }),
        ),
        { maxLength: 60 },
      ),
      (values) => {
        const table = new BoundedTable([{ name: "v", scale: 100 }], 64);
        for (const value of values) table.add([value]);
        const back = packed(table).get("v")!;
        for (const [i, value] of values.entries()) {
          if (Number.isNaN(value)) expect(back[i]).toBeNaN();
          else expect(Math.abs(back[i] - value)).toBeLessThanOrEqual(0.005 + Math.abs(value) * 1e-15);
        }
      },
    ),
  );
});
