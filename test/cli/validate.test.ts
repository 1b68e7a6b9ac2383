import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { EXIT } from "../../src/cli/exit.ts";
import { askBenchstat, findBenchstat } from "../benchstat.ts";
import { run, scratch, VARIANTS, write } from "./cli.ts";

it.each([
  [["validate", "s.yaml"]],
  [["validate", "s.yaml", "--no-realtime", "--runs", "1"]],
  [["calibrate", "--no-realtime"]],
  [["calibrate", "--passes", "2"]],
])("gomemsim %j takes its options, and without Go says how to get it", async (args) => {
  const folder = scratch();
  write(folder, "s.yaml", VARIANTS);
  const result = await run(folder, [...args, "--go", "/nowhere/go"]);
  expect(result.status).toBe(EXIT.go);
  expect(result.stderr).toContain("/nowhere/go is not a Go command");
});

const root = fileURLToPath(new URL("../..", import.meta.url));
const RECORDED = [
  "validate",
  join(root, "scenarios/tiny-storm.yaml"),
  ...["--recorded", join(root, "test/golden/oracle"), "--seeds", "1"],
];

it("gomemsim validate draws its table in ASCII where the locale has nothing else", async () => {
  const folder = scratch();
  const [plain, utf8] = await Promise.all([
    run(folder, [...RECORDED, "--out", "a"], { env: { LC_ALL: "C" } }),
    run(folder, [...RECORDED, "--out", "b"]),
  ]);
  expect(plain.stdout).toMatch(/^\| GC count +\| /m);
  expect(plain.stdout).not.toMatch(/[^\n -~]/);
  expect(utf8.stdout).toMatch(/^│ GC count +│ /m);
  expect(plain.status).toBe(utf8.status);
});

const benchstat = findBenchstat();
const why = "missing" in benchstat ? ` (skipped: ${benchstat.missing})` : "";

it.skipIf("missing" in benchstat)(`gomemsim validate writes both sides for benchstat${why}`, async () => {
  if ("missing" in benchstat) return;
  const folder = scratch();
  const result = await run(folder, [...RECORDED, "--json"]);
  const { cells, real_runs } = JSON.parse(result.stdout) as {
    cells: { metric: string; unit: string; real_median: number; simulated: number }[];
    real_runs: number;
  };
  const file = (name: string): string => readFileSync(join(folder, "out/tiny-storm/validate", name), "utf8");
  expect(file("measured.txt").match(/^BenchmarkTinyStorm 1 /gm)).toHaveLength(real_runs);
  const asked = askBenchstat(benchstat.command, folder, [file("measured.txt"), file("simulated.txt")]);
  expect(asked.complaints).toEqual([]);
  expect(asked.cells.size).toBe(cells.length);
  for (const { metric, unit, real_median, simulated } of cells) {
    const theirs = asked.cells.get(metric.replaceAll("_", "-").replace(/-(?:ns|seconds)$/, "-sec"))!;
    const scale = unit === "ns" ? 1e-9 : 1;
    expect(theirs.medians[0], metric).toBeCloseTo(real_median * scale, 9);
    expect(theirs.medians[1], metric).toBeCloseTo(simulated * scale, 9);
  }
});
