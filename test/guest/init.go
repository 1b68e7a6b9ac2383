// The first and only process of the guest that record.ts boots: plays jobs that it is sent over the second serial line, one after the other, and
// answers each with what the program wrote and what its control group said.
//
// Jobs and answers are lines of JSON. A job names the oracle's program (in the initramfs), its environment and its input; with limits it
// runs in a control group of its own (cgroup v2), from its first instruction on (CLONE_INTO_CGROUP). At each sample that the program sends
// the group's files are read and its limits raised by what the program needs for itself, as src/oracle/run.ts does it on this side.
//
// This process is in the root group, so none of its memory counts. Its CPU time does take from the program's: some 2 ms per sample.
//
// A job may have neighbours: a process in a group of its own beside the program's, which takes memory and reads a file as it is
// told (neighbour.go).

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

type job struct {
	Program string            `json:"program"`
	Env     []string          `json:"env"`
	Input   string            `json:"input"`
	Write   map[string]string `json:"write"` // settings of the machine, by path
	Group   map[string]string `json:"group"` // files of the control group; nil: it is played in none
	Limits  map[string]int64  `json:"limits"`
	Read    []string          `json:"read"` // of the group, or with their whole paths, at each sample and at the end
	Huge    bool              `json:"huge"` // smaps' AnonHugePages, at each sample

	Neighbours *neighbours     `json:"neighbours"`
	Files      json.RawMessage `json:"files"` // input of the process that reads files in the group
}

type answer struct {
	Error   string              `json:"error,omitempty"`
	Stdout  string              `json:"stdout"`
	Stderr  string              `json:"stderr"`
	Killed  bool                `json:"killed"`
	Status  int                 `json:"status"`
	Seconds float64             `json:"seconds"` // from the first sample to the end
	Samples []map[string]string `json:"samples"`
	End     map[string]string   `json:"end"`
}

const (
	cgroups = "/sys/fs/cgroup"
	group   = cgroups + "/oracle"
	// Before the program has said how much it needs for itself: enough for any.
	startBytes = 256 << 20
)

func main() {
	if os.Getpid() != 1 {
		beNeighbour()
		return
	}
	line, err := boot()
	if err == nil {
		err = serve(line)
	}
	if err != nil {
		fmt.Println("guest:", err)
	}
	syscall.Sync()
	syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
}

// boot mounts what the oracle needs and opens the line.
func boot() (*os.File, error) {
	for _, m := range []struct{ kind, at string }{
		{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}, {"cgroup2", cgroups}, {"tmpfs", "/tmp"},
	} {
		os.MkdirAll(m.at, 0o755)
		if err := syscall.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			return nil, fmt.Errorf("mounting %s: %w", m.kind, err)
		}
	}
	if err := os.WriteFile(cgroups+"/cgroup.subtree_control", []byte("+memory +cpu"), 0); err != nil {
		return nil, err
	}
	line, err := os.OpenFile(os.Getenv("LINE"), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	var t syscall.Termios
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, line.Fd(), syscall.TCGETS, uintptr(unsafe.Pointer(&t))); e != 0 {
		return nil, e
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cc[syscall.VMIN], t.Cc[syscall.VTIME] = 1, 0
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, line.Fd(), syscall.TCSETS, uintptr(unsafe.Pointer(&t))); e != 0 {
		return nil, e
	}
	return line, nil
}

func serve(line *os.File) error {
	in := bufio.NewReaderSize(line, 1<<16)
	if err := send(line, about()); err != nil {
		return err
	}
	for {
		text, err := in.ReadBytes('\n')
		if err != nil {
			return err
		}
		var j job
		if err := json.Unmarshal(text, &j); err != nil {
			return err
		}
		if j.Program == "" {
			return nil
		}
		if err := send(line, play(j)); err != nil {
			return err
		}
	}
}

func send(line *os.File, what any) error {
	text, err := json.Marshal(what)
	if err != nil {
		return err
	}
	_, err = line.Write(append(text, '\n'))
	return err
}

// about says what machine this is.
func about() map[string]string {
	read := func(path string) string { text, _ := os.ReadFile(path); return string(text) }
	var info syscall.Sysinfo_t
	syscall.Sysinfo(&info)
	return map[string]string{
		"version":   read("/proc/version"),
		"cpuinfo":   read("/proc/cpuinfo"),
		"page_size": strconv.Itoa(os.Getpagesize()),
		"thp":       read("/sys/kernel/mm/transparent_hugepage/enabled"),
		"clock":     read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
		"free":      strconv.FormatUint(uint64(info.Freeram)*uint64(info.Unit), 10),
	}
}

func play(j job) (a answer) {
	fail := func(err error) answer {
		a.Error = err.Error()
		return a
	}
	for path, text := range j.Write {
		if err := os.WriteFile(path, []byte(text), 0); err != nil {
			return fail(err)
		}
	}
	cmd := exec.Command(j.Program)
	cmd.Env = j.Env
	cmd.Stdin = strings.NewReader(j.Input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return fail(err)
	}
	if j.Group != nil {
		if err := os.Mkdir(group, 0o755); err != nil {
			return fail(err)
		}
		defer os.Remove(group)
		for file, text := range j.Group {
			if err := os.WriteFile(filepath.Join(group, file), []byte(text), 0); err != nil {
				return fail(err)
			}
		}
		if err := raise(j.Limits, startBytes); err != nil {
			return fail(err)
		}
		folder, err := os.Open(group)
		if err != nil {
			return fail(err)
		}
		defer folder.Close()
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(folder.Fd())}
	}
	var around surroundings
	if j.Neighbours != nil {
		if err := around.start(j); err != nil {
			return fail(err)
		}
		defer around.end()
	}
	if err := cmd.Start(); err != nil {
		return fail(err)
	}
	var out strings.Builder
	var start time.Time
	own := int64(startBytes)
	lines := bufio.NewReaderSize(stdout, 1<<16)
	for {
		text, err := lines.ReadString('\n')
		out.WriteString(text)
		if err != nil {
			if err != io.EOF {
				return fail(err)
			}
			break
		}
		if text[0] != '[' {
			continue
		}
		if start.IsZero() {
			start = time.Now()
		}
		// Who writes memory.high drains the stocks of a group above it, and its next fault takes another batch and sleeps for that.
		bytes, _ := strconv.ParseFloat(lastNumber.FindStringSubmatch(text)[1], 64)
		if j.Group != nil && int64(bytes) != own {
			own = int64(bytes)
			if err := raise(j.Limits, own); err != nil {
				return fail(err)
			}
		}
		if j.Neighbours != nil && len(a.Samples) == 0 {
			if err := around.begin(j, own); err != nil {
				return fail(err)
			}
		}
		seen := readGroup(j)
		if j.Huge {
			seen["anon_huge_pages"] = strconv.Itoa(hugeBytes(cmd.Process.Pid))
		}
		a.Samples = append(a.Samples, seen)
	}
	cmd.Wait()
	a.Seconds = time.Since(start).Seconds()
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	a.Killed = status.Signaled() && status.Signal() == syscall.SIGKILL
	a.Status = cmd.ProcessState.ExitCode()
	a.Stdout, a.Stderr, a.End = out.String(), stderr.String(), readGroup(j)
	return a
}

// hugeBytes is what the process has mapped as huge pages.
func hugeBytes(pid int) int {
	rollup, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	kib, _ := strconv.Atoi(string(anonHugePages.FindSubmatch(rollup)[1]))
	return kib << 10
}

var anonHugePages = regexp.MustCompile(`AnonHugePages: +(\d+) kB`)

var lastNumber = regexp.MustCompile(`([0-9.e+]+)\]\n$`)

func raise(limits map[string]int64, by int64) error {
	for file, bytes := range limits {
		if err := os.WriteFile(filepath.Join(group, file), []byte(strconv.FormatInt(bytes+by, 10)), 0); err != nil {
			return err
		}
	}
	return nil
}

func readGroup(j job) map[string]string {
	texts := map[string]string{}
	for _, file := range j.Read {
		path := file
		if !filepath.IsAbs(file) {
			path = filepath.Join(group, file)
		}
		text, _ := os.ReadFile(path)
		texts[file] = string(text)
	}
	return texts
}
