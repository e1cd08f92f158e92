package claims

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Limits of a WWW-Authenticate header, in bytes and challenges.
const (
	maxHeader     = 64 << 10
	maxChallenges = 32
	maxParams     = 64
)

// ErrChallenge is wrapped by the errors of [ParseChallenges].
var ErrChallenge = errors.New("malformed challenge")

// A Challenge is one challenge of a WWW-Authenticate header (RFC 9110 11.6.1).
type Challenge struct {
	// Scheme is as sent, such as Bearer or PoP; it compares without case.
	Scheme string
	// Token is the token68 of schemes that have one instead of parameters.
	Token string
	// Params are the parameters, names in lower case. If a parameter is
	// repeated, the first one counts.
	Params map[string]string
}

// ParseChallenges reads the WWW-Authenticate headers of a reply, each of which
// may hold several challenges. Quotes around values may be missing, as some
// Microsoft resources send them.
func ParseChallenges(headers ...string) ([]Challenge, error) {
	var out []Challenge
	for _, h := range headers {
		if len(h) > maxHeader {
			return nil, fmt.Errorf("claims: %w: header too large", ErrChallenge)
		}
		p := challengeParser{s: h}
		cs, err := p.challenges()
		if err != nil {
			return nil, fmt.Errorf("claims: %w: %s", ErrChallenge, err.Error())
		}
		out = append(out, cs...)
	}
	return out, nil
}

// FindClaims returns the claims challenge among the headers of a 401 reply, as
// the JSON that goes into the claims parameter of the next request. Without a
// challenge it returns nil and no error. Only Bearer and PoP challenges are
// considered.
func FindClaims(headers ...string) (*Request, error) {
	cs, err := ParseChallenges(headers...)
	if err != nil {
		return nil, err
	}
	for _, c := range cs {
		if !strings.EqualFold(c.Scheme, "Bearer") && !strings.EqualFold(c.Scheme, "PoP") {
			continue
		}
		if r, err := c.Claims(); r != nil || err != nil {
			return r, err
		}
	}
	return nil, nil
}

// Insufficient reports error="insufficient_claims".
func (c Challenge) Insufficient() bool { return c.Params["error"] == "insufficient_claims" }

// Claims decodes the claims parameter, which is base64 or base64url of JSON,
// padded or not, or the JSON itself. Without the parameter it returns nil and
// no error.
func (c Challenge) Claims() (*Request, error) {
	v := c.Params["claims"]
	if v == "" {
		return nil, nil
	}
	if strings.HasPrefix(strings.TrimSpace(v), "{") {
		return ParseRequest(v)
	}
	b, err := decodeAny(v)
	if err != nil {
		return nil, fmt.Errorf("claims: %w: claims is not base64", ErrChallenge)
	}
	return ParseRequest(string(b))
}

func decodeAny(s string) ([]byte, error) {
	s = strings.TrimRight(s, "=")
	s = strings.NewReplacer("-", "+", "_", "/").Replace(s)
	return base64.RawStdEncoding.DecodeString(s)
}

type challengeParser struct {
	s   string
	pos int
}

var (
	errScheme = errors.New("expected a scheme")
	errQuote  = errors.New("unterminated quoted string")
	errMany   = errors.New("too many challenges or parameters")
)

// challenges reads: [scheme [token68 / param *("," param)]] separated by
// commas, where empty list elements are allowed.
func (p *challengeParser) challenges() (out []Challenge, err error) {
	for {
		p.skip(" \t,")
		if p.pos == len(p.s) {
			return out, nil
		}
		scheme := p.token()
		if scheme == "" {
			return nil, errScheme
		}
		if len(out) == maxChallenges {
			return nil, errMany
		}
		c := Challenge{Scheme: scheme, Params: map[string]string{}}
		if err := p.params(&c); err != nil {
			return nil, err
		}
		out = append(out, c)
	}
}

// params reads up to the next scheme: a token that no "=" follows.
func (p *challengeParser) params(c *Challenge) error {
	if p.skip(" \t"); p.token68(c) {
		return nil
	}
	for {
		p.skip(" \t,")
		start := p.pos
		name := p.token()
		p.skip(" \t")
		if name == "" || p.pos == len(p.s) || p.s[p.pos] != '=' {
			p.pos = start // of a scheme, or of nothing that can be one
			return nil
		}
		p.pos++
		p.skip(" \t")
		value, err := p.value()
		if err != nil {
			return err
		}
		if len(c.Params) == maxParams {
			return errMany
		}
		if name = strings.ToLower(name); !has(c.Params, name) {
			c.Params[name] = value
		}
	}
}

func has(m map[string]string, k string) bool { _, ok := m[k]; return ok }

// token68 takes what stands between the scheme and the next comma if it can
// only be a token68.
func (p *challengeParser) token68(c *Challenge) bool {
	rest, _, _ := strings.Cut(p.s[p.pos:], ",")
	word := strings.TrimRight(rest, " \t")
	body := strings.TrimRight(word, "=")
	if body == "" || strings.ContainsFunc(body, func(r rune) bool { return !isToken68(r) }) {
		return false
	}
	c.Token = word
	p.pos += len(rest)
	return true
}

func isToken68(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
		strings.ContainsRune("-._~+/", r)
}

// isToken is tchar of RFC 9110 5.6.2.
func isToken(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func (p *challengeParser) skip(chars string) {
	for p.pos < len(p.s) && strings.IndexByte(chars, p.s[p.pos]) >= 0 {
		p.pos++
	}
}

func (p *challengeParser) token() string {
	start := p.pos
	for p.pos < len(p.s) && isToken(p.s[p.pos]) {
		p.pos++
	}
	return p.s[start:p.pos]
}

func (p *challengeParser) value() (string, error) {
	if p.pos < len(p.s) && p.s[p.pos] == '"' {
		return p.quoted()
	}
	start := p.pos
	for p.pos < len(p.s) && strings.IndexByte(", \t", p.s[p.pos]) < 0 {
		p.pos++
	}
	return p.s[start:p.pos], nil
}

func (p *challengeParser) quoted() (string, error) {
	var b strings.Builder
	for p.pos++; p.pos < len(p.s); p.pos++ {
		switch c := p.s[p.pos]; c {
		case '"':
			p.pos++
			return b.String(), nil
		case '\\':
			if p.pos++; p.pos == len(p.s) {
				return "", errQuote
			}
			b.WriteByte(p.s[p.pos])
		default:
			b.WriteByte(c)
		}
	}
	return "", errQuote
}
