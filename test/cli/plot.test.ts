/** `gomemsim plot` as a user calls it. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Resvg } from "@resvg/resvg-js";
import { beforeAll, describe, expect, it } from "vitest";
import { pngOf } from "../../src/cli/plot.ts";
import { KILLED_POD } from "../report/exported.ts";
import { run, scratch } from "./cli.ts";

const folder = scratch();
const SCENARIO = `name: s
duration: 1s
workload:
  - { kind: stream, name: s, rate: 100k/s, size: 200, lifetime: 50ms }
variants:
  - { name: double, set: { go.GOGC: 200 } }
`;

beforeAll(async () => {
  writeFileSync(join(folder, "s.yaml"), SCENARIO);
  const done = await run(folder, ["run", "s.yaml", "-q", "--out", "s"]);
  expect(done.stderr).toBe("");
});

const text = (name: string): string => readFileSync(join(folder, name), "utf8");
/** Width and height, from the first chunk of a PNG. */
const sizeOf = (png: Buffer): [number, number] => {
  expect(png.subarray(0, 8)).toEqual(Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]));
  return [png.readUInt32BE(16), png.readUInt32BE(20)];
};

describe("gomemsim plot", () => {
  it("writes plot.svg into the run's folder, the same bytes in any locale and time zone", async () => {
    const first = await run(folder, ["plot", "s"]);
    expect([first.status, first.stderr]).toEqual([0, `wrote ${join("s", "plot.svg")}\n`]);
    const svg = text(join("s", "plot.svg"));
    expect(svg).toMatch(/^<svg /);
    const env = { LANG: "de_DE.UTF-8", LC_ALL: "de_DE.UTF-8", TZ: "Asia/Kolkata" };
    const second = await run(folder, ["plot", "s", "-o", "-"], { env });
    expect(second.stdout).toBe(svg);
  });

  it("writes a PNG of the size asked for, with text and colours in it", async () => {
    const { status } = await run(folder, ["plot", "s", "--width", "500", "--height", "400", "-o", "p.png"]);
    expect(status).toBe(0);
    const png = readFileSync(join(folder, "p.png"));
    expect(sizeOf(png)).toEqual([500, 400]);
    const href = `data:image/png;base64,${png.toString("base64")}`;
    const back = `<svg xmlns="http://www.w3.org/2000/svg" width="500" height="400"><image href="${href}" width="500" height="400"/></svg>`;
    const { pixels } = new Resvg(back).render();
    const colors = new Map<string, number>();
    for (let i = 0; i < pixels.length; i += 4) {
      const color = pixels.subarray(i, i + 3).join();
      colors.set(color, (colors.get(color) ?? 0) + 1);
    }
    // Paper, a line in blue, and the title's ink in the corner where only text is.
    expect(colors.get("255,255,255")).toBeGreaterThan(0.5 * 500 * 400);
    expect(colors.get("0,114,178")).toBeGreaterThan(50);
    let ink = 0;
    for (let y = 5; y < 24; y++) for (let x = 66; x < 90; x++) if (pixels[(y * 500 + x) * 4] < 100) ink++;
    expect(ink).toBeGreaterThan(10);
  });

  it("lays runs over each other, by the names of their variants", async () => {
    const { status } = await run(folder, [
      "plot",
      "s",
      "s/double",
      "--metric",
      "heap_inuse_bytes",
      "-o",
      "o.svg",
    ]);
    expect(status).toBe(0);
    expect(text("o.svg")).toMatch(/>base<\/text>[\s\S]*>double<\/text>/);
  });

  it.each([
    [["plot", "nowhere"], 4, /nowhere: cannot be read/],
    [["plot", "s", "--metric", "heap_inuse"], 4, /timeseries\.csv: has no column heap_inuse/],
    [["plot", "s", "--panel", "hep"], 2, /--panel: there is no "hep"; did you mean heap\?/],
    [["plot", "s", "--panel", "heap", "--metric", "rss_bytes"], 2, /give --metric or --panel, not both/],
    [["plot", "s", "s/double", "--panel", "heap"], 2, /--panel is for one run/],
    [
      ["plot", "s", "--width", "12"],
      2,
      /--width: expected a whole number of pixels from 320 to 10000, got "12"/,
    ],
    [["plot", "s", "--format", "png", "-o", "x.svg"], 2, /--format png does not fit the file's name, x\.svg/],
    [["plot", "s", "--metric", "latency_p99_ns"], 4, /has no value of latency_p99_ns/],
    [["plot", "s", "-o", "no/such/folder.svg"], 5, /no\/such\/folder\.svg: cannot be written/],
  ])("%j says what is wrong", async (args, status, message) => {
    const result = await run(folder, args);
    expect(result.status).toBe(status);
    expect(result.stderr).toMatch(message);
  });

  it("refuses a PNG where no font is installed", async () => {
    await expect(pngOf(text(join("s", "plot.svg")), { loadSystemFonts: false })).rejects.toThrow(
      /no font is installed .*--format svg/,
    );
  });
});

describe("run --heap-profile", () => {
  it("writes a profile at the end and at the times asked for, and changes nothing else", async () => {
    const { status, stdout } = await run(folder, [
      "run",
      "s.yaml",
      "--heap-profile",
      "--profile-at",
      "500ms,250ms",
      "--out",
      "h",
    ]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/wrote h: .*heap-250ms\.pb\.gz, heap-500ms\.pb\.gz, heap\.pb\.gz, summary\.json/);
    for (const name of ["heap.pb.gz", "heap-250ms.pb.gz", "double/heap-500ms.pb.gz"])
      expect(readFileSync(join(folder, "h", name)).subarray(0, 2)).toEqual(Buffer.from([0x1f, 0x8b]));
    for (const name of ["timeseries.csv", "cycles.csv", "summary.json"])
      expect(text(join("h", name))).toBe(text(join("s", name)));
  });

  it("leaves none of an earlier run where this one's process is down", async () => {
    writeFileSync(join(folder, "k.yaml"), KILLED_POD);
    const common = ["run", "k.yaml", "--out", "k", "--set", "duration=2s"];
    const args = [...common, "--heap-profile", "--profile-at", "1s"];
    const profile = join(folder, "k", "heap-1s.pb.gz");
    expect((await run(folder, [...args, "--set", "workload.l.byte_rate=1KiB/s"])).status).toBe(0);
    expect(existsSync(profile)).toBe(true);
    const killed = await run(folder, args);
    expect(killed.stdout).toContain("not written: k/heap-1s.pb.gz: the process was down then");
    expect(existsSync(profile)).toBe(false);
  });

  it.each([
    [["--profile-at", "1s"], /--profile-at needs --heap-profile/],
    [["--heap-profile", "--profile-at", "2s"], /--profile-at: 2s is after the end of the run \(1 s\)/],
    [
      ["--heap-profile", "--profile-at", "soon"],
      /--profile-at: expected a time such as 500ms or 2m, got "soon"/,
    ],
  ])("%j is refused", async (args, message) => {
    const result = await run(folder, ["run", "s.yaml", ...args]);
    expect(result.status).toBe(2);
    expect(result.stderr).toMatch(message);
  });
});
