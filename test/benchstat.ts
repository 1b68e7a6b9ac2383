/** The real benchstat, for the tests that ask it. Without Go, or where it cannot be fetched, `benchstat` says why. */
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratch } from "./cli/cli.ts";
import { required } from "./clients.ts";

const VERSION = "v0.0.0-20260908200009-22c9c6c9d4da";

type Benchstat = { readonly command: string } | { readonly missing: string };

/** To be asked outside of tests: installs it into a folder of its own, removed after them; the Go module cache makes that quick the second time. */
export function findBenchstat(): Benchstat {
  const bin = scratch();
  try {
    execFileSync("go", ["install", `golang.org/x/perf/cmd/benchstat@${VERSION}`], {
      env: { ...process.env, GOBIN: bin, GOFLAGS: "-mod=mod" },
      stdio: ["ignore", "ignore", "pipe"],
      timeout: 100_000,
    });
    return { command: join(bin, "benchstat") };
  } catch (error) {
    const missing = error instanceof Error && "code" in error && error.code === "ENOENT";
    // Where Go is required the test must run: it fails with the reason.
    if (required.has("go")) throw error;
    return { missing: missing ? "no Go on this machine" : "benchstat could not be fetched" };
  }
}

/** One unit of one benchmark, as benchstat's CSV has it. */
export interface BenchstatCell {
  readonly medians: readonly [number, number];
  /** As text: `2%`, `∞`, `?`. */
  readonly ranges: readonly [string, string];
  /** `~` or a difference. */
  readonly versus: string;
  /** To three digits. */
  readonly p: number;
}

/** Both files given to benchstat; by unit. Its complaints about lines come back too. */
export function askBenchstat(
  command: string,
  folder: string,
  files: readonly [string, string],
): { readonly cells: ReadonlyMap<string, BenchstatCell>; readonly complaints: readonly string[] } {
  const paths = files.map((text, i) => {
    const path = join(folder, `side-${i}.txt`);
    writeFileSync(path, text);
    return path;
  });
  const run = spawnSync(command, ["-format", "csv", ...paths], { encoding: "utf8" });
  if (run.status !== 0) throw new Error(`benchstat: ${run.stderr}`);
  const csv = run.stdout;
  // What it says of a cell (`F198: all samples are equal`) is no complaint about a line.
  const complaints = run.stderr.split("\n").filter((line) => line !== "" && !/^[A-Z]+\d+: /.test(line));
  const cells = new Map<string, BenchstatCell>();
  for (const table of csv.trim().split("\n\n")) {
    const [, head, row] = table.split("\n").map((line) => line.split(","));
    if (row === undefined) continue;
    cells.set(head[1], {
      medians: [Number(row[1]), Number(row[3])],
      ranges: [row[2], row[4]],
      versus: row[5],
      p: Number(/p=([\d.]+)/.exec(row[6])?.[1]),
    });
  }
  return { cells, complaints };
}
