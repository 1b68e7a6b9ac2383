// Sources: one per workload entry, compiled from the scenario into records outside the Go heap.

package main

import (
	"math"
	"sync/atomic"
	"unsafe"
)

type sourceKind uint8

const (
	kindStream sourceKind = iota
	kindLeak
	kindService
	kindBatch
	kindCache
	kindGoroutines
)

// config is an entry's settings; a phase replaces the whole of it.
type config struct {
	at          int64 // in force from
	start, stop int64
	// stream, leak
	rate       float64
	tick       int64
	object     shape
	goroutines int
	// service, batch
	arrivals    arrivals
	cpu, io     dist
	pause       dist
	stack       dist
	concurrency int64
	workers     int64
	items       int64
	arenaBlock  uintptr
	groups      *shape
	ngroups     int
	// cache
	keys, skew           float64
	maxEntries, maxBytes float64
	ttl                  dist
	hasTTL, random       bool
	prefill              bool
	// goroutines
	count    int64
	lifetime lifetimeKind
	life     dist
	next     *config
}

type source struct {
	kind      sourceKind
	name      string // in the scenario's text, which is off-heap
	first     *config
	current   *config // atomic
	slots     slotTable
	arenaPool int
	rng       rng // the dispatcher's or manager's own; goroutines have their own
	seed      uint64
	draws     uint64 // atomic: goroutines seeded so far

	// counters (atomic where several goroutines of the source add)
	objects, bytes    int64
	completed         int64
	inflight, started int64
	taken             int64 // batch: items claimed
	alive             int64 // batch: workers
	queue             fifo  // service: arrivals waiting for a place
	latency           *histogram
	cache             *cacheState
	manager           *managerState
}

const maxSources = 64

var (
	sources  [maxSources]*source
	nsources int
)

func addSource(entry value, scenario value, index int, seed uint64) {
	if nsources == maxSources {
		fail("more than 64 workload entries")
	}
	s := (*source)(offheapAlloc(unsafe.Sizeof(source{})))
	sources[nsources] = s
	nsources++
	kind := entry.get("kind")
	switch {
	case kind.is("stream"):
		s.kind = kindStream
	case kind.is("leak"):
		s.kind = kindLeak
	case kind.is("service"):
		s.kind = kindService
	case kind.is("batch"):
		s.kind = kindBatch
	case kind.is("cache"):
		s.kind = kindCache
	case kind.is("goroutines"):
		s.kind = kindGoroutines
	default:
		fail("unknown kind of workload")
	}
	s.name = entry.get("name").text()
	s.seed = seed ^ uint64(index+1)*0xd1342543de82ef95
	s.rng.seed(s.seed)
	s.arenaPool = newPool()
	s.first = compileConfig(s, entry, nil)
	s.current = s.first
	last := s.first
	phases := scenario.get("phases").items()
	for phase, ok := phases.next(); ok; phase, ok = phases.next() {
		changes := phase.get("changes").items()
		for change, ok := changes.next(); ok; change, ok = changes.next() {
			if int(change.get("index").number(-1)) != index {
				continue
			}
			c := compileConfig(s, change.get("entry"), last)
			c.at = int64(phase.get("at").number(0))
			last.next = c
			last = c
		}
	}
	bucket := s.first.tick
	shared := s.first.goroutines > 1
	if s.kind == kindService || s.kind == kindBatch || s.kind == kindGoroutines {
		bucket, shared = 1_000_000, true
	}
	if bucket < durationNs/(1<<22) {
		bucket = durationNs / (1 << 22)
	}
	s.slots.init(durationNs, bucket, shared)
	s.latency = (*histogram)(offheapAlloc(unsafe.Sizeof(histogram{})))
	s.queue.init(1024)
}

func compileConfig(s *source, v value, before *config) *config {
	c := (*config)(offheapAlloc(unsafe.Sizeof(config{})))
	c.start = int64(v.get("start").number(0))
	c.stop = int64(v.get("stop").number(1 << 62))
	c.tick = int64(math.Max(1000, v.get("tick").number(1e6)))
	c.goroutines = int(v.get("goroutines").number(1))
	optional := func(key string) dist {
		if x := v.get(key); x.exists() {
			return compileDist(x)
		}
		return dist{}
	}
	switch s.kind {
	case kindStream, kindLeak:
		c.object = compileShape(v)
		if rate := v.get("rate"); rate.exists() {
			c.rate = rate.number(0)
		} else {
			c.rate = v.get("byte_rate").number(0) / c.object.size.mean()
		}
		return c
	case kindService:
		c.arrivals = compileArrivals(v.get("arrivals"))
		c.concurrency = int64(v.get("concurrency").number(1 << 40))
	case kindBatch:
		c.workers = int64(v.get("workers").number(1))
		c.items = int64(v.get("items").number(1 << 50))
		c.pause = optional("pause")
	case kindCache:
		c.rate = v.get("requests").number(0)
		c.keys, c.skew = v.get("keys").number(1), v.get("skew").number(0)
		c.maxEntries = v.get("max_entries").number(math.Inf(1))
		c.maxBytes = v.get("max_bytes").number(math.Inf(1))
		c.random = v.get("replacement").is("random")
		c.prefill = v.get("prefill").bool()
		if ttl := v.get("ttl"); ttl.exists() {
			c.ttl, c.hasTTL = compileDist(ttl), true
		}
	case kindGoroutines:
		c.count = int64(v.get("count").number(0))
		if l := v.get("lifetime"); l.get("until").is("time") {
			c.lifetime, c.life = untilTime, compileDist(l.get("dist"))
		} else {
			c.lifetime = untilForever
		}
	}
	c.cpu, c.io, c.stack = optional("cpu"), optional("io"), optional("stack")
	c.arenaBlock = uintptr(v.get("arena_block").number(65536))
	list := v.get("objects")
	c.ngroups = list.count()
	if c.ngroups > maxGroups {
		fail("more than 32 groups of objects in one entry")
	}
	if c.ngroups > 0 {
		c.groups = (*shape)(offheapAlloc(uintptr(c.ngroups) * unsafe.Sizeof(shape{})))
	}
	it := list.items()
	for i := range c.shapes() {
		g, _ := it.next()
		shape := compileShape(g)
		if before != nil && i < before.ngroups && before.shapes()[i].pool >= 0 && shape.pool >= 0 {
			shape.pool = before.shapes()[i].pool // pools outlive a phase's changes
		}
		c.shapes()[i] = shape
	}
	return c
}

const maxGroups = 32

func (c *config) shapes() []shape { return unsafe.Slice(c.groups, c.ngroups) }

// config returns the settings in force at a time of the run.
func (s *source) config(now int64) *config {
	p := (*unsafe.Pointer)(unsafe.Pointer(&s.current))
	c := (*config)(atomic.LoadPointer(p))
	for c.next != nil && c.next.at <= now {
		atomic.CompareAndSwapPointer(p, unsafe.Pointer(c), unsafe.Pointer(c.next))
		c = (*config)(atomic.LoadPointer(p))
	}
	return c
}

// newRng seeds the generator of one goroutine of the source.
func (s *source) newRng() rng {
	var r rng
	r.seed(s.seed + 0x9e3779b97f4a7c15*atomic.AddUint64(&s.draws, 1))
	return r
}

// histogram of latencies: 16 buckets per power of two of microseconds.
type histogram struct {
	count, sumNs, maxNs int64
	buckets             [40 * 16]int64
}

func (h *histogram) record(ns int64) {
	if ns < 0 {
		ns = 0
	}
	atomic.AddInt64(&h.count, 1)
	atomic.AddInt64(&h.sumNs, ns)
	for {
		max := atomic.LoadInt64(&h.maxNs)
		if ns <= max || atomic.CompareAndSwapInt64(&h.maxNs, max, ns) {
			break
		}
	}
	exp := math.Log2(math.Max(1, float64(ns)/1000))
	i := int(exp * 16)
	if i >= len(h.buckets) {
		i = len(h.buckets) - 1
	}
	atomic.AddInt64(&h.buckets[i], 1)
}

func (h *histogram) percentile(q float64) float64 {
	rank, seen := int64(math.Ceil(q*float64(h.count))), int64(0)
	for i := range h.buckets {
		if seen += h.buckets[i]; seen >= rank && seen > 0 {
			return math.Min(float64(h.maxNs), 1000*math.Exp2((float64(i)+0.5)/16))
		}
	}
	return 0
}
