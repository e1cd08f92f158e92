package ctaphid

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Messages of every length come back as they were, and fill as many reports as the
// specification says.
func TestFragmentation(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ size, reports int }{{0, 1}, {1, 1}, {57, 1}, {58, 2}, {116, 2}, {117, 3}, {1200, 21}, {MaxMessage, 129}} {
		message := bytes.Repeat([]byte{0xa5}, tt.size)
		out, err := packets(7, CommandCBOR, message)
		require.NoError(t, err)
		require.Len(t, out, tt.reports, "%d bytes", tt.size)
		a := assembly{channel: 7}
		for i := range out {
			whole, err := a.add(out[i][:])
			require.NoError(t, err)
			require.Equal(t, i == len(out)-1, whole)
		}
		require.Equal(t, byte(CommandCBOR), a.command)
		require.Equal(t, tt.size, len(a.message))
		require.True(t, bytes.Equal(message, a.message))
	}
	require.Equal(t, 7609, MaxMessage, "CTAP 2.1, 11.2.4")
	_, err := packets(7, CommandCBOR, make([]byte, MaxMessage+1))
	require.ErrorContains(t, err, "at most 7609")
}

// Reports that break the protocol end the conversation; those of another channel do
// not.
func TestReports(t *testing.T) {
	t.Parallel()
	report := func(head string, rest ...byte) []byte {
		b, err := hex.DecodeString(strings.ReplaceAll(head, " ", ""))
		require.NoError(t, err)
		return append(b, append(rest, make([]byte, ReportSize-len(b)-len(rest))...)...)
	}
	for _, tt := range []struct {
		name    string
		reports [][]byte
		err     error
	}{
		{"in order", [][]byte{report("00000007 90 0070"), report("00000007 00")}, nil},
		{"of another channel between", [][]byte{report("00000007 90 0070"), report("00000008 90 0001"), report("00000007 00")}, nil},
		{"a continuation first", [][]byte{report("00000007 00")}, ErrMalformed},
		{"out of order", [][]byte{report("00000007 90 0070"), report("00000007 01")}, ErrMalformed},
		{"begun anew", [][]byte{report("00000007 90 0070"), report("00000007 90 0070")}, ErrMalformed},
		{"too long", [][]byte{report("00000007 90 1dba")}, ErrMalformed},
		{"short", [][]byte{{0, 0, 0, 7, 0x90, 0, 1, 9}}, ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := assembly{channel: 7}
			var whole bool
			var err error
			for _, r := range tt.reports {
				if whole, err = a.add(r); err != nil {
					break
				}
			}
			require.ErrorIs(t, err, tt.err)
			require.Equal(t, tt.err == nil, whole)
		})
	}
}

// A wire is a device whose answers a test gives by hand.
type wire struct {
	out    chan []byte
	in     chan []byte
	closed chan struct{}
}

func newWire() *wire {
	return &wire{out: make(chan []byte), in: make(chan []byte), closed: make(chan struct{})}
}

func (w *wire) Read(b []byte) (int, error) {
	select {
	case r := <-w.in:
		return copy(b, r), nil
	case <-w.closed:
		return 0, io.EOF
	}
}

func (w *wire) Write(b []byte) (int, error) {
	select {
	case w.out <- bytes.Clone(b):
		return len(b), nil
	case <-w.closed:
		return 0, io.EOF
	}
}

func (w *wire) Close() error { close(w.closed); return nil }

// hello answers an INIT.
func (w *wire) hello(t *testing.T) {
	r := <-w.out
	require.Equal(t, []byte{0xff, 0xff, 0xff, 0xff, 0x86, 0, 8}, r[:7])
	stranger := append([]byte{0xff, 0xff, 0xff, 0xff, 0x86, 0, 17}, "another!\x00\x00\x00\x08\x02\x05\x07\x01\x04"...)
	w.push(stranger)
	own := append([]byte{0xff, 0xff, 0xff, 0xff, 0x86, 0, 17}, r[7:15]...)
	own = append(own, 0, 0, 0, 7, 2, 5, 7, 1, 4)
	w.push(own)
}

func (w *wire) answer(command byte, data ...byte) {
	r := append([]byte{0, 0, 0, 7, 0x80 | command, 0, byte(len(data))}, data...)
	w.push(r)
}

// push sends a report, unless the device is closed.
func (w *wire) push(r []byte) {
	select {
	case w.in <- append(r, make([]byte, ReportSize-len(r))...):
	case <-w.closed:
	}
}

// Another program's INIT is not ours, a busy key is asked again, and keep-alives are
// told.
func TestCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		go func() {
			w.hello(t)
			<-w.out
			w.answer(commandError, byte(ErrorBusy))
			<-w.out
			w.answer(commandKeepAlive, StatusProcessing)
			w.answer(commandKeepAlive, StatusTouch)
			w.answer(CommandCBOR, 0, 42)
		}()
		c, err := Open(t.Context(), w)
		require.NoError(t, err)
		defer c.Close()
		require.Equal(t, byte(CapabilityCBOR), c.Capabilities)
		begun := time.Now()
		var statuses []byte
		got, err := c.Call(t.Context(), CommandCBOR, []byte{4}, func(s byte) error { statuses = append(statuses, s); return nil })
		require.NoError(t, err)
		require.Equal(t, []byte{0, 42}, got)
		require.Equal(t, []byte{StatusProcessing, StatusTouch}, statuses)
		require.Equal(t, busyPause, time.Since(begun))
	})
}

// A device that takes nothing, answers nothing, or is busy for ever holds up nobody
// longer than the context.
func TestSilentDevices(t *testing.T) {
	t.Parallel()
	for name, serve := range map[string]func(*testing.T, *wire){
		"takes no report":      func(*testing.T, *wire) {},
		"answers no INIT":      func(_ *testing.T, w *wire) { <-w.out },
		"takes no command":     func(t *testing.T, w *wire) { w.hello(t) },
		"answers no command":   func(t *testing.T, w *wire) { w.hello(t); <-w.out },
		"is busy for ever":     func(t *testing.T, w *wire) { w.hello(t); busy(w) },
		"is alive and no more": func(t *testing.T, w *wire) { w.hello(t); alive(w) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWire()
				go serve(t, w)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				begun := time.Now()
				c, err := Open(ctx, w)
				if err == nil {
					_, err = c.Call(ctx, CommandCBOR, []byte{4}, nil)
					c.Close()
				}
				if errors.Is(err, ErrSilent) {
					require.Equal(t, openTimeout, time.Since(begun))
				} else {
					require.ErrorIs(t, err, context.DeadlineExceeded)
					require.Equal(t, 10*time.Second, time.Since(begun))
				}
				time.Sleep(openTimeout) // of the bubble's time: the cancel gives up
			})
		})
	}
}

func busy(w *wire) {
	for {
		select {
		case <-w.out:
			w.answer(commandError, byte(ErrorBusy))
		case <-w.closed:
			return
		}
	}
}

func alive(w *wire) {
	<-w.out
	for {
		select {
		case w.in <- append([]byte{0, 0, 0, 7, 0x80 | commandKeepAlive, 0, 1, StatusTouch}, make([]byte, ReportSize-8)...):
			time.Sleep(100 * time.Millisecond)
		case <-w.out: // the cancel
		case <-w.closed:
			return
		}
	}
}

// FuzzAssembly: whatever reports come, a message is never longer than the protocol
// allows, and one that was cut by us is put together as it was.
func FuzzAssembly(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x07\x90\x00\x70"), []byte("hello"))
	f.Fuzz(func(t *testing.T, stream, message []byte) {
		a := assembly{channel: 7}
		for len(stream) > 0 {
			var r [ReportSize]byte
			stream = stream[copy(r[:], stream):]
			whole, err := a.add(r[:])
			if err != nil {
				break
			}
			if whole {
				require.LessOrEqual(t, len(a.message), MaxMessage)
				require.Len(t, a.message, a.want)
				a = assembly{channel: 7}
			}
		}
		out, err := packets(7, CommandCBOR, message)
		if err != nil {
			require.Greater(t, len(message), MaxMessage)
			return
		}
		a = assembly{channel: 7}
		var whole bool
		for i := range out {
			require.False(t, whole)
			whole, err = a.add(out[i][:])
			require.NoError(t, err)
		}
		require.True(t, whole)
		require.True(t, bytes.Equal(message, a.message))
	})
}
