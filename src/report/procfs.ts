/**
 * What the kernel shows of the simulated process in /proc/PID: status, statm, smaps, smaps_rollup, oom_score and oom_score_adj.
 *
 * Follows fs/proc/array.c, fs/proc/base.c and fs/proc/task_mmu.c of Linux 6.x, to the blank: the same keys in the same order, less those of which the
 * model knows nothing (user ids, signals, scheduling, VmStk, Referenced, VmFlags). The process is number 1, as in a container.
 *
 * Simplified: the binary is one mapping, all of it counted as text; its pages and the process's others are nobody else's, so Pss is Rss;
 * anonymous pages in memory are dirty. VmPTE is known in a container only.
 */
import { type PlacedMapping, placedMappings } from "../os/maps.ts";
import { oomScore } from "../os/oom.ts";
import type { ProcessView } from "../simulate.ts";

/** TASK_COMM_LEN without its zero. */
const MAX_COMM = 15;
/** Where the name of a mapping begins in its line (25 + sizeof(void *) * 6 - 1 characters, and a blank). */
const NAME_COLUMN = 73;

const kib = (bytes: number): number => Math.floor(bytes / 1024);

/** proc_pid_status. */
export function procStatus(view: ProcessView): string {
  const { memory, scenario, container } = view;
  const space = view.addressSpace();
  const { fileBytes } = memory.baseline;
  const rss = memory.residentBytes();
  const size = (key: string, bytes: number): string => `${key}:\t${String(kib(bytes)).padStart(8)} kB`;
  return `${[
    `Name:\t${scenario.name.slice(0, MAX_COMM)}`,
    "State:\tS (sleeping)",
    "Tgid:\t1",
    "Ngid:\t0",
    "Pid:\t1",
    "PPid:\t0",
    "TracerPid:\t0",
    // Go's runtime unmaps next to nothing: the peak of the size is the size.
    size("VmPeak", space.vm_size_bytes),
    size("VmSize", space.vm_size_bytes),
    size("VmLck", 0),
    size("VmPin", 0),
    size("VmHWM", memory.residentPeakBytes()),
    size("VmRSS", rss),
    size("RssAnon", rss - fileBytes),
    size("RssFile", fileBytes),
    size("RssShmem", 0),
    size("VmData", space.vm_data_bytes),
    size("VmExe", fileBytes),
    size("VmLib", 0),
    ...(container === null ? [] : [size("VmPTE", container.cgroup.stat().pagetables)]),
    size("VmSwap", 0),
    size("HugetlbPages", 0),
    "CoreDumping:\t0",
    `THP_enabled:\t${scenario.go.GODEBUG.disablethp === 1 ? 0 : 1}`,
    `Threads:\t${view.rt.goroutines.threads}`,
  ].join("\n")}\n`;
}

/** proc_pid_statm: pages of size, resident, shared, text, lib, data and dt. */
export function procStatm(view: ProcessView): string {
  const { memory } = view;
  const space = view.addressSpace();
  const pages = (bytes: number): number => Math.floor(bytes / memory.pageBytes);
  const { fileBytes } = memory.baseline;
  const numbers = [
    space.vm_size_bytes,
    memory.residentBytes(),
    fileBytes,
    fileBytes,
    0,
    space.vm_data_bytes,
    0,
  ];
  return `${numbers.map(pages).join(" ")}\n`;
}

/** The counts of a mapping, or of all of them, in bytes. */
interface Pages {
  readonly rss: number;
  /** Of it the binary's. */
  readonly file: number;
  readonly lazyFree: number;
  readonly anonHuge: number;
}

const pagesOf = (m: PlacedMapping): Pages => ({
  rss: m.rss_bytes,
  file: m.access === "binary" ? m.rss_bytes : 0,
  lazyFree: m.lazy_free_bytes,
  anonHuge: m.anon_huge_pages_bytes,
});

const line = (key: string, bytes: number): string =>
  `${`${key}:`.padEnd(16)}${String(kib(bytes)).padStart(8)} kB\n`;

/** __show_smap; the rollup splits Pss. */
function counts({ rss, file, lazyFree, anonHuge }: Pages, rollup: boolean): string {
  const anon = rss - file;
  return [
    line("Rss", rss),
    line("Pss", rss),
    // MADV_FREE leaves pages clean.
    line("Pss_Dirty", anon - lazyFree),
    ...(rollup ? [line("Pss_Anon", anon), line("Pss_File", file), line("Pss_Shmem", 0)] : []),
    line("Shared_Clean", 0),
    line("Shared_Dirty", 0),
    line("Private_Clean", file + lazyFree),
    line("Private_Dirty", anon - lazyFree),
    line("Anonymous", anon),
    line("KSM", 0),
    line("LazyFree", lazyFree),
    line("AnonHugePages", anonHuge),
    line("ShmemPmdMapped", 0),
    line("FilePmdMapped", 0),
    line("Shared_Hugetlb", 0),
    line("Private_Hugetlb", 0),
    line("Swap", 0),
    line("SwapPss", 0),
    line("Locked", 0),
  ].join("");
}

const PERMISSIONS = { reserved: "---p", data: "rw-p", binary: "r-xp" } as const;

/** show_map_vma: the line of /proc/PID/maps. */
function head(
  start: number,
  end: number,
  permissions: string,
  device: string,
  inode: number,
  name: string,
): string {
  const hex = (address: number): string => address.toString(16).padStart(8, "0");
  const text = `${hex(start)}-${hex(end)} ${permissions} 00000000 ${device} ${inode} `;
  return `${name === "" ? text : text.padEnd(NAME_COLUMN) + name}\n`;
}

function smap(m: PlacedMapping, view: ProcessView): string {
  const file = m.access === "binary";
  const name = file ? `/app/${view.scenario.name}` : m.name === "[anon]" ? "" : m.name;
  const { thp } = view.scenario.machine;
  const eligible = thp === "always" && m.access === "data" && view.scenario.go.GODEBUG.disablethp !== 1;
  return (
    head(
      m.start,
      m.start + m.size_bytes,
      PERMISSIONS[m.access],
      file ? "fe:00" : "00:00",
      file ? 1 : 0,
      name,
    ) +
    line("Size", m.size_bytes) +
    line("KernelPageSize", m.kernel_page_size_bytes) +
    line("MMUPageSize", m.kernel_page_size_bytes) +
    counts(pagesOf(m), false) +
    `${"THPeligible:".padEnd(16)}${(eligible && m.size_bytes >= 2 << 20 ? "1" : "0").padStart(8)}\n`
  );
}

const mappingsOf = ({ memory, rt }: ProcessView): PlacedMapping[] =>
  placedMappings(memory, rt.heap.rules.namesMappings);

/** show_smap, for every mapping. */
export function procSmaps(view: ProcessView): string {
  return mappingsOf(view)
    .map((mapping) => smap(mapping, view))
    .join("");
}

/** show_smaps_rollup. */
export function procSmapsRollup(view: ProcessView): string {
  const mappings = mappingsOf(view);
  const sum = (of: (pages: Pages) => number): number =>
    mappings.reduce((total, mapping) => total + of(pagesOf(mapping)), 0);
  const last = mappings[mappings.length - 1];
  return (
    head(mappings[0].start, last.start + last.size_bytes, "---p", "00:00", 0, "[rollup]") +
    counts(
      {
        rss: sum(({ rss }) => rss),
        file: sum(({ file }) => file),
        lazyFree: sum(({ lazyFree }) => lazyFree),
        anonHuge: sum(({ anonHuge }) => anonHuge),
      },
      true,
    )
  );
}

const oomScoreAdj = ({ container }: ProcessView): number => container?.settings.oom_score_adj ?? 0;

function procOomScore(view: ProcessView): string {
  const { memory, scenario } = view;
  const { machine } = scenario;
  return `${oomScore(memory.residentBytes(), memory.pageTableBytes, oomScoreAdj(view), machine.memory)}\n`;
}

/** The files by their path below a mount point. */
export const PROC_FILES = {
  "proc/1/status": procStatus,
  "proc/1/statm": procStatm,
  "proc/1/smaps": procSmaps,
  "proc/1/smaps_rollup": procSmapsRollup,
  "proc/1/oom_score": procOomScore,
  "proc/1/oom_score_adj": (view) => `${oomScoreAdj(view)}\n`,
} as const satisfies Readonly<Record<string, (view: ProcessView) => string>>;
