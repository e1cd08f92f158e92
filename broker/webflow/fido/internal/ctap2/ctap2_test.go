package ctap2

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

// The PIN protocols, by the vectors of Yubico's python-fido2 (tests/test_ctap2.py up
// to 1.1, version 1) and of Mozilla's authenticator 0.5.0 (src/crypto/mod.rs, version
// 2).
func TestProtocolVectors(t *testing.T) {
	t.Parallel()
	private, err := ecdh.P256().NewPrivateKey(unhex(t, "7452e599fee739d8a653f6a507343d12d382249108a651402520b72f24fe7684"))
	require.NoError(t, err)
	ours := coseOf(private.PublicKey())
	require.Equal(t, unhex(t, "44d78d7989b97e62ea993496c9ef6e8fd58b8b00715f9a89153ddd9c4657e47f"), ours.X)
	require.Equal(t, unhex(t, "ec802ee7d22bd4e100f12e48537eb4e7e96ed3a47a0a3bd5f5eeab65001664f9"), ours.Y)
	theirs, err := (&coseKey{Type: coseEC2, Curve: coseP256,
		X: unhex(t, "0501d5bc78da9252560a26cb08fcc60cbe0b6d3b8e1d1fcee514fac0af675168"),
		Y: unhex(t, "d551b3ed46f665731f95b4532939c25d91db7eb844bd96d4abd4083785f8df47")}).public()
	require.NoError(t, err)
	z, err := private.ECDH(theirs)
	require.NoError(t, err)
	auth, enc, err := protocol(1).keys(z)
	require.NoError(t, err)
	require.Equal(t, unhex(t, "c42a039d548100dfba521e487debcbbb8b66bb7496f8b1862a7a395ed83e1a1c"), enc)
	require.Equal(t, enc, auth)
	pin := sha256.Sum256([]byte("1234"))
	sealed, err := protocol(1).encrypt(enc, pin[:16])
	require.NoError(t, err)
	require.Equal(t, unhex(t, "afe8327ce416da8ee3d057589c2ce1a9"), sealed)
	token, err := protocol(1).decrypt(enc, unhex(t, "7a9f98e31b77be90f9c64d12e9635040"))
	require.NoError(t, err)
	require.Equal(t, unhex(t, "aff12c6dcfbf9df52f7a09211e8865cd"), token)

	auth, enc, err = protocol(2).keys(bytes.Repeat([]byte{0xff}, 32))
	require.NoError(t, err)
	require.Equal(t, "570b4ed82aa5dfb49db79dbeaf4b315d8abb1a9867b245f3367026987c0d47a17d9a93c39baec741d141c6238d8e1846de323d8eed022cb397d19a73b98945e2",
		hex.EncodeToString(auth)+hex.EncodeToString(enc))
}

// RFC 4231, 4.3 and 4.4: version 1 sends the first half of the MAC.
func TestAuthenticateVectors(t *testing.T) {
	t.Parallel()
	key, message := []byte("Jefe"), []byte("what do ya want for nothing?")
	want := unhex(t, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
	require.Equal(t, want, protocol(2).authenticate(key, message))
	require.Equal(t, want[:16], protocol(1).authenticate(key, message))
}

// What was encrypted opens, and version 2 never encrypts twice alike.
func TestEncryptRoundTrip(t *testing.T) {
	t.Parallel()
	key, plain := bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{9}, 48)
	for _, p := range []protocol{1, 2} {
		a, err := p.encrypt(key, plain)
		require.NoError(t, err)
		got, err := p.decrypt(key, a)
		require.NoError(t, err)
		require.Equal(t, plain, got)
		b, err := p.encrypt(key, plain)
		require.NoError(t, err)
		require.Equal(t, p == 1, bytes.Equal(a, b))
		for _, bad := range [][]byte{nil, a[:1], a[:len(a)-1], a[:15]} {
			_, err := p.decrypt(key, bad)
			require.ErrorIs(t, err, ErrMalformed)
		}
	}
}

// The order of names in CTAP2's canonical form (CTAP 2.1, 8), by the vectors of
// Yubico's python-fido2 (tests/test_cbor.py).
func TestCanonicalOrder(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]any{
		"a4000018ff00190100001b000000010000000000": map[int]int{4294967296: 0, 255: 0, 256: 0, 0: 0},
		"a3010061330062313100":                     map[any]int{"3": 0, "11": 0, 1: 0},
		"a501020338182001215820" + strings.Repeat("00", 32) + "225820" + strings.Repeat("00", 32): coseKey{2, -25, 1, make([]byte, 32), make([]byte, 32)},
		"a262696441016474797065" + "6178": descriptor{[]byte{1}, "x"},
	} {
		got, err := encoding.Marshal(v)
		require.NoError(t, err)
		require.Equal(t, want, hex.EncodeToString(got))
	}
}

// replies answers each command with the next of a list.
type replies [][]byte

func (r *replies) Send(context.Context, []byte, func() error) ([]byte, error) {
	next := (*r)[0]
	*r = (*r)[1:]
	return next, nil
}

// Answers of a YubiKey, as python-fido2 has them recorded (tests/test_ctap2.py).
var (
	yubiInfo      = "a60182665532465f5632684649444f5f325f3002826375766d6b686d61632d7365637265740350f8a011f38c0a4d15800617111f9edc7d04a462726bf5627570f564706c6174f469636c69656e7450696ef4051904b0068101"
	yubiAssertion = "a301a26269645840fe3aac036d14c1e1c65518b698dd1da8f596bc33e11072813466c6bf3845691509b80fb76d59309b8d39e0a93452688f6ca3a39a76f3fc52744fb73948b1578364747970656a7075626c69632d6b65790258250021f5fc0b85cd22e60623bcd7d1ca48948909249b4776eb515154e57b66ae12010000001d035846304402206765cbf6e871d3af7f01ae96f06b13c90f26f54b905c5166a2c791274fc2397102200b143893586cc799fba4da83b119eaea1bd80ac3ce88fcedb3efbd596a1f4f63"
)

func TestAnswersOfAYubiKey(t *testing.T) {
	t.Parallel()
	info, err := GetInfo(t.Context(), &replies{append([]byte{0}, unhex(t, yubiInfo)...)})
	require.NoError(t, err)
	require.Equal(t, []string{"U2F_V2", "FIDO_2_0"}, info.Versions)
	require.Equal(t, map[string]bool{"rk": true, "up": true, "plat": false, "clientPin": false}, info.Options)
	require.Equal(t, 1200, info.MaxMessage)
	require.Equal(t, []int{1}, info.Protocols)
	require.False(t, info.since21())

	r := &Request{RelyingParty: party}
	_, err = Assert(t.Context(), &replies{append([]byte{0}, unhex(t, yubiAssertion)...)}, info, r, nil)
	require.ErrorIs(t, err, ErrMalformed, "it is of another party")
	got, err := Assert(t.Context(), &replies{append([]byte{0}, toParty(t, yubiAssertion)...)}, info, r, nil)
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, "fe3aac03", hex.EncodeToString(got[0].ID[:4]))
	require.Equal(t, "304402206765", hex.EncodeToString(got[0].Signature[:6]))
}

// party is the relying party of these tests, and toParty an assertion of another one
// with this one's hash, whose signature is not looked at here.
const party = "example.com"

func toParty(t testing.TB, assertion string) []byte {
	sum := sha256.Sum256([]byte(party))
	return unhex(t, strings.Replace(assertion, "0021f5fc0b85cd22e60623bcd7d1ca48948909249b4776eb515154e57b66ae12", hex.EncodeToString(sum[:]), 1))
}

// A token prints as nothing.
func TestTokenIsNotPrinted(t *testing.T) {
	t.Parallel()
	k := &Token{protocol: 2, secret: []byte("canary")}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		require.NotContains(t, fmt.Sprintf(format, k), "canary")
	}
	k.Clear()
	require.Equal(t, make([]byte, 6), k.secret)
	(*Token)(nil).Clear()
}

// FuzzReplies: whatever a key answers, what is taken from it is an answer to the
// request: an assertion of the party, by a credential that was named.
func FuzzReplies(f *testing.F) {
	f.Add(unhex(f, yubiInfo), toParty(f, yubiAssertion), []byte{0xa0}, []byte{0xa1, 3, 8})
	f.Fuzz(func(t *testing.T, info, first, second, pin []byte) {
		ok := func(b []byte) []byte { return append([]byte{0}, b...) }
		i, err := GetInfo(t.Context(), &replies{ok(info)})
		if err != nil {
			i = &Info{MaxMessage: defaultMaxMessage}
		}
		require.Positive(t, i.MaxMessage)
		if n, err := Retries(t.Context(), &replies{ok(pin)}, i); err == nil {
			require.GreaterOrEqual(t, n, 0)
		}
		if token, err := TokenByPIN(t.Context(), &replies{ok(pin), ok(second)}, i, []byte("1234"), party); err == nil {
			require.True(t, token.protocol.tokenSize(len(token.secret)))
		}
		named := []byte("named")
		for _, r := range []*Request{{RelyingParty: party}, {RelyingParty: party, Credentials: [][]byte{named}}} {
			script := replies{ok(first)}
			for range maxAccounts {
				script = append(script, ok(second))
			}
			all, err := Assert(t.Context(), &script, i, r, nil)
			if err != nil {
				require.Nil(t, all)
				continue
			}
			require.LessOrEqual(t, len(all), maxAccounts)
			sum := sha256.Sum256([]byte(party))
			for _, a := range all {
				require.True(t, bytes.HasPrefix(a.AuthenticatorData, sum[:]))
				require.NotZero(t, a.AuthenticatorData[32]&flagPresent)
				require.NotEmpty(t, a.Signature)
				require.NotEmpty(t, a.ID)
				if len(r.Credentials) > 0 {
					require.Equal(t, named, a.ID)
				}
			}
		}
	})
}
