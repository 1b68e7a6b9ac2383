/** A run on a machine whose memory runs short: what it shows of it, who is killed, and what goes on while the process is down. */
import { expect, test, vi } from "vitest";
import { cgroupFiles, PressureAverages } from "../src/report/cgroupfs.ts";
import { oomText } from "../src/report/oom.ts";
import { sampleColumns } from "../src/samples.ts";
import { loadScenario } from "../src/scenario/load.ts";
import type { Scenario } from "../src/scenario/schema.ts";
import { EventQueue } from "../src/sim/eventqueue.ts";
import { type RunSummary, SimulatedRun, simulate } from "../src/simulate.ts";

const MiB = 2 ** 20;

function scenario(text: string): Scenario {
  const loaded = loadScenario(`name: t\nduration: 10s\n${text}`, "t.yaml");
  if (!loaded.ok) throw new Error(loaded.errors.map(({ path, message }) => `${path}: ${message}`).join("\n"));
  return loaded.scenarios[0];
}

/** A run with its series. */
function played(what: Scenario): { summary: RunSummary; column: (name: string) => number[] } {
  const names = sampleColumns(what).map(({ name }) => name);
  const rows: number[][] = [];
  const summary = simulate(what, { checked: true, sink: { sample: (row) => rows.push([...row]) } });
  return { summary, column: (name) => rows.map((row) => row[names.indexOf(name)]) };
}

const quiet = "workload: [{name: a, kind: stream, rate: 2k/s, size: 64, lifetime: 1s}]\n";
/** A heap of 40 MiB for two seconds, and a program that gives all of it back at the third, by MADV_FREE. */
const lazy = `go: {GODEBUG: {madvdontneed: 0}}
workload: [{name: a, kind: stream, rate: 200/s, size: 256KiB, lifetime: 400ms, stop: 2s}]
interventions:
  - {at: 3s, do: free_os_memory}
`;

test("what was freed by MADV_FREE is taken when the machine runs short, and only then", () => {
  const calm = played(
    scenario(`${lazy}container: {}\nmachine: {memory: 512MiB, thp: never, neighbours: {anon: 64MiB}}\n`),
  );
  const short = played(
    scenario(
      `${lazy}  - {at: 5s, do: set_neighbours, anon: 502MiB, over: 2s}
container: {}\nmachine: {memory: 512MiB, thp: never, neighbours: {anon: 64MiB}}\n`,
    ),
  );
  const at = (seconds: number): number => seconds * 10 - 1;
  expect(calm.column("lazy_free_bytes")[at(4)]).toBeGreaterThan(35 * MiB);
  expect(calm.column("lazy_free_bytes")[at(10)]).toBe(calm.column("lazy_free_bytes")[at(4)]);
  expect(short.column("lazy_free_bytes")[at(4)]).toBe(calm.column("lazy_free_bytes")[at(4)]);
  expect(short.column("lazy_free_bytes")[at(8)]).toBeLessThan(4 * MiB);
  const lost = short.column("rss_bytes")[at(4)] - short.column("rss_bytes")[at(8)];
  expect(lost).toBeGreaterThan(35 * MiB);
  expect(short.column("node_pgsteal_kswapd_bytes")[at(8)]).toBeGreaterThanOrEqual(lost - MiB);
  expect(short.summary.figures["oom_kills"]).toBe(0);
});

test("the machine's OOM killer ends the process in the kernel's words, and it starts again on what is left", () => {
  const what = scenario(`${quiet}container: {off_heap: 200MiB, restart: {policy: always}}
machine: {memory: 512MiB, thp: never, neighbours: {kernel: 40MiB, anon: 100MiB, oom_score_adj: -1000}}
interventions:
  - {at: 2s, do: set_neighbours, anon: 300MiB, over: 1s}
  - {at: 4s, do: set_neighbours, anon: 50MiB}
`);
  const { summary, column } = played(what);
  const kills = summary.oom_kills ?? [];
  // 200 MiB beside 40 + 300 are more than there is: killed as they grow, started again at once, and killed at its start; then
  // back-off has it wait until 10 s after that.
  expect(kills.length).toBeGreaterThanOrEqual(2);
  expect(kills[0].t_seconds).toBeGreaterThan(2.5);
  expect(kills[0].t_seconds).toBeLessThan(3);
  const log = kills[0].kernel_log.map((line) => line.replace(/^\[.*?\] /, ""));
  expect(log[0]).toBe(
    "neighbour invoked oom-killer: gfp_mask=0x140dca(GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO), order=0, oom_score_adj=-1000",
  );
  expect(log).toContain("131072 pages RAM");
  expect(log.find((line) => line.startsWith("Node 0 DMA32 free:"))).toMatch(
    // sqrt(16 * 524288) KiB; low and high 0.25 of it above, in whole pages.
    /min:2896kB low:3620kB high:4344kB managed:524288kB$/,
  );
  expect(log.at(-2)).toBe(
    "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/gomemsim/t,task=t,pid=4242,uid=0",
  );
  expect(log.at(-1)).toMatch(/^Out of memory: Killed process 4242 \(t\) total-vm:\d+kB, anon-rss:20\d{4}kB/);
  // All memory of the machine is what thousandths are of.
  expect(kills[0].oom_badness_pages).toBe(
    Math.floor((kills[0].memory.stat.anon + 1556 * 1024 + kills[0].memory.stat.pagetables) / 4096),
  );
  expect(kills[0].memory.events).toMatchObject({ oom: 0, oom_kill: 1, max: 0 });
  expect(oomText(kills, 2)).toContain("global_oom");
  const event = summary.events.find((e) => e.event === "OOM kill");
  expect(event?.reason).toMatch(
    /^the machine has \d+ bytes free and nothing to reclaim; badness \d+ pages, neighbours' none$/,
  );
  // What is done while it is down stays done.
  expect(summary.events.map((e) => e.event)).toContain("set_neighbours anon 52428800");
  // The machine's figures go on while it is down; those of its group have no value.
  const down = column("t_seconds").indexOf(3.5);
  expect(column("memory_current_bytes")[down]).toBeNaN();
  expect(column("memory_events_low")[down]).toBeNaN();
  expect(column("node_neighbours_anon_bytes")[down]).toBe(300 * MiB);
  // All but the kernel's, theirs, and the program's file, which stays cached.
  expect(column("node_neighbours_file_bytes")[down]).toBe(0);
  expect(column("node_free_bytes")[down]).toBe((512 - 40 - 300) * MiB - 1556 * 1024);
  expect(column("oom_kills").at(-1)).toBe(kills.length);
});

const grows = "{at: 3s, do: set_neighbours, anon: 600MiB, over: 4s}";
/** Killed at once as neighbours grow, and not there again before the run ends. */
const isDown = (interventions: string): Scenario =>
  scenario(`${quiet}container: {off_heap: 200MiB, restart: {policy: always, backoff: 60s, max_backoff: 60s}}
machine: {memory: 512MiB, thp: never, neighbours: {kernel: 40MiB, anon: 100MiB, oom_score_adj: -500}}
interventions:
  - {at: 1s, do: set_neighbours, anon: 310MiB}
${interventions}`);

test("the machine goes on while the process is down: neighbours grow, run short, and are killed at that moment", () => {
  const { summary, column } = played(
    isDown(`  - ${grows}
`),
  );
  expect(summary.figures["oom_kills"]).toBe(2);
  expect(summary.oom_kills?.[1].t_seconds).toBeLessThan(3);
  const killed = summary.events.filter((e) => e.event === "OOM kill of neighbours");
  expect(killed).toHaveLength(1);
  // 310 MiB and 72.5 MiB a second; 512 MiB less the kernel's 40, the program's file (1.5), reserve and min (2 + 2.8) are
  // 465.7 MiB at 5.148 s, and the next round of 10 ms is it.
  expect(killed[0].t_seconds).toBe(5.15);
  expect(killed[0].reason).toMatch(/ badness none, neighbours' \d+$/);
  const anon = column("node_neighbours_anon_bytes");
  expect(anon[39] / MiB).toBeCloseTo(382.5, 0);
  expect(anon[49] / MiB).toBeCloseTo(455, 0);
  expect(anon[59]).toBe(0);
  expect(column("node_neighbour_oom_kills").slice(50, 53)).toEqual([0, 1, 1]);
  expect(summary.figures).toMatchObject({ node_neighbour_oom_kills: 1, oom_kills: 2 });
  expect(summary.figures["node_free_min_bytes"]).toBe(Math.min(...column("node_free_bytes")));
});

test("whoever waits outside sees the machine while the process is down, and how the run is cut makes no difference", () => {
  const what = isDown(`  - ${grows}
  - {when: {metric: node_free_bytes, below: 50MiB}, do: set_neighbours, anon: 100MiB}
`);
  const rows: number[][] = [];
  const run = new SimulatedRun(what, { sink: { sample: (row) => rows.push([...row]) } });
  for (let ns = 0; ns < 10e9; ns += 73_456_789) run.advance(ns);
  run.advance(10e9);
  const whole: number[][] = [];
  const summary = simulate(what, { sink: { sample: (row) => whole.push([...row]) } });
  expect(rows).toEqual(whole);
  expect(run.summary()).toEqual(summary);
  expect(summary.figures).toMatchObject({ oom_kills: 2, node_neighbour_oom_kills: 0 });
  const seen = summary.events.find((e) => e.event === "set_neighbours anon 104857600");
  // 512 - 40 - 50 MiB are theirs at 4.55 s.
  expect(seen?.t_seconds).toBeGreaterThan(4.5);
  expect(seen?.t_seconds).toBeLessThan(4.7);
});

test("a neighbour that is worse is killed in its place, and the process lives on", () => {
  const { summary, column } = played(
    scenario(`${quiet}container: {}
machine: {memory: 512MiB, thp: never, neighbours: {kernel: 40MiB, anon: 100MiB}}
interventions:
  - {at: 2s, do: set_neighbours, anon: 600MiB, over: 4s}
`),
  );
  expect(summary.figures).toMatchObject({ oom_kills: 0, node_neighbour_oom_kills: 1 });
  const event = summary.events.find((e) => e.event === "OOM kill of neighbours");
  // 100 MiB and 125 MiB a second, up to 512 MiB without the kernel's, the reserve and min (2 + 2.8), and the process: 455 or so.
  expect(event?.t_seconds).toBeGreaterThan(4.7);
  expect(event?.t_seconds).toBeLessThan(5);
  expect(column("node_neighbours_anon_bytes").at(-1)).toBe(0);
  expect(column("node_neighbour_oom_kills").at(-1)).toBe(1);
});

test("neighbours that read push page cache out, and stop when they are told", () => {
  const { column, summary } = played(
    scenario(`${quiet}container:
  page_cache: [{name: f, rate: 40MiB/s, file: 100MiB, stop: 4s}]
machine: {memory: 512MiB, thp: never, neighbours: {anon: 200MiB, reads: 80MiB/s}}
interventions:
  - {at: 8s, do: set_neighbours, reads: 0MiB/s}
`),
  );
  const file = column("memory_file_bytes");
  expect(Math.max(...file)).toBeGreaterThan(70 * MiB);
  expect(file.at(-1)).toBeLessThan(0.9 * Math.max(...file));
  expect(summary.figures["memory_events_max"]).toBe(0);
  const theirs = column("node_neighbours_file_bytes");
  expect(theirs.at(-1)).toBe(theirs[80]);
  expect(theirs[78]).not.toBe(theirs[80]);
});

test("an event that has fired is never cancelled: its number is another's by and by", () => {
  const cancel = vi.spyOn(EventQueue.prototype, "cancel");
  try {
    played(
      scenario(`${quiet}container:
  memory: {max: 300MiB}
  page_cache: [{name: f, rate: 40MiB/s, file: 100MiB}]
machine: {memory: 512MiB, thp: never, neighbours: {anon: 200MiB, reads: 80MiB/s}}
interventions:
  - {at: 4s, do: set_neighbours, anon: 350MiB, over: 1s, reads: 0B/s}
  - {at: 8s, do: set_neighbours, anon: 360MiB, over: 1s}
`),
    );
    const inVain = cancel.mock.calls.filter(
      ([handle], i) => handle >= 0 && cancel.mock.results[i].value === false,
    );
    expect(cancel.mock.results.some(({ value }) => value === true)).toBe(true);
    expect(inVain).toHaveLength(0);
  } finally {
    cancel.mockRestore();
  }
});

test("memory.low and memory.min are where cgroup v2 has them", () => {
  const what = scenario(`${quiet}container:
  memory: {low: 30MiB, min: 2MiB}
  page_cache: [{name: f, rate: 20MiB/s, stop: 1s}]
machine: {memory: 512MiB, thp: never, neighbours: {anon: 100MiB}}
interventions: [{at: 2s, do: set_neighbours, anon: 490MiB}]
`);
  const run = new SimulatedRun(what);
  run.advance(5e9);
  const view = run.view();
  if (view?.container == null) throw new Error("it lives");
  const files = cgroupFiles(view, view.container, new PressureAverages());
  expect(files["cgroup/memory.low"]).toBe(`${30 * MiB}\n`);
  expect(files["cgroup/memory.min"]).toBe(`${2 * MiB}\n`);
  const low = run.summary().figures["memory_events_low"];
  expect(low).toBeGreaterThan(0);
  expect(files["cgroup/memory.events"].split("\n").slice(0, 3)).toEqual([`low ${low}`, "high 0", "max 0"]);
});

test("conditions see the machine, and other scenarios nothing of it", () => {
  const what = scenario(`${quiet}container: {}
machine: {memory: 512MiB, thp: never, neighbours: {anon: 100MiB}}
interventions:
  - {at: 1s, do: set_neighbours, anon: 400MiB, over: 3s}
  - {when: {metric: node_free_bytes, below: 200MiB}, do: set_neighbours, anon: 100MiB}
`);
  const { summary, column } = played(what);
  expect(summary.events.map((e) => e.event)).toContain("set_neighbours anon 104857600");
  expect(Math.min(...column("node_free_bytes"))).toBeGreaterThan(185 * MiB);
  const without = scenario(`${quiet}container: {}\n`);
  expect(sampleColumns(without).some(({ name }) => name.startsWith("node_"))).toBe(false);
  expect(Object.keys(simulate(without).figures).some((name) => name.startsWith("node_"))).toBe(false);
});
