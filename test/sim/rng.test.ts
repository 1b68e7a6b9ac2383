import { readFileSync } from "node:fs";
import { build } from "esbuild";
import { expect, test } from "vitest";
import { RandomStreams, Rng } from "../../src/sim/rng.ts";

test("the sequence of a seed is fixed for good", () => {
  const rng = new Rng("gomemsim");
  const first = Array.from({ length: 6 }, () => rng.u32());
  expect(first).toMatchInlineSnapshot(`
    [
      4060452987,
      3645674611,
      202660961,
      2364769417,
      847932735,
      1676305832,
    ]
  `);
});

test("sfc32 from a given state is the published generator", () => {
  // The reference in plain 32-bit steps, on BigInt, so that no operator is shared with the code under test.
  const M = 0xffffffffn;
  const rng = new Rng("reference");
  let [a, b, c, d] = Array.from(rng.state, (x) => BigInt(x) & M);
  for (let i = 0; i < 1000; i++) {
    const t = (a + b + d) & M;
    d = (d + 1n) & M;
    a = b ^ (b >> 9n);
    b = (c + (c << 3n)) & M;
    c = (((c << 21n) | (c >> 11n)) + t) & M;
    expect(rng.u32()).toBe(Number(t));
  }
});

test("fillU32 is as many calls of u32, and both leave the same state", () => {
  const one = new Rng("x");
  const block = new Rng("x");
  const out = new Uint32Array(257);
  for (const n of [0, 1, 7, 257, 100]) {
    block.fillU32(out, n);
    for (let i = 0; i < n; i++) expect(out[i]).toBe(one.u32());
    expect(block.state).toEqual(one.state);
  }
});

test("f64 is in [0, 1), uses 53 bits and is uniform", () => {
  const rng = new Rng("f64");
  const n = 200_000;
  const cells = new Float64Array(64);
  let odd = 0;
  for (let i = 0; i < n; i++) {
    const x = rng.f64();
    if (!(x >= 0 && x < 1)) throw new Error(`${x}`);
    cells[Math.floor(x * 64)]++;
    odd += (x * 2 ** 53) % 2;
  }
  let chi2 = 0;
  for (const c of cells) chi2 += (c - n / 64) ** 2 / (n / 64);
  // 63 degrees of freedom: mean 63, deviation sqrt(126) = 11.2; four deviations up.
  expect(chi2).toBeLessThan(108);
  // The last bit is a fair coin: deviation sqrt(n)/2 = 224.
  expect(Math.abs(odd - n / 2)).toBeLessThan(900);
});

test("a consumer more, or in another order, shifts nobody's numbers", () => {
  const draw = (names: string[]) => {
    const streams = new RandomStreams(1);
    const rngs = names.map((name) => streams.stream(name));
    // Interleaved drawing, so that shared state would show.
    const drawn = names.map(() => [] as number[]);
    for (let i = 0; i < 20; i++) for (let k = 0; k < rngs.length; k++) drawn[k].push(rngs[k].u32());
    return new Map(names.map((name, k) => [name, drawn[k]]));
  };
  const before = draw(["arrivals", "sizes"]);
  const after = draw(["zeroth", "sizes", "new", "arrivals"]);
  for (const [name, numbers] of before) expect(after.get(name)).toEqual(numbers);
});

test("streams differ by seed and name, and no two spellings meet", () => {
  const first = (seed: string | number, name: string) => new RandomStreams(seed).stream(name).u32();
  const seen = new Set<number>();
  let count = 0;
  for (const [seed, name] of [
    ["a", "b:c"],
    ["a:b", "c"],
    ["1", "1:a"],
    ["11", ":a"],
    ["", "a"],
    ["a", ""],
  ]) {
    seen.add(first(seed, name));
    count++;
  }
  expect(seen.size).toBe(count);
  expect(first(1, "a")).toBe(first("1", "a"));
});

test("a name can be taken once", () => {
  const streams = new RandomStreams("s");
  streams.stream("a");
  expect(() => streams.stream("a")).toThrow('random stream "a" is already in use');
});

test("first numbers of neighbouring names are uniform and uncorrelated", () => {
  const n = 4096;
  const streams = new RandomStreams(7);
  const firsts = Array.from({ length: n }, (_, i) => streams.stream(`worker ${i}`).f64());
  const mean = firsts.reduce((a, b) => a + b) / n;
  // Deviation of the mean: sqrt(1/12/n) = 0.0045.
  expect(Math.abs(mean - 0.5)).toBeLessThan(0.018);
  let lagged = 0;
  for (let i = 1; i < n; i++) lagged += (firsts[i] - 0.5) * (firsts[i - 1] - 0.5) * 12;
  // Correlation of independent pairs has deviation 1/sqrt(n) = 0.016.
  expect(Math.abs(lagged / n)).toBeLessThan(0.063);
});

test("bundled for a browser it is small, and needs no Node module", async () => {
  const result = await build({
    entryPoints: ["src/sim/rng.ts"],
    bundle: true,
    platform: "browser",
    format: "esm",
    minify: true,
    write: false,
  });
  expect(result.warnings).toEqual([]);
  const code = result.outputFiles[0].text;
  // Only alea of seedrandom's generators; the whole package is over 8 kB.
  expect(code.length).toBeLessThan(4000);
  const bundled = (await import(`data:text/javascript,${encodeURIComponent(code)}`)) as {
    Rng: typeof Rng;
  };
  expect(new bundled.Rng("x").u32()).toBe(new Rng("x").u32());
  expect(readFileSync("src/sim/rng.ts", "utf8")).not.toContain("Math.random");
});
