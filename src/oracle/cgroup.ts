/**
 * A real control group for the Go program: made below the group this process is in, so that whatever limits that one still
 * holds, and removed afterwards.
 *
 * cgroup v1 takes a child anywhere one may write. v2 gives controllers to the children of a group without processes of its own
 * only (its "no internal processes" rule), so there a delegated group is needed, as `systemd-run --scope -p Delegate=yes` makes.
 * The program's shell enters the group before it becomes the program: memory is charged where it is first touched, and
 * charges do not move. This process stays outside and survives the kill. It also changes the limits while the program runs, where the scenario
 * says so.
 */
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { cpuLimit } from "../scenario/container.ts";
import type { ContainerLimits, ContainerSettings } from "../scenario/schema.ts";
import { GoError } from "./build.ts";

interface Controller {
  readonly version: 1 | 2;
  /** This process's own group. */
  readonly folder: string;
}

/** The controller's mount and this process's group in it, by /proc/self/mountinfo and /proc/self/cgroup. */
function findController(name: "memory" | "cpu"): Controller | undefined {
  let mounts: string;
  let groups: string;
  try {
    mounts = readFileSync("/proc/self/mountinfo", "utf8");
    groups = readFileSync("/proc/self/cgroup", "utf8");
  } catch {
    return undefined;
  }
  const own = new Map<string, string>();
  for (const line of groups.split("\n")) {
    const match = /^\d+:([^:]*):(.*)$/.exec(line);
    for (const controller of match?.[1].split(",") ?? []) own.set(controller, match![2]);
  }
  let v2: Controller | undefined;
  for (const line of mounts.split("\n")) {
    const [before, after] = line.split(" - ");
    const [type, , options] = (after ?? "").split(" ");
    const mount = before.split(" ")[4];
    if (type === "cgroup" && options.split(",").includes(name) && own.has(name))
      return { version: 1, folder: join(mount, own.get(name)!) };
    if (type !== "cgroup2" || !own.has("")) continue;
    const folder = join(mount, own.get("")!);
    try {
      if (readFileSync(join(folder, "cgroup.controllers"), "utf8").split(/\s+/).includes(name))
        v2 = { version: 2, folder };
    } catch {
      // Mounted, but this process's group is out of sight.
    }
  }
  return v2;
}

const MICROSECOND_NS = 1e3;

export interface CpuStat {
  readonly nrPeriods: number;
  readonly nrThrottled: number;
  readonly throttledNs: number;
}

/** Bytes. */
export interface GroupStat {
  readonly anon: number;
  readonly file: number;
  readonly inactiveFile: number;
  readonly activeFile: number;
}

/** memory.events and memory.pressure of v2, since the group was made. */
export interface GroupPressure {
  readonly eventsHigh: number;
  readonly someSeconds: number;
  readonly fullSeconds: number;
}

/** Of a file with a name and a number per line. */
export const valueIn = (text: string, name: string): number =>
  Number(new RegExp(`^${name} (\\d+)`, "m").exec(text)?.[1] ?? 0);

/** memory.stat, without the groups below, under v2's names. */
export function groupStat(text: string, version: 1 | 2): GroupStat {
  const v1 = version === 1;
  return {
    anon: valueIn(text, v1 ? "rss" : "anon"),
    file: valueIn(text, v1 ? "cache" : "file"),
    inactiveFile: valueIn(text, "inactive_file"),
    activeFile: valueIn(text, "active_file"),
  };
}

export function groupPressure(read: (file: string) => string): GroupPressure {
  const [some = Number.NaN, full = Number.NaN] = Array.from(
    read("memory.pressure").matchAll(/total=(\d+)/g),
    ([, us]) => (Number(us) * MICROSECOND_NS) / 1e9,
  );
  return { eventsHigh: valueIn(read("memory.events"), "high"), someSeconds: some, fullSeconds: full };
}

export function cpuStat(text: string, version: 1 | 2): CpuStat {
  return {
    nrPeriods: valueIn(text, "nr_periods"),
    nrThrottled: valueIn(text, "nr_throttled"),
    throttledNs:
      version === 1 ? valueIn(text, "throttled_time") : valueIn(text, "throttled_usec") * MICROSECOND_NS,
  };
}

export class ControlGroup {
  readonly #settings: ContainerSettings;
  /** The limits in force, without what the Go program needs beside the scenario; that is `#ownBytes`. */
  #max: number | undefined;
  #high: number | undefined;
  #ownBytes = 0;
  readonly #memory: string;
  readonly #version: 1 | 2;
  readonly #cpu: string | undefined;
  readonly #folders: string[] = [];

  /** Makes the group, or throws a GoError that says in one line why this machine cannot. */
  constructor(settings: ContainerSettings, name: string) {
    this.#settings = settings;
    this.#max = settings.memory.max;
    this.#high = settings.memory.high;
    if (settings.off_heap !== undefined)
      throw new GoError(
        "the real side takes no memory off the heap: a scenario with `off_heap` runs in the simulator only",
      );
    const memory = findController("memory");
    if (memory === undefined)
      throw new GoError("no real container: this machine has no memory control group");
    if (memory.version === 1 && settings.memory.high !== undefined)
      throw new GoError(
        "no real container: this machine's memory control group is v1, which has no memory.high",
      );
    this.#version = memory.version;
    try {
      this.#memory = this.#make(memory, name);
      const cpu = settings.cpu === undefined ? undefined : findController("cpu");
      if (settings.cpu !== undefined && cpu === undefined)
        throw new GoError("no real container: this machine has no CPU control group");
      if (cpu === undefined) this.#cpu = undefined;
      else this.#cpu = cpu.folder === memory.folder ? this.#memory : this.#make(cpu, name);
      if (settings.cpu !== undefined) this.#setCpu(cpuLimit(settings));
      this.raiseLimits(START_BYTES);
    } catch (error) {
      this.remove();
      if (error instanceof GoError) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      throw new GoError(`no real container: a control group cannot be made here (${reason})`, {
        cause: error,
      });
    }
  }

  #make(controller: Controller, name: string): string {
    if (controller.version === 2) {
      const held = readFileSync(join(controller.folder, "cgroup.subtree_control"), "utf8").split(/\s+/);
      if (!held.includes("memory") || (this.#settings.cpu !== undefined && !held.includes("cpu")))
        throw new GoError(
          "no real container: cgroup v2 gives this process's group no children with limits; start from a delegated one (systemd-run --scope -p Delegate=yes)",
        );
    }
    const folder = join(controller.folder, name);
    mkdirSync(folder);
    this.#folders.push(folder);
    return folder;
  }

  #setCpu(limit: number): void {
    const { cpu } = this.#settings;
    if (cpu === undefined || this.#cpu === undefined) return;
    const period = Math.round(cpu.period / MICROSECOND_NS);
    const quota = Math.round((limit * cpu.period) / MICROSECOND_NS);
    // Ahead of the machine's other work, as far as that is possible for threads under a quota (real-time ones have none).
    if (this.#version === 2) {
      this.#write(this.#cpu, "cpu.weight", 10_000);
      this.#write(this.#cpu, "cpu.max", `${quota} ${period}`);
    } else {
      this.#write(this.#cpu, "cpu.shares", 262_144);
      this.#write(this.#cpu, "cpu.cfs_period_us", period);
      this.#write(this.#cpu, "cpu.cfs_quota_us", quota);
    }
  }

  #write(folder: string, file: string, value: number | string): void {
    writeFileSync(join(folder, file), String(value));
  }

  #read(folder: string, file: string): string {
    return readFileSync(join(folder, file), "utf8");
  }

  /** The limits, raised by what the Go program needs beside the scenario (its records, outside the heap). */
  raiseLimits(byBytes: number): void {
    // Who writes memory.high drains the stocks of a group above it, and its next fault takes another batch and sleeps for that.
    if (byBytes === this.#ownBytes) return;
    this.#ownBytes = byBytes;
    this.#writeLimits();
  }

  #writeLimits(): void {
    if (this.#max !== undefined) this.#writeMax(this.#max);
    if (this.#high !== undefined) this.#write(this.#memory, "memory.high", this.#high + this.#ownBytes);
  }

  #writeMax(bytes: number): void {
    const file = this.#version === 1 ? "memory.limit_in_bytes" : "memory.max";
    this.#write(this.#memory, file, bytes + this.#ownBytes);
  }

  /** The scenario's operator changes limits. What v1 refuses (EBUSY) stays as it was; v2 kills. */
  resize(limits: ContainerLimits): void {
    if (limits.cpu_limit !== undefined) this.#setCpu(limits.cpu_limit);
    if (limits.memory_high !== undefined) {
      this.#high = limits.memory_high;
      this.#writeLimits();
    }
    if (limits.memory_max === undefined) return;
    try {
      this.#writeMax(limits.memory_max);
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "EBUSY") return;
      throw error;
    }
    this.#max = limits.memory_max;
  }

  /** A command line that enters the group and becomes `command`. */
  wrap(command: readonly [string, ...string[]]): readonly [string, ...string[]] {
    const enter = this.#folders.map((folder) => `echo $$ > '${join(folder, "cgroup.procs")}'`).join(" && ");
    return ["sh", "-c", `${enter} && exec "$@"`, "sh", ...command];
  }

  get currentBytes(): number {
    return Number(this.#read(this.#memory, this.#version === 1 ? "memory.usage_in_bytes" : "memory.current"));
  }

  get peakBytes(): number {
    return Number(
      this.#read(this.#memory, this.#version === 1 ? "memory.max_usage_in_bytes" : "memory.peak"),
    );
  }

  get stat(): GroupStat {
    return groupStat(this.#read(this.#memory, "memory.stat"), this.#version);
  }

  /** What v2 alone tells: how often memory.high was in the way, and for how long. */
  get pressure(): GroupPressure | undefined {
    if (this.#version === 1) return undefined;
    return groupPressure((file) => this.#read(this.#memory, file));
  }

  /** Moves a process into the group's memory controller. What it has been charged for stays where it was. */
  enter(pid: number): void {
    this.#write(this.#memory, "cgroup.procs", pid);
  }

  get oomKills(): number {
    const file = this.#version === 1 ? "memory.oom_control" : "memory.events";
    return valueIn(this.#read(this.#memory, file), "oom_kill");
  }

  get cpuStat(): CpuStat | undefined {
    if (this.#cpu === undefined) return undefined;
    return cpuStat(this.#read(this.#cpu, "cpu.stat"), this.#version);
  }

  /** The group is empty once its process is gone; the kernel may take a moment to see that. */
  remove(): void {
    for (const folder of this.#folders.splice(0).reverse()) {
      for (let attempt = 0; ; attempt++) {
        try {
          rmdirSync(folder);
          break;
        } catch (error) {
          if (attempt === 50) {
            const reason = error instanceof Error ? error.message : String(error);
            throw new GoError(
              `the control group ${folder} in ${dirname(folder)} could not be removed: ${reason}`,
            );
          }
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
        }
      }
    }
  }
}

/** Before the program has said how much it needs for itself: enough for any. */
const START_BYTES = 256 << 20;
