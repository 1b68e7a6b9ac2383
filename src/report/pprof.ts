/**
 * Profiles as Go's own tools read them: the heap profile (pprof's protobuf, what /debug/pprof/heap serves before compression) and the
 * goroutine profile as text (what /debug/pprof/goroutine?debug=1 serves).
 *
 * Follows writeHeapProto and scaleHeapSample (runtime/pprof/protomem.go), printCountProfile and printStackRecord
 * (runtime/pprof/pprof.go), Go 1.26. What is sampled and when it is published is runtime/mprof.ts's business; here samples
 * are divided by the probability of being sampled, per stack and size, and given call stacks.
 *
 * A simulated program has no functions. Each part of its workload is drawn as main.main calling the entry's method, which calls the
 * one that allocates: main.main > main.(*api).handle > main.(*api).rows. Files and lines are those of the scenario. What the runtime
 * allocates for itself has the runtime's own functions. As in Go's heap profiles, mallocgc is in no stack.
 *
 * Simplified: a real goroutine's stack starts at its go statement's function, not in main.main; the goroutine profile shows a
 * goroutine where its kind mostly is, not where it just is, and lists the runtime's own goroutines, which Go leaves out.
 */
import {
  Function as Func,
  Label,
  Line,
  Location,
  Mapping,
  Profile,
  Sample,
  StringTable,
  ValueType,
} from "pprof-format";
import type { MemProfileRecord } from "../runtime/mprof.ts";
import type { ScenarioPlaces } from "../scenario/places.ts";
import type { WorkloadEntry } from "../scenario/schema.ts";
import { exp } from "../sim/math.ts";
import { type ProcessView, VERSIONS } from "../simulate.ts";
import { DEFAULT_START_UNIX_SECONDS } from "./memstats.ts";
import { numGoroutine } from "./prometheus.ts";

/** One stack's allocations of one size, scaled up to all objects: what a sample of the profile says. */
export interface HeapSample {
  /** Innermost first. */
  readonly stack: readonly Frame[];
  /** The objects' slots, or a large one's pages. */
  readonly objectBytes: number;
  readonly allocObjects: number;
  readonly allocBytes: number;
  readonly inuseObjects: number;
  readonly inuseBytes: number;
}

interface Frame {
  readonly name: string;
  readonly file: string;
  readonly line: number;
}

/** Go's sources, whose lines differ from release to release and are left out. */
const runtimeFrame = (name: string, file = "runtime/proc.go"): Frame => ({ name, file, line: 0 });

/** The method in which goroutines of an entry spend their lives. */
const METHODS: Readonly<Record<WorkloadEntry["kind"], string>> = {
  stream: "tick",
  leak: "tick",
  service: "handle",
  batch: "process",
  cache: "lookup",
  goroutines: "run",
};

/** The stacks of a program's parts. */
class Stacks {
  readonly #view: ProcessView;
  readonly #places: ScenarioPlaces;
  readonly #main: Frame;
  /** By name of the source, innermost first. */
  readonly #bySource = new Map<string, readonly Frame[]>();

  constructor(view: ProcessView, given: ScenarioPlaces | undefined) {
    const places = given ?? { file: view.scenario.name, line: 0, workload: [] };
    this.#view = view;
    this.#places = places;
    this.#main = { name: "main.main", file: places.file, line: places.line };
    view.scenario.workload.forEach((entry, i) => {
      const { name } = entry;
      const outer = this.entry(i);
      const allocates = (source: string, method: string, line: number): void => {
        const leaf = { name: `main.(*${name}).${method}`, file: places.file, line };
        this.#bySource.set(source, [leaf, ...outer]);
      };
      const { line } = outer[0];
      if ("objects" in entry)
        entry.objects.forEach((group, j) => {
          const method = group.name ?? `objects${j}`;
          allocates(`${name}/${group.name ?? j}`, method, places.workload[i]?.objects[j] ?? line);
        });
      else allocates(name, "alloc", line);
      allocates(`${name}/table`, "table", line);
      allocates(`${name}/owner-table`, "ownerTable", line);
    });
  }

  /** An entry's own frames. */
  entry(index: number): readonly Frame[] {
    const { name, kind } = this.#view.scenario.workload[index];
    const line = this.#places.workload[index]?.line ?? 0;
    return [{ name: `main.(*${name}).${METHODS[kind]}`, file: this.#places.file, line }, this.#main];
  }

  main(): readonly Frame[] {
    return [this.#main];
  }

  ofRecord({ source, objectBytes }: MemProfileRecord): readonly Frame[] {
    const name = this.#view.sources[source];
    switch (name) {
      case "process":
        return [
          runtimeFrame("runtime.doInit1"),
          runtimeFrame("runtime.doInit"),
          runtimeFrame("runtime.main"),
        ];
      case "runtime":
        return [
          runtimeFrame(this.#isG(objectBytes) ? "runtime.malg" : "runtime.allgadd"),
          runtimeFrame("runtime.newproc1"),
          runtimeFrame("runtime.newproc.func1"),
          runtimeFrame("runtime.systemstack", "runtime/asm_amd64.s"),
        ];
      default:
        // Start-up and ballast, which no workload entry has.
        return this.#bySource.get(name) ?? [{ ...this.#main, name: `main.${name}` }, this.#main];
    }
  }

  #isG(objectBytes: number): boolean {
    const { kinds, heap } = this.#view.rt;
    for (let k = 1; k < kinds.count; k++)
      if (this.#view.sources[kinds.source[k]] === "runtime" && kinds.size[k] === heap.rules.gStructBytes)
        return kinds.elemsize[k] === objectBytes;
    return false;
  }
}

/**
 * scaleHeapSample: an object of s bytes is sampled with probability 1 - exp(-s / rate), so n sampled ones stand for n divided by that.
 * Go truncates objects and bytes each by themselves.
 */
function scaled(count: number, objectBytes: number, rate: number): { objects: number; bytes: number } {
  const scale = count === 0 || rate <= 1 ? 1 : 1 / (1 - exp(-objectBytes / rate));
  return { objects: Math.trunc(count * scale), bytes: Math.trunc(count * objectBytes * scale) };
}

/** What the profile says at that instant, in the order of first samples. Reading it changes nothing of the run. */
export function heapSamples(view: ProcessView, places?: ScenarioPlaces): HeapSample[] {
  const profile = view.rt.heap.memProfile;
  if (profile === undefined) return [];
  const stacks = new Stacks(view, places);
  return profile.records().map((record) => {
    const { objectBytes, allocObjects, freeObjects } = record;
    const allocated = scaled(allocObjects, objectBytes, profile.rate);
    const inuse = scaled(allocObjects - freeObjects, objectBytes, profile.rate);
    return {
      stack: stacks.ofRecord(record),
      objectBytes,
      allocObjects: allocated.objects,
      allocBytes: allocated.bytes,
      inuseObjects: inuse.objects,
      inuseBytes: inuse.bytes,
    };
  });
}

/** Addresses of functions in a text segment as a linker lays it out; a frame's is that of a call some way into its function. */
const TEXT_START = 0x401000;
const FUNCTION_BYTES = 0x100;
const CALL_OFFSET = 0x40;

/** Numbers functions in the order of their appearance, and so gives them addresses. */
class Functions {
  readonly frames: Frame[] = [];
  readonly #numbers = new Map<string, number>();

  /** Counted from 0. Two lines of one function are two of these. */
  number(frame: Frame): number {
    const key = `${frame.name}\n${frame.line}`;
    let n = this.#numbers.get(key);
    if (n === undefined) {
      n = this.frames.push(frame) - 1;
      this.#numbers.set(key, n);
    }
    return n;
  }

  address(frame: Frame): number {
    return TEXT_START + this.number(frame) * FUNCTION_BYTES + CALL_OFFSET;
  }
}

/** The heap profile as protobuf: the four sample types of Go's, in use first to be shown. To be compressed by the caller. */
export function heapProfile(
  view: ProcessView,
  places?: ScenarioPlaces,
  startUnixSeconds = DEFAULT_START_UNIX_SECONDS,
): Uint8Array {
  const strings = new StringTable();
  const text = (s: string): number => strings.dedup(s);
  const type = (name: string, unit: string): ValueType =>
    new ValueType({ type: text(name), unit: text(unit) });
  const sampleType = [
    type("alloc_objects", "count"),
    type("alloc_space", "bytes"),
    type("inuse_objects", "count"),
    type("inuse_space", "bytes"),
  ];
  const functions = new Functions();
  const bytesLabel = text("bytes");
  const sample = heapSamples(view, places).map(
    (s) =>
      new Sample({
        locationId: s.stack.map((frame) => functions.number(frame) + 1),
        value: [s.allocObjects, s.allocBytes, s.inuseObjects, s.inuseBytes],
        label: [new Label({ key: bytesLabel, num: s.objectBytes })],
      }),
  );
  const { scenario, nowNs } = view;
  const location = functions.frames.map(
    (frame, i) =>
      new Location({
        id: i + 1,
        mappingId: 1,
        address: functions.address(frame),
        line: [new Line({ functionId: i + 1, line: frame.line })],
      }),
  );
  const func = functions.frames.map((frame, i) => {
    const name = text(frame.name);
    return new Func({ id: i + 1, name, systemName: name, filename: text(frame.file), startLine: frame.line });
  });
  const mapping = new Mapping({
    id: 1,
    memoryStart: TEXT_START,
    memoryLimit: TEXT_START + Math.max(1, functions.frames.length) * FUNCTION_BYTES,
    filename: text(scenario.name),
    hasFunctions: true,
    hasFilenames: true,
    hasLineNumbers: true,
  });
  const about = `gomemsim ${VERSIONS.gomemsim}, model ${VERSIONS.model}, ${nowNs / 1e9} s of virtual time`;
  return new Profile({
    sampleType,
    sample,
    mapping: [mapping],
    location,
    function: func,
    stringTable: strings,
    // Virtual time: the profile of a run is the same whenever it is played, unless it is told when the run began.
    timeNanos: BigInt(Math.round(startUnixSeconds * 1e3)) * 1_000_000n + BigInt(Math.round(nowNs)),
    periodType: type("space", "bytes"),
    period: scenario.go.GODEBUG.memprofilerate,
    comment: [text(about)],
    defaultSampleType: text("inuse_space"),
  }).encode();
}

const PARKED = runtimeFrame("runtime.gopark");
const SLEEPING = [PARKED, runtimeFrame("time.Sleep", "runtime/time.go")];

/**
 * Live goroutines by what they do. The runtime's own (sweeper, scavenger, mark workers...) are left out, as GoroutineProfile does
 * (isSystemGoroutine): the total is NumGoroutine.
 */
function goroutines(
  view: ProcessView,
  stacks: Stacks,
): { readonly count: number; readonly stack: readonly Frame[] }[] {
  const groups: { count: number; stack: readonly Frame[] }[] = [
    { count: 1, stack: [PARKED, ...stacks.main()] },
  ];
  const works: { count: number; readonly stack: readonly Frame[] }[] = [];
  const { scenario, running } = view;
  scenario.workload.forEach((entry, i) => {
    const run = running[i];
    if (run === undefined) return;
    const stack = stacks.entry(i);
    const [method, ...outer] = stack;
    const tickers = entry.kind === "stream" ? entry.goroutines : entry.kind === "batch" ? 0 : 1;
    const starts = entry.kind === "service" || entry.kind === "batch" || entry.kind === "goroutines";
    // Those that only wake at ticks; a service's and a population's start the others.
    const name = starts ? `main.(*${entry.name}).dispatch` : method.name;
    groups.push({ count: tickers, stack: [...SLEEPING, { ...method, name }, ...outer] });
    if (starts) works.push({ count: run.inflight ?? 0, stack });
  });
  // What is in flight may have no goroutine yet (a batch before its start), or one no more than started: there are as many as the runtime has.
  let most = numGoroutine(view) - groups.reduce((sum, { count }) => sum + count, 0);
  for (const work of works) most -= work.count = Math.min(work.count, Math.max(0, most));
  if (most > 0 && works.length > 0) works[works.length - 1].count += most;
  groups.push(...works);
  return groups.filter((group) => group.count > 0);
}

const hex = (n: number): string => `0x${n.toString(16)}`;

/** What tabwriter makes of lines with tabs: columns of a multiple of 8, each at least one wider than its longest cell. */
function tabbed(rows: readonly (readonly string[])[]): string[] {
  const cells = Math.max(...rows.map((row) => row.length));
  const widths = Array.from({ length: cells - 1 }, (_, column) => {
    const longest = Math.max(...rows.map((row) => row[column].length));
    return Math.ceil((longest + 1) / 8) * 8;
  });
  return rows.map((row) =>
    row
      .map((cell, i) => cell + "\t".repeat(Math.ceil(((widths[i] ?? cell.length) - cell.length) / 8)))
      .join(""),
  );
}

/** The goroutine profile as text, commonest stacks first. */
export function goroutineProfileText(view: ProcessView, places?: ScenarioPlaces): string {
  const functions = new Functions();
  const groups = goroutines(view, new Stacks(view, places)).map(({ count, stack }) => ({
    count,
    stack,
    key: stack.map((frame) => hex(functions.address(frame))).join(" "),
  }));
  groups.sort((a, b) => b.count - a.count || (a.key < b.key ? -1 : 1));
  const total = groups.reduce((sum, { count }) => sum + count, 0);
  const lines = [`goroutine profile: total ${total}`];
  for (const { count, stack, key } of groups) {
    lines.push(`${count} @ ${key}`);
    // Frames of the runtime are shown only where something else has called them, or where there is nothing else.
    const first = stack.findIndex(({ name }) => !name.startsWith("runtime."));
    const shown = first < 0 ? stack : stack.slice(first);
    const rows = shown.map((frame) => [
      "#",
      hex(functions.address(frame)),
      `${frame.name}+${hex(CALL_OFFSET)}`,
      `${frame.file}:${frame.line}`,
    ]);
    lines.push(...tabbed(rows), "");
  }
  return `${lines.join("\n")}\n`;
}
