/** What a run is compared by: figures that samples and cycles add up to, kept as they come. */
import type { CycleRecord } from "./runtime/mgc.ts";
import type { MemStats } from "./runtime/mstats.ts";
import { DecayMeter } from "./sim/decay.ts";

/** CPUs that a process may use: of GOMAXPROCS, the machine's CPUs and the container's quota (Infinity for none) the least. */
export const usableCpus = (procs: number, cpus: number, limit: number): number =>
  Math.min(procs, cpus, limit);

/**
 * CPU time that a process may use, over its life. What the collector takes is told as a share of this: on 64 CPUs with a quota of
 * 1, half a CPU is a half.
 */
export class UsableCpu {
  #ns = 0;
  #sinceNs: number;
  #cpus: number;

  constructor(startNs: number, cpus: number) {
    this.#sinceNs = startNs;
    this.#cpus = cpus;
  }

  /** From now on there are so many. */
  change(nowNs: number, cpus: number): void {
    this.#ns = this.ns(nowNs);
    this.#sinceNs = nowNs;
    this.#cpus = cpus;
  }

  ns(nowNs: number): number {
    return this.#ns + (nowNs - this.#sinceNs) * this.#cpus;
  }
}

/** What a run with a memory limit is judged by. */
export class LimitFigures {
  #samples = 0;
  #mappedReady = 0;
  #mappedReadyPeak = 0;
  #limiterOn = 0;

  /** Whether a limit was ever in force at a sample. */
  get sampled(): boolean {
    return this.#samples > 0;
  }

  sample(mappedReady: number, limiterOn: boolean): void {
    this.#samples++;
    this.#mappedReady += mappedReady;
    this.#mappedReadyPeak = Math.max(this.#mappedReadyPeak, mappedReady);
    if (limiterOn) this.#limiterOn++;
  }

  finish(): Record<string, number> {
    const n = Math.max(1, this.#samples);
    return {
      mapped_ready_mean_bytes: this.#mappedReady / n,
      mapped_ready_peak_bytes: this.#mappedReadyPeak,
      gc_limiter_samples_fraction: this.#limiterOn / n,
    };
  }
}

/** A container's memory at a sample, in bytes: memory.stat's parts, and what the process has resident of them. */
export interface MemorySample {
  readonly anon: number;
  readonly file: number;
  readonly inactiveFile: number;
  readonly activeFile: number;
  readonly rss: number;
  /** Given back by MADV_FREE and still resident; undefined where memory is given back otherwise, NaN where nobody could tell. */
  readonly lazyFree: number | undefined;
}

/**
 * Of what a container's memory is, and when the kernel takes lazily freed memory: what a run whose memory can be reclaimed is compared by.
 * The samples of a real run go through here, too.
 */
export class ReclaimFigures {
  readonly #halfwaySeconds: number;
  #samples = 0;
  #anon = 0;
  #file = 0;
  #inactiveFile = 0;
  #activeFile = 0;
  #rssHalfway = Number.NaN;
  #rssEnd = Number.NaN;
  #lazySamples = 0;
  #lazyFree = 0;
  #lazyFreePeak = 0;
  /** First sample since the peak with a tenth, and with half of it gone. */
  #lazyFreeTenthGone = Number.NaN;
  #lazyFreeHalfGone = Number.NaN;

  constructor(durationSeconds: number) {
    this.#halfwaySeconds = durationSeconds / 2;
  }

  sample(seconds: number, memory: MemorySample): void {
    this.#samples++;
    this.#anon += memory.anon;
    this.#file += memory.file;
    this.#inactiveFile += memory.inactiveFile;
    this.#activeFile += memory.activeFile;
    this.#rssEnd = memory.rss;
    if (seconds >= this.#halfwaySeconds && Number.isNaN(this.#rssHalfway)) this.#rssHalfway = memory.rss;
    const { lazyFree } = memory;
    if (lazyFree === undefined || Number.isNaN(lazyFree)) return;
    this.#lazySamples++;
    this.#lazyFree += lazyFree;
    if (lazyFree >= this.#lazyFreePeak) {
      this.#lazyFreePeak = lazyFree;
      this.#lazyFreeTenthGone = Number.NaN;
      this.#lazyFreeHalfGone = Number.NaN;
    }
    if (lazyFree <= 0.9 * this.#lazyFreePeak && Number.isNaN(this.#lazyFreeTenthGone))
      this.#lazyFreeTenthGone = seconds;
    if (lazyFree <= 0.5 * this.#lazyFreePeak && Number.isNaN(this.#lazyFreeHalfGone))
      this.#lazyFreeHalfGone = seconds;
  }

  /** Times of what has not happened are left out. */
  finish(): Record<string, number> {
    const n = Math.max(1, this.#samples);
    const figures = {
      memory_anon_mean_bytes: this.#anon / n,
      memory_file_mean_bytes: this.#file / n,
      memory_inactive_file_mean_bytes: this.#inactiveFile / n,
      memory_active_file_mean_bytes: this.#activeFile / n,
      rss_halfway_bytes: this.#rssHalfway,
      rss_end_bytes: this.#rssEnd,
      ...(this.#lazySamples === 0
        ? {}
        : {
            lazy_free_mean_bytes: this.#lazyFree / this.#lazySamples,
            lazy_free_peak_bytes: this.#lazyFreePeak,
            lazy_free_tenth_gone_seconds: this.#lazyFreeTenthGone,
            lazy_free_half_gone_seconds: this.#lazyFreeHalfGone,
          }),
    };
    return Object.fromEntries(Object.entries(figures).filter(([, value]) => !Number.isNaN(value)));
  }
}

const share = (part: number, whole: number): number => (whole > 0 ? part / whole : 0);

/** The fragmentation of a sample: (free / total) x (1 - allocated / total). */
export const fragRatio = ({ heapSys, heapAlloc }: MemStats): number =>
  heapSys > 0 ? ((heapSys - heapAlloc) / heapSys) * (1 - heapAlloc / heapSys) : 0;

/** The smallest value that at least this share of the values does not exceed. */
const nearestRank = (sorted: Float64Array, of: number): number =>
  sorted[Math.max(1, Math.ceil(of * sorted.length)) - 1];

/**
 * Means, peaks and cycle statistics of a run: the figures a real run is compared by. `pause` is of a cycle: both its stops, as in
 * MemStats.PauseNs. `longest_stop` is the longest single one, as /sched/pauses/total/gc counts them: what a request can meet.
 */
export class Figures {
  #samples = 0;
  #cycles = 0;
  #goal = 0;
  #goalPeak = 0;
  #marked = 0;
  #inuse = 0;
  #inusePeak = 0;
  #sysHeapPeak = 0;
  #idle = 0;
  #sysHeap = 0;
  #alloc = 0;
  #fragRatio = 0;
  #objects = 0;
  #stack = 0;
  #mspan = 0;
  #sysPeak = 0;
  #rss = 0;
  #rssPeak = 0;
  #released = 0;
  /** Heap that the OS has not back, over time. */
  #retained = new DecayMeter();
  #inflight = 0;
  #inflightPeak = 0;
  readonly #pauses: number[] = [];
  #longestStop = 0;

  sample(nowNs: number, st: MemStats, rss: number, inflight: number): void {
    this.#samples++;
    this.#goal += st.nextGC;
    this.#goalPeak = Math.max(this.#goalPeak, st.nextGC);
    this.#inuse += st.heapInuse;
    this.#inusePeak = Math.max(this.#inusePeak, st.heapInuse);
    this.#sysHeapPeak = Math.max(this.#sysHeapPeak, st.heapSys);
    this.#idle += st.heapIdle;
    this.#sysHeap += st.heapSys;
    this.#alloc += st.heapAlloc;
    this.#fragRatio += fragRatio(st);
    this.#objects += st.heapObjects;
    this.#stack += st.stackInuse;
    this.#mspan += st.mspanInuse;
    this.#sysPeak = Math.max(this.#sysPeak, st.sys);
    this.#rss += rss;
    this.#rssPeak = Math.max(this.#rssPeak, rss);
    this.#released += st.heapReleased;
    this.#retained.add(nowNs / 1e9, st.heapSys - st.heapReleased);
    this.#inflight += inflight;
    this.#inflightPeak = Math.max(this.#inflightPeak, inflight);
  }

  cycle(cycle: CycleRecord): void {
    this.#cycles++;
    this.#marked += cycle.heap_marked_bytes;
    this.#pauses.push(cycle.stw1_ns + cycle.stw2_ns);
    this.#longestStop = Math.max(this.#longestStop, cycle.stw1_ns, cycle.stw2_ns);
  }

  /** The next process has a heap of its own: that this one's went with it is no giving back. */
  processEnded(): void {
    this.#retained = new DecayMeter();
  }

  finish(gcCount: number): Record<string, number> {
    const n = Math.max(1, this.#samples);
    const sorted = Float64Array.from(this.#pauses).sort();
    const { decay } = this.#retained;
    return {
      ...(decay === undefined
        ? {}
        : { heap_retained_half_seconds: decay.half, heap_retained_90_seconds: decay.nineTenths }),
      gc_count: gcCount,
      goal_mean_bytes: this.#goal / n,
      goal_peak_bytes: this.#goalPeak,
      heap_marked_mean_bytes: this.#cycles === 0 ? 0 : this.#marked / this.#cycles,
      heap_inuse_mean_bytes: this.#inuse / n,
      heap_inuse_peak_bytes: this.#inusePeak,
      heap_sys_peak_bytes: this.#sysHeapPeak,
      heap_idle_mean_bytes: this.#idle / n,
      frag_span_unused_fraction: share(this.#inuse - this.#alloc, this.#inuse),
      frag_mean_ratio: this.#fragRatio / n,
      frag_idle_fraction: share(this.#idle, this.#sysHeap),
      heap_objects_mean: this.#objects / n,
      stack_inuse_mean_bytes: this.#stack / n,
      mspan_inuse_mean_bytes: this.#mspan / n,
      sys_peak_bytes: this.#sysPeak,
      rss_peak_bytes: this.#rssPeak,
      rss_mean_bytes: this.#rss / n,
      heap_released_mean_bytes: this.#released / n,
      in_flight_mean: this.#inflight / n,
      in_flight_peak: this.#inflightPeak,
      pause_median_ns: sorted.length === 0 ? 0 : nearestRank(sorted, 0.5),
      pause_p99_ns: sorted.length === 0 ? 0 : nearestRank(sorted, 0.99),
      pause_max_ns: sorted.length === 0 ? 0 : sorted[sorted.length - 1],
      longest_stop_ns: this.#longestStop,
    };
  }
}
