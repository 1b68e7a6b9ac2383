/**
 * Makes a machine profile: runs the oracle's microbenchmarks, each in a fresh process, and turns the repeats into costs.
 *
 * Every number is a measurement of one physical cost or the difference of two; none is fitted to what the simulator gets
 * wrong. The marking costs are solved from heaps of known content: with the same live bytes, heaps that differ in one
 * thing only (pointers per object, pointer part, size) tell what that thing costs. Objects are held in random order, so
 * the costs are those of a heap in steady state, where neighbours in a table are not neighbours in memory.
 *
 * Noise only ever adds time, and the collector's own clock counts the time a worker is descheduled, so on a busy machine
 * all of it comes out high: run it when nothing else does.
 */
import type { MachineProfile } from "../scenario/profile.ts";
import { BASE_VARIANT, type Scenario } from "../scenario/schema.ts";
import type { TracedCycle } from "./gctrace.ts";
import { median } from "./metrics.ts";
import type { Provenance } from "./recording.ts";
import { runOracle, runProgram } from "./run.ts";

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

const OFF = { GOGC: "off" } as const;
const KIB = 1024;
const MIB = 1024 * KIB;
const PAGE = 8 * KIB;
const INLINE_MARKS = 128;

/** Objects of a pointer-free one-page span in Go 1.26; others have no reserve at the end of the span. */
const objectsPerSpan = (size: number): number =>
  size >= PAGE ? 1 : Math.floor((PAGE - (size >= 16 && size <= 512 ? INLINE_MARKS : 0)) / size);

const tidy = (ns: number, digits = 3): number => Number(Math.max(0, ns).toPrecision(digits));

export interface CalibrateOptions {
  readonly binary: string;
  /** The oracle with a mebibyte more of globals. */
  readonly binaryWithGlobals: string;
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
    binary = this.#o.binary,
  ): Promise<Measurement> {
    const { stdout } = await runProgram(
      [binary],
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
    const more = await this.#measure("stacks", idle, {}, this.#o.binaryWithGlobals);
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
    const cycleNs = idleMark - globals(none) * nilPerByte - stackBytes(none) * stackPerByte;
    const mark = await this.#mark(idleMark, nilPerByte);
    onStep("pauses");
    const pause = await this.#pauses();
    const bare = measured(program, "bare_ns");
    return {
      name: this.#o.name,
      provenance: this.#o.provenance,
      avx512: this.#o.avx512,
      alloc,
      mark: {
        ...mark,
        stack_ns_per_byte: tidy(stackPerByte),
        goroutine_ns: tidy(perGoroutine),
        globals_ns_per_byte: tidy(nilPerByte),
        cycle_ns: tidy(cycleNs),
      },
      pause,
      sched: {
        goroutine_start_ns: tidy(measured(sched, "create_ns") - measured(sched, "switch_ns")),
        goroutine_switch_ns: tidy(measured(sched, "switch_ns")),
        timer_slack_ns: tidy(median((sched["slack_ns"] as readonly unknown[]).map(Number))),
        stack_copy_ns_per_byte: tidy(measured(sched, "grow_ns_per_byte")),
      },
      oracle: {
        object_ns: tidy(measured(program, "hold_ns") - bare),
        drop_ns: tidy(measured(program, "drop_ns")),
        owned_object_ns: tidy(measured(program, "owned_ns") - bare),
        tick_ns: tidy(measured(sched, "tick_cpu_ns")),
        request_ns: tidy(measured(program, "request_ns")),
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
      scavenge_ns_per_page: tidy(measured(faults, "scavenge_ns")),
      sweep_span_ns: tidy(
        (measured(swept, "sweep_ns") - measured(unswept, "sweep_ns")) / ((16 * total - MIB) / PAGE),
      ),
    };
  }

  /** Heaps of known content, collected; what differs between two of them is what the difference costs. */
  async #mark(
    idleMark: number,
    nilPerByte: number,
  ): Promise<
    Pick<
      MachineProfile["mark"],
      | "noscan_object_ns"
      | "scan_object_ns"
      | "noscan_big_object_ns"
      | "scan_big_object_ns"
      | "pointer_ns"
      | "scan_ns_per_byte"
      | "sparse_noscan_span_ns"
      | "sparse_scan_span_ns"
    >
  > {
    const { quick, freeBytes, onStep } = this.#o;
    const heaps = [1, 4, 16, 64, 128, 256].map((mib) => mib * MIB).filter((bytes) => bytes * 4 < freeBytes);
    const curve = (): [number, number][] => [];
    const noscan = curve();
    const noscanBig = curve();
    const scan = curve();
    const scanBig = curve();
    const pointer = curve();
    const perByte = curve();
    for (const bytes of quick ? heaps.filter((b) => b <= 64 * MIB) : heaps) {
      onStep(`marking ${bytes / MIB} MiB`);
      /** CPU per object, the empty collection and the slot that holds the object apart. */
      const perObject = async (size: number, pointers: number): Promise<number> => {
        const objects = Math.floor(bytes / size);
        const reps = (bytes <= 4 * MIB ? 31 : bytes < 64 * MIB ? 15 : 7) - (quick ? 2 : 0);
        const m = await this.#measure("mark", { size, pointers, objects, reps });
        return (measured(m, "mark_ns") - idleMark) / objects;
      };
      const full = await perObject(512, 512);
      const one = await perObject(512, 8);
      const perPointer = Math.max(0, (full - one) / 63);
      const slot = perPointer + 8 * nilPerByte;
      const small = await perObject(64, 8);
      // The same object and pointer, more bytes to load.
      const byteNs = Math.max(0, (one - small) / (512 - 64));
      pointer.push([bytes, tidy(perPointer)]);
      perByte.push([bytes, tidy(byteNs)]);
      noscan.push([bytes, tidy(Math.max(1, (await perObject(64, 0)) - slot))]);
      noscanBig.push([bytes, tidy(Math.max(1, (await perObject(2040, 0)) - slot))]);
      scan.push([bytes, tidy(Math.max(1, small - slot - perPointer - 64 * byteNs))]);
      scanBig.push([bytes, tidy(Math.max(1, (await perObject(2040, 8)) - slot - perPointer))]);
    }
    onStep("marking sparse spans");
    return {
      sparse_noscan_span_ns: await this.#sparse(0, idleMark, nilPerByte),
      sparse_scan_span_ns: await this.#sparse(8, idleMark, nilPerByte),
      noscan_object_ns: noscan,
      scan_object_ns: scan,
      noscan_big_object_ns: noscanBig,
      scan_big_object_ns: scanBig,
      pointer_ns: pointer,
      scan_ns_per_byte: perByte,
    };
  }

  /**
   * What marking a span costs beyond its objects at full density, by the marked share of its slots: the first objects
   * found in a span miss the caches, the others find it there.
   */
  async #sparse(pointers: number, idleMark: number, nilPerByte: number): Promise<[number, number][]> {
    const slots = 2 ** 20;
    const spans = slots / (pointers === 0 ? 126 : 124);
    const perCollection = async (keep: number): Promise<number> => {
      const m = await this.#measure("mark", {
        size: 64,
        pointers,
        objects: slots,
        keep_every: keep,
        reps: 9,
      });
      return measured(m, "mark_ns") - idleMark - slots * (1 - 1 / keep) * 8 * nilPerByte;
    };
    const full = (await perCollection(1)) / slots;
    const curve: [number, number][] = [];
    for (const keep of [64, 32, 16, 8, 4, 2]) {
      const extra = ((await perCollection(keep)) - (slots / keep) * full) / spans;
      curve.push([1 / keep, tidy(Math.max(0, extra))]);
    }
    curve.push([1, 0]);
    return curve;
  }

  /** The stops of programs that keep their CPUs busy to different degrees; some collections a second. */
  async #pauses(): Promise<MachineProfile["pause"]> {
    const { procs, quick, binary } = this.#o;
    const seconds = quick ? 4 : 10;
    const sweepTerm = (list: readonly TracedCycle[]): number[] => quantiles(list.map((c) => c.stw1_ms * 1e6));
    const markTerm = (list: readonly TracedCycle[]): number[] => quantiles(list.map((c) => c.stw2_ms * 1e6));
    const single = (await runOracle(binary, pauseLoad(1, seconds, 0.3), 1)).trace.slice(5);
    const byLoad: MachineProfile["pause"]["by_load"] = [];
    for (const wanted of quick ? [0, 0.5] : [0, 0.15, 0.3, 0.5, 0.7, 0.9]) {
      const run = await runOracle(binary, pauseLoad(procs, seconds, wanted), 1);
      const cycles = run.trace.slice(5);
      const gc = run.figures["gc_cpu_seconds"] ?? 0;
      const busy = ((run.figures["cpu_seconds"] ?? 0) - gc) / (seconds * procs);
      byLoad.push({
        busy: tidy(Math.min(1, busy)),
        sweep_term: sweepTerm(cycles),
        mark_term: markTerm(cycles),
      });
    }
    return { sweep_term_single_p: sweepTerm(single), mark_term_single_p: markTerm(single), by_load: byLoad };
  }
}

/** The sizes measured are those of classes, or just below where an object carries a header. */
const classOf = (size: number): number =>
  size === 32760 ? 32768 : size === 1016 ? 1024 : size === 4088 ? 4096 : size === 16376 ? 16384 : size;

/** Quantiles in steps of a twentieth; the extremes are left out, as one bad moment of the machine makes them. */
export function quantiles(list: readonly number[]): number[] {
  const sorted = Float64Array.from(list).sort();
  if (sorted.length === 0) return [0];
  return Array.from({ length: 19 }, (_, i) => tidy(sorted[Math.round(((i + 1) / 20) * (sorted.length - 1))]));
}

/** A service that uses a share of all CPU time, and a stream that collects a few times a second. */
function pauseLoad(procs: number, seconds: number, busy: number): Scenario {
  const constant = (value: number) => ({ kind: "constant" as const, value });
  const requestNs = 250e3;
  return {
    name: "pause-load",
    description: "",
    variant: BASE_VARIANT,
    duration: seconds * 1e9,
    seed: 1,
    sample_interval: 100e6,
    go: { version: "1.26", GOGC: 100, GOMAXPROCS: procs },
    machine: { cpus: procs },
    phases: [],
    interventions: [],
    workload: [
      {
        kind: "stream",
        name: "stream",
        start: 0,
        rate: 200_000,
        size: constant(128),
        pointers: { kind: "fraction", fraction: 0.25 },
        lifetime: { until: "time", dist: { kind: "exponential", mean: 100e6 } },
        tick: 1e6,
        goroutines: 1,
      },
      {
        kind: "service",
        name: "service",
        start: 0,
        arrivals: { process: "poisson", rate: (busy * procs * 1e9) / requestNs },
        cpu: { kind: "exponential", mean: requestNs },
        io: { kind: "exponential", mean: 4e6 },
        stack: constant(2000),
        objects: [],
        arena_block: 65536,
      },
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

/** Measures this machine with a built oracle. */
export async function calibrate(options: CalibrateOptions): Promise<MachineProfile> {
  return new Calibration(options).run();
}
