/**
 * Plays a run in scaled real time, slice by slice between other events of the program.
 *
 * Virtual time follows the wall clock times the speed. A slice takes a few milliseconds of the program's time, so that whoever asks for
 * something in between is answered soon. Where the simulation cannot keep up it does not chase what it has lost: more than a second of
 * arrears is given up, and `behindSeconds` tells how much that was in all.
 *
 * The process's clock is virtual, too: it began when the player did and goes as fast as the run.
 */
import type { ContainerRun } from "../container.ts";
import { OS_PAGE_BYTES } from "../os/os.ts";
import { gctraceLine } from "../report/gctrace.ts";
import type { Action } from "../scenario/actions.ts";
import type { MachineProfile } from "../scenario/profile.ts";
import type { Scenario } from "../scenario/schema.ts";
import { type ProcessView, SimulatedRun } from "../simulate.ts";

/** Wall time of a slice, of one step in it, and between slices where there is time to wait. */
const SLICE_MS = 10;
const STEP_MS = 4;
const IDLE_MS = 10;
const MIN_STEP_NS = 1e5;
const MAX_STEP_NS = 1e9;
/** Arrears beyond this are given up. */
const MAX_ARREARS_MS = 1000;

export interface PlayerOptions {
  readonly scenario: Scenario;
  readonly profile?: MachineProfile;
  readonly speed: number;
  /** From the end on again. */
  readonly loop: boolean;
  /** Told each line of gctrace. */
  readonly onTrace: (line: string) => void;
  /** Told of a fault in the middle of a slice, after which nothing is played any more. */
  readonly onFault: (error: unknown) => void;
}

/** `down`: killed, and waiting to be started again; `killed`: for good. */
export type ProcessState = "up" | "starting" | "down" | "killed";

export class Player {
  readonly scenario: Scenario;
  /** When the first run began. */
  readonly #startUnixSeconds = Date.now() / 1e3;
  readonly #options: PlayerOptions;
  #run: SimulatedRun;
  #speed: number;
  #paused = false;
  #rounds = 1;
  /** Virtual time was `#anchorNs` when the wall clock said `#anchorMs`. */
  #anchorMs = performance.now();
  #anchorNs = 0;
  #lostMs = 0;
  #stepNs = 1e6;
  #processStartNs = 0;
  #timer: NodeJS.Timeout | NodeJS.Immediate | undefined;
  #stopped = false;

  constructor(options: PlayerOptions) {
    this.#options = options;
    this.scenario = options.scenario;
    this.#speed = options.speed;
    this.#run = this.#newRun();
  }

  #newRun(): SimulatedRun {
    const { scenario, profile, onTrace } = this.#options;
    this.#processStartNs = 0;
    return new SimulatedRun(scenario, {
      ...(profile === undefined ? {} : { profile }),
      sink: {
        cycle: (cycle) => onTrace(gctraceLine(cycle, scenario.machine.cpus, this.#processStartNs / 1e9)),
        restart: (nowNs) => {
          this.#processStartNs = nowNs;
        },
      },
    });
  }

  start(): void {
    this.#anchor();
    this.#slice();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer as NodeJS.Timeout);
    clearImmediate(this.#timer as NodeJS.Immediate);
  }

  get view(): ProcessView | undefined {
    return this.#run.view();
  }

  /** Virtual time 0 of the run under way on the process's clock. */
  get runStartUnixSeconds(): number {
    return this.#startUnixSeconds + ((this.#rounds - 1) * this.scenario.duration) / 1e9;
  }

  get process(): ProcessState {
    const view = this.view;
    if (view !== undefined)
      return view.running.length === 0 && this.scenario.startup !== undefined ? "starting" : "up";
    return this.#run.restartNs === undefined ? "killed" : "down";
  }

  get paused(): boolean {
    return this.#paused;
  }

  set paused(paused: boolean) {
    this.#settle();
    this.#paused = paused;
    this.#anchor();
  }

  get speed(): number {
    return this.#speed;
  }

  set speed(speed: number) {
    this.#settle();
    this.#speed = speed;
    this.#anchor();
  }

  get ended(): boolean {
    return this.#run.ended;
  }

  get behindSeconds(): number {
    return (this.#lostMs + this.#arrearsMs) / 1e3;
  }

  /** Wall time by which the run is behind now. */
  get #arrearsMs(): number {
    if (this.#paused || this.ended) return 0;
    return Math.max(0, (this.#dueNs() - this.#run.nowNs) / (this.#speed * 1e6));
  }

  /** Does something to the process now; false where that is not possible. */
  act(action: Action): boolean {
    return this.#run.act(action);
  }

  /** The limits in force, and what they are held to; undefined without a container. */
  get container(): ContainerRun | undefined {
    return this.#run.container ?? undefined;
  }

  /** Whether there is anything else on the machine. */
  get hasNeighbours(): boolean {
    return this.container !== undefined && this.container.node !== null;
  }

  state(): Record<string, unknown> {
    const view = this.view;
    const { scenario, container } = this;
    const limit = (value: number) => (value === Number.POSITIVE_INFINITY ? "max" : value);
    const pacer = view?.rt.pacer;
    return {
      scenario: scenario.name,
      variant: scenario.variant,
      seed: scenario.seed,
      state: this.ended ? "ended" : this.#paused ? "paused" : "playing",
      virtual_seconds: this.#run.nowNs / 1e9,
      duration_seconds: scenario.duration / 1e9,
      round: this.#rounds,
      speed: this.#speed,
      behind_seconds: Math.round(this.behindSeconds * 1e3) / 1e3,
      process: this.process,
      ...(this.#run.restartNs === undefined ? {} : { restart_at_virtual_seconds: this.#run.restartNs / 1e9 }),
      ...(pacer === undefined
        ? {}
        : {
            gc_percent: pacer.gcPercent < 0 ? "off" : pacer.gcPercent,
            memory_limit_bytes: pacer.memoryLimit >= 2 ** 63 ? "off" : pacer.memoryLimit,
          }),
      ...(container === undefined
        ? {}
        : {
            memory_max_bytes: limit(container.maxBytes),
            memory_high_bytes: limit(container.highBytes),
            cpu_limit_cpus: limit(container.cpuLimit),
            ...(container.node === null ? {} : { node_free_bytes: container.node.freePages * OS_PAGE_BYTES }),
          }),
      traffic: this.#run.traffic,
      phases: scenario.phases.map(({ name }) => name),
    };
  }

  #dueNs(): number {
    return this.#anchorNs + (performance.now() - this.#anchorMs) * 1e6 * this.#speed;
  }

  /** Before the clock changes: plays what is due, and gives up what cannot be played in a slice. */
  #settle(): void {
    if (this.#paused) return;
    this.#catchUp();
    this.#lostMs += this.#arrearsMs;
  }

  /** From here virtual time goes on, with no arrears. */
  #anchor(): void {
    this.#anchorMs = performance.now();
    this.#anchorNs = this.#run.nowNs;
  }

  #slice(): void {
    if (this.#stopped) return;
    try {
      this.#play();
    } catch (error) {
      this.stop();
      this.#options.onFault(error);
      return;
    }
    const behind = !this.#paused && !this.ended && this.#run.nowNs < this.#dueNs();
    this.#timer = behind ? setImmediate(() => this.#slice()) : setTimeout(() => this.#slice(), IDLE_MS);
  }

  #play(): void {
    if (this.#paused) return;
    if (this.ended) {
      if (!this.#options.loop) return;
      this.#rounds++;
      this.#run = this.#newRun();
      this.#anchor();
    }
    this.#catchUp();
    const arrearsMs = this.#arrearsMs;
    if (arrearsMs <= MAX_ARREARS_MS) return;
    this.#lostMs += arrearsMs - MAX_ARREARS_MS;
    this.#anchorMs += arrearsMs - MAX_ARREARS_MS;
  }

  /** Plays what is due, for the length of a slice at most. */
  #catchUp(): void {
    const run = this.#run;
    const endMs = performance.now() + SLICE_MS;
    for (let beganMs = performance.now(); beganMs < endMs && !run.ended; ) {
      const due = this.#dueNs();
      if (run.nowNs >= due) return;
      const whole = run.nowNs + this.#stepNs <= due;
      run.advance(Math.floor(Math.min(due, run.nowNs + this.#stepNs)));
      const nowMs = performance.now();
      // The next step takes about STEP_MS if it goes on like this; a cut one says nothing.
      if (whole) {
        const change = Math.min(2, Math.max(0.25, STEP_MS / Math.max(0.01, nowMs - beganMs)));
        this.#stepNs = Math.min(MAX_STEP_NS, Math.max(MIN_STEP_NS, this.#stepNs * change));
      }
      beganMs = nowMs;
    }
  }
}
