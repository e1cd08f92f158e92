package dbus

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/claims"
)

// Clients and resources that callers on the bus never get tokens for. A token
// of the broker client, or for the registration and key services, would let the
// caller register devices and sign-in keys for the user and outlive the user's
// session here.
var (
	privateClients = []string{
		"29d9ed98-a469-4536-ade2-f981bc1d605e", // Microsoft Authentication Broker
		"dd762716-544d-4aeb-a526-687b73838a22", // Microsoft Device Registration Client
		"38aa3b87-a06d-4817-b275-7a316988d93b", // Windows Sign In
		"b90d5b8f-5503-4153-b545-b31cecfaece2", // bulk join
	}
	privateResources = []string{
		"01cb2876-7ebd-4aa4-9cc9-d28bd4d359a9", // Device Registration Service, which also registers keys
		"29d9ed98-a469-4536-ade2-f981bc1d605e",
		"urn:ms-drs",
		"urn:aad:",
		"enterpriseregistration",
	}
)

var (
	guidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)

	errNoClient = &contractError{"the request has no clientId"}
	errPrivate  = broker.NewError(broker.ErrAppConfig, "callers get neither tokens of the broker client itself nor tokens for the registration and key services", nil, broker.Error{})
)

// permitted refuses requests that are never allowed.
func (c *call) permitted() error {
	id := strings.ToLower(strings.TrimSpace(c.r.ClientID))
	if id == "" {
		return errNoClient
	}
	if !guidPattern.MatchString(id) {
		return &contractError{"the clientId is not a GUID"}
	}
	if slices.Contains(privateClients, id) {
		return errPrivate
	}
	if slices.ContainsFunc(c.r.Scopes, isPrivate) {
		return errPrivate
	}
	return nil
}

// isPrivate reports whether a scope may belong to a private resource, however
// it is written.
func isPrivate(scope string) bool {
	for range 4 { // a scope that is escaped more often is refused
		scope = strings.ToLower(scope)
		if slices.ContainsFunc(privateResources, func(r string) bool { return strings.Contains(scope, r) }) {
			return true
		}
		plain, err := url.PathUnescape(scope)
		if err != nil || plain == scope {
			return false
		}
		scope = plain
	}
	return true
}

// tenant returns the tenant that an authority names, or "" if the authority
// stands for the user's own tenant.
func (h *Handler) tenant(authority string) (string, error) {
	if authority == "" {
		return "", nil
	}
	u, err := url.Parse(authority)
	if err != nil || u.Scheme != "https" || u.User != nil {
		return "", errAuthority
	}
	if !slices.ContainsFunc(h.signInHosts(), func(host string) bool { return strings.EqualFold(host, u.Host) }) {
		return "", errAuthority
	}
	name, _, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	switch strings.ToLower(name) {
	case "", "common", "organizations":
		return "", nil
	case "consumers", "9188040d-6c67-4c5b-b112-36a304b66dad": // Microsoft accounts
		return "", errNoSuchAccount
	}
	return name, nil
}

var errAuthority = &authorityError{}

// An authorityError reports an authority that is not a sign-in host of the
// cloud.
type authorityError struct{}

func (*authorityError) Error() string {
	return "dbus: the authority of the request is not a sign-in host of this cloud"
}

func (h *Handler) cloud() broker.Cloud {
	if h.Cloud.LoginHost == "" {
		return broker.CloudPublic
	}
	return h.Cloud
}

func (h *Handler) signInHosts() []string {
	c := h.cloud()
	return append([]string{c.LoginHost, c.Environment}, c.Aliases...)
}

// isCapability reports whether a claims request announces the client capability
// cp1 and asks for nothing else. MSAL adds it to every request of an app that
// has the capability, so it must not bypass the token cache.
func isCapability(text string) bool {
	if text == "" {
		return false
	}
	r, err := claims.ParseRequest(text)
	if err != nil {
		return false
	}
	only, err := claims.ParseRequest("")
	if err != nil {
		return false
	}
	return strings.EqualFold(r.String(), only.WithCapabilities("cp1").String())
}
