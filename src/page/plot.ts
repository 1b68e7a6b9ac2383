/**
 * A chart: uPlot with a legend of buttons, stacked areas, the cycles of the collector as bands behind, and marks.
 *
 * Areas are drawn as opaque totals from the top layer down, each over the one before, which is quicker than clipping bands and
 * allows gaps. While the pointer is over any chart, all legends show the values there; otherwise the highest ones of what is shown.
 */
import uPlot from "uplot";
import { humanBytes, humanCount, humanNs, humanShare } from "../report/format.ts";
import { type Axis, type AxisUnit, axisFor } from "../report/ticks.ts";
import type { Chart, ChartUnit, Series } from "./charts.ts";
import type { Cycle, Mark, Values } from "./data.ts";
import { el } from "./dom.ts";
import { color, faint, onTheme, tint } from "./theme.ts";
import type { Follower, TimeView } from "./view.ts";

const SYNC = "gomemsim";
/** Of a chart's height: the time axis, and room for half a label at the top. */
const X_AXIS_PX = 26;
const TOP_PX = 8;
const FONT = "11px system-ui, sans-serif";
/** Bounds beyond so many times everything else are off the scale. */
const BOUND_REACH = 2;

const LINEAR = uPlot.paths.linear!();
const STEPPED = uPlot.paths.stepped!({ align: 1 });

export function format(value: number | null | undefined, unit: ChartUnit): string {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  switch (unit) {
    case "bytes":
      return humanBytes(value);
    case "bytes/s":
      return `${humanBytes(value)}/s`;
    case "ns":
      return humanNs(value);
    case "share":
      return humanShare(value);
    case "count":
      return humanCount(value);
    case "count/s":
      return `${humanCount(Math.round(value * 10) / 10)}/s`;
    case "CPUs":
      return `${value === 0 ? "0" : value < 0.001 ? value.toExponential(1) : value.toFixed(3)} CPUs`;
  }
}

/** Pixels of a linear axis to a step, about. */
const STEP_PX = 34;

/** A linear axis up to `range`; what is per second says so. */
function axisOf(unit: ChartUnit, range: number, height: number): Axis {
  const [plain, perSecond] = AXES[unit];
  const axis = axisFor(plain, range, Math.max(2, Math.floor(height / STEP_PX)));
  return perSecond
    ? { ...axis, labels: axis.labels.map((label, i) => (i === 0 ? label : `${label}/s`)) }
    : axis;
}

const AXES: Readonly<Record<ChartUnit, readonly [unit: AxisUnit, perSecond: boolean]>> = {
  bytes: ["bytes", false],
  "bytes/s": ["bytes", true],
  ns: ["ns", false],
  share: ["fraction", false],
  count: ["count", false],
  "count/s": ["count", true],
  CPUs: ["CPUs", false],
};

/** Labels of a logarithmic axis: a power of ten in the unit that fits it. */
const decade = (value: number, unit: ChartUnit): string => format(value, unit).replace(/\.0+(?=\D|$)/, "");

const TIME_STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500]
  .flatMap((step) => [step * 1e-6, step * 1e-3])
  .sort((a, b) => a - b)
  .concat([1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400]);

/** `12.5 s` or `3:05`, as exact as the steps between labels need. `last` is the largest of those it stands among. */
export function clock(seconds: number, step: number, last = seconds): string {
  const digits = step >= 1 ? 0 : Math.min(6, Math.ceil(-Math.log10(step) - 1e-9));
  if (last < 120) return `${seconds.toFixed(digits)} s`;
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  const rest = (seconds % 60).toFixed(digits).padStart(digits === 0 ? 2 : digits + 3, "0");
  return hours === 0 ? `${minutes}:${rest}` : `${hours}:${String(minutes).padStart(2, "0")}:${rest}`;
}

/** uPlot knows null as a gap, not NaN. */
function withNulls(values: Values): Values {
  for (let i = 0; i < values.length; i++)
    if (Number.isNaN(values[i])) return Array.from(values, (v) => (Number.isNaN(v) ? null : v));
  return values;
}

/** The first of `items`, in order of time, that ends at `t` or later. */
export function firstFrom<T>(items: readonly T[], t: number, end: (item: T) => number): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (end(items[middle]) < t) low = middle + 1;
    else high = middle;
  }
  return low;
}

export interface Backdrop {
  readonly cycles: readonly Cycle[];
  readonly marks: readonly Mark[];
}

export class Plot implements Follower {
  readonly card: HTMLElement;
  onScreen = true;
  readonly plot: uPlot;
  readonly #chart: Chart;
  readonly #view: TimeView;
  readonly #backdrop: Backdrop;
  readonly #values: readonly Values[];
  readonly #shown: boolean[];
  /** uPlot's series by ours: areas come first, the top one first. */
  readonly #order: readonly number[];
  readonly #legend: readonly { readonly button: HTMLButtonElement; readonly value: HTMLElement }[];
  readonly #frame: HTMLElement;
  /** Ends of bands, uPlot's series after those in #order, two for each; and whose they are. */
  readonly #banded: readonly { readonly of: number; readonly low: Values; readonly high: Values }[];

  constructor(chart: Chart, view: TimeView, backdrop: Backdrop, height: number) {
    this.#chart = chart;
    this.#view = view;
    this.#backdrop = backdrop;
    this.#values = chart.series.map(({ values }) => withNulls(values));
    this.#shown = chart.series.map(({ off }) => off !== true);
    const areas = [...chart.series.keys()].filter((i) => chart.series[i].style === "area");
    const lines = [...chart.series.keys()].filter((i) => chart.series[i].style !== "area");
    this.#order = [...areas.reverse(), ...lines];
    this.#banded = chart.series.flatMap(({ band }, of) =>
      band === undefined ? [] : [{ of, low: withNulls(band.low), high: withNulls(band.high) }],
    );
    this.#legend = chart.series.map((series, i) => this.#legendItem(series, i));
    this.#frame = el("div", {
      class: "plot",
      role: "img",
      "aria-label": `${chart.title}: ${chart.series.map(({ label }) => label).join(", ")}. ${chart.info}`,
    });
    const info = el(
      "details",
      { class: "info" },
      el("summary", { title: "What this shows", "aria-label": `What “${chart.title}” shows` }, "i"),
      el(
        "div",
        {},
        el("p", {}, chart.info),
        el(
          "dl",
          {},
          ...chart.series.flatMap(({ label, source }) => [el("dt", {}, label), el("dd", {}, source)]),
        ),
      ),
    );
    this.card = el(
      "section",
      { class: chart.wide === true ? "card wide" : "card", id: `chart-${chart.id}` },
      el("header", {}, el("h3", {}, chart.title), info),
      el(
        "div",
        { class: "legend", role: "group", "aria-label": `Series of ${chart.title}` },
        ...this.#legend.map(({ button }) => button),
      ),
      this.#frame,
    );
    this.plot = new uPlot(this.#options(height), this.#data(), this.#frame);
    this.#tellRange();
    this.#tellValues(null);
    onTheme(() => {
      this.#paintLegend();
      this.plot.redraw(false);
    });
    this.#paintLegend();
    view.follow(this);
  }

  show(from: number, to: number): void {
    const { min, max } = this.plot.scales["x"];
    if (min === from && max === to) return;
    this.plot.setScale("x", { min: from, max: to });
  }

  resize(): void {
    const width = this.#frame.clientWidth;
    if (width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: this.plot.height });
  }

  /** Values of what is drawn: totals where areas are stacked. */
  #data(): uPlot.AlignedData {
    const { series } = this.#chart;
    const drawn: Values[] = [...this.#values];
    let below: Values | undefined;
    for (let i = 0; i < series.length; i++) {
      if (series[i].style !== "area" || !this.#shown[i]) continue;
      const own = this.#values[i];
      const floor: Values | undefined = below;
      if (floor !== undefined)
        drawn[i] =
          own instanceof Float64Array && floor instanceof Float64Array
            ? own.map((value, at) => value + floor[at])
            : Array.from(own, (value, at) =>
                value === null || floor[at] === null ? null : value + (floor[at] ?? 0),
              );
      below = drawn[i];
    }
    // uPlot reads only; its types ask for arrays.
    return [
      this.#chart.x,
      ...this.#order.map((i) => drawn[i]),
      ...this.#banded.flatMap(({ low, high }) => [low, high]),
    ] as uPlot.AlignedData;
  }

  #options(height: number): uPlot.Options {
    const { series, unit, log } = this.#chart;
    const inside = height - X_AXIS_PX - TOP_PX;
    let linear = axisOf(unit, 1, inside);
    const axis = (): uPlot.Axis => ({
      stroke: () => color("axis"),
      font: FONT,
      grid: { stroke: () => color("grid"), width: 1 },
      ticks: { stroke: () => color("grid"), width: 1, size: 4 },
    });
    return {
      width: 600,
      height,
      padding: [TOP_PX, 22, 0, 0],
      legend: { show: false },
      cursor: {
        drag: { x: true, y: false, setScale: false },
        sync: { key: SYNC, scales: ["x", null], setSeries: false },
        y: false,
        points: { size: 7 },
        bind: {
          dblclick: () => () => {
            this.#view.reset();
            return null;
          },
        },
      },
      scales: {
        x: { time: false, range: () => [this.#view.from, this.#view.to] },
        y:
          log === true
            ? { distr: 3, range: (_u, min, max) => logRange(min, max) }
            : {
                range: (_u, _min, max) => {
                  linear = axisOf(unit, max, inside);
                  return [0, linear.top];
                },
              },
      },
      axes: [
        {
          ...axis(),
          size: X_AXIS_PX,
          gap: 2,
          space: 70,
          incrs: TIME_STEPS,
          values: (_u, splits, _axis, _space, step) =>
            splits.map((value) => clock(value, step, splits[splits.length - 1])),
        },
        {
          ...axis(),
          size: 66,
          gap: 3,
          ...(log === true
            ? { values: (_u, splits) => splits.map((value) => (value === null ? "" : decade(value, unit))) }
            : { splits: () => [...linear.ticks], values: () => [...linear.labels] }),
        },
      ],
      series: [
        {},
        ...this.#order.map((i) => {
          const one = series[i];
          return {
            label: one.label,
            show: this.#shown[i],
            stroke: () => color(one.color),
            width: one.style === "area" ? 0.75 : 1.5,
            ...(one.style === "area" ? { fill: () => tint(one.color) } : {}),
            ...(one.dash === undefined ? {} : { dash: [...one.dash] }),
            paths: one.style === "points" ? () => null : one.style === "step" ? STEPPED : LINEAR,
            points:
              one.style === "points"
                ? { show: true, size: 5, width: 1, fill: () => color(one.color), space: 0 }
                : { show: false },
            auto: one.bound !== true || this.#near(i),
          };
        }),
        ...this.#banded.flatMap(({ of }) => {
          const edge = {
            show: this.#shown[of],
            stroke: () => faint(series[of].color),
            width: 0.5,
            paths: LINEAR,
          };
          return [edge, edge].map((one) => ({ ...one, points: { show: false } }));
        }),
      ],
      bands: this.#banded.map(({ of }, i) => {
        const low = this.#order.length + 1 + 2 * i;
        return { series: [low + 1, low] as uPlot.Band.Bounds, fill: () => faint(series[of].color) };
      }),
      hooks: {
        // Over the areas, which would hide them.
        draw: [(u) => this.#drawBands(u), (u) => this.#drawMarks(u)],
        setScale: [
          (_u, key) => {
            if (key === "x") this.#tellRange();
          },
        ],
        setSelect: [
          (u) => {
            const { left, width } = u.select;
            if (width < 3) return;
            this.#view.set(u.posToVal(left, "x"), u.posToVal(left + width, "x"));
            u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          },
        ],
        setCursor: [(u) => this.#tellValues(u.cursor.idx ?? null)],
      },
    };
  }

  /** Whether a bound is near enough to what it bounds to share its scale. */
  #near(i: number): boolean {
    let highest = 0;
    let bound = 0;
    this.#chart.series.forEach((series, at) => {
      const top = peak(this.#values[at], 0, this.#chart.x.length);
      if (at === i) bound = top;
      else if (series.bound !== true) highest = Math.max(highest, top);
    });
    return bound <= BOUND_REACH * highest;
  }

  #legendItem(series: Series, i: number): { button: HTMLButtonElement; value: HTMLElement } {
    const value = el("span", { class: "value" });
    const button = el(
      "button",
      {
        type: "button",
        "aria-pressed": String(this.#shown[i]),
        title: `${series.source} (click to hide or show)`,
      },
      el("span", { class: `swatch ${series.style}`, "aria-hidden": "true" }),
      el("span", { class: "label" }, series.label),
      value,
    );
    button.addEventListener("click", () => this.#toggle(i));
    return { button, value };
  }

  #paintLegend(): void {
    this.#chart.series.forEach((series, i) => {
      const swatch = this.#legend[i].button.firstElementChild as HTMLElement;
      swatch.style.borderTopColor = color(series.color);
      swatch.style.borderTopStyle =
        series.dash === undefined || series.dash.length === 0 ? "solid" : "dashed";
      if (series.style === "area" || series.style === "points") swatch.style.background = color(series.color);
    });
  }

  #toggle(i: number): void {
    this.#shown[i] = !this.#shown[i];
    this.#legend[i].button.setAttribute("aria-pressed", String(this.#shown[i]));
    this.plot.batch(() => {
      this.plot.setSeries(this.#order.indexOf(i) + 1, { show: this.#shown[i] }, false);
      this.#banded.forEach(({ of }, at) => {
        if (of !== i) return;
        for (const end of [1, 2])
          this.plot.setSeries(this.#order.length + 2 * at + end, { show: this.#shown[i] }, false);
      });
      this.plot.setData(this.#data(), false);
      this.plot.setScale("x", { min: this.#view.from, max: this.#view.to });
    });
  }

  #tellRange(): void {
    this.#frame.dataset["from"] = String(this.#view.from);
    this.#frame.dataset["to"] = String(this.#view.to);
    if (this.#legend.length > 0 && this.plot !== undefined) this.#tellValues(this.plot.cursor.idx ?? null);
  }

  /** Legend texts: at the pointer, or the peaks of what is shown. */
  #tellValues(idx: number | null): void {
    const { x, unit } = this.#chart;
    const at = firstFrom(x as unknown as number[], this.#view.from, (t) => t);
    const end = firstFrom(x as unknown as number[], this.#view.to, (t) => t) + 1;
    this.#values.forEach((values, i) => {
      const band = this.#banded.find(({ of }) => of === i);
      const range =
        idx === null || band === undefined
          ? ""
          : ` (${format(band.low[idx], unit)} – ${format(band.high[idx], unit)})`;
      const text =
        idx === null ? `max ${format(peak(values, at, end), unit)}` : `${format(values[idx], unit)}${range}`;
      const { value } = this.#legend[i];
      if (value.textContent !== text) value.textContent = text;
    });
  }

  #drawBands(u: uPlot): void {
    const { cycles } = this.#backdrop;
    const { from, to } = this.#view;
    const { left, top, width, height } = u.bbox;
    const first = firstFrom(cycles, from, (cycle) => cycle.swept);
    let last = first;
    while (last < cycles.length && cycles[last].start <= to) last++;
    if (last === first) return;
    // Where cycles follow closely, only a rug at the top: bands would be one grey.
    const dense = (last - first) * 5 > width / devicePixelRatio;
    const at = (seconds: number): number =>
      Math.min(left + width, Math.max(left, u.valToPos(seconds, "x", true)));
    const fill = (x0: number, x1: number): void =>
      u.ctx.fillRect(x0, top, Math.max(devicePixelRatio, x1 - x0), dense ? 3 * devicePixelRatio : height);
    u.ctx.save();
    if (!dense) {
      u.ctx.fillStyle = color("sweep");
      for (let i = first; i < last; i++) {
        const { end, swept } = cycles[i];
        // Not where it would be a hair beside the cycle.
        if (end <= to && at(swept) - at(end) > devicePixelRatio) fill(at(end), at(swept));
      }
    }
    u.ctx.fillStyle = color(dense ? "grey" : "band");
    for (let i = first; i < last; i++)
      if (cycles[i].end >= from) fill(at(cycles[i].start), at(cycles[i].end));
    if (!dense) {
      // Its two stops as edges: sweep termination where it begins, mark termination where it ends.
      u.ctx.fillStyle = color("stop");
      for (let i = first; i < last; i++) {
        const { start, end, stw1, stw2 } = cycles[i];
        if (at(end) - at(start) < MIN_EDGED_PX * devicePixelRatio) continue;
        if (start >= from) fill(at(start), at(start + stw1 / 1e9));
        if (end <= to) fill(at(end - stw2 / 1e9), at(end));
      }
    }
    u.ctx.restore();
  }

  #drawMarks(u: uPlot): void {
    const { marks } = this.#backdrop;
    const { from, to } = this.#view;
    const { top, height } = u.bbox;
    u.ctx.save();
    u.ctx.lineWidth = devicePixelRatio;
    for (let i = firstFrom(marks, from, (mark) => mark.t); i < marks.length && marks[i].t <= to; i++) {
      const x = Math.round(u.valToPos(marks[i].t, "x", true)) + 0.5;
      u.ctx.strokeStyle = u.ctx.fillStyle = color(marks[i].bad ? "bad" : "mark");
      u.ctx.setLineDash(marks[i].bad ? [] : [4 * devicePixelRatio, 3 * devicePixelRatio]);
      u.ctx.beginPath();
      u.ctx.moveTo(x, top);
      u.ctx.lineTo(x, top + height);
      u.ctx.stroke();
      const size = 4 * devicePixelRatio;
      u.ctx.beginPath();
      u.ctx.moveTo(x - size, top);
      u.ctx.lineTo(x + size, top);
      u.ctx.lineTo(x, top + 1.5 * size);
      u.ctx.fill();
    }
    u.ctx.restore();
  }
}

/** In a narrower band edges would be all there is. */
const MIN_EDGED_PX = 5;

function logRange(min: number | null, max: number | null): [number, number] {
  if (min === null || max === null || !(max > 0)) return [1e3, 1e6];
  return [10 ** Math.floor(Math.log10(min)), 10 ** Math.ceil(Math.log10(max) + 1e-9)];
}

function peak(values: Values, from: number, to: number): number {
  let highest = Number.NaN;
  for (let i = Math.max(0, from); i < Math.min(to, values.length); i++) {
    const value = values[i];
    if (value !== null && !(value <= highest)) highest = value;
  }
  return highest;
}
