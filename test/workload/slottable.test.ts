import { describe, expect, test } from "vitest";
import { G } from "../../src/runtime/proc.ts";
import type { GoRuntime } from "../../src/runtime/runtime.ts";
import { SlotTable } from "../../src/workload/slottable.ts";

class NoG extends G {
  step(): number {
    return 0;
  }
}

/** A table without memory needs only the length of a tick. */
const runtime = { tickNs: 1000 } as unknown as GoRuntime;
const g = new NoG();
const MS = 1e6;
const MS_TICKS = 1000;

const tableFor = (): SlotTable => new SlotTable(runtime, -1, 1e9);

describe("the order of a table's objects", () => {
  test("is that of memory while slots are used for the first time", () => {
    const table = tableFor();
    expect(table.ordered).toBe(1);
    table.hold(g, 0, 1000);
    expect(table.ordered).toBe(1);
    table.release(500);
    expect(table.ordered).toBe(1);
  });

  test("is lost by what takes the place of others", () => {
    const table = tableFor();
    table.hold(g, 0, 1000);
    table.release(500);
    table.hold(g, 0, 500);
    expect(table.ordered).toBeCloseTo(0.5, 12);
    table.release(500);
    table.hold(g, 0, 500);
    expect(table.ordered).toBeCloseTo(0.25, 12);
  });

  test("grows again with the table", () => {
    const table = tableFor();
    table.hold(g, 0, 1000);
    table.release(1000);
    table.hold(g, 0, 1000);
    expect(table.ordered).toBeCloseTo(0, 12);
    table.hold(g, 0, 1000);
    expect(table.ordered).toBeCloseTo(0.5, 12);
  });

  test("counts deaths by time when they are due", () => {
    const table = tableFor();
    const lifetimes = Float64Array.from({ length: 100 }, (_, i) => (i < 60 ? 5 : 50) * MS);
    const deaths = new Int32Array(100);
    table.add(g, 0, 0, lifetimes, MS, deaths, 100);
    expect([deaths[59], deaths[60]]).toEqual([5 * MS_TICKS, 50 * MS_TICKS]);
    table.expire(4 * MS);
    table.hold(g, 0, 0);
    expect(table.ordered).toBe(1);
    table.expire(6 * MS);
    table.add(g, 0, 6 * MS, new Float64Array(60).fill(54 * MS), MS, deaths, 60);
    expect(table.ordered).toBeCloseTo(0.4, 12);
  });

  test.each([1, 2, 1.5, 0.25])(
    "is the same whether deaths are told alike, in a block or one by one, now and later than the ring or the run: drops every %s ms",
    (dropMs) => {
      const ms = [0, 5, 5, 50, 700, 1500, 999, 1001, 1002, 9000, 1e9];
      const lifetimes = Float64Array.from([...ms, ...ms.reverse()], (life) => life * MS + 1000);
      const deaths = new Int32Array(lifetimes.length);
      const block = new SlotTable(runtime, -1, 2000 * MS);
      const single = new SlotTable(runtime, -1, 2000 * MS);
      for (let nowNs = 0; nowNs < 2000 * MS; nowNs += 7 * MS) {
        block.expire(nowNs);
        single.expire(nowNs);
        block.add(g, 0, nowNs, lifetimes, dropMs * MS, deaths, deaths.length);
        expect(deaths).toEqual(
          Int32Array.from(lifetimes, (life) =>
            Math.min(Math.ceil((nowNs + life) / (dropMs * MS)) * dropMs * MS_TICKS, 0x7fffffff),
          ),
        );
        for (const death of deaths) single.addAlike(g, 0, death, 1);
        expect(block.ordered).toBeCloseTo(single.ordered, 9);
      }
      expect(block.ordered).toBeLessThan(1);
    },
  );
});
