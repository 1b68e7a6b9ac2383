/**
 * The container's part of a run: the control group's controllers for each life of the process, their columns and figures, and
 * what is kept of an OOM kill.
 *
 * A killed process is started again (container.restart) as the kubelet does: the first time at once, then after a back-off that
 * doubles with each kill up to a bound, and begins anew after a life long enough (kubelet's doBackOff and client-go's
 * flowcontrol.Backoff). Each life has a new control group, with an empty page cache and counters at zero; the run's own counts
 * go on. Limits changed while it runs (an in-place resize of a pod) hold for the lives that follow. Not modelled: the second or
 * so that the kubelet takes to notice and the container runtime to start.
 */

import { CfsBandwidth } from "./os/cfs.ts";
import { MemoryCgroup, type MemoryEvents, type MemoryStat } from "./os/cgroup.ts";
import { defaultMinFreeBytes, NodeMemory } from "./os/node.ts";
import { kernelStamp, oomBadness, oomLog, oomScore } from "./os/oom.ts";
import { OS_PAGE_BYTES } from "./os/os.ts";
import { PageCache } from "./os/pagecache.ts";
import type { CycleRecord } from "./runtime/mgc.ts";
import type { MemStats } from "./runtime/mstats.ts";
import { cpuLimit } from "./scenario/container.ts";
import type { ContainerLimits, ContainerSettings, Scenario } from "./scenario/schema.ts";
import { RandomStreams, type Rng } from "./sim/rng.ts";

/** What a process had when it was killed. */
export interface KilledMemory {
  readonly virtualBytes: number;
  readonly fileRssBytes: number;
  /** The highest resident set of its life. */
  readonly rssPeakBytes: number;
}

interface Column {
  readonly name: string;
  readonly unit: "seconds" | "bytes" | "count";
  readonly description: string;
}

/** Columns that a sample has in a container, after the process's own. */
export const CONTAINER_COLUMNS = [
  { name: "memory_current_bytes", unit: "bytes", description: "memory.current: everything charged." },
  {
    name: "memory_working_set_bytes",
    unit: "bytes",
    description: "memory.current - inactive_file, the figure of cAdvisor and kubectl top.",
  },
  {
    name: "memory_corrected_bytes",
    unit: "bytes",
    description:
      "max(0, current - shared - active_file) with shared = max(0, inactive_file - 0.3 * pages charged): current corrected for page cache.",
  },
  { name: "memory_anon_bytes", unit: "bytes", description: "memory.stat anon." },
  { name: "memory_file_bytes", unit: "bytes", description: "memory.stat file: page cache." },
  { name: "memory_inactive_file_bytes", unit: "bytes", description: "memory.stat inactive_file." },
  { name: "memory_active_file_bytes", unit: "bytes", description: "memory.stat active_file." },
  {
    name: "memory_kernel_bytes",
    unit: "bytes",
    description: "memory.stat kernel: the next two, and stacks.",
  },
  { name: "memory_pagetables_bytes", unit: "bytes", description: "memory.stat pagetables." },
  { name: "memory_slab_bytes", unit: "bytes", description: "memory.stat slab." },
  {
    name: "memory_events_high",
    unit: "count",
    description: "memory.events high, since the container's start.",
  },
  {
    name: "memory_events_max",
    unit: "count",
    description: "memory.events max, since the container's start.",
  },
  {
    name: "memory_failcnt",
    unit: "count",
    description: "memory.failcnt of cgroup v1, since the container's start.",
  },
  {
    name: "memory_pressure_some_seconds",
    unit: "seconds",
    description:
      "memory.pressure, some total (PSI): time in which at least one thread slept for memory.high or reclaimed.",
  },
  {
    name: "memory_pressure_full_seconds",
    unit: "seconds",
    description: "memory.pressure, full total: the part of it in which no other thread of the group ran.",
  },
  { name: "oom_kills", unit: "count", description: "OOM kills since the start of the run." },
  { name: "restarts", unit: "count", description: "Restarts since the start of the run." },
] as const satisfies readonly Column[];

/** Columns with a CPU quota. */
export const CPU_QUOTA_COLUMNS = [
  { name: "cpu_usage_seconds", unit: "seconds", description: "cpu.stat usage, since the container's start." },
  { name: "cpu_nr_periods", unit: "count", description: "cpu.stat nr_periods: periods in which it ran." },
  {
    name: "cpu_nr_throttled",
    unit: "count",
    description: "cpu.stat nr_throttled: periods it ran out of quota.",
  },
  {
    name: "cpu_throttled_seconds",
    unit: "seconds",
    description: "cpu.stat throttled_usec: time lost, summed over CPUs.",
  },
] as const satisfies readonly Column[];

/** Columns where the machine's memory may run short. */
export const NODE_COLUMNS = [
  {
    name: "memory_events_low",
    unit: "count",
    description: "memory.events low: reclaims for the machine from a usage within memory.low.",
  },
  { name: "node_free_bytes", unit: "bytes", description: "MemFree of the machine." },
  {
    name: "node_neighbours_anon_bytes",
    unit: "bytes",
    description: "What neighbours hold that reclaim cannot take.",
  },
  { name: "node_neighbours_file_bytes", unit: "bytes", description: "Page cache of neighbours." },
  {
    name: "node_pgsteal_kswapd_bytes",
    unit: "bytes",
    description: "/proc/vmstat pgsteal_kswapd, in bytes: what kswapd has reclaimed, of all groups.",
  },
  {
    name: "node_pgsteal_direct_bytes",
    unit: "bytes",
    description: "/proc/vmstat pgsteal_direct, in bytes: what allocations have reclaimed for themselves.",
  },
  {
    name: "node_neighbour_oom_kills",
    unit: "count",
    description: "Neighbours killed by the OOM killer since the start of the run.",
  },
] as const satisfies readonly Column[];

/** Columns where limits change. */
export const LIMIT_COLUMNS = [
  { name: "memory_max_bytes", unit: "bytes", description: "memory.max in force; empty without one." },
  { name: "memory_high_bytes", unit: "bytes", description: "memory.high in force; empty without one." },
  { name: "cpu_limit_cpus", unit: "count", description: "cpu.max in force, as CPUs; empty without one." },
] as const satisfies readonly Column[];

/** An OOM kill with the three clocks of an incident: the kernel's log, the collector's, and the last statistics. */
export interface OomIncident {
  readonly t_seconds: number;
  readonly process_start_seconds: number;
  /** Absent when the process is not started again within the run. */
  readonly restart_at_seconds?: number;
  /** What the OOM killer goes by. */
  readonly oom_badness_pages: number;
  /** What /proc/PID/oom_score would have shown. */
  readonly oom_score: number;
  /** The most that was resident in the life of the process (VmHWM). */
  readonly rss_hwm_bytes: number;
  readonly memory: {
    readonly current_bytes: number;
    readonly stat: MemoryStat;
    readonly events: MemoryEvents;
  };
  readonly kernel_log: readonly string[];
  /** The last collection that ended before the kill. */
  readonly last_cycle?: CycleRecord;
  readonly last_cycle_end_seconds?: number;
  /** The last sample before the kill. */
  readonly last_mem_stats?: Readonly<MemStats>;
  readonly last_mem_stats_seconds?: number;
}

/** Process numbers of the kernel's log: one per life. */
const FIRST_PID = 4242;

/** A share, where there is something to have a share of. */
const part = (name: string, of: number, whole: number): Record<string, number> =>
  whole > 0 ? { [name]: of / whole } : {};

/** The machine of a scenario whose memory may run short; null where it never does. */
function nodeMemory(
  { machine }: Scenario,
  { memory, oom_score_adj }: ContainerSettings,
  fileRssBytes: number,
): NodeMemory | null {
  const { neighbours } = machine;
  if (neighbours === undefined) return null;
  return new NodeMemory({
    memoryBytes: machine.memory,
    minFreeBytes: machine.min_free ?? defaultMinFreeBytes(machine.memory, machine.thp !== "never"),
    neighbours: {
      kernelBytes: neighbours.kernel,
      anonBytes: neighbours.anon,
      fileBytes: neighbours.file,
      readBytesPerSecond: neighbours.reads,
      oomScoreAdj: neighbours.oom_score_adj,
    },
    process: { fileRssBytes, oomScoreAdj: oom_score_adj },
    sharedFileBytes: memory.binary === "charged" ? 0 : fileRssBytes,
  });
}

/** The machine's own columns, from `at` on. */
function fillNode(node: NodeMemory, row: Float64Array, at: number): void {
  row[at] = node.freePages * OS_PAGE_BYTES;
  row[at + 1] = node.neighbourAnonBytes;
  row[at + 2] = node.neighbourFileBytes;
  row[at + 3] = node.stealKswapdPages * OS_PAGE_BYTES;
  row[at + 4] = node.stealDirectPages * OS_PAGE_BYTES;
  row[at + 5] = node.neighbourOomKills;
}

export class ContainerRun {
  readonly settings: ContainerSettings;
  readonly incidents: OomIncident[] = [];
  cgroup!: MemoryCgroup;
  bandwidth: CfsBandwidth | null = null;
  /** The machine, where it may run short of memory. It outlives the processes. */
  readonly node: NodeMemory | null;
  restarts = 0;

  readonly #scenario: Scenario;
  readonly #binaryBytes: number;
  /** Which pages of its file a load reads, by load; the same stream for all lives. */
  readonly #fileRandom: readonly Rng[];
  /** The limits in force. */
  #maxBytes: number;
  #highBytes: number;
  #cpuLimit: number;
  /** The next wait before a restart; 0 for none yet. */
  #backoffNs = 0;
  #startNs = 0;
  #lastCycle: { readonly cycle: CycleRecord; readonly endNs: number } | null = null;
  #lastStats: { readonly stats: MemStats; readonly atNs: number } | null = null;
  /** Of the lives before this one. */
  #past: Record<string, number> = {};
  #currentSum = 0;
  #workingSetSum = 0;
  #samples = 0;
  #currentPeak = 0;
  #workingSetPeak = 0;
  /** Of the samples. */
  #nodeFreeMin = Number.POSITIVE_INFINITY;

  constructor(scenario: Scenario, settings: ContainerSettings, fileRssBytes: number, seed: string | number) {
    this.#scenario = scenario;
    const streams = new RandomStreams(seed);
    this.#fileRandom = settings.page_cache.map(({ name }) => streams.stream(`page-cache ${name}`));
    this.settings = settings;
    this.#maxBytes = settings.memory.max ?? Number.POSITIVE_INFINITY;
    this.#highBytes = settings.memory.high ?? Number.POSITIVE_INFINITY;
    this.#cpuLimit = cpuLimit(settings);
    this.#binaryBytes = settings.memory.binary === "charged" ? fileRssBytes : 0;
    this.node = nodeMemory(scenario, settings, fileRssBytes);
  }

  /** The container starts: a new group, and a process with so many threads in it. */
  start(nowNs: number, threads: number): void {
    const { settings } = this;
    this.#startNs = nowNs;
    this.#lastCycle = null;
    this.#lastStats = null;
    const pageCache = new PageCache(
      settings.page_cache.map((load, i) => ({
        bytesPerSecond: load.rate,
        again: load.file === undefined ? null : { fileBytes: load.file, random: this.#fileRandom[i] },
        startNs: load.start,
        stopNs: load.stop ?? Number.POSITIVE_INFINITY,
      })),
      nowNs,
    );
    this.cgroup = new MemoryCgroup({
      maxBytes: this.#maxBytes,
      highBytes: this.#highBytes,
      binaryBytes: this.#binaryBytes,
      pageCache,
      minBytes: settings.memory.min ?? 0,
      lowBytes: settings.memory.low ?? 0,
      node: this.node,
    });
    const { cpu } = settings;
    this.bandwidth =
      cpu === undefined
        ? null
        : new CfsBandwidth(this.#cpuLimit * cpu.period, cpu.period, nowNs, this.#scenario.machine.cpus);
    this.cgroup.processStarted(threads);
  }

  /** memory.max as it is now; Infinity for none. */
  get maxBytes(): number {
    return this.#maxBytes;
  }

  /** memory.high as it is now; Infinity for none. */
  get highBytes(): number {
    return this.#highBytes;
  }

  /** cpu.max as CPUs, as it is now. */
  get cpuLimit(): number {
    return this.#cpuLimit;
  }

  /**
   * The limits change in place; the scheduler gives the new quota to `setQuota`. Between two lives there is nothing charged that
   * could stand against them. Returns what became of it, in words.
   */
  resize(limits: ContainerLimits, setQuota: (quotaNs: number) => void): string {
    const { cpu, cgroup: version } = this.settings;
    const lives = !this.cgroup.killed;
    const done: string[] = [];
    if (limits.cpu_limit !== undefined && cpu !== undefined) {
      this.#cpuLimit = limits.cpu_limit;
      if (lives) setQuota(limits.cpu_limit * cpu.period);
      done.push(`cpu_limit ${limits.cpu_limit}`);
    }
    if (limits.memory_high !== undefined) {
      this.#highBytes = limits.memory_high;
      if (lives) this.cgroup.resizeHigh(limits.memory_high);
      done.push(`memory_high ${limits.memory_high}`);
    }
    if (limits.memory_max !== undefined) {
      const taken = !lives || this.cgroup.resizeMax(limits.memory_max, version === "v1" ? 1 : 2);
      if (taken) this.#maxBytes = limits.memory_max;
      done.push(`memory_max ${limits.memory_max}${taken ? "" : " refused: EBUSY"}`);
    }
    return done.join(", ");
  }

  cycle(cycle: CycleRecord, nowNs: number): void {
    this.#lastCycle = { cycle, endNs: nowNs };
  }

  /** Appends this group's columns to a row, from `at` on. */
  fill(row: Float64Array, at: number): void {
    const { cgroup, bandwidth } = this;
    const stat = cgroup.stat();
    const current = cgroup.currentBytes;
    const shared = Math.max(0, stat.inactive_file - 0.3 * (stat.anon + stat.file));
    let i = at;
    row[i++] = current;
    row[i++] = cgroup.workingSetBytes;
    row[i++] = Math.max(0, current - shared - stat.active_file);
    row[i++] = stat.anon;
    row[i++] = stat.file;
    row[i++] = stat.inactive_file;
    row[i++] = stat.active_file;
    row[i++] = stat.kernel;
    row[i++] = stat.pagetables;
    row[i++] = stat.slab;
    row[i++] = cgroup.events.high;
    row[i++] = cgroup.events.max;
    row[i++] = cgroup.events.failcnt;
    row[i++] = cgroup.pressure.someNs / 1e9;
    row[i++] = cgroup.pressure.fullNs / 1e9;
    i = this.#counts(row, i);
    if (bandwidth !== null) {
      row[i++] = bandwidth.usageNs / 1e9;
      row[i++] = bandwidth.nrPeriods;
      row[i++] = bandwidth.nrThrottled;
      row[i++] = bandwidth.throttledNs / 1e9;
    }
    if (this.node !== null) {
      row[i++] = cgroup.events.low;
      fillNode(this.node, row, i);
    }
  }

  /** A sample is taken: what the run's figures and an incident need of it. */
  sampled(stats: MemStats, nowNs: number): void {
    const { cgroup } = this;
    const current = cgroup.currentBytes;
    this.#lastStats = { stats: { ...stats }, atNs: nowNs };
    this.#samples++;
    this.#currentSum += current;
    this.#workingSetSum += cgroup.workingSetBytes;
    this.#currentPeak = Math.max(this.#currentPeak, current);
    this.#workingSetPeak = Math.max(this.#workingSetPeak, cgroup.workingSetBytes);
    this.nodeSampled();
  }

  /** A sample is taken, whether or not a process runs. */
  nodeSampled(): void {
    if (this.node !== null)
      this.#nodeFreeMin = Math.min(this.#nodeFreeMin, this.node.freePages * OS_PAGE_BYTES);
  }

  /** A row while no process runs: everything of its and of its group's is without a value. The machine goes on. */
  fillDown(row: Float64Array, nowNs: number): void {
    row.fill(Number.NaN);
    row[0] = nowNs / 1e9;
    const quota = CPU_QUOTA_COLUMNS.length * Number(this.bandwidth !== null);
    const node = NODE_COLUMNS.length * Number(this.node !== null);
    this.#counts(row, row.length - quota - node - 2);
    // All but memory_events_low.
    if (this.node !== null) fillNode(this.node, row, row.length - node + 1);
  }

  #counts(row: Float64Array, at: number): number {
    row[at] = this.incidents.length;
    row[at + 1] = this.restarts;
    return at + 2;
  }

  /** The process has been killed. Returns when it starts again; Infinity for never. */
  killed(nowNs: number, memory: KilledMemory): number {
    const { cgroup, settings } = this;
    const oom = cgroup.oom!;
    this.node?.leave();
    const limitBytes = oom.node?.memoryBytes ?? this.#maxBytes;
    const victim = {
      pid: FIRST_PID + this.restarts,
      comm: this.#scenario.name,
      totalVmBytes: memory.virtualBytes,
      fileRssBytes: memory.fileRssBytes,
      oomScoreAdj: settings.oom_score_adj,
    };
    const path = `/gomemsim/${this.#scenario.name}${this.restarts === 0 ? "" : `-${this.restarts}`}`;
    const group = {
      version: settings.cgroup === "v1" ? 1 : 2,
      path,
      limitBytes,
      events: cgroup.events,
    } as const;
    const badness = oomBadness(
      oom.stat.anon + memory.fileRssBytes,
      oom.stat.pagetables,
      settings.oom_score_adj,
      limitBytes,
    );
    const restartNs = this.#nextStart(nowNs);
    const cycle = this.#lastCycle;
    const stats = this.#lastStats;
    this.incidents.push({
      t_seconds: nowNs / 1e9,
      process_start_seconds: this.#startNs / 1e9,
      ...(restartNs < this.#scenario.duration ? { restart_at_seconds: restartNs / 1e9 } : {}),
      oom_badness_pages: badness,
      oom_score: oomScore(
        oom.stat.anon + memory.fileRssBytes,
        oom.stat.pagetables,
        settings.oom_score_adj,
        this.#scenario.machine.memory,
      ),
      rss_hwm_bytes: memory.rssPeakBytes,
      memory: { current_bytes: oom.usageBytes, stat: oom.stat, events: { ...cgroup.events } },
      kernel_log: oomLog(oom, group, victim).map((line) => `${kernelStamp(nowNs / 1e9)} ${line}`),
      ...(cycle === null ? {} : { last_cycle: cycle.cycle, last_cycle_end_seconds: cycle.endNs / 1e9 }),
      ...(stats === null ? {} : { last_mem_stats: stats.stats, last_mem_stats_seconds: stats.atNs / 1e9 }),
    });
    this.#past = this.#counters();
    return restartNs;
  }

  #nextStart(nowNs: number): number {
    const { policy, backoff, max_backoff, reset_after } = this.settings.restart;
    if (policy === "never") return Number.POSITIVE_INFINITY;
    if (nowNs - this.#startNs >= reset_after) this.#backoffNs = 0;
    const wait = this.#backoffNs;
    this.#backoffNs = wait === 0 ? backoff : Math.min(2 * wait, max_backoff);
    return nowNs + wait;
  }

  /** Counters over all lives. */
  #counters(): Record<string, number> {
    const { cgroup, bandwidth } = this;
    const past = (name: string): number => this.#past[name] ?? 0;
    this.#currentPeak = Math.max(this.#currentPeak, cgroup.peakPages * OS_PAGE_BYTES);
    const counters: Record<string, number> = {
      memory_events_high: past("memory_events_high") + cgroup.events.high,
      memory_events_max: past("memory_events_max") + cgroup.events.max,
      memory_high_throttled_seconds: past("memory_high_throttled_seconds") + cgroup.throttledNs / 1e9,
      memory_reclaim_cpu_seconds: past("memory_reclaim_cpu_seconds") + cgroup.reclaimNs / 1e9,
      memory_pressure_some_seconds: past("memory_pressure_some_seconds") + cgroup.pressure.someNs / 1e9,
      memory_pressure_full_seconds: past("memory_pressure_full_seconds") + cgroup.pressure.fullNs / 1e9,
    };
    if (this.settings.page_cache.length > 0) {
      const { hitPages, missedPages, reclaimedPages } = cgroup.pageCache;
      counters["page_cache_hit_pages"] = past("page_cache_hit_pages") + hitPages;
      counters["page_cache_missed_pages"] = past("page_cache_missed_pages") + missedPages;
      counters["page_cache_reclaimed_pages"] = past("page_cache_reclaimed_pages") + reclaimedPages;
    }
    if (this.node !== null) counters["memory_events_low"] = past("memory_events_low") + cgroup.events.low;
    if (bandwidth !== null) {
      counters["cpu_usage_seconds"] = past("cpu_usage_seconds") + bandwidth.usageNs / 1e9;
      counters["cpu_nr_periods"] = past("cpu_nr_periods") + bandwidth.nrPeriods;
      counters["cpu_nr_throttled"] = past("cpu_nr_throttled") + bandwidth.nrThrottled;
      counters["cpu_throttled_seconds"] = past("cpu_throttled_seconds") + bandwidth.throttledNs / 1e9;
    }
    return counters;
  }

  /** The run's figures. */
  figures(): Record<string, number> {
    const n = Math.max(1, this.#samples);
    const counters = this.cgroup.killed ? this.#past : this.#counters();
    const first = this.incidents[0];
    return {
      memory_current_mean_bytes: this.#currentSum / n,
      memory_current_peak_bytes: this.#currentPeak,
      memory_working_set_mean_bytes: this.#workingSetSum / n,
      memory_working_set_peak_bytes: this.#workingSetPeak,
      ...counters,
      ...part("cpu_throttled_periods_fraction", counters["cpu_nr_throttled"], counters["cpu_nr_periods"]),
      ...part(
        "page_cache_hit_fraction",
        counters["page_cache_hit_pages"],
        counters["page_cache_hit_pages"] + counters["page_cache_missed_pages"],
      ),
      oom_kills: this.incidents.length,
      restarts: this.restarts,
      ...(this.node === null
        ? {}
        : {
            node_free_min_bytes: this.#nodeFreeMin,
            node_pgsteal_kswapd_bytes: this.node.stealKswapdPages * OS_PAGE_BYTES,
            node_pgsteal_direct_bytes: this.node.stealDirectPages * OS_PAGE_BYTES,
            node_allocstall_count: this.node.allocStalls,
            node_neighbour_oom_kills: this.node.neighbourOomKills,
          }),
      ...(first === undefined ? {} : { first_oom_kill_seconds: first.t_seconds }),
    };
  }
}
