package broker_test

import (
	"bytes"
	"cmp"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// A trace is what the operations of a broker send, as text: of each request
// the address, the headers and the shape of the body, of each reply its status,
// and the commands that reached the TPM.
type trace struct {
	t     *testing.T
	out   *strings.Builder
	inner broker.Transport
	chip  *tpmtest.Counting
}

// op runs one operation and writes what it did.
func (r *trace) op(name string, f func() error) {
	r.t.Helper()
	r.chip.Take()
	fmt.Fprintf(r.out, "\n== %s\n", name)
	err := f()
	if cc := r.chip.Take(); len(cc) > 0 {
		fmt.Fprintf(r.out, "tpm: %s\n", commandNames(cc))
	}
	if err != nil {
		fmt.Fprintf(r.out, "error: %s\n", masked(err.Error()))
	}
}

func (r *trace) Do(q *http.Request) (*http.Response, error) {
	var body []byte
	if q.Body != nil {
		body, _ = io.ReadAll(q.Body)
		q.Body = io.NopCloser(bytes.NewReader(body))
	}
	fmt.Fprintf(r.out, "%s https://%s%s%s\n", q.Method, q.URL.Host, masked(q.URL.Path), queryShape(q.URL.Query()))
	var heads []string
	for name := range q.Header {
		if name != "User-Agent" {
			heads = append(heads, name)
		}
	}
	slices.Sort(heads)
	fmt.Fprintf(r.out, "  %s\n", strings.Join(heads, " "))
	if len(body) > 0 {
		fmt.Fprintf(r.out, "  > %s\n", bodyShape(q.Header.Get("Content-Type"), body))
	}
	res, err := r.inner.Do(q)
	if err != nil {
		fmt.Fprintf(r.out, "  < no reply\n")
		return nil, err
	}
	reply, err := io.ReadAll(res.Body)
	require.NoError(r.t, err)
	require.NoError(r.t, res.Body.Close())
	res.Body = io.NopCloser(bytes.NewReader(reply))
	kind, _, _ := strings.Cut(bodyShape(res.Header.Get("Content-Type"), reply), "{")
	fmt.Fprintf(r.out, "  < %d %s\n", res.StatusCode, cmp.Or(kind, "json"))
	if to, err := res.Location(); err == nil {
		fmt.Fprintf(r.out, "  < to %s://%s%s%s\n", to.Scheme, to.Host, masked(to.Path), queryShape(to.Query()))
	}
	return res, nil
}

// plain are fields whose values the protocol fixes.
var plain = map[string]bool{
	"grant_type": true, "client_id": true, "resource": true, "scope": true, "redirect_uri": true, "client_info": true,
	"prompt": true, "amr_values": true, "response_type": true, "requested_token_type": true, "requested_token_use": true,
	"windows_api_version": true, "tokenversion": true, "iss": true, "aud": true, "alg": true, "typ": true, "enc": true,
	"kdf_ver": true, "use": true, "win_ver": true, "is_primary": true, "token_type": true, "error": true, "api-version": true,
	"type": true, "JoinType": true, "DeviceType": true, "code_challenge_method": true, "response_mode": true, "instance_aware": true,
	"purpose": true, "req_cnf_type": true, "cache": true, "suberror": true, "login_hint": true, "username": true,
}

func queryShape(v url.Values) string {
	if len(v) == 0 {
		return ""
	}
	return "?" + formShape(v)
}

func formShape(v url.Values) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(v)) {
		if plain[k] {
			out = append(out, k+"="+masked(v.Get(k)))
		} else {
			out = append(out, k+"="+textShape(v.Get(k)))
		}
	}
	return strings.Join(out, " ")
}

func bodyShape(contentType string, b []byte) string {
	switch {
	case len(b) == 0:
		return "empty"
	case strings.HasPrefix(contentType, "application/x-www-form-urlencoded"):
		v, err := url.ParseQuery(string(b))
		if err != nil {
			return "not a form"
		}
		return formShape(v)
	case b[0] == '<' && !strings.Contains(contentType, "html"):
		return "xml{" + xmlShape(b) + "}"
	case b[0] == '<':
		return "a page"
	}
	return textShape(string(b))
}

// textShape is the shape of a token, of JSON, or of anything else.
func textShape(s string) string {
	if v := new(any); json.Unmarshal([]byte(s), v) == nil {
		if _, object := (*v).(map[string]any); object {
			return jsonShape("", *v)
		}
	}
	part := strings.Split(s, ".")
	head, err := base64.RawURLEncoding.DecodeString(part[0])
	switch {
	case s == "":
		return "empty"
	case err != nil || !json.Valid(head):
	case len(part) == 3:
		payload, _ := base64.RawURLEncoding.DecodeString(part[1])
		return "jwt" + textShape(string(head)) + textShape(string(payload))
	case len(part) == 5:
		return "jwe" + textShape(string(head))
	}
	return "…"
}

func jsonShape(key string, v any) string {
	switch v := v.(type) {
	case map[string]any:
		var out []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out = append(out, k+":"+jsonShape(k, v[k]))
		}
		return "{" + strings.Join(out, " ") + "}"
	case []any:
		if len(v) == 0 {
			return "[]"
		}
		return "[" + jsonShape(key, v[0]) + "]"
	case string:
		if plain[key] {
			return masked(v)
		}
		if inner := textShape(v); inner != "…" && inner != "empty" {
			return inner
		}
		return "text"
	case float64:
		return "number"
	}
	return fmt.Sprintf("%v", v)
}

func xmlShape(b []byte) string {
	d := xml.NewDecoder(bytes.NewReader(b))
	var out []string
	for {
		tok, err := d.Token()
		if err != nil {
			return strings.Join(out, " ")
		}
		if e, ok := tok.(xml.StartElement); ok {
			out = append(out, e.Name.Local)
		}
	}
}

var varying = []*regexp.Regexp{
	regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`),
	regexp.MustCompile(`[A-Za-z0-9_+/=-]{40,}`),
}

// kept are identifiers that the protocol or the test fixes.
var kept = []string{wireBroker, wireDRS, appID, payrollID, ledgerID, openID}

const (
	wireBroker = "29d9ed98-a469-4536-ade2-f981bc1d605e"
	wireDRS    = "01cb2876-7ebd-4aa4-9cc9-d28bd4d359a9"
)

func masked(s string) string {
	for _, re := range varying {
		s = re.ReplaceAllStringFunc(s, func(m string) string {
			if slices.Contains(kept, m) {
				return m
			}
			return "…"
		})
	}
	return s
}

var commandName = map[tpm2.TPMCC]string{
	tpm2.TPMCCCreate: "Create", tpm2.TPMCCCreatePrimary: "CreatePrimary", tpm2.TPMCCLoad: "Load", tpm2.TPMCCLoadExternal: "LoadExternal",
	tpm2.TPMCCReadPublic: "ReadPublic", tpm2.TPMCCFlushContext: "FlushContext", tpm2.TPMCCStartAuthSession: "StartAuthSession",
	tpm2.TPMCCSign: "Sign", tpm2.TPMCCRSADecrypt: "RSADecrypt", tpm2.TPMCCHMAC: "HMAC", tpm2.TPMCCHMACStart: "HMACStart",
	tpm2.TPMCCSequenceComplete: "SequenceComplete", tpm2.TPMCCSequenceUpdate: "SequenceUpdate", tpm2.TPMCCUnseal: "Unseal",
	tpm2.TPMCCGetCapability: "GetCapability", tpm2.TPMCCReadClock: "ReadClock", tpm2.TPMCCPolicyAuthValue: "PolicyAuthValue",
	tpm2.TPMCCPolicyCounterTimer: "PolicyCounterTimer", tpm2.TPMCCPolicyOR: "PolicyOR", tpm2.TPMCCPolicyPassword: "PolicyPassword",
	tpm2.TPMCCPolicyGetDigest: "PolicyGetDigest", tpm2.TPMCCPolicySecret: "PolicySecret", tpm2.TPMCCPolicyCommandCode: "PolicyCommandCode",
	tpm2.TPMCCObjectChangeAuth: "ObjectChangeAuth", tpm2.TPMCCImport: "Import", tpm2.TPMCCGetRandom: "GetRandom",
	tpm2.TPMCCContextSave: "ContextSave", tpm2.TPMCCContextLoad: "ContextLoad", tpm2.TPMCCCertify: "Certify",
}

func commandNames(codes []tpm2.TPMCC) string {
	var out []string
	for _, c := range codes {
		n, ok := commandName[c]
		if !ok {
			n = fmt.Sprintf("%#x", uint32(c))
		}
		out = append(out, n)
	}
	return strings.Join(out, " ")
}

// traced is a world on a software TPM whose operations are written down.
func traced(t *testing.T, out *strings.Builder, changes ...change) (*world, *trace) {
	// The TPM makes its keys itself: from the pool, what is sent depends on the
	// tests that ran before.
	keys, chip := softwareTPM(t)
	w := newWorld(t, append([]change{withKeys(keys.TPM), withFederation(), func(w *world, _ *entratestOptions) {
		w.store = fileStore(t, filepath.Join(t.TempDir(), "state"))
	}}, changes...)...)
	require.NoError(t, w.b.Close())
	r := &trace{t: t, out: out, inner: w.wire, chip: chip}
	w.cfg.Transport = r
	w.cfg.MutualTLS = func(c tls.Certificate) broker.Transport {
		return &trace{t: t, out: out, inner: w.wire.mutualTLS(w.srv)(c), chip: chip}
	}
	w.cfg.Offline = aWeek
	w.b = w.open()
	return w, r
}

// What every public operation sends to the services and to the TPM is written
// down, so that a change which means to change nothing shows that it did not.
func TestGoldenTrace(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	traceDevice(t, &out)
	traceOthers(t, &out)
	traceHybrid(t, &out)
	traceUnbound(t, &out)

	golden := filepath.Join("testdata", "trace.txt")
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(out.String()), 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	lines := strings.Split(string(want), "\n")
	for i, got := range strings.Split(out.String(), "\n") {
		if i >= len(lines) || got != lines[i] {
			t.Fatalf("line %d of %s is now\n%s\ngo test ./broker -run TestGoldenTrace -update, and look at the difference", i+1, golden, got)
		}
	}
}

// traceDevice is the life of a machine and its user.
func traceDevice(t *testing.T, out *strings.Builder) {
	w, r := traced(t, out)
	ctx := t.Context()
	silent := func(scopes []string, o ...broker.CallOption) func() error {
		return func() error { _, err := w.b.AcquireTokenSilent(ctx, scopes, o...); return err }
	}
	var acct broker.Account
	signIn := func(c broker.Credential) func() error {
		return func() error {
			res, err := w.b.SignIn(ctx, c)
			acct = res.Account
			return err
		}
	}
	r.op("RegisterDevice", func() error {
		_, err := w.b.RegisterDevice(ctx, broker.RegisterRequest{Credential: broker.Password{Username: alice, Password: password}})
		return err
	})
	r.op("SignIn, password", signIn(broker.Password{Username: alice, Password: password}))
	r.op("AcquireTokenSilent, the first", silent(graph))
	r.op("AcquireTokenSilent, from memory", silent(graph))
	r.op("AcquireTokenSilent, forced", silent(graph, broker.WithForceRefresh()))
	r.op("AcquireTokenSilent, a plain app's own claims", silent(open, broker.WithClaims(`{"access_token":{"xms_cc":{"values":["cp1"]}}}`)))
	r.op("AcquireTokenSilent, WithCAE", silent(open, broker.WithCAE()))
	r.op("AcquireTokenSilent, MFA is missing", silent(payroll))
	r.op("AcquireTokenInteractive, a step-up", func() error { _, err := w.b.AcquireTokenInteractive(ctx, payroll); return err })
	r.op("AcquireTokenSilent, after the step-up", silent(ledger))
	r.op("AcquireTokenSilent, bound to a key", silent(open, broker.WithPoP(broker.PoP{Method: "GET", URL: "https://open.example/"})))
	r.op("SSOCookies", func() error {
		_, err := w.b.SSOCookies(ctx, "https://login.microsoftonline.com/common/oauth2/authorize?sso_nonce=AwABnonce")
		return err
	})
	r.op("RenewPRT", func() error {
		w.clock.Advance(5 * time.Hour)
		return w.b.RenewPRT(ctx, acct)
	})
	r.op("Accounts", func() error { _, err := w.b.Accounts(ctx); return err })
	r.op("Status", func() error { _, err := w.b.Status(ctx); return err })
	r.op("PRTStatus", func() error { _, err := w.b.PRTStatus(ctx, acct); return err })
	r.op("Why", func() error { _, err := w.b.Why(ctx, broker.WhyInput{Scopes: payroll}); return err })
	r.op("Preflight", func() error { _, err := w.b.Preflight(ctx, broker.WhyInput{Scopes: payroll}); return err })
	r.op("SignInLog", func() error { _, err := w.b.SignInLog(ctx, acct); return err })
	r.op("PoPKeyID", func() error { _, err := w.b.PoPKeyID(ctx); return err })
	r.op("SignIn, on the page with MFA", signIn(broker.AuthCode{LoginHint: alice, MFA: true}))
	r.op("ProvisionHello", func() error { return w.b.ProvisionHello(ctx, acct, rightPIN) })
	unlock := func(pin broker.PIN) func() error {
		return func() error { _, err := w.b.Unlock(ctx, acct, pin); return err }
	}
	r.op("Unlock", unlock(rightPIN))
	r.op("Unlock, a wrong PIN", unlock(wrongPIN))
	r.op("SignIn, by the PIN", signIn(broker.HelloPIN{PIN: rightPIN}))
	r.op("HelloStatus", func() error { _, err := w.b.HelloStatus(ctx, acct); return err })
	r.op("ChangePIN", func() error { return w.b.ChangePIN(ctx, acct, rightPIN, otherPIN) })
	r.op("Lock", func() error { return w.b.Lock(ctx, acct) })
	r.op("Unlock, without a network", func() error {
		w.wire.set(func(*http.Request) error { return errCut }, nil)
		defer w.wire.set(nil, nil)
		return unlock(otherPIN)()
	})
	r.op("ResetPIN", func() error {
		if err := signIn(broker.AuthCode{LoginHint: alice, MFA: true})(); err != nil {
			return err
		}
		return w.b.ResetPIN(ctx, acct, rightPIN)
	})
	r.op("RemoveHello", func() error { return w.b.RemoveHello(ctx, acct) })
	require.NoError(t, w.b.Close())
	r.op("New", func() error { w.b = w.open(); return nil })
	r.op("AcquireTokenSilent, in a new process", silent(graph))
	r.op("RemoveAccount", func() error { return w.b.RemoveAccount(ctx, acct) })
	r.op("UnregisterDevice", func() error { return w.b.UnregisterDevice(ctx) })
	r.op("Enroll", func() error {
		_, err := w.b.Enroll(ctx, broker.AuthCode{LoginHint: alice}, broker.EnrollRequest{})
		return err
	})
	r.op("ForgetDevice", func() error { return w.b.ForgetDevice(ctx) })
}

// traceOthers are the other ways to sign in.
func traceOthers(t *testing.T, out *strings.Builder) {
	w, r := traced(t, out)
	ctx := t.Context()
	r.op("RegisterDevice, on the page", func() error {
		_, err := w.b.RegisterDevice(ctx, broker.RegisterRequest{Credential: broker.AuthCode{LoginHint: alice}})
		return err
	})
	for _, s := range []struct {
		name string
		cred broker.Credential
	}{
		{"SignIn, a wrong password", broker.Password{Username: alice, Password: "wrong"}},
		{"SignIn, device code", broker.DeviceCodeFlow{}},
		{"SignIn, device code with MFA", broker.DeviceCodeFlow{MFA: true}},
		{"SignIn, refresh token", broker.RefreshToken{Token: w.brokerRefreshToken(t)}},
		{"SignIn, federated", broker.Federated{Username: dora, Password: password}},
		{"SignIn, federated with a wrong password", broker.Federated{Username: dora, Password: "wrong"}},
		{"SignIn, federated for a user who is not", broker.Federated{Username: alice, Password: password}},
	} {
		r.op(s.name, func() error { _, err := w.b.SignIn(ctx, s.cred); return err })
	}
	r.op("AcquireTokenByDeviceCode", func() error {
		dc, err := w.b.AcquireTokenByDeviceCode(ctx, open)
		if err != nil {
			return err
		}
		if err := w.person.ApproveDeviceCode(ctx, w.srv.Client(), dc.UserCode); err != nil {
			return err
		}
		_, err = dc.AuthenticationResult(ctx)
		return err
	})
}

func traceHybrid(t *testing.T, out *strings.Builder) {
	w, r := traced(t, out)
	ctx := t.Context()
	computer := broker.OnPremises{ObjectID: computerID, SID: computerSID}
	var der []byte
	r.op("OnPremisesCertificate", func() (err error) { der, err = w.b.OnPremisesCertificate(ctx, computer); return err })
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	require.NoError(t, w.srv.SyncComputer(entratest.Computer{ID: computerID, SID: computerSID, Name: "PC-1", PublicKey: cert.PublicKey.(*rsa.PublicKey)}))
	r.op("RegisterDevice, hybrid", func() error {
		_, err := w.b.RegisterDevice(ctx, broker.RegisterRequest{JoinType: prt.JoinHybrid, OnPremises: &computer})
		return err
	})
}

func traceUnbound(t *testing.T, out *strings.Builder) {
	w, r := traced(t, out)
	require.NoError(t, w.b.Close())
	w.cfg.AllowUnbound = true
	w.b = w.open()
	ctx := t.Context()
	r.op("SignIn, without a device", func() error { _, err := w.b.SignIn(ctx, broker.AuthCode{LoginHint: alice}); return err })
	r.op("AcquireTokenSilent, without a device", func() error { _, err := w.b.AcquireTokenSilent(ctx, open); return err })
	r.op("AcquireTokenInteractive, without a device", func() error { _, err := w.b.AcquireTokenInteractive(ctx, payroll); return err })
}
