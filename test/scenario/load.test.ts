/** Every class of fault a scenario can have: where it is reported, in what words, with what hint. */
import { describe, expect, test } from "vitest";
import { type LoadOptions, loadScenario, tooLarge } from "../../src/scenario/load.ts";
import type { Scenario } from "../../src/scenario/schema.ts";

/** The faults of a scenario, one line each. */
function faults(text: string, options?: LoadOptions): string {
  const result = loadScenario(text, "t.yaml", options);
  if (result.ok) return "valid";
  return result.errors
    .map((e) => {
      const file = e.file === "t.yaml" ? "" : `${e.file}:`;
      const path = e.path === "" ? "" : ` ${e.path}`;
      return `${file}${e.line}:${e.column}${path}: ${e.message}${e.hint === undefined ? "" : ` (${e.hint})`}`;
    })
    .join("\n");
}

const HEAD = "name: t\nduration: 10s\nworkload:\n";
const STREAM = "  - {name: a, kind: stream, rate: 5k/s, size: 64, lifetime: 1s}\n";
/** One more or another setting of a stream; its line is 4. */
const stream = (settings: string) => faults(`${HEAD}  - {name: a, kind: stream, ${settings}}\n`);
const service = (settings: string) =>
  faults(`${HEAD}  - {name: a, kind: service, arrivals: {rate: 10}, ${settings}}\n`);
const rest = (settings: string) => faults(HEAD + STREAM + settings);

function load(text: string, options?: LoadOptions): readonly Scenario[] {
  const result = loadScenario(text, "t.yaml", options);
  if (!result.ok) throw new Error(faults(text, options));
  return result.scenarios;
}

describe("text that is no scenario", () => {
  test("nothing in it", () => {
    expect(faults("")).toMatchInlineSnapshot(
      `"1:1: the file is empty (a scenario has at least name, duration and workload)"`,
    );
    expect(faults("# only a comment\n")).toMatchInlineSnapshot(
      `"1:1: expected a scenario, got only comments (a scenario is a mapping: name, duration, workload, ...)"`,
    );
  });
  test("a scalar or a list at the top", () => {
    expect(faults("hello")).toMatchInlineSnapshot(
      `"1:1: expected a scenario, got "hello" (a scenario is a mapping: name, duration, workload, ...)"`,
    );
    expect(faults("- name: t")).toMatchInlineSnapshot(
      `"1:1: expected a scenario, got a list (a scenario is a mapping: name, duration, workload, ...)"`,
    );
  });
  test("YAML that is not YAML", () => {
    expect(faults("name: t\nduration: 10s\nworkload: [")).toMatchInlineSnapshot(
      `"3:12: a [ without its ] (what it holds must stand to the right of its key)"`,
    );
    expect(faults('name: "t\nduration: 10s\n')).toMatchInlineSnapshot(`"3:1: a " without its pair"`);
    expect(faults("name: t: u\n")).toMatchInlineSnapshot(
      `"1:7: two colons in one line (put a text that holds ": " in quotes)"`,
    );
    expect(faults("{name: t}}\n")).toMatchInlineSnapshot(`"1:10: a } that closes nothing"`);
    expect(faults("\0\u0001ELF")).toMatchInlineSnapshot(
      `"1:1: not a text file (a scenario is YAML text in UTF-8)"`,
    );
  });
  test("indentation", () => {
    expect(faults("name: t\n duration: 10s\n")).toMatchInlineSnapshot(
      `"1:7: a key must stand on one line with its colon (is the colon missing, or is the next line indented too deep?)"`,
    );
    expect(faults("name: t\nworkload:\n\t- kind: stream\n")).toMatchInlineSnapshot(
      `"3:1: a tab in the indentation (YAML indents with spaces)"`,
    );
    expect(faults("workload:\n  - name: a\n   kind: stream\n")).toMatchInlineSnapshot(
      `"3:4: the indentation does not fit (keys of one item start in the same column, after its dash)"`,
    );
  });
  test("keys that are no text, as in a template", () => {
    expect(faults("name: {{ name }}\nduration: 10s\n")).toMatchInlineSnapshot(
      `"1:8: a mapping or a list cannot be a key (is this a template whose {{ }} were not filled in?)"`,
    );
  });
  test("duplicate keys, told with everything else", () => {
    expect(faults(`name: t\nname: u\nduration: 10\nworkload:\n${STREAM}`)).toMatchInlineSnapshot(`
      "2:1: this key is given twice in one mapping (remove one of them)
      3:11 duration: 10 what? a duration needs a unit (did you mean "10s" or "10ms"?)"
    `);
  });
  test("tags, a second document", () => {
    expect(faults(`${HEAD}${STREAM}seed: !secret x\n`)).toMatchInlineSnapshot(
      `"5:7: a scenario has no use for YAML tags (!...) (quote the text)"`,
    );
    expect(faults(`${HEAD}${STREAM}---\nname: u\n`)).toMatchInlineSnapshot(
      `"5:1: a second YAML document begins here (one scenario per file; remove the ---)"`,
    );
  });
  test("aliases that expand without end", () => {
    const bomb = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"];
    for (let i = 1; i < 10; i++)
      bomb.push(`a${i}: &a${i} [${Array.from({ length: 10 }, () => `*a${i - 1}`).join(", ")}]`);
    expect(faults(bomb.join("\n"))).toMatchInlineSnapshot(`"2:10: aliases expand to more than 100 copies"`);
    expect(faults("name: &x [*x]\n")).toContain("name");
    expect(faults("name: *nothing\n")).toMatchInlineSnapshot(
      `"1:7: not YAML: unresolved alias (the anchor must be set before the alias): nothing"`,
    );
  });
  test("a file of 100 MB is refused by its size, unread", () => {
    // A rope: the text is never built, since only its length is looked at.
    expect(faults("x".repeat(100 * 2 ** 20))).toMatchInlineSnapshot(
      `"1:1: the file has 100.0 MiB; a scenario has at most 1 MiB"`,
    );
    expect(tooLarge(2 ** 20)).toBeUndefined();
    expect(tooLarge(2 ** 20 + 2 ** 18)).toMatchInlineSnapshot(
      `"the file has 1.3 MiB; a scenario has at most 1 MiB"`,
    );
    expect(faults("é".repeat(2 ** 19 + 1))).toContain("the file has 1.0 MiB");
  });
  test("a large file of something else is answered soon and briefly", () => {
    const keys = Array.from({ length: 20_000 }, (_, i) => `key${i}: ${i}`).join("\n");
    expect(faults(keys).split("\n").length).toBeLessThanOrEqual(103);
    expect(faults("a: b\n".repeat(150_000)).split("\n").slice(-1)).toMatchInlineSnapshot(`
      [
        "99:1: and 149903 more faults",
      ]
    `);
  });
  test("deep nesting", () => {
    expect(faults(`a: ${"[".repeat(500_000)}`)).toMatchInlineSnapshot(`"1:68: nested deeper than 64 levels"`);
    expect(faults(`a: ${"{a: ".repeat(1000)}`)).toMatchInlineSnapshot(
      `"1:260: nested deeper than 64 levels"`,
    );
    expect(faults("- ".repeat(100_000))).toMatchInlineSnapshot(`"1:129: nested deeper than 64 levels"`);
    const steps = Array.from({ length: 1200 }, (_, i) => `${" ".repeat(i)}a:`).join("\n");
    expect(faults(steps)).not.toBe("valid");
  });
});

describe("keys", () => {
  test("unknown, with what was meant", () => {
    expect(rest("go: {gogc: 50}\nGOMAXPROCS: 3\nsampl_interval: 1s\nzebra: 1\n")).toMatchInlineSnapshot(`
      "5:6 go.gogc: unknown key \`gogc\` (did you mean \`GOGC\`?)
      6:1 GOMAXPROCS: unknown key \`GOMAXPROCS\` (did you mean \`go.GOMAXPROCS\`?)
      7:1 sampl_interval: unknown key \`sampl_interval\` (did you mean \`sample_interval\`?)
      8:1 zebra: unknown key \`zebra\` (the keys here are \`name\`, \`description\`, \`duration\`, \`seed\`, \`sample_interval\`, \`layers\`, \`go\`, \`machine\`, \`container\`, \`startup\`, \`workload\`, \`phases\`, \`interventions\`, \`policies\`, \`thresholds\` and \`variants\`)"
    `);
    expect(stream("rate: 1, size: 8, lifetime: 1s, byterate: 1, bursts: 2")).toMatchInlineSnapshot(`
      "4:61 workload.a.byterate: unknown key \`byterate\` (did you mean \`byte_rate\`?)
      4:74 workload.a.bursts: unknown key \`bursts\` (the keys here are \`kind\`, \`name\`, \`start\`, \`stop\`, \`rate\`, \`byte_rate\`, \`size\`, \`pointers\`, \`lifetime\`, \`tick\` and \`goroutines\`)"
    `);
  });
  test("a misspelt required key is one fault", () => {
    expect(stream("rate: 1, siz: 8, lifetime: 1s")).toMatchInlineSnapshot(
      `"4:38 workload.a.siz: unknown key \`siz\` (did you mean \`size\`?)"`,
    );
  });
  test("missing", () => {
    expect(faults("name: t\n")).toMatchInlineSnapshot(`
      "1:1 duration: \`duration\` is missing (Virtual time to run.)
      1:1 workload: \`workload\` is missing (The sources of allocation, all at once.)"
    `);
    expect(faults(`${HEAD}  - name: a\n    rate: 5\n`)).toMatchInlineSnapshot(
      `"4:5 workload.a.kind: \`kind\` is missing (the kinds are \`stream\`, \`leak\`, \`service\`, \`batch\`, \`cache\` and \`goroutines\`)"`,
    );
    expect(service("objects: [{count: 3}]")).toMatchInlineSnapshot(
      `"4:62 workload.a.objects.0.size: \`size\` is missing (Requested bytes of one object.)"`,
    );
  });
  test("kinds", () => {
    expect(faults(`${HEAD}  - kind: strem\n  - kind: 7\n  - nonsense\n`)).toMatchInlineSnapshot(`
      "4:11 workload.0.kind: there is no kind \`strem\` (did you mean \`stream\`?)
      5:11 workload.1.kind: there is no kind 7 (the kinds are \`stream\`, \`leak\`, \`service\`, \`batch\`, \`cache\` and \`goroutines\`)
      6:5 workload.2: expected a mapping, got "nonsense""
    `);
  });
  test("a mapping where a list belongs, and the reverse", () => {
    expect(faults("name: t\nduration: 1s\nworkload: {kind: leak}\n")).toMatchInlineSnapshot(
      `"3:11 workload: expected a list, got a mapping with \`kind\` (each entry begins with a dash: - name: ...)"`,
    );
    expect(rest("go: [1]\nphases: 3\n")).toMatchInlineSnapshot(`
      "5:5 go: expected a mapping, got a list
      6:9 phases: expected a list, got 3"
    `);
  });
});

describe("quantities", () => {
  const size = (text: string) => stream(`rate: 1, lifetime: 1s, size: ${text}`);
  const duration = (text: string) => faults(`name: t\nduration: ${text}\nworkload:\n${STREAM}`);
  const rate = (text: string) => stream(`rate: ${text}, lifetime: 1s, size: 8`);
  const byteRate = (text: string) => stream(`byte_rate: ${text}, lifetime: 1s, size: 8`);
  test("sizes", () => {
    expect(
      ["64KB", "64k", "10 bytes", "1.5", "-3", "-3KiB", "10ms", "lots", '"64"', "99999TiB", "[1, 2]", "~"]
        .map(size)
        .join("\n"),
    ).toMatchInlineSnapshot(`
      "4:58 workload.a.size: expected a size such as "64KiB" or 4096, got "64KB" (did you mean "64KiB"?)
      4:58 workload.a.size: expected a size such as "64KiB" or 4096, got "64k" (did you mean "64KiB"?)
      4:58 workload.a.size: expected a size such as "64KiB" or 4096, got "10 bytes" (did you mean "10B"?)
      4:58 workload.a.size: 1.5 is not a whole number of bytes
      4:58 workload.a.size: -3 is negative (expected a size such as "64KiB" or 4096)
      4:58 workload.a.size: "-3KiB" is negative (expected a size such as "64KiB" or 4096)
      4:58 workload.a.size: expected a size such as "64KiB" or 4096, got "10ms", which is a duration
      4:58 workload.a.size: expected a size such as "64KiB" or 4096, got "lots"
      4:58 workload.a.size: expected a size such as "64KiB" or 4096, got "64" (did you mean "64B"?)
      4:58 workload.a.size: "99999TiB" is too large (at most 8191TiB)
      4:58 workload.a.size: expected a value or a distribution, got a list (for a range write {uniform: [low, high]})
      4:58 workload.a.size: expected a size such as "64KiB" or 4096, got nothing"
    `);
  });
  test("durations", () => {
    expect(
      ["10", "10 s", "10sec", "2d", "1min", "-5s", "5MiB", "1e3s", "soon", "9999999h"]
        .map(duration)
        .join("\n"),
    ).toMatchInlineSnapshot(`
      "2:11 duration: 10 what? a duration needs a unit (did you mean "10s" or "10ms"?)
      2:11 duration: expected a duration such as "10ms" or "1m30s", got "10 s" (did you mean "10s"?)
      2:11 duration: expected a duration such as "10ms" or "1m30s", got "10sec" (did you mean "10s"?)
      2:11 duration: expected a duration such as "10ms" or "1m30s", got "2d" (did you mean "48h"?)
      2:11 duration: expected a duration such as "10ms" or "1m30s", got "1min" (did you mean "1m"?)
      2:11 duration: "-5s" is negative (expected a duration such as "10ms" or "1m30s")
      2:11 duration: expected a duration such as "10ms" or "1m30s", got "5MiB", which is a size
      2:11 duration: expected a duration such as "10ms" or "1m30s", got "1e3s"
      2:11 duration: expected a duration such as "10ms" or "1m30s", got "soon"
      2:11 duration: "9999999h" is too large (at most 2501h (nanoseconds up to 2^53))"
    `);
  });
  test("rates", () => {
    expect(
      ["5k", "5rps", "5/sec", "200K/s", "3 per minute", "-1", "5MiB/s", "fast", ".inf", ".nan"]
        .map(rate)
        .join("\n"),
    ).toMatchInlineSnapshot(`
      "4:35 workload.a.rate: expected a rate such as "500/s" or "200k/s", got "5k" (did you mean "5k/s"?)
      4:35 workload.a.rate: expected a rate such as "500/s" or "200k/s", got "5rps" (did you mean "5/s"?)
      4:35 workload.a.rate: expected a rate such as "500/s" or "200k/s", got "5/sec" (did you mean "5/s"?)
      4:35 workload.a.rate: expected a rate such as "500/s" or "200k/s", got "200K/s" (did you mean "200k/s"?)
      4:35 workload.a.rate: expected a rate such as "500/s" or "200k/s", got "3 per minute" (did you mean "3/m"?)
      4:35 workload.a.rate: -1 is negative (expected a rate such as "500/s" or "200k/s")
      4:35 workload.a.rate: expected a rate such as "500/s" or "200k/s", got "5MiB/s", which is a byte rate (\`rate\` counts objects or requests; where a source takes bytes per second the key is \`byte_rate\`)
      4:35 workload.a.rate: expected a rate such as "500/s" or "200k/s", got "fast"
      4:35 workload.a.rate: Infinity is too large (at most 9e15 per second)
      4:35 workload.a.rate: expected a rate such as "500/s" or "200k/s", got NaN"
    `);
    expect(["5MB/s", "5MiB", "5MBps", "100", "5k/s"].map(byteRate).join("\n")).toMatchInlineSnapshot(`
      "4:40 workload.a.byte_rate: expected a byte rate such as "50MiB/s", got "5MB/s" (did you mean "5MiB/s"?)
      4:40 workload.a.byte_rate: expected a byte rate such as "50MiB/s", got "5MiB", which is a size (did you mean "5MiB/s"?)
      4:40 workload.a.byte_rate: expected a byte rate such as "50MiB/s", got "5MBps" (did you mean "5MiB/s"?)
      4:40 workload.a.byte_rate: 100 what? a byte rate needs its units (did you mean "100B/s" or "100MiB/s"?)
      4:40 workload.a.byte_rate: expected a byte rate such as "50MiB/s", got "5k/s", which is a count per time (\`byte_rate\` counts bytes; to count objects the key is \`rate\`)"
    `);
  });
  test("pointer parts", () => {
    expect(
      ["50", "16", "150%", "12B", "32B", "some"]
        .map((text) => stream(`rate: 1, lifetime: 1s, size: 24, pointers: ${text}`))
        .join("\n"),
    ).toMatchInlineSnapshot(`
      "4:72 workload.a.pointers: expected a share of the object (0 to 1, "50%") or a size ("16B"), got 50 (did you mean "50%"?)
      4:72 workload.a.pointers: expected a share of the object (0 to 1, "50%") or a size ("16B"), got 16 (did you mean "16B" or "16%"?)
      4:72 workload.a.pointers: expected a share of the object (0 to 1, "50%") or a size ("16B"), got "150%"
      4:72 workload.a.pointers: a pointer is 8 bytes: 12B is not a whole number of them
      4:72 workload.a.pointers: the pointer part (32B) is larger than the object (24B)
      4:72 workload.a.pointers: expected a share of the object (0 to 1, "50%") or a size ("16B"), got "some""
    `);
  });
  test("pages", () => {
    const machine = (text: string) => rest(`machine: {${text}}\n`);
    expect(
      [
        "page_size: 8KiB",
        "page_size: 4",
        "page_size: 64KiB, thp: always",
        "thp: sometimes",
        "khugepaged: {scan_sleep: 0s}",
        "khugepaged: {max_ptes_none: 512}",
      ]
        .map(machine)
        .join("\n"),
    ).toMatchInlineSnapshot(`
      "5:22 machine.page_size: expected 4KiB, 16KiB or 64KiB, got "8KiB"
      5:22 machine.page_size: expected 4KiB, 16KiB or 64KiB, got 4
      5:34 machine.thp: huge pages are those of 4KiB pages (2 MiB); with pages of 64 KiB they are not modelled (leave out one of the two)
      5:16 machine.thp: expected \`always\`, \`madvise\` or \`never\`, got "sometimes"
      5:36 machine.khugepaged.scan_sleep: must be longer than 0
      5:39 machine.khugepaged.max_ptes_none: must be at most 511, got 512"
    `);
    const valid = ["page_size: 4KiB", "page_size: 65536", "page_size: 16KiB, thp: never", "thp: always"];
    expect(valid.map(machine)).toEqual(valid.map(() => "valid"));
  });
  test("Go's settings", () => {
    const go = (text: string) => rest(`go: {${text}}\n`);
    expect(
      [
        "GOGC: -1",
        "GOGC: 1.5",
        'GOGC: "100"',
        "GOGC: of",
        "GOGC: 100%",
        "GOMEMLIMIT: 512MB",
        "GOMEMLIMIT: -1",
        "GOMEMLIMIT: none",
        "GOMEMLIMIT: of",
        "GOMEMLIMIT: 100%",
        "GOMEMLIMIT: 10s",
        "GOMEMLIMIT: 460",
        "version: 1.27",
        "version: go1.26.1",
        "GOMAXPROCS: 0",
        'GOMAXPROCS: "4"',
        "GOMAXPROCS: 1.5",
        "GOMAXPROCS: 5000",
      ]
        .map(go)
        .join("\n"),
    ).toMatchInlineSnapshot(`
      "5:12 go.GOGC: expected a whole number from 0 to 1000000 or \`off\`, got -1 (to turn the collector off write \`GOGC: off\`)
      5:12 go.GOGC: expected a whole number from 0 to 1000000 or \`off\`, got 1.5
      5:12 go.GOGC: expected a whole number from 0 to 1000000 or \`off\`, got "100" (did you mean 100, a plain number?)
      5:12 go.GOGC: expected a whole number from 0 to 1000000 or \`off\`, got "of" (did you mean \`off\`?)
      5:12 go.GOGC: expected a whole number from 0 to 1000000 or \`off\`, got "100%" (did you mean 100, a plain number?)
      5:18 go.GOMEMLIMIT: expected a size such as "64KiB" or 4096, got "512MB" (did you mean "512MiB"?)
      5:18 go.GOMEMLIMIT: -1 is negative (expected a size such as "64KiB" or 4096)
      5:18 go.GOMEMLIMIT: expected a size such as "512MiB" or \`off\`, got "none"
      5:18 go.GOMEMLIMIT: expected a size such as "512MiB" or \`off\`, got "of" (did you mean \`off\`?)
      5:18 go.GOMEMLIMIT: expected a size such as "64KiB" or 4096, got "100%"
      5:18 go.GOMEMLIMIT: expected a size such as "64KiB" or 4096, got "10s", which is a duration
      5:18 go.GOMEMLIMIT: 460 is 460 bytes, less than any Go program takes (did you mean "460MiB"?)
      5:15 go.version: expected a Go release from 1.19 to 1.26, got 1.27
      5:15 go.version: expected a Go release from 1.19 to 1.26, got "go1.26.1" (did you mean "1.26"? the model knows minor releases only)
      5:18 go.GOMAXPROCS: must be at least 1, got 0 (leave it out to use machine.cpus)
      5:18 go.GOMAXPROCS: expected a number, got "4" (write it without quotes)
      5:18 go.GOMAXPROCS: expected a whole number, got 1.5
      5:18 go.GOMAXPROCS: must be at most 1024, got 5000"
    `);
    expect(
      [
        "GODEBUG: gctrace=1",
        "GODEBUG: { gctrace: 1 }",
        "GODEBUG: { madvdontnead: 0 }",
        "GODEBUG: { madvdontneed: 2 }",
        'version: "1.20", GODEBUG: { disablethp: 1 }',
        'version: "1.24", GODEBUG: { updatemaxprocs: 0 }',
      ]
        .map(go)
        .join("\n"),
    ).toMatchInlineSnapshot(`
      "5:15 go.GODEBUG: expected a mapping, got "gctrace=1"
      5:17 go.GODEBUG.gctrace: unknown key \`gctrace\` (the keys here are \`madvdontneed\`, \`disablethp\`, \`updatemaxprocs\` and \`memprofilerate\`)
      5:17 go.GODEBUG.madvdontnead: unknown key \`madvdontnead\` (did you mean \`madvdontneed\`?)
      5:31 go.GODEBUG.madvdontneed: must be at most 1, got 2
      5:46 go.GODEBUG.disablethp: Go 1.20 does not know it (it came with Go 1.21.6)
      5:50 go.GODEBUG.updatemaxprocs: Go 1.24 does not know it (it came with Go 1.25)"
    `);
    const valid = ["GOGC: off", "GOGC: false", "version: 1.26", "version: 1.20", 'version: "1.20"'];
    valid.push("GOMEMLIMIT: off", "GOMEMLIMIT: false", "GOMEMLIMIT: 0", "GOMEMLIMIT: 1.5GiB");
    expect(valid.map(go)).toEqual(valid.map(() => "valid"));
  });
});

describe("distributions", () => {
  test("each form is read", () => {
    const dists = [
      "64",
      "{constant: 64}",
      "{uniform: [16, 512]}",
      "{exponential: 100}",
      "{lognormal: {median: 256, sigma: 1.2}}",
      "{weibull: {scale: 100, shape: 0.7}}",
      "{pareto: {min: 64, shape: 1.3, max: 1MiB}}",
      "{histogram: [[16, 32, 70], [32, 4KiB, 30]]}",
      "{mixture: [{weight: 9, of: 64}, {weight: 1, of: {exponential: 32KiB}}]}",
    ];
    expect(dists.map((d) => stream(`rate: 1, lifetime: 1s, size: ${d}`))).toEqual(dists.map(() => "valid"));
  });
  test("faults are told at their own branch", () => {
    expect(
      [
        "{exponentl: 5}",
        "{}",
        "{zipf: 5}",
        "{uniform: [1, 2], exponential: 3}",
        "[16, 512]",
        "{uniform: [512, 16]}",
        "{uniform: [512]}",
        "{uniform: 512}",
        "{uniform: [1, 1KB]}",
        "{exponential: 0}",
        "{lognormal: {median: 5}}",
        "{lognormal: {median: 5, sigma: 9, mean: 3}}",
        "{weibull: {scale: 1KB, shape: 0}}",
        "{pareto: {min: 0, shape: 1, max: 5}}",
        "{histogram: []}",
        "{histogram: [[1, 2], [4, 3, 1], [1, 2, -1]]}",
        "{mixture: [{weight: 1, of: 64}, {weigth: 1, of: 1KB}]}",
        "true",
      ]
        .map((d) => stream(`rate: 1, lifetime: 1s, size: ${d}`))
        .join("\n"),
    ).toMatchInlineSnapshot(`
      "4:59 workload.a.size.exponentl: unknown distribution \`exponentl\` (did you mean \`exponential\`?)
      4:58 workload.a.size: expected a value or a distribution, got an empty mapping
      4:59 workload.a.size.zipf: unknown distribution \`zipf\` (the distributions are \`constant\`, \`uniform\`, \`exponential\`, \`lognormal\`, \`weibull\`, \`pareto\`, \`histogram\` and \`mixture\`)
      4:58 workload.a.size: one distribution at a time, got \`uniform\` and \`exponential\` (use \`mixture\` to combine several)
      4:58 workload.a.size: expected a value or a distribution, got a list (for a range write {uniform: [low, high]})
      4:68 workload.a.size.uniform: the low end 512 is above the high end 16 (did you swap them?)
      4:68 workload.a.size.uniform: expected [low, high], got 1 value
      4:68 workload.a.size.uniform: expected [low, high], got 512
      4:72 workload.a.size.uniform.1: expected a size such as "64KiB" or 4096, got "1KB" (did you mean "1KiB"?)
      4:72 workload.a.size.exponential: an exponential needs a mean above 0
      4:70 workload.a.size.lognormal: \`sigma\` is missing (expected {median: ..., sigma: ...})
      4:89 workload.a.size.lognormal.sigma: expected a number from 0 to 5, got 9
      4:92 workload.a.size.lognormal.mean: unknown key \`mean\` (did you mean \`median\`?)
      4:76 workload.a.size.weibull.scale: expected a size such as "64KiB" or 4096, got "1KB" (did you mean "1KiB"?)
      4:88 workload.a.size.weibull.shape: expected a number above 0, got 0
      4:73 workload.a.size.pareto.min: a pareto needs a min above 0
      4:70 workload.a.size.histogram: expected a list of [from, to, weight], got an empty list
      4:71 workload.a.size.histogram.0: expected [from, to, weight], got 2 values
      4:79 workload.a.size.histogram.1: the low end 4 is above the high end 3 (did you swap them?)
      4:97 workload.a.size.histogram.2.2: expected a number above 0, got -1
      4:90 workload.a.size.mixture.1: \`weight\` is missing (expected {weight: ..., of: ...})
      4:91 workload.a.size.mixture.1.weigth: unknown key \`weigth\` (did you mean \`weight\`?)
      4:58 workload.a.size: expected a size such as "64KiB" or 4096, got true"
    `);
  });
  test("lifetimes", () => {
    expect(
      ["request", "owner", "forevr", "ages", "10", "-1s", "{exponential: 5}"]
        .map((text) => stream(`rate: 1, size: 8, lifetime: ${text}`))
        .join("\n"),
    ).toMatchInlineSnapshot(`
      "4:57 workload.a.lifetime: a stream's object belongs to no request, so it cannot live until that ends (give a duration ("100ms", {exponential: 1s}) or \`forever\`; objects of a service, batch, cache or goroutines have owners)
      4:57 workload.a.lifetime: a stream's object belongs to no owner, so it cannot live until that ends (give a duration ("100ms", {exponential: 1s}) or \`forever\`; objects of a service, batch, cache or goroutines have owners)
      4:57 workload.a.lifetime: expected a duration or \`forever\`, got "forevr" (did you mean \`forever\`?)
      4:57 workload.a.lifetime: expected a duration or \`forever\`, got "ages"
      4:57 workload.a.lifetime: 10 what? a duration needs a unit (did you mean "10s" or "10ms"?)
      4:57 workload.a.lifetime: "-1s" is negative (expected a duration such as "10ms" or "1m30s")
      4:71 workload.a.lifetime.exponential: 5 what? a duration needs a unit (did you mean "5s" or "5ms"?)"
    `);
    expect(
      ["entry", "reqest", "forever", "5s"]
        .map((text) => service(`objects: [{size: 8, lifetime: ${text}}]`))
        .join("\n"),
    ).toMatchInlineSnapshot(`
      "4:82 workload.a.objects.0.lifetime: the owner here is a request, not an entry (did you mean \`request\`?)
      4:82 workload.a.objects.0.lifetime: expected a duration, \`request\`, \`owner\` or \`forever\`, got "reqest" (did you mean \`request\`?)
      valid
      valid"
    `);
  });
});

describe("settings that contradict each other", () => {
  test("rates", () => {
    expect(stream("rate: 1, byte_rate: 1MiB/s, size: 8, lifetime: 1s")).toMatchInlineSnapshot(
      `"4:35 workload.a.rate: give exactly one of \`rate\` and \`byte_rate\`"`,
    );
    expect(stream("size: 8, lifetime: 1s")).toMatchInlineSnapshot(
      `"4:5 workload.a.rate: give exactly one of \`rate\` and \`byte_rate\`"`,
    );
  });
  test("times", () => {
    expect(stream("rate: 1, size: 8, lifetime: 1s, start: 5s, stop: 2s")).toMatchInlineSnapshot(
      `"4:78 workload.a.stop: is not after its start (5s)"`,
    );
    expect(stream("rate: 1, size: 8, lifetime: 1s, start: 10s")).toMatchInlineSnapshot(
      `"4:68 workload.a.start: is not before the end of the run (10s)"`,
    );
    expect(stream("rate: 1, size: 8, lifetime: 1s, tick: 0")).toMatchInlineSnapshot(
      `"4:67 workload.a.tick: must be longer than 0"`,
    );
    expect(stream("rate: 1, size: 8, lifetime: 1s, tick: 1m")).toMatchInlineSnapshot(
      `"4:67 workload.a.tick: is longer than the run (10s): nothing would happen"`,
    );
    expect(faults(`name: t\nduration: 0\nworkload:\n${STREAM}`)).toMatchInlineSnapshot(
      `"2:11 duration: a run of no duration shows nothing"`,
    );
    expect(rest("sample_interval: 11s\n")).toMatchInlineSnapshot(
      `"5:18 sample_interval: is longer than the run (10s): there would be no samples"`,
    );
    expect(rest("sample_interval: 500ns\n")).toMatchInlineSnapshot(
      `"5:18 sample_interval: would give 20,000,000 samples (at most 10,000,000 are taken)"`,
    );
    expect(rest("sample_interval: 0\n")).toMatchInlineSnapshot(
      `"5:18 sample_interval: must be longer than 0"`,
    );
    expect(rest("interventions: [{at: 10s, do: gc}, {at: 1s, do: gcc, every: 0}]\n")).toMatchInlineSnapshot(`
      "5:22 interventions.0.at: is not before the end of the run (10s)
      5:49 interventions.1.do: expected \`gc\`, \`read_mem_stats\`, \`free_os_memory\`, \`set_gc_percent\`, \`set_memory_limit\`, \`set_gomaxprocs\`, \`resize_container\` or \`set_neighbours\`, got "gcc" (did you mean \`gc\`?)
      5:61 interventions.1.every: must be longer than 0"
    `);
  });
  test("names", () => {
    expect(faults(HEAD + STREAM + STREAM)).toMatchInlineSnapshot(
      `"5:12 workload.1.name: a second workload entry called \`a\` (names are unique)"`,
    );
    expect(faults(HEAD + STREAM + STREAM.replace("name: a", "name: A"))).toMatchInlineSnapshot(
      `"5:12 workload.A.name: differs from \`a\` by case only (some file systems cannot tell them apart)"`,
    );
    expect(faults(HEAD + STREAM.replace("name: a", "name: 7up"))).toMatchInlineSnapshot(
      `"4:12 workload.7up.name: expected a name (letters, digits, - and _, starting with a letter), got "7up""`,
    );
    expect(faults(HEAD + STREAM.replace("name: a", "name: 7"))).toMatchInlineSnapshot(
      `"4:12 workload.0.name: expected text, got 7 (did you mean "7", in quotes?)"`,
    );
    expect(
      rest(
        "variants: [{name: x, set: {go.GOGC: 50}}, {name: x, set: {go.GOGC: 60}}, {name: base, set: {seed: 2}}, {name: y, set: {}}]\n",
      ),
    ).toMatchInlineSnapshot(`
      "5:50 variants.1.name: a second variant called \`x\` (names are unique)
      5:81 variants.base.name: \`base\` is the name of the scenario without a variant
      5:119 variants.y.set: sets nothing: it would equal the scenario itself"
    `);
  });
  test("objects", () => {
    expect(service("objects: [{size: 0}, {size: 8, pointers: 16B}]")).toMatchInlineSnapshot(`
      "4:69 workload.a.objects.0.size: an object of 0 bytes is not an allocation in Go
      4:93 workload.a.objects.1.pointers: the pointer part (16B) is larger than the object (8B)"
    `);
    expect(service("objects: [{size: 8, allocator: pool, lifetime: 1s}]")).toMatchInlineSnapshot(
      `"4:99 workload.a.objects.0.lifetime: objects from a pool or an arena go back when their owner ends: \`lifetime\` must be \`request\`"`,
    );
    expect(service("stack: 2GiB, arena_block: 8")).toMatchInlineSnapshot(`
      "4:59 workload.a.stack: Go ends the program when a stack passes 1 GB
      4:78 workload.a.arena_block: must be at least 64 bytes"
    `);
  });
  test("arrivals", () => {
    const arrivals = (text: string) =>
      faults(`${HEAD}  - {name: a, kind: service, arrivals: {rate: 10, ${text}}}\n`);
    expect(
      [
        "ramp: {to: 20, over: 0}",
        "steps: [{at: 5s, rate: 1}, {at: 5s, rate: 2}]",
        "diurnal: {period: 0, amplitude: 2}",
        "bursts: {every: 1s, length: 2s, factor: 3}",
        "process: uniform",
      ]
        .map(arrivals)
        .join("\n"),
    ).toMatchInlineSnapshot(`
      "4:72 workload.a.arrivals.ramp.over: must be longer than 0 (for a jump use \`steps\`)
      4:83 workload.a.arrivals.steps.1.at: is not after the step above it (5s)
      4:83 workload.a.arrivals.diurnal.amplitude: must be at most 1, got 2
      4:79 workload.a.arrivals.bursts.length: is longer than the time between bursts (1s)
      4:60 workload.a.arrivals.process: expected \`poisson\` or \`constant\`, got "uniform""
    `);
  });
  test("caches, batches, goroutines", () => {
    const cache = (text: string) =>
      faults(`${HEAD}  - {name: a, kind: cache, requests: 10, keys: 10, objects: [{size: 1KiB}], ${text}}\n`);
    expect(cache("max_entries: 100")).toBe("valid");
    expect(cache("ttl: 1s")).toMatchInlineSnapshot(
      `"4:5 workload.a.max_entries: give exactly one of \`max_entries\` and \`max_bytes\`"`,
    );
    expect(cache("max_entries: 5, max_bytes: 1MiB")).toMatchInlineSnapshot(
      `"4:90 workload.a.max_entries: give exactly one of \`max_entries\` and \`max_bytes\`"`,
    );
    expect(cache("max_entries: 5, ttl: 0")).toMatchInlineSnapshot(
      `"4:98 workload.a.ttl: must be longer than 0 (leave it out for no expiry)"`,
    );
    expect(cache("max_entries: 5, ttl: -1s")).toMatchInlineSnapshot(
      `"4:98 workload.a.ttl: "-1s" is negative (expected a duration such as "10ms" or "1m30s")"`,
    );
    expect(cache("max_bytes: 100")).toMatchInlineSnapshot(
      `"4:88 workload.a.max_bytes: no entry fits: one has about 1024 bytes"`,
    );
    expect(faults(`${HEAD}  - {name: a, kind: batch}\n`)).toMatchInlineSnapshot(
      `"4:5 workload.a.cpu: an item that computes, waits for and allocates nothing takes no time (give cpu, io, pause or objects)"`,
    );
    expect(faults(`${HEAD}  - {name: a, kind: goroutines, count: 5, lifetime: 0}\n`)).toMatchInlineSnapshot(
      `"4:53 workload.a.lifetime: a goroutine must live longer than 0 (leave it out for goroutines that stay)"`,
    );
  });
  test("more than a run can be", () => {
    expect(stream("rate: 500G/s, size: 8, lifetime: 1s")).toMatchInlineSnapshot(
      `"4:35 workload.a.rate: would allocate about 5.0e+12 objects in this run (at most 1e+12 can be simulated)"`,
    );
    expect(service("objects: [{size: 8, count: 1000000000000}]")).toMatchInlineSnapshot(
      `"4:40 workload.a.arrivals: would allocate about 1.0e+14 objects in this run (at most 1e+12 can be simulated)"`,
    );
    expect(stream("rate: 1, size: 2TiB, lifetime: 1s")).toMatchInlineSnapshot(
      `"4:44 workload.a.size: "2TiB" is too large for one object (it must be less than 16GiB)"`,
    );
    expect(rest("startup: {stages: [{name: s, memory: 1TiB, object_size: 16GiB}]}\n")).toContain(
      "too large for one object",
    );
    expect(rest("policies: [{kind: ballast, size: 16GiB}]\n")).toContain("too large for one object");
    expect(service("arena_block: 16GiB, objects: [{size: 8, allocator: arena}]")).toContain(
      "too large for one object",
    );
  });
});

describe("phases and variants", () => {
  const file = (tail: string) =>
    `${HEAD}  - name: api\n    kind: service\n    arrivals: {rate: 100}\n    objects: [{name: body, size: 1KiB}, {size: 64}]\n${STREAM}${tail}`;
  const at = (text: string) => faults(file(`phases:\n  - at: 5s\n    set:\n      ${text}\n`));
  test("paths that name nothing point at the path", () => {
    expect(
      [
        "workload.apii.cpu: 1ms",
        "api.cpu: 1ms",
        "workload.api.arivals.rate: 5",
        "workload.api.objects.head.size: 5",
        "workload.api.arrivals.rate.x: 5",
        "workload.api: {}",
        "workload.api.name: b",
        "workload.a.tick: 5ms",
        "go.GOGC: 50",
        "workload..x: 5",
      ]
        .map(at)
        .join("\n"),
    ).toMatchInlineSnapshot(`
      "12:7 workload.apii.cpu: no workload entry is called \`apii\` (did you mean \`api\`?)
      12:7 api.cpu: there is no setting \`api\` (did you mean \`workload.api.cpu\`?)
      12:7 workload.api.arivals: unknown key \`arivals\` (did you mean \`arrivals\`?)
      12:7 workload.api.objects.head.size: nothing in \`workload.api.objects\` is called \`head\` (the names here are \`body\`)
      12:7 workload.api.arrivals.rate.x: \`workload.api.arrivals.rate\` is 100; there is no \`x\` in it (to change it set \`workload.api.arrivals.rate\` itself)
      12:7 workload.api: a phase changes fields of an entry: \`workload.NAME.field\`
      12:7 workload.api.name: \`name\` is fixed when an entry starts; a phase cannot change it
      12:7 workload.a.tick: \`tick\` is fixed when an entry starts; a phase cannot change it
      12:7 go.GOGC: a phase can change the workload only, not \`go\` (to compare settings use \`variants\`)
      12:7 workload..x: "workload..x" is not a path (write it like \`workload.NAME.rate\` or \`go.GOGC\`)"
    `);
  });
  test("values that are wrong point at the value", () => {
    expect(at("workload.api.objects.body.size: {uniform: [1, 1KB]}")).toMatchInlineSnapshot(
      `"12:53 workload.api.objects.body.size.uniform.1: expected a size such as "64KiB" or 4096, got "1KB" (did you mean "1KiB"?)"`,
    );
    expect(at("workload.a.rate: fast")).toMatchInlineSnapshot(
      `"12:24 workload.a.rate: expected a rate such as "500/s" or "200k/s", got "fast""`,
    );
    expect(at("workload.a.byte_rate: 5MiB/s")).toMatchInlineSnapshot(
      `"12:7 workload.a.rate: give exactly one of \`rate\` and \`byte_rate\`"`,
    );
    expect(at("workload.a.rate: 500G/s")).toMatchInlineSnapshot(
      `"12:24 workload.a.rate: would allocate about 2.5e+12 objects in this run (at most 1e+12 can be simulated)"`,
    );
  });
  test("times", () => {
    const set = "set: {workload.a.rate: 5}";
    expect(
      faults(
        file(
          `phases:\n  - {at: 5s, ${set}}\n  - {at: 4s, ${set}}\n  - {at: 10s, ${set}}\n  - {at: 11s, set: {}}\n`,
        ),
      ),
    ).toMatchInlineSnapshot(`
      "11:10 phases.1.at: comes before the phase above it (5s) (phases go in order of time)
      12:10 phases.2.at: is not before the end of the run (10s)
      13:10 phases.3.at: is not before the end of the run (10s)
      13:20 phases.3.set: sets nothing"
    `);
  });
  test("a variant's faults point into the variant, once", () => {
    const variant = (text: string) => faults(file(`variants:\n  - name: x\n    set: {${text}}\n`));
    expect(
      [
        "go.GOGC: much",
        "go.GOCG: 5",
        "name: y",
        "workload.api.cpu: {expo: 1}",
        "workload.a.stop: 0",
        "duration: 1",
      ]
        .map(variant)
        .join("\n"),
    ).toMatchInlineSnapshot(`
      "11:20 go.GOGC: expected a whole number from 0 to 1000000 or \`off\`, got "much"
      11:11 go.GOCG: unknown key \`GOCG\` (did you mean \`GOGC\`?)
      11:11 name: \`name\` cannot be set by a path
      11:30 workload.api.cpu.expo: unknown distribution \`expo\` (the distributions are \`constant\`, \`uniform\`, \`exponential\`, \`lognormal\`, \`weibull\`, \`pareto\`, \`histogram\` and \`mixture\`)
      11:28 workload.a.stop: is not after its start (0s)
      11:21 duration: 1 what? a duration needs a unit (did you mean "1s" or "1ms"?)"
    `);
    expect(faults(file("seed: []\nvariants:\n  - {name: x, set: {go.GOGC: 5}}\n"))).toMatchInlineSnapshot(
      `"9:7 seed: expected a whole number or a short text, got an empty list"`,
    );
  });
  test("they are resolved", () => {
    const [base, low, short] = load(
      file(
        [
          "machine: {cpus: 3}",
          "phases:",
          "  - {at: 2s, name: more, set: {workload.api.arrivals.rate: 200, workload.a.size: 128}}",
          "  - {at: 4s, set: {workload.a.rate: 1k/s, workload.api.objects.1.size: {exponential: 32}}}",
          "variants:",
          "  - {name: low, set: {go.GOGC: off, go.GOMAXPROCS: 1, workload.a.rate: 7/s}}",
          "  - {name: short, set: {duration: 3s, workload.api.objects.body.pointers: 50%}}",
          "interventions: [{at: 5s, do: gc}]",
        ].join("\n"),
      ),
    );
    expect([base.variant, low.variant, short.variant]).toEqual(["base", "low", "short"]);
    expect(base.go).toEqual({
      version: "1.26",
      GOGC: 100,
      GOMEMLIMIT: "off",
      GOMAXPROCS: 3,
      GODEBUG: { madvdontneed: 1, disablethp: 0, updatemaxprocs: 1, memprofilerate: 524288 },
    });
    expect(low.go).toEqual({
      version: "1.26",
      GOGC: "off",
      GOMEMLIMIT: "off",
      GOMAXPROCS: 1,
      GODEBUG: { madvdontneed: 1, disablethp: 0, updatemaxprocs: 1, memprofilerate: 524288 },
    });
    expect(base.phases.map((p) => [p.at, p.name, p.changes.map((c) => c.index)])).toEqual([
      [2e9, "more", [0, 1]],
      [4e9, "phase 2", [0, 1]],
    ]);
    // Phases build on each other and on the variant.
    expect(base.phases[1].changes[0].entry).toMatchObject({ arrivals: { rate: 200 } });
    expect(low.workload[1]).toMatchObject({ rate: 7, size: { kind: "constant", value: 64 } });
    expect(low.phases[0].changes[1].entry).toMatchObject({ rate: 7, size: { value: 128 } });
    expect(low.phases[1].changes[1].entry).toMatchObject({ rate: 1000, size: { value: 128 } });
    // A shortened run keeps what it reaches.
    expect(short.phases.map((p) => p.at)).toEqual([2e9]);
    expect(short.interventions).toEqual([]);
    expect(short.workload[0]).toMatchObject({
      objects: [{ pointers: { kind: "fraction", fraction: 0.5 } }, {}],
    });
    expect(JSON.parse(JSON.stringify(base))).toEqual(base);
  });
  test("null goes back to the default", () => {
    const text = file(
      "variants:\n  - {name: x, set: {workload.a.rate: null, workload.a.byte_rate: 1MiB/s}}\n",
    );
    expect(load(text)[1].workload[1]).toMatchObject({ byte_rate: 2 ** 20 });
    expect(load(text)[1].workload[1]).not.toHaveProperty("rate");
  });
  test("anchors and merge keys are followed, also by errors", () => {
    const text = (lifetime: string) =>
      `${HEAD}  - &s {name: a, kind: stream, rate: 5, size: 64, lifetime: ${lifetime}}\n  - {<<: *s, name: b}\n`;
    expect(load(text("1s"))[0].workload[1]).toMatchObject({ name: "b", rate: 5 });
    expect(faults(text("10"))).toMatchInlineSnapshot(`
      "4:61 workload.a.lifetime: 10 what? a duration needs a unit (did you mean "10s" or "10ms"?)
      4:61 workload.b.lifetime: 10 what? a duration needs a unit (did you mean "10s" or "10ms"?)"
    `);
  });
});

describe("--set", () => {
  const text = HEAD + STREAM;
  const set = (...args: string[]) => faults(text, { set: args });
  test("faults show the argument", () => {
    expect(
      set("go.GOCG=50", "duration", "=5", "workload.a.size=64KB", "duration={", "a=*x"),
    ).toMatchInlineSnapshot(`
      "--set:1:1: expected path=value, got "duration" (for example go.GOGC=50)
      --set:1:1: expected path=value, got "=5" (for example go.GOGC=50)
      --set:1:1: the value of "duration" is not YAML (for example {exponential: 10ms})
      --set:1:1: the value of "a" is not YAML (for example {exponential: 10ms})
      --set:1:1 go.GOCG: unknown key \`GOCG\` (did you mean \`GOGC\`?)
      --set:1:1 workload.a.size: expected a size such as "64KiB" or 4096, got "64KB" (did you mean "64KiB"?)"
    `);
  });
  test("values are YAML; they override the file and its variants", () => {
    const args = ["duration=5s", "go.GOGC=off", "workload.a.size={exponential: 1KiB}", "seed=abc"];
    const [base, x] = load(`${text}variants: [{name: x, set: {go.GOGC: 50}}]\n`, { set: args });
    expect(base).toMatchObject({ duration: 5e9, seed: "abc", go: { GOGC: "off" } });
    expect(base.workload[0]).toMatchObject({ size: { kind: "exponential", mean: 1024 } });
    expect(x.go.GOGC).toBe("off");
  });
});

test("all faults of a file are told at once, in its order", () => {
  const text = [
    "name: my scenario",
    "duration: 10",
    "go: {GOCG: 50}",
    "workload:",
    "  - name: a",
    "    kind: stream",
    "    rate: 5/fortnight",
    "    size: 64KB",
    "    lifetime: request",
    "  - {name: b, kind: leak, byte_rate: 1MB/s, size: {uniform: [9, 3]}, start: 5s, stop: 1s}",
    "variants:",
    "  - {name: x, set: {workload.c.rate: 5}}",
  ].join("\n");
  expect(faults(text)).toMatchInlineSnapshot(`
    "1:7 name: expected a name (letters, digits, - and _, starting with a letter), got "my scenario"
    2:11 duration: 10 what? a duration needs a unit (did you mean "10s" or "10ms"?)
    3:6 go.GOCG: unknown key \`GOCG\` (did you mean \`GOGC\`?)
    7:11 workload.a.rate: expected a rate such as "500/s" or "200k/s", got "5/fortnight"
    8:11 workload.a.size: expected a size such as "64KiB" or 4096, got "64KB" (did you mean "64KiB"?)
    9:15 workload.a.lifetime: a stream's object belongs to no request, so it cannot live until that ends (give a duration ("100ms", {exponential: 1s}) or \`forever\`; objects of a service, batch, cache or goroutines have owners)
    10:38 workload.b.byte_rate: expected a byte rate such as "50MiB/s", got "1MB/s" (did you mean "1MiB/s"?)
    10:61 workload.b.size.uniform: the low end 9 is above the high end 3 (did you swap them?)
    12:21 workload.c.rate: no workload entry is called \`c\` (the names here are \`a\` and \`b\`)"
  `);
});
