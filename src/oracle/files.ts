/**
 * The files a container reads on the real side (`container.page_cache`), in a temporary folder, and the process that reads them (go/files.go).
 *
 * The files are holes from end to end: the kernel makes a cached page of zeros of each page read, charges and reclaims it like
 * one that came from the disk, and no disk space or transfer is needed. They must lie on a disk file system all the same: what is
 * read on a tmpfs is not page cache. Their caches begin empty, since nobody has read them.
 *
 * Where it is not what a program does: nothing is written, so no page is dirty; no read waits for a disk; and the kernel is asked not to
 * read ahead, because how far it does is the machine's setting. What that leaves out, measured on Linux 6.18 with page-cache-pod in 256 MiB: with data
 * on the disk (ext4) working set and hits are 140 MiB and 337 k, with a log that is written, not read, 141 MiB and 335 k; with holes 140 MiB
 * and 338 to 339 k. Read ahead with a window of 8 MiB, madv-free reached its limit 0.4 s earlier.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, statfsSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Writable } from "node:stream";
import * as z from "zod";
import type { ContainerSettings } from "../scenario/schema.ts";
import { GoError } from "./build.ts";

/** f_type of file systems in memory: tmpfs and ramfs. */
const IN_MEMORY = new Set([0x01021994, 0x858458f6]);

/** Of a load that reads each byte once, what is read in whole pages at the last tick may go beyond. */
const SLACK_BYTES = 1 << 20;

const report = z.object({ bytes: z.number(), hits: z.number().nullable() });

export interface FilesRead {
  readonly bytes: number;
  /** Random pages that were cached when they were asked for; undefined without such, and before Linux 6.5, which does not say. */
  readonly hits?: number;
}

/** A folder for temporary files on a disk: what is in memory counts otherwise. */
export function diskFolder(candidates: readonly string[] = [tmpdir(), "/var/tmp"]): string {
  for (const folder of candidates) {
    try {
      if (!IN_MEMORY.has(statfsSync(folder).type)) return folder;
    } catch {
      // Not there, or not for us.
    }
  }
  throw new GoError(
    `no place for the files that the scenario's \`page_cache\` reads: ${candidates.join(" and ")} are not on a disk; set TMPDIR to a folder that is`,
  );
}

export class FileReader {
  readonly #folder: string;
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  readonly #exit: () => void;
  #out = "";
  #err = "";

  /** Makes the files and starts the reader, outside any group; `ready` says when it may be moved and begun. */
  constructor(binary: string, loads: ContainerSettings["page_cache"], durationNs: number, seed: number) {
    const parent = diskFolder();
    try {
      this.#folder = mkdtempSync(join(parent, "gomemsim-files-"));
    } catch (error) {
      throw cannotMake(parent, error);
    }
    // However this process ends by itself.
    this.#exit = () => rmSync(this.#folder, { recursive: true, force: true });
    process.once("exit", this.#exit);
    const list = loads.map((load, i) => {
      const path = `${i}`;
      const stop = Math.min(load.stop ?? durationNs, durationNs);
      const size = load.file ?? Math.ceil(((stop - load.start) * load.rate) / 1e9) + SLACK_BYTES;
      return { path, size: Math.ceil(size / PAGE_BYTES) * PAGE_BYTES, load, stop };
    });
    try {
      for (const { path, size } of list) {
        writeFileSync(join(this.#folder, path), "");
        truncateSync(join(this.#folder, path), size);
      }
    } catch (error) {
      this.#forget();
      throw cannotMake(parent, error);
    }
    this.#child = spawn(binary, [], {
      cwd: this.#folder,
      // Its heap is some 100 KiB; a collection would only touch memory in the group.
      env: { GOGC: "off" },
      stdio: ["pipe", "pipe", "pipe", "pipe"],
    });
    this.#child.stdout!.on("data", (chunk: Buffer) => {
      this.#out += chunk.toString("utf8");
    });
    this.#child.stderr!.on("data", (chunk: Buffer) => {
      this.#err += chunk.toString("utf8");
    });
    for (const stream of [this.#child.stdin!, this.#control]) stream.on("error", () => {}); // It ended: its message tells.
    this.#ended = new Promise((resolve) => {
      this.#child.once("error", (error) => {
        this.#err += error.message;
        resolve();
      });
      this.#child.once("close", () => resolve());
    });
    this.#child.stdin!.end(
      JSON.stringify({
        mode: "files",
        seed,
        loads: list.map(({ path, load: { file, rate, start }, stop }) => ({ path, file, rate, start, stop })),
      }),
    );
  }

  get #control(): Writable {
    return this.#child.stdio[3] as Writable;
  }

  /** The reader has its memory and its files. Its process number, to move it. */
  async ready(): Promise<number> {
    const { pid } = this.#child;
    let over = false;
    void this.#ended.then(() => {
      over = true;
    });
    while (!this.#out.startsWith("ready\n")) {
      if (over) throw this.#failed();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return pid!;
  }

  /** The run begins. */
  begin(): void {
    this.#control.write("g");
  }

  /** The run is over: what has been read. */
  async end(): Promise<FilesRead> {
    this.#control.end();
    await this.#ended;
    const lines = this.#out.split("\n");
    const parsed = lines.length > 2 ? report.safeParse(JSON.parse(lines[1])) : undefined;
    if (parsed?.success !== true) throw this.#failed();
    const { bytes, hits } = parsed.data;
    return hits === null ? { bytes } : { bytes, hits };
  }

  /** Ends the reader if it still runs, and removes the files. */
  async remove(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
    this.#forget();
  }

  #forget(): void {
    process.off("exit", this.#exit);
    this.#exit();
  }

  #failed(): GoError {
    return new GoError(
      `the files of \`page_cache\` could not be read: ${this.#err.trim() || "the reader ended"}`,
    );
  }
}

const PAGE_BYTES = 4096;

function cannotMake(folder: string, error: unknown): GoError {
  const reason = error instanceof Error ? error.message : String(error);
  return new GoError(
    `the files that the scenario's \`page_cache\` reads cannot be made in ${folder}: ${reason}`,
    {
      cause: error,
    },
  );
}
