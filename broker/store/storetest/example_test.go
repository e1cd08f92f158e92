package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/broker/store/storetest"
)

// counted is a store of one's own, over another, which counts what is written.
type counted struct {
	store.Store
	writes *atomic.Int64
}

func (c counted) Put(ctx context.Context, name string, data []byte, old store.Version) (store.Version, error) {
	v, err := c.Store.Put(ctx, name, data, old)
	if err == nil {
		c.writes.Add(1)
	}
	return v, err
}

// TestCounted is all that the store's test needs.
func TestCounted(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return counted{new(store.Memory), new(atomic.Int64)} })
}

// The suite tests a store of one's own: see TestCounted in this file. What it
// asks for first is that of two writers one wins.
func ExampleRun() {
	ctx := context.Background()
	s := counted{new(store.Memory), new(atomic.Int64)}
	if _, err := s.Put(ctx, "device", []byte("one"), 0); err != nil {
		fmt.Println(err)
	}
	_, err := s.Put(ctx, "device", []byte("two"), 0)
	fmt.Println(errors.Is(err, store.ErrConflict))
	data, _, err := s.Get(ctx, "device")
	fmt.Printf("%s %v, %d write\n", data, err, s.writes.Load())
	// Output:
	// true
	// one <nil>, 1 write
}
