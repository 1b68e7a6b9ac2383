import { afterEach, describe, expect, test, vi } from "vitest";
import { SlotStore } from "../../src/runtime/mspan.ts";

const BLOCK = 1024;

/** From here on longer arrays are refused, as by an engine that gets no address space for them. Not every engine's error is a RangeError. */
function refuseBeyond(deaths: number, kinds: number): void {
  vi.unstubAllGlobals();
  const refuse = (n: unknown, most: number): void => {
    if (typeof n === "number" && n > most) throw new Error("Out of memory");
  };
  class Int32 extends Int32Array {
    constructor(n: number) {
      refuse(n, deaths);
      super(n);
    }
  }
  class Uint16 extends Uint16Array {
    constructor(n: number) {
      refuse(n, kinds);
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

/** What a store has room for at first, and when it has grown. */
const FIRST = 2 ** 18;
const THEN = 2 ** 28;

describe("SlotStore", () => {
  test("what was in it is there after it has grown, deaths and kinds, and growing is rare", () => {
    const store = new SlotStore();
    expect([store.kinds().length, store.death.length]).toEqual([FIRST, FIRST]);
    fill(store, 0, FIRST + BLOCK);
    expectFilled(store, FIRST + BLOCK, 0);
    expect([store.kind.length, store.death.length]).toEqual([THEN, THEN]);
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

  test("without address space for as many, it doubles", () => {
    const store = new SlotStore();
    store.kinds();
    refuseBeyond(FIRST * 4, FIRST * 4);
    fill(store, 0, FIRST + BLOCK);
    expect([store.death.length, store.kind.length]).toEqual([FIRST * 2, FIRST * 2]);
    fill(store, FIRST + BLOCK, FIRST * 4);
    expect([store.death.length, store.kind.length]).toEqual([FIRST * 4, FIRST * 4]);
    expectFilled(store, FIRST * 4, 0);
    expect(() => store.alloc(BLOCK)).toThrow("Out of memory");
  });

  test("where deaths get more room and kinds do not, none of it is given", () => {
    const store = new SlotStore();
    store.kinds();
    fill(store, 0, FIRST);
    refuseBeyond(THEN, FIRST);
    for (let i = 0; i < 2; i++) expect(() => store.alloc(BLOCK)).toThrow("Out of memory");
    expect(store.death.length).toBe(THEN);
    refuseBeyond(THEN, FIRST * 2);
    fill(store, FIRST, FIRST * 2);
    expect(store.kind.length).toBe(FIRST * 2);
    expect(() => store.alloc(BLOCK)).toThrow("Out of memory");
    expectFilled(store, FIRST * 2, 0);
  });

  test("kinds for which there is less address space than for deaths set how much room there is", () => {
    const store = new SlotStore();
    fill(store, 0, FIRST + BLOCK);
    refuseBeyond(THEN, FIRST * 2);
    expect(store.kinds().length).toBe(FIRST * 2);
    fill(store, FIRST + BLOCK, FIRST * 2);
    vi.unstubAllGlobals();
    fill(store, FIRST * 2, FIRST * 2 + BLOCK);
    expectFilled(store, FIRST * 2 + BLOCK, FIRST + BLOCK);
    expect(store.kind.length).toBe(THEN);
  });
});
