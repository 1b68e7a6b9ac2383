/** The unit of a column or figure: every name of ours says it with its ending. */

export type Unit = "seconds" | "bytes" | "ns" | "count" | "fraction" | "percent";

/** The unit a name ends in; a name without one is a count. */
export function unitOf(name: string): Unit {
  if (name.endsWith("_bytes")) return "bytes";
  if (name.endsWith("_ns")) return "ns";
  if (name.endsWith("_seconds")) return "seconds";
  if (name.endsWith("_fraction") || name.endsWith("_ratio")) return "fraction";
  if (name.endsWith("_percent")) return "percent";
  return "count";
}
