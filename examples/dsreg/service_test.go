package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// service stands for what takes the tokens: the API server of a cluster, and
// the git server of Azure DevOps. It looks at the token alone, and takes any
// until it is revoked.
type service struct {
	mu      sync.Mutex // guards all below
	seen    []string   // tokens, in the order in which they came first
	revoked int        // so many of seen are refused
}

type serviceKey struct{}

// startService serves on loopback, and tells the script how to reach it: a
// kubeconfig, and a configuration of git with a proxy that leads
// dev.azure.com here.
func startService(e *testscript.Env) error {
	s := &service{}
	server := httptest.NewUnstartedServer(s)
	cert, err := selfSigned()
	if err != nil {
		return err
	}
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	e.Defer(server.Close)
	proxy := httptest.NewServer(tunnelTo(server.Listener.Addr().String()))
	e.Defer(proxy.Close)

	authority := filepath.Join(e.WorkDir, "service.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	if err := os.WriteFile(authority, text, 0o600); err != nil {
		return err
	}
	e.Setenv("KUBECONFIG", filepath.Join(e.WorkDir, "kubeconfig"))
	if err := os.WriteFile(e.Getenv("KUBECONFIG"), fmt.Appendf(nil, kubeconfig, authority, server.URL), 0o600); err != nil {
		return err
	}
	for i, kv := range [][2]string{
		{"credential.helper", "!dsreg git-credential"},
		{"credential.https://dev.azure.com.useHttpPath", "true"},
		{"http.proxy", proxy.URL},
		{"http.sslCAInfo", authority},
	} {
		e.Setenv("GIT_CONFIG_KEY_"+strconv.Itoa(i), kv[0])
		e.Setenv("GIT_CONFIG_VALUE_"+strconv.Itoa(i), kv[1])
		e.Setenv("GIT_CONFIG_COUNT", strconv.Itoa(i+1))
	}
	e.Setenv("GIT_TERMINAL_PROMPT", "0")
	e.Values[serviceKey{}] = s
	return nil
}

// kubeconfig has the user of docs and of the help of kubectl-credential, in the
// version that Debian's kubectl 1.20 knows as well as later ones.
const kubeconfig = `apiVersion: v1
kind: Config
current-context: aks
clusters:
- name: aks
  cluster: {certificate-authority: %s, server: "%s"}
contexts:
- name: aks
  context: {cluster: aks, user: aks}
users:
- name: aks
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      command: dsreg
      args: [kubectl-credential]
      interactiveMode: Never
`

// ServeHTTP implements [http.Handler].
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		_, token, ok = r.BasicAuth()
	}
	if !ok || !s.takes(token) {
		w.Header().Set("WWW-Authenticate", `Basic realm="https://dev.azure.com"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/info/refs"):
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprintln(w, "0123456789abcdef0123456789abcdef01234567\trefs/heads/main")
	case r.URL.Path == "/version":
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintln(w, `{"gitVersion":"v1.32.0"}`)
	default:
		http.NotFound(w, r)
	}
}

func (s *service) takes(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.seen, token)
	if i < 0 {
		i = len(s.seen)
		s.seen = append(s.seen, token)
	}
	return i >= s.revoked
}

// revoke is the command of scripts that ends all tokens that the service has
// seen.
func revoke(ts *testscript.TestScript, _ bool, _ []string) {
	s := ts.Value(serviceKey{}).(*service)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked = len(s.seen)
}

// seen is the command of scripts that counts the tokens that the service has
// seen.
func seen(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value(serviceKey{}).(*service)
	s.mu.Lock()
	defer s.mu.Unlock()
	if want := strings.Join(args, " "); strconv.Itoa(len(s.seen)) != want {
		ts.Fatalf("the service has seen %d different tokens, want %s", len(s.seen), want)
	}
}

// tunnelTo is an HTTP CONNECT proxy that leads everywhere to one address.
func tunnelTo(addr string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "CONNECT alone", http.StatusMethodNotAllowed)
			return
		}
		there, err := net.Dial("tcp", addr)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer there.Close()
		here, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer here.Close()
		_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			_, _ = io.Copy(there, buffered)
			_ = there.Close()
		}()
		_, _ = io.Copy(here, there)
	}
}

// selfSigned is a certificate for the service's names.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "service"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"dev.azure.com", "github.com"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
