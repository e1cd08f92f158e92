package access

import (
	"crypto/subtle"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// ClientApp finds an enabled client by its id.
func (e *Engine) ClientApp(t *directory.Tenant, id string) (*directory.App, error) {
	if id == "" {
		return nil, web.InvalidRequest(900144, "The request body must contain the following parameter: 'client_id'.")
	}
	a := e.Keeper.Directory.App(t, id)
	if a == nil {
		return nil, web.Fail("unauthorized_client", 700016, "Application with identifier '%s' was not found in the directory '%s'.", web.Clip(id), t.Name)
	}
	if a.Disabled {
		return nil, web.Fail("unauthorized_client", 7000112, "Application '%s'(%s) is disabled.", a.ID, a.Name)
	}
	return a, nil
}

// AuthenticateClient checks the client's own authentication: a public client must have
// none, any other must give its secret.
func AuthenticateClient(a *directory.App, secret string, asserted bool, now time.Time) error {
	if a.Public {
		if secret != "" || asserted {
			return web.Fail("invalid_client", 700025, "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.")
		}
		return nil
	}
	if secret == "" {
		return web.Fail("invalid_client", 7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.").
			Because("client %s is not registered as public (mobile and desktop)", a.ID)
	}
	if a.Secret == "" || subtle.ConstantTimeCompare([]byte(secret), []byte(a.Secret)) != 1 {
		return web.Fail("invalid_client", 7000215, "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value.")
	}
	if !a.SecretExpires.IsZero() && !now.Before(a.SecretExpires) {
		return web.Fail("invalid_client", 7000222, "The provided client secret keys for app '%s' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds.", a.ID)
	}
	return nil
}

// CheckRedirect checks a redirect URI. It must match a registered one exactly, except
// for the port of http://localhost (RFC 8252, 7.3).
func CheckRedirect(a *directory.App, uri string) error {
	if strings.HasPrefix(uri, "urn:") {
		return web.InvalidRequest(500119, "The redirect URI '%s' is not supported: urn: redirects are retired.", web.Clip(uri))
	}
	for _, r := range a.Redirects {
		if r == uri || loopback(r) && sameButPort(r, uri) || foldAuthority(r) == foldAuthority(uri) {
			return nil
		}
	}
	return web.InvalidRequest(50011, "The redirect URI '%s' specified in the request does not match the redirect URIs configured for the application '%s'.", web.Clip(uri), a.ID).
		Because("client %s may redirect to %s, not to %q", a.ID, someOf(a.Redirects), web.Clip(uri))
}

// someOf quotes the first elements of a list: Microsoft's clients have up to hundreds
// of redirects.
func someOf(list []string) string {
	const most = 8
	if len(list) <= most {
		return fmt.Sprintf("%q", list)
	}
	return fmt.Sprintf("%q and %d others", list[:most], len(list)-most)
}

// foldAuthority converts scheme and host to lower case, since they are
// case-insensitive (RFC 3986, 6.2.2.1).
func foldAuthority(uri string) string {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok {
		return uri
	}
	end := strings.IndexByte(rest+"/", '/')
	return strings.ToLower(scheme+"://"+rest[:end]) + rest[end:]
}

func loopback(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && u.Scheme == "http" && (u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1")
}

func sameButPort(registered, uri string) bool {
	a, err := url.Parse(registered)
	if err != nil {
		return false
	}
	b, err := url.Parse(uri)
	return err == nil && a.Scheme == b.Scheme && a.Hostname() == b.Hostname() &&
		strings.TrimRight(a.Path, "/") == strings.TrimRight(b.Path, "/") && b.RawQuery == a.RawQuery && b.Fragment == "" && b.User == nil
}

// Assigned checks that the user may use the app.
func (e *Engine) Assigned(a *directory.App, u *directory.User) error {
	if a == nil || a.AssignTo == nil {
		return nil
	}
	if e.Keeper.Directory.Assigned(a.AssignTo, u) {
		return nil
	}
	return web.Fail("access_denied", 50105, "Your administrator has configured the application %s ('%s') to block users unless they are specifically granted ('assigned') access to the application.", a.Name, a.ID)
}

// SameTenant refuses a token used under the path of another tenant.
func SameTenant(r *web.Request, u *directory.User) error {
	if r.Tenant != nil && r.Tenant != u.Tenant {
		return NotInTenant(u, r.Tenant)
	}
	return nil
}

// NotInTenant refuses a user of another tenant.
func NotInTenant(u *directory.User, t *directory.Tenant) error {
	return web.InvalidGrant(50020, "User account '%s' from identity provider '%s' does not exist in tenant '%s'.", u.UPN, directory.IssuerV1("", u.Tenant.ID), t.Name)
}
