/** The report page: one run with all its charts, or several laid over each other. Everything it shows is in the file. */
import { limitWords } from "../report/headlines.ts";
import type { ComparisonTexts, ReportRun } from "../report/reportdata.ts";
import { type Chart, overlayCharts, runCharts } from "./charts.ts";
import { loadRun, type Run } from "./data.ts";
import { el, fold } from "./dom.ts";
import {
  comparisonOf,
  comparisonTable,
  figuresTable,
  headline,
  marksList,
  notModelled,
  phasesCard,
  provenance,
  samplesText,
  thresholdsTable,
} from "./facts.ts";
import { HeapMapView } from "./heapmap.ts";
import { type Backdrop, clock, firstFrom, Plot } from "./plot.ts";
import { startTheme, toggleTheme } from "./theme.ts";
import { TimeView } from "./view.ts";

const KEYS: readonly (readonly [string, string])[] = [
  ["← →", "earlier, later"],
  ["+ −  or  ↑ ↓", "zoom in, out"],
  ["0", "the whole run"],
  [", .", "read the values of the sample before, after"],
  ["[ ]", "previous, next mark"],
  ["t", "dark or light"],
  ["?", "this help"],
  ["drag in a chart", "zoom to that stretch; double click for the whole run"],
  ["Ctrl + wheel in a chart", "zoom at the pointer"],
  ["click in a legend", "hide or show a series; Tab and Enter do, too"],
  ["arrow keys in the heap map", "go through its cells"],
];

function helpDialog(): HTMLDialogElement {
  const close = el("button", { type: "button" }, "Close");
  const dialog = el(
    "dialog",
    { "aria-label": "Keys" },
    el("h2", {}, "Keys"),
    el("dl", { class: "keys" }, ...KEYS.flatMap(([key, what]) => [el("dt", {}, key), el("dd", {}, what)])),
    close,
  );
  close.addEventListener("click", () => dialog.close());
  return dialog;
}

class Page {
  readonly #runs: readonly Run[];
  readonly #view: TimeView;
  readonly #plots: Plot[] = [];
  readonly #help = helpDialog();
  readonly #readout = el("output", { class: "readout", "aria-live": "off" });
  readonly #range = el("output", { class: "range" });
  readonly #thumb = el("div", { class: "thumb" });
  readonly #map: HeapMapView | undefined;
  /** Lines of runs, rather than all of one. */
  readonly #overlaid: boolean;

  readonly #comparison: ComparisonTexts | undefined;

  constructor(runs: readonly Run[], comparison: ComparisonTexts | undefined) {
    this.#runs = runs;
    this.#comparison = comparison;
    this.#overlaid = runs.length > 1 || runs[0].about.seeds !== undefined;
    this.#view = new TimeView(Math.max(...runs.map((run) => run.seconds)));
    const [only] = runs;
    if (!this.#overlaid && only.maps.length > 0) this.#map = new HeapMapView(only.maps);
  }

  build(root: HTMLElement): void {
    const single = !this.#overlaid;
    const run = this.#runs[0];
    const charts = single ? runCharts(run) : overlayCharts(this.#runs);
    const backdrop: Backdrop = single ? { cycles: run.cycles, marks: run.marks } : { cycles: [], marks: [] };
    document.title = `${single ? run.label : this.#runs.map(({ label }) => label).join(" · ")} – gomemsim`;
    const grid = el("div", { class: "grid" });
    root.append(
      this.#title(),
      single ? headline(run) : this.#compared(),
      this.#toolbar(),
      ...(single ? [this.#key()] : []),
      grid,
    );
    for (const chart of charts) this.#addPlot(chart, backdrop, grid);
    // Behind the first chart, which shows where phases begin.
    if (single) grid.firstElementChild?.after(...phasesCard(run, (from, to) => this.#view.set(from, to)));
    if (this.#map !== undefined) grid.append(this.#map.element);
    root.append(...(single ? this.#about(run) : this.#aboutAll()), this.#help);
    this.#watch();
    void this.#map?.choose(run.maps.length - 1);
    this.#tellRange();
  }

  #compared(): HTMLElement {
    return this.#comparison === undefined
      ? el("div", { class: "card scroll" }, comparisonTable(this.#runs))
      : el("div", { class: "card" }, ...comparisonOf(this.#comparison));
  }

  #title(): HTMLElement {
    const single = !this.#overlaid;
    const { about, label } = this.#runs[0];
    const { go } = about;
    const theme = el(
      "button",
      { type: "button", title: "Dark or light (t)", "aria-label": "Dark or light" },
      "◐",
    );
    theme.addEventListener("click", toggleTheme);
    const help = el("button", { type: "button", title: "Keys (?)", "aria-label": "Keys" }, "?");
    help.addEventListener("click", () => this.#help.showModal());
    const limit = go.GOMEMLIMIT === "off" ? "" : ` · GOMEMLIMIT=${bytesText(go.GOMEMLIMIT)}`;
    const facts = `${clock(about.duration_seconds, 1)} of virtual time · Go ${go.version} · GOGC=${go.GOGC}${limit} · GOMAXPROCS=${go.GOMAXPROCS} · ${[`${about.cpus} CPUs`, ...limitWords(about)].join(" · ")} · seed ${about.seed}`;
    return el(
      "header",
      { class: "title" },
      el(
        "div",
        {},
        el("h1", {}, single ? label : `${runsText(this.#runs)}: ${about.name}`),
        el("p", { class: "note" }, single ? facts : this.#runs.map((run) => run.label).join(" · ")),
        ...(single && about.description !== "" ? [el("p", { class: "description" }, about.description)] : []),
      ),
      el("div", { class: "buttons" }, theme, help),
    );
  }

  #toolbar(): HTMLElement {
    const button = (text: string, title: string, act: () => void): HTMLButtonElement => {
      const made = el("button", { type: "button", title, "aria-label": title }, text);
      made.addEventListener("click", act);
      return made;
    };
    const view = this.#view;
    return el(
      "nav",
      { class: "toolbar", "aria-label": "Time" },
      button("◀", "Earlier (←)", () => view.pan(-0.25)),
      button("▶", "Later (→)", () => view.pan(0.25)),
      button("+", "Zoom in (+)", () => view.zoom(0.5)),
      button("−", "Zoom out (-)", () => view.zoom(2)),
      button("all", "The whole run (0)", () => view.reset()),
      this.#range,
      this.#readout,
      el("div", { class: "track", "aria-hidden": "true" }, this.#thumb),
    );
  }

  /** What stands behind the lines. */
  #key(): HTMLElement {
    return el(
      "p",
      { class: "note backdrop" },
      el("span", { class: "chip band" }),
      " GC cycle, from sweep termination to mark termination, its stops as edges (a rug where cycles follow closely) ",
      el("span", { class: "chip sweep" }),
      " sweeping after it ",
      el("span", { class: "chip mark" }),
      " phase, intervention, policy ",
      el("span", { class: "chip bad" }),
      " OOM kill, restart. Drag to zoom, ? for keys.",
    );
  }

  #addPlot(chart: Chart, backdrop: Backdrop, grid: HTMLElement): void {
    const plot = new Plot(chart, this.#view, backdrop, chart.wide === true ? 300 : 190);
    this.#plots.push(plot);
    grid.append(plot.card);
    plot.plot.over.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey) return;
        event.preventDefault();
        this.#view.zoom(event.deltaY > 0 ? 1.25 : 0.8, plot.plot.posToVal(event.offsetX, "x"));
      },
      { passive: false },
    );
    plot.plot.hooks.setCursor?.push((u) => {
      // Only the chart under the pointer speaks; the others follow it.
      if (u.cursor.event !== undefined && u.cursor.event !== null) this.#tellMoment(u.cursor.left ?? -1, u);
    });
  }

  #about(run: Run): HTMLElement[] {
    return [
      el(
        "div",
        { class: "grid" },
        el(
          "section",
          { class: "card" },
          el("h3", {}, `What happened (${run.marks.length})`),
          marksList(run.marks, (t) => this.#showMark(t)),
          ...thresholdsTable(run),
        ),
        el(
          "section",
          { class: "card" },
          el("h3", {}, "This run"),
          ...provenance(run),
          notModelled(),
          fold("All figures", false, el("div", { class: "scroll" }, figuresTable([run]))),
        ),
      ),
    ];
  }

  #aboutAll(): HTMLElement[] {
    return [
      el(
        "div",
        { class: "grid" },
        ...this.#runs.map((run) =>
          el(
            "section",
            { class: "card" },
            el("h3", {}, run.label),
            ...(run.about.seeds === undefined
              ? []
              : [
                  el(
                    "p",
                    { class: "note" },
                    `Of ${run.about.seeds} seeds; what follows is of seed ${run.about.seed}.`,
                  ),
                ]),
            marksList(run.marks, (t) => this.#showMark(t)),
            ...provenance(run),
          ),
        ),
        el(
          "section",
          { class: "card" },
          el("h3", {}, "All runs"),
          el("p", { class: "note" }, `Samples of ${this.#runs[0].label}: ${samplesText(this.#runs[0])}.`),
          notModelled(),
          fold("All figures", false, el("div", { class: "scroll" }, figuresTable(this.#runs))),
        ),
      ),
    ];
  }

  #showMark(t: number): void {
    const width = Math.min(this.#view.to - this.#view.from, this.#view.end / 10);
    this.#view.set(t - width / 2, t + width / 2);
    document.querySelector(".toolbar")?.scrollIntoView({ block: "start" });
  }

  /** Goes to the mark before or after the middle of what is shown. */
  #stepMark(direction: 1 | -1): void {
    const { marks } = this.#runs[0];
    const middle = (this.#view.from + this.#view.to) / 2;
    const room = this.#view.end * 1e-6;
    const found =
      direction === 1
        ? marks.find(({ t }) => t > middle + room)
        : marks.findLast(({ t }) => t < middle - room);
    if (found !== undefined) this.#showMark(found.t);
  }

  #tellRange(): void {
    const { from, to, end } = this.#view;
    const step = (to - from) / 100;
    this.#range.textContent = `${clock(from, step)} – ${clock(to, step)}`;
    this.#thumb.style.left = `${(100 * from) / end}%`;
    this.#thumb.style.width = `${Math.max(0.5, (100 * (to - from)) / end)}%`;
  }

  /** The time under the pointer, the cycle it lies in and the mark it is near. */
  #tellMoment(left: number, u: { posToVal(at: number, key: string): number; readonly width: number }): void {
    if (left < 0) {
      this.#readout.textContent = "";
      return;
    }
    const t = u.posToVal(left, "x");
    const { from, to } = this.#view;
    const parts = [clock(t, (to - from) / 1000)];
    if (!this.#overlaid) {
      const { cycles, marks, about } = this.#runs[0];
      const cycle = cycles[firstFrom(cycles, t, ({ end }) => end)];
      if (cycle !== undefined && cycle.start <= t) parts.push(`in a GC cycle (${cycle.reason})`);
      else if ((cycles[firstFrom(cycles, t, ({ swept }) => swept)]?.end ?? t) < t) parts.push("sweeping");
      const reach = ((to - from) * 5) / Math.max(1, u.width);
      const mark = marks.find((one) => Math.abs(one.t - t) <= reach);
      if (mark !== undefined) parts.push(`${mark.what}: ${mark.why}`);
      if (about.samples.points < about.samples.rows) parts.push("(decimated)");
    }
    this.#readout.textContent = parts.join(" · ");
  }

  /** Moves the cursor of all charts by a sample, for those who have no pointer. */
  #stepCursor(by: 1 | -1): void {
    const first = this.#plots.find(({ onScreen }) => onScreen) ?? this.#plots[0];
    const { plot } = first;
    const x = plot.data[0];
    const at = plot.cursor.idx ?? plot.valToIdx(this.#view.from);
    const next = Math.max(0, Math.min(x.length - 1, at + by));
    const left = plot.valToPos(x[next], "x");
    for (const { plot: other } of this.#plots)
      other.setCursor({ left: other.valToPos(x[next], "x"), top: 10 }, true);
    this.#readout.setAttribute("aria-live", "polite");
    this.#tellMoment(left, plot);
  }

  #watch(): void {
    this.#view.listen(() => this.#tellRange());
    const byCard = new Map(this.#plots.map((plot) => [plot.card as Element, plot]));
    const seen = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        const plot = byCard.get(target)!;
        plot.onScreen = isIntersecting;
        if (isIntersecting) plot.show(this.#view.from, this.#view.to);
      }
    });
    const sized = new ResizeObserver(() => {
      for (const plot of this.#plots) plot.resize();
      this.#map?.resize();
    });
    for (const { card } of this.#plots) seen.observe(card);
    sized.observe(document.querySelector(".grid")!);
    document.addEventListener("keydown", (event) => this.#key_(event));
  }

  #key_(event: KeyboardEvent): void {
    const { target, key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || this.#help.open) return;
    if (target instanceof HTMLInputElement) return;
    const view = this.#view;
    const acts: Readonly<Record<string, () => void>> = {
      ArrowLeft: () => view.pan(-0.25),
      ArrowRight: () => view.pan(0.25),
      ArrowUp: () => view.zoom(0.5),
      ArrowDown: () => view.zoom(2),
      "+": () => view.zoom(0.5),
      "=": () => view.zoom(0.5),
      "-": () => view.zoom(2),
      "0": () => view.reset(),
      ",": () => this.#stepCursor(-1),
      ".": () => this.#stepCursor(1),
      "[": () => this.#stepMark(-1),
      "]": () => this.#stepMark(1),
      t: toggleTheme,
      "?": () => this.#help.showModal(),
    };
    // Scrolling panes keep their arrow keys.
    if (key.startsWith("Arrow") && target instanceof Element && target.closest("pre, .scroll") !== null)
      return;
    const act = acts[key];
    if (act === undefined) return;
    event.preventDefault();
    act();
  }
}

const bytesText = (bytes: number | string): string =>
  typeof bytes === "number" ? `${Math.round((bytes / 2 ** 20) * 100) / 100}MiB` : bytes;

function runsText(runs: readonly Run[]): string {
  const all = runs.reduce((sum, { about: { seeds = 1 } }) => sum + seeds, 0);
  return runs.length === 1 || all === runs.length ? `${all} runs` : `${all} runs in ${runs.length} lines`;
}

/** Runs of one scenario go by their variants, others by their whole names. */
function labels(runs: readonly ReportRun[]): string[] {
  const whole = runs.map(
    ({ label, name, variant }) => label ?? (variant === "base" ? name : `${name}/${variant}`),
  );
  const short =
    runs.length > 1 && runs.every(({ label, name }) => label === undefined && name === runs[0].name)
      ? runs.map(({ variant }) => variant)
      : whole;
  // Runs of several seeds are told apart by these.
  const seeded = short.map((label, i) =>
    short.filter((other) => other === label).length > 1 ? `${label}, seed ${runs[i].seed}` : label,
  );
  return seeded.map((label, i) => {
    const before = seeded.slice(0, i).filter((other) => other === label).length;
    return before === 0 ? label : `${label} (${before + 1})`;
  });
}

async function start(): Promise<void> {
  const root = document.getElementById("report")!;
  startTheme();
  try {
    const about = [...document.querySelectorAll("script.run")].map(
      (script) => JSON.parse(script.textContent ?? "") as ReportRun,
    );
    const names = labels(about);
    const runs = await Promise.all(about.map((run, i) => loadRun(run, names[i])));
    const comparison = document.querySelector("script.comparison")?.textContent ?? undefined;
    new Page(runs, comparison === undefined ? undefined : JSON.parse(comparison)).build(root);
    // Milliseconds since the page was opened.
    document.documentElement.dataset["ready"] = performance.now().toFixed(0);
  } catch (error) {
    root.append(el("p", { class: "failure" }, `This report cannot be shown: ${String(error)}`));
    throw error;
  }
}

void start();
