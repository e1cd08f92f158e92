package prt

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/internal/secret"
	"github.com/prtbroker/prtbroker/internal/strictjson"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// NonceRequest returns the request for a nonce (MS-OAPXBC 3.2.5.1.1). It needs
// no key. The nonce of the reply, read by [ParseNonce], is good for some
// minutes and for any tenant.
func NonceRequest() Form {
	return Form{Path: wire.PathToken, Values: url.Values{"grant_type": {wire.GrantNonce}}}
}

// payload is the JWT payload of every request: the union of what grants need,
// in the order in which it is written.
type payload struct {
	ClientID     string   `json:"client_id,omitempty"`
	Nonce        string   `json:"request_nonce,omitempty"`
	Scope        string   `json:"scope,omitempty"`
	WinVer       string   `json:"win_ver,omitempty"`
	GroupSIDs    []string `json:"group_sids,omitzero"`
	Issuer       string   `json:"iss,omitempty"`
	Audience     string   `json:"aud,omitempty"`
	IssuedAt     string   `json:"iat,omitempty"`
	Expires      string   `json:"exp,omitempty"`
	GrantType    string   `json:"grant_type,omitempty"`
	Username     string   `json:"username,omitempty"`
	Password     string   `json:"password,omitempty"`
	Assertion    string   `json:"assertion,omitempty"`
	RefreshToken string   `json:"refresh_token,omitempty"`
	Resource     string   `json:"resource,omitempty"`
	RedirectURI  string   `json:"redirect_uri,omitempty"`
}

// Values of the iss and aud claims of requests.
const (
	issuerPlugin = "aad:brokerplugin"
	audience2    = wire.LoginHost
	audience3    = "https://login.windows.net/common/oauth2/v2.0/token"
)

// A PRTRequest asks for a new PRT (MS-OAPXBC 3.2.5.1.2).
type PRTRequest struct {
	Grant     Grant    // how the user proves who they are; required
	Nonce     string   // required
	Protocol  Protocol // zero: Protocol2
	KDF       int      // what the device declares; 0: KDFv2, under Protocol3 KDFv1
	ClientID  string   // empty: the grant's own client
	TGT       bool     // also ask for Kerberos tickets
	Claims    string   // a claims request (JSON) for the form; empty: none
	OSVersion string   // win_ver; empty: not sent
}

func (r PRTRequest) kdf() int {
	switch {
	case r.KDF != 0:
		return r.KDF
	case r.Protocol == Protocol3:
		return KDFv1
	}
	return KDFv2
}

func (r PRTRequest) clientID() string {
	if r.ClientID == "" && r.Grant != nil {
		return r.Grant.client()
	}
	return r.ClientID
}

// Sign builds the request and signs it with the device key: one signature, and
// one more of the user's key for a Hello or certificate grant. The reply is
// plain JSON, for [ParseIssuance].
func (r PRTRequest) Sign(ctx context.Context, d DeviceProof) (Form, error) {
	if err := r.check(); err != nil {
		return Form{}, err
	}
	p := payload{
		ClientID:  r.clientID(),
		Nonce:     r.Nonce,
		Scope:     wire.ScopePRT,
		WinVer:    r.OSVersion,
		GroupSIDs: []string{},
	}
	if r.Protocol == Protocol3 {
		p.Scope, p.GroupSIDs = scope3, nil
	}
	if err := r.Grant.fill(ctx, &p, r.Nonce); err != nil {
		return Form{}, err
	}
	body, err := marshal(p)
	if err != nil {
		return Form{}, err
	}
	defer secret.Wipe(body)
	declared := r.kdf()
	if declared == KDFv1 {
		declared = 0
	}
	request, err := d.sign(ctx, declared, body)
	if err != nil {
		return Form{}, err
	}
	f := r.Protocol.form(request)
	f.options(r.TGT, r.Claims)
	return f, nil
}

const scope3 = wire.ScopeOpen + " " + wire.ScopeAZA + " offline_access"

func (r PRTRequest) check() error {
	switch {
	case r.Grant == nil:
		return badRequest("no grant")
	case r.Nonce == "":
		return badRequest("no nonce")
	}
	if _, err := (Session{KDF: r.KDF}).version(); err != nil {
		return err
	}
	if err := r.Protocol.valid(); err != nil {
		return err
	}
	return checkClaims(r.Claims)
}

func checkClaims(claims string) error {
	if claims == "" {
		return nil
	}
	if _, err := strictjson.Parse([]byte(claims), maxClaimsSize); err != nil {
		return badRequest("the claims request: " + err.Error())
	}
	return nil
}

const maxClaimsSize = 64 << 10

func (f Form) options(tgt bool, claims string) {
	if tgt {
		f.Values.Set("tgt", "true")
	}
	if claims != "" {
		f.Values.Set("claims", claims)
	}
}

// A RenewRequest exchanges a PRT for its successor (MS-OAPXBC 3.2.5.1.3.1). It
// proves no credential: it only extends the expiry.
type RenewRequest struct {
	PRT       Secret    // required
	Nonce     string    // required
	Protocol  Protocol  // that of the PRT; zero: Protocol2
	ClientID  string    // empty: that of Windows sign-in, under Protocol3 the broker's
	TGT       bool      // also ask for Kerberos tickets
	Claims    string    // a claims request (JSON) for the form; empty: none
	OSVersion string    // win_ver; empty: not sent
	Now       time.Time // iat, and exp an hour later; zero: neither is sent
}

// Sign builds the request and signs it: one derivation. The reply is
// encrypted, for [ParseReply].
func (r RenewRequest) Sign(ctx context.Context, s Session) (Form, error) {
	if err := checkSigned(r.PRT, r.Nonce, r.Protocol, r.Claims); err != nil {
		return Form{}, err
	}
	p := signedPayload(r.PRT, r.Nonce, r.OSVersion, r.Now)
	p.ClientID, p.Scope, p.GroupSIDs = r.ClientID, wire.ScopePRT, []string{}
	if r.Protocol == Protocol3 {
		p.Scope, p.GroupSIDs = wire.ScopeOpen+" "+wire.ScopeAZA, nil
		p.Audience, p.Issuer, p.RedirectURI = audience3, wire.ClientBroker, wire.RedirectBroker
	}
	if p.ClientID == "" {
		p.ClientID = wire.ClientWindowsSignIn
		if r.Protocol == Protocol3 {
			p.ClientID = wire.ClientBroker
		}
	}
	f, err := signForm(ctx, s, r.Protocol, p)
	if err != nil {
		return Form{}, err
	}
	f.options(r.TGT, r.Claims)
	return f, nil
}

// An ExchangeRequest exchanges a PRT for tokens of an app (MS-OAPXBC
// 3.2.5.1.3.1). Either Resource is set, for the v1 endpoint, or Scopes, for the
// v2.0 endpoint; with neither the reply holds an id_token and a refresh token
// of the app. One request names one resource.
//
// An app's own refresh token that came with a PRT may stand in place of the
// PRT: Windows signs for those in the same way.
type ExchangeRequest struct {
	PRT         Secret    // required
	Nonce       string    // required
	ClientID    string    // the app's; required
	RedirectURI string    // registered for the app; required by Entra
	Resource    string    // the v1 resource
	Scopes      []string  // the v2 scopes; openid, profile and offline_access are added
	Claims      string    // a claims request (JSON) for the form; empty: none
	ReqCnf      string    // req_cnf, for a token bound to that key (see [KeyConfirmation]); empty: a bearer token
	Roll        bool      // also renew the PRT (scope aza); the reply's refresh token is then the PRT
	OSVersion   string    // win_ver; empty: not sent
	Now         time.Time // iat, and exp an hour later; zero: neither is sent
}

// Protocol returns the version that the request uses, which depends on the
// endpoint.
func (r ExchangeRequest) Protocol() Protocol {
	if len(r.Scopes) > 0 {
		return Protocol3
	}
	return Protocol2
}

// Sign builds the request and signs it: one derivation. The reply is
// encrypted, for [ParseReply].
func (r ExchangeRequest) Sign(ctx context.Context, s Session) (Form, error) {
	if err := checkSigned(r.PRT, r.Nonce, Protocol2, r.Claims); err != nil {
		return Form{}, err
	}
	switch {
	case r.ClientID == "":
		return Form{}, badRequest("no client id")
	case r.Resource != "" && len(r.Scopes) > 0:
		return Form{}, badRequest("both a resource and scopes")
	}
	p := signedPayload(r.PRT, r.Nonce, r.OSVersion, r.Now)
	p.ClientID, p.RedirectURI, p.Resource = r.ClientID, r.RedirectURI, r.Resource
	p.Scope = r.scope()
	f, err := signForm(ctx, s, r.Protocol(), p)
	if err != nil {
		return Form{}, err
	}
	f.options(false, r.Claims)
	if r.ReqCnf != "" {
		f.Values.Set("token_type", "pop")
		f.Values.Set("req_cnf", r.ReqCnf)
	}
	return f, nil
}

func (r ExchangeRequest) scope() string {
	list := []string{wire.ScopeOpen}
	if len(r.Scopes) > 0 {
		list = append(list, "profile", "offline_access")
	}
	if r.Roll {
		list = append(list, wire.ScopeAZA)
	}
	for _, s := range r.Scopes {
		if !contains(list, s) {
			list = append(list, s)
		}
	}
	return strings.Join(list, " ")
}

func contains(list []string, s string) bool {
	for _, have := range list {
		if strings.EqualFold(have, s) {
			return true
		}
	}
	return false
}

func checkSigned(prt Secret, nonce string, v Protocol, claims string) error {
	switch {
	case prt.IsZero():
		return badRequest("no PRT")
	case nonce == "":
		return badRequest("no nonce")
	}
	if err := v.valid(); err != nil {
		return err
	}
	return checkClaims(claims)
}

// requestLife is how much later than iat exp is.
const requestLife = time.Hour

func signedPayload(prt Secret, nonce, osVersion string, now time.Time) payload {
	p := payload{
		Nonce:        nonce,
		WinVer:       osVersion,
		Issuer:       issuerPlugin,
		Audience:     audience2,
		GrantType:    wire.GrantRefreshToken,
		RefreshToken: prt.Reveal(),
	}
	if !now.IsZero() {
		p.IssuedAt = strconv.FormatInt(now.Unix(), 10)
		p.Expires = strconv.FormatInt(now.Add(requestLife).Unix(), 10)
	}
	return p
}

func signForm(ctx context.Context, s Session, v Protocol, p payload) (Form, error) {
	body, err := marshal(p)
	if err != nil {
		return Form{}, err
	}
	defer secret.Wipe(body)
	request, err := s.sign(ctx, body)
	if err != nil {
		return Form{}, err
	}
	return v.form(request), nil
}

// A DeviceTokenRequest asks for a token of the device itself, without a user.
// The reply is plain JSON, for [ParseTokens].
type DeviceTokenRequest struct {
	Nonce       string // required
	ClientID    string // required
	Resource    string // required
	RedirectURI string
	OSVersion   string // win_ver; empty: not sent
}

// Sign builds the request and signs it with the device key.
func (r DeviceTokenRequest) Sign(ctx context.Context, d DeviceProof) (Form, error) {
	if r.Nonce == "" || r.ClientID == "" || r.Resource == "" {
		return Form{}, badRequest("a device token needs a nonce, a client id and a resource")
	}
	body, err := marshal(payload{
		ClientID:    r.ClientID,
		Nonce:       r.Nonce,
		Scope:       wire.ScopeOpen,
		WinVer:      r.OSVersion,
		Issuer:      issuerPlugin,
		GrantType:   wire.GrantDeviceToken,
		Resource:    r.Resource,
		RedirectURI: r.RedirectURI,
	})
	if err != nil {
		return Form{}, err
	}
	request, err := d.sign(ctx, 0, body)
	if err != nil {
		return Form{}, err
	}
	f := Protocol2.form(request)
	f.Values.Del("client_info")
	return f, nil
}
