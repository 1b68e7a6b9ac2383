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
  readonly #values: Float64Array[];
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
    this.#values = columns.map(() => new Float64Array(Math.min(limit, 256)));
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

  add(row: ArrayLike<number>): void {
    this.#rows++;
    this.#add(row, 0, undefined);
  }

  /** The kept points of a column; a view of what may still change. */
  column(name: string): Float64Array {
    const at = this.columns.findIndex((column) => column.name === name);
    return this.#values[at].subarray(0, this.#points);
  }

  /** The same table in at most `limit` points. */
  reduced(limit: number): BoundedTable {
    const table = new BoundedTable(this.columns, limit);
    for (let p = 0; p < this.#points; p++) table.#add(undefined, p, this.#values);
    const factor = this.#rowsPerBucket / 2;
    table.#rowsPerBucket *= factor;
    table.#inBucket *= factor;
    table.#rows = this.#rows;
    return table;
  }

  /** A row, or point `p` of another table's columns. */
  #add(row: ArrayLike<number> | undefined, p: number, from: readonly Float64Array[] | undefined): void {
    const full = this.#rowsPerBucket === 2 || this.#inBucket === this.#rowsPerBucket;
    if (full && this.#points === this.#limit) this.#halve();
    if (this.#rowsPerBucket === 2) this.#append(row, p, from);
    else if (this.#inBucket === this.#rowsPerBucket) {
      this.#append(row, p, from);
      this.#append(row, p, from);
      this.#inBucket = 1;
    } else {
      this.#merge(this.#points - 2, row, p, from);
      this.#inBucket++;
    }
  }

  #append(row: ArrayLike<number> | undefined, p: number, from: readonly Float64Array[] | undefined): void {
    const at = this.#points++;
    for (let c = 0; c < this.#values.length; c++) {
      let values = this.#values[c];
      if (at === values.length) {
        const grown = new Float64Array(Math.min(this.#limit, at * 2));
        grown.set(values);
        this.#values[c] = values = grown;
      }
      values[at] = from === undefined ? row![c] : from[c][p];
    }
  }

  /** Takes a row into the bucket whose points are `at` and `at + 1`. */
  #merge(
    at: number,
    row: ArrayLike<number> | undefined,
    p: number,
    from: readonly Float64Array[] | undefined,
  ): void {
    for (const c of this.#order) {
      const values = this.#values[c];
      const v = from === undefined ? row![c] : from[c][p];
      const leader = this.#leader[c];
      if (leader === c) this.#verdict[c] = verdict(values[at], values[at + 1], v);
      const said = this.#verdict[leader];
      if (said === 0) continue;
      if (said === 2) values[at] = values[at + 1];
      else if (said === 3) values[at] = v;
      values[at + 1] = v;
    }
  }

  /** Merges neighbouring buckets: four points become two. */
  #halve(): void {
    const buckets = this.#points / 4;
    for (let b = 0; b < buckets; b++) {
      for (const values of this.#values) {
        values[2 * b] = values[4 * b];
        values[2 * b + 1] = values[4 * b + 1];
      }
      this.#merge(2 * b, undefined, 4 * b + 2, this.#values);
      this.#merge(2 * b, undefined, 4 * b + 3, this.#values);
    }
    this.#points = 2 * buckets;
    this.#rowsPerBucket *= 2;
    this.#inBucket = this.#rowsPerBucket;
  }

  pack(deflate: (bytes: Uint8Array) => string): PackedTable {
    const bytes = new ByteList();
    const columns = this.columns.map(({ name, scale }, c) => {
      const values = this.#values[c].subarray(0, this.#points);
      const first = differences(values, scale, 1);
      const second = differences(values, scale, 2);
      const order = second.length < first.length ? (2 as const) : (1 as const);
      bytes.append(order === 2 ? second : first);
      return { name, scale, order };
    });
    return {
      rows: this.#rows,
      points: this.#points,
      rows_per_bucket: this.#rowsPerBucket,
      columns,
      data: deflate(bytes.bytes),
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

class ByteList {
  #bytes = new Uint8Array(4096);
  length = 0;

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  #room(n: number): void {
    if (this.length + n <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + n));
    grown.set(this.bytes);
    this.#bytes = grown;
  }

  /** A non-negative safe integer, seven bits a byte, low ones first. */
  varint(value: number): void {
    this.#room(8);
    let rest = value;
    while (rest >= 128) {
      this.#bytes[this.length++] = (rest % 128) + 128;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.length++] = rest;
  }

  append(other: ByteList): void {
    this.#room(other.length);
    this.#bytes.set(other.bytes, this.length);
    this.length += other.length;
  }
}

/**
 * What is larger has no value: such is how Go says that there is no goal or no limit. Below, second differences and their codes are
 * safe integers.
 */
export const MOST = 2 ** 49;

function differences(values: Float64Array, scale: number, order: 1 | 2): ByteList {
  const out = new ByteList();
  let last = 0;
  let lastStep = 0;
  for (const value of values) {
    const whole = Math.round(value * scale);
    if (!(Math.abs(whole) < MOST)) {
      out.varint(0);
      continue;
    }
    const step = whole - last;
    const difference = order === 1 ? step : step - lastStep;
    out.varint(1 + (difference < 0 ? -2 * difference - 1 : 2 * difference));
    last = whole;
    lastStep = step;
  }
  return out;
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
