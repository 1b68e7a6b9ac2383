/** `run --export`: what can be exported, with which options, and the files it comes to. Those are written by exports.ts. */
import { DEFAULT_START_UNIX_SECONDS } from "../report/memstats.ts";
import type { Scenario } from "../scenario/schema.ts";

/** What can be exported, and what it is. */
export const EXPORTS = {
  prometheus: "metrics.prom, an instant in Prometheus's text format",
  openmetrics: "openmetrics.txt, the run for promtool tsdb create-blocks-from openmetrics",
  vars: "vars.json, MemStats as /debug/vars has it",
  metrics: "runtime-metrics.json, values by runtime/metrics names",
  grafana: "grafana-dashboard.json, for the metrics of the first two",
  proc: "proc/1 and, in a container, cgroup: an instant as the kernel shows it",
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

/** What each kind writes; `proc` and `cgroup` are folders. */
const FILES = {
  prometheus: ["metrics.prom"],
  openmetrics: ["openmetrics.txt"],
  vars: ["vars.json"],
  metrics: ["runtime-metrics.json"],
  grafana: ["grafana-dashboard.json"],
  proc: ["proc", "cgroup"],
} as const satisfies Readonly<Record<ExportKind, readonly string[]>>;

export type ExportFile = (typeof FILES)[ExportKind][number];

/** Everything an export may write. */
export const EXPORT_FILES: readonly ExportFile[] = Object.values(FILES).flat();

/** What these options write. */
export const exportFiles = ({ kinds }: ExportOptions, { container }: Scenario): readonly ExportFile[] =>
  kinds
    .flatMap((kind): readonly ExportFile[] => FILES[kind])
    .filter((file) => file !== "cgroup" || container !== undefined);
