/**
 * layers.csv: a row per sample, layer and part, so that a query or a pivot table makes any view of it: who owns the resident set
 * (`layer = objects` at one sample), or one layer over time. `sample` is the number of the row in timeseries.csv, from 1, and the
 * `sample` of a counter event in the event trace.
 *
 * Rows are joined by hand, as in timeseries.ts: names of layers, parts and sources need no quoting.
 */
import type { LayerPart } from "../simulate.ts";
import { plainNumber } from "./format.ts";

export const LAYERS_HEADER = "sample,t_seconds,layer,part,bytes\n";

export function layerLines(sample: number, tSeconds: number, parts: readonly LayerPart[]): string {
  const at = `${sample},${plainNumber(tSeconds, "seconds")}`;
  let text = "";
  for (const { layer, part, bytes } of parts)
    text += `${at},${layer},${part},${plainNumber(bytes, "bytes")}\n`;
  return text;
}
