package broker_test

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

// The page is told the name of the credential, else that of the call, else that of
// the account which the call is about.
func TestLoginHint(t *testing.T) {
	t.Parallel()
	const other = "someone@contoso.example"
	type call struct {
		name string
		cred broker.Credential // nil: AcquireTokenInteractive
		opts func(broker.Account) []broker.CallOption
		want string
	}
	none := func(broker.Account) []broker.CallOption { return nil }
	hint := func(broker.Account) []broker.CallOption { return []broker.CallOption{broker.WithLoginHint(alice)} }
	anew := func(a broker.Account, more ...broker.CallOption) []broker.CallOption {
		return append(more, broker.WithNewSignIn(), broker.WithAccount(a))
	}
	calls := []call{
		{"nobody", broker.AuthCode{}, none, ""},
		{"the credential", broker.AuthCode{LoginHint: other}, none, other},
		{"the call", broker.AuthCode{}, hint, alice},
		{"both", broker.AuthCode{LoginHint: other}, hint, other},
		{"a web flow and the call", broker.WebFlow{}, hint, alice},
		{"interactive, nobody", nil, func(broker.Account) []broker.CallOption { return []broker.CallOption{broker.WithNewSignIn()} }, ""},
		{"interactive, the account", nil, func(a broker.Account) []broker.CallOption { return anew(a) }, alice},
		{"interactive, the account and the call", nil, func(a broker.Account) []broker.CallOption { return anew(a, broker.WithLoginHint(other)) }, other},
	}
	for machine, start := range map[string]func(t *testing.T) *world{
		"device":           func(t *testing.T) *world { w := newWorld(t, withMemory); w.join(); return w },
		"without a device": unboundWorld,
	} {
		t.Run(machine, func(t *testing.T) {
			w := start(t)
			acct := w.signIn()
			var shown []string
			pages := &noting{person: w.person, see: func(page string) {
				u, err := url.Parse(page)
				require.NoError(t, err)
				shown = append(shown, u.Query().Get("login_hint"))
			}}
			w.cfg.Prompter = pages
			b := w.open()
			for _, c := range calls {
				shown = nil
				var err error
				switch cred := c.cred.(type) {
				case nil:
					_, err = b.AcquireTokenInteractive(t.Context(), open, c.opts(acct)...)
				case broker.WebFlow:
					cred.Pages = pages
					_, err = b.SignIn(t.Context(), cred, c.opts(acct)...)
				default:
					_, err = b.SignIn(t.Context(), cred, c.opts(acct)...)
				}
				require.NoError(t, err, c.name)
				require.Equal(t, []string{c.want}, shown, c.name)
			}
		})
	}
}

// A WebFlow goes through its own pages, and not through others where it has none.
func TestWebFlowNeedsPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	_, err := w.b.SignIn(t.Context(), broker.WebFlow{LoginHint: alice})
	require.ErrorContains(t, err, "WebFlow.Pages is required")
	require.Zero(t, w.person.prompts())
	w.cfg.Prompter = nil
	res, err := w.open().SignIn(t.Context(), broker.WebFlow{Pages: w.person, LoginHint: alice})
	require.NoError(t, err)
	require.Equal(t, alice, res.Account.PreferredUsername)
}
