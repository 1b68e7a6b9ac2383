/**
 * Random lives of a heap, against a twin that keeps every object with its death and knows nothing of spans.
 *
 * The twin condemns an object when a mark starts at or after its death. Then, after every step: the heap never hands
 * out a slot whose object is not condemned; a mark counts exactly the twin's survivors; after a full sweep and flush
 * the statistics are exactly the objects not condemned; and the heap's own identities hold.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Memory } from "../../src/os/memory.ts";
import { heapTruth } from "../../src/runtime/heapreport.ts";
import { forever } from "../../src/runtime/owners.ts";
import type { Version } from "../../src/runtime/version.ts";
import { finishCycle, type Rig, rig, sweepAll } from "./heapharness.ts";

interface TwinObject {
  /** Death tick, or ~owner. */
  death: number;
  readonly kind: number;
  condemned: boolean;
}

class Twin {
  /** The last object in each slot, by span's first page and index. */
  readonly at = new Map<string, TwinObject>();
  readonly all = new Set<TwinObject>();
  readonly ownerDeath = new Map<number, number>();
  readonly rig: Rig;
  tick = 1;
  lastMark = 0;
  markedObjects = 0;
  markedBytes = 0;

  constructor(r: Rig) {
    this.rig = r;
  }

  deathOf(o: TwinObject): number {
    return o.death < 0 ? (this.ownerDeath.get(~o.death) ?? forever) : o.death;
  }

  /** Notes the object the heap has just put into lastSpan/lastIndex. */
  placed(kind: number, death: number): TwinObject {
    const { heap, kinds } = this.rig;
    const key = `${heap.spans.base[heap.lastSpan]}/${heap.lastIndex}`;
    const before = this.at.get(key);
    if (before !== undefined && !before.condemned) throw new Error(`slot ${key} was handed out while in use`);
    const o = { death, kind, condemned: false };
    this.at.set(key, o);
    this.all.add(o);
    if (heap.marking) {
      this.markedObjects++;
      this.markedBytes += kinds.elemsize[kind];
    }
    return o;
  }

  mark(tick: number): { objects: number; bytes: number; scanBytes: number } {
    let objects = 0;
    let bytes = 0;
    let scanBytes = 0;
    for (const o of this.all) {
      if (this.deathOf(o) <= tick) {
        o.condemned = true;
        this.all.delete(o);
        continue;
      }
      objects++;
      bytes += this.rig.kinds.elemsize[o.kind];
      scanBytes += this.rig.kinds.scanBytes[o.kind];
    }
    this.lastMark = tick;
    this.markedObjects = objects;
    this.markedBytes = bytes;
    return { objects, bytes, scanBytes };
  }
}

type Step =
  | {
      readonly op: "alloc";
      readonly p: number;
      readonly kind: number;
      readonly n: number;
      readonly life: number;
    }
  | {
      readonly op: "owned";
      readonly p: number;
      readonly kind: number;
      readonly n: number;
      readonly owner: number;
    }
  | { readonly op: "end"; readonly owner: number }
  | { readonly op: "kill" | "adopt"; readonly owner: number }
  | { readonly op: "mark" | "sweepall" | "flush" | "stack" }
  | { readonly op: "sweep"; readonly n: number }
  | { readonly op: "wait"; readonly n: number };

/** Sizes and pointer bytes: two kinds share a span class, one has a header, two are large. No tiny ones here. */
const sizes = [
  [64, 0],
  [60, 0],
  [64, 16],
  [48, 48],
  [8, 8],
  [700, 8],
  [9000, 0],
  [40_000, 8],
  [300_000, 0],
] as const;

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      op: fc.constant("alloc" as const),
      p: fc.nat(1),
      kind: fc.nat(sizes.length - 1),
      n: fc.integer({ min: 1, max: 300 }),
      life: fc.oneof(fc.integer({ min: 1, max: 60 }), fc.constant(forever)),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant("owned" as const),
      p: fc.nat(1),
      kind: fc.nat(sizes.length - 1),
      n: fc.integer({ min: 1, max: 100 }),
      owner: fc.nat(5),
    }),
  },
  { weight: 3, arbitrary: fc.record({ op: fc.constant("end" as const), owner: fc.nat(5) }) },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constantFrom("kill" as const, "adopt" as const), owner: fc.nat(5) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constantFrom(
        "mark" as const,
        "mark" as const,
        "sweepall" as const,
        "flush" as const,
        "stack" as const,
      ),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constant("sweep" as const), n: fc.integer({ min: 1, max: 30 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constant("wait" as const), n: fc.integer({ min: 1, max: 40 }) }),
  },
);

function runLife(version: Version, steps: readonly Step[]): void {
  const r = rig(version, {
    procs: 2,
    os: new Memory({ fileBytes: 0, otherBytes: 0, faults: 0 }),
    heapBase: { chunk: 1, paddingPages: 77 },
  });
  const { heap, kinds } = r;
  const twin = new Twin(r);
  const kindOf = sizes.map(([size, ptr], i) => kinds.add(i, size, ptr));
  const owners: number[] = [];
  for (let i = 0; i < 6; i++) owners.push(heap.owners.alloc());
  let last: TwinObject | undefined;

  const allocate = (p: number, kind: number, n: number, death: number): void => {
    const deaths = new Int32Array(1).fill(death);
    for (let i = 0; i < n; i++) {
      if (kinds.largePages[kind] > 0) {
        if (i % 40 !== 0) continue;
        heap.allocLarge(p, kind, death);
      } else if (heap.allocRun(p, kind, 1, deaths, 0) === 0) {
        heap.refill(p, kinds.spc[kind]);
        if (heap.allocRun(p, kind, 1, deaths, 0) === 0) throw new Error("no room after a refill");
      }
      last = twin.placed(kind, death);
    }
  };

  for (const s of steps) {
    switch (s.op) {
      case "alloc":
        allocate(s.p, kindOf[s.kind], s.n, s.life === forever ? forever : twin.tick + s.life);
        break;
      case "owned":
        allocate(s.p, kindOf[s.kind], s.n, ~owners[s.owner]);
        break;
      case "end": {
        const o = owners[s.owner];
        heap.owners.end(o, twin.tick);
        const death = Math.max(twin.tick, twin.lastMark + 1);
        // The heap will use the number again: from here on these objects have a plain death in the twin.
        for (const obj of twin.all) if (obj.death === ~o) obj.death = death;
        if (last !== undefined && last.death === ~o) last.death = death;
        owners[s.owner] = heap.owners.alloc();
        break;
      }
      case "kill":
      case "adopt":
        if (last === undefined || last.condemned || heap.lastIndex < 0) break;
        if (s.op === "kill") {
          heap.kill(heap.lastSpan, heap.lastIndex, twin.tick + 3);
          last.death = twin.tick + 3;
        } else {
          heap.setOwner(heap.lastSpan, heap.lastIndex, owners[s.owner]);
          last.death = ~owners[s.owner];
        }
        break;
      case "mark":
        if (heap.marking) {
          expect(heap.finishMark()).toBe(twin.markedBytes);
          r.ledger.heapLive = twin.markedBytes;
          heap.commitCycle(r.ledger.heapLive + 2 ** 21);
          for (let p = 0; p < 2; p++) heap.prepareForSweep(p);
        } else {
          twin.tick++;
          const should = twin.mark(twin.tick);
          const is = heap.startMark(twin.tick);
          expect([is.objects, is.bytes, is.scanBytes]).toEqual([
            should.objects,
            should.bytes,
            should.scanBytes,
          ]);
          last = undefined;
        }
        break;
      case "sweep":
        for (let i = 0; i < s.n; i++) heap.sweepone(i & 1);
        break;
      case "sweepall":
        if (!heap.marking) sweepAll(r);
        break;
      case "flush":
        heap.flushAllMcaches();
        break;
      case "stack":
        if (!heap.marking) heap.freeStackSpan(heap.allocStackSpan(4));
        break;
      case "wait":
        twin.tick += s.n;
        break;
    }
    heap.checkInvariants();
  }

  if (heap.marking) finishCycle(r);
  sweepAll(r);
  heap.flushAllMcaches();
  heap.checkInvariants();
  let bytes = 0;
  let alive = 0;
  for (const o of twin.all) {
    bytes += kinds.elemsize[o.kind];
    if (twin.deathOf(o) > twin.tick) alive++;
  }
  expect([heap.stats.heapObjects, heap.stats.heapAlloc]).toEqual([twin.all.size, bytes]);
  expect(heapTruth(heap, twin.tick).live_objects).toBe(alive);
}

describe("a random life", () => {
  test.each(["1.26", "1.25", "1.20"] as Version[])(
    "Go %s agrees with the twin",
    (version) => {
      fc.assert(
        fc.property(fc.array(step, { minLength: 20, maxLength: 120 }), (steps) => runLife(version, steps)),
        { seed: 20260101, numRuns: 200 },
      );
    },
    120_000,
  );
});
