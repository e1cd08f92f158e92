package broker_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/prt"
)

const dora = "dora@fed.contoso.example"

// withFederation adds dora, who signs in at the organization's own server.
func withFederation() change {
	return withOptions(func(o *entratestOptions) {
		o.Federated = []string{"fed.contoso.example"}
		o.Users = append(o.Users, entratest.User{Username: dora, Password: password})
	})
}

func TestFederated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withFederation())
	w.join()
	res, err := w.b.SignIn(t.Context(), broker.Federated{Username: dora, Password: password})
	require.NoError(t, err)
	require.Equal(t, prt.BySAML, w.status(res.Account).Credential)
	w.silent(graph)

	_, err = w.b.SignIn(t.Context(), broker.Federated{Username: dora, Password: "wrong"})
	require.ErrorIs(t, err, broker.ErrBadCredential)
	_, err = w.b.SignIn(t.Context(), broker.Federated{Username: alice, Password: password})
	require.ErrorIs(t, err, broker.ErrAppConfig)
	require.ErrorContains(t, err, "not federated")
}

// An assertion that the program got by itself gives a PRT, as one that the broker got.
func TestAssertion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withFederation())
	w.join()
	var assertion []byte
	inner := w.wire.inner
	w.wire.inner = apiDo(func(r *http.Request) (*http.Response, error) {
		rep, err := inner.Do(r)
		if err != nil || !strings.Contains(r.URL.Path, "/trust/") || r.Method != http.MethodPost {
			return rep, err
		}
		body, err := io.ReadAll(rep.Body)
		require.NoError(t, err)
		rep.Body = io.NopCloser(bytes.NewReader(body))
		assertion = regexp.MustCompile(`(?s)<(\w+:)?Assertion .*</(\w+:)?Assertion>`).Find(body)
		return rep, nil
	})
	_, err := w.b.SignIn(t.Context(), broker.Federated{Username: dora, Password: password})
	require.NoError(t, err)
	require.NotEmpty(t, assertion)
	w.wire.take()
	res, err := w.b.SignIn(t.Context(), broker.SAMLAssertion{Assertion: assertion})
	require.NoError(t, err)
	require.Equal(t, dora, res.Account.PreferredUsername)
	require.Equal(t, prt.BySAML, w.status(res.Account).Credential)
	require.Zero(t, countTrust(w.wire.take()))
	w.silent(graph)

	_, err = w.b.SignIn(t.Context(), broker.SAMLAssertion{Assertion: bytes.Replace(assertion, []byte("dora"), []byte("dira"), 1)})
	require.ErrorIs(t, err, broker.ErrBadCredential)
}

// toTrust reports whether a request carries a password to a federation server.
func toTrust(path string) bool {
	return strings.HasPrefix(path, "POST ") && strings.Contains(path, "/trust/")
}

func countTrust(paths []string) (n int) {
	for _, p := range paths {
		if toTrust(p) {
			n++
		}
	}
	return n
}

// A federated password goes out once per sign-in, whatever the server answers:
// each try counts towards the lock of the directory behind it. And a server
// that says no is one that works, so that the right password gets through.
func TestFederatedPasswordIsSentOnce(t *testing.T) {
	t.Parallel()
	const fault = `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><s:Fault><s:Code><s:Value>s:Sender</s:Value></s:Code></s:Fault></s:Body></s:Envelope>`
	answer := func(status int, body string) func() (*http.Response, error) {
		return func() (*http.Response, error) { return reply(status, body), nil }
	}
	for name, tt := range map[string]struct {
		answer func() (*http.Response, error) // nil: that of the emulator to a wrong password
		is     error
		says   string
		opens  bool // the server is left alone afterwards
	}{
		"a wrong password":      {nil, broker.ErrBadCredential, "the federation server says that user name or password is wrong", false},
		"another fault":         {answer(500, fault), nil, "the federation server issued no assertion", false},
		"a fault with 503":      {answer(503, fault), nil, "the federation server issued no assertion", false},
		"a fault of SOAP 1.1":   {answer(500, `<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body><Fault ><faultcode>Client</faultcode></Fault></Body></Envelope>`), nil, "the federation server issued no assertion", false},
		"an error of the proxy": {answer(502, "<html>Default page</html>"), broker.ErrTransient, "something on the way to", true},
		"the connection breaks": {func() (*http.Response, error) {
			return nil, &url.Error{Err: &net.OpError{Op: "read", Err: errors.New("connection reset")}}
		}, broker.ErrTransient, "no answer from the service", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withMemory, withFederation())
			w.join()
			inner := w.wire.inner
			w.wire.inner = apiDo(func(r *http.Request) (*http.Response, error) {
				if tt.answer != nil && toTrust(r.Method+" "+r.URL.Host+r.URL.Path) {
					return tt.answer()
				}
				return inner.Do(r)
			})
			for range 5 {
				w.wire.take()
				_, err := w.b.SignIn(t.Context(), broker.Federated{Username: dora, Password: "hunter2"})
				require.ErrorContains(t, err, "broker: sign in: "+tt.says)
				require.NotContains(t, err.Error(), "hunter2")
				if tt.is != nil {
					require.ErrorIs(t, err, tt.is)
				}
				require.Equal(t, 1, countTrust(w.wire.take()))
			}
			w.wire.inner = inner
			_, err := w.b.SignIn(t.Context(), broker.Federated{Username: dora, Password: password})
			if tt.opens {
				require.ErrorContains(t, err, "keeps failing")
				return
			}
			require.NoError(t, err)
		})
	}
}
