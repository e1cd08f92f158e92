package entratest_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

func TestBulkEnrolment(t *testing.T) {
	c, clock := start(t)
	begin := func(exp string) *reply {
		return c.json("POST", login+"/webapp/bulkaadjtoken/begin", c.drsToken(), map[string]string{"pid": "66666666-0000-4000-8000-000000000001", "name": "Package", "exp": exp})
	}
	require.Equal(t, "CompleteError", begin("nonsense").str("state"))
	require.Contains(t, begin(clock.Now().Add(-time.Hour).Format("01/02/2006")).str("resultData"), "AADSTS90114")
	require.Equal(t, "CompleteError", begin(clock.Now().Add(200*24*time.Hour).Format("01/02/2006")).str("state"))
	b := begin(clock.Now().Add(30 * 24 * time.Hour).Format("2006-01-02 15:04:05"))
	require.Equal(t, "Started", b.str("state"), "%s", b.body)
	require.Equal(t, 90023, c.get(login+"/webapp/bulkaadjtoken/poll?flowtoken=x").code())
	p := c.get(login + "/webapp/bulkaadjtoken/poll?flowtoken=" + b.str("flowToken"))
	require.Equal(t, "CompleteSuccess", p.str("state"))
	bprt := jsonObject(t, p.str("resultData"))["refresh_token"].(string)

	const bulk = "b90d5b8f-5503-4153-b545-b31cecfaece2"
	for range 2 { // it may be used again
		tok := c.refresh(bulk, bprt, "resource", drsResource)
		require.Equal(t, 200, tok.status, "%s", tok.body)
		r := c.json("POST", joinURL, tok.str("access_token"), c.joinBody(0))
		require.Equal(t, 200, r.status, "%s", r.body)
		c.useCertificate(r)
	}
	mdm := c.prtRequest(map[string]any{"grant_type": "refresh_token", "refresh_token": bprt, "client_id": bulk, "scope": "openid", "resource": "https://enrollment.manage.microsoft.com/"})
	require.Equal(t, 200, mdm.status, "%s", mdm.body)
	require.NotEmpty(t, mdm.str("access_token"))
	require.Equal(t, "client_mismatch", c.refresh(payrollID, bprt).str("suberror"))
	clock.Advance(31 * 24 * time.Hour)
	require.Equal(t, 700082, c.refresh(bulk, bprt, "resource", drsResource).code())
}

// 10,000 devices and users have no slow path.
func TestTenThousand(t *testing.T) {
	if testing.Short() {
		t.Skip("in short mode")
	}
	o := options(entratest.NewClock(time.Time{}))
	o.Logf = func(string, ...any) {}
	for i := range 10_000 {
		o.Users = append(o.Users, entratest.User{Username: fmt.Sprintf("user%05d", i), Password: password})
	}
	c := newClient(t, entratest.NewTB(t, o))
	began := time.Now()
	c.http = nil
	tr := c.s.Transport()
	for i := range 10_000 {
		require.NoError(t, c.s.SyncComputer(entratest.Computer{ID: fmt.Sprintf("77777777-0000-4000-8000-%012d", i), SID: "S-1-5-21-1", PublicKey: &pool()[0].PublicKey}))
	}
	require.Len(t, c.s.Devices(), 10_000)
	filled := time.Since(began)
	c.http = &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	began = time.Now()
	require.Equal(t, 200, c.ropc("user09999", payrollID, "api://payroll").status)
	c.joined()
	for i := range 100 {
		require.NoError(t, c.s.DeleteDevice(fmt.Sprintf("77777777-0000-4000-8000-%012d", i*100)))
	}
	require.Equal(t, 200, c.exchange(payrollID, "api://payroll").status)
	t.Logf("filled in %s, then a join, a PRT, three token requests and 100 deletions in %s", filled, time.Since(began))
	require.Less(t, time.Since(began), time.Minute, "only a guard")
}
