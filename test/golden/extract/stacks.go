//go:build ignore

// Records what stacks cost in the Go installed here: test/golden/stacks-<release>.json.
//
//	go build -o /tmp/stacks test/golden/extract/stacks.go && GOMAXPROCS=2 /tmp/stacks
//
// Each case runs three times in a process of its own (this program again, with the case as arguments): goroutines are
// started one after another, recurse through a frame of 240 bytes, and park. The provenance in the file names
// the moments at which statistics are read. Sizes of runtime structures are read from the binary's type descriptors.
package main

import (
	"bytes"
	"debug/dwarf"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"
)

type caseOf struct {
	Park       string `json:"park"`
	Goroutines int    `json:"goroutines"`
	Depth      int    `json:"depth"`
	ParksDeep  bool   `json:"parks_deep"`
}

var cases = []caseOf{
	{"recv", 1000, 0, false}, {"recv", 10000, 0, false}, {"recv", 100000, 0, false},
	{"select", 10000, 0, false}, {"sleep", 10000, 0, false},
	{"recv", 1000, 20, true}, {"recv", 10000, 20, true}, {"recv", 100000, 20, true},
	{"recv", 10000, 20, false}, {"recv", 10000, 10, false},
	{"recv", 1000, 200, false}, {"recv", 1000, 200, true}, {"recv", 4000, 60, false},
}

const runs = 3

var moments = []string{
	"before", "started", "flushed", "gc1", "gc2", "ended", "ended_gc1", "ended_gc2", "restarted", "restarted_gc1",
}

const what = "Goroutines are started one after another; each recurses `depth` times through a 240-byte frame (not at all " +
	"when depth is 0) and parks on a channel receive, a two-channel select or time.Sleep; parks_deep: inside the recursion " +
	"instead of after it. GC is off but for runtime.GC(). before: nothing started; started: all parked (runtime/metrics, " +
	"nothing flushed); flushed: after ReadMemStats; gc1, gc2: after one and two runtime.GC(), flushed; ended: all woken and " +
	"gone, not flushed; ended_gc1, ended_gc2: after one and two runtime.GC(), not flushed; restarted: as many goroutines " +
	"again, depth 0, channel receive, not flushed; restarted_gc1: after runtime.GC(), flushed. " +
	"scan_stack_bytes is what the last GC scanned: stack.hi - sp of every goroutine."

func main() {
	log.SetFlags(0)
	if len(os.Args) == 5 {
		runCase()
		return
	}
	var out bytes.Buffer
	provenance, _ := json.MarshalIndent(map[string]any{
		"what": what, "command": "go build -o /tmp/stacks test/golden/extract/stacks.go && GOMAXPROCS=2 /tmp/stacks",
		"go_version": runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		"gomaxprocs": runtime.GOMAXPROCS(0), "runs_per_case": runs, "date": time.Now().UTC().Format(time.DateOnly),
		"kernel": firstLine("/proc/sys/kernel/osrelease"), "sizes": structSizes(),
	}, "", "  ")
	fmt.Fprintf(&out, "{\n\"provenance\": %s,\n\"cases\": [\n", provenance)
	for i, c := range cases {
		head, _ := json.Marshal(c)
		fmt.Fprintf(&out, "%s, \"runs\": [\n", bytes.TrimSuffix(head, []byte("}")))
		for run := range runs {
			cmd := exec.Command("/proc/self/exe", c.Park, strconv.Itoa(c.Goroutines), strconv.Itoa(c.Depth),
				strconv.FormatBool(c.ParksDeep))
			cmd.Stderr = os.Stderr
			text, err := cmd.Output()
			if err != nil {
				log.Fatal(err)
			}
			out.Write(bytes.TrimSpace(text))
			if run < runs-1 {
				out.WriteByte(',')
			}
			out.WriteByte('\n')
		}
		out.WriteString("]}")
		if i < len(cases)-1 {
			out.WriteByte(',')
		}
		out.WriteByte('\n')
	}
	out.WriteString("]\n}\n")
	release := strings.Join(strings.SplitN(strings.TrimPrefix(runtime.Version(), "go"), ".", 3)[:2], ".")
	if err := os.WriteFile("test/golden/stacks-"+release+".json", out.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}

var (
	block  = make(chan int)
	block2 = make(chan int)
	ready  = make(chan int, 1)
	sink   byte
)

//go:noinline
func deep(n int, after func()) byte {
	var buf [200]byte
	buf[n%200] = byte(n)
	if n > 0 {
		return deep(n-1, after) + buf[(n*7)%200]
	}
	after()
	return buf[3]
}

func parkRecv() { <-block }

func parkSelect() {
	select {
	case <-block:
	case <-block2:
	}
}

func parkSleep() { time.Sleep(time.Hour) }

func runCase() {
	debug.SetGCPercent(-1)
	kind := os.Args[1]
	n, _ := strconv.Atoi(os.Args[2])
	depth, _ := strconv.Atoi(os.Args[3])
	parksDeep := os.Args[4] == "true"
	park := map[string]func(){"recv": parkRecv, "select": parkSelect, "sleep": parkSleep}[kind]
	nop := func() {}
	runtime.GC()
	seen := map[string]map[string]uint64{"before": read(true)}
	for range n {
		go func() {
			if parksDeep {
				ready <- 1
				deep(depth, park)
			} else {
				if depth > 0 {
					sink += deep(depth, nop)
				}
				ready <- 1
				park()
			}
		}()
		<-ready
	}
	time.Sleep(50 * time.Millisecond)
	seen["started"] = read(false)
	seen["flushed"] = read(true)
	runtime.GC()
	seen["gc1"] = read(true)
	runtime.GC()
	seen["gc2"] = read(true)
	if kind != "sleep" {
		base := runtime.NumGoroutine() - n
		close(block)
		for runtime.NumGoroutine() > base {
			time.Sleep(time.Millisecond)
		}
		seen["ended"] = read(false)
		runtime.GC()
		seen["ended_gc1"] = read(false)
		runtime.GC()
		seen["ended_gc2"] = read(false)
		block = make(chan int)
		for range n {
			go func() {
				ready <- 1
				parkRecv()
			}()
			<-ready
		}
		time.Sleep(50 * time.Millisecond)
		seen["restarted"] = read(false)
		runtime.GC()
		seen["restarted_gc1"] = read(true)
	}
	separator := "{"
	for _, moment := range moments {
		if s := seen[moment]; s != nil {
			text, _ := json.Marshal(s)
			fmt.Printf("%s%q: %s", separator, moment, text)
			separator = ",\n "
		}
	}
	fmt.Println("}")
}

func read(flush bool) map[string]uint64 {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/stacks:bytes"}, {Name: "/gc/scan/stack:bytes"},
		{Name: "/gc/stack/starting-size:bytes"}, {Name: "/sched/threads/total:threads"},
	}
	metrics.Read(samples)
	pages, _ := strconv.ParseUint(strings.Fields(firstLine("/proc/self/statm"))[1], 10, 64)
	faults, _ := strconv.ParseUint(strings.Fields(firstLine("/proc/self/stat"))[9], 10, 64)
	s := map[string]uint64{
		"stack_inuse_bytes": samples[0].Value.Uint64(), "scan_stack_bytes": samples[1].Value.Uint64(),
		"starting_size_bytes": samples[2].Value.Uint64(), "threads": samples[3].Value.Uint64(),
		"rss_bytes": pages * 4096, "minor_faults": faults,
	}
	if flush {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		s["stack_inuse_bytes"] = m.StackInuse
		s["heap_objects"], s["heap_inuse_bytes"] = m.HeapObjects, m.HeapInuse
		s["heap_sys_bytes"], s["sys_bytes"] = m.HeapSys, m.Sys
	}
	return s
}

func firstLine(path string) string {
	text, _ := os.ReadFile(path)
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

// structSizes maps each runtime structure that lives on the heap per goroutine to its [size, bytes up to the last pointer].
func structSizes() map[string][2]uint64 {
	f, err := elf.Open("/proc/self/exe")
	if err != nil {
		log.Fatal(err)
	}
	d, err := f.DWARF()
	if err != nil {
		log.Print("no sizes, the binary has no DWARF: ", err)
		return nil
	}
	symbols, _ := f.Symbols()
	var types uint64
	for _, s := range symbols {
		if s.Name == "runtime.types" {
			types = s.Value
		}
	}
	const attrGoRuntimeType = dwarf.Attr(0x2904)
	sizes := map[string][2]uint64{}
	for r := d.Reader(); ; {
		e, _ := r.Next()
		if e == nil {
			return sizes
		}
		name, _ := e.Val(dwarf.AttrName).(string)
		offset, ok := e.Val(attrGoRuntimeType).(uint64)
		if !ok || e.Tag != dwarf.TagStructType || (name != "runtime.g" && name != "runtime.sudog" && name != "runtime.timer") {
			continue
		}
		for _, s := range f.Sections {
			if address := types + offset; s.Addr != 0 && address >= s.Addr && address < s.Addr+s.Size {
				var head [16]byte
				s.ReadAt(head[:], int64(address-s.Addr))
				sizes[name] = [2]uint64{binary.LittleEndian.Uint64(head[:]), binary.LittleEndian.Uint64(head[8:])}
			}
		}
	}
}
