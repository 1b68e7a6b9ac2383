/** `run --trace`: events.ndjson and trace.json, written while the run plays. Loaded by runs that want them. */
import { eventLines } from "../report/events.ts";
import { PerfettoTrace } from "../report/perfetto.ts";
import type { TraceEvent, Tracer } from "../runtime/trace.ts";
import type { Scenario } from "../scenario/schema.ts";
import { runName } from "../scenario/variant.ts";
import { VERSIONS } from "../simulate.ts";
import { OutputFile, type Place } from "./outputfile.ts";

/** Writes the event trace in both its formats as it comes. */
export class TraceFiles implements Tracer {
  readonly #events: OutputFile;
  readonly #timeline: OutputFile;
  readonly #lines: Tracer;
  readonly #perfetto: PerfettoTrace;

  constructor(job: Place & { readonly scenario: Scenario }) {
    const { scenario } = job;
    this.#events = new OutputFile(job, "events.ndjson");
    this.#timeline = new OutputFile(job, "trace.json");
    this.#lines = eventLines((text) => this.#events.writer.write(text));
    this.#perfetto = new PerfettoTrace((text) => this.#timeline.writer.write(text), {
      name: runName(scenario),
      procs: scenario.go.GOMAXPROCS,
      about: { ...VERSIONS, scenario: scenario.name, variant: scenario.variant, seed: scenario.seed },
    });
  }

  begin(event: TraceEvent): void {
    this.#perfetto.begin(event);
  }

  end(event: TraceEvent): void {
    this.#lines.end?.(event);
    this.#perfetto.end(event);
  }

  event(event: TraceEvent): void {
    this.#lines.event?.(event);
    this.#perfetto.event(event);
  }

  close(): void {
    this.#perfetto.finish();
    this.#events.close();
    this.#timeline.close();
  }
}
