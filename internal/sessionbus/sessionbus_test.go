package sessionbus_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/bustest"
	"github.com/prtbroker/prtbroker/internal/sessionbus"
)

// The session bus is the one that the environment names.
func TestConnect(t *testing.T) {
	bus := bustest.Start(t)
	for name, address := range map[string]string{"by address": bus.Address, "the session bus": ""} {
		t.Setenv("DBUS_SESSION_BUS_ADDRESS", bus.Address)
		c, err := sessionbus.Connect(address)
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
		if c, err := sessionbus.Connect(""); err == nil {
			_ = c.Close() // that of whoever runs the test
		}
		require.NoFileExists(t, started)
	}
}
