/**
 * A table of numbers kept in bounded memory while it streams, and its compact form inside a page.
 *
 * Rows are kept as they are until `limit` of them are there. From then on time is cut into buckets of equally many rows, two points
 * each: the smallest and the largest value of the bucket in the order in which they came, so that no peak is lost (the usual
 * min/max decimation; a bucket's points stand at its first and last row's time). When the buckets run out, neighbours merge and their
 * width doubles. What is derived from differences stays exact at the points: a counter's extremes are its first and last value.
 * Columns that are stacked on each other may follow a leader: then a point has their values of the row of the leader's extreme.
 *
 * Packed, a column is a row of integers (value x scale), as first or second differences, whichever are shorter, zigzag-coded in
 * groups of seven bits; 0 stands for no value. Columns follow each other. `pack` and `unpack` are each other's inverse up to the
 * scale's rounding; a test says so.
 */

export interface TableColumn {
  readonly name: string;
  /** Integers are kept of `value * scale`. */
  readonly scale: number;
  /** The column whose extremes decide; itself unless given. */
  readonly leader?: string;
}

export interface PackedTable {
  /** Rows that came in. */
  readonly rows: number;
  /** Points kept; equal to `rows` while nothing was left out. */
  readonly points: number;
  /** Rows that two points stand for; 2 while every row was kept. */
  readonly rows_per_bucket: number;
  readonly columns: readonly { readonly name: string; readonly scale: number; readonly order: 1 | 2 }[];
  /** Base64 of the deflated (raw) columns. */
  readonly data: string;
}

/** The first column is the time (or whatever only grows): its extremes are its first and last value. */
export class BoundedTable {
  readonly columns: readonly TableColumn[];
  readonly #limit: number;
  readonly #leader: Int32Array;
  /** Point after point: what comes in a row is copied at once. */
  #values: Float64Array;
  /** Leaders before their followers. */
  readonly #order: Int32Array;
  /** Of the row at hand, by leader: 0 no new extreme, 1 the point before stays, 2 the later one takes its place. */
  readonly #verdict: Uint8Array;
  #points = 0;
  #rows = 0;
  #rowsPerBucket = 2;
  #inBucket = 0;

  /** `limit` is a multiple of four. */
  constructor(columns: readonly TableColumn[], limit: number) {
    this.columns = columns;
    this.#limit = limit;
    this.#leader = Int32Array.from(columns, ({ leader }, i) =>
      leader === undefined ? i : columns.findIndex(({ name }) => name === leader),
    );
    this.#order = Int32Array.from(
      [...columns.keys()].sort((a, b) => Number(this.#leader[a] !== a) - Number(this.#leader[b] !== b)),
    );
    this.#verdict = new Uint8Array(columns.length);
    // Grown by doubling: most runs are short.
    this.#values = new Float64Array(columns.length * Math.min(limit, 256));
  }

  get rows(): number {
    return this.#rows;
  }

  get points(): number {
    return this.#points;
  }

  /** Rows that two points stand for; 2 while every row was kept. */
  get rowsPerBucket(): number {
    return this.#rowsPerBucket;
  }

  /** A value for each column. */
  add(row: ArrayLike<number>): void {
    this.#rows++;
    this.#add(row);
  }

  /** The points kept of a column so far. */
  column(name: string): Float64Array {
    const width = this.columns.length;
    const at = this.columns.findIndex((column) => column.name === name);
    const values = new Float64Array(this.#points);
    for (let p = 0; p < values.length; p++) values[p] = this.#values[p * width + at];
    return values;
  }

  /** The same table in at most `limit` points. */
  reduced(limit: number): BoundedTable {
    const table = new BoundedTable(this.columns, limit);
    for (let p = 0; p < this.#points; p++) table.#add(this.#point(p));
    const factor = this.#rowsPerBucket / 2;
    table.#rowsPerBucket *= factor;
    table.#inBucket *= factor;
    table.#rows = this.#rows;
    return table;
  }

  #point(p: number): Float64Array {
    const width = this.columns.length;
    return this.#values.subarray(p * width, (p + 1) * width);
  }

  #add(row: ArrayLike<number>): void {
    const full = this.#rowsPerBucket === 2 || this.#inBucket === this.#rowsPerBucket;
    if (full && this.#points === this.#limit) this.#halve();
    if (this.#rowsPerBucket === 2) this.#append(row);
    else if (this.#inBucket === this.#rowsPerBucket) {
      this.#append(row);
      this.#append(row);
      this.#inBucket = 1;
    } else {
      this.#merge(this.#points - 2, row);
      this.#inBucket++;
    }
  }

  #append(row: ArrayLike<number>): void {
    const width = this.columns.length;
    const at = this.#points++ * width;
    if (at === this.#values.length) {
      const grown = new Float64Array(Math.min(this.#limit * width, at * 2));
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values.set(row, at);
  }

  /** Takes a row into the bucket whose points are `p` and `p + 1`. */
  #merge(p: number, row: ArrayLike<number>): void {
    const width = this.columns.length;
    const values = this.#values;
    for (const c of this.#order) {
      const a = p * width + c;
      const b = a + width;
      const v = row[c];
      const leader = this.#leader[c];
      if (leader === c) this.#verdict[c] = verdict(values[a], values[b], v);
      const said = this.#verdict[leader];
      if (said === 0) continue;
      if (said === 2) values[a] = values[b];
      else if (said === 3) values[a] = v;
      values[b] = v;
    }
  }

  /** Merges neighbouring buckets: four points become two. */
  #halve(): void {
    const width = this.columns.length;
    const buckets = this.#points / 4;
    for (let b = 0; b < buckets; b++) {
      this.#values.copyWithin(2 * b * width, 4 * b * width, (4 * b + 2) * width);
      this.#merge(2 * b, this.#point(4 * b + 2));
      this.#merge(2 * b, this.#point(4 * b + 3));
    }
    this.#points = 2 * buckets;
    this.#rowsPerBucket *= 2;
    this.#inBucket = this.#rowsPerBucket;
  }

  pack(deflate: (bytes: Uint8Array) => string): PackedTable {
    const width = this.columns.length;
    const values = this.#values.subarray(0, this.#points * width);
    const bytes = new Uint8Array(values.length * MAX_CODE_BYTES);
    const second = new Uint8Array(this.#points * MAX_CODE_BYTES);
    let length = 0;
    const columns = this.columns.map(({ name, scale }, c) => {
      const [end, secondLength] = codeDifferences(values, c, width, scale, bytes, length, second);
      const order = secondLength < end - length ? (2 as const) : (1 as const);
      if (order === 2) bytes.set(second.subarray(0, secondLength), length);
      length = order === 2 ? length + secondLength : end;
      return { name, scale, order };
    });
    return {
      rows: this.#rows,
      points: this.#points,
      rows_per_bucket: this.#rowsPerBucket,
      columns,
      data: deflate(bytes.subarray(0, length)),
    };
  }
}

/**
 * What a value does to a bucket's points (a before b): 0 nothing; 1 a stays, the value is the later point; 2 b moves to a's place;
 * 3 the bucket had no value yet.
 */
function verdict(a: number, b: number, v: number): 0 | 1 | 2 | 3 {
  if (Number.isNaN(v)) return 0;
  if (Number.isNaN(a) && Number.isNaN(b)) return 3;
  if (Number.isNaN(a)) return 2;
  if (Number.isNaN(b)) return 1;
  if (v > Math.max(a, b)) return a <= b ? 1 : 2;
  if (v < Math.min(a, b)) return a >= b ? 1 : 2;
  // A counter that stands still, and the time, go on to the bucket's end.
  return v === b && a <= b ? 1 : 0;
}

/** Writes a non-negative safe integer, seven bits a byte, low ones first; returns where it ends. */
function varint(bytes: Uint8Array, at: number, value: number): number {
  let end = at;
  let rest = value;
  while (rest >= 128) {
    bytes[end++] = (rest % 128) + 128;
    rest = Math.floor(rest / 128);
  }
  bytes[end++] = rest;
  return end;
}

/** What stands for a difference: 0 is no value. */
const code = (difference: number): number => 1 + (difference < 0 ? -2 * difference - 1 : 2 * difference);

/**
 * What is larger has no value: such is how Go says that there is no goal or no limit. Below, second differences and their codes are
 * safe integers.
 */
export const MOST = 2 ** 49;

/** Bytes of a code, at most: a second difference is below 2^51, its code below 2^53. */
const MAX_CODE_BYTES = 8;

/**
 * Codes the first differences of column `c` into `first` from `start` on, and the second ones into `second`. Returns where those end and
 * how many these are.
 */
function codeDifferences(
  values: Float64Array,
  c: number,
  width: number,
  scale: number,
  first: Uint8Array,
  start: number,
  second: Uint8Array,
): readonly [end: number, secondLength: number] {
  let end = start;
  let length = 0;
  let last = 0;
  let lastStep = 0;
  for (let i = c; i < values.length; i += width) {
    const whole = Math.round(values[i] * scale);
    if (!(Math.abs(whole) < MOST)) {
      first[end++] = 0;
      second[length++] = 0;
      continue;
    }
    const step = whole - last;
    end = varint(first, end, code(step));
    length = varint(second, length, code(step - lastStep));
    last = whole;
    lastStep = step;
  }
  return [end, length];
}

/** The columns of a table again, by name; NaN where there is no value. `bytes` is its data, inflated. */
export function unpack(table: PackedTable, bytes: Uint8Array): Map<string, Float64Array> {
  const columns = new Map<string, Float64Array>();
  let at = 0;
  for (const { name, scale, order } of table.columns) {
    const values = new Float64Array(table.points);
    let last = 0;
    let lastStep = 0;
    for (let i = 0; i < table.points; i++) {
      let code = 0;
      let unit = 1;
      let byte: number;
      do {
        byte = bytes[at++];
        code += (byte & 127) * unit;
        unit *= 128;
      } while (byte >= 128);
      if (code === 0) {
        values[i] = Number.NaN;
        continue;
      }
      const half = code - 1;
      const difference = half % 2 === 0 ? half / 2 : -(half + 1) / 2;
      lastStep = order === 1 ? difference : lastStep + difference;
      last += lastStep;
      values[i] = last / scale;
    }
    columns.set(name, values);
  }
  return columns;
}
