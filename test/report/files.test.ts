import { describe, expect, it } from "vitest";
import { CYCLE_COLUMNS, CYCLES_HEADER, cycleLine } from "../../src/report/cycles.ts";
import { humanBytes, humanCount, humanNs, humanShare, plainNumber, unitOf } from "../../src/report/format.ts";
import { summaryJson } from "../../src/report/summary.ts";
import { SampleFormatter } from "../../src/report/timeseries.ts";
import { cycle, finished } from "./fixtures.ts";

describe("numbers", () => {
  it("are plain in files", () => {
    expect(plainNumber(0.1 + 0.2, "seconds")).toBe("0.3");
    expect(plainNumber(1e-9, "seconds")).toBe("0.000000001");
    expect(plainNumber(12345678901234, "bytes")).toBe("12345678901234");
    expect(plainNumber(1 / 3, "fraction")).toBe("0.333333");
    expect(plainNumber(1e-9, "fraction")).toBe("0");
    expect(plainNumber(944571.510526, "ns")).toBe("944572");
    expect(plainNumber(-0, "bytes")).toBe("0");
    expect(plainNumber(Number.NaN, "ns")).toBe("");
    expect(plainNumber(Number.POSITIVE_INFINITY, "ns")).toBe("");
  });

  it("have binary prefixes and few digits for people, and never round up to 1024 or 1000", () => {
    expect([0, 1023, 1024, 97_665_000, 1023.9 * 1024, 2 ** 40].map(humanBytes)).toEqual([
      "0 B",
      "1023 B",
      "1.00 KiB",
      "93.1 MiB",
      "1.00 MiB",
      "1.00 TiB",
    ]);
    expect([0, 999, 999.7, 93_100, 999_700, 4.51e9, 185e9, 7.5e12].map(humanNs)).toEqual([
      "0 s",
      "999 ns",
      "1.00 µs",
      "93.1 µs",
      "1.00 ms",
      "4.51 s",
      "3m05s",
      "2h05m",
    ]);
    expect([12, 9999, 12_345, 45_678_901].map(humanCount)).toEqual(["12", "9999", "12.3 k", "45.7 M"]);
    expect(humanShare(0.0184)).toBe("1.84 %");
    expect(humanBytes(Number.NaN)).toBe("-");
  });

  it("take their unit from the end of the name", () => {
    expect(
      ["rss_peak_bytes", "pause_total_ns", "gc_cpu_seconds", "gc_cpu_fraction", "mallocs"].map(unitOf),
    ).toEqual(["bytes", "ns", "seconds", "fraction", "count"]);
  });
});

describe("files", () => {
  it("time series lines hold the row in the columns' spelling", () => {
    const formatter = new SampleFormatter([
      { name: "t_seconds", unit: "seconds" },
      { name: "heap_inuse_bytes", unit: "bytes" },
      { name: "latency_p99_ns", unit: "ns" },
    ]);
    expect(formatter.line(Float64Array.of(0.30000000000000004, 8192, Number.NaN))).toBe("0.3,8192,\n");
  });

  it("cycles have every field, quoted nowhere", () => {
    const header = CYCLES_HEADER.trimEnd().split(",");
    for (const name of [
      "gc",
      "start_seconds",
      "heap_start_bytes",
      "heap_end_bytes",
      "heap_marked_bytes",
      "goal_bytes",
      "trigger_bytes",
      "stw1_ns",
      "concurrent_ns",
      "stw2_ns",
      "assist_cpu_ns",
      "background_cpu_ns",
      "idle_cpu_ns",
      "forced",
      "reason",
      "sweep_done_seconds",
    ])
      expect(header).toContain(name);
    expect(header).toEqual(CYCLE_COLUMNS.map((column) => column.name));
    const lines = [
      { ...cycle(), sweep_done_seconds: 1.25 },
      { ...cycle({ gc: 2, forced: true, reason: "explicit" }), sweep_done_seconds: Number.NaN },
    ].map(cycleLine);
    for (const line of lines) expect(line).toMatch(/^[^\n]*\n$/);
    const second = lines[1].trimEnd().split(",");
    expect(second[header.indexOf("forced")]).toBe("1");
    expect(second[header.indexOf("reason")]).toBe("explicit");
    const swept = lines.map((line) => line.trimEnd().split(",")[header.indexOf("sweep_done_seconds")]);
    expect(swept).toEqual(["1.25", ""]);
  });

  it("the summary opens with versions and seed and has null for no value", () => {
    const run = finished("base", { gc_count: 3, latency_p50_ns: Number.NaN, share: 1 / 3 });
    const text = summaryJson(run.summary);
    const json = JSON.parse(text);
    expect(Object.keys(json).slice(0, 5)).toEqual(["format", "versions", "name", "variant", "seed"]);
    expect(json.figures).toEqual({ gc_count: 3, latency_p50_ns: null, share: 0.333333 });
    expect(json.scenario.duration).toBe(60e9);
    expect(json.machine_profile.provenance.go_version).toBeTypeOf("string");
    expect(summaryJson(run.summary)).toBe(text);
  });
});
