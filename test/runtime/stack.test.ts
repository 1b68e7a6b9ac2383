import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Memory } from "../../src/os/memory.ts";
import {
  G_BYTES,
  G_PTR_BYTES,
  Goroutines,
  NEW_STACK_USED_BYTES,
  nextslicecap,
  PARKED_CHAN_RECEIVE_BYTES,
  PARKED_SELECT_BYTES,
  PARKED_SLEEP_BYTES,
} from "../../src/runtime/runtime2.ts";
import { round2, StackAllocator } from "../../src/runtime/stack.ts";
import { rulesFor } from "../../src/runtime/version.ts";

const K = 1024;
const PAGE = 8192;
const SPAN = 32 * K;

/** A page heap of bump allocation with reuse by size, that catches double frees. */
class BumpSpans {
  next = 0;
  readonly out = new Map<number, number>();
  readonly free = new Map<number, number[]>();
  readonly os: Memory;

  constructor(os: Memory) {
    this.os = os;
  }

  allocStackSpan(npages: number): number {
    let base = this.free.get(npages)?.pop();
    if (base === undefined) {
      base = this.next;
      this.next += npages;
      this.os.sysMap(base * PAGE, npages * PAGE);
      this.os.sysUsed(base * PAGE, npages * PAGE);
    }
    this.out.set(base, npages);
    return base;
  }

  freeStackSpan(base: number): void {
    const npages = this.out.get(base);
    if (npages === undefined) throw new Error(`span ${base} is not out`);
    this.out.delete(base);
    const list = this.free.get(npages);
    if (list === undefined) this.free.set(npages, [base]);
    else list.push(base);
  }

  outBytes(): number {
    let pages = 0;
    for (const npages of this.out.values()) pages += npages;
    return pages * PAGE;
  }
}

function world(nprocs = 2) {
  const os = new Memory({ fileBytes: 0, otherBytes: 0, faults: 0 });
  const spans = new BumpSpans(os);
  const stacks = new StackAllocator(spans, os, nprocs);
  const seen = { newG: 0, allgsCap: 0, allgsGrown: 0, maxStackScan: 0 };
  const gs = new Goroutines(
    stacks,
    os,
    {
      newG: () => {
        seen.newG++;
      },
      growAllgs: (_p, length, oldCap) => {
        seen.allgsGrown++;
        seen.allgsCap = nextslicecap(length, oldCap);
        return seen.allgsCap;
      },
      addMaxStackScan: (bytes) => {
        seen.maxStackScan += bytes;
      },
    },
    nprocs,
  );
  const flush = () => {
    for (let p = 0; p < nprocs; p++) stacks.stackcacheClear(p);
  };
  const gc = () => {
    stacks.setGCPhase(true);
    gs.startScan();
    gs.markrootFreeGStacks(0);
    const middle = gs.allglen >> 1;
    gs.scanStacks(0, 0, middle);
    gs.scanStacks(nprocs - 1, middle);
    stacks.setGCPhase(false);
    gs.gcComputeStartingStackSize();
    stacks.freeStackSpans();
    flush();
  };
  return { os, spans, stacks, gs, seen, flush, gc };
}

describe("stack memory", () => {
  it("cuts small stacks from 32 KiB spans, half a cache at a time", () => {
    const { stacks, gs } = world();
    gs.newproc(0);
    expect(stacks.stackInuse).toBe(SPAN);
    expect(stacks.cachedBytes()).toBe(14 * K);
    for (let i = 1; i < 16; i++) gs.newproc(0);
    expect(stacks.stackInuse).toBe(SPAN);
    gs.newproc(0);
    expect(stacks.stackInuse).toBe(2 * SPAN);
    gs.checkInvariants();
  });

  it("makes pages of 2 and 4 KiB stacks resident when the span is cut, and only used pages of larger ones", () => {
    const { os, stacks } = world();
    for (const [bytes, resident] of [
      [2 * K, 32 * K],
      [4 * K, 32 * K],
      [8 * K, 16 * K],
      [16 * K, 8 * K],
      [64 * K, 0],
    ]) {
      const before = os.residentBytes();
      stacks.stackalloc(0, bytes);
      expect([bytes, os.residentBytes() - before]).toEqual([bytes, resident]);
    }
  });

  it("keeps empty spans during marking and returns them after", () => {
    const { stacks, gs, spans } = world(1);
    const all = Array.from({ length: 64 }, () => gs.newproc(0));
    for (const g of all) gs.growTo(0, g, 60 * K);
    stacks.setGCPhase(true);
    for (const g of all) {
      gs.setUsed(g, 100);
      gs.goexit(0, g);
    }
    expect(stacks.stackInuse).toBeGreaterThanOrEqual(64 * 64 * K);
    gs.checkInvariants();
    stacks.setGCPhase(false);
    stacks.freeStackSpans();
    stacks.stackcacheClear(0);
    expect(stacks.stackInuse).toBe(0);
    expect(spans.out.size).toBe(0);
    gs.checkInvariants();
  });
});

describe("growing and shrinking", () => {
  it("doubles until the depth fits above the 800 bytes reserved for unchecked calls", () => {
    const { gs } = world();
    const g = gs.newproc(0);
    expect(gs.used(g)).toBe(NEW_STACK_USED_BYTES);
    expect(gs.growTo(0, g, 1248)).toBe(0);
    expect(gs.stackSize(g)).toBe(2 * K);
    expect(gs.growTo(0, g, 1249)).toBe(1248);
    expect(gs.stackSize(g)).toBe(4 * K);
    expect(gs.growTo(0, g, 30000)).toBe(4096 - 800 + 8192 - 800 + 16384 - 800);
    expect(gs.stackSize(g)).toBe(32 * K);
    expect(gs.growTo(0, g, 100)).toBe(0);
    expect(gs.used(g)).toBe(30000);
    gs.checkInvariants();
    expect(() => gs.growTo(0, g, 600e6)).toThrow(/stack exceeds 1000000000-byte limit/);
  });

  it("halves once per cycle while less than a quarter is used, guard included", () => {
    const { gs, gc } = world();
    const g = gs.newproc(0);
    gs.growTo(0, g, 50000);
    const sizes: number[] = [];
    gs.setUsed(g, 304);
    for (let i = 0; i < 6; i++) {
      gc();
      sizes.push(gs.stackSize(g) / K);
    }
    // 304 + 800 is not below a quarter of 4 KiB, so it stops there.
    expect(sizes).toEqual([32, 16, 8, 4, 4, 4]);
    expect(gs.scannedBytes).toBe(304);
    gs.setUsed(g, 200);
    gc();
    expect(gs.stackSize(g) / K).toBe(2);
    gs.checkInvariants();
  });

  it("starts reused goroutines at the mean stack scanned plus the guard", () => {
    const { gs, gc } = world(1);
    const deep = Array.from({ length: 100 }, () => gs.newproc(0));
    for (const g of deep) gs.growTo(0, g, 5000);
    gc();
    expect(gs.startingStackSize).toBe(8 * K);
    const fresh = gs.newproc(0);
    expect(gs.stackSize(fresh)).toBe(2 * K);
    gs.goexit(0, fresh);
    const reused = gs.newproc(0);
    expect(reused).toBe(fresh);
    expect(gs.stackSize(reused)).toBe(8 * K);
    for (const g of deep) gs.goexit(0, g);
    gs.goexit(0, reused);
    gc();
    expect(gs.startingStackSize).toBe(2 * K);
    gs.checkInvariants();
  });
});

describe("dead goroutines", () => {
  it("spill from a P at 64, down to 31, and come back by 32", () => {
    const { gs, seen } = world(2);
    const all = Array.from({ length: 200 }, () => gs.newproc(0));
    expect(seen.newG).toBe(200);
    for (const g of all) gs.goexit(0, g);
    gs.checkInvariants();
    for (let i = 0; i < 200; i++) gs.newproc(1);
    // 200 dead: P 0 keeps 200 - 5 x 33 = 35, the other 165 serve P 1.
    expect(seen.newG).toBe(235);
    gs.checkInvariants();
  });

  it("lose their stacks at a mark when on the global list", () => {
    const { gs, gc, stacks } = world(1);
    const all = Array.from({ length: 1000 }, () => gs.newproc(0));
    for (const g of all) gs.goexit(0, g);
    expect(stacks.stackInuse).toBe(63 * SPAN);
    gc();
    let withStack = 0;
    for (let g = 0; g < gs.allglen; g++) if (gs.stackSize(g) > 0) withStack++;
    expect(withStack).toBe(31 + ((1000 - 31) % 33));
    gs.checkInvariants();
  });

  it("announce scannable stack bytes in lots of 8 KiB", () => {
    const { gs, seen } = world(1);
    for (let i = 0; i < 3; i++) gs.newproc(0);
    expect(seen.maxStackScan).toBe(0);
    gs.newproc(0);
    expect(seen.maxStackScan).toBe(8 * K);
    gs.growTo(0, 0, 5000);
    expect(gs.scannableStackBytes).toBe(14 * K);
    expect(seen.maxStackScan).toBe(8 * K);
    // Less counts like more: 6 KiB were not announced yet, and 14 KiB go.
    for (let g = 0; g < 4; g++) gs.goexit(0, g);
    expect(gs.scannableStackBytes).toBe(0);
    expect(seen.maxStackScan).toBe(0);
  });
});

describe("any program", () => {
  const P = 3;
  const command = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ op: fc.constant("newproc" as const), p: fc.nat(P - 1), n: fc.nat(80) }),
    },
    {
      weight: 4,
      arbitrary: fc.record({ op: fc.constant("exit" as const), p: fc.nat(P - 1), n: fc.nat(80) }),
    },
    {
      weight: 3,
      arbitrary: fc.record({ op: fc.constant("grow" as const), p: fc.nat(P - 1), n: fc.nat(200000) }),
    },
    {
      weight: 3,
      arbitrary: fc.record({ op: fc.constant("park" as const), p: fc.nat(P - 1), n: fc.nat(1000) }),
    },
    { weight: 1, arbitrary: fc.record({ op: fc.constant("mark" as const), p: fc.nat(P - 1), n: fc.nat(1) }) },
    {
      weight: 2,
      arbitrary: fc.record({ op: fc.constant("finish" as const), p: fc.nat(P - 1), n: fc.nat(1) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ op: fc.constant("flush" as const), p: fc.nat(P - 1), n: fc.nat(1) }),
    },
  );

  it("accounts for every stack byte at every step", () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 80 }), fc.nat(1e6), (commands, salt) => {
        const { gs, stacks, spans, os, seen } = world(P);
        const live: number[] = [];
        let marking = false;
        const pick = (n: number) => (n * 7919 + salt) % live.length;
        for (const { op, p, n } of commands) {
          if (op === "newproc") for (let i = 0; i < n; i++) live.push(gs.newproc(p));
          else if (op === "exit")
            for (let i = 0; i < n && live.length > 0; i++) {
              const [g] = live.splice(pick(n + i), 1);
              gs.goexit(p, g);
            }
          else if (op === "grow" && live.length > 0) gs.growTo(p, live[pick(n)], n);
          else if (op === "park" && live.length > 0)
            for (const g of live) gs.setUsed(g, Math.min(n, gs.used(g)));
          else if (op === "mark" && !marking) {
            marking = true;
            stacks.setGCPhase(true);
            gs.startScan();
            gs.markrootFreeGStacks(p);
            gs.scanStacks(p);
          } else if (op === "finish" && marking) {
            marking = false;
            stacks.setGCPhase(false);
            gs.gcComputeStartingStackSize();
            stacks.freeStackSpans();
            for (let q = 0; q < P; q++) stacks.stackcacheClear(q);
          } else if (op === "flush") stacks.stackcacheClear(p);
          gs.checkInvariants();
          os.checkInvariants();
          expect(gs.live).toBe(live.length);
          expect(stacks.stackInuse).toBe(spans.outBytes());
          expect(Math.abs(seen.maxStackScan - gs.scannableStackBytes)).toBeLessThan(P * 8 * K);
          // Two goroutines never share memory.
          const lows = live.map((g) => gs.stackSize(g)).reduce((a, b) => a + b, 0);
          expect(lows).toBe(gs.scannableStackBytes);
        }
      }),
      { seed: 2, numRuns: 60 },
    );
  });

  it("never overlaps two stacks", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(P - 1), fc.nat(6), fc.boolean()), { maxLength: 150 }), (steps) => {
        const { stacks } = world(P);
        const held: { stack: number; bytes: number }[] = [];
        for (const [p, log2, free] of steps) {
          if (free && held.length > 0) {
            const { stack, bytes } = held.splice((p * 31 + log2) % held.length, 1)[0];
            stacks.stackfree(p, stack, bytes);
          } else {
            const bytes = 2048 << log2;
            held.push({ stack: stacks.stackalloc(p, bytes), bytes });
          }
        }
        const ranges = held
          .map(({ stack, bytes }) => [stacks.lo(stack), stacks.lo(stack) + bytes])
          .sort((a, b) => a[0] - b[0]);
        for (let i = 1; i < ranges.length; i++) expect(ranges[i][0]).toBeGreaterThanOrEqual(ranges[i - 1][1]);
        stacks.checkInvariants(held.reduce((sum, h) => sum + h.bytes, 0));
      }),
      { seed: 3, numRuns: 100 },
    );
  });
});

interface Moment {
  stack_inuse_bytes: number;
  scan_stack_bytes: number;
  starting_size_bytes: number;
  rss_bytes: number;
  heap_inuse_bytes?: number;
  threads: number;
}
interface GoldenCase {
  park: "recv" | "select" | "sleep";
  goroutines: number;
  depth: number;
  parks_deep: boolean;
  runs: Record<string, Moment>[];
}
const golden = JSON.parse(readFileSync(new URL("../golden/stacks-1.26.json", import.meta.url), "utf8")) as {
  provenance: { sizes: Record<string, [size: number, ptrBytes: number]> };
  cases: GoldenCase[];
};

/** The recorded program's own frames: 40 bytes of closure, then the parking function's, 240 per level of recursion. */
const FRAMES = {
  recv: PARKED_CHAN_RECEIVE_BYTES + 40 + 32,
  select: PARKED_SELECT_BYTES + 40 + 104,
  sleep: PARKED_SLEEP_BYTES + 40 + 24,
};
const RECURSION_FRAME = 240;

/** Replays the recorded program and returns StackInuse at its moments. */
function replay(c: GoldenCase) {
  const { gs, stacks, flush, gc, os } = world(2);
  // Four threads; main (8 KiB by then) and six goroutines of the runtime, one of which has grown to 4 KiB.
  for (let i = 0; i < 4; i++) gs.newM(0, i === 0);
  for (let i = 0; i < 7; i++) gs.newproc(0);
  gs.growTo(0, 0, 5000);
  gs.growTo(0, 1, 2000);
  const used = [1310, 235, 175, 175, 175, 175, 175];
  for (let g = 0; g < 7; g++) gs.setUsed(g, used[g]);
  flush();
  const baseScan = used.reduce((a, b) => a + b);
  const moments: Record<string, number> = { before: stacks.stackInuse };
  const residentBefore = os.residentBytes();

  const parked = FRAMES[c.park];
  const recursion = c.depth > 0 || c.parks_deep ? (c.depth + 1) * RECURSION_FRAME : 0;
  const start = (depthBytes: number, deep: boolean, frames: number) =>
    Array.from({ length: c.goroutines }, (_, i) => {
      const p = i & 1;
      const g = gs.newproc(p);
      gs.growTo(p ^ 1, g, deep ? depthBytes + frames : Math.max(depthBytes + 80, frames));
      gs.setUsed(g, deep ? depthBytes + frames : frames);
      return g;
    });
  const all = start(recursion, c.parks_deep, parked);
  moments["started"] = stacks.stackInuse;
  flush();
  moments["flushed"] = stacks.stackInuse;
  const residentBytes = os.residentBytes() - residentBefore;
  gc();
  moments["gc1"] = stacks.stackInuse;
  const scan = gs.scannedBytes - baseScan;
  const startingSize = gs.startingStackSize;
  gc();
  moments["gc2"] = stacks.stackInuse;
  if (c.park !== "sleep") {
    all.forEach((g, i) => {
      gs.goexit(i & 1, g);
    });
    moments["ended"] = stacks.stackInuse;
    gc();
    moments["ended_gc1"] = stacks.stackInuse;
    gc();
    moments["ended_gc2"] = stacks.stackInuse;
    start(0, false, FRAMES.recv);
    moments["restarted"] = stacks.stackInuse;
    gc();
    moments["restarted_gc1"] = stacks.stackInuse;
  }
  gs.checkInvariants();
  return { moments, scan, startingSize, residentBytes };
}

describe("real Go 1.26 (test/golden/stacks-1.26.json)", () => {
  it("has a g and a sudog of the sizes assumed", () => {
    const { sizes } = golden.provenance;
    expect(sizes["runtime.g"]).toEqual([G_BYTES, G_PTR_BYTES]);
    expect(rulesFor("1.26").gStructBytes).toBe(G_BYTES);
    expect(sizes["runtime.sudog"][0]).toBe(rulesFor("1.26").sudogStructBytes);
  });

  for (const c of golden.cases) {
    const name = `${c.goroutines} x ${c.park}, recursion ${c.depth}${c.parks_deep ? " while parked" : ""}`;
    it(`reproduces StackInuse: ${name}`, () => {
      const { moments, scan, startingSize, residentBytes } = replay(c);
      const perG = scan / c.goroutines;
      const realPerG =
        (c.runs[0]["gc1"].scan_stack_bytes - c.runs[0]["before"].scan_stack_bytes) / c.goroutines;
      expect(perG).toBeCloseTo(Math.round(realPerG), 6);
      expect(startingSize).toBe(c.runs[0]["gc1"].starting_size_bytes);

      const rows: string[] = [];
      let bad = 0;
      for (const [moment, model] of Object.entries(moments)) {
        const real = c.runs.map((r) => r[moment].stack_inuse_bytes);
        const low = Math.min(...real);
        const high = Math.max(...real);
        const slack = slackBytes(c, moment, startingSize);
        const ok = model >= low - slack && model <= high + slack;
        if (!ok) bad++;
        rows.push(`${moment}: model ${model}, real ${low}..${high}, slack ${slack}${ok ? "" : "  <<<"}`);
      }
      if (process.env["SHOW"]) console.log(`${name}\n  ${rows.join("\n  ")}`);
      expect(bad, rows.join("\n")).toBe(0);

      // RSS: what the goroutines added, less the heap the program added (g, sudog, closure).
      const rss = c.runs.map(
        (r) =>
          r["flushed"].rss_bytes -
          r["before"].rss_bytes -
          (r["flushed"].heap_inuse_bytes! - r["before"].heap_inuse_bytes!),
      );
      const realResident = rss.sort((a, b) => a - b)[1];
      if (process.env["SHOW"])
        console.log(
          `  resident per goroutine: model ${residentBytes / c.goroutines}, real ${realResident / c.goroutines}`,
        );
      // Span records, GC bitmaps, new arena metadata and page tables of the runtime: 600 KiB at most here, and 2 %.
      expect(Math.abs(residentBytes - realResident)).toBeLessThan(600 * K + realResident * 0.02);
    });
  }
});

/**
 * What the recorded run leaves open: which P a goroutine ran on (two Ps each cache up to 32 KiB of each order in use, and
 * a fifth thread takes up to two spans), and, once goroutines are dead, how many each of the two Ps kept: 31 to 63, with
 * stacks of the starting size if they had it at death, of which small ones may each pin half a span.
 */
function slackBytes(c: GoldenCase, moment: string, startingSize: number): number {
  const dead = moment.startsWith("ended") || moment.startsWith("restarted");
  if (dead && c.parks_deep) return 2 * 32 * Math.max(SPAN / 2, startingSize);
  return (dead ? 8 : 2) * SPAN;
}

describe("round2", () => {
  it("is the next power of two", () => {
    expect([1, 2, 3, 2048, 2049, 1e9].map(round2)).toEqual([1, 2, 4, 2048, 4096, 2 ** 30]);
  });
});
