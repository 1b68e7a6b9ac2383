/**
 * How `npm run build` makes dist/ of index.ts, the command and its worker thread; benches build their programs alike.
 *
 * Libraries stay outside but for those of many modules: to find and load these took a sixth of the time of a short run, once for the
 * command and once for its worker. Their licences go along, in dist/LICENSES.txt.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BuildOptions, build } from "esbuild";

const root = import.meta.dirname;
const BUNDLED = ["pprof-format", "yaml", "zod"];

const { dependencies }: { readonly dependencies: Readonly<Record<string, string>> } = JSON.parse(
  readFileSync(join(root, "package.json"), "utf8"),
);

export const AS_THE_COMMAND = {
  absWorkingDir: root,
  bundle: true,
  splitting: true,
  minifySyntax: true,
  format: "esm",
  platform: "node",
  target: "node20",
  charset: "utf8",
  external: Object.keys(dependencies).filter((name) => !BUNDLED.includes(name)),
  // The same library as modules; what Node is given by default are CommonJS files.
  alias: { yaml: "./node_modules/yaml/browser/index.js" },
  logLevel: "warning",
} as const satisfies BuildOptions;

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  // Names of chunks have their content's hash: those of the build before would stay.
  for (const name of readdirSync(join(root, "dist/cli")))
    if (name.endsWith(".js")) rmSync(join(root, "dist/cli", name));
  await build({
    ...AS_THE_COMMAND,
    entryPoints: ["src/index.ts", "src/cli/main.ts", "src/cli/worker.ts"],
    chunkNames: "cli/[name]-[hash]",
    outdir: "dist",
  });
  const licences = BUNDLED.map(
    (name) => `${name}\n\n${readFileSync(join(root, "node_modules", name, "LICENSE"), "utf8")}`,
  );
  writeFileSync(join(root, "dist/LICENSES.txt"), licences.join("\n\n"));
}
