import { describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { exitStatusHelp } from "../../src/cli/exit.ts";
import { run, scratch, VARIANTS, write } from "./cli.ts";

describe("gomemsim check", () => {
  const folder = scratch();
  write(folder, "s.yaml", VARIANTS);

  it("prints the scenario and its variants resolved, as YAML or JSON alike", async () => {
    const [yaml, json] = await Promise.all([
      run(folder, ["check", "s.yaml", "--seed", "abc"]),
      run(folder, ["check", "s.yaml", "--seed", "abc", "--json"]),
    ]);
    expect([yaml.status, json.status, yaml.stderr, json.stderr]).toEqual([0, 0, "", ""]);
    const scenarios = JSON.parse(json.stdout);
    expect(parseAllDocuments(yaml.stdout).map((document) => document.toJS())).toEqual(scenarios);
    expect(scenarios.length).toBe(2);
    expect(scenarios[0]).toMatchObject({ name: "small", duration: 5e9, seed: "abc", go: { GOGC: 100 } });
    expect(scenarios[1]).toMatchObject({ variant: "gogc400", seed: "abc", go: { GOGC: 400 } });
  });
});

describe("gomemsim --help and --version", () => {
  it("document the commands and the exit statuses", async () => {
    const folder = scratch();
    const [help, runHelp, version] = await Promise.all([
      run(folder, ["--help"]),
      run(folder, ["run", "--help"]),
      run(folder, ["--version"]),
    ]);
    expect(help.status).toBe(0);
    for (const part of ["run <file>", "check <file>", ...exitStatusHelp().split("\n")])
      expect(help.stdout).toContain(part.trim().slice(0, 60));
    for (const part of ["--out", "--seed", "--set", "--quiet", "--profile", "--checked"])
      expect(runHelp.stdout).toContain(part);
    expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});
