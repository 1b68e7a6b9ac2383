/** Signals that ask the program to end. */
import { CliError, EXIT } from "./exit.ts";

const SIGNALS = { SIGINT: EXIT.interrupted, SIGTERM: EXIT.terminated, SIGHUP: EXIT.hangup } as const;

/** Turns the first of the signals into an abort, so that the way out is the same as after a failure; `what` of it was done. */
export function abortOnSignals(what: string): { readonly signal: AbortSignal; release(): void } {
  const controller = new AbortController();
  const handlers = (Object.keys(SIGNALS) as (keyof typeof SIGNALS)[]).map((name) => {
    const handler = (): void =>
      controller.abort(
        new CliError(SIGNALS[name], `${name === "SIGINT" ? "interrupted" : `stopped by ${name}`}; ${what}`),
      );
    process.on(name, handler);
    return { name, handler };
  });
  return {
    signal: controller.signal,
    release: () => {
      for (const { name, handler } of handlers) process.off(name, handler);
    },
  };
}
