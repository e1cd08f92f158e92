package interop

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// A user certificate in Firefox's own store, shown over mutual TLS: of the
// browsers here the one that can be told to ask nobody which to show.
func TestFirefoxCertificate(t *testing.T) {
	t.Parallel()
	const client = "Firefox"
	srv := methodsServer(t, entratest.User{Username: "erin"}, entratest.User{Username: "frank"})
	multi, err := srv.IssueUserCertificate("erin", true)
	require.NoError(t, err)
	single, err := srv.IssueUserCertificate("frank", false)
	require.NoError(t, err)
	flow(t, client, "certificate, multifactor", func(t *testing.T) string {
		require.Contains(t, showCertificate(t, srv, "erin", &multi, "mfa").URL, "code=")
		last := srv.SignIns()[len(srv.SignIns())-1]
		require.Contains(t, last.AMR, "mfa")
		return "signed in, with MFA"
	})
	flow(t, client, "certificate, single factor", func(t *testing.T) string {
		require.Contains(t, showCertificate(t, srv, "frank", &single, "").URL, "code=")
		last := srv.SignIns()[len(srv.SignIns())-1]
		require.NotContains(t, last.AMR, "mfa")
		return "signed in, without MFA"
	})
	flow(t, client, "certificate, revoked", func(t *testing.T) string {
		require.NoError(t, srv.RevokeUserCertificate(multi.Leaf))
		r := showCertificate(t, srv, "erin", &multi, "")
		require.NotEmpty(t, r.Code)
		return "refused: AADSTS" + r.Code
	})
	flow(t, client, "no certificate", func(t *testing.T) string {
		r := showCertificate(t, srv, "erin", nil, "")
		require.NotEmpty(t, r.Code)
		return "refused: AADSTS" + r.Code
	})
}

// shown is what firefox_certificate.py says.
type shown struct{ URL, Code string }

func showCertificate(t *testing.T, srv *entratest.Server, user string, cert *tls.Certificate, amr string) (out shown) {
	t.Helper()
	script, err := filepath.Abs(filepath.Join("testdata", "firefox_certificate.py"))
	require.NoError(t, err)
	job := map[string]any{
		"profile": filepath.Join(t.TempDir(), "profile"), "proxy": connectProxy(t, srv), "user": user + "@contoso.example",
		"authority": string(srv.CA()), "certificate": "", "key": "",
		"url": "https://login.microsoftonline.com/" + srv.TenantID() + "/oauth2/authorize?" + url.Values{"client_id": {appID},
			"response_type": {"code"}, "redirect_uri": {native}, "resource": {payroll}, "amr_values": strings.Fields(amr)}.Encode(),
	}
	if cert != nil {
		key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
		require.NoError(t, err)
		job["certificate"] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}))
		job["key"] = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	}
	in, err := json.Marshal(job)
	require.NoError(t, err)
	cmd := running.command(t, "python", script)
	cmd.Stdin = bytes.NewReader(in)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	said, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	require.NoError(t, json.Unmarshal(said, &out))
	return out
}

// connectProxy is a proxy that leads every host to the emulator, and returns
// its port.
func connectProxy(t *testing.T, srv *entratest.Server) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	proxy := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
			return
		}
		up, err := net.Dial("tcp", srv.Addr())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		down, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			_ = up.Close()
			return
		}
		_, _ = io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(up, down); _ = up.Close() }()
		_, _ = io.Copy(down, up)
		_ = down.Close()
	})}
	go func() { _ = proxy.Serve(ln) }()
	t.Cleanup(func() { _ = proxy.Close() })
	_, port, err := net.SplitHostPort(ln.Addr().String())
	require.NoError(t, err)
	n, err := strconv.Atoi(port)
	require.NoError(t, err)
	return n
}
