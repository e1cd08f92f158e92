package tpm

import (
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"
)

// A space that holds nothing has no timer: it would only wake the processor.
func TestWhatASpaceHolds(t *testing.T) {
	require.True(t, new(space).holdsNothing())
	require.True(t, (&space{conn: &firmware{}}).holdsNothing(), "a connection")
	for name, sp := range map[string]*space{
		"a session key": {held: make([]heldKey, 1)},
		"a primary":     {primary: heldPrimary{key: new(storageKey)}},
		"a session":     {session: new(session)},
	} {
		require.False(t, sp.holdsNothing(), name)
	}
}

// A space gives up the session of the other one after so many commands of its own,
// and then counts anew.
func TestRelieve(t *testing.T) {
	alone := &space{sent: 2 * gapLimit}
	alone.relieve()

	still := newSpace(Opener{}, -1, nil)
	sp := &space{sibling: still}
	for _, tt := range []struct {
		sent, left int
		stands     bool
	}{{1, 1, true}, {gapLimit - 1, gapLimit - 1, true}, {gapLimit, 0, false}, {gapLimit + 5, 0, false}} {
		still.session, sp.sent = new(session), tt.sent
		sp.relieve()
		require.Equal(t, tt.stands, still.session != nil, "after %d", tt.sent)
		require.Equal(t, tt.left, sp.sent)
	}

	still.session, sp.sent = new(session), gapLimit
	<-still.queue
	sp.relieve()
	require.NotNil(t, still.session, "a session that is in use stays")
}

// Whoever has the descriptor for session keys keeps it when another key is unloaded
// there, or when what it left behind on the other descriptor is.
func TestUnseat(t *testing.T) {
	store := &TPM{sessions: new(space), keys: new(space)}
	require.True(t, store.managed())
	a, b := &sessionKey{t: store}, &sessionKey{t: store}

	require.Same(t, store.sessions, a.takeSeat())
	done := store.keysBusy()
	require.Same(t, store.sessions, b.takeSeat())
	done()
	a.unseat(store.sessions)
	require.Same(t, b, store.seats.first)
	require.Nil(t, a.seat)

	b.unseat(store.keys)
	require.Same(t, b, store.seats.first)
	require.Same(t, store.sessions, b.seat)

	b.unseat(store.sessions)
	require.Nil(t, store.seats.first)
	require.Nil(t, b.seat)
}

// The first key that was read at a handle stays the one that is meant.
func TestRemember(t *testing.T) {
	store := &TPM{storage: map[tpm2.TPMHandle]*storageKey{}}
	first, second := &storageKey{handle: persistentSRK}, &storageKey{handle: persistentSRK}
	require.Nil(t, store.known(persistentSRK))
	require.Same(t, first, store.remember(first))
	require.Same(t, first, store.remember(second))
	require.Same(t, first, store.known(persistentSRK))
	other := &storageKey{handle: persistentSRK + 1}
	require.Same(t, other, store.remember(other))
}
