/**
 * The simulator against recorded real runs, without Go: what moves bytes and counts must stay in band. Times depend on the
 * machine and are left to `npm run fidelity` and `gomemsim validate`, which judge all metrics over several seeds (medians of
 * five lie nearer: the README has that table, with every cell that is out).
 */
import { expect, test } from "vitest";
import { compare } from "../../src/oracle/metrics.ts";
import { recordedFigures } from "../../src/oracle/recording.ts";
import { simulate } from "../../src/simulate.ts";
import { recordings } from "../recordings.ts";

test("90 in 100 byte and count figures lie in the band of the recorded real runs, with a single seed", () => {
  const out: string[] = [];
  let cells = 0;
  const list = recordings();
  expect(list.length).toBeGreaterThanOrEqual(10);
  for (const { real, scenario, label, profile } of list) {
    expect(real.runs.length).toBeGreaterThanOrEqual(5);
    const options = { declareOracle: true, ...(profile === undefined ? {} : { profile }) };
    const simulated = simulate(scenario, options).figures;
    for (const cell of compare(recordedFigures(real), [simulated])) {
      if (cell.metric.unit === "seconds" || cell.metric.unit === "ns") continue;
      cells++;
      if (!cell.inBand) {
        out.push(`${label}: ${cell.metric.label}: ${cell.simulated} outside [${cell.low}, ${cell.high}]`);
      }
    }
  }
  expect(out.length / cells, out.join("\n")).toBeLessThanOrEqual(0.1);
});
