package store_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/broker/store/storetest"
)

func TestBlob(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store { return blob(t, nil, nil) })
}

// reopened is a Blob that is made anew from what was saved last before each call,
// as by a program that keeps nothing in memory.
type reopened struct {
	t     *testing.T
	turn  chan struct{}
	value []byte
}

func (r *reopened) use(do func(*store.Blob)) {
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	do(blob(r.t, r.value, func(_ context.Context, value []byte) error {
		r.value = value
		return nil
	}))
}

func (r *reopened) Get(ctx context.Context, name string) (data []byte, v store.Version, err error) {
	r.use(func(s *store.Blob) { data, v, err = s.Get(ctx, name) })
	return data, v, err
}

func (r *reopened) Put(ctx context.Context, name string, data []byte, old store.Version) (v store.Version, err error) {
	r.use(func(s *store.Blob) { v, err = s.Put(ctx, name, data, old) })
	return v, err
}

func (r *reopened) Delete(ctx context.Context, name string, old store.Version) (err error) {
	r.use(func(s *store.Blob) { err = s.Delete(ctx, name, old) })
	return err
}

func (r *reopened) List(ctx context.Context, prefix string) (names []string, err error) {
	r.use(func(s *store.Blob) { names, err = s.List(ctx, prefix) })
	return names, err
}

// All that the store knows, versions too, is in the value.
func TestBlobReopened(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		return &reopened{t: t, turn: make(chan struct{}, 1)}
	})
}

// A change that could not be saved was not made.
func TestBlobSaveFails(t *testing.T) {
	t.Parallel()
	full := errors.New("the disk is full")
	var fail error
	saved := 0
	s := blob(t, nil, func(context.Context, []byte) error {
		if fail == nil {
			saved++
		}
		return fail
	})
	v, err := s.Put(t.Context(), "a", []byte("one"), 0)
	require.NoError(t, err)
	before := s.Bytes()

	fail = full
	_, err = s.Put(t.Context(), "a", []byte("two"), v)
	require.ErrorIs(t, err, full)
	_, err = s.Put(t.Context(), "b", []byte("new"), 0)
	require.ErrorIs(t, err, full)
	require.ErrorIs(t, s.Delete(t.Context(), "a", v), full)
	data, now, err := s.Get(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, "one", string(data))
	require.Equal(t, v, now)
	require.Equal(t, before, s.Bytes())

	fail = nil
	_, err = s.Put(t.Context(), "a", []byte("two"), v)
	require.NoError(t, err)
	require.Equal(t, 2, saved)
}

// A writer does not wait for another one's save longer than its context, and
// readers do not wait at all.
func TestBlobSaveHangs(t *testing.T) {
	t.Parallel()
	hang, reached := make(chan struct{}), make(chan struct{})
	s := blob(t, nil, func(context.Context, []byte) error {
		close(reached)
		<-hang
		return nil
	})
	done := make(chan error)
	go func() {
		_, err := s.Put(context.Background(), "a", []byte("one"), 0)
		done <- err
	}()
	<-reached
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	_, err := s.Put(ctx, "b", nil, 0)
	require.ErrorIs(t, err, context.Canceled)
	_, _, err = s.Get(t.Context(), "a")
	require.ErrorIs(t, err, store.ErrNotFound, "it is not saved yet")
	close(hang)
	require.NoError(t, <-done)
	_, _, err = s.Get(t.Context(), "a")
	require.NoError(t, err)
}

// What save and Bytes give away, and what NewBlob takes, is nobody else's.
func TestBlobOwnsNothing(t *testing.T) {
	t.Parallel()
	var saved []byte
	s := blob(t, nil, func(_ context.Context, value []byte) error { saved = value; return nil })
	v, err := s.Put(t.Context(), "a", []byte("one"), 0)
	require.NoError(t, err)
	given := bytes.Clone(saved)
	again := blob(t, given, nil)
	clear(given)
	clear(saved)
	clear(s.Bytes())
	for _, s := range []*store.Blob{s, again} {
		data, now, err := s.Get(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, "one", string(data))
		require.Equal(t, v, now)
	}
}

// Any other value is refused and named, down to each bit and each length.
func TestBlobDamaged(t *testing.T) {
	t.Parallel()
	s := blob(t, nil, nil)
	for _, name := range []string{"a", "b.state"} {
		_, err := s.Put(t.Context(), name, []byte(name+" data"), 0)
		require.NoError(t, err)
	}
	value := s.Bytes()
	refused := func(what string, value []byte) {
		_, err := store.NewBlob(value, nil)
		require.ErrorIs(t, err, store.ErrDamaged, what)
	}
	for i := range value {
		refused("cut", value[:max(i, 1)])
		for bit := range 8 {
			flipped := bytes.Clone(value)
			flipped[i] ^= 1 << bit
			refused("flipped", flipped)
		}
	}
	refused("longer", append(bytes.Clone(value), 0))
	refused("JSON", []byte(`{"device_id":"","cert_key":""}`))
	refused("text", []byte(strings.Repeat("x", 100)))
}

func blob(t *testing.T, value []byte, save func(context.Context, []byte) error) *store.Blob {
	t.Helper()
	s, err := store.NewBlob(value, save)
	require.NoError(t, err)
	return s
}
