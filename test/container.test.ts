/** A whole run in a container: the kill, restarts, throttling and quota, as a scenario's user meets them. */
import { describe, expect, test } from "vitest";
import { oomText } from "../src/report/oom.ts";
import { type CycleRecord, defaultProfile, sampleColumns, simulate } from "../src/simulate.ts";
import { scenarioOf, scenariosOf } from "./scenarios.ts";

const MiB = 2 ** 20;

function collect(text: string) {
  const scenario = scenarioOf(text);
  const names = sampleColumns(scenario).map((column) => column.name);
  const rows: Record<string, number>[] = [];
  const cycles: CycleRecord[] = [];
  const restarts: number[] = [];
  const summary = simulate(scenario, {
    checked: true,
    sink: {
      sample: (row) => rows.push(Object.fromEntries(names.map((name, i) => [name, row[i]]))),
      cycle: (cycle) => cycles.push(cycle),
      restart: (nowNs) => restarts.push(nowNs / 1e9),
    },
  });
  return { scenario, rows, cycles, restarts, summary, figures: summary.figures };
}

const leak = (settings: string, duration = "20s") => `
name: leaky
duration: ${duration}
${settings}
workload:
  - {kind: leak, name: forgotten, byte_rate: 8MiB/s, size: 1KiB}
`;

describe("an OOM kill", () => {
  const { rows, summary, figures } = collect(leak("container: {memory: {max: 64MiB}}"));

  test("comes when what leaks fills what the limit leaves", () => {
    // 64 MiB less what the process has before: anonymous memory and kernel. The leak is in whole spans, and nothing is garbage.
    const start = rows[0];
    const before = start["memory_anon_bytes"] + start["memory_kernel_bytes"] - 0.1 * 8 * MiB;
    const expected = (64 * MiB - before) / (8 * MiB);
    // Of each 8 KiB span 128 bytes are a bitmap (1.6 %), the span's record is 160 bytes (2 %), and 2 MiB need a page table (0.2 %).
    expect(figures["first_oom_kill_seconds"]).toBeGreaterThan(expected * (1 - 0.042));
    expect(figures["first_oom_kill_seconds"]).toBeLessThan(expected * 1.001);
  });

  test("ends the run: no samples after it, and the figures of what was", () => {
    const killed = figures["first_oom_kill_seconds"];
    expect(figures["ran_seconds"]).toBe(killed);
    expect(rows.length).toBe(Math.floor(killed * 10));
    expect(figures["oom_kills"]).toBe(1);
    expect(figures["restarts"]).toBe(0);
    expect(figures["memory_current_peak_bytes"]).toBe(64 * MiB);
  });

  test("is told as an incident on three clocks", () => {
    const incident = summary.oom_kills![0];
    expect(incident.t_seconds).toBe(figures["first_oom_kill_seconds"]);
    expect(incident.memory.current_bytes).toBe(64 * MiB);
    expect(incident.t_seconds - incident.last_mem_stats_seconds!).toBeLessThanOrEqual(0.1);
    expect(incident.last_cycle_end_seconds).toBeLessThan(incident.t_seconds);
    // It only grew: its most is what it had, its file included; the samples before saw less.
    expect(incident.rss_hwm_bytes).toBe(incident.memory.stat.anon + defaultProfile.baseline.file_rss_bytes);
    expect(figures["rss_hwm_bytes"]).toBe(incident.rss_hwm_bytes);
    expect(figures["rss_peak_bytes"]).toBe(rows[rows.length - 1]["rss_bytes"]);
    expect(figures["rss_peak_bytes"]).toBeLessThan(incident.rss_hwm_bytes);
    // 64 MiB of 16 GiB are 3 thousandths.
    expect(incident.oom_score).toBe(Math.floor((1003 * 2) / 3));
    const text = oomText(summary.oom_kills!, 2);
    expect(text).toMatch(/^OOM kill 1 at \d+\.\d+ s, .*; not started again within the run$/m);
    expect(text).toMatch(
      /^\[ +\d+\.\d{6}\] Memory cgroup out of memory: Killed process 4242 \(leaky\) total-vm:/m,
    );
    expect(text).toMatch(/; badness \d+ pages, oom_score 668$/m);
    expect(text).toMatch(/^RSS at its highest 65\.\d MiB$/m);
    expect(text).toMatch(/ms {2}last gctrace {3}gc \d+ @\d+\.\d+s \d+%: /);
    expect(text).toContain(" of 3 clocks within 100 ms of the kill)");
  });
});

describe("restarts", () => {
  const settings =
    "container: {memory: {max: 64MiB}, restart: {policy: always, backoff: 2s, max_backoff: 4s}}";
  const { rows, restarts, summary, figures, cycles } = collect(leak(settings, "60s"));
  const kills = summary.oom_kills!;

  test("come at once, then after a back-off that doubles to its bound", () => {
    const waits = kills.slice(0, -1).map((kill, i) => (kill.restart_at_seconds ?? 0) - kills[i].t_seconds);
    expect(waits.map((wait) => Math.round(wait * 1e6) / 1e6)).toEqual([0, 2, 4, 4, 4]);
    expect(restarts).toEqual(kills.map((kill) => kill.restart_at_seconds).filter((at) => at !== undefined));
    expect(figures["restarts"]).toBe(restarts.length);
    expect(figures["oom_kills"]).toBe(kills.length);
  });

  test("a back-off begins anew after a life of reset_after", () => {
    const again = collect(leak(settings.replace("}}", ", reset_after: 1s}}"), "30s"));
    for (const kill of again.summary.oom_kills!)
      if (kill.restart_at_seconds !== undefined) expect(kill.restart_at_seconds).toBe(kill.t_seconds);
    expect(again.figures["restarts"]).toBeGreaterThan(2);
  });

  test("leave GOMAXPROCS as it was: time without a process is none of its Ps'", () => {
    const procs = `${settings}
machine: {cpus: 4}
interventions: [{at: 1s, do: set_gomaxprocs, to: 4}]`;
    const restarted = collect(leak(procs, "60s"));
    expect(restarted.figures["restarts"]).toBe(restarts.length);
    expect(restarted.figures["gomaxprocs_mean"]).toBeCloseTo(4, 9);
  });

  test("leave no gap in the series: no values while the process is down, counts that go on", () => {
    expect(rows.length).toBe(600);
    for (const [i, row] of rows.entries()) expect(row["t_seconds"]).toBeCloseTo((i + 1) / 10, 9);
    const second = kills[1];
    const down = rows.filter(
      (row) => row["t_seconds"] > second.t_seconds && row["t_seconds"] < second.restart_at_seconds!,
    );
    expect(down.length).toBeGreaterThan(15);
    for (const row of down) {
      expect(row["rss_bytes"]).toBeNaN();
      expect(row["memory_current_bytes"]).toBeNaN();
      expect(row["oom_kills"]).toBe(2);
      expect(row["restarts"]).toBe(1);
    }
  });

  test("start cold: small again, with collections counted from 1 and totals over all lives", () => {
    const first = rows.find((row) => row["t_seconds"] > kills[1].restart_at_seconds!)!;
    expect(first["rss_bytes"]).toBeLessThan(8 * MiB);
    expect(cycles.filter((cycle) => cycle.gc === 1).length).toBe(restarts.length + 1);
    expect(figures["gc_count"]).toBe(cycles.length);
    const lived = kills.reduce((sum, kill) => sum + kill.t_seconds - kill.process_start_seconds, 0);
    expect(figures["total_alloc_bytes"] / (lived * 8 * MiB)).toBeGreaterThan(0.99);
  });
});

const SERVICE = `
workload:
  - name: api
    kind: service
    arrivals: {rate: 400/s}
    cpu: 500us
    objects: [{size: 32KiB}]
`;

describe("memory.high", () => {
  test("slows a leak down instead of killing it, and stops of the world wait for sleeping threads", () => {
    const text = (memory: string) => `
name: high
duration: 40s
go: {GOGC: 25}
container: {memory: ${memory}}
workload:
  - {kind: leak, name: forgotten, byte_rate: 4MiB/s, size: 1KiB}
interventions:
  - {at: 1s, do: gc, every: 1s}
`;
    const high = collect(text("{max: 128MiB, high: 64MiB}"));
    const free = collect(text("{max: 128MiB}"));
    expect(free.figures["oom_kills"]).toBe(1);
    expect(high.figures["oom_kills"]).toBe(0);
    expect(high.figures["memory_high_throttled_seconds"]).toBeGreaterThan(5);
    expect(high.figures["memory_events_high"]).toBeGreaterThan(100);
    const last = high.rows[high.rows.length - 1];
    expect(last["memory_current_bytes"]).toBeGreaterThan(64 * MiB);
    // At 18 % of overage a batch costs the full 2 s.
    expect(last["memory_current_bytes"]).toBeLessThan(64 * MiB * 1.2);
    const longest = (run: typeof high) => Math.max(...run.cycles.map((c) => Math.max(c.stw1_ns, c.stw2_ns)));
    expect(longest(high)).toBeGreaterThan(10e6);
    expect(longest(free)).toBeLessThan(5e6);
  });

  test("holds whoever takes requests: no goroutine is made while every thread sleeps, and each sleep owed is slept", () => {
    const { rows, figures } = collect(`
name: held
duration: 20s
go: {GOGC: 25, GOMAXPROCS: 1}
machine: {cpus: 1}
container: {memory: {max: 64MiB, high: 24MiB}}
workload:
  - {kind: leak, name: forgotten, byte_rate: 4MiB/s, size: 1KiB}
  - {kind: service, name: api, arrivals: {rate: 300/s}, cpu: 300us, stack: 4KiB, objects: [{size: 4KiB}]}
`);
    let asleep = 0;
    for (const [i, row] of rows.entries()) {
      const before = rows[i - 1];
      if (before === undefined) continue;
      const full = row["memory_pressure_full_seconds"] - before["memory_pressure_full_seconds"];
      if (full < 0.1 - 1e-9) continue;
      asleep++;
      expect(row["goroutines"]).toBe(before["goroutines"]);
    }
    expect(asleep).toBeGreaterThan(50);
    // With one P sleeps come one after another, each of what its overage makes it: 1 % of 24 MiB is 62 pages, so every batch adds 6 ms and more.
    const [from, to] = [rows[100], rows[199]];
    const batches = (to["memory_current_bytes"] - from["memory_current_bytes"]) / (64 * 4096);
    const slept = to["memory_pressure_some_seconds"] - from["memory_pressure_some_seconds"];
    const delay = (bytes: number) => 64 * (bytes / (24 * MiB) - 1) ** 2;
    expect(slept).toBeGreaterThan((batches - 2) * delay(from["memory_current_bytes"]));
    expect(figures["oom_kills"]).toBe(0);
  });
});

describe("stalls above memory.high", () => {
  /** A run with its stalls: when each began and how long it was, by the goroutine. */
  function stalls(text: string) {
    const scenario = scenarioOf(text);
    const names = sampleColumns(scenario).map((column) => column.name);
    const rows: Record<string, number>[] = [];
    const sleeps: { readonly ns: number; readonly who: string }[] = [];
    const { figures } = simulate(scenario, {
      trace: {
        kinds: ["stall"],
        tracer: {
          end: ({ name, dur_ns, detail }) => {
            if (name === "memory.high") sleeps.push({ ns: dur_ns, who: String(detail.reason).split(" ")[0] });
          },
        },
      },
      sink: { sample: (row) => rows.push(Object.fromEntries(names.map((name, i) => [name, row[i]]))) },
    });
    return { sleeps, rows, figures };
  }
  const text = (machine: string) => `
name: huge
duration: 30s
machine: {${machine}}
container: {memory: {high: 64MiB}}
workload:
  - {kind: leak, name: forgotten, byte_rate: 8MiB/s, size: 1KiB}
  - {kind: leak, name: slow, byte_rate: 1MiB/s, size: 512}
  - {kind: batch, name: busy, workers: 1, cpu: 1ms}
`;

  test.each(["thp: always", "thp: never"])(
    "last two seconds at most, and are those of who allocates (%s)",
    (thp) => {
      const { sleeps, rows, figures } = stalls(text(`cpus: 4, ${thp}`));
      const longest = Math.max(...sleeps.map(({ ns }) => ns));
      expect(longest).toBeGreaterThan(1.5e9);
      // On the trace's clock in whole nanoseconds.
      expect(longest).toBeLessThanOrEqual(2e9 + 1);
      expect([...new Set(sleeps.map(({ who }) => who))].sort()).toEqual(["forgotten", "slow"]);
      // Pressure: no more than the time that passed, where the sum over threads is more.
      let before: Record<string, number> = rows[0];
      let most = 0;
      for (const row of rows.slice(1)) {
        const some = row["memory_pressure_some_seconds"] - before["memory_pressure_some_seconds"];
        const full = row["memory_pressure_full_seconds"] - before["memory_pressure_full_seconds"];
        most = Math.max(most, some);
        expect(some).toBeLessThanOrEqual(0.1 + 1e-9);
        expect(full).toBeGreaterThanOrEqual(0);
        expect(full).toBeLessThanOrEqual(some + 1e-9);
        before = row;
      }
      expect(most).toBeCloseTo(0.1, 9);
      const some = figures["memory_pressure_some_seconds"];
      expect(figures["memory_high_throttled_seconds"]).toBeGreaterThan(1.1 * some);
      // Somebody works all the time.
      expect(figures["memory_pressure_full_seconds"]).toBeLessThan(0.1 * some);
    },
  );

  test("where nobody else works all time waited is full", () => {
    const { figures } = stalls(text("cpus: 4").replace(/ {2}- \{kind: (batch|leak, name: slow).*\n/g, ""));
    const some = figures["memory_pressure_some_seconds"];
    expect(some).toBeGreaterThan(15);
    expect(figures["memory_pressure_full_seconds"]).toBeGreaterThan(0.99 * some);
  });
});

describe("memory.current corrected for page cache", () => {
  const corrected = (pageCache: string) =>
    collect(`
name: pod
duration: 4s
container: {memory: {max: 256MiB}, page_cache: [${pageCache}]}
workload:
  - {kind: leak, name: forgotten, byte_rate: 4MiB/s, size: 1KiB}
`).rows;
  const expected = (row: Record<string, number>, shared: number): number =>
    Math.max(0, row["memory_current_bytes"] - shared - row["memory_active_file_bytes"]);
  const inactiveBeyond = (row: Record<string, number>): number =>
    row["memory_inactive_file_bytes"] - 0.3 * (row["memory_anon_bytes"] + row["memory_file_bytes"]);

  test("leaves out inactive pages beyond three tenths of what is charged", () => {
    const rows = corrected("{name: log, rate: 20MiB/s}").slice(5);
    for (const row of rows) {
      // 20 MiB of cache for 4 MiB of objects: most of it is beyond.
      expect(inactiveBeyond(row)).toBeGreaterThan(0.4 * row["memory_inactive_file_bytes"]);
      expect(row["memory_corrected_bytes"]).toBeCloseTo(expected(row, inactiveBeyond(row)), 3);
      expect(row["memory_corrected_bytes"]).toBeLessThan(row["memory_current_bytes"]);
    }
  });

  test("leaves out active pages, and keeps inactive ones as long as they are few", () => {
    const rows = corrected("{name: index, rate: 64MiB/s, file: 8MiB}").slice(15);
    for (const row of rows) {
      expect(inactiveBeyond(row)).toBeLessThan(0);
      expect(row["memory_active_file_bytes"]).toBeGreaterThan(7 * MiB);
      expect(row["memory_corrected_bytes"]).toBe(expected(row, 0));
    }
  });
});

describe("a CPU quota", () => {
  test("bounds CPU time, and says so in cpu.stat", () => {
    const { figures, rows } = collect(
      `name: q\nduration: 10s\nmachine: {cpus: 2}\ncontainer: {cpu: {limit: 0.15}}\n${SERVICE}`,
    );
    // 400/s of 0.5 ms want 0.2 CPUs. Each of two CPUs may keep 1 ms from one period to the next.
    expect(figures["cpu_usage_seconds"]).toBeGreaterThan(1.45);
    expect(figures["cpu_usage_seconds"]).toBeLessThanOrEqual(1.5 + 0.002);
    expect(figures["mutator_cpu_seconds"]).toBeLessThanOrEqual(1.6);
    expect(figures["cpu_nr_throttled"]).toBeGreaterThan(90);
    expect(figures["cpu_nr_throttled"]).toBeLessThanOrEqual(figures["cpu_nr_periods"]);
    // What does not get done queues up.
    expect(rows[99]["requests_in_flight"]).toBeGreaterThan(400);
  });

  test("is what the collector's share of CPU is a share of, from when it holds", () => {
    const load =
      "workload:\n  - {kind: stream, name: s, rate: 500k/s, size: 64, pointers: 50%, lifetime: 50ms}\n";
    const on8 = `name: q\nduration: 4s\nmachine: {cpus: 8}\ncontainer: {cpu: {limit: 1.5}}\n`;
    const { figures } = collect(`${on8}${load}`);
    expect(figures["usable_cpu_seconds"]).toBeCloseTo(6, 6);
    expect(figures["gc_cpu_of_usable_fraction"]).toBe(
      figures["gc_cpu_seconds"] / figures["usable_cpu_seconds"],
    );
    // GOMAXPROCS=1 is less than the quota, and GOMAXPROCS=8 more.
    expect(collect(`${on8}go: {GOMAXPROCS: 1}\n${load}`).figures["usable_cpu_seconds"]).toBeCloseTo(4, 6);
    const resized = "interventions:\n  - {at: 1s, do: resize_container, cpu_limit: 4}\n";
    const after = collect(`${on8}go: {GOMAXPROCS: 3}\n${load}${resized}`).figures;
    expect(after["usable_cpu_seconds"]).toBeCloseTo(1.5 + 3 * 3, 6);
  });

  test("that is not reached changes nothing", () => {
    const base = `name: q\nduration: 5s\nmachine: {cpus: 2}\n${SERVICE}`;
    const without = collect(base).figures;
    const within = collect(`${base}container: {cpu: {limit: 2}}\n`).figures;
    for (const [name, value] of Object.entries(without)) expect([name, within[name]]).toEqual([name, value]);
    expect(within["cpu_nr_throttled"]).toBe(0);
  });

  test("pays for what threads do without a P, as the program of validate does it", () => {
    const scenario = scenarioOf(
      "name: q\nduration: 4s\nmachine: {cpus: 2}\ncontainer: {cpu: {limit: 1.5}}\nworkload:\n  - {kind: stream, name: s, rate: 1000/s, size: 64, lifetime: 10ms}\n",
    );
    const usage = (tickNs: number): number =>
      simulate(scenario, {
        declareOracle: true,
        profile: { ...defaultProfile, oracle: { ...defaultProfile.oracle, tick_ns: tickNs } },
      }).figures["cpu_usage_seconds"];
    // A stream wakes up every millisecond, or when it is late after two.
    const cost = usage(50_000) - usage(0);
    expect(cost).toBeGreaterThan(0.9 * 4000 * 50e-6);
    expect(cost).toBeLessThanOrEqual(4000 * 50e-6);
  });

  test("with many more Ps makes pauses as long as periods", () => {
    const text = (procs: number) => `
name: q
duration: 10s
go: {GOMAXPROCS: ${procs}}
machine: {cpus: 32}
container: {cpu: {limit: 1}}
workload:
  - {name: api, kind: service, arrivals: {rate: 500/s}, cpu: 1200us, objects: [{size: 32KiB}]}
  - {name: held, kind: cache, requests: 100/s, keys: 300000, max_entries: 200000, prefill: true, objects: [{size: 256, pointers: 50%}]}
`;
    const longest = (procs: number) =>
      Math.max(...collect(text(procs)).cycles.map((c) => Math.max(c.stw1_ns, c.stw2_ns)));
    expect(longest(32)).toBeGreaterThan(50e6);
    expect(longest(2)).toBeLessThan(longest(32) / 10);
  });
});

describe("GOMAXPROCS", () => {
  const procs = (settings: string) =>
    scenarioOf(`name: p\nduration: 1s\n${settings}\n${SERVICE}`).go.GOMAXPROCS;
  test("follows the quota from Go 1.25 on: rounded up, 2 at least, never above the CPUs or what is set", () => {
    const on16 = "machine: {cpus: 16}\ncontainer: {cpu:";
    expect(procs(`${on16} {limit: 3.2}}`)).toBe(4);
    expect(procs(`${on16} {limit: 0.5}}`)).toBe(2);
    expect(procs(`${on16} {quota: 500ms, period: 100ms}}`)).toBe(5);
    expect(procs(`${on16} {limit: 64}}`)).toBe(16);
    expect(procs(`${on16} {limit: 3.2}}\ngo: {GOMAXPROCS: 12}`)).toBe(12);
    expect(procs(`${on16} {limit: 3.2}}\ngo: {version: "1.24"}`)).toBe(16);
    expect(procs("machine: {cpus: 1}\ncontainer: {cpu: {limit: 0.5}}")).toBe(1);
  });
});

describe("page cache", () => {
  test("fills the container to its limit and kills nobody", () => {
    const { figures, rows } = collect(`
name: files
duration: 20s
container: {memory: {max: 64MiB}, page_cache: [{name: log, rate: 16MiB/s}]}
${SERVICE}`);
    const last = rows[rows.length - 1];
    expect(figures["oom_kills"]).toBe(0);
    expect(last["memory_current_bytes"]).toBeGreaterThan(63 * MiB);
    expect(last["memory_working_set_bytes"]).toBeLessThan(last["rss_bytes"] + MiB);
    expect(last["memory_events_max"]).toBeGreaterThan(1000);
  });
});

test("at the limit, lazily freed memory goes before the files read after it, and what is used again counts as file until then", () => {
  const text = (madvdontneed: number) => `
name: lazy
duration: 8s
go: {GODEBUG: {madvdontneed: ${madvdontneed}}}
container: {memory: {max: 64MiB}, page_cache: [{name: log, rate: 16MiB/s, start: 3s}]}
workload:
  - {kind: stream, name: spike, stop: 1s, rate: 2k/s, size: 16KiB, lifetime: 800ms}
  - {kind: stream, name: s, rate: 10k/s, size: 256, lifetime: 50ms}
interventions: [{at: 1900ms, do: free_os_memory}]
`;
  const { figures, rows } = collect(text(0));
  const at = (seconds: number) => rows[Math.round(seconds * 10) - 1];
  const afterSpike = at(2.5);
  expect(afterSpike["lazy_free_bytes"]).toBeGreaterThan(20 * MiB);
  expect(afterSpike["rss_bytes"]).toBeGreaterThan(afterSpike["lazy_free_bytes"]);
  // The small stream has written some of it again.
  expect(afterSpike["memory_inactive_file_bytes"]).toBeGreaterThan(afterSpike["lazy_free_bytes"] + 64 * 1024);
  expect(figures["oom_kills"]).toBe(0);
  expect(figures["lazy_free_half_gone_seconds"]).toBeGreaterThan(4.8);
  // From the limit on it goes as fast as the log comes, and none of the log does.
  const fall = at(5.2)["lazy_free_bytes"] - at(6.2)["lazy_free_bytes"];
  expect(fall).toBeGreaterThan(15 * MiB);
  expect(fall).toBeLessThan(17 * MiB);
  expect(at(6.2)["memory_file_bytes"] - at(5.2)["memory_file_bytes"]).toBeGreaterThan(15 * MiB);
  expect(at(8)["lazy_free_bytes"]).toBeLessThan(MiB);
  const dontneed = collect(text(1));
  expect(dontneed.figures["rss_end_bytes"]).toBeGreaterThan(0.5 * figures["rss_end_bytes"]);
  expect(dontneed.figures["rss_halfway_bytes"]).toBeLessThan(0.4 * figures["rss_halfway_bytes"]);
  expect(dontneed.figures).not.toHaveProperty("lazy_free_peak_bytes");
});

test("a container without limits changes no figure of the process", () => {
  const base = `name: c\nduration: 5s\n${SERVICE}`;
  const without = collect(base).figures;
  const within = collect(`${base}container: {}\n`).figures;
  for (const [name, value] of Object.entries(without)) expect([name, within[name]]).toEqual([name, value]);
});

test("the process starts with what the check of impossible containers counts", () => {
  const { rows } = collect(
    "name: i\nduration: 1s\ncontainer: {}\nworkload:\n  - {name: s, kind: stream, rate: 1/s, size: 16, lifetime: 10ms}\n",
  );
  const runtime = rows[0]["memory_anon_bytes"] - defaultProfile.baseline.other_rss_bytes;
  // What it refuses must be impossible: it counts no more than there is.
  expect(runtime).toBeGreaterThanOrEqual(528 << 10);
  expect(runtime).toBeLessThan(640 << 10);
});

test("variants may take the container's settings away", () => {
  const [base, variant] = scenariosOf(
    `${leak("container: {memory: {max: 64MiB, high: 32MiB}}")}variants: [{name: free, set: {container.memory.high: null}}]`,
  );
  expect(base.container?.memory.high).toBe(32 * MiB);
  expect(variant.container?.memory.high).toBeUndefined();
});

test("off-heap memory is resident and charged, and in none of Go's statistics", () => {
  const base = `name: o\nduration: 2s\n${SERVICE}`;
  const plain = collect(`${base}container: {}\n`);
  const more = collect(`${base}container: {off_heap: 16MiB}\n`);
  const last = (run: typeof plain) => run.rows[run.rows.length - 1];
  const added = (name: string): number => last(more)[name] - last(plain)[name];
  expect(added("rss_bytes")).toBe(16 * MiB);
  expect(added("memory_anon_bytes")).toBe(16 * MiB);
  expect(added("memory_pagetables_bytes")).toBe(8 * 4096);
  expect(added("sys_bytes")).toBe(0);
});

test("a kill in the middle of a large touch tells of what was charged, not of what would have been", () => {
  const summary = simulate(
    scenarioOf(`
name: large
duration: 10s
container: {memory: {max: 64MiB}}
workload:
  - {kind: leak, name: l, rate: 2/s, size: 40MiB}
`),
    { checked: true },
  );
  const [kill] = summary.oom_kills!;
  const { anon, file, kernel } = kill.memory.stat;
  expect(anon + file + kernel).toBeLessThanOrEqual(64 * 2 ** 20);
  expect(anon).toBeGreaterThan(60 * 2 ** 20);
});

test("above memory.high who reads files sleeps for it, not the program's goroutines", () => {
  const { figures, sources } = simulate(
    scenarioOf(`
name: high
duration: 20s
container: {memory: {high: 64MiB}, page_cache: [{name: log, rate: 20MiB/s}]}
workload:
  - {kind: leak, name: l, byte_rate: 40MiB/s, stop: 1700ms, size: 4KiB}
  - {kind: stream, name: s, start: 4s, rate: 100/s, size: 64, lifetime: 10ms}
`),
  );
  // One reader cannot sleep longer than the run, and the stream's goroutine goes on undisturbed.
  expect(figures["memory_high_throttled_seconds"]).toBeGreaterThan(10);
  expect(figures["memory_high_throttled_seconds"]).toBeLessThanOrEqual(20);
  expect(sources.find(({ name }) => name === "s")!.allocated).toBeGreaterThan(1590);
});

describe("limits that change while it runs", () => {
  const resize = (cgroup: string, more = "") =>
    collect(`${leak(`container: {cgroup: ${cgroup}, memory: {max: 128MiB}${more}}`, "8s")}
interventions:
  - {at: 4s, do: resize_container, memory_max: 24MiB}
`);

  test("v2: memory.max below the usage kills, by the hand of who wrote it", () => {
    const { figures, summary } = resize("v2");
    expect(figures["first_oom_kill_seconds"]).toBe(4);
    expect(summary.oom_kills![0].kernel_log[0]).toContain("] runc invoked oom-killer:");
    expect(summary.oom_kills![0].kernel_log[1]).toContain(" limit 24576kB,");
    expect(summary.events).toEqual([
      { t_seconds: 4, event: "resize_container memory_max 25165824", reason: "at its time" },
      { t_seconds: 4, event: "OOM kill", reason: "memory.max of 25165824 bytes reached" },
    ]);
  });

  test("the next process lives under the new limit", () => {
    const { figures, summary, rows } = resize("v2", ", restart: {policy: always}");
    const [first, second] = summary.oom_kills!;
    expect(first.t_seconds).toBe(4);
    // 24 MiB at 8 MiB/s, less what a process has at its start.
    expect(second.t_seconds - second.process_start_seconds).toBeGreaterThan(2);
    expect(second.t_seconds - second.process_start_seconds).toBeLessThan(3);
    expect(second.memory.current_bytes).toBe(24 * MiB);
    expect(rows[38]["memory_max_bytes"]).toBe(128 * MiB);
    expect(rows[42]["memory_max_bytes"]).toBe(24 * MiB);
    expect(rows[42]["memory_high_bytes"]).toBeNaN();
    expect(figures["restarts"]).toBeGreaterThanOrEqual(1);
  });

  test("v1 refuses, and the process goes on", () => {
    const { figures, summary, rows } = resize("v1");
    expect(figures["oom_kills"]).toBe(0);
    expect(rows.length).toBe(80);
    expect(rows[79]["memory_max_bytes"]).toBe(128 * MiB);
    expect(rows[79]["cpu_limit_cpus"]).toBeNaN();
    expect(summary.events[0].event).toBe("resize_container memory_max 25165824 refused: EBUSY");
  });

  test("a CPU limit raised ends the throttling that was under way, and what comes after is by the new one", () => {
    const { rows } = collect(`
name: raised
duration: 4s
machine: {cpus: 2}
container: {cpu: {limit: 0.2}}
workload:
  - {kind: batch, name: b, workers: 2, cpu: 1ms}
interventions:
  - {at: 2050ms, do: resize_container, cpu_limit: 1.5}
`);
    const used = (from: number, to: number): number => {
      const at = (t: number) =>
        rows.find((row) => Math.abs(row["t_seconds"] - t) < 1e-9)!["cpu_usage_seconds"];
      return (at(to) - at(from)) / (to - from);
    };
    expect(used(1, 2)).toBeCloseTo(0.2, 2);
    expect(used(3, 4)).toBeCloseTo(1.5, 1);
    // The write fills the pool at once: within the period 150 ms of CPU time are there, of which two CPUs can use 2 x 50 ms.
    expect(used(2, 2.1)).toBeGreaterThan(0.9);
  });
});
