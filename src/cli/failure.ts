/** What a failure tells the user, and its exit status: the user's own faults in a line, ours with how to report them. */
import { CliError, EXIT, type ExitStatus } from "./exit.ts";
import { packageVersion } from "./version.ts";

export interface Explanation {
  readonly status: ExitStatus;
  readonly text: string;
}

/** Lists of faults begin with the file at fault, one a line, as compilers do; other messages with our name. */
const SELF_NAMED: readonly ExitStatus[] = [EXIT.scenario, EXIT.outOfBand, EXIT.thresholds];

export function explain(error: unknown, withStack: boolean): Explanation {
  const lines: string[] = [];
  const bug = !(error instanceof CliError);
  const message = error instanceof Error ? error.message : String(error);
  if (bug) lines.push(`gomemsim: internal error: ${message}`);
  else lines.push(SELF_NAMED.includes(error.status) ? message : `gomemsim: ${message}`);
  if (withStack && error instanceof Error && error.stack !== undefined) lines.push(error.stack);
  if (bug) {
    lines.push(
      "This is a fault of gomemsim, not yours. To report it, run the command again with --verbose and send what it",
      `prints, the scenario file, and: gomemsim ${packageVersion()}, Node ${process.version}, ${process.platform} ${process.arch}`,
    );
  }
  return { status: bug ? EXIT.bug : error.status, text: lines.join("\n") };
}
