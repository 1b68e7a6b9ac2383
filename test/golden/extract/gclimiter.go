//go:build ignore

// Extracts golden vectors for the GC CPU limiter from the Go installed here.
//
//	go run test/golden/extract/gclimiter.go
//
// The runtime's own TestGCCPULimiter is built with an overlay in which its limiter is one that writes down every call and
// the limiter's state after it; a second script of random calls follows. Only numbers reach test/golden/mgclimit.json.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

func main() {
	must := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	_, self, _, _ := runtime.Caller(0)
	here := filepath.Dir(self)
	tmp, err := os.MkdirTemp("", "vectors")
	must(err)
	defer os.RemoveAll(tmp)
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	must(err)
	version, err := exec.Command("go", "env", "GOVERSION").Output()
	must(err)
	src := filepath.Join(strings.TrimSpace(string(goroot)), "src", "runtime")
	test, err := os.ReadFile(filepath.Join(src, "mgclimit_test.go"))
	must(err)
	must(os.WriteFile(filepath.Join(tmp, "mgclimit_test.go"),
		bytes.ReplaceAll(test, []byte("NewGCCPULimiter("), []byte("newRecordedLimiter(")), 0o644))
	recorder, err := os.ReadFile(filepath.Join(here, "gclimiter_test.go.txt"))
	must(err)
	must(os.WriteFile(filepath.Join(tmp, "recorder_test.go"), recorder, 0o644))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(src, "mgclimit_test.go"): filepath.Join(tmp, "mgclimit_test.go"),
		filepath.Join(src, "recorder_test.go"): filepath.Join(tmp, "recorder_test.go"),
	}})
	must(err)
	must(os.WriteFile(filepath.Join(tmp, "overlay.json"), overlay, 0o644))
	cmd := exec.Command("go", "test", "-vet=off", "-count=1", "-overlay", filepath.Join(tmp, "overlay.json"),
		"-run", "^(TestGCCPULimiter|TestRandomLimiter)$", "runtime")
	cmd.Env = append(os.Environ(), "VECTORS_DIR="+tmp)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	must(cmd.Run())

	head, err := json.Marshal(map[string]string{
		"go": strings.TrimSpace(string(version)), "file": "mgclimit_test.go",
		"how": "the calls of TestGCCPULimiter, and random ones, and the real limiter's state after each, written by " +
			"test/golden/extract/gclimiter.go; a row is [call, its arguments, fill, capacity, overflow, limiting], times in ns",
	})
	must(err)
	var out bytes.Buffer
	fmt.Fprintf(&out, "{\n\"provenance\": %s", head)
	for _, name := range []string{"TestGCCPULimiter", "Random"} {
		rows, err := os.ReadFile(filepath.Join(tmp, name+".json"))
		must(err)
		fmt.Fprintf(&out, ",\n%q: [\n%s\n]", name, bytes.TrimSuffix(bytes.TrimSpace(rows), []byte(",")))
	}
	out.WriteString("\n}\n")
	must(os.WriteFile(filepath.Join(here, "..", "mgclimit.json"), out.Bytes(), 0o644))
}
