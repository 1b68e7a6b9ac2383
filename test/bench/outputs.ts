/**
 * What writing costs a run: CPU against simulating alone, and memory against the number of rows. Run: npm run bench:outputs
 *
 * The first table is by turns in one process, the best of three: the run alone, with the files every run has, and with every export and a
 * heap profile besides. The second runs the built program once per line in a process of its own: an almost idle scenario sampled ever
 * more often, and the most memory that process ever had resident; then the same of the commands that read it again.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DEFAULT_EXPORT, EXPORTS, isExportKind } from "../../src/cli/exports.ts";
import { type Job, runJob } from "../../src/cli/job.ts";
import { loadScenario } from "../../src/scenario/load.ts";
import { scenarioPlaces } from "../../src/scenario/places.ts";
import { simulate } from "../../src/simulate.ts";

const root = join(import.meta.dirname, "../..");
const SCENARIOS = ["web-api", "steady-64b", "cache-server", "leak-to-oom"];
const IDLE =
  "name: idle\nduration: 1s\nworkload: [{ kind: stream, name: s, rate: 10/s, size: 64, lifetime: 1s }]\n";
const ROWS = [10_000, 1_000_000, 10_000_000];

const folder = mkdtempSync(join(tmpdir(), "gomemsim-bench-"));

function cpuMs(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e3;
}

function costs(): void {
  console.log("| scenario | run alone, ms | added by its files | with all exports and a heap profile, too |");
  console.log("|---|---|---|---|");
  for (const name of SCENARIOS) {
    const path = join(root, "scenarios", `${name}.yaml`);
    const text = readFileSync(path, "utf8");
    const loaded = loadScenario(text, path);
    if (!loaded.ok) throw new Error(`${path} is not valid`);
    const [scenario] = loaded.scenarios;
    const job: Job = { scenario, checked: false, overlaid: false, folder, label: folder };
    const everything: Job = {
      ...job,
      exports: { ...DEFAULT_EXPORT, kinds: Object.keys(EXPORTS).filter(isExportKind) },
      heapProfiles: { places: scenarioPlaces(text, path), at: [] },
    };
    const ways = [() => simulate(scenario), () => runJob(job, () => {}), () => runJob(everything, () => {})];
    const best = ways.map(() => Number.POSITIVE_INFINITY);
    for (let round = 0; round < 4; round++)
      ways.forEach((way, i) => {
        const ms = cpuMs(way);
        // The first round warms up.
        if (round > 0) best[i] = Math.min(best[i], ms);
      });
    const added = best.slice(1).map((ms) => `${(100 * (ms / best[0] - 1)).toFixed(1)} %`);
    console.log(`| ${name} | ${best[0].toFixed(0)} | ${added.join(" | ")} |`);
  }
}

function memory(): void {
  const program = `
    import { loadScenario } from ${JSON.stringify(join(root, "dist/index.js"))};
    import { runJob } from ${JSON.stringify(join(root, "dist/cli/job.js"))};
    const [set, folder] = process.argv.slice(-2);
    const [scenario] = loadScenario(${JSON.stringify(IDLE)}, "idle", { set: set.split(" ") }).scenarios;
    runJob({ scenario, checked: false, overlaid: false, folder, label: folder }, () => {});
    console.log(process.resourceUsage().maxRSS);`;
  // Standard error is the command's own.
  const again = `
    const [command, folder] = process.argv.slice(-2);
    process.argv = [process.argv[0], "gomemsim", command, folder];
    process.on("exit", () => console.log("\\n" + process.resourceUsage().maxRSS));
    await import(${JSON.stringify(join(root, "dist/cli/main.js"))});`;
  const maxRss = (...args: string[]): string => {
    const out = execFileSync(process.execPath, ["--input-type=module", "-e", ...args], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    return `${(Number(out.toString().trimEnd().split("\n").at(-1)) / 1024).toFixed(0)} MiB`;
  };
  console.log("| rows | timeseries.csv | most memory resident: run | plot | report |");
  console.log("|---|---|---|---|---|");
  for (const rows of ROWS) {
    const set = `duration=${rows / 1000}s sample_interval=1ms`;
    const run = maxRss(program, "--", set, folder);
    const bytes = statSync(join(folder, "timeseries.csv")).size;
    const [plot, report] = ["plot", "report"].map((command) => maxRss(again, "--", command, folder));
    console.log(`| ${rows} | ${(bytes / 2 ** 20).toFixed(0)} MiB | ${run} | ${plot} | ${report} |`);
  }
}

try {
  costs();
  console.log();
  // The last line takes minutes and some gigabytes of disk.
  memory();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
