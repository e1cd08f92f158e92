package entratest_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// BenchmarkMixed is a suite of tests at work: 64 clients at once, each a user on a
// device, go through what programs do. An operation is a round of all of them once;
// requests/s is what counts.
func BenchmarkMixed(b *testing.B) {
	const clients = 64
	o := quiet()
	for i := range clients {
		o.Users = append(o.Users, entratest.User{Username: fmt.Sprintf("user%d", i), Password: password, TOTPSecret: totpSecret})
	}
	s := entratest.NewTB(b, o)
	var requests atomic.Int64
	var failures atomic.Int64
	all := make([]*tc, clients)
	for i := range all {
		c := newClient(worker{b, &failures}, s)
		c.http.Transport = counting{s.Transport(), &requests}
		user := fmt.Sprintf("user%d", i)
		c.join(user, 0)
		require.Equal(b, 200, c.passwordPRT(user).status)
		all[i] = c
	}
	requests.Store(0)
	b.ReportAllocs()
	b.ResetTimer()
	var running sync.WaitGroup
	for i, c := range all {
		running.Go(func() {
			for range b.N {
				c.everyday(fmt.Sprintf("user%d", i))
			}
		})
	}
	running.Wait()
	b.StopTimer()
	require.Zero(b, failures.Load())
	b.ReportMetric(float64(requests.Load())/b.Elapsed().Seconds(), "requests/s")
	b.ReportMetric(float64(requests.Load())/float64(b.N), "requests/op")
}

// everyday is what the tests of a program do, once: look up the service, sign in by
// password and on the pages with MFA, and get tokens for three services by refresh
// token and by the PRT of the device, which is renewed.
func (c *tc) everyday(user string) {
	ok := func(r *reply) *reply { require.Equal(c.t, 200, r.status, "%s", r.body); return r }
	ok(c.get(login + "/" + c.s.TenantID() + "/v2.0/.well-known/openid-configuration"))
	ok(c.get(login + "/common/discovery/v2.0/keys"))
	ok(c.get(login + "/common/userrealm/" + user + "@" + c.s.Domain() + "?api-version=1.0"))
	ok(c.ropc(user, payrollID, "api://payroll"))
	require.Equal(c.t, 400, c.token("grant_type", "password", "client_id", payrollID, "resource", "api://payroll",
		"username", user+"@"+c.s.Domain(), "password", "wrong").status)
	p := entratest.Person{Username: user + "@" + c.s.Domain(), Password: password, TOTPSecret: totpSecret}
	to, err := p.Authorize(context.Background(), &http.Client{Transport: c.http.Transport},
		authorizeURL(c.s.TenantID(), "client_id", financeID, "redirect_uri", nativeURI, "resource", "api://payroll", "state", "x", "amr_values", "mfa"), nativeURI)
	require.NoError(c.t, err)
	tok := ok(c.redeem(financeID, nativeURI, "api://payroll", to))
	for _, resource := range []string{"api://payroll", "api://finance", "https://graph.microsoft.com"} {
		tok = ok(c.refresh(financeID, tok.str("refresh_token"), "resource", resource))
		ok(c.exchange(financeID, resource))
	}
	ok(c.renew())
}
