import { describe, expect, test } from "vitest";
import { parseGctrace, parseGctraceLine } from "../../src/oracle/gctrace.ts";
import { gctraceLine } from "../../src/report/gctrace.ts";

const LINE =
  "gc 6 @1.944s 5%: 0.21+52+0.005 ms clock, 0.42+52/36/2.7+0.011 ms cpu, 12->13->7 MB, 14 MB goal, 1 MB stacks, 2 MB globals, 2 P";

describe("a line of gctrace", () => {
  test("gives every number of it", () => {
    expect(parseGctraceLine(LINE)).toEqual({
      gc: 6,
      start_seconds: 1.944,
      gc_cpu_percent: 5,
      stw1_ms: 0.21,
      concurrent_ms: 52,
      stw2_ms: 0.005,
      stw1_cpu_ms: 0.42,
      assist_cpu_ms: 52,
      background_cpu_ms: 36,
      idle_cpu_ms: 2.7,
      stw2_cpu_ms: 0.011,
      heap_start_mib: 12,
      heap_end_mib: 13,
      heap_marked_mib: 7,
      goal_mib: 14,
      stacks_mib: 1,
      globals_mib: 2,
      procs: 2,
      forced: false,
    });
  });

  test("may be of a forced cycle, or one that looked for leaked goroutines", () => {
    expect(parseGctraceLine(`${LINE} (forced)`)?.forced).toBe(true);
    // Printed by a program of Go 1.26 built with GOEXPERIMENT=goroutineleakprofile.
    const leaks =
      "gc 2 @0.039s 21% (checking for goroutine leaks): 0.16+0.23+0.003 ms clock, 0.32+0/0.10/0.11+0.007 ms cpu, 0->0->0 MB, 4 MB goal, 0 MB stacks, 0 MB globals, 2 P (forced)";
    expect(parseGctraceLine(leaks)).toMatchObject({ gc: 2, gc_cpu_percent: 21, stw1_ms: 0.16, forced: true });
    expect(parseGctraceLine(`${LINE} (whatever)`)).toBe(undefined);
  });

  test("other lines of standard error are skipped", () => {
    expect(parseGctrace(`fatal error: x\n${LINE}\nscvg: inuse: 1\n\n${LINE}\n`)).toHaveLength(2);
  });

  test("what the simulator writes reads back", () => {
    const line = gctraceLine(
      {
        gc: 3,
        start_seconds: 1.5,
        heap_start_bytes: 5 * 2 ** 20,
        heap_end_bytes: 6 * 2 ** 20,
        heap_marked_bytes: 2 ** 20,
        goal_bytes: 7 * 2 ** 20,
        trigger_bytes: 0,
        stacks_bytes: 0,
        globals_bytes: 0,
        stw1_ns: 120e3,
        concurrent_ns: 2.3e6,
        stw2_ns: 5e3,
        assist_cpu_ns: 0,
        background_cpu_ns: 1.1e6,
        idle_cpu_ns: 12e6,
        procs: 4,
        forced: true,
        reason: "explicit",
        gc_cpu_percent: 2,
      },
      4,
    );
    expect(parseGctraceLine(line)).toMatchObject({
      gc: 3,
      stw1_ms: 0.12,
      concurrent_ms: 2.3,
      idle_cpu_ms: 12,
      heap_end_mib: 6,
      procs: 4,
      forced: true,
    });
  });
});
