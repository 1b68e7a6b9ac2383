/**
 * The scavenger: gives free pages of the heap back to the OS, so that the resident set follows a shrinking heap.
 *
 * Models mgcscavenge.go of Go 1.26, scavengeindex.ts apart, and the part of mheap.allocSpan that scavenges when the
 * heap grows or the memory limit is exceeded. Every cycle sets a goal for the memory retained (spans of objects plus free pages not given back):
 * what was in use at the last mark termination, scaled by the change of the heap goal, and a tenth more. While more is
 * retained, a goroutine gives back free pages from the highest address downwards, 64 KiB at a time, for a millisecond
 * or a little more, and then sleeps so long that it takes 1 % of the CPUs; a PI controller finds that ratio. It is
 * woken when a sweep ends (by sysmon) and when the next one is completed at the start of a cycle. What older
 * releases do differently is in `VersionRules`.
 *
 * A run of pages is one call of madvise: it costs a time per OS page and one per call, and this one many times more while another CPU
 * runs the process, a collection's worker for instance: the kernel interrupts that CPU and waits until it has dropped its translations of
 * the pages. At a memory limit most runs are of a page or two, so that it is calls that count.
 *
 * Simplified: giving back costs the same for pages of any size and for MADV_FREE (a quarter less, measured), and for any number of
 * other CPUs; the search for runs takes no time; sysmon looks every
 * 10 ms, as it does once it has had nothing to do for a while, and never sleeps deeper; transparent huge pages are
 * 2 MiB, and runs are not cut inside one, as in Go; scavenging inside
 * an allocation happens at one instant and its CPU time is booked with it, so the limiter cannot turn on in between.
 */
import { OS_PAGE_BYTES } from "../os/os.ts";
import type { ScavengeCosts } from "./costs.ts";
import { type GcController, noMemoryLimit } from "./mgcpacer.ts";
import type { Heap, HeapScavenger } from "./mheap.ts";
import type { PageAlloc } from "./mpagealloc.ts";
import { pallocChunkPages } from "./mpallocbits.ts";
import { PiController } from "./picontroller.ts";
import { AFTER_PARK, AFTER_RUN, G, PRIORITY_TIMER, type Scheduler } from "./proc.ts";
import { pageSize } from "./sizeclasses.ts";
import type { VersionRules } from "./version.ts";

/** scavengePercent: the share of all CPUs the background scavenger aims at. */
const scavengePercent = 1;
/** retainExtraPercent: room above the heap goal, 10 %, as the divisor it amounts to. */
const retainExtraDivisor = 10;
/** reduceExtraPercent: how far below the memory limit the scavenger aims. */
const reduceExtraPercent = 5;
/** Bytes the background scavenger looks for in one go. */
const scavengeQuantum = 64 * 1024;
/** minScavWorkTime: it sleeps only after this much work. */
const minScavWorkTimeNs = 1e6;
/** Work assumed per OS page when the clock saw none. */
const approxWorkedNsPerPhysicalPage = 10e3;
const startingScavSleepRatio = 0.001;
const controllerCooldownNs = 5e9;
/** sysmon's longest pause between two looks. */
const sysmonPeriodNs = 10e6;
/** physHugePageSize in runtime pages. */
const pagesPerHugePage = 256;

/** What `findScavengeCandidate` found: first page in the chunk, and length. */
export function candidateStart(found: number): number {
  return found & 1023;
}
export function candidateSize(found: number): number {
  return found >>> 10;
}

/**
 * The bits of a word, with each aligned group of `m` (a power of two up to 8) filled if one of its bits is set: an OS page of m
 * runtime pages can be given back as a whole or not at all.
 */
export function fillAligned(x: number, m: number): number {
  let any = x;
  let group = 1;
  // After each round a group's lowest bit says whether any of twice as many is set.
  for (; group < m; group *= 2) any |= any >>> group;
  if (m === 1) return any;
  let lowest = 0;
  for (let i = 0; i < 32; i += m) lowest |= 1 << i;
  return Math.imul(any & lowest, 2 ** m - 1);
}

/**
 * pallocData.findScavengeCandidate: the highest run of free and unscavenged pages of the chunk, looking downwards from the
 * 64-page block of `searchIdx`. Of the run its upper `max` pages, rounded up to whole OS pages of `minimum` runtime pages each; with
 * `hugePages` (2 MiB, where a chunk has two) down to the start of the free huge page that this would cut in two. Packed: see
 * candidateStart and candidateSize; 0 if there is none.
 */
export function findScavengeCandidate(
  allocBits: Int32Array,
  scavBits: Int32Array,
  at: number,
  searchIdx: number,
  max: number,
  minimum = 1,
  hugePages = true,
): number {
  let w = ((searchIdx >>> 6) << 1) + 1;
  while (w >= 0 && fillAligned(allocBits[at + w] | scavBits[at + w], minimum) === -1) w--;
  if (w < 0) return 0;
  let x = fillAligned(allocBits[at + w] | scavBits[at + w], minimum);
  const above = Math.clz32(~x);
  const end = w * 32 + 32 - above;
  // Down to the next page that is in use or scavenged, in this word or one further down.
  let run = Math.min(32 - above, Math.clz32(x << above));
  while (run === end - w * 32 && w > 0) {
    w--;
    x = fillAligned(allocBits[at + w] | scavBits[at + w], minimum);
    run += Math.clz32(x);
  }

  let size = Math.min(run, Math.ceil(max / minimum) * minimum);
  let start = end - size;
  if (hugePages && Math.ceil(start / pagesPerHugePage) * pagesPerHugePage <= end) {
    const hugePageBelow = Math.floor(start / pagesPerHugePage) * pagesPerHugePage;
    if (hugePageBelow >= end - run) {
      size += start - hugePageBelow;
      start = hugePageBelow;
    }
  }
  return start | (size << 10);
}

/** Takes the pages [base, base+npages) back from the heap: sysUnused and the statistics. */
export type Release = (base: number, npages: number) => void;

/**
 * pageAlloc.scavenge: gives back at least `nbytes` from the highest address downwards, going on where the last call
 * of its kind (forced or not) stopped. Returns the bytes given back: fewer only if there is no more for now, or after one
 * run of pages if `once` (Go asks its shouldStop after each).
 */
export function scavenge(
  pages: PageAlloc,
  nbytes: number,
  force: boolean,
  release: Release,
  once = false,
  physPageSize = OS_PAGE_BYTES,
): number {
  let released = 0;
  while (released < nbytes) {
    const ci = pages.scav.find(force);
    if (ci < 0) break;
    released += scavengeOne(pages, ci, pages.scav.foundPage, nbytes - released, release, physPageSize);
    if (once) break;
  }
  return released;
}

/** pageAlloc.scavengeOne: one run of pages of chunk `ci`, or the chunk is marked empty and 0 returned. */
function scavengeOne(
  pages: PageAlloc,
  ci: number,
  searchIdx: number,
  maxBytes: number,
  release: Release,
  physPageSize: number,
): number {
  const minimum = Math.max(1, physPageSize / pageSize);
  if (pages.chunkMaxFree(ci) >= minimum) {
    const max = Math.min(pallocChunkPages, Math.ceil(maxBytes / pageSize));
    const at = pages.chunkWordsAt(ci);
    const found = findScavengeCandidate(
      pages.allocBits,
      pages.scavBits,
      at,
      searchIdx,
      max,
      minimum,
      // Of 16 and 64 KiB pages huge ones are 32 and 512 MiB: more than the runtime takes into account.
      physPageSize === OS_PAGE_BYTES,
    );
    if (found !== 0) {
      const base = ci * pallocChunkPages + candidateStart(found);
      const npages = candidateSize(found);
      pages.setScavenged(base, npages);
      release(base, npages);
      return npages * pageSize;
    }
  }
  pages.scav.setEmpty(ci);
  return 0;
}

/** What the background scavenger works on. */
export interface ScavengerWork {
  /** Gives back about `nbytes`; returns how much it was. */
  scavenge(nbytes: number): number;
  /** CPU nanoseconds of the last call of `scavenge`, which has given back that much. */
  costNs(released: number): number;
  /** Nothing is to be done for now. */
  shouldStop(): boolean;
  readonly physPageSize: number;
}

const STAGE_PARKED = 0;
const STAGE_WORKING = 1;
const STAGE_SLEEPING = 2;

/** bgscavenge: scavengerState and the goroutine it belongs to. A step is one quantum. */
export class BackgroundScavenger extends G {
  /** scavengerState.parked: waiting for `wake`, with or without a timer. */
  idle = true;
  /** Bytes given back since the start. */
  released = 0;
  /** Ratio of time worked to time slept. */
  sleepRatio = startingScavSleepRatio;
  /** printControllerReset: the controller has given up; whoever tells of it clears this. */
  controllerReset = false;

  readonly #sched: Scheduler;
  readonly #work: ScavengerWork;
  readonly #controller = new PiController(0.3375, 3.2e6, 1e9, 0.001, 1000);
  readonly #timerCallback: number;
  #timer = -1;
  #stage = STAGE_PARKED;
  #cooldownNs = 0;
  #workedNs = 0;
  #releasedInRun = 0;
  #quantumReleased = 0;
  /** Start of the quantum under way, or of the sleep. */
  #sinceNs = 0;

  constructor(sched: Scheduler, work: ScavengerWork) {
    super();
    this.#sched = sched;
    this.#work = work;
    this.#timerCallback = sched.register(() => {
      this.#timer = -1;
      this.wake();
    });
    sched.adopt(this);
  }

  /** Parked with a timer. */
  get asleep(): boolean {
    return this.#stage === STAGE_SLEEPING;
  }

  /** scavengerState.wake: unparks the goroutine at once if it is parked. */
  wake(): boolean {
    if (!this.idle) return false;
    this.idle = false;
    this.#sched.ready(this);
    return true;
  }

  override get label(): string {
    return "bgscavenge";
  }

  step(_p: number, nowNs: number): number {
    if (this.#stage === STAGE_WORKING) {
      this.#quantumDone(nowNs);
      if (this.#quantumReleased < scavengeQuantum || this.#workedNs >= minScavWorkTimeNs)
        return this.#runDone(nowNs);
    } else {
      if (this.#stage === STAGE_SLEEPING) this.#slept(nowNs);
      this.#workedNs = 0;
      this.#releasedInRun = 0;
    }
    if (this.#work.shouldStop()) return this.#runDone(nowNs);
    this.#quantumReleased = this.#work.scavenge(scavengeQuantum);
    this.#releasedInRun += this.#quantumReleased;
    this.released += this.#quantumReleased;
    this.#stage = STAGE_WORKING;
    this.#sinceNs = nowNs;
    this.after = AFTER_RUN;
    return this.#work.costNs(this.#quantumReleased);
  }

  /** Go measures the wall-clock time of a quantum, being preempted included. */
  #quantumDone(nowNs: number): void {
    const duration = Math.trunc(nowNs - this.#sinceNs);
    this.#workedNs +=
      duration === 0
        ? approxWorkedNsPerPhysicalPage * Math.floor(this.#quantumReleased / this.#work.physPageSize)
        : duration;
  }

  /** The end of a run: a sleep in proportion to the work, or none was done and somebody must wake it. */
  #runDone(nowNs: number): number {
    this.after = AFTER_PARK;
    this.idle = true;
    if (this.#releasedInRun === 0) {
      this.#stage = STAGE_PARKED;
      return 0;
    }
    this.#stage = STAGE_SLEEPING;
    this.#sinceNs = nowNs;
    // Less would make for sleeps too short to be reliable.
    if (this.#workedNs < minScavWorkTimeNs) this.#workedNs = minScavWorkTimeNs;
    const wakeNs = nowNs + Math.trunc(this.#workedNs / this.sleepRatio) + this.#sched.timerSlackNs();
    this.#timer = this.#sched.fire(wakeNs, PRIORITY_TIMER, this.#timerCallback);
    return 0;
  }

  /** scavengerState.sleep after it has slept: how the sleep ratio follows from the CPU share just had. */
  #slept(nowNs: number): void {
    if (this.#timer >= 0) this.#sched.queue.cancel(this.#timer);
    this.#timer = -1;
    const worked = this.#workedNs;
    const slept = Math.trunc(nowNs - this.#sinceNs);
    if (this.#cooldownNs > 0) {
      const t = slept + Math.trunc(worked);
      this.#cooldownNs = t > this.#cooldownNs ? 0 : this.#cooldownNs - t;
      return;
    }
    const cpuFraction = worked / ((slept + worked) * this.#sched.nprocs);
    this.sleepRatio = this.#controller.next(cpuFraction, scavengePercent / 100, slept + worked);
    if (!this.#controller.ok) {
      this.sleepRatio = startingScavSleepRatio;
      this.#cooldownNs = controllerCooldownNs;
      this.controllerReset = true;
    }
  }
}

/** What a line of GODEBUG=scavtrace=1 tells. */
export interface ScavTraceRecord {
  readonly format: VersionRules["scavtraceFormat"];
  /** Given back since the last line: in the background, and by allocations; in a forced line what FreeOSMemory gave counts with these. */
  readonly background_bytes: number;
  readonly eager_bytes: number;
  readonly heap_released_bytes: number;
  readonly heap_inuse_bytes: number;
  readonly heap_retained_bytes: number;
  readonly forced: boolean;
  /** The controller of the sleep ratio has given up once since the last line. */
  readonly controller_reset: boolean;
}

export interface ScavengerOptions {
  readonly sched: Scheduler;
  readonly heap: Heap;
  /** Where the memory limit is. */
  readonly pacer: Pick<GcController, "memoryLimit">;
  readonly costs: ScavengeCosts;
  /** Told at the end of every sweep and of every FreeOSMemory. */
  readonly onTrace?: (trace: ScavTraceRecord) => void;
}

/** The scavenger of one process: its goals, its goroutine, and the scavenging a growing heap does itself. */
export class Scavenger implements HeapScavenger {
  /** Retained bytes to get down to, on account of GOGC and of the memory limit; Infinity: nothing to do. */
  gcPercentGoal = Infinity;
  memoryLimitGoal = Infinity;
  /** Bytes given back by allocations that made the heap grow or that the memory limit had no room for. */
  releasedEager = 0;
  /** Bytes given back by FreeOSMemory. */
  releasedForced = 0;
  /** CPU nanoseconds that took, and those of the background scavenger. */
  assistNs = 0;
  backgroundNs = 0;
  readonly background: BackgroundScavenger;

  readonly #heap: Heap;
  readonly #sched: Scheduler;
  readonly #pacer: Pick<GcController, "memoryLimit">;
  readonly #costs: ScavengeCosts;
  readonly #onTrace: ((trace: ScavTraceRecord) => void) | undefined;
  /** Given back up to the last trace line. */
  #tracedBackground = 0;
  #tracedEager = 0;
  readonly #release: Release;
  /** Of the last `#scavenge`: calls of madvise, and CPU nanoseconds. */
  #calls = 0;
  #ns = 0;
  readonly #sysmonCallback: number;
  #sysmonDue = false;
  #sysmonWake = false;

  constructor(options: ScavengerOptions) {
    const { heap, sched, pacer, costs } = options;
    this.#heap = heap;
    this.#sched = sched;
    this.#pacer = pacer;
    this.#costs = costs;
    this.#onTrace = options.onTrace;
    this.#release = (base, npages) => {
      heap.os?.sysUnused(base * pageSize, npages * pageSize);
      heap.noteScavenged(npages * pageSize);
      this.#calls++;
    };
    this.background = new BackgroundScavenger(sched, {
      physPageSize: heap.physPageSize,
      scavenge: (nbytes) => this.#scavenge(nbytes, false, "background"),
      costNs: () => {
        this.backgroundNs += this.#ns;
        return this.#ns;
      },
      shouldStop: () => heap.retained <= this.gcPercentGoal && heap.mappedReady <= this.memoryLimitGoal,
    });
    this.#sysmonCallback = sched.register(() => this.#sysmon());
    heap.scavenger = this;
  }

  /** `scavenge`, for `reason`. */
  #scavenge(nbytes: number, force: boolean, reason: string, once = false): number {
    const { pages, trace, retained, physPageSize } = this.#heap;
    if (trace !== undefined) trace.releaseReason = `scavenge: ${reason}`;
    this.#calls = 0;
    const released = scavenge(pages, nbytes, force, this.#release, once, physPageSize);
    const { pageNs, callNs, busyCallNs } = this.#costs;
    this.#ns =
      (released / physPageSize) * pageNs + this.#calls * (this.#sched.otherCpuRuns ? busyCallNs : callNs);
    if (released > 0)
      trace?.instant("scavenge", "scavenge", {
        reason,
        size_bytes: nbytes,
        released_bytes: released,
        retained_bytes: retained - released,
      });
    return released;
  }

  /** gcPaceScavenger: the goals, each time the pacer has new ones. */
  pace(memoryLimit: number, heapGoal: number, lastHeapGoal: number): void {
    const heap = this.#heap;
    const percent = 100 - reduceExtraPercent;
    const limitGoal = Math.trunc(
      memoryLimit * (heap.rules.limitBackgroundScavenge ? percent / 100 : percent),
    );
    this.memoryLimitGoal = heap.mappedReady <= limitGoal ? Infinity : limitGoal;
    this.gcPercentGoal = Infinity;
    // Before the end of the first cycle there is nothing to go by.
    if (lastHeapGoal === 0) return;
    const goalRatio = heapGoal === lastHeapGoal ? 1 : heapGoal / lastHeapGoal;
    let goal = Math.trunc(heap.lastHeapInUse * goalRatio);
    goal += Math.trunc(goal / retainExtraDivisor);
    goal = Math.ceil(goal / heap.physPageSize) * heap.physPageSize;
    if (heap.retained - goal >= heap.physPageSize) this.gcPercentGoal = goal;
  }

  /**
   * mheap.allocSpan: others' free pages go for the new ones. Under the memory limit as many bytes as the span's scavenged pages
   * will exceed it by, dense chunks included; when the heap has just grown above the goal of GOGC, the growth. One
   * pass serves both, so the larger of the two counts.
   */
  spanAllocated(scavBytes: number, growthBytes: number): void {
    let bytesToScavenge = 0;
    let force = false;
    const limit = this.#pacer.memoryLimit;
    const { limiter } = this.#sched;
    if (limit !== noMemoryLimit && !limiter.limiting) {
      const excess = scavBytes + this.#heap.mappedReady - limit;
      if (excess > 0) {
        bytesToScavenge = excess;
        force = true;
      }
    }
    if (growthBytes > 0 && this.gcPercentGoal !== Infinity) {
      const overage = this.#heap.retained + growthBytes - this.gcPercentGoal;
      bytesToScavenge = Math.max(bytesToScavenge, Math.min(growthBytes, overage));
    }
    if (bytesToScavenge <= 0) return;
    const released = this.#scavenge(
      bytesToScavenge,
      force,
      force ? "memory limit" : "heap growth",
      limiter.limiting,
    );
    this.releasedEager += released;
    this.#heap.work.scavengeNs += this.#ns;
    this.assistNs += this.#ns;
    limiter.addAssistTime(this.#ns);
  }

  /** mheap.scavengeAll: every free page, dense chunks included. Returns the CPU nanoseconds that takes. */
  scavengeAll(): number {
    const released = this.#scavenge(Infinity, true, "FreeOSMemory");
    this.releasedForced += released;
    // printScavTrace(0, released, true) of mheap.go.
    this.#trace(0, released, true);
    return this.#ns;
  }

  /** Bytes given back since the start, by whomever. */
  get released(): number {
    return this.background.released + this.releasedEager + this.releasedForced;
  }

  /** scavengerState.ready: sysmon shall wake the background scavenger. */
  sweepDone(): void {
    const { released } = this.background;
    this.#trace(released - this.#tracedBackground, this.releasedEager - this.#tracedEager, false);
    this.#tracedBackground = released;
    this.#tracedEager = this.releasedEager;
    this.#sysmonWake = true;
    this.#callSysmon();
  }

  wake(): void {
    if (this.background.wake()) this.#sysmonWake = false;
  }

  /** Moves the index to its next generation: mark termination. */
  nextGen(): void {
    this.#heap.pages.scav.nextGen();
  }

  /** printScavTrace. */
  #trace(background: number, eager: number, forced: boolean): void {
    if (this.#onTrace === undefined) return;
    const { stats, retained, rules } = this.#heap;
    this.#onTrace({
      format: rules.scavtraceFormat,
      background_bytes: background,
      eager_bytes: eager,
      heap_released_bytes: stats.heapReleased,
      heap_inuse_bytes: stats.heapInUse,
      heap_retained_bytes: retained,
      forced,
      controller_reset: this.background.controllerReset,
    });
    // A forced line says nothing of it.
    if (!forced) this.background.controllerReset = false;
  }

  #callSysmon(): void {
    if (this.#sysmonDue) return;
    this.#sysmonDue = true;
    const next = (Math.floor(this.#sched.nowNs / sysmonPeriodNs) + 1) * sysmonPeriodNs;
    this.#sched.fire(next, PRIORITY_TIMER, this.#sysmonCallback);
  }

  /** Sysmon's look: a scavenger at work is asked again at the next one. */
  #sysmon(): void {
    this.#sysmonDue = false;
    if (!this.#sysmonWake) return;
    this.wake();
    if (this.#sysmonWake) this.#callSysmon();
  }
}
