/**
 * More or less traffic: a workload entry whose rates are so many times what they were.
 *
 * Arrivals of services, look-ups of caches and objects of streams and leaks come at rates. Batches work as fast as they can and
 * goroutine populations have a size: traffic leaves them alone.
 */
import type { Arrivals, WorkloadEntry } from "../scenario/schema.ts";

const scaledArrivals = (arrivals: Arrivals, factor: number): Arrivals => ({
  ...arrivals,
  rate: arrivals.rate * factor,
  ...(arrivals.ramp === undefined ? {} : { ramp: { ...arrivals.ramp, to: arrivals.ramp.to * factor } }),
  ...(arrivals.steps === undefined
    ? {}
    : { steps: arrivals.steps.map((step) => ({ ...step, rate: step.rate * factor })) }),
});

/** The entry itself where nothing changes. */
export function withTraffic(entry: WorkloadEntry, factor: number): WorkloadEntry {
  if (factor === 1) return entry;
  switch (entry.kind) {
    case "service":
      return { ...entry, arrivals: scaledArrivals(entry.arrivals, factor) };
    case "cache":
      return { ...entry, requests: entry.requests * factor };
    case "stream":
    case "leak":
      return {
        ...entry,
        ...(entry.rate === undefined ? {} : { rate: entry.rate * factor }),
        ...(entry.byte_rate === undefined ? {} : { byte_rate: entry.byte_rate * factor }),
      };
    case "batch":
    case "goroutines":
      return entry;
  }
}
