package drs_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/drs"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/wire"
)

const (
	base       = "https://enterpriseregistration.windows.net"
	computerID = "73d664e4-0886-4a73-b745-c694da45ddb4"
)

var now = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

type world struct {
	*drs.Service
	dir    *directory.Directory
	key    *rsa.PrivateKey
	mfa    bool
	device string // device id in the token
}

func newWorld(t *testing.T) *world {
	t.Helper()
	source := ids.NewSource(1)
	dir, err := directory.New([]directory.TenantSpec{{Domain: "contoso.example", Users: []directory.UserSpec{{Username: "alice"}}}}, 1, source)
	require.NoError(t, err)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	clock := func() time.Time { return now }
	keeper := &session.Keeper{Directory: dir, Rand: source, Now: clock, Logf: t.Logf}
	w := &world{dir: dir, key: key}
	w.Service = &drs.Service{Keeper: keeper, Access: &access.Engine{Keeper: keeper}, Mint: &mint.Mint{Keys: mint.NewKeys(), Keeper: keeper},
		Web: web.New(web.Config{Directory: dir, Rand: source, Now: clock, Logf: t.Logf, Log: directory.NewSignInLog(1)})}
	w.Routes()
	return w
}

func (w *world) token() string {
	u := w.dir.User("alice@contoso.example")
	ss := w.Keeper.NewSession(u, claims.Password)
	in := &mint.Issuance{Client: w.dir.App(u.Tenant, wire.ClientBroker), User: u, Session: &ss, Now: now, Audience: wire.ResourceRegistration,
		Resource: w.dir.Resource(u.Tenant, wire.ResourceRegistration), Scopes: []string{"adrs_access"}}
	if w.mfa {
		ss.ProveMFA(claims.SoftwareOATH, now)
		in.Fresh = true
	}
	return w.Mint.AccessToken(in, w.dir.Device(w.device), now.Add(time.Hour))
}

// ask sends a request with a token, or with a certificate.
func (w *world) ask(t *testing.T, method, path string, body any, cert *x509.Certificate) (int, map[string]any) {
	t.Helper()
	text, err := json.Marshal(body)
	require.NoError(t, err)
	r := httptest.NewRequest(method, base+path, strings.NewReader(string(text)))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	if cert != nil {
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
	} else {
		r.Header.Set("Authorization", "Bearer "+w.token())
	}
	rec := httptest.NewRecorder()
	w.Web.ServeHTTP(rec, r)
	var out map[string]any
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &out), rec.Body.String())
	return rec.Code, out
}

// blob is a public key as CNG writes it (BCRYPT_RSAKEY_BLOB).
func blob(pub *rsa.PublicKey) string {
	b := []byte("RSA1")
	for _, n := range []uint32{2048, 3, 256, 0, 0} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return base64.StdEncoding.EncodeToString(append(append(b, 1, 0, 1), pub.N.FillBytes(make([]byte, 256))...))
}

func (w *world) joinBody(t *testing.T, joinType int) map[string]any {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "7E980AD9-B86D-4306-9425-9AC066FB014A"}}, w.key)
	require.NoError(t, err)
	return map[string]any{
		"CertificateRequest": map[string]string{"Type": "pkcs10", "Data": base64.StdEncoding.EncodeToString(der)},
		"TransportKey":       blob(&w.key.PublicKey), "TargetDomain": "contoso.example", "DeviceType": "Linux",
		"OSVersion": "Ubuntu 24.04", "DeviceDisplayName": "box", "JoinType": joinType,
		"Attributes": map[string]string{"ReturnClientSid": "true", "ReuseDevice": "true"},
	}
}

func certificate(t *testing.T, reply map[string]any) *x509.Certificate {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(reply["Certificate"].(map[string]any)["RawBody"].(string))
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

func TestJoin(t *testing.T) {
	w := newWorld(t)
	const path = "/EnrollmentServer/device/?api-version=2.0"
	for name, c := range map[string]struct {
		change func(map[string]any)
		says   string
	}{
		"a hybrid join":       {func(b map[string]any) { b["JoinType"] = wire.JoinTypeHybrid }, "A hybrid device"},
		"another join type":   {func(b map[string]any) { b["JoinType"] = 99 }, "not valid"},
		"no name":             {func(b map[string]any) { b["DeviceDisplayName"] = "" }, "not valid"},
		"no request":          {func(b map[string]any) { b["CertificateRequest"] = map[string]string{"Type": "x"} }, "not valid"},
		"a bad transport":     {func(b map[string]any) { b["TransportKey"] = "AAAA" }, "not valid"},
		"a bad signing key":   {func(b map[string]any) { b["CertificateRequest"] = map[string]string{"Type": "pkcs10", "Data": "AAAA"} }, "not valid"},
		"no join type at all": {func(b map[string]any) { delete(b, "JoinType") }, "not valid"},
	} {
		body := w.joinBody(t, wire.JoinTypeJoin)
		c.change(body)
		status, got := w.ask(t, "POST", path, body, nil)
		require.Equal(t, http.StatusBadRequest, status, name)
		require.Contains(t, got["Message"], c.says, name)
	}
	w.RequireMFAToJoin = true
	status, _ := w.ask(t, "POST", path, w.joinBody(t, wire.JoinTypeJoin), nil)
	require.Equal(t, http.StatusForbidden, status)
	w.mfa = true
	status, got := w.ask(t, "POST", path, w.joinBody(t, wire.JoinTypeJoin), nil)
	require.Equal(t, http.StatusOK, status, got)
	require.Len(t, got["MembershipChanges"], 1)
	cert := certificate(t, got)
	id := cert.Subject.CommonName
	require.Equal(t, "AzureAd", w.dir.Device(id).TrustType())

	_, again := w.ask(t, "POST", path, w.joinBody(t, wire.JoinTypeJoin), nil)
	require.Equal(t, id, certificate(t, again).Subject.CommonName, "the same key, the same device")
	cert = certificate(t, again)
	w.device = id
	status, _ = w.ask(t, "POST", path, w.joinBody(t, wire.JoinTypeJoin), nil)
	require.Equal(t, http.StatusForbidden, status, "a token of a device registers none")
	w.device = ""
	status, _ = w.ask(t, "POST", "/EnrollmentServer/device/?api-version=9.0", w.joinBody(t, wire.JoinTypeJoin), nil)
	require.Equal(t, http.StatusBadRequest, status)
	require.NoError(t, w.dir.SetPolicies(w.dir.Home(), json.RawMessage(`[{"id":"11111111-2222-3333-4444-555555555555","displayName":"P","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeUserActions":["urn:user:registerdevice"]},"clientAppTypes":["all"]},"grantControls":{"operator":"OR","builtInControls":["block"]}}]`)))
	status, got = w.ask(t, "POST", path, w.joinBody(t, wire.JoinTypeJoin), nil)
	require.Equal(t, http.StatusForbidden, status, got)

	tenant := w.dir.Home().ID
	status, got = w.ask(t, "GET", "/manage/"+tenant+"/"+id, nil, cert)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, id, got["DeviceId"])
	status, _ = w.ask(t, "GET", "/manage/"+tenant+"/"+computerID, nil, cert)
	require.Equal(t, http.StatusUnauthorized, status, "the certificate is of another device")
	status, _ = w.ask(t, "DELETE", "/EnrollmentServer/device/"+id, nil, nil)
	require.Equal(t, http.StatusUnauthorized, status, "a token is no certificate")
	status, _ = w.ask(t, "DELETE", "/EnrollmentServer/device/"+id, nil, cert)
	require.Equal(t, http.StatusOK, status)
	require.Nil(t, w.dir.Device(id))
	status, _ = w.ask(t, "DELETE", "/EnrollmentServer/device/"+id, nil, cert)
	require.Equal(t, http.StatusBadRequest, status)
}

func TestHelloKeys(t *testing.T) {
	w := newWorld(t)
	w.mfa = true
	const path = "/EnrollmentServer/key/?api-version=1.0"
	body := map[string]string{"kngc": blob(&w.key.PublicKey)}
	status, _ := w.ask(t, "POST", path, body, nil)
	require.Equal(t, http.StatusUnauthorized, status, "the token has no device")
	require.NoError(t, w.dir.AddDevice(&directory.Device{Tenant: w.dir.Home(), ID: computerID, Enabled: true}))
	w.device = computerID
	w.mfa = false
	status, _ = w.ask(t, "POST", path, body, nil)
	require.Equal(t, http.StatusUnauthorized, status, "no fresh second factor")
	w.mfa = true
	for _, bad := range []map[string]string{{}, {"kngc": "!"}, {"kngc": "AAAA"}} {
		status, _ = w.ask(t, "POST", path, bad, nil)
		require.Equal(t, http.StatusBadRequest, status, bad)
	}
	status, got := w.ask(t, "POST", path, body, nil)
	require.Equal(t, http.StatusOK, status, got)
	require.Equal(t, "alice@contoso.example", got["upn"])
	require.Len(t, w.dir.User("alice@contoso.example").Hello, 1)
	status, _ = w.ask(t, "DELETE", "/EnrollmentServer/key/"+got["kid"].(string), nil, nil)
	require.Equal(t, http.StatusOK, status)
	status, _ = w.ask(t, "DELETE", "/EnrollmentServer/key/", nil, nil)
	require.Equal(t, http.StatusNotFound, status)
}

func TestHybridJoin(t *testing.T) {
	w := newWorld(t)
	require.ErrorContains(t, w.SyncComputer("x", "S-1", "PC", &w.key.PublicKey), "GUID")
	require.NoError(t, w.SyncComputer(computerID, "S-1-5-21-1", "PC", &w.key.PublicKey))
	require.True(t, w.dir.Device(computerID).Pending)
	body := func(at time.Time) map[string]any {
		b := w.joinBody(t, wire.JoinTypeHybrid)
		sid := "S-1-5-21-1." + at.UTC().Format("2006-01-02 15:04:05Z")
		sum := sha256.Sum256([]byte(sid))
		sig, err := rsa.SignPKCS1v15(nil, w.key, crypto.SHA256, sum[:])
		require.NoError(t, err)
		b["ServerAdJoinData"] = map[string]any{
			"TransportKey": b["TransportKey"], "TargetDomain": "contoso.example", "DeviceType": "Windows", "OSVersion": "10", "DeviceDisplayName": "PC",
			"ClientIdentity": map[string]string{"Type": "sha256signed", "Sid": sid, "SignedBlob": base64.StdEncoding.EncodeToString(sig)},
		}
		return b
	}
	status, got := w.ask(t, "PUT", "/EnrollmentServer/device/"+computerID, body(now.Add(-time.Hour)), nil)
	require.Equal(t, http.StatusUnauthorized, status, got)
	status, got = w.ask(t, "PUT", "/EnrollmentServer/device/"+computerID, body(now), nil)
	require.Equal(t, http.StatusOK, status, got)
	require.Equal(t, computerID, certificate(t, got).Subject.CommonName)
	require.False(t, w.dir.Device(computerID).Pending)
	status, _ = w.ask(t, "PUT", "/EnrollmentServer/device/00000000-0000-0000-0000-000000000000", body(now), nil)
	require.Equal(t, http.StatusBadRequest, status)
}

func TestDiscovery(t *testing.T) {
	w := newWorld(t)
	status, got := w.ask(t, "GET", "/contoso.example/Discover?api-version=1.9", nil, nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, base+wire.PathDevice, got["DeviceJoinService"].(map[string]any)["JoinEndpoint"])
}
