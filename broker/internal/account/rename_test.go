package account

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A newer reply's names replace the old ones, empty ones say nothing, and the
// Hello keys that were registered under the user's name keep up with it.
func TestRename(t *testing.T) {
	t.Parallel()
	const old, smith, admin = "alice@contoso.example", "smith@contoso.example", "admin@contoso.example"
	named := func() *Record { return &Record{Account: Identity{PreferredUsername: old, Name: "Alice"}} }
	for name, tt := range map[string]struct {
		username, name string
		want           Identity
	}{
		"both":      {smith, "Smith", Identity{PreferredUsername: smith, Name: "Smith"}},
		"username":  {smith, "", Identity{PreferredUsername: smith, Name: "Alice"}},
		"name":      {"", "Smith", Identity{PreferredUsername: old, Name: "Smith"}},
		"none":      {"", "", named().Account},
		"unchanged": {old, "Alice", named().Account},
	} {
		r := named()
		require.Equal(t, tt.want != r.Account, r.Renames(tt.username, tt.name), name)
		r.Rename(tt.username, tt.name)
		require.Equal(t, tt.want, r.Account, name)
	}

	hello, next := &Hello{ID: "one", Username: "Alice@Contoso.Example"}, &Hello{ID: "two", Username: admin}
	r := named()
	r.Hello, r.NextHello = hello, next
	r.Rename(smith, "")
	require.Equal(t, &Hello{ID: "one", Username: smith}, r.Hello)
	require.Equal(t, "Alice@Contoso.Example", hello.Username, "a record that somebody holds stays")
	require.Same(t, next, r.NextHello, "a key of another name keeps it")
}

// An id_token is about the user whose tenant and object id it has; one without
// either is about nobody.
func TestIs(t *testing.T) {
	t.Parallel()
	user := Identity{Realm: "tenant", LocalAccountID: "object"}
	require.True(t, user.Is("TENANT", "OBJECT"))
	require.False(t, user.Is("tenant", "another"))
	require.False(t, user.Is("another", "object"))
	require.False(t, Identity{LocalAccountID: "object"}.Is("", "object"))
	require.False(t, Identity{Realm: "tenant"}.Is("tenant", ""))
}
