// A population of goroutines: each grows its stack, allocates what it holds, and parks until it is told to end.

package main

import (
	"math"
	"sync/atomic"
	"unsafe"
)

type member struct {
	spot parkingSpot
	next int32 // in the list of those that end at the same tick, or of free rows
}

type managerState struct {
	members region // rows of member
	used    int32
	free    int32
	ending  region // int32 per tick: first member that ends then
	ticks   int64
	expired int64
	lasting region // int32: members without an end, the newest last
	nlast   int32
}

func (m *managerState) member(i int32) *member {
	return (*member)(unsafe.Pointer(m.members.base + uintptr(i)*unsafe.Sizeof(member{})))
}

func (s *source) initManager() {
	most := 0.0
	for c := s.first; c != nil; c = c.next {
		most = math.Max(most, float64(c.count))
	}
	m := (*managerState)(offheapAlloc(unsafe.Sizeof(managerState{})))
	m.members = newRegion((uintptr(most)*2 + 4096) * unsafe.Sizeof(member{}))
	m.lasting = newRegion((uintptr(most)*2 + 4096) * 4)
	m.ticks = durationNs/s.first.tick + 2
	m.ending = newRegion(uintptr(m.ticks) * 4)
	m.ending.ensure(uintptr(m.ticks) * 4)
	for i := int64(0); i < m.ticks; i++ {
		*m.endingAt(i) = noSlot
	}
	m.free = noSlot
	s.manager = m
}

func (m *managerState) endingAt(tick int64) *int32 {
	return (*int32)(unsafe.Pointer(m.ending.base + uintptr(tick)*4))
}

func (s *source) manage() {
	m := s.manager
	c := s.config(0)
	tick := c.tick
	sleepUntil(c.start)
	for {
		woke := sinceStart()
		c = s.config(woke)
		s.slots.expire(woke)
		for ; m.expired < m.ticks && m.expired*tick <= woke; m.expired++ {
			for i := *m.endingAt(m.expired); i != noSlot; {
				after := m.member(i).next
				s.end(i)
				i = after
			}
		}
		wanted := c.count
		if woke >= c.stop {
			wanted = 0
		}
		for s.alive > wanted && m.nlast > 0 {
			m.nlast--
			s.end(*(*int32)(unsafe.Pointer(m.lasting.base + uintptr(m.nlast)*4)))
		}
		for s.alive < wanted {
			s.startMember(c, tick)
		}
		sleepUntil((woke/tick + 1) * tick)
	}
}

func (s *source) startMember(c *config, tick int64) {
	m := s.manager
	s.slots.mu.lock()
	i := m.free
	if i != noSlot {
		m.free = m.member(i).next
	}
	s.slots.mu.unlock()
	if i == noSlot {
		i = m.used
		m.used++
		m.members.ensure(uintptr(m.used) * unsafe.Sizeof(member{}))
	}
	row := m.member(i)
	*row = member{next: noSlot}
	if c.lifetime == untilTime {
		at := int64(math.Ceil((float64(sinceStart()) + c.life.sample(&s.rng)) / float64(tick)))
		if at < m.expired {
			at = m.expired
		}
		if at < m.ticks {
			row.next = *m.endingAt(at)
			*m.endingAt(at) = i
		}
	} else {
		m.lasting.ensure(uintptr(m.nlast+1) * 4)
		*(*int32)(unsafe.Pointer(m.lasting.base + uintptr(m.nlast)*4)) = i
		m.nlast++
	}
	s.alive++
	start(roleMember, s, uint64(i))
}

func (s *source) end(i int32) {
	s.alive--
	s.completed++
	s.manager.member(i).spot.tell()
}

// member is the body of one goroutine of the population, at the bottom of its stack.
func (s *source) member(i uint64) {
	first := s.populate()
	m := s.manager
	m.member(int32(i)).spot.wait()
	if first != noSlot {
		s.slots.drop(first)
	}
	s.slots.mu.lock()
	m.member(int32(i)).next = m.free
	m.free = int32(i)
	s.slots.mu.unlock()
}

// populate allocates what a member holds; it is apart so that its frame is gone while the member is parked.
//
//go:noinline
func (s *source) populate() int32 {
	c := s.config(sinceStart())
	r := s.newRng()
	first, objects, bytes := int32(noSlot), int64(0), int64(0)
	groups := c.shapes()
	for i := range groups {
		o := &groups[i]
		for n := r.round(o.count.sample(&r)); n > 0; n-- {
			size, t := o.draw(&r)
			slot := s.allocateHeld(o, size, t, &r)
			if o.lifetime == untilOwner {
				*s.slots.link(slot) = first
				first = slot
			}
			objects++
			bytes += int64(size)
		}
	}
	atomic.AddInt64(&s.objects, objects)
	atomic.AddInt64(&s.bytes, bytes)
	return first
}
