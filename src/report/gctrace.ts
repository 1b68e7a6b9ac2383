/**
 * gctrace.txt: what `GODEBUG=gctrace=1` would have printed, character for character in Go 1.26's format
 * (runtime/mgc.go, end of gcMarkTermination), so that tools that read real traces read simulated ones.
 *
 *     gc N @T s U%: a+b+c ms clock, A+B/C/D+E ms cpu, h0->h1->h2 MB, G MB goal, S MB stacks, L MB globals, P P (forced)
 *
 * a, b and c are wall times of the sweep-termination pause (stopping included), the concurrent mark and the
 * mark-termination pause. A and E are those pauses times the number of Ps that can run at once, min(GOMAXPROCS, CPUs);
 * B is assists, C dedicated and fractional workers, D idle workers. MB are mebibytes, cut off, not rounded. U is the
 * whole percent of all CPU time since the start that went to the collector, idle marking left out.
 *
 * The format is the same from Go 1.19 on. Not written: "(checking for goroutine leaks)" and the scan statistics of
 * gctrace=2, which the model does not have.
 */
import type { CycleRecord } from "../simulate.ts";

/**
 * A whole number divided by 10^decimals, as text: 1234 with 3 is "1.234", 5 with 3 is "0.005".
 * The digits are the number's own, so nothing is rounded.
 */
export function itoaDiv(value: number, decimals: number): string {
  const digits = String(value);
  if (decimals === 0) return digits;
  const padded = digits.padStart(decimals + 1, "0");
  return `${padded.slice(0, -decimals)}.${padded.slice(-decimals)}`;
}

/** Nanoseconds as milliseconds the way gctrace prints them: whole from 10 ms on, else two digits, three decimals at most. */
export function fmtNSAsMS(ns: number): string {
  if (ns >= 10e6) return itoaDiv(Math.floor(ns / 1e6), 0);
  let digits = Math.floor(ns / 1e3);
  if (digits === 0) return "0";
  let decimals = 3;
  while (digits >= 100) {
    digits = Math.floor(digits / 10);
    decimals--;
  }
  return itoaDiv(digits, decimals);
}

const mebibytes = (bytes: number): number => Math.floor(bytes / 2 ** 20);

/** One cycle's line, without the line feed. Times count from the process's start. */
export function gctraceLine(cycle: CycleRecord, cpus: number, processStartSeconds = 0): string {
  const stwProcs = Math.min(cycle.procs, cpus);
  const sinceStart = cycle.start_seconds - processStartSeconds;
  const start = itoaDiv(Math.floor(Math.round(sinceStart * 1e9) / 1e6), 3);
  const utilization = Math.trunc(cycle.gc_cpu_percent);
  const clock = [cycle.stw1_ns, cycle.concurrent_ns, cycle.stw2_ns].map(fmtNSAsMS).join("+");
  const assist = fmtNSAsMS(cycle.assist_cpu_ns);
  const background = fmtNSAsMS(cycle.background_cpu_ns);
  const idle = fmtNSAsMS(cycle.idle_cpu_ns);
  const cpu = `${fmtNSAsMS(stwProcs * cycle.stw1_ns)}+${assist}/${background}/${idle}+${fmtNSAsMS(stwProcs * cycle.stw2_ns)}`;
  const heap = `${mebibytes(cycle.heap_start_bytes)}->${mebibytes(cycle.heap_end_bytes)}->${mebibytes(cycle.heap_marked_bytes)}`;
  return (
    `gc ${cycle.gc} @${start}s ${utilization}%: ${clock} ms clock, ${cpu} ms cpu, ${heap} MB, ` +
    `${mebibytes(cycle.goal_bytes)} MB goal, ${mebibytes(cycle.stacks_bytes)} MB stacks, ` +
    `${mebibytes(cycle.globals_bytes)} MB globals, ${cycle.procs} P${cycle.forced ? " (forced)" : ""}`
  );
}
