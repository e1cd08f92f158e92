package broker

import (
	"context"
	"errors"

	"github.com/prtbroker/prtbroker/broker/internal/flight"
)

// flights runs work once for all callers that ask for it at the same time. The
// work has a context of its own, so that one caller giving up does not fail the
// others; it ends when the last caller has left, or at Close.
type flights struct{ group flight.Group[string, any] }

// do returns the result of work under key, joining the flight that is under
// way. It returns within ctx.
func do[T any](ctx context.Context, f *flights, key string, work func(context.Context) (T, error)) (T, error) {
	var zero T
	v, _, err := f.group.Do(ctx, key, func(ctx context.Context) (any, error) { return work(ctx) })
	if err == nil {
		return v.(T), nil
	}
	return zero, closedError(err)
}

// closedError returns ErrClosed for a flight that Close ended. A transport's
// own context.Canceled, such as that of a dial for another request, does not
// count.
func closedError(err error) error {
	if errors.Is(err, flight.ErrClosed) {
		return ErrClosed
	}
	return err
}
