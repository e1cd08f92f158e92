package interop

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const minute = time.Minute

const himmelblauClient = "libhimmelblau"

// cacheDir keeps what setup installs, from one run to the next.
var cacheDir = func() string {
	if dir := os.Getenv("INTEROP_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return ".tools"
	}
	return filepath.Join(dir, "prtbroker-interop")
}()

// heavy skips the test of a client that takes long to install, and says why in
// the table: setup writes a file for each client that it installed.
func heavy(t *testing.T, client string) {
	t.Helper()
	heavyAs(t, client, client)
}

// heavyAs is heavy for a client of the table that another's installation has.
func heavyAs(t *testing.T, client, installed string) {
	t.Helper()
	if os.Getenv("INTEROP") != "all" {
		results.notRun(client, "INTEROP=all runs it")
		t.Skip(client + ": INTEROP=all runs it")
	}
	if _, err := os.Stat(filepath.Join(cacheDir, "installed", strings.ReplaceAll(installed, " ", "-"))); err != nil {
		results.notRun(client, "could not be installed")
		t.Skip(client + ": could not be installed")
	}
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	require.NoError(t, err)
	return n
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, text, 0o644))
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	defer func() { _ = ln.Close() }()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	require.NoError(t, err)
	return port
}
