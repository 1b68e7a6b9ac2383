/** Pages from run folders. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inflateRawSync } from "node:zlib";
import { beforeAll, describe, expect, it } from "vitest";
import { hashesOf } from "../../src/cli/pagehashes.ts";
import type { ReportRun } from "../../src/report/reportdata.ts";
import { type PackedTable, unpack } from "../../src/report/table.ts";
import { run, scratch, VARIANTS, write } from "./cli.ts";

/** The runs a page holds. */
function runsOf(path: string): ReportRun[] {
  const html = readFileSync(path, "utf8");
  return [...html.matchAll(/<script type="application\/json" class="run">(.*?)<\/script>/gs)].map(
    ([, json]): ReportRun => JSON.parse(json),
  );
}

function expectSameTable(actual: PackedTable, expected: PackedTable): void {
  expect({ ...actual, columns: [], data: "" }).toEqual({ ...expected, columns: [], data: "" });
  const columnsOf = (table: PackedTable) => unpack(table, inflateRawSync(Buffer.from(table.data, "base64")));
  const other = columnsOf(expected);
  for (const { name, scale } of actual.columns) {
    const values = columnsOf(actual).get(name)!;
    // CSV cells are rounded, and rounded again here.
    for (const [i, value] of other.get(name)!.entries())
      if (Number.isNaN(value)) expect(values[i], name).toBeNaN();
      else expect(Math.abs(values[i] - value) * scale, name).toBeLessThan(1.01);
  }
}

function expectSame(actual: readonly ReportRun[], expected: readonly ReportRun[]): void {
  const rest = ({ samples: _samples, cycles: _cycles, ...others }: ReportRun) => others;
  expect(actual.map(rest)).toEqual(expected.map(rest));
  for (const [i, { samples, cycles }] of actual.entries()) {
    expectSameTable(samples, expected[i].samples);
    expectSameTable(cycles, expected[i].cycles);
  }
}

describe("gomemsim report", () => {
  const folder = scratch();
  const small = join(folder, "out/small");

  beforeAll(async () => {
    write(folder, "s.yaml", VARIANTS);
    expect((await run(folder, ["run", "s.yaml", "--quiet"])).status).toBe(0);
  });

  it("run writes a page per run, and one with all of them", () => {
    expect(runsOf(join(small, "report.html")).map(({ variant }) => variant)).toEqual(["base"]);
    expect(runsOf(join(small, "overlay.html")).map(({ variant }) => variant)).toEqual(["base", "gogc400"]);
    expect(runsOf(join(small, "gogc400/report.html"))[0]).toMatchObject({ variant: "gogc400" });
  });

  it("names the hashes of the page's script and style, as they are built, in its policy", () => {
    const html = readFileSync(join(small, "report.html"), "utf8");
    const [, policy] = /Content-Security-Policy" content="(.*?)"/.exec(html)!;
    const [, style] = /<style>(.*?)<\/style>/s.exec(html)!;
    const [, script] = /<script>(.*?)<\/script>/s.exec(html)!;
    const { scriptHash, styleHash } = hashesOf(script, style);
    expect(policy).toContain(`script-src '${scriptHash}'; style-src '${styleHash}'`);
  });

  it("writes the same page again from the folder", async () => {
    const before = runsOf(join(small, "report.html"));
    rmSync(join(small, "report.html"));
    const result = await run(folder, ["report", "out/small"]);
    expect(result).toMatchObject({ status: 0, stdout: "wrote out/small/report.html\n", stderr: "" });
    expectSame(runsOf(join(small, "report.html")), before);
  });

  it("lays the runs it is given over each other", async () => {
    const result = await run(folder, ["report", "out/small/gogc400", "out/small", "--out", "both.html"]);
    expect(result.status).toBe(0);
    expectSame(runsOf(join(folder, "both.html")), runsOf(join(small, "overlay.html")).reverse());
    expect(readdirSync(folder).filter((name) => name.includes(".tmp-"))).toEqual([]);
  });

  it("does without heap maps where there are none, and refuses damaged ones", async () => {
    const path = join(small, "gogc400/heapmap.json");
    const whole = readFileSync(path, "utf8");
    writeFileSync(path, whole.slice(0, -100));
    const damaged = await run(folder, ["report", "out/small/gogc400", "--out", "x.html"]);
    expect(damaged.status).toBe(4);
    expect(damaged.stderr).toContain("out/small/gogc400/heapmap.json: is not whole, or not ours");
    expect(existsSync(join(folder, "x.html"))).toBe(false);
    rmSync(path);
    expect((await run(folder, ["report", "out/small/gogc400", "--out", "x.html"])).status).toBe(0);
    expect(runsOf(join(folder, "x.html"))[0].heap).toBeUndefined();
    writeFileSync(path, whole);
  });

  it("says what is wrong with what it is given, and where it cannot write", async () => {
    const nowhere = await run(folder, ["report", "out/smal"]);
    expect(nowhere.status).toBe(4);
    expect(nowhere.stderr).toContain("did you mean out/small?");
    const unwritable = await run(folder, ["report", "out/small", "--out", "none/x.html"]);
    expect(unwritable.status).toBe(5);
    expect(unwritable.stderr).toMatch(/none.*cannot be written: no such file or folder/);
    expect((await run(folder, ["report"])).status).toBe(2);
  });
});
