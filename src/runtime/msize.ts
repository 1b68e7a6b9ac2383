/**
 * Layout of objects and spans: what a requested size becomes, and how many objects a span holds.
 *
 * Follows malloc.go (mallocgc), msize.go, mbitmap.go (heapBitsInSpan) and mheap.go (initSpan) of Go 1.26; what
 * earlier releases do differently comes from `VersionRules`.
 *
 * Simplifies: an object's pointers are taken to be its first `ptrBytes` bytes, all of them pointers.
 */
import {
  classToNPages,
  classToSize,
  MAX_OBLET_BYTES,
  numSizeClasses,
  numSpanClasses,
  pageSize,
  sizeClassOf,
  tinySize,
} from "./sizeclasses.ts";
import type { VersionRules } from "./version.ts";

export { numSpanClasses, tinySpanClass } from "./sizeclasses.ts";

/** heapBitsInSpan: objects with pointers of at most this size have their pointer bitmap at the span's end. */
const heapBitsInSpanMaxBytes = 512;

/** Layout of one span class: fixed for a release. */
export interface SpanLayout {
  /** Objects per span, by span class; 1 for the two large classes. */
  readonly nelems: Int32Array;
  /** Bytes of an object, by span class; 0 for the two large classes (page-rounded size of each object). */
  readonly elemsize: Int32Array;
  /** Pages of a span, by span class; 0 for the large classes. */
  readonly npages: Int32Array;
  /** Bytes at the span's end that hold mark bits and pointer bits and are written when the span is made. */
  readonly reserve: Int32Array;
  /** 1 where the span ends in inline mark bits (Green Tea's one-page spans). */
  readonly inlineMarks: Uint8Array;
}

export function spanLayout(rules: VersionRules): SpanLayout {
  const nelems = new Int32Array(numSpanClasses);
  const elemsize = new Int32Array(numSpanClasses);
  const npages = new Int32Array(numSpanClasses);
  const reserve = new Int32Array(numSpanClasses);
  const inlineMarks = new Uint8Array(numSpanClasses);
  nelems[0] = 1;
  nelems[1] = 1;
  for (let c = 1; c < numSizeClasses; c++) {
    for (let noscan = 0; noscan < 2; noscan++) {
      const spc = (c << 1) | noscan;
      const bytes = classToNPages[c] * pageSize;
      const size = classToSize[c];
      const inline =
        rules.inlineMarkBits &&
        size >= rules.inlineMarkBitsMinElemsize &&
        size <= rules.inlineMarkBitsMaxElemsize;
      const bitmap = rules.heapBitsInSpan && noscan === 0 && size <= heapBitsInSpanMaxBytes;
      reserve[spc] = (inline ? rules.inlineMarkBitsBytes : 0) + (bitmap ? bytes / 64 : 0);
      nelems[spc] = Math.floor((bytes - reserve[spc]) / size);
      elemsize[spc] = size;
      npages[spc] = classToNPages[c];
      inlineMarks[spc] = inline ? 1 : 0;
    }
  }
  return { nelems, elemsize, npages, reserve, inlineMarks };
}

/** What the allocator makes of a request. */
export interface ObjectLayout {
  readonly spc: number;
  /** Bytes the object takes: its class's size, or whole pages for a large object. */
  readonly elemsize: number;
  /** Goes through the tiny allocator: several such objects share a 16-byte block. */
  readonly tiny: boolean;
  /** Pages of a large object; 0 for a small one. */
  readonly largePages: number;
  /** Scan work of marking the object: bytes from its start (header included) to the last word that may hold a pointer. */
  readonly scanBytes: number;
  /** Bytes of pointer words, all nil, that are scanned behind the object, up to the end of its element. */
  readonly tailBytes: number;
  /** Bytes the allocation adds to the pacer's heapScan. With type headers this is the whole element. */
  readonly scanAllocBytes: number;
}

/**
 * Whose type is known by a header (1.22 on) is scanned as an array of that type that goes on to the element's end (typePointers.next): where
 * the element is bigger than the object, the words behind it are scanned, too, as the pointers of one object more. They are nil, but have to
 * be fetched, and count: 1 KiB with eight pointers takes an element of 1152 bytes, and its scan work is 1096 bytes. `start` is
 * where the object begins, behind its header.
 */
function scannedBytes(
  rules: VersionRules,
  start: number,
  size: number,
  ptrBytes: number,
  elemsize: number,
): Pick<ObjectLayout, "scanBytes" | "tailBytes"> {
  const end = start + size;
  const tailBytes = rules.mallocHeaders ? Math.min(ptrBytes, Math.floor((elemsize - end) / 8) * 8) : 0;
  if (tailBytes <= 0) return { scanBytes: start + ptrBytes, tailBytes: 0 };
  // Oblets count from their own start: of those between the pointers and the tail nothing is scanned.
  const lastOblet = Math.floor(end / MAX_OBLET_BYTES) * MAX_OBLET_BYTES;
  return { scanBytes: Math.min(start + ptrBytes, lastOblet) + end + tailBytes - lastOblet, tailBytes };
}

/** Layout of an object of `size` > 0 bytes whose first `ptrBytes` bytes are pointers. */
export function objectLayout(rules: VersionRules, size: number, ptrBytes: number): ObjectLayout {
  const noscan = ptrBytes === 0 ? 1 : 0;
  if (size > rules.largeObjectThreshold) {
    const largePages = Math.ceil(size / pageSize);
    const elemsize = largePages * pageSize;
    const scanAllocBytes = noscan === 1 ? 0 : rules.mallocHeaders ? elemsize : ptrBytes;
    return {
      spc: noscan,
      elemsize,
      tiny: false,
      largePages,
      ...scannedBytes(rules, 0, size, ptrBytes, elemsize),
      scanAllocBytes,
    };
  }
  const header =
    rules.mallocHeaders && noscan === 0 && size > rules.minSizeForMallocHeader ? rules.mallocHeaderSize : 0;
  const tiny = noscan === 1 && size < tinySize;
  const c = sizeClassOf(tiny ? tinySize : size + header);
  const elemsize = classToSize[c];
  return {
    spc: (c << 1) | noscan,
    elemsize,
    tiny,
    largePages: 0,
    ...(header > 0
      ? scannedBytes(rules, header, size, ptrBytes, elemsize)
      : { scanBytes: ptrBytes, tailBytes: 0 }),
    scanAllocBytes: noscan === 1 ? 0 : header > 0 ? elemsize : ptrBytes,
  };
}
