package tokencache

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A set that was found by another token's grant is asked for anew when that
// token is over, though the spelling is known.
func TestSpellingOutlivesItsToken(t *testing.T) {
	c := New[int](graph, 0)
	k := key(1)
	c.Put(&k, set(t, "User.Read", "Files.Read"), entry(2, 2*time.Hour), start)
	c.Put(&k, set(t, "User.Read", "Mail.Read"), entry(1, time.Hour), start)
	e, _ := c.Get(&k, []string{"User.Read"}, start)
	require.Equal(t, 1, e.Value)
	e, _ = c.Get(&k, []string{"User.Read"}, start.Add(time.Hour))
	require.Equal(t, 2, e.Value)
	_, s := c.Get(&k, []string{"User.Read"}, start.Add(2*time.Hour))
	require.Equal(t, Missing, s)
}

// A token remembers at most eight spellings, and they go with it.
func TestSpellings(t *testing.T) {
	c := New[int](graph, 0)
	k, other := key(1), key(2)
	c.Put(&other, set(t, "User.Read"), entry(2, time.Hour), start)
	_, s := c.Get(&other, []string{"User.Read"}, start)
	require.Equal(t, Fresh, s)
	c.Put(&k, set(t, "user.read"), entry(1, time.Hour), start)
	for i := range 100 {
		scopes := []string{scramble("user.read", uint64(i)), "openid"}
		for range 2 {
			e, s := c.Get(&k, scopes, start)
			require.Equal(t, Fresh, s)
			require.Equal(t, 1, e.Value)
		}
		require.LessOrEqual(t, c.spellings(t), 1+maxSpellings)
	}
	require.Equal(t, 1+maxSpellings, c.spellings(t))
	c.Put(&k, set(t, "user.read"), entry(3, time.Hour), start)
	require.Equal(t, 1+maxSpellings, c.spellings(t), "the new token has those of the old")
	c.DropAccount(k.Account, k.Environment)
	require.Equal(t, 1, c.spellings(t))
	c.Clear()
	require.Zero(t, c.spellings(t))
}

// What a caller does to its slice afterwards does not change what was asked.
func TestSpellingIsACopy(t *testing.T) {
	c := New[int](graph, 0)
	k := key(1)
	c.Put(&k, set(t, "User.Read"), entry(1, time.Hour), start)
	scopes := []string{"User.Read"}
	c.Get(&k, scopes, start)
	scopes[0] = "Mail.Read"
	_, s := c.Get(&k, scopes, start)
	require.Equal(t, Missing, s)
	_, s = c.Get(&k, []string{"User.Read"}, start)
	require.Equal(t, Fresh, s)
}
