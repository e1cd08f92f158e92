//go:build unix

package terminal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/term"
)

// tty is an open terminal. Its reads can be ended by a deadline, so that an
// unanswered question does not keep a goroutine reading the keyboard.
type tty struct{ *os.File }

func openTTY(path string) (*tty, error) {
	f, err := os.OpenFile(cmp.Or(path, "/dev/tty"), os.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ENXIO) || path == "" && errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoTerminal
	}
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	t := &tty{f}
	if err := t.control(func(fd int) error {
		if !term.IsTerminal(fd) {
			return ErrNoTerminal
		}
		return nil
	}); err != nil {
		f.Close()
		return nil, err
	}
	return t, nil
}

// control calls f with the descriptor. Fd would make the file blocking, so that
// a read of it could no longer be ended.
func (t *tty) control(f func(fd int) error) error {
	c, err := t.SyscallConn()
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	var inner error
	if err := c.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	return inner
}

// raw turns off echo and line editing and returns what turns them on again.
func (t *tty) raw() (restore func(), err error) {
	var old *term.State
	err = t.control(func(fd int) (err error) {
		if old, err = term.MakeRaw(fd); err != nil {
			return fmt.Errorf("terminal: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return func() { _ = t.control(func(fd int) error { return term.Restore(fd, old) }) }, nil
}

// unblock ends reads when the context does, until stop is called.
func (t *tty) unblock(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = t.SetReadDeadline(time.Unix(1, 0)) })
}
