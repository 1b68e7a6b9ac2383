/** A run unpacked: its columns, and what charts derive from them. */

import { type CpuRates, cpuRatesOf, rateOf } from "../report/rates.ts";
import { type HeapMap, REASONS, type ReportRun } from "../report/reportdata.ts";
import { type PackedTable, unpack } from "../report/table.ts";

/** One value per point; null where there is none. */
export type Values = ArrayLike<number | null>;

/** A moment worth a mark. */
export interface Mark {
  readonly t: number;
  readonly what: string;
  readonly why: string;
  readonly bad: boolean;
}

export interface Cycle {
  readonly start: number;
  readonly end: number;
  /** When its sweep was done; of one that was not, when its process ended. */
  readonly swept: number;
  readonly stw1: number;
  readonly stw2: number;
  readonly trigger: number;
  readonly goal: number;
  readonly marked: number;
  readonly reason: string;
}

export async function inflate(base64: string): Promise<Uint8Array> {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const columnsOf = async (table: PackedTable): Promise<Map<string, Float64Array>> =>
  unpack(table, await inflate(table.data));

export async function loadRun(about: ReportRun, label: string): Promise<Run> {
  const [samples, cycles, live] = await Promise.all([
    columnsOf(about.samples),
    columnsOf(about.cycles),
    about.heap === undefined ? undefined : columnsOf(about.heap.live),
  ]);
  return new Run(about, label, samples, cycles, live);
}

export class Run {
  readonly about: ReportRun;
  readonly label: string;
  /** Virtual seconds. */
  readonly t: Float64Array;
  readonly cycles: readonly Cycle[];
  readonly marks: readonly Mark[];
  /** Virtual seconds from start to end; a run that an OOM kill ends is drawn whole. */
  readonly seconds: number;
  readonly #columns: Map<string, Float64Array>;
  readonly #live: Map<string, Float64Array> | undefined;
  #cpuRates: CpuRates | undefined;

  constructor(
    about: ReportRun,
    label: string,
    samples: Map<string, Float64Array>,
    cycles: Map<string, Float64Array>,
    live: Map<string, Float64Array> | undefined,
  ) {
    this.about = about;
    this.label = label;
    this.seconds = about.duration_seconds;
    this.#columns = samples;
    this.#live = live;
    this.t = samples.get("t_seconds")!;
    const of = (name: string): Float64Array => cycles.get(name)!;
    const endOf = (t: number): number =>
      about.oom_kills.find(({ t_seconds }) => t_seconds >= t)?.t_seconds ?? this.seconds;
    this.cycles = Array.from(of("start_seconds"), (start, i) => ({
      start,
      end: of("end_seconds")[i],
      swept: of("sweep_done_seconds")[i] || endOf(of("end_seconds")[i]),
      stw1: of("stw1_ns")[i],
      stw2: of("stw2_ns")[i],
      trigger: of("trigger_bytes")[i],
      goal: of("goal_bytes")[i],
      marked: of("heap_marked_bytes")[i],
      reason: REASONS[of("reason")[i]] ?? "",
    }));
    this.marks = marksOf(about);
  }

  get maps(): readonly HeapMap[] {
    return this.about.heap?.maps ?? [];
  }

  has(name: string): boolean {
    return this.#columns.has(name);
  }

  /** A column by its name in timeseries.csv; nothing where the run has none. */
  column(name: string): Float64Array | undefined {
    return this.#columns.get(name);
  }

  /** Whether a column ever has a value other than 0. */
  moves(name: string): boolean {
    return this.#columns.get(name)?.some((value) => value !== 0 && !Number.isNaN(value)) ?? false;
  }

  /** Growth of a counter per second; none across a restart. */
  rate(name: string): Float64Array | undefined {
    const column = this.column(name);
    return column === undefined ? undefined : rateOf(this.t, column);
  }

  /** CPUs that GOMAXPROCS and the machine give the process to run on, and of them those that its quota allows on average. */
  cpus(): { readonly there: Float64Array; readonly usable: Float64Array } {
    const { go, cpus, cpu_limit_cpus = Number.POSITIVE_INFINITY } = this.about;
    const procs = this.column("gomaxprocs") ?? this.constant(go.GOMAXPROCS)!;
    const limits = this.column("cpu_limit_cpus") ?? this.constant(cpu_limit_cpus)!;
    const there = procs.map((p) => Math.min(p, cpus));
    return { there, usable: there.map((n, i) => (limits[i] < n ? limits[i] : n)) };
  }

  /** Who uses the CPUs. */
  cpuRates(): CpuRates {
    return (this.#cpuRates ??= cpuRatesOf(
      this.t,
      {
        mutator: this.column("mutator_cpu_seconds")!,
        background: this.column("gc_background_cpu_seconds")!,
        assist: this.column("gc_assist_cpu_seconds")!,
        idle: this.column("gc_idle_cpu_seconds")!,
      },
      this.cpus().there,
      this.cycles,
    ));
  }

  combine(names: readonly string[], f: (...values: number[]) => number): Float64Array | undefined {
    const columns: Float64Array[] = [];
    for (const name of names) {
      const column = this.column(name);
      if (column === undefined) return undefined;
      columns.push(column);
    }
    return Float64Array.from(this.t, (_, i) => f(...columns.map((column) => column[i])));
  }

  /** The same value wherever the process has samples. */
  constant(value: number | undefined): Float64Array | undefined {
    return value === undefined ? undefined : new Float64Array(this.t.length).fill(value);
  }

  /** Live bytes, linear between the instants at which they were counted, and never more than what is allocated. */
  live(): Float64Array | undefined {
    const at = this.#live?.get("t_seconds");
    const bytes = this.#live?.get("live_bytes");
    const allocated = this.column("heap_alloc_bytes");
    if (at === undefined || bytes === undefined || at.length === 0 || allocated === undefined)
      return undefined;
    let next = 0;
    return Float64Array.from(this.t, (t, i) => {
      while (next < at.length && at[next] < t) next++;
      const before = Math.max(0, next - 1);
      const after = Math.min(next, at.length - 1);
      const span = at[after] - at[before];
      const part = span > 0 ? Math.min(1, Math.max(0, (t - at[before]) / span)) : 0;
      const value = bytes[before] + part * (bytes[after] - bytes[before]);
      return Number.isNaN(allocated[i]) ? Number.NaN : Math.min(allocated[i], value);
    });
  }

  /** A figure of the cycle that is next to begin (`start`) or last to have ended, at every sample. */
  ofCycle(figure: "trigger" | "marked", when: "next" | "last"): Float64Array {
    const { cycles } = this;
    let i = 0;
    return Float64Array.from(this.t, (t) => {
      while (i < cycles.length && (when === "next" ? cycles[i].start : cycles[i].end) < t) i++;
      const cycle = cycles[when === "next" ? i : i - 1];
      return cycle === undefined ? Number.NaN : cycle[figure];
    });
  }
}

/** What the scenario, its policies and the kernel did, in the order of time. */
function marksOf(about: ReportRun): Mark[] {
  const marks: Mark[] = about.events.map(({ t_seconds, event, reason }) => ({
    t: t_seconds,
    what: event,
    why: reason,
    bad: false,
  }));
  for (const { t_seconds, restart_at_seconds, kernel_log } of about.oom_kills) {
    const last = kernel_log[kernel_log.length - 1] ?? "";
    marks.push({ t: t_seconds, what: "OOM kill", why: last.replace(/^\[[^\]]*\] /, ""), bad: true });
    if (restart_at_seconds !== undefined)
      marks.push({ t: restart_at_seconds, what: "restart", why: "after an OOM kill", bad: true });
  }
  return marks.sort((a, b) => a.t - b.t);
}
