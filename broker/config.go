package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/policy"
	"github.com/prtbroker/prtbroker/tpm"
)

// A Config says who the broker works for and with what. Tenant and Keys are
// required; New copies the Config and fills in defaults for the rest.
type Config struct {
	// Tenant is the tenant's id or one of its verified domains.
	Tenant string

	// Cloud is the national cloud. The zero value is the public cloud.
	Cloud Cloud

	// App is the importing app as it is registered in the tenant. It may be
	// zero when every call that asks for an app token says [WithApp].
	App App

	// Keys holds the device's keys and every session key. The caller closes
	// it, after the broker.
	Keys tpm.KeyStore

	// Store holds the state. Nil keeps it in memory, so that it ends with the
	// process.
	Store store.Store

	// Scope says who owns the registration. The zero value is [ScopeUser].
	Scope Scope

	// UserID names the user whose accounts these are, such as a numeric user id,
	// in a store that several users share ([ScopeSystem]). Empty: the store has
	// one user.
	UserID string

	// Transport sends requests. Nil is a client with TLS 1.2 and later and the
	// proxy of the environment, which connects within 15 s and waits 45 s for the
	// header of a reply. Over any Transport a request ends after 60 s at the
	// latest, and a reply of more than 1 MiB is refused.
	Transport Transport

	// MutualTLS returns a transport that presents a client certificate, which
	// UnregisterDevice needs. Nil: one like Transport, if that is an *http.Client
	// over an *http.Transport without DialTLSContext.
	MutualTLS func(tls.Certificate) Transport

	// AllowUnbound lets users sign in on a machine without a device
	// registration. Their tokens come from plain refresh tokens of the app,
	// which are not bound to this machine and carry no device: results say
	// SourceRefreshToken. False: such calls end in ErrDeviceNotRegistered.
	AllowUnbound bool

	// Prompter shows things to the user. Nil: calls that need the user fail with
	// ErrInteractionRequired.
	Prompter Prompter

	// Policies returns the Conditional Access policies of the tenant, for Why and
	// Preflight. Each of their calls calls it, so it may return newer ones. Nil,
	// or a nil Set: the policies are not known.
	Policies func() *policy.Set

	// PIN holds the rules for new PINs of Hello keys. The zero value is the
	// Windows default: six characters and no pattern.
	PIN PINRules

	// Offline bounds how long the PIN unlocks without the service, counted from
	// the last time that the service confirmed the user by the PIN. The TPM
	// measures it, never the wall clock, which anyone holding the machine can
	// set. The TPM's clock stops without power, which Resets and Restarts bound.
	// Of the three, only Resets holds against a thief who prepares in time to try
	// PINs later: see [tpm.Limit].
	//
	// A confirmation does not restart the limits while less than an eighth of
	// Time has passed and the TPM was neither reset nor restarted, which saves
	// TPM commands: users get at least seven eighths of Time, and never more than
	// all of it. If Time is zero, the PIN unlocks nothing offline here, and this
	// process keeps no token for that; what another process prepared with limits
	// of its own stays. Offline needs a TPM.
	Offline tpm.Limit

	// KeepTokens keeps access tokens with the account's state, sealed under its
	// data key, so that the next process of this user gets them without a
	// request. It is for command-line tools, which would otherwise exchange the
	// PRT on every run. Tokens are kept until they expire at most, and of each
	// account only the newest 256, less if these take more than 1 MiB. They are
	// erased when the account is locked or removed, and when the service no
	// longer accepts the user, the device or the PRT. A claims challenge drops
	// those of its resource. Bound (PoP) tokens and those of AllowUnbound are not
	// kept. False: tokens live in memory alone.
	KeepTokens bool

	// RequireEncryptedReplies refuses an unencrypted answer to a request that the
	// session key signed. Entra encrypts them; no published capture settles
	// whether it always does, so by default an unencrypted token is accepted,
	// reported in [ResultMetadata].Encrypted and logged once. An unencrypted
	// renewal is always refused.
	RequireEncryptedReplies bool

	// InsecureSoftwareHello allows Hello keys without a TPM. Only this process
	// counts wrong PINs there: anyone with the files and the key of the store can
	// try all PINs. The service accepts such a key as MFA all the same.
	InsecureSoftwareHello bool

	// Device describes this machine in a registration. Empty fields are filled
	// from the operating system.
	Device DeviceInfo

	// UserAgent is sent with every request; Conditional Access reads the platform
	// from it. Empty: one that names this library, its version (from the build
	// information of the program) and this operating system.
	UserAgent string

	// Logger receives what happens, never a secret. Nil discards it. Its
	// attribute keys are fixed: account (home account id), client, credential,
	// correlation_id, device, error, expires, login_host, mfa, tenant, type and
	// wait.
	Logger *slog.Logger

	// Tracer observes operations and requests, for spans. Nil: none.
	Tracer Tracer

	// Now is the clock. Nil is time.Now.
	Now func() time.Time

	// Rand is the source of randomness. Nil is crypto/rand.Reader. It must be
	// safe for concurrent use.
	Rand io.Reader
}

// NativeClientRedirect is the redirect that apps on Linux register under "mobile
// and desktop applications", and that an [App] without a RedirectURI uses. In a
// national cloud it is the same path on that cloud's sign-in host.
const NativeClientRedirect = wire.RedirectNativeClient

// The client and the redirect of Microsoft's broker, with which the broker
// signs users in. A program without a registration of its own may use them as
// its [App]; for Graph they allow little beyond User.Read (AADSTS65002).
const (
	BrokerClientID = wire.ClientBroker   // 29d9ed98-a469-4536-ade2-f981bc1d605e
	BrokerRedirect = wire.RedirectBroker // msauth://Microsoft.AAD.BrokerPlugin
)

// An App is a public client of the tenant: the program that wants tokens.
type App struct {
	// ClientID is the app's id in the tenant.
	ClientID string

	// RedirectURI is a redirect that the app has registered under "mobile and
	// desktop applications". Empty: [NativeClientRedirect].
	RedirectURI string
}

// A Scope says who owns the device registration.
type Scope uint8

const (
	// ScopeUser is one registration and one set of accounts in one store, shared
	// by all apps of a user.
	ScopeUser Scope = iota
	// ScopeSystem is one registration for the machine, made by a privileged
	// service that keeps the accounts of several users separate (Config.UserID).
	ScopeSystem
)

// A Transport sends one request, like [http.Client]. It must not follow
// redirects, since requests carry credentials, nor keep cookies, since those of one
// user's session would go into the requests of another: an *http.Client is used
// without its CheckRedirect and its Jar. The caller's context bounds it.
type Transport interface {
	Do(*http.Request) (*http.Response, error)
}

// A Tracer observes operations that take time, for example as a bridge to
// OpenTelemetry. Tokens from memory are not reported.
type Tracer interface {
	// Start is called when an operation begins: "acquire token", "sign in",
	// "renew PRT", "register device" or "request". It returns the context for the
	// work inside the operation and a function to call at its end, with the
	// error. It must not block.
	Start(ctx context.Context, operation string) (context.Context, func(error))
}

// A Prompter shows things to the user. The library opens nothing by itself.
type Prompter interface {
	// Authorize shows the page at url and returns the first address that the page
	// redirects to and that begins with redirectPrefix, in full, with its query.
	// The redirects of the broker client are not loopback addresses
	// (ms-appx-web:, msauth:): a web view, a handler for the scheme, or the user
	// pasting the address brings them back. It returns ErrUserCanceled when the
	// user gives up. Any other error is the cause of the *Error that the call
	// ends with, for errors.As.
	Authorize(ctx context.Context, url, redirectPrefix string) (redirected string, err error)

	// DeviceCode shows the address and the code and returns at once.
	DeviceCode(ctx context.Context, dc DeviceCode) error

	// PIN asks for the PIN of the account's Hello key.
	PIN(ctx context.Context, acct Account) (PIN, error)
}

func (c *Config) check() error {
	if c.Tenant == "" {
		return errors.New("broker: Config.Tenant is required: a tenant id or a verified domain")
	}
	if c.Keys == nil {
		return errors.New("broker: Config.Keys is required: open a TPM, or ask package softkeys for software keys")
	}
	if c.Scope > ScopeSystem {
		return errors.New("broker: Config.Scope is neither ScopeUser nor ScopeSystem")
	}
	if c.Scope == ScopeUser && c.UserID != "" {
		return errors.New("broker: Config.UserID requires ScopeSystem")
	}
	if c.Offline.Time < 0 {
		return errors.New("broker: Config.Offline.Time is negative")
	}
	if err := c.PIN.check(); err != nil {
		return err
	}
	return nil
}

// span reports an operation to the tracer, if there is one.
func (c *Config) span(ctx context.Context, operation string) (context.Context, func(error)) {
	if c.Tracer == nil {
		return ctx, func(error) {}
	}
	return c.Tracer.Start(ctx, operation)
}
