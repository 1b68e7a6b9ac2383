/** A run that is killed, or told to end, while it writes: what is then there under a final name is whole, and of one run. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { Profile } from "pprof-format";
import { beforeAll, describe, expect, it } from "vitest";
import { GCTRACE_LINE } from "../report/gctrace-grammar.ts";
import { run, scratch, start, tree, write } from "./cli.ts";

const LAST_SECONDS = 60;

/** The last variant runs alone and so long that a signal meets it on a busy machine, too: while it writes, the files of the others are complete. */
const SCENARIO = `name: s
duration: 2s
layers: true
workload:
  - { kind: stream, name: objects, rate: 100k/s, size: 64, lifetime: 5ms }
container: { memory: { max: 256MiB } }
variants:
  - { name: a, set: { go.GOGC: 50 } }
  - { name: b, set: { go.GOGC: 200, duration: ${LAST_SECONDS}s } }
`;
const EVERYTHING = [
  "run",
  "s.yaml",
  "-q",
  ...["--trace", "--heap-profile", "--profile-at", "500ms"],
  ...["--export", "prometheus,openmetrics,vars,metrics,grafana,proc", "--out", "out"],
];

const folder = scratch();
const old = join(folder, "old");
const fresh = join(folder, "fresh");
const filesOf = (of: string): Map<string, Buffer> =>
  new Map(
    tree(of)
      .filter((path) => !path.endsWith("/"))
      .map((path) => [path, readFileSync(join(of, path))]),
  );
let before: Map<string, Buffer>;
let after: Map<string, Buffer>;

beforeAll(async () => {
  for (const [to, seed] of [
    [old, "1"],
    [fresh, "2"],
  ]) {
    mkdirSync(to);
    write(to, "s.yaml", SCENARIO);
    expect(await run(to, [...EVERYTHING, "--seed", seed])).toEqual({ status: 0, stdout: "", stderr: "" });
  }
  before = filesOf(join(old, "out"));
  after = filesOf(join(fresh, "out"));
}, 120_000);

/** The fullest timeseries.csv, a trace that grows, a variant that is done, and the moment when files take their final names. */
const MOMENTS: Readonly<Record<string, (temporary: string) => boolean>> = {
  "timeseries.csv grows": (temporary) => sizeOf(join(temporary, "timeseries.csv")) > 0,
  "the event trace grows": (temporary) => sizeOf(join(temporary, "b/events.ndjson")) > 1 << 20,
  "a variant is done and another is not": (temporary) => sizeOf(join(temporary, "report.html")) > 0,
  // The first variant's did.
  "files take their final names": (temporary) => !existsSync(join(temporary, "a")),
};

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

/** Where the run writes until it is done, once it has begun. */
function temporaryOf(target: string): string | undefined {
  const [inside, name] = existsSync(target) ? [target, "gomemsim"] : [dirname(target), "out"];
  const found = readdirSync(inside).find((entry) => entry.startsWith(`${name}.tmp-`));
  return found === undefined ? undefined : join(inside, found);
}

/** Starts the run into `target` and sends the signal at the moment. */
async function stopAt(
  target: string,
  moment: string,
  signal: NodeJS.Signals,
): Promise<{ readonly status: number | null; readonly stderr: string; readonly by: NodeJS.Signals | null }> {
  const cwd = dirname(target);
  const { child, result } = start(cwd, [...EVERYTHING, "--seed", "2"]);
  const came = MOMENTS[moment];
  const until = performance.now() + 100_000;
  let temporary: string | undefined;
  while (child.exitCode === null && performance.now() < until) {
    temporary ??= temporaryOf(target);
    if (temporary !== undefined && came(temporary)) {
      child.kill(signal);
      const { status, stderr } = await result;
      return { status, stderr, by: child.signalCode };
    }
    // With the last file written all take their names, within a millisecond or two: no time for a pause.
    const soon = temporary !== undefined && existsSync(join(temporary, "overlay.html"));
    if (!soon) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  child.kill("SIGKILL");
  throw new Error(`${moment}: did not come about; ${(await result).stderr}`);
}

const isLeftOver = (path: string): boolean => /(^|\/)(gomemsim|out)\.tmp-/.test(path);
const RUNS = ["", "a/", "b/"];
/** Of one run's own folder. */
const within = (files: ReadonlyMap<string, Buffer>, at: string): string[] =>
  [...files.keys()].filter((path) => path.startsWith(at) && (at !== "" || !/^[ab]\//.test(path)));

/** Every file as one of the two runs has it, and where there is a summary.json all of them of its run. */
function expectWhole(target: string): void {
  const files = new Map(existsSync(target) ? [...filesOf(target)].filter(([path]) => !isLeftOver(path)) : []);
  const same = (path: string, of: ReadonlyMap<string, Buffer>): boolean =>
    files.get(path)?.equals(of.get(path) ?? Buffer.of(0)) === true;
  for (const path of files.keys()) expect(same(path, before) || same(path, after), path).toBe(true);
  for (const at of RUNS) {
    if (!files.has(`${at}summary.json`)) continue;
    const its = same(`${at}summary.json`, before) ? before : after;
    expect(within(files, at)).toEqual(within(its, at));
    for (const path of within(its, at)) expect(same(path, its), path).toBe(true);
  }
}

describe("a run killed while it writes", () => {
  it("would have written files that are whole", () => {
    expect([...before.keys()]).toEqual([...after.keys()]);
    for (const [path, bytes] of before) {
      const text = bytes.toString("utf8");
      const lines = text.trimEnd().split("\n");
      const seconds = path.startsWith("b/") ? LAST_SECONDS : 2;
      if (path.endsWith(".gz"))
        expect(Profile.decode(gunzipSync(bytes)).sample.length, path).toBeGreaterThan(0);
      else if (text !== "") expect(text.endsWith("\n"), path).toBe(true);
      if (path.endsWith(".csv")) {
        const columns = lines[0].split(",").length;
        for (const line of lines) expect(line.split(",").length, path).toBe(columns);
      }
      if (path.endsWith("timeseries.csv")) expect(Number(lines.at(-1)?.split(",")[0])).toBe(seconds);
      if (path.endsWith(".json")) expect(JSON.parse(text), path).toBeTypeOf("object");
      if (path.endsWith(".ndjson")) for (const line of lines) JSON.parse(line);
      if (path.endsWith(".html")) expect(text.trimEnd().endsWith("</html>"), path).toBe(true);
      if (path.endsWith("gctrace.txt")) for (const line of lines) expect(line).toMatch(GCTRACE_LINE);
      if (path.endsWith("openmetrics.txt")) expect(lines.at(-1)).toBe("# EOF");
    }
    for (const kind of [".gz", ".csv", ".json", ".ndjson", ".html", "gctrace.txt", "openmetrics.txt"])
      expect([...before.keys()].filter((path) => path.endsWith(kind)).length, kind).toBeGreaterThanOrEqual(3);
  });

  describe.each(Object.keys(MOMENTS))("when %s", (moment) => {
    it.each([
      ["an empty place", false],
      ["an earlier run's folder", true],
    ])("SIGKILL leaves no half file in %s, and the next run clears up", async (_, over) => {
      const cwd = scratch();
      write(cwd, "s.yaml", SCENARIO);
      const target = join(cwd, "out");
      if (over) cpSync(join(old, "out"), target, { recursive: true });
      const { by, stderr } = await stopAt(target, moment, "SIGKILL");
      expect([by, stderr]).toEqual(["SIGKILL", ""]);
      expectWhole(target);
      if (!moment.includes("final names")) {
        expect(tree(cwd).some(isLeftOver)).toBe(true);
        expect(existsSync(target)).toBe(over);
        if (over) expect(readFileSync(join(target, "summary.json"))).toEqual(before.get("summary.json"));
      }
      const next = await run(cwd, [...EVERYTHING, "--seed", "2"]);
      expect(next).toEqual({ status: 0, stdout: "", stderr: "" });
      expect(tree(cwd)).toEqual([...[...after.keys()].map((path) => `out/${path}`), "s.yaml"].sort());
      expectWhole(target);
    });
  });

  it.each([
    ["SIGINT", 130, "the event trace grows"],
    ["SIGTERM", 143, "a variant is done and another is not"],
    ["SIGHUP", 129, "timeseries.csv grows"],
  ] as const)("%s leaves the earlier run as it was, and nothing else", async (signal, status, moment) => {
    const cwd = scratch();
    write(cwd, "s.yaml", SCENARIO);
    const target = join(cwd, "out");
    cpSync(join(old, "out"), target, { recursive: true });
    const ended = await stopAt(target, moment, signal);
    expect(ended.status).toBe(status);
    expect(ended.stderr).toMatch(/nothing was written\n$/);
    const there = filesOf(target);
    expect([...there.keys()]).toEqual([...before.keys()]);
    for (const [path, bytes] of before) expect(there.get(path)?.equals(bytes), path).toBe(true);
    expect(tree(cwd).some(isLeftOver)).toBe(false);
  });
});
