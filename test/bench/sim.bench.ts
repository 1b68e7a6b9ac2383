/** What one random number, one sample and one event cost: `npx vitest bench --run test/bench/sim.bench.ts`. */
import { bench, describe } from "vitest";
import type { Dist } from "../../src/scenario/schema.ts";
import { EventQueue } from "../../src/sim/eventqueue.ts";
import { Rng } from "../../src/sim/rng.ts";
import { ArrivalProcess } from "../../src/workload/arrivals.ts";
import { compileDist } from "../../src/workload/distributions.ts";
import { ZipfSampler } from "../../src/workload/zipf.ts";

const options = { time: 300, warmupTime: 100 };

/** Every benchmark does this many operations per iteration: 10,000 iterations a second are 10 ns per operation. */
const N = 10_000;

describe(`${N} random numbers`, () => {
  const rng = new Rng("bench");
  const out = new Uint32Array(N);
  const doubles = new Float64Array(N);
  bench("fillU32", () => rng.fillU32(out, N), options);
  bench(
    "f64",
    () => {
      for (let i = 0; i < N; i++) doubles[i] = rng.f64();
    },
    options,
  );
});

const dists: Dist[] = [
  { kind: "uniform", min: 16, max: 512 },
  { kind: "exponential", mean: 1e8 },
  { kind: "lognormal", median: 256, sigma: 1.2 },
  { kind: "weibull", scale: 1e9, shape: 0.7 },
  { kind: "pareto", min: 64, shape: 1.3, max: 2 ** 20 },
  {
    kind: "histogram",
    bins: Array.from({ length: 100 }, (_, i) => ({ min: i * 16, max: i * 16 + 16, weight: 100 - i })),
  },
  {
    kind: "mixture",
    parts: [
      { weight: 9, dist: { kind: "constant", value: 64 } },
      { weight: 1, dist: { kind: "exponential", mean: 4096 } },
    ],
  },
];

describe(`${N} samples`, () => {
  const rng = new Rng("bench");
  const out = new Float64Array(N);
  for (const dist of dists) {
    const sampler = compileDist(dist);
    bench(`${dist.kind}, fill`, () => sampler.fill(rng, out, N), options);
    bench(
      `${dist.kind}, one by one`,
      () => {
        for (let i = 0; i < N; i++) out[i] = sampler.sample(rng);
      },
      options,
    );
  }
  bench("exponential by the logarithm", () => {
    // What the table saves.
    for (let i = 0; i < N; i++) out[i] = -1e8 * Math.log(1 - rng.f64());
  });
});

describe(`${N} keys and arrivals`, () => {
  const rng = new Rng("bench");
  const zipf = new ZipfSampler(1_000_000, 0.99);
  const keys = new Int32Array(N);
  bench(
    "zipf",
    () => {
      for (let i = 0; i < N; i++) keys[i] = zipf.sample(rng);
    },
    options,
  );
  const poisson = new ArrivalProcess({ process: "poisson", rate: 1e5 }, 0, rng);
  let t = 0;
  bench(
    "poisson arrivals",
    () => {
      for (let i = 0; i < N; i++) t = poisson.next(t);
    },
    options,
  );
});

describe(`event queue, hold model: ${N} times pop the first event and push one`, () => {
  for (const pending of [16, 1024, 65_536]) {
    const rng = new Rng("bench");
    const gaps = new Float64Array(N);
    compileDist({ kind: "exponential", mean: 1e6 }).fill(rng, gaps, N);
    const queue = new EventQueue();
    for (let i = 0; i < pending; i++) queue.push(gaps[i % N], 0, 1, i);
    bench(
      `${pending} pending`,
      () => {
        for (let i = 0; i < N; i++) {
          queue.pop();
          queue.push(queue.timeNs + gaps[i], 0, queue.kind, queue.arg);
        }
      },
      options,
    );
  }
});
