package entratest

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Parameters of one-time codes (RFC 6238): HMAC-SHA-1, 30 seconds, 6 digits,
// as every authenticator app has them.
const (
	totpStep   = 30 // seconds
	totpWindow = 1  // steps of tolerance on either side
)

func decodeTOTPSecret(text string) ([]byte, error) {
	text = strings.ToUpper(strings.TrimRight(strings.ReplaceAll(text, " ", ""), "="))
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(text)
	if err != nil || len(raw) == 0 {
		return nil, errors.New("TOTP secret is not base32")
	}
	return raw, nil
}

// TOTP returns the code of an authenticator app with a base32 secret at a time.
func TOTP(secret string, at time.Time) (string, error) {
	raw, err := decodeTOTPSecret(secret)
	if err != nil {
		return "", fmt.Errorf("entratest: %w", err)
	}
	return totpCode(raw, uint64(at.Unix())/totpStep), nil
}

// totpCode is the code of one time step (RFC 4226, 5.3).
func totpCode(secret []byte, step uint64) string {
	mac := hmac.New(sha1.New, secret)
	_ = binary.Write(mac, binary.BigEndian, step) // a hash does not fail
	sum := mac.Sum(nil)
	offset := sum[len(sum)-1] & 0x0f
	n := binary.BigEndian.Uint32(sum[offset:]) & 0x7fffffff
	return fmt.Sprintf("%06d", n%1_000_000)
}

// totpMatch returns the time step whose code was given.
func totpMatch(secret []byte, code string, at time.Time) (step uint64, ok bool) {
	now := uint64(at.Unix()) / totpStep
	for step = now - totpWindow; step <= now+totpWindow; step++ {
		if subtle.ConstantTimeCompare([]byte(totpCode(secret, step)), []byte(code)) == 1 {
			return step, true
		}
	}
	return 0, false
}

// A codeDevice finds what shows one-time codes to a user, an app or a hardware
// token: its secret, nil without one, and the last time step whose code was
// used.
type codeDevice func(*user) (secret []byte, step *uint64)

func codeApp(u *user) ([]byte, *uint64)   { return u.totp, &u.totpStep }
func codeToken(u *user) ([]byte, *uint64) { return u.hardware, &u.hardwareStep }

// checkTOTP checks a code of one of the user's code devices.
func (s *Server) checkTOTP(u *user, of codeDevice, code string) bool {
	code = strings.Join(strings.Fields(code), "")
	secret, _ := of(u)
	if secret == nil {
		return false
	}
	step, ok := totpMatch(secret, code, s.Now())
	if !ok || !s.opts.RefuseTOTPReuse {
		return ok
	}
	used := false
	err := s.dir.changeUser(u.upn, func(u *user) error {
		_, last := of(u)
		if used = step <= *last; !used {
			*last = step
		}
		return nil
	})
	return err == nil && !used
}
