/** The scenarios that come with the project, and the JSON Schema editors read them by, as a validator that knows nothing of ours has it. */
import { readdirSync, readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { scenarioJsonSchema } from "../../src/scenario/json-schema.ts";
import { formatErrors, loadScenario } from "../../src/scenario/load.ts";
import { machineProfile } from "../../src/scenario/profile.ts";
import { defaultProfile } from "../../src/simulate.ts";

const folder = new URL("../../scenarios/", import.meta.url);
const read = (file: string) => readFileSync(new URL(file, folder), "utf8");
const files = readdirSync(folder).filter((file) => file.endsWith(".yaml"));
const schemaText = read("scenario.schema.json");
// Strict mode complains of schemas that say nothing about types in one branch, which JSON Schema allows.
const validate = new Ajv2020({ allErrors: true, strict: false }).compile(JSON.parse(schemaText));

test("scenario.schema.json is what the schema says (tsx src/scenario/json-schema.ts writes it)", () => {
  expect(schemaText).toBe(scenarioJsonSchema());
});

test("the default profile is one, as the schema reads it", () => {
  expect(machineProfile.parse(structuredClone(defaultProfile))).toEqual(defaultProfile);
});

describe.each(files)("%s", (file) => {
  const text = read(file);
  test("loads", () => {
    const result = loadScenario(text, file);
    if (!result.ok) throw new Error(formatErrors(result.errors, { color: false }));
    expect(`${result.scenarios[0].name}.yaml`).toBe(file);
    expect(result.scenarios[0].duration).toBeGreaterThanOrEqual(10e9);
    expect(result.scenarios[0].duration).toBeLessThanOrEqual(150e9);
  });
  test("validates against the JSON Schema", () => {
    validate(parse(text));
    expect(validate.errors ?? []).toEqual([]);
  });
  test("opens with its schema, what it shows and what to look for", () => {
    expect(text.startsWith("# yaml-language-server: $schema=./scenario.schema.json\n")).toBe(true);
    expect(text).toContain("\n# What it shows: ");
    expect(text).toContain("\n# What to look for: ");
  });
});

test("the JSON Schema refuses what the loader refuses", () => {
  const web = (): { go?: unknown; duration: unknown; workload: Record<string, unknown>[] } =>
    parse(read("web-api.yaml")) as ReturnType<typeof web>;
  const refuses = (change: (scenario: ReturnType<typeof web>) => void) => {
    const scenario = web();
    change(scenario);
    return !validate(scenario);
  };
  expect(refuses(() => {})).toBe(false);
  expect(refuses((s) => (s.duration = 10))).toBe(true);
  expect(refuses((s) => (s.go = { GOGC: "much" }))).toBe(true);
  expect(refuses((s) => (s.go = { GOGC: "off", version: 1.26 }))).toBe(false);
  expect(refuses((s) => (s.workload[0]["stack"] = "4KB"))).toBe(true);
  expect(refuses((s) => (s.workload[0]["stack"] = { uniform: [1] }))).toBe(true);
  expect(refuses((s) => (s.workload[0]["io"] = { mixture: [{ weight: 1, of: { exponentl: "1ms" } }] }))).toBe(
    true,
  );
  expect(refuses((s) => (s.workload[0]["size"] = 64))).toBe(true);
  expect(refuses((s) => (s.workload[0]["kind"] = "servce"))).toBe(true);
  expect(refuses((s) => (s.go = ["GOGC", 100]))).toBe(true);
  expect(refuses((s) => (s.go = { version: "1.18" }))).toBe(true);
  expect(refuses((s) => Object.assign(s, { zebra: 1 }))).toBe(true);
  expect(refuses((s) => Object.assign(s, { name: "../t" }))).toBe(true);
  expect(refuses((s) => s.workload.splice(0))).toBe(true);
});

test("every setting has a description", () => {
  const bare: string[] = [];
  const visit = (node: unknown, path: string): void => {
    if (typeof node !== "object" || node === null) return;
    for (const [key, value] of Object.entries(node)) {
      if (key === "properties" && !path.includes("$defs"))
        for (const [name, field] of Object.entries(value as Record<string, Record<string, unknown>>))
          if (
            field["description"] === undefined &&
            field["$ref"] === undefined &&
            field["const"] === undefined
          )
            bare.push(`${path}.${name}`);
      visit(value, `${path}.${key}`);
    }
  };
  visit(JSON.parse(schemaText), "");
  expect(bare).toEqual([]);
});
