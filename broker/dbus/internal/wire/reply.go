package wire

import (
	"errors"
	"strings"
)

// An Error is a failure as the interface describes one. MSAL reads status and
// tag, shows context, and drops an error without a tag.
type Error struct {
	Context     string       `json:"context"`
	Diagnostics *Diagnostics `json:"diagnostics"`
	ErrorCode   int64        `json:"errorCode"`
	Status      Status       `json:"status"`
	SubStatus   int64        `json:"subStatus"`
	Tag         int          `json:"tag"`
}

// Diagnostics hold what the service reported. The first two members are those
// of Microsoft's broker 2.0.1.
type Diagnostics struct {
	OAuth         string `json:"raw_error_code"`
	SubError      string `json:"oauth2_sub_error_code"`
	Claims        string `json:"claims,omitempty"`
	CorrelationID string `json:"correlation_id,omitempty"`
}

// NewError returns an error of a status with the text that people read.
func NewError(s Status, context string) *Error {
	return &Error{Context: context, Status: s, Tag: s.Tag()}
}

// An ErrorReply is the reply of every method that fails, except those for
// tokens.
type ErrorReply struct {
	Error *Error `json:"error"`
}

// A Token is brokerTokenResponse. MSAL needs every member but accessToken,
// account and grantedScopes.
type Token struct {
	AccessToken       string  `json:"accessToken"`
	AccessTokenType   int     `json:"accessTokenType"`
	Account           Account `json:"account"` // the OneDrive client needs it
	ClientInfo        string  `json:"clientInfo"`
	ExpiresOn         int64   `json:"expiresOn"`         // milliseconds of the Unix time
	ExtendedExpiresOn int64   `json:"extendedExpiresOn"` // the same
	GrantedScopes     string  `json:"grantedScopes"`
	IDToken           string  `json:"idToken"`
}

type tokenReply struct {
	Token     *Token    `json:"brokerTokenResponse"`
	Telemetry telemetry `json:"telemetry"`
}

type telemetry struct{}

type tokenError struct {
	Failure   tokenFailure `json:"brokerTokenResponse"`
	Telemetry telemetry    `json:"telemetry"`
}

type tokenFailure struct {
	Error    *Error `json:"error"`
	SubError string `json:"subError"`
}

// A Cookie is a reply with a cookie in both shapes: that of Microsoft's broker
// up to 2.0.1, and that of later ones.
type Cookie struct {
	Account Account      `json:"account"`
	Name    string       `json:"cookieName"`
	Content string       `json:"cookieContent"`
	Items   []CookieItem `json:"cookieItems"`
}

// A CookieItem is one cookie.
type CookieItem struct {
	Name    string `json:"cookieName"`
	Content string `json:"cookieContent"`
}

type accountsReply struct {
	Accounts []Account `json:"accounts"`
}

type versionReply struct {
	Version string `json:"linuxBrokerVersion"`
}

type signedReply struct {
	Signed string `json:"signedHttpRequest"`
}

// Empty is the reply of removeAccount and cancelInteractiveFlow.
const Empty = "{}"

// Replies.

func reply(v any) string {
	s, err := marshal(v)
	if err != nil { // strings and numbers always marshal
		return `{"error":{"context":"the reply could not be written","diagnostics":null,"errorCode":0,"status":0,"subStatus":0,"tag":1}}`
	}
	return s
}

// TokenReply writes a token.
func TokenReply(t *Token) string { return reply(tokenReply{Token: t}) }

// AccountsReply writes accounts.
func AccountsReply(a []Account) string {
	if a == nil {
		a = []Account{}
	}
	return reply(accountsReply{a})
}

// CookieReply writes a cookie.
func CookieReply(c Cookie) string { return reply(c) }

// VersionReply writes the broker's version.
func VersionReply(v string) string { return reply(versionReply{v}) }

// SignedReply writes a signed request.
func SignedReply(s string) string { return reply(signedReply{s}) }

// Fail writes an error of a method.
func Fail(method string, e *Error) string {
	if method != AcquireSilently && method != AcquireInteractive {
		return reply(ErrorReply{e})
	}
	f := tokenFailure{Error: e}
	if e.Diagnostics != nil {
		f.SubError = e.Diagnostics.SubError
	}
	return reply(tokenError{Failure: f})
}

// A Reply is the reply of any broker to any method, as a client reads it.
type Reply struct {
	Error    *Error // nil: none
	Token    *Token // nil: none
	Accounts []Account
	Cookies  []CookieItem
	Version  string
	Signed   string
}

var errReply = errors.New("the reply has neither a result nor an error")

// ParseReply reads the reply of a method.
func ParseReply(method, data string) (*Reply, error) {
	root, err := parse(data, MaxReply)
	if err != nil {
		return nil, err
	}
	r := &Reply{Error: failure(root.object("error"), "")}
	if r.Error != nil {
		return r, nil
	}
	switch method {
	case GetAccounts:
		for _, o := range root.objects("accounts") {
			if a := account(o); !a.IsZero() {
				r.Accounts = append(r.Accounts, a)
			}
		}
	case GetVersion:
		r.Version = root.text("linuxBrokerVersion")
	case SignHTTPRequest:
		if r.Signed = root.text("signedHttpRequest"); r.Signed == "" {
			return nil, errReply
		}
	case AcquireCookie:
		r.Cookies = cookies(root)
		if r.Cookies == nil {
			return nil, errReply
		}
	case AcquireSilently, AcquireInteractive:
		return r, r.readToken(root.object("brokerTokenResponse"))
	}
	return r, nil
}

func (r *Reply) readToken(o *object) error {
	if r.Error = failure(o.object("error"), o.text("subError")); r.Error != nil {
		return nil
	}
	t := &Token{
		AccessToken:   o.text("accessToken"),
		Account:       account(o.object("account")),
		ClientInfo:    o.text("clientInfo"),
		GrantedScopes: o.text("grantedScopes"),
		IDToken:       o.text("idToken"),
	}
	if t.AccessToken == "" {
		return errReply
	}
	kind, _ := o.number("accessTokenType")
	t.AccessTokenType = int(kind)
	t.ExpiresOn, _ = o.number("expiresOn")
	t.ExtendedExpiresOn, _ = o.number("extendedExpiresOn")
	r.Token = t
	return nil
}

func cookies(root *object) (out []CookieItem) {
	for _, o := range root.objects("cookieItems") {
		if c := (CookieItem{o.text("cookieName"), o.text("cookieContent")}); c.Name != "" && c.Content != "" {
			out = append(out, c)
		}
	}
	if c := (CookieItem{root.text("cookieName"), root.text("cookieContent")}); out == nil && c.Name != "" && c.Content != "" {
		out = append(out, c)
	}
	return out
}

func failure(o *object, subError string) *Error {
	if o == nil {
		return nil
	}
	e := &Error{Context: o.text("context")}
	if n, ok := o.number("status"); ok {
		e.Status = Status(n)
	} else {
		e.Status = statusWords[strings.ToUpper(o.text("status"))]
	}
	e.SubStatus, _ = o.number("subStatus")
	e.ErrorCode, _ = o.number("errorCode")
	tag, _ := o.number("tag")
	e.Tag = int(tag)
	if d := o.object("diagnostics"); d != nil || subError != "" {
		e.Diagnostics = &Diagnostics{
			OAuth: d.text("raw_error_code"), SubError: d.text("oauth2_sub_error_code"),
			Claims: d.text("claims"), CorrelationID: d.text("correlation_id"),
		}
		if e.Diagnostics.SubError == "" {
			e.Diagnostics.SubError = subError
		}
	}
	return e
}
