/**
 * What the layer between the Go heap and the kernel's limits costs: the same scenario plain, and with a memory limit, a container
 * whose limits are far away, a CPU quota and page cache. Run: npm run bench:container [-- ROUNDS]
 *
 * By turns, each time in a process of its own (simulated.js). While the first three seeds run V8 still compiles (a second seed of
 * steady-64b takes twice as long as a fourth), and a layer is that much more code to compile: they are left out, as it is once per
 * process. The ratio is that of the medians; that of the least of each is beside it, since what else the machine does only ever
 * adds. It measures and judges nothing.
 */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { median } from "../../src/sim/quantiles.ts";

const SCENARIOS = ["steady-64b", "gogc-compare"] as const;
const SEEDS = 9;
const COMPILING_SEEDS = 3;
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
  return JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8" })).slice(COMPILING_SEEDS);
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
