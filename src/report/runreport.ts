/**
 * What the report page knows of a run: gathered while the run streams, in bounded memory, and packed into plain data.
 *
 * Series are kept in a BoundedTable, cycles in a smaller one. At chosen instants a heap map is taken through the view: at even
 * steps of the run, near the peak of RSS, after the largest fall of HeapInuse, at OOM kills and at the end. Between them live bytes, which
 * no statistic of Go tells, are counted exactly. Both cost a pass over the heap's slots, which a credit bounds. It is earned by the
 * simulator's own work (objects, requests, faults, cycles), not by time, so that the same run gives the same report.
 */
import { OOM_KILL } from "../control/interventions.ts";
import { pageSize } from "../runtime/sizeclasses.ts";
import type { Scenario } from "../scenario/schema.ts";
import type { OomIncident, ProcessView, RunSummary } from "../simulate.ts";
import type { CycleRow } from "./cycles.ts";
import type { Unit } from "./format.ts";
import { containerLimits } from "./headlines.ts";
import { type HeapMapShot, heapMap, liveBytes } from "./heapmap.ts";
import { OVERLAY_POINTS, OVERLAYS, type OverlayPart } from "./overlay.ts";
import { type Deflate, type HeapMaps, REASONS, type ReportRun } from "./reportdata.ts";
import { roundedFigures, roundedPhases, type StoredVerdict } from "./summary.ts";
import { BoundedTable, MOST, type TableColumn } from "./table.ts";
import type { Column } from "./timeseries.ts";

/** What a finished run says of itself; summary.json has it, too, but for `scenario_yaml`: the scenario as `resolvedYaml` prints it. */
export type ReportSummary = Pick<
  RunSummary,
  "versions" | "seed" | "scenario" | "profile" | "sources" | "events" | "phases"
> & {
  readonly scenario_yaml: string;
  readonly figures: Readonly<Record<string, number | null>>;
  readonly oom_kills?: readonly OomIncident[] | undefined;
  readonly thresholds?: readonly StoredVerdict[];
  readonly heap_at_end: Pick<RunSummary["heap_at_end"], "truth" | "size_classes">;
};

/** Points kept of the series and of the cycles. */
const SAMPLE_POINTS = 12_288;
const CYCLE_POINTS = 4096;
const LIVE_POINTS = 2048;
/** Heap maps at even steps of the run, the last at its end. */
const EVEN_MAPS = 8;
/** A new peak is mapped when it is so much above the mapped one, a new fall when it is so much deeper. */
const PEAK_STEP = 1.02;
const FALL_STEP = 1.1;
/** Falls below this share of HeapInuse are the sawtooth of any heap. */
const FALL_SHARE = 0.1;

const SCALES: Readonly<Record<Unit, number>> = {
  seconds: 1e6,
  bytes: 1,
  ns: 1,
  count: 1,
  fraction: 1e5,
  percent: 1e3,
};

/** Times to the nanosecond, of a run of more than six days to the microsecond. */
const timeScale = ({ duration }: Scenario): number => (duration < MOST ? 1e9 : 1e6);

/** Parts of one stack: when points stand for many rows, all are of the row in which HeapAlloc was highest or lowest. */
const STACKED: readonly string[] = [
  "heap_inuse_bytes",
  "heap_idle_bytes",
  "heap_released_bytes",
  "heap_sys_bytes",
  "stack_inuse_bytes",
  "sys_bytes",
];

/** Cycles of the page; `reason` is the place in REASONS. */
const CYCLE_COLUMNS: readonly TableColumn[] = [
  { name: "start_seconds", scale: 1e6 },
  { name: "end_seconds", scale: 1e6 },
  { name: "stw1_ns", scale: 1 },
  { name: "stw2_ns", scale: 1 },
  { name: "trigger_bytes", scale: 1, leader: "start_seconds" },
  { name: "goal_bytes", scale: 1, leader: "start_seconds" },
  { name: "heap_marked_bytes", scale: 1, leader: "start_seconds" },
  { name: "reason", scale: 1, leader: "start_seconds" },
  { name: "sweep_done_seconds", scale: 1e6, leader: "start_seconds" },
];

export class ReportCollector {
  readonly #samples: BoundedTable;
  readonly #cycles = new BoundedTable(CYCLE_COLUMNS, CYCLE_POINTS);
  readonly #heap: HeapWatcher;

  constructor(scenario: Scenario, columns: readonly Column[]) {
    this.#samples = new BoundedTable(
      columns.map(({ name, unit }) => ({
        name,
        scale: name === "t_seconds" ? timeScale(scenario) : SCALES[unit],
        ...(STACKED.includes(name) ? { leader: "heap_alloc_bytes" } : {}),
      })),
      SAMPLE_POINTS,
    );
    this.#heap = new HeapWatcher(scenario, columns);
  }

  sample(row: ArrayLike<number>, view: (() => ProcessView) | undefined): void {
    this.#samples.add(row);
    if (view !== undefined) this.#heap.sample(row, view);
  }

  /** The process is killed: the heap as it dies is what one wants to see. */
  killed(view: () => ProcessView): void {
    this.#heap.killed(view());
  }

  cycle(cycle: CycleRow): void {
    const { start_seconds, stw1_ns, concurrent_ns, stw2_ns } = cycle;
    this.#cycles.add([
      start_seconds,
      start_seconds + (stw1_ns + concurrent_ns + stw2_ns) / 1e9,
      stw1_ns,
      stw2_ns,
      cycle.trigger_bytes,
      cycle.goal_bytes,
      cycle.heap_marked_bytes,
      REASONS.indexOf(cycle.reason),
      cycle.sweep_done_seconds,
    ]);
  }

  /** The heap maps, and live bytes over time. */
  heap(deflate: Deflate): HeapMaps {
    return this.#heap.finish(deflate);
  }

  /** All of a run, for a page of its own. */
  finish(summary: ReportSummary, heap: HeapMaps | undefined, deflate: Deflate): ReportRun {
    return {
      ...this.#about(summary),
      samples: this.#samples.pack(deflate),
      cycles: this.#cycles.pack(deflate),
      ...(heap === undefined ? {} : { heap }),
    };
  }

  /** What a page that lays several runs over each other shows of one. Of runs of several seeds all have equally many points. */
  overlay(summary: ReportSummary): OverlayPart {
    const { scenario } = summary;
    // A run that was killed for good has no value from there on.
    const row = this.#samples.columns.map(() => Number.NaN);
    const whole = this.#samples.reduced(SAMPLE_POINTS);
    for (let i = whole.rows + 1; i * scenario.sample_interval <= scenario.duration; i++) {
      row[0] = (i * scenario.sample_interval) / 1e9;
      whole.add(row);
    }
    const samples = whole.reduced(OVERLAY_POINTS);
    const cycles = this.#cycles.reduced(OVERLAY_POINTS);
    const t = samples.column("t_seconds");
    const end = cycles.column("end_seconds");
    const source = {
      t,
      column: (name: string) =>
        samples.columns.some((column) => column.name === name) ? samples.column(name) : undefined,
      cycles: Array.from(cycles.column("start_seconds"), (start, i) => ({ start, end: end[i] })),
      cpus: scenario.machine.cpus,
      GOMAXPROCS: scenario.go.GOMAXPROCS,
    };
    return {
      about: this.#about(summary),
      rows: samples.rows,
      rowsPerBucket: samples.rowsPerBucket,
      timeScale: timeScale(scenario),
      t,
      values: new Map(
        OVERLAYS.flatMap(({ id, of }) => {
          const values = of(source);
          return values === undefined ? [] : [[id, values.slice()] as const];
        }),
      ),
      cycleColumns: cycles.columns,
      cycleValues: cycles.columns.map(({ name }) => cycles.column(name)),
      cycleRows: cycles.rows,
    };
  }

  #about(summary: ReportSummary): Omit<ReportRun, "samples" | "cycles"> {
    const { scenario, profile } = summary;
    return {
      name: scenario.name,
      variant: scenario.variant,
      description: scenario.description,
      seed: summary.seed,
      versions: summary.versions,
      profile: { name: profile.name, cpu: profile.provenance.cpu },
      go: {
        version: scenario.go.version,
        GOGC: scenario.go.GOGC,
        GOMEMLIMIT: scenario.go.GOMEMLIMIT,
        GOMAXPROCS: scenario.go.GOMAXPROCS,
      },
      cpus: scenario.machine.cpus,
      duration_seconds: scenario.duration / 1e9,
      ...containerLimits(scenario.container),
      figures: roundedFigures(summary.figures),
      truth: summary.heap_at_end.truth,
      rounding_bytes: Object.fromEntries(
        summary.heap_at_end.size_classes.map((c) => [c.sizeclass, c.internal_waste_bytes]),
      ),
      sources: summary.sources,
      // Kills are in the next but one, with what the kernel said.
      events: summary.events.filter(({ event }) => event !== OOM_KILL),
      thresholds: summary.thresholds ?? [],
      phases: roundedPhases(summary.phases ?? []),
      oom_kills: (summary.oom_kills ?? []).map(({ t_seconds, restart_at_seconds, kernel_log }) => ({
        t_seconds,
        ...(restart_at_seconds === undefined ? {} : { restart_at_seconds }),
        kernel_log,
      })),
      scenario_yaml: summary.scenario_yaml,
      profile_json: JSON.stringify(profile, null, 2),
    };
  }
}

/**
 * What the simulator spends at least on a run's own work, in CPU nanoseconds, and so what looking at the heap may cost: some 15 % of it
 * (measured over the shipped scenarios, see test/bench/report.ts).
 */
const CREDIT_NS = { malloc: 1, request: 60, fault: 20, sample: 30_000, objectPerCycle: 2 } as const;
/** What looking costs: for a slot, and in a map also for a page. A quarter more slots than objects. */
const COST_NS = { object: 1.25 * 6, page: 60 } as const;

/** Counters that credit is given for; a process started again counts anew. */
const WORK = { mallocs: "malloc", requests_completed: "request", page_faults: "fault" } as const;

/** Decides when the heap is looked at closely, and keeps what was seen. */
class HeapWatcher {
  readonly #live: BoundedTable;
  readonly #even: HeapMapShot[] = [];
  #peak: HeapMapShot | undefined;
  #fall: HeapMapShot | undefined;
  #firstKill: HeapMapShot | undefined;
  #lastKill: HeapMapShot | undefined;
  readonly #lastSampleSeconds: number;
  readonly #at: Readonly<Record<"t" | "objects" | "sys" | "inuse" | "rss" | "cycles", number>>;
  readonly #work: readonly { readonly at: number; readonly ns: number }[];
  readonly #done: Float64Array;
  #cycles = 0;
  #creditNs = 0;
  #nextEven = 1;
  #peakRss = 0;
  #inusePeak = 0;
  #deepest = 0;

  constructor(scenario: Scenario, columns: readonly Column[]) {
    const { duration, sample_interval } = scenario;
    this.#live = new BoundedTable(
      [
        { name: "t_seconds", scale: timeScale(scenario) },
        { name: "live_bytes", scale: 1 },
      ],
      LIVE_POINTS,
    );
    this.#lastSampleSeconds = (Math.floor(duration / sample_interval) * sample_interval) / 1e9;
    const at = (name: string): number => columns.findIndex((column) => column.name === name);
    this.#at = {
      t: at("t_seconds"),
      objects: at("heap_objects"),
      sys: at("heap_sys_bytes"),
      inuse: at("heap_inuse_bytes"),
      rss: at("rss_bytes"),
      cycles: at("num_gc"),
    };
    this.#work = Object.entries(WORK).map(([name, kind]) => ({ at: at(name), ns: CREDIT_NS[kind] }));
    this.#done = new Float64Array(this.#work.length);
  }

  /** The simulator's work since the last sample becomes credit. */
  #earn(row: ArrayLike<number>): void {
    this.#work.forEach(({ at, ns }, i) => {
      const done = row[at];
      this.#creditNs += ns * (done < this.#done[i] ? done : done - this.#done[i]);
      this.#done[i] = done;
    });
    const cycles = row[this.#at.cycles];
    const marked = cycles < this.#cycles ? cycles : cycles - this.#cycles;
    this.#creditNs += CREDIT_NS.sample + CREDIT_NS.objectPerCycle * marked * row[this.#at.objects];
    this.#cycles = cycles;
  }

  sample(row: ArrayLike<number>, view: () => ProcessView): void {
    this.#earn(row);
    const at = this.#at;
    const t = row[at.t];
    const inuse = row[at.inuse];
    const rss = row[at.rss];
    const liveNs = COST_NS.object * row[at.objects];
    const mapNs = liveNs + (COST_NS.page * row[at.sys]) / pageSize;
    this.#inusePeak = Math.max(this.#inusePeak, inuse);
    const fall = this.#inusePeak - inuse;
    const atEnd = t >= this.#lastSampleSeconds;
    const even = t >= (this.#lastSampleSeconds * this.#nextEven) / EVEN_MAPS;
    const peak = rss > this.#peakRss * PEAK_STEP;
    const fell = fall > this.#deepest * FALL_STEP && fall > FALL_SHARE * this.#inusePeak;
    if (atEnd || ((even || peak || fell) && this.#creditNs >= mapNs)) {
      const share = Math.round((100 * t) / this.#lastSampleSeconds);
      const shot = this.#shoot(view(), atEnd ? END : `after ${share} % of the run`);
      this.#creditNs -= mapNs;
      if (even) {
        this.#even.push(shot);
        while (t >= (this.#lastSampleSeconds * this.#nextEven) / EVEN_MAPS) this.#nextEven++;
      }
      if (peak) {
        this.#peak = named(shot, "peak of RSS");
        this.#peakRss = rss;
      }
      if (fell) {
        this.#fall = named(shot, "after the largest fall of HeapInuse");
        this.#deepest = fall;
      }
    } else if (this.#creditNs >= liveNs + mapNs) {
      // So much that a map that falls due finds its share.
      this.#live.add([t, liveBytes(view())]);
      this.#creditNs -= liveNs;
    }
    this.#creditNs = Math.min(this.#creditNs, 4 * mapNs);
  }

  killed(view: ProcessView): void {
    this.#lastKill = this.#shoot(view, this.#firstKill === undefined ? "OOM kill" : "last OOM kill");
    this.#firstKill ??= this.#lastKill;
  }

  #shoot(view: ProcessView, reason: string): HeapMapShot {
    const shot = heapMap(view, reason);
    this.#live.add([shot.map.t_seconds, shot.map.live_bytes]);
    return shot;
  }

  finish(deflate: Deflate): HeapMaps {
    const shots = new Map<number, HeapMapShot>();
    for (const shot of [...this.#even, this.#firstKill, this.#lastKill, this.#peak, this.#fall]) {
      if (shot === undefined || shot === shots.get(shot.map.t_seconds)) continue;
      const { t_seconds, reason } = shot.map;
      const same = shots.get(t_seconds);
      shots.set(t_seconds, same === undefined ? shot : named(shot, `${same.map.reason}, ${reason}`));
    }
    return {
      live: this.#live.pack(deflate),
      maps: [...shots.values()]
        .sort((a, b) => a.map.t_seconds - b.map.t_seconds)
        .map(({ map, planes }) => ({ ...map, data: deflate(planes) })),
    };
  }
}

/** Reason of the map that is taken of every run that is not killed. */
const END = "end of the run";

const named = ({ map, planes }: HeapMapShot, reason: string): HeapMapShot => ({
  map: { ...map, reason },
  planes,
});
