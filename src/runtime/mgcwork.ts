/**
 * The order in which a mark's work is done, and the units it comes in.
 *
 * Models mgcwork.go, and the loops of mgcmark.go (gcDrain, gcDrainN), of Go 1.26 as far as time depends on them. Roots go
 * first. They lead to the objects in work buffers: those with pointers and too big for mark bits in their span (over 512
 * bytes). The tables through which a program reaches most of its objects are among them, and come first. Only when no such
 * object is left are the spans of small objects scanned (the Green Tea queue). What is found while scanning is marked at
 * once, so a byte of a table, each pointer of which leads to an object not seen before, costs many times what a byte of
 * another object does: assists early in a mark take longest for the same work.
 *
 * An object is scanned whole (up to an oblet), whoever scans it: an assist that owes less does the rest too, a worker's
 * credit arrives only when it is done, and only then does a worker look at what else there is to do. `lump` is the size of such a unit; it
 * is what a byte of the phase's work is part of on average. Tables are fewer and larger: how many of them an assist takes is worked out from their sizes.
 *
 * Of what a cycle costs however little there is to mark, a part belongs to the roots. The rest comes last: it is the time of workers that
 * start, and look for work when none is left. No assist has part in it: one that finds no work
 * ends the mark if it is alone at it, and else parks. Between the roots and the tables workers may have to wait for goroutines that run.
 *
 * Simplified: Go looks in a P's own buffer, then in its own queue of spans, then in those of others, and an assist takes roots
 * last; here the phases follow one another. A phase is over for all Ps at once (buffers are stacks: what a table has led to is really scanned before the
 * next table of the same buffer); within a phase all units are alike: the first tables, whose pointers are the first into their spans, really take up to
 * three times as long as the last, on one P or on both. Before 1.26, without span queues, all objects are in work
 * buffers; the order is the same here.
 */
import { type CostCurve, curveAt, type MarkCosts, type RuntimeCosts } from "./costs.ts";
import {
  BIG_NOSCAN,
  BIG_SCAN,
  type MarkTotals,
  SHARE_STEPS,
  SMALL_NOSCAN,
  SMALL_SCAN,
  TABLE_STEP_BYTES,
} from "./mgcmark.ts";

/** rootBlockBytes: globals are scanned in jobs of this size. */
const ROOT_BLOCK_BYTES = 256 << 10;

const ROOTS = 0;
/** Waiting for goroutines that run, whose stacks are among the roots: no work. */
const SUSPEND = 1;
const TABLES = 2;
const BIG = 3;
const SPANS = 4;
const LOOK = 5;
const PHASES = 6;

/** How far it is worked out what an assist takes of the tables: twice gcOverAssistWork, the least that one owes. */
const WORKED_OUT_STEPS = (128 << 10) / TABLE_STEP_BYTES;

export interface RootWork {
  readonly globalsBytes: number;
  readonly stackBytes: number;
  readonly stacks: number;
}

/** What spans marked in part cost beyond their objects. */
function sparseNs(shares: Float64Array, perSpanNs: CostCurve): number {
  let ns = 0;
  for (let i = 1; i <= SHARE_STEPS; i++)
    if (shares[i] > 0) ns += shares[i] * curveAt(perSpanNs, i / SHARE_STEPS);
  return ns;
}

/** What visiting the objects of spans marked in part costs beyond finding them. */
function sparseVisitNs(shares: Float64Array, costs: MarkCosts): number {
  let ns = 0;
  for (let i = 1; i <= SHARE_STEPS; i++) {
    if (shares[i] === 0) continue;
    const share = i / SHARE_STEPS;
    const findNs = curveAt(costs.sparseNoscanSpanNs, share);
    ns += shares[i] * Math.max(0, curveAt(costs.sparseScanSpanNs, share) - findNs);
  }
  return ns;
}

/** Finding an object is marking it; if it has pointers, it is visited later: what its curve is above those without. */
function splitCosts(
  costs: MarkCosts,
  walked: number,
): { findNs: number; findBigNs: number; visitNs: number; visitBigNs: number } {
  const findNs = curveAt(costs.noscanObjectNs, walked);
  const findBigNs = curveAt(costs.noscanBigObjectNs, walked);
  return {
    findNs,
    findBigNs,
    visitNs: Math.max(0, curveAt(costs.scanObjectNs, walked) - findNs),
    visitBigNs: Math.max(0, curveAt(costs.scanBigObjectNs, walked) - findBigNs),
  };
}

/** A line fetched that neither an object's first pointers bring along nor any stream of reads: what its second two lines of pointers cost. */
const missNs = (costs: RuntimeCosts): number =>
  Math.max(0, curveAt(costs.ownPointersNs, 128) - curveAt(costs.ownPointersNs, 64));

/** All work of one mark. Progress through it is counted in CPU nanoseconds, of all workers and assists together. */
export class MarkWork {
  totalNs = 0;
  /** Of it, until nothing is left to scan. */
  scanNs = 0;
  /** Scan work of the heap: what heapScanWork will reach. */
  heapWork = 0;
  readonly #ns = new Float64Array(PHASES);
  readonly #work = new Float64Array(PHASES);
  readonly #lump = new Float64Array(PHASES);
  /** Of the roots, the stacks, which come last. */
  #stacksNs = 0;
  /** To be marked. */
  #objects = 0;
  /** Steps of work in the tables taken, on average, by who owes so many steps. */
  readonly #tableSteps = new Float64Array(WORKED_OUT_STEPS + 1);
  /** Result of `take`. */
  takenNs = 0;
  takenWork = 0;

  /** `slowdown`: by what marking objects takes longer than it would on one node. */
  plan(totals: MarkTotals, roots: RootWork, costs: RuntimeCosts, slowdown = 1): void {
    const walked = totals.spanBytes;
    const { objects } = totals;
    this.#objects = objects;
    const random = splitCosts(costs.markRandom, walked);
    const ordered = splitCosts(costs.markOrdered, walked);
    let findNs = 0;
    let visitSmallNs = 0;
    let visitBigNs = 0;
    for (const [share, split] of [
      [totals.sortObjects.map((n, i) => n - totals.sortOrdered[i]), random],
      [totals.sortOrdered, ordered],
    ] as const) {
      findNs +=
        (share[SMALL_NOSCAN] + share[SMALL_SCAN]) * split.findNs +
        (share[BIG_NOSCAN] + share[BIG_SCAN]) * split.findBigNs;
      visitSmallNs += share[SMALL_SCAN] * split.visitNs;
      visitBigNs += share[BIG_SCAN] * split.visitBigNs;
    }
    // So it is for spans: to find the first objects in one costs the same whether they have pointers or not.
    const { markRandom, markOrdered } = costs;
    findNs +=
      sparseNs(totals.noscanShares, markRandom.sparseNoscanSpanNs) +
      sparseNs(totals.scanShares, markRandom.sparseNoscanSpanNs) +
      sparseNs(totals.orderedNoscanShares, markOrdered.sparseNoscanSpanNs) +
      sparseNs(totals.orderedScanShares, markOrdered.sparseNoscanSpanNs);
    visitSmallNs +=
      sparseVisitNs(totals.scanShares, markRandom) + sparseVisitNs(totals.orderedScanShares, markOrdered);
    const interleavedNs = curveAt(costs.interleavedNoscanSpanNs, walked);
    findNs += (totals.interleavedNoscanSpans + totals.interleavedScanSpans) * interleavedNs;
    visitSmallNs +=
      totals.interleavedScanSpans * Math.max(0, curveAt(costs.interleavedScanSpanNs, walked) - interleavedNs);
    // Every object is found through a pointer, wherever that one is.
    const pointerNs = curveAt(costs.pointerNs, walked);
    findNs += objects * pointerNs;
    // Scanning its bytes: those without pointers, which count in spans, nil ones behind objects, and pointers to objects marked already.
    const byteNs = curveAt(costs.scanNsPerByte, walked);
    const plainBytes = Math.max(0, totals.scanBytes - totals.bigScanBytes - totals.smallPointerBytes);
    const tailsNs = totals.tailBytes * byteNs + totals.farTails * missNs(costs);
    let smallPointersNs = totals.pointers * pointerNs;
    let bigPointersNs = totals.largePointers * costs.largePointerNs;
    for (const [bytes, n] of totals.ownSmall) smallPointersNs += n * curveAt(costs.ownPointersNs, bytes);
    for (const [bytes, n] of totals.ownBig) bigPointersNs += n * curveAt(costs.ownPointersNs, bytes);

    // Small tables lie in spans; what they do not hold is found through big ones, if there are any.
    const bySmall = totals.smallTableBytes / 8;
    const byBig = Math.min(Math.max(0, objects - bySmall), totals.bigTableBytes / 8);
    const foundInTables = objects > 0 ? byBig / objects : 0;

    const { bigScanBytes, bigTableBytes } = totals;
    const bigOtherBytes = Math.max(0, bigScanBytes - bigTableBytes);

    this.#work[ROOTS] = roots.globalsBytes + roots.stackBytes;
    this.#stacksNs = roots.stackBytes * costs.stackScanNsPerByte + roots.stacks * costs.markGoroutineNs;
    this.#ns[ROOTS] = costs.cycleRootsNs + roots.globalsBytes * costs.globalsScanNsPerByte + this.#stacksNs;
    this.#lump[ROOTS] = Math.min(roots.globalsBytes, ROOT_BLOCK_BYTES);
    this.#work[TABLES] = bigScanBytes - bigOtherBytes;
    this.#ns[TABLES] = findNs * foundInTables;
    this.#lump[TABLES] = bigTableBytes > 0 ? totals.bigTableSquares / bigTableBytes : 0;
    this.#work[BIG] = bigOtherBytes;
    this.#ns[BIG] = visitBigNs + bigPointersNs + tailsNs;
    this.#lump[BIG] = bigOtherBytes > 0 ? totals.bigOtherSquares / bigOtherBytes : 0;
    this.#work[SPANS] = totals.scanBytes - bigScanBytes;
    this.#ns[SPANS] = findNs * (1 - foundInTables) + visitSmallNs + smallPointersNs + plainBytes * byteNs;
    this.#lump[SPANS] = 0;
    // A phase without time cannot have work that takes any.
    for (let i = 0; i < LOOK; i++) this.#ns[i] = Math.max(1, this.#ns[i] * (i === ROOTS ? 1 : slowdown));
    this.#ns[SUSPEND] = 0;
    this.scanNs = this.#ns[ROOTS] + this.#ns[TABLES] + this.#ns[BIG] + this.#ns[SPANS];
    this.#ns[LOOK] = costs.cycleNs - costs.cycleRootsNs;
    this.totalNs = this.scanNs + this.#ns[LOOK];
    this.heapWork = totals.scanBytes;
    if (bigTableBytes > 0) this.#planTables(totals.tableUnits);
  }

  /**
   * Tables are taken whole, one after another, in no order of size: whoever owes n steps takes one of s steps with the probability p(s)
   * of its size, and then owes n - s. So E(n) = sum of p(s) (s + E(n - s)), and E(n) = 0 for n <= 0.
   */
  #planTables(units: Float64Array): void {
    const sizes: number[] = [];
    let count = 0;
    for (let s = 1; s < units.length; s++) {
      if (units[s] === 0) continue;
      sizes.push(s);
      count += units[s];
    }
    const expected = this.#tableSteps;
    for (let n = 1; n < expected.length; n++) {
      let sum = 0;
      for (const s of sizes) sum += units[s] * (s + (n > s ? expected[n - s] : 0));
      expected[n] = sum / count;
    }
  }

  inRoots(doneNs: number): boolean {
    return doneNs < this.#ns[ROOTS];
  }

  /** Share of the stacks that are scanned. */
  stacksScanned(doneNs: number): number {
    const left = this.#ns[ROOTS] - doneNs;
    return left > 0 ? Math.max(0, 1 - left / this.#stacksNs) : 1;
  }

  /** `n` of the objects need not be marked. Their share of what there is to do behind the roots goes: none, if they are more than were counted. */
  drop(n: number): void {
    const keep = n < this.#objects ? 1 - n / this.#objects : 0;
    for (const phase of [TABLES, BIG, SPANS]) {
      const ns = this.#ns[phase] * (1 - keep);
      this.#ns[phase] -= ns;
      this.#work[phase] *= keep;
      this.scanNs -= ns;
      this.totalNs -= ns;
    }
    this.heapWork = this.#work[TABLES] + this.#work[BIG] + this.#work[SPANS];
    this.#objects = Math.max(0, this.#objects - n);
  }

  /** The last of the roots are waited for so long. */
  prolongRoots(ns: number): void {
    this.#ns[SUSPEND] += ns;
    this.scanNs += ns;
    this.totalNs += ns;
  }

  /** Work in whole units of a phase that come to `need` at least. */
  #wholeUnits(phase: number, need: number): number {
    const lump = this.#lump[phase];
    if (lump === 0) return need;
    if (phase !== TABLES) return Math.ceil(need / lump) * lump;
    const steps = Math.ceil(need / TABLE_STEP_BYTES);
    // Far from the start what is taken beyond the need is half a unit, of those that a byte is part of.
    return steps > WORKED_OUT_STEPS ? need + lump / 2 : this.#tableSteps[steps] * TABLE_STEP_BYTES;
  }

  #phaseAt(doneNs: number): number {
    let end = 0;
    for (let phase = ROOTS; phase < LOOK; phase++) {
      end += this.#ns[phase];
      if (doneNs < end) return phase;
    }
    return LOOK;
  }

  /** Scan work done when `doneNs` of the CPU time are spent. */
  workAt(doneNs: number): number {
    let work = 0;
    let left = doneNs;
    for (let i = 0; i < PHASES; i++) {
      if (left < this.#ns[i]) return work + (left / this.#ns[i]) * this.#work[i];
      left -= this.#ns[i];
      work += this.#work[i];
    }
    return work;
  }

  /** Bytes of work in the unit that is scanned at `doneNs`; 0 where units are too small to matter. */
  lumpAt(doneNs: number): number {
    return this.#lump[this.#phaseAt(doneNs)];
  }

  /** CPU time of `work` bytes of work at the pace of `doneNs`. */
  nsFor(work: number, doneNs: number): number {
    const phase = this.#phaseAt(doneNs);
    return this.#work[phase] > 0 ? (work / this.#work[phase]) * this.#ns[phase] : this.#ns[phase];
  }

  /** CPU time between two looks of a worker at what else there is to do, which comes once per `work`: in whole units. */
  checkNs(work: number, doneNs: number): number {
    return this.nsFor(this.#wholeUnits(this.#phaseAt(doneNs), work), doneNs);
  }

  /**
   * When a worker that begins at `doneNs` first looks at what else there is to do, of the looks `afterNs` of its CPU time or more later: it does after
   * every job of the roots, and then once per `work`. As if no other worked.
   */
  firstCheckNs(work: number, doneNs: number, afterNs: number): number {
    let ns = Math.max(0, this.#ns[ROOTS] - doneNs);
    if (afterNs <= ns) return afterNs;
    while (ns < afterNs && this.#phaseAt(doneNs + ns) < LOOK) ns += this.checkNs(work, doneNs + ns);
    return Math.max(ns, afterNs);
  }

  /**
   * gcDrainN: whole units of work from `doneNs` on until they are at least `work`, or nothing is left. Sets `takenNs`
   * and `takenWork`.
   */
  take(doneNs: number, work: number): void {
    let before = doneNs;
    let need = work;
    this.takenNs = 0;
    this.takenWork = 0;
    for (let i = 0; i < LOOK && need > 0; i++) {
      const ns = this.#ns[i] - before;
      before = Math.max(0, before - this.#ns[i]);
      if (ns <= 0) continue;
      const left = (ns / this.#ns[i]) * this.#work[i];
      const taken = Math.min(this.#wholeUnits(i, need), left);
      this.takenNs += left > 0 ? ns * (taken / left) : ns;
      this.takenWork += taken;
      need -= taken;
    }
  }
}
