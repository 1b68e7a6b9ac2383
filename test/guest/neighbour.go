// What is around the program when the machine is to run short of memory (node.ts): a process that reads the container's files,
// in the program's group, and a neighbour, in a group of its own.
//
// Files are block devices of brd.ko that nobody has written: they read as zeros and take no memory, and what is read of them is
// page cache like that of any disk.
//
// The neighbour does what its standard input says: "take N" touches N bytes of new memory, "read N" reads N further bytes of its
// file. What it holds is counted as the scenario counts it, with everything else on the machine. So when the program has taken
// its first sample, the neighbour takes what is missing for the machine to have as much free as the scenario says.

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

type neighbours struct {
	Module  string   `json:"module"`  // brd.ko in the initramfs
	Params  string   `json:"params"`  // its parameters
	File    int64    `json:"file"`    // page cache that it has from the start
	Device  string   `json:"device"`  // what it reads
	Free    int64    `json:"free"`    // MemFree with the program's group empty
	Changes []change `json:"changes"` // by time
}

type change struct {
	At   float64 `json:"at"`   // seconds
	Anon int64   `json:"anon"` // bytes more than at the start, at the end of `over`
	Over float64 `json:"over"`
}

const (
	besideGroup = cgroups + "/neighbours"
	tick        = 10 * time.Millisecond
	page        = 4096
	unknown     = 16 << 20
	// A page table of the neighbour's maps so many of its pages.
	perTable = 512
)

type surroundings struct {
	neighbour *exec.Cmd
	orders    io.WriteCloser
	done      *bufio.Reader
	reader    *exec.Cmd
	begins    *os.File
	over      chan struct{}
}

func (s *surroundings) start(j job) error {
	n := j.Neighbours
	if _, err := os.Stat(n.Device); err != nil {
		if err := load(n.Module, n.Params); err != nil {
			return err
		}
	}
	if err := os.Mkdir(besideGroup, 0o755); err != nil {
		return err
	}
	folder, err := os.Open(besideGroup)
	if err != nil {
		return err
	}
	defer folder.Close()
	s.over = make(chan struct{})
	s.neighbour = exec.Command("/init", n.Device)
	s.neighbour.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(folder.Fd())}
	s.orders, _ = s.neighbour.StdinPipe()
	out, _ := s.neighbour.StdoutPipe()
	s.done = bufio.NewReader(out)
	if err := s.neighbour.Start(); err != nil {
		return err
	}
	if err := s.order("read", n.File); err != nil {
		return err
	}
	// What the program and its reader take for themselves is not known yet.
	if err := s.order("take", memFree()-n.Free-unknown); err != nil {
		return err
	}
	if j.Files == nil {
		return nil
	}
	s.reader = exec.Command(j.Program)
	s.reader.Env = []string{"GOGC=off"}
	s.reader.Stdin = bytes.NewReader(j.Files)
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	s.reader.ExtraFiles = []*os.File{read}
	s.begins = write
	text, _ := s.reader.StdoutPipe()
	if err := s.reader.Start(); err != nil {
		return err
	}
	read.Close()
	if line, err := bufio.NewReader(text).ReadString('\n'); err != nil || line != "ready\n" {
		return fmt.Errorf("the reader says %q: %v", line, err)
	}
	return os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(s.reader.Process.Pid)), 0)
}

// order waits until it is done.
func (s *surroundings) order(what string, bytes int64) error {
	fmt.Fprintf(s.orders, "%s %d\n", what, bytes)
	_, err := s.done.ReadString('\n')
	return err
}

var memFreeLine = regexp.MustCompile(`MemFree: +(\d+) kB`)

func memFree() int64 {
	text, _ := os.ReadFile("/proc/meminfo")
	kib, _ := strconv.ParseInt(string(memFreeLine.FindSubmatch(text)[1]), 10, 64)
	return kib << 10
}

// begin: the program has taken its first sample, and needs `own` bytes for itself.
func (s *surroundings) begin(j job, own int64) error {
	text, _ := os.ReadFile(filepath.Join(group, "memory.current"))
	current, _ := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	missing := memFree() - (j.Neighbours.Free - (current - own))
	if missing < 0 {
		return fmt.Errorf("the guest is %d bytes short of what the scenario has free", -missing)
	}
	if err := s.order("take", missing); err != nil {
		return err
	}
	if s.begins != nil {
		s.begins.Write([]byte("g"))
	}
	start := time.Now()
	go io.Copy(io.Discard, s.done)
	go func() {
		taken := int64(0)
		for at := tick; ; at += tick {
			select {
			case <-s.over:
				return
			case <-time.After(time.Until(start.Add(at))):
			}
			// With its page tables, in whole pages.
			due := j.Neighbours.anonAt(at.Seconds()) * perTable / (perTable + 1) / page * page
			if due > taken {
				fmt.Fprintf(s.orders, "take %d\n", due-taken)
				taken = due
			}
		}
	}()
	return nil
}

func (n *neighbours) anonAt(t float64) int64 {
	anon := int64(0)
	for _, c := range n.Changes {
		if t < c.At {
			break
		}
		part := 1.0
		if t < c.At+c.Over {
			part = (t - c.At) / c.Over
		}
		anon += int64(part * float64(c.Anon-anon))
	}
	return anon
}

func (s *surroundings) end() {
	close(s.over)
	if s.reader != nil {
		s.begins.Close()
		s.reader.Wait()
	}
	s.orders.Close()
	s.neighbour.Wait()
	os.Remove(besideGroup)
	// The next run begins with empty caches.
	os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0)
}

func load(module, params string) error {
	f, err := os.Open(module)
	if err != nil {
		return err
	}
	defer f.Close()
	p, _ := syscall.BytePtrFromString(params)
	if _, _, e := syscall.Syscall(sysFinitModule, f.Fd(), uintptr(unsafe.Pointer(p)), 0); e != 0 {
		return fmt.Errorf("loading %s: %w", module, e)
	}
	return nil
}

const sysFinitModule = 313 // amd64

func beNeighbour() {
	device, err := os.Open(os.Args[1])
	if err != nil {
		return
	}
	const posixFadvRandom = 1
	syscall.Syscall6(syscall.SYS_FADVISE64, device.Fd(), 0, 0, posixFadvRandom, 0, 0)
	buffer := make([]byte, 128<<10)
	in := bufio.NewReader(os.Stdin)
	for {
		var what string
		var n int64
		if _, err := fmt.Fscanf(in, "%s %d\n", &what, &n); err != nil {
			return
		}
		switch what {
		case "take":
			const readWrite = syscall.PROT_READ | syscall.PROT_WRITE
			size := int(n+page-1) &^ (page - 1)
			m, err := syscall.Mmap(-1, 0, size, readWrite, syscall.MAP_ANON|syscall.MAP_PRIVATE)
			if err == nil {
				for i := 0; i < len(m); i += page {
					m[i] = 1
				}
			}
		case "read":
			for n > 0 {
				got, err := device.Read(buffer[:min(n, int64(len(buffer)))])
				if err != nil {
					return
				}
				n -= int64(got)
			}
		}
		fmt.Println("done")
	}
}
