/** What the page says in words and figures: headline, all figures, what happened, and what the run was. */
import { humanValue, unitOf } from "../report/format.ts";
import { headlinesOf, phaseHeadlines } from "../report/headlines.ts";
import type { ComparisonTexts, ReportRun } from "../report/reportdata.ts";
import type { Mark, Run } from "./data.ts";
import { el, fold, groupedTable, table } from "./dom.ts";
import { clock } from "./plot.ts";

type PhaseSummary = ReportRun["phases"][number];

interface Tile {
  readonly label: string;
  readonly value: string;
  readonly note: string;
  readonly bad?: boolean;
}

const figureOf = (run: Run, name: string): number | undefined => run.about.figures[name] ?? undefined;

const shown = (name: string, value: number | undefined): string =>
  value === undefined ? "–" : humanValue(value, unitOf(name));

/** The bound that RSS stands against: what kills before what slows before what the runtime keeps to. */
function boundOf(run: Run): { readonly name: string; readonly bytes: number } | undefined {
  const { memory_max_bytes: max, memory_high_bytes: high, go } = run.about;
  // Where limits change, these are the first ones.
  const when = run.has("memory_max_bytes") ? " at the start" : "";
  if (max !== undefined) return { name: `memory.max${when}`, bytes: max };
  if (high !== undefined) return { name: `memory.high${when}`, bytes: high };
  return typeof go.GOMEMLIMIT === "number" ? { name: "GOMEMLIMIT", bytes: go.GOMEMLIMIT } : undefined;
}

function worstLatency(run: Run): { readonly name: string; readonly ns: number } | undefined {
  let worst: { name: string; ns: number } | undefined;
  for (const [name, value] of Object.entries(run.about.figures)) {
    const service = /^(.+?)_latency_p99_ns$/.exec(name)?.[1];
    if (service === undefined || value === null || /_(first|later)$/.test(service)) continue;
    if (worst === undefined || value > worst.ns) worst = { name: service, ns: value };
  }
  return worst;
}

function tilesOf(run: Run): Tile[] {
  const { about } = run;
  const tiles: Tile[] = [];
  const kills = figureOf(run, "oom_kills") ?? 0;
  const rss = figureOf(run, "rss_peak_bytes");
  const bound = boundOf(run);
  if (kills > 0)
    tiles.push({
      label: "OOM kills",
      value: String(kills),
      note: `first at ${clock(figureOf(run, "first_oom_kill_seconds") ?? 0, 0.1)}`,
      bad: true,
    });
  const missed = about.thresholds.filter(({ passed }) => !passed).length;
  if (about.thresholds.length > 0)
    tiles.push({
      label: "thresholds",
      value: missed === 0 ? "all kept" : `${missed} breached`,
      note: `of ${about.thresholds.length}`,
      bad: missed > 0,
    });
  tiles.push({
    label: "RSS, peak",
    value: shown("_bytes", rss),
    note:
      bound === undefined || rss === undefined
        ? "no limit set"
        : `${humanValue(rss / bound.bytes, "fraction")} of ${bound.name} ${shown("_bytes", bound.bytes)}`,
  });
  tiles.push({
    label: "HeapInuse, peak",
    value: shown("_bytes", figureOf(run, "heap_inuse_peak_bytes")),
    note: `mean ${shown("_bytes", figureOf(run, "heap_inuse_mean_bytes"))}`,
  });
  tiles.push({
    label: "marked live, mean",
    value: shown("_bytes", figureOf(run, "heap_marked_mean_bytes")),
    note: `goal, mean ${shown("_bytes", figureOf(run, "goal_mean_bytes"))}`,
  });
  const cycles = figureOf(run, "gc_count") ?? 0;
  const ran = figureOf(run, "ran_seconds") ?? about.duration_seconds;
  tiles.push({
    label: "GC cycles",
    value: shown("", cycles),
    note: cycles > 0 ? `one every ${shown("_seconds", ran / cycles)}` : "none",
  });
  tiles.push({
    label: "GC CPU",
    value: shown("_fraction", figureOf(run, "gc_cpu_of_usable_fraction")),
    note: `of ${Number(((figureOf(run, "usable_cpu_seconds") ?? 0) / ran).toFixed(2))} usable CPUs; assists ${shown("_seconds", figureOf(run, "assist_cpu_seconds"))}`,
  });
  if (cycles > 0)
    tiles.push({
      label: "longest stop",
      value: shown("_ns", figureOf(run, "longest_stop_ns")),
      note: `pause per cycle, max ${shown("_ns", figureOf(run, "pause_max_ns"))}`,
    });
  const latency = worstLatency(run);
  if (latency !== undefined)
    tiles.push({
      label: "latency p99",
      value: shown("_ns", latency.ns),
      note: `${latency.name}, p50 ${shown("_ns", figureOf(run, `${latency.name}_latency_p50_ns`))}`,
    });
  return tiles;
}

/** Tiles that fit beside each other on a wide screen. */
const MOST_BESIDE = 8;

export function headline(run: Run): HTMLElement {
  const tiles = tilesOf(run);
  // Rows as even as can be: none with a single tile below eight.
  const columns = Math.ceil(tiles.length / Math.ceil(tiles.length / MOST_BESIDE));
  const box = el("div", { class: "tiles" });
  box.style.setProperty("--columns", String(columns));
  box.append(
    ...tiles.map(({ label, value, note, bad }) =>
      el(
        "div",
        { class: bad === true ? "tile bad" : "tile" },
        el("span", { class: "label" }, label),
        el("b", {}, value),
        el("span", { class: "note" }, note),
      ),
    ),
  );
  return box;
}

/** Every figure of the runs, beside each other. */
export function figuresTable(runs: readonly Run[]): HTMLElement {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.about.figures)))];
  return table(
    runs.length === 1 ? "All figures of the run, as in summary.json" : "All figures of the runs",
    ["figure", ...runs.map((run) => run.label)],
    names.map((name) => [name, ...runs.map((run) => shown(name, figureOf(run, name)))]),
  );
}

/** The headline figures of the runs beside each other, as `gomemsim compare` has them. */
export function comparisonTable(runs: readonly Run[]): HTMLElement {
  const names = runs.flatMap((run) => Object.keys(run.about.figures));
  const rows = headlinesOf(names).flatMap((group) =>
    group.rows.filter(({ figure, ifDifferent }) => {
      const values = runs.map((run) => figureOf(run, figure));
      return ifDifferent ? values.some((x) => x !== values[0]) : values.some((x) => x !== undefined);
    }),
  );
  return table(
    "Headline figures",
    ["figure", ...runs.map((run) => run.label)],
    rows.map(({ label, figure }) => [
      label.trim(),
      ...runs.map((run) => shown(figure, figureOf(run, figure))),
    ]),
  );
}

/** The comparison of the runs as `gomemsim compare` prints it. */
export function comparisonOf({ heads, groups, notes }: ComparisonTexts): HTMLElement[] {
  return [
    el("div", { class: "scroll" }, groupedTable("The runs compared", heads, groups)),
    ...notes.map((note) => el("p", { class: "note" }, note)),
  ];
}

/** What happened from phase to phase, each stretch under a button that shows it; nothing without phases. */
export function phasesCard(run: Run, show: (from: number, to: number) => void): HTMLElement[] {
  const { phases } = run.about;
  if (phases.length === 0) return [];
  const head = ({ name, from_seconds: from, to_seconds: to }: PhaseSummary): HTMLElement => {
    if (from === undefined || to === undefined) return el("span", {}, name, el("small", {}, "never began"));
    const button = el("button", { type: "button", title: "Show this stretch" }, name);
    button.addEventListener("click", () => show(from, to));
    return el("span", {}, button, el("small", {}, `${clock(from, 0.1, to)} – ${clock(to, 0.1)}`));
  };
  const rows = phaseHeadlines(phases.flatMap(({ figures }) => Object.keys(figures)));
  return [
    el(
      "section",
      { class: "card wide phases" },
      el("h3", {}, "From phase to phase"),
      el(
        "div",
        { class: "scroll" },
        table(
          "Each until the next begins",
          ["", ...phases.map(head)],
          rows.map(({ label, figure }) => [
            label,
            ...phases.map(({ figures }) => shown(figure, figures[figure])),
          ]),
        ),
      ),
    ),
  ];
}

/** What came of the thresholds; nothing where there are none. */
export function thresholdsTable(run: Run): HTMLElement[] {
  const { thresholds } = run.about;
  if (thresholds.length === 0) return [];
  return [
    el("h4", {}, "Thresholds"),
    el(
      "div",
      { class: "scroll" },
      table(
        "As the scenario has them",
        ["", "metric", "threshold", "value"],
        thresholds.map(({ metric, expression, unit, value, passed, reason }) => [
          passed ? "✓ kept" : "✗ breached",
          metric,
          expression,
          value === null ? (reason ?? "–") : humanValue(value, unit),
        ]),
      ),
    ),
  ];
}

/** What happened, each with a button that shows the time around it. */
export function marksList(marks: readonly Mark[], go: (t: number) => void): HTMLElement {
  if (marks.length === 0)
    return el(
      "p",
      { class: "note" },
      "Nothing but the workload: no phases, interventions, policies or kills.",
    );
  return el(
    "ol",
    { class: "marks scroll" },
    ...marks.map((mark) => {
      const button = el("button", { type: "button", title: "Show the time around it" }, clock(mark.t, 0.001));
      button.addEventListener("click", () => go(mark.t));
      return el(
        "li",
        { class: mark.bad ? "bad" : "" },
        button,
        el("b", {}, mark.what),
        " ",
        el("span", {}, mark.why),
      );
    }),
  );
}

/** What the figures do not tell of: the short of the README's list. */
const NOT_MODELLED = [
  "Write-barrier cost, finalizers, cleanups, weak pointers and cgo; the compiler’s stack allocation (a scenario says what reaches the heap).",
  "Lock contention and channels, bandwidth and capacity of NUMA nodes, file-backed memory beyond the program’s own, swap; of the machine’s memory other zones, watermark boost and the kubelet’s evictions.",
  "Huge pages outside the heap’s arenas; brk. Of containers: limits of parent groups, the multi-generation LRU, dirty pages, cpu.max.burst.",
  "An object that becomes unreachable during a mark survives it (exact for references held in the heap, pessimistic for those on a stack not scanned yet).",
  "The model is of linux/amd64. Sizes follow from Go’s source; what takes time is measured on one machine (the profile): trust sizes, take GC CPU, assists and pauses within a factor of two.",
] as const;

const copyable = (label: string, text: string): HTMLElement =>
  el("pre", { tabindex: "0", role: "region", "aria-label": label }, text);

export function provenance(run: Run): HTMLElement[] {
  const { about } = run;
  const rows: [string, string][] = [
    ["gomemsim", about.versions.gomemsim],
    ["model", about.versions.model],
    ["Go modelled", about.go.version],
    ["seed", String(about.seed)],
    ["machine profile", `${about.profile.name} (measured on ${about.profile.cpu})`],
    ["samples", samplesText(run)],
    [
      "cycles",
      run.about.cycles.points < run.about.cycles.rows
        ? `${run.about.cycles.points} points of ${run.about.cycles.rows} cycles`
        : String(run.about.cycles.rows),
    ],
  ];
  return [
    el(
      "dl",
      { class: "facts" },
      ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
    ),
    fold("Resolved scenario (YAML)", false, copyable("Resolved scenario", about.scenario_yaml)),
    fold("Machine profile (JSON)", false, copyable("Machine profile", about.profile_json)),
  ];
}

/** What of the series is in the page. */
export function samplesText(run: Run): string {
  const { rows, points, rows_per_bucket } = run.about.samples;
  return points === rows
    ? `${rows}, all of them in this page`
    : `${rows}, of which this page has ${points} points: of every ${rows_per_bucket} samples the smallest and the largest value of each series; stacked ones of the samples with the least and most HeapAlloc. All are in timeseries.csv`;
}

export const notModelled = (): HTMLElement =>
  fold("What is not modelled", false, el("ul", {}, ...NOT_MODELLED.map((text) => el("li", {}, text))));
