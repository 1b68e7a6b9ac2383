/**
 * From a scenario's text to what the machines run: syntax, schema, contradictions, then variants and phases resolved.
 *
 * Pure: reading the file is the caller's business. Every fault is found in one go and points at the text that caused it;
 * a fault that a phase, a variant or `--set` brings in points at that setting.
 */
import { parseDocument } from "yaml";
import type { z } from "zod";
import { rulesFor } from "../runtime/version.ts";
import { check, checkEntry, type Readable } from "./checks.ts";
import { when } from "./conditions.ts";
import { cpuLimit, defaultGOMAXPROCS } from "./container.ts";
import {
  type Path,
  type Place,
  readDocument,
  type ScenarioDocument,
  type ScenarioError,
} from "./document.ts";
import { type Fault, isMapping, shown } from "./faults.ts";
import { faultsOf } from "./issues.ts";
import { type Partly, partly } from "./partly.ts";
import {
  containerSettings,
  goSettings,
  intervention,
  machine,
  policy,
  type ResolvedPhase,
  type Scenario,
  type ScenarioFile,
  scenarioFile,
  startup,
  thresholdExpressions,
  workloadEntry,
} from "./schema.ts";
import { applySetting, spellPath } from "./settings.ts";
import { durationNs } from "./units.ts";
import { BASE_VARIANT } from "./variant.ts";

export { MAX_SCENARIO_BYTES, type ScenarioError, tooLarge } from "./document.ts";
export { formatErrors } from "./format.ts";

export type LoadResult =
  | { readonly ok: true; readonly scenarios: readonly Scenario[] }
  | { readonly ok: false; readonly errors: readonly ScenarioError[] };

export interface LoadOptions {
  /** `path=value` overrides, as `--set` takes them: over the file and over each variant; phases come after. */
  readonly set?: readonly string[];
  /** Somebody may change the container's limits while it runs, which no file says. */
  readonly steered?: boolean;
}

/** A file with more faults than this is of another kind, and its faults are all alike. */
const MAX_ERRORS = 100;

/** What a setting was changed by: where its own text stands. */
interface Overlay {
  readonly path: Path;
  /** In the file; undefined for one from the command line. */
  readonly place: Place | undefined;
  /** The command line's text. */
  readonly argument: string;
}

/** Reads a scenario: the scenario itself first, then its variants. Never throws. */
export function loadScenario(text: string, fileName: string, options: LoadOptions = {}): LoadResult {
  const read = readDocument(text);
  const lines = text.length > 2 ** 20 ? [] : text.split(/\r?\n/);
  const errors: ScenarioError[] = [];
  const tell = (offset: number, path: string, fault: Pick<Fault, "message" | "hint">) => {
    const at = read.position(offset);
    const source = lines[at.line - 1];
    errors.push({
      file: fileName,
      ...at,
      path,
      message: fault.message,
      ...(fault.hint === undefined ? {} : { hint: fault.hint }),
      ...(source === undefined ? {} : { source }),
    });
  };
  for (const fault of read.faults) tell(fault.offset, "", fault);
  if (read.document === undefined) return { ok: false, errors };
  const scenarios = new Resolver(read.document, errors, tell, options.steered ?? false).resolve(
    options.set ?? [],
  );
  if (errors.length > 0) return { ok: false, errors: shortened(inOrder(errors, fileName)) };
  return { ok: true, scenarios };
}

class Resolver {
  readonly #document: ScenarioDocument;
  readonly #errors: ScenarioError[];
  readonly #steered: boolean;
  readonly #tell: (offset: number, path: string, fault: Pick<Fault, "message" | "hint">) => void;
  /** Faults the file has by itself: not to be told again for each variant. */
  readonly #known = new Set<string>();

  constructor(
    document: ScenarioDocument,
    errors: ScenarioError[],
    tell: (offset: number, path: string, fault: Pick<Fault, "message" | "hint">) => void,
    steered: boolean,
  ) {
    this.#steered = steered;
    this.#document = document;
    this.#errors = errors;
    this.#tell = tell;
  }

  resolve(set: readonly string[]): Scenario[] {
    const root = this.#document.root;
    const base = inspect(root, true);
    for (const fault of base.faults) {
      this.#known.add(keyOf(fault));
      this.#report(root, fault, []);
    }
    const scenarios: (Scenario | undefined)[] = [this.#run(BASE_VARIANT, root, [], set, base)];
    const variants = isMapping(root) ? root["variants"] : undefined;
    if (Array.isArray(variants))
      variants.slice(0, 100).forEach((variant: unknown, i) => {
        if (!isMapping(variant) || !isMapping(variant["set"])) return;
        const overlays: Overlay[] = [];
        const changed = this.#applyAll(root, variant["set"], ["variants", i, "set"], false, overlays);
        scenarios.push(this.#run(String(variant["name"]), changed, overlays, set, undefined));
      });
    return scenarios.filter((scenario) => scenario !== undefined);
  }

  /** One variant: its own settings are in `root` already. */
  #run(
    variant: string,
    root: unknown,
    overlays: Overlay[],
    set: readonly string[],
    inspected: Inspected | undefined,
  ): Scenario | undefined {
    let changed = root;
    for (const argument of set) changed = this.#applyArgument(changed, argument, overlays);
    const read = inspected !== undefined && set.length === 0 ? inspected : inspect(changed, false);
    for (const fault of read.faults)
      if (!this.#known.has(keyOf(fault))) this.#report(changed, fault, overlays);
    const phases = this.#phases(changed, read, overlays);
    const file = read.file;
    if (file === undefined) return undefined;
    const { phases: _phases, variants: _variants, go, ...rest } = file;
    return {
      ...rest,
      variant,
      go: { ...go, ...gomaxprocs(file, this.#steered) },
      // What a shortened run does not reach is left out.
      interventions: file.interventions.filter(({ at }) => at === undefined || at < file.duration),
      phases: phases.filter(({ at }) => at === undefined || at < file.duration),
    };
  }

  /** Phases build on each other: each is applied to what the ones before it left. */
  #phases(root: unknown, read: Inspected, before: readonly Overlay[]): ResolvedPhase[] {
    const written = isMapping(root) ? root["phases"] : undefined;
    if (!Array.isArray(written)) return [];
    const overlays = [...before];
    const resolved: ResolvedPhase[] = [];
    let current = root;
    written.slice(0, 1000).forEach((phase: unknown, i) => {
      if (!isMapping(phase) || !isMapping(phase["set"])) return;
      const first = overlays.length;
      current = this.#applyAll(current, phase["set"], ["phases", i, "set"], true, overlays);
      const touched = new Set(overlays.slice(first).map((overlay) => Number(overlay.path[1])));
      const at = durationNs.safeParse(phase["at"]).data;
      const when = read.file?.phases[i]?.when;
      const changes: { index: number; entry: ScenarioFile["workload"][number] }[] = [];
      for (const index of [...touched].sort((a, b) => a - b)) {
        const workload = isMapping(current) ? current["workload"] : undefined;
        const written: unknown = Array.isArray(workload) ? workload[index] : undefined;
        const parsed = workloadEntry.safeParse(written, { reportInput: true });
        const path = ["workload", index];
        const faults = parsed.success
          ? checkEntry(parsed.data, path, read.readable.duration, at ?? 0, false)
          : faultsOf(parsed.error, current, path);
        for (const fault of faults)
          if (!this.#known.has(keyOf(fault))) this.#report(current, fault, overlays);
        if (parsed.success) changes.push({ index, entry: parsed.data });
      }
      const name = typeof phase["name"] === "string" ? phase["name"] : `phase ${i + 1}`;
      resolved.push(when === undefined ? { at: at ?? 0, name, changes } : { when, name, changes });
    });
    return resolved;
  }

  #applyAll(
    root: unknown,
    set: Readonly<Record<string, unknown>>,
    at: Path,
    inPhase: boolean,
    overlays: Overlay[],
  ): unknown {
    let current = root;
    for (const [path, value] of Object.entries(set)) {
      const place = this.#document.locate([...at, path]);
      const applied = applySetting(current, path, value, inPhase);
      if ("fault" in applied) {
        this.#tell(place.key, path.slice(0, 200), applied.fault);
        continue;
      }
      current = applied.root;
      overlays.push({ path: applied.path, place, argument: "" });
    }
    return current;
  }

  #applyArgument(root: unknown, argument: string, overlays: Overlay[]): unknown {
    const setting = readArgument(argument);
    const applied =
      "message" in setting ? { fault: setting } : applySetting(root, setting.path, setting.value);
    if ("fault" in applied) {
      this.#tellArgument(argument, "path" in setting ? String(setting.path) : "", applied.fault);
      return root;
    }
    overlays.push({ path: applied.path, place: undefined, argument });
    return applied.root;
  }

  #tellArgument(argument: string, path: string, fault: Pick<Fault, "message" | "hint">): void {
    this.#errors.push({
      file: "--set",
      line: 1,
      column: 1,
      path,
      message: fault.message,
      ...(fault.hint === undefined ? {} : { hint: fault.hint }),
      source: argument,
    });
  }

  /** Points a fault at the text it comes from: the override that brought it in, or the file's own place. */
  #report(root: unknown, fault: Fault, overlays: readonly Overlay[]): void {
    const path = spellPath(root, fault.path);
    let overlay: Overlay | undefined;
    let shared = 0;
    for (const candidate of overlays) {
      const common = commonLength(candidate.path, fault.path);
      // The last one that says most about the place wins; a fault elsewhere is brought in by some override all the same.
      if (common >= shared) {
        overlay = candidate;
        shared = common;
      }
    }
    if (overlay !== undefined && overlay.place === undefined) {
      this.#tellArgument(overlay.argument, path, fault);
      return;
    }
    const rest = overlay === undefined ? fault.path : fault.path.slice(overlay.path.length);
    const inside = overlay === undefined || shared === overlay.path.length;
    const place = inside ? this.#document.locate(rest, overlay?.place) : overlay?.place;
    if (place === undefined) return;
    const missing = inside && place.found < rest.length;
    this.#tell(fault.onKey === true || missing || !inside ? place.key : place.value, path, fault);
  }
}

/** GOMAXPROCS as the process starts with it, and whether Go will set it again: where the CPU limit changes. */
function gomaxprocs(
  { go, machine, container, interventions }: ScenarioFile,
  steered: boolean,
): Pick<Scenario["go"], "GOMAXPROCS" | "GOMAXPROCS_default"> {
  if (go.GOMAXPROCS !== undefined) return { GOMAXPROCS: go.GOMAXPROCS };
  const { gomaxprocsFromCgroup } = rulesFor(go.version);
  const procs = defaultGOMAXPROCS(machine.cpus, cpuLimit(container), gomaxprocsFromCgroup);
  const changes =
    (steered && container?.cpu !== undefined) ||
    interventions.some((i) => i.do === "resize_container" && i.cpu_limit !== undefined);
  return changes && gomaxprocsFromCgroup
    ? { GOMAXPROCS: procs, GOMAXPROCS_default: true }
    : { GOMAXPROCS: procs };
}

/** `go.GOGC=50`: the value is YAML, as it would stand in the file. */
export function readArgument(
  argument: string,
): { readonly path: string; readonly value: unknown } | { readonly message: string; readonly hint: string } {
  const equals = argument.indexOf("=");
  if (equals <= 0)
    return { message: `expected path=value, got ${shown(argument)}`, hint: "for example go.GOGC=50" };
  const path = argument.slice(0, equals).trim();
  const wrong = {
    message: `the value of ${shown(path)} is not YAML`,
    hint: "for example {exponential: 10ms}",
  };
  if (argument.length > 100_000) return wrong;
  try {
    const document = parseDocument(argument.slice(equals + 1), { prettyErrors: false });
    if (document.errors.length > 0 || document.warnings.length > 0) return wrong;
    return { path, value: document.toJS({ maxAliasCount: 10 }) };
  } catch {
    return wrong;
  }
}

interface Inspected {
  readonly faults: readonly Fault[];
  readonly file: ScenarioFile | undefined;
  readonly readable: Readable;
}

/** Parses and checks a whole scenario as it stands. */
function inspect(root: unknown, asWritten: boolean): Inspected {
  const parsed = scenarioFile.safeParse(root, { reportInput: true });
  const readable = parsed.success ? whole(parsed.data, root) : pieces(root);
  const faults = [...(parsed.success ? [] : faultsOf(parsed.error, root)), ...check(readable, asWritten)];
  return { faults, file: faults.length === 0 && parsed.success ? parsed.data : undefined, readable };
}

const whole = (file: ScenarioFile, root: unknown): Readable => ({
  duration: file.duration,
  sampleInterval: file.sample_interval,
  workload: file.workload,
  interventions: file.interventions,
  policies: file.policies,
  phases: file.phases,
  variants: file.variants,
  container: file.container,
  startup: file.startup,
  machine: file.machine,
  go: file.go,
  thresholds: file.thresholds ?? {},
  raw: isMapping(root) ? root : {},
});

/** What can be read of a scenario that has faults. */
function pieces(root: unknown): Readable {
  const raw = isMapping(root) ? root : {};
  const duration = (value: unknown) => durationNs.safeParse(value).data;
  const items = (key: string): Record<string, unknown>[] => {
    const value = raw[key];
    return Array.isArray(value)
      ? value.slice(0, 1000).map((item: unknown) => (isMapping(item) ? item : {}))
      : [];
  };
  const listOf = <T extends z.ZodType>(type: T, key: string): readonly (Partly<z.output<T>> | undefined)[] =>
    items(key).map((item) => partly(type, item));
  return {
    duration: duration(raw["duration"]),
    sampleInterval: duration(raw["sample_interval"] ?? "100ms"),
    workload: items("workload").map((entry) => workloadEntry.safeParse(entry).data),
    interventions: listOf(intervention, "interventions"),
    policies: listOf(policy, "policies"),
    phases: items("phases").map((p) => ({
      at: duration(p["at"]),
      when: when.safeParse(p["when"]).data,
      set: p["set"],
    })),
    variants: items("variants"),
    container: partly(containerSettings, raw["container"]),
    startup: partly(startup, raw["startup"]),
    machine: partly(machine, raw["machine"] ?? {}),
    go: partly(goSettings, raw["go"] ?? {}),
    thresholds: Object.fromEntries(
      Object.entries(isMapping(raw["thresholds"]) ? raw["thresholds"] : {}).map(([metric, of]) => [
        metric,
        thresholdExpressions.safeParse(of).data,
      ]),
    ),
    raw,
  };
}

const keyOf = (fault: Fault) => `${fault.path.join("\u0000")}\u0001${fault.message}`;

function commonLength(a: Path, b: Path): number {
  let i = 0;
  while (i < a.length && i < b.length && String(a[i]) === String(b[i])) i++;
  return i;
}

function shortened(errors: readonly ScenarioError[]): ScenarioError[] {
  const kept = errors.slice(0, MAX_ERRORS);
  const next = errors[MAX_ERRORS];
  if (next !== undefined) {
    const { hint: _hint, ...place } = next;
    kept.push({ ...place, path: "", message: `and ${errors.length - MAX_ERRORS} more faults` });
  }
  return kept;
}

/** By place, without repetitions (a fault of a phase shows in every variant). */
function inOrder(errors: readonly ScenarioError[], fileName: string): ScenarioError[] {
  const seen = new Set<string>();
  return errors
    .filter((e) => {
      const key = JSON.stringify([
        e.file,
        e.line,
        e.column,
        e.path,
        e.message,
        e.file === fileName ? "" : e.source,
      ]);
      const fresh = !seen.has(key);
      seen.add(key);
      return fresh;
    })
    .sort(
      (a, b) =>
        Number(b.file === fileName) - Number(a.file === fileName) || a.line - b.line || a.column - b.column,
    );
}
