/** The Go program itself, run for a second or two. Without Go these tests are skipped, and say so. */
import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { buildOracle, findGo, GoError } from "../../src/oracle/build.ts";
import { ControlGroup } from "../../src/oracle/cgroup.ts";
import { diskFolder, FileReader } from "../../src/oracle/files.ts";
import { METRICS } from "../../src/oracle/metrics.ts";
import { Columns } from "../../src/oracle/result.ts";
import { type RealRun, runOracle } from "../../src/oracle/run.ts";
import { loadScenario } from "../../src/scenario/load.ts";
import { scenarioOf } from "../scenarios.ts";

const FILES = `name: files
duration: 1500ms
workload: [{kind: stream, name: s, rate: 1k/s, size: 64, lifetime: 100ms}]
`;

const gomemsimFolders = (): string[] =>
  readdirSync(diskFolder()).filter((name) => name.startsWith("gomemsim-files-"));

const program = ((): string => {
  try {
    return process.platform === "linux" ? buildOracle(findGo()) : "";
  } catch (error) {
    if (error instanceof GoError) return "";
    throw error;
  }
})();

/** Why no control group can be made here; undefined if one can. */
const noGroup = ((): string | undefined => {
  try {
    const plain = scenarioOf(`${FILES}container: {memory: {max: 64MiB}}\n`).container!;
    new ControlGroup(plain, `gomemsim-probe-${process.pid}`).remove();
    return undefined;
  } catch (error) {
    if (error instanceof GoError) return error.message;
    throw error;
  }
})();

async function run(workload: string, head = "duration: 1s\nsample_interval: 50ms\n"): Promise<RealRun> {
  const text = `name: t\n${head}workload:\n${workload}`;
  const loaded = loadScenario(text, "t.yaml");
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.errors));
  return runOracle(program, loaded.scenarios[0], 1, false);
}

describe.skipIf(program === "")(
  `the oracle${program === "" ? " (skipped: no Go on this machine)" : ""}`,
  () => {
    test("plays a stream: as many objects as its rate asks for, as many live as they last", async () => {
      const { result, figures, trace } = await run(
        "  - {kind: stream, name: s, rate: 200k/s, size: 64, pointers: 50%, lifetime: 100ms, goroutines: 2}\n",
      );
      const [source] = result.sources;
      expect(source.objects).toBeGreaterThan(150_000);
      expect(source.objects).toBeLessThanOrEqual(200_000);
      expect(source.bytes).toBe(source.objects * 64);
      expect(source.held).toBeGreaterThan(15_000);
      expect(source.held).toBeLessThan(40_000);
      // What the runtime counted: our objects and a few of its own.
      expect(figures["mallocs"]).toBeGreaterThan(source.objects * 0.97);
      expect(figures["mallocs"]).toBeLessThan(source.objects + 2000);
      expect(trace.length).toBeGreaterThanOrEqual(figures["gc_count"]);
      expect(result.samples.rows.length).toBe(21);
      for (const { name } of METRICS) expect(figures[name], name).toBeGreaterThanOrEqual(0);
    });

    test("plays a service with a bound, pools and an arena; a cache; goroutines; batch; a leak; phases", async () => {
      const { result } = await run(
        `  - kind: service
    name: svc
    arrivals: {rate: 500/s}
    cpu: 50us
    io: 2ms
    stack: 5KiB
    concurrency: 8
    objects:
      - {count: 10, size: {lognormal: {median: 200, sigma: 1}}, pointers: 50%}
      - {count: 2.5, size: 4KiB, allocator: pool}
      - {count: 20, size: 100, allocator: arena}
      - {size: 40KiB}
      - {size: 9, lifetime: 100ms}
  - {kind: cache, name: c, requests: 20k/s, keys: 5000, skew: 1, max_entries: 500, ttl: 200ms, objects: [{size: 300, count: 2}]}
  - {kind: cache, name: r, requests: 20k/s, keys: 5000, max_bytes: 64KiB, replacement: random, prefill: true, objects: [{size: 300}]}
  - {kind: goroutines, name: g, count: 200, stack: 3000, lifetime: {exponential: 300ms}, objects: [{size: 128}]}
  - {kind: batch, name: b, workers: 2, pause: 1ms, items: 50, objects: [{size: 1000, count: 20, pointers: 100%}]}
  - {kind: leak, name: l, rate: 1k/s, size: 100}
`,
        "duration: 1s\nphases:\n  - {at: 500ms, set: {workload.g.count: 50, workload.l.rate: 5k/s}}\ninterventions:\n  - {at: 300ms, do: gc, every: 300ms}\n",
      );
      const of = (name: string) => result.sources.find((source) => source.name === name)!;
      expect(of("svc").completed).toBeGreaterThan(300);
      expect(of("svc").latency_ns?.["p50"]).toBeGreaterThan(2e6);
      expect(of("c")["entries"]).toBe(500);
      expect(of("c").held).toBe(1000);
      expect(of("r")["entries"]).toBeLessThanOrEqual(217); // 64 KiB hold 215.6 entries of 304 bytes: the next one stops
      expect(of("b").completed).toBe(50);
      expect(of("l").objects).toBeGreaterThan(2700);
      expect(of("l").objects).toBeLessThanOrEqual(3000);
      expect(of("l").held).toBe(of("l").objects);
      expect(of("g")["alive"]).toBeLessThan(150);
      expect(result.memstats["NumForcedGC"]).toBe(3);
    });

    test("plays changes of GOMAXPROCS: an mcache for each P there is", async () => {
      const { result } = await run(
        "  - {kind: stream, name: s, rate: 200k/s, size: 64, pointers: 50%, lifetime: 100ms}\n",
        `duration: 1s
sample_interval: 50ms
go: {GOMAXPROCS: 2}
machine: {cpus: 2}
interventions:
  - {at: 225ms, do: set_gomaxprocs, to: 8}
  - {at: 425ms, do: set_gomaxprocs, to: 1}
  - {at: 625ms, do: set_gomaxprocs, to: 4}
`,
      );
      const samples = new Columns(result.samples);
      const mcache = (ms: number) => samples.at(ms / 50, "/memory/classes/metadata/mcache/inuse:bytes");
      const one = mcache(150) / 2;
      expect([150, 350, 550, 900].map((ms) => mcache(ms) / one)).toEqual([2, 8, 1, 4]);
      expect(result.gomaxprocs).toBe(4);
    });

    test("the reader reads what is due, once or again, says what was cached, and leaves nothing behind", async () => {
      const before = gomemsimFolders();
      const loads = scenarioOf(
        `${FILES}container: {page_cache: [{name: a, rate: 40MiB/s, file: 1MiB, stop: 400ms}, {name: b, rate: 10MiB/s, stop: 400ms}]}\n`,
      ).container!.page_cache;
      const reader = new FileReader(program, loads, 1.5e9, 1);
      expect(gomemsimFolders()).toHaveLength(before.length + 1);
      try {
        expect(await reader.ready()).toBeGreaterThan(0);
        reader.begin();
        await new Promise((resolve) => setTimeout(resolve, 1000));
        const { bytes, hits } = await reader.end();
        // 16 MiB and 4 MiB, in whole pages.
        expect(bytes).toBeGreaterThan(20 * 2 ** 20 - 2 * 4096);
        expect(bytes).toBeLessThanOrEqual(20 * 2 ** 20);
        // 4096 random reads of 256 pages: each page is missed once, or again where a kernel short of memory took it
        // in between. An old kernel does not say.
        if (hits !== undefined) {
          expect(hits).toBeLessThanOrEqual(4096 - 256);
          expect(hits).toBeGreaterThan(4096 - 4 * 256);
        }
      } finally {
        await reader.remove();
      }
      expect(gomemsimFolders()).toEqual(before);
    });

    test("a reader that fails says why, and leaves nothing behind", async () => {
      const before = gomemsimFolders();
      const loads = scenarioOf(`${FILES}container: {page_cache: [{name: a, rate: 1MiB/s}]}\n`).container!
        .page_cache;
      const reader = new FileReader("/bin/false", loads, 1.5e9, 1);
      await expect(reader.ready()).rejects.toThrow("the files of `page_cache` could not be read");
      await reader.remove();
      expect(gomemsimFolders()).toEqual(before);
    });

    test.skipIf(noGroup !== undefined)(
      `in a control group the pages of files are charged there${noGroup === undefined ? "" : ` (skipped: ${noGroup})`}`,
      async () => {
        const before = gomemsimFolders();
        const scenario = scenarioOf(
          `${FILES}container: {memory: {max: 64MiB}, page_cache: [{name: log, rate: 10MiB/s}]}\n`,
        );
        const { figures, result } = await runOracle(program, scenario, 1, false);
        const samples = new Columns(result.samples);
        const file = samples.at(samples.length - 1, "memory_file_bytes");
        expect(file).toBeGreaterThan(13 * 2 ** 20);
        expect(file).toBeLessThan(16 * 2 ** 20);
        expect(samples.at(samples.length - 1, "memory_inactive_file_bytes")).toBeGreaterThan(0.9 * file);
        expect(figures["memory_current_peak_bytes"]).toBeGreaterThan(file);
        expect(figures["rss_end_bytes"]).toBeGreaterThan(2 ** 20);
        expect(gomemsimFolders()).toEqual(before);
      },
    );
  },
);
