/**
 * What can be done to a simulated process while it runs, by hand: an object with `do` and, where it needs one, `to`, in the words and
 * units of a scenario's interventions.
 */
import * as z from "zod";
import { gogc, gomemlimit, resizeContainer, setNeighbours } from "./schema.ts";

export const action = z.discriminatedUnion("do", [
  z.strictObject({ do: z.enum(["gc", "free_os_memory"]) }),
  z.strictObject({ do: z.literal("set_gc_percent"), to: gogc }),
  z.strictObject({ do: z.literal("set_memory_limit"), to: gomemlimit }),
  z.strictObject({ do: z.literal("set_gomaxprocs"), to: z.int().min(1).max(1024) }),
  /** Rates of arrivals, look-ups and streams are this many times the scenario's; batches and goroutine populations have none. */
  z.strictObject({ do: z.literal("set_traffic"), to: z.number().min(0).max(1000) }),
  /** The container's limits, as an operator changes them. */
  resizeContainer,
  /** What else is on the machine takes other memory. */
  setNeighbours,
  /** A phase of the scenario begins now, by its name. */
  z.strictObject({ do: z.literal("phase"), to: z.string() }),
]);

/** An action of the process or its workload. */
export type Action = z.output<typeof action>;
