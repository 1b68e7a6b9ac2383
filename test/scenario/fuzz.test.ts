/** Whatever stands in a file, loading it answers with scenarios or with faults that have a place, and never throws. */
import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { stringify } from "yaml";
import { formatErrors, loadScenario } from "../../src/scenario/load.ts";

const folder = new URL("../../scenarios/", import.meta.url);
const shipped = readdirSync(folder)
  .filter((file) => file.endsWith(".yaml"))
  .map((file) => readFileSync(new URL(file, folder), "utf8"));

function answers(text: string, set: readonly string[] = []): void {
  const result = loadScenario(text, "fuzz.yaml", { set });
  if (result.ok) {
    expect(result.scenarios.length).toBeGreaterThan(0);
    // Plain JSON without holes: what the oracle reads is what the simulator runs.
    for (const scenario of result.scenarios) expect(JSON.parse(JSON.stringify(scenario))).toEqual(scenario);
    return;
  }
  expect(result.errors.length).toBeGreaterThan(0);
  const lines = text.split("\n").length;
  for (const error of result.errors) {
    expect(error.line).toBeGreaterThanOrEqual(1);
    expect(error.line).toBeLessThanOrEqual(lines);
    expect(error.column).toBeGreaterThanOrEqual(1);
    expect(error.message).not.toMatch(/invalid input|undefined|\[object|NaN is/i);
  }
  expect(formatErrors(result.errors, { color: false })).not.toBe("");
}

const words = fc.constantFrom(
  ...[
    "null",
    "~",
    "{}",
    "[]",
    "-1",
    "0",
    "1e400",
    ".nan",
    "64KB",
    "10",
    "- ",
    "? ",
    ": ",
    "\t",
    "'",
    '"',
    "#",
    "&a ",
  ],
  ...[
    "*a",
    "<<: ",
    "!x ",
    "|",
    "]",
    "}",
    "[",
    "{",
    "---\n",
    "\n",
    "  ",
    "owner",
    "{uniform: [5, 1]}",
    "\u0000",
    "\u2028",
    "𝒳",
  ],
  ...["__proto__", "constructor", "toString", "workload", "set", "true", "2001-01-01", "0x10", "%"],
);

test("mutated scenarios", () => {
  const edit = fc.record({ at: fc.double({ min: 0, max: 1, noNaN: true }), cut: fc.nat(30), put: words });
  fc.assert(
    fc.property(
      fc.constantFrom(...shipped),
      fc.array(edit, { minLength: 1, maxLength: 5 }),
      (text, edits) => {
        let mutated = text;
        for (const { at, cut, put } of edits) {
          const i = Math.floor(at * mutated.length);
          mutated = mutated.slice(0, i) + put + mutated.slice(i + cut);
        }
        answers(mutated);
      },
    ),
    { numRuns: 600, seed: 2026 },
  );
});

test("values of any shape in any setting", () => {
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { depthSize: "small" },
      words,
      fc.integer(),
      fc.double(),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie("any"), { maxLength: 3 }),
      fc.dictionary(
        fc.oneof(words, fc.constantFrom("name", "kind", "size", "mixture", "uniform", "at")),
        tie("any"),
        {
          maxKeys: 3,
        },
      ),
    ),
  })).any;
  const key = fc.constantFrom(
    ...[
      "name",
      "duration",
      "seed",
      "sample_interval",
      "go",
      "machine",
      "workload",
      "phases",
      "interventions",
    ],
    "variants",
  );
  const field = fc.constantFrom(
    ...[
      "name",
      "kind",
      "rate",
      "size",
      "lifetime",
      "objects",
      "arrivals",
      "ttl",
      "count",
      "pointers",
      "stop",
      "tick",
    ],
  );
  const kind = fc.constantFrom("stream", "leak", "service", "batch", "cache", "goroutines");
  const entry = fc
    .tuple(kind, fc.dictionary(field, value))
    .map(([k, fields]) => ({ name: "a", kind: k, ...fields }));
  fc.assert(
    fc.property(
      fc.dictionary(key, value),
      fc.array(entry, { maxLength: 3 }),
      fc.dictionary(
        fc.constantFrom("workload.a.size", "workload.a", "go.GOGC", "phases", "workload.0.x.y"),
        value,
      ),
      (top, workload, set) => {
        const phases = [{ at: "1s", set }];
        const variants = [{ name: "x", set }];
        answers(stringify({ duration: "10s", name: "t", workload, phases, variants, ...top }));
      },
    ),
    { numRuns: 500, seed: 2026 },
  );
});

test("any text, any --set", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: "binary", maxLength: 60 }),
      fc.array(fc.string({ unit: "binary" }), { maxLength: 3 }),
      (text, set) => {
        answers(text);
        const result = loadScenario(shipped[0], "a.yaml", { set });
        expect(typeof result.ok).toBe("boolean");
      },
    ),
    { numRuns: 300, seed: 2026 },
  );
});
