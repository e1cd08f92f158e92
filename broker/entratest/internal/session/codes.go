package session

import (
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/totp"
)

// A codeDevice finds the app or hardware token that shows one-time codes to a user:
// its secret, or nil if the user has none, and the time step of the last code used.
type codeDevice func(*directory.User) (secret []byte, step *uint64)

func codeApp(u *directory.User) ([]byte, *uint64) { return u.TOTP, &u.TOTPStep }

func codeToken(u *directory.User) ([]byte, *uint64) { return u.Hardware, &u.HardwareStep }

// checkTOTP checks a code of one of the user's code devices.
func (k *Keeper) checkTOTP(u *directory.User, of codeDevice, code string) bool {
	code = strings.Join(strings.Fields(code), "")
	secret, _ := of(u)
	if secret == nil {
		return false
	}
	step, ok := totp.Match(secret, code, k.Now())
	if !ok || !k.RefuseTOTPReuse {
		return ok
	}
	used := false
	err := k.Directory.ChangeUser(u.UPN, func(u *directory.User) error {
		_, last := of(u)
		if used = step <= *last; !used {
			*last = step
		}
		return nil
	})
	return err == nil && !used
}
