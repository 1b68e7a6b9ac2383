/** The unit of a column or figure: every name of ours says it with its ending. */

export type Unit = "seconds" | "bytes" | "ns" | "count" | "fraction" | "percent";

/** The unit a name ends in; a name without one is a count. A figure of a phase, `rss_peak_bytes@doubled`, has the figure's. */
export function unitOf(of: string): Unit {
  const at = of.indexOf("@");
  const name = at < 0 ? of : of.slice(0, at);
  if (name.endsWith("_bytes")) return "bytes";
  if (name.endsWith("_ns")) return "ns";
  if (name.endsWith("_seconds")) return "seconds";
  if (name.endsWith("_fraction") || name.endsWith("_ratio")) return "fraction";
  if (name.endsWith("_percent")) return "percent";
  return "count";
}
