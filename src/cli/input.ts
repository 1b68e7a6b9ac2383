/**
 * Reading what the user names: a scenario or profile file, or `-` for standard input. Anything that cannot be such a
 * file (a folder, a missing or huge file, bytes that are not UTF-8) is refused before parsing, in one clear line.
 */
import { closeSync, fstatSync, openSync, readdirSync, readSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { distance } from "fastest-levenshtein";
import { CliError, EXIT, errorCode, reasonOf } from "./exit.ts";

/** Hand-written scenarios are a few KiB; beyond this a file is something else, and parsing it would only take long. */
export const MAX_INPUT_BYTES = 1 << 20;

const tooLarge = (label: string, size: string): CliError =>
  new CliError(
    EXIT.input,
    `${label}: ${size} is too large for a scenario file (at most ${MAX_INPUT_BYTES / 2 ** 20} MiB); is it the right file?`,
  );

/** At most `MAX_INPUT_BYTES + 1` bytes of the descriptor. Works for pipes, whose size nobody knows before the end. */
function readBounded(fd: number): Buffer {
  const buffer = Buffer.allocUnsafe(MAX_INPUT_BYTES + 1);
  let length = 0;
  while (length < buffer.length) {
    let count: number;
    try {
      count = readSync(fd, buffer, length, buffer.length - length, null);
    } catch (error) {
      // A non-blocking standard input (a terminal, some shells' pipes) has nothing yet: wait a little.
      if (errorCode(error) === "EAGAIN") {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
        continue;
      }
      if (errorCode(error) === "EOF") break;
      throw error;
    }
    if (count === 0) break;
    length += count;
  }
  return buffer.subarray(0, length);
}

function decode(bytes: Buffer, label: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    const zero = bytes.subarray(0, 4096).includes(0);
    throw new CliError(
      EXIT.input,
      `${label}: not UTF-8 text${zero ? "; it looks like a binary file" : `, line ${lineOfInvalid(bytes)} has bytes that are not`}`,
    );
  }
}

/** The first line whose bytes do not decode. A line feed never occurs inside a UTF-8 character. */
function lineOfInvalid(bytes: Buffer): number {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let line = 1;
  let start = 0;
  while (start < bytes.length) {
    const end = bytes.indexOf(10, start);
    try {
      decoder.decode(bytes.subarray(start, end < 0 ? bytes.length : end));
    } catch {
      return line;
    }
    if (end < 0) break;
    line++;
    start = end + 1;
  }
  return line;
}

/** A file of the same folder with a similar name, for a mistyped path. */
function similarFile(path: string): string | undefined {
  let names: string[];
  try {
    names = readdirSync(dirname(path));
  } catch {
    return undefined;
  }
  const wanted = basename(path);
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(wanted.length / 3)) + 1;
  for (const name of names) {
    // A forgotten extension is the likeliest slip of all.
    const apart = name === `${wanted}.yaml` || name === `${wanted}.yml` ? 0 : distance(wanted, name);
    if (apart < bestDistance) {
      best = name;
      bestDistance = apart;
    }
  }
  return best === undefined ? undefined : join(dirname(path), best);
}

export interface Input {
  /** How messages call it: the path as given, or `<stdin>`. */
  readonly label: string;
  readonly text: string;
}

/** Reads a whole UTF-8 file, or standard input for `-`; throws a CliError that says what is wrong with it. */
export function readInput(path: string): Input {
  const standardInput = path === "-";
  const label = standardInput ? "<stdin>" : path;
  if (path === "") throw new CliError(EXIT.usage, "the file name is empty");
  let fd: number | undefined;
  try {
    if (standardInput) fd = 0;
    else fd = openSync(path, "r");
    const stat = fstatSync(fd);
    if (stat.isDirectory()) {
      throw new CliError(EXIT.input, `${label}: is a folder; name a file in it`);
    }
    if (stat.isFile() && stat.size > MAX_INPUT_BYTES) {
      throw tooLarge(label, `${(stat.size / 2 ** 20).toFixed(1)} MiB`);
    }
    const bytes = readBounded(fd);
    if (bytes.length > MAX_INPUT_BYTES) throw tooLarge(label, `more than ${MAX_INPUT_BYTES / 2 ** 20} MiB`);
    return { label, text: decode(bytes, label) };
  } catch (error) {
    if (error instanceof CliError) throw error;
    const code = errorCode(error);
    if (code === undefined) throw error;
    const hint = code === "ENOENT" && !standardInput ? similarFile(path) : undefined;
    throw new CliError(
      EXIT.input,
      `${label}: cannot be read: ${reasonOf(error)}${hint === undefined ? "" : `; did you mean ${hint}?`}`,
      { cause: error },
    );
  } finally {
    if (fd !== undefined && !standardInput) closeSync(fd);
  }
}
