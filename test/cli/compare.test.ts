import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inflateRawSync } from "node:zlib";
import { beforeAll, describe, expect, it } from "vitest";
import type { Comparison, ComparisonCell } from "../../src/report/comparison.ts";
import type { ComparisonTexts, ReportRun } from "../../src/report/reportdata.ts";
import { unpack } from "../../src/report/table.ts";
import { askBenchstat, findBenchstat } from "../benchstat.ts";
import { run, scratch, tree, write } from "./cli.ts";

const SCENARIO = `name: web-64
duration: 2s
workload:
  - {name: objects, kind: stream, rate: 200k/s, size: 64, lifetime: 5ms}
  - {name: MB, kind: service, arrivals: {rate: 100/s}, cpu: {exponential: 1ms}}
variants:
  - {name: gogc-200, set: {go.GOGC: 200}}
`;
const SEEDS = 6;

const benchstat = findBenchstat();
const why = "missing" in benchstat ? ` (skipped: ${benchstat.missing})` : "";

describe("gomemsim compare", () => {
  const folder = scratch();
  const at = (...path: string[]): string => join(folder, ...path);
  const compare = (...args: string[]): ReturnType<typeof run> => run(folder, ["compare", ...args]);

  beforeAll(async () => {
    write(folder, "s.yaml", SCENARIO);
    for (const seeds of [`${SEEDS + 2}`, `${SEEDS}`])
      expect(await run(folder, ["run", "s.yaml", "--out", "many", "--seeds", seeds, "-q"])).toMatchObject({
        status: 0,
      });
    const one = ["run", "s.yaml", "--variant", "base", "-q", "--out"];
    expect(await run(folder, [...one, "one"])).toMatchObject({ status: 0 });
    expect(await run(folder, [...one, "two", "--set", "go.GOGC=50"])).toMatchObject({ status: 0 });
  }, 120_000);

  it("takes the seeds of a run as one side, and its variants as the others", async () => {
    // An earlier run had more seeds: none of them is left.
    const seeds = Array.from({ length: SEEDS }, (_, i) => `seed=${i + 1}`);
    for (const variant of ["", "gogc-200"])
      expect(tree(at("many", variant)).filter((path) => /^seed=\d+\/summary.json$/.test(path))).toEqual(
        seeds.map((seed) => `${seed}/summary.json`),
      );
    // The first seed is the scenario's own: the same bytes as a plain run.
    for (const file of ["timeseries.csv", "cycles.csv", "summary.json"])
      expect(readFileSync(at("many/seed=1", file), "utf8")).toBe(readFileSync(at("one", file), "utf8"));

    const result = await compare("many");
    expect(result.status).toBe(0);
    expect(result.stdout).toContain("gogc-200: go.GOGC 100 -> 200\n");
    expect(result.stdout).toMatch(/^ +base +gogc-200 +difference$/m);
    expect(result.stdout).toMatch(/^ +goal, peak +4\.00 MiB ±0 % +8\.00 MiB ±0 % +\+100 % \(p=0\.002\)$/m);
    expect(result.stdout).toMatch(/^ +MB requests .* ~ \(p=1\.000\)$/m);
    expect(result.stdout).toMatch(/^ +interval between cycles .*\+1\d\d % \(p=0\.002\)$/m);
    expect(result.stdout).toContain("Mann-Whitney U");
  });

  it("tells of single runs what differs, and that it may be chance", async () => {
    const result = await compare("one", "two");
    expect(result.stdout).toContain("two: go.GOGC 100 -> 50\n");
    expect(result.stdout).toMatch(/^ +goal, peak +4\.00 MiB +2\.00 MiB +-50 %$/m);
    expect(result.stdout).toMatch(/^ +MB requests +\d+ +\d+ +=$/m);
    expect(result.stdout).toContain("One run each: a difference may be chance. `run --seeds 10`");
    const narrow = await run(folder, ["compare", "one", "two"], { env: { COLUMNS: "40" } });
    expect(narrow.stdout).toContain(
      "  goal, peak\n    one: 4.00 MiB\n    two: 2.00 MiB\n    difference: -50 %\n",
    );
  });

  it("has every headline figure that a run prints, with the same value", async () => {
    const settings = [
      "--set",
      "machine.cpus=8",
      "--set",
      "container={memory: {max: 64MiB}, cpu: {limit: 1}}",
    ];
    const one = ["run", "s.yaml", "--variant", "base", ...settings, "--out"];
    const { stdout } = await run(folder, [...one, "a"]);
    await run(folder, [...one, "b", "-q"]);
    expect(stdout).toMatch(/8 CPUs( ·|\n)\s*CPU limit 1( ·|\n)\s*memory.max 64.0 MiB\n/);
    const table = stdout.slice(stdout.indexOf("  Garbage collector\n"), stdout.indexOf("\n\nwrote "));
    const printed = [...table.matchAll(/^ {4,}(\S.*?) {2,}(\S.*)$/gm)].map(([, label, value]) => ({
      label,
      value,
    }));
    for (const label of [
      ...["GC CPU, of usable CPU", "pause per cycle, max", "longest stop"],
      ...["fragmentation: in spans", "fragmentation: ratio F", "fragmentation: idle", "periods throttled"],
    ])
      expect(printed.map((row) => row.label)).toContain(label);
    const { stdout: compared } = await compare("a", "b");
    for (const { label, value } of printed) {
      const line = compared.split("\n").find((text) => text.startsWith(`    ${label} `));
      expect(
        line
          ?.slice(label.length + 4)
          .trimStart()
          .startsWith(`${value}  `),
        `${label}: ${line}`,
      ).toBe(true);
    }
    // Go's own figure is under Go's name.
    expect(compared).toMatch(/^ +GCCPUFraction \(MemStats\) /m);
  });

  /** What a page has of its runs, and of their comparison. */
  const pageData = (name: string) => {
    const texts = (of: string): string[] =>
      [
        ...readFileSync(at(name), "utf8").matchAll(
          new RegExp(`<script type="application/json" class="${of}">(.*)</script>`, "g"),
        ),
      ].map(([, text]) => text);
    return {
      runs: texts("run").map((text) => JSON.parse(text) as ReportRun),
      comparison: JSON.parse(texts("comparison")[0] ?? "null") as ComparisonTexts | null,
    };
  };

  it("writes the page that lays the runs over each other, of several seeds the medians that the table has", async () => {
    const result = await compare("one", "two", "--out", "both.html");
    expect(result.stdout).toMatch(/\n\nwrote both.html: the runs laid over each other\n$/);
    expect(pageData("both.html").runs.map(({ label, seeds }) => [label, seeds])).toEqual([
      ["one", undefined],
      ["two", undefined],
    ]);

    const seeds = await compare("many", "--out", "seeds.html");
    expect(seeds.stdout).toMatch(/wrote seeds.html: the runs laid over each other, medians over seeds\n$/);
    const { runs, comparison } = pageData("seeds.html");
    expect(runs.map((one) => [one.label, one.seeds])).toEqual([
      ["base", SEEDS],
      ["gogc-200", SEEDS],
    ]);
    const json = JSON.parse((await compare("many", "--format", "json")).stdout) as Comparison;
    runs.forEach((one, side) => {
      const rss = json.rows.find((row) => row.name === "rss_peak_bytes");
      expect(one.figures["rss_peak_bytes"]).toBe(rss?.cells[side].median);
    });
    // Every row of the page is a line of the table.
    const rows = comparison?.groups.flatMap((group) => group.rows) ?? [];
    expect(rows).toContainEqual(["goal, peak", "4.00 MiB ±0 %", "8.00 MiB ±0 %", "+100 % (p=0.002)"]);
    const lines = seeds.stdout.split("\n").map((line) => line.trim().split(/ {2,}/).join("|"));
    for (const row of rows) expect(lines).toContain(row.filter((text) => text !== "").join("|"));
    expect(comparison?.notes.join()).toContain("Mann-Whitney U");

    // At every sample: the median of the seeds' own, between the least and the greatest.
    const rssOf = (folder: string): number[] => {
      const [head, ...samples] = readFileSync(at(folder, "timeseries.csv"), "utf8").trim().split("\n");
      const place = head.split(",").indexOf("rss_bytes");
      return samples.map((sample) => Number(sample.split(",")[place]));
    };
    const own = Array.from({ length: SEEDS }, (_, i) => rssOf(`many/gogc-200/seed=${i + 1}`));
    const drawn = unpack(runs[1].samples, inflateRawSync(Buffer.from(runs[1].samples.data, "base64")));
    const column = (of: (sorted: readonly number[]) => number): number[] =>
      own[0].map((_, i) => of(own.map((seed) => seed[i]).sort((a, b) => a - b)));
    expect([...drawn.get("rss")!]).toEqual(column((sorted) => (sorted[2] + sorted[3]) / 2));
    expect([...drawn.get("rss low")!]).toEqual(column((sorted) => sorted[0]));
    expect([...drawn.get("rss high")!]).toEqual(column((sorted) => sorted[SEEDS - 1]));
    expect(drawn.get("rss low")).not.toEqual(drawn.get("rss high"));
  });

  it("draws the seeds of a single side, too, and of a single run its own page", async () => {
    await compare("many/gogc-200", "--out", "side.html");
    expect(pageData("side.html").runs.map((one) => one.seeds)).toEqual([SEEDS]);
    await compare("one", "--out", "single.html");
    await run(folder, ["report", "one", "--out", "report.html"]);
    expect(readFileSync(at("single.html"), "utf8")).toBe(readFileSync(at("report.html"), "utf8"));
  });

  it("writes JSON, CSV and Markdown of the same numbers", async () => {
    const json = JSON.parse((await compare("many", "--format", "json")).stdout) as Comparison;
    const goal = json.rows.find((row) => row.name === "goal_peak_bytes");
    expect(goal?.cells[1]).toEqual({
      n: SEEDS,
      median: 2 ** 23,
      low: 2 ** 23,
      high: 2 ** 23,
      against: { difference: 2 ** 22, fraction: 1, p: 2 / 924, differs: true },
    });
    const csv = (await compare("many", "--format", "csv")).stdout.split("\n");
    expect(csv[0]).toBe("metric,unit,side,n,median,low,high,difference,difference_fraction,p,differs");
    expect(csv).toContain(
      `goal_peak_bytes,bytes,gogc-200,${SEEDS},8388608,8388608,8388608,4194304,1,${2 / 924},1`,
    );
    expect(csv.length - 2).toBe(2 * json.rows.length);
    const markdown = (await compare("many", "--format", "markdown")).stdout;
    expect(markdown).toContain("| goal, peak | 4.00 MiB ±0 % | 8.00 MiB ±0 % | +100 % (p=0.002) |\n");
  });

  it("compares what happened from phase to phase, under names of their own", async () => {
    write(
      folder,
      "p.yaml",
      `${SCENARIO.replace("web-64", "phased")}phases:
  - { at: 1s, name: twice as much, set: { workload.MB.arrivals.rate: 200/s } }
  - { when: { metric: rss_bytes, above: 1TiB }, name: never, set: { workload.MB.cpu: 1us } }
`,
    );
    expect(await run(folder, ["run", "p.yaml", "--out", "phased", "--seeds", "4", "-q"])).toMatchObject({
      status: 0,
    });
    const { stdout } = await compare("phased");
    const [, before, after] = /\n {2}Before any phase\n(.*?)\n {2}Phase twice as much\n(.*?)\n {2}\S/s.exec(
      stdout,
    )!;
    expect(before).toMatch(/ {4}goal, peak +4\.00 MiB ±∞ +8\.00 MiB ±∞ +\+100 % \(p=0\.029\)\n/);
    expect(before).toMatch(/ {4}MB requests per second +\d+ /);
    expect(after).toMatch(/ {4}MB latency p99 +[\d.]+ ms/);
    expect(stdout).not.toContain("never");
    const csv = (await compare("phased", "--format", "csv")).stdout;
    expect(csv).toMatch(/^goal_peak_bytes@start,bytes,gogc-200,4,8388608,/m);
    expect(csv).toMatch(/^MB_latency_p99_ns@twice as much,ns,base,4,\d+,/m);
    const lines = (await compare("phased", "--format", "benchstat")).stdout;
    expect(lines).toMatch(/^BenchmarkPhased\/phase=twice_as_much 1 .* goal-peak-bytes /m);
    expect(lines.match(/^BenchmarkPhased 1 .*$/gm)?.join()).not.toContain("requests-per-second");
  });

  it("refuses what cannot be compared", async () => {
    const says = async (...paths: string[]): Promise<string> => {
      const { status, stderr, stdout } = await compare(...paths);
      expect(stdout).toBe("");
      return `${status} ${stderr}`;
    };
    expect(await says("onee", "two")).toMatch(/^4 gomemsim: onee: cannot be read: .*; did you mean one\?\n$/);
    expect(await says("one", "one")).toMatch(/^2 gomemsim: compare: one is named twice\n$/);
    expect(await says("s.yaml", "one")).toMatch(/^4 gomemsim: s.yaml: is a file; name the folder of a run/);
    cpSync(at("many"), at("mixed"), { recursive: true });
    rmSync(at("mixed/seed=2"), { recursive: true });
    cpSync(at("two"), at("mixed/seed=2"), { recursive: true });
    expect(await says("mixed")).toMatch(
      /^4 gomemsim: mixed\/seed=2: differs from mixed\/seed=1 in more than its seed/,
    );
  });

  it.skipIf("missing" in benchstat)(
    `writes lines that benchstat reads, and says as it does${why}`,
    async () => {
      if ("missing" in benchstat) return;
      // One file, sides told apart by a key of ours; then a file for each.
      const { stdout } = await compare("many", "--format", "benchstat");
      const [base, variant] = stdout.split(/^side: .*\n/m).slice(1);
      expect(base.match(/^BenchmarkWeb64 1 /gm)).toHaveLength(SEEDS);
      const own = (await compare("many/gogc-200", "--format", "benchstat")).stdout;
      expect(own).toBe(variant);
      const json = JSON.parse((await compare("many", "--format", "json")).stdout) as Comparison;
      const { cells, complaints } = askBenchstat(benchstat.command, folder, [base, variant]);
      expect(complaints).toEqual([]);
      const shared = json.rows.filter((row) => row.cells.every((cell) => cell.n > 0));
      expect(cells.size).toBe(shared.length);
      for (const { name, unit, cells: ours } of shared) {
        const theirName = name
          .replaceAll("_", "-")
          .replace(/^MB-/, "MB_-")
          .replace(/-(?:ns|seconds)$/, "-sec");
        const theirs = cells.get(theirName)!;
        expect(theirs, theirName).toBeDefined();
        const scale = unit === "ns" ? 1e-9 : 1;
        ours.forEach((cell: ComparisonCell, i) => {
          expect(Math.abs(theirs.medians[i] - cell.median * scale), name).toBeLessThanOrEqual(
            1e-9 * Math.abs(cell.median * scale),
          );
        });
        const p = ours[1].against?.p ?? Number.NaN;
        expect(Math.abs(theirs.p - p), name).toBeLessThanOrEqual(0.0005000001);
        expect(theirs.versus === "~", name).toBe(!ours[1].against?.differs);
      }
    },
  );
});

describe("gomemsim run, thresholds and seeds", () => {
  const THRESHOLDS = `name: t
duration: 1s
workload: [{name: objects, kind: stream, rate: 200k/s, size: 64, lifetime: 5ms}]
thresholds: {rss_bytes: [max < 1GiB, max < 1KiB], heap_retained_half_seconds: value < 1s}
`;

  it("tells a breach by its own status, with every file written", async () => {
    const folder = scratch();
    write(folder, "t.yaml", THRESHOLDS);
    const result = await run(folder, ["run", "t.yaml", "--set", "go.GOGC=off"]);
    expect(result.status).toBe(99);
    expect(result.stdout).toMatch(/^ +rss_bytes: max < 1GiB +✓ [\d.]+ MiB$/m);
    expect(result.stdout).toMatch(/^ +rss_bytes: max < 1KiB +✗ [\d.]+ MiB$/m);
    expect(result.stdout).toMatch(/^ +heap_retained_half_seconds: value < 1s +✗ no value$/m);
    expect(result.stderr).toMatch(
      /^t, seed 1: threshold breached: rss_bytes: max < 1KiB: it is [\d.]+ MiB\nt, seed 1: threshold breached: heap_retained_half_seconds: value < 1s: the run gave it no value$/m,
    );
    expect(tree(join(folder, "out/t"))).toContain("timeseries.csv");
    const { thresholds, scenario } = JSON.parse(readFileSync(join(folder, "out/t/summary.json"), "utf8"));
    expect(thresholds.map((t: { passed: boolean }) => t.passed)).toEqual([true, false, false]);
    expect(thresholds[2]).toMatchObject({ value: null, reason: "the run gave it no value" });
    expect(scenario.thresholds.rss_bytes).toEqual(["max < 1GiB", "max < 1KiB"]);

    const quiet = await run(folder, ["run", "t.yaml", "-q"], { env: { LANG: "C", LC_ALL: "C" } });
    expect([quiet.status, quiet.stdout]).toEqual([99, ""]);
    expect(quiet.stderr).toMatch(/^t, seed 1: threshold breached/);
    const kept = await run(folder, ["run", "t.yaml", "-q", "--set", "thresholds={rss_bytes: max < 1GiB}"]);
    expect(kept).toEqual({ status: 0, stdout: "", stderr: "" });
    const ascii = await run(folder, ["run", "t.yaml"], { env: { LANG: "C", LC_ALL: "C" } });
    expect(ascii.stdout).toMatch(/max < 1GiB +ok [\d.]+ MiB\n.*max < 1KiB +BREACH [\d.]+ MiB\n/);
  });

  it("runs seeds side by side, shows median and spread, and leaves no runs of before among them", async () => {
    const folder = scratch();
    write(folder, "t.yaml", THRESHOLDS);
    const args = ["run", "t.yaml", "--set", "thresholds.heap_retained_half_seconds=null"];
    expect((await run(folder, [...args, "-q"])).status).toBe(99);
    writeFileSync(join(folder, "out/t/notes.md"), "mine");
    const seeds = await run(folder, [...args, "--seeds", "3", "--seed", "7"]);
    expect(seeds.status).toBe(99);
    expect(seeds.stdout).toContain("3 seeds from 7");
    expect(seeds.stdout).toMatch(/^ +RSS, high-water mark +[\d.]+ MiB -[\d.]+\/\+[\d.]+ %$/m);
    expect(seeds.stdout).toMatch(/^ +rss_bytes: max < 1KiB +✗ 3 of 3, [\d.]+ MiB/m);
    expect(seeds.stdout).toContain("wrote out/t/seed=7 and 2 seeds beside it: timeseries.csv");
    expect(seeds.stderr).toMatch(/^t, seed 9: threshold breached: rss_bytes: max < 1KiB/m);
    const files = [
      ...["cycles.csv", "gctrace.txt", "heapmap.json", "report.html", "scavtrace.txt", "summary.json"],
      "timeseries.csv",
    ];
    const runs = ["seed=7", "seed=8", "seed=9"].flatMap((seed) => files.map((file) => `${seed}/${file}`));
    expect(tree(join(folder, "out/t"))).toEqual(["notes.md", "overlay.html", ...runs]);
    // And back: one run is not four.
    expect((await run(folder, [...args, "-q"])).status).toBe(99);
    expect(tree(join(folder, "out/t"))).toEqual([...files, "notes.md"].sort());
    // A text is a seed, too.
    const text = await run(folder, [...args, "-q", "--seeds", "2", "--seed", "spring"]);
    expect(text.stderr).toMatch(/^t, seed spring: .*\nt, seed spring\/2: /);
    expect(tree(join(folder, "out/t")).filter((path) => path.endsWith("summary.json"))).toEqual([
      "seed=1/summary.json",
      "seed=2/summary.json",
    ]);
    expect((await run(folder, [...args, "--seeds", "0"])).status).toBe(2);
  });
});
