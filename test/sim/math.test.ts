import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cos, cosTurns, exp, expm1, log, log1p, logGamma, normalQuantile, pow } from "../../src/sim/math.ts";

const bits = new DataView(new ArrayBuffer(8));

/** The double's place on the line of all doubles, so that neighbours differ by one. */
function place(x: number): bigint {
  bits.setFloat64(0, x);
  const n = bits.getBigInt64(0);
  return n < 0n ? -(n & 0x7fffffffffffffffn) : n;
}

function ulps(a: number, b: number): number {
  if (Object.is(a, b) || a === b) return 0;
  const d = place(a) - place(b);
  return Number(d < 0n ? -d : d);
}

/** The engine's own functions are within an ulp or two of the truth, so 4 ulps apart bounds ours by a few. */
const TOLERANCE_ULPS = 4;

function compare(
  ours: (x: number) => number,
  engine: (x: number) => number,
  inputs: fc.Arbitrary<number>,
): void {
  fc.assert(
    fc.property(inputs, (x) => {
      expect(ulps(ours(x), engine(x)), `f(${x}) = ${ours(x)}, engine ${engine(x)}`).toBeLessThanOrEqual(
        TOLERANCE_ULPS,
      );
    }),
    { numRuns: 5000, seed: 1 },
  );
}

const span = (min: number, max: number) => fc.double({ min, max, noNaN: true });

describe("against the engine's functions", () => {
  test("exp", () => {
    compare(exp, Math.exp, span(-745, 709.7));
    compare(exp, Math.exp, span(-2, 2));
  });
  test("expm1", () => {
    compare(expm1, Math.expm1, span(-50, 709.7));
    compare(expm1, Math.expm1, span(-2, 2));
  });
  test("log", () => {
    compare(log, Math.log, span(Number.MIN_VALUE, Number.MAX_VALUE));
    compare(log, Math.log, span(0.4, 3));
  });
  test("log1p", () => {
    compare(log1p, Math.log1p, span(-1, 1e300));
    compare(log1p, Math.log1p, span(-0.99, 2));
  });
  test("pow", () => {
    const run = (x: fc.Arbitrary<number>, y: fc.Arbitrary<number>) =>
      fc.assert(
        fc.property(x, y, (a, b) => {
          expect(ulps(pow(a, b), a ** b), `${a} ** ${b}: ${pow(a, b)}`).toBeLessThanOrEqual(TOLERANCE_ULPS);
        }),
        { numRuns: 5000, seed: 1 },
      );
    run(span(0, 1e6), span(-50, 50));
    run(span(0.5, 2), span(-1000, 1000));
    run(span(Number.MIN_VALUE, Number.MAX_VALUE), span(-1, 1));
  });
  test("cos: absolute error, since near its zeros the argument itself is rounded", () => {
    fc.assert(
      fc.property(span(-1e5, 1e5), (x) => {
        expect(Math.abs(cos(x) - Math.cos(x))).toBeLessThan(3e-16);
      }),
      { numRuns: 5000, seed: 1 },
    );
  });
});

test("pow keeps its accuracy where y log x is largest", () => {
  // Exact values: integers and powers of two.
  for (let n = 0; n <= 1023; n++) expect(pow(2, n)).toBe(2 ** n);
  for (let n = 1; n <= 1074; n++) expect(pow(2, -n)).toBe(2 ** -n);
  for (let n = 0; n <= 33; n++) expect(pow(3, n)).toBe(Number(3n ** BigInt(n)));
  for (let n = 0; n <= 646; n++) expect(ulps(pow(3, n), Number(3n ** BigInt(n)))).toBeLessThanOrEqual(1);
  for (let n = 0; n <= 22; n++) expect(pow(10, n)).toBe(Number(10n ** BigInt(n)));
  for (let n = 0; n <= 308; n++) expect(ulps(pow(10, n), Number(10n ** BigInt(n)))).toBeLessThanOrEqual(1);
});

test("edges", () => {
  for (const x of [0, -0, 1, -1, Infinity, -Infinity, NaN, 800, -800]) {
    expect(ulps(exp(x), Math.exp(x)), `exp ${x}`).toBeLessThanOrEqual(1);
    // The sign of a zero is nobody's business here: + 0 makes it positive.
    expect(ulps(expm1(x) + 0, Math.expm1(x) + 0), `expm1 ${x}`).toBeLessThanOrEqual(1);
    expect(log1p(x) + 0, `log1p ${x}`).toBe(Math.log1p(x) + 0);
    expect(log(x) + 0, `log ${x}`).toBe(Math.log(x) + 0);
    for (const y of [0, 1, -1, 0.5, Infinity, -Infinity, NaN, 1e300, -1e300]) {
      if (x < 0 || Object.is(x, -0) || (x === 1 && Math.abs(y) === Infinity) || (x === 1 && Number.isNaN(y)))
        continue;
      expect(pow(x, y), `pow ${x} ${y}`).toBe(x ** y);
    }
  }
  expect(pow(-1, 2)).toBeNaN();
  expect(exp(-745)).toBe(5e-324);
  expect(ulps(exp(709.78), Math.exp(709.78))).toBeLessThanOrEqual(TOLERANCE_ULPS);
  expect(cos(0)).toBe(1);
});

test("cosTurns is exact at the quarters, however many turns", () => {
  for (const turns of [0, 1, -3, 2 ** 40]) {
    expect(cosTurns(turns)).toBe(1);
    expect(cosTurns(turns + 0.5)).toBe(-1);
    expect(Math.abs(cosTurns(turns + 0.25))).toBe(0);
  }
  expect(cosTurns(1 / 6)).toBeCloseTo(0.5, 15);
});

test("the same bits everywhere: a digest of many values", () => {
  // FNV-1a over the bytes of the results. A changed digest changes every run: it needs a new model version.
  let hash = 0x811c9dc5;
  const eat = (x: number) => {
    bits.setFloat64(0, x);
    for (let i = 0; i < 8; i++) hash = Math.imul(hash ^ bits.getUint8(i), 0x01000193) >>> 0;
  };
  for (let i = 1; i <= 2000; i++) {
    const x = i / 64;
    for (const y of [log(x), exp(x - 16), expm1(x - 16), log1p(x), pow(x, i / 700), cosTurns(x / 7)]) eat(y);
    eat(normalQuantile(i / 2001));
  }
  expect(hash.toString(16)).toMatchInlineSnapshot(`"188c0dd7"`);
});

test("logGamma at the factorials and the halves", () => {
  let factorial = 1;
  for (let n = 1; n <= 100; n++) {
    expect(Math.abs(exp(logGamma(n) - Math.log(factorial)) - 1)).toBeLessThan(2e-13);
    factorial *= n;
  }
  expect(logGamma(0.5)).toBeCloseTo(Math.log(Math.sqrt(Math.PI)), 14);
  expect(exp(logGamma(1.5))).toBeCloseTo(Math.sqrt(Math.PI) / 2, 14);
});

test("normalQuantile at tabulated values", () => {
  const table: [number, number][] = [
    [0.975, 1.959963984540054],
    [0.25, -0.6744897501960817],
    [0.001, -3.090232306167813],
    [1e-20, -9.262340089798409],
  ];
  for (const [p, z] of table) expect(Math.abs(normalQuantile(p) / z - 1)).toBeLessThan(1e-15);
  expect(normalQuantile(0.5)).toBe(0);
  expect(normalQuantile(0)).toBe(-Infinity);
  expect(normalQuantile(1)).toBe(Infinity);
});

test("normalQuantile inverts the integral of the normal density", () => {
  // Simpson's rule over 4000 steps is exact to about 1e-12 here.
  for (const p of [1e-6, 0.01, 0.0749, 0.0751, 0.3, 0.6, 0.9249, 0.9251, 0.999]) {
    const z = normalQuantile(p);
    const steps = 4000;
    const h = z / steps;
    let sum = 0;
    for (let i = 0; i <= steps; i++) {
      const weight = i === 0 || i === steps ? 1 : i % 2 === 1 ? 4 : 2;
      sum += weight * Math.exp((-i * h * i * h) / 2);
    }
    expect(Math.abs(0.5 + (sum * h) / 3 / Math.sqrt(2 * Math.PI) - p)).toBeLessThan(1e-11);
  }
});
