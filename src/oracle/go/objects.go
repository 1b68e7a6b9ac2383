// Objects with exactly the sizes and pointer parts a scenario asks for, made by the runtime's own allocator.
//
// mallocgc takes a type descriptor; of it, the allocator and the collector read the size, the length of the pointer part
// and its bitmap. Descriptors are built by hand outside the Go heap, so a scenario with a thousand different sizes costs
// the heap under test nothing (reflect.StructOf would put every type there).
//
// Follows internal/abi.Type, whose leading fields are the same from Go 1.14 (as runtime._type) to 1.26.

package main

import (
	"math"
	"sync"
	"sync/atomic"
	"unsafe"
)

//go:linkname mallocgc runtime.mallocgc
func mallocgc(size uintptr, typ unsafe.Pointer, needzero bool) unsafe.Pointer

//go:linkname nanotime runtime.nanotime
func nanotime() int64

const (
	kindStruct  = 25
	runtimePage = 8192
	maxObject   = 16<<30 - runtimePage
)

type typeDesc struct {
	size, ptrBytes                 uintptr
	hash                           uint32
	tflag, align, fieldAlign, kind uint8
	equal                          uintptr
	gcdata                         uintptr
	str, ptrToThis                 int32
}

var types struct {
	mu    spinlock
	table *[1 << 14]*typeDesc
	used  int
}

// typeOf returns the descriptor of objects of size bytes whose first ptrBytes hold pointers.
func typeOf(size, ptrBytes uintptr) *typeDesc {
	h := (uint64(size)<<32 | uint64(ptrBytes)) * 0x9e3779b97f4a7c15
	i := h >> 50
	for {
		t := (*typeDesc)(atomic.LoadPointer((*unsafe.Pointer)(unsafe.Pointer(&types.table[i]))))
		if t == nil {
			break
		}
		if t.size == size && t.ptrBytes == ptrBytes {
			return t
		}
		i = (i + 1) & (1<<14 - 1)
	}
	types.mu.lock()
	defer types.mu.unlock()
	for types.table[i] != nil {
		if t := types.table[i]; t.size == size && t.ptrBytes == ptrBytes {
			return t
		}
		i = (i + 1) & (1<<14 - 1)
	}
	if types.used++; types.used > 12000 {
		fail("more than 12000 different sizes of pointerful objects")
	}
	// The bitmap is read a word at a time, and bits past the pointer part must be zero.
	words := ptrBytes / 8
	mask := offheapAlloc((words+63)/64*8 + 8)
	for w := uintptr(0); w < words; w++ {
		*(*uint8)(unsafe.Add(mask, w/8)) |= 1 << (w % 8)
	}
	t := (*typeDesc)(offheapAlloc(unsafe.Sizeof(typeDesc{})))
	*t = typeDesc{size: size, ptrBytes: ptrBytes, align: 8, fieldAlign: 8, kind: kindStruct, gcdata: uintptr(mask)}
	atomic.StorePointer((*unsafe.Pointer)(unsafe.Pointer(&types.table[i])), unsafe.Pointer(t))
	return t
}

// pointerType is one pointer; tables of n pointers are allocated as n of them.
var pointerType *typeDesc

func initTypes() {
	types.table = (*[1 << 14]*typeDesc)(offheapAlloc(8 << 14))
	pointerType = typeOf(8, 8)
}

type allocator uint8

const (
	fromHeap allocator = iota
	fromPool
	fromArena
)

type lifetimeKind uint8

const (
	untilOwner lifetimeKind = iota
	untilForever
	untilTime
)

// shape is what a stream, or a group of an owner's objects, allocates. It lives off-heap.
type shape struct {
	size        dist
	count       dist
	ptrFraction float64
	ptrBytes    float64 // instead of the fraction, when >= 0
	lifetime    lifetimeKind
	death       dist
	allocator   allocator
	pool        int // index of the pool of this shape, -1 without
	constant    bool
	constSize   uintptr
	constType   *typeDesc
}

func compileShape(v value) shape {
	var s shape
	s.size = compileDist(v.get("size"))
	if c := v.get("count"); c.exists() {
		s.count = compileDist(c)
	}
	s.ptrBytes, s.pool = -1, -1
	if p := v.get("pointers"); p.get("kind").is("bytes") {
		s.ptrBytes = p.get("bytes").number(0)
	} else {
		s.ptrFraction = p.get("fraction").number(0)
	}
	if l := v.get("lifetime"); !l.exists() || l.get("until").is("forever") {
		s.lifetime = untilForever
	} else if l.get("until").is("time") {
		s.lifetime = untilTime
		s.death = compileDist(l.get("dist"))
	}
	if s.lifetime == untilOwner {
		if a := v.get("allocator"); a.is("pool") {
			s.allocator, s.pool = fromPool, newPool()
		} else if a.is("arena") {
			s.allocator, s.pool = fromArena, newPool()
		}
	}
	if s.size.kind == distConstant {
		s.constSize, s.constType = s.quantise(s.size.a)
		s.constant = true
	}
	return s
}

// pointerBytes is the length of the pointer part of an object of size bytes.
func (s *shape) pointerBytes(size float64) uintptr {
	wanted := size * s.ptrFraction
	if s.ptrBytes >= 0 {
		wanted = s.ptrBytes
	}
	return uintptr(math.Min(wanted, size)) &^ 7
}

// quantise turns a drawn size into the size allocated and its type: exact below 16 bytes, else to a word up to 1 KiB,
// to 128 bytes up to 32 KiB, to pages beyond, and every object less than 16 GiB. The simulator does the same.
func (s *shape) quantise(drawn float64) (uintptr, *typeDesc) {
	size := uintptr(math.Min(math.Max(1, math.Floor(drawn+0.5)), maxObject))
	switch {
	case size < 16 && s.pointerBytes(float64(size)) == 0:
	case size <= 1024:
		size = (size + 7) &^ 7
	case size <= 32768:
		size = (size + 127) &^ 127
	default:
		size = (size + runtimePage - 1) &^ (runtimePage - 1)
	}
	if p := s.pointerBytes(float64(size)); p > 0 {
		return size, typeOf(size, p)
	}
	return size, nil
}

func (s *shape) draw(r *rng) (uintptr, *typeDesc) {
	if s.constant {
		return s.constSize, s.constType
	}
	return s.quantise(s.size.sample(r))
}

// newObject allocates and writes one object: pointer words point to the object itself, so that they are scanned without
// keeping anything else alive, and one byte of each OS page of the rest is written.
func newObject(size uintptr, t *typeDesc) unsafe.Pointer {
	p := mallocgc(size, unsafe.Pointer(t), true)
	writeObject(p, size, t)
	return p
}

func writeObject(p unsafe.Pointer, size uintptr, t *typeDesc) {
	base, offset := uintptr(p), uintptr(0)
	if t != nil {
		// Raw stores: no write barrier, as the object is new and the value keeps nothing else alive.
		for ; offset < t.ptrBytes; offset += 8 {
			*(*uintptr)(unsafe.Pointer(base + offset)) = base
		}
	}
	for at := base + offset; at < base+size; at = (at + osPage) &^ (osPage - 1) {
		*(*byte)(unsafe.Pointer(at)) = 0
	}
}

const maxPools = 128

var (
	pools  [maxPools]sync.Pool
	npools int
)

func newPool() int {
	if npools == maxPools {
		fail("more than 128 pools")
	}
	npools++
	return npools - 1
}

func poolGet(pool int) unsafe.Pointer {
	if x := pools[pool].Get(); x != nil {
		return x.(unsafe.Pointer)
	}
	return nil
}

func poolPut(pool int, p unsafe.Pointer) { pools[pool].Put(p) }
