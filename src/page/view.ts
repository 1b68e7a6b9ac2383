/**
 * The stretch of time all charts show. Whoever changes it asks here; charts follow once per frame, those on the screen at
 * once, the others when nothing has changed for a moment.
 */

export interface Follower {
  readonly onScreen: boolean;
  show(from: number, to: number): void;
}

const REST_MS = 120;

export class TimeView {
  readonly end: number;
  from = 0;
  to: number;
  readonly #followers: Follower[] = [];
  readonly #listeners: ((from: number, to: number) => void)[] = [];
  #frame = 0;
  #rest = 0;

  constructor(end: number) {
    this.end = end;
    this.to = end;
  }

  follow(follower: Follower): void {
    this.#followers.push(follower);
  }

  listen(listener: (from: number, to: number) => void): void {
    this.#listeners.push(listener);
  }

  /** Shows this stretch, moved and cut so that it lies inside the run. */
  set(from: number, to: number): void {
    const width = Math.min(this.end, Math.max(to - from, this.end * 1e-6));
    const start = Math.min(Math.max(0, from), this.end - width);
    if (start === this.from && start + width === this.to) return;
    this.from = start;
    this.to = start + width;
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#apply());
  }

  #apply(): void {
    this.#frame = 0;
    for (const follower of this.#followers) if (follower.onScreen) follower.show(this.from, this.to);
    for (const listener of this.#listeners) listener(this.from, this.to);
    clearTimeout(this.#rest);
    this.#rest = setTimeout(() => {
      for (const follower of this.#followers) follower.show(this.from, this.to);
    }, REST_MS);
  }

  reset(): void {
    this.set(0, this.end);
  }

  /** Moves by a share of what is shown. */
  pan(share: number): void {
    const by = (this.to - this.from) * share;
    this.set(this.from + by, this.to + by);
  }

  /** Shows so many times as much, around `at` or the middle. */
  zoom(factor: number, at = (this.from + this.to) / 2): void {
    this.set(at - (at - this.from) * factor, at + (this.to - at) * factor);
  }
}
