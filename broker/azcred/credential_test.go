package azcred_test

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/azcred"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

const (
	appID   = "11111111-aaaa-4bbb-8ccc-000000000001"
	vaultID = "11111111-aaaa-4bbb-8ccc-000000000004"
	native  = "https://login.microsoftonline.com/common/oauth2/nativeclient"
)

var scopes = []string{"https://vault.example/.default"}

// A tenant is an emulated one with a machine in it. The Azure SDK takes the
// time from the system, so everything does.
type tenant struct {
	srv *entratest.Server
	cfg broker.Config
	b   *broker.Broker

	mu       sync.Mutex // guards requests
	requests int        // for tokens
}

func (e *tenant) Do(r *http.Request) (*http.Response, error) {
	e.mu.Lock()
	e.requests++
	e.mu.Unlock()
	return e.srv.Client().Do(r)
}

func (e *tenant) take() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.requests
	e.requests = 0
	return n
}

func newTenant(t *testing.T) *tenant {
	t.Helper()
	e := &tenant{srv: entratest.NewTB(t, entratest.Options{
		Seed: 1, ReplicationLag: -1,
		Users: []entratest.User{{Username: "alice", Password: "pw"}},
		Apps: []entratest.App{
			{ClientID: appID, Public: true, Redirects: []string{native}, AdminConsent: true},
			{ClientID: vaultID, URIs: []string{"https://vault.example"}, OptionalClaims: []string{"xms_cc"}},
		},
	})}
	keys, err := softkeys.Open(softkeys.Secret(make([]byte, 32)))
	require.NoError(t, err)
	e.cfg = broker.Config{Tenant: "contoso.example", Keys: keys, App: broker.App{ClientID: appID}, Transport: e}
	e.b = e.open(t)
	t.Cleanup(func() { _ = keys.Close() })
	return e
}

func (e *tenant) open(t *testing.T) *broker.Broker {
	t.Helper()
	b, err := broker.New(t.Context(), e.cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func (e *tenant) enroll(t *testing.T) broker.Account {
	t.Helper()
	res, err := e.b.Enroll(t.Context(), broker.Password{Username: "alice@contoso.example", Password: "pw"}, broker.EnrollRequest{})
	require.NoError(t, err)
	e.take()
	return res.Account
}

// vault is an Azure service that evaluates access continuously: it refuses the
// tokens that were issued before its event.
type vault struct {
	*httptest.Server

	mu     sync.Mutex // guards all below
	event  time.Time
	tokens []*claims.Token
}

func newVault(t *testing.T) *vault {
	t.Helper()
	v := &vault{}
	v.Server = httptest.NewTLSServer(v)
	t.Cleanup(v.Close)
	return v
}

const location = `{"access_token":{"acrs":{"essential":true,"value":"c7"}}}`

func (v *vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tok, err := claims.Parse(r.Header.Get("Authorization")[len("Bearer "):])
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	v.mu.Lock()
	v.tokens = append(v.tokens, tok)
	revoked := !v.event.IsZero() && len(tok.Contexts) == 0
	v.mu.Unlock()
	if !revoked {
		_, _ = io.WriteString(w, "secret value")
		return
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="`+base64.StdEncoding.EncodeToString([]byte(location))+`"`)
	w.WriteHeader(http.StatusUnauthorized)
}

func (v *vault) revoke() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.event = time.Now()
}

func (v *vault) take() []*claims.Token {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := v.tokens
	v.tokens = nil
	return out
}

// client is the pipeline of an Azure SDK client: retries, bearer token policy,
// transport.
func client(v *vault, cred azcore.TokenCredential) runtime.Pipeline {
	return runtime.NewPipeline("test", "v1", runtime.PipelineOptions{
		PerRetry: []policy.Policy{runtime.NewBearerTokenPolicy(cred, scopes, nil)},
	}, &policy.ClientOptions{Transport: v.Client()})
}

func get(ctx context.Context, p runtime.Pipeline, url string) (string, error) {
	req, err := runtime.NewRequest(ctx, http.MethodGet, url)
	if err != nil {
		return "", err
	}
	res, err := p.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return "", runtime.NewResponseError(res)
	}
	b, err := io.ReadAll(res.Body)
	return string(b), err
}

func TestPipeline(t *testing.T) {
	e, v := newTenant(t), newVault(t)
	e.enroll(t)
	p := client(v, azcred.New(e.b, nil))
	for range 3 {
		body, err := get(t.Context(), p, v.URL)
		require.NoError(t, err)
		require.Equal(t, "secret value", body)
	}
	seen := v.take()
	require.Len(t, seen, 3)
	require.Equal(t, []string{"https://vault.example"}, seen[0].Audience)
	require.NotEmpty(t, seen[0].DeviceID, "the token carries the device")
	require.Equal(t, []string{"CP1"}, seen[0].Capabilities)
	require.LessOrEqual(t, e.take(), 2, "a nonce and a token")
}

// The challenge of continuous access evaluation goes through the SDK to the
// broker and comes back as a token that meets it.
func TestContinuousAccessEvaluation(t *testing.T) {
	e, v := newTenant(t), newVault(t)
	e.enroll(t)
	p := client(v, azcred.New(e.b, nil))
	_, err := get(t.Context(), p, v.URL)
	require.NoError(t, err)
	v.revoke()
	v.take()
	e.take()
	body, err := get(t.Context(), p, v.URL)
	require.NoError(t, err)
	require.Equal(t, "secret value", body)
	seen := v.take()
	require.Len(t, seen, 2, "refused once, then accepted")
	require.Empty(t, seen[0].Contexts)
	require.Equal(t, []string{"c7"}, seen[1].Contexts)
	require.Equal(t, 1, e.take())

	_, err = get(t.Context(), p, v.URL)
	require.NoError(t, err)
	require.Len(t, v.take(), 1, "the new token replaced the old one")
}

func TestGetToken(t *testing.T) {
	e := newTenant(t)
	acct := e.enroll(t)
	c := azcred.New(e.b, &azcred.Options{Tenant: acct.Realm, Call: []broker.CallOption{broker.WithAccount(acct)}})
	tok, err := c.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: scopes, EnableCAE: true, TenantID: acct.Realm})
	require.NoError(t, err)
	require.NotEmpty(t, tok.Token)
	require.Greater(t, time.Until(tok.ExpiresOn), 23*time.Hour)
	require.Greater(t, time.Until(tok.RefreshOn), 11*time.Hour)

	plain, err := c.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: scopes})
	require.NoError(t, err)
	require.NotEqual(t, tok.Token, plain.Token)
	require.True(t, plain.RefreshOn.IsZero())
}

// What the options say already may be said by the SDK too.
func TestOptionsOfBoth(t *testing.T) {
	e := newTenant(t)
	acct := e.enroll(t)
	for name, o := range map[string]broker.CallOption{
		"CAE":    broker.WithCAE(),
		"tenant": broker.WithTenantID(acct.Realm),
	} {
		t.Run(name, func(t *testing.T) {
			c := azcred.New(e.b, &azcred.Options{AdditionallyAllowedTenants: []string{"*"}, Call: []broker.CallOption{o}})
			tok, err := c.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: scopes, EnableCAE: true, TenantID: acct.Realm})
			require.NoError(t, err)
			require.Greater(t, time.Until(tok.ExpiresOn), 23*time.Hour)
		})
	}
}

type nonRetriable interface {
	error
	NonRetriable()
}

func TestErrors(t *testing.T) {
	e, v := newTenant(t), newVault(t)
	options := policy.TokenRequestOptions{Scopes: scopes}
	c := azcred.New(e.b, nil)

	_, err := c.GetToken(t.Context(), options)
	require.ErrorIs(t, err, broker.ErrDeviceNotRegistered)
	chain, cerr := azidentity.NewChainedTokenCredential([]azcore.TokenCredential{c, fixed("other")}, nil)
	require.NoError(t, cerr)
	tok, err := chain.GetToken(t.Context(), options)
	require.NoError(t, err)
	require.Equal(t, "other", tok.Token, "a chain goes on to the next credential")

	e.enroll(t)
	for _, tt := range []struct {
		name      string
		options   policy.TokenRequestOptions
		says      string
		permanent bool
	}{
		{"no scopes", policy.TokenRequestOptions{}, "needs a scope", true},
		{"another tenant", policy.TokenRequestOptions{Scopes: scopes, TenantID: "fabrikam.example"}, "AdditionallyAllowedTenants", true},
		{"claims", policy.TokenRequestOptions{Scopes: scopes, Claims: "no JSON"}, "decoded JSON", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := c.GetToken(t.Context(), tt.options)
			require.ErrorContains(t, err, tt.says)
			require.ErrorAs(t, err, new(nonRetriable))
		})
	}

	// A refusal ends the SDK's request at once, with the broker's error inside.
	e.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.AADSTS, Code: 50076, Error: "interaction_required", Times: -1,
		Match: func(r *http.Request) bool { return r.PostForm.Get("claims") != "" }})
	e.take()
	_, err = get(t.Context(), client(v, c), v.URL)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	var be *broker.Error
	require.ErrorAs(t, err, &be)
	require.Equal(t, scopes, be.Scopes)
	require.LessOrEqual(t, e.take(), 2)
	require.Empty(t, v.take())

	allowed := azcred.New(e.b, &azcred.Options{AdditionallyAllowedTenants: []string{"*"}})
	_, err = allowed.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: scopes, TenantID: "unknown.example"})
	require.ErrorIs(t, err, broker.ErrAppConfig)
}

type fixed string

func (f fixed) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(f), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func Example() {
	var b *broker.Broker // with a user signed in
	cred := azcred.New(b, nil)
	_ = runtime.NewPipeline("myapp", "v1", runtime.PipelineOptions{
		PerRetry: []policy.Policy{runtime.NewBearerTokenPolicy(cred, []string{"https://management.azure.com/.default"}, nil)},
	}, nil)
	// Output:
}
