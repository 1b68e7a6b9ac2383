/**
 * What is drawn: titles as Go's own dashboards have them (statsviz, Grafana's Go panels), series, and where each comes from. A metric of
 * runtime/metrics is named where Go has one; what it has none for is said, too.
 */

import { bandText, highOf, lowOf, OVERLAYS, type OverlayUnit } from "../report/overlay.ts";
import type { Run, Values } from "./data.ts";
import { type ColorName, RUN_COLORS, RUN_DASHES } from "./theme.ts";

export type ChartUnit = OverlayUnit | "count/s";

export interface Series {
  readonly label: string;
  readonly color: ColorName;
  /** Where it comes from. */
  readonly source: string;
  readonly values: Values;
  /** Areas are stacked, the first at the bottom. */
  readonly style: "area" | "line" | "step" | "points";
  readonly dash?: readonly number[];
  /** Around a line: between which values seeds are. */
  readonly band?: { readonly low: Values; readonly high: Values };
  /** A bound: stretches the scale only while it is not far above everything else. */
  readonly bound?: boolean;
  /** Off until asked for. */
  readonly off?: boolean;
}

export interface Chart {
  readonly id: string;
  readonly title: string;
  readonly unit: ChartUnit;
  readonly info: string;
  readonly x: Float64Array;
  readonly series: readonly Series[];
  readonly wide?: boolean;
  readonly log?: boolean;
}

type Draft = Omit<Series, "values" | "style"> & {
  readonly values: Values | undefined;
  readonly style?: Series["style"];
};

function chart(
  about: Omit<Chart, "series" | "x">,
  x: Float64Array,
  drafts: readonly Draft[],
): Chart | undefined {
  const series: Series[] = [];
  for (const { values, style, ...draft } of drafts)
    if (values !== undefined) series.push({ ...draft, values, style: style ?? "line" });
  return series.length === 0 ? undefined : { ...about, x, series };
}

const present = (charts: readonly (Chart | undefined)[]): Chart[] =>
  charts.filter((one): one is Chart => one !== undefined);

/** Bound lines, dashed alike everywhere. */
const BOUND = { bound: true, dash: [8, 4] } as const;

export function runCharts(run: Run): Chart[] {
  const { t, about } = run;
  const live = run.live();
  const allocated = run.column("heap_alloc_bytes");
  const limit = run.moves("gomemlimit_bytes") ? run.column("gomemlimit_bytes") : undefined;
  // Limits that change are columns.
  const inForce = (name: string, atStart: number | undefined): Float64Array | undefined =>
    run.moves(name) ? run.column(name) : run.constant(atStart);
  const free = run.column("node_free_bytes");
  const memoryMax = inForce("memory_max_bytes", about.memory_max_bytes);
  return present([
    chart(
      {
        id: "memory",
        title: "Memory of the process",
        unit: "bytes",
        wide: true,
        info:
          "What the runtime has obtained from the OS (Sys), by what it is used for. All but “released” and memory never touched is resident. " +
          "Live objects are counted exactly from the model’s slots at some instants and drawn linearly between: Go itself cannot tell " +
          "them from garbage before the next mark. Garbage is HeapAlloc − live: dead, but not yet marked or not yet swept.",
      },
      t,
      [
        {
          label: "live",
          color: "blue",
          style: "area",
          values: live,
          source: "live objects, exactly; no metric of Go’s",
        },
        {
          label: "garbage",
          color: "orange",
          style: "area",
          values:
            live === undefined || allocated === undefined
              ? undefined
              : Float64Array.from(allocated, (value, i) => value - live[i]),
          source: "/memory/classes/heap/objects:bytes − live",
        },
        {
          label: "allocated",
          color: "blue",
          style: "area",
          values: live === undefined ? allocated : undefined,
          source: "/memory/classes/heap/objects:bytes",
        },
        {
          label: "free slots in spans",
          color: "green",
          style: "area",
          values: run.combine(["heap_inuse_bytes", "heap_alloc_bytes"], (inuse, alloc) => inuse - alloc),
          source: "/memory/classes/heap/unused:bytes (HeapInuse − HeapAlloc)",
        },
        {
          label: "idle, retained",
          color: "sky",
          style: "area",
          values: run.combine(
            ["heap_idle_bytes", "heap_released_bytes"],
            (idle, released) => idle - released,
          ),
          source: "/memory/classes/heap/free:bytes (HeapIdle − HeapReleased)",
        },
        {
          label: "stacks",
          color: "pink",
          style: "area",
          values: run.column("stack_inuse_bytes"),
          source: "/memory/classes/heap/stacks:bytes (StackInuse)",
        },
        {
          label: "other runtime memory",
          color: "grey",
          style: "area",
          values: run.combine(
            ["sys_bytes", "heap_sys_bytes", "stack_inuse_bytes"],
            (sys, heap, stack) => sys - heap - stack,
          ),
          source: "/memory/classes/metadata/…, os-stacks, other (Sys − HeapSys − StackInuse)",
        },
        {
          label: "released",
          color: "pale",
          style: "area",
          values: run.column("heap_released_bytes"),
          source: "/memory/classes/heap/released:bytes (HeapReleased): address space without memory",
        },
        {
          label: "RSS",
          color: "ink",
          values: run.column("rss_bytes"),
          source: "process_resident_memory_bytes (VmRSS)",
        },
      ],
    ),
    chart(
      {
        id: "rss",
        title: "RSS against limits",
        unit: "bytes",
        info:
          "The resident set and what bounds it. GOMEMLIMIT bounds Sys − HeapReleased (“mapped, ready”), softly; a container’s memory.high slows " +
          "allocating threads, its memory.max kills. A bound far above is left off the scale; its value is in the legend.",
      },
      t,
      [
        { label: "RSS", color: "ink", values: run.column("rss_bytes"), source: "VmRSS" },
        {
          label: "mapped, ready",
          color: "sky",
          values: run.column("mapped_ready_bytes"),
          source: "/memory/classes/total:bytes − /memory/classes/heap/released:bytes",
        },
        {
          label: "memory.current",
          color: "green",
          values: run.column("memory_current_bytes"),
          source: "cgroup memory.current",
        },
        {
          label: "working set",
          color: "pink",
          dash: [2, 3],
          values: run.column("memory_working_set_bytes"),
          source: "memory.current − inactive_file, as kubectl top shows",
        },
        { label: "GOMEMLIMIT", color: "orange", values: limit, source: "/gc/gomemlimit:bytes", ...BOUND },
        {
          label: "memory.high",
          color: "orange",
          values: inForce("memory_high_bytes", about.memory_high_bytes),
          source: "cgroup memory.high",
          bound: true,
          dash: [3, 3],
        },
        {
          label: "memory.max",
          color: "bad",
          values: memoryMax,
          source: "cgroup memory.max: the OOM killer’s",
          ...BOUND,
        },
      ],
    ),
    chart(
      {
        id: "node",
        title: "Memory of the machine",
        unit: "bytes",
        info:
          "Where others compete for it (machine.neighbours). Below the low watermark kswapd reclaims page cache from all, in proportion to what each has cached; " +
          "memory.low and memory.min keep it from the container’s. Where nothing is left to reclaim the OOM killer takes the worst process.",
      },
      t,
      [
        {
          label: "neighbours",
          color: "orange",
          values: run.column("node_neighbours_anon_bytes"),
          source: "anon of everything but the container",
        },
        {
          label: "their page cache",
          color: "sky",
          values: run.column("node_neighbours_file_bytes"),
          source: "file of everything but the container",
        },
        {
          label: "the container’s page cache",
          color: "blue",
          values: free === undefined ? undefined : run.column("memory_file_bytes"),
          source: "cgroup memory.stat file",
        },
        { label: "free", color: "ink", values: free, source: "MemFree" },
        {
          label: "memory.low",
          color: "grey",
          values: run.constant(about.memory_low_bytes),
          source: "cgroup memory.low",
          ...BOUND,
        },
        {
          label: "memory.min",
          color: "red",
          values: run.constant(about.memory_min_bytes),
          source: "cgroup memory.min",
          ...BOUND,
        },
      ],
    ),
    chart(
      {
        id: "goal",
        title: "GC: heap live, trigger and goal",
        unit: "bytes",
        info:
          "The pacer’s own figures. A cycle starts when heap live (marked by the last cycle plus allocated since, by whole spans) reaches the trigger, " +
          "so that it ends about at the goal. heap live above the goal: allocation was faster than marking.",
      },
      t,
      [
        {
          label: "heap live",
          color: "blue",
          values: run.column("heap_live_bytes"),
          source: "heapLive of the pacer; gctrace’s first two sizes",
        },
        {
          label: "marked by the last cycle",
          color: "green",
          style: "step",
          values: run.ofCycle("marked", "last"),
          source: "/gc/heap/live:bytes",
        },
        {
          label: "trigger",
          color: "orange",
          style: "step",
          dash: [3, 3],
          values: run.ofCycle("trigger", "next"),
          source: "trigger of the next cycle; no metric of Go’s",
        },
        {
          label: "goal",
          color: "red",
          dash: [8, 4],
          values: run.column("next_gc_bytes"),
          source: "/gc/heap/goal:bytes (NextGC)",
          bound: true,
        },
      ],
    ),
    chart(
      {
        id: "cpu-gc",
        title: "CPU (GC)",
        unit: "CPUs",
        info:
          "CPU of the collector by kind of work, as CPU seconds per second. Go counts marking when a cycle ends; here it is spread over the cycle’s " +
          "time. Assists are goroutines that allocate marking to pay for it: latency.",
      },
      t,
      [
        {
          label: "dedicated, fractional",
          color: "blue",
          style: "area",
          values: run.cpuRates().background,
          source: "/cpu/classes/gc/mark/dedicated:cpu-seconds, per second",
        },
        {
          label: "assist",
          color: "red",
          style: "area",
          values: run.cpuRates().assist,
          source: "/cpu/classes/gc/mark/assist:cpu-seconds, per second",
        },
        {
          label: "idle",
          color: "sky",
          style: "area",
          values: run.cpuRates().idle,
          source: "/cpu/classes/gc/mark/idle:cpu-seconds, per second",
        },
        {
          label: "scavenger",
          color: "green",
          style: "area",
          values: addRates(run, "scavenge_background_cpu_seconds", "scavenge_assist_cpu_seconds"),
          source: "/cpu/classes/scavenge/total:cpu-seconds, per second",
        },
      ],
    ),
    chart(
      {
        id: "cpu",
        title: "CPU (overall)",
        unit: "CPUs",
        info: "CPU seconds per second of the program’s goroutines and of the collector, and how many CPUs there are for both.",
      },
      t,
      [
        {
          label: "mutator",
          color: "green",
          style: "area",
          values: run.cpuRates().mutator,
          source: "/cpu/classes/user:cpu-seconds, per second; sweeping included",
        },
        {
          label: "GC marking",
          color: "blue",
          style: "area",
          values: markRate(run),
          source: "/cpu/classes/gc/total:cpu-seconds, per second; without pauses",
        },
        {
          label: "throttled by the quota",
          color: "bad",
          values: run.rate("cpu_throttled_seconds"),
          source: "cpu.stat throttled_usec, per second",
        },
        {
          label: "usable CPUs",
          color: "axis",
          values: run.cpus().usable,
          source: "the least of GOMAXPROCS, the machine’s CPUs and the container’s quota",
          ...BOUND,
        },
      ],
    ),
    pauses([run], "STW pauses"),
    run.moves("latency_p99_ns")
      ? chart(
          {
            id: "latency",
            title: "Request latency",
            unit: "ns",
            info:
              "Quantiles of the requests completed in each sample interval; of several services the slowest one’s. From a request’s arrival to its " +
              "end: waiting for a CPU, assists, pauses and throttling included.",
          },
          t,
          [
            { label: "p50", color: "blue", values: run.column("latency_p50_ns"), source: "latency_p50_ns" },
            { label: "p99", color: "red", values: run.column("latency_p99_ns"), source: "latency_p99_ns" },
          ],
        )
      : undefined,
    chart(
      {
        id: "goroutines",
        title: "Goroutines and requests in flight",
        unit: "count",
        info: "Both growing without end: a leak, or more work than is done.",
      },
      t,
      [
        {
          label: "goroutines",
          color: "blue",
          values: run.column("goroutines"),
          source: "/sched/goroutines:goroutines",
        },
        {
          label: "in flight",
          color: "red",
          values: run.moves("requests_in_flight") ? run.column("requests_in_flight") : undefined,
          source: "requests being served, batch workers, goroutines of populations",
        },
      ],
    ),
    run.moves("requests_completed")
      ? chart(
          {
            id: "requests",
            title: "Requests completed",
            unit: "count/s",
            info: "Requests, look-ups and items per second.",
          },
          t,
          [
            {
              label: "completed",
              color: "green",
              values: run.rate("requests_completed"),
              source: "requests_completed, per second",
            },
          ],
        )
      : undefined,
    chart(
      {
        id: "fragmentation",
        title: "Fragmentation",
        unit: "share",
        info:
          "How much of the heap holds no object. F is (free / HeapSys) × (1 − allocated / HeapSys). “In spans” is free slots in spans in use: " +
          "an object keeps its whole span. “Idle” is HeapIdle / HeapSys, released or not.",
      },
      t,
      [
        {
          label: "in spans",
          color: "green",
          values: run.combine(["frag_span_unused_bytes", "heap_inuse_bytes"], (unused, inuse) =>
            inuse > 0 ? unused / inuse : Number.NaN,
          ),
          source: "1 − HeapAlloc / HeapInuse",
        },
        {
          label: "idle",
          color: "sky",
          dash: [6, 3],
          values: run.column("frag_idle_ratio"),
          source: "HeapIdle / HeapSys",
        },
        { label: "F", color: "red", values: run.column("frag_ratio"), source: "frag_ratio" },
      ],
    ),
    run.moves("scavenged_bytes")
      ? chart(
          {
            id: "scavenger",
            title: "Scavenger",
            unit: "bytes/s",
            info:
              "Memory given back to the OS per second (madvise): by the background scavenger, at 1 % of CPU; by allocations near a memory limit; by debug.FreeOSMemory. " +
              "What is needed again costs page faults.",
          },
          t,
          [
            {
              label: "given back",
              color: "green",
              style: "area",
              values: run.rate("scavenged_bytes"),
              source: "scavenged_bytes, per second",
            },
          ],
        )
      : undefined,
    chart(
      {
        id: "allocation",
        title: "Heap allocation rate",
        unit: "bytes/s",
        info: "Bytes allocated per second; cached spans count when they are given up.",
      },
      t,
      [
        {
          label: "allocated",
          color: "blue",
          values: run.rate("total_alloc_bytes"),
          source: "/gc/heap/allocs:bytes, per second",
        },
      ],
    ),
    chart(
      {
        id: "objects",
        title: "Heap objects",
        unit: "count",
        info: "Objects allocated and not yet swept, dead ones included.",
      },
      t,
      [
        {
          label: "objects",
          color: "blue",
          values: run.column("heap_objects"),
          source: "/gc/heap/objects:objects",
        },
      ],
    ),
    chart({ id: "faults", title: "Page faults", unit: "count/s", info: "Minor faults per second." }, t, [
      {
        label: "faults",
        color: "red",
        values: run.rate("page_faults"),
        source: "minor faults of /proc/PID/stat, per second",
      },
    ]),
    chart(
      {
        id: "cgroup",
        title: "Container memory",
        unit: "bytes",
        info: "memory.stat of the control group: what is charged, and the part of it that is page cache, which reclaim takes first.",
      },
      t,
      [
        {
          label: "anon",
          color: "blue",
          style: "area",
          values: run.column("memory_anon_bytes"),
          source: "memory.stat anon",
        },
        {
          label: "file",
          color: "sky",
          style: "area",
          values: run.column("memory_file_bytes"),
          source: "memory.stat file: page cache",
        },
        {
          label: "kernel",
          color: "grey",
          style: "area",
          values: run.column("memory_kernel_bytes"),
          source: "memory.stat kernel: page tables, slab, stacks",
        },
        {
          label: "memory.max",
          color: "bad",
          values: run.has("memory_anon_bytes") ? memoryMax : undefined,
          source: "cgroup memory.max",
          ...BOUND,
        },
      ],
    ),
  ]);
}

const addRates = (run: Run, ...names: readonly string[]): Float64Array | undefined =>
  sum(names.map((name) => run.rate(name)));

/** CPU of marking, whoever does it. */
function markRate(run: Run): Float64Array | undefined {
  const { background, assist, idle } = run.cpuRates();
  return sum([background, assist, idle]);
}

function sum(columns: readonly (Float64Array | undefined)[]): Float64Array | undefined {
  const rates = columns.filter((rate) => rate !== undefined);
  if (rates.length === 0) return undefined;
  return rates[0].map((_, i) => rates.reduce((all, rate) => all + rate[i], 0));
}

/** Pauses stand at their cycles, not at samples. Of several runs the sum of a cycle's two is shown. */
function pauses(runs: readonly Run[], title: string): Chart | undefined {
  const x = Float64Array.from(
    [...new Set(runs.flatMap((run) => run.cycles.map((cycle) => cycle.start)))].sort((a, b) => a - b),
  );
  if (x.length === 0) return undefined;
  const about = {
    id: "pauses",
    title,
    unit: "ns",
    log: true,
    info: "The two stops of the world of each cycle, stopping included: sweep termination at its beginning, mark termination at its end. On a logarithmic scale.",
  } as const;
  const only = runs[0];
  if (runs.length === 1)
    return chart(about, x, [
      {
        label: "sweep termination",
        color: "sky",
        style: "points",
        values: byCycle(only, x, (c) => c.stw1),
        source: "/sched/pauses/total/gc:seconds; gctrace’s first clock",
      },
      {
        label: "mark termination",
        color: "red",
        style: "points",
        values: byCycle(only, x, (c) => c.stw2),
        source: "/sched/pauses/total/gc:seconds; gctrace’s third clock",
      },
    ]);
  return chart(
    about,
    x,
    runs.map((run, i) => ({
      ...runStyle(run, i),
      style: "points" as const,
      values: byCycle(run, x, (c) => c.stw1 + c.stw2),
      source:
        run.about.seeds === undefined ? "both pauses of a cycle" : "both pauses of a cycle, of all seeds",
    })),
  );
}

function byCycle(run: Run, x: Float64Array, f: (cycle: Run["cycles"][number]) => number): (number | null)[] {
  const at = new Map(run.cycles.map((cycle) => [cycle.start, f(cycle)]));
  return Array.from(x, (t) => at.get(t) || null);
}

const runStyle = (run: Run, i: number): { label: string; color: ColorName; dash: readonly number[] } => ({
  label: run.label,
  color: RUN_COLORS[i % RUN_COLORS.length],
  dash: RUN_DASHES[Math.floor(i / RUN_COLORS.length + i) % RUN_DASHES.length],
});

export function overlayCharts(runs: readonly Run[]): Chart[] {
  const x = Float64Array.from([...new Set(runs.flatMap((run) => [...run.t]))].sort((a, b) => a - b));
  const bands = [...new Set(runs.flatMap(({ about: { seeds } }) => (seeds === undefined ? [] : [seeds])))];
  const lines =
    bands.length === 0
      ? "one line per run"
      : `lines are medians over the seeds of a run; bands reach from ${[...new Set(bands.map(bandText))].join(", or ")}`;
  return present([
    ...OVERLAYS.filter(({ id }) => runs.some((run) => run.moves(id))).map(({ id, title, unit, source }) =>
      chart(
        { id, title, unit, info: `${source}; ${lines}.` },
        x,
        runs.map((run, i) => {
          const low = onto(run, x, run.column(lowOf(id)));
          const high = onto(run, x, run.column(highOf(id)));
          const band = low === undefined || high === undefined ? {} : { band: { low, high } };
          return { ...runStyle(run, i), values: onto(run, x, run.column(id)), source, ...band };
        }),
      ),
    ),
    pauses(runs, "STW pauses, both of a cycle"),
  ]);
}

/** Values at a run's own times onto those of all runs: held until its next sample. */
function onto(run: Run, x: Float64Array, values: Float64Array | undefined): Values | undefined {
  if (values === undefined) return undefined;
  const { t } = run;
  if (t.length === x.length) return values;
  let i = -1;
  const last = t[t.length - 1] ?? 0;
  return Float64Array.from(x, (at) => {
    while (i + 1 < t.length && t[i + 1] <= at) i++;
    return i < 0 || at > last ? Number.NaN : values[i];
  });
}
