/**
 * Where the parts of a workload stand in a scenario's text, for whatever points back into it: a profile's functions have
 * files and lines.
 */
import { type Path, readDocument } from "./document.ts";
import { isMapping } from "./faults.ts";

export interface ScenarioPlaces {
  /** How messages call the file. */
  readonly file: string;
  /** Where the workload begins. */
  readonly line: number;
  /** By workload entry: the line of the entry, and of each of its groups of objects. */
  readonly workload: readonly { readonly line: number; readonly objects: readonly number[] }[];
}

/** Of a text that loads; 1-based. */
export function scenarioPlaces(text: string, file: string): ScenarioPlaces {
  const read = readDocument(text);
  const { document } = read;
  if (document === undefined) return { file, line: 1, workload: [] };
  const line = (path: Path): number => read.position(document.locate(path).key).line;
  const items = (of: unknown, key: string): readonly unknown[] => {
    const list = isMapping(of) ? of[key] : undefined;
    return Array.isArray(list) ? list : [];
  };
  return {
    file,
    line: line(["workload"]),
    workload: items(document.root, "workload").map((entry, i) => ({
      line: line(["workload", i]),
      objects: items(entry, "objects").map((_, j) => line(["workload", i, "objects", j])),
    })),
  };
}
