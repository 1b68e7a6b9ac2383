/** Every class of bad input: a clear message, the documented status, no stack trace, nothing written. */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { type Result, run, SMALL, scratch, shell, tree, VARIANTS, write } from "./cli.ts";

function expectFault(result: Result, status: number, message: RegExp): void {
  expect(result.stderr).toMatch(message);
  expect(result.status, result.stderr).toBe(status);
  expect(result.stderr).not.toMatch(/\n\s+at .*:\d+/);
  expect(result.stderr).not.toContain("internal error");
  expect(result.stdout).toBe("");
}

describe("input that cannot be read", () => {
  const folder = scratch();
  write(folder, "web-api.yaml", SMALL);
  mkdirSync(join(folder, "folder"));
  write(folder, "huge.yaml", "");
  truncateSync(join(folder, "huge.yaml"), 100 * 2 ** 20);
  write(folder, "binary.yaml", Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0, 0, 0xff, 0xfe]));
  write(
    folder,
    "latin1.yaml",
    Buffer.concat([Buffer.from("name: x\n# caf"), Buffer.from([0xe9]), Buffer.from("\n")]),
  );

  it.each<[string, string[], RegExp]>([
    [
      "a missing file",
      ["run", "web-apo.yaml"],
      /web-apo\.yaml: cannot be read: no such file or folder; did you mean web-api\.yaml\?/,
    ],
    ["a missing extension", ["check", "web-api"], /did you mean web-api\.yaml\?/],
    ["a folder", ["run", "folder"], /^gomemsim: folder: is a folder/],
    ["a 100 MB file", ["run", "huge.yaml"], /^gomemsim: huge\.yaml: 100\.0 MiB is too large/],
    ["a binary file", ["check", "binary.yaml"], /binary\.yaml: not UTF-8 text; it looks like a binary file/],
    ["another encoding", ["check", "latin1.yaml"], /latin1\.yaml: not UTF-8 text, line 2 /],
    ["a path through a file", ["check", "web-api.yaml/x"], /a part of the path is a file/],
  ])("%s", async (_, args, message) => {
    expectFault(await run(folder, args), 4, message);
    expect(tree(folder).some((path) => path.startsWith("out"))).toBe(false);
  });

  it("too much on standard input", async () => {
    const result = await run(folder, ["check", "-"], { stdin: "# \n".repeat(500_000) });
    expectFault(result, 4, /^gomemsim: <stdin>: more than 1 MiB is too large/);
  });
});

describe("a wrong command line", () => {
  const folder = scratch();
  write(folder, "s.yaml", SMALL);

  it.each<[string, string[], RegExp]>([
    ["no command", [], /Name a command/],
    ["an unknown command", ["rnu", "s.yaml"], /run\?/],
    ["an unknown option", ["run", "s.yaml", "--sed", "1"], /sed/],
    ["no file", ["run"], /file/],
    ["two files", ["run", "s.yaml", "t.yaml"], /t\.yaml/],
    [
      "a setting without a value",
      ["run", "s.yaml", "--set", "go.GOGC"],
      /--set: expected path=value, got "go\.GOGC"/,
    ],
    ["an option twice", ["run", "s.yaml", "--out", "a", "--out", "b"], /--out: given more than once/],
    ["an option without its value", ["run", "s.yaml", "--out"], /out/],
    ["an empty option", ["run", "s.yaml", "--out", ""], /--out: needs a value/],
  ])("%s", async (_, args, message) => {
    expectFault(await run(folder, args), 2, message);
    expect(tree(folder)).toEqual(["s.yaml"]);
  });
});

describe("a scenario that is not valid", () => {
  const folder = scratch();

  it.each<[string, string, RegExp]>([
    ["empty", "", /^bad\.yaml:1:1: /],
    ["not YAML", "name: [1, 2\nworkload: }", /^bad\.yaml:\d+:\d+: /],
    ["not a mapping", "- 1\n- 2\n", /^bad\.yaml:1:1: /],
    [
      "an unknown key",
      SMALL.replace("duration:", "durration:"),
      /^bad\.yaml:2:1: .*durration[\s\S]*duration/,
    ],
    ["a wrong unit", SMALL.replace("5ms", "5 minutes"), /^bad\.yaml:8:15: .*lifetime.*/],
    ["a negative rate", SMALL.replace("200k/s", "-5"), /^bad\.yaml:6:11: .*rate/],
    ["zero Ps", `${SMALL}go: {GOMAXPROCS: 0}\n`, /^bad\.yaml:9:\d+: .*GOMAXPROCS/],
    ["contradictory settings", `${SMALL}    byte_rate: 1MiB/s\n`, /exactly one of .*rate.* and .*byte_rate/],
    [
      "an alias bomb",
      `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d]\n`,
      /^bad\.yaml:\d+:\d+: /,
    ],
  ])("%s", async (_, text, message) => {
    write(folder, "bad.yaml", text);
    expectFault(await run(folder, ["run", "bad.yaml"]), 3, message);
    expect(tree(folder)).toEqual(["bad.yaml"]);
  });

  it("tells all faults at once", async () => {
    write(
      folder,
      "bad.yaml",
      SMALL.replace("200k/s", "fast").replace("size: 64", "sise: 64").replace("5ms", "5"),
    );
    const result = await run(folder, ["check", "bad.yaml"]);
    expectFault(result, 3, /bad\.yaml:6:11: /);
    expect(result.stderr).toMatch(/bad\.yaml:7:5: [\s\S]*`?size`?/);
    expect(result.stderr).toMatch(/bad\.yaml:8:15: /);
  });

  it("a --set that does not fit", async () => {
    write(folder, "bad.yaml", SMALL);
    expectFault(await run(folder, ["run", "bad.yaml", "--set", "go.GOGV=5"]), 3, /GOGV[\s\S]*GOGC/);
  });

  it("a machine profile that is none", async () => {
    write(folder, "bad.yaml", SMALL);
    expectFault(
      await run(folder, ["run", "bad.yaml", "--profile", "bad.yaml"]),
      3,
      /^bad\.yaml: not a machine profile/,
    );
    write(folder, "p.json", "{}");
    expectFault(await run(folder, ["run", "bad.yaml", "--profile", "p.json"]), 3, /^p\.json: .*\np\.json: /);
    expectFault(await run(folder, ["run", "bad.yaml", "--profile", "q.json"]), 4, /q\.json: cannot be read/);
  });
});

describe("output that cannot be written", () => {
  const folder = scratch();
  write(folder, "s.yaml", SMALL);
  write(folder, "file", "");
  mkdirSync(join(folder, "locked"));
  chmodSync(join(folder, "locked"), 0o555);

  it.each<[string, string, RegExp]>([
    ["a file", "file", /^gomemsim: file: cannot be written: it is a file, and a folder is needed/],
    ["below a file", "file/out", /^gomemsim: file\/out: cannot be written: a part of the path is a file/],
    ["a device folder", "/dev/null/x", /cannot be written/],
  ])("--out is %s", async (_, out, message) => {
    expectFault(await run(folder, ["run", "s.yaml", "--out", out]), 5, message);
    expect(tree(folder)).toEqual(["file", "locked/", "s.yaml"]);
  });

  // Root may write anywhere, so that only the kernel's own file systems refuse it.
  const unwritable = process.getuid?.() === 0 ? "/proc/gomemsim-out" : "locked/out";
  it.skipIf(process.platform !== "linux")("--out is in an unwritable folder", async () => {
    expectFault(await run(folder, ["run", "s.yaml", "--out", unwritable]), 5, /out: cannot be written: /);
    expect(tree(folder)).toEqual(["file", "locked/", "s.yaml"]);
  });
});

const root = fileURLToPath(new URL("../..", import.meta.url));
const recorded = `${join(root, "scenarios/steady-64b.yaml")} --recorded ${join(root, "test/golden/oracle")}`;

/** Every command that prints, in a folder with a finished run. */
const PRINTING: readonly string[] = [
  "--help",
  "check s.yaml",
  "run s.yaml --out again",
  "compare out",
  "compare out --format json",
  "plot out -o -",
  "report out",
  `validate ${recorded} --seeds 1 --json`,
  "serve s.yaml --listen 127.0.0.1:0",
];

/** Leaves a finished run with a variant in the folder. */
async function runIn(folder: string): Promise<void> {
  write(folder, "s.yaml", VARIANTS);
  expect((await run(folder, ["run", "s.yaml", "--out", "out", "-q"])).stderr).toBe("");
}

describe.skipIf(process.platform !== "linux")("standard output that cannot be written", () => {
  const folder = scratch();
  beforeAll(() => runIn(folder));

  it.each(PRINTING)("gomemsim %s", async (command) => {
    const closed = await shell(folder, `gomemsim ${command} | true; exit $PIPESTATUS`);
    expect(closed.stderr).toMatch(/^gomemsim: standard output was closed before everything was printed$/m);
    expect(closed.stderr).not.toMatch(/\n\s+at |internal error/);
    expect(closed.status).toBe(5);
    const full = await shell(folder, `gomemsim ${command} > /dev/full`);
    expect(full.stderr).toMatch(/^gomemsim: standard output: cannot be written: the disk is full$/m);
    expect(full.stderr).not.toMatch(/\n\s+at |internal error/);
    expect(full.status).toBe(5);
  });

  it("nothing is printed: nothing is wrong", async () => {
    const quiet = await shell(folder, "gomemsim run s.yaml --out quiet -q | true; exit $PIPESTATUS");
    expect(quiet).toEqual({ status: 0, stdout: "", stderr: "" });
  });
});

/** Shell lines in which `full` is a file system of so many KiB, which goes with the shell; a user's own mounts need a namespace. */
const onSmallDisk = (folder: string, kib: number, lines: string): Promise<Result> =>
  shell(
    folder,
    `mkdir -p full; export -f gomemsim; unshare -rm bash -c 'mount -t tmpfs -o size=${kib}k none full && ${lines}'`,
  );

const mounts =
  spawnSync("unshare", ["-rm", "bash", "-c", "mount -t tmpfs -o size=64k none /tmp"], { stdio: "ignore" })
    .status === 0;
const noMounts = mounts ? "" : " (skipped: this machine lets nobody mount a small file system)";

describe.skipIf(!mounts)(`a disk that is full${noMounts}`, () => {
  const folder = scratch();
  beforeAll(() => runIn(folder));
  const FULL = /^gomemsim: full\S*: cannot be written: the disk is full\n$/;

  // From a disk on which not even a folder's first file fits to one on which nearly everything does.
  it.each([4, 128, 400])("run leaves nothing on one of %i KiB", async (kib) => {
    const ended = await onSmallDisk(
      folder,
      kib,
      "{ gomemsim run s.yaml -q --out full/new/out --trace; echo $?; find full -mindepth 1; }",
    );
    expect(ended.stderr).toMatch(FULL);
    expect(ended.stdout).toBe("5\n");
  });

  it("run leaves an earlier run as it was", async () => {
    const ended = await onSmallDisk(
      folder,
      1200,
      "{ cp -r out full/; gomemsim run s.yaml -q --seed 2 --trace --out full/out; echo $?; diff -r out full/out; }",
    );
    expect(ended.stderr).toMatch(FULL);
    expect(ended.stdout).toBe("5\n");
  });

  it.each([
    ["plot out -o full/p.svg"],
    ["plot out -o full/p.png"],
    ["report out --out full/r.html"],
    ["report out out/gogc400 --out full/r.html"],
  ])("%s leaves no half file", async (command) => {
    const ended = await onSmallDisk(folder, 8, `{ gomemsim ${command}; echo $?; ls -A full; }`);
    expect(ended.stderr).toMatch(FULL);
    expect(ended.stdout).toBe("5\n");
  });

  it("what is printed into a file there does not fit", async () => {
    const ended = await onSmallDisk(
      folder,
      4,
      'for command in "compare out --format json" "check s.yaml"; do gomemsim $command >> full/printed; echo $?; done',
    );
    // Of the first some fits.
    const complaint = "gomemsim: standard output: cannot be written: the disk is full\n";
    expect(ended.stderr).toBe(complaint.repeat(2));
    expect(ended.stdout).toBe("5\n5\n");
  });
});
