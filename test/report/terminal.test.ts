import { describe, expect, it } from "vitest";
import { SeriesSketch, sparkline } from "../../src/report/sketch.ts";
import { type FinishedRun, NO_PAINT, terminalSummary } from "../../src/report/terminal.ts";
import { FIGURES, finished } from "./fixtures.ts";

const longest = (text: string): number => Math.max(...text.split("\n").map((line) => [...line].length));

describe("series sketch", () => {
  it("keeps the peaks of any number of samples in bounded space", () => {
    const sketch = new SeriesSketch(64);
    for (let i = 0; i < 100_000; i++) sketch.add(i === 77_777 ? 1e6 : i % 100);
    expect(sketch.peaks.length).toBeLessThanOrEqual(64);
    expect(sketch.peaks.length).toBeGreaterThan(30);
    expect(Math.max(...sketch.peaks)).toBe(1e6);
    const at = sketch.peaks.indexOf(1e6) / sketch.peaks.length;
    expect(at).toBeGreaterThan(0.6);
    expect(at).toBeLessThan(0.9);
  });

  it("draws from nothing to the top", () => {
    expect(sparkline([0, 1, 2, 3, 4, 5, 6, 7, 8], 9, 8)).toBe("▁▁▂▃▄▅▆▇█");
    expect(sparkline([1, 9, 1, 1], 2, 9)).toBe("█▁");
    expect(sparkline([0, 0], 2, 0)).toBe("▁▁");
    expect(sparkline([0, 8], 2, 8, true)).toBe("_#");
  });
});

describe("terminal summary", () => {
  it("names versions, seed and profile, and shows the headline figures", () => {
    const text = terminalSummary([finished()], ["wrote out/made-up"], { width: 100, paint: NO_PAINT });
    for (const part of ["gomemsim 1.2.3", "model m4", "seed 7", "profile ", "GOGC=100", "wrote out/made-up"])
      expect(text).toContain(part);
    expect(text).toMatch(/GC cycles +123\n/);
    expect(text).toMatch(/GC CPU, of usable CPU +2\.00 %\n/);
    expect(text).toMatch(/pause per cycle, p50 +50\.0 µs\n/);
    expect(text).toMatch(/pause per cycle, max +99\.0 µs\n +longest stop +77\.0 µs\n/);
    expect(text).toMatch(/HeapInuse, peak +93\.1 MiB\n/);
    expect(text).toMatch(/fragmentation: in spans +10\.7 %\n/);
    expect(text).toMatch(/RSS +[▁▂▃▄▅▆▇█]+ {2}peak 120 MiB\n/);
    // Each on a scale of its own; no request ended, so there is no latency to draw.
    expect(text).toMatch(/pauses +[▁█]+ {2}peak 99\.0 µs\n/);
    expect(text).toMatch(/GC CPU +▁[▁▂▃▄▅▆▇█]+█ {2}peak 9\.90 %\n/);
    expect(text).not.toMatch(/^ *p99 /m);
    expect(text).not.toContain("Service");
    expect(text).not.toMatch(/undefined|NaN/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what must not be there
    expect(text).not.toMatch(/\u001b/);
  });

  it("shows latency where a service has it", () => {
    const run = finished("base", { ...FIGURES, latency_p50_ns: 1.2e6, latency_p99_ns: 7.7e6 });
    const text = terminalSummary([run], [], { width: 100, paint: NO_PAINT });
    expect(text).toMatch(/Service\n +latency p50 +1\.20 ms\n +latency p99 +7\.70 ms\n/);
  });

  it("puts variants side by side, in more tables when they do not fit, and stays within the width", () => {
    const runs = [
      finished(),
      ...Array.from({ length: 7 }, (_, i) => finished(`variant-number-${i}`, { gc_count: i })),
    ];
    for (const width of [200, 120, 80, 60, 48]) {
      const text = terminalSummary(runs, [], { width, paint: NO_PAINT });
      expect(longest(text), `width ${width}`).toBeLessThanOrEqual(width);
      expect(text.match(/GC cycles/g)?.length).toBeGreaterThanOrEqual(1);
      for (let i = 0; i < 7; i++) expect(text).toContain(`variant-number-${i}`);
    }
  });

  it("draws runs of different length on one axis of time, and says how long each ran", () => {
    const long = finished("base", { ...FIGURES, ran_seconds: 60 });
    const short = finished("short", { ...FIGURES, ran_seconds: 15 });
    const text = terminalSummary([long, short], [], { width: 100, paint: NO_PAINT });
    expect(text).toMatch(/^ +ran for +60\.0 s +15\.0 s$/m);
    const [first, second] = [...text.matchAll(/^ +HeapInuse ([▁-█]+) *peak/gm)].map(
      (match) => match[1].length,
    );
    expect(first).toBeGreaterThan(60);
    expect(Math.abs(second - first / 4)).toBeLessThan(1);
    // The peaks stand below each other.
    expect(
      new Set([...text.matchAll(/^ +(?:HeapInuse|RSS) .*(?= {2}peak)/gm)].map((match) => match[0].length))
        .size,
    ).toBe(1);
    expect(terminalSummary([long], [], { width: 100, paint: NO_PAINT })).not.toContain("ran for");
  });

  it("tells from phase to phase what happened, and of seeds the spread", () => {
    const withPhases = (rss: number, from?: number): FinishedRun => {
      const run = finished();
      const phases = [
        { name: "start", from_seconds: 0, to_seconds: 20, figures: { gc_count: 3, rss_peak_bytes: rss } },
        from === undefined
          ? { name: "doubled", figures: {} }
          : {
              name: "doubled",
              from_seconds: from,
              to_seconds: 60,
              figures: { gc_count: 9, api_latency_p99_ns: 5e6 },
            },
      ];
      return { ...run, summary: { ...run.summary, phases } };
    };
    const lines = (...runs: FinishedRun[]): string[] =>
      terminalSummary(runs, [], { width: 100, paint: NO_PAINT }).split("\n");
    const one = lines(withPhases(2 ** 26, 20));
    const table = one.slice(one.indexOf("  Phases") - 1).map((line) => line.trim().split(/ {2,}/));
    expect(table).toEqual([
      ["start", "doubled"],
      ["Phases"],
      ["from", "0 s", "20.0 s"],
      ["for", "20.0 s", "40.0 s"],
      ["GC cycles", "3", "9"],
      ["RSS, peak of the samples", "64.0 MiB", "-"],
      ["api latency p99", "-", "5.00 ms"],
      [""],
    ]);
    expect(lines(withPhases(2 ** 26)).join("\n")).toMatch(/\n {4}from +0 s +never began\n/);
    const seeds = lines(withPhases(2 ** 26, 20), withPhases(2 ** 25), withPhases(2 ** 27, 22)).join("\n");
    expect(seeds).toMatch(/from +0 s +21\.0 s -4\.8\/\+4\.8 % \(2 of 3\)\n/);
    expect(seeds).toMatch(/RSS, peak of the samples +64\.0 MiB -50\/\+100 %/);
    expect(lines(finished()).join("\n")).not.toContain("Phases");
  });

  it("shows so many phases and counts the others, within the width", () => {
    const run = finished();
    const phases = Array.from({ length: 20 }, (_, i) => ({
      name: `phase ${i}`,
      from_seconds: i,
      to_seconds: i + 1,
      figures: { gc_count: i },
    }));
    const text = terminalSummary([{ ...run, summary: { ...run.summary, phases } }], [], {
      width: 60,
      paint: NO_PAINT,
    });
    expect(text).toContain("phase 11");
    expect(text).not.toContain("phase 12");
    expect(text).toContain("and 8 more phases, in summary.json");
    for (const line of text.split("\n")) expect([...line].length).toBeLessThanOrEqual(60);
  });

  it("becomes plain lines when very narrow", () => {
    const text = terminalSummary([finished(), finished("other")], [], { width: 30, paint: NO_PAINT });
    expect(longest(text)).toBeLessThanOrEqual(36);
    expect(text).toContain("[other]\nGarbage collector\n  GC cycles: 123\n");
  });

  it("keeps to ASCII where asked", () => {
    const text = terminalSummary([finished()], [], { width: 100, paint: NO_PAINT, ascii: true });
    expect([...text].every((char) => char.charCodeAt(0) < 128)).toBe(true);
  });
});
