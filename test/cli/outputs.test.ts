import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CliError } from "../../src/cli/exit.ts";
import { OutputFolder } from "../../src/cli/outputs.ts";
import { formatEta } from "../../src/cli/progress.ts";
import { scratch, tree } from "./cli.ts";

describe("output folder", () => {
  const root = scratch();

  it("appears whole, parents and all, with ordinary permissions", () => {
    const target = join(root, "a/b/c");
    const folder = new OutputFolder(target);
    writeFileSync(join(folder.folder(""), "x"), "1");
    writeFileSync(join(folder.folder("variant"), "y"), "2");
    expect(existsSync(target)).toBe(false);
    folder.commit();
    expect(tree(join(root, "a"))).toEqual(["b/c/variant/y", "b/c/x"]);
    expect(statSync(target).mode & 0o777).toBe(0o777 & ~process.umask());
  });

  it("disappears without a trace", () => {
    const folder = new OutputFolder(join(root, "d/e/f"));
    writeFileSync(join(folder.folder(""), "x"), "1");
    folder.abort();
    expect(existsSync(join(root, "d"))).toBe(false);
  });

  it("merges into a folder that exists or has appeared meanwhile", () => {
    for (const before of [true, false]) {
      const target = join(root, `merge-${before}`);
      const prepare = (): void => {
        mkdirSync(join(target, "variant"), { recursive: true });
        writeFileSync(join(target, "variant/mine"), "kept");
        writeFileSync(join(target, "x"), "old");
      };
      if (before) prepare();
      const folder = new OutputFolder(target);
      if (!before) prepare();
      writeFileSync(join(folder.folder(""), "x"), "new");
      writeFileSync(join(folder.folder("variant"), "y"), "2");
      writeFileSync(join(folder.folder("other"), "z"), "3");
      folder.commit();
      expect(tree(target)).toEqual(["other/z", "variant/mine", "variant/y", "x"]);
      expect(readFileSync(join(target, "x"), "utf8")).toBe("new");
      expect(tree(root).some((path) => path.includes(".tmp-"))).toBe(false);
    }
  });

  it("refuses a file in its place", () => {
    writeFileSync(join(root, "file"), "");
    expect(() => new OutputFolder(join(root, "file"))).toThrow(CliError);
    expect(() => new OutputFolder(join(root, "file/below"))).toThrow(CliError);
  });
});

describe("time left", () => {
  it("reads well", () => {
    expect([0.4, 59, 61, 3599, 7260, Number.NaN].map(formatEta)).toEqual([
      "0s",
      "59s",
      "1m01s",
      "59m59s",
      "2h01m",
      "?",
    ]);
  });
});
