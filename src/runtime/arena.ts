/**
 * User arenas (GOEXPERIMENT=arenas, off by default; Go 1.20 and later).
 *
 * Models the chunks of arena.go: 8 MiB of address space outside the heap's arenas, charged at once like one large
 * object with pointers, faulted back to the system when freed, and used again when a later sweep finds that nothing
 * points into it any more. Freeing is the one case in which HeapSys shrinks and heapLive falls outside a GC.
 *
 * Simplifies: objects inside a chunk are the caller's business (bump allocation, no more than 2 MiB each); the
 * chunk's scan work is that of the kind it is allocated as, whatever of it is filled; a chunk freed while marking is set to fault with the
 * next one freed outside a mark, as in Go.
 */

import { statGCMisc } from "./mfixalloc.ts";
import type { Heap } from "./mheap.ts";
import { forever } from "./owners.ts";
import { flagQuarantined, flagUserArena, spanDead, spanInUse } from "./records.ts";
import { pageSize } from "./sizeclasses.ts";

export const userArenaChunkBytes = 8 << 20;
const userArenaChunkPages = userArenaChunkBytes / pageSize;
/** Pointer bitmap and a type record at the chunk's end. */
const reserveBytes = userArenaChunkBytes / 64 + 48;
const chunksPerArena = 8;
/** The arenas' own address hints are far from the heap's: 128 GiB up. */
const userArenaBasePage = 2 ** 37 / pageSize;

export interface UserArenas {
  /** First pages of chunks that are address space only. */
  ready: number[];
  /** Spans freed while marking, to be set to fault later. */
  fault: number[];
  /** Chunks set to fault that a sweep has yet to find unreferenced. */
  quarantine: number;
  arenas: number;
  cap: number;
}

export function allocUserArenaChunk(h: Heap, p: number, kind: number): number {
  const ua = h.userArenas;
  if (ua.ready.length === 0) {
    h.os?.sysReserve(chunksPerArena * userArenaChunkBytes);
    h.persistent.alloc(h.rules.heapArenaStructBytes, 8, statGCMisc, p);
    if (ua.arenas === ua.cap) {
      const bytes = ua.cap === 0 ? 4096 : ua.cap * 16;
      h.persistent.alloc(bytes, 8, statGCMisc, p);
      ua.cap = bytes / 8;
    }
    for (let i = 0; i < chunksPerArena; i++) {
      if (i > 0) h.allocMSpanRecord(p);
      ua.ready.push(userArenaBasePage + (ua.arenas * chunksPerArena + i) * userArenaChunkPages);
    }
    h.allocMSpanRecord(p);
    ua.arenas++;
  }
  const base = ua.ready.shift() as number;
  const spans = h.spans;
  const s = spans.alloc();
  const at = h.slots.alloc(1);
  const elemsize = userArenaChunkBytes - reserveBytes;
  spans.base[s] = base;
  spans.npages[s] = userArenaChunkPages;
  spans.spc[s] = 0;
  spans.state[s] = spanInUse;
  spans.flags[s] = flagUserArena;
  spans.sweepgen[s] = h.sweepgen;
  spans.nelems[s] = 1;
  spans.setElemsize(s, elemsize);
  spans.freeIndex[s] = 1;
  spans.allocCount[s] = 1;
  spans.marked[s] = h.marking ? 1 : 0;
  spans.sweptTick[s] = h.lastMarkTick;
  spans.maxDeath[s] = forever;
  spans.kind[s] = kind;
  spans.touched[s] = 1;
  spans.firstSlot[s] = at;
  h.slots.death[at] = forever;
  h.gcBits.alloc(1);
  h.gcBits.alloc(1);
  h.os?.sysMap(base * pageSize, userArenaChunkBytes);
  h.os?.sysUsed(base * pageSize, userArenaChunkBytes);
  h.touch(base * pageSize, base * pageSize + userArenaChunkBytes);
  h.work.bytesZeroed += elemsize;
  h.work.largeAllocs++;
  h.pagesInUse += userArenaChunkPages;
  const stats = h.stats;
  stats.heapInUse += userArenaChunkBytes;
  stats.largeAlloc += elemsize;
  stats.largeAllocCount++;
  stats.totalAlloc += elemsize;
  if (h.marking) h.bytesMarked += elemsize;
  h.accounting.update(elemsize, 0);
  h.central[0].fullSwept(h.sweepgen).push(s);
  h.lastSpan = s;
  h.lastIndex = 0;
  return s;
}

/** freeUserArenaChunk: the memory goes back now, or, if a mark is running, with the next chunk freed after it. */
export function freeUserArenaChunk(h: Heap, s: number, tick: number): void {
  if ((h.spans.flags[s] & (flagUserArena | flagQuarantined)) !== flagUserArena)
    throw new Error(`span ${s} is not a live user arena chunk`);
  if (h.marking) {
    h.userArenas.fault.push(s);
    return;
  }
  setToFault(h, s, tick);
  for (const waiting of h.userArenas.fault) setToFault(h, waiting, tick);
  h.userArenas.fault.length = 0;
}

function setToFault(h: Heap, s: number, tick: number): void {
  const spans = h.spans;
  // From here on the chunk is quarantined: it holds an object that is unreachable, but its pages are gone.
  spans.flags[s] = flagUserArena | flagQuarantined;
  spans.spc[s] = 1;
  h.kill(s, 0, tick);
  h.os?.sysFault(spans.base[s] * pageSize, userArenaChunkBytes);
  const stats = h.stats;
  stats.heapInUse -= userArenaChunkBytes;
  stats.totalFree += spans.elemsizeOf(s);
  stats.largeFreeCount++;
  stats.largeFree += spans.elemsizeOf(s);
  h.accounting.update(-spans.elemsizeOf(s), 0);
  h.userArenas.quarantine++;
}

/** The sweeper's part: the chunk is address space again. */
export function recycleUserArenaChunk(h: Heap, s: number): void {
  const spans = h.spans;
  if ((spans.flags[s] & flagQuarantined) === 0)
    throw new Error(`user arena chunk ${s} swept empty before it was freed`);
  h.pagesInUse -= userArenaChunkPages;
  h.userArenas.quarantine--;
  h.userArenas.ready.push(spans.base[s]);
  h.slots.free(spans.firstSlot[s], 1);
  spans.state[s] = spanDead;
  spans.flags[s] = 0;
  spans.free(s);
}
