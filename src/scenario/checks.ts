/**
 * What no single setting can be blamed for: settings that contradict each other, or ask for more than a run can be.
 *
 * These look at whatever could be read, so that they are told together with the faults of the settings themselves.
 */
import { kernelBytesAtStart } from "../os/cgroup.ts";
import { defaultMinFreeBytes, lowmemReservePages, watermarks } from "../os/node.ts";
import { OS_PAGE_BYTES } from "../os/os.ts";
import { MAX_FILE_BYTES } from "../os/pagecache.ts";
import { phaseNames, START, splitFigure } from "../phases.ts";
import { rulesFor } from "../runtime/version.ts";
import { type MetricParts, metricsOf, phaseMetricsOf, readThreshold } from "../thresholds.ts";
import { RECENT_GC_CPU, type When } from "./conditions.ts";
import defaultProfile from "./default-profile.json" with { type: "json" };
import { type Dist, isZero, meanOf } from "./dist.ts";
import { type Fault, isMapping, nearest, shown, suggest, tick } from "./faults.ts";
import type { Partly } from "./partly.ts";
import {
  type ContainerLimits,
  type ContainerSettings,
  GO_VERSIONS,
  type Godebug,
  type GoVersion,
  type Intervention,
  type Machine,
  MIN_CFS_NS,
  type ObjectGroup,
  type Policy,
  type Startup,
  type WorkloadEntry,
} from "./schema.ts";

/** A timeseries longer than this is no longer a table anyone reads. */
const MAX_ROWS = 10_000_000;
/** A simulator at tens of millions of objects per second would take days for more. */
const MAX_OBJECTS = 1e12;
/** Go stops a goroutine whose stack passes this (runtime.SetMaxStack's default on 64-bit systems). */
const MAX_STACK_BYTES = 1e9;
/** Below this a ballast raises nothing, and is no large object that stays unwritten. */
const MIN_BALLAST_BYTES = 2 ** 20;
/** The smallest arena block in which a 64-byte aligned object fits. */
const MIN_ARENA_BLOCK_BYTES = 64;

export interface Readable {
  readonly duration: number | undefined;
  readonly sampleInterval: number | undefined;
  readonly workload: readonly (WorkloadEntry | undefined)[];
  readonly interventions: readonly (Partly<Intervention> | undefined)[];
  readonly policies: readonly (Partly<Policy> | undefined)[];
  readonly phases: readonly {
    readonly at?: number | undefined;
    readonly when?: When | undefined;
    readonly set?: unknown;
  }[];
  readonly variants: readonly { readonly set?: unknown }[];
  readonly container: Partly<ContainerSettings> | undefined;
  readonly startup: Partly<Startup> | undefined;
  readonly machine: Partly<Machine> | undefined;
  readonly go:
    | { readonly version?: GoVersion | undefined; readonly GODEBUG?: Partly<Godebug> | undefined }
    | undefined;
  readonly thresholds: Readonly<Record<string, readonly string[] | undefined>>;
  readonly raw: Readonly<Record<string, unknown>>;
}

type Tell = (path: readonly (string | number)[], message: string, hint?: string) => void;

const seconds = (ns: number) => `${Number((ns / 1e9).toPrecision(6))}s`;

/**
 * `asWritten`: the file itself. When a variant or `--set duration=...` shortens the run, what lies behind the new end is
 * simply never reached; in the file it is a mistake.
 */
export function check(scenario: Readable, asWritten: boolean): Fault[] {
  const faults: Fault[] = [];
  const tell: Tell = (path, message, hint) => {
    faults.push(hint === undefined ? { path, message } : { path, message, hint });
  };
  const { duration, sampleInterval, raw } = scenario;
  if (duration === 0) tell(["duration"], "a run of no duration shows nothing");
  if (sampleInterval === 0) tell(["sample_interval"], "must be longer than 0");
  if (duration !== undefined && duration > 0 && sampleInterval !== undefined && sampleInterval > 0) {
    const rows = duration / sampleInterval;
    if (rows < 1)
      tell(["sample_interval"], `is longer than the run (${seconds(duration)}): there would be no samples`);
    else if (rows > MAX_ROWS)
      tell(
        ["sample_interval"],
        `would give ${Math.ceil(rows).toLocaleString("en-US")} samples`,
        `at most ${MAX_ROWS.toLocaleString("en-US")} are taken`,
      );
  }
  unique(raw["workload"], ["workload"], "workload entry", tell);
  scenario.workload.forEach((entry, i) => {
    if (entry === undefined) return;
    faults.push(...checkEntry(entry, ["workload", i], duration, 0, asWritten));
  });
  if (scenario.machine !== undefined) checkPages(scenario.machine, scenario.go, tell);
  const highestMax = highestMaxOf(scenario);
  if (scenario.container !== undefined) checkContainer(scenario.container, raw, duration, asWritten, tell);
  checkStartup(scenario, highestMax, tell);
  checkNode(scenario, tell);
  unique(raw["variants"], ["variants"], "variant", tell, ["base"]);
  scenario.variants.forEach((variant, i) => {
    if (isMapping(variant.set) && Object.keys(variant.set).length === 0)
      tell(["variants", i, "set"], "sets nothing: it would equal the scenario itself");
  });

  let latest = 0;
  scenario.phases.forEach((phase, i) => {
    if (isMapping(phase.set) && Object.keys(phase.set).length === 0)
      tell(["phases", i, "set"], "sets nothing");
    if (phase.at === undefined) return;
    if (phase.at < latest)
      tell(
        ["phases", i, "at"],
        `comes before the phase above it (${seconds(latest)})`,
        "phases go in order of time",
      );
    if (asWritten && duration !== undefined && phase.at >= duration)
      tell(["phases", i, "at"], `is not before the end of the run (${seconds(duration)})`);
    latest = Math.max(latest, phase.at);
  });
  scenario.interventions.forEach((intervention, i) => {
    if (intervention === undefined) return;
    if (asWritten && duration !== undefined && intervention.at !== undefined && intervention.at >= duration)
      tell(["interventions", i, "at"], `is not before the end of the run (${seconds(duration)})`);
    if (intervention.every === 0) tell(["interventions", i, "every"], "must be longer than 0");
    if (intervention.do === "set_neighbours" && !hasNeighbours(raw))
      tell(
        ["interventions", i, "do"],
        "there is nothing else on the machine",
        "give it `machine.neighbours`",
      );
    if (intervention.do !== "resize_container") return;
    if (scenario.container !== undefined)
      for (const { path, ...fault } of resizeFaults(intervention, scenario.container, highestMax))
        faults.push({ path: ["interventions", i, ...path], ...fault });
    else if (raw["container"] === undefined)
      tell(["interventions", i, "do"], "there is no container to resize", "give the scenario a `container`");
  });
  scenario.policies.forEach((policy, i) => {
    if (policy === undefined) return;
    if ("min" in policy && policy.min !== undefined && policy.max !== undefined && policy.min > policy.max)
      tell(["policies", i, "min"], `is above \`max\` (${policy.max})`);
    if (policy.kind === "threshold_tuner" && policy.target === 0)
      tell(["policies", i, "target"], "must be larger than 0");
    if (policy.kind === "ballast" && policy.size !== undefined && policy.size < MIN_BALLAST_BYTES)
      tell(
        ["policies", i, "size"],
        `is too small for a ballast (${policy.size} bytes)`,
        "it raises the goal by its size: 1MiB at least",
      );
    if (policy.kind !== "breaker" || policy.service === undefined) return;
    const service = scenario.workload.find((entry) => entry?.name === policy.service);
    const services = scenario.workload.flatMap((entry) => (entry?.kind === "service" ? [entry.name] : []));
    if (service?.kind !== "service")
      tell(
        ["policies", i, "service"],
        `there is no service ${shown(policy.service)}`,
        services.length === 0 ? "the workload has none" : `the workload has ${services.join(", ")}`,
      );
  });
  const tuners = scenario.policies.filter((policy) => policy !== undefined && "max" in policy);
  checkConditions(scenario, tell);
  if (tuners.length > 1)
    tell(["policies"], `${tuners.map((p) => p?.kind).join(" and ")} would both set GOGC`, "keep one of them");
  checkThresholds(scenario, faults);
  return faults;
}

/** What of the scenario decides on its metrics; of what could not be read, that it is there. */
function metricParts({ raw, workload, machine, go, policies }: Readable): MetricParts {
  const at = (key: string): Record<string, unknown> => (isMapping(raw[key]) ? raw[key] : {});
  const interventions = Array.isArray(raw["interventions"]) ? raw["interventions"] : [];
  const does = (what: string): boolean =>
    interventions.some((item: unknown) => isMapping(item) && item["do"] === what);
  const hasContainer = raw["container"] !== undefined;
  const cpuQuota = at("container")["cpu"] !== undefined;
  const thp = machine?.thp;
  const nodes = machine?.numa?.nodes;
  const { madvdontneed, disablethp } = go?.GODEBUG ?? {};
  const isOn = (setting: string, byDefault: boolean): boolean => {
    const value = at("go")[setting];
    return value === undefined ? byDefault : value !== "off";
  };
  return {
    sampled:
      thp === undefined || madvdontneed === undefined || disablethp === undefined
        ? undefined
        : {
            machine: {
              thp,
              ...(nodes === undefined ? {} : { numa: { nodes } }),
              ...(hasNeighbours(raw) ? { neighbours: {} } : {}),
            },
            go: { GODEBUG: { madvdontneed, disablethp } },
            ...(hasContainer ? { container: cpuQuota ? { cpu: {} } : {} } : {}),
            interventions: ["set_gomaxprocs", "resize_container"].filter(does).map((what) => ({ do: what })),
          },
    workload,
    container: hasContainer,
    cpuQuota,
    pageCache: at("container")["page_cache"] !== undefined,
    memoryLimit: isOn("GOMEMLIMIT", false) || does("set_memory_limit"),
    gcPercent:
      isOn("GOGC", true) || does("set_gc_percent") || policies.some((p) => p !== undefined && "max" in p),
    readsMemStats: does("read_mem_stats"),
    startup: raw["startup"] !== undefined,
    hypothetical: at("go")["hypothetical"] !== undefined,
  };
}

/** What the stretches of a scenario's phases are called, `start` among them; none without phases. */
function stretchNames({ raw }: Readable): readonly string[] {
  const phases = Array.isArray(raw["phases"]) ? raw["phases"] : [];
  const named = phases.map((phase: unknown, i) => ({
    name: isMapping(phase) && typeof phase["name"] === "string" ? phase["name"] : `phase ${i + 1}`,
  }));
  return named.length === 0 ? [] : [START, ...phaseNames(named)];
}

function checkThresholds(scenario: Readable, faults: Fault[]) {
  const parts = metricParts(scenario);
  const ofRun = metricsOf(parts);
  const ofPhases = phaseMetricsOf(parts);
  const stretches = stretchNames(scenario);
  for (const [metric, expressions] of Object.entries(scenario.thresholds)) {
    const path = ["thresholds", metric];
    const { figure, phase } = splitFigure(metric);
    if (phase !== undefined && !stretches.includes(phase)) {
      const hint =
        stretches.length === 0 ? "the scenario has no `phases`" : suggest(phase, stretches, "they are");
      const message = `there is no phase ${tick(phase.slice(0, 80))} for ${tick(figure.slice(0, 80))}`;
      faults.push({ path, message, hint, onKey: true });
      continue;
    }
    const metrics = phase === undefined ? ofRun : ofPhases;
    const info = metrics.get(figure);
    if (info === undefined) {
      const near = nearest(figure, metrics.keys());
      const what =
        phase === undefined
          ? "metrics are the columns of timeseries.csv, the figures of summary.json, `pause_ns`, `latency_ns` and `NAME_latency_ns`"
          : "a phase has the columns of timeseries.csv and the figures of summary.json's `phases`, such as `pause_max_ns` and `NAME_latency_p99_ns`";
      faults.push({
        path,
        message: `there is no metric ${tick(figure.slice(0, 80))}${phase === undefined ? "" : " of a phase"}`,
        hint:
          near === undefined
            ? what
            : `did you mean ${tick(phase === undefined ? near : `${near}@${phase}`)}?`,
        onKey: true,
      });
      continue;
    }
    const written = isMapping(scenario.raw["thresholds"]) ? scenario.raw["thresholds"][metric] : undefined;
    expressions?.forEach((expression, i) => {
      const at = Array.isArray(written) ? [...path, i] : path;
      readThreshold(metric, info, expression, (message, hint) => {
        faults.push(hint === undefined ? { path: at, message } : { path: at, message, hint });
      });
    });
  }
}

/** Conditions on columns that this scenario does not have, or that never have a value. */
function checkConditions(scenario: Readable, tell: Tell) {
  const metrics = metricsOf(metricParts(scenario));
  const look = (key: "interventions" | "phases" | "policies", i: number, when: Partly<When> | undefined) => {
    const items = scenario.raw[key];
    const item: unknown = Array.isArray(items) ? items[i] : undefined;
    const listed = isMapping(item) && Array.isArray(item["when"]);
    when?.forEach((condition, j) => {
      const metric = condition?.metric;
      if (metric === undefined || metric === RECENT_GC_CPU) return;
      const lacking = metrics.get(metric)?.samples ?? "`machine.numa` has no such node";
      if (typeof lacking === "string")
        tell(
          [key, i, "when", ...(listed ? [j] : []), "metric"],
          `${tick(metric)} has no value here: ${lacking}`,
        );
    });
  };
  scenario.interventions.forEach((of, i) => {
    look("interventions", i, of?.when);
  });
  scenario.phases.forEach((of, i) => {
    look("phases", i, of.when);
  });
  scenario.policies.forEach((of, i) => {
    if (of?.kind === "breaker") look("policies", i, of.when);
  });
}

/**
 * Anonymous memory a Go program holds in its runtime's own structures when main starts: RssAnon of one that does nothing (Go 1.26,
 * amd64), less the profile's `other_rss_bytes`.
 */
export const GO_RUNTIME_AT_START_BYTES = 528 << 10;

/** Page settings that the kernel or the release does not have. */
function checkPages(machine: Partly<Machine>, go: Readable["go"], tell: Tell) {
  const { page_size } = machine;
  if (page_size !== undefined && page_size !== OS_PAGE_BYTES && machine.thp === "always")
    tell(
      ["machine", "thp"],
      `huge pages are those of 4KiB pages (2 MiB); with pages of ${kibibytes(page_size)} they are not modelled`,
      "leave out one of the two",
    );
  if (machine.numa !== undefined) checkNuma(machine.numa, machine, go, tell);
  if (machine.khugepaged?.scan_sleep === 0)
    tell(["machine", "khugepaged", "scan_sleep"], "must be longer than 0");
  const version = go?.version;
  if (version === undefined) return;
  if (go?.GODEBUG?.disablethp === 1 && GO_VERSIONS.indexOf(version) < GO_VERSIONS.indexOf("1.21"))
    tell(["go", "GODEBUG", "disablethp"], `Go ${version} does not know it`, "it came with Go 1.21.6");
  if (go?.GODEBUG?.updatemaxprocs === 0 && GO_VERSIONS.indexOf(version) < GO_VERSIONS.indexOf("1.25"))
    tell(["go", "GODEBUG", "updatemaxprocs"], `Go ${version} does not know it`, "it came with Go 1.25");
}

function checkNuma(
  { nodes, cpu_nodes, bind_node = 0 }: Partly<NonNullable<Machine["numa"]>>,
  { cpus, thp }: Partly<Machine>,
  go: Readable["go"],
  tell: Tell,
) {
  const at = (key: string) => ["machine", "numa", key];
  if (nodes !== undefined) {
    if (cpu_nodes !== undefined && cpu_nodes > nodes) tell(at("cpu_nodes"), `there are ${nodes} nodes`);
    if (cpus !== undefined && Math.min(cpu_nodes ?? nodes, nodes) > cpus)
      tell(at("cpu_nodes"), `${cpus} CPUs cannot be on ${cpu_nodes ?? nodes} nodes`);
    if (bind_node >= nodes) tell(at("bind_node"), `there are ${nodes} nodes, from 0 to ${nodes - 1}`);
  }
  const huge = go?.version !== undefined && rulesFor(go.version).hugePageAdvice === "per-release";
  if (thp === "always" || (huge && thp === "madvise"))
    tell(["machine", "numa"], "huge pages on several nodes are not modelled", "write `thp: never`");
  if (go?.GODEBUG?.madvdontneed === 0)
    tell(["machine", "numa"], "MADV_FREE on several nodes is not modelled", "leave out `madvdontneed`");
}

const kibibytes = (bytes: number) => `${Math.ceil(bytes / 1024)} KiB`;

/** What a Go process in this container has before its first allocation, in all and by part. */
function atStart({ memory, off_heap }: Partly<ContainerSettings>): {
  readonly bytes: number;
  readonly sum: string;
} {
  const { file_rss_bytes, other_rss_bytes, threads } = defaultProfile.baseline;
  const kernel = kernelBytesAtStart(threads);
  const parts = (
    [
      ["binary", memory?.binary === "charged" ? file_rss_bytes : 0],
      ["off-heap", off_heap ?? 0],
      ["Go runtime", GO_RUNTIME_AT_START_BYTES],
      ["thread stacks and loader", other_rss_bytes],
      ["page tables", kernel.pageTables],
      [`kernel stacks of ${threads} threads`, kernel.kernelStack],
      ["slab", kernel.slab],
    ] as const
  ).filter(([, bytes]) => bytes > 0);
  return {
    bytes: parts.reduce((sum, [, bytes]) => sum + bytes, 0),
    sum: parts.map(([what, bytes]) => `${what} ${kibibytes(bytes)}`).join(" + "),
  };
}

/** A limit that the process is above from its start. */
function checkHolds(
  limit: number | undefined,
  container: Partly<ContainerSettings>,
  path: readonly (string | number)[],
  tell: Tell,
) {
  const { bytes, sum } = atStart(container);
  if (limit !== undefined && limit < bytes)
    tell(
      path,
      `${kibibytes(limit)} cannot hold a Go process: before its first allocation it has ${kibibytes(bytes)} (${sum})`,
    );
}

const ABOVE_MAX = "where the process is killed: it would never slow anything down";

/** The highest memory.max that is ever in force; Infinity where there is none at some time, or none could be read. */
function highestMaxOf({ container, interventions }: Readable): number {
  return interventions.reduce(
    (highest, i) => (i?.do === "resize_container" ? Math.max(highest, i.memory_max ?? 0) : highest),
    container?.memory?.max ?? Number.POSITIVE_INFINITY,
  );
}

/** What is wrong with new limits of a container, by limit. `highestMax`: the highest memory.max they may meet. */
export function resizeFaults(
  limits: Partly<ContainerLimits>,
  container: Partly<ContainerSettings>,
  highestMax: number,
): Fault[] {
  const faults: Fault[] = [];
  const tell: Tell = (path, message, hint) => {
    faults.push(hint === undefined ? { path, message } : { path, message, hint });
  };
  const { memory_max, memory_high, cpu_limit } = limits;
  checkHolds(memory_max, container, ["memory_max"], tell);
  if (memory_high !== undefined) {
    if (container.cgroup === "v1")
      tell(["memory_high"], "cgroup v1 has no memory.high", "leave it out, or write `cgroup: v2`");
    if (memory_high > (memory_max ?? highestMax))
      tell(
        ["memory_high"],
        `is above ${memory_max === undefined ? "every `max`" : "`memory_max`"}, ${ABOVE_MAX}`,
      );
    checkHolds(memory_high, container, ["memory_high"], tell);
  }
  if (cpu_limit === undefined) return faults;
  const { cpu } = container;
  if (cpu === undefined)
    tell(["cpu_limit"], "the container starts without a CPU limit", "give it one: `container.cpu.limit`");
  else if (cpu.period !== undefined && cpu_limit * cpu.period < MIN_CFS_NS)
    tell(
      ["cpu_limit"],
      `is a quota of ${seconds(cpu_limit * cpu.period)} per ${seconds(cpu.period)}; the kernel takes 1ms at least`,
    );
  return faults;
}

/** A start-up that no process survives, or whose stages cannot be told apart. */
function checkStartup({ startup, container, raw }: Readable, highestMax: number, tell: Tell) {
  const written = isMapping(raw["startup"]) ? raw["startup"]["stages"] : undefined;
  unique(written, ["startup", "stages"], "start-up stage", tell);
  startup?.stages?.forEach((stage, i) => {
    if (stage?.object_size === undefined) return;
    const size = { kind: "constant", value: stage.object_size } as const;
    checkSize(size, stage.pointers, ["startup", "stages", i], tell, "object_size");
  });
  const prefault = startup?.prefault;
  if (prefault === undefined || container === undefined) return;
  const { bytes, sum } = atStart(container);
  if (prefault + bytes > highestMax)
    tell(
      ["startup", "prefault"],
      `${kibibytes(highestMax)} (\`container.memory.max\`) cannot hold it: with what a Go process has before its first allocation it is ${kibibytes(prefault + bytes)} (prefault ${kibibytes(prefault)} + ${sum})`,
    );
}

const hasNeighbours = (raw: Readable["raw"]): boolean =>
  isMapping(raw["machine"]) && raw["machine"]["neighbours"] !== undefined;

/** A machine that no process fits on beside the others, and protection from nobody. */
function checkNode({ machine, container, raw }: Readable, tell: Tell) {
  const { neighbours, memory, min_free, thp } = machine ?? {};
  const protection = container?.memory ?? {};
  for (const key of ["low", "min"] as const) {
    if (protection[key] === undefined) continue;
    const path = ["container", "memory", key];
    if (container?.cgroup === "v1")
      tell(path, `cgroup v1 has no memory.${key}`, `leave \`${key}\` out, or write \`cgroup: v2\``);
    else if (!hasNeighbours(raw))
      tell(
        path,
        "protects from others on the machine, and there are none",
        "give the machine `neighbours`: the group's own limits heed no protection",
      );
  }
  if (!hasNeighbours(raw)) {
    if (min_free !== undefined)
      tell(
        ["machine", "min_free"],
        "says when memory runs short, and it never does",
        "give the machine `neighbours`",
      );
    return;
  }
  if (raw["container"] === undefined)
    tell(
      ["machine", "neighbours"],
      "compete with a container for memory, and there is none",
      "write `container: {}` for one without limits",
    );
  if (machine?.numa !== undefined)
    tell(
      ["machine", "neighbours"],
      "on several NUMA nodes are not modelled",
      "leave out `numa` or `neighbours`",
    );
  if (machine?.page_size !== undefined && machine.page_size !== OS_PAGE_BYTES)
    tell(
      ["machine", "neighbours"],
      `with pages of ${kibibytes(machine.page_size)} are not modelled: watermarks are those of 4 KiB`,
      "leave out `page_size` or `neighbours`",
    );
  if (neighbours?.anon === undefined || memory === undefined || container === undefined) return;
  const minFree = min_free ?? defaultMinFreeBytes(memory, thp !== "never");
  const low = (watermarks(memory, minFree).lowPages + lowmemReservePages(memory)) * OS_PAGE_BYTES;
  const { bytes, sum } = atStart({ ...container, memory: { ...container.memory, binary: "charged" } });
  const others = (
    [
      ["kernel", neighbours.kernel ?? 0],
      ["neighbours' anon", neighbours.anon],
      ["their file", neighbours.file ?? 0],
      ["low watermark and reserve", low],
    ] as const
  ).filter(([, part]) => part > 0);
  const needed = others.reduce((all, [, part]) => all + part, bytes);
  if (needed > memory)
    tell(
      ["machine", "memory"],
      `${kibibytes(memory)} cannot hold what is there at the start: ${kibibytes(needed)} ` +
        `(${others.map(([what, part]) => `${what} ${kibibytes(part)}`).join(" + ")} + Go process ${kibibytes(bytes)}: ${sum})`,
    );
}

/** A container that no process fits in, or whose settings do nothing. */
function checkContainer(
  container: Partly<ContainerSettings>,
  raw: Readonly<Record<string, unknown>>,
  duration: number | undefined,
  asWritten: boolean,
  tell: Tell,
) {
  const at = (...path: (string | number)[]) => ["container", ...path];
  const { memory, cpu, restart, page_cache } = container;
  checkHolds(memory?.max, container, at("memory", "max"), tell);
  if (memory?.high !== undefined) {
    if (container.cgroup === "v1")
      tell(at("memory", "high"), "cgroup v1 has no memory.high", "leave `high` out, or write `cgroup: v2`");
    if (memory.max !== undefined && memory.high > memory.max)
      tell(at("memory", "high"), `is above \`max\`, ${ABOVE_MAX}`);
    checkHolds(memory.high, container, at("memory", "high"), tell);
  }
  if (cpu?.period !== undefined) {
    if (cpu.period < MIN_CFS_NS || cpu.period > 1e9)
      tell(at("cpu", "period"), "the kernel takes periods from 1ms to 1s");
    const quota = cpu.quota ?? (cpu.limit === undefined ? undefined : cpu.limit * cpu.period);
    if (quota !== undefined && quota < MIN_CFS_NS)
      tell(
        at("cpu", cpu.quota === undefined ? "limit" : "quota"),
        `is a quota of ${seconds(quota)} per ${seconds(cpu.period)}; the kernel takes 1ms at least`,
      );
  }
  if (restart?.policy === "always" && !mayEnd(raw))
    tell(at("restart", "policy"), "nothing ends the process: there is no `memory.max`");
  // Else a process that dies at its start would be started for ever at one moment.
  for (const key of ["backoff", "reset_after"] as const)
    if (restart?.[key] === 0) tell(at("restart", key), "must be longer than 0");
  const { backoff, max_backoff } = restart ?? {};
  if (backoff !== undefined && max_backoff !== undefined && max_backoff < backoff)
    tell(at("restart", "max_backoff"), `is shorter than the first back-off (${seconds(backoff)})`);
  const written = isMapping(raw["container"]) ? raw["container"]["page_cache"] : undefined;
  unique(written, ["container", "page_cache"], "page-cache load", tell);
  page_cache?.forEach((load, i) => {
    if (load === undefined) return;
    const { start, stop, file } = load;
    if (start !== undefined && stop !== undefined && stop <= start)
      tell(at("page_cache", i, "stop"), `is not after its start (${seconds(start)})`);
    if (asWritten && duration !== undefined && duration > 0 && start !== undefined && start >= duration)
      tell(at("page_cache", i, "start"), `is not before the end of the run (${seconds(duration)})`);
    if (file === 0) tell(at("page_cache", i, "file"), "must be larger than 0");
    if (file !== undefined && file > MAX_FILE_BYTES)
      tell(at("page_cache", i, "file"), "must be at most 64GiB: each of its pages is played");
  });
}

/**
 * Whether a memory.max is written somewhere, or others compete for the machine's memory, or something that cannot be read as
 * having none.
 */
function mayEnd(raw: Readonly<Record<string, unknown>>): boolean {
  const container = isMapping(raw["container"]) ? raw["container"] : {};
  const memory = container["memory"] ?? {};
  const interventions = Array.isArray(raw["interventions"]) ? raw["interventions"] : [];
  return (
    hasNeighbours(raw) ||
    !isMapping(memory) ||
    memory["max"] !== undefined ||
    interventions.some((item: unknown) => isMapping(item) && item["memory_max"] !== undefined)
  );
}

/** Names that would be confused, also by file systems that ignore case. */
function unique(items: unknown, path: readonly string[], what: string, tell: Tell, reserved: string[] = []) {
  if (!Array.isArray(items)) return;
  const seen = new Map<string, string>();
  items.forEach((item: unknown, i) => {
    const name = isMapping(item) ? item["name"] : undefined;
    if (typeof name !== "string") return;
    const key = name.toLowerCase();
    const other = seen.get(key);
    if (reserved.includes(key))
      tell([...path, i, "name"], `${tick(name)} is the name of the scenario without a ${what}`);
    else if (other === name)
      tell([...path, i, "name"], `a second ${what} called ${tick(name)}`, "names are unique");
    else if (other !== undefined)
      tell(
        [...path, i, "name"],
        `differs from ${tick(other)} by case only`,
        "some file systems cannot tell them apart",
      );
    else seen.set(key, name);
  });
}

/** One entry, as it is from `from` on. */
export function checkEntry(
  entry: WorkloadEntry,
  at: readonly (string | number)[],
  duration: number | undefined,
  from: number,
  asWritten: boolean,
): Fault[] {
  const faults: Fault[] = [];
  const tell: Tell = (path, message, hint) => {
    faults.push({ path: [...at, ...path], message, ...(hint === undefined ? {} : { hint }) });
  };
  const end = Math.min(entry.stop ?? Number.POSITIVE_INFINITY, duration ?? Number.POSITIVE_INFINITY);
  if (asWritten && duration !== undefined && duration > 0 && entry.start >= duration)
    tell(["start"], `is not before the end of the run (${seconds(duration)})`);
  if (entry.stop !== undefined && entry.stop <= entry.start)
    tell(["stop"], `is not after its start (${seconds(entry.start)})`);
  const activeSeconds = Number.isFinite(end) ? Math.max(0, end - Math.max(entry.start, from)) / 1e9 : 0;

  let objects = 0;
  let rateKey = "rate";
  switch (entry.kind) {
    case "stream":
    case "leak": {
      checkTick(entry.tick, duration, asWritten, tell);
      checkSize(entry.size, entry.pointers, [], tell);
      rateKey = entry.rate === undefined ? "byte_rate" : "rate";
      const perSecond = entry.rate ?? (entry.byte_rate ?? 0) / Math.max(1, meanOf(entry.size));
      objects = perSecond * activeSeconds;
      break;
    }
    case "service": {
      checkArrivals(entry.arrivals, tell);
      checkOwner(entry, tell);
      rateKey = "arrivals";
      objects = peakRate(entry.arrivals) * activeSeconds * (1 + perOwner(entry.objects));
      break;
    }
    case "batch": {
      checkOwner(entry, tell);
      if (entry.objects.length === 0 && isZero(entry.cpu) && isZero(entry.io) && isZero(entry.pause))
        tell(
          ["cpu"],
          "an item that computes, waits for and allocates nothing takes no time",
          "give cpu, io, pause or objects",
        );
      rateKey = "items";
      objects = (entry.items ?? 0) * perOwner(entry.objects);
      break;
    }
    case "cache": {
      checkTick(entry.tick, duration, asWritten, tell);
      checkGroups(entry.objects, tell);
      if (entry.ttl !== undefined && isZero(entry.ttl))
        tell(["ttl"], "must be longer than 0", "leave it out for no expiry");
      const entryBytes = entry.objects.reduce((sum, g) => sum + meanOf(g.count) * meanOf(g.size), 0);
      if (entry.max_bytes !== undefined && entry.max_bytes < entryBytes)
        tell(["max_bytes"], `no entry fits: one has about ${Math.round(entryBytes)} bytes`);
      rateKey = "requests";
      objects = entry.requests * activeSeconds * perOwner(entry.objects);
      break;
    }
    case "goroutines": {
      checkTick(entry.tick, duration, asWritten, tell);
      checkGroups(entry.objects, tell);
      checkStack(entry.stack, tell);
      if (entry.lifetime.until === "time" && isZero(entry.lifetime.dist))
        tell(["lifetime"], "a goroutine must live longer than 0", "leave it out for goroutines that stay");
      rateKey = "count";
      const mean = entry.lifetime.until === "time" ? meanOf(entry.lifetime.dist) : Number.POSITIVE_INFINITY;
      const generations = 1 + (activeSeconds * 1e9) / Math.max(mean, entry.tick);
      objects = entry.count * generations * (1 + perOwner(entry.objects));
      break;
    }
  }
  if (objects > MAX_OBJECTS)
    tell(
      [rateKey],
      `would allocate about ${objects.toExponential(1)} objects in this run`,
      `at most ${MAX_OBJECTS.toExponential(0)} can be simulated`,
    );
  return faults;
}

const perOwner = (groups: readonly ObjectGroup[]) => groups.reduce((sum, g) => sum + meanOf(g.count), 0);

function checkTick(tickNs: number, duration: number | undefined, asWritten: boolean, tell: Tell) {
  if (tickNs === 0) tell(["tick"], "must be longer than 0");
  else if (asWritten && duration !== undefined && duration > 0 && tickNs > duration)
    tell(["tick"], `is longer than the run (${seconds(duration)}): nothing would happen`);
}

function checkSize(
  size: Dist,
  pointers: Partly<ObjectGroup["pointers"]> | undefined,
  at: readonly (string | number)[],
  tell: Tell,
  key = "size",
) {
  if (isZero(size)) tell([...at, key], "an object of 0 bytes is not an allocation in Go");
  else if (
    pointers?.kind === "bytes" &&
    pointers.bytes !== undefined &&
    size.kind === "constant" &&
    pointers.bytes > size.value
  )
    tell(
      [...at, "pointers"],
      `the pointer part (${pointers.bytes}B) is larger than the object (${size.value}B)`,
    );
}

function checkGroups(groups: readonly ObjectGroup[], tell: Tell) {
  unique(groups, ["objects"], "group", tell);
  groups.forEach((group, i) => {
    checkSize(group.size, group.pointers, ["objects", i], tell);
  });
}

function checkStack(stack: Dist, tell: Tell) {
  if (stack.kind === "constant" && stack.value > MAX_STACK_BYTES)
    tell(["stack"], "Go ends the program when a stack passes 1 GB");
}

function checkOwner(
  entry: { readonly objects: readonly ObjectGroup[]; readonly stack: Dist; readonly arena_block: number },
  tell: Tell,
) {
  checkGroups(entry.objects, tell);
  checkStack(entry.stack, tell);
  if (entry.arena_block < MIN_ARENA_BLOCK_BYTES)
    tell(["arena_block"], `must be at least ${MIN_ARENA_BLOCK_BYTES} bytes`);
}

type Arrivals = Extract<WorkloadEntry, { kind: "service" }>["arrivals"];

function checkArrivals(a: Arrivals, tell: Tell) {
  const at = (...path: (string | number)[]) => ["arrivals", ...path];
  if (a.ramp?.over === 0) tell(at("ramp", "over"), "must be longer than 0", "for a jump use `steps`");
  a.steps?.forEach((step, i) => {
    const before = a.steps?.[i - 1];
    if (before !== undefined && step.at <= before.at)
      tell(at("steps", i, "at"), `is not after the step above it (${seconds(before.at)})`);
  });
  if (a.diurnal?.period === 0) tell(at("diurnal", "period"), "must be longer than 0");
  if (a.bursts !== undefined) {
    if (a.bursts.every === 0) tell(at("bursts", "every"), "must be longer than 0");
    if (a.bursts.length === 0) tell(at("bursts", "length"), "must be longer than 0");
    else if (a.bursts.length > a.bursts.every && a.bursts.every > 0)
      tell(at("bursts", "length"), `is longer than the time between bursts (${seconds(a.bursts.every)})`);
  }
}

const peakRate = (a: Arrivals) =>
  Math.max(a.rate, a.ramp?.to ?? 0, ...(a.steps ?? []).map((step) => step.rate)) *
  (1 + (a.diurnal?.amplitude ?? 0)) *
  Math.max(1, a.bursts?.factor ?? 1);
