/** Plots: what they say as text, that any name is safe in them, and what becomes of long series. */
import { Resvg } from "@resvg/resvg-js";
import { describe, expect, it } from "vitest";
import { SweptCycles } from "../../src/report/cycles.ts";
import { unitOf } from "../../src/report/format.ts";
import {
  overlayPlot,
  PANELS,
  type PanelName,
  PlottedCycles,
  type PlottedRun,
  runPlot,
} from "../../src/report/panels.ts";
import { type Plot, svgPlot, xmlText } from "../../src/report/svgplot.ts";
import { axisFor } from "../../src/report/ticks.ts";
import { SimulatedRun, sampleColumns } from "../../src/simulate.ts";
import { scenarioOf } from "../scenarios.ts";

/** A run as its files would have it. */
function played(text: string, label = "a run"): PlottedRun {
  const scenario = scenarioOf(text);
  const columns = sampleColumns(scenario);
  const rows: number[][] = [];
  const cycles = new PlottedCycles(scenario.machine.cpus, () => Infinity);
  const swept = new SweptCycles((row) => cycles.add(row));
  const run = new SimulatedRun(scenario, {
    sink: {
      sample: (row) => rows.push([...row]),
      cycle: (cycle) => swept.cycle(cycle),
      sweepDone: (nowNs) => swept.sweepDone(nowNs),
    },
  });
  run.advance(scenario.duration);
  swept.flush();
  return {
    label,
    summary: run.summary(),
    cycles,
    samples: Object.fromEntries(
      columns.map(({ name }, i) => [name, Float64Array.from(rows, (row) => row[i])]),
    ),
    unit: unitOf,
  };
}

const RUN = `name: shop
duration: 3s
go: { GOMEMLIMIT: 64MiB }
container: { memory: { max: 400MiB, high: 40MiB } }
workload:
  - { kind: service, name: api, arrivals: { rate: 500/s }, cpu: 100us, objects: [{ count: 40, size: 300 }] }
  - { kind: leak, name: l, byte_rate: 4MiB/s, size: 500 }
interventions:
  - { at: 1s, do: gc }
  - { at: 2s, do: set_gc_percent, to: 50 }
`;
const SIZE = { width: 800 };
const all = Object.keys(PANELS) as PanelName[];

/** Throws where a document is not well-formed XML, and returns what is drawn. */
const drawn = (svg: string): { width: number; height: number; pixels: Uint8Array } =>
  new Resvg(svg, { font: { loadSystemFonts: false } }).render();

const paths = (svg: string, color: string): string[] =>
  [...svg.matchAll(new RegExp(`<path fill="none" stroke="${color}"[^>]* d="([^"]*)"`, "g"))].map(
    (match) => match[1],
  );

describe("a run's plot", () => {
  const run = played(RUN);
  const svg = svgPlot(runPlot(run, { panels: all }, SIZE));

  it("has a panel for each theme, with legend, units, bands, bounds and marks", () => {
    for (const text of [
      "Heap",
      "Process and container",
      "Latency",
      "Fragmentation",
      "Goroutines and requests",
    ])
      expect(svg.includes(`>${text}</text>`), text).toBe(true);
    for (const text of [
      "HeapInuse",
      "GC goal",
      "memory.current",
      "p99",
      "GC cycles (fainter: sweeping)",
      "in flight",
    ])
      expect(svg.includes(`>${text}</text>`), text).toBe(true);
    // Far above what is in use: said, and left off the scale.
    for (const text of ["memory.max 400 MiB", "GOMEMLIMIT 64.0 MiB"])
      expect(svg.includes(`>${text}, above</text>`), text).toBe(true);
    expect(svg).toMatch(/>\d+ MiB<\/text>/);
    expect(svg).toMatch(/>\d+ [µm]s<\/text>/);
    expect(svg).toMatch(/>\d+ %<\/text>/);
    expect(svg).toContain("<title>gc (at its time)</title>");
    expect(svg).toContain(">set_gc_percent 50</text>");
  });

  it("tells memory.min and memory.low from memory.current, from each other and from memory.max", () => {
    const guarded = played(
      RUN.replace("high: 40MiB", "low: 30MiB, min: 20MiB").replace(
        "workload:",
        "machine: { memory: 1GiB, neighbours: { anon: 100MiB } }\nworkload:",
      ),
    );
    const [panel] = runPlot(guarded, { panels: ["rss"] }, SIZE).panels;
    const colors = ["memory.current", "memory.min", "memory.low", "memory.max"].map(
      (label) => panel.lines.find((line) => line.label.startsWith(label))?.color,
    );
    expect(colors).not.toContain(undefined);
    expect(new Set(colors).size).toBe(4);
  });

  it("shows sweeping as fainter bands that follow cycles, where it has a pixel", () => {
    const faint = /<path fill="#f3eff8" d="([^"]*)"/;
    const wide = runPlot(run, { panels: ["heap"] }, { width: 20_000, height: 300 });
    const drawnBands = faint.exec(svgPlot(wide))![1].match(/M/g)!;
    const swept = run.cycles.column("sweep_done_seconds");
    const ends = run.cycles.column("end_seconds");
    const pixel = 3 / (20_000 - 66 - 18);
    expect(drawnBands).toHaveLength([...ends].filter((end, i) => swept[i] - end >= pixel).length);
    expect(svgPlot(runPlot(run, { panels: ["heap"] }, { width: 320, height: 300 }))).not.toMatch(faint);
  });

  it("tells who cannot see it what it is about", () => {
    expect(svg).toMatch(/^<svg [^>]*role="img"/);
    expect(svg.split("\n")[1]).toBe("<title>a run</title>");
    expect(svg).toMatch(
      /<desc>a run, 3\.00 s of virtual time\. Heap: HeapInuse up to [\d.]+ MiB, .*<\/desc>/,
    );
  });

  it("is well-formed, of the size asked for, and the same every time", () => {
    const picture = drawn(svgPlot(runPlot(run, { panels: all }, { width: 640, height: 900 })));
    expect([picture.width, picture.height]).toEqual([640, 900]);
    expect(svgPlot(runPlot(played(RUN), { panels: all }, SIZE))).toBe(svg);
  });

  it("draws every value at its place", () => {
    const plot = runPlot(run, { metrics: ["rss_bytes"] }, { width: 800, height: 300 });
    const [path] = paths(svgPlot(plot), plot.panels[0].lines[0].color);
    const points = [...path.matchAll(/[ML]([\d.]+) ([\d.]+)/g)].map((match) => [
      Number(match[1]),
      Number(match[2]),
    ]);
    const rss = run.samples["rss_bytes"];
    const t = run.samples["t_seconds"];
    expect(points).toHaveLength(rss.length);
    // The frame is 800 - 66 - 18 wide; zero is its lower edge, and the highest point gives the scale. A tenth of a pixel is rounding.
    const x = (i: number): number => 66 + (t[i] / 3) * 716;
    for (const i of [0, 10, rss.length - 1]) expect(points[i][0]).toBeCloseTo(x(i), 0);
    const bottom = 300 - 24;
    const peak = rss.indexOf(Math.max(...rss));
    const perByte = (bottom - points[peak][1]) / rss[peak];
    for (const [i, [, y]] of points.entries())
      expect(Math.abs(bottom - rss[i] * perByte - y)).toBeLessThan(0.15);
  });

  it("leaves out panels that have nothing to show", () => {
    const quiet = played(
      "name: q\nduration: 500ms\nworkload:\n  - { kind: stream, name: s, rate: 10/s, size: 8, lifetime: 1s }\n",
    );
    const plot = runPlot(quiet, { panels: all }, SIZE);
    expect(plot.panels.map(({ title }) => title)).toEqual([
      "Heap",
      "Process",
      "Fragmentation",
      "Goroutines and requests",
    ]);
    drawn(svgPlot(plot));
  });
});

describe("an overlay", () => {
  it("draws a line per run and a panel per metric", () => {
    const runs = [50, 200].map((gogc) =>
      played(RUN.replace("GOMEMLIMIT: 64MiB", `GOGC: ${gogc}`), `gogc-${gogc}`),
    );
    const plot = overlayPlot(runs, ["heap_inuse_bytes", "gc_cpu_fraction"], SIZE);
    expect(plot.panels.map(({ unit }) => unit)).toEqual(["bytes", "fraction"]);
    for (const panel of plot.panels)
      expect(panel.lines.map(({ label }) => label)).toEqual(["gogc-50", "gogc-200"]);
    const svg = svgPlot(plot);
    for (const { color } of plot.panels[0].lines) expect(paths(svg, color)).toHaveLength(2);
  });
});

describe("any text", () => {
  const HOSTILE = `</title><script>alert("1")</script>&'\u0000\u0008\ud800 ]]> \u{1f600} <image href="http://x/"/>`;

  it("cannot become markup, nor break the document", () => {
    const line = { label: HOSTILE, color: "#0072b2", x: [0, 1], y: [1, 2], style: "line" } as const;
    const plot: Plot = {
      title: HOSTILE,
      subtitle: HOSTILE,
      description: HOSTILE,
      width: 2000,
      height: 400,
      seconds: 1,
      panels: [{ title: HOSTILE, unit: "count", lines: [line] }],
      bands: [[0.2, 0.4]],
      faintBands: [],
      bandLabel: HOSTILE,
      marks: [{ at: 0.1, label: HOSTILE, detail: HOSTILE, grave: true }],
    };
    const svg = svgPlot(plot);
    expect(svg).not.toMatch(/<script|<image|\]\]>/);
    expect(svg).toContain("&lt;/title&gt;&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&apos;");
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these must not be there.
    expect(svg).not.toMatch(/[\u0000-\u0008]/);
    expect(Buffer.from(svg, "utf8").toString("utf8")).toBe(svg);
    drawn(svg);
  });

  it("keeps what XML allows", () => {
    expect(xmlText("µs 😀 a<b")).toBe("µs 😀 a&lt;b");
    expect(xmlText("a\ud800b\udc00")).toBe("a\ufffdb\ufffd");
  });
});

describe("a long series", () => {
  it("keeps its peaks and gaps in no more points than the picture has room for", () => {
    const n = 200_000;
    const x = Float64Array.from({ length: n }, (_, i) => (i * 100) / n);
    const y = Float64Array.from({ length: n }, (_, i) =>
      i >= 100_000 && i < 120_000 ? Number.NaN : 10 + (i % 7),
    );
    y[33_333] = 100;
    y[166_666] = 0;
    const line = { label: "l", color: "#0072b2", x, y, style: "line" } as const;
    const svg = svgPlot({
      title: "t",
      subtitle: "s",
      description: "d",
      width: 900,
      height: 300,
      seconds: 100,
      panels: [{ title: "p", unit: "count", lines: [line] }],
      bands: [],
      faintBands: [],
      bandLabel: "",
      marks: [],
    });
    const [path] = paths(svg, "#0072b2");
    const heights = [...path.matchAll(/[ML][\d.]+ ([\d.]+)/g)].map((match) => Number(match[1]));
    expect(heights.length).toBeLessThan(4 * 900);
    expect(heights.length).toBeGreaterThan(900);
    const bottom = 300 - 24;
    expect(Math.max(...heights)).toBe(bottom);
    expect(heights.filter((height) => height === Math.min(...heights))).toHaveLength(1);
    // A peak of 100 where the others have 16 at most.
    const rest = heights.filter((height) => height > Math.min(...heights));
    expect((bottom - Math.min(...heights)) / (bottom - Math.min(...rest))).toBeCloseTo(100 / 16, 1);
    expect(path.match(/M/g)).toHaveLength(2);
  });
});

describe("ticks", () => {
  it.each([
    ["bytes", 118 * 2 ** 20, 6, "0 | 20 MiB | 40 MiB | 60 MiB | 80 MiB | 100 MiB | 120 MiB"],
    ["bytes", 1.5 * 2 ** 30, 6, "0 | 0.25 GiB | 0.50 GiB | 0.75 GiB | 1.00 GiB | 1.25 GiB | 1.50 GiB"],
    ["bytes", 900, 5, "0 | 200 B | 400 B | 600 B | 800 B | 1000 B"],
    ["ns", 37e6, 6, "0 | 10 ms | 20 ms | 30 ms | 40 ms"],
    ["fraction", 0.013, 6, "0 | 0.25 % | 0.50 % | 0.75 % | 1.00 % | 1.25 % | 1.50 %"],
    ["percent", 400, 6, "0 | 100 % | 200 % | 300 % | 400 %"],
    ["count", 3, 6, "0 | 1 | 2 | 3"],
    ["CPUs", 0.49, 4, "0 | 0.2 | 0.4 | 0.6"],
    ["count", 25_000, 6, "0 | 5k | 10k | 15k | 20k | 25k"],
  ] as const)("of %s up to %d", (unit, range, count, labels) => {
    const axis = axisFor(unit, range, count);
    expect(axis.labels.join(" | ")).toBe(labels);
    // Its top is its last label, not far above what it holds.
    expect(axis.top).toBe(axis.ticks[axis.labels.length - 1]);
    expect(axis.top).toBeGreaterThanOrEqual(range);
    expect(axis.top - axis.ticks[1]).toBeLessThan(range);
  });

  it.each(["bytes", "ns", "count", "fraction", "CPUs"] as const)(
    "of %s end at a label that holds the range, whatever the range and the room",
    (unit) => {
      for (let range = 1e-3; range < 1e12; range *= 1.37)
        for (let count = 2; count <= 12; count++) {
          const { top, ticks, labels } = axisFor(unit, range, count);
          expect(top).toBeGreaterThanOrEqual(range * (1 - 1e-9));
          expect(top).toBe(ticks[ticks.length - 1]);
          expect(ticks.length).toBeLessThanOrEqual(count + 1);
          expect(new Set(labels).size).toBe(labels.length);
        }
    },
  );

  it.each([
    [20, "0 | 5 s | 10 s | 15 s | 20 s"],
    [90, "0 | 30 s | 60 s | 90 s"],
    [600, "0 | 2 min | 4 min | 6 min | 8 min | 10 min"],
    [86_400, "0 | 6 h | 12 h | 18 h | 24 h"],
    [0.5, "0 | 100 ms | 200 ms | 300 ms | 400 ms | 500 ms"],
  ] as const)("of %d s of time", (range, labels) => {
    const axis = axisFor("seconds", range, 5, true);
    expect(axis.labels.join(" | ")).toBe(labels);
    expect(axis.top).toBe(range);
  });
});
