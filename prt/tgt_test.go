package prt_test

import (
	"bytes"
	"encoding/base64"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/prt"
)

// The client key of a ticket comes under the session key, in the forms that
// services use, or in the clear.
func TestTGTKey(t *testing.T) {
	s := session(t)
	soft := s.Key.(*prt.SoftwareKey)
	want := bytes.Repeat([]byte{7, 8}, 16)
	text := base64.StdEncoding.EncodeToString(want)
	for name, secret := range map[string]string{
		"a JWE, 16 bytes of IV": sealed(t, soft, unhex(t, ctxHex), make([]byte, 16), want),
		"a JWE, 12 bytes of IV": sealed(t, soft, unhex(t, ctxHex), make([]byte, 12), want),
		"base64 in a JWE":       sealed(t, soft, unhex(t, ctxHex), make([]byte, 12), []byte(text)),
		"base64 alone":          text,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := prt.TGT{ClientKey: prt.NewSecret(secret)}.Key(bg, s)
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
	under := prt.TGT{ClientKey: prt.NewSecret(sealed(t, soft, unhex(t, ctxHex), make([]byte, 12), want))}
	_, err := under.Key(bg, prt.Session{Key: softwareKey(t, "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")})
	require.ErrorIs(t, err, prt.ErrDecrypt, "another session key")
	_, err = under.Key(bg, prt.Session{Key: failing{os.ErrDeadlineExceeded}})
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	_, err = prt.TGT{ClientKey: prt.NewSecret("c2hvcnQ=")}.Key(bg, s)
	require.ErrorIs(t, err, prt.ErrReply)
}
