/**
 * The scenario file format: this schema is the one source of its types, defaults, documentation and JSON Schema.
 *
 * A scenario describes one Go process: what it allocates (`workload`), its settings (`go`), the machine it runs on and
 * how long to watch. The *resolved* scenario (`Scenario`, the schema's output) has every default filled in and every
 * quantity as a plain number (bytes, nanoseconds, per second); it is what the simulator and the oracle both execute,
 * so the words here define both.
 *
 * Time in a workload advances in ticks where Go programs are driven by timers: at each `tick` a stream first drops
 * what has died and then allocates what has come due. Both sides do exactly that.
 */
import * as z from "zod";
import { type When, when } from "./conditions.ts";
import { countDist, type Dist, durationDist, objectBytes, readDist, sizeDist } from "./dist.ts";
import { isMapping, list, nearest, type Report, shown, spelled, tick } from "./faults.ts";
import {
  BYTES_PATTERN,
  bytes,
  bytesPerSecond,
  durationNs,
  parseBytes,
  ratePerSecond,
  readBytes,
  readDurationNs,
} from "./units.ts";

export type { Dist } from "./dist.ts";

/** The part of an object that holds pointers, which the collector must scan: it is the object's first bytes. */
export type PointerPart =
  | { readonly kind: "fraction"; readonly fraction: number }
  | { readonly kind: "bytes"; readonly bytes: number };

const POINTER_BYTES = 8;

const didYouMeanPointers = (value: number): string | undefined => {
  const meant = [
    ...(value % POINTER_BYTES === 0 ? [`"${value}B"`] : []),
    ...(value <= 100 ? [`"${value}%"`] : []),
  ];
  return meant.length === 0 ? undefined : `did you mean ${list(meant, "or")}?`;
};

const pointers = spelled<PointerPart>(
  {
    id: "Pointers",
    description:
      "The part of the object that holds pointers, its first bytes: a share (0 to 1, 50%) or a size (16B). 0 is noscan.",
    anyOf: [
      { type: "number", minimum: 0, maximum: 1 },
      { type: "string", pattern: "^\\d+(\\.\\d+)?\\s*(%|B|KiB|MiB|GiB|TiB)$" },
    ],
  },
  (value, report) => {
    const expected = 'a share of the object (0 to 1, "50%") or a size ("16B")';
    if (typeof value === "number") {
      if (value >= 0 && value <= 1) return { kind: "fraction", fraction: value };
      report(`expected ${expected}, got ${value}`, value > 1 ? didYouMeanPointers(value) : undefined);
      return undefined;
    }
    const text = typeof value === "string" ? value.trim() : "";
    const percent = /^(\d+(?:\.\d+)?)\s*%$/.exec(text);
    if (percent !== null && Number(percent[1]) <= 100)
      return { kind: "fraction", fraction: Number(percent[1]) / 100 };
    const size = parseBytes(text.slice(0, 100));
    if (size === undefined || size > Number.MAX_SAFE_INTEGER)
      report(`expected ${expected}, got ${shown(value)}`);
    else if (size % POINTER_BYTES !== 0)
      report(`a pointer is ${POINTER_BYTES} bytes: ${size}B is not a whole number of them`);
    else return { kind: "bytes", bytes: size };
    return undefined;
  },
);

/** How long an object lives: with its owner (request, cache entry, goroutine), forever, or for a time drawn at birth. */
export type Lifetime =
  | { readonly until: "owner" }
  | { readonly until: "forever" }
  | { readonly until: "time"; readonly dist: Dist };

/** The owners an object may live with, as the file calls them; `owner` is any of them. */
const OWNER_WORDS = ["owner", "request", "item", "entry", "goroutine"] as const;
type OwnerWord = (typeof OWNER_WORDS)[number];

const withArticle = (word: string) => `${/^[aeiou]/.test(word) ? "an" : "a"} ${word}`;

/** `owners`: the words for the owner that are right here; empty where an object belongs to nobody. */
function lifetime(id: string, owners: readonly OwnerWord[], what: string): z.ZodType<Lifetime, unknown> {
  const read = (value: unknown, report: Report): Lifetime | undefined => {
    if (typeof value !== "string" || /^\s*-?\s*\d/.test(value)) {
      const drawn = readDist(readDurationNs, value, report);
      return drawn && { until: "time", dist: drawn };
    }
    if (value === "forever") return { until: "forever" };
    if (owners.some((word) => word === value)) return { until: "owner" };
    const words = [...owners, "forever"];
    if (OWNER_WORDS.some((word) => word === value))
      report(
        owners.length === 0
          ? `${what} belongs to no ${value === "owner" ? "owner" : value}, so it cannot live until that ends`
          : `the owner here is ${withArticle(owners[0])}, not ${withArticle(value)}`,
        owners.length === 0
          ? 'give a duration ("100ms", {exponential: 1s}) or `forever`; objects of a service, batch, cache or goroutines have owners'
          : `did you mean ${tick(owners[0])}?`,
      );
    else {
      const near = nearest(value, words);
      report(
        `expected ${list(["a duration", ...words.map(tick)], "or")}, got ${shown(value)}`,
        near && `did you mean ${tick(near)}?`,
      );
    }
    return undefined;
  };
  return spelled(
    {
      id,
      description: `How long ${what} lives: ${owners.length === 0 ? "" : `\`${owners[0]}\` (with its owner), `}\`forever\`, or a duration drawn at its birth.`,
      anyOf: [{ enum: [...owners, "forever"] }, { $ref: "#/$defs/DurationDist" }],
    },
    read,
  );
}

const name = z
  .string()
  .regex(/^[a-zA-Z][a-zA-Z0-9_-]*$/, "expected a name (letters, digits, - and _, starting with a letter)")
  .max(64);

/** Says something about a key, after its default: the outermost type is the one JSON Schema describes. */
const describe = <T extends z.ZodType>(type: T, description: string): T => type.meta({ description }) as T;

/** Refinements look at a mapping even when some of its values are wrong, so that all faults are told at once. */
const onMapping = (payload: { value: unknown }) => isMapping(payload.value);

const exactlyOne = (a: string, b: string) => ({
  message: `give exactly one of \`${a}\` and \`${b}\``,
  path: [a],
  when: onMapping,
});

const hasExactlyOne = (a: unknown, b: unknown) => (a === undefined) !== (b === undefined);

/** Objects an owner (a request, a work item, a cache entry, a goroutine) allocates. */
const objectGroupOf = (owner: OwnerWord, words: readonly OwnerWord[]) =>
  z
    .strictObject({
      name: describe(
        name.optional(),
        "Shown in per-source figures. Default: the owner's name and the position.",
      ),
      count: describe(countDist.prefault(1), `How many per ${owner}.`),
      size: describe(sizeDist, "Requested bytes of one object."),
      pointers: pointers.prefault(0),
      lifetime: lifetime(`${owner}ObjectLifetime`, words, "an object").prefault(owner),
      allocator: describe(
        z.enum(["heap", "pool", "arena"]).default("heap"),
        "`heap`: new. `pool`: taken from a sync.Pool of this group and put back when the owner ends. `arena`: bump-allocated from the owner's arena block (64-byte aligned; `arena_block` sets its size), objects over 1 KiB or past its end fall back to the pool.",
      ),
    })
    .refine(
      (g) => g.allocator === "heap" || g.lifetime?.until === undefined || g.lifetime.until === "owner",
      {
        message: `objects from a pool or an arena go back when their owner ends: \`lifetime\` must be \`${owner}\``,
        path: ["lifetime"],
        when: onMapping,
      },
    )
    .refine((g) => g.allocator === "heap" || owner === "request" || owner === "item", {
      message: `a pool or an arena serves requests and work items; ${owner === "entry" ? "an entry" : `a ${owner}`} allocates from the heap`,
      path: ["allocator"],
      when: onMapping,
    });

/** Groups of one entry; each is a source of its own in the figures. */
const MAX_GROUPS = 32;

const requestObjects = objectGroupOf("request", ["request", "owner"]);
const itemObjects = objectGroupOf("item", ["item", "request", "owner"]);
const entryObjects = objectGroupOf("entry", ["entry", "owner"]);
const goroutineObjects = objectGroupOf("goroutine", ["goroutine", "owner"]);

const common = {
  name: describe(name, "How phases, variants and per-source figures call it."),
  start: describe(durationNs.prefault(0), "When it begins."),
  stop: describe(durationNs.optional(), "When it ends. Default: the end of the run."),
};

const tickOf = (text: string, what: string) => describe(durationNs.prefault(text), what);
const arenaBlock = describe(
  objectBytes.prefault("64KiB"),
  "Bytes of an owner's arena block, where a group's allocator is `arena`.",
);
const stackDepth = (of: string) => describe(sizeDist.prefault(0), `Stack bytes ${of} need at the deepest.`);

const stream = z
  .strictObject({
    kind: z.literal("stream"),
    ...common,
    rate: describe(ratePerSecond.optional(), "Objects per second."),
    byte_rate: describe(bytesPerSecond.optional(), "Requested bytes per second; give this or `rate`."),
    size: describe(sizeDist, "Requested bytes of one object."),
    pointers: pointers.prefault(0),
    lifetime: lifetime("StreamLifetime", [], "a stream's object"),
    tick: tickOf("1ms", "How often the stream's goroutine wakes to drop the dead and allocate what is due."),
    goroutines: describe(z.int().min(1).max(10_000).default(1), "Goroutines sharing the rate."),
  })
  .refine((s) => hasExactlyOne(s.rate, s.byte_rate), exactlyOne("rate", "byte_rate"))
  .meta({
    title: "stream",
    description: "Objects allocated at a rate, each living for a time drawn at its birth.",
  });

const leak = z
  .strictObject({
    kind: z.literal("leak"),
    ...common,
    rate: describe(ratePerSecond.optional(), "Objects per second."),
    byte_rate: describe(bytesPerSecond.optional(), "Requested bytes per second; give this or `rate`."),
    size: describe(sizeDist, "Requested bytes of one object."),
    pointers: pointers.prefault(0),
    tick: tickOf("1ms", "How often the leak's goroutine wakes to allocate what is due."),
  })
  .refine((s) => hasExactlyOne(s.rate, s.byte_rate), exactlyOne("rate", "byte_rate"))
  .meta({ title: "leak", description: "Objects allocated at a rate and never let go." });

const arrivals = z
  .strictObject({
    process: describe(
      z.enum(["poisson", "constant"]).default("poisson"),
      "Gaps between requests: exponential or all equal.",
    ),
    rate: describe(ratePerSecond, "Requests per second before any shape below."),
    ramp: describe(
      z.strictObject({ to: ratePerSecond, from: durationNs.prefault(0), over: durationNs }).optional(),
      "The rate moves linearly to `to`, beginning at `from`, taking `over`.",
    ),
    steps: describe(
      z
        .array(z.strictObject({ at: durationNs, rate: ratePerSecond }))
        .max(10_000)
        .optional(),
      "The rate jumps to `rate` at each time.",
    ),
    diurnal: describe(
      z
        .strictObject({
          period: durationNs,
          amplitude: describe(
            z.number().min(0).max(1),
            "Swing as a share of the mean: 0.8 is 20 % to 180 %.",
          ),
          peak_at: durationNs.prefault(0),
        })
        .optional(),
      "Multiplies by 1 + amplitude * cos(2π (t - peak_at) / period).",
    ),
    bursts: describe(
      z
        .strictObject({
          every: durationNs,
          length: durationNs,
          factor: describe(z.number().min(0).max(1e6), "0 is a pause."),
          first: durationNs.optional(),
        })
        .optional(),
      "Multiplies by `factor` for `length` every `every`, beginning at `first` (default: after one `every`).",
    ),
  })
  .meta({ description: "When requests come (an open loop: they do not wait for earlier ones)." });

const service = z
  .strictObject({
    kind: z.literal("service"),
    ...common,
    arrivals,
    cpu: describe(
      durationDist.prefault(0),
      "CPU time a request computes, beside its allocations; half before the wait, half after.",
    ),
    io: describe(durationDist.prefault(0), "Time a request waits without a P, in its middle."),
    stack: stackDepth("the handler's frames"),
    objects: describe(z.array(requestObjects).max(MAX_GROUPS).default([]), "What a request allocates."),
    arena_block: arenaBlock,
    concurrency: describe(
      z.int().min(1).optional(),
      "Requests served at once; others queue. Default: no bound.",
    ),
  })
  .meta({ title: "service", description: "Requests that arrive, each served by a goroutine of its own." });

const batch = z
  .strictObject({
    kind: z.literal("batch"),
    ...common,
    workers: describe(
      z.int().min(1).max(100_000).default(1),
      "Goroutines, each doing one item after another.",
    ),
    cpu: describe(
      durationDist.prefault(0),
      "CPU time an item computes, beside its allocations; half before the wait, half after.",
    ),
    io: describe(durationDist.prefault(0), "Time an item waits without a P, in its middle."),
    pause: describe(durationDist.prefault(0), "Idle time between two items of a worker."),
    stack: stackDepth("a worker's frames"),
    objects: describe(z.array(itemObjects).max(MAX_GROUPS).default([]), "What an item allocates."),
    arena_block: arenaBlock,
    items: describe(z.int().min(1).optional(), "Items to do in all; the workers then end. Default: no end."),
  })
  .meta({ title: "batch", description: "Workers in a closed loop, one item after another." });

const cache = z
  .strictObject({
    kind: z.literal("cache"),
    ...common,
    requests: describe(ratePerSecond, "Look-ups per second; a miss inserts the entry."),
    keys: describe(z.int().min(1).max(50_000_000), "Distinct keys asked for."),
    skew: describe(z.number().min(0).max(3).default(0), "Zipf exponent of key popularity; 0 is uniform."),
    max_entries: describe(z.int().min(1).optional(), "Bound on entries; give this or `max_bytes`."),
    max_bytes: describe(bytes.optional(), "Bound on the sum of requested bytes; give this or `max_entries`."),
    ttl: describe(durationDist.optional(), "Entries older than this are dropped. Default: none are."),
    replacement: describe(z.enum(["lru", "random"]).default("lru"), "Which entry makes room."),
    objects: describe(
      z.array(entryObjects).min(1).max(MAX_GROUPS),
      "What one entry is made of; `lifetime: entry` (default) lives while the entry is cached.",
    ),
    prefill: describe(z.boolean().default(false), "Fill to the bound at the start."),
    tick: tickOf("1ms", "How often the cache's goroutine wakes to do the look-ups that are due."),
  })
  .refine((c) => hasExactlyOne(c.max_entries, c.max_bytes), exactlyOne("max_entries", "max_bytes"))
  .meta({ title: "cache", description: "Entries that live until they are evicted, expire or the run ends." });

const goroutines = z
  .strictObject({
    kind: z.literal("goroutines"),
    ...common,
    count: describe(z.int().min(0).max(2_000_000), "Goroutines alive, each parked most of the time."),
    stack: stackDepth("each one's frames"),
    lifetime: describe(
      lifetime("GoroutineLifetime", [], "a goroutine").prefault("forever"),
      "How long a goroutine lives; one that ends is replaced.",
    ),
    objects: describe(
      z.array(goroutineObjects).max(MAX_GROUPS).default([]),
      "What each holds while it lives (`lifetime: goroutine`).",
    ),
    tick: tickOf("10ms", "How often the manager wakes to end and replace goroutines that are due."),
  })
  .meta({ title: "goroutines", description: "A population of parked goroutines." });

/** One source of allocation. */
export const workloadEntry = z.discriminatedUnion("kind", [stream, leak, service, batch, cache, goroutines]);

/**
 * What a phase cannot change: an entry's identity and the machinery that is built once, at its start.
 * Everything else (rates, sizes, lifetimes, counts, bounds, objects) holds from the phase on.
 */
export const FIXED_IN_PHASES: readonly string[] = [
  "name",
  "kind",
  "start",
  "stop",
  "tick",
  "goroutines",
  "keys",
  "replacement",
  "prefill",
];

export const GO_VERSIONS = ["1.19", "1.20", "1.21", "1.22", "1.23", "1.24", "1.25", "1.26"] as const;

const isGoVersion = (text: string): text is GoVersion => GO_VERSIONS.some((v) => v === text);

const goVersion = spelled<GoVersion>(
  {
    id: "GoVersion",
    description: "The Go release whose runtime is modelled.",
    // A number is what YAML makes of an unquoted 1.26 (and of 1.20, which it calls 1.2).
    anyOf: [{ enum: [...GO_VERSIONS] }, { type: "number", enum: GO_VERSIONS.map(Number) }],
  },
  (value, report) => {
    const spelling = typeof value === "number" ? GO_VERSIONS.find((v) => Number(v) === value) : String(value);
    if (spelling !== undefined && isGoVersion(spelling)) return spelling;
    const release = typeof value === "string" ? /^(?:go)?(1\.\d\d)(?:\.\d+)?$/.exec(value)?.[1] : undefined;
    report(
      `expected a Go release from ${GO_VERSIONS[0]} to ${GO_VERSIONS[GO_VERSIONS.length - 1]}, got ${shown(value)}`,
      release !== undefined && isGoVersion(release)
        ? `did you mean "${release}"? the model knows minor releases only`
        : undefined,
    );
    return undefined;
  },
);

const MAX_GOGC = 1_000_000;

export const gogc = spelled<number | "off">(
  {
    id: "GOGC",
    description: "Heap growth in percent that starts a collection, or `off`.",
    anyOf: [{ const: "off" }, { const: false }, { type: "integer", minimum: 0, maximum: MAX_GOGC }],
  },
  (value, report) => {
    // YAML 1.1 reads `off` as false, and some editors rewrite it so.
    if (value === "off" || value === false) return "off";
    if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= MAX_GOGC) return value;
    let hint: string | undefined;
    if (typeof value === "number" && value < 0) hint = "to turn the collector off write `GOGC: off`";
    else if (typeof value === "string" && /^\d+\s*%?$/.test(value.trim()))
      hint = `did you mean ${Number.parseInt(value, 10)}, a plain number?`;
    else if (typeof value === "string" && nearest(value, ["off"]) !== undefined) hint = "did you mean `off`?";
    report(`expected a whole number from 0 to ${MAX_GOGC} or \`off\`, got ${shown(value)}`, hint);
    return undefined;
  },
);

/** A smaller GOMEMLIMIT without a unit lacks its unit. */
const MIN_BARE_LIMIT_BYTES = 1 << 16;

export const gomemlimit = spelled<number | "off">(
  {
    id: "GOMEMLIMIT",
    description:
      "Soft limit on all memory of the runtime, Sys less HeapReleased (bytes in Go's spelling: 512MiB), or `off`.",
    anyOf: [
      { const: "off" },
      { const: false },
      { type: "integer", minimum: 0 },
      { type: "string", pattern: BYTES_PATTERN },
    ],
    examples: ["512MiB", "off"],
  },
  (value, report) => {
    if (value === "off" || value === false) return "off";
    if (typeof value === "string" && !/\d/.test(value)) {
      report(
        `expected a size such as "512MiB" or \`off\`, got ${shown(value)}`,
        nearest(value, ["off"]) === undefined ? undefined : "did you mean `off`?",
      );
      return undefined;
    }
    const limit = readBytes(value, report);
    // Go takes it, as bytes, and collects without end. 0 says so on purpose.
    if (limit === undefined || limit === 0 || limit >= MIN_BARE_LIMIT_BYTES || !/^\d+$/.test(String(value)))
      return limit;
    report(
      `${shown(value)} is ${limit} bytes, less than any Go program takes`,
      `did you mean "${limit}MiB"?`,
    );
    return undefined;
  },
);

/** runtime.MemProfileRate unless it is set. */
const DEFAULT_MEM_PROFILE_RATE = 512 * 1024;

const godebugSwitch = z.int().min(0).max(1);

/** GODEBUG settings that move memory; what the others do (traces, checks, older behaviour) is not modelled. */
export const godebug = z
  .strictObject({
    madvdontneed: describe(
      godebugSwitch.default(1),
      "0: memory is given back by MADV_FREE. HeapReleased counts it at once, but it stays resident until a container near its limit, a machine short of memory (`machine.neighbours`), or its next use takes it.",
    ),
    disablethp: describe(
      godebugSwitch.default(0),
      "1: the heap is never backed by transparent huge pages, whatever `machine.thp` says (Go 1.21.6 and later).",
    ),
    updatemaxprocs: describe(
      godebugSwitch.default(1),
      "0: GOMAXPROCS stays what it was at the start when the container's CPU limit changes (Go 1.25 and later look at it each second).",
    ),
    memprofilerate: describe(
      z
        .int()
        .min(0)
        .max(2 ** 31 - 1)
        .default(DEFAULT_MEM_PROFILE_RATE),
      "runtime.MemProfileRate: mean bytes allocated between two samples of the heap profile. 1 samples every object (slow, and memory for each), 0 none.",
    ),
  })
  .meta({ description: "GODEBUG, as a mapping of its settings." });

const hypothetical = z
  .strictObject({
    arenascale: describe(
      z.int().min(1).max(1024),
      "Arenas of 64 MiB that the heap's first growth reserves for each one it needs. 1 is Go as it is.",
    ),
  })
  .meta({ description: "Settings of a runtime that does not exist." });

export const goSettings = z
  .strictObject({
    version: goVersion.prefault("1.26"),
    GOGC: gogc.prefault(100),
    GOMEMLIMIT: gomemlimit.prefault("off"),
    GOMAXPROCS: describe(
      z.int().min(1).max(1024).optional(),
      "Ps: goroutines that run at once. Default: machine.cpus; from Go 1.25 on in a container at most its CPU limit, rounded up, but 2 at least, and again whenever that changes.",
    ),
    GODEBUG: godebug.prefault({}),
    hypothetical: describe(
      hypothetical.optional(),
      "Settings that no Go release has, to see what they would do. Outputs name them as hypothetical; the real program cannot play them. Default: none.",
    ),
  })
  .meta({ description: "The Go runtime's settings, under their own names." });

const PAGE_SIZES = [4096, 16384, 65536] as const;
const PAGE_SIZE_NAMES: readonly string[] = PAGE_SIZES.map((n) => `${n / 1024}KiB`);

const pageSize = spelled<(typeof PAGE_SIZES)[number]>(
  {
    id: "PageSize",
    description: "The kernel's page: 4KiB on amd64; an arm64 kernel can also have 16KiB or 64KiB.",
    enum: [...PAGE_SIZE_NAMES, ...PAGE_SIZES],
  },
  (value, report) => {
    const size = typeof value === "string" ? parseBytes(value.slice(0, 100)) : value;
    const page = PAGE_SIZES.find((n) => n === size);
    if (page === undefined) report(`expected ${list(PAGE_SIZE_NAMES, "or")}, got ${shown(value)}`);
    return page;
  },
);

const khugepaged = z
  .strictObject({
    max_ptes_none: describe(
      z.int().min(0).max(511).default(511),
      "A block of 512 pages is made huge if no more than so many of them are missing.",
    ),
    pages_to_scan: describe(z.int().min(512).default(4096), "Pages it looks at before it sleeps."),
    scan_sleep: describe(durationNs.prefault("10s"), "How long it sleeps (scan_sleep_millisecs)."),
  })
  .meta({ description: "The kernel thread that makes huge pages of small ones; Linux's own settings." });

const numa = z
  .strictObject({
    nodes: describe(z.int().min(2).max(64), "NUMA nodes of the machine."),
    cpu_nodes: describe(
      z.int().min(1).max(64).optional(),
      "Nodes that the process's CPUs are on: 1 is a process pinned to a node (numactl --cpunodebind, Kubernetes' single-numa-node). Default: all.",
    ),
    policy: describe(
      z.enum(["first_touch", "interleave", "bind"]).default("first_touch"),
      "Where a page goes at its first touch: the node of the CPU that touches it, every node by turns, or one node (`bind_node`).",
    ),
    bind_node: describe(z.int().min(0).max(63).default(0), "The node of `policy: bind`, from 0."),
    remote_ratio: describe(
      z.number().min(1).max(10).default(1.7),
      "Time of an access to another node's memory over that to the own one's. Not measured: two-socket servers have 1.5 to 2.2.",
    ),
    memory_bound: describe(
      z.number().min(0).max(1).default(0.6),
      "Share of marking that waits for memory, and so gets slower. An assumption, not measured.",
    ),
  })
  .meta({
    description: "Several nodes, each with CPUs and memory of its own. Its costs are the scenario's to set.",
  });

const neighboursAnon = "Memory of theirs that reclaim cannot take: there is no swap.";
const neighboursReads = "Bytes of files they read per second, each byte once (backups, scans, image pulls).";

/** Everything on the machine but the container; see os/node.ts. */
const neighbours = z
  .strictObject({
    kernel: describe(
      bytes.prefault(0),
      "Memory of the kernel and of what is never killed: neither reclaimed nor given back.",
    ),
    anon: describe(bytes, neighboursAnon),
    file: describe(
      bytes.prefault(0),
      "Page cache of theirs, which reclaim takes like the container's own. Nobody reads it again.",
    ),
    reads: describe(bytesPerSecond.prefault("0B/s"), neighboursReads),
    oom_score_adj: describe(
      z.int().min(-1000).max(1000).default(0),
      "Of the one process that holds `anon`: added to its OOM score in thousandths of the machine's memory; -1000: never killed.",
    ),
  })
  .meta({
    description:
      "What else is on the machine. With it memory runs short below the kernel's watermarks: page cache is reclaimed from all, and then the worst process killed.",
  });

export const machine = z
  .strictObject({
    cpus: describe(z.int().min(1).max(1024).default(2), "CPUs the process may use."),
    memory: describe(
      bytes.prefault("16GiB"),
      "Memory of the machine, without swap: what /proc/PID/oom_score is a share of. It runs short only where `neighbours` are given.",
    ),
    neighbours: describe(
      neighbours.optional(),
      "Other processes that compete for `memory` with the container. Default: none, memory never runs short.",
    ),
    min_free: describe(
      bytes.optional(),
      "vm.min_free_kbytes, from which the watermarks follow, with `neighbours`. Default: as the kernel sets it, sqrt(16 KiB * memory), or 22 MiB per zone where huge pages are on.",
    ),
    page_size: pageSize.prefault("4KiB"),
    thp: describe(
      z.enum(["always", "madvise", "never"]).default("madvise"),
      "Transparent huge pages of 2 MiB (/sys/kernel/mm/transparent_hugepage/enabled): everywhere, where the program asks for them (Go does for its heap up to 1.20), or nowhere.",
    ),
    khugepaged: khugepaged.prefault({}),
    numa: describe(numa.optional(), "NUMA nodes. Default: one node, all memory alike."),
  })
  .meta({ description: "What the process runs on." });

const startupStage = z
  .strictObject({
    name: describe(name, "What is set up: tls, pool, modules."),
    io: describe(durationNs.prefault(0), "Time it waits without a P: connections, files."),
    cpu: describe(durationNs.prefault(0), "CPU time it computes, its allocations apart."),
    memory: describe(bytes.prefault(0), "Requested bytes it allocates and keeps."),
    object_size: describe(objectBytes.prefault("1KiB"), "Requested bytes of one of these objects."),
    pointers: pointers.prefault(0),
  })
  .meta({ description: "A part of the start-up: it waits, allocates, computes." });

/** What a process does before it serves. */
export const startup = z
  .strictObject({
    stages: describe(z.array(startupStage).max(100).default([]), "One after another, on the main goroutine."),
    prefault: describe(
      bytes.optional(),
      "Before the stages the program makes heap of this size resident in one go (an object populated by madvise, then freed by runtime.GC). Default: none.",
    ),
    early_requests: describe(
      z.enum(["wait", "elsewhere"]).default("wait"),
      "Requests that come before it is ready: `wait` (in the listen queue; their latency counts from their arrival) or `elsewhere` (a readiness probe keeps them away).",
    ),
    first_requests: describe(
      z.int().min(1).max(1_000_000).default(100),
      "Latencies of each service's first so many requests are told apart from the rest.",
    ),
  })
  .meta({ description: "The process's cold start; the workload starts when it is over." });

const pageCacheLoad = z
  .strictObject({
    name: describe(name, "Tells one load from another."),
    rate: describe(bytesPerSecond, "Bytes of files read (or written) per second."),
    file: describe(
      bytes.optional(),
      "Size of the file whose random places are read, so that pages are met again. Default: every byte is read once (logs, backups, scans).",
    ),
    start: describe(durationNs.prefault(0), "When it begins."),
    stop: describe(durationNs.optional(), "When it ends. Default: the end of the run."),
  })
  .meta({ description: "File access that fills the container's page cache." });

/** The kernel accepts quotas and periods from 1 ms on (tg_set_cfs_bandwidth). */
export const MIN_CFS_NS = 1e6;

const containerCpu = z
  .strictObject({
    limit: describe(
      z.number().min(0.01).max(1024).optional(),
      "CPUs, as Kubernetes' limits.cpu: `quota` is as many periods. Give this or `quota`.",
    ),
    quota: describe(durationNs.optional(), "CPU time the process may use per period, on all CPUs together."),
    period: describe(durationNs.prefault("100ms"), "How often the quota is renewed."),
  })
  .refine((c) => hasExactlyOne(c.limit, c.quota), exactlyOne("limit", "quota"))
  .meta({
    description:
      "CPU bandwidth (cpu.max): when the quota is used up, all threads stop until the period ends.",
  });

/** The control group the process runs in. */
export const containerSettings = z
  .strictObject({
    cgroup: describe(z.enum(["v1", "v2"]).default("v2"), "Version of the control group interface."),
    memory: describe(
      z
        .strictObject({
          max: describe(
            bytes.optional(),
            "memory.max (v1: memory.limit_in_bytes): above it the page cache is reclaimed, and then the process killed. Default: none.",
          ),
          high: describe(
            bytes.optional(),
            "memory.high: above it threads that allocate are slowed down, up to 2 s per 256 KiB. Only v2. Default: none.",
          ),
          low: describe(
            bytes.optional(),
            "memory.low: a usage up to here is not reclaimed for others on the machine (`machine.neighbours`) while they have anything to reclaim; of a usage above it only a part. Only v2. Default: none.",
          ),
          min: describe(
            bytes.optional(),
            "memory.min (Kubernetes' MemoryQoS: the request): the same, and not given up before the OOM killer is called. Only v2. Default: none.",
          ),
          binary: describe(
            z.enum(["shared", "charged"]).default("shared"),
            "Whether the resident pages of the program's file count here. They do where they were read first: `shared` says in another group (the image was pulled, or another pod runs it).",
          ),
        })
        .prefault({}),
      "What the group's memory controller allows.",
    ),
    off_heap: describe(
      bytes.optional(),
      "Resident anonymous memory of the process that Go's statistics do not know (cgo, mmap), from its start on. Default: none.",
    ),
    cpu: describe(containerCpu.optional(), "CPU quota. Default: none."),
    page_cache: describe(
      z.array(pageCacheLoad).max(100).default([]),
      "Files the process reads and writes beside its heap; their cached pages count in the container's memory.",
    ),
    oom_score_adj: describe(
      z.int().min(-999).max(1000).default(0),
      "Shown in the kernel's log, and added to the process's OOM score in thousandths of the limit.",
    ),
    restart: describe(
      z
        .strictObject({
          policy: describe(
            z.enum(["never", "always"]).default("never"),
            "After an OOM kill: `never` ends the run; `always` starts the process again, cold.",
          ),
          backoff: describe(
            durationNs.prefault("10s"),
            "Wait before a restart; doubled each time. As with the kubelet, the first restart comes at once.",
          ),
          max_backoff: describe(durationNs.prefault("5m"), "The longest wait."),
          reset_after: describe(
            durationNs.prefault("10m"),
            "A process that has lived so long begins anew with the waits.",
          ),
        })
        .prefault({}),
      "What happens after a kill.",
    ),
  })
  .meta({ description: "The container: memory limits, CPU quota, page cache, restarts." });

/** When the program calls something: the code that does is its own, so it takes a living process. */
const callTiming = {
  at: describe(
    durationNs.optional(),
    "When, on the run's clock; give this or `when`. A process that is down then misses it, and one that starts later does not make up for it.",
  ),
  when: describe(
    when.optional(),
    "On what condition (a list: all must hold); give this or `at`. The program looks itself: once in each of its lives.",
  ),
  every: describe(
    durationNs.optional(),
    "Repeat with this period, from `at` or from when the condition was met.",
  ),
};

/** When an operator does something, who goes by the run's clock and needs no living process. */
const operatorTiming = {
  at: describe(durationNs.optional(), "When, whether or not a process lives then; give this or `when`."),
  when: describe(
    when.optional(),
    "On what condition (a list: all must hold), once in the run; give this or `at`.",
  ),
  every: callTiming.every,
};

/** New limits of a running container: those that are given change. */
const containerLimits = {
  memory_max: describe(
    bytes.optional(),
    "memory.max from now on. Below the usage page cache is reclaimed; if that is not enough cgroup v2 kills the process, and v1 refuses the limit (EBUSY).",
  ),
  memory_high: describe(bytes.optional(), "memory.high from now on. Only v2."),
  cpu_limit: describe(
    z.number().min(0.01).max(1024).optional(),
    "CPUs from now on; the period stays. The container must have a CPU limit from its start.",
  ),
};

const resize = {
  do: describe(
    z.literal("resize_container"),
    "An operator changes the container's limits in place, as Kubernetes resizes a pod: once, also while the process is down, and for the lives that follow.",
  ),
  ...containerLimits,
};

const changesALimit = <T extends z.ZodType<{ [Limit in keyof typeof containerLimits]?: number | undefined }>>(
  type: T,
) =>
  type.refine(
    (i) =>
      Object.keys(containerLimits).some((limit) => i[limit as keyof typeof containerLimits] !== undefined),
    {
      message: "changes no limit: give `memory_max`, `memory_high` or `cpu_limit`",
      when: onMapping,
    },
  );

/** The same by hand, now. */
export const resizeContainer = changesALimit(z.strictObject(resize));

const neighboursChange = {
  do: describe(
    z.literal("set_neighbours"),
    "What else is on the machine takes other memory from then on (`machine.neighbours`); what is not given stays as it is.",
  ),
  anon: describe(bytes.optional(), neighboursAnon),
  reads: describe(bytesPerSecond.optional(), neighboursReads),
  over: describe(durationNs.prefault(0), "Time in which `anon` gets there, evenly."),
};

const changesNeighbours = [
  (i: { anon?: number | undefined; reads?: number | undefined }) =>
    i.anon !== undefined || i.reads !== undefined,
  { message: "changes nothing: give `anon` or `reads`", when: onMapping },
] as const;

/** The same by hand, now. */
export const setNeighbours = z.strictObject(neighboursChange).refine(...changesNeighbours);

/** Does something to the runtime, to its container or to what else is on the machine, at a time or on a condition. */
export const intervention = z
  .discriminatedUnion("do", [
    z.strictObject({
      do: describe(
        z.enum(["gc", "read_mem_stats", "free_os_memory"]),
        "`gc`: runtime.GC(). `read_mem_stats`: runtime.ReadMemStats(), which stops the world and flushes the caches of all Ps. `free_os_memory`: debug.FreeOSMemory(), a collection after which everything free is given back.",
      ),
      ...callTiming,
    }),
    z.strictObject({
      do: describe(z.literal("set_gc_percent"), "debug.SetGCPercent(to)."),
      to: gogc,
      ...callTiming,
    }),
    z.strictObject({
      do: describe(z.literal("set_memory_limit"), "debug.SetMemoryLimit(to)."),
      to: gomemlimit,
      ...callTiming,
    }),
    z.strictObject({
      do: describe(
        z.literal("set_gomaxprocs"),
        "runtime.GOMAXPROCS(to), which stops the world once no collection is under way; Go no longer follows the CPU limit then.",
      ),
      to: describe(z.int().min(1).max(1024), "Ps from then on."),
      ...callTiming,
    }),
    changesALimit(z.strictObject({ ...resize, ...operatorTiming })),
    z.strictObject({ ...neighboursChange, ...operatorTiming }).refine(...changesNeighbours),
  ])
  .refine((i) => hasExactlyOne(i.at, i.when), exactlyOne("at", "when"));

const gogcBounds = {
  min: describe(z.int().min(1).max(MAX_GOGC).default(25), "GOGC never goes below this."),
  max: describe(z.int().min(1).max(MAX_GOGC).default(500), "GOGC never goes above this."),
};

/** What a program does about its own memory, all the time. */
export const policy = z
  .discriminatedUnion("kind", [
    z
      .strictObject({
        kind: z.literal("adaptive_gogc"),
        window: describe(z.int().min(1).max(1000).default(5), "Cycles of the moving average."),
        rise: describe(
          z.number().min(0).default(1.3),
          "Bytes allocated in a cycle over their average: above this GOGC shrinks.",
        ),
        fall: describe(z.number().min(0).default(0.5), "Below this GOGC grows."),
        shrink: describe(z.number().min(0.01).max(1).default(0.8), "GOGC is multiplied by this."),
        grow: describe(z.number().min(1).max(100).default(1.2), "GOGC is multiplied by this."),
        ...gogcBounds,
      })
      .meta({
        title: "adaptive_gogc",
        description: "GOGC follows how much a cycle allocates against the last ones.",
      }),
    z
      .strictObject({
        kind: z.literal("threshold_tuner"),
        target: describe(bytes, "The heap that every cycle's goal is to be: GOGC = (target - live) / live."),
        ...gogcBounds,
      })
      .meta({
        title: "threshold_tuner",
        description: "GOGC is set after each cycle so that the goal is a given size.",
      }),
    z
      .strictObject({
        kind: z.literal("square_root_heap"),
        factor: describe(
          z.number().min(1e-6).max(1e6).default(30),
          "Extra heap = factor * sqrt(live * allocation rate / mark rate * 1 MiB).",
        ),
        ...gogcBounds,
      })
      .meta({
        title: "square_root_heap",
        description:
          "Extra heap grows with the square root of the live heap: memory goes where it saves most marking.",
      }),
    z
      .strictObject({
        kind: z.literal("ballast"),
        size: describe(
          objectBytes,
          "A pointer-free object that is never written: it raises the goal and takes no resident memory.",
        ),
      })
      .meta({ title: "ballast", description: "Go programs' way to a larger heap goal before Go 1.19." }),
    z
      .strictObject({
        kind: z.literal("breaker"),
        service: describe(name, "The service that sheds load."),
        when: describe(when, "What trips it: a condition, or a list of them that must all hold."),
        shed: describe(z.number().min(0).max(1).default(0.5), "Share of arrivals refused while it is open."),
        open_for: describe(
          durationNs.prefault("30s"),
          "How long it stays open after the condition was last met.",
        ),
      })
      .meta({
        title: "breaker",
        description: "Refuses part of a service's requests while a condition holds.",
      }),
  ])
  .meta({ description: "What the program does about its own memory while it runs." });

const settings = describe(
  z.record(z.string(), z.unknown()),
  "Paths into the scenario and their values: `workload.NAME.field`, `go.GOGC`. A value of null goes back to the default.",
);

/** From `at`, or from when `when` is met, the named settings hold: paths into the scenario, `workload.NAME.field`. */
const phase = z
  .strictObject({
    at: describe(
      durationNs.optional(),
      "When the settings change, whether or not a process lives then; give this or `when`. Objects already alive keep their lifetimes.",
    ),
    when: describe(
      when.optional(),
      "On what condition (a list: all must hold), once in the run; give this or `at`. The entries become what this phase and those above it make of them.",
    ),
    name: describe(
      z.string().max(200).optional(),
      "What figures, thresholds and the report call the stretch from here to the next phase.",
    ),
    set: settings,
  })
  .refine((p) => hasExactlyOne(p.at, p.when), exactlyOne("at", "when"));

const variant = z.strictObject({ name: describe(name, "Names its part of the output."), set: settings });

const seed = spelled<number | string>(
  {
    id: "Seed",
    description: "Any whole number or text; the same seed gives the same run.",
    type: ["integer", "string"],
  },
  (value, report) => {
    if (typeof value === "number" && Number.isSafeInteger(value)) return value;
    if (typeof value === "string" && value.length > 0 && value.length <= 200) return value;
    report(`expected a whole number or a short text, got ${shown(value)}`);
    return undefined;
  },
);

/** One expression or a list of them; what they mean depends on the metric and the scenario (thresholds.ts). */
export const thresholdExpressions = spelled<readonly string[]>(
  {
    id: "Threshold",
    description:
      "What a metric must keep to, `AGGREGATE COMPARISON VALUE`, or a list of such: max < 900MiB, p95 < 20ms, count == 0. Over samples: min, max, mean, med, p95 (any percentile), last; over pauses and latencies: max, mean, med, p95, count; of a figure: value, count.",
    anyOf: [{ type: "string" }, { type: "array", items: { type: "string" }, minItems: 1, maxItems: 20 }],
    examples: ["max < 900MiB", ["p95 < 20ms", "p99.9 < 100ms"]],
  },
  (value, report) => {
    const items: readonly unknown[] = Array.isArray(value) ? value : [value];
    if (items.length === 0 || items.length > 20) report(`expected 1 to 20 expressions, got ${items.length}`);
    items.forEach((item, i) => {
      if (typeof item !== "string")
        report(
          `expected an expression such as "max < 900MiB", got ${shown(item)}`,
          undefined,
          Array.isArray(value) ? [i] : [],
        );
    });
    return items.filter((item) => typeof item === "string");
  },
);

export const scenarioFile = z
  .strictObject({
    name: describe(name, "Names the output folder."),
    description: describe(z.string().max(10_000).default(""), "One or two sentences for the report."),
    duration: describe(durationNs, "Virtual time to run."),
    seed: seed.prefault(1),
    sample_interval: describe(durationNs.prefault("100ms"), "Time between two rows of timeseries.csv."),
    layers: describe(
      z.boolean().optional(),
      "Write layers.csv: at each sample what page tables, NUMA nodes, the control group, Go, what is beside it, and the objects of each source hold. Default: no.",
    ),
    go: goSettings.prefault({}),
    machine: machine.prefault({}),
    container: describe(
      containerSettings.optional(),
      "The control group the process runs in. Default: none, no limits.",
    ),
    startup: describe(startup.optional(), "What the process does before it serves. Default: nothing."),
    workload: describe(z.array(workloadEntry).min(1).max(1000), "The sources of allocation, all at once."),
    phases: describe(
      z.array(phase).max(1000).default([]),
      "Changes of the workload during the run, in order of time. Each comes once, and holds for the lives of the process that follow.",
    ),
    interventions: describe(
      z.array(intervention).max(1000).default([]),
      "Things the program makes the runtime do, an operator the container, and others the machine.",
    ),
    policies: describe(
      z.array(policy).max(100).default([]),
      "What the program does about its own memory, all the time.",
    ),
    thresholds: describe(
      z.record(z.string(), thresholdExpressions).optional(),
      "What the run must keep to, by metric: a column of timeseries.csv, a figure of summary.json, `pause_ns`, `latency_ns` or `NAME_latency_ns`; of a phase `METRIC@PHASE`, such as `rss_bytes@doubled` (`start` is before the first). A breach has an exit status of its own.",
    ),
    variants: describe(
      z.array(variant).max(100).default([]),
      "Named overrides (`set`) that run side by side with the scenario itself.",
    ),
  })
  .meta({
    title: "gomemsim scenario",
    description: "One Go process: what it allocates, its settings, its machine and how long to watch.",
  });

export type ScenarioFile = z.output<typeof scenarioFile>;
export type ObjectGroup = z.output<typeof requestObjects>;
export type WorkloadEntry = z.output<typeof workloadEntry>;
export type Stream = z.output<typeof stream>;
export type Leak = z.output<typeof leak>;
export type Service = z.output<typeof service>;
export type Batch = z.output<typeof batch>;
export type Cache = z.output<typeof cache>;
export type Goroutines = z.output<typeof goroutines>;
export type Arrivals = z.output<typeof arrivals>;
export type GoVersion = (typeof GO_VERSIONS)[number];
export type ContainerSettings = z.output<typeof containerSettings>;
export type Intervention = z.output<typeof intervention>;
/** What an operator does to the container. */
export type OperatorAction = Extract<Intervention, { do: "resize_container" }>;
/** What others on the machine do. */
export type NeighboursAction = Extract<Intervention, { do: "set_neighbours" }>;
/** What the program calls. */
export type ProgramCall = Exclude<Intervention, OperatorAction | NeighboursAction>;
/** What `resize_container` may change. */
export type ContainerLimits = Pick<OperatorAction, "memory_max" | "memory_high" | "cpu_limit">;
export type Godebug = z.output<typeof godebug>;
export type Startup = z.output<typeof startup>;
export type Machine = z.output<typeof machine>;
export type Policy = z.output<typeof policy>;

/** A phase with its paths applied: from `at` or when `when` is met, entry number `index` of the workload is `entry`. */
export interface ResolvedPhase {
  readonly at?: number | undefined;
  readonly when?: When | undefined;
  readonly name: string;
  readonly changes: readonly { readonly index: number; readonly entry: WorkloadEntry }[];
}

/**
 * What both machines run: one variant of a scenario file, defaults filled in, quantities as numbers
 * (bytes, nanoseconds, per second), phases applied.
 */
export type Scenario = Omit<ScenarioFile, "phases" | "variants" | "go"> & {
  readonly variant: string;
  readonly go: {
    readonly version: GoVersion;
    readonly GOGC: number | "off";
    readonly GOMEMLIMIT: number | "off";
    readonly GOMAXPROCS: number;
    /** It is Go's own, by a CPU limit that changes during the run. */
    readonly GOMAXPROCS_default?: true;
    readonly GODEBUG: Godebug;
    readonly hypothetical?: z.output<typeof hypothetical> | undefined;
  };
  readonly phases: readonly ResolvedPhase[];
};
