package terminal

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/term"
)

// tty is the console: one file to read from and one to write to.
type tty struct{ in, out *os.File }

func openTTY(path string) (*tty, error) {
	if path != "" {
		return nil, fmt.Errorf("terminal: Prompter.Device is not for Windows: the console has no path")
	}
	in, err := os.OpenFile("CONIN$", os.O_RDWR, 0)
	if err != nil {
		return nil, ErrNoTerminal
	}
	out, err := os.OpenFile("CONOUT$", os.O_RDWR, 0)
	if err != nil {
		in.Close()
		return nil, ErrNoTerminal
	}
	return &tty{in, out}, nil
}

func (t *tty) Read(b []byte) (int, error)  { return t.in.Read(b) }
func (t *tty) Write(b []byte) (int, error) { return t.out.Write(b) }

func (t *tty) Close() {
	t.in.Close()
	t.out.Close()
}

func (t *tty) raw() (restore func(), err error) {
	fd := int(t.in.Fd())
	old, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	return func() { _ = term.Restore(fd, old) }, nil
}

// unblock closes the console's input when the context ends: a console has no
// deadlines, and the read under way would take the next line that is typed.
func (t *tty) unblock(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { t.in.Close() })
}
