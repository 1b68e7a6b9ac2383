/**
 * What writing costs a run: CPU and time against simulating alone, and memory against the number of rows. Run: npm run bench:outputs, or with
 * names of scenarios after `--` the first table for those (`all`: for every one).
 *
 * The first table plays a scenario in three ways: the run alone, with the files every run has, and with every export and a heap
 * profile besides. Each way has processes of its own, by turns, so that neither garbage nor compiled code of one is charged to another.
 * `the command` is `gomemsim run --quiet` as a user starts it, from the process's start to its end; alone, its worker simulates and writes nothing.
 * `the library` is a process that loads a scenario and plays it, without the command around it, counted from its start, too: the command's
 * arguments, worker and commit of the folder are in none of its ways, so the same milliseconds of writing are a larger part. Of both the medians of
 * processes, in which most of what is added is loading and compiling what writes; CPU time is that of all threads, those in which V8 compiles
 * beside the program included, time what a user waits. `again` is the library in a process that goes on, such as a sweep (the least of all runs after the first:
 * what else the machine does only adds). Every run writes into a new folder, as `run` does; in brackets, how much of what is added
 * is the kernel's, on average: creating files, above all, which on some file systems costs ten times what it does on others (TMPDIR=/dev/shm). No full
 * collection is forced between runs: it throws compiled code away.
 *
 * The second runs the built program once per line in a process of its own: an almost idle scenario sampled ever
 * more often, and the most memory that process ever had resident; then the same of the commands that read it again.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildSync } from "esbuild";
import { AS_THE_COMMAND } from "../../esbuild.config.ts";
import { EXPORTS } from "../../src/cli/exportkinds.ts";

const root = join(import.meta.dirname, "../..");
const SCENARIOS = ["web-api", "steady-64b", "cache-server", "leak-to-oom"];
const IDLE =
  "name: idle\nduration: 1s\nworkload: [{ kind: stream, name: s, rate: 10/s, size: 64, lifetime: 1s }]\n";
const ROWS = [10_000, 1_000_000, 10_000_000];

const folder = mkdtempSync(join(tmpdir(), "gomemsim-bench-"));

/** Where programs are put: as far down as the command, which finds the report page's script from where it is. */
const programs = join(root, "dist/bench");

/** Bundles a program as the command is. Returns its path. */
function built(name: string, contents: string): string {
  const stdin = { contents, resolveDir: join(root, "src"), loader: "ts" } as const;
  buildSync({ stdin, entryNames: name, outdir: programs, ...AS_THE_COMMAND });
  return join(programs, `${name}.js`);
}

/** The ways to play a scenario; the first needs nothing that writes. */
const WAYS = [
  `import { simulate } from "./simulate.ts";
   const play = () => simulate(scenario);`,
  `import { runJob } from "./cli/job.ts";
   const play = (folder) => runJob({ scenario, scenarioYaml: resolvedYaml(scenario), checked: false, overlaid: false, folder, label: folder }, () => {});`,
  `import { runJob } from "./cli/job.ts";
   import { DEFAULT_EXPORT, EXPORTS, isExportKind } from "./cli/exportkinds.ts";
   import { scenarioPlaces } from "./scenario/places.ts";
   const exports = { ...DEFAULT_EXPORT, kinds: Object.keys(EXPORTS).filter(isExportKind) };
   const heapProfiles = { places: scenarioPlaces(text, path), at: [] };
   const play = (folder) =>
     runJob({ scenario, scenarioYaml: resolvedYaml(scenario), checked: false, overlaid: false, folder, label: folder, exports, heapProfiles }, () => {});`,
];
/** The command's worker, of a run that writes nothing: it stands beside the command's own program. */
const SILENT_WORKER = `
  import { parentPort } from "node:worker_threads";
  import { simulate } from "./simulate.ts";
  parentPort.on("message", ({ scenario }) =>
    parentPort.postMessage({ kind: "done", run: { summary: simulate(scenario), verdicts: [] } }));`;

/** The command as it is, and what asks it for everything that `WAYS` writes. */
const COMMAND = join(root, "dist/cli/main.js");
const EVERYTHING = ["--export", Object.keys(EXPORTS).join(","), "--heap-profile"];

/** Processes of each way; how many of them go on after their first run, and how long: so much CPU, and at least so many runs. */
const PROCESSES = 15;
const WARM_PROCESSES = 3;
const WARM_MS = 6000;
const WARM_RUNS = 4;

/** Of one run: microseconds of CPU, and milliseconds that went by. */
interface Cost {
  readonly user: number;
  readonly system: number;
  readonly wallMs: number;
}

const programOf = (way: string): string => `
  import { mkdtempSync, readFileSync, rmSync } from "node:fs";
  import { join } from "node:path";
  import { loadScenario } from "./scenario/load.ts";
  import { resolvedYaml } from "./scenario/resolved.ts";
  const [path, parent, goesOn] = process.argv.slice(-3);
  const text = readFileSync(path, "utf8");
  const [scenario] = loadScenario(text, path).scenarios;
  ${way}
  const runs = [];
  let warmUs = 0;
  while (runs.length === 0 || (goesOn === "true" && (warmUs < ${WARM_MS * 1e3} || runs.length <= ${WARM_RUNS}))) {
    const folder = mkdtempSync(join(parent, "run-"));
    // The first run counts from the process's start.
    const before = runs.length > 0 ? process.cpuUsage() : { user: 0, system: 0 };
    const start = runs.length > 0 ? performance.now() : 0;
    await play(folder);
    const { user, system } = process.cpuUsage();
    runs.push({ user: user - before.user, system: system - before.system, wallMs: performance.now() - start });
    if (runs.length > 1) warmUs += user + system - before.user - before.system;
    rmSync(folder, { recursive: true });
  }
  console.log(JSON.stringify(runs));`;

/** What each run of a process cost. */
function playInProcess(program: string, path: string, goesOn: boolean): readonly Cost[] {
  return JSON.parse(execFileSync(process.execPath, [program, path, folder, String(goesOn)]).toString());
}

/** What the command cost; `resourceUsage` of a process that has ended is not to be had from outside, so it tells at its exit. */
async function playCommand(program: string, path: string, more: readonly string[]): Promise<Cost> {
  const into = mkdtempSync(join(folder, "run-"));
  const args = ["--import", TELLS, program, "run", path, "--quiet", "--out", join(into, "out"), ...more];
  const start = performance.now();
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit", "pipe"] });
  const told: Buffer[] = [];
  child.stdio[3]!.on("data", (piece: Buffer) => told.push(piece));
  const [status] = await once(child, "close");
  const wallMs = performance.now() - start;
  if (status !== 0) throw new Error(`${path}: exit status ${status}`);
  rmSync(into, { recursive: true });
  return { ...JSON.parse(Buffer.concat(told).toString()), wallMs };
}

const TELLS = `data:text/javascript,${encodeURIComponent(
  `import { writeSync } from "node:fs";
   import { isMainThread } from "node:worker_threads";
   if (isMainThread) process.on("exit", () => writeSync(3, JSON.stringify(process.cpuUsage())));`,
)}`;

const cpuMs = ({ user, system }: Cost): number => (user + system) / 1e3;
const timeMs = ({ wallMs }: Cost): number => wallMs;
const kernelMs = (runs: readonly Cost[]): number =>
  runs.reduce((sum, { system }) => sum + system, 0) / runs.length / 1e3;
const medianOf =
  (ms: (run: Cost) => number) =>
  (runs: readonly Cost[]): number =>
    runs.map(ms).sort((a, b) => a - b)[Math.floor(runs.length / 2)];
const leastCpuMs = (runs: readonly Cost[]): number => Math.min(...runs.map(cpuMs));

/** A line of the table: the cost of runs that do not write, and what the others add to it; in brackets, of CPU time, the kernel's part. */
function line(
  name: string,
  what: string,
  ways: readonly (readonly Cost[])[],
  ms: (runs: readonly Cost[]) => number,
  kernel: boolean,
): string {
  const [alone, ...writing] = ways;
  const percent = (part: number): string => ((100 * part) / ms(alone)).toFixed(1);
  const added = writing.map((runs) => {
    const ofKernel = kernel ? ` (${percent(kernelMs(runs) - kernelMs(alone))})` : "";
    return `${percent(ms(runs) - ms(alone))} %${ofKernel}`;
  });
  return `| ${[name, what, ms(alone).toFixed(0), ...added].join(" | ")} |`;
}

async function costs(names: readonly string[]): Promise<void> {
  console.log("| scenario | of a run | alone, ms | its files add | all exports, too |");
  console.log("|---|---|---|---|---|");
  const ways = WAYS.map((way, w) => built(`way-${w}`, programOf(way)));
  built("worker", SILENT_WORKER);
  buildSync({ entryPoints: ["src/cli/main.ts"], outdir: programs, ...AS_THE_COMMAND });
  const commands = [
    [join(programs, "main.js"), []],
    [COMMAND, []],
    [COMMAND, EVERYTHING],
  ] as const;
  for (const name of names) {
    const path = join(root, "scenarios", `${name}.yaml`);
    const command: Cost[][] = WAYS.map(() => []);
    const first: Cost[][] = WAYS.map(() => []);
    const again: Cost[][] = WAYS.map(() => []);
    for (let i = 0; i < PROCESSES; i++)
      for (let w = 0; w < WAYS.length; w++) {
        const [program, more] = commands[w];
        command[w].push(await playCommand(program, path, more));
        const [one, ...others] = playInProcess(ways[w], path, i < WARM_PROCESSES);
        first[w].push(one);
        again[w].push(...others);
      }
    console.log(line(name, "the command, time", command, medianOf(timeMs), false));
    console.log(line(name, "the command, CPU", command, medianOf(cpuMs), true));
    console.log(line(name, "the library, time", first, medianOf(timeMs), false));
    console.log(line(name, "the library, CPU", first, medianOf(cpuMs), true));
    console.log(line(name, "again, CPU", again, leastCpuMs, true));
  }
}

function memory(): void {
  const program = built(
    "memory",
    `import { runJob } from "./cli/job.ts";
    import { loadScenario } from "./scenario/load.ts";
  import { resolvedYaml } from "./scenario/resolved.ts";
    const [set, folder] = process.argv.slice(-2);
    const [scenario] = loadScenario(${JSON.stringify(IDLE)}, "idle", { set: set.split(" ") }).scenarios;
    await runJob({ scenario, scenarioYaml: resolvedYaml(scenario), checked: false, overlaid: false, folder, label: folder }, () => {});
    console.log(process.resourceUsage().maxRSS);`,
  );
  // Standard error is the command's own.
  const again = built(
    "again",
    `process.on("exit", () => console.log("\\n" + process.resourceUsage().maxRSS));
    await import("./cli/main.ts");`,
  );
  const maxRss = (...args: string[]): string => {
    const out = execFileSync(process.execPath, args, { stdio: ["ignore", "pipe", "ignore"] });
    return `${(Number(out.toString().trimEnd().split("\n").at(-1)) / 1024).toFixed(0)} MiB`;
  };
  console.log("| rows | timeseries.csv | most memory resident: run | plot | report |");
  console.log("|---|---|---|---|---|");
  for (const rows of ROWS) {
    const set = `duration=${rows / 1000}s sample_interval=1ms`;
    const run = maxRss(program, set, folder);
    const bytes = statSync(join(folder, "timeseries.csv")).size;
    const [plot, report] = ["plot", "report"].map((command) => maxRss(again, command, folder));
    console.log(`| ${rows} | ${(bytes / 2 ** 20).toFixed(0)} MiB | ${run} | ${plot} | ${report} |`);
  }
}

const named = process.argv.slice(2);
try {
  if (named.length > 0) {
    const every = readdirSync(join(root, "scenarios"))
      .filter((name) => name.endsWith(".yaml"))
      .map((name) => name.slice(0, -".yaml".length));
    await costs(named[0] === "all" ? every : named);
  } else {
    await costs(SCENARIOS);
    console.log();
    // The last line takes minutes and some gigabytes of disk.
    memory();
  }
} finally {
  for (const made of [folder, programs]) rmSync(made, { recursive: true, force: true });
}
