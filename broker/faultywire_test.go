package broker_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/prtbroker/prtbroker/broker"
)

// A faultyWire disturbs one request of those that pass while it is armed, or all
// from that one on.
type faultyWire struct {
	fault   *httpFault // nil: none
	at      int        // the request that the fault happens to, counted from 0
	lasting bool

	mu     sync.Mutex // guards what follows
	armed  bool
	n      int
	calls  []string       // method and address of each request
	once   map[string]int // how often what must not be sent twice was sent
	jumped time.Duration
}

func (f *faultyWire) arm(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed, f.jumped = on, 0
}

func (f *faultyWire) off() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.jumped
}

// next counts a request, and returns the fault that happens to it.
func (f *faultyWire) next(r *http.Request, body []byte) *httpFault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.armed {
		return nil
	}
	f.calls = append(f.calls, callOf(r))
	n := f.n
	f.n++
	hit := f.fault
	if f.fault != nil && n != f.at && !(f.lasting && n > f.at) {
		hit = nil
	}
	if hit != nil && hit.jump != 0 {
		f.jumped, hit = hit.jump, nil
	}
	if what := onlyOnce(r, body); what != "" && (hit == nil || hit.dial == nil && !hit.unread) {
		if f.once == nil {
			f.once = map[string]int{}
		}
		f.once[what]++
	}
	return hit
}

func callOf(r *http.Request) string {
	return r.Method + " https://" + r.URL.Host + masked(r.URL.Path)
}

// onlyOnce names what must not be sent twice, if a request has it.
func onlyOnce(r *http.Request, body []byte) string {
	switch {
	case strings.HasPrefix(r.URL.Path, "/EnrollmentServer/device") && r.Method != http.MethodDelete:
		return "a registration"
	case strings.HasPrefix(r.URL.Path, "/EnrollmentServer/key") && r.Method == http.MethodPost:
		return "a Hello key"
	case strings.HasSuffix(r.URL.Path, "/usernamemixed"):
		return "a password for the federation server"
	case !strings.HasSuffix(r.URL.Path, "/token"):
		return ""
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return ""
	}
	var signed struct {
		GrantType string `json:"grant_type"`
	}
	if part := strings.Split(form.Get("request"), "."); len(part) == 3 {
		raw, _ := base64.RawURLEncoding.DecodeString(part[1])
		_ = json.Unmarshal(raw, &signed)
	}
	switch grant := form.Get("grant_type"); {
	case grant == "authorization_code":
		return "the code " + form.Get("code")
	case grant == "password" || signed.GrantType == "password":
		return "a password"
	case strings.Contains(signed.GrantType, "saml"):
		return "an assertion"
	}
	return ""
}

type faultyTransport struct {
	f     *faultyWire
	inner broker.Transport
}

func (t faultyTransport) Do(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	hit := t.f.next(r, body)
	if hit == nil {
		return t.inner.Do(r)
	}
	return hit.do(r, func() *http.Response {
		again := r.Clone(context.WithoutCancel(r.Context()))
		again.Body = io.NopCloser(bytes.NewReader(body))
		res, err := t.inner.Do(again)
		if err != nil {
			panic(err) // the emulator always answers
		}
		return res
	})
}
