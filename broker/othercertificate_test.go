package broker_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

// A certificate for the key of another machine is refused, and no registration
// stays that could not sign.
func TestCertificateOfAnotherMachine(t *testing.T) {
	t.Parallel()
	join := func(r *http.Request) bool {
		return r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/EnrollmentServer/device")
	}
	var certificate []byte
	one := newWorld(t, withKeys(softwareKeys(t)))
	inner := one.cfg.Transport
	one.cfg.Transport = transportFunc(func(r *http.Request) (*http.Response, error) {
		res, err := inner.Do(r)
		if err == nil && join(r) {
			certificate, err = io.ReadAll(res.Body)
			res.Body = io.NopCloser(bytes.NewReader(certificate))
		}
		return res, err
	})
	one.b = one.open()
	one.join()
	require.NotEmpty(t, certificate)

	two := newWorld(t, withKeys(softwareKeys(t)))
	two.cfg.Transport = &stranger{inner: two.cfg.Transport, answer: func(r *http.Request) *http.Response {
		if !join(r) {
			return nil
		}
		res := reply(http.StatusOK, string(certificate))
		res.Header.Set("Content-Type", "application/json")
		return res
	}}
	two.b = two.open()
	_, err := two.b.RegisterDevice(t.Context(), broker.RegisterRequest{Credential: broker.Password{Username: alice, Password: password}})
	require.ErrorContains(t, err, "not for the device key of this machine")
	s, err := two.b.Status(t.Context())
	require.NoError(t, err)
	require.False(t, s.Registered)
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) Do(r *http.Request) (*http.Response, error) { return f(r) }
