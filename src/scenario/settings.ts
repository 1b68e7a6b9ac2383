/**
 * `set` paths: how phases, variants and `--set` name one setting of a scenario.
 *
 * `duration`, `go.GOGC`, `workload.NAME.field`, `workload.NAME.objects.GROUP.size`, `workload.NAME.size.lognormal.sigma`.
 * A list's item is called by its `name`, or by its index. Values replace what is there whole; null removes the setting,
 * so that its default holds. Everything works on the scenario as written, before defaults, and copies what it changes.
 */
import type { Path } from "./document.ts";
import { type Fault, isMapping, shown, suggest, tick } from "./faults.ts";
import { FIXED_IN_PHASES, scenarioFile } from "./schema.ts";

export type Applied = { readonly root: unknown; readonly path: Path } | { readonly fault: Fault };

const TOP_LEVEL = Object.keys(scenarioFile.shape);
const NOT_SETTABLE: readonly string[] = ["name", "variants", "phases"];

const fault = (message: string, hint?: string): Applied => ({
  fault: hint === undefined ? { path: [], message } : { path: [], message, hint },
});

/** Sets one path to a value in a copy of `root`. */
export function applySetting(root: unknown, path: string, value: unknown, inPhase = false): Applied {
  const steps = path.split(".");
  if (path === "" || steps.some((step) => step === ""))
    return fault(`${shown(path)} is not a path`, "write it like `workload.NAME.rate` or `go.GOGC`");
  if (steps.length > 20) return fault(`${shown(path)} is not a path: it has ${steps.length} steps`);
  const first = steps[0];
  if (!TOP_LEVEL.includes(first)) {
    const named = entryNames(root).includes(first);
    return fault(
      `there is no setting ${tick(first)}`,
      named
        ? `did you mean ${tick(`workload.${path}`)}?`
        : suggest(first, TOP_LEVEL, "a path begins with one of"),
    );
  }
  if (inPhase) {
    if (first !== "workload")
      return fault(
        `a phase can change the workload only, not ${tick(first)}`,
        "to compare settings use `variants`",
      );
    if (steps.length === 2) return fault("a phase changes fields of an entry: `workload.NAME.field`");
    if (FIXED_IN_PHASES.includes(steps[2]) && steps.length === 3)
      return fault(`${tick(steps[2])} is fixed when an entry starts; a phase cannot change it`);
  } else if (NOT_SETTABLE.includes(first)) return fault(`${tick(first)} cannot be set by a path`);
  if (first === "workload" && steps.length > 2 && steps[2] === "name" && steps.length === 3)
    return fault("an entry's name cannot be set: paths go by it");
  if (first === "workload" && steps.length === 1 && !Array.isArray(value))
    return fault("the workload is a list; to change one of its entries write `workload.NAME.field`");
  const concrete: (string | number)[] = [];
  const changed = change(root, steps, 0, value, concrete);
  return "fault" in changed ? changed : { root: changed.value, path: concrete };
}

type Changed = { readonly value: unknown } | { readonly fault: Fault };

function change(
  node: unknown,
  steps: readonly string[],
  at: number,
  value: unknown,
  concrete: (string | number)[],
): Changed {
  if (at === steps.length) return { value };
  const step = steps[at];
  const sofar = steps.slice(0, at).join(".");
  if (Array.isArray(node)) {
    const index = indexOf(node, step);
    if (index === undefined) {
      const names = node.map(nameOf).filter((name): name is string => name !== undefined);
      const what = sofar === "workload" ? "no workload entry" : `nothing in ${tick(sofar)}`;
      return {
        fault: {
          path: [],
          message: `${what} is called ${tick(step)}`,
          hint:
            names.length > 0
              ? suggest(step, [...new Set(names)], "the names here are")
              : `name its items, or give an index from 0 to ${node.length - 1}`,
        },
      };
    }
    concrete.push(index);
    const below = change(node[index], steps, at + 1, value, concrete);
    return "fault" in below ? below : { value: node.with(index, below.value) };
  }
  if (node === undefined || node === null || isMapping(node)) {
    concrete.push(step);
    const old = isMapping(node) && Object.hasOwn(node, step) ? node[step] : undefined;
    if (at === steps.length - 1 && value === null) {
      if (!isMapping(node)) return { value: node };
      const { [step]: _removed, ...rest } = node;
      return { value: rest };
    }
    const below = change(old, steps, at + 1, value, concrete);
    if ("fault" in below) return below;
    const copy: Record<string, unknown> = isMapping(node) ? { ...node } : {};
    Object.defineProperty(copy, step, {
      value: below.value,
      writable: true,
      enumerable: true,
      configurable: true,
    });
    return { value: copy };
  }
  return {
    fault: {
      path: [],
      message: `${tick(sofar)} is ${shown(node)}; there is no ${tick(step)} in it`,
      hint: `to change it set ${tick(sofar)} itself`,
    },
  };
}

const nameOf = (item: unknown): string | undefined =>
  isMapping(item) && typeof item["name"] === "string" ? item["name"] : undefined;

const indexOf = (items: readonly unknown[], step: string): number | undefined => {
  const named = items.findIndex((item) => nameOf(item) === step);
  if (named >= 0) return named;
  return /^\d{1,6}$/.test(step) && Number(step) < items.length ? Number(step) : undefined;
};

export function entryNames(root: unknown): string[] {
  const workload = isMapping(root) ? root["workload"] : undefined;
  if (!Array.isArray(workload)) return [];
  return workload.map(nameOf).filter((name): name is string => name !== undefined);
}

/** A path as `set` would write it: entries and groups by their names where they have one. */
export function spellPath(root: unknown, path: Path): string {
  let node = root;
  const steps = path.map((step) => {
    const item: unknown = Array.isArray(node)
      ? node[Number(step)]
      : isMapping(node)
        ? node[String(step)]
        : undefined;
    const same = Array.isArray(node) ? node.filter((other) => nameOf(other) === nameOf(item)).length : 0;
    node = item;
    const name = typeof step === "number" ? nameOf(item) : undefined;
    return name !== undefined && same === 1 && /^[\w-]{1,64}$/.test(name) ? name : String(step);
  });
  return steps.map((step) => (step.length > 80 ? `${step.slice(0, 77)}...` : step)).join(".");
}
