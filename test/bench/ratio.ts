/**
 * The speed requirement: simulator CPU / real Go CPU, both measured here and now. Run: npm run bench:ratio [-- NAME ... --runs N]
 *
 * For each scenario (the recorded ones unless named) it takes turns, N times (3 unless given): the scenario once on the real
 * runtime, as `validate` runs it, then nine seeds simulated in a process of their own, by the built program (dist/), as users
 * run it: the same sources loaded through tsx are a fifth slower. So slow and fast hours of the machine
 * meet both sides. The first seed's CPU time includes compiling the simulator, a run by itself, and while the next two run V8 still
 * compiles: the ratio is that of the medians without these three. That of the least of each side is beside it, since what else the
 * machine does only ever adds. Needs Go; it measures and judges nothing, so the exit status is 0.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { NOT_REAL_TIME } from "../../src/cli/options.ts";
import { buildOracle, findGo, GoError } from "../../src/oracle/build.ts";
import { recording } from "../../src/oracle/recording.ts";
import { runOracle } from "../../src/oracle/run.ts";
import { loadScenario } from "../../src/scenario/load.ts";
import type { Scenario } from "../../src/scenario/schema.ts";
import { BASE_VARIANT } from "../../src/scenario/variant.ts";
import { median } from "../../src/sim/quantiles.ts";

const root = join(import.meta.dirname, "../..");
const SEEDS = 9;
const COMPILING_SEEDS = 3;

interface Target {
  readonly name: string;
  readonly variant: string;
}

function recorded(): Target[] {
  const folder = join(root, "test/golden/oracle");
  return readdirSync(folder)
    .sort()
    .map((file) => recording.parse(JSON.parse(readFileSync(join(folder, file), "utf8"))));
}

function scenarioOf({ name, variant }: Target): Scenario {
  const path = join(root, "scenarios", `${name}.yaml`);
  const loaded = loadScenario(readFileSync(path, "utf8"), path);
  const scenario = loaded.ok ? loaded.scenarios.find((s) => s.variant === variant) : undefined;
  if (scenario === undefined) throw new Error(`${path} is not valid or lacks the variant ${variant}`);
  return scenario;
}

/** CPU seconds of each seed, in a fresh process, where nothing is compiled yet. */
function simulated({ name, variant }: Target): number[] {
  const args = [join(import.meta.dirname, "simulated.js"), name, variant, String(SEEDS)];
  return JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8" }));
}

async function measure(target: Target, binary: string, rounds: number): Promise<string> {
  const scenario = scenarioOf(target);
  const real: number[] = [];
  const first: number[] = [];
  const warm: number[] = [];
  for (let round = 1; round <= rounds; round++) {
    const { result, figures } = await runOracle(binary, scenario, round, true);
    if (!result.real_time && round === 1) console.error(NOT_REAL_TIME);
    real.push(figures["cpu_seconds"] ?? Number.NaN);
    const seconds = simulated(target);
    first.push(seconds[0]);
    warm.push(...seconds.slice(COMPILING_SEEDS));
  }
  const title = target.variant === BASE_VARIANT ? target.name : `${target.name} ${target.variant}`;
  const ratio = median(warm) / median(real);
  const least = Math.min(...warm) / Math.min(...real);
  const seconds = [median(real), median(first), median(warm)].map((s) => s.toFixed(2));
  return `| ${[title, ...seconds, ratio.toFixed(3), least.toFixed(3)].join(" | ")} |`;
}

async function main(args: readonly string[]): Promise<void> {
  const at = args.indexOf("--runs");
  const rounds = at < 0 ? 3 : Number(args[at + 1]);
  if (!(Number.isInteger(rounds) && rounds >= 1)) throw new RangeError("--runs needs a whole number from 1");
  const names = at < 0 ? args : args.filter((_, i) => i !== at && i !== at + 1);
  const targets = names.length === 0 ? recorded() : names.map((name) => ({ name, variant: BASE_VARIANT }));
  let binary: string;
  try {
    binary = buildOracle(findGo());
  } catch (error) {
    if (!(error instanceof GoError)) throw error;
    console.log(error.message);
    return;
  }
  console.log("| scenario | real CPU s | simulated CPU s, first | later | ratio | of the least |");
  console.log("|---|---|---|---|---|---|");
  for (const target of targets) console.log(await measure(target, binary, rounds));
}

await main(process.argv.slice(2));
