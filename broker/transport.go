package broker

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"runtime"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/retry"
	"github.com/prtbroker/prtbroker/prt"
)

const (
	// requestTimeout bounds one request, whatever the caller's context allows.
	requestTimeout = 60 * time.Second
)

// client sends requests and reads replies within limits.
type client struct {
	transport Transport
	userAgent string
	now       func() time.Time
	rand      io.Reader
	wait      func(context.Context, time.Duration) error // nil: retry.Wait
	policy    retry.Policy
	circuits  retry.Breaker
	tracer    Tracer // nil: none
}

// newTransport returns the default transport. Certificates of the server are
// verified by the system's roots; the proxy is that of the environment.
func newTransport(cert *tls.Certificate) *http.Client {
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    15 * time.Second,
		ResponseHeaderTimeout:  45 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        90 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if cert != nil {
		t.TLSClientConfig.Certificates = []tls.Certificate{*cert}
	}
	return &http.Client{Transport: t, Timeout: requestTimeout, CheckRedirect: noRedirect}
}

// noRedirect hands a redirect to the caller: the endpoints of the protocol
// have no reason to send one, and a POST with a credential must not follow.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// platforms are what Conditional Access looks for in a User-Agent.
var platforms = map[string]string{
	"linux":   "X11; Linux " + runtime.GOARCH,
	"windows": "Windows NT 10.0; Win64; x64",
	"darwin":  "Macintosh; Intel Mac OS X 10_15_7",
	"android": "Linux; Android 14",
	"ios":     "iPhone; CPU iPhone OS 17_0 like Mac OS X",
}

func defaultUserAgent() string {
	p, ok := platforms[runtime.GOOS]
	if !ok {
		p = runtime.GOOS
	}
	return "prtbroker/1.0 (" + p + ")"
}

// A reply is what came back, whole.
type reply struct {
	status        int
	header        http.Header
	body          []byte
	correlationID string
}

func (r *reply) ok() bool { return r.status >= 200 && r.status < 300 }

// A call to a service: JSON or form out, anything in.
type request struct {
	method        string
	url           string
	contentType   string
	body          []byte
	bearer        prt.Secret
	credential    prt.Cookie // sent as a header, to a sign-in page; zero: none
	transport     Transport  // nil: the client's
	correlationID string     // empty: a new one
	once          bool       // it must not be handled twice

	// answered reports whether a reply is the service's last word, whatever
	// its status. Nil: the status and the error code say.
	answered func(*reply) bool
}

func form(address string, values url.Values) request {
	return request{
		method:      http.MethodPost,
		url:         address,
		contentType: "application/x-www-form-urlencoded",
		body:        []byte(values.Encode()),
	}
}

// attempt sends a request once and returns within ctx, whatever the transport
// does. sent says that the service may have seen something of it.
func (c *client) attempt(ctx context.Context, q request) (rep *reply, sent bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, errRequestTimeout)
	defer cancel()
	var seen traffic
	r, err := c.request(httptrace.WithClientTrace(ctx, seen.trace()), q)
	if err != nil {
		return nil, false, err
	}
	t := q.transport
	if t == nil {
		t = c.transport
	}
	type result struct {
		reply *reply
		err   error
	}
	done := make(chan result, 1)
	go func() {
		rep, err := exchange(t, r)
		done <- result{rep, err}
	}()
	select {
	case res := <-done:
		if res.err != nil {
			return nil, seen.sent(res.err), networkError(ctx, res.err, q.correlationID)
		}
		res.reply.correlationID = q.correlationID
		return res.reply, true, nil
	case <-ctx.Done():
		return nil, true, networkError(ctx, ctx.Err(), q.correlationID)
	}
}

func (c *client) request(ctx context.Context, q request) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, q.method, q.url, bytes.NewReader(q.body))
	if err != nil {
		return nil, errors.New("broker: the address of a service is malformed")
	}
	if q.contentType != "" {
		r.Header.Set("Content-Type", q.contentType)
	}
	if !q.bearer.IsZero() {
		r.Header.Set("Authorization", "Bearer "+q.bearer.Reveal())
	}
	if q.credential.Name != "" {
		r.Header.Set(q.credential.Name, q.credential.Value.Reveal())
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", c.userAgent)
	r.Header.Set("client-request-id", q.correlationID)
	r.Header.Set("return-client-request-id", "true")
	return r, nil
}

func exchange(t Transport, r *http.Request) (*reply, error) {
	res, err := t.Do(r)
	if to := appRedirect(err); to != "" {
		return &reply{status: http.StatusFound, header: http.Header{"Location": {to}}}, nil
	}
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, prt.MaxReplySize+1))
	if err != nil {
		return nil, err
	}
	if len(body) > prt.MaxReplySize {
		return nil, errReplySize
	}
	return &reply{status: res.StatusCode, header: res.Header, body: body}, nil
}

// appRedirect returns the address of an app (ms-appx-web:, msauth:) at which a
// Transport ended that follows redirects, though it must not: no HTTP client
// follows that one.
func appRedirect(err error) string {
	var u *url.Error
	if !errors.As(err, &u) {
		return ""
	}
	to, perr := url.Parse(u.URL)
	if perr != nil || to.Scheme == "http" || to.Scheme == "https" {
		return ""
	}
	return u.URL
}

var (
	errRequestTimeout = errors.New("the service did not answer in time")
	errReplySize      = fmt.Errorf("the reply is larger than %d bytes", prt.MaxReplySize)
)

// networkError tells the end of the caller's context from trouble on the way.
// The address is left out of the text: it may name the user.
func networkError(ctx context.Context, err error, correlationID string) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	e := &Error{detail: "no answer from the service", kind: ErrTransient, cause: err, CorrelationID: correlationID}
	if ctx.Err() == nil {
		return e
	}
	if cause := context.Cause(ctx); errors.Is(cause, errRequestTimeout) {
		e.cause = cause
		return e
	}
	e.kind, e.cause, e.detail = nil, ctx.Err(), "given up"
	return e
}

// retryAfter reads the header, in seconds or as a date.
func (r *reply) retryAfter(now time.Time) time.Duration { return retry.After(r.header, now) }

// newGUID returns a random GUID (RFC 9562, version 4).
func newGUID(random io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("broker: reading randomness: %w", err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:], nil
}
