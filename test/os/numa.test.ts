/** NUMA nodes: where pages go, what is remote, and what that costs. */
import { describe, expect, test } from "vitest";
import { NumaNodes, type NumaSettings } from "../../src/os/numa.ts";
import { sampleColumns, simulate } from "../../src/simulate.ts";
import { faultsOf, scenarioOf } from "../scenarios.ts";

const PAGE = 4096;

function nodes(settings: Partial<NumaSettings> = {}): NumaNodes {
  return new NumaNodes({
    nodes: 2,
    cpuNodes: 2,
    policy: "first_touch",
    bindNode: 0,
    remoteRatio: 1.5,
    memoryBound: 0.5,
    cpus: 4,
    pageBytes: PAGE,
    clearNsPerByte: 0.1,
    writeNsPerByte: 0.2,
    ...settings,
  });
}

/** P 0 touches the first 8 pages, P 1 the next 4. */
function touched(numa: NumaNodes): NumaNodes {
  numa.placed(0, 0xff);
  numa.currentP = () => 1;
  numa.placed(0, 0xf00);
  return numa;
}

describe("a page goes", () => {
  test("to the node of the CPU that touches it first", () => {
    const numa = touched(nodes());
    expect([...numa.pages]).toEqual([8, 4]);
    expect(numa.takeClearNs()).toBe(0);
    numa.dropped(0, 0x10f);
    expect([...numa.pages]).toEqual([4, 3]);
  });

  test("to every node by turns; half of them are cleared from afar", () => {
    const numa = touched(nodes({ policy: "interleave" }));
    expect([...numa.pages]).toEqual([6, 6]);
    expect(numa.takeClearNs()).toBeCloseTo(6 * PAGE * 0.1 * 0.5, 6);
  });

  test("to the node it is bound to", () => {
    expect([...touched(nodes({ policy: "bind", bindNode: 1 })).pages]).toEqual([0, 12]);
    // CPUs on the first node only: all of it is remote.
    const numa = touched(nodes({ policy: "bind", bindNode: 1, cpuNodes: 1 }));
    expect(numa.takeClearNs()).toBeCloseTo(12 * PAGE * 0.1 * 0.5, 6);
  });
});

test("writing costs more for the part that is on another node, if it is there at all", () => {
  const numa = touched(nodes());
  expect(numa.writeNs(0, 0, 8 * PAGE, 1000)).toBe(0);
  expect(numa.writeNs(1, 0, 8 * PAGE, 1000)).toBeCloseTo(1000 * 0.2 * 0.5, 6);
  expect(numa.writeNs(0, 0, 12 * PAGE, 1200)).toBeCloseTo(400 * 0.2 * 0.5, 6);
  expect(numa.writeNs(1, 32 * PAGE, 40 * PAGE, 1000)).toBe(0);
});

test("marking is remote by where the bytes are against where the Ps are", () => {
  const numa = touched(nodes());
  numa.beginMark();
  numa.marked(0, 8 * PAGE, 3000);
  numa.marked(8 * PAGE, 12 * PAGE, 1000);
  // One P on node 0: a quarter is remote. Two Ps: each node's bytes are marked by the other node half of the time.
  expect(numa.markFactor(1)).toBeCloseTo(1 + 0.25 * 0.5 * 0.5, 12);
  expect(numa.markFactor(2)).toBeCloseTo(1 + 0.5 * 0.5 * 0.5, 12);
  expect(numa.remoteMarkShare).toBe(0.5);
  numa.cycleEnded(1125);
  expect(numa.remoteNs).toBeCloseTo(125, 9);
});

const scenario = (numa: string): string => `
name: nodes
duration: 3s
machine: {cpus: 4${numa}}
workload:
  - {kind: cache, name: c, requests: 20k/s, keys: 60000, max_entries: 30000, prefill: true, objects: [{size: 700, pointers: 30%}]}
  - {kind: stream, name: big, rate: 300/s, size: 100KiB, lifetime: 100ms, goroutines: 4}
interventions: [{at: 2s, do: free_os_memory}]
`;

function run(text: string) {
  const of = scenarioOf(text);
  const rows: Record<string, number>[] = [];
  const names = sampleColumns(of).map(({ name }) => name);
  const { figures } = simulate(of, {
    checked: true,
    sink: { sample: (row) => rows.push(Object.fromEntries(names.map((name, i) => [name, row[i]]))) },
  });
  return { scenario: of, rows, figures, names };
}

describe("a run on two nodes", () => {
  const two = run(scenario(", numa: {nodes: 2}"));
  const pinned = run(scenario(", numa: {nodes: 2, cpu_nodes: 1}"));
  const wrong = run(scenario(", numa: {nodes: 2, cpu_nodes: 1, policy: bind, bind_node: 1}"));
  const one = run(scenario(""));

  test("has its resident set on the nodes, and columns for that only where it is asked for", () => {
    for (const row of two.rows)
      expect(Math.abs(row["numa_node0_bytes"] + row["numa_node1_bytes"] - row["rss_bytes"])).toBeLessThan(
        PAGE,
      );
    expect(one.names.some((name) => name.startsWith("numa"))).toBe(false);
  });

  test("pinned to one of them is the same as on a machine without nodes, byte by byte", () => {
    expect(pinned.figures["numa_remote_cpu_seconds"]).toBe(0);
    for (const [i, row] of one.rows.entries()) expect(pinned.rows[i]).toMatchObject(row);
  });

  test("marks half from afar when it is on both, and all of it with its memory on the wrong one", () => {
    expect(two.figures["numa_remote_mark_fraction"]).toBeCloseTo(0.5, 1);
    expect(wrong.figures["numa_remote_mark_fraction"]).toBe(1);
    expect(wrong.figures["numa_remote_cpu_seconds"]).toBeGreaterThan(two.figures["numa_remote_cpu_seconds"]);
    // Marking waits so much longer by the scenario's ratios; more than a third of the collector's time is marking what lies there.
    const { remote_ratio, memory_bound } = wrong.scenario.machine.numa!;
    const slower = (remote_ratio - 1) * memory_bound;
    // By what is marked: when cycles start, and so how much is alive, is another moment in the two runs.
    const perByte = ({ gc_cpu_seconds, gc_count, heap_marked_mean_bytes }: Record<string, number>): number =>
      gc_cpu_seconds / (gc_count * heap_marked_mean_bytes);
    const grown = perByte(wrong.figures) / perByte(pinned.figures) - 1;
    expect(grown).toBeGreaterThan(slower / 3);
    expect(grown).toBeLessThan(slower);
  });
});

test("nodes that cannot be are refused", () => {
  const faults = (machine: string, go = "{}"): string[] =>
    faultsOf(`
name: t
duration: 1s
go: ${go}
machine: ${machine}
workload: [{name: a, kind: stream, rate: 5k/s, size: 64, lifetime: 1s}]
`).map(({ path, message }) => `${path}: ${message}`);
  expect(faults("{numa: {nodes: 2}}")).toEqual([]);
  expect(faults("{cpus: 2, numa: {nodes: 4}}")).toMatchInlineSnapshot(`
    [
      "machine.numa.cpu_nodes: 2 CPUs cannot be on 4 nodes",
    ]
  `);
  expect(
    faults("{cpus: 8, numa: {nodes: 2, cpu_nodes: 3, policy: bind, bind_node: 2}}"),
  ).toMatchInlineSnapshot(`
    [
      "machine.numa.cpu_nodes: there are 2 nodes",
      "machine.numa.bind_node: there are 2 nodes, from 0 to 1",
    ]
  `);
  expect(faults("{thp: always, numa: {nodes: 2}}")).toMatchInlineSnapshot(`
    [
      "machine.numa: huge pages on several nodes are not modelled",
    ]
  `);
  expect(faults("{numa: {nodes: 2}}", "{GODEBUG: {madvdontneed: 0}}")).toMatchInlineSnapshot(`
    [
      "machine.numa: MADV_FREE on several nodes is not modelled",
    ]
  `);
  expect(faults("{numa: {nodes: 2}}", '{version: "1.20"}')).toMatchInlineSnapshot(`
    [
      "machine.numa: huge pages on several nodes are not modelled",
    ]
  `);
});
