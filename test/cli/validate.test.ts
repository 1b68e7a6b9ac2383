import { expect, it } from "vitest";
import { EXIT } from "../../src/cli/exit.ts";
import { run, scratch, VARIANTS, write } from "./cli.ts";

it.each([
  [["validate", "s.yaml"]],
  [["validate", "s.yaml", "--no-realtime", "--runs", "1"]],
  [["calibrate", "--no-realtime"]],
  [["calibrate", "--passes", "2"]],
])("gomemsim %j takes its options, and without Go says how to get it", async (args) => {
  const folder = scratch();
  write(folder, "s.yaml", VARIANTS);
  const result = await run(folder, [...args, "--go", "/nowhere/go"]);
  expect(result.status).toBe(EXIT.go);
  expect(result.stderr).toContain("/nowhere/go is not a Go command");
});
