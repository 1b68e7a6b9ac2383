/**
 * The runtime put together: heap, pacer, collector, stacks and scheduler of one simulated Go process, and the way
 * in for the workload: `alloc`, `allocRun` and `allocEach` are mallocgc as a goroutine calls it.
 *
 * Follows mallocgc of Go 1.26 (malloc.go): assist credit is charged for every object, a refill or a large object tests the
 * trigger. Costs are gathered in `sliceNs`, the CPU time of the goroutine's current step.
 */

import type { NumaNodes } from "../os/numa.ts";
import { curveAt, type RuntimeCosts } from "./costs.ts";
import { grownFloat64, type KindTable } from "./kinds.ts";
import type { RunBudget } from "./malloc.ts";
import type { Gc } from "./mgc.ts";
import type { GcController } from "./mgcpacer.ts";
import type { Heap } from "./mheap.ts";
import type { OwnerTable } from "./owners.ts";
import type { G, Scheduler } from "./proc.ts";
import { COST_NS, ELEMSIZE_OF_KIND, KIND_DOUBLES, SCAN_ALLOC_BYTES } from "./records.ts";
import type { Goroutines } from "./runtime2.ts";
import { tinySize, tinySpanClass } from "./sizeclasses.ts";

/** A step that only allocates ends about here, so that Ps interleave and a stop of the world is noticed. */
const MAX_SLICE_NS = 20_000;
const MAX_SLICE_MARKING_NS = 5_000;

/** Credit of a goroutine that need not assist: more than it can use up, and small enough that bytes are told apart. */
const PLENTY_BYTES = 2 ** 50;

/**
 * Stack bytes that mallocgc's slow paths use beyond its fast path, on the allocating goroutine's stack (Go 1.26, amd64):
 * measured by the depths at which a stack doubles, with objects that always or never take the path.
 */
const REFILL_FRAMES_BYTES = 400;
const LARGE_FRAMES_BYTES = 276;

export interface RuntimeParts {
  readonly heap: Heap;
  readonly pacer: GcController;
  readonly gc: Gc;
  readonly goroutines: Goroutines;
  readonly sched: Scheduler;
  readonly kinds: KindTable;
  readonly owners: OwnerTable;
  readonly costs: RuntimeCosts;
  readonly tickNs: number;
  /** The machine's nodes, if it has several. */
  readonly numa?: NumaNodes | undefined;
}

export class GoRuntime {
  readonly heap: Heap;
  readonly pacer: GcController;
  readonly gc: Gc;
  readonly goroutines: Goroutines;
  readonly sched: Scheduler;
  readonly kinds: KindTable;
  readonly owners: OwnerTable;
  readonly costs: RuntimeCosts;
  readonly tickNs: number;
  /** CPU nanoseconds of the step under way. */
  sliceNs = 0;
  /** Stack bytes that slow paths of this step used beyond mallocgc's fast path. */
  slowFramesBytes = 0;
  /** The step must end: a cycle is due, the goroutine is in debt, or it has run long enough. */
  stop = false;

  /** A record of KIND_DOUBLES for each kind. */
  #ofKind = new Float64Array(0);
  /** Kinds that #ofKind knows. */
  #costed = 0;
  readonly #budget: RunBudget = {
    ofKind: new Float64Array(0),
    extraNs: 0,
    maxNs: 0,
    ns: 0,
    creditBytes: 0,
    minCreditBytes: 0,
    spent: false,
  };
  #maxSliceNs = MAX_SLICE_NS;
  /** Page faults accounted for. */
  #faults = 0;
  #largeFaultNs = 0;
  readonly #numa: NumaNodes | undefined;

  constructor(parts: RuntimeParts) {
    this.heap = parts.heap;
    this.pacer = parts.pacer;
    this.gc = parts.gc;
    this.goroutines = parts.goroutines;
    this.sched = parts.sched;
    this.kinds = parts.kinds;
    this.owners = parts.owners;
    this.costs = parts.costs;
    this.tickNs = parts.tickNs;
    this.#numa = parts.numa;
    this.gc.takeSweepNs = () => this.takeWorkNs();
    this.gc.forgetFaults = (faults) => {
      this.#faults += faults;
    };
  }

  /** To be called at the head of every step in which `g` allocates. */
  beginStep(g: G, p: number, nowNs: number): void {
    this.heap.currentP = p;
    this.sliceNs = 0;
    this.slowFramesBytes = 0;
    this.stop = false;
    this.#maxSliceNs = this.gc.marking ? MAX_SLICE_MARKING_NS : MAX_SLICE_NS;
    if (this.gc.marking) this.gc.advance(nowNs);
    if (g.owedKind >= 0) {
      this.#allocLarge(p, g.owedKind, g.owedDeath);
      g.owedKind = -1;
    }
  }

  /** Whether the step has run long enough, or must end for another reason. */
  isSliceOver(): boolean {
    return this.stop || this.sliceNs > this.#maxSliceNs;
  }

  /** The stack of goroutine `gid`, which runs on P `p`, holds `bytes` from now on: newstack as often as that takes, and its page faults. */
  growStack(p: number, gid: number, bytes: number): void {
    this.sliceNs += this.goroutines.growTo(p, gid, bytes) * this.costs.stackCopyNsPerByte + this.takeWorkNs();
  }

  /** The tick in which something that ends at `atNs` is dead. */
  deathTick(atNs: number): number {
    const tick = Math.ceil(atNs / this.tickNs);
    return tick < 0x7ffffffe ? tick | 0 : 0x7fffffff;
  }

  /** The owner ends: its objects are garbage. It was held by the stack of goroutine `gid`; -1: by memory. */
  endOwner(owner: number, nowNs: number, gid: number): void {
    if (gid >= 0 && this.gc.willScanStack(gid) && this.owners.beganBeforeMark(owner))
      this.owners.endUnreached(owner);
    else this.owners.end(owner, this.deathTick(nowNs));
  }

  /** mallocgc: one object of `kind` on P `p`, dying at tick `death` (or ~owner). */
  alloc(g: G, p: number, kind: number, death: number): void {
    const kinds = this.kinds;
    const { memProfile } = this.heap;
    if (kinds.largePages[kind] > 0) {
      this.#allocLargeAfterAssist(g, p, kind, death);
      return;
    }
    if (kinds.tiny[kind] !== 0) {
      if (!this.heap.allocTiny(p, kind, death)) {
        this.#refill(p, tinySpanClass);
        this.heap.allocTiny(p, kind, death);
      }
    } else if (!this.heap.allocOne(p, kind, death)) {
      this.#refill(p, kinds.spc[kind]);
      this.heap.allocOne(p, kind, death);
    }
    if (memProfile !== undefined && this.heap.lastIndex >= 0) memProfile.allocated(p, kind);
    if (this.gc.marking) {
      // An object that joins others in a tiny block is charged its own size, every other its element.
      g.gcAssistBytes -= this.heap.lastIndex < 0 ? kinds.size[kind] : kinds.elemsize[kind];
      if (g.gcAssistBytes < 0 && !this.sched.limiter.limiting) this.stop = true;
    }
    this.sliceNs += this.kindNs(kind);
    if (this.sliceNs > this.#maxSliceNs) this.stop = true;
  }

  /**
   * A goroutine in debt assists before it allocates. For small objects, of which many are made before the debt is paid anyhow,
   * the order makes no difference; a large one waits for the goroutine's next step, before which it assists.
   */
  #allocLargeAfterAssist(g: G, p: number, kind: number, death: number): void {
    if (this.gc.marking) {
      g.gcAssistBytes -= this.kinds.elemsize[kind];
      // What the runtime allocates for itself, on no goroutine (id -1), does not assist.
      if (g.gcAssistBytes < 0 && g.owedKind < 0 && g.id >= 0 && !this.sched.limiter.limiting) {
        g.owedKind = kind;
        g.owedDeath = death;
        this.stop = true;
        return;
      }
    }
    this.#allocLarge(p, kind, death);
  }

  #allocLarge(p: number, kind: number, death: number): void {
    const { trace } = this.heap;
    trace?.slowPathBegins("large object", this.sliceNs, {
      size_bytes: this.kinds.size[kind],
      class_bytes: 0,
      pages: this.kinds.largePages[kind],
      pointers: this.kinds.ptrBytes[kind] > 0,
    });
    const placed = this.kinds.filledBy(kind);
    this.heap.allocLarge(p, kind, death, placed === undefined);
    placed?.(this.heap.lastSpan);
    this.#writeRemote(p, this.heap.lastSpan, this.kinds.size[kind]);
    this.heap.memProfile?.allocated(p, kind);
    if (this.slowFramesBytes < LARGE_FRAMES_BYTES) this.slowFramesBytes = LARGE_FRAMES_BYTES;
    this.#afterSlowPath();
    trace?.slowPathEnds();
    this.sliceNs += this.kindNs(kind);
    if (this.sliceNs > this.#maxSliceNs) this.stop = true;
  }

  /**
   * Objects of `kinds[from]` to `kinds[end - 1]`, dying at `deaths[i]`; `extraNs` is what the program does beside for each.
   * Returns how many were made: fewer when the step must end first.
   */
  allocEach(
    g: G,
    p: number,
    kinds: Int32Array,
    deaths: Int32Array,
    from: number,
    end: number,
    extraNs: number,
  ): number {
    const { tiny } = this.kinds;
    const { memProfile } = this.heap;
    const { tinyAllocs } = this.heap.caches;
    const budget = this.#budget;
    const marking = this.gc.marking;
    budget.extraNs = extraNs;
    // While the CPU limiter is on nobody assists, whatever the debt.
    budget.minCreditBytes = this.sched.limiter.limiting ? -Infinity : 0;
    budget.maxNs = this.#maxSliceNs;
    budget.ofKind = this.#kindCosts();
    let i = from;
    while (i < end && !this.stop) {
      const isTiny = tiny[kinds[i]] !== 0;
      const alone = i + 1 === end || tiny[kinds[i + 1]] === 0;
      // A block of this run may be sampled, and only one by one is it known which; and one is no run.
      if (isTiny && (alone || memProfile?.hasRoom(p, (end - i) * tinySize) === false)) {
        this.alloc(g, p, kinds[i], deaths[i]);
        this.sliceNs += extraNs;
        i++;
        continue;
      }
      budget.ns = this.sliceNs;
      budget.creditBytes = marking ? g.gcAssistBytes : PLENTY_BYTES;
      if (isTiny) {
        const joined = tinyAllocs[p];
        const made = this.heap.allocTinyRun(p, kinds, deaths, i, end, budget);
        memProfile?.allocatedBytes(p, (made - (tinyAllocs[p] - joined)) * tinySize);
        i += made;
      } else {
        const before = budget.creditBytes;
        const made = this.heap.allocMixedRun(p, kinds, deaths, i, end, budget);
        if (memProfile !== undefined) {
          // Whole bytes; credit may have a fraction.
          const bytes = Math.round(before - budget.creditBytes);
          if (memProfile.hasRoom(p, bytes)) memProfile.allocatedBytes(p, bytes);
          else memProfile.allocatedEach(p, kinds, deaths, i, i + made);
        }
        i += made;
      }
      this.sliceNs = budget.ns;
      if (marking) g.gcAssistBytes = budget.creditBytes;
      if (budget.spent) this.stop = true;
      else if (i < end) {
        // At the end of a span the run goes on in the next one, unless a cycle is due: that begins after the next object.
        const spc = this.kinds.runClass[kinds[i]];
        if (spc !== 0 && this.heap.mustRefill(p, spc)) {
          this.#refill(p, spc);
          if (!this.stop) continue;
        }
        // A large object, or whatever else needs more than a slot.
        this.alloc(g, p, kinds[i], deaths[i]);
        this.sliceNs += extraNs;
        i++;
      }
    }
    return i - from;
  }

  /**
   * `n` small objects of one kind, dying at `deaths[from + i]`; `extraNs` is what the program does beside for each.
   * Returns how many were made: fewer than `n` when the step must end first.
   */
  allocRun(
    g: G,
    p: number,
    kind: number,
    n: number,
    deaths: Int32Array,
    from: number,
    extraNs: number,
  ): number {
    const elemsize = this.kinds.elemsize[kind];
    const perObjectNs = this.kindNs(kind) + extraNs;
    let want = Math.min(n, Math.ceil((this.#maxSliceNs - this.sliceNs) / perObjectNs));
    if (this.gc.marking && !this.sched.limiter.limiting) {
      want = Math.min(want, Math.floor(Math.max(0, g.gcAssistBytes) / elemsize) + 1);
    }
    let done = 0;
    while (done < want) {
      const got = this.heap.allocRun(p, kind, want - done, deaths, from + done);
      done += got;
      if (done === want) break;
      this.#refill(p, this.kinds.spc[kind]);
      if (this.stop) {
        done += this.heap.allocRun(p, kind, 1, deaths, from + done);
        break;
      }
    }
    this.heap.memProfile?.allocatedRun(p, kind, done, deaths, from);
    if (this.gc.marking) g.gcAssistBytes -= done * elemsize;
    this.sliceNs += done * perObjectNs;
    if (done < n) this.stop = true;
    return done;
  }

  #refill(p: number, spc: number): void {
    const { trace, layout } = this.heap;
    trace?.slowPathBegins("refill", this.sliceNs, {
      size_bytes: layout.npages[spc] * this.heap.pageSize,
      class_bytes: layout.elemsize[spc],
      pointers: (spc & 1) === 0,
    });
    this.heap.refill(p, spc);
    if (this.#numa !== undefined) {
      const s = this.heap.cachedSpan(p, spc);
      const { spans } = this.heap;
      this.#writeRemote(p, s, (spans.nelems[s] - spans.allocCount[s]) * spans.elemsizeOf(s));
    }
    this.slowFramesBytes = REFILL_FRAMES_BYTES;
    this.#afterSlowPath();
    trace?.slowPathEnds();
  }

  /** `bytes` of span `s` are going to be written by P `p`; where they are on another node, that takes longer. */
  #writeRemote(p: number, s: number, bytes: number): void {
    if (this.#numa === undefined) return;
    const { base, npages } = this.heap.spans;
    const start = base[s] * this.heap.pageSize;
    this.sliceNs += this.#numa.writeNs(p, start, start + npages[s] * this.heap.pageSize, bytes);
  }

  #afterSlowPath(): void {
    const { spansSwept } = this.heap.work;
    this.sliceNs += this.takeWorkNs();
    if (!this.gc.running && this.gc.heapAtTrigger()) {
      this.gc.want("heap", spansSwept);
      this.stop = true;
    }
  }

  /** CPU time of the heap work and the page faults since the last call: refills, sweeping, zeroing; stacks and metadata, too. */
  takeWorkNs(): number {
    const work = this.heap.work;
    const faults = this.heap.os?.faults ?? 0;
    const newFaults = faults - this.#faults;
    this.#faults = faults;
    const largeFaultNs = this.heap.os?.largeFaultNs ?? 0;
    const newLargeFaultNs = largeFaultNs - this.#largeFaultNs;
    this.#largeFaultNs = largeFaultNs;
    const c = this.costs;
    const ns =
      work.refills * c.refillNs +
      work.spansAllocated * c.spanAllocNs +
      work.largeAllocs * c.largeNs +
      work.spansSwept * c.sweepSpanNs +
      newFaults * c.faultNs +
      work.scavengeNs +
      work.bytesZeroed * c.zeroNsPerByte +
      newLargeFaultNs +
      (this.#numa?.takeClearNs() ?? 0);
    this.heap.trace?.work(work, newFaults, ns);
    work.reset();
    return ns;
  }

  /** CPU nanoseconds of making and writing one object of `kind`, its slow paths apart. */
  kindNs(kind: number): number {
    return this.#kindCosts()[kind * KIND_DOUBLES + COST_NS];
  }

  /** The records of all kinds there are. */
  #kindCosts(): Float64Array {
    const { count } = this.kinds;
    if (count * KIND_DOUBLES > this.#ofKind.length)
      this.#ofKind = grownFloat64(this.#ofKind, count * KIND_DOUBLES * 2);
    for (; this.#costed < count; this.#costed++) {
      const record = this.#costed * KIND_DOUBLES;
      this.#ofKind[record + COST_NS] = this.#mallocNs(this.#costed);
      this.#ofKind[record + ELEMSIZE_OF_KIND] = this.kinds.elemsize[this.#costed];
      this.#ofKind[record + SCAN_ALLOC_BYTES] = this.kinds.scanAllocBytes[this.#costed];
    }
    return this.#ofKind;
  }

  #mallocNs(kind: number): number {
    const { kinds, costs } = this;
    const size = kinds.size[kind];
    const write =
      (kinds.ptrBytes[kind] / 8) * costs.initPointerWordNs + Math.ceil(size / 4096) * costs.initPageNs;
    if (kinds.tiny[kind] !== 0) return costs.tinyNs + write;
    if (kinds.largePages[kind] > 0) return kinds.filledBy(kind) === undefined ? write : 0;
    const curve = kinds.ptrBytes[kind] > 0 ? costs.mallocScanNs : costs.mallocNoscanNs;
    return curveAt(curve, kinds.elemsize[kind]) + write;
  }
}
