/**
 * Reads what GODEBUG=gctrace=1 printed: the inverse of report/gctrace.ts, for any Go release from 1.19 to 1.26.
 * Lines that are something else (a crash, another debug setting) are skipped.
 */

export interface TracedCycle {
  readonly gc: number;
  readonly start_seconds: number;
  readonly gc_cpu_percent: number;
  readonly stw1_ms: number;
  readonly concurrent_ms: number;
  readonly stw2_ms: number;
  readonly stw1_cpu_ms: number;
  readonly assist_cpu_ms: number;
  readonly background_cpu_ms: number;
  readonly idle_cpu_ms: number;
  readonly stw2_cpu_ms: number;
  /** MiB, cut off. */
  readonly heap_start_mib: number;
  readonly heap_end_mib: number;
  readonly heap_marked_mib: number;
  readonly goal_mib: number;
  readonly stacks_mib: number;
  readonly globals_mib: number;
  readonly procs: number;
  readonly forced: boolean;
}

const N = "(\\d+(?:\\.\\d+)?)";
const LINE = new RegExp(
  `^gc (\\d+) @${N}s ${N}%(?: \\(checking for goroutine leaks\\))?: ` +
    `${N}\\+${N}\\+${N} ms clock, ${N}\\+${N}/${N}/${N}\\+${N} ms cpu, ` +
    "(\\d+)->(\\d+)->(\\d+) MB, (\\d+) MB goal, (?:(\\d+) MB stacks, (\\d+) MB globals, )?(\\d+) P( \\(forced\\))?$",
);

export function parseGctraceLine(line: string): TracedCycle | undefined {
  const m = LINE.exec(line.trim());
  if (m === null) return undefined;
  const x = m.slice(1, 19).map((text) => Number(text ?? 0));
  return {
    gc: x[0],
    start_seconds: x[1],
    gc_cpu_percent: x[2],
    stw1_ms: x[3],
    concurrent_ms: x[4],
    stw2_ms: x[5],
    stw1_cpu_ms: x[6],
    assist_cpu_ms: x[7],
    background_cpu_ms: x[8],
    idle_cpu_ms: x[9],
    stw2_cpu_ms: x[10],
    heap_start_mib: x[11],
    heap_end_mib: x[12],
    heap_marked_mib: x[13],
    goal_mib: x[14],
    stacks_mib: x[15],
    globals_mib: x[16],
    procs: x[17],
    forced: m[19] !== undefined,
  };
}

export function parseGctrace(text: string): TracedCycle[] {
  const cycles: TracedCycle[] = [];
  for (const line of text.split("\n")) {
    const cycle = parseGctraceLine(line);
    if (cycle !== undefined) cycles.push(cycle);
  }
  return cycles;
}
