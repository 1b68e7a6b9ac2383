import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CliError } from "../../src/cli/exit.ts";
import { OutputFolder, writeFileWhole } from "../../src/cli/outputs.ts";
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

  it.each([false, true])("clears up what a killed process left there, target existing: %s", (exists) => {
    const target = join(root, `killed-${exists}`, "out");
    mkdirSync(exists ? target : join(target, ".."), { recursive: true });
    // Another run that goes on, of this process.
    const other = new OutputFolder(target);
    const gone = String(spawnSync(process.execPath, ["-e", ""]).pid);
    const leave = (space: string | undefined, pid: string): string => {
      const path = other.temporary
        .replace(/-[0-9a-f]{12}$/, "-0123456789ab")
        .replace(/\.tmp-([0-9a-f]{8})-\d+/, (_, own) => `.tmp-${space ?? own}-${pid}`);
      mkdirSync(path);
      writeFileSync(join(path, "timeseries.csv"), "half");
      return path;
    };
    const ofGone = leave(undefined, gone);
    const ofUs = leave(undefined, String(process.pid));
    const ofParent = leave(undefined, String(process.ppid));
    const elsewhere = leave("00000000", gone);
    const longAgo = leave("00000001", gone);
    utimesSync(ofUs, 1e9, 1e9);
    utimesSync(longAgo, 1e9, 1e9);
    const folder = new OutputFolder(target);
    for (const path of [ofGone, ofUs, longAgo]) expect(existsSync(path), path).toBe(false);
    for (const path of [ofParent, elsewhere, other.temporary, folder.temporary])
      expect(existsSync(path), path).toBe(true);
    other.abort();
    folder.abort();
    rmSync(join(target, ".."), { recursive: true });
  });

  it("clears up beside a single file, too", () => {
    const path = join(root, "single.svg");
    const gone = spawnSync(process.execPath, ["-e", ""]).pid;
    const folder = new OutputFolder(path);
    const left = folder.temporary.replace(`-${process.pid}-`, `-${gone}-`);
    folder.abort();
    writeFileSync(left, "half");
    writeFileSync(`${path}.tmp-mine`, "of somebody else");
    writeFileWhole(path, "whole");
    expect(tree(root).filter((name) => name.startsWith("single"))).toEqual([
      "single.svg",
      "single.svg.tmp-mine",
    ]);
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
