// Real-time scheduling: what is compared is Go, not how a kernel shares its CPUs.
//
// A runtime with as many Ps as CPUs expects a woken thread to run at once on an idle CPU. Kernels may decide otherwise:
// other programs want the CPU, or, as some virtual machines' do to let their host sleep, threads are packed on few CPUs.
// Then a mark worker's or an assist's clock runs while its thread waits, and the waker of a stopped world is preempted by
// the thread it wakes: pauses and GC CPU time measure the kernel. Under SCHED_RR a woken thread goes to a CPU that runs
// nothing of that class.
//
// Where it is not quite so: a thread that sysmon starts (it seldom has to) inherits sysmon's level; and kernels keep some 5 %
// of a CPU for other programs that want it (sched_rt_runtime_us, the fair server), which a process that never rests sees as
// stalls of some milliseconds.

package main

import (
	"runtime"
	"syscall"
	"unsafe"
)

const (
	schedRR = 2
	// As threads of one class do not preempt each other, sysmon, which must be able to, gets one level more.
	threadPriority = 1
	sysmonPriority = 2
	// Thread numbers of a young process lie right after its own.
	threadsWithin = 4096
)

// realTime tells whether the process has real-time scheduling.
var realTime bool

// beRealTime puts every thread of the process, and so all later ones, under SCHED_RR, and says whether it could: it
// takes a privilege, and at most as many Ps as CPUs, for its threads take turns only every 100 ms.
func beRealTime() bool {
	if runtime.GOMAXPROCS(0) > runtime.NumCPU() {
		return false
	}
	pid := syscall.Getpid()
	if !setRoundRobin(pid, threadPriority) {
		return false
	}
	priority := int32(sysmonPriority) // runtime.main starts sysmon before any other thread
	all := true
	for tid := pid + 1; tid < pid+threadsWithin; tid++ {
		if _, _, e := syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(pid), uintptr(tid), 0); e != 0 {
			continue
		}
		all = setRoundRobin(tid, priority) && all
		priority = threadPriority
	}
	return all
}

func setRoundRobin(tid int, priority int32) bool {
	_, _, e := syscall.RawSyscall(syscall.SYS_SCHED_SETSCHEDULER, uintptr(tid), schedRR,
		uintptr(unsafe.Pointer(&priority)))
	return e == 0
}
