/** Reads that are played late against the same reads played at their time: whoever looks, sees the same. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MemoryCgroup } from "../../src/os/cgroup.ts";
import { FILE_ROUND_NS, FileReads } from "../../src/os/filereads.ts";
import { NodeMemory } from "../../src/os/node.ts";
import { PageCache } from "../../src/os/pagecache.ts";
import { Rng } from "../../src/sim/rng.ts";

const MiB = 2 ** 20;
const ms = 1e6;

/** A group with two loads, whose reads are played as late as may be, or never late. */
class Group {
  readonly cgroup: MemoryCgroup;
  /** Its machine, with neighbours, where there is one. */
  readonly node: NodeMemory | null;
  nowNs = 0;
  /** Times at which reads were played because the timer said so. */
  wakes = 0;
  #wakeNs = 0;
  readonly #reads: FileReads;

  constructor(
    limits: { readonly maxBytes: number; readonly highBytes: number },
    late: boolean,
    machineBytes?: number,
  ) {
    this.node =
      machineBytes === undefined
        ? null
        : new NodeMemory({
            memoryBytes: machineBytes,
            minFreeBytes: MiB,
            neighbours: {
              kernelBytes: 0,
              anonBytes: MiB,
              fileBytes: 3 * MiB,
              readBytesPerSecond: 2 * MiB,
              oomScoreAdj: 0,
            },
            process: { fileRssBytes: 0, oomScoreAdj: 0 },
            sharedFileBytes: 0,
          });
    const pageCache = new PageCache(
      [
        {
          bytesPerSecond: 7 * MiB,
          again: { fileBytes: 6 * MiB, random: new Rng("reads") },
          startNs: 0,
          stopNs: Number.POSITIVE_INFINITY,
        },
        { bytesPerSecond: 3 * MiB, again: null, startNs: 300 * ms, stopNs: 5000 * ms },
      ],
      0,
    );
    const cgroup = new MemoryCgroup({ ...limits, binaryBytes: 0, pageCache, node: this.node, lowBytes: MiB });
    cgroup.processStarted(4);
    if (!late) cgroup.canLeave = () => false;
    this.cgroup = cgroup;
    const nowNs = (): number => this.nowNs;
    this.#reads = new FileReads(pageCache, cgroup, {
      get nowNs() {
        return nowNs();
      },
      set: (atNs) => {
        this.#wakeNs = atNs;
      },
    });
  }

  /** Time goes on to `untilNs`. */
  pass(untilNs: number): void {
    while (this.#wakeNs <= untilNs) {
      this.nowNs = this.#wakeNs;
      this.wakes++;
      this.#reads.wake();
    }
    this.nowNs = untilNs;
  }

  look(): unknown {
    const { cgroup } = this;
    const { hitPages, missedPages, reclaimedPages, nodes } = cgroup.pageCache;
    cgroup.checkInvariants();
    return {
      stat: cgroup.stat(),
      current: cgroup.currentBytes,
      peak: cgroup.peakPages,
      events: { ...cgroup.events },
      throttledNs: cgroup.throttledNs,
      reclaimNs: cgroup.reclaimNs,
      files: [hitPages, missedPages, reclaimedPages, nodes],
      node: this.node === null ? null : [this.node.freePages, this.node.neighbourFileBytes, this.node.age],
    };
  }
}

const step = fc.record({
  passNs: fc.integer({ min: 0, max: 90 * ms }),
  do: fc.constantFrom("charge", "charge", "uncharge", "look", "room", "resize", "neighbours"),
  pages: fc.integer({ min: 0, max: 700 }),
});

describe("reads played late", () => {
  test("show whoever looks what reads played at their time do, far from the limits and at them", () => {
    let wakes = 0;
    let timely = 0;
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 30, maxLength: 120 }),
        fc.integer({ min: 8, max: 40 }),
        fc.boolean(),
        fc.option(fc.integer({ min: 12, max: 40 }), { nil: undefined }),
        (steps, mib, high, machineMib) => {
          const limits = {
            maxBytes: mib * MiB,
            highBytes: high ? 0.8 * mib * MiB : Number.POSITIVE_INFINITY,
          };
          const machine = machineMib === undefined ? undefined : machineMib * MiB;
          const groups = [new Group(limits, true, machine), new Group(limits, false, machine)];
          let anon = 0;
          let now = 0;
          for (const { passNs, do: what, pages } of steps) {
            now += passNs;
            const seen = groups.map((group) => {
              const { cgroup } = group;
              group.pass(now);
              if (what === "charge") return cgroup.chargeAnon(pages);
              if (what === "uncharge") return cgroup.unchargeAnon(Math.min(pages, anon));
              if (what === "room") return [cgroup.hasRoom(pages), cgroup.hasRoom(10 * pages)];
              if (what === "neighbours")
                return group.node?.change({ anonBytes: pages * 4096 * 4, overNs: 0 }, now);
              if (what === "resize") return cgroup.resizeMax((mib + pages / 100) * MiB, 2);
              return group.look();
            });
            expect(seen[0]).toEqual(seen[1]);
            if (groups[0].cgroup.killed) break;
            if (what === "charge") anon += pages;
            if (what === "uncharge") anon -= Math.min(pages, anon);
          }
          expect(groups[0].look()).toEqual(groups[1].look());
          expect(groups[0].cgroup.takeSleeps()).toEqual(groups[1].cgroup.takeSleeps());
          expect(groups[0].cgroup.takeCpuNs()).toEqual(groups[1].cgroup.takeCpuNs());
          wakes += groups[0].wakes;
          timely += groups[1].wakes;
        },
      ),
      { numRuns: 160, seed: 4 },
    );
    // Otherwise it was no test of reads played late.
    expect(wakes).toBeLessThan(0.7 * timely);
  });

  test("wake nobody for 200 ms far from the limits, and for each round near them", () => {
    const far = new Group({ maxBytes: 1024 * MiB, highBytes: Number.POSITIVE_INFINITY }, true);
    far.pass(1900 * ms);
    expect(far.wakes).toBe(10);
    const near = new Group({ maxBytes: 6 * MiB, highBytes: Number.POSITIVE_INFINITY }, true);
    near.pass(10_000 * ms);
    const before = near.wakes;
    near.pass(11_000 * ms);
    expect(near.wakes - before).toBe((1000 * ms) / FILE_ROUND_NS);
  });
});
