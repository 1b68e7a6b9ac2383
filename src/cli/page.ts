/**
 * The report page's bundle, as `npm run build` leaves it in dist/page: found from source and compiled alike, since both are two folders
 * down. With it the page's policy hashes, and how series are packed.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { deflateRawSync } from "node:zlib";
import type { PageBundle } from "../report/html.ts";
import type { Deflate } from "../report/reportdata.ts";
import { CliError, EXIT, reasonOf } from "./exit.ts";

const FOLDER = new URL("../../dist/page/", import.meta.url);

function read(name: string): string {
  const url = new URL(name, FOLDER);
  try {
    return readFileSync(url, "utf8");
  } catch (error) {
    throw new CliError(
      EXIT.input,
      `${fileURLToPath(url)}: the report page is not built: ${reasonOf(error)}; run \`npm run build\` first`,
      { cause: error },
    );
  }
}

const hash = (text: string): string => `sha256-${createHash("sha256").update(text).digest("base64")}`;

/** With the hashes that the page's policy names. */
export const bundleOf = (script: string, style: string): PageBundle => ({
  script,
  scriptHash: hash(script),
  style,
  styleHash: hash(style),
});

let built: PageBundle | undefined;

/** Read once: a thread may write many pages. */
export function pageBundle(): PageBundle {
  built ??= bundleOf(read("report.js"), read("report.css"));
  return built;
}

/** Level 3 costs a third of the default's time and at most a seventh in size. */
export const deflate: Deflate = (bytes) => deflateRawSync(bytes, { level: 3 }).toString("base64");
