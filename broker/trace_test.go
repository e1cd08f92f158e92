package broker_test

import (
	"bytes"
	"cmp"
	"crypto/tls"
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

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
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
func (r *trace) op(l *life, o stage) {
	r.t.Helper()
	if o.between {
		require.NoError(r.t, o.do(r.t.Context(), l))
		return
	}
	r.chip.Take()
	fmt.Fprintf(r.out, "\n== %s\n", o.name)
	err := o.do(r.t.Context(), l)
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

// What every public operation sends to the services and to the TPM is written
// down, so that a change which means to change nothing shows that it did not.
func TestGoldenTrace(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	for _, course := range lives {
		// The TPM makes its keys itself: from the pool, what is sent depends on the
		// tests that ran before.
		keys, chip := softwareTPM(t)
		r := &trace{t: t, out: &out, chip: chip}
		l := course.begin(t, withKeys(keys.TPM), func(w *world, _ *entratestOptions) {
			w.store = fileStore(t, filepath.Join(t.TempDir(), "state"))
		})
		r.inner = l.wire
		l.cfg.Transport = r
		l.cfg.MutualTLS = func(c tls.Certificate) broker.Transport {
			return &trace{t: t, out: &out, inner: l.wire.mutualTLS(l.srv)(c), chip: chip}
		}
		l.reopen()
		for _, o := range course.operations {
			r.op(l, o)
		}
	}

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
