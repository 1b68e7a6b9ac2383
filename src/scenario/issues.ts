/**
 * zod's issues as faults a person can act on: what was expected in the format's words, what was found, what was meant.
 *
 * Known keys come from the schema itself. A misspelt required key is one fault, not "missing" plus "unknown".
 */
import * as z from "zod";
import type { Path } from "./document.ts";
import { type Fault, isMapping, list, nearest, shown, suggest, tick } from "./faults.ts";
import { core, optionOf } from "./partly.ts";
import { scenarioFile } from "./schema.ts";

type Issue = z.core.$ZodIssue;

/** Unknown keys told of one mapping: more are no misspellings but another kind of file. */
const MAX_KEYS = 100;

/** What to do about a limit that people meet for a reason. */
const HINTS: Readonly<Record<string, string>> = {
  GOMAXPROCS: "leave it out to use machine.cpus",
  workload: "a scenario needs at least one source of allocation",
};

/** The object type that reads the mapping at `path` of `raw`, which `root` reads; undefined where its shape does not say. */
function objectAt(path: Path, raw: unknown, root: z.core.$ZodType): z.ZodObject | undefined {
  let type = root;
  let node = raw;
  for (let i = 0; ; i++) {
    type = core(type);
    if (type instanceof z.ZodDiscriminatedUnion) {
      const option = optionOf(type, node);
      if (option === undefined) return undefined;
      type = option;
    }
    if (i === path.length) return type instanceof z.ZodObject ? type : undefined;
    if (type instanceof z.ZodObject) {
      const next: z.core.$ZodType | undefined = type.shape[String(path[i])];
      if (next === undefined) return undefined;
      type = next;
    } else if (type instanceof z.ZodArray) type = type._zod.def.element;
    else return undefined;
    node = Array.isArray(node) ? node[Number(path[i])] : isMapping(node) ? node[String(path[i])] : undefined;
  }
}

/** Paths from `type` down to objects that have `key`. */
function homesOf(key: string, type: z.core.$ZodType, prefix: string, depth: number): string[] {
  const object = core(type);
  if (!(object instanceof z.ZodObject) || depth > 2) return [];
  return Object.entries(object.shape).flatMap(([name, child]) => {
    const inner = core(child as z.core.$ZodType);
    if (!(inner instanceof z.ZodObject)) return [];
    const path = `${prefix}${name}.`;
    return [
      ...(Object.hasOwn(inner.shape, key) ? [path + key] : []),
      ...homesOf(key, inner, path, depth + 1),
    ];
  });
}

const entryTypes = (): readonly z.core.$ZodType[] => {
  const entries = core(scenarioFile.shape.workload);
  const union = entries instanceof z.ZodArray ? entries._zod.def.element : undefined;
  return union instanceof z.ZodDiscriminatedUnion ? union.options : [];
};

/** Settings of Go and of its surroundings that people will try, and that the model does not know. */
const NOT_MODELLED = new Set(["GOEXPERIMENT"]);

/** Words for settings that have other names here. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  memory_limit: "write `go.GOMEMLIMIT` for the runtime's limit, `container.memory.max` for the kernel's",
};

/** What an unknown key of the mapping at `path` was probably meant to be. */
function unknownKeyHint(key: string, path: Path, raw: unknown, root: z.core.$ZodType): string | undefined {
  if (NOT_MODELLED.has(key)) return `${key} is not modelled yet: remove it; results are those without it`;
  if (Object.hasOwn(OTHER_NAMES, key)) return OTHER_NAMES[key];
  const object = objectAt(path, raw, root);
  if (object === undefined) return undefined;
  const keys = Object.keys(object.shape);
  const near = nearest(key, keys);
  if (near !== undefined) return `did you mean ${tick(near)}?`;
  const home = homesOf(key, object, "", 0)[0] ?? homesOf(key, root, "", 0)[0];
  if (home !== undefined) return `did you mean ${tick(home)}?`;
  const kinds = entryTypes()
    .map(core)
    .filter((o) => o instanceof z.ZodObject && Object.hasOwn(o.shape, key))
    .map((o) => (o instanceof z.ZodObject ? (o.shape["kind"] as z.ZodLiteral).value : ""));
  if (path.length === 2 && path[0] === "workload" && kinds.length > 0)
    return `${tick(key)} is for ${list(kinds.map(String))}; the keys here are ${list(keys.map(tick))}`;
  return `the keys here are ${list(keys.map(tick))}`;
}

const NOUNS: Readonly<Record<string, string>> = {
  object: "a mapping",
  record: "a mapping",
  array: "a list",
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
};

function typeHint(expected: string, input: unknown, key: string): string | undefined {
  if (expected === "string" && (typeof input === "number" || typeof input === "boolean"))
    return `did you mean "${String(input)}", in quotes?`;
  if ((expected === "number" || expected === "int") && typeof input === "string" && /^[\d._ ]+$/.test(input))
    return "write it without quotes";
  if (expected === "array" && key === "workload" && isMapping(input))
    return "each entry begins with a dash: - name: ...";
  if (expected === "array" && isMapping(input)) return "a list of one is a list too: begin it with a dash";
  return undefined;
}

/** One zod issue as faults; `raw` is the value that was parsed. */
function translate(issue: Issue, raw: unknown, root: z.core.$ZodType): Fault[] {
  const path = issue.path.map((step) => (typeof step === "symbol" ? String(step) : step));
  const last = String(path[path.length - 1] ?? "");
  const one = (message: string, hint?: string): Fault[] => [
    hint === undefined ? { path, message } : { path, message, hint },
  ];
  if (
    issue.input === undefined &&
    (issue.code === "invalid_type" || issue.code === "invalid_value" || issue.message === "missing")
  ) {
    const parent = objectAt(path.slice(0, -1), raw, root);
    const field = parent?.shape[last];
    const meaning = field instanceof z.ZodType ? field.description : undefined;
    return one(`${tick(last)} is missing`, meaning);
  }
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.slice(0, MAX_KEYS).map((key) => {
        const hint = unknownKeyHint(key, path, raw, root);
        const fault = { path: [...path, key], message: `unknown key ${tick(key.slice(0, 80))}`, onKey: true };
        return hint === undefined ? fault : { ...fault, hint };
      });
    case "invalid_type":
      return one(
        `expected ${NOUNS[issue.expected] ?? issue.expected}, got ${shown(issue.input)}`,
        typeHint(issue.expected, issue.input, last),
      );
    case "invalid_value": {
      const values = issue.values.map(String);
      const hint = typeof issue.input === "string" ? nearest(issue.input, values) : undefined;
      return one(
        `expected ${list(values.map(tick), "or")}, got ${shown(issue.input)}`,
        hint && `did you mean ${tick(hint)}?`,
      );
    }
    case "invalid_union": {
      if (issue.discriminator === undefined) return one(`cannot be ${shown(issue.input)}`);
      const word = issue.discriminator;
      const value = isMapping(issue.input) ? issue.input[word] : undefined;
      const known = "options" in issue && Array.isArray(issue.options) ? issue.options.map(String) : [];
      if (value === undefined)
        return one(`${tick(word)} is missing`, `the ${word}s are ${list(known.map(tick))}`);
      const text = typeof value === "string" ? value : "";
      if (word === "kind")
        return one(
          `there is no kind ${text === "" ? shown(value) : tick(text.slice(0, 80))}`,
          suggest(text, known, "the kinds are"),
        );
      const near = nearest(text, known);
      return one(
        `expected ${list(known.map(tick), "or")}, got ${shown(value)}`,
        near && `did you mean ${tick(near)}?`,
      );
    }
    case "too_small":
      if (issue.origin === "array" || issue.origin === "string")
        return one(
          `needs at least ${issue.minimum} ${issue.origin === "array" ? "item" : "character"}`,
          HINTS[last],
        );
      return one(
        `must be ${issue.inclusive === false ? "more than" : "at least"} ${issue.minimum}, got ${shown(issue.input)}`,
        HINTS[last],
      );
    case "too_big":
      if (issue.origin === "array") return one(`has more than ${issue.maximum} items`);
      if (issue.origin === "string") return one(`is longer than ${issue.maximum} characters`);
      return one(`must be at most ${issue.maximum}, got ${shown(issue.input)}`);
    case "invalid_format":
      return one(`${issue.message}, got ${shown(issue.input)}`);
    case "custom": {
      const hint: unknown = issue.params?.["hint"];
      return one(issue.message, typeof hint === "string" ? hint : undefined).map((fault) =>
        issue.message.startsWith("unknown ") ? { ...fault, onKey: true } : fault,
      );
    }
    default:
      return one(issue.message);
  }
}

/**
 * All issues of one parse as faults. `base`: the path of the parsed value in `raw`, when it is a part of it. `root`: what reads `raw`,
 * where that is no scenario.
 */
export function faultsOf(
  error: z.ZodError,
  raw: unknown,
  base: Path = [],
  root: z.core.$ZodType = scenarioFile,
): Fault[] {
  const faults = error.issues.flatMap((issue) =>
    translate(base.length === 0 ? issue : { ...issue, path: [...base, ...issue.path] }, raw, root),
  );
  // A required key that is "missing" because it is misspelt right beside: the misspelling says it.
  const place = (path: Path) => path.slice(0, -1).join("\u0000");
  const misspelt = new Set(
    faults.flatMap((f) => {
      const meant = f.onKey ? /^did you mean `([^`.]+)`\?$/.exec(f.hint ?? "") : null;
      return meant === null ? [] : [`${place(f.path)}\u0000${meant[1]}`];
    }),
  );
  return faults.filter(
    (f) =>
      !f.message.endsWith("is missing") ||
      !misspelt.has(`${place(f.path)}\u0000${String(f.path[f.path.length - 1])}`),
  );
}
