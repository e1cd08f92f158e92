package tpm_test

import (
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

const (
	createPrimary = tpm2.TPMCCCreatePrimary
	startSession  = tpm2.TPMCCStartAuthSession
	readPublic    = tpm2.TPMCCReadPublic
	create        = tpm2.TPMCCCreate
	load          = tpm2.TPMCCLoad
	flush         = tpm2.TPMCCFlushContext
	hmacCommand   = tpm2.TPMCCHMAC
	rsaDecrypt    = tpm2.TPMCCRSADecrypt
	sign          = tpm2.TPMCCSign
	unseal        = tpm2.TPMCCUnseal
	readClock     = tpm2.TPMCCReadClock
	counterTimer  = tpm2.TPMCCPolicyCounterTimer
	authValue     = tpm2.TPMCCPolicyAuthValue
	policySecret  = tpm2.TPMCCPolicySecret
	getTime       = tpm2.TPMCCGetTime
	changeAuth    = tpm2.TPMCCObjectChangeAuth
)

type commands = []tpm2.TPMCC

// The budgets are counted at the transport, outside of the code under test.
func TestCommandBudget(t *testing.T) {
	parents := []struct {
		name      string
		provision bool
		open      commands // tpm.Open
		cold      commands // OpenSession and two derivations
		sign      commands
		unseal    commands
		unwrap    commands
		swap      commands // the first derivation, beside a loaded session key
	}{
		{
			name:   "transient SRK",
			open:   commands{readPublic, createPrimary},
			cold:   commands{startSession, load, hmacCommand, hmacCommand},
			sign:   commands{load, sign, flush},
			unseal: commands{load, unseal, flush},
			unwrap: commands{load, rsaDecrypt, flush, create},
			swap:   commands{load, hmacCommand},
		},
		{
			name: "persistent SRK", provision: true,
			open:   commands{readPublic},
			cold:   commands{startSession, load, hmacCommand, hmacCommand},
			sign:   commands{load, sign, flush},
			unseal: commands{load, unseal, flush},
			unwrap: commands{load, rsaDecrypt, flush, create},
			swap:   commands{load, hmacCommand},
		},
	}
	for _, p := range parents {
		t.Run(p.name, func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				if p.provision {
					provision(t, e.Opener(), srkHandle, tpm.SRKTemplate(), nil)
				}
				first, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{})
				require.NoError(t, err)
				m := ownMaterial(t, first)
				require.NoError(t, first.Close())

				count := tpmtest.NewCounting(e.Opener())
				s := open(t, count.Opener(), tpm.Config{})
				require.Equal(t, p.open, count.Take(), "Open")

				k, err := s.OpenSession(t.Context(), m.session.Blob())
				require.NoError(t, err)
				require.NoError(t, m.derive(t, t.Context(), k))
				require.NoError(t, m.derive(t, t.Context(), k))
				cold := count.Take()
				require.Equal(t, p.cold, cold, "a cold silent request")
				require.LessOrEqual(t, len(cold), 6)

				require.NoError(t, m.derive(t, t.Context(), k))
				require.NoError(t, m.derive(t, t.Context(), k))
				require.Equal(t, commands{hmacCommand, hmacCommand}, count.Take(), "a warm silent request")

				n := m.reopened(t, s)
				ops := map[string]operation{}
				for _, op := range n.operations() {
					ops[op.name] = op
				}
				count.Take()
				require.NoError(t, ops["Sign"].run(t, t.Context()))
				require.Equal(t, append(commands{flush}, p.sign...), count.Take(), "Sign, in the slot of one of two session keys")
				require.NoError(t, ops["Unseal"].run(t, t.Context()))
				require.Equal(t, p.unseal, count.Take(), "Unseal")
				require.NoError(t, ops["UnwrapSession"].run(t, t.Context()))
				require.Equal(t, append(p.unwrap, p.swap...), count.Take(), "UnwrapSession and Derive")
				require.NoError(t, ops["Derive"].run(t, t.Context()))
				count.Take()
				require.NoError(t, ops["Sign"].run(t, t.Context()))
				count.Take()
				require.NoError(t, ops["Derive"].run(t, t.Context()))
				require.Equal(t, commands{hmacCommand}, count.Take(), "signing leaves the session key loaded")
			})
		})
	}
}

// Saving state costs no TPM command: a data key is unsealed once and held by
// the caller. This holds the price of what is not free.
func TestSealBudget(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		provision(t, e.Opener(), srkHandle, tpm.SRKTemplate(), nil)
		count := tpmtest.NewCounting(e.Opener())
		s := open(t, count.Opener(), tpm.Config{})
		count.Take()
		sealed, err := s.Seal(t.Context(), plaintext, aad)
		require.NoError(t, err)
		require.Equal(t, commands{createPrimary, flush, startSession, create}, count.Take(), "the first Seal")
		_, err = s.Seal(t.Context(), plaintext, aad)
		require.NoError(t, err)
		require.Equal(t, commands{create}, count.Take())
		_, err = s.Unseal(t.Context(), sealed, aad)
		require.NoError(t, err)
		require.Equal(t, commands{load, unseal, flush}, count.Take())
		require.NoError(t, s.Close())

		s = open(t, count.Opener(), tpm.Config{})
		_, err = s.Unseal(t.Context(), sealed, aad)
		require.NoError(t, err)
		count.Take()
		_, err = s.Seal(t.Context(), plaintext, aad)
		require.NoError(t, err)
		require.Equal(t, commands{create}, count.Take(), "the attestation key's name is known from what was unsealed")
	})
}

// Each bound of a limit is one demand; the first demand ties the blob to the
// object.
func TestPINBudget(t *testing.T) {
	parents := []struct {
		name      string
		provision bool
	}{
		{name: "transient SRK"},
		{name: "persistent SRK", provision: true},
	}
	var (
		seal      = commands{getTime, create}
		unbounded = commands{create}
		unseal    = commands{startSession, load, counterTimer, counterTimer, counterTimer, counterTimer, authValue, unseal, flush}
		change    = commands{load, changeAuth, flush}
	)
	for _, p := range parents {
		t.Run(p.name, func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				if p.provision {
					provision(t, e.Opener(), srkHandle, tpm.SRKTemplate(), nil)
				}
				count := tpmtest.NewCounting(e.Opener())
				s := open(t, count.Opener(), tpm.Config{})
				k, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: rightPIN})
				require.NoError(t, err)
				require.NoError(t, signWith(t, s, k.Blob(), rightPIN)) // swtpm asks the first time to be tried again

				count.Take()
				sealPIN(t, s, forever)
				require.Equal(t, append(commands{createPrimary, flush}, unbounded...), count.Take(), "the first SealPIN")
				unlimited := sealPIN(t, s, forever)
				require.Equal(t, unbounded, count.Take(), "SealPIN without limit")
				opens(t, s, unlimited)
				require.Equal(t, append(unseal[:3:3], unseal[6:]...), count.Take(), "UnsealPIN without limit")
				_, err = s.ChangeSealPIN(t.Context(), unlimited, aad, rightPIN, wrongPIN)
				require.NoError(t, err)
				require.Equal(t, change, count.Take(), "ChangeSealPIN without limit")
				sealed := sealPIN(t, s, tpm.Limit{Time: day, Resets: 1, Restarts: 1})
				require.Equal(t, seal, count.Take(), "SealPIN")
				opens(t, s, sealed)
				require.Equal(t, append(unseal[:len(unseal):len(unseal)], readClock), count.Take(), "UnsealPIN and Left")
				_, err = s.ChangeSealPIN(t.Context(), sealed, aad, rightPIN, wrongPIN)
				require.NoError(t, err)
				require.Equal(t, commands{load, readClock, changeAuth, flush}, count.Take(), "ChangeSealPIN")
				_, err = k.(tpm.PINKey).ChangePIN(t.Context(), wrongPIN)
				require.NoError(t, err)
				require.Equal(t, change, count.Take(), "ChangePIN")
				require.NoError(t, s.Close())

				s = open(t, withoutGetTime(count.Opener()), tpm.Config{})
				sealPIN(t, s, threeDays)
				count.Take()
				sealPIN(t, s, threeDays)
				require.Equal(t, commands{readClock, startSession, counterTimer, counterTimer, policySecret, flush, create}, count.Take(),
					"SealPIN on a TPM without TPM2_GetTime")
			})
		})
	}
}

// A store that is closed leaves nothing in the TPM, which on a connection
// without resource manager would stay until the next reset.
func TestNothingStaysLoaded(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		s, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{})
		require.NoError(t, err)
		newMaterial(t, s).all(t)
		require.NoError(t, s.Close())
		require.Zero(t, loaded(t, e.Opener()))
	})
}
