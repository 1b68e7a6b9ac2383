/**
 * Rates of counters at a run's samples.
 *
 * Go counts the CPU of a cycle's marking when the cycle ends. As growth per sample that would put a cycle of half a second into the
 * 100 ms at its end, and show more CPUs than there are. So what a counter grew by is spread over the cycles that ended since the
 * sample before, by what goroutines left of the CPUs meanwhile: dedicated workers keep goroutines off theirs, and idle ones take
 * what nobody else runs on. The program's own time is counted a slice ahead: what is more than
 * the CPUs could do belongs to the sample that follows (at samples shorter than a few slices of 10 ms
 * some of that shows). Where a run has more cycles than were kept, what was counted between the ends of kept
 * ones stays where it was counted.
 */

/** From sweep termination to the end of mark termination, virtual seconds. */
export interface CycleTime {
  readonly start: number;
  readonly end: number;
}

/** Growth per second since the sample before; none across a restart. */
export function rateOf(t: Float64Array, counter: Float64Array): Float64Array {
  const rates = new Float64Array(counter.length);
  for (let i = 0; i < counter.length; i++) {
    const grown = counter[i] - (i === 0 ? 0 : counter[i - 1]);
    const seconds = t[i] - (i === 0 ? 0 : t[i - 1]);
    rates[i] = grown < 0 ? Number.NaN : seconds > 0 ? grown / seconds : i === 0 ? 0 : rates[i - 1];
  }
  return rates;
}

/**
 * The same of what is counted when cycles end, spread over their time as each sample has room. `cycles` are in the
 * order of their ends.
 */
function cycleRateOf(
  t: Float64Array,
  counter: Float64Array,
  cycles: readonly CycleTime[],
  room: Float64Array,
): Float64Array {
  const rates = rateOf(t, counter);
  const before = (i: number): number => (i === 0 ? 0 : t[i - 1]);
  const spread = new Float64Array(t.length);
  let next = 0;
  for (let i = 0; i < t.length; i++) {
    const parts: { readonly sample: number; readonly seconds: number; readonly weight: number }[] = [];
    for (; next < cycles.length && cycles[next].end <= t[i]; next++) {
      const { start, end } = cycles[next];
      // Cycles are short: back from the sample that has its end to the one that has its start.
      for (let j = i; j >= 0 && t[j] > start; j--) {
        const seconds = Math.min(end, t[j]) - Math.max(start, before(j));
        if (seconds > 0) parts.push({ sample: j, seconds, weight: seconds * room[j] });
      }
    }
    const grown = rates[i] * (t[i] - before(i));
    if (!(grown > 0) || parts.length === 0) continue;
    rates[i] = 0;
    const all = parts.reduce((sum, { weight }) => sum + weight, 0);
    const length = parts.reduce((sum, { seconds }) => sum + seconds, 0);
    for (const { sample, seconds, weight } of parts)
      spread[sample] += grown * (all > 0 ? weight / all : seconds / length);
  }
  return rates.map((rate, i) => (spread[i] > 0 ? rate + spread[i] / (t[i] - before(i)) : rate));
}

/** CPU of a program by its user; each in CPUs, at every sample. */
export interface CpuRates {
  readonly mutator: Float64Array;
  readonly background: Float64Array;
  readonly assist: Float64Array;
  readonly idle: Float64Array;
}

/** From the columns that count it. `cpus`: how many there are to run on, at every sample. */
export function cpuRatesOf(
  t: Float64Array,
  counters: CpuRates,
  cpus: Float64Array,
  cycles: readonly CycleTime[],
): CpuRates {
  const mutator = rateOf(t, counters.mutator);
  for (let i = 0; i + 1 < mutator.length; i++) {
    const over = (mutator[i] - cpus[i]) * (t[i] - (i === 0 ? 0 : t[i - 1]));
    if (!(over > 0) || Number.isNaN(mutator[i + 1])) continue;
    mutator[i] = cpus[i];
    mutator[i + 1] += over / (t[i + 1] - t[i]);
  }
  const room = cpus.map((n, i) => Math.max(0, n - mutator[i]) || 0);
  const background = cycleRateOf(t, counters.background, cycles, room);
  const assist = cycleRateOf(t, counters.assist, cycles, room);
  const idle = cycleRateOf(t, counters.idle, cycles, room);
  return { mutator, background, assist, idle };
}
