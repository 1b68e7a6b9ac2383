import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Memory } from "../../src/os/memory.ts";
import {
  OS_PAGE_BYTES,
  type OsPageBytes,
  PAGE_READY,
  PAGE_RELEASED,
  PAGE_RESERVED,
  PAGE_RESIDENT,
} from "../../src/os/os.ts";

const K = 1024;
const MiB = 1024 * K;

function fresh(): Memory {
  return new Memory({ fileBytes: 2 * MiB, otherBytes: 300 * K, faults: 400 });
}

describe("page states", () => {
  it("follow mem.go's transitions", () => {
    const os = fresh();
    expect(os.pageState(0)).toBe(PAGE_RESERVED);
    os.sysReserve(64 * MiB);
    expect(os.pageState(0)).toBe(PAGE_RESERVED);
    os.sysMap(0, 4 * MiB);
    expect(os.pageState(4 * MiB - 1)).toBe(PAGE_RELEASED);
    expect(os.pageState(4 * MiB)).toBe(PAGE_RESERVED);
    os.sysUsed(8 * K, 8 * K);
    expect(os.pageState(8 * K)).toBe(PAGE_READY);
    expect(os.pageState(16 * K)).toBe(PAGE_RELEASED);
    expect(os.touch(8 * K + 4000, 8 * K + 4200)).toBe(2);
    expect(os.pageState(8 * K)).toBe(PAGE_RESIDENT);
    os.sysUsed(0, 64 * K);
    expect(os.pageState(8 * K)).toBe(PAGE_RESIDENT);
    expect(os.sysUnused(0, 64 * K)).toBe(8 * K);
    expect(os.pageState(8 * K)).toBe(PAGE_RELEASED);
    os.sysUsed(0, 64 * K);
    os.touch(0, 64 * K);
    expect(os.sysFault(0, 32 * K)).toBe(32 * K);
    expect(os.pageState(0)).toBe(PAGE_RESERVED);
    expect(os.pageState(32 * K)).toBe(PAGE_RESIDENT);
    os.checkInvariants();
  });

  it("say how much of any range is resident", () => {
    const bytes = 8 * MiB;
    const range = fc
      .tuple(fc.integer({ min: 0, max: bytes }), fc.integer({ min: 0, max: 700 * K }))
      .map(([start, length]): [number, number] => [start, Math.min(start + length, bytes + 100 * K)]);
    fc.assert(
      fc.property(
        fc.constantFrom<OsPageBytes>(4096, 16384, 65536),
        fc.array(range, { maxLength: 12 }),
        fc.array(range, { minLength: 4, maxLength: 4 }),
        (pageBytes, touched, asked) => {
          const os = new Memory({ fileBytes: 2 * MiB, otherBytes: 320 * K, faults: 400 }, null, {
            pageBytes,
          });
          os.sysReserve(64 * MiB);
          os.sysMap(0, bytes);
          os.sysUsed(0, bytes);
          for (const [start, end] of touched) os.touch(start, Math.min(end, bytes));
          for (const [start, end] of asked) {
            let resident = 0;
            for (let at = start; at < end; ) {
              const pageEnd = Math.min(end, (Math.floor(at / pageBytes) + 1) * pageBytes);
              if (os.pageState(at) === PAGE_RESIDENT) resident += pageEnd - at;
              at = pageEnd;
            }
            expect(os.residentBytesIn(start, end)).toBe(resident);
          }
        },
      ),
      { seed: 7, numRuns: 200 },
    );
  });

  it("refuse what would be a segmentation fault or a runtime bug", () => {
    const os = fresh();
    expect(() => os.sysUsed(0, 4 * K)).toThrow(/before it is mapped/);
    expect(() => os.touch(0, 8)).toThrow(/not ready/);
    os.sysMap(0, 4 * MiB);
    expect(() => os.touch(0, 8)).toThrow(/not ready/);
    expect(() => os.touch(1024 * MiB, 1024 * MiB + 1)).toThrow(/unmapped/);
    expect(() => os.sysUsed(100, 4 * K)).toThrow(/whole OS pages/);
    expect(() => os.metaTouch("mspan", 1)).toThrow(/before it was mapped/);
  });

  it("hold above 4 GiB, where byte offsets leave 32 bits", () => {
    const os = fresh();
    const base = 100 * 1024 * MiB;
    os.sysMap(base, 4 * MiB);
    os.sysUsed(base, 4 * MiB);
    expect(os.touch(base + 4095, base + 4097)).toBe(2);
    expect(os.isResident(base, base + 8 * K)).toBe(true);
    expect(os.isResident(base, base + 8 * K + 1)).toBe(false);
    expect(os.pageState(base % 2 ** 32)).toBe(PAGE_RESERVED);
    os.checkInvariants();
  });
});

describe("RSS", () => {
  it("is baseline plus touched pages, and remembers its peak", () => {
    const os = fresh();
    const baseline = 2 * MiB + 300 * K;
    expect(os.residentBytes()).toBe(baseline);
    os.sysMap(0, 4 * MiB);
    os.sysUsed(0, 4 * MiB);
    expect(os.residentBytes()).toBe(baseline);
    expect(os.touch(0, MiB)).toBe(256);
    expect(os.touch(0, MiB)).toBe(0);
    os.metaMap("mspan", 16 * K);
    os.metaMap("mspan", 16 * K);
    expect(os.metaTouch("mspan", 100)).toBe(1);
    expect(os.metaTouch("mspan", 4000)).toBe(1);
    expect(os.residentBytes()).toBe(baseline + MiB + 8 * K);
    os.sysUnused(0, MiB);
    expect(os.residentBytes()).toBe(baseline + 8 * K);
    expect(os.residentPeakBytes()).toBe(baseline + MiB + 8 * K);
    expect(os.faults).toBe(400 + 256 + 2);
    expect(os.metaUse()).toEqual([{ name: "mspan", mappedBytes: 32 * K, residentBytes: 8 * K }]);
    os.checkInvariants();
  });
});

describe("against a naive twin", () => {
  const pages = 200;
  const range = fc
    .tuple(fc.nat(pages - 1), fc.integer({ min: 1, max: 80 }))
    .map(([first, n]) => ({ first, end: Math.min(pages, first + n) }));
  const op = fc.record({
    kind: fc.constantFrom("map", "used", "unused", "fault", "touch", "touch"),
    range,
    headBytes: fc.nat(OS_PAGE_BYTES - 1),
  });

  it("agrees on every page after any sequence of calls", () => {
    fc.assert(
      fc.property(fc.array(op, { maxLength: 60 }), fc.constantFrom(0, 37, 2 ** 21), (ops, firstPage) => {
        const os = new Memory({ fileBytes: 0, otherBytes: 0, faults: 0 });
        const twin = new Array<number>(pages).fill(PAGE_RESERVED);
        let faults = 0;
        let peak = 0;
        for (const { kind, range, headBytes } of ops) {
          const start = (firstPage + range.first) * OS_PAGE_BYTES;
          const nbytes = (range.end - range.first) * OS_PAGE_BYTES;
          const slice = twin.slice(range.first, range.end);
          const replace = (f: (state: number) => number) => {
            for (let i = range.first; i < range.end; i++) twin[i] = f(twin[i]);
          };
          const residentIn = slice.filter((s) => s === PAGE_RESIDENT).length;
          if (kind === "map") {
            os.sysMap(start, nbytes);
            replace((s) => Math.max(s, PAGE_RELEASED));
          } else if (kind === "used") {
            if (slice.includes(PAGE_RESERVED)) continue;
            os.sysUsed(start, nbytes);
            replace((s) => Math.max(s, PAGE_READY));
          } else if (kind === "unused") {
            expect(os.sysUnused(start, nbytes)).toBe(residentIn * OS_PAGE_BYTES);
            replace((s) => Math.min(s, PAGE_RELEASED));
          } else if (kind === "fault") {
            expect(os.sysFault(start, nbytes)).toBe(residentIn * OS_PAGE_BYTES);
            replace(() => PAGE_RESERVED);
          } else {
            if (slice.some((s) => s < PAGE_READY)) continue;
            const expected = slice.length - residentIn;
            expect(os.isResident(start, start + nbytes)).toBe(expected === 0);
            expect(os.touch(start + headBytes, start + nbytes)).toBe(expected);
            faults += expected;
            replace(() => PAGE_RESIDENT);
          }
          const resident = twin.filter((s) => s === PAGE_RESIDENT).length * OS_PAGE_BYTES;
          peak = Math.max(peak, resident);
          expect(os.residentBytes()).toBe(resident);
          expect(os.faults).toBe(faults);
          os.checkInvariants();
        }
        expect(os.residentPeakBytes()).toBe(peak);
        expect(twin.map((_, i) => os.pageState((firstPage + i) * OS_PAGE_BYTES))).toEqual(twin);
      }),
      { seed: 1, numRuns: 60 },
    );
  });
});
