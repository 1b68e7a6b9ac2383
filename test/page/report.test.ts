/** The report page in a real browser, from a file, offline. */
import { inflateRawSync } from "node:zlib";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { deflate } from "../../src/cli/page.ts";
import { jsonForScript } from "../../src/report/html.ts";
import { overlayRun } from "../../src/report/overlay.ts";
import type { ReportRun } from "../../src/report/reportdata.ts";
import { unpack } from "../../src/report/table.ts";
import { scenariosOf } from "../scenarios.ts";
import {
  ARTEFACTS,
  bundleOfSources,
  gather,
  launch,
  NO_BROWSER,
  open,
  WHY_NOT,
  writePage,
} from "./browser.ts";

const HOSTILE = `</script><script>document.title="owned"</script><img src=x onerror="document.title='owned'">`;

/** A container in which the leak is killed and started again, with phases and interventions. */
const SCENARIO = `name: eventful
description: ${JSON.stringify(`A leak that ends in OOM kills ${HOSTILE}`)}
duration: 12s
go: { GOMAXPROCS: 2, GOMEMLIMIT: 90MiB }
container:
  memory: { max: 96MiB }
  restart: { policy: always }
workload:
  - kind: service
    name: api
    arrivals: { rate: 300/s }
    cpu: 300us
    objects:
      - { name: o, count: 40, size: { uniform: [32, 2000] }, pointers: 50% }
  - kind: leak
    name: l
    byte_rate: 12MiB/s
    size: 1024
phases:
  - { at: 3s, name: ${JSON.stringify(HOSTILE)}, set: { workload.api.arrivals.rate: 600/s } }
interventions:
  - { at: 4s, do: gc }
variants:
  - { name: gogc-50, set: { go.GOGC: 50 } }
`;

const NAMES = [
  "memory",
  "rss",
  "goal",
  "cpu-gc",
  "cpu",
  "pauses",
  "latency",
  "goroutines",
  "fragmentation",
] as const;

const over = (page: Page, chart: string) => page.locator(`#chart-${chart} .u-over`);

/** What every chart shows of time. */
const ranges = (page: Page): Promise<string[]> =>
  page
    .locator(".plot")
    .evaluateAll((plots) =>
      plots.map((plot) => `${plot.getAttribute("data-from")} ${plot.getAttribute("data-to")}`),
    );

/** The legends' values, by chart. */
const legends = (page: Page, chart: string): Promise<string[]> =>
  page.locator(`#chart-${chart} .value`).allTextContents();

/** Expressions run in the page, where there is a DOM; tests have none. */
const pictureOf = (page: Page, canvas: string): Promise<string> =>
  page.evaluate(`document.querySelector(${JSON.stringify(canvas)}).toDataURL()`);

async function settled(page: Page): Promise<void> {
  // A frame for what is on the screen, a rest for the others.
  await page.waitForTimeout(300);
}

const rangeNumbers = async (page: Page): Promise<[number, number]> => {
  await settled(page);
  const all = await ranges(page);
  expect(new Set(all).size).toBe(1);
  const [from, to] = all[0].split(" ").map(Number);
  return [from, to];
};

test("text in a script element can neither end it nor break its lines", () => {
  const text = jsonForScript({ name: `${HOSTILE}\u2028\u2029<!--` });
  expect(text).not.toMatch(/[<\u2028\u2029]/);
  expect(JSON.parse(text)).toEqual({ name: `${HOSTILE}\u2028\u2029<!--` });
});

describe.skipIf(NO_BROWSER)(`the report page${WHY_NOT}`, () => {
  let browser: Browser;
  let single: string;
  let overlay: string;
  let seeds: string;

  beforeAll(async () => {
    browser = await launch();
    const bundle = bundleOfSources();
    const runs = scenariosOf(SCENARIO).map(gather);
    single = writePage("report", [{ ...runs[0].whole, variant: HOSTILE }], bundle);
    const [base, other] = runs.map((run) => overlayRun([run.overlay], deflate));
    const hostile: ReportRun = { ...other, variant: HOSTILE };
    const sides = scenariosOf(SCENARIO).map((scenario) =>
      [2, 3].map((seed) => gather({ ...scenario, seed }).overlay),
    );
    const texts = {
      heads: ["", "base", HOSTILE, "difference"],
      groups: [{ name: "Garbage collector", rows: [["GC cycles", "12 ± 7 % HOSTILE", "1", "~ (p=0.700)"]] }],
      notes: [HOSTILE],
    };
    const lines = sides.map((own, i) =>
      overlayRun([runs[i].overlay, ...own], deflate, i === 0 ? "base" : HOSTILE),
    );
    seeds = writePage("seeds", lines, bundle, texts);
    overlay = writePage("overlay", [base, hostile], bundle);
  });

  afterAll(() => browser?.close());

  test("loads offline from a file, asks for nothing, complains of nothing", async () => {
    for (const url of [single, overlay, seeds]) {
      const { page, requests, complaints, close } = await open(browser, url);
      await page.mouse.wheel(0, 5000);
      await settled(page);
      expect(requests).toEqual([]);
      expect(complaints).toEqual([]);
      await close();
    }
  });

  test("a policy forbids requests, whatever a script might try", async () => {
    const { page, close } = await open(browser, single);
    const policy = await page.locator('meta[http-equiv="Content-Security-Policy"]').getAttribute("content");
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toContain("unsafe");
    const refused = await page.evaluate(() => fetch("https://example.com/").then(() => "sent", String));
    expect(refused).toMatch(/Failed to fetch|refused/i);
    await close();
  });

  test("shows charts of all that is promised, the heap map, figures, scenario and what is not modelled", async () => {
    const { page, close } = await open(browser, single);
    for (const name of [...NAMES, "scavenger", "cgroup"]) expect(await over(page, name).count()).toBe(1);
    expect(await page.locator("#chart-memory .legend .label").allTextContents()).toEqual([
      "live",
      "garbage",
      "free slots in spans",
      "idle, retained",
      "stacks",
      "other runtime memory",
      "released",
      "RSS",
    ]);
    expect(await legends(page, "rss")).toContain("max 96.0 MiB");
    expect(await page.locator(".tile").first().textContent()).toMatch(/OOM kills\d+first at/);
    const text = (await page.locator("main").textContent()) ?? "";
    for (const part of [
      "GOMAXPROCS=2",
      "GOMEMLIMIT=90MiB",
      "byte_rate: 12582912",
      "finalizers",
      "seed",
      "oom_kills",
    ])
      expect(text).toContain(part);
    // Kills are at the hand of the list, with the kernel's own words.
    expect(await page.locator(".marks .bad").first().textContent()).toMatch(/OOM kill.*Killed process/);
    await close();
  });

  test("dragging zooms all charts to the same stretch, and double click shows the whole run again", async () => {
    const { page, close } = await open(browser, single);
    expect(await rangeNumbers(page)).toEqual([0, 12]);
    const before = await legends(page, "goal");
    const box = (await over(page, "memory").boundingBox())!;
    await page.mouse.move(box.x + box.width * 0.25, box.y + 80);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.5, box.y + 80, { steps: 5 });
    await page.mouse.up();
    await page.mouse.move(5, 5);
    const [from, to] = await rangeNumbers(page);
    expect(from).toBeCloseTo(3, 1);
    expect(to).toBeCloseTo(6, 1);
    expect(await page.locator(".range").textContent()).toMatch(/^(2\.9|3\.0)\d s – (5\.9|6\.0)\d s$/);
    expect(await legends(page, "goal")).not.toEqual(before);
    await over(page, "memory").dblclick();
    await page.mouse.move(5, 5);
    expect(await rangeNumbers(page)).toEqual([0, 12]);
    await close();
  });

  test("pointing at one chart tells the values of that moment in all", async () => {
    const { page, close } = await open(browser, single);
    const box = (await over(page, "memory").boundingBox())!;
    const told: Record<string, string[]>[] = [];
    for (const share of [0.2, 0.6]) {
      await page.mouse.move(box.x + box.width * share, box.y + 50);
      await settled(page);
      const all: Record<string, string[]> = {};
      for (const name of NAMES) all[name] = await legends(page, name);
      told.push(all);
    }
    // Counts may be the same twice.
    for (const name of NAMES.filter((one) => one !== "pauses" && one !== "goroutines")) {
      expect(told[0][name].join()).not.toContain("max");
      expect(told[1][name], name).not.toEqual(told[0][name]);
    }
    expect(await page.locator(".readout").textContent()).toMatch(/^7\.\d+ s/);
    // Away from the charts the peaks are back.
    await page.mouse.move(5, 5);
    await settled(page);
    expect((await legends(page, "rss"))[0]).toMatch(/^max /);
    await close();
  });

  test("a mark's time and reason are told under the pointer and in the list", async () => {
    const { page, close } = await open(browser, single);
    const box = (await over(page, "memory").boundingBox())!;
    await page.mouse.move(box.x + (box.width * 4) / 12, box.y + 50);
    await settled(page);
    expect(await page.locator(".readout").textContent()).toContain("gc: at its time");
    await page.locator(".marks li", { hasText: "gc" }).first().getByRole("button").click();
    const [from, to] = await rangeNumbers(page);
    expect((from + to) / 2).toBeCloseTo(4, 1);
    expect(to - from).toBeCloseTo(1.2, 1);
    await close();
  });

  test("keys pan, zoom, reset, step through samples, change the theme and show help", async () => {
    const { page, close } = await open(browser, single);
    await page.keyboard.press("ArrowUp");
    expect(await rangeNumbers(page)).toEqual([3, 9]);
    await page.keyboard.press("ArrowRight");
    expect(await rangeNumbers(page)).toEqual([4.5, 10.5]);
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.press("-");
    expect(await rangeNumbers(page)).toEqual([0, 12]);
    await page.keyboard.press("+");
    await page.keyboard.press("0");
    expect(await rangeNumbers(page)).toEqual([0, 12]);
    await page.keyboard.press(".");
    await page.keyboard.press(".");
    await settled(page);
    expect((await legends(page, "memory")).join()).not.toContain("max");
    const at = await page.locator(".readout").textContent();
    await page.keyboard.press(".");
    await settled(page);
    expect(await page.locator(".readout").textContent()).not.toBe(at);
    const theme = () => page.locator("html").getAttribute("data-theme");
    expect(await theme()).toBe("light");
    await page.keyboard.press("t");
    expect(await theme()).toBe("dark");
    await page.keyboard.press("?");
    expect(await page.locator("dialog").isVisible()).toBe(true);
    await page.keyboard.press("Escape");
    expect(await page.locator("dialog").isVisible()).toBe(false);
    await close();
  });

  test("series are hidden and shown with the keyboard, and what has the focus is seen", async () => {
    const { page, close } = await open(browser, single);
    const garbage = page.locator("#chart-memory .legend button", { hasText: "garbage" });
    await garbage.focus();
    await page.keyboard.press("Tab");
    await page.keyboard.press("Shift+Tab");
    expect(await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")).toBe("solid");
    const picture = () => pictureOf(page, "#chart-memory canvas");
    const before = await picture();
    await page.keyboard.press("Enter");
    await settled(page);
    expect(await garbage.getAttribute("aria-pressed")).toBe("false");
    expect(await picture()).not.toBe(before);
    await page.keyboard.press("Enter");
    await settled(page);
    expect(await garbage.getAttribute("aria-pressed")).toBe("true");
    expect(await picture()).toBe(before);
    await close();
  });

  test("the theme follows the system, and canvases with it", async () => {
    const background = (page: Page) => page.evaluate("getComputedStyle(document.body).backgroundColor");
    const light = await open(browser, single, { colorScheme: "light" });
    const dark = await open(browser, single, { colorScheme: "dark" });
    expect(await background(light.page)).toBe("rgb(246, 248, 250)");
    expect(await background(dark.page)).toBe("rgb(13, 17, 23)");
    const picture = (page: Page) => pictureOf(page, "#chart-rss canvas");
    expect(await picture(dark.page)).not.toBe(await picture(light.page));
    await light.close();
    await dark.close();
  });

  test("the heap map tells what lies under pointer and cursor, at any of its instants", async () => {
    const { page, close } = await open(browser, single);
    const map = page.locator("#heapmap");
    const instants = map.locator(".instants button");
    expect(await instants.allTextContents()).toContainEqual(expect.stringContaining("OOM kill"));
    await instants.filter({ hasText: "OOM kill" }).first().click();
    await settled(page);
    const canvas = map.locator("canvas");
    await canvas.scrollIntoViewIfNeeded();
    await canvas.hover({ position: { x: 60, y: 40 } });
    const tell = map.locator(".tell");
    expect(await tell.textContent()).toMatch(
      /^0xc0[0-9a-f]+: (span class \d+: objects of .*span of \d+ pages?; slots taken .*live|stacks|free|given back|large object|in a P|padding).*resident/,
    );
    const before = await tell.textContent();
    await canvas.focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowDown");
    expect(await tell.textContent()).not.toBe(before);
    // The whole run is still shown: those keys were the map's.
    expect(await rangeNumbers(page)).toEqual([0, 12]);
    const picture = () => pictureOf(page, "#heapmap canvas");
    const live = await picture();
    await map.getByLabel("Size class").check();
    expect(await picture()).not.toBe(live);
    expect(await map.locator("table tbody tr").count()).toBeGreaterThan(5);
    const slider = map.locator("input[type=range]");
    await slider.focus();
    await page.keyboard.press("Home");
    await settled(page);
    expect(await instants.first().getAttribute("aria-pressed")).toBe("true");
    await close();
  });

  test("what happened from phase to phase stands below the first chart, and a button shows a stretch", async () => {
    for (const width of [1280, 400]) {
      const { page, close } = await open(browser, single, { viewport: { width, height: 900 } });
      const table = page.locator(".phases table");
      expect(await table.locator("thead button").allTextContents()).toEqual(["start", HOSTILE]);
      expect(await table.locator("thead small").allTextContents()).toEqual([
        "0.0 s – 3.0 s",
        "3.0 s – 12.0 s",
      ]);
      const rows = await table.locator("tbody tr").allTextContents();
      expect(rows.join("\n")).toMatch(/^GC cycles\d+\d+$/m);
      expect(rows.join("\n")).toMatch(/^api latency p99[\d.]+ [µm]?s[\d.]+ [µm]?s$/m);
      expect(rows.join("\n")).toMatch(/^OOM kills0\d$/m);
      await table.locator("thead button").first().click();
      expect(await rangeNumbers(page)).toEqual([0, 3]);
      // Names of rows stay in sight when a narrow table is scrolled.
      const scroll = page.locator(".phases .scroll");
      await scroll.evaluate("(pane) => { pane.scrollLeft = 1e4; }");
      const [pane, name] = [
        await scroll.boundingBox(),
        await table.locator("tbody th").first().boundingBox(),
      ];
      expect(Math.abs(name!.x - pane!.x)).toBeLessThan(2);
      await close();
    }
  });

  test("hostile text is shown as text", async () => {
    for (const url of [single, overlay, seeds]) {
      const { page, complaints, close } = await open(browser, url);
      expect(await page.locator("h1, h3").allTextContents()).toContainEqual(expect.stringContaining(HOSTILE));
      expect(await page.title()).not.toBe("owned");
      expect(await page.locator("main img, main script").count()).toBe(0);
      expect((await page.locator(".marks").first().textContent()) ?? "").toContain(`phase ${HOSTILE}`);
      expect(complaints).toEqual([]);
      await close();
    }
  });

  test("runs laid over each other have one line each in every chart, and figures side by side", async () => {
    const { page, close } = await open(browser, overlay);
    for (const name of ["rss", "inuse", "goal", "cpu-gc", "latency", "pauses"])
      expect(await page.locator(`#chart-${name} .legend .label`).allTextContents()).toEqual([
        "base",
        HOSTILE,
      ]);
    expect(await page.locator("table").first().locator("tbody tr").first().locator("td").count()).toBe(2);
    await page.keyboard.press("+");
    expect(await rangeNumbers(page)).toEqual([3, 9]);
    await close();
  });

  test("runs of several seeds are a median with a band, and the comparison is said in the terminal's words", async () => {
    const { page, close } = await open(browser, seeds);
    expect(await page.locator("h1").textContent()).toBe("6 runs in 2 lines: eventful");
    expect(await page.locator("#chart-rss .legend .label").allTextContents()).toEqual(["base", HOSTILE]);
    expect(await page.locator("table").first().locator(".group").first().textContent()).toBe(
      "Garbage collector",
    );
    expect(await page.locator("table").first().textContent()).toContain("± 7 % HOSTILE");
    const box = (await over(page, "rss").boundingBox())!;
    await page.mouse.move(box.x + box.width * 0.2, box.y + 50);
    await settled(page);
    expect((await legends(page, "rss"))[0]).toMatch(/^[\d.]+ MiB \([\d.]+ MiB – [\d.]+ MiB\)$/);
    // Hidden with its line, the band is gone: the picture is that of the other run alone.
    const picture = () => pictureOf(page, "#chart-rss canvas");
    await page.mouse.move(5, 5);
    const both = await picture();
    await page.locator("#chart-rss .legend button").first().click();
    await settled(page);
    expect(await picture()).not.toBe(both);
    await close();
  });

  test("nothing is wider than the screen, at 1280 and at 400 pixels", async () => {
    for (const [name, url] of [
      ["report", single],
      ["overlay", overlay],
      ["seeds", seeds],
    ] as const)
      for (const width of [1280, 400])
        for (const colorScheme of ["light", "dark"] as const) {
          const { page, close } = await open(browser, url, { viewport: { width, height: 900 }, colorScheme });
          await settled(page);
          const [content, screen] = await page.evaluate<number[]>(
            "[document.documentElement.scrollWidth, innerWidth]",
          );
          expect(content).toBe(screen);
          await page.screenshot({ path: `${ARTEFACTS}${name}-${width}-${colorScheme}.png`, fullPage: true });
          await close();
        }
  });

  test("sweeping is a fainter band behind a cycle's, and said", async () => {
    const [scenario] = scenariosOf(`name: swept
duration: 400ms
sample_interval: 10ms
go: { GOMAXPROCS: 2, GOGC: 400 }
workload:
  - { kind: stream, name: s, rate: 2M/s, size: { uniform: [16, 900] }, lifetime: { exponential: 20ms } }
`);
    const { whole } = gather(scenario);
    const cycles = unpack(whole.cycles, inflateRawSync(Buffer.from(whole.cycles.data, "base64")));
    const [ends, swept] = ["end_seconds", "sweep_done_seconds"].map((name) => cycles.get(name)!);
    const longest = ends.reduce(
      (best, _, i) => (swept[i] - ends[i] > swept[best] - ends[best] ? i : best),
      0,
    );
    const { page, close } = await open(browser, writePage("swept", [whole], bundleOfSources()));
    const box = (await over(page, "memory").boundingBox())!;
    const atMiddle = (ends[longest] + swept[longest]) / 2 / 0.4;
    await page.mouse.move(box.x + box.width * atMiddle, box.y + 50);
    await settled(page);
    expect(await page.locator(".readout").textContent()).toMatch(/ · sweeping/);
    await page.mouse.move(5, 5);
    await settled(page);
    // Above all lines: the ground, darker in the cycle than in the sweep after it.
    const ground = (seconds: number): Promise<number> =>
      page.evaluate(`(() => {
        const canvas = document.querySelector("#chart-fragmentation canvas");
        const over = document.querySelector("#chart-fragmentation .u-over");
        const x = over.offsetLeft + (${seconds} / 0.4) * over.clientWidth;
        const scale = canvas.width / canvas.clientWidth;
        const y = (over.offsetTop + 2) * scale;
        return canvas.getContext("2d").getImageData(Math.round(x * scale), y, 1, 1).data[3];
      })()`);
    const start = cycles.get("start_seconds")![longest];
    const [marking, sweeping, before] = [
      await ground((start + ends[longest]) / 2),
      await ground((ends[longest] + swept[longest]) / 2),
      await ground(start - 0.004),
    ];
    expect(before).toBe(0);
    expect(sweeping).toBeGreaterThan(before);
    expect(marking).toBeGreaterThan(sweeping);
    await close();
  });

  test("what was left out is said", async () => {
    const [scenario] = scenariosOf(
      SCENARIO.replace("duration: 12s", "duration: 12s\nsample_interval: 500us"),
    );
    const url = writePage("decimated", [gather(scenario).whole], bundleOfSources());
    const { page, close } = await open(browser, url);
    expect(await page.locator(".facts").textContent()).toMatch(
      /24000, of which this page has \d+ points: of every 4 samples the smallest and the largest/,
    );
    await close();
  });
});

test("packed bytes are raw deflate in base64, as the page inflates them", () => {
  const packed = Buffer.from(deflate(new Uint8Array([1, 2, 3])), "base64");
  expect([...inflateRawSync(packed)]).toEqual([1, 2, 3]);
});
