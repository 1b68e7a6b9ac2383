/** Pages from run folders. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { run, scratch, VARIANTS, write } from "./cli.ts";

/** The runs a page holds. */
function runsOf(path: string): Record<string, unknown>[] {
  const html = readFileSync(path, "utf8");
  return [...html.matchAll(/<script type="application\/json" class="run">(.*?)<\/script>/gs)].map(
    ([, json]): Record<string, unknown> => JSON.parse(json),
  );
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

  it("writes the same page again from the folder", async () => {
    const before = runsOf(join(small, "report.html"));
    rmSync(join(small, "report.html"));
    const result = await run(folder, ["report", "out/small"]);
    expect(result).toMatchObject({ status: 0, stdout: "wrote out/small/report.html\n", stderr: "" });
    expect(runsOf(join(small, "report.html"))).toEqual(before);
  });

  it("lays the runs it is given over each other", async () => {
    const result = await run(folder, ["report", "out/small/gogc400", "out/small", "--out", "both.html"]);
    expect(result.status).toBe(0);
    expect(runsOf(join(folder, "both.html"))).toEqual(runsOf(join(small, "overlay.html")).reverse());
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
    expect(runsOf(join(folder, "x.html"))[0]["heap"]).toBeUndefined();
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
