package totp_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/totp"
)

// The vectors of RFC 6238, appendix B, for SHA-1; codes here have six digits.
func TestCode(t *testing.T) {
	secret := []byte("12345678901234567890")
	for at, want := range map[int64]string{
		59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130",
	} {
		require.Equal(t, want, totp.Code(secret, uint64(at)/totp.Step), at)
		step, ok := totp.Match(secret, want, time.Unix(at+totp.Step, 0))
		require.True(t, ok, "a step late")
		require.Equal(t, uint64(at)/totp.Step, step)
		_, ok = totp.Match(secret, want, time.Unix(at+2*totp.Step, 0))
		require.False(t, ok, "two steps late")
		_, ok = totp.Match(secret, want, time.Unix(at-totp.Step, 0))
		require.True(t, ok, "a step early")
		_, ok = totp.Match(secret, want, time.Unix(at-2*totp.Step, 0))
		require.False(t, ok, "two steps early")
	}
}

func TestSecret(t *testing.T) {
	for _, text := range []string{"GEZDGNBVGY3TQOJQ", "gezd gnbv gy3t qojq", "GEZDGNBVGY3TQOJQ======"} {
		raw, err := totp.Secret(text)
		require.NoError(t, err)
		require.Equal(t, "1234567890", string(raw))
	}
	for _, bad := range []string{"", "0189", "GEZDGNBVGY3TQOJ!"} {
		_, err := totp.Secret(bad)
		require.ErrorContains(t, err, "not base32")
	}
}
