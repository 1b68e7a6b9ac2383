/**
 * scavtrace.txt: what `GODEBUG=scavtrace=1` would have printed (printScavTrace of runtime/mgcscavenge.go), a line each time
 * a cycle's sweep is done, and one for every FreeOSMemory.
 *
 *     scav A KiB work (bg), B KiB work (eager), C KiB now, D% util
 *
 * A and B are what the background scavenger and allocations have given back since the last line, C is HeapReleased, D the
 * whole percent of the heap's retained memory that is in use. Up to Go 1.20 a line tells A and B in one figure:
 *
 *     scav A+B KiB work, C KiB total, D% util
 */
import type { ScavTraceRecord } from "../simulate.ts";

const kibibytes = (bytes: number): number => Math.floor(bytes / 1024);

/** One line, without the line feed. */
export function scavtraceLine(trace: ScavTraceRecord): string {
  const { background_bytes, eager_bytes } = trace;
  const work =
    trace.format === "total"
      ? `${kibibytes(background_bytes + eager_bytes)} KiB work, ${kibibytes(trace.heap_released_bytes)} KiB total`
      : `${kibibytes(background_bytes)} KiB work (bg), ${kibibytes(eager_bytes)} KiB work (eager), ` +
        `${kibibytes(trace.heap_released_bytes)} KiB now`;
  const util = Math.floor((trace.heap_inuse_bytes * 100) / trace.heap_retained_bytes);
  const note = trace.forced ? " (forced)" : trace.controller_reset ? " [controller reset]" : "";
  return `scav ${work}, ${util}% util${note}`;
}
