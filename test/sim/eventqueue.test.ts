import fc from "fast-check";
import { expect, test } from "vitest";
import { EventQueue } from "../../src/sim/eventqueue.ts";

test("time first, then priority, then the order pushed", () => {
  const queue = new EventQueue();
  queue.push(5, 1, 10, 0);
  queue.push(5, 0, 11, 0);
  queue.push(5, 0, 12, 0);
  queue.push(1, 9, 13, 0.5);
  queue.push(5, 1, 14, 0);
  expect(queue.peekTime()).toBe(1);
  const order: number[] = [];
  while (queue.pop()) order.push(queue.kind);
  expect(order).toEqual([13, 11, 12, 10, 14]);
  expect(queue.peekTime()).toBe(Infinity);
  expect(queue.pop()).toBe(false);
});

test("an event carries its kind and argument, whatever the size of the argument", () => {
  const queue = new EventQueue();
  queue.push(2 ** 52, 0, -7, 2 ** 50 + 1);
  expect(queue.pop()).toBe(true);
  expect([queue.timeNs, queue.kind, queue.arg]).toEqual([2 ** 52, -7, 2 ** 50 + 1]);
});

test("a stale handle cancels nothing", () => {
  const queue = new EventQueue(4);
  const popped = queue.push(1, 0, 0, 0);
  queue.pop();
  // Through all slots twice, so that the first one is in use again.
  for (let i = 0; i < 6; i++) {
    queue.push(2, 0, 0, 0);
    queue.pop();
  }
  for (let i = 0; i < 4; i++) queue.push(3, 0, 0, 0);
  expect(queue.cancel(popped)).toBe(false);
  expect(queue.size).toBe(4);
  const twice = queue.push(4, 0, 0, 0);
  expect(queue.cancel(twice)).toBe(true);
  expect(queue.cancel(twice)).toBe(false);
  expect(queue.cancel(-1)).toBe(false);
  expect(queue.cancel(2 ** 30)).toBe(false);
});

test("what cannot be ordered is refused", () => {
  const queue = new EventQueue();
  for (const time of [Number.NaN, Infinity, -Infinity])
    expect(() => queue.push(time, 0, 0, 0)).toThrow(RangeError);
  for (const priority of [-1, 256, Number.NaN])
    expect(() => queue.push(0, priority, 0, 0)).toThrow(RangeError);
  expect(queue.size).toBe(0);
});

interface Entry {
  time: number;
  priority: number;
  id: number;
  handle: number;
}

/** The obvious implementation: an array, sorted stably before every look. */
class NaiveQueue {
  entries: Entry[] = [];
  first(): Entry | undefined {
    this.entries.sort((a, b) => a.time - b.time || a.priority - b.priority || a.id - b.id);
    return this.entries[0];
  }
}

test("model: behaves as a sorted array under any mix of push, pop and cancel", () => {
  const command = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constant("push"), time: fc.nat(9), priority: fc.nat(2), pick: fc.nat() }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant("pop"), time: fc.nat(9), priority: fc.nat(2), pick: fc.nat() }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant("cancel"),
        time: fc.nat(9),
        priority: fc.nat(2),
        pick: fc.nat(),
      }),
    },
  );
  fc.assert(
    fc.property(fc.array(command, { maxLength: 400, size: "max" }), (commands) => {
      const queue = new EventQueue(4);
      const naive = new NaiveQueue();
      const gone: number[] = [];
      let id = 0;
      for (const step of commands) {
        if (step.do === "push") {
          const handle = queue.push(step.time, step.priority, id, id * 3);
          naive.entries.push({ time: step.time, priority: step.priority, id, handle });
          id++;
        } else if (step.do === "cancel" && naive.entries.length > 0) {
          const [victim] = naive.entries.splice(step.pick % naive.entries.length, 1);
          expect(queue.cancel(victim.handle)).toBe(true);
          expect(queue.cancel(victim.handle)).toBe(false);
          gone.push(victim.handle);
        } else if (step.do === "pop") {
          const first = naive.first();
          expect(queue.peekTime()).toBe(first?.time ?? Infinity);
          expect(queue.pop()).toBe(first !== undefined);
          if (first !== undefined) {
            naive.entries.shift();
            expect([queue.timeNs, queue.kind, queue.arg]).toEqual([first.time, first.id, first.id * 3]);
            gone.push(first.handle);
          }
        }
        expect(queue.size).toBe(naive.entries.length);
      }
      for (const handle of gone) expect(queue.cancel(handle)).toBe(false);
      for (let first = naive.first(); first !== undefined; first = naive.first()) {
        naive.entries.shift();
        expect(queue.pop() && queue.kind).toBe(first.id);
      }
      expect(queue.pop()).toBe(false);
    }),
    { numRuns: 300, seed: 1 },
  );
});

test("a timer set and cancelled a million times keeps the queue small", () => {
  const queue = new EventQueue();
  for (let i = 0; i < 100; i++) queue.push(1e9 + i, 0, i, 0);
  let timer = queue.push(1e6, 0, 1, 0);
  let cancelled = 0;
  for (let i = 0; i < 1e6; i++) {
    if (queue.cancel(timer)) cancelled++;
    timer = queue.push(1e6 + i, 0, 1, 0);
  }
  expect(cancelled).toBe(1e6);
  expect(queue.size).toBe(101);
  expect(queue.peekTime()).toBe(1e6 + 999_999);
  expect(queue.pop() && queue.timeNs).toBe(1e6 + 999_999);
});

test("an event put off comes by its new time, after those pushed for it before, and can be cancelled by its new handle", () => {
  const queue = new EventQueue();
  const first = queue.push(10, 1, 7, 1);
  queue.push(30, 1, 7, 2);
  queue.push(30, 0, 7, 3);
  const moved = queue.postpone(first, 20);
  expect(queue.size).toBe(3);
  expect(queue.cancel(first)).toBe(false);
  const order: number[][] = [];
  while (queue.pop()) order.push([queue.timeNs, queue.arg]);
  expect(order).toEqual([
    [30, 3],
    [30, 2],
    [30, 1],
  ]);
  expect(() => queue.postpone(moved, 1)).toThrow("only a pending event can be put off");
});
