package broker

import (
	"errors"
	"fmt"
	"strings"
)

// A CallOption changes one call. It is a small value, not a closure, so that
// a silent call from memory allocates nothing. An option that a method does
// not take is an error of that call.
type CallOption struct {
	kind    optionKind
	account Account
	text    string
	app     App
	pop     *PoP
}

type optionKind uint16

const (
	optAccount optionKind = 1 << iota
	optClaims
	optTenant
	optApp
	optForceRefresh
	optNonce
	optLoginHint
	optInsecureNoNonce
	optCorrelationID
	optCAE
	optPoP
	optNewSignIn
)

var optionNames = map[optionKind]string{
	optAccount:         "WithAccount",
	optClaims:          "WithClaims",
	optTenant:          "WithTenantID",
	optApp:             "WithApp",
	optForceRefresh:    "WithForceRefresh",
	optNonce:           "WithNonce",
	optLoginHint:       "WithLoginHint",
	optInsecureNoNonce: "WithInsecureNoNonce",
	optCorrelationID:   "WithCorrelationID",
	optCAE:             "WithCAE",
	optPoP:             "WithPoP",
	optNewSignIn:       "WithNewSignIn",
}

// WithAccount names the account: one that [Broker.Accounts] or a result
// returned, or one with only a PreferredUsername. Without it the only account
// is used; with several accounts it or [WithLoginHint] is required
// (ErrSeveralAccounts).
func WithAccount(a Account) CallOption { return CallOption{kind: optAccount, account: a} }

// WithClaims adds a claims request: decoded JSON, as a claims challenge of a
// resource or Error.Claims gives it. It bypasses the cache, and the new token
// replaces the cached one.
func WithClaims(json string) CallOption { return CallOption{kind: optClaims, text: json} }

// WithTenantID asks a tenant other than the account's own, in which the user
// is a guest.
func WithTenantID(id string) CallOption { return CallOption{kind: optTenant, text: id} }

// WithApp asks for a token for an app other than Config.App.
func WithApp(app App) CallOption { return CallOption{kind: optApp, app: app} }

// WithForceRefresh asks the service, bypassing the cache, whose token the new
// one replaces, and any refusal that is remembered ([Error].Remembered).
func WithForceRefresh() CallOption { return CallOption{kind: optForceRefresh} }

// WithNonce gives the sso_nonce of the sign-in page that asks for a cookie.
func WithNonce(nonce string) CallOption { return CallOption{kind: optNonce, text: nonce} }

// WithLoginHint fills in the user name on a sign-in page. Without WithAccount
// it also selects the account, if that user is signed in.
func WithLoginHint(user string) CallOption { return CallOption{kind: optLoginHint, text: user} }

// WithCorrelationID names the request in the tenant's sign-in log: a GUID.
func WithCorrelationID(id string) CallOption { return CallOption{kind: optCorrelationID, text: id} }

// WithCAE announces that the caller handles claims challenges (the client
// capability cp1 of continuous access evaluation). The token then lives for up
// to a day, and its resource may refuse it earlier with a challenge, which
// goes into [WithClaims]. [RoundTripper] does that by itself.
func WithCAE() CallOption { return CallOption{kind: optCAE} }

// WithPoP asks for a token that is bound to a key of this device (proof of
// possession) and returns it inside a request that the key signed: see [PoP].
func WithPoP(p PoP) CallOption { return CallOption{kind: optPoP, pop: &p} }

// WithNewSignIn shows the user a sign-in even where a token could be had
// silently, as prompt=login and prompt=select_account require. Without
// WithAccount any user may sign in, including one who was not signed in here
// before; the result names the account. WithLoginHint fills in a name.
func WithNewSignIn() CallOption { return CallOption{kind: optNewSignIn} }

// WithInsecureNoNonce makes a cookie that is bound to a time instead of a nonce
// of the service. Anyone who steals it can use it for longer, and Entra may
// refuse it. It is for callers that cannot know the nonce.
func WithInsecureNoNonce() CallOption { return CallOption{kind: optInsecureNoNonce} }

// callOptions holds the resolved options of one call.
type callOptions struct {
	account         Account
	claims          string
	tenant          string
	app             App
	forceRefresh    bool
	nonce           string
	loginHint       string
	insecureNoNonce bool
	correlationID   string
	cae             bool
	pop             *PoP
	newSignIn       bool
	anew            bool // ignore what the service said before
}

func (cfg *Config) options(method string, allowed optionKind, opts []CallOption) (callOptions, error) {
	c := callOptions{app: cfg.App}
	if err := c.apply(method, allowed, opts); err != nil {
		return callOptions{}, err
	}
	return c, nil
}

// apply copies no option: one is 200 bytes, and a token from memory costs
// little more than copying a few of those.
func (c *callOptions) apply(method string, allowed optionKind, opts []CallOption) error {
	var seen optionKind
	for i := range opts {
		o := &opts[i]
		if o.kind&allowed == 0 {
			return optionError(method, o.kind, "does not apply")
		}
		if seen&o.kind != 0 {
			return optionError(method, o.kind, "was given twice")
		}
		seen |= o.kind
		switch o.kind {
		case optAccount:
			c.account = o.account
		case optClaims:
			c.claims = o.text
		case optTenant:
			c.tenant = o.text
		case optApp:
			c.app = o.app
		case optForceRefresh:
			c.forceRefresh = true
		case optNonce:
			c.nonce = o.text
		case optLoginHint:
			c.loginHint = o.text
		case optInsecureNoNonce:
			c.insecureNoNonce = true
		case optCorrelationID:
			c.correlationID = o.text
		case optCAE:
			c.cae = true
		case optPoP:
			c.pop = o.pop
		case optNewSignIn:
			c.newSignIn = true
		}
	}
	return nil
}

func optionError(method string, k optionKind, what string) error {
	name := optionNames[k]
	if name == "" {
		name = "the zero CallOption"
	}
	return fmt.Errorf("broker: %s: %s %s", strings.TrimSpace(method), name, what)
}

var errNoApp = errors.New("broker: no app: set Config.App.ClientID or use WithApp")

// Options are the options of one call, resolved, for implementations of the
// broker's methods elsewhere, such as the client of a broker on D-Bus. The zero
// value is a call without options, and the zero value of a field means that its
// option was not given.
type Options struct {
	Account         Account // WithAccount
	App             App     // WithApp
	TenantID        string  // WithTenantID
	Claims          string  // WithClaims: JSON
	ForceRefresh    bool    // WithForceRefresh
	NewSignIn       bool    // WithNewSignIn
	Nonce           string  // WithNonce
	LoginHint       string  // WithLoginHint
	InsecureNoNonce bool    // WithInsecureNoNonce
	CorrelationID   string  // WithCorrelationID: a GUID
	CAE             bool    // WithCAE
	PoP             *PoP    // WithPoP; nil: a bearer token
}

// ResolveOptions returns what the options of a call say. Giving an option
// twice, or the zero CallOption, is an error.
func ResolveOptions(opts ...CallOption) (Options, error) {
	c, err := new(Config).options("options", ^optionKind(0), opts)
	if err != nil {
		return Options{}, err
	}
	return Options{
		Account:         c.account,
		App:             c.app,
		TenantID:        c.tenant,
		Claims:          c.claims,
		ForceRefresh:    c.forceRefresh,
		NewSignIn:       c.newSignIn,
		Nonce:           c.nonce,
		LoginHint:       c.loginHint,
		InsecureNoNonce: c.insecureNoNonce,
		CorrelationID:   c.correlationID,
		CAE:             c.cae,
		PoP:             c.pop,
	}, nil
}
