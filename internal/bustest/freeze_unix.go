//go:build unix

package bustest

import "syscall"

// Freeze suspends the daemon: it stops answering, but connections stay open. It
// resumes after Thaw.
func (b *Bus) Freeze() { _ = b.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw lets the daemon go on after Freeze.
func (b *Bus) Thaw() { _ = b.cmd.Process.Signal(syscall.SIGCONT) }
