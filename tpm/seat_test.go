package tpm_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// Two session keys are used by turns at one command each, on a bare connection
// and behind a resource manager, where neither is swapped around the other's
// commands.
func TestTwoSessionKeys(t *testing.T) {
	for name, behind := range map[string]func(testing.TB, tpm.Opener) tpm.Opener{
		"bare": func(_ testing.TB, o tpm.Opener) tpm.Opener { return o }, "managed": managed,
	} {
		t.Run(name, func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				provision(t, e.Opener(), srkHandle, tpm.SRKTemplate(), nil)
				chip := tpmtest.NewCounting(e.Opener())
				ours := tpmtest.NewCounting(behind(t, chip.Opener()))
				m := ownMaterial(t, open(t, ours.Opener(), tpm.Config{Idle: -1}))
				second := func() tpm.SessionKey {
					k, err := m.store.UnwrapSession(t.Context(), m.transport, tpmtest.Wrap(t, m.transport.Public(), m.secret))
					require.NoError(t, err)
					return k
				}
				a, b, c := m.session, second(), second()
				derive := func(k tpm.SessionKey) commands {
					t.Helper()
					ours.Take()
					require.NoError(t, m.derive(t, t.Context(), k))
					return ours.Take()
				}
				derive(a)
				require.Equal(t, commands{load, hmacCommand}, derive(b), "nothing makes room for it")
				chip.Take()
				for range 3 {
					require.Equal(t, commands{hmacCommand}, derive(a))
					require.Equal(t, commands{hmacCommand}, derive(b))
				}
				if name == "managed" {
					require.Len(t, chip.Take(), 6*6, "each alone on its descriptor")
				}

				require.Equal(t, commands{flush, load, hmacCommand}, derive(c), "a third takes the place of one")
				require.NoError(t, m.operations()[1].run(t, t.Context()), "Sign")
				if name == "managed" {
					require.Equal(t, commands{hmacCommand}, derive(a), "what is used most has its own descriptor")
					derive(b)
					require.NoError(t, m.operations()[1].run(t, t.Context()), "Sign")
					require.Equal(t, commands{flush, load, hmacCommand}, derive(b), "used again, it takes that")
					require.NoError(t, m.operations()[1].run(t, t.Context()), "Sign")
				} else {
					require.Equal(t, commands{hmacCommand}, derive(c), "the one used last stays")
					derive(b)
				}
				require.Equal(t, commands{hmacCommand}, derive(b))

				ours.Take()
				require.NoError(t, b.Close())
				require.Equal(t, commands{flush}, ours.Take(), "Close")
				require.NoError(t, b.Close())
				require.NoError(t, a.Close())
				require.NoError(t, c.Close())
				require.NoError(t, m.store.Close())
				if name == "bare" { // else the manager still has the only connection
					require.Zero(t, loaded(t, e.Opener()))
				}
			})
		})
	}
}

// The descriptor for session keys is free again once its key is closed or was
// unloaded after Config.Idle. The next session key then has it to itself: a
// signature does not unload that key.
func TestSeatIsFreed(t *testing.T) {
	for name, free := range map[string]func(t *testing.T, m *material){
		"closed": func(t *testing.T, m *material) { require.NoError(t, m.session.Close()) },
		"idle":   func(t *testing.T, m *material) { require.NoError(t, tpm.Rest(t.Context(), m.store)) },
	} {
		t.Run(name, func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				ours := tpmtest.NewCounting(managed(t, e.Opener()))
				m := newMaterial(t, open(t, ours.Opener(), tpm.Config{Idle: -1}))
				next, err := m.store.UnwrapSession(t.Context(), m.transport, tpmtest.Wrap(t, m.transport.Public(), m.secret))
				require.NoError(t, err)
				require.NoError(t, m.derive(t, t.Context(), m.session))
				free(t, m)
				require.NoError(t, m.derive(t, t.Context(), next))
				require.NoError(t, m.operations()[1].run(t, t.Context()), "Sign")
				ours.Take()
				require.NoError(t, m.derive(t, t.Context(), next))
				require.Equal(t, commands{hmacCommand}, ours.Take())
			})
		})
	}
}

// A token does not wait while a key is made, which takes a chip many seconds on
// the descriptor that a second session key shares.
func TestDeriveWhileAKeyIsMade(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		m := ownMaterial(t, open(t, managed(t, e.Opener()), tpm.Config{Idle: -1}))
		second, err := m.store.UnwrapSession(t.Context(), m.transport, tpmtest.Wrap(t, m.transport.Public(), m.secret))
		require.NoError(t, err)
		require.NoError(t, m.derive(t, t.Context(), m.session))
		require.NoError(t, m.derive(t, t.Context(), second), "a guest")
		done := tpm.MakingKey(m.store)
		unlock := tpm.HoldKeys(t, m.store)
		require.NoError(t, m.derive(t, t.Context(), second), "while the descriptor is in use")
		unlock()
		done()
		require.NoError(t, m.derive(t, t.Context(), m.session))
		require.NoError(t, m.derive(t, t.Context(), second))
	})
}
