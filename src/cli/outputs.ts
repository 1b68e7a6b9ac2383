/**
 * Where a run's files go, so that nothing half-written ever stands under a final name.
 *
 * Everything is written to a temporary folder first. When all of it is complete, `commit` renames: the whole folder at
 * once when the target does not exist yet; else, file by file into the existing folder, so that whatever else the user
 * keeps there stays. `abort` removes the temporary folder and every parent folder that was made for it.
 * A run killed outright (SIGKILL) leaves only a `*.tmp-*` folder behind, never a partial result, and the next one that writes to the
 * same place removes it. Nothing is forced to the disk: what a power cut leaves is up to the file system.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { hostname } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { CliError, EXIT, errorCode, reasonOf } from "./exit.ts";

export function cannotWrite(path: string, error: unknown): CliError {
  return new CliError(EXIT.output, `${path}: cannot be written: ${reasonOf(error)}`, { cause: error });
}

/** Write errors become CliErrors that name the user's path; anything else is a bug and passes. */
function attempt<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof CliError || errorCode(error) === undefined) throw error;
    throw cannotWrite(path, error);
  }
}

/** Where process numbers mean what they mean here: this host, and on Linux this PID namespace (containers may share a host's name). */
function processSpace(): string {
  let namespace = "";
  try {
    namespace = readlinkSync("/proc/self/ns/pid");
  } catch {
    // Not Linux.
  }
  // FNV-1a: loading node:crypto would take longer than many a file.
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(`${hostname()} ${namespace}`)) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, "0");
}

/** A temporary name beside `base`, which tells whose it is. */
const temporaryName = (base: string): string =>
  `${base}.tmp-${processSpace()}-${process.pid}-${Math.floor(Math.random() * 2 ** 48)
    .toString(16)
    .padStart(12, "0")}`;

/** What nobody touched for so long is nobody's any more. */
const ABANDONED_MS = 7 * 24 * 3600 * 1000;

/** Whether the process that made a temporary file or folder is gone; one elsewhere cannot be asked, so that its silence must tell. */
function isAbandoned(path: string, space: string, pid: number): boolean {
  const { mtimeMs } = statSync(path);
  if (Date.now() - mtimeMs > ABANDONED_MS) return true;
  if (space !== processSpace()) return false;
  // An earlier process had our number.
  if (pid === process.pid) return mtimeMs < Date.now() - 1000 * process.uptime();
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return errorCode(error) === "ESRCH";
  }
}

/** Removes what processes that were killed left under temporary names of `base`. */
function removeAbandoned(folder: string, base: string): void {
  const ours = /^\.tmp-([0-9a-f]{8})-([1-9]\d*)-[0-9a-f]{12}$/;
  try {
    for (const name of readdirSync(folder)) {
      const [, space, pid] = (name.startsWith(base) && ours.exec(name.slice(base.length))) || [];
      const path = join(folder, name);
      if (space !== undefined && isAbandoned(path, space, Number(pid)))
        rmSync(path, { recursive: true, force: true });
    }
  } catch {
    // It is in nobody's way: what is to be written does not depend on it.
  }
}

/** Temporary folders inside an existing target. */
const INSIDE = "gomemsim";

export class OutputFolder {
  /** The final folder, as the user named it. */
  readonly target: string;
  /** The folder to write into until `commit`. */
  readonly temporary: string;
  readonly #targetExists: boolean;
  /** Folders made on the way to the target, outermost first. */
  readonly #madeParents: string[] = [];

  constructor(target: string) {
    this.target = target;
    const full = resolve(target);
    let stat: ReturnType<typeof statSync> | undefined;
    try {
      stat = statSync(full, { throwIfNoEntry: false });
    } catch (error) {
      throw cannotWrite(target, error);
    }
    if (stat !== undefined && !stat.isDirectory()) {
      throw new CliError(EXIT.output, `${target}: cannot be written: it is a file, and a folder is needed`);
    }
    this.#targetExists = stat !== undefined;
    removeAbandoned(dirname(full), basename(full));
    if (this.#targetExists) removeAbandoned(full, INSIDE);
    try {
      if (!this.#targetExists) this.#makeParents(dirname(full));
      // Inside an existing target: it may be a mounted volume, and a rename must not leave its file system.
      this.temporary = temporaryName(this.#targetExists ? join(full, INSIDE) : full);
      attempt(target, () => mkdirSync(this.temporary));
    } catch (error) {
      this.#removeMadeParents();
      throw error;
    }
  }

  #makeParents(folder: string): void {
    const missing: string[] = [];
    for (let at = folder; !existsSync(at); at = dirname(at)) missing.unshift(at);
    attempt(this.target, () => {
      for (const made of missing) {
        try {
          mkdirSync(made);
          this.#madeParents.push(made);
        } catch (error) {
          // Another run made it in the meantime: as good.
          if (errorCode(error) !== "EEXIST") throw error;
        }
      }
    });
  }

  #removeMadeParents(): void {
    for (const made of this.#madeParents.reverse()) {
      try {
        rmdirSync(made);
      } catch {
        return; // Someone else's file is in there now.
      }
    }
  }

  /** Makes a folder inside the temporary one and returns its path; "" is the temporary folder itself. */
  folder(name: string): string {
    const path = join(this.temporary, name);
    if (name !== "") attempt(join(this.target, name), () => mkdirSync(path, { recursive: true }));
    return path;
  }

  commit(): void {
    attempt(this.target, () => {
      const target = resolve(this.target);
      if (!this.#targetExists) {
        try {
          renameSync(this.temporary, target);
          return;
        } catch (error) {
          // Another run finished first: put our files over its.
          const code = errorCode(error);
          if (code !== "ENOTEMPTY" && code !== "EEXIST") throw error;
        }
      }
      moveInto(this.temporary, target);
      rmdirSync(this.temporary);
    });
  }

  abort(): void {
    try {
      rmSync(this.temporary, { recursive: true, force: true, maxRetries: 3 });
    } catch {
      // Nothing more can be done, and the failure that led here is the one to report.
    }
    this.#removeMadeParents();
  }
}

/** Renames every entry of `from` over its namesake in `to`; summary.json last, as the sign that the rest is in place. */
function moveInto(from: string, to: string): void {
  const names = readdirSync(from).sort((a, b) => Number(a === "summary.json") - Number(b === "summary.json"));
  for (const name of names) {
    const source = join(from, name);
    const destination = join(to, name);
    if (statSync(source).isDirectory() && existsSync(destination)) {
      moveInto(source, destination);
      rmdirSync(source);
    } else {
      renameSync(source, destination);
    }
  }
}

/**
 * Removes the entries of a run's folder that `goes` names, and with `whole` the folder if nothing else is in it; summary.json first, for
 * without it there is no run. Returns the names.
 */
export function removeRunFiles(folder: string, goes: (name: string) => boolean, whole: boolean): string[] {
  return attempt(folder, () => {
    const names = readdirSync(folder).filter(goes);
    for (const name of names.sort((a, b) => Number(b === "summary.json") - Number(a === "summary.json")))
      rmSync(join(folder, name), { recursive: true, force: true });
    if (!whole) return names;
    try {
      rmdirSync(folder);
    } catch (error) {
      if (errorCode(error) !== "ENOTEMPTY" && errorCode(error) !== "EEXIST") throw error;
    }
    return names;
  });
}

/** Writes one file, which appears when it is complete. */
export function writeFileWhole(path: string, content: string | Uint8Array): void {
  removeAbandoned(dirname(path), basename(path));
  const temporary = temporaryName(path);
  try {
    writeFileSync(temporary, content);
    renameSync(temporary, path);
  } catch (error) {
    try {
      rmSync(temporary, { force: true });
    } catch {
      // Where it cannot be removed it was not made; the failure that led here is the one to report.
    }
    throw cannotWrite(path, error);
  }
}

const CHUNK_CHARS = 1 << 16;

/**
 * Text written to a descriptor in chunks, synchronously: the simulation waits for the disk, so memory stays at one
 * chunk however long the series is, and a full disk is an exception at once.
 */
export class ChunkedWriter {
  readonly #fd: number;
  readonly #label: string;
  #pending = "";

  /** `label` is the final path, which is what a message must name. */
  constructor(fd: number, label: string) {
    this.#fd = fd;
    this.#label = label;
  }

  write(text: string): void {
    this.#pending += text;
    if (this.#pending.length >= CHUNK_CHARS) this.flush();
  }

  flush(): void {
    const bytes = Buffer.from(this.#pending, "utf8");
    this.#pending = "";
    attempt(this.#label, () => {
      for (let done = 0; done < bytes.length; ) done += writeSync(this.#fd, bytes, done);
    });
  }
}
