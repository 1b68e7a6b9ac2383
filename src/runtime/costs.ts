/**
 * What actions cost in CPU nanoseconds: the plain-number form of a machine profile that the runtime model reads.
 *
 * The runtime's source says what happens, never how long it takes; these numbers are measured on a machine
 * (see the machine profile) and are the only place where time enters the model.
 */

/** A cost that depends on how much memory is walked: points [x, y], linear in log2 x, flat outside. */
export type CostCurve = readonly (readonly [number, number])[];

/** Curves of objects are against the bytes of spans walked. */
export interface MarkCosts {
  /**
   * Marking one object: up to 512 bytes (mark bits in its span) or bigger, without pointers or with (queued and visited too; its
   * pointers and other bytes apart).
   */
  readonly noscanObjectNs: CostCurve;
  readonly scanObjectNs: CostCurve;
  readonly noscanBigObjectNs: CostCurve;
  readonly scanBigObjectNs: CostCurve;
  /** Per span marked in part, beyond its objects' costs, against the marked share of its slots. */
  readonly sparseNoscanSpanNs: CostCurve;
  readonly sparseScanSpanNs: CostCurve;
}

/** Giving memory back to the OS: per OS page, and per call, by whether another CPU runs the process. */
export interface ScavengeCosts {
  readonly pageNs: number;
  readonly callNs: number;
  readonly busyCallNs: number;
}

export interface RuntimeCosts {
  /** mcache.refill from a swept span; a span from the page heap costs `spanAllocNs` more. */
  readonly refillNs: number;
  readonly spanAllocNs: number;
  readonly largeNs: number;
  readonly tinyNs: number;
  readonly zeroNsPerByte: number;
  readonly faultNs: number;
  readonly scavenge: ScavengeCosts;
  readonly sweepSpanNs: number;
  readonly mallocNoscanNs: CostCurve;
  readonly mallocScanNs: CostCurve;
  /** Marking objects found in no order, as in tables whose entries were replaced often, and in address order. */
  readonly markRandom: MarkCosts;
  readonly markOrdered: MarkCosts;
  /** Per span of such objects in address order of which each is followed by one of another class: without pointers, and with. */
  readonly interleavedNoscanSpanNs: CostCurve;
  readonly interleavedScanSpanNs: CostCurve;
  /** A non-nil pointer met while scanning: the look-up of what it leads to in its span, marking it apart. */
  readonly pointerNs: CostCurve;
  /**
   * An object's pointers to itself beyond the first, against the bytes that its pointers take: of the lines they lie in the first few miss
   * the caches, the others are fetched ahead.
   */
  readonly ownPointersNs: CostCurve;
  /** A pointer to a large object, whose mark bits are elsewhere. */
  readonly largePointerNs: number;
  /** Scanning, per byte of scan work that holds no pointer. */
  readonly scanNsPerByte: CostCurve;
  readonly stackScanNsPerByte: number;
  readonly markGoroutineNs: number;
  readonly globalsScanNsPerByte: number;
  /** Fixed CPU of a cycle's concurrent phase. */
  readonly cycleNs: number;
  /** Of it, what is part of scanning the roots; the rest is that of workers which start, and look for work when none is left. */
  readonly cycleRootsNs: number;
  readonly goroutineStartNs: number;
  readonly goroutineSwitchNs: number;
  readonly stackCopyNsPerByte: number;
  /** The program's own writing of a new object: per pointer word, and per OS page. */
  readonly initPointerWordNs: number;
  readonly initPageNs: number;
}

/** Linear interpolation in log2 x on a cost curve, flat outside. */
export function curveAt(curve: CostCurve, x: number): number {
  if (x <= curve[0][0]) return curve[0][1];
  for (let i = 1; i < curve.length; i++) {
    if (x > curve[i][0]) continue;
    const [x0, y0] = curve[i - 1];
    const [x1, y1] = curve[i];
    // log2 by its linear approximation between powers of two: deterministic everywhere, and exact at them.
    const position = (log2Linear(x) - log2Linear(x0)) / (log2Linear(x1) - log2Linear(x0));
    return y0 + (y1 - y0) * position;
  }
  return curve[curve.length - 1][1];
}

function log2Linear(x: number): number {
  let exponent = 0;
  let mantissa = x;
  while (mantissa >= 2) {
    mantissa /= 2;
    exponent++;
  }
  while (mantissa < 1) {
    mantissa *= 2;
    exponent--;
  }
  return exponent + mantissa - 1;
}
