/**
 * One variant simulated and written: timeseries.csv, cycles.csv, gctrace.txt, scavtrace.txt and the event trace, where one is
 * wanted, while it runs, summary.json at its end.
 * A worker thread calls this; nothing else simulates for `run`, so every variant goes the same way.
 */
import { closeSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { csvLine, cycleLines, cyclesHeader } from "../report/cycles.ts";
import { eventLines } from "../report/events.ts";
import { gctraceLine } from "../report/gctrace.ts";
import { oomText } from "../report/oom.ts";
import { PerfettoTrace } from "../report/perfetto.ts";
import { heapProfile } from "../report/pprof.ts";
import { scavtraceLine } from "../report/scavtrace.ts";
import { SeriesSketch } from "../report/sketch.ts";
import { summaryJson } from "../report/summary.ts";
import type { FinishedRun, RunDigest } from "../report/terminal.ts";
import { SampleFormatter } from "../report/timeseries.ts";
import type { TraceEvent, TraceOptions, Tracer } from "../runtime/trace.ts";
import type { ScenarioPlaces } from "../scenario/places.ts";
import type { MachineProfile } from "../scenario/profile.ts";
import { BASE_VARIANT, type Scenario } from "../scenario/schema.ts";
import {
  type CycleRecord,
  type RunSink,
  type SampleColumn,
  type ScavTraceRecord,
  SimulatedRun,
  sampleColumns,
  VERSIONS,
} from "../simulate.ts";
import { ChunkedWriter, cannotWrite } from "./outputs.ts";

/** What one run is given. Plain data: it crosses to the worker thread. */
export interface Job {
  readonly scenario: Scenario;
  readonly profile?: MachineProfile;
  readonly checked: boolean;
  /** Write an event trace, and of what. */
  readonly trace?: Omit<TraceOptions, "tracer">;
  /** Write heap profiles: one at the end and one at each of these times, spelled as they were given. */
  readonly heapProfiles?: {
    readonly places: ScenarioPlaces;
    readonly at: readonly { readonly text: string; readonly ns: number }[];
  };
  /** An existing folder to write into, and how messages call the place it will end up in. */
  readonly folder: string;
  readonly label: string;
}

type OutputName =
  | "timeseries.csv"
  | "cycles.csv"
  | "gctrace.txt"
  | "scavtrace.txt"
  | "oom.txt"
  | "events.ndjson"
  | "trace.json"
  | "heap.pb.gz"
  | `heap-${string}.pb.gz`
  | "summary.json";

/** What a run writes; a container's also tells of OOM kills, and an event trace is written when it is wanted. */
export const outputFiles = ({ scenario, trace, heapProfiles }: Job): readonly OutputName[] => [
  "timeseries.csv",
  "cycles.csv",
  "gctrace.txt",
  "scavtrace.txt",
  ...(scenario.container === undefined ? [] : (["oom.txt"] as const)),
  ...(trace === undefined ? [] : (["events.ndjson", "trace.json"] as const)),
  ...(heapProfiles === undefined
    ? []
    : [...heapProfiles.at.map(({ text }) => `heap-${text}.pb.gz` as const), "heap.pb.gz" as const]),
  "summary.json",
];

/** work.stwprocs of the runtime: Ps that can run at once while the world is stopped. */
const stwProcs = ({ go, machine }: Scenario): number => Math.min(go.GOMAXPROCS, machine.cpus);

/** Cycles are handed to the CSV library this many at a time. */
const CYCLE_BATCH = 256;

class OutputFile {
  readonly #fd: number;
  readonly writer: ChunkedWriter;

  constructor(job: Job, name: OutputName) {
    const label = join(job.label, name);
    try {
      this.#fd = openSync(join(job.folder, name), "w");
    } catch (error) {
      throw cannotWrite(label, error);
    }
    this.writer = new ChunkedWriter(this.#fd, label);
  }

  close(): void {
    this.writer.flush();
    closeSync(this.#fd);
  }
}

function writeWhole(job: Job, name: OutputName, text: string): void {
  const file = new OutputFile(job, name);
  file.writer.write(text);
  file.close();
}

/** Writes the series to files as they come and keeps the little the terminal summary needs. */
class FileSink implements RunSink {
  readonly #timeseries: OutputFile;
  readonly #cycles: OutputFile;
  readonly #gctrace: OutputFile;
  readonly #scavtrace: OutputFile;
  readonly #columns: readonly SampleColumn[];
  readonly #formatter: SampleFormatter;
  readonly #stwProcs: number;
  /** When the process started whose collections come in. */
  #processStartNs = 0;
  readonly #batch: CycleRecord[] = [];
  readonly #pausesNs: number[] = [];
  readonly #sums: Float64Array;
  readonly #counts: Float64Array;
  readonly #last: Float64Array;
  readonly #pictures: readonly { readonly column: number; readonly sketch: SeriesSketch }[];
  readonly #pause = new SeriesSketch();
  readonly #gcCpuShare = new SeriesSketch();
  readonly #cpus: number;
  /** Of the cycles since the last sample. */
  #longestPauseNs = 0;
  /** Of the last cycle; and when it ended. */
  #lastShare = 0;
  #cycleEndSeconds = 0;

  constructor(job: Job) {
    this.#timeseries = new OutputFile(job, "timeseries.csv");
    this.#cycles = new OutputFile(job, "cycles.csv");
    this.#gctrace = new OutputFile(job, "gctrace.txt");
    this.#scavtrace = new OutputFile(job, "scavtrace.txt");
    this.#stwProcs = stwProcs(job.scenario);
    this.#cpus = Math.min(job.scenario.go.GOMAXPROCS, job.scenario.machine.cpus);
    const columns = sampleColumns(job.scenario);
    this.#columns = columns;
    this.#formatter = new SampleFormatter(columns);
    this.#sums = new Float64Array(columns.length);
    this.#counts = new Float64Array(columns.length);
    this.#last = new Float64Array(columns.length);
    this.#pictures = ["heap_inuse_bytes", "next_gc_bytes", "rss_bytes", "latency_p99_ns"].map((name) => ({
      column: columns.findIndex((column) => column.name === name),
      sketch: new SeriesSketch(),
    }));
    this.#timeseries.writer.write(csvLine(columns.map((column) => column.name)));
    this.#cycles.writer.write(cyclesHeader());
  }

  sample(row: Float64Array): void {
    this.#timeseries.writer.write(this.#formatter.line(row));
    for (let i = 0; i < row.length; i++) {
      const value = row[i];
      if (Number.isNaN(value)) continue;
      this.#sums[i] += value;
      this.#counts[i]++;
      this.#last[i] = value;
    }
    // Where no request ended there is no latency.
    for (const { column, sketch } of this.#pictures)
      if (column >= 0) sketch.add(Number.isNaN(row[column]) ? 0 : row[column]);
    this.#pause.add(this.#longestPauseNs);
    this.#gcCpuShare.add(this.#lastShare);
    this.#longestPauseNs = 0;
  }

  restart(nowNs: number): void {
    this.#processStartNs = nowNs;
  }

  cycle(cycle: CycleRecord): void {
    this.#gctrace.writer.write(`${gctraceLine(cycle, this.#stwProcs, this.#processStartNs / 1e9)}\n`);
    const pauseNs = cycle.stw1_ns + cycle.stw2_ns;
    this.#pausesNs.push(pauseNs);
    this.#longestPauseNs = Math.max(this.#longestPauseNs, pauseNs);
    const endSeconds = cycle.start_seconds + (pauseNs + cycle.concurrent_ns) / 1e9;
    const cpuSeconds = (cycle.assist_cpu_ns + cycle.background_cpu_ns + cycle.idle_cpu_ns) / 1e9;
    this.#lastShare = cpuSeconds / ((endSeconds - this.#cycleEndSeconds) * this.#cpus);
    this.#cycleEndSeconds = endSeconds;
    this.#batch.push({ ...cycle });
    if (this.#batch.length === CYCLE_BATCH) this.#writeCycles();
  }

  scavTrace(trace: ScavTraceRecord): void {
    this.#scavtrace.writer.write(`${scavtraceLine(trace)}\n`);
  }

  #writeCycles(): void {
    if (this.#batch.length > 0) this.#cycles.writer.write(cycleLines(this.#batch));
    this.#batch.length = 0;
  }

  close(): void {
    this.#writeCycles();
    this.#timeseries.close();
    this.#cycles.close();
    this.#gctrace.close();
    this.#scavtrace.close();
  }

  digest(): RunDigest {
    const pauses = Float64Array.from(this.#pausesNs).sort();
    // Nearest rank: the smallest value that at least this share of the cycles does not exceed.
    const percentile = (share: number): number =>
      pauses.length === 0 ? Number.NaN : pauses[Math.max(0, Math.ceil(share * pauses.length) - 1)];
    const byName = (values: (i: number) => number): Record<string, number> =>
      Object.fromEntries(this.#columns.map((column, i) => [column.name, values(i)]));
    return {
      heapInuse: this.#pictures[0].sketch.peaks,
      goal: this.#pictures[1].sketch.peaks,
      rss: this.#pictures[2].sketch.peaks,
      latencyP99: this.#pictures[3].sketch.peaks,
      pause: this.#pause.peaks,
      gcCpuShare: this.#gcCpuShare.peaks,
      pauses: { p50_ns: percentile(0.5), p99_ns: percentile(0.99), max_ns: percentile(1) },
      means: byName((i) => this.#sums[i] / this.#counts[i]),
      last: byName((i) => this.#last[i]),
    };
  }
}

/** Writes the event trace in both its formats as it comes. */
class TraceFiles implements Tracer {
  readonly #events: OutputFile;
  readonly #timeline: OutputFile;
  readonly #lines: Tracer;
  readonly #perfetto: PerfettoTrace;

  constructor(job: Job) {
    const { scenario } = job;
    this.#events = new OutputFile(job, "events.ndjson");
    this.#timeline = new OutputFile(job, "trace.json");
    this.#lines = eventLines((text) => this.#events.writer.write(text));
    this.#perfetto = new PerfettoTrace((text) => this.#timeline.writer.write(text), {
      name: scenario.variant === BASE_VARIANT ? scenario.name : `${scenario.name}/${scenario.variant}`,
      procs: scenario.go.GOMAXPROCS,
      about: { ...VERSIONS, scenario: scenario.name, variant: scenario.variant, seed: scenario.seed },
    });
  }

  begin(event: TraceEvent): void {
    this.#perfetto.begin(event);
  }

  end(event: TraceEvent): void {
    this.#lines.end?.(event);
    this.#perfetto.end(event);
  }

  event(event: TraceEvent): void {
    this.#lines.event?.(event);
    this.#perfetto.event(event);
  }

  close(): void {
    this.#perfetto.finish();
    this.#events.close();
    this.#timeline.close();
  }
}

/** A heap profile as /debug/pprof/heap would serve it now; none while the process is down. */
function writeHeapProfile(job: Job, run: SimulatedRun, name: OutputName, places: ScenarioPlaces): void {
  const view = run.view();
  if (view === undefined) return;
  const label = join(job.label, name);
  try {
    writeFileSync(join(job.folder, name), gzipSync(heapProfile(view, places)));
  } catch (error) {
    throw cannotWrite(label, error);
  }
}

/** Runs the job to its end; throws a CliError when its files cannot be written. */
export function runJob(job: Job, onProgress: (fractionDone: number) => void): FinishedRun {
  const sink = new FileSink(job);
  const trace = job.trace === undefined ? undefined : new TraceFiles(job);
  const run = new SimulatedRun(job.scenario, {
    ...(job.profile === undefined ? {} : { profile: job.profile }),
    checked: job.checked,
    sink,
    ...(trace === undefined ? {} : { trace: { ...job.trace, tracer: trace } }),
    onProgress,
  });
  const { heapProfiles } = job;
  for (const { text, ns } of heapProfiles?.at ?? []) {
    run.advance(ns);
    writeHeapProfile(job, run, `heap-${text}.pb.gz`, heapProfiles!.places);
  }
  run.advance(job.scenario.duration);
  const summary = run.summary();
  if (heapProfiles !== undefined) writeHeapProfile(job, run, "heap.pb.gz", heapProfiles.places);
  sink.close();
  trace?.close();
  if (summary.oom_kills !== undefined)
    writeWhole(job, "oom.txt", oomText(summary.oom_kills, stwProcs(job.scenario)));
  writeWhole(job, "summary.json", summaryJson(summary));
  return { summary, digest: sink.digest() };
}
