/**
 * The heap profiler against the heap: exactly, where every object is sampled, and by the theory of its sampling otherwise.
 */
import { describe, expect, it } from "vitest";
import { heapSamples } from "../../src/report/pprof.ts";
import type { MemProfileRecord } from "../../src/runtime/mprof.ts";
import type { Scenario } from "../../src/scenario/schema.ts";
import { type CycleRecord, defaultProfile, type ProcessView, SimulatedRun } from "../../src/simulate.ts";
import { scenarioOf } from "../scenarios.ts";

/** Every way in which objects come to be and to die: by time and by owner, tiny, large, pooled, in arenas, killed by hand. */
const WORKLOADS = {
  "small, of one kind": "{kind: stream, name: s, rate: 300k/s, size: 64, lifetime: {exponential: 100ms}}",
  "small, of many kinds":
    "{kind: stream, name: s, rate: 150k/s, size: {lognormal: {median: 100, sigma: 1}}, pointers: 50%, lifetime: {exponential: 100ms}}",
  tiny: "{kind: stream, name: s, rate: 600k/s, size: {uniform: [1, 15]}, lifetime: {exponential: 50ms}}",
  "large and small": "{kind: stream, name: s, rate: 1k/s, size: {uniform: [20KiB, 80KiB]}, lifetime: 100ms}",
  owned: `{kind: service, name: s, arrivals: {rate: 4000/s}, cpu: 50us, io: 2ms, arena_block: 8KiB, objects: [
    {name: a, count: {uniform: [10, 60]}, size: {uniform: [4, 300]}, pointers: 30%},
    {name: b, size: 2KiB, allocator: pool}, {name: c, count: 5, size: 200, allocator: arena},
    {name: d, size: 500, lifetime: {exponential: 200ms}}]}`,
  cached: `{kind: cache, name: s, requests: 3k/s, keys: 20000, max_entries: 5000, prefill: true, objects: [{size: 700, pointers: 20%},
    {count: 3, size: 12}]}`,
  leak: "{kind: leak, name: s, byte_rate: 8MiB/s, size: 300}",
} as const;

const scenario = (workload: string, rate: number, more = ""): Scenario =>
  scenarioOf(
    `name: t\nduration: 2s\ngo: {GODEBUG: {memprofilerate: ${rate}}}\n${more}workload:\n  - ${workload}\n`,
  );

interface Looked {
  readonly view: ProcessView;
  /** Cycles so far. */
  readonly cycles: readonly CycleRecord[];
}

/** Plays to the end and looks on the way. */
function play(of: Scenario, stepNs: number, look: (at: Looked) => void): void {
  const cycles: CycleRecord[] = [];
  const run = new SimulatedRun(of, { sink: { cycle: (cycle) => cycles.push({ ...cycle }) } });
  for (let now = stepNs; now <= of.duration; now += stepNs) {
    run.advance(now);
    look({ view: run.view()!, cycles });
  }
}

const inuse = ({ allocObjects, freeObjects }: MemProfileRecord): number => allocObjects - freeObjects;
const sum = (of: readonly number[]): number => of.reduce((total, x) => total + x, 0);
const records = (view: ProcessView): MemProfileRecord[] => view.rt.heap.memProfile!.records();
const inuseBytes = (view: ProcessView): number =>
  sum(records(view).map((record) => inuse(record) * record.objectBytes));

describe("with every object sampled", () => {
  it.each(Object.entries(WORKLOADS))(
    "what is in use is what the mark before the last found: %s",
    (_, workload) => {
      let compared = 0;
      play(scenario(workload, 1), 50e6, ({ view, cycles }) => {
        if (cycles.length < 2) return;
        expect(inuseBytes(view)).toBe(cycles[cycles.length - 2].heap_marked_bytes);
        compared++;
      });
      expect(compared).toBeGreaterThan(8);
    },
  );

  it("counts what a mark did not reach, as its stack was not scanned in time, as freed with that mark", () => {
    // Scanning the globals takes longer than a request, and each is met by a collection.
    const mark = { ...defaultProfile.mark, globals_ns_per_byte: 200 };
    const of = scenario(
      "{kind: service, name: s, arrivals: {process: constant, rate: 1/s}, cpu: 40ms, objects: [{size: 2MiB}]}",
      1,
      "interventions: [{at: 1.01s, every: 1s, do: gc}]\n",
    );
    const cycles: CycleRecord[] = [];
    const run = new SimulatedRun(
      { ...of, duration: 4e9 },
      { profile: { ...defaultProfile, mark }, sink: { cycle: (cycle) => cycles.push({ ...cycle }) } },
    );
    run.advance(3.9e9);
    expect(cycles.length).toBe(3);
    // runtime.GC publishes its own mark's.
    expect(inuseBytes(run.view()!)).toBe(cycles[2].heap_marked_bytes);
    expect(cycles[2].heap_marked_bytes).toBeLessThan(2 ** 20);
  });

  it("shows all there is when it is read before anything was published, and then that until the collector has news", () => {
    const run = new SimulatedRun(scenario("{kind: leak, name: s, byte_rate: 1MiB/s, size: 256}", 1));
    run.advance(1e9);
    const view = run.view()!;
    const { live_bytes, dead_bytes } = view.truth();
    expect(inuseBytes(view)).toBe(live_bytes + dead_bytes);
    const own = records(view).filter((record) => view.sources[record.source] === "s");
    // Its last tick is at most a millisecond ago.
    expect(own).toHaveLength(1);
    expect(own[0].allocObjects).toBeLessThanOrEqual(4096);
    expect(own[0].allocObjects).toBeGreaterThan(4096 - 8);
    run.advance(2e9);
    expect(run.summary().figures["gc_count"]).toBe(0);
    expect(inuseBytes(run.view()!)).toBe(live_bytes + dead_bytes);
  });

  it("shows runtime.GC's own mark when that has swept", () => {
    const of = scenario(
      WORKLOADS.owned,
      1,
      "interventions: [{at: 1s, do: gc}, {at: 1.5s, do: free_os_memory}]\n",
    );
    let own = 0;
    play(of, 10e6, ({ view, cycles }) => {
      const last = cycles[cycles.length - 1];
      if (last?.forced !== true || view.nowNs / 1e9 < last.start_seconds + 0.008) return;
      expect(inuseBytes(view)).toBe(last.heap_marked_bytes);
      own++;
    });
    expect(own).toBeGreaterThan(2);
  });

  it.each(["small, of one kind", "small, of many kinds", "tiny", "owned"] as const)(
    "goes on when GOMAXPROCS rises and falls, on Ps that were not there before: %s",
    (name) => {
      const steps =
        "interventions: [{at: 300ms, do: set_gomaxprocs, to: 6}, {at: 1s, do: set_gomaxprocs, to: 1}, {at: 1.5s, do: set_gomaxprocs, to: 3}]\n";
      for (const rate of [1, 65536])
        play(scenario(WORKLOADS[name], rate, steps), 50e6, ({ view, cycles }) => {
          if (cycles.length < 2) return;
          const bytes = inuseBytes(view);
          const marked = cycles[cycles.length - 2].heap_marked_bytes;
          if (rate === 1) expect(bytes).toBe(marked);
          // Of objects much smaller than the rate few are sampled.
          else expect(bytes).toBeLessThan(marked / 2);
        });
    },
  );

  it("counts a process's allocations by its parts", () => {
    play(scenario(WORKLOADS.leak, 1), 2e9, ({ view, cycles }) => {
      const samples = heapSamples(view).filter(({ stack }) => stack[0].name === "main.(*s).alloc");
      expect(samples).toHaveLength(1);
      expect(samples[0].objectBytes).toBe(320);
      // A leak frees nothing.
      expect(samples[0].inuseObjects).toBe(samples[0].allocObjects);
      expect(samples[0].allocObjects).toBeLessThanOrEqual(2 * ((8 << 20) / 300));
      expect(cycles.length).toBeGreaterThan(1);
    });
  });
});

describe("sampling", () => {
  it("changes nothing about a run, whatever is sampled and whenever it is read", () => {
    const rows = [2 ** 19, 4096, 1].map((rate) => {
      const seen: number[] = [];
      const run = new SimulatedRun(scenario(WORKLOADS.tiny, rate), {
        sink: { sample: (row) => seen.push(...row), cycle: (cycle) => seen.push(cycle.heap_marked_bytes) },
      });
      for (let now = 0; now < 2e9; now += rate === 4096 ? 2e9 : 3e8) {
        run.advance(now + 3e8);
        heapSamples(run.view()!);
      }
      run.advance(2e9);
      return seen;
    });
    expect(rows[0].length).toBeGreaterThan(500);
    expect(rows[1]).toEqual(rows[0]);
    expect(rows[2]).toEqual(rows[0]);
  });

  it("knows nothing with MemProfileRate 0, and takes no memory for it", () => {
    const hash = (rate: number): number => {
      const run = new SimulatedRun(scenario(WORKLOADS.leak, rate));
      run.advance(1e9);
      expect(run.view()!.rt.heap.memProfile === undefined).toBe(rate === 0);
      return run.view()!.memStats.buckHashSys;
    };
    expect(hash(0)).toBe(0);
    expect(hash(2 ** 19)).toBeGreaterThan(1.4e6);
  });

  it("keeps a sample as long as its object: allocations and frees only grow, and no more is freed than was allocated", () => {
    const before = new Map<string, MemProfileRecord>();
    let grown = 0;
    play(scenario(WORKLOADS.owned, 2048), 20e6, ({ view }) => {
      for (const record of records(view)) {
        const key = `${record.source}/${record.objectBytes}`;
        const was = before.get(key);
        expect(record.freeObjects).toBeLessThanOrEqual(record.allocObjects);
        expect(record.allocObjects).toBeGreaterThanOrEqual(was?.allocObjects ?? 0);
        expect(record.freeObjects).toBeGreaterThanOrEqual(was?.freeObjects ?? 0);
        if (record.allocObjects > (was?.allocObjects ?? 0)) grown++;
        before.set(key, record);
      }
    });
    expect(grown).toBeGreaterThan(50);
  });

  it.each(["small, of one kind", "owned"] as const)("goes on alike on Ps that come later: %s", (name) => {
    const { go, ...of } = scenario(
      WORKLOADS[name],
      4096,
      "interventions: [{at: 100ms, do: set_gomaxprocs, to: 4}]\n",
    );
    play({ ...of, go: { ...go, GOMAXPROCS: 1 } }, 2e9, ({ view, cycles }) => {
      expect(cycles[cycles.length - 1].procs).toBe(4);
      // What is published is behind by two marks.
      const share = sum(heapSamples(view).map(({ allocBytes }) => allocBytes)) / view.memStats.totalAlloc;
      expect(share).toBeGreaterThan(0.5);
      expect(share).toBeLessThan(1.1);
    });
  });

  /**
   * An object of s bytes is sampled with probability p = 1 - exp(-s / rate), each by itself. Of n objects in use k are, and the
   * profile says k s / p: right on average, with the variance n s^2 (1 - p) / p. The truth is the same run's with every object
   * sampled. So (estimate - truth) / deviation has mean 0 and variance 1 over independent runs.
   */
  function deviations(workload: string, rate: number, runs: number): { z: number[]; relative: number[] } {
    const z: number[] = [];
    const relative: number[] = [];
    for (let seed = 1; seed <= runs; seed++) {
      const end = (r: number): ProcessView => {
        const run = new SimulatedRun({ ...scenario(workload, r), duration: 6e8 }, { seed });
        run.advance(6e8);
        return run.view()!;
      };
      const truth = records(end(1));
      let variance = 0;
      for (const record of truth) {
        const p = 1 - Math.exp(-record.objectBytes / rate);
        variance += (inuse(record) * record.objectBytes ** 2 * (1 - p)) / p;
      }
      const bytes = sum(truth.map((record) => inuse(record) * record.objectBytes));
      const estimate = sum(heapSamples(end(rate)).map((sample) => sample.inuseBytes));
      z.push((estimate - bytes) / Math.sqrt(variance));
      relative.push((estimate - bytes) / bytes);
    }
    return { z, relative };
  }

  const RUNS = 40;
  it.each([
    ["small, of many kinds", 16384],
    ["tiny", 4096],
    ["owned", 8192],
    ["large and small", 2 ** 19],
    ["cached", 16384],
  ] as const)("is right on average and off by as much as theory says: %s at %i", (name, rate) => {
    const { z } = deviations(WORKLOADS[name], rate, RUNS);
    const mean = sum(z) / RUNS;
    const variance = sum(z.map((x) => x * x)) / RUNS;
    // Three and a half standard errors: of a mean, 1 / sqrt(n); of a mean square, sqrt(2 / n).
    expect(Math.abs(mean)).toBeLessThan(3.5 / Math.sqrt(RUNS));
    expect(Math.abs(variance - 1)).toBeLessThan(3.5 * Math.sqrt(2 / RUNS));
  });

  it("halves its error where the rate is a quarter", () => {
    const rms = (of: readonly number[]): number => Math.sqrt(sum(of.map((x) => x * x)) / of.length);
    const workload = WORKLOADS["small, of one kind"];
    const coarse = rms(deviations(workload, 65536, RUNS).relative);
    const fine = rms(deviations(workload, 4096, RUNS).relative);
    // A sixteenth: a quarter of the error. Each is known to 1 / sqrt(2 n) = 11 %.
    expect(coarse / fine).toBeGreaterThan(4 / 1.5);
    expect(coarse / fine).toBeLessThan(4 * 1.5);
  });
});
