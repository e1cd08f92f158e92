package tokencache

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/clock/clocktest"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func key(i int) Key {
	return Key{
		Account:     fmt.Sprintf("0b6a0000-1111-4222-8333-%012d.f3d10000-1111-4222-8333-944455566677", i),
		Environment: "login.windows.net",
		Tenant:      "f3d10000-1111-4222-8333-944455566677",
		Client:      "c0ffee00-1111-4222-8333-944455566677",
	}
}

func set(t testing.TB, scopes ...string) Set {
	t.Helper()
	s, err := Normalize(scopes, graph)
	require.NoError(t, err)
	return s
}

func entry(v int, life time.Duration) Entry[int] {
	return Entry[int]{Value: v, ExpiresOn: start.Add(life)}
}

// A token does not outlive its end because the machine slept, or because the
// clock was set back, whether or not its end came with a monotonic reading.
func TestEndOnEitherClock(t *testing.T) {
	now := time.Now()
	for name, tt := range map[string]struct {
		later time.Time
		want  State
	}{
		"at once":                  {now, Fresh},
		"due":                      {clocktest.Apart(t, now, 1800), Stale},
		"closing after a suspend":  {clocktest.Apart(t, now, 3598), Closing},
		"over after a suspend":     {clocktest.Apart(t, now, 8*3600), Missing},
		"over, the clock set back": {clocktest.Apart(t, now, -8*3600).Add(time.Hour), Missing},
	} {
		for _, end := range []time.Time{now.Add(time.Hour), now.Add(time.Hour).Round(0)} {
			t.Run(name, func(t *testing.T) {
				c := New[int](graph, 0)
				k := key(1)
				c.Put(&k, set(t, "User.Read"), Entry[int]{Value: 1, ExpiresOn: end, RefreshOn: now.Add(30 * time.Minute)}, now)
				_, s := c.Get(&k, []string{"User.Read"}, tt.later)
				require.Equal(t, tt.want, s)
				_, s = c.Serve(&k, set(t, "User.Read"), tt.later)
				require.Equal(t, tt.want, s)
			})
		}
	}
}

// Each field of a key alone makes another token.
func TestKeys(t *testing.T) {
	c := New[int](graph, 0)
	base := key(1)
	variants := map[string]Key{"base": base}
	for name, change := range map[string]func(*Key){
		"account":     func(k *Key) { k.Account = "other" },
		"environment": func(k *Key) { k.Environment = "other" },
		"tenant":      func(k *Key) { k.Tenant = "other" },
		"client":      func(k *Key) { k.Client = "other" },
		"scheme":      func(k *Key) { k.Scheme = PoP },
		"pop key":     func(k *Key) { k.Scheme, k.PoPKey = PoP, "thumbprint" },
		"cae":         func(k *Key) { k.CAE = true },
	} {
		k := base
		change(&k)
		variants[name] = k
	}
	want := map[string]int{}
	for name, k := range variants {
		_, s := c.Get(&k, []string{"User.Read"}, start)
		require.Equalf(t, Missing, s, "%s", name)
		_, s = c.Serve(&k, set(t, "User.Read"), start)
		require.Equalf(t, Missing, s, "%s", name)
		want[name] = len(want) + 1
		c.Put(&k, set(t, "User.Read"), entry(want[name], time.Hour), start)
	}
	for name, k := range variants {
		e, s := c.Get(&k, []string{"user.read"}, start)
		require.Equal(t, Fresh, s)
		require.Equalf(t, want[name], e.Value, "%s", name)
	}
	require.Equal(t, len(variants), c.Len())
}

func TestStates(t *testing.T) {
	c := New[int](graph, 0)
	k, s := key(1), []string{"User.Read"}
	e := entry(1, time.Hour)
	e.RefreshOn = start.Add(30 * time.Minute)
	c.Put(&k, set(t, s...), e, start)
	for _, tt := range []struct {
		after time.Duration
		want  State
	}{
		{0, Fresh}, {30*time.Minute - 1, Fresh}, {30 * time.Minute, Stale},
		{55*time.Minute - 1, Stale}, {55 * time.Minute, Closing}, {time.Hour - 1, Closing}, {time.Hour, Missing},
	} {
		got, state := c.Get(&k, s, start.Add(tt.after))
		require.Equalf(t, tt.want, state, "%v", tt.after)
		require.Equal(t, state == Missing, got == nil)
	}
}

func TestSupersets(t *testing.T) {
	k := key(1)
	for _, tt := range []struct {
		name    string
		put     []string
		granted []string
		ask     []string
		hit     bool
	}{
		{"subset of what was asked", []string{"User.Read", "Mail.Read"}, nil, []string{"mail.read"}, true},
		{"more than was asked", []string{"User.Read"}, nil, []string{"User.Read", "Mail.Read"}, false},
		{"granted more", []string{graph + "/.default"}, []string{"User.Read", "Mail.Read", "openid"}, []string{"Mail.Read"}, true},
		{"granted, with resource", []string{graph + "/.default"}, []string{graph + "/User.Read"}, []string{"User.Read"}, true},
		{"granted less", []string{"User.Read", "Mail.Read"}, []string{"User.Read"}, []string{"Mail.Read"}, false},
		{"granted nothing", []string{"User.Read", "Mail.Read"}, []string{}, []string{"Mail.Read"}, false},
		{"default of another token", []string{"User.Read"}, []string{"User.Read", graph + "/.default"}, []string{graph + "/.default"}, false},
		{"another resource", []string{"api://payroll/.default"}, []string{"User.Read"}, []string{"User.Read"}, false},
		{"v1 names without the resource", []string{"api://payroll/.default"}, []string{"access"}, []string{"api://payroll/access"}, true},
		{"another resource with the slash", []string{"https://x.example//.default"}, []string{"https://x.example//a"}, []string{"https://x.example/a"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := New[int](graph, 0)
			e := entry(1, time.Hour)
			e.Granted = tt.granted
			c.Put(&k, set(t, tt.put...), e, start)
			_, s := c.Serve(&k, set(t, tt.ask...), start)
			require.Equal(t, tt.hit, s == Fresh)
			for range 2 {
				_, s = c.Get(&k, tt.ask, start)
				require.Equal(t, tt.hit, s == Fresh)
			}
			require.Equal(t, 1, c.Len())
		})
	}
}

// A token that replaces another one takes over its set in whatever spelling,
// and not what the other served besides.
func TestReplace(t *testing.T) {
	c := New[int](graph, 0)
	k := key(1)
	both := []string{"User.Read", "Mail.Read"}
	c.Put(&k, set(t, both...), entry(1, time.Hour), start)
	is := func(want int, scopes ...string) {
		t.Helper()
		e, _ := c.Get(&k, scopes, start)
		require.NotNil(t, e)
		require.Equal(t, want, e.Value)
	}
	is(1, both...)
	is(1, "mail.read")
	less := entry(2, time.Hour)
	less.Granted = []string{"User.Read"}
	c.Put(&k, set(t, both...), less, start)
	is(2, both...)
	_, s := c.Get(&k, []string{"mail.read"}, start)
	require.Equal(t, Missing, s, "the new one was not granted it")
	require.Equal(t, 1, c.Len())

	is(2, "User.Read")
	c.Put(&k, set(t, "User.Read"), entry(3, time.Hour), start)
	is(3, "User.Read")
	is(2, both...)
	require.Equal(t, 2, c.Len())
}

// spellings counts them, and fails on what is left of those that are gone.
func (c *Cache[V]) spellings(t *testing.T) (n int) {
	t.Helper()
	for i := range c.shards {
		if m := c.shards[i].Load(); m != nil {
			for _, chain := range *m {
				require.NotEmpty(t, chain)
				n += len(chain)
			}
		}
	}
	return n
}

// Requests of one hash are told apart by all that they are made of.
func TestSameHash(t *testing.T) {
	c := New[int](graph, 0)
	const n = 20
	for i := range n {
		k := key(1)
		k.PoPKey = fmt.Sprint(i)
		c.Put(&k, set(t, "User.Read"), entry(i, time.Hour), start)
		for range 2 {
			_, s := c.Get(&k, []string{"User.Read"}, start)
			require.Equal(t, Fresh, s)
		}
	}
	require.Equal(t, n, c.spellings(t))
	for i := range n {
		k := key(1)
		k.PoPKey = fmt.Sprint(i)
		e, _ := c.Get(&k, []string{"User.Read"}, start)
		require.Equal(t, i, e.Value)
	}
}

func TestDropAccount(t *testing.T) {
	c := New[int](graph, 0)
	for i := range 100 {
		k := key(i)
		c.Put(&k, set(t, "User.Read", "Mail.Read"), entry(i, time.Hour), start)
		c.Get(&k, []string{"User.Read"}, start)
	}
	gone := key(7)
	c.DropAccount(gone.Account, "another environment")
	require.Equal(t, 100, c.Len())
	c.DropAccount(gone.Account, gone.Environment)
	require.Equal(t, 99, c.Len())
	_, s := c.Get(&gone, []string{"User.Read"}, start)
	require.Equal(t, Missing, s)
	k := key(8)
	e, s := c.Get(&k, []string{"User.Read"}, start)
	require.Equal(t, Fresh, s)
	require.Equal(t, 8, e.Value)
	c.Clear()
	require.Zero(t, c.Len())
}

// All tokens of an account get another value, however they are asked for, and no
// other account's does.
func TestChange(t *testing.T) {
	c := New[int](graph, 0)
	for i := range 3 {
		k := key(i)
		c.Put(&k, set(t, "User.Read", "Mail.Read"), entry(i, time.Hour), start)
		c.Put(&k, set(t, "api://payroll/.default"), entry(10+i, 2*time.Hour), start)
		c.Get(&k, []string{"user.read"}, start)
	}
	k := key(1)
	c.Change(k.Account, "another environment", func(int) int { return -1 })
	c.Change(k.Account, k.Environment, func(v int) int { return v + 100 })
	require.Equal(t, 6, c.Len())
	for i, want := range [][2]int{{0, 10}, {101, 111}, {2, 12}} {
		k := key(i)
		for j, scopes := range [][][]string{{{"user.read"}, {"Mail.Read", "User.Read"}, {"Mail.Read"}}, {{"api://payroll/.default"}}} {
			for _, written := range scopes {
				e, s := c.Get(&k, written, start)
				require.Equal(t, Fresh, s)
				require.Equal(t, want[j], e.Value, written)
			}
		}
	}
	c.Put(&k, set(t, "User.Read", "Mail.Read"), entry(7, time.Hour), start)
	e, _ := c.Get(&k, []string{"user.read"}, start)
	require.Equal(t, 7, e.Value, "a new token comes in its place")
	c.DropAccount(k.Account, k.Environment)
	_, s := c.Get(&k, []string{"user.read"}, start)
	require.Equal(t, Missing, s)
}

func TestExpiredAreSwept(t *testing.T) {
	c := New[int](graph, 0)
	for i := range 10000 {
		k := key(i)
		now := start.Add(time.Duration(i) * time.Minute)
		c.Put(&k, set(t, "User.Read"), Entry[int]{Value: i, ExpiresOn: now.Add(time.Hour)}, now)
	}
	require.Less(t, c.Len(), 200, "an hour of tokens, one a minute")
	require.Less(t, len(c.families), 200, "nothing is left of the others")
}

func TestLimit(t *testing.T) {
	const limit = 256
	c := New[int](graph, limit)
	for i := range 10 * limit {
		k := key(i)
		c.Put(&k, set(t, "User.Read"), entry(i, time.Hour+time.Duration(i)*time.Second), start)
		require.LessOrEqual(t, c.Len(), limit)
		e, s := c.Get(&k, []string{"User.Read"}, start)
		require.Equal(t, Fresh, s)
		require.Equal(t, i, e.Value)
	}
	first := key(0)
	_, s := c.Get(&first, []string{"User.Read"}, start)
	require.Equal(t, Missing, s, "those that expire first go first")

	same := New[int](graph, limit)
	for i := range 3 * limit {
		k := key(i)
		same.Put(&k, set(t, "User.Read"), entry(i, time.Hour), start)
	}
	require.LessOrEqual(t, same.Len(), limit)
}

// Those that have just ended go too.
func TestSweepAtTheEnd(t *testing.T) {
	c := New[int](graph, 0)
	for i := range minSweep {
		k := key(i)
		c.Put(&k, set(t, "User.Read"), entry(i, time.Hour), start)
	}
	k := key(minSweep)
	c.Put(&k, set(t, "User.Read"), entry(1, 2*time.Hour), start.Add(time.Hour))
	require.Equal(t, 1, c.Len())
}

// The tokens of one account are listed, with what they are kept under, and no other
// account's.
func TestAccount(t *testing.T) {
	c := New[int](graph, 0)
	k, other, abroad := key(1), key(2), key(1)
	abroad.Environment = "login.microsoftonline.us"
	c.Put(&other, set(t, "User.Read"), entry(-1, time.Hour), start)
	c.Put(&abroad, set(t, "User.Read"), entry(-2, time.Hour), start)
	c.Put(&k, set(t, "User.Read"), entry(1, time.Hour), start)
	c.Put(&k, set(t, "api://payroll/.default"), entry(2, time.Hour), start)
	got := map[int]Set{}
	for _, kept := range c.Account(k.Account, k.Environment) {
		require.Equal(t, k, kept.Key)
		got[kept.Entry.Value] = kept.Set
	}
	require.Equal(t, map[int]Set{1: {graph + "/user.read"}, 2: {"api://payroll/.default"}}, got)
	require.Empty(t, c.Account("nobody", k.Environment))
}

// As many scopes as may be are served, no scopes are not.
func TestNumberOfScopes(t *testing.T) {
	c := New[int](graph, 0)
	k := key(1)
	var many []string
	for i := range MaxScopes {
		many = append(many, fmt.Sprint("Scope.", i))
	}
	c.Put(&k, set(t, many...), entry(1, time.Hour), start)
	_, s := c.Get(&k, many, start)
	require.Equal(t, Fresh, s)
	_, s = c.Get(&k, append(many, many[0]), start)
	require.Equal(t, Missing, s)
	_, s = c.Get(&k, nil, start)
	require.Equal(t, Missing, s)
}

var benchScopes = map[string][]string{
	"1": {"https://graph.microsoft.com/.default"},
	"3": {"User.Read", "https://graph.microsoft.com/Mail.ReadWrite", "openid"},
	"5": {"User.Read", "Mail.ReadWrite", "Calendars.Read", "https://graph.microsoft.com/Files.Read.All", "offline_access"},
}
