package webflow_test

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/webflow"
)

// The cookies of a registered device sign in without a question, go to the page that
// a sign-in begins at, and to nothing else.
func TestCredentialsShowTheDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := w.broker(t, machines["software keys"](t))
	res, err := b.Enroll(t.Context(), broker.Password{Username: alice, Password: secret}, broker.EnrollRequest{})
	require.NoError(t, err)
	o := w.options(alice)
	o.Password, o.MFA = "", false
	o.Credentials = func(ctx context.Context, signInURL string) ([]*http.Cookie, error) {
		return b.SSOCookies(ctx, signInURL)
	}
	var with, without int
	o.Transport = transport(func(r *http.Request) (*http.Response, error) {
		if strings.Contains(r.Header.Get("Cookie"), "x-ms-RefreshTokenCredential") {
			require.Equal(t, "login.microsoftonline.com", r.URL.Host)
			require.True(t, strings.HasSuffix(r.URL.Path, "/authorize"), r.URL.Path)
			with++
		} else {
			without++
		}
		return w.web.inner.Do(r)
	})
	f, c, err := webflow.Begin(t.Context(), o)
	require.NoError(t, err)
	defer f.Close()
	require.Equal(t, webflow.Done, c.Kind)
	require.Equal(t, 1, with)
	require.Equal(t, 1, without, "the token endpoint")
	log := w.SignIns()
	require.Equal(t, res.Metadata.DeviceID, log[len(log)-1].DeviceID)

	o.MFA = true // and the page goes on where the cookie is not enough
	g, c, err := webflow.Begin(t.Context(), o)
	require.NoError(t, err)
	defer g.Close()
	require.Equal(t, webflow.Code, c.Kind)
}

// The password of a federated user goes to the federation server, whatever its form
// says, and never to the service.
func TestFederatedPasswordGoesNowhereElse(t *testing.T) {
	t.Parallel()
	for _, to := range []string{"https://login.microsoftonline.com/common/login", "https://evil.example/", "http://sts.corp.contoso.example/"} {
		w := newWorld(t, nil)
		action := regexp.MustCompile(`(<form[^>]*action=)"[^"]*"`)
		w.web.edit(func(path, body string) string {
			if !strings.HasPrefix(path, "/adfs/") {
				return body
			}
			return action.ReplaceAllString(body, `$1"`+to+`"`)
		})
		_, _, err := webflow.Begin(t.Context(), w.options(dave))
		require.ErrorIs(t, err, webflow.ErrPage, to)
		require.Zero(t, w.web.sent("Password="), to)
		require.Zero(t, w.web.sent("passwd="), to)
	}
}

// A TPM seals small secrets alone, and a flow is larger.
func TestSaveUnderATPM(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	keys := machines["swtpm"](t)
	f, c, err := webflow.Begin(t.Context(), w.options(carol))
	require.NoError(t, err)
	data, err := f.Save(t.Context(), keys)
	require.NoError(t, err)
	f.Close()
	g, resumed, err := webflow.Resume(t.Context(), data, keys, webflow.Options{Transport: w.web, Now: w.Now, Wait: w.wait})
	require.NoError(t, err)
	defer g.Close()
	require.Equal(t, c, resumed)
	require.True(t, w.AnswerNumberMatch("carol", c.Number))
	c, err = g.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, webflow.Done, c.Kind)
}
