package webflow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/webflow/internal/page"
)

// Bounds of one step.
const (
	requestTimeout = 60 * time.Second
	maxHops        = 20 // redirects after a request
)

// userAgent is a browser that the service offers security keys to. Conditional
// Access takes the platform from it.
const userAgent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

// A reply is a page, or the redirect that ends the sign-in.
type reply struct {
	at         *url.URL // where the page is
	status     int
	body       []byte
	redirected string // the address that begins with the redirect URI; "": a page
}

// A visitor fetches pages as a browser does: it has its own cookies and follows
// redirects one by one, checking each.
type visitor struct {
	transport   broker.Transport
	agent       string
	hosts       []string // of the cloud, lower case
	federation  string   // the federation server's host; "": none
	prefix      string   // of the redirect that ends the sign-in
	jar         *cookiejar.Jar
	kept        []cookie // what is in the jar, to be saved
	credentials func(context.Context, string) ([]*http.Cookie, error)
	recorder    *recorder
}

// A cookie is one that a host set, with what is needed to set it again.
type cookie struct {
	Host, Name, Value, Path, Domain string
}

func newJar() *cookiejar.Jar {
	jar, _ := cookiejar.New(&cookiejar.Options{PublicSuffixList: publicsuffix.List}) // it does not fail
	return jar
}

// notRedirecting is a transport that hands redirects to the caller.
func notRedirecting(t broker.Transport) broker.Transport {
	c, ok := t.(*http.Client)
	if t == nil {
		rt := http.DefaultTransport.(*http.Transport).Clone()
		rt.MaxResponseHeaderBytes = 64 << 10
		c, ok = &http.Client{Transport: rt}, true
	}
	if !ok {
		return t
	}
	own := *c
	own.Jar = nil
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

// errHost returns an error that names the host, which is not secret.
func errHost(u *url.URL) error {
	if u.Scheme != "https" {
		return failed("the page leads to an address that is not https: "+deviceCode, ErrPage)
	}
	if isTerms(u) {
		return termsOfUse("")
	}
	return failed(fmt.Sprintf("the page leads to %q, which is not a sign-in host of the cloud: %s", clip(u.Host), deviceCode), ErrPage)
}

// isTerms reports whether an address belongs to the terms-of-use service (Microsoft,
// "Microsoft Entra terms of use", frequently asked questions: "What endpoints does the
// terms of use service use for authentication?").
func isTerms(u *url.URL) bool {
	return strings.HasSuffix(strings.ToLower(u.Hostname()), ".termsofuse.identitygovernance.azure.com")
}

func clip(host string) string {
	if len(host) > 100 {
		return host[:100] + "…"
	}
	return host
}

// check reports whether the flow may go to an address.
func (v *visitor) check(u *url.URL) error {
	host := strings.ToLower(u.Host)
	if u.Scheme == "https" && u.User == nil && (slices.Contains(v.hosts, host) || v.federation != "" && host == v.federation) {
		return nil
	}
	return errHost(u)
}

// get fetches a page.
func (v *visitor) get(ctx context.Context, u *url.URL) (*reply, error) {
	return v.visit(ctx, http.MethodGet, u, nil)
}

// post sends a form.
func (v *visitor) post(ctx context.Context, u *url.URL, form url.Values) (*reply, error) {
	return v.visit(ctx, http.MethodPost, u, []byte(form.Encode()))
}

// visit sends a request and follows redirects, to the page or to the end.
func (v *visitor) visit(ctx context.Context, method string, u *url.URL, body []byte) (*reply, error) {
	header := http.Header{"Accept": {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}}
	if body != nil {
		header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for range maxHops {
		r, location, err := v.send(ctx, method, u, header, body)
		if err != nil {
			return nil, err
		}
		if location == "" {
			return r, nil
		}
		if v.ends(location) {
			return &reply{at: u, status: r.status, redirected: location}, nil
		}
		next, err := u.Parse(location)
		if err != nil {
			return nil, failed("the page redirects to a malformed address", ErrPage)
		}
		if body != nil && (r.status == http.StatusTemporaryRedirect || r.status == http.StatusPermanentRedirect) {
			return nil, failed("the service redirects a form that may be sent only once: "+deviceCode, ErrPage)
		}
		method, u, body = http.MethodGet, next, nil
		header.Del("Content-Type")
	}
	return nil, failed(fmt.Sprintf("no page after %d redirects", maxHops), ErrPage)
}

// ends reports whether an address is the redirect URI, ignoring the case of scheme and
// host. It must not merely begin with the same characters.
func (v *visitor) ends(to string) bool {
	n := len(v.prefix)
	if n == 0 || len(to) < n || !strings.EqualFold(to[:n], v.prefix) {
		return false
	}
	return len(to) == n || strings.ContainsRune("?#/", rune(to[n]))
}

// send sends one request, to a host that was checked, and returns where a
// redirect leads.
func (v *visitor) send(ctx context.Context, method string, u *url.URL, header http.Header, body []byte) (r *reply, location string, err error) {
	if err := v.check(u); err != nil {
		return nil, "", err
	}
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, "", failed("the address of a page is malformed", ErrPage)
	}
	q.Header = header.Clone()
	q.Header.Set("User-Agent", v.agent)
	for _, c := range v.jar.Cookies(u) {
		q.AddCookie(c)
	}
	if err := v.prove(ctx, q); err != nil {
		return nil, "", err
	}
	res, data, err := exchange(ctx, v.transport, q)
	if err != nil && caller.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		err = failed("the service does not answer", broker.ErrTransient)
	}
	if err != nil {
		return nil, "", err
	}
	v.keep(u, res.Cookies())
	r = &reply{at: u, status: res.StatusCode, body: data}
	v.recorder.record(method, u, r, res.Header.Get("Location"))
	switch {
	case res.StatusCode == http.StatusTooManyRequests:
		return nil, "", failed("the service is throttling this client", broker.ErrThrottled)
	case res.StatusCode >= 500:
		return nil, "", failed(fmt.Sprintf("the service has a temporary failure (HTTP %d)", res.StatusCode), broker.ErrTransient)
	case res.StatusCode >= 300 && res.StatusCode < 400 && res.Header.Get("Location") != "":
		return r, res.Header.Get("Location"), nil
	}
	return r, "", nil
}

// prove adds the cookies that identify the device or the user, only to the page at
// which a sign-in begins and only on a sign-in host.
func (v *visitor) prove(ctx context.Context, q *http.Request) error {
	if v.credentials == nil || q.Method != http.MethodGet || !strings.HasSuffix(q.URL.Path, "/authorize") || !slices.Contains(v.hosts, strings.ToLower(q.URL.Host)) {
		return nil
	}
	list, err := v.credentials(ctx, q.URL.String())
	if err != nil {
		return fmt.Errorf("webflow: the device's credential: %w", err)
	}
	for _, c := range list {
		q.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	return nil
}

// exchange sends a request and reads the whole reply. It returns when ctx ends,
// whatever the transport does.
func exchange(ctx context.Context, t broker.Transport, q *http.Request) (*http.Response, []byte, error) {
	type result struct {
		res  *http.Response
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		res, err := t.Do(q)
		if err != nil {
			done <- result{err: err}
			return
		}
		defer res.Body.Close()
		data, err := io.ReadAll(io.LimitReader(res.Body, page.MaxSize+1))
		done <- result{res, data, err}
	}()
	select {
	case r := <-done:
		switch {
		case r.err != nil && ctx.Err() != nil:
			return nil, nil, ctx.Err()
		case r.err != nil:
			// The text of a url.Error has the address, whose query may be secret.
			var e *url.Error
			if errors.As(r.err, &e) {
				r.err = e.Err
			}
			return nil, nil, failed("the service cannot be reached: "+r.err.Error(), broker.ErrTransient, r.err)
		case len(r.data) > page.MaxSize:
			return nil, nil, failed(fmt.Sprintf("the page is larger than %d bytes", page.MaxSize), ErrPage)
		}
		return r.res, r.data, nil
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// maxCookies bounds what one flow keeps.
const maxCookies = 100

func (v *visitor) keep(u *url.URL, list []*http.Cookie) {
	if len(list) == 0 {
		return
	}
	v.jar.SetCookies(u, list)
	for _, c := range list {
		n := cookie{Host: strings.ToLower(u.Host), Name: c.Name, Value: c.Value, Path: c.Path, Domain: c.Domain}
		v.kept = slices.DeleteFunc(v.kept, func(o cookie) bool {
			return o.Host == n.Host && o.Name == n.Name && o.Path == n.Path && o.Domain == n.Domain
		})
		if c.MaxAge >= 0 && c.Value != "" && len(v.kept) < maxCookies {
			v.kept = append(v.kept, n)
		}
	}
}

// restore puts saved cookies into the jar.
func (v *visitor) restore(list []cookie) {
	for _, c := range list {
		u := &url.URL{Scheme: "https", Host: c.Host, Path: "/"}
		v.keep(u, []*http.Cookie{{Name: c.Name, Value: c.Value, Path: c.Path, Domain: c.Domain, Secure: true}})
	}
}

// call sends JSON to an endpoint that the scripts of a page use, and reads JSON.
func (v *visitor) call(ctx context.Context, method string, u *url.URL, header http.Header, in, out any) error {
	header = header.Clone()
	header.Set("Accept", "application/json")
	var body []byte
	if in != nil {
		header.Set("Content-Type", "application/json; charset=UTF-8")
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	r, location, err := v.send(ctx, method, u, header, body)
	if err != nil {
		return err
	}
	if location != "" || json.Unmarshal(r.body, out) != nil {
		return failed(fmt.Sprintf("%s did not answer as the page's scripts expect (HTTP %d): %s", lastOf(u), r.status, deviceCode), ErrPage)
	}
	return nil
}

// lastOf names an endpoint by the last part of its path.
func lastOf(u *url.URL) string {
	name := u.Path[strings.LastIndex(u.Path, "/")+1:]
	for _, r := range name {
		if (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return "an endpoint"
		}
	}
	return name
}
