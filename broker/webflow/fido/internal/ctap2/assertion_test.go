package ctap2

import (
	"context"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// A script is a key that answers each command with the next of a list, and remembers
// what it was sent.
type script struct {
	answers [][]byte
	sent    [][]byte
	waited  int // how often it said that it waits for a touch
}

func (s *script) Send(_ context.Context, message []byte, touch func() error) ([]byte, error) {
	s.sent = append(s.sent, message)
	if len(s.answers) == 0 {
		return nil, errors.New("the script is over")
	}
	if touch != nil {
		s.waited++
	}
	next := s.answers[0]
	s.answers = s.answers[1:]
	return next, nil
}

// requests decodes what was sent with a command, as maps.
func (s *script) requests(t testing.TB, command byte) (list []map[any]any) {
	t.Helper()
	for _, m := range s.sent {
		require.Equal(t, command, m[0])
		var q map[any]any
		require.NoError(t, decoding.Unmarshal(m[1:], &q))
		list = append(list, q)
	}
	return list
}

// answer encodes an answer of members by number; failed is one of a status.
func answer(t testing.TB, members map[int]any) []byte {
	t.Helper()
	b, err := encoding.Marshal(members)
	require.NoError(t, err)
	return append([]byte{0}, b...)
}

func failed(s Status) []byte { return []byte{byte(s)} }

// authData is authenticator data (WebAuthn Level 2, 6.1).
func authData(party string, flags byte) []byte {
	sum := sha256.Sum256([]byte(party))
	return append(sum[:], flags, 0, 0, 0, 7)
}

func credential(id string) map[string]any {
	return map[string]any{"id": []byte(id), "type": "public-key"}
}

// ids are those of an allow list that was sent.
func ids(q map[any]any) (list []string) {
	for _, d := range q[uint64(3)].([]any) {
		list = append(list, string(d.(map[any]any)["id"].([]byte)))
	}
	return list
}

func touched() error { return nil }

// Several accounts are several assertions: the first answer counts them, and each of
// the others is asked for without parameters or a touch (CTAP 2.1, 6.3).
func TestAssertAccounts(t *testing.T) {
	t.Parallel()
	signed := func(id string, count int) map[int]any {
		m := map[int]any{1: credential(id), 2: authData(party, 1), 3: []byte("signature of " + id), 4: map[string]any{"id": []byte("user of " + id), "name": "name of " + id}}
		if count > 0 {
			m[5] = count
		}
		return m
	}
	for count, want := range map[int]int{0: 1, 1: 1, 3: 3, maxAccounts: maxAccounts, maxAccounts + 1: maxAccounts} {
		s := &script{answers: [][]byte{answer(t, signed("a", count))}}
		for range count + 1 {
			s.answers = append(s.answers, answer(t, signed("b", 0)))
		}
		all, err := Assert(t.Context(), s, &Info{MaxMessage: 1024}, &Request{RelyingParty: party}, touched)
		require.NoError(t, err)
		require.Len(t, all, want)
		require.Equal(t, Assertion{[]byte("a"), authData(party, 1), []byte("signature of a"), []byte("user of a"), "name of a"}, all[0])
		for i, a := range all[1:] {
			require.Equal(t, "b", string(a.ID))
			require.Equal(t, []byte{0x08}, s.sent[1+i])
		}
		require.Len(t, s.sent, want)
		require.Equal(t, 1, s.waited)
	}
	for name, next := range map[string][]byte{
		"of another party":      answer(t, map[int]any{1: credential("b"), 2: authData("other", 1), 3: []byte("s")}),
		"without a touch":       answer(t, map[int]any{1: credential("b"), 2: authData(party, 0), 3: []byte("s")}),
		"without an answer":     {},
		"with another CBOR":     {0, 0xff},
		"with text for numbers": answer(t, map[int]any{2: "text"}),
	} {
		s := &script{answers: [][]byte{answer(t, signed("a", 2)), next}}
		all, err := Assert(t.Context(), s, &Info{MaxMessage: 1024}, &Request{RelyingParty: party}, touched)
		require.ErrorIs(t, err, ErrMalformed, name)
		require.Nil(t, all, name)
	}
	s := &script{answers: [][]byte{answer(t, signed("a", 2)), failed(StatusNotAllowed)}}
	_, err := Assert(t.Context(), s, &Info{MaxMessage: 1024}, &Request{RelyingParty: party}, touched)
	require.ErrorIs(t, err, StatusNotAllowed)
}

// An answer is of the party that was asked about, signed, after a touch, and by a
// credential that was named.
func TestAnswerMatchesRequest(t *testing.T) {
	t.Parallel()
	good := func() *assertionReply {
		return &assertionReply{Credential: &descriptor{[]byte("a"), publicKey}, AuthenticatorData: authData(party, 1), Signature: []byte("s")}
	}
	for name, c := range map[string]struct {
		change func(*assertionReply)
		named  []string
		id     string // "": malformed
	}{
		"any credential":                {func(*assertionReply) {}, nil, "a"},
		"one that was named":            {func(*assertionReply) {}, []string{"b", "a"}, "a"},
		"more data":                     {func(r *assertionReply) { r.AuthenticatorData = append(r.AuthenticatorData, 0xa0) }, nil, "a"},
		"the only one that was named":   {func(r *assertionReply) { r.Credential = nil }, []string{"a"}, "a"},
		"not said which":                {func(r *assertionReply) { r.Credential = nil }, []string{"a", "b"}, ""},
		"not said which of any":         {func(r *assertionReply) { r.Credential = nil }, nil, ""},
		"an empty id":                   {func(r *assertionReply) { r.Credential.ID = nil }, nil, ""},
		"an empty id of one":            {func(r *assertionReply) { r.Credential.ID = nil }, []string{"a"}, ""},
		"one that was not named":        {func(*assertionReply) {}, []string{"b"}, ""},
		"the beginning of one":          {func(*assertionReply) {}, []string{"ab"}, ""},
		"another party":                 {func(r *assertionReply) { r.AuthenticatorData = authData("other", 1) }, nil, ""},
		"no signature":                  {func(r *assertionReply) { r.Signature = nil }, nil, ""},
		"no touch":                      {func(r *assertionReply) { r.AuthenticatorData = authData(party, 0xfe) }, nil, ""},
		"short data":                    {func(r *assertionReply) { r.AuthenticatorData = r.AuthenticatorData[:36] }, nil, ""},
		"no data":                       {func(r *assertionReply) { r.AuthenticatorData = nil }, nil, ""},
		"the hash of the party and end": {func(r *assertionReply) { r.AuthenticatorData = r.AuthenticatorData[:32] }, nil, ""},
	} {
		out := good()
		c.change(out)
		var named [][]byte
		for _, id := range c.named {
			named = append(named, []byte(id))
		}
		a, err := out.check(&Request{RelyingParty: party}, named, true)
		if c.id == "" {
			require.ErrorIs(t, err, ErrMalformed, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, c.id, string(a.ID), name)
	}
	out := good()
	out.AuthenticatorData = authData(party, 0)
	_, err := out.check(&Request{RelyingParty: party}, nil, false)
	require.NoError(t, err, "without a touch, where none was asked for")
}

// What is sent to be signed (CTAP 2.1, 6.2).
func TestAssertRequest(t *testing.T) {
	t.Parallel()
	hash := [32]byte{7}
	for name, c := range map[string]struct {
		r    Request
		want map[any]any
	}{
		"any credential": {Request{RelyingParty: party, ClientDataHash: hash}, map[any]any{uint64(1): party, uint64(2): hash[:]}},
		"the key verifies": {
			Request{RelyingParty: party, ClientDataHash: hash, BuiltIn: true},
			map[any]any{uint64(1): party, uint64(2): hash[:], uint64(5): map[any]any{"uv": true}},
		},
		"a token": {
			Request{RelyingParty: party, ClientDataHash: hash, Token: &Token{protocol: 1, secret: []byte("secret")}},
			map[any]any{uint64(1): party, uint64(2): hash[:], uint64(6): protocol(1).authenticate([]byte("secret"), hash[:]), uint64(7): uint64(1)},
		},
	} {
		s := &script{answers: [][]byte{answer(t, map[int]any{1: credential("a"), 2: authData(party, 1), 3: []byte("s")})}}
		_, err := Assert(t.Context(), s, &Info{MaxMessage: 1024}, &c.r, touched)
		require.NoError(t, err, name)
		require.Equal(t, []map[any]any{c.want}, s.requests(t, 0x02), name)
		require.Equal(t, 1, s.waited, name)
	}
}

// The lists are as long as the key allows, by each of its three limits.
func TestSplit(t *testing.T) {
	t.Parallel()
	named := func(list ...string) *Request {
		r := &Request{RelyingParty: party}
		for _, id := range list {
			r.Credentials = append(r.Credentials, []byte(id))
		}
		return r
	}
	size := func(list ...string) int { // of the message
		r := named(list...)
		b, err := encoding.Marshal(r.wire(r.Credentials))
		require.NoError(t, err)
		return 1 + len(b)
	}
	for name, c := range map[string]struct {
		info Info
		ids  []string
		want [][]string
	}{
		"no limit":                 {Info{MaxMessage: 1024}, []string{"a", "b", "c"}, [][]string{{"a", "b", "c"}}},
		"two in a list":            {Info{MaxMessage: 1024, MaxCredentials: 2}, []string{"a", "b", "c", "d", "e"}, [][]string{{"a", "b"}, {"c", "d"}, {"e"}}},
		"one in a list":            {Info{MaxMessage: 1024, MaxCredentials: 1}, []string{"a", "b"}, [][]string{{"a"}, {"b"}}},
		"ids of other keys":        {Info{MaxMessage: 1024, MaxCredentialBytes: 2}, []string{"abc", "ab", "abcd"}, [][]string{{"ab"}}},
		"a message that holds 2":   {Info{MaxMessage: size("a", "b")}, []string{"a", "b", "c"}, [][]string{{"a", "b"}, {"c"}}},
		"a byte too few for 2":     {Info{MaxMessage: size("a", "b") - 1}, []string{"a", "b", "c"}, [][]string{{"a"}, {"b"}, {"c"}}},
		"one that fits no message": {Info{MaxMessage: size("a")}, []string{"long", "a"}, [][]string{{"long"}, {"a"}}},
	} {
		lists, err := split(&c.info, named(c.ids...))
		require.NoError(t, err, name)
		var got [][]string
		for _, list := range lists {
			var texts []string
			for _, id := range list {
				texts = append(texts, string(id))
			}
			got = append(got, texts)
		}
		require.Equal(t, c.want, got, name)
	}
	_, err := split(&Info{MaxMessage: 1024, MaxCredentialBytes: 2}, named("abc"))
	require.ErrorIs(t, err, StatusNoCredentials)
}

// Of several lists the key is asked first, without a touch, which credential it holds
// (WebAuthn Level 2, 6.3.3; CTAP 2.1, 6.2.1: option up).
func TestAssertFromSeveralLists(t *testing.T) {
	t.Parallel()
	r := &Request{RelyingParty: party, Credentials: [][]byte{[]byte("a"), []byte("b"), []byte("c"), []byte("d")}, BuiltIn: true}
	i := &Info{MaxMessage: 1024, MaxCredentials: 1}
	held := answer(t, map[int]any{1: credential("c"), 2: authData(party, 0), 3: []byte("s")})
	final := answer(t, map[int]any{2: authData(party, 1), 3: []byte("s")})
	s := &script{answers: [][]byte{failed(StatusNoCredentials), failed(StatusInvalidCredential), held, final}}
	all, err := Assert(t.Context(), s, i, r, touched)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, "c", string(all[0].ID))
	require.Equal(t, 1, s.waited, "only the last one waits for a touch")
	q := s.requests(t, 0x02)
	require.Equal(t, []string{"a"}, ids(q[0]))
	require.Equal(t, []string{"b"}, ids(q[1]))
	require.Equal(t, []string{"c"}, ids(q[2]))
	require.Equal(t, []string{"c"}, ids(q[3]))
	for _, look := range q[:3] {
		require.Equal(t, map[any]any{"up": false}, look[uint64(5)])
	}
	require.Equal(t, map[any]any{"uv": true}, q[3][uint64(5)])

	s = &script{answers: [][]byte{answer(t, map[int]any{1: credential("a"), 2: authData(party, 1), 3: []byte("s")})}}
	_, err = Assert(t.Context(), s, &Info{MaxMessage: 1024}, r, touched)
	require.NoError(t, err)
	require.Len(t, s.sent, 1, "a single list is not looked at first")

	for name, c := range map[string]struct {
		answers [][]byte
		is      error
	}{
		"in none":       {[][]byte{failed(StatusNoCredentials), failed(StatusNoCredentials), failed(StatusNoCredentials), failed(StatusInvalidCredential)}, StatusInvalidCredential},
		"blocked":       {[][]byte{failed(StatusNoCredentials), failed(StatusPINAuthBlocked)}, StatusPINAuthBlocked},
		"another party": {[][]byte{answer(t, map[int]any{1: credential("a"), 2: authData("other", 1), 3: []byte("s")})}, ErrMalformed},
		"not named":     {[][]byte{answer(t, map[int]any{1: credential("b"), 2: authData(party, 1), 3: []byte("s")})}, ErrMalformed},
	} {
		s := &script{answers: c.answers}
		_, err := Assert(t.Context(), s, i, r, touched)
		require.ErrorIs(t, err, c.is, name)
		require.Zero(t, s.waited, name)
		require.Len(t, s.sent, len(c.answers), name)
	}
	s = &script{}
	_, err = Assert(t.Context(), s, &Info{MaxMessage: 1024, MaxCredentialBytes: 1}, &Request{RelyingParty: party, Credentials: [][]byte{[]byte("ab")}}, touched)
	require.ErrorIs(t, err, StatusNoCredentials, "none of these is this key's")
	require.Empty(t, s.sent)
}

func TestHolds(t *testing.T) {
	t.Parallel()
	r := &Request{RelyingParty: party, Credentials: [][]byte{[]byte("a"), []byte("b")}}
	for name, c := range map[string]struct {
		answers [][]byte
		want    bool
		is      error
	}{
		"the second":       {[][]byte{failed(StatusNoCredentials), answer(t, map[int]any{2: authData(party, 0), 3: []byte("s")})}, true, nil},
		"none":             {[][]byte{failed(StatusNoCredentials), failed(StatusNoCredentials)}, false, nil},
		"none of this key": {[][]byte{failed(StatusInvalidCredential), failed(StatusInvalidCredential)}, false, nil},
		"a refusal":        {[][]byte{failed(StatusPINRequired)}, false, StatusPINRequired},
	} {
		s := &script{answers: c.answers}
		got, err := Holds(t.Context(), s, &Info{MaxMessage: 1024, MaxCredentials: 1}, r)
		require.ErrorIs(t, err, c.is, name)
		require.Equal(t, c.want, got, name)
		require.Zero(t, s.waited, name)
	}
	_, err := Holds(t.Context(), &script{}, &Info{MaxMessage: 1024}, &Request{RelyingParty: party})
	require.ErrorIs(t, err, StatusNoCredentials)
}

// A touch is waited for by authenticatorSelection, or before 2.1 by an assertion with
// an empty pinUvAuthParam, which the key refuses after the touch (CTAP 2.1, 6.2.2).
func TestSelect(t *testing.T) {
	t.Parallel()
	r := &Request{RelyingParty: party, Credentials: [][]byte{[]byte("a")}}
	s := &script{answers: [][]byte{{0}}}
	require.NoError(t, Select(t.Context(), s, &Info{Versions: []string{"FIDO_2_1"}}, r, touched))
	require.Equal(t, [][]byte{{0x0b}}, s.sent)
	require.Equal(t, 1, s.waited)

	old := &Info{Versions: []string{"FIDO_2_0"}, Protocols: []int{1}}
	for _, status := range []Status{0, StatusPINInvalid, StatusPINNotSet, StatusPINAuthInvalid} {
		s := &script{answers: [][]byte{failed(status)}}
		require.NoError(t, Select(t.Context(), s, old, r, touched))
		require.Equal(t, []map[any]any{{uint64(1): party, uint64(2): make([]byte, 32), uint64(6): []byte{}, uint64(7): uint64(1)}}, s.requests(t, 0x02))
		require.Equal(t, 1, s.waited)
	}
	for _, status := range []Status{StatusUserActionTimeout, StatusKeepAliveCancel, StatusNoCredentials} {
		require.ErrorIs(t, Select(t.Context(), &script{answers: [][]byte{failed(status)}}, old, r, touched), status)
	}
	s = &script{}
	require.ErrorContains(t, Select(t.Context(), s, &Info{Versions: []string{"FIDO_2_0"}, Protocols: []int{3}}, r, touched), "no PIN protocol")
	require.Empty(t, s.sent)
}

func TestGetInfo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		members map[int]any
		want    Info
	}{
		"nothing said": {map[int]any{1: []string{"FIDO_2_0"}}, Info{Versions: []string{"FIDO_2_0"}, MaxMessage: 1024}},
		"all of it": {
			map[int]any{1: []string{"FIDO_2_1"}, 4: map[string]bool{"uv": true}, 5: 1, 6: []int{2, 1}, 7: 8, 8: 96, 12: true},
			Info{Versions: []string{"FIDO_2_1"}, Options: map[string]bool{"uv": true}, MaxMessage: 1, Protocols: []int{2, 1}, MaxCredentials: 8, MaxCredentialBytes: 96, ForcePINChange: true},
		},
		"a negative size": {map[int]any{5: -1}, Info{MaxMessage: 1024}},
	} {
		s := &script{answers: [][]byte{answer(t, c.members)}}
		got, err := GetInfo(t.Context(), s)
		require.NoError(t, err, name)
		require.Equal(t, &c.want, got, name)
		require.Equal(t, [][]byte{{0x04}}, s.sent, name)
	}
	_, err := GetInfo(t.Context(), &script{answers: [][]byte{failed(StatusNotAllowed)}})
	require.ErrorIs(t, err, StatusNotAllowed)
	require.EqualError(t, err, "CTAP2 status 0x30")
	_, err = GetInfo(t.Context(), &script{})
	require.ErrorContains(t, err, "the script is over", "the error of the transport")
}

// The versions of CTAP 2.1, 6.4, and one to come.
func TestSince21(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		versions []string
		want     bool
	}{
		{nil, false}, {[]string{"FIDO_2_0"}, false}, {[]string{"U2F_V2"}, false}, {[]string{"FIDO_2_1_PRE"}, false},
		{[]string{"U2F_V2", "FIDO_2_0", "FIDO_2_1_PRE"}, false},
		{[]string{"FIDO_2_1"}, true}, {[]string{"U2F_V2", "FIDO_2_0", "FIDO_2_1"}, true}, {[]string{"FIDO_2_0", "FIDO_2_2"}, true},
	} {
		require.Equal(t, c.want, (&Info{Versions: c.versions}).since21(), c.versions)
	}
}
