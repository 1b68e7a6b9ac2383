/**
 * Headless Chromium for the page's tests: found on the PATH, or the tests are skipped, with the reason in their name. Pages are made
 * of the sources as they are now (bundled here), not of what `npm run build` left.
 */

import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { buildSync } from "esbuild";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { deflate } from "../../src/cli/page.ts";
import { hashesOf } from "../../src/cli/pagehashes.ts";
import { SweptCycles } from "../../src/report/cycles.ts";
import { type PageBundle, reportHtml } from "../../src/report/html.ts";
import type { OverlayPart } from "../../src/report/overlay.ts";
import type { ComparisonTexts, ReportRun } from "../../src/report/reportdata.ts";
import { ReportCollector } from "../../src/report/runreport.ts";
import { resolvedYaml } from "../../src/scenario/resolved.ts";
import type { Scenario } from "../../src/scenario/schema.ts";
import { sampleColumns, simulate } from "../../src/simulate.ts";
import { required } from "../clients.ts";

const PROGRAMS = ["chromium", "chromium-browser", "google-chrome"] as const;

export const CHROMIUM = (process.env["PATH"] ?? "")
  .split(delimiter)
  .flatMap((folder) => PROGRAMS.map((name) => join(folder, name)))
  .find((path) => existsSync(path));

/** For `describe.skipIf(...)` and its name. */
export const NO_BROWSER = CHROMIUM === undefined && !required.has("chromium");
export const WHY_NOT = NO_BROWSER ? ` (skipped: none of ${PROGRAMS.join(", ")} on the PATH)` : "";

export function launch(): Promise<Browser> {
  if (CHROMIUM === undefined) throw new Error(`none of ${PROGRAMS.join(", ")} on the PATH`);
  return chromium.launch({
    executablePath: CHROMIUM,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** The page of today's sources. */
export function bundleOfSources(): PageBundle {
  const source = (name: string): string => fileURLToPath(new URL(`../../src/page/${name}`, import.meta.url));
  const { outputFiles } = buildSync({
    entryPoints: [source("report.ts"), source("report.css")],
    bundle: true,
    minify: true,
    charset: "utf8",
    target: "es2022",
    outdir: "unused",
    write: false,
  });
  const text = (ending: string): string => outputFiles.find(({ path }) => path.endsWith(ending))!.text;
  const script = text(".js");
  const style = text(".css");
  return { script, style, ...hashesOf(script, style) };
}

export interface Gathered {
  readonly whole: ReportRun;
  readonly overlay: OverlayPart;
}

/** A run with all its page shows. */
export function gather(scenario: Scenario): Gathered {
  const collector = new ReportCollector(scenario, sampleColumns(scenario));
  const swept = new SweptCycles((row) => collector.cycle(row));
  const run = simulate(scenario, {
    sink: {
      sample: (row, view) => collector.sample(row, view),
      cycle: (cycle) => swept.cycle(cycle),
      sweepDone: (nowNs) => swept.sweepDone(nowNs),
      killed: (_nowNs, view) => collector.killed(view),
    },
  });
  swept.flush();
  const summary = { ...run, scenario_yaml: resolvedYaml(scenario) };
  return {
    whole: collector.finish(summary, collector.heap(deflate), deflate),
    overlay: collector.overlay(summary),
  };
}

/** Where pages and screenshots of tests are left to be looked at. */
export const ARTEFACTS = fileURLToPath(new URL("../../out/artefacts/", import.meta.url));

export function writePage(
  name: string,
  runs: readonly ReportRun[],
  bundle: PageBundle,
  comparison?: ComparisonTexts,
): string {
  mkdirSync(ARTEFACTS, { recursive: true });
  const path = join(ARTEFACTS, `${name}.html`);
  writeFileSync(path, reportHtml(runs, bundle, comparison));
  return pathToFileURL(path).href;
}

export interface Opened {
  readonly page: Page;
  /** Everything the page asked for beside itself, and everything it complained of. */
  readonly requests: readonly string[];
  readonly complaints: readonly string[];
  close(): Promise<void>;
}

export async function open(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<Opened> {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 900 },
    offline: true,
    ...options,
  });
  const page = await context.newPage();
  const requests: string[] = [];
  const complaints: string[] = [];
  page.on("request", (request) => {
    if (request.url() !== url && !request.url().startsWith("data:")) requests.push(request.url());
  });
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(url);
  await page.waitForSelector("html[data-ready]");
  return { page, requests, complaints, close: () => context.close() };
}
