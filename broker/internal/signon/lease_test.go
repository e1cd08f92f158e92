package signon

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

// slow is a store that may hang or fail when something is written.
type slow struct {
	store.Memory
	puts  int
	hangs bool
	err   error
	lease error // nil: leases are its own
}

func (s *slow) Put(ctx context.Context, name string, data []byte, old store.Version) (store.Version, error) {
	s.puts++
	if s.hangs {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	if s.err != nil {
		return 0, s.err
	}
	return s.Memory.Put(ctx, name, data, old)
}

func (s *slow) Lease(ctx context.Context, name string) (func(), error) {
	if s.lease != nil {
		return nil, s.lease
	}
	return s.Memory.Lease(ctx, name)
}

var errFull = errors.New("the disk is full")

// newOffline is an engine without a network over a store, and its only account, which
// has a PRT of a password until noon.
func newOffline(t *testing.T, s store.Store, log io.Writer, now func() time.Time) (*Engine, *account.Account) {
	t.Helper()
	keys, err := softkeys.Open(softkeys.File(t.TempDir() + "/master"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, keys.Close()) })
	logger := slog.New(slog.NewTextHandler(log, nil))
	finish := func(ctx context.Context, work func(context.Context) error) error { return work(ctx) }
	book := account.NewBook(account.Config{Keys: keys, Ring: vault.NewKeyring(keys, s, rand.Reader), Store: s, Rand: rand.Reader, Logger: logger, Now: now, Finish: finish, Gone: func(account.Identity) {}, Renamed: func(account.Identity) {}})
	a, err := book.Put(t.Context(), account.Identity{HomeAccountID: "alice.tenant"}, func(r *account.Record) error {
		r.Set(account.PRT{Token: &prt.Token{
			PRT: prt.NewSecret("0.prt"), KDF: prt.KDFv2, Credential: prt.ByPassword, SessionKey: []byte("key"),
			IssuedAt: noon.Add(-14 * 24 * time.Hour), RenewedAt: noon.Add(-14 * 24 * time.Hour), ExpiresAt: noon,
		}})
		return nil
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	e := New(Config{
		Book: book, Keys: keys, Store: s, Logger: logger, Now: now, Finish: finish, Tenant: "contoso.example",
		Span: func(ctx context.Context, _ string) (context.Context, func(error)) { return ctx, func(error) {} },
	})
	t.Cleanup(e.Close)
	return e, a
}

// Another process that holds the lease is waited for, longer where the renewal is
// asked for. Only a PRT that looks expired, beside which there is none to use, is
// renewed without it, which fails here for want of its session key.
func TestHeldLease(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		at            time.Time
		by            prt.CredentialKind
		force, closed bool
		lease         error
		want          error // nil: it is renewed
		wait          time.Duration
	}{
		"due":                       {at: noon.Add(-time.Hour), want: vault.ErrHeld, wait: vault.ShortWait},
		"due, and asked for":        {at: noon.Add(-time.Hour), force: true, want: vault.ErrHeld, wait: vault.LongWait},
		"expired":                   {at: noon.Add(time.Hour), wait: vault.ShortWait},
		"expired, and asked for":    {at: noon.Add(time.Hour), force: true, want: vault.ErrHeld, wait: vault.LongWait},
		"of another credential":     {at: noon.Add(time.Hour), by: prt.ByHello, want: vault.ErrHeld, wait: vault.ShortWait},
		"of a closed account":       {at: noon.Add(time.Hour), closed: true, want: vault.ErrHeld, wait: vault.ShortWait},
		"expired, no lease at all":  {at: noon.Add(time.Hour), lease: errFull, want: errFull},
		"due, with no lease at all": {at: noon.Add(-time.Hour), lease: errFull, want: errFull},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &slow{}
				e, a := newOffline(t, s, io.Discard, func() time.Time { return tt.at })
				release, err := s.Lease(t.Context(), a.Name())
				require.NoError(t, err)
				defer release()
				if tt.closed {
					require.NoError(t, a.Close())
				}
				s.lease = tt.lease
				by := tt.by
				if by == "" {
					by = prt.ByPassword
				}
				began := time.Now()
				_, err = e.Renew(t.Context(), a, by, tt.force)
				require.Equal(t, tt.wait, time.Since(began), "in the time of this test")
				if tt.want == nil {
					require.ErrorContains(t, err, "opening the session key")
				} else {
					require.ErrorIs(t, err, tt.want)
				}
			})
		})
	}
}

// A store that hangs holds up what is written on the side for a moment, and is then
// left alone for a while; one that fails is not, nor is one that the caller did not
// wait for.
func TestAside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s, now := &slow{}, noon
		e, a := newOffline(t, s, &log, func() time.Time { return now })
		note := func(ctx context.Context) (tried, noted bool) {
			puts := s.puts
			at := &account.Attempt{}
			e.aside(ctx, a, "noting it failed", func(r *account.Record) { r.Failed = at })
			return s.puts > puts, a.Record().Failed == at
		}
		try := func(ctx context.Context, wantTried, wantNoted bool, what string) {
			t.Helper()
			log.Reset()
			tried, noted := note(ctx)
			require.Equal(t, wantTried, tried, what)
			require.Equal(t, wantNoted, noted, what)
			require.Equal(t, tried && !noted, bytes.Contains(log.Bytes(), []byte("noting it failed")), what)
		}
		ctx := t.Context()
		try(ctx, true, true, "it works")
		s.err = errFull
		try(ctx, true, false, "it fails")
		s.err = nil
		try(ctx, true, true, "it works again")

		s.hangs = true
		short, cancel := context.WithTimeout(ctx, asideWait/2)
		defer cancel()
		try(short, true, false, "nobody waits")
		s.hangs = false
		try(ctx, true, true, "that was the caller's end")

		s.hangs = true
		began := time.Now()
		try(ctx, true, false, "it hangs")
		require.Equal(t, asideWait, time.Since(began), "in the time of this test")
		s.hangs = false
		now = now.Add(asidePause - 1)
		try(ctx, false, false, "it is left alone")
		now = now.Add(1)
		try(ctx, true, true, "and then is not")
	})
}
