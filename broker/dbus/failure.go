package dbus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus/internal/wire"
)

// statuses maps the broker's errors to the statuses that clients understand, the
// more specific errors first.
var statuses = []struct {
	is error
	to wire.Status
}{
	{broker.ErrUserCanceled, wire.UserCanceled},
	{ErrOtherUser, wire.AccountNotFound},
	{errTooMany, wire.ServerTemporarilyUnavailable},
	{broker.ErrClosed, wire.TransientError},
	{broker.ErrNoAccount, wire.AccountNotFound},
	{broker.ErrUserDisabled, wire.AccountUnusable},
	{broker.ErrUserNotFound, wire.AccountUnusable},
	{broker.ErrDeviceNotRegistered, wire.DeviceNotRegistered},
	{broker.ErrDeviceAuth, wire.DeviceNotRegistered},
	{broker.ErrKeyUnusable, wire.KeyNotFound},
	{broker.ErrThrottled, wire.ServerTemporarilyUnavailable},
	{broker.ErrInteractionRequired, wire.InteractionRequired},
	{broker.ErrBadCredential, wire.InteractionRequired},
	{broker.ErrPINLocked, wire.InteractionRequired},
	{broker.ErrAccountLocked, wire.InteractionRequired},
	{broker.ErrAppConfig, wire.IncorrectConfiguration},
	{ErrNoBroker, wire.RequiredBrokerMissing},
	{context.DeadlineExceeded, wire.NetworkTemporarilyUnavailable},
	{context.Canceled, wire.ApplicationCanceled},
}

// appConfig holds the AADSTS codes that mean that the app's registration is
// wrong, however else they are classified.
var appConfig = map[int]bool{65002: true, 7000218: true, 50011: true}

// statusOf returns the status that a client is given for an error.
func statusOf(method string, err error) wire.Status {
	var contract *contractError
	var authority *authorityError
	var e *broker.Error
	var remote *remoteError
	said := errors.As(err, &e)
	switch {
	case errors.As(err, &remote):
		return remote.said.Status
	case errors.As(err, &contract):
		return wire.APIContractViolation
	case errors.As(err, &authority):
		return wire.AuthorityUntrusted
	case said && e.Code == 65001: // consent, which the user can give
		return wire.InteractionRequired
	case said && appConfig[e.Code]:
		return wire.IncorrectConfiguration
	case errors.Is(err, broker.ErrBlocked):
		return blocked(method)
	}
	for _, s := range statuses {
		if errors.Is(err, s.is) {
			return s.to
		}
	}
	if errors.Is(err, broker.ErrTransient) {
		return transient(err, e)
	}
	return wire.Unexpected
}

// blocked returns the status of a refusal that the user cannot resolve. MSAL
// reports every invalid_grant of a silent call as "interaction required", and
// marks with the suberror message_only that the interactive call will only show
// a message. That message then comes from the interactive call.
func blocked(method string) wire.Status {
	if method == wire.AcquireSilently {
		return wire.InteractionRequired
	}
	return wire.IncorrectConfiguration
}

// transient tells the network, the service and the machine apart.
func transient(err error, e *broker.Error) wire.Status {
	var network net.Error
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &dns), errors.As(err, &op) && op.Op == "dial":
		return wire.NoNetwork
	case errors.As(err, &network):
		return wire.NetworkTemporarilyUnavailable
	case e != nil && e.StatusCode != 0:
		return wire.ServerTemporarilyUnavailable
	}
	return wire.TransientError
}

// youngDevice is how long after its registration a device may still be unknown
// to parts of the service.
const youngDevice = 5 * time.Minute

// failure describes an error to a client. Its text is the AADSTS code, which
// people search for, followed by the broker's own text, which contains no
// secrets.
func (h *Handler) failure(ctx context.Context, from Caller, method string, err error) *wire.Error {
	status := statusOf(method, err)
	text := err.Error()
	var remote *remoteError
	if errors.As(err, &remote) {
		out := wire.NewError(status, remote.said.Context)
		out.Diagnostics = remote.said.Diagnostics
		return out
	}
	var e *broker.Error
	if !errors.As(err, &e) {
		return wire.NewError(status, text)
	}
	if status == wire.DeviceNotRegistered && e.Code == 50155 && h.isYoung(ctx, from) {
		status = wire.TransientError
	}
	if e.Code != 0 {
		text = fmt.Sprintf("AADSTS%d: %s", e.Code, text)
	}
	out := wire.NewError(status, text)
	sub := e.SubError
	if sub == "" && errors.Is(err, broker.ErrBlocked) {
		sub = "message_only"
	}
	if e.OAuth != "" || sub != "" || e.Claims != "" || e.CorrelationID != "" {
		out.Diagnostics = &wire.Diagnostics{OAuth: e.OAuth, SubError: sub, Claims: e.Claims, CorrelationID: e.CorrelationID}
	}
	return out
}

// A statusBroker says when the device was registered. [*broker.Broker] implements it.
type statusBroker interface {
	Status(ctx context.Context) (broker.Status, error)
}

func (h *Handler) isYoung(ctx context.Context, from Caller) bool {
	b, err := h.Broker(from)
	if err != nil {
		return false
	}
	s, ok := b.(statusBroker)
	if !ok {
		return false
	}
	st, err := s.Status(ctx)
	return err == nil && st.Registered && h.now().Sub(st.Device.Registered) < youngDevice
}

// sentinelOf is the reverse mapping, for a [Client]. It returns the error that
// an app tests for.
func sentinelOf(s wire.Status, e *broker.Error) error {
	switch s {
	case wire.InteractionRequired:
		if strings.EqualFold(e.SubError, "message_only") {
			return broker.ErrBlocked
		}
		return broker.ErrInteractionRequired
	case wire.NoNetwork, wire.NetworkTemporarilyUnavailable, wire.ServerTemporarilyUnavailable, wire.TransientError:
		return broker.ErrTransient
	case wire.UserCanceled:
		return broker.ErrUserCanceled
	case wire.ApplicationCanceled:
		return context.Canceled
	case wire.IncorrectConfiguration:
		return broker.ErrAppConfig
	case wire.AccountUnusable:
		return broker.ErrUserDisabled
	case wire.DeviceNotRegistered:
		return broker.ErrDeviceNotRegistered
	case wire.KeyNotFound:
		return broker.ErrKeyUnusable
	case wire.AccountNotFound, wire.UserSwitch, wire.AccountSwitch:
		return broker.ErrNoAccount
	}
	return nil
}
