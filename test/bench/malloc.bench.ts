/**
 * Allocation speed of the heap model, its mark passes included: objects with exponential lifetimes, a collection
 * each time heapLive has doubled. One iteration is 2^18 allocations into a heap in steady state.
 *
 * The product requirement is 15 M allocations/s on one core for 64-byte objects with a million live.
 */
import { bench, describe } from "vitest";
import { collect, type Rig, rig } from "../runtime/heapharness.ts";

const perIteration = 2 ** 18;
const batch = 256;

/** Lifetimes in allocations, exponential: a table drawn once, with a generator of its own. */
function lifetimes(mean: number): Int32Array {
  const table = new Int32Array(2 ** 18);
  let state = 12345;
  for (let i = 0; i < table.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    table[i] = Math.ceil(-Math.log((state + 1) / 2 ** 32) * mean);
  }
  return table;
}

class Steady {
  readonly #rig: Rig = rig();
  readonly #kinds: number[] = [];
  readonly #life: Int32Array;
  readonly #deaths = new Int32Array(batch);
  #next = 0;
  #tick = 1;
  #goal = 2 ** 22;

  constructor(live: number, size: number, ptrBytes: number, kinds: number) {
    for (let i = 0; i < kinds; i++) this.#kinds.push(this.#rig.kinds.add(i, size, ptrBytes));
    this.#life = lifetimes(live);
    this.run(live * 4);
  }

  run(n: number): void {
    const { heap, kinds, ledger } = this.#rig;
    for (let done = 0; done < n; done += batch) {
      for (let i = 0; i < batch; i++) {
        this.#deaths[i] = this.#tick + i + this.#life[(this.#next + i) & (2 ** 18 - 1)];
      }
      this.#next += batch + 1;
      this.#tick += batch;
      if (this.#tick > 2 ** 30) throw new Error("the benchmark ran out of ticks");
      const kind = this.#kinds[(done / batch) % this.#kinds.length];
      let i = heap.allocRun(0, kind, batch, this.#deaths, 0);
      while (i < batch) {
        heap.refill(0, kinds.spc[kind]);
        i += heap.allocRun(0, kind, 1, this.#deaths, i);
        if (ledger.heapLive >= this.#goal) {
          collect(this.#rig, this.#tick, this.#goal);
          this.#goal = Math.max(2 ** 22, ledger.heapLive * 2);
        }
        i += heap.allocRun(0, kind, batch - i, this.#deaths, i);
      }
    }
  }
}

describe("2^18 allocations in steady state", () => {
  const cases: readonly (readonly [string, number, number, number, number])[] = [
    ["64 B noscan, 160 k live (10 MB)", 160_000, 64, 0, 1],
    ["64 B noscan, 1 M live", 1_000_000, 64, 0, 1],
    ["64 B with pointers, 1 M live", 1_000_000, 64, 16, 1],
    ["64 B of three kinds, 1 M live", 1_000_000, 64, 16, 3],
    ["64 B noscan, 8 M live (512 MB)", 8_000_000, 64, 0, 1],
    ["1 KiB noscan, 100 k live", 100_000, 1024, 0, 1],
  ];
  for (const [name, live, size, ptrBytes, kinds] of cases) {
    let steady: Steady | undefined;
    bench(
      name,
      () => {
        steady ??= new Steady(live, size, ptrBytes, kinds);
        steady.run(perIteration);
      },
      { time: 1000, warmupIterations: 1 },
    );
  }
});
