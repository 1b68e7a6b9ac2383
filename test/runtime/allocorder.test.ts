import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { forever } from "../../src/runtime/owners.ts";
import { collect, rig, sweepAll } from "./heapharness.ts";

/** Recorded from the running Go, see test/golden/extract/allocorder.go.txt. */
interface Golden {
  readonly size: number;
  readonly rounds: number;
  readonly per_round: number;
  readonly seed: number;
  /** Span (numbered as first seen), slot, and the rise of heapLive since the allocation before. */
  readonly allocations: readonly (readonly [number, number, number])[];
}
const golden = JSON.parse(
  readFileSync(new URL("../golden/allocorder-1.26.json", import.meta.url), "utf8"),
) as Golden;

/** The Go program's generator. */
function lcg(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state;
  };
}

test("five rounds of allocation, drops and GC: every slot and every step of heapLive as in the running Go", () => {
  const r = rig("1.26");
  const { heap, ledger, kinds } = r;
  const kind = kinds.add(0, golden.size, 0);
  const next = lcg(golden.seed);
  const spanIds = new Map<number, number>();
  const kept: ({ span: number; index: number } | undefined)[] = [];
  const is: [number, number, number][] = [];
  let tick = 1;
  for (let round = 0; round < golden.rounds; round++) {
    let last = ledger.heapLive;
    for (let i = 0; i < golden.per_round; i++) {
      if (!heap.allocOne(0, kind, forever)) {
        heap.refill(0, kinds.spc[kind]);
        heap.allocOne(0, kind, forever);
      }
      const { lastSpan: span, lastIndex: index } = heap;
      const base = heap.spans.base[span];
      if (!spanIds.has(base)) spanIds.set(base, spanIds.size);
      is.push([spanIds.get(base) as number, index, ledger.heapLive - last]);
      last = ledger.heapLive;
      kept.push({ span, index });
    }
    for (let i = 0; i < kept.length; i++) {
      const coin = (next() >>> 16) & 1;
      const o = kept[i];
      if (o === undefined || coin !== 0 || o.index === 0) continue;
      heap.kill(o.span, o.index, tick);
      kept[i] = undefined;
    }
    collect(r, ++tick);
    sweepAll(r);
    heap.checkInvariants();
  }
  expect(is).toEqual(golden.allocations);
});
