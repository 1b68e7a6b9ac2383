/**
 * The OOM killer of a memory cgroup: whom it chooses, and what it writes to the kernel's log.
 *
 * Follows mm/oom_kill.c (oom_badness, dump_header, dump_tasks, __oom_kill_process) and mm/memcontrol.c
 * (mem_cgroup_print_oom_meminfo) of Linux 6.18; the lines are those of a real kill of a Go program there, so that what reads real
 * logs reads these. The stack trace between the first line and the figures is left out: it says where in the kernel a
 * page fault is.
 *
 * Simplified: the group holds one process, which is the victim whatever its score; it dies at once.
 */
import type { MemoryEvents, OomState } from "./cgroup.ts";
import { OS_PAGE_BYTES } from "./os.ts";

export interface Victim {
  /** Of the host, as the kernel's log has it. */
  readonly pid: number;
  /** The task's name; the kernel keeps 15 characters. */
  readonly comm: string;
  readonly totalVmBytes: number;
  readonly fileRssBytes: number;
  readonly oomScoreAdj: number;
}

export interface OomGroup {
  readonly version: 1 | 2;
  readonly path: string;
  readonly limitBytes: number;
  readonly events: MemoryEvents;
}

const TASK_COMM_CHARS = 15;

/**
 * oom_badness in pages, by which a victim is chosen: resident memory and page tables, and `oom_score_adj` thousandths of all that may be had, which
 * is the limit where a control group is out of memory.
 */
export function oomBadness(
  residentBytes: number,
  tableBytes: number,
  adj: number,
  limitBytes: number,
): number {
  const points = Math.floor((residentBytes + tableBytes) / OS_PAGE_BYTES);
  return points + adj * Math.floor(Math.floor(limitBytes / OS_PAGE_BYTES) / 1000);
}

/**
 * /proc/PID/oom_score (proc_oom_score of fs/proc/base.c): badness against all memory of the machine, whatever limit the group has. A process that
 * has nothing scores 666 with an `oom_score_adj` of 0, one that has everything 1333.
 */
export function oomScore(
  residentBytes: number,
  tableBytes: number,
  adj: number,
  machineBytes: number,
): number {
  const badness = oomBadness(residentBytes, tableBytes, adj, machineBytes);
  const thousandths = Math.trunc((badness * 1000) / Math.floor(machineBytes / OS_PAGE_BYTES));
  return Math.floor(((1000 + thousandths) * 2) / 3);
}

const kB = (bytes: number): string => `${Math.floor(bytes / 1024)}kB`;
/** PAGE_COUNTER_MAX, which stands for no limit. */
const NO_LIMIT = "9007199254740988kB";

/** `[    7.123456] ` */
export function kernelStamp(seconds: number): string {
  return `[${seconds.toFixed(6).padStart(12)}]`;
}

/** The lines of the log, without time stamps. */
export function oomLog(state: OomState, group: OomGroup, victim: Victim): string[] {
  const { stat } = state;
  const comm = victim.comm.slice(0, TASK_COMM_CHARS);
  const adj = victim.oomScoreAdj;
  const pages = (bytes: number): string => String(Math.floor(bytes / OS_PAGE_BYTES));
  const v1 = group.version === 1;
  const stats: readonly (readonly [string, number])[] = v1
    ? [
        ["cache", stat.file],
        ["rss", stat.anon],
        ["inactive_file", stat.inactive_file],
        ["active_file", stat.active_file],
      ]
    : [
        ["anon", stat.anon],
        ["file", stat.file],
        ["kernel", stat.kernel],
        ["kernel_stack", stat.kernel_stack],
        ["pagetables", stat.pagetables],
        ["inactive_file", stat.inactive_file],
        ["active_file", stat.active_file],
        ["slab", stat.slab],
      ];
  const row = [
    `[${String(victim.pid).padStart(7)}]`,
    "0".padStart(5),
    String(victim.pid).padStart(5),
    pages(victim.totalVmBytes).padStart(8),
    pages(stat.anon + victim.fileRssBytes).padStart(8),
    pages(stat.anon).padStart(8),
    pages(victim.fileRssBytes).padStart(8),
    "0".padStart(9),
    String(stat.pagetables).padStart(8),
    "0".padStart(8),
    String(adj).padStart(13),
    comm,
  ];
  return [
    `${state.invoker ?? comm} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=${adj}`,
    `memory: usage ${kB(state.usageBytes)}, limit ${kB(group.limitBytes)}, failcnt ${group.events.failcnt}`,
    v1
      ? `memory+swap: usage ${kB(state.usageBytes)}, limit ${NO_LIMIT}, failcnt 0`
      : `swap: usage 0kB, limit ${NO_LIMIT}, failcnt 0`,
    ...(v1 ? [`kmem: usage ${kB(stat.kernel)}, limit ${NO_LIMIT}, failcnt 0`] : []),
    `Memory cgroup stats for ${group.path}:`,
    ...stats.map(([name, bytes]) => `${name} ${bytes}`),
    "Tasks state (memory values in pages):",
    "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name",
    row.join(" "),
    `oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=${group.path},` +
      `task_memcg=${group.path},task=${comm},pid=${victim.pid},uid=0`,
    `Memory cgroup out of memory: Killed process ${victim.pid} (${comm}) total-vm:${kB(victim.totalVmBytes)}, ` +
      `anon-rss:${kB(stat.anon)}, file-rss:${kB(victim.fileRssBytes)}, shmem-rss:0kB, UID:0 ` +
      `pgtables:${kB(stat.pagetables)} oom_score_adj:${adj}`,
  ];
}
