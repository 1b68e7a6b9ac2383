/**
 * The JSON Schema of scenario files, for editors: generated from the zod schema, never edited.
 *
 * `tsx src/scenario/json-schema.ts` writes scenarios/scenario.schema.json; a test fails when it is out of date.
 */
import { writeFileSync } from "node:fs";
import { argv } from "node:process";
import { fileURLToPath } from "node:url";
import * as z from "zod";
import { scenarioFile } from "./schema.ts";

export function scenarioJsonSchema(): string {
  const schema = z.toJSONSchema(scenarioFile, { io: "input", target: "draft-2020-12" });
  return `${JSON.stringify(schema, null, 2)}\n`;
}

if (argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(new URL("../../scenarios/scenario.schema.json", import.meta.url), scenarioJsonSchema());
