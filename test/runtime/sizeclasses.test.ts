import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { objectLayout, spanLayout } from "../../src/runtime/msize.ts";
import { classToNPages, classToSize, numSizeClasses, sizeClassOf } from "../../src/runtime/sizeclasses.ts";
import { rulesFor, type Version } from "../../src/runtime/version.ts";

/** Read from the running Go, see test/golden/extract/nelems.go.txt. */
interface Golden {
  readonly spans: readonly (readonly [number, number, number, number])[];
  readonly spans_nogreenteagc: readonly (readonly [number, number, number, number])[];
  readonly roundupsize_noscan: readonly (readonly [number, number])[];
  readonly roundupsize_scan: readonly (readonly [number, number])[];
}
const golden = JSON.parse(
  readFileSync(new URL("../golden/nelems-1.26.json", import.meta.url), "utf8"),
) as Golden;

/** Measured by the running Go, see test/golden/extract/scanwork.go. */
const scanWork = JSON.parse(
  readFileSync(new URL("../golden/scanwork-1.26.json", import.meta.url), "utf8"),
) as { readonly size_pointers_work: readonly (readonly [number, number, number])[] };

describe("size classes", () => {
  test("are those of the running Go", () => {
    for (const [spc, , elemsize, npages] of golden.spans) {
      expect([spc, classToSize[spc >> 1], classToNPages[spc >> 1]]).toEqual([spc, elemsize, npages]);
    }
    expect(golden.spans.length).toBe((numSizeClasses - 1) * 2);
  });

  test("every size finds the smallest class that holds it", () => {
    for (let size = 1; size <= 32768; size++) {
      const c = sizeClassOf(size);
      expect(classToSize[c] >= size && classToSize[c - 1] < size).toBe(true);
    }
  });
});

describe("objects per span", () => {
  test.each([
    ["1.26", golden.spans],
    ["1.25", golden.spans_nogreenteagc],
    ["1.22", golden.spans_nogreenteagc],
  ] as const)("Go %s, every span class, against the running runtime", (version, rows) => {
    const layout = spanLayout(rulesFor(version));
    expect(rows.map(([spc]) => [spc, layout.nelems[spc]])).toEqual(rows.map(([spc, n]) => [spc, n]));
  });

  // Bytes of element: scan and noscan objects per span up to 1.21, where nothing but objects is in a span.
  test.each(["1.19", "1.20", "1.21"] as Version[])("Go %s: spans hold objects only", (version) => {
    const layout = spanLayout(rulesFor(version));
    for (let spc = 2; spc < numSizeClasses * 2; spc++) {
      const c = spc >> 1;
      expect(layout.nelems[spc]).toBe(Math.floor((classToNPages[c] * 8192) / classToSize[c]));
    }
  });
});

describe("roundupsize", () => {
  function resultAt(runs: readonly (readonly [number, number])[], size: number): number {
    let value = 0;
    for (const [from, result] of runs) if (from <= size) value = result;
    return value;
  }

  test("of every small size, with and without pointers", () => {
    const rules = rulesFor("1.26");
    for (let size = 1; size <= rules.largeObjectThreshold; size += size < 2048 ? 1 : 7) {
      const noscan = objectLayout(rules, size, 0);
      expect([size, noscan.tiny ? classToSize[sizeClassOf(size)] : noscan.elemsize]).toEqual([
        size,
        resultAt(golden.roundupsize_noscan, size),
      ]);
      if (size < 8) continue;
      // roundupsize reports what the program may use, so the type header is taken off again.
      const header = size > 512 ? 8 : 0;
      const scan = objectLayout(rules, size, 8);
      expect([size, scan.elemsize - header]).toEqual([size, resultAt(golden.roundupsize_scan, size)]);
    }
  });

  test("large objects start one header below 32 KiB from 1.22 on, with pointers or not", () => {
    expect(objectLayout(rulesFor("1.26"), 32760, 0).largePages).toBe(0);
    expect(objectLayout(rulesFor("1.26"), 32761, 0).largePages).toBe(4);
    expect(objectLayout(rulesFor("1.26"), 32761, 8).largePages).toBe(4);
    expect(objectLayout(rulesFor("1.21"), 32768, 8).largePages).toBe(0);
    expect(objectLayout(rulesFor("1.21"), 32769, 8).largePages).toBe(5);
  });

  test("type headers: 1 KiB with pointers goes into the 1152 class", () => {
    expect(objectLayout(rulesFor("1.26"), 1024, 1024).elemsize).toBe(1152);
    expect(objectLayout(rulesFor("1.26"), 1024, 0).elemsize).toBe(1024);
    expect(objectLayout(rulesFor("1.26"), 512, 512).elemsize).toBe(512);
    expect(objectLayout(rulesFor("1.21"), 1024, 1024).elemsize).toBe(1024);
  });

  test("with a header an allocation adds the whole element to heapScan, marking only up to the last pointer", () => {
    const o = objectLayout(rulesFor("1.26"), 1016, 16);
    expect([o.scanAllocBytes, o.scanBytes]).toEqual([1024, 24]);
    const small = objectLayout(rulesFor("1.26"), 100, 16);
    expect([small.scanAllocBytes, small.scanBytes]).toEqual([16, 16]);
    const old = objectLayout(rulesFor("1.21"), 1024, 16);
    expect([old.scanAllocBytes, old.scanBytes]).toEqual([16, 16]);
  });

  test("objects smaller than their element are scanned beyond their end, as by the running Go", () => {
    for (const [size, ptrBytes, work] of scanWork.size_pointers_work) {
      // Of up to 512 bytes spans are scanned whole.
      if (size <= 512) continue;
      const { scanBytes } = objectLayout(rulesFor("1.26"), size, ptrBytes);
      // What else the program held changed by up to two bytes per object.
      expect([size, ptrBytes, Math.abs(scanBytes - work) <= 2]).toEqual([size, ptrBytes, true]);
    }
    expect(scanWork.size_pointers_work.length).toBeGreaterThan(80);
    const { scanBytes, tailBytes } = objectLayout(rulesFor("1.26"), 1024, 64);
    expect([scanBytes, tailBytes]).toEqual([8 + 1024 + 64, 64]);
    // Without headers there is nothing to repeat.
    expect(objectLayout(rulesFor("1.21"), 1100, 64)).toMatchObject({ scanBytes: 64, tailBytes: 0 });
  });
});
