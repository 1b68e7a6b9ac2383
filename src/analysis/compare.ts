/**
 * Runs before and after: every headline figure and the columns of gctrace, with differences and whether they are more than chance.
 *
 * A side is one run, or runs that differ in their seeds. Of gctrace's columns each run gives one number, the median over its cycles; a
 * side gives the median over its runs. The figures of gctrace are the row "gctrace before/after" that people make by hand from two
 * logs: interval, phases, heap at start, end and marked, goal, CPU split, and how much the live heap varies, as its standard
 * deviation over its mean. (Pauses are headline figures.)
 */

import type { Comparison, ComparisonCell, ComparisonRow, Side } from "../report/comparison.ts";
import { median, Quantiles } from "../sim/quantiles.ts";
import { unitOf } from "../sim/units.ts";
import type { CycleRecord } from "../simulate.ts";
import { ALPHA, CONFIDENCE, mannWhitney, medianInterval } from "./stats.ts";

/** Numbers of one run, by name. */
export type Figures = Readonly<Record<string, number>>;

/** The columns of gctrace whose median over cycles is compared, by the name it then has. */
const COLUMNS = {
  gctrace_sweep_term_ns: (c) => c.stw1_ns,
  gctrace_mark_ns: (c) => c.concurrent_ns,
  gctrace_mark_term_ns: (c) => c.stw2_ns,
  gctrace_assist_cpu_ns: (c) => c.assist_cpu_ns,
  gctrace_background_cpu_ns: (c) => c.background_cpu_ns,
  gctrace_idle_cpu_ns: (c) => c.idle_cpu_ns,
  gctrace_heap_start_bytes: (c) => c.heap_start_bytes,
  gctrace_heap_end_bytes: (c) => c.heap_end_bytes,
  gctrace_heap_marked_bytes: (c) => c.heap_marked_bytes,
  gctrace_goal_bytes: (c) => c.goal_bytes,
  gctrace_stacks_bytes: (c) => c.stacks_bytes,
} as const satisfies Record<string, (cycle: CycleRecord) => number>;

/** What a run's cycles amount to, taken in one by one. */
export class CycleFigures {
  readonly #columns = Object.entries(COLUMNS).map(([name, of]) => ({
    name,
    of,
    values: new Quantiles(true),
  }));
  readonly #intervals = new Quantiles(true);
  #before: CycleRecord | undefined;
  /** Welford's: count, mean and sum of squared distances from the mean, of the marked heap. */
  #count = 0;
  #mean = 0;
  #squares = 0;

  add(cycle: CycleRecord): void {
    for (const { of, values } of this.#columns) values.add(of(cycle));
    // A process that was started again counts from 1: the time it was down is no interval.
    if (this.#before !== undefined && cycle.gc > this.#before.gc)
      this.#intervals.add(cycle.start_seconds - this.#before.start_seconds);
    this.#before = cycle;
    const distance = cycle.heap_marked_bytes - this.#mean;
    this.#mean += distance / ++this.#count;
    this.#squares += distance * (cycle.heap_marked_bytes - this.#mean);
  }

  /** Without cycles none; without two of them no interval and no variation. */
  figures(): Figures {
    if (this.#count === 0) return {};
    const deviation = Math.sqrt(this.#squares / (this.#count - 1));
    return {
      ...(this.#intervals.count === 0 ? {} : { gctrace_interval_seconds: this.#intervals.quantile(0.5) }),
      ...Object.fromEntries(this.#columns.map(({ name, values }) => [name, values.quantile(0.5)])),
      ...(this.#count < 2 ? {} : { gctrace_heap_marked_variation_fraction: deviation / this.#mean }),
    };
  }
}

export interface SideRuns {
  readonly label: string;
  readonly runs: readonly Figures[];
}

function cellOf(values: readonly number[], first: readonly number[] | undefined): ComparisonCell {
  const { low, high } = medianInterval(values);
  const cell = { n: values.length, median: median(values), low, high };
  if (first === undefined || first.length === 0 || values.length === 0) return cell;
  const before = median(first);
  const difference = cell.median - before;
  const p = mannWhitney(first, values);
  return {
    ...cell,
    against: {
      difference,
      ...(before === 0 ? {} : { fraction: difference / Math.abs(before) }),
      ...(first.length === 1 && values.length === 1 ? {} : { p: p ?? 1, differs: (p ?? 1) <= ALPHA }),
    },
  };
}

/** Every figure that some run has, in the order of the first that has it; the first side is what the others are compared with. */
export function compareRuns(sides: readonly SideRuns[]): Comparison {
  const names = new Set(sides.flatMap((side) => side.runs.flatMap((run) => Object.keys(run))));
  const rows = [...names].map((name): ComparisonRow => {
    const values = sides.map((side) => side.runs.map((run) => run[name]).filter((x) => Number.isFinite(x)));
    return {
      name,
      unit: unitOf(name),
      cells: values.map((own, i) => cellOf(own, i === 0 ? undefined : values[0])),
    };
  });
  return {
    alpha: ALPHA,
    confidence: CONFIDENCE,
    sides: sides.map((side): Side => ({ label: side.label, runs: side.runs.length })),
    rows: rows.filter((row) => row.cells.some((cell) => cell.n > 0)),
  };
}

export interface SettingDifference {
  readonly path: string;
  /** As JSON; undefined where it is not set. */
  readonly before: string | undefined;
  readonly after: string | undefined;
}

/** Where two resolved scenarios differ, leaf by leaf; list items go by their names where they have one. */
export function settingDifferences(before: unknown, after: unknown): SettingDifference[] {
  const [a, b] = [leaves(before), leaves(after)];
  return [...new Set([...a.keys(), ...b.keys()])]
    .filter((path) => a.get(path) !== b.get(path))
    .map((path) => ({ path, before: a.get(path), after: b.get(path) }));
}

function leaves(value: unknown, path = "", into = new Map<string, string>()): Map<string, string> {
  if (typeof value !== "object" || value === null) {
    if (value !== undefined) into.set(path, JSON.stringify(value));
    return into;
  }
  const join = (step: string): string => (path === "" ? step : `${path}.${step}`);
  for (const [key, item] of Object.entries(value)) {
    const named = Array.isArray(value) && typeof item === "object" && item !== null && "name" in item;
    leaves(item, join(named && typeof item.name === "string" ? item.name : key), into);
  }
  return into;
}
