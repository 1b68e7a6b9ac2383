// Requests of services and items of batch workers: allocate, compute, wait, allocate, compute, drop everything.

package main

import (
	"math"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"
)

const (
	arenaAlign     = 64
	arenaMaxObject = 1024
)

// serve is the body of one request or item: what its goroutine does at the bottom of its stack.
func serve(s *source, arrival int64) {
	c := s.config(sinceStart())
	r := s.newRng()
	cpu, io := c.cpu.sample(&r), c.io.sample(&r)
	var counts [maxGroups]int32
	n := uintptr(0)
	groups := c.shapes()
	for i := range groups {
		counts[i] = int32(r.round(groups[i].count.sample(&r)))
		n += uintptr(counts[i])
	}
	// The owner table is one more object of the request. Objects that others hold, or that lie in the arena, leave
	// their entry nil.
	var owner, block unsafe.Pointer
	if n > 0 {
		owner = mallocgc(n*8, unsafe.Pointer(pointerType), true)
	}
	at, used, objects, bytes := owner, uintptr(0), int64(0), int64(0)
	for half := 0; half < 2; half++ {
		for i := range groups {
			o := &groups[i]
			for k := halfOf(counts[i], half); k > 0; k-- {
				size, t := o.draw(&r)
				objects++
				bytes += int64(size)
				switch {
				case o.lifetime != untilOwner:
					s.allocateHeld(o, size, t, &r)
				case o.allocator == fromHeap:
					*(*unsafe.Pointer)(at) = newObject(size, t)
				default:
					if o.allocator == fromArena && size <= arenaMaxObject {
						if block == nil {
							if block = poolGet(s.arenaPool); block == nil {
								block = mallocgc(c.arenaBlock, nil, true)
							}
						}
						if from := (used + arenaAlign - 1) &^ (arenaAlign - 1); from+size <= c.arenaBlock {
							used = from + size
							writeObject(unsafe.Add(block, from), size, t)
							break
						}
					}
					p := poolGet(o.pool)
					if p == nil {
						p = newObject(size, t)
					}
					*(*unsafe.Pointer)(at) = p
				}
				at = next(at, owner, n)
			}
		}
		compute(cpu / 2)
		if half == 0 && io > 0 {
			time.Sleep(time.Duration(io))
		}
	}
	at = owner
	for half := 0; half < 2; half++ {
		for i := range groups {
			for k := halfOf(counts[i], half); k > 0; k-- {
				if p := *(*unsafe.Pointer)(at); groups[i].pool >= 0 && p != nil {
					poolPut(groups[i].pool, p)
				}
				at = next(at, owner, n)
			}
		}
	}
	if block != nil {
		poolPut(s.arenaPool, block)
	}
	runtime.KeepAlive(owner)
	atomic.AddInt64(&s.objects, objects)
	atomic.AddInt64(&s.bytes, bytes)
	atomic.AddInt64(&s.completed, 1)
	s.latency.record(sinceStart() - arrival)
}

// next is the entry after `at`. It stays on the last entry, as a pointer past a table would keep the next object alive.
func next(at, owner unsafe.Pointer, n uintptr) unsafe.Pointer {
	if uintptr(at)-uintptr(owner) < (n-1)*8 {
		return unsafe.Add(at, 8)
	}
	return at
}

func halfOf(count int32, half int) int32 {
	if half == 0 {
		return (count + 1) / 2
	}
	return count / 2
}

// allocateHeld allocates an object that lives by time or forever, so the source's slot table holds it.
func (s *source) allocateHeld(o *shape, size uintptr, t *typeDesc, r *rng) int32 {
	slot := s.slots.take(1)
	*s.slots.slot(slot) = newObject(size, t)
	if o.lifetime == untilTime {
		s.slots.schedule(slot, float64(sinceStart())+o.death.sample(r))
	}
	return slot
}

// --- services ---

const dispatchTickNs = 1_000_000

func (c *config) hasTimed() bool {
	for i := range c.shapes() {
		if c.shapes()[i].lifetime == untilTime {
			return true
		}
	}
	return false
}

// dispatch is a service's dispatcher: once a millisecond it starts a goroutine for every request that has arrived.
func (s *source) dispatch() {
	for c := s.first; c != nil; c = c.next {
		timed := s.first.hasTimed()
		for b := s.first; b != c; b = b.next {
			timed = timed || b.next.hasTimed()
		}
		from := c.start
		if c.at > from {
			from = c.at
		}
		until := min64(c.stop, durationNs)
		if c.next != nil && c.next.at < until {
			until = c.next.at
		}
		a := &c.arrivals
		a.start(float64(from), &s.rng)
		end := durationNs
		if c.next != nil {
			end = c.next.at
		}
		for arrival := a.next(float64(until), &s.rng); ; {
			now := sinceStart()
			for arrival < float64(until) && arrival <= float64(now) {
				s.admit(c, int64(arrival))
				arrival = a.next(float64(until), &s.rng)
			}
			s.slots.expire(now)
			if now >= end && arrival >= float64(until) {
				break
			}
			wake := (now/dispatchTickNs + 1) * dispatchTickNs
			if !timed {
				if due := int64(math.Ceil(arrival/dispatchTickNs)) * dispatchTickNs; due > wake {
					wake = due
				}
				if arrival >= float64(until) {
					wake = end
				}
			}
			if wake > end && end > now {
				wake = end
			}
			sleepUntil(wake)
		}
	}
}

// admit starts a request, or queues it when as many as allowed are being served.
func (s *source) admit(c *config, arrival int64) {
	s.slots.mu.lock()
	full := s.inflight >= c.concurrency
	if !full {
		s.inflight++
	}
	s.slots.mu.unlock()
	if full {
		s.queue.push(uint64(arrival), 0)
	} else {
		start(roleRequest, s, uint64(arrival))
	}
}

func (s *source) request(arrival uint64) {
	c := s.config(sinceStart())
	withStack(c.memberStack(s), roleRequest, s, arrival)
	s.slots.mu.lock()
	over := s.inflight > c.concurrency
	s.slots.mu.unlock()
	if !over {
		if waiting, _, ok := s.queue.pop(); ok {
			start(roleRequest, s, waiting)
			return
		}
	}
	atomic.AddInt64(&s.inflight, -1)
}

// memberStack draws how deep the stack of a goroutine of this source shall be.
func (c *config) memberStack(s *source) float64 {
	if c.stack.kind == distConstant {
		return c.stack.a
	}
	r := s.newRng()
	return c.stack.sample(&r)
}

// --- batch ---

// startWorkers keeps as many workers running as the settings ask for; workers above it end by themselves.
func (s *source) startWorkers() {
	for c := s.first; c != nil; c = c.next {
		if c.at > c.start {
			sleepUntil(c.at)
		} else {
			sleepUntil(c.start)
		}
		for atomic.LoadInt64(&s.alive) < c.workers {
			if !s.claim(c) {
				break
			}
			atomic.AddInt64(&s.alive, 1)
			start(roleWorker, s, 0)
		}
		for c.hasTimed() && sinceStart() < durationNs && (c.next == nil || sinceStart() < c.next.at) {
			s.slots.expire(sinceStart())
			sleepUntil((sinceStart()/dispatchTickNs + 1) * dispatchTickNs)
		}
	}
}

// claim takes an item to do; false when there is none left.
func (s *source) claim(c *config) bool {
	if sinceStart() >= c.stop {
		return false
	}
	if atomic.AddInt64(&s.taken, 1) > c.items {
		atomic.AddInt64(&s.taken, -1)
		return false
	}
	return true
}

func (s *source) worker() {
	r := s.newRng()
	for {
		c := s.config(sinceStart())
		withStack(c.memberStack(s), roleWorker, s, uint64(sinceStart()))
		c = s.config(sinceStart())
		if atomic.LoadInt64(&s.alive) > c.workers || !s.claim(c) {
			atomic.AddInt64(&s.alive, -1)
			return
		}
		if pause := c.pause.sample(&r); pause > 0 {
			time.Sleep(time.Duration(pause))
		}
	}
}
