package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/policy"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

const globalReader = "f2ef992c-3afb-46b9-b7cf-a126ee74c451"

// clinicTenant is an emulated tenant with the policies of testdata/clinic.
func clinicTenant(t *testing.T) *entratest.Server {
	bundle, _, err := policy.LoadFS(os.DirFS("testdata/clinic"))
	require.NoError(t, err)
	locations, err := os.ReadFile("testdata/clinic/namedLocations.json")
	require.NoError(t, err)
	strengths, err := os.ReadFile("testdata/clinic/authenticationStrengths.json")
	require.NoError(t, err)
	policies, err := json.Marshal(bundle.Policies)
	require.NoError(t, err)
	export := fmt.Sprintf("[%s,%s,%s]", policies, locations, strengths)
	return entratest.NewTB(t, entratest.Options{
		Domain: "clinic.example", Policies: json.RawMessage(export), Clock: entratest.NewClock(time.Now()),
		// CA006 blocks device codes everywhere but in the data centre.
		ClientAddress: func(*http.Request) (netip.Addr, string) { return netip.MustParseAddr("203.0.113.200"), "DE" },
		Groups:        []entratest.Group{{ID: "11111111-0000-4000-8000-000000000001", Name: "Doctors", Members: []string{"ada@clinic.example"}}},
		Users: []entratest.User{
			{Username: "ada@clinic.example", Password: "Correct-Horse-1", TOTPSecret: "JBSWY3DPEHPK3PXP", Roles: []string{globalReader}},
			{Username: "vis#EXT#@clinic.example", Password: "Correct-Horse-2", Guest: true},
		},
		Apps: []entratest.App{{ClientID: graphCommandLine, Name: "Microsoft Graph Command Line Tools", Public: true, AdminConsent: true,
			Redirects: []string{"https://login.microsoftonline.com/common/oauth2/nativeclient"}}},
	})
}

var userCode = regexp.MustCompile(`enter the code ([A-Z0-9]+)`)

// A phone approves the device code that a terminal shows.
type phone struct {
	t        *testing.T
	srv      *entratest.Server
	text     bytes.Buffer
	approved int
}

func (p *phone) Write(b []byte) (int, error) {
	if m := userCode.FindSubmatch(b); m != nil {
		p.approved++
		ada := entratest.Person{Username: "ada@clinic.example", Password: "Correct-Horse-1", TOTPSecret: "JBSWY3DPEHPK3PXP"}
		require.NoError(p.t, ada.ApproveDeviceCode(p.t.Context(), p.srv.Client(), string(m[1])))
	}
	return p.text.Write(b)
}

func TestFetchTenant(t *testing.T) {
	srv := clinicTenant(t)
	dir := t.TempDir()
	personas := filepath.Join(dir, "people.json")
	require.NoError(t, os.WriteFile(personas, []byte(`{"personas": [
		{"name": "Doctor", "id": "ada@clinic.example"},
		{"name": "Visitor", "id": "vis#EXT#@clinic.example"},
		{"name": "Backup job", "id": "33333333-0000-4000-8000-000000000003", "kind": "workload"}],
		"signIns": [{"name": "Mail", "app": "exchange"}]}`), 0o600))
	f := fetching{domain: "clinic.example", folder: filepath.Join(dir, "export"), personas: personas, client: graphCommandLine, transport: srv.Client()}
	p := &phone{t: t, srv: srv}
	var out bytes.Buffer
	status, err := f.run(&out, p)
	require.NoError(t, err)
	require.Equal(t, statusAnswer, status)
	require.Equal(t, 1, p.approved)

	want, _, err := policy.LoadFS(os.DirFS("testdata/clinic"))
	require.NoError(t, err)
	got, _, err := policy.LoadFS(os.DirFS(f.folder))
	require.NoError(t, err)
	opened, err := openTenant(f.folder, reading{})
	require.NoError(t, err)
	for _, d := range opened.diagnostics {
		require.NotContains(t, d.String(), personasFile)
	}
	require.Len(t, got.Policies, len(want.Policies))
	require.Len(t, got.Locations, len(want.Locations))
	require.Len(t, got.Strengths, len(want.Strengths)+len(policy.BuiltInStrengths()))
	require.Contains(t, out.String(), "Fetched ")

	m, err := loadMatrix(filepath.Join(f.folder, "personas.json"))
	require.NoError(t, err)
	require.True(t, guid.MatchString(m.Personas[0].ID), m.Personas[0].ID)
	require.Equal(t, []string{"11111111-0000-4000-8000-000000000001"}, m.Personas[0].Groups)
	require.Equal(t, []string{globalReader}, m.Personas[0].Roles)
	require.Equal(t, "b2bCollaborationGuest", m.Personas[1].Guest)
	require.Equal(t, persona{Name: "Backup job", ID: "33333333-0000-4000-8000-000000000003", Kind: "workload"}, m.Personas[2])

	// What was fetched is ready to be judged.
	var report bytes.Buffer
	require.Equal(t, statusAnswer, run([]string{"-policies", f.folder, "-matrix", filepath.Join(f.folder, "personas.json")}, &report, io.Discard, time.Now), report.String())
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	require.NoError(t, err)
	require.Empty(t, left, "no draft is left")
}

// A failure leaves no folder that looks like an export.
func TestFetchFails(t *testing.T) {
	srv := clinicTenant(t)
	dir := t.TempDir()
	personas := filepath.Join(dir, "people.json")
	require.NoError(t, os.WriteFile(personas, []byte(`{"personas": [{"name": "Nobody", "id": "nobody@clinic.example"}], "signIns": [{"name": "Mail", "app": "exchange"}]}`), 0o600))
	f := fetching{domain: "clinic.example", folder: filepath.Join(dir, "export"), personas: personas, client: graphCommandLine, transport: srv.Client()}
	_, err := f.run(io.Discard, &phone{t: t, srv: srv})
	require.ErrorContains(t, err, `persona "Nobody": GET /v1.0/users/nobody@clinic.example: 404 Request_ResourceNotFound`)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1)
}

// answers is a Graph that knows a few addresses.
type answers map[string]string

func (a answers) Do(r *http.Request) (*http.Response, error) {
	body, ok := a[r.URL.String()]
	status := http.StatusOK
	if !ok {
		status, body = http.StatusTooManyRequests, `{"error": {"code": "TooManyRequests", "message": "Wait."}}`
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {"17"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func TestGraphList(t *testing.T) {
	g := newGraph(answers{
		graphRoot + "/two":              `{"value": [{"id": "1"}], "@odata.nextLink": "` + graphRoot + `/two?$skiptoken=x"}`,
		graphRoot + "/two?$skiptoken=x": `{"value": [{"id": "2"}]}`,
		graphRoot + "/thief":            `{"value": [], "@odata.nextLink": "https://graph.microsoft.com.evil.example/v1.0/two"}`,
		graphRoot + "/endless":          `{"value": [], "@odata.nextLink": "` + graphRoot + `/endless"}`,
		graphRoot + "/text":             `<html>`,
		graphRoot + "/long":             strings.Repeat(" ", maxAnswer+1),
	}, "token")
	all, err := g.list(context.Background(), "/two")
	require.NoError(t, err)
	require.Len(t, all, 2)
	for path, want := range map[string]string{
		"/thief":   "the next page of /thief is not on Microsoft Graph",
		"/endless": "/endless has more than 1000 pages",
		"/text":    "GET /v1.0/text: the answer is not the expected JSON",
		"/long":    "GET /v1.0/long: the answer is longer than 16 MiB",
		"/other":   "GET /v1.0/other: 429 TooManyRequests: Wait (try again after 17 seconds)",
	} {
		_, err := g.list(context.Background(), path)
		require.EqualError(t, err, want)
	}
}

func TestRoleThatMayNotBeRead(t *testing.T) {
	g := newGraph(answers{
		graphRoot + "/users/ada?$select=id,userType":         `{"id": "ada"}`,
		graphRoot + "/users/ada/transitiveMemberOf?$top=999": `{"value": [{"@odata.type": "#microsoft.graph.administrativeUnit", "id": "au"}, {"@odata.type": "#microsoft.graph.directoryRole", "id": "r1"}]}`,
	}, "token")
	require.EqualError(t, g.fillIn(context.Background(), &persona{ID: "ada"}), "the token is not allowed to read which role r1 is")
}

func TestFileName(t *testing.T) {
	for _, c := range []struct{ name, id, want string }{
		{"CA001: Require MFA for admins", "0aaf84eb-0000-4000-8000-000000000002", "ca001-require-mfa-for-admins-0aaf84eb-0000-4000-8000-000000000002.json"},
		{"../../etc/passwd", "../../root", "etc-passwd-______root.json"},
		{"日本", "x", "x.json"},
		{strings.Repeat("long ", 40), "x", strings.Repeat("long-", 12)[:60] + "-x.json"},
	} {
		require.Equal(t, c.want, fileName(c.name, c.id))
	}
}

func TestFetchFlags(t *testing.T) {
	exists := t.TempDir()
	for line, want := range map[string]string{
		"-tenant clinic.example":                            "no folder: use -o to say where to write the export",
		"-tenant clinic.example -o " + exists:               exists + " exists already; -o names a new folder",
		"-tenant clinic.example -o new -user x":             "-user is about evaluation; -tenant only fetches an export",
		"-policies testdata/clinic -user x -o new -app all": "-o is only for -tenant",
	} {
		_, err := parseFlags(strings.Fields(line), io.Discard)
		require.EqualError(t, err, want)
	}
}

// shower gives device codes to a phone.
type shower struct {
	broker.Prompter
	phone io.Writer
}

func (s shower) DeviceCode(_ context.Context, dc broker.DeviceCode) error {
	_, err := fmt.Fprintln(s.phone, dc.Message)
	return err
}

// With the state of a computer that has joined nobody needs to sign in.
func TestFetchWithPRT(t *testing.T) {
	srv := clinicTenant(t)
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "keys"), 0o700))
	keys, err := softkeys.Open(softkeys.File(filepath.Join(dir, "keys", "master.key")))
	require.NoError(t, err)
	state, err := store.NewFile(filepath.Join(dir, "state"))
	require.NoError(t, err)
	p := &phone{t: t, srv: srv}
	b, err := broker.New(t.Context(), broker.Config{
		Tenant: "clinic.example", Keys: keys, Store: state, Prompter: shower{phone: p}, Transport: srv.Client(),
		App: broker.App{ClientID: "29d9ed98-a469-4536-ade2-f981bc1d605e", RedirectURI: "msauth://Microsoft.AAD.BrokerPlugin"},
	})
	require.NoError(t, err)
	_, err = b.Enroll(t.Context(), broker.DeviceCodeFlow{}, broker.EnrollRequest{})
	require.NoError(t, err)
	require.NoError(t, b.Close())
	require.NoError(t, keys.Close())
	approved := p.approved

	f := fetching{domain: "clinic.example", folder: filepath.Join(dir, "export"), state: dir, client: graphCommandLine, transport: srv.Client()}
	_, err = f.run(io.Discard, p)
	require.NoError(t, err)
	require.Equal(t, approved, p.approved, "no further device code: %s", p.text.String())
}
