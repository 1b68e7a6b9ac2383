import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { cgroupFiles, PressureAverages } from "../../src/report/cgroupfs.ts";
import { PROC_FILES } from "../../src/report/procfs.ts";
import type { ProcessView } from "../../src/simulate.ts";
import { client, describeWithModule, temporaryFolder } from "../clients.ts";
import { BARE, POD, viewOf } from "./exported.ts";

const THP = `${BARE}machine: { thp: always }\n`;
const LAZY = `${POD.replace("go: {", "go: { GODEBUG: { madvdontneed: 0 },")}`;
const PAGES = `${BARE}machine: { page_size: 64KiB }\n`;

const proc = (view: ProcessView): Record<keyof typeof PROC_FILES, string> => ({
  "proc/1/status": PROC_FILES["proc/1/status"](view),
  "proc/1/statm": PROC_FILES["proc/1/statm"](view),
  "proc/1/smaps": PROC_FILES["proc/1/smaps"](view),
  "proc/1/smaps_rollup": PROC_FILES["proc/1/smaps_rollup"](view),
  "proc/1/oom_score": PROC_FILES["proc/1/oom_score"](view),
  "proc/1/oom_score_adj": PROC_FILES["proc/1/oom_score_adj"](view),
});

const STATUS_LINE = /^([A-Za-z_]+):\t(?:( *\d+) kB|(.*))$/;
const MAPS_LINE =
  /^([0-9a-f]{8,})-([0-9a-f]{8,}) ([r-])([w-])([x-])p ([0-9a-f]{8}) [0-9a-f]{2}:[0-9a-f]{2} \d+ (?: *(\S.*))?$/;
const SIZE_LINE = /^([A-Za-z_]+): +(\d+) kB$/;
const ELIGIBLE_LINE = /^THPeligible: {4}[ \d]{8}$/;

interface Smap {
  readonly start: number;
  readonly end: number;
  readonly name: string;
  readonly access: string;
  readonly kib: Readonly<Record<string, number>>;
}

/** smaps or smaps_rollup, line by line: anything that is no line of the kernel's format throws. */
function parseSmaps(text: string): Smap[] {
  const maps: { start: number; end: number; name: string; access: string; kib: Record<string, number> }[] =
    [];
  expect(text.endsWith("\n")).toBe(true);
  for (const line of text.slice(0, -1).split("\n")) {
    const head = MAPS_LINE.exec(line);
    if (head !== null) {
      const [, start, end, r, w, x, , name = ""] = head;
      maps.push({
        start: Number.parseInt(start, 16),
        end: Number.parseInt(end, 16),
        name,
        access: r + w + x,
        kib: {},
      });
      if (name !== "") expect(line.indexOf(name)).toBe(73);
      continue;
    }
    if (ELIGIBLE_LINE.test(line)) continue;
    const [, key, kib] = SIZE_LINE.exec(line) ?? [];
    if (key === undefined) throw new Error(`no line of smaps: ${JSON.stringify(line)}`);
    expect(line).toBe(`${`${key}:`.padEnd(16)}${kib.padStart(8)} kB`);
    maps.at(-1)!.kib[key] = Number(kib);
  }
  return maps;
}

function parseStatus(text: string): Record<string, number> {
  const kib: Record<string, number> = {};
  for (const line of text.slice(0, -1).split("\n")) {
    const [, key, size, other] = STATUS_LINE.exec(line) ?? [];
    if (key === undefined) throw new Error(`no line of status: ${JSON.stringify(line)}`);
    if (size !== undefined) {
      expect(size.length).toBeGreaterThanOrEqual(8);
      kib[key] = Number(size);
    } else if (/^\d+$/.test(other)) kib[key] = Number(other);
  }
  return kib;
}

describe.each([
  ["a bare process", BARE, 4096],
  ["a container", POD, 4096],
  ["huge pages", THP, 4096],
  ["lazily freed pages", LAZY, 4096],
  ["pages of 64 KiB", PAGES, 65_536],
])("/proc/PID of %s", (name, text, pageBytes) => {
  const view = viewOf(text);
  const files = proc(view);
  const status = parseStatus(files["proc/1/status"]);
  const maps = parseSmaps(files["proc/1/smaps"]);
  const [rollup] = parseSmaps(files["proc/1/smaps_rollup"]);
  const sum = (key: string): number => maps.reduce((total, { kib }) => total + kib[key], 0);

  it("agrees with itself", () => {
    expect(sum("Rss")).toBe(status["VmRSS"]);
    expect(rollup.kib["Rss"]).toBe(status["VmRSS"]);
    expect(status["VmRSS"] * 1024).toBe(view.memory.residentBytes());
    expect(status["RssAnon"] + status["RssFile"] + status["RssShmem"]).toBe(status["VmRSS"]);
    expect(status["VmHWM"]).toBeGreaterThanOrEqual(status["VmRSS"]);
    expect(sum("Size")).toBe(status["VmSize"]);
    expect(sum("Anonymous")).toBe(status["RssAnon"]);
    for (const key of Object.keys(rollup.kib))
      if (key in maps[0].kib) expect([key, rollup.kib[key]]).toEqual([key, sum(key)]);
    const data = maps
      .filter(({ access }) => access === "rw-")
      .reduce((total, { kib }) => total + kib["Size"], 0);
    expect(data).toBe(status["VmData"]);
    const [size, resident, shared, , lib, dataPages, dt] = files["proc/1/statm"]
      .trim()
      .split(" ")
      .map(Number);
    const pageKib = pageBytes / 1024;
    expect([size, resident, dataPages]).toEqual(
      [status["VmSize"], status["VmRSS"], status["VmData"]].map((kib) => Math.floor(kib / pageKib)),
    );
    expect(shared).toBe(Math.floor(status["RssFile"] / pageKib));
    expect([lib, dt]).toEqual([0, 0]);
  });

  it("has its mappings in order, whole pages each, none over another, none with more in memory than there is", () => {
    maps.forEach(({ start, end, kib }, i) => {
      expect(start % pageBytes).toBe(0);
      expect((end - start) / 1024).toBe(kib["Size"]);
      expect(kib["Size"] % (pageBytes / 1024)).toBe(0);
      expect(kib["Rss"]).toBeLessThanOrEqual(kib["Size"]);
      expect(kib["KernelPageSize"]).toBe(pageBytes / 1024);
      expect(kib["Private_Clean"] + kib["Private_Dirty"]).toBe(kib["Rss"]);
      if (i > 0) expect(start).toBeGreaterThanOrEqual(maps[i - 1].end);
    });
    expect([rollup.start, rollup.end, rollup.name]).toEqual([maps[0].start, maps.at(-1)!.end, "[rollup]"]);
    expect(maps.some((map) => map.name === "[anon: Go: heap]" && map.kib["Rss"] > 500)).toBe(true);
  });

  it("shows what is special about it", () => {
    expect(sum("AnonHugePages") > 0).toBe(name === "huge pages");
    if (name === "huge pages") expect(sum("AnonHugePages") * 1024).toBe(view.memory.anonHugePagesBytes());
    expect(sum("LazyFree") * 1024).toBe(view.memory.lazyFreeBytes());
    expect("VmPTE" in status).toBe(text.includes("container"));
  });
});

it("shows the OOM killer's score and its adjustment", () => {
  const text = POD.replace("container:\n", "machine: { memory: 1GiB }\ncontainer:\n  oom_score_adj: 300\n");
  expect(text).not.toBe(POD);
  const view = viewOf(text);
  const files = proc(view);
  expect(files["proc/1/oom_score_adj"]).toBe("300\n");
  const pages = (view.memory.residentBytes() + view.container!.cgroup.stat().pagetables) / 4096;
  const share = (pages + 300 * Math.floor(262_144 / 1000)) / 262_144;
  expect(files["proc/1/oom_score"]).toBe(`${Math.floor(((1000 + Math.floor(1000 * share)) * 2) / 3)}\n`);
  expect(proc(viewOf(BARE))["proc/1/oom_score"]).toMatch(/^66[67]\n$/);
});

/** The keys of a file of one's own, in its order. */
const keysOf = (text: string): string[] => [
  ...new Set(text.split("\n").flatMap((line) => /^([A-Za-z_]+):/.exec(line)?.[1] ?? [])),
];

describe.skipIf(process.platform !== "linux")("this machine's kernel", () => {
  it.each([
    ["/proc/self/status", "proc/1/status"],
    ["/proc/self/smaps", "proc/1/smaps"],
    ["/proc/self/smaps_rollup", "proc/1/smaps_rollup"],
  ] as const)("has the keys of our %s, in our order, each line in our shape", (path, name) => {
    const real = readFileSync(path, "utf8");
    const theirs = keysOf(real);
    const files = proc(viewOf(POD, 1e9));
    // A kernel older than these keys has none of them.
    const ours = keysOf(files[name]).filter(
      (key) =>
        theirs.includes(key) ||
        !["KSM", "Pss_Dirty", "untag_mask", "FilePmdMapped", "THP_enabled", "CoreDumping"].includes(key),
    );
    expect(theirs.filter((key) => ours.includes(key))).toEqual(ours);
    const shape = (line: string): string => line.replaceAll(/\d+/g, "N").replaceAll(/ +/g, " ");
    for (const key of ours) {
      if (["Name", "State"].includes(key)) continue;
      const [a, b] = [real, files[name]].map(
        (text) => text.split("\n").find((line) => line.startsWith(`${key}:`))!,
      );
      expect(shape(b), key).toBe(shape(a));
      // Up to eight digits numbers end in the same column.
      const short = [a, b].every((line) => /\s\d{1,8} kB$/.test(line));
      if (short) expect(b.length, key).toBe(a.length);
    }
  });

  it("writes statm and the line of a mapping as we do", () => {
    expect(readFileSync("/proc/self/statm", "utf8")).toMatch(/^(\d+ ){6}\d+\n$/);
    for (const line of readFileSync("/proc/self/maps", "utf8").trimEnd().split("\n"))
      expect(line).toMatch(MAPS_LINE);
  });

  const group = "/sys/fs/cgroup/memory/memory.stat";
  it.skipIf(!existsSync(group))("has the keys of our v1 memory.stat, in our order", () => {
    const keys = (text: string): string[] =>
      text
        .trimEnd()
        .split("\n")
        .map((line) => line.split(" ")[0]);
    const theirs = keys(readFileSync(group, "utf8"));
    const view = viewOf(`${POD}  cgroup: v1\n`, 1e9);
    const ours = keys(cgroupFiles(view, view.container!, new PressureAverages())["cgroup/memory.stat"]);
    expect(theirs.filter((key) => ours.includes(key))).toEqual(ours);
  });
});

describe("the control group's files", () => {
  const flat = (text: string): Record<string, number> =>
    Object.fromEntries(
      text
        .trimEnd()
        .split("\n")
        .map((line) => {
          expect(line).toMatch(/^[a-z_]+ \d+$/);
          const [key, value] = line.split(" ");
          return [key, Number(value)];
        }),
    );

  it("agree with each other in v2", () => {
    const view = viewOf(POD);
    const files = cgroupFiles(view, view.container!, new PressureAverages());
    const stat = flat(files["cgroup/memory.stat"]);
    const current = Number(files["cgroup/memory.current"]);
    expect(files["cgroup/memory.max"]).toBe(`${64 << 20}\n`);
    expect(files["cgroup/memory.high"]).toBe("max\n");
    expect(files["cgroup/cpu.max"]).toBe("50000 100000\n");
    expect(stat["kernel"]).toBe(stat["kernel_stack"] + stat["pagetables"] + stat["slab"]);
    // And at most a batch of charges that nobody has used yet.
    const charged = stat["anon"] + stat["file"] + stat["kernel"];
    expect(current).toBeGreaterThanOrEqual(charged);
    expect(current - charged).toBeLessThan(65 * 4096);
    expect(Number(files["cgroup/memory.peak"])).toBeGreaterThanOrEqual(current);
    expect(Object.keys(flat(files["cgroup/memory.events"]))).toEqual([
      "low",
      "high",
      "max",
      "oom",
      "oom_kill",
      "oom_group_kill",
    ]);
    const cpu = flat(files["cgroup/cpu.stat"]);
    expect(cpu["nr_throttled"]).toBeLessThanOrEqual(cpu["nr_periods"]);
    expect(cpu["nr_periods"]).toBeGreaterThan(50);
    expect(cpu["usage_usec"]).toBeGreaterThan(1e5);
    expect(files["cgroup/memory.pressure"]).toMatch(
      /^some avg10=\d+\.\d\d avg60=\d+\.\d\d avg300=\d+\.\d\d total=\d+\nfull avg10=\d+\.\d\d avg60=\d+\.\d\d avg300=\d+\.\d\d total=\d+\n$/,
    );
  });

  it("have the limits in force, by whole pages", () => {
    const resize =
      "  - { at: 3s, do: resize_container, memory_max: 96MiB, memory_high: 70000001B, cpu_limit: 0.75 }\n";
    const view = viewOf(POD.replace("interventions:\n", `interventions:\n${resize}`));
    const files = cgroupFiles(view, view.container!, new PressureAverages());
    expect(files["cgroup/memory.max"]).toBe(`${96 << 20}\n`);
    expect(files["cgroup/memory.high"]).toBe("69996544\n");
    expect(files["cgroup/cpu.max"]).toBe("75000 100000\n");
  });

  it("are v1's in v1, with its word for no limit", () => {
    const view = viewOf(`${BARE}container: { cgroup: v1 }\n`);
    const files = cgroupFiles(view, view.container!, new PressureAverages());
    expect(files["cgroup/memory.limit_in_bytes"]).toBe("9223372036854771712\n");
    expect(files["cgroup/cpu.cfs_quota_us"]).toBe("-1\n");
    expect(files["cgroup/memory.oom_control"]).toBe("oom_kill_disable 0\nunder_oom 0\noom_kill 0\n");
    expect(Object.keys(files).every((name) => !name.includes("memory.current"))).toBe(true);
    const used = flat(files["cgroup/memory.stat"]);
    expect(used["total_rss"]).toBe(used["rss"]);
  });

  it("decay the pressure's averages as the kernel does", () => {
    const view = viewOf(POD, 1e9);
    const container = view.container!;
    const averages = new PressureAverages();
    averages.sample(2e9, container);
    // Half of the next two seconds stalled: a step of 50 % into each average, 1 - 1/e^(2/10) of it at once.
    container.cgroup.pressure.someNs += 1e9;
    averages.sample(4e9, container);
    const numbers = (): number[] =>
      /^some avg10=(\S+) avg60=(\S+) avg300=(\S+)/.exec(averages.text(container))!.slice(1).map(Number);
    const [ten, sixty, threeHundred] = numbers();
    expect(ten).toBeCloseTo(50 * (1 - Math.exp(-2 / 10)), 1);
    expect(sixty).toBeCloseTo(50 * (1 - Math.exp(-2 / 60)), 1);
    expect(threeHundred).toBeCloseTo(50 * (1 - Math.exp(-2 / 300)), 1);
    expect(averages.text(container)).toMatch(/^full avg10=0\.00 avg60=0\.00 avg300=0\.00 total=\d+$/m);
    averages.sample(14e9, container);
    // Five periods without a stall.
    expect(numbers()[0]).toBeCloseTo(ten * Math.exp(-10 / 10), 1);
  });
});

describeWithModule("github.com/prometheus/procfs@v0.23.0", () => {
  it("reads status, statm, smaps and smaps_rollup", () => {
    const view = viewOf(POD);
    const folder = temporaryFolder();
    for (const [name, text] of Object.entries(proc(view))) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), text);
    }
    writeFileSync(
      join(folder, "go.mod"),
      "module reader\n\ngo 1.25.0\n\nrequire github.com/prometheus/procfs v0.23.0\n",
    );
    writeFileSync(
      join(folder, "main.go"),
      `package main

import (
	"fmt"
	"os"

	"github.com/prometheus/procfs"
)

func must[T any](v T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return v
}

func main() {
	fs := must(procfs.NewFS(os.Args[1]))
	p := must(fs.Proc(1))
	status := must(p.NewStatus())
	statm := must(p.Statm())
	rollup := must(p.ProcSMapsRollup())
	fmt.Println(status.Name, status.VmRSS, status.VmSize, status.RssAnon, statm.Resident*4096, statm.Size*4096, rollup.Rss, rollup.PrivateDirty)
}
`,
    );
    const env = ["GOFLAGS=-mod=mod", "go", "run", "-C", folder, ".", join(folder, "proc")];
    const result = client("env", env);
    rmSync(folder, { recursive: true, force: true });
    expect(result.stderr.replaceAll(/^go: .*\n/gm, "")).toBe("");
    const rss = view.memory.residentBytes();
    const size = view.addressSpace().vm_size_bytes;
    const anon = rss - view.memory.baseline.fileBytes;
    expect(result.stdout).toBe(
      `pod ${rss} ${size} ${anon} ${rss} ${size} ${rss} ${anon - view.memory.lazyFreeBytes()}\n`,
    );
  });
});
