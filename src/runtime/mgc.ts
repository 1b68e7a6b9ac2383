/**
 * The garbage collection cycle: sweep termination, concurrent mark with workers and assists, mark termination, sweep.
 *
 * Models mgc.go and the worker and assist parts of mgcmark.go of Go 1.26 (gcStart, gcMarkDone, gcMarkTermination,
 * gcBgMarkWorker, gcAssistAlloc, bgsweep, forcegchelper).
 *
 * What a mark must do is known when it starts: the survivors are the slots that die later (see mgcmark.ts), and their
 * scannable bytes plus stacks and globals are the work W, in the pacer's units. The machine profile says how many CPU
 * nanoseconds that work costs. Marking then is progress along those nanoseconds: each worker or assist on a P adds one
 * nanosecond per nanosecond, the rate changes as workers come and go, and the end is predicted again at each change.
 *
 * Simplified: what is scanned when is a plan made at the mark's start (mgcwork.ts); the ragged barrier before mark
 * termination is passed once and takes as long as a stop of the same Ps; write barriers take no time; at the memory limit, where a
 * cycle's whole sweep comes before the next one's start, one goroutine does what is left of it, and the background sweeper
 * neither helps nor gets in its way. An object unreachable only after the mark began survives it (snapshot at the beginning,
 * kept by the write barrier), unless it was held by a stack which is not scanned yet: no barrier guards stacks. Of a unit of work that
 * began before the mark and whose goroutine has ended by then nothing is marked, what it allocated during the mark in spans that were
 * there before included, though that was black; what a goroutine drops while it goes on is.
 */
import type { RuntimeCosts } from "./costs.ts";
import { limiterEventIdleMarkWork, limiterEventMarkAssist } from "./mgclimit.ts";
import {
  type GcController,
  gcControllerCommit,
  type PacingFollowers,
  type WorkerMode,
  workerDedicated,
  workerFractional,
  workerIdle,
} from "./mgcpacer.ts";
import type { Scavenger } from "./mgcscavenge.ts";
import { MarkWork } from "./mgcwork.ts";
import type { Heap } from "./mheap.ts";
import {
  AFTER_EXIT,
  AFTER_PARK,
  AFTER_RUN,
  AFTER_YIELD,
  forcePreemptAt,
  G,
  type GcReason,
  type MarkScheduling,
  P_ASSIST,
  P_DEDICATED,
  P_FRACTIONAL,
  P_IDLE,
  P_IDLE_WORKER,
  PRIORITY_WORLD,
  type Scheduler,
} from "./proc.ts";
import type { Goroutines } from "./runtime2.ts";
import type { StackAllocator } from "./stack.ts";
import { WorkBufs } from "./workbufs.ts";

/** gcOverAssistWork: the least work an assist does at once, to amortize its cost. */
const GC_OVER_ASSIST_WORK = 64 << 10;
/** drainCheckThreshold: scan work between two looks of an idle or fractional worker at what else there is to do. */
const DRAIN_CHECK_THRESHOLD = 100_000;
/** CPU time by which two sums of the same parts may differ: what is left of a mark is more, or nothing. */
const NOTHING_NS = 1e-3;
/** forcegcperiod: a cycle is due at least this often. */
const FORCE_GC_PERIOD_NS = 120e9;
/** Stack bytes of a parked worker goroutine: their share of an idle process's /gc/scan/stack:bytes (Go 1.26, amd64). */
const WORKER_PARKED_BYTES = 250;
/** Up to so many spans are swept in no time on the way to a cycle; more take theirs before it starts. */
const START_SWEEP_SPANS = 1000;
/** Cycles whose pauses are remembered: len(MemStats.PauseNs). */
export const PAUSE_RING = 256;
/** bgsweep yields after this many spans. */
const SWEEP_BATCH_SPANS = 10;

/** One completed cycle; byte figures are what gctrace prints before rounding to MiB. */
export interface CycleRecord {
  readonly gc: number;
  readonly start_seconds: number;
  readonly heap_start_bytes: number;
  readonly heap_end_bytes: number;
  readonly heap_marked_bytes: number;
  readonly goal_bytes: number;
  readonly trigger_bytes: number;
  readonly stacks_bytes: number;
  readonly globals_bytes: number;
  readonly stw1_ns: number;
  readonly concurrent_ns: number;
  readonly stw2_ns: number;
  readonly assist_cpu_ns: number;
  readonly background_cpu_ns: number;
  readonly idle_cpu_ns: number;
  readonly procs: number;
  readonly forced: boolean;
  readonly reason: GcReason;
  readonly gc_cpu_percent: number;
}

/**
 * CPU time the collector has used; dedicated workers' includes fractional ones'. Pauses count once, however many Ps they stop.
 */
export interface GcCpu {
  readonly assistNs: number;
  readonly dedicatedNs: number;
  readonly idleNs: number;
  readonly pauseTotalNs: number;
}

function workerMode(state: number): WorkerMode {
  return state === P_DEDICATED ? workerDedicated : state === P_FRACTIONAL ? workerFractional : workerIdle;
}

export interface GcOptions {
  readonly sched: Scheduler;
  readonly heap: Heap;
  readonly pacer: GcController;
  readonly goroutines: Goroutines;
  readonly stacks: StackAllocator;
  readonly scavenger: Scavenger;
  readonly costs: RuntimeCosts;
  readonly globalsBytes: number;
  readonly tickNs: number;
  /** When the process started. */
  readonly startNs: number;
  /** Length of the next stop: 0 sweep termination, 1 mark termination; `preempting`: another P runs a goroutine. */
  readonly stwNs: (which: 0 | 1, preempting: boolean) => number;
  /** How long a thread that computes runs on when it is signalled to let its goroutine go. */
  readonly preemptNs: number;
  readonly onCycle: (cycle: CycleRecord) => void;
  /** By what marking the survivors just counted takes longer than on one node. */
  readonly markSlowdown: () => number;
  /** sync.Pool's clean-up: called with the world stopped, before marking. */
  readonly clearPools: (nowNs: number) => void;
}

/** The background sweeper: ten spans, then it yields if anything else wants the P. */
class BgSweep extends G {
  readonly #heap: Heap;
  readonly #sweepNs: () => number;
  readonly #freeWorkBufs: (p: number) => void;

  constructor(heap: Heap, takeWorkNs: () => number, freeWorkBufs: (p: number) => void) {
    super();
    this.#heap = heap;
    this.#sweepNs = takeWorkNs;
    this.#freeWorkBufs = freeWorkBufs;
  }

  override get label(): string {
    return "bgsweep";
  }

  step(p: number): number {
    let swept = 0;
    while (swept < SWEEP_BATCH_SPANS && this.#heap.sweepone(p) >= 0) swept++;
    this.after = swept < SWEEP_BATCH_SPANS ? AFTER_PARK : AFTER_YIELD;
    if (this.after === AFTER_PARK) this.#freeWorkBufs(p);
    return this.#sweepNs();
  }
}

/** The goroutine sysmon wakes when no cycle has run for two minutes. */
class ForceGcHelper extends G {
  readonly #want: () => void;

  constructor(want: () => void) {
    super();
    this.#want = want;
  }

  override get label(): string {
    return "forcegchelper";
  }

  step(): number {
    this.#want();
    this.after = AFTER_PARK;
    return 0;
  }
}

export class Gc implements MarkScheduling, PacingFollowers {
  marking = false;
  /** A cycle is between its start and the end of mark termination. */
  running = false;
  numGC = 0;
  /** Of them those that runtime.GC asked for. */
  numForcedGC = 0;
  pauseTotalNs = 0;
  /** Both pauses of each of the last cycles and when the second ended; that of cycle n is at (n - 1) % PAUSE_RING. */
  readonly pauseNs = new Float64Array(PAUSE_RING);
  readonly pauseEndNs = new Float64Array(PAUSE_RING);
  /** Cumulative GC CPU, by /cpu/classes/gc; updated at the end of each cycle, as the runtime does. */
  assistNs = 0;
  dedicatedNs = 0;
  fractionalNs = 0;
  idleNs = 0;
  pauseCpuNs = 0;
  gcCpuFraction = 0;
  readonly #o: GcOptions;
  readonly #bgsweep: BgSweep;
  readonly #workBufs: WorkBufs;
  readonly #forcegc: ForceGcHelper;
  readonly #markDoneCallback: number;
  readonly #periodicCallback: number;
  #markDoneHandle = -1;
  #periodicHandle = -1;
  #nextReason: GcReason = "heap";
  /** Spans swept by the step that asks for a cycle. */
  #sweptBefore = 0;
  #waiters: G[] = [];
  /** Worker goroutines started. */
  #workerGs = 0;

  // Progress of the mark, in CPU nanoseconds.
  readonly #work = new MarkWork();
  #doneNs = 0;
  #advancedNs = 0;
  #workers = 0;
  #assists = 0;
  /** Workers that stand still: their CPU is out of quota. */
  #heldWorkers = 0;
  #stackWork = 0;
  #workerStartNs!: Float64Array;
  /** Per P: its worker is on it, and the CPU time that worker has spent on the unit of work it scans. */
  #working!: Uint8Array;
  #assisting!: Uint8Array;
  #unitNs!: Float64Array;
  /** No work is left, and the mark is about to end. */
  #ending = false;
  /** A worker has come to the stacks of goroutines that run. */
  #suspended = false;
  /** Scan work of workers that is not credit yet, being part of units not done. */
  #uncredited = 0;
  /** Per P: scan work its assist has set out to do. */
  #assistWork!: Float64Array;
  /** Per P: how long its assist was to take. */
  #assistNs!: Float64Array;

  // The cycle under way.
  #reason: GcReason = "heap";
  #stwStartNs = 0;
  #markStartNs = 0;
  #markEndNs = 0;
  #stw1Ns = 0;
  #stw2Ns = 0;
  #heap0 = 0;
  #triggerBytes = 0;

  constructor(options: GcOptions) {
    this.#o = options;
    this.procresize(options.sched.nprocs);
    this.#workBufs = new WorkBufs(options.heap, options.costs.faultNs);
    this.#bgsweep = new BgSweep(
      options.heap,
      () => this.takeSweepNs(),
      (p) => {
        if (!this.marking) this.#workBufs.freeSome(p);
      },
    );
    this.#forcegc = new ForceGcHelper(() => this.want("periodic"));
    options.sched.adopt(this.#bgsweep);
    options.sched.adopt(this.#forcegc);
    this.#markDoneCallback = options.sched.register((now) => this.#markDone(now));
    this.#periodicCallback = options.sched.register(() => {
      this.#periodicHandle = -1;
      options.sched.ready(this.#forcegc);
    });
  }

  /** GOMAXPROCS is `nprocs` from now on, between two cycles: nothing that is kept by P outlasts a cycle. */
  procresize(nprocs: number): void {
    this.#workerStartNs = new Float64Array(nprocs);
    this.#assistWork = new Float64Array(nprocs);
    this.#assistNs = new Float64Array(nprocs);
    this.#working = new Uint8Array(nprocs);
    this.#assisting = new Uint8Array(nprocs);
    this.#unitNs = new Float64Array(nprocs);
  }

  /** CPU of the sweeping done since the last call, from the heap's work counters. */
  takeSweepNs: () => number = () => 0;
  /** So many page faults are paid for otherwise. */
  forgetFaults: (faults: number) => void = () => {};

  /** Goroutines that mark, one per P from the first cycle on. */
  get workerGoroutines(): number {
    return this.#workerGs;
  }

  /**
   * CPU times since the start as `assistNs` and so on, with those of the cycle under way, and of the workers, assists and pause in the
   * middle of which `nowNs` is.
   */
  cpuNow(nowNs: number): GcCpu {
    const { pacer, sched } = this.#o;
    let { assistNs, idleNs, pauseTotalNs } = this;
    let dedicatedNs = this.dedicatedNs + this.fractionalNs;
    if (this.marking || this.#ending) {
      assistNs += pacer.assistTime;
      dedicatedNs += pacer.dedicatedMarkTime + pacer.fractionalMarkTime;
      idleNs += pacer.idleMarkTime;
      pauseTotalNs += this.#stw1Ns;
    }
    for (let p = 0; p < sched.nprocs; p++) {
      const ns = nowNs - this.#workerStartNs[p];
      const state = sched.pState[p];
      if (state === P_ASSIST) assistNs += ns;
      else if (state === P_DEDICATED || state === P_FRACTIONAL) dedicatedNs += ns;
      else if (state === P_IDLE_WORKER) idleNs += ns;
    }
    if (this.running && !this.marking)
      pauseTotalNs += nowNs - (this.#ending ? this.#markEndNs : this.#stwStartNs);
    return { assistNs, dedicatedNs, idleNs, pauseTotalNs };
  }

  /** Follows the pacer's decisions (gcPaceSweeper). */
  paceSweeper(trigger: number): void {
    this.#o.heap.commitCycle(trigger);
  }

  /** Follows them too (gcPaceScavenger). */
  paceScavenger(memoryLimit: number, heapGoal: number, lastHeapGoal: number): void {
    this.#o.scavenger.pace(memoryLimit, heapGoal, lastHeapGoal);
  }

  /** Asks for a cycle from inside a goroutine's step, which has swept `spansSwept` spans on the way to it. */
  want(reason: GcReason, spansSwept = 0): void {
    this.#nextReason = reason;
    this.#sweptBefore = spansSwept;
    this.#o.sched.gcWanted = true;
  }

  /** Makes `g` runnable when the cycle under way, or the next one, has ended. */
  waitForCycle(g: G): void {
    this.#waiters.push(g);
  }

  /** GOGC or the memory limit has changed: the pacing is computed anew, in the middle of a cycle too. */
  recommit(): void {
    const { pacer, heap, sched } = this.#o;
    gcControllerCommit(pacer, heap.isSweepDone(), this.marking, this);
    // sysmon looks at GOGC whenever two minutes have passed; here the timer stands still while it is off.
    if (pacer.gcPercent >= 0 && this.#periodicHandle < 0 && !this.running)
      this.#periodicHandle = sched.fire(
        sched.nowNs + FORCE_GC_PERIOD_NS,
        PRIORITY_WORLD,
        this.#periodicCallback,
      );
  }

  /** A cycle holds worldsema: from the ragged barrier to the end of mark termination. The first stop lets nobody run anyhow. */
  get holdsWorld(): boolean {
    return this.running && (this.#ending || !this.marking);
  }

  /** gcTrigger.test for the heap. */
  heapAtTrigger(): boolean {
    return !this.running && this.#o.pacer.shouldTrigger();
  }

  triggered(g: G, p: number, nowNs: number): boolean {
    const under = g.gcStart;
    const reason = under?.reason ?? this.#nextReason;
    let swept = under === null ? this.#sweptBefore : 0;
    this.#nextReason = "heap";
    this.#sweptBefore = 0;
    g.gcStart = null;
    // Whoever finds the trigger reached sweeps, and the first who finds nothing left to sweep starts the cycle: the others' too,
    // even if it is over before they look again.
    if (this.running || (under !== null && under.numGC !== this.numGC)) return false;
    if (reason === "heap" && !this.heapAtTrigger()) return false;
    const { heap, sched, pacer } = this.#o;
    // Pick up what is left to sweep. Proportional sweeping has normally left next to nothing; but at the memory limit the next cycle
    // is due as soon as one has ended, and the first allocation sweeps the whole heap for it, a slice at a time.
    while (swept < START_SWEEP_SPANS && heap.sweepone(p) >= 0) swept++;
    g.pendingNs += this.takeSweepNs();
    if (swept >= START_SWEEP_SPANS) {
      g.gcStart = { reason, numGC: this.numGC };
      return false;
    }
    if (reason === "heap" && !this.heapAtTrigger()) return false;

    this.running = true;
    this.#startWorkers(p);
    this.#reason = reason;
    this.#heap0 = pacer.heapLive;
    this.#stwStartNs = nowNs;
    this.#stw1Ns = this.#o.stwNs(0, sched.othersRun(p)) + sched.arrivalNs();
    heap.trace?.cycleBegins(this.numGC + 1, reason, this.#heap0, pacer.trigger());
    sched.stopTheWorld(this.#stw1Ns, p, (now) => this.#startMark(now));
    sched.limiter.startGCTransition(true, nowNs);
    return true;
  }

  /** gcBgMarkStartWorkers: a goroutine per P, started by the first cycle that has so many. Those of Ps that went stay. */
  #startWorkers(p: number): void {
    const { goroutines, sched } = this.#o;
    for (; this.#workerGs < sched.nprocs; this.#workerGs++) {
      const g = goroutines.newproc(p);
      goroutines.setUsed(g, WORKER_PARKED_BYTES);
    }
  }

  #startMark(nowNs: number): void {
    const { heap, pacer, stacks, goroutines, costs, sched } = this.#o;
    this.#stw1Ns += sched.stopThrottledNs;
    sched.stwTotalTimeGC.record(this.#stw1Ns);
    this.#o.clearPools(nowNs);
    sched.resetAssistBytes();
    this.#triggerBytes = this.#reason === "heap" ? pacer.trigger() : pacer.heapLive;
    pacer.startCycle(this.#stwStartNs, sched.nprocs, this.#reason === "periodic");
    // Two cycles within one tick would be one to the slots.
    const tick = Math.max(Math.floor(nowNs / this.#o.tickNs), heap.lastMarkTick + 1);
    const totals = heap.startMark(tick);
    // Until the next sweep nothing more becomes free: what there is may go now (finishsweep_m).
    this.#o.scavenger.wake();
    stacks.setGCPhase(true);
    goroutines.startScan();
    goroutines.markrootFreeGStacks(0);
    const stackBytes = goroutines.scanStacks(0);
    this.#work.plan(
      totals,
      { globalsBytes: this.#o.globalsBytes, stackBytes, stacks: goroutines.scannedStacks },
      costs,
      this.#o.markSlowdown(),
    );
    this.#stackWork = stackBytes;
    this.#doneNs = 0;
    this.#advancedNs = nowNs;
    this.#workers = 0;
    this.#assists = 0;
    this.#heldWorkers = 0;
    this.#ending = false;
    this.#suspended = false;
    this.#unitNs.fill(0);
    this.#uncredited = 0;
    this.#markStartNs = nowNs;
    this.marking = true;
    pacer.blackenEnabled = true;
    pacer.revise();
    heap.trace?.markBegins(this.numGC + 1, pacer.heapGoal());
    sched.limiter.finishGCTransition(nowNs);
  }

  /** Brings the mark's progress, and the pacer's view of it, up to `nowNs`. */
  advance(nowNs: number): void {
    const dt = nowNs - this.#advancedNs;
    if (dt <= 0) return;
    this.#advancedNs = nowNs;
    const pacer = this.#o.pacer;
    const speed = this.#speed();
    // Less than nothing is left if what was done was found not to be needed.
    const left = Math.max(0, this.#work.totalNs - this.#doneNs);
    const byWorkers = Math.min(this.#workers * speed * dt, left);
    const byAssists = Math.min(this.#assists * speed * dt, left - byWorkers);
    const before = this.#work.workAt(this.#doneNs);
    this.#doneNs += byWorkers + byAssists;
    const after = this.#work.workAt(this.#doneNs);
    if (byWorkers > 0) {
      this.#uncredited += ((after - before) * byWorkers) / (byWorkers + byAssists);
      const credit = Math.trunc(Math.min(this.#uncredited, this.#unitsDone(speed * dt)));
      this.#uncredited -= credit;
      pacer.bgScanCredit += credit;
    }
    this.#report(Math.trunc(after));
    const { heap } = this.#o;
    // What goroutines held that ended before their stacks were scanned.
    if (heap.owners.unreached === 0 || this.#work.stacksScanned(this.#doneNs) < 1) return;
    this.#work.drop(heap.unmarkUnreached());
    this.#predict(nowNs);
  }

  /** Whether the mark under way has still to scan the stack of goroutine `gid`: it goes through allgs. */
  willScanStack(gid: number): boolean {
    return this.marking && this.#work.stacksScanned(this.#doneNs) * this.#o.goroutines.allglen < gid + 1;
  }

  /** gcFlushBgCredit: the scan work of the units that workers have completed in the last `ns` of each. */
  #unitsDone(ns: number): number {
    const lump = this.#work.lumpAt(this.#doneNs);
    if (lump === 0) return Infinity;
    const lumpNs = this.#work.nsFor(lump, this.#doneNs);
    let units = 0;
    for (let p = 0; p < this.#working.length; p++) {
      if (this.#working[p] === 0) continue;
      const spent = this.#unitNs[p] + ns;
      const done = Math.floor(spent / lumpNs);
      this.#unitNs[p] = spent - done * lumpNs;
      units += done;
    }
    return units * lump;
  }

  /** CPU time between two looks of an idle or fractional worker at what else there is to do. */
  get idleCheckNs(): number {
    return Math.max(1000, this.#work.checkNs(DRAIN_CHECK_THRESHOLD, this.#doneNs));
  }

  /** Splits the work done so far into globals, stacks and heap, in the order they are scanned. */
  #report(work: number): void {
    const pacer = this.#o.pacer;
    const heapWork = this.#work.heapWork;
    const globals = Math.min(work, this.#o.globalsBytes);
    const stack = Math.min(work - globals, this.#stackWork);
    pacer.globalsScanWork = globals;
    pacer.stackScanWork = stack;
    pacer.heapScanWork = Math.min(work - globals - stack, heapWork);
  }

  /** Ps beyond the CPUs share them. */
  #speed(): number {
    const { cpus, nprocs } = this.#o.sched;
    return nprocs > cpus ? cpus / nprocs : 1;
  }

  #predict(nowNs: number): void {
    if (this.#ending) return;
    const sched = this.#o.sched;
    if (this.#markDoneHandle >= 0) sched.queue.cancel(this.#markDoneHandle);
    this.#markDoneHandle = -1;
    // Workers still look for more when all is scanned; an assist that finds nothing, and is alone, ends the mark (gcEndWork).
    const byWorkers = this.#workers + this.#heldWorkers > 0;
    const left = (byWorkers ? this.#work.totalNs : this.#work.scanNs) - this.#doneNs;
    const rate = (this.#workers + this.#assists) * this.#speed();
    // Without anybody at work the mark rests, unless it is done.
    if (rate <= 0 && left > NOTHING_NS) return;
    const end = left > NOTHING_NS ? Math.ceil(nowNs + left / rate) : nowNs;
    this.#markDoneHandle = sched.fire(end, PRIORITY_WORLD, this.#markDoneCallback);
  }

  /** gcCPULimiter.update: assists under way notice at once that the limiter has turned on. */
  #updateLimiter(nowNs: number): void {
    const { sched } = this.#o;
    if (sched.limiter.limiting) {
      sched.limiter.update(nowNs);
      return;
    }
    sched.limiter.update(nowNs);
    if (sched.limiter.limiting) sched.endAssists();
  }

  workerHeld(p: number, held: boolean, nowNs: number): void {
    this.advance(nowNs);
    const by = held ? -1 : 1;
    if (this.#assisting[p] === 1) this.#assists += by;
    else {
      this.#workers += by;
      this.#heldWorkers -= by;
      this.#working[p] = held ? 0 : 1;
    }
    if (this.marking) this.#predict(nowNs);
  }

  workerDue(p: number, nowNs: number): number {
    const pacer = this.#o.pacer;
    if (this.#o.sched.limiter.needUpdate(nowNs)) this.#updateLimiter(nowNs);
    if (!pacer.needGCWorker() || !this.#canStartWorker()) return P_IDLE;
    const mode = pacer.assignGCWorker(p, nowNs);
    return mode === workerDedicated ? P_DEDICATED : mode === workerFractional ? P_FRACTIONAL : P_IDLE;
  }

  addIdleWorker(): boolean {
    return this.#canStartWorker() && this.#o.pacer.addIdleMarkWorker();
  }

  /** gcShouldScheduleWorker: there is, or may be, something to scan. */
  #canStartWorker(): boolean {
    return !this.#ending && this.#doneNs < this.#work.totalNs;
  }

  get onlyLooking(): boolean {
    return this.#doneNs >= this.#work.scanNs;
  }

  workerStarted(p: number, mode: number, nowNs: number): void {
    this.advance(nowNs);
    this.#holdWorkBufs(p, nowNs);
    if (mode === P_IDLE_WORKER) this.#o.sched.limiter.startEvent(p, limiterEventIdleMarkWork, nowNs);
    this.#workers++;
    this.#working[p] = 1;
    this.#workerStartNs[p] = nowNs;
    if (!this.#suspended) this.#suspend(p);
    this.#predict(nowNs);
  }

  /**
   * suspendG: the stack of a goroutine that runs cannot be scanned. The worker signals its thread and spins until it has stopped, or has come to
   * a call, where it looks by itself: at the end of its step at the latest. Simplified: who is met running is who runs when
   * the first worker starts; it then goes on at once, where Go puts it into the worker's own queue; and clearing a large object, 256 KiB at a
   * time, can be interrupted here.
   */
  #suspend(p: number): void {
    this.#suspended = true;
    if (this.#work.inRoots(this.#doneNs))
      this.#work.prolongRoots(this.#o.sched.runningNs(p, this.#o.preemptNs) * this.#speed());
  }

  /** Their page faults are part of what a cycle costs with nothing to mark, and are not to be paid twice. */
  #holdWorkBufs(p: number, nowNs: number): void {
    this.forgetFaults(this.#workBufs.hold(p, nowNs));
  }

  workerStopped(p: number, mode: number, nowNs: number): void {
    this.advance(nowNs);
    if (mode === P_IDLE_WORKER) this.#o.sched.limiter.stopEvent(p, limiterEventIdleMarkWork, nowNs);
    this.#workers--;
    this.#working[p] = 0;
    this.#o.pacer.markWorkerStop(p, workerMode(mode), Math.round(nowNs - this.#workerStartNs[p]));
    if (this.marking) this.#predict(nowNs);
  }

  workerExitNs(p: number, mode: number, nowNs: number): number {
    // An idle worker leaves when it sees runnable goroutines (the scheduler tells), or when sysmon preempts it.
    if (mode === P_IDLE_WORKER) return forcePreemptAt(nowNs);
    if (mode !== P_FRACTIONAL) return Infinity;
    // The worker looks only once per idleCheckThreshold of scan work.
    const exit = this.#o.pacer.fractionalWorkerExitTime(p, nowNs);
    const speed = this.#speed();
    const afterNs = Math.max(1, (exit - nowNs) * speed);
    return nowNs + Math.ceil(this.#work.firstCheckNs(DRAIN_CHECK_THRESHOLD, this.#doneNs, afterNs) / speed);
  }

  assist(g: G, p: number, nowNs: number): number {
    // Whoever is in debt stays so, and pays when the limiter is off again.
    if (this.#o.sched.limiter.limiting) return 0;
    this.advance(nowNs);
    const pacer = this.#o.pacer;
    let debtBytes = -g.gcAssistBytes;
    let scanWork = Math.trunc(pacer.assistWorkPerByte * debtBytes);
    if (scanWork < GC_OVER_ASSIST_WORK) {
      scanWork = GC_OVER_ASSIST_WORK;
      debtBytes = Math.trunc(pacer.assistBytesPerWork * scanWork);
    }
    if (pacer.bgScanCredit > 0) {
      let stolen = scanWork;
      if (pacer.bgScanCredit < scanWork) {
        stolen = pacer.bgScanCredit;
        g.gcAssistBytes += 1 + Math.trunc(pacer.assistBytesPerWork * stolen);
      } else {
        g.gcAssistBytes += debtBytes;
      }
      pacer.bgScanCredit -= stolen;
      scanWork -= stolen;
      if (scanWork === 0) return 0;
    }
    const left = this.#work.scanNs - this.#doneNs;
    if (left <= NOTHING_NS) {
      // gcParkAssist: it finds no work while others are still at it. Simplified: it waits until the cycle ends, though workers may still flush credit.
      g.gcAssistBytes = 0;
      this.waitForCycle(g);
      return -1;
    }
    this.#holdWorkBufs(p, nowNs);
    this.#work.take(this.#doneNs, scanWork);
    this.#assistWork[p] = this.#work.takenWork;
    this.#assists++;
    this.#assisting[p] = 1;
    this.#workerStartNs[p] = nowNs;
    this.#o.sched.limiter.startEvent(p, limiterEventMarkAssist, nowNs);
    this.#predict(nowNs);
    // Whoever does the last of the work is still at it when the mark ends.
    const last = this.#work.takenNs > left - NOTHING_NS;
    const ns = Math.max(1, last ? left : this.#work.takenNs) / this.#speed();
    this.#assistNs[p] = last ? Math.ceil(nowNs + ns) - nowNs : ns;
    return this.#assistNs[p];
  }

  flushAssistCredit(g: G): void {
    const pacer = this.#o.pacer;
    if (this.marking && g.gcAssistBytes > 0)
      pacer.bgScanCredit += Math.trunc(pacer.assistWorkPerByte * g.gcAssistBytes);
    g.gcAssistBytes = 0;
  }

  assistDone(g: G, p: number, nowNs: number): void {
    this.advance(nowNs);
    this.#assists--;
    this.#assisting[p] = 0;
    const pacer = this.#o.pacer;
    const { limiter } = this.#o.sched;
    const ns = nowNs - this.#workerStartNs[p];
    // The limiter, or the mark's end, has ended it before its time.
    const done = limiter.limiting || this.#ending ? Math.min(1, ns / this.#assistNs[p]) : 1;
    g.gcAssistBytes += 1 + Math.trunc(pacer.assistBytesPerWork * this.#assistWork[p] * done);
    limiter.stopEvent(p, limiterEventMarkAssist, nowNs);
    if (pacer.addAssistTime(p, Math.round(ns))) this.#updateLimiter(nowNs);
    if (this.marking) this.#predict(nowNs);
    else g.gcAssistBytes = 0;
  }

  /**
   * gcMarkDone: the ragged barrier. The last worker waits until every P has passed a safe point; meanwhile the others have left
   * their workers and run what has become due during the mark, so that the stop that follows must preempt it.
   */
  #markDone(nowNs: number): void {
    const { sched } = this.#o;
    this.#markDoneHandle = -1;
    if (sched.stoppedUntilNs >= 0) {
      // Somebody else (ReadMemStats) has the world stopped.
      this.#markDoneHandle = sched.fire(sched.stoppedUntilNs, PRIORITY_WORLD, this.#markDoneCallback);
      return;
    }
    this.#ending = true;
    this.advance(nowNs);
    const p = sched.endWorkers();
    const barrierNs = p < 0 ? 0 : this.#o.stwNs(1, sched.othersRun(p)) + sched.arrivalNs();
    sched.call(nowNs + barrierNs, PRIORITY_WORLD, (now) => this.#stopForTermination(now, p));
  }

  #stopForTermination(nowNs: number, p: number): void {
    const { heap, sched, pacer, stacks } = this.#o;
    const heldUntilNs = sched.heldUntilNs(p);
    if (heldUntilNs >= 0) {
      // Out of CPU quota: it ends the mark when it runs again.
      sched.call(heldUntilNs, PRIORITY_WORLD, (now) => this.#stopForTermination(now, p));
      return;
    }
    this.#report(this.#work.heapWork + this.#stackWork + this.#o.globalsBytes);
    this.#markEndNs = nowNs;
    this.#stw2Ns = this.#o.stwNs(1, sched.othersRun(p)) + sched.arrivalNs();
    this.marking = false;
    pacer.blackenEnabled = false;
    stacks.setGCPhase(false);
    heap.trace?.markEnds(this.numGC + 1);
    sched.stopTheWorld(this.#stw2Ns, p, (now) => this.#markTermination(now));
    sched.limiter.startGCTransition(false, nowNs);
  }

  #markTermination(nowNs: number): void {
    const { heap, pacer, stacks, goroutines, sched } = this.#o;
    this.#stw2Ns += sched.stopThrottledNs;
    sched.stwTotalTimeGC.record(this.#stw2Ns);
    const heap1 = pacer.heapLive;
    pacer.endCycle(this.#markEndNs, sched.nprocs);
    goroutines.gcComputeStartingStackSize();
    const bytesMarked = heap.finishMark();
    pacer.resetLive(bytesMarked);
    gcControllerCommit(pacer, heap.isSweepDone(), false, this);
    this.#o.scavenger.nextGen();
    this.numGC++;
    sched.limiter.numGC = this.numGC;
    const pauseNs = this.#stw1Ns + this.#stw2Ns;
    this.pauseTotalNs += pauseNs;
    const slot = (this.numGC - 1) % PAUSE_RING;
    this.pauseNs[slot] = pauseNs;
    this.pauseEndNs[slot] = nowNs;
    if (this.#reason === "explicit") this.numForcedGC++;
    this.assistNs += pacer.assistTime;
    this.dedicatedNs += pacer.dedicatedMarkTime;
    this.fractionalNs += pacer.fractionalMarkTime;
    this.idleNs += pacer.idleMarkTime;
    this.pauseCpuNs += pauseNs * sched.nprocs;
    this.gcCpuFraction =
      (this.assistNs + this.dedicatedNs + this.fractionalNs + this.pauseCpuNs) / sched.totalTimeNs(nowNs);
    sched.limiter.finishGCTransition(nowNs);
    heap.memProfile?.nextCycle();
    stacks.freeStackSpans();
    for (let p = 0; p < sched.nprocs; p++) {
      heap.prepareForSweep(p);
      // An idle P would sit on its page cache, out of the scavenger's sight.
      if (heap.rules.idlePageCacheFlush && sched.wasIdle(p)) heap.flushPageCache(p);
      stacks.stackcacheClear(p);
    }
    const cycle: CycleRecord = {
      gc: this.numGC,
      start_seconds: this.#stwStartNs / 1e9,
      heap_start_bytes: this.#heap0,
      heap_end_bytes: heap1,
      heap_marked_bytes: bytesMarked,
      goal_bytes: pacer.lastHeapGoal,
      trigger_bytes: this.#triggerBytes,
      stacks_bytes: this.#stackWork,
      globals_bytes: this.#o.globalsBytes,
      stw1_ns: this.#stw1Ns,
      concurrent_ns: this.#markEndNs - this.#markStartNs,
      stw2_ns: this.#stw2Ns,
      assist_cpu_ns: pacer.assistTime,
      background_cpu_ns: pacer.dedicatedMarkTime + pacer.fractionalMarkTime,
      idle_cpu_ns: pacer.idleMarkTime,
      procs: sched.nprocs,
      forced: this.#reason === "explicit",
      reason: this.#reason,
      gc_cpu_percent: this.gcCpuFraction * 100,
    };
    this.#workBufs.cycleEnds();
    heap.trace?.cycleEnds(cycle, heap.pagesInUse);
    this.#o.onCycle(cycle);
    this.running = false;
    this.#ending = false;
    sched.ready(this.#bgsweep);
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const g of waiters) sched.ready(g);
    if (this.#periodicHandle >= 0) sched.queue.cancel(this.#periodicHandle);
    this.#periodicHandle =
      pacer.gcPercent >= 0
        ? sched.fire(nowNs + FORCE_GC_PERIOD_NS, PRIORITY_WORLD, this.#periodicCallback)
        : -1;
  }
}

/** runtime.GC(): waits for a cycle under way, runs one of its own, and sweeps everything itself. */
export class ExplicitGc extends G {
  readonly #gc: Gc;
  readonly #heap: Heap;
  #stage = 0;
  /** The cycle it has waited for. */
  #cycle = 0;

  constructor(gc: Gc, heap: Heap) {
    super();
    this.#gc = gc;
    this.#heap = heap;
  }

  override get label(): string {
    return "runtime.GC";
  }

  step(p: number, _nowNs: number): number {
    switch (this.#stage) {
      case 0:
        if (this.#gc.running) {
          this.#gc.waitForCycle(this);
          this.after = AFTER_PARK;
          return 0;
        }
        this.#stage = 1;
        this.#gc.want("explicit");
        this.#gc.waitForCycle(this);
        this.after = AFTER_PARK;
        return 0;
      case 1: {
        if (this.#cycle === 0) this.#cycle = this.#gc.numGC;
        let swept = 0;
        while (swept < 100 && this.#heap.sweepone(p) >= 0) swept++;
        if (swept < 100) {
          // Unless another cycle's mark has ended meanwhile.
          if (this.#gc.numGC === this.#cycle) this.#heap.memProfile?.postSweep();
          this.after = AFTER_EXIT;
        } else {
          this.after = AFTER_RUN;
        }
        return this.#gc.takeSweepNs();
      }
      default:
        throw new Error("unreachable stage of runtime.GC");
    }
  }
}

/** debug.FreeOSMemory: a collection with its sweep, then everything free goes back to the OS. */
export class FreeOSMemory extends ExplicitGc {
  readonly #scavenger: Scavenger;

  constructor(gc: Gc, heap: Heap, scavenger: Scavenger) {
    super(gc, heap);
    this.#scavenger = scavenger;
  }

  override get label(): string {
    return "debug.FreeOSMemory";
  }

  override step(p: number, nowNs: number): number {
    const ns = super.step(p, nowNs);
    return this.after === AFTER_EXIT ? ns + this.#scavenger.scavengeAll() : ns;
  }
}
