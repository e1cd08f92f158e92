package sts

import (
	"bytes"
	"context"
	"crypto/sha256"
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
	"runtime/debug"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/sts/internal/retry"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

const (
	// requestTimeout bounds one request, whatever the caller's context allows.
	requestTimeout = 60 * time.Second
)

// NewTransport returns the default transport. Certificates of the server are
// verified by the system's roots; the proxy is that of the environment.
func NewTransport() *http.Client {
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
	return &http.Client{Transport: t, Timeout: requestTimeout, CheckRedirect: NoRedirect}
}

// NoRedirect hands a redirect to the caller: the endpoints of the protocol
// have no reason to send one, and a POST with a credential must not follow.
func NoRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// platforms are what Conditional Access looks for in a User-Agent.
var platforms = map[string]string{
	"linux":   "X11; Linux " + runtime.GOARCH,
	"windows": "Windows NT 10.0; Win64; x64",
	"darwin":  "Macintosh; Intel Mac OS X 10_15_7",
	"android": "Linux; Android 14",
	"ios":     "iPhone; CPU iPhone OS 17_0 like Mac OS X",
}

// DefaultUserAgent names this library with its version and the operating system.
func DefaultUserAgent() string {
	p, ok := platforms[runtime.GOOS]
	if !ok {
		p = runtime.GOOS
	}
	info, _ := debug.ReadBuildInfo()
	return "prtbroker/" + versionIn(info) + " (" + p + ")"
}

const module = "github.com/prtbroker/prtbroker"

// versionIn returns the version of this module that a program was built with,
// without its v, or "devel" for a program that was built in a working copy or over
// one (replace).
func versionIn(info *debug.BuildInfo) string {
	if info == nil {
		return "devel"
	}
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m.Path != module {
			continue
		}
		if m.Replace != nil {
			m = m.Replace
		}
		if v, ok := strings.CutPrefix(m.Version, "v"); ok {
			return v
		}
	}
	return "devel"
}

// A Reply is what came back, whole.
type Reply struct {
	Status        int
	Header        http.Header
	Body          []byte
	CorrelationID string        // of the request
	RetryAfter    time.Duration // how long to wait, an hour at most; 0: it does not say

	from string // the host that it came from, when the transport followed a redirect
}

// OK reports whether the status is a success.
func (r *Reply) OK() bool { return r.Status >= 200 && r.Status < 300 }

// A Request goes to a service: JSON or a form out, anything in.
type Request struct {
	Method        string
	URL           string
	ContentType   string
	Body          []byte
	Bearer        prt.Secret
	Credential    prt.Cookie // sent as a header, to a sign-in page; zero: none
	Transport     Transport  // nil: the client's
	CorrelationID string     // empty: a new one
	Once          bool       // it must not be handled twice
	Endpoint      Endpoint   // zero: TokenEndpoint
	From          From       // who asks for what, where the rest does not say

	redirect string     // with SignInPage: where the visit ends
	form     url.Values // what Body holds, if that is a form
}

func form(address string, values url.Values) Request {
	return Request{
		Method:      http.MethodPost,
		URL:         address,
		ContentType: "application/x-www-form-urlencoded",
		Body:        []byte(values.Encode()),
		form:        values,
	}
}

// From says who asks for what, for a request whose form does not say because it
// is signed. The service throttles requests by it.
type From struct {
	Client  string
	Scopes  string
	Account string
	// CorrelationID names the request in the tenant's sign-in log; empty: a new
	// one.
	CorrelationID string
}

// identifying are the fields of a form that tell one request from another. The
// password is not among them: a request with another password is still the same
// request.
var identifying = []string{"grant_type", "client_id", "scope", "resource", "username", "refresh_token", "code", "device_code", "assertion"}

// key names a request as MSAL does: by client, authority, scopes and account.
func (q *Request) key() retry.Key {
	h := sha256.New()
	part := func(s string) { fmt.Fprintf(h, "%d:%s", len(s), s) }
	part(q.Method)
	if u, err := url.Parse(q.URL); err == nil {
		part(u.Host)
		part(u.Path)
		for _, name := range identifying {
			part(u.Query().Get(name))
		}
	}
	for _, name := range identifying {
		part(q.form.Get(name))
	}
	part(q.From.Client)
	part(q.From.Scopes)
	part(q.From.Account)
	return retry.Key(h.Sum(nil))
}

// attempt sends a request once and returns within ctx, whatever the transport
// does. sent says that the service may have seen something of it.
func (c *Client) attempt(ctx context.Context, q Request) (rep *Reply, sent bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, errRequestTimeout)
	defer cancel()
	var seen traffic
	r, err := c.build(httptrace.WithClientTrace(ctx, seen.trace()), q)
	if err != nil {
		return nil, false, err
	}
	t := q.Transport
	if t == nil {
		t = c.cfg.Transport
	}
	type result struct {
		reply *Reply
		err   error
	}
	done := make(chan result, 1)
	go func() {
		rep, err := send(t, r)
		done <- result{rep, err}
	}()
	select {
	case res := <-done:
		if res.err != nil {
			return nil, seen.sent(res.err), networkError(ctx, res.err, q.CorrelationID)
		}
		res.reply.CorrelationID = q.CorrelationID
		res.reply.RetryAfter = retry.After(res.reply.Header, c.cfg.Now())
		return res.reply, true, nil
	case <-ctx.Done():
		return nil, true, networkError(ctx, ctx.Err(), q.CorrelationID)
	}
}

func (c *Client) build(ctx context.Context, q Request) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, q.Method, q.URL, bytes.NewReader(q.Body))
	if err != nil {
		return nil, errors.New("the address of a service is malformed")
	}
	if q.ContentType != "" {
		r.Header.Set("Content-Type", q.ContentType)
	}
	if !q.Bearer.IsZero() {
		r.Header.Set("Authorization", "Bearer "+q.Bearer.Reveal())
	}
	if q.Credential.Name != "" {
		r.Header.Set(q.Credential.Name, q.Credential.Value.Reveal())
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", c.cfg.UserAgent)
	r.Header.Set("client-request-id", q.CorrelationID)
	r.Header.Set("return-client-request-id", "true")
	return r, nil
}

func send(t Transport, r *http.Request) (*Reply, error) {
	res, err := t.Do(r)
	if to := appRedirect(err); to != "" {
		return &Reply{Status: http.StatusFound, Header: http.Header{"Location": {to}}}, nil
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
	rep := &Reply{Status: res.StatusCode, Header: res.Header, Body: body}
	if at := res.Request; at != nil && at.Response != nil && at.URL != nil {
		rep.from = at.URL.Host
	}
	return rep, nil
}

// appRedirect returns the address of an app (ms-appx-web:, msauth:) at which a
// Transport ended that follows redirects although it must not: no HTTP client
// can follow that one.
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

// networkError tells the end of the caller's context from a network failure.
// The address is left out of the text: it may name the user.
func networkError(ctx context.Context, err error, correlationID string) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	e := &Error{Detail: "no answer from the service", Verdict: aadsts.Retry, Cause: err, CorrelationID: correlationID}
	if ctx.Err() == nil {
		return e
	}
	if cause := context.Cause(ctx); errors.Is(cause, errRequestTimeout) {
		e.Cause = cause
		return e
	}
	e.Verdict, e.Cause, e.Detail = aadsts.None, ctx.Err(), "given up"
	return e
}

// newGUID returns a random GUID (RFC 9562, version 4).
func newGUID(random io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:], nil
}
