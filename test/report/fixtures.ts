/** Made-up records for the report tests: plausible, and nothing more. */
import type { FinishedRun } from "../../src/report/terminal.ts";
import profile from "../../src/scenario/default-profile.json" with { type: "json" };
import { machineProfile } from "../../src/scenario/profile.ts";
import { godebug, machine, type Scenario } from "../../src/scenario/schema.ts";
import { BASE_VARIANT } from "../../src/scenario/variant.ts";
import type { CycleRecord, RunSummary } from "../../src/simulate.ts";

export function cycle(changes: Partial<CycleRecord> = {}): CycleRecord {
  return {
    gc: 1,
    start_seconds: 1,
    heap_start_bytes: 4e6,
    heap_end_bytes: 4.2e6,
    heap_marked_bytes: 2e6,
    goal_bytes: 4 * 2 ** 20,
    trigger_bytes: 3_997_696,
    stacks_bytes: 20_000,
    globals_bytes: 100_000,
    stw1_ns: 20_000,
    concurrent_ns: 800_000,
    stw2_ns: 30_000,
    assist_cpu_ns: 90_000,
    background_cpu_ns: 100_000,
    idle_cpu_ns: 200_000,
    procs: 2,
    forced: false,
    reason: "heap",
    gc_cpu_percent: 1.9,
    ...changes,
  };
}

export function scenario(variant = BASE_VARIANT): Scenario {
  return {
    name: "made-up",
    description: "",
    variant,
    duration: 60e9,
    seed: 7,
    sample_interval: 1e8,
    go: { version: "1.26", GOGC: 100, GOMEMLIMIT: "off", GOMAXPROCS: 2, GODEBUG: godebug.parse({}) },
    machine: machine.parse({ cpus: 2 }),
    workload: [],
    phases: [],
    policies: [],
    interventions: [],
  };
}

export const FIGURES = {
  gc_count: 123,
  gc_cpu_seconds: 2.4,
  gc_cpu_of_usable_fraction: 0.02,
  gc_cpu_fraction: 0.018,
  assist_cpu_seconds: 0.012,
  pause_median_ns: 50_000,
  pause_p99_ns: 81_000,
  pause_max_ns: 99_000,
  longest_stop_ns: 77_000,
  frag_span_unused_fraction: 0.107,
  pause_total_ns: 12_345_678,
  heap_inuse_mean_bytes: 80 * 2 ** 20,
  heap_inuse_peak_bytes: 93.14 * 2 ** 20,
  goal_peak_bytes: 100 * 2 ** 20,
  rss_peak_bytes: 120 * 2 ** 20,
  mallocs: 45_678_901,
};

export function finished(variant = BASE_VARIANT, figures: Record<string, number> = FIGURES): FinishedRun {
  const summary = {
    scenario: scenario(variant),
    profile: machineProfile.parse(profile),
    seed: 7,
    versions: { gomemsim: "1.2.3", model: "m4" },
    figures,
  } as unknown as RunSummary;
  const wave = Array.from({ length: 100 }, (_, i) => 40e6 + (i % 10) * 5e6);
  return {
    summary,
    verdicts: [],
    digest: {
      heapInuse: wave,
      goal: wave.map(() => 104e6),
      rss: wave.map((v) => v + 2e7),
      pause: wave.map((_, i) => (i % 10 === 0 ? 99_000 : 0)),
      gcCpuShare: wave.map((_, i) => i / 1000),
      latencyP99: wave.map(() => 0),
    },
  };
}
