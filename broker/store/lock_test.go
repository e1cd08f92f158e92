package store

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A signal that interrupts the system does not keep anybody from a lock.
func TestInterruptedLock(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		errs []error
		want error
	}{
		"interrupted twice":           {[]error{syscall.EINTR, syscall.EINTR, nil}, nil},
		"broken after a signal":       {[]error{syscall.EINTR, broken}, broken},
		"at the end of the context":   {[]error{context.Canceled}, context.Canceled},
		"interrupted when it is over": {[]error{syscall.EINTR}, context.Canceled},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		tries := 0
		err := untilLocked(ctx, func(context.Context, time.Duration) (bool, error) {
			err := tt.errs[tries]
			if tries++; tries == len(tt.errs) && errors.Is(tt.want, context.Canceled) {
				cancel()
			}
			return err == nil, err
		})
		cancel()
		require.ErrorIs(t, err, tt.want, name)
		require.Equal(t, len(tt.errs), tries, name)
	}
}
