package account

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// sealer seals under a PIN as a TPM does, for the tests of what is sealed.
type sealer struct {
	tpm.KeyStore
	pin     string
	expired bool
	left    *tpm.Limit // of what is sealed; nil: one hour
	leftErr error
	sealErr error
}

func (s *sealer) SealPIN(_ context.Context, secret, aad, pin []byte, _ tpm.Limit) ([]byte, error) {
	s.pin = string(pin)
	return append(append([]byte{}, aad...), secret...), s.sealErr
}

func (s *sealer) UnsealPIN(_ context.Context, sealed, aad, pin []byte) ([]byte, error) {
	switch {
	case s.expired:
		return nil, tpm.ErrExpired
	case string(pin) != s.pin:
		return nil, tpm.ErrWrongPIN
	}
	return append([]byte{}, sealed[len(aad):]...), nil
}

func (s *sealer) Left(context.Context, []byte, []byte) (tpm.Limit, error) {
	if s.left != nil {
		return *s.left, s.leftErr
	}
	return tpm.Limit{Time: time.Hour}, s.leftErr
}

func (s *sealer) ChangeSealPIN(_ context.Context, sealed, _, old, pin []byte) ([]byte, error) {
	switch {
	case s.expired:
		return nil, tpm.ErrExpired
	case string(old) != s.pin:
		return nil, tpm.ErrWrongPIN
	}
	s.pin = string(pin)
	return sealed, nil
}

// The PIN opens in another process what Lock put away, and a wrong one is
// counted there.
func TestLock(t *testing.T) {
	t.Parallel()
	keys, s, ctx := &sealer{KeyStore: testKeys(t)}, &store.Memory{}, t.Context()
	limit := tpm.Limit{Time: time.Hour}
	a, err := openBook(t, keys, s, "").Put(ctx, person("alice"), with(bornOf(prt.ByPassword)))
	require.NoError(t, err)
	require.ErrorIs(t, a.PutAway(ctx), ErrNotUnlocked)
	err = a.OpenOffline(ctx, []byte("123456"))
	require.ErrorIs(t, err, ErrNotPrepared)
	require.ErrorIs(t, a.TryPIN(ctx, func() error { return nil }), ErrNoHello)

	_, err = a.Update(ctx, func(r *Record) error { r.Hello = &Hello{Key: []byte("key")}; return nil })
	require.NoError(t, err)
	require.ErrorIs(t, a.PrepareOffline(ctx, []byte("123456"), []byte("another key"), limit), ErrReplaced)
	require.NoError(t, a.PrepareOffline(ctx, []byte("123456"), []byte("key"), limit))
	require.NoError(t, a.PutAway(ctx))
	require.True(t, a.Record().Locked())
	require.NoError(t, a.PutAway(ctx), "it is put away")

	b, _, err := openBook(t, keys, s, "").Find(ctx, Identity{})
	require.NoError(t, err)
	for range 5 {
		err = b.OpenOffline(ctx, []byte("654321"))
		require.ErrorIs(t, err, tpm.ErrWrongPIN)
	}
	var soon *TooSoon
	err = b.OpenOffline(ctx, []byte("123456"))
	require.ErrorAs(t, err, &soon)
	require.Equal(t, TooSoon{Wrong: 5, Wait: time.Minute}, *soon)
	_, err = b.Update(ctx, func(r *Record) error { h := *r.Hello; h.Wrong = 0; r.Hello = &h; return nil })
	require.NoError(t, err)
	changed, err := b.ChangedOffline(ctx, b.Record().Hello.Offline, []byte("123456"), []byte("999999"))
	require.NoError(t, err)
	require.True(t, changed.Equal(b.Record().Hello.Offline))
	require.NoError(t, b.OpenOffline(ctx, []byte("999999")))
	left, err := b.OfflineLeft(ctx)
	require.NoError(t, err)
	require.Equal(t, limit, left)
	require.False(t, b.Record().Locked())
	require.NotNil(t, b.Offline(), "it can be locked again")
	require.Equal(t, "prt of password", b.Record().PRT(prt.ByPassword).Token.PRT.Reveal())

	keys.expired = true
	err = b.OpenOffline(ctx, []byte("999999"))
	require.ErrorIs(t, err, tpm.ErrExpired)
	require.Zero(t, b.Record().Hello.Wrong, "what was not judged does not count")
	changed, err = b.ChangedOffline(ctx, changed, []byte("999999"), []byte("123456"))
	require.NoError(t, err)
	require.True(t, changed.Equal(b.Record().Hello.Offline), "what the TPM no longer opens stays as it is")
	require.ErrorIs(t, b.GiveUpOffline(ctx, &SealedOffline{ID: "another"}), ErrReplaced)
	require.NoError(t, b.GiveUpOffline(ctx, b.Record().Hello.Offline))
	require.Nil(t, b.Record().Hello.Offline)
}

// A key store that seals nothing under a PIN prepares nothing, and what was not
// prepared opens nothing and has no limit.
func TestNotPrepared(t *testing.T) {
	t.Parallel()
	offline := &SealedOffline{ID: "one", Sealed: []byte("sealed")}
	limit := tpm.Limit{Time: time.Hour}
	pin, key := []byte("123456"), []byte("key")
	for name, tt := range map[string]struct {
		software bool
		closed   bool
		hello    *Hello
	}{
		"software keys":          {software: true, hello: &Hello{Key: key, Offline: offline}},
		"closed":                 {closed: true, hello: &Hello{Key: key, Offline: offline}},
		"no Hello key":           {},
		"nothing for the PIN":    {hello: &Hello{Key: key}},
		"nothing, software keys": {software: true, hello: &Hello{Key: key}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys, ctx := testKeys(t), t.Context()
			if !tt.software {
				keys = &sealer{KeyStore: keys}
			}
			a, err := openBook(t, keys, &store.Memory{}, "").Put(ctx, person("alice"), func(r *Record) error { r.Hello = tt.hello; return nil })
			require.NoError(t, err)
			if tt.closed {
				require.NoError(t, a.Close())
			}
			err = a.OpenOffline(ctx, pin)
			require.ErrorIs(t, err, ErrNotPrepared)
			left, err := a.OfflineLeft(ctx)
			require.NoError(t, err)
			require.Zero(t, left)
			switch {
			case tt.software:
				require.NoError(t, a.PrepareOffline(ctx, pin, key, limit))
				changed, err := a.ChangedOffline(ctx, offline, pin, []byte("999999"))
				require.NoError(t, err)
				require.Same(t, offline, changed)
			case tt.closed:
				require.ErrorIs(t, a.PrepareOffline(ctx, pin, key, limit), vault.ErrClosed)
			default:
				require.NoError(t, a.PrepareOffline(ctx, pin, key, tpm.Limit{Resets: 1}), "without a time the offline unlock is off")
				changed, err := a.ChangedOffline(ctx, nil, pin, []byte("999999"))
				require.NoError(t, err)
				require.Nil(t, changed)
			}
			require.Nil(t, a.Offline())
		})
	}
}

// What is sealed stays while the TPM says that seven eighths of the time and all
// resets and restarts are left, and no more than would be sealed now.
func TestLasts(t *testing.T) {
	t.Parallel()
	keys, ctx := &sealer{KeyStore: testKeys(t)}, t.Context()
	a, err := openBook(t, keys, &store.Memory{}, "").Put(ctx, person("alice"), func(r *Record) error {
		r.Hello = &Hello{Key: []byte("key")}
		return nil
	})
	require.NoError(t, err)
	bounded := tpm.Limit{Time: 8 * time.Hour, Resets: 3, Restarts: 5}
	unbounded := tpm.Limit{Time: 8 * time.Hour, Resets: -2, Restarts: -3}
	require.NoError(t, a.PrepareOffline(ctx, []byte("123456"), []byte("key"), bounded))
	for name, tt := range map[string]struct {
		limit, left tpm.Limit
		err         error
		stays       bool
	}{
		"all":                    {bounded, bounded, nil, true},
		"seven eighths":          {bounded, tpm.Limit{Time: 7 * time.Hour, Resets: 3, Restarts: 5}, nil, true},
		"less time":              {bounded, tpm.Limit{Time: 7*time.Hour - 1, Resets: 3, Restarts: 5}, nil, false},
		"more time":              {bounded, tpm.Limit{Time: 8*time.Hour + 1, Resets: 3, Restarts: 5}, nil, false},
		"a reset":                {bounded, tpm.Limit{Time: 8 * time.Hour, Resets: 2, Restarts: 5}, nil, false},
		"more resets":            {bounded, tpm.Limit{Time: 8 * time.Hour, Resets: 4, Restarts: 5}, nil, false},
		"a restart":              {bounded, tpm.Limit{Time: 8 * time.Hour, Resets: 3, Restarts: 4}, nil, false},
		"any number of resets":   {bounded, tpm.Limit{Time: 8 * time.Hour, Resets: -1, Restarts: 5}, nil, false},
		"unbounded":              {unbounded, tpm.Limit{Time: 8 * time.Hour, Resets: -1, Restarts: -1}, nil, true},
		"bounded, and no longer": {unbounded, bounded, nil, false},
		"over":                   {bounded, bounded, tpm.ErrExpired, false},
	} {
		keys.pin, keys.left, keys.leftErr = "", &tt.left, tt.err
		require.NoError(t, a.PrepareOffline(ctx, []byte("123456"), []byte("key"), tt.limit), name)
		require.Equal(t, tt.stays, keys.pin == "", name)
	}
}

// PRTs that do not come back leave the account locked, with no key open.
func TestOpenOfflineDamaged(t *testing.T) {
	t.Parallel()
	keys, s, ctx := &sealer{KeyStore: testKeys(t)}, &store.Memory{}, t.Context()
	pin := []byte("123456")
	a, err := openBook(t, keys, s, "").Put(ctx, person("alice"), func(r *Record) error {
		r.Set(bornOf(prt.ByPassword))
		r.Hello = &Hello{Key: []byte("key")}
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, a.PrepareOffline(ctx, pin, []byte("key"), tpm.Limit{Time: time.Hour}))
	require.NoError(t, a.PutAway(ctx))
	_, err = a.Update(ctx, func(r *Record) error { r.Away = []byte("nonsense"); return nil })
	require.NoError(t, err)
	err = a.OpenOffline(ctx, pin)
	require.ErrorIs(t, err, store.ErrDamaged)
	require.Nil(t, a.Offline())
	require.True(t, a.Record().Locked())
}
