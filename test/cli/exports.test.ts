import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { KILLED_POD, POD } from "../report/exported.ts";
import { run, SMALL, scratch, tree, write } from "./cli.ts";

const OWN = [
  "cycles.csv",
  "gctrace.txt",
  "heapmap.json",
  "report.html",
  "scavtrace.txt",
  "summary.json",
  "timeseries.csv",
];
const ALL = "prometheus,openmetrics,vars,metrics,grafana,proc";

describe("gomemsim run --export", () => {
  it("writes what is asked for beside a run's own files, the same every time, and changes none of these", async () => {
    const folder = scratch();
    write(folder, "s.yaml", SMALL);
    const plain = await run(folder, ["run", "s.yaml", "--out", "plain", "-q"]);
    expect(plain.status).toBe(0);
    const first = await run(folder, ["run", "s.yaml", "--out", "a", "--export", ALL]);
    expect(first.stdout).toContain("metrics.prom, openmetrics.txt, vars.json, runtime-metrics.json");
    expect(tree(join(folder, "a"))).toEqual(
      [
        ...OWN,
        "grafana-dashboard.json",
        "metrics.prom",
        "openmetrics.txt",
        "proc/1/oom_score",
        "proc/1/oom_score_adj",
        "proc/1/smaps",
        "proc/1/smaps_rollup",
        "proc/1/statm",
        "proc/1/status",
        "runtime-metrics.json",
        "vars.json",
      ].sort(),
    );
    for (const name of OWN)
      expect(
        readFileSync(join(folder, "a", name)).equals(readFileSync(join(folder, "plain", name))),
        name,
      ).toBe(true);
    await run(folder, ["run", "s.yaml", "--out", "b", "-q", "--export", ALL]);
    for (const name of tree(join(folder, "a")))
      expect(readFileSync(join(folder, "a", name)).equals(readFileSync(join(folder, "b", name))), name).toBe(
        true,
      );
  });

  it("takes an instant in the middle, at the interval and from the date asked for", async () => {
    const folder = scratch();
    write(folder, "s.yaml", SMALL);
    const { status } = await run(folder, [
      ...[
        "run",
        "s.yaml",
        "--out",
        "o",
        "-q",
        "--export",
        "openmetrics,metrics,vars",
        "--export-at",
        "1500ms",
      ],
      ...["--export-interval", "250ms", "--export-start", "2026-03-04T05:06:07Z"],
    ]);
    expect(status).toBe(0);
    const text = (name: string): string => readFileSync(join(folder, "o", name), "utf8");
    expect(JSON.parse(text("runtime-metrics.json")).t_seconds).toBe(1.5);
    const start = Date.UTC(2026, 2, 4, 5, 6, 7) / 1e3;
    expect(Math.floor(JSON.parse(text("vars.json")).memstats.LastGC / 1e9)).toBe(start + 1);
    const times = text("openmetrics.txt")
      .split("\n")
      .filter((line) => line.startsWith("go_goroutines{"))
      .map((line) => Number(line.split(" ").at(-1)) - start);
    // A sample is taken every 100 ms: the first at or after each quarter of a second.
    expect(times.slice(0, 5).map((t) => Math.round(t * 1e3))).toEqual([300, 500, 800, 1000, 1300]);
    expect(times.length).toBe(20);
  });

  it("shows a killed process as it was killed, and a container's control group", async () => {
    const folder = scratch();
    write(folder, "s.yaml", KILLED_POD);
    const { status } = await run(folder, [
      "run",
      "s.yaml",
      "--out",
      "o",
      "-q",
      "--export",
      "proc,prometheus",
    ]);
    expect(status).toBe(0);
    const text = (name: string): string => readFileSync(join(folder, "o", name), "utf8");
    expect(text("cgroup/memory.events")).toContain("oom_kill 1\n");
    expect(Number(text("cgroup/memory.current"))).toBe(64 << 20);
    expect(text("metrics.prom")).toMatch(/^container_oom_events_total\{.*\} 1$/m);
  });

  it("puts each variant's into its folder", async () => {
    const folder = scratch();
    write(folder, "s.yaml", `${POD}variants:\n  - { name: v1, set: { container.cgroup: v1 } }\n`);
    const { status } = await run(folder, [
      "run",
      "s.yaml",
      "--out",
      "o",
      "-q",
      "--export",
      "openmetrics,proc",
    ]);
    expect(status).toBe(0);
    expect(tree(folder)).toContain("o/cgroup/memory.current");
    expect(tree(folder)).toContain("o/v1/cgroup/memory.usage_in_bytes");
    expect(readFileSync(join(folder, "o/v1/openmetrics.txt"), "utf8")).toContain('instance="pod/v1/1"');
    expect(tree(folder).filter((name) => name.includes("pieces"))).toEqual([]);
    // A run of several seeds takes the place of one of a single seed, folders and all.
    const seeds = ["run", "s.yaml", "--out", "o", "-q", "--seeds", "2", "--set", "duration=1s"];
    expect((await run(folder, seeds)).status).toBe(0);
    expect(tree(folder).filter((name) => name.includes("cgroup") || name.includes("proc"))).toEqual([]);
  });

  it("is refused where it makes no sense", async () => {
    const folder = scratch();
    write(folder, "s.yaml", SMALL);
    for (const [args, says] of [
      [["--export", "prom"], `--export: expected formats out of ${ALL.replaceAll(",", ", ")}, got "prom"`],
      [["--export-at", "2s"], "need --export"],
      [["--export", "proc", "--export-at", "soon"], "--export-at: expected a time"],
      [["--export", "proc", "--export-at", "1h"], "--export-at: 1h is after the end of the run (5 s)"],
      [["--export", "openmetrics", "--export-interval", "0s"], "--export-interval: must be more than 0"],
      [["--export", "vars", "--export-start", "yesterday"], "--export-start: expected a date and time"],
    ] as const) {
      const { status, stderr } = await run(folder, ["run", "s.yaml", ...args]);
      expect([args, status, stderr]).toEqual([args, 2, expect.stringContaining(says)]);
    }
    expect(tree(folder)).toEqual(["s.yaml"]);
  });
});
