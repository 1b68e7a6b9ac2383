/**
 * Go benchmark lines (golang.org/design/14313-benchmark-format), so that benchstat and its like read runs:
 *
 *     BenchmarkWebApi 1 122683392 rss-peak-bytes 0.148316213 gc-cpu-sec ...
 *
 * A line per run, as the Go project's sweet writes its own (peak-RSS-bytes, p99-latency-ns): the benchmark is the scenario, so that
 * files of several scenarios go together, and every figure is a unit of its own. benchstat takes a unit's kind from its parts: `bytes`
 * get binary prefixes. Times are in `sec`, which is what it makes of `ns` itself, except where the value is 0. The number of iterations is
 * 1: the run itself.
 */

import { splitFigure } from "../phases.ts";
import { unitOf } from "../sim/units.ts";

/** `web-api` as a benchmark's name. Without a dash: `-64` at its end would be read as GOMAXPROCS. */
const benchmarkName = (scenario: string): string =>
  `Benchmark${scenario
    .split(/[-_]/)
    .map((word) => word.slice(0, 1).toUpperCase() + word.slice(1))
    .join("")}`;

/** Parts of a unit that benchstat acts on, where they are a workload's name and mean nothing of the kind. */
const SPECIAL = /^(?:ns|MB|B|bytes)$/;

function benchmarkUnit(figure: string): string {
  const parts = figure
    .replaceAll("_", "-")
    .replace(/-(?:ns|seconds)$/, "-sec")
    .split("-");
  return parts.map((part, i) => (SPECIAL.test(part) && i < parts.length - 1 ? `${part}_` : part)).join("-");
}

/**
 * One run's line, and one for each stretch between phases, `BenchmarkWebApi/phase=doubled`; line feeds included. Figures without a
 * value are left out.
 */
export function benchmarkLine(scenario: string, figures: Readonly<Record<string, number>>): string {
  const byPhase = new Map<string | undefined, string>([[undefined, ""]]);
  for (const [name, value] of Object.entries(figures)) {
    if (!Number.isFinite(value)) continue;
    const { figure, phase } = splitFigure(name);
    const text = ` ${unitOf(figure) === "ns" ? value / 1e9 : value} ${benchmarkUnit(figure)}`;
    byPhase.set(phase, (byPhase.get(phase) ?? "") + text);
  }
  return [...byPhase]
    .map(([phase, values]) => `${benchmarkName(scenario)}${phaseName(phase)} 1${values}\n`)
    .join("");
}

/** A part of a benchmark's name has neither spaces nor slashes; a dash before a number at its end would be GOMAXPROCS. */
const phaseName = (phase: string | undefined): string =>
  phase === undefined ? "" : `/phase=${phase.replace(/[^\p{L}\p{N}.]+/gu, "_")}`;
