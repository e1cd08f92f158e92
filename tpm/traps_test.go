package tpm_test

import (
	"context"
	"encoding/base64"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// socketOf returns where swtpm listens.
func socketOf(t testing.TB, e *tpmtest.Emulator) string {
	t.Helper()
	conn, err := e.Opener().Open(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	return conn.(interface{ Unwrap() transport.TPMCloser }).Unwrap().(net.Conn).RemoteAddr().String()
}

// What we send is what TPMs have: older chips lack TPM2_CreateLoaded, some have
// no symmetric encryption, and what is persistent or system-wide is not ours.
func TestCommandsSent(t *testing.T) {
	allowed := commands{
		readPublic, createPrimary, startSession, create, load, flush, hmacCommand, rsaDecrypt, sign, unseal,
		tpm2.TPMCCTestParms, tpm2.TPMCCGetCapability, tpm2.TPMCCCertify, tpm2.TPMCCActivateCredential,
		tpm2.TPMCCPolicySecret, tpm2.TPMCCNVReadPublic, tpm2.TPMCCNVRead,
		readClock, getTime, counterTimer, authValue, changeAuth,
	}
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		count := tpmtest.NewCounting(e.Opener())
		s := open(t, count.Opener(), tpm.Config{})
		m := newMaterial(t, s)
		m.all(t)
		proved(t, s)
		_, err := s.Attest(t.Context(), m.device, nonce)
		require.NoError(t, err)
		for _, op := range pinOperations(t, s) {
			require.NoError(t, op.run(t, t.Context()))
		}
		_, err = s.Info(t.Context())
		require.NoError(t, err)
		sent := count.Take()
		require.Subset(t, allowed, sent)
		_, err = s.Info(t.Context())
		require.NoError(t, err)
		require.Empty(t, count.Take(), "asked once")
	})
}

// swtpm serves one client: a second is accepted, and waits. It waits within
// its context.
func TestSecondClient(t *testing.T) {
	e := tpms.Swtpm(t)
	first, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = tpm.Open(ctx, e.Opener(), tpm.Config{})
	require.ErrorIs(t, err, context.DeadlineExceeded)

	second := make(chan error, 1)
	go func() {
		s, err := tpm.Open(context.Background(), e.Opener(), tpm.Config{})
		if err == nil {
			err = s.Close()
		}
		second <- err
	}()
	newMaterial(t, first).all(t)
	require.NoError(t, first.Close())
	require.NoError(t, <-second)
}

// A process has one simulator, which a test gives back.
func TestSimulatorIsGivenBack(t *testing.T) {
	for range 3 {
		t.Run("", func(t *testing.T) {
			e := tpmtest.Simulator(t)
			newMaterial(t, open(t, e.Opener(), tpm.Config{}))
		})
		t.Run("closed early", func(t *testing.T) {
			e := tpmtest.Simulator(t)
			require.NoError(t, e.Close())
			require.NoError(t, e.Close())
		})
	}
}

// The store does not ask Go for what GODEBUG=fips140=only forbids, though the
// session key's padding has SHA-1 in it: the TPM does that.
func TestStrictFIPS(t *testing.T) {
	e := tpms.Swtpm(t)
	s, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{})
	require.NoError(t, err)
	m := newMaterial(t, s)
	require.NoError(t, s.Close())
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only", fipsEnv+"="+socketOf(t, e),
		fipsEnv+"_SESSION="+base64.StdEncoding.EncodeToString(m.session.Blob()))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// Encryption of a parameter that a command does not have is refused; that is
// why the direction is chosen per command.
func TestDirections(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		raw(t, e.Opener(), func(c transport.TPM) {
			h, name := hmacKey(t, c, make([]byte, 32), nil)
			require.NoError(t, tpm.ReadPublicEncrypted(c, h, name, false, true))
			require.ErrorIs(t, tpm.ReadPublicEncrypted(c, h, name, true, true), tpm2.TPMRCAttributes)
		})
	})
}
