/**
 * What the report page is given of a run: plain data, shared by those who gather it (runreport.ts, heapmap.ts) and by the page (src/page).
 */
import type { ControlEvent } from "../control/interventions.ts";
import type { PhaseSummary } from "../phases.ts";
import type { ClassSnapshot, HeapTruth } from "../runtime/heapreport.ts";
import type { RunSummary } from "../simulate.ts";
import type { ContainerLimitValues } from "./headlines.ts";
import type { StoredVerdict } from "./summary.ts";
import type { PackedTable } from "./table.ts";

/** Packs bytes for a page: deflated (raw) and in base64. Where the program runs decides how. */
export type Deflate = (bytes: Uint8Array) => string;

/** What a cell can be besides a span class (below numSpanClasses). */
export const CELL_FREE = 200;
export const CELL_RELEASED = 201;
export const CELL_STACK = 202;
export const CELL_WORK_BUFFERS = 203;
export const CELL_PAGE_CACHE = 204;
export const CELL_PADDING = 205;

/** Set in a cell's flags where a span begins. */
export const FLAG_START = 1;

/** A cell's bytes, each plane for all cells: what it is, flags, allocated / live / resident share of 255. */
export const CELL_PLANES = 5;

/** Address of page 0 without randomisation: 0xc000000000, as heaps of Go on linux/amd64 begin. */
export const HEAP_BASE_ADDRESS = 0xc000000000;

export interface HeapMap {
  readonly t_seconds: number;
  /** Why this instant was chosen. */
  readonly reason: string;
  readonly pages_per_cell: number;
  /** First page and number of cells of each stretch of the heap's address space. */
  readonly stretches: readonly { readonly first_page: number; readonly cells: number }[];
  readonly live_bytes: number;
  readonly heap_alloc_bytes: number;
  readonly heap_inuse_bytes: number;
  readonly heap_idle_bytes: number;
  readonly heap_released_bytes: number;
  readonly rss_bytes: number;
  readonly largest_free_run_bytes: number;
  /** Objects dead and alive (`allocated`), and alive, by size class; classes without spans are left out. */
  readonly size_classes: readonly (Omit<ClassSnapshot, "internal_waste_bytes"> & { readonly live: number })[];
  /** Base64 of the deflated planes. */
  readonly data: string;
}

/** An OOM kill, as far as the page shows it. */
export interface OomMark {
  readonly t_seconds: number;
  readonly restart_at_seconds?: number;
  readonly kernel_log: readonly string[];
}

/** What lies on the heap map's shelf beside the series: also heapmap.json of a run's folder. */
export interface HeapMaps {
  /** Exact live bytes over time: columns t_seconds and live_bytes. */
  readonly live: PackedTable;
  /** In the order of time. */
  readonly maps: readonly HeapMap[];
}

export interface ReportRun extends ContainerLimitValues {
  readonly name: string;
  readonly variant: string;
  /** How a page that lays runs over each other calls it; by name and variant where it does not say. */
  readonly label?: string;
  /** In such a page: runs that differ in their seeds, of which series are medians (overlay.ts). */
  readonly seeds?: number;
  readonly description: string;
  readonly seed: number | string;
  readonly versions: RunSummary["versions"];
  readonly profile: { readonly name: string; readonly cpu: string };
  readonly go: {
    readonly version: string;
    readonly GOGC: number | string;
    readonly GOMEMLIMIT: number | string;
    readonly GOMAXPROCS: number;
  };
  readonly cpus: number;
  readonly duration_seconds: number;
  readonly figures: Readonly<Record<string, number | null>>;
  readonly truth: HeapTruth;
  /** Bytes by which objects were rounded up to their size class, at the end. */
  readonly rounding_bytes: Readonly<Record<number, number>>;
  readonly sources: RunSummary["sources"];
  readonly events: readonly ControlEvent[];
  /** What came of the scenario's thresholds. */
  readonly thresholds: readonly StoredVerdict[];
  /** Figures from one phase to the next; empty without phases. */
  readonly phases: readonly PhaseSummary[];
  readonly oom_kills: readonly OomMark[];
  readonly scenario_yaml: string;
  readonly profile_json: string;
  readonly samples: PackedTable;
  readonly cycles: PackedTable;
  readonly heap?: HeapMaps;
}

/** A comparison of the runs of a page, as the terminal has it: texts by row. */
export interface ComparisonTexts {
  readonly heads: readonly string[];
  readonly groups: readonly {
    readonly name: string;
    readonly rows: readonly (readonly string[])[];
  }[];
  /** What the figures are, and what too few runs leave open. */
  readonly notes: readonly string[];
}

/** Why a cycle began, by its number in the table of cycles. */
export const REASONS = ["heap", "periodic", "explicit"] as const;
