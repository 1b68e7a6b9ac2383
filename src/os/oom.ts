/**
 * The OOM killer of a memory cgroup, and of the machine (node.ts): whom it chooses, and what it writes to the kernel's log.
 *
 * Follows mm/oom_kill.c (oom_badness, dump_header, dump_tasks, __oom_kill_process) and mm/memcontrol.c
 * (mem_cgroup_print_oom_meminfo) of Linux 6.18; the lines are those of a real kill of a Go program there, so that what reads real
 * logs reads these. The stack trace between the first line and the figures is left out: it says where in the kernel a
 * page fault is.
 *
 * Where it is the machine that has nothing left, the log has the machine's memory in place of the group's (show_mem: the lines of
 * which the model knows something; all of it as its highest zone), both processes, and constraint=CONSTRAINT_NONE with global_oom;
 * the lines are those of such a kill on Linux 6.1 (test/guest/node.ts), the list of tasks has 6.18's columns.
 *
 * Simplified: the group holds one process, which is the victim of its limit whatever its score; it dies at once.
 */
import type { MemoryEvents, OomState } from "./cgroup.ts";
import type { NodeOom } from "./node.ts";
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
 * oom_badness in pages, by which a victim is chosen: resident memory and page tables, and `oom_score_adj` thousandths of all that
 * may be had, which is the limit where a control group is out of memory.
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
 * /proc/PID/oom_score (proc_oom_score of fs/proc/base.c): badness against all memory of the machine, whatever limit the group has.
 * A process that has nothing scores 666 with an `oom_score_adj` of 0, one that has everything 1333.
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
const pagesOf = (bytes: number): number => Math.floor(bytes / OS_PAGE_BYTES);
/** K(): what the kernel counts in pages. */
const kBOfPages = (bytes: number): string => kB(pagesOf(bytes) * OS_PAGE_BYTES);
/** PAGE_COUNTER_MAX, which stands for no limit. */
const NO_LIMIT = "9007199254740988kB";

/** `[    7.123456] ` */
export function kernelStamp(seconds: number): string {
  return `[${seconds.toFixed(6).padStart(12)}]`;
}

/** A process of which nothing is told but its numbers. */
const NEIGHBOUR_PID = 1042;
const NEIGHBOUR_COMM = "neighbour";

interface Task {
  readonly pid: number;
  readonly comm: string;
  readonly totalVmBytes: number;
  readonly anonBytes: number;
  readonly fileBytes: number;
  readonly tableBytes: number;
  readonly adj: number;
}

const pages = (bytes: number): string => String(pagesOf(bytes));

/** dump_tasks. */
const tasksState = (tasks: readonly Task[]): string[] => [
  "Tasks state (memory values in pages):",
  "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name",
  ...tasks.map((task) =>
    [
      `[${String(task.pid).padStart(7)}]`,
      "0".padStart(5),
      String(task.pid).padStart(5),
      pages(task.totalVmBytes).padStart(8),
      String(pagesOf(task.anonBytes) + pagesOf(task.fileBytes)).padStart(8),
      pages(task.anonBytes).padStart(8),
      pages(task.fileBytes).padStart(8),
      "0".padStart(9),
      String(task.tableBytes).padStart(8),
      "0".padStart(8),
      String(task.adj).padStart(13),
      task.comm,
    ].join(" "),
  ),
];

/** __oom_kill_process. */
const killed = (task: Task): string =>
  `Killed process ${task.pid} (${task.comm}) total-vm:${kBOfPages(task.totalVmBytes)}, ` +
  `anon-rss:${kBOfPages(task.anonBytes)}, file-rss:${kBOfPages(task.fileBytes)}, shmem-rss:0kB, UID:0 ` +
  `pgtables:${kB(task.tableBytes)} oom_score_adj:${task.adj}`;

/** The lines of the log, without time stamps. */
export function oomLog(state: OomState, group: OomGroup, victim: Victim): string[] {
  const { stat } = state;
  const task: Task = {
    pid: victim.pid,
    comm: victim.comm.slice(0, TASK_COMM_CHARS),
    totalVmBytes: victim.totalVmBytes,
    anonBytes: stat.anon,
    fileBytes: victim.fileRssBytes,
    tableBytes: stat.pagetables,
    adj: victim.oomScoreAdj,
  };
  return state.node === undefined ? groupLog(state, group, task) : nodeLog(state, state.node, group, task);
}

function groupLog(state: OomState, group: OomGroup, task: Task): string[] {
  const { stat } = state;
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
  return [
    `${state.invoker ?? task.comm} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=${task.adj}`,
    `memory: usage ${kB(state.usageBytes)}, limit ${kB(group.limitBytes)}, failcnt ${group.events.failcnt}`,
    v1
      ? `memory+swap: usage ${kB(state.usageBytes)}, limit ${NO_LIMIT}, failcnt 0`
      : `swap: usage 0kB, limit ${NO_LIMIT}, failcnt 0`,
    ...(v1 ? [`kmem: usage ${kB(stat.kernel)}, limit ${NO_LIMIT}, failcnt 0`] : []),
    `Memory cgroup stats for ${group.path}:`,
    ...stats.map(([name, bytes]) => `${name} ${bytes}`),
    ...tasksState([task]),
    `oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=${group.path},` +
      `task_memcg=${group.path},task=${task.comm},pid=${task.pid},uid=0`,
    `Memory cgroup out of memory: ${killed(task)}`,
  ];
}

function nodeLog({ stat }: OomState, node: NodeOom, group: OomGroup, task: Task): string[] {
  const { anonBytes, fileBytes, oomScoreAdj } = node.neighbours;
  const neighbour: Task = {
    pid: NEIGHBOUR_PID,
    comm: NEIGHBOUR_COMM,
    totalVmBytes: anonBytes,
    anonBytes,
    fileBytes: 0,
    tableBytes: 0,
    adj: oomScoreAdj,
  };
  const invoker = node.invoker === "process" ? task : neighbour;
  const mark = (of: number): string => kB(of * OS_PAGE_BYTES);
  const { minPages, lowPages, highPages } = node.marks;
  return [
    `${invoker.comm} invoked oom-killer: gfp_mask=0x140dca(GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO), order=0, oom_score_adj=${invoker.adj}`,
    "Mem-Info:",
    `active_anon:0 inactive_anon:${pages(stat.anon + anonBytes)} isolated_anon:0`,
    ` active_file:${pages(stat.active_file)} inactive_file:${pages(stat.inactive_file + fileBytes)} isolated_file:0`,
    ` free:${pages(node.freeBytes)} free_pcp:0 free_cma:0`,
    `Node 0 ${node.zone} free:${kB(node.freeBytes)} boost:0kB min:${mark(minPages)} low:${mark(lowPages)} high:${mark(highPages)} managed:${kB(node.memoryBytes)}`,
    `${pages(node.memoryBytes)} pages RAM`,
    ...tasksState(anonBytes > 0 ? [neighbour, task] : [task]),
    `oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=${group.path},task=${task.comm},pid=${task.pid},uid=0`,
    `Out of memory: ${killed(task)}`,
  ];
}
