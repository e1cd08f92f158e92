//go:build amd64 || arm64

package stepper

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// control is the descriptor by which the program gives its parent the listener
// of the filter, and says marks.
const control = 3

// Constants of linux/seccomp.h that golang.org/x/sys/unix lacks or names otherwise.
const (
	seccompSetModeFilter = 1
	filterTSync          = 1 << 0
	filterNewListener    = 1 << 3
	filterTSyncESRCH     = 1 << 4
	filterWaitKillable   = 1 << 5 // Linux 5.19
	retUserNotif         = 0x7fc00000
	retAllow             = 0x7fff0000
	notifRecv            = 0xc0502100
	notifSend            = 0xc0182101
	flagContinue         = 1
)

// writing are the system calls that change something outside the process.
var writing = map[int]string{
	unix.SYS_WRITE: "write", unix.SYS_PWRITE64: "pwrite64", unix.SYS_WRITEV: "writev", unix.SYS_PWRITEV: "pwritev", unix.SYS_PWRITEV2: "pwritev2",
	unix.SYS_FSYNC: "fsync", unix.SYS_FDATASYNC: "fdatasync", unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_FALLOCATE: "fallocate",
	unix.SYS_RENAMEAT: "renameat", unix.SYS_RENAMEAT2: "renameat2", unix.SYS_UNLINKAT: "unlinkat", unix.SYS_LINKAT: "linkat",
	unix.SYS_SYMLINKAT: "symlinkat", unix.SYS_MKDIRAT: "mkdirat", unix.SYS_FCHMOD: "fchmod", unix.SYS_FCHMODAT: "fchmodat",
	unix.SYS_OPENAT: "openat", unix.SYS_SENDTO: "sendto", unix.SYS_FLOCK: "flock", unix.SYS_CONNECT: "connect",
}

// filter passes writing calls to the listener; of openat those that create.
func filter() []unix.SockFilter {
	const (
		load    = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		bits    = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		ret     = unix.BPF_RET | unix.BPF_K
		flagsOf = 16 + 8*2 // the low half of the third argument
	)
	p := []unix.SockFilter{{Code: load, K: 0}} // the number
	for nr := range writing {
		if nr != unix.SYS_OPENAT {
			p = append(p, unix.SockFilter{Code: equal, Jf: 1, K: uint32(nr)}, unix.SockFilter{Code: ret, K: retUserNotif})
		}
	}
	return append(p,
		unix.SockFilter{Code: equal, Jf: 3, K: unix.SYS_OPENAT},
		unix.SockFilter{Code: load, K: flagsOf},
		unix.SockFilter{Code: bits, Jf: 1, K: unix.O_CREAT | unix.O_TRUNC},
		unix.SockFilter{Code: ret, K: retUserNotif},
		unix.SockFilter{Code: ret, K: retAllow})
}

// Enter puts this process, which [Run] started, under its parent's control. It is
// called once, early.
func Enter() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("stepper: %w", err)
	}
	rules := filter()
	prog := unix.SockFprog{Len: uint16(len(rules)), Filter: &rules[0]}
	for _, more := range []uintptr{filterWaitKillable, 0} {
		fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, seccompSetModeFilter, filterTSync|filterNewListener|filterTSyncESRCH|more, uintptr(unsafe.Pointer(&prog)))
		switch errno {
		case 0:
			return unix.Sendmsg(control, []byte{1}, unix.UnixRights(int(fd)), nil, 0)
		case unix.EINVAL:
		default:
			return fmt.Errorf("stepper: seccomp: %w", errno)
		}
	}
	return fmt.Errorf("stepper: seccomp: %w", errors.ErrUnsupported)
}

// Mark tells the parent where the program is. n is 1 to 100.
func Mark(n int) error {
	_, err := unix.Write(control, make([]byte, n))
	return err
}

// ErrKilled is returned by [Run] when visit ended the program.
var ErrKilled = errors.New("stepper: killed")

// Run starts a program that calls [Enter] and shows each of its calls to visit
// before it happens. When visit returns false, the program is killed, the call is not
// made, and Run returns [ErrKilled].
func Run(cmd *exec.Cmd, visit func(Call) bool) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("stepper: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "control")
	defer unix.Close(pair[0])
	cmd.ExtraFiles = []*os.File{theirs}
	err = cmd.Start()
	_ = theirs.Close()
	if err != nil {
		return err
	}
	killed, err := attend(cmd, pair[0], visit)
	if err != nil {
		_ = cmd.Process.Kill()
	}
	werr := cmd.Wait()
	switch {
	case err != nil:
		return err
	case killed:
		return ErrKilled
	}
	return werr
}

func attend(cmd *exec.Cmd, socket int, visit func(Call) bool) (killed bool, err error) {
	listener, err := receive(socket)
	if err != nil {
		return false, err
	}
	defer unix.Close(listener)
	for n := 0; ; {
		call, id, err := next(listener)
		if err != nil || id == 0 {
			return false, err
		}
		call.Number = n
		if call.Name == "write" && call.args[0] == control {
			call.Mark = int(call.args[2])
		} else {
			n++
		}
		if !visit(call) {
			return true, cmd.Process.Kill()
		}
		answer := struct {
			id    uint64
			val   int64
			err   int32
			flags uint32
		}{id: id, flags: flagContinue}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), notifSend, uintptr(unsafe.Pointer(&answer)))
		if errno != 0 && errno != unix.ENOENT { // a signal interrupted the call, which is made again
			return false, fmt.Errorf("stepper: %w", errno)
		}
	}
}

// receive waits for the listener.
func receive(control int) (int, error) {
	buf, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := unix.Recvmsg(control, buf, oob, unix.MSG_CMSG_CLOEXEC)
	if err == nil && n == 0 {
		err = errors.New("the program ended before it called Enter")
	}
	if err != nil {
		return 0, fmt.Errorf("stepper: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err == nil && len(messages) != 1 {
		err = fmt.Errorf("%d control messages", len(messages))
	}
	if err != nil {
		return 0, fmt.Errorf("stepper: no listener: %w", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err == nil && len(fds) != 1 {
		err = fmt.Errorf("%d file descriptors", len(fds))
	}
	if err != nil {
		return 0, fmt.Errorf("stepper: no listener: %w", err)
	}
	return fds[0], nil
}

// next waits for a call. An id of 0 means that the program has ended.
func next(listener int) (Call, uint64, error) {
	for {
		fds := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return Call{}, 0, fmt.Errorf("stepper: %w", err)
		}
		if fds[0].Revents&unix.POLLIN == 0 {
			return Call{}, 0, nil
		}
		var req struct {
			id    uint64
			pid   uint32
			flags uint32
			nr    int32
			arch  uint32
			ip    uint64
			args  [6]uint64
		}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), notifRecv, uintptr(unsafe.Pointer(&req)))
		switch errno {
		case 0:
			return Call{Name: writing[int(req.nr)], args: req.args, pid: int(req.pid)}, req.id, nil
		case unix.EINTR, unix.ENOENT:
		default:
			return Call{}, 0, fmt.Errorf("stepper: %w", errno)
		}
	}
}
