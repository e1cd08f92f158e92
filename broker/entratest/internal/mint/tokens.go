package mint

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/quirks"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// ClientInfo returns the member client_info of a reply, which names the user and the
// tenant.
func ClientInfo(u *directory.User) string {
	data, _ := json.Marshal(map[string]string{"uid": u.ID, "utid": u.Tenant.ID})
	return base64.RawURLEncoding.EncodeToString(data)
}

// amrOf returns the amr claim if a token has one: v1 tokens do, v2 tokens only if the
// app configures it as an optional claim.
func (in *Issuance) amrOf(version int, a *directory.App) []string {
	if version == 2 && !slices.Contains(a.OptionalClaims, "amr") {
		return nil
	}
	return in.Session.AMR(in.Fresh)
}

// AccessToken makes an access token.
func (m *Mint) AccessToken(in *Issuance, dev *directory.Device, expires time.Time) string {
	u, res := in.User, in.Resource
	c := map[string]any{
		"iat": in.Now.Unix(), "nbf": in.Now.Unix(), "exp": expires.Unix(),
		"oid": u.ID, "tid": u.Tenant.ID, "sub": m.Subject(u, res.ID), "name": u.Name,
		"scp": strings.Join(in.Scopes, " "), "sid": in.Session.SID,
		"uti": cmp.Or(in.Unique, m.UniqueID()),
		"rh":  m.origin(),
		"aio": m.reuse(in),
	}
	if res.TokenVersion == 2 {
		c["aud"], c["iss"], c["ver"] = res.ID, directory.IssuerV2(in.Base, u.Tenant.ID), "2.0"
		c["azp"], c["azpacr"] = in.Client.ID, ClientACR(in.Client)
		c["preferred_username"] = u.SignInName()
	} else {
		m.v1Claims(c, in, dev)
		c["aud"], c["appid"], c["appidacr"] = in.Audience, in.Client.ID, ClientACR(in.Client)
		c["acr"] = "1"
	}
	if amr := in.amrOf(res.TokenVersion, res); amr != nil {
		c["amr"] = amr
	}
	m.external(c, in)
	m.optionalClaims(c, in, res)
	m.memberships(c, in, res)
	c["xms_st"] = map[string]int{"ev": u.Critical}
	if len(u.Roles) > 0 {
		c["wids"] = u.Roles
	}
	if in.CAE && asksForCapabilities(res) {
		c["xms_cc"] = []string{"CP1"}
	}
	if len(in.Contexts) > 0 {
		c["acrs"] = in.Contexts
	}
	if in.CNF != "" {
		c["cnf"] = map[string]string{"kid": in.CNF}
	}
	return m.signFor(res, c)
}

// signFor signs an access token for a resource. The header of those for Microsoft Graph
// and SharePoint has a nonce.
func (m *Mint) signFor(res *directory.App, claims map[string]any) string {
	if res.ID != wire.ResourceGraphApp && res.ID != directory.AppSharePoint || !m.Keeper.Quirks.On(quirks.GraphNonce) {
		return m.Keys.Sign(claims)
	}
	return m.Keys.SignNonced(claims, base64.RawURLEncoding.EncodeToString(m.Keeper.Rand.Bytes(32)))
}

// Subject returns the sub claim of a user in tokens for an application.
func (m *Mint) Subject(u *directory.User, app string) string {
	if !m.Keeper.Quirks.On(quirks.PairwiseSubject) {
		return u.ID
	}
	return Pairwise(u.ID, app)
}

// UniqueID makes the value of a claim uti, which the sign-in log names too.
func (m *Mint) UniqueID() string {
	return base64.RawURLEncoding.EncodeToString(m.Keeper.Rand.Bytes(16))
}

// ClientACR returns the claim appidacr: how the client authenticated.
func ClientACR(a *directory.App) string {
	if a.Public || a.SPA {
		return "0"
	}
	return "1"
}

// v1Claims adds what tokens of version 1.0 say about the user and the device.
func (m *Mint) v1Claims(c map[string]any, in *Issuance, dev *directory.Device) {
	u := in.User
	given, familyName, _ := strings.Cut(u.Name, " ")
	c["iss"], c["ver"] = directory.IssuerV1(in.Base, u.Tenant.ID), "1.0"
	c["upn"], c["unique_name"], c["given_name"], c["family_name"] = u.UPN, u.UPN, given, familyName
	c["puid"] = puid(u.ID)
	c["tenant_region_scope"] = u.Tenant.Region
	if in.Address.IsValid() {
		c["ipaddr"] = in.Address.String()
	}
	if u.SID != "" {
		c["onprem_sid"] = u.SID
	}
	if dev == nil {
		return
	}
	c["deviceid"] = dev.ID
	var state []string
	if dev.Managed {
		state = append(state, "dvc_mngd")
	}
	if dev.Compliant {
		state = append(state, "dvc_cmp")
	}
	if dev.JoinType == wire.JoinTypeHybrid {
		state = append(state, "dvc_dmjd")
	}
	if state != nil {
		c["signin_state"] = state
	}
}

func puid(oid string) string {
	sum := sha256.Sum256([]byte("puid" + oid))
	return "10032" + strings.ToUpper(ids.Hex(sum[:6])[:11])
}

func (m *Mint) optionalClaims(c map[string]any, in *Issuance, a *directory.App) {
	for _, name := range a.OptionalClaims {
		switch name {
		case "auth_time":
			c["auth_time"] = in.Session.Auth
		case "acct":
			c["acct"] = boolInt(in.User.Guest)
		case "ipaddr":
			if in.Address.IsValid() {
				c["ipaddr"] = in.Address.String()
			}
		case "deviceid":
			if in.Session.Device != "" {
				c["deviceid"] = in.Session.Device
			}
		case "upn":
			c["upn"] = in.User.UPN
		case "email":
			mail(c, in.User)
		case "groups":
			c["groups"] = m.Keeper.Directory.GroupsOf(in.User)
		}
	}
}

// external adds what tokens say of a user of another directory: who authenticated the
// user, in idp ("Access tokens in the Microsoft identity platform": idp differs from iss
// for guests), and the e-mail address, which guests' tokens have by default ("Optional
// claims reference", email). Tokens of version 1.0 name the guest by that address, and
// have the upn, with #EXT#, only as an optional claim; this is inferred from the same
// page's include_externally_authenticated_upn.
func (m *Mint) external(c map[string]any, in *Issuance) {
	u := in.User
	if !u.External() {
		return
	}
	c["idp"] = directory.IssuerV1("", m.Keeper.Directory.HomeTenantID(u))
	mail(c, u)
	if _, v1 := c["unique_name"]; v1 {
		c["unique_name"] = u.SignInName()
		delete(c, "upn")
	}
}

// mail adds the claim email, which users without an address do not have.
func mail(c map[string]any, u *directory.User) {
	if u.Mail != "" {
		c["email"] = u.Mail
	}
}

// reuse returns the claim aio, which is opaque to others. If the resource is a service
// that can authenticate, it may later present the token to act on behalf of the user;
// the claim then holds the session.
func (m *Mint) reuse(in *Issuance) string {
	if !in.Resource.Proves() {
		return base64.StdEncoding.EncodeToString(m.Keeper.Rand.Bytes(24))
	}
	return m.Keeper.Box.Seal(session.KindReuse, in.Session)
}

// maxGroups is how many groups a JWT names; with more it refers to Microsoft Graph
// (Microsoft, "Configure group claims for applications").
const maxGroups = 200

// maxGroupsInURL is how many groups an id_token of the implicit flow names; with more it
// only says that there are groups (Microsoft, "ID token claims reference", hasgroups).
const maxGroupsInURL = 5

// memberships adds the app roles of the user, and the groups if the app is configured
// for them.
func (m *Mint) memberships(c map[string]any, in *Issuance, a *directory.App) {
	if roles := m.Keeper.Directory.RolesOf(a, in.User); len(roles) > 0 {
		c["roles"] = roles
	}
	if !a.GroupClaims {
		return
	}
	groups := m.Keeper.Directory.GroupsOf(in.User)
	if in.InURL && len(groups) > maxGroupsInURL && m.Keeper.Quirks.On(quirks.GroupOverage) {
		c["hasgroups"] = true
		return
	}
	if len(groups) <= maxGroups || !m.Keeper.Quirks.On(quirks.GroupOverage) {
		c["groups"] = groups
		return
	}
	c["_claim_names"] = map[string]string{"groups": "src1"}
	c["_claim_sources"] = map[string]any{"src1": map[string]string{
		"endpoint": "https://graph.microsoft.com/v1.0/users/" + in.User.ID + "/getMemberObjects"}}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// asksForCapabilities reports whether access tokens for a resource list the client's
// capabilities: only if the resource has the optional claim xms_cc (Microsoft,
// "Claims challenges, claims requests, and client capabilities"), as services that
// evaluate access continuously do.
func asksForCapabilities(res *directory.App) bool {
	switch res.ID {
	case wire.ResourceGraphApp, directory.AppExchange, directory.AppSharePoint:
		return true
	}
	return slices.Contains(res.OptionalClaims, "xms_cc")
}

// idTokenLife is how long an id_token is valid.
const idTokenLife = 65 * time.Minute

// IDToken makes an id_token.
func (m *Mint) IDToken(in *Issuance, dev *directory.Device) string {
	u := in.User
	c := map[string]any{
		"aud": in.Client.ID, "iat": in.Now.Unix(), "nbf": in.Now.Unix(), "exp": in.Now.Add(in.Session.Capped(idTokenLife, in.Now)).Unix(),
		"oid": u.ID, "tid": u.Tenant.ID, "sub": m.Subject(u, in.Client.ID), "name": u.Name, "sid": in.Session.SID,
		"rh": m.origin(),
	}
	version := 1
	if in.V2 {
		version = 2
		c["iss"], c["ver"], c["preferred_username"] = directory.IssuerV2(in.Base, u.Tenant.ID), "2.0", u.SignInName()
		c["uti"] = cmp.Or(in.Unique, m.UniqueID())
	} else {
		m.v1Claims(c, in, dev)
		c["pwd_url"] = "https://portal.microsoftonline.com/ChangePassword.aspx"
		c["tenant_display_name"] = u.Tenant.Name
	}
	if amr := in.amrOf(version, in.Client); amr != nil {
		c["amr"] = amr
	}
	m.external(c, in)
	m.optionalClaims(c, in, in.Client)
	m.memberships(c, in, in.Client)
	if in.Email {
		mail(c, u)
	}
	if in.Nonce != "" {
		c["nonce"] = in.Nonce
	}
	if in.Code != "" {
		c["c_hash"] = halfHash(in.Code)
	}
	if in.Aged {
		c["auth_time"] = in.Session.Auth
	}
	if in.SID {
		c["primary_sid"] = ids.SID(u.ID)
	}
	if in.IDNone {
		return unsigned(c)
	}
	return m.Keys.Sign(c)
}

// halfHash returns the left half of a hash, by which an id_token signed with RS256
// refers to what it was issued with (OpenID Connect Core, 3.3.2.11).
func halfHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}
