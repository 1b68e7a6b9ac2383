/**
 * CPU bandwidth of a control group: cpu.max (v1: cpu.cfs_quota_us and cpu.cfs_period_us).
 *
 * Follows kernel/sched/fair.c of Linux 6.x (assign_cfs_rq_runtime, throttle_cfs_rq, return_cfs_rq_runtime,
 * sched_cfs_period_timer). The group has a pool of `quota` CPU time, filled anew each period. A CPU that runs one of its threads
 * takes 5 ms at a time from the pool, and more if it owes some. A CPU that has used its slice and finds the pool empty is throttled: the threads on it
 * stand still until the period ends, in the middle of whatever they do, while those of other CPUs go on with what is left of their
 * slices. A CPU that goes idle gives its slice back, but for 1 ms. So many threads on many CPUs empty the pool within
 * milliseconds, and then some of them are stuck while others still run and may wait for them.
 *
 * Simplified: slices come back at once (the kernel's slack timer takes 5 ms), but for CPUs not throttled yet only: one that is stays so until the period
 * ends, where that timer would hand it what others gave back; periods follow each other from the start, where the
 * kernel's timer rests while the group sleeps; time is used continuously and not by ticks; a thread stays on its CPU. Where it
 * stops being true: cpu.max.burst, real-time threads, quotas of parent groups.
 */

/** sched_cfs_bandwidth_slice_us. */
const SLICE_NS = 5e6;
/** What an idle CPU keeps (min_cfs_rq_runtime). */
const KEPT_NS = 1e6;

export class CfsBandwidth {
  quotaNs: number;
  readonly periodNs: number;
  /** cpu.stat: periods in which the group ran, or would have, those at whose end a CPU was throttled, and the time lost, summed over CPUs. */
  nrPeriods = 0;
  nrThrottled = 0;
  throttledNs = 0;
  usageNs = 0;
  /** The CPU that `advance` has just throttled. */
  throttledCpu = -1;
  /** Per CPU: until when it is throttled. */
  readonly untilNs: Float64Array;
  readonly #local: Float64Array;
  #pool: number;
  #periodEndNs: number;
  #ran = false;
  #throttled = false;

  constructor(quotaNs: number, periodNs: number, nowNs: number, cpus: number) {
    this.quotaNs = quotaNs;
    this.periodNs = periodNs;
    this.#periodEndNs = nowNs + periodNs;
    this.#pool = quotaNs;
    this.#local = new Float64Array(cpus);
    this.untilNs = new Float64Array(cpus).fill(-1);
  }

  /**
   * From `fromNs` to `toNs` CPU c is busy for a share `busy[c]` of the time, unless it is throttled. Returns -1, or the moment at which
   * a CPU (`throttledCpu`) is throttled: what comes after that moment is not accounted yet.
   */
  advance(fromNs: number, toNs: number, busy: Float64Array): number {
    const local = this.#local;
    const throttledUntil = this.untilNs;
    for (let t = fromNs; ; ) {
      if (t >= this.#periodEndNs) this.#nextPeriod(t);
      let until = Math.min(toNs, this.#periodEndNs);
      for (let c = 0; c < local.length; c++) {
        if (busy[c] === 0) {
          if (local[c] > KEPT_NS) {
            this.#pool += local[c] - KEPT_NS;
            local[c] = KEPT_NS;
          }
          continue;
        }
        if (throttledUntil[c] > t) continue;
        if (local[c] <= 0) {
          // A CPU that has used more than it had pays that first, all the pool holds if need be.
          const slice = Math.min(SLICE_NS - local[c], this.#pool);
          this.#pool -= slice;
          local[c] += slice;
          if (local[c] <= 0) {
            this.#throttle(c, t);
            return t;
          }
        }
        until = Math.min(until, t + local[c] / busy[c]);
      }
      for (let c = 0; c < local.length; c++) {
        if (busy[c] === 0 || throttledUntil[c] > t) continue;
        const used = (until - t) * busy[c];
        // A remainder below a nanosecond is rounding.
        local[c] = local[c] - used < 1 ? 0 : local[c] - used;
        this.usageNs += used;
        this.#ran = true;
      }
      if (until >= toNs) return -1;
      t = until;
    }
  }

  /**
   * tg_set_cfs_bandwidth: the pool is filled with the new quota at once, nobody has a slice, and throttled CPUs go on. Returns by how much
   * earlier each of them does, in ns; 0 where nothing was throttled.
   */
  setQuota(quotaNs: number, nowNs: number): Float64Array {
    const waits = new Float64Array(this.untilNs.length);
    if (nowNs >= this.#periodEndNs) this.#nextPeriod(nowNs);
    this.quotaNs = quotaNs;
    this.#pool = quotaNs;
    this.#local.fill(0);
    // Whether a period counts as throttled is seen at its end.
    this.#throttled = false;
    for (let c = 0; c < waits.length; c++) {
      if (this.untilNs[c] <= nowNs) continue;
      waits[c] = this.untilNs[c] - nowNs;
      this.throttledNs -= waits[c];
      this.untilNs[c] = nowNs;
    }
    return waits;
  }

  /** CPU `cpu` has used `ns` on the way to what it runs now. Like the kernel's tick, it finds out later that quota was short. */
  charge(cpu: number, ns: number): void {
    if (ns === 0) return;
    this.#local[cpu] -= ns;
    this.usageNs += ns;
    this.#ran = true;
  }

  #throttle(cpu: number, nowNs: number): void {
    this.throttledCpu = cpu;
    this.untilNs[cpu] = this.#periodEndNs;
    this.throttledNs += this.#periodEndNs - nowNs;
    this.#throttled = true;
  }

  #nextPeriod(nowNs: number): void {
    if (this.#ran || this.#throttled) this.nrPeriods++;
    if (this.#throttled) this.nrThrottled++;
    this.#ran = false;
    this.#throttled = false;
    this.#periodEndNs += (Math.floor((nowNs - this.#periodEndNs) / this.periodNs) + 1) * this.periodNs;
    this.#pool = this.quotaNs;
  }
}
