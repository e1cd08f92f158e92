package entratest_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/prt"
)

type rsaSigner struct{ key *rsa.PrivateKey }

func (s rsaSigner) Public() crypto.PublicKey { return s.key.Public() }

func (s rsaSigner) SignContext(_ context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.key.Sign(rand.Reader, digest, opts)
}

// The user certificate grant of package prt, which nothing above it uses, is
// what the service takes.
func TestCertificateGrantOfPRT(t *testing.T) {
	c, _ := start(t)
	c.joined()
	cert := c.certificate("alice", true)
	form, err := prt.PRTRequest{Nonce: c.nonce(), Grant: prt.CertificateGrant{Key: rsaSigner{cert.PrivateKey.(*rsa.PrivateKey)},
		Certificate: cert.Certificate[0], Username: "alice@contoso.example", Now: c.s.Now()}}.
		Sign(t.Context(), prt.DeviceProof{Key: rsaSigner{c.device}, Certificate: c.cert})
	require.NoError(t, err)
	r := c.do("POST", login+c.tenantPath(form.Path), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, form.Values.Encode())
	require.Equal(t, 200, r.status, "%s", r.body)
	require.Equal(t, []any{"rsa", "mfa"}, jwtClaims(t, r.str("id_token"))["amr"])
}
