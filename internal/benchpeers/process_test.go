package benchpeers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/AzureAD/microsoft-authentication-extensions-for-go/cache"
	"github.com/AzureAD/microsoft-authentication-extensions-for-go/cache/accessor/file"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

// program builds one of the programs.
func program(tb testing.TB, name string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	out, err := exec.CommandContext(tb.Context(), "go", "build", "-o", path, "./programs/"+name).CombinedOutput()
	require.NoError(tb, err, "%s", out)
	return path
}

func launch(tb testing.TB, path string, args ...string) string {
	out, err := exec.CommandContext(tb.Context(), path, args...).CombinedOutput()
	require.NoError(tb, err, "%s", out)
	return strings.TrimSpace(string(out))
}

// A machine is what a new process finds: a tenant that listens, a device with
// somebody signed in, and tokens that an earlier process kept.
type machine struct {
	srv  *entratest.Server
	args []string
	want string // the first token that was kept
}

func newMachine(tb testing.TB, tokens int) *machine {
	tb.Helper()
	dir := tb.TempDir()
	m := &machine{srv: entratest.NewTB(tb, Options())}
	keys, err := softkeys.Open(softkeys.File(filepath.Join(dir, "master")))
	require.NoError(tb, err)
	defer keys.Close()
	files, err := store.NewFile(filepath.Join(dir, "state"))
	require.NoError(tb, err)
	b, err := NewBroker(tb.Context(), m.srv, keys, files, true)
	require.NoError(tb, err)
	defer b.Close()
	require.NoError(tb, b.Fill(tb.Context(), tokens))
	m.want, err = b.Silent(tb.Context(), 0)
	require.NoError(tb, err)
	ca := filepath.Join(dir, "ca.pem")
	require.NoError(tb, os.WriteFile(ca, m.srv.CA(), 0o600))
	m.args = []string{
		"-client", clientID, "-scope", resource(0)[0], "-master", filepath.Join(dir, "master"),
		"-state", files.Dir(), "-addr", m.srv.Addr(), "-ca", ca,
	}
	return m
}

// msalFile fills MSAL's file cache and returns the arguments of its program.
func msalFile(tb testing.TB, tokens int) (args []string, want string) {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "cache.json")
	storage, err := file.New(path)
	require.NoError(tb, err)
	kept, err := cache.New(storage, path+".timestamp")
	require.NoError(tb, err)
	m, err := NewMSAL(kept)
	require.NoError(tb, err)
	require.NoError(tb, m.Fill(tb.Context(), tokens))
	want, err = m.Silent(tb.Context(), 0)
	require.NoError(tb, err)
	return []string{"-client", clientID, "-scope", resource(0)[0], "-authority", authority, "-cache", path}, want
}

// What is timed is what is said: a kept token is the one that was kept, and
// costs the service no request; without it there is one more sign-in.
func TestNewProcess(t *testing.T) {
	m := newMachine(t, 3)
	ours := program(t, "prtbroker")
	before := len(m.srv.SignIns())
	require.Equal(t, m.want, launch(t, ours, append(m.args, "-keep")...))
	require.Len(t, m.srv.SignIns(), before)
	require.NotEqual(t, m.want, launch(t, ours, m.args...))
	require.Len(t, m.srv.SignIns(), before+1)

	args, want := msalFile(t, 3)
	require.Equal(t, want, launch(t, program(t, "msal"), args...))
}

// BenchmarkNewProcess starts a program, which gets one token silently, and waits
// for its end: with the tokens that an earlier process kept (Config.KeepTokens),
// by one request with the PRT to an emulated tenant on this machine, and from
// the file cache of MSAL Go's extensions, which is in the clear. The program
// that does nothing is the share of the system and of the Go runtime.
func BenchmarkNewProcess(b *testing.B) {
	bench := func(name, path string, args ...string) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				launch(b, path, args...)
			}
		})
	}
	ours, theirs := program(b, "prtbroker"), program(b, "msal")
	bench("tokens=0/client=nothing", program(b, "http"))
	for _, tokens := range []int{1, 10, 100, 250} {
		m := newMachine(b, tokens)
		args, _ := msalFile(b, tokens)
		bench(fmt.Sprintf("tokens=%d/client=prtbroker-kept", tokens), ours, append(m.args, "-keep")...)
		bench(fmt.Sprintf("tokens=%d/client=prtbroker-request", tokens), ours, m.args...)
		bench(fmt.Sprintf("tokens=%d/client=msal-file", tokens), theirs, args...)
	}
}
