/** What is done to a run by hand: it takes effect, and the same actions at the same times give the same run. */
import { describe, expect, it } from "vitest";
import type { Action } from "../../src/scenario/actions.ts";
import { loadScenario } from "../../src/scenario/load.ts";
import { SimulatedRun } from "../../src/simulate.ts";
import { scenarioOf } from "../report/exported.ts";

const SCENARIO = `name: live
duration: 6s
workload:
  - kind: service
    name: api
    arrivals: { rate: 1000/s }
    cpu: 100us
    objects: [{ name: rows, count: 50, size: 200, pointers: 50% }]
  - kind: stream
    name: objects
    rate: 50k/s
    size: 64
    lifetime: 300ms
phases:
  - { at: 5s, name: rush, set: { workload.api.arrivals.rate: 4000/s } }
`;

type Timed = readonly [atNs: number, action: Action];

/** All rows of a run with these actions, played in pieces of `stepNs`. */
function rows(
  text: string,
  actions: readonly Timed[],
  stepNs: number,
): { rows: number[][]; run: SimulatedRun } {
  const got: number[][] = [];
  const run = new SimulatedRun(scenarioOf(text), { sink: { sample: (row) => got.push([...row]) } });
  const playTo = (until: number): void => {
    for (let t = run.nowNs + stepNs; t < until; t += stepNs) run.advance(t);
    run.advance(until);
  };
  for (const [atNs, action] of actions) {
    playTo(atNs);
    expect(run.act(action)).toBe(true);
  }
  playTo(6e9);
  return { rows: got, run };
}

const ACTIONS: readonly Timed[] = [
  [700_000_001, { do: "set_gc_percent", to: 25 }],
  [1e9, { do: "set_traffic", to: 3 }],
  [1.5e9, { do: "gc" }],
  [2e9, { do: "set_memory_limit", to: 8 << 20 }],
  [2.5e9, { do: "set_traffic", to: 0 }],
  [3e9, { do: "free_os_memory" }],
  [3.2e9, { do: "set_memory_limit", to: "off" }],
  [3.5e9, { do: "phase", to: "rush" }],
  [4e9, { do: "set_traffic", to: 0.5 }],
];

it("can change the same entry twice at one moment: the later one holds", () => {
  const twice = rows(
    SCENARIO,
    [
      [1e9, { do: "set_traffic", to: 3 }],
      [1e9, { do: "set_traffic", to: 0 }],
    ],
    1e9,
  );
  const once = rows(SCENARIO, [[1e9, { do: "set_traffic", to: 0 }]], 1e9);
  expect(twice.run.summary().figures["api_requests"]).toBe(once.run.summary().figures["api_requests"]);
});

/** Killed by its leak every three seconds. */
const leaky = (policy: string): string => `name: leaky
duration: 30s
workload:
  - { kind: leak, name: l, byte_rate: 20MiB/s, size: 4096 }
container:
  memory: { max: 64MiB }
  restart: { policy: ${policy} }
`;

describe("actions by hand", () => {
  it("give the same run when they come at the same times, in however many pieces it is played", () => {
    const whole = rows(SCENARIO, ACTIONS, 6e9);
    const pieces = rows(SCENARIO, ACTIONS, 7_777_777);
    expect(pieces.rows).toEqual(whole.rows);
    expect(whole.rows.length).toBe(60);
    const { events } = whole.run.summary();
    expect(events.map(({ event, reason }) => `${event}, ${reason}`)).toEqual([
      "set_gc_percent 25, by hand",
      "set_traffic 3, by hand",
      "gc, by hand",
      "set_memory_limit 8388608, by hand",
      "set_traffic 0, by hand",
      "free_os_memory, by hand",
      "set_memory_limit off, by hand",
      "phase rush, by hand",
      "set_traffic 0.5, by hand",
      "phase rush, at its time",
    ]);
  });

  it("change what they name", () => {
    const requests = (actions: readonly Timed[], fromNs: number, toNs: number): number => {
      const run = new SimulatedRun(scenarioOf(SCENARIO));
      for (const [atNs, action] of actions) {
        run.advance(atNs);
        run.act(action);
      }
      run.advance(fromNs);
      const before = run.lastView().running[0].completed ?? 0;
      run.advance(toNs);
      return (run.lastView().running[0].completed ?? 0) - before;
    };
    // 1000 requests a second, Poisson: four standard deviations are 130.
    expect(Math.abs(requests([], 2e9, 3e9) - 1000)).toBeLessThan(130);
    expect(Math.abs(requests([[1e9, { do: "set_traffic", to: 3 }]], 2e9, 3e9) - 3000)).toBeLessThan(220);
    expect(requests([[1e9, { do: "set_traffic", to: 0 }]], 2e9, 3e9)).toBe(0);
    expect(Math.abs(requests([[1e9, { do: "phase", to: "rush" }]], 2e9, 3e9) - 4000)).toBeLessThan(260);
    // Traffic stays when a phase begins by itself.
    expect(Math.abs(requests([[1e9, { do: "set_traffic", to: 0.5 }]], 5e9, 6e9) - 2000)).toBeLessThan(180);
  });

  it("reach the runtime at once", () => {
    const run = new SimulatedRun(scenarioOf(SCENARIO));
    // Before the first moment, too.
    expect(run.act({ do: "set_gc_percent", to: 37 })).toBe(true);
    run.advance(1e9);
    expect(run.lastView().rt.pacer.gcPercent).toBe(37);
    const { numForcedGC } = run.lastView().rt.gc;
    run.act({ do: "gc" });
    run.advance(1.1e9);
    expect(run.lastView().rt.gc.numForcedGC).toBe(numForcedGC + 1);
    run.act({ do: "set_memory_limit", to: 100 << 20 });
    expect(run.lastView().rt.pacer.memoryLimit).toBe(100 << 20);
  });

  it("are refused where there is nothing to act on", () => {
    const run = new SimulatedRun(scenarioOf(SCENARIO));
    expect(run.act({ do: "phase", to: "no such" })).toBe(false);
    run.advance(6e9);
    expect(run.act({ do: "gc" })).toBe(false);
  });

  it("are over for the next process in the order they came, with the scenario's own phases", () => {
    const run = new SimulatedRun(
      scenarioOf(`name: leaky
duration: 30s
workload:
  - { kind: leak, name: l, byte_rate: 20MiB/s, size: 4096 }
  - { kind: stream, name: s, rate: 1000/s, size: 64, lifetime: 10ms }
phases:
  - { at: 1s, name: few, set: { workload.s.rate: 100/s } }
  - { at: 29s, name: many, set: { workload.s.rate: 5000/s } }
container:
  memory: { max: 64MiB }
  restart: { policy: always }
`),
    );
    const made = (): number => run.summary().sources.find(({ name }) => name === "s")?.allocated ?? 0;
    run.advance(0.5e9);
    expect(run.act({ do: "phase", to: "many" })).toBe(true);
    run.advance(1e9);
    const many = made();
    // The first process is killed after some three seconds and starts again at once.
    run.advance(4e9);
    expect(run.view()?.startNs).toBeGreaterThan(2e9);
    const before = made();
    run.advance(5e9);
    expect(many).toBeGreaterThan(2500);
    expect(Math.abs(made() - before - 100)).toBeLessThan(5);
  });

  it("outlive a killed process where they are about its traffic", () => {
    const run = new SimulatedRun(scenarioOf(leaky("always, backoff: 5s")));
    let down = 0;
    let up = false;
    for (let t = 1e8; t <= 30e9; t += 1e8) {
      run.advance(t);
      const view = run.view();
      if (view === undefined && !up) {
        down++;
        expect(run.restartNs).toBeGreaterThan(t - 1);
        expect(run.act({ do: "gc" })).toBe(false);
        expect(run.act({ do: "set_traffic", to: 0 })).toBe(true);
      } else if (view !== undefined && down > 0) up = true;
    }
    expect(down).toBeGreaterThan(10);
    expect(up).toBe(true);
    // Without traffic the new process leaks nothing.
    expect(run.lastView().memStats.heapAlloc).toBeLessThan(4 << 20);
    expect(run.lastView().memStats.totalAlloc).toBeLessThan(4 << 20);
  });

  it("resize a container, whether or not a process lives", () => {
    const run = new SimulatedRun(scenarioOf(leaky("always")));
    run.advance(1e9);
    // More is in use: the kernel kills at once, and the next process starts at once.
    expect(run.act({ do: "resize_container", memory_max: 8 << 20 })).toBe(true);
    expect(run.restartNs).toBe(1e9);
    run.advance(2e9);
    expect(run.restartNs).toBeGreaterThan(10e9);
    expect(run.act({ do: "resize_container", memory_max: 2 ** 30 })).toBe(true);
    run.advance(30e9);
    const { events, figures } = run.summary();
    expect(events.map(({ t_seconds, event }) => `${Math.floor(t_seconds)} ${event}`)).toEqual([
      "1 resize_container memory_max 8388608",
      "1 OOM kill",
      "1 OOM kill",
      "2 resize_container memory_max 1073741824",
    ]);
    expect(figures["oom_kills"]).toBe(2);
    const bare = new SimulatedRun(scenarioOf(SCENARIO));
    expect(bare.act({ do: "resize_container", memory_max: 2 ** 30 })).toBe(false);
  });

  it("change GOMAXPROCS with the CPU limit, as Go does by itself", () => {
    const loaded = loadScenario(
      `name: steered
duration: 10s
machine: { cpus: 8 }
container: { cpu: { limit: 2 } }
workload: [{ kind: stream, name: s, rate: 1k/s, size: 64, lifetime: 10ms }]
`,
      "t.yaml",
      { steered: true },
    );
    if (!loaded.ok) throw new Error("it loads");
    const run = new SimulatedRun(loaded.scenarios[0]);
    run.advance(1e9);
    expect(run.lastView().rt.sched.nprocs).toBe(2);
    run.act({ do: "resize_container", cpu_limit: 6 });
    run.advance(4e9);
    expect(run.lastView().rt.sched.nprocs).toBe(6);
  });
});
