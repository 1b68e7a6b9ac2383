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
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
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
    case "DUPLICATE_KEY":
      return { message: "this key is given twice in one mapping", hint: "remove one of them" };
    case "TAB_AS_INDENT":
      return { message: "a tab in the indentation", hint: "YAML indents with spaces" };
    case "BAD_INDENT":
      return {
        message: "the indentation does not fit",
        hint: "keys of one mapping and items of one list start in the same column",
      };
    case "MULTIPLE_DOCS":
      return { message: "a second YAML document begins here", hint: "one scenario per file; remove the ---" };
    case "UNEXPECTED_TOKEN":
      return { message: `not YAML: ${lower(message)}` };
    case "MISSING_CHAR":
      return {
        message: `not YAML: ${lower(message)}`,
        hint: "is a quote, bracket or brace left open above?",
      };
    case "MULTILINE_IMPLICIT_KEY":
    case "BLOCK_AS_IMPLICIT_KEY":
      return {
        message: "a key and its value must start on one line",
        hint: "is there a colon too many, or one missing on the line above?",
      };
    case "TAG_RESOLVE_FAILED":
      return { message: "a scenario has no use for YAML tags (!...)", hint: "quote the text" };
    case "RESOURCE_EXHAUSTION":
      return { message: "nested too deeply to read" };
    default:
      return { message: `not YAML: ${lower(message)}` };
  }
}

const lower = (text: string) => (text === "" ? "it cannot be parsed" : text[0].toLowerCase() + text.slice(1));

/** How deep brackets and dashes nest, at most, counted without parsing: a bound on the parser's recursion. */
function nestingBound(text: string): { depth: number; offset: number } {
  let open = 0;
  let deepest = 0;
  let offset = 0;
  let dashes = 0;
  let lineStart = true;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x5b || c === 0x7b) open++;
    else if ((c === 0x5d || c === 0x7d) && open > 0) open--;
    else if (c === 0x0a) {
      dashes = 0;
      lineStart = true;
      continue;
    } else if ((c === 0x2d || c === 0x3f || c === 0x3a) && lineStart && isBlank(text, i + 1)) dashes++;
    else if (c !== 0x20) lineStart = false;
    if (open + dashes > deepest) {
      deepest = open + dashes;
      offset = i;
    }
    // A comment or a quoted text may hold any brackets; those close on no line, so a line without structure resets.
  }
  return { depth: deepest, offset };
}

const isBlank = (text: string, i: number) => {
  const c = text.charCodeAt(i);
  return i >= text.length || c === 0x20 || c === 0x0a || c === 0x0d;
};

/** Reads a scenario's text. Never throws. */
export function readDocument(text: string): ReadResult {
  const lines = new LineCounter();
  const position = (offset: number): Position => {
    const p = lines.linePos(Math.max(0, Math.min(offset, text.length)));
    return { line: Math.max(1, p.line), column: Math.max(1, p.col) };
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
  const nesting = nestingBound(stripComments(text));
  if (nesting.depth > MAX_DEPTH) return fail(`nested deeper than ${MAX_DEPTH} levels`);

  let doc: Document.Parsed;
  try {
    doc = parseDocument(text, { lineCounter: lines, prettyErrors: false, merge: true, version: "1.2" });
  } catch (error) {
    // The parser recurses; whatever slips past the bound above ends here.
    return fail(error instanceof RangeError ? "nested too deeply to read" : "not YAML: it cannot be parsed");
  }
  const faults: SyntaxFault[] = [...doc.errors, ...doc.warnings].map((error) => ({
    offset: error.pos[0],
    ...yamlFault(error),
  }));
  // A duplicate key or a tag leaves the rest readable: all faults at once. Otherwise what follows would be noise.
  const trusted = doc.errors.every((error) => error.code === "DUPLICATE_KEY");
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

/** Comments and single-line quoted texts hold no structure (they may hold any number of brackets). */
function stripComments(text: string): string {
  return text.replaceAll(/(^|[ \t])#[^\n]*/g, "$1").replaceAll(/"[^"\n]*"|'[^'\n]*'/g, "x");
}

/** One syntax fault often makes the parser stumble on every following line: the first per line, at most ten. */
function dedupe(faults: readonly SyntaxFault[]): SyntaxFault[] {
  const seen = new Set<string>();
  const kept = faults.filter((fault) => {
    const fresh = !seen.has(fault.message);
    seen.add(fault.message);
    return fresh;
  });
  return kept.slice(0, 10);
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
