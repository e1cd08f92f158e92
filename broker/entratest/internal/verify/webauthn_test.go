package verify_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
)

func assertion(t testing.TB, key crypto.Signer, typ, origin, party string, flags byte, challenge []byte) string {
	cd, _ := json.Marshal(map[string]string{"type": typ, "challenge": base64.RawURLEncoding.EncodeToString(challenge), "origin": origin})
	rp := sha256.Sum256([]byte(party))
	return signAssertion(t, key, cd, append(rp[:], flags, 1, 2, 3, 4))
}

// signAssertion signs client data and authenticator data (WebAuthn Level 2, 6.3.3).
func signAssertion(t testing.TB, key crypto.Signer, cd, auth []byte) string {
	h := sha256.Sum256(cd)
	sum := sha256.Sum256(append(append([]byte{}, auth...), h[:]...))
	sig, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	require.NoError(t, err)
	b := base64.RawURLEncoding.EncodeToString
	out, _ := json.Marshal(map[string]string{"id": "aWQ", "clientDataJSON": b(cd), "authenticatorData": b(auth), "signature": b(sig)})
	return string(out)
}

func TestAssertion(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	const origin, party = "https://login.microsoft.com", "login.microsoft.com"
	check := func(text string) error {
		a, err := verify.ParseAssertion(text)
		require.NoError(t, err)
		return a.Verify(&key.PublicKey, []byte("c"), map[string]string{origin: party})
	}
	require.NoError(t, check(assertion(t, key, "webauthn.get", origin, party, 5, []byte("c"))))
	for name, text := range map[string]string{
		"type":        assertion(t, key, "webauthn.create", origin, party, 5, []byte("c")),
		"origin":      assertion(t, key, "webauthn.get", "https://evil.example", party, 5, []byte("c")),
		"party":       assertion(t, key, "webauthn.get", origin, "evil.example", 5, []byte("c")),
		"no presence": assertion(t, key, "webauthn.get", origin, party, 4, []byte("c")),
		"no PIN":      assertion(t, key, "webauthn.get", origin, party, 1, []byte("c")),
		"challenge":   assertion(t, key, "webauthn.get", origin, party, 5, []byte("d")),
		"key":         assertion(t, other, "webauthn.get", origin, party, 5, []byte("c")),
	} {
		require.ErrorIs(t, check(text), verify.ErrAssertion, name)
	}
	require.ErrorContains(t, check(assertion(t, key, "webauthn.get", "https://evil.example", party, 5, []byte("c"))), `origin "https://evil.example"`)
	for _, bad := range []string{"", "{}", `{"id":"a","signature":"!"}`} {
		_, err := verify.ParseAssertion(bad)
		require.ErrorIs(t, err, verify.ErrAssertion)
	}
	good := assertion(t, key, "webauthn.get", origin, party, 5, []byte("c"))
	require.NoError(t, check(good+strings.Repeat(" ", verify.MaxJWS-len(good))))
	_, err = verify.ParseAssertion(good + strings.Repeat(" ", verify.MaxJWS-len(good)+1))
	require.ErrorIs(t, err, verify.ErrAssertion)
	require.ErrorContains(t, err, "not a JSON object", "longer than a signed request")

	cd, err := json.Marshal(map[string]string{"type": "webauthn.get", "challenge": "Yw", "origin": origin})
	require.NoError(t, err)
	rp := sha256.Sum256([]byte(party))
	require.ErrorContains(t, check(signAssertion(t, key, []byte("{"), append(rp[:], 5, 0, 0, 0, 1))), "clientDataJSON")
	require.ErrorContains(t, check(signAssertion(t, key, cd, append(rp[:], 5, 0, 0, 0))), "authenticatorData of 36 bytes")
	require.NoError(t, check(signAssertion(t, key, cd, append(rp[:], 5, 0, 0, 0, 1, 0xa0))), "extensions follow")
}

func TestAssertionCount(t *testing.T) {
	a, err := verify.ParseAssertion(assertion(t, clientKey(), "webauthn.get", "https://login", "login", 5, []byte("c")))
	require.NoError(t, err)
	require.NoError(t, a.Verify(&clientKey().PublicKey, []byte("c"), map[string]string{"https://login": "login"}), "RS256")
	require.ErrorIs(t, a.Verify(&otherKey().PublicKey, []byte("c"), map[string]string{"https://login": "login"}), verify.ErrAssertion)
	require.ErrorIs(t, a.Verify(nil, []byte("c"), map[string]string{"https://login": "login"}), verify.ErrAssertion, "a key of no known type")
	require.EqualValues(t, 0x01020304, a.Count())
}
