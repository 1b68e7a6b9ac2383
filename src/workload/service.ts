/**
 * A service: requests arrive whether or not earlier ones are done (open loop), and each is served by its own goroutine.
 *
 * With `concurrency` set, requests beyond it wait in arrival order. Latency runs from arrival to the end of the request,
 * the wait included, so an overloaded service shows it.
 */
import { AFTER_EXIT, AFTER_RUN, PRIORITY_TIMER } from "../runtime/proc.ts";
import type { Service, WorkloadEntry } from "../scenario/schema.ts";
import type { Rng } from "../sim/rng.ts";
import { ArrivalProcess } from "./arrivals.ts";
import { type FirstRequests, LatencyRecorder } from "./latency.ts";
import { type Context, type Running, startTicker } from "./program.ts";
import { Work, WorkSpec } from "./work.ts";

/** The oracle's dispatcher wakes once a millisecond; alone, the simulator takes arrivals at their own instants. */
const DISPATCH_TICK_NS = 1e6;

export function startService(ctx: Context, entry: Service): Running {
  startTicker(ctx);
  return new ServiceRun(ctx, entry);
}

class ServiceRun implements Running {
  readonly latency = new LatencyRecorder();
  completed = 0;
  inflight = 0;
  refused = 0;
  readonly ctx: Context;
  readonly spec: WorkSpec;
  readonly #name: string;
  readonly #firstRequests: FirstRequests | undefined;
  #arrivals: ArrivalProcess;
  readonly #callback: number;
  /** Share of arrivals that are refused. */
  #shed = 0;
  #shedRng: Rng | undefined;
  #nextNs = 0;
  /** The dispatcher's tick of the arrivals looked at last, and when it sees them. */
  #tick = -1;
  #tickSeenNs = 0;
  #stopNs: number;
  #concurrency: number;
  /** When the entry was last changed, and how many times at that moment. */
  #changedNs = -1;
  #changesNow = 0;
  #handle = -1;
  readonly #idle: Request[] = [];
  /** The request that sleeps in place of whoever takes them, for memory.high: until it is through, none is taken. */
  #asleep: Request | null = null;
  /** Arrival times of requests waiting for a place. */
  #waiting: number[] = [];
  #waitingHead = 0;

  constructor(ctx: Context, entry: Service) {
    this.ctx = ctx;
    this.#name = entry.name;
    this.spec = new WorkSpec(ctx, entry);
    this.#stopNs = entry.stop ?? Infinity;
    this.#concurrency = entry.concurrency ?? Infinity;
    this.#arrivals = new ArrivalProcess(
      entry.arrivals,
      entry.start,
      ctx.random.stream(`${entry.name}/arrivals`),
    );
    this.#callback = ctx.rt.sched.register((now) => this.#arrived(now));
    this.#firstRequests = ctx.firstRequests(entry.name);
    this.#firstRequests?.started();
    this.#await(this.#takeEarly(entry.start));
  }

  /** Requests that came before the process was ready are served now, or queue. Returns the first arrival after them. */
  #takeEarly(startNs: number): number {
    const ready = Math.min(this.ctx.readyNs, this.#stopNs);
    let next = this.#arrivals.next(startNs);
    for (; next < ready; next = this.#arrivals.next(next)) this.#admit(next);
    return next;
  }

  change(changed: WorkloadEntry, nowNs: number): void {
    if (changed.kind !== "service") throw new Error("a phase changed the kind of an entry");
    this.spec.configure(changed);
    this.#stopNs = changed.stop ?? Infinity;
    this.#concurrency = changed.concurrency ?? Infinity;
    // Of several changes at one moment each has numbers of its own.
    this.#changesNow = nowNs === this.#changedNs ? this.#changesNow + 1 : 1;
    this.#changedNs = nowNs;
    const again = this.#changesNow === 1 ? "" : `/${this.#changesNow}`;
    const rng = this.ctx.random.stream(`${changed.name}/arrivals@${nowNs}${again}`);
    this.#arrivals = new ArrivalProcess(changed.arrivals, changed.start, rng);
    if (this.#handle >= 0) this.ctx.rt.sched.queue.cancel(this.#handle);
    this.#expect(nowNs);
    while (this.inflight < this.#concurrency && this.#waitingHead < this.#waiting.length)
      this.#serve(this.#takeWaiting());
  }

  /** From now on this share of arrivals is refused, at no cost: by a balancer in front, or the first line of a handler. */
  shed(share: number): void {
    this.#shed = share;
    this.#shedRng ??= this.ctx.random.stream(`${this.#name}/shed`);
  }

  #expect(afterNs: number): void {
    this.#await(this.#arrivals.next(afterNs));
  }

  #await(next: number): void {
    this.#handle = -1;
    this.#nextNs = next;
    if (next === Infinity || next >= this.#stopNs) return;
    this.#handle = this.ctx.rt.sched.fire(this.#seen(next), PRIORITY_TIMER, this.#callback);
  }

  /** When the program notices an arrival: the oracle's dispatcher looks once a millisecond, and wakes a little late. */
  #seen(arrivalNs: number): number {
    if (!this.ctx.program.declared) return arrivalNs;
    const tick = Math.ceil(arrivalNs / DISPATCH_TICK_NS) * DISPATCH_TICK_NS;
    if (tick !== this.#tick) {
      this.#tick = tick;
      this.#tickSeenNs = tick + this.ctx.rt.sched.timerSlackNs();
    }
    return this.#tickSeenNs;
  }

  #arrived(nowNs: number): void {
    const { sched } = this.ctx.rt;
    // Whoever takes requests is a goroutine, too, and none runs while memory.high holds the threads of all Ps.
    const { stalledUntilNs } = sched;
    if (this.#asleep !== null) {
      this.#handle = -1;
      return;
    }
    if (stalledUntilNs > nowNs) {
      this.#handle = sched.fire(stalledUntilNs, PRIORITY_TIMER, this.#callback);
      return;
    }
    const arrivalNs = this.#nextNs;
    this.#expect(arrivalNs);
    if (this.#shed > 0 && this.#shedRng!.f64() < this.#shed) {
      this.refused++;
      return;
    }
    this.#admit(arrivalNs);
  }

  #admit(arrivalNs: number): void {
    if (this.inflight < this.#concurrency) this.#serve(arrivalNs);
    else this.#waiting.push(arrivalNs);
  }

  #serve(arrivalNs: number): void {
    this.inflight++;
    const request = this.#idle.pop() ?? new Request(this, this.spec);
    request.arrivalNs = arrivalNs;
    const { sched, heap } = this.ctx.rt;
    // Whoever takes the request does so on a P of its own: taken to be the one that ran last.
    request.go(heap.currentP);
    // For its stack whoever takes it sleeps, if anybody does; after that it is one goroutine among those that wait.
    if (sched.owes(request)) this.#asleep = request;
    // The oracle's dispatcher is woken by its timer and runs next. A server's accepting goroutine waits its turn in the global queue
    // with those whose I/O has ended; so do its requests.
    if (this.ctx.program.declared) sched.readyNext(request, heap.currentP);
    else sched.ready(request);
  }

  /** A request takes a step. */
  stepping(request: Request): void {
    if (request !== this.#asleep) return;
    this.#asleep = null;
    if (this.#handle < 0 && this.#nextNs < this.#stopNs) this.#await(this.#nextNs);
  }

  /** A request has ended; returns the arrival time of the next one to serve in its place, or -1. */
  done(request: Request, nowNs: number): number {
    this.completed++;
    this.latency.record(nowNs - request.arrivalNs);
    this.#firstRequests?.record(nowNs - request.arrivalNs);
    if (this.#waitingHead < this.#waiting.length && this.inflight <= this.#concurrency) {
      return this.#takeWaiting();
    }
    this.inflight--;
    this.#idle.push(request);
    return -1;
  }

  #takeWaiting(): number {
    const next = this.#waiting[this.#waitingHead++];
    if (this.#waitingHead > 1024 && this.#waitingHead * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#waitingHead);
      this.#waitingHead = 0;
    }
    return next;
  }
}

class Request extends Work {
  readonly #service: ServiceRun;
  arrivalNs = 0;

  constructor(service: ServiceRun, spec: WorkSpec) {
    super(spec);
    this.#service = service;
  }

  override step(p: number, nowNs: number): number {
    this.#service.stepping(this);
    return super.step(p, nowNs);
  }

  protected finished(p: number, nowNs: number): void {
    this.spec.ctx.rt.goroutines.goexit(p, this.gid);
    this.gid = -1;
    const next = this.#service.done(this, nowNs);
    if (next < 0) {
      this.after = AFTER_EXIT;
    } else {
      this.go(p);
      this.arrivalNs = next;
      this.after = AFTER_RUN;
    }
  }
}
