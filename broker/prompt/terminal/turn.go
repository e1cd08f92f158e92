package terminal

import (
	"context"
	"sync"
)

// A turn lets one question at a time use the terminal. Unlike waiting for a
// mutex, waiting for the turn ends with the context.
type turn struct {
	once sync.Once
	free chan struct{} // holds a value while the terminal is free
}

func (t *turn) init() {
	t.once.Do(func() {
		t.free = make(chan struct{}, 1)
		t.free <- struct{}{}
	})
}

func (t *turn) take(ctx context.Context) error {
	t.init()
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-t.free:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *turn) give() { t.free <- struct{}{} }
