/**
 * The heap profiler's own memory: a hash table mapped with the first bucket, and one bucket per allocating stack.
 *
 * Follows mprof.go of Go 1.26 (newBucket, stkbucket). A process has its first bucket before main runs. Buckets are
 * never freed; every source of a workload allocates from one stack, and its sampled stack becomes a bucket.
 *
 * Simplified: each source gets its bucket at its start rather than with its first sample (one per 512 KiB
 * allocated, so within moments); the samples themselves are not drawn.
 */

import { statBuckHash } from "./mfixalloc.ts";
import type { Heap } from "./mheap.ts";

/** buckHashSize pointers. */
const BUCKET_TABLE_BYTES = 179_999 * 8;
/** A bucket's header and its memRecord. */
const BUCKET_BYTES = 48 + 128;
/** Frames of a goroutine's stack from its start to mallocgc, typically. */
const STACK_DEPTH = 10;

/** Maps the table and the buckets of `sources` allocating stacks. Few of the table's pages are ever touched. */
export function mapProfileBuckets(heap: Heap, sources: number): void {
  const buckets = sources * (BUCKET_BYTES + STACK_DEPTH * 8);
  heap.sys.map(statBuckHash, BUCKET_TABLE_BYTES + buckets);
  heap.sys.touch(statBuckHash, buckets + sources * 4096);
}
