package interop

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/webflow"
	"github.com/prtbroker/prtbroker/broker/webflow/fido"
	"github.com/prtbroker/prtbroker/broker/webflow/fido/fidotest"
)

// A watch notes which pages a client is shown, and which endpoints of theirs it calls.
type watch struct {
	inner http.Handler

	mu        sync.Mutex // guards all below
	pages     []string
	endpoints []string
}

var pgid = regexp.MustCompile(`"pgid":"([A-Za-z]+)"`)

// endpoints of the pages; a path is one by its last word.
var pageEndpoints = []string{"GetCredentialType", "login", "BeginAuth", "EndAuth", "ProcessAuth", "get", "resume", "GetOneTimeCode"}

func (w *watch) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	kept := &keeping{ResponseWriter: rw}
	w.inner.ServeHTTP(kept, r)
	w.mu.Lock()
	defer w.mu.Unlock()
	if m := pgid.FindSubmatch(kept.body.Bytes()); m != nil {
		w.pages = append(w.pages, string(m[1]))
	}
	last := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	if slices.Contains(pageEndpoints, last) && !slices.Contains(w.endpoints, last) {
		w.endpoints = append(w.endpoints, last)
	}
}

// take returns what was seen since the last time: the pages in order, one after
// itself once, and the endpoints, sorted.
func (w *watch) take() (pages, endpoints []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	pages, endpoints = slices.Compact(w.pages), slices.Sorted(slices.Values(w.endpoints))
	w.pages, w.endpoints = nil, nil
	return pages, endpoints
}

type keeping struct {
	http.ResponseWriter
	body bytes.Buffer
}

func (k *keeping) Write(b []byte) (int, error) {
	k.body.Write(b)
	return k.ResponseWriter.Write(b)
}

// watched is an emulator whose clients come through a proxy that ends TLS itself, so
// that what they are shown is seen.
func watched(t *testing.T, o entratest.Options) (*emulator, *watch) {
	t.Helper()
	e := newEmulator(t, o)
	w := &watch{inner: e.Handler()}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	certificate, authority := ownCertificate(t)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go w.connect(conn, certificate)
		}
	}()
	proxy := "http://" + ln.Addr().String()
	e.env = append(e.env, "HTTPS_PROXY="+proxy, "https_proxy="+proxy, "SSL_CERT_FILE="+authority)
	return e, w
}

func (w *watch) connect(conn net.Conn, certificate tls.Certificate) {
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil || req.Method != http.MethodConnect {
		_ = conn.Close()
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
	one := make(chan net.Conn, 1)
	one <- tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	close(one)
	s := &http.Server{Handler: w, ReadHeaderTimeout: time.Minute}
	_ = s.Serve(single(one))
}

// single is a listener of the connections in a channel.
type single <-chan net.Conn

func (s single) Accept() (net.Conn, error) {
	c, ok := <-s
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (single) Close() error   { return nil }
func (single) Addr() net.Addr { return &net.TCPAddr{} }

// ownCertificate is one of the sign-in hosts, and the file of the authority that
// issued it.
func ownCertificate(t *testing.T) (c tls.Certificate, authority string) {
	t.Helper()
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		return key
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "proxy"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"login.microsoftonline.com", "login.microsoft.com", "enterpriseregistration.windows.net", "graph.microsoft.com"}}
	caKey, key := newKey(), newKey()
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	require.NoError(t, err)
	authority = filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, authority
}

// answers are what a user does on webflow's challenges.
type answers func(c webflow.Challenge) webflow.Answer

func (a answers) Ask(_ context.Context, c webflow.Challenge, wrong error) (webflow.Answer, error) {
	if wrong != nil {
		return webflow.Answer{}, wrong
	}
	return a(c), nil
}

// libhimmelblau and webflow are shown the same pages and call the same endpoints of
// theirs, whichever way the user signs in.
func TestHimmelblauAndWebflowSeeTheSamePages(t *testing.T) {
	t.Parallel()
	heavy(t, himmelblauClient)
	for _, tt := range []struct {
		name           string
		pages          entratest.Pages
		user, password string
		// himmelblau signs in with libhimmelblau.
		himmelblau func(t *testing.T, h *himmelblau, key *entratest.Passkey)
		// answer is the user's at webflow. Nil: a security key signs.
		answer func(t *testing.T, e *emulator, c webflow.Challenge) webflow.Answer
	}{
		{"code of an app", entratest.Pages{}, alice, alicePwd, byCode, typesCode},
		{"a page that posts itself", entratest.Pages{Intermediate: true}, alice, alicePwd, byCode, typesCode},
		{"text message", entratest.Pages{}, frank, keyPwd, byMessage, typesMessage},
		{"a registration put off", entratest.Pages{RegistrationCampaign: true}, frank, keyPwd, byMessage, typesMessage},
		{"access pass", entratest.Pages{}, frank, "", byPass, typesPass},
		{"security key beside a password", entratest.Pages{SecurityKeysOnly: true}, erin, keyPwd, byKey(keyPwd, "fido"), nil},
		{"security key in place of a password", entratest.Pages{SecurityKeysOnly: true}, erin, "", byKey("", "fido passwordless-fido"), nil},
		{"an end by script, security key", entratest.Pages{SecurityKeysOnly: true, ScriptRedirect: true}, erin, keyPwd, byKey(keyPwd, "fido"), nil},
	} {
		flow(t, himmelblauClient, "the same pages as webflow: "+tt.name, func(t *testing.T) string {
			o, key := pagesOptions(t, tt.pages)
			e, w := watched(t, o)
			tt.himmelblau(t, newHimmelblau(t, e), key)
			theirs, theirEndpoints := w.take()

			e.clock.Advance(time.Minute) // another code
			virtual := fidotest.New(fidotest.Options{PIN: keyPIN})
			virtual.Add(fidotest.Credential{RelyingParty: fidoRP, ID: key.ID, Key: key.Key, UserHandle: key.UserHandle})
			pages := &webflow.Options{Tenant: "contoso.example", Username: tt.user, Password: tt.password, MFA: true, Transport: viaHandler{w}}
			f, _, err := webflow.Begin(t.Context(), *pages)
			require.NoError(t, err)
			_, err = webflow.Run(t.Context(), f, answers(func(c webflow.Challenge) webflow.Answer {
				if tt.answer == nil {
					return webflow.Answer{Choice: webflow.MethodKey}
				}
				return tt.answer(t, e, c)
			}), &fido.Key{Prompter: fido.Text(hands(keyPIN)), Devices: fidotest.Devices(virtual)})
			require.NoError(t, err)
			ours, ourEndpoints := w.take()
			require.NotEmpty(t, theirEndpoints)
			require.Equal(t, theirs, ours)
			require.Equal(t, theirEndpoints, ourEndpoints)
			return strings.Join(ours, ", ")
		})
	}
}

// viaHandler sends requests to a handler.
type viaHandler struct{ http.Handler }

func (v viaHandler) Do(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.RequestURI, in.Host = r.URL.RequestURI(), r.URL.Host
	if in.Body == nil {
		in.Body = http.NoBody
	}
	rec := httptest.NewRecorder()
	v.ServeHTTP(rec, in)
	res := rec.Result()
	res.Request = r
	return res, nil
}

func byCode(t *testing.T, h *himmelblau, _ *entratest.Passkey) {
	require.Equal(t, "PhoneAppOTP", h.must(t, "mfa", alice, alicePwd, payroll))
	h.must(t, "answer", alice, h.code(t))
}

func typesCode(t *testing.T, e *emulator, _ webflow.Challenge) webflow.Answer {
	code, _, err := e.OneTimeCode("alice")
	require.NoError(t, err)
	return webflow.Answer{Code: code}
}

func byMessage(t *testing.T, h *himmelblau, _ *entratest.Passkey) {
	require.Equal(t, "OneWaySMS", h.must(t, "mfa", frank, keyPwd, payroll))
	h.must(t, "answer", frank, message(t, h.emulator))
}

func message(t *testing.T, e *emulator) string {
	code, ok := e.SMSCode("frank")
	require.True(t, ok)
	return code
}

func typesMessage(t *testing.T, e *emulator, _ webflow.Challenge) webflow.Answer {
	return webflow.Answer{Code: message(t, e)}
}

func byPass(t *testing.T, h *himmelblau, _ *entratest.Passkey) {
	pass, err := h.CreateAccessPass("frank", false)
	require.NoError(t, err)
	require.Equal(t, "AccessPass", h.must(t, "mfa", frank, "", payroll))
	h.must(t, "answer", frank, pass)
}

func typesPass(t *testing.T, e *emulator, c webflow.Challenge) webflow.Answer {
	require.Equal(t, webflow.AccessPass, c.Kind)
	pass, err := e.CreateAccessPass("frank", false)
	require.NoError(t, err)
	return webflow.Answer{Code: pass}
}

func byKey(password, options string) func(*testing.T, *himmelblau, *entratest.Passkey) {
	return func(t *testing.T, h *himmelblau, key *entratest.Passkey) {
		h.must(t, "answer", erin, touch(t, key, h.must(t, "mfa", erin, password, payroll, "", options)))
	}
}
