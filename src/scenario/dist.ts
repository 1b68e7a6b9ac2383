/**
 * Distributions as a scenario file spells them, read by hand so that a fault is told once, where it is.
 *
 * A bare value is a constant: `64`, `{uniform: [16, 512]}`, `{exponential: 100ms}`,
 * `{lognormal: {median: 256, sigma: 1.2}}`, `{weibull: {scale: 1s, shape: 0.7}}`,
 * `{pareto: {min: 64, shape: 1.3, max: 1MiB}}`, `{histogram: [[16, 32, 70], [32, 4KiB, 30]]}` (from, to, weight),
 * `{mixture: [{weight: 9, of: 64}, {weight: 1, of: 32KiB}]}`.
 */
import type { z } from "zod";
import { MAX_OBJECT_BYTES } from "../runtime/sizeclasses.ts";
import { isMapping, list, type Report, shown, spelled, suggest, tick } from "./faults.ts";
import { type QuantityParser, readBytes, readCount, readDurationNs } from "./units.ts";

/** Where a random quantity comes from; `value` units are those of the field (bytes, nanoseconds or a count). */
export type Dist =
  | { readonly kind: "constant"; readonly value: number }
  | { readonly kind: "uniform"; readonly min: number; readonly max: number }
  | { readonly kind: "exponential"; readonly mean: number }
  | { readonly kind: "lognormal"; readonly median: number; readonly sigma: number }
  | { readonly kind: "weibull"; readonly scale: number; readonly shape: number }
  | { readonly kind: "pareto"; readonly min: number; readonly shape: number; readonly max: number }
  | {
      readonly kind: "histogram";
      readonly bins: readonly { readonly min: number; readonly max: number; readonly weight: number }[];
    }
  | { readonly kind: "mixture"; readonly parts: readonly { readonly weight: number; readonly dist: Dist }[] };

export const DIST_KINDS = [
  "constant",
  "uniform",
  "exponential",
  "lognormal",
  "weibull",
  "pareto",
  "histogram",
  "mixture",
] as const;

/** A mixture of mixtures of ... says nothing a flat one does not, and a YAML alias could make it endless. */
const MAX_DEPTH = 8;
/** Sigma 5 already spreads the central 95 % over 8 orders of magnitude. */
const MAX_SIGMA = 5;

/** Reports below a key of the value at hand. */
const under =
  (report: Report, ...prefix: (string | number)[]): Report =>
  (message, hint, path) =>
    report(message, hint, [...prefix, ...(path ?? [])]);

/** The fields of a mapping that must have exactly these keys; undefined when it is something else (told). */
function fields(
  value: unknown,
  keys: readonly string[],
  example: string,
  report: Report,
): Record<string, unknown> | undefined {
  if (!isMapping(value)) {
    report(`expected ${example}, got ${shown(value)}`);
    return undefined;
  }
  for (const key of Object.keys(value))
    if (!keys.includes(key))
      under(report, key)(`unknown key ${tick(key)}`, suggest(key, keys, "the keys here are"));
  let whole = true;
  for (const key of keys)
    if (value[key] === undefined) {
      report(`${tick(key)} is missing`, `expected ${example}`);
      whole = false;
    }
  return whole ? value : undefined;
}

function readPositive(value: unknown, report: Report): number | undefined {
  if (typeof value === "number" && value > 0 && Number.isFinite(value)) return value;
  report(`expected a number above 0, got ${shown(value)}`);
  return undefined;
}

function tuple(value: unknown, length: number, example: string, report: Report): unknown[] | undefined {
  if (Array.isArray(value) && value.length === length) return value;
  report(
    Array.isArray(value)
      ? `expected ${example}, got ${value.length} value${value.length === 1 ? "" : "s"}`
      : `expected ${example}, got ${shown(value)}`,
  );
  return undefined;
}

/** Low and high of a range, in order. */
function readRange(low: unknown, high: unknown, quantity: QuantityParser, report: Report, at: string[]) {
  const min = quantity(low, under(report, at[0] === "" ? 0 : at[0]));
  const max = quantity(high, under(report, at[1] === "" ? 1 : at[1]));
  if (min === undefined || max === undefined) return undefined;
  if (min <= max) return { min, max };
  report(`the low end ${shown(low)} is above the high end ${shown(high)}`, "did you swap them?");
  return undefined;
}

/** Reads a distribution over `quantity`. */
export function readDist(
  quantity: QuantityParser,
  value: unknown,
  report: Report,
  depth = 0,
): Dist | undefined {
  if (Array.isArray(value)) {
    report(
      `expected a value or a distribution, got ${shown(value)}`,
      value.length === 2
        ? "for a range write {uniform: [low, high]}"
        : `the distributions are ${list(DIST_KINDS.map(tick))}`,
    );
    return undefined;
  }
  if (!isMapping(value)) {
    const constant = quantity(value, report);
    return constant === undefined ? undefined : { kind: "constant", value: constant };
  }
  if (depth > MAX_DEPTH) {
    report(`mixtures nested deeper than ${MAX_DEPTH}`);
    return undefined;
  }
  const keys = Object.keys(value);
  const known = DIST_KINDS.find((kind) => kind === keys[0]);
  if (keys.length !== 1 || known === undefined) {
    if (keys.length === 0) report("expected a value or a distribution, got an empty mapping");
    for (const key of keys)
      if (!DIST_KINDS.some((kind) => kind === key))
        under(report, key)(
          `unknown distribution ${tick(key)}`,
          suggest(key, DIST_KINDS, "the distributions are"),
        );
    if (keys.length > 1 && keys.every((key) => DIST_KINDS.some((kind) => kind === key)))
      report(`one distribution at a time, got ${list(keys.map(tick))}`, "use `mixture` to combine several");
    return undefined;
  }
  const below = under(report, known);
  const body = value[known];
  switch (known) {
    case "constant": {
      const constant = quantity(body, below);
      return constant === undefined ? undefined : { kind: "constant", value: constant };
    }
    case "uniform": {
      const ends = tuple(body, 2, "[low, high]", below);
      const range = ends && readRange(ends[0], ends[1], quantity, below, ["", ""]);
      return range && { kind: "uniform", ...range };
    }
    case "exponential": {
      const mean = quantity(body, below);
      if (mean !== 0) return mean === undefined ? undefined : { kind: "exponential", mean };
      below("an exponential needs a mean above 0");
      return undefined;
    }
    case "lognormal": {
      const f = fields(body, ["median", "sigma"], "{median: ..., sigma: ...}", below);
      if (f === undefined) return undefined;
      const median = quantity(f["median"], under(below, "median"));
      const sigma = f["sigma"];
      if (typeof sigma === "number" && sigma >= 0 && sigma <= MAX_SIGMA)
        return median === undefined ? undefined : { kind: "lognormal", median, sigma };
      under(below, "sigma")(`expected a number from 0 to ${MAX_SIGMA}, got ${shown(sigma)}`);
      return undefined;
    }
    case "weibull": {
      const f = fields(body, ["scale", "shape"], "{scale: ..., shape: ...}", below);
      if (f === undefined) return undefined;
      const scale = quantity(f["scale"], under(below, "scale"));
      const shape = readPositive(f["shape"], under(below, "shape"));
      return scale === undefined || shape === undefined ? undefined : { kind: "weibull", scale, shape };
    }
    case "pareto": {
      const f = fields(body, ["min", "shape", "max"], "{min: ..., shape: ..., max: ...}", below);
      if (f === undefined) return undefined;
      const range = readRange(f["min"], f["max"], quantity, below, ["min", "max"]);
      const shape = readPositive(f["shape"], under(below, "shape"));
      if (range?.min === 0) under(below, "min")("a pareto needs a min above 0");
      return range === undefined || shape === undefined || range.min === 0
        ? undefined
        : { kind: "pareto", min: range.min, shape, max: range.max };
    }
    case "histogram": {
      if (!Array.isArray(body) || body.length === 0) {
        below(`expected a list of [from, to, weight], got ${shown(body)}`);
        return undefined;
      }
      const bins: { min: number; max: number; weight: number }[] = [];
      body.forEach((row: unknown, i) => {
        const at = under(below, i);
        const cells = tuple(row, 3, "[from, to, weight]", at);
        if (cells === undefined) return;
        const range = readRange(cells[0], cells[1], quantity, at, ["", ""]);
        const weight = readPositive(cells[2], under(at, 2));
        if (range !== undefined && weight !== undefined) bins.push({ ...range, weight });
      });
      return bins.length === body.length ? { kind: "histogram", bins } : undefined;
    }
    case "mixture": {
      if (!Array.isArray(body) || body.length === 0) {
        below(`expected a list of {weight: ..., of: ...}, got ${shown(body)}`);
        return undefined;
      }
      const parts: { weight: number; dist: Dist }[] = [];
      body.forEach((row: unknown, i) => {
        const at = under(below, i);
        const f = fields(row, ["weight", "of"], "{weight: ..., of: ...}", at);
        if (f === undefined) return;
        const weight = readPositive(f["weight"], under(at, "weight"));
        const part = readDist(quantity, f["of"], under(at, "of"), depth + 1);
        if (weight !== undefined && part !== undefined) parts.push({ weight, dist: part });
      });
      return parts.length === body.length ? { kind: "mixture", parts } : undefined;
    }
  }
}

/** JSON Schema of a distribution whose quantity has the schema `of`. */
function distJson(id: string, of: Readonly<Record<string, unknown>>, what: string): Record<string, unknown> {
  const number = { type: "number", exclusiveMinimum: 0 };
  const object = (properties: Record<string, unknown>) => ({
    type: "object",
    properties,
    required: Object.keys(properties),
    additionalProperties: false,
  });
  const form = (description: string, properties: Record<string, unknown>) => ({
    description,
    ...object(properties),
  });
  const row = (...prefixItems: unknown[]) => ({
    type: "array",
    prefixItems,
    minItems: prefixItems.length,
    maxItems: prefixItems.length,
    items: false,
  });
  return {
    id,
    description: `${what}: a value, or a distribution it is drawn from.`,
    anyOf: [
      of,
      form("Always the same.", { constant: of }),
      form("Evenly spread over [low, high].", { uniform: row(of, of) }),
      form("Exponential with this mean.", { exponential: of }),
      form("Log-normal: half below `median`; sigma is the standard deviation of the logarithm.", {
        lognormal: object({ median: of, sigma: { type: "number", minimum: 0, maximum: MAX_SIGMA } }),
      }),
      form("Weibull; a shape below 1 has many small and a few very large values.", {
        weibull: object({ scale: of, shape: number }),
      }),
      form("Pareto cut off at max; the smaller the shape, the heavier the tail.", {
        pareto: object({ min: of, shape: number, max: of }),
      }),
      form("Bins of [from, to, weight], evenly spread within a bin.", {
        histogram: { type: "array", minItems: 1, items: row(of, of, number) },
      }),
      form("One of several distributions, chosen by weight.", {
        mixture: {
          type: "array",
          minItems: 1,
          items: object({ weight: number, of: { $ref: `#/$defs/${id}` } }),
        },
      }),
    ],
  };
}

const dist = (quantity: QuantityParser, json: Record<string, unknown>): z.ZodType<Dist, unknown> =>
  spelled(json, (value, report) => readDist(quantity, value, report));

const BYTES_JSON = { $ref: "#/$defs/Bytes" };

const readObjectBytes: QuantityParser = (value, report) => {
  const size = readBytes(value, report);
  if (size === undefined || size <= MAX_OBJECT_BYTES) return size;
  report(`${shown(value)} is too large for one object`, "it must be less than 16GiB");
  return undefined;
};

/** Bytes of one object. */
export const objectBytes = spelled(BYTES_JSON, readObjectBytes);

/** Bytes; an object of 0 bytes is not an allocation. */
export const sizeDist = dist(readObjectBytes, distJson("SizeDist", BYTES_JSON, "Bytes"));

export const durationDist = dist(
  readDurationNs,
  distJson("DurationDist", { $ref: "#/$defs/Duration" }, "A duration"),
);

export const countDist = dist(readCount, distJson("CountDist", { type: "number", minimum: 0 }, "A count"));

/** The mean of a distribution, to judge a scenario's size by; the simulator samples with its own. */
export function meanOf(d: Dist): number {
  switch (d.kind) {
    case "constant":
      return d.value;
    case "uniform":
      return (d.min + d.max) / 2;
    case "exponential":
      return d.mean;
    case "lognormal":
      return d.median * Math.exp((d.sigma * d.sigma) / 2);
    case "weibull":
      // The scale is the right order of magnitude for any shape of interest; the gamma function would be needed otherwise.
      return d.scale;
    case "pareto": {
      if (d.min === d.max) return d.min;
      const a = d.shape;
      const tail = (d.min / d.max) ** a;
      if (Math.abs(a - 1) < 1e-9) return (d.min / (1 - tail)) * Math.log(d.max / d.min);
      return (d.min / (1 - tail)) * (a / (a - 1)) * (1 - (d.min / d.max) ** (a - 1));
    }
    case "histogram": {
      const weight = d.bins.reduce((sum, bin) => sum + bin.weight, 0);
      return d.bins.reduce((sum, bin) => sum + (bin.weight * (bin.min + bin.max)) / 2, 0) / weight;
    }
    case "mixture": {
      const weight = d.parts.reduce((sum, part) => sum + part.weight, 0);
      return d.parts.reduce((sum, part) => sum + part.weight * meanOf(part.dist), 0) / weight;
    }
  }
}

/** Whether every draw is 0. */
export function isZero(d: Dist): boolean {
  switch (d.kind) {
    case "constant":
      return d.value === 0;
    case "uniform":
      return d.max === 0;
    case "lognormal":
      return d.median === 0;
    case "weibull":
      return d.scale === 0;
    case "histogram":
      return d.bins.every((bin) => bin.max === 0);
    case "mixture":
      return d.parts.every((part) => isZero(part.dist));
    default:
      return false;
  }
}
