/**
 * The scheduler alone: goroutines of a few lines and a collector that never marks unless told to.
 */
import { describe, expect, test } from "vitest";
import { CfsBandwidth } from "../../src/os/cfs.ts";
import type { HighSleep, ThreadDelays } from "../../src/os/os.ts";
import { TimeHistogram } from "../../src/runtime/histogram.ts";
import {
  AFTER_EXIT,
  AFTER_PARK,
  AFTER_RUN,
  AFTER_YIELD,
  G,
  type MarkScheduling,
  P_IDLE,
  PRIORITY_WORLD,
  Scheduler,
} from "../../src/runtime/proc.ts";

const WAKE_NS = 50_000;
const SWITCH_NS = 200;

class NoMarking implements MarkScheduling {
  readonly marking: boolean = false;
  readonly idleCheckNs = 1000;
  readonly onlyLooking = false;
  /** Called for a step that asked for a collection; true when it stopped the world. */
  onTrigger: (p: number) => boolean = () => false;
  workerDue(): number {
    return P_IDLE;
  }
  addIdleWorker(): boolean {
    return false;
  }
  workerStarted(): void {}
  workerHeld(): void {}
  workerStopped(): void {}
  workerExitNs(): number {
    return Infinity;
  }
  assist(_g: G): number {
    return 0;
  }
  flushAssistCredit(): void {}
  assistDone(): void {}
  triggered(_g: G, p: number): boolean {
    return this.onTrigger(p);
  }
}

/** A goroutine that logs its steps and does what `body` says. */
class Task extends G {
  readonly log: [name: string, p: number, nowNs: number][];
  readonly name: string;
  readonly body: (task: Task, nowNs: number) => number;

  constructor(log: Task["log"], name: string, body: Task["body"]) {
    super();
    this.log = log;
    this.name = name;
    this.body = body;
  }

  step(p: number, nowNs: number): number {
    this.log.push([this.name, p, nowNs]);
    return this.body(this, nowNs);
  }
}

/** Runs for `ns` and ends. */
const work =
  (ns: number) =>
  (task: Task): number => {
    task.after = AFTER_EXIT;
    return ns;
  };

function setup(procs: number, cpus = procs, overhead = { wakerNs: 0, coldNs: 0 }) {
  const sched = new Scheduler({
    nprocs: procs,
    cpus,
    wakeNs: () => WAKE_NS,
    timerSlackNs: () => WAKE_NS,
    switchNs: SWITCH_NS,
    ...overhead,
  });
  const gc = new NoMarking();
  sched.attach(gc);
  const log: Task["log"] = [];
  const task = (name: string, body: Task["body"]): Task => new Task(log, name, body);
  return { sched, gc, log, task };
}

describe("runnable goroutines", () => {
  test("run in the order they became runnable, a wake-up and a switch after it", () => {
    const { sched, log, task } = setup(1);
    for (const name of ["a", "b", "c"]) sched.ready(task(name, work(1000)));
    sched.run(1e6);
    const first = WAKE_NS + SWITCH_NS;
    expect(log).toEqual([
      ["a", 0, first],
      ["b", 0, first + 1000 + SWITCH_NS],
      ["c", 0, first + 2 * (1000 + SWITCH_NS)],
    ]);
    expect(sched.mutatorNs).toBe(3 * (1000 + SWITCH_NS));
  });

  test("have the thread that came for them wake the next, which finds nothing and wakes nobody", () => {
    const { sched, task } = setup(2);
    sched.ready(task("a", work(1e6)));
    sched.run(WAKE_NS + 1000);
    expect(sched.arrivalNs()).toBe(WAKE_NS - 1000);
    // Seen from the other P it runs on for as long as is asked about, and from its own nobody does.
    const [own, other] = [sched.pState.indexOf(1), 1 - sched.pState.indexOf(1)];
    expect([sched.runningNs(other, 300), sched.runningNs(own, 300)]).toEqual([300, 0]);
    sched.run(2 * WAKE_NS + 1000);
    expect(sched.arrivalNs()).toBe(0);
  });

  test("are woken by an idle P's thread itself while another P computes", () => {
    const { sched, log, task } = setup(2);
    sched.ready(task("busy", work(9e6)));
    sched.run(5 * WAKE_NS);
    const sleeper = task("sleeper", (t) => {
      if (log.filter(([name]) => name === "sleeper").length > 1) t.after = AFTER_EXIT;
      else {
        t.after = AFTER_PARK;
        t.wakeAtNs = 3e6;
      }
      return 1000;
    });
    sched.ready(sleeper);
    sched.run(20e6);
    const [[, , asleep], [, , woken]] = log.filter(([name]) => name === "sleeper");
    // It waits whole milliseconds from when it went idle, and then comes as late as it does.
    const idleSince = asleep + 1000;
    expect(woken).toBeCloseTo(idleSince + 3e6 + WAKE_NS + SWITCH_NS, 0);
  });

  test("pay for a cold CPU, and for waking the next thread, before their first step", () => {
    const { sched, log, task } = setup(2, 2, { wakerNs: 300, coldNs: 5000 });
    for (const name of ["a", "b"]) sched.ready(task(name, work(1e6)));
    sched.run(5e6);
    expect(log).toEqual([
      ["a", expect.any(Number), WAKE_NS + SWITCH_NS + 5000 + 300],
      ["b", expect.any(Number), 2 * WAKE_NS + SWITCH_NS + 5000],
    ]);
  });

  test("may stop the world again the moment it goes on: the others stay stopped, and then go on", () => {
    const { sched, log, task } = setup(2);
    const stops: number[] = [];
    sched.ready(task("other", work(1e6)));
    const stopper = task("stopper", (t) => {
      t.stopNs = 40_000;
      if (stops.length === 1) t.after = AFTER_EXIT;
      return 0;
    });
    stopper.worldStopped = (now) => stops.push(now);
    sched.call(500_000, 0, () => sched.ready(stopper));
    sched.run(5e6);
    const asked = 500_000 + WAKE_NS + SWITCH_NS;
    expect(log.map(([name]) => name)).toEqual(["other", "stopper", "stopper"]);
    expect(stops).toEqual([asked + 40_000, asked + 80_000]);
    // The other's million nanoseconds are all spent, and one switch more than without the stops.
    expect(sched.mutatorNs).toBe(1e6 + 3 * SWITCH_NS);
  });

  test("stop the world when a step asks for it, and go on after it", () => {
    const { sched, log, task } = setup(2);
    const stops: number[] = [];
    sched.ready(task("other", work(1e6)));
    const stopper = task("stopper", (t) => {
      t.stopNs = 40_000;
      t.after = AFTER_EXIT;
      return 0;
    });
    stopper.worldStopped = (now) => stops.push(now);
    sched.call(500_000, 0, () => sched.ready(stopper));
    sched.run(5e6);
    const asked = 500_000 + WAKE_NS + SWITCH_NS;
    expect(log.map(([name]) => name)).toEqual(["other", "stopper"]);
    expect(stops).toEqual([asked + 40_000]);
    // Whoever it is that stops the world, it is told apart from the collector.
    const expected = new TimeHistogram();
    expected.record(40_000);
    expect(sched.stwTotalTimeOther.counts).toEqual(expected.counts);
    expect(sched.stwTotalTimeGC.counts).toEqual(new TimeHistogram().counts);
    // The other's million nanoseconds are all spent, whatever came between.
    expect(sched.mutatorNs).toBe(1e6 + 3 * SWITCH_NS);
    expect(sched.stoppedUntilNs).toBe(-1);
  });

  test("wake one thread at a time, each waking the next", () => {
    const { sched, log, task } = setup(3);
    for (const name of ["a", "b", "c"]) sched.ready(task(name, work(1e6)));
    sched.run(5e6);
    expect(log.map(([, , at]) => at)).toEqual([1, 2, 3].map((n) => n * WAKE_NS + SWITCH_NS));
    expect(new Set(log.map(([, p]) => p)).size).toBe(3);
  });

  test("made by what runs: the last first, the others in their order, half of a full queue to the global one", () => {
    const { sched, log, task } = setup(1);
    const names = Array.from({ length: 259 }, (_, i) => String(i));
    for (const name of names) sched.readyNext(task(name, work(1000)), 0);
    expect(sched.runnable).toBe(259);
    sched.run(5e6);
    // 258 is next. Queued were 0 to 255 when 256 was kicked out by 257: the first 128 and 256 went to the global queue, 257 followed 255.
    // The first look, and one in 61 after it, is at the global queue.
    const own = ["258", ...names.slice(128, 256), "257"];
    const order = log.map(([name]) => name);
    expect(order[0]).toBe("0");
    expect(order.filter((name) => own.includes(name))).toEqual(own);
    expect(order.filter((name) => !own.includes(name))).toEqual([...names.slice(0, 128), "256"]);
    expect(order.slice(0, 131).filter((name) => !own.includes(name))).toEqual(["0", "1", "2"]);
    expect(order).toHaveLength(259);
  });

  test("made while what they did before is still being paid for run again after it, once", () => {
    for (const next of [false, true]) {
      const { sched, log, task } = setup(2);
      const a = task("a", work(1e6));
      const start = (): void => (next ? sched.readyNext(a, 0) : sched.ready(a));
      start();
      sched.call(500_000, 0, start);
      sched.run(10e6);
      const first = WAKE_NS + SWITCH_NS;
      const again = first + 1e6 + WAKE_NS + SWITCH_NS;
      expect(log).toEqual([
        ["a", expect.any(Number), first],
        ["a", expect.any(Number), again],
      ]);
      expect(sched.mutatorNs).toBe(2 * (1e6 + SWITCH_NS));
      expect(sched.runnable).toBe(0);
    }
  });

  test("are stolen by halves from a P that computes", () => {
    const { sched, log, task } = setup(2);
    const maker = task("maker", (t) => {
      for (const name of ["a", "b", "c", "d", "e"]) sched.readyNext(task(name, work(1000)), 0);
      t.after = AFTER_EXIT;
      return 2e6;
    });
    sched.readyNext(maker, 0);
    sched.run(1e6);
    // The woken thread takes a and b of a to d, the last of them first, then half of what is left, and e when no other is.
    expect(log.map(([name]) => name)).toEqual(["maker", "b", "a", "c", "d", "e"]);
    expect(new Set(log.slice(1).map(([, p]) => p))).toEqual(new Set([1 - log[0][1]]));
  });

  // sysmon looks every 10 ms: at the first look it sees what runs, at the second that it has run for 10 ms.
  test.each([
    ["when another waits, 10 ms after sysmon has first seen them", 45e6, 12e6, 20e6],
    ["not for nothing at 20 ms, but when they are seen anew and have run on", 95e6, 22e6, 40e6],
  ])("are preempted %s", (_, longNs, readyNs, preemptedNs) => {
    const { sched, log, task } = setup(1);
    sched.ready(task("long", work(longNs)));
    sched.run(readyNs);
    sched.ready(task("short", work(1000)));
    sched.run(200e6);
    expect(log.map(([name]) => name)).toEqual(["long", "short"]);
    expect(log[1][2]).toBeCloseTo(preemptedNs + SWITCH_NS, 0);
    expect(sched.mutatorNs).toBe(longNs + 1000 + 3 * SWITCH_NS);
  });

  test("that yield go behind the one waiting, once", () => {
    const { sched, log, task } = setup(1);
    let steps = 0;
    sched.ready(
      task("y", (t) => {
        t.after = ++steps < 3 ? AFTER_YIELD : AFTER_EXIT;
        return 1000;
      }),
    );
    sched.ready(task("x", work(1000)));
    sched.run(1e6);
    expect(log.map(([name]) => name)).toEqual(["y", "x", "y", "y"]);
  });

  test("made so before they park are not lost", () => {
    const { sched, log, task } = setup(2);
    let steps = 0;
    const sleeper = task("s", (t) => {
      t.after = ++steps < 2 ? AFTER_PARK : AFTER_EXIT;
      return 1e6;
    });
    sched.ready(sleeper);
    // In the middle of its first step.
    sched.call(500_000, PRIORITY_WORLD, () => sched.ready(sleeper));
    sched.run(5e6);
    expect(log.length).toBe(2);
    expect(log[1][2]).toBeGreaterThan(log[0][2] + 1e6);
  });
});

describe("timers", () => {
  const sleeps = (task: (name: string, body: Task["body"]) => Task, name: string, ns: number) => {
    let steps = 0;
    return task(name, (t) => {
      if (++steps > 1) return work(0)(t);
      t.after = AFTER_PARK;
      t.sleepNs = ns;
      return 1000;
    });
  };

  test("of an idle process end on whole milliseconds after it went idle", () => {
    const { sched, log, task } = setup(1);
    sched.ready(sleeps(task, "s", 2.3e6));
    sched.run(10e6);
    const idleAt = WAKE_NS + SWITCH_NS + 1000;
    expect(log[1][2]).toBe(idleAt + 3e6 + WAKE_NS + SWITCH_NS);
  });

  test("of a busy P wait until it looks for work", () => {
    const { sched, log, task } = setup(1);
    sched.ready(sleeps(task, "s", 1e6));
    sched.ready(task("busy", work(4e6)));
    sched.run(10e6);
    const [, busy, again] = log;
    expect(busy[0]).toBe("busy");
    expect(again[2]).toBe(busy[2] + 4e6 + SWITCH_NS);
  });

  test("of a busy P are stolen by one that has nothing to do", () => {
    const { sched, log, task } = setup(2);
    sched.ready(sleeps(task, "s", 1e6));
    sched.ready(task("busy", work(20e6)));
    sched.ready(task("other", work(3e6)));
    sched.run(30e6);
    const s = log.filter(([name]) => name === "s");
    const busy = log.find(([name]) => name === "busy")!;
    expect(s.length).toBe(2);
    expect(s[1][1]).not.toBe(busy[1]);
    expect(s[1][2]).toBeLessThan(busy[2] + 20e6);
  });

  test("replaced by I/O end at their own moment", () => {
    const { sched, log, task } = setup(1);
    const s = sleeps(task, "s", 2.3e6);
    s.ioWait = true;
    sched.ready(s);
    sched.run(10e6);
    expect(log[1][2]).toBe(WAKE_NS + SWITCH_NS + 1000 + 2.3e6 + WAKE_NS + SWITCH_NS);
  });
});

describe("stopping the world", () => {
  test.each([
    { procs: 1, cpus: 1 },
    { procs: 2, cpus: 2 },
    { procs: 4, cpus: 2 },
  ])("leaves the CPU still to be spent as it was: $procs Ps on $cpus CPUs", ({ procs, cpus }) => {
    const { sched, task } = setup(procs, cpus);
    let done = 0;
    for (let i = 0; i < procs; i++) {
      let steps = 0;
      const body = (t: Task): number => {
        if (++steps === 1) return 5e6;
        done++;
        return work(0)(t);
      };
      sched.ready(task(`t${i}`, body));
    }
    for (const at of [1e6, 2e6, 3e6]) {
      sched.call(at, PRIORITY_WORLD, () => sched.stopTheWorld(100_000, -1, () => {}));
    }
    sched.run(100e6);
    expect(done).toBe(procs);
    // Three stops cost at most a switch each, for each goroutine.
    expect(sched.mutatorNs).toBeGreaterThanOrEqual(procs * (5e6 + SWITCH_NS) - 1);
    expect(sched.mutatorNs).toBeLessThanOrEqual(procs * (5e6 + 4 * SWITCH_NS) + 1);
  });

  test("by a step that costs nothing and parks does not run it again", () => {
    const { sched, gc, log, task } = setup(1);
    gc.onTrigger = (p) => {
      sched.stopTheWorld(10_000, p, () => {});
      return true;
    };
    sched.ready(
      task("gc", (t) => {
        sched.gcWanted = true;
        t.after = AFTER_PARK;
        return 0;
      }),
    );
    sched.run(1e6);
    expect(log.length).toBe(1);
  });

  test("at the very moment a step ends does not make it forget to park", () => {
    const { sched, log, task } = setup(1);
    sched.ready(
      task("s", (t) => {
        t.after = AFTER_PARK;
        return 1000;
      }),
    );
    const end = WAKE_NS + SWITCH_NS + 1000;
    sched.call(end, PRIORITY_WORLD, () => sched.stopTheWorld(10_000, -1, () => {}));
    sched.run(1e6);
    expect(log.length).toBe(1);
  });
});

test("a call made once gives its place back; a goroutine's next step follows its last", () => {
  const { sched, log, task } = setup(1);
  let calls = 0;
  const again = (now: number): void => {
    if (++calls < 1000) sched.call(now + 10, PRIORITY_WORLD, again);
  };
  sched.call(0, PRIORITY_WORLD, again);
  const registered = sched.register(() => {});
  expect(registered).toBe(1);
  let steps = 0;
  sched.ready(
    task("r", (t) => {
      t.after = ++steps < 3 ? AFTER_RUN : AFTER_EXIT;
      return 1000;
    }),
  );
  sched.run(1e6);
  expect(calls).toBe(1000);
  expect(sched.register(() => {})).toBe(2);
  expect(log.map(([, , at]) => at - log[0][2])).toEqual([0, 1000, 2000]);
});

test("a goroutine whose assist finds no work parks until the cycle has ended, and others run meanwhile", () => {
  const { sched, log, task } = setup(1);
  const parked: G[] = [];
  class Marking extends NoMarking {
    override readonly marking = true;
    override assist(g: G): number {
      g.gcAssistBytes = 0;
      parked.push(g);
      return -1;
    }
  }
  sched.attach(new Marking());
  const inDebt = task("in debt", work(100));
  inDebt.gcAssistBytes = -1000;
  sched.ready(inDebt);
  sched.ready(task("other", work(1000)));
  sched.run(1e6);
  expect([log.map(([name]) => name), parked]).toEqual([["other"], [inDebt]]);
  sched.ready(inDebt);
  sched.run(2e6);
  expect(log.map(([name]) => name)).toEqual(["other", "in debt"]);
});

test("an assist that stands still for lack of quota ends when it goes on, if the CPU limiter has turned on meanwhile", () => {
  const told: [what: string, nowNs: number][] = [];
  const sched = new Scheduler({
    nprocs: 1,
    cpus: 1,
    wakeNs: () => 0,
    timerSlackNs: () => 0,
    switchNs: 0,
    wakerNs: 0,
    coldNs: 0,
    bandwidth: new CfsBandwidth(1e6, 100e6, 0, 1),
  });
  sched.attach({
    marking: true,
    idleCheckNs: 1000,
    onlyLooking: false,
    workerDue: () => P_IDLE,
    addIdleWorker: () => false,
    workerStarted: () => {},
    workerStopped: () => {},
    workerHeld: (_p, held, nowNs) => told.push([held ? "held" : "goes on", nowNs]),
    workerExitNs: () => Infinity,
    assist: () => 10e6,
    assistDone: (g, _p, nowNs) => {
      g.gcAssistBytes = 0;
      told.push(["done", nowNs]);
    },
    flushAssistCredit: () => {},
    triggered: () => false,
  });
  const task = new Task([], "in debt", work(0));
  task.gcAssistBytes = -1;
  sched.ready(task);
  sched.call(50e6, PRIORITY_WORLD, () => {
    sched.limiter.limiting = true;
    sched.endAssists();
  });
  sched.run(300e6);
  // A quota of 1 ms for an assist of 10.
  expect(told).toEqual([
    ["held", 1e6],
    ["goes on", 100e6],
    ["done", 100e6],
  ]);
});

describe("on a CPU without quota left", () => {
  /** Two Ps on one CPU with 1 ms of quota per 100. */
  function onOneCpu(delays?: ThreadDelays) {
    const sched = new Scheduler({
      nprocs: 2,
      cpus: 1,
      wakeNs: () => WAKE_NS,
      timerSlackNs: () => 0,
      switchNs: 0,
      wakerNs: 0,
      coldNs: 0,
      bandwidth: new CfsBandwidth(1e6, 100e6, 0, 1),
      ...(delays === undefined ? {} : { delays }),
    });
    sched.attach(new NoMarking());
    return sched;
  }

  test("a thread that was on its way begins when there is quota again", () => {
    const sched = onOneCpu();
    const log: Task["log"] = [];
    sched.ready(new Task(log, "first", work(1.5e6)));
    // The quota is used up 1 ms after the first thread has arrived; the second was woken before, and arrives after that.
    sched.call(1.03e6, PRIORITY_WORLD, () => sched.ready(new Task(log, "second", work(1000))));
    sched.run(150e6);
    expect(log).toEqual([
      ["first", 0, WAKE_NS],
      ["second", 1, 100e6],
    ]);
  });

  test("a thread whose sleep in a page fault is over goes on when there is quota again", () => {
    let sleeps: HighSleep[] | null = null;
    const delays: ThreadDelays = {
      killed: false,
      stalledUntilNs: 0,
      takeSleeps: () => {
        const taken = sleeps;
        sleeps = null;
        return taken;
      },
      beginSleep: (sleep) => sleep.ns,
      takeCpuNs: () => 0,
      reclaimed: () => {},
      elapse: () => {},
    };
    const sched = onOneCpu(delays);
    const log: Task["log"] = [];
    let steps = 0;
    const sleeper = new Task(log, "sleeper", (task) => {
      if (++steps === 1) sleeps = [{ pages: 64, ns: 30e6, times: 1 }];
      else task.after = AFTER_EXIT;
      return 0;
    });
    sched.ready(sleeper);
    sched.call(10e6, PRIORITY_WORLD, () => sched.ready(new Task(log, "worker", work(2e6))));
    sched.run(150e6);
    expect(log).toEqual([
      ["sleeper", 0, WAKE_NS],
      ["worker", 1, 10e6 + WAKE_NS],
      ["sleeper", 0, 100e6],
    ]);
  });
});
