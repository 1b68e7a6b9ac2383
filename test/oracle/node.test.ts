/**
 * The machine's memory against Linux 6.1 in a guest (test/guest/node.ts): who loses how much to a neighbour that grows, with and
 * without memory.low and memory.min. Bands are those of all other recordings (src/oracle/metrics.ts), figures are means over what
 * happens: until the machine is full (12 s), while the neighbour grows into page cache (20 to 28 s), and after (30 s on).
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";
import { judge, type Metric } from "../../src/oracle/metrics.ts";
import { provenance, scenarioHash } from "../../src/oracle/recording.ts";
import { sampleColumns } from "../../src/samples.ts";
import { loadScenario } from "../../src/scenario/load.ts";
import { type MachineProfile, machineProfile } from "../../src/scenario/profile.ts";
import type { Scenario } from "../../src/scenario/schema.ts";
import { simulate } from "../../src/simulate.ts";

const golden = join(import.meta.dirname, "../golden");
const recorded = z.strictObject({
  format: z.literal(1),
  name: z.string(),
  variant: z.string(),
  scenario_hash: z.string(),
  set: z.array(z.string()),
  provenance,
  columns: z.array(z.string()),
  runs: z.array(z.array(z.array(z.number()))).min(5),
});

/** Rows by second, as a function of their columns. */
type Series = (column: string, second: number) => number;

const MiB = 2 ** 20;
const bytes = (name: string): Metric => ({
  name,
  label: name,
  unit: "bytes",
  tolerance: 0.02,
  floor: MiB / 2,
});
const count = (name: string): Metric => ({ name, label: name, unit: "count", tolerance: 0.02, floor: 20 });

const PHASES = { filling: [2, 12], squeezed: [20, 28], after: [30, 40] } as const;
const MEANS = ["memory_current_bytes", "memory_file_bytes", "memory_active_file_bytes", "node_free_bytes"];

const METRICS: readonly { readonly metric: Metric; readonly of: (series: Series) => number }[] = [
  ...Object.entries(PHASES).flatMap(([phase, [from, to]]) =>
    [...MEANS, "node_neighbours_file_bytes"].map((column) => ({
      metric: bytes(`${column}, ${phase}`),
      of: (series: Series) => {
        let sum = 0;
        for (let s = from; s <= to; s++) sum += series(column, s);
        return sum / (to - from + 1);
      },
    })),
  ),
  ...["node_pgsteal_kswapd_bytes", "node_pgsteal_direct_bytes"].map((column) => ({
    metric: bytes(`${column}, in all`),
    of: (series: Series) => series(column, 40),
  })),
  { metric: count("memory_events_low"), of: (series) => series("memory_events_low", 40) },
  // Killed or not, and in which second.
  {
    metric: { ...count("second of the neighbour's kill"), tolerance: 0, floor: 0 },
    of: (series) => {
      for (let s = 0; s <= 40; s++) if (series("node_oom_kills", s) > 0) return s;
      return 0;
    },
  },
];

function simulated(scenario: Scenario, profile: MachineProfile, seed: number): Series {
  const names = sampleColumns(scenario).map(({ name }) => name);
  const rows: number[][] = [];
  simulate(scenario, { seed, profile, declareOracle: true, sink: { sample: (row) => rows.push([...row]) } });
  // The recorder's first sample is of the start.
  return (column, second) =>
    second === 0
      ? 0
      : rows[second - 1][names.indexOf(column === "node_oom_kills" ? "node_neighbour_oom_kills" : column)];
}

test("all figures of who loses memory to whom lie in the band of what Linux did, but for three known ones", () => {
  const profile = machineProfile.parse(
    JSON.parse(readFileSync(join(golden, "guest/profile-amd64.json"), "utf8")),
  );
  const path = join(import.meta.dirname, "../../scenarios/node-pressure.yaml");
  const out: string[] = [];
  const figures: string[] = [];
  let cells = 0;
  const files = readdirSync(join(golden, "node"));
  expect(files.sort()).toEqual(["base.json", "low-in-part.json", "low.json", "min.json"]);
  for (const file of files) {
    const real = recorded.parse(JSON.parse(readFileSync(join(golden, "node", file), "utf8")));
    const loaded = loadScenario(readFileSync(path, "utf8"), path, { set: real.set });
    const scenario = loaded.ok ? loaded.scenarios.find((s) => s.variant === real.variant) : undefined;
    if (scenario === undefined || scenarioHash(scenario) !== real.scenario_hash)
      throw new Error(`${file} was recorded from another version of the scenario`);
    const ofReal = real.runs.map(
      (rows): Series =>
        (column, second) =>
          rows[second][real.columns.indexOf(column)],
    );
    const ofModel = [1, 2, 3].map((seed) => simulated(scenario, profile, seed));
    for (const { metric, of } of METRICS) {
      const cell = judge(metric, ofReal.map(of), ofModel.map(of));
      cells++;
      if (cell.inBand) continue;
      out.push(`${real.variant}: ${metric.label}`);
      figures.push(`${out.at(-1)}: ${cell.simulated} outside [${cell.low}, ${cell.high}]`);
    }
  }
  expect(cells).toBe(76);
  // For the reason that src/os/node.ts gives.
  expect(out, figures.join("\n")).toEqual([
    "base: memory_active_file_bytes, squeezed",
    "base: memory_active_file_bytes, after",
    "low-in-part: memory_active_file_bytes, after",
  ]);
});
