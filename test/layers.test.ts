/** The layers of a process's memory: what sums to what, who owns it, and the number that ties it to the event trace. */
import { describe, expect, test } from "vitest";
import { LAYERS_HEADER, layerLines } from "../src/report/layers.ts";
import type { TraceEvent } from "../src/runtime/trace.ts";
import { type LayerPart, sampleColumns, simulate } from "../src/simulate.ts";
import { scenarioOf } from "./scenarios.ts";

const MiB = 2 ** 20;

function run(text: string) {
  const scenario = scenarioOf(text);
  const names = sampleColumns(scenario).map(({ name }) => name);
  const rows: Record<string, number>[] = [];
  const layers: LayerPart[][] = [];
  const counters: TraceEvent[] = [];
  const summary = simulate(scenario, {
    checked: true,
    sink: {
      sample: (row) => rows.push(Object.fromEntries(names.map((name, i) => [name, row[i]]))),
      layers: (sample, tSeconds, parts) => {
        expect(sample).toBe(layers.length + 1);
        expect(tSeconds).toBeCloseTo(0.1 * sample, 9);
        layers.push([...parts]);
      },
    },
    trace: { kinds: ["counter"], tracer: { event: (event) => counters.push(event) } },
  });
  const sum = (parts: readonly LayerPart[], layer: string): number =>
    parts.reduce((total, part) => total + (part.layer === layer ? part.bytes : 0), 0);
  const part = (parts: readonly LayerPart[], layer: string, name: string): number =>
    parts.find((of) => of.layer === layer && of.part === name)?.bytes ?? 0;
  return { rows, layers, counters, summary, sum, part };
}

const WORKLOAD = `
workload:
  - kind: service
    name: api
    arrivals: {rate: 1000/s}
    io: 5ms
    stack: 4KiB
    objects: [{name: body, size: 4KiB, allocator: pool}, {name: structs, count: 50, size: 100}]
  - {kind: leak, name: forgotten, byte_rate: 8MiB/s, size: 1KiB}
  - {kind: cache, name: c, requests: 1000/s, keys: 20000, max_entries: 10000, prefill: true, objects: [{size: 700, pointers: 30%}]}
policies:
  - {kind: ballast, size: 32MiB}
`;

describe("in a container on two nodes", () => {
  const { rows, layers, counters, summary, sum, part } = run(`
name: six
duration: 4s
layers: true
machine: {cpus: 4, numa: {nodes: 2}}
container: {memory: {max: 512MiB}, off_heap: 16MiB, page_cache: [{name: log, rate: 2MiB/s}]}
${WORKLOAD}`);

  test("each layer sums to what it is a layer of", () => {
    expect(layers.length).toBe(rows.length);
    layers.forEach((parts, i) => {
      const row = rows[i];
      expect(sum(parts, "go") + sum(parts, "off_heap")).toBe(row["rss_bytes"]);
      expect(Math.abs(sum(parts, "numa") - row["rss_bytes"])).toBeLessThan(4096);
      expect(sum(parts, "cgroup")).toBe(row["memory_current_bytes"]);
      expect(sum(parts, "page_tables")).toBe(row["memory_pagetables_bytes"]);
      expect(sum(parts, "objects")).toBe(part(parts, "go", "objects"));
    });
  });

  test("says who owns the resident set: the leak, by the slots it fills", () => {
    const seconds = [1, 2, 3, 4].map((t) => part(layers[10 * t - 1], "objects", "forgotten"));
    for (const [i, bytes] of seconds.entries()) {
      expect(bytes).toBeGreaterThan(8 * MiB * (i + 1) * 0.99);
      expect(bytes).toBeLessThanOrEqual(8 * MiB * (i + 1));
    }
    // 10,000 entries of 700 bytes and a header with their type, in slots of 768.
    expect(part(layers[39], "objects", "c/0")).toBeGreaterThan(10_000 * 768 * 0.99);
    expect(part(layers[39], "objects", "c/0")).toBeLessThanOrEqual(10_000 * 768);
    expect(part(layers[39], "off_heap", "off_heap")).toBe(16 * MiB);
  });

  test("a ballast is nobody's resident memory", () => {
    expect(summary.figures["heap_inuse_mean_bytes"]).toBeGreaterThan(32 * MiB);
    expect(part(layers[0], "objects", "ballast")).toBe(0);
  });

  test("what the slots hold is what the heap's own recount says", () => {
    const { truth } = summary.heap_at_end;
    const last = layers[layers.length - 1].filter(({ layer }) => layer === "objects");
    const free = part(last, "objects", "free in spans");
    const dead = part(last, "objects", "dead and not swept");
    const live = last.reduce((total, { bytes }) => total + bytes, 0) - free - dead;
    // But for the ballast, and pages at the ends of large objects.
    expect(Math.abs(live - (truth.live_bytes - 32 * MiB))).toBeLessThan(0.01 * live);
  });

  test("the counters of the event trace carry the sample's number", () => {
    const numbered = counters.filter(({ detail }) => detail.sample !== undefined);
    expect(numbered.map(({ detail }) => detail.sample)).toEqual(rows.map((_, i) => i + 1));
    for (const { t_ns, detail } of numbered) {
      const row = rows[(detail.sample ?? 0) - 1];
      expect(t_ns / 1e9).toBeCloseTo(row["t_seconds"], 9);
      expect(detail.rss_bytes).toBe(row["rss_bytes"]);
    }
  });
});

test("outside of a container there is no such layer, and page tables are counted all the same", () => {
  const { layers, sum, rows } = run(`
name: bare
duration: 1s
layers: true
${WORKLOAD}`);
  expect(layers[9].some(({ layer }) => layer === "cgroup")).toBe(false);
  // One table for each 2 MiB of the heap at least, and those of the process's start.
  expect(sum(layers[9], "page_tables")).toBeGreaterThan(
    (20 + rows[9]["heap_inuse_bytes"] / (4 * MiB)) * 4096,
  );
  expect(sum(layers[9], "numa")).toBe(rows[9]["rss_bytes"]);
});

test("whoever does not ask pays nothing: no layers, and no numbers in the trace", () => {
  const { layers, counters } = run(`
name: plain
duration: 1s
${WORKLOAD}`);
  expect(layers).toEqual([]);
  expect(counters.every(({ detail }) => detail.sample === undefined)).toBe(true);
});

test("layers.csv is a row per part", () => {
  const lines = layerLines(7, 0.7, [
    { layer: "numa", part: "node0", bytes: 4096 },
    { layer: "objects", part: "dead and not swept", bytes: 12 },
  ]);
  expect(`${LAYERS_HEADER}${lines}`).toBe(
    "sample,t_seconds,layer,part,bytes\n7,0.7,numa,node0,4096\n7,0.7,objects,dead and not swept,12\n",
  );
});
