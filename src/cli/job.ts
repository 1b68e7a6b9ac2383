/**
 * One variant simulated and written: timeseries.csv, cycles.csv, gctrace.txt, scavtrace.txt and the event trace, where one is
 * wanted, while it runs, summary.json, heapmap.json and report.html at its end.
 * A worker thread calls this; nothing else simulates for `run`, so every variant goes the same way.
 */
import { gzipSync } from "node:zlib";
import {
  CYCLES_HEADER,
  type CycleRow,
  cpuShareSince,
  cycleEndSeconds,
  cycleLine,
  SweptCycles,
} from "../report/cycles.ts";
import { gctraceLine } from "../report/gctrace.ts";
import { reportHtml } from "../report/html.ts";
import { LAYERS_HEADER, layerLines } from "../report/layers.ts";
import { oomText } from "../report/oom.ts";
import type { OverlayPart } from "../report/overlay.ts";
import { ReportCollector } from "../report/runreport.ts";
import { scavtraceLine } from "../report/scavtrace.ts";
import { SeriesSketch } from "../report/sketch.ts";
import { summaryJson, verdictJson } from "../report/summary.ts";
import type { FinishedRun, RunDigest } from "../report/terminal.ts";
import { SampleFormatter } from "../report/timeseries.ts";
import type { TraceOptions } from "../runtime/trace.ts";
import { cpuLimit } from "../scenario/container.ts";
import type { ScenarioPlaces } from "../scenario/places.ts";
import type { MachineProfile } from "../scenario/profile.ts";
import type { Scenario } from "../scenario/schema.ts";
import {
  type CycleRecord,
  type LayerPart,
  type ProcessView,
  type RunSink,
  type ScavTraceRecord,
  SimulatedRun,
  sampleColumns,
} from "../simulate.ts";
import { ThresholdWatch } from "../thresholds.ts";
import { EXPORT_FILES, type ExportOptions, exportFiles } from "./exportkinds.ts";
import type { RunExports } from "./exports.ts";
import { OutputFile, writeWhole } from "./outputfile.ts";
import { deflate, pageBundle } from "./page.ts";

/** What one run is given. Plain data: it crosses to the worker thread. */
export interface Job {
  readonly scenario: Scenario;
  /** As `resolvedYaml` prints it: whoever makes the job has YAML's library loaded, the worker has not. */
  readonly scenarioYaml: string;
  readonly profile?: MachineProfile;
  readonly checked: boolean;
  /** Write an event trace, and of what. */
  readonly trace?: Omit<TraceOptions, "tracer">;
  /** Other tools' formats to write, too. */
  readonly exports?: ExportOptions;
  /** Write heap profiles: one at the end and one at each of these times, spelled as they were given. */
  readonly heapProfiles?: {
    readonly places: ScenarioPlaces;
    readonly at: readonly { readonly text: string; readonly ns: number }[];
  };
  /** The run is wanted for the page that lays several over each other. */
  readonly overlaid: boolean;
  /** An existing folder to write into, and how messages call the place it will end up in. */
  readonly folder: string;
  readonly label: string;
}

/** Everything a run may write. */
const OUTPUT_NAMES = [
  "timeseries.csv",
  "cycles.csv",
  "gctrace.txt",
  "scavtrace.txt",
  "oom.txt",
  "layers.csv",
  "events.ndjson",
  "trace.json",
  "heap.pb.gz",
  ...EXPORT_FILES,
  "summary.json",
  "heapmap.json",
  "report.html",
] as const;
export type OutputName = (typeof OUTPUT_NAMES)[number] | `heap-${string}.pb.gz`;

/** Whether an entry of a run's folder is, or holds, something that a run writes. */
export const isOutputName = (entry: string): boolean =>
  /^heap-.+\.pb\.gz$/.test(entry) || OUTPUT_NAMES.some((name) => name === entry);

/** What a run may write; a container's also tells of OOM kills, where there were some, and layers and an event trace are written when they are wanted. */
export const outputFiles = ({ scenario, trace, exports, heapProfiles }: Job): readonly OutputName[] => [
  "timeseries.csv",
  "cycles.csv",
  "gctrace.txt",
  "scavtrace.txt",
  ...(scenario.container === undefined ? [] : (["oom.txt"] as const)),
  ...(scenario.layers === true ? (["layers.csv"] as const) : []),
  ...(trace === undefined ? [] : (["events.ndjson", "trace.json"] as const)),
  ...(exports === undefined ? [] : exportFiles(exports, scenario)),
  ...(heapProfiles === undefined
    ? []
    : [...heapProfiles.at.map(({ text }) => `heap-${text}.pb.gz` as const), "heap.pb.gz" as const]),
  "summary.json",
  "heapmap.json",
  "report.html",
];

/** Writes the series to files as they come and keeps the little the terminal summary needs. */
class FileSink implements RunSink {
  readonly #timeseries: OutputFile;
  readonly #cycles: OutputFile;
  readonly #gctrace: OutputFile;
  readonly #scavtrace: OutputFile;
  readonly #layers: OutputFile | undefined;
  readonly #formatter: SampleFormatter;
  readonly #cpus: number;
  /** The container's, as of the last sample; and where samples tell, which is where it changes. */
  #cpuLimit: number;
  readonly #cpuLimitColumn: number;
  /** When the process started whose collections come in. */
  #processStartNs = 0;
  readonly #swept = new SweptCycles((row) => this.#sweptCycle(row));
  readonly #watch: ThresholdWatch;
  readonly #pictures: readonly { readonly column: number; readonly sketch: SeriesSketch }[];
  readonly #pause = new SeriesSketch();
  readonly #gcCpuShare = new SeriesSketch();
  /** Of the cycles since the last sample. */
  #longestPauseNs = 0;
  /** Of the last cycle; and when it ended. */
  #lastShare = 0;
  #cycleEndSeconds = 0;
  readonly report: ReportCollector;

  constructor(job: Job, watch: ThresholdWatch) {
    this.#watch = watch;
    this.#timeseries = new OutputFile(job, "timeseries.csv");
    this.#cycles = new OutputFile(job, "cycles.csv");
    this.#gctrace = new OutputFile(job, "gctrace.txt");
    this.#scavtrace = new OutputFile(job, "scavtrace.txt");
    this.#layers = job.scenario.layers === true ? new OutputFile(job, "layers.csv") : undefined;
    this.#layers?.writer.write(LAYERS_HEADER);
    this.#cpus = job.scenario.machine.cpus;
    this.#cpuLimit = cpuLimit(job.scenario.container);
    const columns = sampleColumns(job.scenario);
    this.#cpuLimitColumn = columns.findIndex(({ name }) => name === "cpu_limit_cpus");
    this.#formatter = new SampleFormatter(columns);
    this.report = new ReportCollector(job.scenario, columns);
    this.#pictures = ["heap_inuse_bytes", "next_gc_bytes", "rss_bytes", "latency_p99_ns"].map((name) => ({
      column: columns.findIndex((column) => column.name === name),
      sketch: new SeriesSketch(),
    }));
    this.#timeseries.writer.write(this.#formatter.header);
    this.#cycles.writer.write(CYCLES_HEADER);
  }

  sample(row: Float64Array, view: (() => ProcessView) | undefined): void {
    this.report.sample(row, view);
    this.#timeseries.writer.write(this.#formatter.line(row));
    this.#watch.sample(row);
    if (!Number.isNaN(row[this.#cpuLimitColumn] ?? Number.NaN)) this.#cpuLimit = row[this.#cpuLimitColumn];
    // Where no request ended there is no latency.
    for (const { column, sketch } of this.#pictures)
      if (column >= 0) sketch.add(Number.isNaN(row[column]) ? 0 : row[column]);
    this.#pause.add(this.#longestPauseNs);
    this.#gcCpuShare.add(this.#lastShare);
    this.#longestPauseNs = 0;
  }

  layers(sample: number, tSeconds: number, parts: readonly LayerPart[]): void {
    this.#layers?.writer.write(layerLines(sample, tSeconds, parts));
  }

  killed(_nowNs: number, view: () => ProcessView): void {
    this.report.killed(view);
  }

  phase(nowNs: number, name: string): void {
    this.#watch.phase(nowNs, name);
  }

  restart(nowNs: number): void {
    this.#processStartNs = nowNs;
  }

  cycle(cycle: CycleRecord): void {
    this.#swept.cycle(cycle);
    this.#gctrace.writer.write(`${gctraceLine(cycle, this.#cpus, this.#processStartNs / 1e9)}\n`);
    this.#watch.cycle(cycle);
    const pauseNs = cycle.stw1_ns + cycle.stw2_ns;
    this.#longestPauseNs = Math.max(this.#longestPauseNs, pauseNs);
    const cpuNs = cycle.assist_cpu_ns + cycle.background_cpu_ns + cycle.idle_cpu_ns;
    this.#lastShare = cpuShareSince(this.#cycleEndSeconds, cycle, cpuNs, this.#cpus, this.#cpuLimit);
    this.#cycleEndSeconds = cycleEndSeconds(cycle);
  }

  sweepDone(nowNs: number): void {
    this.#swept.sweepDone(nowNs);
  }

  #sweptCycle(row: CycleRow): void {
    this.report.cycle(row);
    this.#cycles.writer.write(cycleLine(row));
  }

  scavTrace(trace: ScavTraceRecord): void {
    this.#scavtrace.writer.write(`${scavtraceLine(trace)}\n`);
  }

  close(): void {
    this.#swept.flush();
    this.#timeseries.close();
    this.#cycles.close();
    this.#gctrace.close();
    this.#scavtrace.close();
    this.#layers?.close();
  }

  digest(): RunDigest {
    return {
      heapInuse: this.#pictures[0].sketch.peaks,
      goal: this.#pictures[1].sketch.peaks,
      rss: this.#pictures[2].sketch.peaks,
      latencyP99: this.#pictures[3].sketch.peaks,
      pause: this.#pause.peaks,
      gcCpuShare: this.#gcCpuShare.peaks,
    };
  }
}

/** Samples go to the exports, too. */
function withExports(sink: FileSink, exports: RunExports): RunSink {
  return {
    sample: (row, view) => {
      sink.sample(row, view);
      // A multiple of the interval must be one again.
      if (view !== undefined) exports.sample(Math.round(row[0] * 1e9), view);
    },
    cycle: (cycle) => sink.cycle(cycle),
    sweepDone: (nowNs) => sink.sweepDone(nowNs),
    scavTrace: (trace) => sink.scavTrace(trace),
    layers: (...args) => sink.layers(...args),
    killed: (nowNs, view) => sink.killed(nowNs, view),
    phase: (nowNs, name) => sink.phase(nowNs, name),
    restart: (nowNs) => sink.restart(nowNs),
  };
}

/** What a job leaves for the page that lays several runs over each other, too. */
export interface DoneJob extends FinishedRun {
  readonly overlay: OverlayPart | undefined;
}

/** Runs the job to its end; throws a CliError when its files cannot be written. What few runs write is loaded for them alone. */
export async function runJob(job: Job, onProgress: (fractionDone: number) => void): Promise<DoneJob> {
  // Read while the rest is made ready.
  const wants = [job.trace, job.exports, job.heapProfiles].some((extra) => extra !== undefined);
  const loading = wants ? import("./extras.ts") : undefined;
  // Before the simulation: without the page nothing else needs to be tried.
  const bundle = pageBundle();
  const { scenario } = job;
  const watch = new ThresholdWatch(scenario);
  const sink = new FileSink(job, watch);
  const extras = await loading;
  const trace = job.trace && extras && new extras.TraceFiles(job);
  const exports = job.exports && extras && new extras.RunExports(job, job.exports);
  const run = new SimulatedRun(scenario, {
    ...(job.profile === undefined ? {} : { profile: job.profile }),
    checked: job.checked,
    sink: exports === undefined ? sink : withExports(sink, exports),
    ...(trace === undefined ? {} : { trace: { ...job.trace, tracer: trace } }),
    onProgress,
  });
  // As /debug/pprof/heap would serve it; none while the process is down.
  const writeHeapProfile = (name: OutputName): void => {
    const view = run.view();
    if (extras !== undefined && view !== undefined)
      writeWhole(job, name, gzipSync(extras.heapProfile(view, job.heapProfiles?.places)));
  };
  for (const { text, ns } of job.heapProfiles?.at ?? []) {
    run.advance(ns);
    writeHeapProfile(`heap-${text}.pb.gz`);
  }
  run.advance(scenario.duration);
  exports?.finish(run.lastView());
  if (job.heapProfiles !== undefined) writeHeapProfile("heap.pb.gz");
  const summary = run.summary();
  const verdicts = watch.verdicts(summary, run.distributions());
  sink.close();
  trace?.close();
  // A folder with an oom.txt is that of a killed process.
  if (summary.oom_kills !== undefined && summary.oom_kills.length > 0)
    writeWhole(job, "oom.txt", oomText(summary.oom_kills, scenario.machine.cpus));
  writeWhole(job, "summary.json", summaryJson(summary, verdicts));
  const told = { ...summary, scenario_yaml: job.scenarioYaml, thresholds: verdicts.map(verdictJson) };
  const heap = sink.report.heap(deflate);
  writeWhole(job, "heapmap.json", `${JSON.stringify(heap)}\n`);
  writeWhole(job, "report.html", reportHtml([sink.report.finish(told, heap, deflate)], bundle));
  const overlay = job.overlaid ? sink.report.overlay(told) : undefined;
  return { summary, digest: sink.digest(), verdicts, overlay };
}
