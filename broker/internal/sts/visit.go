package sts

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// A Visit is what the authorize page is asked for.
type Visit struct {
	Tenant    string
	Path      string // of the authorize endpoint; v1 or v2
	TokenPath string // where the code is redeemed
	ClientID  string
	Redirect  string
	Resource  string // v1
	Scope     string
	LoginHint string
	Claims    string
	BoundTo   string // req_cnf: the key that the token is bound to; empty: a bearer token
	MFA       bool   // v1: amr_values=ngcmfa
	Again     bool   // prompt=login: not with the browser's session
	Silent    bool   // prompt=none: no page
}

// A Page is a visit that has begun, by the authorization code flow with PKCE
// (RFC 7636): where the user goes, and what has to come back.
type Page struct {
	// URL is the address of the page.
	URL string

	c               *Client
	at              *place
	visit           Visit
	verifier, state string
}

// ErrMoved means that the tenant is in another cloud than the page: the visit
// must be begun again.
var ErrMoved = errors.New("the tenant is in another cloud")

// Visit begins a visit to the authorize page.
func (c *Client) Visit(ctx context.Context, v Visit) (*Page, error) {
	if err := c.Verify(ctx); err != nil {
		return nil, err // the user would type a password there
	}
	p := &Page{c: c, visit: v, at: c.place.Load()}
	var err error
	if p.verifier, err = c.random(); err != nil {
		return nil, err
	}
	if p.state, err = c.random(); err != nil {
		return nil, err
	}
	p.URL = p.at.Login(v.Tenant, v.Path) + "?" + v.query(p.verifier, p.state).Encode()
	return p, nil
}

// Redeem takes the address that the page redirected to and gets the tokens. It
// returns [ErrMoved] when the visit is to be begun again.
func (p *Page) Redeem(ctx context.Context, redirected string) (*prt.Reply, error) {
	code, err := authorizeReply(redirected, p.visit.Redirect, p.state)
	var e *Error
	if errors.As(err, &e) && e.Said && e.Verdict == aadsts.SwitchCloud && p.c.moveTo(p.at, e.description) {
		return nil, ErrMoved
	}
	if err != nil {
		return nil, err
	}
	return p.c.Grant(ctx, p.visit.Tenant, p.visit.TokenPath, p.visit.redemption(code, p.verifier))
}

// Open asks for a page with an account's cookie in place of a browser. redirect
// is the address at which a visit ends.
func (c *Client) Open(ctx context.Context, address, redirect string, cookie prt.Cookie, account string) (*Reply, error) {
	return c.Do(ctx, Request{Method: http.MethodGet, URL: address, Credential: cookie, Endpoint: SignInPage, From: From{Account: account}, redirect: redirect})
}

func (v Visit) query(verifier, state string) url.Values {
	challenge := sha256.Sum256([]byte(verifier))
	q := url.Values{
		"client_id":             {v.ClientID},
		"response_type":         {"code"},
		"redirect_uri":          {v.Redirect},
		"response_mode":         {"query"},
		"state":                 {state},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(challenge[:])},
		"code_challenge_method": {"S256"},
	}
	for name, value := range map[string]string{
		"resource": v.Resource, "scope": v.Scope, "login_hint": v.LoginHint, "claims": v.Claims,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if v.MFA {
		q.Set("amr_values", "ngcmfa")
	}
	switch {
	case v.Again:
		q.Set("prompt", "login")
	case v.Silent:
		q.Set("prompt", "none")
	}
	return q
}

func (v Visit) redemption(code, verifier string) url.Values {
	form := url.Values{
		"grant_type":    {wire.GrantAuthCode},
		"client_id":     {v.ClientID},
		"code":          {code},
		"redirect_uri":  {v.Redirect},
		"code_verifier": {verifier},
	}
	if v.Resource != "" {
		form.Set("resource", v.Resource)
	}
	if v.Scope != "" {
		form.Set("scope", v.Scope)
	}
	if v.Claims != "" { // at both endpoints, as MSAL does: they also say what the app can handle
		form.Set("claims", v.Claims)
	}
	Bind(form, v.BoundTo)
	return form
}

// Bind asks, in a token request of any grant, for a token that is bound to a key;
// confirmation names the key (req_cnf). Empty: a bearer token.
func Bind(form url.Values, confirmation string) {
	if confirmation == "" {
		return
	}
	form.Set("token_type", "pop")
	form.Set("req_cnf", confirmation)
}

// maxRedirect bounds the address that a Prompter brings back, in bytes.
const maxRedirect = 64 << 10

// authorizeReply takes the code out of the address that the page redirected
// to, after checking that it answers this very request.
func authorizeReply(redirected, prefix, state string) (string, error) {
	bad := func(detail string) error { return &Error{Detail: detail} }
	if len(redirected) > maxRedirect || !hasPrefixFold(redirected, prefix) {
		return "", bad("the sign-in page ended at another address than the redirect URI")
	}
	u, err := url.Parse(redirected)
	if err != nil {
		return "", bad("the address that the sign-in page redirected to is malformed")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", bad("the address that the sign-in page redirected to is malformed")
	}
	if subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(state)) != 1 {
		return "", bad("the answer of the sign-in page belongs to another request (state)")
	}
	if q.Get("error") != "" {
		return "", redirectError(q)
	}
	if q.Get("code") == "" {
		return "", bad("the sign-in page gave no code")
	}
	return q.Get("code"), nil
}

var aadstsPattern = regexp.MustCompile(`^AADSTS(\d{1,9})\b`)

// redirectError reads the error that a redirect carries in its query.
func redirectError(q url.Values) error {
	e := &prt.ErrorReply{Code: q.Get("error"), Suberror: q.Get("error_subcode"), Claims: q.Get("claims"), Description: q.Get("error_description")}
	if n := aadstsPattern.FindStringSubmatch(e.Description); n != nil {
		code, _ := strconv.Atoi(n[1])
		e.Codes = []int{code}
	}
	err := refusal(e, &Reply{}, ByUser)
	if e.Suberror == "cancel" || len(e.Codes) == 0 && e.Code == "access_denied" {
		err.Verdict, err.Detail = aadsts.Declined, "canceled by the user"
	}
	return err
}

// random returns 32 random bytes as base64url: a PKCE verifier or a state.
func (c *Client) random() (string, error) {
	var buf [32]byte
	if _, err := io.ReadFull(c.cfg.Rand, buf[:]); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(buf[:]), nil
}
