// Package stepper runs a program one writing system call at a time, and kills it
// before any of them: what a crash leaves behind is what the calls before it did.
//
// The program needs no fault points. It installs a seccomp filter ([Enter]) that
// hands each call that can change a file, a socket or a directory to its parent
// ([Run]), which counts it and lets it happen, or ends the program instead. That
// takes Linux 5.7, and neither root nor ptrace.
package stepper

// A Call is one system call that the program is about to make.
type Call struct {
	// Number counts the calls, from 0.
	Number int
	// Name is that of the system call, such as renameat.
	Name string
	// Mark is what the program said by [Mark] instead of making a call that writes;
	// zero for all others.
	Mark int

	args [6]uint64
	pid  int
}
