/**
 * The front door: (scenario, machine profile, seed) in, time series and figures out.
 *
 * `simulate` is a pure function: no clock, file, process or DOM. The same arguments give the same bytes in Node, in a
 * worker and in a browser. Series go to a sink as they arise: of a run's length, memory keeps one number per cycle.
 */
import { ContainerRun, type OomIncident } from "./container.ts";
import { Agenda, type OutsideAction, type Performer } from "./control/agenda.ts";
import { type Figures as ColumnFigures, type Gauges, POLL_NS, Watcher } from "./control/conditions.ts";
import {
  type ControlEvent,
  callText,
  makeCall,
  OOM_KILL,
  type RuntimeControls,
} from "./control/interventions.ts";
import { type PolicyContext, type RunningPolicy, startPolicy } from "./control/policies.ts";
import { Figures, LimitFigures, ReclaimFigures, UsableCpu, usableCpus } from "./figures.ts";
import { checkLayers, type LayerPart, layersAt } from "./layers.ts";
import { FileReads } from "./os/filereads.ts";
import { type AddressSpace, addressSpace, vmSizeBytes } from "./os/maps.ts";
import { Memory } from "./os/memory.ts";
import { NEIGHBOUR_ROUND_NS, type NodeOom } from "./os/node.ts";
import type { NumaNodes } from "./os/numa.ts";
import { type PhaseSummary, Phases, type Tally } from "./phases.ts";
import { M_STRUCT_BYTES, MaxProcs, P_STRUCT_BYTES } from "./runtime/debug.ts";
import {
  type ClassSnapshot,
  type ComponentSnapshot,
  classSnapshot,
  componentSnapshot,
  type Fragmentation,
  fragmentation,
  type HeapTruth,
  heapTruth,
} from "./runtime/heapreport.ts";
import { KindTable } from "./runtime/kinds.ts";
import { type CycleRecord, ExplicitGc, FreeOSMemory, Gc } from "./runtime/mgc.ts";
import { limiterWasOn } from "./runtime/mgclimit.ts";
import { GcController, type MemoryLimitInputs, noMemoryLimit } from "./runtime/mgcpacer.ts";
import { Scavenger, type ScavTraceRecord } from "./runtime/mgcscavenge.ts";
import { Heap } from "./runtime/mheap.ts";
import { PageAlloc } from "./runtime/mpagealloc.ts";
import { MemProfile, mapProfileBuckets } from "./runtime/mprof.ts";
import { type MemStats, newMemStats, ReadMemStats, readMemStats } from "./runtime/mstats.ts";
import { OwnerTable } from "./runtime/owners.ts";
import type { SyncPool } from "./runtime/pool.ts";
import { G, PRIORITY_WORLD, Scheduler } from "./runtime/proc.ts";
import { SPAN_WORDS, spanInUse } from "./runtime/records.ts";
import { GoRuntime } from "./runtime/runtime.ts";
import { G_PTR_BYTES, Goroutines, nextslicecap } from "./runtime/runtime2.ts";
import { StackAllocator } from "./runtime/stack.ts";
import { Trace, type TraceOptions } from "./runtime/trace.ts";
import { TracedOs } from "./runtime/tracedos.ts";
import { rulesFor } from "./runtime/version.ts";
import { fillRow, procsChange, sampleColumns, sampledRequests } from "./samples.ts";
import type { Action } from "./scenario/actions.ts";
import { defaultGOMAXPROCS } from "./scenario/container.ts";
import defaultProfileJson from "./scenario/default-profile.json" with { type: "json" };
import type { MachineProfile } from "./scenario/profile.ts";
import type { Scenario, Startup, WorkloadEntry } from "./scenario/schema.ts";
import { hypotheticalSettings, numaNodes, pageSettings, runtimeCosts, threadsAtStart } from "./setup.ts";
import { RandomStreams, type Rng } from "./sim/rng.ts";
import { FirstRequests, LatencyHistogram } from "./workload/latency.ts";
import { type Context, drawNs, type Running } from "./workload/program.ts";
import { startEntry } from "./workload/start.ts";
import { StartupRun } from "./workload/startup.ts";
import { withTraffic } from "./workload/traffic.ts";

export type { OomIncident } from "./container.ts";
export type { LayerPart } from "./layers.ts";
export type { CycleRecord } from "./runtime/mgc.ts";
export type { ScavTraceRecord } from "./runtime/mgcscavenge.ts";
export {
  SAMPLE_COLUMNS,
  type SampleColumn,
  type SampledParts,
  type SampleUnit,
  sampleColumns,
} from "./samples.ts";

/** The release of this tool and of the model behind its numbers; a change of results changes the latter. */
export const VERSIONS = { gomemsim: "0.1.0", model: "go1.26-9" } as const;

export interface RunSink {
  /**
   * One row in the order of `sampleColumns`. The array is reused: copy what must last. `view`: the process at that instant; none
   * while it is down between a kill and its restart.
   */
  sample?(row: Float64Array, view: (() => ProcessView) | undefined): void;
  cycle?(cycle: CycleRecord): void;
  /**
   * Nothing is left to sweep of the last cycle: after it, and before the next one begins; not of a process that ends before. To the step
   * of the goroutine that swept last (ten spans of the background sweeper), which begins at that moment.
   */
  sweepDone?(nowNs: number): void;
  /** A line of GODEBUG=scavtrace=1. */
  scavTrace?(trace: ScavTraceRecord): void;
  /** Every part of every layer at sample `sample`, which counts from 1 as the rows do; where the scenario asks for `layers`. */
  layers?(sample: number, tSeconds: number, parts: readonly LayerPart[]): void;
  /** The process is killed; the view is of it as it dies. */
  killed?(nowNs: number, view: () => ProcessView): void;
  /** A phase begins; `name` is what its stretch is called in the summary. A sample of that very moment, which follows, is of the one before. */
  phase?(nowNs: number, name: string): void;
  /** The process starts again, after an OOM kill; it counts its collections anew. */
  restart?(nowNs: number): void;
}

export interface SimulateOptions {
  readonly profile?: MachineProfile;
  readonly seed?: number | string;
  readonly sink?: RunSink;
  /** Report what happens inside the run, event by event. Changes no result. */
  readonly trace?: TraceOptions;
  /** Verify the accounting identities at every sample and around every collection. Slower. */
  readonly checked?: boolean;
  /** Simulate the oracle playing the scenario: its tables, its start-up state, its timer ticks. */
  readonly declareOracle?: boolean;
  readonly onProgress?: (fractionDone: number, virtualNs: number) => void;
}

export interface RunSummary {
  readonly versions: { readonly gomemsim: string; readonly model: string };
  readonly seed: number | string;
  readonly scenario: Scenario;
  readonly profile: MachineProfile;
  /** Settings in it that no Go release has, in words; absent without any. */
  readonly hypothetical?: readonly string[];
  /** Headline figures over the whole run; units end their names. */
  readonly figures: Readonly<Record<string, number>>;
  /** Objects allocated by each part of the workload. */
  readonly sources: readonly { readonly name: string; readonly allocated: number }[];
  /** What interventions, phases and policies did, in order; the first 1000. */
  readonly events: readonly ControlEvent[];
  /** Figures from one phase to the next, where there are phases. */
  readonly phases?: readonly PhaseSummary[];
  /** Every OOM kill, where the scenario has a container. */
  readonly oom_kills?: readonly OomIncident[];
  /** The heap as the run leaves it: what MemStats cannot tell. */
  readonly heap_at_end: {
    /** Objects alive and dead-but-not-swept, exactly. */
    readonly truth: HeapTruth;
    readonly fragmentation: Fragmentation;
    /** Spans, slots and waste by size class; class 0 is large objects. Classes without spans are left out. */
    readonly size_classes: readonly ClassSnapshot[];
    /** mcaches, mcentral lists and mheap, with their counters. */
    readonly components: ComponentSnapshot;
  };
  /** The process's address space as the run leaves it. */
  readonly address_space_at_end: AddressSpace;
}

/** As `machineProfile` would read it, which a test holds it to: a run that brings no profile of its own needs no schema. */
export const defaultProfile = defaultProfileJson as MachineProfile;

const FOREVER = 0x7fffffff;
/**
 * Stacks of the goroutines a process starts with, as [deepest, parked] bytes: main's, one of the runtime's that has grown,
 * and the others. Measured in a Go 1.26 process (test/golden/stacks-1.26.json).
 */
const START_STACKS_BYTES = [
  [5000, 1310],
  [2000, 235],
  [175, 175],
] as const;
/** Allocating stacks of a process before main. */
const PROCESS_STACKS = 8;
const SAMPLES_PER_PROGRESS = 8;
/** Why something happened that no scenario plans. */
const BY_HAND = "by hand";
/** Events a summary tells of. */
const MAX_EVENTS = 1000;
const PAGE_BYTES = 8192;

/** Runs a scenario to its end. */
export function simulate(scenario: Scenario, options: SimulateOptions = {}): RunSummary {
  const run = new SimulatedRun(scenario, options);
  run.advance(scenario.duration);
  return run.summary();
}

/**
 * A run that is played piece by piece, for whoever looks in between or changes its course. In how many pieces changes
 * nothing about what comes out.
 */
export class SimulatedRun {
  readonly #scenario: Scenario;
  readonly #options: SimulateOptions;
  readonly #run: RunState;
  #process: Simulation;
  #nowNs = 0;
  /** When the process starts again that has been killed; none while it lives. */
  #restartNs: number | undefined;
  /** When the last process ended that is not started again. */
  #endNs: number | undefined;

  constructor(scenario: Scenario, options: SimulateOptions = {}) {
    this.#scenario = scenario;
    this.#options = options;
    const settings = scenario.container;
    const container =
      settings === undefined
        ? null
        : new ContainerRun(
            scenario,
            settings,
            (options.profile ?? defaultProfile).baseline.file_rss_bytes,
            options.seed ?? scenario.seed,
          );
    this.#run = new RunState(scenario, container, options.trace, options.sink);
    this.#process = new Simulation(scenario, options, this.#run, 0);
  }

  /** Virtual time played so far. */
  get nowNs(): number {
    return this.#nowNs;
  }

  /** Whether there is nothing left to play. */
  get ended(): boolean {
    return this.#nowNs >= this.#scenario.duration;
  }

  /** The process as it is now, between two calls of `advance`; none while it waits to be started again. */
  view(): ProcessView | undefined {
    return this.#restartNs === undefined && this.#endNs === undefined ? this.#process.view() : undefined;
  }

  /** The process as it is now, or as the OOM killer left the last one. */
  lastView(): ProcessView {
    return this.#process.view();
  }

  /** Plays on until `untilNs`, at most to the scenario's end. */
  advance(untilNs: number): void {
    const { duration } = this.#scenario;
    const until = Math.min(untilNs, duration);
    const run = this.#run;
    while (this.#nowNs < until) {
      if (this.#restartNs !== undefined) {
        run.passWhileDown(this.#restartNs, until);
        if (this.#restartNs >= until) break;
        run.container!.restarts++;
        run.figures.processEnded();
        this.#options.sink?.restart?.(this.#restartNs);
        this.#process = new Simulation(this.#scenario, this.#options, run, this.#restartNs);
        this.#restartNs = undefined;
      }
      const killedNs = this.#process.run(until);
      if (killedNs === undefined) break;
      this.#processKilled(killedNs);
      if (this.#endNs !== undefined) return;
    }
    if (this.#nowNs < until) {
      this.#nowNs = until;
      if (this.ended && this.#restartNs === undefined) run.trace?.processEnds(duration, false);
    }
  }

  #processKilled(killedNs: number): void {
    const run = this.#run;
    run.trace?.processEnds(killedNs, true);
    this.#options.sink?.killed?.(killedNs, () => this.#process.view());
    const restartNs = this.#process.killed(killedNs);
    if (restartNs === Infinity) {
      this.#endNs = killedNs;
      this.#nowNs = this.#scenario.duration;
      return;
    }
    run.goesDown(killedNs);
    this.#restartNs = restartNs;
  }

  /**
   * What is counted one by one over the run so far: `NAME_latency_ns` of each service and batch, `latency_ns` of all of them
   * together, `read_mem_stats_ns`. None is empty.
   */
  distributions(): ReadonlyMap<string, LatencyHistogram> {
    return this.#process.distributions();
  }

  /**
   * Does something to the process, its workload or its container at this moment. Returns false where nothing was done: what is asked of
   * the runtime needs a process, limits need a container, neighbours must be on the machine, a phase must be one of the scenario's, and
   * after the end there is no time left. Traffic, phases, a container's limits and neighbours hold for the processes to come, too; GOGC
   * and the limit of a new one are the scenario's. The same actions at the same virtual times give the same run.
   */
  act(action: Action): boolean {
    if (this.ended || this.#endNs !== undefined) return false;
    const down = this.#restartNs !== undefined;
    const run = this.#run;
    switch (action.do) {
      case "set_traffic":
        run.traffic = action.to;
        if (!down) this.#process.trafficChanged();
        this.#reportByHand(`set_traffic ${action.to}`);
        return true;
      case "phase": {
        const phase = this.#scenario.phases.find(({ name }) => name === action.to);
        if (phase === undefined) return false;
        this.#byHand(phase);
        return true;
      }
      case "resize_container":
      case "set_neighbours":
        if (run.container === null || (action.do === "set_neighbours" && run.container.node === null))
          return false;
        this.#byHand(action);
        if (!down && run.container.cgroup.killed) this.#processKilled(this.#nowNs);
        return true;
      default:
        if (!down) this.#process.callByHand(action);
        return !down;
    }
  }

  #byHand(action: OutsideAction): void {
    const process = this.#restartNs === undefined ? this.#process : undefined;
    this.#reportByHand(this.#run.actOutside(action, this.#nowNs, process));
  }

  #reportByHand(event: string): void {
    const run = this.#run;
    if (this.#restartNs !== undefined) run.trace?.noProcessAt(this.#nowNs);
    run.reportAt(this.#nowNs, event, BY_HAND);
  }

  /** The container, with the limits in force; null without one. */
  get container(): ContainerRun | null {
    return this.#run.container;
  }

  /** The part of the scenario's rates at which the workload comes (`set_traffic`). */
  get traffic(): number {
    return this.#run.traffic;
  }

  /** When the process starts again that has been killed; undefined while it lives, or stays down. */
  get restartNs(): number | undefined {
    return this.#restartNs;
  }

  /** Of the run so far; the last process's heap as it stands. */
  summary(): RunSummary {
    return this.#process.summary(this.#endNs ?? this.#nowNs);
  }
}

/**
 * The simulated process at an instant, to be read and left as it is. Costs nothing until something is asked; what is asked for
 * is of this instant only as long as the run does not go on.
 */
export interface ProcessView {
  readonly nowNs: number;
  /** When this process started: not 0 after a kill. */
  readonly startNs: number;
  readonly scenario: Scenario;
  readonly profile: MachineProfile;
  readonly seed: number | string;
  /** As runtime/metrics would say; the object is used again. */
  readonly memStats: Readonly<MemStats>;
  /** The model itself: heap, pacer, collector, scheduler, kinds. */
  readonly rt: GoRuntime;
  readonly memory: Memory;
  readonly scavenger: Scavenger;
  readonly container: ContainerRun | null;
  /** Names by number of `rt.kinds.source`: which part of the program allocates a kind. */
  readonly sources: readonly string[];
  /** What runs of the workload, by the scenario's entry; empty before the process is ready. */
  readonly running: readonly Running[];
  sizeClasses(): ClassSnapshot[];
  components(): ComponentSnapshot;
  fragmentation(): Fragmentation;
  /** A pass over all slots. */
  truth(): HeapTruth;
  addressSpace(): AddressSpace;
  /** That of `addressSpace`, for little. */
  vmSizeBytes(): number;
}

/** What outlives a process that is killed and started again. */
class RunState {
  readonly container: ContainerRun | null;
  readonly trace: Trace | undefined;
  readonly figures = new Figures();
  readonly limitFigures = new LimitFigures();
  readonly phases: Phases;
  /** Where the container has something to reclaim. */
  readonly reclaimFigures: ReclaimFigures | null;
  /** Bytes in huge pages, summed over samples. */
  anonHugePages = 0;
  readonly events: ControlEvent[] = [];
  readonly row: Float64Array;
  /** Counters of the processes before this one, by figure. */
  readonly past: Record<string, number> = {};
  /** Of runtime.ReadMemStats, where the scenario calls it. */
  readonly readLatency = new LatencyHistogram();
  /** Objects allocated by the processes before this one, by source. */
  readonly pastAllocated = new Map<string, number>();
  /** Latencies of their requests, by workload entry. */
  readonly pastLatency = new Map<string, LatencyHistogram>();
  /** The workload as the phases so far have it, and how many times its rates the traffic is (`set_traffic`). */
  readonly entries: WorkloadEntry[];
  traffic = 1;
  /** Phases and interventions to come. */
  readonly agenda: Agenda;
  /** The most that was resident in the processes before this one. */
  rssHwmBytes = 0;
  nextSampleNs: number;
  samples = 0;
  readonly #interval: number;
  readonly #startup: Startup | undefined;
  readonly #firstRequests = new Map<string, FirstRequests>();
  readonly #startupNs: number[] = [];
  /** A row that is no sample: what conditions look at. */
  readonly #looked: Float64Array;
  readonly #columns: ReadonlyMap<string, number>;
  /** While no process lives: when whoever waits outside looks next. */
  #nextPollNs = Number.POSITIVE_INFINITY;

  readonly #sink: RunSink | undefined;

  constructor(
    scenario: Scenario,
    container: ContainerRun | null,
    trace: TraceOptions | undefined,
    sink: RunSink | undefined,
  ) {
    this.container = container;
    this.#sink = sink;
    this.phases = new Phases(scenario.phases, container !== null);
    this.entries = [...scenario.workload];
    this.agenda = new Agenda(scenario.phases, scenario.interventions, scenario.duration);
    this.trace = trace === undefined ? undefined : new Trace(trace, scenario.go.GOMAXPROCS);
    this.#interval = scenario.sample_interval;
    this.#startup = scenario.startup;
    this.nextSampleNs = scenario.sample_interval;
    const columns = sampleColumns(scenario);
    this.row = new Float64Array(columns.length);
    this.#looked = new Float64Array(columns.length);
    this.#columns = new Map(columns.map(({ name }, i) => [name, i]));
    const reclaimable =
      container !== null &&
      (container.settings.page_cache.length > 0 || scenario.go.GODEBUG.madvdontneed === 0);
    this.reclaimFigures = reclaimable ? new ReclaimFigures(scenario.duration / 1e9) : null;
    this.#tellOfNeighbours();
  }

  /** While no process lives: by the clock of those who do something then. */
  #tellOfNeighbours(): void {
    const node = this.container?.node ?? null;
    if (node === null) return;
    node.timer = null;
    node.onNeighbours = (oom) => {
      this.trace?.noProcessAt(node.nowNs);
      this.reportAt(node.nowNs, ...neighboursEvent(oom));
    };
  }

  /** The columns as `fill` makes them now, for conditions. */
  look(fill: (row: Float64Array) => void): ColumnFigures {
    const row = this.#looked;
    fill(row);
    return (metric) => row[this.#columns.get(metric) ?? -1] ?? Number.NaN;
  }

  reportAt(nowNs: number, event: string, reason: string, again = false): void {
    this.trace?.intervention(event, { reason });
    // A call that repeats many times is no news.
    if (!again && this.events.length < MAX_EVENTS)
      this.events.push({ t_seconds: nowNs / 1e9, event, reason });
  }

  /** A phase begins or limits change; the process, if one lives, follows. Returns what was done, in words. */
  actOutside(action: OutsideAction, nowNs: number, process: Simulation | undefined): string {
    if (!("do" in action)) {
      const tally = process?.tally() ?? { counters: { ...this.past }, latencies: copies(this.pastLatency) };
      const name = this.phases.begin(nowNs, action.name, tally);
      this.#sink?.phase?.(nowNs, name);
      for (const { index, entry } of action.changes) {
        this.entries[index] = entry;
        process?.entryChanged(index, nowNs);
      }
      return `phase ${action.name}`;
    }
    const { container } = this;
    if (action.do === "set_neighbours") {
      const node = container?.node ?? null;
      if (node === null) throw new Error("there is nothing else on the machine");
      const { anon, reads, over } = action;
      node.change({ anonBytes: anon, readBytesPerSecond: reads, overNs: over }, nowNs);
      process?.neighboursChanged();
      const words = [
        ...(anon === undefined ? [] : [`anon ${anon}`]),
        ...(reads === undefined ? [] : [`reads ${reads}/s`]),
        ...(over === 0 ? [] : [`over ${over / 1e9} s`]),
      ];
      return `${action.do} ${words.join(", ")}`;
    }
    if (container === null) throw new Error("there is no container to resize");
    const done = container.resize(action, (quotaNs) => process?.setQuota(quotaNs));
    process?.limitsChanged();
    return `${action.do} ${done}`;
  }

  /** The process has been killed and will be started again. */
  goesDown(nowNs: number): void {
    this.#tellOfNeighbours();
    this.#nextPollNs = nowNs + POLL_NS;
  }

  /**
   * While no process lives: what happens from outside and on the machine before it starts again, up to `untilNs`, and the
   * samples of that.
   */
  passWhileDown(restartNs: number, untilNs: number): void {
    const { agenda } = this;
    const node = this.container!.node;
    const endNs = Math.min(restartNs, untilNs);
    for (;;) {
      const pollNs = agenda.watches ? this.#nextPollNs : Number.POSITIVE_INFINITY;
      const dueNs = Math.min(agenda.nextDueNs, pollNs);
      // What is due when the process starts is for the process to see.
      const outsideNs = dueNs < restartNs ? dueNs : Number.POSITIVE_INFINITY;
      const nowNs = Math.min(outsideNs, this.nextSampleNs);
      if (nowNs > endNs) break;
      node?.playRounds(nowNs);
      // A sample is taken after all else that happens at its moment, as while a process lives.
      if (outsideNs > nowNs) this.#sampleDown();
      else this.#actWhileDown(nowNs, nowNs >= pollNs);
    }
    node?.playRounds(endNs);
    if (endNs === restartNs) node?.advance(restartNs);
  }

  #actWhileDown(nowNs: number, polls: boolean): void {
    const { agenda } = this;
    this.trace?.noProcessAt(nowNs);
    const performer: Performer = {
      outside: (action) => this.actOutside(action, nowNs, undefined),
      call: callText,
      report: (event, reason, again) => this.reportAt(nowNs, event, reason, again),
    };
    agenda.passWhileDown(nowNs, performer);
    if (!polls) return;
    this.#nextPollNs = nowNs + POLL_NS;
    const figures = this.look((row) => this.container!.fillDown(row, nowNs));
    agenda.pollWhileDown(figures, nowNs, performer);
  }

  #sampleDown(): void {
    const container = this.container!;
    container.fillDown(this.row, this.nextSampleNs);
    container.nodeSampled();
    this.#sink?.sample?.(this.row, undefined);
    this.sampled();
  }

  sampled(): void {
    this.samples++;
    this.nextSampleNs += this.#interval;
  }

  /** Kept for a service over all processes; none unless the scenario has a start-up. */
  firstRequestsOf(service: string): FirstRequests | undefined {
    if (this.#startup === undefined) return undefined;
    let found = this.#firstRequests.get(service);
    if (found === undefined)
      this.#firstRequests.set(service, (found = new FirstRequests(this.#startup.first_requests)));
    return found;
  }

  firstRequestFigures(service: string): Record<string, number> {
    const requests = this.#firstRequests.get(service);
    if (requests === undefined || requests.first.count === 0) return {};
    const { first, rest } = requests;
    return {
      [`${service}_first_latency_p50_ns`]: first.percentile(0.5),
      [`${service}_first_latency_p99_ns`]: first.percentile(0.99),
      [`${service}_first_latency_max_ns`]: first.maxNs,
      ...(rest.count === 0
        ? {}
        : {
            [`${service}_later_latency_p50_ns`]: rest.percentile(0.5),
            [`${service}_later_latency_p99_ns`]: rest.percentile(0.99),
          }),
    };
  }

  startedUp(ns: number): void {
    this.#startupNs.push(ns);
  }

  startupFigures(): Record<string, number> {
    return this.#startupNs.length === 0 ? {} : { startup_seconds: Math.max(...this.#startupNs) / 1e9 };
  }
}

/** As they are now. */
const copies = (of: ReadonlyMap<string, LatencyHistogram>): Map<string, LatencyHistogram> =>
  new Map([...of].map(([name, latency]) => [name, latency.since(undefined)]));

/** A workload entry of a process that is not ready. */
const NOT_RUNNING: Partial<Running> = {};

/** The smallest tick of at least 100 ns, a power of ten, with which the run fits in 2^30 ticks. */
function chooseTickNs(durationNs: number): number {
  let tickNs = 100;
  while (durationNs / tickNs > 2 ** 30) tickNs *= 10;
  return tickNs;
}

/** Of quantiles at even steps. */
const medianOf = (quantiles: readonly number[]): number => quantiles[(quantiles.length - 1) >> 1];

/** Draws from a distribution given by quantiles at even steps, linear between them. */
function drawQuantile(quantiles: readonly number[], rng: Rng): number {
  const at = rng.f64() * (quantiles.length - 1);
  const below = Math.floor(at);
  const above = Math.min(below + 1, quantiles.length - 1);
  return quantiles[below] + (quantiles[above] - quantiles[below]) * (at - below);
}

/** Stands for the runtime itself where an allocation needs a goroutine. */
class RuntimeG extends G {
  override get label(): string {
    return "runtime";
  }

  step(): number {
    throw new Error("the runtime's own goroutine is never scheduled");
  }
}

class Simulation {
  readonly #scenario: Scenario;
  readonly #options: SimulateOptions;
  readonly #profile: MachineProfile;
  readonly #threadsAtStart: number;
  readonly #seed: number | string;
  readonly #rt: GoRuntime;
  readonly #memory: Memory;
  /** Empty until the process is ready. */
  readonly #running: Running[] = [];
  readonly #pools: SyncPool[] = [];
  readonly #sources: string[] = [];
  readonly #context: Context;
  readonly #stats: MemStats = newMemStats();
  readonly #run: RunState;
  readonly #startNs: number;
  #started = false;
  /** It has been killed and another will follow: what it has counted is among the run's past. */
  #isPast = false;
  #nowNs: number;
  #controls!: RuntimeControls;
  readonly #view = (): ProcessView => this.view();
  readonly #system = new RuntimeG();
  readonly #pauseRng: Rng;
  readonly #usableCpu: UsableCpu;
  readonly #stacks: StackAllocator;
  readonly #scavenger: Scavenger;
  readonly #policies: RunningPolicy[] = [];
  readonly #maxProcs: MaxProcs;
  readonly #numa: NumaNodes | undefined;
  #planNeighbours: () => void = () => {};

  constructor(scenario: Scenario, options: SimulateOptions, run: RunState, startNs: number) {
    this.#scenario = scenario;
    this.#run = run;
    this.#startNs = startNs;
    this.#nowNs = startNs;
    this.#options = options;
    const profile = options.profile ?? defaultProfile;
    this.#profile = profile;
    this.#seed = options.seed ?? scenario.seed;
    const declared = options.declareOracle ?? false;
    const container = run.container;
    // A process started again meets other chances.
    const life = container?.restarts ?? 0;
    const random = new RandomStreams(life === 0 ? this.#seed : `${this.#seed}/process ${life + 1}`);
    const rules = rulesFor(scenario.go.version);
    const procs = this.#procsAtStart();
    const tickNs = chooseTickNs(scenario.duration);
    const costs = runtimeCosts(profile);
    const { ofPs, beside } = threadsAtStart(profile, procs);
    this.#threadsAtStart = ofPs + beside;
    container?.start(startNs, this.#threadsAtStart);
    const numa = (this.#numa = numaNodes(scenario, costs));
    const memory = new Memory(
      {
        fileBytes: profile.baseline.file_rss_bytes,
        otherBytes: profile.baseline.other_rss_bytes + (container?.settings.off_heap ?? 0),
        faults: profile.baseline.page_faults,
      },
      container?.cgroup,
      pageSettings(scenario, rules, numa),
    );
    this.#memory = memory;
    const { trace } = run;
    const heapOs = trace === undefined ? memory : new TracedOs(memory, trace, "heap");
    const stackOs = trace === undefined ? memory : new TracedOs(memory, trace, "stack");
    const owners = new OwnerTable();
    const kinds = new KindTable(rules);
    // The pacer reads the heap's statistics and the heap reports to the pacer: the inputs look through this binding.
    const inputs = new HeapInputs();
    const gcPercent = scenario.go.GOGC === "off" ? -1 : scenario.go.GOGC;
    const memoryLimit = scenario.go.GOMEMLIMIT === "off" ? noMemoryLimit : scenario.go.GOMEMLIMIT;
    const pacer = new GcController(rules, inputs, procs, gcPercent, memoryLimit);
    const base = random.stream("heap-base");
    const heap = new Heap({
      rules,
      kinds,
      pages: new PageAlloc(rules),
      accounting: pacer,
      procs,
      os: heapOs,
      owners,
      heapBase: { chunk: base.u32() % 16, paddingPages: base.u32() % 512 },
      avx512: profile.avx512,
      needZeroAfterSysUnused: scenario.go.GODEBUG.madvdontneed === 0,
      arenaScale: scenario.go.hypothetical?.arenascale ?? 1,
    });
    inputs.heap = heap;
    heap.onSweepDone = () => options.sink?.sweepDone?.(this.#rt.sched.nowNs);
    if (numa !== undefined) numa.currentP = () => heap.currentP;
    heap.trace = trace;
    const rate = scenario.go.GODEBUG.memprofilerate;
    if (rate > 0) heap.memProfile = new MemProfile(heap, { rate, procs, rng: random.stream("heap-profile") });
    const stacks = new StackAllocator(heap, stackOs, procs);
    this.#stacks = stacks;
    const sourceOfRuntime = this.#addSource("runtime");
    const gKind = kinds.add(sourceOfRuntime, rules.gStructBytes, G_PTR_BYTES);
    let allgsOwner = -1;
    const goroutines = new Goroutines(
      stacks,
      stackOs,
      {
        newG: (p) => this.#rt.alloc(this.#system, p, gKind, FOREVER),
        growAllgs: (p, length, oldCap) => {
          const cap = nextslicecap(length, oldCap);
          if (allgsOwner >= 0) owners.end(allgsOwner, this.#rt.deathTick(this.#rt.sched.nowNs));
          allgsOwner = owners.alloc();
          this.#rt.alloc(this.#system, p, kinds.add(sourceOfRuntime, cap * 8, cap * 8), ~allgsOwner);
          return cap;
        },
        addMaxStackScan: (bytes) => {
          pacer.maxStackScan += bytes;
        },
      },
      procs,
    );
    const wakeRng = random.stream("wake-ups");
    const sched = new Scheduler({
      nprocs: procs,
      cpus: scenario.machine.cpus,
      wakeNs: () => drawQuantile(profile.sched.wake_ns, wakeRng),
      timerSlackNs: () => drawQuantile(profile.sched.timer_slack_ns, wakeRng),
      switchNs: costs.goroutineSwitchNs,
      wakerNs: profile.sched.waker_ns,
      coldNs: profile.sched.cold_ns,
      startNs,
      delays: container?.cgroup ?? null,
      bandwidth: container?.bandwidth ?? null,
      threads: ofPs,
      newThread: (p) => this.#newThread(p),
    });
    trace?.procresize(procs);
    sched.trace = trace;
    trace?.attach(sched, () => ({
      heapLive: pacer.heapLive,
      heapGoal: pacer.heapGoal(),
      rss: memory.residentBytes(),
    }));
    const { pause } = profile;
    const pauseRng = random.stream("pauses");
    this.#pauseRng = pauseRng;
    pacer.addGlobals(profile.baseline.globals_bytes);
    const scavenger = (this.#scavenger = new Scavenger({
      sched,
      heap,
      pacer,
      costs: costs.scavenge,
      onTrace: (trace) => options.sink?.scavTrace?.(trace),
    }));
    const gc = new Gc({
      sched,
      heap,
      pacer,
      goroutines,
      stacks,
      scavenger,
      costs,
      globalsBytes: profile.baseline.globals_bytes,
      tickNs,
      startNs,
      stwNs: (which, preempting) => {
        const stops = sched.nprocs === 1 ? pause.single_p : preempting ? pause.preempting : pause.quiet;
        return Math.round(drawQuantile(which === 0 ? stops.sweep_term : stops.mark_term, pauseRng));
      },
      // Where the runtime stops the world and another P computes, it waits so much longer than where none does.
      preemptNs: Math.max(0, medianOf(pause.preempting.mark_term) - medianOf(pause.quiet.mark_term)),
      onCycle: (cycle) => this.#onCycle(cycle),
      markSlowdown: () => (numa === undefined ? 1 : markSlowdown(heap, numa)),
      clearPools: (nowNs) => {
        for (const pool of this.#pools) pool.cleanup(this.#rt.deathTick(nowNs));
      },
    });
    sched.attach(gc);
    const { read_mem_stats } = pause;
    this.#maxProcs = new MaxProcs({
      sched,
      gc,
      heap,
      pacer,
      goroutines,
      stacks,
      stopNs: (preempting) =>
        drawQuantile(preempting ? read_mem_stats.preempting : read_mem_stats.quiet, pauseRng),
      newP: (p) => {
        const kind = kinds.add(sourceOfRuntime, P_STRUCT_BYTES, P_STRUCT_BYTES);
        this.#rt.alloc(this.#system, p, kind, FOREVER);
      },
      onChange: (now, before, byRuntime) => {
        this.#usableCpu.change(sched.nowNs, this.#usableCpus());
        if (byRuntime)
          this.#report(`GOMAXPROCS ${before} -> ${now}`, "the container's CPU limit has changed");
      },
    });
    this.#rt = new GoRuntime({
      heap,
      pacer,
      gc,
      goroutines,
      sched,
      kinds,
      owners,
      costs,
      tickNs,
      numa,
    });
    this.#usableCpu = new UsableCpu(startNs, this.#usableCpus());
    this.#context = {
      rt: this.#rt,
      random,
      durationNs: scenario.duration,
      program: {
        declared,
        tickNs: declared ? profile.oracle.tick_ns : 0,
        requestNs: declared ? profile.oracle.request_ns : 0,
        lookupNs: profile.oracle.lookup_ns,
        heldObjectNs: declared ? profile.oracle.object_ns + profile.oracle.drop_ns : 0,
        ownedObjectNs: declared ? profile.oracle.owned_object_ns : 0,
        drawNs: (dist) => (declared ? drawNs(dist, profile.oracle.draw_ns) : 0),
      },
      pools: this.#pools,
      addSource: (name) => this.#addSource(name),
      readyNs: startNs,
      firstRequests: (service) => run.firstRequestsOf(service),
    };
  }

  /** CPUs that the process may use at this moment. */
  #usableCpus(): number {
    const limit = this.#run.container?.cpuLimit ?? Number.POSITIVE_INFINITY;
    return usableCpus(this.#rt.sched.nprocs, this.#scenario.machine.cpus, limit);
  }

  /** GOMAXPROCS of a process that starts now: Go's default goes by the CPU limit of the moment. */
  #procsAtStart(): number {
    const { go, machine } = this.#scenario;
    const { container } = this.#run;
    return go.GOMAXPROCS_default === true && container !== null
      ? defaultGOMAXPROCS(machine.cpus, container.cpuLimit, true)
      : go.GOMAXPROCS;
  }

  /** A thread more than the process started with: its m, the stacks of its two gs, and what the kernel keeps for it. */
  #newThread(p: number): void {
    const { kinds, goroutines } = this.#rt;
    const source = this.#sources.indexOf("runtime");
    this.#rt.heap.currentP = p;
    this.#rt.alloc(this.#system, p, kinds.add(source, M_STRUCT_BYTES, M_STRUCT_BYTES), FOREVER);
    for (let i = 0; i < 2; i++) {
      const { gStructBytes } = this.#rt.heap.rules;
      this.#rt.alloc(this.#system, p, kinds.add(source, gStructBytes, G_PTR_BYTES), FOREVER);
    }
    goroutines.newM(p, false);
    this.#run.container?.cgroup.threadStarted();
  }

  #addSource(name: string): number {
    this.#sources.push(name);
    return this.#sources.length - 1;
  }

  /** Runs the process until then, or until it is killed: returns when that was. */
  run(untilNs: number): number | undefined {
    const run = this.#run;
    const { sched } = this.#rt;
    if (!this.#started) this.#start();
    while (run.nextSampleNs <= untilNs) {
      sched.run(run.nextSampleNs);
      if (sched.halted) return (this.#nowNs = sched.nowNs);
      this.#sample(run.nextSampleNs);
    }
    sched.run(untilNs);
    if (sched.halted) return (this.#nowNs = sched.nowNs);
    this.#nowNs = untilNs;
    return undefined;
  }

  #start(): void {
    this.#started = true;
    const scenario = this.#scenario;
    const startNs = this.#startNs;
    this.#startProcess();
    if (scenario.startup === undefined) this.#startWorkload(startNs);
    else this.#startUp(scenario.startup);
    this.#startControl();
    this.#playFiles();
    this.#playNeighbours();
    this.#playKhugepaged();
  }

  view(): ProcessView {
    const rt = this.#rt;
    const memory = this.#memory;
    const nowNs = this.#nowNs;
    const stats = this.#stats;
    let read = false;
    return {
      nowNs,
      startNs: this.#startNs,
      scenario: this.#scenario,
      profile: this.#profile,
      seed: this.#seed,
      // Most who look at each sample want something else.
      get memStats() {
        if (!read) readMemStats(rt, stats);
        read = true;
        return stats;
      },
      rt,
      memory,
      scavenger: this.#scavenger,
      container: this.#run.container,
      sources: this.#sources,
      running: this.#running,
      sizeClasses: () => classSnapshot(rt.heap),
      components: () => componentSnapshot(rt.heap),
      fragmentation: () => fragmentation(rt.heap, classSnapshot(rt.heap)),
      truth: () => heapTruth(rt.heap, rt.deathTick(nowNs)),
      addressSpace: () => addressSpace(memory, rt.heap.rules.namesMappings),
      vmSizeBytes: () => vmSizeBytes(memory, rt.heap.rules.namesMappings),
    };
  }

  /** The entries at the present traffic. */
  #workload(): WorkloadEntry[] {
    return this.#run.entries.map((entry) => withTraffic(entry, this.#run.traffic));
  }

  /** The entry has changed: what runs of it follows. Before the process is ready nothing does. */
  entryChanged(index: number, nowNs: number): void {
    const entry = withTraffic(this.#run.entries[index], this.#run.traffic);
    this.#running[index]?.change({ ...entry, start: Math.max(entry.start, this.#startNs) }, nowNs);
  }

  setQuota(quotaNs: number): void {
    this.#rt.sched.setQuota(quotaNs);
  }

  /** The container's limits are others from now on. */
  limitsChanged(): void {
    this.#usableCpu.change(this.#rt.sched.nowNs, this.#usableCpus());
  }

  /** The program calls something that nobody planned, at the moment up to which it has run. */
  callByHand(call: Parameters<typeof makeCall>[0]): void {
    if (!this.#started) this.#start();
    makeCall(call, this.#rt.sched, this.#controls);
    this.#report(callText(call), BY_HAND);
  }

  trafficChanged(): void {
    this.#run.entries.forEach((entry, index) => {
      if (withTraffic(entry, 2) !== entry) this.entryChanged(index, this.#rt.sched.nowNs);
    });
  }

  /** The process is ready; with `startup` that takes a while. */
  #startWorkload(readyNs: number): void {
    for (const entry of this.#workload())
      this.#running.push(startEntry(this.#context, { ...entry, start: Math.max(entry.start, readyNs) }));
  }

  /** The main goroutine starts up, and then the workload begins. */
  #startUp(startup: Startup): void {
    const { sched } = this.#rt;
    const waits = startup.early_requests === "wait";
    const done = (nowNs: number): void => {
      this.#context.readyNs = nowNs;
      this.#run.startedUp(nowNs - this.#startNs);
      this.#report("ready", "start-up is over");
      for (const entry of this.#workload()) {
        const early = waits && entry.kind === "service" ? this.#startNs : nowNs;
        this.#running.push(startEntry(this.#context, { ...entry, start: Math.max(entry.start, early) }));
      }
    };
    sched.ready(new StartupRun(this.#context, startup, (event) => this.#report(event, "start-up"), done));
  }

  #report(event: string, reason: string, again = false): void {
    this.#run.reportAt(this.#rt.sched.nowNs, event, reason, again);
  }

  /** The container's page cache fills as files are read. */
  #playFiles(): void {
    const { container } = this.#run;
    if (container === null || container.settings.page_cache.length === 0) return;
    const { sched } = this.#rt;
    let event = -1;
    const played = sched.register(() => {
      event = -1;
      reads.wake();
    });
    const reads = new FileReads(container.cgroup.pageCache, container.cgroup, {
      get nowNs() {
        return sched.nowNs;
      },
      set(atNs) {
        sched.queue.cancel(event);
        event = sched.fire(atNs, PRIORITY_WORLD, played);
      },
    });
  }

  /** Others on the machine take and read what they are due every 10 ms, while there is anything. */
  #playNeighbours(): void {
    const node = this.#run.container?.node ?? null;
    if (node === null) return;
    const { sched } = this.#rt;
    let event = -1;
    const played = sched.register((now) => {
      event = -1;
      node.advance(now);
      plan();
    });
    const plan = (this.#planNeighbours = () => {
      sched.queue.cancel(event);
      if (node.moves) event = sched.fire(sched.nowNs + NEIGHBOUR_ROUND_NS, PRIORITY_WORLD, played);
    });
    node.onNeighbours = (oom) => this.#report(...neighboursEvent(oom));
    plan();
    let nap = -1;
    const napEnds = sched.register(() => {
      nap = -1;
      node.napEnds();
    });
    node.timer = {
      get nowNs() {
        return sched.nowNs;
      },
      set(atNs) {
        sched.queue.cancel(nap);
        nap = sched.fire(atNs, PRIORITY_WORLD, napEnds);
      },
    };
  }

  /** What others on the machine do has changed. */
  neighboursChanged(): void {
    this.#planNeighbours();
  }

  /** The kernel's thread wakes; its first round is one sleep after the process's start. */
  #playKhugepaged(): void {
    if (!this.#memory.hasHugePages) return;
    const { pages_to_scan, scan_sleep } = this.#scenario.machine.khugepaged;
    const { sched } = this.#rt;
    const scan = sched.register((now) => {
      this.#memory.khugepaged(pages_to_scan);
      sched.fire(now + scan_sleep, PRIORITY_WORLD, scan);
    });
    sched.fire(this.#startNs + scan_sleep, PRIORITY_WORLD, scan);
  }

  /** The process has been killed: keeps what the run's figures need of it. Returns when it starts again. */
  killed(nowNs: number): number {
    const { past, pastLatency, container, events } = this.#run;
    this.#run.phases.killed();
    const { node } = container!.cgroup.oom!;
    const reason =
      node === undefined
        ? `memory.max of ${container!.maxBytes} bytes reached`
        : `the machine has ${node.freeBytes} bytes free and nothing to reclaim; badness ${badnessWords(node)}`;
    events.push({ t_seconds: nowNs / 1e9, event: OOM_KILL, reason });
    const restartNs = container!.killed(nowNs, {
      virtualBytes: this.#memory.virtualBytes(),
      fileRssBytes: this.#profile.baseline.file_rss_bytes,
      rssPeakBytes: this.#memory.residentPeakBytes(),
    });
    if (restartNs >= this.#scenario.duration) return restartNs;
    this.#run.rssHwmBytes = this.#rssHwmBytes;
    for (const [name, value] of Object.entries(this.#counters())) past[name] = value;
    for (const [name, n] of this.#allocated()) this.#run.pastAllocated.set(name, n);
    this.#scenario.workload.forEach((entry, i) => {
      const latency = this.#running[i]?.latency;
      if (latency === undefined) return;
      latency.rotate();
      const before = pastLatency.get(entry.name);
      if (before === undefined) pastLatency.set(entry.name, latency.total);
      else before.merge(latency.total);
    });
    this.#isPast = true;
    return restartNs;
  }

  /** Phases, interventions and policies: whatever happens to the program besides its workload. */
  #startControl(): void {
    const scenario = this.#scenario;
    const rt = this.#rt;
    const { sched, gc, heap, pacer } = rt;
    const startNs = this.#startNs;
    const watcher = new Watcher(sched, this.#gauges());
    const report = (event: string, reason: string, again = false): void => this.#report(event, reason, again);
    const controls: RuntimeControls = (this.#controls = {
      gc: () => new ExplicitGc(gc, heap),
      readMemStats: () => this.#readMemStats(),
      freeOSMemory: () => new FreeOSMemory(gc, heap, this.#scavenger),
      setGCPercent: (percent) => {
        pacer.setGCPercent(percent);
        gc.recommit();
      },
      setMemoryLimit: (bytes) => {
        pacer.setMemoryLimit(bytes === Number.POSITIVE_INFINITY ? noMemoryLimit : bytes);
        gc.recommit();
      },
      setGOMAXPROCS: (procs) => this.#maxProcs.set(procs),
    });
    const { container } = this.#run;
    if (
      scenario.go.GOMAXPROCS_default === true &&
      container !== null &&
      scenario.go.GODEBUG.updatemaxprocs === 1
    )
      this.#maxProcs.follow(() => defaultGOMAXPROCS(scenario.machine.cpus, container.cpuLimit, true));
    this.#run.agenda.begin(sched, watcher, {
      outside: (action, nowNs) => this.#run.actOutside(action, nowNs, this),
      call: (call) => {
        makeCall(call, sched, controls);
        return callText(call);
      },
      report,
    });
    const context: PolicyContext = {
      controls,
      watcher,
      report,
      startNs,
      gcPercent: () => pacer.gcPercent,
      totalAllocBytes: () => heap.stats.totalAlloc,
      allocUntouched: (bytes) => {
        const kind = rt.kinds.add(this.#addSource("ballast"), Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES, 0);
        rt.beginStep(this.#system, 0, 0);
        rt.heap.allocLarge(0, kind, FOREVER, false);
        rt.heap.memProfile?.allocated(0, kind);
      },
      shed: (service, share) => {
        this.#running[scenario.workload.findIndex((entry) => entry.name === service)]?.shed?.(share);
      },
    };
    for (const policy of scenario.policies) this.#policies.push(startPolicy(policy, context));
  }

  /** What conditions look at, read when they look. */
  #gauges(): Gauges {
    const rt = this.#rt;
    return {
      look: () => this.#run.look((row) => this.#fill(row, rt.sched.nowNs, newMemStats())),
      get gcNs() {
        return gcCpuNs(rt.gc);
      },
      get cpuNs() {
        return gcCpuNs(rt.gc) + rt.sched.mutatorNs;
      },
    };
  }

  /** The columns as they are now. Returns the requests in flight. */
  #fill(row: Float64Array, nowNs: number, st: MemStats): number {
    const rt = this.#rt;
    readMemStats(rt, st);
    const requests = sampledRequests(this.#running);
    fillRow(
      row,
      nowNs,
      {
        scenario: this.#scenario,
        rt,
        memory: this.#memory,
        scavenger: this.#scavenger,
        numa: this.#numa,
        container: this.#run.container,
      },
      st,
      requests,
    );
    return requests.inflight;
  }

  #readMemStats(): ReadMemStats {
    const { gc, heap, sched } = this.#rt;
    const { read_mem_stats } = this.#profile.pause;
    return new ReadMemStats({
      sched,
      gc,
      heap,
      stacks: this.#stacks,
      callNs: (preempting) =>
        drawQuantile(preempting ? read_mem_stats.preempting : read_mem_stats.quiet, this.#pauseRng),
      onDone: (latencyNs) => this.#run.readLatency.record(latencyNs),
    });
  }

  /** What a Go process holds when main starts: objects, goroutines, threads' stacks. */
  #startProcess(): void {
    const rt = this.#rt;
    const { baseline } = this.#profile;
    const source = this.#addSource("process");
    rt.beginStep(this.#system, 0, 0);
    if (this.#scenario.go.GODEBUG.memprofilerate > 0)
      mapProfileBuckets(rt.heap, this.#scenario.workload.length + PROCESS_STACKS);
    // Objects first: the first thing that a process asks of its heap is a g, in a span of one page, for which there is room behind
    // any random padding of the heap's base. A stack's span of four would find none in three of 512 processes.
    const { minSizeForMallocHeader, mallocHeaderSize, largeObjectThreshold } = rt.heap.rules;
    for (const [elemsize, pointerful, count] of baseline.objects) {
      // They were counted by their elements, in a release that has headers.
      const headed =
        pointerful &&
        elemsize > minSizeForMallocHeader &&
        elemsize <= largeObjectThreshold + mallocHeaderSize;
      const bytes = headed ? elemsize - mallocHeaderSize : elemsize;
      const kind = rt.kinds.add(source, bytes, pointerful ? bytes : 0);
      for (let i = 0; i < count; i++) rt.alloc(this.#system, 0, kind, FOREVER);
    }
    for (let i = 0; i < this.#threadsAtStart; i++) rt.goroutines.newM(0, i === 0);
    for (let i = 0; i < baseline.goroutines; i++) {
      const g = rt.goroutines.newproc(0);
      const [grown, parked] = START_STACKS_BYTES[Math.min(i, START_STACKS_BYTES.length - 1)];
      rt.goroutines.growTo(0, g, grown);
      rt.goroutines.setUsed(g, parked);
    }
    rt.takeWorkNs();
  }

  #onCycle(cycle: CycleRecord): void {
    this.#run.figures.cycle(cycle);
    this.#run.phases.cycle(cycle);
    this.#run.container?.cycle(cycle, this.#rt.sched.nowNs);
    this.#numa?.cycleEnded(cycle.assist_cpu_ns + cycle.background_cpu_ns + cycle.idle_cpu_ns);
    this.#options.sink?.cycle?.(cycle);
    const { sched } = this.#rt;
    // After the cycle's own commit.
    if (this.#policies.length > 0)
      sched.call(sched.nowNs, PRIORITY_WORLD, (nowNs) => {
        for (const policy of this.#policies) policy.cycleEnded?.(cycle, nowNs);
      });
    if (this.#options.checked) this.#check();
  }

  #check(): void {
    this.#rt.heap.checkInvariants();
    this.#memory.checkInvariants();
    this.#rt.goroutines.checkInvariants();
    this.#run.container?.cgroup.checkInvariants();
  }

  #sample(nowNs: number): void {
    const rt = this.#rt;
    const st = this.#stats;
    const { row, container } = this.#run;
    const inflight = this.#fill(row, nowNs, st);
    container?.sampled(st, nowNs);
    // Whoever samples the real program reads its group's statistics.
    if (this.#options.declareOracle === true) container?.cgroup.pageCache.flushStats();
    const rss = this.#memory.residentBytes();
    this.#run.figures.sample(nowNs, st, rss, inflight);
    this.#run.phases.sample(nowNs, st.nextGC, st.heapInuse, rss);
    const { limiter } = rt.sched;
    if (rt.pacer.memoryLimit !== noMemoryLimit)
      this.#run.limitFigures.sample(rt.heap.mappedReady, limiterWasOn(limiter.lastEnabledCycle, rt.gc.numGC));
    this.#run.anonHugePages += this.#memory.anonHugePagesBytes();
    if (container !== null && this.#run.reclaimFigures !== null) {
      const { anon, file, inactive_file, active_file } = container.cgroup.stat();
      this.#run.reclaimFigures.sample(nowNs / 1e9, {
        ...{ anon, file, rss, inactiveFile: inactive_file, activeFile: active_file },
        lazyFree: this.#scenario.go.GODEBUG.madvdontneed === 0 ? this.#memory.lazyFreeBytes() : undefined,
      });
    }
    this.#nowNs = nowNs;
    this.#options.sink?.sample?.(row, this.#view);
    if (this.#scenario.layers === true) this.#layers(nowNs, rss);
    this.#run.trace?.gauge(this.#scenario.layers === true ? this.#run.samples + 1 : undefined);
    for (const running of this.#running) running.latency?.rotate();
    this.#run.sampled();
    if (this.#options.checked) this.#check();
    if (this.#run.samples % SAMPLES_PER_PROGRESS === 0) {
      this.#options.onProgress?.(nowNs / this.#scenario.duration, nowNs);
    }
  }

  #layers(nowNs: number, rss: number): void {
    const { container } = this.#run;
    const parts = layersAt(
      {
        heap: this.#rt.heap,
        memory: this.#memory,
        numa: this.#numa,
        cgroup: container?.cgroup,
        sources: this.#sources,
        offHeapBytes: container?.settings.off_heap ?? 0,
      },
      this.#rt.deathTick(nowNs),
    );
    if (this.#options.checked) checkLayers(parts, rss, container?.cgroup.currentBytes);
    this.#options.sink?.layers?.(this.#run.samples + 1, nowNs / 1e9, parts);
  }

  /** The most that was resident at any moment, of all processes of the run. */
  get #rssHwmBytes(): number {
    return Math.max(this.#run.rssHwmBytes, this.#memory.residentPeakBytes());
  }

  /** Objects allocated by source, over all processes of the run. */
  #allocated(): Map<string, number> {
    const { kinds } = this.#rt;
    const own = (i: number): number => (this.#isPast ? 0 : (kinds.allocated[i] ?? 0));
    return new Map(this.#sources.map((name, i) => [name, own(i) + (this.#run.pastAllocated.get(name) ?? 0)]));
  }

  /** What processes count since their start, over all processes of the run. */
  #counters(): Readonly<Record<string, number>> {
    if (this.#isPast) return this.#run.past;
    const rt = this.#rt;
    const own: Record<string, number> = {
      gc_count: rt.gc.numGC,
      page_faults: this.#memory.faults,
      total_alloc_bytes: rt.heap.stats.totalAlloc,
      mallocs: rt.heap.stats.mallocs,
      gc_cpu_seconds: gcCpuNs(rt.gc) / 1e9,
      assist_cpu_seconds: rt.gc.assistNs / 1e9,
      pause_total_ns: rt.gc.pauseTotalNs,
      mutator_cpu_seconds: rt.sched.mutatorNs / 1e9,
      gc_limiter_enabled_seconds: rt.sched.limiter.enabledNs(rt.sched.nowNs) / 1e9,
      scavenge_cpu_seconds: (this.#scavenger.assistNs + this.#scavenger.backgroundNs) / 1e9,
      usable_cpu_seconds: this.#usableCpu.ns(rt.sched.nowNs) / 1e9,
    };
    if (procsChange(this.#scenario)) {
      own["gomaxprocs_seconds"] = rt.sched.totalTimeNs(rt.sched.nowNs) / 1e9;
      own["process_seconds"] = (rt.sched.nowNs - this.#startNs) / 1e9;
    }
    if (this.#scenario.go.hypothetical !== undefined) {
      const { work, reservations } = rt.heap;
      own["heap_reserve_calls"] = reservations;
      own["heap_map_calls"] = work.total.heapGrowths + work.heapGrowths;
    }
    if (this.#numa !== undefined) own["numa_remote_cpu_seconds"] = this.#numa.remoteNs / 1e9;
    this.#scenario.workload.forEach((entry, i) => {
      const { completed, refused } = this.#running[i] ?? NOT_RUNNING;
      if (completed !== undefined) own[`${entry.name}_requests`] = completed;
      if (refused !== undefined) own[`${entry.name}_refused`] = refused;
    });
    for (const [name, value] of Object.entries(this.#run.past)) own[name] = (own[name] ?? 0) + value;
    return own;
  }

  /** Latencies of an entry's requests over all processes of the run, with what ended after the last sample. */
  #latencyOf(index: number): LatencyHistogram | undefined {
    const latency = this.#isPast ? undefined : this.#running[index]?.latency;
    const past = this.#run.pastLatency.get(this.#scenario.workload[index].name);
    if (latency === undefined && past === undefined) return undefined;
    const all = new LatencyHistogram();
    if (past !== undefined) all.merge(past);
    if (latency !== undefined) {
      all.merge(latency.total);
      all.merge(latency);
    }
    return all.count === 0 ? undefined : all;
  }

  /** What the run has counted up to now. */
  tally(): Tally {
    const latencies = this.#scenario.workload.flatMap(({ name }, i) => {
      const latency = this.#latencyOf(i);
      return latency === undefined ? [] : [[name, latency] as const];
    });
    return { counters: { ...this.#counters() }, latencies: new Map(latencies) };
  }

  distributions(): Map<string, LatencyHistogram> {
    const all = new LatencyHistogram();
    const found = new Map<string, LatencyHistogram>();
    this.#scenario.workload.forEach((entry, i) => {
      const latency = this.#latencyOf(i);
      if (latency === undefined) return;
      found.set(`${entry.name}_latency_ns`, latency);
      all.merge(latency);
    });
    if (all.count > 0) found.set("latency_ns", all);
    if (this.#run.readLatency.count > 0) found.set("read_mem_stats_ns", this.#run.readLatency);
    return found;
  }

  summary(endNs: number): RunSummary {
    const rt = this.#rt;
    const { container } = this.#run;
    const counters = this.#counters();
    const figures = this.#run.figures.finish(counters["gc_count"]);
    // Of all moments, where rss_peak_bytes is of the samples, as it is for a real run.
    figures["rss_hwm_bytes"] = this.#rssHwmBytes;
    figures["ran_seconds"] = endNs / 1e9;
    figures["page_faults"] = counters["page_faults"];
    figures["total_alloc_bytes"] = counters["total_alloc_bytes"];
    figures["mallocs"] = counters["mallocs"];
    figures["gc_cpu_seconds"] = counters["gc_cpu_seconds"];
    figures["assist_cpu_seconds"] = counters["assist_cpu_seconds"];
    figures["gc_cpu_of_usable_fraction"] = counters["gc_cpu_seconds"] / counters["usable_cpu_seconds"];
    figures["gc_cpu_fraction"] = rt.gc.gcCpuFraction;
    figures["pause_total_ns"] = counters["pause_total_ns"];
    figures["mutator_cpu_seconds"] = counters["mutator_cpu_seconds"];
    figures["usable_cpu_seconds"] = counters["usable_cpu_seconds"];
    if (procsChange(this.#scenario)) {
      figures["gomaxprocs_mean"] = counters["gomaxprocs_seconds"] / counters["process_seconds"];
    }
    if (this.#numa !== undefined) {
      figures["numa_remote_cpu_seconds"] = counters["numa_remote_cpu_seconds"];
      figures["numa_remote_mark_fraction"] = this.#numa.remoteMarkShare;
    }
    if (this.#run.limitFigures.sampled) {
      Object.assign(figures, this.#run.limitFigures.finish());
      figures["gc_limiter_enabled_seconds"] = counters["gc_limiter_enabled_seconds"];
      figures["gc_limiter_last_enabled_gc_cycle"] = rt.sched.limiter.lastEnabledCycle;
      figures["scavenge_cpu_seconds"] = counters["scavenge_cpu_seconds"];
    }
    if (this.#scenario.machine.thp === "always" && this.#scenario.go.GODEBUG.disablethp === 0)
      figures["anon_huge_pages_mean_bytes"] = this.#run.anonHugePages / Math.max(1, this.#run.samples);
    Object.assign(figures, container?.figures(), this.#run.reclaimFigures?.finish());
    const reads = this.#run.readLatency;
    if (reads.count > 0) {
      figures["read_mem_stats_count"] = reads.count;
      figures["read_mem_stats_p50_ns"] = reads.percentile(0.5);
      figures["read_mem_stats_p95_ns"] = reads.percentile(0.95);
      figures["read_mem_stats_p99_ns"] = reads.percentile(0.99);
      figures["read_mem_stats_max_ns"] = reads.maxNs;
    }
    this.#scenario.workload.forEach((entry, i) => {
      const requests = counters[`${entry.name}_requests`];
      if (requests === undefined) return;
      figures[`${entry.name}_requests`] = requests;
      const refused = counters[`${entry.name}_refused`] ?? 0;
      if (refused > 0) figures[`${entry.name}_refused`] = refused;
      const latency = this.#latencyOf(i);
      if (latency === undefined) return;
      figures[`${entry.name}_latency_mean_ns`] = latency.sumNs / latency.count;
      figures[`${entry.name}_latency_p50_ns`] = latency.percentile(0.5);
      figures[`${entry.name}_latency_p95_ns`] = latency.percentile(0.95);
      figures[`${entry.name}_latency_p99_ns`] = latency.percentile(0.99);
      figures[`${entry.name}_latency_max_ns`] = latency.maxNs;
      Object.assign(figures, this.#run.firstRequestFigures(entry.name));
    });
    Object.assign(figures, this.#run.startupFigures());
    const phases = this.#run.phases.finish(endNs, this.tally());
    const allocated = this.#allocated();
    const hypothetical = hypotheticalSettings(this.#scenario);
    if (hypothetical.length > 0) {
      figures["heap_reserve_calls"] = counters["heap_reserve_calls"];
      figures["heap_map_calls"] = counters["heap_map_calls"];
    }
    this.#options.onProgress?.(1, this.#scenario.duration);
    const sizeClasses = classSnapshot(rt.heap);
    return {
      versions: VERSIONS,
      seed: this.#seed,
      scenario: this.#scenario,
      ...(hypothetical.length > 0 ? { hypothetical } : {}),
      profile: this.#profile,
      figures,
      heap_at_end: {
        truth: heapTruth(rt.heap, rt.deathTick(Math.min(endNs, rt.sched.nowNs))),
        fragmentation: fragmentation(rt.heap, sizeClasses),
        size_classes: sizeClasses,
        components: componentSnapshot(rt.heap),
      },
      address_space_at_end: addressSpace(this.#memory, rt.heap.rules.namesMappings),
      events: this.#run.events,
      sources: [...allocated].map(([name, n]) => ({ name, allocated: n })),
      ...(phases.length === 0 ? {} : { phases }),
      ...(container === null ? {} : { oom_kills: container.incidents }),
    };
  }
}

/** The OOM killer's arithmetic over the machine, in pages. */
const badnessWords = ({ processBadness, neighboursBadness }: NodeOom): string => {
  const words = (pages: number, unit = ""): string =>
    pages === Number.NEGATIVE_INFINITY ? "none" : `${pages}${unit}`;
  return `${words(processBadness, " pages")}, neighbours' ${words(neighboursBadness)}`;
};

/** What has become of neighbours that wanted more memory than there is. */
const neighboursEvent = (oom: NodeOom): [event: string, reason: string] =>
  oom.neighboursBadness === Number.NEGATIVE_INFINITY
    ? ["neighbours wait", "the machine has nothing to reclaim and nobody to kill: a kernel would panic"]
    : [
        "OOM kill of neighbours",
        `the machine has ${oom.freeBytes} bytes free and nothing to reclaim; badness ${badnessWords(oom)}`,
      ];

/** By what a mark takes longer for survivors that are on other nodes than those who mark them. */
function markSlowdown(heap: Heap, numa: NumaNodes): number {
  const { spans } = heap;
  numa.beginMark();
  for (let s = 0; s < spans.end; s += SPAN_WORDS) {
    if (spans.state[s] !== spanInUse || spans.marked[s] === 0) continue;
    const start = spans.base[s] * PAGE_BYTES;
    numa.marked(start, start + spans.npages[s] * PAGE_BYTES, spans.marked[s] * spans.elemsizeOf(s));
  }
  return numa.markFactor(heap.procs);
}

/** CPU time of the collector, its pauses' included. */
function gcCpuNs(gc: Gc): number {
  return gc.assistNs + gc.dedicatedNs + gc.fractionalNs + gc.idleNs + gc.pauseCpuNs;
}

/** The pacer's view of the heap, bound once the heap exists. */
class HeapInputs implements MemoryLimitInputs {
  heap: Heap | null = null;

  get heapFree(): number {
    return this.heap?.stats.heapFree ?? 0;
  }

  get totalAlloc(): number {
    return this.heap?.stats.totalAlloc ?? 0;
  }

  get totalFree(): number {
    return this.heap?.stats.totalFree ?? 0;
  }

  get mappedReady(): number {
    return this.heap?.mappedReady ?? 0;
  }
}
