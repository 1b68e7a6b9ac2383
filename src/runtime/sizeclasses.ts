/**
 * Size classes: which sizes small objects are rounded up to, and how many pages a span of each class has.
 *
 * Models the table of Go 1.26 (internal/runtime/gc/sizeclasses.go), which is the same in every release from
 * 1.19 on. Go generates it with mksizeclasses.go; here the same rules run once when the module is loaded:
 *
 *   - candidate sizes rise in steps that keep the rounding waste near 1/8 of the size;
 *   - a span has the fewest pages for which the tail that fits no object is at most 1/8 of the span;
 *   - neighbouring classes that fit equally often into equally long spans are merged into the larger one;
 *   - every size is then raised as far as the same number of objects still fits (in steps of 128 bytes).
 *
 * The construction throws unless it meets what the allocator relies on: 68 classes, 512 is a class, all classes
 * up to 512 bytes have one-page spans (the marker's inline mark bits depend on it), and every size finds its
 * class through the two lookup tables. A test compares the table with the running Go's.
 *
 * What is left out: the multiplicative inverses used for division by the class size.
 */

/** Bytes of a runtime page. */
export const pageSize = 8192;
/** The largest object simulated, in whole pages: a span's record has room for less than 16 GiB (records.ts). Go's limit is 2^48 bytes. */
export const MAX_OBJECT_BYTES = 2 ** 34 - pageSize;

/** maxObletBytes (mgcmark.go): bigger objects are scanned in parts of this size. */
export const MAX_OBLET_BYTES = 128 << 10;
/** Largest size (bytes) with a size class. */
export const maxSmallSize = 32768;
export const numSizeClasses = 68;
/** A span class is a size class and one bit that says "no pointers": sizeclass << 1 | noscan. */
export const numSpanClasses = numSizeClasses * 2;
export const smallSizeDiv = 8;
export const smallSizeMax = 1024;
export const largeSizeDiv = 128;
/** Block size of the tiny allocator, and its span class (16 bytes, noscan). */
export const tinySize = 16;
export const tinySizeClass = 2;
export const tinySpanClass = (tinySizeClass << 1) | 1;

interface SizeClassTable {
  /** Bytes of an object of the class; 0 for class 0, which stands for large objects. */
  readonly size: Int32Array;
  /** Pages of a span of the class. */
  readonly npages: Int32Array;
}

function isPowerOfTwo(x: number): boolean {
  return x !== 0 && (x & (x - 1)) === 0;
}

/** The step between candidate sizes above `size`, given the step so far. Changes only at powers of two. */
function nextStep(size: number, step: number): number {
  if (!isPowerOfTwo(size)) return step;
  if (size >= 2048) return 256;
  if (size >= 128) return size / 8;
  if (size >= 32) return 16;
  return step;
}

function makeClasses(): SizeClassTable {
  const sizes: number[] = [0];
  const pages: number[] = [0];
  let step = 8;
  for (let size = step; size <= maxSmallSize; size += step) {
    step = nextStep(size, step);
    let bytes = pageSize;
    while (bytes % size > bytes / 8) bytes += pageSize;
    const last = sizes.length - 1;
    const sameCount = last > 0 && Math.floor(bytes / size) === Math.floor(bytes / sizes[last]);
    if (sameCount && pages[last] === bytes / pageSize) {
      sizes[last] = size;
      continue;
    }
    sizes.push(size);
    pages.push(bytes / pageSize);
  }
  for (let c = 1; c < sizes.length; c++) {
    const bytes = pages[c] * pageSize;
    const room = Math.floor(bytes / Math.floor(bytes / sizes[c]));
    sizes[c] = Math.max(sizes[c], room - (room % largeSizeDiv));
  }
  return { size: Int32Array.from(sizes), npages: Int32Array.from(pages) };
}

const classes = makeClasses();

/** Bytes of an object, by size class. */
export const classToSize: Int32Array = classes.size;
/** Pages of a span, by size class. */
export const classToNPages: Int32Array = classes.npages;

/** Size class by ceil(size / 8), for sizes up to 1024. */
const sizeToClass8 = new Uint8Array(smallSizeMax / smallSizeDiv + 1);
/** Size class by ceil((size - 1024) / 128), for larger small sizes. */
const sizeToClass128 = new Uint8Array((maxSmallSize - smallSizeMax) / largeSizeDiv + 1);

function classFor(size: number): number {
  let c = 0;
  while (classToSize[c] < size) c++;
  return c;
}

for (let i = 0; i < sizeToClass8.length; i++) sizeToClass8[i] = classFor(i * smallSizeDiv);
for (let i = 0; i < sizeToClass128.length; i++) {
  sizeToClass128[i] = classFor(smallSizeMax + i * largeSizeDiv);
}

/** The size class of a small object of `size` bytes (1..32768, header included). */
export function sizeClassOf(size: number): number {
  return size <= smallSizeMax - 8
    ? sizeToClass8[(size + smallSizeDiv - 1) >> 3]
    : sizeToClass128[(size - smallSizeMax + largeSizeDiv - 1) >> 7];
}

function proveSizeClasses(): void {
  if (classToSize.length !== numSizeClasses) throw new Error(`${classToSize.length} size classes, not 68`);
  let has512 = false;
  for (let c = 1; c < numSizeClasses; c++) {
    if (classToSize[c] === 512) has512 = true;
    if (classToSize[c] <= 512 && classToNPages[c] !== 1)
      throw new Error(`class ${c} must have one-page spans`);
    if (classToSize[c] <= classToSize[c - 1]) throw new Error(`class ${c} is not larger than the one before`);
  }
  if (!has512) throw new Error("512 must be a size class");
  for (let size = 1; size <= maxSmallSize; size++) {
    const c = sizeClassOf(size);
    if (classToSize[c] < size || classToSize[c - 1] >= size) throw new Error(`size ${size} finds class ${c}`);
  }
}

proveSizeClasses();
