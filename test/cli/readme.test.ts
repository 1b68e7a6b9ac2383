/**
 * What README shows of a run is what its commands print and draw today. After a change of the model:
 * `UPDATE_README=1 npx vitest run test/cli/readme.test.ts` puts the new output there.
 */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { run, scratch } from "./cli.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const PICTURE = join(root, "test/golden/web-api.svg");
const update = process.env["UPDATE_README"] !== undefined;

test("the run of README, its summary and its picture", async () => {
  const folder = scratch();
  mkdirSync(join(folder, "scenarios"));
  cpSync(join(root, "scenarios/web-api.yaml"), join(folder, "scenarios/web-api.yaml"));
  const told = await run(folder, ["run", "scenarios/web-api.yaml"], { env: { COLUMNS: "100" } });
  expect(told.status).toBe(0);
  const plotted = await run(folder, ["plot", "out/web-api", "--panel", "heap,rss,pauses,latency", "-o", "-"]);
  expect([plotted.status, plotted.stderr]).toEqual([0, ""]);

  const readme = readFileSync(join(root, "README.md"), "utf8");
  const block = /(\n## A run\n.*?\n```\n)(.*?)(```\n)/s;
  if (update) {
    writeFileSync(
      join(root, "README.md"),
      readme.replace(block, (_, before, _old, after) => before + told.stdout + after),
    );
    writeFileSync(PICTURE, plotted.stdout);
    return;
  }
  expect(block.exec(readme)?.[2]).toBe(told.stdout);
  expect(readFileSync(PICTURE, "utf8")).toBe(plotted.stdout);
});
