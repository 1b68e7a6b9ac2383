/**
 * How far the runs are, on standard error (standard output is for results): bars with the time left on a terminal,
 * a plain line now and then otherwise, nothing when quiet.
 */
import { MultiBar, Presets, type SingleBar } from "cli-progress";

export interface Progress {
  started(job: number): void;
  progress(job: number, fractionDone: number): void;
  done(job: number): void;
  /** Takes the bars off the screen; nothing is drawn afterwards. */
  stop(): void;
}

const SILENT: Progress = { started() {}, progress() {}, done() {}, stop() {} };

/** `12s`, `3m05s`: time left, for a person. */
export function formatEta(seconds: number): string {
  if (!Number.isFinite(seconds)) return "?";
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${String(whole % 60).padStart(2, "0")}s`;
  return `${Math.floor(whole / 3600)}h${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")}m`;
}

/** Seconds left if the rest goes as fast as what is done did. */
const etaSeconds = (startedMs: number, fractionDone: number): number =>
  fractionDone > 0
    ? ((performance.now() - startedMs) * (1 - fractionDone)) / fractionDone / 1000
    : Number.NaN;

const BAR_STEPS = 1000;
/** Of more runs (seeds) only those that are not done are shown: bars that leave the screen cannot be drawn again. */
const MAX_BARS = 16;

class Bars implements Progress {
  readonly #names: readonly string[];
  readonly #multi: MultiBar;
  readonly #bars: SingleBar[] = [];
  readonly #startedMs: number[] = [];

  constructor(names: readonly string[]) {
    this.#names = names;
    const nameWidth = Math.max(...names.map((name) => name.length));
    this.#multi = new MultiBar(
      {
        stream: process.stderr,
        hideCursor: true,
        clearOnComplete: true,
        // Ours is the one to handle Ctrl-C.
        gracefulExit: false,
        emptyOnZero: true,
        fps: 10,
        barsize: 30,
        format: (options, params, payload: { name?: string; eta?: string }) => {
          const width = options.barsize ?? 30;
          const full = Math.round(params.progress * width);
          const bar = "█".repeat(full) + "░".repeat(width - full);
          const percent = `${Math.floor(params.progress * 100)}%`.padStart(4);
          return `${(payload.name ?? "").padEnd(nameWidth)} ${bar} ${percent}  ETA ${payload.eta ?? "?"}`;
        },
      },
      Presets.shades_classic,
    );
  }

  started(job: number): void {
    this.#startedMs[job] = performance.now();
    this.#bars[job] = this.#multi.create(BAR_STEPS, 0, { name: this.#names[job], eta: "?" });
  }

  progress(job: number, fractionDone: number): void {
    this.#bars[job].update(Math.floor(fractionDone * BAR_STEPS), {
      eta: formatEta(etaSeconds(this.#startedMs[job], fractionDone)),
    });
  }

  done(job: number): void {
    if (this.#names.length > MAX_BARS) this.#multi.remove(this.#bars[job]);
    else this.#bars[job].update(BAR_STEPS, { eta: "done" });
  }

  stop(): void {
    this.#multi.stop();
  }
}

/** At most one line per run and this long: a log is read, not watched. */
const LINE_INTERVAL_MS = 5000;

class Lines implements Progress {
  readonly #names: readonly string[];
  readonly #write: (line: string) => void;
  readonly #startedMs: number[] = [];
  readonly #lastMs: number[] = [];

  constructor(names: readonly string[], write: (line: string) => void) {
    this.#names = names;
    this.#write = write;
  }

  started(job: number): void {
    this.#startedMs[job] = this.#lastMs[job] = performance.now();
    this.#write(`${this.#names[job]}: started`);
  }

  progress(job: number, fractionDone: number): void {
    const nowMs = performance.now();
    if (nowMs - this.#lastMs[job] < LINE_INTERVAL_MS) return;
    this.#lastMs[job] = nowMs;
    const eta = formatEta(etaSeconds(this.#startedMs[job], fractionDone));
    this.#write(`${this.#names[job]}: ${Math.floor(fractionDone * 100)}%, ETA ${eta}`);
  }

  done(job: number): void {
    const seconds = (performance.now() - this.#startedMs[job]) / 1000;
    this.#write(`${this.#names[job]}: done in ${seconds.toFixed(1)}s`);
  }

  stop(): void {}
}

export function progressFor(names: readonly string[], quiet: boolean): Progress {
  if (quiet) return SILENT;
  // A "dumb" terminal cannot move the cursor: it gets lines.
  if (process.stderr.isTTY && process.env["TERM"] !== "dumb") return new Bars(names);
  return new Lines(names, (line) => process.stderr.write(`${line}\n`));
}
