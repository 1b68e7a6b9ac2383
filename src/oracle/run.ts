/**
 * Runs the oracle: one scenario, played once on the real runtime, in real time.
 */
import { spawn, spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import type { Scenario } from "../scenario/schema.ts";
import { GoError } from "./build.ts";
import { parseGctrace, type TracedCycle } from "./gctrace.ts";
import { figuresOf, type OracleResult, oracleResult } from "./result.ts";

export interface RealRun {
  readonly result: OracleResult;
  readonly trace: readonly TracedCycle[];
  readonly figures: Readonly<Record<string, number>>;
}

export interface ProgramOutput {
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts the program with `input` on its standard input and waits for it to end. */
export async function runProgram(
  command: readonly [string, ...string[]],
  input: unknown,
  env: Readonly<Record<string, string>>,
  signal?: AbortSignal,
): Promise<ProgramOutput> {
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
  child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
  child.stdin.on("error", () => {}); // It ended before reading everything: its exit status tells.
  child.stdin.end(JSON.stringify(input));
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  const stderr = Buffer.concat(err).toString("utf8");
  if (status !== 0) {
    const reason = stderr
      .split("\n")
      .filter((line) => !line.startsWith("gc "))
      .slice(0, 12)
      .join("\n")
      .trim();
    throw new GoError(`the oracle failed (${status === null ? "killed" : `status ${status}`}): ${reason}`);
  }
  return { stdout: Buffer.concat(out).toString("utf8"), stderr };
}

/** What the real program cannot play of a scenario, in words; undefined if it can play all. */
export function unplayable(scenario: Scenario): string | undefined {
  const conditional =
    scenario.phases.some((phase) => phase.when !== undefined) ||
    scenario.interventions.some((intervention) => intervention.when !== undefined);
  if (conditional) return "conditions (`when`)";
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
  const { stdout, stderr } = await runProgram(
    pinned(binary, scenario.machine.cpus),
    { mode: "run", seed, scenario, real_time: realTime },
    {
      GOGC: String(scenario.go.GOGC),
      GOMEMLIMIT: String(scenario.go.GOMEMLIMIT),
      GOMAXPROCS: String(scenario.go.GOMAXPROCS),
      GODEBUG: "gctrace=1",
    },
    signal,
  );
  const result = oracleResult.parse(JSON.parse(stdout));
  return { result, trace: parseGctrace(stderr), figures: figuresOf(result) };
}
