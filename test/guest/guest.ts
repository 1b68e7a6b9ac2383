/**
 * A machine to try things on that this one is not: another kernel, in QEMU, emulated instruction by instruction.
 *
 * With `-icount shift=0` the guest's clock counts its instructions, one to the nanosecond, and jumps over the time in which it has nothing to do.
 * So it is a machine of its own with a steady speed, whatever else this one does. It has one CPU: with two, QEMU runs one after the other and
 * the clock counts both, and kernels do not even get through their start (whoever waits for the other CPU waits for its own slice to end).
 * Memory, faults, reclaim, throttling and pressure are the kernel's and as good as on a real machine. CPU times are of a machine without
 * caches: every instruction costs the same.
 *
 * The guest has no disk: kernel and initramfs, which holds init.go and the Go programs to run, nothing else. Jobs go in and answers come out by the
 * second serial line, which is QEMU's standard input and output.
 */
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { z } from "zod";
import { GoError } from "../../src/oracle/build.ts";
import type { Provenance } from "../../src/oracle/recording.ts";

/** What init.go is told to do; see there. */
export interface Job {
  readonly program: string;
  readonly env: readonly string[];
  readonly input: string;
  readonly write?: Readonly<Record<string, string>>;
  readonly group?: Readonly<Record<string, string>>;
  readonly limits?: Readonly<Record<string, number>>;
  readonly read?: readonly string[];
  readonly huge?: boolean;
  readonly neighbours?: unknown;
  readonly files?: unknown;
}

const texts = z.record(z.string(), z.string());
const answer = z.object({
  error: z.string().optional(),
  stdout: z.string(),
  stderr: z.string(),
  killed: z.boolean(),
  status: z.number(),
  seconds: z.number(),
  samples: z.array(texts).nullable(),
  end: texts.nullable(),
});
export type Answer = z.output<typeof answer>;

interface Architecture {
  readonly qemu: string;
  readonly machine: readonly string[];
  readonly console: string;
  readonly line: string;
}

/** By GOARCH. The first serial line is the console, the second one ours. */
const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  amd64: {
    qemu: "qemu-system-x86_64",
    // A clock that can be read without a call of the kernel's, as on real machines: the emulated one is steady.
    machine: ["-machine", "q35", "-cpu", "max"],
    console: "console=ttyS0 tsc=reliable",
    line: "/dev/ttyS1",
  },
  ppc64le: {
    qemu: "qemu-system-ppc64",
    machine: ["-machine", "pseries", "-cpu", "power9"],
    console: "console=hvc0",
    line: "/dev/hvc1",
  },
};

export interface GuestOptions {
  readonly kernel: string;
  readonly goarch: string;
  readonly go: string;
  /** Go programs, by their names in the guest. */
  readonly programs: Readonly<Record<string, string>>;
  /** Other files, by their names in the guest. */
  readonly files?: Readonly<Record<string, string>>;
  /** As QEMU has it; 2G by default. */
  readonly memory?: string;
  /** Where the console's text goes. */
  readonly log: string;
}

/** An archive as the kernel unpacks it at its start (cpio, "newc"): programs only. */
function initramfs(files: Readonly<Record<string, Buffer>>): Buffer {
  const parts: Buffer[] = [];
  const pad = (bytes: number) => Buffer.alloc((4 - (bytes % 4)) % 4);
  const entry = (name: string, mode: number, data: Buffer, inode: number): void => {
    const head = [inode, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length + 1, 0];
    const header = `070701${head.map((n) => n.toString(16).padStart(8, "0")).join("")}${name}\0`;
    parts.push(Buffer.from(header, "latin1"), pad(header.length), data, pad(data.length));
  };
  const none = Buffer.alloc(0);
  ["dev", "proc", "sys", "tmp"].forEach((name, i) => {
    entry(name, 0o040755, none, i + 1);
  });
  Object.entries(files).forEach(([name, data], i) => {
    entry(name, 0o100755, data, i + 16);
  });
  entry("TRAILER!!!", 0, none, 0);
  return Buffer.concat(parts);
}

export class Guest {
  /** What the guest says of itself: /proc/version and the like. */
  about: Readonly<Record<string, string>> = {};
  /** "QEMU emulator version 7.2.22" */
  readonly emulator: string;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly #log: string;

  private constructor(options: GuestOptions) {
    const { qemu, machine, console, line } = ARCHITECTURES[options.goarch];
    this.#log = options.log;
    this.emulator = execFileSync(qemu, ["--version"], { encoding: "utf8" }).split(/ \(|\n/)[0];
    const folder = mkdtempSync(join(tmpdir(), "gomemsim-guest-"));
    try {
      const init = join(folder, "init");
      execFileSync(options.go, ["build", "-trimpath", "-o", init, "init.go", "neighbour.go"], {
        cwd: import.meta.dirname,
        env: { ...process.env, ...goEnvironment(options.goarch) },
        stdio: ["ignore", "inherit", "inherit"],
      });
      const files: Record<string, Buffer> = { init: readFileSync(init) };
      for (const [name, path] of Object.entries({ ...options.programs, ...options.files }))
        files[name] = readFileSync(path);
      writeFileSync(join(folder, "initramfs"), initramfs(files));
      const command = [
        ...[qemu, ...machine, "-accel", "tcg", "-icount", "shift=0,sleep=off"],
        ...["-smp", "1", "-m", options.memory ?? "2G", "-nodefaults", "-display", "none", "-no-reboot"],
        ...[
          "-serial",
          `file:${options.log}`,
          "-chardev",
          "stdio,id=jobs,signal=off",
          "-serial",
          "chardev:jobs",
        ],
        ...["-kernel", options.kernel, "-initrd", join(folder, "initramfs")],
        ...[
          "-append",
          `${console} quiet panic=-1 psi=1 transparent_hugepage=madvise LINE=${line} GOMAXPROCS=1`,
        ],
      ];
      this.#child = spawn("nice", command, { stdio: ["pipe", "pipe", "pipe"] });
    } catch (error) {
      rmSync(folder, { recursive: true });
      throw error;
    }
    this.#child.stderr.on("data", (text: Buffer) => process.stderr.write(text));
    this.#child.stdin.on("error", () => {}); // It ended: the answer that does not come tells.
    this.#child.once("exit", () => rmSync(folder, { recursive: true }));
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  static async boot(options: GuestOptions): Promise<Guest> {
    const guest = new Guest(options);
    guest.about = texts.parse(JSON.parse(await guest.#answer()));
    return guest;
  }

  async play(job: Job): Promise<Answer> {
    this.#child.stdin.write(`${JSON.stringify(job)}\n`);
    const played = answer.parse(JSON.parse(await this.#answer()));
    if (played.error !== undefined) throw new GoError(`the guest cannot play the scenario: ${played.error}`);
    return played;
  }

  async powerOff(): Promise<void> {
    const over = new Promise((resolve) => this.#child.once("close", resolve));
    this.#child.stdin.end("{}\n");
    if (this.#child.exitCode === null) await over;
  }

  async #answer(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new GoError(`the guest ended; its console is ${this.#log}`);
    return value;
  }
}

export const goEnvironment = (goarch: string): Record<string, string> => ({
  GOOS: "linux",
  GOARCH: goarch,
  CGO_ENABLED: "0",
  GOWORK: "off",
  GO111MODULE: "auto",
});

/** The guest's provenance: what it emulates, by its own words. */
export function provenanceOf(guest: Guest, arch: string, goVersion: string, command: string): Provenance {
  const { version } = guest.about;
  return {
    go_version: goVersion,
    cpu: `${guest.emulator}, ${arch}, 1 instruction per ns, pages of ${guest.about["page_size"]} bytes`,
    cpus: 1,
    kernel: `Linux ${/version (\S+)/.exec(version)?.[1]} (${/#.* (\S+ \S+) \(/.exec(version)?.[1]})`,
    scheduling: "real-time",
    date: new Date().toISOString().slice(0, 10),
    command,
  };
}
