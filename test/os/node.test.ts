/** The machine's memory: the kernel's numbers for watermarks and protection, and who loses what to whom. */
import { describe, expect, test } from "vitest";
import { MemoryCgroup } from "../../src/os/cgroup.ts";
import { FileLists } from "../../src/os/filelists.ts";
import {
  defaultMinFreeBytes,
  lowmemReservePages,
  type Neighbours,
  NodeMemory,
  type NodeOom,
  unprotectedPages,
  watermarks,
} from "../../src/os/node.ts";
import { oomLog } from "../../src/os/oom.ts";
import { OS_PAGE_BYTES } from "../../src/os/os.ts";
import { type FileLoad, PageCache } from "../../src/os/pagecache.ts";

const KiB = 2 ** 10;
const MiB = 2 ** 20;
const GiB = 2 ** 30;
const pages = (bytes: number): number => bytes / OS_PAGE_BYTES;

describe("watermarks", () => {
  test("vm.min_free_kbytes is as the kernel sets it", () => {
    // sqrt(16 * 2^20 KiB) = 4096 KiB; sqrt(16 * 2^23) = 11585.2.
    expect(defaultMinFreeBytes(GiB, false)).toBe(4096 * KiB);
    expect(defaultMinFreeBytes(8 * GiB, false)).toBe(11585 * KiB);
    expect(defaultMinFreeBytes(16 * 1024 * GiB, false)).toBe(262144 * KiB);
    // With huge pages 512 * zones * (2 + 3 * 3) pages: the 67584 KiB that servers have, and the guest's 45056.
    expect(defaultMinFreeBytes(8 * GiB, true)).toBe(67584 * KiB);
    expect(defaultMinFreeBytes(GiB, true)).toBe(45056 * KiB);
    // But a twentieth of 131072 pages at most: 6553 pages.
    expect(defaultMinFreeBytes(512 * MiB, true)).toBe(6553 * 4 * KiB);
  });

  test("low and high follow from min, or from 0.1 % of a large machine's memory", () => {
    expect(watermarks(GiB, 44 * MiB)).toEqual({ minPages: 11264, lowPages: 14080, highPages: 16896 });
    // 256 GiB: 67108 pages are a thousandth, more than a quarter of 16896.
    expect(watermarks(256 * GiB, 66 * MiB)).toEqual({
      minPages: 16896,
      lowPages: 16896 + 67108,
      highPages: 16896 + 2 * 67108,
    });
  });

  test("lower zones keep a page back for every 256 above them", () => {
    expect(lowmemReservePages(GiB)).toBe(1024);
    // 8192 would be more than the zone of 3840 has; the next one keeps (8 - 3) GiB / 256.
    expect(lowmemReservePages(8 * GiB)).toBe(3840 + 5120);
  });
});

describe("protection", () => {
  test("leaves of a list the part above it, and 32 pages at least", () => {
    expect(unprotectedPages(1000, 2000, 0)).toBe(1000);
    // 1000 - 1000 * 500 / 2001 = 1000 - 249.
    expect(unprotectedPages(1000, 2000, 500)).toBe(751);
    expect(unprotectedPages(1000, 2000, 1999)).toBe(32);
    expect(unprotectedPages(1000, 2000, 3000)).toBe(32);
  });
});

/** Reads `bytes` of files once, within the first second. */
const once = (bytes: number): FileLoad => ({
  bytesPerSecond: bytes,
  again: null,
  startNs: 0,
  stopNs: 1e9,
});

interface Options {
  readonly memory?: number;
  readonly neighbours?: Partial<Neighbours>;
  readonly low?: number;
  readonly min?: number;
  readonly max?: number;
  readonly adj?: number;
  readonly loads?: readonly FileLoad[];
}

/** A machine of 1 GiB whose watermarks are 40, 50 and 60 MiB above the 4 MiB of its lower zone. */
function machine(options: Options = {}) {
  const ooms: NodeOom[] = [];
  const node = new NodeMemory({
    memoryBytes: options.memory ?? GiB,
    minFreeBytes: 40 * MiB,
    neighbours: {
      kernelBytes: 0,
      anonBytes: 0,
      fileBytes: 0,
      readBytesPerSecond: 0,
      oomScoreAdj: 0,
      ...options.neighbours,
    },
    process: { fileRssBytes: 0, oomScoreAdj: options.adj ?? 0 },
    sharedFileBytes: 0,
  });
  node.onNeighbours = (oom) => ooms.push(oom);
  const pageCache = new PageCache(options.loads ?? [], 0);
  const cgroup = new MemoryCgroup({
    maxBytes: options.max ?? Number.POSITIVE_INFINITY,
    highBytes: Number.POSITIVE_INFINITY,
    binaryBytes: 0,
    pageCache,
    lowBytes: options.low ?? 0,
    minBytes: options.min ?? 0,
    node,
  });
  pageCache.advance(1e9, (n) => cgroup.chargeFile(n, 1e9));
  pageCache.flushStats();
  /** Neighbours have so much anonymous memory from now on. */
  const others = (anonBytes: number): void => node.change({ anonBytes, overNs: 0 }, node.nowNs);
  return { node, cgroup, ooms, others };
}

const freeMiB = (node: NodeMemory): number => (node.freePages * OS_PAGE_BYTES) / MiB;
const fileMiB = (cgroup: MemoryCgroup): number => cgroup.stat().file / MiB;

describe("kswapd", () => {
  test("sleeps above the low watermark, and then reclaims until free is above the high one", () => {
    const { node, cgroup, others } = machine({ loads: [once(400 * MiB)] });
    // Some 400 MiB of cache and its nodes. 54 MiB free is the low watermark with the reserve, exactly.
    const left = node.freePages - pages(54 * MiB);
    others(left * OS_PAGE_BYTES);
    expect(node.freePages).toBe(pages(54 * MiB));
    expect(node.stealKswapdPages).toBe(0);
    others((left + 1) * OS_PAGE_BYTES);
    expect(node.stealKswapdPages).toBeGreaterThan(0);
    // It stops with the first share that gets it there: of 400 MiB, at 1/32, 12.5 MiB more at most.
    expect(freeMiB(node)).toBeGreaterThan(64 - 1 / 256);
    expect(freeMiB(node)).toBeLessThan(64 + 12.5);
    expect(node.stealDirectPages).toBe(0);
    cgroup.checkInvariants();
  });

  test("takes from each group in proportion to what it has cached, whoever needs memory", () => {
    const { node, cgroup, others } = machine({
      loads: [once(200 * MiB)],
      neighbours: { fileBytes: 600 * MiB },
    });
    others(300 * MiB);
    const ours = 200 - fileMiB(cgroup);
    const theirs = 600 - node.neighbourFileBytes / MiB;
    expect(ours).toBeGreaterThan(30);
    expect(theirs / ours).toBeCloseTo(3, 1);
    expect(cgroup.events).toMatchObject({ low: 0, max: 0 });
  });

  test("the container's own memory makes neighbours pay, too", () => {
    const { node, cgroup } = machine({ neighbours: { fileBytes: 800 * MiB } });
    expect(cgroup.chargeAnon(pages(400 * MiB))).toBe(0);
    expect(node.neighbourFileBytes).toBeLessThan(600 * MiB);
    expect(freeMiB(node)).toBeGreaterThan(54 - 1 / 256);
    cgroup.checkInvariants();
  });

  test("looks once more after a nap of 100 ms, and sleeps only if enough is free still", () => {
    const { node, others } = machine({ neighbours: { fileBytes: 800 * MiB } });
    const naps: number[] = [];
    node.timer = { nowNs: 5e9, set: (atNs) => naps.push(atNs) };
    // The page that is one too many: 1024 - 800 - 170 are the low watermark with the reserve.
    const anon = 170 * MiB + OS_PAGE_BYTES;
    others(anon);
    expect(naps).toEqual([5.1e9]);
    // Nobody has taken anything: it sleeps, and below the high watermark nothing but the low one wakes it.
    const stolen = node.stealKswapdPages;
    node.napEnds();
    expect(naps).toEqual([5.1e9]);
    const take = node.freePages - pages(63 * MiB);
    others(anon + take * OS_PAGE_BYTES);
    expect(freeMiB(node)).toBe(63);
    expect(node.stealKswapdPages).toBe(stolen);
    // In its nap it would have seen that.
    node.napEnds();
    expect(freeMiB(node)).toBeGreaterThan(64 - 1 / 256);
    expect(naps).toHaveLength(2);
  });

  test("of a group above its protection only the part above it is looked at", () => {
    const usageOf = (low: number): number => {
      const { cgroup, others } = machine({
        loads: [once(400 * MiB)],
        neighbours: { fileBytes: 400 * MiB },
        low,
      });
      others(300 * MiB);
      return 400 - fileMiB(cgroup);
    };
    const whole = usageOf(0);
    // Half of it is protected: it loses half as much as a neighbour of its size. With x lost by it 2 x + x = 2 * whole.
    expect(usageOf(200 * MiB) / whole).toBeCloseTo(2 / 3, 1);
    expect(usageOf(500 * MiB)).toBe(0);
  });
});

describe("memory.low and memory.min", () => {
  const loads = [once(300 * MiB)];

  test("a usage within memory.low is left alone until allocations find nothing else", () => {
    const { node, cgroup, others } = machine({ loads, low: 400 * MiB });
    others(640 * MiB);
    // 1024 - 640 - 300 and nodes: below the low watermark, with nothing for kswapd, and above min.
    expect(fileMiB(cgroup)).toBe(300);
    expect(node.stealKswapdPages).toBe(0);
    expect(node.allocStalls).toBe(0);
    others(700 * MiB);
    expect(fileMiB(cgroup)).toBeLessThan(285);
    expect(cgroup.events.low).toBeGreaterThan(0);
    expect(node.stealKswapdPages).toBe(0);
    expect(node.stealDirectPages).toBeGreaterThan(pages(20 * MiB));
    // At its min watermark, where each allocation reclaims for itself.
    expect(freeMiB(node)).toBeGreaterThan(44 - 1 / 256);
    expect(freeMiB(node)).toBeLessThan(46);
    cgroup.checkInvariants();
  });

  test("neighbours' page cache goes before what memory.low protects", () => {
    const { node, cgroup, others } = machine({ loads, low: 400 * MiB, neighbours: { fileBytes: 100 * MiB } });
    others(640 * MiB);
    expect(fileMiB(cgroup)).toBe(300);
    expect(node.neighbourFileBytes).toBeLessThan(50 * MiB);
    expect(cgroup.events.low).toBe(0);
  });

  test("what memory.min protects is never taken: the OOM killer comes instead", () => {
    const { node, cgroup, others, ooms } = machine({ loads, min: 400 * MiB });
    others(700 * MiB);
    expect(fileMiB(cgroup)).toBe(300);
    expect(cgroup.events.low).toBe(0);
    expect(cgroup.killed).toBe(false);
    expect(ooms).toHaveLength(1);
    expect(node.neighbourOomKills).toBe(1);
    expect(node.neighbourAnonBytes).toBe(0);
    // At the min watermark and the reserve, to the page.
    expect(ooms[0]).toMatchObject({ invoker: "neighbours", victim: "neighbours", freeBytes: 44 * MiB });
  });

  test("protection of all there is, overcommitted, is given up where it is low, and fatal where it is min", () => {
    // More than the machine has.
    const low = machine({ loads, low: 4 * GiB });
    low.others(900 * MiB);
    expect(low.ooms).toHaveLength(0);
    expect(fileMiB(low.cgroup)).toBeLessThan(100);
    const min = machine({ loads, min: 4 * GiB });
    min.others(900 * MiB);
    expect(min.ooms).toHaveLength(1);
    expect(fileMiB(min.cgroup)).toBe(300);
  });

  test("the group's own limit heeds neither", () => {
    const { cgroup } = machine({ loads, max: 200 * MiB, low: 400 * MiB, min: 400 * MiB });
    expect(fileMiB(cgroup)).toBeLessThan(200);
    expect(cgroup.events.low).toBe(0);
  });
});

describe("the OOM killer", () => {
  test("takes the process with most resident pages, whoever asked", () => {
    const { cgroup, others, ooms, node } = machine();
    cgroup.chargeAnon(pages(600 * MiB));
    others(500 * MiB);
    expect(cgroup.killed).toBe(true);
    expect(cgroup.events).toMatchObject({ oom: 0, oom_kill: 1, max: 0 });
    expect(cgroup.oom?.node).toMatchObject({
      invoker: "neighbours",
      victim: "process",
      processBadness: pages(600 * MiB),
    });
    expect(ooms).toHaveLength(0);
    // And neighbours get what they wanted.
    expect(node.neighbourAnonBytes).toBe(500 * MiB);
  });

  test("ends what neighbours were about to read, too", () => {
    const { node, ooms } = machine({
      neighbours: { anonBytes: 800 * MiB, readBytesPerSecond: 100 * MiB },
    });
    node.change({ anonBytes: 1100 * MiB, overNs: 1e9 }, node.nowNs);
    // One round of 2 s: they are killed as they grow, before they read the 200 MiB that were due.
    node.advance(node.nowNs + 2e9);
    expect(ooms).toHaveLength(1);
    expect(node.neighbourAnonBytes).toBe(0);
    expect(node.neighbourFileBytes).toBe(0);
    expect(node.moves).toBe(false);
  });

  test("writes of the machine as its highest zone: Normal begins above 4 GiB", () => {
    const zoneLine = (memory: number): string | undefined => {
      const { cgroup, others } = machine({ memory });
      cgroup.chargeAnon(pages(memory / 2));
      others(memory / 2);
      const group = { version: 2, path: "/p", limitBytes: memory, events: cgroup.events } as const;
      const victim = { pid: 1, comm: "p", totalVmBytes: memory, fileRssBytes: 0, oomScoreAdj: 0 };
      return oomLog(cgroup.oom!, group, victim).find((line) => line.startsWith("Node 0"));
    };
    expect(zoneLine(4 * GiB)).toMatch(/^Node 0 DMA32 free:/);
    expect(zoneLine(4 * GiB + MiB)).toMatch(/^Node 0 Normal free:/);
  });

  test("goes by oom_score_adj, in thousandths of the machine's memory", () => {
    // 600 MiB against 300 MiB and 300 thousandths of 262144 pages, which are 262 * 300 = 78600: 307 MiB.
    const { cgroup, others, ooms } = machine({ neighbours: { oomScoreAdj: 300 } });
    cgroup.chargeAnon(pages(600 * MiB));
    others(500 * MiB);
    expect(cgroup.killed).toBe(false);
    expect(ooms).toHaveLength(1);
    expect(ooms[0].neighboursBadness).toBe(pages(ooms[0].neighbours.anonBytes) + 78600);
  });

  test("never takes a process at -1000, and a process that asks may be the victim itself", () => {
    const { cgroup, ooms } = machine({ neighbours: { anonBytes: 800 * MiB, oomScoreAdj: -1000 }, adj: -999 });
    const left = cgroup.chargeAnon(pages(400 * MiB));
    expect(left).toBeGreaterThan(0);
    expect(cgroup.killed).toBe(true);
    expect(cgroup.oom?.node).toMatchObject({ invoker: "process", victim: "process" });
    expect(ooms).toHaveLength(0);
  });

  test("leaves page cache of a group whose process is gone to the machine", () => {
    const { node, cgroup, others } = machine({ loads: [once(100 * MiB)], min: 700 * MiB });
    cgroup.chargeAnon(pages(500 * MiB));
    others(470 * MiB);
    expect(cgroup.killed).toBe(true);
    expect(node.neighbourFileBytes).toBe(100 * MiB);
  });
});

test("a group's refaults are not the next one's: its active pages stay where inactive ones are enough", () => {
  /** Pages that are active in the second group after the neighbour has grown, and before. */
  const activeAfter = (refaultsBefore: boolean): readonly [number, number] => {
    const { node, cgroup } = machine({ neighbours: { fileBytes: 500 * MiB } });
    const anon = { bytes: 0 };
    const squeeze = (): void => {
      anon.bytes += node.freePages * OS_PAGE_BYTES - 50 * MiB;
      node.change({ anonBytes: anon.bytes, overNs: 0 }, node.nowNs);
    };
    if (refaultsBefore) {
      const { lists } = cgroup;
      const file = lists.addFile(8);
      for (let page = 0; page < 4; page++) {
        lists.addPage(file, page);
        lists.accessed(file, page);
      }
      lists.addPage(file, 7);
      lists.flushStats();
      lists.shrink(1, 0, 1, false, false);
      lists.addPage(file, 7);
      lists.flushStats();
      expect(lists.flushed.refaults).toBe(1);
    }
    squeeze();
    node.leave();
    const next = new MemoryCgroup({
      maxBytes: Number.POSITIVE_INFINITY,
      highBytes: Number.POSITIVE_INFINITY,
      binaryBytes: 0,
      pageCache: new PageCache([], 0),
      lowBytes: 0,
      minBytes: 0,
      node,
    });
    // A group without any usage is not looked at.
    expect(next.chargeAnon(1)).toBe(0);
    const { lists } = next;
    const file = lists.addFile(20_000);
    for (let page = 0; page < 20_000; page++) {
      lists.addPage(file, page);
      lists.accessed(file, page);
    }
    lists.flushStats();
    const before = lists.activePages;
    const stolen = node.stealKswapdPages;
    squeeze();
    expect(node.stealKswapdPages).toBeGreaterThan(stolen);
    return [lists.activePages, before];
  };
  for (const refaultsBefore of [false, true]) {
    const [after, before] = activeAfter(refaultsBefore);
    expect(before).toBe(20_000);
    expect(after).toBe(before);
  }
});

describe("pages that come back", () => {
  /** Four pages of a file are active, one has been evicted. It comes back after `others` pages of other groups have gone. */
  const comesBackActive = (forNode: boolean, others: number, activeOnMachine: number): boolean => {
    const lists = new FileLists();
    let elsewhere = 0;
    lists.node = {
      get age() {
        return lists.age + elsewhere;
      },
      flushedActive: activeOnMachine,
    };
    const file = lists.addFile(8);
    for (let page = 0; page < 4; page++) {
      lists.addPage(file, page);
      lists.accessed(file, page);
    }
    lists.addPage(file, 7);
    lists.flushStats();
    expect(lists.shrink(1, 0, 1, false, forNode)).toBe(1);
    elsewhere += others;
    const before = lists.activePages;
    lists.addPage(file, 7);
    return lists.activePages > before;
  };

  test("are active by the clock of whoever evicted them, against what is active there", () => {
    expect(comesBackActive(false, 1000, 0)).toBe(true);
    expect(comesBackActive(true, 0, 4)).toBe(true);
    // Evicted itself, and 19 elsewhere.
    expect(comesBackActive(true, 19, 20)).toBe(true);
    expect(comesBackActive(true, 20, 20)).toBe(false);
    expect(comesBackActive(true, 1000, 4)).toBe(false);
  });
});
