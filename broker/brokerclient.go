package broker

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"io"
	"net/url"
	"strings"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// The Microsoft Authentication Broker client signs the user in: only its
// refresh tokens become PRTs, and MFA that was done for another client does
// not reach one. Its redirects are none of this machine's own, so the app that
// embeds the broker brings them back (Prompter.Authorize).

// An authorization is a visit to the authorize page.
type authorization struct {
	op        string
	tenant    string
	path      string // of the authorize endpoint; v1 or v2
	tokenPath string
	clientID  string
	redirect  string
	resource  string // v1
	scope     string
	loginHint string
	claims    string
	mfa       bool // v1: amr_values=ngcmfa
	again     bool // prompt=login: not by a session of the browser
	silent    bool // prompt=none: no page
}

// byAuthCode signs in at the authorize page for the broker client.
func (b *Broker) byAuthCode(ctx context.Context, op, resource string, c AuthCode) (*brokerToken, error) {
	return b.authorize(ctx, authorization{
		op:        op,
		tenant:    b.cfg.Tenant,
		path:      wire.PathAuthorize,
		tokenPath: wire.PathToken,
		clientID:  wire.ClientBroker,
		redirect:  wire.RedirectBrokerDRS,
		resource:  resource,
		scope:     wire.ScopeOpen,
		loginHint: c.LoginHint,
		mfa:       c.MFA,
		again:     c.again,
	})
}

// authorize runs the authorization code flow with PKCE (RFC 7636).
func (b *Broker) authorize(ctx context.Context, a authorization) (*prt.Reply, error) {
	if b.cfg.Prompter == nil {
		return nil, &Error{Op: a.op, kind: ErrInteractionRequired, detail: "the user is needed, and Config.Prompter is nil"}
	}
	if err := b.verifyCloud(ctx); err != nil {
		return nil, opError(a.op, err) // the user would type a password there
	}
	verifier, err := b.random()
	if err != nil {
		return nil, err
	}
	state, err := b.random()
	if err != nil {
		return nil, err
	}
	at := b.place.Load()
	page := at.login(a.tenant, a.path) + "?" + a.query(verifier, state).Encode()
	redirected, err := prompt(ctx, func() (string, error) { return b.cfg.Prompter.Authorize(ctx, page, a.redirect) })
	if err != nil {
		return nil, opError(a.op, err)
	}
	code, err := b.authorizeReply(a.op, redirected, a.redirect, state)
	if action(err) == aadsts.SwitchCloud && b.moveTo(at, redirectDescription(redirected)) {
		return b.authorize(ctx, a)
	}
	if err != nil {
		return nil, err
	}
	return b.grant(ctx, a.op, a.tenant, a.tokenPath, a.redemption(code, verifier))
}

func (a authorization) query(verifier, state string) url.Values {
	challenge := sha256.Sum256([]byte(verifier))
	q := url.Values{
		"client_id":             {a.clientID},
		"response_type":         {"code"},
		"redirect_uri":          {a.redirect},
		"response_mode":         {"query"},
		"state":                 {state},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(challenge[:])},
		"code_challenge_method": {"S256"},
	}
	for name, v := range map[string]string{
		"resource": a.resource, "scope": a.scope, "login_hint": a.loginHint, "claims": a.claims,
	} {
		if v != "" {
			q.Set(name, v)
		}
	}
	if a.mfa {
		q.Set("amr_values", "ngcmfa")
	}
	switch {
	case a.again:
		q.Set("prompt", "login")
	case a.silent:
		q.Set("prompt", "none")
	}
	return q
}

func (a authorization) redemption(code, verifier string) url.Values {
	v := url.Values{
		"grant_type":    {wire.GrantAuthCode},
		"client_id":     {a.clientID},
		"code":          {code},
		"redirect_uri":  {a.redirect},
		"code_verifier": {verifier},
	}
	if a.resource != "" {
		v.Set("resource", a.resource)
	}
	if a.scope != "" {
		v.Set("scope", a.scope)
	}
	return v
}

// maxRedirect bounds the address that a Prompter brings back, in bytes.
const maxRedirect = 64 << 10

// authorizeReply takes the code out of the address that the page redirected
// to, after checking that it answers this very request.
func (b *Broker) authorizeReply(op, redirected, prefix, state string) (string, error) {
	bad := func(detail string) error { return &Error{Op: op, detail: detail} }
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
		return "", b.redirectError(op, q)
	}
	if q.Get("code") == "" {
		return "", bad("the sign-in page gave no code")
	}
	return q.Get("code"), nil
}

func redirectDescription(redirected string) string {
	u, err := url.Parse(redirected)
	if err != nil {
		return ""
	}
	return u.Query().Get("error_description")
}

// redirectError reads the error that a redirect carries in its query.
func (b *Broker) redirectError(op string, q url.Values) error {
	e := &prt.ErrorReply{Code: q.Get("error"), Suberror: q.Get("error_subcode"), Claims: q.Get("claims")}
	if n := aadstsPattern.FindStringSubmatch(q.Get("error_description")); n != nil {
		e.Codes = []int{atoi(n[1])}
	}
	err := serviceError(op, e, &reply{status: 0}, grantUser, b.cfg.Now())
	if e.Suberror == "cancel" || len(e.Codes) == 0 && e.Code == "access_denied" {
		err.kind = ErrUserCanceled
		err.detail = "canceled by the user"
	}
	return err
}

// hasPrefixFold compares as browsers may rewrite: scheme and host in lower
// case.
func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// random returns 32 random bytes as base64url: a PKCE verifier or a state.
func (b *Broker) random() (string, error) {
	var buf [32]byte
	if _, err := io.ReadFull(b.cfg.Rand, buf[:]); err != nil {
		return "", &Error{detail: "reading randomness", cause: err}
	}
	return base64.RawURLEncoding.EncodeToString(buf[:]), nil
}
