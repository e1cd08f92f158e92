package tokencache

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const graph = "https://graph.microsoft.com"

func TestNormalize(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   []string
		want Set
	}{
		{"no resource is Graph", []string{"User.Read"}, Set{graph + "/user.read"}},
		{"case", []string{"HTTPS://Graph.Microsoft.COM/User.READ"}, Set{graph + "/user.read"}},
		{"order and duplicates", []string{"b", "A", graph + "/B"}, Set{graph + "/a", graph + "/b"}},
		{"openid alone", []string{"openid"}, Set{graph + "/openid"}},
		{"profile alone", []string{"profile"}, Set{graph + "/openid"}},
		{"email alone", []string{"email"}, Set{graph + "/openid"}},
		{"offline_access alone", []string{"offline_access"}, Set{graph + "/openid"}},
		{"all four of OpenID Connect", []string{"Email", "openid", "Profile", "OFFLINE_ACCESS"}, Set{graph + "/openid"}},
		{"with the address of Graph", []string{graph + "/email", "HTTPS://graph.microsoft.com/OpenID"}, Set{graph + "/openid"}},
		{"beside a permission of Graph", []string{"email", "User.Read", "openid"}, Set{graph + "/user.read"}},
		{"beside .default", []string{graph + "/.default", "openid", "email"}, Set{graph + "/.default"}},
		{"beside another resource", []string{"email", "api://payroll/access", "profile"}, Set{"api://payroll/access"}},
		{"another resource's own", []string{"api://payroll/email"}, Set{"api://payroll/email"}},
		{"default", []string{graph + "/.default"}, Set{graph + "/.default"}},
		{"double slash stays", []string{"https://management.core.windows.net//.default"}, Set{"https://management.core.windows.net//.default"}},
		{"app id URI", []string{"api://PAYROLL/access"}, Set{"api://payroll/access"}},
		{"resource with a path", []string{"https://analysis.windows.net/powerbi/api/.default"}, Set{"https://analysis.windows.net/powerbi/api/.default"}},
		{"the longest", []string{strings.Repeat("a", 512-len(graph)-1)}, Set{graph + "/" + strings.Repeat("a", 512-len(graph)-1)}},
		{"all that RFC 6749 allows", []string{"!#[]~"}, Set{graph + "/!#[]~"}},
		{"guid", []string{"00000003-0000-0000-C000-000000000000/.default"}, Set{"00000003-0000-0000-c000-000000000000/.default"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Normalize(tt.in, graph)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestNormalizeRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   []string
		says string
	}{
		{"nothing", nil, "none is given"},
		{"nothing at all", []string{}, "none is given"},
		{"empty", []string{""}, "is empty"},
		{"resource alone", []string{"https://graph.microsoft.com/"}, "add .default"},
		{"two resources", []string{"User.Read", "api://payroll/access"}, "one resource"},
		{"one slash and two", []string{"https://x.example/a", "https://x.example//a"}, "one resource"},
		{"default beside others", []string{graph + "/.default", "User.Read"}, "cannot be combined"},
		{"space", []string{"User.Read Mail.Read"}, "RFC 6749"},
		{"control", []string{"User.Read\n"}, "RFC 6749"},
		{"not ASCII", []string{"Üser.Read"}, "RFC 6749"},
		{"delete", []string{"User.Read\x7f"}, "RFC 6749"},
		{"long", []string{strings.Repeat("a", 513)}, "at most 512"},
		{"long with its resource", []string{strings.Repeat("a", 500)}, "at most 512"},
		{"many", make([]string, 65), "at most 64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Normalize(tt.in, graph)
			require.ErrorIs(t, err, ErrScopes)
			require.ErrorContains(t, err, tt.says)
		})
	}
}

// Of what the service says it granted, the cache takes what is a scope of the
// resource, and not without end.
func TestGranted(t *testing.T) {
	said := []string{"User.Read", "openid", "email", "", "Mail Read", "Mail.Read\n", "api://payroll/access", graph + "/Files.Read"}
	require.Equal(t, Set{graph + "/files.read", graph + "/openid", graph + "/user.read"}, granted(said, graph, graph))
	require.Equal(t, Set{"api://payroll/access", "api://payroll/user.read"}, granted(said[:7], "api://payroll", graph))
	var many []string
	for i := range 2 * maxGranted {
		many = append(many, fmt.Sprint("Scope.", i))
	}
	require.Len(t, granted(many, graph, graph), maxGranted)
	require.Equal(t, []string{graph + "/mail.read"}, set(t, "User.Read", "Mail.Read").Missing(said, graph))
}

// However a caller writes a set, it is the same key.
func FuzzNormalize(f *testing.F) {
	f.Add("User.Read", "https://graph.microsoft.com/Mail.Read", uint64(1))
	f.Add("api://payroll/.default", "openid", uint64(2))
	f.Add("https://management.core.windows.net//user_impersonation", "profile", uint64(3))
	f.Add("a/b/c", "A/B/D", uint64(4))
	f.Fuzz(func(t *testing.T, a, b string, seed uint64) {
		set, err := Normalize([]string{a, b}, graph)
		if err != nil {
			require.ErrorIs(t, err, ErrScopes)
			return
		}
		again, err := Normalize(set, graph)
		require.NoError(t, err)
		require.Equal(t, set, again)

		c := New[int](graph, 0)
		k := key(1)
		c.Put(&k, set, Entry[int]{Value: 7, ExpiresOn: start.Add(2 * Margin)}, start)
		scopes := []string{a, b, scramble(a, seed), "OpenID", a}
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(scopes), func(i, j int) { scopes[i], scopes[j] = scopes[j], scopes[i] })
		for range 2 { // the second finds it by its bytes
			e, s := c.Get(&k, scopes, start)
			require.Equalf(t, Fresh, s, "%q is not %q", scopes, set)
			require.Equal(t, 7, e.Value)
		}

		if more := set[0] + "x"; !slices.Contains(set, more) {
			_, s := c.Get(&k, append(scopes, more), start)
			require.Equal(t, Missing, s)
		}
	})
}

// scramble changes the case of some letters.
func scramble(s string, seed uint64) string {
	b := []byte(s)
	for i, c := range b {
		if seed>>(i%64)&1 == 1 && ('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z') {
			b[i] = c ^ 0x20
		}
	}
	return string(b)
}
