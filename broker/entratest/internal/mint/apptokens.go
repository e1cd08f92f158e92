package mint

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/testkeys"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// AppIssuance holds the contents of an app-only token.
type AppIssuance struct {
	Client, Resource *directory.App
	Tenant           *directory.Tenant
	Audience         string   // as the client named the resource
	Roles            []string // application permissions
	Proof            string   // claim appidacr
	Managed          string   // resource id of a managed identity; "" for other apps
	CAE              bool
	Now, Expires     time.Time
	Base             string // URL of the issuing service; "": its real host names
	Unique           string // claim uti; "": a random one
}

// AppToken makes an app-only access token: its subject is the application's
// service principal, and its permissions are roles instead of scopes.
func (m *Mint) AppToken(in AppIssuance) string {
	c := map[string]any{
		"iat": in.Now.Unix(), "nbf": in.Now.Unix(), "exp": in.Expires.Unix(),
		"oid": in.Client.ServicePrincipalID, "sub": in.Client.ServicePrincipalID, "tid": in.Tenant.ID,
		"uti": cmp.Or(in.Unique, m.UniqueID()),
		"rh":  m.origin(),
		"aio": base64.StdEncoding.EncodeToString(m.Keeper.Rand.Bytes(24)),
	}
	if in.Resource.TokenVersion == 2 {
		c["aud"], c["iss"], c["ver"] = in.Resource.ID, directory.IssuerV2(in.Base, in.Tenant.ID), "2.0"
		c["azp"], c["azpacr"] = in.Client.ID, in.Proof
	} else {
		c["aud"], c["iss"], c["ver"] = in.Audience, directory.IssuerV1(in.Base, in.Tenant.ID), "1.0"
		c["appid"], c["appidacr"], c["idp"] = in.Client.ID, in.Proof, directory.IssuerV1(in.Base, in.Tenant.ID)
		c["tenant_region_scope"] = in.Tenant.Region
	}
	if len(in.Roles) > 0 {
		c["roles"] = in.Roles
	}
	if in.Resource.ID == wire.ResourceGraphApp || slices.Contains(in.Resource.OptionalClaims, "idtyp") {
		c["idtyp"] = "app"
	}
	if in.Resource.ID == wire.ResourceGraphApp {
		c["app_displayname"] = in.Client.Name
	}
	if in.Managed != "" {
		c["xms_mirid"] = in.Managed
	}
	if in.CAE && asksForCapabilities(in.Resource) {
		c["xms_cc"] = []string{"CP1"}
	}
	return m.signFor(in.Resource, c)
}

// Errors of a token that is presented as an assertion.
var (
	ErrNotOurs = errors.New("not signed by this service")
	errNoJWT   = errors.New("not a JWT")
)

// Presented is an access token that a service presents to act on behalf of its user.
type Presented struct {
	Audience string          `json:"aud"`
	Expires  int64           `json:"exp"`
	Tenant   string          `json:"tid"`
	Subject  string          `json:"sub"`
	Object   string          `json:"oid"`
	Scopes   string          `json:"scp"`
	Roles    json.RawMessage `json:"roles"`
	Access   json.RawMessage `json:"uti"`
	Version  string          `json:"ver"`
	AppID    string          `json:"appid"`
	Party    string          `json:"azp"`
	Reuse    string          `json:"aio"`
	Origin   string          `json:"rh"`
}

// AppOnly reports whether the token is app-only.
func (p *Presented) AppOnly() bool { return p.Scopes == "" && p.Subject == p.Object }

// IDToken reports whether it is an id_token: an access token names the client
// that it was issued to.
func (p *Presented) IDToken() bool { return p.AppID == "" && p.Party == "" }

// Presented reads a token that this service issued. The caller must check its
// validity period.
func (m *Mint) Presented(text string) (*Presented, error) {
	if _, err := jws.Parse([]byte(text), jws.WithCompact()); err != nil {
		return nil, errNoJWT
	}
	var p Presented
	if err := m.Keys.verifyOwn(text, &p); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrNotOurs, err)
	}
	if err := m.fromThisWorld(p.Origin); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrNotOurs, err)
	}
	return &p, nil
}

// federatedHeader names the key that stands for all external issuers.
var federatedHeader = jwtHeader(`{"alg":"RS256","kid":"outside","typ":"JWT"}`)

// FederatedToken makes a token as another issuer would, such as a cluster or a
// pipeline.
func (m *Mint) FederatedToken(c directory.FederatedCredential, life time.Duration) string {
	now := m.Keeper.Now()
	payload, err := json.Marshal(map[string]any{"iss": c.Issuer, "sub": c.Subject, "aud": c.Audience,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(life).Unix(), "jti": m.Keeper.Rand.GUID()})
	if err != nil {
		panic("entratest: " + err.Error())
	}
	return compact(federatedHeader, payload, testkeys.OutsideIssuer())
}

// VerifyFederated checks the signature of a token from FederatedToken.
func (m *Mint) VerifyFederated(a *verify.ClientAssertion) error {
	return a.VerifyKey(testkeys.OutsideIssuer().RSA())
}
