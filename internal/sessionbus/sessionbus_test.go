package sessionbus_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/bustest"
	"github.com/prtbroker/prtbroker/internal/sessionbus"
)

// The session bus is the one that the environment names.
func TestConnect(t *testing.T) {
	bus := bustest.Start(t)
	for name, address := range map[string]string{"by address": bus.Address, "the session bus": ""} {
		t.Setenv("DBUS_SESSION_BUS_ADDRESS", bus.Address)
		c, err := sessionbus.Connect(t.Context(), address)
		require.NoError(t, err, name)
		require.NotEmpty(t, c.Names(), name)
		require.NoError(t, c.Close(), name)
	}
}

// Where there is no bus none is started.
func TestStartsNoBus(t *testing.T) {
	dir := t.TempDir()
	started := filepath.Join(dir, "started")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "dbus-launch"), []byte("#!/bin/sh\n: >"+started+"\n"), 0o755))
	t.Setenv("PATH", dir)
	for _, address := range []string{"", "autolaunch:"} {
		t.Setenv("DBUS_SESSION_BUS_ADDRESS", address)
		if c, err := sessionbus.Connect(t.Context(), ""); err == nil {
			_ = c.Close() // that of whoever runs the test
		}
		require.NoFileExists(t, started)
	}
}

// A bus that takes the connection and does not answer is given up with the
// context, and one that was answered outlives it.
func TestContext(t *testing.T) {
	dir, err := os.MkdirTemp("", "bus-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ln, err := net.Listen("unix", filepath.Join(dir, "bus"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = sessionbus.Connect(ctx, "unix:path="+ln.Addr().String())
	require.ErrorIs(t, err, context.DeadlineExceeded)

	ended, end := context.WithCancel(t.Context())
	c, err := sessionbus.Connect(ended, bustest.Start(t).Address)
	require.NoError(t, err)
	end()
	require.NoError(t, c.BusObject().CallWithContext(t.Context(), "org.freedesktop.DBus.GetId", 0).Err)
	require.NoError(t, c.Close())
}
