// The oracle: plays a resolved gomemsim scenario on the real Go runtime and reports what the runtime's own statistics say.
//
// Input, on stdin: {"mode": "run", "seed": 1, "scenario": {...}}, the scenario resolved by `gomemsim check` (numbers are
// bytes, nanoseconds and per second), or {"mode": "calibrate"}; "real_time" asks for real-time scheduling, "stream" for each sample as it is taken. GOGC, GOMAXPROCS and GODEBUG=gctrace=1 come from the
// environment. Output, on stdout: one JSON object. Linux, 64-bit.
//
// The heap under test should hold the scenario's objects and as little else as possible, so this program imports neither
// fmt, os nor encoding/json, keeps its own state outside the Go heap (offheap.go), and starts goroutines without closures.
// What it does put on the heap (slot chunks, owner tables, the runtime's own start-up) is known to the simulator.

package main

import (
	"runtime"
	"syscall"
	"unsafe"
)

func main() {
	input := readInput()
	realTime = input.get("real_time").bool() && beRealTime()
	streaming = input.get("stream").bool()
	initTypes()
	starts.init(1024)
	calibrateSpin()
	measureFrame()
	if input.get("mode").is("calibrate") {
		calibrate(input)
		return
	}
	scenario := input.get("scenario")
	durationNs = int64(scenario.get("duration").number(0))
	interval := int64(scenario.get("sample_interval").number(100e6))
	if durationNs <= 0 || interval <= 0 {
		fail("the scenario has no duration or sample interval")
	}
	initRecording(uintptr(durationNs/interval) + 2)
	seed := uint64(input.get("seed").number(1))
	list := scenario.get("workload").items()
	for entry, ok := list.next(); ok; entry, ok = list.next() {
		addSource(entry, scenario, nsources, seed)
	}
	for _, s := range sources[:nsources] {
		if s.kind == kindCache {
			s.initCache()
		} else if s.kind == kindGoroutines {
			s.initManager()
		}
	}

	if streaming {
		initStream()
	}
	t0 = nanotime()
	watching = 1
	takeSample()
	for _, s := range sources[:nsources] {
		switch s.kind {
		case kindStream, kindLeak:
			for i := 0; i < s.first.goroutines; i++ {
				start(roleStream, s, 0)
			}
		case kindService:
			start(roleDispatcher, s, 0)
		case kindBatch:
			start(roleStarter, s, 0)
		case kindCache:
			start(roleCache, s, 0)
		case kindGoroutines:
			start(roleManager, s, 0)
		}
	}
	interventions := scenario.get("interventions").items()
	for v, ok := interventions.next(); ok; v, ok = interventions.next() {
		at, every := int64(v.get("at").number(0)), int64(v.get("every").number(0))
		packed := (*[3]int64)(offheapAlloc(24))
		packed[0], packed[1] = at, every
		if v.get("do").is("read_mem_stats") {
			packed[2] = 1
		}
		start(roleIntervention, nil, uint64(uintptr(unsafe.Pointer(packed))))
	}
	for k := int64(1); k*interval <= durationNs; k++ {
		sleepUntil(k * interval)
		takeSample()
	}
	sleepUntil(durationNs)
	report()
	syscall.Exit(0)
}

// intervene makes the runtime collect, or tell its statistics, at a time, once or periodically.
func intervene(packed uint64) {
	plan := (*[3]int64)(unsafe.Pointer(uintptr(packed)))
	for at := plan[0]; at < durationNs; at += plan[1] {
		sleepUntil(at)
		if plan[2] == 1 {
			start := nanotime()
			runtime.ReadMemStats(&atEnd)
			readLatency.record(nanotime() - start)
		} else {
			runtime.GC()
		}
		if plan[1] == 0 {
			return
		}
	}
}

// readLatency is how long the calls of runtime.ReadMemStats took.
var readLatency histogram

func readInput() value {
	in := newRegion(256 << 20)
	n := uintptr(0)
	for {
		in.ensure(n + 65536)
		got, err := syscall.Read(0, unsafe.Slice((*byte)(unsafe.Pointer(in.base+n)), 65536))
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			fail("cannot read the scenario")
		}
		if got == 0 {
			break
		}
		n += uintptr(got)
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(in.base)), n)
	i := 0
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return value(b[i:])
}
