package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"dsreg":           main,
		"dsreg-unplugged": unplugged,
	})
}

// unplugged is dsreg on a machine without a network.
func unplugged() {
	a := &app{
		streams: streams{os.Stdin, os.Stdout, os.Stderr},
		getenv:  os.Getenv,
		network: func(broker.Transport) broker.Transport { return noNetwork{} },
	}
	os.Exit(a.run(context.Background(), os.Args[1:]))
}

type noNetwork struct{}

func (noNetwork) Do(*http.Request) (*http.Response, error) {
	return nil, errors.New("network is unreachable")
}

// The scripts run dsreg as a person would, one process a command, on software
// keys and on a software TPM.
func TestScripts(t *testing.T) {
	for _, keys := range []string{"software", "swtpm"} {
		t.Run(keys, func(t *testing.T) {
			program := ""
			if keys == "swtpm" {
				program = findSwtpm(t)
			}
			testscript.Run(t, testscript.Params{
				Dir:                 "testdata/script",
				RequireExplicitExec: true,
				Cmds:                map[string]func(*testscript.TestScript, bool, []string){"revoke": revoke, "seen": seen},
				Condition: func(c string) (bool, error) {
					if c == "optional" { // a program that another machine may lack
						return os.Getenv("PRTBROKER_REQUIRE_TOOLS") != "1", nil
					}
					return c == keys, nil
				},
				Setup: func(e *testscript.Env) error {
					e.Setenv("HOME", e.WorkDir)
					e.Setenv("DSREG_STATE", filepath.Join(e.WorkDir, "state"))
					e.Setenv("DSREG_EMULATOR", "true")
					e.Setenv("KEYS", "--software-keys")
					if err := startService(e); err != nil {
						return err
					}
					if program == "" {
						return nil
					}
					socket, err := startSwtpm(e, program)
					e.Setenv("DSREG_TPM", socket)
					e.Setenv("KEYS", "--software-keys=false")
					return err
				},
			})
		})
	}
}

func findSwtpm(t *testing.T) string {
	program, err := exec.LookPath("swtpm")
	if err != nil {
		require.NotEqual(t, "1", os.Getenv("PRTBROKER_REQUIRE_TPM"), "swtpm is missing")
		t.Skip("swtpm is not installed")
	}
	return program
}

// startSwtpm starts a TPM that dsreg connects to anew with each command. The
// path of its socket is short: a Unix socket takes some 100 bytes.
func startSwtpm(e *testscript.Env, program string) (socket string, err error) {
	dir, err := os.MkdirTemp("", "dsreg")
	if err != nil {
		return "", err
	}
	socket = filepath.Join(dir, "tpm")
	cmd := exec.Command(program, "socket", "--tpm2", "--tpmstate", "dir="+dir,
		"--server", "type=unixio,path="+socket, "--flags", "not-need-init,startup-clear")
	if err := cmd.Start(); err != nil {
		return "", err
	}
	e.Defer(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
	})
	for range 1000 {
		var conn net.Conn
		if conn, err = net.Dial("unix", socket); err == nil { // the file is there before anyone listens
			return socket, conn.Close()
		}
		if err := exec.Command("sleep", "0.01").Run(); err != nil {
			return "", err
		}
	}
	return "", err
}

func TestExitStatus(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, exitOK},
		{errors.New("anything"), exitFailed},
		{usagef("wrong"), exitUsage},
		{broker.ErrSeveralAccounts, exitUsage},
		{broker.ErrInteractionRequired, exitUser},
		{broker.ErrNoAccount, exitUser},
		{broker.ErrPRTExpired, exitUser},
		{broker.ErrLocked, exitUser},
		{broker.ErrUserCanceled, exitUser},
		{broker.ErrDeviceNotRegistered, exitUser},
		{broker.ErrTransient, exitLater},
		{broker.ErrThrottled, exitLater},
		{broker.ErrOfflineExpired, exitLater},
		{broker.ErrPINLocked, exitLater},
		{broker.ErrAccountLocked, exitLater},
		{broker.ErrWrongPIN, exitRefused},
		{broker.ErrBadCredential, exitRefused},
		{broker.ErrBlocked, exitRefused},
		{broker.ErrDeviceNotCompliant, exitRefused},
		{broker.ErrDeviceGone, exitRefused},
		{broker.ErrAppConfig, exitRefused},
		{broker.ErrKeyUnusable, exitFailed},
		{broker.ErrStateDamaged, exitFailed},
	} {
		require.Equalf(t, tc.want, exitStatus(tc.err), "%v", tc.err)
	}
}

// An application by itself is the scope for all of it.
func TestScopesOf(t *testing.T) {
	for arg, want := range map[string]string{
		"0c6c1a54-6f5e-4a6b-8f5d-5f7d6a2b1c01":          "0c6c1a54-6f5e-4a6b-8f5d-5f7d6a2b1c01/.default",
		"0c6c1a54-6f5e-4a6b-8f5d-5f7d6a2b1c01/.default": "0c6c1a54-6f5e-4a6b-8f5d-5f7d6a2b1c01/.default",
		"api://payroll":                         "api://payroll/.default",
		"api://payroll/read":                    "api://payroll/read",
		"https://graph.microsoft.com/":          "https://graph.microsoft.com/.default",
		"https://graph.microsoft.com/User.Read": "https://graph.microsoft.com/User.Read",
		"User.Read":                             "User.Read",
	} {
		require.Equal(t, []string{want}, scopesOf([]string{arg}))
	}
	require.Equal(t, []string{"api://payroll", "User.Read"}, scopesOf([]string{"api://payroll", "User.Read"}))
}

// What a state was made with is never replaced by something weaker.
func TestNoFallBack(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, writeSettled(dir, settled{Tenant: "contoso.example", Keys: keysTPM, TPM: filepath.Join(dir, "gone")}))
	_, err := softkeys.Open(softkeys.File(filepath.Join(dir, "software.key")))
	require.NoError(t, err)
	for _, tc := range []struct {
		name string
		f    flags
		want string
	}{
		{"the TPM is gone", flags{state: dir}, "--tpm: stat " + filepath.Join(dir, "gone") + ": no such file or directory"},
		{"software keys are asked for", flags{state: dir, softwareKeys: true}, dir + " was made with a TPM and cannot be opened with software keys"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := &app{flags: tc.f, getenv: os.Getenv}
			_, err := a.open(t.Context())
			require.EqualError(t, err, tc.want)
		})
	}
}
