/** What becomes of phases and interventions when the process is killed and started again. */
import { describe, expect, test } from "vitest";
import { OOM_KILL } from "../../src/control/interventions.ts";
import { type RunSummary, SimulatedRun } from "../../src/simulate.ts";
import { scenarioOf } from "../scenarios.ts";

const MiB = 2 ** 20;

/** Killed by its leak after one second and a bit; the second time it stays down for ten seconds. */
const LEAKY = `
name: leaky
duration: 20s
container:
  memory: {max: 24MiB}
  restart: {policy: always}
workload:
  - {kind: leak, name: l, byte_rate: 16MiB/s, size: 1KiB}
`;

function run(text: string, stepNs = 20e9): { rows: Float64Array[]; summary: RunSummary; traced: string[] } {
  const rows: Float64Array[] = [];
  const traced: string[] = [];
  const played = new SimulatedRun(scenarioOf(text), {
    checked: true,
    sink: { sample: (row) => rows.push(row.slice()) },
    trace: {
      kinds: ["intervention"],
      tracer: { event: ({ t_ns, name }) => traced.push(`${(t_ns / 1e9).toFixed(1)} ${name}`) },
    },
  });
  for (let t = stepNs; !played.ended; t += stepNs) played.advance(t);
  return { rows, summary: played.summary(), traced };
}

const kills = ({ oom_kills = [] }: RunSummary) =>
  oom_kills.map(({ t_seconds, restart_at_seconds }) => [t_seconds, restart_at_seconds] as const);
/** What was done, kills apart. */
const done = ({ events }: RunSummary) => events.filter(({ event }) => event !== OOM_KILL);
const events = (summary: RunSummary): string[] =>
  done(summary).map(({ t_seconds, event, reason }) => `${t_seconds.toFixed(1)} ${event}, ${reason}`);

describe("from outside", () => {
  test("limits raised while the process waits for its restart hold from then on", () => {
    const text = `${LEAKY}
interventions:
  - {at: 8s, do: resize_container, memory_max: 512MiB}
`;
    const { summary, traced } = run(text);
    expect(events(summary)).toEqual([`8.0 resize_container memory_max ${512 * MiB}, at its time`]);
    expect(traced).toEqual([`8.0 resize_container memory_max ${512 * MiB}`]);
    // Without: a third kill a second and a half after the restart.
    expect(kills(run(LEAKY).summary)).toHaveLength(3);
    const [first, second, third] = kills(summary);
    expect(second[0]).toBeLessThan(8);
    expect(second[1]).toBeGreaterThan(8);
    expect(second[1]! - second[0]).toBeCloseTo(10, 6);
    expect(first[1]).toBe(first[0]);
    expect(third).toBeUndefined();
  });

  test("a limit that kills is written once: the next life starts at the same instant", () => {
    const { summary } = run(`${LEAKY.replace("24MiB", "256MiB").replace("16MiB/s", "8MiB/s, stop: 5s")}
interventions:
  - {at: 4s, do: resize_container, memory_max: 12MiB}
`);
    expect(kills(summary)).toEqual([[4, 4]]);
    expect(events(summary)).toEqual([`4.0 resize_container memory_max ${12 * MiB}, at its time`]);
  });

  test("phases and conditions come once in the run and stay", () => {
    const { summary } = run(`${LEAKY}
interventions:
  - {when: {metric: rss_bytes, above: 10MiB}, do: resize_container, memory_max: 32MiB}
phases:
  - {when: {metric: rss_bytes, above: 16MiB}, name: slower, set: {workload.l.byte_rate: 12MiB/s}}
  - {at: 8s, name: mended, set: {workload.l.byte_rate: 1KiB/s}}
`);
    const names = done(summary).map(({ event }) => event);
    expect(names).toEqual([`resize_container memory_max ${32 * MiB}`, "phase slower", "phase mended"]);
    // The second life leaks 12 MiB per second from its start, up to the new limit; the third leaks nothing.
    const [first, second, third] = kills(summary);
    expect(second[0] - first[0]).toBeGreaterThan(2.2);
    expect(third).toBeUndefined();
  });

  test("an operator sees the kill while the process is down", () => {
    const { summary } = run(`${LEAKY}
interventions:
  - {when: {metric: oom_kills, above: 1}, do: resize_container, memory_max: 1GiB}
  - {when: [{metric: oom_kills, above: 1}, {metric: rss_bytes, above: 0B}], do: resize_container, memory_high: 1GiB}
`);
    const [, second] = kills(summary);
    expect(kills(summary)).toHaveLength(2);
    expect(done(summary).map(({ t_seconds }) => t_seconds)).toEqual([
      expect.closeTo(second[0] + 0.1, 6),
      // There is no RSS before the process is there again.
      expect.closeTo(second[1]! + 0.1, 6),
    ]);
  });
});

describe("the program's own calls", () => {
  const CALLS = `${LEAKY}
interventions:
  - {at: 1s, do: set_memory_limit, to: 300MiB}
  - {at: 8s, do: set_gc_percent, to: 60}
  - {at: 1s, do: gc, every: 4s}
  - {when: {metric: rss_bytes, above: 10MiB}, do: set_gc_percent, to: 50}
`;

  test("take a process: a moment is missed or past, a condition is each life's own", () => {
    const { summary } = run(CALLS);
    const lives = [0, ...kills(summary).map(([, restart]) => restart ?? 20)];
    const met = summary.events.filter(({ event }) => event === "set_gc_percent 50");
    // In each of the three lives, some half a second after its start.
    expect(met.map(({ t_seconds }, i) => t_seconds - lives[i])).toEqual(
      [0.5, 0.5, 0.5].map(() => expect.closeTo(0.6, 0)),
    );
    expect(events(summary).filter((event) => !event.includes("rss"))).toEqual([
      `1.0 set_memory_limit ${300 * MiB}, at its time`,
      "1.0 gc, periodic",
      "8.0 set_gc_percent 60 missed, at its time: the process was down",
    ]);
  });

  test("are the same however the run is played", () => {
    const whole = run(CALLS);
    const pieces = run(CALLS, 77_777_777);
    expect(pieces.rows).toEqual(whole.rows);
    expect(pieces.summary.events).toEqual(whole.summary.events);
    expect(pieces.traced).toEqual(whole.traced);
  });
});

test("looking changes nothing: a condition that is never met leaves the run as it is", () => {
  const never = run(`${LEAKY}
interventions:
  - {when: [{metric: frag_largest_free_run_bytes, above: 1TiB}, {metric: memory_current_bytes, above: 1TiB}], do: gc}
`);
  expect(never.rows).toEqual(run(LEAKY).rows);
});
