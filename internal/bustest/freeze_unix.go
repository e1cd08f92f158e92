//go:build unix

package bustest

import "syscall"

// Freeze stops the daemon as it is: it answers nobody, and connections stay open.
// It goes on after Thaw.
func (b *Bus) Freeze() { _ = b.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw lets the daemon go on after Freeze.
func (b *Bus) Thaw() { _ = b.cmd.Process.Signal(syscall.SIGCONT) }
