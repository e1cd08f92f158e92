package dbus

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus/internal/wire"
)

// A Broker answers the calls of a [Handler]. [*broker.Broker] and [*Client]
// implement it.
type Broker interface {
	Accounts(ctx context.Context) ([]broker.Account, error)
	AcquireTokenSilent(ctx context.Context, scopes []string, opts ...broker.CallOption) (broker.AuthResult, error)
	AcquireTokenInteractive(ctx context.Context, scopes []string, opts ...broker.CallOption) (broker.AuthResult, error)
	RemoveAccount(ctx context.Context, acct broker.Account) error
	SSOCookies(ctx context.Context, signInURL string, opts ...broker.CallOption) ([]*http.Cookie, error)
	SignedHTTPRequest(ctx context.Context, accessToken string, p broker.PoP) (string, error)
}

var (
	_ Broker = (*broker.Broker)(nil)
	_ Broker = (*Client)(nil)
)

// A Caller identifies the sender of a request, as reported by the bus. The
// caller cannot forge any of it.
type Caller struct {
	// UID is the numeric user id of the caller's process.
	UID uint32
	// PID is the caller's process id, or zero if the bus does not know it. Use
	// it only for logs: process ids are reused.
	PID uint32
	// Name is the caller's connection to the bus, such as ":1.42". An
	// interactive call can only be canceled by the connection that made it.
	Name string
}

// ErrOtherUser is returned when the caller runs as a user of the machine other
// than the owner of the accounts.
var ErrOtherUser = errors.New("dbus: the caller is another user of this machine")

// OwnUser returns a function for Handler.Broker that returns b to callers that
// run as the same user as this process, and refuses others with ErrOtherUser.
func OwnUser(b Broker) func(Caller) (Broker, error) {
	own := uint32(os.Getuid())
	return func(c Caller) (Broker, error) {
		if c.UID != own {
			return nil, ErrOtherUser
		}
		return b, nil
	}
}

// Version is the broker version that a Handler reports to clients by default.
// Clients log it, and some expect cookieItems in replies from version 2.0.1 on.
const Version = "3.0.1-prtbroker"

// SilentLimit is how long a call without a prompt may take. Clients wait for 10
// to 25 seconds.
const SilentLimit = 25 * time.Second

// A Handler answers the methods of the interface. It is independent of the bus,
// so it can serve other transports too. Its methods are safe for concurrent
// use. It must not be copied after its first use.
type Handler struct {
	// Broker returns the broker with the accounts of a caller. It is required;
	// see [OwnUser]. An error refuses the caller.
	Broker func(Caller) (Broker, error)

	// Cloud says which sign-in hosts requests may name. The zero value is the
	// public cloud.
	Cloud broker.Cloud

	// Version is the version that clients are told. Empty: [Version].
	Version string

	// Logger receives failures and, at the level Debug, every call; never a
	// secret. Nil discards it.
	Logger *slog.Logger

	// Now is the clock. Nil is time.Now.
	Now func() time.Time

	known   knownAccounts
	ids     idTokens
	pending pendingCalls
}

// Handle answers a call. The reply is always JSON, whatever the request, and
// reports any error. Handle returns when ctx ends at the latest.
func (h *Handler) Handle(ctx context.Context, from Caller, method, protocol, correlation, request string) string {
	start := h.now()
	reply, err := h.answer(ctx, from, method, correlation, request)
	if err != nil {
		reply = wire.Fail(method, h.failure(ctx, from, method, err))
	}
	h.log(ctx, from, method, protocol, start, err)
	return reply
}

func (h *Handler) answer(ctx context.Context, from Caller, method, correlation, request string) (string, error) {
	r, err := wire.ParseRequest(request)
	if err != nil {
		return "", &contractError{"the request: " + err.Error()}
	}
	if h.Broker == nil {
		return "", errors.New("dbus: Handler.Broker is nil")
	}
	b, err := h.Broker(from)
	if err != nil {
		return "", err
	}
	c := &call{h: h, b: b, from: from, r: r, correlation: correlation}
	if method == wire.AcquireInteractive {
		return c.interactive(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, SilentLimit)
	defer cancel()
	switch method {
	case wire.AcquireSilently:
		return c.silent(ctx)
	case wire.GetAccounts:
		return c.accounts(ctx)
	case wire.AcquireCookie:
		return c.cookie(ctx)
	case wire.SignHTTPRequest:
		return c.sign(ctx)
	case wire.RemoveAccount:
		return c.remove(ctx)
	case wire.CancelInteractive:
		h.pending.cancel(from.Name, h.now())
		return wire.Empty, nil
	case wire.GetVersion:
		return wire.VersionReply(h.version()), nil
	}
	return "", &contractError{"the interface has no method of that name"}
}

// Gone ends the calls in progress of a connection that has left the bus.
func (h *Handler) Gone(name string) { h.pending.gone(name) }

// A call is one request under way.
type call struct {
	h           *Handler
	b           Broker
	from        Caller
	r           wire.Request
	correlation string
}

// A contractError reports a request that no broker can answer.
type contractError struct{ text string }

func (e *contractError) Error() string { return "dbus: " + e.text }

func (h *Handler) now() time.Time {
	if h.Now != nil {
		return h.Now()
	}
	return time.Now()
}

func (h *Handler) version() string {
	if h.Version != "" {
		return h.Version
	}
	return Version
}

func (h *Handler) log(ctx context.Context, from Caller, method, protocol string, start time.Time, err error) {
	if h.Logger == nil {
		return
	}
	level := slog.LevelDebug
	if err != nil {
		level = slog.LevelInfo
	}
	if !h.Logger.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", clip(method)), slog.Uint64("pid", uint64(from.PID)),
		slog.String("sender", from.Name), slog.Duration("took", h.now().Sub(start)),
	}
	if protocol != wire.Protocol {
		attrs = append(attrs, slog.String("protocol", clip(protocol)))
	}
	if err != nil {
		attrs = append(attrs, slog.String("status", statusOf(method, err).String()), slog.Any("error", err))
	}
	h.Logger.LogAttrs(ctx, level, "broker call", attrs...)
}

// maxWord bounds what a caller puts into a log, in bytes.
const maxWord = 64

func clip(s string) string {
	if len(s) > maxWord {
		return s[:maxWord] + "…"
	}
	return s
}
