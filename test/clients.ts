/**
 * The programs that open what gomemsim writes. Where one is missing its tests are skipped, and their name says so, unless
 * GOMEMSIM_REQUIRE names it, as .ci/run does: then they run and fail.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe } from "vitest";

const installed = (program: string): boolean =>
  spawnSync("sh", ["-c", `command -v ${program}`], { stdio: "ignore" }).status === 0;

/** Programs, by name, without which a test fails rather than be skipped. */
export const required: ReadonlySet<string> = new Set((process.env["GOMEMSIM_REQUIRE"] ?? "").split(" "));

/** Tests that need these programs. */
export function describeWith(programs: readonly string[], name: string, tests: () => void): void {
  const missing = programs.filter((program) => !required.has(program) && !installed(program));
  const why = missing.length === 0 ? "" : ` (skipped: no ${missing.join(", ")} on this machine)`;
  describe.skipIf(missing.length > 0)(`${name}${why}`, tests);
}

/** Tests that need Go and a module of its ecosystem (PATH@VERSION), which is fetched unless Go has it already. */
export function describeWithModule(module: string, tests: () => void): void {
  const why = required.has("go") ? undefined : whyNoModule(module);
  describe.skipIf(why !== undefined)(`${module}${why === undefined ? "" : ` (skipped: ${why})`}`, tests);
}

function whyNoModule(module: string): string | undefined {
  if (!installed("go")) return "no go on this machine";
  const { status } = spawnSync("go", ["mod", "download", module], { stdio: "ignore", timeout: 60_000 });
  return status === 0 ? undefined : "it could not be fetched";
}

/** Runs a program to its end. */
export function client(
  program: string,
  args: readonly string[],
  input = "",
): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
  return spawnSync(program, [...args], { input, encoding: "utf8", maxBuffer: 1 << 28 });
}

/** A loopback port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}

export function temporaryFolder(): string {
  return mkdtempSync(join(tmpdir(), "gomemsim-client-"));
}

export type Point = readonly [unixSeconds: number, value: string];

export interface Found {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: Point;
}

/** A running Prometheus; to be stopped. */
export class Prometheus {
  readonly #url: string;
  readonly #child: ChildProcess;
  readonly #folder: string;

  private constructor(url: string, child: ChildProcess, folder: string) {
    this.#url = url;
    this.#child = child;
    this.#folder = folder;
  }

  /** `storage` may hold blocks; `scrape` are its scrape_configs. */
  static async start(storage: string, scrape = "[]"): Promise<Prometheus> {
    const folder = temporaryFolder();
    const config = join(folder, "prometheus.yml");
    writeFileSync(config, `global: {scrape_interval: 500ms}\nscrape_configs: ${scrape}\n`);
    const port = await freePort();
    const child = spawn(
      "prometheus",
      [
        `--config.file=${config}`,
        `--storage.tsdb.path=${storage}`,
        `--web.listen-address=127.0.0.1:${port}`,
        "--storage.tsdb.retention.time=100y",
        "--log.level=warn",
      ],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    let log = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
    const prometheus = new Prometheus(`http://127.0.0.1:${port}`, child, folder);
    for (let tries = 0; tries < 300; tries++) {
      if (child.exitCode !== null) throw new Error(`prometheus ended: ${log}`);
      const ready = await fetch(`${prometheus.#url}/-/ready`).then(
        ({ status }) => status === 200,
        () => false,
      );
      if (ready) return prometheus;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await prometheus.stop();
    throw new Error(`prometheus does not get ready: ${log}`);
  }

  async get(path: string, query: Readonly<Record<string, string>> = {}): Promise<unknown> {
    const response = await fetch(`${this.#url}/api/v1/${path}?${new URLSearchParams(query)}`);
    const answer = (await response.json()) as { status: string; error?: string; data: unknown };
    if (answer.status !== "success") throw new Error(`${path} ${JSON.stringify(query)}: ${answer.error}`);
    return answer.data;
  }

  async query(query: string, unixSeconds?: number): Promise<readonly Found[]> {
    const time = unixSeconds === undefined ? {} : { time: unixSeconds.toFixed(3) };
    return ((await this.get("query", { query, ...time })) as { result: readonly Found[] }).result;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null) {
      const ended = new Promise((resolve) => this.#child.once("exit", resolve));
      this.#child.kill("SIGTERM");
      await ended;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
