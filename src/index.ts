/**
 * The library: `import { simulate } from "gomemsim"`.
 *
 * `loadScenario` makes resolved scenarios of a scenario file's text, `simulate` runs one and hands its series to a sink.
 * Everything here is pure (no files, no clock, no Node modules) and runs unchanged in a browser.
 */

export { cgroupFiles, PressureAverages } from "./report/cgroupfs.ts";
// What the command line writes, as text.
export { CYCLE_COLUMNS, CYCLES_HEADER, cycleLine } from "./report/cycles.ts";
export { eventLines } from "./report/events.ts";
export { gctraceLine } from "./report/gctrace.ts";
export { grafanaDashboard } from "./report/grafana.ts";
export { LAYERS_HEADER, layerLines } from "./report/layers.ts";
export { expvarJson, memStatsJson } from "./report/memstats.ts";
export { oomText } from "./report/oom.ts";
export { OpenMetricsRun, type PieceStore, runLabels } from "./report/openmetrics.ts";
export { type PerfettoOptions, PerfettoTrace } from "./report/perfetto.ts";
export { goroutineProfileText, type HeapSample, heapProfile, heapSamples } from "./report/pprof.ts";
export { PROC_FILES } from "./report/procfs.ts";
export {
  classicText,
  type Family,
  GrowingFamilies,
  metricFamilies,
  openMetricsText,
} from "./report/prometheus.ts";
export { NOT_MODELLED, RUNTIME_METRICS, runtimeMetricsJson, Statistics } from "./report/runtimemetrics.ts";
export { SUMMARY_FORMAT, summaryJson } from "./report/summary.ts";
export { SampleFormatter } from "./report/timeseries.ts";
// What happens inside a run, event by event.
export {
  isTraceKind,
  TRACE_KINDS,
  TRACK_GC,
  TRACK_PROCESS,
  TRACK_SCENARIO,
  type TraceDetail,
  type TraceEvent,
  type TraceKind,
  type TraceOptions,
  type Tracer,
} from "./runtime/trace.ts";
// Scenario files and machine profiles.
export {
  formatErrors,
  type LoadOptions,
  type LoadResult,
  loadScenario,
  type ScenarioError,
} from "./scenario/load.ts";
export { type ScenarioPlaces, scenarioPlaces } from "./scenario/places.ts";
export { type MachineProfile, machineProfile } from "./scenario/profile.ts";
export { type Scenario, type ScenarioFile, scenarioFile, type WorkloadEntry } from "./scenario/schema.ts";
export { BASE_VARIANT } from "./scenario/variant.ts";
// A run: (scenario, machine profile, seed) in, series and figures out.
export {
  type CycleRecord,
  defaultProfile,
  type LayerPart,
  type OomIncident,
  type ProcessView,
  type RunSink,
  type RunSummary,
  SAMPLE_COLUMNS,
  type SampleColumn,
  type SampleUnit,
  SimulatedRun,
  type SimulateOptions,
  sampleColumns,
  simulate,
  VERSIONS,
} from "./simulate.ts";
// Whether a run kept to its scenario's thresholds.
export { ThresholdWatch, type Verdict } from "./thresholds.ts";
