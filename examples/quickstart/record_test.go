package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/internal/proof/tally"
	"github.com/prtbroker/prtbroker/internal/recorder"
)

var update = flag.Bool("update", false, "record the runs of testdata again")

// The names of a tenant that would be recognised anywhere.
const (
	secretDomain   = "fabrikam-7f3a91.example"
	secretUser     = "zebulon.quist@" + secretDomain
	secretName     = "Zebulon Quist"
	secretPassword = "Yellow-Canary-51-Trombone"
	secretField    = "Madeup-Canary-88-Cello"
	secretNumber   = "491735550199"
)

// A real tenant, as the recorder sees one: an emulated one of those names, behind
// what may change its replies.
type realRun struct {
	tpm    string
	record string
	change func(http.RoundTripper) http.RoundTripper
}

func (r realRun) do(t *testing.T) (string, error) {
	t.Helper()
	o := tenantOptions(entratest.NewClock(time.Now()))
	o.Domain = secretDomain
	o.Users = []entratest.User{{Username: secretUser, Name: secretName, Password: secretPassword, TOTPSecret: totpSecret}}
	srv := entratest.NewTB(t, o)
	p := &phone{t: t, client: srv.Client(), person: entratest.Person{Username: secretUser, Password: secretPassword, TOTPSecret: totpSecret}}
	transport := srv.Client().Transport
	if r.change != nil {
		transport = r.change(transport)
	}
	err := realTenant(t.Context(), options{
		tpm:       r.tpm,
		tenant:    secretDomain,
		state:     t.TempDir(),
		record:    r.record,
		logger:    slog.New(slog.DiscardHandler),
		transport: transport,
	}, p)
	return p.text.String(), err
}

// What a recording of each kind of keys must not hold, and what it must: every
// secret and name of the run, in the encodings that they are carried in, and fields
// that nobody has heard of.
func TestRecordingHoldsNoSecret(t *testing.T) {
	count := tally.New(t, "recordings", "a secret or a name, searched for in a recording")
	for _, kind := range []string{"software", "swtpm"} {
		t.Run(kind, func(t *testing.T) {
			requireKeys(t, kind)
			dir := filepath.Join(t.TempDir(), "run")
			spy := &spy{}
			_, err := realRun{kind, dir, func(next http.RoundTripper) http.RoundTripper {
				spy.next = &stranger{next}
				return spy
			}}.do(t)
			require.NoError(t, err)
			host, err := os.Hostname()
			require.NoError(t, err)
			canaries := append(spy.secrets, secretDomain, "fabrikam-7f3a91", secretUser, "zebulon.quist", secretName, "Zebulon", "Quist", secretPassword, secretField, secretNumber)
			if len(host) >= 8 { // a short one may be a part of anything
				canaries = append(canaries, host)
			}
			require.Greater(t, len(canaries), 40)
			all := readAll(t, dir)
			require.Contains(t, string(all), "madeup_field", "the name of a field is kept")
			require.Contains(t, string(all), "Madeup-Header")
			for _, c := range canaries {
				found := findAny(all, c)
				count.Cell(found == "")
				require.Emptyf(t, found, "%q is in the recording", c)
			}
		})
	}
}

// A spy notes what goes over the wire and is secret.
type spy struct {
	next    http.RoundTripper
	mu      sync.Mutex // guards secrets
	secrets []string
}

// secretFields are those whose text nobody but service and device may know, or that
// name somebody.
var secretFields = map[string]bool{
	"access_token": true, "refresh_token": true, "id_token": true, "device_code": true, "user_code": true, "code": true,
	"request": true, "Nonce": true, "request_nonce": true, "session_key_jwe": true, "client_info": true, "message": true,
	"RawBody": true, "Thumbprint": true, "Data": true, "TransportKey": true, "DeviceDisplayName": false, "TargetDomain": true,
	"upn": true, "unique_name": true, "preferred_username": true, "name": true, "given_name": false, "family_name": false,
	"oid": true, "tid": true, "sub": true, "puid": true, "sid": true, "deviceid": true, "uid": true, "utid": true, "ctx": true,
	"primary_sid": true, "AddSIDs": true, "Authorization": true, "iv": true, "device_tenant_id": true, "tenant_display_name": true,
}

func (s *spy) RoundTrip(req *http.Request) (*http.Response, error) {
	body := drain(&req.Body)
	s.note("Authorization", strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "))
	s.body(body)
	res, err := s.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	s.body(drain(&res.Body))
	return res, nil
}

func drain(body *io.ReadCloser) []byte {
	if *body == nil {
		return nil
	}
	b, err := io.ReadAll(*body)
	if err != nil {
		panic(err)
	}
	*body = io.NopCloser(bytes.NewReader(b))
	return b
}

func (s *spy) body(b []byte) {
	var o any
	if json.Unmarshal(b, &o) == nil {
		s.walk("", o)
		return
	}
	if form, err := url.ParseQuery(string(b)); err == nil {
		for k, v := range form {
			s.walk(k, v[0])
		}
	}
	s.parts("access_token", string(b))
}

// parts notes each part of a JWT or JWE, and what is inside.
func (s *spy) parts(name, text string) {
	if strings.Count(text, ".") != 2 && strings.Count(text, ".") != 4 {
		return
	}
	for part := range strings.SplitSeq(text, ".") {
		inner, err := base64.RawURLEncoding.DecodeString(part)
		var o map[string]any
		if err == nil && json.Unmarshal(inner, &o) == nil {
			s.walk("", o)
			continue
		}
		s.note(name, part)
	}
}

func (s *spy) walk(name string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			s.walk(k, e)
		}
	case []any:
		for _, e := range v {
			s.walk(name, e)
		}
	case string:
		s.note(name, v)
		s.parts(name, v)
	}
}

func (s *spy) note(name, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if secretFields[name] && len(text) >= 8 {
		s.secrets = append(s.secrets, text)
	}
}

// A stranger adds to each reply what the documentation does not have.
type stranger struct{ next http.RoundTripper }

func (s *stranger) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := s.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	res.Header.Set("Madeup-Header", secretField)
	res.Header.Add("Set-Cookie", "madeup="+secretField+"; path=/; domain="+secretDomain)
	b := drain(&res.Body)
	var o map[string]any
	if d := json.NewDecoder(bytes.NewReader(b)); len(b) > 0 && b[0] == '{' {
		d.UseNumber()
		if d.Decode(&o) == nil {
			o["madeup_field"] = secretField
			o["madeup_number"] = json.Number(secretNumber)
			o["madeup_text_number"] = secretNumber
			o["madeup_object"] = map[string]any{secretUser: map[string]any{"madeup_deep": []any{secretField, "x " + secretField}}}
			o["madeup_json"] = `{"inner":"` + secretField + `"}`
			o["madeup_base64"] = base64.RawURLEncoding.EncodeToString([]byte(`{"inner":"` + secretField + `"}`))
			o["madeup_url"] = "https://" + secretDomain + "/" + secretField + "?q=" + secretField
			o["madeup_mail"] = "mailto:" + secretUser
			if b, err = json.Marshal(o); err != nil {
				return nil, err
			}
		}
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	return res, nil
}

func readAll(t *testing.T, dir string) []byte {
	t.Helper()
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Greater(t, len(files), 6)
	var all []byte
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		require.NoError(t, err)
		all = append(append(append(all, f.Name()...), '\n'), b...)
	}
	return all
}

// findAny returns the encoding in which a text is there.
func findAny(all []byte, text string) string {
	lower := bytes.ToLower(all)
	forms := map[string]string{"plain": text, "URL": url.QueryEscape(text), "hex": hex.EncodeToString([]byte(text))}
	quoted, _ := json.Marshal(text) // a string
	forms["JSON"] = strings.Trim(string(quoted), `"`)
	for shift, name := range []string{"base64", "base64 after one byte", "base64 after two bytes"} {
		e := base64.StdEncoding.EncodeToString(append(make([]byte, shift), text...))
		e = strings.TrimRight(e[(shift*8+5)/6:], "=")
		e = e[:len(e)-1]
		forms[name], forms[name+"url"] = e, strings.NewReplacer("+", "-", "/", "_").Replace(e)
	}
	for name, form := range forms {
		if len(form) > 3 && bytes.Contains(lower, bytes.ToLower([]byte(form))) {
			return name
		}
	}
	return ""
}

func requireKeys(t *testing.T, kind string) {
	t.Helper()
	if kind == "swtpm" && chooseTPM("auto", io.Discard) != "swtpm" {
		if os.Getenv("PRTBROKER_REQUIRE_TPM") != "" {
			t.Fatal("swtpm is not installed")
		}
		t.Skip("swtpm is not installed")
	}
}

// Each recording of testdata is served to the broker, which must do what it did: the
// same requests in the same order, and the same results. Then the emulator's own
// replies are compared with those of the recording; what differs is in
// differences.txt beside it, and for a recording of the emulator that is nothing.
//
// A recording of a real tenant goes into a directory of its own.
func TestReplay(t *testing.T) {
	const dir = "testdata/recordings"
	runs, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.NotEmpty(t, runs)
	count := tally.New(t, "recordings", "a recorded reply, replayed through the broker and compared with the emulator's")
	for _, run := range runs {
		t.Run(run.Name(), func(t *testing.T) {
			kind := "software"
			if strings.HasSuffix(run.Name(), "-tpm") {
				kind = "swtpm"
			}
			requireKeys(t, kind)
			here := filepath.Join(dir, run.Name())
			if *update && strings.HasPrefix(run.Name(), "emulator") {
				recordAgain(t, kind, here)
			}
			recorded, err := recorder.Load(here)
			require.NoError(t, err)

			again := filepath.Join(t.TempDir(), "again")
			var replay *recorder.Replay
			_, _ = realRun{kind, again, func(next http.RoundTripper) http.RoundTripper {
				replay = recorder.NewReplay(recorded, next)
				return replay
			}}.do(t) // what the steps say decides
			require.Equal(t, len(recorded.Exchanges), replay.Served(), "the broker stopped before the recorded run did")
			replayed, err := recorder.Load(again)
			require.NoError(t, err)
			require.Equal(t, results(recorded), results(replayed))
			require.Empty(t, recorder.Compare(recorded, replayed), "what was served is what was recorded")

			against := filepath.Join(t.TempDir(), "emulator")
			_, _ = realRun{kind, against, nil}.do(t) // what the steps say decides
			emulated, err := recorder.Load(against)
			require.NoError(t, err)
			differences := strings.Join(recorder.Compare(recorded, emulated), "\n")
			require.Equal(t, strings.TrimSpace(read(t, filepath.Join(here, "differences.txt"))), differences,
				"when the emulator has changed: go test ./examples/quickstart -run TestReplay -update")
			count.Add(len(recorded.Exchanges), len(recorded.Exchanges))
		})
	}
}

// In a run of a person the code is not approved at once, and the service says so.
// The broker waits and asks again, and the run goes on as it did.
func TestReplayOfWaiting(t *testing.T) {
	recorded, err := recorder.Load("testdata/recordings/emulator-software")
	require.NoError(t, err)
	const poll = 1 // the second request
	pending := recorded.Exchanges[poll]
	pending.Reply = &recorder.Reply{Status: http.StatusBadRequest, Headers: map[string][]string{"Content-Type": {"application/json"}}, Body: &recorder.Body{JSON: map[string]any{
		"error":             "authorization_pending",
		"error_codes":       []any{json.Number("70016")},
		"error_description": "AADSTS70016<text 1, 120 long>",
	}}}
	recorded.Exchanges = slices.Insert(recorded.Exchanges, poll, pending)
	again := filepath.Join(t.TempDir(), "again")
	var replay *recorder.Replay
	_, err = realRun{"software", again, func(next http.RoundTripper) http.RoundTripper {
		replay = recorder.NewReplay(recorded, next)
		return replay
	}}.do(t)
	require.NoError(t, err)
	require.Equal(t, len(recorded.Exchanges), replay.Served())
	replayed, err := recorder.Load(again)
	require.NoError(t, err)
	require.Equal(t, results(recorded), results(replayed))
	require.Empty(t, recorder.Compare(recorded, replayed))
}

// A recorded refusal is the one that the broker reports, by its kind and number.
func TestReplayOfARefusal(t *testing.T) {
	recorded, err := recorder.Load("testdata/recordings/emulator-software")
	require.NoError(t, err)
	const register = 4 // the fifth request
	recorded.Exchanges = recorded.Exchanges[:register+1]
	recorded.Exchanges[register].Reply = &recorder.Reply{Status: http.StatusBadRequest, Headers: map[string][]string{"Content-Type": {"application/json"}}, Body: &recorder.Body{JSON: map[string]any{
		"ErrorType": "DirectoryError", "Message": "<text 1>", "TraceId": "<guid 2>", "Time": "<text 3>",
	}}}
	again := filepath.Join(t.TempDir(), "again")
	var replay *recorder.Replay
	_, err = realRun{"software", again, func(next http.RoundTripper) http.RoundTripper {
		replay = recorder.NewReplay(recorded, next)
		return replay
	}}.do(t)
	e := new(broker.Error)
	require.ErrorAs(t, err, &e)
	require.Equal(t, "DirectoryError", e.OAuth)
	require.Equal(t, register+1, replay.Served())
	replayed, err := recorder.Load(again)
	require.NoError(t, err, "a run that fails is recorded")
	require.Equal(t, []string{"keys: ok", "enroll: " + outcome(e)}, results(replayed))
}

func results(r *recorder.Recording) (all []string) {
	for _, s := range r.Steps {
		all = append(all, s.Name+": "+s.Result)
	}
	return all
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(b)
}

func recordAgain(t *testing.T, kind, dir string) {
	t.Helper()
	require.NoError(t, os.RemoveAll(dir))
	_, err := realRun{kind, dir, nil}.do(t)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "differences.txt"), nil, 0o644))
}
