/**
 * The simulator against recorded real runs, without Go: what moves bytes and counts must stay in band. Times depend on the
 * machine and are left to `npm run fidelity` and `gomemsim validate`, which judge all metrics over several seeds (medians of
 * five lie nearer: the README has that table, with every cell that is out).
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { compare } from "../../src/oracle/metrics.ts";
import { recordedFigures, recording, scenarioHash } from "../../src/oracle/recording.ts";
import { loadScenario } from "../../src/scenario/load.ts";
import { simulate } from "../../src/simulate.ts";

const root = join(import.meta.dirname, "../..");
const folder = join(root, "test/golden/oracle");

test("90 in 100 byte and count figures lie in the band of the recorded real runs, with a single seed", () => {
  const out: string[] = [];
  let cells = 0;
  const files = readdirSync(folder);
  expect(files.length).toBeGreaterThanOrEqual(10);
  for (const file of files) {
    const real = recording.parse(JSON.parse(readFileSync(join(folder, file), "utf8")));
    expect(real.runs.length).toBeGreaterThanOrEqual(5);
    const path = join(root, "scenarios", `${real.name}.yaml`);
    const loaded = loadScenario(readFileSync(path, "utf8"), path);
    if (!loaded.ok) throw new Error(`${path} is not valid`);
    const scenario = loaded.scenarios.find((s) => s.variant === real.variant);
    if (scenario === undefined) throw new Error(`${path} has no variant ${real.variant}`);
    expect(scenarioHash(scenario), `${file} was recorded from another version of the scenario`).toBe(
      real.scenario_hash,
    );
    const simulated = simulate(scenario, { declareOracle: true }).figures;
    for (const cell of compare(recordedFigures(real), [simulated])) {
      if (cell.metric.unit === "seconds" || cell.metric.unit === "ns") continue;
      cells++;
      if (!cell.inBand) {
        out.push(`${real.name}: ${cell.metric.label}: ${cell.simulated} outside [${cell.low}, ${cell.high}]`);
      }
    }
  }
  expect(out.length / cells, out.join("\n")).toBeLessThanOrEqual(0.1);
});
