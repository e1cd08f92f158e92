package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Report-only and disabled policies judged as enabled, both or one kind.
func TestAsEnabled(t *testing.T) {
	args := strings.Fields("-policies testdata/change/old -user a -app exchange -methods pwd,push")
	for _, c := range []struct{ flag, says string }{
		{"", "Granted: 1 enforced policy applies"},
		{"-as-enabled", "the user is asked for a compliant device"},
		{"-as-enabled=report-only", "Assumed: 1 report-only policy is judged as enabled."},
		{"-as-enabled=disabled", "Granted: 1 enforced policy applies"},
		{"-as-enabled=false", "Granted: 1 enforced policy applies"},
	} {
		a := args
		if c.flag != "" {
			a = append(a[:len(a):len(a)], c.flag)
		}
		status, out, errs := whatif(append(a, "-platform", "windows")...)
		require.Empty(t, errs)
		require.Zero(t, status)
		require.Contains(t, out, c.says, c.flag)
	}
	status, _, errs := whatif(append(args, "-as-enabled=maybe")...)
	require.Equal(t, statusBadInput, status)
	require.Contains(t, errs, "disabled or report-only")
}

// States of a file: names and states, or another export.
func TestStateOf(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		return path
	}
	ask := func(file string) (int, string, string) {
		return whatif("-policies", "testdata/change/old", "-user", "a", "-app", "exchange", "-platform", "windows", "-methods", "pwd,push", "-state-of", file)
	}
	_, out, _ := ask(file("names.json", `{"Managed devices for mail": "on", "10000000-0000-4000-8000-000000000001": "off"}`))
	require.Contains(t, out, "the user is asked for a compliant device")
	require.Contains(t, out, "the 2 states are as ")
	_, out, _ = ask("testdata/change/new/managed-devices-for-mail.json")
	require.Contains(t, out, "the user is asked for a compliant device")
	for text, says := range map[string]string{
		`{"MFA for everybod": "on"}`:   `no policy of the export has the id or name "mfa for everybod"`,
		`{"MFA for everybody": "yes"}`: `"yes" is not a known state`,
		`[]`:                           "neither an object of names and states nor an export",
		`{`:                            "neither an object of names and states nor an export",
	} {
		status, _, errs := ask(file("bad.json", text))
		require.Equal(t, statusBadInput, status)
		require.Contains(t, errs, says)
	}
}

// One broken file costs its own policies, not the report.
func TestBrokenFile(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS("testdata/change/old")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "half.json"), []byte("{\n\"displayName\": oops}"), 0o644))
	status, out, errs := whatif("-policies", dir, "-user", "a", "-app", "exchange")
	require.Empty(t, errs)
	require.Equal(t, statusIncomplete, status)
	require.True(t, strings.HasPrefix(out, "1 file could not be read and is left out:\n  half.json: line 2, column "), out)
	require.Contains(t, out, "the user is asked for MFA")

	page := filepath.Join(t.TempDir(), "p.html")
	status, out, _ = whatif("-policies", dir, "-matrix", "testdata/change/personas.json", "-html", page)
	require.Equal(t, statusIncomplete, status)
	require.True(t, strings.HasPrefix(out, "1 file could not be read"), out)
	data, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Contains(t, string(data), "Files that could not be read")
	require.Less(t, strings.Index(string(data), "half.json"), strings.Index(string(data), "Gaps"))

	status, out, errs = whatif("-policies", dir, "-user", "a", "-app", "exchange", "-json")
	require.Equal(t, statusIncomplete, status)
	require.Contains(t, errs, "half.json", "the answer itself has no place for it")
	require.True(t, strings.HasPrefix(out, "{"))
}

// An expectation that a policy which cannot be evaluated could undo is not met.
func TestExpectationsBesideAnUnevaluablePolicy(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "p.json"), []byte(`{"id":"1","displayName":"Block untrusted","state":"enabled",
		"conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["All"]},"locations":{"includeLocations":["All"],"excludeLocations":["deleted"]}},
		"grantControls":{"operator":"OR","builtInControls":["block"]}}`), 0o644))
	matrix := filepath.Join(t.TempDir(), "m.json")
	for expect, want := range map[string]int{"grant": statusUnexpected, "interrupt": statusUnexpected, "block": statusUnexpected, "": statusAnswer} {
		require.NoError(t, os.WriteFile(matrix, []byte(`{"personas":[{"name":"A","id":"a"}],"signIns":[{"name":"S","app":"exchange","expect":"`+expect+`"}]}`), 0o644))
		status, out, _ := whatif("-policies", dir, "-matrix", matrix)
		require.Equal(t, want, status, out)
		switch expect {
		case "grant":
			require.Contains(t, out, "expected grant, but 1 policy that may apply cannot be evaluated")
		case "":
			require.Contains(t, out, "nothing was expected")
		}
	}
}

func TestUnknownMethodNamesAll(t *testing.T) {
	status, _, errs := whatif("-policies", clinic, "-user", "a", "-app", "exchange", "-methods", "fido")
	require.Equal(t, statusBadInput, status)
	for _, name := range []string{"none", "fido2", "hello", "pwd", "sms", "voice", "softwareOath", "x509CertificateMultiFactor", "temporaryAccessPassOneTime", "qrCodePin"} {
		require.Contains(t, errs, name)
	}
}

// What compiling finds is told with its file.
func TestDiagnosticsNameTheirFile(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "p.json"), []byte(`{"id":"1","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"locations":{"includeLocations":["gone"]}},"grantControls":{"operator":"OR","builtInControls":["block"]}}`), 0o644))
	_, out, _ := whatif("-policies", dir, "-user", "a", "-app", "exchange")
	require.Contains(t, out, "p.json $.conditions.locations.includeLocations[0]")
}

// Services behind an application decide too.
func TestServiceDependencies(t *testing.T) {
	_, out, _ := whatif("-policies", "testdata/change/new", "-user", "a", "-app", "teams", "-platform", "windows", "-methods", "pwd,push")
	require.Contains(t, out, "Granted: 1 enforced policy applies")
	require.Contains(t, out, "Service dependency: Microsoft Teams signs in to Office 365 Exchange Online too. Interrupted: the user is asked for a compliant device")
}
