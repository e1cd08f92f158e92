package sts

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/wire"
)

// A tenant that is given as a GUID is not looked up, but for the first request
// of all, which finds its cloud.
func TestTenantByGUID(t *testing.T) {
	const id = "f3d10000-0000-4000-8000-000000000002"
	for name, tt := range map[string]struct {
		tenant  string
		movable bool // no cloud is configured
		heard   bool // the tenant gave a token here
		asked   int  // for two calls
	}{
		"a GUID, the cloud is configured":      {id, false, false, 0},
		"a GUID, its tokens came from here":    {id, true, true, 0},
		"in capitals":                          {strings.ToUpper(id), false, false, 0},
		"a GUID of which nothing is known yet": {id, true, false, 1},
		"a domain":                             {"contoso.example", false, true, 2},
		"no GUID":                              {id + "0", false, true, 2},
		"with braces":                          {"{" + id + "}", false, true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			from := &answering{canned: tokens}
			c := testClient(t, from)
			at := *c.place.Load()
			at.movable = tt.movable
			c.place.Store(&at)
			if tt.heard {
				_, err := c.Grant(t.Context(), id, wire.PathToken, url.Values{"grant_type": {wire.GrantRefreshToken}})
				require.NoError(t, err)
			}
			from.canned, from.asked = calls["tenant"].ok, 0
			for range 2 {
				got, err := c.TenantID(t.Context(), tt.tenant)
				require.NoError(t, err)
				require.Equal(t, id, got)
			}
			require.Equal(t, tt.asked, from.asked)
		})
	}
}

// What a tenant's discovery names is believed only as far as it is of use: a token is
// sent to the address, which must be https on the cloud's own registration host.
func TestTake(t *testing.T) {
	const good = "https://enterpriseregistration.windows.net/device/"
	was := [3]string{"address", "version", "resource"}
	for name, tt := range map[string]struct {
		address, version, resource string
		want                       [3]string
	}{
		"all":                        {good, "2.0", "urn:ms-drs:x", [3]string{good, "2.0", "urn:ms-drs:x"}},
		"in capitals":                {"https://EnterpriseRegistration.Windows.NET/device/", "2.0", "urn:ms-drs:x", [3]string{"https://EnterpriseRegistration.Windows.NET/device/", "2.0", "urn:ms-drs:x"}},
		"nothing":                    {"", "", "", was},
		"another host":               {"https://evil.example/device/", "2.0", "urn:ms-drs:x", was},
		"a host that begins like it": {"https://enterpriseregistration.windows.net.evil.example/", "2.0", "urn:ms-drs:x", was},
		"another port":               {"https://enterpriseregistration.windows.net:8443/", "2.0", "urn:ms-drs:x", was},
		"in the clear":               {"http://enterpriseregistration.windows.net/device/", "2.0", "urn:ms-drs:x", was},
		"with a user":                {"https://u@enterpriseregistration.windows.net/device/", "2.0", "urn:ms-drs:x", was},
		"with a query":               {good + "?x=1", "2.0", "urn:ms-drs:x", was},
		"not an address":             {"https://enterpriseregistration.windows.net/%zz", "2.0", "urn:ms-drs:x", was},
		"no version":                 {good, "", "urn:ms-drs:x", was},
		"a version with more":        {good, "2.0&x=1", "urn:ms-drs:x", was},
		"the resource of another":    {good, "2.0", "https://graph.microsoft.com", [3]string{good, "2.0", "resource"}},
		"the longest resource":       {good, "2.0", "urn:ms-drs:" + strings.Repeat("x", 117), [3]string{good, "2.0", "urn:ms-drs:" + strings.Repeat("x", 117)}},
		"a longer one":               {good, "2.0", "urn:ms-drs:" + strings.Repeat("x", 118), [3]string{good, "2.0", "resource"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := was
			testClient(t, nil).take(&got[0], &got[1], &got[2], tt.address, tt.version, tt.resource)
			require.Equal(t, tt.want, got)
		})
	}
}

// What the registration service says about itself is used, and what it does not say is
// well known (MS-DVRD; the hosts are those of dsregcmd).
func TestDiscover(t *testing.T) {
	var log strings.Builder
	from := &answering{canned: canned{200, nil, `{"DeviceJoinService":{"JoinEndpoint":"https://enterpriseregistration.windows.net/join/","JoinResourceId":"urn:ms-drs:j","ServiceVersion":"9.0"},` +
		`"DeviceManagementService":{"DeviceManagementEndpoint":"https://evil.example/","DeviceManagementResourceId":"urn:ms-drs:m","ServiceVersion":"1.0"},` +
		`"TenantInfo":{"TenantName":"Contoso\u001b[31m"}}`}}
	c := testClient(t, from)
	c.cfg.Logger = textLogger(&log)
	e := c.Discover(t.Context(), "t")
	want := Public.fallback("t")
	require.Equal(t, "https://enterpriseregistration.windows.net/EnrollmentServer/key/", want.Key)
	require.Equal(t, "urn:ms-drs:enterpriseregistration.windows.net", want.KeyResource)
	want.Join, want.JoinVersion, want.JoinResource, want.TenantName = "https://enterpriseregistration.windows.net/join/", "9.0", "urn:ms-drs:j", "Contoso?[31m"
	require.Equal(t, want, e)
	require.Empty(t, log.String())

	from.canned = drsRefused
	require.Equal(t, Public.fallback("t"), c.Discover(t.Context(), "t"))
	require.Contains(t, log.String(), "well-known")
}

// A tenant has an id if it is one tenant: common is not.
func TestTenantWithoutID(t *testing.T) {
	for name, tt := range map[string]struct{ issuer, says string }{
		"common":         {"https://sts.windows.net/{tenantid}/", "name a tenant instead of common"},
		"none":           {"https://sts.windows.net/", "name a tenant instead of common"},
		"not an address": {"https://sts.windows.net/%zz", "not what the protocol says"},
	} {
		t.Run(name, func(t *testing.T) {
			c := testClient(t, &answering{canned: canned{200, nil, `{"issuer":"` + tt.issuer + `"}`}})
			_, err := c.TenantID(t.Context(), "common")
			require.ErrorContains(t, err, tt.says)
			require.False(t, c.found.Load())
		})
	}
	c := testClient(t, &answering{canned: canned{200, nil, `{"issuer":"https://login.microsoftonline.com/F3D10000-0000-4000-8000-000000000002/v2.0","cloud_instance_name":1}`}})
	_, err := c.TenantID(t.Context(), "contoso.example")
	require.ErrorContains(t, err, "not what the protocol says")
	c = testClient(t, &answering{canned: canned{200, nil, `{"issuer":"https://login.microsoftonline.com/F3D10000-0000-4000-8000-000000000002/v2.0"}`}})
	id, err := c.TenantID(t.Context(), "contoso.example")
	require.NoError(t, err)
	require.Equal(t, "f3d10000-0000-4000-8000-000000000002", id)
	require.True(t, c.found.Load())
}
