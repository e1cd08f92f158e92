package entratest_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// What Microsoft's pages say, each test with its page.

// "Configure Temporary Access Pass to register passwordless authentication
// methods", Expiration: tokens got by a pass are capped at its end when they are
// issued, access tokens included.
func TestTokensEndWithTheAccessPass(t *testing.T) {
	c, clock := start(t)
	pass, err := c.s.CreateAccessPass("alice", false)
	require.NoError(t, err)
	ends := clock.Now().Add(time.Hour) // TTL.TAP
	clock.Advance(50 * time.Minute)
	left := int64(ends.Sub(clock.Now()) / time.Second)
	r := c.interactive(entratest.Person{Username: "alice@contoso.example", AccessPass: pass}, payrollID, nativeURI, "api://payroll")
	require.Equal(t, 200, r.status, "%s", r.body)
	require.Equal(t, strconv.FormatInt(left, 10), r.str("expires_in"))
	require.EqualValues(t, ends.Unix(), jwtClaims(t, r.str("access_token"))["exp"])
	require.EqualValues(t, ends.Unix(), jwtClaims(t, r.str("id_token"))["exp"])
	require.EqualValues(t, left, r.v["refresh_token_expires_in"])

	c.join("alice", 0)
	prt := c.refreshPRT(c.interactive(entratest.Person{Username: "alice@contoso.example", AccessPass: pass}, brokerClient, brokerURI, updatePRT).str("refresh_token"))
	require.Equal(t, 200, prt.status, "%s", prt.body)
	require.LessOrEqual(t, prt.v["refresh_token_expires_in"], float64(left))
}

// "Claims challenges, claims requests, and client capabilities": xms_cc is in the
// access token only if the resource asks for it as an optional claim.
func TestCapabilitiesForResourcesThatAsk(t *testing.T) {
	c, _ := start(t)
	const cp1 = `{"access_token":{"xms_cc":{"values":["cp1"]}}}`
	ask := func() map[string]any {
		r := c.token("grant_type", "password", "client_id", payrollID, "resource", "api://payroll", "claims", cp1, "username", "alice@contoso.example", "password", password)
		return jwtClaims(t, r.str("access_token"))
	}
	require.NotContains(t, ask(), "xms_cc")
	require.NoError(t, c.s.AddApp(entratest.App{ClientID: payrollID, Name: "Payroll", Public: true, URIs: []string{"api://payroll"}, OptionalClaims: []string{"xms_cc"}}))
	require.Equal(t, []any{"CP1"}, ask()["xms_cc"])
}

// "Understanding Primary Refresh Token (PRT)": the session key is renewed every 30
// days on joined and hybrid joined devices.
func TestSessionKeyRollsOnJoinedDevices(t *testing.T) {
	for joinType, rolls := range map[int]bool{0: true, 4: false} {
		c, clock := start(t)
		c.join("alice", joinType)
		c.usePRT(c.passwordPRT("alice"))
		for range 3 { // each within the life of an unused PRT
			clock.Advance(11 * 24 * time.Hour)
			r := c.renew()
			require.Equal(t, 200, r.status, "%s", r.body)
			if _, rolled := r.v["session_key_jwe"]; rolled {
				require.True(t, rolls, "a registered device keeps its key")
				rolls = false
			}
			c.usePRT(r)
		}
		require.False(t, rolls, "the key of a joined device rolls after 30 days")
	}
}
