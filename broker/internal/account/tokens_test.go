package account

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/prt"
)

func keptFor(scope string, at, end time.Time) KeptToken {
	return KeptToken{Tenant: "tenant", Client: "app", Scopes: []string{scope}, AccessToken: "token for " + scope + " of " + at.String(), At: at, ExpiresOn: end}
}

func TestKeepToken(t *testing.T) {
	t.Parallel()
	keys, s, ctx := testKeys(t), &store.Memory{}, t.Context()
	open := func() *Account {
		a, err := openBook(t, keys, s, "1000").Put(ctx, person("alice"), with(bornOf(prt.ByPassword)))
		require.NoError(t, err)
		return a
	}
	one, two := open(), open()
	all, err := one.Tokens(ctx)
	require.NoError(t, err)
	require.Empty(t, all)

	hour := noon.Add(time.Hour)
	require.NoError(t, one.KeepToken(ctx, keptFor("a", noon, hour), noon))
	require.NoError(t, one.KeepToken(ctx, keptFor("a", noon.Add(time.Second), hour), noon), "in the place of the newest")
	require.NoError(t, two.KeepToken(ctx, keptFor("b", noon, hour), noon))
	newer := keptFor("a", noon.Add(time.Minute), hour)
	require.NoError(t, two.KeepToken(ctx, newer, noon))
	require.NoError(t, one.KeepToken(ctx, keptFor("a", noon, hour), noon), "an older one")
	all, err = one.Tokens(ctx)
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, newer.AccessToken, all[0].AccessToken, "the newest wins")

	later := hour // when the others end
	require.NoError(t, one.KeepToken(ctx, keptFor("c", later, later.Add(time.Hour)), later))
	all, err = two.Tokens(ctx)
	require.NoError(t, err)
	require.Len(t, all, 1, "tokens that have ended are not kept")

	require.NoError(t, two.DropTokens(ctx, func(k KeptToken) bool { return k.Scopes[0] == "c" }))
	all, err = one.Tokens(ctx)
	require.NoError(t, err)
	require.Empty(t, all)
}

// A kept token takes the place of one for the same request only.
func TestSameRequest(t *testing.T) {
	t.Parallel()
	a, err := openBook(t, testKeys(t), &store.Memory{}, "").Put(t.Context(), person("alice"), nil)
	require.NoError(t, err)
	one := keptFor("a", noon, noon.Add(time.Hour))
	tenant, client, cae, scopes := one, one, one, one
	tenant.Tenant, client.Client, cae.CAE, scopes.Scopes = "another", "another", true, []string{"a", "b"}
	for i, k := range []KeptToken{one, tenant, client, cae, scopes} {
		require.NoError(t, a.KeepToken(t.Context(), k, noon))
		all, err := a.Tokens(t.Context())
		require.NoError(t, err)
		require.Len(t, all, i+1)
	}
}

// Nothing is written if no token matches.
func TestDropNoTokens(t *testing.T) {
	t.Parallel()
	s, ctx := &watched{}, t.Context()
	a, err := openBook(t, testKeys(t), s, "").Put(ctx, person("alice"), nil)
	require.NoError(t, err)
	require.NoError(t, a.KeepToken(ctx, keptFor("a", noon, noon.Add(time.Hour)), noon))
	s.onPut = func(name string) error { return fmt.Errorf("%s was written", name) }
	require.NoError(t, a.DropTokens(ctx, func(k KeptToken) bool { return k.Scopes[0] == "b" }))
	require.ErrorContains(t, a.DropTokens(ctx, func(k KeptToken) bool { return k.Scopes[0] == "a" }), tokensSuffix+" was written")
}

// As many bytes as the limit are written.
func TestKeptTokensOfTheLargestSize(t *testing.T) {
	t.Parallel()
	rec := keptRecord{Tokens: []KeptToken{keptFor("a", noon, noon)}}
	plain, err := encodeTokens(rec)
	require.NoError(t, err)
	rec.Tokens[0].AccessToken += strings.Repeat("x", maxTokens-len(plain))
	for _, fits := range []bool{true, false} {
		plain, err = encodeTokens(rec)
		require.NoError(t, err)
		require.Equal(t, fits, strings.Contains(string(plain), "xxx"))
		rec.Tokens[0].AccessToken += "x"
	}
}

// The record is bounded by number and by size, and the newest tokens stay.
func TestKeptTokensAreBounded(t *testing.T) {
	t.Parallel()
	keys, s, ctx := testKeys(t), &store.Memory{}, t.Context()
	a, err := openBook(t, keys, s, "").Put(ctx, person("alice"), nil)
	require.NoError(t, err)
	for i := range MaxKept + 10 {
		require.NoError(t, a.KeepToken(ctx, keptFor(fmt.Sprint(i), noon, noon.Add(time.Hour)), noon))
	}
	all, err := a.Tokens(ctx)
	require.NoError(t, err)
	require.Len(t, all, MaxKept)
	require.Equal(t, []string{fmt.Sprint(MaxKept + 9)}, all[0].Scopes)

	large := keptFor("large", noon, noon.Add(time.Hour))
	large.AccessToken = strings.Repeat("x", maxTokens-1000)
	require.NoError(t, a.KeepToken(ctx, large, noon))
	all, err = a.Tokens(ctx)
	require.NoError(t, err)
	require.Less(t, len(all), 5)
	require.Equal(t, []string{"large"}, all[0].Scopes)
}

// Tokens are a cache: a record that cannot be read is none, and is replaced.
func TestDamagedTokens(t *testing.T) {
	t.Parallel()
	keys, s, ctx := testKeys(t), &store.Memory{}, t.Context()
	a, err := openBook(t, keys, s, "").Put(ctx, person("alice"), nil)
	require.NoError(t, err)
	_, err = s.Put(ctx, a.Name()+tokensSuffix, []byte("no sealed record"), 0)
	require.NoError(t, err)
	all, err := a.Tokens(ctx)
	require.NoError(t, err)
	require.Empty(t, all)
	require.NoError(t, a.KeepToken(ctx, keptFor("a", noon, noon.Add(time.Hour)), noon))
	all, err = a.Tokens(ctx)
	require.NoError(t, err)
	require.Len(t, all, 1)
}

// A token that was under way while another process locked the account does not
// come back.
func TestKeepTokenOfALockedAccount(t *testing.T) {
	t.Parallel()
	keys, s, ctx := testKeys(t), &store.Memory{}, t.Context()
	a, err := openBook(t, keys, s, "").Put(ctx, person("alice"), func(r *Record) error {
		r.Away = []byte("PRTs")
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, a.KeepToken(ctx, keptFor("a", noon, noon.Add(time.Hour)), noon))
	_, _, err = s.Get(ctx, a.Name()+tokensSuffix)
	require.ErrorIs(t, err, store.ErrNotFound)
}
