/**
 * The writers of what few runs write: exports, heap profiles, event traces. Loaded by runs that want one of them, and all at once:
 * each that was loaded by itself would have every run load what it shares with the others as files of their own.
 */
export { heapProfile } from "../report/pprof.ts";
export { RunExports } from "./exports.ts";
export { TraceFiles } from "./tracefiles.ts";
