/** Starts a workload entry of any kind. */
import type { WorkloadEntry } from "../scenario/schema.ts";
import { startBatch } from "./batch.ts";
import { startCache } from "./cache.ts";
import { startGoroutines } from "./goroutines.ts";
import type { Context, Running } from "./program.ts";
import { startService } from "./service.ts";
import { startStream } from "./stream.ts";

export function startEntry(ctx: Context, entry: WorkloadEntry): Running {
  switch (entry.kind) {
    case "stream":
    case "leak":
      return startStream(ctx, entry);
    case "service":
      return startService(ctx, entry);
    case "batch":
      return startBatch(ctx, entry);
    case "cache":
      return startCache(ctx, entry);
    case "goroutines":
      return startGoroutines(ctx, entry);
  }
}
