/**
 * How a scenario's faults are told: short, lower-case, naming the offending value, with a hint where one can be guessed.
 *
 * A parser reports every fault it finds and goes on; nothing here throws.
 */
import { distance } from "fastest-levenshtein";
import * as z from "zod";

/** Tells a fault: what is wrong, what was probably meant, and where below the value being parsed. */
export type Report = (message: string, hint?: string, path?: readonly (string | number)[]) => void;

/** A fault relative to the value it was found in. */
export interface Fault {
  readonly path: readonly (string | number)[];
  readonly message: string;
  readonly hint?: string;
  /** The key itself is at fault, not its value. */
  readonly onKey?: boolean;
}

/**
 * A zod type whose parsing is written by hand, for values with several spellings: a union of zod types would answer
 * a misspelling with one complaint per branch. `json` is its JSON Schema.
 */
export function spelled<T>(
  json: Readonly<Record<string, unknown>>,
  parse: (value: unknown, report: Report) => T | undefined,
): z.ZodType<T, unknown> {
  return z
    .unknown()
    .transform((value, ctx): T => {
      let faults = 0;
      const report: Report = (message, hint, path) => {
        faults++;
        ctx.addIssue({
          code: "custom",
          message,
          path: path === undefined ? [] : [...path],
          ...(hint === undefined ? {} : { params: { hint } }),
        });
      };
      if (value === undefined) {
        report("missing");
        return z.NEVER;
      }
      const parsed = parse(value, report);
      return faults > 0 || parsed === undefined ? z.NEVER : parsed;
    })
    .meta(json);
}

/** A value as a message names it: never more than a few words, whatever was in the file. */
export function shown(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (typeof value === "string")
    return value.length > 40 ? `"${value.slice(0, 37)}..."` : JSON.stringify(value);
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
  if (typeof value === "object") {
    const keys = Object.keys(value);
    if (keys.length === 0) return "an empty mapping";
    return `a mapping with ${list(keys.slice(0, 3).map(tick))}${keys.length > 3 ? ", ..." : ""}`;
  }
  return String(value);
}

/** The option that `word` was probably meant to be. Case and - _ do not count as differences. */
export function nearest(word: string, options: Iterable<string>): string | undefined {
  const plain = (text: string) => text.toLowerCase().replaceAll(/[-_ ]/g, "");
  const short = plain(word.slice(0, 64));
  let best: string | undefined;
  let bestDistance = Math.min(3, 1 + Math.floor(short.length / 4)) + 1;
  for (const option of options) {
    if (option === word) continue;
    const other = plain(option);
    const d = distance(short, other);
    if (d < bestDistance && d < other.length) {
      bestDistance = d;
      best = option;
    }
  }
  return best;
}

/** `did you mean "x"?`, or the list of what would have been accepted. */
export function suggest(word: string, options: readonly string[], otherwise: string): string {
  const near = nearest(word, options);
  return near === undefined ? `${otherwise} ${list(options.map(tick))}` : `did you mean ${tick(near)}?`;
}

export const tick = (text: string): string => `\`${text}\``;

export function list(items: readonly string[], word = "and"): string {
  if (items.length < 2) return items[0] ?? "nothing";
  return `${items.slice(0, -1).join(", ")} ${word} ${items[items.length - 1]}`;
}

export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
