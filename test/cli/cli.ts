/** Runs the command line as a user does: a process of its own, in a folder of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, onTestFinished, TestRunner } from "vitest";

const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
const TSX = import.meta.resolve("tsx");

export interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcess;
  readonly result: Promise<Result>;
}

const environment = (extra: NodeJS.ProcessEnv): NodeJS.ProcessEnv => {
  const { NO_COLOR: _no, FORCE_COLOR: _force, GOMEMSIM_DEBUG: _debug, ...rest } = process.env;
  return { ...rest, LANG: "C.UTF-8", LC_ALL: "C.UTF-8", COLUMNS: "100", ...extra };
};

/** A fresh folder, removed after the test that asks for it or, asked for outside of tests, after those around. Not for hooks. */
export function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), "gomemsim-test-"));
  // Inside a test afterAll does nothing.
  const afterwards = TestRunner.getCurrentTest() === undefined ? afterAll : onTestFinished;
  afterwards(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** `openFiles` is the most the process may have open. */
export function start(
  cwd: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  openFiles?: number,
): Running {
  const command = [process.execPath, "--import", TSX, MAIN, ...args];
  const [program, ...rest] =
    openFiles === undefined
      ? command
      : ["sh", "-c", 'ulimit -n "$0" && exec "$@"', String(openFiles), ...command];
  const child = spawn(program, rest, { cwd, env: environment(env) });
  return { child, result: collect(child) };
}

export function run(
  cwd: string,
  args: readonly string[],
  options: { readonly stdin?: string | Buffer; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<Result> {
  const { child, result } = start(cwd, args, options.env);
  // A command that fails before reading its input closes the pipe: that is its right.
  child.stdin?.on("error", () => {});
  child.stdin?.end(options.stdin ?? "");
  return result;
}

/** The command inside a shell line, where `gomemsim` stands for it; bash, because the status of a pipe's head is wanted. */
export function shell(cwd: string, line: string): Promise<Result> {
  const command = `gomemsim() { "${process.execPath}" --import "${TSX}" "${MAIN}" "$@"; }; ${line}`;
  return collect(spawn("bash", ["-c", command], { cwd, env: environment({}) }));
}

function collect(child: ChildProcess): Promise<Result> {
  return new Promise((resolve, reject) => {
    let stdout = "";
    let stderr = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, stdout, stderr }));
  });
}

export function write(folder: string, name: string, text: string | Buffer): string {
  writeFileSync(join(folder, name), text);
  return name;
}

/** Every file and empty folder below, as relative paths, sorted. */
export function tree(folder: string): string[] {
  const found: string[] = [];
  const walk = (at: string): void => {
    const entries = readdirSync(at, { withFileTypes: true });
    if (entries.length === 0 && at !== folder) found.push(`${relative(folder, at)}/`);
    for (const entry of entries) {
      const path = join(at, entry.name);
      if (entry.isDirectory()) walk(path);
      else found.push(relative(folder, path));
    }
  };
  walk(folder);
  return found.sort();
}

export const SMALL = `name: small
duration: 5s
workload:
  - kind: stream
    name: objects
    rate: 200k/s
    size: 64
    lifetime: 5ms
`;

export const VARIANTS = `${SMALL}variants:
  - name: gogc400
    set: {go.GOGC: 400}
`;

/** Runs for far longer than any test waits. */
export const ENDLESS = `name: endless
duration: 90h
sample_interval: 1s
workload:
  - kind: stream
    name: objects
    rate: 200k/s
    size: 64
    lifetime: 5ms
variants:
  - name: gogc400
    set: {go.GOGC: 400}
`;
