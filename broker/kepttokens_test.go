package broker_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

// keeping is a machine whose processes share tokens.
func keeping(t *testing.T, changes ...change) *world {
	w := newWorld(t, append([]change{func(w *world, _ *entratestOptions) {
		if w.store == nil {
			w.store = fileStore(t, filepath.Join(t.TempDir(), "state"))
		}
	}}, changes...)...)
	w.cfg.KeepTokens = true
	w.b = w.open()
	w.join()
	w.signIn()
	return w
}

// exchanges are the token requests since the last call.
func (w *world) exchanges() (n int) {
	for _, p := range w.wire.take() {
		if p == "token" {
			n++
		}
	}
	return n
}

// Twenty processes one after the other make one exchange, and saving a token is
// no command of the TPM.
func TestKeptTokensOneAfterTheOther(t *testing.T) {
	t.Parallel()
	keys, counting := softwareTPM(t)
	w := keeping(t, withKeys(keys))
	w.silent(open) // an account's data key is open now, and a session key loaded
	w.wire.take()
	counting.Take()
	first := w.silent(graph)
	require.Equal(t, 1, w.exchanges())
	require.Len(t, counting.Take(), 2, "one derivation for the request, one for the reply, none to save")
	for range 19 {
		b := w.open()
		res, err := b.AcquireTokenSilent(t.Context(), graph)
		require.NoError(t, err)
		require.Equal(t, first.AccessToken, res.AccessToken)
		require.Equal(t, broker.SourceCache, res.Metadata.Source)
		require.NoError(t, b.Close())
	}
	require.Empty(t, w.wire.take())

	w.cfg.KeepTokens = false
	res, err := w.open().AcquireTokenSilent(t.Context(), graph)
	require.NoError(t, err)
	require.NotEqual(t, first.AccessToken, res.AccessToken, "a process that keeps none takes none")
}

// Twenty at once make one exchange too, since a file store lends leases.
func TestKeptTokensAtOnce(t *testing.T) {
	t.Parallel()
	w := keeping(t)
	w.wire.take()
	var brokers []*broker.Broker
	for range 20 {
		brokers = append(brokers, w.open())
	}
	var all sync.WaitGroup
	tokens := make([]string, len(brokers))
	for i, b := range brokers {
		all.Go(func() {
			res, err := b.AcquireTokenSilent(t.Context(), graph)
			if err == nil {
				tokens[i] = res.AccessToken
			}
		})
	}
	all.Wait()
	require.Equal(t, 1, w.exchanges())
	for _, k := range tokens {
		require.NotEmpty(t, k)
		require.Equal(t, tokens[0], k)
	}
}

// sharing is a machine whose processes are real ones.
type sharing struct {
	*world
	job renewJob
}

func keepingForProcesses(t *testing.T) sharing {
	dir := t.TempDir()
	master := filepath.Join(dir, "master")
	keys, err := softkeys.Open(softkeys.File(master), softkeys.InsecureFastPINs())
	require.NoError(t, err)
	t.Cleanup(func() { _ = keys.Close() })
	w := keeping(t, withKeys(keys), func(w *world, _ *entratestOptions) { w.store = fileStore(t, filepath.Join(dir, "state")) })
	return sharing{w, renewJob{
		Master: master, State: filepath.Join(dir, "state"), Addr: w.srv.Addr(), CA: string(w.srv.CA()), Now: w.clock.Now(), Tokens: true,
	}}
}

// process gets a token in a process of its own and returns the token's hash.
func (s sharing) process(t *testing.T, dies death) (string, error) {
	job := s.job
	job.Die = dies
	text, err := json.Marshal(job)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), renewerEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	return string(out), err
}

// Twenty real processes make one exchange, one after the other and at once, and
// all have its token.
func TestKeptTokensOfProcesses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		run  func(do func())
	}{
		{"one after the other", func(do func()) { do() }},
		{"at once", func(do func()) { go do() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := keepingForProcesses(t)
			before := len(s.srv.SignIns())
			outputs := make([]string, 20)
			var all sync.WaitGroup
			for i := range outputs {
				all.Add(1)
				tc.run(func() {
					defer all.Done()
					outputs[i], _ = s.process(t, "")
				})
			}
			all.Wait()
			for _, out := range outputs {
				require.Contains(t, out, "token ")
				require.Equal(t, outputs[0], out)
			}
			require.Len(t, s.srv.SignIns()[before:], 1, "the service saw one request")
		})
	}
}

// A process that is killed while it gets a token holds up nobody, and takes no
// token with it that was kept before.
func TestKeptTokensOfADyingProcess(t *testing.T) {
	t.Parallel()
	for _, dies := range []death{dieAsking, dieTold, dieSaving} {
		t.Run(string(dies), func(t *testing.T) {
			t.Parallel()
			s := keepingForProcesses(t)
			kept := s.silent(open)
			out, err := s.process(t, dies)
			var killed *exec.ExitError
			require.ErrorAs(t, err, &killed)
			require.Empty(t, out)

			s.wire.take()
			b := s.open()
			defer b.Close()
			res, err := b.AcquireTokenSilent(t.Context(), open)
			require.NoError(t, err)
			require.Equal(t, kept.AccessToken, res.AccessToken)
			require.Empty(t, s.wire.take())
			out, err = s.process(t, "")
			require.NoError(t, err)
			require.Contains(t, out, "token ")
			res, err = b.AcquireTokenSilent(t.Context(), graph)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("token %x\n", sha256.Sum256([]byte(res.AccessToken))), out, "the next process kept its token")
			require.Empty(t, s.wire.take())
		})
	}
}

// A newer token of another process is seen at the next miss.
func TestKeptTokensNewer(t *testing.T) {
	t.Parallel()
	w := keeping(t)
	old := w.silent(graph)
	other := w.open()
	w.clock.Advance(old.ExpiresOn.Sub(w.clock.Now()) + time.Second)
	newer, err := other.AcquireTokenSilent(t.Context(), graph)
	require.NoError(t, err)
	require.NotEqual(t, old.AccessToken, newer.AccessToken)
	w.wire.take()
	require.Equal(t, newer.AccessToken, w.silent(graph).AccessToken)
	require.Empty(t, w.wire.take())
}

// What ends the tokens that are kept.
func TestKeptTokensEnd(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(t *testing.T, w *world, acct broker.Account)
	}{
		{"the account is removed", func(t *testing.T, w *world, acct broker.Account) {
			require.NoError(t, w.b.RemoveAccount(t.Context(), acct))
		}},
		{"the PRT is revoked", func(t *testing.T, w *world, _ broker.Account) {
			require.NoError(t, w.srv.Revoke(alice))
			_, err := w.b.AcquireTokenSilent(t.Context(), graph, broker.WithForceRefresh())
			require.ErrorIs(t, err, broker.ErrPRTRevoked)
		}},
		{"the user is disabled", func(t *testing.T, w *world, _ broker.Account) {
			require.NoError(t, w.srv.DisableUser(alice))
			_, err := w.b.AcquireTokenSilent(t.Context(), graph, broker.WithForceRefresh())
			require.ErrorIs(t, err, broker.ErrUserDisabled)
		}},
		{"a claims challenge", func(t *testing.T, w *world, _ broker.Account) {
			w.wire.mu.Lock()
			w.wire.hook = func(*http.Request) error { return errors.New("network is unreachable") }
			w.wire.mu.Unlock()
			_, err := w.b.AcquireTokenSilent(t.Context(), graph, broker.WithClaims(`{"access_token":{"nbf":{"essential":true,"value":"1"}}}`))
			require.ErrorIs(t, err, broker.ErrTransient)
			w.wire.mu.Lock()
			w.wire.hook = nil
			w.wire.mu.Unlock()
		}},
		{"they expire", func(_ *testing.T, w *world, _ broker.Account) { w.clock.Advance(3 * time.Hour) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := keeping(t)
			res := w.silent(graph)
			w.silent(open)
			tc.end(t, w, res.Account)
			w.wire.take()
			again, err := w.open().AcquireTokenSilent(t.Context(), graph)
			require.NotEqual(t, res.AccessToken, again.AccessToken)
			if err == nil {
				require.Equal(t, 1, w.exchanges())
			}
		})
	}
}

// A claims challenge drops the tokens of its app and resource, and no others.
func TestKeptTokensOutliveAnothersChallenge(t *testing.T) {
	t.Parallel()
	const second = "11111111-aaaa-4bbb-8ccc-00000000000a"
	w := keeping(t, withOptions(func(o *entratestOptions) {
		o.Apps = append(o.Apps, entratest.App{ClientID: second, Public: true, Redirects: []string{native}, AdminConsent: true})
	}))
	other := broker.WithApp(broker.App{ClientID: second})
	w.silent(graph)
	w.silent(open)
	w.silent(graph, other)
	w.wire.set(func(*http.Request) error { return errCut }, nil)
	_, err := w.b.AcquireTokenSilent(t.Context(), graph, broker.WithClaims(contextC1))
	require.ErrorIs(t, err, broker.ErrTransient)
	next := w.open()
	for name, get := range map[string]func() (broker.AuthResult, error){
		"another resource": func() (broker.AuthResult, error) { return next.AcquireTokenSilent(t.Context(), open) },
		"another app":      func() (broker.AuthResult, error) { return next.AcquireTokenSilent(t.Context(), graph, other) },
	} {
		res, err := get()
		require.NoError(t, err, name)
		require.Equal(t, broker.SourceCache, res.Metadata.Source, name)
	}
	_, err = next.AcquireTokenSilent(t.Context(), graph)
	require.ErrorIs(t, err, broker.ErrTransient)
}

// afterRead is a store that does something once after a record was read.
type afterRead struct {
	store.Store
	suffix string
	do     func()
}

func (s *afterRead) Get(ctx context.Context, name string) ([]byte, store.Version, error) {
	data, v, err := s.Store.Get(ctx, name)
	if do := s.do; do != nil && strings.HasSuffix(name, s.suffix) {
		s.do = nil
		do()
	}
	return data, v, err
}

func (s *afterRead) Lease(ctx context.Context, name string) (func(), error) {
	return s.Store.(store.Leaser).Lease(ctx, name)
}

// A kept token of an account that is removed or locked while it is read is not served.
func TestKeptTokenIsReadTooLate(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end  func(l *laptop) error
		want error
	}{
		"removed": {func(l *laptop) error { return l.b.RemoveAccount(l.t.Context(), l.acct) }, broker.ErrNoAccount},
		"locked":  {func(l *laptop) error { return l.b.Lock(l.t.Context(), l.acct) }, broker.ErrLocked},
	} {
		t.Run(name, func(t *testing.T) {
			l := &laptop{tpm: tpms.Swtpm(t)}
			l.prepare(t, l.openTPM(t), aWeek)
			s := &afterRead{Store: l.store, suffix: ".tokens"}
			l.cfg.Store, l.cfg.KeepTokens = s, true
			l.reopen()
			l.unlock(rightPIN)
			other := l.open()
			_, err := other.AcquireTokenSilent(t.Context(), open)
			require.NoError(t, err)
			s.do = func() { require.NoError(t, tt.end(l)) }
			_, err = l.b.AcquireTokenSilent(t.Context(), open)
			require.ErrorIs(t, err, tt.want)
			_, err = l.b.AcquireTokenSilent(t.Context(), open)
			require.ErrorIs(t, err, tt.want)
		})
	}
}

// Lock erases them; only the PIN brings tokens back, those under its own key.
func TestKeptTokensAndLock(t *testing.T) {
	t.Parallel()
	keys, _ := softwareTPM(t)
	w := newWorld(t, withKeys(keys), func(w *world, _ *entratestOptions) {
		w.store = fileStore(t, filepath.Join(t.TempDir(), "state"))
	})
	w.cfg.KeepTokens, w.cfg.Offline = true, tpm.Limit{Time: 24 * time.Hour, Resets: 5, Restarts: -1}
	w.b = w.open()
	w.join()
	acct := w.hello()
	_, err := w.b.Unlock(t.Context(), acct, rightPIN)
	require.NoError(t, err)
	res := w.silent(graph)
	require.NoError(t, w.b.Lock(t.Context(), acct))
	files, err := filepath.Glob(filepath.Join(w.store.(*store.File).Dir(), "*.tokens*.rec"))
	require.NoError(t, err)
	require.Empty(t, files)
	_, err = w.open().AcquireTokenSilent(t.Context(), graph)
	require.ErrorIs(t, err, broker.ErrLocked)
	_, err = w.b.Unlock(t.Context(), acct, rightPIN)
	require.NoError(t, err)
	require.NotEmpty(t, res.AccessToken)
}

// On disk no token is in the clear.
func TestKeptTokensAreSealed(t *testing.T) {
	t.Parallel()
	w := keeping(t)
	res := w.silent(graph)
	dir := w.store.(*store.File).Dir()
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	found := false
	for _, f := range files {
		found = found || strings.Contains(f.Name(), ".tokens.")
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		require.NoError(t, err)
		require.False(t, bytes.Contains(b, []byte(res.AccessToken)), f.Name())
		require.False(t, bytes.Contains(b, []byte("access_token")), f.Name())
	}
	require.True(t, found, "nothing was kept")
}

// A store that fails withholds no token, and whoever reads the log learns of it: see
// also TestBlackHole.
func TestKeptTokensStoreFails(t *testing.T) {
	t.Parallel()
	w := keeping(t)
	log := &lockedBuffer{}
	w.cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	sound := w.open()
	_, err := sound.AcquireTokenSilent(t.Context(), graph)
	require.NoError(t, err)
	_, err = sound.AcquireTokenSilent(t.Context(), graph, broker.WithClaims(`{"access_token":{"nbf":{"essential":true,"value":"1"}}}`))
	require.NoError(t, err)
	require.NotContains(t, log.String(), "cannot be")

	w.cfg.Store = tokenless{w.store}
	b := w.open()
	res, err := b.AcquireTokenSilent(t.Context(), graph)
	require.NoError(t, err)
	require.NotEmpty(t, res.AccessToken)
	require.Contains(t, log.String(), "kept tokens cannot be read")
	require.Contains(t, log.String(), "a token cannot be kept")
	_, err = b.AcquireTokenSilent(t.Context(), graph, broker.WithClaims(`{"access_token":{"nbf":{"essential":true,"value":"2"}}}`))
	require.NoError(t, err)
	require.Contains(t, log.String(), "challenged tokens cannot be dropped")
	require.NoError(t, w.srv.Revoke(alice))
	w.clock.Advance(time.Second)
	_, err = b.AcquireTokenSilent(t.Context(), graph, broker.WithForceRefresh())
	require.ErrorIs(t, err, broker.ErrPRTRevoked)
	require.Contains(t, log.String(), "kept tokens cannot be erased")
	require.NoError(t, b.Close())
}

// A challenge is about one app's token for one resource: what is kept for other
// resources, and for other apps, stays.
func TestChallengeDropsOneToken(t *testing.T) {
	t.Parallel()
	const other = "11111111-aaaa-4bbb-8ccc-00000000000a"
	w := keeping(t, withOptions(func(o *entratest.Options) {
		o.Apps = append(o.Apps, entratest.App{ClientID: other, Name: "Another app", Public: true, Redirects: []string{native}, AdminConsent: true})
	}))
	as := broker.WithApp(broker.App{ClientID: other})
	w.silent(graph)
	forOpen, ofOther := w.silent(open), w.silent(graph, as)
	w.wire.set(func(*http.Request) error { return errors.New("network is unreachable") }, nil)
	_, err := w.b.AcquireTokenSilent(t.Context(), graph, broker.WithClaims(`{"access_token":{"nbf":{"essential":true,"value":"1"}}}`))
	require.ErrorIs(t, err, broker.ErrTransient)
	b := w.open()
	for _, tt := range []struct {
		scopes []string
		opts   []broker.CallOption
		want   string
	}{{open, nil, forOpen.AccessToken}, {graph, []broker.CallOption{as}, ofOther.AccessToken}} {
		res, err := b.AcquireTokenSilent(t.Context(), tt.scopes, tt.opts...)
		require.NoError(t, err)
		require.Equal(t, tt.want, res.AccessToken)
	}
	_, err = b.AcquireTokenSilent(t.Context(), graph)
	require.ErrorIs(t, err, broker.ErrTransient, "that one is gone")
}

// tokenless is a store that fails for the tokens.
type tokenless struct{ store.Store }

func (s tokenless) Get(ctx context.Context, name string) ([]byte, store.Version, error) {
	if strings.HasSuffix(name, ".tokens") {
		return nil, 0, errors.New("input/output error")
	}
	return s.Store.Get(ctx, name)
}

func (s tokenless) Delete(ctx context.Context, name string, old store.Version) error {
	if strings.HasSuffix(name, ".tokens") {
		return errors.New("input/output error")
	}
	return s.Store.Delete(ctx, name, old)
}
