/**
 * NUMA nodes: on which node each page of the process is, and what it costs when that is another than the CPU's.
 *
 * Follows the memory policies of mm/mempolicy.c of Linux 6.x, which decide at a page's first touch: by default the node of the CPU that
 * faults (MPOL_LOCAL), by turns (MPOL_INTERLEAVE, `numactl --interleave=all`), or one node (MPOL_BIND). A page stays where it is until it is given
 * back. Go knows nothing of nodes: a span that was swept is used by any P, and a mark worker scans whatever is in its queue. So
 * what was local at first touch is as good as random once the heap has been reused for a while.
 *
 * The costs are not measured: the project had no machine with more than one node. The scenario sets them:
 *
 *     writing new objects, clearing new pages:  time x (remote_ratio - 1)                 of the part on another node
 *     marking:                                  time x memory_bound x (remote_ratio - 1)  of the part on another node
 *
 * The first is memory's own time; of the second the rest is computing. Of the time itself, on one node, all is measured (the machine profile).
 * The part of a mark that is remote is an expectation: marked bytes by node against where the Ps are, for each worker may get every
 * object.
 *
 * Simplified: P p runs on CPU p modulo the CPUs, and CPUs are numbered over the nodes by turns; the kernel's NUMA balancing moves
 * nothing; a node is never full. What the process has before its heap is placed as if its first CPU had touched it all. What a request computes is not slower for
 * being remote: the scenario says how long it takes.
 * Where it stops being true: a node's bandwidth is without bound, so placing everything on one node costs latency only; huge pages and MADV_FREE
 * (refused with it).
 */
export interface NumaSettings {
  readonly nodes: number;
  /** The nodes that the process's CPUs are on: the first so many. */
  readonly cpuNodes: number;
  readonly policy: "first_touch" | "interleave" | "bind";
  /** The node that `bind` means. */
  readonly bindNode: number;
  readonly remoteRatio: number;
  readonly memoryBound: number;
  readonly cpus: number;
  readonly pageBytes: number;
  /** Clearing a byte of a new page, and writing one of a new object, on the own node. */
  readonly clearNsPerByte: number;
  readonly writeNsPerByte: number;
}

/** A page that has no frame. */
const NOWHERE = 255;

export class NumaNodes {
  /** Resident pages by node. */
  readonly pages: Float64Array;
  /** CPU time lost to other nodes' memory: clearing and writing as it comes, marking by cycle. */
  remoteNs = 0;
  /** Part of the last mark's bytes that was on another node than who marked them. */
  remoteMarkShare = 0;
  /** The P whose thread touches memory now. */
  currentP: () => number = () => 0;
  readonly #s: NumaSettings;
  /** By page of the arenas. */
  #nodeOf = new Uint8Array(0);
  /** Turns taken by pages that have no address here. */
  #turn = 0;
  readonly #marked: Float64Array;
  /** Of the clearing of remote pages, what nobody has been charged for. */
  #unchargedNs = 0;
  #markFactor = 1;

  constructor(settings: NumaSettings) {
    this.#s = settings;
    this.pages = new Float64Array(settings.nodes);
    this.#marked = new Float64Array(settings.nodes);
  }

  /** The node of P `p`'s CPU. */
  nodeOfP(p: number): number {
    return (p % this.#s.cpus) % this.#s.cpuNodes;
  }

  residentBytes(node: number): number {
    return this.pages[node] * this.#s.pageBytes;
  }

  /** The pages `bits` of bitmap word `w` get frames. */
  placed(w: number, bits: number): void {
    if ((w + 1) * 32 > this.#nodeOf.length) {
      const grown = new Uint8Array(Math.max(1024, 2 * (w + 1) * 32)).fill(NOWHERE);
      grown.set(this.#nodeOf);
      this.#nodeOf = grown;
    }
    for (let left = bits; left !== 0; left &= left - 1) {
      const page = w * 32 + 31 - Math.clz32(left & -left);
      const node = this.#place(page);
      this.#nodeOf[page] = node;
      this.pages[node]++;
    }
  }

  /** The pages `bits` of bitmap word `w` lose their frames. */
  dropped(w: number, bits: number): void {
    for (let left = bits; left !== 0; left &= left - 1) {
      const page = w * 32 + 31 - Math.clz32(left & -left);
      this.pages[this.#nodeOf[page]]--;
      this.#nodeOf[page] = NOWHERE;
    }
  }

  /** Pages outside the arenas. */
  placedElsewhere(pages: number): void {
    for (let i = 0; i < pages; i++) this.pages[this.#place(this.#turn++)]++;
  }

  #place(page: number): number {
    const { policy, nodes, bindNode, clearNsPerByte, pageBytes, remoteRatio } = this.#s;
    const own = this.nodeOfP(this.currentP());
    const node = policy === "first_touch" ? own : policy === "interleave" ? page % nodes : bindNode;
    if (node !== own) this.#unchargedNs += pageBytes * clearNsPerByte * (remoteRatio - 1);
    return node;
  }

  /** CPU time of clearing remote pages since the last call. */
  takeClearNs(): number {
    const ns = this.#unchargedNs;
    this.#unchargedNs = 0;
    this.remoteNs += ns;
    return ns;
  }

  /** What it costs P `p` more to write `bytes`, spread over [startByte, endByte), than if all of it were on its node. */
  writeNs(p: number, startByte: number, endByte: number, bytes: number): number {
    const own = this.nodeOfP(p);
    const { pageBytes, writeNsPerByte, remoteRatio } = this.#s;
    const first = Math.floor(startByte / pageBytes);
    const end = Math.ceil(endByte / pageBytes);
    let remote = 0;
    for (let page = first; page < end; page++) {
      const node = this.#nodeOf[page] ?? NOWHERE;
      if (node !== NOWHERE && node !== own) remote++;
    }
    if (remote === 0) return 0;
    const ns = bytes * (remote / (end - first)) * writeNsPerByte * (remoteRatio - 1);
    this.remoteNs += ns;
    return ns;
  }

  /** A mark is planned: nothing is marked yet. */
  beginMark(): void {
    this.#marked.fill(0);
  }

  /** `bytes` of marked objects lie in [startByte, endByte). */
  marked(startByte: number, endByte: number, bytes: number): void {
    const { pageBytes } = this.#s;
    const first = Math.floor(startByte / pageBytes);
    const end = Math.ceil(endByte / pageBytes);
    const each = bytes / (end - first);
    for (let page = first; page < end; page++) {
      const node = this.#nodeOf[page] ?? NOWHERE;
      if (node !== NOWHERE) this.#marked[node] += each;
    }
  }

  /**
   * By what a mark by `nprocs` Ps takes longer. With f_n the share of the marked bytes on node n and w_n that of the Ps, the sum of f_n (1 - w_n)
   * is marked from afar.
   */
  markFactor(nprocs: number): number {
    const { memoryBound, remoteRatio } = this.#s;
    const at = new Float64Array(this.#marked.length);
    for (let p = 0; p < nprocs; p++) at[this.nodeOfP(p)] += 1 / nprocs;
    const total = this.#marked.reduce((sum, bytes) => sum + bytes, 0);
    let remote = 0;
    this.#marked.forEach((bytes, node) => {
      if (total > 0) remote += (bytes / total) * (1 - at[node]);
    });
    this.remoteMarkShare = remote;
    this.#markFactor = 1 + remote * memoryBound * (remoteRatio - 1);
    return this.#markFactor;
  }

  /** A cycle has ended whose marking took so much CPU: a part of it because of other nodes. Roots count as if they were slowed, too. */
  cycleEnded(markNs: number): void {
    this.remoteNs += markNs * (1 - 1 / this.#markFactor);
  }

  /** Recounts; throws with the numbers. `resident`: the arenas' bitmap; `elsewhere`: pages outside them. */
  checkInvariants(resident: Uint32Array, elsewhere: number): void {
    let pages = 0;
    for (let page = 0; page < resident.length * 32; page++) {
      const there = ((resident[page >>> 5] >>> (page & 31)) & 1) === 1;
      if (there !== ((this.#nodeOf[page] ?? NOWHERE) !== NOWHERE))
        throw new Error(
          `numa: page ${page} is ${there ? "" : "not "}resident, and on node ${this.#nodeOf[page]}`,
        );
      if (there) pages++;
    }
    const kept = this.pages.reduce((sum, n) => sum + n, 0);
    if (kept !== pages + elsewhere)
      throw new Error(`numa: ${kept} pages on nodes, ${pages + elsewhere} resident`);
  }
}
