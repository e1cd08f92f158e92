package broker_test

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/store"
)

// A logbook keeps the messages that were logged.
type logbook struct {
	mu       sync.Mutex // guards messages
	messages []string
}

func (*logbook) Enabled(context.Context, slog.Level) bool { return true }
func (l *logbook) WithAttrs([]slog.Attr) slog.Handler     { return l }
func (l *logbook) WithGroup(string) slog.Handler          { return l }
func (l *logbook) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.messages = append(l.messages, r.Message)
	return nil
}

// take returns the messages since the last call.
func (l *logbook) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.messages
	l.messages = nil
	return out
}

var errDisk = errors.New("input/output error")

// A brokenStore fails where a test says so.
type brokenStore struct {
	store.Store
	prefix string     // of the records that fail; empty: those of accounts
	mu     sync.Mutex // guards broken
	broken string     // the operation and the end of the name, such as "put .log"; empty: nothing
}

func (s *brokenStore) set(broken string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = broken
}

// failing runs do while the store fails so, and returns what is logged meanwhile.
func (s *brokenStore) failing(broken string, log *logbook, do func()) []string {
	log.take()
	s.set(broken)
	do()
	s.set("")
	return log.take()
}

func (s *brokenStore) fails(op, name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	what, suffix, _ := strings.Cut(s.broken, " ")
	return what == op && strings.HasPrefix(name, cmp.Or(s.prefix, "account-")) && strings.HasSuffix(name, suffix)
}

func (s *brokenStore) Get(ctx context.Context, name string) ([]byte, store.Version, error) {
	if s.fails("get", name) {
		return nil, 0, errDisk
	}
	return s.Store.Get(ctx, name)
}

func (s *brokenStore) Put(ctx context.Context, name string, data []byte, old store.Version) (store.Version, error) {
	if s.fails("put", name) {
		return 0, errDisk
	}
	return s.Store.Put(ctx, name, data, old)
}

func (s *brokenStore) Delete(ctx context.Context, name string, old store.Version) error {
	if s.fails("delete", name) {
		return errDisk
	}
	return s.Store.Delete(ctx, name, old)
}

func (s *brokenStore) List(ctx context.Context, prefix string) ([]string, error) {
	if s.fails("list", prefix) {
		return nil, errDisk
	}
	return s.Store.List(ctx, prefix)
}

func (s *brokenStore) Lease(ctx context.Context, name string) (func(), error) {
	return s.Store.(store.Leaser).Lease(ctx, name)
}

// What fails beside what a call is for does not fail the call; it is logged, and only
// then.
func TestFailuresBesideAreLogged(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		says   string
		broken string
		do     func(t *testing.T, w *world, broken bool)
	}{
		{"an account is not readable", "get .state", func(_ *testing.T, w *world, _ bool) { w.open() }},
		{"writing the sign-in log failed", "put .log", func(_ *testing.T, w *world, _ bool) {
			for range 33 {
				w.silent(graph, broker.WithForceRefresh())
			}
			broker.WaitBackground(w.b)
		}},
		{"writing the sign-in log failed", "put .log", func(t *testing.T, w *world, _ bool) {
			w.silent(open)
			require.NoError(t, w.b.Close())
		}},
		{"kept tokens cannot be read", "get .tokens", func(_ *testing.T, w *world, _ bool) {
			w.silent(open)
		}},
		{"a token cannot be kept", "put .tokens", func(_ *testing.T, w *world, _ bool) { w.silent(open) }},
		{"challenged tokens cannot be dropped", "put .tokens", func(_ *testing.T, w *world, _ bool) {
			w.silent(graph, broker.WithClaims(contextC1))
		}},
		{"kept tokens cannot be erased", "delete .tokens", func(t *testing.T, w *world, _ bool) {
			require.NoError(t, w.srv.Revoke(alice))
			_, err := w.b.AcquireTokenSilent(t.Context(), open)
			require.ErrorIs(t, err, broker.ErrPRTRevoked)
		}},
		{"refresh of a valid token failed", "", func(_ *testing.T, w *world, broken bool) {
			w.silent(graph, broker.WithCAE())
			w.clock.Advance(13 * time.Hour)
			if broken {
				w.wire.set(func(*http.Request) error { return errCut }, nil)
			}
			w.silent(graph, broker.WithCAE())
			broker.WaitBackground(w.b)
		}},
		{"removing the Hello key failed", "", func(t *testing.T, w *world, broken bool) {
			w.signInBob() // who has none
			w.wire.set(func(r *http.Request) error {
				if broken && r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "/key") {
					return errCut
				}
				return nil
			}, nil)
			require.NoError(t, w.b.UnregisterDevice(t.Context()))
		}},
	} {
		for name, broken := range map[string]bool{"": false, ", broken": true} {
			t.Run(tt.says+name, func(t *testing.T) {
				w := newWorld(t, withMemory, withOptions(func(o *entratest.Options) { o.Logf = func(string, ...any) {} }))
				log, disk := &logbook{}, &brokenStore{Store: w.store}
				w.cfg.Logger, w.cfg.Store, w.cfg.KeepTokens = slog.New(log), disk, true
				softwareHello(w)
				w.join()
				w.hello()
				w.silent(graph)
				fault := map[bool]string{true: tt.broken}[broken]
				messages := disk.failing(fault, log, func() { tt.do(t, w, broken) })
				require.Equal(t, broken, slices.Contains(messages, tt.says), messages)
			})
		}
	}
}

// A store that cannot list the accounts does not stop Run, which looks again soon; a
// new broker does not start with it.
func TestAccountsThatCannotBeListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	w.signIn()
	log, disk := &logbook{}, &brokenStore{Store: w.store}
	w.cfg.Logger, w.cfg.Store = slog.New(log), disk
	w.reopen()
	require.GreaterOrEqual(t, w.runOnce(), 15*time.Minute)
	require.NotContains(t, log.take(), "reading the accounts failed")
	disk.set("list ")
	require.Less(t, w.runOnce(), 15*time.Minute)
	require.Contains(t, log.take(), "reading the accounts failed")
	_, err := broker.New(t.Context(), w.cfg)
	require.ErrorIs(t, err, errDisk)
}

// The sign-in log is written from time to time, not at each token.
func TestSignInLogIsWrittenSeldom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	w.signIn()
	written := 0
	g := &gateStore{Store: w.store}
	g.set(func(op, name string) {
		if op == "put" && strings.HasSuffix(name, ".log") {
			written++
		}
	})
	w.cfg.Store = g
	w.reopen()
	w.silent(graph)
	broker.WaitBackground(w.b)
	require.Zero(t, written)
	for range 40 {
		w.silent(graph, broker.WithForceRefresh())
		broker.WaitBackground(w.b)
	}
	require.Positive(t, written)
	require.Less(t, written, 5)
}

// A second Close does nothing, also while the first is writing.
func TestCloseDuringClose(t *testing.T) {
	t.Parallel()
	l := &laptop{tpm: tpms.Swtpm(t)}
	l.prepare(t, l.openTPM(t), aWeek)
	g := &gateStore{Store: l.store}
	l.cfg.Store = g
	l.reopen()
	l.unlock(rightPIN)
	l.silent(open)
	again := false
	g.set(func(op, name string) {
		if op == "put" && strings.HasSuffix(name, ".log") {
			g.set(nil)
			again = true
			require.NoError(t, l.b.Close())
		}
	})
	require.NoError(t, l.b.Close())
	require.True(t, again)
	l.b = l.open()
	l.cut()
	require.True(t, l.unlock(rightPIN).Offline)
	require.Equal(t, broker.SourceCache, l.silent(open).Metadata.Source)
}

// The end of a call's context is not a problem of the state.
func TestStatusEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	disk := &brokenStore{Store: w.store, prefix: "device-"}
	g := &gateStore{Store: disk}
	w.cfg.Store = g
	w.reopen()
	ctx, cancel := context.WithCancel(t.Context())
	disk.set("get ")
	g.set(func(_, name string) {
		if strings.HasPrefix(name, "device-") {
			cancel()
		}
	})
	_, err := w.b.Status(ctx)
	require.ErrorIs(t, err, context.Canceled)
}
