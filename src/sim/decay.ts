/**
 * How fast a figure comes down after its peak: the time until half, and until nine tenths, of its fall are over.
 *
 * The fall is from the last sample at the peak to the lowest one after it. Two series sampled alike, of the simulator and of a
 * real run, are measured alike. The times are multiples of the sampling interval, and say nothing of a figure that never falls
 * much: then there are none.
 */

/** A fall of less than this share of the peak is no decay. */
const LEAST_FALL = 0.4;

export interface Decay {
  /** From the peak until half of the fall was over, and until nine tenths were. */
  readonly half: number;
  readonly nineTenths: number;
}

/** `times` ascending, in any unit (that of the result); undefined where the values do not fall by two fifths of their peak. */
export function decayOf(times: ArrayLike<number>, values: ArrayLike<number>): Decay | undefined {
  let peak = 0;
  for (let i = 1; i < values.length; i++) if (values[i] >= values[peak]) peak = i;
  let lowest = values[peak];
  for (let i = peak; i < values.length; i++) lowest = Math.min(lowest, values[i]);
  const fall = values[peak] - lowest;
  if (!(fall > 0 && fall >= LEAST_FALL * values[peak])) return undefined;
  const until = (share: number): number => {
    let i = peak;
    while (values[i] > values[peak] - share * fall) i++;
    return times[i] - times[peak];
  };
  return { half: until(0.5), nineTenths: until(0.9) };
}
