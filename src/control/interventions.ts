/**
 * Interventions: calls into the runtime that a scenario makes at a time or on a condition.
 *
 * runtime.GC, runtime.ReadMemStats and debug.FreeOSMemory are goroutines that do their work on a P (mgc.ts, mstats.ts).
 * debug.SetGCPercent and debug.SetMemoryLimit take the heap's lock, recompute the pacing and return (setGCPercent and
 * setMemoryLimit of mgcpacer.go, Go 1.26); they cost nothing here. runtime.GOMAXPROCS is a goroutine again (debug.ts). A container's limits are
 * changed from outside, which costs the process nothing but what follows from them (container.ts). SetGCPercent(-1) also waits for a mark under way, which
 * only its caller would notice.
 */
import type { G, Scheduler } from "../runtime/proc.ts";
import { PRIORITY_WORLD } from "../runtime/proc.ts";
import type { ContainerLimits, Intervention } from "../scenario/schema.ts";
import { conditionText, type Watcher } from "./conditions.ts";

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
  /** The container's limits change. Returns what became of it, in words. */
  resizeContainer(limits: ContainerLimits): string;
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

/** Plans every intervention from `startNs`, when the process starts, to `durationNs`. */
export function planInterventions(
  interventions: readonly Intervention[],
  sched: Scheduler,
  watcher: Watcher,
  controls: RuntimeControls,
  startNs: number,
  durationNs: number,
  report: Report,
): void {
  for (const intervention of interventions) {
    const { at, when, every } = intervention;
    const reason = at === undefined ? conditionText(when!) : every === undefined ? "at its time" : "periodic";
    const act = (nowNs: number): void => {
      if (every !== undefined && nowNs + every <= durationNs) sched.call(nowNs + every, PRIORITY_WORLD, act);
      report(intervene(intervention, sched, controls), reason, every !== undefined && nowNs !== first);
    };
    let first = -1;
    if (at !== undefined) {
      const missed = every === undefined ? 0 : Math.max(0, Math.ceil((startNs - at) / every));
      first = at + missed * (every ?? 0);
      if (first >= startNs) sched.call(first, PRIORITY_WORLD, act);
    } else
      watcher.watch(when!, (holds, nowNs) => {
        if (!holds) return true;
        first = nowNs;
        act(nowNs);
        return false;
      });
  }
}

/** What an intervention does, without its time. */
type Call = Intervention extends infer I
  ? I extends Intervention
    ? Omit<I, "at" | "when" | "every">
    : never
  : never;

export function intervene(intervention: Call, sched: Scheduler, controls: RuntimeControls): string {
  switch (intervention.do) {
    case "gc":
      sched.ready(controls.gc());
      return "gc";
    case "read_mem_stats":
      sched.ready(controls.readMemStats());
      return "read_mem_stats";
    case "free_os_memory":
      sched.ready(controls.freeOSMemory());
      return "free_os_memory";
    case "set_gc_percent":
      controls.setGCPercent(intervention.to === "off" ? -1 : intervention.to);
      return `set_gc_percent ${intervention.to}`;
    case "set_memory_limit":
      controls.setMemoryLimit(intervention.to === "off" ? Number.POSITIVE_INFINITY : intervention.to);
      return `set_memory_limit ${intervention.to}`;
    case "set_gomaxprocs":
      sched.ready(controls.setGOMAXPROCS(intervention.to));
      return `set_gomaxprocs ${intervention.to}`;
    case "resize_container":
      return `resize_container ${controls.resizeContainer(intervention)}`;
  }
}
