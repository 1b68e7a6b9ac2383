/**
 * Records real runs on kernels that this machine does not have: `validate --record` for a guest (guest.ts).
 *
 *     npx tsx test/guest/record.ts --kernel IMAGE [--arch ppc64le] [--set KEY=VALUE]... [--runs 5] SCENARIO.yaml [VARIANT]
 *     npx tsx test/guest/record.ts --kernel IMAGE calibrate
 *
 * Wanted: QEMU, Go, and a kernel's image with what it needs to boot built in (Debian's `linux-image-*` is one: `apt-get download` and
 * `dpkg -x`; /boot/vmlinuz-* is the image). Nothing of this is kept here. The scenario is played with each seed from 1 to --runs on one boot, in a
 * control group of cgroup v2 if it has a container; transparent huge pages are set as it says. `calibrate` measures the guest as `gomemsim calibrate
 * --quick` does (on a machine whose clock counts its instructions a repeat says what the first one said). Both write into
 * test/golden/guest, the profile as profile-ARCH.json, which recordings name, and the console's text into gomemsim-guest.log in the folder for temporary files.
 *
 * The guest has one CPU (see guest.ts for why), so scenarios are played with `--set machine.cpus=1`; a recording keeps what was set.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { buildOracle, findGo } from "../../src/oracle/build.ts";
import { calibrate } from "../../src/oracle/calibrate.ts";
import { cpuStat, type GroupPressure, groupPressure, groupStat, valueIn } from "../../src/oracle/cgroup.ts";
import { parseGctrace } from "../../src/oracle/gctrace.ts";
import { makeRecording, recordingJson, recordingName } from "../../src/oracle/recording.ts";
import {
  figuresOf,
  GROUP_COLUMNS,
  HUGE_COLUMN,
  oracleResult,
  streamHeader,
} from "../../src/oracle/result.ts";
import {
  environment,
  groupRow,
  groupRun,
  programInput,
  type RealRun,
  sampleRow,
} from "../../src/oracle/run.ts";
import { cpuLimit } from "../../src/scenario/container.ts";
import { loadScenario } from "../../src/scenario/load.ts";
import { machineProfile, profileJson } from "../../src/scenario/profile.ts";
import type { ContainerSettings, Scenario } from "../../src/scenario/schema.ts";
import { BASE_VARIANT } from "../../src/scenario/variant.ts";
import { type Answer, Guest, provenanceOf } from "./guest.ts";

const root = join(import.meta.dirname, "../..");
const folder = join(root, "test/golden/guest");
const THP = "/sys/kernel/mm/transparent_hugepage";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    kernel: { type: "string" },
    arch: { type: "string", default: "amd64" },
    set: { type: "string", multiple: true, default: ["machine.cpus=1", "go.GOMAXPROCS=1"] },
    runs: { type: "string", default: "5" },
    go: { type: "string" },
  },
});
const [what, variant = BASE_VARIANT] = positionals;
if (values.kernel === undefined || what === undefined)
  throw new Error(
    "usage: record.ts --kernel IMAGE [--arch ARCH] [--set KEY=VALUE]... SCENARIO.yaml [VARIANT] | calibrate",
  );

/** A list of KEY=VALUE, as the Go program's process gets it. */
const list = (env: Readonly<Record<string, string>>): string[] =>
  Object.entries(env).map(([name, value]) => `${name}=${value}`);

/** The machine's settings that a scenario has. */
function pageSettings({ machine: { thp, khugepaged } }: Scenario): Record<string, string> {
  return {
    [`${THP}/enabled`]: thp,
    // Nothing is made huge otherwise; and of larger pages a huge one has fewer than the settings may say.
    ...(thp !== "always"
      ? {}
      : {
          [`${THP}/khugepaged/max_ptes_none`]: String(khugepaged.max_ptes_none),
          [`${THP}/khugepaged/pages_to_scan`]: String(khugepaged.pages_to_scan),
          [`${THP}/khugepaged/scan_sleep_millisecs`]: String(khugepaged.scan_sleep / 1e6),
        }),
  };
}

function groupFiles(container: ContainerSettings): Record<string, string> {
  const { cpu } = container;
  if (cpu === undefined) return {};
  const quotaUs = Math.round((cpuLimit(container) * cpu.period) / 1e3);
  return { "cpu.weight": "10000", "cpu.max": `${quotaUs} ${Math.round(cpu.period / 1e3)}` };
}

async function play(guest: Guest, scenario: Scenario, seed: number): Promise<RealRun> {
  const { container } = scenario;
  const { max, high } = container?.memory ?? {};
  const huge = scenario.machine.thp === "always" && scenario.go.GODEBUG.disablethp === 0;
  const answer = await guest.play({
    program: "/oracle",
    env: list(environment(scenario)),
    input: JSON.stringify({
      ...programInput(scenario, seed, container?.cpu === undefined),
      // What is seen from outside is looked at when a sample comes.
      ...(huge ? { stream: true } : {}),
    }),
    huge,
    write: pageSettings(scenario),
    ...(container === undefined
      ? {}
      : {
          group: groupFiles(container),
          limits: {
            ...(max === undefined ? {} : { "memory.max": max }),
            ...(high === undefined ? {} : { "memory.high": high }),
          },
          read: [
            "memory.current",
            "memory.peak",
            "memory.stat",
            "memory.events",
            "memory.pressure",
            "cpu.stat",
          ],
        }),
  });
  if (container !== undefined) return inContainer(answer, container, scenario.duration);
  if (answer.status !== 0) throw new Error(`the oracle failed: ${answer.stderr.slice(0, 2000)}`);
  const result = oracleResult.parse(JSON.parse(answer.stdout.trim().split("\n").at(-1) ?? ""));
  if (huge) {
    result.samples.columns.push(HUGE_COLUMN);
    result.samples.rows.forEach((row, i) => {
      row.push(Number(answer.samples?.[i]?.["anon_huge_pages"]));
    });
  }
  return { result, trace: parseGctrace(answer.stderr), figures: figuresOf(result) };
}

/**
 * The counters at a moment between two samples, in proportion: a program that sleeps for memory.high takes its last samples seconds early
 * and late.
 */
function pressureAt(
  ns: number,
  rows: readonly (readonly (number | null)[])[],
  pressures: readonly GroupPressure[],
): GroupPressure {
  const at = (i: number): number => rows[i][0] ?? Number.NaN;
  const after = rows.findIndex((_, i) => at(i) >= ns);
  if (after <= 0) return pressures[pressures.length - 1];
  const [from, to] = [pressures[after - 1], pressures[after]];
  const share = (ns - at(after - 1)) / (at(after) - at(after - 1));
  const between = (name: keyof GroupPressure): number => from[name] + share * (to[name] - from[name]);
  return {
    eventsHigh: between("eventsHigh"),
    someSeconds: between("someSeconds"),
    fullSeconds: between("fullSeconds"),
  };
}

function inContainer(answer: Answer, { cpu }: ContainerSettings, durationNs: number): RealRun {
  const lines = answer.stdout.trim().split("\n");
  let ownBytes = 0;
  const rows = lines
    .filter((line) => line.startsWith("["))
    .map((line, i) => {
      const row = sampleRow.parse(JSON.parse(line));
      ownBytes = row.pop() ?? 0;
      const seen = answer.samples?.[i] ?? {};
      const stat = groupStat(seen["memory.stat"], 2);
      return [...row, ...groupRow(Number(seen["memory.current"]), stat, ownBytes)];
    });
  const pressures = (answer.samples ?? []).map((seen) => groupPressure((file) => seen[file]));
  // The program's report is no part of the run.
  const end = answer.samples?.at(-1) ?? {};
  return groupRun({
    output: answer,
    header: streamHeader.parse(JSON.parse(lines[0])),
    rows,
    columns: GROUP_COLUMNS,
    last: lines.at(-1) ?? "",
    ownBytes,
    seconds: answer.seconds,
    oomKills: valueIn(answer.end?.["memory.events"] ?? "", "oom_kill"),
    peakBytes: Number(end["memory.peak"]),
    pressure: pressureAt(durationNs, rows, pressures),
    cpu: cpu === undefined ? undefined : cpuStat(end["cpu.stat"], 2),
    hits: undefined,
  });
}

const ownProfile = `profile-${values.arch}.json`;
/** A processor without a profile of its own has amd64's: an instruction takes a nanosecond here and there. */
const profileName = existsSync(join(folder, ownProfile)) ? ownProfile : "profile-amd64.json";
const go = findGo(values.go);
const guest = await Guest.boot({
  kernel: values.kernel,
  goarch: values.arch,
  go: go.path,
  programs: { oracle: buildOracle(go, "", values.arch), globals: buildOracle(go, "globals", values.arch) },
  log: join(tmpdir(), "gomemsim-guest.log"),
});
mkdirSync(folder, { recursive: true });
const arch = values.arch === "amd64" ? "" : ` --arch ${values.arch}`;
const command = (rest: string): string => `test/guest/record.ts --kernel ...${arch} ${rest}`;
try {
  if (what === "calibrate") {
    if (guest.about["page_size"] !== "4096")
      throw new Error("a profile's costs of a page are those of 4 KiB");
    const profile = await calibrate(
      {
        target: {
          measure: async (program, input, env) =>
            (
              await guest.play({
                program: program === "" ? "/oracle" : `/${program}`,
                env: list(env),
                input: JSON.stringify({ ...input, real_time: true }),
              })
            ).stdout,
          play: (scenario) => play(guest, scenario, 1),
        },
        procs: 1,
        quick: true,
        freeBytes: Number(guest.about["free"]),
        provenance: provenanceOf(guest, values.arch, go.version, command("calibrate")),
        name: `guest-${values.arch}`,
        avx512: false,
        onStep: (step) => console.log(`measuring ${step}`),
      },
      1,
    );
    writeFileSync(join(folder, ownProfile), profileJson(machineProfile.parse(profile)));
  } else {
    const loaded = loadScenario(readFileSync(what, "utf8"), what, { set: values.set });
    const scenario = loaded.ok ? loaded.scenarios.find((s) => s.variant === variant) : undefined;
    if (scenario === undefined) throw new Error(`${what}: not valid, or without variant ${variant}`);
    if (scenario.machine.page_size !== Number(guest.about["page_size"]))
      throw new Error(`the scenario has pages of ${scenario.machine.page_size} bytes, the guest others`);
    const runs: RealRun[] = [];
    for (let seed = 1; seed <= Number(values.runs); seed++) {
      console.log(`run ${seed} of ${scenario.name} (${variant})`);
      runs.push(await play(guest, scenario, seed));
    }
    const set = values.set.map((setting) => ` --set ${setting}`).join("");
    const path = `scenarios/${scenario.name}.yaml`;
    const from = provenanceOf(
      guest,
      values.arch,
      go.version,
      command(`${path}${variant === BASE_VARIANT ? "" : ` ${variant}`}${set} --runs ${runs.length}`),
    );
    const recorded = makeRecording(scenario, runs, from, { set: values.set, profile: profileName });
    writeFileSync(join(folder, recordingName(scenario)), recordingJson(recorded));
  }
} finally {
  await guest.powerOff();
}
