/**
 * The report page: what making it costs a run, how large it is, and how it feels in a browser.
 *
 *   npm run bench:report                 prints three tables
 *   npm run bench:report -- web-api      only what making it costs, for these scenarios
 *
 * Costs are CPU time of this process (user and system), with the run's own subtracted: simulating with the page's collector
 * and writing the page, against simulating alone. In the browser frames are those of requestAnimationFrame while the
 * view moves in every one of them; "busy" is the main thread's part of a frame.
 */

import { readFileSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { deflate } from "../../src/cli/page.ts";
import { SweptCycles } from "../../src/report/cycles.ts";
import { reportHtml } from "../../src/report/html.ts";
import { ReportCollector } from "../../src/report/runreport.ts";
import { loadScenario } from "../../src/scenario/load.ts";
import { resolvedYaml } from "../../src/scenario/resolved.ts";
import type { Scenario } from "../../src/scenario/schema.ts";
import { sampleColumns, simulate } from "../../src/simulate.ts";
import { bundleOfSources, gather, launch, open, writePage } from "../page/browser.ts";

const COST_SCENARIOS = [
  "web-api",
  "steady-64b",
  "cache-server",
  "spike-drain",
  "leak-to-oom",
  "quota-gomaxprocs-64",
];
const FRAMES = 120;

function scenarioFrom(name: string, set: readonly string[] = []): Scenario {
  const path = fileURLToPath(new URL(`../../scenarios/${name}.yaml`, import.meta.url));
  const loaded = loadScenario(readFileSync(path, "utf8"), name, { set });
  if (!loaded.ok) throw new Error(loaded.errors[0].message);
  return loaded.scenarios[0];
}

function cpuMs(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e3;
}

const line = (...cells: readonly (string | number)[]): void =>
  console.log(
    cells.map((cell, i) => (i === 0 ? String(cell).padEnd(34) : String(cell).padStart(12))).join(" "),
  );

const bundle = bundleOfSources();
const named = process.argv.slice(2);

line("cost of the page", "run, ms", "with it, ms", "added, %", "page, KB");
for (const name of named.length > 0 ? named : COST_SCENARIOS) {
  const scenario = scenarioFrom(name);
  let size = 0;
  const alone = (): void => {
    simulate(scenario, { sink: { sample: () => {} } });
  };
  const withPage = (): void => {
    const collector = new ReportCollector(scenario, sampleColumns(scenario));
    const swept = new SweptCycles((row) => collector.cycle(row));
    const summary = simulate(scenario, {
      sink: {
        sample: (row, view) => collector.sample(row, view),
        cycle: (cycle) => swept.cycle(cycle),
        sweepDone: (nowNs) => swept.sweepDone(nowNs),
        killed: (_nowNs, view) => collector.killed(view),
      },
    });
    swept.flush();
    const heap = collector.heap(deflate);
    size = reportHtml(
      [collector.finish({ ...summary, scenario_yaml: resolvedYaml(scenario) }, heap, deflate)],
      bundle,
    ).length;
  };
  // Once each to warm up; then the best of three, taken in turns.
  alone();
  withPage();
  let [best, bestWith] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let i = 0; i < 3; i++) {
    best = Math.min(best, cpuMs(alone));
    bestWith = Math.min(bestWith, cpuMs(withPage));
  }
  line(
    name,
    best.toFixed(0),
    bestWith.toFixed(0),
    (100 * (bestWith / best - 1)).toFixed(1),
    (size / 1e3).toFixed(0),
  );
}

interface Frames {
  readonly intervals: readonly number[];
  readonly busy: readonly number[];
}

const percentile = (values: readonly number[], share: number): string => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))].toFixed(1);
};

/** Presses a key in every frame; runs in the page. */
const play = (keys: readonly string[], frames: number): string => `new Promise((resolve) => {
  const intervals = [], busy = [], keys = ${JSON.stringify(keys)};
  let i = 0, last = 0;
  const step = (now) => {
    if (last > 0) intervals.push(now - last);
    last = now;
    if (i === ${frames}) return resolve({ intervals, busy });
    document.dispatchEvent(new KeyboardEvent("keydown", { key: keys[i++ % keys.length] }));
    const start = performance.now();
    setTimeout(() => busy.push(performance.now() - start), 0);
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})`;

if (named.length > 0) process.exit();
const browser = await launch();
try {
  console.log();
  line("in the browser (1280 x 900)", "rows", "file, KB", "paint, ms", "ready, ms");
  const pages: [string, string][] = [];
  for (const [name, set] of [
    ["10 minutes", ["duration=10m", "workload.api.arrivals.rate=100/s"]],
    ["100 k rows", ["duration=20s", "sample_interval=200us"]],
  ] as const) {
    const { whole } = gather(scenarioFrom("web-api", set));
    const url = writePage(`bench-${name.replaceAll(" ", "-")}`, [whole], bundle);
    pages.push([name, url]);
    const { page, close } = await open(browser, url);
    const ready = await page.locator("html").getAttribute("data-ready");
    const paint = await page.evaluate<number>(
      `performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN`,
    );
    line(
      name,
      whole.samples.rows,
      (statSync(new URL(url)).size / 1e3).toFixed(0),
      paint.toFixed(0),
      ready ?? "?",
    );
    await close();
  }
  console.log();
  line("frames", "frame p50", "frame p95", "busy p50", "busy p95");
  for (const [name, url] of pages) {
    const { page, close } = await open(browser, url);
    const points = await page.evaluate<number>(
      `JSON.parse(document.querySelector("script.run").textContent).samples.points`,
    );
    for (const [what, keys] of [
      ["zoom in, out", ["+", "+", "-", "-"]],
      ["pan", [...Array(3).fill("ArrowRight"), ...Array(3).fill("ArrowLeft")]],
    ] as const) {
      await page.keyboard.press("0");
      if (what === "pan") await page.keyboard.press("+");
      await page.waitForTimeout(500);
      const { intervals, busy } = await page.evaluate<Frames>(play(keys, FRAMES));
      line(
        `${name} (${points} points), ${what}`,
        percentile(intervals, 0.5),
        percentile(intervals, 0.95),
        percentile(busy, 0.5),
        percentile(busy, 0.95),
      );
    }
    await close();
  }
} finally {
  await browser.close();
}
