package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

var update = flag.Bool("update", false, "write the golden files")

func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

// whatif runs the program.
func whatif(args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = run(args, &out, &errs, noon)
	return status, out.String(), errs.String()
}

const clinic = "testdata/clinic"

// recordsID is the application of CA015, read from the export.
func recordsID(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(clinic + "/policies/ca015-patient-records-only-on-ward-computers.json")
	require.NoError(t, err)
	var p struct {
		Conditions struct {
			Applications struct{ IncludeApplications []string }
		}
	}
	require.NoError(t, json.Unmarshal(data, &p))
	return p.Conditions.Applications.IncludeApplications[0]
}

func TestTable(t *testing.T) {
	for name, args := range map[string]string{
		"interrupt":   "-user alice -app exchange -ip 203.0.113.20 -country DE -platform windows -device hybrid,compliant",
		"grant":       "-user alice -app exchange -ip 203.0.113.20 -country DE -platform windows -client-app desktop -device hybrid,compliant -methods hello -bound",
		"block":       "-user alice -app exchange -ip 192.0.2.44 -country BR -platform windows -methods hello -device hybrid,compliant",
		"impossible":  "-user alice -app exchange -ip 203.0.113.200 -country DE -platform windows -client-app mobileAppsAndDesktopClients -flow deviceCodeFlow -methods pwd,push",
		"admin":       "-user root -role GlobalAdministrator -app azure -ip 203.0.113.20 -country DE -methods pwd,push -device joined,compliant -platform windows",
		"guest":       "-user bob -guest b2bCollaborationGuest -home-tenant other -mfa-trust -app sharepoint -ip 198.51.100.9 -country CH -platform windows -methods pwd,push -age 13h",
		"action":      "-user alice -action registerSecurityInformation -ip 198.51.100.7 -country DE -platform android",
		"unevaluable": "-user alice -group " + wardGroup + " -app " + recordsID(t) + " -ip 203.0.113.21 -country DE -platform windows -device hybrid,compliant,extensionAttribute1=ward -methods hello",
		"closed":      "-fail-closed -user alice -group " + wardGroup + " -app " + recordsID(t) + " -ip 203.0.113.21 -country DE -platform windows -device hybrid,compliant,extensionAttribute1=ward -methods hello",
		"workload":    "-kind workload -user job -app graph -ip 198.51.100.99",
	} {
		t.Run(name, func(t *testing.T) {
			status, out, errs := whatif(append([]string{"-policies", clinic}, strings.Fields(args)...)...)
			require.Empty(t, errs)
			require.Zero(t, status)
			golden(t, name+".txt", out)
		})
	}
}

// wardGroup is whom CA017 is about.
const wardGroup = "2d815cec-9725-5316-8f39-7ab87659b218"

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name)
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// The answer has the shape of Microsoft Graph's conditionalAccessRoot:
// evaluate, and says of each policy what the table says.
func TestJSON(t *testing.T) {
	args := strings.Fields("-policies " + clinic + " -user alice -app exchange -ip 203.0.113.20 -country DE -platform windows")
	status, table, _ := whatif(args...)
	require.Zero(t, status)
	status, out, errs := whatif(append(args, "-json")...)
	require.Zero(t, status)
	require.Empty(t, errs)

	var answer struct {
		Context string `json:"@odata.context"`
		Value   []struct {
			ID              string
			DisplayName     string
			State           string
			Conditions      json.RawMessage
			PolicyApplies   *bool
			AnalysisReasons *string
		}
	}
	var loose map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(out), &loose))
	require.Len(t, loose, 2)
	require.NoError(t, json.Unmarshal([]byte(out), &answer))
	require.Equal(t, "https://graph.microsoft.com/v1.0/$metadata#Collection(microsoft.graph.whatIfAnalysisResult)", answer.Context)
	require.Len(t, answer.Value, 17)
	for _, p := range answer.Value {
		require.NotEmpty(t, p.ID)
		require.NotNil(t, p.PolicyApplies, p.DisplayName)
		require.NotNil(t, p.AnalysisReasons, p.DisplayName)
		require.Equal(t, *p.PolicyApplies, *p.AnalysisReasons == "notSet", p.DisplayName)
		for line := range strings.Lines(table) {
			if strings.HasPrefix(line, clip(p.DisplayName, 56)) {
				fields := strings.Fields(strings.TrimPrefix(line, clip(p.DisplayName, 56)))
				require.Equal(t, *p.PolicyApplies, fields[1] == "yes", line)
			}
		}
	}
}

// Every mistake is one sentence on standard error and status 2.
func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		return path
	}
	for _, name := range []string{"a", "b", "c"} {
		write("broken/"+name+".json", "{\n  \"displayName\": oops\n}")
	}
	write("none/readme.txt", "nothing here")
	matrixOf := func(name, text string) string {
		return "-policies " + clinic + " -matrix " + write(name, text)
	}
	const persona, signIn = `{"name":"A","id":"a"}`, `{"name":"S","app":"exchange"}`

	for _, c := range []struct{ name, args, says string }{
		{"no flags", "", "-policies"},
		{"no folder", "-policies " + dir + "/absent -user a -app exchange", "there is no " + dir + "/absent"},
		{"a file", "-policies " + dir + "/none/readme.txt -user a -app exchange", "is not a folder"},
		{"not JSON", "-policies " + dir + "/broken -user a -app exchange", "(and 2 more files)"},
		{"not JSON, where", "-policies " + dir + "/broken -user a -app exchange", "a.json: line 2, column "},
		{"no policies", "-policies " + dir + "/none -user a -app exchange", "no Conditional Access policy"},
		{"nobody", "-policies " + clinic + " -app exchange", "-user"},
		{"no target", "-policies " + clinic + " -user a", "-app"},
		{"two targets", "-policies " + clinic + " -user a -app exchange -auth-context c1", "one of"},
		{"unknown app", "-policies " + clinic + " -user a -app Outlok", `"Outlok" is an unknown application`},
		{"app group", "-policies " + clinic + " -user a -app Office365", "is a group of applications"},
		{"bad address", "-policies " + clinic + " -user a -app exchange -ip 300.1.2.3", `"300.1.2.3" is not an IP address`},
		{"bad country", "-policies " + clinic + " -user a -app exchange -country Germany", "two-letter"},
		{"unknown role", "-policies " + clinic + " -user a -app exchange -role Boss", "unknown role"},
		{"unknown method", "-policies " + clinic + " -user a -app exchange -methods pwd,telepathy", "telepathy"},
		{"unknown platform", "-policies " + clinic + " -user a -app exchange -platform beos", "windows"},
		{"unknown fact", "-policies " + clinic + " -user a -app exchange -device shiny", "shiny"},
		{"unknown property", "-policies " + clinic + " -user a -app exchange -device colour=red", "colour"},
		{"bad age", "-policies " + clinic + " -user a -app exchange -age yesterday", "yesterday"},
		{"bad context", "-policies " + clinic + " -user a -auth-context c100", "c1 to c99"},
		{"bad attribute", "-policies " + clinic + " -user a -app exchange -attribute Ring", "Set_Name=value"},
		{"bad profile", "-policies " + clinic + " -user a -traffic all", "m365"},
		{"bad prefix", "-policies " + clinic + " -user a -app exchange -trusted-ip 10.0.0.0", "trusted-ip"},
		{"unknown flag", "-policies " + clinic + " -colour red", "colour"},
		{"stray word", "-policies " + clinic + " -user a -app exchange now", `"now"`},
		{"report of one", "-policies " + clinic + " -user a -app exchange -html x.html", "-matrix"},
		{"user in matrix", "-policies " + clinic + " -user a -matrix x.json", "-user"},
		{"no matrix", "-policies " + clinic + " -matrix " + dir + "/absent.json", "there is no"},
		{"broken matrix", matrixOf("m1.json", "{\n\"personas\": [}"), "line 2"},
		{"short matrix", matrixOf("m2.json", `{"personas":`), "ends too early"},
		{"empty matrix", matrixOf("m3.json", `{}`), "needs personas and signIns"},
		{"unknown key", matrixOf("m4.json", `{"personas":[`+persona+`],"signIns":[{"name":"S","ap":"x"}]}`), `"ap"`},
		{"wrong type", matrixOf("m5.json", `{"personas":[{"name":1}]}`), "name cannot be a number"},
		{"twins", matrixOf("m6.json", `{"personas":[`+persona+`,`+persona+`],"signIns":[`+signIn+`]}`), "persona 2"},
		{"stranger", matrixOf("m7.json", `{"personas":[`+persona+`],"signIns":[{"name":"S","personas":["B"]}]}`), `"B"`},
		{"odd hope", matrixOf("m8.json", `{"personas":[`+persona+`],"signIns":[{"name":"S","app":"exchange","expect":"maybe"}]}`), "maybe"},
		{"bad sign-in", matrixOf("m9.json", `{"personas":[`+persona+`],"signIns":[{"name":"S","app":"exchange","ip":"here"}]}`), `A, "S": "here"`},
		{"bad target", "-policies " + clinic + " -matrix testdata/personas.json -html " + dir + "/no/such/folder.html", "there is no"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, out, errs := whatif(strings.Fields(c.args)...)
			require.Equal(t, statusBadInput, status)
			require.Empty(t, out)
			require.Contains(t, errs, c.says)
			require.Equal(t, 1, strings.Count(errs, "\n"), errs)
			require.True(t, strings.HasPrefix(errs, "whatif: ") && strings.HasSuffix(errs, ".\n"), errs)
			require.NotContains(t, errs, "..\n")
		})
	}
}

func TestHelp(t *testing.T) {
	status, out, errs := whatif("-h")
	require.Zero(t, status)
	require.Empty(t, out)
	for _, name := range []string{"-policies", "-matrix", "-html", "-user", "-app", "-ip", "-json"} {
		require.Contains(t, errs, "  "+name)
	}
}

// personas.json has a key for every flag, and no other.
func TestFlagsAndKeys(t *testing.T) {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	personaFlags(flags, new(persona))
	attemptFlags(flags, new(attempt))
	var fromFlags []string
	flags.VisitAll(func(f *flag.Flag) {
		words := strings.Split(f.Name, "-")
		for i := range words[1:] {
			words[i+1] = strings.ToUpper(words[i+1][:1]) + words[i+1][1:]
		}
		name := strings.Join(words, "")
		if _, repeatable := f.Value.(list); repeatable && !strings.HasSuffix(name, "s") {
			name = strings.ReplaceAll(name+"s", "ys", "ies")
		}
		if name == "user" {
			name = "id"
		}
		fromFlags = append(fromFlags, name)
	})
	var keys []string
	for _, v := range []any{persona{}, attempt{}} {
		for i := range reflect.TypeOf(v).NumField() {
			key := reflect.TypeOf(v).Field(i).Tag.Get("json")
			key = strings.TrimSuffix(key, ",omitempty")
			if !slices.Contains([]string{"name", "personas", "expect"}, key) {
				keys = append(keys, key)
			}
		}
	}
	require.ElementsMatch(t, keys, fromFlags)
}

// What is said of a sign-in reaches the policies.
func TestSignIn(t *testing.T) {
	tn, err := openTenant(clinic, reading{})
	require.NoError(t, err)
	in, err := tn.signIn(
		persona{ID: "u", Groups: []string{"g"}, Roles: []string{"Global Administrator"}, Attributes: []string{"A_b=1", "A_b=2"}},
		attempt{
			App: "teams", AppAttributes: []string{"C_d=x"}, ClientApp: "desktop", Platform: "macos", Flow: "deviceCodeFlow",
			IP: "2001:db8:c1::7", Country: "de", GPSCountry: "at", Device: "joined,noncompliant,model=Surface,extensionAttribute15=z,systemLabels=CloudPC",
			Methods: "pwd,push", Available: "fido2", Risk: "high", UserRisk: "low", InsiderRisk: "minor", Age: "2h", MFAAge: "90m",
		}, noon())
	require.NoError(t, err)
	require.Equal(t, "cc15fd57-2c6c-4117-a88c-83b1d56b4bbe", in.AppID)
	require.Equal(t, []string{"62e90394-69f5-4237-9190-012177145e10"}, in.User.Roles)
	require.Equal(t, []policy.Attribute{{Name: "A_b", Values: []string{"1", "2"}, Multiple: true}}, in.User.Attributes)
	require.Equal(t, []policy.Attribute{{Name: "C_d", Values: []string{"x"}}}, in.AppAttributes)
	require.Equal(t, policy.ClientMobileOrDesktop, in.ClientApp)
	require.Equal(t, policy.PlatformMacOS, in.Platform)
	require.Equal(t, policy.TransferDeviceCode, in.Flow)
	require.Equal(t, "2001:db8:c1::7", in.IP.String())
	require.Equal(t, "DE", in.Country)
	require.Equal(t, "AT", in.GPSCountry)
	require.Equal(t, policy.TrustJoined, in.Device.TrustType)
	require.Equal(t, claims.No, in.Device.Compliant)
	require.Equal(t, "Surface", in.Device.Model)
	require.Equal(t, "z", in.Device.ExtensionAttributes[14])
	require.Equal(t, []string{"CloudPC"}, in.Device.SystemLabels)
	require.Equal(t, claims.Password|claims.AuthenticatorPush, in.Methods)
	require.Equal(t, claims.FIDO2, in.Available)
	require.Equal(t, policy.RiskHigh, in.SignInRisk)
	require.Equal(t, policy.RiskLow, in.UserRisk)
	require.Equal(t, policy.InsiderRiskMinor, in.InsiderRisk)
	require.Equal(t, noon().Add(-2*time.Hour), in.AuthTime)
	require.Equal(t, noon().Add(-90*time.Minute), in.MFATime)
	require.Equal(t, noon(), in.Now)
}
