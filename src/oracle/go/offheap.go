// Memory outside the Go heap. Everything the oracle must remember (death wheels, free lists, samples, the scenario
// itself) lives here, so that the heap under test holds nothing but the scenario's own objects and the slot tables that
// reference them. Every page is touched as soon as it is taken and counted, and the totals are subtracted from the
// process's resident memory and page faults: the recorded figures are then those of the scenario alone.

package main

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// osPage is the kernel's page.
var osPage = uintptr(syscall.Getpagesize())

var (
	offheapBytes  int64 // resident bytes taken so far (atomic)
	offheapFaults int64 // minor faults taken to make them resident (atomic)
)

// reserve maps n bytes of address space without making them resident.
func reserve(n uintptr) uintptr {
	const protRW, mapPrivateAnonNoReserve = 0x3, 0x2 | 0x20 | 0x4000
	n = (n + osPage - 1) &^ (osPage - 1)
	p, _, errno := syscall.RawSyscall6(syscall.SYS_MMAP, 0, n, protRW, mapPrivateAnonNoReserve, ^uintptr(0), 0)
	if errno != 0 {
		fail("cannot reserve memory outside the Go heap")
	}
	// A huge page would make more of it resident than is counted. Without huge pages in the kernel this fails.
	const madvNoHugePage = 15
	syscall.RawSyscall(syscall.SYS_MADVISE, p, n, madvNoHugePage)
	return p
}

// A region is an off-heap array that grows in place up to the capacity it was reserved with.
type region struct {
	base, end, limit uintptr // [base, end) is resident, [base, limit) is reserved
}

func newRegion(limit uintptr) region {
	limit = (limit + osPage - 1) &^ (osPage - 1)
	p := reserve(limit)
	return region{p, p, p + limit}
}

// ensure makes the first n bytes usable and returns the base.
func (r *region) ensure(n uintptr) uintptr {
	if r.base+n > r.end {
		r.grow(n)
	}
	return r.base
}

func (r *region) grow(n uintptr) {
	const step = 64 << 10 // a page on some kernels
	end := r.base + (n+step-1)&^(step-1)
	if end > r.limit {
		end = r.limit
	}
	if r.base+n > end {
		fail("the scenario needs more bookkeeping than the oracle can hold")
	}
	for p := r.end; p < end; p += osPage {
		*(*byte)(unsafe.Pointer(p)) = 0
	}
	atomic.AddInt64(&offheapBytes, int64(end-r.end))
	atomic.AddInt64(&offheapFaults, int64((end-r.end)/osPage))
	r.end = end
}

// release gives the region's memory back.
func (r *region) release() {
	syscall.RawSyscall(syscall.SYS_MUNMAP, r.base, r.limit-r.base, 0)
	atomic.AddInt64(&offheapBytes, -int64(r.end-r.base))
	r.base, r.end, r.limit = 0, 0, 0
}

// bump hands out small off-heap records during set-up; they are never returned.
var bump struct {
	region
	used uintptr
}

func offheapAlloc(n uintptr) unsafe.Pointer {
	if bump.limit == 0 {
		bump.region = newRegion(256 << 20)
	}
	n = (n + 15) &^ 15
	bump.ensure(bump.used + n)
	p := bump.base + bump.used
	bump.used += n
	return unsafe.Pointer(p)
}

// A spinlock guards the few words several goroutines of one source share. A sync.Mutex would put its waiters on the Go
// heap; the critical sections here are tens of nanoseconds.
type spinlock uint32

func (l *spinlock) lock() {
	for i := 1; !atomic.CompareAndSwapUint32((*uint32)(l), 0, 1); i++ {
		if i%64 == 0 {
			runtime.Gosched()
		}
	}
}

func (l *spinlock) unlock() { atomic.StoreUint32((*uint32)(l), 0) }

// A fifo is a queue of pairs of words, off-heap, growing as its backlog does.
type fifo struct {
	mu         spinlock
	mem        region
	head, tail uint64
	mask       uint64
}

type fifoItem struct{ a, b uint64 }

func (q *fifo) init(capacity uint64) {
	q.mem = newRegion(uintptr(capacity) * 16)
	q.mem.ensure(uintptr(capacity) * 16)
	q.mask = capacity - 1
}

func (q *fifo) at(i uint64) *fifoItem {
	return (*fifoItem)(unsafe.Pointer(q.mem.base + uintptr(i&q.mask)*16))
}

func (q *fifo) push(a, b uint64) {
	q.mu.lock()
	if q.tail-q.head > q.mask {
		var bigger fifo
		bigger.init((q.mask + 1) * 2)
		for i := q.head; i != q.tail; i++ {
			*bigger.at(i) = *q.at(i)
		}
		q.mem.release()
		q.mem, q.mask = bigger.mem, bigger.mask
	}
	*q.at(q.tail) = fifoItem{a, b}
	q.tail++
	q.mu.unlock()
}

func (q *fifo) pop() (a, b uint64, ok bool) {
	q.mu.lock()
	if q.head != q.tail {
		item := q.at(q.head)
		a, b, ok = item.a, item.b, true
		q.head++
	}
	q.mu.unlock()
	return
}

// fail ends the process with a message on stderr; the caller of the oracle shows it.
func fail(message string) {
	writeStderr("oracle: " + message + "\n")
	syscall.Exit(3)
}

func writeStderr(s string) {
	syscall.Write(2, []byte(s))
}
