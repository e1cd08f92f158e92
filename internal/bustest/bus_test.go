//go:build unix

package bustest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/require"
)

// A service that the bus started and that outlives it does not hold up the end
// of the bus.
func TestDownLeavesServicesBehind(t *testing.T) {
	b := Start(t)
	file := filepath.Join(t.TempDir(), "pid")
	script := filepath.Join(t.TempDir(), "service")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\necho $$ >"+file+".new\nmv "+file+".new "+file+"\nexec sleep 300\n"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(b.Services, "org.example.Sleeper.service"), []byte("[D-BUS Service]\nName=org.example.Sleeper\nExec="+script+"\n"), 0o644))
	b.Down()
	b.Up()
	c, err := dbus.Connect(b.Address)
	require.NoError(t, err)
	c.Object("org.example.Sleeper", "/").Go("org.example.Sleeper.Wake", 0, make(chan *dbus.Call, 1))
	var text []byte
	require.Eventually(t, func() bool {
		text, err = os.ReadFile(file)
		return err == nil
	}, time.Minute, 5*time.Millisecond)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	defer func() { _ = syscall.Kill(pid, syscall.SIGKILL) }()
	down := make(chan struct{})
	go func() {
		b.Down()
		close(down)
	}()
	select {
	case <-down:
	case <-time.After(time.Minute):
		t.Fatal("the bus waits for the service")
	}
	require.NoError(t, syscall.Kill(pid, 0), "the service was still there")
}
