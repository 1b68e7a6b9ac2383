/**
 * openmetrics.txt: a whole run as OpenMetrics with timestamps, for `promtool tsdb create-blocks-from openmetrics`.
 *
 * The format wants all lines of a family together, and within it all of one series, in the order of time; a run yields them family
 * after family at each instant. So each series' lines gather in a piece of text. When all of these have grown large they go to a store
 * (a file beside), and at the end they are read back in the order of the format: memory stays bounded however long the run is.
 *
 * Every line has the labels of a scrape (job, instance), which dashboards choose by, and what was run: scenario, variant and seed. The
 * timestamps are the run's start plus virtual time. A process that is down between a kill and its restart has no lines for that time.
 */
import type { Scenario } from "../scenario/schema.ts";
import {
  type Family,
  type Labels,
  numberText,
  openMetricsHead,
  type Series,
  samplePrefix,
} from "./prometheus.ts";

/** Where full pieces wait for the end. */
export interface PieceStore {
  /** Keeps the piece; returns what finds it again. */
  put(piece: string): number;
  get(handle: number): string;
}

/** Text of all series together that is kept in memory: most runs have less. */
const KEPT_CHARS = 1 << 22;

interface Lines {
  /** What stands before each of its values: the same at every instant. */
  readonly prefixes: readonly string[];
  /** The values of the last instant, and their lines up to the timestamp: most values stay what they are, and to spell them takes longest. */
  readonly values: number[];
  readonly starts: string[];
  pending: string;
  readonly pieces: number[];
}

interface KnownFamily {
  readonly head: string;
  readonly series: Map<string, Lines>;
}

export function runLabels(scenario: Scenario, seed: number | string): Labels {
  const { name, variant } = scenario;
  return [
    ["job", "gomemsim"],
    ["instance", `${name}/${variant}/${seed}`],
    ["scenario", name],
    ["variant", variant],
    ["seed", String(seed)],
  ];
}

export class OpenMetricsRun {
  readonly #store: PieceStore;
  readonly #labels: Labels;
  readonly #keptChars: number;
  readonly #families = new Map<string, KnownFamily>();
  #chars = 0;
  #end = "";

  constructor(store: PieceStore, labels: Labels, keptChars = KEPT_CHARS) {
    this.#store = store;
    this.#labels = labels;
    this.#keptChars = keptChars;
  }

  /** The families of an instant, later than all before. */
  add(families: readonly Family[], unixSeconds: number): void {
    const end = ` ${unixSeconds.toFixed(3)}\n`;
    // Prometheus tells milliseconds apart, and refuses two values of one.
    if (end === this.#end) return;
    this.#end = end;
    for (const family of families) {
      const { series } = family;
      for (let i = 0; i < series.length; i++) this.#add(family, series[i], end);
    }
    if (this.#chars >= this.#keptChars) this.#putAway();
  }

  #add(family: Family, series: Series, end: string): void {
    const lines = this.#linesOf(family, series);
    const { prefixes, values, starts } = lines;
    const { samples } = series;
    let text = "";
    for (let i = 0; i < prefixes.length; i++) {
      const { value } = samples[i];
      if (value !== values[i]) {
        values[i] = value;
        starts[i] = prefixes[i] + numberText(value);
      }
      text += starts[i] + end;
    }
    lines.pending += text;
    this.#chars += text.length;
  }

  #linesOf(family: Family, series: Series): Lines {
    let known = this.#families.get(family.name);
    if (known === undefined)
      this.#families.set(family.name, (known = { head: openMetricsHead(family), series: new Map() }));
    const key = series.labels.length === 0 ? "" : JSON.stringify(series.labels);
    let lines = known.series.get(key);
    if (lines === undefined) {
      const prefixes = series.samples.map((sample) => samplePrefix(family, series, sample, this.#labels));
      known.series.set(key, (lines = { prefixes, values: [], starts: [], pending: "", pieces: [] }));
    }
    return lines;
  }

  #putAway(): void {
    for (const { series } of this.#families.values())
      for (const lines of series.values()) {
        lines.pieces.push(this.#store.put(lines.pending));
        lines.pending = "";
      }
    this.#chars = 0;
  }

  finish(write: (text: string) => void): void {
    for (const { head, series } of this.#families.values()) {
      write(head);
      for (const { pending, pieces } of series.values()) {
        for (const piece of pieces) write(this.#store.get(piece));
        write(pending);
      }
    }
    write("# EOF\n");
  }
}
