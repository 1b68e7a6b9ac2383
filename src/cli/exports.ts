/**
 * `run --export`: the files that other tools read, beside a run's own.
 *
 * openmetrics.txt has the whole run, an instant per interval, and is written as the run goes; the others show one instant, that of
 * `--export-at` or the end. Pieces of openmetrics.txt wait in a file of their own in the run's temporary folder until the end.
 */
import { closeSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { DEFAULT_START_UNIX_SECONDS, expvarJson } from "../report/memstats.ts";
import { OpenMetricsRun, type PieceStore, runLabels } from "../report/openmetrics.ts";
import { classicText, GrowingFamilies, metricFamilies } from "../report/prometheus.ts";
import { runtimeMetricsJson } from "../report/runtimemetrics.ts";
import type { Scenario } from "../scenario/schema.ts";
import type { ProcessView } from "../simulate.ts";
import { OutputFile, type Place, writeWhole } from "./outputfile.ts";
import { cannotWrite } from "./outputs.ts";

/** What can be exported, and what it is. */
export const EXPORTS = {
  prometheus: "metrics.prom, an instant in Prometheus's text format",
  openmetrics: "openmetrics.txt, the run for promtool tsdb create-blocks-from openmetrics",
  vars: "vars.json, MemStats as /debug/vars has it",
  metrics: "runtime-metrics.json, values by runtime/metrics names",
} as const;

export type ExportKind = keyof typeof EXPORTS;

export const isExportKind = (text: string): text is ExportKind => Object.hasOwn(EXPORTS, text);

export interface ExportOptions {
  readonly kinds: readonly ExportKind[];
  /** When the instant is taken; the end of the run unless given. */
  readonly atNs?: number;
  /** Virtual time between instants of openmetrics.txt. */
  readonly intervalNs: number;
  readonly startUnixSeconds: number;
}

export const DEFAULT_EXPORT: Omit<ExportOptions, "kinds"> = {
  intervalNs: 1e9,
  startUnixSeconds: DEFAULT_START_UNIX_SECONDS,
};

/** Files of an instant. */
type InstantFile = "metrics.prom" | "vars.json" | "runtime-metrics.json";
export type ExportFile = InstantFile | "openmetrics.txt";

/** Everything an export may write. */
export const EXPORT_FILES: readonly ExportFile[] = [
  "metrics.prom",
  "vars.json",
  "runtime-metrics.json",
  "openmetrics.txt",
];

type InstantText = (view: ProcessView, options: ExportOptions) => string;

/** What each kind shows of an instant. */
const INSTANTS: Readonly<Record<ExportKind, readonly (readonly [name: InstantFile, text: InstantText])[]>> = {
  prometheus: [["metrics.prom", (view, o) => classicText(metricFamilies(view, o.startUnixSeconds))]],
  openmetrics: [],
  vars: [["vars.json", (view, o) => expvarJson(view, o.startUnixSeconds)]],
  metrics: [["runtime-metrics.json", runtimeMetricsJson]],
};

export const exportFiles = ({ kinds }: ExportOptions): readonly ExportFile[] =>
  kinds.flatMap((kind) => [
    ...(kind === "openmetrics" ? (["openmetrics.txt"] as const) : []),
    ...INSTANTS[kind].map(([name]) => name),
  ]);

/** Pieces of text in a file that is removed at the end. */
class PieceFile implements PieceStore {
  readonly #path: string;
  readonly #label: string;
  readonly #fd: number;
  readonly #starts: number[] = [];
  #length = 0;

  constructor(place: Place, name: string) {
    this.#path = join(place.folder, name);
    this.#label = join(place.label, name);
    this.#fd = this.#attempt(() => openSync(this.#path, "w+"));
  }

  put(piece: string): number {
    const bytes = Buffer.from(piece, "utf8");
    this.#attempt(() => {
      for (let done = 0; done < bytes.length; ) done += writeSync(this.#fd, bytes, done);
    });
    this.#starts.push(this.#length);
    this.#length += bytes.length;
    return this.#starts.length - 1;
  }

  get(handle: number): string {
    const start = this.#starts[handle];
    const end = this.#starts[handle + 1] ?? this.#length;
    const bytes = Buffer.allocUnsafe(end - start);
    this.#attempt(() => {
      for (let done = 0; done < bytes.length; )
        done += readSync(this.#fd, bytes, done, bytes.length - done, start + done);
    });
    return bytes.toString("utf8");
  }

  remove(): void {
    closeSync(this.#fd);
    rmSync(this.#path);
  }

  #attempt<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw cannotWrite(this.#label, error);
    }
  }
}

/** Writes what is asked for; `sample` at each sample, `finish` at the end. */
export class RunExports {
  readonly #place: Place;
  readonly #options: ExportOptions;
  readonly #run: OpenMetricsRun | undefined;
  readonly #pieces: PieceFile | undefined;
  readonly #families = new GrowingFamilies();
  #nextNs: number;
  #instantTaken = false;

  constructor(place: Place & { readonly scenario: Scenario }, options: ExportOptions) {
    this.#place = place;
    this.#options = options;
    this.#nextNs = options.intervalNs;
    if (!options.kinds.includes("openmetrics")) return;
    this.#pieces = new PieceFile(place, "openmetrics.pieces");
    this.#run = new OpenMetricsRun(this.#pieces, runLabels(place.scenario, place.scenario.seed));
  }

  sample(nowNs: number, view: () => ProcessView): void {
    const { atNs, intervalNs } = this.#options;
    if (atNs !== undefined && !this.#instantTaken && nowNs >= atNs) this.#instant(view());
    if (this.#run === undefined || nowNs < this.#nextNs) return;
    while (this.#nextNs <= nowNs) this.#nextNs += intervalNs;
    this.#add(view());
  }

  /** `last`: the process as the run leaves it. */
  finish(last: ProcessView): void {
    if (!this.#instantTaken) this.#instant(last);
    if (this.#run === undefined) return;
    const file = new OutputFile(this.#place, "openmetrics.txt");
    this.#run.finish((text) => file.writer.write(text));
    file.close();
    this.#pieces?.remove();
  }

  #add(view: ProcessView): void {
    const { startUnixSeconds } = this.#options;
    this.#run?.add(this.#families.at(view, startUnixSeconds), startUnixSeconds + view.nowNs / 1e9);
  }

  #instant(view: ProcessView): void {
    this.#instantTaken = true;
    for (const kind of this.#options.kinds)
      for (const [name, text] of INSTANTS[kind]) writeWhole(this.#place, name, text(view, this.#options));
  }
}
