import { spawnSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseGctraceLine } from "../../src/oracle/gctrace.ts";
import { fmtNSAsMS, gctraceLine, itoaDiv } from "../../src/report/gctrace.ts";
import type { CycleRecord } from "../../src/simulate.ts";
import { client, describeWith, temporaryFolder } from "../clients.ts";
import { cycle } from "./fixtures.ts";
import { GCTRACE_LINE } from "./gctrace-grammar.ts";

describe("gctrace", () => {
  it("prints durations as Go does", () => {
    // Printed by Go 1.26's own fmtNSAsMS.
    const vectors: [number, string][] = [
      [0, "0"],
      [1, "0"],
      [999, "0"],
      [1000, "0.001"],
      [1999, "0.001"],
      [9999, "0.009"],
      [10000, "0.010"],
      [45678, "0.045"],
      [99999, "0.099"],
      [100000, "0.10"],
      [100999, "0.10"],
      [123456, "0.12"],
      [999999, "0.99"],
      [1000000, "1.0"],
      [1094999, "1.0"],
      [1999999, "1.9"],
      [9999999, "9.9"],
      [10000000, "10"],
      [10999999, "10"],
      [123456789, "123"],
      [9999999999, "9999"],
      [4611686018427, "4611686"],
    ];
    for (const [ns, text] of vectors) expect(fmtNSAsMS(ns), String(ns)).toBe(text);
  });

  it("divides by powers of ten as Go does", () => {
    // Printed by Go 1.26's own itoaDiv.
    const vectors: [number, number, string][] = [
      [0, 3, "0.000"],
      [1, 3, "0.001"],
      [12, 1, "1.2"],
      [12, 3, "0.012"],
      [123, 2, "1.23"],
      [123, 3, "0.123"],
      [1234, 0, "1234"],
      [1234, 3, "1.234"],
      [99999, 2, "999.99"],
      [1234567890, 3, "1234567.890"],
    ];
    for (const [value, decimals, text] of vectors) expect(itoaDiv(value, decimals)).toBe(text);
  });

  const real = readFileSync(new URL("../golden/gctrace-go1.26.txt", import.meta.url), "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));

  it("has a grammar that every real line satisfies", () => {
    expect(real.length).toBeGreaterThan(40);
    for (const line of real) expect(line).toMatch(GCTRACE_LINE);
  });

  it("prints lines of that grammar, for any cycle", () => {
    for (let i = 0; i < 200; i++) {
      const ns = Math.floor(1.31 ** i) % 1e12;
      const line = gctraceLine(
        cycle({
          gc: i + 1,
          start_seconds: i * 0.7301,
          stw1_ns: ns,
          concurrent_ns: ns * 3,
          forced: i % 2 === 0,
        }),
        2,
      );
      expect(line).toMatch(GCTRACE_LINE);
    }
  });

  it("prints a real line back from its numbers, to the character", () => {
    // The golden's first and a forced line, with nanoseconds that print as they did.
    const first = cycle({
      gc: 1,
      start_seconds: 0.004,
      gc_cpu_percent: 3.7,
      stw1_ns: 50_500,
      concurrent_ns: 930_000,
      stw2_ns: 39_600,
      assist_cpu_ns: 110_000,
      background_cpu_ns: 73_100,
      idle_cpu_ns: 680_000,
      heap_start_bytes: 3_997_696,
      heap_end_bytes: 4 * 2 ** 20,
      heap_marked_bytes: 1.5 * 2 ** 20,
      goal_bytes: 4 * 2 ** 20,
    });
    expect(gctraceLine(first, 2)).toBe(real[0]);
    const forced = cycle({ gc: 7, procs: 8, forced: true, assist_cpu_ns: 0 });
    expect(gctraceLine(forced, 4)).toMatch(/ cpu, .* 8 P \(forced\)$/);
    expect(gctraceLine(forced, 4)).toContain("0.080+0/0.10/");
  });

  it("cuts a time that floats have blurred at the right millisecond", () => {
    const line = (start_seconds: CycleRecord["start_seconds"]): string =>
      gctraceLine(cycle({ start_seconds }), 1);
    expect(line(0.1 + 0.2)).toContain("@0.300s");
    expect(line(1.001)).toContain("@1.001s");
    expect(line(4.0349999)).toContain("@4.034s");
  });
});

/** Collects by itself, is made to (from two places), and reports nothing else; the heap and its stacks grow to some hundred MiB. */
const PROGRAM = `package main

import (
	"runtime"
	"runtime/debug"
	"time"
)

type node struct {
	next *node
	rest [6]uint64
}

var kept, big = []*node{}, [][]byte{}

func deep(n int) int {
	var frame [256]byte
	if n == 0 {
		return int(frame[0])
	}
	return deep(n-1) + int(frame[n%256])
}

func main() {
	for i := 0; i < 3_000_000; i++ {
		if n := new(node); i%7 == 0 {
			kept = append(kept, n)
		}
		if i%300_000 == 0 {
			big = append(big, make([]byte, 8<<20))
			runtime.GC()
			go deep(10_000)
		}
	}
	debug.FreeOSMemory()
	debug.SetGCPercent(-1)
	runtime.GC()
	// The thread that ended the last cycle may still be printing its line.
	time.Sleep(100 * time.Millisecond)
}
`;

describeWith(["go"], "the grammar and the parser, on what a Go program prints", () => {
  const folder = temporaryFolder();
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const program = join(folder, "program");

  beforeAll(() => {
    writeFileSync(join(folder, "main.go"), PROGRAM);
    const built = client("go", ["build", "-o", program, join(folder, "main.go")]);
    expect(built.stderr).toBe("");
  }, 120_000);

  it.each([1, 2, 5])("with GOMAXPROCS=%i", (procs) => {
    const env = { ...process.env, GODEBUG: "gctrace=1", GOMAXPROCS: String(procs) };
    const ran = spawnSync(program, [], { env, encoding: "utf8" });
    expect(ran.status).toBe(0);
    const lines = ran.stderr.trimEnd().split("\n");
    for (const line of lines) {
      expect(line).toMatch(GCTRACE_LINE);
      expect(parseGctraceLine(line), line).toMatchObject({ procs, forced: line.endsWith(" (forced)") });
    }
    const forced = lines.filter((line) => line.endsWith(" (forced)"));
    // Ten of the loop, two at the end, and what came by itself.
    expect(forced).toHaveLength(12);
    expect(lines.length).toBeGreaterThan(14);
    expect(lines.at(-1)).toMatch(/ MB goal, .* \(forced\)$/);
  });
});
