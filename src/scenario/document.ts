/**
 * A scenario file as YAML: its plain value, its syntax faults in our words, and where every part of it stands.
 *
 * YAML 1.2 with merge keys (`<<`), so that anchors can share settings. A file is small by nature: size, depth and alias
 * expansion are bounded before anything is built from it.
 */
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  type Node,
  type Pair,
  parseDocument,
  visit,
  type YAMLError,
} from "yaml";
import { shown } from "./faults.ts";

export const MAX_SCENARIO_BYTES = 2 ** 20;
const MAX_DEPTH = 64;
const MAX_ALIASES = 100;

export type Path = readonly (string | number)[];

/** Where something stands in a text: 1-based, columns in UTF-16 units. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** A fault of a scenario, where the user can find it. */
export interface ScenarioError {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** The setting at fault, as `set` would name it; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
  readonly hint?: string;
  /** The source line, for the excerpt. */
  readonly source?: string;
}

/** Where a setting stands: its key, and its value when there is one. */
export interface Place {
  readonly key: number;
  readonly value: number;
  readonly node: Node | null;
  /** How many of the path's steps exist. */
  readonly found: number;
}

export interface ScenarioDocument {
  readonly root: unknown;
  readonly text: string;
  /** Follows `path` from `from` (default: the top) as far as it exists. */
  locate(path: Path, from?: Place): Place;
  position(offset: number): Position;
  line(line: number): string;
}

export interface SyntaxFault {
  readonly offset: number;
  readonly message: string;
  readonly hint?: string;
}

export type ReadResult = {
  /** Undefined when the text's structure cannot be trusted. */
  readonly document: ScenarioDocument | undefined;
  readonly faults: readonly SyntaxFault[];
  readonly position: (offset: number) => Position;
};

/** What is wrong with a file of that size; undefined when it may be read. For callers that know it before reading. */
export function tooLarge(bytes: number): string | undefined {
  if (bytes <= MAX_SCENARIO_BYTES) return undefined;
  return `the file has ${(bytes / 2 ** 20).toFixed(1)} MiB; a scenario has at most ${MAX_SCENARIO_BYTES / 2 ** 20} MiB`;
}

/** In our words, by the parser's code; its own words serve where it is precise. */
function yamlFault(error: YAMLError): { message: string; hint?: string } {
  const message = (error.message.split("\n")[0] ?? "").replace(/ at line \d+, column \d+:?$/, "");
  switch (error.code) {
    case "TAB_AS_INDENT":
      return { message: "a tab in the indentation", hint: "YAML indents with spaces" };
    case "BAD_INDENT":
      if (message.startsWith("Flow"))
        return {
          message: `a ${message.endsWith("]") ? "[ without its ]" : "{ without its }"}`,
          hint: "what it holds must stand to the right of its key",
        };
      return {
        message: "the indentation does not fit",
        hint: "keys of one mapping and items of one list start in the same column",
      };
    case "MULTIPLE_DOCS":
      return { message: "a second YAML document begins here", hint: "one scenario per file; remove the ---" };
    case "UNEXPECTED_TOKEN":
      if (/flow-(map|seq)-end/.test(message))
        return { message: `a ${message.includes("map") ? "}" : "]"} that closes nothing` };
      return { message: `not YAML: ${lower(message)}` };
    case "MISSING_CHAR":
      if (message.includes("quote"))
        return { message: `a ${message.includes("'") ? "'" : '"'} without its pair` };
      return {
        message: "the indentation does not fit",
        hint: "keys of one item start in the same column, after its dash",
      };
    case "MULTILINE_IMPLICIT_KEY":
      return {
        message: "a key must stand on one line with its colon",
        hint: "is the colon missing, or is the next line indented too deep?",
      };
    case "BLOCK_AS_IMPLICIT_KEY":
      return { message: "two colons in one line", hint: 'put a text that holds ": " in quotes' };
    case "BAD_SCALAR_START":
      return { message: "a text cannot start with this character", hint: "put the text in quotes" };
    case "BAD_ALIAS":
      return { message: lower(message) };
    case "TAG_RESOLVE_FAILED":
      return { message: "a scenario has no use for YAML tags (!...)", hint: "quote the text" };
    case "RESOURCE_EXHAUSTION":
      return { message: "nested too deeply to read" };
    default:
      return { message: `not YAML: ${lower(message)}` };
  }
}

const lower = (text: string) => (text === "" ? "it cannot be parsed" : text[0].toLowerCase() + text.slice(1));

/**
 * How deep brackets, and dashes on one line, nest at most, counted without parsing: a bound on the parser's recursion.
 * Comments and quoted texts hold no structure. `offset`: where the bound was passed.
 */
function nestingBound(text: string): { depth: number; offset: number } {
  let open = 0;
  let dashes = 0;
  let deepest = 0;
  let lineStart = true;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === "\n") {
      dashes = 0;
      lineStart = true;
    } else if (c === "#" && (lineStart || text[i - 1] === " ")) {
      i = lineEnd(text, i) - 1;
    } else if ((c === '"' || c === "'") && !isWord(text[i - 1])) {
      const end = text.indexOf(c, i + 1);
      if (end > 0 && end < lineEnd(text, i)) i = end;
      lineStart = false;
    } else if (c === "[" || c === "{") open++;
    else if (c === "]" || c === "}") open = Math.max(0, open - 1);
    else if (lineStart && (c === "-" || c === "?" || c === ":") && isBlank(text, i + 1)) dashes++;
    else if (c !== " ") lineStart = false;
    deepest = Math.max(deepest, open + dashes);
    if (deepest > MAX_DEPTH) return { depth: deepest, offset: i };
  }
  return { depth: deepest, offset: 0 };
}

const lineEnd = (text: string, from: number) => {
  const end = text.indexOf("\n", from);
  return end < 0 ? text.length : end;
};

const isWord = (c: string | undefined) => c !== undefined && /\w/.test(c);

const isBlank = (text: string, i: number) => {
  const c = text.charCodeAt(i);
  return i >= text.length || c === 0x20 || c === 0x0a || c === 0x0d;
};

/** Offsets where lines begin; of a text too large to be read only the first. */
function startsOf(text: string): number[] {
  const starts = [0];
  if (text.length > MAX_SCENARIO_BYTES) return starts;
  for (let i = text.indexOf("\n"); i >= 0; i = text.indexOf("\n", i + 1)) starts.push(i + 1);
  return starts;
}

function skipSpaces(text: string, offset: number): number {
  let i = offset;
  while (text[i] === " ") i++;
  return i < text.length ? i : offset;
}

/** Reads a scenario's text. Never throws. */
export function readDocument(text: string): ReadResult {
  const lineStarts = startsOf(text);
  const position = (offset: number): Position => {
    let low = 0;
    let high = lineStarts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (lineStarts[middle] <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: Math.max(0, offset - lineStarts[low]) + 1 };
  };
  const fail = (message: string, hint?: string, offset = 0): ReadResult => ({
    document: undefined,
    faults: [hint === undefined ? { offset, message } : { offset, message, hint }],
    position,
  });
  // UTF-16 units are a lower bound of the bytes: a huge text is refused without encoding it.
  const bytes = text.length > MAX_SCENARIO_BYTES ? text.length : new TextEncoder().encode(text).byteLength;
  const large = tooLarge(bytes);
  if (large !== undefined) return fail(large);
  if (text.trim() === "")
    return fail("the file is empty", "a scenario has at least name, duration and workload");
  const nul = text.indexOf("\0");
  if (nul >= 0 || text.includes("\ufffd\ufffd"))
    return fail("not a text file", "a scenario is YAML text in UTF-8");
  const nesting = nestingBound(text);
  if (nesting.depth > MAX_DEPTH)
    return fail(`nested deeper than ${MAX_DEPTH} levels`, undefined, nesting.offset);

  let doc: Document.Parsed;
  try {
    doc = parseDocument(text, { prettyErrors: false, uniqueKeys: false, merge: true, version: "1.2" });
  } catch (error) {
    // The parser recurses; whatever slips past the bound above ends here.
    return fail(error instanceof RangeError ? "nested too deeply to read" : "not YAML: it cannot be parsed");
  }
  const keys = checkKeys(doc);
  const faults = [...doc.errors, ...doc.warnings]
    .map((error): SyntaxFault => ({ offset: skipSpaces(text, error.pos[0]), ...yamlFault(error) }))
    .concat(keys.faults);
  // A key given twice or a tag leaves the rest readable: all faults at once. Otherwise what follows would be noise.
  const trusted = keys.readable && doc.errors.length === 0;
  if (!trusted) return { document: undefined, faults: dedupe(faults), position };

  let root: unknown;
  try {
    root = doc.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    const alias = text.indexOf("*");
    const message = error instanceof Error ? error.message : "";
    return fail(
      /alias count/i.test(message)
        ? `aliases expand to more than ${MAX_ALIASES} copies`
        : `not YAML: ${lower(message)}`,
      undefined,
      Math.max(0, alias),
    );
  }
  if (typeof root !== "object" || root === null || Array.isArray(root)) {
    const hint = "a scenario is a mapping: name, duration, workload, ...";
    const what = root === null ? "only comments" : shown(root);
    return fail(`expected a scenario, got ${what}`, hint, doc.contents?.range?.[0] ?? 0);
  }
  return { document: { root, text, position, ...navigation(doc, text) }, faults, position };
}

/** Keys given twice, and keys that are no plain text (`readable` is false then). The parser's own check is quadratic. */
function checkKeys(doc: Document.Parsed): {
  readonly readable: boolean;
  readonly faults: readonly SyntaxFault[];
} {
  const faults: SyntaxFault[] = [];
  let readable = true;
  visit(doc, {
    Map(_, map) {
      const seen = new Set<string>();
      for (const { key } of map.items) {
        const offset = isNode(key) && key.range ? key.range[0] : 0;
        if (key !== null && !isScalar(key)) {
          faults.push({
            offset,
            message: "a mapping or a list cannot be a key",
            hint: "is this a template whose {{ }} were not filled in?",
          });
          readable = false;
          return visit.BREAK;
        }
        const name = String(key?.value ?? "");
        if (seen.has(name))
          faults.push({
            offset,
            message: "this key is given twice in one mapping",
            hint: "remove one of them",
          });
        seen.add(name);
      }
      return undefined;
    },
  });
  return { readable, faults };
}

/** One syntax fault often makes the parser stumble again: the telling one of each place, ten at most. */
function dedupe(faults: readonly SyntaxFault[]): SyntaxFault[] {
  const byOffset = new Map<number, SyntaxFault>();
  for (const fault of faults) {
    const other = byOffset.get(fault.offset);
    // A line indented too deep looks like a second colon first.
    if (other === undefined || other.message.startsWith("two colons")) byOffset.set(fault.offset, fault);
  }
  const seen = new Set<string>();
  return [...byOffset.values()]
    .filter((fault) => {
      const fresh = !seen.has(fault.message);
      seen.add(fault.message);
      return fresh;
    })
    .slice(0, 10);
}

function navigation(doc: Document.Parsed, text: string): Pick<ScenarioDocument, "locate" | "line"> {
  const offsetOf = (node: unknown, otherwise: number) =>
    isNode(node) && node.range ? node.range[0] : otherwise;
  const resolve = (node: unknown): unknown => (isAlias(node) ? node.resolve(doc) : node);

  /** The pair of that key, also through `<<`. */
  const find = (map: unknown, key: string, depth: number): Pair | undefined => {
    if (!isMap(map) || depth > 8) return undefined;
    // The last of duplicates is the one whose value counts.
    for (let i = map.items.length - 1; i >= 0; i--) {
      const pair = map.items[i];
      if (isScalar(pair.key) && String(pair.key.value) === key) return pair;
    }
    for (const pair of map.items) {
      if (!isScalar(pair.key) || String(pair.key.source ?? pair.key.value) !== "<<") continue;
      const merged = resolve(pair.value);
      const sources = isSeq(merged) ? merged.items.map(resolve) : [merged];
      for (const source of sources) {
        const hit = find(source, key, depth + 1);
        if (hit !== undefined) return hit;
      }
    }
    return undefined;
  };

  const top: Place = {
    key: offsetOf(doc.contents, 0),
    value: offsetOf(doc.contents, 0),
    node: doc.contents,
    found: 0,
  };
  const locate = (path: Path, from: Place = top): Place => {
    let place: Place = { ...from, found: 0 };
    for (let i = 0; i < path.length; i++) {
      const node = resolve(place.node);
      let next: Place | undefined;
      if (isSeq(node) && typeof path[i] === "number") {
        const item = node.items[path[i] as number];
        if (isNode(item)) {
          const at = offsetOf(item, place.value);
          next = { key: at, value: at, node: item, found: i + 1 };
        }
      } else {
        const pair = find(node, String(path[i]), 0);
        if (pair !== undefined) {
          const key = offsetOf(pair.key, place.key);
          const value = isNode(pair.value) ? pair.value : null;
          // An empty value has a place of its own after the colon; the key says more.
          const empty = value === null || (isScalar(value) && value.value === null && value.source === "");
          next = { key, value: empty ? key : offsetOf(value, key), node: value, found: i + 1 };
        }
      }
      if (next === undefined) return place;
      place = next;
    }
    return place;
  };
  const lines = text.split(/\r?\n/);
  return { locate, line: (line) => lines[line - 1] ?? "" };
}
