/** What a real control group is refused for, in one line each; making one needs the machine (validate). */
import { expect, test } from "vitest";
import { ControlGroup, cpuStat, groupPressure, groupStat } from "../../src/oracle/cgroup.ts";
import { diskFolder } from "../../src/oracle/files.ts";
import {
  figuresOf,
  GROUP_COLUMNS,
  killedResult,
  LAZY_FREE_COLUMN,
  seriesColumns,
} from "../../src/oracle/result.ts";
import { scenarioOf } from "../scenarios.ts";

test("the real side takes no memory off the heap", () => {
  const scenario = scenarioOf(`
name: cgo
duration: 1s
container: {memory: {max: 64MiB}, off_heap: 8MiB}
workload: [{name: a, kind: stream, rate: 5k/s, size: 64, lifetime: 1s}]
`);
  expect(() => new ControlGroup(scenario.container!, "gomemsim-test")).toThrow("runs in the simulator only");
});

test("files in memory are no page cache: the folder for them is on a disk, or refused", () => {
  expect(diskFolder(["/no/such/folder", import.meta.dirname])).toBe(import.meta.dirname);
  expect(() => diskFolder(["/no/such/folder"])).toThrow("set TMPDIR to a folder that is");
  if (process.platform === "linux") expect(() => diskFolder(["/dev/shm"])).toThrow("not on a disk");
});

test("what the group said at each sample becomes series and figures", () => {
  const header = {
    columns: ["t_ns", "rss_bytes", ...GROUP_COLUMNS, LAZY_FREE_COLUMN],
    go_version: "go1.26.0",
    real_time: true,
  };
  // Current, working set, anon, file, inactive and active file; the last is LazyFree, which nobody could read at the end.
  const rows = [
    [0, 1, 0, 0, 0, 0, 0, 0, 0],
    [1e9, 90, 100, 20, 80, 20, 80, 5, 40],
    [2e9, 60, 100, 30, 60, 40, 70, 5, 36],
    [3e9, 50, 100, 40, 40, 60, 60, 5, 20],
    [4e9, 50, 100, 50, 20, 80, 50, 5, null],
  ];
  const result = killedResult(header, rows, 0);
  expect(seriesColumns(result).map(({ name }) => name)).toEqual(
    expect.arrayContaining([...GROUP_COLUMNS, LAZY_FREE_COLUMN]),
  );
  expect(figuresOf(result)).toMatchObject({
    memory_current_mean_bytes: 100,
    memory_working_set_mean_bytes: 35,
    memory_anon_mean_bytes: 50,
    memory_file_mean_bytes: 50,
    memory_inactive_file_mean_bytes: 65,
    memory_active_file_mean_bytes: 5,
    rss_halfway_bytes: 60,
    rss_end_bytes: 50,
    lazy_free_mean_bytes: 32,
    lazy_free_peak_bytes: 40,
    lazy_free_tenth_gone_seconds: 2,
    lazy_free_half_gone_seconds: 3,
  });
  const outside = killedResult({ ...header, columns: ["t_ns"] }, [[0], [1e9]], 0);
  expect(figuresOf(outside)).not.toHaveProperty("rss_end_bytes");
});

test("a killed program has the figures of its samples, and none of those told at its end", () => {
  const heap = "/memory/classes/heap/objects:bytes";
  const header = {
    columns: ["t_ns", "rss_bytes", heap, "/gc/cycles/total:gc-cycles"],
    go_version: "go1.26.0",
    real_time: true,
  };
  const rows = [
    [0, 1, 1, 0],
    [1e8, 10, 4, 1],
    [2e8, 30, 8, 2],
  ];
  const figures = figuresOf(killedResult(header, rows, 0));
  expect(figures["rss_peak_bytes"]).toBe(30);
  expect(figures["pause_total_ns"]).toBeNaN();
  expect(figures["pause_median_ns"]).toBeNaN();
  expect(figures["heap_marked_mean_bytes"]).toBeNaN();
  expect(figures["cpu_seconds"]).toBeNaN();
});

test("a group's files are read under v2's names, whichever version wrote them", () => {
  // Of Linux 6.1, in a guest.
  const files: Record<string, string> = {
    "memory.events": "low 0\nhigh 891\nmax 2\noom 0\noom_kill 0\noom_group_kill 0\n",
    "memory.pressure":
      "some avg10=72.10 avg60=20.22 avg300=4.58 total=14069277\nfull avg10=71.81 avg60=20.16 avg300=4.57 total=14028293\n",
  };
  expect(groupPressure((file) => files[file])).toEqual({
    eventsHigh: 891,
    someSeconds: 14.069277,
    fullSeconds: 14.028293,
  });
  const v2 =
    "anon 150200320\nfile 8192\nkernel 503808\ninactive_anon 1\ninactive_file 4096\nactive_file 4096\n";
  const v1 = "cache 8192\nrss 150200320\nrss_huge 1\ninactive_file 4096\nactive_file 4096\ntotal_cache 9\n";
  const stat = { anon: 150200320, file: 8192, inactiveFile: 4096, activeFile: 4096 };
  expect(groupStat(v2, 2)).toEqual(stat);
  expect(groupStat(v1, 1)).toEqual(stat);
  const cpu = { nrPeriods: 7, nrThrottled: 3, throttledNs: 5000 };
  expect(cpuStat("usage_usec 9\nnr_periods 7\nnr_throttled 3\nthrottled_usec 5\n", 2)).toEqual(cpu);
  expect(cpuStat("nr_periods 7\nnr_throttled 3\nthrottled_time 5000\n", 1)).toEqual(cpu);
});
