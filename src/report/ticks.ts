/**
 * Where an axis has its ticks and how they are spelled: whole steps in the unit a person would use for a range of that size. It ends
 * at one of them, so that its top has a label.
 *
 * Independent of locale, like every number of a report.
 */
import type { Unit } from "./format.ts";

export interface Axis {
  /** In the axis's own unit, from 0 up. */
  readonly ticks: readonly number[];
  /** One text per tick; 0 is plain. */
  readonly labels: readonly string[];
  /** The upper end: the last tick, at or above what is drawn. */
  readonly top: number;
}

interface Scale {
  /** What one of the spelled unit is. */
  readonly size: number;
  readonly name: string;
}

/** CPUs are no count: there are parts of them. */
export type AxisUnit = Unit | "CPUs";

const SCALES: Readonly<Record<AxisUnit, readonly Scale[]>> = {
  bytes: ["B", "KiB", "MiB", "GiB", "TiB", "PiB"].map((name, i) => ({ size: 1024 ** i, name })),
  ns: [
    { size: 1, name: "ns" },
    { size: 1e3, name: "µs" },
    { size: 1e6, name: "ms" },
    { size: 1e9, name: "s" },
  ],
  seconds: [
    { size: 1e-3, name: "ms" },
    { size: 1, name: "s" },
    { size: 60, name: "min" },
    { size: 3600, name: "h" },
  ],
  count: [
    { size: 1, name: "" },
    { size: 1e3, name: "k" },
    { size: 1e6, name: "M" },
    { size: 1e9, name: "G" },
    { size: 1e12, name: "T" },
  ],
  fraction: [{ size: 0.01, name: "%" }],
  percent: [{ size: 1, name: "%" }],
  CPUs: [{ size: 1, name: "" }],
};

/** Up to so many of a unit are spelled in it before the next larger one is: 90 s, then 2 min. */
const KEEP: Readonly<Record<AxisUnit, number>> = {
  bytes: 1,
  ns: 1,
  seconds: 2,
  count: 10,
  fraction: 1,
  percent: 1,
  CPUs: 1,
};

function scaleOf(unit: AxisUnit, range: number): Scale {
  const scales = SCALES[unit];
  let found = scales[0];
  for (const scale of scales) if (range >= scale.size * (scale === scales[0] ? 0 : KEEP[unit])) found = scale;
  return found;
}

const DECIMAL_STEPS = [1, 2, 2.5, 5];
/** Seconds and minutes divide as a clock's do, hours as a day's. */
const CLOCK_STEPS = [1, 2, 5, 10, 15, 30, 60];
const DAY_STEPS = [1, 2, 3, 4, 6, 12, 24];

const STEPS: Readonly<Record<string, readonly number[]>> = { s: CLOCK_STEPS, min: CLOCK_STEPS, h: DAY_STEPS };

/** The smallest whole step with which at most `count` of them cover `range`. */
function stepOf(range: number, count: number, preferred: readonly number[]): number {
  const least = range / count;
  if (least >= preferred[0] / 2) for (const step of preferred) if (step >= least) return step;
  // A power of ten is looked for by multiplying: the last bit of pow and log differs between engines.
  let power = 1;
  while (power > least) power /= 10;
  while (power * 10 <= least) power *= 10;
  for (const digit of DECIMAL_STEPS) if (digit * power >= least * (1 - 1e-9)) return digit * power;
  return 10 * power;
}

/** An axis from 0 to the first whole step that holds `range`, in at most `count` steps; or to just `range` if it is `exact`. */
export function axisFor(unit: AxisUnit, range: number, count: number, exact = false): Axis {
  const least = range > 0 && Number.isFinite(range) ? range : 1;
  const { size, name } = scaleOf(unit, least);
  // What is counted is whole.
  const leastStep = unit === "count" && name === "" ? 1 : 0;
  const step = Math.max(leastStep, stepOf(least / size, count, STEPS[name] ?? []));
  const steps = exact ? Math.floor(least / size / step + 1e-9) : Math.ceil(least / size / step - 1e-9);
  const top = exact ? least : steps * step * size;
  const decimals = decimalsOf(step);
  const ticks = Array.from({ length: steps + 1 }, (_, i) => i * step * size);
  const space = unit === "count" || unit === "CPUs" ? "" : " ";
  return {
    ticks,
    labels: ticks.map((tick, i) =>
      i === 0
        ? "0"
        : // Half minutes are spelled as a clock has them.
          name === "min" && decimals > 0
          ? `${Math.floor(tick / 60)}:${String(Math.round(tick % 60)).padStart(2, "0")}`
          : `${(i * step).toFixed(decimals)}${space}${name}`,
    ),
    top,
  };
}

/** Digits after the point that multiples of a step need. */
function decimalsOf(step: number): number {
  let decimals = 0;
  for (let x = step; Math.abs(x - Math.round(x)) > 1e-9 * x && decimals < 12; x *= 10) decimals++;
  return decimals;
}
