//go:build ignore

// Records what marking one object adds to the scan work in the Go installed here: test/golden/scanwork-<release>.json.
//
//	go run test/golden/extract/scanwork.go > test/golden/scanwork-1.26.json
//
// Objects of each size and so many bytes of pointers at their start are held by one slice; the work is what
// /gc/scan/heap:bytes grows by when there are many of them, per object.
package main

import (
	"encoding/json"
	"log"
	"math"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"unsafe"
)

var kept [20_000]unsafe.Pointer

func scanned() uint64 {
	runtime.GC()
	runtime.GC()
	work := []metrics.Sample{{Name: "/gc/scan/heap:bytes"}}
	metrics.Read(work)
	return work[0].Value.Uint64()
}

func main() {
	debug.SetGCPercent(-1)
	var cases [][3]uint64
	for _, size := range []int{512, 520, 576, 600, 1000, 1024, 1144, 2000, 2048, 4096, 5000, 9000, 20000, 32760, 32768, 40000, 65536, 135000, 140000, 200000} {
		for _, pointers := range []int{8, 64, 512, 4096, size / 2, size} {
			pointers &^= 7
			if pointers > size {
				continue
			}
			t := reflect.StructOf([]reflect.StructField{
				{Name: "Pointers", Type: reflect.ArrayOf(pointers/8, reflect.TypeFor[*byte]())},
				{Name: "Rest", Type: reflect.ArrayOf(size-pointers, reflect.TypeFor[byte]())},
			})
			if int(t.Size()) != size {
				continue
			}
			objects := min(len(kept), 64<<20/size)
			before := scanned()
			for i := range objects {
				kept[i] = reflect.New(t).UnsafePointer()
			}
			work := float64(scanned()-before) / float64(objects)
			cases = append(cases, [3]uint64{uint64(size), uint64(pointers), uint64(math.Round(work))})
			clear(kept[:])
		}
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(map[string]any{
		"command":            "go run test/golden/extract/scanwork.go",
		"go_version":         runtime.Version(),
		"size_pointers_work": cases,
	}); err != nil {
		log.Fatal(err)
	}
}
