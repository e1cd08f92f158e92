package entratest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// assertion is a WebAuthn assertion in the making (WebAuthn Level 2, 6.3.3),
// written here from the specification.
type assertion struct {
	key             *entratest.Passkey
	signer          *ecdsa.PrivateKey // nil: that of key
	kind, challenge string
	origin, party   string
	flags           byte
	count           uint32
	handle          []byte
}

func (a assertion) json(t *testing.T) string {
	t.Helper()
	b64 := base64.RawURLEncoding
	cd, err := json.Marshal(map[string]any{"type": a.kind, "challenge": b64.EncodeToString([]byte(a.challenge)), "origin": a.origin})
	require.NoError(t, err)
	party := sha256.Sum256([]byte(a.party))
	data := binary.BigEndian.AppendUint32(append(party[:], a.flags), a.count)
	cdSum := sha256.Sum256(cd)
	sum := sha256.Sum256(append(data[:len(data):len(data)], cdSum[:]...))
	signer := a.signer
	if signer == nil {
		signer = a.key.Key
	}
	sig, err := ecdsa.SignASN1(rand.Reader, signer, sum[:])
	require.NoError(t, err)
	out, err := json.Marshal(map[string]string{"id": b64.EncodeToString(a.key.ID), "clientDataJSON": b64.EncodeToString(cd),
		"authenticatorData": b64.EncodeToString(data), "signature": b64.EncodeToString(sig), "userHandle": b64.EncodeToString(a.handle)})
	require.NoError(t, err)
	return string(out)
}

// passkeyPage opens the page on which a passkey signs; an empty name types
// none.
func (c *tc) passkeyPage(login string) map[string]any {
	c.t.Helper()
	cfg := config(c.t, c.authorizeQuery())
	r := c.form(cfg["urlPost"].(string), "login", login, "credential", "passkey", "ctx", cfg["sCtx"].(string))
	require.Equal(c.t, 302, r.status, "%s", r.body)
	require.Contains(c.t, r.header.Get("Location"), "https://login.microsoft.com/")
	return config(c.t, c.get(r.header.Get("Location")))
}

var aadsts = regexp.MustCompile(`data-aadsts="(\d+)"`)

// sendAssertion posts an assertion. It returns whether the sign-in went on.
func (c *tc) sendAssertion(cfg map[string]any, text string) bool {
	c.t.Helper()
	r := c.form(cfg["urlPost"].(string), "assertion", text, "ctx", cfg["sCtx"].(string))
	if r.status == 302 {
		require.NotEmpty(c.t, query(c.t, r.header.Get("Location")).Get("code"), "%s", r.body)
		return true
	}
	require.Equal(c.t, "135003", config(c.t, r)["sErrorCode"])
	return false
}

func TestAssertions(t *testing.T) {
	dave, err := entratest.NewPasskey()
	require.NoError(t, err)
	dave.Count = 5
	synced, err := entratest.NewPasskey() // its counter stays at zero
	require.NoError(t, err)
	erin, err := entratest.NewPasskey()
	require.NoError(t, err)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	const name = "dave@contoso.example"
	prepare := func(t *testing.T) (*tc, assertion) {
		c, _ := start(t)
		require.NoError(t, c.s.AddUser(entratest.User{Username: "dave", ID: "dddddddd-0000-4000-8000-000000000001", Passkeys: []entratest.Passkey{*dave, *synced}}))
		require.NoError(t, c.s.AddUser(entratest.User{Username: "erin", Passkeys: []entratest.Passkey{*erin}}))
		return c, assertion{key: dave, kind: "webauthn.get", origin: "https://login.microsoft.com", party: "login.microsoft.com", flags: 0x05, count: 6}
	}
	handle := []byte("dddddddd-0000-4000-8000-000000000001")
	tests := []struct {
		name   string
		login  string
		change func(*assertion)
		ok     bool
	}{
		{"good", name, func(*assertion) {}, true},
		{"good, with the user handle", name, func(a *assertion) { a.handle = handle }, true},
		{"nobody typed a name", "", func(a *assertion) { a.handle = handle }, true},
		{"counter jumps", name, func(a *assertion) { a.count = 1 << 31 }, true},
		{"synced passkey without a counter", name, func(a *assertion) { a.key, a.count = synced, 0 }, true},
		{"synced passkey that counts from now on", name, func(a *assertion) { a.key, a.count = synced, 1 }, true},
		{"backup flags", name, func(a *assertion) { a.flags |= 0x18 }, true},

		{"counter stands still", name, func(a *assertion) { a.count = 5 }, false},
		{"counter goes back", name, func(a *assertion) { a.count = 4 }, false},
		{"counter gone", name, func(a *assertion) { a.count = 0 }, false},
		{"user not verified", name, func(a *assertion) { a.flags = 0x01 }, false},
		{"user not present", name, func(a *assertion) { a.flags = 0x04 }, false},
		{"another origin", name, func(a *assertion) { a.origin = "https://login.microsoft.com.evil.example" }, false},
		{"origin of the other sign-in host", name, func(a *assertion) { a.origin = "https://login.microsoftonline.com" }, false},
		{"origin of this machine", name, func(a *assertion) { a.origin, a.party = "http://localhost:1", "localhost" }, false},
		{"another relying party", name, func(a *assertion) { a.party = "evil.example" }, false},
		{"wrong challenge", name, func(a *assertion) { a.challenge = "O.other" }, false},
		{"a registration", name, func(a *assertion) { a.kind = "webauthn.create" }, false},
		{"another's key", name, func(a *assertion) { a.signer = stranger }, false},
		{"another's credential", name, func(a *assertion) { a.key = erin }, false},
		{"another's user handle", name, func(a *assertion) { a.handle = []byte("erin") }, false},
		{"nobody typed a name, without a user handle", "", func(*assertion) {}, false},
		{"nobody typed a name, another's user handle", "", func(a *assertion) { a.handle = []byte("erin") }, false},
		{"a credential that nobody has", name, func(a *assertion) { a.key = &entratest.Passkey{ID: []byte("x"), Key: stranger} }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, a := prepare(t)
			cfg := c.passkeyPage(tt.login)
			a.challenge = cfg["sFidoChallenge"].(string)
			tt.change(&a)
			require.Equal(t, tt.ok, c.sendAssertion(cfg, a.json(t)))
		})
	}
	t.Run("replayed", func(t *testing.T) {
		c, a := prepare(t)
		a.key, a.count = synced, 0 // so that the counter does not tell
		cfg := c.passkeyPage(name)
		a.challenge = cfg["sFidoChallenge"].(string)
		text := a.json(t)
		require.True(t, c.sendAssertion(cfg, text))
		require.False(t, c.sendAssertion(cfg, text))
		require.False(t, c.sendAssertion(c.passkeyPage(name), text))
	})
	t.Run("replayed when its challenge may be forgotten", func(t *testing.T) {
		c, clock := start(t)
		require.NoError(t, c.s.AddUser(entratest.User{Username: "dave", Passkeys: []entratest.Passkey{*synced}}))
		a := assertion{key: synced, kind: "webauthn.get", origin: "https://login.microsoft.com", party: "login.microsoft.com", flags: 0x05}
		cfg := c.passkeyPage(name)
		a.challenge = cfg["sFidoChallenge"].(string)
		text := a.json(t)
		require.True(t, c.sendAssertion(cfg, text))
		clock.Advance(14 * time.Minute)
		again := config(t, c.form(cfg["urlPost"].(string), "credential", "password", "ctx", cfg["sCtx"].(string)))
		require.Equal(t, a.challenge, again["sFidoChallenge"], "the page lives on")
		clock.Advance(2 * time.Minute)
		for range 300 { // other sign-ins make the server forget what is over
			require.False(t, c.sendAssertion(c.passkeyPage(name), "{}"))
		}
		again["urlPost"] = cfg["urlPost"]
		require.False(t, c.sendAssertion(again, text))
		fresh := config(t, c.form(cfg["urlPost"].(string), "credential", "password", "ctx", again["sCtx"].(string)))
		require.NotEqual(t, a.challenge, fresh["sFidoChallenge"])
	})
	t.Run("no second guess under one challenge", func(t *testing.T) {
		c, a := prepare(t)
		cfg := c.passkeyPage(name)
		a.challenge = cfg["sFidoChallenge"].(string)
		require.False(t, c.sendAssertion(cfg, "{}"))
		bad := a
		bad.signer = stranger
		require.False(t, c.sendAssertion(cfg, bad.json(t)))
		require.False(t, c.sendAssertion(cfg, a.json(t)))
	})
	t.Run("the counter outlives the server", func(t *testing.T) {
		c, a := prepare(t)
		cfg := c.passkeyPage(name)
		a.challenge = cfg["sFidoChallenge"].(string)
		require.True(t, c.sendAssertion(cfg, a.json(t)))
		state, err := c.s.State()
		require.NoError(t, err)
		c = newClient(t, entratest.NewTB(t, entratest.Options{State: state, Clock: entratest.NewClock(time.Time{})}))
		cfg = c.passkeyPage(name)
		a.challenge = cfg["sFidoChallenge"].(string)
		require.False(t, c.sendAssertion(cfg, a.json(t)))
		a.count++
		cfg = c.passkeyPage(name)
		a.challenge = cfg["sFidoChallenge"].(string)
		require.True(t, c.sendAssertion(cfg, a.json(t)))
	})
}

// As a second factor a passkey counts where one is asked for, wherever it is
// posted, and a Hello key does not: the user has to begin with it.
func TestPasskeysAsSecondFactor(t *testing.T) {
	fido, err := entratest.NewPasskey()
	require.NoError(t, err)
	hello := pool()[3]
	kid := sha256.Sum256(keyBlob(&hello.PublicKey))
	tests := []struct {
		name     string
		passkey  bool // registered, and used
		policies []byte
		ok       bool
	}{
		{"passkey", true, customStrength("fido2", "password,softwareOath"), true},
		{"passkey, not accepted", true, customStrength("password,softwareOath"), false},
		{"Hello, accepted from the start alone", false, customStrength("windowsHelloForBusiness", "password,softwareOath"), false},
		{"Hello, beside a passkey", true, customStrength("windowsHelloForBusiness", "fido2", "password,softwareOath"), false},
	}
	for _, tt := range tests {
		for _, path := range []string{"/common/login", "/common/SAS/ProcessAuth"} {
			t.Run(tt.name+", at "+path, func(t *testing.T) {
				c, _ := start(t)
				c.joined()
				require.Equal(t, 200, c.registerHello(hello).status)
				if tt.passkey {
					c.must(c.s.AddPasskey("alice", *fido))
				}
				c.must(c.s.SetPolicies(tt.policies))
				cfg := config(t, c.authorizeQuery())
				challenge := cfg["sFidoChallenge"].(string)
				cfg = config(t, c.form(cfg["urlPost"].(string), "login", "alice@contoso.example", "passwd", password, "ctx", cfg["sCtx"].(string)))
				require.Equal(t, "ConvergedTFA", cfg["pgid"])
				answer := passkeyAssertion(t, kid[:], hello, nil, challenge)
				if tt.passkey && !strings.HasPrefix(tt.name, "Hello") {
					answer = passkeyAssertion(t, fido.ID, fido.Key, nil, challenge)
				}
				r := c.form(path, "assertion", answer, "ctx", cfg["sCtx"].(string))
				require.Equal(t, tt.ok, strings.Contains(r.header.Get("Location"), "code="), "%s", r.header.Get("Location"))
			})
		}
	}
}

func TestPasskeyRegisteredTwice(t *testing.T) {
	c, _ := start(t)
	key, err := entratest.NewPasskey()
	require.NoError(t, err)
	require.NoError(t, c.s.AddPasskey("alice", *key))
	for name, err := range map[string]error{
		"for another":    c.s.AddPasskey("bob", *key),
		"again":          c.s.AddPasskey("alice", *key),
		"of a new user":  c.s.AddUser(entratest.User{Username: "dave", Passkeys: []entratest.Passkey{*key}}),
		"twice in a row": c.s.AddUser(entratest.User{Username: "erin", Passkeys: []entratest.Passkey{{ID: []byte("x"), Key: key.Key}, {ID: []byte("x"), Key: key.Key}}}),
	} {
		require.ErrorContains(t, err, "registered already", name)
	}
	require.NoError(t, c.s.AddUser(entratest.User{Username: "dave", Passkeys: []entratest.Passkey{{ID: []byte("x"), Key: key.Key}}}), "of a refusal nothing stays")
	require.NoError(t, c.s.DeleteUser("bob"))
	_, err = c.tryAuthorize(entratest.Person{Username: "alice@contoso.example", Passkey: key})
	require.NoError(t, err)
	require.NoError(t, c.s.DeleteUser("alice"))
	require.NoError(t, c.s.AddPasskey("carol", *key), "a deleted user's are free")
}

// Somebody who copied a passkey signs in until the other copy has.
func TestClonedPasskey(t *testing.T) {
	c, _ := start(t)
	key, err := entratest.NewPasskey()
	require.NoError(t, err)
	require.NoError(t, c.s.AddPasskey("alice", *key))
	clone := *key
	p := c.alice()
	p.Passkey = key
	for range 2 {
		_, err = c.tryAuthorize(p)
		require.NoError(t, err)
	}
	require.EqualValues(t, 2, key.Count)
	p.Passkey = &clone
	_, err = c.tryAuthorize(p)
	require.Equal(t, 135003, pageCode(t, err))
}
