/**
 * Go's own spellings of quantities, as zod types: text in a file, plain numbers in the program.
 *
 * Bytes follow GOMEMLIMIT (`B`, `KiB`, `MiB`, `GiB`, `TiB`; decimal KB/MB are refused, as Go refuses them), durations
 * follow time.ParseDuration (`1m30s`, `10ms`, `2µs`), rates are a count per unit of time (`200k/s`, `10/m`).
 * A bare number is a byte count or a rate per second, but never a duration: 10 what?
 */
import { z } from "zod";

const BYTE_UNITS: Record<string, number> = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };
const DURATION_UNITS_NS: Record<string, number> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};
const COUNT_UNITS: Record<string, number> = { "": 1, k: 1e3, M: 1e6, G: 1e9 };

/** Parses "3GiB" to bytes; undefined when the text is not a byte quantity. */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|TiB)$/.exec(text.trim());
  if (match === null) return undefined;
  return Math.round(Number(match[1]) * BYTE_UNITS[match[2]]);
}

/** Parses "1m30s" to nanoseconds; undefined when the text is not a Go duration. */
export function parseDurationNs(text: string): number | undefined {
  const trimmed = text.trim();
  if (trimmed === "0") return 0;
  const part = /(\d+(?:\.\d+)?)(ns|us|µs|μs|ms|s|m|h)/g;
  let total = 0;
  let end = 0;
  for (let match = part.exec(trimmed); match !== null; match = part.exec(trimmed)) {
    if (match.index !== end) return undefined;
    total += Number(match[1]) * DURATION_UNITS_NS[match[2]];
    end = part.lastIndex;
  }
  return end === trimmed.length && end > 0 ? Math.round(total) : undefined;
}

/** Parses "200k/s" to a count per second; undefined when the text is not a rate. */
export function parseRate(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([kMG]?)\s*\/\s*(ns|us|µs|ms|s|m|h)$/.exec(text.trim());
  if (match === null) return undefined;
  return (Number(match[1]) * COUNT_UNITS[match[2]] * 1e9) / DURATION_UNITS_NS[match[3]];
}

/** Parses "50MiB/s" to bytes per second; undefined when the text is not a byte rate. */
export function parseByteRate(text: string): number | undefined {
  const slash = text.lastIndexOf("/");
  if (slash < 0) return undefined;
  const bytes = parseBytes(text.slice(0, slash));
  const perNs = DURATION_UNITS_NS[text.slice(slash + 1).trim()];
  return bytes === undefined || perNs === undefined ? undefined : (bytes * 1e9) / perNs;
}

const spelled = (
  parse: (text: string) => number | undefined,
  expected: string,
  bare: z.ZodType<number, number> | undefined,
): z.ZodType<number, string | number> => {
  const text = z.string().transform((value, ctx) => {
    const parsed = parse(value);
    if (parsed !== undefined && Number.isFinite(parsed)) return parsed;
    ctx.addIssue({ code: "custom", message: `expected ${expected}, got "${value}"` });
    return z.NEVER;
  });
  return bare === undefined ? text : z.union([bare, text]);
};

const count = z.number().min(0).max(Number.MAX_SAFE_INTEGER);

/** A byte quantity: `512`, `64KiB`, `3GiB`. */
export const bytes = spelled(parseBytes, 'a byte quantity such as "64KiB" or 4096', count.int());
/** A duration in Go's spelling, to nanoseconds: `10ms`, `1m30s`. */
export const durationNs = spelled(parseDurationNs, 'a duration such as "10ms" or "1m30s"', z.literal(0));
/** A rate, to a count per second: `200k/s`, `500`. */
export const ratePerSecond = spelled(parseRate, 'a rate such as "500/s" or "200k/s"', count);
/** A byte rate, to bytes per second: `50MiB/s`. */
export const bytesPerSecond = spelled(parseByteRate, 'a byte rate such as "50MiB/s"', undefined);
