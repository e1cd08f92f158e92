package entratest_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

var issuanceRefusals = []refusal{
	{"no request", 900144, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply { return c.token("grant_type", jwtBearer) }},
	{"not a JWS", 50027, "", "", func(c *tc, _ *entratest.Clock) *reply { return c.send("a.b") }},
	{"alg none", 50120, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.send(c.withHeader(map[string]any{"alg": "none", "x5c": c.x5c()}))
	}},
	{"no certificate", 50027, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.send(c.withHeader(map[string]any{"alg": "RS256"}))
	}},
	{"certificate in base64url", 50027, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.send(c.withHeader(map[string]any{"alg": "RS256", "x5c": b64u(c.cert)}))
	}},
	{"kdf_ver is a string", 50027, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.send(c.withHeader(map[string]any{"alg": "RS256", "x5c": c.x5c(), "kdf_ver": "2"}))
	}},
	{"repeated claim", 50027, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.send(compact(map[string]any{"alg": "RS256", "x5c": c.x5c()}, json.RawMessage(`{"client_id":"a","client_id":"b"}`), rs256(c.device)))
	}},
	{"critical header", 50027, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.send(c.withHeader(map[string]any{"alg": "RS256", "x5c": c.x5c(), "crit": []string{"b64"}}))
	}},
	{"no nonce", 140000, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(with(passwordClaims(c), "request_nonce", ""))
	}},
	{"foreign nonce", 140000, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(with(passwordClaims(c), "request_nonce", "AwABEgEAAAACAOz_foreign"))
	}},
	{"stale nonce", 140000, "", "", func(c *tc, clock *entratest.Clock) *reply {
		c.join("alice", 0)
		n := c.nonce()
		clock.Advance(5*time.Minute + time.Second)
		return c.prtRequest(with(passwordClaims(c), "request_nonce", n))
	}},
	{"foreign certificate", 50155, "", "device_authentication_failed", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.send(c.withHeader(map[string]any{"alg": "RS256", "x5c": c.foreignCertificate()}))
	}},
	{"certificate expired", 50155, "", "device_authentication_failed", func(c *tc, clock *entratest.Clock) *reply {
		c.join("alice", 0)
		clock.Advance(11 * 365 * 24 * time.Hour)
		return c.passwordPRT("alice")
	}},
	{"device deleted", 50155, "", "device_authentication_failed", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		c.must(c.s.DeleteDevice(c.deviceID))
		return c.passwordPRT("alice")
	}},
	{"device disabled", 135011, "", "device_authentication_failed", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		c.must(c.s.DisableDevice(c.deviceID))
		return c.passwordPRT("alice")
	}},
	{"signed with another key", 50006, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		c.device = pool()[2]
		return c.passwordPRT("alice")
	}},
	{"no client", 50027, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.send(c.deviceJWS(with(c.base(), "client_id", nil)))
	}},
	{"unknown client", 700016, "unauthorized_client", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(with(passwordClaims(c), "client_id", "99999999-9999-4999-8999-999999999999"))
	}},
	{"client that is no broker", 28002, "invalid_scope", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(with(passwordClaims(c), "client_id", payrollID))
	}},
	{"unknown client, wrong password", 700016, "unauthorized_client", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(with(with(passwordClaims(c), "client_id", "x"), "password", "wrong"))
	}},
	{"no aza", 28002, "invalid_scope", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(with(passwordClaims(c), "scope", "openid"))
	}},
	{"no openid", 28002, "invalid_scope", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(with(passwordClaims(c), "scope", "aza"))
	}},
	{"unknown grant", 70003, "unsupported_grant_type", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(with(passwordClaims(c), "grant_type", "authorization_code"))
	}},
	{"wrong password", 50126, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(with(passwordClaims(c), "password", "wrong"))
	}},
	{"unknown user", 50034, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(with(passwordClaims(c), "username", "zoe@"+c.s.Domain()))
	}},
	{"refresh token of another client", 50013, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.refreshPRT(c.refreshToken())
	}},
	{"refresh token of another client, under its own id", 50013, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(map[string]any{"grant_type": "refresh_token", "refresh_token": c.refreshToken(), "client_id": payrollID})
	}},
	{"refresh token under another client id", 50013, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		rt := c.ropc("alice", brokerClient, drsResource).str("refresh_token")
		return c.prtRequest(map[string]any{"grant_type": "refresh_token", "refresh_token": rt})
	}},
	{"a PRT as refresh token", 7000016, "", "", func(c *tc, _ *entratest.Clock) *reply { return c.joined().refreshPRT(c.prt) }},
	{"unsupported Hello", 50027, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(map[string]any{"grant_type": jwtBearer, "assertion": "x"})
	}},
	{"SAML that is none", 50008, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(map[string]any{"grant_type": "urn:ietf:params:oauth:grant-type:saml2-bearer", "assertion": "eA=="})
	}},
	{"device token for Graph", 221000, "", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(map[string]any{"grant_type": "device_token", "resource": "https://graph.microsoft.com", "client_id": brokerClient})
	}},
	{"certificate of unknown use", 9002313, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(map[string]any{"grant_type": "device_auth", "cert_token_use": "toast"})
	}},
	{"certificate request that is none", 9002313, "invalid_request", "", func(c *tc, _ *entratest.Clock) *reply {
		c.join("alice", 0)
		return c.prtRequest(map[string]any{"grant_type": "device_auth", "cert_token_use": "device_cert", "csr_type": csrType, "csr": "eA=="})
	}},
	{"user of another tenant than the device, at common", 50020, "", "", func(c *tc, _ *entratest.Clock) *reply {
		d := besideFabrikam(c.t)
		d.join("alice", 0)
		return d.fabrikamPRT("common")
	}},
	{"user of another tenant than the device, at the user's tenant", 50020, "", "", func(c *tc, _ *entratest.Clock) *reply {
		d := besideFabrikam(c.t)
		d.join("alice", 0)
		return d.fabrikamPRT("fabrikam.example")
	}},
	{"user and device of another tenant than the endpoint", 50020, "", "", func(c *tc, _ *entratest.Clock) *reply {
		d := besideFabrikam(c.t)
		rt := d.joinFabrikam()
		require.Equal(c.t, 200, d.refreshAt("fabrikam.example", rt).status)
		return d.refreshAt(d.s.TenantID(), rt)
	}},
	{"refresh token of another device", 50013, "", "", func(c *tc, _ *entratest.Clock) *reply {
		rt := c.joined().prtUse(map[string]any{"client_id": brokerClient, "resource": drsResource, "scope": "openid"}).str("refresh_token")
		require.NotEmpty(c.t, rt)
		require.Equal(c.t, 200, c.refreshPRT(rt).status, "on its own device it is good")
		c.device, c.transport = pool()[2], pool()[3]
		c.join("alice", 0)
		return c.refreshPRT(rt)
	}},
}

func TestPRTIssuanceRefusals(t *testing.T) {
	for _, r := range issuanceRefusals {
		t.Run(r.name, r.run)
	}
}
