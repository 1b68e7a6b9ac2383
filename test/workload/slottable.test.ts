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
    const deaths = Int32Array.from({ length: 100 }, (_, i) => (i < 60 ? 5 : 50) * MS_TICKS);
    table.add(g, 0, deaths, 100);
    table.expire(4e6);
    table.hold(g, 0, 0);
    expect(table.ordered).toBe(1);
    table.expire(6e6);
    table.add(
      g,
      0,
      Int32Array.from({ length: 60 }, () => 60 * MS_TICKS),
      60,
    );
    expect(table.ordered).toBeCloseTo(0.4, 12);
  });

  test("is the same whether deaths are told alike, in a block or one by one, now and later than the ring or the run", () => {
    const ticks = [0, 5, 5, 50, 700, 1500, 999, 1001, 1002, 9000].map((ms) => ms * MS_TICKS + 1);
    const deaths = Int32Array.from([...ticks, 0x7fffffff, ...ticks.reverse()]);
    const block = new SlotTable(runtime, -1, 2e9);
    const single = new SlotTable(runtime, -1, 2e9);
    for (let ms = 0; ms < 2000; ms += 7) {
      block.expire(ms * 1e6);
      single.expire(ms * 1e6);
      const later = deaths.map((death) => (death === 0x7fffffff ? death : death + ms * MS_TICKS));
      block.add(g, 0, later, later.length);
      for (const death of later) single.addAlike(g, 0, death, 1);
      block.addAlike(g, 0, later[3], 5);
      single.add(g, 0, new Int32Array(5).fill(later[3]), 5);
      expect(block.ordered).toBeCloseTo(single.ordered, 9);
    }
    expect(block.ordered).toBeLessThan(1);
  });
});
