package tpmtest

import (
	"os/exec"
	"runtime"
	"syscall"
)

// runWithParent runs cmd so that it does not outlive this process. The kernel
// ties the child to the thread that started it, so the thread stays.
func runWithParent(cmd *exec.Cmd, started chan<- error, ended chan<- struct{}) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := cmd.Start()
	started <- err
	if err == nil {
		_ = cmd.Wait() // it is ended by a signal
	}
	close(ended)
}
