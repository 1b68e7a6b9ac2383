// Streams and leaks: goroutines that wake once a tick, drop what has died and allocate what has come due.

package main

import (
	"math"
	"sync/atomic"
)

// blockObjects is how many slots are taken and deaths are drawn at once.
const blockObjects = 512

func (s *source) stream() {
	r := s.newRng()
	c := s.config(0)
	sleepUntil(c.start)
	accrued, due := c.start, 0.0
	share := 1 / float64(s.first.goroutines)
	for {
		woke := sinceStart()
		now := min64(woke, durationNs)
		// What came due under the settings before the last phase counts at their rate.
		for {
			until := now
			if c.next != nil && c.next.at < until {
				until = c.next.at
			}
			if end := min64(until, c.stop); end > accrued {
				due += float64(end-accrued) * 1e-9 * c.rate * share
			}
			if until > accrued {
				accrued = until
			}
			if until == now {
				break
			}
			c = c.next
		}
		s.slots.expire(woke)
		for due >= 1 {
			n := int(math.Min(blockObjects, math.Floor(due)))
			s.allocateBlock(c, n, sinceStart(), &r)
			due -= float64(n)
		}
		sleepUntil((woke/c.tick + 1) * c.tick)
	}
}

func (s *source) allocateBlock(c *config, n int, now int64, r *rng) {
	o := &c.object
	bytes := int64(0)
	for slot := s.slots.take(n); slot != noSlot; {
		next := *s.slots.link(slot)
		size, t := o.draw(r)
		*s.slots.slot(slot) = newObject(size, t)
		bytes += int64(size)
		if o.lifetime == untilTime {
			s.slots.schedule(slot, float64(now)+o.death.sample(r))
		}
		slot = next
	}
	atomic.AddInt64(&s.objects, int64(n))
	atomic.AddInt64(&s.bytes, bytes)
}

func min64(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}
