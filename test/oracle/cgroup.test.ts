/** What a real control group is refused for, in one line each; making one needs the machine (validate). */
import { expect, test } from "vitest";
import { ControlGroup } from "../../src/oracle/cgroup.ts";
import { figuresOf, killedResult } from "../../src/oracle/result.ts";
import { scenarioOf } from "../scenarios.ts";

test("the real side reads no files", () => {
  const scenario = scenarioOf(`
name: files
duration: 1s
container: {memory: {max: 64MiB}, page_cache: [{name: log, rate: 1MiB/s}]}
workload: [{name: a, kind: stream, rate: 5k/s, size: 64, lifetime: 1s}]
`);
  expect(() => new ControlGroup(scenario.container!, "gomemsim-test")).toThrow(
    "the real side reads no files: a scenario with `page_cache` runs in the simulator only",
  );
});

test("the real side takes no memory off the heap", () => {
  const scenario = scenarioOf(`
name: cgo
duration: 1s
container: {memory: {max: 64MiB}, off_heap: 8MiB}
workload: [{name: a, kind: stream, rate: 5k/s, size: 64, lifetime: 1s}]
`);
  expect(() => new ControlGroup(scenario.container!, "gomemsim-test")).toThrow("runs in the simulator only");
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
