import { describe, expect, test } from "vitest";
import { outsideRss, quantiles, scavengeCosts } from "../../src/oracle/calibrate.ts";
import { METRICS } from "../../src/oracle/metrics.ts";
import {
  makeRecording,
  recordedFigures,
  recording,
  recordingJson,
  scenarioHash,
} from "../../src/oracle/recording.ts";
import { figuresOf, type OracleResult, oracleResult } from "../../src/oracle/result.ts";
import { loadScenario } from "../../src/scenario/load.ts";
import type { Scenario } from "../../src/scenario/schema.ts";

const H = "/memory/classes/heap/";
const columns = [
  "t_ns",
  "rss_bytes",
  "page_faults",
  `${H}objects:bytes`,
  `${H}unused:bytes`,
  `${H}free:bytes`,
  `${H}released:bytes`,
  "/gc/heap/allocs:objects",
  "/gc/heap/tiny/allocs:objects",
  "/gc/heap/goal:bytes",
  "/gc/cycles/total:gc-cycles",
];

const result: OracleResult = oracleResult.parse({
  go_version: "go1.26.0",
  gomaxprocs: 2,
  real_time: true,
  duration_ns: 2e9,
  offheap_bytes: 1,
  offheap_faults: 1,
  cpu_user_seconds: 1,
  cpu_system_seconds: 0.5,
  slot_chunks: 1,
  memstats: { PauseTotalNs: 300 },
  pauses_ns: [100, 200],
  sources: [],
  samples: {
    columns,
    rows: [
      // The sample before the workload starts counts neither for means nor for peaks.
      [0, 9e9, 9e9, 9e9, 9e9, 9e9, 9e9, 0, 0, 9e9, 0],
      [1e9, 1000, 10, 100, 50, 30, 20, 5, 1, 4000, 1],
      [2e9, 3000, 20, 200, 50, 10, 20, 9, 2, 6000, 2],
    ],
  },
  cycles: {
    columns: ["t_ns", "/gc/heap/live:bytes", "/gc/heap/goal:bytes"],
    rows: [
      [5e8, 80, 4000],
      [15e8, 120, 6000],
    ],
  },
});

test("figures are means, peaks and ends over the samples after the first", () => {
  expect(figuresOf(result)).toMatchObject({
    gc_count: 2,
    goal_mean_bytes: 5000,
    goal_peak_bytes: 6000,
    heap_marked_mean_bytes: 100,
    heap_inuse_mean_bytes: 200,
    heap_inuse_peak_bytes: 250,
    heap_sys_peak_bytes: 280,
    heap_idle_mean_bytes: 40,
    mallocs: 11,
    rss_peak_bytes: 3000,
    page_faults: 20,
    pause_total_ns: 300,
    pause_median_ns: 150,
    cpu_seconds: 1.5,
  });
});

test("a run under a memory limit has the limit's figures, a run without one has not", () => {
  const extra = [
    "/memory/classes/total:bytes",
    "/gc/limiter/last-enabled:gc-cycle",
    "/cpu/classes/scavenge/assist:cpu-seconds",
    "/cpu/classes/scavenge/background:cpu-seconds",
    "/gc/gomemlimit:bytes",
  ];
  const withLimit = (limit: number): OracleResult => ({
    ...result,
    samples: {
      columns: [...columns, ...extra],
      rows: [
        [...result.samples.rows[0], 9e9, 0, 0, 0, limit],
        // Cycle 1 is over, and in the next the limiter was on.
        [...result.samples.rows[1], 520, 2, 0.25, 0.5, limit],
        // Two cycles are over; it was on in neither this one nor the last.
        [
          ...result.samples.rows[2].map((x, i) => (columns[i].startsWith("/gc/cycles") ? 3 : x)),
          620,
          2,
          1,
          2,
          limit,
        ],
      ],
    },
  });
  expect(figuresOf(withLimit(1e6))).toMatchObject({
    mapped_ready_peak_bytes: 600,
    mapped_ready_mean_bytes: 550,
    scavenge_cpu_seconds: 3,
    gc_limiter_samples_fraction: 0.5,
    heap_released_mean_bytes: 20,
    rss_mean_bytes: 2000,
  });
  expect(figuresOf(withLimit(2 ** 63))).not.toHaveProperty("mapped_ready_peak_bytes");
});

test("a metric this Go release lacks is not a number, never zero", () => {
  expect(figuresOf(result)["stack_inuse_mean_bytes"]).toBeNaN();
  for (const { name } of METRICS) expect(figuresOf(result)).toHaveProperty(name);
});

const yaml = (extra: string): Scenario => {
  const loaded = loadScenario(
    `name: x\n${extra}duration: 1s\nworkload:\n  - {kind: stream, name: s, rate: 10/s, size: 64, lifetime: 1s}\n`,
    "x.yaml",
  );
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.errors));
  return loaded.scenarios[0];
};

describe("a recording", () => {
  const provenance = {
    go_version: "go1.26.0",
    cpu: "a",
    cpus: 2,
    kernel: "Linux 6.1",
    scheduling: "normal" as const,
    date: "2026-01-01",
    command: "c",
  };

  test("reads back what was written", () => {
    const made = makeRecording(yaml(""), [{ result, trace: [], figures: figuresOf(result) }], provenance);
    const read = recording.parse(JSON.parse(recordingJson(made)));
    expect(read).toEqual(made);
    expect(recordedFigures(read)[0]["goal_mean_bytes"]).toBe(5000);
    expect(recordedFigures(read)[0]["stack_inuse_mean_bytes"]).toBeNaN();
    expect(read.cycles.marked_bytes).toEqual([80, 120]);
  });

  test("belongs to what the scenario does, whatever its texts and seed", () => {
    const hash = scenarioHash(yaml(""));
    expect(scenarioHash(yaml("description: other\nseed: 7\n"))).toBe(hash);
    expect(scenarioHash(yaml("go: {GOGC: 50}\n"))).not.toBe(hash);
    // What is as it is by default is left out, so that earlier recordings stay true.
    expect(scenarioHash(yaml("go: {GODEBUG: {madvdontneed: 1}}\nmachine: {page_size: 4KiB}\n"))).toBe(hash);
    for (const text of [
      "go: {GODEBUG: {madvdontneed: 0}}",
      "machine: {thp: always}",
      "startup: {prefault: 1MiB}",
    ])
      expect(scenarioHash(yaml(`${text}\n`))).not.toBe(hash);
  });
});

test("resident memory outside the runtime is the program's segments and the kernel's pages", () => {
  const smaps = [
    "00400000-004a2000 r-xp 00000000 fe:00 10029326                           /bin/oracle",
    "Rss:                 640 kB",
    "00581000-005ca000 rw-p 00000000 00:00 0 ",
    "Rss:                  80 kB",
    "2d10b4400000-2d10b4800000 rw-p 00000000 00:00 0                          [anon: Go: heap]",
    "Rss:                 556 kB",
    "7fc238700000-7fc266800000 rw-p 00000000 00:00 0 ",
    "Rss:                1408 kB",
    "7ffc38a42000-7ffc38a63000 rw-p 00000000 00:00 0                          [stack]",
    "Rss:                  16 kB",
    "Pss:                  16 kB",
  ].join("\n");
  expect(outsideRss(smaps)).toBe((640 + 80 + 16) * 1024);
});

test("quantiles go from the 5th to the 95th percentile in even steps", () => {
  const values = Array.from({ length: 101 }, (_, i) => 1000 - 10 * i);
  expect(quantiles(values)).toEqual(Array.from({ length: 19 }, (_, i) => 50 * (i + 1)));
  expect(quantiles([])).toEqual([0]);
});

test("giving memory back: a part per page, one per call, and what another CPU adds to that", () => {
  const measured = {
    short_run_pages: 2,
    long_run_pages: 16,
    // Of a series the lower quartile counts.
    short_run_ns: [1800, 9000, 1700, 1750, 1900],
    long_run_ns: 7350,
    busy_short_run_ns: 12_000,
  };
  expect(scavengeCosts(measured)).toEqual({
    scavenge_ns_per_page: 400,
    scavenge_call_ns: 950,
    scavenge_busy_call_ns: 11_200,
  });
  // Another CPU never makes it cheaper, whatever noise says.
  expect(scavengeCosts({ ...measured, busy_short_run_ns: 1000 }).scavenge_busy_call_ns).toBe(950);
});
