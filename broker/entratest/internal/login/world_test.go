package login_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/adfs"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/browser"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/login"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/passkeys"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/seal"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/tokenendpoint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

const (
	base     = "https://login.microsoftonline.com"
	redirect = "https://login.microsoftonline.com/common/oauth2/nativeclient"
	app      = "11111111-2222-4333-8444-555555555555"
	password = "correct horse battery staple"
	secret   = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	phone    = "+41 79 123 45 67"
)

// deviceKey is the key of the device in these tests: making one takes a while.
var deviceKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// world is the pages of a tenant, with what they stand on and nothing above them.
type world struct {
	*login.Pages
	t   *testing.T
	dir *directory.Directory
	log *directory.SignInLog
	now time.Time
	tap string // access pass of tom

	key    *ecdsa.PrivateKey // of the passkeys
	cert   []byte            // of the device
	device string
	kept   []*http.Cookie // what the last reply set
}

func newWorld(t *testing.T) *world {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	r := ids.NewSource(1)
	dir, err := directory.New([]directory.TenantSpec{
		{
			Domain: "contoso.example", DisplayName: "Contoso", Federated: []string{"fed.example"}, FederatedMFA: "enforceMfaByFederatedIdp",
			Users: []directory.UserSpec{
				{Username: "alice", Name: "Alice Example", Password: password, TOTPSecret: secret},
				{Username: "bob", Password: password},
				{Username: "carol", Password: password, NumberMatch: true, PhoneSignIn: true},
				{Username: "dave", Password: password, Passkeys: []directory.PasskeySpec{{ID: []byte("dave's"), Key: key}}},
				{Username: "erin", Password: password, Phone: phone},
				{Username: "hal", Password: password, HardwareTOTP: secret},
				{Username: "tom"},
				{Username: "fay@fed.example", Password: password, FederationTOTP: secret},
				{Username: "flo@fed.example", Password: password},
			},
			Apps: []directory.AppSpec{
				{ClientID: app, Name: "Payroll", Public: true, Redirects: []string{redirect, "http://localhost"}, URIs: []string{"api://payroll"}},
				{ClientID: "44444444-5555-4666-8777-888888888888", Name: "Third", Public: true, Redirects: []string{redirect, "msauth.third://auth?x=1"}},
				{ClientID: "55555555-6666-4777-8888-999999999999", Name: "Closed", Public: true, Redirects: []string{redirect}, AssignTo: []string{"bob"}},
			},
		},
		{Domain: "fabrikam.example", Users: []directory.UserSpec{{Username: "zoe", Password: password}}},
	}, 5, r)
	require.NoError(t, err)
	w := &world{t: t, dir: dir, key: key, log: directory.NewSignInLog(50), now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return w.now }
	keeper := &session.Keeper{Directory: dir, Rand: r, Now: clock, Logf: t.Logf, Box: seal.New(r.Bytes(32), r), Pending: session.NewPending(),
		TTL: session.TTL{Nonce: 5 * time.Minute, Code: 10 * time.Minute, DeviceCode: 15 * time.Minute, AccessToken: time.Hour, RefreshToken: 90 * 24 * time.Hour,
			PRT: 14 * 24 * time.Hour, PRTMax: 90 * 24 * time.Hour, FreshMFA: 10 * time.Minute, TAP: time.Hour, Prompt: time.Minute, Message: 3 * time.Minute}}
	m := &mint.Mint{Keys: mint.NewKeys(), Keeper: keeper}
	router := web.New(web.Config{Directory: dir, Rand: r, Now: clock, Logf: t.Logf, Log: w.log})
	engine := &access.Engine{Keeper: keeper}
	sts := &tokenendpoint.Service{Keeper: keeper, Access: engine, Mint: m, Web: router, PRTs: tokenendpoint.NewPRTList(50)}
	w.Pages = &login.Pages{Keeper: keeper, Access: engine, Mint: m, Passkeys: &passkeys.Checker{Keeper: keeper}, STS: sts, Web: router}
	w.Routes()
	(&adfs.Server{Keeper: keeper, Mint: m, Web: router, ErrorPage: w.ErrorPage, FormTargets: w.FormTargets}).Routes()
	w.tap, err = keeper.CreateAccessPass("tom", false)
	require.NoError(t, err)
	return w
}

// RoundTrip carries requests to the pages without a network.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	return w.showing(nil).RoundTrip(r)
}

// showing is a transport that shows a certificate in the TLS handshake.
func (w *world) showing(cert *x509.Certificate) http.RoundTripper {
	return tripper(func(r *http.Request) (*http.Response, error) {
		in := r.Clone(r.Context())
		in.RequestURI, in.TLS = r.URL.RequestURI(), &tls.ConnectionState{}
		if in.Host == "" {
			in.Host = r.URL.Host
		}
		if in.Body == nil {
			in.Body = http.NoBody
		}
		if cert != nil {
			in.TLS.PeerCertificates = []*x509.Certificate{cert}
		}
		rec := httptest.NewRecorder()
		w.Web.ServeHTTP(rec, in)
		resp := rec.Result()
		resp.Request = r
		resp.Header.Set("Date", w.now.UTC().Format(http.TimeFormat))
		return resp, nil
	})
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// start is an authorization URL. An empty value takes a parameter away.
func start(kv ...string) string {
	q := url.Values{"client_id": {app}, "response_type": {"code"}, "redirect_uri": {redirect}, "resource": {"api://payroll"}, "state": {"st"}}
	path := "/organizations/oauth2/authorize"
	for i := 0; i < len(kv); i += 2 {
		switch {
		case kv[i] == "path":
			path = kv[i+1]
		case kv[i+1] == "":
			q.Del(kv[i])
		default:
			q.Set(kv[i], kv[i+1])
		}
	}
	return base + path + "?" + q.Encode()
}

// walk is a person's way through the pages; the error is the page that ended it.
func (w *world) walk(p browser.Person, kv ...string) (url.Values, error) {
	w.t.Helper()
	if !strings.Contains(p.Username, "@") {
		p.Username += "@contoso.example"
	}
	p.ShowCertificate = func(http.RoundTripper) http.RoundTripper { return w.showing(p.Certificate.Leaf) }
	to, err := p.Authorize(w.t.Context(), &http.Client{Transport: w}, start(kv...), redirect)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(to)
	require.NoError(w.t, err)
	q := u.Query()
	if u.Fragment != "" {
		q, err = url.ParseQuery(u.Fragment)
		require.NoError(w.t, err)
	}
	require.Equal(w.t, "st", q.Get("state"))
	return q, nil
}

// code opens an authorization code.
func (w *world) code(q url.Values) session.CodeRecord {
	w.t.Helper()
	var c session.CodeRecord
	require.NoError(w.t, w.Keeper.Box.Open(session.KindCode, q.Get("code"), &c), "%v", q)
	return c
}

// reply is what came of a request.
type reply struct {
	status int
	header http.Header
	body   string
	config map[string]any // $Config, or the JSON of the body
}

func (r *reply) str(name string) string { s, _ := r.config[name].(string); return s }

// page names what was answered: the id of the page and its AADSTS code.
func (r *reply) page() string { return strings.TrimSpace(r.str("pgid") + " " + r.str("sErrorCode")) }

func (r *reply) location(t *testing.T) url.Values {
	t.Helper()
	u, err := url.Parse(r.header.Get("Location"))
	require.NoError(t, err)
	return u.Query()
}

// error is the AADSTS code of an error at the redirect URI.
func (r *reply) error(t *testing.T) string {
	t.Helper()
	return aadsts.FindString(r.location(t).Get("error_description"))
}

var (
	aadsts = regexp.MustCompile(`AADSTS\d+`)
	config = regexp.MustCompile(`(?s)\$Config=(.*?);\n//\]\]>`)
)

func (w *world) do(method, to string, header http.Header, body string) *reply {
	w.t.Helper()
	if !strings.HasPrefix(to, "https://") {
		to = base + to
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, to, strings.NewReader(body))
	require.NoError(w.t, err)
	r.Header = header
	resp, err := w.RoundTrip(r)
	require.NoError(w.t, err)
	data, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	require.NoError(w.t, resp.Body.Close())
	w.kept = resp.Cookies()
	out := &reply{status: resp.StatusCode, header: resp.Header, body: string(data)}
	text := out.body
	if m := config.FindStringSubmatch(text); m != nil {
		text = m[1]
	}
	if strings.HasPrefix(text, "{") {
		require.NoError(w.t, json.Unmarshal([]byte(text), &out.config), text)
	}
	return out
}

func (w *world) get(to string, header ...string) *reply {
	w.t.Helper()
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return w.do("GET", to, h, "")
}

func (w *world) post(to string, kv ...string) *reply {
	w.t.Helper()
	v := url.Values{}
	for i := 0; i < len(kv); i += 2 {
		v.Set(kv[i], kv[i+1])
	}
	return w.do("POST", to, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, v.Encode())
}

func (w *world) json(to string, v any) *reply {
	w.t.Helper()
	data, err := json.Marshal(v)
	require.NoError(w.t, err)
	return w.do("POST", to, http.Header{"Content-Type": {"application/json"}}, string(data))
}

// typed is the page behind the first factor: the name and the password were typed.
func (w *world) typed(user string, kv ...string) *reply {
	w.t.Helper()
	first := w.get(start(kv...))
	require.Equal(w.t, "ConvergedSignIn", first.page(), first.body)
	return w.post(first.str("urlPost"), "login", user+"@contoso.example", "passwd", password, "ctx", first.str("sCtx"))
}

// policy sets one policy for all apps, with what it grants by.
func (w *world) policy(grant string) {
	w.t.Helper()
	w.policyFor(`"includeApplications":["All"]`, grant)
}

// registration sets one policy for the registration of methods.
func (w *world) registration(grant string) {
	w.t.Helper()
	w.policyFor(`"includeUserActions":["urn:user:registersecurityinfo"]`, grant)
}

func (w *world) policyFor(applications, grant string) {
	w.t.Helper()
	require.NoError(w.t, w.dir.SetPolicies(w.dir.Home(), []byte(fmt.Sprintf(`{"id":"aaaaaaaa-0000-4000-8000-000000000001","displayName":"P","state":"enabled",
"conditions":{"clientAppTypes":["all"],"users":{"includeUsers":["All"]},"applications":{%s}},
"grantControls":{"operator":"OR",%s}}`, applications, grant))))
}

func builtIn(control string) string { return `"builtInControls":["` + control + `"]` }

// joined registers a device of alice.
func (w *world) joined(compliant bool) {
	w.t.Helper()
	home, alice := w.dir.Home(), w.dir.User("alice@contoso.example")
	w.device = "73d664e4-0886-4a73-b745-c694da45ddb4"
	der, err := w.Mint.Keys.Device.Issue(&deviceKey().PublicKey, mint.DeviceCertificate{Device: w.device, User: alice.ID, Tenant: home.ID, Region: "EU", Joined: true, Serial: []byte{7}, Now: w.now})
	require.NoError(w.t, err)
	w.cert = der
	require.NoError(w.t, w.dir.AddDevice(&directory.Device{Tenant: home, ID: w.device, Owner: alice.ID, Key: &deviceKey().PublicKey, Transport: &deviceKey().PublicKey,
		CertSHA1: mint.Thumbprint(der), CertSHA256: sha256.Sum256(der), Enabled: true, Compliant: compliant, Registered: w.now, Visible: w.now}))
}

// waiting is the newest prompt on the phone of a user; nil: none waits.
func (w *world) waiting(user string, kind session.PromptKind) *session.Prompt {
	return w.Keeper.Pending.Newest(w.dir.User(user+"@contoso.example").ID, kind, w.now)
}

func (w *world) last() directory.LogEntry {
	list := w.log.All()
	require.NotEmpty(w.t, list)
	return list[len(list)-1]
}
