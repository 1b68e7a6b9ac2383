/**
 * Records how a real kernel shares a machine's memory out: scenarios/node-pressure.yaml, played in a guest (guest.ts) of the
 * scenario's size with a neighbour in a group of its own (neighbour.go).
 *
 *     npx tsx test/guest/node.ts --kernel IMAGE --module brd.ko [--runs 5] [VARIANT]...
 *
 * brd.ko is the kernel's own (Debian's `linux-image-*` has it under /lib/modules). Writes test/golden/node/VARIANT.json: of
 * each run what the kernel says of both groups and of the machine at every second, memory.* less what the Go program needs
 * for its records. The console's text, where the OOM killer's log is, goes into gomemsim-guest.log in the folder for
 * temporary files.
 *
 * Two things that the model leaves out are switched off. Pages that a CPU keeps by for itself are neither free nor
 * anybody's: with one CPU up to the low watermark; they are held to some 250 (vm.percpu_pagelist_high_fraction). And kswapd
 * reclaims more where sorts of pages mix (vm.watermark_boost_factor): with it, base had 26 s after its start 80 MiB more
 * free for five seconds, and 50 MiB less page cache.
 */
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { defaultProfile } from "../../src/index.ts";
import { buildOracle, findGo } from "../../src/oracle/build.ts";
import { groupStat, valueIn } from "../../src/oracle/cgroup.ts";
import { scenarioHash } from "../../src/oracle/recording.ts";
import { environment, programInput, sampleRow } from "../../src/oracle/run.ts";
import { loadScenario } from "../../src/scenario/load.ts";
import type { Scenario } from "../../src/scenario/schema.ts";
import { type Answer, Guest, provenanceOf } from "./guest.ts";

const root = join(import.meta.dirname, "../..");
const folder = join(root, "test/golden/node");
const path = "scenarios/node-pressure.yaml";
const set = ["machine.cpus=1", "go.GOMAXPROCS=1", "sample_interval=1s"];
const PER_CPU = "/proc/sys/vm/percpu_pagelist_high_fraction";
const PAGE_BYTES = 4096;
const BOOST = "/proc/sys/vm/watermark_boost_factor";
const BESIDE = "/sys/fs/cgroup/neighbours/memory.stat";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    kernel: { type: "string" },
    module: { type: "string" },
    runs: { type: "string", default: "5" },
    go: { type: "string" },
  },
});
const { kernel, module } = values;
if (kernel === undefined || module === undefined)
  throw new Error("usage: node.ts --kernel IMAGE --module brd.ko [--runs 5] [VARIANT]...");

function job(scenario: Scenario, seed: number) {
  const { machine, container } = scenario;
  const { neighbours, memory } = machine;
  if (neighbours === undefined || container === undefined) throw new Error("nobody to record");
  const [index] = container.page_cache;
  const { low = 0, min = 0, max } = container.memory;
  return {
    program: "/oracle",
    env: Object.entries(environment(scenario)).map(([name, value]) => `${name}=${value}`),
    input: JSON.stringify(programInput(scenario, seed, true)),
    write: { [PER_CPU]: "4096", [BOOST]: "0", "/proc/sys/kernel/printk": "7" },
    group: { "memory.low": String(low), "memory.min": String(min) },
    limits: max === undefined ? {} : { "memory.max": max },
    read: [
      ...["memory.current", "memory.stat", "memory.events", BESIDE],
      ...["/proc/meminfo", "/proc/vmstat", "/proc/zoneinfo"],
    ],
    files: {
      mode: "files",
      seed,
      loads: [{ ...index, path: "/dev/ram0", stop: scenario.duration, start: 0 }],
    },
    neighbours: {
      module: "/brd.ko",
      params: `rd_nr=2 rd_size=${Math.ceil(Math.max(index.file ?? 0, neighbours.file) / 1024)}`,
      device: "/dev/ram1",
      file: neighbours.file,
      // The Go program's file is in the guest's root, and so in memory, from the start.
      free:
        memory -
        neighbours.kernel -
        neighbours.anon -
        neighbours.file -
        defaultProfile.baseline.file_rss_bytes,
      changes: scenario.interventions.flatMap((i) =>
        i.do === "set_neighbours" && i.anon !== undefined
          ? [{ at: (i.at ?? 0) / 1e9, anon: i.anon - neighbours.anon, over: i.over / 1e9 }]
          : [],
      ),
    },
  };
}

const COLUMNS = [
  ...["t_seconds", "memory_current_bytes", "memory_anon_bytes", "memory_file_bytes"],
  ...["memory_inactive_file_bytes", "memory_active_file_bytes", "memory_events_low", "memory_oom_kills"],
  ...["node_free_bytes", "node_neighbours_anon_bytes", "node_neighbours_file_bytes"],
  ...["node_pgsteal_kswapd_bytes", "node_pgsteal_direct_bytes", "node_oom_kills"],
];

/** Of each second: what the files said, less what the program needs for itself. */
function series(answer: Answer): number[][] {
  const lines = answer.stdout.split("\n").filter((line) => line.startsWith("["));
  return lines.flatMap((line, i) => {
    const row = sampleRow.parse(JSON.parse(line));
    const seen = answer.samples?.[i];
    if (seen === undefined) return [];
    const own = row.at(-1) ?? 0;
    const stat = groupStat(seen["memory.stat"], 2);
    const beside = groupStat(seen[BESIDE], 2);
    const vm = (name: string): number => valueIn(seen["/proc/vmstat"], name);
    const free = Number(/MemFree: +(\d+)/.exec(seen["/proc/meminfo"])?.[1]) * 1024;
    return [
      [
        (row[0] ?? 0) / 1e9,
        ...[Number(seen["memory.current"]) - own, stat.anon - own, stat.file],
        ...[stat.inactiveFile, stat.activeFile],
        ...[valueIn(seen["memory.events"], "low"), valueIn(seen["memory.events"], "oom_kill")],
        ...[free, beside.anon, beside.file],
        ...[vm("pgsteal_kswapd") * PAGE_BYTES, vm("pgsteal_direct") * PAGE_BYTES, vm("oom_kill")],
      ],
    ];
  });
}

/** The watermarks of each zone, in pages. */
const zones = (text: string): string =>
  Array.from(
    text.matchAll(/zone +(\w+)[\s\S]*?min +(\d+)\s+low +(\d+)\s+high +(\d+)[\s\S]*?managed +(\d+)/g),
    ([, name, min, low, high, managed]) => `${name}: min ${min}, low ${low}, high ${high} of ${managed}`,
  ).join("; ");

const loaded = loadScenario(readFileSync(join(root, path), "utf8"), path, { set });
if (!loaded.ok) throw new Error("the scenario is not valid");
const chosen = loaded.scenarios.filter(
  ({ variant }) => positionals.length === 0 || positionals.includes(variant),
);
const go = findGo(values.go);
const guest = await Guest.boot({
  kernel,
  goarch: "amd64",
  go: go.path,
  programs: { oracle: buildOracle(go, "", "amd64") },
  files: { "brd.ko": module },
  memory: `${chosen[0].machine.memory / 2 ** 20}M`,
  log: join(tmpdir(), "gomemsim-guest.log"),
});
mkdirSync(folder, { recursive: true });
try {
  for (const scenario of chosen) {
    const runs: number[][][] = [];
    for (let seed = 1; seed <= Number(values.runs); seed++) {
      const answer = await guest.play(job(scenario, seed));
      console.log(`${scenario.variant}, run ${seed}: ${answer.seconds} s${answer.killed ? ", killed" : ""}`);
      if (answer.status !== 0 && !answer.killed)
        throw new Error(`the oracle failed: ${answer.stderr.slice(-2000)} ${answer.stdout.slice(-500)}`);
      if (seed === 1) console.log(zones(answer.end?.["/proc/zoneinfo"] ?? ""));
      const rows = series(answer);
      // vmstat counts from the boot on.
      const first = rows[0];
      runs.push(rows.map((row) => row.map((value, i) => (i >= 11 ? value - first[i] : value))));
    }
    const recorded = {
      format: 1,
      name: scenario.name,
      variant: scenario.variant,
      scenario_hash: scenarioHash(scenario),
      set,
      provenance: provenanceOf(
        guest,
        "amd64",
        go.version,
        `test/guest/node.ts --kernel ... --module ... --runs ${runs.length} ${scenario.variant}`,
      ),
      columns: COLUMNS,
      runs,
    };
    const text = JSON.stringify(recorded, null, 1).replace(
      /\[\s+([^[\]]*?)\s+\]/g,
      (_, list: string) => `[${list.split(/,\s+/).join(",")}]`,
    );
    const file = join(folder, `${scenario.variant}.json`);
    writeFileSync(file, `${text}\n`);
    console.log(`${file}: ${statSync(file).size} bytes`);
  }
} finally {
  await guest.powerOff();
}
