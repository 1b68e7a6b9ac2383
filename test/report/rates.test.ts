import { describe, expect, it } from "vitest";
import { cycleEndSeconds } from "../../src/report/cycles.ts";
import { type CpuRates, type CycleTime, cpuRatesOf, rateOf } from "../../src/report/rates.ts";
import { SimulatedRun, sampleColumns } from "../../src/simulate.ts";
import { scenarioOf } from "../scenarios.ts";

const at = (...values: number[]): Float64Array => Float64Array.from(values);

describe("rates", () => {
  it("are growth per second, and none across a restart", () => {
    expect([...rateOf(at(1, 2, 4), at(3, 5, 1))]).toEqual([3, 2, Number.NaN]);
  });

  it("of what is counted at a cycle's end are spread over the cycle", () => {
    const t = at(1, 2, 3, 4);
    const none = at(0, 0, 0, 0);
    const two = at(2, 2, 2, 2);
    const marking = (counters: Partial<CpuRates>, cycles: readonly CycleTime[]): CpuRates =>
      cpuRatesOf(t, { mutator: none, background: none, assist: none, idle: none, ...counters }, two, cycles);
    // 1.5 CPU seconds from 1.5 to 3.0; nothing else.
    const one = [{ start: 1.5, end: 3 }];
    expect([...marking({ background: at(0, 0, 1.5, 1.5) }, one).background]).toEqual([0, 0.5, 1, 0]);
    // Idle workers have what goroutines leave: of the second from 2 to 3 nothing.
    const { idle, mutator } = marking({ idle: at(0, 0, 0.5, 0.5), mutator: at(0, 1, 3, 3) }, one);
    expect([...mutator]).toEqual([0, 1, 2, 0]);
    expect([...idle]).toEqual([0, 0.5, 0, 0]);
    // Two cycles that ended between two samples share by their length.
    const pair = [
      { start: 1.5, end: 2.5 },
      { start: 2.75, end: 3 },
    ];
    expect([...marking({ background: at(0, 0, 1.25, 1.25) }, pair).background]).toEqual([0, 0.5, 0.75, 0]);
    // Where no cycle is known it stays where it was counted; a slice counted ahead is of the next sample.
    expect([...marking({ background: at(0, 0, 1, 1) }, []).background]).toEqual([0, 0, 1, 0]);
    expect([...marking({ mutator: at(0, 2.5, 3, 3) }, []).mutator]).toEqual([0, 2, 1, 0]);
  });

  it("of a run's collector and goroutines together never exceed its CPUs, and add up to what was counted", () => {
    const scenario = scenarioOf(`name: t
duration: 4s
sample_interval: 50ms
go: { GOGC: 100, GOMAXPROCS: 2 }
machine: { cpus: 2 }
workload:
  - {name: live, kind: stream, rate: 800k/s, size: 128, pointers: 100%, lifetime: 3s}
  - {name: api, kind: service, arrivals: {rate: 300/s}, cpu: {exponential: 3ms}, objects: [{size: 512, count: 100}]}
`);
    const names = sampleColumns(scenario).map(({ name }) => name);
    const rows: Float64Array[] = [];
    const cycles: CycleTime[] = [];
    const run = new SimulatedRun(scenario, {
      sink: {
        sample: (row) => void rows.push(row.slice()),
        cycle: (cycle) => void cycles.push({ start: cycle.start_seconds, end: cycleEndSeconds(cycle) }),
      },
    });
    run.advance(scenario.duration);
    const column = (name: string): Float64Array => Float64Array.from(rows, (row) => row[names.indexOf(name)]);
    const t = column("t_seconds");
    const counters: CpuRates = {
      mutator: column("mutator_cpu_seconds"),
      background: column("gc_background_cpu_seconds"),
      assist: column("gc_assist_cpu_seconds"),
      idle: column("gc_idle_cpu_seconds"),
    };
    const mostOf = ({ mutator, background, assist, idle }: CpuRates): number =>
      Math.max(...mutator.map((own, i) => own + background[i] + assist[i] + idle[i]));
    const plain = Object.fromEntries(
      Object.entries(counters).map(([name, seconds]) => [name, rateOf(t, seconds)]),
    ) as unknown as CpuRates;
    // A goroutine's slice, of up to 10 ms, is counted when it begins: so much of a sample of 50 ms may be the next one's on each P.
    const most = 2 + 2 * (10 / 50);
    // Some cycle takes longer than a sample: counted at its end it needs more CPUs than there are.
    expect(mostOf(plain)).toBeGreaterThan(most);
    const rates = cpuRatesOf(
      t,
      counters,
      t.map(() => 2),
      cycles,
    );
    expect(mostOf(rates)).toBeLessThan(most);
    for (const [name, values] of Object.entries(rates)) {
      const seconds = values.reduce(
        (all: number, rate: number, i: number) => all + rate * (t[i] - (t[i - 1] ?? 0)),
        0,
      );
      const counter = counters[name as keyof CpuRates];
      expect(seconds).toBeCloseTo(counter[t.length - 1], 6);
    }
  });
});
