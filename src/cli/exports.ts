/**
 * `run --export`: writes the files that other tools read, beside a run's own. Loaded by runs that want some.
 *
 * openmetrics.txt has the whole run, an instant per interval, and is written as the run goes; the others show one instant, that of
 * `--export-at` or the end. Pieces of openmetrics.txt wait in a file of their own in the run's temporary folder until the end.
 */
import { closeSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { cgroupFiles, PressureAverages } from "../report/cgroupfs.ts";
import { grafanaDashboard } from "../report/grafana.ts";
import { expvarJson } from "../report/memstats.ts";
import { OpenMetricsRun, type PieceStore, runLabels } from "../report/openmetrics.ts";
import { PROC_FILES } from "../report/procfs.ts";
import { classicText, GrowingFamilies, metricFamilies } from "../report/prometheus.ts";
import { runtimeMetricsJson } from "../report/runtimemetrics.ts";
import type { Scenario } from "../scenario/schema.ts";
import type { ProcessView } from "../simulate.ts";
import type { ExportKind, ExportOptions } from "./exportkinds.ts";
import { makeFolders, OutputFile, type Place, writeWhole } from "./outputfile.ts";
import { cannotWrite } from "./outputs.ts";

/** The files of a kind that show an instant. */
function instantOf(
  kind: ExportKind,
  view: ProcessView,
  { startUnixSeconds }: ExportOptions,
  pressure: PressureAverages,
): Readonly<Record<string, string>> {
  switch (kind) {
    case "prometheus":
      return { "metrics.prom": classicText(metricFamilies(view, startUnixSeconds)) };
    case "openmetrics":
      return {};
    case "vars":
      return { "vars.json": expvarJson(view, startUnixSeconds) };
    case "metrics":
      return { "runtime-metrics.json": runtimeMetricsJson(view) };
    case "grafana":
      return { "grafana-dashboard.json": grafanaDashboard(view.scenario, startUnixSeconds) };
    case "proc":
      return {
        ...Object.fromEntries(Object.entries(PROC_FILES).map(([name, text]) => [name, text(view)])),
        ...(view.container === null ? {} : cgroupFiles(view, view.container, pressure)),
      };
  }
}

/** Pieces of text in a file that is removed at the end. */
class PieceFile implements PieceStore {
  readonly #path: string;
  readonly #label: string;
  /** None before the first piece: a short run needs no file. */
  #fd: number | undefined;
  readonly #starts: number[] = [];
  #length = 0;

  constructor(place: Place, name: string) {
    this.#path = join(place.folder, name);
    this.#label = join(place.label, name);
  }

  put(piece: string): number {
    const bytes = Buffer.from(piece, "utf8");
    this.#attempt(() => {
      this.#fd ??= openSync(this.#path, "w+");
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
        done += readSync(this.#fd!, bytes, done, bytes.length - done, start + done);
    });
    return bytes.toString("utf8");
  }

  remove(): void {
    if (this.#fd === undefined) return;
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
  readonly #pressure = new PressureAverages();
  /** Where averages are wanted the container is looked at with every sample. */
  readonly #watchesPressure: boolean;
  #nextNs: number;
  #instantTaken = false;

  constructor(place: Place & { readonly scenario: Scenario }, options: ExportOptions) {
    this.#place = place;
    this.#options = options;
    this.#nextNs = options.intervalNs;
    this.#watchesPressure = options.kinds.includes("proc") && place.scenario.container !== undefined;
    if (!options.kinds.includes("openmetrics")) return;
    this.#pieces = new PieceFile(place, "openmetrics.pieces");
    this.#run = new OpenMetricsRun(this.#pieces, runLabels(place.scenario, place.scenario.seed));
  }

  sample(nowNs: number, view: () => ProcessView): void {
    const { atNs, intervalNs } = this.#options;
    if (this.#watchesPressure && !this.#instantTaken) this.#pressure.sample(nowNs, view().container!);
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
    const files = this.#options.kinds.flatMap((kind) =>
      Object.entries(instantOf(kind, view, this.#options, this.#pressure)),
    );
    makeFolders(
      this.#place,
      files.map(([name]) => name),
    );
    for (const [name, text] of files) writeWhole(this.#place, name, text);
  }
}
