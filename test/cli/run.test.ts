import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { GCTRACE_LINE } from "../report/gctrace-grammar.ts";
import { ENDLESS, run, SMALL, scratch, shell, start, tree, VARIANTS, write } from "./cli.ts";

const FILES = [
  "cycles.csv",
  "gctrace.txt",
  "heapmap.json",
  "report.html",
  "scavtrace.txt",
  "summary.json",
  "timeseries.csv",
];
const ESCAPE = String.fromCharCode(27);

describe("gomemsim run", () => {
  it("runs the variants asked for and no others", async () => {
    const folder = scratch();
    write(folder, "s.yaml", VARIANTS);
    const one = await run(folder, ["run", "s.yaml", "--variant", "gogc400"]);
    expect(one.status).toBe(0);
    expect(tree(folder)).toEqual([...FILES.map((file) => `out/small/gogc400/${file}`), "s.yaml"].sort());
    const none = await run(folder, ["run", "s.yaml", "--variant", "gogc500"]);
    expect(none.status).toBe(2);
    expect(none.stderr).toContain('there is no "gogc500"; the scenario has base, gogc400');
  });

  it("writes each variant's files, prints the figures side by side, and the same bytes every time", async () => {
    const folder = scratch();
    write(folder, "s.yaml", VARIANTS);
    const first = await run(folder, ["run", "s.yaml"]);
    expect(first.stderr).toMatch(/small\/gogc400: done in /);
    expect(first.status).toBe(0);
    expect(first.stdout).toMatch(/^ +base +gogc400$/m);
    expect(first.stdout).toMatch(/GC cycles +\d+ +\d+/);
    expect(first.stdout).toContain("wrote out/small/gogc400: timeseries.csv");
    expect(first.stdout).not.toContain(ESCAPE);
    const names = [
      "out/small/overlay.html",
      ...FILES.flatMap((file) => [`out/small/${file}`, `out/small/gogc400/${file}`]),
    ];
    expect(tree(folder)).toEqual([...names, "s.yaml"].sort());

    const series = readFileSync(join(folder, "out/small/timeseries.csv"), "utf8").trimEnd().split("\n");
    expect(series[0]).toMatch(/^t_seconds,/);
    expect(series.length).toBeGreaterThanOrEqual(51);
    const columns = series[0].split(",").length;
    for (const line of series) expect(line.split(",").length).toBe(columns);
    const trace = readFileSync(join(folder, "out/small/gctrace.txt"), "utf8").trimEnd().split("\n");
    const cycles = readFileSync(join(folder, "out/small/cycles.csv"), "utf8").trimEnd().split("\n");
    expect(trace.length).toBeGreaterThan(5);
    expect(trace.length).toBe(cycles.length - 1);
    for (const line of trace) expect(line).toMatch(GCTRACE_LINE);
    const summary = readFileSync(join(folder, "out/small/summary.json"), "utf8");
    expect(JSON.parse(summary).scenario.name).toBe("small");
    expect(summary).not.toContain(folder);

    // Again from elsewhere, sequentially named, into a folder of its own: not one byte differs.
    const second = await run(folder, ["run", "s.yaml", "--out", "deep/er/again", "--quiet"]);
    expect(second).toEqual({ status: 0, stdout: "", stderr: "" });
    for (const file of FILES) {
      for (const variant of ["", "gogc400"]) {
        const [a, b] = [
          join(folder, "out/small", variant, file),
          join(folder, "deep/er/again", variant, file),
        ];
        expect(readFileSync(b).equals(readFileSync(a)), join(variant, file)).toBe(true);
      }
    }
  });

  it("writes oom.txt and the container's columns for a scenario with one, and no such thing without", async () => {
    const folder = scratch();
    const leak = "workload: [{name: l, kind: leak, byte_rate: 20MiB/s, size: 1KiB}]\n";
    write(
      folder,
      "s.yaml",
      `name: c\nduration: 10s\n${leak}container: {memory: {max: 32MiB}, cpu: {limit: 2}, restart: {policy: always}}\n`,
    );
    const result = await run(folder, ["run", "s.yaml"]);
    expect(result.status).toBe(0);
    expect(result.stdout).toContain("cycles.csv, gctrace.txt, scavtrace.txt, oom.txt, summary.json");
    expect(result.stdout).toMatch(/^ +OOM kills +2$/m);
    const at = (file: string): string => readFileSync(join(folder, "out/c", file), "utf8");
    expect(at("oom.txt")).toMatch(/^OOM kill 2 at /m);
    expect(at("oom.txt")).toContain("oom-kill:constraint=CONSTRAINT_MEMCG,");
    const series = at("timeseries.csv").trimEnd().split("\n");
    expect(series[0]).toMatch(/,oom_kills,restarts,cpu_usage_seconds,.*cpu_throttled_seconds$/);
    for (const line of series) expect(line.split(",").length).toBe(series[0].split(",").length);
    const summary = JSON.parse(at("summary.json"));
    expect(summary.oom_kills.length).toBe(2);
    expect(summary.figures.oom_kills).toBe(2);
    const kills = summary.events.filter(({ event }: { event: string }) => event === "OOM kill");
    expect(kills).toEqual(
      summary.oom_kills.map(({ t_seconds }: { t_seconds: number }) => ({
        t_seconds,
        event: "OOM kill",
        reason: `memory.max of ${32 * 2 ** 20} bytes reached`,
      })),
    );
    // gctrace counts from the start of each process.
    const starts = at("gctrace.txt").match(/^gc 1 @0\.\d+s /gm);
    expect(starts?.length).toBe(2);
    // Nobody is killed with more: no oom.txt then, and none is left of the run before.
    const spared = await run(folder, ["run", "s.yaml", "--set", "container.memory.max=1GiB"]);
    expect(spared.stdout).toContain("scavtrace.txt, summary.json");
    expect(spared.stdout).not.toContain("oom.txt");
    expect(tree(folder)).not.toContain("out/c/oom.txt");
  });

  it("replaces its own files in an existing folder and touches no other", async () => {
    const folder = scratch();
    write(folder, "s.yaml", SMALL);
    mkdirSync(join(folder, "here"));
    writeFileSync(join(folder, "here/notes.md"), "mine");
    writeFileSync(join(folder, "here/summary.json"), "old");
    const result = await run(folder, ["run", "s.yaml", "--out", "here", "-q"]);
    expect(result.status).toBe(0);
    expect(tree(join(folder, "here"))).toEqual([...FILES, "notes.md"].sort());
    expect(readFileSync(join(folder, "here/notes.md"), "utf8")).toBe("mine");
    expect(readFileSync(join(folder, "here/summary.json"), "utf8")).toMatch(/^\{/);
  });

  it("removes pictures and pages that were made of the run it replaces, and says so", async () => {
    const folder = scratch();
    write(folder, "s.yaml", VARIANTS);
    const common = ["run", "s.yaml", "--set", "duration=200ms", "--out", "o"];
    expect((await run(folder, [...common, "-q"])).status).toBe(0);
    const made = ["o/plot.svg", "o/gogc400/plot.png", "o/gogc400/overlay.html"];
    const mine = ["o/heap.svg", "o/gogc400/notes.html"];
    for (const path of [...made, ...mine]) write(folder, path, "of the run before");
    // The scenario itself stays as it is: so does what was made of it.
    const one = await run(folder, [...common, "--variant", "gogc400"]);
    expect(one.stdout).toMatch(/^removed o\/gogc400\/plot\.png: it showed the run before$/m);
    const there = (): string[] => tree(folder).filter((path) => [...made, ...mine].includes(path));
    expect(there()).toEqual(["o/gogc400/notes.html", "o/heap.svg", "o/plot.svg"]);
    const both = await run(folder, common);
    expect(both.stdout).toMatch(/^removed o\/plot\.svg: it showed the run before$/m);
    expect(there()).toEqual(["o/gogc400/notes.html", "o/heap.svg"]);
    // With seeds the folder itself holds no run any more.
    write(folder, "o/plot.svg", "of the run before");
    const seeds = await run(folder, [...common, "--seeds", "2"]);
    expect(seeds.stdout).toMatch(/^removed o\/plot\.svg: /m);
    expect(there()).toEqual(["o/gogc400/notes.html", "o/heap.svg"]);
  });

  it("takes a seed, settings and standard input", async () => {
    const folder = scratch();
    const result = await run(
      folder,
      ["run", "-", "--seed", "42", "--set", "duration=1s", "--set", "go.GOGC=50", "--out", "o", "-q"],
      { stdin: SMALL },
    );
    expect(result).toEqual({ status: 0, stdout: "", stderr: "" });
    const summary = JSON.parse(readFileSync(join(folder, "o/summary.json"), "utf8"));
    expect(summary.seed).toBe(42);
    expect(summary.scenario.duration).toBe(1e9);
    expect(summary.scenario.go.GOGC).toBe(50);
  });

  it("writes the event trace when asked, of the kinds and the time asked for", async () => {
    const folder = scratch();
    write(folder, "s.yaml", SMALL);
    const options = [
      "--trace",
      "--trace-events",
      "gc,counter",
      "--trace-from",
      "500ms",
      "--trace-to",
      "1.5s",
    ];
    const result = await run(folder, ["run", "s.yaml", "--out", "o", ...options]);
    expect(result.status).toBe(0);
    expect(result.stdout).toContain("scavtrace.txt, events.ndjson, trace.json, summary.json");
    expect(tree(join(folder, "o"))).toEqual([...FILES, "events.ndjson", "trace.json"].sort());
    const lines = readFileSync(join(folder, "o/events.ndjson"), "utf8").trimEnd().split("\n");
    const events = lines.map((line) => JSON.parse(line) as { kind: string; t_ns: number; dur_ns: number });
    expect(new Set(events.map((event) => event.kind))).toEqual(new Set(["gc", "counter"]));
    expect(Math.min(...events.map((event) => event.t_ns))).toBeGreaterThanOrEqual(0.5e9);
    expect(Math.max(...events.map((event) => event.t_ns + event.dur_ns))).toBeLessThanOrEqual(1.5e9);
    const { traceEvents, otherData } = JSON.parse(readFileSync(join(folder, "o/trace.json"), "utf8"));
    expect(traceEvents.length).toBeGreaterThan(events.length);
    expect(otherData.scenario).toBe("small");
  });

  it("refuses trace options that make no sense", async () => {
    const folder = scratch();
    write(folder, "s.yaml", SMALL);
    for (const [options, message] of [
      [
        ["--trace", "--trace-events", "gc,pauses"],
        /--trace-events: expected kinds out of gc, .*got "pauses"/,
      ],
      [["--trace", "--trace-from", "soon"], /--trace-from: expected a time such as 500ms or 2m, got "soon"/],
      [["--trace", "--trace-from", "2s", "--trace-to", "1s"], /--trace-to: must be later than --trace-from/],
      [["--trace-to", "1s"], /need --trace/],
    ] as const) {
      const result = await run(folder, ["run", "s.yaml", ...options]);
      expect(result.stderr).toMatch(message);
      expect(result.status).toBe(2);
    }
    expect(tree(folder)).toEqual(["s.yaml"]);
  });

  it("colours when forced, and NO_COLOR wins", async () => {
    const folder = scratch();
    write(folder, "s.yaml", SMALL);
    const args = ["run", "s.yaml", "--set", "duration=200ms"];
    const [forced, plain] = await Promise.all([
      run(folder, [...args, "--out", "a"], { env: { FORCE_COLOR: "1" } }),
      run(folder, [...args, "--out", "b"], { env: { FORCE_COLOR: "1", NO_COLOR: "1" } }),
    ]);
    expect([forced.status, plain.status]).toEqual([0, 0]);
    expect(forced.stdout).toContain(ESCAPE);
    expect(plain.stdout).not.toContain(ESCAPE);
    expect(plain.stderr).not.toContain(ESCAPE);
  });
});

describe("gomemsim run leaves nothing half-written", () => {
  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("on %s", async (signal, status) => {
    const folder = scratch();
    write(folder, "s.yaml", ENDLESS);
    const { child, result } = start(folder, ["run", "s.yaml", "--out", "new/out"]);
    await untilWriting(folder);
    child.kill(signal);
    const ended = await result;
    expect(ended.status).toBe(status);
    expect(ended.stderr).toMatch(/nothing was written\n$/);
    expect(tree(folder)).toEqual(["s.yaml"]);
  });

  it("when a write fails in the middle", async () => {
    const folder = scratch();
    write(folder, "s.yaml", ENDLESS);
    // A limit on file size stands in for a full disk: both fail the write call.
    const ended = await shell(folder, "ulimit -f 64; gomemsim run s.yaml --out out --quiet");
    expect(ended.status).toBe(5);
    expect(ended.stderr).toMatch(
      /^gomemsim: out\/.*cannot be written: the file would exceed the size limit\n$/,
    );
    expect(tree(folder)).toEqual(["s.yaml"]);
  });

  it("when standard output closes: the files are complete, the status tells", async () => {
    const folder = scratch();
    write(folder, "s.yaml", SMALL);
    const ended = await shell(
      folder,
      "gomemsim run s.yaml --set duration=200ms --out out 2>err.txt | true; echo $PIPESTATUS",
    );
    expect(ended.stdout).toBe("5\n");
    const stderr = readFileSync(join(folder, "err.txt"), "utf8");
    expect(stderr).toContain("gomemsim: standard output was closed before everything was printed");
    expect(stderr).toContain("wrote out: ");
    expect(stderr).not.toMatch(/\n {4}at /);
    expect(existsSync(join(folder, "out/summary.json"))).toBe(true);
  });
});

async function untilWriting(folder: string): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if (tree(folder).some((path) => path.endsWith("timeseries.csv"))) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("the run never began to write");
}
