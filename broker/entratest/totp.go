package entratest

import (
	"fmt"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/totp"
)

// TOTP returns the code of an authenticator app with a base32 secret at a time.
func TOTP(secret string, at time.Time) (string, error) {
	raw, err := totp.Secret(secret)
	if err != nil {
		return "", fmt.Errorf("entratest: %w", err)
	}
	return totp.Code(raw, uint64(at.Unix())/totp.Step), nil
}

// A codeDevice finds what shows one-time codes to a user, an app or a hardware
// token: its secret, nil without one, and the last time step whose code was
// used.
type codeDevice func(*directory.User) (secret []byte, step *uint64)

func codeApp(u *directory.User) ([]byte, *uint64)   { return u.TOTP, &u.TOTPStep }
func codeToken(u *directory.User) ([]byte, *uint64) { return u.Hardware, &u.HardwareStep }

// checkTOTP checks a code of one of the user's code devices.
func (s *Server) checkTOTP(u *directory.User, of codeDevice, code string) bool {
	code = strings.Join(strings.Fields(code), "")
	secret, _ := of(u)
	if secret == nil {
		return false
	}
	step, ok := totp.Match(secret, code, s.Now())
	if !ok || !s.opts.RefuseTOTPReuse {
		return ok
	}
	used := false
	err := s.dir.ChangeUser(u.UPN, func(u *directory.User) error {
		_, last := of(u)
		if used = step <= *last; !used {
			*last = step
		}
		return nil
	})
	return err == nil && !used
}
