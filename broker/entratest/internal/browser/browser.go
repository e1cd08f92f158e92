package browser

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/html"
)

const (
	deviceLoginURL = "https://microsoft.com/devicelogin"
	certAuthHost   = "certauth.login.microsoftonline.com" // asks for a certificate in the TLS handshake
)

// maxSteps is how many pages a sign-in may take before a person gives up.
const maxSteps = 20

// browser fetches pages for a person with a client and its own cookies.
type browser struct {
	person Person
	client *http.Client
	prefix string // of the redirect that ends the sign-in
	now    time.Time
	tried  map[string]bool // forms answered already; a page that comes back with an error ends the sign-in
}

func (p Person) browser(client *http.Client, prefix string) *browser {
	c := *client
	c.Jar, _ = cookiejar.New(nil) // does not fail without options
	b := &browser{person: p, prefix: prefix, tried: map[string]bool{}}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	b.client = &c
	return b
}

// Authorize opens a URL with a client, goes through the pages and returns the URL,
// beginning with prefix, to which the sign-in was redirected.
func (p Person) Authorize(ctx context.Context, client *http.Client, start, prefix string) (string, error) {
	return p.browser(client, prefix).walk(ctx, start)
}

// ApproveDeviceCode enters a code on the device login page and signs in.
func (p Person) ApproveDeviceCode(ctx context.Context, client *http.Client, code string) error {
	_, err := p.browser(client, "").walk(ctx, deviceLoginURL+"?otc="+url.QueryEscape(code))
	return err
}

// walk fetches a page and answers forms until it reaches the redirect or a page
// without a form.
func (b *browser) walk(ctx context.Context, start string) (string, error) {
	next := func() (*http.Request, error) { return http.NewRequestWithContext(ctx, http.MethodGet, start, nil) }
	for range maxSteps {
		req, err := next()
		if err != nil {
			return "", fmt.Errorf("entratest: sign-in page: %w", err)
		}
		page, redirected, err := b.fetch(req)
		if err != nil {
			return "", err
		}
		if redirected != "" {
			return redirected, nil
		}
		if page.location != "" {
			to := page.location
			next = func() (*http.Request, error) { return http.NewRequestWithContext(ctx, http.MethodGet, to, nil) }
			continue
		}
		if page.alert != nil && (page.status >= 400 || len(page.forms) == 0 || b.tried[page.forms[0].id] || page.forms[0].id == "again") {
			return "", page.alert
		}
		if len(page.forms) == 0 {
			if b.prefix == "" && page.status == http.StatusOK {
				return "", nil // the device code is approved
			}
			return "", &PageError{Text: "there is nothing to answer: " + page.title}
		}
		f, values, err := b.answer(ctx, page)
		if err != nil {
			return "", err
		}
		if b.prefix != "" && hasURLPrefix(f.action, b.prefix) { // response_mode form_post
			return f.action + "?" + values.Encode(), nil
		}
		next = func() (*http.Request, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.action, strings.NewReader(values.Encode()))
			if err == nil {
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			return req, err
		}
	}
	return "", &PageError{Text: fmt.Sprintf("no end after %d pages", maxSteps)}
}

// replaced matches the URL that a script sends the browser to.
var replaced = regexp.MustCompile(`document\.location\.replace\(("[^"]*")\)`)

// page is a page as a person sees it.
type page struct {
	status   int
	location string // of a redirect to another page
	title    string
	alert    *PageError
	forms    []form
	number   int
	secret   string
	config   string // text of $Config
	script   string // where a script of the page goes immediately
}

type form struct {
	id, action string
	fields     url.Values
	inputs     map[string]bool     // names of fields for a person to fill in
	buttons    map[string][]string // values of the buttons, by name
}

func (b *browser) fetch(req *http.Request) (*page, string, error) {
	resp, err := b.clientFor(req).Do(req)
	if err != nil {
		return nil, "", fmt.Errorf("entratest: sign-in page: %w", err)
	}
	defer resp.Body.Close()
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		b.now = at
	}
	if loc := resp.Header.Get("Location"); loc != "" && resp.StatusCode/100 == 3 {
		if b.prefix != "" && hasURLPrefix(loc, b.prefix) {
			return nil, loc, nil
		}
		to, err := req.URL.Parse(loc)
		if err != nil {
			return nil, "", fmt.Errorf("entratest: sign-in page: redirect: %w", err)
		}
		return &page{status: resp.StatusCode, location: to.String()}, "", nil
	}
	p, err := readPage(resp.Body, req.URL)
	if err != nil {
		return nil, "", err
	}
	p.status = resp.StatusCode
	if p.script != "" && b.prefix != "" && hasURLPrefix(p.script, b.prefix) {
		return nil, p.script, nil
	}
	if p.alert == nil && resp.StatusCode >= 400 {
		p.alert = &PageError{Text: resp.Status}
	}
	return p, "", nil
}

// clientFor returns the client, with the person's certificate if the host asks for
// one.
func (b *browser) clientFor(req *http.Request) *http.Client {
	if b.person.Certificate == nil || req.URL.Hostname() != certAuthHost {
		return b.client
	}
	c := *b.client
	switch t := c.Transport.(type) {
	case *http.Transport:
		own := t.Clone()
		if own.TLSClientConfig == nil {
			own.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		own.TLSClientConfig.Certificates = []tls.Certificate{*b.person.Certificate}
		own.DisableKeepAlives = true // the connections would never be closed
		c.Transport = own
	default:
		if b.person.ShowCertificate != nil {
			c.Transport = b.person.ShowCertificate(t)
		}
	}
	return &c
}

func readPage(body io.Reader, base *url.URL) (*page, error) {
	root, err := html.Parse(io.LimitReader(body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("entratest: sign-in page: %w", err)
	}
	p := &page{}
	p.read(root, base, nil)
	return p, nil
}

// hasURLPrefix reports whether s begins with prefix, allowing for user agents that
// convert scheme and host to lower case.
func hasURLPrefix(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// read walks the document.
func (p *page) read(n *html.Node, base *url.URL, in *form) {
	if n.Type == html.ElementNode {
		switch n.Data {
		case "form":
			to, err := base.Parse(attr(n, "action"))
			if err != nil {
				to = base
			}
			p.forms = append(p.forms, form{id: attr(n, "id"), action: to.String(), fields: url.Values{}, inputs: map[string]bool{}, buttons: map[string][]string{}})
			in = &p.forms[len(p.forms)-1]
		case "title":
			p.title = textOf(n)
		case "script":
			t := textOf(n)
			if strings.Contains(t, "$Config=") {
				p.config = t
			}
			if m := replaced.FindStringSubmatch(t); m != nil {
				_ = json.Unmarshal([]byte(m[1]), &p.script) // "" if it is not a string
			}
		case "button":
			if in != nil && attr(n, "name") != "" {
				in.buttons[attr(n, "name")] = append(in.buttons[attr(n, "name")], attr(n, "value"))
			}
		case "input":
			if in != nil {
				in.fields.Set(attr(n, "name"), attr(n, "value"))
				if attr(n, "type") != "hidden" {
					in.inputs[attr(n, "name")] = true
				}
			}
		}
		if attr(n, "role") == "alert" {
			code, _ := strconv.Atoi(attr(n, "data-aadsts"))
			p.alert = &PageError{Code: code, Text: textOf(n)}
		}
		if v := attr(n, "data-number"); v != "" {
			p.number, _ = strconv.Atoi(v)
		}
		if v := attr(n, "data-secret"); v != "" {
			p.secret = v
		}
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		p.read(c, base, in)
	}
	if p.alert != nil && len(p.forms) > 0 {
		p.alert.Page = p.forms[0].id
	}
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func textOf(n *html.Node) string {
	var b strings.Builder
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.TextNode {
			b.WriteString(n.Data)
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
	}
	walk(n)
	return strings.TrimSpace(b.String())
}

func (p *page) form(id string) *form {
	for i := range p.forms {
		if p.forms[i].id == id {
			return &p.forms[i]
		}
	}
	return nil
}

// Target returns the URL that a page at the end of a sign-in leads to by itself,
// through a form, whose fields become the query, or through a script. It returns ""
// for any other page.
func Target(body []byte, base *url.URL) string {
	if !bytes.Contains(body, []byte(`id="hiddenform"`)) && !replaced.Match(body) {
		return ""
	}
	pg, err := readPage(bytes.NewReader(body), base)
	if err != nil {
		return ""
	}
	if len(pg.forms) == 0 {
		return pg.script
	}
	return pg.forms[0].action + "?" + pg.forms[0].fields.Encode()
}
