package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/tpm"
)

// Each line of doctor as it is when something is wrong, with what to do.
func TestDoctorLines(t *testing.T) {
	now := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	device := broker.Device{ID: "d", TenantName: "contoso.example", NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(9, 0, 0)}
	ending := device
	ending.NotAfter = now.AddDate(0, 0, 10)
	ended := device
	ended.NotAfter = now.AddDate(0, 0, -10)
	early := device
	early.NotBefore = now.AddDate(0, 0, 1)
	open := t.TempDir()
	require.NoError(t, os.Chmod(open, 0o755))
	closed := t.TempDir()
	require.NoError(t, os.Chmod(closed, 0o700))
	file := filepath.Join(closed, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))

	for _, tc := range []struct {
		name string
		do   func(*doctor)
		want []finding // Advice is a part of the advice
	}{
		{"TPM", func(d *doctor) { d.tpm(chip{}) }, []finding{
			{"TPM capabilities", healthy, "all that a device key and a Hello key need", ""}, {"TPM lockout", healthy, "no wrong PIN counted, of 32", ""}}},
		{"TPM that lacks something", func(d *doctor) { d.tpm(chip{lacks: []string{"RSA keys of 2048 bits"}}) }, []finding{
			{"TPM capabilities", broken, "lacks RSA keys of 2048 bits", "--software-keys"}, {"TPM lockout", healthy, "no wrong PIN counted, of 32", ""}}},
		{"TPM with wrong PINs", func(d *doctor) { d.tpm(chip{wrong: 5}) }, []finding{
			{"TPM capabilities", healthy, "all that a device key and a Hello key need", ""},
			{"TPM lockout", unsure, "5 of 32 wrong PINs counted, from any program; one is forgotten every 10m0s", "time does"}}},
		{"locked TPM", func(d *doctor) { d.tpm(chip{wrong: 32}) }, []finding{
			{"TPM capabilities", healthy, "all that a device key and a Hello key need", ""},
			{"TPM lockout", broken, "32 wrong PINs: locked; one is forgotten every 10m0s", "tpm2_dictionarylockout"}}},
		{"no TPM", func(d *doctor) { d.openFailed(tpm.ErrNoTPM) }, []finding{{"TPM", broken, tpm.ErrNoTPM.Error(), "tss"}}},
		{"another TPM", func(d *doctor) { d.openFailed(broker.ErrKeyUnusable) }, []finding{{"keys", broken, broker.ErrKeyUnusable.Error(), "join again"}}},
		{"damaged state", func(d *doctor) { d.openFailed(broker.ErrStateDamaged) }, []finding{{"state", broken, broker.ErrStateDamaged.Error(), "backup"}}},
		{"software keys", func(d *doctor) { d.keys(tpm.Info{}) }, []finding{{"keys", unsure, "software keys: anyone who copies the state directory has them", "join again"}}},
		{"certificate", func(d *doctor) { d.registration(status(now, device)) }, []finding{
			{"registration", healthy, "device d of contoso.example", ""}, {"certificate", healthy, "valid until 2035-11-28, thumbprint ", ""}}},
		{"certificate that ends", func(d *doctor) { d.certificate(status(now, ending)) }, []finding{{"certificate", unsure, "the device certificate ends on 2026-12-08", "dsreg leave, then dsreg join"}}},
		{"certificate that ended", func(d *doctor) { d.certificate(status(now, ended)) }, []finding{{"certificate", broken, "the device certificate ended on 2026-11-18", "leave --local"}}},
		{"certificate of tomorrow", func(d *doctor) { d.certificate(status(now, early)) }, []finding{{"certificate", broken, "the device certificate is not valid before 2026-11-29 10:00:00: the clock is wrong", "set the clock"}}},
		{"nobody signed in", func(d *doctor) {
			s := status(now, device)
			s.Accounts = nil
			d.registration(s)
			d.findings = d.findings[2:]
		}, []finding{{"account", unsure, "nobody is signed in", "dsreg signin"}}},
		{"fresh PRT", func(d *doctor) { d.prt(prtIn(broker.PRTFresh, now)) }, []finding{{"PRT of alice", healthy, "fresh until 2026-11-28 10:00:00, MFA unknown", ""}}},
		{"expired PRT", func(d *doctor) { d.prt(prtIn(broker.PRTExpired, now)) }, []finding{{"PRT of alice", unsure, "expired on 2026-11-28 10:00:00", "dsreg refresh"}}},
		{"revoked PRT", func(d *doctor) {
			p := prtIn(broker.PRTNeedsInteraction, now)
			p.LastError = 50173
			d.prt(p)
		}, []finding{{"PRT of alice", unsure, string(broker.PRTNeedsInteraction) + ", AADSTS50173", "dsreg signin"}}},
		{"failed attempt", func(d *doctor) {
			p := prtIn(broker.PRTFresh, now)
			p.Failed = &broker.Attempt{Time: now, Code: 50126, Description: "the password is wrong"}
			d.prt(p)
			p.Failed = &broker.Attempt{Time: now, HTTPError: "network is unreachable"}
			d.prt(p)
			d.findings = []finding{d.findings[1], d.findings[3]}
		}, []finding{
			{"last attempt", unsure, "failed on 2026-11-28 10:00:00: AADSTS50126, the password is wrong", "dsreg status"},
			{"last attempt", unsure, "failed on 2026-11-28 10:00:00: network is unreachable", "dsreg status"}}},
		{"open directory", func(d *doctor) { d.directory(open) }, []finding{{"state directory", unsure, open + " can be read by others (mode 0755)", "chmod 700 " + open}}},
		{"closed directory", func(d *doctor) { d.directory(closed) }, []finding{{"state directory", healthy, closed, ""}}},
		{"no directory", func(d *doctor) { d.directory(filepath.Join(closed, "none")) }, []finding{{"state directory", healthy, filepath.Join(closed, "none") + " does not exist yet", ""}}},
		{"a file", func(d *doctor) { d.directory(file) }, []finding{{"state directory", broken, file + " is not a directory", "--state"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := &doctor{app: &app{getenv: os.Getenv}, ctx: t.Context()}
			tc.do(d)
			require.Len(t, d.findings, len(tc.want))
			for i, f := range d.findings {
				require.Contains(t, f.Advice, tc.want[i].Advice)
				require.Equal(t, f.Health == healthy, f.Advice == "", "what is wrong says what to do, and nothing else does")
				f.Advice = tc.want[i].Advice
				require.Equal(t, tc.want[i], f)
			}
		})
	}
}

// Endpoints, and the clock that their replies tell.
func TestDoctorEndpoints(t *testing.T) {
	for _, tc := range []struct {
		name   string
		off    time.Duration
		health health
		detail string
	}{
		{"the clock is right", 0, healthy, "agrees with the service within"},
		{"the clock is slow", 8 * time.Minute, broken, "this machine's clock is 8m0s behind the service's"},
		{"the clock is fast", -time.Hour, broken, "this machine's clock is 1h0m0s ahead of the service's"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			there := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				require.Empty(t, r.Header.Get("Authorization"))
				require.Equal(t, http.MethodHead, r.Method)
				w.Header().Set("Date", time.Now().Add(tc.off).UTC().Format(http.TimeFormat))
				http.NotFound(w, r)
			}))
			defer there.Close()
			gone := httptest.NewTLSServer(nil)
			gone.Close()
			d := &doctor{ctx: t.Context()}
			d.endpoints(there.Client(), []endpoint{{"sign-in", there.URL}, {"device registration", gone.URL}})
			require.Len(t, d.findings, 3)
			require.Equal(t, healthy, d.findings[0].Health)
			require.Equal(t, broken, d.findings[1].Health)
			require.Contains(t, d.findings[1].Detail, "cannot be reached")
			require.Contains(t, d.findings[1].Advice, "firewall and proxy for "+host(gone.URL))
			require.Equal(t, "clock", d.findings[2].Check)
			require.Equal(t, tc.health, d.findings[2].Health)
			require.Contains(t, d.findings[2].Detail, tc.detail)
		})
	}
	t.Run("what discovery named", func(t *testing.T) {
		all := endpointsOf(broker.Tenant{
			TokenURL: "https://login.example/t/oauth2/token", Join: broker.ServiceEndpoint{URL: "https://drs.example/join"},
			Key: broker.ServiceEndpoint{URL: "https://keys.example/key"},
		})
		var hosts []string
		for _, e := range all {
			hosts = append(hosts, host(e.address))
		}
		require.Equal(t, []string{"login.example", "drs.example", "keys.example"}, hosts)
		require.Equal(t, publicEndpoints, endpointsOf(broker.Tenant{}))
	})
}

func status(now time.Time, d broker.Device) broker.Status {
	return broker.Status{Registered: true, Device: d, Time: now, Accounts: []broker.Account{{PreferredUsername: "alice"}}}
}

func prtIn(s broker.PRTState, expires time.Time) broker.PRTStatus {
	return broker.PRTStatus{Account: broker.Account{PreferredUsername: "alice"}, State: s, ExpiresOn: expires}
}

// chip is a TPM that tells of itself.
type chip struct {
	tpm.KeyStore
	lacks []string
	wrong int
}

func (c chip) Check(context.Context) error {
	if c.lacks == nil {
		return nil
	}
	return &tpm.CheckError{Lacks: c.lacks}
}

func (c chip) Lockout(context.Context) (tpm.Lockout, error) {
	return tpm.Lockout{WrongPINs: c.wrong, MaxWrongPINs: 32, Forgets: 10 * time.Minute, Locked: c.wrong >= 32}, nil
}

// What is printed for people and machines who look for a fault has no secret:
// no token, no key, no password, also when it fails, and in the log.
func TestReportsTellNoSecret(t *testing.T) {
	dir := t.TempDir()
	tap := &tap{}
	do := func(env map[string]string, args ...string) (out string) {
		var both bytes.Buffer
		a := &app{
			streams: streams{strings.NewReader("27182845\n"), &both, &both},
			getenv:  func(name string) string { return env[name] },
			network: func(next broker.Transport) broker.Transport {
				tap.next = next
				return tap
			},
		}
		a.run(t.Context(), append(args, "--state", dir, "--emulator", "--verbose"))
		return both.String()
	}
	do(nil, "join", "--software-keys")
	token := strings.TrimSpace(lastLine(do(nil, "token", "--interactive", "api://payroll/.default")))
	require.True(t, strings.HasPrefix(token, "eyJ"), token)
	do(nil, "hello", "set", "--pin-stdin")
	tap.note(token)
	tap.note(emulatedPassword)
	tap.note(emulatedTOTP)
	tap.note("27182845")
	tap.note("proxy-password")
	master, err := os.ReadFile(filepath.Join(dir, "software.key"))
	require.NoError(t, err)
	tap.note(strings.TrimSpace(string(master)))
	require.Greater(t, len(tap.secrets), 8, "the tap saw no secrets")

	reports := func(t *testing.T) {
		t.Setenv("HTTPS_PROXY", "http://user:proxy-password@127.0.0.1:1")
		for _, args := range [][]string{{"doctor"}, {"status"}, {"why", "api://payroll/.default"}, {"log"}, {"accounts"}, {"hello", "status"}, {"refresh"}} {
			for _, more := range [][]string{nil, {"--json"}} {
				out := do(nil, append(args, more...)...)
				require.NotEmpty(t, out)
				for _, secret := range tap.secrets {
					require.NotContainsf(t, out, secret, "%v", args)
				}
			}
		}
	}
	t.Run("healthy", reports)
	tap.down = true
	t.Run("without a network", reports)
	damaged, err := filepath.Glob(filepath.Join(dir, "records", "*.rec"))
	require.NoError(t, err)
	for _, file := range damaged {
		require.NoError(t, os.WriteFile(file, []byte("damaged"), 0o600))
	}
	t.Run("damaged", reports)
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// tap remembers the secrets that pass.
type tap struct {
	next broker.Transport
	down bool

	mu      sync.Mutex // guards secrets
	secrets []string
}

// note takes a secret. Short values would be found by chance.
func (t *tap) note(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(s) >= 6 {
		t.secrets = append(t.secrets, s)
	}
}

func (t *tap) Do(r *http.Request) (*http.Response, error) {
	if t.down {
		return nil, errors.New("network is unreachable")
	}
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		text, _ := io.ReadAll(body)
		form, _ := url.ParseQuery(string(text))
		for _, name := range []string{"request", "assertion", "refresh_token", "password", "code", "device_code"} {
			t.note(form.Get(name))
		}
	}
	res, err := t.next.Do(r)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	_ = res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(text))
	var reply map[string]any
	if json.Unmarshal(text, &reply) == nil {
		for _, name := range []string{"access_token", "refresh_token", "id_token", "session_key_jwe", "device_code", "Nonce"} {
			s, _ := reply[name].(string)
			t.note(s)
		}
	}
	return res, nil
}
