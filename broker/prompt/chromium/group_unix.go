//go:build unix && !linux

package chromium

import "syscall"

// needsDisplay says that a window needs a display server that the environment
// names.
const needsDisplay = false

// group makes the browser a process group of its own.
func group() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
