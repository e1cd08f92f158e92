package interop

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// emulator is an emulator in this process for clients that are programs: it has
// users and events that examples/tenant has not. They reach it through a CONNECT
// proxy, under the real host names.
type emulator struct {
	*entratest.Server
	clock *entratest.Clock
	env   []string // of the clients
}

func newEmulator(t *testing.T, o entratest.Options) *emulator {
	t.Helper()
	o.Clock = entratest.NewClock(time.Now())
	o.ReplicationLag = -1
	srv := entratest.NewTB(t, o)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	go acceptConnects(ln, srv)

	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, srv.CA(), 0o600))
	proxy := "http://" + ln.Addr().String()
	env := slices.DeleteFunc(slices.Clone(running.env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return strings.HasSuffix(strings.ToLower(name), "_proxy")
	})
	return &emulator{srv, o.Clock, append(env, "HTTPS_PROXY="+proxy, "https_proxy="+proxy, "NO_PROXY=", "no_proxy=",
		"SSL_CERT_FILE="+ca, "REQUESTS_CA_BUNDLE="+ca, "CURL_CA_BUNDLE="+ca, "NODE_EXTRA_CA_CERTS="+ca)}
}

func acceptConnects(ln net.Listener, srv *entratest.Server) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go tunnel(conn, srv)
	}
}

// tunnel connects a client to a host of the emulator.
func tunnel(conn net.Conn, srv *entratest.Server) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	req, err := http.ReadRequest(in)
	if err != nil || req.Method != http.MethodConnect {
		return
	}
	up, err := srv.DialContext(req.Context(), "tcp", req.Host)
	if err != nil {
		_, _ = io.WriteString(conn, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
		return
	}
	defer func() { _ = up.Close() }()
	_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
	done := make(chan struct{}, 2)
	go func() { _, _ = io.Copy(up, in); done <- struct{}{} }()
	go func() { _, _ = io.Copy(conn, up); done <- struct{}{} }()
	<-done
}
