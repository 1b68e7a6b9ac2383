// Time, parking, stacks and CPU work: what the scenario's goroutines do beside allocating.

package main

import (
	"math"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"
)

//go:linkname gopark runtime.gopark
func gopark(unlockf func(unsafe.Pointer, unsafe.Pointer) bool, lock unsafe.Pointer, reason, traceReason uint8, skip int)

//go:linkname goready runtime.goready
func goready(gp unsafe.Pointer, skip int)

const waitReasonIOWait = 2 // only a label in tracebacks

var (
	t0         int64 // the run's start on the monotonic clock
	durationNs int64
)

func sinceStart() int64 { return nanotime() - t0 }

func sleepUntil(ns int64) {
	if d := ns - sinceStart(); d > 0 {
		time.Sleep(time.Duration(d))
	}
}

// parkForever gives up the goroutine without anything on the heap.
func parkForever() {
	for {
		gopark(nil, nil, waitReasonIOWait, 0, 1)
	}
}

// A parkingSpot is where one goroutine waits to be told to end: outside the heap, which is safe as a g is never freed.
type parkingSpot struct {
	g    uintptr // the waiting goroutine, 0 while it is not waiting
	told uint32
}

// wait returns when (or if already) told.
func (p *parkingSpot) wait() {
	if atomic.LoadUint32(&p.told) == 0 {
		gopark(arrive, unsafe.Pointer(p), waitReasonIOWait, 0, 1)
	}
}

// arrive runs on the system stack once the goroutine counts as waiting; false sends it on at once.
func arrive(gp, spot unsafe.Pointer) bool {
	p := (*parkingSpot)(spot)
	atomic.StoreUintptr(&p.g, uintptr(gp))
	return atomic.LoadUint32(&p.told) == 0 || !atomic.CompareAndSwapUintptr(&p.g, uintptr(gp), 0)
}

func (p *parkingSpot) tell() {
	atomic.StoreUint32(&p.told, 1)
	if gp := atomic.LoadUintptr(&p.g); gp != 0 && atomic.CompareAndSwapUintptr(&p.g, gp, 0) {
		goready(*(*unsafe.Pointer)(unsafe.Pointer(&gp)), 1)
	}
}

// --- CPU work ---

var spinsPerNs float64

//go:noinline
func spin(n uint64) uint64 {
	x := n | 1
	for i := uint64(0); i < n; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

const (
	// computeStepNs of work lie between two looks at the clock.
	computeStepNs = 10_000
	// A step that took this much longer was interrupted: the thread, or the goroutine, did not have a CPU all the time.
	computeInterrupted = 3
)

// compute uses ns of CPU time. How fast the CPU is just now is seen by the clock, step by step, as it changes with
// temperature and neighbours; time in which the goroutine did not run is not counted, but for interruptions of a few
// microseconds.
func compute(ns float64) {
	for ns > 0 {
		step := math.Min(ns, computeStepNs)
		start := nanotime()
		spin(uint64(step * spinsPerNs))
		took := float64(nanotime() - start)
		if took > computeInterrupted*step {
			took = step
		}
		ns -= math.Max(1, took)
	}
}

// calibrateSpin takes the fastest of many short measurements: noise only ever slows them down.
func calibrateSpin() {
	const n = 200_000
	for i := 0; i < 40; i++ {
		start := nanotime()
		spin(n)
		if speed := n / float64(nanotime()-start); speed > spinsPerNs {
			spinsPerNs = speed
		}
	}
}

// --- stacks ---

const padBytes = 64

var (
	frameBytes uintptr // of one level of descend
	frameLevel uintptr // where the previous probe was
)

// descend calls itself `levels` deep and then does the job, so the job's goroutine has a stack that deep.
//
//go:noinline
func descend(levels int, job role, s *source, arg uint64) byte {
	var pad [padBytes]byte
	pad[levels&(padBytes-1)] = byte(levels)
	if levels > 0 {
		pad[0] += descend(levels-1, job, s, arg)
	} else {
		switch job {
		case roleProbe:
			probeFrame()
		case roleRequest, roleWorker:
			serve(s, int64(arg))
		case roleMember:
			s.member(arg)
		case rolePark:
			parkAt()
		}
	}
	return pad[levels&(padBytes-1)]
}

// withStack does a job below `need` bytes of frames.
func withStack(need float64, job role, s *source, arg uint64) {
	descend(int(need/float64(frameBytes)), job, s, arg)
}

//go:noinline
func probeFrame() {
	var local byte
	frameLevel = uintptr(unsafe.Pointer(&local))
}

// measureFrame learns the size of a frame of descend. The deeper probe goes first, so the stack does not move between;
// few levels, so that main's stack does not grow for it.
func measureFrame() {
	descend(4, roleProbe, nil, 0)
	a := frameLevel
	descend(0, roleProbe, nil, 0)
	frameBytes = (frameLevel - a) / 4
	if frameBytes < padBytes || frameBytes > 4*padBytes {
		fail("cannot measure a stack frame")
	}
}

// --- starting goroutines ---

type role uint64

const (
	roleProbe role = iota
	roleStream
	roleDispatcher
	roleRequest
	roleStarter
	roleWorker
	roleCache
	roleManager
	roleMember
	roleIntervention
	roleTuner
	// calibration only
	rolePark
	roleFinish
	roleYield
	roleGrow
	roleStamp
	roleCompute
)

// starts holds what new goroutines are to do. All run the same function without arguments, so starting one leaves no
// closure on the heap; whichever runs first takes the oldest job.
var starts fifo

func start(job role, s *source, arg uint64) {
	starts.push(uint64(uintptr(unsafe.Pointer(s)))|uint64(job), arg)
	go run()
}

func run() {
	a, arg, _ := starts.pop()
	s := (*source)(unsafe.Pointer(uintptr(a &^ 15)))
	switch job := role(a & 15); job {
	case roleRequest:
		s.request(arg)
	case roleMember:
		withStack(s.config(sinceStart()).memberStack(s), job, s, arg)
	case roleStream:
		s.stream()
	case roleDispatcher:
		s.dispatch()
	case roleStarter:
		s.startWorkers()
	case roleWorker:
		s.worker()
	case roleCache:
		s.runCache()
	case roleManager:
		s.manage()
	case roleIntervention:
		intervene(arg)
	case roleTuner:
		tune()
	case rolePark:
		withStack(float64(arg), job, nil, 0)
	case roleFinish:
		atomic.AddInt64(&finished, 1)
	case roleYield:
		for ; arg > 0; arg-- {
			runtime.Gosched()
		}
		atomic.StoreInt64(&finished, 1)
	case roleGrow:
		growStack(arg)
	case roleCompute:
		for {
			compute(1e6)
		}
	case roleStamp:
		atomic.StoreInt64(&wokenAt, nanotime())
	}
}
