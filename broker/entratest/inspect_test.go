package entratest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

func TestPRTs(t *testing.T) {
	c, clock := start(t)
	require.Empty(t, c.s.PRTs())
	c.join("alice", 0)
	born := c.s.Now()
	c.passwordPRT("alice")

	list := c.s.PRTs()
	require.Len(t, list, 1)
	p := list[0]
	require.Equal(t, "alice@contoso.example", p.Username)
	require.Equal(t, c.s.Devices()[0].ID, p.DeviceID)
	require.Equal(t, "password", p.BornOf)
	require.False(t, p.MFA)
	require.Zero(t, p.ErrorCode, p.Error)
	require.WithinDuration(t, born, p.Born, 0)
	require.WithinDuration(t, born.Add(14*24*time.Hour), p.Expires, 0)

	require.NoError(t, c.s.DisableDevice(p.DeviceID))
	require.Equal(t, 135011, c.s.PRTs()[0].ErrorCode)
	require.NoError(t, c.s.EnableDevice(p.DeviceID))
	require.NoError(t, c.s.ChangePassword("alice", "another"))
	require.Equal(t, 50173, c.s.PRTs()[0].ErrorCode)
	clock.Advance(15 * 24 * time.Hour)
	require.Equal(t, 700082, c.s.PRTs()[0].ErrorCode)
}

// A server that issues PRTs for years lists the newest ones, also after a restart.
func TestPRTsAreBounded(t *testing.T) {
	o := options(nil)
	o.SignInLog = 3
	c := newClient(t, entratest.NewTB(t, o))
	c.join("alice", 0)
	for range 3 {
		c.passwordPRT("alice")
	}
	oldest := c.s.PRTs()[0].ID
	for range 4 {
		c.passwordPRT("alice")
	}
	list := c.s.PRTs()
	require.Len(t, list, 3)
	for _, p := range list {
		require.NotEqual(t, oldest, p.ID)
	}
	state, err := c.s.State()
	require.NoError(t, err)
	o.State, o.SignInLog = state, 2
	require.Equal(t, list[1:], entratest.NewTB(t, o).PRTs())
}

func TestRunningClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := entratest.NewRunningClock(time.Now().Add(-time.Hour))
		require.Equal(t, time.Hour, time.Since(c.Now()))
		time.Sleep(time.Second) // of the bubble's clock
		require.Equal(t, time.Hour, time.Since(c.Now()))
		c.Advance(2 * time.Hour)
		require.Equal(t, -time.Hour, time.Since(c.Now()))
	})
}

func TestUsers(t *testing.T) {
	c, clock := start(t)
	users := c.s.Users()
	require.NotEmpty(t, users)
	require.Equal(t, "alice@contoso.example", users[0].Username)
	require.Contains(t, users[0].Methods, "password")
	require.Equal(t, "none", users[0].UserRisk)

	code, until, err := c.s.OneTimeCode("alice")
	require.NoError(t, err)
	require.Len(t, code, 6)
	require.True(t, until.After(clock.Now()))
	_, _, err = c.s.OneTimeCode("nobody")
	require.ErrorContains(t, err, "no such user: nobody")
	require.Equal(t, "Microsoft Graph", c.s.AppName("00000003-0000-0000-c000-000000000000"))
	require.Equal(t, "unknown", c.s.AppName("unknown"))
}
