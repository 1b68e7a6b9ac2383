/**
 * Plots for documents as SVG text: panels below each other on one time axis, with lines, bands, bounds and marks.
 *
 * Our own writer rather than a chart library: the pictures are few and alike, their bytes are the same on every machine and in every
 * locale, and what a reader cannot see is there as text (title, description, a tooltip per mark). Light background, as paper has.
 *
 * A line has no more points than a picture of that width can show: of each column of pixels the first, lowest, highest and last value
 * are drawn, so that no peak is lost. Widths of texts are estimated, as an SVG cannot measure them: room is a little generous.
 */
import { humanValue, type Unit } from "./format.ts";
import { AXIS, BAD, GRID, INK, MARK } from "./palette.ts";
import { axisFor } from "./ticks.ts";

export interface PlotLine {
  readonly label: string;
  readonly color: string;
  readonly x: ArrayLike<number>;
  /** Not-a-number is a gap. */
  readonly y: ArrayLike<number>;
  /** `step`: a value holds until the next one. `points`: each by itself, with a stem. */
  readonly style: "line" | "step" | "points";
  readonly dash?: string;
  /** A bound on the others: dashed, and left off the scale when it is far above them. */
  readonly bound?: boolean;
}

export interface PlotPanel {
  readonly title: string;
  readonly unit: Unit;
  readonly lines: readonly PlotLine[];
}

export interface PlotMark {
  readonly at: number;
  readonly label: string;
  /** What a tooltip says. */
  readonly detail: string;
  readonly grave: boolean;
}

export interface Plot {
  readonly title: string;
  readonly subtitle: string;
  /** What a reader who cannot see the plot is told. */
  readonly description: string;
  /** Pixels. */
  readonly width: number;
  readonly height: number;
  /** Seconds that the time axis covers, from 0. */
  readonly seconds: number;
  readonly panels: readonly PlotPanel[];
  /** Spans of time with a darker ground, in their order, as pairs of seconds. */
  readonly bands: readonly (readonly [from: number, to: number])[];
  /** Spans with a fainter ground, which follow those; left out where they are narrower than a pixel. */
  readonly faintBands: readonly (readonly [from: number, to: number])[];
  /** What bands are. */
  readonly bandLabel: string;
  readonly marks: readonly PlotMark[];
}

const BAND = "#e4dcef";
const BAND_EDGE = "#a793c4";
const FAINT_BAND = "#f3eff8";
export const FONT_FAMILY = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif";
const FONT_PX = 12;
/** Widths of characters, in ems, about as the widest of the fonts above has them. */
const CHARACTER_EMS: readonly (readonly [RegExp, number])[] = [
  [/[ijl.,:;|!'()[\] ]/u, 0.36],
  [/[frt/-]/u, 0.42],
  [/[a-z0-9_]/u, 0.63],
  [/[A-Zµ=+<>~]/u, 0.74],
];
/** Of all others: m, w, %, and whatever a font of another script has. */
const WIDE_EMS = 1;

/** Smallest plot in which axes and legends have room. */
export const MIN_PLOT_WIDTH = 320;
export const MIN_PLOT_HEIGHT = 200;
/** Room above the panels, and of each panel above its frame and below it. */
const HEAD_PX = 46;
const MARKS_PX = 18;
const FOOT_PX = 24;
const LEGEND_LINE_PX = 17;
/** Beside a mark's name, its triangle included. */
const MARK_ROOM_PX = 14;
const LEFT_PX = 66;
const RIGHT_PX = 18;
/** Bounds stretch the scale up to this many times what they bound. */
const BOUND_STRETCH = 2;

/** Text as XML has it: escaped, without what no XML may contain. */
export function xmlText(text: string): string {
  return (
    text
      .replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd")
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to be taken out.
      .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd")
      .replaceAll("&", "&amp;")
      .replaceAll("<", "&lt;")
      .replaceAll(">", "&gt;")
      .replaceAll('"', "&quot;")
      .replaceAll("'", "&apos;")
  );
}

function characterEms(character: string): number {
  if (character === "m" || character === "w") return 0.95;
  for (const [characters, ems] of CHARACTER_EMS) if (characters.test(character)) return ems;
  return WIDE_EMS;
}

function textWidth(text: string, px = FONT_PX): number {
  let ems = 0;
  for (const character of text) ems += characterEms(character);
  return ems * px;
}

/** Cut to a width, with an ellipsis where something is missing. */
function shortened(text: string, width: number, px: number): string {
  if (textWidth(text, px) <= width + 0.01) return text;
  let kept = "";
  for (const character of text) {
    if (textWidth(`${kept}${character}…`, px) > width) break;
    kept += character;
  }
  return `${kept.trimEnd()}…`;
}

/** A coordinate: a tenth of a pixel is finer than anybody sees. */
const px = (value: number): string => String(Math.round(value * 10) / 10);

interface Frame {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

interface LegendItem {
  readonly text: string;
  readonly line: PlotLine | undefined;
  readonly width: number;
}

const SWATCH_PX = 18;
const LEGEND_GAP_PX = 14;

/** Largest value below `+infinity`. */
function peak(lines: readonly PlotLine[]): number {
  let top = 0;
  for (const { y } of lines) for (let i = 0; i < y.length; i++) if (y[i] > top && y[i] < Infinity) top = y[i];
  return top;
}

/** Upper end of what is drawn, and the bounds beyond it. */
function scaleOf(lines: readonly PlotLine[]): { readonly top: number; readonly beyond: readonly PlotLine[] } {
  const data = peak(lines.filter((line) => line.bound !== true));
  const beyond = lines.filter(
    (line) => line.bound === true && data > 0 && peak([line]) > data * BOUND_STRETCH,
  );
  return { top: Math.max(data, peak(lines.filter((line) => !beyond.includes(line)))), beyond };
}

/** Rows of a legend within a width. */
function legendRows(items: readonly LegendItem[], width: number): LegendItem[][] {
  const rows: LegendItem[][] = [[]];
  let used = 0;
  for (const item of items) {
    if (used > 0 && used + item.width > width) {
      rows.push([]);
      used = 0;
    }
    rows[rows.length - 1].push(item);
    used += item.width + LEGEND_GAP_PX;
  }
  return rows;
}

/** Points of a line in a frame as path data; at most four per column of pixels. */
function pathOf(line: PlotLine, frame: Frame, seconds: number, top: number): string {
  const { x, y } = line;
  const toX = (t: number): number => frame.left + (t / seconds) * frame.width;
  const toY = (value: number): number =>
    frame.top + frame.height - (Math.max(0, Math.min(value, top)) / top) * frame.height;
  const parts: string[] = [];
  let gap = true;
  let lastY = "";
  const point = (i: number): void => {
    const at = px(toX(x[i]));
    const height = px(toY(y[i]));
    if (gap) parts.push(`M${at} ${height}`);
    else if (line.style === "step" && height !== lastY) parts.push(`H${at}V${height}`);
    else if (line.style === "step") parts.push(`H${at}`);
    else parts.push(`L${at} ${height}`);
    gap = false;
    lastY = height;
  };
  for (let i = 0; i < y.length; ) {
    if (Number.isNaN(y[i])) {
      gap = true;
      i++;
      continue;
    }
    // The column's values up to a gap.
    const column = Math.floor(toX(x[i]));
    let end = i;
    let low = i;
    let high = i;
    while (end < y.length && !Number.isNaN(y[end]) && Math.floor(toX(x[end])) === column) {
      if (y[end] < y[low]) low = end;
      if (y[end] > y[high]) high = end;
      end++;
    }
    const drawn = new Set([i, Math.min(low, high), Math.max(low, high), end - 1]);
    for (const at of drawn) point(at);
    i = end;
  }
  return parts.join("");
}

function stems(line: PlotLine, frame: Frame, seconds: number, top: number): string {
  const bottom = frame.top + frame.height;
  const byColumn = new Map<number, number>();
  for (let i = 0; i < line.y.length; i++) {
    const value = line.y[i];
    if (Number.isNaN(value)) continue;
    const column = Math.round((frame.left + (line.x[i] / seconds) * frame.width) * 2);
    byColumn.set(column, Math.max(value, byColumn.get(column) ?? 0));
  }
  let path = "";
  for (const [column, value] of byColumn)
    path += `M${px(column / 2)} ${px(bottom)}V${px(bottom - (Math.min(value, top) / top) * frame.height)}`;
  return path;
}

/** A panel and the pixel where it ends. */
function drawPanel(plot: Plot, panel: PlotPanel, area: Frame, last: boolean): string {
  const out: string[] = [];
  const { top, beyond } = scaleOf(panel.lines);
  const items = panel.lines.map((line): LegendItem => {
    const text = beyond.includes(line)
      ? `${line.label} ${humanValue(peak([line]), panel.unit)}, above`
      : line.label;
    return { text, line, width: SWATCH_PX + 5 + textWidth(text) };
  });
  const titleWidth = textWidth(panel.title, FONT_PX) * 1.08 + 2 * LEGEND_GAP_PX;
  // The legend stands right of the title where it fits there, below it otherwise.
  const beside = legendRows(items, area.width - titleWidth);
  const besideFits = beside.length === 1 && items.every((item) => item.width <= area.width - titleWidth);
  const rows = besideFits ? beside : legendRows(items, area.width);
  const legendTop = area.top + 12;
  const headHeight = LEGEND_LINE_PX * (besideFits ? 1 : rows.length + 1) + 4;
  const frame: Frame = {
    left: area.left,
    top: area.top + headHeight,
    width: area.width,
    height: Math.max(20, area.height - headHeight),
  };
  out.push(
    `<text font-weight="bold" x="${px(area.left)}" y="${px(legendTop)}">${xmlText(panel.title)}</text>`,
  );
  rows.forEach((row, r) => {
    const y = legendTop + (besideFits ? 0 : (r + 1) * LEGEND_LINE_PX);
    const used = row.reduce((sum, item) => sum + item.width + LEGEND_GAP_PX, -LEGEND_GAP_PX);
    let x = besideFits ? area.left + area.width - used : area.left;
    for (const item of row) {
      const { line } = item;
      if (line !== undefined)
        out.push(`<path d="M${px(x)} ${px(y - 4)}h${SWATCH_PX}" stroke="${line.color}"${stroke(line)}/>`);
      const room = area.left + area.width - x - SWATCH_PX - 5;
      out.push(
        `<text x="${px(x + SWATCH_PX + 5)}" y="${px(y)}">${xmlText(shortened(item.text, room, FONT_PX))}</text>`,
      );
      x += item.width + LEGEND_GAP_PX;
    }
  });
  out.push(grounds(plot, frame));
  const axis = axisFor(panel.unit, top, Math.max(2, Math.floor(frame.height / 24)));
  const bottom = frame.top + frame.height;
  const gridY = axis.ticks.map((tick) => bottom - (tick / axis.top) * frame.height);
  out.push(
    `<path stroke="${GRID}" d="${gridY.map((y) => `M${px(frame.left)} ${px(y)}h${px(frame.width)}`).join("")}"/>`,
  );
  axis.labels.forEach((label, i) => {
    out.push(
      `<text fill="${AXIS}" text-anchor="end" x="${px(frame.left - 7)}" y="${px(gridY[i] + 4)}">${label}</text>`,
    );
  });
  const time = axisFor("seconds", plot.seconds, Math.max(2, Math.floor(frame.width / 80)), true);
  const gridX = time.ticks.map((tick) => frame.left + (tick / plot.seconds) * frame.width);
  out.push(
    `<path stroke="${GRID}" d="${gridX.map((x) => `M${px(x)} ${px(frame.top)}v${px(frame.height)}`).join("")}"/>`,
  );
  if (last)
    time.labels.forEach((label, i) => {
      // The last one ends where the picture does.
      const x = Math.min(gridX[i], frame.left + frame.width + RIGHT_PX - 2 - textWidth(label) / 2);
      out.push(
        `<text fill="${AXIS}" text-anchor="middle" x="${px(x)}" y="${px(bottom + 16)}">${label}</text>`,
      );
    });
  for (const line of panel.lines) {
    if (beyond.includes(line)) continue;
    const d =
      line.style === "points"
        ? stems(line, frame, plot.seconds, axis.top)
        : pathOf(line, frame, plot.seconds, axis.top);
    if (d !== "") out.push(`<path fill="none" stroke="${line.color}"${stroke(line)} d="${d}"/>`);
  }
  out.push(markLines(plot, frame));
  out.push(`<path stroke="${AXIS}" d="M${px(frame.left)} ${px(bottom)}h${px(frame.width)}"/>`);
  return out.join("\n");
}

const stroke = (line: PlotLine): string => {
  const dash = line.dash ?? (line.bound === true ? "6 4" : undefined);
  return ` stroke-width="1.5"${dash === undefined ? "" : ` stroke-dasharray="${dash}"`}`;
};

/** Fainter bands, and over them the others, those closer than a pixel as one. */
function grounds(plot: Plot, frame: Frame): string {
  const toX = (seconds: number): number =>
    frame.left + (Math.min(seconds, plot.seconds) / plot.seconds) * frame.width;
  const faint = plot.faintBands
    .filter(([from, to]) => toX(to) - toX(from) >= 1)
    .map(([from, to]) => {
      const width = px(toX(to) - toX(from));
      return `M${px(toX(from))} ${px(frame.top)}h${width}v${px(frame.height)}h-${width}z`;
    })
    .join("");
  const under = faint === "" ? [] : [`<path fill="${FAINT_BAND}" d="${faint}"/>`];
  const merged: { from: number; to: number }[] = [];
  for (const [from, to] of plot.bands) {
    const left = frame.left + (from / plot.seconds) * frame.width;
    const right = Math.min(frame.left + frame.width, frame.left + (to / plot.seconds) * frame.width);
    if (right < frame.left || left > frame.left + frame.width) continue;
    const before = merged[merged.length - 1];
    if (before !== undefined && left - before.to < 1) before.to = Math.max(before.to, right);
    else merged.push({ from: left, to: Math.max(right, left + 1.5) });
  }
  if (merged.length === 0) return under.join("");
  const d = merged
    .map(
      ({ from, to }) =>
        `M${px(from)} ${px(frame.top)}h${px(to - from)}v${px(frame.height)}h${px(from - to)}z`,
    )
    .join("");
  // Edges, so that a band is not taken for a line of the grid: the two stops of a cycle are where it begins and ends.
  const edges = merged
    .filter(({ from, to }) => to - from > 3)
    .map(
      ({ from, to }) =>
        `M${px(from)} ${px(frame.top)}v${px(frame.height)}M${px(to)} ${px(frame.top)}v${px(frame.height)}`,
    )
    .join("");
  const lines = edges === "" ? "" : `<path stroke="${BAND_EDGE}" stroke-width="0.7" d="${edges}"/>`;
  return `${under.join("")}<path fill="${BAND}" d="${d}"/>${lines}`;
}

const markX = (plot: Plot, frame: Frame, mark: PlotMark): number =>
  frame.left + (mark.at / plot.seconds) * frame.width;

function markLines(plot: Plot, frame: Frame): string {
  const inside = plot.marks.filter(({ at }) => at >= 0 && at <= plot.seconds);
  return inside
    .map((mark) => {
      const color = mark.grave ? BAD : MARK;
      const d = `M${px(markX(plot, frame, mark))} ${px(frame.top)}v${px(frame.height)}`;
      return `<path stroke="${color}" stroke-dasharray="2 3" d="${d}"><title>${xmlText(mark.detail)}</title></path>`;
    })
    .join("\n");
}

/** Names of marks above the first panel, as far as they run into no other. */
function markLabels(plot: Plot, frame: Frame): string {
  const out: string[] = [];
  const marks = plot.marks
    .filter(({ at }) => at >= 0 && at <= plot.seconds)
    .sort((a, b) => a.at - b.at)
    .map((mark) => ({ mark, x: markX(plot, frame, mark) }));
  const end = frame.left + frame.width;
  const y = frame.top;
  let free = 0;
  marks.forEach(({ mark, x }, i) => {
    const color = mark.grave ? BAD : MARK;
    out.push(`<path fill="${color}" d="M${px(x - 4)} ${px(y - 7)}h8l-4 7z"/>`);
    const width = textWidth(mark.label) + MARK_ROOM_PX;
    const next = marks[i + 1]?.x ?? end + RIGHT_PX;
    // Right of its triangle; the last one's may stand left of it, where the plot ends before the text does.
    const right = x + width <= next;
    if (!right && (i < marks.length - 1 || x - width < free)) {
      free = x + MARK_ROOM_PX / 2;
      return;
    }
    const left = right ? x + MARK_ROOM_PX / 2 : x - width + MARK_ROOM_PX / 2;
    out.push(`<text fill="${color}" x="${px(left)}" y="${px(y)}">${xmlText(mark.label)}</text>`);
    free = x + width;
  });
  return out.join("\n");
}

/** The whole document. */
export function svgPlot(plot: Plot): string {
  const { width, height, panels } = plot;
  const hasMarks = plot.marks.length > 0;
  const top = HEAD_PX + (hasMarks ? MARKS_PX : 0);
  const gap = 14;
  const each = (height - top - FOOT_PX - gap * (panels.length - 1)) / panels.length;
  const area = (i: number): Frame => ({
    left: LEFT_PX,
    top: top + i * (each + gap),
    width: width - LEFT_PX - RIGHT_PX,
    height: each,
  });
  const bandNote = plot.bands.length === 0 ? "" : plot.bandLabel;
  const noteWidth = bandNote === "" ? 0 : textWidth(bandNote) + 26;
  const room = width - LEFT_PX - RIGHT_PX;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" font-family="${xmlText(FONT_FAMILY)}" font-size="${FONT_PX}" fill="${INK}">`,
    `<title>${xmlText(plot.title)}</title>`,
    `<desc>${xmlText(plot.description)}</desc>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="${LEFT_PX}" y="20" font-size="16" font-weight="bold">${xmlText(shortened(plot.title, room, 16))}</text>`,
    `<text x="${LEFT_PX}" y="37" fill="${AXIS}">${xmlText(shortened(plot.subtitle, room - noteWidth, FONT_PX))}</text>`,
    ...(bandNote === ""
      ? []
      : [
          `<rect x="${px(width - RIGHT_PX - noteWidth + 6)}" y="28" width="14" height="11" fill="${BAND}"/>`,
          `<text text-anchor="end" x="${width - RIGHT_PX}" y="37" fill="${AXIS}">${xmlText(bandNote)}</text>`,
        ]),
    ...(hasMarks ? [markLabels(plot, { ...area(0), top: top - 6 })] : []),
    ...panels.map((panel, i) => drawPanel(plot, panel, area(i), i === panels.length - 1)),
    "</svg>",
  ]
    .filter((part) => part !== "")
    .join("\n")}\n`;
}
