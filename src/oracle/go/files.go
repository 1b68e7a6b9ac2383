// The files a container's processes read beside the heap: a process of its own, so that neither the Go heap under test nor
// its threads have any of it. It is started outside the control group and moved into it before it begins: what it needs for
// itself is charged elsewhere, and the pages of the files, which are charged to whoever reads them in, in the group.
//
// Input, on stdin: {"mode": "files", "seed": 1, "loads": [{"path": "...", "file": 8192, "rate": 4096, "start": 0, "stop": 1e9}]}. Without
// "file", each byte is read once, from the beginning on; with it, pages at random places. Both without reading ahead (POSIX_FADV_RANDOM): how far
// a kernel does is its machine's setting (read_ahead_kb), and at random places it does where neighbours happen to be cached. Prints
// "ready", begins when a byte comes on descriptor 3, and ends when that is closed; then it prints what it has read, and how many
// of the random pages were there.

package main

import (
	"math"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const (
	// filePage is the page of a kernel whose page cache is compared: 4 KiB (unplayable in run.ts refuses others).
	filePage  = 4096
	fileChunk = 128 << 10
	// fileTickNs is how often what is due is read: the simulator's tick (container.ts).
	fileTickNs      = 10e6
	control         = 3
	posixFadvRandom = 1
	prSetPdeathsig  = 1
	sysCachestat    = 451
	maxFileLoads    = 100
)

type fileLoad struct {
	fd          int
	path        string
	pages       uint64 // of the file, where random ones are read
	rate        float64
	start, stop int64
	rng         rng
	buffer      []byte
	// Atomic: read so far, and of random pages those that were cached.
	bytes, hits int64
}

var (
	fileLoads    [maxFileLoads]fileLoad
	fileLoadsLen int
)

func readFiles(in value) {
	// Whatever ends the parent must not leave this process behind.
	syscall.RawSyscall(syscall.SYS_PRCTL, prSetPdeathsig, uintptr(syscall.SIGKILL), 0)
	seed := uint64(in.get("seed").number(1))
	list := in.get("loads").items()
	for v, ok := list.next(); ok; v, ok = list.next() {
		l := &fileLoads[fileLoadsLen]
		l.open(v)
		l.rng.seed(seed<<8 + uint64(fileLoadsLen))
		fileLoadsLen++
	}
	syscall.Write(1, []byte("ready\n"))
	var command [1]byte
	if readByte(command[:]) {
		t0 = nanotime()
		for i := range fileLoads[:fileLoadsLen] {
			go fileLoads[i].run()
		}
		for readByte(command[:]) {
		}
	}
	var w writer
	bytes, hits, again := int64(0), int64(0), false
	for i := range fileLoads[:fileLoadsLen] {
		bytes += atomic.LoadInt64(&fileLoads[i].bytes)
		hits += atomic.LoadInt64(&fileLoads[i].hits)
		again = again || fileLoads[i].pages > 0
	}
	w.raw("{")
	w.field("bytes", float64(bytes))
	if _, known := isCached(fileLoads[0].fd, 0); again && known {
		w.field("hits", float64(hits))
	} else {
		w.field("hits", math.NaN())
	}
	w.raw("}\n")
	w.flush()
	syscall.Exit(0)
}

func readByte(b []byte) bool {
	for {
		n, err := syscall.Read(control, b)
		if err == syscall.EINTR {
			continue
		}
		return err == nil && n == 1
	}
}

func (l *fileLoad) open(v value) {
	l.path = v.get("path").text()
	fd, err := syscall.Open(l.path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		fail("cannot open " + l.path)
	}
	l.fd = fd
	l.pages = uint64(math.Ceil(v.get("file").number(0) / filePage))
	l.rate = v.get("rate").number(0)
	l.start, l.stop = int64(v.get("start").number(0)), int64(v.get("stop").number(math.MaxInt64))
	if _, _, e := syscall.Syscall6(syscall.SYS_FADVISE64, uintptr(fd), 0, 0, posixFadvRandom, 0, 0); e != 0 {
		fail("the kernel takes no advice on " + l.path)
	}
	l.buffer = make([]byte, fileChunk)
	for i := 0; i < len(l.buffer); i += filePage {
		l.buffer[i] = 1
	}
}

// run reads what is due, every tick. A read that takes long is made up for.
func (l *fileLoad) run() {
	runtime.LockOSThread()
	for at := l.start + fileTickNs; ; at += fileTickNs {
		if d := at - sinceStart(); d > 0 {
			time.Sleep(time.Duration(d))
		}
		due := int64(float64(min64(at, l.stop)-l.start) * l.rate / 1e9)
		for l.bytes+filePage <= due {
			if l.pages > 0 {
				l.readRandom()
			} else {
				l.readNext(min64(fileChunk, (due-l.bytes)&^(filePage-1)))
			}
		}
		if at >= l.stop {
			return
		}
	}
}

func (l *fileLoad) readRandom() {
	at := int64(l.rng.u64()%l.pages) * filePage
	if cached, _ := isCached(l.fd, at); cached {
		atomic.AddInt64(&l.hits, 1)
	}
	l.read(filePage, at)
}

func (l *fileLoad) readNext(n int64) { l.read(n, l.bytes) }

func (l *fileLoad) read(n, at int64) {
	got, err := syscall.Pread(l.fd, l.buffer[:n], at)
	if err == syscall.EINTR {
		return
	}
	if err != nil || int64(got) != n {
		fail("cannot read " + l.path)
	}
	atomic.AddInt64(&l.bytes, n)
}

// isCached asks whether the page at `at` is in the page cache: by cachestat, which there is since Linux 6.5.
func isCached(fd int, at int64) (cached, known bool) {
	page := [2]uint64{uint64(at), filePage}
	var found [5]uint64 // nr_cache, nr_dirty, nr_writeback, nr_evicted, nr_recently_evicted
	_, _, e := syscall.RawSyscall6(sysCachestat, uintptr(fd), uintptr(unsafe.Pointer(&page)), uintptr(unsafe.Pointer(&found)), 0, 0, 0)
	return e == 0 && found[0] > 0, e == 0
}
