package ctap2

import (
	"context"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"testing"

	"github.com/stretchr/testify/require"
)

// A pinKey is a key's side of getting a token, by CTAP 2.1, 6.5.6 and 6.5.7: it agrees
// on a key and encrypts the token under it.
type pinKey struct {
	t     testing.TB
	token []byte
	sent  []map[any]any

	private *ecdh.PrivateKey
	enc     []byte
}

func (k *pinKey) Send(_ context.Context, message []byte, _ func() error) ([]byte, error) {
	require.Equal(k.t, byte(0x06), message[0])
	var q map[any]any
	require.NoError(k.t, decoding.Unmarshal(message[1:], &q))
	k.sent = append(k.sent, q)
	p := protocol(q[uint64(1)].(uint64))
	if q[uint64(2)] == uint64(0x02) {
		var err error
		k.private, err = ecdh.P256().GenerateKey(rand.Reader)
		require.NoError(k.t, err)
		b := k.private.PublicKey().Bytes()
		return answer(k.t, map[int]any{1: map[int]any{1: 2, 3: -25, -1: 1, -2: b[1:33], -3: b[33:]}}), nil
	}
	theirs := q[uint64(3)].(map[any]any)
	require.EqualValues(k.t, 2, theirs[uint64(1)])
	require.EqualValues(k.t, -25, theirs[uint64(3)])
	require.EqualValues(k.t, 1, theirs[int64(-1)])
	public, err := ecdh.P256().NewPublicKey(append(append([]byte{4}, theirs[int64(-2)].([]byte)...), theirs[int64(-3)].([]byte)...))
	require.NoError(k.t, err)
	z, err := k.private.ECDH(public)
	require.NoError(k.t, err)
	sum := sha256.Sum256(z)
	k.enc = sum[:]
	if p == 2 {
		k.enc, err = hkdf.Key(sha256.New, z, make([]byte, 32), "CTAP2 AES key", 32)
		require.NoError(k.t, err)
	}
	sealed, err := p.encrypt(k.enc, k.token)
	require.NoError(k.t, err)
	return answer(k.t, map[int]any{2: sealed}), nil
}

// pinHash is what the last request has of the PIN.
func (k *pinKey) pinHash() []byte {
	q := k.sent[len(k.sent)-1]
	sealed, ok := q[uint64(6)].([]byte)
	if !ok {
		return nil
	}
	plain, err := protocol(q[uint64(1)].(uint64)).decrypt(k.enc, sealed)
	require.NoError(k.t, err)
	return plain
}

// A token for the PIN: the legacy command on older keys, and a permission for one
// relying party on those that know of permissions (CTAP 2.1, 6.5.5.7).
func TestTokenByPIN(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte("1234"))
	token := make([]byte, 32)
	_, _ = rand.Read(token)
	for name, c := range map[string]struct {
		info       Info
		token      []byte
		protocol   uint64
		subcommand uint64
		permission any
		party      any
		refused    bool
	}{
		"version 1":                {Info{Protocols: []int{1}}, token[:16], 1, 0x05, nil, nil, false},
		"version 1, a long token":  {Info{Protocols: []int{1}}, token, 1, 0x05, nil, nil, false},
		"version 2":                {Info{Protocols: []int{1, 2}}, token, 2, 0x05, nil, nil, false},
		"with permissions":         {Info{Protocols: []int{2}, Options: map[string]bool{"pinUvAuthToken": true}}, token, 2, 0x09, uint64(0x02), party, false},
		"without them":             {Info{Protocols: []int{2}, Options: map[string]bool{"pinUvAuthToken": false}}, token, 2, 0x05, nil, nil, false},
		"version 2, a short token": {Info{Protocols: []int{2}}, token[:16], 2, 0x05, nil, nil, true},
		"version 2, no token":      {Info{Protocols: []int{2}}, nil, 2, 0x05, nil, nil, true},
		"version 1, no token":      {Info{Protocols: []int{1}}, nil, 1, 0x05, nil, nil, true},
	} {
		k := &pinKey{t: t, token: c.token}
		got, err := TokenByPIN(t.Context(), k, &c.info, []byte("1234"), party)
		require.Len(t, k.sent, 2, name)
		require.Equal(t, map[any]any{uint64(1): c.protocol, uint64(2): uint64(0x02)}, k.sent[0], name)
		q := k.sent[1]
		require.Equal(t, c.protocol, q[uint64(1)], name)
		require.Equal(t, c.subcommand, q[uint64(2)], name)
		require.Equal(t, c.permission, q[uint64(9)], name)
		require.Equal(t, c.party, q[uint64(10)], name)
		require.Equal(t, sum[:16], k.pinHash(), name)
		if c.refused {
			require.ErrorIs(t, err, ErrMalformed, name)
			require.Nil(t, got, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, &Token{protocol: protocol(c.protocol), secret: c.token}, got, name)
	}
}

// A key that verifies its user itself gets no PIN.
func TestTokenByBuiltIn(t *testing.T) {
	t.Parallel()
	k := &pinKey{t: t, token: make([]byte, 32)}
	_, err := TokenByBuiltIn(t.Context(), k, &Info{Protocols: []int{2}}, party, touched)
	require.NoError(t, err)
	q := k.sent[1]
	require.Equal(t, uint64(0x06), q[uint64(2)])
	require.Equal(t, uint64(0x02), q[uint64(9)])
	require.Equal(t, party, q[uint64(10)])
	require.Nil(t, k.pinHash())
}

// A PIN is not sent to a key that does not agree on a key first.
func TestTokenRefused(t *testing.T) {
	t.Parallel()
	good := func() map[int]any {
		p, err := ecdh.P256().GenerateKey(rand.Reader)
		require.NoError(t, err)
		b := p.PublicKey().Bytes()
		return map[int]any{1: 2, 3: -25, -1: 1, -2: b[1:33], -3: b[33:]}
	}
	with := func(member int, v any) []byte {
		k := good()
		k[member] = v
		return answer(t, map[int]any{1: k})
	}
	for name, c := range map[string]struct {
		answer []byte
		is     error
	}{
		"no public key":        {answer(t, map[int]any{}), ErrMalformed},
		"another type":         {with(1, 1), ErrMalformed},
		"another curve":        {with(-1, 2), ErrMalformed},
		"a short coordinate X": {with(-2, make([]byte, 31)), ErrMalformed},
		"a long coordinate Y":  {with(-3, make([]byte, 33)), ErrMalformed},
		"not on the curve":     {with(-2, make([]byte, 32)), ErrMalformed},
		"a status":             {failed(StatusPINNotSet), StatusPINNotSet},
	} {
		s := &script{answers: [][]byte{c.answer}}
		_, err := TokenByPIN(t.Context(), s, &Info{}, []byte("1234"), party)
		require.ErrorIs(t, err, c.is, name)
		require.Len(t, s.sent, 1, name)
	}
	s := &script{answers: [][]byte{answer(t, map[int]any{1: good()}), failed(StatusPINInvalid)}}
	_, err := TokenByPIN(t.Context(), s, &Info{}, []byte("1234"), party)
	require.ErrorIs(t, err, StatusPINInvalid)
	require.Len(t, s.sent, 2, "a PIN is sent once")

	s = &script{}
	_, err = TokenByPIN(t.Context(), s, &Info{Protocols: []int{3}}, []byte("1234"), party)
	require.ErrorContains(t, err, "no PIN protocol")
	require.Empty(t, s.sent)
}

func TestRetries(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 8} {
		s := &script{answers: [][]byte{answer(t, map[int]any{3: n})}}
		got, err := Retries(t.Context(), s, &Info{Protocols: []int{2}})
		require.NoError(t, err)
		require.Equal(t, n, got)
		require.Equal(t, []map[any]any{{uint64(1): uint64(2), uint64(2): uint64(1)}}, s.requests(t, 0x06))
	}
	for name, members := range map[string]map[int]any{"none": {}, "a negative number": {3: -1}} {
		_, err := Retries(t.Context(), &script{answers: [][]byte{answer(t, members)}}, &Info{})
		require.ErrorIs(t, err, ErrMalformed, name)
	}
	_, err := Retries(t.Context(), &script{answers: [][]byte{failed(StatusPINBlocked)}}, &Info{})
	require.ErrorIs(t, err, StatusPINBlocked)
	_, err = Retries(t.Context(), &script{}, &Info{Protocols: []int{3}})
	require.ErrorContains(t, err, "no PIN protocol")
}

// Version 2 is preferred. The list is optional (CTAP 2.1, 6.4): without it the key knows
// version 1, the one of CTAP 2.0.
func TestProtocolOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		theirs []int
		want   protocol
	}{{nil, 1}, {[]int{1}, 1}, {[]int{1, 2}, 2}, {[]int{2, 1}, 2}, {[]int{2}, 2}, {[]int{3, 1}, 1}} {
		got, err := protocolOf(&Info{Protocols: c.theirs})
		require.NoError(t, err)
		require.Equal(t, c.want, got, c.theirs)
	}
}
