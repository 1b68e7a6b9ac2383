/**
 * Finds the user's Go and builds the oracle with it. Builds are cached under the system's folder for temporary files,
 * by the program's source and the Go release, so only the first validation waits for the compiler.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Go is missing or does not do what is asked; the message is for the user. */
export class GoError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "GoError";
  }
}

export const HOW_TO_GET_GO =
  "Go is needed to run the real side; get it from https://go.dev/dl (any release from 1.19), or give its path with --go";

export interface Go {
  readonly path: string;
  /** "go1.26.8" */
  readonly version: string;
}

/** The Go command to use: as given, or the first that works of `go` on PATH and the usual folder. */
export function findGo(given?: string): Go {
  const candidates = given === undefined ? ["go", "/usr/local/go/bin/go"] : [given];
  for (const path of candidates) {
    let version: string;
    try {
      version = execFileSync(path, ["env", "GOVERSION"], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      }).trim();
    } catch {
      continue;
    }
    const match = /^go1\.(\d+)/.exec(version);
    if (match === null || Number(match[1]) < 19) {
      throw new GoError(`${path} is ${version || "an unknown release"}, too old; ${HOW_TO_GET_GO}`);
    }
    return { path, version };
  }
  throw new GoError(
    given === undefined ? `no Go found; ${HOW_TO_GET_GO}` : `${given} is not a Go command; ${HOW_TO_GET_GO}`,
  );
}

/** The Go program's folder: beside this file in the sources, and in the sources shipped beside the compiled package. */
function sourceFolder(): string {
  for (const place of ["./go", "../../src/oracle/go"]) {
    const folder = fileURLToPath(new URL(place, import.meta.url));
    if (existsSync(join(folder, "go.mod"))) return folder;
  }
  throw new GoError("the oracle's Go source is not part of this installation");
}

function contentHash(folder: string, version: string): string {
  const hash = createHash("sha256").update(version);
  for (const name of readdirSync(folder).sort()) {
    if (/\.(go|mod|s)$/.test(name)) hash.update(name).update(readFileSync(join(folder, name)));
  }
  return hash.digest("hex").slice(0, 16);
}

/**
 * Builds the oracle, if it has not been yet, and returns the program's path. `tag` selects a variant for calibration, `goarch` a processor
 * that is not this machine's.
 */
export function buildOracle(go: Go, tag: "" | "globals" = "", goarch?: string): string {
  const source = sourceFolder();
  const cache = join(tmpdir(), `gomemsim-oracle-${userInfo().uid}`);
  mkdirSync(cache, { recursive: true, mode: 0o700 });
  const variant = [tag, goarch ?? ""].filter((part) => part !== "").map((part) => `-${part}`);
  const target = join(cache, `oracle-${contentHash(source, go.version)}${variant.join("")}`);
  if (existsSync(target)) return target;
  const building = `${target}.${process.pid}`;
  try {
    execFileSync(
      go.path,
      ["build", "-trimpath", ...(tag === "" ? [] : ["-tags", tag]), "-o", building, "."],
      {
        cwd: source,
        encoding: "utf8",
        stdio: ["ignore", "ignore", "pipe"],
        // The program has no dependencies, and a workspace or another toolchain of the user's must not interfere.
        env: {
          ...process.env,
          ...{ GOWORK: "off", GOFLAGS: "-mod=mod", GOTOOLCHAIN: "local", CGO_ENABLED: "0" },
          ...(goarch === undefined ? {} : { GOOS: "linux", GOARCH: goarch }),
        },
      },
    );
  } catch (error) {
    const output =
      typeof error === "object" && error !== null && "stderr" in error ? String(error.stderr).trim() : "";
    throw new GoError(
      `the oracle could not be built with ${go.version}${output === "" ? "" : `:\n${output}`}`,
      {
        cause: error,
      },
    );
  }
  chmodSync(building, 0o755);
  renameSync(building, target);
  return target;
}
