/**
 * What the layer between the Go heap and the kernel's limits costs: the same scenario plain, and with a memory limit, a container whose limits
 * are far away, a CPU quota and page cache. Run: npm run bench:container [-- ROUNDS]
 *
 * By turns, each time in a process of its own (simulated.js): the first seed compiles the simulator and is left out. The ratio is that of the
 * medians; that of the least of each is beside it, since what else the machine does only ever adds. It measures and judges nothing.
 */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { median } from "../../src/sim/quantiles.ts";

const SCENARIOS = ["steady-64b", "gogc-compare"] as const;
const SEEDS = 4;
const rounds = Number(process.argv[2] ?? 5);

/** Nothing of it is ever reached but the quota's accounting, which goes on all the time. */
const LAYER = `
go: { GOMEMLIMIT: 16GiB }
container:
  memory: { max: 32GiB, high: 24GiB }
  cpu: { limit: 64 }
  page_cache:
    - { name: index, rate: 20MiB/s, file: 200MiB }
    - { name: log, rate: 10MiB/s }
`;

function cpuSeconds(name: string, more: string): number[] {
  const args = [join(import.meta.dirname, "simulated.js"), name, "base", String(SEEDS), more];
  return JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8" })).slice(1);
}

console.log("| scenario | plain CPU s | in a container | ratio | of the least |");
for (const name of SCENARIOS) {
  const plain: number[] = [];
  const layered: number[] = [];
  for (let round = 0; round < rounds; round++) {
    plain.push(...cpuSeconds(name, ""));
    layered.push(...cpuSeconds(name, LAYER));
  }
  const [without, within] = [median(plain), median(layered)];
  const least = Math.min(...layered) / Math.min(...plain);
  const cells = [without.toFixed(3), within.toFixed(3), (within / without).toFixed(3), least.toFixed(3)];
  console.log(`| ${name} | ${cells.join(" | ")} |`);
}
