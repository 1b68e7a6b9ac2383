import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { CliError, EXIT } from "../../src/cli/exit.ts";
import { readGroup, readSeries, readSummary, readVariants, scanCycles } from "../../src/cli/runfolder.ts";
import { PLOT_POINTS } from "../../src/report/panels.ts";
import { loadScenario } from "../../src/scenario/load.ts";
import { type CycleRecord, sampleColumns, simulate } from "../../src/simulate.ts";
import { run, scratch, VARIANTS, write } from "./cli.ts";

/** The complaint of a reader that must refuse. */
function complaint(read: () => unknown): string {
  try {
    read();
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    expect(error.status).toBe(EXIT.input);
    return error.message;
  }
  throw new Error("was not refused");
}

describe("run folder", () => {
  const folder = scratch();
  const small = join(folder, "out/small");
  let copies = 0;
  /** A copy of a good run with one file changed. */
  const broken = (file: string, change: (text: string) => string): string => {
    const copy = join(folder, `copy-${copies++}`);
    cpSync(small, copy, { recursive: true });
    writeFileSync(join(copy, file), change(readFileSync(join(small, file), "utf8")));
    return copy;
  };

  beforeAll(async () => {
    write(folder, "s.yaml", VARIANTS);
    const result = await run(folder, ["run", "s.yaml", "-q"]);
    expect(result).toEqual({ status: 0, stdout: "", stderr: "" });
  }, 120_000);

  it("gives back what the simulation said, to what the files' rounding leaves", () => {
    const stored = readSummary(small);
    const storedCycles: CycleRecord[] = [];
    scanCycles(small, (cycle) => storedCycles.push(cycle));
    const loaded = loadScenario(VARIANTS, "s.yaml");
    if (!loaded.ok) throw new Error("not a scenario");
    const rows: number[][] = [];
    const cycles: CycleRecord[] = [];
    const summary = simulate(loaded.scenarios[0], {
      sink: { sample: (row) => rows.push([...row]), cycle: (cycle) => cycles.push({ ...cycle }) },
    });
    const columns = sampleColumns(loaded.scenarios[0]);
    const read = readSeries(
      small,
      columns.map(({ name }) => name),
    );
    expect(read.rows).toBe(rows.length);
    expect(read.columns).toEqual(columns.map(({ name, unit }) => ({ name, unit })));
    columns.forEach(({ name, unit }, i) => {
      const written = [...read.samples[name]];
      const rounding = unit === "ns" ? 0.5 : unit === "seconds" ? 1e-9 : 1e-6;
      rows.forEach((row, at) => {
        if (Number.isNaN(row[i])) expect(written[at]).toBeNaN();
        else expect(Math.abs(written[at] - row[i]), name).toBeLessThanOrEqual(rounding);
      });
    });
    expect(read.samples["latency_p99_ns"].every(Number.isNaN)).toBe(true);
    expect(storedCycles.map((cycle) => cycle.heap_marked_bytes)).toEqual(
      cycles.map((cycle) => cycle.heap_marked_bytes),
    );
    expect(storedCycles[0]).toMatchObject({ gc: 1, forced: false, reason: "heap" });
    expect(stored.figures["gc_count"]).toBe(summary.figures["gc_count"]);
    expect(stored.scenario.duration).toBe(5e9);
    expect(stored.machine_profile.name).toBe(stored.profile);
  });

  it("keeps the columns asked for and no others", () => {
    const read = readSeries(small, ["rss_bytes"], ["goroutines", "memory_current_bytes"]);
    expect(Object.keys(read.samples)).toEqual(["t_seconds", "rss_bytes", "goroutines"]);
    const all = readFileSync(join(small, "timeseries.csv"), "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => line.split(","));
    const at = all[0].indexOf("rss_bytes");
    expect([...read.samples["rss_bytes"]]).toEqual(all.slice(1).map((cells) => Number(cells[at])));
    expect(complaint(() => readSeries(small, ["rss_byte"]))).toMatch(
      /has no column rss_byte; did you mean rss_bytes\?$/,
    );
  });

  it("keeps no more points of a long series than a picture shows, and every peak", () => {
    const rows = 300_000;
    const peaks = new Map([
      [0, 5],
      [77_777, 900],
      [77_779, -3],
      [200_001, 901],
      [rows - 1, 7],
    ]);
    const long = broken("timeseries.csv", () => {
      const lines = Array.from({ length: rows }, (_, i) => `${i / 1000},x,${peaks.get(i) ?? (i % 7) + 10},`);
      return `t_seconds,unread,rss_bytes,empty\n${lines.join("\n")}\n`;
    });
    const read = readSeries(long, ["rss_bytes"], ["empty"]);
    expect(read.rows).toBe(rows);
    const { t_seconds: t, rss_bytes: rss, empty } = read.samples;
    expect(t.length).toBeLessThanOrEqual(PLOT_POINTS);
    expect(t.length).toBeGreaterThan(PLOT_POINTS / 2);
    expect([t[0], t[t.length - 1]]).toEqual([0, (rows - 1) / 1000]);
    expect(empty.every(Number.isNaN)).toBe(true);
    for (const [row, value] of peaks) {
      const at = rss.indexOf(value);
      expect(at, String(value)).toBeGreaterThanOrEqual(0);
      // Within its bucket.
      expect(Math.abs(t[at] - row / 1000)).toBeLessThanOrEqual((2 * rows) / t.length / 1000);
    }
  });

  it("knows the variants of a run", () => {
    expect(readVariants(small).map((group) => group.variant)).toEqual(["base", "gogc400"]);
    expect(readVariants(join(small, "gogc400")).map((group) => group.variant)).toEqual(["gogc400"]);
    expect(readGroup(small)).toEqual({ path: small, variant: "base", runs: [small] });
  });

  it("says what is wrong with a folder that is none", () => {
    expect(complaint(() => readSummary(join(folder, "out/smal")))).toContain(
      `did you mean ${join(folder, "out/small")}?`,
    );
    expect(complaint(() => readSummary(join(folder, "out")))).toContain(`did you mean ${small}?`);
    expect(complaint(() => readSummary(join(small, "summary.json")))).toContain(`such as ${small}`);
    expect(complaint(() => readSummary(join(folder, "q/w/e")))).toContain("no such file or folder");
  });

  it("refuses what is damaged, cut off or foreign, with the place", () => {
    const summary = (change: (text: string) => string): string =>
      complaint(() => readSummary(broken("summary.json", change)));
    expect(summary((text) => text.slice(0, -20))).toContain("is not whole, or not JSON");
    expect(summary((text) => text.replace('"format": 1', '"format": 9'))).toContain("has format 9");
    expect(summary(() => '{"name": "jest", "success": true}')).toMatch(/not a summary of `gomemsim run`/);
    expect(summary((text) => text.replace('"duration": 5000000000', '"duration": "5s"'))).toContain(
      "`scenario.duration`",
    );
    const columns = ["t_seconds", "rss_bytes"];
    const series = (change: (text: string) => string): string =>
      complaint(() => readSeries(broken("timeseries.csv", change), columns));
    expect(series((text) => text.slice(0, -3))).toMatch(/line 51 is cut off/);
    expect(series((text) => text.replace("\n0.2,", "\n0.2,1,"))).toMatch(/line 3 has \d+ cells/);
    expect(series((text) => text.replace(/\n0\.2,[^,]*,/, "\n0.2,"))).toMatch(/line 3 has \d+ cells/);
    expect(series((text) => text.replace("\n0.2,", "\nzero,"))).toContain(
      'line 3: t_seconds is not a number: "zero"',
    );
    expect(series((text) => text.replace("t_seconds", "time"))).toContain("heading");
    expect(series(() => "")).toContain("is empty");
    const cycles = (change: (text: string) => string): string =>
      complaint(() => scanCycles(broken("cycles.csv", change), () => {}));
    expect(cycles((text) => text.replace("trigger_", ""))).toContain("other columns");
    expect(cycles((text) => text.replace(",heap,", ",mood,"))).toMatch(/line 2: "mood" is no reason/);
  });
});
