package tpm_test

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// printings are the ways in which a value gets into a log.
func printings(t testing.TB, v any) string {
	t.Helper()
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb+"\n", v)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
	if j, err := json.Marshal(v); err == nil {
		out.Write(j)
	}
	return out.String()
}

func requireNotPrinted(t testing.TB, secret []byte, v any) {
	t.Helper()
	printed := printings(t, v)
	for _, form := range []string{"%s", "%v", "%#v", "%x", "%X", "%d"} {
		s := fmt.Sprintf(form, secret)
		require.NotContains(t, printed, s[1:len(s)-1], "%T as %s", v, form)
	}
}

// Neither what a caller passes nor what holds it prints a secret, nor does an
// error.
func TestNothingPrintsSecrets(t *testing.T) {
	pin, keyAuth := []byte("canary-pin-7d1f"), []byte("canary-key-auth-93ab")
	spec := tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: pin}
	for _, v := range []any{spec, &spec, tpm.WithPIN(pin), []tpm.OpenOption{tpm.WithPIN(pin)}} {
		requireNotPrinted(t, pin, v)
	}
	requireNotPrinted(t, keyAuth, tpm.Config{KeyAuth: keyAuth})
	requireNotPrinted(t, keyAuth, &tpm.Config{KeyAuth: keyAuth})
	require.Contains(t, fmt.Sprint(tpm.WithPIN(pin)), "[redacted]")
	require.Contains(t, fmt.Sprint(tpm.KeySpec{}), "none")

	check := func(t *testing.T, s tpm.KeyStore) {
		requireNotPrinted(t, keyAuth, s)
		k, err := s.GenerateKey(t.Context(), spec)
		require.NoError(t, err)
		requireNotPrinted(t, pin, k)
		opened, err := s.OpenKey(t.Context(), k.Blob(), tpm.WithPIN([]byte("canary-wrong-5c20")))
		require.NoError(t, err)
		_, err = opened.(tpm.Signer).SignContext(t.Context(), make([]byte, 32), crypto.SHA256)
		require.ErrorIs(t, err, tpm.ErrWrongPIN)
		requireNotPrinted(t, []byte("canary-wrong-5c20"), err)
		requireNotPrinted(t, []byte("canary-wrong-5c20"), opened)
		_, err = opened.(tpm.PINKey).ChangePIN(t.Context(), []byte("canary-next-e8f4"))
		require.ErrorIs(t, err, tpm.ErrWrongPIN)
		requireNotPrinted(t, []byte("canary-wrong-5c20"), err)
		requireNotPrinted(t, []byte("canary-next-e8f4"), err)
		_, err = k.(tpm.PINKey).ChangePIN(t.Context(), []byte("canary-next-e8f4"))
		require.NoError(t, err)
		requireNotPrinted(t, []byte("canary-next-e8f4"), k)
	}
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		s := open(t, e.Opener(), tpm.Config{KeyAuth: keyAuth})
		check(t, s)
		sealed, err := s.SealPIN(t.Context(), plaintext, aad, pin, tpm.Limit{})
		require.NoError(t, err)
		_, err = s.UnsealPIN(t.Context(), sealed, aad, []byte("canary-wrong-5c20"))
		require.ErrorIs(t, err, tpm.ErrWrongPIN)
		requireNotPrinted(t, []byte("canary-wrong-5c20"), err)
	})
	t.Run("softkeys", func(t *testing.T) {
		s, err := softkeys.Open(softkeys.Secret(append(keyAuth, make([]byte, 32)...)))
		require.NoError(t, err)
		check(t, s)
	})
}

// What a TPM says of its maker goes into logs and terminals: only what can be printed.
func TestInfoIsPrintable(t *testing.T) {
	four := func(s string) uint32 { return binary.BigEndian.Uint32([]byte(s)) }
	info := tpm.InfoOf(map[tpm2.TPMPT]uint32{
		tpm2.TPMPTManufacturer:  four("IB\x1b\x00"),
		tpm2.TPMPTVendorString1: four("SW  "), tpm2.TPMPTVendorString2: four(" \nT~"), tpm2.TPMPTVendorString3: four("\x7f\x80P\x1f"), tpm2.TPMPTVendorString4: four("M!\x00\x00"),
		tpm2.TPMPTFirmwareVersion1: 0x00020001, tpm2.TPMPTFirmwareVersion2: 0x0003ffff,
	})
	require.Equal(t, tpm.Info{Hardware: true, Backend: "tpm", Manufacturer: "IB", Model: "SW T~PM!", Firmware: "2.1.3.65535"}, info)
}
