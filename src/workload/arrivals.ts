/**
 * When requests arrive: a Poisson process or evenly paced arrivals, of a rate that may change over time.
 *
 * The rate is base(t) * diurnal(t) * bursts(t). The base is the scenario's `rate`, then whichever of `steps` and `ramp`
 * began last: a step sets it; a ramp takes it linearly from where it stood at `from` to `to`, then holds. The diurnal
 * factor is 1 + amplitude cos(2 pi (t - peak_at) / period). The burst factor holds for `length`, every `every`, from
 * `first` (by default one `every` in). All times are virtual time of the run, not of the entry.
 *
 * Time is cut into pieces where the base is linear, the burst factor constant, and the diurnal angle moves by a 32nd of
 * a turn at most. Poisson arrivals are thinned: candidates at the piece's highest rate, each kept with probability
 * rate/highest; where the rate is constant every candidate is kept and costs one number. A process starts afresh at
 * every piece, which a Poisson process, having no memory, allows. Even pacing puts the n-th arrival where the integral
 * of the rate from the start reaches n.
 *
 * What it simplifies: an arrival is at the nearest whole nanosecond, so above some 10^8 per second arrivals coincide.
 */
import type { Arrivals } from "../scenario/schema.ts";
import { cosTurns, log } from "../sim/math.ts";
import type { Rng } from "../sim/rng.ts";

const NS_PER_SECOND = 1e9;
const DIURNAL_PIECES = 32;

/** Arrivals' worth of rounding that an integral over a piece may have. */
const ROUNDING = 1e-9;

/** From `from` on the base rate (per ns) is `rate + slope * (t - from)`. */
interface BasePiece {
  readonly from: number;
  readonly rate: number;
  readonly slope: number;
}

/** Nodes and weights of 4-point Gauss-Legendre on [0, 1]: exact to rounding on a piece. */
const NODES = [0.06943184420297371, 0.33000947820757187, 0.6699905217924281, 0.9305681557970262];
const WEIGHTS = [0.17392742256872692, 0.32607257743127305, 0.32607257743127305, 0.17392742256872692];

export class ArrivalProcess {
  readonly #arrivals: Arrivals;
  readonly #rng: Rng;
  readonly #poisson: boolean;
  readonly #base: readonly BasePiece[];

  /** Where the process stands, in ns; the last arrival or a later point nothing arrived before. Not rounded. */
  #now: number;
  /** What `next` returned last. */
  #last: number;
  /**
   * Evenly paced only: the last arrival is where the integral of the rate from #anchor, a point of the current piece,
   * is #owed. Counted from one point per piece, not from arrival to arrival, so that rounding does not add up.
   */
  #anchor: number;
  #owed = 0;

  /** The piece #now is in: its end, and what the rate consists of there. */
  #end = -Infinity;
  #piece: BasePiece;
  #burst = 1;
  #highest = 0;
  #flat = false;

  constructor(arrivals: Arrivals, startNs: number, rng: Rng) {
    const { diurnal, bursts, ramp } = arrivals;
    if (diurnal !== undefined && !(diurnal.period > 0))
      throw new RangeError("diurnal.period must be longer than 0");
    if (bursts !== undefined && !(bursts.every > 0))
      throw new RangeError("bursts.every must be longer than 0");
    if (ramp !== undefined && !(ramp.over >= 0)) throw new RangeError("ramp.over must not be negative");
    this.#arrivals = arrivals;
    this.#rng = rng;
    this.#poisson = arrivals.process === "poisson";
    this.#base = basePieces(arrivals);
    this.#piece = this.#base[0];
    this.#now = startNs;
    this.#anchor = startNs;
    this.#last = startNs;
  }

  /** The rate at a time, per second. */
  rateAt(tNs: number): number {
    const piece = this.#basePieceAt(tNs);
    return (
      (piece.rate + piece.slope * (tNs - piece.from)) *
      this.#diurnalAt(tNs) *
      this.#burstAt(tNs) *
      NS_PER_SECOND
    );
  }

  /**
   * The time of the next arrival at or after `afterNs`, in whole ns; Infinity when none ever comes. Call it with its
   * own last answer for the arrival after that one (arrivals within one nanosecond return equal times), or with a later
   * time to skip what would have come before it.
   */
  next(afterNs: number): number {
    if (this.#last === Infinity) return Infinity;
    if (afterNs > this.#last) this.#skipTo(afterNs);
    this.#now = this.#poisson ? this.#nextPoisson() : this.#nextPaced();
    this.#last = Math.round(this.#now);
    return this.#last;
  }

  #nextPoisson(): number {
    const rng = this.#rng;
    let t = this.#now;
    for (;;) {
      if (t >= this.#end) this.#enter(t);
      if (this.#highest === 0) {
        if (this.#end === Infinity) return Infinity;
        t = this.#end;
        continue;
      }
      // 1 - f64 is in (0, 1].
      t -= log(1 - rng.f64()) / this.#highest;
      if (t >= this.#end) t = this.#end;
      else if (this.#flat || rng.f64() * this.#highest < this.#rateInPiece(t)) return t;
    }
  }

  #nextPaced(): number {
    this.#owed += 1;
    for (;;) {
      if (this.#anchor >= this.#end) this.#enter(this.#anchor);
      const available = this.#integral(this.#anchor, this.#end);
      // An arrival due at the very end belongs here: after the end nothing may come for long.
      if (this.#highest > 0 && available >= this.#owed - ROUNDING) {
        if (this.#flat) return Math.min(this.#anchor + this.#owed / this.#highest, this.#end);
        return this.#invert(this.#anchor, this.#owed);
      }
      if (this.#end === Infinity) return Infinity;
      this.#owed -= available;
      this.#anchor = this.#end;
    }
  }

  /** Moves to a later time; the arrivals in between are lost, the pace is kept. */
  #skipTo(afterNs: number): void {
    this.#now = Math.max(this.#now, afterNs);
    if (this.#poisson) return;
    if (this.#anchor >= this.#end) this.#enter(this.#anchor);
    while (this.#end <= afterNs) {
      this.#owed -= this.#integral(this.#anchor, this.#end);
      this.#anchor = this.#end;
      this.#enter(this.#anchor);
    }
    // One less than the first whole step from the last arrival that is not before afterNs: `next` adds the one.
    const passed = this.#integral(this.#anchor, afterNs) - this.#owed;
    // Where the integral stands still, an arrival at its present value lies before afterNs.
    const steps = this.#highest === 0 ? Math.floor(passed + ROUNDING) + 1 : Math.ceil(passed - ROUNDING);
    if (steps > 1) this.#owed += steps - 1;
  }

  /** Makes the piece that t lies in, t included and its end not, the current one. */
  #enter(t: number): void {
    const { diurnal, bursts } = this.#arrivals;
    const base = this.#basePieceAt(t);
    const index = this.#base.indexOf(base);
    const baseEnd = index + 1 < this.#base.length ? this.#base[index + 1].from : Infinity;
    this.#piece = base;
    this.#burst = this.#burstAt(t);
    this.#flat = true;
    let end = baseEnd;
    // Where nothing can arrive the piece is as long as that lasts, so that idle spans are not walked bit by bit.
    const idle = base.rate === 0 && base.slope === 0;
    if (!idle && bursts !== undefined) end = Math.min(end, this.#burstChangeAfter(t));
    let diurnalHigh = 1;
    if (!idle && this.#burst !== 0 && diurnal !== undefined && diurnal.amplitude > 0) {
      this.#flat = false;
      const width = diurnal.period / DIURNAL_PIECES;
      let cell = Math.floor((t - diurnal.peak_at) / width) + 1;
      // Rounding may put the boundary at t itself.
      if (diurnal.peak_at + cell * width <= t) cell++;
      end = Math.min(end, diurnal.peak_at + cell * width);
      // Peaks lie on cell boundaries, so within a cell the factor is highest at one of its ends.
      diurnalHigh = Math.max(cosTurns((cell - 1) / DIURNAL_PIECES), cosTurns(cell / DIURNAL_PIECES));
      diurnalHigh = 1 + diurnal.amplitude * diurnalHigh;
    }
    this.#end = end;
    const from = base.rate + base.slope * (t - base.from);
    const to = base.slope === 0 ? from : base.rate + base.slope * (end - base.from);
    if (base.slope !== 0) this.#flat = false;
    this.#highest = Math.max(from, to, 0) * diurnalHigh * this.#burst;
  }

  /** The rate per ns within the current piece. */
  #rateInPiece(t: number): number {
    const piece = this.#piece;
    return Math.max(0, piece.rate + piece.slope * (t - piece.from)) * this.#diurnalAt(t) * this.#burst;
  }

  /** The integral of the rate between two times of the current piece. */
  #integral(from: number, to: number): number {
    // Also keeps 0 * Infinity out.
    if (this.#highest === 0) return 0;
    if (this.#flat) return this.#highest * (to - from);
    let sum = 0;
    for (let i = 0; i < 4; i++) sum += WEIGHTS[i] * this.#rateInPiece(from + (to - from) * NODES[i]);
    return sum * (to - from);
  }

  /** The time in the current piece where the integral from `from` reaches `amount`: Newton, kept inside a bracket. */
  #invert(from: number, amount: number): number {
    let low = from;
    let high = this.#end;
    let t = from + amount / this.#highest;
    if (t > high) t = high;
    for (let i = 0; i < 100 && high - low > 1e-3; i++) {
      const excess = this.#integral(from, t) - amount;
      if (excess > 0) high = t;
      else low = t;
      const step = excess / this.#rateInPiece(t);
      let to = t - step;
      if (!(to > low && to < high)) to = (low + high) / 2;
      if (Math.abs(to - t) < 1e-3) return to;
      t = to;
    }
    return t;
  }

  #basePieceAt(t: number): BasePiece {
    const pieces = this.#base;
    let low = 0;
    let high = pieces.length;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (pieces[middle].from <= t) low = middle;
      else high = middle;
    }
    return pieces[low];
  }

  #diurnalAt(t: number): number {
    const diurnal = this.#arrivals.diurnal;
    if (diurnal === undefined) return 1;
    return 1 + diurnal.amplitude * cosTurns((t - diurnal.peak_at) / diurnal.period);
  }

  #burstAt(t: number): number {
    const bursts = this.#arrivals.bursts;
    if (bursts === undefined) return 1;
    const since = t - (bursts.first ?? bursts.every);
    if (since < 0) return 1;
    return since - Math.floor(since / bursts.every) * bursts.every < bursts.length ? bursts.factor : 1;
  }

  /** When the burst factor changes next after t; Infinity when it never does. */
  #burstChangeAfter(t: number): number {
    const bursts = this.#arrivals.bursts;
    if (bursts === undefined || bursts.length === 0) return Infinity;
    const first = bursts.first ?? bursts.every;
    if (t < first) return first;
    // Bursts that meet are one that never ends.
    if (bursts.length >= bursts.every) return Infinity;
    const start = first + Math.floor((t - first) / bursts.every) * bursts.every;
    return t < start + bursts.length ? start + bursts.length : start + bursts.every;
  }
}

/** The base rate as linear pieces in order of time, from time 0 on. */
function basePieces(arrivals: Arrivals): BasePiece[] {
  const pieces: BasePiece[] = [{ from: 0, rate: arrivals.rate / NS_PER_SECOND, slope: 0 }];
  const steps = [...(arrivals.steps ?? [])].sort((a, b) => a.at - b.at);
  let next = 0;
  const stepsUntil = (until: number) => {
    for (; next < steps.length && steps[next].at < until; next++)
      pieces.push({ from: steps[next].at, rate: steps[next].rate / NS_PER_SECOND, slope: 0 });
  };
  const ramp = arrivals.ramp;
  if (ramp !== undefined) {
    stepsUntil(ramp.from);
    const rate = pieces[pieces.length - 1].rate;
    const to = ramp.to / NS_PER_SECOND;
    const end = ramp.from + ramp.over;
    // A step during the ramp ends it.
    const cut = next < steps.length && steps[next].at < end;
    if (ramp.over > 0) pieces.push({ from: ramp.from, rate, slope: (to - rate) / ramp.over });
    if (!cut) pieces.push({ from: end, rate: to, slope: 0 });
  }
  stepsUntil(Infinity);
  // A piece that begins where the one before it does replaces it.
  return pieces.filter((piece, i) => i + 1 === pieces.length || pieces[i + 1].from > piece.from);
}
