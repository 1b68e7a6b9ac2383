/**
 * `gomemsim plot RUN...`: a run's series as a picture for documents, or one metric of several runs over each other.
 *
 * SVG is our own text; PNG is that SVG as resvg draws it, with the fonts of the machine. A machine without any would give a picture
 * without a word, so that is refused.
 */
import { join } from "node:path";
import type { ResvgRenderOptions } from "@resvg/resvg-js";
import type { CommandModule } from "yargs";
import { unitOf } from "../report/format.ts";
import {
  cpuLimitAt,
  DEFAULT_METRICS,
  DEFAULT_PANELS,
  isPanelName,
  overlayPlot,
  PANELS,
  type PanelName,
  type PlotSize,
  PlottedCycles,
  type PlottedRun,
  panelColumns,
  runPlot,
} from "../report/panels.ts";
import { MIN_PLOT_HEIGHT, MIN_PLOT_WIDTH, type Plot, svgPlot } from "../report/svgplot.ts";
import { nearest } from "../scenario/faults.ts";
import { runName } from "../scenario/variant.ts";
import { complain, print } from "./console.ts";
import { CliError, EXIT } from "./exit.ts";
import { once } from "./options.ts";
import { writeFileWhole } from "./outputs.ts";
import { plotName, readSeries, readSummary, scanCycles } from "./runfolder.ts";

interface PlotArguments {
  readonly run: readonly string[];
  readonly format: "svg" | "png" | undefined;
  readonly metric: string | undefined;
  readonly panel: string | undefined;
  readonly width: string | undefined;
  readonly height: string | undefined;
  readonly out: string | undefined;
}

const DEFAULT_WIDTH = 900;
const MAX_PIXELS = 10_000;

function pixels(option: string, text: string | undefined, least: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= MAX_PIXELS) return value;
  throw new CliError(
    EXIT.usage,
    `--${option}: expected a whole number of pixels from ${least} to ${MAX_PIXELS}, got "${text}"`,
  );
}

const listOf = (text: string): string[] => text.split(",").map((name) => name.trim());

function panelsOf(text: string): PanelName[] {
  return listOf(text).map((name) => {
    if (isPanelName(name)) return name;
    const known = Object.keys(PANELS);
    const near = nearest(name, known);
    const hint = near === undefined ? `out of ${known.join(", ")}` : `did you mean ${near}?`;
    throw new CliError(EXIT.usage, `--panel: there is no "${name}"; ${hint}`);
  });
}

/** By its ending, where the format is not given. */
function formatOf({ format, out }: PlotArguments): "svg" | "png" {
  const ending = out === undefined ? undefined : /\.(svg|png)$/i.exec(out)?.[1]?.toLowerCase();
  if (format !== undefined && ending !== undefined && ending !== format)
    throw new CliError(EXIT.usage, `--format ${format} does not fit the file's name, ${out}`);
  return format ?? (ending === "png" ? "png" : "svg");
}

/** What a plot shows of a run's folder. */
function readPlotted(
  path: string,
  metrics: readonly string[] | undefined,
  panels: readonly PanelName[],
): Omit<PlottedRun, "label"> {
  const summary = readSummary(path);
  const { columns, samples } = readSeries(
    path,
    metrics ?? [],
    metrics === undefined ? panelColumns(panels) : [],
  );
  const units = new Map(columns.map(({ name, unit }) => [name, unit]));
  const cycles = new PlottedCycles(summary.scenario.machine.cpus, cpuLimitAt(summary.scenario, samples));
  scanCycles(path, (cycle) => cycles.add(cycle));
  return { summary, samples, cycles, unit: (name) => units.get(name) ?? unitOf(name) };
}

/** What tells the runs apart: their variants if these differ, else their folders. */
function labelsOf(paths: readonly string[], read: readonly Omit<PlottedRun, "label">[]): readonly string[] {
  const full = read.map(({ summary: { scenario } }) => runName(scenario));
  const variants = read.map(({ summary: { scenario } }) => scenario.variant);
  const distinct = (labels: readonly string[]): boolean => new Set(labels).size === labels.length;
  const oneScenario = new Set(read.map(({ summary: { scenario } }) => scenario.name)).size === 1;
  if (read.length > 1 && oneScenario && distinct(variants)) return variants;
  return distinct(full) ? full : paths;
}

function plotFor(args: PlotArguments, size: PlotSize): Plot {
  const { metric, panel } = args;
  if (metric !== undefined && panel !== undefined)
    throw new CliError(EXIT.usage, "give --metric or --panel, not both");
  const several = args.run.length > 1;
  if (several && panel !== undefined)
    throw new CliError(EXIT.usage, "--panel is for one run; several are laid over each other by --metric");
  const panels = panelsOf(panel ?? DEFAULT_PANELS.join(","));
  const metrics = metric !== undefined ? listOf(metric) : several ? DEFAULT_METRICS : undefined;
  const read = args.run.map((path) => readPlotted(path, metrics, panels));
  const labels = labelsOf(args.run, read);
  const runs = read.map((run, i): PlottedRun => ({ ...run, label: labels[i] }));
  const plot = several
    ? overlayPlot(runs, metrics ?? DEFAULT_METRICS, size)
    : runPlot(runs[0], metrics === undefined ? { panels } : { metrics }, size);
  if (plot.panels.some(({ lines }) => lines.length > 0)) return plot;
  throw new CliError(
    EXIT.input,
    `${args.run[0]}: has no value of ${metrics?.join(", ") ?? panels.join(", ")}`,
  );
}

type Fonts = NonNullable<ResvgRenderOptions["font"]>;

const FONTS: Fonts = {
  loadSystemFonts: true,
  // What the SVG asks for is taken where it is installed; else this, else whatever sans-serif is.
  defaultFontFamily: "DejaVu Sans",
  sansSerifFamily: "DejaVu Sans",
};

/** Text in which a font leaves a trace. */
const LETTER =
  '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20"><text x="2" y="16" font-size="16" font-family="sans-serif">M</text></svg>';

/** Draws an SVG of ours. Refused where no font is: a plot without its numbers says nothing. */
export async function pngOf(svg: string, font: Fonts = FONTS): Promise<Uint8Array> {
  // A native library, which no other command should have to load.
  const { Resvg } = await import("@resvg/resvg-js");
  if (new Resvg(LETTER, { font }).render().pixels.every((byte) => byte === 0))
    throw new CliError(
      EXIT.output,
      "no font is installed to write the PNG's text with; install one (fonts-dejavu-core, for example), or use --format svg",
    );
  return new Resvg(svg, { font, background: "#ffffff" }).render().asPng();
}

async function run(args: PlotArguments): Promise<void> {
  const format = formatOf(args);
  const height = pixels("height", args.height, MIN_PLOT_HEIGHT);
  const plot = plotFor(args, {
    width: pixels("width", args.width, MIN_PLOT_WIDTH) ?? DEFAULT_WIDTH,
    ...(height === undefined ? {} : { height }),
  });
  const svg = svgPlot(plot);
  const name = plotName(format);
  // Several runs have no folder in common.
  const out = args.out ?? (args.run.length === 1 ? join(args.run[0], name) : name);
  const content = format === "svg" ? svg : await pngOf(svg);
  if (out === "-") {
    await print(content);
    return;
  }
  writeFileWhole(out, content);
  complain(`wrote ${out}`);
}

export const plotCommand: CommandModule<object, PlotArguments> = {
  command: "plot <run..>",
  describe: "Draw a run's series as SVG or PNG, or one metric of several runs over each other",
  builder: (yargs) =>
    yargs
      .positional("run", {
        type: "string",
        array: true,
        demandOption: true,
        describe: "Folder of a run, such as out/web-api; several are compared",
      })
      .option("format", {
        choices: ["svg", "png"] as const,
        describe: "Default: as the output file's name ends, else svg",
      })
      .option("panel", {
        type: "string",
        nargs: 1,
        coerce: once("panel"),
        describe: `Comma separated, out of ${Object.keys(PANELS).join(", ")}. Default: ${DEFAULT_PANELS.join(",")}`,
      })
      .option("metric", {
        type: "string",
        nargs: 1,
        coerce: once("metric"),
        describe: `Columns of timeseries.csv, comma separated. Default for several runs: ${DEFAULT_METRICS.join(",")}`,
      })
      .option("width", {
        type: "string",
        nargs: 1,
        coerce: once("width"),
        describe: `Pixels (default: ${DEFAULT_WIDTH})`,
      })
      .option("height", {
        type: "string",
        nargs: 1,
        coerce: once("height"),
        describe: "Pixels (default: by panels)",
      })
      .option("out", {
        alias: "o",
        type: "string",
        nargs: 1,
        coerce: once("out"),
        describe: "File to write; - is standard output (default: plot.svg or .png in the run's folder)",
      }),
  handler: run,
};
