package recorder

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Replay serves the replies of a recording, one after the other, to a program that
// repeats what the recorded one did. What a recording cannot contain (tokens, keys,
// names) comes from next, the emulator. Everything else is as recorded: the status, the
// headers, which fields there are, of which type, and the values that were kept. A recorded error is served without asking
// the emulator.
type Replay struct {
	next http.RoundTripper

	mu        sync.Mutex // guards what follows
	exchanges []Exchange
	served    int
}

// NewReplay returns a transport that replays rec over next.
func NewReplay(rec *Recording, next http.RoundTripper) *Replay {
	return &Replay{next: next, exchanges: rec.Exchanges}
}

// Served is how many replies were served.
func (r *Replay) Served() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.served
}

// RoundTrip implements [http.RoundTripper]. It is an error if the request is not the
// one that was recorded next.
func (r *Replay) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
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
	asked := (&Recorder{red: newRedactor(time.Now())}).describe(req, sent)
	if r.served >= len(r.exchanges) {
		return nil, fmt.Errorf("recorder: %s is not in the recording, which has ended", asked.line())
	}
	want := r.exchanges[r.served]
	r.served++
	if asked.line() != want.line() {
		return nil, fmt.Errorf("recorder: %s, where the recording has %s", asked.line(), want.line())
	}
	if want.Reply == nil {
		return nil, fmt.Errorf("recorder: %s got no reply when it was recorded", want.line())
	}
	var live []byte
	if want.Reply.Status < 400 {
		res, err := r.next.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		live, err = io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			return nil, err
		}
		if res.StatusCode >= 400 {
			return nil, fmt.Errorf("recorder: the emulator answers %s with %d, the service with %d", want.line(), res.StatusCode, want.Reply.Status)
		}
	}
	return want.Reply.serve(req, live)
}

func (p *Reply) serve(req *http.Request, live []byte) (*http.Response, error) {
	res := &http.Response{StatusCode: p.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Request: req}
	for name, values := range p.Headers {
		if ignoredHeaders[name] {
			continue
		}
		for _, v := range values {
			res.Header.Add(name, fake(v))
		}
	}
	res.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	body, err := p.Body.render(live)
	if err != nil {
		return nil, err
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return res, nil
}

func (b *Body) render(live []byte) ([]byte, error) {
	switch {
	case b == nil:
		return nil, nil
	case b.JSON != nil:
		v, _ := parse(live)
		return json.Marshal(over("", b.JSON, v))
	}
	if _, text := b.Text.(string); text && live == nil {
		return []byte(fake(b.Text.(string))), nil
	}
	return live, nil
}

// over puts what was recorded over what the emulator answers.
func over(name string, recorded, live any) any {
	switch v := recorded.(type) {
	case map[string]any:
		if len(v) == 1 {
			for kind, inner := range v {
				if strings.HasPrefix(kind, "<") {
					return opened(kind, name, inner, live)
				}
			}
		}
		l, _ := live.(map[string]any)
		out := map[string]any{}
		for k, inner := range v {
			out[k] = over(k, inner, l[k])
		}
		return out
	case []any:
		l, _ := live.([]any)
		out := []any{}
		for i, inner := range v {
			var beside any
			if i < len(l) {
				beside = l[i]
			}
			out = append(out, over(name, inner, beside))
		}
		return out
	case string:
		switch {
		case name == "interval":
			return "1" // nobody waits for a person here
		case !strings.Contains(v, "<"):
			return v
		}
		switch l := live.(type) {
		case string:
			return l
		case json.Number:
			return l.String()
		}
		return fake(v)
	}
	if name == "interval" {
		return json.Number("1")
	}
	return recorded
}

// opened puts back together what the recorder took apart. A JWT of the emulator's
// keeps its signature only where nothing of its claims is changed; an access token
// is opaque to the client, and stays the emulator's.
func opened(kind, name string, recorded, live any) any {
	text, _ := live.(string)
	switch kind {
	case "<number>":
		switch l := live.(type) {
		case json.Number:
			return l
		case string:
			if digits.MatchString(l) {
				return json.Number(l)
			}
		}
		return number(recorded)
	case "<json>", "<base64url>":
		inner, _ := object([]byte(text))
		if kind == "<base64url>" {
			inner, _ = object(decode(text))
		}
		b, err := json.Marshal(over("", recorded, inner))
		if err != nil {
			return text
		}
		if kind == "<json>" {
			return string(b)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	case "<jwt>":
		return token(name, recorded, text)
	}
	if text != "" {
		return text
	}
	return "eyJhbGciOiJkaXIifQ...." // a JWE that nothing opens
}

func token(name string, recorded any, live string) string {
	r, _ := recorded.(map[string]any)
	parts := strings.Split(live, ".")
	if name == "access_token" && len(parts) == 3 {
		return live
	}
	if len(parts) != 3 {
		parts = []string{"", "", ""}
	}
	for i, part := range []string{"header", "payload"} {
		inner, _ := object(decode(parts[i]))
		b, err := json.Marshal(over("", r[part], inner))
		if err == nil && r[part] != nil {
			parts[i] = base64.RawURLEncoding.EncodeToString(b)
		}
	}
	return strings.Join(parts, ".")
}

func number(recorded any) json.Number {
	s, _ := recorded.(string)
	if t, ok := strings.CutPrefix(s, "<time "); ok {
		return json.Number(timeOf(t))
	}
	return "1"
}

func timeOf(s string) string {
	away, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(s, "+"), ">"), 10, 64)
	return strconv.FormatInt(time.Now().Unix()+away, 10)
}

// fake makes a text of what the placeholders in s stand for.
func fake(s string) string {
	var out strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "<")
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		inside, after, ok := strings.Cut(rest, ">")
		if !ok {
			return out.String()
		}
		out.WriteString(fakeOne(inside))
		s = after
	}
}

func fakeOne(placeholder string) string {
	kind, rest, _ := strings.Cut(placeholder, " ")
	index, size, _ := strings.Cut(rest, ", ")
	n, _ := strconv.Atoi(index)
	length, _ := strconv.Atoi(strings.TrimSuffix(size, " long"))
	switch kind {
	case "guid":
		return fmt.Sprintf("00000000-0000-4000-8000-%012d", n)
	case "domain":
		return fmt.Sprintf("domain%d.example", n)
	case "address":
		return "192.0.2.1"
	case "time":
		return timeOf(rest)
	case "date":
		return time.Now().UTC().Format(http.TimeFormat)
	}
	text := fmt.Sprintf("%s%d", kind, n)
	if kind == "text" && length > len(text) {
		text += " " // what has no spaces is opaque
	}
	if length > len(text) {
		text += strings.Repeat("x", length-len(text))
	}
	return text
}
