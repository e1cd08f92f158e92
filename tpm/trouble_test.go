package tpm_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// troubles are what a TPM answers that is not started, tired, locked away or
// half dead, and what a resource manager answers in its place: codes of Part 2,
// 6.6.3, the last three with the layer of a resource manager or unassigned.
var troubles = []tpm2.TPMRC{
	tpm2.TPMRCInitialize, tpm2.TPMRCFailure, tpm2.TPMRCSequence, tpm2.TPMRCDisabled, tpm2.TPMRCExclusive,
	tpm2.TPMRCAuthType, tpm2.TPMRCAuthMissing, tpm2.TPMRCPCR, tpm2.TPMRCPCRChanged, tpm2.TPMRCUpgrade,
	tpm2.TPMRCTooManyContexts, tpm2.TPMRCAuthUnavailable, tpm2.TPMRCReboot, tpm2.TPMRCUnbalanced,
	tpm2.TPMRCCommandSize, tpm2.TPMRCCommandCode, tpm2.TPMRCAuthSize, tpm2.TPMRCAuthContext,
	tpm2.TPMRCBadContext, tpm2.TPMRCParent, tpm2.TPMRCNeedsTest, tpm2.TPMRCNoResult, tpm2.TPMRCSensitive,
	tpm2.TPMRCContextGap, tpm2.TPMRCObjectMemory, tpm2.TPMRCSessionMemory, tpm2.TPMRCMemory,
	tpm2.TPMRCSessionHandles, tpm2.TPMRCObjectHandles, tpm2.TPMRCLocality, tpm2.TPMRCCanceled,
	tpm2.TPMRCReferenceH0, tpm2.TPMRCReferenceS0, tpm2.TPMRCNVUnavailable, tpm2.TPMRCLockout,
	tpm2.TPMRCHandle, tpm2.TPMRCValue, tpm2.TPMRCHierarchy, tpm2.TPMRCIntegrity,
	tpm2.TPMRCBadAuth, tpm2.TPMRCAuthFail, tpm2.TPMRCAsymmetric, tpm2.TPMRCCurve, tpm2.TPMRCScheme,
	0xb0000 + tpm2.TPMRCCommandCode, 0xb0000 + tpm2.TPMRCObjectMemory, 0x1ff,
}

// mayMean says what a code may be taken for beside a TPM that is not there, or
// busy: where one of the commands gives it that meaning by the specification.
// Which command it came to is not known for certain: what a fault before left
// loaded is made room for, with commands more.
func mayMean(rc tpm2.TPMRC, sent commands) []error {
	has := func(cc tpm2.TPMCC) bool { return slices.Contains(sent, cc) }
	means := []error{tpm.ErrNoTPM, tpm.ErrBusy}
	switch {
	case rc == tpm2.TPMRCBadAuth:
		return append(means, tpm.ErrAuth, tpm.ErrInvalidBlob) // of what Seal made, the aad is the auth value
	case rc == tpm2.TPMRCAuthFail:
		return append(means, tpm.ErrAuth, tpm.ErrWrongPIN)
	case rc == tpm2.TPMRCLockout:
		return append(means, tpm.ErrLockedOut)
	case rc == tpm2.TPMRCIntegrity && has(load) && !has(tpm2.TPMCCActivateCredential):
		return append(means, tpm.ErrInvalidBlob)
	case (rc == tpm2.TPMRCValue || rc == tpm2.TPMRCFailure) && has(rsaDecrypt):
		return append(means, tpm.ErrDecrypt)
	case (rc == tpm2.TPMRCValue || rc == tpm2.TPMRCFailure || rc == tpm2.TPMRCIntegrity) && has(tpm2.TPMCCActivateCredential):
		return append(means, tpm.ErrAttestation)
	}
	return means
}

// coldOperations are everything a store does from the opening on, each with a
// store of its own and so with every command that there is.
func coldOperations(t *testing.T, o tpm.Opener) []operation {
	first, err := tpm.Open(t.Context(), o, tpm.Config{})
	require.NoError(t, err)
	defer first.Close()
	m := newMaterial(t, first)
	hello, err := first.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: rightPIN})
	require.NoError(t, err)
	helloBlob := hello.Blob()
	pinned := sealPIN(t, first, tpm.Limit{Time: day, Resets: 100, Restarts: 100})
	id, err := first.Identity(t.Context())
	require.NoError(t, err)
	secret := make([]byte, 32)
	credential, err := tpm.MakeCredential(id, secret)
	require.NoError(t, err)

	on := func(run func(t testing.TB, ctx context.Context, s *tpm.TPM) error) func(testing.TB, context.Context, tpm.Opener) error {
		return func(t testing.TB, ctx context.Context, o tpm.Opener) error {
			s, err := tpm.Open(ctx, o, tpm.Config{})
			if err != nil {
				return err
			}
			defer s.Close()
			return run(t, ctx, s)
		}
	}
	ops := map[string]func(t testing.TB, ctx context.Context, s *tpm.TPM) error{
		"GenerateKey": func(_ testing.TB, ctx context.Context, s *tpm.TPM) error {
			_, err := s.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256})
			return err
		},
		"Sign": func(_ testing.TB, ctx context.Context, s *tpm.TPM) error {
			k, err := s.OpenKey(ctx, m.device.Blob())
			if err != nil {
				return err
			}
			_, err = k.(tpm.Signer).SignContext(ctx, make([]byte, 32), crypto.SHA256)
			return err
		},
		"Sign with a PIN": func(_ testing.TB, ctx context.Context, s *tpm.TPM) error {
			k, err := s.OpenKey(ctx, helloBlob, tpm.WithPIN(rightPIN))
			if err != nil {
				return err
			}
			_, err = k.(tpm.Signer).SignContext(ctx, make([]byte, 32), crypto.SHA256)
			return err
		},
		"ChangePIN": func(_ testing.TB, ctx context.Context, s *tpm.TPM) error {
			k, err := s.OpenKey(ctx, helloBlob, tpm.WithPIN(rightPIN))
			if err != nil {
				return err
			}
			_, err = k.(tpm.PINKey).ChangePIN(ctx, rightPIN)
			return err
		},
		"UnwrapSession": func(t testing.TB, ctx context.Context, s *tpm.TPM) error {
			k, err := s.OpenKey(ctx, m.transport.Blob())
			if err != nil {
				return err
			}
			session, err := s.UnwrapSession(ctx, k, tpmtest.Wrap(t, k.Public(), m.secret))
			if err != nil {
				return err
			}
			return m.derive(t, ctx, session)
		},
		"OpenSession": func(t testing.TB, ctx context.Context, s *tpm.TPM) error {
			session, err := s.OpenSession(ctx, m.session.Blob())
			if err != nil {
				return err
			}
			return m.derive(t, ctx, session)
		},
		"Seal": func(_ testing.TB, ctx context.Context, s *tpm.TPM) error {
			_, err := s.Seal(ctx, plaintext, aad)
			return err
		},
		"Unseal": func(t testing.TB, ctx context.Context, s *tpm.TPM) error {
			got, err := s.Unseal(ctx, m.sealed, aad)
			if err == nil {
				require.Equal(t, plaintext, got)
			}
			return err
		},
		"SealPIN": func(_ testing.TB, ctx context.Context, s *tpm.TPM) error {
			_, err := s.SealPIN(ctx, plaintext, aad, rightPIN, threeDays)
			return err
		},
		"UnsealPIN": func(t testing.TB, ctx context.Context, s *tpm.TPM) error {
			got, err := s.UnsealPIN(ctx, pinned, aad, rightPIN)
			if err == nil {
				require.Equal(t, plaintext, got)
			}
			return err
		},
		"Left": func(t testing.TB, ctx context.Context, s *tpm.TPM) error {
			_, err := s.Left(ctx, pinned, aad)
			return err
		},
		"SRKName": func(t testing.TB, ctx context.Context, s *tpm.TPM) error {
			_, err := s.SRKName(ctx)
			return err
		},
		"ChangeSealPIN": func(_ testing.TB, ctx context.Context, s *tpm.TPM) error {
			_, err := s.ChangeSealPIN(ctx, pinned, aad, rightPIN, wrongPIN)
			return err
		},
		"Info": func(_ testing.TB, ctx context.Context, s *tpm.TPM) error {
			_, err := s.Info(ctx)
			return err
		},
		"Check": func(_ testing.TB, ctx context.Context, s *tpm.TPM) error {
			err := s.Check(ctx)
			if errors.Is(err, tpm.ErrUnsuitable) {
				return nil // it refused a parameter
			}
			return err
		},
		"Attest": func(_ testing.TB, ctx context.Context, s *tpm.TPM) error {
			k, err := s.OpenKey(ctx, m.device.Blob())
			if err != nil {
				return err
			}
			_, err = s.Attest(ctx, k, make([]byte, 16))
			return err
		},
		"ActivateCredential": func(t testing.TB, ctx context.Context, s *tpm.TPM) error {
			got, err := s.ActivateCredential(ctx, credential)
			if err == nil {
				require.Equal(t, secret, got)
			}
			return err
		},
	}
	var all []operation
	for name, run := range ops {
		f := on(run)
		all = append(all, operation{name, func(t testing.TB, ctx context.Context) error { return f(t, ctx, o) }})
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.name, b.name) })
	return all
}

// A TPM in trouble is not another TPM, and no key is gone for what it answers:
// each code at each command that there is, from the opening of a store on, once
// and for good, of one command and of all that follow.
func TestTroubleIsNotAnotherTPM(t *testing.T) {
	parents := map[string]func(t *testing.T, o tpm.Opener){
		"transient SRK":      func(*testing.T, tpm.Opener) {},
		"persistent SRK":     func(t *testing.T, o tpm.Opener) { provision(t, o, srkHandle, tpm.SRKTemplate(), nil) },
		"persistent RSA SRK": func(t *testing.T, o tpm.Opener) { provision(t, o, srkHandle, tpm2.RSASRKTemplate, nil) },
	}
	every := 48 // codes and commands
	switch {
	case os.Getenv("PRTBROKER_EVERY_CODE") != "":
		every = 1
	case os.Getenv("PRTBROKER_LONG") == "1":
		every = 16
	}
	for name, prepare := range parents {
		t.Run(name, func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				prepare(t, e.Opener())
				f := tpmtest.NewFaulty(e.Opener())
				count := tpmtest.NewCounting(f.Opener())
				cases := 0
				for _, op := range coldOperations(t, count.Opener()) {
					require.NoError(t, op.run(t, t.Context()), "swtpm asks the first time to be tried again")
					count.Take()
					require.NoError(t, op.run(t, t.Context()))
					sent := count.Take()
					for n, at := range sent {
						for i, rc := range troubles {
							if (i+n)%every != 0 {
								continue
							}
							faults := []tpmtest.Fault{{Skip: n, RC: rc}, {Skip: n, RC: rc, Times: -1}}
							if slices.Index(sent, at) == n {
								faults = append(faults, tpmtest.Fault{On: at, RC: rc, Times: -1})
							}
							for _, fault := range faults {
								f.Inject(fault)
								err := op.run(t, t.Context())
								f.Clear()
								notGone(t, err, rc, sent, fmt.Sprintf("%s, %v at command %d (%#x), %d times", op.name, rc, n, uint32(at), fault.Times))
								cases++
							}
						}
					}
					require.NoError(t, op.run(t, t.Context()), op.name)
				}
				require.Zero(t, tries(t, e))
				t.Logf("%d cases", cases)
			})
		})
	}
}

func notGone(t *testing.T, err error, rc tpm2.TPMRC, sent commands, where string) {
	t.Helper()
	if err == nil {
		return
	}
	require.NotErrorIs(t, err, tpm.ErrKeyUnusable, where)
	if !slices.ContainsFunc(mayMean(rc, sent), func(want error) bool { return errors.Is(err, want) }) {
		require.Fail(t, "another error", "%s: %v", where, err)
	}
}
