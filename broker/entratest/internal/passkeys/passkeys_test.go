package passkeys_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/passkeys"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
)

const deviceID = "73d664e4-0886-4a73-b745-c694da45ddb4"

var helloKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // it does not fail
	}
	return key
})

type world struct {
	*passkeys.Checker
	dir   *directory.Directory
	now   time.Time
	alice *ecdsa.PrivateKey
	hello *rsa.PrivateKey
	kid   []byte // of the Hello key
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC), kid: []byte("hello-key")}
	var err error
	w.alice, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	w.hello = helloKey()
	source := ids.NewSource(1)
	w.dir, err = directory.New([]directory.TenantSpec{{Domain: "contoso.example", Users: []directory.UserSpec{
		{Username: "alice", Passkeys: []directory.PasskeySpec{{ID: []byte("alice-1"), Public: w.alice.Public(), UserHandle: []byte("handle"), Count: 5}}},
		{Username: "bob"},
	}}}, 5, source)
	require.NoError(t, err)
	require.NoError(t, w.dir.AddDevice(&directory.Device{Tenant: w.dir.Home(), ID: deviceID, Enabled: true, Key: &w.hello.PublicKey, Transport: &w.hello.PublicKey}))
	require.NoError(t, w.dir.SetHelloKey("bob@contoso.example", &directory.HelloKey{ID: "h", Kid: base64.StdEncoding.EncodeToString(w.kid), Key: &w.hello.PublicKey, DeviceID: deviceID}))
	clock := func() time.Time { return w.now }
	w.Checker = &passkeys.Checker{Keeper: &session.Keeper{Directory: w.dir, Rand: source, Now: clock, Pending: session.NewPending()}}
	return w
}

// signed is what an authenticator makes of a challenge (WebAuthn Level 2, 6.3.3),
// each part as it may be changed.
type signed struct {
	id, handle    string
	kind          string
	challenge     []byte
	origin, party string
	flags         byte
	count         uint32
	key           crypto.Signer
}

func (w *world) signed(fl *session.Flow) signed {
	return signed{id: "alice-1", handle: "handle", kind: "webauthn.get", challenge: fl.Challenge, origin: passkeys.Origin, party: passkeys.RelyingParty, flags: 0b101, count: 6, key: w.alice}
}

func (s signed) request(t *testing.T, host string) *web.Request {
	t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	client, err := json.Marshal(map[string]any{"type": s.kind, "challenge": b64(s.challenge), "origin": s.origin})
	require.NoError(t, err)
	party := sha256.Sum256([]byte(s.party))
	data := binary.BigEndian.AppendUint32(append(party[:], s.flags), s.count)
	hash := sha256.Sum256(client)
	sum := sha256.Sum256(append(append([]byte{}, data...), hash[:]...))
	sig, err := s.key.Sign(rand.Reader, sum[:], crypto.SHA256)
	require.NoError(t, err)
	text, err := json.Marshal(map[string]string{"id": b64([]byte(s.id)), "clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(sig), "userHandle": b64([]byte(s.handle))})
	require.NoError(t, err)
	r := httptest.NewRequest("POST", "https://"+host+"/common/login", nil)
	return &web.Request{Request: r, Values: url.Values{"assertion": {string(text)}}}
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		flow   func(w *world, fl *session.Flow)
		signed func(w *world, s *signed)
		host   string // "": the sign-in service
		key    string // of the answer; "": it is refused
		code   int    // 0: 135003
		why    string
	}{
		"the first factor":          {nil, nil, "", "alice-1", 0, ""},
		"of who is named":           {func(_ *world, fl *session.Flow) { fl.Username = "ALICE@contoso.example" }, nil, "", "alice-1", 0, ""},
		"named, without a handle":   {func(_ *world, fl *session.Flow) { fl.Username = "alice@contoso.example" }, func(_ *world, s *signed) { s.handle = "" }, "", "alice-1", 0, ""},
		"the second factor":         {func(w *world, fl *session.Flow) { w.began(fl, "alice") }, nil, "", "alice-1", 0, ""},
		"a Hello key":               {nil, func(w *world, s *signed) { s.id, s.key, s.handle = string(w.kid), w.hello, "" }, "", "hello-key", 0, ""},
		"a browser on this machine": {nil, func(_ *world, s *signed) { s.origin, s.party = "http://localhost:8080", "localhost" }, "localhost:8080", "alice-1", 0, ""},

		"no challenge":                 {func(_ *world, fl *session.Flow) { fl.Challenge = nil }, nil, "", "", 0, "no challenge was given"},
		"an old challenge":             {func(w *world, _ *session.Flow) { w.now = w.now.Add(session.FlowLife) }, nil, "", "", 0, "too old"},
		"wrong challenge":              {nil, func(_ *world, s *signed) { s.challenge = []byte("O.x") }, "", "", 0, "wrong challenge"},
		"an unknown key":               {nil, func(_ *world, s *signed) { s.id = "nobody's" }, "", "", 0, "no user has the passkey"},
		"of another user":              {func(_ *world, fl *session.Flow) { fl.Username = "bob@contoso.example" }, nil, "", "", 0, "belongs to alice"},
		"of another user, second":      {func(w *world, fl *session.Flow) { w.began(fl, "bob") }, nil, "", "", 0, "belongs to alice"},
		"a disabled user":              {func(w *world, _ *session.Flow) { w.disable("alice") }, nil, "", "", 50057, "disabled"},
		"nobody named and no handle":   {nil, func(_ *world, s *signed) { s.handle = "" }, "", "", 0, "user handle"},
		"another handle":               {nil, func(_ *world, s *signed) { s.handle = "bob" }, "", "", 0, "user handle"},
		"registration, no sign-in":     {nil, func(_ *world, s *signed) { s.kind = "webauthn.create" }, "", "", 0, "type is"},
		"for another origin":           {nil, func(_ *world, s *signed) { s.origin = "https://login.microsoft.com.evil.example" }, "", "", 0, "origin"},
		"for another party":            {nil, func(_ *world, s *signed) { s.party = "evil.example" }, "", "", 0, "another relying party"},
		"this machine's, sent abroad":  {nil, func(_ *world, s *signed) { s.origin, s.party = "http://localhost:8080", "localhost" }, "", "", 0, "origin"},
		"the user was not verified":    {nil, func(_ *world, s *signed) { s.flags = 0b001 }, "", "", 0, "not verified"},
		"another key signed":           {nil, func(w *world, s *signed) { s.key = w.hello }, "", "", 0, "signature does not verify"},
		"a cloned authenticator":       {nil, func(_ *world, s *signed) { s.count = 5 }, "", "", 0, "cloned authenticator"},
		"a Hello key as a second":      {func(w *world, fl *session.Flow) { w.began(fl, "bob") }, func(w *world, s *signed) { s.id, s.key, s.handle = string(w.kid), w.hello, "" }, "", "", 0, "not a second factor here"},
		"a disabled device of a Hello": {func(w *world, _ *session.Flow) { _ = w.dir.SetDeviceEnabled(deviceID, false, w.now) }, func(w *world, s *signed) { s.id, s.key, s.handle = string(w.kid), w.hello, "" }, "", "", 0, "disabled or deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			fl := &session.Flow{}
			w.Challenge(fl)
			s := w.signed(fl)
			if c.flow != nil {
				c.flow(w, fl)
			}
			if c.signed != nil {
				c.signed(w, &s)
			}
			if c.host == "" {
				c.host = "login.microsoftonline.com"
			}
			u, k, err := w.Check(s.request(t, c.host), fl)
			if c.key != "" {
				require.NoError(t, err)
				require.Equal(t, base64.RawURLEncoding.EncodeToString([]byte(c.key)), k.ID)
				require.Equal(t, c.key == "hello-key", k.Hello)
				require.Equal(t, map[bool]string{true: "bob@contoso.example", false: "alice@contoso.example"}[k.Hello], u.UPN)
				_, _, err = w.Check(s.request(t, c.host), fl)
				require.ErrorContains(t, err, "135003", "a challenge is answered once")
				return
			}
			said := web.AsSTSError(err)
			if c.code == 0 {
				c.code = 135003
			}
			require.Equal(t, c.code, said.Code)
			require.Contains(t, said.Error()+" "+said.Why, c.why)
		})
	}
	w := newWorld(t)
	fl := &session.Flow{}
	w.Challenge(fl)
	r := w.signed(fl).request(t, "login.microsoftonline.com")
	r.Values.Set("assertion", "{")
	_, _, err := w.Check(r, fl)
	require.Equal(t, 135003, web.AsSTSError(err).Code)
	_, _, err = w.Check(w.signed(fl).request(t, "login.microsoftonline.com"), fl)
	require.Equal(t, 135003, web.AsSTSError(err).Code, "an answer that is none uses the challenge up, too")
}

// began makes a flow in which a user gave a password.
func (w *world) began(fl *session.Flow, user string) {
	ss := w.Keeper.NewSession(w.dir.User(user+"@contoso.example"), claims.Password)
	fl.Session = &ss
}

func (w *world) disable(user string) {
	_ = w.dir.ChangeUser(user+"@contoso.example", func(u *directory.User) error { u.Disabled = true; return nil })
}

// A page that is shown again has the same challenge until that is too old.
func TestChallenge(t *testing.T) {
	w := newWorld(t)
	fl := &session.Flow{}
	w.Challenge(fl)
	first := string(fl.Challenge)
	require.Regexp(t, `^O\.[A-Za-z0-9_-]{43}$`, first)
	w.now = w.now.Add(session.FlowLife - time.Second)
	w.Challenge(fl)
	require.Equal(t, first, string(fl.Challenge))
	w.now = w.now.Add(time.Second)
	w.Challenge(fl)
	require.NotEqual(t, first, string(fl.Challenge))
}
