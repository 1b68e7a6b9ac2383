/**
 * Whatever tests write goes into one folder, removed after all of them: what is left of a suite that is skipped, whose hooks do
 * not run, and of programs that were killed, too.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export default function setup(): () => void {
  const folder = mkdtempSync(join(tmpdir(), "gomemsim-tests-"));
  process.env["TMPDIR"] = folder;
  return () => rmSync(folder, { recursive: true, force: true });
}
