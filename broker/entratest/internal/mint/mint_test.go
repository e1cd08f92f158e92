package mint_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/kdf"
	"github.com/prtbroker/prtbroker/internal/wire"
)

const appID = "7a11e51e-0001-4000-8000-0000000000aa"

var now = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

type world struct {
	*mint.Mint
	user *directory.User
	now  time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	source := ids.NewSource(1)
	dir, err := directory.New([]directory.TenantSpec{{
		Domain: "contoso.example",
		Users:  []directory.UserSpec{{Username: "alice", Name: "Alice Example", Roles: []string{"r"}, SID: "S-1-5-21-1"}},
		Apps: []directory.AppSpec{{ClientID: appID, Name: "App", Public: true, TokenVersion: 2,
			OptionalClaims: []string{"amr", "auth_time", "acct", "ipaddr", "deviceid", "upn", "groups"}}},
	}}, 5, source)
	require.NoError(t, err)
	w := &world{now: now}
	w.Mint = &mint.Mint{Keys: mint.NewKeys(), Keeper: &session.Keeper{Directory: dir, Rand: source, Now: func() time.Time { return w.now }}}
	w.user = dir.User("alice@contoso.example")
	return w
}

// read verifies a token against the published key set, by a stock library.
func (w *world) read(t *testing.T, token string) map[string]any {
	t.Helper()
	var c map[string]any
	require.NoError(t, w.verify(t, token, &c))
	return c
}

func (w *world) verify(t *testing.T, token string, claims any) error {
	t.Helper()
	text, err := json.Marshal(w.Keys.JWKS("issuer", false))
	require.NoError(t, err)
	set, err := jwk.Parse(text)
	require.NoError(t, err)
	payload, err := jws.Verify([]byte(token), jws.WithKeySet(set, jws.WithInferAlgorithmFromKey(true)))
	if err != nil {
		return err
	}
	return json.Unmarshal(payload, claims)
}

// asGraphReads puts the hash of the nonce in its place, as issue 5 of
// justinlettau/azure-ad-verify-token (2020) describes what makes tokens of Entra verify.
func asGraphReads(t *testing.T, token string) string {
	t.Helper()
	head, rest, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(head)
	require.NoError(t, err)
	var h struct{ Nonce string }
	require.NoError(t, json.Unmarshal(text, &h))
	require.NotEmpty(t, h.Nonce)
	sum := sha256.Sum256([]byte(h.Nonce))
	changed := strings.Replace(string(text), h.Nonce, base64.RawURLEncoding.EncodeToString(sum[:]), 1)
	return base64.RawURLEncoding.EncodeToString([]byte(changed)) + "." + rest
}

func (w *world) issuance(ss *session.Session) *mint.Issuance {
	dir := w.Keeper.Directory
	return &mint.Issuance{
		Client: dir.App(dir.Home(), appID), User: w.user, Session: ss, Audience: "https://graph.microsoft.com",
		Resource: dir.Resource(dir.Home(), wire.ResourceGraph), Scopes: []string{"User.Read"}, Now: w.now, Address: netip.MustParseAddr("192.0.2.1"),
	}
}

func TestAccessTokens(t *testing.T) {
	w := newWorld(t)
	ss := w.Keeper.NewSession(w.user, claims.Password)
	ss.ProveMFA(claims.SoftwareOATH, w.now)
	dev := &directory.Device{ID: "d1", Managed: true, Compliant: true, JoinType: wire.JoinTypeHybrid}
	in := w.issuance(&ss)
	in.CAE, in.Contexts, in.CNF, in.Fresh = true, []string{"c1"}, "kid", true
	forGraph := w.AccessToken(in, dev, w.now.Add(time.Hour))
	require.ErrorContains(t, w.verify(t, forGraph, nil), "could not verify")
	c := w.read(t, asGraphReads(t, forGraph))
	require.Equal(t, "1.0", c["ver"])
	require.Equal(t, "https://graph.microsoft.com", c["aud"])
	require.Equal(t, "https://sts.windows.net/"+w.user.Tenant.ID+"/", c["iss"])
	require.Equal(t, []any{"pwd", "mfa", "ngcmfa"}, c["amr"])
	require.Equal(t, []any{"dvc_mngd", "dvc_cmp", "dvc_dmjd"}, c["signin_state"])
	require.Equal(t, "192.0.2.1", c["ipaddr"])
	require.Equal(t, []any{"CP1"}, c["xms_cc"])
	require.Equal(t, []any{"c1"}, c["acrs"])
	require.Equal(t, map[string]any{"kid": "kid"}, c["cnf"])
	require.Equal(t, mint.Pairwise(w.user.ID, wire.ResourceGraphApp), c["sub"])

	in.Resource, ss.Device = in.Client, "d1"
	c = w.read(t, w.AccessToken(in, nil, w.now.Add(time.Hour)))
	require.Equal(t, "2.0", c["ver"])
	require.Equal(t, appID, c["aud"])
	require.Equal(t, "0", c["azpacr"])
	for _, name := range in.Client.OptionalClaims {
		if name != "groups" {
			require.Contains(t, c, name)
		}
	}
}

func TestIDTokens(t *testing.T) {
	w := newWorld(t)
	ss := w.Keeper.NewSession(w.user, claims.Password)
	in := w.issuance(&ss)
	in.V2, in.Nonce, in.Code, in.Aged = true, "n", "code", true
	c := w.read(t, w.IDToken(in, nil))
	require.Equal(t, "n", c["nonce"])
	require.Equal(t, "alice@contoso.example", c["preferred_username"])
	require.EqualValues(t, w.now.Unix(), c["auth_time"])
	sum := sha256.Sum256([]byte("code")) // OpenID Connect Core, 3.3.2.11
	require.Equal(t, base64.RawURLEncoding.EncodeToString(sum[:16]), c["c_hash"])

	in.V2, in.IDNone, in.SID = false, true, true
	parts := strings.Split(w.IDToken(in, nil), ".")
	require.Len(t, parts, 3)
	require.Empty(t, parts[2])
	header, err := base64.RawURLEncoding.DecodeString(parts[0])
	require.NoError(t, err)
	require.JSONEq(t, `{"typ":"JWT","alg":"none"}`, string(header))
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	require.Contains(t, string(payload), `"primary_sid":"`+ids.SID(w.user.ID)+`"`)
	require.Contains(t, string(payload), `"onprem_sid":"S-1-5-21-1"`)

	info, err := base64.RawURLEncoding.DecodeString(mint.ClientInfo(w.user))
	require.NoError(t, err)
	require.JSONEq(t, `{"uid":"`+w.user.ID+`","utid":"`+w.user.Tenant.ID+`"}`, string(info))
}

func TestBearer(t *testing.T) {
	w := newWorld(t)
	ss := w.Keeper.NewSession(w.user, claims.Password)
	token := w.AccessToken(w.issuance(&ss), nil, w.now.Add(time.Hour))
	c, u, err := w.Bearer("bearer "+token, wire.ResourceGraphApp, wire.ResourceGraph+"/")
	require.NoError(t, err)
	require.Equal(t, w.user.ID, u.ID)
	require.True(t, c.Has("mfa", "pwd"))
	require.False(t, c.Overtaken(u), "nothing happened since")

	for name, f := range map[string]struct {
		header, says string
		before       func() error
	}{
		"no bearer":        {"Basic x", "not a bearer", nil},
		"a forged one":     {"Bearer " + token[:len(token)-8] + "AAAAAAAA", "access token", nil},
		"for somebody":     {"", "is for", nil},
		"of a dead user":   {"Bearer " + token, "deleted or disabled", func() error { return w.Keeper.Directory.SetUserEnabled("alice", false, w.now) }},
		"of a while since": {"Bearer " + token, "expired", func() error { w.now = w.now.Add(2 * time.Hour); return nil }},
	} {
		w = newWorld(t)
		if f.before != nil {
			require.NoError(t, f.before(), name)
		}
		audience := wire.ResourceGraph
		if f.header == "" {
			f.header, audience = "Bearer "+token, "https://elsewhere.example"
		}
		_, _, err := w.Bearer(f.header, audience)
		require.ErrorContains(t, err, f.says, name)
	}
}

func TestDeviceCertificates(t *testing.T) {
	w := newWorld(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	dev := &directory.Device{Tenant: w.user.Tenant, ID: "73d664e4-0886-4a73-b745-c694da45ddb4", Key: &key.PublicKey, Enabled: true, Visible: w.now.Add(time.Minute), TriesLeft: 1}
	der, err := w.Keys.Device.Issue(&key.PublicKey, mint.DeviceCertificate{Device: dev.ID, Tenant: w.user.Tenant.ID, Region: "EU", Joined: true, Serial: []byte{1}, Now: w.now})
	require.NoError(t, err)
	dev.CertSHA256 = sha256.Sum256(der)
	require.Len(t, mint.Thumbprint(der), 2*sha1.Size)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	require.Len(t, cert.Extensions, 7)

	says := func(want string) {
		t.Helper()
		_, err := w.DeviceOfCertificate(cert)
		require.ErrorContains(t, err, want)
	}
	says("was deleted")
	require.NoError(t, w.Keeper.Directory.AddDevice(dev))
	says("not replicated yet")
	got, err := w.DeviceOfCertificate(cert)
	require.NoError(t, err)
	require.Equal(t, dev.ID, got.ID)
	require.NoError(t, w.Keeper.Directory.SetDeviceEnabled(dev.ID, false, w.now))
	says("disabled")
	w.now = w.now.AddDate(11, 0, 0)
	says("valid from")
	own := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: dev.ID}}
	der, err = x509.CreateCertificate(rand.Reader, own, own, key.Public(), key)
	require.NoError(t, err)
	cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	says("not issued by this server")
}

func TestUserCertificates(t *testing.T) {
	w := newWorld(t)
	cert, err := w.IssueUserCertificate("alice", true)
	require.NoError(t, err)
	require.NoError(t, cert.Leaf.CheckSignatureFrom(w.UserAuthority()))
	require.Len(t, cert.Leaf.Policies, 1)
	require.True(t, w.Keeper.Directory.User(w.user.UPN).Certified)
	_, err = w.IssueUserCertificate("nobody", false)
	require.ErrorIs(t, err, directory.ErrNoUser)
}

// The replies deviate from RFC 7516 as Entra's do (MS-OAPXBC 3.2.5.1.3): what a
// header calls A256GCM is AES-256-CBC, told by its empty tag.
func TestReplies(t *testing.T) {
	w := newWorld(t)
	sessionKey := make([]byte, 32)
	open := func(gcm bool) map[string]any {
		parts := strings.Split(w.EncryptReply(sessionKey, &gcm, map[string]int{"a": 1}).(string), ".")
		require.Len(t, parts, 5)
		raw := make([][]byte, 5)
		for i, p := range parts {
			var err error
			raw[i], err = base64.RawURLEncoding.DecodeString(p)
			require.NoError(t, err)
		}
		var header struct{ Alg, Enc, Ctx string }
		require.NoError(t, json.Unmarshal(raw[0], &header))
		require.Equal(t, "A256GCM", header.Enc)
		ctx, err := base64.StdEncoding.DecodeString(header.Ctx)
		require.NoError(t, err)
		key := kdf.Derive(sessionKey, []byte(kdf.Label), ctx)
		block, err := aes.NewCipher(key[:])
		require.NoError(t, err)
		plain := raw[3]
		if gcm {
			aead, err := cipher.NewGCM(block)
			require.NoError(t, err)
			plain, err = aead.Open(nil, raw[2], append(raw[3], raw[4]...), []byte(parts[0]))
			require.NoError(t, err)
		} else {
			require.Empty(t, raw[4])
			cipher.NewCBCDecrypter(block, raw[2]).CryptBlocks(plain, plain)
			plain = plain[:len(plain)-int(plain[len(plain)-1])]
		}
		var out map[string]any
		require.NoError(t, json.Unmarshal(plain, &out))
		return out
	}
	require.Equal(t, map[string]any{"a": 1.0}, open(false))
	require.Equal(t, map[string]any{"a": 1.0}, open(true))
	w.PlainReplies = true
	require.Equal(t, 7, w.EncryptReply(sessionKey, nil, 7))

	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	text, err := w.WrapSessionKey(&key.PublicKey, sessionKey)
	require.NoError(t, err)
	parts := strings.Split(text, ".")
	require.Len(t, parts, 5)
	wrapped, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	got, err := rsa.DecryptOAEP(sha1.New(), nil, key, wrapped, nil)
	require.NoError(t, err)
	require.Equal(t, sessionKey, got)
}

func TestSign(t *testing.T) {
	w := newWorld(t)
	token := w.Keys.Sign(map[string]any{"a": 1})
	_, err := jws.Verify([]byte(token), jws.WithKey(jwa.RS256, w.Keys.Public()))
	require.NoError(t, err)
	require.Contains(t, w.Keys.SignXML("_1", `<saml:Assertion ID="_1">`), "<ds:SignatureValue>")
}

func TestRollOver(t *testing.T) {
	k := mint.NewKeys()
	require.Equal(t, mint.Generations{Last: 1}, k.Generations())
	require.NoError(t, k.PublishNext())
	require.Equal(t, mint.Generations{Last: 1}, k.Generations())
	require.NoError(t, k.UseNext())
	require.Equal(t, mint.Generations{Used: 1, Last: 1}, k.Generations())
	require.NoError(t, k.PublishNext())
	require.Equal(t, mint.Generations{Used: 1, Last: 2}, k.Generations())
	again := mint.NewKeys()
	require.NoError(t, again.Restore(k.Generations()))
	require.Equal(t, k.Published(), again.Published())
	require.Equal(t, k.JWKS("x", true), again.JWKS("x", true))
	k.DropFormer()
	require.Equal(t, mint.Generations{First: 1, Used: 1, Last: 2}, k.Generations())
	require.NoError(t, again.Restore(mint.Generations{}))
	for _, wrong := range []mint.Generations{{First: -1, Last: 1}, {First: 1}, {Used: 1}, {Last: 2}, {Used: 20, Last: 20}} {
		require.ErrorContains(t, again.Restore(wrong), "contradict", "%v", wrong)
	}
}
