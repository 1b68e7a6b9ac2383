/**
 * Half of ratio.ts and container.ts: simulates a scenario N times, seeds 1 to N, with the built program and prints the CPU seconds of each
 * as JSON. Plain JavaScript, so that nothing stands between Node and the program measured.
 * Run: node test/bench/simulated.js NAME VARIANT N [TEXT], where TEXT is put at the end of the scenario's file
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { loadScenario, simulate } from "../../dist/index.js";

const [name, variant, seeds, more = ""] = process.argv.slice(2);
const path = join(import.meta.dirname, "../../scenarios", `${name}.yaml`);
const scenario = loadScenario(readFileSync(path, "utf8") + more, path).scenarios.find(
  (s) => s.variant === variant,
);
const seconds = Array.from({ length: Number(seeds) }, (_, i) => {
  const before = process.cpuUsage();
  simulate(scenario, { declareOracle: true, seed: i + 1 });
  const used = process.cpuUsage(before);
  return (used.user + used.system) / 1e6;
});
console.log(JSON.stringify(seconds));
