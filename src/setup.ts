/** What a scenario and a machine profile say, in the terms of the model's parts. */
import { CLEAR_NS_PER_BYTE, type PageSettings } from "./os/memory.ts";
import { NumaNodes } from "./os/numa.ts";
import { OS_PAGE_BYTES } from "./os/os.ts";
import type { CostCurve, MarkCosts, RuntimeCosts } from "./runtime/costs.ts";
import type { VersionRules } from "./runtime/version.ts";
import type { MachineProfile } from "./scenario/profile.ts";
import type { Scenario } from "./scenario/schema.ts";

const NOTHING: CostCurve = [[1, 0]];

function markCosts(from: MachineProfile["mark"]["random"]): MarkCosts {
  return {
    noscanObjectNs: from.noscan_object_ns,
    scanObjectNs: from.scan_object_ns,
    noscanBigObjectNs: from.noscan_big_object_ns,
    scanBigObjectNs: from.scan_big_object_ns,
    sparseNoscanSpanNs: from.sparse_noscan_span_ns,
    sparseScanSpanNs: from.sparse_scan_span_ns,
  };
}

/** Costs of the machine profile under the runtime model's names. */
export function runtimeCosts(profile: MachineProfile): RuntimeCosts {
  const { alloc, mark, sched } = profile;
  return {
    refillNs: alloc.refill_ns,
    spanAllocNs: alloc.span_alloc_ns,
    largeNs: alloc.large_ns,
    tinyNs: alloc.tiny_ns,
    zeroNsPerByte: alloc.zero_ns_per_byte,
    faultNs: alloc.fault_ns,
    scavenge: {
      pageNs: alloc.scavenge_ns_per_page,
      callNs: alloc.scavenge_call_ns,
      busyCallNs: alloc.scavenge_busy_call_ns,
    },
    sweepSpanNs: alloc.sweep_span_ns,
    mallocNoscanNs: alloc.malloc_noscan_ns,
    mallocScanNs: alloc.malloc_scan_ns,
    markRandom: markCosts(mark.random),
    markOrdered: markCosts(mark.ordered),
    interleavedNoscanSpanNs: mark.interleaved?.noscan_span_ns ?? NOTHING,
    interleavedScanSpanNs: mark.interleaved?.scan_span_ns ?? NOTHING,
    pointerNs: mark.pointer_ns,
    ownPointersNs: mark.own_pointers_ns,
    largePointerNs: mark.large_pointer_ns,
    scanNsPerByte: mark.scan_ns_per_byte,
    stackScanNsPerByte: mark.stack_ns_per_byte,
    markGoroutineNs: mark.goroutine_ns,
    globalsScanNsPerByte: mark.globals_ns_per_byte,
    cycleNs: mark.cycle_ns,
    cycleRootsNs: mark.cycle_roots_ns,
    goroutineStartNs: sched.goroutine_start_ns,
    goroutineSwitchNs: sched.goroutine_switch_ns,
    stackCopyNsPerByte: sched.stack_copy_ns_per_byte,
    initPointerWordNs: alloc.init_pointer_word_ns,
    initPageNs: alloc.init_page_ns,
  };
}

/** Threads that a Go process has beside those of its Ps: sysmon's, and one that is left over once another has stood in for it. */
const THREADS_BESIDE_PS = 2;

/**
 * Threads of a process that has not done much yet: those of Ps that have been at work, and others. The profile's process had as many in
 * all; further ones are made when more Ps are at work.
 */
export function threadsAtStart(
  { baseline, provenance }: Pick<MachineProfile, "baseline" | "provenance">,
  procs: number,
): { readonly ofPs: number; readonly beside: number } {
  const known = Math.min(provenance.cpus, Math.max(1, baseline.threads - THREADS_BESIDE_PS));
  return { ofPs: Math.min(procs, known), beside: baseline.threads - known };
}

/** The nodes of the machine; undefined where there is one. */
export function numaNodes({ machine }: Scenario, costs: RuntimeCosts): NumaNodes | undefined {
  const { numa, cpus, page_size } = machine;
  if (numa === undefined) return undefined;
  return new NumaNodes({
    nodes: numa.nodes,
    cpuNodes: numa.cpu_nodes ?? numa.nodes,
    policy: numa.policy,
    bindNode: numa.bind_node,
    remoteRatio: numa.remote_ratio,
    memoryBound: numa.memory_bound,
    cpus,
    pageBytes: page_size,
    clearNsPerByte: CLEAR_NS_PER_BYTE,
    writeNsPerByte: costs.zeroNsPerByte,
  });
}

/** What a scenario sets that no Go release has. */
export function hypotheticalSettings({ go }: Scenario): string[] {
  const { arenascale } = go.hypothetical ?? {};
  return arenascale === undefined ? [] : [`arenascale=${arenascale} (in no Go release)`];
}

/** How the process's pages are treated. Where no page can be huge, nothing is kept of huge pages. */
export function pageSettings(
  { machine, go, layers }: Scenario,
  rules: VersionRules,
  numa: NumaNodes | undefined,
): PageSettings {
  const advisePerRelease = rules.hugePageAdvice === "per-release";
  const disableThp = go.GODEBUG.disablethp === 1;
  const { thp } = machine;
  const huge =
    thp !== "never" && (thp === "always" || advisePerRelease) && machine.page_size === OS_PAGE_BYTES;
  return {
    pageBytes: machine.page_size,
    madvFree: go.GODEBUG.madvdontneed === 0,
    ...(numa === undefined ? {} : { numa }),
    ...(layers === true ? { countTables: true } : {}),
    ...(huge && !disableThp
      ? {
          hugePages: {
            enabled: thp,
            advisePerRelease,
            maxPtesNone: machine.khugepaged.max_ptes_none,
          },
        }
      : {}),
  };
}
