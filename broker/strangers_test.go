package broker_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

// strangers are what a proxy or a portal answers in place of the service. Which
// reply is whose is package sts' test; this one is about what follows.
var strangers = map[string]func() *http.Response{
	"302":              func() *http.Response { return byAStranger(302, "", "") },
	"307":              func() *http.Response { return byAStranger(307, "", "") },
	"400, a page":      func() *http.Response { return byAStranger(400, "text/html", "<html>bad request</html>") },
	"400, OAuth alone": func() *http.Response { return byAStranger(400, "application/json", `{"error":"invalid_grant"}`) },
	"401":              func() *http.Response { return byAStranger(401, "", "") },
	"403, a page":      func() *http.Response { return byAStranger(403, "text/html", "<html>no</html>") },
	"404":              func() *http.Response { return byAStranger(404, "text/html", "<html>not here</html>") },
	"407":              func() *http.Response { return byAStranger(407, "text/html", "<html>who are you</html>") },
	"429":              func() *http.Response { return byAStranger(429, "", "") },
	"451":              func() *http.Response { return byAStranger(451, "text/html", "<html>not allowed</html>") },
	"503":              func() *http.Response { return byAStranger(503, "", "") },
	"511":              func() *http.Response { return byAStranger(511, "text/html", "<html>log in</html>") },
	"204":              func() *http.Response { return byAStranger(204, "", "") },
	"200, empty":       func() *http.Response { return byAStranger(200, "", "") },
	"200, a page":      func() *http.Response { return byAStranger(200, "text/html", "<html>accept the terms</html>") },
	"200, JSON":        func() *http.Response { return byAStranger(200, "application/json", `{"status":"ok"}`) },
}

func byAStranger(status int, contentType, body string) *http.Response {
	h := http.Header{"Location": {"https://portal.example/"}}
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

// A portal is no service: the right PIN opens offline, a silent call is a
// temporary failure and asks nobody, and nothing is marked or lost.
func TestStrangerIsNoService(t *testing.T) {
	t.Parallel()
	keys, _ := softwareTPM(t)
	l := &laptop{}
	l.prepare(t, keys, aWeek)
	before := l.status(l.acct)
	for name, answer := range strangers {
		l.reopen()
		service := l.wire.inner
		l.wire.inner = apiDo(func(*http.Request) (*http.Response, error) { return answer(), nil })
		_, err := l.b.AcquireTokenSilent(t.Context(), ledger)
		require.ErrorContains(t, err, "in its place", name)
		require.ErrorIs(t, err, broker.ErrTransient, name)
		require.NotErrorIs(t, err, broker.ErrInteractionRequired, name)
		err = l.b.RenewPRT(t.Context(), l.acct)
		require.ErrorIs(t, err, broker.ErrTransient, name)
		require.Truef(t, l.unlock(rightPIN).Offline, name)
		require.Equal(t, before.State, l.status(l.acct).State, name)
		l.wire.inner = service
	}
	l.reopen()
	require.False(t, l.unlock(rightPIN).Offline)
	l.silent(ledger)
}
