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

export function addressSpace(memory: Memory, namesMappings: boolean): AddressSpace {
  const named = (name: string): string => (namesMappings ? `[anon: Go: ${name}]` : "[anon]");
  const plain = { anon_huge_pages_bytes: 0, lazy_free_bytes: 0, kernel_page_size_bytes: memory.pageBytes };
  const mappings: Mapping[] = memory.heapMappings().map((run) => ({
    name: named("heap"),
    size_bytes: run.pages * memory.pageBytes,
    rss_bytes: run.residentPages * memory.pageBytes,
    anon_huge_pages_bytes: run.hugeBytes,
    lazy_free_bytes: run.lazyPages * memory.pageBytes,
    kernel_page_size_bytes: memory.pageBytes,
  }));
  const heapMapped = mappings.reduce((sum, { size_bytes }) => sum + size_bytes, 0);
  const unused = memory.reservedBytes - heapMapped;
  if (unused > 0)
    mappings.push({ ...plain, name: named("heap reservation"), size_bytes: unused, rss_bytes: 0 });
  const regions = new Map<string, Mapping>();
  for (const { name, mappedBytes, residentBytes } of memory.metaUse()) {
    const known = REGION_NAMES[name];
    const key = known === undefined ? "[anon]" : named(known);
    const before = regions.get(key);
    regions.set(key, {
      ...plain,
      name: key,
      size_bytes: (before?.size_bytes ?? 0) + mappedBytes,
      rss_bytes: (before?.rss_bytes ?? 0) + residentBytes,
    });
  }
  const metadata = [...regions.values()];
  const reserved = memory.pageAllocReservedBytes;
  const { fileBytes, otherBytes } = memory.baseline;
  const binary: Mapping = { ...plain, name: "binary", size_bytes: fileBytes, rss_bytes: fileBytes };
  const other: Mapping = { ...plain, name: "[anon]", size_bytes: otherBytes, rss_bytes: otherBytes };
  const summary: Mapping = { ...plain, name: named("page summary"), size_bytes: reserved, rss_bytes: 0 };
  // Its few pages in memory are part of what a process has before its heap.
  const index: Mapping = { ...plain, name: named("heap index"), size_bytes: HEAP_INDEX_BYTES, rss_bytes: 0 };
  mappings.push(...metadata, summary, index, binary, other);
  const sizeOf = (list: readonly Mapping[]): number => list.reduce((sum, m) => sum + m.size_bytes, 0);
  const top = sizeOf([...metadata, summary, index, other]);
  const holes: Hole[] = [
    { after: "binary", size_bytes: HEAP_START - BINARY_START - fileBytes },
    { after: named("heap"), size_bytes: MMAP_TOP - top - HEAP_START - memory.reservedBytes },
  ];
  return {
    vm_size_bytes: sizeOf(mappings),
    vm_rss_bytes: memory.residentBytes(),
    vm_data_bytes: heapMapped + sizeOf([...metadata, index]) + otherBytes,
    mappings: mappings.sort((a, b) => b.size_bytes - a.size_bytes),
    holes,
    largest_hole_bytes: Math.max(...holes.map(({ size_bytes }) => size_bytes)),
  };
}
