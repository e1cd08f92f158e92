package entratest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// One device, one user, from the join to the death of the PRT.
func TestStory(t *testing.T) {
	c, clock := start(t)
	require.NoError(t, c.s.SetPolicies(json.RawMessage(fmt.Sprintf(`[%s]`, policyJSON("Payroll needs MFA", payrollID, `"mfa"`, "")))))

	c.join("alice", 0)
	r := c.passwordPRT("alice")
	require.Equal(t, 200, r.status, "%s", r.body)
	require.EqualValues(t, 1209599, r.v["refresh_token_expires_in"])
	require.Equal(t, "1209599", r.v["expires_in"])
	require.Equal(t, []any{"pwd", "rsa"}, jwtClaims(t, r.str("id_token"))["amr"])

	graph := c.exchange(financeID, "https://graph.microsoft.com")
	require.Equal(t, 200, graph.status, "%s", graph.body)
	require.Equal(t, c.deviceID, jwtClaims(t, graph.str("access_token"))["deviceid"])

	r = c.exchange(payrollID, "api://payroll")
	require.Equal(t, 50076, r.code(), "%s", r.body)
	require.Equal(t, "interaction_required", r.str("error"))
	require.Equal(t, "basic_action", r.str("suberror"))
	require.Contains(t, r.str("claims"), "capolids")

	rt := c.interactive(c.alice(), brokerClient, brokerURI, updatePRT, "amr_values", "ngcmfa")
	require.Equal(t, 200, rt.status, "%s", rt.body)
	r = c.refreshPRT(rt.str("refresh_token"))
	require.Equal(t, 200, r.status, "%s", r.body)
	require.Equal(t, []any{"pwd", "rsa", "mfa"}, jwtClaims(t, r.str("id_token"))["amr"])
	r = c.exchange(payrollID, "api://payroll")
	require.Equal(t, 200, r.status, "%s", r.body)
	require.Equal(t, []any{"pwd", "rsa", "mfa"}, jwtClaims(t, r.str("access_token"))["amr"])
	r = c.exchange(financeID, "api://payroll")
	require.Equal(t, 200, r.status, "%s", r.body)

	clock.Advance(4 * time.Hour)
	r = c.renew()
	require.Equal(t, 200, r.status, "%s", r.body)
	for range 5 {
		clock.Advance(13 * 24 * time.Hour)
		require.Equal(t, 200, c.renew().status)
	}
	require.Equal(t, 200, c.exchange(payrollID, "api://payroll").status)
	clock.Advance(14 * 24 * time.Hour)
	r = c.renew()
	require.Equal(t, 700082, r.code(), "%s", r.body)
	require.Equal(t, "bad_token", r.str("suberror"))
}

func TestDeviceCodeBecomesPRT(t *testing.T) {
	c, _ := start(t)
	d := c.form(c.tenantPath("/oauth2/v2.0/devicecode"), "client_id", brokerClient, "scope", "openid offline_access "+drsResource+"/.default")
	require.Equal(t, 200, d.status, "%s", d.body)
	poll := func() *reply {
		return c.tokenV2("grant_type", "urn:ietf:params:oauth:grant-type:device_code", "client_id", brokerClient, "device_code", d.str("device_code"))
	}
	require.Equal(t, "authorization_pending", poll().str("error"))
	require.NoError(t, c.alice().ApproveDeviceCode(context.Background(), c.s.Client(), d.str("user_code")))
	tok := poll()
	require.Equal(t, 200, tok.status, "%s", tok.body)
	j := c.json("POST", drs+"/EnrollmentServer/device/?api-version=2.0", tok.str("access_token"), c.joinBody(0))
	require.Equal(t, 200, j.status, "%s", j.body)
	c.useCertificate(j)
	require.Equal(t, 200, c.refreshPRT(tok.str("refresh_token")).status)
}

var _ = entratest.Options{}
