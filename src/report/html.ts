/**
 * report.html: the page's program and style, and the data of one run, or of several to be laid over each other, in one file.
 *
 * The page loads nothing and runs nothing but its own script: a Content-Security-Policy says so, by the hashes of script and style.
 * Data stands in script elements of a type that is not run, as JSON with `<` and the two line separators escaped, so that no text
 * of a scenario can end the element; the page puts texts into nodes, never into markup. Hence nothing here depends on what the data says.
 */
import type { ComparisonTexts, ReportRun } from "./reportdata.ts";

/** The bundled page (built from src/page) with the hashes its policy names, `sha256-...`. */
export interface PageBundle {
  readonly script: string;
  readonly scriptHash: string;
  readonly style: string;
  readonly styleHash: string;
}

/** JSON that may stand inside a script element. */
export function jsonForScript(value: unknown): string {
  return JSON.stringify(value)
    .replaceAll("<", "\\u003c")
    .replaceAll("\u2028", "\\u2028")
    .replaceAll("\u2029", "\\u2029");
}

/** `comparison`: of runs laid over each other, what they differ in. */
export function reportHtml(
  runs: readonly ReportRun[],
  bundle: PageBundle,
  comparison?: ComparisonTexts,
): string {
  const data = [
    ...runs.map((run) => ["run", run] as const),
    ...(comparison === undefined ? [] : [["comparison", comparison] as const]),
  ];
  const policy = [
    "default-src 'none'",
    `script-src '${bundle.scriptHash}'`,
    `style-src '${bundle.styleHash}'`,
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="gomemsim">
<title>gomemsim report</title>
<link rel="icon" href="data:,">
<style>${bundle.style}</style>
</head>
<body>
<noscript><p>This report draws its charts with a script that is part of the file; please allow scripts for it.</p></noscript>
<main id="report"></main>
${data.map(([name, value]) => `<script type="application/json" class="${name}">${jsonForScript(value)}</script>`).join("\n")}
<script>${bundle.script}</script>
</body>
</html>
`;
}
