package entratest_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// worker is a TB for a goroutine of its own: a failure ends the goroutine.
type worker struct {
	testing.TB
	failed *atomic.Int64
}

func (w worker) FailNow() { w.failed.Add(1); w.TB.Fail(); runtime.Goexit() }

// TestSoak mixes all flows from many clients at once: 8, each going once
// through everything, or 64 for as long as ENTRATEST_SOAK says, such as 10m.
func TestSoak(t *testing.T) {
	duration, clients := time.Duration(0), 8
	if text := os.Getenv("ENTRATEST_SOAK"); text != "" {
		var err error
		clients = 64
		duration, err = time.ParseDuration(text)
		require.NoError(t, err)
	}
	o := options(nil)
	o.SignInLog = 1000
	o.DeviceQuota = 1 << 30
	o.Logf = func(string, ...any) {}
	o.Federated = []string{"fed.example"}
	o.Policies = policies(policyJSON("Finance needs MFA", financeID, `"mfa"`, ""))
	for i := range clients {
		o.Users = append(o.Users, entratest.User{Username: fmt.Sprintf("user%d", i), Password: password, TOTPSecret: totpSecret},
			entratest.User{Username: fmt.Sprintf("user%d@fed.example", i), Password: password})
	}
	before := runtime.NumGoroutine()
	s := entratest.NewServer(o)
	var (
		wg             sync.WaitGroup
		failed, rounds atomic.Int64
		granted        sync.Map // grant → *atomic.Int64
		requests       atomic.Int64
	)
	count := func(grant string) {
		n, _ := granted.LoadOrStore(grant, new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
	}
	pool()
	began := time.Now()
	end := began.Add(duration)
	var first uint64 // heap once all flows have run for a while
	var measure sync.Once
	for i := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			c := newClient(worker{t, &failed}, s)
			c.http = &http.Client{Transport: counting{s.Client().Transport, &requests}, CheckRedirect: c.http.CheckRedirect}
			for failed.Load() == 0 {
				c.round(fmt.Sprintf("user%d", i), count)
				rounds.Add(1)
				if time.Since(began) > duration/5 {
					measure.Do(func() { first = heapInUse() })
				}
				if !time.Now().Before(end) {
					return
				}
			}
		}()
	}
	wg.Wait()
	require.Zero(t, failed.Load())
	took := time.Since(began)
	last := heapInUse()
	t.Logf("%d rounds, %d requests (%.0f/s), heap %d KiB after a fifth of the time, %d KiB at the end, %d goroutines of %d",
		rounds.Load(), requests.Load(), float64(requests.Load())/took.Seconds(), first>>10, last>>10, runtime.NumGoroutine(), before)
	require.Less(t, last, first*3/2+8<<20, "memory grows")

	log := s.SignIns()
	require.LessOrEqual(t, len(log), 1000)
	for i := 1; i < len(log); i++ {
		require.Equal(t, log[i-1].Seq+1, log[i].Seq)
	}
	var total int64
	granted.Range(func(grant, n any) bool {
		t.Logf("%6d %s", n.(*atomic.Int64).Load(), grant)
		total += n.(*atomic.Int64).Load()
		return true
	})
	require.Equal(t, total, log[len(log)-1].Seq, "every sign-in is in the log once")
	for _, d := range s.Devices() {
		require.NoError(t, s.DeleteDevice(d.ID))
	}
	s.Close()
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+3 }, time.Minute, 10*time.Millisecond, "goroutines leak")
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

type counting struct {
	next http.RoundTripper
	n    *atomic.Int64
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n.Add(1)
	return c.next.RoundTrip(r)
}

// round goes through every flow once, as one user on one new device.
func (c *tc) round(user string, count func(string)) {
	upn := user + "@" + c.s.Domain()
	ok := func(r *reply, grant string) *reply {
		require.Equal(c.t, 200, r.status, "%s: %s", grant, r.body)
		count(grant)
		return r
	}
	ok(c.ropc(user, payrollID, "api://payroll"), "password")
	tok := ok(c.ropc(user, brokerClient, drsResource), "password")
	j := c.json("POST", joinURL, tok.str("access_token"), c.joinBody(0))
	require.Equal(c.t, 200, j.status, "%s", j.body)
	c.useCertificate(j)
	ok(c.refresh(brokerClient, tok.str("refresh_token"), "resource", drsResource), "refresh_token")

	r := c.prtRequest(map[string]any{"grant_type": "password", "username": upn, "password": password})
	c.usePRT(ok(r, "prt"))
	ok(c.renew(), "prt_renewal")
	ok(c.exchange(payrollID, "api://payroll"), "prt_exchange")
	require.Equal(c.t, 50076, c.exchange(financeID, "api://finance").code())
	count("prt_exchange")

	p := entratest.Person{Username: upn, Password: password, TOTPSecret: totpSecret}
	mfa := c.interactive(p, brokerClient, brokerURI, updatePRT, "amr_values", "ngcmfa")
	count("authorize")
	ok(mfa, "authorization_code")
	c.usePRT(ok(c.prtRequest(map[string]any{"grant_type": "refresh_token", "refresh_token": mfa.str("refresh_token"), "client_id": brokerClient}), "prt"))
	ok(c.exchange(financeID, "api://finance"), "prt_exchange")
	graph := ok(c.exchange(financeID, "https://graph.microsoft.com"), "prt_exchange")
	_ = graph

	u := authorizeURL(c.s.TenantID(), "client_id", payrollID, "redirect_uri", nativeURI, "resource", "api://payroll", "state", "x")
	sso := c.do("GET", u, http.Header{"X-Ms-Refreshtokencredential": {c.cookie(c.nonce())}}, "")
	require.Equal(c.t, 302, sso.status, "%s", sso.body)
	count("authorize")
	code := c.redeemCode(query(c.t, sso.header.Get("Location")).Get("code"), "windows_api_version", "2.0")
	ok(code, "authorization_code")
	c.decrypt(code)

	d := c.form(c.tenantPath("/oauth2/v2.0/devicecode"), "client_id", payrollID, "scope", "openid offline_access api://payroll/.default")
	require.NoError(c.t, p.ApproveDeviceCode(context.Background(), c.s.Client(), d.str("user_code")))
	count("device_code_page")
	ok(c.tokenV2("grant_type", "device_code", "client_id", payrollID, "device_code", d.str("device_code")), "device_code")

	fed := c.soap("13", user+"@fed.example", password, "urn:federation:MicrosoftOnline", "")
	require.Equal(c.t, 200, fed.status, "%s", fed.body)
	require.Equal(c.t, 50126, c.token("grant_type", "password", "client_id", payrollID, "username", upn, "password", "wrong").code())
	count("password")
	require.Equal(c.t, 401, c.do("DELETE", drs+"/EnrollmentServer/device/"+c.deviceID, nil, "").status)
	require.NoError(c.t, c.s.DeleteDevice(c.deviceID))
	gone := c.renew()
	require.Equal(c.t, 50155, gone.code())
	count("prt_renewal")
}

// BenchmarkRequests is what the emulator does in a second, with one client and
// with 64 at once: a sign-in by password, a token by the PRT, and an interactive
// sign-in with its pages.
func BenchmarkRequests(b *testing.B) {
	for _, clients := range []int{1, 64} {
		for _, k := range []struct {
			kind  string
			ready func(*tc)
			do    func(*tc) error
		}{
			{"password", func(*tc) {}, func(c *tc) error { return failed(c.payroll()) }},
			{"exchange", func(c *tc) { c.joined() }, func(c *tc) error { return failed(c.exchange(payrollID, "api://payroll")) }},
			{"interactive", func(*tc) {}, func(c *tc) error {
				_, err := c.tryAuthorize(c.alice(), "amr_values", "mfa")
				return err
			}},
		} {
			b.Run(fmt.Sprintf("kind=%s/clients=%d", k.kind, clients), func(b *testing.B) {
				s := entratest.NewTB(b, quiet())
				first := newClient(b, s)
				first.http.Transport = s.Transport()
				k.ready(first)
				all := make([]*tc, clients)
				for i := range all {
					one := *first
					all[i] = &one
				}
				b.ReportAllocs()
				b.ResetTimer()
				var running sync.WaitGroup
				for i, c := range all {
					running.Go(func() {
						for n := i; n < b.N; n += clients {
							if err := k.do(c); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				running.Wait()
			})
		}
	}
}

func failed(r *reply) error {
	if r.status == http.StatusOK {
		return nil
	}
	return fmt.Errorf("%d: %s", r.status, r.body)
}

func quiet() entratest.Options {
	o := options(nil)
	o.Logf = func(string, ...any) {}
	return o
}

// Whatever is sent to the token endpoint, it answers, and gives nothing.
func FuzzTokenEndpoint(f *testing.F) {
	f.Add("grant_type=password&client_id=x", "POST")
	f.Add("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&request=e30.e30.AA", "POST")
	f.Add("grant_type=refresh_token&refresh_token=1.AXoAAAAA&client_id="+payrollID, "POST")
	f.Add("grant_type=device_code&device_code=x", "GET")
	s := entratest.NewServer(quiet())
	f.Cleanup(s.Close)
	c := newClient(f, s)
	c.http = &http.Client{Transport: s.Transport()}
	f.Fuzz(func(t *testing.T, body, method string) {
		if method != "GET" {
			method = "POST"
		}
		c.t = t
		r := c.do(method, login+"/common/oauth2/token", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, body)
		require.NotEqual(t, 500, r.status, "%s", r.body)
		require.NotContains(t, r.v, "access_token")
		if r.status == 200 {
			require.Contains(t, r.v, "Nonce")
		}
	})
}
