/**
 * Interventions: calls into the runtime that the program makes at a time or on a condition (agenda.ts says when).
 *
 * runtime.GC, runtime.ReadMemStats and debug.FreeOSMemory are goroutines that do their work on a P (mgc.ts, mstats.ts).
 * debug.SetGCPercent and debug.SetMemoryLimit take the heap's lock, recompute the pacing and return (setGCPercent and
 * setMemoryLimit of mgcpacer.go, Go 1.26); they cost nothing here. runtime.GOMAXPROCS is a goroutine again (debug.ts).
 * SetGCPercent(-1) also waits for a mark under way, which only its caller would notice.
 */
import type { G, Scheduler } from "../runtime/proc.ts";
import type { ProgramCall } from "../scenario/schema.ts";

/** The ways into the runtime that interventions and policies have. */
export interface RuntimeControls {
  gc(): G;
  readMemStats(): G;
  freeOSMemory(): G;
  /** debug.SetGCPercent; negative is off. */
  setGCPercent(percent: number): void;
  /** debug.SetMemoryLimit; Infinity is off. */
  setMemoryLimit(bytes: number): void;
  /** runtime.GOMAXPROCS. */
  setGOMAXPROCS(procs: number): G;
}

/** The event of a kill; what the kernel said of it is with the run's OOM incidents. */
export const OOM_KILL = "OOM kill";

/** Something that was done to the runtime or the workload while it ran. */
export interface ControlEvent {
  readonly t_seconds: number;
  /** What was done: `set_gc_percent 50`. */
  readonly event: string;
  /** Why: a time, a condition, a policy. */
  readonly reason: string;
}

/** Told of what is done and why; `again`: as often before. */
export type Report = (event: string, reason: string, again?: boolean) => void;

/** What an intervention does, without its time. */
type Untimed<I> = I extends unknown ? Omit<I, "at" | "when" | "every"> : never;
type Call = Untimed<ProgramCall>;

/** A call as reports have it. */
export const callText = (call: Call): string => ("to" in call ? `${call.do} ${call.to}` : call.do);

/** The program calls into its runtime. */
export function makeCall(call: Call, sched: Scheduler, controls: RuntimeControls): void {
  switch (call.do) {
    case "gc":
      sched.ready(controls.gc());
      return;
    case "read_mem_stats":
      sched.ready(controls.readMemStats());
      return;
    case "free_os_memory":
      sched.ready(controls.freeOSMemory());
      return;
    case "set_gc_percent":
      controls.setGCPercent(call.to === "off" ? -1 : call.to);
      return;
    case "set_memory_limit":
      controls.setMemoryLimit(call.to === "off" ? Number.POSITIVE_INFINITY : call.to);
      return;
    case "set_gomaxprocs":
      sched.ready(controls.setGOMAXPROCS(call.to));
  }
}
