package recorder

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxBody is how much of a body is recorded. A longer body is passed on unchanged, and
// only its size is recorded.
const maxBody = 4 << 20

// An Exchange is a request and its reply, without names and secrets.
type Exchange struct {
	Request Request `json:"request"`
	Reply   *Reply  `json:"reply,omitempty"` // nil: none came
}

// A Request is a request as it was sent, redacted.
type Request struct {
	Method  string              `json:"method"`
	URL     string              `json:"url"`
	Headers map[string][]string `json:"headers"`
	Body    *Body               `json:"body,omitempty"`
}

// A Reply is a reply as it was received, redacted.
type Reply struct {
	Status  int                 `json:"status"`
	Headers map[string][]string `json:"headers"`
	Body    *Body               `json:"body,omitempty"`
}

// A Body holds one of JSON, Form and Text, and the size in bytes that it had.
type Body struct {
	Size int            `json:"size"`
	JSON any            `json:"json,omitempty"`
	Form map[string]any `json:"form,omitempty"`
	Text any            `json:"text,omitempty"`
}

// RoundTripper returns a transport that records the exchanges of next.
func (r *Recorder) RoundTripper(next http.RoundTripper) http.RoundTripper {
	return roundTripper{r, next}
}

type roundTripper struct {
	rec  *Recorder
	next http.RoundTripper
}

// RoundTrip implements [http.RoundTripper]. The reply is read whole before it is
// handed on.
func (t roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	var sent []byte
	if req.Body != nil {
		var err error
		if sent, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		_ = req.Body.Close()
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(sent))
	}
	res, err := t.next.RoundTrip(req)
	if err != nil {
		t.rec.exchange(req, sent, nil, nil)
		return nil, err
	}
	head, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		_ = res.Body.Close()
		t.rec.exchange(req, sent, nil, nil)
		return nil, err
	}
	rest := res.Body
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), rest), rest}
	t.rec.exchange(req, sent, res, head)
	return res, nil
}

func (r *Recorder) exchange(req *http.Request, sent []byte, res *http.Response, body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.describe(req, sent)
	if res != nil {
		e.Reply = &Reply{Status: res.StatusCode, Headers: r.red.headers(res.Header), Body: r.red.body(res.Header.Get("Content-Type"), body)}
	}
	r.exchanges = append(r.exchanges, e)
}

// describe needs r.mu.
func (r *Recorder) describe(req *http.Request, sent []byte) Exchange {
	address, ok := r.red.address(req.URL.String())
	if !ok {
		address = r.red.placeholder("opaque", req.URL.String())
	}
	return Exchange{Request: Request{
		Method:  r.red.method(req.Method),
		URL:     address,
		Headers: r.red.headers(req.Header),
		Body:    r.red.body(req.Header.Get("Content-Type"), sent),
	}}
}

func (r *redactor) method(m string) string {
	switch m {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodHead, http.MethodPatch, http.MethodOptions:
		return m
	}
	return r.placeholder("name", m)
}

func (r *redactor) headers(h http.Header) map[string][]string {
	out := map[string][]string{}
	for _, k := range sortedKeys(h) {
		name := r.name(k)
		for _, v := range h[k] {
			out[name] = append(out[name], r.header(k, v))
		}
	}
	return out
}

func (r *redactor) header(name, value string) string {
	switch name {
	case "Date", "Last-Modified", "Expires":
		return "<date>"
	case "Set-Cookie":
		return r.cookie(value)
	case "Authorization":
		scheme, token, _ := strings.Cut(value, " ")
		return strings.TrimSpace(r.text(scheme) + " " + r.text(token))
	}
	text, _ := r.field(name, value, maxDepth).(string) // opens nothing at that depth
	return text
}

// cookie keeps the name of a cookie and those of its attributes.
func (r *redactor) cookie(value string) string {
	var out []string
	for part := range strings.SplitSeq(value, ";") {
		name, text, ok := strings.Cut(strings.TrimSpace(part), "=")
		switch {
		case !ok:
			out = append(out, r.name(name))
		case strings.EqualFold(name, "expires"):
			out = append(out, r.name(name)+"=<date>")
		default:
			out = append(out, r.name(name)+"="+r.text(text))
		}
	}
	return strings.Join(out, "; ")
}

// body redacts a body by what it contains, whatever its Content-Type.
func (r *redactor) body(contentType string, b []byte) *Body {
	if len(b) == 0 {
		return nil
	}
	out := &Body{Size: len(b)}
	if strings.HasPrefix(contentType, "application/x-www-form-urlencoded") {
		form, err := url.ParseQuery(string(b))
		if err == nil {
			out.Form = map[string]any{}
			for _, k := range sortedKeys(form) {
				for _, v := range form[k] {
					out.Form[r.name(k)] = r.field(k, v, 1)
				}
			}
			return out
		}
	}
	if v, ok := parse(b); ok {
		switch v.(type) {
		case map[string]any, []any:
			out.JSON = r.value("", v, 1)
			return out
		}
	}
	text := strings.TrimSpace(string(b))
	if opened := r.open(text, 1); opened != nil {
		out.Text = opened
		return out
	}
	out.Text = r.placeholder("text", text)
	return out
}

func sortedKeys[V any, M ~map[string]V](m M) []string { return slices.Sorted(maps.Keys(m)) }

// pretty writes JSON for people: indented, with < and > unescaped.
func pretty(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}
