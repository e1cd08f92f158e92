package chromium

import "syscall"

// needsDisplay says that a window needs a display server that the environment
// names.
const needsDisplay = true

// group makes the browser a process group of its own, and has the browser killed
// when this process ends, however that happens.
func group() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
