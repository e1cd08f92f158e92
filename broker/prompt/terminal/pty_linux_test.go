package terminal_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A screen is the person's side of a terminal: what was printed, and the keys.
type screen struct {
	path string
	keys *os.File

	mu      sync.Mutex
	changed *sync.Cond
	text    bytes.Buffer
	over    bool
}

func newScreen(t *testing.T) *screen {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	require.NoError(t, err)
	conn, err := master.SyscallConn()
	require.NoError(t, err)
	var n int
	var inner error
	require.NoError(t, conn.Control(func(fd uintptr) {
		if inner = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); inner == nil {
			n, inner = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}))
	require.NoError(t, inner)
	s := &screen{path: fmt.Sprintf("/dev/pts/%d", n), keys: master}
	s.changed = sync.NewCond(&s.mu)
	// While no program has the terminal open, its other side reads an error.
	keep, err := os.OpenFile(s.path, os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(s, master)
		s.mu.Lock()
		s.over = true
		s.changed.Broadcast()
		s.mu.Unlock()
	}()
	t.Cleanup(func() {
		keep.Close()
		master.Close()
		<-done
	})
	return s
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(b)
	s.changed.Broadcast()
	return len(b), nil
}

// await returns what is on the screen once it shows a text.
func (s *screen) await(t *testing.T, text string) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !bytes.Contains(s.text.Bytes(), []byte(text)) {
		require.Falsef(t, s.over, "the screen never showed %q, but %q", text, s.text.String())
		s.changed.Wait()
	}
	return s.text.String()
}

func (s *screen) press(t *testing.T, keys string) {
	t.Helper()
	_, err := io.WriteString(s.keys, keys)
	require.NoError(t, err)
}

// modes are the terminal's settings.
func (s *screen) modes(t *testing.T) unix.Termios {
	t.Helper()
	f, err := os.OpenFile(s.path, os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	defer f.Close()
	m, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	require.NoError(t, err)
	return *m
}
