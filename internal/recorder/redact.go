package recorder

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	maxDepth  = 16
	maxValues = 200 // of one array
	// longText is the length from which on a placeholder says how long the text was:
	// the length of a token or a key matters, that of a name does not.
	longText = 40
)

// A redactor gives texts their placeholders. It is not safe for concurrent use.
type redactor struct {
	*vocabulary
	start time.Time
	seen  map[string]string // the placeholder, by the text in lower case
	texts set               // those that have a placeholder, as they were written
	n     int
}

func newRedactor(start time.Time) *redactor {
	return &redactor{vocabulary: newVocabulary(), start: start, seen: map[string]string{}, texts: set{}}
}

var (
	guid       = regexp.MustCompile(`^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$`)
	mail       = regexp.MustCompile(`^[^\s@/:]+@[^\s@/:]+\.[^\s@/:]+$`)
	domain     = regexp.MustCompile(`^([a-zA-Z0-9_-]{1,63}\.)+[a-zA-Z][a-zA-Z0-9-]{1,62}$`)
	network    = regexp.MustCompile(`^([0-9]{1,3}\.){3}[0-9]{1,3}$|^[0-9a-fA-F]{0,4}(:[0-9a-fA-F]{0,4}){2,7}$`)
	digits     = regexp.MustCompile(`^-?[0-9]{1,20}(\.[0-9]{1,9})?$`)
	aadsts     = regexp.MustCompile(`^AADSTS[0-9]{2,9}`)
	plainName  = regexp.MustCompile(`^(@?odata\.)?[A-Za-z_$-][A-Za-z_#-]{0,39}$`)
	knownName  = regexp.MustCompile(`^(x5t#S256|OAuth2|[a-zA-Z_]*[a-z]_?v?[12](_0)?|x5[tc]|kdf_ver2|P3P|[A-Z][A-Za-z]+OAuth2)$`)
	lineBreaks = strings.NewReplacer("\r", "", "\n", "")
)

// name keeps the name of a field, claim, parameter or header if it consists of letters
// and is not a text that is hidden. Others, such as an address used as a key, become
// placeholders.
func (r *redactor) name(s string) string {
	if r.words[s] || knownName.MatchString(s) || plainName.MatchString(s) && r.seen[strings.ToLower(s)] == "" {
		return s
	}
	return r.placeholder("name", s)
}

// placeholder returns the placeholder of a text, which is the same throughout a run
// and in any case of letters.
func (r *redactor) placeholder(kind, s string) string {
	r.texts[s] = true
	key := strings.ToLower(s)
	if p, ok := r.seen[key]; ok {
		return p
	}
	r.n++
	p := fmt.Sprintf("<%s %d>", kind, r.n)
	if len(s) >= longText && kind != "guid" {
		p = fmt.Sprintf("<%s %d, %d long>", kind, r.n, len(s))
	}
	r.seen[key] = p
	return p
}

// text redacts a text whose form is not known.
func (r *redactor) text(s string) string {
	switch {
	case s == "" || r.words[s]:
		return s
	case guid.MatchString(s):
		return r.placeholder("guid", s)
	case mail.MatchString(s):
		user, at, _ := strings.Cut(s, "@")
		return r.placeholder("user", user) + "@" + r.host(at)
	case aadsts.MatchString(s):
		code := aadsts.FindString(s)
		return code + r.text(strings.TrimPrefix(s, code))
	case strings.Contains(s, "://"):
		if u, ok := r.address(s); ok {
			return u
		}
	case network.MatchString(s):
		return r.placeholder("address", s)
	case len(s) < longText*2 && domain.MatchString(s):
		return r.host(s)
	}
	if len(s) >= longText && !strings.Contains(s, " ") {
		return r.placeholder("opaque", s)
	}
	return r.placeholder("text", s)
}

// host keeps a host of Microsoft's that is the same for all tenants.
func (r *redactor) host(s string) string {
	if name, port, ok := strings.Cut(s, ":"); ok {
		return r.host(name) + ":" + r.text(port)
	}
	if r.words[s] {
		return s
	}
	return r.placeholder("domain", s)
}

// address redacts a URL part by part.
func (r *redactor) address(s string) (string, bool) {
	if strings.ContainsAny(s, " \n\"<>{}") {
		return "", false
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" {
		return "", false
	}
	out := r.scheme(u.Scheme) + "://" + r.host(u.Host) + r.path(u.Path)
	if u.RawQuery != "" {
		out += "?" + r.query(u.RawQuery)
	}
	if u.Fragment != "" {
		out += "#" + r.query(u.Fragment)
	}
	return out, true
}

func (r *redactor) scheme(s string) string {
	switch s {
	case "http", "https", "ms-appx-web", "msauth", "urn", "api":
		return s
	}
	return r.placeholder("name", s)
}

func (r *redactor) path(p string) string {
	parts := strings.Split(p, "/")
	for i, part := range parts {
		parts[i] = r.text(part)
	}
	return strings.Join(parts, "/")
}

// query keeps the order of the parameters.
func (r *redactor) query(raw string) string {
	var out []string
	for part := range strings.SplitSeq(raw, "&") {
		name, value, ok := strings.Cut(part, "=")
		name, e1 := url.QueryUnescape(name)
		value, e2 := url.QueryUnescape(value)
		if e1 != nil || e2 != nil {
			out = append(out, "<malformed>")
			continue
		}
		name = r.name(name)
		if !ok {
			out = append(out, name)
			continue
		}
		text, isText := r.field(name, value, 1).(string)
		if !isText {
			text = r.placeholder("opaque", value)
		}
		out = append(out, name+"="+text)
	}
	return strings.Join(out, "&")
}

// field redacts the text of a field, by the name of the field where that says what
// it is. The result is a text, or a JSON object whose only name tells how the text
// was opened.
func (r *redactor) field(name, s string, depth int) any {
	switch {
	case s == "" || r.words[s]:
		return s
	case r.secrets[name]:
		return "<secret>"
	case r.counts[name] && (digits.MatchString(s)):
		return s
	case r.times[name] && digits.MatchString(s):
		return r.distance(s)
	case depth < maxDepth && !digits.MatchString(s):
		if opened := r.open(s, depth); opened != nil {
			return opened
		}
	}
	if !r.lists[name] {
		return r.text(s)
	}
	words := strings.Split(s, " ")
	for i, w := range words {
		bare := strings.TrimRight(w, ",;")
		words[i] = r.text(bare) + w[len(bare):]
	}
	return strings.Join(words, " ")
}

// distance writes a time as its distance from the start of the run.
func (r *redactor) distance(s string) string {
	seconds, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return "<time>"
	}
	away := seconds - r.start.Unix()
	if away < -400*86400 || away > 40*365*86400 {
		return "<time>" // no time: something else that somebody may know
	}
	return fmt.Sprintf("<time %+d>", away)
}

// open redacts what is inside a text, if it is a JWT, a JWE or JSON, encoded or not.
func (r *redactor) open(s string, depth int) any {
	if parts := strings.Split(s, "."); len(parts) == 3 || len(parts) == 5 {
		header, ok := object(decode(parts[0]))
		if ok && header["alg"] != nil {
			return r.token(header, parts, depth)
		}
	}
	if o, ok := object([]byte(s)); ok {
		return map[string]any{"<json>": r.value("", o, depth+1)}
	}
	if o, ok := object(decode(s)); ok {
		return map[string]any{"<base64url>": r.value("", o, depth+1)}
	}
	return nil
}

func (r *redactor) token(header map[string]any, parts []string, depth int) any {
	if len(parts) == 5 {
		var sizes []any
		for _, p := range parts[1:] {
			sizes = append(sizes, json.Number(strconv.Itoa(len(decode(p)))))
		}
		return map[string]any{"<jwe>": map[string]any{"header": r.value("", header, depth+1), "sizes": sizes}}
	}
	t := map[string]any{"header": r.value("", header, depth+1), "signature": json.Number(strconv.Itoa(len(decode(parts[2]))))}
	if payload, ok := object(decode(parts[1])); ok {
		t["payload"] = r.value("", payload, depth+1)
	} else {
		t["size"] = json.Number(strconv.Itoa(len(decode(parts[1]))))
	}
	return map[string]any{"<jwt>": t}
}

// decode decodes base64url or base64; nil for anything else.
func decode(s string) []byte {
	s = strings.TrimRight(lineBreaks.Replace(s), "=")
	if b, err := base64.RawURLEncoding.DecodeString(s); err == nil {
		return b
	}
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil {
		return nil
	}
	return b
}

// object parses a JSON object, whose numbers stay as they are written.
func object(b []byte) (map[string]any, bool) {
	b = bytes.TrimSpace(b)
	if len(b) < 2 || b[0] != '{' {
		return nil, false
	}
	v, ok := parse(b)
	o, isObject := v.(map[string]any)
	return o, ok && isObject
}

func parse(b []byte) (any, bool) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil || d.More() {
		return nil, false
	}
	return v, true
}

// value redacts JSON. name is that of the field that holds it.
func (r *redactor) value(name string, v any, depth int) any {
	if depth > maxDepth {
		return "<deep>"
	}
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for _, k := range sortedKeys(v) {
			out[r.name(k)] = r.value(k, v[k], depth+1)
		}
		return out
	case []any:
		out := []any{}
		for _, e := range v[:min(len(v), maxValues)] {
			out = append(out, r.value(name, e, depth+1))
		}
		return out
	case string:
		return r.field(name, v, depth)
	case json.Number:
		switch {
		case r.counts[name]:
			return v
		case r.times[name]:
			return map[string]any{"<number>": r.distance(v.String())}
		}
		return map[string]any{"<number>": "any"}
	case bool, nil:
		return v
	}
	return "<unknown>"
}
