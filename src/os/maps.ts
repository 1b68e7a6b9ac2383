/**
 * The process's address space as /proc/PID/status and smaps show it: VmSize, VmData, VmRSS, mappings, and the room between them.
 *
 * Follows fs/proc/task_mmu.c of Linux 6.x, and for the names setVMAName of Go 1.25 and later (set_vma_name_linux.go): with
 * CONFIG_ANON_VMA_NAME the runtime's mappings read `[anon: Go: heap]` and so on. The heap's arenas are at 0xc000000000 and grow upwards
 * (Go 1.26 begins at a random address instead);
 * the binary is at 0x400000; everything else is mapped from the top of the address space down.
 *
 * Simplified: what the runtime maps beside its arenas is listed by the statistic it counts in, under the name of its largest part; mappings of
 * one name that touch are one, as the kernel joins them; no random offsets; user arenas are left out. Where it stops being true: other
 * platforms, cgo (libraries, thread stacks, malloc's arenas), processes with an address-space limit.
 */
import type { Memory } from "./memory.ts";

export interface Mapping {
  /** As in the last column of /proc/PID/maps. */
  readonly name: string;
  readonly size_bytes: number;
  readonly rss_bytes: number;
  readonly anon_huge_pages_bytes: number;
  readonly lazy_free_bytes: number;
  readonly kernel_page_size_bytes: number;
}

/** A mapping with its place, as a line of /proc/PID/maps has it. */
export interface PlacedMapping extends Mapping {
  readonly start: number;
  /** Reserved address space may be neither read nor written; only the binary is executed, and backed by a file. */
  readonly access: "reserved" | "data" | "binary";
  /** Among the arenas. */
  readonly heap: boolean;
}

/** Address space that nothing is mapped in, between two neighbours. */
export interface Hole {
  readonly after: string;
  readonly size_bytes: number;
}

export interface AddressSpace {
  readonly vm_size_bytes: number;
  readonly vm_rss_bytes: number;
  /** Private writable mappings: reservations (PROT_NONE) are not among them. */
  readonly vm_data_bytes: number;
  /** Largest first. */
  readonly mappings: readonly Mapping[];
  readonly holes: readonly Hole[];
  /** The largest mapping that still finds room. */
  readonly largest_hole_bytes: number;
}

const BINARY_START = 0x400000;
const HEAP_START = 0xc000000000;
/** Where mmap begins, downwards, without randomisation (mmap_base: the stack's gap of 128 MiB below 2^47). */
const MMAP_TOP = 2 ** 47 - (128 << 20);

/** The arena index (mheap.arenas): a pointer for each of the 2^22 arenas that 48 bits of address hold. Writable, hardly touched. */
const HEAP_INDEX_BYTES = 8 * 2 ** 22;

/** Names by the statistic that the model keeps a region under; see the callers of sysAlloc, sysReserve and sysMap. */
const REGION_NAMES: Readonly<Record<string, string>> = {
  mspan: "immortal metadata",
  mcache: "immortal metadata",
  "gc metadata": "heap metadata",
  other: "immortal metadata",
  "profile buckets": "profiler hash buckets",
};

/** The kernel maps whole pages. */
const wholePages = (memory: Memory, bytes: number): number =>
  Math.ceil(bytes / memory.pageBytes) * memory.pageBytes;

/** The name of a mapping of the runtime's. */
const nameOf = (name: string, namesMappings: boolean): string =>
  namesMappings ? `[anon: Go: ${name}]` : "[anon]";

/** Metadata by the name of its mapping, in bytes. */
function metaMappings(
  memory: Memory,
  namesMappings: boolean,
): ReadonlyMap<string, { readonly mapped: number; readonly resident: number }> {
  const regions = new Map<string, { mapped: number; resident: number }>();
  for (const { name, mappedBytes, residentBytes } of memory.metaUse()) {
    const known = REGION_NAMES[name];
    const key = known === undefined ? "[anon]" : nameOf(known, namesMappings);
    const region = regions.get(key) ?? { mapped: 0, resident: 0 };
    regions.set(key, region);
    region.mapped += mappedBytes;
    region.resident += residentBytes;
  }
  return regions;
}

/** VmSize by itself: the same as that of `addressSpace`, without looking at the heap's pages. */
export function vmSizeBytes(memory: Memory, namesMappings: boolean): number {
  const { fileBytes, otherBytes } = memory.baseline;
  const mapped = [fileBytes, memory.pageAllocReservedBytes, HEAP_INDEX_BYTES, otherBytes];
  for (const region of metaMappings(memory, namesMappings).values()) mapped.push(region.mapped);
  // Mapped or not, the arenas lie in what was reserved for them.
  return mapped.reduce((sum, bytes) => sum + wholePages(memory, bytes), memory.reservedBytes);
}

/** Every mapping in the order of its addresses. Arenas have mapped runs and reservations between them; the rest is stacked down from the top. */
export function placedMappings(memory: Memory, namesMappings: boolean): PlacedMapping[] {
  const named = (name: string): string => nameOf(name, namesMappings);
  const { pageBytes } = memory;
  const plain = (name: string, sizeBytes: number, rssBytes: number): Mapping => ({
    name,
    size_bytes: wholePages(memory, sizeBytes),
    rss_bytes: rssBytes,
    anon_huge_pages_bytes: 0,
    lazy_free_bytes: 0,
    kernel_page_size_bytes: pageBytes,
  });
  const { fileBytes, otherBytes } = memory.baseline;
  const placed: PlacedMapping[] = [
    { ...plain("binary", fileBytes, fileBytes), start: BINARY_START, access: "binary", heap: false },
  ];
  let at = HEAP_START;
  const reserveTo = (end: number): void => {
    if (end > at)
      placed.push({
        ...plain(named("heap reservation"), end - at, 0),
        start: at,
        access: "reserved",
        heap: true,
      });
    at = end;
  };
  for (const run of memory.heapMappings()) {
    reserveTo(HEAP_START + run.firstPage * pageBytes);
    const mapping: Mapping = {
      name: named("heap"),
      size_bytes: run.pages * pageBytes,
      rss_bytes: run.residentPages * pageBytes,
      anon_huge_pages_bytes: run.hugeBytes,
      lazy_free_bytes: run.lazyPages * pageBytes,
      kernel_page_size_bytes: pageBytes,
    };
    placed.push({ ...mapping, start: at, access: "data", heap: true });
    at += mapping.size_bytes;
  }
  reserveTo(HEAP_START + memory.reservedBytes);
  let top = MMAP_TOP;
  const place = (mapping: Mapping, access: PlacedMapping["access"]): void => {
    top -= mapping.size_bytes;
    placed.push({ ...mapping, start: top, access, heap: false });
  };
  for (const [name, { mapped, resident }] of metaMappings(memory, namesMappings))
    place(plain(name, mapped, resident), "data");
  place(plain(named("page summary"), memory.pageAllocReservedBytes, 0), "reserved");
  // Its few pages in memory are part of what a process has before its heap.
  place(plain(named("heap index"), HEAP_INDEX_BYTES, 0), "data");
  place(plain("[anon]", otherBytes, otherBytes), "data");
  return placed.sort((a, b) => a.start - b.start);
}

export function addressSpace(memory: Memory, namesMappings: boolean): AddressSpace {
  const placed = placedMappings(memory, namesMappings);
  const sizeOf = (list: readonly Mapping[]): number => list.reduce((sum, m) => sum + m.size_bytes, 0);
  const withoutPlace = ({ start: _s, access: _a, heap: _h, ...mapping }: PlacedMapping): Mapping => mapping;
  const reserved = placed.filter(({ heap, access }) => heap && access === "reserved");
  const mappings = placed.filter((mapping) => !reserved.includes(mapping)).map(withoutPlace);
  // Of the room between the runs only how much there is matters.
  if (reserved.length > 0) mappings.push({ ...withoutPlace(reserved[0]), size_bytes: sizeOf(reserved) });
  const heapEnd = HEAP_START + memory.reservedBytes;
  const above = placed.find(({ start }) => start >= heapEnd)!.start;
  const binary = placed[0];
  const holes: Hole[] = [
    { after: "binary", size_bytes: HEAP_START - BINARY_START - binary.size_bytes },
    { after: namesMappings ? "[anon: Go: heap]" : "[anon]", size_bytes: above - heapEnd },
  ];
  return {
    vm_size_bytes: sizeOf(placed),
    vm_rss_bytes: memory.residentBytes(),
    vm_data_bytes: sizeOf(placed.filter(({ access }) => access === "data")),
    mappings: mappings.sort((a, b) => b.size_bytes - a.size_bytes),
    holes,
    largest_hole_bytes: Math.max(...holes.map(({ size_bytes }) => size_bytes)),
  };
}
