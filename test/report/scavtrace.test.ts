import { expect, test } from "vitest";
import { scavtraceLine } from "../../src/report/scavtrace.ts";
import type { ScavTraceRecord } from "../../src/simulate.ts";

const record: ScavTraceRecord = {
  format: "split",
  background_bytes: 65_536 + 1023,
  eager_bytes: 8192,
  heap_released_bytes: 3_874_816,
  heap_inuse_bytes: 4_000_000,
  heap_retained_bytes: 4_020_000,
  forced: false,
  controller_reset: false,
};

test("lines read as Go's, whole KiB and whole percent cut off", () => {
  expect(scavtraceLine(record)).toBe("scav 64 KiB work (bg), 8 KiB work (eager), 3784 KiB now, 99% util");
  expect(scavtraceLine({ ...record, format: "total" })).toBe("scav 72 KiB work, 3784 KiB total, 99% util");
  expect(scavtraceLine({ ...record, controller_reset: true })).toMatch(/% util \[controller reset\]$/);
  expect(scavtraceLine({ ...record, forced: true, controller_reset: true })).toMatch(/% util \(forced\)$/);
});
