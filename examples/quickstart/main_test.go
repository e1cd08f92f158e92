package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

var deviceID = regexp.MustCompile(`device id +[0-9a-f-]+`)

// runQuickstart runs the program with args and returns what it printed.
func runQuickstart(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(context.Background(), args, &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func requireSwtpm(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("swtpm"); err == nil {
		return
	}
	if os.Getenv("PRTBROKER_REQUIRE_TPM") == "1" {
		t.Fatal("swtpm is not installed, and PRTBROKER_REQUIRE_TPM=1")
	}
	t.Skip("swtpm is not installed")
}

func TestStory(t *testing.T) {
	for _, kind := range []string{"software", "swtpm"} {
		t.Run(kind, func(t *testing.T) {
			if kind == "swtpm" {
				requireSwtpm(t)
			}
			code, out, errs := runQuickstart(t, "-tpm", kind)
			require.Zero(t, code, errs)
			require.Empty(t, errs)
			tellsTheStory(t, out)
		})
	}
}

// tellsTheStory checks the evidence of each step.
func tellsTheStory(t *testing.T, out string) {
	t.Helper()
	for _, want := range []string{
		`(?m)^1\. `, `device id +[0-9a-f]{8}-[0-9a-f-]{27}\n`, `thumbprint [0-9A-F]{40}`,
		`(?m)^2\. `, `amr +pwd`, `no MFA claim`,
		`(?m)^3\. `, `token +from the prt`,
		`(?m)^4\. `, `ErrInteractionRequired, AADSTS50076, claims \{`, `"Require MFA for Payroll and Expenses": (failure|interrupted)`, `new PRT +amr .*mfa`,
		`(?m)^5\. `, `not asked`,
		`(?m)^6\. `, `4 hours later +renewed`, `expiry moved`, `ErrPRTExpired`,
		`(?m)^7\. `, `ErrPRTRevoked, AADSTS50173`, `ErrDeviceDisabled, AADSTS135011`,
		`(?m)^8\. `, `Hello key +made and registered`, `the PIN signs in: amr rsa mfa`, `Payroll +token from the prt, nobody was asked`, `(?m)^   offline +`,
		`(?m)^9\. `, `AADSTS7000016`, `ErrKeyUnusable`,
		`\| Device State +\|`, `AzureAdJoined : YES`, `\| SSO State +\|`, `AzureAdPrt : YES`, `NgcSet : YES`,
	} {
		require.Regexp(t, regexp.MustCompile(want), out)
	}
	for _, secret := range []string{password, totpSecret, helloPIN} {
		require.NotContains(t, out, secret)
	}
}

func TestLogHasNoSecret(t *testing.T) {
	code, _, log := runQuickstart(t, "-tpm", "software", "-v")
	require.Zero(t, code)
	require.NotEmpty(t, log)
	for _, secret := range []string{password, totpSecret, "eyJ"} {
		require.NotContains(t, log, secret)
	}
}

// What goes wrong is one plain sentence and a status that is not 0.
func TestBadInput(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"unknown key store", []string{"-tpm", "floppy"}, 1, "want auto, swtpm, simulator, device or software"},
		{"state directory is a file", []string{"-tpm", "software", "-state", file}, 1, file},
		{"argument", []string{"now"}, 2, `unexpected argument "now"`},
		{"unknown flag", []string{"-please"}, 2, "please"},
		{"table with state", []string{"-methods", "-state", file}, 2, "-methods keeps no state"},
		{"real tenant without state", []string{"-tenant", "contoso.example"}, 1, "-state"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errs := runQuickstart(t, tt.args...)
			require.Equal(t, tt.code, code)
			require.Contains(t, errs, tt.want)
			require.NotContains(t, out, "8. ")
		})
	}
}
