/** A container's faults: impossible limits with their arithmetic, settings that do nothing, and where they stand. */
import { expect, test } from "vitest";
import { loadScenario } from "../../src/scenario/load.ts";

function faults(container: string, duration = "10s"): string {
  const text = `name: t
duration: ${duration}
workload: [{name: a, kind: stream, rate: 5k/s, size: 64, lifetime: 1s}]
container:
${container}
`;
  const result = loadScenario(text, "t.yaml");
  if (result.ok) return "valid";
  return result.errors
    .map(
      (e) =>
        `${e.file}:${e.line}:${e.column} ${e.path}: ${e.message}${e.hint === undefined ? "" : ` (${e.hint})`}`,
    )
    .join("\n");
}

test("a limit below what a Go process is without its heap shows the sum", () => {
  expect(faults("  memory: {max: 1MiB}")).toBe("valid");
  expect(faults("  memory: {max: 600KiB}")).toMatchInlineSnapshot(
    `"t.yaml:5:17 container.memory.max: 600 KiB cannot hold a Go process: before its first allocation it has 840 KiB (Go runtime 528 KiB + thread stacks and loader 124 KiB + page tables 80 KiB + kernel stacks of 4 threads 64 KiB + slab 44 KiB)"`,
  );
  expect(faults("  off_heap: 8MiB\n  memory: {max: 8MiB}")).toMatchInlineSnapshot(
    `"t.yaml:6:17 container.memory.max: 8192 KiB cannot hold a Go process: before its first allocation it has 9032 KiB (off-heap 8192 KiB + Go runtime 528 KiB + thread stacks and loader 124 KiB + page tables 80 KiB + kernel stacks of 4 threads 64 KiB + slab 44 KiB)"`,
  );
  expect(faults("  memory: {max: 1MiB, binary: charged}")).toMatchInlineSnapshot(
    `"t.yaml:5:17 container.memory.max: 1024 KiB cannot hold a Go process: before its first allocation it has 2396 KiB (binary 1556 KiB + Go runtime 528 KiB + thread stacks and loader 124 KiB + page tables 80 KiB + kernel stacks of 4 threads 64 KiB + slab 44 KiB)"`,
  );
});

test("memory.high has its place below max, and none in cgroup v1", () => {
  expect(faults("  memory: {max: 64MiB, high: 48MiB}")).toBe("valid");
  expect(faults("  memory: {max: 64MiB, high: 65MiB}")).toMatchInlineSnapshot(
    `"t.yaml:5:30 container.memory.high: is above \`max\`, where the process is killed: it would never slow anything down"`,
  );
  expect(faults("  cgroup: v1\n  memory: {high: 48MiB}")).toMatchInlineSnapshot(
    `"t.yaml:6:18 container.memory.high: cgroup v1 has no memory.high (leave \`high\` out, or write \`cgroup: v2\`)"`,
  );
});

test("quotas and periods are the kernel's", () => {
  expect(faults("  cpu: {limit: 0.5}")).toBe("valid");
  expect(faults("  cpu: {quota: 250ms, period: 50ms}")).toBe("valid");
  expect(faults("  cpu: {}")).toMatchInlineSnapshot(
    `"t.yaml:5:3 container.cpu.limit: give exactly one of \`limit\` and \`quota\`"`,
  );
  expect(faults("  cpu: {limit: 1, quota: 100ms}")).toMatchInlineSnapshot(
    `"t.yaml:5:16 container.cpu.limit: give exactly one of \`limit\` and \`quota\`"`,
  );
  expect(faults("  cpu: {limit: 0.05, period: 10ms}")).toMatchInlineSnapshot(
    `"t.yaml:5:16 container.cpu.limit: is a quota of 0.0005s per 0.01s; the kernel takes 1ms at least"`,
  );
  expect(faults("  cpu: {quota: 1s, period: 2s}")).toMatchInlineSnapshot(
    `"t.yaml:5:28 container.cpu.period: the kernel takes periods from 1ms to 1s"`,
  );
});

test("restarts need something that kills", () => {
  expect(faults("  restart: {policy: always}")).toMatchInlineSnapshot(
    `"t.yaml:5:21 container.restart.policy: nothing ends the process: there is no \`memory.max\`"`,
  );
  expect(faults("  memory: {max: 64MiB}\n  restart: {policy: always, backoff: 10m}")).toMatchInlineSnapshot(
    `"t.yaml:6:3 container.restart.max_backoff: is shorter than the first back-off (600s)"`,
  );
});

test("waits of nothing would start a process for ever at one moment", () => {
  expect(
    faults("  memory: {max: 64MiB}\n  restart: {policy: always, backoff: 0s, reset_after: 0s}"),
  ).toMatchInlineSnapshot(`
    "t.yaml:6:38 container.restart.backoff: must be longer than 0
    t.yaml:6:55 container.restart.reset_after: must be longer than 0"
  `);
});

test("page-cache loads", () => {
  expect(
    faults(
      "  page_cache:\n    - {name: a, rate: 1MiB/s, start: 20s}\n    - {name: a, rate: 1MiB/s, file: 0}",
    ),
  ).toMatchInlineSnapshot(`
    "t.yaml:6:38 container.page_cache.0.start: is not before the end of the run (10s)
    t.yaml:7:14 container.page_cache.1.name: a second page-cache load called \`a\` (names are unique)
    t.yaml:7:37 container.page_cache.1.file: must be larger than 0"
  `);
  expect(faults("  page_cache: [{name: a, rate: 1MiB/s, start: 2s, stop: 1s}]")).toMatchInlineSnapshot(
    `"t.yaml:5:57 container.page_cache.a.stop: is not after its start (2s)"`,
  );
  expect(faults("  page_cache: [{name: a, rate: 1MiB/s, file: 65GiB}]")).toMatchInlineSnapshot(
    `"t.yaml:5:46 container.page_cache.a.file: must be at most 64GiB: each of its pages is played"`,
  );
  expect(faults("  page_cache: [{name: a, rate: 1MiB/s, file: 64GiB}]")).toBe("valid");
});

test("a resize needs a container that can have the limit", () => {
  const resized = (limits: string, container = "  memory: {max: 64MiB}") =>
    faults(`${container}\ninterventions:\n  - {at: 1s, do: resize_container${limits}}`);
  expect(resized(", memory_max: 32MiB")).toBe("valid");
  expect(resized("")).toMatchInlineSnapshot(
    `"t.yaml:7:5 interventions.0: changes no limit: give \`memory_max\`, \`memory_high\` or \`cpu_limit\`"`,
  );
  expect(resized(", cpu_limit: 2")).toMatchInlineSnapshot(
    `"t.yaml:7:47 interventions.0.cpu_limit: the container starts without a CPU limit (give it one: \`container.cpu.limit\`)"`,
  );
  expect(resized(", cpu_limit: 0.05", "  cpu: {limit: 1, period: 10ms}")).toMatchInlineSnapshot(
    `"t.yaml:7:47 interventions.0.cpu_limit: is a quota of 0.0005s per 0.01s; the kernel takes 1ms at least"`,
  );
  expect(resized(", memory_high: 32MiB", "  cgroup: v1")).toMatchInlineSnapshot(
    `"t.yaml:7:49 interventions.0.memory_high: cgroup v1 has no memory.high (leave it out, or write \`cgroup: v2\`)"`,
  );
  const bare = loadScenario(
    `name: t
duration: 10s
workload: [{name: a, kind: stream, rate: 5k/s, size: 64, lifetime: 1s}]
interventions: [{at: 1s, do: resize_container, memory_max: 1GiB}]
`,
    "t.yaml",
  );
  expect(bare.ok ? [] : bare.errors.map(({ path, message }) => `${path}: ${message}`)).toMatchInlineSnapshot(`
    [
      "interventions.0.do: there is no container to resize",
    ]
  `);
});

/** The faults of a whole file, without their places. */
function faultsOfFile(text: string): string[] {
  const result = loadScenario(
    `name: t
duration: 10s
workload: [{name: a, kind: stream, rate: 5k/s, size: 64, lifetime: 1s}]
${text}
`,
    "t.yaml",
  );
  return result.ok ? [] : result.errors.map(({ path, message }) => `${path}: ${message}`);
}

const AT_START =
  "(Go runtime 528 KiB + thread stacks and loader 124 KiB + page tables 80 KiB + kernel stacks of 4 threads 64 KiB + slab 44 KiB)";

test("new limits are held to what the first ones are", () => {
  expect(
    faultsOfFile(`container: {memory: {max: 64MiB, high: 512KiB}}
interventions:
  - {at: 1s, do: resize_container, memory_max: 1KiB}
  - {at: 1s, do: resize_container, memory_max: 32MiB, memory_high: 64MiB}
  - {at: 2s, do: resize_container, memory_high: 65MiB}
  - {at: 2s, do: resize_container, memory_high: 0}
  - {at: 2s, do: resize_container, memory_high: 48MiB}`),
  ).toEqual([
    `container.memory.high: 512 KiB cannot hold a Go process: before its first allocation it has 840 KiB ${AT_START}`,
    `interventions.0.memory_max: 1 KiB cannot hold a Go process: before its first allocation it has 840 KiB ${AT_START}`,
    "interventions.1.memory_high: is above `memory_max`, where the process is killed: it would never slow anything down",
    "interventions.2.memory_high: is above every `max`, where the process is killed: it would never slow anything down",
    `interventions.3.memory_high: 0 KiB cannot hold a Go process: before its first allocation it has 840 KiB ${AT_START}`,
  ]);
  // A limit that is raised later may have its memory.high before.
  expect(
    faultsOfFile(`container: {memory: {max: 64MiB}, restart: {policy: always}}
startup: {prefault: 100MiB}
interventions:
  - {at: 2s, do: resize_container, memory_max: 128MiB}
  - {at: 1s, do: resize_container, memory_high: 65MiB}`),
  ).toEqual([]);
  expect(
    faultsOfFile(`container: {restart: {policy: always}}
interventions: [{at: 2s, do: resize_container, memory_max: 128MiB}]`),
  ).toEqual([]);
});

test("a prefault above every limit shows the sum", () => {
  expect(faultsOfFile("startup: {prefault: 64MiB}\ncontainer: {memory: {max: 64MiB}}")).toEqual([
    `startup.prefault: 65536 KiB (\`container.memory.max\`) cannot hold it: with what a Go process has before its first allocation it is 66376 KiB (prefault 65536 KiB + ${AT_START.slice(1)}`,
  ]);
  expect(faultsOfFile("startup: {prefault: 63MiB}\ncontainer: {memory: {max: 64MiB}}")).toEqual([]);
});

test("one unreadable setting hides no fault of the others", () => {
  expect(
    faultsOfFile(`startup: {stages: [{name: a, io: -1s}, {name: a, cpu: 1s}, {name: b, memory: 1GiB, object_size: 0}]}
machine: {cpus: many, khugepaged: {scan_sleep: 0s}, page_size: 64KiB, thp: always}
go: {GOGC: -5, version: "1.19", GODEBUG: {disablethp: 1}}
container:
  memory: {max: 1KiB, high: 2KiB, swap: 3KiB}
  cpu: {period: 2s, limit: none}
  restart: {backoff: 0s, policy: sometimes}
  page_cache: [{name: a, rate: 10MiB/s, file: 0}, {name: a, rate: -1, stop: 0s}]
interventions:
  - {at: 20s, do: resize_container, memory_max: 1KiB, cpu_limit: much}
policies:
  - {kind: threshold_tuner, target: 0, min: 100, max: 50, window: 3}`),
  ).toEqual([
    'startup.stages.0.io: "-1s" is negative',
    "startup.stages.1.name: a second start-up stage called `a`",
    "startup.stages.b.object_size: an object of 0 bytes is not an allocation in Go",
    'machine.cpus: expected a number, got "many"',
    "machine.khugepaged.scan_sleep: must be longer than 0",
    "machine.thp: huge pages are those of 4KiB pages (2 MiB); with pages of 64 KiB they are not modelled",
    "go.GOGC: expected a whole number from 0 to 1000000 or `off`, got -5",
    "go.GODEBUG.disablethp: Go 1.19 does not know it",
    `container.memory.max: 1 KiB cannot hold a Go process: before its first allocation it has 840 KiB ${AT_START}`,
    "container.memory.high: is above `max`, where the process is killed: it would never slow anything down",
    `container.memory.high: 2 KiB cannot hold a Go process: before its first allocation it has 840 KiB ${AT_START}`,
    "container.memory.swap: unknown key `swap`",
    "container.cpu.period: the kernel takes periods from 1ms to 1s",
    'container.cpu.limit: expected a number, got "none"',
    "container.restart.backoff: must be longer than 0",
    'container.restart.policy: expected `never` or `always`, got "sometimes"',
    "container.page_cache.0.file: must be larger than 0",
    "container.page_cache.1.name: a second page-cache load called `a`",
    "container.page_cache.1.rate: -1 is negative",
    "container.page_cache.1.stop: is not after its start (0s)",
    "interventions.0.at: is not before the end of the run (10s)",
    `interventions.0.memory_max: 1 KiB cannot hold a Go process: before its first allocation it has 840 KiB ${AT_START}`,
    'interventions.0.cpu_limit: expected a number, got "much"',
    "policies.0.target: must be larger than 0",
    "policies.0.min: is above `max` (50)",
    "policies.0.window: unknown key `window`",
  ]);
});

test("a machine that cannot hold the process beside the others is refused with the arithmetic", () => {
  const on = (machine: string, container = "  memory: {max: 64MiB}"): string =>
    faults(`${container}\nmachine: ${machine}`);
  expect(on("{memory: 1GiB, neighbours: {anon: 900MiB}}")).toBe("valid");
  expect(
    on("{memory: 1GiB, neighbours: {kernel: 100MiB, anon: 800MiB, file: 100MiB}}"),
  ).toMatchInlineSnapshot(
    `"t.yaml:6:19 machine.memory: 1048576 KiB cannot hold what is there at the start: 1086812 KiB (kernel 102400 KiB + neighbours' anon 819200 KiB + their file 102400 KiB + low watermark and reserve 60416 KiB + Go process 2396 KiB: binary 1556 KiB + Go runtime 528 KiB + thread stacks and loader 124 KiB + page tables 80 KiB + kernel stacks of 4 threads 64 KiB + slab 44 KiB)"`,
  );
  // Smaller than the binary.
  expect(on("{memory: 1MiB, thp: never, neighbours: {anon: 0}}")).toMatchInlineSnapshot(
    `"t.yaml:6:19 machine.memory: 1024 KiB cannot hold what is there at the start: 2560 KiB (low watermark and reserve 164 KiB + Go process 2396 KiB: binary 1556 KiB + Go runtime 528 KiB + thread stacks and loader 124 KiB + page tables 80 KiB + kernel stacks of 4 threads 64 KiB + slab 44 KiB)"`,
  );
  expect(on("{memory: 256MiB, min_free: 210MiB, neighbours: {anon: 0}}")).toMatchInlineSnapshot(
    `"t.yaml:6:19 machine.memory: 262144 KiB cannot hold what is there at the start: 272220 KiB (low watermark and reserve 269824 KiB + Go process 2396 KiB: binary 1556 KiB + Go runtime 528 KiB + thread stacks and loader 124 KiB + page tables 80 KiB + kernel stacks of 4 threads 64 KiB + slab 44 KiB)"`,
  );
});

test("protection and neighbours have their place: v2, and each other", () => {
  const neighbours = "\nmachine: {memory: 1GiB, neighbours: {anon: 1MiB}}";
  expect(faults(`  memory: {low: 10MiB, min: 4GiB}${neighbours}`)).toBe("valid");
  expect(faults("  memory: {low: 10MiB, min: 5MiB}")).toMatchInlineSnapshot(`
    "t.yaml:5:17 container.memory.low: protects from others on the machine, and there are none (give the machine \`neighbours\`: the group's own limits heed no protection)
    t.yaml:5:29 container.memory.min: protects from others on the machine, and there are none (give the machine \`neighbours\`: the group's own limits heed no protection)"
  `);
  expect(faults(`  cgroup: v1\n  memory: {low: 10MiB}${neighbours}`)).toMatchInlineSnapshot(
    `"t.yaml:6:17 container.memory.low: cgroup v1 has no memory.low (leave \`low\` out, or write \`cgroup: v2\`)"`,
  );
  expect(faults("  {}\nmachine: {min_free: 66MiB}")).toMatchInlineSnapshot(
    `"t.yaml:6:21 machine.min_free: says when memory runs short, and it never does (give the machine \`neighbours\`)"`,
  );
  expect(
    faults("  {}\nmachine: {neighbours: {anon: 1MiB}, numa: {nodes: 2}, thp: never}"),
  ).toMatchInlineSnapshot(
    `"t.yaml:6:23 machine.neighbours: on several NUMA nodes are not modelled (leave out \`numa\` or \`neighbours\`)"`,
  );
  expect(faults("  {}\nmachine: {neighbours: {anon: 1MiB}, page_size: 64KiB}")).toMatchInlineSnapshot(
    `"t.yaml:6:23 machine.neighbours: with pages of 64 KiB are not modelled: watermarks are those of 4 KiB (leave out \`page_size\` or \`neighbours\`)"`,
  );
  expect(faults("  {}\ninterventions: [{at: 1s, do: set_neighbours, anon: 1GiB}]")).toMatchInlineSnapshot(
    `"t.yaml:6:30 interventions.0.do: there is nothing else on the machine (give it \`machine.neighbours\`)"`,
  );
  expect(
    faults(`  {}${neighbours}\ninterventions: [{at: 1s, do: set_neighbours, over: 1s}]`),
  ).toMatchInlineSnapshot(`"t.yaml:7:17 interventions.0: changes nothing: give \`anon\` or \`reads\`"`);
  // Nothing else ends a process without a limit.
  expect(faults("  restart: {policy: always}")).toContain("nothing ends the process");
  expect(faults(`  restart: {policy: always}${neighbours}`)).toBe("valid");
  const alone = loadScenario(
    `name: t\nduration: 10s\nworkload: [{name: a, kind: stream, rate: 5k/s, size: 64, lifetime: 1s}]${neighbours}\n`,
    "t.yaml",
  );
  expect(
    alone.ok ? [] : alone.errors.map(({ path, message, hint }) => `${path}: ${message} (${hint})`),
  ).toMatchInlineSnapshot(`
      [
        "machine.neighbours: compete with a container for memory, and there is none (write \`container: {}\` for one without limits)",
      ]
    `);
});
