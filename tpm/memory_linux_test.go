package tpm_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// inMemory looks through all of this process's writable memory, what the
// garbage collector has not reused included, for a secret that is given masked.
func inMemory(t testing.TB, secret []byte) (where []string) {
	t.Helper()
	maps, err := os.Open("/proc/self/maps")
	require.NoError(t, err)
	defer maps.Close()
	mem, err := os.Open("/proc/self/mem")
	require.NoError(t, err)
	defer mem.Close()
	buf := make([]byte, 1<<20)
	first := secret[0] ^ mask
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to uint64
		var mode string
		_, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode)
		require.NoError(t, err)
		if !strings.HasPrefix(mode, "rw") {
			continue
		}
		// Pieces overlap by the length of the secret.
		for at := from; at < to; at += uint64(len(buf) - len(secret)) {
			n, err := mem.ReadAt(buf[:min(uint64(len(buf)), to-at)], int64(at))
			if err != nil {
				break
			}
			for i := 0; ; i++ {
				j := bytes.IndexByte(buf[i:n], first)
				if j < 0 || i+j+len(secret) > n {
					break
				}
				i += j
				if equalMasked(buf[i:], secret) {
					where = append(where, fmt.Sprintf("%#x", at+uint64(i)))
				}
			}
			clear(buf)
		}
	}
	return where
}

func equalMasked(plain, secret []byte) bool {
	for i, c := range secret {
		if plain[i]^mask != c {
			return false
		}
	}
	return true
}

// After a session key went into the TPM no copy of it is left in this process:
// it existed between two commands, in buffers that were cleared.
func TestSessionKeyLeavesMemory(t *testing.T) {
	for _, oaep := range []bool{true, false} {
		t.Run(map[bool]string{true: "OAEP in the TPM", false: "OAEP here"}[oaep], func(t *testing.T) {
			// The simulator has it in its own memory, which is ours.
			f := tpmtest.NewFaulty(tpms.Swtpm(t).Opener())
			if !oaep {
				f.Inject(tpmtest.Fault{On: tpm2.TPMCCTestParms, RC: tpm2.TPMRCHash})
			}
			sessionKeyLeavesMemory(t, open(t, f.Opener(), tpm.Config{}))
		})
	}
}

func sessionKeyLeavesMemory(t *testing.T, s *tpm.TPM) {
	k, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Unwrap})
	require.NoError(t, err)
	control := make([]byte, 32)
	_, err = rand.Read(control)
	require.NoError(t, err)
	require.NotEmpty(t, inMemory(t, masked(control)), "the search finds what is there")
	runtime.KeepAlive(control)

	for range 2 {
		leavesNothing(t, func() []string {
			secret, wrapped := wrapMasked(t, k.Public().(*rsa.PublicKey))
			require.Empty(t, inMemory(t, secret), "the test itself leaves none")
			session, err := s.UnwrapSession(t.Context(), k, wrapped)
			require.NoError(t, err)
			_, err = session.Derive(t.Context(), nil, nil)
			require.NoError(t, err)
			left := inMemory(t, secret)
			require.NoError(t, session.Close())
			return left
		})
	}
}

// leavesNothing fails when run finds copies of its secrets three times. When a signal
// arrives, such as one of Go's scheduler, the kernel saves the vector registers, in
// which a piece of a secret may be, and nobody clears that: one find may be chance. A
// copy that this package forgets is there each time.
func leavesNothing(t testing.TB, run func() (left []string)) {
	t.Helper()
	var left []string
	for range 3 {
		if left = run(); len(left) == 0 {
			return
		}
		t.Logf("left in memory: %s", left)
	}
	require.Empty(t, left, "three times")
}

// Neither a secret that was sealed nor its PIN stays behind. The PIN is longer
// than a block of SHA-256, of which the hash keeps the last, which is not ours
// to clear.
func TestSealedSecretsLeaveMemory(t *testing.T) {
	s := open(t, tpms.Swtpm(t).Opener(), tpm.Config{})
	leavesNothing(t, func() []string { return leftOfSealing(t, s) })
}

// leftOfSealing says which operations left copies of a secret or a PIN.
func leftOfSealing(t *testing.T, s *tpm.TPM) (left []string) {
	secret, pin := randomMasked(t, 32), randomMasked(t, 96)
	leaves := func(op string, run func(secret, pin []byte)) {
		t.Helper()
		plain, number := masked(secret), masked(pin)
		run(plain, number)
		clear(plain)
		clear(number)
		for range inMemory(t, secret) {
			left = append(left, "the secret, after "+op)
		}
		for range inMemory(t, pin) {
			left = append(left, "the PIN, after "+op)
		}
	}
	var sealed, pinned []byte
	var err error
	leaves("Seal", func(secret, _ []byte) { sealed, err = s.Seal(t.Context(), secret, aad) })
	require.NoError(t, err)
	leaves("SealPIN", func(secret, pin []byte) { pinned, err = s.SealPIN(t.Context(), secret, aad, pin, threeDays) })
	require.NoError(t, err)
	leaves("Unseal", func(_, _ []byte) {
		var got []byte
		got, err = s.Unseal(t.Context(), sealed, aad)
		clear(got)
	})
	require.NoError(t, err)
	leaves("UnsealPIN", func(_, pin []byte) {
		var got []byte
		got, err = s.UnsealPIN(t.Context(), pinned, aad, pin)
		clear(got)
	})
	require.NoError(t, err)
	leaves("ChangeSealPIN", func(_, pin []byte) { _, err = s.ChangeSealPIN(t.Context(), pinned, aad, pin, rightPIN) })
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	leaves("a SealPIN that did not begin", func(secret, pin []byte) { _, err = s.SealPIN(ctx, secret, aad, pin, threeDays) })
	require.ErrorIs(t, err, context.Canceled)
	leaves("ChangePIN", func(_, pin []byte) {
		var k tpm.Key
		k, err = s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: rightPIN})
		require.NoError(t, err)
		_, err = k.(tpm.PINKey).ChangePIN(t.Context(), pin)
		require.NoError(t, k.Close())
	})
	require.NoError(t, err)
	return left
}

func randomMasked(t testing.TB, n int) []byte {
	b := make([]byte, n)
	_, err := rand.Read(b)
	require.NoError(t, err)
	m := masked(b)
	clear(b)
	return m
}

// wrapMasked has another process draw a secret and wrap it: what crypto/rsa
// leaves behind is not ours to clear.
func wrapMasked(t testing.TB, public *rsa.PublicKey) (maskedSecret, wrapped []byte) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%x", wrapEnv, public.N))
	out, err := cmd.Output()
	require.NoError(t, err)
	_, err = fmt.Sscanf(string(out), "%x %x", &maskedSecret, &wrapped)
	require.NoError(t, err)
	return maskedSecret, wrapped
}
