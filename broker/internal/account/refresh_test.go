package account

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/store"
)

func TestRefreshTokens(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a, err := openBook(t, testKeys(t), &store.Memory{}, "").Put(ctx, person("alice"), nil)
	require.NoError(t, err)
	tokens, err := a.RefreshTokens(ctx, "app")
	require.NoError(t, err)
	require.Empty(t, tokens)
	for i, e := range []RefreshToken{
		{Client: "app", Token: "first"}, {Client: "office", Family: "1", Token: "family"}, {Client: "app", Token: "own"}, {Client: "teams", Family: "1", Token: "newer"},
	} {
		e.At = noon.Add(time.Duration(i) * time.Minute)
		require.NoError(t, a.KeepRefresh(ctx, e))
	}
	tokens, err = a.RefreshTokens(ctx, "app")
	require.NoError(t, err)
	require.Len(t, tokens, 2)
	require.Equal(t, "own", tokens[0].Token)
	require.Equal(t, "newer", tokens[1].Token, "of a family there is one")
}

// An account keeps refresh tokens of so many apps, the newest ones, and of a
// family's tokens only the newest is tried for another app.
func TestRefreshTokensAreBounded(t *testing.T) {
	t.Parallel()
	r := &refreshRecord{}
	for i := range maxRefreshTokens + 10 {
		r.set(RefreshToken{Client: fmt.Sprint("app ", i), At: noon.Add(time.Duration(i) * time.Second)})
	}
	require.Len(t, r.Tokens, maxRefreshTokens)
	require.Empty(t, r.pick("app 9"), "the oldest went")
	require.Len(t, r.pick("app 10"), 1)

	r.set(RefreshToken{Client: "office", Family: "1", At: noon.Add(time.Hour)})
	r.set(RefreshToken{Client: "other", Family: "2", At: noon})
	tries := r.pick("a new app")
	require.Len(t, tries, 1)
	require.Equal(t, "office", tries[0].Client)
}
