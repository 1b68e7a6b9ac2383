/**
 * What the report page knows of a run: gathered while the run streams, in bounded memory, and packed into plain data.
 *
 * Series are kept in a BoundedTable, cycles in a smaller one. At chosen instants a heap map is taken through the view: at even
 * steps of the run, within 2 % of the peak of RSS, after the largest fall of HeapInuse, and at the end. Between them live bytes, which
 * no statistic of Go tells, are counted exactly. Both cost a pass over the heap's slots; `credit` bounds what that adds to a
 * run by the objects it allocates: no more than a slot looked at per object allocated. It counts work, not time, so that the same run gives
 * the same report.
 */
import { stringify } from "yaml";
import type { HeapTruth } from "../runtime/heapreport.ts";
import type { Scenario } from "../scenario/schema.ts";
import type {
  CycleRecord,
  OomIncident,
  ProcessView,
  RunSummary,
  SampleColumn,
  SampleUnit,
} from "../simulate.ts";
import { type HeapMapShot, heapMap, liveBytes } from "./heapmap.ts";
import { type Deflate, type HeapMaps, REASONS, type ReportRun } from "./reportdata.ts";
import { BoundedTable, type TableColumn } from "./table.ts";

/** What a finished run says of itself; summary.json has it, too. */
export type ReportSummary = Pick<
  RunSummary,
  "versions" | "seed" | "scenario" | "profile" | "sources" | "events"
> & {
  readonly figures: Readonly<Record<string, number | null>>;
  readonly oom_kills?: readonly OomIncident[] | undefined;
  readonly heap_at_end: { readonly truth: HeapTruth };
};

/** Points kept of the series and of the cycles; in an overlay of several runs, where a line is enough, fewer. */
const SAMPLE_POINTS = 12_288;
const CYCLE_POINTS = 4096;
const LIVE_POINTS = 2048;
const OVERLAY_POINTS = 3072;
/** Heap maps at even steps of the run, the last at its end. */
const EVEN_MAPS = 8;
/** A new peak is mapped when it is so much above the mapped one, a new fall when it is so much deeper. */
const PEAK_STEP = 1.02;
const FALL_STEP = 1.1;
/** Falls below this share of HeapInuse are the sawtooth of any heap. */
const FALL_SHARE = 0.1;

const SCALES: Readonly<Record<SampleUnit, number>> = {
  seconds: 1e6,
  bytes: 1,
  ns: 1,
  count: 1,
  fraction: 1e5,
};

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
];
export class ReportCollector {
  readonly #columns: readonly SampleColumn[];
  readonly #samples: BoundedTable;
  readonly #cycles = new BoundedTable(CYCLE_COLUMNS, CYCLE_POINTS);
  readonly #heap: HeapWatcher;

  constructor(scenario: Scenario, columns: readonly SampleColumn[]) {
    this.#columns = columns;
    this.#samples = new BoundedTable(
      columns.map(({ name, unit }) => ({
        name,
        scale: name === "t_seconds" ? 1e9 : SCALES[unit],
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

  cycle(cycle: CycleRecord): void {
    const { start_seconds, stw1_ns, concurrent_ns, stw2_ns } = cycle;
    this.#cycles.add([
      start_seconds,
      start_seconds + (stw1_ns + concurrent_ns + stw2_ns) / 1e9,
      stw1_ns,
      stw2_ns,
      cycle.trigger_bytes,
      cycle.goal_bytes,
      cycle.heap_marked_bytes,
      REASONS.findIndex((reason) => reason === cycle.reason),
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

  /** What a page that lays several runs over each other shows of one. */
  overlay(summary: ReportSummary, deflate: Deflate): ReportRun {
    return {
      ...this.#about(summary),
      samples: this.#samples.reduced(OVERLAY_POINTS).pack(deflate),
      cycles: this.#cycles.reduced(OVERLAY_POINTS).pack(deflate),
    };
  }

  #about(summary: ReportSummary): Omit<ReportRun, "samples" | "cycles"> {
    const { scenario, profile } = summary;
    const { max, high } = scenario.container?.memory ?? {};
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
      ...(max === undefined ? {} : { memory_max_bytes: max }),
      ...(high === undefined ? {} : { memory_high_bytes: high }),
      figures: summary.figures,
      truth: summary.heap_at_end.truth,
      sources: summary.sources,
      events: summary.events,
      oom_kills: (summary.oom_kills ?? []).map(({ t_seconds, restart_at_seconds, kernel_log }) => ({
        t_seconds,
        ...(restart_at_seconds === undefined ? {} : { restart_at_seconds }),
        kernel_log,
      })),
      scenario_yaml: stringify(scenario, { aliasDuplicateObjects: false, lineWidth: 0 }),
      profile_json: JSON.stringify(profile, null, 2),
      units: Object.fromEntries(this.#columns.map(({ name, unit }) => [name, unit])),
    };
  }
}

/** Decides when the heap is looked at closely, and keeps what was seen. */
class HeapWatcher {
  readonly #live = new BoundedTable(
    [
      { name: "t_seconds", scale: 1e9 },
      { name: "live_bytes", scale: 1 },
    ],
    LIVE_POINTS,
  );
  readonly #even: HeapMapShot[] = [];
  #peak: HeapMapShot | undefined;
  #fall: HeapMapShot | undefined;
  readonly #lastSampleSeconds: number;
  readonly #at: Readonly<Record<"t" | "objects" | "sys" | "inuse" | "rss" | "mallocs", number>>;
  /** Slots that may be looked at. */
  #credit = 0;
  #mallocs = 0;
  #nextEven = 1;
  #peakRss = 0;
  #inusePeak = 0;
  #deepest = 0;

  constructor(scenario: Scenario, columns: readonly SampleColumn[]) {
    const { duration, sample_interval } = scenario;
    this.#lastSampleSeconds = (Math.floor(duration / sample_interval) * sample_interval) / 1e9;
    const at = (name: string): number => columns.findIndex((column) => column.name === name);
    this.#at = {
      t: at("t_seconds"),
      objects: at("heap_objects"),
      sys: at("heap_sys_bytes"),
      inuse: at("heap_inuse_bytes"),
      rss: at("rss_bytes"),
      mallocs: at("mallocs"),
    };
  }

  sample(row: ArrayLike<number>, view: () => ProcessView): void {
    const at = this.#at;
    const t = row[at.t];
    const mallocs = row[at.mallocs];
    // A process started again counts anew.
    this.#credit += mallocs < this.#mallocs ? mallocs : mallocs - this.#mallocs;
    this.#mallocs = mallocs;
    // Slots, of which some are free, and pages.
    const cost = 1.25 * row[at.objects] + row[at.sys] / 2048;
    const inuse = row[at.inuse];
    const rss = row[at.rss];
    this.#inusePeak = Math.max(this.#inusePeak, inuse);
    const fall = this.#inusePeak - inuse;
    const atEnd = t >= this.#lastSampleSeconds;
    const even = t >= (this.#lastSampleSeconds * this.#nextEven) / EVEN_MAPS;
    const peak = rss > this.#peakRss * PEAK_STEP;
    const fell = fall > this.#deepest * FALL_STEP && fall > FALL_SHARE * this.#inusePeak;
    if ((even || peak || fell) && (atEnd || this.#credit >= cost)) {
      const share = Math.round((100 * t) / this.#lastSampleSeconds);
      const shot = heapMap(view(), atEnd ? "end of the run" : `after ${share} % of the run`);
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
      this.#live.add([t, shot.map.live_bytes]);
      this.#credit -= cost;
    } else if (this.#credit >= 2 * cost) {
      // Twice, so that a map that falls due finds its share.
      this.#live.add([t, liveBytes(view())]);
      this.#credit -= cost;
    }
    this.#credit = Math.min(this.#credit, 4 * cost);
  }

  finish(deflate: Deflate): HeapMaps {
    const shots = new Map<number, HeapMapShot>();
    for (const shot of [...this.#even, this.#peak, this.#fall]) {
      if (shot === undefined) continue;
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

const named = ({ map, planes }: HeapMapShot, reason: string): HeapMapShot => ({
  map: { ...map, reason },
  planes,
});
