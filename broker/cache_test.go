package broker

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func testBroker(t testing.TB) *Broker {
	t.Helper()
	keys, err := softkeys.Open(softkeys.File(t.TempDir() + "/master"))
	require.NoError(t, err)
	b, err := New(context.Background(), Config{
		Tenant: "contoso.example",
		App:    App{ClientID: "app"},
		Keys:   keys,
		Now:    func() time.Time { return noon },
	})
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = b.Close(), keys.Close() })
	return b
}

func cacheToken(n int) *AuthResult {
	return &AuthResult{AccessToken: fmt.Sprint("token ", n), ExpiresOn: noon.Add(time.Hour)}
}

func testKey(n int) cacheKey {
	return cacheKey{fmt.Sprintf("user%d.tenant", n), "login.windows.net", "", "app"}
}

func TestCache(t *testing.T) {
	var c tokenCache
	const tokens = 10_000
	for i := range tokens {
		c.put(testKey(i), cacheToken(i), []string{"a", "b"})
	}
	for i := range tokens {
		k := testKey(i)
		_, r, hit := c.get(&k, []string{"b", "a"}, noon)
		require.Equal(t, cacheFresh, hit)
		require.Equal(t, fmt.Sprint("token ", i), r.AccessToken)
	}
	k := testKey(7)
	for _, other := range [][]string{{"a"}, {"a", "b", "c"}, {"a", "a"}, {"b", "b"}, nil} {
		_, _, hit := c.get(&k, other, noon)
		require.Equal(t, cacheMiss, hit, other)
	}
	for _, change := range []func(*cacheKey){
		func(k *cacheKey) { k.home += "x" },
		func(k *cacheKey) { k.environment = "login.microsoftonline.us" },
		func(k *cacheKey) { k.tenant = "guest" },
		func(k *cacheKey) { k.client = "other" },
	} {
		k := testKey(7)
		change(&k)
		_, _, hit := c.get(&k, []string{"a", "b"}, noon)
		require.Equal(t, cacheMiss, hit)
	}

	c.put(testKey(7), cacheToken(-7), []string{"a", "b"})
	_, r, _ := c.get(&k, []string{"a", "b"}, noon)
	require.Equal(t, "token -7", r.AccessToken, "a new token replaces the old one")
	require.Equal(t, tokens, c.count)

	c.dropAccount(k.home, k.environment)
	_, _, hit := c.get(&k, []string{"a", "b"}, noon)
	require.Equal(t, cacheMiss, hit)
	require.Equal(t, tokens-1, c.count)
}

// Spellings of the same scopes share a token, also when it is replaced.
func TestCacheSpellings(t *testing.T) {
	var c tokenCache
	k := testKey(1)
	c.put(k, cacheToken(1), []string{"user.read"}, []string{"User.Read", "openid"})
	slot, _, _ := c.get(&k, []string{"user.read"}, noon)
	c.alias(slot, []string{"USER.READ"})
	c.put(k, cacheToken(2), []string{"user.read"}, []string{"user.Read"})
	for _, s := range [][]string{{"user.read"}, {"User.Read", "openid"}, {"USER.READ"}, {"user.Read"}} {
		_, r, hit := c.get(&k, s, noon)
		require.Equal(t, cacheFresh, hit, s)
		require.Equal(t, "token 2", r.AccessToken, s)
	}
}

func TestFreshness(t *testing.T) {
	r := &AuthResult{ExpiresOn: noon.Add(time.Hour), Metadata: ResultMetadata{RefreshOn: noon.Add(30 * time.Minute)}}
	for _, tt := range []struct {
		at   time.Duration
		want cacheHit
	}{{0, cacheFresh}, {30*time.Minute - 1, cacheFresh}, {30 * time.Minute, cacheDue}, {55 * time.Minute, cacheLate}, {time.Hour - 1, cacheLate}, {time.Hour, cacheMiss}} {
		require.Equal(t, tt.want, r.freshness(noon.Add(tt.at)), tt.at)
	}
}

func TestCacheConcurrent(t *testing.T) {
	var c tokenCache
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 500 {
				c.put(testKey(i), cacheToken(i), []string{"a", fmt.Sprint(g)})
			}
		})
		wg.Go(func() {
			for i := range 500 {
				k := testKey(i)
				if _, r, hit := c.get(&k, []string{"a", fmt.Sprint(g)}, noon); hit != cacheMiss && r.AccessToken != fmt.Sprint("token ", i) {
					t.Errorf("token of another key")
				}
			}
		})
	}
	wg.Wait()
}

func TestSilentHitAllocatesNothing(t *testing.T) {
	b := testBroker(t)
	acct := Account{HomeAccountID: "user1.tenant", Environment: "login.windows.net"}
	b.tokens.put(testKey(1), cacheToken(1), []string{"https://graph.microsoft.com/.default"})
	b.only.Store(&acct)
	ctx := t.Context()
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if r, err := b.AcquireTokenSilent(ctx, []string{"https://graph.microsoft.com/.default"}, WithAccount(acct)); err != nil || r.AccessToken == "" {
			t.Fatal(err)
		}
	}))
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if r, err := b.AcquireTokenSilent(ctx, []string{"https://graph.microsoft.com/.default"}); err != nil || r.AccessToken == "" {
			t.Fatal(err)
		}
	}))
}

func BenchmarkAcquireTokenSilent(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint("tokens=", n), func(b *testing.B) {
			br := testBroker(b)
			br.cfg.Now = time.Now
			for i := range n {
				r := cacheToken(i)
				r.ExpiresOn = time.Now().Add(time.Hour)
				br.tokens.put(testKey(i), r, []string{"https://graph.microsoft.com/.default"})
			}
			acct := Account{HomeAccountID: testKey(n / 2).home, Environment: "login.windows.net"}
			ctx := context.Background()
			scopes := []string{"https://graph.microsoft.com/.default"}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := br.AcquireTokenSilent(ctx, scopes, WithAccount(acct)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
