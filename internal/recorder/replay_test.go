package recorder_test

import (
	stdjson "encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/recorder"
)

// run records one POST for each reply, and loads what was written.
func run(t *testing.T, replies ...string) *recorder.Recording {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	rec, err := recorder.New(dir)
	require.NoError(t, err)
	for _, body := range replies {
		_, err := rec.RoundTripper(answer(body)).RoundTrip(post(t, "https://login.microsoftonline.com/common/oauth2/token"))
		require.NoError(t, err)
	}
	rec.Step("all", "ok")
	require.NoError(t, rec.Close())
	got, err := recorder.Load(dir)
	require.NoError(t, err)
	return got
}

func post(t *testing.T, address string) *http.Request {
	req, err := http.NewRequest(http.MethodPost, address, strings.NewReader("grant_type=refresh_token"))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req
}

func answer(body string) http.RoundTripper { return always{body} }

type always struct{ body string }

func (a always) RoundTrip(*http.Request) (*http.Response, error) {
	status := 200
	if strings.Contains(a.body, `"error"`) {
		status = 400
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(a.body))}, nil
}

// Each way in which a real service can differ from the emulator is named; what
// differs from run to run is not.
func TestCompare(t *testing.T) {
	const at = "001 POST https://login.microsoftonline.com/common/oauth2/token refresh_token:"
	for name, tc := range map[string]struct {
		recorded, other string
		want            []string
	}{
		"another person":            {`{"upn":"a@b.example","expires_in":3599}`, `{"upn":"ccc@d.example","expires_in":4000}`, nil},
		"a field more":              {`{"a":"x","madeup":"y"}`, `{"a":"x"}`, []string{at + " madeup only in the recording"}},
		"a field less":              {`{"a":"x"}`, `{"a":"x","madeup":"y"}`, []string{at + " madeup not in the recording"}},
		"a number as text":          {`{"expires_in":"3599"}`, `{"expires_in":3599}`, []string{at + " expires_in digits in the recording, else a number"}},
		"another word":              {`{"token_type":"pop"}`, `{"token_type":"Bearer"}`, []string{at + " token_type pop in the recording, else Bearer"}},
		"another kind of text":      {`{"a":"x"}`, `{"a":"x@y.example"}`, []string{at + " a <text> in the recording, else <user>@<domain>"}},
		"more in an array":          {`{"amr":["pwd","mfa"]}`, `{"amr":["pwd"]}`, []string{at + " amr an array of 2 in the recording, else an array of 1"}},
		"another error":             {`{"error":"x","error_description":"AADSTS50076: a"}`, `{"error":"x","error_description":"AADSTS50079: a"}`, []string{at + " error_description AADSTS50076<text> in the recording, else AADSTS50079<text>"}},
		"an error":                  {`{"error":"invalid_grant"}`, `{}`, []string{at[:len(at)-1] + ": status 400 in the recording, else 200", at + " error only in the recording"}},
		"a claim of a token":        {`{"id_token":"eyJhbGciOiJub25lIn0.eyJtYWRldXAiOnRydWV9."}`, `{"id_token":"eyJhbGciOiJub25lIn0.e30."}`, []string{at + " id_token <jwt> payload madeup only in the recording"}},
		"true and false":            {`{"a":true}`, `{"a":false}`, []string{at + " a bool true in the recording, else bool false"}},
		"an object instead of text": {`{"a":{}}`, `{"a":"x"}`, []string{at + " a an object in the recording, else <text>"}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tc.want, recorder.Compare(run(t, tc.recorded), run(t, tc.other)))
		})
	}
	require.Equal(t, []string{"002: only in the recording: POST https://login.microsoftonline.com/common/oauth2/token refresh_token"},
		recorder.Compare(run(t, "{}", "{}"), run(t, "{}")))
}

// What is served has the recorded shape and the emulator's secrets.
func TestReplayLaysTheRecordingOver(t *testing.T) {
	recorded := run(t, `{"refresh_token":"0.AX","expires_in":"3599","token_type":"bearer","madeup":"zz","not_before":5,`+
		`"id_token":"eyJhbGciOiJub25lIn0.eyJtYWRldXAiOnRydWUsInVwbiI6ImFAYi5leGFtcGxlIn0."}`)
	r := recorder.NewReplay(recorded, answer(`{"refresh_token":"live","expires_in":4000,"token_type":"Bearer","not_before":"17","only_here":1,`+
		`"id_token":"eyJhbGciOiJub25lIn0.eyJ1cG4iOiJsaXZlQHguZXhhbXBsZSIsIm9ubHkiOjF9."}`))
	res, err := r.RoundTrip(post(t, "https://login.microsoftonline.com/common/oauth2/token"))
	require.NoError(t, err)
	require.Equal(t, "application/json", res.Header.Get("Content-Type"))
	var got map[string]any
	require.NoError(t, stdjson.NewDecoder(res.Body).Decode(&got))
	require.Equal(t, map[string]any{
		"refresh_token": "live", "expires_in": "3599", "token_type": "bearer", "madeup": "text3", "not_before": 17.0,
		"id_token": "eyJhbGciOiJub25lIn0.eyJtYWRldXAiOnRydWUsInVwbiI6ImxpdmVAeC5leGFtcGxlIn0.",
	}, got)
	require.Equal(t, 1, r.Served())

	_, err = r.RoundTrip(post(t, "https://login.microsoftonline.com/common/oauth2/token"))
	require.ErrorContains(t, err, "not in the recording, which has ended")
	_, err = recorder.NewReplay(recorded, answer(`{}`)).RoundTrip(post(t, "https://login.microsoftonline.com/common/oauth2/authorize"))
	require.ErrorContains(t, err, "where the recording has POST https://login.microsoftonline.com/common/oauth2/token")
	_, err = recorder.NewReplay(recorded, answer(`{"error":"invalid_grant"}`)).RoundTrip(post(t, "https://login.microsoftonline.com/common/oauth2/token"))
	require.ErrorContains(t, err, "with 400, the service with 200")
}

// A recorded error is served without asking the emulator, whose state it would
// change.
func TestReplayOfAnError(t *testing.T) {
	recorded := run(t, `{"error":"authorization_pending","error_codes":[70016],"error_description":"AADSTS70016: wait"}`)
	res, err := recorder.NewReplay(recorded, nil).RoundTrip(post(t, "https://login.microsoftonline.com/common/oauth2/token"))
	require.NoError(t, err)
	require.Equal(t, 400, res.StatusCode)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.JSONEq(t, `{"error":"authorization_pending","error_codes":[70016],"error_description":"AADSTS70016text1"}`, string(body))
}
