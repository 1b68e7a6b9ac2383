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
import { z } from "zod";
import { bytes, bytesPerSecond, durationNs, ratePerSecond } from "./units.ts";

/** Where a random quantity comes from; `value` units are those of the field (bytes, nanoseconds or a count). */
export type Dist =
  | { readonly kind: "constant"; readonly value: number }
  | { readonly kind: "uniform"; readonly min: number; readonly max: number }
  | { readonly kind: "exponential"; readonly mean: number }
  | { readonly kind: "lognormal"; readonly median: number; readonly sigma: number }
  | { readonly kind: "weibull"; readonly scale: number; readonly shape: number }
  | { readonly kind: "pareto"; readonly min: number; readonly shape: number; readonly max: number }
  | {
      readonly kind: "histogram";
      readonly bins: readonly { readonly min: number; readonly max: number; readonly weight: number }[];
    }
  | { readonly kind: "mixture"; readonly parts: readonly { readonly weight: number; readonly dist: Dist }[] };

type Quantity = z.ZodType<number, string | number>;

/**
 * A distribution over a quantity. A bare value is a constant:
 * `64`, `{uniform: [16, 512]}`, `{exponential: 100ms}`, `{lognormal: {median: 256, sigma: 1.2}}`,
 * `{weibull: {scale: 1s, shape: 0.7}}`, `{pareto: {min: 64, shape: 1.3, max: 1MiB}}`,
 * `{histogram: [[16, 32, 70], [32, 4KiB, 30]]}` (from, to, weight), `{mixture: [{weight: 9, of: 64}, {weight: 1, of: 32KiB}]}`.
 */
function dist(quantity: Quantity): z.ZodType<Dist, unknown> {
  const shape = z.number().positive();
  const self: z.ZodType<Dist, unknown> = z.lazy(() =>
    z.union([
      quantity.transform((value): Dist => ({ kind: "constant", value })),
      z
        .strictObject({ constant: quantity })
        .transform((d): Dist => ({ kind: "constant", value: d.constant })),
      z
        .strictObject({ uniform: z.tuple([quantity, quantity]) })
        .refine((d) => d.uniform[0] <= d.uniform[1], {
          message: "uniform needs [low, high] with low <= high",
        })
        .transform((d): Dist => ({ kind: "uniform", min: d.uniform[0], max: d.uniform[1] })),
      z
        .strictObject({ exponential: quantity })
        .transform((d): Dist => ({ kind: "exponential", mean: d.exponential })),
      z
        .strictObject({ lognormal: z.strictObject({ median: quantity, sigma: z.number().min(0).max(5) }) })
        .transform((d): Dist => ({ kind: "lognormal", ...d.lognormal })),
      z
        .strictObject({ weibull: z.strictObject({ scale: quantity, shape: shape }) })
        .transform((d): Dist => ({ kind: "weibull", ...d.weibull })),
      z
        .strictObject({ pareto: z.strictObject({ min: quantity, shape: shape, max: quantity }) })
        .refine((d) => d.pareto.min > 0 && d.pareto.min < d.pareto.max, {
          message: "pareto needs 0 < min < max",
        })
        .transform((d): Dist => ({ kind: "pareto", ...d.pareto })),
      z
        .strictObject({ histogram: z.array(z.tuple([quantity, quantity, z.number().positive()])).min(1) })
        .transform(
          (d): Dist => ({
            kind: "histogram",
            bins: d.histogram.map(([min, max, weight]) => ({ min, max, weight })),
          }),
        ),
      z
        .strictObject({
          mixture: z.array(z.strictObject({ weight: z.number().positive(), of: self })).min(1),
        })
        .transform(
          (d): Dist => ({ kind: "mixture", parts: d.mixture.map((p) => ({ weight: p.weight, dist: p.of })) }),
        ),
    ]),
  );
  return self;
}

const sizeDist = dist(bytes);
const durationDist = dist(durationNs);
const countDist = dist(z.number().min(0) as Quantity);

/** The part of an object that holds pointers, which the collector must scan: it is the object's first bytes. */
export type PointerPart =
  | { readonly kind: "fraction"; readonly fraction: number }
  | { readonly kind: "bytes"; readonly bytes: number };

const pointers: z.ZodType<PointerPart, unknown> = z.union([
  z
    .number()
    .min(0)
    .max(1)
    .transform((fraction): PointerPart => ({ kind: "fraction", fraction })),
  z.string().transform((value, ctx): PointerPart => {
    const percent = /^(\d+(?:\.\d+)?)%$/.exec(value);
    if (percent !== null && Number(percent[1]) <= 100)
      return { kind: "fraction", fraction: Number(percent[1]) / 100 };
    const parsed = bytes.safeParse(value);
    if (parsed.success) return { kind: "bytes", bytes: parsed.data };
    ctx.addIssue({
      code: "custom",
      message: `expected a share of the object (0 to 1, "50%") or bytes ("16B"), got "${value}"`,
    });
    return z.NEVER;
  }),
]);

/** How long an object lives: with its owner (request, cache entry, goroutine), forever, or for a time drawn at birth. */
export type Lifetime =
  | { readonly until: "owner" }
  | { readonly until: "forever" }
  | { readonly until: "time"; readonly dist: Dist };

const timedLifetime = durationDist.transform((d): Lifetime => ({ until: "time", dist: d }));
const foreverLifetime = z.literal("forever").transform((): Lifetime => ({ until: "forever" }));
const ownerLifetime = z
  .enum(["owner", "request", "entry", "goroutine"])
  .transform((): Lifetime => ({ until: "owner" }));

const name = z
  .string()
  .regex(/^[a-zA-Z][a-zA-Z0-9_-]*$/, "a name is letters, digits, - and _, starting with a letter");

/** Objects an owner (a request, a work item, a cache entry, a goroutine) allocates. */
const objectGroup = z.strictObject({
  name: name
    .optional()
    .meta({ description: "Shown in per-source figures. Default: the owner's name and the position." }),
  count: countDist.default({ kind: "constant", value: 1 }).meta({ description: "How many per owner." }),
  size: sizeDist.meta({ description: "Requested bytes of one object." }),
  pointers: pointers
    .default({ kind: "fraction", fraction: 0 })
    .meta({ description: "Share (0..1, 50%) or bytes (16B) holding pointers; 0 is noscan." }),
  lifetime: z
    .union([ownerLifetime, foreverLifetime, timedLifetime])
    .default({ until: "owner" })
    .meta({
      description:
        "`request`/`entry`/`goroutine` (with the owner), `forever`, or a duration distribution from birth.",
    }),
  allocator: z.enum(["heap", "pool", "arena"]).default("heap").meta({
    description:
      "`heap`: new. `pool`: taken from a sync.Pool of this group and put back when the owner ends. `arena`: bump-allocated from the owner's arena block (64-byte aligned; `arena_block` sets its size), objects over 1 KiB or past its end fall back to the pool.",
  }),
});

const common = {
  name,
  start: durationNs.default(0).meta({ description: "When it begins." }),
  stop: durationNs.optional().meta({ description: "When it ends. Default: the end of the run." }),
};

const stream = z
  .strictObject({
    kind: z.literal("stream"),
    ...common,
    rate: ratePerSecond.optional().meta({ description: "Objects per second." }),
    byte_rate: bytesPerSecond
      .optional()
      .meta({ description: "Requested bytes per second; give this or `rate`." }),
    size: sizeDist,
    pointers: pointers.default({ kind: "fraction", fraction: 0 }),
    lifetime: z.union([foreverLifetime, timedLifetime]),
    tick: durationNs
      .default(1e6)
      .meta({
        description: "How often the stream's goroutine wakes to drop the dead and allocate what is due.",
      }),
    goroutines: z.int().min(1).max(10_000).default(1).meta({ description: "Goroutines sharing the rate." }),
  })
  .refine((s) => (s.rate === undefined) !== (s.byte_rate === undefined), {
    message: "give exactly one of `rate` and `byte_rate`",
    path: ["rate"],
  })
  .refine((s) => s.tick > 0, { message: "tick must be longer than 0", path: ["tick"] });

const leak = z
  .strictObject({
    kind: z.literal("leak"),
    ...common,
    rate: ratePerSecond.optional(),
    byte_rate: bytesPerSecond.optional(),
    size: sizeDist,
    pointers: pointers.default({ kind: "fraction", fraction: 0 }),
    tick: durationNs.default(1e6),
  })
  .refine((s) => (s.rate === undefined) !== (s.byte_rate === undefined), {
    message: "give exactly one of `rate` and `byte_rate`",
    path: ["rate"],
  });

const arrivals = z.strictObject({
  process: z
    .enum(["poisson", "constant"])
    .default("poisson")
    .meta({ description: "Gaps between requests: exponential or all equal." }),
  rate: ratePerSecond.meta({ description: "Requests per second before any shape below." }),
  ramp: z
    .strictObject({ to: ratePerSecond, from: durationNs.default(0), over: durationNs })
    .optional()
    .meta({ description: "The rate moves linearly to `to`, beginning at `from`, taking `over`." }),
  steps: z
    .array(z.strictObject({ at: durationNs, rate: ratePerSecond }))
    .optional()
    .meta({ description: "The rate jumps to `rate` at each time." }),
  diurnal: z
    .strictObject({ period: durationNs, amplitude: z.number().min(0).max(1), peak_at: durationNs.default(0) })
    .optional()
    .meta({ description: "Multiplies by 1 + amplitude * cos(2π (t - peak_at) / period)." }),
  bursts: z
    .strictObject({
      every: durationNs,
      length: durationNs,
      factor: z.number().min(0),
      first: durationNs.optional(),
    })
    .optional()
    .meta({ description: "Multiplies by `factor` for `length` every `every`." }),
});

const service = z.strictObject({
  kind: z.literal("service"),
  ...common,
  arrivals,
  cpu: durationDist
    .default({ kind: "constant", value: 0 })
    .meta({
      description: "CPU time a request computes, beside its allocations; half before the wait, half after.",
    }),
  io: durationDist
    .default({ kind: "constant", value: 0 })
    .meta({ description: "Time a request waits without a P, in its middle." }),
  stack: sizeDist
    .default({ kind: "constant", value: 0 })
    .meta({ description: "Stack bytes the handler's frames need at the deepest." }),
  objects: z.array(objectGroup).default([]),
  arena_block: bytes
    .default(64 * 1024)
    .meta({ description: "Bytes of an owner's arena block, where a group's allocator is `arena`." }),
  concurrency: z
    .int()
    .min(1)
    .optional()
    .meta({ description: "Requests served at once; others queue. Default: no bound." }),
});

const batch = z.strictObject({
  kind: z.literal("batch"),
  ...common,
  workers: z
    .int()
    .min(1)
    .max(100_000)
    .default(1)
    .meta({ description: "Goroutines, each doing one item after another." }),
  cpu: durationDist.default({ kind: "constant", value: 0 }),
  io: durationDist.default({ kind: "constant", value: 0 }),
  pause: durationDist
    .default({ kind: "constant", value: 0 })
    .meta({ description: "Idle time between two items of a worker." }),
  stack: sizeDist.default({ kind: "constant", value: 0 }),
  objects: z.array(objectGroup).default([]),
  arena_block: bytes.default(64 * 1024),
  items: z
    .int()
    .min(1)
    .optional()
    .meta({ description: "Items to do in all; the workers then end. Default: no end." }),
});

const cache = z
  .strictObject({
    kind: z.literal("cache"),
    ...common,
    requests: ratePerSecond.meta({ description: "Look-ups per second; a miss inserts the entry." }),
    keys: z.int().min(1).max(50_000_000).meta({ description: "Distinct keys asked for." }),
    skew: z
      .number()
      .min(0)
      .max(3)
      .default(0)
      .meta({ description: "Zipf exponent of key popularity; 0 is uniform." }),
    max_entries: z.int().min(1).optional(),
    max_bytes: bytes
      .optional()
      .meta({ description: "Bound on the sum of requested bytes; give this or `max_entries`." }),
    ttl: durationDist.optional().meta({ description: "Entries older than this are dropped." }),
    replacement: z.enum(["lru", "random"]).default("lru"),
    objects: z
      .array(objectGroup)
      .min(1)
      .meta({
        description:
          "What one entry is made of; `lifetime: entry` (default) lives while the entry is cached.",
      }),
    prefill: z.boolean().default(false).meta({ description: "Fill to the bound at the start." }),
    tick: durationNs.default(1e6),
  })
  .refine((c) => (c.max_entries === undefined) !== (c.max_bytes === undefined), {
    message: "give exactly one of `max_entries` and `max_bytes`",
    path: ["max_entries"],
  });

const goroutines = z.strictObject({
  kind: z.literal("goroutines"),
  ...common,
  count: z
    .int()
    .min(0)
    .max(2_000_000)
    .meta({ description: "Goroutines alive, each parked most of the time." }),
  stack: sizeDist
    .default({ kind: "constant", value: 0 })
    .meta({ description: "Stack bytes each one's frames need." }),
  lifetime: z
    .union([foreverLifetime, timedLifetime])
    .default({ until: "forever" })
    .meta({ description: "A goroutine that ends is replaced." }),
  objects: z
    .array(objectGroup)
    .default([])
    .meta({ description: "What each holds while it lives (`lifetime: goroutine`)." }),
  tick: durationNs.default(10e6),
});

/** One source of allocation. */
export const workloadEntry = z.discriminatedUnion("kind", [stream, leak, service, batch, cache, goroutines]);

export const GO_VERSIONS = ["1.19", "1.20", "1.21", "1.22", "1.23", "1.24", "1.25", "1.26"] as const;

const goSettings = z.strictObject({
  version: z
    .enum(GO_VERSIONS)
    .default("1.26")
    .meta({ description: "The Go release whose runtime is modelled." }),
  GOGC: z
    .union([
      z.literal("off"),
      z.literal(false).transform(() => "off" as const),
      z.int().min(0).max(1_000_000),
    ])
    .default(100),
  GOMAXPROCS: z.int().min(1).max(1024).optional().meta({ description: "Default: machine.cpus." }),
});

const machine = z.strictObject({
  cpus: z.int().min(1).max(1024).default(2).meta({ description: "CPUs the process may use." }),
});

/** Makes the runtime do something at a time. */
const intervention = z.strictObject({
  at: durationNs,
  do: z.enum(["gc"]).meta({ description: "`gc`: runtime.GC()." }),
  every: durationNs.optional().meta({ description: "Repeat with this period." }),
});

/** From `at` on, the named settings hold: paths into the scenario, `workload.NAME.field`. */
const phase = z.strictObject({
  at: durationNs,
  name: z.string().optional(),
  set: z.record(z.string(), z.unknown()),
});

const variant = z.strictObject({ name, set: z.record(z.string(), z.unknown()) });

export const scenarioFile = z.strictObject({
  name,
  description: z.string().default(""),
  duration: durationNs.meta({ description: "Virtual time to run." }),
  seed: z.union([z.int(), z.string()]).default(1),
  sample_interval: durationNs
    .default(100e6)
    .meta({ description: "Time between two rows of timeseries.csv." }),
  go: goSettings.prefault({}),
  machine: machine.prefault({}),
  workload: z.array(workloadEntry).min(1),
  phases: z.array(phase).default([]),
  interventions: z.array(intervention).default([]),
  variants: z
    .array(variant)
    .default([])
    .meta({ description: "Named overrides (`set`) that run side by side with the scenario itself." }),
});

export type ScenarioFile = z.output<typeof scenarioFile>;
export type ObjectGroup = z.output<typeof objectGroup>;
export type WorkloadEntry = z.output<typeof workloadEntry>;
export type Stream = z.output<typeof stream>;
export type Leak = z.output<typeof leak>;
export type Service = z.output<typeof service>;
export type Batch = z.output<typeof batch>;
export type Cache = z.output<typeof cache>;
export type Goroutines = z.output<typeof goroutines>;
export type Arrivals = z.output<typeof arrivals>;
export type GoVersion = (typeof GO_VERSIONS)[number];
export type Intervention = z.output<typeof intervention>;

/** A phase with its paths applied: from `at`, entry number `index` of the workload is `entry`. */
export interface ResolvedPhase {
  readonly at: number;
  readonly name: string;
  readonly changes: readonly { readonly index: number; readonly entry: WorkloadEntry }[];
}

/**
 * What both machines run: one variant of a scenario file, defaults filled in, quantities as numbers
 * (bytes, nanoseconds, per second), phases applied.
 */
export type Scenario = Omit<ScenarioFile, "phases" | "variants" | "go"> & {
  readonly variant: string;
  readonly go: { readonly version: GoVersion; readonly GOGC: number | "off"; readonly GOMAXPROCS: number };
  readonly phases: readonly ResolvedPhase[];
};
