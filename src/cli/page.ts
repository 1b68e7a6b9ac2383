/**
 * The report page's bundle and the hashes its policy names, as `npm run build` leaves them in dist/page: found from source and compiled
 * alike, since both are two folders down. And how series are packed.
 */
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

let built: PageBundle | undefined;

/** Read once: a thread may write many pages. */
export function pageBundle(): PageBundle {
  if (built === undefined) {
    const hashes: Pick<PageBundle, "scriptHash" | "styleHash"> = JSON.parse(read("hashes.json"));
    built = { script: read("report.js"), style: read("report.css"), ...hashes };
  }
  return built;
}

/** Level 3 costs a third of the default's time and at most a seventh in size. */
export const deflate: Deflate = (bytes) => deflateRawSync(bytes, { level: 3 }).toString("base64");
