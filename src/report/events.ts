/**
 * events.ndjson: the event trace as one JSON object a line, for jq, DuckDB and their like.
 *
 *     {"t_ns":1203441,"dur_ns":2310,"kind":"span","name":"refill","track":"P0","goroutine":4,"size_bytes":8192, ...}
 *
 * `t_ns` is when it began, `dur_ns` how long it lasted (0: an instant), both in whole virtual nanoseconds. `track` is the P
 * ("P0"), "GC", "process" (no P was at work) or "scenario". What follows is the event's own, units at the ends of the names.
 * What lasts is written when it ends, so a line may begin before the line above it.
 */
import { TRACK_GC, TRACK_PROCESS, TRACK_SCENARIO, type TraceEvent, type Tracer } from "../runtime/trace.ts";

const TRACK_NAMES: Readonly<Record<number, string>> = {
  [TRACK_GC]: "GC",
  [TRACK_PROCESS]: "process",
  [TRACK_SCENARIO]: "scenario",
};

export function trackName(track: number): string {
  return TRACK_NAMES[track] ?? `P${track}`;
}

/** One line, line feed included. */
export function eventLine({ t_ns, dur_ns, kind, name, track, detail }: TraceEvent): string {
  // Ends are rounded like beginnings, so that what follows without a gap here does so in the file.
  const start = Math.round(t_ns);
  const line = {
    t_ns: start,
    dur_ns: Math.round(t_ns + dur_ns) - start,
    kind,
    name,
    track: trackName(track),
    ...detail,
  };
  return `${JSON.stringify(line)}\n`;
}

/** Writes every event once, when it is complete. */
export function eventLines(write: (text: string) => void): Tracer {
  const line = (event: TraceEvent): void => write(eventLine(event));
  return { end: line, event: line };
}
