package terminal

import (
	"context"
	"sync"
)

// A turn lets one question at a time use the terminal. Waiting for it ends with
// the context, which a mutex would not.
type turn struct {
	once sync.Once
	free chan struct{} // holds a value while nobody asks
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
