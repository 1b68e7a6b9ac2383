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
 * As long as the same CPUs are busy each uses its slice at its rate, and the moment at which the first of them has used it is known beforehand. So
 * accounts are made up there, at the end of a period, and when a CPU becomes busy or idle, and not with every event of a simulation.
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
/** Of so many times what its CPUs can use in a period nobody runs out. */
const ENDLESS = 2;

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
  /**
   * The next moment at which something happens by itself: a CPU has used its slice, or the period ends. Until then, as long as the same CPUs
   * are busy, all that happens is that each uses its slice at its rate, which can be added up later.
   */
  nextNs: number;
  /** No CPU is throttled after this. */
  throttledUntilNs = -1;
  /** Per CPU: until when it is throttled. */
  readonly untilNs: Float64Array;
  /** Per CPU: what it has of its slice at `#accountedNs`; less than nothing is owed. */
  readonly #local: Float64Array;
  /** Per CPU: for which share of the time it is busy, from `#accountedNs` on. */
  readonly #busy: Float64Array;
  #accountedNs: number;
  /** All CPUs together cannot use it up, not even with what they use on the way to something: who has a slice is of no interest. */
  #endless: boolean;
  #pool: number;
  #periodEndNs: number;
  #ran = false;
  #throttled = false;

  constructor(quotaNs: number, periodNs: number, nowNs: number, cpus: number) {
    this.quotaNs = quotaNs;
    this.periodNs = periodNs;
    this.nextNs = nowNs;
    this.#accountedNs = nowNs;
    this.#periodEndNs = nowNs + periodNs;
    this.#pool = quotaNs;
    this.#endless = quotaNs >= ENDLESS * cpus * periodNs;
    this.#local = new Float64Array(cpus);
    this.#busy = new Float64Array(cpus);
    this.untilNs = new Float64Array(cpus).fill(-1);
  }

  /** Nobody is ever throttled: `advance` is needed at the end of a period only, and who is busy in no time at all makes no difference. */
  get endless(): boolean {
    return this.#endless;
  }

  /** Time goes on to `nowNs`, which is not beyond `nextNs`. */
  settle(nowNs: number): void {
    const ns = nowNs - this.#accountedNs;
    if (ns <= 0) return;
    if (this.#endless) {
      this.#count(ns);
      this.#accountedNs = nowNs;
      return;
    }
    const local = this.#local;
    for (let c = 0; c < local.length; c++) {
      const busy = this.#busy[c];
      if (busy === 0 || this.untilNs[c] > this.#accountedNs) continue;
      const used = ns * busy;
      // A remainder below a nanosecond is rounding.
      local[c] = local[c] - used < 1 ? 0 : local[c] - used;
      this.usageNs += used;
      this.#ran = true;
    }
    this.#accountedNs = nowNs;
  }

  /** `ns` pass, in which nobody can run out. */
  #count(ns: number): void {
    const busy = this.#busy;
    let used = this.usageNs;
    for (let c = 0; c < busy.length; c++) {
      if (busy[c] === 0) continue;
      used += ns * busy[c];
      this.#ran = true;
    }
    this.usageNs = used;
  }

  /** From `nowNs` on, which is not beyond `nextNs`, CPU c is busy for a share `busy[c]` of the time, unless it is throttled. */
  setBusy(busy: Float64Array, nowNs: number): void {
    this.settle(nowNs);
    // A few numbers: a loop has copied them before `set` has begun to.
    const own = this.#busy;
    for (let c = 0; c < own.length; c++) own[c] = busy[c];
    this.nextNs = this.#endless ? this.#periodEndNs : nowNs;
  }

  /**
   * What happens by itself before `toNs` happens. Returns -1, or the moment at which a CPU (`throttledCpu`) is throttled: what comes after that
   * moment has not happened yet. At `toNs` itself only what was due at the last call of `setBusy` or `charge` does.
   */
  advance(toNs: number): number {
    const local = this.#local;
    const throttledUntil = this.untilNs;
    for (;;) {
      this.settle(this.nextNs);
      const t = this.#accountedNs;
      if (t >= this.#periodEndNs) this.#nextPeriod();
      let next = this.#periodEndNs;
      if (this.#endless) {
        this.nextNs = next;
        if (next >= toNs) return -1;
        continue;
      }
      for (let c = 0; c < local.length; c++) {
        const busy = this.#busy[c];
        if (busy === 0) {
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
        next = Math.min(next, t + local[c] / busy);
      }
      this.nextNs = next;
      if (next >= toNs) return -1;
    }
  }

  /**
   * tg_set_cfs_bandwidth: the pool is filled with the new quota at once, nobody has a slice, and throttled CPUs go on. Returns by how much
   * earlier each of them does, in ns; 0 where nothing was throttled.
   */
  setQuota(quotaNs: number, nowNs: number): Float64Array {
    const waits = new Float64Array(this.untilNs.length);
    this.settle(nowNs);
    if (nowNs >= this.#periodEndNs) this.#nextPeriod();
    this.quotaNs = quotaNs;
    this.#endless = quotaNs >= ENDLESS * waits.length * this.periodNs;
    this.#pool = quotaNs;
    this.#local.fill(0);
    this.nextNs = nowNs;
    this.throttledUntilNs = nowNs;
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

  /** CPU `cpu` has used `ns` on the way to what it runs at `nowNs`. Like the kernel's tick, it finds out later that quota was short. */
  charge(cpu: number, ns: number, nowNs: number): void {
    if (ns === 0) return;
    this.settle(nowNs);
    this.#local[cpu] -= ns;
    this.usageNs += ns;
    this.#ran = true;
    const busy = this.#busy[cpu];
    if (!this.#endless && busy > 0 && this.untilNs[cpu] <= nowNs)
      this.nextNs = Math.min(this.nextNs, nowNs + Math.max(0, this.#local[cpu]) / busy);
  }

  #throttle(cpu: number, nowNs: number): void {
    this.throttledCpu = cpu;
    this.untilNs[cpu] = this.#periodEndNs;
    this.throttledUntilNs = this.#periodEndNs;
    this.throttledNs += this.#periodEndNs - nowNs;
    this.#throttled = true;
  }

  #nextPeriod(): void {
    if (this.#ran || this.#throttled) this.nrPeriods++;
    if (this.#throttled) this.nrThrottled++;
    this.#ran = false;
    this.#throttled = false;
    this.#periodEndNs += this.periodNs;
    this.#pool = this.quotaNs;
  }
}
