/**
 * How the reports write numbers: one place, so that every file of every run spells the same value the same way.
 *
 * Nothing here depends on a locale. `String(number)` and `toFixed` are fixed by ECMAScript to the last digit, so the
 * text is the same in every engine. Files carry plain base units (bytes, ns, seconds); people get binary prefixes.
 */

import type { Unit } from "../sim/units.ts";

export { type Unit, unitOf } from "../sim/units.ts";

/** A nanosecond is the smallest difference a run knows. */
const SECOND_STEPS = 1e9;
const FRACTION_STEPS = 1e6;

/**
 * A number for a CSV cell or JSON: integers as they are, times to the nanosecond, other reals to six decimals,
 * never in exponent notation below 1e21 (spreadsheets disagree about it). Not-a-number is an empty cell: no value.
 */
export function plainNumber(value: number, unit: Unit): string {
  if (Number.isInteger(value)) return value === 0 ? "0" : String(value);
  if (!Number.isFinite(value)) return "";
  if (unit === "ns") return plainNumber(Math.round(value), unit);
  const steps = unit === "seconds" ? SECOND_STEPS : FRACTION_STEPS;
  const rounded = Math.round(value * steps) / steps;
  if (rounded !== 0 && Math.abs(rounded) < 1e-6) return rounded.toFixed(9).replace(/0+$/, "");
  return rounded === 0 ? "0" : String(rounded);
}

const BYTE_PREFIXES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;

/** Three significant digits, as a person reads a figure: 9.31, 93.1, 931. */
function threeDigits(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
}

/** From here on a number of bytes is how Go says that there is no heap goal or no limit. */
export const NO_BYTES_LIMIT = 2 ** 60;

/** `93.1 MiB`; `none` for what is no limit. */
export function humanBytes(bytes: number): string {
  if (!Number.isFinite(bytes)) return "-";
  if (bytes >= NO_BYTES_LIMIT) return "none";
  let value = bytes;
  let prefix = 0;
  while (Math.abs(value) >= 1023.5 && prefix < BYTE_PREFIXES.length - 1) {
    value /= 1024;
    prefix++;
  }
  return `${prefix === 0 ? value.toFixed(0) : threeDigits(value)} ${BYTE_PREFIXES[prefix]}`;
}

/** `812 ns`, `93.1 µs`, `1.20 ms`, `4.51 s`, `3m05s`, `2h05m`. */
export function humanNs(ns: number): string {
  if (!Number.isFinite(ns)) return "-";
  const size = Math.abs(ns);
  if (size === 0) return "0 s";
  if (size < 999.5) return `${ns.toFixed(0)} ns`;
  if (size < 999.5e3) return `${threeDigits(ns / 1e3)} µs`;
  if (size < 999.5e6) return `${threeDigits(ns / 1e6)} ms`;
  if (size < 99.5e9) return `${threeDigits(ns / 1e9)} s`;
  const seconds = Math.round(ns / 1e9);
  const pad = (n: number): string => String(n).padStart(2, "0");
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${pad(seconds % 60)}s`;
  return `${Math.floor(seconds / 3600)}h${pad(Math.floor((seconds % 3600) / 60))}m`;
}

/** `1234`, `12.3 k`, `4.56 M`: counts, where a thousand is a thousand. */
export function humanCount(count: number): string {
  if (!Number.isFinite(count)) return "-";
  const size = Math.abs(count);
  if (size < 9999.5) return Number.isInteger(count) ? String(count) : threeDigits(count);
  if (size < 999.5e3) return `${threeDigits(count / 1e3)} k`;
  if (size < 999.5e6) return `${threeDigits(count / 1e6)} M`;
  if (size < 999.5e9) return `${threeDigits(count / 1e9)} G`;
  return `${threeDigits(count / 1e12)} T`;
}

/** `1.84 %` of a fraction 0.0184. */
export function humanShare(fraction: number): string {
  return Number.isFinite(fraction) ? `${threeDigits(fraction * 100)} %` : "-";
}

/** A whole number as Go prints a uint64; what stands for none (2^63, 2^64 and above) is the largest of its type. */
export function uint64Text(value: number): string {
  if (value >= 2 ** 64) return "18446744073709551615";
  if (value === 2 ** 63) return "9223372036854775807";
  return Number.isSafeInteger(value) ? String(value) : String(BigInt(Math.round(value)));
}

/** A figure for a person, by its unit. */
export function humanValue(value: number, unit: Unit): string {
  switch (unit) {
    case "bytes":
      return humanBytes(value);
    case "ns":
      return humanNs(value);
    case "seconds":
      return humanNs(value * 1e9);
    case "fraction":
      return humanShare(value);
    case "percent":
      return humanShare(value / 100);
    case "count":
      return humanCount(value);
  }
}
