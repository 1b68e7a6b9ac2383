import { describe, expect, test } from "vitest";
import { MemoryCgroup as Cgroup, type MemoryCgroup } from "../../src/os/cgroup.ts";
import { addressSpace } from "../../src/os/maps.ts";
import { Memory, type PageSettings } from "../../src/os/memory.ts";
import { PageCache } from "../../src/os/pagecache.ts";

const K = 1024;
const MiB = 1024 * K;
const BASELINE = { fileBytes: 0, otherBytes: 0, faults: 0 };
const THP = { enabled: "always", advisePerRelease: false, maxPtesNone: 511 } as const;

function heap(settings: PageSettings, cgroup: MemoryCgroup | null = null): Memory {
  const os = new Memory(BASELINE, cgroup, settings);
  os.sysReserve(64 * MiB);
  os.sysMap(0, 16 * MiB);
  os.sysUsed(0, 16 * MiB);
  return os;
}

const group = (maxMiB: number): MemoryCgroup =>
  new Cgroup({
    maxBytes: maxMiB * MiB,
    highBytes: Infinity,
    binaryBytes: 0,
    pageCache: new PageCache([], 0),
  });

describe("huge pages at faults", () => {
  test("one fault makes 2 MiB resident, and costs as much to clear", () => {
    const os = heap({ hugePages: THP });
    os.touch(3 * MiB, 3 * MiB + 8);
    expect(os.faults).toBe(1);
    expect(os.residentBytes()).toBe(2 * MiB);
    expect(os.anonHugePagesBytes()).toBe(2 * MiB);
    expect(os.largeFaultNs).toBeGreaterThan(0);
    expect(os.isResident(2 * MiB, 4 * MiB)).toBe(true);
    expect(os.touch(2 * MiB, 4 * MiB)).toBe(0);
    os.checkInvariants();
  });

  test("not where only a part of the block is mapped", () => {
    const os = new Memory(BASELINE, null, { hugePages: THP });
    os.sysMap(0, MiB);
    os.sysUsed(0, MiB);
    os.touch(0, 8 * K);
    expect(os.faults).toBe(2);
    expect(os.anonHugePagesBytes()).toBe(0);
  });

  test("madvise: only where Go up to 1.20 asks, in whole blocks, and not where it forbade them", () => {
    const os = new Memory(BASELINE, null, {
      hugePages: { ...THP, enabled: "madvise", advisePerRelease: true },
    });
    os.sysMap(0, 16 * MiB);
    os.sysUsed(0, 5 * MiB);
    os.sysUnused(2 * MiB, MiB);
    os.sysUsed(2 * MiB, MiB);
    for (const at of [0, 2, 4]) os.touch(at * MiB, at * MiB + 8);
    expect(os.anonHugePagesBytes()).toBe(2 * MiB);
    expect(os.residentBytes()).toBe(2 * MiB + 8 * K);
    os.checkInvariants();
  });

  test("without room in the control group small pages are used", () => {
    const cgroup = group(1);
    const os = heap({ hugePages: THP }, cgroup);
    os.touch(0, 8 * K);
    expect(os.residentBytes()).toBe(8 * K);
    expect(cgroup.killed).toBe(false);
    cgroup.checkInvariants();
  });
});

describe("giving back", () => {
  test("all of a block frees it, and the next touch is huge again", () => {
    const os = heap({ hugePages: THP });
    os.touch(0, 8);
    expect(os.sysUnused(0, 2 * MiB)).toBe(2 * MiB);
    expect(os.anonHugePagesBytes()).toBe(0);
    os.sysUsed(0, 2 * MiB);
    os.touch(0, 8);
    expect(os.anonHugePagesBytes()).toBe(2 * MiB);
  });

  test("a part leaves RSS, but its frames stay charged until the rest goes, or reclaim splits the page", () => {
    const cgroup = group(64);
    const os = heap({ hugePages: THP }, cgroup);
    for (const at of [0, 2, 4, 6]) os.touch(at * MiB, at * MiB + 8);
    expect(os.sysUnused(0, MiB)).toBe(MiB);
    expect(os.residentBytes()).toBe(7 * MiB);
    expect(os.anonHugePagesBytes()).toBe(6 * MiB);
    expect(cgroup.stat().anon).toBe(8 * MiB);
    expect(os.sysUnused(MiB, MiB)).toBe(MiB);
    expect(cgroup.stat().anon).toBe(6 * MiB);
    os.sysUnused(2 * MiB, MiB);
    expect(os.heldUnits).toBe(256);
    os.checkInvariants();
    cgroup.checkInvariants();
    expect(os.splitDeferred(1)).toBe(256);
    expect(os.heldUnits).toBe(0);
  });
});

describe("khugepaged", () => {
  test("fills a block with one page in it, looks at as much as it is told, and not at what is full of holes", () => {
    for (const [maxPtesNone, wanted] of [
      [511, 2 * MiB],
      [100, 4 * K],
    ]) {
      const os = heap({ hugePages: { ...THP, maxPtesNone } });
      // A page table is there, so faults are small.
      os.touch(0, 8);
      os.sysUnused(0, 64 * K);
      os.sysUnused(64 * K, 2 * MiB - 64 * K);
      os.sysUsed(0, 2 * MiB);
      os.touch(0, 8);
      expect(os.residentBytes()).toBe(4 * K);
      os.khugepaged(512);
      expect(os.residentBytes()).toBe(wanted);
      os.checkInvariants();
    }
  });
});

describe("MADV_FREE", () => {
  test("pages stay resident until they are written, without a fault, or the group takes them", () => {
    const cgroup = group(4);
    const os = heap({ madvFree: true }, cgroup);
    os.touch(0, 2 * MiB);
    const faults = os.faults;
    expect(os.sysUnused(0, MiB)).toBe(0);
    expect(os.residentBytes()).toBe(2 * MiB);
    expect(os.lazyFreeBytes()).toBe(MiB);
    expect(os.isResident(0, MiB)).toBe(false);
    expect(cgroup.workingSetBytes).toBeLessThan(MiB + 512 * K);
    os.sysUsed(0, MiB);
    os.touch(0, 256 * K);
    expect(os.faults).toBe(faults);
    expect(os.lazyFreeBytes()).toBe(768 * K);
    os.touch(4 * MiB, 6.5 * MiB);
    expect(cgroup.killed).toBe(false);
    expect(cgroup.currentBytes).toBeGreaterThan(3.75 * MiB);
    expect(os.lazyFreeBytes()).toBeLessThan(768 * K);
    expect(os.isResident(0, 256 * K)).toBe(true);
    os.checkInvariants();
    cgroup.checkInvariants();
    os.touch(8 * MiB, 10 * MiB);
    expect(os.lazyFreeBytes()).toBe(0);
    expect(cgroup.killed).toBe(true);
  });
});

describe("larger pages", () => {
  test("become resident as a whole and are given back as a whole", () => {
    const os = new Memory(BASELINE, null, { pageBytes: 65536 });
    os.sysMap(0, 4 * MiB);
    os.sysUsed(8 * K, 8 * K);
    expect(os.touch(8 * K, 16 * K)).toBe(1);
    expect(os.residentBytes()).toBe(64 * K);
    expect(() => os.sysUnused(0, 8 * K)).toThrow(/whole OS pages/);
    expect(os.sysUnused(0, 64 * K)).toBe(64 * K);
    os.checkInvariants();
  });
});

test("the address space: what is mapped, and the room that is left", () => {
  const os = heap({ hugePages: THP });
  os.touch(0, 8);
  os.metaMap("other", 256 * K);
  const space = addressSpace(os, true);
  const of = (name: string) => space.mappings.find((m) => m.name === `[anon: Go: ${name}]`);
  expect(of("heap")).toMatchObject({
    size_bytes: 16 * MiB,
    rss_bytes: 2 * MiB,
    anon_huge_pages_bytes: 2 * MiB,
  });
  expect(of("heap reservation")).toMatchObject({ size_bytes: 48 * MiB, rss_bytes: 0 });
  expect(of("immortal metadata")).toMatchObject({ size_bytes: 256 * K });
  expect(space.vm_size_bytes).toBe(space.mappings.reduce((sum, m) => sum + m.size_bytes, 0));
  expect(space.vm_data_bytes).toBe(48 * MiB + 256 * K);
  expect(space.largest_hole_bytes).toBeGreaterThan(2 ** 46);
  expect(addressSpace(os, false).mappings[0].name).toBe("[anon]");
});
