import { expect, test } from "vitest";
import { defaultProfile, SAMPLE_COLUMNS, simulate } from "../../src/simulate.ts";
import { scenarioOf } from "../scenarios.ts";

const at = (name: (typeof SAMPLE_COLUMNS)[number]["name"]): number =>
  SAMPLE_COLUMNS.findIndex((c) => c.name === name);

/** Samples, a millisecond apart, of a run whose workload is one population of goroutines. */
function samplesOf(procs: number, population: string, duration = "200ms"): Float64Array[] {
  const rows: Float64Array[] = [];
  const scenario = scenarioOf(`name: t
duration: ${duration}
sample_interval: 1ms
go: {GOMAXPROCS: ${procs}, GOGC: off}
machine: {cpus: 2}
workload:
  - {kind: goroutines, name: g, ${population}}
`);
  simulate(scenario, { sink: { sample: (row) => rows.push(row.slice()), cycle: () => {} } });
  return rows;
}

/** The first sample by which all stacks are as deep as they get. */
function settled(rows: readonly Float64Array[]): number {
  const stacks = at("stack_inuse_bytes");
  return rows.findIndex((row) => row[stacks] >= 0.99 * rows[rows.length - 1][stacks]);
}

test("all members exist from their `go`; their stacks grow as Ps come to them, on two Ps in half the time", () => {
  const population = "count: 1500, stack: 30KiB";
  const two = samplesOf(2, population);
  // 1500 times `go` take far less than the growing of 1500 stacks.
  const early = two[2];
  const last = two[two.length - 1];
  expect(early[at("goroutines")]).toBe(last[at("goroutines")]);
  expect(early[at("stack_inuse_bytes")]).toBeLessThan(0.5 * last[at("stack_inuse_bytes")]);
  expect(last[at("stack_inuse_bytes")]).toBeGreaterThan(1500 * 32 * 1024);
  const one = samplesOf(1, population);
  // What grows pays for its pages, besides the last copy of each stack from 16 to 32 KiB.
  const { alloc, sched } = defaultProfile;
  const faults = one[settled(one)][at("page_faults")] - one[0][at("page_faults")];
  const copyNs = 1500 * 16 * 1024 * sched.stack_copy_ns_per_byte;
  expect(settled(one) * 1e6).toBeGreaterThan(faults * alloc.fault_ns + copyNs);
  const ratio = settled(one) / settled(two);
  expect(ratio).toBeGreaterThan(1.7);
  expect(ratio).toBeLessThan(2.3);
});

test("a member whose time comes before it has run still starts and ends, and gives back what it held", () => {
  // A lifetime far below the time a P needs to come to each.
  const rows = samplesOf(
    1,
    "count: 300, stack: 6KiB, lifetime: 1ms, stop: 100ms, objects: [{size: 1KiB}]",
    "400ms",
  );
  const last = rows[rows.length - 1];
  const before = samplesOf(1, "count: 0, stop: 100ms");
  expect(last[at("goroutines")]).toBe(before[before.length - 1][at("goroutines")]);
  expect(last[at("mallocs")]).toBeGreaterThan(3000);
});
