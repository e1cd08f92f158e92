// Package azcred uses a broker as a credential of the Azure SDK for Go, in
// place of the credentials of azidentity:
//
//	cred := azcred.New(b, nil)
//
// The clients of the SDK take it as their credential, as in
// azsecrets.NewClient(vaultURL, cred, nil).
//
// Tokens are acquired silently with the account's PRT, and carry the device claims
// that Conditional Access asks for. Challenges of continuous access evaluation
// that the SDK passes on are answered.
//
// It is a separate module, so that importers of the broker do not depend on the
// SDK.
package azcred

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/prtbroker/prtbroker/broker"
)

// Options are the options of [New]. Nil means all zero.
type Options struct {
	// Call holds options for each silent call, such as WithApp, or WithAccount,
	// which is needed if several accounts are signed in. It must not contain
	// WithClaims, which the SDK supplies.
	Call []broker.CallOption

	// AdditionallyAllowedTenants are the tenants, besides the account's own, for
	// which a service may request a token. "*" allows all. Nil: none, so that no
	// service can have the user's tokens issued in a tenant of its choice.
	AdditionallyAllowedTenants []string

	// Tenant is the account's own tenant, which a service may then name too.
	// Empty: naming it requires AdditionallyAllowedTenants.
	Tenant string
}

// A Credential implements [azcore.TokenCredential]. It is safe for concurrent
// use.
type Credential struct {
	broker broker.Silent
	opts   Options
}

var _ azcore.TokenCredential = (*Credential)(nil)

// New returns a credential that uses b, which is a [*broker.Broker] or the client
// of a broker in another process. The caller closes b.
func New(b broker.Silent, o *Options) *Credential {
	c := &Credential{broker: b}
	if o != nil {
		c.opts = *o
	}
	return c
}

// GetToken returns a token for the scopes of one resource. It never prompts the
// user: if a prompt is needed, it returns [broker.ErrInteractionRequired], and the
// app calls AcquireTokenInteractive with what the [broker.Error] holds.
//
// If nobody is signed in or the device is not registered, the error also makes an
// [azidentity.ChainedTokenCredential] try its next credential. Errors that are not
// transient tell the SDK not to retry.
func (c *Credential) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if len(o.Scopes) == 0 {
		return azcore.AccessToken{}, &permanent{errors.New("azcred: GetToken needs a scope")}
	}
	opts, err := c.options(o)
	if err != nil {
		return azcore.AccessToken{}, &permanent{err}
	}
	r, err := c.broker.AcquireTokenSilent(ctx, o.Scopes, opts...)
	if err != nil {
		return azcore.AccessToken{}, convert(err)
	}
	return azcore.AccessToken{Token: r.AccessToken, ExpiresOn: r.ExpiresOn, RefreshOn: r.Metadata.RefreshOn}, nil
}

func (c *Credential) options(o policy.TokenRequestOptions) ([]broker.CallOption, error) {
	opts := slices.Clone(c.opts.Call)
	if o.EnableCAE && !slices.Contains(opts, broker.WithCAE()) {
		opts = append(opts, broker.WithCAE())
	}
	if o.Claims != "" {
		opts = append(opts, broker.WithClaims(o.Claims))
	}
	if o.TenantID == "" || strings.EqualFold(o.TenantID, c.opts.Tenant) || slices.Contains(opts, broker.WithTenantID(o.TenantID)) {
		return opts, nil
	}
	if !slices.ContainsFunc(c.opts.AdditionallyAllowedTenants, func(t string) bool {
		return t == "*" || strings.EqualFold(t, o.TenantID)
	}) {
		return nil, fmt.Errorf("azcred: the tenant %q is not among Options.AdditionallyAllowedTenants", o.TenantID)
	}
	return append(opts, broker.WithTenantID(o.TenantID)), nil
}

// convert keeps the broker's error and adds what the SDK looks for.
func convert(err error) error {
	switch {
	case errors.Is(err, broker.ErrNoAccount), errors.Is(err, broker.ErrDeviceNotRegistered):
		return &unavailable{err, azidentity.NewCredentialUnavailableError(err.Error())}
	case errors.Is(err, broker.ErrTransient), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return &permanent{err}
}

// permanent is an error that a retry does not change.
type permanent struct{ error }

// Unwrap returns the broker's error.
func (e *permanent) Unwrap() error { return e.error }

// NonRetriable tells the retry policy of azcore to give up.
func (*permanent) NonRetriable() {}

// unavailable is an error after which a chain of credentials goes on.
type unavailable struct {
	error
	chain error
}

// Unwrap returns the broker's error and azidentity's.
func (e *unavailable) Unwrap() []error { return []error{e.error, e.chain} }

// NonRetriable tells the retry policy of azcore to give up.
func (*unavailable) NonRetriable() {}
