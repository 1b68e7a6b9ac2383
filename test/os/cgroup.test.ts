/** The memory controller: its counter, its limits, and the kernel's own numbers for memory.high. */
import { describe, expect, test } from "vitest";
import { calculateHighDelay, kernelBytesAtStart, MemoryCgroup } from "../../src/os/cgroup.ts";
import { Memory, type PageSettings } from "../../src/os/memory.ts";
import { OS_PAGE_BYTES } from "../../src/os/os.ts";
import { type FileLoad, PageCache } from "../../src/os/pagecache.ts";
import { Rng } from "../../src/sim/rng.ts";

const MiB = 2 ** 20;
const pages = (bytes: number): number => bytes / OS_PAGE_BYTES;

function group(options: { max?: number; high?: number; binary?: number; loads?: readonly FileLoad[] } = {}) {
  const pageCache = new PageCache(options.loads ?? [], 0);
  const cgroup = new MemoryCgroup({
    maxBytes: options.max ?? Infinity,
    highBytes: options.high ?? Infinity,
    binaryBytes: options.binary ?? 0,
    pageCache,
  });
  return { cgroup, pageCache };
}

/** How long a thread that has charged what was charged since the last call is to sleep, in all its faults. */
const owedNs = (cgroup: MemoryCgroup): number =>
  (cgroup.takeSleeps() ?? []).reduce((sum, { ns, times }) => sum + ns * times, 0);

/** Reads `bytes` of files once, within a second. */
const once = (bytes: number): FileLoad => ({
  bytesPerSecond: bytes,
  again: null,
  startNs: 0,
  stopNs: 1e9,
});

/** Reads random pages of a file, 64 MiB per second. */
const again = (fileBytes: number, stopNs: number): FileLoad => ({
  bytesPerSecond: 64 * MiB,
  again: { fileBytes, random: new Rng("file") },
  startNs: 0,
  stopNs,
});

function readFiles(g: ReturnType<typeof group>): void {
  g.pageCache.advance(1e9, (n) => g.cgroup.chargeFile(n, 1e9));
}

describe("memory.high", () => {
  test("sleeps as long as the table in mm/memcontrol.c says for a high of 100 MiB", () => {
    // Usage in MiB against milliseconds for a batch of 64 pages; the table is for 1000 ticks per second.
    const table = [
      [100, 0],
      [101, 6],
      [102, 25],
      [103, 57],
      [104, 102],
      [105, 159],
      [106, 230],
      [107, 313],
      [108, 409],
      [109, 518],
      [110, 639],
      [111, 774],
      [112, 921],
      [113, 1081],
      [114, 1254],
      [115, 1439],
      [116, 1638],
      [117, 1849],
      [118, 2000],
      [119, 2000],
      [120, 2000],
      [300, 2000],
    ];
    const delays = table.map(([mib]) => [
      mib,
      calculateHighDelay(pages(mib * MiB), pages(100 * MiB), 64, 1000),
    ]);
    expect(delays).toEqual(table);
    // A quarter of a batch owes a quarter of the sleep.
    expect(calculateHighDelay(pages(110 * MiB), pages(100 * MiB), 16, 1000)).toBe(159);
  });

  test("reclaims instead of sleeping as long as there is page cache", () => {
    const g = group({ high: 16 * MiB, loads: [once(8 * MiB)] });
    readFiles(g);
    g.cgroup.chargeAnon(pages(12 * MiB));
    expect(owedNs(g.cgroup)).toBe(0);
    expect(g.cgroup.events.high).toBeGreaterThan(0);
    expect(g.cgroup.currentBytes).toBeLessThanOrEqual(16 * MiB + 64 * OS_PAGE_BYTES);
    // Without cache left, growth beyond costs sleep.
    g.cgroup.chargeAnon(pages(8 * MiB));
    expect(g.pageCache.inactivePages).toBe(0);
    expect(owedNs(g.cgroup)).toBeGreaterThan(1e9);
    expect(g.cgroup.killed).toBe(false);
    g.cgroup.checkInvariants();
  });

  /** Batches of 64 pages are charged, as faults do; what each does to the counters and how long its thread sleeps. */
  function batches(g: ReturnType<typeof group>, n: number) {
    return Array.from({ length: n }, () => {
      const high = g.cgroup.events.high;
      g.cgroup.chargeAnon(64);
      const over = pages(g.cgroup.currentBytes);
      return {
        ticks: calculateHighDelay(over, g.cgroup.highPages, 64),
        sleptNs: owedNs(g.cgroup),
        reclaims: g.cgroup.events.high - high,
      };
    });
  }

  test("up to two ticks are not worth a sleep, three are", () => {
    const all = batches(group({ high: 100 * MiB }), 420);
    const ticks = new Map(all.map((batch) => [batch.ticks, batch.sleptNs]));
    expect([0, 1, 2, 3].map((n) => ticks.get(n))).toEqual([0, 0, 0, 3 * 4e6]);
    for (const { ticks: n, sleptNs } of all) expect(sleptNs).toBe(n <= 2 ? 0 : n * 4e6);
  });

  test("a thread reclaims once, and with nothing to reclaim sixteen times more before it sleeps", () => {
    const all = batches(group({ high: 100 * MiB }), 420);
    const seen = new Set<number>();
    for (const { ticks, reclaims } of all) {
      if (reclaims > 0) expect(reclaims).toBe(ticks <= 2 ? 1 : 17);
      seen.add(reclaims);
    }
    expect([...seen].sort((a, b) => a - b)).toEqual([0, 1, 17]);
  });

  test("a huge page is one charge and one sleep, of two seconds at most; khugepaged's costs nobody any", () => {
    const { cgroup } = group({ high: 100 * MiB });
    cgroup.chargeAnon(pages(120 * MiB));
    cgroup.takeSleeps();
    const reclaims = cgroup.events.high;
    cgroup.chargeHuge();
    expect(cgroup.takeSleeps()).toEqual([{ pages: 512, ns: 2e9, times: 1 }]);
    expect(cgroup.events.high - reclaims).toBe(17);
    cgroup.collapsed(512, 0);
    expect(cgroup.takeSleeps()).toBeNull();
    expect(cgroup.events.high - reclaims).toBe(17);
    expect(cgroup.stat().anon).toBe(124 * MiB);
    cgroup.checkInvariants();
    // As small pages the same memory is eight faults that sleep, each by what is above at its time.
    cgroup.chargeAnon(512);
    expect(cgroup.takeSleeps()).toEqual([{ pages: 64, ns: 2e9, times: 8 }]);
  });

  test("a sleep that was owed is shortened, or not slept, if less is above when it begins", () => {
    const { cgroup } = group({ high: 100 * MiB });
    cgroup.chargeAnon(pages(120 * MiB));
    const last = cgroup.takeSleeps()!.at(-1)!;
    expect(cgroup.throttledNs).toBe(0);
    expect(cgroup.beginSleep(last, 0)).toBe(last.ns);
    expect(cgroup.throttledNs).toBe(2e9);
    cgroup.resizeHigh(110 * MiB);
    const shorter = cgroup.beginSleep(last, 0);
    expect(shorter).toBe(calculateHighDelay(pages(cgroup.currentBytes), pages(110 * MiB), 64) * 4e6);
    expect(shorter).toBeLessThan(2e9);
    cgroup.resizeHigh(120 * MiB);
    expect(cgroup.beginSleep(last, 0)).toBe(0);
    expect(cgroup.throttledNs).toBe(2e9 + shorter);
  });

  test("one reclaim is of what was charged, or of 32 pages when tried again, and up to twice that", () => {
    const g = group({ high: 16 * MiB, loads: [once(4 * MiB)] });
    g.cgroup.chargeAnon(pages(14.75 * MiB));
    expect(g.cgroup.events.high).toBe(0);
    readFiles(g);
    const cached = g.pageCache.inactivePages;
    expect(cached).toBeGreaterThan(192);
    const [first] = batches(g, 1);
    // 1/128 of the list, then 1/64, ... until there are 64.
    let taken = 0;
    for (let share = 128, left = cached; taken < 64; share /= 2) {
      for (let n = Math.floor(left / share); n > 0 && taken < 64; n -= 32) taken += Math.min(32, n);
      left = cached - taken;
    }
    expect(g.pageCache.inactivePages).toBe(cached - taken);
    expect(taken).toBeLessThan(128);
    expect(first).toMatchObject({ sleptNs: 0, reclaims: 1 });
    // No cache and a long way above: then some that the next charge finds.
    const late = group({ high: 16 * MiB, loads: [once(MiB)] });
    late.cgroup.chargeAnon(pages(18 * MiB));
    owedNs(late.cgroup);
    const before = late.cgroup.events.high;
    late.pageCache.advance(1e9, () => 0);
    expect(late.pageCache.inactivePages).toBe(256);
    late.cgroup.chargeAnon(64);
    // One for 64 pages and some for 32; then, as ever, seventeen attempts in vain.
    expect(late.pageCache.inactivePages).toBe(0);
    const attempts = late.cgroup.events.high - before - 17;
    expect(attempts).toBeGreaterThanOrEqual(1 + Math.ceil((256 - 127) / 63));
    expect(attempts).toBeLessThanOrEqual(1 + (256 - 64) / 32);
    expect(owedNs(late.cgroup)).toBeGreaterThan(0);
  });
});

describe("memory.max", () => {
  test("takes pages in batches of 64, and one by one near the limit", () => {
    const { cgroup } = group({ max: 130 * OS_PAGE_BYTES });
    cgroup.chargeAnon(1);
    expect(cgroup.currentBytes).toBe(64 * OS_PAGE_BYTES);
    cgroup.chargeAnon(64);
    expect(cgroup.currentBytes).toBe(128 * OS_PAGE_BYTES);
    cgroup.chargeAnon(63);
    expect(cgroup.events.failcnt).toBe(0);
    cgroup.chargeAnon(1);
    expect(cgroup.currentBytes).toBe(129 * OS_PAGE_BYTES);
    // The batch was refused, the page was not.
    expect(cgroup.events).toMatchObject({ failcnt: 1, max: 0 });
    cgroup.checkInvariants();
  });

  test("reclaims page cache before it kills, and kills at the limit exactly", () => {
    const g = group({ max: 16 * MiB, loads: [once(32 * MiB)] });
    readFiles(g);
    expect(g.cgroup.killed).toBe(false);
    expect(g.cgroup.currentBytes).toBeGreaterThan(15.5 * MiB);
    expect(g.cgroup.workingSetBytes).toBeLessThan(MiB);
    g.cgroup.chargeAnon(pages(10 * MiB));
    expect(g.cgroup.stat().anon).toBe(10 * MiB);
    expect(g.cgroup.stat().file).toBeLessThanOrEqual(6 * MiB);
    expect(g.cgroup.takeCpuNs()).toBeGreaterThan(0);
    g.cgroup.checkInvariants();
    g.cgroup.chargeAnon(pages(7 * MiB));
    expect(g.cgroup.killed).toBe(true);
    expect(g.cgroup.oom?.usageBytes).toBe(16 * MiB);
    expect(g.cgroup.oom?.stat.file).toBe(0);
    expect(g.cgroup.events).toMatchObject({ oom: 1, oom_kill: 1 });
  });
});

describe("a touch that a kill ends", () => {
  /** Touches `bytes` in one go in a group of 64 MiB. */
  function touched(bytes: number, settings: PageSettings = {}) {
    const { cgroup } = group({ max: 64 * MiB });
    cgroup.processStarted(4);
    const os = new Memory({ fileBytes: 0, otherBytes: 0, faults: 0 }, cgroup, settings);
    os.sysMap(0, bytes);
    os.sysUsed(0, bytes);
    os.touch(0, bytes);
    return { cgroup, os };
  }

  test.each([
    ["8 GiB of pages", 8 * 1024 * MiB, 4096, 0],
    ["1 TiB", 2 ** 40, 4096, 0],
    ["pages of 64 KiB", 8 * 1024 * MiB, 65_536, 0],
    ["huge pages", 8 * 1024 * MiB, 4096, 1],
  ] as const)("has as many page tables as pages it got: %s", (_name, bytes, pageBytes, huge) => {
    const hugePages = { enabled: "always", advisePerRelease: false, maxPtesNone: 511 } as const;
    const { cgroup, os } = touched(bytes, { pageBytes, ...(huge === 1 ? { hugePages } : {}) });
    const { stat, usageBytes } = cgroup.oom!;
    expect(usageBytes).toBe(64 * MiB);
    const perTable = (pageBytes * pageBytes) / 8;
    const started = kernelBytesAtStart(4);
    const tables = (stat.pagetables - started.pageTables) / pageBytes;
    // The page refused may have been the first of its table.
    expect([Math.ceil(stat.anon / perTable), Math.floor(stat.anon / perTable) + 1]).toContain(tables);
    // What is short of the limit is less than one page.
    const short = usageBytes - stat.anon - stat.file - stat.kernel;
    expect(short).toBeGreaterThanOrEqual(0);
    expect(short).toBeLessThan(pageBytes);
    // The process has what its group was charged with, and has had no more.
    expect(Math.floor(stat.anon / pageBytes) * pageBytes).toBe(os.residentBytes());
    expect(os.residentPeakBytes()).toBe(os.residentBytes());
    expect(os.pageTableBytes).toBe(stat.pagetables);
    os.checkInvariants();
    // Dead, it gets nothing any more.
    os.metaMap("m", MiB);
    expect([os.touch(0, bytes), os.metaTouch("m", MiB)]).toEqual([0, 0]);
    expect(cgroup.oom!.stat).toBe(stat);
  });

  test("of metadata ends at the same page in both", () => {
    const { cgroup } = group({ max: 64 * MiB });
    const os = new Memory({ fileBytes: 0, otherBytes: 0, faults: 0 }, cgroup);
    os.metaMap("m", 1024 * MiB);
    os.metaTouch("m", 1024 * MiB);
    const { stat } = cgroup.oom!;
    expect(stat.anon + stat.kernel).toBe(64 * MiB);
    expect(stat.pagetables).toBe(Math.floor(stat.anon / (2 * MiB)) * OS_PAGE_BYTES);
    expect(os.residentBytes()).toBe(stat.anon);
    os.checkInvariants();
  });
});

describe("memory.events of a kill", () => {
  test("count the refusal, the attempt after draining the stocks, and sixteen more", () => {
    const { cgroup } = group({ max: 128 * OS_PAGE_BYTES });
    cgroup.chargeAnon(128);
    expect(cgroup.events).toEqual({ low: 0, high: 0, max: 0, oom: 0, oom_kill: 0, failcnt: 0 });
    cgroup.chargeAnon(1);
    // v1's failcnt has the batch that was tried first, too.
    expect(cgroup.events).toEqual({ low: 0, high: 0, max: 18, oom: 1, oom_kill: 1, failcnt: 19 });
    // A process that is killed is charged no more.
    cgroup.chargeAnon(1000);
    expect(cgroup.events.max).toBe(18);
  });

  test("go on from those of charges that reclaim has saved", () => {
    // The last page is for the node of the file's 64.
    const g = group({ max: 129 * OS_PAGE_BYTES, loads: [once(64 * OS_PAGE_BYTES)] });
    readFiles(g);
    g.cgroup.chargeAnon(64);
    expect(g.cgroup.events.max).toBe(0);
    // For each refusal shares of the list go until there are 32 pages: 1, 1, 3, 7, 13 and 19 of the 64.
    g.cgroup.chargeAnon(1);
    expect([g.cgroup.events.max, g.pageCache.inactivePages]).toEqual([1, 20]);
    g.cgroup.chargeAnon(44);
    expect([g.cgroup.events.max, g.pageCache.inactivePages]).toEqual([2, 0]);
    g.cgroup.chargeAnon(32);
    expect(g.cgroup.killed).toBe(true);
    expect(g.cgroup.events).toMatchObject({ max: 2 + 18, oom: 1, oom_kill: 1 });
  });
});

test("memory.current is the sum of memory.stat and the stock, page tables by 2 MiB of heap", () => {
  const { cgroup } = group({ binary: 1.5 * MiB });
  cgroup.processStarted(4);
  const start = cgroup.stat();
  const kernel = kernelBytesAtStart(4);
  expect(start.kernel).toBe(kernel.pageTables + kernel.kernelStack + kernel.slab);
  expect(start.file).toBe(1.5 * MiB);
  const os = new Memory({ fileBytes: 1.5 * MiB, otherBytes: 64 << 10, faults: 0 }, cgroup);
  os.sysMap(0, 64 * MiB);
  os.sysUsed(0, 64 * MiB);
  os.touch(0, 3 * MiB);
  os.touch(0, 3 * MiB);
  const stat = cgroup.stat();
  expect(stat.anon).toBe(3 * MiB + (64 << 10));
  expect(stat.pagetables - start.pagetables).toBe(2 * OS_PAGE_BYTES);
  expect(cgroup.currentBytes - (stat.anon + stat.file + stat.kernel)).toBeLessThan(64 * OS_PAGE_BYTES);
  cgroup.checkInvariants();
  // Given back, anonymous pages are uncharged; the tables stay.
  os.sysUnused(0, 2 * MiB);
  expect(cgroup.stat().anon).toBe(MiB + (64 << 10));
  expect(cgroup.stat().pagetables).toBe(stat.pagetables);
  cgroup.checkInvariants();
  os.checkInvariants();
});

describe("page cache", () => {
  test("random reads of a file that fits settle with all of it active", () => {
    const load = again(8 * MiB, Infinity);
    const g = group({ loads: [load] });
    for (let t = 10e6; t <= 5e9; t += 10e6) g.pageCache.advance(t, (n) => g.cgroup.chargeFile(n, t));
    // 40 reads of each page on average: one that was not read twice is a chance of e^-36.
    expect(g.pageCache.activePages).toBe(pages(8 * MiB));
    expect(g.pageCache.inactivePages).toBe(0);
    expect(g.pageCache.missedPages).toBe(pages(8 * MiB));
  });

  test("reclaim keeps the active list while inactive pages last, then refills from it", () => {
    const log = { bytesPerSecond: 8 * MiB, again: null, startNs: 5e9, stopNs: 7e9 };
    const g = group({ loads: [again(8 * MiB, 5e9), log] });
    for (let t = 10e6; t <= 7e9; t += 10e6) g.pageCache.advance(t, (n) => g.cgroup.chargeFile(n, t));
    const active = g.pageCache.activePages;
    expect(g.pageCache.inactivePages).toBeGreaterThan(active);
    while (g.pageCache.inactivePages > active + 64) {
      g.pageCache.flushStats();
      expect(g.pageCache.reclaim(32, 0)).toBeGreaterThanOrEqual(32);
      expect(g.pageCache.activePages).toBe(active);
    }
    // From here on the inactive list is the shorter one.
    for (let i = 0; i < 8; i++) {
      g.pageCache.reclaim(32, 0);
      g.pageCache.flushStats();
    }
    expect(g.pageCache.activePages).toBeLessThan(active);
    while (g.pageCache.reclaim(1000, 0) > 0);
    expect(g.pageCache.activePages + g.pageCache.inactivePages).toBe(0);
  });

  test("a file that almost fits: what comes back is active at once, and keeps the cache from a scan", () => {
    // 12 MiB of random reads and a log in 8 MiB: without that memory of what was evicted the log would take half.
    const log = { bytesPerSecond: 8 * MiB, again: null, startNs: 0, stopNs: Infinity };
    const g = group({ max: 8 * MiB, loads: [again(12 * MiB, Infinity), log] });
    for (let t = 10e6; t <= 10e9; t += 10e6) g.pageCache.advance(t, (n) => g.cgroup.chargeFile(n, t));
    expect(g.pageCache.activePages).toBeGreaterThan(0.4 * pages(8 * MiB));
    expect(g.cgroup.killed).toBe(false);
    g.cgroup.checkInvariants();
  });
});

test("cached files have nodes in slab, and evicted pages keep theirs, up to one for eight pages on the lists", () => {
  const slabOf = (load: FileLoad, max: number): number => {
    const g = group({ max, loads: [load] });
    const before = g.cgroup.stat().slab;
    for (let t = 10e6; t <= 60e9; t += 10e6) g.pageCache.advance(t, (n) => g.cgroup.chargeFile(n, t));
    g.cgroup.checkInvariants();
    return (g.cgroup.stat().slab - before) / 576;
  };
  expect(slabOf(again(8 * MiB, 2e9), 64 * MiB)).toBe(pages(8 * MiB) / 64);
  const log = { bytesPerSecond: 8 * MiB, again: null, startNs: 0, stopNs: 2e9 };
  expect(slabOf(log, 64 * MiB)).toBe(pages(16 * MiB) / 64);
  expect(slabOf(log, 8 * MiB)).toBeCloseTo(pages(16 * MiB) / 64, -1);
  const long = slabOf({ ...log, stopNs: 60e9 }, 8 * MiB);
  expect(long).toBeLessThan(pages(8 * MiB) / 8 + pages(8 * MiB) / 64 + 2);
  expect(long).toBeGreaterThan(pages(7 * MiB) / 8);
});

describe("a limit that somebody changes", () => {
  test("v2: below the usage, page cache is reclaimed; the CPU for that is the writer's", () => {
    const g = group({ max: 64 * MiB, loads: [once(20 * MiB)] });
    g.cgroup.chargeAnon(pages(30 * MiB));
    readFiles(g);
    expect(g.cgroup.resizeMax(40 * MiB, 2)).toBe(true);
    expect(g.cgroup.killed).toBe(false);
    expect(g.cgroup.currentBytes).toBeLessThanOrEqual(40 * MiB);
    expect(g.cgroup.takeCpuNs()).toBe(0);
    g.cgroup.checkInvariants();
    // And it holds: what comes now is charged against it.
    g.cgroup.chargeAnon(pages(11 * MiB));
    expect(g.cgroup.killed).toBe(true);
  });

  test("v2: what cannot be reclaimed is killed, at the hands of who wrote the limit", () => {
    const { cgroup } = group({ max: 64 * MiB });
    cgroup.chargeAnon(pages(30 * MiB));
    expect(cgroup.resizeMax(20 * MiB, 2)).toBe(true);
    expect(cgroup.oom).toMatchObject({ usageBytes: 30 * MiB, invoker: "runc" });
    expect(cgroup.events).toMatchObject({ oom: 1, oom_kill: 1, max: 0 });
  });

  test("v1: it is refused instead, after the page cache has gone; the old one holds", () => {
    const g = group({ max: 64 * MiB, loads: [once(20 * MiB)] });
    g.cgroup.chargeAnon(pages(30 * MiB));
    readFiles(g);
    expect(g.cgroup.resizeMax(20 * MiB, 1)).toBe(false);
    expect(g.cgroup.killed).toBe(false);
    // What the file's nodes remember of its evicted pages stays.
    const nodes = Math.ceil((((20 * MiB) / OS_PAGE_BYTES / 64) * 576) / OS_PAGE_BYTES) * OS_PAGE_BYTES;
    expect(g.cgroup.currentBytes).toBe(30 * MiB + nodes);
    g.cgroup.chargeAnon(pages(30 * MiB));
    expect(g.cgroup.killed).toBe(false);
    expect(g.cgroup.resizeMax(128 * MiB, 1)).toBe(true);
    g.cgroup.chargeAnon(pages(40 * MiB));
    expect(g.cgroup.killed).toBe(false);
  });

  test("memory.high: threads are slowed from their next charge on", () => {
    const { cgroup } = group({ max: 64 * MiB });
    cgroup.chargeAnon(pages(30 * MiB));
    cgroup.resizeHigh(20 * MiB);
    expect(owedNs(cgroup)).toBe(0);
    cgroup.chargeAnon(1);
    expect(owedNs(cgroup)).toBe(2e9);
    cgroup.resizeHigh(60 * MiB);
    cgroup.chargeAnon(100);
    expect(owedNs(cgroup)).toBe(0);
  });
});

test("a thread more is a kernel stack and its slab", () => {
  const { cgroup } = group();
  cgroup.processStarted(4);
  cgroup.threadStarted();
  expect(cgroup.stat().kernel_stack).toBe(kernelBytesAtStart(5).kernelStack);
  expect(cgroup.stat().slab).toBe(kernelBytesAtStart(5).slab);
  cgroup.checkInvariants();
});
