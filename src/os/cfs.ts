/**
 * CPU bandwidth of a control group: cpu.max (v1: cpu.cfs_quota_us and cpu.cfs_period_us).
 *
 * Follows kernel/sched/fair.c of Linux 6.x (tg_set_cfs_bandwidth, throttle_cfs_rq, sched_cfs_period_timer): the group's
 * threads may use `quota` of CPU time in each period, all CPUs together; when it is used up, none of them runs until the next
 * period begins, whatever it holds or is about to do.
 *
 * Simplified: time is taken from the quota as it is used, where each CPU draws slices of 5 ms and hands all but 1 ms back when it
 * goes idle, so that all threads stop at the same moment; periods follow each other from the start, where the kernel's timer rests while
 * the group sleeps. Where it stops being true: cpu.max.burst, a quota of less than a slice per CPU, real-time threads.
 */
export class CfsBandwidth {
  readonly quotaNs: number;
  readonly periodNs: number;
  /** cpu.stat: periods in which the group ran, those in which it was throttled, and the time lost, summed over its CPUs. */
  nrPeriods = 0;
  nrThrottled = 0;
  throttledNs = 0;
  usageNs = 0;
  /** Wall time in which the group stood still. */
  stoppedNs = 0;
  #usedNs = 0;
  #periodEndNs: number;

  constructor(quotaNs: number, periodNs: number, nowNs: number) {
    this.quotaNs = quotaNs;
    this.periodNs = periodNs;
    this.#periodEndNs = nowNs + periodNs;
  }

  /** When the period under way ends. */
  get periodEndNs(): number {
    return this.#periodEndNs;
  }

  /**
   * `cpus` CPUs are busy from `fromNs` to `toNs`. Returns the moment at which the quota is used up, or -1 if it lasts: what comes
   * after that moment is not accounted.
   */
  advance(fromNs: number, toNs: number, cpus: number): number {
    let t = fromNs;
    for (;;) {
      if (t >= this.#periodEndNs) this.#nextPeriod(t);
      const until = Math.min(toNs, this.#periodEndNs);
      if (cpus > 0) {
        const out = t + (this.quotaNs - this.#usedNs) / cpus;
        if (out < until) {
          this.#use((out - t) * cpus);
          return out;
        }
        this.#use((until - t) * cpus);
      }
      t = until;
      if (t >= toNs) return -1;
    }
  }

  /** The group, with threads for `cpus` CPUs, stands still from `fromNs` until the period ends. Returns that moment. */
  throttle(fromNs: number, cpus: number): number {
    const until = this.#periodEndNs;
    this.nrThrottled++;
    this.throttledNs += (until - fromNs) * cpus;
    this.stoppedNs += until - fromNs;
    return until;
  }

  #use(ns: number): void {
    if (ns > 0 && this.#usedNs === 0) this.nrPeriods++;
    this.#usedNs += ns;
    this.usageNs += ns;
  }

  #nextPeriod(nowNs: number): void {
    this.#periodEndNs += (Math.floor((nowNs - this.#periodEndNs) / this.periodNs) + 1) * this.periodNs;
    this.#usedNs = 0;
  }
}
