/**
 * A small pool of worker threads: as many as there are processors and jobs, each doing one job after another.
 *
 * The simulation is synchronous, so even a single run gets a thread: the main one stays free to draw progress and to
 * hear Ctrl-C. With one processor the pool has one thread and the jobs run in order.
 */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { CliError, EXIT, errorCode } from "./exit.ts";
import type { DoneJob, Job } from "./job.ts";
import type { FromWorker } from "./worker.ts";

/** An unexpected failure inside a worker: our bug, with the worker's own stack. */
export class WorkerBug extends Error {
  constructor(message: string, stack: string) {
    super(message);
    this.name = "WorkerBug";
    this.stack = stack;
  }
}

/**
 * Starts a worker on the module beside this one. Run from source, the thread needs the TypeScript loader of its own:
 * Node does not hand the main thread's down.
 */
function startWorker(): Worker {
  if (!import.meta.url.endsWith(".ts")) return new Worker(new URL("./worker.js", import.meta.url));
  const loader = JSON.stringify(import.meta.resolve("tsx/esm/api"));
  const module = JSON.stringify(new URL("./worker.ts", import.meta.url).href);
  const code = `import(${loader}).then(({ register }) => { register(); return import(${module}); });`;
  return new Worker(code, { eval: true });
}

export interface PoolEvents {
  started(job: number): void;
  progress(job: number, fractionDone: number): void;
  done(job: number): void;
}

/**
 * Runs all jobs and returns their results in the jobs' order. The first failure, or the signal, stops every worker;
 * when the promise settles, none runs any more.
 */
export async function runJobs(
  jobs: readonly Job[],
  events: PoolEvents,
  signal: AbortSignal,
): Promise<DoneJob[]> {
  const results: DoneJob[] = new Array(jobs.length);
  const workers: Worker[] = [];
  let next = 0;
  const terminateAll = (): Promise<unknown> => Promise.all(workers.map((worker) => worker.terminate()));

  const drive = (worker: Worker): Promise<void> =>
    new Promise((resolve, reject) => {
      let current = -1;
      const giveNext = (): void => {
        if (next === jobs.length) {
          resolve();
          return;
        }
        current = next++;
        events.started(current);
        worker.postMessage(jobs[current]);
      };
      worker.on("message", (message: FromWorker) => {
        switch (message.kind) {
          case "progress":
            events.progress(current, message.fractionDone);
            break;
          case "done":
            results[current] = message.run;
            events.done(current);
            giveNext();
            break;
          case "failed":
            reject(
              message.status === EXIT.bug
                ? new WorkerBug(message.message, message.stack)
                : new CliError(message.status, message.message),
            );
        }
      });
      worker.on("error", (error) => {
        reject(
          errorCode(error) === "ERR_WORKER_OUT_OF_MEMORY"
            ? new CliError(
                EXIT.memory,
                "not enough memory; NODE_OPTIONS=--max-old-space-size=8192 allows 8 GiB",
              )
            : error,
        );
      });
      worker.on("exit", (code) =>
        reject(new Error(`a worker thread ended with ${code} in the middle of its job`)),
      );
      giveNext();
    });

  const aborted = new Promise<never>((_, reject) => {
    const stop = (): void => reject(signal.reason);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
  try {
    const count = Math.min(jobs.length, availableParallelism());
    for (let i = 0; i < count; i++) workers.push(startWorker());
    await Promise.race([aborted, Promise.all(workers.map(drive))]);
  } finally {
    await terminateAll();
  }
  return results;
}
