/**
 * A series of any length kept in a bounded number of buckets, for the one-line pictures of the terminal summary:
 * each bucket holds the peak of equally many samples; when the buckets run out, neighbours merge and the width doubles.
 */
export class SeriesSketch {
  readonly peaks: number[] = [];
  readonly #limit: number;
  #perBucket = 1;
  #inLast = 0;

  constructor(limit = 256) {
    this.#limit = limit;
  }

  add(value: number): void {
    if (this.peaks.length > 0 && this.#inLast < this.#perBucket) {
      const last = this.peaks.length - 1;
      if (!(value <= this.peaks[last])) this.peaks[last] = value;
      this.#inLast++;
      return;
    }
    if (this.peaks.length === this.#limit) {
      for (let i = 0; i < this.#limit / 2; i++) {
        this.peaks[i] = Math.max(this.peaks[2 * i], this.peaks[2 * i + 1]);
      }
      this.peaks.length = this.#limit / 2;
      this.#perBucket *= 2;
    }
    this.peaks.push(value);
    this.#inLast = 1;
  }
}

const BLOCKS = "▁▂▃▄▅▆▇█";
const ASCII_BLOCKS = "_.:-=+*#";

/** The series as one line of `width` cells, from 0 (lowest block) to `top` (highest). */
export function sparkline(values: readonly number[], width: number, top: number, ascii = false): string {
  const blocks = ascii ? ASCII_BLOCKS : BLOCKS;
  const cells = Math.min(width, values.length);
  let line = "";
  for (let cell = 0; cell < cells; cell++) {
    const from = Math.floor((cell * values.length) / cells);
    const to = Math.max(from + 1, Math.floor(((cell + 1) * values.length) / cells));
    let peak = 0;
    for (let i = from; i < to; i++) if (values[i] > peak) peak = values[i];
    const level = top > 0 ? Math.ceil((peak / top) * blocks.length) - 1 : 0;
    line += blocks[Math.max(0, Math.min(blocks.length - 1, level))];
  }
  return line;
}
