import { describe, expect, it } from "vitest";
import { CliError, EXIT } from "../../src/cli/exit.ts";
import { explain } from "../../src/cli/failure.ts";

const STACK = /\n {4}at /;

describe("what a failure tells", () => {
  it("a user's fault: one line, its own status", () => {
    const told = explain(new CliError(EXIT.output, "out: cannot be written: the disk is full"), false);
    expect(told).toEqual({ status: 5, text: "gomemsim: out: cannot be written: the disk is full" });
    const faults = explain(new CliError(EXIT.scenario, "a.yaml:1:2: x\na.yaml:3:4: y"), false);
    expect(faults).toEqual({ status: 3, text: "a.yaml:1:2: x\na.yaml:3:4: y" });
  });

  it("our fault: how to report it, the stack only on demand", () => {
    const bug = new Error("HeapSys != HeapInuse + HeapIdle");
    const told = explain(bug, false);
    expect(told.status).toBe(1);
    expect(told.text).toMatch(/^gomemsim: internal error: HeapSys != /);
    expect(told.text).toMatch(/gomemsim \d+\.\d+\.\d+, Node v\d+/);
    expect(told.text).not.toMatch(STACK);
    expect(explain(bug, true).text).toMatch(STACK);
    expect(explain("thrown text", false)).toMatchObject({ status: 1 });
  });
});
