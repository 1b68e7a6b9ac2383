/**
 * trace.json in a viewer that is not ours: speedscope imports it as a Chrome trace, in a headless browser. It says on the console what it
 * could not make sense of.
 *
 * Only what the tracks run, without the slow paths inside: those are slices with a length, whose end speedscope adds up in doubles and so
 * may find a fraction of a nanosecond after the end of what is around them. Perfetto counts whole nanoseconds.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { PerfettoTrace } from "../../src/report/perfetto.ts";
import { simulate } from "../../src/simulate.ts";
import { ARTEFACTS, launch, NO_BROWSER, WHY_NOT } from "../page/browser.ts";
import { scenarioOf } from "../scenarios.ts";

const SCENARIO = `
name: viewed
duration: 600ms
sample_interval: 20ms
workload:
  - { kind: stream, name: s, rate: 300k/s, size: { uniform: [16, 3000] }, pointers: 60%, lifetime: { exponential: 30ms } }
  - { kind: service, name: api, arrivals: { rate: 500/s }, cpu: { exponential: 500us }, objects: [{ size: 200, count: 30 }] }
interventions:
  - { at: 300ms, do: gc }
`;

describe.skipIf(NO_BROWSER)(`speedscope${WHY_NOT}`, () => {
  test("imports every slice of the event trace and closes it where it ended", async () => {
    const scenario = scenarioOf(SCENARIO);
    let json = "";
    const trace = new PerfettoTrace((piece) => (json += piece), {
      name: scenario.name,
      procs: scenario.go.GOMAXPROCS,
      about: { seed: scenario.seed },
    });
    const { figures } = simulate(scenario, { trace: { tracer: trace, kinds: ["gc", "proc", "counter"] } });
    trace.finish();
    expect(figures["gc_count"]).toBeGreaterThan(3);
    mkdirSync(ARTEFACTS, { recursive: true });
    const path = join(ARTEFACTS, "trace.json");
    writeFileSync(path, json);

    const viewer = createRequire(import.meta.url).resolve("speedscope/dist/release/index.html");
    const browser = await launch();
    try {
      const context = await browser.newContext({ offline: true });
      const page = await context.newPage();
      const said: string[] = [];
      page.on("console", (message) => said.push(message.text()));
      page.on("pageerror", (error) => said.push(`error: ${error}`));
      await page.goto(pathToFileURL(viewer).href);
      await page.locator("input[type=file]").setInputFiles(path);
      await page
        .getByText(/viewed \(pid 1\)/)
        .first()
        .waitFor();
      const all = await page.evaluate("document.body.innerText");
      await page.screenshot({ path: join(ARTEFACTS, "speedscope.png") });
      expect(said).toContain("Importing as Trace Event Format profile");
      expect(said.filter((text) => /Doing nothing|still open|error/i.test(text))).toEqual([]);
      // A profile per track: the collector and each P.
      expect(all).toMatch(/GC \(tid 1\) \(1\/3\)/);
    } finally {
      await browser.close();
    }
  }, 60_000);
});
