/**
 * What writing costs a run: CPU and time against simulating alone, and memory against the number of rows. Run: npm run bench:outputs, or with
 * names of scenarios after `--` the first table for those (`all`: for every one).
 *
 * The first table plays a scenario in three ways: the run alone, with the files every run has, and with every export and a heap
 * profile besides. Each way has processes of its own, by turns, so that neither garbage nor compiled code of one is charged to another.
 * The first run of a process is what `gomemsim run` is: counted from the process's start, with loading the program and compiling it
 * (medians of processes); its CPU time is that of all threads, those in which V8 compiles beside the program included, its time what a
 * user waits. The runs after it say what is left in a program that goes on, such as a sweep (the least of all of them:
 * what else the machine does only adds). Every run writes into a new folder, as `run` does; in brackets, how much of what is added
 * is the kernel's, on average: creating files, above all, which on some file systems costs ten times what it does on others (TMPDIR=/dev/shm). No full
 * collection is forced between runs: it throws compiled code away.
 *
 * The second runs the built program once per line in a process of its own: an almost idle scenario sampled ever
 * more often, and the most memory that process ever had resident; then the same of the commands that read it again.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildSync } from "esbuild";

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
  const code = { contents, resolveDir: join(root, "src"), loader: "ts" } as const;
  const asTheCommand = { format: "esm", platform: "node", target: "node20", packages: "external" } as const;
  const split = { splitting: true, minifySyntax: true, outdir: programs, entryNames: name };
  buildSync({ stdin: code, bundle: true, ...asTheCommand, ...split });
  return join(programs, `${name}.js`);
}

/** The ways to play a scenario; the first needs nothing that writes. */
const WAYS = [
  `import { simulate } from "./simulate.ts";
   const play = () => simulate(scenario);`,
  `import { runJob } from "./cli/job.ts";
   const play = (folder) => runJob({ scenario, checked: false, overlaid: false, folder, label: folder }, () => {});`,
  `import { runJob } from "./cli/job.ts";
   import { DEFAULT_EXPORT, EXPORTS, isExportKind } from "./cli/exportkinds.ts";
   import { scenarioPlaces } from "./scenario/places.ts";
   const exports = { ...DEFAULT_EXPORT, kinds: Object.keys(EXPORTS).filter(isExportKind) };
   const heapProfiles = { places: scenarioPlaces(text, path), at: [] };
   const play = (folder) =>
     runJob({ scenario, checked: false, overlaid: false, folder, label: folder, exports, heapProfiles }, () => {});`,
];
/** Processes of each way; how many of them go on after their first run, and how long: so much CPU, and at least so many runs. */
const PROCESSES = 9;
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

const cpuMs = ({ user, system }: Cost): number => (user + system) / 1e3;
const kernelMs = (runs: readonly Cost[]): number =>
  runs.reduce((sum, { system }) => sum + system, 0) / runs.length / 1e3;
const medianOf =
  (ms: (run: Cost) => number) =>
  (runs: readonly Cost[]): number =>
    runs.map(ms).sort((a, b) => a - b)[Math.floor(runs.length / 2)];
const leastCpuMs = (runs: readonly Cost[]): number => Math.min(...runs.map(cpuMs));

/** Cells of a table: the cost of runs that do not write, and what the others add to it; `more` says more of each of them. */
function cells(
  ways: readonly (readonly Cost[])[],
  ms: (runs: readonly Cost[]) => number,
  more: (percent: (part: number) => string, runs: readonly Cost[]) => string = () => "",
): string[] {
  const [alone, ...writing] = ways;
  const percent = (part: number): string => ((100 * part) / ms(alone)).toFixed(1);
  return [
    ms(alone).toFixed(0),
    ...writing.map((runs) => `${percent(ms(runs) - ms(alone))} %${more(percent, runs)}`),
  ];
}

/** Cells of CPU time: in brackets, the kernel's part of what is added. */
const cpuCells = (ways: readonly (readonly Cost[])[], ms: (runs: readonly Cost[]) => number): string[] =>
  cells(ways, ms, (percent, runs) => ` (${percent(kernelMs(runs) - kernelMs(ways[0]))})`);

function costs(names: readonly string[]): void {
  console.log(
    "| scenario | first run alone, CPU ms | its files add | all exports, too | time, ms | files | all | again, CPU ms | files | all |",
  );
  console.log("|---|---|---|---|---|---|---|---|---|---|");
  const ways = WAYS.map((way, w) => built(`way-${w}`, programOf(way)));
  for (const name of names) {
    const first: Cost[][] = WAYS.map(() => []);
    const again: Cost[][] = WAYS.map(() => []);
    for (let i = 0; i < PROCESSES; i++)
      ways.forEach((program, w) => {
        const [one, ...others] = playInProcess(
          program,
          join(root, "scenarios", `${name}.yaml`),
          i < WARM_PROCESSES,
        );
        first[w].push(one);
        again[w].push(...others);
      });
    const row = [
      ...cpuCells(first, medianOf(cpuMs)),
      ...cells(
        first,
        medianOf(({ wallMs }) => wallMs),
      ),
      ...cpuCells(again, leastCpuMs),
    ];
    console.log(`| ${name} | ${row.join(" | ")} |`);
  }
}

function memory(): void {
  const program = built(
    "memory",
    `import { runJob } from "./cli/job.ts";
    import { loadScenario } from "./scenario/load.ts";
    const [set, folder] = process.argv.slice(-2);
    const [scenario] = loadScenario(${JSON.stringify(IDLE)}, "idle", { set: set.split(" ") }).scenarios;
    await runJob({ scenario, checked: false, overlaid: false, folder, label: folder }, () => {});
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
    costs(named[0] === "all" ? every : named);
  } else {
    costs(SCENARIOS);
    console.log();
    // The last line takes minutes and some gigabytes of disk.
    memory();
  }
} finally {
  for (const made of [folder, programs]) rmSync(made, { recursive: true, force: true });
}
