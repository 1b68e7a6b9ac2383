import { describe, expect, test } from "vitest";
import { type Decay, DecayMeter } from "../../src/sim/decay.ts";

function decayOf(times: readonly number[], values: readonly number[]): Decay | undefined {
  const meter = new DecayMeter();
  values.forEach((value, i) => {
    meter.add(times[i], value);
  });
  return meter.decay;
}

describe("decay after the peak", () => {
  const times = [0, 1, 2, 3, 4, 5, 6, 7];

  test("runs from the last sample at the peak to where half and nine tenths of the fall are over", () => {
    expect(decayOf(times, [10, 100, 100, 80, 60, 30, 20, 20])).toEqual({ half: 2, nineTenths: 4 });
  });

  test("a fall at once takes one sample", () => {
    expect(decayOf(times, [0, 0, 100, 0, 0, 0, 0, 0])).toEqual({ half: 1, nineTenths: 1 });
  });

  test("what rises again counts by its lowest value", () => {
    expect(decayOf(times, [100, 50, 0, 90, 95, 95, 95, 95])).toEqual({ half: 1, nineTenths: 2 });
  });

  test("without a fall by two fifths there is none", () => {
    expect(decayOf(times, [100, 90, 80, 70, 61, 70, 80, 90])).toBeUndefined();
    expect(decayOf(times, [1, 2, 3, 4, 5, 6, 7, 8])).toBeUndefined();
    expect(decayOf([], [])).toBeUndefined();
    expect(decayOf(times, [0, 0, 0, 0, 0, 0, 0, 0])).toBeUndefined();
  });
});
