/**
 * The scheduler: Ps, runnable goroutines, timers and stopping the world.
 *
 * Models proc.go of Go 1.26 as far as memory behaviour depends on it: which P runs what and when decides which mcache
 * is used, whether an idle P marks, how a mark worker's share is spent and how long a goroutine waits. The order in
 * which a P looks for work is findRunnable's: mark worker due (dedicated, fractional), then runnable goroutines, then
 * idle marking.
 *
 * A goroutine runs in *slices*: `G.step` does everything the slice does to memory at the slice's start and returns the
 * CPU time it takes. Slices are short (about 20 µs while allocating), so effects of different Ps interleave at that grain.
 *
 * Each P has its timers and a queue of the goroutines that they, and `go` statements, made runnable, the last of them first
 * (runnext); everything else that becomes runnable goes to one global FIFO, as does what does not fit. A P out of work steals
 * timers and goroutines of others. A wake-up brings one thread at a
 * time to an idle P, where it arrives after a delay, looks for work itself, and wakes the next if it finds any; an idle process waits for its
 * timers in epoll, to whole milliseconds.
 *
 * GOMAXPROCS may change (`procresize`); who asks for it is debug.ts's.
 *
 * Simplified: goroutines readied by others, as by the poller, go to the global queue; the next goroutine does not inherit a time slice; Ms exist only as wake-ups on their way;
 * when GOMAXPROCS exceeds the CPUs, slices stretch by running Ps / CPUs at their start.
 *
 * In a container the kernel holds threads up. A thread that sleeps in a page fault (memory.high) keeps its P, and a stop of the
 * world waits for it; between two such faults it can be stopped or preempted. Threads that run no goroutine (mark workers, new ones)
 * do not sleep here for what they charge. A stop also waits for a P whose CPU is out of quota: all it does is put off until the next period, and so
 * is a thread that would only begin there. P p runs on CPU p
 * modulo the CPUs. What threads do without a P (waking each other, epoll) is not held up; it uses quota as far as it is known
 * (`usedWithoutP`), sysmon's part does not.
 * Where it stops being true: workloads dominated by scheduling itself (lock convoys, channel ping-pong, syscalls).
 */
import type { CfsBandwidth } from "../os/cfs.ts";
import type { HighSleep, ThreadDelays } from "../os/os.ts";
import { EventQueue } from "../sim/eventqueue.ts";
import { TimeHistogram } from "./histogram.ts";
import { GcCPULimiter, limiterEventIdle } from "./mgclimit.ts";
import type { Occupation, Trace } from "./trace.ts";

/** What a goroutine does once the CPU time of its last step is spent. */
export const AFTER_RUN = 0;
export const AFTER_PARK = 1;
export const AFTER_EXIT = 2;
export const AFTER_YIELD = 3;

/** States of a P. */
export const P_IDLE = 0;
const P_RUNNING = 1;
export const P_ASSIST = 2;
export const P_DEDICATED = 3;
export const P_FRACTIONAL = 4;
export const P_IDLE_WORKER = 5;
const P_STOPPED = 6;
/** A thread has been woken for it and will look for work when it arrives (a spinning M). */
const P_WAKING = 7;
/** Its mark worker has found no more work and ends the mark (gcMarkDone). */
const P_MARK_DONE = 8;
/** Its thread sleeps in the kernel, within a page fault. */
const P_STALLED = 9;
/** Its thread has nothing to do but cannot look for more before its CPU has quota again. */
const P_THROTTLED = 10;

/** Does a P in this state keep its CPU busy? */
const usesCpu = (state: number): boolean =>
  state !== P_IDLE && state !== P_WAKING && state !== P_STALLED && state !== P_THROTTLED;

const OCCUPATIONS: Readonly<Record<number, Occupation>> = {
  [P_DEDICATED]: "dedicated",
  [P_FRACTIONAL]: "fractional",
  [P_IDLE_WORKER]: "idle worker",
};

/** forcePreemptNS; and how often sysmon looks, as it does once it has had nothing to do for a while. */
const FORCE_PREEMPT_NS = 10e6;

/**
 * When sysmon asks to yield what runs on a P since `startNs` (retake): it is seen for the first time when sysmon next looks, and has run too
 * long 10 ms after that. Simplified: sysmon looks at whole multiples of 10 ms, with which a workload of that period keeps step.
 */
export const forcePreemptAt = (startNs: number): number =>
  (Math.floor(startNs / FORCE_PREEMPT_NS) + 2) * FORCE_PREEMPT_NS;

const EV_SLICE = 0;
const EV_WAKE = 1;
const EV_WORKER = 2;
const EV_CALL = 3;
const EV_START_THE_WORLD = 4;
const EV_FIND_WORK = 5;
const EV_POLLED = 6;
const EV_IO = 7;
const EV_CALL_ONCE = 8;
const EV_UNTHROTTLE = 9;

/** Length of a P's queue, and how often a P looks at the global one first (findRunnable). */
const RUNQ_LENGTH = 256;
const GLOBAL_EVERY = 61;

/** An idle thread waits for timers in epoll, whose time-outs are whole milliseconds. */
const EPOLL_GRAIN_NS = 1e6;

/** Priorities among events of one instant: the world's state first, then Ps, then timers. */
export const PRIORITY_WORLD = 0;
const PRIORITY_P = 1;
export const PRIORITY_TIMER = 2;

/** Why a cycle starts. */
export type GcReason = "heap" | "periodic" | "explicit";

/** A goroutine as the scheduler sees it; the workload's tasks and the runtime's own goroutines extend it. */
export abstract class G {
  /** Index in the scheduler's table; -1 before the first `ready`. */
  id = -1;
  /** Allocation credit during marking, in bytes; negative is debt to be paid by assisting (g.gcAssistBytes). */
  gcAssistBytes = 0;
  /** A large object (kind and death) it will allocate once it has assisted for it; -1 for none. */
  owedKind = -1;
  owedDeath = 0;
  /** CPU nanoseconds of the last step not yet spent. */
  pendingNs = 0;
  after = AFTER_RUN;
  /** Virtual time at which it last got a P. */
  runStartNs = 0;
  /** With AFTER_PARK: when its timer makes it runnable again; Infinity if somebody else will. */
  wakeAtNs = Infinity;
  /** With AFTER_PARK: sleeps this long from the moment it parks; -1 for none. */
  sleepNs = -1;
  /** The sleep ends by I/O, which wakes a thread at its own moment, rather than by a timer. */
  ioWait = false;
  /** It is in gcStart and sweeps what the last of so many cycles left, before it can start the next, for this reason. */
  gcStart: { readonly reason: GcReason; readonly numGC: number } | null = null;
  /** Sleeps in the kernel that its thread has before it, in page faults of its last step; null for none. */
  highSleeps: HighSleep[] | null = null;
  /** Set by a step that stops the world for so long right after it; -1 for none. `worldStopped` is then called at the end. */
  stopNs = -1;
  /** The P whose timer heap holds its sleep: the one it parked on. */
  timerP = 0;
  /** Neither running nor runnable. */
  parked = true;
  /** Made runnable before it got to park. */
  #woken = false;

  /** What it is called in a trace. */
  get label(): string {
    return "goroutine";
  }

  /** @internal Scheduler only: records a wake-up of a goroutine that has not parked yet. */
  markWoken(): void {
    this.#woken = true;
  }

  /** @internal Scheduler only. */
  takeWoken(): boolean {
    const woken = this.#woken;
    this.#woken = false;
    return woken;
  }

  /** The stop of the world its step asked for is over but for the restart. */
  worldStopped(_nowNs: number): void {
    throw new Error("a goroutine that stops the world must say what for");
  }

  /**
   * Does the next piece of work on P `p`, all of whose memory effects happen now, sets `after`,
   * and returns the CPU nanoseconds it takes (>= 0).
   */
  abstract step(p: number, nowNs: number): number;
}

/** What the scheduler asks of the collector. */
export interface MarkScheduling {
  /** Is the concurrent mark phase on (gcBlackenEnabled)? */
  readonly marking: boolean;
  /** Which worker P `p` must run before any goroutine: P_DEDICATED, P_FRACTIONAL, or P_IDLE for none. */
  workerDue(p: number, nowNs: number): number;
  /** May this otherwise idle P mark (addIdleMarkWorker)? */
  addIdleWorker(): boolean;
  workerStarted(p: number, mode: number, nowNs: number): void;
  workerStopped(p: number, mode: number, nowNs: number): void;
  /** The worker or assist on `p` stands still from now on (its CPU is out of quota), or goes on. */
  workerHeld(p: number, held: boolean, nowNs: number): void;
  /** When a fractional worker started now on `p` will find it has used its share; Infinity for the others. */
  workerExitNs(p: number, mode: number, nowNs: number): number;
  /** All is scanned, and workers only look for more: none leaves before the mark ends. */
  readonly onlyLooking: boolean;
  /** Time between two looks of an idle worker at whether other work waits (drainCheckThreshold). */
  readonly idleCheckNs: number;
  /**
   * A goroutine in debt: starts paying. Returns the nanoseconds of assist to run now; 0: debt settled; below: it parks, and will be made
   * runnable when the cycle has ended.
   */
  assist(g: G, p: number, nowNs: number): number;
  /** An ending goroutine's credit goes to all others (gdestroy). Simplified: its debt ends with it, where Go's next user of the g inherits it. */
  flushAssistCredit(g: G): void;
  /** Its assist time is over. */
  assistDone(g: G, p: number, nowNs: number): void;
  /**
   * A goroutine's step found the heap at its trigger. Returns true if the collector stopped the world. While it sets `gcStart`
   * instead, it is to be asked again once the goroutine's pending CPU time is spent.
   */
  triggered(g: G, p: number, nowNs: number): boolean;
}

export interface SchedulerOptions {
  readonly nprocs: number;
  readonly cpus: number;
  /** Draws the time from the wake-up of a parked M until it looks for work on its P. */
  readonly wakeNs: () => number;
  /** Draws by how much an idle thread's time-out in epoll is late. */
  readonly timerSlackNs: () => number;
  /** CPU of one goroutine switch. */
  readonly switchNs: number;
  /** CPU of a thread that wakes another while it looks for work itself; a goroutine that readies others is not charged. */
  readonly wakerNs: number;
  /** What the first goroutine on a CPU that was asleep takes longer. */
  readonly coldNs: number;
  /** When the process starts; 0 unless given. */
  readonly startNs?: number;
  /** Ps whose threads the process starts with; all of them unless given. */
  readonly threads?: number;
  /** More Ps are at work than ever before, and than the process started with: a thread is made, on P `p`. */
  readonly newThread?: (p: number) => void;
  /** The container's hold on threads, and its CPU quota, where there is one. */
  readonly delays?: ThreadDelays | null;
  readonly bandwidth?: CfsBandwidth | null;
}

export class Scheduler {
  nowNs = 0;
  readonly queue = new EventQueue();
  /** It must know what every P does: idle here, marking and assisting by the collector's word. */
  readonly limiter: GcCPULimiter;
  /** GOMAXPROCS; `procresize` changes it. */
  nprocs: number;
  readonly cpus: number;
  pState: Uint8Array;
  /** CPU nanoseconds spent running goroutines, over all Ps. */
  mutatorNs = 0;
  /** When the world, now stopped, starts again; -1 while it runs. */
  stoppedUntilNs = -1;
  /** Set by a step that wants a collection; consumed as soon as that step returns. */
  gcWanted = false;
  /** Stops of the world, from the first P asked to stop until all run again: the collector's (it records them), and all others. */
  readonly stwTotalTimeGC = new TimeHistogram();
  readonly stwTotalTimeOther = new TimeHistogram();
  /** Told what each P does, if anybody watches. */
  trace: Trace | undefined;
  /** The process is no more: `run` does nothing. */
  halted = false;
  /** What throttling has added to the stop of the world under way, or to the last one. */
  stopThrottledNs = 0;

  readonly #pG: (G | null)[];
  /** When a P's slice ends or its thread arrives; for a mark worker, when it began. */
  #pEndNs: Float64Array;
  /** By how much a P's slice is stretched: running Ps per CPU at its start, at least 1. */
  #pSlow: Float64Array;
  /** The event that ends what a P does; -1 for none. */
  #pEvent: Int32Array;
  readonly #idle: number[] = [];
  #idleBeforeStop: Uint8Array;
  /** Ran something when the world was stopped, and has not been scheduled since. */
  #ranBeforeStop: Uint8Array;
  /** Runnable goroutines that any P may take: `#runqHead` is the oldest, what lies before it is gone. */
  readonly #runq: (G | null)[] = [];
  #runqHead = 0;
  /** Per P: the goroutine made runnable last by what runs there, its queue of others, and those whose timers are due and have not been run. */
  readonly #runnext: (G | null)[];
  readonly #local: G[][];
  readonly #due: G[][];
  /** Per P: CPU time its thread has spent, or will lose, on the way to the next goroutine. */
  #overheadNs: Float64Array;
  /** Per P: its idle worker will leave at its next look. */
  #called: Uint8Array;
  /** Per P: goroutines it has run. */
  #schedtick: Int32Array;
  /** Ps whose woken threads are on their way. */
  #waking = 0;
  readonly #gs: (G | null)[] = [];
  readonly #freeIds: number[] = [];
  readonly #calls: ((nowNs: number) => void)[] = [];
  /** Places in `#calls` whose one call has been made. */
  readonly #freeCalls: number[] = [];
  #gc: MarkScheduling | null = null;
  #stwOwner = -1;
  #afterStart: ((nowNs: number) => void) | null = null;
  #running = 0;
  /** By how much the next time-out of a sleeping thread is late. */
  readonly timerSlackNs: () => number;
  readonly #wakeNs: () => number;
  /** When a P last went idle: its thread then began to wait for the next timer. */
  #idleSinceNs = 0;
  readonly #switchNs: number;
  readonly #wakerNs: number;
  readonly #coldNs: number;
  readonly #delays: ThreadDelays | null;
  readonly #bandwidth: CfsBandwidth | null;
  #startTheWorldEvent = -1;
  /** Threads that run Ps, and who is told of one more. */
  #threads: number;
  readonly #newThread: (p: number) => void;
  /** Since when there are `nprocs` Ps; the time of all Ps until then (sched.totaltime). */
  #resizedNs: number;
  #totalNs = 0;
  /** Per CPU: how much of it the Ps on it use; and whether that may be another by now. */
  readonly #busy: Float64Array;
  #busyChanged = true;
  /** Per P: its worker or assist is held up. */
  #held: Uint8Array;

  constructor(options: SchedulerOptions) {
    const { nprocs, startNs = 0 } = options;
    this.nowNs = startNs;
    this.#idleSinceNs = startNs;
    this.#delays = options.delays ?? null;
    this.#bandwidth = options.bandwidth ?? null;
    this.#busy = new Float64Array(this.#bandwidth?.untilNs.length ?? 0);
    this.#held = new Uint8Array(nprocs);
    this.nprocs = nprocs;
    this.#threads = options.threads ?? nprocs;
    this.#newThread = options.newThread ?? (() => {});
    this.#resizedNs = startNs;
    this.cpus = options.cpus;
    this.#wakeNs = options.wakeNs;
    this.timerSlackNs = options.timerSlackNs;
    this.#switchNs = options.switchNs;
    this.#wakerNs = options.wakerNs;
    this.#coldNs = options.coldNs;
    this.pState = new Uint8Array(nprocs).fill(P_IDLE);
    this.#pG = new Array<G | null>(nprocs).fill(null);
    this.#pEndNs = new Float64Array(nprocs);
    this.#pSlow = new Float64Array(nprocs).fill(1);
    this.#idleBeforeStop = new Uint8Array(nprocs);
    this.#ranBeforeStop = new Uint8Array(nprocs);
    this.#overheadNs = new Float64Array(nprocs);
    this.#called = new Uint8Array(nprocs);
    this.#runnext = new Array(nprocs).fill(null);
    this.#local = Array.from({ length: nprocs }, () => []);
    this.#schedtick = new Int32Array(nprocs);
    this.#due = Array.from({ length: nprocs }, () => []);
    this.#pEvent = new Int32Array(nprocs).fill(-1);
    this.limiter = new GcCPULimiter(startNs, nprocs);
    for (let p = nprocs - 1; p >= 0; p--) this.#pidleput(p);
  }

  attach(gc: MarkScheduling): void {
    this.#gc = gc;
  }

  /** Calls `fn` once, at `atNs` (not before now). */
  call(atNs: number, priority: number, fn: (nowNs: number) => void): void {
    const callback = this.#freeCalls.pop() ?? this.#calls.length;
    this.#calls[callback] = fn;
    this.queue.push(Math.max(atNs, this.nowNs), priority, EV_CALL_ONCE, callback);
  }

  /** Registers a callback once, to be fired many times with `fire`. */
  register(fn: (nowNs: number) => void): number {
    this.#calls.push(fn);
    return this.#calls.length - 1;
  }

  /** Fires a registered callback at `atNs`; returns a handle for `queue.cancel`. */
  fire(atNs: number, priority: number, callback: number): number {
    return this.queue.push(Math.max(atNs, this.nowNs), priority, EV_CALL, callback);
  }

  /** Gives `g` an identity, so that it can sleep and be made runnable. */
  adopt(g: G): void {
    if (g.id >= 0) return;
    const id = this.#freeIds.pop() ?? this.#gs.length;
    g.id = id;
    this.#gs[id] = g;
  }

  /** Makes `g` runnable now; if it is about to park, it will not. */
  ready(g: G): void {
    this.adopt(g);
    if (!g.parked) {
      g.markWoken();
      return;
    }
    g.parked = false;
    this.#runq.push(g);
    this.#wakep();
  }

  /** newproc and goready: as `ready`, by what runs on P `p`, whose next goroutine it is. */
  readyNext(g: G, p: number): void {
    this.adopt(g);
    if (!g.parked) {
      g.markWoken();
      return;
    }
    g.parked = false;
    this.#runqput(p, g);
    this.#wakep();
  }

  /** What was charged since the last step was charged for `g`, by whoever made it: its thread sleeps for that first. Says whether it must. */
  owes(g: G): boolean {
    if (this.#delays === null) return false;
    g.highSleeps = this.#delays.takeSleeps();
    return g.highSleeps !== null;
  }

  /** From when on there is a P that could run a goroutine: now, unless the threads of all sleep for memory.high. */
  get stalledUntilNs(): number {
    if (this.#delays === null) return this.nowNs;
    let until = Infinity;
    for (let p = 0; p < this.nprocs; p++) {
      if (this.pState[p] !== P_STALLED) return this.nowNs;
      until = Math.min(until, this.#pEndNs[p]);
    }
    return until;
  }

  /** Makes `g` runnable when its timer of `atNs` is run: time.Sleep. */
  readyAt(g: G, atNs: number): void {
    this.adopt(g);
    this.queue.push(Math.max(atNs, this.nowNs), PRIORITY_TIMER, EV_WAKE, g.id);
  }

  /**
   * A timer is due. A busy P runs its timers when it next looks for work, and a P out of work those of others. If a P is
   * idle, its thread sleeps in epoll for the wait rounded up to whole milliseconds (netpoll_epoll.go), counted from when
   * it last went idle, and then takes a moment to run. Nobody looks at timers while every P marks or computes.
   */
  #timer(id: number): void {
    const g = this.#gs[id]!;
    this.#due[g.timerP].push(g);
    if (this.#idle.length === 0 || this.stoppedUntilNs >= 0) return;
    const waited = this.nowNs - this.#idleSinceNs;
    const late = Math.ceil(waited / EPOLL_GRAIN_NS) * EPOLL_GRAIN_NS - waited;
    this.queue.push(this.nowNs + late + this.timerSlackNs(), PRIORITY_TIMER, EV_POLLED, id);
  }

  /** The thread in epoll has timed out: it takes the P that went idle last and looks for work. */
  #polled(id: number): void {
    const g = this.#gs[id];
    if (g === null || this.stoppedUntilNs >= 0 || !this.#due[g.timerP].includes(g)) return;
    // A thread on its way will look at the timers itself, having been woken by the one that ran the first of several.
    if (this.#waking > 0) return;
    const p = this.#pidleget();
    if (p === undefined) return;
    if (this.heldUntilNs(p) >= 0) {
      this.#wake(p);
      return;
    }
    this.#overheadNs[p] = this.#coldNs;
    this.#schedule(p, true);
  }

  /** checkTimers: the due timers of P `q` make their goroutines runnable on P `p`. */
  #runTimers(q: number, p: number): void {
    const due = this.#due[q];
    if (due.length === 0) return;
    for (const g of due) {
      g.parked = false;
      this.#runqput(p, g);
    }
    due.length = 0;
    // Every goroutine made runnable wakes another thread, needed or not; meanwhile nobody else may steal.
    if (this.#wakep()) this.#overheadNs[p] += this.#wakerNs;
  }

  /** Runs events up to and including `untilNs`. */
  run(untilNs: number): void {
    if (this.halted) return;
    const queue = this.queue;
    const bandwidth = this.#bandwidth;
    const delays = this.#delays;
    for (;;) {
      const nextNs = queue.peekTime();
      if (nextNs > untilNs) break;
      if (bandwidth !== null && this.#quotaDue(bandwidth, nextNs) && this.#throttle(bandwidth, nextNs))
        continue;
      queue.pop();
      if (delays !== null && delays.stalledUntilNs > this.nowNs)
        delays.elapse(this.nowNs, queue.timeNs, this.#running);
      this.nowNs = queue.timeNs;
      const arg = queue.arg;
      switch (queue.kind) {
        case EV_SLICE:
          this.#sliceEnded(arg);
          break;
        case EV_WAKE:
          this.#timer(arg);
          break;
        case EV_POLLED:
          this.#polled(arg);
          break;
        case EV_IO:
          this.ready(this.#gs[arg]!);
          break;
        case EV_FIND_WORK:
          if (this.#waitsForQuota(arg)) break;
          this.#pEvent[arg] = -1;
          this.#waking--;
          // After a stop of the world only those CPUs are cold that were idle before.
          this.#overheadNs[arg] = this.#ranBeforeStop[arg] === 1 ? 0 : this.#coldNs;
          this.#ranBeforeStop[arg] = 0;
          this.#schedule(arg, true);
          break;
        case EV_WORKER:
          this.#pEvent[arg] = -1;
          if (!this.#gc!.onlyLooking) this.#workerYields(arg);
          break;
        case EV_CALL:
          this.#calls[arg](this.nowNs);
          break;
        case EV_CALL_ONCE:
          this.#freeCalls.push(arg);
          this.#calls[arg](this.nowNs);
          break;
        case EV_START_THE_WORLD:
          this.#startTheWorld();
          break;
        case EV_UNTHROTTLE:
          // Its P may be gone by now.
          if (arg < this.nprocs) this.#unthrottle(arg);
          break;
      }
      if (delays?.killed === true) {
        this.halted = true;
        bandwidth?.settle(this.nowNs);
        return;
      }
    }
    if (bandwidth !== null) this.#settle(bandwidth, untilNs);
    if (untilNs <= this.nowNs) return;
    delays?.elapse(this.nowNs, untilNs, this.#running);
    this.nowNs = untilNs;
  }

  /** `mutatorNs` without what the slices under way have still to run: it never goes back. */
  get mutatorSpentNs(): number {
    let ns = this.mutatorNs;
    for (let p = 0; p < this.nprocs; p++) {
      if (this.pState[p] !== P_RUNNING || this.#pEvent[p] < 0) continue;
      const left = this.#pEndNs[p] - Math.max(this.nowNs, this.heldUntilNs(p));
      if (left > 0) ns -= left / this.#pSlow[p];
    }
    return ns;
  }

  /** Goroutines that could run and wait for a P. Those of timers nobody has run yet are not among them. */
  get runnable(): number {
    let n = this.#runq.length - this.#runqHead;
    for (let p = 0; p < this.nprocs; p++) n += this.#local[p].length + (this.#runnext[p] === null ? 0 : 1);
    return n;
  }

  /** Ps that run goroutines: assists and mark workers are some. */
  get runningPs(): number {
    let n = 0;
    for (const state of this.pState) if (state !== P_IDLE && state !== P_WAKING && state !== P_STOPPED) n++;
    return n;
  }

  /** Threads have spent CPU time to bring P `p` what it is about to do: waking each other, epoll. */
  usedWithoutP(p: number, ns: number): void {
    this.mutatorNs += ns;
    if (this.#bandwidth !== null) this.#bandwidth.charge(p % this.#busy.length, ns, this.nowNs);
  }

  /** Nothing else happens until `untilNs`: the quota's accounts are as of then. */
  #settle(bandwidth: CfsBandwidth, untilNs: number): void {
    while (untilNs > this.nowNs && this.#quotaDue(bandwidth, untilNs) && this.#throttle(bandwidth, untilNs));
    bandwidth.settle(untilNs);
  }

  /** Before `nextNs` something is due in the accounts of the quota, or what they go by has changed. */
  #quotaDue(bandwidth: CfsBandwidth, nextNs: number): boolean {
    if (bandwidth.nextNs < nextNs || bandwidth.nextNs <= this.nowNs) return true;
    return this.#busyChanged && (nextNs > this.nowNs || !bandwidth.endless);
  }

  /** Says whether a CPU runs out of quota before the next event; its Ps are then put off. */
  #throttle(bandwidth: CfsBandwidth, nextNs: number): boolean {
    if (this.#busyChanged) {
      this.#busyChanged = false;
      this.#cpusBusy();
      bandwidth.setBusy(this.#busy, this.nowNs);
      if (bandwidth.nextNs > this.nowNs && bandwidth.nextNs >= nextNs) return false;
    }
    const at = bandwidth.advance(nextNs);
    if (at < 0) return false;
    const cpu = bandwidth.throttledCpu;
    const ns = bandwidth.untilNs[cpu] - at;
    if (this.stoppedUntilNs >= 0) {
      this.stoppedUntilNs += ns;
      this.stopThrottledNs += ns;
      this.#startTheWorldEvent = this.queue.postpone(this.#startTheWorldEvent, ns);
      return true;
    }
    this.trace?.throttled(cpu, at, ns);
    for (let p = cpu; p < this.nprocs; p += this.#busy.length) this.#hold(p, at, ns);
    return true;
  }

  /** How much of each CPU the Ps use now. */
  #cpusBusy(): void {
    const { pState, nprocs } = this;
    const busy = this.#busy;
    for (let c = 0; c < busy.length; c++) busy[c] = 0;
    if (this.stoppedUntilNs >= 0) {
      busy[Math.max(0, this.#stwOwner) % busy.length] = 1;
      return;
    }
    const share = this.#running > this.cpus ? this.cpus / this.#running : 1;
    for (let p = 0, cpu = 0; p < nprocs; p++) {
      if (usesCpu(pState[p])) busy[cpu] = Math.min(1, busy[cpu] + share);
      // P p runs on CPU p modulo the CPUs.
      if (++cpu === busy.length) cpu = 0;
    }
  }

  /** P `p` does something else from now on. */
  #become(p: number, state: number): void {
    if (usesCpu(this.pState[p]) !== usesCpu(state)) this.#busyChanged = true;
    this.pState[p] = state;
  }

  /** P `p` stands still for `ns` from `atNs` on. */
  #hold(p: number, atNs: number, ns: number): void {
    const state = this.pState[p];
    if (!usesCpu(state)) return;
    const worker = state >= P_DEDICATED && state <= P_IDLE_WORKER;
    if (this.#pEvent[p] >= 0) {
      this.#pEvent[p] = this.queue.postpone(this.#pEvent[p], ns);
      // Of a worker it says when it began.
      if (!worker) this.#pEndNs[p] += ns;
      this.trace?.held(p, ns);
    }
    if (worker || state === P_ASSIST) {
      this.#held[p] = 1;
      this.#gc!.workerHeld(p, true, atNs);
    }
    this.queue.push(atNs + ns, PRIORITY_WORLD, EV_UNTHROTTLE, p);
  }

  #unthrottle(p: number): void {
    if (this.#held[p] === 1) {
      this.#held[p] = 0;
      this.#gc!.workerHeld(p, false, this.nowNs);
      if (this.pState[p] === P_ASSIST && this.limiter.limiting) this.#endAssist(p);
    } else if (this.pState[p] === P_THROTTLED) {
      this.#become(p, P_RUNNING);
      this.#schedule(p);
    }
  }

  /** Until when P `p` stands still for lack of quota; -1 if it does not. */
  heldUntilNs(p: number): number {
    if (this.#bandwidth === null || this.#bandwidth.throttledUntilNs <= this.nowNs || p < 0) return -1;
    const untilNs = this.#bandwidth.untilNs[p % this.#busy.length];
    return untilNs > this.nowNs ? untilNs : -1;
  }

  /**
   * enqueue_task_fair: what becomes runnable on a CPU that is throttled waits there with the others. Says whether P `p`'s thread, which would go on
   * now, has to; its event is then put off.
   */
  #waitsForQuota(p: number): boolean {
    const untilNs = this.heldUntilNs(p);
    if (untilNs < 0) return false;
    const kind = this.pState[p] === P_STALLED ? EV_SLICE : EV_FIND_WORK;
    this.#pEndNs[p] = untilNs;
    this.#pEvent[p] = this.queue.push(untilNs, PRIORITY_P, kind, p);
    return true;
  }

  /** Time of all Ps since the start, by which shares of CPU time are measured (MemStats.GCCPUFraction): GOMAXPROCS times time. */
  totalTimeNs(nowNs: number): number {
    return this.#totalNs + (nowNs - this.#resizedNs) * this.nprocs;
  }

  /**
   * procresize, with the world stopped and no collection under way: from now on there are `nprocs` Ps. What is runnable on those that go is the
   * first to run elsewhere, and their timers go to the P of whoever stopped the world; that is P 0 if its own goes, too. New Ps
   * are idle, without a thread. Returns the P of whoever stopped the world.
   */
  procresize(nprocs: number): number {
    const now = this.nowNs;
    const old = this.nprocs;
    if (this.stoppedUntilNs < 0 || this.#stwOwner < 0)
      throw new Error("GOMAXPROCS changes while the world is not stopped by a goroutine");
    this.#totalNs = this.totalTimeNs(now);
    this.#resizedNs = now;
    let owner = this.#stwOwner;
    if (owner >= nprocs) {
      this.#pG[0] = this.#pG[owner];
      this.#pG[owner] = null;
      this.#stwOwner = owner = 0;
      this.#busyChanged = true;
    }
    for (let p = nprocs; p < old; p++) {
      // destroy moves the queue of each P to the head of the global one.
      const next = this.#runnext[p];
      this.#runq.splice(this.#runqHead, 0, ...(next === null ? [] : [next]), ...this.#local[p]);
      this.#due[owner].push(...this.#due[p]);
    }
    for (const g of this.#gs) if (g !== null && g.timerP >= nprocs) g.timerP = owner;
    this.nprocs = nprocs;
    this.#pG.length = this.#runnext.length = this.#local.length = this.#due.length = Math.min(old, nprocs);
    for (let p = old; p < nprocs; p++) {
      this.#pG.push(null);
      this.#runnext.push(null);
      this.#local.push([]);
      this.#due.push([]);
    }
    this.pState = resized(this.pState, nprocs, P_IDLE);
    this.#pEndNs = resized(this.#pEndNs, nprocs, 0);
    this.#pSlow = resized(this.#pSlow, nprocs, 1);
    this.#pEvent = resized(this.#pEvent, nprocs, -1);
    this.#idleBeforeStop = resized(this.#idleBeforeStop, nprocs, 1);
    this.#ranBeforeStop = resized(this.#ranBeforeStop, nprocs, 0);
    this.#overheadNs = resized(this.#overheadNs, nprocs, 0);
    this.#called = resized(this.#called, nprocs, 0);
    this.#schedtick = resized(this.#schedtick, nprocs, 0);
    this.#held = resized(this.#held, nprocs, 0);
    this.limiter.resetCapacity(now, nprocs);
    for (let p = nprocs - 1; p >= old; p--) this.#pidleput(p);
    this.trace?.procresize(nprocs);
    return owner;
  }

  /**
   * tg_set_cfs_bandwidth: the quota per period is another from now on, and whoever stands still for lack of it goes on. Simplified: what the old
   * quota has put off of a stop of the world, of the end of a mark, and of a thread's wake-up is not brought forward.
   */
  setQuota(quotaNs: number): void {
    const bandwidth = this.#bandwidth;
    if (bandwidth === null) throw new Error("there is no quota to change");
    const waits = bandwidth.setQuota(quotaNs, this.nowNs);
    for (let p = 0; p < this.nprocs; p++) {
      const ns = waits[p % waits.length];
      if (ns > 0) this.#letGo(p, ns);
    }
  }

  /** P `p`, held up, goes on `ns` before its time. */
  #letGo(p: number, ns: number): void {
    const state = this.pState[p];
    if (state === P_IDLE || state === P_WAKING || state === P_STALLED || state === P_STOPPED) return;
    const worker = state >= P_DEDICATED && state <= P_IDLE_WORKER;
    // A slice that stands still ends no earlier than its CPU would have gone on, but for rounding; one begun since then does not.
    const held = worker ? this.#held[p] === 1 : this.#pEndNs[p] > this.nowNs + ns - 1;
    if (held && this.#pEvent[p] >= 0) {
      this.#pEvent[p] = this.queue.postpone(this.#pEvent[p], -ns);
      if (!worker) this.#pEndNs[p] -= ns;
      this.trace?.held(p, -ns);
    }
    this.#unthrottle(p);
  }

  /**
   * Stops every P for `durationNs`, then calls `then` and restarts the world.
   * `ownerP` is the P whose goroutine stops the world: it goes on without rescheduling (-1: none).
   */
  stopTheWorld(durationNs: number, ownerP: number, then: (nowNs: number) => void): void {
    const now = this.nowNs;
    this.stoppedUntilNs = now + durationNs;
    this.#busyChanged = true;
    this.stopThrottledNs = 0;
    this.#stwOwner = ownerP;
    this.#afterStart = then;
    this.trace?.worldStops(ownerP < 0 ? null : this.#pG[ownerP]);
    for (let p = 0; p < this.nprocs; p++) {
      const state = this.pState[p];
      // Stopped already: the owner of the last stop starts the next before the others have gone on.
      if (state === P_STOPPED) continue;
      if (state === P_RUNNING) {
        const g = this.#pG[p]!;
        // The owner's slice has not begun; that of the others ends later on the clock the more Ps share a CPU.
        const from = Math.max(now, this.heldUntilNs(p));
        const left = this.#pEvent[p] >= 0 ? (this.#pEndNs[p] - from) / this.#pSlow[p] : 0;
        if (left > 0) {
          g.pendingNs += left;
          this.mutatorNs -= left;
        }
        if (this.#pEvent[p] >= 0) this.trace?.sliceEnds(p, g, false);
        this.#cancelP(p);
        if (p !== ownerP) {
          this.#pG[p] = null;
          this.#runq.push(g);
        }
      } else if (state === P_ASSIST || (state >= P_DEDICATED && state <= P_IDLE_WORKER)) {
        this.#stopWorker(p);
        if (state === P_ASSIST) {
          const g = this.#pG[p]!;
          this.#pG[p] = null;
          this.#runq.push(g);
        }
      }
      if (state === P_WAKING) this.#cancelP(p);
      if (state === P_STALLED) {
        // The stop lasts until its sleep is over (arrivalNs). In the page faults after that it sleeps when it goes on.
        this.#cancelP(p);
        const g = this.#pG[p]!;
        this.#pG[p] = null;
        this.#runq.push(g);
      }
      this.#idleBeforeStop[p] = state === P_IDLE || state === P_WAKING ? 1 : 0;
      this.#ranBeforeStop[p] = 1 - this.#idleBeforeStop[p];
      this.#become(p, P_STOPPED);
      this.trace?.onP(p, "stopped");
    }
    while (this.#pidleget() !== undefined);
    this.#waking = 0;
    this.#running = 0;
    this.#startTheWorldEvent = this.queue.push(this.stoppedUntilNs, PRIORITY_WORLD, EV_START_THE_WORLD, 0);
  }

  /** gcResetMarkState: every goroutine enters a cycle without credit or debt. */
  resetAssistBytes(): void {
    for (const g of this.#gs) if (g !== null) g.gcAssistBytes = 0;
  }

  /**
   * How long until the last of the threads on their way to a P arrives. Such a P is no idle one any more (m.nextp): whoever stops
   * the world has to wait until the thread has taken it, and given it up. So it has to for a thread that the kernel holds up.
   */
  arrivalNs(): number {
    let ns = 0;
    for (let p = 0; p < this.nprocs; p++) {
      const state = this.pState[p];
      if (state === P_WAKING || state === P_STALLED) ns = Math.max(ns, this.#pEndNs[p] - this.nowNs);
      else if (state !== P_IDLE) ns = Math.max(ns, this.heldUntilNs(p) - this.nowNs);
    }
    return ns;
  }

  /** Does a thread of the process run on another CPU than that of the step under way? */
  get otherCpuRuns(): boolean {
    return Math.min(this.#running, this.cpus) > 1;
  }

  /** For how long Ps other than `p` run on in the steps under way, each up to `mostNs`: the sum. */
  runningNs(p: number, mostNs: number): number {
    let ns = 0;
    for (let q = 0; q < this.nprocs; q++)
      if (q !== p && this.pState[q] === P_RUNNING && this.#pEvent[q] >= 0)
        ns += Math.max(0, Math.min(mostNs, this.#pEndNs[q] - this.nowNs));
    return ns;
  }

  /** Does a P other than `p` run a goroutine, so that stopping it takes a signal to its thread? */
  othersRun(p: number): boolean {
    for (let q = 0; q < this.nprocs; q++) {
      const state = this.pState[q];
      if (q !== p && (state === P_RUNNING || state === P_ASSIST || state === P_STALLED)) return true;
    }
    return false;
  }

  /**
   * The mark has no work left. Workers leave their Ps, which look for other work, but for one, which goes on to end the mark:
   * a worker if there is one, else an assist. Returns its P, or -1 if nobody was at work any more.
   */
  endWorkers(): number {
    let last = -1;
    for (let p = 0; p < this.nprocs; p++) {
      if (this.pState[p] < P_DEDICATED || this.pState[p] > P_IDLE_WORKER) continue;
      if (this.#held[p] === 1) {
        // It learns that it is done when it runs again.
        this.#stopWorker(p);
        this.#running--;
        this.#become(p, P_THROTTLED);
        this.trace?.onP(p, "idle");
      } else if (last < 0) {
        last = p;
        this.#stopWorker(p);
        this.#become(p, P_MARK_DONE);
        this.trace?.onP(p, "done");
      } else this.#workerYields(p);
    }
    for (let p = 0; p < this.nprocs; p++) {
      if (this.pState[p] !== P_ASSIST || this.#held[p] === 1) continue;
      // The others find nothing more to do, either.
      if (last >= 0) {
        this.#endAssist(p);
        continue;
      }
      last = p;
      this.#stopWorker(p);
      this.#become(p, P_MARK_DONE);
      this.trace?.onP(p, "done");
    }
    return last;
  }

  /** gcDrainN backs out of assists when the CPU limiter turns on: those under way end now. */
  endAssists(): void {
    for (let p = 0; p < this.nprocs; p++) {
      // One that is being stopped has no event any more; one that stands still finds out when it goes on.
      if (this.pState[p] === P_ASSIST && this.#pEvent[p] >= 0 && this.#held[p] === 0) this.#endAssist(p);
    }
  }

  #endAssist(p: number): void {
    this.#cancelP(p);
    this.#pEndNs[p] = this.nowNs;
    this.#pEvent[p] = this.queue.push(this.nowNs, PRIORITY_P, EV_SLICE, p);
  }

  /** Was P `p` idle when the world was last stopped? */
  wasIdle(p: number): boolean {
    return this.#idleBeforeStop[p] === 1;
  }

  #startTheWorld(): void {
    const then = this.#afterStart!;
    this.#afterStart = null;
    then(this.nowNs);
    const owner = this.#stwOwner;
    this.stoppedUntilNs = -1;
    this.#busyChanged = true;
    if (owner >= 0) this.#ranBeforeStop[owner] = 0;
    if (owner >= 0 && this.#pG[owner] === null) this.#schedule(owner);
    else if (owner >= 0) {
      this.#become(owner, P_RUNNING);
      this.#running++;
      const g = this.#pG[owner]!;
      this.trace?.onP(owner, "run", g);
      // A step without cost that stopped the world is over already.
      if (g.pendingNs <= 0 && g.after !== AFTER_RUN) this.#sliceEnded(owner);
      else this.#slice(owner);
    }
    // The owner may have stopped the world again at once, for a cycle due already: then the others have not started.
    if (this.stoppedUntilNs >= 0) return;
    // The other Ps' threads were woken before the world counted as started, but take a moment to run.
    for (let p = 0; p < this.nprocs; p++) if (this.pState[p] === P_STOPPED) this.#wake(p);
  }

  /** findRunnable: P `p` has nothing to run; it is in no list. `spinning`: a thread that was woken to look for work has come to it. */
  #schedule(p: number, spinning = false): void {
    const gc = this.#gc!;
    if (gc.marking) {
      const due = gc.workerDue(p, this.nowNs);
      if (due !== P_IDLE) {
        if (spinning) this.#resetspinning(p);
        this.#startWorker(p, due);
        return;
      }
    }
    this.#runTimers(p, p);
    const g =
      (this.#schedtick[p] % GLOBAL_EVERY === 0 ? this.#globrunqget(p, 1) : undefined) ??
      this.#runqget(p) ??
      this.#globrunqget(p, RUNQ_LENGTH / 2);
    if (g !== undefined) {
      if (spinning) this.#resetspinning(p);
      this.#execute(p, g);
      return;
    }
    if (this.#steal(p, spinning)) return;
    if (gc.marking && gc.addIdleWorker()) {
      if (spinning) this.#resetspinning(p);
      this.#startWorker(p, P_IDLE_WORKER);
      return;
    }
    this.#become(p, P_IDLE);
    this.#pG[p] = null;
    this.#overheadNs[p] = 0;
    this.#pidleput(p);
    this.#idleSinceNs = this.nowNs;
    this.trace?.onP(p, "idle");
  }

  /** Whoever was woken and has found work wakes the next thread, needed or not: where there is work there may be more. */
  #resetspinning(p: number): void {
    if (this.#idle.length > 0 && this.#wakep()) this.#overheadNs[p] += this.#wakerNs;
  }

  #pidleput(p: number): void {
    this.#idle.push(p);
    this.limiter.startEvent(p, limiterEventIdle, this.nowNs);
  }

  /** The P that went idle last, for somebody who has work for it. */
  #pidleget(): number | undefined {
    const p = this.#idle.pop();
    if (p !== undefined) this.limiter.stopEvent(p, limiterEventIdle, this.nowNs);
    return p;
  }

  /** stealWork: timers and goroutines of other Ps, unless enough threads are searching already. */
  #steal(p: number, spinning: boolean): boolean {
    if (this.#waking > 0 && 2 * this.#waking >= this.nprocs - this.#idle.length) return false;
    for (let i = 1; i < this.nprocs; i++) {
      const q = (p + i) % this.nprocs;
      this.#runTimers(q, p);
      const g = this.#runqget(p) ?? this.#runqsteal(p, q);
      if (g === undefined) continue;
      if (spinning) this.#resetspinning(p);
      this.#execute(p, g);
      return true;
    }
    return false;
  }

  /** runqput with next: what was to be next goes to the end of the queue, and half of a full queue to the global one. */
  #runqput(p: number, g: G): void {
    const kicked = this.#runnext[p];
    this.#runnext[p] = g;
    if (kicked === null) return;
    const local = this.#local[p];
    if (local.length < RUNQ_LENGTH) local.push(kicked);
    else this.#runq.push(...local.splice(0, RUNQ_LENGTH / 2), kicked);
  }

  #runqget(p: number): G | undefined {
    const next = this.#runnext[p];
    if (next === null) return this.#local[p].shift();
    this.#runnext[p] = null;
    return next;
  }

  /** runqsteal: half of P `q`'s queue, or else its next goroutine; the last of them runs first. */
  #runqsteal(p: number, q: number): G | undefined {
    const half = Math.ceil(this.#local[q].length / 2);
    if (half === 0) return this.#runqget(q);
    const stolen = this.#local[q].splice(0, half);
    const g = stolen.pop();
    this.#local[p].push(...stolen);
    return g;
  }

  /** P `p`'s share of the global queue, at most so many: the oldest to run, the others for its own queue. */
  #globrunqget(p: number, most: number): G | undefined {
    const size = this.#runq.length - this.#runqHead;
    const g = this.#runqPop();
    if (g === undefined) return undefined;
    const n = Math.min(most, Math.floor(size / this.nprocs) + 1, size);
    for (let i = 1; i < n; i++) this.#local[p].push(this.#runqPop()!);
    if (size > 1 && this.#wakep()) this.#overheadNs[p] += this.#wakerNs;
    return g;
  }

  #runqPop(): G | undefined {
    if (this.#runqHead === this.#runq.length) return undefined;
    const g = this.#runq[this.#runqHead]!;
    this.#runq[this.#runqHead++] = null;
    if (this.#runqHead > 1024 && this.#runqHead * 2 > this.#runq.length) {
      this.#runq.splice(0, this.#runqHead);
      this.#runqHead = 0;
    }
    return g;
  }

  #execute(p: number, g: G): void {
    this.#schedtick[p]++;
    this.#place(p, g);
    this.#slice(p);
  }

  /** Puts `g` on P `p`. What its last step left to do (`pendingNs`, `after`) comes after the switch. */
  #place(p: number, g: G): void {
    this.#become(p, P_RUNNING);
    this.#pG[p] = g;
    this.#run(p);
    g.runStartNs = this.nowNs;
    this.trace?.onP(p, "run", g);
    g.pendingNs += this.#switchNs + this.#overheadNs[p];
    this.#overheadNs[p] = 0;
  }

  /** P `p` has work. A thread for each P at work is made when it is first needed, and stays. */
  #run(p: number): void {
    this.#running++;
    if (this.#running <= this.#threads) return;
    this.#threads = this.#running;
    this.#newThread(p);
  }

  /** Spends pending CPU or takes the next step of P `p`'s goroutine. */
  #slice(p: number): void {
    const g = this.#pG[p]!;
    const gc = this.#gc!;
    if (g.pendingNs <= 0 && g.highSleeps === null) {
      if (gc.marking && g.gcAssistBytes < 0) {
        const assistNs = gc.assist(g, p, this.nowNs);
        if (assistNs > 0) {
          this.#become(p, P_ASSIST);
          this.trace?.onP(p, "assist", g);
          this.#pEndNs[p] = this.nowNs + assistNs;
          this.#pEvent[p] = this.queue.push(this.#pEndNs[p], PRIORITY_P, EV_SLICE, p);
          return;
        }
        if (assistNs < 0) {
          g.parked = true;
          this.#release(p);
          return;
        }
      }
      this.gcWanted = false;
      g.after = AFTER_RUN;
      g.wakeAtNs = Infinity;
      g.sleepNs = -1;
      const delays = this.#delays;
      // What others have charged since the last step: threads that run no goroutine.
      delays?.takeSleeps();
      this.trace?.stepBegins(g);
      g.pendingNs = g.step(p, this.nowNs);
      this.trace?.stepEnds(g);
      if (delays !== null) {
        const cpuNs = delays.takeCpuNs();
        if (cpuNs > 0) delays.reclaimed(cpuNs, this.nowNs);
        g.pendingNs += cpuNs;
        g.highSleeps = delays.takeSleeps();
      }
      if (this.gcWanted) {
        this.gcWanted = false;
        if (gc.triggered(g, p, this.nowNs)) return;
      }
      if (g.stopNs >= 0) {
        const ns = g.stopNs;
        const sinceNs = this.nowNs;
        g.stopNs = -1;
        this.stopTheWorld(ns, p, (now) => {
          this.stwTotalTimeOther.record(now - sinceNs);
          g.worldStopped(now);
        });
        return;
      }
    }
    const sleepNs = g.highSleeps === null ? 0 : this.#nextSleep(g, g.highSleeps);
    if (sleepNs > 0) {
      this.#become(p, P_STALLED);
      this.trace?.onP(p, "stalled", g);
      this.#running--;
      this.#pEndNs[p] = this.nowNs + sleepNs;
      this.#pEvent[p] = this.queue.push(this.#pEndNs[p], PRIORITY_P, EV_SLICE, p);
      return;
    }
    const slow = this.#running > this.cpus ? this.#running / this.cpus : 1;
    const untilPreemptNs = (forcePreemptAt(g.runStartNs) - this.nowNs) / slow;
    const ns = Math.min(g.pendingNs, untilPreemptNs > 0 ? untilPreemptNs : FORCE_PREEMPT_NS);
    g.pendingNs -= ns;
    this.mutatorNs += ns;
    this.#pSlow[p] = slow;
    this.trace?.sliceBegins(p, slow);
    this.#pEndNs[p] = this.nowNs + ns * slow;
    this.#pEvent[p] = this.queue.push(this.#pEndNs[p], PRIORITY_P, EV_SLICE, p);
  }

  /** The next of the sleeps before `g`'s thread that is worth one begins: how long it is; 0 if there is none. */
  #nextSleep(g: G, sleeps: HighSleep[]): number {
    let ns = 0;
    while (ns === 0 && sleeps.length > 0) {
      ns = this.#delays!.beginSleep(sleeps[0], this.nowNs);
      if (--sleeps[0].times === 0) sleeps.shift();
    }
    if (sleeps.length === 0) g.highSleeps = null;
    return ns;
  }

  #sliceEnded(p: number): void {
    if (this.pState[p] === P_STALLED && this.#waitsForQuota(p)) return;
    this.#pEvent[p] = -1;
    const g = this.#pG[p]!;
    if (this.pState[p] === P_STALLED) {
      this.#become(p, P_RUNNING);
      this.trace?.onP(p, "run", g);
      this.#running++;
      // Between two sleeps it is out of the kernel, and whoever else is to run may.
      if (g.highSleeps !== null) {
        this.#goOn(p, g, false);
        return;
      }
      // What the step cost in CPU is still to be spent; one that cost none is over.
      if (g.pendingNs > 0) {
        this.#slice(p);
        return;
      }
    }
    this.trace?.sliceEnds(p, g, g.pendingNs <= 0);
    if (this.pState[p] === P_ASSIST) {
      this.#become(p, P_RUNNING);
      this.trace?.onP(p, "run", g);
      this.#gc!.assistDone(g, p, this.nowNs);
    } else if (g.pendingNs <= 0) {
      if (g.gcStart !== null) {
        if (this.#gc!.triggered(g, p, this.nowNs)) return;
        if (g.pendingNs > 0) {
          this.#slice(p);
          return;
        }
      }
      // A sleep until a moment that is past is none; what is owed is allocated first.
      if ((g.after === AFTER_PARK && g.wakeAtNs <= this.nowNs) || g.owedKind >= 0) g.after = AFTER_RUN;
      if (g.after === AFTER_PARK || g.after === AFTER_EXIT) {
        if (g.after === AFTER_EXIT) {
          this.#gs[g.id] = null;
          this.#freeIds.push(g.id);
          g.id = -1;
          this.#gc!.flushAssistCredit(g);
        }
        g.parked = true;
        g.timerP = p;
        this.#release(p);
        this.#parkedNow(g);
        g.after = AFTER_RUN;
        return;
      }
    }
    this.#goOn(p, g, g.pendingNs <= 0 && g.after === AFTER_YIELD);
  }

  /** P `p`'s goroutine goes on, unless it yields, or has had its time and somebody else could run. */
  #goOn(p: number, g: G, yields: boolean): void {
    const waiting =
      this.#runqHead < this.#runq.length ||
      this.#runnext[p] !== null ||
      this.#local[p].length > 0 ||
      this.#due[p].length > 0;
    const preempted = this.nowNs >= forcePreemptAt(g.runStartNs);
    if ((yields || preempted) && (waiting || this.#gc!.marking)) {
      if (yields) g.after = AFTER_RUN;
      this.#runq.push(g);
      this.#release(p);
      return;
    }
    // Asked to yield for nothing, it begins anew: schedule counts one goroutine more.
    if (preempted) g.runStartNs = this.nowNs;
    this.#slice(p);
  }

  #parkedNow(g: G): void {
    if (g.takeWoken()) this.ready(g);
    else if (g.after === AFTER_EXIT) return;
    else if (g.sleepNs >= 0) {
      if (g.ioWait) this.queue.push(this.nowNs + g.sleepNs, PRIORITY_TIMER, EV_IO, g.id);
      else this.readyAt(g, this.nowNs + g.sleepNs);
    } else if (g.wakeAtNs < Infinity) this.readyAt(g, g.wakeAtNs);
  }

  #release(p: number): void {
    this.#pG[p] = null;
    this.#running--;
    this.#schedule(p);
  }

  #startWorker(p: number, mode: number): void {
    const gc = this.#gc!;
    this.#become(p, mode);
    this.#overheadNs[p] = 0;
    this.#called[p] = 0;
    this.#run(p);
    this.trace?.onP(p, OCCUPATIONS[mode]);
    gc.workerStarted(p, mode, this.nowNs);
    const exit = gc.workerExitNs(p, mode, this.nowNs);
    this.#pEndNs[p] = this.nowNs;
    if (exit < Infinity) this.#pEvent[p] = this.queue.push(exit, PRIORITY_P, EV_WORKER, p);
  }

  /** A worker that reached its own end (share used, or other work seen) gives the P back. */
  #workerYields(p: number): void {
    this.#stopWorker(p);
    // No longer a worker that could be called away while the P looks for what to do next.
    this.#become(p, P_RUNNING);
    this.#running--;
    this.#schedule(p);
  }

  /** Takes the worker or assist off P `p`; the P is left for the caller to place. */
  #stopWorker(p: number): void {
    const mode = this.pState[p];
    this.#cancelP(p);
    if (this.#held[p] === 1) {
      this.#held[p] = 0;
      this.#gc!.workerHeld(p, false, this.nowNs);
    }
    if (mode === P_ASSIST) this.#gc!.assistDone(this.#pG[p]!, p, this.nowNs);
    else this.#gc!.workerStopped(p, mode, this.nowNs);
  }

  #cancelP(p: number): void {
    if (this.#pEvent[p] >= 0) this.queue.cancel(this.#pEvent[p]);
    this.#pEvent[p] = -1;
  }

  /** A thread for P `p`, which is in no list, is on its way. */
  #wake(p: number): void {
    this.#become(p, P_WAKING);
    this.trace?.onP(p, "idle");
    this.#waking++;
    this.#pEndNs[p] = Math.max(this.nowNs, this.heldUntilNs(p)) + this.#wakeNs();
    this.#pEvent[p] = this.queue.push(this.#pEndNs[p], PRIORITY_P, EV_FIND_WORK, p);
  }

  /**
   * wakep: something became runnable. If no thread is searching already, one is woken for the P that went idle last;
   * with no idle P, an idle worker will notice at its next look. Returns whether a thread was woken.
   */
  #wakep(): boolean {
    if (this.stoppedUntilNs >= 0 || this.#waking > 0) return false;
    const p = this.#pidleget();
    if (p !== undefined) {
      this.#wake(p);
      return true;
    }
    const gc = this.#gc!;
    if (!gc.marking) return false;
    for (let q = 0; q < this.nprocs; q++) {
      if (this.pState[q] !== P_IDLE_WORKER || this.#called[q] !== 0) continue;
      this.#called[q] = 1;
      this.#cancelP(q);
      const every = gc.idleCheckNs;
      const since = (this.nowNs - this.#pEndNs[q]) % every;
      const at = Math.max(this.nowNs + every - since, this.heldUntilNs(q));
      this.#pEvent[q] = this.queue.push(at, PRIORITY_P, EV_WORKER, q);
      return false;
    }
    return false;
  }
}

/** The first `length` values of `old`, and `fill` for those it does not have. */
function resized<A extends Uint8Array | Int32Array | Float64Array>(old: A, length: number, fill: number): A {
  const array = new (old.constructor as new (length: number) => A)(length).fill(fill) as A;
  array.set(old.subarray(0, Math.min(old.length, length)));
  return array;
}
