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
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// Errors of [Listeners.Listen].
var (
	ErrNotLoopback = errors.New("the address is not a loopback address; InsecureExposed serves it all the same")
	errBase        = errors.New("the base is not an http or https URL without a path, such as https://localhost:8443")
	errHost        = errors.New("not a host name or an IP address without a port")
)

// Listeners are the addresses that are served.
type Listeners struct {
	Handler http.Handler           // of every host
	Serves  func(host string) bool // whether the emulator serves a host
	// Certificate returns a certificate that is valid for localhost and for these
	// host names and IP addresses.
	Certificate func(hosts []string) (tls.Certificate, error)

	mu   sync.Mutex // guards list
	list []*http.Server
}

// Config says how to serve an address. Its fields are those of the emulator's
// ListenOptions.
type Config struct {
	Plain, Exposed bool
	Base           string
	Hosts          []string
}

// Listen starts serving an address and returns the base of its URLs, with a slash
// at the end.
func (l *Listeners) Listen(addr string, c Config) (string, error) {
	base, err := parseBase(c.Base)
	if err != nil {
		return "", err
	}
	for _, h := range c.Hosts {
		if !isHost(h) {
			return "", fmt.Errorf("host %q: %w", h, errHost)
		}
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return "", err
	}
	tcp, ok := ln.Addr().(*net.TCPAddr)
	if !ok || !c.Exposed && !tcp.IP.IsLoopback() {
		_ = ln.Close()
		return "", fmt.Errorf("%s: %w", addr, ErrNotLoopback)
	}
	scheme := "https"
	if c.Plain {
		scheme = "http"
	}
	if base == nil {
		base = &url.URL{Scheme: scheme, Host: net.JoinHostPort(hostOf(addr), strconv.Itoa(tcp.Port)), Path: "/"}
	}
	if !c.Plain {
		cert, err := l.Certificate(append([]string{base.Hostname()}, c.Hosts...))
		if err != nil {
			_ = ln.Close()
			return "", err
		}
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}})
	}
	srv := &http.Server{Handler: l.below(base, c.Hosts), ReadHeaderTimeout: 30 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	l.mu.Lock()
	l.list = append(l.list, srv)
	l.mu.Unlock()
	go func() { _ = srv.Serve(ln) }() // returns when the server is closed
	return base.String(), nil
}

// parseBase returns nil if there is no base.
func parseBase(base string) (*url.URL, error) {
	if base == "" {
		return nil, nil
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || !isHost(u.Hostname()) || u.User != nil ||
		u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q: %w", base, errBase)
	}
	return &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host), Path: "/"}, nil
}

// isHost reports whether a name can stand in a certificate and in a URL.
func isHost(name string) bool {
	return net.ParseIP(name) != nil || name != "" && strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-._") == ""
}

// hostOf returns the host by which this machine reaches an address.
func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err != nil || host == "" || ip != nil && ip.IsUnspecified() {
		return "localhost"
	}
	return host
}

// below routes requests below a base URL to the hosts of the emulator. Requests under
// one of the host names have a base of their own.
func (l *Listeners) below(base *url.URL, hosts []string) http.Handler {
	fixed := base.String()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := fixed
		if named(r.Host, hosts) {
			to = base.Scheme + "://" + strings.ToLower(r.Host) + "/"
		}
		r = web.WithBase(r, to)
		host, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		r.Host = "localhost"
		if host = strings.ToLower(host); strings.Contains(host, ".") && l.Serves(host) && !web.IsLoginHost(host) {
			r.Host, r.URL.Path = host, "/"+rest
		}
		l.Handler.ServeHTTP(w, r)
	})
}

// named reports whether a Host header has one of the names, at whatever port.
func named(hostport string, hosts []string) bool {
	u := url.URL{Host: hostport}
	return slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, u.Hostname()) })
}

// Close closes all listeners.
func (l *Listeners) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, srv := range l.list {
		_ = srv.Close()
	}
}
