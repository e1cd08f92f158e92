package broker_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prtbroker/prtbroker/prt"
)

// An httpFault is what happens to a request on its way.
type httpFault struct {
	name string
	// dial fails instead of connecting. Nil: it connects.
	dial func() (net.Conn, error)
	// serve is the other end of the connection. It is given the request, which has
	// been read, and what the service answers when it is asked.
	serve  func(conn net.Conn, service func() *http.Response)
	unread bool // nobody reads the request
	// jump moves the clock of the machine instead; the request goes through.
	jump time.Duration
}

// do sends a request over a connection of net/http's own transport, at whose other
// end the fault is.
func (f httpFault) do(r *http.Request, service func() *http.Response) (*http.Response, error) {
	client := &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DisableKeepAlives: true, DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			if f.dial != nil {
				return f.dial()
			}
			here, there := net.Pipe()
			go f.answer(there, service)
			return resetting{here}, nil
		}},
	}
	return client.Do(r)
}

func (f httpFault) answer(conn net.Conn, service func() *http.Response) {
	defer func() { _ = conn.Close() }()
	if f.unread {
		return
	}
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	f.serve(conn, service)
}

// resetting is a connection whose other end resets it instead of closing it.
type resetting struct{ net.Conn }

func (c resetting) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == io.EOF && n == 0 {
		err = &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}
	return n, err
}

func (c resetting) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err == io.ErrClosedPipe {
		err = &net.OpError{Op: "write", Net: "tcp", Err: syscall.ECONNRESET}
	}
	return n, err
}

// says answers with a status and a body, and asks no service.
func says(status int, body string, headers ...string) func(net.Conn, func() *http.Response) {
	return func(conn net.Conn, _ func() *http.Response) {
		var b bytes.Buffer
		fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nContent-Length: %d\r\n", status, http.StatusText(status), len(body))
		for _, h := range headers {
			fmt.Fprintf(&b, "%s\r\n", h)
		}
		fmt.Fprintf(&b, "\r\n%s", body)
		_, _ = conn.Write(b.Bytes())
	}
}

// whole is a reply of the service as bytes, its type replaced unless that is empty.
func whole(res *http.Response, contentType string) (head, body []byte) {
	body, _ = io.ReadAll(res.Body)
	if contentType != "" {
		res.Header.Set("Content-Type", contentType)
	}
	res.Header.Del("Content-Length")
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", res.StatusCode, http.StatusText(res.StatusCode))
	_ = res.Header.Write(&b)
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", len(body))
	return b.Bytes(), body
}

const portalPage = `<!DOCTYPE html><html><head><title>Welcome to the hotel</title></head><body><form action="/login" method="post"><input name="room"></form></body></html>`

// busy is how the service says that it fails for a while.
const busy = `{"error":"temporarily_unavailable","error_description":"AADSTS90033: A transient error has occurred. Please try again.","error_codes":[90033],"trace_id":"6a1a4d67-6f0e-4b9c-8f2a-0b6a0f1e2d00","correlation_id":"0b6a0f1e-6f0e-4b9c-8f2a-6a1a4d672d00"}`

// httpFaults are all faults of a request.
var httpFaults = sync.OnceValue(func() []httpFault {
	fails := func(err error) func() (net.Conn, error) { return func() (net.Conn, error) { return nil, err } }
	out := []httpFault{
		{name: "connection refused", dial: fails(&net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED})},
		{name: "no such host", dial: fails(&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "login", IsNotFound: true}})},
		{name: "reset before anything is sent", unread: true},
		{name: "reset after the service handled it", serve: func(_ net.Conn, service func() *http.Response) { service() }},
		{name: "no answer", serve: func(conn net.Conn, _ func() *http.Response) { _, _ = conn.Read(make([]byte, 1)) }},
		{name: "no answer, though the service handled it", serve: func(conn net.Conn, service func() *http.Response) {
			service()
			_, _ = conn.Read(make([]byte, 1))
		}},
		{name: "a byte each 100 ms", serve: func(conn net.Conn, service func() *http.Response) {
			head, body := whole(service(), "")
			for _, b := range append(head, body...) {
				time.Sleep(100 * time.Millisecond)
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
			}
		}},
		{name: "truncated", serve: func(conn net.Conn, service func() *http.Response) {
			head, body := whole(service(), "")
			_, _ = conn.Write(append(head, body[:len(body)/2]...))
		}},
		{name: "truncated, and the length agrees", serve: func(conn net.Conn, service func() *http.Response) {
			res := service()
			body, _ := io.ReadAll(res.Body)
			res.Body = io.NopCloser(bytes.NewReader(body[:len(body)/2]))
			head, half := whole(res, "")
			_, _ = conn.Write(append(head, half...))
		}},
		{name: "not HTTP", serve: func(conn net.Conn, _ func() *http.Response) {
			_, _ = conn.Write([]byte("SSH-2.0-OpenSSH_9.6\r\n\x00\x01\x02\r\n\r\n"))
		}},
		{name: "garbage as JSON", serve: says(200, "\x00\xff{]}\"garbage", "Content-Type: application/json")},
		{name: "another object", serve: says(200, `{"status":"ok"}`, "Content-Type: application/json")},
		{name: "a wrong content type", serve: func(conn net.Conn, service func() *http.Response) {
			head, body := whole(service(), "text/html; charset=utf-8")
			_, _ = conn.Write(append(head, body...))
		}},
		{name: "an endless reply", serve: func(conn net.Conn, _ func() *http.Response) {
			_, err := conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"access_token\":\""))
			for chunk := bytes.Repeat([]byte("A"), 64<<10); err == nil; {
				_, err = conn.Write(chunk)
			}
		}},
		{name: "an oversized reply", serve: says(200, `{"access_token":"`+strings.Repeat("A", prt.MaxReplySize)+`"}`, "Content-Type: application/json")},
		{name: "a gzip bomb", serve: says(200, bomb(), "Content-Type: application/json", "Content-Encoding: gzip")},
		{name: "a certificate that nobody trusts", dial: handshake(selfSignedTLS())},
		{name: "no TLS there", dial: func() (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				_, _ = there.Read(make([]byte, 1))
				_, _ = there.Write([]byte("HTTP/1.0 400 Bad Request\r\n\r\n"))
				_ = there.Close()
			}()
			return secured(here)
		}},
	}
	for _, status := range []int{200, 302, 307, 400, 401, 403, 404, 407, 451, 502} {
		headers := []string{"Content-Type: text/html"}
		switch status {
		case 302, 307:
			headers = append(headers, "Location: http://portal.example/login?to=https://login.microsoftonline.com/")
		case 401:
			headers = append(headers, `WWW-Authenticate: Basic realm="hotel"`)
		case 407:
			headers = append(headers, `Proxy-Authenticate: Basic realm="hotel"`)
		}
		out = append(out, httpFault{name: fmt.Sprintf("a portal's page with %d", status), serve: says(status, portalPage, headers...)})
	}
	for _, status := range []int{429, 500, 503} {
		for _, body := range []string{portalPage, busy} {
			whose, kind := "a gateway", "Content-Type: text/html"
			if body == busy {
				whose, kind = "the service", "Content-Type: application/json; charset=utf-8"
			}
			out = append(out,
				httpFault{name: fmt.Sprintf("%d of %s", status, whose), serve: says(status, body, kind)},
				httpFault{name: fmt.Sprintf("%d of %s with Retry-After", status, whose), serve: says(status, body, kind, "Retry-After: 30")})
		}
	}
	for _, d := range []time.Duration{10 * time.Minute, -10 * time.Minute, 24 * time.Hour, -24 * time.Hour} {
		out = append(out, httpFault{name: fmt.Sprintf("the clock is off by %s", d), jump: d})
	}
	return out
})

// bomb is 64 MiB of JSON, compressed to 64 KiB.
func bomb() string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, `{"access_token":"`)
	_, _ = z.Write(bytes.Repeat([]byte("A"), 64<<20))
	_, _ = io.WriteString(z, `"}`)
	_ = z.Close()
	return b.String()
}

// selfSignedTLS is a certificate of the right name that no authority signed.
func selfSignedTLS() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "login.microsoftonline.com"},
		DNSNames: []string{"login.microsoftonline.com"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// handshake connects to a server with that certificate.
func handshake(cert tls.Certificate) func() (net.Conn, error) {
	return func() (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			_ = tls.Server(there, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake()
			_ = there.Close()
		}()
		return secured(here)
	}
}

// secured makes a connection one of TLS. No authority is trusted.
func secured(conn net.Conn) (net.Conn, error) {
	// A pipe has no buffer: both sides may write at once, and wait for each other.
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	c := tls.Client(conn, &tls.Config{ServerName: "login.microsoftonline.com", RootCAs: x509.NewCertPool()})
	if err := c.Handshake(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

// Whatever happens to a request of whatever operation, the call ends in time and in
// an error that callers can test for; the state opens in a new process, the PRT
// works or the error says why not, nothing is sent twice that must not be, the
// service has no second device, and without the fault the same call succeeds.
func TestHTTPFaults(t *testing.T) {
	t.Parallel()
	each(t, "an HTTP request of an operation, and a fault", sample(cells(t), 12, 40), func(t *testing.T, c cell) {
		o := c.m.run(t, &faultyWire{fault: c.fault, at: c.at, lasting: c.lasting})
		for _, p := range c.wrong(o, func(o outcome) bool { return c.fault.jump != 0 && isKind(o.first) }) {
			t.Error(p)
		}
	})
}
