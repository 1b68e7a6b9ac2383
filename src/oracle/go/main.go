// The oracle: plays a resolved gomemsim scenario on the real Go runtime and reports what the runtime's own statistics say.
//
// Input, on stdin: {"mode": "run", "seed": 1, "scenario": {...}}, the scenario resolved by `gomemsim check` (numbers are
// bytes, nanoseconds and per second), {"mode": "calibrate"}, or {"mode": "files"} (files.go); "real_time" asks for real-time scheduling, "stream" for each sample as it is taken. GOGC, GOMEMLIMIT, GOMAXPROCS and GODEBUG=gctrace=1 come from the
// environment. Output, on stdout: one JSON object. Linux, 64-bit.
//
// The heap under test should hold the scenario's objects and as little else as possible, so this program imports neither
// fmt, os nor encoding/json, keeps its own state outside the Go heap (offheap.go), and starts goroutines without closures.
// What it does put on the heap (slot chunks, owner tables, the runtime's own start-up) is known to the simulator.

package main

import (
	"math"
	"runtime"
	"runtime/metrics"
	"syscall"
	"time"
	"unsafe"
)

func main() {
	input := readInput()
	if input.get("mode").is("files") {
		readFiles(input)
		return
	}
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
	if startup = scenario.get("startup"); startup.exists() {
		go startUp()
	} else {
		startSources()
	}
	interventions := scenario.get("interventions").items()
	for v, ok := interventions.next(); ok; v, ok = interventions.next() {
		if v.get("do").is("resize_container") || v.get("do").is("set_neighbours") {
			continue // Done from outside.
		}
		plan := (*intervention)(unsafe.Pointer(offheapAlloc(unsafe.Sizeof(intervention{}))))
		plan.at, plan.every = int64(v.get("at").number(0)), int64(v.get("every").number(0))
		switch do := v.get("do"); {
		case do.is("gc"):
			plan.call = callGC
		case do.is("read_mem_stats"):
			plan.call = callReadMemStats
		case do.is("free_os_memory"):
			plan.call = callFreeOSMemory
		case do.is("set_gc_percent"):
			plan.call, plan.to = callSetGCPercent, settingOf(v.get("to"), -1)
		case do.is("set_memory_limit"):
			plan.call, plan.to = callSetMemoryLimit, settingOf(v.get("to"), math.MaxInt64)
		case do.is("set_gomaxprocs"):
			plan.call, plan.to = callSetMaxProcs, int64(v.get("to").number(1))
		default:
			fail("an intervention this program does not know")
		}
		start(roleIntervention, nil, uint64(uintptr(unsafe.Pointer(plan))))
	}
	policies := scenario.get("policies").items()
	for v, ok := policies.next(); ok; v, ok = policies.next() {
		switch kind := v.get("kind"); {
		case kind.is("ballast"):
			ballast = make([]byte, int(v.get("size").number(0)))
		case kind.is("threshold_tuner"):
			tuner.target = v.get("target").number(0)
			tuner.min, tuner.max = v.get("min").number(0), v.get("max").number(0)
			start(roleTuner, nil, 0)
		default:
			fail("a policy this program does not know")
		}
	}
	for k := int64(1); k*interval <= durationNs; k++ {
		sleepUntil(k * interval)
		takeSample()
	}
	sleepUntil(durationNs)
	if streaming {
		// Who looks at the process from outside at each sample is to find it.
		time.Sleep(50 * time.Millisecond)
	}
	report()
	syscall.Exit(0)
}

func startSources() {
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
}

// startup is what the process does before it serves.
var startup value

// startUp plays it, and then starts the workload.
func startUp() {
	if bytes := uintptr(startup.get("prefault").number(0)); bytes > 0 {
		prefault(bytes)
		runtime.GC()
	}
	stages := startup.get("stages").items()
	for stage, ok := stages.next(); ok; stage, ok = stages.next() {
		if io := stage.get("io").number(0); io > 0 {
			time.Sleep(time.Duration(io))
		}
		keep(stage)
		compute(stage.get("cpu").number(0))
	}
	now := sinceStart()
	waits := startup.get("early_requests").is("wait")
	for _, s := range sources[:nsources] {
		if s.first.start < now && !(waits && s.kind == kindService) {
			s.first.start = now
		}
	}
	startSources()
}

// madvPopulateWrite is MADV_POPULATE_WRITE, Linux 5.14.
const madvPopulateWrite = 23

// prefault makes one object of the heap resident, and lets go of it.
//
//go:noinline
func prefault(bytes uintptr) {
	object := mallocgc(bytes, nil, true)
	if _, _, errno := syscall.RawSyscall(syscall.SYS_MADVISE, uintptr(object), bytes, madvPopulateWrite); errno != 0 {
		fail("the kernel cannot populate memory")
	}
	runtime.KeepAlive(object)
}

// kept holds what start-up stages allocate.
var kept [100]unsafe.Pointer
var nkept int

// keep allocates the objects of one stage, in a table.
func keep(stage value) {
	size := uintptr(stage.get("object_size").number(1))
	n := (uintptr(stage.get("memory").number(0)) + size - 1) / size
	if n == 0 {
		return
	}
	p := stage.get("pointers")
	pointers := p.get("fraction").number(0) * float64(size)
	if p.get("kind").is("bytes") {
		pointers = p.get("bytes").number(0)
	}
	var t *typeDesc
	if n := uintptr(math.Min(pointers, float64(size))) &^ 7; n > 0 {
		t = typeOf(size, n)
	}
	table := mallocgc(n*8, unsafe.Pointer(pointerType), true)
	kept[nkept] = table
	nkept++
	for i := uintptr(0); i < n; i++ {
		*(*unsafe.Pointer)(unsafe.Add(table, i*8)) = newObject(size, t)
	}
}

type call int64

const (
	callGC call = iota
	callReadMemStats
	callFreeOSMemory
	callSetGCPercent
	callSetMemoryLimit
	callSetMaxProcs
)

// intervention is a call into the runtime at a time, once or periodically.
type intervention struct {
	at, every int64
	call      call
	to        int64
}

// settingOf reads a setting that may be off.
func settingOf(v value, off int64) int64 {
	if v.is("off") {
		return off
	}
	return int64(v.number(0))
}

func intervene(packed uint64) {
	plan := (*intervention)(unsafe.Pointer(uintptr(packed)))
	for at := plan.at; at < durationNs; at += plan.every {
		sleepUntil(at)
		switch plan.call {
		case callGC:
			runtime.GC()
		case callReadMemStats:
			start := nanotime()
			runtime.ReadMemStats(&atEnd)
			readLatency.record(nanotime() - start)
		case callFreeOSMemory:
			freeOSMemory()
		case callSetGCPercent:
			setGCPercent(int32(plan.to))
		case callSetMemoryLimit:
			setMemoryLimit(plan.to)
		case callSetMaxProcs:
			runtime.GOMAXPROCS(int(plan.to))
		}
		if plan.every == 0 {
			return
		}
	}
}

// What debug.SetGCPercent, debug.SetMemoryLimit and debug.FreeOSMemory call: importing runtime/debug would bring fmt and os along.
//
//go:linkname setGCPercent runtime/debug.setGCPercent
func setGCPercent(percent int32) int32

//go:linkname setMemoryLimit runtime/debug.setMemoryLimit
func setMemoryLimit(limit int64) int64

//go:linkname freeOSMemory runtime/debug.freeOSMemory
func freeOSMemory()

// ballast is never written.
var ballast []byte

// tuner sets GOGC after each cycle so that the next goal is target.
var tuner struct{ target, min, max float64 }

func tune() {
	samples := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/live:bytes"}}
	cycles, percent := uint64(0), int64(-1)
	for at := int64(1e6); ; at += 1e6 {
		sleepUntil(at)
		metrics.Read(samples)
		if samples[0].Value.Uint64() == cycles {
			continue
		}
		cycles = samples[0].Value.Uint64()
		live := float64(samples[1].Value.Uint64())
		if live <= 0 {
			continue
		}
		// As the simulator rounds.
		wanted := int64(math.Floor(math.Min(tuner.max, math.Max(tuner.min, 100*(tuner.target-live)/live)) + 0.5))
		if wanted != percent {
			percent = wanted
			setGCPercent(int32(percent))
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
