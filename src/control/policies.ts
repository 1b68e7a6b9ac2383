/**
 * Policies: what a program does about its own memory while it runs. Each is a function from its settings to an object that is
 * told of every cycle's end; a new one is a schema entry, a function and a line in `startPolicy`.
 *
 * They stand for code that Go programs carry: a finalizer or a goroutine that runs after each collection and calls
 * debug.SetGCPercent, a large slice nobody touches, a handler that refuses requests. Running after the cycle's end, none delays
 * it; their own CPU time is not counted.
 */
import type { CycleRecord } from "../runtime/mgc.ts";
import type { Policy } from "../scenario/schema.ts";
import { conditionText, Watch, type Watcher } from "./conditions.ts";
import type { Report, RuntimeControls } from "./interventions.ts";

/** What policies act on, beside the runtime's own calls. */
export interface PolicyContext {
  readonly controls: RuntimeControls;
  readonly watcher: Watcher;
  readonly report: Report;
  /** When the process started. */
  readonly startNs: number;
  /** GOGC in force; negative is off. */
  gcPercent(): number;
  /** Bytes allocated since the start. */
  totalAllocBytes(): number;
  /** A pointer-free object of that size that nobody writes, for ever. */
  allocUntouched(bytes: number): void;
  /** From now on the service refuses this share of its arrivals. */
  shed(service: string, share: number): void;
}

export interface RunningPolicy {
  /** A cycle has ended, and its results are committed. */
  cycleEnded?(cycle: CycleRecord, nowNs: number): void;
}

export function startPolicy(policy: Policy, context: PolicyContext): RunningPolicy {
  switch (policy.kind) {
    case "adaptive_gogc":
      return adaptiveGogc(policy, context);
    case "threshold_tuner":
      return thresholdTuner(policy, context);
    case "square_root_heap":
      return squareRootHeap(policy, context);
    case "ballast":
      context.allocUntouched(policy.size);
      context.report(`ballast ${policy.size}`, "policy ballast");
      return {};
    case "breaker":
      return breaker(policy, context);
  }
}

type Of<Kind extends Policy["kind"]> = Extract<Policy, { kind: Kind }>;

/** Sets GOGC within the policy's bounds, if that changes it. */
function setWithin(
  policy: { readonly kind: string; readonly min: number; readonly max: number },
  context: PolicyContext,
  percent: number,
): void {
  const bounded = Math.round(Math.min(policy.max, Math.max(policy.min, percent)));
  if (bounded === context.gcPercent()) return;
  context.controls.setGCPercent(bounded);
  context.report(`set_gc_percent ${bounded}`, `policy ${policy.kind}`);
}

/** The bytes allocated between two cycles' ends against the mean of the last ones: much more shrinks GOGC, much less lets it grow. */
function adaptiveGogc(policy: Of<"adaptive_gogc">, context: PolicyContext): RunningPolicy {
  const last: number[] = [];
  let seen = context.totalAllocBytes();
  return {
    cycleEnded() {
      const total = context.totalAllocBytes();
      const allocated = total - seen;
      seen = total;
      const mean = last.reduce((sum, x) => sum + x, 0) / last.length;
      last.push(allocated);
      if (last.length > policy.window) last.shift();
      const percent = context.gcPercent();
      if (!(mean > 0) || percent < 0) return;
      const ratio = allocated / mean;
      if (ratio > policy.rise) setWithin(policy, context, percent * policy.shrink);
      else if (ratio < policy.fall) setWithin(policy, context, percent * policy.grow);
    },
  };
}

/** The goal is live + live GOGC/100 (stacks and globals apart): it is `target` at GOGC = 100 (target - live) / live. */
function thresholdTuner(policy: Of<"threshold_tuner">, context: PolicyContext): RunningPolicy {
  return {
    cycleEnded({ heap_marked_bytes: live }) {
      if (live > 0) setWithin(policy, context, (100 * (policy.target - live)) / live);
    },
  };
}

/** The unit of `factor`: with it, extra heap and live heap are both bytes. */
const ROOT_UNIT_BYTES = 2 ** 20;

/**
 * The square-root rule (Kirisame et al., "Optimal heap limits for reducing browser memory use", 2022). With L live bytes, g
 * allocated and s marked per second of CPU, a heap of E extra bytes collects g/E times a second, each time for L/s: GC time g L / (E s).
 * Over several heaps, memory and GC time are traded alike everywhere when d/dE (g L / (E s)) is the same -c, that is
 * E = sqrt(L g / (c s)). Here 1/c = factor^2 MiB.
 */
function squareRootHeap(policy: Of<"square_root_heap">, context: PolicyContext): RunningPolicy {
  let seen = context.totalAllocBytes();
  let seenNs = context.startNs;
  return {
    cycleEnded(cycle, nowNs) {
      const total = context.totalAllocBytes();
      const live = cycle.heap_marked_bytes;
      const markNs = cycle.assist_cpu_ns + cycle.background_cpu_ns + cycle.idle_cpu_ns;
      const allocatedPerNs = (total - seen) / (nowNs - seenNs);
      seen = total;
      seenNs = nowNs;
      if (!(live > 0 && markNs > 0 && allocatedPerNs > 0)) return;
      const extra = policy.factor * Math.sqrt(live * (allocatedPerNs / (live / markNs)) * ROOT_UNIT_BYTES);
      setWithin(policy, context, (100 * extra) / live);
    },
  };
}

/** Opens when its condition is met; closes when it has not been met for `open_for`. */
function breaker(policy: Of<"breaker">, context: PolicyContext): RunningPolicy {
  const reason = `policy breaker: ${conditionText(policy.when)}`;
  let metNs = Number.NEGATIVE_INFINITY;
  let open = false;
  context.watcher.watch(new Watch(policy.when), (holds, nowNs) => {
    if (holds) metNs = nowNs;
    const wanted = nowNs - metNs < policy.open_for || holds;
    if (wanted !== open) {
      open = wanted;
      context.shed(policy.service, open ? policy.shed : 0);
      context.report(open ? `breaker open: ${policy.service}` : `breaker closed: ${policy.service}`, reason);
    }
    return true;
  });
  return {};
}
