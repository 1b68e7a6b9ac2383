/**
 * Pressure on a control group's memory (PSI): for how long its threads could not do their work because memory was short.
 *
 * Follows kernel/sched/psi.c and Documentation/accounting/psi.rst of Linux 6.x. A thread is in a memory stall (psi_memstall_enter) while it
 * reclaims at a limit, and while it sleeps for memory.high. `some` is the time in which at least one thread is, however many
 * there are; `full` that in which, besides, no other thread of the group runs or waits for a CPU. Both are booked as time passes, so neither gains more
 * in a second than a second.
 *
 * Simplified: the kernel keeps both states for each CPU and adds them up by the time that CPU was not idle; this is one clock for the group,
 * which is what those sums are meant to come near. A thread that reclaims does so first in the piece of work it is for, at full speed. Where it
 * stops being true: refaults of page cache and swap, which stall too, but take no time here.
 */
export class MemoryPressure {
  someNs = 0;
  fullNs = 0;
  /** No thread is in a stall after this. */
  untilNs = 0;
  /** No thread reclaims after this. */
  #reclaimUntilNs = 0;

  /** A thread sleeps until then. */
  sleeps(untilNs: number): void {
    if (untilNs > this.untilNs) this.untilNs = untilNs;
  }

  /** A thread that runs reclaims until then. */
  reclaims(untilNs: number): void {
    if (untilNs > this.#reclaimUntilNs) this.#reclaimUntilNs = untilNs;
    if (untilNs > this.untilNs) this.untilNs = untilNs;
  }

  /** Time passes while `running` threads are on a CPU or wait for one, those that reclaim among them. */
  elapse(fromNs: number, toNs: number, running: number): void {
    const until = Math.min(toNs, this.untilNs);
    if (until <= fromNs) return;
    this.someNs += until - fromNs;
    if (running === 0) this.fullNs += until - fromNs;
    // Alone on the CPUs, and in reclaim itself.
    else if (running === 1) this.fullNs += Math.max(0, Math.min(toNs, this.#reclaimUntilNs) - fromNs);
  }
}
