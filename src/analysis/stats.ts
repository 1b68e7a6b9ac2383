/**
 * Whether two sets of runs differ: medians with confidence intervals, and the Mann-Whitney U test. Both assume nothing about how a
 * figure is distributed. The definitions are those of benchstat (golang.org/x/perf/cmd/benchstat, which uses
 * github.com/aclements/go-moremath), so that its answers on the same numbers are ours; a test asks it.
 */

/** Below this a difference counts as one. */
export const ALPHA = 0.05;
export const CONFIDENCE = 0.95;

export interface Interval {
  /** -Infinity and Infinity where there are too few values for the confidence asked for. */
  readonly low: number;
  readonly high: number;
}

/**
 * The interval that holds the median of the whole population, by order statistics.
 *
 * Let k of n values lie below that median. Each does so with probability 1/2, so k is binomial: P(k) = C(n, k) / 2^n, and the median
 * lies between the k-th and the (k+1)-th value in order. Intervals are taken in from the most probable k outwards, the more probable
 * neighbour first and the left one of two equals, until what they hold together reaches the confidence. The ends are values of
 * the sample, or infinite when an outermost interval had to be taken: of fewer than 6 values even [least, greatest] holds the
 * median with less than 95 % (1 - 2 * 2^-5 = 93.75 %). benchstat does the same up to 30 values and approximates beyond; this does not.
 */
export function medianInterval(values: readonly number[], confidence = CONFIDENCE): Interval {
  const sorted = Float64Array.from(values).sort();
  const n = sorted.length;
  const probability = binomialHalf(n);
  // The lower of two equal modes.
  let left = Math.ceil((n + 1) / 2) - 1;
  let right = left + 1;
  let held = probability(left);
  while (held < confidence && (left > 0 || right <= n)) {
    const below = probability(left - 1);
    const above = probability(right);
    if (below >= above) {
      held += below;
      left--;
    } else {
      held += above;
      right++;
    }
  }
  return { low: left < 1 ? -Infinity : sorted[left - 1], high: right > n ? Infinity : sorted[right - 1] };
}

/** P(k) of a binomial of n throws with 1/2 each; symmetric to the last bit. */
function binomialHalf(n: number): (k: number) => number {
  const lower = new Float64Array((n >> 1) + 1);
  // Runs are at most 1000; 2^-n would be nothing from n = 1075 on.
  lower[0] = 2 ** -n;
  for (let k = 1; k < lower.length; k++) lower[k] = (lower[k - 1] * (n - k + 1)) / k;
  return (k) => (k < 0 || k > n ? 0 : lower[Math.min(k, n - k)]);
}

/** Sizes up to which the distribution of U is counted out: without ties, and with. */
const EXACT = 50;
const EXACT_WITH_TIES = 25;

/**
 * The two-sided p-value of the Mann-Whitney U test: how often chance alone would set two samples of one population as far apart.
 * Undefined when all values are equal, or one side has none: there is nothing to test.
 *
 * U counts the pairs (a of the first, b of the second) with a > b, ties as a half. With R the sum of the ranks of the first sample in
 * both together (tied values share the mean of their ranks), U = R - n1 (n1 + 1) / 2, for a value's rank is 1, and 1 for each smaller value, and
 * those of its own sample take up 1 + 2 + ... + n1.
 *
 * If the samples are of one population, any n1 of the N = n1 + n2 values could as well have been the first sample. So the distribution
 * of R is got by counting: take the groups of equal values in order, t of them with mean rank r; of the ways to have chosen k values
 * with ranks summing to s so far, each goes on to k + j values with sum s + j r in C(t, j) ways. Twice the ranks are whole numbers.
 * Let the first sample be the one with the smaller U (the other's is n1 n2 - U): p is twice the share of choices with no larger a U, or 1
 * if both are the same. benchstat counts the first sample's choices whichever is smaller. Without ties, and for samples of one size, that is
 * the same, for then U and its mirror are equally likely; else not: [4, 4] against [2, 2, 1] is p = 0 to it, and 0.2 the other way
 * round, which is 2 of the 10 ways to choose.
 *
 * For large samples U is near normal: mean n1 n2 / 2 and variance n1 n2 / 12 * ((N + 1) - sum(t^3 - t) / (N (N - 1))); the
 * distance from the mean is made half a step smaller, for U moves in steps.
 */
export function mannWhitney(first: readonly number[], second: readonly number[]): number | undefined {
  const [n1, n2] = [first.length, second.length];
  if (n1 === 0 || n2 === 0) return undefined;
  const groups = tieGroups(first, second);
  if (groups.length === 1) return undefined;
  const rankSum2 = groups.reduce((sum, { rank2, inFirst }) => sum + rank2 * inFirst, 0);
  const u2 = rankSum2 - n1 * (n1 + 1);
  const otherU2 = 2 * n1 * n2 - u2;
  const limit = groups.length === n1 + n2 ? EXACT : EXACT_WITH_TIES;
  if (n1 <= limit && n2 <= limit) {
    if (u2 === otherU2) return 1;
    const [smaller, size] = u2 < otherU2 ? [u2, n1] : [otherU2, n2];
    return Math.min(1, 2 * shareUpTo(groups, size, smaller + size * (size + 1)));
  }
  const n = n1 + n2;
  const ties = groups.reduce((sum, { size }) => sum + size ** 3 - size, 0);
  const deviation = Math.sqrt(((n1 * n2) / 12) * (n + 1 - ties / (n * (n - 1))));
  const distance = (u2 - n1 * n2) / 2;
  return erfc(Math.abs((distance - Math.sign(distance) * 0.5) / deviation) / Math.SQRT2);
}

interface TieGroup {
  readonly size: number;
  readonly inFirst: number;
  /** Twice the mean rank. */
  readonly rank2: number;
}

function tieGroups(first: readonly number[], second: readonly number[]): TieGroup[] {
  const all = [
    ...first.map((value) => ({ value, one: 1 })),
    ...second.map((value) => ({ value, one: 0 })),
  ].sort((a, b) => a.value - b.value);
  const groups: TieGroup[] = [];
  for (let from = 0; from < all.length; ) {
    let to = from;
    let inFirst = 0;
    while (to < all.length && all[to].value === all[from].value) inFirst += all[to++].one;
    // Ranks from + 1 to to.
    groups.push({ size: to - from, inFirst, rank2: from + 1 + to });
    from = to;
  }
  return groups;
}

/** The share of all choices of n1 values whose doubled ranks sum to `limit` or less. */
function shareUpTo(groups: readonly TieGroup[], n1: number, limit: number): number {
  /** Ways to have chosen k values, by their doubled sum. */
  const ways = Array.from({ length: n1 + 1 }, () => new Float64Array(limit + 1));
  ways[0][0] = 1;
  let seen = 0;
  for (const { size, rank2 } of groups) {
    const most = Math.min(n1, seen + size);
    // From the top, so that what is read is of the groups before.
    for (let k = most; k >= 1; k--) {
      const into = ways[k];
      let choices = 1;
      for (let j = 1; j <= Math.min(size, k); j++) {
        choices = (choices * (size - j + 1)) / j;
        const from = ways[k - j];
        for (let sum = j * rank2; sum <= limit; sum++) into[sum] += choices * from[sum - j * rank2];
      }
    }
    seen += size;
  }
  let all = 1;
  for (let k = 1; k <= n1; k++) all = (all * (seen - k + 1)) / k;
  return ways[n1].reduce((sum, count) => sum + count, 0) / all;
}

/**
 * The complementary error function for x >= 0. Below 2 by erf's series 2/sqrt(pi) e^-x^2 sum 2^n x^(2n+1) / (1 * 3 * ... (2n+1)), whose terms
 * are all positive; above by the continued fraction e^-x^2 / sqrt(pi) / (x + (1/2) / (x + 1 / (x + (3/2) / (x + ...)))), from far in outwards.
 */
function erfc(x: number): number {
  const scale = Math.exp(-x * x) / Math.sqrt(Math.PI);
  if (x < 2) {
    let term = x;
    let sum = x;
    for (let n = 1; term > sum * 2 ** -53; n++) {
      term *= (2 * x * x) / (2 * n + 1);
      sum += term;
    }
    return 1 - 2 * scale * sum;
  }
  let below = x;
  for (let n = 120; n >= 1; n--) below = x + n / 2 / below;
  return scale / below;
}
