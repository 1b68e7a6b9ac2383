/**
 * What a run has before it: its phases and interventions, and what has become of each. It outlives a process that is killed.
 *
 * Two kinds, by who acts:
 * - from outside: phases (what users send, what a rollout changes), an operator's resize_container, and set_neighbours (what else is
 *   on the machine). Each happens once, or as often as `every` says, on the run's clock, whether or not a process lives; what it did
 *   stays. Its condition is looked at while the process is down, too: there are OOM kills and restarts to see then, and the machine.
 * - the program's own calls (gc, set_gc_percent, ...), which take a living process. A moment that finds none is missed, and one that
 *   is past is not made up for by the next process. A condition is looked at by the program's own code, so by each process anew,
 *   and each calls once.
 */
import { PRIORITY_WORLD, type Scheduler } from "../runtime/proc.ts";
import type { When } from "../scenario/conditions.ts";
import type {
  Intervention,
  NeighboursAction,
  OperatorAction,
  ProgramCall,
  ResolvedPhase,
} from "../scenario/schema.ts";
import { conditionText, type Figures, Watch, type Watcher } from "./conditions.ts";
import { callText } from "./interventions.ts";

/** What acts from outside. */
export type OutsideAction = ResolvedPhase | OperatorAction | NeighboursAction;

interface Timing {
  readonly at?: number | undefined;
  readonly when?: When | undefined;
  readonly every?: number | undefined;
}

interface ItemState {
  readonly reason: string;
  readonly everyNs: number;
  readonly when: When | undefined;
  /** When it is due next on the run's clock; Infinity for never, or not before its condition is met. */
  dueNs: number;
  /** It has been done, or missed, before. */
  again: boolean;
}
interface OutsideItem extends ItemState {
  readonly kind: "outside";
  readonly action: OutsideAction;
  /** Until its condition has been met. */
  watch: Watch | undefined;
}
interface CallItem extends ItemState {
  readonly kind: "call";
  readonly call: ProgramCall;
}
type Item = OutsideItem | CallItem;

const state = ({ at, when, every }: Timing): ItemState => ({
  reason: when !== undefined ? conditionText(when) : every === undefined ? "at its time" : "periodic",
  everyNs: every ?? Number.POSITIVE_INFINITY,
  when,
  dueNs: when === undefined ? (at ?? 0) : Number.POSITIVE_INFINITY,
  again: false,
});

const outside = (timing: Timing, action: OutsideAction): OutsideItem => ({
  ...state(timing),
  kind: "outside",
  action,
  watch: timing.when === undefined ? undefined : new Watch(timing.when),
});

/** Who carries things out. Each returns what was done, in words. */
export interface Performer {
  outside(action: OutsideAction, nowNs: number): string;
  call(call: ProgramCall): string;
  report(event: string, reason: string, again: boolean): void;
}

export class Agenda {
  readonly #items: readonly Item[];
  readonly #durationNs: number;

  constructor(phases: readonly ResolvedPhase[], interventions: readonly Intervention[], durationNs: number) {
    this.#durationNs = durationNs;
    this.#items = [
      ...phases.map((phase): Item => outside(phase, phase)),
      ...interventions.map(
        (i): Item =>
          i.do === "resize_container" || i.do === "set_neighbours"
            ? outside(i, i)
            : { ...state(i), kind: "call", call: i },
      ),
    ];
  }

  /** A process starts now: plans for its life what is still to come. */
  begin(sched: Scheduler, watcher: Watcher, performer: Performer): void {
    for (const item of this.#items) {
      if (item.dueNs !== Number.POSITIVE_INFINITY) this.#plan(item, sched, performer);
      if (item.kind === "outside") {
        if (item.watch !== undefined)
          watcher.watch(item.watch, (holds, nowNs) => {
            if (holds) this.#met(item, sched, performer, nowNs);
            return !holds;
          });
      } else if (item.when !== undefined) {
        const own: CallItem = { ...item };
        watcher.watch(new Watch(item.when), (holds, nowNs) => {
          if (holds) this.#met(own, sched, performer, nowNs);
          return !holds;
        });
      }
    }
  }

  #met(item: Item, sched: Scheduler, performer: Performer, nowNs: number): void {
    if (item.kind === "outside") item.watch = undefined;
    item.dueNs = nowNs;
    this.#act(item, sched, performer, nowNs);
  }

  #plan(item: Item, sched: Scheduler, performer: Performer): void {
    sched.call(item.dueNs, PRIORITY_WORLD, (nowNs) => this.#act(item, sched, performer, nowNs));
  }

  #act(item: Item, sched: Scheduler, performer: Performer, nowNs: number): void {
    const { again } = item;
    // First: what it does may end the process, and the next one goes by what is still to come.
    this.#next(item, nowNs);
    if (item.dueNs !== Number.POSITIVE_INFINITY) this.#plan(item, sched, performer);
    perform(item, performer, nowNs, again);
  }

  #next(item: Item, nowNs: number): void {
    const next = nowNs + item.everyNs;
    item.dueNs = next <= this.#durationNs ? next : Number.POSITIVE_INFINITY;
    item.again = true;
  }

  /** When something is due next while no process lives; Infinity for never. */
  get nextDueNs(): number {
    return this.#items.reduce((first, { dueNs }) => Math.min(first, dueNs), Number.POSITIVE_INFINITY);
  }

  /** Somebody outside waits for a condition. */
  get watches(): boolean {
    return this.#items.some((item) => item.kind === "outside" && item.watch !== undefined);
  }

  /** No process lives: does what is due now, and says what calls are missed. */
  passWhileDown(nowNs: number, performer: Performer): void {
    for (const item of this.#items) {
      if (item.dueNs > nowNs) continue;
      const { again } = item;
      this.#next(item, nowNs);
      if (item.kind === "outside") perform(item, performer, nowNs, again);
      else performer.report(`${callText(item.call)} missed`, `${item.reason}: the process was down`, again);
    }
  }

  /** No process lives: whoever waits outside looks. */
  pollWhileDown(figures: Figures, nowNs: number, performer: Performer): void {
    for (const item of this.#items) {
      if (item.kind !== "outside" || item.watch === undefined || !item.watch.holds(figures, nowNs)) continue;
      item.watch = undefined;
      item.dueNs = nowNs;
    }
    this.passWhileDown(nowNs, performer);
  }
}

function perform(item: Item, performer: Performer, nowNs: number, again: boolean): void {
  const event = item.kind === "outside" ? performer.outside(item.action, nowNs) : performer.call(item.call);
  performer.report(event, item.reason, again);
}
