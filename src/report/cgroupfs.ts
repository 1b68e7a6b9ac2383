/**
 * What the kernel shows of the container's control group: memory.current, memory.stat and so on for cgroup v2, memory.usage_in_bytes and
 * its kind for v1.
 *
 * Follows mm/memcontrol.c, mm/memcontrol-v1.c, kernel/sched/core.c and kernel/sched/psi.c of Linux 6.x: the same keys in the same order,
 * less those of which the model knows nothing (anonymous memory by list, user and system time apart, most event counters).
 *
 * The averages of memory.pressure are psi.c's, from what the group has waited in each period of two seconds (os/psi.ts).
 */
import type { ContainerRun } from "../container.ts";
import { OS_PAGE_BYTES } from "../os/os.ts";
import type { ProcessView } from "../simulate.ts";
import { processCpuSeconds } from "./prometheus.ts";

/** PSI_FREQ: how often averages are brought up to date. */
const PSI_PERIOD_NS = 2e9;
/** 1/exp(2s/10s), 1/exp(2s/60s) and 1/exp(2s/300s) with eleven fractional bits (EXP_10s, EXP_60s, EXP_300s). */
const PSI_DECAYS = [1677, 1981, 2034] as const;
const FIXED_1 = 1 << 11;

/** Keeps memory.pressure's averages; to be shown the container from time to time, more often than every two seconds. */
export class PressureAverages {
  readonly #some = new Averages();
  readonly #full = new Averages();
  #periodEndNs = PSI_PERIOD_NS;
  #lastNs = 0;

  sample(nowNs: number, { cgroup: { pressure } }: ContainerRun): void {
    // A new group counts from nothing.
    this.#some.seen(pressure.someNs);
    this.#full.seen(pressure.fullNs);
    if (nowNs < this.#periodEndNs) return;
    const periods = Math.max(1, Math.floor((nowNs - this.#lastNs) / PSI_PERIOD_NS));
    const ns = Math.max(1, nowNs - this.#lastNs);
    this.#some.update(pressure.someNs, ns, periods);
    this.#full.update(pressure.fullNs, ns, periods);
    this.#lastNs = nowNs;
    this.#periodEndNs = (Math.floor(nowNs / PSI_PERIOD_NS) + 1) * PSI_PERIOD_NS;
  }

  /** psi_show. */
  text({ cgroup: { pressure } }: ContainerRun): string {
    return `some ${this.#some.text(pressure.someNs)}full ${this.#full.text(pressure.fullNs)}`;
  }
}

/** The averages of one line, over 10, 60 and 300 seconds. */
class Averages {
  /** In percent, with eleven fractional bits. */
  readonly #averages = [0, 0, 0];
  #lastNs = 0;

  seen(stalledNs: number): void {
    if (stalledNs < this.#lastNs) this.#lastNs = 0;
  }

  update(stalledNs: number, ns: number, periods: number): void {
    const share = Math.min(1, (stalledNs - this.#lastNs) / ns);
    const active = Math.floor(share * 100) * FIXED_1;
    for (let i = 0; i < this.#averages.length; i++)
      for (let n = 0; n < periods; n++)
        this.#averages[i] = calcLoad(this.#averages[i], PSI_DECAYS[i], active);
    this.#lastNs = stalledNs;
  }

  text(stalledNs: number): string {
    const [ten, sixty, threeHundred] = this.#averages.map((average) => (average / FIXED_1).toFixed(2));
    return `avg10=${ten} avg60=${sixty} avg300=${threeHundred} total=${Math.floor(stalledNs / 1e3)}\n`;
  }
}

/** calc_load: an exponentially decaying average, rounded up while it rises. */
function calcLoad(load: number, decay: number, active: number): number {
  const next = load * decay + active * (FIXED_1 - decay) + (active >= load ? FIXED_1 - 1 : 0);
  return Math.floor(next / FIXED_1);
}

type Keys = readonly (readonly [key: string, value: number | string])[];

const flat = (keys: Keys): string => keys.map(([key, value]) => `${key} ${value}\n`).join("");
const orMax = (pages: number): string =>
  pages === Number.POSITIVE_INFINITY ? "max\n" : `${pages * OS_PAGE_BYTES}\n`;
/** PAGE_COUNTER_MAX of v1, in bytes: no limit. */
const V1_NO_LIMIT = "9223372036854771712";

/** Every file by its name; the names depend on the container's settings alone. */
export function cgroupFiles(
  view: ProcessView,
  container: ContainerRun,
  pressure: PressureAverages,
): Readonly<Record<string, string>> {
  return container.settings.cgroup === "v1" ? v1Files(view, container) : v2Files(view, container, pressure);
}

function v2Files(
  view: ProcessView,
  container: ContainerRun,
  pressure: PressureAverages,
): Readonly<Record<string, string>> {
  const { cgroup, bandwidth } = container;
  const stat = cgroup.stat();
  const { events } = cgroup;
  const usageUsec = Math.floor(bandwidth === null ? processCpuSeconds(view) * 1e6 : bandwidth.usageNs / 1e3);
  return {
    "cgroup/memory.current": `${cgroup.currentBytes}\n`,
    "cgroup/memory.peak": `${cgroup.peakPages * OS_PAGE_BYTES}\n`,
    "cgroup/memory.min": `${cgroup.minPages * OS_PAGE_BYTES}\n`,
    "cgroup/memory.low": `${cgroup.lowPages * OS_PAGE_BYTES}\n`,
    "cgroup/memory.high": orMax(cgroup.highPages),
    "cgroup/memory.max": orMax(cgroup.maxPages),
    "cgroup/memory.swap.current": "0\n",
    "cgroup/memory.events": flat([
      ["low", events.low],
      ["high", events.high],
      ["max", events.max],
      ["oom", events.oom],
      ["oom_kill", events.oom_kill],
      ["oom_group_kill", 0],
    ]),
    "cgroup/memory.stat": flat([
      ["anon", stat.anon],
      ["file", stat.file],
      ["kernel", stat.kernel],
      ["kernel_stack", stat.kernel_stack],
      ["pagetables", stat.pagetables],
      ["shmem", 0],
      ["file_mapped", cgroup.mappedFileBytes],
      ["file_dirty", 0],
      ["file_writeback", 0],
      ["swapcached", 0],
      ["anon_thp", view.memory.anonHugePagesBytes()],
      ["inactive_file", stat.inactive_file],
      ["active_file", stat.active_file],
      ["unevictable", 0],
      ["slab", stat.slab],
      ["pgfault", view.memory.faults],
    ]),
    "cgroup/memory.pressure": pressure.text(container),
    "cgroup/cpu.max":
      bandwidth === null
        ? "max 100000\n"
        : `${Math.round(bandwidth.quotaNs / 1e3)} ${Math.round(bandwidth.periodNs / 1e3)}\n`,
    "cgroup/cpu.stat": flat([
      ["usage_usec", usageUsec],
      ["nr_periods", bandwidth?.nrPeriods ?? 0],
      ["nr_throttled", bandwidth?.nrThrottled ?? 0],
      ["throttled_usec", Math.floor((bandwidth?.throttledNs ?? 0) / 1e3)],
      ["nr_bursts", 0],
      ["burst_usec", 0],
    ]),
  };
}

function v1Files(view: ProcessView, container: ContainerRun): Readonly<Record<string, string>> {
  const { cgroup, bandwidth } = container;
  const stat = cgroup.stat();
  const limit = cgroup.maxPages === Number.POSITIVE_INFINITY ? V1_NO_LIMIT : cgroup.maxPages * OS_PAGE_BYTES;
  const own: Keys = [
    ["cache", stat.file],
    ["rss", stat.anon],
    ["rss_huge", view.memory.anonHugePagesBytes()],
    ["shmem", 0],
    ["mapped_file", cgroup.mappedFileBytes],
    ["dirty", 0],
    ["writeback", 0],
    ["swap", 0],
    ["swapcached", 0],
    ["pgfault", view.memory.faults],
    ["inactive_file", stat.inactive_file],
    ["active_file", stat.active_file],
    ["unevictable", 0],
  ];
  const cpuNs = bandwidth === null ? processCpuSeconds(view) * 1e9 : bandwidth.usageNs;
  return {
    "cgroup/memory.usage_in_bytes": `${cgroup.currentBytes}\n`,
    "cgroup/memory.max_usage_in_bytes": `${cgroup.peakPages * OS_PAGE_BYTES}\n`,
    "cgroup/memory.limit_in_bytes": `${limit}\n`,
    "cgroup/memory.failcnt": `${cgroup.events.failcnt}\n`,
    "cgroup/memory.kmem.usage_in_bytes": `${stat.kernel}\n`,
    "cgroup/memory.oom_control": flat([
      ["oom_kill_disable", 0],
      ["under_oom", 0],
      ["oom_kill", cgroup.events.oom_kill],
    ]),
    "cgroup/memory.stat": flat([
      ...own,
      ["hierarchical_memory_limit", limit],
      ...own.map(([key, value]) => [`total_${key}`, value] as const),
    ]),
    "cgroup/cpu.cfs_quota_us": `${bandwidth === null ? -1 : Math.round(bandwidth.quotaNs / 1e3)}\n`,
    "cgroup/cpu.cfs_period_us": `${bandwidth === null ? 100_000 : Math.round(bandwidth.periodNs / 1e3)}\n`,
    "cgroup/cpu.stat": flat([
      ["nr_periods", bandwidth?.nrPeriods ?? 0],
      ["nr_throttled", bandwidth?.nrThrottled ?? 0],
      ["throttled_time", Math.floor(bandwidth?.throttledNs ?? 0)],
      ["nr_bursts", 0],
      ["burst_time", 0],
    ]),
    "cgroup/cpuacct.usage": `${Math.floor(cpuNs)}\n`,
  };
}
