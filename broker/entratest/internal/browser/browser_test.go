package browser_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/browser"
)

// site answers each page by what was sent to the one before.
type site struct {
	pages map[string]string // by path
	sent  map[string]url.Values
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	s.sent[r.URL.Path] = r.PostForm
	w.Header().Set("Date", "Mon, 02 Mar 2026 09:00:00 GMT")
	text, ok := s.pages[r.URL.Path]
	if !ok {
		w.Header().Set("Location", "app://done?code=1")
		w.WriteHeader(http.StatusFound)
		return
	}
	_, _ = io.WriteString(w, text)
}

func walk(t *testing.T, p browser.Person, pages map[string]string) (string, map[string]url.Values, error) {
	t.Helper()
	s := &site{pages: pages, sent: map[string]url.Values{}}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	to, err := p.Authorize(t.Context(), srv.Client(), srv.URL+"/start", "app://done")
	return to, s.sent, err
}

const signin = `<title>Sign in</title><form id="signin" action="/next"><input type="hidden" name="ctx" value="c"><input name="login"><input name="passwd">
	<button name="credential" value="accesspass"></button></form>`

func TestForms(t *testing.T) {
	const code = `<form id="code" action="/done"><input type="hidden" name="mfaAuthMethod" value="PhoneAppOTP"><input name="otc"></form>`
	to, sent, err := walk(t, browser.Person{Username: "alice", Password: "pw", TOTPSecret: "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", Now: func() time.Time { return time.Unix(59, 0) }},
		map[string]string{"/start": signin, "/next": code})
	require.NoError(t, err)
	require.Equal(t, "app://done?code=1", to)
	require.Equal(t, url.Values{"ctx": {"c"}, "login": {"alice"}, "passwd": {"pw"}}, sent["/next"], "hidden fields go along")
	require.Equal(t, "287082", sent["/done"].Get("otc"), "RFC 6238, appendix B")

	_, sent, err = walk(t, browser.Person{AccessPass: "tap"}, map[string]string{"/start": signin, "/next": `<form id="accesspass" action="/done"><input name="accesspass"></form>`})
	require.NoError(t, err)
	require.Equal(t, "accesspass", sent["/next"].Get("credential"))
	require.Equal(t, "tap", sent["/done"].Get("accesspass"))

	approved := 0
	_, _, err = walk(t, browser.Person{Approve: func(_ context.Context, n int) error { approved = n; return nil }},
		map[string]string{"/start": `<p data-number="42"></p><form id="number-form" action="/done"></form>`})
	require.NoError(t, err)
	require.Equal(t, 42, approved)

	enrolled := ""
	_, sent, err = walk(t, browser.Person{OnEnroll: func(s string) { enrolled = s }}, map[string]string{
		"/start": `<p data-secret="JBSWY3DPEHPK3PXP"></p><form id="enroll" action="/next"><input name="otc"></form>`,
		"/next":  `<form id="consent" action="/terms"></form>`, "/terms": `<form id="kmsi" action="/done"></form>`})
	require.NoError(t, err)
	require.Equal(t, "JBSWY3DPEHPK3PXP", enrolled)
	require.Len(t, sent["/next"].Get("otc"), 6)
	require.Equal(t, "accept", sent["/terms"].Get("consent"))

	_, sent, err = walk(t, browser.Person{Password: "old", NewPassword: "new"}, map[string]string{"/start": `<form id="changepassword" action="/done"></form>`})
	require.NoError(t, err)
	require.Equal(t, "new", sent["/done"].Get("newpasswd"))
}

func TestPageErrors(t *testing.T) {
	for name, c := range map[string]struct {
		page string
		want browser.PageError
	}{
		"an error page":       {`<p role="alert" data-aadsts="50011">No.</p>`, browser.PageError{Code: 50011, Text: "No."}},
		"no password":         {signin, browser.PageError{Page: "signin", Text: "the person has no password"}},
		"no app":              {`<form id="number-form"></form>`, browser.PageError{Page: "number-form", Code: 50076, Text: "the person has no authenticator app to type the number into"}},
		"an unknown page":     {`<title>T</title><form id="x"></form>`, browser.PageError{Page: "x", Text: "the person does not know this page: T"}},
		"nothing to answer":   {`<title>T</title>`, browser.PageError{Text: "there is nothing to answer: T"}},
		"no wish to enrol":    {`<form id="enroll"></form>`, browser.PageError{Page: "enroll", Code: 50079, Text: "the person must register an authenticator app and does not want to"}},
		"no passkey":          {`<form id="passkey"></form>`, browser.PageError{Page: "passkey", Text: "the person has no passkey"}},
		"an expired password": {`<form id="changepassword"></form>`, browser.PageError{Page: "changepassword", Code: 50055, Text: "the person must change the password and does not want to"}},
	} {
		_, _, err := walk(t, browser.Person{}, map[string]string{"/start": c.page})
		var got *browser.PageError
		require.ErrorAs(t, err, &got, name)
		require.Equal(t, c.want, *got, name)
	}
	_, _, err := walk(t, browser.Person{}, map[string]string{"/start": `<form id="kmsi" action="/start"></form>`})
	require.ErrorContains(t, err, "no end after 20 pages")
}

// Another second factor is chosen when the person lacks the one that is asked for.
func TestSwitch(t *testing.T) {
	_, sent, err := walk(t, browser.Person{ReadSMS: func(context.Context) (string, error) { return "123456", nil }}, map[string]string{
		"/start": `<form id="number-form" action="/x"></form><form id="methods" action="/next"><button name="switch" value="OneWaySMS"></button></form>`,
		"/next":  `<form id="code" action="/done"><input type="hidden" name="mfaAuthMethod" value="OneWaySMS"><input name="otc"></form>`})
	require.NoError(t, err)
	require.Equal(t, "OneWaySMS", sent["/next"].Get("switch"))
	require.Equal(t, "123456", sent["/done"].Get("otc"))
}

func TestFormPost(t *testing.T) {
	base, err := url.Parse("https://login.microsoftonline.com/")
	require.NoError(t, err)
	page := []byte(`<form id="hiddenform" action="https://app.example/cb"><input type="hidden" name="code" value="1"></form>`)
	require.Equal(t, "https://app.example/cb?code=1", browser.Target(page, base))
	require.Empty(t, browser.Target([]byte("<form>"), base))

	to, _, err := walk(t, browser.Person{}, map[string]string{"/start": `<form id="hiddenform" action="APP://done"><input type="hidden" name="code" value="1"></form>`})
	require.NoError(t, err)
	require.Equal(t, "app://done?code=1", to)
}
