/** The lists of file pages against a naive model of the same rules, page by page, and the rules one by one. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FileLists, type LazyPages, SWAP_CLUSTER_MAX } from "../../src/os/filelists.ts";
import { Rng } from "../../src/sim/rng.ts";

/** A process's memory as the lists see it. */
class Pages implements LazyPages {
  readonly unitsPerPage = 1;
  readonly entryOf = new Map<number, number>();
  readonly clean = new Set<number>();
  readonly taken: number[] = [];

  get listedUnits(): number {
    return this.entryOf.size;
  }
  isListed(page: number, entry: number): boolean {
    return this.entryOf.get(page) === entry;
  }
  take(page: number): boolean {
    if (!this.clean.delete(page)) return false;
    this.entryOf.delete(page);
    this.taken.push(page);
    return true;
  }
  relist(page: number, entry: number | null): void {
    if (entry === null) this.entryOf.delete(page);
    else this.entryOf.set(page, entry);
  }
  free(lists: FileLists, first: number, count: number): void {
    let entry = 0;
    for (let page = first; page < first + count; page++) {
      this.clean.add(page);
      if (this.entryOf.has(page)) continue;
      if (entry === 0) entry = lists.addLazy(page, first + count - page);
      this.entryOf.set(page, entry);
    }
  }
}

function listsOf() {
  const lists = new FileLists();
  const pages = new Pages();
  lists.lazy = pages;
  return { lists, pages };
}

describe("MADV_FREE", () => {
  test("is taken by age: after files read before, before files read later, lowest address first", () => {
    const { lists, pages } = listsOf();
    lists.addOnce(1000);
    pages.free(lists, 50, 200);
    lists.addOnce(1000);
    while (lists.evictedPages < 1000) {
      lists.reclaim(32);
      if (lists.evictedPages < 1000) expect(pages.taken).toEqual([]);
    }
    while (pages.taken.length < 200) {
      lists.reclaim(32);
      if (pages.taken.length < 200) expect(lists.evictedPages).toBe(1000);
    }
    expect(pages.taken).toEqual(Array.from({ length: 200 }, (_, i) => 50 + i));
  });

  test("written again, it counts as a file page until reclaim has come by twice", () => {
    const { lists, pages } = listsOf();
    pages.free(lists, 0, 100);
    for (let page = 0; page < 60; page++) pages.clean.delete(page);
    expect(lists.inactivePages).toBe(100);
    lists.addOnce(200);
    while (pages.taken.length < 40) lists.reclaim(32);
    expect(lists.inactivePages).toBe(60 + lists.inactiveFilePages);
    while (lists.reclaim(32) > 0);
    expect(lists.inactivePages).toBe(0);
    expect(pages.taken).toHaveLength(40);
    expect(lists.lazyFreedUnits).toBe(40);
  });

  test("freed again it keeps its place", () => {
    const { lists, pages } = listsOf();
    pages.free(lists, 0, 64);
    pages.clean.clear();
    lists.addOnce(1000);
    pages.free(lists, 0, 64);
    lists.reclaim(64);
    expect(pages.taken).toHaveLength(64);
    expect(lists.evictedPages).toBeLessThan(64);
  });
});

describe("a page that comes back", () => {
  /** 300 active pages of 600, 200 of the rest evicted. */
  function evicting() {
    const { lists } = listsOf();
    const file = lists.addFile(600);
    for (let page = 0; page < 600; page++) lists.addPage(file, page);
    for (let page = 300; page < 600; page++) expect(lists.accessed(file, page)).toBe(true);
    lists.flushStats();
    while (lists.evictedPages < 200) lists.reclaim(32);
    expect([file.evictedAge[0], file.evictedAge[1]]).toEqual([300, 301]);
    return { lists, file };
  }

  test("is active at once if no more went in the meantime than there are active pages", () => {
    const { lists, file } = evicting();
    const before = lists.activePages;
    // The clock stood at 300 (activations) when page 0 went; it stands at 300 + evictions.
    lists.addPage(file, 0);
    expect(lists.activePages).toBe(before + 1);
    file.evictedAge[1] = 0;
    lists.addPage(file, 1);
    expect(lists.activePages).toBe(before + 1);
  });

  test("lets the active list shrink, once for each flush of the statistics", () => {
    const { lists, file } = evicting();
    lists.addOnce(40_000);
    lists.flushStats();
    const reclaims = (): number[] =>
      Array.from({ length: 4 }, () => {
        const before = lists.activePages;
        lists.reclaim(1000);
        return Math.sign(before - lists.activePages);
      });
    lists.addPage(file, 0);
    expect(reclaims()).toEqual([0, 0, 0, 0]);
    lists.flushStats();
    expect(reclaims()).toEqual([1, 0, 0, 0]);
  });
});

/** The same rules with arrays, head first. */
class Naive {
  inactive: { id: string; referenced: boolean }[] = [];
  active: { id: string; referenced: boolean }[] = [];
  age = 0;
  refaults = 0;
  seen = 0;
  flushed = { refaults: 0, inactive: 0, active: 0 };
  evictedAt = new Map<string, number>();

  read(id: string): void {
    const inActive = this.active.find((page) => page.id === id);
    if (inActive !== undefined) {
      inActive.referenced = true;
      return;
    }
    const at = this.inactive.findIndex((page) => page.id === id);
    if (at >= 0) {
      const page = this.inactive[at];
      if (!page.referenced) {
        page.referenced = true;
        return;
      }
      this.inactive.splice(at, 1);
      this.active.unshift({ id, referenced: false });
      this.age++;
      return;
    }
    const age = this.evictedAt.get(id);
    if (age !== undefined && this.age - age <= this.flushed.active) {
      this.active.unshift({ id, referenced: true });
      this.age++;
      this.refaults++;
    } else this.inactive.unshift({ id, referenced: true });
  }
  /** Reads `pages`, and says which of them had to be read in. */
  missing(pages: Uint32Array): number[] {
    const missed: number[] = [];
    for (const page of pages) {
      const cached = this.inactive.length + this.active.length;
      this.read(String(page));
      if (this.inactive.length + this.active.length > cached) missed.push(page);
    }
    return missed;
  }
  once(n: number): void {
    for (let i = 0; i < n; i++) this.inactive.unshift({ id: "", referenced: false });
  }
  flush(): void {
    this.flushed = { refaults: this.refaults, inactive: this.inactive.length, active: this.active.length };
  }
  reclaim(): number {
    let freed = this.shrink(false);
    while (freed === 0 && this.inactive.length + this.active.length > 0) freed = this.shrink(true);
    this.seen = this.flushed.refaults;
    return freed;
  }
  shrink(force: boolean): number {
    let freed = 0;
    for (let share = 4096; share >= 1 && freed < SWAP_CLUSTER_MAX; share /= 2) {
      const deactivate =
        force || this.flushed.refaults !== this.seen || this.flushed.inactive < this.flushed.active;
      let inactive = Math.floor(this.inactive.length / share);
      let active = Math.floor(this.active.length / share);
      for (; inactive + active > 0 && freed < SWAP_CLUSTER_MAX; ) {
        for (let n = Math.min(32, inactive); n > 0; n--, inactive--) {
          const page = this.inactive.pop();
          if (page === undefined) continue;
          if (page.id !== "") this.evictedAt.set(page.id, this.age);
          this.age++;
          freed++;
        }
        for (let n = Math.min(32, active); n > 0; n--, active--) {
          if (!deactivate) continue;
          const page = this.active.pop();
          if (page !== undefined) this.inactive.unshift(page);
        }
      }
    }
    return freed;
  }
}

test("any sequence of reads, reclaims and flushes does what the naive lists do", () => {
  const step = fc.oneof(
    { weight: 20, arbitrary: fc.record({ do: fc.constant("read" as const), page: fc.nat(120) }) },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant("once" as const), page: fc.integer({ min: 1, max: 90 }) }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constantFrom("reclaim" as const, "flush" as const),
        page: fc.constant(0),
      }),
    },
  );
  fc.assert(
    fc.property(fc.array(step, { minLength: 200, maxLength: 600 }), fc.boolean(), (steps, counted) => {
      const naive = new Naive();
      const lists = new FileLists();
      const file = lists.addFile(121, new Rng("file"));
      for (const { do: what, page } of steps) {
        if (what === "read" && counted && lists.onlyCounted) {
          const drawn = new Uint32Array(page);
          file.draw(drawn, page);
          const missed = naive.missing(drawn);
          expect([...drawn.subarray(0, lists.readCounted(file, drawn, page))]).toEqual(missed);
        } else if (what === "read") {
          if (!lists.accessed(file, page)) lists.addPage(file, page);
          naive.read(String(page));
        } else if (what === "once") {
          lists.addOnce(page);
          naive.once(page);
        } else if (what === "flush") {
          lists.flushStats();
          naive.flush();
        } else expect(lists.reclaim(1)).toBe(naive.reclaim());
        expect([lists.inactivePages, lists.activePages]).toEqual([
          naive.inactive.length,
          naive.active.length,
        ]);
      }
      const cached = [...naive.inactive, ...naive.active]
        .filter(({ id }) => id !== "")
        .map(({ id }) => Number(id));
      const places = [...file.place.keys()].filter((page) => file.place[page] >= 0);
      expect(places).toEqual(cached.sort((a, b) => a - b));
    }),
    { numRuns: 60 },
  );
});

test("moves beyond count leave the order as it was: a log that is full is rid of what has moved, or grows", () => {
  const lists = new FileLists();
  const naive = new Naive();
  const file = lists.addFile(3000);
  const read = (page: number): void => {
    if (!lists.accessed(file, page)) lists.addPage(file, page);
    naive.read(String(page));
  };
  const evictedOf = (): string => [...naive.evictedAt.keys()].join();
  for (let round = 0; round < 3; round++) {
    // Each page read twice is active, and the inactive log is full of records they have left; the rest makes it grow.
    for (let page = 0; page < 900; page++) for (let again = 0; again < 2; again++) read(page);
    for (let page = 900 + 700 * round; page < 1600 + 700 * round; page++) read(page);
    naive.once(100);
    lists.addOnce(100);
    for (let n = 0; n < 40; n++) expect(lists.reclaim(1)).toBe(naive.reclaim());
    const gone = [...file.place.keys()].filter((page) => file.place[page] < 0 && page < 1600 + 700 * round);
    const naiveGone = new Set(evictedOf().split(",").map(Number));
    for (const { id } of [...naive.inactive, ...naive.active]) naiveGone.delete(Number(id));
    expect(gone).toEqual([...naiveGone].sort((a, b) => a - b));
    for (const page of gone) expect(file.evictedAge[page]).toBe(naive.evictedAt.get(String(page)));
  }
});
