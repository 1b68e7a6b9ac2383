/**
 * The layers of a process's memory at one moment: page tables, NUMA nodes, control group, what Go has, what is beside Go, and the objects
 * of the program by who allocated them. One file, layers.csv, has all of them at each sample, under the sample's number, which the event
 * trace carries too; so a step in the resident set can be followed down to the part of the workload that owns it.
 *
 * What sums to what, in bytes (`checkLayers` holds it in checked runs):
 *
 *     numa = go + off_heap = resident set          (numa within a page: what is before the heap is no whole number of them)
 *     cgroup = memory.current
 *     objects = go's `objects`
 *
 * `objects` is the truth of the slots, which no Go program can read: live bytes by source, objects that are dead and not swept yet, and
 * free space in spans. All of them are resident bytes: what of a span is not resident is taken to be its free space first, then its objects alike.
 * An object counts with its slot, so rounding up to a size class belongs to its owner; objects that share a tiny block count for who opened it.
 *
 * Not a mechanism of Go or Linux. It costs a pass over all slots at each sample.
 */
import type { MemoryCgroup } from "./os/cgroup.ts";
import type { Memory } from "./os/memory.ts";
import type { NumaNodes } from "./os/numa.ts";
import { slotIsLive } from "./runtime/heapreport.ts";
import type { Heap } from "./runtime/mheap.ts";
import {
  flagQuarantined,
  kindMixed,
  kindNone,
  SPAN_WORDS,
  spanInUse,
  spanStack,
  spanWorkBuf,
} from "./runtime/records.ts";
import { pageSize } from "./runtime/sizeclasses.ts";

export const LAYERS = ["page_tables", "numa", "cgroup", "go", "off_heap", "objects"] as const;
export type Layer = (typeof LAYERS)[number];

export interface LayerPart {
  readonly layer: Layer;
  readonly part: string;
  readonly bytes: number;
}

export interface LayersOf {
  readonly heap: Heap;
  readonly memory: Memory;
  readonly numa: NumaNodes | undefined;
  readonly cgroup: MemoryCgroup | undefined;
  /** Names of sources, by their numbers. */
  readonly sources: readonly string[];
  /** Of what is beside Go, the scenario's own. */
  readonly offHeapBytes: number;
}

/** Parts of `objects` that no source owns. */
const DEAD = "dead and not swept";
const FREE = "free in spans";

/** Every part of every layer at `tick`; a layer that is not there has none. */
export function layersAt(of: LayersOf, tick: number): LayerPart[] {
  const { memory, numa, cgroup, offHeapBytes } = of;
  const parts: LayerPart[] = [];
  const add = (layer: Layer, part: string, bytes: number): void => {
    parts.push({ layer, part, bytes });
  };
  add("page_tables", "process", memory.pageTableBytes);
  const rss = memory.residentBytes();
  if (numa === undefined) add("numa", "node0", rss);
  else for (let n = 0; n < numa.pages.length; n++) add("numa", `node${n}`, numa.residentBytes(n));
  if (cgroup !== undefined) {
    const { anon, file, kernel_stack, pagetables, slab } = cgroup.stat();
    add("cgroup", "anon", anon);
    add("cgroup", "file", file);
    add("cgroup", "kernel_stack", kernel_stack);
    add("cgroup", "pagetables", pagetables);
    add("cgroup", "slab", slab);
    // Charged ahead, and what rounding to pages adds.
    add("cgroup", "stock", cgroup.currentBytes - anon - file - kernel_stack - pagetables - slab);
  }
  const owned = objectsOf(of, tick);
  const objects = owned.reduce((sum, { bytes }) => sum + bytes, 0);
  const stacks = spansIn(of, spanStack);
  const { fileBytes, otherBytes } = memory.baseline;
  const metadata = memory.metadataResidentBytes + spansIn(of, spanWorkBuf);
  add("go", "objects", objects);
  add("go", "stacks", stacks);
  add("go", "free", rss - fileBytes - otherBytes - metadata - objects - stacks);
  add("go", "metadata", metadata);
  add("off_heap", "binary", fileBytes);
  add("off_heap", "threads and loader", otherBytes - offHeapBytes);
  add("off_heap", "off_heap", offHeapBytes);
  return [...parts, ...owned];
}

/** Resident bytes of spans of one state. */
function spansIn({ heap, memory }: LayersOf, state: number): number {
  const { spans } = heap;
  let bytes = 0;
  for (let s = 0; s < spans.end; s += SPAN_WORDS)
    if (spans.state[s] === state)
      bytes += memory.residentBytesIn(spans.base[s] * pageSize, (spans.base[s] + spans.npages[s]) * pageSize);
  return bytes;
}

function objectsOf({ heap, memory, sources }: LayersOf, tick: number): LayerPart[] {
  const { spans, slots, kinds, owners } = heap;
  const bySource = new Float64Array(sources.length);
  const ofSpan = new Float64Array(sources.length);
  let dead = 0;
  let free = 0;
  for (let s = 0; s < spans.end; s += SPAN_WORDS) {
    if (spans.state[s] !== spanInUse || (spans.flags[s] & flagQuarantined) !== 0) continue;
    const start = spans.base[s] * pageSize;
    const size = spans.npages[s] * pageSize;
    const resident = memory.residentBytesIn(start, start + size);
    const { death, kind: kindOf } = slots;
    const off = spans.firstSlot[s];
    const kind = spans.kind[s];
    ofSpan.fill(0);
    let live = 0;
    for (let i = off; i < off + spans.nelems[s]; i++) {
      if (!slotIsLive(death[i], owners.death, spans.sweptTick[s], tick)) continue;
      live++;
      ofSpan[kinds.source[kind === kindMixed ? kindOf[i] : kind]]++;
    }
    const elemsize = spans.elemsizeOf(s);
    const objects = spans.allocCount[s] * elemsize;
    // Free space goes first, then objects alike.
    const there = objects === 0 ? 0 : Math.min(1, resident / objects);
    free += Math.max(0, resident - objects);
    dead += (objects - live * elemsize) * there;
    if (kind === kindNone) free += live * elemsize * there;
    else for (let n = 0; n < ofSpan.length; n++) bySource[n] += ofSpan[n] * elemsize * there;
  }
  const parts: LayerPart[] = [];
  sources.forEach((part, n) => {
    if (bySource[n] > 0) parts.push({ layer: "objects", part, bytes: Math.round(bySource[n]) });
  });
  parts.push({ layer: "objects", part: DEAD, bytes: Math.round(dead) });
  parts.push({ layer: "objects", part: FREE, bytes: Math.round(free) });
  return parts;
}

/** Holds the sums of the head comment; throws with the numbers. */
export function checkLayers(parts: readonly LayerPart[], rss: number, current: number | undefined): void {
  const sum = (layer: Layer): number =>
    parts.reduce((total, { layer: of, bytes }) => total + (of === layer ? bytes : 0), 0);
  const same = (what: string, is: number, should: number, within: number): void => {
    if (Math.abs(is - should) > within) throw new Error(`layers: ${what} is ${is}, should be ${should}`);
  };
  same("numa", sum("numa"), rss, 64 << 10);
  same("go + off_heap", sum("go") + sum("off_heap"), rss, 0);
  if (current !== undefined) same("cgroup", sum("cgroup"), current, 0);
  for (const { layer, part, bytes } of parts)
    if (bytes < 0) throw new Error(`layers: ${layer} ${part} is ${bytes}`);
}
