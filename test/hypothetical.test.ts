/** Settings that no Go release has, or no machine here: what they do by mechanism, and that nobody can take them for real. */
import { describe, expect, test } from "vitest";
import { unplayable } from "../src/oracle/run.ts";
import { simulate } from "../src/simulate.ts";
import { scenarioOf } from "./scenarios.ts";

const text = (go: string): string => `
name: scaled
duration: 2s
go: ${go}
workload:
  - {kind: leak, name: l, byte_rate: 100MiB/s, size: 4KiB}
`;

describe("arenascale", () => {
  const run = (scale: number) => {
    const rows: Float64Array[] = [];
    const summary = simulate(scenarioOf(text(`{hypothetical: {arenascale: ${scale}}}`)), {
      checked: true,
      sink: { sample: (row) => rows.push(row.slice()) },
    });
    return { rows, summary };
  };
  const [one, four] = [run(1), run(4)];

  test("1 is Go as it is", () => {
    const rows: Float64Array[] = [];
    simulate(scenarioOf(text("{}")), { sink: { sample: (row) => rows.push(row.slice()) } });
    expect(one.rows).toEqual(rows);
  });

  test("multiplies the first reservation: fewer of them, as many growths, the same resident set", () => {
    // 200 MiB are 4 arenas of 64 MiB.
    expect(one.summary.figures["heap_reserve_calls"]).toBe(4);
    expect(four.summary.figures["heap_reserve_calls"]).toBe(1);
    expect(four.summary.figures["heap_map_calls"]).toBe(one.summary.figures["heap_map_calls"]);
    expect(four.summary.figures["rss_peak_bytes"]).toBe(one.summary.figures["rss_peak_bytes"]);
    expect(four.summary.figures["pause_median_ns"]).toBe(one.summary.figures["pause_median_ns"]);
  });

  test("is called what it is, and not played for real", () => {
    expect(four.summary.hypothetical).toEqual(["arenascale=4 (in no Go release)"]);
    expect(simulate(scenarioOf(text("{}"))).hypothetical).toBeUndefined();
    expect(unplayable(scenarioOf(text("{hypothetical: {arenascale: 4}}")))).toBe(
      "`go.hypothetical`, which no Go release has",
    );
  });
});

describe("the real program cannot play", () => {
  const more = (settings: string): string => `
name: more
duration: 2s
${settings}
workload:
  - {kind: leak, name: l, byte_rate: 1MiB/s, size: 4KiB}
`;

  test("nodes, whose memory is not read from a real machine", () => {
    expect(unplayable(scenarioOf(more("machine: {numa: {nodes: 2}}")))).toContain("`machine.numa`");
  });

  test("Go's own GOMAXPROCS for more CPUs than there are; for those there are it can", () => {
    const quota = (cpus: number): string =>
      more(`machine: {cpus: ${cpus}}
container: {cpu: {limit: 2}}
interventions: [{at: 1s, do: resize_container, cpu_limit: 4}]`);
    expect(unplayable(scenarioOf(quota(1024)))).toContain("Go's own GOMAXPROCS on 1024 CPUs");
    expect(unplayable(scenarioOf(quota(1)))).toBeUndefined();
  });
});
