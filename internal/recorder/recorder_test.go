package recorder_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/recorder"
	"github.com/prtbroker/prtbroker/tpm"
)

// Every place where a text can be, with a text of its own that must not come out:
// none is seen anywhere else, so that each rule is needed by itself.
func TestEveryPlaceIsRedacted(t *testing.T) {
	b64 := base64.RawURLEncoding.EncodeToString
	jwt := func(header, payload string) string { return b64([]byte(header)) + "." + b64([]byte(payload)) + ".c2ln" }
	for _, tc := range []struct {
		place  string
		secret string
		keeps  string // something that must be there
		change func(*http.Request, *http.Response, func(string))
	}{
		{place: "path", secret: "zaphod-path", keeps: "/oauth2/", change: func(r *http.Request, _ *http.Response, _ func(string)) { r.URL.Path = "/zaphod-path/oauth2/token" }},
		{place: "host", secret: "zaphod-host", change: func(r *http.Request, _ *http.Response, _ func(string)) { r.URL.Host = "zaphod-host.windows.net" }},
		{place: "port", secret: "49173", change: func(r *http.Request, _ *http.Response, _ func(string)) { r.URL.Host = "localhost:49173" }},
		{place: "query", secret: "zaphod-query", keeps: "login_hint=<text", change: func(r *http.Request, _ *http.Response, _ func(string)) { r.URL.RawQuery = "login_hint=zaphod-query" }},
		{place: "name in a query", secret: "zaphod99", change: func(r *http.Request, _ *http.Response, _ func(string)) { r.URL.RawQuery = "zaphod99=1" }},
		{place: "userinfo", secret: "zaphod-login", keeps: `"u": "<text`, change: func(_ *http.Request, _ *http.Response, body func(string)) {
			body(`{"u":"https://zaphod-login:x@microsoft.com/"}`)
		}},
		{place: "method", secret: "ZAPHODMETHOD", change: func(r *http.Request, _ *http.Response, _ func(string)) { r.Method = "ZAPHODMETHOD" }},
		{place: "header", secret: "zaphod-header", keeps: "X-Ms-Anything", change: func(_ *http.Request, r *http.Response, _ func(string)) {
			r.Header.Set("X-Ms-Anything", "zaphod-header")
		}},
		{place: "name of a header", secret: "Zaphod42", change: func(_ *http.Request, r *http.Response, _ func(string)) { r.Header["Zaphod42"] = []string{"x"} }},
		{place: "opened header", secret: "zaphod-inner", change: func(_ *http.Request, r *http.Response, _ func(string)) {
			r.Header.Set("X-Ms-Json", `{"a":"zaphod-inner"}`)
		}},
		{place: "cookie", secret: "zaphod-cookie", keeps: "esctx=<text", change: func(_ *http.Request, r *http.Response, _ func(string)) {
			r.Header.Set("Set-Cookie", "esctx=zaphod-cookie; path=/; secure")
		}},
		{place: "domain of a cookie", secret: "zaphod-domain", change: func(_ *http.Request, r *http.Response, _ func(string)) {
			r.Header.Set("Set-Cookie", "a=b; domain=zaphod-domain.example")
		}},
		{place: "bearer token", secret: "zaphod-bearer", keeps: "Bearer <", change: func(r *http.Request, _ *http.Response, _ func(string)) {
			r.Header.Set("Authorization", "Bearer zaphod-bearer")
		}},
		{place: "authorization of no scheme", secret: "zaphod-scheme", change: func(r *http.Request, _ *http.Response, _ func(string)) {
			r.Header.Set("Authorization", "zaphod-scheme")
		}},
		{place: "challenge", secret: "zaphod-challenge", change: func(_ *http.Request, r *http.Response, _ func(string)) {
			r.Header.Set("Www-Authenticate", `PKeyAuth Context="zaphod-challenge"`)
		}},
		{place: "fragment", secret: "zaphod-fragment", change: func(_ *http.Request, r *http.Response, _ func(string)) {
			r.Header.Set("Location", "https://login.microsoftonline.com/#code=zaphod-fragment")
		}},
		{place: "redirect", secret: "zaphod-redirect", change: func(_ *http.Request, r *http.Response, _ func(string)) {
			r.Header.Set("Location", "zaphod-redirect://auth?code=1")
		}},
		{place: "password", secret: "hunter2hunter2", keeps: `"password": "<secret>"`, change: form("password=hunter2hunter2")},
		{place: "form", secret: "zaphod-form", keeps: `"login": "<text`, change: form("login=zaphod-form")},
		{place: "name in a form", secret: "zaphod@form", change: form("zaphod@form.example=1")},
		{place: "word with spaces", secret: "zaphod-scope", keeps: "openid <text", change: form("scope=openid+zaphod-scope")},
		{place: "text", secret: "zaphod-text", keeps: `"madeup": "<text`, change: json(`{"madeup":"zaphod-text"}`)},
		{place: "long text", secret: "zaphodlong", keeps: "<opaque 1, 70 long>", change: json(`{"madeup":"zaphodlong` + strings.Repeat("x", 60) + `"}`)},
		{place: "id", secret: "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", keeps: "<guid", change: json(`{"madeup":"0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"}`)},
		{place: "mail", secret: "zaphod.b", keeps: "<user 1>@<domain 2>", change: json(`{"madeup":"zaphod.b@heart.example"}`)},
		{place: "domain of a mail", secret: "heartofgold", change: json(`{"madeup":"a@heartofgold.example"}`)},
		{place: "domain", secret: "heartofgold", keeps: "<domain", change: json(`{"madeup":"www.heartofgold.example"}`)},
		{place: "address", secret: "192.0.2.77", keeps: "<address", change: json(`{"ipaddr":"192.0.2.77"}`)},
		{place: "IPv6 address", secret: "2001:db8::77", keeps: "<address", change: json(`{"ipaddr":"2001:db8::77"}`)},
		{place: "number", secret: "491735550199", keeps: "<number>", change: json(`{"madeup":491735550199}`)},
		{place: "number in a text", secret: "491735550199", change: json(`{"madeup":"491735550199"}`)},
		{place: "no time", secret: "491735550199", keeps: `"<time>"`, change: json(`{"exp":491735550199}`)},
		{place: "text where a number belongs", secret: "zaphod-count", change: json(`{"expires_in":"zaphod-count"}`)},
		{place: "key", secret: "zaphod", change: json(`{"zaphod@heart.example":1}`)},
		{place: "key like a domain", secret: "heartofgold", change: json(`{"heartofgold.example":1}`)},
		{place: "deep", secret: "zaphod-deep", change: json(strings.Repeat(`{"a":`, 40) + `"zaphod-deep"` + strings.Repeat(`}`, 40))},
		{place: "array", secret: "zaphod-array", change: json(`{"a":[["zaphod-array"]]}`)},
		{place: "array alone", secret: "zaphod-alone", change: json(`["zaphod-alone"]`)},
		{place: "error", secret: "zaphod-error", keeps: "AADSTS50126<text", change: json(`{"error_description":"AADSTS50126: zaphod-error"}`)},
		{place: "JSON in a text", secret: "zaphod-json", keeps: "<json>", change: json(`{"claims":"{\"a\":\"zaphod-json\"}"}`)},
		{place: "encoded JSON", secret: "zaphod-b64", keeps: "<base64url>", change: json(`{"a":"` + b64([]byte(`{"uid":"zaphod-b64"}`)) + `"}`)},
		{place: "header of a JWT", secret: "zaphod-kid", keeps: `"alg": "RS256"`, change: json(`{"a":"` + jwt(`{"alg":"RS256","kid":"zaphod-kid"}`, `{}`) + `"}`)},
		{place: "claim of a JWT", secret: "zaphod-claim", keeps: `"madeup": "<text`, change: json(`{"a":"` + jwt(`{"alg":"RS256"}`, `{"madeup":"zaphod-claim"}`) + `"}`)},
		{place: "payload that is no JSON", secret: "zaphod-payload", change: json(`{"a":"` + jwt(`{"alg":"RS256"}`, `zaphod-payload`) + `"}`)},
		{place: "JWT as a body", secret: "zaphod-body", keeps: "<jwt>", change: raw(jwt(`{"alg":"RS256"}`, `{"upn":"zaphod-body"}`))},
		{place: "page", secret: "zaphod-page", keeps: `"size"`, change: raw(`<html>zaphod-page</html>`)},
		{place: "JSON with more behind it", secret: "zaphod-behind", change: raw(`{"a":1} zaphod-behind`)},
		{place: "malformed form", secret: "zaphod-malformed", change: form("a=%zzzaphod-malformed")},
	} {
		t.Run(tc.place, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			rec, err := recorder.New(dir)
			require.NoError(t, err)
			req, err := http.NewRequest(http.MethodPost, "https://login.microsoftonline.com/common", nil)
			require.NoError(t, err)
			res := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}
			tc.change(req, res, func(s string) { res.Body = io.NopCloser(strings.NewReader(s)) })
			_, err = rec.RoundTripper(fixed{res}).RoundTrip(req)
			require.NoError(t, err)
			require.NoError(t, rec.Close())
			require.Zero(t, rec.Catches())
			all := readAll(t, dir)
			require.Contains(t, all, tc.keeps)
			for _, form := range []string{tc.secret, b64([]byte(tc.secret))} {
				require.NotContains(t, strings.ToLower(all), strings.ToLower(form))
			}
		})
	}
}

func form(s string) func(*http.Request, *http.Response, func(string)) {
	return func(r *http.Request, _ *http.Response, _ func(string)) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Body = io.NopCloser(strings.NewReader(s))
	}
}

func json(s string) func(*http.Request, *http.Response, func(string)) { return raw(s) }

func raw(s string) func(*http.Request, *http.Response, func(string)) {
	return func(_ *http.Request, _ *http.Response, body func(string)) { body(s) }
}

type fixed struct{ res *http.Response }

func (f fixed) RoundTrip(*http.Request) (*http.Response, error) { return f.res, nil }

func readAll(t *testing.T, dir string) string {
	t.Helper()
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	var all strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		require.NoError(t, err)
		fmt.Fprintf(&all, "%s\n%s\n", f.Name(), b)
	}
	return all.String()
}

// The same text has the same placeholder throughout, however it is written, and what
// was hidden beforehand is found even in the name of a field.
func TestEqualStaysEqual(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	rec, err := recorder.New(dir)
	require.NoError(t, err)
	rec.Hide("Heartofgold")
	for _, body := range []string{`{"upn":"Zaphod@Heart.example"}`, `{"domain":"heart.EXAMPLE","HeartOfGoldField":true}`} {
		req, err := http.NewRequest(http.MethodGet, "https://graph.microsoft.com/", nil)
		require.NoError(t, err)
		_, err = rec.RoundTripper(fixed{&http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}}).RoundTrip(req)
		require.NoError(t, err)
	}
	rec.Step("one", "failed AADSTS50126")
	rec.Step("two", "zaphod said: no")
	require.NoError(t, rec.Close())
	all := readAll(t, dir)
	require.Contains(t, all, `"upn": "<user 2>@<domain 3>"`)
	require.Contains(t, all, `"domain": "<domain 3>"`)
	require.Contains(t, all, `"<text 1>Field": true`)
	require.Equal(t, 1, rec.Catches())
	require.Contains(t, all, `"failed AADSTS50126"`)
	require.NotContains(t, all, "zaphod said")
}

// A reply is handed on as it came, also one that is too long to be recorded.
func TestReplyIsHandedOn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	rec, err := recorder.New(dir)
	require.NoError(t, err)
	long := bytes.Repeat([]byte("a"), 5<<20)
	for _, body := range [][]byte{[]byte(`{"a":1}`), long} {
		req, err := http.NewRequest(http.MethodPost, "https://graph.microsoft.com/", strings.NewReader("sent"))
		require.NoError(t, err)
		res, err := rec.RoundTripper(echo{t, body}).RoundTrip(req)
		require.NoError(t, err)
		got, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.True(t, bytes.Equal(body, got))
	}
}

type echo struct {
	t    *testing.T
	body []byte
}

func (e echo) RoundTrip(req *http.Request) (*http.Response, error) {
	sent, err := io.ReadAll(req.Body)
	require.NoError(e.t, err)
	require.Equal(e.t, "sent", string(sent))
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(e.body))}, nil
}

func TestDirectoryMustBeEmpty(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), nil, 0o600))
	_, err := recorder.New(dir)
	require.ErrorIs(t, err, recorder.ErrNotEmpty)
}

// Of a TPM's commands nothing is kept but their outside, and the properties of its
// model.
func TestTPMCommands(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	rec, err := recorder.New(dir)
	require.NoError(t, err)
	chip, err := rec.TPM(tpm.Opener{Open: func(context.Context) (transport.TPMCloser, error) { return &chip{}, nil }}).Open(t.Context())
	require.NoError(t, err)
	for _, c := range [][]byte{
		command(0x8002, 0x157, "zaphod-command"), // TPM2_Load
		command(0x8001, 0x17a, "\x00\x00\x00\x06\x00\x00\x01\x05\x00\x00\x00\x08"),
		command(0x8001, 0x99999, "zaphod-command"),
		[]byte("short"),
	} {
		_, err := chip.Send(c)
		require.NoError(t, err)
	}
	require.NoError(t, rec.Close())
	got, err := recorder.Load(dir)
	require.NoError(t, err)
	require.Equal(t, []recorder.Command{
		{Name: "TPM2_Load", Sessions: true, Size: 24, Code: "0x922", ReplySize: 24},
		{Name: "TPM2_GetCapability", Size: 22, ReplySize: 27, Capability: "6 0x105", Values: map[string]string{"0x105": "0x49424d00"}},
		{Name: "0x99999", Size: 24, Code: "0x922", ReplySize: 24},
		{Name: "malformed", Size: 5, Code: "0x922", ReplySize: 24},
	}, got.Commands)
	require.NotContains(t, readAll(t, dir), "zaphod")
}

type chip struct{}

func (*chip) Send(c []byte) ([]byte, error) {
	if len(c) > 10 && binary.BigEndian.Uint32(c[6:]) == 0x17a {
		return command(0x8001, 0, "\x00\x00\x00\x00\x06\x00\x00\x00\x01\x00\x00\x01\x05IBM\x00"), nil
	}
	return command(0x8001, 0x922, "zaphod-reply.."), nil
}

func (*chip) Close() error { return nil }

func command(tag uint16, code uint32, parameters string) []byte {
	b := binary.BigEndian.AppendUint16(nil, tag)
	b = binary.BigEndian.AppendUint32(b, uint32(10+len(parameters)))
	b = binary.BigEndian.AppendUint32(b, code)
	return append(b, parameters...)
}
