/**
 * Standard output, written so that a failure is noticed: Node reports a closed pipe or a full disk later, as an event.
 */
import { fstatSync, writeSync } from "node:fs";
import pc from "picocolors";
import type { Paint } from "../report/terminal.ts";
import { CliError, EXIT, errorCode, reasonOf } from "./exit.ts";

let failure: Error | undefined;

/** Must be called once, before anything is printed. */
export function watchStandardStreams(): void {
  process.stdout.on("error", (error) => {
    failure ??= error;
  });
  // Nowhere left to complain to: what matters is the exit status.
  process.stderr.on("error", () => {});
}

/** What went wrong, if anything did. */
function written(text: string | Uint8Array): unknown {
  const bytes = typeof text === "string" ? Buffer.from(text, "utf8") : text;
  const { fd } = process.stdout;
  try {
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
  } catch (error) {
    return error;
  }
  return undefined;
}

/** Whether it is redirected into a file. */
function isFile(): boolean {
  try {
    return fstatSync(process.stdout.fd).isFile();
  } catch {
    return false;
  }
}

/** Prints and waits until the text is out; a CliError when it cannot be. */
export async function print(text: string | Uint8Array): Promise<void> {
  // Into a file Node's stream writes once and takes what fitted on the disk for all of it.
  const error = isFile()
    ? written(text)
    : await new Promise<Error | null | undefined>((resolve) => {
        process.stdout.write(text, (problem) => resolve(problem));
      });
  // Once it has failed, every later write fails for that alone.
  const problem = failure ?? error;
  if (problem === undefined || problem === null) return;
  const closed = errorCode(problem) === "EPIPE";
  throw new CliError(
    EXIT.output,
    closed
      ? "standard output was closed before everything was printed"
      : `standard output: cannot be written: ${reasonOf(problem)}`,
    { cause: problem },
  );
}

/** A message for the user on standard error. */
export function complain(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Whether to colour: not if NO_COLOR says anything, as FORCE_COLOR says if it is set (0: no), else on a terminal. */
export function colorsOn(stream: NodeJS.WriteStream): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  if (NO_COLOR) return false;
  if (FORCE_COLOR !== undefined) return FORCE_COLOR !== "0";
  return stream.isTTY === true && TERM !== "dumb";
}

export function paintFor(stream: NodeJS.WriteStream): Paint {
  const { bold, dim, cyan } = pc.createColors(colorsOn(stream));
  return { bold, dim, cyan };
}

/** Columns to fill: the terminal's, COLUMNS where there is none, else 100. */
export function widthOf(stream: NodeJS.WriteStream): number {
  const given = Number(process.env["COLUMNS"]);
  // A terminal that does not know its size says 0.
  const columns = stream.columns || (Number.isInteger(given) && given > 0 ? given : 100);
  return Math.max(20, Math.min(columns, 160));
}

/** Whether the locale says that only ASCII shows. No locale at all (containers) is taken as UTF-8. */
export function onlyAscii(): boolean {
  const locale = process.env["LC_ALL"] || process.env["LC_CTYPE"] || process.env["LANG"] || "";
  return locale !== "" && !/utf-?8/i.test(locale);
}
