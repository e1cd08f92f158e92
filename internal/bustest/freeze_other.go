//go:build !unix

package bustest

// Freeze skips the test: only Unix can suspend a process.
func (b *Bus) Freeze() { b.t.Skip("no process is stopped as it is here") }

// Thaw has nothing to do.
func (b *Bus) Thaw() {}
