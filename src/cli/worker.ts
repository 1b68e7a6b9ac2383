/** The worker thread of `run`: takes one job at a time, simulates and writes it, answers with the result. */
import { parentPort } from "node:worker_threads";
import { CliError, EXIT, type ExitStatus } from "./exit.ts";
import { type DoneJob, type Job, runJob } from "./job.ts";

export type FromWorker =
  | { readonly kind: "progress"; readonly fractionDone: number }
  | { readonly kind: "done"; readonly run: DoneJob }
  | {
      readonly kind: "failed";
      readonly status: ExitStatus;
      readonly message: string;
      readonly stack: string;
    };

/** Wall time between two progress messages: a bar drawn oftener is not read. */
const PROGRESS_INTERVAL_MS = 100;

/** A typed array or heap that could not be had. Engines word it differently; both are RangeErrors. */
const isOutOfMemory = (error: unknown): boolean =>
  error instanceof RangeError &&
  /allocation failed|Invalid (typed )?array (buffer )?length/i.test(error.message);

const port = parentPort;
port?.on("message", async (job: Job) => {
  const send = (message: FromWorker): void => port.postMessage(message);
  let lastMs = 0;
  try {
    const run = await runJob(job, (fractionDone) => {
      const nowMs = performance.now();
      if (nowMs - lastMs < PROGRESS_INTERVAL_MS) return;
      lastMs = nowMs;
      send({ kind: "progress", fractionDone });
    });
    send({ kind: "done", run });
  } catch (error) {
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const message = error instanceof Error ? error.message : String(error);
    if (error instanceof CliError) send({ kind: "failed", status: error.status, message, stack });
    else if (isOutOfMemory(error))
      send({
        kind: "failed",
        status: EXIT.memory,
        message: `${job.label}: not enough memory: ${message}`,
        stack,
      });
    else send({ kind: "failed", status: EXIT.bug, message, stack });
  }
});
