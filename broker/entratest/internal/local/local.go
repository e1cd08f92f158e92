// Package local serves the emulator at addresses of this machine, as custom
// authorities instead of under the real host names.
package local

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// ErrNotLoopback is returned when an address that other machines can reach would be
// served without TLS.
var ErrNotLoopback = errors.New("without TLS only a loopback address is served")

// Listeners are the addresses that are served.
type Listeners struct {
	Handler http.Handler           // of every host
	Serves  func(host string) bool // whether the emulator serves a host
	TLS     tls.Certificate

	mu   sync.Mutex // guards list
	list []*http.Server
}

// Listen starts serving an address and returns the base of its URLs, with a slash
// at the end.
func (l *Listeners) Listen(addr string, plain bool) (string, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return "", err
	}
	tcp, ok := ln.Addr().(*net.TCPAddr)
	if !ok || plain && !tcp.IP.IsLoopback() {
		_ = ln.Close()
		return "", ErrNotLoopback
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		host = "localhost"
	}
	scheme := "https"
	if plain {
		scheme = "http"
	} else {
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{l.TLS}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}})
	}
	base := scheme + "://" + net.JoinHostPort(host, fmt.Sprint(tcp.Port)) + "/"
	srv := &http.Server{Handler: l.below(base), ReadHeaderTimeout: 30 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	l.mu.Lock()
	l.list = append(l.list, srv)
	l.mu.Unlock()
	go func() { _ = srv.Serve(ln) }() // returns when the server is closed
	return base, nil
}

// below routes requests below a base URL to the hosts of the emulator.
func (l *Listeners) below(base string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = web.WithBase(r, base)
		host, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		r.Host = "localhost"
		if host = strings.ToLower(host); strings.Contains(host, ".") && l.Serves(host) && !web.IsLoginHost(host) {
			r.Host, r.URL.Path = host, "/"+rest
		}
		l.Handler.ServeHTTP(w, r)
	})
}

// Close closes all listeners.
func (l *Listeners) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, srv := range l.list {
		_ = srv.Close()
	}
}
