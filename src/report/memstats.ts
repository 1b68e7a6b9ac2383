/**
 * runtime.MemStats in Go's own names and order, as encoding/json writes the structure, and `/debug/vars` around it.
 *
 * Follows mstats.go and expvar.go of Go 1.26. The figures are those of the instant without ReadMemStats's flush of the mcaches
 * (mstats.ts), so that looking changes nothing; objects and bytes lag by what cached spans gave out. BySize has 61 of the 68
 * size classes, as always, and class 0 empty. A process's clock is virtual: the run's start plus virtual time, and so are LastGC and PauseEnd.
 */
import { PAUSE_RING } from "../runtime/mgc.ts";
import { classToSize } from "../runtime/sizeclasses.ts";
import type { ProcessView } from "../simulate.ts";
import { uint64Text } from "./format.ts";

const BY_SIZE_CLASSES = 61;

/** When a run starts where nothing else is said: 2026-01-01T00:00:00Z. Fixed, so that a run's files are the same every time. */
export const DEFAULT_START_UNIX_SECONDS = 1_767_225_600;

/** Nanoseconds since 1970 are above the safe integers. */
function unixNs(startUnixSeconds: number, virtualNs: number): string {
  return String(BigInt(Math.round(startUnixSeconds * 1e3)) * 1_000_000n + BigInt(Math.round(virtualNs)));
}

/** The structure's JSON, on one line. */
export function memStatsJson(view: ProcessView, startUnixSeconds = DEFAULT_START_UNIX_SECONDS): string {
  const { memStats: st, rt } = view;
  const { gc, heap } = rt;
  const cycles = gc.numGC;
  const ring: string[] = [];
  const ends: string[] = [];
  for (let i = 0; i < PAUSE_RING; i++) {
    const filled = i < cycles;
    ring.push(filled ? String(Math.round(gc.pauseNs[i])) : "0");
    ends.push(filled ? unixNs(startUnixSeconds, gc.pauseEndNs[i]) : "0");
  }
  const sizes = Array.from({ length: BY_SIZE_CLASSES }, (_, c) => {
    const { smallAllocCount, smallFreeCount } = heap.stats;
    return `{"Size":${classToSize[c]},"Mallocs":${smallAllocCount[c]},"Frees":${smallFreeCount[c]}}`;
  });
  const fields: readonly (readonly [name: string, value: number | string | boolean])[] = [
    ["Alloc", st.heapAlloc],
    ["TotalAlloc", st.totalAlloc],
    ["Sys", st.sys],
    ["Lookups", 0],
    ["Mallocs", st.mallocs],
    ["Frees", st.frees],
    ["HeapAlloc", st.heapAlloc],
    ["HeapSys", st.heapSys],
    ["HeapIdle", st.heapIdle],
    ["HeapInuse", st.heapInuse],
    ["HeapReleased", st.heapReleased],
    ["HeapObjects", st.heapObjects],
    ["StackInuse", st.stackInuse],
    ["StackSys", st.stackSys],
    ["MSpanInuse", st.mspanInuse],
    ["MSpanSys", st.mspanSys],
    ["MCacheInuse", st.mcacheInuse],
    ["MCacheSys", st.mcacheSys],
    ["BuckHashSys", st.buckHashSys],
    ["GCSys", st.gcSys],
    ["OtherSys", st.otherSys],
    ["NextGC", uint64Text(st.nextGC)],
    ["LastGC", cycles === 0 ? 0 : ends[(cycles - 1) % PAUSE_RING]],
    ["PauseTotalNs", Math.round(gc.pauseTotalNs)],
    ["PauseNs", `[${ring.join(",")}]`],
    ["PauseEnd", `[${ends.join(",")}]`],
    ["NumGC", cycles],
    ["NumForcedGC", gc.numForcedGC],
    ["GCCPUFraction", gc.gcCpuFraction],
    ["EnableGC", true],
    ["DebugGC", false],
    ["BySize", `[${sizes.join(",")}]`],
  ];
  return `{${fields.map(([name, value]) => `"${name}":${value}`).join(",")}}`;
}

/** What `/debug/vars` answers. */
export function expvarJson(view: ProcessView, startUnixSeconds?: number): string {
  const cmdline = JSON.stringify([`/app/${view.scenario.name}`]);
  return `{\n"cmdline": ${cmdline},\n"memstats": ${memStatsJson(view, startUnixSeconds)}\n}\n`;
}
