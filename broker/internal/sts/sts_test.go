package sts

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// testClient is a client of the public cloud over a transport. It waits in no
// time.
func testClient(t testing.TB, transport Transport) *Client {
	t.Helper()
	now := noon
	c := New(Config{
		Transport: transport,
		UserAgent: "test",
		Cloud:     Public,
		Movable:   true,
		Logger:    slog.New(slog.DiscardHandler),
		Now:       func() time.Time { return now },
		Rand:      rand.Reader,
		Span:      func(ctx context.Context, _ string) (context.Context, func(error)) { return ctx, func(error) {} },
	})
	c.Wait = func(ctx context.Context, d time.Duration) error { // moves the clock instead
		now = now.Add(d)
		return ctx.Err()
	}
	t.Cleanup(c.Close)
	return c
}

func itoa(n int) string { return strconv.Itoa(n) }

func textLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// A nonce that the service does not take is replaced once.
func TestWithNonce(t *testing.T) {
	wrong := &Error{Said: true, Verdict: aadsts.NewNonce}
	for name, tt := range map[string]struct {
		errs  []error
		asked int
	}{
		"taken":                   {[]error{nil}, 1},
		"refused, then taken":     {[]error{wrong, nil}, 2},
		"refused twice":           {[]error{wrong, wrong}, 2},
		"refused for else":        {[]error{&Error{Said: true, Verdict: aadsts.Interact}}, 1},
		"nobody said it":          {[]error{&Error{Verdict: aadsts.NewNonce}}, 1},
		"refused, then something": {[]error{wrong, prt.ErrReply}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			from := &answering{canned: calls["nonce"].ok}
			c := testClient(t, from)
			n := 0
			err := c.WithNonce(t.Context(), func(nonce string) error {
				require.Equal(t, "AwAB", nonce)
				n++
				return tt.errs[n-1]
			})
			require.Equal(t, tt.errs[len(tt.errs)-1], err)
			require.Len(t, tt.errs, n)
			require.Equal(t, tt.asked, from.asked)
		})
	}
	c := testClient(t, &answering{canned: refused(90055)})
	err := c.WithNonce(t.Context(), func(string) error { t.Error("sent without a nonce"); return nil })
	require.ErrorAs(t, err, new(*Error))
}

// What is good for one use, or counts against an account when it is wrong, is sent
// once. A PRT, a refresh token and a device code may be presented again.
func TestUsedUp(t *testing.T) {
	const oauth = "urn:ietf:params:oauth:grant-type:"
	for name, tt := range map[string]struct {
		grant string
		by    By
		want  bool
	}{
		"a password":              {"password", ByUser, true},
		"a code":                  {"authorization_code", ByUser, true},
		"a SAML 1.1 assertion":    {oauth + "saml1_1-bearer", ByUser, true},
		"a SAML 2.0 assertion":    {oauth + "saml2-bearer", ByUser, true},
		"a signed credential":     {oauth + "jwt-bearer", ByUser, true},
		"a signed PRT":            {oauth + "jwt-bearer", ByPRT, false},
		"a refresh token":         {"refresh_token", ByUser, false},
		"a device code":           {oauth + "device_code", ByUser, false},
		"a nonce":                 {"srv_challenge", ByUser, false},
		"a request for the codes": {"", ByUser, false},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.want, usedUp(url.Values{"grant_type": {tt.grant}}, tt.by))
		})
	}
}
