import { afterEach, describe, expect, test, vi } from "vitest";
import { SlotStore } from "../../src/runtime/mspan.ts";

const BLOCK = 1024;

/** From here on arrays of more than `most` elements are refused, as by an engine that gets no address space for them. */
function refuseBeyond(most: number): void {
  const refuse = (n: unknown): void => {
    if (typeof n === "number" && n > most) throw new RangeError("Array buffer allocation failed");
  };
  class Int32 extends Int32Array {
    constructor(n: number) {
      refuse(n);
      super(n);
    }
  }
  class Uint16 extends Uint16Array {
    constructor(n: number) {
      refuse(n);
      super(n);
    }
  }
  vi.stubGlobal("Int32Array", Int32);
  vi.stubGlobal("Uint16Array", Uint16);
}

afterEach(() => {
  vi.unstubAllGlobals();
});

/** Takes blocks until `slots` are taken, and writes into the first slot of each what tells it apart. */
function fill(store: SlotStore, from: number, slots: number): void {
  for (let at = from; at < slots; at += BLOCK) {
    expect(store.alloc(BLOCK)).toBe(at);
    store.death[at] = at + 1;
    if (store.kind.length > 0) store.kind[at] = at / BLOCK;
  }
}

function expectFilled(store: SlotStore, slots: number, kindsFrom = slots): void {
  for (let at = 0; at < slots; at += BLOCK) {
    expect(store.death[at]).toBe(at + 1);
    if (at >= kindsFrom) expect(store.kind[at]).toBe(at / BLOCK);
  }
}

describe("SlotStore", () => {
  test("what was in it is there after it has grown twice, deaths and kinds", () => {
    const store = new SlotStore();
    expect(store.kinds().length).toBe(store.death.length);
    fill(store, 0, 2 ** 20 + BLOCK);
    expectFilled(store, 2 ** 20 + BLOCK, 0);
    expect(store.kind.length).toBe(store.death.length);
  });

  test("beyond a million slots it has room for 2^28, so that copying them is rare", () => {
    const store = new SlotStore();
    fill(store, 0, 2 ** 20 + BLOCK);
    expect(store.death.length).toBe(2 ** 28);
  });

  test("what is freed is given again before anything new", () => {
    const store = new SlotStore();
    const first = store.alloc(126);
    const second = store.alloc(126);
    store.alloc(64);
    store.free(first, 126);
    store.free(second, 126);
    expect([store.alloc(126), store.alloc(126), store.alloc(126)]).toEqual([second, first, 316]);
  });

  test("without address space for as many, it grows by what there is", () => {
    const store = new SlotStore();
    store.kinds();
    refuseBeyond(2 ** 22);
    fill(store, 0, 2 ** 22);
    expect([store.death.length, store.kind.length]).toEqual([2 ** 22, 2 ** 22]);
    expectFilled(store, 2 ** 22, 0);
    expect(() => store.alloc(BLOCK)).toThrow("Array buffer allocation failed");
  });

  test("kinds for which there is less address space than for deaths set how much room there is", () => {
    const store = new SlotStore();
    fill(store, 0, 2 ** 20 + BLOCK);
    refuseBeyond(2 ** 21);
    expect(store.kinds().length).toBe(2 ** 21);
    fill(store, 2 ** 20 + BLOCK, 2 ** 21);
    vi.unstubAllGlobals();
    fill(store, 2 ** 21, 2 ** 21 + BLOCK);
    expectFilled(store, 2 ** 21 + BLOCK, 2 ** 20 + BLOCK);
    expect(store.kind.length).toBe(2 ** 28);
  });
});
