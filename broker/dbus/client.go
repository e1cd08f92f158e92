package dbus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus/internal/wire"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/sessionbus"
)

// ErrNoBroker is returned when no broker is on the bus and none can be started.
var ErrNoBroker = errors.New("dbus: no broker on the bus")

// Options are the options of [Dial].
type Options struct {
	// Address is the address of the bus. Empty: the session bus.
	Address string
	// App is the calling app as it is registered in the tenant. It may be zero
	// if every call passes broker.WithApp.
	App broker.App
	// Cloud is the national cloud whose authority is named in requests. The
	// zero value is the public cloud.
	Cloud broker.Cloud
}

// A Client calls whichever broker is on the bus: this one, Microsoft's or
// himmelblau's. It has the methods of [broker.Broker] that the D-Bus interface
// supports, with the same options and errors. It is safe for concurrent use.
type Client struct {
	opts Options

	mu     sync.Mutex // guards what follows
	conn   *dbus.Conn
	closed bool
}

// Dial connects to the bus and to the broker on it, which the bus starts if it
// is configured to. It returns ErrNoBroker if there is no broker.
func Dial(ctx context.Context, o Options) (*Client, error) {
	c := &Client{opts: o}
	if o.Cloud.LoginHost == "" {
		c.opts.Cloud = broker.CloudPublic
	}
	conn, err := c.connection(ctx)
	if err != nil {
		return nil, err
	}
	err = conn.Object(wire.BusName, wire.Path).CallWithContext(ctx, "org.freedesktop.DBus.Peer.Ping", 0).Err
	if err != nil {
		_ = c.Close()
		return nil, callError("dial", err)
	}
	return c, nil
}

// Close closes the connection to the bus.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.conn == nil {
		return nil
	}
	return c.conn.Close()
}

// connection returns the connection, reconnecting if it was lost.
func (c *Client) connection(ctx context.Context) (*dbus.Conn, error) {
	c.mu.Lock()
	conn, closed := c.conn, c.closed
	c.mu.Unlock()
	if closed {
		return nil, broker.ErrClosed
	}
	if conn != nil && conn.Connected() {
		return conn, nil
	}
	conn, err := sessionbus.Connect(ctx, c.opts.Address)
	switch {
	case ctx.Err() != nil:
		return nil, callError("dial", ctx.Err()) // this does not say whether there is a broker
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNoBroker, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		_ = conn.Close()
		return nil, broker.ErrClosed
	case c.conn != nil && c.conn.Connected():
		_ = conn.Close() // another call connected first
	default:
		c.conn = conn
	}
	return c.conn, nil
}

// Version returns the version of the broker. Use it only for logs: other
// vendors have version schemes of their own.
func (c *Client) Version(ctx context.Context) (string, error) {
	r, err := c.call(ctx, "version", wire.GetVersion, wire.Request{}, "")
	if err != nil {
		return "", err
	}
	return r.Version, nil
}

// Accounts returns the accounts that are signed in with the broker.
func (c *Client) Accounts(ctx context.Context) ([]broker.Account, error) {
	id := c.opts.App.ClientID
	r, err := c.call(ctx, "accounts", wire.GetAccounts, wire.Request{ClientID: id, RedirectURI: id}, "")
	if err != nil {
		return nil, err
	}
	out := make([]broker.Account, len(r.Accounts))
	for i, a := range r.Accounts {
		out[i] = brokerAccount(a)
	}
	return out, nil
}

// A Client can be used wherever a broker.Silent is accepted.
var _ broker.Silent = (*Client)(nil)

// AcquireTokenSilent is [broker.Broker.AcquireTokenSilent], answered by the
// broker on the bus. It takes the same options.
//
// With WithForceRefresh it makes two calls: the interface can only ask for a
// token other than one that the caller names.
func (c *Client) AcquireTokenSilent(ctx context.Context, scopes []string, opts ...broker.CallOption) (broker.AuthResult, error) {
	q, err := c.request(scopes, opts)
	if err != nil {
		return broker.AuthResult{}, err
	}
	if q.o.NewSignIn || q.o.LoginHint != "" {
		return broker.AuthResult{}, errors.New("dbus: AcquireTokenSilent: WithNewSignIn and WithLoginHint do not apply")
	}
	if err := c.fillAccount(ctx, q); err != nil {
		return broker.AuthResult{}, err
	}
	res, err := c.token(ctx, wire.AcquireSilently, q)
	if err != nil || !q.o.ForceRefresh {
		return res, err
	}
	q.r.Renew = res.AccessToken
	return c.token(ctx, wire.AcquireSilently, q)
}

// AcquireTokenInteractive is [broker.Broker.AcquireTokenInteractive], answered
// by the broker on the bus, which shows its own windows. When ctx ends, the
// broker is told to cancel the sign-in.
func (c *Client) AcquireTokenInteractive(ctx context.Context, scopes []string, opts ...broker.CallOption) (broker.AuthResult, error) {
	q, err := c.request(scopes, opts)
	if err != nil {
		return broker.AuthResult{}, err
	}
	q.r.Username = q.o.LoginHint
	if q.r.Username == "" {
		q.r.Username = q.o.Account.PreferredUsername
	}
	q.r.SignIn = q.o.Account.IsZero()
	switch {
	case q.o.NewSignIn && q.r.SignIn:
		q.r.Prompt = "SELECT_ACCOUNT"
	case q.o.NewSignIn:
		q.r.Prompt = "LOGIN"
	}
	// The broker cancels all calls of a connection, so each call has its own.
	own := &Client{opts: c.opts}
	defer own.Close()
	return own.token(ctx, wire.AcquireInteractive, q)
}

// RemoveAccount signs the account out of the broker.
func (c *Client) RemoveAccount(ctx context.Context, acct broker.Account) error {
	_, err := c.call(ctx, "remove account", wire.RemoveAccount, wire.Request{ClientID: c.opts.App.ClientID, Account: wireAccount(acct)}, "")
	if errors.Is(err, broker.ErrNoAccount) {
		return nil
	}
	return err
}

// SSOCookies is [broker.Broker.SSOCookies], answered by the broker on the bus.
// That broker decides how the cookie is bound if signInURL contains no nonce.
func (c *Client) SSOCookies(ctx context.Context, signInURL string, opts ...broker.CallOption) ([]*http.Cookie, error) {
	q, err := c.request([]string{"https://" + c.opts.Cloud.GraphHost + "/.default"}, opts)
	if err != nil {
		return nil, err
	}
	if err := c.fillAccount(ctx, q); err != nil {
		return nil, err
	}
	if q.r.SSOURL, err = withNonce(signInURL, q.o.Nonce); err != nil {
		return nil, err
	}
	r, err := c.call(ctx, "SSO cookie", wire.AcquireCookie, q.r, q.o.CorrelationID)
	if err != nil {
		return nil, err
	}
	var out []*http.Cookie
	for _, k := range r.Cookies {
		out = append(out, &http.Cookie{Name: k.Name, Value: k.Content, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteNoneMode})
	}
	return out, nil
}

// withNonce adds a nonce to the address of a page that has none.
func withNonce(address, nonce string) (string, error) {
	if nonce == "" {
		return address, nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", errors.New("dbus: the address of the sign-in page is malformed")
	}
	q := u.Query()
	if !q.Has("sso_nonce") {
		q.Set("sso_nonce", nonce)
		u.RawQuery = q.Encode()
	}
	return u.String(), nil
}

// SignedHTTPRequest signs a request to an API with the broker's key. The
// interface cannot pass an access token here, so accessToken must be empty. To
// get a token that is bound to the request, call AcquireTokenSilent with
// broker.WithPoP.
func (c *Client) SignedHTTPRequest(ctx context.Context, accessToken string, p broker.PoP) (string, error) {
	if accessToken != "" {
		return "", fmt.Errorf("dbus: SignedHTTPRequest with an access token: %w; use WithPoP", errors.ErrUnsupported)
	}
	params, err := popParams(p)
	if err != nil {
		return "", err
	}
	accounts, err := c.Accounts(ctx)
	if err != nil {
		return "", err
	}
	if len(accounts) > 0 {
		params.HomeAccountID = accounts[0].HomeAccountID
	}
	r, err := c.call(ctx, "sign HTTP request", wire.SignHTTPRequest, wire.Request{ClientID: c.opts.App.ClientID, PoP: params}, "")
	if err != nil {
		return "", err
	}
	return r.Signed, nil
}

// A query is a request and the options that it was built from.
type query struct {
	o broker.Options
	r wire.Request
}

// request translates the options of a call.
func (c *Client) request(scopes []string, opts []broker.CallOption) (*query, error) {
	o, err := broker.ResolveOptions(opts...)
	if err != nil {
		return nil, err
	}
	app := o.App
	if app.ClientID == "" {
		app = c.opts.App
	}
	if app.RedirectURI == "" {
		app.RedirectURI = "https://" + c.opts.Cloud.LoginHost + "/common/oauth2/nativeclient"
	}
	tenant := o.TenantID
	if tenant == "" {
		tenant = "common"
	}
	q := &query{o: o, r: wire.Request{
		Authority:   "https://" + c.opts.Cloud.LoginHost + "/" + url.PathEscape(tenant),
		ClientID:    app.ClientID,
		RedirectURI: app.RedirectURI,
		Scopes:      scopes,
		Claims:      o.Claims,
	}}
	if !o.Account.IsZero() {
		q.r.Account = wireAccount(o.Account)
		q.r.Username = o.Account.PreferredUsername
	}
	if o.CAE {
		asked, err := claims.ParseRequest(o.Claims)
		if err != nil {
			return nil, err
		}
		q.r.Claims = asked.WithCapabilities("cp1").String()
	}
	if o.PoP != nil {
		q.r.PoP, err = popParams(*o.PoP)
	}
	return q, err
}

// fillAccount fills in the only signed-in account if the caller named none,
// since other vendors' brokers require an account.
func (c *Client) fillAccount(ctx context.Context, q *query) error {
	if !q.r.Account.IsZero() {
		return nil
	}
	all, err := c.Accounts(ctx)
	switch {
	case err != nil:
		return err
	case len(all) == 0:
		return broker.NewError(broker.ErrNoAccount, "nobody is signed in with the broker on the bus", nil, broker.Error{})
	case len(all) > 1:
		return errWhichAccount
	}
	q.o.Account = all[0]
	q.r.Account, q.r.Username = wireAccount(all[0]), all[0].PreferredUsername
	return nil
}

func popParams(p broker.PoP) (*wire.PoPParams, error) {
	out := &wire.PoPParams{Scheme: "pop", Method: p.Method, Nonce: p.Nonce, ClientClaims: string(p.Claims), KeyID: p.KeyID}
	if p.URL != "" {
		u, err := url.Parse(p.URL)
		if err != nil || u.Host == "" || u.RawQuery != "" {
			return nil, errors.New("dbus: PoP.URL must be an absolute URL without a query; the interface cannot bind a query")
		}
		out.Host, out.Path = u.Host, u.EscapedPath()
	}
	return out, nil
}

// token asks for a token.
func (c *Client) token(ctx context.Context, method string, q *query) (broker.AuthResult, error) {
	const op = "acquire token"
	correlation := q.o.CorrelationID
	if correlation == "" {
		correlation = newGUID()
	}
	r, err := c.call(ctx, op, method, q.r, correlation)
	if err != nil {
		var e *broker.Error
		if errors.As(err, &e) {
			e.Scopes, e.Account = q.r.Scopes, q.o.Account
		}
		return broker.AuthResult{}, err
	}
	t := r.Token
	res := broker.AuthResult{
		Account:       accountOf(t, q.o.Account),
		AccessToken:   t.AccessToken,
		TokenType:     "Bearer",
		IDToken:       t.IDToken,
		ExpiresOn:     time.UnixMilli(t.ExpiresOn),
		GrantedScopes: strings.Fields(t.GrantedScopes),
		Metadata:      broker.ResultMetadata{Source: broker.SourceBroker, CorrelationID: correlation},
	}
	if q.o.PoP != nil {
		if t.AccessTokenType != wire.TypePoP {
			return broker.AuthResult{}, broker.NewError(nil, "the broker on the bus gave a token that is not bound to a key", nil, broker.Error{Op: op})
		}
		res.TokenType = "PoP"
	}
	return res, nil
}

// accountOf returns the account that a token belongs to, from the reply, from
// its id_token or from the request.
func accountOf(t *wire.Token, asked broker.Account) broker.Account {
	if t.Account.HomeAccountID != "" {
		return brokerAccount(t.Account)
	}
	tok, err := claims.Parse(t.IDToken)
	if err != nil {
		tok = &claims.Token{}
	}
	info, err := claims.ParseClientInfo(t.ClientInfo)
	if err != nil || info.HomeAccountID() == "" {
		// An id_token names a guest as the other tenant does, so that it says whose the
		// token is only where nobody was asked for.
		info = claims.ClientInfo{UID: tok.ObjectID, UTID: tok.TenantID}
		if !asked.IsZero() {
			return asked
		}
	}
	home := info.HomeAccountID()
	if home == "" || strings.EqualFold(home, asked.HomeAccountID) {
		return asked
	}
	return broker.Account{
		HomeAccountID: home, Environment: "login.windows.net", Realm: info.UTID, LocalAccountID: info.UID,
		PreferredUsername: tok.Username, Name: tok.Name,
	}
}

func brokerAccount(a wire.Account) broker.Account {
	return broker.Account{
		HomeAccountID: a.HomeAccountID, Environment: a.Environment, Realm: a.Realm, LocalAccountID: a.LocalAccountID,
		PreferredUsername: a.Username, Name: a.Name,
	}
}

// newGUID returns a random id (RFC 9562, version 4).
func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
