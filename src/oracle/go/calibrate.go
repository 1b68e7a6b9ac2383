// Measurements of what things cost on this machine. Each is a microbenchmark of one physical cost, repeated; the caller
// takes medians and puts a machine profile together. Every call of the program measures one thing in a fresh process:
// {"mode": "calibrate", "what": "mark", "size": 64, "pointers": 8, "objects": 100000}.

package main

import (
	"math"
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

func calibrate(in value) {
	initRecording(16)
	t0 = nanotime()
	durationNs = 3600e9
	var w writer
	w.raw("{")
	w.key("go_version")
	w.text(runtime.Version())
	w.flag("real_time", realTime)
	what := in.get("what")
	switch {
	case what.is("malloc"):
		calibrateMalloc(&w, in)
	case what.is("mark"):
		calibrateMark(&w, in)
	case what.is("stacks"):
		calibrateStacks(&w, in)
	case what.is("faults"):
		calibrateFaults(&w)
	case what.is("sched"):
		calibrateSched(&w)
	case what.is("program"):
		calibrateProgram(&w)
	case what.is("baseline"):
		calibrateBaseline(&w)
	default:
		fail("unknown measurement")
	}
	w.raw("}\n")
	w.flush()
	syscall.Exit(0)
}

// series writes a list of repeats, for the caller to take the median of.
func (w *writer) series(name string, list []float64) {
	w.key(name)
	w.raw("[")
	for _, x := range list {
		w.item(x)
	}
	w.raw("]")
}

var markCPU = [...]metrics.Sample{
	{Name: "/cpu/classes/gc/mark/assist:cpu-seconds"},
	{Name: "/cpu/classes/gc/mark/dedicated:cpu-seconds"},
	{Name: "/cpu/classes/gc/mark/idle:cpu-seconds"},
	{Name: "/gc/scan/heap:bytes"},
	{Name: "/gc/scan/stack:bytes"},
	{Name: "/gc/scan/globals:bytes"},
	{Name: "/memory/classes/heap/objects:bytes"},
}

func readMark() (ns float64) {
	metrics.Read(markCPU[:])
	for i := 0; i < 3; i++ {
		ns += number(markCPU[i].Value) * 1e9
	}
	return ns
}

func processCPU() float64 {
	syscall.Getrusage(0, &usage)
	return float64(usage.Utime.Nano() + usage.Stime.Nano())
}

// evictBytes is more than any cache a CPU of today keeps for one core.
const evictBytes = 96 << 20

// evict writes to memory outside the heap until the caches hold nothing else, as a program does between collections, and
// then sleeps, as it does between requests or ticks: an empty collection right after work takes now half of what it takes after a
// millisecond's sleep, now as much.
//
//go:noinline
func evict(base uintptr) {
	for at := base; at < base+evictBytes; at += 64 {
		*(*uint64)(unsafe.Pointer(at)) += 1
	}
	time.Sleep(time.Millisecond)
}

// collect forces collections and writes the CPU time each spent marking, and all CPU it took otherwise: sweeping.
func collect(w *writer, reps int) {
	runtime.GC() // the first one finds everything just made, in caches and buffers
	other := newRegion(evictBytes)
	other.ensure(evictBytes)
	var mark, rest []float64
	for i := 0; i < reps; i++ {
		evict(other.base)
		m, p := readMark(), processCPU()
		runtime.GC()
		dm := readMark() - m
		mark = append(mark, dm)
		rest = append(rest, processCPU()-p-dm)
	}
	w.series("mark_ns", mark)
	w.series("rest_ns", rest)
	w.field("scan_heap_bytes", number(markCPU[3].Value))
	w.field("scan_stack_bytes", number(markCPU[4].Value))
	w.field("scan_globals_bytes", number(markCPU[5].Value))
	w.field("heap_bytes", number(markCPU[6].Value))
}

// mixedSizes are those of neighbouring classes.
var mixedSizes = [...]float64{48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288, 320}

// calibrateMark holds objects in slot chunks, in the order of their making or in none, and collects: objects of one kind, or as
// many of each of mixedSizes, at random or one size after the other.
func calibrateMark(w *writer, in value) {
	size, pointers := in.get("size").number(64), in.get("pointers").number(0)
	n := int(in.get("objects").number(0))
	s := shape{ptrBytes: pointers}
	bytes, t := s.quantise(size)
	chunks := (n + chunkPointers - 1) / chunkPointers
	slots := make([]unsafe.Pointer, chunks)
	for i := range slots {
		slots[i] = mallocgc(chunkPointers*8, unsafe.Pointer(pointerType), true)
	}
	at := func(i int) *unsafe.Pointer {
		return (*unsafe.Pointer)(unsafe.Add(slots[i/chunkPointers], uintptr(i%chunkPointers)*8))
	}
	var r rng
	r.seed(1)
	mixed, bySize := in.get("mixed").bool(), in.get("by_size").bool()
	for i := 0; i < n; i++ {
		if mixed {
			nth := i * len(mixedSizes) / n
			if !bySize {
				nth = int(r.f64() * float64(len(mixedSizes)))
			}
			bytes, t = s.quantise(mixedSizes[nth])
		}
		*at(i) = newObject(bytes, t)
	}
	if !in.get("ordered").bool() {
		for i := n - 1; i > 0; i-- {
			j := int(r.f64() * float64(i+1))
			a, b := at(i), at(j)
			*a, *b = *b, *a
		}
	}
	if keep := int(in.get("keep_every").number(1)); keep > 1 {
		// Dead neighbours: how a heap looks in steady state.
		for i := 0; i < n; i++ {
			if i%keep != 0 {
				*at(i) = nil
			}
		}
	}
	collect(w, int(in.get("reps").number(7)))
	runtime.KeepAlive(slots)
}

// globalsForScan keeps the mebibyte of a build with the tag `globals` (globals.go) in the program.
var globalsForScan unsafe.Pointer

// --- malloc ---

// timeMallocs allocates n objects and returns nanoseconds per object.
//
//go:noinline
func timeMallocs(n int, size uintptr, t *typeDesc, zero bool) float64 {
	start := nanotime()
	for i := 0; i < n; i++ {
		mallocgc(size, unsafe.Pointer(t), zero)
	}
	return float64(nanotime()-start) / float64(n)
}

//go:noinline
func timeObjects(n int, size uintptr, t *typeDesc) float64 {
	start := nanotime()
	for i := 0; i < n; i++ {
		newObject(size, t)
	}
	return float64(nanotime()-start) / float64(n)
}

// calibrateMalloc measures one size, with GOGC=off: everything it makes is garbage, and a collection before each repeat
// has given the spans back to the page heap, so the memory is resident, and each span is a fresh one.
func calibrateMalloc(w *writer, in value) {
	size, pointers := in.get("size").number(64), in.get("pointers").number(0)
	total := in.get("total").number(8 << 20)
	reps := int(in.get("reps").number(9))
	s := shape{ptrBytes: pointers}
	bytes, t := s.quantise(size)
	n := int(total / float64(bytes))
	timeMallocs(n, bytes, t, true) // makes the memory resident
	var plain, zeroed, written []float64
	for i := 0; i < reps; i++ {
		if t == nil {
			runtime.GC()
			plain = append(plain, timeMallocs(n, bytes, nil, false))
		}
		runtime.GC()
		zeroed = append(zeroed, timeMallocs(n, bytes, t, true))
		runtime.GC()
		written = append(written, timeObjects(n, bytes, t))
	}
	w.field("objects", float64(n))
	w.series("plain_ns", plain)
	w.series("zeroed_ns", zeroed)
	w.series("written_ns", written)
	// One object in `per` lives on: the spans stay with the central lists, and the next allocations refill from them.
	per := int(in.get("per").number(0))
	if per < 2 || t != nil {
		return
	}
	kept := mallocgc(uintptr(n/per+1)*8, unsafe.Pointer(pointerType), true)
	runtime.GC()
	for i := 0; i < n; i++ {
		p := mallocgc(bytes, nil, false)
		if i%per == 0 {
			*(*unsafe.Pointer)(unsafe.Add(kept, uintptr(i/per)*8)) = p
		}
	}
	var partial, sweep []float64
	for i := 0; i < reps; i++ {
		m, p := readMark(), processCPU()
		runtime.GC()
		sweep = append(sweep, processCPU()-p-(readMark()-m))
		partial = append(partial, timeMallocs(n/per*(per-1), bytes, nil, false))
	}
	runtime.KeepAlive(kept)
	w.series("partial_ns", partial)
	w.series("sweep_ns", sweep)
}

// --- stacks ---

var parked int64

// calibrateStacks parks goroutines at a depth and collects.
func calibrateStacks(w *writer, in value) {
	n, depth := int(in.get("goroutines").number(0)), in.get("depth").number(0)
	if n > 0 {
		start := nanotime()
		for i := 0; i < n; i++ {
			starts.push(uint64(rolePark), uint64(depth))
			go run()
		}
		for atomic.LoadInt64(&parked) < int64(n) {
			time.Sleep(time.Millisecond)
		}
		w.field("start_ns", float64(nanotime()-start)/float64(n))
	}
	reps := int(in.get("reps").number(15))
	collect(w, reps)
	if n == 0 {
		assistRoots(w, reps/4)
	}
}

// assistRoots collects by allocating. The goroutine that starts a cycle owes an assist with its next object, before any worker has earned
// credit, and finds only roots to scan; with nothing else in the heap, what it owes later finds no work at all. With a single P no
// worker shares in them.
func assistRoots(w *writer, reps int) {
	assists := [...]metrics.Sample{
		{Name: "/cpu/classes/gc/mark/assist:cpu-seconds"},
		{Name: "/gc/cycles/automatic:gc-cycles"},
	}
	other := newRegion(evictBytes)
	other.ensure(evictBytes)
	var list []float64
	for i := 0; i < reps; i++ {
		evict(other.base)
		metrics.Read(assists[:])
		ns, cycles := number(assists[0].Value)*1e9, number(assists[1].Value)
		for k := 0; k < garbageBytes/64; k++ {
			garbage = new([64]byte)
		}
		// The last cycle may still be under way.
		time.Sleep(5 * time.Millisecond)
		metrics.Read(assists[:])
		if cycles = number(assists[1].Value) - cycles; cycles > 0 {
			list = append(list, (number(assists[0].Value)*1e9-ns)/cycles)
		}
	}
	garbage = nil
	w.series("assist_ns", list)
}

// garbageBytes is more than an almost empty heap grows by between two cycles.
const garbageBytes = 6 << 20

var garbage *[64]byte

func parkAt() {
	atomic.AddInt64(&parked, 1)
	parkForever()
}

// --- faults ---

// calibrateFaults measures first touches of OS pages, and giving pages back in runs of two lengths: what is not in proportion to
// the length is the call's. While another CPU runs the process, too, a call must also have it drop its translations.
func calibrateFaults(w *writer) {
	const pages = 4096
	var fault, short, long, busy []float64
	var spinning, stop uint32
	// touchAndGiveBack returns nanoseconds per page touched and per call for `run` pages.
	touchAndGiveBack := func(run uintptr) (touch, call float64) {
		base := reserve(pages * osPage)
		start := nanotime()
		for p := base; p < base+pages*osPage; p += osPage {
			*(*byte)(unsafe.Pointer(p)) = 1
		}
		touch = float64(nanotime()-start) / pages
		start = nanotime()
		for p := base; p < base+pages*osPage; p += run * osPage {
			syscall.RawSyscall(syscall.SYS_MADVISE, p, run*osPage, syscall.MADV_DONTNEED)
		}
		call = float64(nanotime()-start) / pages * float64(run)
		syscall.RawSyscall(syscall.SYS_MUNMAP, base, pages*osPage, 0)
		return
	}
	for i := 0; i < 9; i++ {
		touch, call := touchAndGiveBack(scavengeShortRun)
		fault, short = append(fault, touch), append(short, call)
		_, call = touchAndGiveBack(scavengeLongRun)
		long = append(long, call)
	}
	if runtime.GOMAXPROCS(0) > 1 {
		go func() {
			for atomic.StoreUint32(&spinning, 1); atomic.LoadUint32(&stop) == 0; {
			}
		}()
		for atomic.LoadUint32(&spinning) == 0 {
			runtime.Gosched()
		}
	}
	for i := 0; i < 9; i++ {
		_, call := touchAndGiveBack(scavengeShortRun)
		busy = append(busy, call)
	}
	atomic.StoreUint32(&stop, 1)
	w.series("fault_ns", fault)
	w.field("short_run_pages", scavengeShortRun)
	w.field("long_run_pages", scavengeLongRun)
	w.series("short_run_ns", short)
	w.series("long_run_ns", long)
	w.series("busy_short_run_ns", busy)
}

// OS pages given back in one call: a page of the runtime, and what the background scavenger looks for in one go.
const (
	scavengeShortRun = runtimePage / filePage
	scavengeLongRun  = 64 << 10 / filePage
)

// --- goroutines and timers ---

var finished int64

func calibrateSched(w *writer) {
	const batch, reps = 2000, 21
	var create, swap, slack, tick, grow []float64
	procs := runtime.GOMAXPROCS(1)
	for i := 0; i < reps; i++ {
		atomic.StoreInt64(&finished, 0)
		start := nanotime()
		for k := 0; k < batch; k++ {
			starts.push(uint64(roleFinish), 0)
			go run()
			if k%50 == 49 {
				for atomic.LoadInt64(&finished) <= int64(k) {
					runtime.Gosched()
				}
			}
		}
		create = append(create, float64(nanotime()-start)/batch)
	}
	for i := 0; i < reps; i++ {
		// Two goroutines yield to each other: every yield is a switch.
		atomic.StoreInt64(&finished, 0)
		starts.push(uint64(roleYield), 20000)
		go run()
		start := nanotime()
		for atomic.LoadInt64(&finished) == 0 {
			runtime.Gosched()
		}
		swap = append(swap, float64(nanotime()-start)/40000)
	}
	for i := 0; i < reps; i++ {
		// A stack that must grow to 256 KiB, and then again when it has: the difference is copying.
		atomic.StoreInt64(&finished, 0)
		starts.push(uint64(roleGrow), 1<<18)
		go run()
		for atomic.LoadInt64(&finished) == 0 {
			runtime.Gosched()
		}
		grow = append(grow, growNs/growBytes)
		if i%3 == 2 {
			runtime.GC()
		}
	}
	runtime.GOMAXPROCS(procs)
	for i := 0; i < 5; i++ {
		cpu := processCPU()
		for k := 0; k < 60; k++ {
			// A whole millisecond: the poller's timeout has that grain, and what is late is the kernel's doing.
			start := nanotime()
			time.Sleep(time.Millisecond)
			slack = append(slack, float64(nanotime()-start-1_000_000))
		}
		tick = append(tick, (processCPU()-cpu)/60)
	}
	w.series("create_ns", create)
	w.series("switch_ns", swap)
	w.series("grow_ns_per_byte", grow)
	w.series("slack_ns", slack)
	wake, waker := wakeLatency()
	w.series("wake_ns", wake)
	w.series("waker_ns", waker)
	w.series("cold_ns", coldStart())
	w.series("read_quiet_ns", readMemStats())
	for i := 1; i < runtime.GOMAXPROCS(0); i++ {
		starts.push(uint64(roleCompute), 0)
		go run()
	}
	w.series("read_preempting_ns", readMemStats())
	w.series("tick_cpu_ns", tick)
	w.field("frame_bytes", float64(frameBytes))
}

// wakeLatency starts goroutines while the other Ps are idle and this one goes on: how long until another thread runs
// one, and how long the waking thread is busy with it. Starting a goroutine is in both, and next to nothing.
func wakeLatency() (wake, waker []float64) {
	if runtime.GOMAXPROCS(0) == 1 {
		return []float64{0}, []float64{0}
	}
	for i := 0; i < 200; i++ {
		time.Sleep(3 * time.Millisecond)
		atomic.StoreInt64(&wokenAt, 0)
		starts.push(uint64(roleStamp), 0)
		start := nanotime()
		go run()
		waker = append(waker, float64(nanotime()-start))
		for atomic.LoadInt64(&wokenAt) == 0 {
		}
		wake = append(wake, float64(wokenAt-start))
	}
	return wake, waker
}

func readMemStats() (list []float64) {
	for i := 0; i < 200; i++ {
		time.Sleep(3 * time.Millisecond)
		start := nanotime()
		runtime.ReadMemStats(&atEnd)
		list = append(list, float64(nanotime()-start))
	}
	return list
}

// coldStart is what the same few allocations take longer right after a sleep than right after themselves.
func coldStart() (list []float64) {
	for i := 0; i < 200; i++ {
		time.Sleep(time.Millisecond)
		start := nanotime()
		timeObjects(40, 96, nil)
		first := nanotime()
		timeObjects(40, 96, nil)
		list = append(list, float64(first-start-(nanotime()-first)))
	}
	return list
}

var (
	growNs, growBytes float64
	wokenAt           int64
)

func growStack(bytes uint64) {
	start := nanotime()
	descend(int(bytes)/int(frameBytes), roleProbe, nil, 0)
	first := nanotime() - start
	start = nanotime()
	descend(int(bytes)/int(frameBytes), roleProbe, nil, 0)
	growNs = float64(first - (nanotime() - start))
	growBytes = float64(bytes) // 2 KiB + 4 KiB + ... + half of the final size
	atomic.StoreInt64(&finished, 1)
}

// --- the program's own bookkeeping ---

func calibrateProgram(w *writer) {
	const n, reps = 1 << 18, 7
	var hold, drop, owned, bare, request []float64
	s := (*source)(offheapAlloc(unsafe.Sizeof(source{})))
	s.seed = 1
	c := (*config)(offheapAlloc(unsafe.Sizeof(config{})))
	o := &c.object
	o.size, o.constant, o.pool, o.ptrBytes = dist{kind: distConstant, a: 64}, true, -1, 0
	o.constSize = 64
	o.lifetime = untilTime
	o.death = dist{kind: distExponential, a: 500e6}
	s.latency = (*histogram)(offheapAlloc(unsafe.Sizeof(histogram{})))
	s.first, s.current = c, c
	saved := durationNs
	durationNs = 60e9
	s.slots.init(durationNs, 1_000_000, false)
	r := s.newRng()
	base := int64(0)
	for i := 0; i < reps; i++ {
		runtime.GC()
		start := nanotime()
		for k := 0; k < n; k += blockObjects {
			s.allocateBlock(c, blockObjects, base+int64(k), &r)
		}
		hold = append(hold, float64(nanotime()-start)/n)
		base += 6e9
		start = nanotime()
		s.slots.expire(base)
		drop = append(drop, float64(nanotime()-start)/n)
		runtime.GC()
		bare = append(bare, timeObjects(n, 64, nil))
	}
	// A request's objects, and a request without any.
	g := (*shape)(offheapAlloc(unsafe.Sizeof(shape{})))
	*g = *o
	g.lifetime = untilOwner
	g.count = dist{kind: distConstant, a: 1000}
	c.groups, c.ngroups = g, 1
	for i := 0; i < reps; i++ {
		runtime.GC()
		start := nanotime()
		for k := 0; k < 200; k++ {
			serve(s, 0)
		}
		owned = append(owned, float64(nanotime()-start)/200_000)
	}
	c.ngroups = 0
	for i := 0; i < reps; i++ {
		start := nanotime()
		for k := 0; k < 10_000; k++ {
			serve(s, 0)
		}
		request = append(request, float64(nanotime()-start)/10_000)
	}
	// Look-ups that find their entry, in a cache of more entries than the processor's caches hold.
	const keys, lookups = 1 << 18, 100_000
	g.count = dist{kind: distConstant, a: 1}
	c.ngroups = 1
	c.keys, c.skew, c.maxEntries, c.maxBytes = keys, 0.8, keys, math.Inf(1)
	s.initCache()
	for key := int32(0); key < keys; key++ {
		s.insert(c, key, 0, &r)
	}
	popular := newZipf(c.keys, c.skew)
	var lookup []float64
	for i := 0; i < reps; i++ {
		start := nanotime()
		for k := 0; k < lookups; k++ {
			s.lookup(c, &popular, 0, &r)
		}
		lookup = append(lookup, float64(nanotime()-start)/lookups)
	}
	durationNs = saved
	w.series("lookup_ns", lookup)
	w.series("uniform_ns", timeDraws(dist{kind: distUniform, a: 10, b: 20}, &r))
	w.series("exponential_ns", timeDraws(dist{kind: distExponential, a: 10}, &r))
	w.series("lognormal_ns", timeDraws(dist{kind: distLognormal, a: 10, b: 0.5}, &r))
	w.series("power_ns", timeDraws(dist{kind: distWeibull, a: 10, b: 0.5}, &r))
	w.series("hold_ns", hold)
	w.series("drop_ns", drop)
	w.series("bare_ns", bare)
	w.series("owned_ns", owned)
	w.series("request_ns", request)
}

// timeDraws measures one random number of a distribution.
func timeDraws(d dist, r *rng) (list []float64) {
	const draws = 100_000
	for i := 0; i < 7; i++ {
		sum := 0.0
		start := nanotime()
		for k := 0; k < draws; k++ {
			sum += d.sample(r)
		}
		list = append(list, float64(nanotime()-start)/draws)
		drawn = sum
	}
	return list
}

// drawn keeps the compiler from leaving the draws out.
var drawn float64

// --- the process before its workload ---

func calibrateBaseline(w *writer) {
	takeSample()
	row := unsafe.Slice((*float64)(unsafe.Pointer(samples.mem.base)), samples.columns)
	w.field("rss_bytes", row[1])
	w.field("page_faults", row[2])
	for i := range sampled {
		w.field(sampled[i].Name, row[3+i])
	}
	w.field("file_rss_bytes", residentBytes(true))
	w.field("offheap_start", float64(bump.base))
	w.key("smaps")
	w.text(readWhole("/proc/self/smaps"))
	w.key("status")
	w.text(readWhole("/proc/self/status"))
	runtime.ReadMemStats(&atEnd)
	w.key("by_size")
	w.raw("[")
	for _, c := range atEnd.BySize {
		if c.Mallocs > c.Frees {
			w.open("[")
			w.item(float64(c.Size))
			w.item(float64(c.Mallocs - c.Frees))
			w.close("]")
		}
	}
	w.raw("]")
	runtime.GC()
	w.field("threads", float64(countThreads(readWhole("/proc/self/status"))))
	collect(w, 101)
}

func countThreads(status string) int {
	const key = "Threads:\t"
	for i := 0; i+len(key) < len(status); i++ {
		if status[i:i+len(key)] == key {
			n := 0
			for i += len(key); status[i] >= '0' && status[i] <= '9'; i++ {
				n = n*10 + int(status[i]-'0')
			}
			return n
		}
	}
	return 0
}

// readWhole reads a file of /proc into memory outside the Go heap.
func readWhole(path string) string {
	fd, err := syscall.Open(path, syscall.O_RDONLY, 0)
	if err != nil {
		return ""
	}
	mem := newRegion(1 << 20)
	mem.ensure(1 << 20)
	n := 0
	for n < 1<<20-4096 {
		got, err := syscall.Read(fd, unsafe.Slice((*byte)(unsafe.Pointer(mem.base+uintptr(n))), 4096))
		if err != nil || got <= 0 {
			break
		}
		n += got
	}
	syscall.Close(fd)
	return textOf(unsafe.Slice((*byte)(unsafe.Pointer(mem.base)), n))
}
