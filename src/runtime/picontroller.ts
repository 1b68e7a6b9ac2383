/**
 * A proportional-integral controller with anti-windup.
 *
 * Models: piController, which drives the background scavenger's sleep ratio in every release and the
 * cons/mark estimate of the pacer in Go 1.19. Follows mgcscavenge.go of Go 1.26 (mgcpacer.go in 1.19);
 * the two are the same algorithm.
 *
 * Nothing is simplified: the order of the floating-point operations is that of the source, so that a
 * sequence of inputs gives the same outputs to the last bit.
 */
export class PiController {
  /** Proportional gain. */
  readonly #kp: number;
  /** Integral time constant, in the unit of `period`. 0 disables the integral part. */
  readonly #ti: number;
  /** Reset time of the anti-windup term, in the unit of `period`. 0 disables the integral part. */
  readonly #tt: number;
  /** Bounds of the output. */
  readonly #min: number;
  readonly #max: number;

  /** Integral of the error since the start or the last reset. */
  #errIntegral = 0;
  /** Sticky: the integral overflowed once. */
  errOverflow = false;
  /** Sticky: an input was so large that the output overflowed once. */
  inputOverflow = false;
  /** Whether the last `next` succeeded; if not, the controller has reset itself. */
  ok = true;

  constructor(kp: number, ti: number, tt: number, min: number, max: number) {
    this.#kp = kp;
    this.#ti = ti;
    this.#tt = tt;
    this.#min = min;
    this.#max = max;
  }

  /**
   * Takes one sample and returns the new value of the controlled variable. `period` is the time since the
   * last sample. On overflow the result is the lower bound, `ok` is false and the integral restarts.
   */
  next(input: number, setpoint: number, period: number): number {
    const prop = this.#kp * (setpoint - input);
    const rawOutput = prop + this.#errIntegral;
    if (!Number.isFinite(rawOutput)) {
      this.reset();
      this.inputOverflow = true;
      this.ok = false;
      return this.#min;
    }
    const output = rawOutput < this.#min ? this.#min : rawOutput > this.#max ? this.#max : rawOutput;

    if (this.#ti !== 0 && this.#tt !== 0) {
      this.#errIntegral +=
        ((this.#kp * period) / this.#ti) * (setpoint - input) + (period / this.#tt) * (output - rawOutput);
      if (!Number.isFinite(this.#errIntegral)) {
        this.reset();
        this.errOverflow = true;
        this.ok = false;
        return this.#min;
      }
    }
    this.ok = true;
    return output;
  }

  /** Forgets the accumulated error; the sticky flags stay. */
  reset(): void {
    this.#errIntegral = 0;
  }
}
