/** Runs of a few virtual seconds for the tests of exports: one in a container with everything in it, one bare. */
import { loadScenario } from "../../src/scenario/load.ts";
import type { Scenario } from "../../src/scenario/schema.ts";
import { type ProcessView, SimulatedRun } from "../../src/simulate.ts";

export const POD = `name: pod
duration: 6s
go: { GOGC: 50, GOMEMLIMIT: 56MiB, GOMAXPROCS: 2 }
workload:
  - kind: service
    name: api
    arrivals: { rate: 500/s }
    cpu: { exponential: 300us }
    io: 3ms
    objects:
      - { name: rows, count: 40, size: { lognormal: { median: 96, sigma: 0.8 } }, pointers: 50% }
      - { name: tags, count: 20, size: 9 }
      - { name: page, size: 64KiB }
      - { name: session, size: 512, lifetime: { exponential: 3s } }
interventions:
  - { at: 2s, do: gc, every: 2s }
  - { at: 500ms, do: read_mem_stats, every: 1s }
container:
  memory: { max: 64MiB }
  cpu: { limit: 0.5 }
  page_cache:
    - { name: log, rate: 4MiB/s }
`;

/** Leaks at once, and is never started again. */
export const KILLED_POD = `name: killed
duration: 60s
workload:
  - { kind: leak, name: l, byte_rate: 500MiB/s, size: 64KiB }
container:
  memory: { max: 64MiB }
`;

export const BARE = `name: bare
duration: 4s
workload:
  - kind: stream
    name: objects
    rate: 100k/s
    size: 64
    lifetime: 50ms
`;

export function scenarioOf(text: string): Scenario {
  const loaded = loadScenario(text, "test.yaml");
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.errors, null, 2));
  return loaded.scenarios[0];
}

export function played(text: string, untilNs = Infinity): SimulatedRun {
  const run = new SimulatedRun(scenarioOf(text));
  run.advance(untilNs);
  return run;
}

/** The process at the end, or after so much of it. */
export const viewOf = (text: string, untilNs = Infinity): ProcessView => played(text, untilNs).lastView();
