/** A heap with real pages and, if wanted, real memory, but a pacer that only adds up heapLive. */
import { KindTable } from "../../src/runtime/kinds.ts";
import { Heap, type HeapOptions } from "../../src/runtime/mheap.ts";
import { PageAlloc } from "../../src/runtime/mpagealloc.ts";
import { rulesFor, type Version } from "../../src/runtime/version.ts";

export class Ledger {
  heapLive = 0;
  heapScan = 0;
  update(dHeapLive: number, dHeapScan: number): void {
    this.heapLive += dHeapLive;
    this.heapScan += dHeapScan;
  }
}

export interface Rig {
  readonly heap: Heap;
  readonly kinds: KindTable;
  readonly ledger: Ledger;
}

export function rig(version: Version = "1.26", more: Partial<HeapOptions> = {}): Rig {
  const rules = rulesFor(version);
  const kinds = new KindTable(rules);
  const ledger = new Ledger();
  const heap = new Heap({ rules, kinds, pages: new PageAlloc(), accounting: ledger, procs: 1, ...more });
  return { heap, kinds, ledger };
}

/** Allocates n objects of a kind on P with one death, refilling as a goroutine would. */
export function allocMany(r: Rig, p: number, kind: number, n: number, death: number): void {
  const { heap, kinds } = r;
  const deaths = new Int32Array(n).fill(death);
  if (kinds.largePages[kind] > 0) {
    for (let i = 0; i < n; i++) heap.allocLarge(p, kind, death);
  } else if (kinds.tiny[kind] !== 0) {
    for (let i = 0; i < n; i++) {
      if (heap.allocTiny(p, kind, death)) continue;
      heap.refill(p, 5);
      if (!heap.allocTiny(p, kind, death)) throw new Error("no room after a refill");
    }
  } else {
    let done = 0;
    while (done < n) {
      done += heap.allocRun(p, kind, n - done, deaths, done);
      if (done === n) break;
      heap.refill(p, kinds.spc[kind]);
      const more = heap.allocRun(p, kind, n - done, deaths, done);
      if (more === 0) throw new Error("no room after a refill");
      done += more;
    }
  }
}

/** Mark termination as the collector does it. */
export function finishCycle(r: Rig, trigger = 2 ** 40): void {
  r.ledger.heapLive = r.heap.finishMark();
  r.heap.commitCycle(trigger);
  for (let p = 0; p < r.heap.procs; p++) r.heap.prepareForSweep(p);
}

/** A whole cycle in no time. */
export function collect(r: Rig, tick: number, trigger?: number): void {
  r.heap.startMark(tick);
  finishCycle(r, trigger);
}

export function sweepAll(r: Rig): void {
  while (r.heap.sweepone() >= 0);
}
