#!/usr/bin/env node
/** The `gomemsim` command: registers the commands, and turns every failure into a message and an exit status. */
import yargs from "yargs";
import { hideBin } from "yargs/helpers";
import { calibrateCommand } from "./calibrate.ts";
import { checkCommand } from "./check.ts";
import { compareCommand } from "./compare.ts";
import { complain, print, watchStandardStreams, widthOf } from "./console.ts";
import { CliError, EXIT, type ExitStatus, exitStatusHelp } from "./exit.ts";
import { explain } from "./failure.ts";
import { plotCommand } from "./plot.ts";
import { reportCommand } from "./report.ts";
import { runCommand } from "./run.ts";
import { serveCommand } from "./serve.ts";
import { validateCommand } from "./validate.ts";
import { packageVersion } from "./version.ts";

/** Whether stacks are wanted: asked of the raw arguments, for failures may come before these are parsed. */
const wantsStack = (argv: readonly string[]): boolean =>
  argv.includes("--verbose") || Boolean(process.env["GOMEMSIM_DEBUG"]);

const A_SCENARIO = "name a scenario file, e.g. scenarios/web-api.yaml";
/** What commands that take no scenario file need to be given. */
const NEEDS: Readonly<Record<string, string>> = {
  compare:
    "name the folders of two runs, the one before first, e.g. compare out/web-api out/what-if; or one with variants in it, e.g. compare out/gogc-compare",
  plot: "name the folder of a run, e.g. plot out/web-api; several are laid over each other",
  report: "name the folder of a run, e.g. report out/web-api; several are laid over each other",
};

async function main(argv: readonly string[]): Promise<ExitStatus> {
  watchStandardStreams();
  try {
    await yargs([...argv])
      .scriptName("gomemsim")
      .usage(
        "$0 <command>\n\nSimulates the memory of a Go process: workload and settings in, time series out.",
      )
      .command(runCommand)
      .command(serveCommand)
      .command(compareCommand)
      .command(plotCommand)
      .command(checkCommand)
      .command(reportCommand)
      .command(validateCommand)
      .command(calibrateCommand)
      .option("verbose", { type: "boolean", default: false, describe: "Stack traces with errors" })
      .demandCommand(1, "Name a command, e.g. run scenarios/web-api.yaml")
      .recommendCommands()
      .strict()
      .parserConfiguration({
        "parse-numbers": false,
        "parse-positional-numbers": false,
        "dot-notation": false,
        "boolean-negation": false,
      })
      .locale("en")
      .wrap(Math.min(100, widthOf(process.stdout)))
      .version(packageVersion())
      .help()
      .alias("help", "h")
      .epilogue(exitStatusHelp())
      .exitProcess(false)
      .fail((message, error) => {
        // Without an error, or with one of its own, it is yargs that complains: unknown option, missing argument.
        if (error !== undefined && error !== null && error.name !== "YError") throw error;
        const command = argv.find((argument) => Object.hasOwn(NEEDS, argument));
        const needs = command === undefined ? A_SCENARIO : NEEDS[command];
        const complaint = (message ?? error?.message ?? "").replace(
          /^Not enough non-option arguments: .*/,
          `${command === undefined ? "" : `${command}: `}${needs}`,
        );
        throw new CliError(EXIT.usage, `${complaint}\nTry: gomemsim --help`);
      })
      .parseAsync();
    // What yargs printed (--help, --version) it did not wait for.
    await print("");
    return EXIT.ok;
  } catch (error) {
    const { status, text } = explain(error, wantsStack(argv));
    complain(text);
    return status;
  }
}

process.exitCode = await main(hideBin(process.argv));
