/**
 * The heap map: every page of the heap in address order, a cell per page (or per some), at the instants the run kept. Drawn once per
 * instant and colouring; what lies under the pointer, or under the cursor of the arrow keys, is told in words below.
 */
import { humanBytes, humanCount, humanShare } from "../report/format.ts";
import {
  CELL_FREE,
  CELL_PADDING,
  CELL_PAGE_CACHE,
  CELL_PLANES,
  CELL_RELEASED,
  CELL_STACK,
  CELL_WORK_BUFFERS,
  FLAG_START,
  HEAP_BASE_ADDRESS,
  type HeapMap,
} from "../report/reportdata.ts";
import { classToSize, numSpanClasses, pageSize } from "../runtime/sizeclasses.ts";
import { inflate } from "./data.ts";
import { el, table } from "./dom.ts";
import { clock } from "./plot.ts";
import { color, currentTheme, onTheme } from "./theme.ts";

const PAGES_PER_ARENA = 8192;

type Coloring = "live" | "allocated" | "class";
const COLORINGS: Readonly<Record<Coloring, string>> = {
  live: "Live objects",
  allocated: "Occupied slots",
  class: "Size class",
};

/** A scale that grows evenly lighter and is read alike by any colour vision (after viridis), from empty to full. */
const SCALE: readonly (readonly [number, number, number])[] = [
  [253, 231, 37],
  [122, 209, 81],
  [34, 168, 132],
  [42, 120, 142],
  [65, 68, 135],
  [68, 1, 84],
];

function scaleColor(share: number): string {
  // Dark is full by day; by night light is, so that what holds much stands out.
  const at = (currentTheme() === "light" ? share : 1 - share) * (SCALE.length - 1);
  const low = Math.min(SCALE.length - 2, Math.floor(at));
  const part = at - low;
  const [r, g, b] = [0, 1, 2].map((i) =>
    Math.round(SCALE[low][i] + part * (SCALE[low + 1][i] - SCALE[low][i])),
  );
  return `rgb(${r},${g},${b})`;
}

/** 68 classes: hue goes round with the class, lightness alternates, so that neighbours differ. */
function classColor(sizeclass: number): string {
  if (sizeclass === 0) return color("ink");
  const light = (currentTheme() === "light" ? 42 : 58) + (sizeclass % 3) * 9;
  return `hsl(${(sizeclass * 47) % 360} 62% ${light}%)`;
}

const KIND_NAMES: Readonly<Record<number, string>> = {
  [CELL_FREE]: "free",
  [CELL_RELEASED]: "given back to the OS, or never used",
  [CELL_STACK]: "stacks",
  [CELL_WORK_BUFFERS]: "the collector’s work buffers",
  [CELL_PAGE_CACHE]: "in a P’s page cache (free)",
  [CELL_PADDING]: "padding before the heap’s random base",
};

function kindColor(kind: number): string {
  if (kind === CELL_STACK || kind === CELL_WORK_BUFFERS) return color("pink");
  if (kind === CELL_RELEASED || kind === CELL_PADDING) return "transparent";
  return color("pale");
}

/** A map unpacked. */
interface Cells {
  readonly map: HeapMap;
  readonly count: number;
  readonly bytes: Uint8Array;
}

const plane = (cells: Cells, which: number, cell: number): number => cells.bytes[which * cells.count + cell];

/** Arenas, or what is left of them where a stretch begins inside one. */
interface Block {
  readonly label: string;
  readonly firstCell: number;
  readonly cells: number;
  readonly top: number;
}

export class HeapMapView {
  readonly element: HTMLElement;
  readonly #maps: readonly HeapMap[];
  readonly #canvas = el("canvas", { tabindex: "0", role: "img" });
  readonly #tell = el("p", { class: "tell", role: "status", "aria-live": "polite" });
  readonly #totals = el("p", { class: "totals" });
  readonly #key = el("div", { class: "key" });
  readonly #classes = el("div", { class: "wide" });
  readonly #slider: HTMLInputElement;
  readonly #instants: readonly HTMLButtonElement[];
  readonly #unpacked = new Map<number, Promise<Cells>>();
  #cells: Cells | undefined;
  #coloring: Coloring = "live";
  #chosen = -1;
  #columns = 128;
  #cellWidth = 6;
  #cellHeight = 6;
  #blocks: Block[] = [];
  #cursor = -1;

  constructor(maps: readonly HeapMap[]) {
    this.#maps = maps;
    this.#slider = el("input", {
      type: "range",
      min: "0",
      max: String(maps.length - 1),
      step: "1",
      "aria-label": "Instant of the heap map",
    });
    this.#slider.addEventListener("input", () => this.choose(Number(this.#slider.value)));
    this.#instants = maps.map((map, i) => {
      const button = el(
        "button",
        { type: "button", "aria-pressed": "false" },
        el("b", {}, clock(map.t_seconds, 0.1)),
        ` ${map.reason}`,
      );
      button.addEventListener("click", () => this.choose(i));
      return button;
    });
    const colorings = (Object.keys(COLORINGS) as Coloring[]).map((coloring) => {
      const radio = el("input", {
        type: "radio",
        name: "coloring",
        value: coloring,
        checked: coloring === this.#coloring,
      });
      radio.addEventListener("change", () => {
        this.#coloring = coloring;
        this.#draw();
      });
      return el("label", {}, radio, ` ${COLORINGS[coloring]}`);
    });
    this.element = el(
      "section",
      { class: "card wide", id: "heapmap" },
      el("header", {}, el("h3", {}, "Heap map")),
      el(
        "p",
        { class: "note" },
        "Every page of the heap in address order, by arena (64 MiB). A span holds objects of one size class; a page goes back only when its whole span is free, so one live object keeps all of it.",
      ),
      el("div", { class: "instants", role: "group", "aria-label": "Instants" }, ...this.#instants),
      el("div", { class: "row" }, this.#slider),
      el(
        "div",
        { class: "row colorings", role: "radiogroup", "aria-label": "Colour spans by" },
        "Colour: ",
        ...colorings,
      ),
      this.#totals,
      this.#key,
      el("div", { class: "map" }, this.#canvas),
      this.#tell,
      el("h4", {}, "Size classes at this instant"),
      this.#classes,
    );
    this.#canvas.addEventListener("mousemove", (event) => {
      const box = this.#canvas.getBoundingClientRect();
      this.#point(this.#cellAt(event.clientX - box.left, event.clientY - box.top));
    });
    this.#canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.#columns, ArrowDown: this.#columns }[
        event.key
      ];
      if (step === undefined || this.#cells === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      this.#point(Math.max(0, Math.min(this.#cells.count - 1, this.#cursor + step)));
    });
    onTheme(() => this.#draw());
  }

  /** Shows the map of that number. */
  async choose(i: number): Promise<void> {
    this.#chosen = i;
    this.#slider.value = String(i);
    const map = this.#maps[i];
    this.#slider.setAttribute("aria-valuetext", `${clock(map.t_seconds, 0.1)}, ${map.reason}`);
    for (const [at, button] of this.#instants.entries())
      button.setAttribute("aria-pressed", String(at === i));
    let unpacked = this.#unpacked.get(i);
    if (unpacked === undefined) {
      unpacked = inflate(map.data).then((bytes) => ({ map, bytes, count: bytes.length / CELL_PLANES }));
      this.#unpacked.set(i, unpacked);
    }
    const cells = await unpacked;
    // Another one may have been chosen in the meantime.
    if (this.#chosen !== i) return;
    this.#cells = cells;
    const free = map.heap_inuse_bytes - map.heap_alloc_bytes;
    this.#totals.textContent = `${clock(map.t_seconds, 0.01)}: live ${humanBytes(map.live_bytes)}, garbage ${humanBytes(map.heap_alloc_bytes - map.live_bytes)}, free slots ${humanBytes(free)}, idle ${humanBytes(map.heap_idle_bytes)}, of it given back ${humanBytes(map.heap_released_bytes)}; RSS ${humanBytes(map.rss_bytes)}; largest free run ${humanBytes(map.largest_free_run_bytes)}. ${map.pages_per_cell === 1 ? "A cell is a page of 8 KiB." : `A cell is ${map.pages_per_cell} pages, ${humanBytes(map.pages_per_cell * pageSize)}.`}`;
    this.#classes.replaceChildren(sizeClassTable(map));
    this.resize();
  }

  resize(): void {
    if (this.#cells === undefined) return;
    const { map, count } = this.#cells;
    const width = this.#canvas.parentElement!.clientWidth;
    if (width === 0) return;
    this.#columns = width >= 900 ? 256 : width >= 560 ? 128 : 64;
    this.#cellWidth = Math.floor(width / this.#columns);
    this.#cellHeight = Math.max(5, Math.min(8, this.#cellWidth + 1));
    this.#blocks = [];
    let top = 0;
    let cell = 0;
    for (const { first_page, cells } of map.stretches) {
      for (let done = 0; done < cells; ) {
        const page = first_page + done * map.pages_per_cell;
        const arena = Math.floor(page / PAGES_PER_ARENA);
        // A cell of more pages than an arena has is none of ours: cells stay far below.
        const left = Math.ceil(((arena + 1) * PAGES_PER_ARENA - page) / map.pages_per_cell);
        const take = Math.min(cells - done, Math.max(1, left));
        const address = HEAP_BASE_ADDRESS + page * pageSize;
        this.#blocks.push({
          label: `0x${address.toString(16)}`,
          firstCell: cell,
          cells: take,
          top: top + LABEL,
        });
        top += LABEL + Math.ceil(take / this.#columns) * this.#cellHeight + 6;
        done += take;
        cell += take;
      }
    }
    const ratio = devicePixelRatio;
    const cssWidth = this.#columns * this.#cellWidth;
    this.#canvas.width = cssWidth * ratio;
    this.#canvas.height = top * ratio;
    this.#canvas.style.width = `${cssWidth}px`;
    this.#canvas.style.height = `${top}px`;
    this.#canvas.setAttribute(
      "aria-label",
      `Heap map: ${count} cells in ${this.#blocks.length} arenas; arrow keys go through them.`,
    );
    this.#draw();
  }

  #draw(): void {
    const cells = this.#cells;
    if (cells === undefined) return;
    const context = this.#canvas.getContext("2d")!;
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    const scale = Array.from({ length: 17 }, (_, i) => scaleColor(i / 16));
    const classes = Array.from({ length: numSpanClasses / 2 }, (_, i) => classColor(i));
    const [w, h] = [this.#cellWidth, this.#cellHeight];
    for (const block of this.#blocks) {
      context.fillStyle = color("axis");
      context.font = "11px ui-monospace, monospace";
      context.fillText(block.label, 0, block.top - 4);
      for (let i = 0; i < block.cells; i++) {
        const cell = block.firstCell + i;
        const kind = plane(cells, 0, cell);
        const x = (i % this.#columns) * w;
        const y = block.top + Math.floor(i / this.#columns) * h;
        if (kind >= numSpanClasses) {
          const fill = kindColor(kind);
          if (fill !== "transparent") {
            context.fillStyle = fill;
            context.fillRect(x, y, w, h - 1);
          } else {
            context.fillStyle = color("grid");
            context.fillRect(x, y + h - 2, w, 1);
          }
          continue;
        }
        context.fillStyle =
          this.#coloring === "class"
            ? classes[kind >> 1]
            : scale[Math.round((plane(cells, this.#coloring === "live" ? 3 : 2, cell) / 255) * 16)];
        // A gap where a span begins shows how long spans are.
        const gap = w > 3 && (plane(cells, 1, cell) & FLAG_START) !== 0 ? 1 : 0;
        context.fillRect(x + gap, y, w - gap, h - 1);
      }
    }
    this.#drawKey(scale, classes);
    this.#drawCursor(context);
  }

  #drawKey(scale: readonly string[], classes: readonly string[]): void {
    const item = (fill: string, text: string, className = "chip"): HTMLElement => {
      const chip = el("span", { class: className });
      chip.style.background = fill;
      return el("span", { class: "key-item" }, chip, ` ${text}`);
    };
    const spans: HTMLElement[] =
      this.#coloring === "class"
        ? (this.#cells?.map.size_classes ?? []).map((c) =>
            item(classes[c.sizeclass], c.sizeclass === 0 ? "large" : `${c.elemsize} B`),
          )
        : [
            el(
              "span",
              { class: "key-item" },
              this.#coloring === "live" ? "slots with live objects: 0 %" : "slots taken: 0 %",
            ),
            el("span", { class: "ramp" }, ...scale.map((fill) => chipOf(fill))),
            el("span", { class: "key-item" }, "100 %"),
          ];
    this.#key.replaceChildren(
      ...spans,
      item(color("pink"), "stacks"),
      item(color("pale"), "free, retained"),
      item("transparent", "released or never used", "chip outlined"),
    );
  }

  #drawCursor(context: CanvasRenderingContext2D): void {
    const block = this.#blocks.find(
      ({ firstCell, cells }) => this.#cursor >= firstCell && this.#cursor < firstCell + cells,
    );
    if (block === undefined) return;
    const i = this.#cursor - block.firstCell;
    context.strokeStyle = color("bad");
    context.lineWidth = 2;
    context.strokeRect(
      (i % this.#columns) * this.#cellWidth - 1,
      block.top + Math.floor(i / this.#columns) * this.#cellHeight - 1,
      this.#cellWidth + 2,
      this.#cellHeight + 1,
    );
  }

  #cellAt(x: number, y: number): number {
    const column = Math.floor(x / this.#cellWidth);
    if (column < 0 || column >= this.#columns) return -1;
    for (const { firstCell, cells, top } of this.#blocks) {
      const row = Math.floor((y - top) / this.#cellHeight);
      const i = row * this.#columns + column;
      if (row >= 0 && i < cells) return firstCell + i;
    }
    return -1;
  }

  #point(cell: number): void {
    if (cell === this.#cursor || this.#cells === undefined) return;
    this.#cursor = cell;
    this.#tell.textContent = cell < 0 ? "" : describe(this.#cells, cell);
    this.#draw();
  }
}

/** Height of an arena's address above it. */
const LABEL = 16;

function chipOf(fill: string): HTMLElement {
  const chip = el("i");
  chip.style.background = fill;
  return chip;
}

function describe(cells: Cells, cell: number): string {
  const { map, count } = cells;
  let before = 0;
  let page = 0;
  let stretchStart = 0;
  let stretchEnd = count;
  for (const { first_page, cells: length } of map.stretches) {
    if (cell < before + length) {
      page = first_page + (cell - before) * map.pages_per_cell;
      stretchStart = before;
      stretchEnd = before + length;
      break;
    }
    before += length;
  }
  const kind = plane(cells, 0, cell);
  const percent = (which: number): string => humanShare(plane(cells, which, cell) / 255);
  const address = `0x${(HEAP_BASE_ADDRESS + page * pageSize).toString(16)}`;
  const resident = `resident ${percent(4)}`;
  if (kind >= numSpanClasses) return `${address}: ${KIND_NAMES[kind] ?? "?"}, ${resident}`;
  const sizeclass = kind >> 1;
  const pointers = (kind & 1) === 0 ? "with pointers" : "without pointers";
  const what =
    sizeclass === 0
      ? `large object, ${pointers}`
      : `span class ${kind}: objects of ${humanBytes(classToSize[sizeclass])} (size class ${sizeclass}), ${pointers}`;
  if (map.pages_per_cell > 1)
    return `${address}: ${map.pages_per_cell} pages, mostly ${what}; slots taken ${percent(2)}, live ${percent(3)}, ${resident}`;
  let first = cell;
  while (first > stretchStart && (plane(cells, 1, first) & FLAG_START) === 0) first--;
  let end = cell + 1;
  while (end < stretchEnd && plane(cells, 0, end) === kind && (plane(cells, 1, end) & FLAG_START) === 0)
    end++;
  return `${address}: ${what}; span of ${end - first} ${end - first === 1 ? "page" : "pages"}; slots taken ${percent(2)}, live ${percent(3)}, ${resident}`;
}

function sizeClassTable(map: HeapMap): HTMLElement {
  const share = (part: number, of: number): string => (of > 0 ? humanShare(part / of) : "–");
  return table(
    "Spans by size class; tails are what is left of a span behind its last slot",
    ["size", "spans", "span bytes", "slots", "taken", "live", "live share", "free slots", "tails"],
    map.size_classes.map((c) => [
      c.sizeclass === 0 ? "large" : `${c.elemsize} B`,
      humanCount(c.spans),
      humanBytes(c.span_bytes),
      humanCount(c.slots),
      share(c.allocated, c.slots),
      humanCount(c.live),
      share(c.live, c.slots),
      humanBytes(c.free_slot_bytes),
      humanBytes(c.tail_waste_bytes),
    ]),
  );
}
