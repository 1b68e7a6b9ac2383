/** Scenario errors as text: `file:line:column: path: message`, the source line with a caret, and the hint. */
import type { ScenarioError } from "./document.ts";

const WIDTH = 100;

/** Control characters would let a file repaint the user's terminal. */
const printable = (text: string) => text.replaceAll("\t", " ").replaceAll(/\p{Cc}/gu, "?");

export function formatErrors(errors: readonly ScenarioError[], options: { readonly color: boolean }): string {
  const paint = (code: number) => (text: string) =>
    options.color ? `\u001b[${code}m${text}\u001b[0m` : text;
  const [bold, red, cyan, dim] = [1, 31, 36, 2].map(paint);
  return errors
    .map((error) => {
      const path = error.path === "" ? "" : `${bold(printable(error.path))}: `;
      const lines = [`${error.file}:${error.line}:${error.column}: ${path}${red(printable(error.message))}`];
      if (error.source !== undefined && error.source.trim() !== "") {
        // A long line is shown around the caret.
        const column = Math.min(error.column, error.source.length + 1);
        const from = column > WIDTH - 20 ? column - 40 : 0;
        const gutter = `${error.line} | `;
        lines.push(`  ${dim(gutter)}${printable(error.source.slice(from, from + WIDTH))}`);
        lines.push(
          `  ${dim(`${" ".repeat(gutter.length - 2)}| `)}${" ".repeat(column - 1 - from)}${red("^")}`,
        );
      }
      if (error.hint !== undefined) lines.push(`  ${cyan(printable(error.hint))}`);
      return lines.join("\n");
    })
    .join("\n\n");
}
