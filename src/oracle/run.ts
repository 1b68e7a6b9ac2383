/**
 * Runs the oracle: one scenario, played once on the real runtime, in real time.
 */
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import * as z from "zod";
import { rulesFor } from "../runtime/version.ts";
import type { Scenario } from "../scenario/schema.ts";
import { GoError } from "./build.ts";
import { ControlGroup, type CpuStat, type GroupPressure, type GroupStat } from "./cgroup.ts";
import { FileReader } from "./files.ts";
import { parseGctrace, type TracedCycle } from "./gctrace.ts";
import {
  figuresOf,
  GROUP_COLUMNS,
  killedResult,
  LAZY_FREE_COLUMN,
  type OracleResult,
  oracleResult,
  type StreamHeader,
  streamHeader,
} from "./result.ts";

export interface RealRun {
  readonly result: OracleResult;
  readonly trace: readonly TracedCycle[];
  readonly figures: Readonly<Record<string, number>>;
}

export interface ProgramOutput {
  readonly stdout: string;
  readonly stderr: string;
  /** It ended by SIGKILL. */
  readonly killed: boolean;
}

export interface ProgramWatch {
  readonly signal?: AbortSignal | undefined;
  /** A kill is an outcome, not a failure. */
  readonly mayBeKilled?: boolean;
  /** Its process number, as soon as it has one. */
  readonly onStart?: (pid: number) => void;
  /** Each whole line of standard output, as it comes. */
  readonly onLine?: (line: string) => void;
  readonly onEnd?: () => void;
}

/** Starts the program with `input` on its standard input and waits for it to end. */
export async function runProgram(
  command: readonly [string, ...string[]],
  input: unknown,
  env: Readonly<Record<string, string>>,
  watch: ProgramWatch = {},
): Promise<ProgramOutput> {
  const { signal, onLine } = watch;
  const inherited: Record<string, string | undefined> = { ...process.env };
  // Settings of the caller's shell must not reach the runtime under test.
  for (const name of ["GOGC", "GOMEMLIMIT", "GOMAXPROCS", "GODEBUG"]) delete inherited[name];
  const [program, ...args] = command;
  const child = spawn(program, args, {
    env: { ...inherited, ...env },
    stdio: ["pipe", "pipe", "pipe"],
    ...(signal === undefined ? {} : { signal, killSignal: "SIGKILL" as const }),
  });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  let partial = "";
  let failure: unknown;
  child.stdout.on("data", (chunk: Buffer) => {
    out.push(chunk);
    if (onLine === undefined) return;
    const lines = (partial + chunk.toString("utf8")).split("\n");
    partial = lines.pop() ?? "";
    try {
      for (const line of lines) onLine(line);
    } catch (error) {
      failure ??= error;
      child.kill("SIGKILL");
    }
  });
  child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
  if (child.pid !== undefined) watch.onStart?.(child.pid);
  child.stdin.on("error", () => {}); // It ended before reading everything: its exit status tells.
  child.stdin.end(JSON.stringify(input));
  child.once("exit", () => watch.onEnd?.());
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  if (failure !== undefined)
    throw new GoError(
      `the oracle's records cannot be read: ${failure instanceof Error ? failure.message : String(failure)}`,
    );
  const killed = child.signalCode === "SIGKILL" && signal?.aborted !== true;
  const stderr = Buffer.concat(err).toString("utf8");
  if (status !== 0 && !(killed && watch.mayBeKilled === true)) {
    const reason = stderr
      .split("\n")
      .filter((line) => !line.startsWith("gc "))
      .slice(0, 12)
      .join("\n")
      .trim();
    throw new GoError(`the oracle failed (${status === null ? "killed" : `status ${status}`}): ${reason}`);
  }
  return { stdout: Buffer.concat(out).toString("utf8"), stderr, killed };
}

/** How this machine's pages differ from the scenario's, in a way that shows; undefined if they do not, or cannot be told. */
function otherPages({ machine, go }: Scenario): string | undefined {
  const pages = spawnSync("getconf", ["PAGESIZE"], { encoding: "utf8" });
  if (pages.status === 0 && Number(pages.stdout) !== machine.page_size)
    return `pages of ${machine.page_size} bytes (here they have ${pages.stdout.trim()})`;
  let enabled: string | undefined;
  try {
    enabled = /\[(\w+)\]/.exec(readFileSync(`${THP}/enabled`, "utf8"))?.[1];
  } catch {
    return undefined; // A kernel without them, or no /sys.
  }
  // Where nothing asks for huge pages, and no release after 1.20 does, two of the three are the same.
  const asks = rulesFor(go.version).hugePageAdvice === "per-release";
  const same = (setting: string | undefined) =>
    setting === "always" && go.GODEBUG.disablethp === 0 ? "always" : asks ? setting : "none";
  return enabled === undefined || same(enabled) === same(machine.thp)
    ? undefined
    : `\`machine.thp: ${machine.thp}\` (here it is ${enabled}: root can change ${THP}/enabled)`;
}

const THP = "/sys/kernel/mm/transparent_hugepage";

/** What the real program cannot play of a scenario, in words; undefined if it can play all. */
export function unplayable(scenario: Scenario): string | undefined {
  const conditional =
    scenario.phases.some((phase) => phase.when !== undefined) ||
    scenario.interventions.some((intervention) => intervention.when !== undefined);
  if (conditional) return "conditions (`when`)";
  const { go, machine } = scenario;
  if (go.hypothetical !== undefined) return "`go.hypothetical`, which no Go release has";
  if (machine.numa !== undefined)
    return "`machine.numa`: where memory is on a real machine's nodes is not controlled or read";
  if (machine.neighbours !== undefined)
    return "`machine.neighbours`: nobody fills a real machine's memory for a comparison";
  if (go.GOMAXPROCS_default === true && machine.cpus > availableParallelism())
    return `Go's own GOMAXPROCS on ${machine.cpus} CPUs (here there are ${availableParallelism()}); set go.GOMAXPROCS, or fewer CPUs`;
  const pages = otherPages(scenario);
  if (pages !== undefined) return pages;
  const policy = scenario.policies.find(({ kind }) => kind !== "ballast" && kind !== "threshold_tuner");
  return policy === undefined ? undefined : `the policy ${policy.kind}`;
}

/** The program's command line; pinned to the scenario's number of CPUs where the machine has more. */
export function pinned(binary: string, cpus: number): readonly [string, ...string[]] {
  if (cpus >= availableParallelism()) return [binary];
  const list = cpus === 1 ? "0" : `0-${cpus - 1}`;
  const works = spawnSync("taskset", ["-c", list, "true"], { stdio: "ignore" }).status === 0;
  return works ? ["taskset", "-c", list, binary] : [binary];
}

/** `realTime` asks for real-time scheduling (realtime.go); the result says whether it was granted. */
export async function runOracle(
  binary: string,
  scenario: Scenario,
  seed: number,
  realTime: boolean,
  signal?: AbortSignal,
): Promise<RealRun> {
  if (scenario.container !== undefined) return runInContainer(binary, scenario, seed, realTime, signal);
  const { stdout, stderr } = await runProgram(
    pinned(binary, scenario.machine.cpus),
    programInput(scenario, seed, realTime && mayBeRealTime(scenario)),
    environment(scenario),
    { signal },
  );
  const result = oracleResult.parse(JSON.parse(stdout));
  return { result, trace: parseGctrace(stderr), figures: figuresOf(result) };
}

/** Real-time threads have a CPU each: not where the scenario makes more Ps than there are (see realtime.go, which sees those of the start). */
const mayBeRealTime = ({ interventions }: Scenario): boolean =>
  interventions.every((i) => i.do !== "set_gomaxprocs" || i.to <= availableParallelism());

/** Inside a control group samples are sent as they are taken: the program may be killed. */
export const programInput = (scenario: Scenario, seed: number, realTime: boolean) => ({
  mode: "run",
  seed,
  scenario,
  real_time: realTime,
  stream: scenario.container !== undefined,
});

export const environment = ({ go }: Scenario): Record<string, string> => ({
  GOGC: String(go.GOGC),
  GOMEMLIMIT: String(go.GOMEMLIMIT),
  // Go follows a limit that changes only where the variable is not set.
  ...(go.GOMAXPROCS_default === true ? {} : { GOMAXPROCS: String(go.GOMAXPROCS) }),
  GODEBUG: `gctrace=1,${Object.entries(go.GODEBUG)
    .map(([name, value]) => `${name}=${value}`)
    .join(",")}`,
});

export const sampleRow = z.array(z.number().nullable());

/** The same in a control group with the scenario's limits: until the scenario ends, or the kernel ends the program. */
async function runInContainer(
  binary: string,
  scenario: Scenario,
  seed: number,
  realTime: boolean,
  signal: AbortSignal | undefined,
): Promise<RealRun> {
  const settings = scenario.container!;
  const lazily = scenario.go.GODEBUG.madvdontneed === 0;
  const group = new ControlGroup(settings, `gomemsim-${process.pid}`);
  let files: FileReader | undefined;
  try {
    if (settings.page_cache.length > 0) {
      files = new FileReader(binary, settings.page_cache, scenario.duration, seed);
      group.enter(await files.ready());
    }
    let header = streamHeader.parse({ columns: [], go_version: "", real_time: false });
    const rows: (number | null)[][] = [];
    let ownBytes = 0;
    let pid = 0;
    let startMs = 0;
    let endMs = 0;
    let last = "";
    const resizes: NodeJS.Timeout[] = [];
    let failure: unknown;
    const start = (): void => {
      startMs = performance.now();
      files?.begin();
      for (const intervention of scenario.interventions) {
        if (intervention.do !== "resize_container") continue;
        const { at = 0, every } = intervention;
        for (let ns = at; ns < scenario.duration; ns += every ?? Number.POSITIVE_INFINITY)
          resizes.push(
            setTimeout(() => {
              try {
                group.resize(intervention);
              } catch (error) {
                failure ??= error;
              }
            }, ns / 1e6),
          );
      }
    };
    const onLine = (line: string): void => {
      if (line.startsWith("[")) {
        const row = sampleRow.parse(JSON.parse(line));
        ownBytes = row.pop() ?? 0;
        group.raiseLimits(ownBytes);
        if (rows.length === 0) start();
        rows.push([
          ...row,
          ...groupRow(group.currentBytes, group.stat, ownBytes),
          ...(lazily ? [lazyFreeBytes(pid)] : []),
        ]);
      } else if (header.columns.length === 0) header = streamHeader.parse(JSON.parse(line));
      else last = line;
    };
    const output = await runProgram(
      group.wrap(pinned(binary, scenario.machine.cpus)),
      // CPU bandwidth is for ordinary threads only.
      programInput(scenario, seed, realTime && settings.cpu === undefined && mayBeRealTime(scenario)),
      environment(scenario),
      {
        signal,
        mayBeKilled: true,
        onStart: (n) => {
          pid = n;
        },
        onLine,
        onEnd: () => {
          endMs = performance.now();
          resizes.forEach(clearTimeout);
        },
      },
    );
    if (failure !== undefined)
      throw new GoError(
        `the control group's limits cannot be changed: ${failure instanceof Error ? failure.message : String(failure)}`,
      );
    const read = await files?.end();
    return groupRun({
      output,
      header,
      rows,
      columns: [...GROUP_COLUMNS, ...(lazily ? [LAZY_FREE_COLUMN] : [])],
      last,
      ownBytes,
      seconds: (endMs - startMs) / 1e3,
      oomKills: group.oomKills,
      peakBytes: group.peakBytes,
      pressure: group.pressure,
      cpu: group.cpuStat,
      hits: read?.hits,
    });
  } finally {
    await files?.remove();
    group.remove();
  }
}

/** What a program that was played in a control group has left behind, there and on its outputs. */
export interface GroupPlay {
  readonly output: ProgramOutput;
  readonly header: StreamHeader;
  /** The program's samples, each followed by what was seen from outside, and the names of that. */
  readonly rows: (number | null)[][];
  readonly columns: readonly string[];
  /** Its report, if it was not killed. */
  readonly last: string;
  /** Its own memory outside the heap, which the limits were raised by. */
  readonly ownBytes: number;
  /** From its first sample to its end. */
  readonly seconds: number;
  readonly oomKills: number;
  readonly peakBytes: number;
  readonly pressure: GroupPressure | undefined;
  readonly cpu: CpuStat | undefined;
  readonly hits: number | undefined;
}

export function groupRun(play: GroupPlay): RealRun {
  const { output, header, rows, ownBytes, pressure, cpu } = play;
  const trace = parseGctrace(output.stderr);
  if (output.killed && play.oomKills === 0)
    throw new GoError("the oracle was killed, but not by the control group's OOM killer");
  const reported = output.killed
    ? killedResult(header, rows, ownBytes)
    : oracleResult.parse(JSON.parse(play.last));
  // The same samples, with what only the outside sees.
  const result = { ...reported, samples: { columns: [...header.columns, ...play.columns], rows } };
  const figures = {
    ...figuresOf(result),
    ...(output.killed ? { first_oom_kill_seconds: play.seconds, gc_count: trace.length } : {}),
    memory_current_peak_bytes: play.peakBytes - ownBytes,
    ...(pressure === undefined
      ? {}
      : {
          memory_events_high: pressure.eventsHigh,
          memory_pressure_some_seconds: pressure.someSeconds,
          memory_pressure_full_seconds: pressure.fullSeconds,
        }),
    ...(play.hits === undefined ? {} : { page_cache_hit_pages: play.hits }),
    ...(cpu === undefined
      ? {}
      : {
          cpu_nr_periods: cpu.nrPeriods,
          cpu_nr_throttled: cpu.nrThrottled,
          cpu_throttled_seconds: cpu.throttledNs / 1e9,
        }),
  };
  return { result, trace, figures };
}

/** A sample of the group, in the order of GROUP_COLUMNS, less what the program needs for itself. */
export function groupRow(currentBytes: number, stat: GroupStat, ownBytes: number): number[] {
  const current = currentBytes - ownBytes;
  const { anon, file, inactiveFile, activeFile } = stat;
  return [current, current - inactiveFile, anon - ownBytes, file, inactiveFile, activeFile];
}

/** smaps' LazyFree of a process; null where it has ended. */
function lazyFreeBytes(pid: number): number | null {
  try {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
    return Number(/^LazyFree: +(\d+) kB/m.exec(rollup)?.[1] ?? Number.NaN) * 1024;
  } catch {
    return null;
  }
}
