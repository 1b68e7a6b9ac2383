import { describe, expect, test } from "vitest";
import { HeapWork } from "../../src/runtime/heapstats.ts";
import { G } from "../../src/runtime/proc.ts";
import { Trace, type TraceEvent, type TraceOptions } from "../../src/runtime/trace.ts";

class Task extends G {
  override get label(): string {
    return "task";
  }

  step(): number {
    return 0;
  }
}

/** A trace of two Ps with a clock set by hand, and what its tracer was told: `B` and `E` for what lasts. */
function watch(options: Omit<TraceOptions, "tracer"> = {}) {
  const told: string[] = [];
  const tell =
    (ph: string) =>
    ({ name, track, t_ns, dur_ns, detail }: TraceEvent): void => {
      const length = ph === "B " || dur_ns === 0 ? "" : `+${dur_ns}`;
      const cpu = detail.cpu_ns === undefined ? "" : ` cpu ${detail.cpu_ns}`;
      told.push(`${ph}${name} @${track} ${t_ns}${length}${cpu}${detail.unfinished ? " unfinished" : ""}`);
    };
  const clock = { nowNs: 0 };
  const tracer = { begin: tell("B "), end: tell("E "), event: tell("") };
  const trace = new Trace({ kinds: ["proc", "span", "gc"], ...options, tracer }, 2);
  trace.attach(clock, () => ({ heapLive: 0, heapGoal: 0, rss: 0 }));
  return { trace, clock, told };
}

/** A step with one refill, 30 ns in and 40 ns long, that grows the heap. */
function refill(trace: Trace, g: G): void {
  trace.stepBegins(g);
  trace.slowPathBegins("refill", 30, {});
  trace.instant("span", "heap grows", {});
  trace.work(new HeapWork(), 0, 40);
  trace.slowPathEnds();
  trace.stepEnds(g);
}

describe("what a step does", () => {
  test("is reported when its part of the CPU time has run, the slow path before what is inside it", () => {
    const { trace, clock, told } = watch();
    const g = new Task();
    trace.onP(0, "run", g);
    refill(trace, g);
    trace.sliceBegins(0, 1);
    clock.nowNs = 100;
    expect(told).toEqual(["B task @0 0"]);
    trace.sliceEnds(0, g, true);
    trace.onP(0, "idle");
    expect(told.slice(1)).toEqual(["refill @0 30+40", "heap grows @0 30", "E task @0 0+100"]);
  });

  test("is stretched where Ps share CPUs, and goes on elsewhere after a stop", () => {
    const { trace, clock, told } = watch();
    const g = new Task();
    trace.onP(0, "run", g);
    refill(trace, g);
    trace.instant("span", "before the step", {});
    trace.sliceBegins(0, 2);
    // 20 ns of CPU time, less than until the refill.
    clock.nowNs = 40;
    trace.sliceEnds(0, g, false);
    trace.worldStops(g);
    trace.onP(0, "stopped");
    expect(told.filter((line) => line.startsWith("refill"))).toEqual([]);
    clock.nowNs = 1000;
    trace.onP(1, "run", g);
    trace.sliceBegins(1, 2);
    clock.nowNs = 1050;
    // 25 ns more: 15 of the refill's 40.
    trace.sliceEnds(1, g, false);
    expect(told.slice(-2)).toEqual(["refill @1 1020+30 cpu 40", "heap grows @1 1020"]);
    trace.onP(1, "idle");
    trace.processEnds(clock.nowNs, false);
    expect(told).toContain("E STW (task) @0 40+1010 unfinished");
  });

  test("is told of at the end even if its time has not come", () => {
    const { trace, clock, told } = watch();
    const g = new Task();
    trace.onP(0, "run", g);
    refill(trace, g);
    trace.sliceBegins(0, 1);
    clock.nowNs = 10;
    trace.processEnds(clock.nowNs, false);
    expect(told.slice(1)).toEqual(["refill @-2 10 cpu 40", "heap grows @-2 10", "E task @0 0+10 unfinished"]);
  });
});

describe("a window", () => {
  test("begins with what lasts already and ends what still lasts", () => {
    const { trace, clock, told } = watch({ fromNs: 100, untilNs: 200 });
    const g = new Task();
    trace.onP(1, "dedicated");
    trace.onP(0, "run", g);
    clock.nowNs = 50;
    trace.instant("span", "early", {});
    trace.onP(0, "idle");
    clock.nowNs = 150;
    trace.instant("span", "inside", {});
    trace.onP(0, "run", g);
    clock.nowNs = 250;
    trace.instant("span", "late", {});
    trace.onP(0, "idle");
    clock.nowNs = 300;
    trace.processEnds(clock.nowNs, false);
    expect(told).toEqual([
      "B GC (dedicated) @1 100",
      "inside @-2 150",
      "B task @0 150",
      "E GC (dedicated) @1 100+100 unfinished",
      "E task @0 150+50 unfinished",
    ]);
  });

  test("that nothing happens in is empty", () => {
    const { trace, clock, told } = watch({ fromNs: 100, untilNs: 200 });
    trace.onP(0, "run", new Task());
    clock.nowNs = 90;
    trace.onP(0, "idle");
    clock.nowNs = 300;
    trace.instant("span", "late", {});
    trace.processEnds(clock.nowNs, false);
    expect(told).toEqual([]);
  });
});
