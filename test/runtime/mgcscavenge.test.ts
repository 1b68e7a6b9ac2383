import { describe, expect, test } from "vitest";
import { Memory } from "../../src/os/memory.ts";
import { noMemoryLimit } from "../../src/runtime/mgcpacer.ts";
import {
  BackgroundScavenger,
  candidateSize,
  candidateStart,
  findScavengeCandidate,
  Scavenger,
  type ScavTraceRecord,
  scavenge,
} from "../../src/runtime/mgcscavenge.ts";
import { PageAlloc } from "../../src/runtime/mpagealloc.ts";
import { PageCache } from "../../src/runtime/mpagecache.ts";
import { chunkWords, pallocChunkPages, setRange } from "../../src/runtime/mpallocbits.ts";
import { AFTER_EXIT, G, type MarkScheduling, P_IDLE, Scheduler } from "../../src/runtime/proc.ts";
import { ScavengeIndex } from "../../src/runtime/scavengeindex.ts";
import { pageSize } from "../../src/runtime/sizeclasses.ts";
import { rulesFor } from "../../src/runtime/version.ts";
import { type BitRange, bitsOf, type ChunkRanges, dump, golden, prepare } from "./golden.ts";
import { allocMany, collect, type Rig, rig, sweepAll } from "./heapharness.ts";

interface Vectors {
  PallocDataFindScavengeCandidate: {
    name: string;
    alloc: BitRange[];
    scavenged: BitRange[];
    min: number;
    max: number;
    want: BitRange;
  }[];
  FindScavengeCandidateRandom: {
    alloc: string[];
    scav: string[];
    find: [searchIdx: number, max: number, start: number, size: number][];
    hugePagePages: number;
  }[];
  PageAllocScavenge: {
    name: string;
    beforeAlloc: ChunkRanges;
    beforeScav: ChunkRanges;
    expect: { request: number; expect: number }[];
    afterScav: ChunkRanges;
  }[];
  ScavengeIndex: { name: string; force: boolean; ops: [op: string, a?: number, b?: number][] }[];
  ScavengeTrace: {
    grow: [chunk: number, chunks: number][];
    ops: [code: number, a: number, b: number, result: number][];
    final: [chunk: number, alloc: string[], scav: string[]][];
  }[];
  Scavenger: {
    procs: number;
    nsPerPage: number;
    runs: { work: number; stopAt: number; released: number; sleeps: number[] }[];
  }[];
}
const vectors = golden<Vectors>("mgcscavenge");
const modern = rulesFor("1.26");
const oneBit = rulesFor("1.20");

/** The free pages of an allocator are marked as the index would have them after being freed. */
function offer(pages: PageAlloc): PageAlloc {
  for (let k = 0; k < pages.inUseBase.length; k++) {
    const limit = pages.inUseLimit[k] / pallocChunkPages;
    for (let c = pages.inUseBase[k] / pallocChunkPages; c < limit; c++) {
      pages.scav.free(c, pallocChunkPages - 1, 0);
    }
  }
  return pages;
}

const noRelease = () => {};

describe("findScavengeCandidate", () => {
  // Minima are OS pages in runtime pages: 8 is 64 KiB, the largest that Linux has.
  test.each(vectors.PallocDataFindScavengeCandidate.filter(({ min }) => min <= 8))(
    "$name",
    ({ alloc, scavenged, min, max, want }) => {
      const allocBits = new Int32Array(chunkWords);
      const scavBits = new Int32Array(chunkWords);
      for (const [at, n] of alloc) if (n > 0) setRange(allocBits, 0, at, n);
      for (const [at, n] of scavenged) if (n > 0) setRange(scavBits, 0, at, n);
      const found = findScavengeCandidate(
        allocBits,
        scavBits,
        0,
        pallocChunkPages - 1,
        Math.max(min, max),
        min,
      );
      expect(candidateSize(found)).toBe(want[1]);
      if (want[1] > 0) expect(candidateStart(found)).toBe(want[0]);
    },
  );

  test("random bitmaps, as Go answers", () => {
    for (const { alloc, scav, find, hugePagePages } of vectors.FindScavengeCandidateRandom) {
      expect(hugePagePages).toBe(256);
      const allocBits = bitsOf(alloc);
      const scavBits = bitsOf(scav);
      for (const [searchIdx, max, start, size] of find) {
        const found = findScavengeCandidate(allocBits, scavBits, 0, searchIdx, max);
        expect([candidateStart(found), candidateSize(found)]).toEqual([start, size]);
      }
    }
  });
});

describe("pageAlloc.scavenge", () => {
  test.each(vectors.PageAllocScavenge)("$name", ({ beforeAlloc, beforeScav, expect: steps, afterScav }) => {
    for (const rules of [modern, oneBit]) {
      const pages = offer(prepare(new PageAlloc(rules), beforeAlloc, beforeScav));
      for (const { request, expect: bytes } of steps) {
        expect(scavenge(pages, request, true, noRelease)).toBe(bytes);
        pages.checkInvariants();
      }
      expect(dump(pages)).toEqual(dump(prepare(new PageAlloc(rules), beforeAlloc, afterScav)));
    }
  });

  test.each(vectors.ScavengeTrace.map((trace, i) => ({ i, ...trace })))(
    "random trace $i, alternating with allocation",
    ({ grow, ops, final }) => {
      const pages = new PageAlloc(modern);
      for (const [chunk, chunks] of grow) pages.grow(chunk * pallocChunkPages, chunks * pallocChunkPages);
      const cache = new PageCache();
      ops.forEach(([code, a, b, result], i) => {
        let got = 0;
        switch (code) {
          case 0:
            got = pages.alloc(a);
            break;
          case 1:
            pages.free(a, b);
            break;
          case 2:
            pages.allocToCache(cache);
            got = cache.empty() ? -1 : cache.base;
            break;
          case 3:
            got = cache.alloc(b);
            break;
          case 4:
            cache.flush(pages);
            break;
          case 5:
            got = scavenge(pages, a, b === 1, noRelease);
            break;
          case 6:
            pages.scav.nextGen();
            break;
        }
        expect(got, `operation ${i}: ${code} ${a} ${b}`).toBe(result);
      });
      pages.checkInvariants();
      expect(dump(pages)).toEqual(final);
    },
  );

  test("more than is free is not released, and what is released is reported page by page", () => {
    const pages = offer(prepare(new PageAlloc(), [[0, [[10, 500]]]], []));
    const released: [number, number][] = [];
    expect(scavenge(pages, Infinity, true, (base, n) => released.push([base, n]))).toBe(12 * pageSize);
    expect(released).toEqual([
      [510, 2],
      [0, 10],
    ]);
    expect(scavenge(pages, 1, true, noRelease)).toBe(0);
  });
});

describe("scavengeIndex", () => {
  function range(base: number, limit: number, each: (chunk: number, page: number, n: number) => void): void {
    for (let page = base; page < limit; ) {
      const at = page % pallocChunkPages;
      const n = Math.min(pallocChunkPages - at, limit - page);
      each((page - at) / pallocChunkPages, at, n);
      page += n;
    }
  }

  test.each(vectors.ScavengeIndex)("$name", ({ force, ops }) => {
    const chunks = 64;
    const index = new ScavengeIndex(modern);
    index.grow(0, chunks);
    // Go's set-up: every chunk dense in the last generation, and nothing in it to find.
    for (let c = 0; c < chunks; c++) index.alloc(c, pallocChunkPages);
    index.nextGen();
    for (let c = 0; c < chunks; c++) {
      index.free(c, pallocChunkPages - 1, pallocChunkPages);
      index.setEmpty(c);
    }
    index.searchAddrBg = -1;
    index.searchAddrForce = -1;
    index.freeHWM = -1;
    for (const [op, a = 0, b = 0] of ops) {
      if (op === "nextGen") index.nextGen();
      else if (op === "mark") {
        range(a, b, (c, _page, n) => index.alloc(c, n));
        range(a, b, (c, page, n) => index.free(c, page + n - 1, n));
      } else {
        const ci = index.find(force);
        expect(ci).toBe(a);
        if (ci < 0) continue;
        expect(index.foundPage).toBe(b);
        index.setEmpty(ci);
      }
    }
  });

  /** One chunk of which `n` pages stay in use after one more was freed. */
  function chunkWith(n: number, rules = modern): ScavengeIndex {
    const index = new ScavengeIndex(rules);
    index.grow(0, 1);
    index.alloc(0, n + 1);
    index.free(0, 511, 1);
    return index;
  }

  test("the background leaves chunks of 496 pages in use alone, forced scavenging does not", () => {
    const sparse = chunkWith(494);
    const dense = chunkWith(496);
    expect([sparse.find(false), sparse.find(true)]).toEqual([-1, 0]);
    sparse.nextGen();
    dense.nextGen();
    expect([sparse.find(false), dense.find(false), dense.find(true)]).toEqual([0, -1, 0]);
  });

  test("a chunk dense when its generation began stays taboo until the next", () => {
    const index = chunkWith(500);
    index.nextGen();
    index.free(0, 499, 400);
    expect(index.find(false)).toBe(-1);
    index.nextGen();
    expect(index.find(false)).toBe(0);
  });

  test("before 1.21: no density and no generations, and caches that are flushed go unseen", () => {
    const index = chunkWith(500, oneBit);
    expect(index.find(false)).toBe(0);
    index.setEmpty(0);
    index.flush(0, 200, 1);
    expect(index.find(false)).toBe(-1);
    index.free(0, 100, 1);
    expect(index.find(false)).toBe(0);
  });

  test.each([
    ["1.19", 511],
    ["1.20", 100],
    ["1.26", 100],
  ] as const)("%s starts inside a chunk at page %d", (version, page) => {
    const index = new ScavengeIndex(rulesFor(version));
    index.grow(0, 1);
    index.alloc(0, 200);
    index.free(0, 100, 1);
    index.nextGen();
    expect([index.find(false), index.foundPage]).toEqual([0, page]);
  });
});

/** A collector that never runs. */
const noGc: MarkScheduling = {
  marking: false,
  idleCheckNs: 1e5,
  onlyLooking: false,
  workerDue: () => P_IDLE,
  addIdleWorker: () => false,
  workerStarted: () => {},
  workerHeld: () => {},
  workerStopped: () => {},
  workerExitNs: () => Infinity,
  assist: () => 0,
  flushAssistCredit: () => {},
  assistDone: () => {},
  triggered: () => false,
};

function scheduler(procs: number, cpus = procs): Scheduler {
  const sched = new Scheduler({
    nprocs: procs,
    cpus,
    wakeNs: () => 0,
    timerSlackNs: () => 0,
    switchNs: 0,
    wakerNs: 0,
    coldNs: 0,
  });
  sched.attach(noGc);
  return sched;
}

/** Notes the time at which each park of a scavenger began and ended. */
class Noting extends BackgroundScavenger {
  readonly sleeps: number[] = [];
  #parkedAt = -1;

  override step(p: number, nowNs: number): number {
    if (this.#parkedAt >= 0) this.sleeps.push(nowNs - this.#parkedAt);
    this.#parkedAt = -1;
    const ns = super.step(p, nowNs);
    if (this.idle && this.asleep) this.#parkedAt = nowNs;
    return ns;
  }
}

describe("the background scavenger", () => {
  test.each(vectors.Scavenger)("$procs Ps, $nsPerPage ns a page: every sleep as Go asks for it", (v) => {
    const sched = scheduler(v.procs);
    let available = 0;
    let stopAt = 0;
    let worked = 0;
    let slept = 0;
    const costNs = (bytes: number) => Math.ceil(bytes / 4096) * v.nsPerPage;
    const s = new Noting(sched, {
      physPageSize: 4096,
      scavenge: (nbytes) => {
        const bytes = Math.min(nbytes, available);
        available -= bytes;
        worked += costNs(bytes);
        return bytes;
      },
      costNs,
      shouldStop: () => available <= stopAt,
    });
    for (const run of v.runs) {
      available = run.work;
      stopAt = run.stopAt;
      s.sleeps.length = 0;
      s.wake();
      sched.run(sched.nowNs + 3600e9);
      expect(s.released).toBe(run.released);
      expect(s.sleeps).toEqual(run.sleeps);
      for (const ns of s.sleeps) slept += ns;
      if (v.procs === 1) expect(Math.abs(worked / (worked + slept) - 0.01)).toBeLessThan(0.005);
    }
  });

  test("waking it early shortens its sleep, and a scavenger at work is not woken twice", () => {
    const sched = scheduler(1);
    let available = 1e9;
    const s = new Noting(sched, {
      physPageSize: 4096,
      scavenge: (nbytes) => {
        available -= nbytes;
        return nbytes;
      },
      costNs: (bytes) => bytes,
      shouldStop: () => available <= 0,
    });
    expect(s.wake()).toBe(true);
    expect(s.wake()).toBe(false);
    sched.run(50e6);
    expect([s.released, s.idle]).toEqual([16 * 65536, true]);
    expect(s.wake()).toBe(true);
    sched.run(60e6);
    expect(s.sleeps).toEqual([50e6 - 16 * 65536]);
  });
});

const COSTS = { pageNs: 300, callNs: 2000, busyCallNs: 9000 };

describe("goals and a heap", () => {
  interface Scavenged extends Rig {
    readonly memory: Memory;
    readonly sched: Scheduler;
    readonly scavenger: Scavenger;
  }

  function scavengedRig(
    version: "1.20" | "1.26" = "1.26",
    memoryLimit = noMemoryLimit,
    onTrace: (trace: ScavTraceRecord) => void = () => {},
    sched = scheduler(1),
  ): Scavenged {
    const memory = new Memory({ fileBytes: 0, otherBytes: 0, faults: 0 });
    const rules = rulesFor(version);
    const r = rig(version, { os: memory, pages: new PageAlloc(rules) });
    const scavenger = new Scavenger({
      sched,
      heap: r.heap,
      pacer: { memoryLimit },
      costs: COSTS,
      onTrace,
    });
    return { ...r, memory, sched, scavenger };
  }

  /** 64 MiB of objects in 1 MiB spans; all but the upper eight die and are swept, and a generation passes. */
  function shrink(r: Scavenged): void {
    const kind = r.kinds.add(0, 2 ** 20, 0);
    allocMany(r, 0, kind, 56, 5);
    allocMany(r, 0, kind, 8, 0x7fffffff);
    collect(r, 10);
    r.scavenger.nextGen();
    sweepAll(r);
    // What a cycle's sweep frees is for the background only after the next mark termination.
    expect(r.heap.pages.scav.find(false)).toBe(-1);
    r.scavenger.nextGen();
  }

  test("the goal is the memory in use at mark termination, scaled by the goals, and a tenth more", () => {
    const { heap, scavenger } = scavengedRig();
    heap.lastHeapInUse = 10_000_000;
    heap.stats.heapInUse = 8_000_000;
    heap.stats.heapFree = 12_000_000;
    scavenger.pace(2 ** 63, 4e6, 0);
    expect(scavenger.gcPercentGoal).toBe(Infinity);
    scavenger.pace(2 ** 63, 3e6, 4e6);
    expect(scavenger.gcPercentGoal).toBe(Math.ceil(8_250_000 / 4096) * 4096);
    expect(scavenger.memoryLimitGoal).toBe(Infinity);
    // Retained within a page of the goal, or below it: nothing to do.
    heap.stats.heapFree = scavenger.gcPercentGoal + 4095 - 8_000_000;
    scavenger.pace(2 ** 63, 3e6, 4e6);
    expect(scavenger.gcPercentGoal).toBe(Infinity);
    scavenger.pace(10_000_000, 3e6, 4e6);
    expect(scavenger.memoryLimitGoal).toBe(Infinity);
    scavenger.pace(8_000_000, 3e6, 4e6);
    expect(scavenger.memoryLimitGoal).toBe(7_600_000);
    // The first releases with a limit got the percentage wrong.
    const old = scavengedRig("1.20");
    old.heap.stats.heapInUse = 20_000_000;
    old.scavenger.pace(8_000_000, 3e6, 4e6);
    expect(old.scavenger.memoryLimitGoal).toBe(Infinity);
  });

  test("a shrunken heap is given back down to the goal; used again, its pages fault again", () => {
    const r = scavengedRig();
    shrink(r);
    const { heap, memory, scavenger, sched } = r;
    const faults = memory.faults;
    const resident = memory.heapResidentBytes();
    scavenger.pace(2 ** 63, 16 * 2 ** 20, 64 * 2 ** 20);
    const goal = scavenger.gcPercentGoal;
    expect(goal).toBeLessThan(20 * 2 ** 20);
    sched.run(30e9);
    expect(heap.retained).toBeLessThanOrEqual(goal);
    // A huge page at most goes beyond it.
    expect(goal - heap.retained).toBeLessThan(2 * 2 ** 20);
    expect(memory.heapResidentBytes()).toBe(resident - scavenger.background.released);
    heap.checkInvariants();
    memory.checkInvariants();

    allocMany(r, 0, r.kinds.add(0, 2 ** 20, 0), 56, 0x7fffffff);
    heap.checkInvariants();
    memory.checkInvariants();
    const again = scavenger.background.released + scavenger.releasedEager;
    expect(memory.faults - faults).toBeGreaterThanOrEqual(Math.floor(again / 4096));
    expect(heap.stats.heapReleased).toBeLessThan(8 * 2 ** 20);
  });

  test("above the memory limit an allocation gives back what it takes, from dense chunks too", () => {
    const limit = 40 * 2 ** 20;
    const r = scavengedRig("1.26", limit);
    const { heap, scavenger, sched } = r;
    const mib = r.kinds.add(0, 2 ** 20, 0);
    allocMany(r, 0, mib, 32, 5);
    allocMany(r, 0, mib, 2, 0x7fffffff);
    collect(r, 10);
    r.scavenger.nextGen();
    sweepAll(r);
    // Free, but not for the background scavenger: what was dense when the generation began.
    expect(heap.pages.scav.find(false)).toBe(-1);
    expect([scavenger.releasedEager, heap.mappedReady < limit]).toEqual([0, true]);

    // 50 MiB in one piece: the heap must grow, and 32 MiB of it have no room under the limit.
    heap.work.reset();
    allocMany(r, 0, r.kinds.add(0, 50 * 2 ** 20, 0), 1, 0x7fffffff);
    expect(scavenger.releasedEager).toBe(32 * 2 ** 20);
    // One call for each of the eight chunks of 4 MiB that lay full of what died; it is on the allocation's bill.
    expect(scavenger.assistNs).toBe((scavenger.releasedEager / 4096) * COSTS.pageNs + 8 * COSTS.callNs);
    expect(heap.work.scavengeNs).toBe(scavenger.assistNs);
    heap.checkInvariants();
    r.memory.checkInvariants();
    // The limiter has been told what it took: more than the one nanosecond there was.
    sched.limiter.startGCTransition(true, 0);
    sched.limiter.finishGCTransition(0);
    expect(sched.limiter.fill).toBeGreaterThan(2e6);
  });

  test("while the CPU limiter is on nothing is given back for the limit's sake", () => {
    const r = scavengedRig("1.26", 2 ** 20);
    const { heap, scavenger, sched } = r;
    sched.limiter.limiting = true;
    shrink(r);
    allocMany(r, 0, r.kinds.add(0, 80 * 2 ** 20, 0), 1, 0x7fffffff);
    expect(scavenger.releasedEager).toBe(0);
    expect(heap.mappedReady).toBeGreaterThan(140 * 2 ** 20);
  });

  test("a trace line tells what was given back since the last, a forced one what that call gave", () => {
    const traces: ScavTraceRecord[] = [];
    const r = scavengedRig("1.26", noMemoryLimit, (trace) => traces.push(trace));
    shrink(r);
    const { heap, scavenger, sched } = r;
    // The end of shrink's sweep.
    expect(traces).toHaveLength(1);
    expect(traces[0]).toMatchObject({ background_bytes: 0, eager_bytes: 0, forced: false });
    scavenger.pace(2 ** 63, 16 * 2 ** 20, 64 * 2 ** 20);
    sched.run(30e9);
    scavenger.scavengeAll();
    scavenger.sweepDone();
    scavenger.sweepDone();
    expect(traces.slice(1).map((t) => [t.background_bytes, t.eager_bytes, t.forced])).toEqual([
      [0, scavenger.releasedForced, true],
      [scavenger.background.released, 0, false],
      [0, 0, false],
    ]);
    expect(traces[3]).toMatchObject({
      format: "split",
      heap_released_bytes: heap.stats.heapReleased,
      heap_inuse_bytes: heap.stats.heapInUse,
      heap_retained_bytes: heap.stats.heapInUse,
    });
  });

  test("FreeOSMemory gives back everything that is free", () => {
    const r = scavengedRig();
    const { heap, memory, scavenger } = r;
    shrink(r);
    expect(heap.stats.heapFree).toBeGreaterThan(50 * 2 ** 20);
    const free = heap.stats.heapFree;
    // 56 MiB in a row, a chunk of 4 MiB a call.
    expect(scavenger.scavengeAll()).toBe((free / 4096) * COSTS.pageNs + 14 * COSTS.callNs);
    expect(heap.stats.heapFree).toBe(0);
    expect([scavenger.releasedForced, scavenger.released]).toEqual([free, free]);
    heap.checkInvariants();
    memory.checkInvariants();
  });

  /** Computes for a while, and more than any scavenging here takes. */
  class Busy extends G {
    step(): number {
      this.after = AFTER_EXIT;
      return 1e9;
    }
  }

  class GivesBack extends G {
    ns = -1;
    readonly #scavenger: Scavenger;

    constructor(scavenger: Scavenger) {
      super();
      this.#scavenger = scavenger;
    }

    step(): number {
      this.after = AFTER_EXIT;
      this.ns = this.#scavenger.scavengeAll();
      return this.ns;
    }
  }

  test("each run of pages is a call, which takes longer while another CPU runs the process", () => {
    /** Every second page of 64 is free: 32 runs. */
    const cheese = (sched: Scheduler): Scavenged => {
      const r = scavengedRig("1.26", noMemoryLimit, undefined, sched);
      const kind = r.kinds.add(0, pageSize, 0);
      for (let i = 0; i < 64; i++) allocMany(r, 0, kind, 1, i % 2 === 0 ? 5 : 0x7fffffff);
      collect(r, 10);
      sweepAll(r);
      // What else is free has never been used, or is in the page cache.
      r.heap.flushPageCache(0);
      return r;
    };
    const ns = (procs: number, cpus: number, others: number): number => {
      const sched = scheduler(procs, cpus);
      const { scavenger } = cheese(sched);
      const g = new GivesBack(scavenger);
      for (let i = 0; i < others; i++) sched.ready(new Busy());
      sched.ready(g);
      sched.run(3e9);
      return g.ns;
    };
    const runs = 32;
    const alone = ns(2, 2, 0);
    const pages = runs * (pageSize / 4096);
    expect(alone).toBe(pages * COSTS.pageNs + runs * COSTS.callNs);
    expect(ns(2, 2, 1) - alone).toBe(runs * (COSTS.busyCallNs - COSTS.callNs));
    // Ps that share a CPU interrupt nobody.
    expect(ns(2, 1, 1)).toBe(alone);
    // It counts for the background, too.
    const background = (others: number): number => {
      const sched = scheduler(2, 2);
      const { scavenger } = cheese(sched);
      scavenger.nextGen();
      scavenger.nextGen();
      scavenger.gcPercentGoal = 0;
      for (let i = 0; i < others; i++) sched.ready(new Busy());
      scavenger.wake();
      sched.run(3e9);
      return scavenger.backgroundNs;
    };
    expect(background(0)).toBe(alone);
    expect(background(1)).toBe(ns(2, 2, 1));
  });

  test("a heap that grows above its goal gives back free pages elsewhere first", () => {
    const r = scavengedRig();
    shrink(r);
    const { heap, scavenger } = r;
    scavenger.pace(2 ** 63, 16 * 2 ** 20, 64 * 2 ** 20);
    const released = heap.stats.heapReleased;
    // Larger than any free run: the heap must grow, by whole chunks.
    const npages = heap.pages.largestFreeRun() + 1;
    heap.work.reset();
    allocMany(r, 0, r.kinds.add(0, npages * pageSize, 0), 1, 0x7fffffff);
    const { growthBytes, scavengeNs } = heap.work;
    expect(growthBytes).toBeGreaterThan(56 * 2 ** 20);
    // Everything that was free.
    expect(scavenger.releasedEager).toBe(56 * 2 ** 20);
    expect(scavengeNs).toBe((scavenger.releasedEager / 4096) * COSTS.pageNs + 14 * COSTS.callNs);
    expect(heap.stats.heapReleased).toBeGreaterThan(released);
    heap.checkInvariants();
    // Without a goal a growing heap takes what it needs and gives nothing back.
    scavenger.gcPercentGoal = Infinity;
    allocMany(r, 0, r.kinds.add(0, (heap.pages.largestFreeRun() + 1) * pageSize, 0), 1, 0x7fffffff);
    expect(heap.work.growthBytes).toBeGreaterThan(growthBytes);
    expect(heap.work.scavengeNs).toBe(scavengeNs);
  });
});
