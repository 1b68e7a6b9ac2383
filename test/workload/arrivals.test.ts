import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Arrivals } from "../../src/scenario/schema.ts";
import { Rng } from "../../src/sim/rng.ts";
import { ArrivalProcess } from "../../src/workload/arrivals.ts";

const SECOND = 1e9;

function arrivals(shape: Partial<Arrivals>): Arrivals {
  return { process: "poisson", rate: 1000, ...shape };
}

/** The integral of rateAt by the midpoint rule, in steps of `step` (boundaries of the shapes below lie on them). */
function integral(process: ArrivalProcess, from: number, to: number, step = 1e6): number {
  let sum = 0;
  for (let t = from; t < to; t += step) sum += process.rateAt(t + step / 2) * (step / SECOND);
  return sum;
}

const shapes: { name: string; shape: Partial<Arrivals> }[] = [
  { name: "no shape", shape: {} },
  { name: "ramp up", shape: { ramp: { to: 5000, from: 2 * SECOND, over: 4 * SECOND } } },
  { name: "ramp to nothing", shape: { ramp: { to: 0, from: SECOND, over: 6 * SECOND } } },
  { name: "ramp from nothing", shape: { rate: 0, ramp: { to: 3000, from: SECOND, over: 6 * SECOND } } },
  {
    name: "steps",
    shape: {
      steps: [
        { at: 5 * SECOND, rate: 4000 },
        { at: SECOND, rate: 0 },
        { at: 3 * SECOND, rate: 500 },
      ],
    },
  },
  { name: "diurnal", shape: { diurnal: { period: 3 * SECOND, amplitude: 1, peak_at: SECOND / 2 } } },
  { name: "bursts", shape: { bursts: { every: 2 * SECOND, length: SECOND / 4, factor: 7 } } },
  {
    name: "bursts from 0 that silence",
    shape: { bursts: { every: SECOND, length: SECOND / 2, factor: 0, first: 0 } },
  },
  {
    name: "all at once",
    shape: {
      ramp: { to: 3000, from: SECOND, over: 4 * SECOND },
      steps: [
        { at: SECOND / 2, rate: 2000 },
        { at: 4 * SECOND, rate: 1500 },
      ],
      diurnal: { period: 1.5 * SECOND, amplitude: 0.8, peak_at: 0 },
      bursts: { every: SECOND, length: SECOND / 10, factor: 4, first: SECOND / 4 },
    },
  },
];

describe.each(shapes)("$name", ({ shape }) => {
  test("poisson: counts in every half second are Poisson around the integral of the rate", () => {
    const process = new ArrivalProcess(arrivals(shape), 0, new Rng("arrivals"));
    const counts = new Float64Array(20);
    for (let t = process.next(0); t < 10 * SECOND; t = process.next(t)) {
      expect(Number.isInteger(t)).toBe(true);
      counts[Math.floor(t / (SECOND / 2))]++;
    }
    let chi2 = 0;
    let cells = 0;
    for (let i = 0; i < 20; i++) {
      const expected = integral(process, (i * SECOND) / 2, ((i + 1) * SECOND) / 2);
      // Five deviations of a Poisson count.
      expect(Math.abs(counts[i] - expected), `half second ${i}`).toBeLessThanOrEqual(5 * Math.sqrt(expected));
      if (expected > 5) {
        chi2 += (counts[i] - expected) ** 2 / expected;
        cells++;
      }
    }
    // Chi-square has mean `cells` and deviation sqrt(2 cells); both too regular and too irregular would show.
    expect(Math.abs(chi2 - cells)).toBeLessThan(4 * Math.sqrt(2 * cells));
  });

  test("constant: the n-th arrival is where the integral of the rate is n", () => {
    const process = new ArrivalProcess(arrivals({ ...shape, process: "constant" }), 0, new Rng("unused"));
    let count = 0;
    let next = process.next(0);
    let sum = 0;
    for (let i = 0; i < 1000; i++) {
      const end = (i + 1) * 1e7;
      sum += integral(process, i * 1e7, end, 1e5);
      // <= with half a nanosecond's allowance: an arrival due exactly at the end may be rounded into either side.
      for (; next <= end; next = process.next(next)) count++;
      expect(Math.abs(count - sum), `until ${end}`).toBeLessThan(1 + 1e-3);
    }
  });

  test("constant draws no random numbers", () => {
    const rng = new Rng("r");
    const before = rng.state.slice();
    const process = new ArrivalProcess(arrivals({ ...shape, process: "constant" }), 0, rng);
    let t = 0;
    for (let i = 0; i < 100; i++) t = process.next(t);
    expect(rng.state).toEqual(before);
  });
});

test("the rate is what the shape says", () => {
  const rate = (shape: Partial<Arrivals>, seconds: number[]) => {
    const process = new ArrivalProcess(arrivals(shape), 0, new Rng("r"));
    return seconds.map((s) => Number(process.rateAt(s * SECOND).toPrecision(12)));
  };
  expect(rate({ ramp: { to: 3000, from: 2 * SECOND, over: 4 * SECOND } }, [0, 2, 3, 4, 6, 100])).toEqual([
    1000, 1000, 1500, 2000, 3000, 3000,
  ]);
  expect(rate({ ramp: { to: 3000, from: 2 * SECOND, over: 0 } }, [1.9, 2, 3])).toEqual([1000, 3000, 3000]);
  expect(
    rate(
      { ramp: { to: 3000, from: 2 * SECOND, over: 4 * SECOND }, steps: [{ at: 3 * SECOND, rate: 7 }] },
      [2.5, 3, 5, 7],
    ),
  ).toEqual([1250, 7, 7, 7]);
  expect(rate({ steps: [{ at: 0, rate: 5 }] }, [0, 1])).toEqual([5, 5]);
  expect(rate({ diurnal: { period: 4 * SECOND, amplitude: 0.5, peak_at: SECOND } }, [0, 1, 2, 3])).toEqual([
    1000, 1500, 1000, 500,
  ]);
  const bursts = { every: 10 * SECOND, length: SECOND, factor: 3 };
  expect(rate({ bursts }, [0, 9.9, 10, 10.9, 11, 20, 21])).toEqual([
    1000, 1000, 3000, 3000, 1000, 3000, 1000,
  ]);
  expect(rate({ bursts: { ...bursts, first: 0 } }, [0, 1, 10])).toEqual([3000, 1000, 3000]);
});

test("even pacing neither drifts nor jitters", () => {
  const process = new ArrivalProcess(arrivals({ process: "constant" }), 5, new Rng("r"));
  let t = 5;
  for (let n = 1; n <= 1_000_000; n++) {
    t = process.next(t);
    if (t !== 5 + n * 1e6) expect.fail(`arrival ${n} at ${t}`);
  }
});

test("an arrival due just when the rate drops to nothing comes then, not when the rate is back", () => {
  for (const rate of [3, 7, 10, 1000, 49999]) {
    const steps = [
      { at: SECOND, rate: 0 },
      { at: 3 * SECOND, rate: 1 },
    ];
    const process = new ArrivalProcess(arrivals({ process: "constant", rate, steps }), 0, new Rng("r"));
    let count = 0;
    let t = process.next(0);
    for (; t <= SECOND; t = process.next(t)) count++;
    expect([count, t]).toEqual([rate, 4 * SECOND]);
    const skipped = new ArrivalProcess(arrivals({ process: "constant", rate, steps }), 0, new Rng("r"));
    expect(skipped.next(2 * SECOND)).toBe(4 * SECOND);
  }
});

test("no rate, no arrival", () => {
  for (const process of ["poisson", "constant"] as const) {
    const never = (shape: Partial<Arrivals>) => {
      const p = new ArrivalProcess(arrivals({ ...shape, process }), 0, new Rng("r"));
      let t = 0;
      for (let i = 0; i < 20_000 && t < Infinity; i++) t = p.next(t);
      expect(t).toBe(Infinity);
      expect(p.next(t)).toBe(Infinity);
    };
    never({ rate: 0 });
    never({
      rate: 0,
      bursts: { every: 10, length: 5, factor: 2 },
      diurnal: { period: 7, amplitude: 1, peak_at: 0 },
    });
    never({ rate: 0, ramp: { to: 0, from: 5, over: 100 } });
    never({ steps: [{ at: 2 * SECOND, rate: 0 }] });
    never({ ramp: { to: 0, from: 0, over: SECOND }, bursts: { every: 1e6, length: 1e5, factor: 2 } });
    never({ bursts: { every: SECOND, length: SECOND, factor: 0 } });
  }
});

test("a long idle span before far bursts costs nothing", () => {
  const process = new ArrivalProcess(
    arrivals({
      rate: 0,
      steps: [{ at: 1e6 * SECOND, rate: 1e7 }],
      bursts: { every: 100, length: 10, factor: 1 },
    }),
    0,
    new Rng("r"),
  );
  expect(process.next(0)).toBeGreaterThan(1e15);
});

test("what has no meaning is refused", () => {
  expect(
    () => new ArrivalProcess(arrivals({ bursts: { every: 0, length: 1, factor: 2 } }), 0, new Rng("r")),
  ).toThrow(RangeError);
  expect(
    () => new ArrivalProcess(arrivals({ diurnal: { period: 0, amplitude: 1, peak_at: 0 } }), 0, new Rng("r")),
  ).toThrow(RangeError);
});

test("skipping ahead: never before the time asked for, times never go back, and the pace stays", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...shapes.map((s) => s.shape)),
      fc.constantFrom("poisson" as const, "constant" as const),
      fc.array(fc.nat(3e8), { maxLength: 30 }),
      (shape, kind, skips) => {
        const process = new ArrivalProcess(arrivals({ ...shape, process: kind }), 0, new Rng("r"));
        let t = 0;
        for (const skip of skips) {
          const after = t + (skip % 3 === 0 ? 0 : skip);
          const next = process.next(after);
          expect(next).toBeGreaterThanOrEqual(after);
          if (next === Infinity) return;
          t = next;
        }
        if (kind === "constant" && shape === shapes[0].shape) expect(t % 1e6).toBe(0);
      },
    ),
    { numRuns: 200, seed: 1 },
  );
});
