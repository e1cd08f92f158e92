package entratest_test

import (
	"crypto/rsa"
	"fmt"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// largeOptions are those of a tenant with more users.
func largeOptions(users int) entratest.Options {
	o := quiet()
	o.DeviceQuota = 1 << 30
	for i := range users {
		o.Users = append(o.Users, entratest.User{Username: fmt.Sprintf("user%06d", i), Password: password})
	}
	return o
}

// newLargeTenant has users, and devices that the directory synchronisation made.
func newLargeTenant(tb testing.TB, users, devices int) *tc {
	tb.Helper()
	c := newClient(tb, entratest.NewTB(tb, largeOptions(users)))
	c.http.Transport = c.s.Transport()
	for i := range devices {
		require.NoError(tb, c.s.SyncComputer(entratest.Computer{
			ID: fmt.Sprintf("dddddddd-0000-4000-8000-%012d", i), SID: fmt.Sprint("S-1-5-21-", i), Name: fmt.Sprint("pc-", i),
			PublicKey: &rsa.PublicKey{N: big.NewInt(int64(i) + 1<<40), E: 65537},
		}))
	}
	c.joined()
	return c
}

// requests are what is asked of a large tenant, of its last user and device.
func (c *tc) requests(users, devices int) map[string]func() *reply {
	user := fmt.Sprintf("user%06d@%s", users-1, c.s.Domain())
	graph := c.ropc("alice", "1b730954-1685-4b74-9bfd-dac224a7b894", "https://graph.microsoft.com").str("access_token")
	require.NotEmpty(c.t, graph)
	const devicesURL = "https://graph.microsoft.com/v1.0/devices"
	last := fmt.Sprintf("dddddddd-0000-4000-8000-%012d", devices-1)
	return map[string]func() *reply{
		"realm": func() *reply { return c.get(login + "/common/userrealm/" + user + "?api-version=1.0") },
		"password": func() *reply {
			return c.token("grant_type", "password", "client_id", payrollID, "username", user, "password", password, "resource", "api://payroll")
		},
		"exchange": func() *reply { return c.exchange(payrollID, "api://payroll") },
		"join": func() *reply {
			return c.json("POST", joinURL, c.ropc("bob", brokerClient, drsResource).str("access_token"), c.joinBody(0))
		},
		"find device": func() *reply { return c.json("GET", devicesURL+"?$filter=deviceId+eq+'"+last+"'", graph, nil) },
	}
}

// BenchmarkLargeDirectory asks a tenant of 100,000 users and 10,000 devices, where
// nothing may take longer than with two.
func BenchmarkLargeDirectory(b *testing.B) {
	const users, devices = 100000, 10000
	c := newLargeTenant(b, users, devices)
	all := c.requests(users, devices)
	for _, name := range []string{"realm", "password", "exchange", "join", "find device"} {
		b.Run("request="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := failed(all[name]()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Nothing grows with the tenant: a request to one of 100,000 users and 10,000 devices
// costs as many allocations as one to a tenant of two, give or take what maps and
// buffers do.
func TestLargeDirectory(t *testing.T) {
	users, devices := 100000, 10000
	if testing.Short() {
		users, devices = 5000, 1000
	}
	allocs := func(users, devices int) map[string]float64 {
		c := newLargeTenant(t, users, devices)
		out := map[string]float64{}
		for name, do := range c.requests(users, devices) {
			require.NoError(t, failed(do()), name)
			out[name] = testing.AllocsPerRun(20, func() { do() })
		}
		return out
	}
	few, many := allocs(2, 2), allocs(users, devices)
	t.Log(few, many)
	for name := range few {
		require.InDelta(t, few[name], many[name], 25, name)
	}
}

// BenchmarkStart starts a tenant, and says what it holds of memory for each ten
// thousand users.
func BenchmarkStart(b *testing.B) {
	for _, users := range []int{0, 10000, 100000} {
		b.Run(fmt.Sprintf("users=%d", users), func(b *testing.B) {
			o := largeOptions(users)
			var held uint64
			for b.Loop() {
				b.StopTimer()
				before := heapInUse()
				b.StartTimer()
				s := entratest.NewServer(o)
				b.StopTimer()
				held = heapInUse() - before
				s.Close()
				b.StartTimer()
			}
			if users > 0 {
				b.ReportMetric(float64(held)*10000/float64(users), "bytes/10000-users")
			}
		})
	}
}

// A tenant of its own for each test is cheap: keys are made once a process.
func TestNewServerAllocations(t *testing.T) {
	entratest.NewServer(quiet()).Close()
	require.Less(t, testing.AllocsPerRun(5, func() { entratest.NewServer(quiet()).Close() }), 2500.0)
}

func BenchmarkNewServer(b *testing.B) {
	for b.Loop() {
		entratest.NewServer(quiet()).Close()
	}
}
