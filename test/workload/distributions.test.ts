import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Dist } from "../../src/scenario/schema.ts";
import { normalQuantile } from "../../src/sim/math.ts";
import { Rng } from "../../src/sim/rng.ts";
import { compileDist } from "../../src/workload/distributions.ts";

/** Each kind with its quantile function, written from the textbook with the engine's own functions. */
const cases: {
  name: string;
  dist: Dist;
  quantile: (p: number) => number;
  mean: number;
  deviation: number;
}[] = [
  {
    name: "uniform",
    dist: { kind: "uniform", min: 16, max: 512 },
    quantile: (p) => 16 + 496 * p,
    mean: 264,
    deviation: 496 / Math.sqrt(12),
  },
  {
    name: "exponential",
    dist: { kind: "exponential", mean: 1e8 },
    quantile: (p) => -1e8 * Math.log1p(-p),
    mean: 1e8,
    deviation: 1e8,
  },
  {
    name: "lognormal",
    dist: { kind: "lognormal", median: 256, sigma: 1.2 },
    quantile: (p) => 256 * Math.exp(1.2 * normalQuantile(p)),
    mean: 256 * Math.exp(0.72),
    deviation: 256 * Math.exp(0.72) * Math.sqrt(Math.expm1(1.44)),
  },
  {
    name: "weibull below 1",
    dist: { kind: "weibull", scale: 1e9, shape: 0.5 },
    quantile: (p) => 1e9 * Math.log1p(-p) ** 2,
    mean: 2e9, // Γ(3)
    deviation: Math.sqrt(24 - 4) * 1e9, // Γ(5) - Γ(3)^2
  },
  {
    name: "weibull above 1",
    dist: { kind: "weibull", scale: 10, shape: 2 },
    quantile: (p) => 10 * Math.sqrt(-Math.log1p(-p)),
    mean: 5 * Math.sqrt(Math.PI),
    deviation: 10 * Math.sqrt(1 - Math.PI / 4),
  },
  {
    name: "pareto",
    dist: { kind: "pareto", min: 64, shape: 1.3, max: 2 ** 20 },
    quantile: (p) => 64 * (1 - p * (1 - (64 / 2 ** 20) ** 1.3)) ** (-1 / 1.3),
    // The moments' integrals in closed form.
    mean: paretoMoment(64, 2 ** 20, 1.3, 1),
    deviation: Math.sqrt(paretoMoment(64, 2 ** 20, 1.3, 2) - paretoMoment(64, 2 ** 20, 1.3, 1) ** 2),
  },
  {
    name: "pareto of shape 1",
    dist: { kind: "pareto", min: 1, shape: 1, max: 1000 },
    quantile: (p) => 1 / (1 - p * 0.999),
    mean: Math.log(1000) / 0.999,
    deviation: Math.sqrt(paretoMoment(1, 1000, 1, 2) - (Math.log(1000) / 0.999) ** 2),
  },
  {
    name: "histogram",
    dist: {
      kind: "histogram",
      bins: [
        { min: 16, max: 32, weight: 70 },
        { min: 32, max: 4096, weight: 30 },
      ],
    },
    quantile: (p) => (p < 0.7 ? 16 + (16 * p) / 0.7 : 32 + (4064 * (p - 0.7)) / 0.3),
    mean: 0.7 * 24 + 0.3 * 2064,
    deviation: Math.sqrt(
      0.7 * (256 / 12 + 24 ** 2) + 0.3 * (4064 ** 2 / 12 + 2064 ** 2) - (0.7 * 24 + 0.3 * 2064) ** 2,
    ),
  },
  {
    name: "mixture, nested",
    dist: {
      kind: "mixture",
      parts: [
        { weight: 3, dist: { kind: "constant", value: 64 } },
        {
          weight: 1,
          dist: {
            kind: "mixture",
            parts: [
              { weight: 1, dist: { kind: "uniform", min: 100, max: 200 } },
              { weight: 1, dist: { kind: "pareto", min: 1000, shape: 2, max: 4000 } },
            ],
          },
        },
      ],
    },
    quantile: (p) =>
      p < 0.75
        ? 64
        : p < 0.875
          ? 100 + 800 * (p - 0.75)
          : 1000 / Math.sqrt(1 - ((p - 0.875) / 0.125) * (15 / 16)),
    mean: 0.75 * 64 + 0.125 * 150 + 0.125 * paretoMoment(1000, 4000, 2, 1),
    deviation: 700,
  },
];

function paretoMoment(min: number, max: number, shape: number, order: number): number {
  const share = 1 - (min / max) ** shape;
  return (shape * min ** shape * (max ** (order - shape) - min ** (order - shape))) / (order - shape) / share;
}

/** A million samples by `fill`; every check below is on them. */
const N = 1_000_000;

function draw(dist: Dist, n = N, seed = "samples"): Float64Array {
  const out = new Float64Array(n);
  compileDist(dist).fill(new Rng(seed), out, n);
  return out;
}

describe.each(cases)("$name", ({ dist, quantile, mean, deviation }) => {
  const sampler = compileDist(dist);
  const sorted = draw(dist).sort();

  test("the mean is the formula's", () => {
    expect(Math.abs(sampler.mean / mean - 1)).toBeLessThan(1e-12);
  });

  test("the samples' mean is near it", () => {
    // The mean of N samples deviates by deviation/sqrt(N); five of those, plus the chords' one part in 10^4 at most.
    const average = sorted.reduce((a, b) => a + b) / N;
    expect(Math.abs(average - mean)).toBeLessThan((5 * deviation) / Math.sqrt(N) + 1e-4 * mean);
  });

  test("the samples' quantiles lie where they should, the tails included", () => {
    // The rank of quantile(p) among N samples deviates by sqrt(N p (1 - p)); between the quantiles of p five such
    // deviations either way (and at least 8 ranks, for the Poisson tails) the sample of that rank must lie.
    for (const p of [1e-5, 1e-4, 0.001, 0.01, 0.1, 0.3, 0.5, 0.69, 0.72, 0.9, 0.99, 0.999, 0.9999, 0.99999]) {
      const ranks = Math.max(5 * Math.sqrt(N * p * (1 - p)), 8) / N;
      const low = quantile(Math.max(0, p - ranks)) * (1 - 2e-4);
      const high = p + ranks < 1 ? quantile(p + ranks) * (1 + 2e-4) : Infinity;
      const value = sorted[Math.floor(p * N)];
      expect(value, `p ${p}`).toBeGreaterThanOrEqual(low);
      expect(value, `p ${p}`).toBeLessThanOrEqual(high);
    }
  });

  test("Kolmogorov-Smirnov: no part of the distribution is off", () => {
    // sqrt(N) D exceeds 2.2 once in 8000 times if the distribution is right. By quantiles, so that point masses pass.
    const slack = 2.2 / Math.sqrt(N);
    for (let i = 0; i < N; i += 997) {
      const p = (i + 0.5) / N;
      const low = quantile(Math.max(p - slack, 0)) * (1 - 1e-9);
      const high = p + slack < 1 ? quantile(p + slack) * (1 + 1e-9) : Infinity;
      if (sorted[i] < low || sorted[i] > high)
        expect.fail(`rank ${i}: ${sorted[i]} outside ${low} .. ${high}`);
    }
  });

  test("min and max bound the samples", () => {
    expect(sorted[0]).toBeGreaterThanOrEqual(sampler.min);
    expect(sorted[N - 1]).toBeLessThanOrEqual(sampler.max);
  });
});

test("the largest value an unbounded tail can give is finite and far out", () => {
  const { max } = compileDist({ kind: "exponential", mean: 1 });
  expect(max).toBeGreaterThan(40);
  expect(max).toBeLessThan(50);
});

test("a constant draws no numbers", () => {
  const rng = new Rng("c");
  const before = rng.state.slice();
  for (const dist of [
    { kind: "constant", value: 64 },
    { kind: "uniform", min: 64, max: 64 },
    { kind: "lognormal", median: 64, sigma: 0 },
    { kind: "histogram", bins: [{ min: 64, max: 64, weight: 2 }] },
  ] as Dist[]) {
    const sampler = compileDist(dist);
    expect(sampler.sample(rng)).toBe(64);
    expect([sampler.mean, sampler.min, sampler.max, sampler.isConstant]).toEqual([64, 64, 64, true]);
  }
  expect(rng.state).toEqual(before);
});

/** Sums of 100,000 samples: whoever changes a sampler changes every run of every seed, and should have meant to. */
test.each<[string, Dist, number]>([
  ["exponential", { kind: "exponential", mean: 100000000 }, 10021844721265.693],
  ["lognormal", { kind: "lognormal", median: 256, sigma: 1.2 }, 52836849.14497826],
  ["weibull", { kind: "weibull", scale: 1000000000, shape: 0.5 }, 201184376713712.28],
  ["pareto", { kind: "pareto", min: 64, shape: 1.3, max: 1048576 }, 26964929.303507198],
  ["uniform", { kind: "uniform", min: 16, max: 512 }, 26421462.91042357],
  [
    "histogram of one bin",
    { kind: "histogram", bins: [{ min: 16, max: 32, weight: 1 }] },
    2400692.3519491293,
  ],
  [
    "mixture",
    {
      kind: "mixture",
      parts: [
        { weight: 3, dist: { kind: "constant", value: 64 } },
        { weight: 5, dist: { kind: "exponential", mean: 100 } },
        { weight: 1, dist: { kind: "exponential", mean: 0 } },
        { weight: 1, dist: { kind: "lognormal", median: 1000, sigma: 2 } },
      ],
    },
    79559270.73776098,
  ],
])("the samples of a seed are fixed for good: %s", (_, dist, sum) => {
  expect(draw(dist, 100_000, "fixed").reduce((a, b) => a + b)).toBe(sum);
});

test("a histogram's bins keep their weights, points among them", () => {
  const values = draw({
    kind: "histogram",
    bins: [
      { min: 5, max: 5, weight: 1 },
      { min: 1, max: 1, weight: 2 },
      { min: 3, max: 4, weight: 1 },
    ],
  });
  const share = (f: (x: number) => boolean) => values.filter(f).length / N;
  // Shares of N draws deviate by at most 0.5/sqrt(N) = 0.0005; four of those.
  expect(Math.abs(share((x) => x === 5) - 0.25)).toBeLessThan(0.002);
  expect(Math.abs(share((x) => x === 1) - 0.5)).toBeLessThan(0.002);
  expect(Math.abs(share((x) => x >= 3 && x <= 4) - 0.25)).toBeLessThan(0.002);
});

test("a part of a mixture too rare to fill a part of a cell has its share, and its tail", () => {
  const rare = { kind: "exponential", mean: 1 } as const;
  const values = draw(
    {
      kind: "mixture",
      parts: [
        { weight: 0.3, dist: { kind: "constant", value: 1000 } },
        { weight: 4e-6, dist: rare },
        { weight: 0.7, dist: { kind: "uniform", min: 2000, max: 3000 } },
      ],
    },
    20 * N,
  ).filter((x) => x < 1000);
  // 80 of 20 million, give or take 4 times their root; their mean deviates by one over the root.
  expect(Math.abs(values.length - 80)).toBeLessThan(4 * Math.sqrt(80));
  const mean = values.reduce((a, b) => a + b) / values.length;
  expect(Math.abs(mean - 1)).toBeLessThan(4 / Math.sqrt(80));
  expect(Math.max(...values)).toBeGreaterThan(2);
});

test("a bin that ends before it begins is refused", () => {
  expect(() => compileDist({ kind: "histogram", bins: [{ min: 2, max: 1, weight: 1 }] })).toThrow(
    "histogram bin from 2 to 1",
  );
});

const positive = fc.double({ min: 1, max: 1e12, noNaN: true });
const leaf: fc.Arbitrary<Dist> = fc.oneof(
  positive.map((value): Dist => ({ kind: "constant", value })),
  fc.tuple(positive, positive).map(([a, b]): Dist => ({ kind: "uniform", min: a, max: a + b })),
  positive.map((mean): Dist => ({ kind: "exponential", mean })),
  fc
    .tuple(positive, fc.double({ min: 0, max: 5, noNaN: true }))
    .map(([median, sigma]): Dist => ({ kind: "lognormal", median, sigma })),
  fc
    .tuple(positive, fc.double({ min: 0.05, max: 20, noNaN: true }))
    .map(([scale, shape]): Dist => ({ kind: "weibull", scale, shape })),
  fc
    .tuple(positive, fc.double({ min: 0.01, max: 20, noNaN: true }), positive)
    .map(([min, shape, more]): Dist => ({ kind: "pareto", min, shape, max: min + more })),
  fc.array(fc.tuple(positive, positive, positive), { minLength: 1, maxLength: 300 }).map(
    (bins): Dist => ({
      kind: "histogram",
      bins: bins.map(([min, more, weight]) => ({ min, max: min + more, weight })),
    }),
  ),
);
const anyDist: fc.Arbitrary<Dist> = fc.oneof(
  leaf,
  fc
    .array(fc.record({ weight: positive, dist: leaf }), { minLength: 1, maxLength: 4 })
    .map((parts): Dist => ({ kind: "mixture", parts })),
);

test("fill is the sequence of sample, in any blocks, for any distribution; all within bounds", () => {
  fc.assert(
    fc.property(anyDist, fc.string(), fc.array(fc.nat(400), { maxLength: 5 }), (dist, seed, blocks) => {
      const sampler = compileDist(dist);
      const one = new Rng(seed);
      const block = new Rng(seed);
      const out = new Float64Array(400);
      expect(sampler.mean).toBeGreaterThanOrEqual(sampler.min);
      expect(sampler.mean).toBeLessThanOrEqual(sampler.max);
      for (const n of blocks) {
        sampler.fill(block, out, n);
        for (let i = 0; i < n; i++) {
          const value = sampler.sample(one);
          if (!Object.is(value, out[i])) expect.fail(`sample ${value}, fill ${out[i]}`);
          if (!(value >= sampler.min && value <= sampler.max))
            expect.fail(`${value} outside ${sampler.min} .. ${sampler.max}`);
        }
        expect(block.state).toEqual(one.state);
      }
    }),
    { numRuns: 300, seed: 1 },
  );
});
