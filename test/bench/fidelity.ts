/**
 * The fidelity table: every recorded real run against the simulator. Run: npm run fidelity [-- --seeds N] [-- --only NAME]
 *
 * Prints, per scenario, how many of the metrics lie in band (the band is defined in src/oracle/metrics.ts), then every
 * cell out of band, then the sum. Exit status 7 if less than nine in ten are in band.
 */
import {
  type Cell,
  CONTAINER_METRICS,
  compare,
  METRICS,
  OPTIONAL_METRICS,
  RECLAIM_METRICS,
} from "../../src/oracle/metrics.ts";
import { recordedFigures } from "../../src/oracle/recording.ts";
import { humanValue } from "../../src/report/format.ts";
import { simulate } from "../../src/simulate.ts";
import { recordings } from "../recordings.ts";

const at = process.argv.indexOf("--seeds");
const only = process.argv.indexOf("--only");
const seeds = at > 0 ? Number(process.argv[at + 1]) : 5;

const percent = (x: number): string =>
  Number.isNaN(x) ? "-" : `${x > 0 ? "+" : ""}${(x * 100).toFixed(1)} %`;
const human = (cell: Cell, value: number): string => humanValue(value, cell.metric.unit);

const out: string[] = [];
let inBand = 0;
let cells = 0;
const more = OPTIONAL_METRICS.length + CONTAINER_METRICS.length + RECLAIM_METRICS.length;
let from = "";
console.log("| scenario | in band | of | simulator CPU / real CPU |");
console.log("|---|---|---|---|");
for (const { real, scenario, label, profile } of recordings()) {
  if (only > 0 && !label.includes(process.argv[only + 1])) continue;
  if (profile === undefined)
    from = `${real.provenance.go_version}, ${real.provenance.cpu}, ${real.provenance.cpus} CPUs, ${real.runs.length} runs each`;
  const cpu = process.cpuUsage();
  const simulated = Array.from(
    { length: seeds },
    (_, i) =>
      simulate(scenario, { declareOracle: true, seed: i + 1, ...(profile === undefined ? {} : { profile }) })
        .figures,
  );
  const spent = process.cpuUsage(cpu);
  const realCpu =
    real.runs.reduce((sum, run) => sum + (run["cpu_seconds"] ?? Number.NaN), 0) / real.runs.length;
  const ratio = (spent.user + spent.system) / 1e6 / seeds / realCpu;
  const row = compare(recordedFigures(real), simulated);
  const good = row.filter((cell) => cell.inBand).length;
  inBand += good;
  cells += row.length;
  console.log(`| ${label} | ${good} | ${row.length} | ${Number.isNaN(ratio) ? "-" : ratio.toFixed(3)} |`);
  for (const cell of row) {
    if (cell.inBand) continue;
    out.push(
      `| ${label} | ${cell.metric.label} | ${human(cell, cell.realMin)} | ${human(cell, cell.realMedian)} | ${human(cell, cell.realMax)} | ${human(cell, cell.simulated)} | ${percent(cell.error)} |`,
    );
  }
}
console.log(`| **all** | **${inBand}** | **${cells}** | |`);
console.log(
  `\n${((100 * inBand) / cells).toFixed(1)} % of ${cells} cells in band (${METRICS.length} metrics, up to ${more} more where they were recorded; ${from}).`,
);
console.log(
  "\n| out of band | metric | real min | median | max | simulated | error |\n|---|---|---|---|---|---|---|",
);
for (const line of out) console.log(line);
process.exitCode = inBand / cells >= 0.9 ? 0 : 7;
