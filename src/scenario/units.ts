/**
 * Go's own spellings of quantities, as zod types: text in a file, plain numbers in the program.
 *
 * Bytes follow GOMEMLIMIT (`B`, `KiB`, `MiB`, `GiB`, `TiB`; decimal KB/MB are refused, as Go refuses them), durations
 * follow time.ParseDuration (`1m30s`, `10ms`, `2µs`), rates are a count per unit of time (`200k/s`, `10/m`).
 * A bare number is a byte count or a rate per second, but never a duration: 10 what?
 */
import { type Report, shown, spelled } from "./faults.ts";

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
  const match = /^(\d+(?:\.\d+)?)\s*([kMG]?)\s*\/\s*(ns|us|µs|μs|ms|s|m|h)$/.exec(text.trim());
  if (match === null) return undefined;
  return (Number(match[1]) * COUNT_UNITS[match[2]] * 1e9) / DURATION_UNITS_NS[match[3]];
}

/** Parses "50MiB/s" to bytes per second; undefined when the text is not a byte rate. */
export function parseByteRate(text: string): number | undefined {
  const slash = text.lastIndexOf("/");
  if (slash < 0) return undefined;
  const parsed = parseBytes(text.slice(0, slash));
  const perNs = Object.hasOwn(DURATION_UNITS_NS, text.slice(slash + 1).trim())
    ? DURATION_UNITS_NS[text.slice(slash + 1).trim()]
    : undefined;
  return parsed === undefined || perNs === undefined ? undefined : (parsed * 1e9) / perNs;
}

/** Reads a quantity, or reports what is wrong with it and what was probably meant. */
export type QuantityParser = (value: unknown, report: Report) => number | undefined;

const didYouMean = (...spellings: string[]) =>
  `did you mean ${spellings.map((text) => `"${text}"`).join(" or ")}?`;

/** "64KB", "64 kib", "64K", "10 bytes" -> "64KiB", "64KiB", "64KiB", "10B". */
function byteSpelling(text: string): string | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*(?:([kmgt])(?:i?b?|ibytes|bytes)?|b|bytes?)?$/i.exec(text.trim());
  if (match === null) return undefined;
  return match[2] === undefined ? `${match[1]}B` : `${match[1]}${match[2].toUpperCase()}iB`;
}

const LONG_TIME_UNITS: readonly (readonly [RegExp, string])[] = [
  [/^(ns|nsecs?|nanos?|nanoseconds?)$/i, "ns"],
  [/^(us|µs|μs|usecs?|micros?|microseconds?)$/i, "us"],
  [/^(ms|msecs?|millis?|milliseconds?)$/i, "ms"],
  [/^(s|secs?|seconds?)$/i, "s"],
  [/^(m|mins?|minutes?)$/i, "m"],
  [/^(h|hrs?|hours?)$/i, "h"],
];

const timeUnit = (word: string) => LONG_TIME_UNITS.find(([pattern]) => pattern.test(word))?.[1];

/** "10 sec", "1min", "2d" -> "10s", "1m", "48h". */
function durationSpelling(text: string): string | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([a-zµμ]+)$/i.exec(text.trim());
  if (match === null) return undefined;
  if (/^(d|days?)$/i.test(match[2])) return `${Number(match[1]) * 24}h`;
  const unit = timeUnit(match[2]);
  return unit === undefined ? undefined : `${match[1]}${unit}`;
}

/** "5k", "5 rps", "5/sec", "200K/s", "5 req/s", "10 per second" -> "5k/s", "5/s", ... */
function rateSpelling(text: string): string | undefined {
  const match =
    /^(\d+(?:\.\d+)?)\s*([kmg]?)\s*(?:rps|qps|hz|(?:[a-z]+\s*)?(?:\/|\bper\b)\s*([a-zµμ]+))?$/i.exec(
      text.trim(),
    );
  if (match === null) return undefined;
  const unit = match[3] === undefined ? "s" : timeUnit(match[3]);
  const letter = match[2].toLowerCase();
  return unit === undefined
    ? undefined
    : `${match[1]}${letter === "k" ? letter : letter.toUpperCase()}/${unit}`;
}

function byteRateSpelling(text: string): string | undefined {
  const [amount, per = "s", ...rest] = text.replace(/ps$/i, "/s").split("/");
  const size = byteSpelling(amount);
  const unit = timeUnit(per.trim());
  return size === undefined || unit === undefined || rest.length > 0 ? undefined : `${size}/${unit}`;
}

/** What kind of quantity a text is, when it is one of the others. */
function otherKind(text: string): string | undefined {
  if (parseBytes(text) !== undefined) return "a size";
  if (text !== "0" && parseDurationNs(text) !== undefined) return "a duration";
  if (parseRate(text) !== undefined) return "a count per time";
  if (parseByteRate(text) !== undefined) return "a byte rate";
  return undefined;
}

interface Spelling {
  /** What is expected, with examples: the end of "expected ...". */
  readonly expected: string;
  readonly parse: (text: string) => number | undefined;
  /** A corrected spelling of a text that is nearly right. */
  readonly correct: (text: string) => string | undefined;
  readonly number: (value: number, report: Report) => number | undefined;
  /** Why a quantity of another kind may have come here. */
  readonly otherHint?: string;
  /** The largest value a run can count with, as it would be spelled. */
  readonly largest: string;
}

function quantity(spelling: Spelling): QuantityParser {
  return (value, report) => {
    if (typeof value === "number") {
      if (Number.isNaN(value)) report(`expected ${spelling.expected}, got NaN`);
      else if (value < 0) report(`${value} is negative`, `expected ${spelling.expected}`);
      else if (value > Number.MAX_SAFE_INTEGER)
        report(`${value} is too large`, `at most ${spelling.largest}`);
      else return spelling.number(value, report);
      return undefined;
    }
    if (typeof value !== "string") {
      report(`expected ${spelling.expected}, got ${shown(value)}`);
      return undefined;
    }
    const parsed = value.length > 100 ? undefined : spelling.parse(value);
    if (parsed !== undefined) {
      if (parsed <= Number.MAX_SAFE_INTEGER) return parsed;
      report(`${shown(value)} is too large`, `at most ${spelling.largest}`);
      return undefined;
    }
    const text = value.slice(0, 100).trim();
    const kind = otherKind(text);
    // "5MiB" for a byte rate lacks its time only.
    const correct = kind === undefined || kind === "a size" ? spelling.correct(text) : undefined;
    if (/^-\s*\d/.test(text)) report(`${shown(value)} is negative`, `expected ${spelling.expected}`);
    else if (kind !== undefined)
      report(
        `expected ${spelling.expected}, got ${shown(value)}, which is ${kind}`,
        correct === undefined ? spelling.otherHint : didYouMean(correct),
      );
    else
      report(
        `expected ${spelling.expected}, got ${shown(value)}`,
        correct === undefined ? undefined : didYouMean(correct),
      );
    return undefined;
  };
}

export const readBytes: QuantityParser = quantity({
  expected: 'a size such as "64KiB" or 4096',
  largest: "8191TiB",
  parse: parseBytes,
  correct: byteSpelling,
  number: (value, report) => {
    if (Number.isInteger(value)) return value;
    report(`${value} is not a whole number of bytes`);
    return undefined;
  },
});

export const readDurationNs: QuantityParser = quantity({
  expected: 'a duration such as "10ms" or "1m30s"',
  largest: "2501h (nanoseconds up to 2^53)",
  parse: parseDurationNs,
  correct: durationSpelling,
  number: (value, report) => {
    if (value === 0) return 0;
    report(`${value} what? a duration needs a unit`, didYouMean(`${value}s`, `${value}ms`));
    return undefined;
  },
});

export const readRate: QuantityParser = quantity({
  expected: 'a rate such as "500/s" or "200k/s"',
  largest: "9e15 per second",
  parse: parseRate,
  correct: rateSpelling,
  number: (value) => value,
  otherHint:
    "`rate` counts objects or requests; where a source takes bytes per second the key is `byte_rate`",
});

export const readByteRate: QuantityParser = quantity({
  expected: 'a byte rate such as "50MiB/s"',
  largest: "8191TiB/s",
  parse: parseByteRate,
  correct: byteRateSpelling,
  number: (value, report) => {
    report(`${value} what? a byte rate needs its units`, didYouMean(`${value}B/s`, `${value}MiB/s`));
    return undefined;
  },
  otherHint: "`byte_rate` counts bytes; to count objects the key is `rate`",
});

/** A plain number of things, not negative; fractions are meaningful where it is a mean. */
export const readCount: QuantityParser = (value, report) => {
  if (typeof value === "number" && value >= 0 && value <= Number.MAX_SAFE_INTEGER) return value;
  if (typeof value === "number" && value < 0) report(`${value} is negative`, "expected a count");
  else
    report(
      `expected a count such as 3 or 2.5, got ${shown(value)}`,
      typeof value === "string" && /^\d+(\.\d+)?$/.test(value) ? "write it without quotes" : undefined,
    );
  return undefined;
};

export const BYTES_PATTERN = "^\\d+(\\.\\d+)?\\s*(B|KiB|MiB|GiB|TiB)$";
const TIME = "(ns|us|µs|μs|ms|s|m|h)";

/** A byte quantity: `512`, `64KiB`, `3GiB`. */
export const bytes = spelled(
  {
    id: "Bytes",
    description: "Bytes as GOMEMLIMIT spells them: 512, 64KiB, 3GiB.",
    anyOf: [
      { type: "integer", minimum: 0 },
      { type: "string", pattern: BYTES_PATTERN },
    ],
    examples: ["64KiB", 4096],
  },
  readBytes,
);

/** A duration in Go's spelling, to nanoseconds: `10ms`, `1m30s`. */
export const durationNs = spelled(
  {
    id: "Duration",
    description: "A duration in Go's spelling: 10ms, 1m30s. Only 0 needs no unit.",
    anyOf: [{ const: 0 }, { type: "string", pattern: `^(0|(\\d+(\\.\\d+)?${TIME})+)$` }],
    examples: ["10ms", "1m30s"],
  },
  readDurationNs,
);

/** A rate, to a count per second: `200k/s`, `500`. */
export const ratePerSecond = spelled(
  {
    id: "Rate",
    description: "A count per unit of time: 500/s, 200k/s, 10/m. A bare number is per second.",
    anyOf: [
      { type: "number", minimum: 0 },
      { type: "string", pattern: `^\\d+(\\.\\d+)?\\s*[kMG]?\\s*/\\s*${TIME}$` },
    ],
    examples: ["500/s", "200k/s"],
  },
  readRate,
);

/** A byte rate, to bytes per second: `50MiB/s`. */
export const bytesPerSecond = spelled(
  {
    id: "ByteRate",
    description: "Bytes per unit of time: 50MiB/s.",
    type: "string",
    pattern: `${BYTES_PATTERN.slice(0, -1)}\\s*/\\s*${TIME}$`,
    examples: ["50MiB/s"],
  },
  readByteRate,
);
