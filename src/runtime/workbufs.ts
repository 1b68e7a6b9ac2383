/**
 * Work buffers: the page-heap spans that a mark keeps its queues in.
 *
 * Follows getempty, prepareFreeWorkbufs and freeSomeWbufs of mgcwork.go (Go 1.26; the same from 1.19). Buffers of 2 KiB are cut
 * from spans of 32 KiB, which are written from end to end as they are cut. Whoever finds no empty buffer takes a span, and two Ps
 * that begin to mark at once take one each. At a cycle's end the spans wait for the next one, unless the background sweeper gives
 * them back first: it does so once nothing is left to sweep. They are in GCSys, not in the heap, and every cycle may touch new pages.
 *
 * Simplifies: a P holds two buffers from its first mark in a cycle to the cycle's end. That is what it needs while few objects
 * go through buffers: those over 512 bytes, the others have queues of spans. Longer queues, buffers for stack scans and what a P
 * disposes of between barriers are not modelled. What cutting a span costs is part of a cycle's fixed cost (`cycle_roots_ns`).
 * Where it stops being true: before Go 1.26 every marked object goes through buffers, and there are more of them.
 */
import type { Heap } from "./mheap.ts";
import { pageSize } from "./sizeclasses.ts";

/** workbufAlloc, _WorkbufSize, and the buffers a gcWork holds. */
const SPAN_PAGES = 4;
const BUFFER_BYTES = 2048;
const BUFFERS_PER_SPAN = (SPAN_PAGES * pageSize) / BUFFER_BYTES;
const BUFFERS_PER_P = 2;

export class WorkBufs {
  readonly #heap: Heap;
  /** What it takes to cut a span whose pages have not been touched: so long nobody else finds buffers of it. */
  readonly #cutNs: number;
  #busy: number[] = [];
  #free: number[] = [];
  #empty = 0;
  #cutUntilNs = -Infinity;
  /** By P, whether it holds buffers of this cycle. */
  #holds: boolean[] = [];

  constructor(heap: Heap, faultNs: number) {
    this.#heap = heap;
    this.#cutNs = ((SPAN_PAGES * pageSize) / heap.physPageSize) * faultNs;
  }

  /** P marks for the first time in this cycle, or again. Returns the page faults of a span it cuts for that. */
  hold(p: number, nowNs: number): number {
    if (this.#holds[p]) return 0;
    this.#holds[p] = true;
    const cuts = this.#empty < BUFFERS_PER_P || nowNs < this.#cutUntilNs;
    const faults = cuts ? this.#cut(p, nowNs) : 0;
    this.#empty -= BUFFERS_PER_P;
    return faults;
  }

  #cut(p: number, nowNs: number): number {
    const heap = this.#heap;
    const span = this.#free.pop() ?? heap.allocManual(SPAN_PAGES, "workbuf", p);
    const start = heap.spans.base[span] * pageSize;
    const before = heap.os?.faults ?? 0;
    heap.touch(start, start + SPAN_PAGES * pageSize);
    this.#busy.push(span);
    this.#empty += BUFFERS_PER_SPAN;
    this.#cutUntilNs = nowNs + this.#cutNs;
    return (heap.os?.faults ?? 0) - before;
  }

  /** prepareFreeWorkbufs, at mark termination. */
  cycleEnds(): void {
    this.#free.push(...this.#busy);
    this.#busy = [];
    this.#empty = 0;
    this.#holds = [];
  }

  /** freeSomeWbufs, by the background sweeper when all is swept. */
  freeSome(p: number): void {
    for (const span of this.#free) this.#heap.freeManual(span, "workbuf", p);
    this.#free = [];
  }
}
