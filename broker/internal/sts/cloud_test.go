package sts

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/wire"
)

// Hosts become parts of addresses that credentials are sent to, so each must be a
// host and nothing else (RFC 3986 3.2).
func TestCheck(t *testing.T) {
	for name, tt := range map[string]struct {
		host string
		ok   bool
	}{
		"a name":             {"login.example", true},
		"a name and a port":  {"login.example:8443", true},
		"an address":         {"[2001:db8::1]:443", true},
		"nothing":            {"", false},
		"a path":             {"login.example/x", false},
		"a query":            {"login.example?x", false},
		"a fragment":         {"login.example#x", false},
		"a user":             {"user@login.example", false},
		"a space":            {"login example", false},
		"a line break":       {"login.example\n", false},
		"an address of HTTP": {"https://login.example", false},
		"an escape":          {"login%2eexample", false},
	} {
		t.Run(name, func(t *testing.T) {
			good := "good.example"
			for _, c := range []Cloud{
				{tt.host, good, good, good, nil, false},
				{good, tt.host, good, good, nil, false},
				{good, good, tt.host, good, nil, false},
				{good, good, good, tt.host, nil, false},
				{good, good, good, good, []string{good, tt.host}, false},
			} {
				if tt.ok {
					require.NoError(t, c.Check())
					continue
				}
				require.ErrorContains(t, c.Check(), "is not a host")
			}
		})
	}
}

// No cloud is the public one. A cloud with hosts of its own keeps them.
func TestWithDefaults(t *testing.T) {
	own := Cloud{"login.example", "drs.example", "graph.example", "cache.example", []string{"other.example"}, true}
	for name, tt := range map[string]struct{ in, want Cloud }{
		"none":                {Cloud{}, Public},
		"all of its own":      {own, own},
		"a login host":        {Cloud{LoginHost: "login.example"}, Cloud{LoginHost: "login.example", GraphHost: wire.GraphHost, Environment: "login.example"}},
		"a registration host": {Cloud{RegistrationHost: "drs.example"}, Cloud{RegistrationHost: "drs.example", GraphHost: wire.GraphHost}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tt.want, tt.in.WithDefaults()) })
	}
	for _, c := range []Cloud{Public, USGovernment, China} {
		require.NoError(t, c.Check())
	}
}

// Addresses, as Microsoft documents them; a tenant's name stays one segment of the
// path.
func TestAddresses(t *testing.T) {
	require.Equal(t, "https://login.microsoftonline.com/contoso.example/oauth2/token", Public.Login("contoso.example", wire.PathToken))
	require.Equal(t, "https://login.microsoftonline.com/a%2F..%2Fb/oauth2/token", Public.Login("a/../b", wire.PathToken))
	require.Equal(t, "https://graph.microsoft.us", USGovernment.Graph())
	require.Equal(t, "https://enterpriseregistration.windows.net/x", Public.Registration("/x"))
	require.Equal(t, "https://drs.example/device?api-version=1.0", WithVersion("https://drs.example/device", "1.0"))
}
