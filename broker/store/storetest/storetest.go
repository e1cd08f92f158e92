// Package storetest is the conformance suite of [store.Store]: what every
// store of the broker's state must do. The test of a store of your own is one call:
//
//	func TestCounted(t *testing.T) {
//		storetest.Run(t, func(*testing.T) store.Store { return counted{new(store.Memory), new(atomic.Int64)} })
//	}
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prtbroker/prtbroker/broker/store"
)

// Run tests the stores that open returns. Each call of open must return an
// empty store.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T, store.Store)
	}{
		{"absent", absent},
		{"round trip", roundTrip},
		{"versions", versions},
		{"same bytes, new version", sameBytes},
		{"recreated record", recreated},
		{"list", list},
		{"names", names},
		{"caller owns the data", aliasing},
		{"one writer wins", oneWriterWins},
		{"no lost update", noLostUpdate},
		{"ended context", endedContext},
		{"too large", tooLarge},
		{"lease", lease},
		{"lease ends with the context", leaseContext},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open(t)) })
	}
}

func absent(t *testing.T, s store.Store) {
	ctx := t.Context()
	if data, v, err := s.Get(ctx, "a"); !errors.Is(err, store.ErrNotFound) || v != 0 || data != nil {
		t.Errorf("Get of nothing: %q, %d, %v", data, v, err)
	}
	if err := s.Delete(ctx, "a", 1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Delete of nothing: %v", err)
	}
	if _, err := s.Put(ctx, "a", []byte("x"), 7); err == nil {
		t.Error("Put over a version that never was succeeded")
	}
	if _, _, err := s.Get(ctx, "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a refused Put left something: %v", err)
	}
}

func roundTrip(t *testing.T, s store.Store) {
	for _, data := range [][]byte{{}, {0}, []byte("hello"), bytes.Repeat([]byte{0xa5, '\n', 0}, 100_000)} {
		name := fmt.Sprintf("r%d", len(data))
		v := put(t, s, name, data, 0)
		got, gv, err := s.Get(t.Context(), name)
		if err != nil || gv != v || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, version %d (want %d), %v", name, len(got), gv, v, err)
		}
	}
}

func versions(t *testing.T, s store.Store) {
	ctx := t.Context()
	v1 := put(t, s, "a", []byte("one"), 0)
	if _, err := s.Put(ctx, "a", []byte("zwei"), 0); !errors.Is(err, store.ErrConflict) {
		t.Errorf("second creation: %v", err)
	}
	v2 := put(t, s, "a", []byte("two"), v1)
	if _, err := s.Put(ctx, "a", []byte("late"), v1); !errors.Is(err, store.ErrConflict) {
		t.Errorf("late writer: %v", err)
	}
	if err := s.Delete(ctx, "a", v1); !errors.Is(err, store.ErrConflict) {
		t.Errorf("late delete: %v", err)
	}
	if got, _, _ := s.Get(ctx, "a"); string(got) != "two" {
		t.Errorf("record is %q", got)
	}
	if err := s.Delete(ctx, "a", v2); err != nil {
		t.Errorf("delete: %v", err)
	}
	if _, _, err := s.Get(ctx, "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after delete: %v", err)
	}
}

func sameBytes(t *testing.T, s store.Store) {
	v := put(t, s, "a", []byte("x"), 0)
	if put(t, s, "a", []byte("x"), v) == v {
		t.Error("two writes share a version")
	}
}

// A writer that knew the record before it was deleted must not overwrite its
// successor.
func recreated(t *testing.T, s store.Store) {
	v := put(t, s, "a", []byte("x"), 0)
	if err := s.Delete(t.Context(), "a", v); err != nil {
		t.Fatal(err)
	}
	put(t, s, "a", []byte("x"), 0)
	if _, err := s.Put(t.Context(), "a", []byte("y"), v); !errors.Is(err, store.ErrConflict) {
		t.Errorf("write over a successor: %v", err)
	}
}

func list(t *testing.T, s store.Store) {
	for _, n := range []string{"b.2", "a.1", "b.1", "b"} {
		put(t, s, n, nil, 0)
	}
	for prefix, want := range map[string][]string{
		"":    {"a.1", "b", "b.1", "b.2"},
		"b.":  {"b.1", "b.2"},
		"zzz": nil,
	} {
		got, err := s.List(t.Context(), prefix)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("List(%q) = %v, %v", prefix, got, err)
		}
	}
}

func names(t *testing.T, s store.Store) {
	for _, n := range []string{"", ".", "..", "../a", "a/b", "A", "a b", "-a", ".a", "a\x00", string(bytes.Repeat([]byte("a"), 129))} {
		if _, err := s.Put(t.Context(), n, nil, 0); err == nil {
			t.Errorf("name %q is accepted", n)
		}
		if _, _, err := s.Get(t.Context(), n); err == nil || errors.Is(err, store.ErrNotFound) {
			t.Errorf("Get(%q): %v", n, err)
		}
	}
	put(t, s, string(bytes.Repeat([]byte("a"), 128)), nil, 0)
}

func aliasing(t *testing.T, s store.Store) {
	data := []byte("abc")
	put(t, s, "a", data, 0)
	data[0] = 'X'
	got, _, _ := s.Get(t.Context(), "a")
	got[1] = 'Y'
	if got, _, _ = s.Get(t.Context(), "a"); string(got) != "abc" {
		t.Errorf("record is %q", got)
	}
}

func oneWriterWins(t *testing.T, s store.Store) {
	v := put(t, s, "a", []byte("start"), 0)
	var wg sync.WaitGroup
	results := make([]error, 16)
	for i := range results {
		wg.Go(func() { _, results[i] = s.Put(t.Context(), "a", fmt.Append(nil, i), v) })
	}
	wg.Wait()
	won := -1
	for i, err := range results {
		switch {
		case err == nil && won < 0:
			won = i
		case !errors.Is(err, store.ErrConflict):
			t.Errorf("writer %d: %v", i, err)
		}
	}
	if got, _, _ := s.Get(t.Context(), "a"); won < 0 || string(got) != fmt.Sprint(won) {
		t.Errorf("writer %d won, record is %q", won, got)
	}
}

func noLostUpdate(t *testing.T, s store.Store) {
	const writers, writes = 8, 10
	put(t, s, "n", []byte{0}, 0)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < writes; {
				data, v, err := s.Get(t.Context(), "n")
				if err != nil {
					t.Error(err)
					return
				}
				data[0]++
				switch _, err = s.Put(t.Context(), "n", data, v); {
				case err == nil:
					done++
				case !errors.Is(err, store.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got, _, _ := s.Get(t.Context(), "n"); len(got) != 1 || got[0] != writers*writes {
		t.Errorf("count is %v, want %d", got, writers*writes)
	}
}

func endedContext(t *testing.T, s store.Store) {
	v := put(t, s, "a", []byte("x"), 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Get(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: %v", err)
	}
	if _, err := s.Put(ctx, "a", []byte("y"), v); !errors.Is(err, context.Canceled) {
		t.Errorf("Put: %v", err)
	}
	if err := s.Delete(ctx, "a", v); !errors.Is(err, context.Canceled) {
		t.Errorf("Delete: %v", err)
	}
	if _, err := s.List(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("List: %v", err)
	}
	if got, _, _ := s.Get(t.Context(), "a"); string(got) != "x" {
		t.Errorf("record is %q", got)
	}
}

func tooLarge(t *testing.T, s store.Store) {
	if _, err := s.Put(t.Context(), "a", make([]byte, store.MaxRecord+1), 0); err == nil {
		t.Error("a record over MaxRecord is accepted")
	}
	if _, _, err := s.Get(t.Context(), "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("it left something: %v", err)
	}
}

func lease(t *testing.T, s store.Store) {
	l, ok := s.(store.Leaser)
	if !ok {
		t.Skip("not a Leaser")
	}
	var wg sync.WaitGroup
	var holders atomic.Int32
	for range 8 {
		wg.Go(func() {
			release, err := l.Lease(t.Context(), "a")
			if err != nil {
				t.Error(err)
				return
			}
			if n := holders.Add(1); n != 1 {
				t.Errorf("%d holders", n)
			}
			runtime.Gosched()
			holders.Add(-1)
			release()
			release() // a second call does nothing
		})
	}
	wg.Wait()
	a, err := l.Lease(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer a()
	b, err := l.Lease(t.Context(), "b")
	if err != nil {
		t.Fatalf("another name: %v", err)
	}
	b()
	put(t, s, "a", nil, 0) // writing needs no lease
}

func leaseContext(t *testing.T, s store.Store) {
	l, ok := s.(store.Leaser)
	if !ok {
		t.Skip("not a Leaser")
	}
	release, err := l.Lease(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := l.Lease(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("held lease: %v", err)
	}
}

func put(t *testing.T, s store.Store, name string, data []byte, old store.Version) store.Version {
	t.Helper()
	v, err := s.Put(t.Context(), name, data, old)
	if err != nil || v == 0 || v == old {
		t.Fatalf("Put(%s): version %d, %v", name, v, err)
	}
	return v
}
