// What a run leaves behind: a row of statistics per sample interval and one per collection, kept outside the Go heap and
// written as JSON once the run is over.
//
// Samples read runtime/metrics, which neither stops the world nor flushes caches. Resident memory and page faults are
// the kernel's, less the oracle's own memory outside the Go heap.

package main

import (
	"math"
	"runtime"
	"runtime/metrics"
	"strconv"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// sampled are the metrics of a row, after t_ns, rss_bytes and page_faults. Names a Go release does not have read as null.
var sampled = [...]metrics.Sample{
	{Name: "/memory/classes/heap/objects:bytes"},
	{Name: "/memory/classes/heap/unused:bytes"},
	{Name: "/memory/classes/heap/free:bytes"},
	{Name: "/memory/classes/heap/released:bytes"},
	{Name: "/memory/classes/heap/stacks:bytes"},
	{Name: "/memory/classes/os-stacks:bytes"},
	{Name: "/memory/classes/metadata/mspan/inuse:bytes"},
	{Name: "/memory/classes/metadata/mspan/free:bytes"},
	{Name: "/memory/classes/metadata/mcache/inuse:bytes"},
	{Name: "/memory/classes/metadata/mcache/free:bytes"},
	{Name: "/memory/classes/metadata/other:bytes"},
	{Name: "/memory/classes/profiling/buckets:bytes"},
	{Name: "/memory/classes/other:bytes"},
	{Name: "/memory/classes/total:bytes"},
	{Name: "/gc/heap/objects:objects"},
	{Name: "/gc/heap/allocs:bytes"},
	{Name: "/gc/heap/allocs:objects"},
	{Name: "/gc/heap/tiny/allocs:objects"},
	{Name: "/gc/heap/goal:bytes"},
	{Name: "/gc/heap/live:bytes"},
	{Name: "/gc/cycles/total:gc-cycles"},
	{Name: "/sched/goroutines:goroutines"},
	{Name: "/cpu/classes/gc/mark/assist:cpu-seconds"},
	{Name: "/cpu/classes/gc/mark/dedicated:cpu-seconds"},
	{Name: "/cpu/classes/gc/mark/idle:cpu-seconds"},
	{Name: "/cpu/classes/gc/pause:cpu-seconds"},
	{Name: "/cpu/classes/scavenge/assist:cpu-seconds"},
	{Name: "/cpu/classes/scavenge/background:cpu-seconds"},
	{Name: "/gc/limiter/last-enabled:gc-cycle"},
	{Name: "/gc/gomemlimit:bytes"},
}

// perCycle are the metrics read after each collection, after t_ns.
var perCycle = [...]metrics.Sample{
	{Name: "/gc/cycles/total:gc-cycles"},
	{Name: "/gc/heap/live:bytes"},
	{Name: "/gc/heap/goal:bytes"},
	{Name: "/gc/scan/heap:bytes"},
	{Name: "/gc/scan/stack:bytes"},
	{Name: "/gc/scan/globals:bytes"},
}

const (
	sampleColumns = 3 + len(sampled)
	cycleColumns  = 1 + len(perCycle)
	maxRows       = 4 << 20
)

type table struct {
	mem     region
	columns uintptr
	rows    uintptr
}

func (t *table) row() []float64 {
	size := t.columns * 8
	t.mem.ensure((t.rows + 1) * size)
	row := unsafe.Slice((*float64)(unsafe.Pointer(t.mem.base+t.rows*size)), t.columns)
	t.rows++
	return row
}

var (
	samples = table{columns: uintptr(sampleColumns)}
	cycles  = table{columns: uintptr(cycleColumns)}
	statm   int
	usage   syscall.Rusage
	atEnd   runtime.MemStats
)

func initRecording(rows uintptr) {
	fd, err := syscall.Open("/proc/self/statm", syscall.O_RDONLY, 0)
	if err != nil {
		fail("cannot read /proc/self/statm")
	}
	statm = fd
	samples.mem = newRegion((rows + 16) * samples.columns * 8)
	samples.mem.ensure((rows + 16) * samples.columns * 8)
	cycles.mem = newRegion(maxRows * cycles.columns * 8)
	cycles.mem.ensure(4096)
	// The first Read builds the table of all metrics on the heap; it belongs to the program's baseline.
	metrics.Read(sampled[:])
	metrics.Read(perCycle[:])
	watchCycles()
}

func number(v metrics.Value) float64 {
	switch v.Kind() {
	case metrics.KindUint64:
		return float64(v.Uint64())
	case metrics.KindFloat64:
		return v.Float64()
	}
	return math.NaN()
}

var statmText [256]byte

// residentBytes is the process's resident memory, or with shared set its file-backed part, from /proc/self/statm.
func residentBytes(shared bool) float64 {
	n, _ := syscall.Pread(statm, statmText[:], 0)
	field, value := 0, 0.0
	for _, c := range statmText[:n] {
		if c == ' ' {
			if field == 1 && !shared || field == 2 && shared {
				return value * float64(osPage)
			}
			field++
			value = 0
		} else if c >= '0' && c <= '9' {
			value = value*10 + float64(c-'0')
		}
	}
	return 0
}

func pageFaults() float64 {
	syscall.Getrusage(0, &usage)
	return float64(usage.Minflt - atomic.LoadInt64(&offheapFaults))
}

func takeSample() {
	metrics.Read(sampled[:])
	row := samples.row()
	row[0] = float64(sinceStart())
	row[1] = residentBytes(false) - float64(atomic.LoadInt64(&offheapBytes))
	row[2] = pageFaults()
	for i := range sampled {
		row[3+i] = number(sampled[i].Value)
	}
	if streaming {
		streamRow(row)
	}
}

// streaming sends each row at once, as a line of numbers, because the process may be killed before it can report: inside a
// control group with a memory limit. The last number is the oracle's own memory outside the heap, by which the limit is to be raised.
var (
	streaming    bool
	streamBuffer []byte
)

const streamBytes = 16 << 10

func initStream() {
	streamBuffer = unsafe.Slice((*byte)(offheapAlloc(streamBytes)), streamBytes)
	w := writer{b: streamBuffer[:0]}
	w.raw(`{"columns":[`)
	for _, name := range sampleNames() {
		w.comma()
		w.text(name)
	}
	w.raw("]")
	w.key("go_version")
	w.text(runtime.Version())
	w.flag("real_time", realTime)
	w.raw("}\n")
	w.flush()
}

func streamRow(row []float64) {
	w := writer{b: streamBuffer[:0]}
	w.raw("[")
	for _, x := range row {
		w.item(x)
	}
	w.item(float64(atomic.LoadInt64(&offheapBytes)))
	w.raw("]\n")
	w.flush()
}

func sampleNames() []string {
	return names([]string{"t_ns", "rss_bytes", "page_faults"}, sampled[:])
}

// A sentinel is garbage at every collection: its finalizer runs shortly after one has marked, notes what it found and
// makes the sentinel garbage again.
type sentinel struct{ self *sentinel }

var watching uint32

func watchCycles() {
	s := new(sentinel)
	runtime.SetFinalizer(s, afterCycle)
}

func afterCycle(s *sentinel) {
	if atomic.LoadUint32(&watching) == 1 && cycles.rows < maxRows {
		metrics.Read(perCycle[:])
		row := cycles.row()
		row[0] = float64(sinceStart())
		for i := range perCycle {
			row[1+i] = number(perCycle[i].Value)
		}
	}
	runtime.SetFinalizer(s, afterCycle)
}

// --- the result ---

type writer struct{ b []byte }

func (w *writer) raw(s string)   { w.b = append(w.b, s...) }
func (w *writer) key(s string)   { w.comma(); w.raw(`"` + s + `":`) }
func (w *writer) text(s string)  { w.b = strconv.AppendQuote(w.b, s) }
func (w *writer) open(c string)  { w.comma(); w.raw(c) }
func (w *writer) close(c string) { w.raw(c) }
func (w *writer) field(name string, x float64) {
	w.key(name)
	w.num(x)
}

func (w *writer) flag(name string, on bool) {
	w.key(name)
	if on {
		w.raw("true")
	} else {
		w.raw("false")
	}
}

func (w *writer) num(x float64) {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		w.raw("null")
	} else {
		w.b = strconv.AppendFloat(w.b, x, 'g', -1, 64)
	}
}

func (w *writer) item(x float64) { w.comma(); w.num(x) }

func (w *writer) comma() {
	if n := len(w.b); n > 0 {
		switch w.b[n-1] {
		case '{', '[', ':', ',':
		default:
			w.raw(",")
		}
	}
}

func (w *writer) table(name string, t *table, columns []string) {
	w.key(name)
	w.raw(`{"columns":[`)
	for _, c := range columns {
		w.comma()
		w.text(c)
	}
	w.raw(`],"rows":[`)
	for i := uintptr(0); i < t.rows; i++ {
		w.open("[")
		for _, x := range unsafe.Slice((*float64)(unsafe.Pointer(t.mem.base+i*t.columns*8)), t.columns) {
			w.item(x)
		}
		w.close("]")
	}
	w.raw("]}")
}

func (w *writer) flush() {
	for len(w.b) > 0 {
		n, err := syscall.Write(1, w.b)
		if err != nil && err != syscall.EINTR && err != syscall.EAGAIN {
			fail("cannot write the result")
		}
		if n > 0 {
			w.b = w.b[n:]
		}
	}
}

func (w *writer) latency(name string, h *histogram) {
	if h.count == 0 {
		return
	}
	w.key(name)
	w.raw("{")
	w.field("mean", float64(h.sumNs)/float64(h.count))
	w.field("p50", h.percentile(0.5))
	w.field("p90", h.percentile(0.9))
	w.field("p95", h.percentile(0.95))
	w.field("p99", h.percentile(0.99))
	w.field("p999", h.percentile(0.999))
	w.field("max", float64(h.maxNs))
	w.raw("}")
}

func names(first []string, list []metrics.Sample) []string {
	for i := range list {
		first = append(first, list[i].Name)
	}
	return first
}

// report writes everything the run recorded. The run is over: from here on the heap may be used.
func report() {
	watching = 0
	runtime.ReadMemStats(&atEnd)
	syscall.Getrusage(0, &usage)
	ownBytes, ownFaults := offheapBytes, offheapFaults
	var w writer
	w.raw("{")
	w.key("go_version")
	w.text(runtime.Version())
	w.field("gomaxprocs", float64(runtime.GOMAXPROCS(0)))
	w.flag("real_time", realTime)
	w.field("duration_ns", float64(durationNs))
	w.field("offheap_bytes", float64(ownBytes))
	w.field("offheap_faults", float64(ownFaults))
	w.field("spins_per_ns", spinsPerNs)
	w.field("frame_bytes", float64(frameBytes))
	w.field("cpu_user_seconds", float64(usage.Utime.Sec)+float64(usage.Utime.Usec)*1e-6)
	w.field("cpu_system_seconds", float64(usage.Stime.Sec)+float64(usage.Stime.Usec)*1e-6)
	w.field("slot_chunks", float64(chunkCount))
	w.key("memstats")
	w.raw("{")
	w.field("Sys", float64(atEnd.Sys))
	w.field("HeapSys", float64(atEnd.HeapSys))
	w.field("HeapInuse", float64(atEnd.HeapInuse))
	w.field("HeapIdle", float64(atEnd.HeapIdle))
	w.field("HeapReleased", float64(atEnd.HeapReleased))
	w.field("HeapAlloc", float64(atEnd.HeapAlloc))
	w.field("HeapObjects", float64(atEnd.HeapObjects))
	w.field("TotalAlloc", float64(atEnd.TotalAlloc))
	w.field("Mallocs", float64(atEnd.Mallocs))
	w.field("Frees", float64(atEnd.Frees))
	w.field("StackInuse", float64(atEnd.StackInuse))
	w.field("StackSys", float64(atEnd.StackSys))
	w.field("MSpanInuse", float64(atEnd.MSpanInuse))
	w.field("MSpanSys", float64(atEnd.MSpanSys))
	w.field("MCacheInuse", float64(atEnd.MCacheInuse))
	w.field("MCacheSys", float64(atEnd.MCacheSys))
	w.field("BuckHashSys", float64(atEnd.BuckHashSys))
	w.field("GCSys", float64(atEnd.GCSys))
	w.field("OtherSys", float64(atEnd.OtherSys))
	w.field("NextGC", float64(atEnd.NextGC))
	w.field("NumGC", float64(atEnd.NumGC))
	w.field("NumForcedGC", float64(atEnd.NumForcedGC))
	w.field("PauseTotalNs", float64(atEnd.PauseTotalNs))
	w.field("GCCPUFraction", atEnd.GCCPUFraction)
	w.raw("}")
	w.key("pauses_ns")
	w.raw("[")
	n := atEnd.NumGC
	if n > uint32(len(atEnd.PauseNs)) {
		n = uint32(len(atEnd.PauseNs))
	}
	for i := uint32(0); i < n; i++ {
		w.item(float64(atEnd.PauseNs[(atEnd.NumGC-n+i)%uint32(len(atEnd.PauseNs))]))
	}
	w.raw("]")
	w.key("sources")
	w.raw("[")
	for _, s := range sources[:nsources] {
		w.open("{")
		w.key("name")
		w.text(s.name)
		w.field("objects", float64(atomic.LoadInt64(&s.objects)))
		w.field("bytes", float64(atomic.LoadInt64(&s.bytes)))
		w.field("completed", float64(atomic.LoadInt64(&s.completed)))
		w.field("held", float64(s.slots.live))
		w.field("inflight", float64(atomic.LoadInt64(&s.inflight)))
		w.field("alive", float64(atomic.LoadInt64(&s.alive)))
		w.field("queued", float64(s.queue.tail-s.queue.head))
		if s.cache != nil {
			w.field("hits", float64(s.cache.hits))
			w.field("entries", float64(s.cache.count))
		}
		w.latency("latency_ns", s.latency)
		w.close("}")
	}
	w.raw("]")
	w.latency("read_mem_stats_ns", &readLatency)
	w.table("samples", &samples, sampleNames())
	w.table("cycles", &cycles, names([]string{"t_ns"}, perCycle[:]))
	w.raw("}\n")
	w.flush()
}
