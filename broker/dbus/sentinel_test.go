package dbus_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus"
	"github.com/prtbroker/prtbroker/broker/dbus/internal/wire"
)

// An app behind the bus tests for the same errors as one with a broker of its own, as
// far as the statuses of the interface tell them apart.
func TestErrorsCrossTheBus(t *testing.T) {
	for _, tt := range []struct{ err, want error }{
		{broker.ErrUserCanceled, broker.ErrUserCanceled},
		{broker.ErrInteractionRequired, broker.ErrInteractionRequired},
		{broker.ErrNoAccount, broker.ErrNoAccount},
		{broker.ErrUserDisabled, broker.ErrUserDisabled},
		{broker.ErrUserNotFound, broker.ErrUserDisabled},
		{broker.ErrDeviceNotRegistered, broker.ErrDeviceNotRegistered},
		{broker.ErrDeviceAuth, broker.ErrDeviceNotRegistered},
		{broker.ErrKeyUnusable, broker.ErrKeyUnusable},
		{broker.ErrAppConfig, broker.ErrAppConfig},
		{broker.ErrTransient, broker.ErrTransient},
		{broker.ErrThrottled, broker.ErrTransient},
		{broker.ErrClosed, broker.ErrTransient},
		{broker.ErrBlocked, broker.ErrBlocked},
		{context.Canceled, context.Canceled},
		{context.DeadlineExceeded, broker.ErrTransient},
	} {
		t.Run(tt.err.Error(), func(t *testing.T) {
			h := &dbus.Handler{}
			require.ErrorIs(t, dbus.ThereAndBack(h, wire.AcquireSilently, fmt.Errorf("acquire token: %w", broker.NewError(tt.err, "", tt.err, broker.Error{}))), tt.want)
		})
	}
}
