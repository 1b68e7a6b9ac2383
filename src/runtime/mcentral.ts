/**
 * mcentral: the spans of one span class that no mcache holds.
 *
 * Models mcentral.go of Go 1.26; the order of search and its budget are the same in every release from 1.19.
 * Two pairs of queues, spans with a free slot ("partial") and without ("full"), swept and unswept; the two roles
 * swap when sweepgen advances.
 */

import { sweepSpan, tryAcquire } from "./mgcsweep.ts";
import type { Heap } from "./mheap.ts";
import { SpanSet, type SpanSetBlockPool } from "./mspanset.ts";
import { ALLOC_COUNT, SPC, SWEEPGEN } from "./records.ts";

/** Unswept spans one refill looks at, less one: the counter is tested before it is decremented. */
const spanBudgetStart = 100;

export class Mcentral {
  readonly #partial: [SpanSet, SpanSet];
  readonly #full: [SpanSet, SpanSet];

  constructor(pool: SpanSetBlockPool) {
    this.#partial = [new SpanSet(pool), new SpanSet(pool)];
    this.#full = [new SpanSet(pool), new SpanSet(pool)];
  }

  partialUnswept(sweepgen: number): SpanSet {
    return this.#partial[1 - ((sweepgen >>> 1) & 1)];
  }

  partialSwept(sweepgen: number): SpanSet {
    return this.#partial[(sweepgen >>> 1) & 1];
  }

  fullUnswept(sweepgen: number): SpanSet {
    return this.#full[1 - ((sweepgen >>> 1) & 1)];
  }

  fullSwept(sweepgen: number): SpanSet {
    return this.#full[(sweepgen >>> 1) & 1];
  }
}

/** A span of the class with a free slot, for an mcache: from the lists, swept on the way, or new. */
export function cacheSpan(h: Heap, spc: number, p: number): number {
  h.deductSweepCredit(h.layout.npages[spc] * h.pageSize, 0, p);
  const c = h.central[spc];
  const sg = h.sweepgen;
  let s = c.partialSwept(sg).pop();
  if (s >= 0) return s;
  if (!h.sweepDrained) {
    let budget = spanBudgetStart;
    const partial = c.partialUnswept(sg);
    for (; budget >= 0; budget--) {
      s = partial.pop();
      if (s < 0) break;
      if (tryAcquire(h, s)) {
        sweepSpan(h, s, true, p);
        return s;
      }
    }
    const full = c.fullUnswept(sg);
    for (; budget >= 0; budget--) {
      s = full.pop();
      if (s < 0) break;
      if (tryAcquire(h, s)) {
        sweepSpan(h, s, true, p);
        if (h.spans.allocCount[s] < h.layout.nelems[spc]) return s;
        c.fullSwept(sg).push(s);
      }
    }
  }
  return growCentral(h, spc, p);
}

/** mcentral.grow: a new span from the page heap, its mark and pointer bits written. */
function growCentral(h: Heap, spc: number, p: number): number {
  const s = h.alloc(h.layout.npages[spc], spc, p);
  const reserve = h.layout.reserve[spc];
  if (reserve > 0) {
    const end = (h.spans.base[s] + h.spans.npages[s]) * h.pageSize;
    h.touch(end - reserve, end);
  }
  return s;
}

/** An mcache gives a span back: sweeps it if it was cached before the last mark, else lists it. */
export function uncacheSpan(h: Heap, s: number, p: number): void {
  const { words } = h.spans;
  if (words[s + ALLOC_COUNT] === 0) throw new Error(`uncaching span ${s} with no objects`);
  const sg = h.sweepgen;
  if (words[s + SWEEPGEN] === sg + 1) {
    words[s + SWEEPGEN] = sg - 1;
    sweepSpan(h, s, false, p);
    return;
  }
  words[s + SWEEPGEN] = sg;
  const spc = words[s + SPC];
  const c = h.central[spc];
  if (words[s + ALLOC_COUNT] < h.layout.nelems[spc]) c.partialSwept(sg).push(s);
  else c.fullSwept(sg).push(s);
}
