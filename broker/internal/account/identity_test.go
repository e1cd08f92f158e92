package account

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// An identity means the account with the same key. Only one that has nothing but a
// user name goes by the name, and none at all is anyone.
func TestMeans(t *testing.T) {
	t.Parallel()
	alice := person("alice")
	other := alice
	other.HomeAccountID = "alice.another tenant"
	cloud := alice
	cloud.Environment = "login.chinacloudapi.cn"
	renamed := alice
	renamed.PreferredUsername = "smith@contoso.example"
	for name, tt := range map[string]struct {
		want   Identity
		byName bool
		means  bool // alice
	}{
		"zero":                     {Identity{}, false, true},
		"herself":                  {alice, false, true},
		"before she was renamed":   {renamed, false, true},
		"id without a name":        {Identity{HomeAccountID: alice.HomeAccountID, Environment: alice.Environment}, false, true},
		"name":                     {Identity{PreferredUsername: "ALICE@contoso.example"}, true, true},
		"another name":             {Identity{PreferredUsername: "bob@contoso.example"}, true, false},
		"her name elsewhere":       {other, false, false},
		"another cloud":            {cloud, false, false},
		"neither an id nor a name": {Identity{Name: "Alice"}, false, false},
	} {
		require.Equal(t, tt.byName, tt.want.ByName(), name)
		require.Equal(t, tt.means, tt.want.Means(alice), name)
	}
}
