package tpm_test

import (
	"context"
	"io"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// pinOperations are what needs a PIN, with the right one.
func pinOperations(t testing.TB, s *tpm.TPM) []operation {
	sealed := sealPIN(t, s, tpm.Limit{Time: day, Resets: 100, Restarts: 100})
	k, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: rightPIN})
	require.NoError(t, err)
	return []operation{
		{"SealPIN", func(_ testing.TB, ctx context.Context) error {
			_, err := s.SealPIN(ctx, plaintext, aad, rightPIN, threeDays)
			return err
		}},
		{"UnsealPIN", func(t testing.TB, ctx context.Context) error {
			got, err := s.UnsealPIN(ctx, sealed, aad, rightPIN)
			if err == nil {
				require.Equal(t, plaintext, got)
			}
			return err
		}},
		{"ChangeSealPIN", func(_ testing.TB, ctx context.Context) error {
			_, err := s.ChangeSealPIN(ctx, sealed, aad, rightPIN, wrongPIN)
			return err
		}},
		{"ChangePIN", func(_ testing.TB, ctx context.Context) error {
			_, err := k.(tpm.PINKey).ChangePIN(ctx, rightPIN)
			return err
		}},
	}
}

// provesPIN are the commands over which the connection is not lost twice.
var provesPIN = commands{unseal, changeAuth}

// What is recovered from elsewhere is recovered from here, at every command but
// those that try a PIN: TestWrongPINIsTriedOnce.
func TestPINRecovery(t *testing.T) {
	faults := []tpmtest.Fault{
		{RC: tpm2.TPMRCRetry, Times: 3}, {RC: tpm2.TPMRCNVRate, Times: 3},
		{RC: tpm2.TPMRCReferenceH0}, {RC: tpm2.TPMRCReferenceS0}, {RC: tpm2.TPMRCHandle},
		{RC: tpm2.TPMRCObjectMemory}, {RC: tpm2.TPMRCSessionMemory},
		{Err: syscall.EFAULT}, {Err: io.EOF, Executed: true},
	}
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		f := tpmtest.NewFaulty(e.Opener())
		count := tpmtest.NewCounting(f.Opener())
		s := open(t, count.Opener(), tpm.Config{})
		for _, op := range pinOperations(t, s) {
			require.NoError(t, op.run(t, t.Context()))
			count.Take()
			require.NoError(t, op.run(t, t.Context()))
			for n, code := range count.Take() {
				if code == flush || code == createPrimary {
					continue
				}
				for _, fault := range faults {
					before := f.Injected()
					fault.Skip = n
					f.Inject(fault)
					err := op.run(t, t.Context())
					if fault.Err != nil && slices.Contains(provesPIN, code) {
						require.ErrorIs(t, err, tpm.ErrNoTPM, "%s, command %d, %v", op.name, n, fault)
						require.ErrorIs(t, err, fault.Err)
						err = op.run(t, t.Context())
					}
					require.NoError(t, err, "%s, command %d, %v", op.name, n, fault)
					require.Greater(t, f.Injected(), before)
					f.Clear()
				}
			}
		}
		require.Zero(t, tries(t, e))
		require.NoError(t, s.Close())
		require.Zero(t, loaded(t, e.Opener()))
	})
}

func TestPINContext(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		f := tpmtest.NewFaulty(e.Opener())
		s := open(t, f.Opener(), tpm.Config{})
		for _, op := range pinOperations(t, s) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			require.ErrorIs(t, op.run(t, ctx), context.Canceled, op.name)

			ctx, cancel = context.WithCancel(t.Context())
			wait := make(chan struct{})
			f.Inject(tpmtest.Fault{Wait: wait, Skip: 1, Err: syscall.EIO})
			result := make(chan error, 1)
			go func() { result <- op.run(t, ctx) }()
			<-f.Hung()
			cancel()
			require.ErrorIs(t, <-result, context.Canceled, op.name)
			close(wait)
			require.NoError(t, op.run(t, t.Context()), op.name)
		}
		ops := pinOperations(t, s)
		require.NoError(t, s.Close())
		for _, op := range ops {
			require.ErrorIs(t, op.run(t, t.Context()), tpm.ErrClosed, op.name)
		}
	})
}

// A wrong PIN is tried once, whatever is recovered from, and whether the TPM
// tried it or not where the connection was lost over it.
func TestWrongPINIsTriedOnce(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		f := tpmtest.NewFaulty(e.Opener())
		s := open(t, f.Opener(), tpm.Config{})
		sealed := sealPIN(t, s, threeDays)
		f.Inject(tpmtest.Fault{On: load, RC: tpm2.TPMRCReferenceS0}, tpmtest.Fault{On: counterTimer, RC: tpm2.TPMRCSessionMemory})
		require.ErrorIs(t, refuses(t, s, sealed, aad, wrongPIN), tpm.ErrWrongPIN)
		require.Equal(t, 2, f.Injected())
		require.EqualValues(t, 1, tries(t, e))
	})
	for name, try := range map[string]struct {
		on  tpm2.TPMCC
		run func(t *testing.T, s *tpm.TPM, sealed, key []byte) error
	}{
		"UnsealPIN": {unseal, func(t *testing.T, s *tpm.TPM, sealed, _ []byte) error { return refuses(t, s, sealed, aad, wrongPIN) }},
		"ChangeSealPIN": {changeAuth, func(t *testing.T, s *tpm.TPM, sealed, _ []byte) error {
			_, err := s.ChangeSealPIN(t.Context(), sealed, aad, wrongPIN, rightPIN)
			return err
		}},
		"Sign": {sign, func(t *testing.T, s *tpm.TPM, _, key []byte) error { return signWith(t, s, key, wrongPIN) }},
		"ChangePIN": {changeAuth, func(t *testing.T, s *tpm.TPM, _, key []byte) error {
			k, err := s.OpenKey(t.Context(), key, tpm.WithPIN(wrongPIN))
			require.NoError(t, err)
			_, err = k.(tpm.PINKey).ChangePIN(t.Context(), rightPIN)
			return err
		}},
	} {
		t.Run(name+", connection lost", func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				f := tpmtest.NewFaulty(e.Opener())
				s := open(t, f.Opener(), tpm.Config{})
				k, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: rightPIN})
				require.NoError(t, err)
				sealed := sealPIN(t, s, threeDays)
				opens(t, s, sealed) // swtpm asks the first time to be tried again
				f.Inject(tpmtest.Fault{On: try.on, Err: io.EOF, Executed: true})
				err = try.run(t, s, sealed, k.Blob())
				require.ErrorIs(t, err, tpm.ErrNoTPM)
				require.ErrorIs(t, err, io.EOF)
				require.EqualValues(t, 1, tries(t, e))
				opens(t, s, sealed)
				require.NoError(t, signWith(t, s, k.Blob(), rightPIN))
			})
		})
	}
}

// Behind a resource manager, which saves the policy session between commands
// and forgets it when it ends.
func TestPINManaged(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		s := open(t, managed(t, e.Opener()), tpm.Config{})
		ops := pinOperations(t, s)
		for range 3 {
			for _, op := range ops {
				require.NoError(t, op.run(t, t.Context()), op.name)
			}
		}
		newMaterial(t, s).all(t)
		// A reset counts a wrong try on swtpm where a PIN was used.
		for range 2 {
			require.NoError(t, e.Reset())
			require.NoError(t, ops[1].run(t, t.Context()))
		}
	})
}

// Sessions that are salted to another key than the parent, for firmware that
// cannot salt to it, are the policy's as well.
func TestPINSaltFallback(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		provision(t, e.Opener(), srkHandle, tpm2.RSASRKTemplate, nil)
		f := tpmtest.NewFaulty(e.Opener())
		f.Inject(tpmtest.Fault{On: startSession, RC: tpm2.TPMRCValue})
		s := open(t, f.Opener(), tpm.Config{})
		for _, op := range pinOperations(t, s) {
			require.NoError(t, op.run(t, t.Context()), op.name)
		}
		require.Equal(t, srkHandle, s.Parent())
		require.Equal(t, 1, f.Injected())
	})
}
