package webflow

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// ResourceRegistration is the device registration service, for
// [Options].Resource.
const ResourceRegistration = wire.ResourceRegistrationApp

// Options say who signs in, and for what. Tenant and Username are required.
// Formatting Options does not reveal the password.
type Options struct {
	// Tenant is the tenant's id or one of its domains.
	Tenant string
	// Username is the user's name (UPN).
	Username string
	// Password is sent once. Empty: the service reports which methods the user
	// has, and the first challenge asks for one of them, which may begin by making
	// the user's phone ask for approval.
	Password string

	// MFA requests fresh MFA, which a PRT made from the result then carries.
	// False: only what the tenant's policies require.
	MFA bool

	// ClientID is the client that signs in. Empty: the broker client, the only one
	// whose refresh token can become a PRT. RedirectURI is the client's redirect
	// URI and is required with a ClientID.
	ClientID, RedirectURI string
	// Resource is what the token is for (v1 endpoint). Empty, without Scopes: the
	// resource that makes the refresh token suitable for a PRT.
	Resource string
	// Scopes, if not nil, are asked for at the v2 endpoint in place of Resource.
	Scopes []string
	// Claims is a claims request, as JSON. Empty: none.
	Claims string

	// Cloud is the national cloud. The zero value is the public cloud.
	Cloud broker.Cloud
	// Transport sends requests. Nil: a client over a copy of
	// http.DefaultTransport. It must not follow redirects; an *http.Client is
	// used without its CheckRedirect and Jar.
	Transport broker.Transport
	// UserAgent is sent with every request. Empty: a Firefox on Linux, which is
	// what the service offers security keys to.
	UserAgent string
	// Credentials returns cookies that identify the device, and perhaps the user,
	// to the page at which the sign-in begins: [broker.Broker.SSOCookies] for the
	// given address. They are sent only to sign-in hosts. Nil: the device is not
	// identified.
	Credentials func(ctx context.Context, signInURL string) ([]*http.Cookie, error)

	// Record is a directory to which the shape of each page is written, one file
	// per page: the names and types of its fields, and no values except page ids
	// and AADSTS numbers. Empty: the directory in the environment variable
	// WEBFLOW_RECORD. If that is empty too, nothing is recorded.
	Record string

	// Wait waits between two polls. Nil: by a timer.
	Wait func(context.Context, time.Duration) error
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Format implements [fmt.Formatter] without revealing the password.
func (o Options) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "Options{Tenant: %q, Username: %q, Password: %s}", o.Tenant, o.Username, redacted)
}

// LogValue implements [slog.LogValuer] without revealing the password.
func (o Options) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(o)) }

func (o Options) check() error {
	switch {
	case o.Tenant == "":
		return failed("Options.Tenant is required: a tenant id or a verified domain")
	case o.Username == "":
		return failed("Options.Username is required")
	case o.ClientID != "" && o.RedirectURI == "":
		return failed("Options.RedirectURI is required with a ClientID")
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.ClientID == "" {
		o.ClientID, o.RedirectURI = wire.ClientBroker, cmp.Or(o.RedirectURI, wire.RedirectBrokerDRS)
	}
	if o.Resource == "" && o.Scopes == nil {
		o.Resource = wire.ResourceUpdatePRT
	}
	if o.Cloud.LoginHost == "" {
		o.Cloud = broker.CloudPublic
	}
	o.UserAgent = cmp.Or(o.UserAgent, userAgent)
	o.Record = cmp.Or(o.Record, os.Getenv("WEBFLOW_RECORD"))
	if o.Wait == nil {
		o.Wait = wait
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hosts are the sign-in hosts of the cloud.
func hosts(c broker.Cloud) []string {
	out := []string{strings.ToLower(c.LoginHost)}
	for _, a := range c.Aliases {
		out = append(out, strings.ToLower(a))
	}
	return slices.Compact(out)
}

// A request is an authorization request with PKCE (RFC 7636), and what is needed
// to redeem its code.
type request struct {
	Tenant, ClientID, Redirect, Resource, Scope, Claims, Hint string
	MFA                                                       bool
	Verifier, State                                           string
}

func newRequest(o Options) *request {
	q := &request{Tenant: o.Tenant, ClientID: o.ClientID, Redirect: o.RedirectURI, Resource: o.Resource, Claims: o.Claims,
		Hint: o.Username, MFA: o.MFA, Verifier: random(), State: random()}
	q.Scope = wire.ScopeOpen
	if o.Scopes != nil {
		q.Resource, q.Scope = "", strings.Join(o.Scopes, " ")
	}
	return q
}

// random is 32 random bytes as base64url.
func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func (q *request) url(c broker.Cloud) *url.URL {
	sum := sha256.Sum256([]byte(q.Verifier))
	v := url.Values{
		"client_id":             {q.ClientID},
		"response_type":         {"code"},
		"redirect_uri":          {q.Redirect},
		"response_mode":         {"query"},
		"state":                 {q.State},
		"scope":                 {q.Scope},
		"login_hint":            {q.Hint},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(sum[:])},
		"code_challenge_method": {"S256"},
	}
	path := wire.PathAuthorizeV2
	if q.Resource != "" {
		path = wire.PathAuthorize
		v.Set("resource", q.Resource)
	}
	if q.Claims != "" {
		v.Set("claims", q.Claims)
	}
	if q.MFA && q.Resource != "" {
		v.Set("amr_values", "ngcmfa")
	} else if q.MFA && q.Claims == "" {
		v.Set("claims", `{"access_token":{"amr":{"essential":true,"values":["ngcmfa"]}}}`)
	}
	return &url.URL{Scheme: "https", Host: c.LoginHost, Path: "/" + q.Tenant + path, RawQuery: v.Encode()}
}

// Tokens are the result of a sign-in. Formatting them does not reveal the tokens.
type Tokens struct {
	// RefreshToken is the refresh token of the client. That of the broker client
	// can become a PRT: see [Tokens.Credential].
	RefreshToken string
	// AccessToken is for Options.Resource or Options.Scopes. It may be empty.
	AccessToken string
	// IDToken is the raw JWT, or empty if the service sent none.
	IDToken string
	// ExpiresOn is when AccessToken expires.
	ExpiresOn time.Time
}

// Credential returns the refresh token for [broker.Broker.SignIn] and Enroll. It
// belongs to the broker client only if Options.ClientID was empty.
func (t Tokens) Credential() broker.RefreshToken { return broker.RefreshToken{Token: t.RefreshToken} }

// Format implements [fmt.Formatter] without revealing the tokens.
func (Tokens) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "Tokens{"+redacted+"}") }

// LogValue implements [slog.LogValuer] without revealing the tokens.
func (Tokens) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler] without revealing the tokens.
func (Tokens) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// redeem takes the code from the address at which the sign-in ended and gets the
// tokens. It sends the code once.
func (f *Flow) redeem(ctx context.Context, redirected string) (*Tokens, error) {
	q := f.at.Request
	code, err := codeOf(redirected, q.State)
	if err != nil {
		return nil, err
	}
	form := url.Values{
		"grant_type": {wire.GrantAuthCode}, "client_id": {q.ClientID}, "code": {code}, "redirect_uri": {q.Redirect},
		"code_verifier": {q.Verifier}, "client_info": {"1"}, "scope": {q.Scope},
	}
	path := wire.PathTokenV2
	if q.Resource != "" {
		path = wire.PathToken
		form.Set("resource", q.Resource)
	}
	to := &url.URL{Scheme: "https", Host: f.at.Login, Path: "/" + q.Tenant + path}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}
	r, location, err := f.web.send(ctx, http.MethodPost, to, header, []byte(form.Encode()))
	if err != nil {
		return nil, err
	}
	if location != "" || r.status != http.StatusOK {
		e := prt.ParseError(r.status, r.body)
		for _, n := range e.Codes {
			return nil, broker.ErrorOf("redeem the code", n)
		}
		return nil, failed(fmt.Sprintf("the token endpoint refuses the code (HTTP %d)", r.status), broker.ErrInteractionRequired)
	}
	t, err := prt.ParseTokens(r.body)
	if err != nil || t.RefreshToken.IsZero() && t.AccessToken.IsZero() {
		return nil, failed("the reply of the token endpoint has no tokens")
	}
	return &Tokens{RefreshToken: t.RefreshToken.Reveal(), AccessToken: t.AccessToken.Reveal(), IDToken: t.IDToken.Reveal(), ExpiresOn: t.Expiry(f.now())}, nil
}

// codeOf returns the code from a redirect, which must answer this request.
func codeOf(redirected, state string) (string, error) {
	u, err := url.Parse(redirected)
	if err != nil {
		return "", failed("the address that the page redirected to is malformed", ErrPage)
	}
	q := u.Query()
	switch {
	case q.Get("state") != state:
		return "", failed("the answer of the page belongs to another request (state)")
	case q.Get("error") != "":
		return "", redirectError(q)
	case q.Get("code") == "":
		return "", failed("the page gave no code", ErrPage)
	}
	return q.Get("code"), nil
}
