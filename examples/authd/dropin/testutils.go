//go:build withmsentraid && !release

package himmelblau

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prtbroker/prtbroker/examples/authd"
)

// SetAuthorityBaseURL points the provider at authd's stand-in for the service, for
// authd's tests. It must not be called while the package is in use.
func SetAuthorityBaseURL(t *testing.T, base string) {
	Use(t, authd.New(authd.Config{Transport: standIn{base}}))
}

// Use replaces the provider that the package opens by itself, for tests. It must not
// be called while the package is in use.
func Use(_ *testing.T, p *authd.Provider) {
	providerMu.Lock()
	defer providerMu.Unlock()
	provider = p
}

// A standIn corrects the replies of authd's stand-in where they differ from those of
// the service: it sends id_token and client_info as JSON objects, names an address of
// the registration service without TLS, and does not answer requests that are signed
// with a session key, since libhimmelblau uses the authorize page.
type standIn struct{ base string }

const registration = "enterpriseregistration.windows.net"

func (s standIn) Do(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	if form, err := url.ParseQuery(string(body)); err == nil && bySessionKey(form.Get("request")) {
		return s.overThePage(r)
	}
	return s.send(r, r.Method, r.URL.Path, r.URL.RawQuery, body)
}

// bySessionKey reports whether a request is signed with a session key, that is, has
// no certificate in its header.
func bySessionKey(jws string) bool {
	first, _, ok := strings.Cut(jws, ".")
	raw, err := base64.RawURLEncoding.DecodeString(first)
	return ok && err == nil && !strings.Contains(string(raw), `"x5c"`)
}

var scriptRedirect = regexp.MustCompile(`document\.location\.replace\(("[^)]*")\)`)

// overThePage gets the token as libhimmelblau does: with a code from the authorize
// page.
func (s standIn) overThePage(r *http.Request) (*http.Response, error) {
	tenant, _, _ := strings.Cut(r.URL.Path, "/oauth2/")
	query := url.Values{"response_type": {"code"}, "redirect_uri": {"https://login.microsoftonline.com/common/oauth2/nativeclient"}}
	page, err := s.send(r, http.MethodGet, tenant+"/oauth2/v2.0/authorize", query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = page.Body.Close() }()
	text, err := io.ReadAll(page.Body)
	if err != nil {
		return nil, err
	}
	var redirect string
	if m := scriptRedirect.FindSubmatch(text); m == nil || json.Unmarshal(m[1], &redirect) != nil {
		return nil, fmt.Errorf("the authorize page of the stand-in does not redirect")
	}
	u, err := url.Parse(redirect)
	if err != nil {
		return nil, err
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {u.Query().Get("code")}}
	return s.send(r, http.MethodPost, tenant+"/oauth2/v2.0/token", "", []byte(form.Encode()))
}

// send sends a request to the stand-in, and corrects its reply.
func (s standIn) send(r *http.Request, method, path, query string, body []byte) (*http.Response, error) {
	base := s.base
	if r.URL.Host == registration {
		base = os.Getenv("HIMMELBLAU_DISCOVERY_URL") // which authd's tests set
	}
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	u.Path, u.RawQuery = path, query
	out, err := http.NewRequestWithContext(r.Context(), method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	out.Header = r.Header.Clone()
	resp, err := http.DefaultClient.Do(out)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	text = mended(text)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	return resp, nil
}

// mended writes id_token, client_info and addresses as the service does.
func mended(text []byte) []byte {
	var reply map[string]any
	if json.Unmarshal(text, &reply) != nil {
		return text
	}
	b64 := base64.RawURLEncoding.EncodeToString
	if claims, ok := reply["id_token"].(map[string]any); ok {
		raw, _ := json.Marshal(claims)
		reply["id_token"] = b64([]byte(`{"alg":"none"}`)) + "." + b64(raw) + "."
		raw, _ = json.Marshal(map[string]any{"uid": claims["oid"], "utid": claims["tid"]})
		reply["client_info"] = b64(raw)
	}
	if join, ok := reply["DeviceJoinService"].(map[string]any); ok {
		join["JoinEndpoint"] = "https://" + registration + "/EnrollmentServer/device/"
	}
	out, _ := json.Marshal(reply)
	return out
}
