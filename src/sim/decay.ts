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

/** Takes the samples one by one, times ascending in any unit (that of the result). */
export class DecayMeter {
  #peak = Number.NEGATIVE_INFINITY;
  #peakTime = 0;
  /**
   * The samples since the peak that were lower than all before them: what first comes down to a level is one of them. No more
   * are kept than there are values between peak and lowest, however many samples there are.
   */
  #lows: { readonly time: number; readonly value: number }[] = [];

  add(time: number, value: number): void {
    if (value >= this.#peak) {
      this.#peak = value;
      this.#peakTime = time;
      this.#lows = [];
      return;
    }
    const lowest = this.#lows.at(-1)?.value ?? this.#peak;
    if (value < lowest) this.#lows.push({ time, value });
  }

  /** Undefined where the values do not fall by two fifths of their peak. */
  get decay(): Decay | undefined {
    const lowest = this.#lows.at(-1)?.value ?? this.#peak;
    const fall = this.#peak - lowest;
    if (!(fall > 0 && fall >= LEAST_FALL * this.#peak)) return undefined;
    const until = (share: number): number =>
      this.#lows.find(({ value }) => value <= this.#peak - share * fall)!.time - this.#peakTime;
    return { half: until(0.5), nineTenths: until(0.9) };
  }
}
