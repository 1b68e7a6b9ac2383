/**
 * Makes a machine profile: runs the oracle's microbenchmarks, each in a fresh process, and turns the repeats into costs.
 *
 * Every number is a measurement of one physical cost or the difference of two; none is fitted to what the simulator gets
 * wrong. The marking costs are solved from heaps of known content: with the same live bytes, heaps that differ in one
 * thing only (pointers per object, pointer part, size, order) tell what that thing costs. Objects are held once in
 * the order in which they lie in memory, as a program holds them that only adds, and once in random order, as in a table
 * whose entries are replaced all the time.
 *
 * Noise only ever adds time, and the collector's own clock counts the time a worker is descheduled, so on a busy machine
 * all of it comes out high: run it when nothing else does.
 */
import type { MachineProfile } from "../scenario/profile.ts";
import { godebug, machine, type Scenario } from "../scenario/schema.ts";
import { BASE_VARIANT } from "../scenario/variant.ts";
import { median } from "../sim/quantiles.ts";
import { buildOracle, type Go } from "./build.ts";
import type { Provenance } from "./recording.ts";
import { type RealRun, runOracle, runProgram } from "./run.ts";

type Measurement = Readonly<Record<string, unknown>>;

/**
 * A number of one measurement, or of a series of repeats the lower quartile: what other programs do to a repeat only ever
 * makes it longer, so on a busy machine the median is already too high, and on a calm one the two agree.
 */
function measured(from: Measurement, name: string): number {
  const value = from[name];
  if (typeof value === "number") return value;
  if (Array.isArray(value) && value.length > 0) {
    const sorted = Float64Array.from(value, Number).sort();
    return sorted[Math.floor((sorted.length - 1) / 4)];
  }
  throw new Error(`the oracle did not measure ${name}`);
}

/** All repeats: of delays, which vary by nature, not only by disturbance. */
function series(from: Measurement, name: string): number[] {
  const value = from[name];
  if (!Array.isArray(value)) throw new Error(`the oracle did not measure ${name}`);
  return value.map(Number);
}

const OFF = { GOGC: "off" } as const;
const KIB = 1024;
const MIB = 1024 * KIB;
const PAGE = 8 * KIB;
const INLINE_MARKS = 128;
/** Of the sizes that the oracle mixes (mixedSizes). */
const MIXED_MEAN_BYTES = 171;
/** maxObletBytes: larger objects are scanned in parts. */
const OBLET = 128 * KIB;

/** Objects of a pointer-free one-page span in Go 1.26; others have no reserve at the end of the span. */
const objectsPerSpan = (size: number): number =>
  size >= PAGE ? 1 : Math.floor((PAGE - (size >= 16 && size <= 512 ? INLINE_MARKS : 0)) / size);

const tidy = (ns: number, digits = 3): number => Number(Math.max(0, ns).toPrecision(digits));

/** The machine to measure: runs the oracle there. */
export interface Target {
  /** What the program writes. `globals` is the oracle with a mebibyte more of globals. */
  measure(
    program: "" | "globals",
    input: Readonly<Record<string, unknown>>,
    env: Readonly<Record<string, string>>,
  ): Promise<string>;
  play(scenario: Scenario): Promise<RealRun>;
}

/** This machine. `realTime` asks for real-time scheduling. */
export const thisMachine = (go: Go, realTime: boolean): Target => ({
  measure: async (program, input, env) =>
    (await runProgram([buildOracle(go, program)], { ...input, real_time: realTime }, env)).stdout,
  play: (scenario) => runOracle(buildOracle(go), scenario, 1, realTime),
});

export interface CalibrateOptions {
  readonly target: Target;
  readonly procs: number;
  readonly quick: boolean;
  readonly freeBytes: number;
  readonly provenance: Provenance;
  readonly name: string;
  readonly avx512: boolean;
  readonly onStep: (what: string) => void;
}

class Calibration {
  readonly #o: CalibrateOptions;

  constructor(options: CalibrateOptions) {
    this.#o = options;
  }

  async #measure(
    what: string,
    parameters: Readonly<Record<string, number | boolean>> = {},
    env: Readonly<Record<string, string>> = {},
    program: "" | "globals" = "",
  ): Promise<Measurement> {
    const stdout = await this.#o.target.measure(
      program,
      { mode: "calibrate", what, ...parameters },
      { GOMAXPROCS: String(this.#o.procs), ...env },
    );
    const json: unknown = JSON.parse(stdout);
    if (typeof json !== "object" || json === null) throw new Error("the oracle measured nothing");
    return json as Measurement;
  }

  async run(): Promise<MachineProfile> {
    const { onStep, quick } = this.#o;
    onStep("an idle process");
    const base = await this.#measure("baseline");
    onStep("malloc");
    const alloc = await this.#alloc();
    onStep("scheduler");
    const sched = await this.#measure("sched");
    onStep("the oracle's own work");
    const program = await this.#measure("program", {}, OFF);
    onStep("marking stacks and globals");
    const idle = { goroutines: 0, depth: 0, reps: quick ? 101 : 401 };
    const none = await this.#measure("stacks", idle);
    const more = await this.#measure("stacks", idle, {}, "globals");
    const shallow = await this.#measure("stacks", { goroutines: 4000, depth: 0 });
    const deep = await this.#measure("stacks", { goroutines: 4000, depth: 6000 });
    const idleMark = measured(none, "mark_ns");
    const globals = (m: Measurement): number => measured(m, "scan_globals_bytes");
    const nilPerByte = Math.max(0, measured(more, "mark_ns") - idleMark) / (globals(more) - globals(none));
    const stackBytes = (m: Measurement): number => measured(m, "scan_stack_bytes");
    const stackPerByte =
      (measured(deep, "mark_ns") - measured(shallow, "mark_ns")) / (stackBytes(deep) - stackBytes(shallow));
    // What 4000 goroutines add, less their stacks and their g structures.
    const addedHeap = measured(shallow, "scan_heap_bytes") - measured(none, "scan_heap_bytes");
    const perGoroutine =
      (measured(shallow, "mark_ns") -
        idleMark -
        (stackBytes(shallow) - stackBytes(none)) * stackPerByte -
        addedHeap * nilPerByte) /
      4000;
    const rootsNs = globals(none) * nilPerByte + stackBytes(none) * stackPerByte;
    const cycleNs = idleMark - rootsNs;
    // What the assist that finds only roots takes.
    const alone = await this.#measure("stacks", idle, { GOMAXPROCS: "1" });
    const ownRootsNs = Math.min(cycleNs, Math.max(0, measured(alone, "assist_ns") - rootsNs));
    const own = await this.#ownPointers(idleMark);
    const mark = {
      ...(await this.#mark(idleMark, nilPerByte)),
      ...own,
    };
    onStep("pauses");
    const pause = {
      ...(await this.#pauses()),
      read_mem_stats: {
        quiet: quantiles(series(sched, "read_quiet_ns")),
        preempting: quantiles(series(sched, "read_preempting_ns")),
      },
    };
    const bare = measured(program, "bare_ns");
    return {
      name: this.#o.name,
      provenance: {
        ...this.#o.provenance,
        scheduling: base["real_time"] === true ? "real-time" : "normal",
      },
      avx512: this.#o.avx512,
      alloc,
      mark: {
        ...mark,
        stack_ns_per_byte: tidy(stackPerByte),
        goroutine_ns: tidy(perGoroutine),
        globals_ns_per_byte: tidy(nilPerByte),
        cycle_ns: tidy(cycleNs),
        cycle_roots_ns: tidy(ownRootsNs),
      },
      pause,
      sched: {
        goroutine_start_ns: tidy(measured(sched, "create_ns") - measured(sched, "switch_ns")),
        goroutine_switch_ns: tidy(measured(sched, "switch_ns")),
        timer_slack_ns: quantiles(series(sched, "slack_ns")),
        wake_ns: quantiles(series(sched, "wake_ns")),
        waker_ns: tidy(median(series(sched, "waker_ns"))),
        cold_ns: tidy(median(series(sched, "cold_ns"))),
        stack_copy_ns_per_byte: tidy(measured(sched, "grow_ns_per_byte")),
      },
      oracle: {
        object_ns: tidy(measured(program, "hold_ns") - bare),
        drop_ns: tidy(measured(program, "drop_ns")),
        owned_object_ns: tidy(measured(program, "owned_ns") - bare),
        tick_ns: tidy(measured(sched, "tick_cpu_ns")),
        request_ns: tidy(measured(program, "request_ns")),
        lookup_ns: tidy(measured(program, "lookup_ns")),
        draw_ns: {
          uniform: tidy(measured(program, "uniform_ns")),
          exponential: tidy(measured(program, "exponential_ns")),
          lognormal: tidy(measured(program, "lognormal_ns")),
          power: tidy(measured(program, "power_ns")),
        },
      },
      baseline: baselineOf(base),
    };
  }

  async #alloc(): Promise<MachineProfile["alloc"]> {
    const reps = this.#o.quick ? 7 : 15;
    const total = 8 * MIB;
    const plain = new Map<number, number>();
    const zeroed = new Map<number, number>();
    const sizes = [8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32760, 65536];
    for (const size of sizes) {
      const m = await this.#measure("malloc", { size, pointers: 0, total, reps }, OFF);
      plain.set(size, measured(m, "plain_ns"));
      zeroed.set(size, measured(m, "zeroed_ns"));
    }
    const time = (size: number): number => plain.get(size)!;
    // One-page spans without inline mark bits: ns = malloc + fresh span / objects per span; least squares.
    const fitted = [1024, 2048, 4096, 8192];
    const xs = fitted.map((size) => 1 / objectsPerSpan(size));
    const ys = fitted.map(time);
    const xMean = xs.reduce((a, b) => a + b) / xs.length;
    const yMean = ys.reduce((a, b) => a + b) / ys.length;
    const slope =
      xs.reduce((sum, x, i) => sum + (x - xMean) * (ys[i] - yMean), 0) /
      xs.reduce((sum, x) => sum + (x - xMean) ** 2, 0);
    const freshSpan = Math.max(0, slope);
    const floor = Math.max(1, yMean - slope * xMean);
    // Zeroing streams through memory at the pace of large objects; what zeroing a small one costs beyond that (the
    // object's first cache miss) belongs to making it.
    const zeroPerByte = median([32760, 65536].map((size) => (zeroed.get(size)! - time(size)) / size));
    const perObject = (zeroedNs: number, size: number): number =>
      Math.max(1, zeroedNs - size * zeroPerByte - freshSpan / objectsPerSpan(size));
    const noscan = sizes
      .filter((size) => size >= 16 && size <= 32760)
      .map((size): [number, number] => [classOf(size), tidy(perObject(zeroed.get(size)!, size))]);
    const scan: [number, number][] = [];
    for (const size of [16, 32, 64, 128, 256, 512, 1016, 4088, 16376]) {
      const m = await this.#measure("malloc", { size, pointers: size, total, reps }, OFF);
      scan.push([classOf(size), tidy(perObject(measured(m, "zeroed_ns"), size))]);
    }
    const written = await this.#measure("malloc", { size: 512, pointers: 512, total, reps }, OFF);
    const touched = await this.#measure("malloc", { size: 65536, pointers: 0, total, reps }, OFF);
    const partial = await this.#measure("malloc", { size: 1024, pointers: 0, total, reps, per: 8 }, OFF);
    const refill = Math.max(0, 7 * (measured(partial, "partial_ns") - floor));
    const swept = await this.#measure(
      "malloc",
      { size: 1024, pointers: 0, total: 16 * total, reps: 9, per: 8 },
      OFF,
    );
    const unswept = await this.#measure(
      "malloc",
      { size: 1024, pointers: 0, total: MIB, reps: 9, per: 8 },
      OFF,
    );
    const faults = await this.#measure("faults");
    return {
      malloc_noscan_ns: noscan,
      malloc_scan_ns: scan,
      tiny_ns: tidy(time(8)),
      large_ns: tidy(time(65536)),
      refill_ns: tidy(Math.min(refill, freshSpan)),
      span_alloc_ns: tidy(freshSpan - Math.min(refill, freshSpan)),
      zero_ns_per_byte: tidy(zeroPerByte),
      init_pointer_word_ns: tidy((measured(written, "written_ns") - measured(written, "zeroed_ns")) / 64),
      init_page_ns: tidy((measured(touched, "written_ns") - measured(touched, "zeroed_ns")) / 16),
      fault_ns: tidy(measured(faults, "fault_ns")),
      ...scavengeCosts(faults),
      sweep_span_ns: tidy(
        (measured(swept, "sweep_ns") - measured(unswept, "sweep_ns")) / ((16 * total - MIB) / PAGE),
      ),
    };
  }

  /**
   * CPU of one collection of a heap that holds objects of one kind, the empty collection apart. A whole process can be
   * unlucky with where its memory lies, so the median of three counts.
   */
  async #collection(
    parameters: Readonly<Record<string, number | boolean>>,
    idleMark: number,
  ): Promise<number> {
    const runs: number[] = [];
    for (let i = 0; i < (this.#o.quick ? 1 : 3); i++)
      runs.push(measured(await this.#measure("mark", parameters), "mark_ns"));
    return median(runs) - idleMark;
  }

  /**
   * Heaps of known content, collected; what differs between two of them is what the difference costs.
   */
  async #mark(
    idleMark: number,
    nilPerByte: number,
  ): Promise<
    Pick<MachineProfile["mark"], "random" | "ordered" | "interleaved" | "pointer_ns" | "scan_ns_per_byte">
  > {
    const { quick, freeBytes, onStep } = this.#o;
    const heaps = [1, 4, 16, 64, 128, 256].map((mib) => mib * MIB).filter((bytes) => bytes * 4 < freeBytes);
    const sizes = quick ? heaps.filter((b) => b <= 64 * MIB) : heaps;
    const pointer: [number, number][] = [];
    const perByte: [number, number][] = [];
    const random = new MarkCurves();
    const ordered = new MarkCurves();
    for (const bytes of sizes) {
      onStep(`marking ${bytes / MIB} MiB`);
      /** CPU per object, the empty collection apart. */
      const perObject = async (size: number, pointers: number, inOrder: boolean): Promise<number> => {
        const objects = Math.floor(bytes / size);
        const reps = bytes <= 4 * MIB ? 31 : bytes < 64 * MIB ? 15 : 7;
        return (
          (await this.#collection({ size, pointers, objects, reps, ordered: inOrder }, idleMark)) / objects
        );
      };
      const full = await perObject(512, 512, true);
      const one = await perObject(512, 8, true);
      const small = await perObject(64, 8, true);
      const perPointer = Math.max(0, (full - one) / 63);
      // The same object and pointer, more bytes to load.
      const byteNs = Math.max(0, (one - small) / (512 - 64));
      pointer.push([bytes, tidy(perPointer)]);
      perByte.push([bytes, tidy(byteNs)]);
      // The slot that holds the object, and the pointer in it.
      const slot = perPointer + 8 * nilPerByte;
      const inside = perPointer + 64 * byteNs;
      for (const [curves, inOrder] of [
        [random, false],
        [ordered, true],
      ] as const) {
        const scan = inOrder ? small : await perObject(64, 8, false);
        curves.noscan.push([bytes, tidy(Math.max(1, (await perObject(64, 0, inOrder)) - slot))]);
        curves.scan.push([bytes, tidy(Math.max(1, scan - slot - inside))]);
        curves.noscanBig.push([bytes, tidy(Math.max(1, (await perObject(2040, 0, inOrder)) - slot))]);
        curves.scanBig.push([bytes, tidy(Math.max(1, (await perObject(2040, 8, inOrder)) - slot))]);
      }
    }
    onStep("marking sparse spans");
    const sorted = async (
      curves: MarkCurves,
      inOrder: boolean,
    ): Promise<MachineProfile["mark"]["random"]> => ({
      noscan_object_ns: curves.noscan,
      scan_object_ns: curves.scan,
      noscan_big_object_ns: curves.noscanBig,
      scan_big_object_ns: curves.scanBig,
      sparse_noscan_span_ns: await this.#sparse(0, inOrder, idleMark),
      sparse_scan_span_ns: await this.#sparse(8, inOrder, idleMark),
    });
    return {
      random: await sorted(random, false),
      ordered: await sorted(ordered, true),
      interleaved: {
        noscan_span_ns: await this.#interleaved(sizes, 0, idleMark),
        scan_span_ns: await this.#interleaved(sizes, 8, idleMark),
      },
      pointer_ns: pointer,
      scan_ns_per_byte: perByte,
    };
  }

  /**
   * Pointers to the object that holds them, by the bytes they take: objects with so many against objects with one. Beyond the first
   * oblet of a large object they are looked up like pointers to any other large object.
   */
  async #ownPointers(
    idleMark: number,
  ): Promise<Pick<MachineProfile["mark"], "own_pointers_ns" | "large_pointer_ns">> {
    this.#o.onStep("marking pointers of large objects");
    const heapBytes = (this.#o.quick ? 16 : 64) * MIB;
    const beyondFirst = async (size: number, bytes: readonly number[]): Promise<[number, number][]> => {
      const objects = Math.floor(heapBytes / size);
      const mark = (pointers: number): Promise<number> =>
        this.#collection({ size, pointers, objects, reps: 9, ordered: true }, idleMark);
      const one = await mark(8);
      const curve: [number, number][] = [];
      for (const b of bytes) curve.push([b, tidy(Math.max(0, ((await mark(b)) - one) / objects))]);
      return curve;
    };
    const curve: [number, number][] = [[8, 0], ...(await beyondFirst(1016, [64, 128, 192, 256, 512, 1016]))];
    for (const size of [4088, 16376, OBLET]) curve.push(...(await beyondFirst(size, [size])));
    const [, firstOblet] = curve[curve.length - 1];
    const [[, both]] = await beyondFirst(2 * OBLET, [2 * OBLET]);
    return {
      own_pointers_ns: curve,
      large_pointer_ns: tidy(Math.max(0, both - firstOblet) / (OBLET / 8)),
    };
  }

  /**
   * What marking a span costs beyond its objects at full density, by the marked share of its slots: the first objects
   * found in a span miss the caches, the others find it there. Spans of larger objects are as spans of these with as many marked.
   */
  async #sparse(pointers: number, ordered: boolean, idleMark: number): Promise<[number, number][]> {
    const slots = 2 ** 20;
    const spans = slots / (pointers === 0 ? 126 : 124);
    const collection = (keep: number): Promise<number> =>
      this.#collection({ size: 64, pointers, objects: slots, keep_every: keep, reps: 9, ordered }, idleMark);
    // A table with one object is all empty slots: they are found by its type, which costs more than the words of globals.
    const emptySlot = (await collection(slots)) / slots;
    const perCollection = async (keep: number): Promise<number> =>
      (await collection(keep)) - slots * (1 - 1 / keep) * emptySlot;
    const full = (await perCollection(1)) / slots;
    const curve: [number, number][] = [];
    for (const keep of [64, 32, 16, 8, 4, 2]) {
      const extra = ((await perCollection(keep)) - (slots / keep) * full) / spans;
      curve.push([1 / keep, tidy(Math.max(0, extra))]);
    }
    curve.push([1, 0]);
    return curve;
  }

  /**
   * What marking a span costs more when its objects are held side by side with those of other sizes, in the order of their making: the
   * next object is mostly in another span, which no stride foretells.
   */
  async #interleaved(
    heaps: readonly number[],
    pointers: number,
    idleMark: number,
  ): Promise<[number, number][]> {
    const curve: [number, number][] = [];
    for (const bytes of heaps) {
      const objects = Math.floor(bytes / MIXED_MEAN_BYTES);
      const mark = (bySize: boolean): Promise<number> =>
        this.#collection(
          { mixed: true, by_size: bySize, pointers, objects, reps: 9, ordered: true },
          idleMark,
        );
      curve.push([bytes, tidy(Math.max(0, (await mark(false)) - (await mark(true))) / (bytes / PAGE))]);
    }
    return curve;
  }

  /**
   * The stops of a program whose other Ps compute all the time, and of one whose other Ps are idle. Of the latter, when a mark
   * ends the one goroutine is mostly at work again, so mark terminations are taken from collections asked for while
   * nothing else runs.
   */
  async #pauses(): Promise<Omit<MachineProfile["pause"], "read_mem_stats">> {
    const { procs, quick, target } = this.#o;
    const seconds = quick ? 5 : 15;
    const stops = async (scenario: Scenario): Promise<Stops> => {
      const cycles = (await target.play(scenario)).trace.slice(8);
      return {
        sweep_term: quantiles(cycles.map((c) => c.stw1_ms * 1e6)),
        mark_term: quantiles(cycles.map((c) => c.stw2_ms * 1e6)),
      };
    };
    const single = await stops(streamLoad(1, seconds, 0));
    if (procs === 1) return { single_p: single, quiet: single, preempting: single };
    return {
      single_p: single,
      quiet: {
        sweep_term: (await stops(streamLoad(procs, seconds, 0))).sweep_term,
        mark_term: (await stops(quietLoad(procs, seconds))).mark_term,
      },
      preempting: await stops(streamLoad(procs, seconds, procs - 1)),
    };
  }
}

/** Giving back runs of two lengths: a part per page, and one per call; another CPU that runs the process adds to the latter. */
export function scavengeCosts(
  from: Measurement,
): Pick<MachineProfile["alloc"], "scavenge_ns_per_page" | "scavenge_call_ns" | "scavenge_busy_call_ns"> {
  const [shortPages, longPages] = [measured(from, "short_run_pages"), measured(from, "long_run_pages")];
  const short = measured(from, "short_run_ns");
  const perPage = Math.max(0, (measured(from, "long_run_ns") - short) / (longPages - shortPages));
  const call = Math.max(0, short - shortPages * perPage);
  return {
    scavenge_ns_per_page: tidy(perPage),
    scavenge_call_ns: tidy(call),
    scavenge_busy_call_ns: tidy(Math.max(call, measured(from, "busy_short_run_ns") - shortPages * perPage)),
  };
}

/** Costs of marking objects over the bytes of the heap, as they are measured. */
class MarkCurves {
  readonly noscan: [number, number][] = [];
  readonly scan: [number, number][] = [];
  readonly noscanBig: [number, number][] = [];
  readonly scanBig: [number, number][] = [];
}

type Stops = MachineProfile["pause"]["quiet"];

/** The sizes measured are those of classes, or just below where an object carries a header. */
const classOf = (size: number): number =>
  size === 32760 ? 32768 : size === 1016 ? 1024 : size === 4088 ? 4096 : size === 16376 ? 16384 : size;

/** Quantiles in steps of a twentieth; the extremes are left out, as one bad moment of the machine makes them. */
export function quantiles(list: readonly number[]): number[] {
  const sorted = Float64Array.from(list).sort();
  if (sorted.length === 0) return [0];
  return Array.from({ length: 19 }, (_, i) => tidy(sorted[Math.round(((i + 1) / 20) * (sorted.length - 1))]));
}

const constant = (value: number) => ({ kind: "constant" as const, value });

/** What both loads have in common: objects that no cache holds. */
function pauseLoad(procs: number, seconds: number): Omit<Scenario, "workload" | "interventions"> {
  return {
    name: "pause-load",
    description: "",
    variant: BASE_VARIANT,
    duration: seconds * 1e9,
    seed: 1,
    sample_interval: 100e6,
    go: { version: "1.26", GOGC: 100, GOMEMLIMIT: "off", GOMAXPROCS: procs, GODEBUG: godebug.parse({}) },
    machine: machine.parse({ cpus: procs }),
    phases: [],
    policies: [],
  };
}

const LOAD_OBJECTS = {
  size: constant(128),
  pointers: { kind: "fraction", fraction: 0.25 },
  tick: 1e6,
} as const;

/** A heap of 32 MiB that nobody touches is collected eight times a second. */
function quietLoad(procs: number, seconds: number): Scenario {
  return {
    ...pauseLoad(procs, seconds),
    interventions: [{ at: 1.5e9, do: "gc", every: 125e6 }],
    workload: [{ kind: "leak", name: "heap", start: 0, stop: 1e9, byte_rate: 32 * MIB, ...LOAD_OBJECTS }],
  };
}

/** A stream collects some times a second while `workers` keep as many other Ps computing. */
function streamLoad(procs: number, seconds: number, workers: number): Scenario {
  return {
    ...pauseLoad(procs, seconds),
    interventions: [],
    workload: [
      {
        kind: "stream",
        name: "stream",
        start: 0,
        rate: 600_000,
        goroutines: 1,
        lifetime: { until: "time", dist: { kind: "exponential", mean: 400e6 } },
        ...LOAD_OBJECTS,
      },
      ...(workers === 0
        ? []
        : [
            {
              kind: "batch" as const,
              name: "workers",
              start: 0,
              workers,
              cpu: constant(5e6),
              io: constant(0),
              pause: constant(0),
              stack: constant(2000),
              objects: [],
              arena_block: 65536,
            },
          ]),
    ],
  };
}

/** Resident bytes of a process outside what the Go runtime manages: program segments, its stack, the kernel's pages. */
export function outsideRss(smaps: string): number {
  let outside = false;
  let total = 0;
  for (const line of smaps.split("\n")) {
    const map = /^([0-9a-f]+)-[0-9a-f]+ \S+ \S+ \S+ (\d+)\s*(.*)$/.exec(line);
    if (map !== null) {
      const [, start, inode, name] = map;
      // The program's zeroed data has no name, but lies right after the program, far below any mapping.
      outside = inode !== "0" || name.startsWith("[") || Number.parseInt(start, 16) < 2 ** 32;
      if (name.startsWith("[anon: Go")) outside = false;
      continue;
    }
    const rss = /^Rss:\s+(\d+) kB/.exec(line);
    if (rss !== null && outside) total += Number(rss[1]) * KIB;
  }
  return total;
}

function baselineOf(from: Measurement): MachineProfile["baseline"] {
  const file = measured(from, "file_rss_bytes");
  const outside = Math.max(file, outsideRss(String(from["smaps"])));
  const runtimePages = Math.max(0, measured(from, "rss_bytes") - outside) / 4096;
  const goroutines = measured(from, "/sched/goroutines:goroutines");
  const bySize = (from["by_size"] as readonly (readonly [number, number])[]).filter(([size]) => size > 0);
  const objects = bySize.flatMap(([size, count]): [number, boolean, number][] => {
    // The simulator allocates the goroutines' own structures itself.
    const left = size === 480 ? count - goroutines : count;
    // MemStats does not tell pointerful objects apart; all but the smallest strings and buffers are.
    return left > 0 ? [[size, size > 8, left]] : [];
  });
  return {
    globals_bytes: measured(from, "scan_globals_bytes"),
    file_rss_bytes: file,
    other_rss_bytes: outside - file,
    goroutines,
    threads: Math.max(1, measured(from, "threads")),
    page_faults: Math.max(0, Math.round(measured(from, "page_faults") - runtimePages)),
    objects,
  };
}

/**
 * Measures this machine with a built oracle, `passes` times from beginning to end, and takes the median of every number: a
 * shared machine has slow and fast minutes, which repeats within one measurement do not show.
 */
export async function calibrate(options: CalibrateOptions, passes: number): Promise<MachineProfile> {
  const profiles: MachineProfile[] = [];
  for (let pass = 1; pass <= passes; pass++) {
    if (passes > 1) options.onStep(`everything, pass ${pass} of ${passes}`);
    profiles.push(await new Calibration(options).run());
  }
  // Which objects a process starts with is a fact, and no mean of several: that of one pass.
  return { ...(medianOf(profiles) as MachineProfile), baseline: profiles[0].baseline };
}

/** Of values of one shape: the middle one, or the lower of two, wherever they hold numbers; otherwise what the first one says. */
export function medianOf(values: readonly unknown[]): unknown {
  const first = values[0];
  if (typeof first === "number") {
    const sorted = Float64Array.from(values, Number).sort();
    return sorted[(sorted.length - 1) >> 1];
  }
  if (Array.isArray(first)) {
    const lists = values.filter(Array.isArray).filter((list) => list.length === first.length);
    return first.map((_, i) => medianOf(lists.map((list: readonly unknown[]) => list[i])));
  }
  if (typeof first !== "object" || first === null) return first;
  return Object.fromEntries(
    Object.keys(first).map((key) => [
      key,
      medianOf(values.map((value) => (value as Readonly<Record<string, unknown>>)[key])),
    ]),
  );
}
