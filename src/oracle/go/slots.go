// Who holds the objects that outlive a request: tables of slots on the Go heap, in chunks of 8192 pointers that are
// reused and never freed, and, outside the heap, the free list and the death wheel that say when a slot is cleared.
//
// The chunks are the oracle's only standing use of the heap under test; the simulator allocates the same chunks.

package main

import (
	"sync/atomic"
	"unsafe"
)

const (
	chunkPointers = 8192
	maxChunks     = 8192
	noSlot        = -1
)

// chunkRoots keeps every chunk alive; it is part of the program's globals, which the simulator is told the size of.
var (
	chunkRoots [maxChunks]unsafe.Pointer
	chunkCount int32
)

// slotTable belongs to one source. Everything but the chunks is off-heap.
type slotTable struct {
	mu       spinlock
	shared   bool   // several goroutines use it
	chunks   region // addresses of the chunks
	links    region // int32 per slot: next free slot, or next slot that dies in the same bucket
	heads    region // int32 per bucket: first slot that dies in it
	capacity int32
	free     int32 // first free slot
	expired  int64 // buckets before this one have been dropped
	buckets  int64
	bucketNs int64
	live     int64
}

func (t *slotTable) init(durationNs, bucketNs int64, shared bool) {
	t.chunks = newRegion(8 * maxChunks)
	t.links = newRegion(4 * chunkPointers * maxChunks)
	t.bucketNs = bucketNs
	t.buckets = durationNs/bucketNs + 2
	t.heads = newRegion(uintptr(t.buckets) * 4)
	t.heads.ensure(uintptr(t.buckets) * 4)
	heads := unsafe.Slice((*int32)(unsafe.Pointer(t.heads.base)), t.buckets)
	for i := range heads {
		heads[i] = noSlot
	}
	t.free = noSlot
	t.shared = shared
}

func (t *slotTable) lock() {
	if t.shared {
		t.mu.lock()
	}
}

func (t *slotTable) unlock() {
	if t.shared {
		t.mu.unlock()
	}
}

func (t *slotTable) link(slot int32) *int32 {
	return (*int32)(unsafe.Pointer(t.links.base + uintptr(slot)*4))
}

func (t *slotTable) slot(slot int32) *unsafe.Pointer {
	chunk := *(*uintptr)(unsafe.Pointer(t.chunks.base + uintptr(slot/chunkPointers)*8))
	return (*unsafe.Pointer)(unsafe.Pointer(chunk + uintptr(slot%chunkPointers)*8))
}

// grow adds a chunk. The lock is not held while it allocates, as that may park the goroutine.
func (t *slotTable) grow() {
	base := mallocgc(chunkPointers*8, unsafe.Pointer(pointerType), true)
	id := atomic.AddInt32(&chunkCount, 1) - 1
	if id >= maxChunks {
		fail("more than 67 million objects held at once")
	}
	chunkRoots[id] = base
	t.lock()
	n := uintptr(t.capacity / chunkPointers)
	t.chunks.ensure((n + 1) * 8)
	t.links.ensure((n + 1) * chunkPointers * 4)
	*(*uintptr)(unsafe.Pointer(t.chunks.base + n*8)) = uintptr(base)
	first := t.capacity
	for i := first; i < first+chunkPointers-1; i++ {
		*t.link(i) = i + 1
	}
	*t.link(first + chunkPointers - 1) = t.free
	t.free = first
	t.capacity += chunkPointers
	t.unlock()
}

// take returns a chain of n free slots, linked; the caller owns them.
func (t *slotTable) take(n int) int32 {
	for {
		t.lock()
		if t.live+int64(n) <= int64(t.capacity) {
			break
		}
		t.unlock()
		t.grow()
	}
	first := t.free
	last := first
	for i := 1; i < n; i++ {
		last = *t.link(last)
	}
	t.free = *t.link(last)
	*t.link(last) = noSlot
	t.live += int64(n)
	t.unlock()
	return first
}

// schedule puts a slot into the bucket of its object's death. Deaths after the run are never reached.
func (t *slotTable) schedule(slot int32, deathNs float64) {
	b := deathNs/float64(t.bucketNs) + 1
	if b >= float64(t.buckets) {
		return
	}
	bucket := int64(b)
	if float64(bucket-1)*float64(t.bucketNs) == deathNs {
		bucket-- // exactly on a boundary: already rounded up
	}
	t.lock()
	if bucket < t.expired {
		bucket = t.expired
	}
	head := (*int32)(unsafe.Pointer(t.heads.base + uintptr(bucket)*4))
	*t.link(slot) = *head
	*head = slot
	t.unlock()
}

// expire drops every object whose death is not after nowNs.
func (t *slotTable) expire(nowNs int64) {
	for {
		t.lock()
		if t.expired*t.bucketNs > nowNs || t.expired >= t.buckets {
			t.unlock()
			return
		}
		head := (*int32)(unsafe.Pointer(t.heads.base + uintptr(t.expired)*4))
		first := *head
		*head = noSlot
		t.expired++
		t.unlock()
		if first != noSlot {
			t.drop(first)
		}
	}
}

// drop clears a chain of slots and frees them.
func (t *slotTable) drop(first int32) {
	n, last := int64(0), first
	for s := first; s != noSlot; s = *t.link(s) {
		*t.slot(s) = nil
		last = s
		n++
	}
	t.lock()
	*t.link(last) = t.free
	t.free = first
	t.live -= n
	t.unlock()
}
