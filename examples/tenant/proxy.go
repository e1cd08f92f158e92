package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// dialer reaches the emulator under the real host names and refuses others.
type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// proxy is an HTTP CONNECT proxy (RFC 9110, 9.3.6) to the emulator. It relays
// bytes and does not terminate TLS, so that mutual TLS works through it.
type proxy struct {
	dial dialer
	logf func(format string, args ...any)

	mu    sync.Mutex // guards open
	open  map[net.Conn]bool
	shut  bool
	lines sync.WaitGroup
}

func newProxy(dial dialer, logf func(string, ...any)) *proxy {
	return &proxy{dial: dial, logf: logf, open: map[net.Conn]bool{}}
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		p.logf("proxy: %s %s refused: only CONNECT is served", r.Method, r.URL.Redacted())
		http.Error(w, "tenant: this proxy serves only HTTPS, by CONNECT", http.StatusForbidden)
		return
	}
	if _, port, err := net.SplitHostPort(r.Host); err != nil || port != "443" {
		p.logf("proxy: CONNECT %s refused: not port 443", r.Host)
		http.Error(w, "tenant: only port 443 is emulated", http.StatusForbidden)
		return
	}
	// The emulator's own dialer lets loopback addresses through to whatever
	// listens there, which a proxy must not.
	if host, _, _ := net.SplitHostPort(r.Host); isLoopbackName(host) {
		http.Error(w, "tenant: loopback is not reached through the proxy", http.StatusForbidden)
		return
	}
	up, err := p.dial(r.Context(), "tcp", r.Host)
	if err != nil {
		p.logf("proxy: CONNECT %s refused", r.Host)
		http.Error(w, fmt.Sprintf("tenant: %s is not emulated", r.Host), http.StatusForbidden)
		return
	}
	down, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = up.Close()
		http.Error(w, "tenant: CONNECT needs HTTP/1.1", http.StatusHTTPVersionNotSupported)
		return
	}
	_ = down.SetDeadline(time.Time{})
	if !p.track(down, up) {
		return
	}
	defer p.untrack(down, up)
	if _, err := io.WriteString(down, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	// What the client sent ahead of the answer is in the buffer.
	p.join(down, up, buffered.Reader)
}

// join copies both ways until both are done. The end of one direction is passed
// on as the end of that direction only: TLS closes one half at a time.
func (p *proxy) join(down, up net.Conn, fromClient io.Reader) {
	done := make(chan struct{}, 2)
	pass := func(dst net.Conn, src io.Reader) {
		_, err := io.Copy(dst, src)
		if tcp, ok := dst.(*net.TCPConn); ok && err == nil {
			_ = tcp.CloseWrite()
		} else {
			_ = dst.Close()
		}
		done <- struct{}{}
	}
	go pass(up, fromClient)
	go pass(down, up)
	<-done
	<-done
}

func (p *proxy) track(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut {
		for _, c := range conns {
			_ = c.Close()
		}
		return false
	}
	for _, c := range conns {
		p.open[c] = true
	}
	p.lines.Add(1)
	return true
}

func (p *proxy) untrack(conns ...net.Conn) {
	p.mu.Lock()
	for _, c := range conns {
		delete(p.open, c)
		_ = c.Close()
	}
	p.mu.Unlock()
	p.lines.Done()
}

// close breaks the tunnels, which http.Server no longer knows of.
func (p *proxy) close() {
	p.mu.Lock()
	p.shut = true
	for c := range p.open {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.lines.Wait()
}

func isLoopbackName(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// reachable returns the address by which a client on this machine reaches a listener.
func reachable(ln net.Listener) string {
	host, port, err := net.SplitHostPort(ln.Addr().String())
	if ip := net.ParseIP(host); err == nil && ip.IsUnspecified() {
		return net.JoinHostPort("localhost", port)
	}
	return ln.Addr().String()
}

// listen listens on the address that a flag gives. Unless exposed, it must be a
// loopback address: the emulated tenant hands out sessions to anybody who asks.
func listen(flag, addr string, exposed bool) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	if !exposed && !isLoopbackName(host) {
		return nil, fmt.Errorf("%s: %s is not a loopback address; -insecure-exposed allows it", flag, addr)
	}
	ln, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("another program, perhaps another tenant, listens on %s: use a free address with %s, such as %s", addr, flag, net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return ln, nil
}

func serve(ln net.Listener, h http.Handler, logf func(string, ...any)) *http.Server {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10}
	go func() {
		if err := s.Serve(ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
			logf("%v", err)
		}
	}()
	return s
}
