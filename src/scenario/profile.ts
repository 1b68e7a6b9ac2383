/**
 * The machine profile: what things cost on one machine, measured there by `gomemsim calibrate`.
 *
 * The runtime's source fixes *what* happens; only a measurement says *how long* it takes. Every number here is such a
 * measurement, kept with its provenance, and a user may replace the whole file. Costs are CPU nanoseconds.
 * A curve is a list of [x, y] points, interpolated linearly in log x and held flat outside: costs that depend on how much
 * memory is being walked (caches, TLB) are curves over the live heap's bytes.
 */
import * as z from "zod";

const ns = z.number().min(0);
const curve = z.array(z.tuple([z.number().positive(), ns])).min(1);
/** How a time varies: its quantiles at even steps from the smallest to the largest value seen. */
const spread = z.array(ns).min(1);
const markObjects = z.strictObject({
  /**
   * Marking one object of up to 512 bytes (whose mark bits lie in its span): pointer-free (found,
   * marked), and pointerful (also queued and visited, its bytes and pointers apart).
   */
  noscan_object_ns: curve,
  scan_object_ns: curve,
  /** The same for larger objects, whose mark bits lie elsewhere. */
  noscan_big_object_ns: curve,
  scan_big_object_ns: curve,
  /** Per span of which only some slots are marked, beyond its objects' costs: a curve over the marked share. */
  sparse_noscan_span_ns: curve,
  sparse_scan_span_ns: curve,
});

const stops = z.strictObject({ sweep_term: spread, mark_term: spread });

export const machineProfile = z.strictObject({
  name: z.string(),
  provenance: z.strictObject({
    go_version: z.string(),
    cpu: z.string(),
    cpus: z.int().min(1),
    kernel: z.string(),
    /** `real-time`: the threads measured were under SCHED_RR, so the kernel's own ideas about sharing CPUs are left out. */
    scheduling: z.enum(["real-time", "normal"]),
    date: z.string(),
    command: z.string(),
  }),
  /** Whether Go's collector uses its AVX-512 span scanner here (Green Tea counts dense spans by whole objects then). */
  avx512: z.boolean(),
  alloc: z.strictObject({
    /** mallocgc of one small object, by element size [bytes, ns], without zeroing, pointer-free and pointerful. */
    malloc_noscan_ns: curve,
    malloc_scan_ns: curve,
    tiny_ns: ns,
    /** A large object's span, without zeroing. */
    large_ns: ns,
    /** mcache.refill from a swept partial span; a fresh span from the page heap costs span_alloc_ns more. */
    refill_ns: ns,
    span_alloc_ns: ns,
    zero_ns_per_byte: ns,
    /** The program's own writing of the object: pointer words, and one touch per OS page. */
    init_pointer_word_ns: ns,
    init_page_ns: ns,
    /** First touch of an OS page. */
    fault_ns: ns,
    /**
     * Giving OS pages back (madvise): per page, and per call. A call takes longer while another CPU runs the process, which
     * must then be interrupted to drop its translations of the pages (TLB shootdown).
     */
    scavenge_ns_per_page: ns,
    scavenge_call_ns: ns,
    scavenge_busy_call_ns: ns,
    sweep_span_ns: ns,
  }),
  /** Unless something else is said, curves here are over the bytes of spans that hold marked objects: the memory that marking walks through. */
  mark: z.strictObject({
    /** What a table leads to in no order, as when its entries have been replaced often, and in the order of addresses. */
    random: markObjects,
    ordered: markObjects,
    /**
     * Per span of objects of up to 512 bytes found in the order of their making, when nearly each (15 of 16) is followed by one of another
     * size, which lies in another span. Not known, and taken to be nothing, in profiles measured before gomemsim measured it.
     */
    interleaved: z.strictObject({ noscan_span_ns: curve, scan_span_ns: curve }).optional(),
    /** A non-nil pointer met while scanning: the object it leads to is looked up in its span and, here, found marked. */
    pointer_ns: curve,
    /** An object's pointers to itself, over 512 bytes: recognised without a look-up. All beyond the first, over the bytes they take. */
    own_pointers_ns: curve,
    /** A pointer to a large object, found marked: its mark bits are not in its span. */
    large_pointer_ns: ns,
    /** Scanning, per byte of scan work that holds no pointer. */
    scan_ns_per_byte: curve,
    stack_ns_per_byte: ns,
    goroutine_ns: ns,
    globals_ns_per_byte: ns,
    /** Fixed CPU of a cycle's concurrent part: root jobs, ragged barriers, worker starts. */
    cycle_ns: ns,
    /** Of it, what the goroutine that starts the cycle spends in its first assist, which finds only roots. */
    cycle_roots_ns: ns,
  }),
  /**
   * Stop-the-world times: of a process with a single P, of one whose other Ps are idle or only mark, and of one in which
   * another P runs a goroutine, which takes a signal to its thread to stop.
   */
  pause: z.strictObject({
    single_p: stops,
    quiet: stops,
    preempting: stops,
    /** A whole call of runtime.ReadMemStats, by whether another P runs a goroutine. */
    read_mem_stats: z.strictObject({ quiet: spread, preempting: spread }),
  }),
  sched: z.strictObject({
    goroutine_start_ns: ns,
    goroutine_switch_ns: ns,
    /** Extra delay of a timer or sleep beyond its due time. */
    timer_slack_ns: spread,
    /** From waking a parked thread until it runs a goroutine on an idle P. */
    wake_ns: spread,
    /** CPU time of the thread that wakes another. */
    waker_ns: ns,
    /** What a goroutine's first work takes longer on a CPU that was asleep: cold caches. */
    cold_ns: ns,
    stack_copy_ns_per_byte: ns,
  }),
  /** What the oracle's own bookkeeping costs. */
  oracle: z.strictObject({
    /** An object held by a slot table: its slot, its place in the death wheel, its random draws. */
    object_ns: ns,
    /** Dropping it. */
    drop_ns: ns,
    /** An object held by an owner table. */
    owned_object_ns: ns,
    /** CPU of the whole process for one wake-up of a ticking goroutine. */
    tick_ns: ns,
    request_ns: ns,
    /** A cache's look-up that finds its entry, drawing the key included. */
    lookup_ns: ns,
    /** A random number; `power` stands for the distributions by powers, weibull and pareto. */
    draw_ns: z.strictObject({ uniform: ns, exponential: ns, lognormal: ns, power: ns }),
  }),
  /** A Go process that has done nothing yet (the oracle with an empty workload). */
  baseline: z.strictObject({
    globals_bytes: z.int().min(0),
    /** File-backed resident bytes: program text and data. */
    file_rss_bytes: z.int().min(0),
    /** Anonymous resident bytes outside the Go runtime's own statistics (thread stacks, vdso, loader). */
    other_rss_bytes: z.int().min(0),
    goroutines: z.int().min(0),
    threads: z.int().min(1),
    page_faults: z.int().min(0),
    /** Objects alive when main starts, as [class bytes, pointerful, count]. */
    objects: z.array(z.tuple([z.int().min(1), z.boolean(), z.int().min(1)])),
  }),
});

export type MachineProfile = z.output<typeof machineProfile>;

/** Short lists on one line: a profile is read by people. */
export function profileJson(profile: MachineProfile): string {
  return `${JSON.stringify(profile, null, 2).replace(/\[\s+([^[\]{}]*?)\s+\]/g, (_, list: string) => `[${list.replace(/\s+/g, " ")}]`)}\n`;
}
