package entratest_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// A tenant's own endpoint signs in its users alone, whatever they prove.
func TestUsersOfAnotherTenant(t *testing.T) {
	key, err := entratest.NewPasskey()
	require.NoError(t, err)
	registered := *key
	const zed = "zed@fabrikam.example"
	prepare := func(t *testing.T) *tc {
		o := options(entratest.NewClock(time.Time{}))
		payroll := entratest.App{ClientID: payrollID, Public: true, Redirects: []string{nativeURI}, URIs: []string{"api://payroll"}}
		o.OtherTenants = []entratest.Tenant{{Domain: "fabrikam.example", Federated: []string{"fed.example"}, Apps: []entratest.App{payroll}, Users: []entratest.User{
			{Username: zed, Password: password, PhoneSignIn: true, Passkeys: []entratest.Passkey{registered}},
			{Username: "frida@fed.example", Password: password},
		}}}
		return newClient(t, entratest.NewTB(t, o))
	}
	tests := []struct {
		name   string
		code   int
		person func(*tc) entratest.Person
	}{
		{"password", 50034, func(*tc) entratest.Person { return entratest.Person{Username: zed, Password: password} }},
		{"certificate", 50034, func(c *tc) entratest.Person {
			return entratest.Person{Username: zed, Certificate: c.certificate(zed, true)}
		}},
		{"passkey", 50020, func(*tc) entratest.Person { return entratest.Person{Username: zed, Passkey: key} }},
		{"access pass", 50020, func(c *tc) entratest.Person {
			pass, err := c.s.CreateAccessPass(zed, false)
			c.must(err)
			return entratest.Person{Username: zed, AccessPass: pass}
		}},
		{"phone sign-in", 50020, func(c *tc) entratest.Person {
			return entratest.Person{Username: zed, PhoneSignIn: true, Approve: c.approve(zed)}
		}},
		{"federation", 50020, func(*tc) entratest.Person {
			return entratest.Person{Username: "frida@fed.example", Password: password}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := prepare(t)
			p := tt.person(c)
			_, err := c.tryAuthorize(p)
			require.Equal(t, tt.code, pageCode(t, err))
			require.Equal(t, tt.code, lastSignIn(c).ErrorCode)
			p = tt.person(c)
			_, err = p.Authorize(t.Context(), c.s.Client(), authorizeURL("organizations", "client_id", payrollID, "redirect_uri", nativeURI, "resource", "api://payroll", "login_hint", p.Username), nativeURI)
			require.NoError(t, err, "where the users of any tenant sign in")
		})
	}
	t.Run("PRT cookie", func(t *testing.T) {
		c := prepare(t)
		c.joined()
		send := func(tenant string) *reply {
			return c.do("GET", authorizeURL(tenant, "client_id", payrollID, "redirect_uri", nativeURI, "resource", "api://payroll"), http.Header{"X-Ms-Refreshtokencredential": {c.cookie(c.nonce())}}, "")
		}
		require.Contains(t, send("contoso.example").header.Get("Location"), "code=")
		require.Equal(t, "50020", aadsts.FindStringSubmatch(string(send("fabrikam.example").body))[1])
	})
}

// Users come and go while they sign in.
func TestUserDeletedDuringSignIn(t *testing.T) {
	c, _ := start(t)
	memory := *c
	memory.http = &http.Client{Transport: c.s.Transport()}
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				if c.s.AddUser(entratest.User{Username: "flick", Password: password}) != nil || c.s.DeleteUser("flick") != nil {
					return
				}
			}
		}
	})
	for range 500 {
		if r := memory.ropc("flick", payrollID, "api://payroll"); r.status != 200 {
			require.Equal(t, 50034, r.code(), "%s", r.body)
		}
	}
	close(done)
	wg.Wait()
}
