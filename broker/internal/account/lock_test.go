package account

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// sealer seals under a PIN as a TPM does, for the tests of what is sealed.
type sealer struct {
	tpm.KeyStore
	pin     string
	expired bool
}

func (s *sealer) SealPIN(_ context.Context, secret, aad, pin []byte, _ tpm.Limit) ([]byte, error) {
	s.pin = string(pin)
	return append(append([]byte{}, aad...), secret...), nil
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
	return tpm.Limit{Time: time.Hour}, nil
}

func (s *sealer) ChangeSealPIN(_ context.Context, sealed, _, old, pin []byte) ([]byte, error) {
	if string(old) != s.pin {
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
	require.Equal(t, "prt of password", b.Record().PRT(prt.ByPassword).Token.PRT.Reveal())

	keys.expired = true
	err = b.OpenOffline(ctx, []byte("999999"))
	require.ErrorIs(t, err, tpm.ErrExpired)
	require.Zero(t, b.Record().Hello.Wrong, "what was not judged does not count")
	require.ErrorIs(t, b.GiveUpOffline(ctx, &SealedOffline{ID: "another"}), ErrReplaced)
	require.NoError(t, b.GiveUpOffline(ctx, b.Record().Hello.Offline))
	require.Nil(t, b.Record().Hello.Offline)
}
