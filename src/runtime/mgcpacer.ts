/**
 * The pacer: when a collection starts, how large the heap may be when it ends, and how much marking an
 * allocating goroutine owes for each byte.
 *
 * Models: gcControllerState. It follows mgcpacer.go of Go 1.26, and of 1.19 to 1.25 where `VersionRules`
 * says they differ: how the cons/mark ratio is smoothed (`consMarkRule`), what "triggered" records
 * (`triggeredIsComputed`) and the headroom under the memory limit (`limitHeadroomRule`). The design is
 * golang.org/design/44167-gc-pacer-redesign and, for the limit, golang.org/design/48409-soft-memory-limit.
 *
 * One cycle, in order: `startCycle` with the world stopped; `update` and `revise` while marking;
 * `endCycle`, `resetLive` and `commit` at mark termination. Between cycles `update` moves heapLive and
 * `trigger` tells whether it is time. All amounts are bytes, all times nanoseconds, all ratios say of what.
 *
 * Arithmetic: Go's int64 and uint64 are numbers here, exact up to 2^53 bytes; integer divisions and
 * float-to-integer conversions truncate as Go's do, and the float64 expressions keep Go's operation order,
 * so that every figure agrees to the byte. Out-of-range conversions give what amd64 gives.
 *
 * Simplifies: no concurrency, so no races between revise calls and no compare-and-swap; heap-trace events and
 * gcpacertrace are left out; so is GODEBUG=gcstoptheworld. Choosing a running P to preempt (enlistWorker) is
 * the scheduler's; only the decision whether a worker is wanted is here.
 *
 * Stops being true: beyond 2^53 bytes (8 PiB), where sums are rounded. The one such value in practice is the
 * limit-based goal when no memory limit is set, and nothing but "never reached" depends on it.
 */
import { PiController } from "./picontroller.ts";
import type { VersionRules } from "./version.ts";

/** Goal CPU utilisation of marking, as a fraction of GOMAXPROCS. Assists make up what background lacks. */
export const gcGoalUtilization = 0.25;
/** Fixed utilisation of background marking, as a fraction of GOMAXPROCS. */
export const gcBackgroundUtilization = 0.25;
/** Assist time (ns) a P may accumulate before it publishes it. */
export const gcAssistTimeSlack = 5000;
/** Least scan work (bytes) of one assist: pays for later allocations in advance. */
export const gcOverAssistWork = 64 << 10;
/** The heap minimum at GOGC=100, bytes. */
export const defaultHeapMinimum = 4 << 20;
/** Least headroom kept under the limit-based goal, bytes. */
export const memoryLimitMinHeapGoalHeadroom = 1 << 20;
/** Least distance of heapLive to the trigger, so that a concurrent sweep can finish, bytes (mgcsweep.go). */
export const sweepMinHeapDistance = 1 << 20;

/** GOMEMLIMIT=off. Go's MaxInt64, rounded to the nearest float64. */
export const noMemoryLimit = 2 ** 63;
/** Value of `triggered` outside a cycle, and of `gcPercentHeapGoal` with GOGC=off (Go: ^uint64(0)). */
export const never = Number.POSITIVE_INFINITY;

/** What a mark worker's turn on a P is (gcMarkWorkerMode). */
export const workerNone = 0;
export const workerDedicated = 1;
export const workerFractional = 2;
export const workerIdle = 3;
export type WorkerMode =
  | typeof workerNone
  | typeof workerDedicated
  | typeof workerFractional
  | typeof workerIdle;

/** The trigger bounds as parts of the way from the marked heap to the goal: numerators over 64. */
const triggerRatioDen = 64;
const minTriggerRatioNum = 45;
const maxTriggerRatioNum = 61;
/** A cycle's goal is at least this far beyond the point where it triggered, bytes. */
const minRunway = 64 << 10;
/** Rounding the number of dedicated workers may be off by this fraction before fractional ones join. */
const maxUtilError = 0.3;
/** revise lets the goal slip by this factor once heapLive is beyond it. */
const maxOvershoot = 1.1;
/** What GOGC=off counts as in revise, when a forced cycle runs all the same. */
const gcPercentWhenOff = 100000;

const two63 = 2 ** 63;
const two64 = 2 ** 64;

/** int64(x) on amd64: truncates; out of range and NaN give the smallest int64. */
function toInt64(x: number): number {
  if (x >= -two63 && x < two63) {
    return Math.trunc(x) + 0;
  }
  return -two63;
}

/** uint64(x) on amd64: truncates; small negatives wrap; NaN and anything out of range give 2^63. */
function toUint64(x: number): number {
  if (x >= 0 && x < two64) {
    return Math.floor(x);
  }
  if (x < 0 && x >= -two63) {
    const n = Math.trunc(x);
    return n === 0 ? 0 : n + two64;
  }
  return two63;
}

/** a - b as int64: wraps below the smallest value, which revise relies on once its goal has overflowed. */
function subInt64(a: number, b: number): number {
  const d = a - b;
  return d < -two63 || (a === -two63 && b > 0) ? d + two64 : d;
}

/** a * percent / 100 in integers. Split so that the product stays exact whenever the result is. */
function percentOf(a: number, percent: number): number {
  const hundreds = Math.floor(a / 100);
  return hundreds * percent + Math.floor(((a - hundreds * 100) * percent) / 100);
}

/**
 * The memory statistics the limit-based goal reads. The page heap owns and updates them; the pacer looks
 * at each evaluation, so a burst of stacks or fragmentation lowers the trigger at once.
 */
export interface MemoryLimitInputs {
  /** Bytes in no span and not released to the OS. */
  readonly heapFree: number;
  /** Bytes of heap objects ever allocated, and ever freed, at the statistics' own granularity. */
  readonly totalAlloc: number;
  readonly totalFree: number;
  /** Bytes of all runtime memory in the Ready state: what the limit controls. */
  readonly mappedReady: number;
}

/** Those who follow the pacer's decisions: the sweeper and the background scavenger. */
export interface PacingFollowers {
  paceSweeper(trigger: number): void;
  paceScavenger(memoryLimit: number, heapGoal: number, lastHeapGoal: number): void;
}

export class GcController {
  readonly #rules: VersionRules;
  readonly #memory: MemoryLimitInputs;

  /** GOGC; -1 is off. */
  gcPercent = 100;
  /** GOMEMLIMIT, bytes; `noMemoryLimit` is off. Never negative. */
  memoryLimit = noMemoryLimit;
  /** Floor of the GOGC-based goal, bytes: 4 MiB * GOGC / 100. */
  heapMinimum = defaultHeapMinimum;
  /** True while marking (gcBlackenEnabled). Set by the collector, read by `update`. */
  blackenEnabled = false;

  /** Heap growth (bytes) to leave to the mutator while a cycle runs. Written by `commit`. */
  runway = 0;
  /**
   * Estimated ratio of allocation to scanning: (bytes allocated per mutator CPU-ns) / (bytes scanned per
   * GC CPU-ns). Written by `endCycle`.
   */
  consMark = 0;
  /** The raw measurements of the last four cycles, oldest first ("mean2" uses the last only). */
  readonly lastConsMark = new Float64Array(4);
  readonly #consMarkController = new PiController(0.9, 4.0, 1000, -1000, 1000);

  /** Goal from GOGC alone, bytes; `never` when off. Written by `commit`. */
  gcPercentHeapGoal = 0;
  /** Floor of trigger and goal that leaves an unfinished sweep its distance, bytes. Written by `commit`. */
  sweepDistMinTrigger = 0;
  /** Where the running cycle triggered (bytes of heapLive); `never` outside a cycle. */
  triggered = never;
  /** The goal at the end of the last cycle, bytes: for the scavenger and the trace line. */
  lastHeapGoal = 0;

  /**
   * Bytes considered live: marked by the last cycle plus allocated since, in whole spans' worth. Moves only
   * through `update` and `resetLive`.
   */
  heapLive = 0;
  /** Of heapLive the bytes that may hold pointers. Fixed while marking. */
  heapScan = 0;
  /** Bytes of heap scanned by the last cycle. */
  lastHeapScan = 0;
  /** Bytes of stack scanned by the last cycle (the used parts). */
  lastStackScan = 0;
  /** Bytes of goroutine stacks allocated, used or not. */
  maxStackScan = 0;
  /** Bytes of data and bss to scan. */
  globalsScan = 0;
  /** Bytes marked by the last cycle. Fixed until the next mark termination. */
  heapMarked = 0;

  /** Scan work done by the running cycle, bytes; kept until the next `startCycle`. */
  heapScanWork = 0;
  stackScanWork = 0;
  globalsScanWork = 0;
  /** Background scan work (bytes) not yet claimed by assists. */
  bgScanCredit = 0;
  /** CPU time of the running cycle by who spent it, ns. */
  assistTime = 0;
  dedicatedMarkTime = 0;
  fractionalMarkTime = 0;
  idleMarkTime = 0;
  /** When assists and background workers were enabled, ns. */
  markStartTime = 0;

  /** Dedicated workers still to be started. Counted down as they start. */
  dedicatedMarkWorkersNeeded = 0;
  /** Part of wall-clock time each other P gives a fractional worker; 0 when none is needed. */
  fractionalUtilizationGoal = 0;
  /** Idle workers running, and the bound on starting more (not on those already running). */
  idleMarkWorkers = 0;
  maxIdleMarkWorkers = 0;

  /** Scan work an allocating goroutine owes, bytes per byte, and the inverse. Written by `revise`. */
  assistWorkPerByte = 0;
  assistBytesPerWork = 0;

  /** Per P: assist time not yet published, and time in a fractional worker. */
  #gcAssistTime: Float64Array;
  #gcFractionalMarkTime: Float64Array;

  /** The trigger without a memory limit; negative when it must be computed again. */
  #trigger = -1;
  /** As long as no more is ready, a memory limit has no say in the trigger. */
  #limitIdleBytes = 0;
  /** Second result of the last heapGoalInternal. */
  #minTrigger = 0;

  constructor(
    rules: VersionRules,
    memory: MemoryLimitInputs,
    procs: number,
    gcPercent: number,
    memoryLimit: number,
  ) {
    this.#rules = rules;
    this.#memory = memory;
    this.#gcAssistTime = new Float64Array(procs);
    this.#gcFractionalMarkTime = new Float64Array(procs);
    this.setGCPercent(gcPercent);
    this.setMemoryLimit(memoryLimit);
    this.commit(true); // There is nothing to sweep before the first cycle.
  }

  /**
   * GOMAXPROCS changed. A P that goes loses its unpublished assist time.
   */
  procresize(procs: number): void {
    const old = this.#gcAssistTime.length;
    if (procs > old) {
      const grow = (a: Float64Array): Float64Array => {
        const b = new Float64Array(procs);
        b.set(a);
        return b;
      };
      this.#gcAssistTime = grow(this.#gcAssistTime);
      this.#gcFractionalMarkTime = grow(this.#gcFractionalMarkTime);
    } else {
      this.#gcAssistTime.fill(0, procs);
    }
  }

  /** Sets GOGC (negative is off) and returns the old value. `commit` must follow. */
  setGCPercent(percent: number): number {
    const old = this.gcPercent;
    this.gcPercent = percent < 0 ? -1 : percent;
    // With GOGC=off Go's product wraps to a huge number, which is still below its "no goal": no floor at all.
    this.heapMinimum = percent < 0 ? 0 : percentOf(defaultHeapMinimum, percent);
    return old;
  }

  /** Sets GOMEMLIMIT (negative changes nothing) and returns the old value. `commit` must follow. */
  setMemoryLimit(limit: number): number {
    const old = this.memoryLimit;
    if (limit >= 0) {
      this.memoryLimit = limit;
    }
    return old;
  }

  /**
   * Starts a cycle, with the world stopped. `periodic` is a cycle started by the two-minute timer: the
   * process is idle anyway, so idle workers are not wanted beyond what progress needs.
   */
  startCycle(markStartTime: number, procs: number, periodic: boolean): void {
    this.heapScanWork = 0;
    this.stackScanWork = 0;
    this.globalsScanWork = 0;
    this.bgScanCredit = 0;
    this.assistTime = 0;
    this.dedicatedMarkTime = 0;
    this.fractionalMarkTime = 0;
    this.idleMarkTime = 0;
    this.markStartTime = markStartTime;
    this.triggered = this.#rules.triggeredIsComputed ? this.trigger() : this.heapLive;

    // A quarter of the Ps, rounded. Where rounding would be too far off (P <= 3 and 6) round down instead and
    // let every P give the rest as a fractional worker.
    const totalUtilizationGoal = procs * gcBackgroundUtilization;
    let dedicated = Math.trunc(totalUtilizationGoal + 0.5);
    const utilError = dedicated / totalUtilizationGoal - 1;
    if (utilError < -maxUtilError || utilError > maxUtilError) {
      if (dedicated > totalUtilizationGoal) {
        dedicated--;
      }
      this.fractionalUtilizationGoal = (totalUtilizationGoal - dedicated) / procs;
    } else {
      this.fractionalUtilizationGoal = 0;
    }

    this.#gcAssistTime.fill(0);
    this.#gcFractionalMarkTime.fill(0);

    if (periodic) {
      // Without a dedicated worker someone must guarantee progress: the fractional one may not be scheduled.
      this.setMaxIdleMarkWorkers(dedicated > 0 ? 0 : 1);
    } else {
      this.setMaxIdleMarkWorkers(procs - dedicated);
    }
    this.dedicatedMarkWorkersNeeded = dedicated;
    this.revise();
  }

  /**
   * Recomputes the assist ratio from the work left and the heap growth left. Must run whenever heapLive, scan
   * work or the goal changes during marking.
   */
  revise(): void {
    const gcPercent = this.gcPercent < 0 ? gcPercentWhenOff : this.gcPercent;
    const live = this.heapLive;
    const work = this.heapScanWork + this.stackScanWork + this.globalsScanWork;

    // The steady state: as much work as last time, done when the heap reaches its goal.
    let heapGoal = this.heapGoal();
    let scanWorkExpected = this.lastHeapScan + this.lastStackScan + this.globalsScan;
    // The worst case: everything that may hold pointers is live, every allocated stack is full.
    const maxScanWork = this.heapScan + this.maxStackScan + this.globalsScan;

    if (work > scanWorkExpected) {
      // The heap is growing. Stretch the goal in proportion to the worst-case work, which keeps the assist
      // ratio level, but no further than the heap the next cycle would be allowed anyway.
      const extHeapGoal =
        toInt64(((heapGoal - this.triggered) / scanWorkExpected) * maxScanWork) + this.triggered;
      scanWorkExpected = maxScanWork;
      const hardGoal = toInt64((1.0 + gcPercent / 100.0) * heapGoal);
      heapGoal = Math.min(extHeapGoal, hardGoal);
    }
    if (live > heapGoal) {
      // Beyond even that: a little more runway, and the upper bound of the work.
      heapGoal = toInt64(heapGoal * maxOvershoot);
      scanWorkExpected = maxScanWork;
    }

    // Marking is racy in Go and may overshoot its estimate: keep both terms positive.
    let scanWorkRemaining = scanWorkExpected - work;
    if (scanWorkRemaining < 1000) {
      scanWorkRemaining = 1000;
    }
    let heapRemaining = subInt64(heapGoal, live);
    if (heapRemaining <= 0) {
      heapRemaining = 1;
    }
    this.assistWorkPerByte = scanWorkRemaining / heapRemaining;
    this.assistBytesPerWork = heapRemaining / scanWorkRemaining;
  }

  /**
   * Ends a cycle: measures its cons/mark ratio and updates the estimate. `now` is on the clock of
   * `startCycle`.
   *
   * With d the duration, P the Ps, u the utilisation by background workers and assists and i by idle workers:
   * the mutator had d*P*(1-u) CPU-ns for its allocation, marking had d*P*(u+i) for its scan work. Idle time
   * counts on both sides, since the mutator could have had it. d*P cancels out of the ratio.
   */
  endCycle(now: number, procs: number): void {
    this.lastHeapGoal = this.heapGoal();

    const assistDuration = now - this.markStartTime;
    let utilization = gcBackgroundUtilization;
    if (assistDuration > 0) {
      utilization += this.assistTime / (assistDuration * procs);
    }
    if (this.heapLive <= this.triggered) {
      // Too short to have measured anything.
      return;
    }
    let idleUtilization = 0.0;
    if (assistDuration > 0) {
      idleUtilization = this.idleMarkTime / (assistDuration * procs);
    }
    const scanWork = this.heapScanWork + this.stackScanWork + this.globalsScanWork;
    this.#smoothConsMark(
      ((this.heapLive - this.triggered) * (utilization + idleUtilization)) / (scanWork * (1 - utilization)),
    );
  }

  #smoothConsMark(current: number): void {
    const last = this.lastConsMark;
    switch (this.#rules.consMarkRule) {
      case "pi":
        this.consMark = this.#consMarkController.next(this.consMark, current, 1.0);
        if (!this.#consMarkController.ok) {
          this.consMark = 0;
        }
        break;
      case "mean2":
        this.consMark = (current + last[3]) / 2;
        break;
      case "max5":
        // Biased to fewer assists and more cycles: a noisy measurement errs towards starting early.
        this.consMark = current;
        for (let i = 0; i < last.length; i++) {
          if (last[i] > this.consMark) {
            this.consMark = last[i];
          }
        }
        break;
    }
    last.copyWithin(0, 1);
    last[3] = current;
  }

  /** Makes the finished cycle the basis of the next: after `endCycle`, before `commit`, world stopped. */
  resetLive(bytesMarked: number): void {
    this.#trigger = -1;
    this.heapMarked = bytesMarked;
    this.heapLive = bytesMarked;
    this.heapScan = this.heapScanWork;
    this.lastHeapScan = this.heapScanWork;
    this.lastStackScan = this.stackScanWork;
    this.triggered = never;
  }

  /**
   * Recomputes what depends on GOGC and on the last cycle: the GOGC goal and the runway. Follow it by
   * `revise` when a cycle is running.
   */
  commit(isSweepDone: boolean): void {
    this.#trigger = -1;
    // An unfinished sweep proceeds with heap growth, from heapLive to the trigger: give it some.
    this.sweepDistMinTrigger = isSweepDone ? 0 : this.heapLive + sweepMinHeapDistance;

    let goal = never;
    if (this.gcPercent >= 0) {
      goal =
        this.heapMarked + percentOf(this.heapMarked + this.lastStackScan + this.globalsScan, this.gcPercent);
    }
    this.gcPercentHeapGoal = Math.max(goal, this.heapMinimum);
    this.#limitIdleBytes = this.#whereLimitActs();

    // Expected work times cons/mark is the growth while marking if both had the CPU alone; weigh the two by
    // their intended shares of it.
    this.runway = toUint64(
      ((this.consMark * (1 - gcGoalUtilization)) / gcGoalUtilization) *
        (this.lastHeapScan + this.lastStackScan + this.globalsScan),
    );
  }

  /** The heap size, in bytes of heapLive, at which the running or next cycle should end. */
  heapGoal(): number {
    let goal = this.gcPercentHeapGoal;
    const limitGoal = this.memoryLimitHeapGoal();
    if (limitGoal < goal) {
      // Under the limit nothing may push the goal up again, and the sweep distance must not reach the trigger.
      this.#minTrigger = 0;
      return limitGoal;
    }
    const sweepDistTrigger = this.sweepDistMinTrigger;
    if (sweepDistTrigger > goal) {
      goal = sweepDistTrigger;
    }
    this.#minTrigger = sweepDistTrigger;
    // A late start or one large allocation may have put the trigger at the goal or beyond it.
    if (this.triggered !== never && goal < this.triggered + minRunway) {
      goal = this.triggered + minRunway;
    }
    return goal;
  }

  /**
   * The goal that keeps all memory of the runtime under the limit: what the limit leaves to heap objects,
   * less what it is exceeded by already, less some headroom. Never below the marked heap.
   */
  memoryLimitHeapGoal(): number {
    const { heapFree, totalAlloc, totalFree, mappedReady } = this.#memory;
    const limit = this.memoryLimit;

    // Whatever is mapped and neither an object nor free for objects: metadata, stacks, fragmentation.
    const nonHeapMemory = mappedReady - heapFree - (totalAlloc - totalFree);
    const overage = mappedReady > limit ? mappedReady - limit : 0;
    if (nonHeapMemory + overage >= limit) {
      // Lost already: collect continuously and leave it to the CPU limiter.
      return this.heapMarked;
    }
    let goal = limit - (nonHeapMemory + overage);

    let headroom = memoryLimitMinHeapGoalHeadroom;
    if (this.#rules.limitHeadroomRule === "percent") {
      const percent = Math.floor(goal / 100) * this.#rules.limitHeadroomPercent;
      if (percent > headroom) {
        headroom = percent;
      }
    }
    goal = goal < headroom || goal - headroom < headroom ? headroom : goal - headroom;
    return Math.max(goal, this.heapMarked);
  }

  /**
   * The heapLive at which the next cycle starts. Evaluated anew at every test, since the limit-based goal
   * moves with all of the runtime's memory.
   */
  trigger(): number {
    const goal = this.heapGoal();
    const marked = this.heapMarked;
    if (marked >= goal) {
      return goal;
    }
    let minTrigger = this.#minTrigger;
    if (minTrigger < marked) {
      minTrigger = marked;
    }
    // Not too early, or a fast allocator would keep marking always on and allocate everything black.
    const part = Math.floor((goal - marked) / triggerRatioDen);
    const lowerBound = part * minTriggerRatioNum + marked;
    if (minTrigger < lowerBound) {
      minTrigger = lowerBound;
    }
    // Not too late: some headroom in proportion, or for a large heap with little to scan the minimum heap.
    let maxTrigger = part * maxTriggerRatioNum + marked;
    if (goal > defaultHeapMinimum && goal - defaultHeapMinimum > maxTrigger) {
      maxTrigger = goal - defaultHeapMinimum;
    }
    if (maxTrigger < minTrigger) {
      maxTrigger = minTrigger;
    }
    let trigger = this.runway > goal ? minTrigger : goal - this.runway;
    if (trigger < minTrigger) {
      trigger = minTrigger;
    }
    if (trigger > maxTrigger) {
      trigger = maxTrigger;
    }
    if (trigger > goal) {
      throw new Error(`pacer: trigger ${trigger} is beyond the heap goal ${goal}`);
    }
    return trigger;
  }

  /**
   * Up to how much of mappedReady the limit's goal is surely no lower than that of GOGC. That goal is limit - nonHeapMemory less the headroom of it,
   * h bytes or a share q, whichever is more, and nonHeapMemory is part of mappedReady. So with mappedReady = m it is at least
   * min(limit - m - h, (limit - m) * (1 - q)), which is no less than the other, g, where m <= limit - max(g + h, g / (1 - q)). One byte is for rounding.
   */
  #whereLimitActs(): number {
    const { limitHeadroomRule, limitHeadroomPercent } = this.#rules;
    const share = limitHeadroomRule === "percent" ? limitHeadroomPercent / 100 : 0;
    const goal = this.gcPercentHeapGoal;
    return (
      this.memoryLimit - Math.max(goal + memoryLimitMinHeapGoalHeadroom, Math.ceil(goal / (1 - share)) + 1)
    );
  }

  /**
   * The heap part of gcTrigger.test: whether a cycle should start now. As long as a memory limit is far, the trigger moves only with
   * `commit`, so it is kept from there: this test runs at every refill.
   */
  shouldTrigger(): boolean {
    if (this.memoryLimit !== noMemoryLimit && this.#memory.mappedReady > this.#limitIdleBytes)
      return this.heapLive >= this.trigger();
    if (this.#trigger < 0) this.#trigger = this.trigger();
    return this.heapLive >= this.#trigger;
  }

  /** The allocator's report: heapLive and heapScan moved by these bytes. While marking heapScan is fixed. */
  update(dHeapLive: number, dHeapScan: number): void {
    this.heapLive += dHeapLive;
    if (this.blackenEnabled) {
      this.revise();
    } else {
      this.heapScan += dHeapScan;
    }
  }

  addGlobals(amount: number): void {
    this.globalsScan += amount;
  }

  /** Assist time spent on P `p`, ns. Returns whether it was published (the CPU limiter updates then). */
  addAssistTime(p: number, duration: number): boolean {
    const time = this.#gcAssistTime[p] + duration;
    if (time > gcAssistTimeSlack) {
      this.assistTime += time;
      this.#gcAssistTime[p] = 0;
      return true;
    }
    this.#gcAssistTime[p] = time;
    return false;
  }

  /** Whether any P could become a dedicated or fractional worker: the cheap test before assignGCWorker. */
  needGCWorker(): boolean {
    return this.dedicatedMarkWorkersNeeded > 0 || this.fractionalUtilizationGoal !== 0;
  }

  /**
   * The worker P `p` should run now (findRunnableGCWorker). The caller has made sure that there is mark work
   * and an unused worker goroutine. A dedicated worker is thereby counted as started.
   */
  assignGCWorker(p: number, now: number): WorkerMode {
    if (this.dedicatedMarkWorkersNeeded > 0) {
      this.dedicatedMarkWorkersNeeded--;
      return workerDedicated;
    }
    if (this.fractionalUtilizationGoal === 0) {
      return workerNone;
    }
    const delta = now - this.markStartTime;
    if (delta > 0 && this.#gcFractionalMarkTime[p] / delta > this.fractionalUtilizationGoal) {
      return workerNone; // This P has given its share.
    }
    return workerFractional;
  }

  /**
   * Whether the fractional worker that has run on P `p` since `startTime` should stop: past its share by a
   * fifth, so that it is not behind again at once (pollFractionalWorkerExit).
   */
  fractionalWorkerShouldExit(p: number, now: number, startTime: number): boolean {
    const delta = now - this.markStartTime;
    if (delta <= 0) {
      return true;
    }
    const selfTime = this.#gcFractionalMarkTime[p] + (now - startTime);
    return selfTime / delta > 1.2 * this.fractionalUtilizationGoal;
  }

  /**
   * When `fractionalWorkerShouldExit` starts to hold for a worker on P `p` that has run since `startTime`, ns;
   * at or before `startTime` if its share is used up already. A discrete-event clock needs the moment, not the
   * test: with x = t - markStartTime, solve self + x - (startTime - markStartTime) = 1.2 * goal * x.
   */
  fractionalWorkerExitTime(p: number, startTime: number): number {
    const started = startTime - this.markStartTime;
    const self = this.#gcFractionalMarkTime[p];
    return this.markStartTime + (started - self) / (1 - 1.2 * this.fractionalUtilizationGoal);
  }

  /** A worker's turn on P `p` ended after `duration` ns. Books the time and gives its place back. */
  markWorkerStop(p: number, mode: WorkerMode, duration: number): void {
    switch (mode) {
      case workerDedicated:
        this.dedicatedMarkTime += duration;
        this.dedicatedMarkWorkersNeeded++;
        break;
      case workerFractional:
        this.fractionalMarkTime += duration;
        this.#gcFractionalMarkTime[p] += duration;
        break;
      case workerIdle:
        this.idleMarkTime += duration;
        this.removeIdleMarkWorker();
        break;
      default:
        throw new Error(`pacer: a mark worker stopped in mode ${mode}`);
    }
  }

  /**
   * What newly published mark work calls for (enlistWorker): "wake" an idle P, if there is one and none is
   * searching already; "preempt" a running P for a dedicated worker; or nothing.
   */
  enlistWorker(idlePs: number, spinning: number): "wake" | "preempt" | "none" {
    const needDedicated = this.dedicatedMarkWorkersNeeded > 0;
    if (this.#rules.enlistIdleWorkers && (needDedicated || this.needIdleMarkWorker())) {
      if (idlePs > 0 && spinning === 0) {
        return "wake";
      }
    }
    return needDedicated ? "preempt" : "none";
  }

  /** Takes a place for an idle worker; false if all are taken. */
  addIdleMarkWorker(): boolean {
    if (this.idleMarkWorkers >= this.maxIdleMarkWorkers) {
      // More than the maximum is legal: the maximum may have dropped meanwhile.
      return false;
    }
    this.idleMarkWorkers++;
    return true;
  }

  /** Whether addIdleMarkWorker would succeed. */
  needIdleMarkWorker(): boolean {
    return this.idleMarkWorkers < this.maxIdleMarkWorkers;
  }

  removeIdleMarkWorker(): void {
    if (this.idleMarkWorkers - 1 < 0) {
      throw new Error("pacer: negative idle mark workers");
    }
    this.idleMarkWorkers--;
  }

  /** Bounds new idle workers; those running are not stopped. */
  setMaxIdleMarkWorkers(max: number): void {
    this.maxIdleMarkWorkers = max;
  }
}

/**
 * commit for a live heap: recomputes the pacing, revises a running cycle and tells those who pace themselves
 * by the result (gcControllerCommit). `marking` is gcphase != _GCoff.
 */
export function gcControllerCommit(
  c: GcController,
  isSweepDone: boolean,
  marking: boolean,
  followers: PacingFollowers,
): void {
  c.commit(isSweepDone);
  if (marking) {
    c.revise();
  }
  followers.paceSweeper(c.trigger());
  followers.paceScavenger(c.memoryLimit, c.heapGoal(), c.lastHeapGoal);
}
