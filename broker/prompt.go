package broker

import (
	"context"
	"errors"
)

// prompt asks the user by a method of the Prompter and returns within ctx,
// also when the Prompter does not.
func prompt[T any](ctx context.Context, ask func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := ask()
		done <- result{v, err}
	}()
	var zero T
	select {
	case r := <-done:
		if r.err != nil {
			return zero, promptError(ctx, r.err)
		}
		return r.v, nil
	case <-ctx.Done():
		return zero, ctx.Err()
	}
}

func promptError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, ErrUserCanceled), errors.Is(err, errors.ErrUnsupported):
		return err
	}
	return &Error{detail: "the sign-in page did not come to its end", cause: err}
}
