package benchpeers

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/cache"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"
)

const (
	tenantID  = "0f2cc1a3-5bd5-4a0e-9a55-0f6bdc2a0c11"
	authority = "https://login.microsoftonline.com/" + tenantID
	clientID  = "5e2f4e2e-3b1b-4c7f-8f0a-2f8e2f3c7d10"
	objectID  = "8f1b6a52-7d0e-4c39-9d52-6ddc1b6a4e20"
)

// MSAL is a client of MSAL Go with one account and some cached tokens, each
// for a resource of its own.
type MSAL struct {
	client  public.Client
	account public.Account
	tokens  int
	cache   *lateCache
	service *fakeEntra
}

// A lateCache skips the reads and writes of a client that is being filled.
type lateCache struct {
	cache.ExportReplace
	reads, writes bool
}

// Replace implements cache.ExportReplace.
func (c *lateCache) Replace(ctx context.Context, into cache.Unmarshaler, hints cache.ReplaceHints) error {
	if !c.reads {
		return nil
	}
	return c.ExportReplace.Replace(ctx, into, hints)
}

// Export implements cache.ExportReplace.
func (c *lateCache) Export(ctx context.Context, from cache.Marshaler, hints cache.ExportHints) error {
	if !c.writes {
		return nil
	}
	return c.ExportReplace.Export(ctx, from, hints)
}

// NewMSAL is a client that gets its tokens from a service in memory. accessor is
// the persistent cache, nil for none.
func NewMSAL(accessor cache.ExportReplace) (*MSAL, error) {
	service := new(fakeEntra)
	opts := []public.Option{
		public.WithAuthority(authority),
		public.WithInstanceDiscovery(false),
		public.WithHTTPClient(service),
	}
	m := &MSAL{service: service}
	if accessor != nil {
		m.cache = &lateCache{accessor, true, true}
		opts = append(opts, public.WithCache(m.cache))
	}
	client, err := public.New(clientID, opts...)
	if err != nil {
		return nil, fmt.Errorf("benchpeers: msal: %w", err)
	}
	m.client = client
	return m, nil
}

// Fill fetches tokens until there are this many. The persistent cache sees the
// last one only: MSAL reads and writes all of it for each.
func (m *MSAL) Fill(ctx context.Context, tokens int) error {
	for ; m.tokens < tokens; m.tokens++ {
		if m.cache != nil {
			m.cache.reads, m.cache.writes = false, m.tokens+1 == tokens
		}
		res, err := m.client.AcquireTokenByAuthCode(ctx, "code", "http://localhost", resource(m.tokens))
		if err != nil {
			return fmt.Errorf("benchpeers: msal: %w", err)
		}
		m.account = res.Account
	}
	if m.cache != nil {
		m.cache.reads, m.cache.writes = true, true
	}
	return nil
}

// Silent serves token i from the cache.
func (m *MSAL) Silent(ctx context.Context, i int) (string, error) {
	res, err := m.client.AcquireTokenSilent(ctx, resource(i), public.WithSilentAccount(m.account))
	return res.AccessToken, err
}

// most is how many tokens a client can have.
const most = 10000

var resources = func() (out [most][]string) {
	for i := range out {
		out[i] = []string{fmt.Sprintf("https://resource%d.example/.default", i)}
	}
	return out
}()

func resource(i int) []string { return resources[i] }

// MemoryCache is the smallest persistent cache: it hands back the bytes.
type MemoryCache struct {
	mu   sync.Mutex
	data []byte // guarded by mu
}

// Replace gives MSAL what Export stored.
func (c *MemoryCache) Replace(_ context.Context, into cache.Unmarshaler, _ cache.ReplaceHints) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.data == nil {
		return nil
	}
	return into.Unmarshal(c.data)
}

// Export stores what MSAL holds.
func (c *MemoryCache) Export(_ context.Context, from cache.Marshaler, _ cache.ExportHints) error {
	data, err := from.Marshal()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.data = data
	return err
}

// fakeEntra answers discovery and token requests with bearer tokens of an
// hour.
type fakeEntra struct{ requests int }

func (*fakeEntra) CloseIdleConnections() {}

func (f *fakeEntra) Do(req *http.Request) (*http.Response, error) {
	f.requests++
	base := "https://login.microsoftonline.com/" + tenantID
	var body map[string]any
	if strings.HasSuffix(req.URL.Path, "/openid-configuration") {
		body = map[string]any{
			"authorization_endpoint": base + "/oauth2/v2.0/authorize",
			"token_endpoint":         base + "/oauth2/v2.0/token",
			"issuer":                 base + "/v2.0",
		}
	} else {
		form, err := requestForm(req)
		if err != nil {
			return nil, err
		}
		scope := form["scope"]
		body = map[string]any{
			"token_type": "Bearer", "scope": scope, "expires_in": 3600, "ext_expires_in": 3600,
			"access_token": "access token for " + scope, "refresh_token": "refresh token",
			"id_token":    idToken(base),
			"client_info": encode(map[string]any{"uid": objectID, "utid": tenantID}),
		}
	}
	data, err := json.Marshal(body)
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(string(data))), Request: req,
	}, err
}

func requestForm(req *http.Request) (map[string]string, error) {
	if err := req.ParseForm(); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for k := range req.PostForm {
		out[k] = req.PostForm.Get(k)
	}
	return out, nil
}

// idToken is unsigned: MSAL reads it and does not verify it.
func idToken(base string) string {
	return encode(map[string]any{"alg": "none"}) + "." + encode(map[string]any{
		"iss": base + "/v2.0", "aud": clientID, "sub": "subject", "oid": objectID, "tid": tenantID,
		"preferred_username": "alice@contoso.example", "name": "Alice", "exp": 4102444800, "iat": 1700000000,
	}) + ".c2ln"
}

func encode(v map[string]any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // a map of strings and numbers
	}
	return base64.RawURLEncoding.EncodeToString(data)
}
