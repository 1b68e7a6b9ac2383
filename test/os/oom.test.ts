/** The OOM killer's log against lines that Linux 6.18 wrote when it killed a Go program. */
import { expect, test } from "vitest";
import { kernelStamp, oomBadness, oomLog, oomScore } from "../../src/os/oom.ts";

test("the lines are the kernel's", () => {
  const lines = oomLog(
    {
      usageBytes: 49152 << 10,
      stat: {
        anon: 48640 << 10,
        file: 0,
        kernel: 280 << 10,
        kernel_stack: 80 << 10,
        pagetables: 188416,
        slab: 16 << 10,
        inactive_file: 0,
        active_file: 0,
      },
    },
    {
      version: 1,
      path: "/group",
      limitBytes: 49152 << 10,
      events: { low: 0, high: 0, max: 18, oom: 1, oom_kill: 1, failcnt: 73 },
    },
    { pid: 14870, comm: "oomtest", totalVmBytes: 1292856 << 10, fileRssBytes: 1220 << 10, oomScoreAdj: 0 },
  );
  const real = [
    "oomtest invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
    "memory: usage 49152kB, limit 49152kB, failcnt 73",
    "memory+swap: usage 49152kB, limit 9007199254740988kB, failcnt 0",
    "kmem: usage 280kB, limit 9007199254740988kB, failcnt 0",
    "Memory cgroup stats for /group:",
    "Tasks state (memory values in pages):",
    "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name",
    "[  14870]     0 14870   323214    12465    12160      305         0   188416        0             0 oomtest",
    "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/group,task_memcg=/group,task=oomtest,pid=14870,uid=0",
    "Memory cgroup out of memory: Killed process 14870 (oomtest) total-vm:1292856kB, anon-rss:48640kB, file-rss:1220kB, shmem-rss:0kB, UID:0 pgtables:184kB oom_score_adj:0",
  ];
  for (const line of real) expect(lines).toContain(line);
  expect(lines).toContain("rss 49807360");
  expect(kernelStamp(23206.990146)).toBe("[23206.990146]");
  expect(kernelStamp(9.550689)).toBe("[    9.550689]");
});

test("what the kernel counts in pages is told in whole pages, in the table and in the last line", () => {
  const odd = 4096 * 10 + 3000;
  const lines = oomLog(
    {
      usageBytes: odd,
      stat: {
        anon: odd,
        file: 0,
        kernel: 0,
        kernel_stack: 0,
        pagetables: 4096,
        slab: 0,
        inactive_file: 0,
        active_file: 0,
      },
    },
    {
      version: 2,
      path: "/group",
      limitBytes: odd,
      events: { low: 0, high: 0, max: 0, oom: 1, oom_kill: 1, failcnt: 0 },
    },
    { pid: 7, comm: "p", totalVmBytes: odd * 2, fileRssBytes: odd, oomScoreAdj: 0 },
  );
  expect(lines.join("\n")).toMatch(/^\[ +7\] +0 +7 +21 +20 +10 +10 /m);
  expect(lines.join("\n")).toContain("total-vm:84kB, anon-rss:40kB, file-rss:40kB,");
});

test("badness counts resident pages and page tables, and adj in thousandths of the limit", () => {
  expect(oomBadness(100 * 4096, 2 * 4096, 0, 4096 * 10_000)).toBe(102);
  expect(oomBadness(100 * 4096, 2 * 4096, 500, 4096 * 10_000)).toBe(102 + 5000);
});

test("oom_score is badness against the machine's memory, two thirds of 1000 for nothing", () => {
  const machine = 10_000 * 4096;
  expect(oomScore(0, 0, 0, machine)).toBe(666);
  expect(oomScore(5000 * 4096, 0, 0, machine)).toBe(1000);
  expect(oomScore(machine, 0, 0, machine)).toBe(1333);
  // Thousandths are cut towards zero before they are added.
  expect(oomScore(99 * 4096, 0, -500, machine)).toBe(Math.floor(((1000 - 490) * 2) / 3));
  expect(oomScore(0, 0, -999, machine)).toBe(0);
});
