/**
 * The kernel with somebody looking on: every call passes through unchanged and is reported.
 *
 * Calls are named as Linux has them, by what mem_linux.go of Go 1.26 does: sysReserve and sysMap are mmap, sysUnused is
 * madvise, sysFault is mprotect and madvise. sysUsed is no call to the kernel there, and nothing of the heap is ever unmapped. A first
 * touch is a fault; faults are summed up until they are charged.
 */
import type { Os } from "../os/os.ts";
import type { Trace } from "./trace.ts";

export class TracedOs implements Os {
  readonly #os: Os;
  readonly #trace: Trace;
  /** What the addresses touched through this belong to. */
  readonly #region: string;

  constructor(os: Os, trace: Trace, region: "heap" | "stack") {
    this.#os = os;
    this.#trace = trace;
    this.#region = region;
  }

  get faults(): number {
    return this.#os.faults;
  }

  get largeFaultNs(): number {
    return this.#os.largeFaultNs;
  }

  get pageBytes(): number {
    return this.#os.pageBytes;
  }

  sysReserve(nbytes: number): void {
    this.#os.sysReserve(nbytes);
    this.#trace.instant("os", "mmap", { reason: "reserve heap arenas", size_bytes: nbytes });
  }

  sysMap(startByte: number, nbytes: number): void {
    this.#os.sysMap(startByte, nbytes);
    this.#trace.instant("os", "mmap", { reason: "heap grows", size_bytes: nbytes });
  }

  sysUsed(startByte: number, nbytes: number): void {
    this.#os.sysUsed(startByte, nbytes);
  }

  sysUnused(startByte: number, nbytes: number): number {
    const released_bytes = this.#os.sysUnused(startByte, nbytes);
    const reason = this.#trace.releaseReason;
    this.#trace.instant("os", "madvise", { reason, size_bytes: nbytes, released_bytes });
    return released_bytes;
  }

  sysFault(startByte: number, nbytes: number): number {
    const released_bytes = this.#os.sysFault(startByte, nbytes);
    const reason = "user arena freed";
    this.#trace.instant("os", "madvise", { reason, size_bytes: nbytes, released_bytes });
    return released_bytes;
  }

  touch(startByte: number, endByte: number): number {
    const pages = this.#os.touch(startByte, endByte);
    this.#trace.faulted(this.#region, pages);
    return pages;
  }

  readUntouched(pages: number): void {
    this.#os.readUntouched(pages);
    this.#trace.faulted("zero page", pages);
  }

  isResident(startByte: number, endByte: number): boolean {
    return this.#os.isResident(startByte, endByte);
  }

  metaMap(name: string, nbytes: number): void {
    this.#os.metaMap(name, nbytes);
    this.#trace.instant("os", "mmap", { reason: `metadata: ${name}`, size_bytes: nbytes });
  }

  metaTouch(name: string, nbytes: number): number {
    const pages = this.#os.metaTouch(name, nbytes);
    this.#trace.faulted("metadata", pages);
    return pages;
  }

  residentBytes(): number {
    return this.#os.residentBytes();
  }
}
