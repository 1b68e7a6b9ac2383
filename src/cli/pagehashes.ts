/**
 * What the page's policy names: hashes of its script and style, which `npm run page` writes beside them. Every run writes a page, and
 * loading node:crypto would take it longer than hashing.
 */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { argv } from "node:process";
import { fileURLToPath } from "node:url";
import type { PageBundle } from "../report/html.ts";

const hash = (text: string): string => `sha256-${createHash("sha256").update(text).digest("base64")}`;

export const hashesOf = (script: string, style: string): Pick<PageBundle, "scriptHash" | "styleHash"> => ({
  scriptHash: hash(script),
  styleHash: hash(style),
});

if (argv[1] === fileURLToPath(import.meta.url)) {
  const file = (name: string): URL => new URL(`../../dist/page/${name}`, import.meta.url);
  const read = (name: string): string => readFileSync(file(name), "utf8");
  writeFileSync(file("hashes.json"), JSON.stringify(hashesOf(read("report.js"), read("report.css"))));
}
