/**
 * Heap profiles as `go tool pprof` reads them, and the goroutine profile in Go's text. Without Go the first are skipped, and say so.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { Profile } from "pprof-format";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import { findGo, GoError } from "../../src/oracle/build.ts";
import { goroutineProfileText, heapProfile, heapSamples } from "../../src/report/pprof.ts";
import { numGoroutine } from "../../src/report/prometheus.ts";
import { scenarioPlaces } from "../../src/scenario/places.ts";
import { type ProcessView, SimulatedRun } from "../../src/simulate.ts";
import { required } from "../clients.ts";
import { scenarioOf } from "../scenarios.ts";

const TEXT = `name: shop
duration: 4s
workload:
  - kind: service
    name: api
    arrivals: { rate: 2000/s }
    cpu: 50us
    io: 5ms
    objects:
      - { name: rows, count: 40, size: { uniform: [50, 400] } }
      - { name: body, size: 40KiB }
  - name: sessions
    kind: cache
    requests: 2000/s
    keys: 20000
    max_entries: 10000
    prefill: true
    objects:
      - size: 700
  - { kind: leak, name: events, byte_rate: 2MiB/s, size: 100 }
  - { kind: goroutines, name: conns, count: 30, stack: 2KiB, objects: [{ size: 4KiB }] }
`;
const PLACES = scenarioPlaces(TEXT, "shop.yaml");

/** The process after 2 and after 4 s, one after the other: what is looked at must be taken at once. */
function atTwo<T>(take: (view: ProcessView) => T, text = TEXT): readonly [T, T] {
  const run = new SimulatedRun(scenarioOf(text));
  run.advance(2e9);
  const first = take(run.view()!);
  run.advance(4e9);
  return [first, take(run.view()!)];
}

const SAMPLE_TYPES = ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"] as const;
const FIELDS = {
  alloc_objects: "allocObjects",
  alloc_space: "allocBytes",
  inuse_objects: "inuseObjects",
  inuse_space: "inuseBytes",
} as const;

describe("the heap profile", () => {
  it("has the four sample types of Go's, its period, its default and the label bytes", () => {
    const [bytes] = atTwo((view) => heapProfile(view, PLACES));
    const profile = Profile.decode(bytes);
    const text = (i: number | bigint): string => profile.stringTable.strings[Number(i)];
    expect(profile.sampleType.map(({ type, unit }) => `${text(type)}/${text(unit)}`)).toEqual([
      "alloc_objects/count",
      "alloc_space/bytes",
      "inuse_objects/count",
      "inuse_space/bytes",
    ]);
    expect(text(profile.defaultSampleType)).toBe("inuse_space");
    expect([text(profile.periodType!.type), text(profile.periodType!.unit)]).toEqual(["space", "bytes"]);
    expect(Number(profile.period)).toBe(524288);
    // As long after the start that the other formats name.
    expect(Number(profile.timeNanos)).toBe(Date.UTC(2026, 0, 1, 0, 0, 2) * 1e6);
    const sizes = profile.sample.map(({ label }) => label.map((l) => [text(l.key), Number(l.num)]));
    for (const labels of sizes) expect(labels).toEqual([["bytes", expect.any(Number)]]);
    expect(sizes.flat().map(([, size]) => size)).toContain(40960);
  });

  it("names functions by the workload and places them in the scenario's file", () => {
    const [samples] = atTwo((view) => heapSamples(view, PLACES));
    const stacks = new Set(
      samples.map(({ stack }) => stack.map((f) => `${f.name} ${f.file}:${f.line}`).join(" < ")),
    );
    expect(stacks).toContain(
      "main.(*api).rows shop.yaml:10 < main.(*api).handle shop.yaml:4 < main.main shop.yaml:3",
    );
    expect(stacks).toContain(
      "main.(*sessions).objects0 shop.yaml:19 < main.(*sessions).lookup shop.yaml:12 < main.main shop.yaml:3",
    );
    expect(stacks).toContain(
      "main.(*events).alloc shop.yaml:20 < main.(*events).tick shop.yaml:20 < main.main shop.yaml:3",
    );
    for (const stack of stacks) expect(stack).not.toContain("mallocgc");
  });

  it("is the same bytes whenever a run is played, and empty where nothing is sampled", () => {
    const [first] = atTwo((view) => heapProfile(view, PLACES));
    const [again] = atTwo((view) => heapProfile(view, PLACES));
    // Virtual time after 2026-01-01, or after the moment at which the run began.
    expect(Profile.decode(first).timeNanos).toEqual(1_767_225_602_000_000_000n);
    const [later] = atTwo((view) => Profile.decode(heapProfile(view, PLACES, 1_800_000_000)));
    expect(later.timeNanos).toEqual(1_800_000_002_000_000_000n);
    expect(again).toEqual(first);
    const off = TEXT.replace("duration: 4s", "duration: 4s\ngo: { GODEBUG: { memprofilerate: 0 } }");
    const [none] = atTwo((view) => Profile.decode(heapProfile(view, PLACES)), off);
    expect(none.sample).toEqual([]);
    expect(Number(none.period)).toBe(0);
  });
});

const go = ((): string => {
  try {
    return findGo().path;
  } catch (error) {
    // Where Go is required these tests must run, as all that need it.
    if (error instanceof GoError && !required.has("go")) return "";
    throw error;
  }
})();

describe.skipIf(go === "")(`go tool pprof${go === "" ? " (skipped: no Go on this machine)" : ""}`, () => {
  const folder = mkdtempSync(join(tmpdir(), "gomemsim-pprof-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const taken = atTwo((view) => ({ bytes: heapProfile(view, PLACES), samples: heapSamples(view, PLACES) }));
  const files = taken.map(({ bytes }, i) => {
    const file = join(folder, `heap-${i}.pb.gz`);
    writeFileSync(file, gzipSync(bytes));
    return file;
  });
  const pprof = (...args: string[]): string =>
    execFileSync(go, ["tool", "pprof", "-symbolize=none", ...args], {
      encoding: "utf8",
      env: { ...process.env, PPROF_TMPDIR: folder },
      stdio: ["ignore", "pipe", "pipe"],
    });

  /** flat and cum of each function, and the total. */
  function top(
    unit: string,
    ...args: string[]
  ): { total: number; flat: Map<string, number>; cum: Map<string, number> } {
    const text = pprof("-top", `-unit=${unit}`, "-nodefraction=0", "-nodecount=1000", ...args);
    const flat = new Map<string, number>();
    const cum = new Map<string, number>();
    // Counts come without a unit, bytes with it.
    for (const row of text.matchAll(/^\s*(-?\d+)B?\s+\S+%\s+\S+%\s+(-?\d+)B?\s+\S+%\s+(\S.*)$/gm)) {
      flat.set(row[3], Number(row[1]));
      cum.set(row[3], Number(row[2]));
    }
    return { total: Number(/of (-?\d+)B? total/.exec(text)?.[1]), flat, cum };
  }

  it.each(SAMPLE_TYPES)("-top says of each function what the profile says: %s", (type) => {
    const { total, flat, cum } = top(
      type.endsWith("space") ? "B" : "count",
      `-sample_index=${type}`,
      files[1],
    );
    const { samples } = taken[1];
    const of = (sample: (typeof samples)[number]): number => sample[FIELDS[type]];
    expect(total).toBe(samples.reduce((sum, sample) => sum + of(sample), 0));
    const leaves = new Map<string, number>();
    const functions = new Map<string, number>();
    for (const sample of samples) {
      leaves.set(sample.stack[0].name, (leaves.get(sample.stack[0].name) ?? 0) + of(sample));
      for (const { name } of sample.stack) functions.set(name, (functions.get(name) ?? 0) + of(sample));
    }
    // pprof leaves out what is less than half a percent.
    const large = [...leaves].filter(([, value]) => value > 0.01 * total);
    expect(large.length).toBeGreaterThan(0);
    for (const [name, value] of large) expect([name, flat.get(name)]).toEqual([name, value]);
    for (const [name, value] of flat) expect([name, value]).toEqual([name, leaves.get(name) ?? 0]);
    for (const [name, value] of cum) expect([name, value]).toEqual([name, functions.get(name)]);
    // The rest is the runtime's: a first allocation of an mcache, always sampled, stands for many where it is small.
    expect(cum.get("main.main")).toBeGreaterThan(0.5 * total);
  });

  it("-diff_base takes one from the other", () => {
    const { total, flat } = top("B", `-diff_base=${files[0]}`, files[1]);
    const of = (i: number, name: string): number =>
      taken[i].samples.reduce((sum, s) => sum + (s.stack[0].name === name ? s.inuseBytes : 0), 0);
    // The total of a difference is that of the base.
    expect(total).toBe(taken[0].samples.reduce((sum, { inuseBytes }) => sum + inuseBytes, 0));
    const leak = of(1, "main.(*events).alloc") - of(0, "main.(*events).alloc");
    expect(leak).toBeGreaterThan(2 ** 20);
    expect(flat.get("main.(*events).alloc")).toBe(leak);
  });

  it("-raw and -traces show sizes, lines and the mapping", () => {
    const raw = pprof("-raw", files[0]);
    expect(raw).toMatch(/^PeriodType: space bytes\nPeriod: 524288$/m);
    expect(raw).toMatch(/^Time: 2026-01-01 00:00:02/m);
    expect(raw).toMatch(/inuse_space\/bytes\[dflt\]/);
    expect(raw).toMatch(/bytes:\[40960\]/);
    expect(raw).toMatch(/M=1 main\.\(\*api\)\.rows shop\.yaml:10(:0)? s=10/);
    expect(raw).toMatch(/^1: 0x401000\/0x[0-9a-f]+\/0x0 shop/m);
    expect(pprof("-traces", files[0])).toMatch(
      /main\.\(\*api\)\.body\n +main\.\(\*api\)\.handle\n +main\.main\n/,
    );
  });

  it("-list shows the scenario itself with what its lines hold", () => {
    writeFileSync(join(folder, "shop.yaml"), TEXT);
    const listed = pprof(`-source_path=${folder}`, "-list=events", files[1]);
    expect(listed).toMatch(/\d+(\.\d+)?MB .* 20: {2}- \{ kind: leak, name: events/);
  });
});

/** A thousand objects and a read, again and again, with a collection between some; what each read shows of them. */
const PUBLICATION = `package main

import "runtime"

var keep [][]byte

func read() {
	p := make([]runtime.MemProfileRecord, 4000)
	k, _ := runtime.MemProfile(p, true)
	n := int64(0)
	for _, r := range p[:k] {
		// Of 1024 bytes are these objects alone.
		if r.AllocBytes == 1024*r.AllocObjects {
			n += r.InUseObjects()
		}
	}
	println(n)
}

func alloc() {
	for i := 0; i < 1000; i++ {
		keep = append(keep, make([]byte, 1000))
	}
}

func main() {
	keep = make([][]byte, 0, 100000)
	for _, collect := range []bool{false, false, true, false, true} {
		alloc()
		if collect {
			runtime.GC()
		}
		read()
	}
}
`;

describe.skipIf(go === "")(`real Go${go === "" ? " (skipped: no Go on this machine)" : ""}`, () => {
  it("publishes when the simulated runtime does", () => {
    const folder = mkdtempSync(join(tmpdir(), "gomemsim-mprof-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    writeFileSync(join(folder, "main.go"), PUBLICATION);
    const program = join(folder, "publication");
    execFileSync(go, ["build", "-o", program, "main.go"], { cwd: folder });
    const env = { ...process.env, GOGC: "off", GODEBUG: "memprofilerate=1" };
    const { stderr } = spawnSync(program, { env, encoding: "utf8" });
    const real = stderr.trim().split("\n").map(Number);
    // A thousand a second; what is read at a collection is read when it has swept.
    const run = new SimulatedRun(
      scenarioOf(`name: p
duration: 6s
go: { GOGC: off, GODEBUG: { memprofilerate: 1 } }
workload:
  - { kind: leak, name: l, rate: 1000/s, size: 1000 }
interventions:
  - { at: 3s, do: gc }
  - { at: 5s, do: gc }
`),
    );
    const simulated = [1, 2, 3.01, 4, 5.01].map((seconds) => {
      run.advance(seconds * 1e9);
      const own = heapSamples(run.view()!).filter(({ objectBytes }) => objectBytes === 1024);
      return own.reduce((sum, { inuseObjects }) => sum + inuseObjects, 0);
    });
    expect(real).toHaveLength(5);
    // Go's second read shows no more than its first, as nothing has been collected; its fourth no more than its third.
    simulated.forEach((objects, i) => {
      expect(Math.abs(objects - real[i]), `read ${i + 1}: ${objects} and ${real[i]}`).toBeLessThan(20);
    });
  });
});

describe("the goroutine profile", () => {
  const [text] = atTwo((view) => goroutineProfileText(view, PLACES));
  const blocks = text.trimEnd().split("\n\n");

  it("is what printCountProfile prints: a total, and stacks in falling order of their counts", () => {
    const total = Number(/^goroutine profile: total (\d+)\n/.exec(text)?.[1]);
    const counts = [...text.matchAll(/^(\d+) @( 0x[0-9a-f]+)+$/gm)].map((match) => Number(match[1]));
    expect(counts.reduce((sum, n) => sum + n, 0)).toBe(total);
    expect(counts).toEqual([...counts].sort((a, b) => b - a));
    expect(blocks).toHaveLength(counts.length);
    for (const line of text.split("\n").filter((line) => line.startsWith("#")))
      expect(line).toMatch(/^#\t0x[0-9a-f]+\t\S+\+0x[0-9a-f]+\t+\S+:\d+$/);
  });

  it("has as many as NumGoroutine says, at any moment", () => {
    // The batch is in flight from the beginning of the run on, and has goroutines from its start on.
    const scenario = scenarioOf(`name: t
duration: 3s
workload:
  - {name: api, kind: service, arrivals: {rate: 2000/s}, cpu: {exponential: 500us}, io: 3ms}
  - {name: job, kind: batch, start: 1s, workers: 4, cpu: 5ms}
`);
    const run = new SimulatedRun(scenario);
    for (const seconds of [0.001, 0.1, 0.33, 0.777, 1.1, 2.2]) {
      run.advance(seconds * 1e9);
      const view = run.view()!;
      const of = goroutineProfileText(view);
      expect(of).toMatch(new RegExp(`^goroutine profile: total ${numGoroutine(view)}\\n`));
      if (seconds < 1) expect(of).not.toContain("main.(*job)");
    }
    const jobs = goroutineProfileText(run.view()!)
      .split("\n\n")
      .find((block) => block.includes("main.(*job)"));
    expect(jobs).toMatch(/(^|\n)4 @/);
  });

  it("has the workload's goroutines and not the runtime's own, as GoroutineProfile leaves them out", () => {
    const count = (name: string): number =>
      Number(blocks.find((block) => block.includes(name))?.match(/^(\d+) @/m)?.[1]);
    expect(count("main.(*conns).run")).toBe(30);
    // 2000 requests a second of 5 ms each.
    expect(count("main.(*api).handle")).toBeGreaterThan(3);
    expect(count("main.(*api).handle")).toBeLessThan(40);
    expect(count("main.(*events).tick")).toBe(1);
    expect(text).not.toMatch(/bgsweep|gcBgMarkWorker/);
    // The runtime's frames are shown only where there are no others.
    expect(blocks.find((block) => block.includes("main.(*events).tick"))).not.toContain("runtime.gopark");
  });
});
