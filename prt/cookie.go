package prt

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/internal/secret"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// signInHosts are the hosts of the sign-in pages of all clouds, from the public
// list of authorities. A cookie is not signed for any other host.
var signInHosts = [...]string{
	wire.LoginHost,
	"login.windows.net",
	"login.microsoft.com",
	"login.microsoftonline.us",
	"login.usgovcloudapi.net",
	"login.partner.microsoftonline.cn",
	"login.chinacloudapi.cn",
	"login.sovcloud-identity.fr",
	"login.sovcloud-identity.de",
	"login.sovcloud-identity.sg",
}

// SignInHosts returns the hosts that cookies may be signed for.
func SignInHosts() []string { return slices.Clone(signInHosts[:]) }

// A Cookie is a credential for one visit to a sign-in page. It goes to the
// sign-in host and nowhere else, as an HTTP header or a cookie of that name.
type Cookie struct {
	Name  string
	Value Secret
}

// A CookieRequest makes the x-ms-RefreshTokenCredential cookie, which signs
// the user and the device in at a sign-in page (MS-OAPXBC 2.2.1.1). For the
// minutes that its nonce lives it is the user's session, MFA included.
type CookieRequest struct {
	PRT Secret // required
	// URL is the address of the sign-in page. It must be https on a sign-in
	// host. A sso_nonce parameter in it is the nonce.
	URL string
	// Nonce is used when URL has none; one of the two is required.
	Nonce string
	// Hosts replaces [SignInHosts], for emulators and clouds that it lacks:
	// exact host names, with the port if URL has one. Nil: SignInHosts.
	Hosts []string
	// InsecureNoNonce allows a cookie without a nonce, which is valid from its
	// iat for as long as the service accepts it: a stolen one can be replayed.
	// It needs Now.
	InsecureNoNonce bool
	Now             time.Time
	Client          CookieClient
}

// A CookieClient describes the client that visits the sign-in page. Every field
// may be empty.
type CookieClient struct {
	OSVersion   string // win_ver
	APIVersion  string // windows_api_version; "2.0.1" announces that a nonce challenge is understood
	Platform    string // x_client_platform
	ClientID    string // ua_client_id
	RedirectURI string // ua_redirect_uri
}

type cookiePayload struct {
	RefreshToken string `json:"refresh_token,omitempty"`
	IsPrimary    string `json:"is_primary,omitempty"` // "true", a string
	GrantType    string `json:"grant_type,omitempty"`
	Issuer       string `json:"iss,omitempty"`
	Nonce        string `json:"request_nonce,omitempty"`
	IssuedAt     string `json:"iat,omitempty"`
	WinVer       string `json:"win_ver,omitempty"`
	APIVersion   string `json:"windows_api_version,omitempty"`
	Platform     string `json:"x_client_platform,omitempty"`
	ClientID     string `json:"ua_client_id,omitempty"`
	RedirectURI  string `json:"ua_redirect_uri,omitempty"`
}

func (c CookieClient) fill(p cookiePayload) cookiePayload {
	p.WinVer, p.APIVersion, p.Platform = c.OSVersion, c.APIVersion, c.Platform
	p.ClientID, p.RedirectURI = c.ClientID, c.RedirectURI
	return p
}

// Sign makes the cookie: one derivation.
func (r CookieRequest) Sign(ctx context.Context, s Session) (Cookie, error) {
	nonce, err := cookieNonce(r.URL, r.Nonce, r.Hosts)
	switch {
	case err != nil:
		return Cookie{}, err
	case r.PRT.IsZero():
		return Cookie{}, badRequest("no PRT")
	case nonce == "" && !r.InsecureNoNonce:
		return Cookie{}, badRequest("a cookie needs a nonce")
	case nonce == "" && r.Now.IsZero():
		return Cookie{}, badRequest("a cookie without a nonce needs a time")
	}
	p := r.Client.fill(cookiePayload{RefreshToken: r.PRT.Reveal(), IsPrimary: "true", Nonce: nonce})
	if nonce == "" {
		p.IssuedAt = strconv.FormatInt(r.Now.Unix(), 10)
	}
	body, err := marshal(p)
	if err != nil {
		return Cookie{}, err
	}
	defer secret.Wipe(body)
	value, err := s.sign(ctx, body)
	if err != nil {
		return Cookie{}, err
	}
	return Cookie{Name: wire.CookieRefreshToken, Value: NewSecret(value)}, nil
}

// A DeviceCookieRequest makes the x-ms-DeviceCredential cookie, which proves
// the device and no user (MS-OAPXBC 2.2.1.2).
type DeviceCookieRequest struct {
	URL    string   // as in CookieRequest
	Nonce  string   // as in CookieRequest
	Hosts  []string // as in CookieRequest
	Client CookieClient
}

// Sign makes the cookie: one signature of the device key.
func (r DeviceCookieRequest) Sign(ctx context.Context, d DeviceProof) (Cookie, error) {
	nonce, err := cookieNonce(r.URL, r.Nonce, r.Hosts)
	if err != nil {
		return Cookie{}, err
	}
	if nonce == "" {
		return Cookie{}, badRequest("a cookie needs a nonce")
	}
	body, err := marshal(r.Client.fill(cookiePayload{
		GrantType: wire.GrantDeviceAuth, Issuer: issuerPlugin, Nonce: nonce,
	}))
	if err != nil {
		return Cookie{}, err
	}
	value, err := d.sign(ctx, 0, body)
	if err != nil {
		return Cookie{}, err
	}
	return Cookie{Name: wire.CookieDevice, Value: NewSecret(value)}, nil
}

// cookieNonce checks the address and returns its nonce, or nonce if it has
// none.
func cookieNonce(address, nonce string, hosts []string) (string, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return "", badRequest("the address of the sign-in page is malformed")
	case u.Scheme != "https":
		return "", badRequest("the sign-in page is not https")
	case u.User != nil || u.Opaque != "":
		return "", badRequest("the address of the sign-in page has a user or no host")
	}
	if hosts == nil {
		hosts = signInHosts[:]
	}
	host := strings.TrimSuffix(u.Host, ":443")
	if !slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, host) }) {
		return "", badRequest("the address is not that of a sign-in host")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", badRequest("the query of the sign-in page is malformed")
	}
	switch given := query["sso_nonce"]; len(given) {
	case 0:
	case 1:
		nonce = first(given[0], nonce)
	default:
		return "", badRequest("the sign-in page has several nonces")
	}
	return nonce, nil
}
