package tpm_test

import (
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// managed is a software TPM behind what Linux has at /dev/tpmrm0.
func managed(t testing.TB, o tpm.Opener) tpm.Opener {
	t.Helper()
	m := tpmtest.NewManaged(o)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m.Opener()
}

func TestKeyStoreManaged(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		o := managed(t, e.Opener())
		tpmtest.RunKeyStore(t, func(t testing.TB) tpm.KeyStore {
			s, err := tpm.Open(t.Context(), o, tpm.Config{})
			require.NoError(t, err)
			return s
		})
	})
}

// The session key and its session have a space to themselves, so that the
// resource manager moves as little as it can: one object and one session, five
// commands of its own around ours.
func TestManagedBudget(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		provision(t, e.Opener(), srkHandle, tpm.SRKTemplate(), nil)
		hardware := tpmtest.NewCounting(e.Opener())
		ours := tpmtest.NewCounting(managed(t, hardware.Opener()))
		s := open(t, ours.Opener(), tpm.Config{})
		m := ownMaterial(t, s)
		m.all(t)
		require.Equal(t, 2, ours.Opened())
		for range 3 {
			require.NoError(t, m.operations()[1].run(t, t.Context())) // Sign, in the other space
			require.NoError(t, m.derive(t, t.Context(), m.session))
			hardware.Take()
			ours.Take()
			require.NoError(t, m.derive(t, t.Context(), m.session))
			require.Equal(t, commands{hmacCommand}, ours.Take())
			require.Equal(t, commands{
				tpm2.TPMCCContextLoad, tpm2.TPMCCContextLoad, hmacCommand,
				tpm2.TPMCCContextSave, flush, tpm2.TPMCCContextSave,
			}, hardware.Take())
		}
	})
}

// After hibernation the space fails with EFAULT until it is closed.
func TestManagedReset(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		ours := tpmtest.NewCounting(managed(t, e.Opener()))
		m := newMaterial(t, open(t, ours.Opener(), tpm.Config{}))
		for _, op := range m.operations() {
			require.NoError(t, m.derive(t, t.Context(), m.session))
			require.NoError(t, e.Reset())
			require.NoError(t, op.run(t, t.Context()), op.name)
			opened := ours.Opened()
			require.NoError(t, m.derive(t, t.Context(), m.session))
			if op.name != "Derive" && op.name != "OpenSession" && op.name != "UnwrapSession" {
				require.Greater(t, ours.Opened(), opened, "the session key's space was lost, after %s", op.name)
			}
		}
		m.all(t)
	})
}

// Two programs share the TPM, each with three sessions and a session key.
func TestManagedTogether(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		o := managed(t, e.Opener())
		a := newMaterial(t, open(t, o, tpm.Config{}))
		b := a.reopened(t, open(t, o, tpm.Config{}))
		for range 3 {
			a.all(t)
			b.all(t)
		}
	})
}

// A TPM refuses to save contexts when one of them is 255 older than the newest
// (the simulator counts to 255, libtpms to 65,535). A session that lies still
// in one space must not stop the other.
func TestManagedContextGap(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		ours := tpmtest.NewCounting(managed(t, e.Opener()))
		m := newMaterial(t, open(t, ours.Opener(), tpm.Config{}))
		require.NoError(t, m.derive(t, t.Context(), m.session))
		opened := ours.Opened()
		for range 1000 {
			require.NoError(t, m.derive(t, t.Context(), m.session))
		}
		for range 100 {
			require.NoError(t, m.operations()[1].run(t, t.Context()))
		}
		m.all(t)
		require.Equal(t, opened, ours.Opened(), "without starting over")
	})
}

// What a lock screen asks for after idleness costs one session and, where there
// is no persistent storage root key, one primary: the session key's space is not
// touched before the first token.
func TestUnlockAfterIdleness(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		ours := tpmtest.NewCounting(managed(t, e.Opener()))
		m := newMaterial(t, open(t, ours.Opener(), tpm.Config{Idle: -1}))
		sealPIN(t, m.store, threeDays)
		require.NoError(t, m.derive(t, t.Context(), m.session))
		require.NoError(t, tpm.Rest(t.Context(), m.store))
		ours.Take()
		require.NoError(t, m.operations()[1].run(t, t.Context()), "Sign")
		_, err := m.store.UnwrapSession(t.Context(), m.transport, tpmtest.Wrap(t, m.transport.Public(), m.secret))
		require.NoError(t, err)
		sealPIN(t, m.store, threeDays)
		require.Equal(t, commands{
			createPrimary, startSession, load, sign, flush, load, rsaDecrypt, flush, create, getTime, create,
		}, ours.Take())
	})
}

// The session that lies still is given up long before a TPM refuses: the TPM of
// this test may be one that counts further.
func TestManagedIdleSpaceIsRelieved(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		ours := tpmtest.NewCounting(managed(t, e.Opener()))
		m := newMaterial(t, open(t, ours.Opener(), tpm.Config{Idle: -1}))
		sign := func() commands {
			t.Helper()
			ours.Take()
			require.NoError(t, m.operations()[1].run(t, t.Context()))
			return ours.Take()
		}
		derive := func(times int) {
			t.Helper()
			for range times {
				require.NoError(t, m.derive(t, t.Context(), m.session))
			}
		}
		sign()
		derive(1)
		require.NotContains(t, sign(), startSession, "it stands")
		derive(200)
		require.Contains(t, sign(), startSession)
	})
}
