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
