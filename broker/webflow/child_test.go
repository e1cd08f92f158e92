package webflow_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/webflow"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

// resumeInChild is the second process of TestResumeInAChild.
func resumeInChild(t *testing.T, dir string) {
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return data
	}
	keys, err := softkeys.Open(softkeys.File(filepath.Join(dir, "master")), softkeys.InsecureFastPINs())
	require.NoError(t, err)
	defer keys.Close()
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(read("ca")))
	addr := string(read("addr"))
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}}
	f, c, err := webflow.Resume(t.Context(), read("flow"), keys, webflow.Options{Transport: client})
	require.NoError(t, err)
	defer f.Close()
	require.Equal(t, webflow.Code, c.Kind)
	c, err = f.Continue(t.Context(), webflow.Answer{Code: string(read("code"))})
	require.NoError(t, err)
	require.Equal(t, webflow.Done, c.Kind)
	tokens, err := f.Tokens()
	require.NoError(t, err)
	require.NotEmpty(t, tokens.RefreshToken)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "done"), nil, 0o600))
}
