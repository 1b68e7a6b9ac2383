// A bounded cache: look-ups by key popularity, a miss makes an entry, eviction makes room. Entries are rows indexed by
// key outside the Go heap; their objects are held by the source's slot table.

package main

import (
	"math"
	"sync/atomic"
	"unsafe"
)

type cacheEntry struct {
	objects      int32 // first slot, noSlot when there are none
	newer, older int32 // LRU neighbours
	place        int32 // index in present, -1 when the key is not cached
	expires      int64
	bytes        float64
}

type cacheState struct {
	entries        region // cacheEntry by key
	present        region // int32: keys cached, in no order
	count          int32
	bytes          float64
	newest, oldest int32
	hits           int64
}

func (k *cacheState) entry(key int32) *cacheEntry {
	return (*cacheEntry)(unsafe.Pointer(k.entries.base + uintptr(key)*unsafe.Sizeof(cacheEntry{})))
}

func (k *cacheState) presentAt(i int32) *int32 {
	return (*int32)(unsafe.Pointer(k.present.base + uintptr(i)*4))
}

func (s *source) initCache() {
	keys := uintptr(0)
	for c := s.first; c != nil; c = c.next {
		keys = uintptr(math.Max(float64(keys), c.keys))
	}
	k := (*cacheState)(offheapAlloc(unsafe.Sizeof(cacheState{})))
	k.entries = newRegion(keys * unsafe.Sizeof(cacheEntry{}))
	k.entries.ensure(keys * unsafe.Sizeof(cacheEntry{}))
	k.present = newRegion(keys * 4)
	k.present.ensure(keys * 4)
	k.newest, k.oldest = -1, -1
	for key := int32(0); key < int32(keys); key++ {
		*k.entry(key) = cacheEntry{objects: noSlot, place: -1}
	}
	s.cache = k
}

func (s *source) runCache() {
	r := s.newRng()
	c := s.config(0)
	k := s.cache
	sleepUntil(c.start)
	keys := newZipf(c.keys, c.skew)
	if c.prefill {
		for key := int32(0); key < int32(c.keys) && !k.full(c); key++ {
			s.insert(c, key, sinceStart(), &r)
		}
	}
	accrued, due := c.start, 0.0
	for {
		woke := sinceStart()
		now := min64(woke, durationNs)
		for {
			until := now
			if c.next != nil && c.next.at < until {
				until = c.next.at
			}
			if end := min64(until, c.stop); end > accrued {
				due += float64(end-accrued) * 1e-9 * c.rate
			}
			if until > accrued {
				accrued = until
			}
			if until == now {
				break
			}
			c = c.next
			keys = newZipf(c.keys, c.skew)
		}
		s.slots.expire(woke)
		for ; due >= 1; due-- {
			s.lookup(c, &keys, sinceStart(), &r)
		}
		sleepUntil((woke/c.tick + 1) * c.tick)
	}
}

func (k *cacheState) full(c *config) bool {
	return float64(k.count) >= c.maxEntries || k.bytes >= c.maxBytes
}

func (s *source) lookup(c *config, keys *zipf, now int64, r *rng) {
	k := s.cache
	s.completed++
	key := keys.sample(r)
	if e := k.entry(key); e.place >= 0 {
		if e.expires > now {
			k.hits++
			k.unlink(key)
			k.linkNewest(key)
			return
		}
		s.evict(key)
	}
	for k.count > 0 && k.full(c) {
		victim := k.oldest
		if c.random {
			victim = *k.presentAt(int32(r.f64() * float64(k.count)))
		}
		s.evict(victim)
	}
	s.insert(c, key, now, r)
}

func (s *source) insert(c *config, key int32, now int64, r *rng) {
	k := s.cache
	e := k.entry(key)
	e.expires = math.MaxInt64
	if c.hasTTL {
		e.expires = now + int64(c.ttl.sample(r))
	}
	e.bytes, e.objects = 0, noSlot
	k.linkNewest(key)
	e.place = k.count
	*k.presentAt(k.count) = key
	k.count++
	groups := c.shapes()
	for i := range groups {
		o := &groups[i]
		for n := r.round(o.count.sample(r)); n > 0; n-- {
			size, t := o.draw(r)
			slot := s.allocateHeld(o, size, t, r)
			if o.lifetime == untilOwner {
				*s.slots.link(slot) = e.objects
				e.objects = slot
			}
			e.bytes += float64(size)
			atomic.AddInt64(&s.objects, 1)
		}
	}
	atomic.AddInt64(&s.bytes, int64(e.bytes))
	k.bytes += e.bytes
}

func (s *source) evict(key int32) {
	k := s.cache
	e := k.entry(key)
	if e.objects != noSlot {
		s.slots.drop(e.objects)
		e.objects = noSlot
	}
	k.bytes -= e.bytes
	k.unlink(key)
	k.count--
	last := *k.presentAt(k.count)
	*k.presentAt(e.place) = last
	k.entry(last).place = e.place
	e.place = -1
}

func (k *cacheState) linkNewest(key int32) {
	e := k.entry(key)
	e.newer, e.older = -1, k.newest
	if k.newest >= 0 {
		k.entry(k.newest).newer = key
	} else {
		k.oldest = key
	}
	k.newest = key
}

func (k *cacheState) unlink(key int32) {
	e := k.entry(key)
	if e.newer >= 0 {
		k.entry(e.newer).older = e.older
	} else {
		k.newest = e.older
	}
	if e.older >= 0 {
		k.entry(e.older).newer = e.newer
	} else {
		k.oldest = e.newer
	}
}
