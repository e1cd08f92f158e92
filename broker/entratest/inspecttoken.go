package entratest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/tokenendpoint"
)

// TokenReport says what is in a token, and whether it is valid at this server.
type TokenReport struct {
	// Kind is access token, id_token, refresh token or PRT. "": neither a JWT nor
	// anything that this server issued.
	Kind   string
	Header json.RawMessage // of a JWT, as it came; nil: the token is opaque
	Claims json.RawMessage // likewise

	Valid    bool
	Problems []string // why it is not valid

	KeyUse       string // use of its signing key, as in [SigningKey]; "": not a key of this server
	Username     string // "": no user, or unknown
	ClientName   string
	ResourceName string
	Issued       time.Time // zero: unknown
	Expires      time.Time // zero: never
	// SignIn is the sequence number of the entry of the sign-in log that it came from;
	// zero: the log does not have it.
	SignIn int64
	// Policies are the Conditional Access policies of that entry.
	Policies []PolicyDetail
}

// maxInspected bounds the token that InspectToken takes, in bytes.
const maxInspected = 64 << 10

// InspectToken says what is in a token of any kind, and whether it is valid at this
// server now: its signature, its times, its issuer, its user. It keeps and logs nothing.
func (s *Server) InspectToken(token string) TokenReport { return s.world().inspector().token(token) }

// An inspector reads tokens and the sign-in log for an administrator.
type inspector struct {
	dir    *directory.Directory
	log    *directory.SignInLog
	mint   *mint.Mint
	sts    *tokenendpoint.Service
	keeper *session.Keeper
}

func (w *world) inspector() *inspector {
	return &inspector{dir: w.dir, log: w.log, mint: w.mint, sts: w.sts, keeper: w.keeper}
}

func (s *inspector) token(token string) TokenReport {
	token = strings.TrimSpace(token)
	if len(token) > maxInspected {
		return TokenReport{Problems: []string{fmt.Sprintf("longer than %d KiB", maxInspected>>10)}}
	}
	if r, ok := s.inspectOpaque(token); ok {
		return r
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return TokenReport{Problems: []string{"neither a JWT nor a refresh token or PRT of this server"}}
	}
	r := TokenReport{Kind: "id_token"}
	header, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err == nil && json.Valid(header) {
		r.Header = header
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil && json.Valid(claims) {
		r.Claims = claims
	}
	if r.Header == nil || r.Claims == nil {
		return TokenReport{Problems: []string{"not a JWT: header and claims must be base64url of JSON objects"}}
	}
	s.inspectJWT(token, &r)
	r.Valid = len(r.Problems) == 0
	return r
}

// tokenClaims are the claims that a report reads. A token from elsewhere may have other
// types there, which leaves them out.
type tokenClaims struct {
	Issuer   string `json:"iss"`
	Tenant   string `json:"tid"`
	Audience string `json:"aud"`
	Object   string `json:"oid"`
	AppID    string `json:"appid"`
	Party    string `json:"azp"`
	Unique   string `json:"uti"`
	IssuedAt int64  `json:"iat"`
	Before   int64  `json:"nbf"`
	Expires  int64  `json:"exp"`
}

func (s *inspector) inspectJWT(token string, r *TokenReport) {
	problem := func(format string, args ...any) { r.Problems = append(r.Problems, fmt.Sprintf(format, args...)) }
	var h struct{ Alg, Kid string }
	var c tokenClaims
	if json.Unmarshal(r.Header, &h) != nil || json.Unmarshal(r.Claims, &c) != nil {
		problem("a claim has a type that Entra does not use")
		return
	}
	for _, k := range s.mint.Keys.Published() {
		if k.ID == h.Kid {
			r.KeyUse = k.Use
		}
	}
	switch err := s.mint.Verify(token); {
	case h.Alg == "none":
		problem("not signed: alg is none")
	case errors.Is(err, mint.ErrFormerWorld):
		problem("%v", err)
	case err != nil:
		problem("the signature is not of a key that this server publishes: %v", err)
	}
	client := c.AppID + c.Party
	if client != "" {
		r.Kind, r.ResourceName = "access token", s.resourceName(c.Audience)
	} else {
		client = c.Audience
	}
	r.ClientName = s.dir.AppName(client)
	now := s.keeper.Now()
	if c.IssuedAt != 0 {
		r.Issued = time.Unix(c.IssuedAt, 0).UTC()
	}
	if c.Expires != 0 {
		r.Expires = time.Unix(c.Expires, 0).UTC()
	}
	switch {
	case c.Expires != 0 && !now.Before(r.Expires):
		problem("it ended at %s", r.Expires.Format(time.RFC3339))
	case c.Before != 0 && now.Before(time.Unix(c.Before, 0)):
		problem("it is not valid before %s", time.Unix(c.Before, 0).UTC().Format(time.RFC3339))
	}
	t := s.dir.Tenant(c.Tenant)
	if t == nil {
		problem("tid names no tenant of this server")
	} else if !strings.Contains(c.Issuer, t.ID) {
		problem("iss is not the issuer of tenant %s", t.ID)
	}
	s.inspectSubject(&c, r, problem)
	s.findSignIn(c.Unique, r)
}

// inspectSubject finds the user of a token, if it has one.
func (s *inspector) inspectSubject(c *tokenClaims, r *TokenReport, problem func(string, ...any)) {
	isApp := slices.ContainsFunc(s.dir.Tenants(), func(t *directory.Tenant) bool {
		return slices.ContainsFunc(s.dir.Clients(t), func(a *directory.App) bool { return a.ServicePrincipalID == c.Object })
	})
	if c.Object == "" || isApp {
		return
	}
	u := s.dir.UserByID(c.Object)
	switch {
	case u == nil:
		problem("oid names no user of this server")
	case u.Disabled:
		problem("the user is disabled")
	}
	if u != nil {
		r.Username = u.UPN
	}
}

func (s *inspector) resourceName(audience string) string {
	if a := s.dir.Resource(s.dir.Home(), audience); a != nil {
		return a.Name
	}
	return audience
}

func (s *inspector) findSignIn(unique string, r *TokenReport) {
	if unique == "" {
		return
	}
	for _, e := range s.log.All() {
		if e.Unique == unique {
			r.SignIn, r.Policies = e.Seq, s.detail(e).Policies
		}
	}
}

// inspectOpaque reads a refresh token or a PRT.
func (s *inspector) inspectOpaque(token string) (TokenReport, bool) {
	o, ok := s.sts.ReadOpaque(token)
	if !ok {
		return TokenReport{}, false
	}
	r := TokenReport{Kind: "refresh token", ClientName: s.dir.AppName(o.Client), Issued: o.Issued.UTC(), Expires: o.Expires.UTC()}
	if o.PRT {
		r.Kind = "PRT"
	}
	u, err := s.keeper.UserOf(&o.Session)
	if err != nil {
		r.Problems = append(r.Problems, err.Error())
	} else {
		r.Username = u.UPN
	}
	if !s.keeper.Now().Before(o.Expires) {
		r.Problems = append(r.Problems, "it ended at "+r.Expires.Format(time.RFC3339))
	}
	r.Valid = len(r.Problems) == 0
	return r, true
}
