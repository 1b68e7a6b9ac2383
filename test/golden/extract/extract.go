//go:build ignore

// Extracts golden vectors for the page allocator from the Go installed here.
//
//	go run test/golden/extract/extract.go
//
// The tables of the runtime's tests are Go values built by expressions. So as not to copy them by hand, the
// runtime's own test binary is built with an overlay: in the three test files a call is put before every
// loop over a table, and at the start of every checking function; vectors_test.go.txt says what these calls
// write, and adds sequences of its own that the real allocator answers. Only numbers reach the JSON files.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// The tests of each file, and the closures in them whose arguments are the vectors; closures made inside these
// count as well.
var files = map[string]map[string]string{
	"mpagealloc_test.go": {
		"TestPageAllocGrow": "", "TestPageAllocAlloc": "", "TestPageAllocFree": "", "TestPageAllocAllocAndFree": "",
	},
	"mpallocbits_test.go": {
		"TestPallocBitsAllocRange": "test", "TestMallocBitsPopcntRange": "", "TestPallocBitsSummarize": "",
		"TestPallocBitsAlloc": "", "TestPallocBitsFree": "", "TestFindBitRange64": "check",
	},
	"mpagecache_test.go": {"TestPageCacheAlloc": "", "TestPageCacheFlush": "runTest", "TestPageAllocAllocToCache": ""},
	"mgcscavenge_test.go": {
		"TestPallocDataFindScavengeCandidate": "", "TestPageAllocScavenge": "", "TestScavengeIndex": "setup",
	},
}

// Which vectors go into which file.
var outputs = map[string][]string{
	"mpagealloc": {"PageAllocGrow", "PageAllocAlloc", "PageAllocExhaust", "PageAllocFree", "PageAllocAllocAndFree"},
	"mpallocbits": {"PallocBitsAllocRange", "MallocBitsPopcntRange", "PallocBitsSummarize", "PallocBitsAlloc",
		"PallocBitsFree", "FindBitRange64", "PallocBitsRandom", "FindBitRange64Random"},
	"mpagecache":       {"PageCacheAlloc", "PageCacheFlush", "PageAllocAllocToCache"},
	"mpagealloc-trace": {"PageAllocTrace"},
	"mgcscavenge": {"PallocDataFindScavengeCandidate", "FindScavengeCandidateRandom", "PageAllocScavenge", "ScavengeIndex",
		"ScavengeTrace", "Scavenger"},
}

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
	src := filepath.Join(strings.TrimSpace(string(goroot)), "src", "runtime")
	version, err := exec.Command("go", "env", "GOVERSION").Output()
	must(err)

	overlay := map[string]string{
		filepath.Join(src, "vectors_test.go"):        filepath.Join(tmp, "vectors_test.go"),
		filepath.Join(src, "vectors_export_test.go"): filepath.Join(tmp, "vectors_export_test.go"),
	}
	for from, to := range map[string]string{"vectors_test.go.txt": "vectors_test.go", "export_test.go.txt": "vectors_export_test.go"} {
		text, err := os.ReadFile(filepath.Join(here, from))
		must(err)
		must(os.WriteFile(filepath.Join(tmp, to), text, 0o644))
	}
	run := []string{"TestVectors.*"}
	for name, tests := range files {
		path := filepath.Join(src, name)
		text, err := instrument(path, tests)
		must(err)
		must(os.WriteFile(filepath.Join(tmp, name), text, 0o644))
		overlay[path] = filepath.Join(tmp, name)
		for test := range tests {
			run = append(run, test)
		}
	}
	data, err := json.Marshal(map[string]any{"Replace": overlay})
	must(err)
	must(os.WriteFile(filepath.Join(tmp, "overlay.json"), data, 0o644))

	cmd := exec.Command("go", "test", "-vet=off", "-count=1", "-overlay", filepath.Join(tmp, "overlay.json"),
		"-run", "^("+strings.Join(run, "|")+")$", "runtime")
	// The runtime's tests draw some of their inputs at random: always the same ones.
	cmd.Env = append(os.Environ(), "VECTORS_DIR="+tmp, "GODEBUG=randautoseed=0")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	must(cmd.Run())

	for name, parts := range outputs {
		test := strings.TrimSuffix(name, "-trace") + "_test.go"
		how := "the values of the tables in src/runtime/" + test + " and the answers of the real page allocator, " +
			"written by test/golden/extract/extract.go; pages are relative to BaseChunkIdx, -1 is none, words are 64-bit hex"
		head, err := json.Marshal(map[string]string{"go": strings.TrimSpace(string(version)), "file": test, "how": how})
		must(err)
		var out bytes.Buffer
		fmt.Fprintf(&out, "{\n\"provenance\": %s", head)
		for _, part := range parts {
			var rows []json.RawMessage
			data, err := os.ReadFile(filepath.Join(tmp, part+".json"))
			must(err)
			must(json.Unmarshal(data, &rows))
			fmt.Fprintf(&out, ",\n%q: [", part)
			for i, row := range rows {
				if i > 0 {
					out.WriteByte(',')
				}
				out.WriteByte('\n')
				out.Write(row)
			}
			out.WriteString("\n]")
		}
		out.WriteString("\n}\n")
		must(os.WriteFile(filepath.Join(here, "..", name+".json"), out.Bytes(), 0o644))
	}
}

// instrument puts the calls into a test file.
func instrument(path string, tests map[string]string) ([]byte, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, nil, 0)
	if err != nil {
		return nil, err
	}
	call := func(fn string, args ...ast.Expr) ast.Stmt {
		return &ast.ExprStmt{X: &ast.CallExpr{Fun: ast.NewIdent(fn), Args: args}}
	}
	for _, decl := range file.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		closure, ok := tests[fn.Name.Name]
		if !ok {
			continue
		}
		name := &ast.BasicLit{Kind: token.STRING, Value: `"` + strings.TrimPrefix(fn.Name.Name, "Test") + `"`}
		body := []ast.Stmt{}
		for _, stmt := range fn.Body.List {
			if loop, ok := stmt.(*ast.RangeStmt); ok && closure == "" {
				if x, ok := loop.X.(*ast.Ident); ok && x.Name == "tests" {
					body = append(body, call("vectorsTable", name, ast.NewIdent("tests")))
				}
			}
			if set, ok := stmt.(*ast.AssignStmt); ok && closure != "" {
				lit, isLit := set.Rhs[0].(*ast.FuncLit)
				if id, ok := set.Lhs[0].(*ast.Ident); ok && isLit && id.Name == closure {
					args := []ast.Expr{name}
					for _, field := range lit.Type.Params.List {
						for _, param := range field.Names {
							args = append(args, ast.NewIdent(param.Name))
						}
					}
					instrumentInner(lit, name, call)
					lit.Body.List = append([]ast.Stmt{call("vectorsCall", args...)}, lit.Body.List...)
				}
			}
			body = append(body, stmt)
		}
		fn.Body.List = body
	}
	var out bytes.Buffer
	err = format.Node(&out, fset, file)
	return out.Bytes(), err
}

// instrumentInner puts a call into every closure assigned inside lit: with its name and its arguments.
func instrumentInner(lit *ast.FuncLit, name ast.Expr, call func(string, ...ast.Expr) ast.Stmt) {
	for _, stmt := range lit.Body.List {
		set, ok := stmt.(*ast.AssignStmt)
		if !ok {
			continue
		}
		inner, isLit := set.Rhs[0].(*ast.FuncLit)
		id, isName := set.Lhs[0].(*ast.Ident)
		if !isLit || !isName {
			continue
		}
		args := []ast.Expr{name, ast.NewIdent("t"), &ast.BasicLit{Kind: token.STRING, Value: `"` + id.Name + `"`}}
		for _, field := range inner.Type.Params.List {
			for _, param := range field.Names {
				args = append(args, ast.NewIdent(param.Name))
			}
		}
		inner.Body.List = append([]ast.Stmt{call("vectorsCall", args...)}, inner.Body.List...)
	}
}
