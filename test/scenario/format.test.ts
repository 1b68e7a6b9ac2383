import { expect, test } from "vitest";
import { formatErrors, loadScenario } from "../../src/scenario/load.ts";

function formatted(text: string, color = false): string {
  const result = loadScenario(text, "web.yaml");
  return result.ok ? "valid" : formatErrors(result.errors, { color });
}

test("an excerpt, a caret and a hint", () => {
  expect(
    formatted(
      "name: web\nduration: 10s\nworkload:\n  - name: a\n    kind: stream\n    rate: 5k/s\n    size: 64KB\n    lifetime: 1s\nseed: 1.5\n",
    ),
  ).toMatchInlineSnapshot(`
    "web.yaml:7:11: workload.a.size: expected a size such as "64KiB" or 4096, got "64KB"
      7 |     size: 64KB
        |           ^
      did you mean "64KiB"?

    web.yaml:9:7: seed: expected a whole number or a short text, got 1.5
      9 | seed: 1.5
        |       ^"
  `);
});

test("a long line is shown around the caret", () => {
  const out = formatted(
    `name: web\nduration: 10s\nworkload: [{name: ${"a".repeat(60)}, kind: stream, rate: 5k/s, lifetime: 1s, size: 64KB}]\n`,
  );
  const [, source, caret] = out.split("\n");
  expect(source.slice(caret.indexOf("^")).startsWith("64KB")).toBe(true);
});

test("color marks the message; control characters never reach the terminal", () => {
  expect(formatted("name: web\nduration: 10\nworkload: []\n", true)).toContain("\u001b[31m10 what?");
  expect(formatted('name: "\\e[2J"\nduration: 10s\nworkload: []\n')).not.toContain("\u001b");
  expect(formatted("name: \u001b[2Jx\nduration: 10s\nworkload: []\n")).not.toContain("\u001b");
});
