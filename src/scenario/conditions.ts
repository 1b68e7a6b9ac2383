/**
 * What `when` may say: columns of the time series beyond thresholds, one or several that must hold together.
 *
 * A metric is called as its column is, in `timeseries.csv` and in `thresholds`, and its threshold is spelled in its unit. Left out are
 * the columns that are of the time between two samples (latencies: a condition on them would depend on how often somebody
 * looks), and the clock, which is `at`. One metric is no column: the collector's share of the CPU in the last second.
 *
 * This is the one part of the file format that speaks of what a run gives out, and so knows the list of its columns.
 */
import { columnsOfAnyScenario } from "../samples.ts";
import { unitOf } from "../sim/units.ts";
import { readInUnit } from "./bounds.ts";
import { isMapping, nearest, type Report, shown, spelled, suggest, tick } from "./faults.ts";
import { readDurationNs } from "./units.ts";

export interface Condition {
  readonly metric: string;
  /** Exactly one of the two is there, in the metric's base unit. */
  readonly above?: number | undefined;
  readonly below?: number | undefined;
  /** How long it must have been true without a break, in ns. */
  readonly for: number;
}

/** All of them must hold at once; at least one. */
export type When = readonly Condition[];

/** The collector's share of the CPU time that the process used in the last second. */
export const RECENT_GC_CPU = "gc_cpu_last_second_fraction";

const NODE = /^numa_node\d+_bytes$/;
const columns = columnsOfAnyScenario.filter((name) => name !== "t_seconds" && !name.startsWith("latency_"));
/** What can be looked at in some scenario, but for a NUMA node's own column. */
const METRICS: readonly string[] = [...columns, RECENT_GC_CPU];

const KEYS = ["metric", "above", "below", "for"] as const;
/** Unknown keys told of one condition. */
const MAX_KEYS = 100;
const MAX_CONDITIONS = 10;
const BOUND = ["number", "string"];

function readMetric(value: unknown, report: Report): string | undefined {
  if (typeof value === "string" && (METRICS.includes(value) || NODE.test(value))) return value;
  if (value === undefined) report("`metric` is missing", "a column of timeseries.csv", ["metric"]);
  else if (typeof value === "string" && value.startsWith("latency_"))
    report(
      `${tick(value.slice(0, 80))} is of the time between two samples, and a condition does not depend on those`,
      "a queue shows in `requests_in_flight`",
      ["metric"],
    );
  else {
    const near = typeof value === "string" ? nearestMetric(value) : undefined;
    report(
      `there is no metric ${typeof value === "string" ? tick(value.slice(0, 80)) : shown(value)}`,
      near === undefined
        ? `metrics are the columns of timeseries.csv, such as \`rss_bytes\`, and ${tick(RECENT_GC_CPU)}`
        : `did you mean ${tick(near)}?`,
      ["metric"],
    );
  }
  return undefined;
}

/** `rss` is short for `rss_bytes`, not a misspelling of `frees`. */
const nearestMetric = (word: string): string | undefined =>
  METRICS.find((name) => name.startsWith(`${word}_`)) ?? nearest(word, METRICS);

/** A threshold in the metric's unit; nothing is told of its value where the metric is unknown. */
function readThresholdOf(metric: string | undefined, value: unknown, report: Report): number | undefined {
  if (value === undefined || metric === undefined) return undefined;
  const unit = unitOf(metric);
  const bound = readInUnit(value, unit, report);
  if (bound === undefined) return undefined;
  if (bound < 0) report(`${shown(value)} is negative: no such figure is below 0`);
  else if (unit === "fraction" && bound > 1) report(`is a share: at most 1, got ${shown(value)}`);
  else return bound;
  return undefined;
}

function readCondition(value: unknown, report: Report): Condition | undefined {
  if (!isMapping(value)) {
    report(`expected a condition such as {metric: rss_bytes, above: 400MiB}, got ${shown(value)}`);
    return undefined;
  }
  const below =
    (key: string): Report =>
    (message, hint, path = []) =>
      report(message, hint, [key, ...path]);
  for (const key of Object.keys(value).slice(0, MAX_KEYS))
    if (!KEYS.some((known) => known === key))
      report(`unknown key ${tick(key.slice(0, 80))}`, suggest(key, KEYS, "the keys here are"), [key]);
  const metric = readMetric(value["metric"], report);
  if ((value["above"] === undefined) === (value["below"] === undefined))
    report("give exactly one of `above` and `below`", undefined, ["above"]);
  const above = readThresholdOf(metric, value["above"], below("above"));
  const under = readThresholdOf(metric, value["below"], below("below"));
  const held = readDurationNs(value["for"] ?? 0, below("for"));
  if (metric === undefined || held === undefined) return undefined;
  if (above !== undefined) return { metric, above, for: held };
  return under === undefined ? undefined : { metric, below: under, for: held };
}

const CONDITION_JSON = {
  type: "object",
  properties: {
    metric: {
      description: `A column of timeseries.csv, or ${tick(RECENT_GC_CPU)}: the collector's share of the CPU time used in the last second. Columns that count do so from the start of the process or container.`,
      anyOf: [{ enum: METRICS }, { type: "string", pattern: NODE.source }],
    },
    above: { description: "True while the figure is above this; in the metric's unit.", type: BOUND },
    below: { description: "True while the figure is below this; in the metric's unit.", type: BOUND },
    for: {
      description: "How long it must have been true without a break.",
      $ref: "#/$defs/Duration",
      default: "0s",
    },
  },
  required: ["metric"],
  additionalProperties: false,
};

/** A condition, or a list of them. */
export const when = spelled<When>(
  {
    id: "When",
    description:
      "A figure beyond a threshold, or a list of such that must all hold. Looked at every 100 ms; a figure without a value is beyond nothing.",
    anyOf: [CONDITION_JSON, { type: "array", items: CONDITION_JSON, minItems: 1, maxItems: MAX_CONDITIONS }],
    examples: [
      { metric: "rss_bytes", above: "400MiB", for: "2s" },
      [
        { metric: "memory_events_high", above: 0 },
        { metric: "heap_inuse_bytes", above: "380MiB", for: "30s" },
      ],
    ],
  },
  (value, report) => {
    if (!Array.isArray(value)) {
      const one = readCondition(value, report);
      return one === undefined ? undefined : [one];
    }
    if (value.length === 0 || value.length > MAX_CONDITIONS) {
      report(`expected 1 to ${MAX_CONDITIONS} conditions, got ${value.length}`);
      return undefined;
    }
    const all = value.map((item: unknown, i) =>
      readCondition(item, (message, hint, path = []) => report(message, hint, [i, ...path])),
    );
    const read = all.filter((condition) => condition !== undefined);
    return read.length === all.length ? read : undefined;
  },
);
