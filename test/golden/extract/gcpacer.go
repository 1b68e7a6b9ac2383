//go:build ignore

// Writes the pacer's golden vectors.
//
//	go run test/golden/extract/gcpacer.go [-go path/to/bin/go] [-streams]
//
// Runs the runtime's own pacer test with the given toolchain and keeps, per scenario, the line it logs for each
// cycle, in gcpacer-<release>.json. With -streams it also writes gcpacer-streams.json: the inputs that only Go
// itself can produce to the last bit (seeded math/rand, math.Sin). Run from the repository's root.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math"
	"math/rand"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// text is a JSON text of our own layout: one value of each leaf array a line.
type text struct{ bytes.Buffer }

func (t *text) field(indent, name string, value any) {
	v, err := json.Marshal(value)
	if err != nil {
		log.Fatal(err)
	}
	v = bytes.ReplaceAll(v, []byte(`\u003e`), []byte(">"))
	fmt.Fprintf(t, "%s%q: %s", indent, name, v)
}

func main() {
	tool := flag.String("go", "go", "the toolchain to run")
	streams := flag.Bool("streams", false, "write the streams too")
	flag.Parse()
	log.SetFlags(0)
	if *streams {
		writeStreams()
	}

	version, err := exec.Command(*tool, "env", "GOVERSION").Output()
	if err != nil {
		log.Fatal(err)
	}
	full := strings.TrimSpace(string(version))
	release := regexp.MustCompile(`^go(\d+\.\d+)`).FindStringSubmatch(full)[1]
	logged, err := exec.Command(*tool, "test", "-count=1", "-v", "-run", "TestGcPacer$", "runtime").Output()
	if err != nil {
		log.Fatalf("%s\n%v", logged, err)
	}

	names, cycles := parse(string(logged))
	var out text
	out.WriteString("{\n")
	out.field("  ", "what", "What the runtime's own pacer test logs for each cycle: its number, the GC's CPU utilisation, "+
		"heapMarked->triggered->heapLive at the end, and the heap goal at the end, in bytes.")
	out.WriteString(",\n")
	out.field("  ", "go", full+" linux/amd64")
	out.WriteString(",\n")
	out.field("  ", "command", "go test -count=1 -v -run 'TestGcPacer$' runtime")
	out.WriteString(",\n  \"scenarios\": {")
	for i, name := range names {
		if i > 0 {
			out.WriteString(",")
		}
		fmt.Fprintf(&out, "\n    %q: [", name)
		for j, line := range cycles[name] {
			if j > 0 {
				out.WriteString(",")
			}
			fmt.Fprintf(&out, "\n      %q", line)
		}
		out.WriteString("\n    ]")
	}
	out.WriteString("\n  }\n}\n")
	write("test/golden/gcpacer-"+release+".json", out.Bytes())
}

// parse sorts the interleaved output of the parallel subtests. The cycles of each must be consecutive.
func parse(logged string) (names []string, cycles map[string][]string) {
	current := ""
	cycles = map[string][]string{}
	header := regexp.MustCompile(`^=== (RUN|PAUSE|CONT|NAME)\s+TestGcPacer/(\w+)$`)
	entry := regexp.MustCompile(`^\s+mgcpacer_test\.go:\d+: GC (\d+) (.*)$`)
	for _, line := range strings.Split(logged, "\n") {
		if m := header.FindStringSubmatch(line); m != nil {
			current = m[2]
			if m[1] == "RUN" {
				names = append(names, current)
			}
		} else if m := entry.FindStringSubmatch(line); m != nil {
			cycles[current] = append(cycles[current], m[1]+" "+m[2])
			if m[1] != strconv.Itoa(len(cycles[current])) {
				log.Fatalf("%s: cycle %s out of order", current, m[1])
			}
		}
	}
	return names, cycles
}

func writeStreams() {
	var out text
	out.WriteString("{\n")
	out.field("  ", "what", "Inputs of the pacer scenarios that only Go gives to the last bit. random: for each seed the first 50 "+
		"results of rand.New(rand.NewSource(seed)).Float64(). sine8: math.Sin(c/8*2*Pi) for c = 0..7.")
	out.WriteString(",\n  \"random\": {")
	for i, seed := range []int64{0x0, 0x1, 0xe, 0xf, 0x53, 0x152} {
		if i > 0 {
			out.WriteString(",")
		}
		out.WriteString("\n")
		r := rand.New(rand.NewSource(seed))
		values := make([]float64, 50)
		for j := range values {
			values[j] = r.Float64()
		}
		out.field("    ", fmt.Sprintf("%#x", seed), values)
	}
	out.WriteString("\n  },\n")
	sine := make([]float64, 8)
	for c := range sine {
		sine[c] = math.Sin(float64(c) / float64(len(sine)) * 2 * math.Pi)
	}
	out.field("  ", "sine8", sine)
	out.WriteString("\n}\n")
	write("test/golden/gcpacer-streams.json", out.Bytes())
}

func write(path string, data []byte) {
	if !json.Valid(data) {
		log.Fatalf("%s: not valid JSON", path)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		log.Fatal(err)
	}
}
